/* Layer norm and RMS norm of contiguous rows, forward and backward.
 *
 * A row is read three times while it lies in L1: mean, squared deviations, result. Short rows go sixteen at a
 * time, whose folds and roots are then one vector's. Gradients of weight and
 * bias are sums over rows: pieces of rows, fixed by the sizes, add in float for a few rows, then in double,
 * and are joined in order. 16-bit floats are widened into scratch a row at a time. */
#include <math.h>

#include "cpu.h"
#include "lanes.h"
#include "norm_short.h"
#include "vmath.h"

enum { WORK = 32768, PIECES = 64, FLUSH = 32 };

/* y = (x - middle) * scale, with weight and bias or without */
#define STORE_ROW(n)                                                                                     \
    if (weight && bias)                                                                                  \
        _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) y[i] =                                      \
            (x[i] - middle) * scale * weight[i] + bias[i];                                               \
    else if (weight)                                                                                     \
        _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) y[i] = (x[i] - middle) * scale * weight[i]; \
    else if (bias)                                                                                       \
        _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) y[i] = (x[i] - middle) * scale + bias[i];   \
    else                                                                                                 \
        _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) y[i] = (x[i] - middle) * scale

#define ROWS(F, f)                                                                                    \
    static void row_norm_##f(int64_t n, const F *x, const F *weight, const F *bias, double eps,       \
                             bool centered, F *y, F *mean, F *rstd) {                                 \
        F middle = 0;                                                                                 \
        if (centered) {                                                                               \
            CB_ROW_SUM(F, n, sum, x[i]);                                                              \
            middle = sum / (F)n;                                                                      \
            *mean = middle;                                                                           \
        }                                                                                             \
        CB_ROW_SUM(F, n, squares, (x[i] - middle) * (x[i] - middle));                                 \
        F scale = (F)(1 / sqrt((double)squares / (double)n + eps));                                   \
        *rstd = scale;                                                                                \
        STORE_ROW(n);                                                                                 \
    }                                                                                                 \
    /* sums: of ct * xhat and of ct, n items each, taken first: dx may lie on x */                    \
    static void row_norm_grad_##f(int64_t n, const F *ct, const F *x, const F *weight, bool centered, \
                                  F middle, F scale, F *dx, F *sums) {                                \
        F mean_g = 0;                                                                                 \
        int64_t summed = sums ? n : 0;                                                                \
        _Pragma("GCC ivdep") for (int64_t i = 0; i < summed; i++) {                                   \
            sums[i] += ct[i] * ((x[i] - middle) * scale);                                             \
            sums[n + i] += ct[i];                                                                     \
        }                                                                                             \
        if (weight) {                                                                                 \
            CB_ROW_SUM(F, n, dot, ct[i] * weight[i] * (x[i] - middle));                               \
            if (centered) {                                                                           \
                CB_ROW_SUM(F, n, sum, ct[i] * weight[i]);                                             \
                mean_g = sum / (F)n;                                                                  \
            }                                                                                         \
            F slope = dot * scale * scale / (F)n;                                                     \
            _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) dx[i] =                              \
                scale * (ct[i] * weight[i] - mean_g - (x[i] - middle) * slope);                       \
        } else {                                                                                      \
            CB_ROW_SUM(F, n, dot, ct[i] * (x[i] - middle));                                           \
            if (centered) {                                                                           \
                CB_ROW_SUM(F, n, sum, ct[i]);                                                         \
                mean_g = sum / (F)n;                                                                  \
            }                                                                                         \
            F slope = dot * scale * scale / (F)n;                                                     \
            _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) dx[i] =                              \
                scale * (ct[i] - mean_g - (x[i] - middle) * slope);                                   \
        }                                                                                             \
    }                                                                                                 \
    static void flush_##f(int64_t n, F *sums, double *totals) {                                       \
        for (int64_t i = 0; i < n; i++) {                                                             \
            totals[i] += (double)sums[i];                                                             \
            sums[i] = 0;                                                                              \
        }                                                                                             \
    }
ROWS(float, f32)
ROWS(double, f64)

