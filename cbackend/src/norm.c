/* Layer norm and RMS norm over the last dimensions (kernels in cpu/norm.c), batch and group norm of channels
 * (cpu/norm_channels.c), with their gradients.
 *
 * Weight and bias may be absent. As a traced tensor also has a NULL handle, `has_affine` says which are
 * given: bit 0 the weight, bit 1 the bias. Statistics have the leading shape followed by ones, in the compute
 * dtype. */
#include "internal.h"

enum { WEIGHT = 1, BIAS = 2 };

/* contiguous, of the given dtype; a new reference */
static cb_tensor *prepared(cb_tensor *x, int dtype) {
    cb_tensor *cast = cb_cast(x, dtype), *y = cast ? cb_contiguous(cast) : NULL;
    cb_release(cast);
    return y;
}

/* Checks x and the parameters; `n` items are normalised together. */
static int check(const char *op, cb_tensor *x, int n_normalized, cb_tensor *const *affine, int64_t *n) {
    if (!cb_is_float(x->dtype))
        return cb_fail(CB_ERR_DTYPE, "%s: expected a floating dtype, got %s. Cast with .to(dtype).", op,
                       cb_dtypes[x->dtype].name);
    if (n_normalized < 1 || n_normalized > x->ndim)
        return cb_fail(CB_ERR_DIM, "%s: expected to normalise 1 to %d dimensions, got %d (x has shape %s).",
                       op, x->ndim, n_normalized, cb_shape_of(x));
    const int64_t *shape = x->shape + x->ndim - n_normalized;
    *n = cb_numel_of(n_normalized, shape);
    for (int k = 0; k < 2; k++) {
        if (!affine[k]) continue;
        if (affine[k]->ndim != n_normalized ||
            memcmp(affine[k]->shape, shape, (size_t)n_normalized * sizeof *shape))
            return cb_fail(CB_ERR_SHAPE, "%s: expected a %s of shape %s, got %s.", op, k ? "bias" : "weight",
                           cb_shape_text(n_normalized, shape), cb_shape_of(affine[k]));
        if (!cb_is_float(affine[k]->dtype))
            return cb_fail(CB_ERR_DTYPE, "%s: expected a floating %s, got %s.", op, k ? "bias" : "weight",
                           cb_dtypes[affine[k]->dtype].name);
        if (cb_common_device(op, 2, (cb_tensor *[]){x, affine[k]}) < 0) return cb_error_code();
    }
    return CB_OK;
}

static cb_tensor *empty_statistics(const cb_tensor *x, int n_normalized) {
    int64_t shape[CB_MAX_NDIM];
    for (int d = 0; d < x->ndim; d++) shape[d] = d < x->ndim - n_normalized ? x->shape[d] : 1;
    return cb_empty(cb_compute_dtype(x->dtype), x->device, x->ndim, shape);
}

/* out: y, rstd and, for layer norm, mean */
static int forward(bool centered, cb_tensor *x, int n_normalized, cb_tensor *const *affine, double eps,
                   cb_tensor **out) {
    int64_t n;
    CB_TRY(check(centered ? "layer_norm" : "rms_norm", x, n_normalized, affine, &n));
    out[0] = cb_empty(x->dtype, x->device, x->ndim, x->shape);
    out[1] = out[0] ? empty_statistics(x, n_normalized) : NULL;
    out[2] = out[1] && centered ? empty_statistics(x, n_normalized) : NULL;
    int status = out[1] && (out[2] || !centered) ? CB_OK : cb_error_code();
    if (!status && !cb_is_meta(x) && out[1]->numel > 0) {
        int compute = cb_compute_dtype(x->dtype);
        cb_tensor *in[3] = {prepared(x, x->dtype)};
        for (int k = 0; k < 2; k++)
            if (affine[k] && in[0]) in[k + 1] = prepared(affine[k], compute);
        bool ready = in[0] && (in[1] || !affine[0]) && (in[2] || !affine[1]);
        status = ready ? cb_backend_of(x)->norm(in[0], n, in[1], in[2], eps, out) : cb_error_code();
        for (int k = 0; k < 3; k++) cb_release(in[k]);
    }
    for (int k = 0; k < 3 && status; k++) {
        cb_release(out[k]);
        out[k] = NULL;
    }
    return status;
}

