/* Convolution (cross-correlation) with its two gradients: checks, shapes, results. Kernels are in
 * cpu/conv*.c.
 *
 * All three are described by one cb_conv_shape. Operands reach the backend contiguous, 16-bit floats as
 * float, unless the processor has kernels of bfloat16. */
#include "internal.h"

static int out_size(int64_t in, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation,
                    int64_t *out) {
    int64_t span, padded;
    *out = 0;
    if (__builtin_mul_overflow(dilation, kernel - 1, &span) ||
        __builtin_add_overflow(span, (int64_t)1, &span) ||
        __builtin_mul_overflow(padding, (int64_t)2, &padded) || __builtin_add_overflow(padded, in, &padded))
        return 1;
    *out = padded < span ? 0 : (padded - span) / stride + 1;
    return padded < span;
}

/* The shape from sizes; lead: leading spatial dimensions of size 1 that make three. */
static int fill_shape(const char *op, cb_conv_shape *s, int nd, const int64_t *in, const int64_t *kernel,
                      const int64_t *stride, const int64_t *padding, const int64_t *dilation) {
    for (int d = 0; d < 3; d++) {
        s->in[d] = s->out[d] = s->kernel[d] = s->stride[d] = s->dilation[d] = 1;
        s->padding[d] = 0;
    }
    for (int i = 0, d = 3 - nd; i < nd; i++, d++) {
        if (stride[i] < 1 || dilation[i] < 1 || padding[i] < 0)
            return cb_fail(CB_ERR_VALUE,
                           "%s: expected stride >= 1, dilation >= 1 and padding >= 0, got %s, %s and %s. Pad "
                           "or slice the input instead.",
                           op, cb_shape_text(nd, stride), cb_shape_text(nd, dilation),
                           cb_shape_text(nd, padding));
        if (in[i] < 0 || kernel[i] < 1)
            return cb_fail(
                CB_ERR_SHAPE,
                "%s: expected a kernel of size >= 1, got kernel %s over input %s. Check the weight's shape.",
                op, cb_shape_text(nd, kernel), cb_shape_text(nd, in));
        s->in[d] = in[i];
        s->kernel[d] = kernel[i];
        s->stride[d] = stride[i];
        s->padding[d] = padding[i];
        s->dilation[d] = dilation[i];
        if (out_size(in[i], kernel[i], stride[i], padding[i], dilation[i], &s->out[d]))
            return cb_fail(CB_ERR_SHAPE,
                           "%s: expected a kernel that fits the padded input, got kernel %s over input %s "
                           "with padding %s. Add padding or use a smaller kernel.",
                           op, cb_shape_text(nd, kernel), cb_shape_text(nd, in), cb_shape_text(nd, padding));
    }
    return CB_OK;
}

static int check_operands(const char *op, const cb_tensor *x, const cb_tensor *y, int nd) {
    if (nd < 1 || nd > 3)
        return cb_fail(CB_ERR_SHAPE,
                       "%s: expected 1, 2 or 3 spatial dimensions, got %d. Fold the others into the batch.",
                       op, nd);
    if (x->ndim != nd + 2 || y->ndim != nd + 2)
        return cb_fail(
            CB_ERR_SHAPE,
            "%s: expected operands of %d dimensions, got %s and %s. Add a batch dimension with unsqueeze(0)?",
            op, nd + 2, cb_shape_of(x), cb_shape_of(y));
    if (x->dtype != y->dtype)
        return cb_fail(CB_ERR_DTYPE,
                       "%s: expected operands of one dtype, got %s and %s. Cast one with .to(dtype).", op,
                       cb_dtypes[x->dtype].name, cb_dtypes[y->dtype].name);
    if (x->dtype == CB_BOOL)
        return cb_fail(CB_ERR_DTYPE, "%s: expected numbers, got bool. Cast with .to(dtype).", op);
    return CB_OK;
}

/* channels and filters (the whole weight's leading size) split into groups */
static int fill_groups(const char *op, cb_conv_shape *s, int64_t channels, int64_t filters, int64_t groups) {
    if (groups < 1 || channels % groups || filters % groups)
        return cb_fail(CB_ERR_VALUE,
                       "%s: expected groups that divide %lld input and %lld output channels, got %lld. "
                       "Change groups or the channels.",
                       op, (long long)channels, (long long)filters, (long long)groups);
    s->groups = groups;
    s->ic = channels / groups;
    s->oc = filters / groups;
    return CB_OK;
}

