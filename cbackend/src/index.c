/* Advanced indexing, gather and scatter, masks.
 *
 * The frame resolves broadcasting, dtypes and the place of the index dimensions, and hands the backend views
 * in canonical order: indexed dimensions first in x, index dimensions first in the result. Indices reach the
 * backend as int64; it wraps negative ones and refuses those out of range before anything is written in
 * place. */
#include "index_views.h"
#include "internal.h"

enum { ASSIGN, ADD, MULTIPLY, MAXIMUM, MINIMUM, MODES };

/* int64 indices; x itself, retained, when it is that already */
static cb_tensor *integer_index(const char *op, cb_tensor *index) {
    if (!cb_is_integer(index->dtype))
        return cb_fail_null(
            CB_ERR_DTYPE,
            "%s: expected an integer index, got %s. Turn a bool mask into indices with nonzero().", op,
            cb_dtypes[index->dtype].name);
    return index->dtype == CB_I64 ? cb_retain(index) : cb_cast(index, CB_I64);
}

/* ---- the plan of x[..., indices, ...] ---- */

typedef struct plan {
    int count;                         /* indices present */
    int dims[CB_MAX_NDIM];             /* the dimension of x each applies to */
    cb_tensor *indices[CB_MAX_NDIM];   /* int64, owned */
    int index_ndim;                    /* of the broadcast indices */
    int at;                            /* where their dimensions stand in the result */
    int ndim;
    int64_t shape[CB_MAX_NDIM];        /* of the result */
    int x_order[CB_MAX_NDIM];          /* canonical order of x's dimensions: indexed ones first */
    int result_order[CB_MAX_NDIM];     /* canonical order of the result's: index dimensions first */
} plan;

static void plan_release(plan *p) {
    for (int k = 0; k < p->count; k++) cb_release(p->indices[k]);
}

static int plan_make(plan *p, const char *op, cb_tensor *x, int n, cb_tensor *const *indices,
                     const int *present) {
    p->count = 0;
    if (n > x->ndim)
        return cb_fail(CB_ERR_INDEX, "%s: expected at most %d indices for shape %s, got %d. Remove an index.",
                       op, x->ndim, cb_shape_of(x), n);
    for (int d = 0; d < n; d++) {
        if (!present[d]) continue;
        if (!indices[d]) {
            plan_release(p);
            return cb_fail(CB_ERR_NULL, "%s: no tensor", op);
        }
        cb_tensor *index = integer_index(op, indices[d]);
        if (index && index->device == CB_CPU &&
            (x->device & 255) == CB_CUDA) { /* lists of numbers, as in torch */
            cb_tensor *near = cb_to_device(index, x->device);
            cb_release(index);
            index = near;
        }
        if (!index) {
            plan_release(p);
            return cb_error_code();
        }
        p->dims[p->count] = d;
        p->indices[p->count++] = index;
    }
    if (p->count == 0) return cb_fail(CB_ERR_VALUE, "%s: expected at least one index tensor, got none.", op);
    int64_t shape[CB_MAX_NDIM];
    int status = cb_broadcast_shapes(op, p->count, p->indices, &p->index_ndim, shape);
    cb_tensor *operands[2] = {x, NULL};
    for (int k = 0; k < p->count && !status; k++) {
        operands[1] = p->indices[k];
        if (cb_common_device(op, 2, operands) < 0) status = cb_error_code();
    }
    p->ndim = p->index_ndim + x->ndim - p->count;
    if (!status && p->ndim > CB_MAX_NDIM)
        status = cb_fail(CB_ERR_SHAPE, "%s: expected at most %d dimensions in the result, got %d.", op,
                         CB_MAX_NDIM, p->ndim);
    if (status) {
        plan_release(p);
        return status;
    }
    bool adjacent = p->dims[p->count - 1] - p->dims[0] == p->count - 1;
    p->at = adjacent ? p->dims[0] : 0;
    bool indexed[CB_MAX_NDIM] = {false};
    for (int k = 0; k < p->count; k++) {
        p->x_order[k] = p->dims[k];
        indexed[p->dims[k]] = true;
    }
    for (int i = 0; i < p->index_ndim; i++) {
        p->shape[p->at + i] = shape[i];
        p->result_order[i] = p->at + i;
    }
    for (int d = 0, rest = 0; d < x->ndim; d++) {
        if (indexed[d]) continue;
        int place = rest < p->at ? rest : rest + p->index_ndim;
        p->shape[place] = x->shape[d];
        p->x_order[p->count + rest] = d;
        p->result_order[p->index_ndim + rest] = place;
        rest++;
    }
    return CB_OK;
}

