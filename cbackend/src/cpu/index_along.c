/* Gather and scatter along one dimension: the index has a number for each element of the result, or of what
 * is written. */
#include <stdatomic.h>

#include "index.h"

typedef struct gather_run {
    cb_space space; /* operand 0: the result, dense; 1: index; 2: x, standing still along the dimension */
    const int64_t *index;
    const char *x;
    char *out;
    int64_t size, stride; /* of x along the dimension */
    int itemsize;
    items_kernel items;
    bool dense_index;
    atomic_int bad;
} gather_run;

/* Does operand k stand still along the innermost dimension, for long runs? Then these have one offset each.
 */
static bool has_runs(const cb_space *s, int k) {
    enum { LONG = 32 };
    return s->strides[k][s->ndim - 1] == 0 && s->shape[s->ndim - 1] >= LONG;
}

/* the offset of the run that item i lies in; how many of n items do from there on */
static int64_t run_from(const cb_space *s, int k, int64_t i, int64_t n, int64_t *offset) {
    int64_t length = s->shape[s->ndim - 1];
    CB_FN(index_offsets)(s, k, i, 1, offset);
    return CB_MIN(n, length - i % length);
}

static void gather_tiles(void *context, int64_t begin, int64_t end) {
    gather_run *a = context;
    int64_t values[TILE], sources[TILE];
    bool runs = has_runs(&a->space, 2);
    for (int64_t i = begin, n; i < end; i += n) {
        int64_t from = 0;
        n = CB_MIN(TILE, end - i);
        if (runs)
            n = run_from(&a->space, 2, i, n, &from);
        else
            CB_FN(index_offsets)(&a->space, 2, i, n, sources);
        const int64_t *indices = a->index + i;
        if (!a->dense_index) {
            CB_FN(gather)(&a->space, 1, 8, a->index, i, n, values);
            indices = values;
        }
        if (!wrap_indices(n, indices, a->size, a->stride, !runs, sources)) {
            atomic_store(&a->bad, 1);
            return;
        }
        a->items(n, a->out + i * a->itemsize, NULL, a->x + from * a->itemsize,
                 sources); /* out is fresh, so its order is the space's */
    }
}

/* x over the index's shape, standing still along dim */
static void still_view(cb_stack_view *v, const cb_tensor *x, const cb_tensor *index, int dim) {
    cb_part_view(v, x, 0, x->ndim);
    for (int d = 0; d < x->ndim; d++) v->shape[d] = index->shape[d];
    v->strides[dim] = 0;
    cb_view_finish(v);
}

int CB_FN(gather_along)(cb_tensor *out, const cb_tensor *x, const cb_tensor *index, int dim) {
    cb_stack_view still;
    still_view(&still, x, index, dim);
    gather_run a = {.index = index->data,
                    .x = x->data,
                    .out = out->data,
                    .size = x->shape[dim],
                    .stride = x->strides[dim],
                    .itemsize = x->itemsize,
                    .items = CB_FN(index_items)(MODE_ASSIGN, x->dtype)};
    atomic_init(&a.bad, 0);
    CB_FN(space_init)(&a.space, 3, (const cb_tensor *const[]){out, index, &still.tensor});
    a.dense_index = CB_FN(space_dense)(&a.space, 1);
    cb_parallel(index->numel, WORK, gather_tiles, &a);
    return atomic_load(&a.bad) ? CB_FN(index_range)("gather", index, dim, x->shape[dim]) : CB_OK;
}

typedef struct scatter_run {
    const cb_tensor *x, *index, *src;
    int dim, split; /* the dimension scattered along; the one that pieces divide */
    items_kernel items;
} scatter_run;

static void narrow(cb_stack_view *v, const cb_tensor *x, int dim, int64_t begin, int64_t length) {
    cb_part_view(v, x, 0, x->ndim);
    v->shape[dim] = length;
    v->tensor.offset += begin * v->strides[dim];
    cb_view_finish(v);
}

