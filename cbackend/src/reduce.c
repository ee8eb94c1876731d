#include "internal.h"
const char *const cb_reduce_names[] = {NULL}, *const cb_argreduce_names[] = {NULL}, *const cb_scan_names[] = {NULL};
cb_tensor *cb_sum_to(cb_tensor *x, int ndim, const int64_t *shape) { (void)ndim; (void)shape; return cb_retain(x); }