static int plan_get(const plan *p, const char *op, cb_tensor *x, cb_tensor *out) {
    cb_stack_view from, to;
    cb_permuted_view(&from, x, x->ndim, p->x_order);
    cb_permuted_view(&to, out, out->ndim, p->result_order);
    return cb_backend_of(out)->index_get(&to.tensor, &from.tensor, op, p->count, p->indices, p->dims);
}

/* values broadcast to the result's shape, cast to x's dtype and apart from x's memory: a new reference */
static cb_tensor *prepared_values(const char *op, cb_tensor *x, cb_tensor *values, int ndim,
                                  const int64_t *shape) {
    cb_tensor *cast = cb_cast(values, x->dtype);
    if (!cast) return NULL;
    if (cast->storage == x->storage) {
        cb_tensor *copy = cb_clone(cast);
        cb_release(cast);
        if (!copy) return NULL;
        cast = copy;
    }
    int extra = CB_MAX(cast->ndim - ndim, 0); /* leading size-1 dimensions fall away, as in copy_ */
    for (int d = 0; d < extra; d++)
        if (cast->shape[d] != 1) extra = 0;
    cb_stack_view view;
    cb_part_view(&view, cast, extra, cast->ndim - extra);
    cb_tensor *wide = cb_expand(&view.tensor, ndim, shape);
    if (!wide)
        cb_fail(CB_ERR_SHAPE, "%s: expected values that broadcast to %s, got shape %s.", op,
                cb_shape_text(ndim, shape), cb_shape_of(values));
    cb_release(cast);
    return wide;
}

static int copied(cb_tensor *x, const cb_tensor *base) {
    return cb_is_meta(x) || x->numel == 0 ? CB_OK : cb_backend_of(x)->copy(x, base);
}

/* do sums of 16-bit floats touch few places of one dimension? */
static bool puts_few(const plan *p, const cb_tensor *x) {
    int64_t n = p->indices[0]->numel, size = x->shape[p->dims[0]];
    return p->count == 1 && x->device == CB_CPU && n > 0 && n <= size / 4 && x->numel / size >= 8 &&
           x->numel >= 1 << 15;
}

static int plan_put(const plan *p, const char *op, cb_tensor *x, cb_tensor *base, cb_tensor *values,
                    int accumulate, int64_t clock);

/* Such sums run over float copies of the places they touch, in order of their first use. */
static int put_few(const plan *p, const char *op, cb_tensor *x, cb_tensor *base, cb_tensor *values,
                   int64_t clock) {
    int d = p->dims[0], present[CB_MAX_NDIM] = {0};
    int64_t size = x->shape[d], held = 0;
    CB_TRY(cb_backend_of(x)->index_check(x, op, 1, p->indices, p->dims));
    cb_tensor *index = cb_contiguous(p->indices[0]), *numbers = index ? cb_empty_like(index, -1, -1) : NULL;
    int32_t *number_of = numbers ? cb_alloc(CB_CPU, size * (int64_t)sizeof *number_of) : NULL;
    int64_t *used = number_of ? cb_alloc(CB_CPU, index->numel * (int64_t)sizeof *used) : NULL;
    cb_tensor *places = NULL, *picked = NULL, *sums = NULL, *rounded = NULL, *indices[CB_MAX_NDIM] = {NULL};
    if (used) {
        memset(number_of, 0, (size_t)size * sizeof *number_of);
        const int64_t *from = index->data;
        int64_t *to = numbers->data;
        for (int64_t i = 0; i < index->numel; i++) {
            int64_t place = from[i] < 0 ? from[i] + size : from[i];
            if (number_of[place] == 0) {
                used[held++] = place;
                number_of[place] = (int32_t)held; /* from 1 */
            }
            to[i] = number_of[place] - 1;
        }
        if ((places = cb_empty(CB_I64, x->device, 1, &held))) {
            memcpy(places->data, used, (size_t)held * sizeof *used);
            picked = cb_index_select(base ? base : x, d, places);
        }
        sums = picked ? cb_cast(picked, CB_F32) : NULL;
    }
    present[d] = 1;
    indices[d] = numbers;
    plan q;
    int status = sums ? plan_make(&q, op, sums, d + 1, indices, present) : cb_error_code();
    if (!status) {
        status = plan_put(&q, op, sums, NULL, values, ADD, clock);
        plan_release(&q);
    }
    if (!status && !(rounded = cb_cast(sums, x->dtype))) status = cb_error_code();
    if (!status && base) status = copied(x, base);
    indices[d] = places;
    if (!status) status = cb_index_put(x, d + 1, indices, present, rounded, ASSIGN, clock);
    cb_tensor *all[] = {index, numbers, places, picked, sums, rounded};
    for (int i = 0; i < 6; i++) cb_release(all[i]);
    if (used) cb_free(CB_CPU, used, p->indices[0]->numel * (int64_t)sizeof *used);
    if (number_of) cb_free(CB_CPU, number_of, size * (int64_t)sizeof *number_of);
    return status;
}

