/* Batches of matrix products: the shapes that several kernels share. */
#ifndef CB_GEMM_BATCH_H
#define CB_GEMM_BATCH_H

#include "cpu.h"

/* c [m, n] = a [m, k] @ b [k, n], all contiguous; turned: they lie as [k, m] and [n, k] */
static inline int one_product(int dtype, int64_t m, int64_t n, int64_t k, void *c, const void *a,
                              bool a_turned, const void *b, bool b_turned) {
    cb_gemm g = {.dtype = dtype,
                 .m = m,
                 .n = n,
                 .k = k,
                 .batch = 1,
                 .a = a,
                 .b = b,
                 .c = c,
                 .a_row = a_turned ? 1 : k,
                 .a_col = a_turned ? m : 1,
                 .b_row = b_turned ? 1 : n,
                 .b_col = b_turned ? k : 1};
    return CB_FN(gemm)(&g);
}

/* Moves inner batch dimensions that b does not have into the rows of a, and joins the others. */
static inline void fold_batch(cb_gemm *g) {
    while (g->nbatch > 0) {
        int d = g->nbatch - 1;
        int64_t count = g->batch_shape[d];
        if (count != 1) {
            if (g->b_batch[d] != 0) break;
            if (g->m == 1)
                g->a_row = g->a_batch[d];
            else if (g->a_batch[d] != g->m * g->a_row)
                break;
            g->m *= count;
            g->batch /= count;
        }
        g->nbatch--;
    }
    for (int d = g->nbatch - 1; d > 0; d--) { /* dimensions whose items follow each other are one */
        int64_t count = g->batch_shape[d];
        if (g->a_batch[d - 1] != g->a_batch[d] * count || g->b_batch[d - 1] != g->b_batch[d] * count)
            continue;
        g->batch_shape[d - 1] *= count;
        g->a_batch[d - 1] = g->a_batch[d];
        g->b_batch[d - 1] = g->b_batch[d];
        g->nbatch--;
        for (int e = d; e < g->nbatch; e++) {
            g->batch_shape[e] = g->batch_shape[e + 1];
            g->a_batch[e] = g->a_batch[e + 1];
            g->b_batch[e] = g->b_batch[e + 1];
        }
    }
}
#endif
