/* Results made of pieces of their operands: cat, stack, repeat, roll, flip, tril and triu, and the
 * transpose of basic indexing. Most are strided copies into views of one fresh result. */
#include "index_views.h"
#include "internal.h"
#include "pad.h"

/* copies src into dst[..., begin : begin + length, ...] along dim */
static int copy_slab(cb_tensor *dst, int dim, int64_t begin, int64_t length, const cb_tensor *src) {
    if (src->numel == 0) return CB_OK;
    cb_stack_view view;
    cb_part_view(&view, dst, 0, dst->ndim);
    view.shape[dim] = length;
    view.tensor.offset += begin * view.strides[dim];
    cb_view_finish(&view);
    return cb_backend_of(dst)->copy(&view.tensor, src);
}

static cb_tensor *finished(cb_tensor *out, int status) {
    if (!status) return out;
    cb_release(out);
    return NULL;
}

/* ---- cat and stack ---- */

static bool skipped(const cb_tensor *x) { return x->ndim == 1 && x->shape[0] == 0; }

/* one dtype, or the promoted one; with cb_result_type's rules, since it has no common type for some integers
 */
static int joined_dtype(int n, cb_tensor *const *xs) {
    for (int i = 1; i < n; i++)
        if (xs[i]->dtype != xs[0]->dtype) return cb_result_type(n, xs);
    return xs[0]->dtype;
}

/* Do the dims from `dim` on lie together, and all before them evenly? Gives the items between neighbours. */
static bool lies_in_rows(const cb_tensor *x, int dim, int64_t *step) {
    int64_t expected = 1;
    for (int k = x->ndim - 1; k >= dim; k--) {
        if (x->shape[k] != 1 && x->strides[k] != expected) return false;
        expected *= x->shape[k];
    }
    bool first = true;
    *step = 0;
    for (int k = dim - 1; k >= 0; k--) {
        if (x->shape[k] == 1) continue;
        if (first) expected = *step = x->strides[k];
        if (x->strides[k] != expected) return false;
        expected *= x->shape[k];
        first = false;
    }
    return true;
}

/* Joins the dims from `dim` on of all operands, row by row; false where these do not lie in rows, or where
 * rows are too short or operands too many to gain by it. */
static bool join(cb_tensor *out, int dim, int n, cb_tensor *const *xs) {
    enum { MOST = 32, SHORT = 32 };
    const cb_backend *backend = cb_backend_of(out);
    const char *from[MOST];
    int64_t bytes[MOST], steps[MOST], rows = cb_numel_of(dim, out->shape);
    if (!backend->join || rows < 2 || n > MOST) return false;
    bool pairs = n == 2 && xs[0]->numel == rows && xs[1]->numel == rows && out->itemsize <= 8;
    for (int i = 0; i < n; i++) {
        from[i] = xs[i]->data;
        bytes[i] = xs[i]->numel / rows * out->itemsize;
        if (xs[i]->dtype != out->dtype || (bytes[i] < SHORT && !pairs)) return false;
        if (!lies_in_rows(xs[i], dim, &steps[i]) || (pairs && steps[i] != 1)) return false;
        steps[i] *= out->itemsize;
    }
    backend->join(out, rows, n, from, bytes, steps);
    return true;
}

cb_tensor *cb_cat(int n, cb_tensor *const *xs, int64_t dim) {
    if (cb_any_null(n, xs)) return cb_fail_null(CB_ERR_NULL, "cat: no tensor");
    if (n == 0) return cb_fail_null(CB_ERR_VALUE, "cat: expected at least one tensor, got none.");
    int device = cb_common_device("cat", n, xs), dtype = device < 0 ? -1 : joined_dtype(n, xs);
    if (dtype < 0) return NULL;
    const cb_tensor *first =
        xs[0]; /* the first that is not an empty vector: those join anything, as in torch */
    for (int i = 1; i < n && skipped(first); i++) first = xs[i];
    int d = cb_wrap_dim("cat", dim, first->ndim);
    if (d < 0) return NULL;
    if (first->ndim == 0)
        return cb_fail_null(CB_ERR_SHAPE,
                            "cat: expected tensors of at least one dimension, got shape []. Use stack.");
    int64_t shape[CB_MAX_NDIM];
    memcpy(shape, first->shape, (size_t)first->ndim * sizeof *shape);
    shape[d] = 0;
    for (int i = 0; i < n; i++) {
        if (skipped(xs[i])) continue;
        bool fits = xs[i]->ndim == first->ndim;
        for (int k = 0; k < first->ndim && fits; k++) fits = k == d || xs[i]->shape[k] == shape[k];
        if (!fits)
            return cb_fail_null(CB_ERR_SHAPE,
                                "cat: expected shapes equal apart from dim %d, got %s and %s (operand %d).",
                                d, cb_shape_of(first), cb_shape_of(xs[i]), i);
        shape[d] += xs[i]->shape[d];
    }
    cb_tensor *out = cb_empty(dtype, device, first->ndim, shape);
    if (!out || cb_is_meta(out) || join(out, d, n, xs)) return out;
    int status = CB_OK;
    int64_t at = 0;
    for (int i = 0; i < n && !status; i++) {
        if (skipped(xs[i])) continue;
        status = copy_slab(out, d, at, xs[i]->shape[d], xs[i]);
        at += xs[i]->shape[d];
    }
    return finished(out, status);
}

