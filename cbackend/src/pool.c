/* Pooling: checks, shapes, results. Kernels are in cpu/pool.c.
 *
 * Any number of leading dimensions is folded into `planes`; the last nd dimensions are the plane. Window
 * rules are torch's: padding at most half the kernel, and with ceil_mode the last window starts inside the
 * input or its left padding. Maxima are exact in float, so 16-bit floats are pooled as float and narrowed
 * back. */
#include "internal.h"

static int fill_shape(const char *op, cb_pool_shape *s, int nd, const int64_t *in, const int64_t *kernel,
                      const int64_t *stride, const int64_t *padding, const int64_t *dilation, int ceil_mode) {
    for (int d = 0; d < 3; d++) {
        s->in[d] = s->out[d] = s->kernel[d] = s->stride[d] = s->dilation[d] = 1;
        s->padding[d] = 0;
    }
    for (int i = 0, d = 3 - nd; i < nd; i++, d++) {
        int64_t step = dilation ? dilation[i] : 1;
        if (kernel[i] < 1 || stride[i] < 1 || step < 1 || padding[i] < 0 || padding[i] > kernel[i] / 2)
            return cb_fail(CB_ERR_VALUE,
                           "%s: expected kernel, stride and dilation >= 1 and padding from 0 to half the "
                           "kernel, got kernel %s, stride %s, padding %s. Pad the input instead?",
                           op, cb_shape_text(nd, kernel), cb_shape_text(nd, stride),
                           cb_shape_text(nd, padding));
        s->in[d] = in[i];
        s->kernel[d] = kernel[i];
        s->stride[d] = stride[i];
        s->padding[d] = padding[i];
        s->dilation[d] = step;
        int64_t room = in[i] + 2 * padding[i] - step * (kernel[i] - 1) - 1;
        int64_t out = room + (ceil_mode ? stride[i] - 1 : 0) < 0
                          ? 0
                          : (room + (ceil_mode ? stride[i] - 1 : 0)) / stride[i] + 1;
        if (ceil_mode && (out - 1) * stride[i] >= in[i] + padding[i]) out--;
        if (in[i] < 1 || out < 1)
            return cb_fail(CB_ERR_SHAPE,
                           "%s: expected a window that fits the padded input, got kernel %s over input %s. "
                           "Use a smaller kernel or more padding.",
                           op, cb_shape_text(nd, kernel), cb_shape_text(nd, in));
        s->out[d] = out;
    }
    return CB_OK;
}

static int check_input(const char *op, const cb_tensor *x, int nd) {
    if (nd < 1 || nd > 3)
        return cb_fail(CB_ERR_SHAPE,
                       "%s: expected 1, 2 or 3 pooled dimensions, got %d. Pool the others separately.", op,
                       nd);
    if (x->ndim < nd)
        return cb_fail(CB_ERR_SHAPE,
                       "%s: expected at least %d dimensions, got shape %s. Add one with unsqueeze?", op, nd,
                       cb_shape_of(x));
    return CB_OK;
}

static int64_t plane_size(const int64_t size[3]) { return size[0] * size[1] * size[2]; }

/* x's leading sizes followed by the given plane */
static void result_shape(const cb_tensor *x, int nd, const int64_t *plane, cb_pool_shape *s, int64_t *shape) {
    s->planes = 1;
    for (int d = 0; d < x->ndim - nd; d++) s->planes *= shape[d] = x->shape[d];
    memcpy(shape + x->ndim - nd, plane, (size_t)nd * sizeof *shape);
}

/* x contiguous in `dtype` */
static cb_tensor *prepared(cb_tensor *x, int dtype) {
    cb_tensor *cast = cb_cast(x, dtype), *dense = cast ? cb_contiguous(cast) : NULL;
    cb_release(cast);
    return dense;
}

static cb_tensor *narrowed(cb_tensor *wide, int status, int dtype) {
    cb_tensor *out = status ? NULL : cb_cast(wide, dtype);
    cb_release(wide);
    return out;
}

