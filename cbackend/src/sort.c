/* Sorting, selection, searching, unique values and counts: shapes, dtypes and allocation.
 *
 * The order is torch's: nan is greater than every number, equal items keep their order (all sorts are
 * stable), and descending reverses the comparison, not the result. Complex numbers have no order. */
#include "index_views.h"
#include "internal.h"

static int need_order(const char *op, const cb_tensor *x) {
    if (!cb_is_complex(x->dtype)) return CB_OK;
    return cb_fail(CB_ERR_DTYPE, "%s: expected real numbers, got %s. Sort by abs() or by the real part.", op,
                   cb_dtypes[x->dtype].name);
}

/* The k first items along dim, or the last of them alone: values where out[0] is wanted, indices where out[1]
 * is. */
static int ordered(const char *op, cb_tensor *x, int64_t dim, int descending, int64_t k, bool alone,
                   bool want_values, bool want_indices, cb_tensor **out) {
    if (!x) return cb_fail(CB_ERR_NULL, "%s: no tensor", op);
    CB_TRY(need_order(op, x));
    int d = cb_wrap_dim(op, dim, x->ndim);
    if (d < 0) return cb_error_code();
    int64_t shape[CB_MAX_NDIM] = {1}, n = x->ndim ? x->shape[d] : 1;
    memcpy(shape, x->shape, (size_t)x->ndim * sizeof *shape);
    if (k < 0) k = n;
    if (x->ndim) shape[d] = alone ? 1 : k;
    cb_tensor *values = NULL, *indices = NULL;
    if (want_values && !(values = cb_empty(x->dtype, x->device, x->ndim, shape))) return cb_error_code();
    if (want_indices && !(indices = cb_empty(CB_I64, x->device, x->ndim, shape))) {
        cb_release(values);
        return cb_error_code();
    }
    int status = CB_OK;
    cb_tensor *any = values ? values : indices;
    if (!cb_is_meta(x) && any->numel) {
        cb_stack_view from, to_values, to_indices;
        cb_part_view(&from, x, 0, x->ndim);
        if (values) cb_part_view(&to_values, values, 0, x->ndim);
        if (indices) cb_part_view(&to_indices, indices, 0, x->ndim);
        if (x->ndim == 0) {
            cb_view_add_dim(&from);
            if (values) cb_view_add_dim(&to_values);
            if (indices) cb_view_add_dim(&to_indices);
        }
        const cb_backend *backend = cb_backend_of(x);
        cb_tensor *v = values ? &to_values.tensor : NULL, *i = indices ? &to_indices.tensor : NULL;
        status = alone ? backend->kth(v, i, &from.tensor, d, k - 1)
                       : backend->sort(v, i, &from.tensor, d, descending, k);
    }
    if (status) {
        cb_release(values);
        cb_release(indices);
        return status;
    }
    if (want_values) *out++ = values;
    if (want_indices) *out = indices;
    return CB_OK;
}

int cb_sort(cb_tensor *x, int64_t dim, int descending, int stable, cb_tensor *out[2]) {
    (void)stable; /* always */
    return ordered("sort", x, dim, descending, -1, false, true, true, out);
}

cb_tensor *cb_sort_values(cb_tensor *x, int64_t dim, int descending) {
    cb_tensor *out = NULL;
    ordered("sort", x, dim, descending, -1, false, true, false, &out);
    return out;
}

cb_tensor *cb_argsort(cb_tensor *x, int64_t dim, int descending, int stable) {
    (void)stable;
    cb_tensor *out = NULL;
    ordered("argsort", x, dim, descending, -1, false, false, true, &out);
    return out;
}

int cb_topk(cb_tensor *x, int64_t k, int64_t dim, int largest, int sorted, cb_tensor *out[2]) {
    (void)sorted; /* always */
    if (!x) return cb_fail(CB_ERR_NULL, "topk: no tensor");
    int d = cb_wrap_dim("topk", dim, x->ndim);
    if (d < 0) return cb_error_code();
    int64_t n = x->ndim ? x->shape[d] : 1;
    if (k < 0 || k > n)
        return cb_fail(CB_ERR_VALUE, "topk: expected k in [0, %lld] for dim %d of shape %s, got %lld.",
                       (long long)n, d, cb_shape_of(x), (long long)k);
    return ordered("topk", x, dim, largest, k, false, true, true, out);
}