/* base: NULL, or what x, which is fresh then, is to be a copy of before anything is written */
static int plan_put(const plan *p, const char *op, cb_tensor *x, cb_tensor *base, cb_tensor *values,
                    int accumulate, int64_t clock) {
    CB_TRY(cb_check_writable(op, x));
    cb_tensor *operands[2] = {x, values};
    if (cb_common_device(op, 2, operands) < 0) return cb_error_code();
    int64_t terms = cb_numel_of(p->ndim, p->shape);
    cb_tensor *target = NULL;
    /* sums of 16-bit floats run over a float copy, so that many small terms are not lost */
    if (accumulate && cb_is_16bit_float(x->dtype) && !cb_is_meta(x)) {
        if (puts_few(p, x)) return put_few(p, op, x, base, values, clock);
        target = cb_cast(base ? base : x, CB_F32);
        if (!target) return cb_error_code();
        base = NULL;
    }
    cb_tensor *wide = prepared_values(op, target ? target : x, values, p->ndim, p->shape);
    if (!wide) {
        cb_release(target);
        return cb_error_code();
    }
    int status = CB_OK;
    if (!cb_is_meta(x) && terms > 0) {
        /* x may itself be an index: its values must not change on the way */
        cb_tensor *indices[CB_MAX_NDIM];
        for (int k = 0; k < p->count && !status; k++) {
            indices[k] =
                p->indices[k]->storage == x->storage ? cb_clone(p->indices[k]) : cb_retain(p->indices[k]);
            if (!indices[k]) status = cb_error_code();
        }
        cb_stack_view to, from, start;
        cb_permuted_view(&to, target ? target : x, x->ndim, p->x_order);
        if (base) cb_permuted_view(&start, base, x->ndim, p->x_order);
        cb_permuted_view(&from, wide, p->ndim, p->result_order);
        if (!status)
            status = cb_backend_of(x)->index_put(&to.tensor, base ? &start.tensor : NULL, &from.tensor, op,
                                                 p->count, indices, p->dims, accumulate);
        for (int k = 0; k < p->count && indices[k]; k++) cb_release(indices[k]);
    } else if (base) {
        status = copied(x, base);
    }
    if (!status && target) status = copied(x, target);
    if (!status && terms > 0) x->storage->last_write = clock;
    cb_release(wide);
    cb_release(target);
    return status;
}

static cb_tensor *indexed(const plan *p, const char *op, cb_tensor *x) {
    cb_tensor *out = cb_empty(x->dtype, x->device, p->ndim, p->shape);
    if (!out || cb_is_meta(out) || out->numel == 0) {
        /* an empty result still refuses bad indices */
        if (out && !cb_is_meta(out) &&
            cb_backend_of(out)->index_check(x, op, p->count, p->indices, p->dims)) {
            cb_release(out);
            return NULL;
        }
        return out;
    }
    if (plan_get(p, op, x, out)) {
        cb_release(out);
        return NULL;
    }
    return out;
}

