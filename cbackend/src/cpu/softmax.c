/* Softmax, log-softmax, cross-entropy and their gradients on contiguous tensors.
 *
 * A row (or a tile of columns) passes three times through the first-level caches: maximum, exponentials with their
 * sum, scaling. Loops run over whole vectors of LANES; the rest of a row goes through a padded one, so that no
 * exponential is computed alone. 16-bit floats are widened into scratch a row or tile at a time. */
#include <math.h>

#include "cpu.h"
#include "lanes.h"
#include "vmath.h"

enum { LANES = 32, WIDTH = 64, WORK = 16384 };

#define ADD(a, b) ((a) + (b))
#define LARGER(a, b) ((a) > (b) ? (a) : (b)) /* a nan reaches the result through its exponential */

/* Runs BODY for every whole vector, then for a padded copy of the rest; `v` and `w` are the operands' vectors and
 * `to` the result's. `more` is how many items the vector holds. */
#define EACH_VECTOR(F, n, x, y, result, padding, BODY)                                                       \
    do {                                                                                                     \
        int64_t i_ = 0;                                                                                      \
        for (; i_ + LANES <= (n); i_ += LANES) {                                                             \
            const F *v = (x) + i_, *w = (y) + i_;                                                            \
            F *to = (result) + i_;                                                                           \
            (void)v, (void)w, (void)to;                                                                      \
            BODY                                                                                             \
        }                                                                                                    \
        if (i_ < (n)) {                                                                                      \
            F v[LANES], w[LANES], to[LANES];                                                                 \
            int more = (int)((n)-i_);                                                                        \
            for (int j = 0; j < LANES; j++) v[j] = padding, w[j] = 0;                                        \
            for (int j = 0; j < more; j++) v[j] = (x)[i_ + j], w[j] = (y)[i_ + j];                           \
            (void)w, (void)to;                                                                               \
            BODY                                                                                             \
            if ((const F *)(result) != (const F *)NULL)                                                      \
                for (int j = 0; j < more; j++) (result)[i_ + j] = to[j];                                     \
        }                                                                                                    \
    } while (0)

