/* Copies, casts, fills and element creation. */
#include "internal.h"

#define NEED(x, op) \
    if (!(x)) return cb_fail_null(CB_ERR_NULL, op ": no tensor")

static cb_tensor *copied_into(cb_tensor *out, cb_tensor *x) {
    if (!out || cb_is_meta(out)) return out;
    if (cb_backend_of(out)->copy(out, x)) {
        cb_release(out);
        return NULL;
    }
    return out;
}

cb_tensor *cb_cast(cb_tensor *x, int dtype) {
    NEED(x, "to");
    if (x->dtype == dtype && !(x->flags & CB_FLAG_WEAK)) return cb_retain(x);
    return copied_into(cb_empty_like(x, dtype, -1), x);
}

cb_tensor *cb_clone(cb_tensor *x) {
    NEED(x, "clone");
    return copied_into(cb_empty_like(x, -1, -1), x);
}

cb_tensor *cb_contiguous(cb_tensor *x) {
    NEED(x, "contiguous");
    if (cb_is_contiguous(x)) return cb_retain(x);
    return copied_into(cb_empty(x->dtype, x->device, x->ndim, x->shape), x);
}

int cb_copy_into(cb_tensor *dst, cb_tensor *src, int64_t clock) {
    if (!dst || !src) return cb_fail(CB_ERR_NULL, "copy_: no tensor");
    CB_TRY(cb_check_writable("copy_", dst));
    if (cb_is_meta(dst)) return CB_OK;
    if (cb_is_meta(src))
        return cb_fail(CB_ERR_DEVICE, "copy_: expected a source with data, got one on meta.");
    if (src->data == dst->data && src->dtype == dst->dtype && cb_same_shape(dst, src) &&
        !memcmp(src->strides, dst->strides, (size_t)dst->ndim * sizeof *dst->strides)) {
        dst->storage->last_write = clock; /* onto itself */
        return CB_OK;
    }
    cb_tensor *wide = NULL, *copy = NULL;
    int status = CB_OK;
    if (!cb_same_shape(dst, src)) {
        /* leading size-1 dimensions of a source of higher rank fall away, as in NumPy */
        cb_tensor *trimmed = NULL;
        if (src->ndim > dst->ndim) {
            int extra = src->ndim - dst->ndim;
            for (int d = 0; d < extra; d++)
                if (src->shape[d] != 1)
                    return cb_fail(CB_ERR_SHAPE, "copy_: expected a source that broadcasts to %s, got %s.",
                                   cb_shape_of(dst), cb_shape_of(src));
            trimmed = cb_view_new(src, dst->ndim, src->shape + extra, src->strides + extra, src->offset);
        }
        wide = cb_expand(trimmed ? trimmed : src, dst->ndim, dst->shape);
        cb_release(trimmed);
        if (!wide)
            return cb_fail(CB_ERR_SHAPE, "copy_: expected a source that broadcasts to %s, got %s.",
                           cb_shape_of(dst), cb_shape_of(src));
        src = wide;
    }
    if (src->device != dst->device) {
        cb_tensor *near = cb_to_device(src, dst->device);
        if (!near) status = cb_error_code();
        src = copy = near;
    } else if (cb_overlaps(dst, src)) {
        copy = cb_clone(src);
        if (!copy) status = cb_error_code();
        src = copy;
    }
    if (!status) {
        dst->storage->last_write = clock;
        status = cb_backend_of(dst)->copy(dst, src);
    }
    cb_release(copy);
    cb_release(wide);
    return status;
}

int cb_copy_all_into(int n, cb_tensor *const *dst, cb_tensor *const *src, int64_t clock) {
    for (int i = 0; i < n; i++) CB_TRY(cb_copy_into(dst[i], src[i], clock));
    return CB_OK;
}

int cb_fill(cb_tensor *dst, const cb_scalar *value, int64_t clock) {
    if (!dst) return cb_fail(CB_ERR_NULL, "fill_: no tensor");
    CB_TRY(cb_check_writable("fill_", dst));
    if (cb_is_meta(dst) || dst->numel == 0) return CB_OK;
    dst->storage->last_write = clock;
    return cb_backend_of(dst)->fill(dst, value);
}

/* ---- creation with values ---- */

cb_tensor *cb_full(int dtype, int device, int ndim, const int64_t *shape, const cb_scalar *value) {
    cb_tensor *x = cb_empty(dtype, device, ndim, shape);
    if (x && cb_fill(x, value, 0)) {
        cb_release(x);
        return NULL;
    }
    return x;
}

