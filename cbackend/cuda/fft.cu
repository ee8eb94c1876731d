/* Of Fourier transforms, what moves items: the whole spectrum of a real signal from half of it. The
 * transforms themselves make the round trip through host memory. */
#include "kernels.h"

enum { BLOCK = 256 };

template <typename R>
__global__ void mirror_lines(int64_t all, int64_t n, int64_t inner, int forward, const cb_complex_of<R> *half,
                             cb_complex_of<R> *out) {
    int64_t most = n / 2 + 1;
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < all; i += (int64_t)gridDim.x * BLOCK) {
        int64_t k = i / inner % n, line = i / inner / n, column = i % inner;
        bool mirrored = k >= most;
        cb_complex_of<R> v = half[(line * most + (mirrored ? n - k : k)) * inner + column];
        if (mirrored == (forward != 0)) v.im = -v.im; /* the inverse transform is the conjugate */
        out[i] = v;
    }
}

template <typename R> static void run(const cb_tensor *half, int dim, int forward, cb_tensor *out) {
    int64_t inner = 1;
    for (int d = dim + 1; d < out->ndim; d++) inner *= out->shape[d];
    CB_LAUNCH((mirror_lines<R>), cb_fill_blocks(out->numel, BLOCK), BLOCK, 0, cb_stream(), out->numel,
              out->shape[dim], inner, forward, (const cb_complex_of<R> *)half->data,
              (cb_complex_of<R> *)out->data);
}

void cb_cuda_fft_mirror(const cb_tensor *half, int dim, int forward, cb_tensor *out) {
    if (out->dtype == CB_C128)
        run<double>(half, dim, forward, out);
    else
        run<float>(half, dim, forward, out);
}
