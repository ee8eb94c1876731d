/* Padding and its transpose, a row at a time: along the last padded dimension places form runs that go up,
 * down or stand still, the same ones for every row; dimensions before it choose the row. */
#include "../pad.h"
#include "bytes.h"

enum { WORK = 32768 };

typedef struct run {
    int64_t to, from, length; /* items of the padded row and of the other; from < 0: the value */
    int step;
} run;

typedef struct pad_call {
    int ndim; /* of rows, neighbours that are not padded merged */
    int64_t shape[CB_MAX_NDIM], own[CB_MAX_NDIM], strides[CB_MAX_NDIM]; /* of the padded side, of the other */
    const int64_t *pads[CB_MAX_NDIM];
    int64_t rows, large, small, inner; /* a row's items on both sides; items a place */
    int64_t planes, plane; /* how many the outermost dimension has, if not padded; the other side's items */
    int nruns;
    run *runs;
    int64_t room;
    char *padded, *other, item[16];
    bool stream;
} pad_call;

/* The run that begins at place i of a padded dimension of n, which takes places of one of `own`; no longer
 * than a piece of work. */
static run run_at(const int64_t *pad, int64_t i, int64_t n, int64_t own, int64_t most) {
    int64_t mode = pad ? pad[0] : CB_PAD_CONSTANT, j = pad ? i - pad[1] : i;
    bool below = j < 0, inside = !below && j < own;
    run r = {.to = i, .from = cb_pad_place(mode, j, own), .step = inside ? 1 : 0};
    r.length = below ? -j : inside ? own - j : n - i;
    if (mode == CB_PAD_REFLECT && !inside) r.step = -1;
    if (mode == CB_PAD_CIRCULAR) {
        r.step = 1;
        r.length = own - r.from;
    }
    r.length = CB_MIN(CB_MIN(r.length, n - i), most);
    return r;
}

static int call_init(pad_call *c, const cb_tensor *padded, const cb_tensor *other, int64_t *const *pads) {
    int last = padded->ndim - 1;
    int64_t rows = 1, inner = 1;
    while (last > 0 && !pads[last]) inner *= padded->shape[last--];
    c->inner = inner;
    c->ndim = 0;
    for (int d = 0; d < last; d++) {
        int64_t n = padded->shape[d], own = other->shape[d];
        rows *= n;
        bool joins = c->ndim && !pads[d] && !c->pads[c->ndim - 1];
        for (int e = 0; e < c->ndim; e++) c->strides[e] *= own;
        if (joins) {
            c->shape[c->ndim - 1] *= n;
            c->strides[c->ndim - 1] = 1;
            continue;
        }
        c->shape[c->ndim] = n;
        c->own[c->ndim] = own;
        c->strides[c->ndim] = 1;
        c->pads[c->ndim++] = pads[d];
    }
    int64_t n = padded->ndim ? padded->shape[last] : 1, own = other->ndim ? other->shape[last] : 1;
    const int64_t *pad = padded->ndim ? pads[last] : NULL;
    c->rows = rows;
    c->large = n * inner;
    c->small = own * inner;
    c->planes = c->ndim && !c->pads[0] ? c->shape[0] : 1;
    c->plane = other->numel / c->planes;
    c->padded = padded->data;
    c->other = other->data;
    int64_t most = CB_MAX(WORK / inner, 1);
    c->room = (n / own + n / most + 3) * (int64_t)sizeof(run);
    c->runs = cb_alloc(CB_CPU, c->room);
    if (!c->runs) return cb_error_code();
    c->nruns = 0;
    for (int64_t i = 0; i < n;) {
        run r = run_at(pad, i, n, own, most);
        i += r.length;
        r.to *= inner;
        r.from *= r.from < 0 ? 1 : inner;
        c->runs[c->nruns++] = r;
    }
    return CB_OK;
}

/* A padded row's number as places: the other side's row, -1 where one is outside. */
typedef struct cursor {
    int64_t index[CB_MAX_NDIM], other[CB_MAX_NDIM];
} cursor;

static inline int64_t other_place(const pad_call *c, int d, int64_t i) {
    const int64_t *pad = c->pads[d];
    int64_t place = pad ? cb_pad_place(pad[0], i - pad[1], c->own[d]) : i;
    return place < 0 ? INT64_MIN / CB_MAX_NDIM : place * c->strides[d];
}

