/* The reduction driver: splits any strided tensor into tiles of outputs and chunks of reduced items.
 *
 * Dimensions are split into kept and reduced, ordered by stride and merged. The kernel then takes rows
 * (reduced innermost), columns (kept innermost), or tiles gathered to one of these forms. A long reduction
 * with few outputs is cut into chunks whose states are merged in order: chunks depend on sizes only, and so
 * do the results' bits. */
#include "reduce.h"
#include "fused.h"

enum { WORK = 65536, MANY_TILES = 256, GATHER_COLUMNS = 128, GATHER_ROWS = CB_TILE / GATHER_COLUMNS };
enum { TURN_LENGTH = 64, TURN_WIDTH = 32, TILE_BYTES = CB_TILE * 16, STATES = CB_TILE * CB_REDUCE_MAX_STATE };
enum { WIDE = 128 }; /* items of narrow columns side by side */
/* TURNED: many short rows, transposed so that outputs lie next to each other */
enum { ROWS, COLUMNS, GATHERED_ROWS, GATHERED_COLUMNS, TURNED };

typedef struct dims {
    int count;
    int64_t size[CB_MAX_NDIM], stride[CB_MAX_NDIM], out[CB_MAX_NDIM];
} dims;

typedef struct plan {
    const cb_reducer *reducer;
    dims kept, reduced; /* the last of each is the innermost; both have at least one */
    const char *data;
    char *out[2];
    int out_dtype[2], itemsize, form;
    int64_t tile, tiles_inner, tiles; /* outputs a tile; tiles along the innermost kept dim, and in all */
    int64_t chunk, chunks;            /* items of dim `split` a chunk */
    int split;
    int64_t count; /* items an output */
    double parameter;
    char *states;  /* of all tiles and chunks, when there are several chunks */
    cb_sweep *made; /* the items are result `which` of a sweep, made as they are wanted; or NULL */
    int which;
} plan;

static inline int64_t magnitude(int64_t x) { return x < 0 ? -x : x; }

static void add_dim(dims *d, int64_t size, int64_t stride, int64_t out) {
    int at = d->count++;
    for (; at > 0 && magnitude(d->stride[at - 1]) < magnitude(stride); at--) {
        d->size[at] = d->size[at - 1];
        d->stride[at] = d->stride[at - 1];
        d->out[at] = d->out[at - 1];
    }
    d->size[at] = size;
    d->stride[at] = stride;
    d->out[at] = out;
}

static void merge_dims(dims *d) {
    int m = 0;
    for (int i = 1; i < d->count; i++) {
        if (d->stride[m] == d->stride[i] * d->size[i] && d->out[m] == d->out[i] * d->size[i]) {
            d->size[m] *= d->size[i];
        } else {
            m++;
            d->size[m] = d->size[i];
        }
        d->stride[m] = d->stride[i];
        d->out[m] = d->out[i];
    }
    d->count = m + 1;
}

static void split_dims(plan *p, const cb_tensor *x, uint32_t mask, bool ordered) {
    int64_t out = 1;
    p->kept.count = p->reduced.count = 0;
    for (int d = x->ndim - 1; d >= 0; d--) {
        int64_t size = x->shape[d], stride = x->strides[d];
        if (size == 1) continue;
        if (mask >> d & 1) {
            /* direction does not matter: start at the other end */
            if (stride < 0 && !ordered && x->numel > 0) {
                p->data += (size - 1) * stride * p->itemsize;
                stride = -stride;
            }
            add_dim(&p->reduced, size, stride, 0);
            p->count *= size;
        } else {
            add_dim(&p->kept, size, stride, out);
            out *= size;
        }
    }
    if (p->kept.count == 0) add_dim(&p->kept, 1, 0, 1);
    if (p->reduced.count == 0) add_dim(&p->reduced, 1, 0, 0);
    if (p->kept.count > 1) merge_dims(&p->kept);
    if (p->reduced.count > 1) merge_dims(&p->reduced);
}

