/* What padding puts where: shared by the frame (pad.c) and the kernels (cpu/pad.c, ../cuda/pad.cu). */
#ifndef CB_PAD_H
#define CB_PAD_H

#if defined(CB_DEV)
#define CB_PAD_FUNCTION CB_DEV
#else
#include "internal.h"
#define CB_PAD_FUNCTION static inline
#endif

enum { CB_PAD_REFLECT, CB_PAD_REPLICATE, CB_PAD_CIRCULAR, CB_PAD_CONSTANT };

/* The place in a dimension of n that place i (from the first of its own) of the padded one takes; -1:
 * outside, in constant mode. */
CB_PAD_FUNCTION int64_t cb_pad_place(int64_t mode, int64_t i, int64_t n) {
    switch (mode) {
        case CB_PAD_REFLECT: i = i < 0 ? -i : i; return i < n ? i : 2 * (n - 1) - i;
        case CB_PAD_REPLICATE: return i < 0 ? 0 : i < n ? i : n - 1;
        case CB_PAD_CIRCULAR: return (i % n + n) % n;
        default: return i < 0 || i >= n ? -1 : i;
    }
}

#endif
