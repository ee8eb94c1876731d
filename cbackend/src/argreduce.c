/* argmax and argmin, with and without the values; cumulative ops along a dim. Kernels are in cpu/reduce_arg.c
 * and cpu/scan.c. */
#include "reduce.h"

#define NAME(name) #name,
const char *const cb_argreduce_names[] = {CB_ARGREDUCE_OPS(NAME) NULL};
const char *const cb_scan_names[] = {CB_SCAN_OPS(NAME) NULL};

static int check_real(const char *op, const cb_tensor *x) {
    if (!cb_is_complex(x->dtype)) return CB_OK;
    return cb_fail(CB_ERR_DTYPE, "%s: expected a real dtype, got %s. Take .abs() or .real first.", op,
                   cb_dtypes[x->dtype].name);
}

/* Fills out[1], and out[0] where values are wanted. */
static int arg_reduce(int op, cb_tensor *x, int64_t dim, int keepdim, bool values, cb_tensor **out) {
    out[0] = out[1] = NULL;
    if (op < 0 || op > 1) return cb_fail(CB_ERR_VALUE, "argreduce: expected a known op code, got %d.", op);
    const char *name = values ? (op ? "min" : "max") : cb_argreduce_names[op];
    bool flat = dim == INT64_MIN;
    uint32_t mask;
    CB_TRY(check_real(name, x));
    CB_TRY(cb_reduced_dims(name, x, flat ? -1 : 1, &dim, &mask));
    CB_TRY(cb_check_reduced_sizes(name, x, mask));
    cb_tensor *result[2] = {NULL, cb_reduced_empty(x, mask, keepdim, CB_I64)};
    if (values && result[1]) result[0] = cb_reduced_empty(x, mask, keepdim, x->dtype);
    int status = result[1] && (!values || result[0]) ? CB_OK : cb_error_code();
    if (!status && !cb_is_meta(x) && result[1]->numel > 0) {
        /* flat positions count in row-major order */
        cb_tensor *input = flat ? cb_contiguous(x) : cb_retain(x);
        status =
            input ? cb_backend_of(x)->reduce(op ? CB_REDUCE_argmin : CB_REDUCE_argmax, input, mask, 0, result)
                  : cb_error_code();
        cb_release(input);
    }
    for (int k = 0; k < 2; k++) {
        if (status)
            cb_release(result[k]);
        else
            out[k] = result[k];
    }
    return status;
}

cb_tensor *cb_argreduce(int op, cb_tensor *x, int64_t dim, int keepdim) {
    if (!x) return cb_fail_null(CB_ERR_NULL, "argreduce: no tensor");
    cb_tensor *out[2];
    return arg_reduce(op, x, dim, keepdim, false, out) ? NULL : out[1];
}

int cb_reduce_with_index(int op, cb_tensor *x, int64_t dim, int keepdim, cb_tensor *out[2]) {
    if (!x) return cb_fail(CB_ERR_NULL, "argreduce: no tensor");
    return arg_reduce(op, x, dim, keepdim, true, out);
}

/* ---- scans ---- */

/* Runs the scan on a contiguous x of the dtype it is computed in. */
static int scan(int op, cb_tensor *x, int dim, int dtype, bool indices, cb_tensor **out) {
    out[0] = cb_empty(dtype, x->device, x->ndim, x->shape);
    out[1] = out[0] && indices ? cb_empty(CB_I64, x->device, x->ndim, x->shape) : NULL;
    int status = out[0] && (!indices || out[1]) ? CB_OK : cb_error_code();
    if (!status && !cb_is_meta(x) && x->numel > 0) {
        cb_tensor *cast = cb_cast(x, dtype), *input = cast ? cb_contiguous(cast) : NULL;
        status = input ? cb_backend_of(x)->scan(op, input, dim, out) : cb_error_code();
        cb_release(cast);
        cb_release(input);
    }
    if (status) {
        cb_release(out[0]);
        cb_release(out[1]);
        out[0] = out[1] = NULL;
    }
    return status;
}

cb_tensor *cb_scan(int op, cb_tensor *x, int64_t dim, int dtype) {
    if (!x) return cb_fail_null(CB_ERR_NULL, "scan: no tensor");
    if (op < 0 || op > CB_SCAN_logcumsumexp)
        return cb_fail_null(CB_ERR_VALUE,
                            "scan: expected an op code of cumsum, cumprod or logcumsumexp, got %d.", op);
    const char *name = cb_scan_names[op];
    int d = cb_wrap_dim(name, dim, x->ndim), result = dtype;
    if (d < 0) return NULL;
    if (dtype < 0)
        result = op == CB_SCAN_logcumsumexp ? cb_float_dtype(x->dtype)
                 : cb_is_inexact(x->dtype)  ? x->dtype
                                            : CB_I64;
    if (result == CB_BOOL || (op == CB_SCAN_logcumsumexp && !cb_is_float(result)))
        return cb_fail_null(CB_ERR_DTYPE, "%s: expected a %s dtype, got %s. Pass another dtype=.", name,
                            op == CB_SCAN_logcumsumexp ? "floating" : "numeric", cb_dtypes[result].name);
    cb_tensor *out[2];
    return scan(op, x, d, result, false, out) ? NULL : out[0];
}

int cb_scan_with_index(int op, cb_tensor *x, int64_t dim, cb_tensor *out[2]) {
    out[0] = out[1] = NULL;
    if (!x) return cb_fail(CB_ERR_NULL, "scan: no tensor");
    if (op != CB_SCAN_cummax && op != CB_SCAN_cummin)
        return cb_fail(CB_ERR_VALUE, "scan: expected an op code of cummax or cummin, got %d.", op);
    CB_TRY(check_real(cb_scan_names[op], x));
    int d = cb_wrap_dim(cb_scan_names[op], dim, x->ndim);
    if (d < 0) return cb_error_code();
    return scan(op, x, d, x->dtype, true, out);
}

cb_tensor *cb_recurrence(cb_tensor *a, cb_tensor *b, int64_t dim, int transposed) {
    if (!a || !b) return cb_fail_null(CB_ERR_NULL, "recurrence: no tensor");
    int d = cb_wrap_dim("recurrence", dim, b->ndim);
    int device = d < 0 ? -1 : cb_common_device("recurrence", 2, (cb_tensor *[]){a, b});
    if (device < 0) return NULL;
    if (a->dtype != b->dtype || !cb_is_inexact(b->dtype))
        return cb_fail_null(
            CB_ERR_DTYPE,
            "recurrence: expected two tensors of one floating dtype, got %s and %s. Cast with "
            ".to(dtype).",
            cb_dtypes[a->dtype].name, cb_dtypes[b->dtype].name);
    if (!cb_same_shape(a, b))
        return cb_fail_null(CB_ERR_SHAPE,
                            "recurrence: expected factors of shape %s, got %s. Expand them first.",
                            cb_shape_of(b), cb_shape_of(a));
    cb_tensor *out = cb_empty(b->dtype, device, b->ndim, b->shape);
    if (!out || cb_is_meta(out) || out->numel == 0) return out;
    cb_tensor *factors = cb_contiguous(a), *terms = factors ? cb_contiguous(b) : NULL;
    int status = terms ? cb_backend_of(out)->recurrence(factors, terms, d, transposed, out) : cb_error_code();
    cb_release(factors);
    cb_release(terms);
    if (!status) return out;
    cb_release(out);
    return NULL;
}