static int max_pool(cb_tensor *x, int nd, const int64_t *kernel, const int64_t *stride,
                    const int64_t *padding, const int64_t *dilation, int ceil_mode, cb_tensor **values,
                    cb_tensor **indices) {
    if (!x) return cb_fail(CB_ERR_NULL, "max_pool: no tensor");
    cb_pool_shape s = {0};
    CB_TRY(check_input("max_pool", x, nd));
    if (cb_is_complex(x->dtype) || x->dtype == CB_BOOL)
        return cb_fail(CB_ERR_DTYPE, "max_pool: expected ordered numbers, got %s. Cast with .to(dtype).",
                       cb_dtypes[x->dtype].name);
    CB_TRY(fill_shape("max_pool", &s, nd, x->shape + x->ndim - nd, kernel, stride, padding, dilation,
                      ceil_mode));
    if (plane_size(s.in) > INT32_MAX)
        return cb_fail(CB_ERR_UNSUPPORTED,
                       "max_pool: expected planes of fewer than 2^31 elements, got %s. Pool it in parts.",
                       cb_shape_of(x));
    int64_t shape[CB_MAX_NDIM];
    result_shape(x, nd, s.out + 3 - nd, &s, shape);
    s.dtype = cb_is_meta(x) ? x->dtype : cb_compute_dtype(x->dtype);
    cb_tensor *out = cb_empty(s.dtype, x->device, x->ndim, shape);
    cb_tensor *where = out && indices ? cb_empty(CB_I64, x->device, x->ndim, shape) : NULL;
    int status = out && (where || !indices) ? CB_OK : cb_error_code();
    if (!status && !cb_is_meta(x) && out->numel) {
        cb_tensor *dense = prepared(x, s.dtype);
        status = dense ? cb_backend_of(out)->max_pool(&s, out->data, where ? where->data : NULL, dense->data)
                       : cb_error_code();
        cb_release(dense);
    }
    if (!status) {
        *values = narrowed(out, 0, x->dtype);
        if (*values) {
            if (indices) *indices = where;
            return CB_OK;
        }
        status = cb_error_code();
    } else {
        cb_release(out);
    }
    cb_release(where);
    return status;
}

int cb_max_pool(cb_tensor *x, int nd, const int64_t *kernel, const int64_t *stride, const int64_t *padding,
                const int64_t *dilation, int ceil_mode, cb_tensor *out[2]) {
    return max_pool(x, nd, kernel, stride, padding, dilation, ceil_mode, &out[0], &out[1]);
}

cb_tensor *cb_max_pool_values(cb_tensor *x, int nd, const int64_t *kernel, const int64_t *stride,
                              const int64_t *padding, const int64_t *dilation, int ceil_mode) {
    cb_tensor *values = NULL;
    return max_pool(x, nd, kernel, stride, padding, dilation, ceil_mode, &values, NULL) ? NULL : values;
}

static int check_indices(const char *op, const cb_tensor *x, const cb_tensor *indices, int nd) {
    CB_TRY(check_input(op, x, nd));
    if (indices->dtype != CB_I64)
        return cb_fail(CB_ERR_DTYPE, "%s: expected int64 indices, got %s. Cast with .to(dtype).", op,
                       cb_dtypes[indices->dtype].name);
    if (x->ndim != indices->ndim ||
        memcmp(x->shape, indices->shape, (size_t)(x->ndim - nd) * sizeof *x->shape))
        return cb_fail(CB_ERR_SHAPE,
                       "%s: expected indices with the same leading sizes as the values, got %s and %s.", op,
                       cb_shape_of(indices), cb_shape_of(x));
    return cb_common_device(op, 2, (cb_tensor *[]){(cb_tensor *)x, (cb_tensor *)indices}) < 0
               ? cb_error_code()
               : CB_OK;
}

cb_tensor *cb_max_pool_grad(cb_tensor *ct, cb_tensor *indices, int nd, const int64_t *input_size) {
    if (!ct || !indices) return cb_fail_null(CB_ERR_NULL, "max_pool_grad: no tensor");
    if (check_indices("max_pool_grad", ct, indices, nd)) return NULL;
    if (!cb_same_shape(ct, indices))
        return cb_fail_null(CB_ERR_SHAPE,
                            "max_pool_grad: expected a cotangent of the indices' shape %s, got %s.",
                            cb_shape_of(indices), cb_shape_of(ct));
    if (ct->dtype == CB_BOOL)
        return cb_fail_null(CB_ERR_DTYPE, "max_pool_grad: expected numbers, got bool. Cast with .to(dtype).");
    cb_pool_shape s = {0};
    int64_t shape[CB_MAX_NDIM];
    result_shape(ct, nd, input_size, &s, shape);
    int64_t plane = cb_numel_of(nd, input_size), windows = cb_numel_of(nd, ct->shape + ct->ndim - nd);
    s.dtype = cb_is_meta(ct) ? ct->dtype : cb_compute_dtype(ct->dtype);
    cb_tensor *out = cb_empty(s.dtype, ct->device, ct->ndim, shape);
    if (!out || cb_is_meta(out) || out->numel == 0) return out;
    cb_tensor *dense = prepared(ct, s.dtype), *where = dense ? cb_contiguous(indices) : NULL;
    int status = where ? cb_backend_of(out)->pool_scatter(s.dtype, s.planes, plane, windows, out->data,
                                                          where->data, dense->data)
                       : cb_error_code();
    cb_release(dense);
    cb_release(where);
    return narrowed(out, status, ct->dtype);
}

