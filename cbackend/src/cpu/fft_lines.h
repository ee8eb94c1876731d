/* Whole signals: one at a time in four steps or by Bluestein's method, or in blocks of V lanes; and the
 * drivers over all signals of a tensor. Included once for each real type F.
 *
 * Four steps: n = n1 n2 points are n1 rows of n2 columns. Transform the columns (neighbouring ones are the
 * lanes), turn item (k1, j2) by w_n^(j2 k1), transpose, transform again; the result lies transposed.
 * Bluestein: a product of chirps around a cyclic convolution makes any length one of a smooth length.
 * Reference: Bailey 1990, FFTs in external or hierarchical memory; Bluestein 1970. */

/* swap: bit 0 exchanges real and imaginary parts on the way in, bit 1 on the way out */
enum { NAME(SWAP_IN) = 1, NAME(SWAP_OUT) = 2 };

typedef struct NAME(line) {
    const fft_plan *plan;
    const F *x;
    F *y;
    int swap;
    F scale;
    V *tiles; /* [tile of V k1's][j2][re, im] */
    int status;
} NAME(line);

static int64_t NAME(tiles_of)(int64_t n) { return (n + LANES - 1) / LANES; }

static void NAME(columns_first)(void *context, int64_t begin, int64_t end) {
    NAME(line) *job = context;
    const fft_plan *plan = job->plan;
    int64_t n1 = plan->first.n, n2 = plan->second.n, bytes = 4 * n1 * (int64_t)sizeof(V);
    V *scratch = cb_alloc(CB_CPU, bytes);
    if (!scratch) {
        job->status = cb_error_code();
        return;
    }
    for (int64_t b = begin; b < end; b++) {
        int count = (int)CB_MIN(n2 - b * LANES, LANES);
        NAME(load_complex)(scratch, n1, job->x + 2 * b * LANES, 2 * n2, 2, count, job->swap & 1);
        const V *z = NAME(run)(&plan->first, scratch, scratch + 2 * n1);
        const V *near = plan->near;
        const F *far = (const F *)plan->far + 2 * b * n1;
        for (int64_t t = 0; t * LANES < n1; t++) {
            V re[LANES], im[LANES];
            int64_t full = CB_MIN(n1 - t * LANES, LANES);
            for (int k = 0; k < LANES; k++) {
                int64_t row = t * LANES + k;
                if (k >= full) {
                    re[k] = im[k] = (V){0};
                    continue;
                }
                V a = z[2 * row], c = z[2 * row + 1], u = near[2 * row], v = near[2 * row + 1];
                F p = far[2 * row], q = far[2 * row + 1];
                V wr = u * p - v * q, wi = u * q + v * p;
                re[k] = a * wr - c * wi;
                im[k] = a * wi + c * wr;
            }
            NAME(transpose)(re);
            NAME(transpose)(im);
            V *out = job->tiles + 2 * (t * n2 + b * LANES);
            for (int l = 0; l < count; l++) {
                out[2 * l] = re[l];
                out[2 * l + 1] = im[l];
            }
        }
    }
    cb_free(CB_CPU, scratch, bytes);
}

static void NAME(columns_second)(void *context, int64_t begin, int64_t end) {
    NAME(line) *job = context;
    const fft_plan *plan = job->plan;
    int64_t n1 = plan->first.n, n2 = plan->second.n, bytes = 2 * n2 * (int64_t)sizeof(V);
    V *scratch = cb_alloc(CB_CPU, bytes);
    if (!scratch) {
        job->status = cb_error_code();
        return;
    }
    for (int64_t t = begin; t < end; t++) {
        const V *z = NAME(run)(&plan->second, job->tiles + 2 * t * n2, scratch);
        int count = (int)CB_MIN(n1 - t * LANES, LANES);
        NAME(store_complex)(job->y + 2 * t * LANES, n2, z, 2 * n1, 2, count, job->swap >> 1, job->scale);
    }
    cb_free(CB_CPU, scratch, bytes);
}

