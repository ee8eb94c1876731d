/* View operations: new handles over the same storage. None of them moves data; reshape copies where no view
 * exists. */
#include "internal.h"

#define NEED(x, op) \
    if (!(x)) return cb_fail_null(CB_ERR_NULL, op ": no tensor")

cb_tensor *cb_alias(cb_tensor *x) {
    NEED(x, "alias");
    return cb_view_new(x, x->ndim, x->shape, x->strides, x->offset);
}

cb_tensor *cb_as_strided(cb_tensor *x, int ndim, const int64_t *shape, const int64_t *strides,
                         int64_t offset) {
    NEED(x, "as_strided");
    int64_t low = offset, high = offset;
    bool empty = false;
    if (ndim > CB_MAX_NDIM)
        return cb_fail_null(CB_ERR_SHAPE, "as_strided: expected at most %d dimensions, got %d.", CB_MAX_NDIM,
                            ndim);
    for (int d = 0; d < ndim; d++) {
        if (shape[d] < 0)
            return cb_fail_null(CB_ERR_SHAPE, "as_strided: expected sizes of at least 0, got %s.",
                                cb_shape_text(ndim, shape));
        if (shape[d] == 0) {
            empty = true;
            continue;
        }
        int64_t span;
        if (__builtin_mul_overflow(shape[d] - 1, strides[d], &span) ||
            __builtin_add_overflow(span > 0 ? high : low, span, span > 0 ? &high : &low))
            return cb_fail_null(CB_ERR_SHAPE,
                                "as_strided: expected a view inside the storage, got strides %s.",
                                cb_shape_text(ndim, strides));
    }
    if (cb_numel_of(ndim, shape) < 0)
        return cb_fail_null(CB_ERR_SHAPE, "as_strided: expected fewer than 2^63 elements, got %s.",
                            cb_shape_text(ndim, shape));
    int64_t room = x->storage->nbytes / x->itemsize;
    if (!empty && (low < 0 || high >= room))
        return cb_fail_null(CB_ERR_SHAPE,
                            "as_strided: expected a view inside the storage of %lld elements, got elements "
                            "%lld to %lld. Check shape, strides and offset.",
                            (long long)room, (long long)low, (long long)high);
    return cb_view_new(x, ndim, shape, strides, empty ? 0 : offset);
}

cb_tensor *cb_permute(cb_tensor *x, int n, const int64_t *dims) {
    NEED(x, "permute");
    int64_t shape[CB_MAX_NDIM], strides[CB_MAX_NDIM];
    bool seen[CB_MAX_NDIM] = {false};
    if (n != x->ndim)
        return cb_fail_null(CB_ERR_DIM, "permute: expected %d dims, got %d (%s). Name every dimension once.",
                            x->ndim, n, cb_shape_text(CB_MIN(n, 16), dims));
    for (int i = 0; i < n; i++) {
        int d = cb_wrap_dim("permute", dims[i], n);
        if (d < 0) return NULL;
        if (seen[d])
            return cb_fail_null(CB_ERR_DIM,
                                "permute: expected each dim once, got %s. Name every dimension once.",
                                cb_shape_text(n, dims));
        seen[d] = true;
        shape[i] = x->shape[d];
        strides[i] = x->strides[d];
    }
    return cb_view_new(x, n, shape, strides, x->offset);
}

cb_tensor *cb_transpose(cb_tensor *x, int64_t a, int64_t b) {
    NEED(x, "transpose");
    int i = cb_wrap_dim("transpose", a, x->ndim), j = i < 0 ? -1 : cb_wrap_dim("transpose", b, x->ndim);
    if (i < 0 || j < 0) return NULL;
    if (x->ndim == 0) return cb_alias(x);
    int64_t shape[CB_MAX_NDIM], strides[CB_MAX_NDIM];
    memcpy(shape, x->shape, (size_t)x->ndim * sizeof *shape);
    memcpy(strides, x->strides, (size_t)x->ndim * sizeof *strides);
    shape[i] = x->shape[j];
    shape[j] = x->shape[i];
    strides[i] = x->strides[j];
    strides[j] = x->strides[i];
    return cb_view_new(x, x->ndim, shape, strides, x->offset);
}