#define ROWS(F, f)                                                                                           \
    CB_INLINE F row_max_##f(int64_t n, const F *x) {                                                         \
        F lane[LANES];                                                                                       \
        for (int j = 0; j < LANES; j++) lane[j] = -(F)INFINITY;                                              \
        EACH_VECTOR(F, n, x, x, (F *)NULL, -(F)INFINITY,                                                     \
                    for (int j = 0; j < LANES; j++) lane[j] = LARGER(v[j], lane[j]););                       \
        CB_FOLD_LANES(LANES, lane, LARGER);                                                                                  \
        return lane[0];                                                                                      \
    }                                                                                                        \
    CB_INLINE F row_sum_exp_##f(int64_t n, const F *x, F shift) {                                            \
        F lane[LANES] = {0};                                                                                 \
        EACH_VECTOR(F, n, x, x, (F *)NULL, -(F)INFINITY,                                                     \
                    for (int j = 0; j < LANES; j++) lane[j] += exp_##f(v[j] - shift););                      \
        CB_FOLD_LANES(LANES, lane, ADD);                                                                                     \
        return lane[0];                                                                                      \
    }                                                                                                        \
    static void row_softmax_##f(int64_t n, const F *x, F *out) {                                             \
        F lane[LANES] = {0}, shift = row_max_##f(n, x);                                                      \
        EACH_VECTOR(F, n, x, x, out, -(F)INFINITY, for (int j = 0; j < LANES; j++) {                         \
            F e = exp_##f(v[j] - shift);                                                                     \
            to[j] = e;                                                                                       \
            lane[j] += e;                                                                                    \
        });                                                                                                  \
        CB_FOLD_LANES(LANES, lane, ADD);                                                                                     \
        F scale = 1 / lane[0];                                                                               \
        for (int64_t i = 0; i < n; i++) out[i] *= scale;                                                     \
    }                                                                                                        \
    static void row_log_softmax_##f(int64_t n, const F *x, F *out) {                                         \
        F shift = row_max_##f(n, x), rest = log_##f(row_sum_exp_##f(n, x, shift));                           \
        for (int64_t i = 0; i < n; i++) out[i] = (x[i] - shift) - rest;                                      \
    }                                                                                                        \
    static void row_softmax_grad_##f(int64_t n, const F *ct, const F *y, F *out) {                           \
        F lane[LANES] = {0};                                                                                 \
        EACH_VECTOR(F, n, ct, y, (F *)NULL, 0, for (int j = 0; j < LANES; j++) lane[j] += v[j] * w[j];);     \
        CB_FOLD_LANES(LANES, lane, ADD);                                                                                     \
        F dot = lane[0];                                                                                     \
        for (int64_t i = 0; i < n; i++) out[i] = y[i] * (ct[i] - dot);                                       \
    }                                                                                                        \
    static void row_log_softmax_grad_##f(int64_t n, const F *ct, const F *y, F *out) {                       \
        F lane[LANES] = {0};                                                                                 \
        EACH_VECTOR(F, n, ct, y, (F *)NULL, 0, for (int j = 0; j < LANES; j++) lane[j] += v[j];);            \
        CB_FOLD_LANES(LANES, lane, ADD);                                                                                     \
        F total = lane[0];                                                                                   \
        EACH_VECTOR(F, n, ct, y, out, 0, for (int j = 0; j < LANES; j++) to[j] = v[j] - exp_##f(w[j]) * total;); \
    }                                                                                                        \
    /* `width` at most WIDTH neighbouring columns, rows `stride` apart */                                    \
    static void columns_softmax_##f(int64_t n, int width, int64_t stride, bool log, const F *x, F *out) {    \
        F top[WIDTH], sum[WIDTH] = {0};                                                                      \
        for (int j = 0; j < width; j++) top[j] = x[j];                                                       \
        for (int64_t i = 1; i < n; i++)                                                                      \
            for (int j = 0; j < width; j++) top[j] = LARGER(x[i * stride + j], top[j]);                      \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            const F *v = x + i * stride;                                                                     \
            F *to = out + i * stride;                                                                        \
            if (log) {                                                                                       \
                for (int j = 0; j < width; j++) sum[j] += exp_##f(v[j] - top[j]);                            \
            } else {                                                                                         \
                _Pragma("GCC ivdep") for (int j = 0; j < width; j++) {                                       \
                    F e = exp_##f(v[j] - top[j]);                                                            \
                    to[j] = e;                                                                               \
                    sum[j] += e;                                                                             \
                }                                                                                            \
            }                                                                                                \
        }                                                                                                    \
        for (int j = 0; j < width; j++) sum[j] = log ? log_##f(sum[j]) : 1 / sum[j];                         \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            const F *v = x + i * stride;                                                                     \
            F *to = out + i * stride;                                                                        \
            if (log) {                                                                                       \
                _Pragma("GCC ivdep") for (int j = 0; j < width; j++) to[j] = (v[j] - top[j]) - sum[j];       \
            } else {                                                                                         \
                for (int j = 0; j < width; j++) to[j] *= sum[j];                                             \
            }                                                                                                \
        }                                                                                                    \
    }                                                                                                        \
    static void columns_softmax_grad_##f(int64_t n, int width, int64_t stride, bool log, const F *ct,        \
                                         const F *y, F *out) {                                               \
        F sum[WIDTH] = {0};                                                                                  \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            const F *v = ct + i * stride, *w = y + i * stride;                                               \
            for (int j = 0; j < width; j++) sum[j] += log ? v[j] : v[j] * w[j];                              \
        }                                                                                                    \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            const F *v = ct + i * stride, *w = y + i * stride;                                               \
            F *to = out + i * stride;                                                                        \
            if (log) {                                                                                       \
                _Pragma("GCC ivdep") for (int j = 0; j < width; j++) to[j] = v[j] - exp_##f(w[j]) * sum[j];  \
            } else {                                                                                         \
                _Pragma("GCC ivdep") for (int j = 0; j < width; j++) to[j] = w[j] * (v[j] - sum[j]);         \
            }                                                                                                \
        }                                                                                                    \
    }                                                                                                        \
    static void row_cross_entropy_##f(int64_t n, const F *x, int64_t label, F *loss, F *total) {             \
        F shift = row_max_##f(n, x);                                                                         \
        F finite = fabs_##f(shift) == (F)INFINITY ? 0 : shift;                                               \
        *total = finite + log_##f(row_sum_exp_##f(n, x, finite));                                            \
        *loss = label < 0 ? 0 : *total - x[label];                                                           \
    }                                                                                                        \
    static void row_cross_entropy_grad_##f(int64_t n, F ct, const F *x, int64_t label, F total, F *out) {    \
        EACH_VECTOR(F, n, x, x, out, 0, for (int j = 0; j < LANES; j++) to[j] = exp_##f(v[j] - total) * ct;); \
        out[label] -= ct;                                                                                    \
    }
ROWS(float, f32)
ROWS(double, f64)

