/* Views that live on the stack: what indexing hands to the backend without making handles. They borrow the
 * storage of the tensor they view and must not be released or outlive it. */
#ifndef CB_INDEX_VIEWS_H
#define CB_INDEX_VIEWS_H

#include "internal.h"

/* Masks are counted and packed in pieces of this many items: frame and backend must agree. */
enum { CB_MASK_PIECE = 65536 };

typedef struct cb_stack_view {
    cb_tensor tensor;
    int64_t shape[CB_MAX_NDIM + 1], strides[CB_MAX_NDIM + 1];
} cb_stack_view;

/* to be called after shape, strides or ndim were changed */
static inline void cb_view_finish(cb_stack_view *v) {
    v->tensor.flags = 0;
    cb_handle_finish(&v->tensor);
}

/* x's dimensions [first, first + ndim), at index 0 of the others */
static inline void cb_part_view(cb_stack_view *v, const cb_tensor *x, int first, int ndim) {
    v->tensor = *x;
    v->tensor.ndim = ndim;
    v->tensor.shape = v->shape;
    v->tensor.strides = v->strides;
    memcpy(v->shape, x->shape + first, (size_t)ndim * sizeof *v->shape);
    memcpy(v->strides, x->strides + first, (size_t)ndim * sizeof *v->strides);
    cb_view_finish(v);
}

static inline void cb_permuted_view(cb_stack_view *v, const cb_tensor *x, int ndim, const int *order) {
    v->tensor = *x;
    v->tensor.ndim = ndim;
    v->tensor.shape = v->shape;
    v->tensor.strides = v->strides;
    for (int d = 0; d < ndim; d++) {
        v->shape[d] = x->shape[order[d]];
        v->strides[d] = x->strides[order[d]];
    }
    cb_view_finish(v);
}

/* a dimension of size 1 at the end */
static inline void cb_view_add_dim(cb_stack_view *v) {
    v->shape[v->tensor.ndim] = 1;
    v->strides[v->tensor.ndim++] = 1;
    cb_view_finish(v);
}

#endif
