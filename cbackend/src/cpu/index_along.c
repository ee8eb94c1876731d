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
    bool asks; /* is most of each short row of x read, from afar? */
    atomic_int bad;
} gather_run;

/* Rows of x that items [begin, begin + n) read from: in order they come faster than by single items. */
static void ask_for_rows(const gather_run *a, int64_t begin, int64_t n) {
    int64_t sources[TILE], length = a->size * a->itemsize;
    CB_FN(index_offsets)(&a->space, 2, begin, n, sources);
    for (int64_t i = 0; i < n; i++)
        if (i == 0 || sources[i] != sources[i - 1])
            for (int64_t l = 0; l < length; l += 64) __builtin_prefetch(a->x + sources[i] * a->itemsize + l);
}

static void gather_tiles(void *context, int64_t begin, int64_t end) {
    gather_run *a = context;
    int64_t values[TILE], sources[TILE];
    for (int64_t i = begin; i < end; i += TILE) {
        int64_t n = CB_MIN(TILE, end - i);
        if (a->asks && i + n < end) ask_for_rows(a, i + n, CB_MIN(TILE, end - i - n));
        const int64_t *indices = a->index + i;
        if (!a->dense_index) {
            CB_FN(gather)(&a->space, 1, 8, a->index, i, n, values);
            indices = values;
        }
        CB_FN(index_offsets)(&a->space, 2, i, n, sources);
        if (!add_indices(n, indices, a->size, a->stride, sources)) {
            atomic_store(&a->bad, 1);
            return;
        }
        a->items(n, a->out + i * a->itemsize, NULL, a->x,
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
    enum { NEAR = 1 << 18, SHORT = 1 << 14 };
    int64_t row = a.size * a.itemsize;
    a.asks = dim == x->ndim - 1 && a.stride == 1 && row <= SHORT && index->shape[dim] * 64 >= row &&
             x->numel * a.itemsize > NEAR;
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
    int64_t values[TILE], places[TILE], sources[TILE];
    for (int64_t i = 0; i < space.numel; i += TILE) {
        int64_t n = CB_MIN(TILE, space.numel - i);
        const int64_t *indices = (const int64_t *)index.tensor.data + i;
        if (!dense_index) {
            CB_FN(gather)(&space, 0, 8, index.tensor.data, i, n, values);
            indices = values;
        }
        CB_FN(index_offsets)(&space, 2, i, n, places);
        add_indices(n, indices, r->x->shape[r->dim], r->x->strides[r->dim], places);
        if (!dense_src) CB_FN(index_offsets)(&space, 1, i, n, sources);
        scatter_tile(r, n, x.tensor.data, places,
                     (const char *)src.tensor.data + (dense_src ? i * src.tensor.itemsize : 0),
                     dense_src ? NULL : sources);
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