enum { FORWARD, INPUT_GRAD, WEIGHT_GRAD };

/* Computes in `dtype`. *status is CB_ERR_UNSUPPORTED, without a message, where bfloat16 has no kernels. */
static cb_tensor *run_as(int dtype, int which, cb_conv_shape *s, cb_tensor *x, cb_tensor *y, int device,
                         int ndim, const int64_t *shape, int *result_status) {
    cb_tensor *out = cb_empty(dtype, device, ndim, shape);
    if (!out) return NULL;
    cb_tensor *a = NULL, *b = NULL, *wide = NULL;
    int status = CB_ERR_INTERNAL;
    if (out->numel > 0) {
        if ((wide = cb_cast(x, dtype))) a = cb_contiguous(wide);
        cb_release(wide);
        wide = a ? cb_cast(y, dtype) : NULL;
        if (wide) b = cb_contiguous(wide);
        cb_release(wide);
        s->dtype = dtype;
        const cb_backend *backend = cb_backend_of(out);
        if (a && b)
            status = which == FORWARD      ? backend->conv(s, out->data, a->data, b->data)
                     : which == INPUT_GRAD ? backend->conv_input_grad(s, out->data, a->data, b->data)
                                           : backend->conv_weight_grad(s, out->data, a->data, b->data);
        cb_release(a);
        cb_release(b);
    } else {
        status = CB_OK;
    }
    cb_tensor *result = status ? NULL : cb_cast(out, x->dtype);
    cb_release(out);
    *result_status = status;
    return result;
}

/* Kernels that tile the input make products of its patches, which are copied once. Where that pays: strides
 * beyond those of the kernels in cpu/, and few channels with long runs to copy; for gradients of weights,
 * which are products image by image, with filters for whole tiles, but no more than positions. */
static bool is_of_patches(int which, const cb_conv_shape *s, int dtype) {
    int64_t positions = s->out[0] * s->out[1] * s->out[2], longest = 0;
    for (int d = 0; d < 3; d++) {
        if (s->kernel[d] != s->stride[d] || s->in[d] != s->out[d] * s->kernel[d] || s->padding[d] ||
            (s->dilation[d] != 1 && s->kernel[d] > 1))
            return false;
        longest = CB_MAX(longest, s->kernel[d]);
    }
    if (s->groups != 1 || positions < 2 || s->n * s->ic * s->oc == 0 || (dtype != CB_F32 && dtype != CB_F64))
        return false;
    if (longest > 16) return true;
    if (s->ic >= 16 || which == INPUT_GRAD) return false;
    int64_t row = s->ic * s->kernel[0] * s->kernel[1] * s->kernel[2];
    return which == FORWARD ? s->kernel[2] >= 8 && row >= 256
                            : s->kernel[2] >= 4 && s->oc >= 64 && (s->n == 1 || positions >= s->oc);
}

/* `x` in another order of dimensions, seen through `split` and given as `shape`. */
static cb_tensor *rearranged(cb_tensor *x, int nsplit, const int64_t *split, const int64_t *order, int ndim,
                             const int64_t *shape) {
    cb_tensor *parts = cb_reshape(x, nsplit, split),
              *turned = parts ? cb_permute(parts, nsplit, order) : NULL,
              *out = turned ? cb_reshape(turned, ndim, shape) : NULL;
    cb_release(parts);
    cb_release(turned);
    return out;
}