/* out: dx, dweight, dbias; those without a parameter stay NULL. mean is NULL for RMS norm. */
static int backward(const char *op, cb_tensor *ct, cb_tensor *x, cb_tensor *mean, cb_tensor *rstd,
                    int n_normalized, cb_tensor *weight, int has_affine, cb_tensor **out) {
    int64_t n;
    int compute = cb_compute_dtype(x->dtype), parameter = weight ? weight->dtype : x->dtype;
    CB_TRY(check(op, x, n_normalized, (cb_tensor *[]){weight, NULL}, &n));
    if (!cb_same_shape(ct, x))
        return cb_fail(CB_ERR_SHAPE, "%s: expected a cotangent of shape %s, got %s.", op, cb_shape_of(x),
                       cb_shape_of(ct));
    int64_t rows = cb_numel_of(x->ndim - n_normalized, x->shape);
    if (rstd->numel != rows || (mean && mean->numel != rows))
        return cb_fail(CB_ERR_SHAPE, "%s: expected the statistics of the forward pass, got shape %s.", op,
                       cb_shape_of(rstd));
    if (cb_common_device(op, mean ? 4 : 3, (cb_tensor *[]){x, ct, rstd, mean}) < 0) return cb_error_code();
    out[0] = cb_empty(x->dtype, x->device, x->ndim, x->shape);
    int status = out[0] ? CB_OK : cb_error_code();
    for (int k = 0; k < 2 && !status; k++) {
        if (!(has_affine >> k & 1)) continue;
        out[k + 1] = cb_empty(parameter, x->device, n_normalized, x->shape + x->ndim - n_normalized);
        if (!out[k + 1]) status = cb_error_code();
    }
    if (!status && !cb_is_meta(x) && n > 0) {
        cb_tensor *const given[5] = {ct, x, mean, rstd, weight};
        const int dtypes[5] = {x->dtype, x->dtype, compute, compute, compute};
        cb_tensor *in[5] = {NULL};
        for (int k = 0; k < 5 && !status; k++) {
            if (!given[k]) continue;
            in[k] = prepared(given[k], dtypes[k]);
            if (!in[k]) status = cb_error_code();
        }
        if (!status) status = cb_backend_of(x)->norm_grad(in[0], in[1], n, in[2], in[3], in[4], out);
        for (int k = 0; k < 5; k++) cb_release(in[k]);
    }
    for (int k = 0; k < 3 && status; k++) {
        cb_release(out[k]);
        out[k] = NULL;
    }
    return status;
}

int cb_layer_norm(cb_tensor *x, int n_normalized, cb_tensor *weight, cb_tensor *bias, int has_affine,
                  double eps, cb_tensor *out[3]) {
    cb_tensor *affine[2] = {has_affine & WEIGHT ? weight : NULL, has_affine & BIAS ? bias : NULL},
              *made[3] = {NULL};
    out[0] = out[1] = out[2] = NULL;
    if (!x || ((has_affine & WEIGHT) && !weight) || ((has_affine & BIAS) && !bias))
        return cb_fail(CB_ERR_NULL, "layer_norm: no tensor");
    CB_TRY(forward(true, x, n_normalized, affine, eps, made));
    out[0] = made[0];
    out[1] = made[2];
    out[2] = made[1];
    return CB_OK;
}

int cb_layer_norm_grad(cb_tensor *ct, cb_tensor *x, cb_tensor *mean, cb_tensor *rstd, int n_normalized,
                       cb_tensor *weight, int has_affine, cb_tensor *out[3]) {
    out[0] = out[1] = out[2] = NULL;
    if (!ct || !x || !mean || !rstd || ((has_affine & WEIGHT) && !weight))
        return cb_fail(CB_ERR_NULL, "layer_norm: no tensor");
    return backward("layer_norm", ct, x, mean, rstd, n_normalized, has_affine & WEIGHT ? weight : NULL,
                    has_affine, out);
}

