/* One direction of an LSTM layer and its gradient: for each step a product and one launch for all that is
 * elementwise, a thread a cell. Formulas are the CPU's (../src/cpu/recurrent.c). */
#include "kernels.h"

#include "math_of.h"

enum { BLOCK = 256 };

/* of one step; acts holds the recurrent part of the gates */
template <typename R>
__global__ void step_forward(int64_t cells, int64_t n, const R *pre, const R *c0, R *acts, R *c, R *h) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < cells; i += (int64_t)gridDim.x * BLOCK) {
        int64_t at = i / n * 4 * n + i % n;
        R enter = cb_sigmoid(acts[at] + pre[at]), forget = cb_sigmoid(acts[at + n] + pre[at + n]);
        R cell = cb_tanh(acts[at + 2 * n] + pre[at + 2 * n]),
          out = cb_sigmoid(acts[at + 3 * n] + pre[at + 3 * n]);
        R now = forget * c0[i] + enter * cell;
        acts[at] = enter;
        acts[at + n] = forget;
        acts[at + 2 * n] = cell;
        acts[at + 3 * n] = out;
        c[i] = now;
        h[i] = out * cb_tanh(now);
    }
}

/* of one step; dh and dc hold what comes from the step behind */
template <typename R>
__global__ void step_backward(int64_t cells, int64_t n, const R *g_h, const R *g_c, const R *g_acts,
                              const R *acts, const R *c, const R *c0, const R *dh, R *dc, R *d) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < cells; i += (int64_t)gridDim.x * BLOCK) {
        int64_t at = i / n * 4 * n + i % n;
        R gate[4], slope[4];
        for (int k = 0; k < 4; k++) gate[k] = acts[at + k * n];
        R squashed = cb_tanh(c[i]), h = g_h[i] + dh[i];
        R whole = g_c[i] + dc[i] + h * gate[3] * (1 - squashed * squashed);
        slope[0] = whole * gate[2];
        slope[1] = whole * c0[i];
        slope[2] = whole * gate[0];
        slope[3] = h * squashed;
        for (int k = 0; k < 4; k++) {
            if (g_acts) slope[k] += g_acts[at + k * n];
            d[at + k * n] = slope[k] * (k == 2 ? 1 - gate[2] * gate[2] : gate[k] * (1 - gate[k]));
        }
        dc[i] = whole * gate[1];
    }
}

/* c [rows, n] = a [rows, k] @ b, with b's strides */
static int product(const cb_lstm *l, int64_t k, int64_t n, const void *a, int64_t b_row, int64_t b_col,
                   void *c) {
    cb_gemm g = {};
    g.dtype = l->dtype;
    g.m = l->rows;
    g.n = n;
    g.k = k;
    g.batch = 1;
    g.a = (const char *)a;
    g.b = (const char *)l->w;
    g.c = (char *)c;
    g.a_row = k;
    g.a_col = 1;
    g.b_row = b_row;
    g.b_col = b_col;
    return cb_cuda_gemm(&g);
}

template <typename R> static int forward(const cb_lstm *l) {
    int64_t n = l->hidden, state = l->rows * n, before = -1;
    unsigned grid = cb_fill_blocks(state, BLOCK);
    for (int64_t i = 0; i < l->steps; i++) {
        int64_t t = l->backwards ? l->steps - 1 - i : i;
        const R *h = before < 0 ? (const R *)l->h0 : (const R *)l->hs + before * state;
        const R *c = before < 0 ? (const R *)l->c0 : (const R *)l->cs + before * state;
        R *acts = (R *)l->acts + 4 * t * state;
        CB_TRY(product(l, n, 4 * n, h, 1, n, acts));
        CB_LAUNCH((step_forward<R>), grid, BLOCK, 0, cb_stream(), state, n, (const R *)l->pre + 4 * t * state,
                  c, acts, (R *)l->cs + t * state, (R *)l->hs + t * state);
        before = t;
    }
    return cb_launched("lstm_layer");
}

template <typename R> static int backward(const cb_lstm *l) {
    int64_t n = l->hidden, state = l->rows * n;
    unsigned grid = cb_fill_blocks(state, BLOCK);
    CB_TRY(cb_set_bytes(l->dh, 0, state * (int64_t)sizeof(R)));
    CB_TRY(cb_set_bytes(l->dc, 0, state * (int64_t)sizeof(R)));
    for (int64_t i = 0; i < l->steps; i++) {
        int64_t t = l->backwards ? i : l->steps - 1 - i;
        int64_t before = l->backwards ? (t + 1 < l->steps ? t + 1 : -1) : t - 1, at = t * state;
        const R *c0 = before < 0 ? (const R *)l->c0 : (const R *)l->cs + before * state;
        const R *more = l->ct_acts ? (const R *)l->ct_acts + 4 * at : nullptr;
        R *d = (R *)l->dpre + 4 * at;
        CB_LAUNCH((step_backward<R>), grid, BLOCK, 0, cb_stream(), state, n, (const R *)l->ct_h + at,
                  (const R *)l->ct_c + at, more, (const R *)l->acts + 4 * at, (const R *)l->cs + at, c0,
                  (const R *)l->dh, (R *)l->dc, d);
        CB_TRY(product(l, 4 * n, n, d, n, 1, l->dh));
    }
    return cb_launched("lstm_layer_grad");
}

int cb_cuda_lstm(const cb_lstm *l) { return l->dtype == CB_F64 ? forward<double>(l) : forward<float>(l); }
int cb_cuda_lstm_grad(const cb_lstm *l) {
    return l->dtype == CB_F64 ? backward<double>(l) : backward<float>(l);
}