cb_tensor *cb_stack(int n, cb_tensor *const *xs, int64_t dim) {
    if (cb_any_null(n, xs)) return cb_fail_null(CB_ERR_NULL, "stack: no tensor");
    if (n == 0) return cb_fail_null(CB_ERR_VALUE, "stack: expected at least one tensor, got none.");
    const cb_tensor *first = xs[0];
    int device = cb_common_device("stack", n, xs), dtype = device < 0 ? -1 : joined_dtype(n, xs);
    int d = dtype < 0 ? -1 : cb_wrap_dim("stack", dim, first->ndim + 1);
    if (d < 0) return NULL;
    for (int i = 1; i < n; i++)
        if (!cb_same_shape(xs[i], first))
            return cb_fail_null(CB_ERR_SHAPE,
                                "stack: expected tensors of one shape, got %s and %s (operand %d).",
                                cb_shape_of(first), cb_shape_of(xs[i]), i);
    int64_t shape[CB_MAX_NDIM + 1];
    for (int k = 0; k < first->ndim; k++) shape[k + (k >= d)] = first->shape[k];
    shape[d] = n;
    cb_tensor *out = cb_empty(dtype, device, first->ndim + 1, shape);
    if (!out || cb_is_meta(out) || join(out, d, n, xs)) return out;
    int status = CB_OK;
    cb_stack_view place; /* out[..., i, ...] */
    int order[CB_MAX_NDIM];
    for (int k = 0; k < first->ndim; k++) order[k] = k + (k >= d);
    cb_permuted_view(&place, out, first->ndim, order);
    for (int i = 0; i < n && !status && place.tensor.numel; i++) {
        place.tensor.offset = i * out->strides[d];
        cb_view_finish(&place);
        status = cb_backend_of(out)->copy(&place.tensor, xs[i]);
    }
    return finished(out, status);
}

/* ---- repeat, flip, roll ---- */

cb_tensor *cb_repeat(cb_tensor *x, int n, const int64_t *reps) {
    if (!x) return cb_fail_null(CB_ERR_NULL, "repeat: no tensor");
    if (n < x->ndim || n > CB_MAX_NDIM)
        return cb_fail_null(CB_ERR_SHAPE, "repeat: expected between %d and %d repeats for shape %s, got %d.",
                            x->ndim, CB_MAX_NDIM, cb_shape_of(x), n);
    /* out seen as [repeat, size, repeat, size, ...] without repeats of 1, so that a copy fills it */
    int64_t shape[CB_MAX_NDIM], split[2 * CB_MAX_NDIM], from[2 * CB_MAX_NDIM];
    int parts = 0, lead = n - x->ndim;
    for (int d = 0; d < n; d++) {
        int64_t size = d < lead ? 1 : x->shape[d - lead];
        if (reps[d] < 0)
            return cb_fail_null(CB_ERR_VALUE, "repeat: expected repeats of at least 0, got %s.",
                                cb_shape_text(n, reps));
        if (__builtin_mul_overflow(size, reps[d], &shape[d]))
            return cb_fail_null(CB_ERR_MEMORY,
                                "repeat: expected a result that fits in memory, got repeats %s.",
                                cb_shape_text(n, reps));
        if (reps[d] != 1) {
            split[parts] = reps[d];
            from[parts++] = 0;
        }
        if (size != 1) {
            split[parts] = size;
            from[parts++] = x->strides[d - lead];
        }
    }
    if (parts > CB_MAX_NDIM)
        return cb_fail_null(CB_ERR_SHAPE, "repeat: expected fewer repeated dimensions, got repeats %s.",
                            cb_shape_text(n, reps));
    cb_tensor *out = cb_empty(x->dtype, x->device, n, shape);
    if (!out || cb_is_meta(out) || out->numel == 0) return out;
    cb_stack_view to, source;
    cb_part_view(&to, out, 0, 0);
    cb_part_view(&source, x, 0, 0);
    to.tensor.ndim = source.tensor.ndim = parts;
    int64_t stride = 1;
    for (int d = parts - 1; d >= 0; d--) {
        to.shape[d] = source.shape[d] = split[d];
        to.strides[d] = stride;
        source.strides[d] = from[d];
        stride *= split[d];
    }
    cb_view_finish(&to);
    cb_view_finish(&source);
    return finished(out, cb_backend_of(out)->copy(&to.tensor, &source.tensor));
}