cb_tensor *cb_index(cb_tensor *x, int n, cb_tensor *const *indices, const int *present) {
    if (!x) return cb_fail_null(CB_ERR_NULL, "index: no tensor");
    plan p;
    if (plan_make(&p, "index", x, n, indices, present)) return NULL;
    cb_tensor *out = indexed(&p, "index", x);
    plan_release(&p);
    return out;
}

static int put(cb_tensor *x, cb_tensor *base, int n, cb_tensor *const *indices, const int *present,
               cb_tensor *values, int accumulate, int64_t clock) {
    if (!x || !values) return cb_fail(CB_ERR_NULL, "index_put_: no tensor");
    plan p;
    CB_TRY(plan_make(&p, "index_put_", x, n, indices, present));
    int status = plan_put(&p, "index_put_", x, base, values, accumulate, clock);
    plan_release(&p);
    return status;
}

int cb_index_put(cb_tensor *x, int n, cb_tensor *const *indices, const int *present, cb_tensor *values,
                 int accumulate, int64_t clock) {
    return put(x, NULL, n, indices, present, values, accumulate, clock);
}

/* `out`, unless it could not be written to */
static cb_tensor *written(cb_tensor *out, int status) {
    if (!status) return out;
    cb_release(out);
    return NULL;
}

cb_tensor *cb_index_put_copy(cb_tensor *x, int n, cb_tensor *const *indices, const int *present,
                             cb_tensor *values, int accumulate) {
    cb_tensor *out = cb_empty_like(x, -1, -1);
    return out ? written(out, put(out, x, n, indices, present, values, accumulate, 0)) : NULL;
}

/* ---- one index along one dimension: the same plan, a 0-d index counting as one of size 1 ---- */

static int plan_select(plan *p, const char *op, cb_tensor *x, int64_t dim, cb_tensor *index) {
    p->count = 0;
    int d = cb_wrap_dim(op, dim, x->ndim);
    if (d < 0) return cb_error_code();
    cb_tensor *indices[CB_MAX_NDIM] = {NULL}, *flat = NULL;
    int present[CB_MAX_NDIM] = {0};
    if (index->ndim == 0) {
        flat = cb_unsqueeze(index, 0);
        if (!flat) return cb_error_code();
    }
    indices[d] = flat ? flat : index;
    present[d] = 1;
    int status = plan_make(p, op, x, d + 1, indices, present);
    cb_release(flat);
    return status;
}

/* A 0-d x has one place to choose: it is indexed as a vector of size 1. */
static cb_tensor *at_least_1d(cb_tensor *x) { return x->ndim ? cb_retain(x) : cb_unsqueeze(x, 0); }

cb_tensor *cb_index_select(cb_tensor *x, int64_t dim, cb_tensor *index) {
    if (!x || !index) return cb_fail_null(CB_ERR_NULL, "index_select: no tensor");
    cb_tensor *source = at_least_1d(x), *out = NULL;
    plan p;
    if (source && !plan_select(&p, "index_select", source, dim, index)) {
        out = indexed(&p, "index_select", source);
        plan_release(&p);
    }
    cb_release(source);
    if (out && x->ndim == 0 && out->numel == 1) {
        cb_tensor *scalar = cb_view_new(out, 0, x->shape, x->strides, out->offset);
        cb_release(out);
        return scalar;
    }
    return out;
}

static int add(cb_tensor *x, cb_tensor *base, int64_t dim, cb_tensor *index, cb_tensor *src, int64_t clock) {
    if (!x || !index || !src) return cb_fail(CB_ERR_NULL, "index_add_: no tensor");
    cb_tensor *target = at_least_1d(x), *start = base ? at_least_1d(base) : NULL;
    int status = target && (start || !base) ? CB_OK : cb_error_code();
    plan p;
    if (!status && !(status = plan_select(&p, "index_add_", target, dim, index))) {
        status = plan_put(&p, "index_add_", target, start, src, ADD, clock);
        plan_release(&p);
    }
    cb_release(start);
    cb_release(target);
    return status;
}