int cb_rms_norm(cb_tensor *x, int n_normalized, cb_tensor *weight, int has_affine, double eps,
                cb_tensor *out[2]) {
    cb_tensor *affine[2] = {has_affine & WEIGHT ? weight : NULL, NULL}, *made[3] = {NULL};
    out[0] = out[1] = NULL;
    if (!x || ((has_affine & WEIGHT) && !weight)) return cb_fail(CB_ERR_NULL, "rms_norm: no tensor");
    CB_TRY(forward(false, x, n_normalized, affine, eps, made));
    out[0] = made[0];
    out[1] = made[1];
    return CB_OK;
}

int cb_rms_norm_grad(cb_tensor *ct, cb_tensor *x, cb_tensor *rstd, int n_normalized, cb_tensor *weight,
                     int has_affine, cb_tensor *out[2]) {
    cb_tensor *made[3] = {NULL};
    out[0] = out[1] = NULL;
    if (!ct || !x || !rstd || ((has_affine & WEIGHT) && !weight))
        return cb_fail(CB_ERR_NULL, "rms_norm: no tensor");
    CB_TRY(backward("rms_norm", ct, x, NULL, rstd, n_normalized, has_affine & WEIGHT ? weight : NULL,
                    has_affine & WEIGHT, made));
    out[0] = made[0];
    out[1] = made[1];
    return CB_OK;
}

/* ---- channels ---- */

/* Checks x and n parameters [c]. */
static int check_channels(const char *op, cb_tensor *x, int64_t groups, int n, cb_tensor *const *params) {
    if (!cb_is_float(x->dtype))
        return cb_fail(CB_ERR_DTYPE, "%s: expected a floating dtype, got %s. Cast with .to(dtype).", op,
                       cb_dtypes[x->dtype].name);
    if (x->ndim < 2 || groups < 0 || (groups > 0 && x->shape[1] % groups))
        return cb_fail(CB_ERR_SHAPE, "%s: expected [n, c, ...] with c a multiple of %lld groups, got %s.", op,
                       (long long)groups, cb_shape_of(x));
    for (int k = 0; k < n; k++) {
        if (params[k]->ndim != 1 || params[k]->shape[0] != x->shape[1])
            return cb_fail(CB_ERR_SHAPE, "%s: expected %lld values, one a channel, got %s.", op,
                           (long long)x->shape[1], cb_shape_of(params[k]));
        if (!cb_is_float(params[k]->dtype))
            return cb_fail(CB_ERR_DTYPE, "%s: expected floating parameters, got %s.", op,
                           cb_dtypes[params[k]->dtype].name);
        if (cb_common_device(op, 2, (cb_tensor *[]){x, params[k]}) < 0) return cb_error_code();
    }
    return CB_OK;
}

/* in[k]: given[k], contiguous; the first `of_x` in x's dtype, the rest in the compute dtype */
static int prepare(cb_tensor *x, int of_x, int n, cb_tensor *const *given, cb_tensor **in) {
    for (int k = 0; k < n; k++) {
        in[k] = prepared(given[k], k < of_x ? x->dtype : cb_compute_dtype(x->dtype));
        if (!in[k]) return cb_error_code();
    }
    return CB_OK;
}

static void drop(int n, cb_tensor **tensors) {
    for (int k = 0; k < n; k++) {
        cb_release(tensors[k]);
        tensors[k] = NULL;
    }
}