/* Is any of some bytes side by side nonzero? Eight of them are one number. */
static void join_bytes(plan *p) {
    dims *rows = &p->reduced;
    bool joins =
        rows->count == 1 && rows->stride[0] == 1 && rows->size[0] % 8 == 0 && (uintptr_t)p->data % 8 == 0;
    for (int d = 0; d < p->kept.count; d++) joins = joins && p->kept.stride[d] % 8 == 0;
    if (!joins) return;
    p->reducer = CB_FN(fold_reducer)(CB_REDUCE_any, CB_U64);
    p->itemsize = 8;
    p->count /= 8;
    for (int d = 0; d < p->kept.count; d++) p->kept.stride[d] /= 8;
    rows->size[0] /= 8;
    rows->stride[0] = rows->size[0] > 1; /* of one number there is no row */
}

/* Columns a tile: as many as there is room for states, since rows are read in order, and those of a tile are
 * short runs of memory. */
static int64_t columns_of(const plan *p) {
    return CB_MIN(4 * CB_TILE, STATES / (p->reducer->size * p->reducer->components));
}

static void choose(plan *p) {
    int64_t width = p->kept.size[p->kept.count - 1], inner = p->reduced.size[p->reduced.count - 1];
    int64_t kept_stride = p->kept.stride[p->kept.count - 1], stride = p->reduced.stride[p->reduced.count - 1];
    bool turns = stride == 1 && inner > 1 && inner <= TURN_LENGTH && width >= TURN_WIDTH && kept_stride > 0 &&
                 p->itemsize > 1 && p->itemsize < 16;
    p->form = turns                                                      ? TURNED
              : stride == 1                                              ? ROWS
              : kept_stride == 1                                         ? COLUMNS
              : width == 1 || magnitude(stride) < magnitude(kept_stride) ? GATHERED_ROWS
                                                                         : GATHERED_COLUMNS;
    /* rows with other reduced dims around them: many outputs a tile, so that memory is read in order */
    int64_t most = p->form == ROWS            ? CB_MIN(CB_TILE, WORK / CB_MAX(inner, 1))
                   : p->form == COLUMNS       ? columns_of(p)
                   : p->form == TURNED        ? CB_MIN(CB_TILE, TILE_BYTES / p->itemsize / inner & ~15)
                   : p->form == GATHERED_ROWS ? CB_TILE / inner
                                              : GATHER_COLUMNS;
    most = CB_MAX(most, 1);
    p->tiles_inner = (width + most - 1) / most;
    p->tile = (width + p->tiles_inner - 1) / p->tiles_inner;
    if (p->tile > 64) p->tile = CB_MIN(most, (p->tile + 63) & ~(int64_t)63);
    p->tiles_inner = (width + p->tile - 1) / p->tile;
    p->tiles = p->tiles_inner;
    for (int d = 0; d < p->kept.count - 1; d++) p->tiles *= p->kept.size[d];
    int64_t work = p->tile * p->count;
    p->split = 0; /* the outermost, unless it is too short */
    for (int d = 1; d < p->reduced.count && p->reduced.size[p->split] < work / WORK; d++)
        if (p->reduced.size[d] > p->reduced.size[p->split]) p->split = d;
    int64_t length = p->reduced.size[p->split];
    p->chunk = length;
    if (p->tiles < MANY_TILES && work >= 2 * WORK) p->chunk = CB_MAX(1, length / (work / WORK));
    if (p->form == COLUMNS && p->chunk > 1) /* folded by eights; wide states are merged at a price */
        p->chunk = CB_MIN(length, CB_MAX(64, (p->chunk + 7) & ~(int64_t)7));
    p->chunks = length > 0 ? (length + p->chunk - 1) / p->chunk : 1;
}

/* As fold, of items that a sweep makes on the way. The kernels get the same items in the same order, in parts
 * that end where they end a block of their own: the bits are those of two steps. Only one dim is kept and one
 * reduced, and states have one component. */
