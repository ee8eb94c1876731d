/* One direction of an LSTM layer on the CPU: for each step one matrix product and one sweep over all that is
 * elementwise. The recurrent weights are turned once, so that every product reads them in place. */
#include "cpu.h"
#include "gemm_batch.h"
#include "vmath.h"

enum { WORK = 1024, BLOCK = 16 }; /* elements of the state a piece; side of a block that is turned */

typedef struct lstm_step {
    const cb_lstm *l;
    int64_t t, before; /* the step, and the one whose states it begins with, or -1 */
} lstm_step;

#define LSTM(real, f)                                                                                        \
    /* items: rows. acts holds the recurrent part of the gates. */                                           \
    static void forward_##f(void *context, int64_t begin, int64_t end) {                                     \
        const lstm_step *s = context;                                                                        \
        const cb_lstm *l = s->l;                                                                             \
        int64_t n = l->hidden, state = l->rows * n;                                                          \
        const real *prior = s->before < 0 ? l->c0 : (const real *)l->cs + s->before * state;                 \
        for (int64_t row = begin; row < end; row++) {                                                        \
            const real *restrict p = (const real *)l->pre + (s->t * l->rows + row) * 4 * n;                  \
            real *restrict a = (real *)l->acts + (s->t * l->rows + row) * 4 * n;                             \
            const real *restrict c0 = prior + row * n;                                                       \
            real *restrict c = (real *)l->cs + s->t * state + row * n;                                       \
            real *restrict h = (real *)l->hs + s->t * state + row * n;                                       \
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
    /* items: rows. dh and dc hold what comes from the step behind. */                                       \
    static void backward_##f(void *context, int64_t begin, int64_t end) {                                    \
        const lstm_step *s = context;                                                                        \
        const cb_lstm *l = s->l;                                                                             \
        int64_t n = l->hidden, state = l->rows * n;                                                          \
        const real *prior = s->before < 0 ? l->c0 : (const real *)l->cs + s->before * state;                 \
        for (int64_t row = begin; row < end; row++) {                                                        \
            int64_t at = s->t * state + row * n;                                                             \
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
    static void turn_##f(int64_t n, const real *w, real *to) {                                               \
        for (int64_t i0 = 0; i0 < 4 * n; i0 += BLOCK)                                                        \
            for (int64_t j0 = 0; j0 < n; j0 += BLOCK)                                                        \
                for (int64_t j = j0; j < CB_MIN(n, j0 + BLOCK); j++)                                         \
                    for (int64_t i = i0; i < CB_MIN(4 * n, i0 + BLOCK); i++)                                 \
                        to[j * 4 * n + i] = w[i * n + j];                                                    \
    }
LSTM(float, f32)
LSTM(double, f64)

int CB_FN(lstm)(const cb_lstm *l) {
    bool narrow = l->dtype == CB_F32;
    int64_t n = l->hidden, size = narrow ? 4 : 8, state = l->rows * n * size, nbytes = 4 * n * n * size;
    void *turned = cb_alloc(CB_CPU, nbytes);
    if (!turned) return CB_ERR_MEMORY;
    if (narrow)
        turn_f32(n, l->w, turned);
    else
        turn_f64(n, l->w, turned);
    int status = CB_OK;
    lstm_step s = {.l = l, .before = -1};
    for (int64_t i = 0; i < l->steps && !status; i++) {
        s.t = l->backwards ? l->steps - 1 - i : i;
        const void *h = s.before < 0 ? l->h0 : (const char *)l->hs + s.before * state;
        status = one_product(l->dtype, l->rows, 4 * n, n, (char *)l->acts + 4 * s.t * state, h, false, turned,
                             false);
        cb_parallel(l->rows, CB_MAX(1, WORK / n), narrow ? forward_f32 : forward_f64, &s);
        s.before = s.t;
    }
    cb_free(CB_CPU, turned, nbytes);
    return status;
}

int CB_FN(lstm_grad)(const cb_lstm *l) {
    bool narrow = l->dtype == CB_F32;
    int64_t n = l->hidden, size = narrow ? 4 : 8, state = l->rows * n * size;
    int status = CB_OK;
    memset(l->dh, 0, (size_t)state);
    memset(l->dc, 0, (size_t)state);
    lstm_step s = {.l = l};
    for (int64_t i = 0; i < l->steps && !status; i++) {
        s.t = l->backwards ? i : l->steps - 1 - i;
        s.before = l->backwards ? (s.t + 1 < l->steps ? s.t + 1 : -1) : s.t - 1;
        cb_parallel(l->rows, CB_MAX(1, WORK / n), narrow ? backward_f32 : backward_f64, &s);
        status = one_product(l->dtype, l->rows, n, 4 * n, l->dh, (const char *)l->dpre + 4 * s.t * state,
                             false, l->w, false);
    }
    return status;
}
