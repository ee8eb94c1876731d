/* Batches of matrix products: the shapes that several kernels share. */
#ifndef CB_GEMM_BATCH_H
#define CB_GEMM_BATCH_H

#include "cpu.h"

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
