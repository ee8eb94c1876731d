/* Softmax, log-softmax, cross-entropy and their gradients on contiguous tensors.
 *
 * A row (or a tile of columns) passes three times through the first-level caches: maximum, exponentials with
 * their sum, scaling. Loops run over whole vectors of LANES; the rest of a row goes through a padded one, and
 * short rows are turned into columns, so that no exponential is computed alone. 16-bit floats are widened
 * into scratch a row or tile at a time. */
#include <math.h>

#include "fused.h"
#include "lanes.h"
#include "vmath.h"

enum { LANES = 32, WIDTH = 64, SHORT = 24, WORK = 16384, MADE = 2048, LONGEST = 1 << 16 };

#define ADD(a, b) ((a) + (b))
#define LARGER(a, b) ((a) > (b) ? (a) : (b)) /* a nan reaches the result through its exponential */

/* Runs BODY for every whole vector, then for a padded copy of the rest; `v` and `w` are the operands' vectors
 * and `to` the result's. `more` is how many items the vector holds. */
#define EACH_VECTOR(F, n, x, y, result, padding, BODY)                              \
    do {                                                                            \
        int64_t i_ = 0;                                                             \
        for (; i_ + LANES <= (n); i_ += LANES) {                                    \
            const F *v = (x) + i_, *w = (y) + i_;                                   \
            F *to = (result) + i_;                                                  \
            (void)v, (void)w, (void)to;                                             \
            BODY                                                                    \
        }                                                                           \
        if (i_ < (n)) {                                                             \
            F v[LANES], w[LANES], to[LANES];                                        \
            int more = (int)((n) - i_);                                             \
            const F *x_ = (x) + i_, *y_ = (y) + i_;                                 \
            for (int j = 0; j < LANES; j++) v[j] = padding, w[j] = 0;               \
            CB_EACH_REST(j, LANES, more) v[j] = CB_REST(x_, j, more, padding);      \
            CB_EACH_REST(j, LANES, more) w[j] = CB_REST(y_, j, more, 0);            \
            (void)w, (void)to;                                                      \
            BODY if ((const F *)(result) != (const F *)NULL)                        \
                CB_EACH_REST(j, LANES, more) if (j < more)(result)[i_ + j] = to[j]; \
        }                                                                           \
    } while (0)

