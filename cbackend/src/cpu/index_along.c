/* Gather and scatter along one dimension: the index has a number for each element of the result, or of what
 * is written. */
#include <stdatomic.h>

#include "index.h"

enum { FAR = 1 << 20 }; /* bytes that caches near a core do not hold */

typedef struct gather_run {
    cb_space space; /* operand 0: the result, dense; 1: index; 2: x, standing still along the dimension */
    const int64_t *index;
    const char *x;
    char *out;
    int64_t size, stride; /* of x along the dimension */
    int itemsize;
    items_kernel items;
    pick_kernel pick; /* of a run */
    bool dense_index;
    int64_t fetched; /* how far away the run lies that is fetched meanwhile; 0: none is */
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

/* Picks from most lines of memory of a run: those of a later run are asked for in order. (Functions that do
 * nothing but prefetch are inline, or calls of them are dropped as having no effect.) */
CB_INLINE void fetch_line(const gather_run *a, int64_t from) {
    const char *later = a->x + (from + a->fetched) * a->itemsize;
    for (int64_t at = 0; at < a->size * a->itemsize; at += 64) __builtin_prefetch(later + at);
}

static void gather_tiles(void *context, int64_t begin, int64_t end) {
    gather_run *a = context;
    int64_t values[TILE], sources[TILE];
    bool runs = has_runs(&a->space, 2);
    for (int64_t i = begin, n; i < end; i += n) {
        int64_t from = 0;
        n = CB_MIN(TILE, end - i);
        if (runs) n = run_from(&a->space, 2, i, n, &from);
        if (runs && a->fetched) fetch_line(a, from);
        const int64_t *indices = a->index + i;
        if (!a->dense_index) {
            CB_FN(gather)(&a->space, 1, 8, a->index, i, n, values);
            indices = values;
        }
        char *out = a->out + i * a->itemsize; /* out is fresh, so its order is the space's */
        bool good;
        if (runs) {
            good = a->pick(n, out, a->x + from * a->itemsize, indices, a->size, a->stride);
        } else {
            CB_FN(index_offsets)(&a->space, 2, i, n, sources);
            good = wrap_indices(n, indices, a->size, a->stride, true, sources);
            if (good) a->items(n, out, NULL, a->x, sources);
        }
        if (!good) {
            atomic_store(&a->bad, 1);
            return;
        }
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
                    .items = CB_FN(index_items)(MODE_ASSIGN, x->dtype),
                    .pick = CB_FN(index_pick)(x->itemsize)};
    atomic_init(&a.bad, 0);
    CB_FN(space_init)(&a.space, 3, (const cb_tensor *const[]){out, index, &still.tensor});
    a.dense_index = CB_FN(space_dense)(&a.space, 1);
    int last = a.space.ndim - 1;
    int64_t lines = a.size * x->itemsize / 64;
    if (has_runs(&a.space, 2) && last > 0 && a.stride == 1 && lines <= 512 &&
        2 * a.space.shape[last] > lines && x->numel * x->itemsize > FAR)
        a.fetched = 2 * a.space.strides[2][last - 1];
    cb_parallel(index->numel, WORK, gather_tiles, &a);
    return atomic_load(&a.bad) ? CB_FN(index_range)("gather", index, dim, x->shape[dim]) : CB_OK;
}

typedef struct scatter_run {
    cb_tensor *x;
    const cb_tensor *base, *index, *src; /* base: x is its copy at first; or NULL */
    int dim, split;                      /* the dimension scattered along; the one that pieces divide */
    line_kernel line;
    atomic_int bad;
} scatter_run;

static void narrow(cb_stack_view *v, const cb_tensor *x, int dim, int64_t begin, int64_t length) {
    cb_part_view(v, x, 0, x->ndim);
    if (dim < 0) return;
    v->shape[dim] = length;
    v->tensor.offset += begin * v->strides[dim];
    cb_view_finish(v);
}

/* A line AHEAD of one that is a small part of a row of the index and the source: processors see no stream. */
CB_INLINE void fetch_ahead(const cb_space *s, const int64_t *index, const char *from, int64_t size) {
    enum { AHEAD = 16 };
    int last = s->ndim - 1;
    int64_t n = s->shape[last];
    index += AHEAD * s->strides[0][last - 1];
    from += AHEAD * s->strides[1][last - 1] * size;
    for (int64_t i = 0; i < n; i += 8) __builtin_prefetch(index + i);
    for (int64_t i = 0; i < n * size; i += 64) __builtin_prefetch(from + i);
    __builtin_prefetch(index + n - 1); /* neither begins with a cache line */
    __builtin_prefetch(from + n * size - 1);
}

/* One line, along the innermost dimension of the space; false for a place out of range. */
static bool write_line(const scatter_run *r, const cb_space *s, char *to, const int64_t *index,
                       const char *from) {
    int last = s->ndim - 1;
    int64_t indices[TILE], items[2 * TILE], size = r->x->itemsize, places = r->x->shape[r->dim];
    int64_t index_step = s->strides[0][last], from_step = s->strides[1][last], step = s->strides[2][last];
    for (int64_t i = 0, n; i < s->shape[last]; i += n) {
        n = CB_MIN(TILE, s->shape[last] - i);
        const int64_t *line = index + i * index_step;
        const void *source = from + i * from_step * size;
        if (index_step != 1) {
            CB_FN(gather_run)(8, line, index_step, n, indices);
            line = indices;
        }
        if (from_step != 1) {
            CB_FN(gather_run)((int)size, source, from_step, n, items);
            source = items;
        }
        if (!r->line(n, to + i * step * size, step, line, places, r->x->strides[r->dim], source))
            return false;
    }
    return true;
}

static void scatter_piece(void *context, int64_t begin, int64_t end) {
    scatter_run *r = context;
    cb_stack_view x, base, index, src, still;
    narrow(&x, r->x, r->split, begin, end - begin);
    narrow(&index, r->index, r->split, begin, end - begin);
    narrow(&src, r->src, r->split, begin, end - begin);
    if (r->base) {
        narrow(&base, r->base, r->split, begin, end - begin);
        CB_FN(copy)(&x.tensor, &base.tensor);
    }
    still_view(&still, &x.tensor, &index.tensor, r->dim);
    cb_space s;
    CB_FN(space_init)(&s, 3, (const cb_tensor *const[]){&index.tensor, &src.tensor, &still.tensor});
    int last = s.ndim - 1;
    int64_t at[CB_MAX_NDIM] = {0}, offset[3] = {0}, size = r->x->itemsize;
    bool apart =
        last > 0 && s.shape[last] <= 64 && s.strides[0][last] == 1 && s.strides[0][last - 1] > s.shape[last];
    for (int d = last; d >= 0;) {
        const int64_t *line = (const int64_t *)index.tensor.data + offset[0];
        const char *from = (const char *)src.tensor.data + offset[1] * size;
        if (apart) fetch_ahead(&s, line, from, size);
        if (!write_line(r, &s, (char *)x.tensor.data + offset[2] * size, line, from)) {
            atomic_store(&r->bad, 1);
            return;
        }
        for (d = last - 1; d >= 0; d--) { /* the next line */
            for (int k = 0; k < 3; k++) offset[k] += s.strides[k][d];
            if (++at[d] < s.shape[d]) break;
            for (int k = 0; k < 3; k++) offset[k] -= s.shape[d] * s.strides[k][d];
            at[d] = 0;
        }
    }
}

int CB_FN(scatter_along)(cb_tensor *x, const cb_tensor *base, const cb_tensor *index, const cb_tensor *src,
                         int dim, int mode) {
    if (!base) CB_TRY(CB_FN(index_range)("scatter_", index, dim, x->shape[dim]));
    scatter_run r = {.x = x,
                     .base = base,
                     .index = index,
                     .src = src,
                     .dim = dim,
                     .split = -1,
                     .line = CB_FN(index_line)(mode, x->dtype)};
    atomic_init(&r.bad, 0);
    for (int d = 0; d < index->ndim; d++)
        if (d != dim && (r.split < 0 || index->shape[d] > index->shape[r.split])) r.split = d;
    int64_t length = r.split < 0 ? 1 : index->shape[r.split];
    if (base && (r.split < 0 || length < x->shape[r.split])) { /* pieces do not cover x */
        CB_TRY(CB_FN(copy)(x, base));
        r.base = NULL;
    }
    /* what lies together in memory stays together: strips of a few cache lines are no streams, and take up to
     * five times as long as whole rows */
    int64_t least = r.split >= 0 && x->strides[r.split] == 1 ? 64 : 1;
    int64_t work = (index->numel + (r.base ? x->numel / 8 : 0)) / length;
    cb_parallel(length, CB_MAX(WORK / CB_MAX(work, 1), least), scatter_piece, &r);
    return atomic_load(&r.bad) ? CB_FN(index_range)("scatter_", index, dim, x->shape[dim]) : CB_OK;
}
