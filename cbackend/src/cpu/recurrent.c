/* The elementwise part of a step of an LSTM, forward and backward: each row of gates is read once, and
 * nothing between the gates and the results goes through memory. Gates lie as input, forget, cell, output.
 *
 * Rows are the pieces that threads share, so results do not depend on their number. */
#include "cpu.h"
#include "vmath.h"

enum { ITEMS = 2048 }; /* of a piece: about 5 us */

typedef struct step {
    int64_t n;
    const void *pre, *hidden, *c; /* backward: the gradient of h, the gates' values, this step's cell */
    const void *prior;            /* backward: the cell before */
    void *acts, *c_out, *h_out;   /* backward: the gradient of the gates, of the cell */
} step;

#define KERNELS(real, id)                                                                               \
    static void forward_##id(void *context, int64_t begin, int64_t end) {                               \
        const step *s = context;                                                                        \
        int64_t n = s->n;                                                                               \
        for (int64_t r = begin; r < end; r++) {                                                         \
            const real *pre = (const real *)s->pre + 4 * n * r;                                         \
            const real *hidden = (const real *)s->hidden + 4 * n * r;                                   \
            const real *c = (const real *)s->c + n * r;                                                 \
            real *acts = (real *)s->acts + 4 * n * r;                                                   \
            real *c_out = (real *)s->c_out + n * r, *h_out = (real *)s->h_out + n * r;                  \
            _Pragma("GCC ivdep") for (int64_t j = 0; j < 2 * n; j++) acts[j] =                          \
                sigmoid_##id(pre[j] + hidden[j]);                                                       \
            _Pragma("GCC ivdep") for (int64_t j = 2 * n; j < 3 * n; j++) acts[j] =                      \
                tanh_##id(pre[j] + hidden[j]);                                                          \
            _Pragma("GCC ivdep") for (int64_t j = 3 * n; j < 4 * n; j++) acts[j] =                      \
                sigmoid_##id(pre[j] + hidden[j]);                                                       \
            _Pragma("GCC ivdep") for (int64_t j = 0; j < n; j++) {                                      \
                real next = acts[n + j] * c[j] + acts[j] * acts[2 * n + j];                             \
                c_out[j] = next;                                                                        \
                h_out[j] = tanh_##id(next) * acts[3 * n + j];                                           \
            }                                                                                           \
        }                                                                                               \
    }                                                                                                   \
    static void backward_##id(void *context, int64_t begin, int64_t end) {                              \
        const step *s = context;                                                                        \
        int64_t n = s->n;                                                                               \
        for (int64_t r = begin; r < end; r++) {                                                         \
            const real *dh = (const real *)s->pre + n * r, *acts = (const real *)s->hidden + 4 * n * r; \
            const real *c = (const real *)s->c + n * r, *prior = (const real *)s->prior + n * r;        \
            real *d = (real *)s->acts + 4 * n * r, *dc = (real *)s->c_out + n * r;                      \
            _Pragma("GCC ivdep") for (int64_t j = 0; j < n; j++) {                                      \
                real enter = acts[j], forget = acts[n + j], cell = acts[2 * n + j];                     \
                real out = acts[3 * n + j], squashed = tanh_##id(c[j]);                                 \
                real whole = dc[j] + dh[j] * out * (1 - squashed * squashed);                           \
                d[j] = whole * cell * enter * (1 - enter);                                              \
                d[n + j] = whole * prior[j] * forget * (1 - forget);                                    \
                d[2 * n + j] = whole * enter * (1 - cell * cell);                                       \
                d[3 * n + j] = dh[j] * squashed * out * (1 - out);                                      \
                dc[j] = whole * forget;                                                                 \
            }                                                                                           \
        }                                                                                               \
    }

KERNELS(float, f32)
KERNELS(double, f64)

void CB_FN(lstm_cell)(int dtype, int64_t rows, int64_t n, const void *pre, const void *hidden, const void *c,
                      void *acts, void *c_out, void *h_out) {
    step s = {.n = n, .pre = pre, .hidden = hidden, .c = c, .acts = acts, .c_out = c_out, .h_out = h_out};
    int64_t grain = CB_MAX(1, ITEMS / CB_MAX(n, 1));
    cb_parallel(rows, grain, dtype == CB_F32 ? forward_f32 : forward_f64, &s);
}

void CB_FN(lstm_cell_grad)(int dtype, int64_t rows, int64_t n, const void *dh, void *dc, const void *acts,
                           const void *c, const void *prior, void *d) {
    step s = {.n = n, .pre = dh, .hidden = acts, .c = c, .prior = prior, .acts = d, .c_out = dc};
    int64_t grain = CB_MAX(1, ITEMS / CB_MAX(n, 1));
    cb_parallel(rows, grain, dtype == CB_F32 ? backward_f32 : backward_f64, &s);
}