int cb_channel_norm(cb_tensor *x, int64_t groups, cb_tensor *weight, cb_tensor *bias, double eps,
                    cb_tensor *out[3]) {
    out[0] = out[1] = out[2] = NULL;
    if (!x || !weight || !bias) return cb_fail(CB_ERR_NULL, "channel_norm: no tensor");
    CB_TRY(check_channels("channel_norm", x, groups, 2, (cb_tensor *[]){weight, bias}));
    int64_t per_channel = x->shape[1], per_group[2] = {x->shape[0], groups};
    out[0] = cb_empty(x->dtype, x->device, x->ndim, x->shape);
    for (int k = 1; k < 3 && out[k - 1]; k++)
        out[k] = cb_empty(cb_compute_dtype(x->dtype), x->device, groups ? 2 : 1,
                          groups ? per_group : &per_channel);
    int status = out[2] ? CB_OK : cb_error_code();
    if (!status && !cb_is_meta(x) && out[1]->numel > 0) {
        cb_tensor *in[3] = {NULL};
        status = prepare(x, 1, 3, (cb_tensor *[]){x, weight, bias}, in);
        if (!status) status = cb_backend_of(x)->channel_norm(in[0], groups, in[1], in[2], eps, 0, out);
        drop(3, in);
    }
    if (status) drop(3, out);
    return status;
}

cb_tensor *cb_channel_scale(cb_tensor *x, cb_tensor *mean, cb_tensor *var, cb_tensor *weight, cb_tensor *bias,
                            double eps) {
    if (!x || !mean || !var || !weight || !bias) {
        cb_fail(CB_ERR_NULL, "channel_scale: no tensor");
        return NULL;
    }
    cb_tensor *const params[4] = {mean, var, weight, bias};
    if (check_channels("channel_scale", x, 0, 4, params)) return NULL;
    cb_tensor *y = cb_empty(x->dtype, x->device, x->ndim, x->shape), *in[5] = {NULL};
    if (!y || cb_is_meta(x) || y->numel == 0) return y;
    int status = prepare(x, 1, 5, (cb_tensor *[]){x, mean, var, weight, bias}, in);
    if (!status)
        status =
            cb_backend_of(x)->channel_norm(in[0], 0, in[3], in[4], eps, 1, (cb_tensor *[]){y, in[1], in[2]});
    drop(5, in);
    if (status) drop(1, &y);
    return y;
}

int cb_channel_norm_grad(cb_tensor *ct, cb_tensor *x, cb_tensor *mean, cb_tensor *var, cb_tensor *weight,
                         int64_t groups, double eps, int fixed, cb_tensor *out[3]) {
    const char *op = "channel_norm_grad";
    out[0] = out[1] = out[2] = NULL;
    if (!ct || !x || !mean || !var || !weight) return cb_fail(CB_ERR_NULL, "%s: no tensor", op);
    CB_TRY(check_channels(op, x, groups, 1, &weight));
    if (!cb_same_shape(ct, x))
        return cb_fail(CB_ERR_SHAPE, "%s: expected a cotangent of shape %s, got %s.", op, cb_shape_of(x),
                       cb_shape_of(ct));
    int64_t count = groups ? x->shape[0] * groups : x->shape[1];
    if (mean->numel != count || var->numel != count || (fixed && groups))
        return cb_fail(CB_ERR_SHAPE, "%s: expected the statistics of the forward pass, got shape %s.", op,
                       cb_shape_of(mean));
    if (cb_common_device(op, 4, (cb_tensor *[]){x, ct, mean, var}) < 0) return cb_error_code();
    out[0] = cb_empty(x->dtype, x->device, x->ndim, x->shape);
    for (int k = 1; k < 3 && out[k - 1]; k++) out[k] = cb_empty(weight->dtype, x->device, 1, x->shape + 1);
    int status = out[2] ? CB_OK : cb_error_code();
    if (!status && !cb_is_meta(x) && out[1]->numel > 0) {
        cb_tensor *in[5] = {NULL};
        status = prepare(x, 2, 5, (cb_tensor *[]){ct, x, mean, var, weight}, in);
        if (!status)
            status = cb_backend_of(x)->channel_norm_grad(in[0], in[1], in[2], in[3], in[4], groups, eps,
                                                         fixed, out);
        drop(5, in);
    }
    if (status) drop(3, out);
    return status;
}
