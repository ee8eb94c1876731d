/* What the elementwise driver (elementwise.c) and its sweeps over strided operands (sweep.c) share. */
#ifndef CB_CPU_SWEEP_H
#define CB_CPU_SWEEP_H

#include "cpu.h"

typedef struct cb_sweep {
    cb_kernel kernel;
    cb_space space;
    int op; /* of a binary kernel; else -1 */
    int nin;
    bool stream;                         /* the result is written past the caches */
    cb_operand operand[CB_MAX_OPERANDS]; /* 0 is the result */
    int turned;                          /* blocks: the dimension of their rows */
    int64_t blocks_down, chunks_across;
    int64_t period; /* tiles: of the operands that repeat, in items; 1 where none does */
} cb_sweep;

#pragma GCC visibility push(hidden)
/* operands whose space and dtypes are set; any strides */
void CB_FN(sweep)(cb_sweep *w, int64_t grain);
#pragma GCC visibility pop
#endif
