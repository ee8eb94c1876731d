/* Advanced indexing: x[indices] and x[indices] = values. index.h says how; gather and scatter along a
 * dimension are in index_along.c. */
#include <stdatomic.h>

#include "index.h"

/* ---- offsets ---- */

void CB_FN(index_offsets)(const cb_space *s, int k, int64_t begin, int64_t n, int64_t *offsets) {
    int last = s->ndim - 1;
    int64_t index[CB_MAX_NDIM], offset = 0, rest = begin;
    const int64_t *strides = s->strides[k];
    for (int d = last; d >= 0; d--) {
        index[d] = rest % s->shape[d];
        rest /= s->shape[d];
        offset += index[d] * strides[d];
    }
    int64_t step = strides[last];
    while (n > 0) {
        int64_t run = CB_MIN(n, s->shape[last] - index[last]);
        for (int64_t i = 0; i < run; i++) offsets[i] = offset + i * step;
        offsets += run;
        n -= run;
        if (n == 0) return;
        offset -= index[last] * step;
        index[last] = 0;
        for (int d = last - 1; d >= 0; d--) {
            offset += strides[d];
            if (++index[d] < s->shape[d]) break;
            offset -= s->shape[d] * strides[d];
            index[d] = 0;
        }
    }
}

void CB_FN(row_major_space)(cb_space *s, int ndim, const int64_t *shape, const cb_tensor *x) {
    cb_stack_view lead = {.tensor = {.ndim = ndim, .flags = CB_FLAG_CONTIGUOUS, .numel = 1}};
    lead.tensor.shape = lead.shape;
    lead.tensor.strides = lead.strides;
    for (int d = ndim - 1; d >= 0; d--) {
        lead.shape[d] = shape[d];
        lead.strides[d] = lead.tensor.numel;
        lead.tensor.numel *= shape[d];
    }
    CB_FN(space_init)(s, 2, (const cb_tensor *const[]){&lead.tensor, x});
}

static int fail_range(const char *op, int dim, int64_t size, int64_t value) {
    return cb_fail(CB_ERR_INDEX,
                   "%s: expected an index in [%lld, %lld] for dim %d of size %lld, got %lld. Use an index "
                   "inside the dimension.",
                   op, (long long)-size, (long long)(size - 1), dim, (long long)size, (long long)value);
}

/* ---- range checks ---- */

typedef struct check_run {
    cb_space space;
    const int64_t *values;
    int64_t size;
    bool dense;
    atomic_llong first_bad; /* beginning of the first tile that holds a bad index */
} check_run;

static void check_tiles(void *context, int64_t begin, int64_t end) {
    check_run *c = context;
    int64_t tile[TILE];
    for (int64_t i = begin; i < end; i += TILE) {
        int64_t n = CB_MIN(TILE, end - i), low = 0, high = 0;
        const int64_t *values = c->values + i;
        if (!c->dense) {
            CB_FN(gather)(&c->space, 1, 8, c->values, i, n, tile);
            values = tile;
        }
        low = high = values[0];
        for (int64_t j = 1; j < n; j++) {
            low = values[j] < low ? values[j] : low;
            high = values[j] > high ? values[j] : high;
        }
        if (low >= -c->size && high < c->size) continue;
        long long seen = atomic_load(&c->first_bad);
        while (i < seen && !atomic_compare_exchange_weak(&c->first_bad, &seen, i)) {
        }
        return;
    }
}

int CB_FN(index_range)(const char *op, const cb_tensor *index, int dim, int64_t size) {
    if (index->numel == 0) return CB_OK;
    check_run c = {.values = index->data, .size = size};
    CB_FN(row_major_space)(&c.space, index->ndim, index->shape, index);
    c.dense = CB_FN(space_dense)(&c.space, 1);
    atomic_init(&c.first_bad, INT64_MAX);
    cb_parallel(index->numel, 8 * WORK, check_tiles, &c);
    int64_t begin = atomic_load(&c.first_bad), value = 0;
    if (begin == INT64_MAX) return CB_OK;
    do CB_FN(gather)(&c.space, 1, 8, c.values, begin++, 1, &value);
    while (value >= -size && value < size);
    return fail_range(op, dim, size, value);
}

int CB_FN(index_check)(const cb_tensor *x, const char *op, int count, cb_tensor *const *indices,
                       const int *dims) {
    for (int k = 0; k < count; k++) CB_TRY(CB_FN(index_range)(op, indices[k], dims[k], x->shape[dims[k]]));
    return CB_OK;
}