cb_tensor *cb_expand(cb_tensor *x, int ndim, const int64_t *shape) {
    NEED(x, "expand");
    int64_t sizes[CB_MAX_NDIM], strides[CB_MAX_NDIM];
    int lead = ndim - x->ndim;
    if (lead < 0 || ndim > CB_MAX_NDIM)
        return cb_fail_null(CB_ERR_SHAPE,
                            "expand: expected at least %d sizes, got %s. Dimensions are added in front only.",
                            x->ndim, cb_shape_text(ndim, shape));
    for (int d = 0; d < ndim; d++) {
        int64_t size = d < lead ? 1 : x->shape[d - lead],
                want = shape[d] == -1 && d >= lead ? size : shape[d];
        if (want < 0 || (size != 1 && size != want))
            return cb_fail_null(CB_ERR_SHAPE,
                                "expand: expected sizes equal to the tensor's or in place of 1, got %s for "
                                "shape %s (dim %d). Only size-1 dimensions expand.",
                                cb_shape_text(ndim, shape), cb_shape_of(x), d);
        sizes[d] = want;
        strides[d] = size == want && d >= lead ? x->strides[d - lead] : 0;
    }
    if (cb_numel_of(ndim, sizes) < 0)
        return cb_fail_null(CB_ERR_SHAPE,
                            "expand: expected fewer than 2^63 elements, got %s. Use smaller sizes.",
                            cb_shape_text(ndim, shape));
    return cb_view_new(x, ndim, sizes, strides, x->offset);
}

/* Resolves a -1 in shape and checks the element count. */
static int resolve_shape(const char *op, const cb_tensor *x, int ndim, const int64_t *shape, int64_t *out) {
    int unknown = -1;
    int64_t known = 1;
    if (ndim > CB_MAX_NDIM)
        return cb_fail(CB_ERR_SHAPE, "%s: expected at most %d dimensions, got %d.", op, CB_MAX_NDIM, ndim);
    for (int d = 0; d < ndim; d++) {
        out[d] = shape[d];
        if (shape[d] == -1) {
            if (unknown >= 0)
                return cb_fail(CB_ERR_SHAPE, "%s: expected at most one -1, got %s. Give all other sizes.", op,
                               cb_shape_text(ndim, shape));
            unknown = d;
        } else if (shape[d] < 0 || __builtin_mul_overflow(known, shape[d], &known)) {
            return cb_fail(CB_ERR_SHAPE, "%s: expected sizes of at least 0 or one -1, got %s.", op,
                           cb_shape_text(ndim, shape));
        }
    }
    if (unknown >= 0) {
        if (known == 0 || x->numel % known)
            return cb_fail(
                CB_ERR_SHAPE,
                "%s: expected sizes whose product divides %lld, got %s for shape %s. Check the sizes.", op,
                (long long)x->numel, cb_shape_text(ndim, shape), cb_shape_of(x));
        out[unknown] = x->numel / known;
    } else if (known != x->numel) {
        return cb_fail(
            CB_ERR_SHAPE,
            "%s: expected sizes with product %lld, got %s for shape %s. Check the sizes or use -1 once.", op,
            (long long)x->numel, cb_shape_text(ndim, shape), cb_shape_of(x));
    }
    return CB_OK;
}

/* Strides of a view of x with the new shape, if one exists: each run of new dimensions must
 * cover a run of old ones that lies evenly in memory. */