/* At most sixteen short rows; a row's result does not depend on the others. */
static void sixteen_norms(int64_t rows, int64_t n, const float *x, const float *weight, const float *bias,
                          double eps, float *y, float *means, float *rstds) {
    float middles[SIDE] = {0}, scales[SIDE];
    if (means) {
        sixteen_sums(SUM, rows, n, x, NULL, NULL, middles);
        for (int r = 0; r < SIDE; r++) middles[r] /= (float)n;
        memcpy(means, middles, (size_t)rows * sizeof(float));
    }
    sixteen_sums(SQUARES, rows, n, x, middles, NULL, scales);
    for (int r = 0; r < SIDE; r++) scales[r] = (float)(1 / sqrt((double)scales[r] / (double)n + eps));
    memcpy(rstds, scales, (size_t)rows * sizeof(float));
    for (int64_t r = 0; r < rows; r++, x += n, y += n) {
        float middle = middles[r], scale = scales[r];
        STORE_ROW(n);
    }
}

typedef struct run {
    int dtype;
    bool failed;
    int64_t n, rows, step; /* step: rows a piece (gradient) */
    const char *x, *ct, *weight, *bias;
    char *y, *mean, *rstd;
    double eps;
    double *totals; /* gradient: two times n a piece; NULL when not wanted */
} run;

/* in the compute dtype: where it lies, or widened */
static const void *widened(const run *r, const char *x, int64_t row, char *scratch) {
    int compute = cb_compute_dtype(r->dtype);
    const char *items = x + row * r->n * cb_dtypes[r->dtype].size;
    if (compute == r->dtype) return items;
    CB_FN(cast_table)[r->dtype][compute](r->n, scratch, items);
    return scratch;
}

static void forward_rows(void *context, int64_t begin, int64_t end) {
    run *r = context;
    int compute = cb_compute_dtype(r->dtype), size = cb_dtypes[compute].size;
    bool convert = compute != r->dtype;
    char small[32768] __attribute__((aligned(64)));
    int64_t nbytes = convert ? r->n * size : 0;
    char *scratch = nbytes <= (int64_t)sizeof small ? small : cb_alloc(CB_CPU, nbytes);
    if (!scratch) {
        r->failed = true;
        return;
    }
    if (r->dtype == CB_F32 && r->n <= SHORT) {
        for (int64_t i = begin; i < end; i += SIDE)
            sixteen_norms(CB_MIN(SIDE, end - i), r->n, (const float *)r->x + i * r->n,
                          (const float *)r->weight, (const float *)r->bias, r->eps, (float *)r->y + i * r->n,
                          r->mean ? (float *)r->mean + i : NULL, (float *)r->rstd + i);
        return;
    }
    for (int64_t i = begin; i < end; i++) {
        const void *x = widened(r, r->x, i, scratch), *weight = r->weight, *bias = r->bias;
        char *y = r->y + i * r->n * cb_dtypes[r->dtype].size;
        void *to = convert ? scratch : y, *mean = r->mean ? r->mean + i * size : NULL,
             *rstd = r->rstd + i * size;
        if (compute == CB_F64)
            row_norm_f64(r->n, x, weight, bias, r->eps, mean != NULL, to, mean, rstd);
        else
            row_norm_f32(r->n, x, weight, bias, r->eps, mean != NULL, to, mean, rstd);
        if (convert) CB_FN(cast_table)[compute][r->dtype](r->n, y, scratch);
    }
    if (scratch != small) cb_free(CB_CPU, scratch, nbytes);
}

int CB_FN(norm)(const cb_tensor *x, int64_t n, const cb_tensor *weight, const cb_tensor *bias, double eps,
                cb_tensor *const *out) {
    run r = {.dtype = x->dtype, .n = n, .rows = out[1]->numel, .x = x->data, .eps = eps};
    r.weight = weight ? weight->data : NULL;
    r.bias = bias ? bias->data : NULL;
    r.y = out[0]->data;
    r.rstd = out[1]->data;
    r.mean = out[2] ? out[2]->data : NULL;
    cb_parallel(r.rows, CB_MAX(1, WORK / CB_MAX(n, 1)), forward_rows, &r);
    return r.failed ? cb_fail(CB_ERR_MEMORY, "norm: the system has no memory left.") : CB_OK;
}