static void fold_made(const plan *p, int64_t kept, int64_t n, int64_t first, int64_t at, char *states) {
    _Alignas(64) char room[(CB_FOLD_BLOCK + CB_FOLD_SHORT) * 8], tile[TILE_BYTES];
    int64_t kept_stride = p->kept.stride[p->kept.count - 1];
    cb_making m;
    CB_FN(making_begin)(&m, p->made, p->which);
    if (p->form == TURNED) {
        const void *x = CB_FN(make_items)(&m, at, kept * n, room);
        CB_FN(turn)(p->itemsize, n, kept, x, kept_stride, tile, kept);
        p->reducer->columns(kept, n, kept, first, tile, states);
    } else if (p->form == ROWS) {
        int64_t together = kept_stride == n ? CB_MAX(1, CB_TILE / n) : 1;
        for (int64_t r = 0, rows; r < kept; r += rows) {
            rows = CB_MIN(together, kept - r);
            for (int64_t i = 0, part; i < n; i += part) {
                part = n - i < CB_FOLD_BLOCK + CB_FOLD_SHORT ? n - i : CB_FOLD_BLOCK;
                const void *x = CB_FN(make_items)(&m, at + r * kept_stride + i, rows * part, room);
                p->reducer->rows(rows, part, part, first + i, x, states + r * p->reducer->size);
            }
        }
    } else { /* all columns of some rows, see suits_made */
        int64_t deep = CB_FOLD_BLOCK / kept & ~(int64_t)7;
        for (int64_t i = 0; i < n; i += deep) {
            int64_t rows = CB_MIN(deep, n - i);
            const void *x = CB_FN(make_items)(&m, at + i * kept, rows * kept, room);
            p->reducer->columns(kept, rows, kept, first + i, x, states);
        }
    }
    CB_FN(making_end)(&m);
}

static void fold_items(const plan *p, int64_t kept, int64_t n, int64_t stride, int64_t first, int64_t at,
                       void *states) {
    if (p->made) {
        fold_made(p, kept, n, first, at, states);
        return;
    }
    const char *x = p->data + at * p->itemsize;
    int64_t kept_stride = p->kept.stride[p->kept.count - 1];
    _Alignas(64) char tile[TILE_BYTES];
    switch (p->form) {
        case ROWS: p->reducer->rows(kept, n, kept_stride, first, x, states); break;
        case COLUMNS: p->reducer->columns(kept, n, stride, first, x, states); break;
        case TURNED:
            /* the next tile's items come meanwhile */
            for (int64_t b = kept * kept_stride * p->itemsize, end = 2 * b; b < end; b += 64)
                __builtin_prefetch(x + b);
            CB_FN(turn)(p->itemsize, n, kept, x, kept_stride, tile, kept);
            p->reducer->columns(kept, n, kept, first, tile, states);
            break;
        case GATHERED_ROWS:
            for (int64_t i = 0; i < n; i += CB_TILE) { /* kept * n fits in a tile, or kept is 1 */
                int64_t part = CB_MIN(CB_TILE, n - i);
                for (int64_t r = 0; r < kept; r++)
                    CB_FN(gather_run)(p->itemsize, x + (r * kept_stride + i * stride) * p->itemsize, stride,
                                      part, tile + r * part * p->itemsize);
                p->reducer->rows(kept, part, part, first + i, tile, states);
            }
            break;
        default:
            for (int64_t i = 0; i < n; i += GATHER_ROWS) {
                int64_t part = CB_MIN(GATHER_ROWS, n - i);
                for (int64_t r = 0; r < part; r++)
                    CB_FN(gather_run)(p->itemsize, x + (i + r) * stride * p->itemsize, kept_stride, kept,
                                      tile + r * kept * p->itemsize);
                p->reducer->columns(kept, part, kept, first + i, tile, states);
            }
    }
}

/* Folds `n` items at `at` into the tile's states: the innermost block of both lists of dims. Of a few
 * columns, which fill no vector, several rows that follow each other are taken as one. */
static void fold(const plan *p, int64_t kept, int64_t n, int64_t first, int64_t at, char *states) {
    const cb_reducer *r = p->reducer;
    int64_t stride = p->reduced.stride[p->reduced.count - 1], rows = 1;
    while (2 * rows * kept <= WIDE) rows *= 2;
    if (p->form == COLUMNS && stride == kept && r->components == 1 && rows > 1 && n >= 8 * rows) {
        _Alignas(64) char wide[WIDE * CB_REDUCE_MAX_STATE];
        r->start(rows * kept, wide);
        fold_items(p, rows * kept, n / rows, rows * kept, first, at, wide);
        at += n / rows * rows * kept;
        first += n / rows * rows;
        n %= rows;
        for (rows /= 2; rows > 0; rows /= 2) r->merge(rows * kept, wide, wide + rows * kept * r->size);
        r->merge(kept, states, wide);
    }
    fold_items(p, kept, n, stride, first, at, states);
}

