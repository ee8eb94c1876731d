/* Fused rows: softmax and log-softmax along a dim, and the cross-entropy of class labels, with their
 * gradients. Kernels are in cpu/softmax.c; they see contiguous tensors. */
#include "internal.h"

/* x itself, or a contiguous copy of the given dtype; a new reference */
static cb_tensor *prepared(cb_tensor *x, int dtype) {
    cb_tensor *cast = cb_cast(x, dtype);
    cb_tensor *y = cast ? cb_contiguous(cast) : NULL;
    cb_release(cast);
    return y;
}

static int check_floating(const char *op, int dtype) {
    if (cb_is_float(dtype)) return CB_OK;
    return cb_fail(CB_ERR_DTYPE,
                   "%s: expected a floating dtype, got %s. Cast with .to(dtype), or pass dtype=.", op,
                   cb_dtypes[dtype].name);
}

static int check_shape(const char *op, const char *what, const cb_tensor *x, const cb_tensor *like) {
    if (cb_same_shape(x, like)) return CB_OK;
    return cb_fail(CB_ERR_SHAPE, "%s: expected %s of shape %s, got %s. Expand it first.", op, what,
                   cb_shape_of(like), cb_shape_of(x));
}

cb_tensor *cb_softmax(cb_tensor *x, int64_t dim, int log, int dtype) {
    const char *op = log ? "log_softmax" : "softmax";
    if (!x) return cb_fail_null(CB_ERR_NULL, "%s: no tensor", op);
    int d = cb_wrap_dim(op, dim, x->ndim);
    if (dtype < 0) dtype = x->dtype;
    if (d < 0 || check_floating(op, dtype)) return NULL;
    cb_tensor *out = cb_empty(dtype, x->device, x->ndim, x->shape);
    if (!out || cb_is_meta(out) || out->numel == 0) return out;
    cb_tensor *input = prepared(x, dtype);
    if (!input || cb_backend_of(out)->softmax(input, d, log, out)) {
        cb_release(out);
        out = NULL;
    }
    cb_release(input);
    return out;
}

int cb_softmax_made(const cb_fused_call *made, cb_tensor *x, int64_t dim, int log, int dtype,
                    cb_tensor **out) {
    const char *op = log ? "log_softmax" : "softmax";
    *out = NULL;
    if ((dtype >= 0 && dtype != x->dtype) || x->numel == 0 || !cb_backend_of(x)->softmax_made)
        return CB_ERR_UNSUPPORTED;
    int d = cb_wrap_dim(op, dim, x->ndim);
    if (d < 0 || check_floating(op, x->dtype)) return cb_error_code();
    cb_tensor *y = cb_empty(x->dtype, x->device, x->ndim, x->shape);
    if (!y) return cb_error_code();
    int status = cb_backend_of(x)->softmax_made(made, x, d, log, y);
    if (status)
        cb_release(y);
    else
        *out = y;
    return status;
}

cb_tensor *cb_softmax_grad(cb_tensor *ct, cb_tensor *y, int64_t dim, int log) {
    const char *op = log ? "log_softmax" : "softmax";
    if (!ct || !y) return cb_fail_null(CB_ERR_NULL, "%s: no tensor", op);
    int d = cb_wrap_dim(op, dim, y->ndim);
    if (d < 0 || check_floating(op, y->dtype) || check_shape(op, "a cotangent", ct, y) ||
        cb_common_device(op, 2, (cb_tensor *[]){ct, y}) < 0)
        return NULL;
    cb_tensor *out = cb_empty(y->dtype, y->device, y->ndim, y->shape);
    if (!out || cb_is_meta(out) || out->numel == 0) return out;
    cb_tensor *cts = prepared(ct, y->dtype), *ys = prepared(y, y->dtype);
    if (!cts || !ys || cb_backend_of(out)->softmax_grad(cts, ys, d, log, out)) {
        cb_release(out);
        out = NULL;
    }
    cb_release(cts);
    cb_release(ys);
    return out;
}

static int check_labels(const cb_tensor *logits, const cb_tensor *target) {
    CB_TRY(check_floating("cross_entropy", logits->dtype));
    if (!cb_is_integer(target->dtype))
        return cb_fail(CB_ERR_DTYPE, "cross_entropy: expected integer labels, got %s. Cast with .to(dtype).",
                       cb_dtypes[target->dtype].name);
    if (logits->ndim != 2 || target->ndim != 1 || logits->shape[0] != target->shape[0])
        return cb_fail(CB_ERR_SHAPE, "cross_entropy: expected logits [N, C] and labels [N], got %s and %s.",
                       cb_shape_of(logits), cb_shape_of(target));
    return CB_OK;
}

int cb_cross_entropy(cb_tensor *logits, cb_tensor *target, int64_t ignore_index, cb_tensor *out[2]) {
    out[0] = out[1] = NULL;
    if (!logits || !target) return cb_fail(CB_ERR_NULL, "cross_entropy: no tensor");
    CB_TRY(check_labels(logits, target));
    int device = cb_common_device("cross_entropy", 2, (cb_tensor *[]){logits, target});
    if (device < 0) return cb_error_code();
    cb_tensor *losses = cb_empty(logits->dtype, device, 1, logits->shape);
    cb_tensor *sums = losses ? cb_empty(cb_compute_dtype(logits->dtype), device, 1, logits->shape) : NULL;
    int status = sums ? CB_OK : cb_error_code();
    if (!status && !cb_is_meta(losses) && losses->numel > 0) {
        cb_tensor *xs = prepared(logits, logits->dtype), *labels = xs ? prepared(target, CB_I64) : NULL;
        status = labels ? cb_backend_of(losses)->cross_entropy(xs, labels, ignore_index, losses, sums)
                        : cb_error_code();
        cb_release(xs);
        cb_release(labels);
    }
    if (status) {
        cb_release(losses);
        cb_release(sums);
        return status;
    }
    out[0] = losses;
    out[1] = sums;
    return CB_OK;
}

cb_tensor *cb_cross_entropy_grad(cb_tensor *ct, cb_tensor *logits, cb_tensor *target, cb_tensor *logsumexp,
                                 int64_t ignore_index) {
    if (!ct || !logits || !target || !logsumexp) return cb_fail_null(CB_ERR_NULL, "cross_entropy: no tensor");
    cb_tensor *xs[4] = {logits, ct, target, logsumexp};
    const int dtypes[4] = {logits->dtype, cb_compute_dtype(logits->dtype), CB_I64,
                           cb_compute_dtype(logits->dtype)};
    int device = cb_common_device("cross_entropy", 4, xs);
    if (device < 0 || check_labels(logits, target) ||
        check_shape("cross_entropy", "a cotangent", ct, target) ||
        check_shape("cross_entropy", "log-sum-exps", logsumexp, target))
        return NULL;
    cb_tensor *out = cb_empty(logits->dtype, device, 2, logits->shape);
    if (!out || cb_is_meta(out) || out->numel == 0) return out;
    cb_tensor *in[4] = {NULL};
    int status = CB_OK;
    for (int k = 0; k < 4 && !status; k++) {
        in[k] = prepared(xs[k], dtypes[k]);
        if (!in[k]) status = cb_error_code();
    }
    if (!status)
        status = cb_backend_of(out)->cross_entropy_grad(in[1], in[0], in[2], in[3], ignore_index, out);
    for (int k = 0; k < 4; k++) cb_release(in[k]);
    if (!status) return out;
    cb_release(out);
    return NULL;
}