static int NAME(four_steps)(const fft_plan *plan, const F *x, F *y, int swap, F scale) {
    int64_t n1 = plan->first.n, n2 = plan->second.n, bytes = 2 * NAME(tiles_of)(n1) * n2 * (int64_t)sizeof(V);
    V *tiles = cb_alloc(CB_CPU, bytes);
    if (!tiles) return cb_error_code();
    NAME(line) job = {plan, x, y, swap, scale, tiles, CB_OK};
    cb_parallel(NAME(tiles_of)(n2), fft_grain(n1 * LANES), NAME(columns_first), &job);
    if (!job.status) cb_parallel(NAME(tiles_of)(n1), fft_grain(n2 * LANES), NAME(columns_second), &job);
    cb_free(CB_CPU, tiles, bytes);
    return job.status;
}

static int NAME(bluestein)(const fft_plan *plan, const F *x, F *y, int swap, F scale) {
    const fft_plan *inner = plan->inner;
    const F *chirp = plan->chirp, *filter = plan->filter;
    int64_t n = plan->n, m = inner->n, bytes = 2 * m * (int64_t)sizeof(F);
    F *work = cb_alloc(CB_CPU, bytes);
    if (!work) return cb_error_code();
    int in = swap & 1, out = swap >> 1;
    for (int64_t k = 0; k < n; k++) {
        F re = x[2 * k + in], im = x[2 * k + !in], c = chirp[2 * k], s = chirp[2 * k + 1];
        work[2 * k] = re * c - im * s;
        work[2 * k + 1] = re * s + im * c;
    }
    memset(work + 2 * n, 0, 2 * (size_t)(m - n) * sizeof(F));
    int status = NAME(four_steps)(inner, work, work, 0, 1);
    for (int64_t k = 0; k < m; k++) {
        F re = work[2 * k], im = work[2 * k + 1], c = filter[2 * k], s = filter[2 * k + 1];
        work[2 * k] = re * c - im * s;
        work[2 * k + 1] = re * s + im * c;
    }
    if (!status) status = NAME(four_steps)(inner, work, work, NAME(SWAP_IN) | NAME(SWAP_OUT), scale / (F)m);
    for (int64_t k = 0; k < n; k++) {
        F re = work[2 * k], im = work[2 * k + 1], c = chirp[2 * k], s = chirp[2 * k + 1];
        y[2 * k + out] = re * c - im * s;
        y[2 * k + !out] = re * s + im * c;
    }
    cb_free(CB_CPU, work, bytes);
    return status;
}

/* n complex items, contiguous; y may be x */
static int NAME(line_fft)(const fft_plan *plan, const F *x, F *y, int swap, F scale) {
    return plan->inner ? NAME(bluestein)(plan, x, y, swap, scale) : NAME(four_steps)(plan, x, y, swap, scale);
}

/* The transform of n = 2 h reals is one of h complex items, z_j = x_2j + i x_2j+1, and this. `unpack` makes
 * the h + 1 frequencies in place of h; `pack` goes back, and exchanges real and imaginary parts, ready for a
 * backward transform. turns: w_n^k. T is F for a signal, V for a block of lanes. */