static bool view_strides(const cb_tensor *x, int ndim, const int64_t *shape, int64_t *strides) {
    if (x->numel == 0 || cb_is_contiguous(x)) {
        int64_t stride = 1;
        for (int d = ndim - 1; d >= 0; d--) {
            strides[d] = stride;
            stride *= CB_MAX(shape[d], 1);
        }
        return true;
    }
    int64_t old_shape[CB_MAX_NDIM], old_strides[CB_MAX_NDIM];
    int old_ndim = 0, i = 0;
    for (int d = 0; d < x->ndim; d++)
        if (x->shape[d] != 1) {
            old_shape[old_ndim] = x->shape[d];
            old_strides[old_ndim++] = x->strides[d];
        }
    for (int j = 0; j < old_ndim && i < ndim;) {
        int end = j + 1, start_i = i;
        int64_t old_run = old_shape[j], new_run = shape[i++];
        while (old_run != new_run) {
            if (new_run < old_run) {
                if (i == ndim) return false;
                new_run *= shape[i++];
            } else {
                if (end == old_ndim) return false;
                old_run *= old_shape[end++];
            }
        }
        for (int k = j; k + 1 < end; k++)
            if (old_strides[k] != old_strides[k + 1] * old_shape[k + 1]) return false;
        int64_t stride = old_strides[end - 1];
        for (int k = i - 1; k >= start_i; k--) {
            strides[k] = stride;
            stride *= shape[k];
        }
        j = end;
    }
    for (; i < ndim; i++) strides[i] = 1; /* trailing size-1 dimensions */
    return true;
}

cb_tensor *cb_view(cb_tensor *x, int ndim, const int64_t *shape) {
    NEED(x, "view");
    int64_t sizes[CB_MAX_NDIM], strides[CB_MAX_NDIM];
    if (resolve_shape("view", x, ndim, shape, sizes)) return NULL;
    if (!view_strides(x, ndim, sizes, strides))
        return cb_fail_null(CB_ERR_SHAPE,
                            "view: expected a shape that is a view of %s with strides %s, got %s. Use "
                            "reshape, which copies where it must.",
                            cb_shape_of(x), cb_shape_text(x->ndim, x->strides), cb_shape_text(ndim, shape));
    return cb_view_new(x, ndim, sizes, strides, x->offset);
}

cb_tensor *cb_reshape(cb_tensor *x, int ndim, const int64_t *shape) {
    NEED(x, "reshape");
    int64_t sizes[CB_MAX_NDIM], strides[CB_MAX_NDIM];
    if (resolve_shape("reshape", x, ndim, shape, sizes)) return NULL;
    if (view_strides(x, ndim, sizes, strides)) return cb_view_new(x, ndim, sizes, strides, x->offset);
    cb_tensor *copy = cb_contiguous(x);
    if (!copy) return NULL;
    view_strides(copy, ndim, sizes, strides);
    cb_tensor *y = cb_view_new(copy, ndim, sizes, strides, copy->offset);
    cb_release(copy);
    return y;
}

cb_tensor *cb_unsqueeze(cb_tensor *x, int64_t dim) {
    NEED(x, "unsqueeze");
    int d = cb_wrap_dim("unsqueeze", dim, x->ndim + 1);
    if (d < 0) return NULL;
    if (x->ndim == CB_MAX_NDIM)
        return cb_fail_null(CB_ERR_SHAPE, "unsqueeze: expected at most %d dimensions in the result.",
                            CB_MAX_NDIM);
    int64_t shape[CB_MAX_NDIM], strides[CB_MAX_NDIM];
    for (int i = 0; i < x->ndim; i++) {
        shape[i + (i >= d)] = x->shape[i];
        strides[i + (i >= d)] = x->strides[i];
    }
    shape[d] = 1;
    strides[d] = d < x->ndim ? x->shape[d] * x->strides[d] : 1;
    return cb_view_new(x, x->ndim + 1, shape, strides, x->offset);
}

cb_tensor *cb_squeeze(cb_tensor *x, int n, const int64_t *dims) {
    NEED(x, "squeeze");
    bool drop[CB_MAX_NDIM] = {false};
    for (int i = 0; i < n; i++) {
        int d = cb_wrap_dim("squeeze", dims[i], x->ndim);
        if (d < 0) return NULL;
        drop[d] = true;
    }
    int64_t shape[CB_MAX_NDIM], strides[CB_MAX_NDIM];
    int ndim = 0;
    for (int d = 0; d < x->ndim; d++) {
        if (x->shape[d] == 1 && (n < 0 || drop[d])) continue;
        shape[ndim] = x->shape[d];
        strides[ndim++] = x->strides[d];
    }
    return cb_view_new(x, ndim, shape, strides, x->offset);
}