typedef struct run {
    const char *in[2]; /* x; or ct and y */
    char *out;
    int dtype, itemsize;
    bool log, grad;
    int64_t n, inner, tiles; /* along the dim; behind it; tiles of columns */
} run;

static bool wide(const run *r) { return r->dtype == CB_F64; }

static void row(const run *r, const void *const *in, void *out) {
    int64_t n = r->n;
    if (r->grad)
        wide(r) ? (r->log ? row_log_softmax_grad_f64 : row_softmax_grad_f64)(n, in[0], in[1], out)
                : (r->log ? row_log_softmax_grad_f32 : row_softmax_grad_f32)(n, in[0], in[1], out);
    else
        wide(r) ? (r->log ? row_log_softmax_f64 : row_softmax_f64)(n, in[0], out)
                : (r->log ? row_log_softmax_f32 : row_softmax_f32)(n, in[0], out);
}

static void columns(const run *r, int width, int64_t stride, const void *const *in, void *out) {
    int64_t n = r->n;
    if (r->grad)
        wide(r) ? columns_softmax_grad_f64(n, width, stride, r->log, in[0], in[1], out)
                : columns_softmax_grad_f32(n, width, stride, r->log, in[0], in[1], out);
    else
        wide(r) ? columns_softmax_f64(n, width, stride, r->log, in[0], out)
                : columns_softmax_f32(n, width, stride, r->log, in[0], out);
}

/* Pieces count rows (inner = 1) or tiles of columns. Scratch is a tile of each operand, made once a piece. */
static void run_tiles(void *context, int64_t begin, int64_t end) {
    const run *r = context;
    int compute = cb_compute_dtype(r->dtype), size = cb_dtypes[compute].size, operands = r->grad ? 2 : 1;
    bool convert = compute != r->dtype, narrow = r->inner > 1 && r->inner < LANES / 2;
    int64_t most = CB_MIN(WIDTH, r->inner), part = r->n * most * size;
    char small[32768] __attribute__((aligned(64)));
    int64_t nbytes = convert || narrow ? 2 * part : 0;
    char *scratch = nbytes <= (int64_t)sizeof small ? small : cb_alloc(CB_CPU, nbytes);
    if (!scratch) return;
    for (int64_t t = begin; t < end; t++) {
        int64_t column = t % r->tiles * WIDTH, offset = t / r->tiles * r->n * r->inner + column;
        int width = (int)CB_MIN(most, r->inner - column);
        const void *in[2];
        void *out = r->out + offset * r->itemsize;
        for (int k = 0; k < operands; k++) in[k] = r->in[k] + offset * r->itemsize;
        if (convert) {
            for (int k = 0; k < operands; k++) {
                if (r->inner == width)
                    CB_FN(cast_table)[r->dtype][compute](r->n * width, scratch + k * part, in[k]);
                else
                    for (int64_t i = 0; i < r->n; i++)
                        CB_FN(cast_table)[r->dtype][compute](width, scratch + k * part + i * width * size,
                                                             (const char *)in[k] + i * r->inner * r->itemsize);
                in[k] = scratch + k * part;
            }
            if (r->inner == 1) row(r, in, scratch);
            else columns(r, width, width, in, scratch);
            if (r->inner == width)
                CB_FN(cast_table)[compute][r->dtype](r->n * width, out, scratch);
            else
                for (int64_t i = 0; i < r->n; i++)
                    CB_FN(cast_table)[compute][r->dtype](width, (char *)out + i * r->inner * r->itemsize,
                                                         scratch + i * width * size);
        } else if (narrow) { /* too few columns for a vector: each becomes a row */
            for (int j = 0; j < width; j++) {
                const void *gathered[2];
                for (int k = 0; k < operands; k++) {
                    CB_FN(gather_run)(size, (const char *)in[k] + j * size, r->inner, r->n, scratch + k * part);
                    gathered[k] = scratch + k * part;
                }
                row(r, gathered, scratch);
                CB_FN(scatter_run)(size, (char *)out + j * size, r->inner, r->n, scratch);
            }
        } else if (r->inner == 1) {
            row(r, in, out);
        } else {
            columns(r, width, r->inner, in, out);
        }
    }
    if (scratch != small) cb_free(CB_CPU, scratch, nbytes);
}

static int start(run *r, const cb_tensor *x, int dim, cb_tensor *out) {
    int64_t outer = 1;
    r->n = r->inner = 1;
    r->dtype = x->dtype;
    r->itemsize = x->itemsize;
    r->out = out->data;
    for (int d = 0; d < x->ndim; d++) *(d < dim ? &outer : d == dim ? &r->n : &r->inner) *= x->shape[d];
    r->tiles = (r->inner + WIDTH - 1) / WIDTH;
    int64_t work = r->n * CB_MIN(WIDTH, r->inner);
    cb_parallel(outer * r->tiles, CB_MAX(1, WORK / work), run_tiles, r);
    return CB_OK;
}