int cb_kthvalue(cb_tensor *x, int64_t k, int64_t dim, int keepdim, cb_tensor *out[2]) {
    if (!x) return cb_fail(CB_ERR_NULL, "kthvalue: no tensor");
    int d = cb_wrap_dim("kthvalue", dim, x->ndim);
    if (d < 0) return cb_error_code();
    int64_t n = x->ndim ? x->shape[d] : 1;
    if (k < 1 || k > n)
        return cb_fail(CB_ERR_VALUE, "kthvalue: expected k in [1, %lld] for dim %d of shape %s, got %lld.",
                       (long long)n, d, cb_shape_of(x), (long long)k);
    bool alone = !cb_is_meta(x) && cb_backend_of(x)->kth,
         from_top = !alone && n - k + 1 < k; /* the shorter */
    int64_t place = alone ? 0 : from_top ? n - k : k - 1;
    cb_tensor *pair[2];
    CB_TRY(ordered("kthvalue", x, dim, from_top, alone ? k : place + 1, alone, true, true, pair));
    int status = CB_OK;
    for (int i = 0; i < 2; i++) {
        cb_tensor *y = pair[i], *result = NULL;
        int64_t shape[CB_MAX_NDIM], strides[CB_MAX_NDIM];
        int ndim = 0;
        for (int e = 0; e < y->ndim; e++) {
            if (e == d && !keepdim) continue;
            shape[ndim] = e == d ? 1 : y->shape[e];
            strides[ndim++] = y->strides[e];
        }
        cb_tensor *last =
            cb_view_new(y, ndim, shape, strides, y->ndim ? y->offset + place * y->strides[d] : y->offset);
        if (last) result = cb_is_meta(last) ? cb_empty(y->dtype, y->device, ndim, shape) : cb_clone(last);
        cb_release(last);
        cb_release(y);
        out[i] = result;
        if (!result) status = cb_error_code();
    }
    if (status)
        for (int i = 0; i < 2; i++) cb_release(out[i]);
    return status;
}

/* x cast to dtype and contiguous: a new reference */
static cb_tensor *dense_cast(cb_tensor *x, int dtype) {
    cb_tensor *cast = cb_cast(x, dtype), *dense = cast ? cb_contiguous(cast) : NULL;
    cb_release(cast);
    return dense;
}

cb_tensor *cb_searchsorted(cb_tensor *sorted, cb_tensor *values, int right) {
    if (!sorted || !values) return cb_fail_null(CB_ERR_NULL, "searchsorted: no tensor");
    cb_tensor *operands[2] = {sorted, values};
    if (need_order("searchsorted", sorted) || need_order("searchsorted", values)) return NULL;
    int device = cb_common_device("searchsorted", 2, operands), dtype = cb_result_type(2, operands);
    if (device < 0 || dtype < 0) return NULL;
    bool fits = sorted->ndim == 1 || (sorted->ndim > 1 && sorted->ndim == values->ndim);
    for (int d = 0; d + 1 < sorted->ndim && fits; d++) fits = sorted->shape[d] == values->shape[d];
    if (!fits)
        return cb_fail_null(CB_ERR_SHAPE,
                            "searchsorted: expected a vector of bounds, or bounds and values equal in all "
                            "but the last dimension, got %s and %s.",
                            cb_shape_of(sorted), cb_shape_of(values));
    cb_tensor *out = cb_empty(CB_I64, device, values->ndim, values->shape);
    if (!out || cb_is_meta(out) || out->numel == 0) return out;
    cb_tensor *bounds = dense_cast(sorted, dtype), *wanted = bounds ? dense_cast(values, dtype) : NULL;
    if (!wanted || cb_backend_of(out)->searchsorted(out, bounds, wanted, right)) {
        cb_release(out);
        out = NULL;
    }
    cb_release(wanted);
    cb_release(bounds);
    return out;
}