#define ROWS(F, f)                                                                                        \
    CB_INLINE F row_max_##f(int64_t n, const F *x) {                                                      \
        F lane[LANES];                                                                                    \
        for (int j = 0; j < LANES; j++) lane[j] = -(F)INFINITY;                                           \
        EACH_VECTOR(F, n, x, x, (F *)NULL, -(F)INFINITY,                                                  \
                    for (int j = 0; j < LANES; j++) lane[j] = LARGER(v[j], lane[j]););                    \
        CB_FOLD_LANES(LANES, lane, LARGER);                                                               \
        return lane[0];                                                                                   \
    }                                                                                                     \
    /* the shift is the maximum, or 0 where that is infinite */                                           \
    CB_INLINE F row_sum_exp_##f(int64_t n, const F *x, F shift) {                                         \
        F lane[LANES] = {0};                                                                              \
        EACH_VECTOR(F, n, x, x, (F *)NULL, -(F)INFINITY,                                                  \
                    for (int j = 0; j < LANES; j++) lane[j] += exp_##f(v[j] - shift););                   \
        CB_FOLD_LANES(LANES, lane, ADD);                                                                  \
        return lane[0];                                                                                   \
    }                                                                                                     \
    CB_INLINE F row_sum_below_##f(int64_t n, const F *x, F maximum) {                                     \
        F lane[LANES] = {0};                                                                              \
        EACH_VECTOR(F, n, x, x, (F *)NULL, -(F)INFINITY,                                                  \
                    for (int j = 0; j < LANES; j++) lane[j] += cb_exp_below_##f(v[j] - maximum););        \
        CB_FOLD_LANES(LANES, lane, ADD);                                                                  \
        return lane[0];                                                                                   \
    }                                                                                                     \
    static void row_softmax_##f(int64_t n, const F *x, F *out) {                                          \
        F lane[LANES] = {0}, shift = row_max_##f(n, x);                                                   \
        EACH_VECTOR(                                                                                      \
            F, n, x, x, out, -(F)INFINITY, for (int j = 0; j < LANES; j++) {                              \
                F e = cb_exp_below_##f(v[j] - shift);                                                     \
                to[j] = e;                                                                                \
                lane[j] += e;                                                                             \
            });                                                                                           \
        CB_FOLD_LANES(LANES, lane, ADD);                                                                  \
        F scale = 1 / lane[0];                                                                            \
        for (int64_t i = 0; i < n; i++) out[i] *= scale;                                                  \
    }                                                                                                     \
    static void row_log_softmax_##f(int64_t n, const F *x, F *out) {                                      \
        F shift = row_max_##f(n, x), rest = log_##f(row_sum_below_##f(n, x, shift));                      \
        for (int64_t i = 0; i < n; i++) out[i] = (x[i] - shift) - rest;                                   \
    }                                                                                                     \
    static void row_softmax_grad_##f(int64_t n, const F *ct, const F *y, F *out) {                        \
        F lane[LANES] = {0};                                                                              \
        EACH_VECTOR(F, n, ct, y, (F *)NULL, 0, for (int j = 0; j < LANES; j++) lane[j] += v[j] * w[j];);  \
        CB_FOLD_LANES(LANES, lane, ADD);                                                                  \
        F dot = lane[0];                                                                                  \
        for (int64_t i = 0; i < n; i++) out[i] = y[i] * (ct[i] - dot);                                    \
    }                                                                                                     \
    static void row_log_softmax_grad_##f(int64_t n, const F *ct, const F *y, F *out) {                    \
        F lane[LANES] = {0};                                                                              \
        EACH_VECTOR(F, n, ct, y, (F *)NULL, 0, for (int j = 0; j < LANES; j++) lane[j] += v[j];);         \
        CB_FOLD_LANES(LANES, lane, ADD);                                                                  \
        F total = lane[0];                                                                                \
        EACH_VECTOR(F, n, ct, y, out, 0,                                                                  \
                    for (int j = 0; j < LANES; j++) to[j] = v[j] - cb_exp_below_##f(w[j]) * total;);      \
    }                                                                                                     \
    /* `width` at most WIDTH neighbouring columns, rows `stride` apart */                                 \
    static void columns_softmax_##f(int64_t n, int width, int64_t stride, bool log, const F *x, F *out) { \
        F top[WIDTH], sum[WIDTH] = {0};                                                                   \
        for (int j = 0; j < width; j++) top[j] = x[j];                                                    \
        for (int64_t i = 1; i < n; i++)                                                                   \
            for (int j = 0; j < width; j++) top[j] = LARGER(x[i * stride + j], top[j]);                   \
        for (int64_t i = 0; i < n; i++) {                                                                 \
            const F *v = x + i * stride;                                                                  \
            F *to = out + i * stride;                                                                     \
            if (log) {                                                                                    \
                for (int j = 0; j < width; j++) sum[j] += cb_exp_below_##f(v[j] - top[j]);                \
            } else {                                                                                      \
                _Pragma("GCC ivdep") for (int j = 0; j < width; j++) {                                    \
                    F e = cb_exp_below_##f(v[j] - top[j]);                                                \
                    to[j] = e;                                                                            \
                    sum[j] += e;                                                                          \
                }                                                                                         \
            }                                                                                             \
        }                                                                                                 \
        for (int j = 0; j < width; j++) sum[j] = log ? log_##f(sum[j]) : 1 / sum[j];                      \
        for (int64_t i = 0; i < n; i++) {                                                                 \
            const F *v = x + i * stride;                                                                  \
            F *to = out + i * stride;                                                                     \
            if (log) {                                                                                    \
                _Pragma("GCC ivdep") for (int j = 0; j < width; j++) to[j] = (v[j] - top[j]) - sum[j];    \
            } else {                                                                                      \
                for (int j = 0; j < width; j++) to[j] *= sum[j];                                          \
            }                                                                                             \
        }                                                                                                 \
    }                                                                                                     \
    static void columns_softmax_grad_##f(int64_t n, int width, int64_t stride, bool log, const F *ct,     \
                                         const F *y, F *out) {                                            \
        F sum[WIDTH] = {0};                                                                               \
        for (int64_t i = 0; i < n; i++) {                                                                 \
            const F *v = ct + i * stride, *w = y + i * stride;                                            \
            for (int j = 0; j < width; j++) sum[j] += log ? v[j] : v[j] * w[j];                           \
        }                                                                                                 \
        for (int64_t i = 0; i < n; i++) {                                                                 \
            const F *v = ct + i * stride, *w = y + i * stride;                                            \
            F *to = out + i * stride;                                                                     \
            if (log) {                                                                                    \
                _Pragma("GCC ivdep") for (int j = 0; j < width; j++) to[j] =                              \
                    v[j] - cb_exp_below_##f(w[j]) * sum[j];                                               \
            } else {                                                                                      \
                _Pragma("GCC ivdep") for (int j = 0; j < width; j++) to[j] = w[j] * (v[j] - sum[j]);      \
            }                                                                                             \
        }                                                                                                 \
    }                                                                                                     \
    static void columns_logsumexp_##f(int64_t n, int width, int64_t stride, const F *x, F *total) {       \
        F top[WIDTH], sum[WIDTH] = {0};                                                                   \
        for (int j = 0; j < width; j++) top[j] = x[j];                                                    \
        for (int64_t i = 1; i < n; i++)                                                                   \
            for (int j = 0; j < width; j++) top[j] = LARGER(x[i * stride + j], top[j]);                   \
        for (int j = 0; j < width; j++) top[j] = fabs_##f(top[j]) == (F)INFINITY ? 0 : top[j];            \
        for (int64_t i = 0; i < n; i++)                                                                   \
            for (int j = 0; j < width; j++) sum[j] += exp_##f(x[i * stride + j] - top[j]);                \
        for (int j = 0; j < width; j++) total[j] = top[j] + log_##f(sum[j]);                              \
    }                                                                                                     \
    /* `rows` at most WIDTH short rows to columns WIDTH apart, and back */                                \
    static void turn_##f(int64_t n, int rows, const F *x, F *columns) {                                   \
        for (int j = 0; j < rows; j++)                                                                    \
            for (int64_t i = 0; i < n; i++) columns[i * WIDTH + j] = x[j * n + i];                        \
    }                                                                                                     \
    static void turn_back_##f(int64_t n, int rows, const F *columns, F *x) {                              \
        for (int j = 0; j < rows; j++)                                                                    \
            for (int64_t i = 0; i < n; i++) x[j * n + i] = columns[i * WIDTH + j];                        \
    }                                                                                                     \
    static void row_cross_entropy_##f(int64_t n, const F *x, int64_t label, F *loss, F *total) {          \
        F shift = row_max_##f(n, x);                                                                      \
        F finite = fabs_##f(shift) == (F)INFINITY ? 0 : shift;                                            \
        F sum = finite == shift ? row_sum_below_##f(n, x, shift) : row_sum_exp_##f(n, x, finite);         \
        *total = finite + log_##f(sum);                                                                   \
        *loss = label < 0 ? 0 : *total - x[label];                                                        \
    }                                                                                                     \
    static void row_cross_entropy_grad_##f(int64_t n, F ct, const F *x, int64_t label, F total, F *out) { \
        EACH_VECTOR(F, n, x, x, out, 0,                                                                   \
                    for (int j = 0; j < LANES; j++) to[j] = exp_##f(v[j] - total) * ct;);                 \
        out[label] -= ct;                                                                                 \
    }