cb_tensor *cb_flip(cb_tensor *x, int n, const int64_t *dims) {
    if (!x) return cb_fail_null(CB_ERR_NULL, "flip: no tensor");
    bool seen[CB_MAX_NDIM] = {false};
    cb_stack_view view;
    cb_part_view(&view, x, 0, x->ndim);
    for (int i = 0; i < n; i++) {
        int d = cb_wrap_dim("flip", dims[i], x->ndim);
        if (d < 0) return NULL;
        if (seen[d])
            return cb_fail_null(CB_ERR_DIM, "flip: expected each dim once, got %s.",
                                cb_shape_text(CB_MIN(n, 16), dims));
        seen[d] = true;
        if (x->ndim == 0 || x->shape[d] == 0) continue;
        view.tensor.offset += (x->shape[d] - 1) * x->strides[d];
        view.strides[d] = -x->strides[d];
    }
    cb_tensor *out = cb_empty(x->dtype, x->device, x->ndim, x->shape);
    if (!out || cb_is_meta(out) || out->numel == 0) return out;
    cb_view_finish(&view);
    return finished(out, cb_backend_of(out)->copy(out, &view.tensor));
}

cb_tensor *cb_roll(cb_tensor *x, int n, const int64_t *shifts, const int64_t *dims) {
    if (!x) return cb_fail_null(CB_ERR_NULL, "roll: no tensor");
    if (!dims) { /* over the flattened tensor */
        if (n != 1)
            return cb_fail_null(
                CB_ERR_VALUE, "roll: expected one shift when no dims are given, got %d. Name a dim for each.",
                n);
        cb_tensor *flat = cb_reshape(x, 1, &(int64_t){-1});
        cb_tensor *rolled = flat ? cb_roll(flat, 1, shifts, &(int64_t){0}) : NULL;
        cb_tensor *out = rolled ? cb_view(rolled, x->ndim, x->shape) : NULL;
        cb_release(rolled);
        cb_release(flat);
        return out;
    }
    int64_t moved[CB_MAX_NDIM][2], *pads[CB_MAX_NDIM] = {NULL}; /* circular padding to the size there was */
    for (int i = 0; i < n; i++) {
        int d = cb_wrap_dim("roll", dims[i], x->ndim);
        if (d < 0) return NULL;
        int64_t size = x->ndim ? x->shape[d] : 1;
        if (size < 2) continue;
        int64_t shift = ((pads[d] ? pads[d][1] : 0) + shifts[i] % size + size) % size;
        moved[d][0] = CB_PAD_CIRCULAR;
        moved[d][1] = shift;
        pads[d] = moved[d];
    }
    cb_tensor *out = cb_empty(x->dtype, x->device, x->ndim, x->shape);
    if (!out || cb_is_meta(out) || out->numel == 0) return out;
    cb_tensor *from = cb_contiguous(x);
    int status = from ? cb_backend_of(out)->pad(out, from, pads, &(cb_scalar){.kind = 'i'}) : cb_error_code();
    cb_release(from);
    return finished(out, status);
}

/* ---- tril and triu, the transpose of basic indexing ---- */

cb_tensor *cb_tri(cb_tensor *x, int64_t diagonal, int upper) {
    const char *op = upper ? "triu" : "tril";
    if (!x) return cb_fail_null(CB_ERR_NULL, "%s: no tensor", op);
    if (x->ndim < 2)
        return cb_fail_null(CB_ERR_SHAPE, "%s: expected at least 2 dimensions, got shape %s.", op,
                            cb_shape_of(x));
    cb_tensor *out = cb_empty(x->dtype, x->device, x->ndim, x->shape);
    if (!out || cb_is_meta(out) || out->numel == 0) return out;
    return finished(out, cb_backend_of(out)->tri(out, x, diagonal, upper));
}

cb_tensor *cb_index_embed(cb_tensor *ct, int ndim, const int64_t *shape, int n, const int64_t *spec) {
    if (!ct) return cb_fail_null(CB_ERR_NULL, "index_embed: no tensor");
    cb_tensor *out = cb_empty(ct->dtype, ct->device, ndim, shape);
    cb_tensor *place = out ? cb_index_basic(out, n, spec) : NULL;
    int status = CB_OK;
    if (!place) {
        status = out ? cb_error_code() : CB_OK;
    } else if (!cb_same_shape(place, ct)) {
        status = cb_fail(CB_ERR_SHAPE, "index_embed: expected a cotangent of shape %s, got %s.",
                         cb_shape_of(place), cb_shape_of(ct));
    } else if (!cb_is_meta(out) && out->numel) {
        if (place->numel < out->numel)
            status = cb_backend_of(out)->fill(out, &(cb_scalar){.kind = 'i', .i = 0});
        if (!status && place->numel) status = cb_backend_of(out)->copy(place, ct);
    }
    cb_release(place);
    return finished(out, status);
}