int cb_unique(cb_tensor *x, int return_inverse, int return_counts, cb_tensor *out[3]) {
    if (!x) return cb_fail(CB_ERR_NULL, "unique: no tensor");
    CB_TRY(need_order("unique", x));
    if (cb_is_meta(x))
        return cb_fail(CB_ERR_UNSUPPORTED, "unique: expected a tensor with data, got one on meta. The size "
                                           "of the result depends on values.");
    out[0] = out[1] = out[2] = NULL;
    cb_tensor *flat = cb_reshape(x, 1, &(int64_t){-1}), *pair[2] = {NULL, NULL};
    uint8_t *starts = NULL;
    if (!flat) return cb_error_code();
    int status = ordered("unique", flat, 0, 0, -1, false, true, return_inverse, pair);
    if (!status && !(starts = cb_alloc(x->device, flat->numel + 1))) status = cb_error_code();
    if (!status) {
        const cb_backend *backend = cb_backend_of(x);
        int64_t count = backend->run_starts(pair[0], starts);
        out[0] = cb_empty(x->dtype, x->device, 1, &count);
        if (return_inverse) out[1] = cb_empty(CB_I64, x->device, x->ndim, x->shape);
        if (return_counts) out[2] = cb_empty(CB_I64, x->device, 1, &count);
        if (!out[0] || (return_inverse && !out[1]) || (return_counts && !out[2]))
            status = cb_error_code();
        else
            backend->unique_runs(pair[0], pair[1], starts, out[0], out[1], out[2]);
    }
    if (starts) cb_free(x->device, starts, flat->numel + 1);
    cb_release(pair[0]);
    cb_release(pair[1]);
    cb_release(flat);
    if (status)
        for (int i = 0; i < 3; i++) {
            cb_release(out[i]);
            out[i] = NULL;
        }
    return status;
}

cb_tensor *cb_bincount(cb_tensor *x, cb_tensor *weights, int has_weights, int64_t minlength) {
    if (!x || (has_weights && !weights)) return cb_fail_null(CB_ERR_NULL, "bincount: no tensor");
    if (cb_is_inexact(x->dtype) || x->ndim != 1)
        return cb_fail_null(CB_ERR_DTYPE, "bincount: expected a vector of integers, got %s of shape %s.",
                            cb_dtypes[x->dtype].name, cb_shape_of(x));
    if (minlength < 0)
        return cb_fail_null(CB_ERR_VALUE, "bincount: expected minlength of at least 0, got %lld.",
                            (long long)minlength);
    if (has_weights && (!cb_same_shape(x, weights) || cb_is_complex(weights->dtype)))
        return cb_fail_null(CB_ERR_SHAPE, "bincount: expected real weights of shape %s, got %s of shape %s.",
                            cb_shape_of(x), cb_dtypes[weights->dtype].name, cb_shape_of(weights));
    if (cb_is_meta(x))
        return cb_fail_null(CB_ERR_UNSUPPORTED, "bincount: expected a tensor with data, got one on meta. The "
                                                "size of the result depends on values.");
    cb_tensor *bins = dense_cast(x, CB_I64), *mass = bins && has_weights ? dense_cast(weights, CB_F64) : NULL,
              *out = NULL;
    int64_t low = 0, high = -1;
    if (bins && (mass || !has_weights)) {
        if (bins->numel) cb_backend_of(x)->int_range(bins, &low, &high);
        if (low < 0)
            cb_fail(CB_ERR_VALUE, "bincount: expected integers of at least 0, got %lld.", (long long)low);
        else if (high == INT64_MAX)
            cb_fail(CB_ERR_MEMORY, "bincount: expected counts that fit in memory, got a value of %lld.",
                    (long long)high);
        else
            out = cb_full(has_weights ? CB_F64 : CB_I64, x->device, 1,
                          (int64_t[]){CB_MAX(high + 1, minlength)}, &(cb_scalar){.kind = 'i'});
    }
    if (out && bins->numel) cb_backend_of(out)->bincount(out, bins, mass);
    if (out && has_weights && weights->dtype == CB_F32) { /* summed in double, rounded once */
        cb_tensor *rounded = cb_cast(out, CB_F32);
        cb_release(out);
        out = rounded;
    }
    cb_release(mass);
    cb_release(bins);
    return out;
}