/* ---- x[indices] and x[indices] = values, in canonical order ---- */

typedef struct index_space {
    cb_space space; /* operand 1: one index tensor over the shape of all */
    const int64_t *values;
    int64_t size, stride;
    bool dense;
} index_space;

typedef struct index_run {
    int count;
    index_space *indices;
    cb_space places;    /* index dimensions of the other side (result or values): operand 1 */
    cb_space rest;      /* the dimensions not indexed: operand 0 is written, 1 is read */
    bool put;
    bool unit;          /* are single items moved to or from consecutive places of the other side? */
    int64_t n, outer;   /* index positions; items of rest, without the row */
    int64_t row;        /* items moved an offset; 1 moves single items */
    int64_t row_strides[2];
    char *to;
    const char *from;
    int itemsize;
    items_kernel items;
    rows_kernel rows;
    int64_t tile, chunk, width; /* a piece's share of n, outer and row */
    const char *base;           /* where a piece finds the items of x that it is to copy first; or NULL */
    char *tables;               /* sums of chunks */
} index_run;

static void index_run_init(index_run *r, index_space *spaces, const cb_tensor *x, const cb_tensor *other,
                           int count, cb_tensor *const *indices, bool put, int mode) {
    int index_ndim = other->ndim - (x->ndim - count);
    r->count = count;
    r->put = put;
    r->indices = spaces;
    r->itemsize = x->itemsize;
    r->base = NULL;
    r->n = 1;
    for (int d = 0; d < index_ndim; d++) r->n *= other->shape[d];
    for (int k = 0; k < count; k++) {
        index_space *s = &spaces[k];
        CB_FN(row_major_space)(&s->space, index_ndim, other->shape, indices[k]);
        s->values = indices[k]->data;
        s->size = x->shape[k];
        s->stride = x->strides[k];
        s->dense = CB_FN(space_dense)(&s->space, 1);
    }
    cb_stack_view part, x_rest, other_rest;
    cb_part_view(&part, other, 0, index_ndim);
    CB_FN(row_major_space)(&r->places, index_ndim, part.shape, &part.tensor);
    cb_part_view(&x_rest, x, count, x->ndim - count);
    cb_part_view(&other_rest, other, index_ndim, other->ndim - index_ndim);
    CB_FN(space_init)(&r->rest, 2,
                      put ? (const cb_tensor *const[]){&x_rest.tensor, &other_rest.tensor}
                          : (const cb_tensor *const[]){&other_rest.tensor, &x_rest.tensor});
    r->to = put ? x->data : other->data;
    r->from = put ? other->data : x->data;
    int last = r->rest.ndim - 1;
    int64_t length = r->rest.shape[last], *to = r->rest.strides[0], *from = r->rest.strides[1];
    r->row = 1;
    r->row_strides[0] = r->row_strides[1] = 0;
    /* where single items go to (or come from) consecutive places, moving them strides over one side only */
    bool side_by_side = r->n >= 8 && CB_FN(space_dense)(&r->places, 1);
    if (length > 1 && ((to[last] == 1 && from[last] == 1) || (length > r->n && !side_by_side))) {
        r->row = length;
        r->row_strides[0] = to[last];
        r->row_strides[1] = from[last];
        if (last > 0)
            r->rest.ndim--;
        else
            r->rest.shape[0] = 1;
    }
    r->outer = r->rest.numel / r->row;
    r->unit = r->row == 1 && CB_FN(space_dense)(&r->places, 1);
    r->items = CB_FN(index_items)(mode, x->dtype);
    r->rows = CB_FN(index_rows)(mode, x->dtype);
}

/* the values of one index at positions [begin, begin + n), in memory or in the tile */
CB_INLINE const int64_t *values_at(const index_space *s, int64_t begin, int64_t n, int64_t *tile) {
    if (s->dense) return s->values + begin;
    CB_FN(gather)(&s->space, 1, 8, s->values, begin, n, tile);
    return tile;
}

/* offsets into x of index positions [begin, begin + n) */
static bool position_offsets(const index_run *r, int64_t begin, int64_t n, int64_t *offsets) {
    int64_t tile[TILE];
    bool good = true;
    for (int k = 0; k < r->count; k++) {
        const index_space *s = &r->indices[k];
        good &= wrap_indices(n, values_at(s, begin, n, tile), s->size, s->stride, k > 0, offsets);
    }
    return good;
}

