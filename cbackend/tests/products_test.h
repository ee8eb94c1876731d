/* Helpers of the product, convolution and pooling tests: operands hold small whole numbers, so that results
 * are exact in every dtype and are compared for equality with naive loops. */
#ifndef PRODUCTS_TEST_H
#define PRODUCTS_TEST_H

#include <complex.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "internal.h"

static unsigned random_state = 1;
static inline int64_t whole(int64_t low, int64_t high) {
    random_state = random_state * 1664525u + 1013904223u;
    return low + (int64_t)((random_state >> 8) % (unsigned)(high - low + 1));
}

static inline int64_t count_of(int ndim, const int64_t *shape) {
    int64_t n = 1;
    for (int d = 0; d < ndim; d++) n *= shape[d];
    return n;
}

/* numbers from -limit (0 for unsigned ones) to limit */
static inline cb_tensor *make(int dtype, int ndim, const int64_t *shape, int limit) {
    int64_t n = count_of(ndim, shape);
    cb_complex128 *data = calloc((size_t)n + 1, sizeof *data);
    int low = cb_dtypes[dtype].kind == 'U' ? 0 : -limit;
    for (int64_t i = 0; i < n; i++)
        data[i] = (double)whole(low, limit) + (cb_is_complex(dtype) ? (double)whole(low, limit) * I : 0);
    cb_tensor *wide = cb_from_bytes(data, CB_C128, ndim, shape), *x = cb_cast(wide, dtype);
    cb_release(wide);
    free(data);
    return x;
}

/* x's values in order; free() them */
static inline cb_complex128 *values(cb_tensor *x) {
    cb_tensor *wide = cb_cast(x, CB_C128), *dense = cb_contiguous(wide);
    cb_complex128 *out = calloc((size_t)dense->numel + 1, sizeof *out);
    if (dense->numel) memcpy(out, dense->data, (size_t)dense->numel * sizeof *out);
    cb_release(wide);
    cb_release(dense);
    return out;
}

/* the same values behind other strides: 0 as it is, 1 last two dimensions swapped in memory, 2 every other
 * element */
static inline cb_tensor *restride(cb_tensor *x, int mode) {
    if (mode == 0 || x->ndim < 2) return cb_retain(x);
    if (mode == 1) {
        cb_tensor *t = cb_transpose(x, -1, -2), *c = cb_contiguous(t), *back = cb_transpose(c, -1, -2);
        cb_release(t);
        cb_release(c);
        return back;
    }
    int64_t shape[CB_MAX_NDIM], spec[8] = {3, 0, 0, 0, 1, 0, INT64_MIN, 2};
    memcpy(shape, x->shape, (size_t)x->ndim * sizeof *shape);
    shape[x->ndim - 1] *= 2;
    cb_tensor *big = cb_full(x->dtype, CB_CPU, x->ndim, shape, &(cb_scalar){.kind = 'i', .i = 9});
    cb_tensor *view = cb_index_basic(big, 2, spec);
    cb_copy_into(view, x, 1);
    cb_release(big);
    return view;
}

/* is x equal to want, computed exactly and rounded to its dtype? */
static inline void compare(cb_tensor *x, const cb_complex128 *want, int64_t n, const char *what, int dtype) {
    CHECK(x != NULL, "%s %s", what, cb_dtypes[dtype].name);
    if (!x) return;
    CHECK(x->dtype == dtype && x->numel == n, "%s: %s of %lld", what, cb_dtypes[x->dtype].name,
          (long long)x->numel);
    cb_complex128 *got = values(x);
    int64_t wrong = 0;
    for (int64_t i = 0; i < n && i < x->numel; i++) wrong += !(got[i] == want[i]);
    CHECK(wrong == 0, "%s %s: %lld of %lld wrong, shape %s", what, cb_dtypes[dtype].name, (long long)wrong,
          (long long)n, cb_shape_of(x));
    free(got);
}

static inline void expect_error(const void *result, int code, const char *what) {
    CHECK(result == NULL && cb_error_code() == code, "%s: expected error %d, got %d", what, code,
          cb_error_code());
}

#endif
