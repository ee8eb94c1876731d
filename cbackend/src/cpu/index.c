/* Advanced indexing, gather and scatter.
 *
 * Every case comes down to tables of element offsets, made a tile at a time, and to loops that move items
 * (one item an offset) or rows (a run an offset). Writes in place go in index order for each element of x,
 * and pieces of the parallel loops never share an element of x, so duplicates give the same result for any
 * number of threads. */
#include <stdatomic.h>

#include "../index_views.h"
#include "cpu.h"

enum { TILE = 1024, WORK = 32768, AHEAD = 12 };

typedef struct {
    double re, im;
} item16;

/* to[places[i]] = op(to[places[i]], from[sources[i]]); a table that is NULL stands for 0, 1, 2, ... */
typedef void (*items_kernel)(int64_t n, void *to, const int64_t *places, const void *from,
                             const int64_t *sources);
/* the same for a run of `width` items at two strides from each place and source */
typedef void (*rows_kernel)(int64_t n, int64_t width, void *to, const int64_t *places, int64_t to_stride,
                            const void *from, const int64_t *sources, int64_t from_stride);

#define ITEMS_LOOP(type, value, place, source) \
    for (int64_t i = 0; i < n; i++) {          \
        type x = to[place], y = from[source];  \
        (void)x;                               \
        to[place] = (type)(value);             \
    }
#define KERNELS(name, type, value)                                                           \
    static void items_##name(int64_t n, void *to_, const int64_t *places, const void *from_, \
                             const int64_t *sources) {                                       \
        type *restrict to = to_;                                                             \
        const type *restrict from = from_;                                                   \
        if (places && sources)                                                               \
            ITEMS_LOOP(type, value, places[i], sources[i])                                   \
        else if (places)                                                                     \
            ITEMS_LOOP(type, value, places[i], i)                                            \
        else                                                                                 \
            ITEMS_LOOP(type, value, i, sources[i])                                           \
    }
/* Rows lie far apart: those of a later one are asked for early. */
#define PREFETCH(type, base, offset, stride)                                         \
    do {                                                                             \
        const char *later_ = (const char *)((const type *)(base) + (offset));        \
        int64_t reach_ = CB_MIN(width * (stride) * (int64_t)sizeof(type), 512);      \
        for (int64_t l_ = 0; l_ < reach_; l_ += 64) __builtin_prefetch(later_ + l_); \
    } while (0)
#define ROWS(name, type, value)                                                                            \
    static void rows_##name(int64_t n, int64_t width, void *to_, const int64_t *places, int64_t to_stride, \
                            const void *from_, const int64_t *sources, int64_t from_stride) {              \
        for (int64_t j = 0; j < n; j++) {                                                                  \
            type *restrict to = (type *)to_ + places[j];                                                   \
            const type *restrict from = (const type *)from_ + sources[j];                                  \
            if (j + AHEAD < n) {                                                                           \
                PREFETCH(type, to_, places[j + AHEAD], to_stride);                                         \
                PREFETCH(type, from_, sources[j + AHEAD], from_stride);                                    \
            }                                                                                              \
            if (to_stride == 1 && from_stride == 1) {                                                      \
                for (int64_t i = 0; i < width; i++) {                                                      \
                    type x = to[i], y = from[i];                                                           \
                    (void)x;                                                                               \
                    to[i] = (type)(value);                                                                 \
                }                                                                                          \
            } else {                                                                                       \
                for (int64_t i = 0; i < width; i++) {                                                      \
                    type x = to[i * to_stride], y = from[i * from_stride];                                 \
                    (void)x;                                                                               \
                    to[i * to_stride] = (type)(value);                                                     \
                }                                                                                          \
            }                                                                                              \
        }                                                                                                  \
    }
#define MOVES(size, type) KERNELS(move_##size, type, y) ROWS(move_##size, type, y)
MOVES(1, uint8_t)
MOVES(2, uint16_t)
MOVES(4, uint32_t)
MOVES(8, uint64_t)
MOVES(16, item16)

