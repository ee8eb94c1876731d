/* Rows of numbers and padded planes of one type: include with `real`, NAME(x) and NAME(vl) defined, after
 * conv_plan.h. An includer whose items pack several numbers defines what follows in its own way. */
#ifndef plain
#define plain real /* what tensors hold */
#define PACKED 1   /* numbers in an item: channels, or positions in weight gradients */
#define LOAD_RUN(to, from, plane, n, step) NAME(strided_run)(to, 1, from, step, n)
#define STORE_RUN(to, step, from, n) NAME(strided_run)(to, step, from, 1, n)
#define TURN_SUMS NAME(turn)
#define PREPARE_PLANES NAME(prepare) /* of numbers */
#define TURN_PLANES(size, n, step, from, pitch, to) NAME(pack)(size, n, NAME(vl), from, 1, pitch, to)
#endif

/* n numbers, in pieces of fixed size that may overlap: rows are short, and a call of memcpy each would cost
 * more */
CB_INLINE void NAME(copy_run)(real *to, const real *from, int64_t n) {
    enum { VL = NAME(vl), HALF = VL / 2, QUARTER = VL >= 4 ? VL / 4 : 1 };
#define MOVE(size, at) memcpy(to + (at), from + (at), (size) * sizeof(real))
    if (n >= VL) {
        for (int64_t i = 0; i + VL < n; i += VL) MOVE(VL, i);
        MOVE(VL, n - VL);
    } else if (n >= HALF) {
        MOVE(HALF, 0);
        MOVE(HALF, n - HALF);
    } else if (n >= QUARTER) {
        MOVE(QUARTER, 0);
        MOVE(QUARTER, n - QUARTER);
    } else {
        for (int64_t i = 0; i < n; i++) to[i] = from[i];
    }
#undef MOVE
}

CB_INLINE void NAME(zero_run)(real *to, int64_t n) {
    for (int64_t i = 0; i < n; i++) to[i] = 0;
}

/* to[i] = from[2 * i] for n numbers: nothing behind the last is read, so the second of two vectors begins one
 * early */
CB_INLINE void NAME(even_run)(real *to, const real *from, int64_t n) {
    enum { VL = NAME(vl), HALF = VL >= 4 ? VL / 2 : 2, QUARTER = VL >= 8 ? VL / 4 : 2 };
#define EVENS(N, i)                                                          \
    {                                                                        \
        typedef real evens __attribute__((vector_size((N) * sizeof(real)))); \
        typeof((evens){0} == (evens){0}) lanes;                              \
        evens low, high;                                                     \
        for (int j = 0; j < (N); j++) lanes[j] = 2 * j + (j >= (N) / 2);     \
        memcpy(&low, from + 2 * (i), sizeof low);                            \
        memcpy(&high, from + 2 * (i) + (N) - 1, sizeof high);                \
        low = __builtin_shuffle(low, high, lanes);                           \
        memcpy(to + (i), &low, sizeof low);                                  \
    }
    if (n >= VL) {
        for (int64_t i = 0; i + VL < n; i += VL) EVENS(VL, i)
        EVENS(VL, n - VL)
    } else if (n >= HALF) {
        EVENS(HALF, 0)
        EVENS(HALF, n - HALF)
    } else if (n >= QUARTER) {
        EVENS(QUARTER, 0)
        EVENS(QUARTER, n - QUARTER)
    } else {
        for (int64_t i = 0; i < n; i++) to[i] = from[2 * i];
    }
#undef EVENS
}

CB_INLINE void NAME(strided_run)(real *to, int64_t to_step, const real *from, int64_t from_step, int64_t n) {
    if (to_step == 1 && from_step == 1)
        NAME(copy_run)(to, from, n);
    else if (to_step == 1 && from_step == 2)
        NAME(even_run)(to, from, n);
    else
        for (int64_t i = 0; i < n; i++) to[i * to_step] = from[i * from_step];
}

/* The padded (and phase-split) copy of one image's channels, for the results from `band` on. The padding
 * stays as it is from one image to the next, so `padded` says that it is there already. */
static void NAME(prepare)(const conv_plan *p, int64_t channels, const plain *x, int64_t band, bool padded,
                          real *to) {
    int64_t plane = p->in[0] * p->in[1] * p->in[2];
    for (int64_t c = 0; c < channels; c++)
        for (int u = 0; u < p->sources; u++) {
            int64_t start[3], step = p->step[2];
            for (int d = 0; d < 3; d++)
                start[d] = p->start[u][d] + (d == p->band_dim ? band * p->step[d] * p->hop[d] : 0);
            /* columns [left, right) of a row lie inside the input */
            int64_t left = start[2] >= 0 ? 0 : CB_MIN(p->size[2], (-start[2] + step - 1) / step);
            int64_t right =
                start[2] >= p->in[2] ? 0 : CB_MIN(p->size[2], (p->in[2] - 1 - start[2]) / step + 1);
            right = CB_MAX(left, right);
            for (int64_t z = 0; z < p->size[0]; z++)
                for (int64_t y = 0; y < p->size[1]; y++, to += p->size[2]) {
                    int64_t iz = start[0] + z * p->step[0], iy = start[1] + y * p->step[1];
                    if (iz < 0 || iz >= p->in[0] || iy < 0 || iy >= p->in[1]) {
                        if (!padded) NAME(zero_run)(to, p->size[2]);
                        continue;
                    }
                    const plain *from = x + PACKED * c * plane + (iz * p->in[1] + iy) * p->in[2] + start[2];
                    /* the row of a channel to come: rows are too short for the processor to foresee them */
                    for (int64_t ahead = 2 * PACKED, k = 0; k < PACKED; k++)
                        for (int64_t i = left * step; i < right * step; i += 64 / (int64_t)sizeof(plain))
                            __builtin_prefetch(from + (ahead + k) * plane + i);
                    if (!padded) NAME(zero_run)(to, left);
                    LOAD_RUN(to + left, from + left * step, plane, right - left, step);
                    if (!padded) NAME(zero_run)(to + right, p->size[2] - right);
                }
        }
}