cb_tensor *cb_diagonal(cb_tensor *x, int64_t offset, int64_t dim1, int64_t dim2) {
    NEED(x, "diagonal");
    int a = cb_wrap_dim("diagonal", dim1, x->ndim), b = a < 0 ? -1 : cb_wrap_dim("diagonal", dim2, x->ndim);
    if (a < 0 || b < 0) return NULL;
    if (a == b || x->ndim < 2)
        return cb_fail_null(CB_ERR_DIM, "diagonal: expected two different dims, got %lld and %lld.",
                            (long long)dim1, (long long)dim2);
    int64_t shape[CB_MAX_NDIM], strides[CB_MAX_NDIM], start = x->offset;
    int ndim = 0;
    for (int d = 0; d < x->ndim; d++) {
        if (d == a || d == b) continue;
        shape[ndim] = x->shape[d];
        strides[ndim++] = x->strides[d];
    }
    int64_t rows = x->shape[a] - CB_MAX(-offset, 0), columns = x->shape[b] - CB_MAX(offset, 0);
    int64_t length = CB_MAX(CB_MIN(rows, columns), 0);
    if (length > 0) start += offset >= 0 ? offset * x->strides[b] : -offset * x->strides[a];
    shape[ndim] = length;
    strides[ndim++] = x->strides[a] + x->strides[b];
    return cb_view_new(x, ndim, shape, strides, start);
}

cb_tensor *cb_unfold(cb_tensor *x, int64_t dim, int64_t size, int64_t step) {
    NEED(x, "unfold");
    int d = cb_wrap_dim("unfold", dim, x->ndim);
    if (d < 0) return NULL;
    int64_t shape[CB_MAX_NDIM + 1], strides[CB_MAX_NDIM + 1];
    int64_t length = x->ndim ? x->shape[d] : 1, stride = x->ndim ? x->strides[d] : 1;
    if (step <= 0 || size < 0 || size > length)
        return cb_fail_null(CB_ERR_VALUE,
                            "unfold: expected 0 <= size <= %lld and step > 0, got size %lld and step %lld.",
                            (long long)length, (long long)size, (long long)step);
    memcpy(shape, x->shape, (size_t)x->ndim * sizeof *shape);
    memcpy(strides, x->strides, (size_t)x->ndim * sizeof *strides);
    shape[x->ndim] = size;
    strides[x->ndim] = stride;
    if (x->ndim) {
        shape[d] = (length - size) / step + 1;
        strides[d] = stride * step;
    }
    return cb_view_new(x, x->ndim + 1, shape, strides, x->offset);
}

/* A handle of another dtype over the same bytes; shape and strides are in the new dtype's elements. */
static cb_tensor *reinterpreted(cb_tensor *x, int dtype, int ndim, const int64_t *shape,
                                const int64_t *strides, int64_t offset) {
    cb_tensor *y = cb_view_new(x, ndim, shape, strides, 0);
    if (!y) return NULL;
    y->dtype = dtype;
    y->itemsize = cb_dtypes[dtype].size;
    y->offset = offset;
    y->flags &= ~CB_FLAG_CONTIGUOUS;
    return cb_handle_finish(y);
}

cb_tensor *cb_view_dtype(cb_tensor *x, int dtype) {
    NEED(x, "view");
    int from = x->itemsize, to = cb_dtypes[dtype].size;
    int64_t shape[CB_MAX_NDIM], strides[CB_MAX_NDIM], offset = x->offset * from;
    memcpy(shape, x->shape, (size_t)x->ndim * sizeof *shape);
    memcpy(strides, x->strides, (size_t)x->ndim * sizeof *strides);
    if (from != to) {
        int last = x->ndim - 1;
        bool fits = last >= 0 && strides[last] == 1 && offset % to == 0 && (shape[last] * from) % to == 0;
        for (int d = 0; d < last && fits; d++) fits = (strides[d] * from) % to == 0;
        if (!fits)
            return cb_fail_null(CB_ERR_SHAPE,
                                "view: expected a last dimension of unit stride whose bytes divide into %s, "
                                "got shape %s of %s. Call contiguous() first or use .to(dtype).",
                                cb_dtypes[dtype].name, cb_shape_of(x), cb_dtypes[x->dtype].name);
        shape[last] = shape[last] * from / to;
        for (int d = 0; d < last; d++) strides[d] = strides[d] * from / to;
    }
    return reinterpreted(x, dtype, x->ndim, shape, strides, offset / to);
}

