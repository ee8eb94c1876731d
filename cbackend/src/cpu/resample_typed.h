/* The kernels of resample.c for one dtype: F, NAME. */

enum { NAME(LANES) = 128 / sizeof(F) };
typedef F NAME(lanes) __attribute__((vector_size(64), aligned(sizeof(F))));

/* y = the weighted sum of runs of x that begin at places, `step` items apart each */
CB_INLINE void NAME(sum_taps)(int64_t length, int64_t taps, const F *x, const int64_t *places, int64_t step,
                              const F *weights, F *restrict y) {
    const F *a = x + places[0] * step;
    F wa = weights[0];
    if (taps == 1) {
        for (int64_t i = 0; i < length; i++) y[i] = wa * a[i];
        return;
    }
    const F *b = x + places[1] * step;
    F wb = weights[1];
    for (int64_t i = 0; i < length; i++) y[i] = wa * a[i] + wb * b[i];
    int64_t t = 2;
    for (; t + 2 <= taps; t += 2) {
        a = x + places[t] * step, b = x + places[t + 1] * step;
        wa = weights[t], wb = weights[t + 1];
        for (int64_t i = 0; i < length; i++) y[i] += wa * a[i] + wb * b[i];
    }
    if (t == taps) return;
    a = x + places[t] * step;
    wa = weights[t];
    for (int64_t i = 0; i < length; i++) y[i] += wa * a[i];
}

static void NAME(sum_rows)(void *context, int64_t begin, int64_t end) {
    const resample_call *c = context;
    const F *weights = c->weights;
    for (int64_t r = begin; r < end; r++) {
        int64_t o = r / c->m, j = r % c->m;
        const F *x = (const F *)c->from + o * c->n * c->inner;
        F *y = (F *)c->to + r * c->inner;
        NAME(sum_taps)(c->inner, c->taps, x, c->places + j * c->taps, c->inner, weights + j * c->taps, y);
    }
}

static void NAME(sum_turned)(void *context, int64_t begin, int64_t end) {
    enum { VECTOR = 64 / sizeof(F) };
    resample_call *c = context;
    int64_t taps = c->taps, room = (c->span + RESAMPLE_COLUMNS) * NAME(LANES) * (int64_t)sizeof(F);
    F *x = cb_alloc(CB_CPU, room), *y = x + c->span * NAME(LANES);
    if (!x) {
        atomic_store(&c->failed, 1);
        return;
    }
    memset(x, 0, (size_t)room); /* lanes without a row are summed too */
    for (int64_t p = begin; p < end; p++) {
        int64_t block = p % c->across, o = p / c->across * NAME(LANES);
        int64_t rows = CB_MIN(NAME(LANES), c->outer - o), first = block * RESAMPLE_COLUMNS,
                low = c->low[block];
        int64_t count = CB_MIN(RESAMPLE_COLUMNS, c->m - first);
        CB_FN(turn)(sizeof(F), CB_MIN(c->span, c->n - low), rows, (const F *)c->from + o * c->n + low, c->n,
                    x, NAME(LANES));
        const int64_t *places = c->places + first * taps;
        const F *weights = (const F *)c->weights + first * taps;
        for (int64_t j = 0; j < count; j++, places += taps, weights += taps) {
            NAME(lanes) sum[2] = {{0}, {0}};
            for (int64_t t = 0; t < taps; t++) {
                const F *from = x + (places[t] - low) * NAME(LANES);
                sum[0] += weights[t] * *(const NAME(lanes) *)from;
                sum[1] += weights[t] * *(const NAME(lanes) *)(from + VECTOR);
            }
            *(NAME(lanes) *)(y + j * NAME(LANES)) = sum[0];
            *(NAME(lanes) *)(y + j * NAME(LANES) + VECTOR) = sum[1];
        }
        CB_FN(turn)(sizeof(F), rows, count, y, NAME(LANES), (F *)c->to + o * c->m + first, c->m);
    }
    cb_free(CB_CPU, x, room);
}

#undef F
#undef NAME
