/* The reduction families' op codes, shared by the frame and the kernels. Names and codes come from one list each;
 * ops below the public ones are reached through functions of their own. */
#ifndef CB_REDUCE_H
#define CB_REDUCE_H

#include "internal.h"

#define CB_REDUCE_OPS(X)                                                                            \
    X(sum) X(prod) X(mean) X(amax) X(amin) X(all) X(any) X(nansum) X(logsumexp) X(norm2) X(sum_squares) \
    X(count_nonzero)
#define CB_ARGREDUCE_OPS(X) X(argmax) X(argmin)
#define CB_SCAN_OPS(X) X(cumsum) X(cumprod) X(logcumsumexp) X(cummax) X(cummin)

enum {
#define ENTRY(name) CB_REDUCE_##name,
    CB_REDUCE_OPS(ENTRY) CB_REDUCE_PUBLIC_COUNT,
    CB_REDUCE_var = CB_REDUCE_PUBLIC_COUNT, /* parameter: the correction */
    CB_REDUCE_argmax,                       /* out[0] values, out[1] positions along the one reduced dim */
    CB_REDUCE_argmin,
    CB_REDUCE_COUNT
#undef ENTRY
};
enum {
#define ENTRY(name) CB_SCAN_##name,
    CB_SCAN_OPS(ENTRY) CB_SCAN_COUNT
#undef ENTRY
};

#endif
