/* Layer norm and RMS norm of contiguous rows, forward and backward. A block takes a row; the gradients of
 * weight and bias are sums over rows, taken by threads down the columns in fixed pieces, in double, and
 * joined in order.
 */
#include "kernels.h"

enum { BLOCK = 256, PIECES = 64, PIECE_ROWS = 32 };

struct rows {
    int dtype;
    int64_t count, n;
};

template <typename F>
__global__ void norm_rows(rows r, const void *x, const F *weight, const F *bias, double eps, void *y, F *rstd,
                          F *mean) {
    CB_SHARED(F, parts, 32);
    for (int64_t row = blockIdx.x; row < r.count; row += gridDim.x) {
        int64_t base = row * r.n;
        F middle = 0, squares = 0;
        if (mean) {
            F sum = 0;
            for (int64_t i = threadIdx.x; i < r.n; i += BLOCK) sum += cb_load_as<F>(r.dtype, x, base + i);
            middle = cb_block_reduce(sum, parts, cb_op_sum()) / (F)r.n;
        }
        for (int64_t i = threadIdx.x; i < r.n; i += BLOCK) {
            F v = cb_load_as<F>(r.dtype, x, base + i) - middle;
            squares += v * v;
        }
        squares = cb_block_reduce(squares, parts, cb_op_sum());
        F scale = (F)(1 / sqrt((double)squares / (double)r.n + eps));
        for (int64_t i = threadIdx.x; i < r.n; i += BLOCK) {
            F v = (cb_load_as<F>(r.dtype, x, base + i) - middle) * scale;
            if (weight) v *= weight[i];
            if (bias) v += bias[i];
            cb_store_as(r.dtype, y, base + i, v);
        }
        if (threadIdx.x == 0) {
            rstd[row] = scale;
            if (mean) mean[row] = middle;
        }
    }
}

template <typename F>
__global__ void norm_grad_rows(rows r, const void *ct, const void *x, const F *mean, const F *rstd,
                               const F *weight, void *dx) {
    CB_SHARED(F, parts, 32);
    for (int64_t row = blockIdx.x; row < r.count; row += gridDim.x) {
        int64_t base = row * r.n;
        F middle = mean ? mean[row] : (F)0, scale = rstd[row], dot = 0, sum = 0;
        for (int64_t i = threadIdx.x; i < r.n; i += BLOCK) {
            F g = cb_load_as<F>(r.dtype, ct, base + i) * (weight ? weight[i] : (F)1);
            dot += g * (cb_load_as<F>(r.dtype, x, base + i) - middle);
            sum += g;
        }
        dot = cb_block_reduce(dot, parts, cb_op_sum());
        sum = cb_block_reduce(sum, parts, cb_op_sum());
        F mean_g = mean ? sum / (F)r.n : (F)0, slope = dot * scale * scale / (F)r.n;
        for (int64_t i = threadIdx.x; i < r.n; i += BLOCK) {
            F g = cb_load_as<F>(r.dtype, ct, base + i) * (weight ? weight[i] : (F)1);
            F v = cb_load_as<F>(r.dtype, x, base + i) - middle;
            cb_store_as(r.dtype, dx, base + i, scale * (g - mean_g - v * slope));
        }
    }
}

/* totals [pieces, 2, n]: of ct * xhat and of ct */
template <typename F>
__global__ void sum_columns(rows r, const void *ct, const void *x, const F *mean, const F *rstd,
                            int64_t piece, double *totals) {
    int64_t first = (int64_t)blockIdx.y * piece, last = first + piece < r.count ? first + piece : r.count;
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < r.n; i += (int64_t)gridDim.x * BLOCK) {
        double scaled = 0, plain = 0;
        for (int64_t row = first; row < last; row++) {
            F g = cb_load_as<F>(r.dtype, ct, row * r.n + i), middle = mean ? mean[row] : (F)0;
            scaled += (double)(g * ((cb_load_as<F>(r.dtype, x, row * r.n + i) - middle) * rstd[row]));
            plain += (double)g;
        }
        totals[((int64_t)blockIdx.y * 2) * r.n + i] = scaled;
        totals[((int64_t)blockIdx.y * 2 + 1) * r.n + i] = plain;
    }
}

__global__ void join_columns(int64_t pieces, int64_t n, int which, const double *totals, int dtype,
                             void *out) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < n; i += (int64_t)gridDim.x * BLOCK) {
        double sum = 0;
        for (int64_t p = 0; p < pieces; p++) sum += totals[(p * 2 + which) * n + i];
        cb_store_as(dtype, out, i, sum);
    }
}

template <typename F> static const F *data_of(const cb_tensor *x) { return x ? (const F *)x->data : nullptr; }

template <typename F>
static int forward(const cb_tensor *x, int64_t n, const cb_tensor *weight, const cb_tensor *bias, double eps,
                   cb_tensor *const *out) {
    rows r = {x->dtype, out[1]->numel, n};
    CB_LAUNCH((norm_rows<F>), cb_fill_blocks(r.count, 1), BLOCK, 0, cb_stream(), r, x->data,
              data_of<F>(weight), data_of<F>(bias), eps, out[0]->data, (F *)out[1]->data,
              out[2] ? (F *)out[2]->data : nullptr);
    return cb_launched("norm");
}

int cb_cuda_norm(const cb_tensor *x, int64_t n, const cb_tensor *weight, const cb_tensor *bias, double eps,
                 cb_tensor *const *out) {
    return x->dtype == CB_F64 ? forward<double>(x, n, weight, bias, eps, out)
                              : forward<float>(x, n, weight, bias, eps, out);
}

template <typename F>
static int backward(const cb_tensor *ct, const cb_tensor *x, int64_t n, const cb_tensor *mean,
                    const cb_tensor *rstd, const cb_tensor *weight, cb_tensor *const *out) {
    rows r = {x->dtype, rstd->numel, n};
    const F *means = data_of<F>(mean), *rstds = data_of<F>(rstd);
    if (out[1] || out[2]) { /* first: dx may lie on x */
        int64_t piece = (r.count + PIECES - 1) / PIECES;
        if (piece < PIECE_ROWS) piece = PIECE_ROWS;
        int64_t pieces = (r.count + piece - 1) / piece;
        cb_scratch totals(pieces * 2 * n * (int64_t)sizeof(double));
        if (!totals.ok()) return CB_ERR_MEMORY;
        if (pieces > 0)
            CB_LAUNCH((sum_columns<F>), dim3(cb_blocks(n, BLOCK), (unsigned)pieces), BLOCK, 0, cb_stream(), r,
                      ct->data, x->data, means, rstds, piece, totals.as<double>());
        for (int k = 0; k < 2; k++)
            if (out[k + 1])
                CB_LAUNCH(join_columns, cb_fill_blocks(n, BLOCK), BLOCK, 0, cb_stream(), pieces, n, k,
                          totals.as<double>(), out[k + 1]->dtype, out[k + 1]->data);
    }
    if (r.count > 0)
        CB_LAUNCH((norm_grad_rows<F>), cb_fill_blocks(r.count, 1), BLOCK, 0, cb_stream(), r, ct->data,
                  x->data, means, rstds, data_of<F>(weight), out[0]->data);
    return cb_launched("norm");
}

int cb_cuda_norm_grad(const cb_tensor *ct, const cb_tensor *x, int64_t n, const cb_tensor *mean,
                      const cb_tensor *rstd, const cb_tensor *weight, cb_tensor *const *out) {
    return x->dtype == CB_F64 ? backward<double>(ct, x, n, mean, rstd, weight, out)
                              : backward<float>(ct, x, n, mean, rstd, weight, out);
}