#define HALF_COMPLEX(T, suffix)                                                            \
    static void NAME(unpack_##suffix)(int64_t h, T *z, const F *turns, F ends, F inside) { \
        T re = z[0], im = z[1];                                                            \
        z[0] = (re + im) * ends;                                                           \
        z[2 * h] = (re - im) * ends;                                                       \
        z[1] = z[2 * h + 1] = (T){0};                                                      \
        inside *= (F)0.5;                                                                  \
        for (int64_t k = 1, l = h - 1; k <= l; k++, l--) {                                 \
            F c = turns[2 * k], s = turns[2 * k + 1];                                      \
            T a = z[2 * k], b = z[2 * k + 1], p = z[2 * l], q = z[2 * l + 1];              \
            T even_re = a + p, even_im = b - q, odd_re = b + q, odd_im = p - a;            \
            T re_ = odd_re * c - odd_im * s, im_ = odd_re * s + odd_im * c;                \
            z[2 * k] = (even_re + re_) * inside;                                           \
            z[2 * k + 1] = (even_im + im_) * inside;                                       \
            z[2 * l] = (even_re - re_) * inside;                                           \
            z[2 * l + 1] = (im_ - even_im) * inside;                                       \
        }                                                                                  \
    }                                                                                      \
    static void NAME(pack_##suffix)(int64_t h, T *z, const F *turns, F ends, F inside) {   \
        T first = z[0] * ends, last = z[2 * h] * ends;                                     \
        z[1] = first + last;                                                               \
        z[0] = first - last;                                                               \
        for (int64_t k = 1, l = h - 1; k <= l; k++, l--) {                                 \
            F c = turns[2 * k], s = turns[2 * k + 1];                                      \
            T a = z[2 * k] * inside, b = z[2 * k + 1] * inside, p = z[2 * l] * inside,     \
              q = z[2 * l + 1] * inside;                                                   \
            T sum_re = a + p, sum_im = b - q, re = a - p, im = b + q;                      \
            T turned_re = re * c + im * s, turned_im = im * c - re * s;                    \
            z[2 * k + 1] = sum_re - turned_im;                                             \
            z[2 * k] = sum_im + turned_re;                                                 \
            z[2 * l + 1] = sum_re + turned_im;                                             \
            z[2 * l] = turned_re - sum_im;                                                 \
        }                                                                                  \
    }
HALF_COMPLEX(F, signal)
HALF_COMPLEX(V, block)
#undef HALF_COMPLEX

/* the frequencies of n reals from those of the same signal as a complex one, and back (parts exchanged) */
static void NAME(scale_half)(int64_t n, V *z, F ends, F inside) {
    for (int64_t k = 0; k <= n / 2; k++) {
        F scale = k == 0 || 2 * k == n ? ends : inside;
        z[2 * k] *= scale;
        z[2 * k + 1] *= scale;
    }
    z[1] = (V){0};
}
static void NAME(complete)(int64_t n, V *z, F ends, F inside) {
    for (int64_t k = 0; k <= n / 2; k++) {
        F scale = k == 0 || 2 * k == n ? ends : inside;
        V re = z[2 * k] * scale, im = z[2 * k + 1] * scale;
        z[2 * k] = k == 0 ? (V){0} : im;
        z[2 * k + 1] = re;
        if (k) {
            z[2 * (n - k)] = -im;
            z[2 * (n - k) + 1] = re;
        }
    }
}

typedef struct NAME(job) {
    int kind; /* FFT_C2C and so on */
    const fft_plan *plan;
    int64_t n, inner, blocks; /* blocks: of lanes, for one position of the outer dims */
    int64_t signals;          /* side by side: inner of them, or all when inner is 1 */
    const F *x;
    F *y;
    int forward;
    F ends, inside;
    int status;
} NAME(job);

