/* Plans: what a length needs to be known of it, once. Included once for each real type F.
 * Factors of one are made in double from an angle of at most an eighth turn, then rounded. */

static F *NAME(table)(fft_plan *plan, int64_t items) {
    return fft_plan_memory(plan, items * (int64_t)sizeof(F));
}

static void NAME(turn)(int64_t k, int64_t n, F *w) {
    double c, s;
    fft_turn(k, n, &c, &s);
    w[0] = (F)c;
    w[1] = (F)s;
}

/* Factors and twiddles of a smooth length. For each stage the radix' own roots, then w_n/s^(p k), [p][k]. */
static bool NAME(stages_init)(fft_plan *plan, fft_stages *stages, int64_t n) {
    stages->n = n;
    stages->count = fft_factor(n, stages->radix);
    int64_t items = 0, s = 1;
    for (int i = 0; i < stages->count; s *= stages->radix[i++])
        items += stages->radix[i] + n / (s * stages->radix[i]) * (stages->radix[i] - 1);
    F *w = stages->twiddles = NAME(table)(plan, 2 * items);
    if (!w) return false;
    s = 1;
    for (int i = 0; i < stages->count; i++) {
        int r = stages->radix[i];
        for (int k = 0; k < r; k++, w += 2) NAME(turn)(k, r, w);
        for (int64_t p = 0; p < n / (s * r); p++)
            for (int k = 1; k < r; k++, w += 2) NAME(turn)(p * k, n / s, w);
        s *= r;
    }
    return true;
}

/* The two lengths of the four steps: as few idle lanes as possible, then as equal as possible. */
static int64_t NAME(split)(int64_t n) {
    int64_t best = 1, least = INT64_MAX;
    for (int64_t a = 1; a * a <= n; a++) {
        if (n % a) continue;
        for (int side = 0; side < 2; side++) {
            int64_t n1 = side ? n / a : a, n2 = n / n1;
            int64_t cost = (n2 + LANES - 1) / LANES * n1 + (n1 + LANES - 1) / LANES * n2;
            if (cost <= least) least = cost, best = n1;
        }
    }
    return best;
}

static bool NAME(four_steps_init)(fft_plan *plan, int64_t n) {
    int64_t n1 = NAME(split)(n), n2 = n / n1, blocks = (n2 + LANES - 1) / LANES;
    if (!NAME(stages_init)(plan, &plan->first, n1) || !NAME(stages_init)(plan, &plan->second, n2))
        return false;
    F *near = plan->near = NAME(table)(plan, 2 * n1 * LANES),
      *far = plan->far = NAME(table)(plan, 2 * n1 * blocks);
    if (!near || !far) return false;
    for (int64_t k = 0; k < n1; k++)
        for (int l = 0; l < LANES; l++) {
            F w[2];
            NAME(turn)(k * l, n, w);
            near[2 * k * LANES + l] = w[0];
            near[(2 * k + 1) * LANES + l] = w[1];
        }
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t k = 0; k < n1; k++) NAME(turn)(b * LANES * k, n, far + 2 * (b * n1 + k));
    return true;
}

static int NAME(four_steps)(const fft_plan *plan, const F *x, F *y, int swap, F scale);
static fft_plan *NAME(plan_get)(int64_t n, bool real);

/* chirp_k = exp(-i pi k^2 / n); filter: the transform of its conjugate, cyclic over m >= 2 n - 1 points */
static bool NAME(bluestein_init)(fft_plan *plan, int64_t n) {
    int64_t m = fft_smooth_length(2 * n - 1);
    plan->inner = NAME(plan_get)(m, false);
    F *chirp = plan->chirp = NAME(table)(plan, 2 * n), *filter = plan->filter = NAME(table)(plan, 2 * m);
    if (!plan->inner || !chirp || !filter) return false;
    memset(filter, 0, 2 * (size_t)m * sizeof(F));
    int64_t square = 0; /* k^2 mod 2 n, without overflow */
    for (int64_t k = 0; k < n; k++) {
        NAME(turn)(square, 2 * n, chirp + 2 * k);
        int64_t mirror = k ? m - k : 0;
        filter[2 * k] = filter[2 * mirror] = chirp[2 * k];
        filter[2 * k + 1] = filter[2 * mirror + 1] = -chirp[2 * k + 1];
        square = (square + 2 * k + 1) % (2 * n);
    }
    return NAME(four_steps)(plan->inner, filter, filter, 0, 1) == CB_OK;
}

static bool NAME(complex_init)(fft_plan *plan, int64_t n) {
    if (!fft_is_smooth(n)) return NAME(bluestein_init)(plan, n);
    if (n <= FFT_MAX_BLOCK && !NAME(stages_init)(plan, &plan->whole, n)) return false;
    return NAME(four_steps_init)(plan, n);
}

/* A new reference to the plan of n points, or NULL after an error. An even number of reals is half as many
 * complex items. */
static fft_plan *NAME(plan_get)(int64_t n, bool real) {
    fft_plan *plan = fft_cache_find(n, real, sizeof(F));
    if (plan) return plan;
    plan = fft_plan_new(n, real, sizeof(F));
    if (!plan) return NULL;
    bool half = real && n % 2 == 0;
    bool done = NAME(complex_init)(plan, plan->n = half ? n / 2 : n);
    if (done && half) {
        F *turns = plan->turns = NAME(table)(plan, 2 * (n / 4 + 1));
        for (int64_t k = 0; turns && k <= n / 4; k++) NAME(turn)(k, n, turns + 2 * k);
        done = turns;
    }
    if (!done) {
        fft_plan_release(plan);
        return NULL;
    }
    return fft_cache_keep(plan);
}