static void find_row(const pad_call *c, int64_t row, cursor *at) {
    for (int d = c->ndim - 1; d >= 0; d--) {
        at->index[d] = row % c->shape[d];
        row /= c->shape[d];
        at->other[d] = other_place(c, d, at->index[d]);
    }
}

static inline void next_row(const pad_call *c, cursor *at) {
    for (int d = c->ndim - 1; d >= 0; d--) {
        bool wraps = ++at->index[d] == c->shape[d];
        if (wraps) at->index[d] = 0;
        at->other[d] = other_place(c, d, at->index[d]);
        if (!wraps) return;
    }
}

static inline int64_t other_row(const pad_call *c, const cursor *at) {
    int64_t row = 0;
    for (int d = 0; d < c->ndim; d++) row += at->other[d];
    return row;
}

typedef struct {
    double re, im;
} item16;

/* How many rows from this one on take rows of the other side that follow each other, or are all outside? */
static inline int64_t rows_ahead(const pad_call *c, const cursor *at) {
    int d = c->ndim - 1;
    if (d < 0) return 1;
    const int64_t *pad = c->pads[d];
    int64_t left = c->shape[d] - at->index[d], j = pad ? at->index[d] - pad[1] : 0, ahead = 1;
    if (!pad) return left;
    if (j >= 0 && j < c->own[d])
        ahead = c->own[d] - j;
    else if (pad[0] == CB_PAD_CONSTANT)
        ahead = j < 0 ? -j : left;
    return CB_MIN(ahead, left);
}

/* runs [k, stop) of a row; from: NULL for a row of the value */
#define PAD(T, id)                                                                                         \
    static inline void pad_row_##id(const pad_call *c, int k, int stop, T *to, const T *from, T outside) { \
        int64_t inner = c->inner;                                                                          \
        for (; k < stop; k++) {                                                                            \
            const run *r = &c->runs[k];                                                                    \
            T *t = to + r->to;                                                                             \
            const T *f = from && r->from >= 0 ? from + r->from : NULL;                                     \
            int64_t count = r->length * inner, bytes = count * (int64_t)sizeof(T);                         \
            if (f && r->step == 1) {                                                                       \
                cb_copy_bytes((char *)t, (const char *)f, bytes, c->stream);                               \
            } else if (f && inner > 1) {                                                                   \
                for (int64_t i = 0; i < r->length; i++)                                                    \
                    memcpy(t + i * inner, f + i * r->step * inner, (size_t)inner * sizeof(T));             \
            } else if (f && r->step) {                                                                     \
                for (int64_t i = 0; i < count; i++) t[i] = f[-i];                                          \
            } else {                                                                                       \
                T same[64 / sizeof(T)], value = f ? *f : outside;                                          \
                for (int i = 0; i < (int)(64 / sizeof(T)); i++) same[i] = value;                           \
                if (bytes < 64)                                                                            \
                    cb_copy_few((char *)t, (const char *)same, (size_t)bytes);                             \
                else                                                                                       \
                    for (int64_t i = 0; i < count; i++) t[i] = value;                                      \
            }                                                                                              \
        }                                                                                                  \
    }                                                                                                      \
    static void pad_runs_##id(void *context, int64_t begin, int64_t end) {                                 \
        const pad_call *c = context;                                                                       \
        T value, *to = (T *)c->padded + begin / c->nruns * c->large;                                       \
        cursor at;                                                                                         \
        memcpy(&value, c->item, sizeof value);                                                             \
        find_row(c, begin / c->nruns, &at);                                                                \
        for (int k = (int)(begin % c->nruns), stop; begin < end; k = 0) {                                  \
            int64_t row = other_row(c, &at), ahead = rows_ahead(c, &at), i = 0;                            \
            const T *from = row < 0 ? NULL : (const T *)c->other + row * c->small;                         \
            for (; i < ahead && begin < end; i++, begin += stop - k, k = 0, to += c->large) {              \
                stop = (int)CB_MIN(c->nruns, k + end - begin);                                             \
                pad_row_##id(c, k, stop, to, from ? from + i * c->small : NULL, value);                    \
            }                                                                                              \
            if (c->ndim) at.index[c->ndim - 1] += i - 1;                                                   \
            next_row(c, &at);                                                                              \
        }                                                                                                  \
        if (c->stream) cb_stream_end();                                                                    \
    }