cb_tensor *cb_ones_like(cb_tensor *x) {
    if (!x) return cb_fail_null(CB_ERR_NULL, "ones_like: no tensor");
    return cb_full(x->dtype, x->device, x->ndim, x->shape, &(cb_scalar){.kind = 'i', .i = 1});
}

cb_tensor *cb_scalar_tensor(const cb_scalar *value, int dtype) {
    bool weak = dtype < 0;
    if (weak) {
        switch (value->kind) {
            case 'b': dtype = CB_BOOL; break;
            case 'i': dtype = CB_I64; break;
            case 'u': dtype = CB_U64; break;
            case 'c': dtype = cb_complex_dtype(cb_default_dtype); break;
            default: dtype = cb_default_dtype;
        }
        /* the value itself is kept at full width: it is rounded once, to the dtype of the operation */
        if (value->kind == 'f') dtype = CB_F64;
        if (value->kind == 'c') dtype = CB_C128;
    }
    cb_tensor *x = cb_full(dtype, CB_CPU, 0, NULL, value);
    if (x && weak) x->flags |= CB_FLAG_WEAK;
    return x;
}

static cb_tensor *ranged(cb_tensor *out, const cb_scalar *start, const cb_scalar *step) {
    if (!out || cb_is_meta(out) || out->numel == 0) return out;
    if (cb_backend_of(out)->arange(out, start, step)) {
        cb_release(out);
        return NULL;
    }
    return out;
}

cb_tensor *cb_arange(int dtype, int device, double start, double step, int64_t n) {
    return ranged(cb_empty(dtype, device, 1, &n), &(cb_scalar){.kind = 'f', .re = start},
                  &(cb_scalar){.kind = 'f', .re = step});
}

cb_tensor *cb_arange_int(int dtype, int device, int64_t start, int64_t step, int64_t n) {
    return ranged(cb_empty(dtype, device, 1, &n), &(cb_scalar){.kind = 'i', .i = start},
                  &(cb_scalar){.kind = 'i', .i = step});
}

cb_tensor *cb_linspace(int dtype, int device, double start, double stop, int64_t n) {
    double step = n > 1 ? (stop - start) / (double)(n - 1) : 0;
    cb_tensor *x = cb_arange(dtype, device, start, step, n);
    if (x && n > 1 && !cb_is_meta(x)) { /* the last value exactly */
        cb_tensor *last = cb_view_new(x, 0, NULL, NULL, x->offset + n - 1);
        if (last) cb_fill(last, &(cb_scalar){.kind = 'f', .re = stop}, 0);
        cb_release(last);
    }
    return x;
}

cb_tensor *cb_eye(int dtype, int device, int64_t n, int64_t m) {
    int64_t shape[2] = {n, m};
    cb_tensor *x = cb_full(dtype, device, 2, shape, &(cb_scalar){.kind = 'i', .i = 0});
    cb_tensor *diagonal = x ? cb_diagonal(x, 0, 0, 1) : NULL;
    if (diagonal) cb_fill(diagonal, &(cb_scalar){.kind = 'i', .i = 1}, 0);
    cb_release(diagonal);
    return x;
}

int cb_item(cb_tensor *x, cb_scalar *out) {
    if (!x) return cb_fail(CB_ERR_NULL, "item: no tensor");
    if (x->numel != 1)
        return cb_fail(CB_ERR_SHAPE,
                       "item: expected a tensor with one element, got shape %s. Index it or reduce it first.",
                       cb_shape_of(x));
    if (cb_is_meta(x)) return cb_fail(CB_ERR_DEVICE, "item: expected a tensor with data, got one on meta.");
    cb_tensor *host = cb_to_device(x, CB_CPU);
    if (!host) return cb_error_code();
    char kind = cb_dtypes[host->dtype].kind;
    int wide = kind == 'B'   ? CB_BOOL
               : kind == 'I' ? CB_I64
               : kind == 'U' ? CB_U64
               : kind == 'F' ? CB_F64
                             : CB_C128;
    cb_tensor *y = cb_cast(host, wide);
    cb_release(host);
    if (!y) return cb_error_code();
    *out = (cb_scalar){0};
    switch (kind) {
        case 'B': out->kind = 'b', out->i = *(bool *)y->data; break;
        case 'I': out->kind = 'i', out->i = *(int64_t *)y->data; break;
        case 'U': out->kind = 'u', out->u = *(uint64_t *)y->data; break;
        case 'F': out->kind = 'f', out->re = *(double *)y->data; break;
        default: out->kind = 'c', out->re = ((double *)y->data)[0], out->im = ((double *)y->data)[1];
    }
    cb_release(y);
    return CB_OK;
}