ROWS(float, f32)
ROWS(double, f64)

typedef struct run {
    const char *in[2]; /* x; or ct and y */
    char *out;
    int dtype, itemsize;
    bool log, grad, failed;
    int64_t outer, n, inner; /* before the dim, along it, behind it */
    int64_t width, tiles, rows; /* columns a tile, tiles of columns; short rows a tile */
    cb_sweep *made; /* the rows of in[0] are its result `which`, made as they are wanted; or NULL */
    int which;
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

/* A tile of `width` columns whose rows are `stride` apart, in the compute dtype; scratch holds as much,
 * twice. */
static void tile(const run *r, int width, int64_t stride, const void *const *in, void *out, char *scratch) {
    int size = wide(r) ? 8 : 4, operands = r->grad ? 2 : 1;
    if (stride == 1) {
        row(r, in, out);
    } else if (width >= LANES / 2) {
        columns(r, width, stride, in, out);
    } else { /* too few columns for a vector: each becomes a row */
        char *rows[2] = {scratch, scratch + r->n * size};
        for (int j = 0; j < width; j++) {
            for (int k = 0; k < operands; k++)
                CB_FN(gather_run)(size, (const char *)in[k] + j * size, stride, r->n, rows[k]);
            row(r, (const void *const *)rows, scratch);
            CB_FN(scatter_run)(size, (char *)out + j * size, stride, r->n, scratch);
        }
    }
}

/* Up to WIDTH short rows, in the compute dtype. */
static void short_rows(const run *r, int rows, const void *const *in, void *out) {
    double turned[2][SHORT * WIDTH];
    const void *operands[2] = {turned[0], turned[1]};
    for (int k = 0; k < (r->grad ? 2 : 1); k++)
        wide(r) ? turn_f64(r->n, rows, in[k], turned[k]) : turn_f32(r->n, rows, in[k], (float *)turned[k]);
    columns(r, rows, WIDTH, operands, turned[0]);
    wide(r) ? turn_back_f64(r->n, rows, turned[0], out) : turn_back_f32(r->n, rows, (float *)turned[0], out);
}

/* rows of `width` items, `from_stride` and `to_stride` apart, with a cast */
static void cast_tile(int from, int to, int64_t rows, int64_t width, const char *x, int64_t x_stride,
                      char *out, int64_t out_stride) {
    if (x_stride == width && out_stride == width) width *= rows, rows = 1;
    cb_cast_kernel cast = CB_FN(cast_table)[from][to];
    for (int64_t i = 0; i < rows; i++)
        cast(width, out + i * out_stride * cb_dtypes[to].size, x + i * x_stride * cb_dtypes[from].size);
}

/* Pieces count tiles: of `rows` short rows, of one row, or of columns. Scratch holds a tile of each operand
 * twice: cast, and turned. */
static void run_tiles(void *context, int64_t begin, int64_t end) {
    run *r = context;
    int compute = cb_compute_dtype(r->dtype), size = cb_dtypes[compute].size, operands = r->grad ? 2 : 1;
    int64_t part = r->n * r->width * r->rows * size;
    int64_t batch = r->made ? CB_MAX(1, MADE / (r->n * r->rows)) : 0; /* tiles made together */
    int64_t room = batch * r->n * r->rows * r->itemsize, nbytes = 2 * part + 2 * r->n * size + room;
    const char *made = NULL; /* item `made_from` */
    int64_t made_from = 0;
    cb_making making;
    char small[32768] __attribute__((aligned(64)));
    char *scratch = nbytes <= (int64_t)sizeof small ? small : cb_alloc(CB_CPU, nbytes);
    if (!scratch) {
        r->failed = true;
        return;
    }
    if (r->made) CB_FN(making_begin)(&making, r->made, r->which);
    for (int64_t t = begin; t < end; t++) {
        int64_t column = t % r->tiles * r->width, group = t / r->tiles * r->rows,
                offset = group * r->n * r->inner + column;
        int width = (int)CB_MIN(r->width, r->inner - column), rows = (int)CB_MIN(r->rows, r->outer - group);
        int64_t stride = r->inner, height = r->n * rows;
        const void *in[2];
        char *target = r->out + offset * r->itemsize, *out = target;
        if (r->made && (t - begin) % batch == 0) {
            int64_t last = CB_MIN(CB_MIN(t + batch, end) * r->rows, r->outer);
            made_from = offset;
            made = CB_FN(make_items)(&making, offset, last * r->n - offset, scratch + nbytes - room);
        }
        for (int k = 0; k < operands; k++) {
            in[k] = made ? made + (offset - made_from) * r->itemsize : r->in[k] + offset * r->itemsize;
            if (compute == r->dtype) continue;
            cast_tile(r->dtype, compute, height, width, in[k], stride, scratch + k * part, width);
            in[k] = scratch + k * part;
        }
        if (compute != r->dtype) stride = width, out = scratch;
        if (r->rows > 1)
            short_rows(r, rows, in, out);
        else
            tile(r, width, stride, in, out, scratch + 2 * part);
        if (compute != r->dtype) cast_tile(compute, r->dtype, height, width, out, width, target, r->inner);
    }
    if (r->made) CB_FN(making_end)(&making);
    if (scratch != small) cb_free(CB_CPU, scratch, nbytes);
}

static int start(run *r, const cb_tensor *x, int dim, cb_tensor *out) {
    r->n = r->inner = r->outer = 1;
    r->dtype = x->dtype;
    r->itemsize = x->itemsize;
    r->out = out->data;
    for (int d = 0; d < x->ndim; d++) *(d < dim ? &r->outer : d == dim ? &r->n : &r->inner) *= x->shape[d];
    r->width = CB_MIN(WIDTH, r->inner);
    r->tiles = (r->inner + r->width - 1) / r->width;
    r->rows = r->inner == 1 && r->n <= SHORT ? WIDTH : 1;
    int64_t work = r->n * r->width * r->rows, groups = (r->outer + r->rows - 1) / r->rows;
    cb_parallel(groups * r->tiles, CB_MAX(1, WORK / work), run_tiles, r);
    return r->failed ? cb_fail(CB_ERR_MEMORY, "softmax: the system has no memory left.") : CB_OK;
}

int CB_FN(softmax)(const cb_tensor *x, int dim, int log, cb_tensor *out) {
    run r = {.in = {x->data}, .log = log};
    return start(&r, x, dim, out);
}

int CB_FN(softmax_made)(const cb_fused_call *made, const cb_tensor *x, int dim, int log, cb_tensor *out) {
    int64_t n = x->shape[dim];
    for (int d = dim + 1; d < x->ndim; d++)
        if (x->shape[d] != 1) return CB_ERR_UNSUPPORTED;
    if (x->ndim == 0 || n > LONGEST) return CB_ERR_UNSUPPORTED;
    cb_sweep w;
    CB_TRY(CB_FN(sweep_open)(&w, made->steps, made->outs, made->xs));
    run r = {.log = log, .made = &w, .which = made->which};
    CB_TRY(start(&r, x, dim, out));
    return w.status;
}

int CB_FN(softmax_grad)(const cb_tensor *ct, const cb_tensor *y, int dim, int log, cb_tensor *out) {
    run r = {.in = {ct->data, y->data}, .log = log, .grad = true};
    return start(&r, y, dim, out);
}

/* ---- cross-entropy ---- */

typedef struct entropy {
    int dtype;
    bool failed;
    int64_t count, n, ignore, rows; /* rows in all; classes; rows a batch */
    const char *x;
    const int64_t *labels;
    const char *ct; /* gradient: in the compute dtype, as `totals` */
    char *totals; /* log-sum-exps */
    char *out; /* losses, or the gradient */
} entropy;

/* Losses of up to WIDTH short rows: x in the compute dtype. */
static void short_losses(const entropy *e, int64_t first, int rows, const void *x, double *losses) {
    double turned[SHORT * WIDTH];
    bool wide = e->dtype == CB_F64;
    char *totals = e->totals + first * (wide ? 8 : 4);
    if (wide) {
        turn_f64(e->n, rows, x, turned);
        columns_logsumexp_f64(e->n, rows, WIDTH, turned, (double *)totals);
    } else {
        turn_f32(e->n, rows, x, (float *)turned);
        columns_logsumexp_f32(e->n, rows, WIDTH, (float *)turned, (float *)totals);
    }
    for (int j = 0; j < rows; j++) {
        int64_t label = e->labels[first + j], at = j * e->n + label;
        if (label == e->ignore)
            losses[j] = 0;
        else if (wide)
            losses[j] = ((double *)totals)[j] - ((const double *)x)[at];
        else
            losses[j] = (double)(((float *)totals)[j] - ((const float *)x)[at]);
    }
}

/* One row: its loss, or its gradient into `to`. */
static double entropy_row(const entropy *e, int64_t i, const void *x, void *to) {
    int64_t label = e->labels[i] == e->ignore ? -1 : e->labels[i];
    if (e->dtype == CB_F64) {
        double loss = 0, *total = (double *)e->totals + i;
        if (!e->ct)
            row_cross_entropy_f64(e->n, x, label, &loss, total);
        else if (label < 0)
            memset(to, 0, (size_t)e->n * sizeof(double));
        else
            row_cross_entropy_grad_f64(e->n, ((const double *)e->ct)[i], x, label, *total, to);
        return loss;
    }
    float loss = 0, *total = (float *)e->totals + i;
    if (!e->ct)
        row_cross_entropy_f32(e->n, x, label, &loss, total);
    else if (label < 0)
        memset(to, 0, (size_t)e->n * sizeof(float));
    else
        row_cross_entropy_grad_f32(e->n, ((const float *)e->ct)[i], x, label, *total, to);
    return (double)loss;
}

/* Pieces count batches of `rows` rows. */
static void entropy_rows(void *context, int64_t begin, int64_t end) {
    entropy *e = context;
    int compute = cb_compute_dtype(e->dtype), itemsize = cb_dtypes[e->dtype].size;
    bool convert = compute != e->dtype;
    char small[32768] __attribute__((aligned(64)));
    double losses[WIDTH];
    int64_t nbytes = convert ? e->n * e->rows * cb_dtypes[compute].size : 0;
    char *scratch = nbytes <= (int64_t)sizeof small ? small : cb_alloc(CB_CPU, nbytes);
    if (!scratch) {
        e->failed = true;
        return;
    }
    for (int64_t b = begin; b < end; b++) {
        int64_t first = b * e->rows, offset = first * e->n * itemsize;
        int rows = (int)CB_MIN(e->rows, e->count - first);
        const void *x = e->x + offset;
        char *to = e->ct ? e->out + offset : NULL, *landing = convert ? scratch : to;
        if (convert) {
            CB_FN(cast_table)[e->dtype][compute](rows * e->n, scratch, x);
            x = scratch;
        }
        if (e->rows > 1)
            short_losses(e, first, rows, x, losses);
        else
            losses[0] = entropy_row(e, first, x, landing);
        if (!e->ct)
            CB_FN(cast_table)[CB_F64][e->dtype](rows, e->out + first * itemsize, losses);
        else if (convert)
            CB_FN(cast_table)[compute][e->dtype](e->n, to, scratch);
    }
    if (scratch != small) cb_free(CB_CPU, scratch, nbytes);
}

static int run_entropy(entropy *e, const cb_tensor *logits, const cb_tensor *labels, int64_t ignore) {
    e->count = logits->shape[0];
    e->dtype = logits->dtype;
    e->n = logits->shape[1];
    e->ignore = ignore;
    e->x = logits->data;
    e->labels = labels->data;
    for (int64_t i = 0; i < e->count; i++) {
        int64_t label = e->labels[i];
        if ((label < 0 || label >= e->n) && label != ignore)
            return cb_fail(CB_ERR_INDEX,
                           "cross_entropy: expected labels in [0, %lld), got %lld in row %lld. Mark rows to "
                           "skip with ignore_index.",
                           (long long)e->n, (long long)label, (long long)i);
    }
    e->rows = e->n > 0 && e->n <= SHORT && !e->ct ? WIDTH : 1;
    cb_parallel((e->count + e->rows - 1) / e->rows, CB_MAX(1, WORK / CB_MAX(e->n * e->rows, 1)), entropy_rows,
                e);
    return e->failed ? cb_fail(CB_ERR_MEMORY, "cross_entropy: the system has no memory left.") : CB_OK;
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
