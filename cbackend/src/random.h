/* What the draws from a generator (random.c) and those from keys (random_keyed.c) share. */
#ifndef CB_RANDOM_H
#define CB_RANDOM_H

#include "internal.h"

#pragma GCC visibility push(hidden)

/* A draw of one lane: kind and arguments as in cb_random_lanes. */
typedef struct cb_lane_draw {
    int kind;
    double a, b;
    int64_t low, high;
} cb_lane_draw;

/* the checks of a draw, with a message */
int cb_lane_check(const cb_lane_draw *d, int dtype, int ndim, const int64_t *shape);
/* draws into elements [first, first + numel of shape) of a contiguous tensor whose last dims are shape's */
int cb_lane_fill(const cb_lane_draw *d, cb_tensor *out, int ndim, int64_t first, uint64_t seed,
                 uint64_t offset);

#pragma GCC visibility pop
#endif