cb_tensor *cb_view_as_real(cb_tensor *x) {
    NEED(x, "view_as_real");
    if (!cb_is_complex(x->dtype))
        return cb_fail_null(CB_ERR_DTYPE, "view_as_real: expected a complex tensor, got %s.",
                            cb_dtypes[x->dtype].name);
    if (x->ndim == CB_MAX_NDIM)
        return cb_fail_null(CB_ERR_SHAPE, "view_as_real: expected at most %d dimensions in the result.",
                            CB_MAX_NDIM);
    int64_t shape[CB_MAX_NDIM], strides[CB_MAX_NDIM];
    for (int d = 0; d < x->ndim; d++) {
        shape[d] = x->shape[d];
        strides[d] = 2 * x->strides[d];
    }
    shape[x->ndim] = 2;
    strides[x->ndim] = 1;
    return reinterpreted(x, cb_real_dtype(x->dtype), x->ndim + 1, shape, strides, 2 * x->offset);
}

cb_tensor *cb_view_as_complex(cb_tensor *x) {
    NEED(x, "view_as_complex");
    int last = x->ndim - 1;
    bool fits = last >= 0 && (x->dtype == CB_F32 || x->dtype == CB_F64) && x->shape[last] == 2;
    fits = fits && (x->numel == 0 || (x->strides[last] == 1 && x->offset % 2 == 0));
    int64_t shape[CB_MAX_NDIM], strides[CB_MAX_NDIM];
    for (int d = 0; d < last && fits; d++) {
        fits = x->strides[d] % 2 == 0 || x->shape[d] == 1 || x->numel == 0;
        shape[d] = x->shape[d];
        strides[d] = x->strides[d] / 2;
    }
    if (!fits)
        return cb_fail_null(CB_ERR_SHAPE,
                            "view_as_complex: expected float32 or float64 with a last dimension of size 2 "
                            "and unit stride, got %s of shape %s. Call contiguous() first.",
                            cb_dtypes[x->dtype].name, cb_shape_of(x));
    return reinterpreted(x, cb_complex_dtype(x->dtype), last, shape, strides, x->offset / 2);
}

/* Python's slice.indices: clips start and stop for the given step and returns the length. */
static int64_t slice_length(int64_t size, int64_t *start, int64_t stop, int64_t step) {
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
    int64_t first = *start == INT64_MIN ? (step > 0 ? low : high)
                    : *start < 0        ? CB_MAX(*start + size, low)
                                        : CB_MIN(*start, high);
    int64_t last = stop == INT64_MIN ? (step > 0 ? high : low)
                   : stop < 0        ? CB_MAX(stop + size, low)
                                     : CB_MIN(stop, high);
    *start = first;
    int64_t span = step > 0 ? last - first : first - last, pace = step > 0 ? step : -CB_MAX(step, -INT64_MAX);
    return span > 0 ? (span - 1) / pace + 1 : 0;
}