cb_tensor *cb_pool_gather(cb_tensor *x, cb_tensor *indices, int nd) {
    if (!x || !indices) return cb_fail_null(CB_ERR_NULL, "pool_gather: no tensor");
    if (check_indices("pool_gather", x, indices, nd)) return NULL;
    cb_tensor *out = cb_empty(x->dtype, x->device, indices->ndim, indices->shape);
    if (!out || cb_is_meta(out) || out->numel == 0) return out;
    int64_t plane = cb_numel_of(nd, x->shape + x->ndim - nd),
            windows = cb_numel_of(nd, indices->shape + x->ndim - nd);
    cb_tensor *dense = cb_contiguous(x), *where = dense ? cb_contiguous(indices) : NULL;
    int status = where ? cb_backend_of(out)->pool_gather(x->itemsize, out->numel / windows, plane, windows,
                                                         out->data, where->data, dense->data)
                       : cb_error_code();
    cb_release(dense);
    cb_release(where);
    return narrowed(out, status, x->dtype);
}

static cb_tensor *avg_pool(const char *op, bool gradient, cb_tensor *x, int nd, const int64_t *input_size,
                           const int64_t *kernel, const int64_t *stride, const int64_t *padding,
                           int ceil_mode, int count_include_pad, int64_t divisor_override) {
    if (!x) return cb_fail_null(CB_ERR_NULL, "%s: no tensor", op);
    if (check_input(op, x, nd)) return NULL;
    if (!cb_is_float(x->dtype))
        return cb_fail_null(CB_ERR_DTYPE, "%s: expected a floating dtype, got %s. Cast with .to(dtype).", op,
                            cb_dtypes[x->dtype].name);
    if (divisor_override < 0)
        return cb_fail_null(CB_ERR_VALUE, "%s: expected divisor_override >= 1, or 0 for none, got %lld.", op,
                            (long long)divisor_override);
    cb_pool_shape s = {.count_padding = count_include_pad, .divisor_override = divisor_override};
    const int64_t *plane = x->shape + x->ndim - nd;
    if (fill_shape(op, &s, nd, gradient ? input_size : plane, kernel, stride, padding, NULL, ceil_mode))
        return NULL;
    if (gradient && memcmp(plane, s.out + 3 - nd, (size_t)nd * sizeof *plane))
        return cb_fail_null(CB_ERR_SHAPE,
                            "%s: expected a cotangent with plane %s, got shape %s. Check input_size.", op,
                            cb_shape_text(nd, s.out + 3 - nd), cb_shape_of(x));
    int64_t shape[CB_MAX_NDIM];
    result_shape(x, nd, (gradient ? s.in : s.out) + 3 - nd, &s, shape);
    s.dtype = cb_is_meta(x) ? x->dtype : cb_compute_dtype(x->dtype);
    cb_tensor *out = cb_empty(s.dtype, x->device, x->ndim, shape);
    if (!out || cb_is_meta(out) || out->numel == 0) return out;
    cb_tensor *dense = prepared(x, s.dtype);
    const cb_backend *backend = cb_backend_of(out);
    int status = dense ? (gradient ? backend->avg_pool_grad : backend->avg_pool)(&s, out->data, dense->data)
                       : cb_error_code();
    cb_release(dense);
    return narrowed(out, status, x->dtype);
}

cb_tensor *cb_avg_pool(cb_tensor *x, int nd, const int64_t *kernel, const int64_t *stride,
                       const int64_t *padding, int ceil_mode, int count_include_pad,
                       int64_t divisor_override) {
    return avg_pool("avg_pool", false, x, nd, NULL, kernel, stride, padding, ceil_mode, count_include_pad,
                    divisor_override);
}

cb_tensor *cb_avg_pool_grad(cb_tensor *ct, int nd, const int64_t *input_size, const int64_t *kernel,
                            const int64_t *stride, const int64_t *padding, int ceil_mode,
                            int count_include_pad, int64_t divisor_override) {
    return avg_pool("avg_pool_grad", true, ct, nd, input_size, kernel, stride, padding, ceil_mode,
                    count_include_pad, divisor_override);
}
