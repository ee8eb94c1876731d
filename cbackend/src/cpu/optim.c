/* Optimizer steps. All tensors of a list form one row of items, cut into pieces of a fixed size, so that
 * threads share few large and many small tensors alike; each tensor starts at a multiple of ALIGN items.
 *
 * Kernels run over float32 or float64 memory where it lies. Other tensors (16-bit floats, strided operands)
 * go through tiles in the order of the parameter's memory. Formulas and their order are those of torch's
 * single-tensor optimizers, except that the root of Adam's mean square is multiplied by the reciprocal of its
 * correction. */
#include <math.h>

#include "cpu.h"

enum { ALIGN = 64, GRAIN_SGD = 65536, GRAIN_ADAM = 32768, LOCAL = 64 };

typedef void (*step_kernel)(const cb_step *s, int64_t n, void *const *x);

/* Flags are constants at each call, so that every loop is free of branches. */
#define KERNELS(real, id, root)                                                                              \
    CB_INLINE void sgd_loop_##id(const cb_step *s, int64_t n, void *const *x, bool l2, bool momentum,        \
                                 bool start, bool nesterov) {                                                \
        real *p = x[CB_STEP_PARAM], *b = x[CB_STEP_FIRST_STATE];                                             \
        const real *g = x[CB_STEP_GRAD];                                                                     \
        const real sign = (real)s->sign, decay = (real)s->decay, rate = (real)s->rate;                       \
        const real factor = (real)s->momentum, share = (real)s->share;                                       \
        _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) {                                               \
            real d = sign * g[i];                                                                            \
            if (l2) d += decay * p[i];                                                                       \
            if (momentum) {                                                                                  \
                real m = start ? d : factor * b[i] + share * d;                                              \
                b[i] = m;                                                                                    \
                d = nesterov ? d + factor * m : m;                                                           \
            }                                                                                                \
            p[i] += rate * d;                                                                                \
        }                                                                                                    \
    }                                                                                                        \
    CB_INLINE void sgd_decay_##id(const cb_step *s, int64_t n, void *const *x, bool l2) {                    \
        if (s->operands <= CB_STEP_FIRST_STATE)                                                              \
            sgd_loop_##id(s, n, x, l2, false, false, false);                                                 \
        else if (s->start && s->nesterov)                                                                    \
            sgd_loop_##id(s, n, x, l2, true, true, true);                                                    \
        else if (s->start)                                                                                   \
            sgd_loop_##id(s, n, x, l2, true, true, false);                                                   \
        else if (s->nesterov)                                                                                \
            sgd_loop_##id(s, n, x, l2, true, false, true);                                                   \
        else                                                                                                 \
            sgd_loop_##id(s, n, x, l2, true, false, false);                                                  \
    }                                                                                                        \
    static void sgd_##id(const cb_step *s, int64_t n, void *const *x) {                                      \
        if (s->l2)                                                                                           \
            sgd_decay_##id(s, n, x, true);                                                                   \
        else                                                                                                 \
            sgd_decay_##id(s, n, x, false);                                                                  \
    }                                                                                                        \
    CB_INLINE void adam_loop_##id(const cb_step *s, int64_t n, void *const *x, bool l2, bool amsgrad,        \
                                  bool from_mean) {                                                          \
        real *p = x[CB_STEP_PARAM], *mean = x[CB_STEP_FIRST_STATE], *square = x[CB_STEP_SECOND_STATE];       \
        real *largest = x[CB_STEP_THIRD_STATE];                                                              \
        const real *g = x[CB_STEP_GRAD];                                                                     \
        const real sign = (real)s->sign, decay = (real)s->decay, keep = (real)s->keep, rate = (real)s->rate; \
        const real mean_share = (real)s->mean_share, mean_keep = (real)1 - mean_share;                       \
        const real square_keep = (real)s->square_keep, square_share = (real)s->square_share;                 \
        const real scale = (real)s->root_scale, eps = (real)s->eps;                                          \
        _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) {                                               \
            real d = sign * g[i], old = mean[i], way = d - old;                                              \
            if (l2) d += decay * p[i], way = d - old;                                                        \
            real m = from_mean ? old + mean_share * way : d - mean_keep * way;                               \
            real v = square_keep * square[i] + square_share * d * d;                                         \
            mean[i] = m;                                                                                     \
            square[i] = v;                                                                                   \
            if (amsgrad) {                                                                                   \
                real w = largest[i];                                                                         \
                v = w > v || w != w ? w : v; /* nan wins */                                                  \
                largest[i] = v;                                                                              \
            }                                                                                                \
            p[i] = keep * p[i] + rate * m / (root(v) * scale + eps);                                         \
        }                                                                                                    \
    }                                                                                                        \
    CB_INLINE void adam_mean_##id(const cb_step *s, int64_t n, void *const *x, bool from_mean) {             \
        bool amsgrad = s->operands > CB_STEP_THIRD_STATE;                                                    \
        if (s->l2 && amsgrad)                                                                                \
            adam_loop_##id(s, n, x, true, true, from_mean);                                                  \
        else if (s->l2)                                                                                      \
            adam_loop_##id(s, n, x, true, false, from_mean);                                                 \
        else if (amsgrad)                                                                                    \
            adam_loop_##id(s, n, x, false, true, from_mean);                                                 \
        else                                                                                                 \
            adam_loop_##id(s, n, x, false, false, from_mean);                                                \
    }                                                                                                        \
    static void adam_##id(const cb_step *s, int64_t n, void *const *x) {                                     \
        if (s->mean_share < 0.5)                                                                             \
            adam_mean_##id(s, n, x, true); /* as lerp: exact at both ends */                                 \
        else                                                                                                 \
            adam_mean_##id(s, n, x, false);                                                                  \
    }

