/* Resizing along one dimension by tables of places and weights. Kernels: cpu/resample.c, ../cuda/pad.cu. */
#include "internal.h"

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
    if (wide) out = computed(wide, d, places, weights);
    cb_release(wide);
    if (!out || compute == x->dtype) return out;
    cb_tensor *narrow = cb_cast(out, x->dtype);
    cb_release(out);
    return narrow;
}