int cb_index_add(cb_tensor *x, int64_t dim, cb_tensor *index, cb_tensor *src, int64_t clock) {
    return add(x, NULL, dim, index, src, clock);
}

cb_tensor *cb_index_add_copy(cb_tensor *x, int64_t dim, cb_tensor *index, cb_tensor *src) {
    cb_tensor *out = cb_empty_like(x, -1, -1);
    return out ? written(out, add(out, x, dim, index, src, 0)) : NULL;
}

cb_tensor *cb_take(cb_tensor *x, cb_tensor *index) {
    if (!x || !index) return cb_fail_null(CB_ERR_NULL, "take: no tensor");
    cb_tensor *flat = cb_reshape(x, 1, &(int64_t){-1}), *out = NULL;
    plan p;
    if (flat && !plan_make(&p, "take", flat, 1, &index, &(int){1})) {
        out = indexed(&p, "take", flat);
        plan_release(&p);
    }
    cb_release(flat);
    return out;
}

/* ---- gather and scatter along one dimension ---- */

/* Checks torch's rule: same rank, index no larger than x but along dim (and, with src, no larger than src at
 * all). */
static int check_along(const char *op, const cb_tensor *x, int d, const cb_tensor *index,
                       const cb_tensor *src) {
    bool fits = x->ndim == index->ndim || (index->numel == 0 && !src);
    for (int i = 0; i < index->ndim && fits && index->numel; i++)
        fits = i == d || index->shape[i] <= x->shape[i];
    if (!fits)
        return cb_fail(CB_ERR_SHAPE,
                       "%s: expected an index of rank %d, no larger than %s apart from dim %d, got shape %s.",
                       op, x->ndim, cb_shape_of(x), d, cb_shape_of(index));
    if (!src) return CB_OK;
    fits = src->ndim == index->ndim;
    for (int i = 0; i < index->ndim && fits; i++) fits = index->shape[i] <= src->shape[i];
    if (!fits)
        return cb_fail(
            CB_ERR_SHAPE,
            "%s: expected a source at least as large as the index %s in each dimension, got %s. Expand it.",
            op, cb_shape_of(index), cb_shape_of(src));
    return CB_OK;
}

/* An index that repeats along all dimensions but d, over the whole of x there, chooses slices, as does one
 * into a vector (which pays where places are named many times): a new 1-d view of it, or NULL where it is
 * none. */
static cb_tensor *slices_of(const cb_tensor *x, int d, cb_tensor *index) {
    if (index->ndim < (index->numel >= 8 * x->numel ? 1 : 2) || index->numel == 0) return NULL;
    for (int k = 0; k < index->ndim; k++)
        if (k != d && ((index->strides[k] && index->shape[k] > 1) || index->shape[k] != x->shape[k]))
            return NULL;
    return cb_view_new(index, 1, &index->shape[d], &index->strides[d], index->offset);
}

cb_tensor *cb_gather(cb_tensor *x, int64_t dim, cb_tensor *index) {
    if (!x || !index) return cb_fail_null(CB_ERR_NULL, "gather: no tensor");
    int d = cb_wrap_dim("gather", dim, x->ndim);
    if (d < 0 || check_along("gather", x, d, index, NULL)) return NULL;
    cb_tensor *operands[2] = {x, index}, *out = NULL;
    int device = cb_common_device("gather", 2, operands);
    if (device < 0) return NULL;
    cb_tensor *slices = slices_of(x, d, index);
    if (slices) {
        plan p;
        if (!plan_select(&p, "gather", x, d, slices)) {
            out = indexed(&p, "gather", x);
            plan_release(&p);
        }
        cb_release(slices);
        return out;
    }
    cb_tensor *places = integer_index("gather", index);
    if (places) out = cb_empty(x->dtype, device, index->ndim, index->shape);
    if (out && !cb_is_meta(out) && out->numel) {
        cb_stack_view from, to,
            at; /* 0-d operands become 1-d, so that there is a dimension to gather along */
        cb_part_view(&from, x, 0, x->ndim);
        cb_part_view(&to, out, 0, out->ndim);
        cb_part_view(&at, places, 0, places->ndim);
        if (x->ndim == 0) cb_view_add_dim(&from), cb_view_add_dim(&to), cb_view_add_dim(&at);
        if (cb_backend_of(out)->gather_along(&to.tensor, &from.tensor, &at.tensor, d)) {
            cb_release(out);
            out = NULL;
        }
    }
    cb_release(places);
    return out;
}