/* As run(). A patch is a row: numbers of all channels. */
static cb_tensor *by_patches(int which, const cb_conv_shape *s, cb_tensor *x, cb_tensor *y, int ndim,
                             const int64_t *shape) {
    const int64_t *o = s->out, *k = s->kernel, positions = o[0] * o[1] * o[2],
                  row = s->ic * k[0] * k[1] * k[2],
                  image[8] = {s->n, s->ic, o[0], k[0], o[1], k[1], o[2], k[2]},
                  patches[8] = {s->n, o[0], o[1], o[2], s->ic, k[0], k[1], k[2]},
                  rows[3] = {s->n, positions, row}, ct[3] = {s->n, s->oc, positions},
                  weights[2] = {s->oc, row}, results[3] = {s->n, positions, s->oc},
                  to_patches[8] = {0, 2, 4, 6, 1, 3, 5, 7}, to_image[8] = {0, 4, 1, 5, 2, 6, 3, 7},
                  swap[3] = {0, 2, 1};
    cb_tensor *a = NULL, *b = NULL, *product = NULL, *out = NULL;
    if (which == FORWARD) {
        a = rearranged(x, 8, image, to_patches, 3, rows);
        b = a ? cb_reshape(y, 2, weights) : NULL;
        product = b ? cb_linear(a, b, NULL, 0) : NULL;
        out = product ? rearranged(product, 3, results, swap, ndim, shape) : NULL;
    } else if (which == INPUT_GRAD) {
        a = rearranged(x, 3, ct, swap, 3, results);
        b = a ? cb_reshape(y, 2, weights) : NULL;
        product = b ? cb_matmul(a, b) : NULL;
        out = product ? rearranged(product, 8, patches, to_image, ndim, shape) : NULL;
    } else {
        a = cb_reshape(x, 3, ct);
        b = a ? rearranged(y, 8, image, to_patches, 3, rows) : NULL;
        product = b ? cb_matmul(a, b) : NULL;
        cb_tensor *sum = product ? cb_sum_to(product, 2, weights) : NULL;
        out = sum ? cb_reshape(sum, ndim, shape) : NULL;
        cb_release(sum);
    }
    cb_release(a);
    cb_release(b);
    cb_release(product);
    cb_tensor *result = out ? cb_contiguous(out) : NULL; /* it may be a view */
    cb_release(out);
    return result;
}

/* A kernel of one tap makes one product of the positions of all images, which are copied beside each other.
 * Where that pays: few copies for many products, and planes that fill few vectors, bfloat16, or one image,
 * whose gradient of weights needs no copies. */
static bool is_of_images(int which, const cb_conv_shape *s, int dtype) {
    int64_t plane = s->in[0] * s->in[1] * s->in[2];
    for (int d = 0; d < 3; d++)
        if (s->kernel[d] != 1 || s->stride[d] != 1 || s->padding[d]) return false;
    if (s->groups != 1 || s->n * plane * s->ic * s->oc == 0 ||
        (dtype != CB_F32 && dtype != CB_F64 && dtype != CB_BF16))
        return false;
    if (which == WEIGHT_GRAD && s->n == 1) return true;
    return s->ic * s->oc >= 128 * (s->ic + s->oc) && (plane < 64 || dtype == CB_BF16);
}

/* As run(). */
static cb_tensor *by_images(int which, const cb_conv_shape *s, cb_tensor *x, cb_tensor *y, int ndim,
                            const int64_t *shape) {
    const int64_t plane = s->in[0] * s->in[1] * s->in[2], all = s->n * plane, weights[2] = {s->oc, s->ic};
    const int64_t swap[3] = {1, 0, 2};
    int64_t channels = which == FORWARD ? s->ic : s->oc, results = which == FORWARD ? s->oc : s->ic;
    cb_tensor *a = rearranged(x, 3, (int64_t[]){s->n, channels, plane}, swap, 2, (int64_t[]){channels, all}),
              *b = NULL, *product = NULL, *out = NULL;
    if (a && which == WEIGHT_GRAD) {
        b = rearranged(y, 3, (int64_t[]){s->n, s->ic, plane}, swap, 2, (int64_t[]){s->ic, all});
        product = b ? cb_linear(a, b, NULL, 0) : NULL;
        out = product ? cb_reshape(product, ndim, shape) : NULL;
    } else if (a) {
        b = which == FORWARD ? cb_reshape(y, 2, weights)
                             : rearranged(y, 2, weights, swap, 2, (int64_t[]){s->ic, s->oc});
        cb_tensor *w = b ? cb_contiguous(b) : NULL;
        product = w ? cb_matmul(w, a) : NULL;
        cb_release(w);
        out = product ? rearranged(product, 3, (int64_t[]){results, s->n, plane}, swap, ndim, shape) : NULL;
    }
    cb_release(a);
    cb_release(b);
    cb_release(product);
    cb_tensor *result = out ? cb_contiguous(out) : NULL; /* it may be a view */
    cb_release(out);
    return result;
}