/* Pieces of `step` rows; piece p adds into its own totals. */
static void backward_rows(void *context, int64_t begin, int64_t end) {
    run *r = context;
    int compute = cb_compute_dtype(r->dtype), size = cb_dtypes[compute].size;
    bool convert = compute != r->dtype, wide = compute == CB_F64;
    int64_t part = r->n * size, nbytes = 4 * part;
    char small[32768] __attribute__((aligned(64)));
    char *scratch = nbytes <= (int64_t)sizeof small ? small : cb_alloc(CB_CPU, nbytes);
    if (!scratch) {
        r->failed = true;
        return;
    }
    char *sums = r->totals ? scratch + 2 * part : NULL;
    double *totals = r->totals ? r->totals + begin / r->step * 2 * r->n : NULL;
    if (sums) {
        memset(sums, 0, (size_t)(2 * part));
        memset(totals, 0, (size_t)(2 * r->n) * sizeof *totals);
    }
    for (int64_t i = begin; i < end; i++) {
        const void *ct = widened(r, r->ct, i, scratch), *x = widened(r, r->x, i, scratch + part),
                   *weight = r->weight;
        char *y = r->y + i * r->n * cb_dtypes[r->dtype].size;
        void *to = convert ? scratch + part : y;
        if (wide)
            row_norm_grad_f64(r->n, ct, x, weight, r->mean != NULL, r->mean ? ((double *)r->mean)[i] : 0,
                              ((double *)r->rstd)[i], to, (double *)sums);
        else
            row_norm_grad_f32(r->n, ct, x, weight, r->mean != NULL, r->mean ? ((float *)r->mean)[i] : 0,
                              ((float *)r->rstd)[i], to, (float *)sums);
        if (convert) CB_FN(cast_table)[compute][r->dtype](r->n, y, to);
        if (sums && ((i - begin) % FLUSH == FLUSH - 1 || i == end - 1))
            wide ? flush_f64(2 * r->n, (double *)sums, totals) : flush_f32(2 * r->n, (float *)sums, totals);
    }
    if (scratch != small) cb_free(CB_CPU, scratch, nbytes);
}

int CB_FN(norm_grad)(const cb_tensor *ct, const cb_tensor *x, int64_t n, const cb_tensor *mean,
                     const cb_tensor *rstd, const cb_tensor *weight, cb_tensor *const *out) {
    run r = {.dtype = x->dtype, .n = n, .rows = rstd->numel, .x = x->data, .ct = ct->data, .y = out[0]->data};
    r.mean = mean ? mean->data : NULL;
    r.rstd = rstd->data;
    r.weight = weight ? weight->data : NULL;
    r.step = CB_MAX(1, CB_MAX(WORK / n, (r.rows + PIECES - 1) / PIECES));
    int64_t pieces = CB_MAX((r.rows + r.step - 1) / r.step, 1),
            nbytes = pieces * 2 * n * (int64_t)sizeof(double);
    bool sums = out[1] || out[2];
    if (sums) {
        r.totals = cb_alloc(CB_CPU, nbytes);
        if (!r.totals) return cb_error_code();
        if (r.rows == 0) memset(r.totals, 0, (size_t)nbytes);
    }
    cb_parallel(r.rows, r.step, backward_rows, &r);
    for (int64_t p = 1; sums && p < pieces; p++)
        for (int64_t i = 0; i < 2 * n; i++) r.totals[i] += r.totals[p * 2 * n + i];
    for (int k = 0; k < 2; k++)
        if (out[k + 1]) CB_FN(cast_table)[CB_F64][out[k + 1]->dtype](n, out[k + 1]->data, r.totals + k * n);
    if (sums) cb_free(CB_CPU, r.totals, nbytes);
    return r.failed ? cb_fail(CB_ERR_MEMORY, "norm: the system has no memory left.") : CB_OK;
}