static int scatter(cb_tensor *x, cb_tensor *base, int64_t dim, cb_tensor *index, cb_tensor *src, int mode,
                   int64_t clock) {
    if (!x || !index || !src) return cb_fail(CB_ERR_NULL, "scatter_: no tensor");
    if (mode < 0 || mode >= MODES)
        return cb_fail(CB_ERR_VALUE, "scatter_: expected a mode in [0, %d], got %d.", MODES - 1, mode);
    if (mode >= MAXIMUM && cb_is_complex(x->dtype))
        return cb_fail(CB_ERR_DTYPE, "scatter_: expected real numbers for amax and amin, got %s.",
                       cb_dtypes[x->dtype].name);
    int d = cb_wrap_dim("scatter_", dim, x->ndim);
    if (d < 0) return cb_error_code();
    cb_tensor *operands[3] = {x, index, src};
    if (cb_common_device("scatter_", 3, operands) < 0) return cb_error_code();
    CB_TRY(cb_check_writable("scatter_", x));
    cb_tensor *slices = mode <= ADD && cb_same_shape(index, src) ? slices_of(x, d, index) : NULL;
    if (slices) {
        plan p;
        int status = check_along("scatter_", x, d, index, src);
        if (!status && !(status = plan_select(&p, "scatter_", x, d, slices))) {
            status = plan_put(&p, "scatter_", x, base, src, mode, clock);
            plan_release(&p);
        }
        cb_release(slices);
        return status;
    }
    cb_tensor *places = integer_index("scatter_", index);
    if (!places) return cb_error_code();
    if (index->numel == 0) {
        cb_release(places);
        return base ? copied(x, base) : CB_OK;
    }
    int status = check_along("scatter_", x, d, index, src);
    if (status || cb_is_meta(x)) {
        cb_release(places);
        return status;
    }
    cb_tensor *target = NULL, *values = NULL;
    bool wide = cb_is_16bit_float(x->dtype) && mode != ASSIGN;
    if (wide && !(target = cb_cast(base ? base : x, CB_F32))) status = cb_error_code();
    if (wide) base = NULL;
    if (!status && !(values = cb_cast(src, wide ? CB_F32 : x->dtype))) status = cb_error_code();
    if (!status && values->storage == x->storage) {
        cb_tensor *copy = cb_clone(values);
        cb_release(values);
        values = copy;
        if (!copy) status = cb_error_code();
    }
    if (!status && places->storage == x->storage) {
        cb_tensor *copy = cb_clone(places);
        cb_release(places);
        places = copy;
        if (!copy) status = cb_error_code();
    }
    if (!status) {
        cb_stack_view to, at, from, start;
        cb_part_view(&to, target ? target : x, 0, x->ndim);
        if (base) cb_part_view(&start, base, 0, x->ndim);
        cb_part_view(&at, places, 0, places->ndim);
        cb_part_view(&from, values, 0, values->ndim);
        for (int i = 0; i < places->ndim; i++) from.tensor.shape[i] = places->shape[i];
        if (x->ndim == 0) {
            cb_view_add_dim(&to), cb_view_add_dim(&at), cb_view_add_dim(&from);
            if (base) cb_view_add_dim(&start);
        }
        cb_view_finish(&from);
        status = cb_backend_of(x)->scatter_along(&to.tensor, base ? &start.tensor : NULL, &at.tensor,
                                                 &from.tensor, d, mode);
    }
    if (!status && target) status = cb_backend_of(x)->copy(x, target);
    if (!status) x->storage->last_write = clock;
    cb_release(target);
    cb_release(values);
    cb_release(places);
    return status;
}

int cb_scatter(cb_tensor *x, int64_t dim, cb_tensor *index, cb_tensor *src, int mode, int64_t clock) {
    return scatter(x, NULL, dim, index, src, mode, clock);
}

