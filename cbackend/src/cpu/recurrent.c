/* One direction of an LSTM layer on the CPU: for each step one matrix product and one sweep over all that is
 * elementwise. Rows do not see each other: where the recurrent weights fit into a core's cache, a thread
 * takes some rows through all steps and waits for nobody; larger weights are shared by all threads at each
 * step. */
#include "cpu.h"
#include "vmath.h"

/* elements of the state a piece; rows a piece; bytes of weights that stay in a core's cache; side of a block
 * that is turned; items between rows of the weights, so that those of a tile do not share cache sets */
enum { WORK = 1024, ROWS = 8, CACHED = 1 << 19, BLOCK = 16, GAP = 16 };

typedef struct lstm_run {
    const cb_lstm *l;
    bool grad;
    const void *w; /* as the products want it, rows w_row items apart */
    int64_t w_row, size, step;
    int status;
} lstm_run;

#define LSTM(real, f)                                                                                        \
    /* Rows of step t, which begins with the states of step `before` or, if that is -1, with the first. acts \
     * holds the recurrent part of the gates. */                                                             \
    static void forward_##f(const cb_lstm *l, int64_t t, int64_t before, int64_t begin, int64_t end) {       \
        int64_t n = l->hidden, state = l->rows * n;                                                          \
        const real *prior = before < 0 ? l->c0 : (const real *)l->cs + before * state;                       \
        for (int64_t row = begin; row < end; row++) {                                                        \
            const real *restrict p = (const real *)l->pre + (t * l->rows + row) * 4 * n;                     \
            real *restrict a = (real *)l->acts + (t * l->rows + row) * 4 * n;                                \
            const real *restrict c0 = prior + row * n;                                                       \
            real *restrict c = (real *)l->cs + t * state + row * n;                                          \
            real *restrict h = (real *)l->hs + t * state + row * n;                                          \
            for (int64_t j = 0; j < 2 * n; j++) a[j] = sigmoid_##f(a[j] + p[j]);                             \
            for (int64_t j = 2 * n; j < 3 * n; j++) a[j] = tanh_##f(a[j] + p[j]);                            \
            for (int64_t j = 3 * n; j < 4 * n; j++) a[j] = sigmoid_##f(a[j] + p[j]);                         \
            _Pragma("GCC ivdep") for (int64_t j = 0; j < n; j++) {                                           \
                real now = a[n + j] * c0[j] + a[j] * a[2 * n + j];                                           \
                c[j] = now;                                                                                  \
                h[j] = a[3 * n + j] * tanh_##f(now);                                                         \
            }                                                                                                \
        }                                                                                                    \
    }                                                                                                        \
    /* a row of the backward step; through: a constant, so that the loop is free of branches */              \
    CB_INLINE void backward_row_##f(                                                                         \
        int64_t n, const real *restrict a, const real *restrict c0, const real *restrict c,                  \
        const real *restrict g_h, const real *restrict g_c, const real *restrict dh,                         \
        const real *restrict more, bool through, real *restrict d, real *restrict dc) {                      \
        _Pragma("GCC ivdep") for (int64_t j = 0; j < n; j++) {                                               \
            real enter = a[j], forget = a[n + j], cell = a[2 * n + j], out = a[3 * n + j];                   \
            real squashed = tanh_##f(c[j]), h_ = g_h[j] + dh[j];                                             \
            real c_ = g_c[j] + dc[j] + h_ * out * (1 - squashed * squashed);                                 \
            real d0 = c_ * cell, d1 = c_ * c0[j], d2 = c_ * enter, d3 = h_ * squashed;                       \
            if (through) d0 += more[j], d1 += more[n + j], d2 += more[2 * n + j], d3 += more[3 * n + j];     \
            d[j] = d0 * enter * (1 - enter);                                                                 \
            d[n + j] = d1 * forget * (1 - forget);                                                           \
            d[2 * n + j] = d2 * (1 - cell * cell);                                                           \
            d[3 * n + j] = d3 * out * (1 - out);                                                             \
            dc[j] = c_ * forget;                                                                             \
        }                                                                                                    \
    }                                                                                                        \
    /* the same of the gradient; dh and dc hold what comes from the step behind */                           \
    static void backward_##f(const cb_lstm *l, int64_t t, int64_t before, int64_t begin, int64_t end) {      \
        int64_t n = l->hidden, state = l->rows * n;                                                          \
        const real *prior = before < 0 ? l->c0 : (const real *)l->cs + before * state;                       \
        for (int64_t row = begin; row < end; row++) {                                                        \
            int64_t at = t * state + row * n;                                                                \
            const real *a = (const real *)l->acts + 4 * at, *c = (const real *)l->cs + at;                   \
            const real *g_h = (const real *)l->ct_h + at, *g_c = (const real *)l->ct_c + at;                 \
            const real *dh = (const real *)l->dh + row * n, *c0 = prior + row * n;                           \
            real *d = (real *)l->dpre + 4 * at, *dc = (real *)l->dc + row * n;                               \
            if (l->ct_acts)                                                                                  \
                backward_row_##f(n, a, c0, c, g_h, g_c, dh, (const real *)l->ct_acts + 4 * at, true, d, dc); \
            else                                                                                             \
                backward_row_##f(n, a, c0, c, g_h, g_c, dh, NULL, false, d, dc);                             \
        }                                                                                                    \
    }                                                                                                        \
    static void turn_##f(int64_t n, const real *w, int64_t row, real *to) {                                  \
        for (int64_t i0 = 0; i0 < 4 * n; i0 += BLOCK)                                                        \
            for (int64_t j0 = 0; j0 < n; j0 += BLOCK)                                                        \
                for (int64_t j = j0; j < CB_MIN(n, j0 + BLOCK); j++)                                         \
                    for (int64_t i = i0; i < CB_MIN(4 * n, i0 + BLOCK); i++) to[j * row + i] = w[i * n + j]; \
    }
