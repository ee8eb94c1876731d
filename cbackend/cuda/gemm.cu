/* Matrix products with any strides: tiles of 64 x 64 in shared memory, 16 results a thread.
 *
 * float32, float64, complex and integers in their own arithmetic, 16-bit floats in float. One order of
 * summation for all sizes: results are the same from run to run. */
#include "kernels.h"

enum { TILE = 64, DEPTH = 16, THREADS = 256, EACH = 4 };

struct problem {
    int64_t m, n, k, batch;
    int64_t a_row, a_col, b_row, b_col;
    int ndim;
    int64_t shape[CB_WALK_DIMS], a_batch[CB_WALK_DIMS], b_batch[CB_WALK_DIMS];
};

/* S: storage, A: arithmetic. Rows and columns of the tile go to threads in steps of 16, so that a warp's
 * reads of shared memory are broadcasts and neighbours. */
template <typename S, typename A>
__global__ void __launch_bounds__(THREADS) multiply(problem p, const S *a, const S *b, S *c, const S *bias) {
    CB_SHARED(A, left, DEPTH * (TILE + 1));
    CB_SHARED(A, right, DEPTH * (TILE + 1));
    unsigned row = threadIdx.x / 16, column = threadIdx.x % 16;
    int64_t tiles_n = (p.n + TILE - 1) / TILE, tiles = (p.m + TILE - 1) / TILE * tiles_n;
    for (int64_t work = blockIdx.x; work < tiles * p.batch; work += gridDim.x) {
        int64_t item = work / tiles, tile = work % tiles, rest = item;
        int64_t i0 = tile / tiles_n * TILE, j0 = tile % tiles_n * TILE;
        const S *pa = a, *pb = b;
        for (int d = p.ndim - 1; d >= 0; d--) {
            pa += rest % p.shape[d] * p.a_batch[d];
            pb += rest % p.shape[d] * p.b_batch[d];
            rest /= p.shape[d];
        }
        A sums[EACH][EACH];
        for (int y = 0; y < EACH; y++)
            for (int x = 0; x < EACH; x++) sums[y][x] = A(0);
        for (int64_t k0 = 0; k0 < p.k; k0 += DEPTH) {
            for (unsigned t = threadIdx.x; t < TILE * DEPTH; t += THREADS) {
                /* neighbouring threads read neighbouring memory, whichever way an operand lies */
                unsigned u = p.a_col == 1 ? t / DEPTH : t % TILE, v = p.a_col == 1 ? t % DEPTH : t / TILE;
                bool inside = i0 + u < p.m && k0 + v < p.k;
                left[v * (TILE + 1) + u] =
                    inside ? cb_to<A>(pa[(i0 + u) * p.a_row + (k0 + v) * p.a_col]) : A(0);
                unsigned s = p.b_col == 1 ? t / TILE : t % DEPTH, w = p.b_col == 1 ? t % TILE : t / DEPTH;
                inside = k0 + s < p.k && j0 + w < p.n;
                right[s * (TILE + 1) + w] =
                    inside ? cb_to<A>(pb[(k0 + s) * p.b_row + (j0 + w) * p.b_col]) : A(0);
            }
            __syncthreads();
            for (int k = 0; k < DEPTH; k++) {
                A x[EACH], y[EACH];
                for (int e = 0; e < EACH; e++) {
                    y[e] = left[k * (TILE + 1) + row + 16 * e];
                    x[e] = right[k * (TILE + 1) + column + 16 * e];
                }
                for (int f = 0; f < EACH; f++)
                    for (int e = 0; e < EACH; e++) sums[f][e] = sums[f][e] + y[f] * x[e];
            }
            __syncthreads();
        }
        for (int f = 0; f < EACH; f++)
            for (int e = 0; e < EACH; e++) {
                int64_t i = i0 + row + 16 * f, j = j0 + column + 16 * e;
                if (i >= p.m || j >= p.n) continue;
                A value = sums[f][e];
                if (bias) value = value + cb_to<A>(bias[j]);
                c[(item * p.m + i) * p.n + j] = cb_to<S>(value);
            }
    }
}

template <typename S, typename A> static int run(const problem &p, const cb_gemm *g) {
    int64_t tiles = (p.m + TILE - 1) / TILE * ((p.n + TILE - 1) / TILE) * p.batch;
    if (tiles == 0) return CB_OK;
    CB_LAUNCH((multiply<S, A>), cb_blocks(tiles, 1, INT32_MAX), THREADS, 0, cb_stream(), p, (const S *)g->a,
              (const S *)g->b, (S *)g->c, (const S *)g->bias);
    return cb_launched("matmul");
}

int cb_cuda_gemm(const cb_gemm *g) {
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

/* products of bf16 have no way of their own: the frame goes on with the one above */
int cb_cuda_gemm_bf16(const cb_gemm *) { return CB_ERR_UNSUPPORTED; }