int CB_FN(softmax)(const cb_tensor *x, int dim, int log, cb_tensor *out) {
    run r = {.in = {x->data}, .log = log};
    return start(&r, x, dim, out);
}

int CB_FN(softmax_grad)(const cb_tensor *ct, const cb_tensor *y, int dim, int log, cb_tensor *out) {
    run r = {.in = {ct->data, y->data}, .log = log, .grad = true};
    return start(&r, y, dim, out);
}

/* ---- cross-entropy ---- */

typedef struct entropy {
    int dtype;
    int64_t n, ignore;
    const char *x;
    const int64_t *labels;
    const char *ct;  /* gradient: in the compute dtype, as `totals` */
    char *totals;    /* log-sum-exps */
    char *out;       /* losses, or the gradient */
} entropy;

static void entropy_rows(void *context, int64_t begin, int64_t end) {
    const entropy *e = context;
    int compute = cb_compute_dtype(e->dtype), size = cb_dtypes[compute].size, itemsize = cb_dtypes[e->dtype].size;
    bool convert = compute != e->dtype;
    char small[32768] __attribute__((aligned(64)));
    int64_t nbytes = convert ? e->n * size : 0;
    char *scratch = nbytes <= (int64_t)sizeof small ? small : cb_alloc(CB_CPU, nbytes);
    if (!scratch) return;
    for (int64_t i = begin; i < end; i++) {
        const void *x = e->x + i * e->n * itemsize;
        int64_t label = e->labels[i] == e->ignore ? -1 : e->labels[i];
        char *total = e->totals + i * size;
        double loss;
        if (convert) {
            CB_FN(cast_table)[e->dtype][compute](e->n, scratch, x);
            x = scratch;
        }
        if (!e->ct) {
            void *to = convert ? (void *)&loss : e->out + i * itemsize;
            if (compute == CB_F64) row_cross_entropy_f64(e->n, x, label, to, (double *)total);
            else row_cross_entropy_f32(e->n, x, label, to, (float *)total);
            if (convert) CB_FN(cast_table)[compute][e->dtype](1, e->out + i * itemsize, to);
            continue;
        }
        char *to = e->out + i * e->n * itemsize, *landing = convert ? scratch : to;
        if (label < 0) memset(landing, 0, (size_t)(e->n * size));
        else if (compute == CB_F64)
            row_cross_entropy_grad_f64(e->n, ((const double *)e->ct)[i], x, label, *(double *)total, (double *)landing);
        else
            row_cross_entropy_grad_f32(e->n, ((const float *)e->ct)[i], x, label, *(float *)total, (float *)landing);
        if (convert) CB_FN(cast_table)[compute][e->dtype](e->n, to, scratch);
    }
    if (scratch != small) cb_free(CB_CPU, scratch, nbytes);
}

static int run_entropy(entropy *e, const cb_tensor *logits, const cb_tensor *labels, int64_t ignore) {
    int64_t rows = logits->shape[0];
    e->dtype = logits->dtype;
    e->n = logits->shape[1];
    e->ignore = ignore;
    e->x = logits->data;
    e->labels = labels->data;
    for (int64_t i = 0; i < rows; i++) {
        int64_t label = e->labels[i];
        if ((label < 0 || label >= e->n) && label != ignore)
            return cb_fail(CB_ERR_INDEX, "cross_entropy: expected labels in [0, %lld), got %lld in row %lld. Mark rows to skip with ignore_index.",
                           (long long)e->n, (long long)label, (long long)i);
    }
    cb_parallel(rows, CB_MAX(1, WORK / CB_MAX(e->n, 1)), entropy_rows, e);
    return CB_OK;
}

int CB_FN(cross_entropy)(const cb_tensor *logits, const cb_tensor *labels, int64_t ignore, cb_tensor *losses,
                         cb_tensor *totals) {
    entropy e = {.out = losses->data, .totals = totals->data};
    return run_entropy(&e, logits, labels, ignore);
}

int CB_FN(cross_entropy_grad)(const cb_tensor *ct, const cb_tensor *logits, const cb_tensor *labels,
                              const cb_tensor *totals, int64_t ignore, cb_tensor *out) {
    entropy e = {.out = out->data, .totals = totals->data, .ct = ct->data};
    return run_entropy(&e, logits, labels, ignore);
}