typedef struct place {
    int64_t kept; /* outputs in the tile */
    int64_t x, out;
} place;

static place find_tile(const plan *p, int64_t t) {
    const dims *k = &p->kept;
    int last = k->count - 1;
    int64_t begin = t % p->tiles_inner * p->tile, rest = t / p->tiles_inner;
    place at = {CB_MIN(p->tile, k->size[last] - begin), begin * k->stride[last], begin * k->out[last]};
    for (int d = last - 1; d >= 0; d--) {
        int64_t i = rest % k->size[d];
        rest /= k->size[d];
        at.x += i * k->stride[d];
        at.out += i * k->out[d];
    }
    return at;
}

/* One chunk of one tile, from nothing. */
static void fold_tile(const plan *p, place at, int64_t c, char *states) {
    const dims *r = &p->reduced;
    int last = r->count - 1;
    int64_t begin = c * p->chunk, size[CB_MAX_NDIM], index[CB_MAX_NDIM];
    int64_t from = at.x + begin * r->stride[p->split];
    for (int d = 0; d <= last; d++) {
        size[d] = r->size[d];
        index[d] = 0;
    }
    size[p->split] = CB_MIN(p->chunk, r->size[p->split] - begin);
    p->reducer->start(at.kept, states);
    for (;;) {
        fold(p, at.kept, size[last], begin, from, states);
        int d = last - 1;
        for (; d >= 0; d--) {
            from += r->stride[d];
            if (++index[d] < size[d]) break;
            from -= size[d] * r->stride[d];
            index[d] = 0;
        }
        if (d < 0) return;
    }
}

static void store(const plan *p, place at, char *states) {
    const cb_reducer *r = p->reducer;
    int64_t step = p->kept.out[p->kept.count - 1];
    if (r->finish) r->finish(at.kept, states, p->count, p->parameter);
    for (int k = 0; k < 2; k++) {
        if (!p->out[k]) continue;
        _Alignas(64) char cast[STATES];
        int from = r->dtype[k], to = p->out_dtype[k], size = cb_dtypes[to].size;
        char *target = p->out[k] + at.out * size;
        const char *values = states + k * at.kept * r->size;
        if (from != to) {
            void *landing = step == 1 ? target : cast;
            CB_FN(cast_table)[from][to](at.kept, landing, values);
            values = landing;
        }
        if (values != target) CB_FN(scatter_run)(size, target, step, at.kept, values);
    }
}

static void run_tiles(void *context, int64_t begin, int64_t end) {
    const plan *p = context;
    _Alignas(64) char states[STATES];
    for (int64_t t = begin; t < end; t++) {
        place at = find_tile(p, t);
        fold_tile(p, at, 0, states);
        store(p, at, states);
    }
}

static int64_t state_bytes(const plan *p) { return p->tile * p->reducer->size * p->reducer->components; }

static void run_chunks(void *context, int64_t begin, int64_t end) {
    const plan *p = context;
    for (int64_t i = begin; i < end; i++)
        fold_tile(p, find_tile(p, i / p->chunks), i % p->chunks, p->states + i * state_bytes(p));
}

static void merge_chunks(const plan *p) {
    int64_t bytes = state_bytes(p);
    for (int64_t t = 0; t < p->tiles; t++) {
        char *first = p->states + t * p->chunks * bytes;
        place at = find_tile(p, t);
        for (int64_t c = 1; c < p->chunks; c++) p->reducer->merge(at.kept, first, first + c * bytes);
        store(p, at, first);
    }
}

/* tiles or chunks a piece of parallel work */
static int64_t grain_of(const plan *p) {
    int64_t work = p->tile * p->count / p->chunks;
    return CB_MAX(1, (p->made ? WORK / 4 : WORK) / CB_MAX(work, 1));
}

/* Can the items be made on the way, and by as many threads as would make them alone? Of wide rows, sums of
 * columns would read a piece of each, too short to be worth it. */
