/* Copies with casts, fills and ranges. */
#include "cpu.h"

enum { GRAIN = 65536 };

typedef struct copy_run {
    cb_space space;
    int to, from;
    char *target;
    const char *source;
    bool dense[2];
} copy_run;

static void copy_tiles(void *context, int64_t begin, int64_t end) {
    const copy_run *c = context;
    int to_size = cb_dtypes[c->to].size, from_size = cb_dtypes[c->from].size;
    _Alignas(64) char raw[CB_TILE * 16], cast[CB_TILE * 16];
    for (int64_t i = begin; i < end; i += CB_TILE) {
        int64_t n = CB_MIN(CB_TILE, end - i);
        const void *items = raw;
        if (c->dense[1]) {
            items = c->source + i * from_size;
        } else {
            void *landing = c->dense[0] && c->from == c->to ? c->target + i * to_size : raw;
            CB_FN(gather)(&c->space, 1, from_size, c->source, i, n, landing);
            if (landing != raw) continue;
        }
        if (c->from != c->to) {
            void *landing = c->dense[0] ? c->target + i * to_size : cast;
            CB_FN(cast_table)[c->from][c->to](n, landing, items);
            if (c->dense[0]) continue;
            items = cast;
        }
        if (c->dense[0])
            memcpy(c->target + i * to_size, items, (size_t)(n * to_size));
        else
            CB_FN(scatter)(&c->space, 0, to_size, c->target, i, n, items);
    }
}

int CB_FN(copy)(cb_tensor *dst, const cb_tensor *src) {
    if (dst->numel == 0) return CB_OK;
    copy_run c = {.to = dst->dtype, .from = src->dtype, .target = dst->data, .source = src->data};
    CB_FN(space_init)(&c.space, 2, (const cb_tensor *const[]){dst, src});
    for (int k = 0; k < 2; k++) c.dense[k] = CB_FN(space_dense)(&c.space, k);
    cb_parallel(dst->numel, GRAIN, copy_tiles, &c);
    return CB_OK;
}

typedef struct fill_run {
    cb_space space;
    int itemsize;
    char *target;
    char item[16];
    bool dense;
} fill_run;

static void fill_tiles(void *context, int64_t begin, int64_t end) {
    const fill_run *f = context;
    _Alignas(64) char tile[CB_TILE * 16];
    CB_FN(gather_run)(f->itemsize, f->item, 0, CB_MIN(CB_TILE, end - begin), tile);
    for (int64_t i = begin; i < end; i += CB_TILE) {
        int64_t n = CB_MIN(CB_TILE, end - i);
        if (f->dense)
            memcpy(f->target + i * f->itemsize, tile, (size_t)(n * f->itemsize));
        else
            CB_FN(scatter)(&f->space, 0, f->itemsize, f->target, i, n, tile);
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