/* Moves a tile: index positions [at, at + n) times outer items [begin, end), columns [first, first + width)
 * of rows. The table of the other side is not read when its places are consecutive. */
static void move_tile(const index_run *r, int64_t n, int64_t at, const int64_t *places,
                      const int64_t *sources, int64_t begin, int64_t end, int64_t first, int64_t width) {
    int64_t to_outer[64], from_outer[64], size = r->itemsize;
    char *to = r->to + first * r->row_strides[0] * size;
    const char *from = r->from + first * r->row_strides[1] * size;
    if (r->unit && r->put) {
        sources = NULL;
        from += at * size;
    } else if (r->unit) {
        places = NULL;
        to += at * size;
    }
    for (int64_t o = begin; o < end; o += 64) {
        int64_t count = CB_MIN(64, end - o);
        CB_FN(index_offsets)(&r->rest, 0, o, count, to_outer);
        CB_FN(index_offsets)(&r->rest, 1, o, count, from_outer);
        for (int64_t i = 0; i < count; i++) {
            char *t = to + to_outer[i] * size;
            const char *f = from + from_outer[i] * size;
            if (r->row == 1)
                r->items(n, t, places, f, sources);
            else
                r->rows(n, width, t, places, r->row_strides[0], f, sources, r->row_strides[1]);
        }
    }
}

typedef struct get_run {
    index_run run;
    pick_kernel pick; /* of single items by one index, into places side by side; or NULL */
    bool rows;        /* short ones, so picked? */
    atomic_int bad;
} get_run;

static void get_pieces(void *context, int64_t begin, int64_t end) {
    get_run *g = context;
    const index_run *r = &g->run;
    int64_t chunks = (r->outer + r->chunk - 1) / r->chunk;
    int64_t places[TILE], sources[TILE];
    for (int64_t p = begin; p < end; p++) {
        int64_t j = p / chunks * r->tile, n = CB_MIN(r->tile, r->n - j), o = p % chunks * r->chunk;
        if (g->pick || g->rows) {
            const index_space *s = &r->indices[0];
            const int64_t *values = values_at(s, j, n, sources), bytes = r->row * r->itemsize;
            char *to = r->to + j * bytes;
            bool good = g->rows ? CB_FN(index_pick_rows)(n, bytes, to, r->from, values, s->size,
                                                         s->stride * r->itemsize)
                                : g->pick(n, to, r->from, values, s->size, s->stride);
            if (!good) atomic_store(&g->bad, 1);
            continue;
        }
        if (!position_offsets(r, j, n, sources)) {
            atomic_store(&g->bad, 1);
            continue;
        }
        if (!r->unit) CB_FN(index_offsets)(&r->places, 1, j, n, places);
        move_tile(r, n, j, places, sources, o, CB_MIN(o + r->chunk, r->outer), 0, r->row);
    }
}

int CB_FN(index_get)(cb_tensor *out, const cb_tensor *x, const char *op, int count, cb_tensor *const *indices,
                     const int *dims) {
    index_space spaces[count];
    get_run g;
    index_run *r = &g.run;
    index_run_init(r, spaces, x, out, count, indices, false, MODE_ASSIGN);
    r->tile = CB_MIN(CB_MAX(WORK / r->row, 1), CB_MIN(TILE, r->n));
    r->chunk = CB_MIN(CB_MAX(WORK / (r->tile * r->row), 1), r->outer);
    bool single = count == 1 && r->outer == 1;
    g.pick = single && r->unit ? CB_FN(index_pick)(x->itemsize) : NULL;
    g.rows = single && r->row > 1 && r->row * x->itemsize <= SHORT && r->row_strides[0] == 1 &&
             r->row_strides[1] == 1 && r->places.ndim == 1 && r->places.strides[1][0] == r->row;
    atomic_init(&g.bad, 0);
    int64_t tiles = (r->n + r->tile - 1) / r->tile, chunks = (r->outer + r->chunk - 1) / r->chunk;
    cb_parallel(tiles * chunks, CB_MAX(WORK / (r->tile * r->chunk * r->row), 1), get_pieces, &g);
    if (atomic_load(&g.bad)) /* the slow way finds the value to name */
        for (int k = 0; k < count; k++) CB_TRY(CB_FN(index_range)(op, indices[k], dims[k], x->shape[k]));
    return CB_OK;
}

