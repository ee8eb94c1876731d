/* The elementwise part of a step of an LSTM, forward and backward, a thread a cell. Gates lie as input,
 * forget, cell, output; formulas are the CPU's (../src/cpu/recurrent.c). */
#include "kernels.h"

#include "vmath.h"

enum { BLOCK = 256 };

CB_DEV float squash(float x) { return tanh_f32(x); }
CB_DEV double squash(double x) { return tanh_f64(x); }
CB_DEV float open(float x) { return sigmoid_f32(x); }
CB_DEV double open(double x) { return sigmoid_f64(x); }

template <typename R>
__global__ void step_forward(int64_t cells, int64_t n, const R *pre, const R *hidden, const R *c, R *acts,
                             R *c_out, R *h_out) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < cells; i += (int64_t)gridDim.x * BLOCK) {
        int64_t at = i / n * 4 * n + i % n;
        R enter = open(pre[at] + hidden[at]), forget = open(pre[at + n] + hidden[at + n]);
        R cell = squash(pre[at + 2 * n] + hidden[at + 2 * n]),
          out = open(pre[at + 3 * n] + hidden[at + 3 * n]);
        R next = forget * c[i] + enter * cell;
        acts[at] = enter;
        acts[at + n] = forget;
        acts[at + 2 * n] = cell;
        acts[at + 3 * n] = out;
        c_out[i] = next;
        h_out[i] = squash(next) * out;
    }
}

template <typename R>
__global__ void step_backward(int64_t cells, int64_t n, const R *dh, R *dc, const R *acts, const R *c,
                              const R *prior, R *d) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < cells; i += (int64_t)gridDim.x * BLOCK) {
        int64_t at = i / n * 4 * n + i % n;
        R enter = acts[at], forget = acts[at + n], cell = acts[at + 2 * n], out = acts[at + 3 * n];
        R squashed = squash(c[i]), whole = dc[i] + dh[i] * out * (1 - squashed * squashed);
        d[at] = whole * cell * enter * (1 - enter);
        d[at + n] = whole * prior[i] * forget * (1 - forget);
        d[at + 2 * n] = whole * enter * (1 - cell * cell);
        d[at + 3 * n] = dh[i] * squashed * out * (1 - out);
        dc[i] = whole * forget;
    }
}

template <typename R>
static void forward(int64_t rows, int64_t n, const void *pre, const void *hidden, const void *c, void *acts,
                    void *c_out, void *h_out) {
    CB_LAUNCH((step_forward<R>), cb_fill_blocks(rows * n, BLOCK), BLOCK, 0, cb_stream(), rows * n, n,
              (const R *)pre, (const R *)hidden, (const R *)c, (R *)acts, (R *)c_out, (R *)h_out);
}

template <typename R>
static void backward(int64_t rows, int64_t n, const void *dh, void *dc, const void *acts, const void *c,
                     const void *prior, void *d) {
    CB_LAUNCH((step_backward<R>), cb_fill_blocks(rows * n, BLOCK), BLOCK, 0, cb_stream(), rows * n, n,
              (const R *)dh, (R *)dc, (const R *)acts, (const R *)c, (const R *)prior, (R *)d);
}

void cb_cuda_lstm_cell(int dtype, int64_t rows, int64_t n, const void *pre, const void *hidden, const void *c,
                       void *acts, void *c_out, void *h_out) {
    if (dtype == CB_F64)
        forward<double>(rows, n, pre, hidden, c, acts, c_out, h_out);
    else
        forward<float>(rows, n, pre, hidden, c, acts, c_out, h_out);
}

void cb_cuda_lstm_cell_grad(int dtype, int64_t rows, int64_t n, const void *dh, void *dc, const void *acts,
                            const void *c, const void *prior, void *d) {
    if (dtype == CB_F64)
        backward<double>(rows, n, dh, dc, acts, c, prior, d);
    else
        backward<float>(rows, n, dh, dc, acts, c, prior, d);
}
