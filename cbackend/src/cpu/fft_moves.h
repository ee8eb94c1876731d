/* Between the memory of signals and blocks of lanes (fft_passes.h). Included once for each real type F.
 *
 * `point` and `lane` say how far apart two points of a signal and two signals are, in units of F. Two cases
 * are fast: neighbouring lanes side by side (rows are split into real and imaginary parts by shuffles), and
 * signals that are contiguous (tiles of V x V items are transposed in registers). `count` lanes are there;
 * the others are zero. */

CB_INLINE V NAME(load)(const F *x) {
    V v;
    memcpy(&v, x, sizeof v);
    return v;
}
CB_INLINE void NAME(store)(F *y, V v) { memcpy(y, &v, sizeof v); }
CB_INLINE V NAME(low)(V a, V b) { return SHUFFLE(a, b, LOW); }
CB_INLINE V NAME(high)(V a, V b) { return SHUFFLE(a, b, HIGH); }

/* Transposes a tile: each round turns the address (row, lane) of every item left by one bit. */
CB_INLINE void NAME(transpose)(V *rows) {
    for (int width = 1; width < LANES; width *= 2) {
        V next[LANES];
        for (int i = 0; i < LANES / 2; i++) {
            next[2 * i] = NAME(low)(rows[i], rows[i + LANES / 2]);
            next[2 * i + 1] = NAME(high)(rows[i], rows[i + LANES / 2]);
        }
        for (int i = 0; i < LANES; i++) rows[i] = next[i];
    }
}

static void NAME(load_complex)(V *z, int64_t rows, const F *x, int64_t point, int64_t lane, int count,
                               bool swap) {
    int64_t i = 0;
    if (lane == 2) {
        F part[2 * LANES] = {0};
        for (; i < rows; i++) {
            const F *row = x + i * point;
            if (count < LANES) row = memcpy(part, row, 2 * (size_t)count * sizeof(F));
            V a = NAME(load)(row), b = NAME(load)(row + LANES);
            z[2 * i + swap] = SHUFFLE(a, b, EVEN);
            z[2 * i + !swap] = SHUFFLE(a, b, ODD);
        }
        return;
    }
    if (point == 2 && count == LANES)
        for (; i + LANES <= rows; i += LANES) {
            V re[LANES], im[LANES];
            for (int l = 0; l < LANES; l++) {
                V a = NAME(load)(x + l * lane + 2 * i), b = NAME(load)(x + l * lane + 2 * i + LANES);
                re[l] = SHUFFLE(a, b, EVEN);
                im[l] = SHUFFLE(a, b, ODD);
            }
            NAME(transpose)(re);
            NAME(transpose)(im);
            for (int k = 0; k < LANES; k++) {
                z[2 * (i + k) + swap] = re[k];
                z[2 * (i + k) + !swap] = im[k];
            }
        }
    for (; i < rows; i++) {
        V re = {0}, im = {0};
        for (int l = 0; l < count; l++) {
            re[l] = x[l * lane + i * point];
            im[l] = x[l * lane + i * point + 1];
        }
        z[2 * i + swap] = re;
        z[2 * i + !swap] = im;
    }
}

static void NAME(store_complex)(F *y, int64_t rows, const V *z, int64_t point, int64_t lane, int count,
                                bool swap, F scale) {
    int64_t i = 0;
    if (lane == 2) {
        for (; i < rows; i++) {
            F *row = y + i * point, part[2 * LANES];
            V re = z[2 * i + swap] * scale, im = z[2 * i + !swap] * scale;
            F *target = count < LANES ? part : row;
            NAME(store)(target, NAME(low)(re, im));
            NAME(store)(target + LANES, NAME(high)(re, im));
            if (count < LANES) memcpy(row, part, 2 * (size_t)count * sizeof(F));
        }
        return;
    }
    if (point == 2 && count == LANES)
        for (; i + LANES <= rows; i += LANES) {
            V re[LANES], im[LANES];
            for (int k = 0; k < LANES; k++) {
                re[k] = z[2 * (i + k) + swap] * scale;
                im[k] = z[2 * (i + k) + !swap] * scale;
            }
            NAME(transpose)(re);
            NAME(transpose)(im);
            for (int l = 0; l < LANES; l++) {
                NAME(store)(y + l * lane + 2 * i, NAME(low)(re[l], im[l]));
                NAME(store)(y + l * lane + 2 * i + LANES, NAME(high)(re[l], im[l]));
            }
        }
    for (; i < rows; i++) {
        V re = z[2 * i + swap] * scale, im = z[2 * i + !swap] * scale;
        for (int l = 0; l < count; l++) {
            y[l * lane + i * point] = re[l];
            y[l * lane + i * point + 1] = im[l];
        }
    }
}

/* reals into every second vector of z */
static void NAME(load_real)(V *z, int64_t rows, const F *x, int64_t point, int64_t lane, int count) {
    for (int64_t i = 0; i < rows; i++) {
        V v = {0};
        if (lane == 1 && count == LANES)
            v = NAME(load)(x + i * point);
        else
            for (int l = 0; l < count; l++) v[l] = x[l * lane + i * point];
        z[2 * i] = v;
    }
}

static void NAME(store_real)(F *y, int64_t rows, const V *z, int64_t point, int64_t lane, int count) {
    for (int64_t i = 0; i < rows; i++) {
        V v = z[2 * i];
        if (lane == 1 && count == LANES)
            NAME(store)(y + i * point, v);
        else
            for (int l = 0; l < count; l++) y[l * lane + i * point] = v[l];
    }
}