static bool suits_made(const plan *p, int op, int64_t numel) {
    int64_t grain = grain_of(p), pieces = (p->tiles * p->chunks + grain - 1) / grain;
    if (p->kept.count > 1 || p->reduced.count > 1 || p->reducer->components > 1 || p->itemsize > 8)
        return false;
    if (op == CB_REDUCE_norm2 && p->itemsize == 8) return false; /* which may be computed twice */
    if (p->form == TURNED && p->data) return false; /* the way to memory and back is as short */
    if (p->form == COLUMNS && (p->tiles > 1 || p->tile > CB_TILE / 4)) return false;
    return pieces >= 4 || numel <= WORK / 4;
}

static int run(plan *p) {
    int64_t grain = grain_of(p);
    if (p->chunks == 1) {
        cb_parallel(p->tiles, grain, run_tiles, p);
        return CB_OK;
    }
    int64_t nbytes = p->tiles * p->chunks * state_bytes(p);
    p->states = cb_alloc(CB_CPU, nbytes);
    if (!p->states) return cb_error_code();
    cb_parallel(p->tiles * p->chunks, grain, run_chunks, p);
    merge_chunks(p);
    cb_free(CB_CPU, p->states, nbytes);
    return CB_OK;
}

/* float64 sums of squares that left the range where squares are exact enough; zero may be an underflow */
static bool unsafe(const cb_tensor *norms) {
    const double *norm = norms->data;
    bool found = false;
    for (int64_t i = 0; i < norms->numel; i++) found |= !(norm[i] > 1e-140 && norm[i] < 1e140);
    return found;
}

/* made: a sweep whose result `which` has x's form, instead of x's memory; else NULL */
static int reduce(int op, const cb_tensor *x, uint32_t mask, double parameter, cb_tensor *const *out,
                  cb_sweep *made, int which) {
    bool arg = op == CB_REDUCE_argmax || op == CB_REDUCE_argmin;
    plan p = {.data = x->data,
              .itemsize = x->itemsize,
              .count = 1,
              .parameter = parameter,
              .made = made,
              .which = which};
    p.reducer = arg                                                ? CB_FN(arg_reducer)(op, x->dtype)
                : op == CB_REDUCE_logsumexp || op == CB_REDUCE_var ? CB_FN(moment_reducer)(op, x->dtype)
                                                                   : CB_FN(fold_reducer)(op, x->dtype);
    if (!p.reducer) return cb_fail(CB_ERR_UNSUPPORTED, "reduce: no kernel for %s.", cb_dtypes[x->dtype].name);
    for (int k = 0; k < 2; k++) {
        p.out[k] = out[k] ? out[k]->data : NULL;
        p.out_dtype[k] = out[k] ? out[k]->dtype : 0;
    }
    split_dims(&p, x, mask, arg);
    if (x->numel == 0) { /* every output is the value of no items */
        /* there may be no memory to point into */
        for (int d = 0; d < p.kept.count; d++) p.kept.stride[d] = 0;
        p.count = 0;
        for (int d = 0; d < p.reduced.count; d++) p.reduced.size[d] = 0;
        p.reduced.count = 1;
        p.reduced.stride[0] = 1;
    }
    if (op == CB_REDUCE_any && p.itemsize == 1 && !made && x->numel > 0) join_bytes(&p);
    choose(&p);
    if (made && !suits_made(&p, op, x->numel)) return CB_ERR_UNSUPPORTED;
    CB_TRY(run(&p));
    if (made) return made->status;
    if (op == CB_REDUCE_norm2 && CB_FN(scaled_norm_reducer)(x->dtype) && unsafe(out[0])) {
        p.reducer = CB_FN(scaled_norm_reducer)(x->dtype);
        return run(&p);
    }
    return CB_OK;
}

int CB_FN(reduce)(int op, const cb_tensor *x, uint32_t mask, double parameter, cb_tensor *const *out) {
    return reduce(op, x, mask, parameter, out, NULL, 0);
}

int CB_FN(reduce_made)(const cb_fused_call *made, int op, const cb_tensor *x, uint32_t mask,
                       cb_tensor *const *out) {
    cb_sweep w;
    CB_TRY(CB_FN(sweep_open)(&w, made->steps, made->outs, made->xs));
    return reduce(op, x, mask, 0, out, &w, made->which);
}
