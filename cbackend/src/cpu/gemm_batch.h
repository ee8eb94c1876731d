/* Batches of matrix products: the shapes that several kernels share. */
#ifndef CB_GEMM_BATCH_H
#define CB_GEMM_BATCH_H

#include "cpu.h"

/* Moves inner batch dimensions that b does not have into the rows of a. */
static inline void fold_batch(cb_gemm *g) {
    while (g->nbatch > 0) {
        int d = g->nbatch - 1;
        int64_t count = g->batch_shape[d];
        if (count != 1) {
            if (g->b_batch[d] != 0) return;
            if (g->m == 1)
                g->a_row = g->a_batch[d];
            else if (g->a_batch[d] != g->m * g->a_row)
                return;
            g->m *= count;
            g->batch /= count;
        }
        g->nbatch--;
    }
}
#endif