LSTM(float, f32)
LSTM(double, f64)

/* the i-th step of the walk, and the one whose states it begins with, or -1 */
static int64_t step_of(const lstm_run *r, int64_t i, int64_t *before) {
    const cb_lstm *l = r->l;
    int64_t t = l->backwards == r->grad ? i : l->steps - 1 - i;
    *before = l->backwards ? (t + 1 < l->steps ? t + 1 : -1) : t - 1;
    return t;
}

/* The product of step i: the recurrent part of its gates, or the gradient of the states it begins with. */
static void multiply(lstm_run *r, int64_t i, int64_t begin, int64_t end) {
    const cb_lstm *l = r->l;
    int64_t n = l->hidden, state = l->rows * n, before, t = step_of(r, i, &before);
    int64_t k = r->grad ? 4 * n : n, columns = r->grad ? n : 4 * n;
    const char *from = r->grad      ? (const char *)l->dpre + 4 * t * state * r->size
                       : before < 0 ? l->h0
                                    : (const char *)l->hs + before * state * r->size;
    char *to = r->grad ? l->dh : (char *)l->acts + 4 * t * state * r->size;
    cb_gemm g = {.dtype = l->dtype,
                 .m = end - begin,
                 .n = columns,
                 .k = k,
                 .batch = 1,
                 .a = from + begin * k * r->size,
                 .b = r->w,
                 .c = to + begin * columns * r->size,
                 .a_row = k,
                 .a_col = 1,
                 .b_row = r->w_row,
                 .b_col = 1};
    int status = CB_FN(gemm)(&g);
    if (status) __atomic_store_n(&r->status, status, __ATOMIC_RELAXED);
}

static void gates(lstm_run *r, int64_t i, int64_t begin, int64_t end) {
    int64_t before, t = step_of(r, i, &before);
    if (r->l->dtype == CB_F32)
        (r->grad ? backward_f32 : forward_f32)(r->l, t, before, begin, end);
    else
        (r->grad ? backward_f64 : forward_f64)(r->l, t, before, begin, end);
}

/* items: rows */
static void one_step(void *context, int64_t begin, int64_t end) {
    lstm_run *r = context;
    gates(r, r->step, begin, end);
}
static void all_steps(void *context, int64_t begin, int64_t end) {
    lstm_run *r = context;
    for (int64_t i = 0; i < r->l->steps; i++) {
        if (!r->grad) multiply(r, i, begin, end);
        gates(r, i, begin, end);
        if (r->grad) multiply(r, i, begin, end);
    }
}

static int walk(lstm_run *r) {
    const cb_lstm *l = r->l;
    if (4 * l->hidden * l->hidden * r->size <= CACHED) {
        cb_parallel(l->rows, ROWS, all_steps, r);
        return r->status;
    }
    for (r->step = 0; r->step < l->steps && !r->status; r->step++) {
        if (!r->grad) multiply(r, r->step, 0, l->rows);
        cb_parallel(l->rows, CB_MAX(1, WORK / l->hidden), one_step, r);
        if (r->grad) multiply(r, r->step, 0, l->rows);
    }
    return r->status;
}

int CB_FN(lstm)(const cb_lstm *l) {
    int64_t n = l->hidden, size = cb_dtypes[l->dtype].size, row = 4 * n + GAP, nbytes = n * row * size;
    void *turned = cb_alloc(CB_CPU, nbytes);
    if (!turned) return CB_ERR_MEMORY;
    if (l->dtype == CB_F32)
        turn_f32(n, l->w, row, turned);
    else
        turn_f64(n, l->w, row, turned);
    int status = walk(&(lstm_run){.l = l, .w = turned, .w_row = row, .size = size});
    cb_free(CB_CPU, turned, nbytes);
    return status;
}

int CB_FN(lstm_grad)(const cb_lstm *l) {
    int64_t size = cb_dtypes[l->dtype].size;
    memset(l->dh, 0, (size_t)(l->rows * l->hidden * size));
    memset(l->dc, 0, (size_t)(l->rows * l->hidden * size));
    return walk(&(lstm_run){.l = l, .grad = true, .w = l->w, .w_row = l->hidden, .size = size});
}