static cb_tensor *run(int which, cb_conv_shape *s, cb_tensor *x, cb_tensor *y, const char *op, int ndim,
                      const int64_t *shape);

/* A kernel of one tap with strides reads nothing but a slice of its input. */
static bool is_of_slice(const cb_conv_shape *s) {
    int64_t steps = 1;
    for (int d = 0; d < 3; d++) {
        if (s->kernel[d] != 1 || s->padding[d]) return false;
        steps *= s->stride[d];
    }
    return steps > 1;
}

/* What a kernel of one tap reads of x; a view. */
static cb_tensor *slice_read(const cb_conv_shape *s, cb_tensor *x) {
    cb_tensor *view = cb_alias(x);
    for (int d = 2, dim = x->ndim - 1; dim > 1 && view; d--, dim--) {
        cb_tensor *next = cb_slice(view, dim, 0, s->in[d], s->stride[d]);
        cb_release(view);
        view = next;
    }
    return view;
}

/* As run(): without strides, of the slice. */
static cb_tensor *by_slice(int which, const cb_conv_shape *s, cb_tensor *x, cb_tensor *y, const char *op,
                           int ndim, const int64_t *shape) {
    cb_conv_shape plain = *s;
    int64_t sliced[5] = {shape[0], shape[1]};
    for (int d = 0; d < 3; d++) {
        plain.in[d] = s->out[d];
        plain.stride[d] = 1;
    }
    if (which != INPUT_GRAD) {
        cb_tensor *view = slice_read(s, which == FORWARD ? x : y), *out = NULL;
        if (view)
            out =
                run(which, &plain, which == FORWARD ? view : x, which == FORWARD ? y : view, op, ndim, shape);
        cb_release(view);
        return out;
    }
    memcpy(sliced + 2, s->out + 5 - ndim, (size_t)(ndim - 2) * sizeof *sliced);
    cb_tensor *out = cb_full(x->dtype, x->device, ndim, shape, &(cb_scalar){.kind = 'i', .i = 0}),
              *view = out ? slice_read(s, out) : NULL,
              *grad = view ? run(which, &plain, x, y, op, ndim, sliced) : NULL;
    int status = grad ? cb_copy_into(view, grad, 0) : CB_ERR_INTERNAL;
    cb_release(view);
    cb_release(grad);
    if (!status) return out;
    cb_release(out);
    return NULL;
}

/* x and y: the operands in the order of the public function; both are of one dtype. */
static cb_tensor *run(int which, cb_conv_shape *s, cb_tensor *x, cb_tensor *y, const char *op, int ndim,
                      const int64_t *shape) {
    int device = cb_common_device(op, 2, (cb_tensor *[]){x, y}), status = CB_OK;
    if (device < 0) return NULL;
    if ((device & 255) == CB_META) return cb_empty(x->dtype, device, ndim, shape);
    if ((device & 255) == CB_CPU && is_of_slice(s)) return by_slice(which, s, x, y, op, ndim, shape);
    if ((device & 255) == CB_CPU && is_of_patches(which, s, x->dtype))
        return by_patches(which, s, x, y, ndim, shape);
    if ((device & 255) == CB_CPU && is_of_images(which, s, x->dtype))
        return by_images(which, s, x, y, ndim, shape);
    if (x->dtype == CB_BF16 && (device & 255) == CB_CPU) {
        cb_tensor *out = run_as(CB_BF16, which, s, x, y, device, ndim, shape, &status);
        if (status != CB_ERR_UNSUPPORTED) return out;
    }
    return run_as(cb_compute_dtype(x->dtype), which, s, x, y, device, ndim, shape, &status);
}

