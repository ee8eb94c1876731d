/* A sweep of fused steps, for kernels that read a result of it tile by tile, as it is made. */
#ifndef CB_CPU_FUSED_H
#define CB_CPU_FUSED_H

#include "cpu.h"

typedef struct cb_sweep {
    const cb_fused_steps *f;
    cb_space space; /* results first, then operands */
    cb_operand operand[CB_FUSED_TENSORS];
    bool number[CB_FUSED_TENSORS]; /* the same item everywhere: its tile is made once */
    cb_kernel kernel[CB_FUSED_STEPS];
    int64_t tile, room; /* items and bytes of a tile */
    bool streams;       /* more than the caches near a core hold: tiles are asked for ahead */
    int status;         /* CB_ERR_MEMORY where a thread found none */
} cb_sweep;

#pragma GCC visibility push(hidden)
int CB_FN(sweep_open)(cb_sweep *w, const cb_fused_steps *f, cb_tensor *const *outs, cb_tensor *const *xs);

/* An operand that is not read as it lies: its items up to where it comes again, or a table of places. */
typedef struct cb_picked {
    int64_t turn, length; /* items after which it comes again, or 0; items of data, 0 for other operands */
    int outer;            /* of a table: the dimension of its slices */
    const char *data;
} cb_picked;

/* One thread's use of a sweep whose result `out` a kernel reads. */
typedef struct cb_making {
    cb_sweep *w;
    int out, size;
    int64_t nbytes;
    char *registers;
    const void *in[CB_FUSED_TENSORS];
    cb_picked picked[CB_FUSED_TENSORS];
} cb_making;
/* Nothing is made without memory, and the sweep's status says so. */
void CB_FN(making_begin)(cb_making *m, cb_sweep *w, int out);
/* Runs on items [begin, begin + n) and tells where the result is: in `room`, or where it is kept. */
const void *CB_FN(make_items)(cb_making *m, int64_t begin, int64_t n, void *room);
void CB_FN(making_end)(cb_making *m);
#pragma GCC visibility pop
#endif
