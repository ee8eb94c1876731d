/* Copies with casts, fills and ranges. */
#include "stream.h"
#include "sweep.h"

enum { GRAIN = 65536 };

/* ---- copies ---- */

typedef struct {
    double re, im;
} item16;
#define IDENTITY(size, item)                                                   \
    static void identity_##size(int64_t n, void *out, const void *const *in) { \
        memcpy(out, in[0], (size_t)n * sizeof(item));                          \
    }
IDENTITY(1, uint8_t)
IDENTITY(2, uint16_t)
IDENTITY(4, uint32_t)
IDENTITY(8, uint64_t)
IDENTITY(16, item16)

static cb_kernel identity_of(int itemsize) {
    switch (itemsize) {
        case 1: return identity_1;
        case 2: return identity_2;
        case 4: return identity_4;
        case 8: return identity_8;
        default: return identity_16;
    }
}

static void copy_dense(void *context, int64_t begin, int64_t end) {
    const cb_sweep *w = context;
    const cb_operand *to = &w->operand[0], *from = &w->operand[1];
    int to_size = cb_dtypes[to->from].size, from_size = cb_dtypes[from->from].size;
    bool casts = to->from != from->from;
    _Alignas(64) char tile[CB_TILE * 16];
    int64_t step = w->stream ? CB_TILE : end - begin;
    for (int64_t i = begin; i < end; i += step) {
        int64_t n = CB_MIN(step, end - i);
        const char *items = from->data + i * from_size;
        char *target = to->data + i * to_size, *landing = w->stream ? tile : target;
        if (casts) {
            CB_FN(cast_table)[from->from][to->from](n, landing, items);
            items = landing;
        }
        if (w->stream)
            cb_stream(target, items, n * to_size);
        else if (!casts)
            memcpy(target, items, (size_t)(n * to_size));
    }
    if (w->stream) cb_stream_end();
}

/* n items of one value. Zeros, whose bytes are all the same, are written without reading the lines first. */
static void repeat(int size, const char *item, int64_t n, char *target) {
    if (!memcmp(item, item + 1, (size_t)size - 1))
        memset(target, *item, (size_t)(n * size));
    else
        CB_FN(gather_run)(size, item, 0, n, target);
}

/* strided items of one dtype into one run of memory */
static void copy_gathered(void *context, int64_t begin, int64_t end) {
    const cb_sweep *w = context;
    int size = cb_dtypes[w->operand[0].from].size;
    if (w->space.ndim == 1 && w->space.strides[1][0] == 0)
        repeat(size, w->operand[1].data, end - begin, w->operand[0].data + begin * size);
    else
        CB_FN(gather)(&w->space, 1, size, w->operand[1].data, begin, end - begin,
                      w->operand[0].data + begin * size);
}

enum { TURN_ROWS = 64, TURN_COLUMNS = 1024 };

/* Pieces count stretches of TURN_COLUMNS columns of TURN_ROWS rows. */
static void copy_turned(void *context, int64_t begin, int64_t end) {
    const cb_sweep *w = context;
    const cb_space *s = &w->space;
    int last = s->ndim - 1, d = w->turned, size = cb_dtypes[w->operand[0].from].size;
    for (int64_t i = begin; i < end; i++) {
        int64_t rest = i / w->chunks_across, column = i % w->chunks_across * TURN_COLUMNS,
                row = rest % w->blocks_down * TURN_ROWS, offset[2];
        rest /= w->blocks_down;
        for (int k = 0; k < 2; k++) offset[k] = row * s->strides[k][d] + column * s->strides[k][last];
        for (int e = last - 1; e >= 0; e--) {
            if (e == d) continue;
            for (int k = 0; k < 2; k++) offset[k] += rest % s->shape[e] * s->strides[k][e];
            rest /= s->shape[e];
        }
        CB_FN(turn)(size, CB_MIN(TURN_ROWS, s->shape[d] - row), CB_MIN(TURN_COLUMNS, s->shape[last] - column),
                    w->operand[1].data + offset[1] * size, s->strides[1][last],
                    w->operand[0].data + offset[0] * size, s->strides[0][d]);
    }
}

