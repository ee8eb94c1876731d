/* Matrix products with any strides: by cuBLASLt where it is there and takes the operands (gemm_library.cc),
 * else by own tiles.
 *
 * float32, float64, complex and integers in their own arithmetic, 16-bit floats in float. The tiles' order of
 * summation is one for all sizes. */
#include "kernels.h"

#include "gemm_library.h"
#include "tile.h"

struct problem {
    int64_t m, n, k, batch;
    int64_t a_row, a_col, b_row, b_col;
    int ndim;
    int64_t shape[CB_WALK_DIMS], a_batch[CB_WALK_DIMS], b_batch[CB_WALK_DIMS];
};

/* items of an operand by row (or column) of the tile and step; S: storage, A: arithmetic */
template <typename S, typename A> struct strided_items {
    const S *data; /* those of the tile's first row */
    int64_t step, k_step, rows, depth;
    bool along_depth;
    __device__ __forceinline__ A operator()(unsigned i, int64_t k) const {
        return i < rows && k < depth ? cb_to<A>(data[i * step + k * k_step]) : A(0);
    }
};

template <typename S, typename A>
__global__ void __launch_bounds__(CB_TILE_THREADS)
    multiply(problem p, const S *a, const S *b, S *c, const S *bias) {
    CB_SHARED(A, shared, CB_TILE_SHARED);
    int64_t tiles_n = (p.n + CB_TILE - 1) / CB_TILE, tiles = (p.m + CB_TILE - 1) / CB_TILE * tiles_n;
    for (int64_t work = blockIdx.x; work < tiles * p.batch; work += gridDim.x) {
        int64_t item = work / tiles, tile = work % tiles, rest = item;
        int64_t i0 = tile / tiles_n * CB_TILE, j0 = tile % tiles_n * CB_TILE;
        const S *pa = a + i0 * p.a_row, *pb = b + j0 * p.b_col;
        for (int d = p.ndim - 1; d >= 0; d--) {
            pa += rest % p.shape[d] * p.a_batch[d];
            pb += rest % p.shape[d] * p.b_batch[d];
            rest /= p.shape[d];
        }
        A sums[CB_TILE_EACH][CB_TILE_EACH];
        cb_tile_product(p.k, strided_items<S, A>{pa, p.a_row, p.a_col, p.m - i0, p.k, p.a_col == 1},
                        strided_items<S, A>{pb, p.b_col, p.b_row, p.n - j0, p.k, p.b_col != 1}, shared, sums);
        for (int f = 0; f < CB_TILE_EACH; f++)
            for (int e = 0; e < CB_TILE_EACH; e++) {
                int64_t i = i0 + cb_tile_row(f), j = j0 + cb_tile_column(e);
                if (i >= p.m || j >= p.n) continue;
                A value = sums[f][e];
                if (bias) value = value + cb_to<A>(bias[j]);
                c[(item * p.m + i) * p.n + j] = cb_to<S>(value);
            }
    }
}

template <typename S, typename A> static int run(const problem &p, const cb_gemm *g) {
    int64_t tiles = (p.m + CB_TILE - 1) / CB_TILE * ((p.n + CB_TILE - 1) / CB_TILE) * p.batch;
    if (tiles == 0) return CB_OK;
    CB_LAUNCH((multiply<S, A>), cb_blocks(tiles, 1, INT32_MAX), CB_TILE_THREADS, 0, cb_stream(), p,
              (const S *)g->a, (const S *)g->b, (S *)g->c, (const S *)g->bias);
    return cb_launched("matmul");
}

/* rows of `columns` items, each the bias: what products without a bias epilogue are added to */
template <typename T> __global__ void repeat_row(int64_t n, int64_t columns, const T *row, T *out) {
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n;
         i += (int64_t)gridDim.x * blockDim.x)
        out[i] = row[i % columns];
}
int cb_repeat_bias(const cb_gemm *g) {
    int64_t n = g->batch * g->m * g->n;
    CB_DISPATCH_SIZE(cb_dtypes[g->dtype].size, T,
                     CB_LAUNCH((repeat_row<T>), cb_fill_blocks(n, 256), 256, 0, cb_stream(), n, g->n,
                               (const T *)g->bias, (T *)g->c))
    return cb_launched("matmul");
}

int cb_cuda_gemm(const cb_gemm *g) {
    int status = cb_library_gemm(g);
    if (status != CB_ERR_UNSUPPORTED) return status;
    problem p = {g->m,     g->n,     g->k,      g->batch, g->a_row, g->a_col,
                 g->b_row, g->b_col, g->nbatch, {0},      {0},      {0}};
    if (g->nbatch > CB_WALK_DIMS) return cb_host_round_trip()->gemm(g);
    for (int d = 0; d < g->nbatch; d++) {
        p.shape[d] = g->batch_shape[d];
        p.a_batch[d] = g->a_batch[d];
        p.b_batch[d] = g->b_batch[d];
    }
    switch (g->dtype) {
        case CB_F32: return run<float, float>(p, g);
        case CB_F64: return run<double, double>(p, g);
        case CB_F16: return run<cb_f16, float>(p, g);
        case CB_BF16: return run<cb_bf16, float>(p, g);
        case CB_C64: return run<cb_complex64, cb_complex64>(p, g);
        case CB_C128: return run<cb_complex128, cb_complex128>(p, g);
        default: break;
    }
    switch (cb_dtypes[g->dtype].size) { /* products of integers wrap, signed or not */
        case 1: return run<uint8_t, uint32_t>(p, g);
        case 2: return run<uint16_t, uint32_t>(p, g);
        case 4: return run<uint32_t, uint32_t>(p, g);
        default: return run<uint64_t, uint64_t>(p, g);
    }
}