PAD(uint8_t, 1)
PAD(uint16_t, 2)
PAD(uint32_t, 4)
PAD(uint64_t, 8)
PAD(item16, 16)

int CB_FN(pad)(cb_tensor *out, const cb_tensor *x, int64_t *const *pads, const cb_scalar *value) {
    pad_call c;
    CB_TRY(call_init(&c, out, x, pads));
    cb_tensor item = {.dtype = out->dtype,
                      .itemsize = out->itemsize,
                      .numel = 1,
                      .flags = CB_FLAG_CONTIGUOUS,
                      .data = c.item};
    c.stream = cb_streams(x->numel * x->itemsize, out->numel * out->itemsize);
    int status = CB_FN(fill)(&item, value);
    void (*body)(void *, int64_t, int64_t) = out->itemsize == 1   ? pad_runs_1
                                             : out->itemsize == 2 ? pad_runs_2
                                             : out->itemsize == 4 ? pad_runs_4
                                             : out->itemsize == 8 ? pad_runs_8
                                                                  : pad_runs_16;
    /* whole rows, or runs of long ones */
    int64_t grain = c.large < WORK ? WORK / c.large * c.nruns : 1;
    if (!status) cb_parallel(c.rows * c.nruns, grain, body, &c);
    cb_free(CB_CPU, c.runs, c.room);
    return status;
}

/* ---- the transpose: what was taken from a place is added to it, in order of the padded rows ---- */

#define PAD_GRAD(T, id)                                                                         \
    static void add_row_##id(const pad_call *c, T *to, const T *from) {                         \
        int64_t inner = c->inner;                                                               \
        for (int k = 0; k < c->nruns; k++) {                                                    \
            const run *r = &c->runs[k];                                                         \
            if (r->step == 1) {                                                                 \
                T *restrict t = to + r->from;                                                   \
                const T *restrict f = from + r->to;                                             \
                for (int64_t i = 0; i < r->length * inner; i++) t[i] += f[i];                   \
            } else {                                                                            \
                for (int64_t i = 0; i < r->length; i++) {                                       \
                    T *restrict t = to + r->from + i * r->step * inner;                         \
                    const T *restrict f = from + r->to + i * inner;                             \
                    for (int64_t j = 0; j < inner; j++) t[j] += f[j];                           \
                }                                                                               \
            }                                                                                   \
        }                                                                                       \
    }                                                                                           \
    static void add_planes_##id(void *context, int64_t begin, int64_t end) {                    \
        const pad_call *c = context;                                                            \
        int64_t rows = c->rows / c->planes;                                                     \
        T *to = (T *)c->other;                                                                  \
        const T *from = (const T *)c->padded + begin * rows * c->large;                         \
        memset(to + begin * c->plane, 0, (size_t)((end - begin) * c->plane) * sizeof(T));       \
        cursor at;                                                                              \
        find_row(c, begin * rows, &at);                                                         \
        for (int64_t i = begin * rows; i < end * rows; i++, from += c->large, next_row(c, &at)) \
            add_row_##id(c, to + other_row(c, &at) * c->small, from);                           \
    }
PAD_GRAD(float, f32)
PAD_GRAD(double, f64)

int CB_FN(pad_grad)(cb_tensor *out, const cb_tensor *ct, int64_t *const *pads) {
    pad_call c;
    CB_TRY(call_init(&c, ct, out, pads));
    if (cb_is_complex(ct->dtype)) { /* pairs of numbers */
        c.inner *= 2, c.large *= 2, c.small *= 2, c.plane *= 2;
        for (int k = 0; k < c.nruns; k++) c.runs[k].to *= 2, c.runs[k].from *= 2;
    }
    int64_t work = c.rows / c.planes * c.large;
    cb_parallel(c.planes, CB_MAX(WORK / work, 1),
                cb_real_dtype(ct->dtype) == CB_F32 ? add_planes_f32 : add_planes_f64, &c);
    cb_free(CB_CPU, c.runs, c.room);
    return CB_OK;
}
