/* What the reduction driver (reduce.c) and its kernels (reduce_*.c) share.
 *
 * A reducer folds items into states. The states of a tile of outputs lie component by component: component k
 * of output j at states + (k * kept + j) * size. Float sums are folded in float over short blocks and kept in
 * double between blocks, so long sums lose nothing; the order depends on shapes and strides only. */
#ifndef CB_CPU_REDUCE_H
#define CB_CPU_REDUCE_H

#include "cpu.h"
#include "../reduce.h"

/* Folds `n` items into each of `kept` states. As rows: items lie next to each other, outputs `stride` apart;
 * as columns: outputs next to each other, items `stride` apart. `first`: position of the first item. */
typedef void (*cb_fold)(int64_t kept, int64_t n, int64_t stride, int64_t first, const void *x, void *states);

typedef struct cb_reducer {
    int size;       /* bytes between states of a component */
    int components; /* at most 3 */
    int dtype[2];   /* of component 0 (and 1) once finished, densely packed */
    cb_fold rows, columns;
    void (*start)(int64_t kept, void *states);
    void (*merge)(int64_t kept, void *into, const void *from);
    /* states to values, in place; NULL where they are the same. count: items an output; parameter: the op's
     * own */
    void (*finish)(int64_t kept, void *states, int64_t count, double parameter);
} cb_reducer;

enum { CB_REDUCE_MAX_STATE = 24 };
/* rows are folded in blocks of BLOCK items; fewer than SHORT items one by one (reduce_fold.c) */
enum { CB_FOLD_BLOCK = 4096, CB_FOLD_SHORT = 24 };

#pragma GCC visibility push(hidden)
/* NULL where the op has no kernel for the dtype */
const cb_reducer *CB_FN(fold_reducer)(int op, int dtype);    /* reduce_fold.c */
/* reduce_moments.c: logsumexp, var, scaled norm2 */
const cb_reducer *CB_FN(moment_reducer)(int op, int dtype);
const cb_reducer *CB_FN(arg_reducer)(int op, int dtype);     /* reduce_arg.c */
const cb_reducer *CB_FN(scaled_norm_reducer)(int dtype);     /* reduce_moments.c: float64 and complex128 */
#pragma GCC visibility pop
#endif