/* a real block of an even length takes half the rows */
static void NAME(block)(NAME(job) * job, V *z, V *other, const F *x, F *y, int64_t x_length, int64_t y_length,
                        int count) {
    int64_t n = job->n, h = n / 2, inner = job->inner;
    bool columns = inner > 1, even = n % 2 == 0;
    int64_t x_lane = columns ? 1 : x_length, y_lane = columns ? 1 : y_length;
    if (job->kind == FFT_C2C) {
        int64_t lane = columns ? 2 : 2 * n;
        NAME(load_complex)(z, n, x, 2 * inner, lane, count, !job->forward);
        z = NAME(run)(&job->plan->whole, z, other);
        NAME(store_complex)(y, n, z, 2 * inner, lane, count, !job->forward, job->ends);
    } else if (job->kind == FFT_R2C) {
        if (even && columns) {
            NAME(load_real)(z, h, x, 2 * inner, x_lane, count);
            NAME(load_real)(z + 1, h, x + inner, 2 * inner, x_lane, count);
        } else if (even) {
            NAME(load_complex)(z, h, x, 2, x_lane, count, false);
        } else {
            NAME(load_real)(z, n, x, inner, x_lane, count);
            for (int64_t i = 0; i < n; i++) z[2 * i + 1] = (V){0};
        }
        z = NAME(run)(&job->plan->whole, z, other);
        if (even)
            NAME(unpack_block)(h, z, job->plan->turns, job->ends, job->inside);
        else
            NAME(scale_half)(n, z, job->ends, job->inside);
        NAME(store_complex)(y, h + 1, z, 2 * inner, 2 * y_lane, count, false, 1);
    } else {
        NAME(load_complex)(z, h + 1, x, 2 * inner, 2 * x_lane, count, false);
        if (even)
            NAME(pack_block)(h, z, job->plan->turns, job->ends, job->inside);
        else
            NAME(complete)(n, z, job->ends, job->inside);
        z = NAME(run)(&job->plan->whole, z, other);
        if (even && columns) {
            NAME(store_real)(y, h, z + 1, 2 * inner, y_lane, count);
            NAME(store_real)(y + inner, h, z, 2 * inner, y_lane, count);
        } else if (even) {
            NAME(store_complex)(y, h, z, 2, y_lane, count, true, 1);
        } else {
            NAME(store_real)(y, n, z + 1, inner, y_lane, count);
        }
    }
}

static void NAME(blocks)(void *context, int64_t begin, int64_t end) {
    NAME(job) *job = context;
    /* one row more than the transform has: an unpacked real block ends with it */
    int64_t rows = job->plan->whole.n + 1, bytes = 4 * rows * (int64_t)sizeof(V);
    V *z = cb_alloc(CB_CPU, bytes);
    if (!z) {
        job->status = cb_error_code();
        return;
    }
    int64_t half = job->n / 2 + 1, x_length = job->kind == FFT_C2R ? half : job->n;
    int64_t y_length = job->kind == FFT_R2C ? half : job->n;
    int64_t x_item = job->kind == FFT_R2C ? 1 : 2, y_item = job->kind == FFT_C2R ? 1 : 2;
    for (int64_t b = begin; b < end; b++) {
        int64_t outer = b / job->blocks, first = b % job->blocks * LANES;
        int64_t skip = job->inner > 1 ? 1 : 0; /* between signals: one item, or a whole signal */
        const F *x = job->x + x_item * (outer * job->inner * x_length + first * (skip ? 1 : x_length));
        F *y = job->y + y_item * (outer * job->inner * y_length + first * (skip ? 1 : y_length));
        NAME(block)(job, z, z + 2 * rows, x, y, x_length, y_length, (int)CB_MIN(job->signals - first, LANES));
    }
    cb_free(CB_CPU, z, bytes);
}

/* one contiguous signal; work: room for one complex signal */
static int NAME(signal)(const NAME(job) * job, const F *x, F *y, F *work) {
    int64_t n = job->n, h = n / 2;
    bool even = n % 2 == 0;
    const int both = NAME(SWAP_IN) | NAME(SWAP_OUT);
    if (job->kind == FFT_C2C) return NAME(line_fft)(job->plan, x, y, job->forward ? 0 : both, job->ends);
    if (job->kind == FFT_R2C) {
        if (even) {
            CB_TRY(NAME(line_fft)(job->plan, x, y, 0, 1));
            NAME(unpack_signal)(h, y, job->plan->turns, job->ends, job->inside);
            return CB_OK;
        }
        for (int64_t i = 0; i < n; i++) work[2 * i] = x[i], work[2 * i + 1] = 0;
        CB_TRY(NAME(line_fft)(job->plan, work, work, 0, 1));
        y[0] = work[0] * job->ends, y[1] = 0;
        for (int64_t k = 2; k < 2 * (h + 1); k++) y[k] = work[k] * job->inside;
        return CB_OK;
    }
    memcpy(work, x, 2 * (size_t)(h + 1) * sizeof(F));
    if (even) {
        NAME(pack_signal)(h, work, job->plan->turns, job->ends, job->inside);
        return NAME(line_fft)(job->plan, work, y, NAME(SWAP_OUT), 1);
    }
    work[0] *= job->ends, work[1] = 0;
    for (int64_t k = 1; k <= h; k++) {
        F re = work[2 * k] * job->inside, im = work[2 * k + 1] * job->inside;
        work[2 * k] = work[2 * (n - k)] = re;
        work[2 * k + 1] = im, work[2 * (n - k) + 1] = -im;
    }
    CB_TRY(NAME(line_fft)(job->plan, work, work, both, 1));
    for (int64_t i = 0; i < n; i++) y[i] = work[2 * i];
    return CB_OK;
}