/* The items of x along its only indexed dimension, which lie together, for outer items [begin, end). */
static void copy_runs(const index_run *r, int64_t begin, int64_t end) {
    int64_t outer[64], size = r->itemsize;
    for (int64_t o = begin; o < end; o += 64) {
        int64_t count = CB_MIN(64, end - o);
        CB_FN(index_offsets)(&r->rest, 0, o, count, outer);
        for (int64_t i = 0; i < count; i++)
            memcpy(r->to + outer[i] * size, r->base + outer[i] * size, (size_t)(r->indices[0].size * size));
    }
}

/* A piece owns some outer items and some columns of the rows, for all index positions in order. */
static void put_pieces(void *context, int64_t begin, int64_t end) {
    const index_run *r = context;
    int64_t columns = (r->row + r->width - 1) / r->width;
    int64_t places[TILE], sources[TILE];
    for (int64_t p = begin; p < end; p++) {
        int64_t o = p / columns * r->chunk, first = p % columns * r->width;
        if (r->base) copy_runs(r, o, CB_MIN(o + r->chunk, r->outer));
        for (int64_t j = 0; j < r->n; j += TILE) {
            int64_t n = CB_MIN(TILE, r->n - j);
            position_offsets(r, j, n, places);
            if (!r->unit) CB_FN(index_offsets)(&r->places, 1, j, n, sources);
            move_tile(r, n, j, places, sources, o, CB_MIN(o + r->chunk, r->outer), first,
                      CB_MIN(r->width, r->row - first));
        }
    }
}

/* Whole rows, chosen by one index: a piece owns a range of places of x, which stays in its cache, and picks
 * from all index positions, in order, those that fall into it. */
static void put_ranges(void *context, int64_t begin, int64_t end) {
    const index_run *r = context;
    const index_space *s = &r->indices[0];
    int64_t raw[TILE], places[TILE], sources[TILE], chosen[TILE];
    for (int64_t p = begin; p < end; p++) {
        int64_t low = p * r->chunk, high = CB_MIN(low + r->chunk, s->size), bytes = r->row * r->itemsize;
        if (r->base) memcpy(r->to + low * bytes, r->base + low * bytes, (size_t)((high - low) * bytes));
        for (int64_t j = 0; j < r->n; j += TILE) {
            int64_t n = CB_MIN(TILE, r->n - j), held = 0;
            const int64_t *values = values_at(s, j, n, raw);
            CB_FN(index_offsets)(&r->places, 1, j, n, sources);
            for (int64_t i = 0; i < n; i++) {
                int64_t place = values[i] + (s->size & (values[i] >> 63));
                places[held] = place * s->stride;
                chosen[held] = sources[i];
                held += (place >= low) & (place < high);
            }
            r->rows(held, r->row, r->to, places, r->row_strides[0], r->from, chosen, r->row_strides[1]);
        }
    }
}

/* Many sums in few places of a vector: each chunk of positions has a table of its own, and these are added to
 * x in order. */
static void add_chunk(void *context, int64_t begin, int64_t end) {
    const index_run *r = context;
    int64_t places[TILE], sources[TILE], nbytes = r->indices[0].size * r->itemsize;
    char *table = r->tables + begin / r->chunk * nbytes;
    memset(table, 0, (size_t)nbytes);
    for (int64_t j = begin; j < end; j += TILE) {
        int64_t n = CB_MIN(TILE, end - j);
        position_offsets(r, j, n, places);
        if (!r->unit) CB_FN(index_offsets)(&r->places, 1, j, n, sources);
        r->items(n, table, places, r->from + (r->unit ? j * r->itemsize : 0), r->unit ? NULL : sources);
    }
}

static int put_bins(index_run *r) {
    int64_t size = r->indices[0].size, nbytes = size * r->itemsize, stride = r->indices[0].stride, zero = 0;
    r->chunk = CB_MAX(WORK, (r->n + 15) / 16);
    int64_t chunks = (r->n + r->chunk - 1) / r->chunk;
    r->tables = cb_alloc(CB_CPU, chunks * nbytes);
    if (!r->tables) return CB_ERR_MEMORY;
    r->indices[0].stride = 1;
    cb_parallel(r->n, r->chunk, add_chunk, r);
    for (int64_t k = 0; k < chunks; k++)
        r->rows(1, size, r->to, &zero, stride, r->tables + k * nbytes, &zero, 1);
    cb_free(CB_CPU, r->tables, chunks * nbytes);
    return CB_OK;
}