KERNELS(float, F32, sqrtf)
KERNELS(double, F64, sqrt)

typedef struct job {
    const cb_step *step;
    int n;
    cb_tensor *const *const *lists;
    int64_t *starts; /* n + 1 entries: where each tensor begins in the row of all items */
} job;

static step_kernel kernel_of(const cb_step *s, int compute) {
    if (compute == CB_F32) return s->adam ? adam_F32 : sgd_F32;
    return s->adam ? adam_F64 : sgd_F64;
}

/* Items [begin, begin + n) in the order of the parameter's memory, of operands that lie in any order or
 * dtype. */
static void run_tiles(const job *j, int t, int64_t begin, int64_t n) {
    const cb_tensor *param = j->lists[CB_STEP_PARAM][t];
    int count = j->step->operands, dtype = param->dtype, size = param->itemsize,
        compute = cb_compute_dtype(dtype);
    /* (param, operand): the parameter leads, so all have one order of items */
    cb_space spaces[CB_STEP_OPERANDS];
    bool dense[CB_STEP_OPERANDS], all = dtype == compute;
    char *data[CB_STEP_OPERANDS];
    void *x[CB_STEP_OPERANDS];
    for (int k = 0; k < count; k++) {
        const cb_tensor *operand = j->lists[k][t];
        CB_FN(space_init)(&spaces[k], 2, (const cb_tensor *const[]){param, operand});
        dense[k] = CB_FN(space_dense)(&spaces[k], 1);
        data[k] = operand->data;
        x[k] = data[k] + begin * size;
        all &= dense[k];
    }
    if (all) {
        kernel_of(j->step, compute)(j->step, n, x);
        return;
    }
    char raw[CB_STEP_OPERANDS][CB_TILE * sizeof(double)] __attribute__((aligned(64)));
    float cast[CB_STEP_OPERANDS][CB_TILE] __attribute__((aligned(64)));
    for (int64_t i = begin, end = begin + n, m; i < end; i += m) {
        m = CB_MIN(CB_TILE, end - i);
        for (int k = 0; k < count; k++) {
            x[k] = dense[k] ? data[k] + i * size : raw[k];
            if (!dense[k]) CB_FN(gather)(&spaces[k], 1, size, data[k], i, m, raw[k]);
            if (dtype == compute) continue;
            CB_FN(cast_table)[dtype][compute](m, cast[k], x[k]);
            x[k] = cast[k];
        }
        kernel_of(j->step, compute)(j->step, m, x);
        for (int k = 0; k < count; k++) {
            if (k == CB_STEP_GRAD) continue;
            if (dtype != compute)
                CB_FN(cast_table)[compute][dtype](m, dense[k] ? data[k] + i * size : raw[k], cast[k]);
            if (!dense[k]) CB_FN(scatter)(&spaces[k], 1, size, data[k], i, m, raw[k]);
        }
    }
}

static void run_tensor(const job *j, int t, int64_t begin, int64_t n) {
    const cb_tensor *param = j->lists[CB_STEP_PARAM][t];
    bool simple = param->dtype == CB_F32 || param->dtype == CB_F64;
    void *x[CB_STEP_OPERANDS] = {NULL};
    for (int k = 0; k < j->step->operands; k++) {
        const cb_tensor *operand = j->lists[k][t];
        simple &= cb_is_contiguous(operand);
        x[k] = (char *)operand->data + begin * operand->itemsize;
    }
    if (simple)
        kernel_of(j->step, param->dtype)(j->step, n, x);
    else
        run_tiles(j, t, begin, n);
}

static void run_piece(void *context, int64_t begin, int64_t end) {
    const job *j = context;
    int low = 0, high = j->n; /* the last tensor that starts at or before begin */
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        if (j->starts[middle] <= begin)
            low = middle;
        else
            high = middle;
    }
    for (int t = low; t < j->n && j->starts[t] < end; t++) {
        int64_t at = CB_MAX(begin - j->starts[t], 0),
                stop = CB_MIN(end - j->starts[t], j->lists[CB_STEP_PARAM][t]->numel);
        if (at < stop) run_tensor(j, t, at, stop - at);
    }
}

int CB_FN(optim_step)(const cb_step *s, int n, cb_tensor *const *const *lists) {
    int64_t local[LOCAL + 1], *starts = local, nbytes = (n + 1) * (int64_t)sizeof *starts;
    if (n > LOCAL && !(starts = cb_alloc(CB_CPU, nbytes))) return cb_error_code();
    starts[0] = 0;
    for (int i = 0; i < n; i++)
        starts[i + 1] = starts[i] + (lists[CB_STEP_PARAM][i]->numel + ALIGN - 1) / ALIGN * ALIGN;
    job j = {s, n, lists, starts};
    cb_parallel(starts[n], s->adam ? GRAIN_ADAM : GRAIN_SGD, run_piece, &j);
    if (starts != local) cb_free(CB_CPU, starts, nbytes);
    return CB_OK;
}