static void NAME(signals)(void *context, int64_t begin, int64_t end) {
    NAME(job) *job = context;
    int64_t n = job->n, inner = job->inner, half = n / 2 + 1, bytes = 6 * (n + 1) * (int64_t)sizeof(F);
    F *work = cb_alloc(CB_CPU, bytes), *dense_x = work + 2 * (n + 1), *dense_y = work + 4 * (n + 1);
    int64_t x_length = job->kind == FFT_C2R ? half : n, y_length = job->kind == FFT_R2C ? half : n;
    int x_item = job->kind == FFT_R2C ? 1 : 2, y_item = job->kind == FFT_C2R ? 1 : 2;
    int status = work ? CB_OK : cb_error_code();
    for (int64_t i = begin; i < end && !status; i++) {
        int64_t outer = i / inner, lane = i % inner;
        const F *x = job->x + x_item * (outer * inner * x_length + lane);
        F *y = job->y + y_item * (outer * inner * y_length + lane);
        if (inner == 1) {
            status = NAME(signal)(job, x, y, work);
            continue;
        }
        CB_FN(gather_run)(x_item * (int)sizeof(F), x, inner, x_length, dense_x);
        status = NAME(signal)(job, dense_x, dense_y, work);
        CB_FN(scatter_run)(y_item * (int)sizeof(F), y, inner, y_length, dense_y);
    }
    if (work) cb_free(CB_CPU, work, bytes);
    if (status) job->status = status;
}

/* All signals along dim. Blocks of lanes where there are enough signals and a block stays in L2. */
static int NAME(drive)(int kind, const cb_tensor *x, int dim, int forward, double ends, double inside,
                       cb_tensor *out) {
    int64_t n = kind == FFT_C2R ? out->shape[dim] : x->shape[dim], outer = 1, inner = 1;
    for (int d = 0; d < dim; d++) outer *= x->shape[d];
    for (int d = dim + 1; d < x->ndim; d++) inner *= x->shape[d];
    fft_plan *plan = NAME(plan_get)(n, kind != FFT_C2C);
    if (!plan) return cb_error_code();
    NAME(job)
    job = {.kind = kind,
           .plan = plan,
           .n = n,
           .inner = inner,
           .x = x->data,
           .y = out->data,
           .forward = forward,
           .ends = (F)ends,
           .inside = (F)inside};
    job.signals = inner > 1 ? inner : outer;
    job.blocks = NAME(tiles_of)(job.signals);
    int64_t limit = inner > 1 ? 4096 : 1024;
    if (plan->whole.n && n <= limit && (2 * job.signals >= LANES || n <= 32))
        cb_parallel(inner > 1 ? outer * job.blocks : job.blocks, fft_grain(n * LANES), NAME(blocks), &job);
    else
        cb_parallel(outer * inner, fft_grain(n), NAME(signals), &job);
    fft_plan_release(plan);
    /* said again: the message may be another thread's */
    return job.status ? cb_fail(job.status, "fft: no memory to work in.") : CB_OK;
}