cb_tensor *cb_index_basic(cb_tensor *x, int n, const int64_t *spec) {
    NEED(x, "index");
    enum { INTEGER, SLICE, NEW_AXIS, ELLIPSIS };
    int used = 0;
    bool ellipsis = false;
    for (int k = 0; k < n; k++) {
        if (spec[4 * k] < INTEGER || spec[4 * k] > ELLIPSIS)
            return cb_fail_null(CB_ERR_VALUE, "index: expected items of kind 0 to 3, got %lld.",
                                (long long)spec[4 * k]);
        used += spec[4 * k] == INTEGER || spec[4 * k] == SLICE;
        if (spec[4 * k] == ELLIPSIS) {
            if (ellipsis)
                return cb_fail_null(CB_ERR_INDEX,
                                    "index: expected at most one ellipsis, got more. Remove one.");
            ellipsis = true;
        }
    }
    if (used > x->ndim)
        return cb_fail_null(CB_ERR_INDEX,
                            "index: expected at most %d indices for shape %s, got %d. Remove an index.",
                            x->ndim, cb_shape_of(x), used);
    int64_t shape[CB_MAX_NDIM + 1], strides[CB_MAX_NDIM + 1], offset = x->offset;
    int d = 0, ndim = 0;
    for (int k = 0; k <= n; k++) {
        int64_t kind = k < n ? spec[4 * k] : ELLIPSIS;
        if (kind == ELLIPSIS) { /* the rest of the dimensions, once; at the end when there is no ellipsis */
            if (k == n && ellipsis) break;
            for (int rest = x->ndim - used; rest > 0; rest--, d++) {
                if (ndim == CB_MAX_NDIM) goto too_many;
                shape[ndim] = x->shape[d];
                strides[ndim++] = x->strides[d];
            }
            continue;
        }
        if (kind == INTEGER) {
            int64_t i = spec[4 * k + 1], size = x->shape[d];
            if (i < -size || i >= size)
                return cb_fail_null(CB_ERR_INDEX,
                                    "index: expected an index in [%lld, %lld] for dim %d of shape %s, got "
                                    "%lld. Use an index inside the dimension.",
                                    (long long)-size, (long long)(size - 1), d, cb_shape_of(x), (long long)i);
            offset += (i < 0 ? i + size : i) * x->strides[d++];
            continue;
        }
        if (ndim == CB_MAX_NDIM) goto too_many;
        if (kind == NEW_AXIS) {
            shape[ndim] = 1;
            strides[ndim++] = 0;
            continue;
        }
        int64_t start = spec[4 * k + 1], step = spec[4 * k + 3];
        if (step == 0) return cb_fail_null(CB_ERR_VALUE, "index: expected a slice step other than 0, got 0.");
        int64_t length = slice_length(x->shape[d], &start, spec[4 * k + 2], step);
        if (length > 0) offset += start * x->strides[d];
        shape[ndim] = length;
        /* a step that leaves at most one element may be any: its stride is never used */
        strides[ndim++] = x->strides[d++] * (length > 1 ? step : 1);
    }
    return cb_view_new(x, ndim, shape, strides, offset);
too_many:
    return cb_fail_null(
        CB_ERR_SHAPE, "index: expected at most %d dimensions in the result. Remove a new axis.", CB_MAX_NDIM);
}

cb_tensor *cb_slice(cb_tensor *x, int64_t dim, int64_t start, int64_t stop, int64_t step) {
    NEED(x, "index");
    if (x->ndim == 0 || step == 0)
        return cb_fail_null(x->ndim ? CB_ERR_VALUE : CB_ERR_INDEX,
                            x->ndim
                                ? "index: expected a slice step other than 0, got 0."
                                : "index: expected at most 0 indices for shape [], got 1. Remove an index.");
    int d = cb_wrap_dim("index", dim, x->ndim);
    if (d < 0) return NULL;
    int64_t length = slice_length(x->shape[d], &start, stop, step);
    cb_tensor *y = cb_alias(x);
    if (!y) return NULL;
    if (length > 0) y->offset += start * x->strides[d];
    y->shape[d] = length;
    if (length > 1) y->strides[d] *= step;
    y->flags &= ~CB_FLAG_CONTIGUOUS;
    return cb_handle_finish(y);
}

cb_tensor *cb_select(cb_tensor *x, int64_t dim, int64_t index) {
    NEED(x, "index");
    int d = cb_wrap_dim("index", dim, x->ndim);
    if (d < 0) return NULL;
    int64_t spec[CB_MAX_NDIM][4];
    for (int k = 0; k < d; k++) memcpy(spec[k], (int64_t[]){1, INT64_MIN, INT64_MIN, 1}, sizeof spec[k]);
    memcpy(spec[d], (int64_t[]){0, index, 0, 0}, sizeof spec[d]);
    return cb_index_basic(x, d + 1, spec[0]);
}
