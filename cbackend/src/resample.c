/* Resizing along one dimension by tables of places and weights. The kernel is in cpu/resample.c. */
#include "internal.h"

/* A sum of slices times weights: what devices without a kernel for it do. x has the weights' dtype. */
static cb_tensor *composed(cb_tensor *x, int dim, cb_tensor *places, cb_tensor *weights) {
    int64_t ones[CB_MAX_NDIM] = {weights->shape[0]}, taps = weights->shape[1];
    for (int d = dim + 1; d < x->ndim; d++) ones[d - dim] = 1;
    cb_tensor *sum = NULL;
    for (int64_t t = 0; t < taps; t++) {
        cb_tensor *place = cb_select(places, 1, t), *weight = cb_select(weights, 1, t),
                  *wide = weight ? cb_reshape(weight, x->ndim - dim, ones) : NULL,
                  *slices = place && wide ? cb_index_select(x, dim, place) : NULL,
                  *part = slices ? cb_binary(CB_BINARY_mul, slices, wide) : NULL,
                  *next = part && sum ? cb_binary(CB_BINARY_add, sum, part) : cb_retain(part);
        cb_release(part);
        cb_release(slices);
        cb_release(wide);
        cb_release(weight);
        cb_release(place);
        cb_release(sum);
        sum = next;
        if (!sum) return NULL;
    }
    return sum;
}

static cb_tensor *computed(cb_tensor *x, int dim, cb_tensor *places, cb_tensor *weights) {
    int64_t shape[CB_MAX_NDIM];
    memcpy(shape, x->shape, (size_t)x->ndim * sizeof *shape);
    shape[dim] = places->shape[0];
    cb_tensor *out = cb_empty(x->dtype, x->device, x->ndim, shape);
    if (!out || cb_is_meta(out) || !out->numel) return out;
    cb_tensor *from = cb_contiguous(x), *p = from ? cb_contiguous(places) : NULL,
              *w = p ? cb_contiguous(weights) : NULL;
    int status = w ? cb_backend_of(out)->resample(out, from, dim, p, w) : cb_error_code();
    cb_release(w);
    cb_release(p);
    cb_release(from);
    if (!status) return out;
    cb_release(out);
    return NULL;
}

cb_tensor *cb_resample(cb_tensor *x, int64_t dim, cb_tensor *places, cb_tensor *weights) {
    if (!x || !places || !weights) return cb_fail_null(CB_ERR_NULL, "resample: no tensor");
    int compute = cb_compute_dtype(x->dtype), d = cb_wrap_dim("resample", dim, x->ndim);
    if (d < 0) return NULL;
    if ((compute != CB_F32 && compute != CB_F64) || places->dtype != CB_I64 || weights->dtype != compute)
        return cb_fail_null(
            CB_ERR_DTYPE,
            "resample: expected a floating tensor, int64 places and weights of its dtype, got "
            "%s, %s and %s. Cast them.",
            cb_dtypes[x->dtype].name, cb_dtypes[places->dtype].name, cb_dtypes[weights->dtype].name);
    if (x->ndim == 0 || places->ndim != 2 || places->shape[1] == 0 || !cb_same_shape(places, weights))
        return cb_fail_null(CB_ERR_SHAPE,
                            "resample: expected at least one dimension, and places and weights [size, taps], "
                            "got %s, %s and %s.",
                            cb_shape_of(x), cb_shape_of(places), cb_shape_of(weights));
    if (!cb_is_meta(x) && cb_common_device("resample", 3, (cb_tensor *[]){x, places, weights}) < 0)
        return NULL;
    cb_tensor *wide = cb_cast(x, compute), *out = NULL;
    if (wide && (x->device & 255) == CB_CUDA)
        out = composed(wide, d, places, weights);
    else if (wide)
        out = computed(wide, d, places, weights);
    cb_release(wide);
    if (!out || compute == x->dtype) return out;
    cb_tensor *narrow = cb_cast(out, x->dtype);
    cb_release(out);
    return narrow;
}