cb_tensor *cb_conv(cb_tensor *x, cb_tensor *w, int nd, const int64_t *stride, const int64_t *padding,
                   const int64_t *dilation, int64_t groups) {
    if (!x || !w) return cb_fail_null(CB_ERR_NULL, "conv: no tensor");
    cb_conv_shape s;
    int64_t shape[5];
    if (check_operands("conv", x, w, nd) || fill_groups("conv", &s, x->shape[1], w->shape[0], groups) ||
        fill_shape("conv", &s, nd, x->shape + 2, w->shape + 2, stride, padding, dilation))
        return NULL;
    if (w->shape[1] != s.ic)
        return cb_fail_null(CB_ERR_SHAPE,
                            "conv: expected weights over %lld input channels (%lld in %lld groups), got x %s "
                            "and w %s. Check groups.",
                            (long long)s.ic, (long long)x->shape[1], (long long)groups, cb_shape_of(x),
                            cb_shape_of(w));
    s.n = shape[0] = x->shape[0];
    shape[1] = w->shape[0];
    memcpy(shape + 2, s.out + 3 - nd, (size_t)nd * sizeof *shape);
    return run(FORWARD, &s, x, w, "conv", nd + 2, shape);
}

/* The cotangent must have the shape of the convolution's result. */
static int check_cotangent(const char *op, const cb_conv_shape *s, const cb_tensor *ct, int nd) {
    if (ct->shape[1] == s->groups * s->oc &&
        !memcmp(ct->shape + 2, s->out + 3 - nd, (size_t)nd * sizeof(int64_t)))
        return CB_OK;
    int64_t want[5] = {ct->shape[0], s->groups * s->oc};
    memcpy(want + 2, s->out + 3 - nd, (size_t)nd * sizeof *want);
    return cb_fail(CB_ERR_SHAPE,
                   "%s: expected a cotangent of the convolution's shape %s, got %s. Check the sizes given.",
                   op, cb_shape_text(nd + 2, want), cb_shape_of(ct));
}

cb_tensor *cb_conv_input_grad(cb_tensor *ct, cb_tensor *w, int nd, const int64_t *input_size,
                              const int64_t *stride, const int64_t *padding, const int64_t *dilation,
                              int64_t groups) {
    if (!ct || !w) return cb_fail_null(CB_ERR_NULL, "conv_input_grad: no tensor");
    const char *op = "conv_input_grad";
    cb_conv_shape s;
    int64_t shape[5];
    if (check_operands(op, ct, w, nd) ||
        fill_groups(op, &s, CB_MAX(groups, 1) * w->shape[1], w->shape[0], groups) ||
        fill_shape(op, &s, nd, input_size, w->shape + 2, stride, padding, dilation) ||
        check_cotangent(op, &s, ct, nd))
        return NULL;
    s.n = shape[0] = ct->shape[0];
    shape[1] = s.groups * s.ic;
    memcpy(shape + 2, input_size, (size_t)nd * sizeof *shape);
    return run(INPUT_GRAD, &s, ct, w, op, nd + 2, shape);
}

cb_tensor *cb_conv_weight_grad(cb_tensor *ct, cb_tensor *x, int nd, const int64_t *kernel_size,
                               const int64_t *stride, const int64_t *padding, const int64_t *dilation,
                               int64_t groups) {
    if (!ct || !x) return cb_fail_null(CB_ERR_NULL, "conv_weight_grad: no tensor");
    const char *op = "conv_weight_grad";
    cb_conv_shape s;
    int64_t shape[5];
    if (check_operands(op, ct, x, nd) || fill_groups(op, &s, x->shape[1], ct->shape[1], groups) ||
        fill_shape(op, &s, nd, x->shape + 2, kernel_size, stride, padding, dilation) ||
        check_cotangent(op, &s, ct, nd))
        return NULL;
    if (ct->shape[0] != x->shape[0])
        return cb_fail_null(CB_ERR_SHAPE,
                            "%s: expected as many cotangents as images, got %s and %s. Check the batch.", op,
                            cb_shape_of(ct), cb_shape_of(x));
    s.n = x->shape[0];
    shape[0] = ct->shape[1];
    shape[1] = s.ic;
    memcpy(shape + 2, kernel_size, (size_t)nd * sizeof *shape);
    return run(WEIGHT_GRAD, &s, ct, x, op, nd + 2, shape);
}