cb_tensor *cb_scatter_copy(cb_tensor *x, int64_t dim, cb_tensor *index, cb_tensor *src, int mode) {
    cb_tensor *out = cb_empty_like(x, -1, -1);
    return out ? written(out, scatter(out, x, dim, index, src, mode, 0)) : NULL;
}

/* ---- masks: results whose size depends on values ---- */

/* `mask` as a contiguous bool tensor broadcast to shape */
static cb_tensor *dense_mask(cb_tensor *mask, int ndim, const int64_t *shape) {
    cb_tensor *truth = cb_cast(mask, CB_BOOL), *wide = truth ? cb_expand(truth, ndim, shape) : NULL;
    cb_tensor *dense = wide ? cb_contiguous(wide) : NULL;
    cb_release(wide);
    cb_release(truth);
    return dense;
}

static int64_t mask_pieces(const cb_tensor *mask) {
    return (mask->numel + CB_MASK_PIECE - 1) / CB_MASK_PIECE;
}

/* counts of true items before each piece, and in all at the end; freed with free_starts */
static int64_t *mask_starts(cb_tensor *mask) {
    int64_t pieces = mask_pieces(mask), *starts = cb_alloc(CB_CPU, (pieces + 1) * (int64_t)sizeof *starts);
    if (!starts) return NULL;
    starts[0] = 0;
    if (pieces) cb_backend_of(mask)->mask_count(mask, starts + 1);
    for (int64_t p = 0; p < pieces; p++) starts[p + 1] += starts[p];
    return starts;
}

static void free_starts(const cb_tensor *mask, int64_t *starts) {
    if (starts) cb_free(CB_CPU, starts, (mask_pieces(mask) + 1) * (int64_t)sizeof *starts);
}

static cb_tensor *fail_meta(const char *op) {
    return cb_fail_null(
        CB_ERR_UNSUPPORTED,
        "%s: expected a tensor with data, got one on meta. The size of the result depends on values.", op);
}

cb_tensor *cb_nonzero(cb_tensor *x) {
    if (!x) return cb_fail_null(CB_ERR_NULL, "nonzero: no tensor");
    if (cb_is_meta(x)) return fail_meta("nonzero");
    cb_tensor *mask = dense_mask(x, x->ndim, x->shape), *out = NULL;
    if (!mask) return NULL;
    int64_t *starts = mask_starts(mask);
    if (starts) out = cb_empty(CB_I64, x->device, 2, (int64_t[]){starts[mask_pieces(mask)], x->ndim});
    if (out && out->numel) cb_backend_of(out)->mask_nonzero(out, mask, starts);
    free_starts(mask, starts);
    cb_release(mask);
    return out;
}

cb_tensor *cb_masked_select(cb_tensor *x, cb_tensor *mask) {
    if (!x || !mask) return cb_fail_null(CB_ERR_NULL, "masked_select: no tensor");
    if (mask->dtype != CB_BOOL)
        return cb_fail_null(CB_ERR_DTYPE,
                            "masked_select: expected a bool mask, got %s. Compare first, as in x > 0.",
                            cb_dtypes[mask->dtype].name);
    cb_tensor *operands[2] = {x, mask}, *out = NULL;
    int64_t shape[CB_MAX_NDIM];
    int ndim;
    if (cb_common_device("masked_select", 2, operands) < 0 ||
        cb_broadcast_shapes("masked_select", 2, operands, &ndim, shape))
        return NULL;
    if (cb_is_meta(x) || cb_is_meta(mask)) return fail_meta("masked_select");
    cb_tensor *wide = cb_expand(x, ndim, shape), *source = wide ? cb_contiguous(wide) : NULL;
    cb_tensor *truth = source ? dense_mask(mask, ndim, shape) : NULL;
    int64_t *starts = truth ? mask_starts(truth) : NULL;
    if (starts) out = cb_empty(x->dtype, x->device, 1, &starts[mask_pieces(truth)]);
    if (out && out->numel) cb_backend_of(out)->mask_select(out, source, truth, starts);
    if (truth) free_starts(truth, starts);
    cb_release(truth);
    cb_release(source);
    cb_release(wide);
    return out;
}
