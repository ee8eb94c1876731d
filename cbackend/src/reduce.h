/* The reduction families' op codes, shared by the frame and the kernels. Names and codes come from one list
 * each; ops below the public ones are reached through functions of their own. */
#ifndef CB_REDUCE_H
#define CB_REDUCE_H

#include "internal.h"

/* clang-format off */
#define CB_REDUCE_OPS(X)                                                                                \
    X(sum) X(prod) X(mean) X(amax) X(amin) X(all) X(any) X(nansum) X(logsumexp) X(norm2) X(sum_squares) \
    X(count_nonzero)
/* clang-format on */
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

extern const char *const cb_reduce_names[], *const cb_argreduce_names[], *const cb_scan_names[];

#pragma GCC visibility push(hidden)
/* dims as a bit mask; n = -1: all. Repeated ones are an error. */
int cb_reduced_dims(const char *op, const cb_tensor *x, int n, const int64_t *dims, uint32_t *mask);
/* cb_reduce of what fused steps make on the way, which need not have memory; CB_ERR_UNSUPPORTED where two
 * steps are better */
int cb_reduce_made(const cb_fused_call *made, int op, cb_tensor *x, int n, const int64_t *dims, int keepdim,
                   int dtype, cb_tensor **out);
/* an uninitialised result: x without the reduced dims, or with size 1 in their place */
cb_tensor *cb_reduced_empty(const cb_tensor *x, uint32_t mask, int keepdim, int dtype);
/* an error when a reduced dim has size 0: for ops without a value of no items */
int cb_check_reduced_sizes(const char *op, const cb_tensor *x, uint32_t mask);
#pragma GCC visibility pop

#endif