/* wide: an unsigned type without overflow for sums and products of integers */
#define SUMS(id, type, sum, product) \
    KERNELS(add_##id, type, sum)     \
    ROWS(add_##id, type, sum) KERNELS(mul_##id, type, product)
#define ARITHMETIC(id, type, wide) SUMS(id, type, (wide)x + (wide)y, (wide)x * (wide)y)
#define ORDERED(id, type) \
    KERNELS(max_##id, type, x > y || x != x ? x : y) KERNELS(min_##id, type, x < y || x != x ? x : y)
SUMS(BOOL, _Bool, x | y, x &y)
ARITHMETIC(U8, uint8_t, uint32_t)
ARITHMETIC(I8, int8_t, uint32_t)
ARITHMETIC(U16, uint16_t, uint32_t)
ARITHMETIC(I16, int16_t, uint32_t)
ARITHMETIC(U32, uint32_t, uint32_t)
ARITHMETIC(I32, int32_t, uint32_t)
ARITHMETIC(U64, uint64_t, uint64_t)
ARITHMETIC(I64, int64_t, uint64_t)
ARITHMETIC(F32, float, float)
ARITHMETIC(F64, double, double)
ARITHMETIC(C64, cb_complex64, cb_complex64)
ARITHMETIC(C128, cb_complex128, cb_complex128)
ORDERED(BOOL, _Bool)
ORDERED(U8, uint8_t)
ORDERED(I8, int8_t)
ORDERED(U16, uint16_t)
ORDERED(I16, int16_t)
ORDERED(U32, uint32_t)
ORDERED(I32, int32_t)
ORDERED(U64, uint64_t)
ORDERED(I64, int64_t)
ORDERED(F32, float)
ORDERED(F64, double)

enum { MODE_ASSIGN, MODE_ADD, MODE_MULTIPLY, MODE_MAXIMUM, MODE_MINIMUM };
#define ENTRY(id) [CB_##id] = {NULL, items_add_##id, items_mul_##id, items_max_##id, items_min_##id},
#define ENTRY_COMPLEX(id) [CB_##id] = {NULL, items_add_##id, items_mul_##id, NULL, NULL},
/* 16-bit floats are accumulated in a float copy by the frame */
static const items_kernel items_table[CB_DTYPE_COUNT][5] = {
    ENTRY(BOOL) ENTRY(U8) ENTRY(I8) ENTRY(U16) ENTRY(I16) ENTRY(U32) ENTRY(I32) ENTRY(U64) ENTRY(I64)
        ENTRY(F32) ENTRY(F64) ENTRY_COMPLEX(C64) ENTRY_COMPLEX(C128)};
#undef ENTRY
#define ENTRY(id) [CB_##id] = rows_add_##id,
static const rows_kernel rows_adds[CB_DTYPE_COUNT] = {ENTRY(BOOL) ENTRY(U8) ENTRY(I8) ENTRY(U16) ENTRY(
    I16) ENTRY(U32) ENTRY(I32) ENTRY(U64) ENTRY(I64) ENTRY(F32) ENTRY(F64) ENTRY(C64) ENTRY(C128)};

static items_kernel items_of(int mode, int dtype) {
    if (mode == MODE_ASSIGN) switch (cb_dtypes[dtype].size) {
            case 1: return items_move_1;
            case 2: return items_move_2;
            case 4: return items_move_4;
            case 8: return items_move_8;
            default: return items_move_16;
        }
    return items_table[dtype][mode];
}

static rows_kernel rows_of(int mode, int dtype) {
    if (mode == MODE_ASSIGN) switch (cb_dtypes[dtype].size) {
            case 1: return rows_move_1;
            case 2: return rows_move_2;
            case 4: return rows_move_4;
            case 8: return rows_move_8;
            default: return rows_move_16;
        }
    return rows_adds[dtype];
}

/* ---- offsets ---- */

/* element offsets of items [begin, begin + n) of operand k, in the order of the space */
static void space_offsets(const cb_space *s, int k, int64_t begin, int64_t n, int64_t *offsets) {
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

/* Adds wrapped index times stride to each offset; false if one is out of range. */
static bool add_indices(int64_t n, const int64_t *values, int64_t size, int64_t stride, int64_t *offsets) {
    uint64_t bad = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t v = values[i] + (size & (values[i] >> 63));
        bad |= (uint64_t)((uint64_t)v >= (uint64_t)size);
        offsets[i] = (int64_t)((uint64_t)offsets[i] + (uint64_t)v * (uint64_t)stride);
    }
    return !bad;
}

/* The iteration space of a dimension range in row-major order, whatever the strides of x: its leading operand
 * is an imaginary contiguous tensor. Operand 1 is x. */
static void row_major_space(cb_space *s, int ndim, const int64_t *shape, const cb_tensor *x) {
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

static int check_indices(const char *op, const cb_tensor *index, int dim, int64_t size) {
    if (index->numel == 0) return CB_OK;
    check_run c = {.values = index->data, .size = size};
    row_major_space(&c.space, index->ndim, index->shape, index);
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
    for (int k = 0; k < count; k++) CB_TRY(check_indices(op, indices[k], dims[k], x->shape[dims[k]]));
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
} index_run;

static void index_run_init(index_run *r, index_space *spaces, const cb_tensor *x, const cb_tensor *other,
                           int count, cb_tensor *const *indices, bool put, int mode) {
    int index_ndim = other->ndim - (x->ndim - count);
    r->count = count;
    r->put = put;
    r->indices = spaces;
    r->itemsize = x->itemsize;
    r->n = 1;
    for (int d = 0; d < index_ndim; d++) r->n *= other->shape[d];
    for (int k = 0; k < count; k++) {
        index_space *s = &spaces[k];
        row_major_space(&s->space, index_ndim, other->shape, indices[k]);
        s->values = indices[k]->data;
        s->size = x->shape[k];
        s->stride = x->strides[k];
        s->dense = CB_FN(space_dense)(&s->space, 1);
    }
    cb_stack_view part, x_rest, other_rest;
    cb_part_view(&part, other, 0, index_ndim);
    row_major_space(&r->places, index_ndim, part.shape, &part.tensor);
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
    r->items = items_of(mode, x->dtype);
    r->rows = rows_of(mode, x->dtype);
}

/* offsets into x of index positions [begin, begin + n) */
static bool index_offsets(const index_run *r, int64_t begin, int64_t n, int64_t *offsets) {
    int64_t tile[TILE];
    bool good = true;
    memset(offsets, 0, (size_t)n * sizeof *offsets);
    for (int k = 0; k < r->count; k++) {
        const index_space *s = &r->indices[k];
        const int64_t *values = s->values + begin;
        if (!s->dense) {
            CB_FN(gather)(&s->space, 1, 8, s->values, begin, n, tile);
            values = tile;
        }
        good &= add_indices(n, values, s->size, s->stride, offsets);
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
        space_offsets(&r->rest, 0, o, count, to_outer);
        space_offsets(&r->rest, 1, o, count, from_outer);
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
    atomic_int bad;
} get_run;

static void get_pieces(void *context, int64_t begin, int64_t end) {
    get_run *g = context;
    const index_run *r = &g->run;
    int64_t chunks = (r->outer + r->chunk - 1) / r->chunk;
    int64_t places[TILE], sources[TILE];
    for (int64_t p = begin; p < end; p++) {
        int64_t j = p / chunks * r->tile, n = CB_MIN(r->tile, r->n - j), o = p % chunks * r->chunk;
        if (!index_offsets(r, j, n, sources)) {
            atomic_store(&g->bad, 1);
            continue;
        }
        if (!r->unit) space_offsets(&r->places, 1, j, n, places);
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
    atomic_init(&g.bad, 0);
    int64_t tiles = (r->n + r->tile - 1) / r->tile, chunks = (r->outer + r->chunk - 1) / r->chunk;
    cb_parallel(tiles * chunks, CB_MAX(WORK / (r->tile * r->chunk * r->row), 1), get_pieces, &g);
    if (atomic_load(&g.bad)) /* the slow way finds the value to name */
        for (int k = 0; k < count; k++) CB_TRY(check_indices(op, indices[k], dims[k], x->shape[k]));
    return CB_OK;
}

/* A piece owns some outer items and some columns of the rows, for all index positions in order. */
static void put_pieces(void *context, int64_t begin, int64_t end) {
    const index_run *r = context;
    int64_t columns = (r->row + r->width - 1) / r->width;
    int64_t places[TILE], sources[TILE];
    for (int64_t p = begin; p < end; p++) {
        int64_t o = p / columns * r->chunk, first = p % columns * r->width;
        for (int64_t j = 0; j < r->n; j += TILE) {
            int64_t n = CB_MIN(TILE, r->n - j);
            index_offsets(r, j, n, places);
            if (!r->unit) space_offsets(&r->places, 1, j, n, sources);
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
        int64_t low = p * r->chunk, high = CB_MIN(low + r->chunk, s->size);
        for (int64_t j = 0; j < r->n; j += TILE) {
            int64_t n = CB_MIN(TILE, r->n - j), held = 0;
            const int64_t *values = s->values + j;
            if (!s->dense) {
                CB_FN(gather)(&s->space, 1, 8, s->values, j, n, raw);
                values = raw;
            }
            space_offsets(&r->places, 1, j, n, sources);
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

enum { RANGES = 8 };

int CB_FN(index_put)(cb_tensor *x, const cb_tensor *values, const char *op, int count,
                     cb_tensor *const *indices, const int *dims, int accumulate) {
    for (int k = 0; k < count; k++) CB_TRY(check_indices(op, indices[k], dims[k], x->shape[k]));
    index_space spaces[count];
    index_run r;
    index_run_init(&r, spaces, x, values, count, indices, true, accumulate ? MODE_ADD : MODE_ASSIGN);
    if (count == 1 && r.outer == 1 && r.row * r.itemsize >= 64 && r.n * r.row >= 4 * WORK &&
        spaces[0].size >= 4 * RANGES) {
        r.chunk = (spaces[0].size + RANGES - 1) / RANGES;
        cb_parallel((spaces[0].size + r.chunk - 1) / r.chunk, 1, put_ranges, &r);
        return CB_OK;
    }
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

/* ---- along one dimension ---- */

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

static void gather_tiles(void *context, int64_t begin, int64_t end) {
    gather_run *a = context;
    int64_t values[TILE], sources[TILE];
    for (int64_t i = begin; i < end; i += TILE) {
        int64_t n = CB_MIN(TILE, end - i);
        const int64_t *indices = a->index + i;
        if (!a->dense_index) {
            CB_FN(gather)(&a->space, 1, 8, a->index, i, n, values);
            indices = values;
        }
        space_offsets(&a->space, 2, i, n, sources);
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
                    .items = items_of(MODE_ASSIGN, x->dtype)};
    atomic_init(&a.bad, 0);
    CB_FN(space_init)(&a.space, 3, (const cb_tensor *const[]){out, index, &still.tensor});
    a.dense_index = CB_FN(space_dense)(&a.space, 1);
    cb_parallel(index->numel, WORK, gather_tiles, &a);
    return atomic_load(&a.bad) ? check_indices("gather", index, dim, x->shape[dim]) : CB_OK;
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

/* Places far apart in a target that no cache near a core holds are asked for a block ahead. */
static void scatter_tile(const scatter_run *r, int64_t n, char *to, const int64_t *places, const char *from,
                         const int64_t *sources) {
    enum { BLOCK = 128, NEAR = 1 << 18 };
    int64_t size = r->x->itemsize, step = r->x->numel * size > NEAR ? BLOCK : n;
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
        space_offsets(&space, 2, i, n, places);
        add_indices(n, indices, r->x->shape[r->dim], r->x->strides[r->dim], places);
        if (!dense_src) space_offsets(&space, 1, i, n, sources);
        scatter_tile(r, n, x.tensor.data, places,
                     (const char *)src.tensor.data + (dense_src ? i * src.tensor.itemsize : 0),
                     dense_src ? NULL : sources);
    }
}

int CB_FN(scatter_along)(cb_tensor *x, const cb_tensor *index, const cb_tensor *src, int dim, int mode) {
    CB_TRY(check_indices("scatter_", index, dim, x->shape[dim]));
    scatter_run r = {
        .x = x, .index = index, .src = src, .dim = dim, .split = -1, .items = items_of(mode, x->dtype)};
    for (int d = 0; d < index->ndim; d++)
        if (d != dim && (r.split < 0 || index->shape[d] > index->shape[r.split])) r.split = d;
    int64_t length = r.split < 0 ? 1 : index->shape[r.split];
    /* what lies together in memory stays together */
    int64_t least = r.split >= 0 && x->strides[r.split] == 1 ? CB_MAX(64 / x->itemsize, 1) : 1;
    cb_parallel(length, CB_MAX(WORK / (index->numel / length), least), scatter_piece, &r);
    return CB_OK;
}
