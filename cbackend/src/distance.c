/* Frame of distances between rows: checks, shapes, contiguous operands. 16-bit floats compute in float32. */
#include <math.h>

#include "internal.h"

/* x, and y unless there is none: rows of one float dtype, with the same leading dimensions */
static int check_rows(const char *op, const cb_tensor *x, const cb_tensor *y, double p) {
    if (!(p >= 0)) return cb_fail(CB_ERR_VALUE, "%s: expected p of at least 0, got %g.", op, p);
    if (!cb_is_float(x->dtype))
        return cb_fail(CB_ERR_DTYPE, "%s: expected a floating dtype, got %s. Cast with .to(dtype).", op,
                       cb_dtypes[x->dtype].name);
    if (x->ndim < 2) return cb_fail(CB_ERR_SHAPE, "%s: expected rows, got %s.", op, cb_shape_of(x));
    if (!y) return CB_OK;
    if (y->dtype != x->dtype)
        return cb_fail(CB_ERR_DTYPE, "%s: expected one dtype, got %s and %s.", op, cb_dtypes[x->dtype].name,
                       cb_dtypes[y->dtype].name);
    int n = x->ndim;
    if (y->ndim != n || y->shape[n - 1] != x->shape[n - 1] ||
        memcmp(x->shape, y->shape, (size_t)(n - 2) * sizeof *x->shape))
        return cb_fail(CB_ERR_SHAPE, "%s: expected x [..., P, M] and y [..., R, M], got %s and %s.", op,
                       cb_shape_of(x), cb_shape_of(y));
    return CB_OK;
}

/* the shape of the distances; returns its number of dims */
static int shape_between(const cb_tensor *x, const cb_tensor *y, int64_t *shape) {
    int n = x->ndim;
    memcpy(shape, x->shape, (size_t)n * sizeof *shape);
    if (y) {
        shape[n - 1] = y->shape[n - 2];
        return n;
    }
    shape[n - 2] = shape[n - 2] * (shape[n - 2] - 1) / 2;
    return n - 1;
}

/* contiguous, in the dtype of computation; NULL for NULL, and after an error, which goes to *status */
static cb_tensor *prepared(cb_tensor *x, int *status) {
    if (!x || *status) return NULL;
    cb_tensor *cast = cb_cast(x, cb_compute_dtype(x->dtype)), *y = cast ? cb_contiguous(cast) : NULL;
    cb_release(cast);
    if (!y) *status = cb_error_code();
    return y;
}

/* the result in the operands' dtype; takes it */
static cb_tensor *given_back(cb_tensor *made, int dtype, int status) {
    cb_tensor *out = status ? NULL : cb_cast(made, dtype);
    cb_release(made);
    return out;
}

static int has_kernels(const char *op, const cb_tensor *x) {
    if (cb_backend_of(x)->distances) return CB_OK;
    return cb_fail(CB_ERR_UNSUPPORTED, "%s: expected CPU tensors, got one on %s.", op,
                   cb_backend_of(x)->name);
}

static cb_tensor *forward(const char *op, cb_tensor *x, cb_tensor *y, double p) {
    int64_t shape[CB_MAX_NDIM];
    if (check_rows(op, x, y, p)) return NULL;
    if (y && cb_common_device(op, 2, (cb_tensor *[]){x, y}) < 0) return NULL;
    int ndim = shape_between(x, y, shape), status = CB_OK;
    if (cb_is_meta(x)) return cb_empty(x->dtype, x->device, ndim, shape);
    cb_tensor *out = cb_empty(cb_compute_dtype(x->dtype), x->device, ndim, shape);
    if (out && out->numel > 0) {
        status = has_kernels(op, x);
        cb_tensor *rows = prepared(x, &status), *others = prepared(y, &status);
        if (!status) status = cb_backend_of(x)->distances(rows, others, p, out);
        cb_release(rows);
        cb_release(others);
    }
    return given_back(out, x->dtype, out ? status : cb_error_code());
}

static cb_tensor *backward(const char *op, cb_tensor *ct, cb_tensor *x, cb_tensor *y, cb_tensor *out,
                           double p) {
    int64_t shape[CB_MAX_NDIM];
    if (check_rows(op, x, y, p)) return NULL;
    int ndim = shape_between(x, y, shape), status = CB_OK;
    for (int k = 0; k < 2; k++) {
        cb_tensor *t = k ? out : ct;
        if (t->dtype != x->dtype || t->ndim != ndim || memcmp(t->shape, shape, (size_t)ndim * sizeof *shape))
            return cb_fail_null(CB_ERR_SHAPE, "%s: expected distances %s of x's dtype, got %s.", op,
                                cb_shape_text(ndim, shape), cb_shape_of(t));
    }
    if (cb_common_device(op, 4, (cb_tensor *[]){x, ct, out, y ? y : x}) < 0) return NULL;
    if (cb_is_meta(x)) return cb_empty(x->dtype, x->device, x->ndim, x->shape);
    cb_tensor *dx = cb_empty(cb_compute_dtype(x->dtype), x->device, x->ndim, x->shape);
    if (dx && dx->numel > 0) {
        status = has_kernels(op, x);
        cb_tensor *rows = prepared(x, &status), *others = prepared(y, &status),
                  *slopes = prepared(ct, &status);
        cb_tensor *lengths = NULL;
        if (!status && isinf(p) && dx->dtype != x->dtype) { /* rounded, they would be no item's difference */
            lengths = forward(op, rows, others, p);
            if (!lengths) status = cb_error_code();
        } else {
            lengths = prepared(out, &status);
        }
        if (!status) status = cb_backend_of(x)->distances_grad(slopes, rows, others, lengths, p, dx);
        for (int k = 0; k < 4; k++) cb_release((cb_tensor *[]){rows, others, slopes, lengths}[k]);
    }
    return given_back(dx, x->dtype, dx ? status : cb_error_code());
}

cb_tensor *cb_distances(cb_tensor *x, cb_tensor *y, double p) {
    if (!x || !y) return cb_fail_null(CB_ERR_NULL, "distances: no tensor");
    return forward("distances", x, y, p);
}

cb_tensor *cb_distances_grad(cb_tensor *ct, cb_tensor *x, cb_tensor *y, cb_tensor *out, double p) {
    if (!ct || !x || !y || !out) return cb_fail_null(CB_ERR_NULL, "distances_grad: no tensor");
    return backward("distances_grad", ct, x, y, out, p);
}

cb_tensor *cb_pair_distances(cb_tensor *x, double p) {
    if (!x) return cb_fail_null(CB_ERR_NULL, "pair_distances: no tensor");
    return forward("pair_distances", x, NULL, p);
}

cb_tensor *cb_pair_distances_grad(cb_tensor *ct, cb_tensor *x, cb_tensor *out, double p) {
    if (!ct || !x || !out) return cb_fail_null(CB_ERR_NULL, "pair_distances_grad: no tensor");
    return backward("pair_distances_grad", ct, x, NULL, out, p);
}