/* Places far apart along a dimension that no cache near a core holds are asked for a block ahead. */
static void scatter_tile(const scatter_run *r, int64_t n, char *to, const int64_t *places, const char *from,
                         const int64_t *sources) {
    enum { BLOCK = 128, NEAR = 1 << 18 };
    int64_t size = r->x->itemsize, stride = r->x->strides[r->dim];
    int64_t step = r->x->shape[r->dim] * CB_MAX(stride, -stride) * size > NEAR ? BLOCK : n;
    for (int64_t i = 0; i < n; i += step) {
        int64_t count = CB_MIN(step, n - i);
        for (int64_t j = i + step; j < CB_MIN(i + 2 * step, n); j++) {
            __builtin_prefetch(to + places[j] * size, 1);
            if (sources) __builtin_prefetch(from + sources[j] * size);
        }
        r->items(count, to, places + i, sources ? from : from + i * size, sources ? sources + i : NULL);
    }
}

static void scatter_piece(void *context, int64_t begin, int64_t end) {
    const scatter_run *r = context;
    cb_stack_view x, index, src, still;
    cb_part_view(&x, r->x, 0, r->x->ndim);
    cb_part_view(&index, r->index, 0, r->index->ndim);
    cb_part_view(&src, r->src, 0, r->src->ndim);
    if (r->split >= 0) {
        narrow(&x, r->x, r->split, begin, end - begin);
        narrow(&index, r->index, r->split, begin, end - begin);
        narrow(&src, r->src, r->split, begin, end - begin);
    }
    still_view(&still, &x.tensor, &index.tensor, r->dim);
    cb_space space;
    CB_FN(space_init)(&space, 3, (const cb_tensor *const[]){&index.tensor, &src.tensor, &still.tensor});
    bool dense_index = CB_FN(space_dense)(&space, 0), dense_src = CB_FN(space_dense)(&space, 1);
    int64_t values[TILE], places[TILE], sources[TILE], size = r->x->itemsize;
    bool runs = has_runs(&space, 2);
    for (int64_t i = 0, n; i < space.numel; i += n) {
        int64_t to = 0;
        n = CB_MIN(TILE, space.numel - i);
        if (runs)
            n = run_from(&space, 2, i, n, &to);
        else
            CB_FN(index_offsets)(&space, 2, i, n, places);
        const int64_t *indices = (const int64_t *)index.tensor.data + i;
        if (!dense_index) {
            CB_FN(gather)(&space, 0, 8, index.tensor.data, i, n, values);
            indices = values;
        }
        wrap_indices(n, indices, r->x->shape[r->dim], r->x->strides[r->dim], !runs, places);
        if (!dense_src) CB_FN(index_offsets)(&space, 1, i, n, sources);
        scatter_tile(r, n, (char *)x.tensor.data + to * size, places,
                     (const char *)src.tensor.data + (dense_src ? i * size : 0), dense_src ? NULL : sources);
    }
}

int CB_FN(scatter_along)(cb_tensor *x, const cb_tensor *index, const cb_tensor *src, int dim, int mode) {
    CB_TRY(CB_FN(index_range)("scatter_", index, dim, x->shape[dim]));
    scatter_run r = {.x = x,
                     .index = index,
                     .src = src,
                     .dim = dim,
                     .split = -1,
                     .items = CB_FN(index_items)(mode, x->dtype)};
    for (int d = 0; d < index->ndim; d++)
        if (d != dim && (r.split < 0 || index->shape[d] > index->shape[r.split])) r.split = d;
    int64_t length = r.split < 0 ? 1 : index->shape[r.split];
    /* what lies together in memory stays together */
    int64_t least = r.split >= 0 && x->strides[r.split] == 1 ? CB_MAX(64 / x->itemsize, 1) : 1;
    cb_parallel(length, CB_MAX(WORK / (index->numel / length), least), scatter_piece, &r);
    return CB_OK;
}