/* Many single items: all threads make the offsets, and one writes, in order. */
typedef struct offsets_run {
    const index_run *run;
    int64_t *offsets;
    atomic_int bad;
} offsets_run;

static void offset_pieces(void *context, int64_t begin, int64_t end) {
    offsets_run *o = context;
    for (int64_t j = begin; j < end; j += TILE)
        if (!position_offsets(o->run, j, CB_MIN(TILE, end - j), o->offsets + j)) atomic_store(&o->bad, 1);
}

/* Nothing is written where *bad is set: an index is out of range. */
static int put_items(const index_run *r, cb_tensor *x, const cb_tensor *base, bool *bad) {
    int64_t nbytes = r->n * (int64_t)sizeof(int64_t), sources[TILE];
    offsets_run o = {.run = r, .offsets = cb_alloc(CB_CPU, nbytes)};
    if (!o.offsets) return CB_ERR_MEMORY;
    atomic_init(&o.bad, 0);
    cb_parallel(r->n, WORK / 4, offset_pieces, &o);
    *bad = atomic_load(&o.bad);
    int status = *bad || !base ? CB_OK : CB_FN(copy)(x, base);
    for (int64_t j = 0; j < r->n && !*bad && !status; j += TILE) {
        int64_t n = CB_MIN(TILE, r->n - j);
        if (!r->unit) CB_FN(index_offsets)(&r->places, 1, j, n, sources);
        move_tile(r, n, j, o.offsets + j, sources, 0, 1, 0, 1);
    }
    cb_free(CB_CPU, o.offsets, nbytes);
    return status;
}

enum { RANGES = 8 };

static bool same_layout(const cb_tensor *x, const cb_tensor *base) {
    bool same = base;
    for (int d = 0; d < x->ndim && same; d++) same = x->strides[d] == base->strides[d];
    return same;
}

int CB_FN(index_put)(cb_tensor *x, const cb_tensor *base, const cb_tensor *values, const char *op, int count,
                     cb_tensor *const *indices, const int *dims, int accumulate) {
    index_space spaces[count];
    index_run r;
    index_run_init(&r, spaces, x, values, count, indices, true, accumulate ? MODE_ADD : MODE_ASSIGN);
    bool ranges = count == 1 && r.outer == 1 && r.row * r.itemsize >= 64 && r.n * r.row >= 4 * WORK &&
                  spaces[0].size >= 4 * RANGES;
    bool bins = accumulate && count == 1 && r.rest.numel == 1 && r.n >= 4 * WORK && spaces[0].size <= 4096;
    if (!bins && r.row == 1 && r.outer == 1 && r.n >= WORK) {
        bool bad;
        int status = put_items(&r, x, base, &bad);
        if (status || !bad) return status;
    }
    for (int k = 0; k < count; k++) CB_TRY(CB_FN(index_range)(op, indices[k], dims[k], x->shape[k]));
    /* pieces copy what they write to, for their caches, where it lies together */
    if (count == 1 && !bins && same_layout(x, base) &&
        (ranges ? r.row_strides[0] == 1 && spaces[0].stride == r.row : r.row == 1 && spaces[0].stride == 1))
        r.base = base->data;
    else if (base)
        CB_TRY(CB_FN(copy)(x, base));
    if (ranges) {
        r.chunk = (spaces[0].size + RANGES - 1) / RANGES;
        cb_parallel((spaces[0].size + r.chunk - 1) / r.chunk, 1, put_ranges, &r);
        return CB_OK;
    }
    if (bins) return put_bins(&r);
    /* rows are split in cache lines; each piece reads all indices again, so it should own 16 items a position
     */
    int64_t line = CB_MAX(64 / r.itemsize, 8);
    r.width =
        r.n * r.row >= WORK ? CB_MIN(r.row, CB_MAX(2 * line, (r.row / 4 + line - 1) / line * line)) : r.row;
    r.chunk = CB_MIN(CB_MAX(CB_MAX(WORK / (r.n * r.width), 16 / r.width), 1), r.outer);
    int64_t pieces = (r.outer + r.chunk - 1) / r.chunk * ((r.row + r.width - 1) / r.width);
    cb_parallel(pieces, 1, put_pieces, &r);
    return CB_OK;
}