int CB_FN(copy)(cb_tensor *dst, const cb_tensor *src) {
    if (dst->numel == 0) return CB_OK;
    cb_sweep w;
    w.kernel = identity_of(dst->itemsize);
    w.op = -1;
    w.nin = 1;
    w.operand[0] = (cb_operand){.data = dst->data, .from = dst->dtype, .to = dst->dtype};
    w.operand[1] = (cb_operand){.data = src->data, .from = src->dtype, .to = dst->dtype};
    cb_space *s = &w.space;
    CB_FN(space_init)(s, 2, (const cb_tensor *const[]){dst, src});
    for (int k = 0; k < 2; k++) w.operand[k].direct = CB_FN(space_dense)(s, k);
    /* strided copies gain nothing from it: what they read keeps fewer loads in flight */
    w.stream = w.operand[0].direct && w.operand[1].direct &&
               cb_streams(src->numel * src->itemsize, dst->numel * dst->itemsize);
    w.turned = CB_FN(space_turned)(s, 1);
    int last = s->ndim - 1;
    if (w.operand[0].direct && w.operand[1].direct) {
        cb_parallel(dst->numel, GRAIN, copy_dense, &w);
    } else if (w.turned >= 0 && s->strides[0][last] == 1 && src->dtype == dst->dtype) {
        int64_t height = s->shape[w.turned], width = s->shape[last];
        w.blocks_down = (height + TURN_ROWS - 1) / TURN_ROWS;
        w.chunks_across = (width + TURN_COLUMNS - 1) / TURN_COLUMNS;
        int64_t outer = s->numel / (height * width), pieces = w.blocks_down * w.chunks_across;
        int64_t items = height * width / pieces;
        cb_parallel(outer * pieces, CB_MAX(1, GRAIN / items), copy_turned, &w);
    } else if (w.operand[0].direct && src->dtype == dst->dtype) {
        cb_parallel(dst->numel, GRAIN, copy_gathered, &w);
    } else {
        CB_FN(sweep)(&w, GRAIN);
    }
    return CB_OK;
}

/* ---- fills ---- */

typedef struct fill_run {
    cb_space space;
    int itemsize;
    char *target;
    char item[16];
    bool dense;
} fill_run;

static void fill_tiles(void *context, int64_t begin, int64_t end) {
    const fill_run *f = context;
    if (f->dense) {
        repeat(f->itemsize, f->item, end - begin, f->target + begin * f->itemsize);
        return;
    }
    _Alignas(64) char tile[CB_TILE * 16];
    CB_FN(gather_run)(f->itemsize, f->item, 0, CB_MIN(CB_TILE, end - begin), tile);
    for (int64_t i = begin; i < end; i += CB_TILE) {
        CB_FN(scatter)(&f->space, 0, f->itemsize, f->target, i, CB_MIN(CB_TILE, end - i), tile);
    }
}

int CB_FN(fill)(cb_tensor *dst, const cb_scalar *value) {
    if (dst->numel == 0) return CB_OK;
    fill_run f = {.itemsize = dst->itemsize, .target = dst->data};
    double pair[2] = {value->re, value->im};
    bool truth = value->i != 0;
    int from = CB_F64;
    const void *source = pair;
    switch (value->kind) {
        case 'b': from = CB_BOOL, source = &truth; break;
        case 'i': from = CB_I64, source = &value->i; break;
        case 'u': from = CB_U64, source = &value->u; break;
        case 'c': from = CB_C128; break;
        default: break;
    }
    CB_FN(cast_table)[from][dst->dtype](1, f.item, source);
    CB_FN(space_init)(&f.space, 1, (const cb_tensor *const[]){dst});
    f.dense = CB_FN(space_dense)(&f.space, 0);
    cb_parallel(dst->numel, GRAIN, fill_tiles, &f);
    return CB_OK;
}

int CB_FN(arange)(cb_tensor *out, const cb_scalar *start, const cb_scalar *step) {
    _Alignas(64) char tile[CB_TILE * 8];
    bool whole = start->kind == 'i';
    for (int64_t i = 0; i < out->numel; i += CB_TILE) {
        int64_t n = CB_MIN(CB_TILE, out->numel - i);
        if (whole) {
            int64_t *items = (int64_t *)tile;
            for (int64_t j = 0; j < n; j++) items[j] = start->i + (i + j) * step->i;
        } else {
            double *items = (double *)tile;
            for (int64_t j = 0; j < n; j++) items[j] = start->re + (double)(i + j) * step->re;
        }
        cb_cast_kernel cast = CB_FN(cast_table)[whole ? CB_I64 : CB_F64][out->dtype];
        cast(n, (char *)out->data + i * out->itemsize, tile);
    }
    return CB_OK;
}
