/* The product of two matrices in tiles of 64 x 64, for kernels that differ in where items come from and go
 * to (gemm.cu, conv.cu): 256 threads, 16 results each, one order of summation for all sizes.
 *
 *     CB_SHARED(A, shared, CB_TILE_SHARED);
 *     A sums[CB_TILE_EACH][CB_TILE_EACH];
 *     cb_tile_product(depth, left, right, shared, sums);
 *     for (int f...) for (int e...) the result at cb_tile_row(f), cb_tile_column(e) of the tile is sums[f][e]
 *
 * left and right give items: `A operator()(unsigned i, int64_t k)` is the item in row (or column) i of the
 * tile and step k, zero outside of the matrix; `along_depth` says that memory runs along k, so that
 * neighbouring threads read neighbouring items. */
#ifndef CB_TILE_H
#define CB_TILE_H

enum {
    CB_TILE = 64,
    CB_TILE_DEPTH = 16,
    CB_TILE_THREADS = 256,
    CB_TILE_EACH = 4,
    CB_TILE_SHARED = 2 * CB_TILE_DEPTH * (CB_TILE + 1)
};

CB_DEV unsigned cb_tile_row(int f) { return threadIdx.x / 16 + 16 * (unsigned)f; }
CB_DEV unsigned cb_tile_column(int e) { return threadIdx.x % 16 + 16 * (unsigned)e; }

template <typename P, typename Items> CB_DEV void cb_tile_load(int64_t k0, const Items &items, P tile) {
    for (unsigned t = threadIdx.x; t < CB_TILE * CB_TILE_DEPTH; t += CB_TILE_THREADS) {
        unsigned i = items.along_depth ? t / CB_TILE_DEPTH : t % CB_TILE;
        unsigned k = items.along_depth ? t % CB_TILE_DEPTH : t / CB_TILE;
        tile[k * (CB_TILE + 1) + i] = items(i, k0 + k);
    }
}

/* Rows and columns of the tile go to threads in steps of 16: a warp's reads of shared memory are broadcasts
 * and neighbours. */
template <typename A, typename P, typename Left, typename Right>
CB_DEV void cb_tile_product(int64_t depth, const Left &left, const Right &right, P shared,
                            A (&sums)[CB_TILE_EACH][CB_TILE_EACH]) {
    P rows = shared, columns = shared + CB_TILE_DEPTH * (CB_TILE + 1);
    for (int f = 0; f < CB_TILE_EACH; f++)
        for (int e = 0; e < CB_TILE_EACH; e++) sums[f][e] = A(0);
    for (int64_t k0 = 0; k0 < depth; k0 += CB_TILE_DEPTH) {
        cb_tile_load(k0, left, rows);
        cb_tile_load(k0, right, columns);
        __syncthreads();
        for (int k = 0; k < CB_TILE_DEPTH; k++) {
            A x[CB_TILE_EACH], y[CB_TILE_EACH];
            for (int e = 0; e < CB_TILE_EACH; e++) {
                y[e] = rows[k * (CB_TILE + 1) + cb_tile_row(e)];
                x[e] = columns[k * (CB_TILE + 1) + cb_tile_column(e)];
            }
            for (int f = 0; f < CB_TILE_EACH; f++)
                for (int e = 0; e < CB_TILE_EACH; e++) sums[f][e] = sums[f][e] + y[f] * x[e];
        }
        __syncthreads();
    }
}
#endif
