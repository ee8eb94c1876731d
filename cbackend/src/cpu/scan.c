/* Cumulative ops on contiguous tensors: rows when the dim is innermost, else tiles of columns that advance
 * together. float32 sums are carried in double; the carried value never depends on the tile. */
#include "half.h"
#include "reduce.h"
#include "scan_rows.h"
#include "vmath.h"

enum { COLUMNS = 256, WORK = 16384 };

typedef struct scan_run {
    void (*row)(int64_t n, int64_t width, int64_t stride, const void *x, void *out, int64_t *at);
    int itemsize;
    int64_t n, inner, tiles; /* along the dim; behind it; tiles of columns */
    const char *x;
    char *out;
    int64_t *at;
} scan_run;

#define SAME(v) (v)
#define HALF(v) half_to_float(v)
#define BFLOAT(v) bfloat_to_float(v)
#define TO_HALF(v) float_to_half(v)
#define TO_BFLOAT(v) float_to_bfloat(v)
#define ADD(a, b) ((a) + (b))
#define MULTIPLY(a, b) ((a) * (b))

/* `width` neighbouring columns of n items, `stride` apart */
#define SCAN(name, T, CARRY, START, LOAD, STORE, OP)                                              \
    static void scan_##name(int64_t n, int64_t width, int64_t stride, const void *x_, void *out_, \
                            int64_t *at) {                                                        \
        (void)at;                                                                                 \
        const T *x = x_;                                                                          \
        T *out = out_;                                                                            \
        if (width == 1) {                                                                         \
            CARRY value = START;                                                                  \
            for (int64_t i = 0; i < n; i++) {                                                     \
                CARRY item = LOAD(x[i * stride]);                                                 \
                value = OP(value, item);                                                          \
                out[i * stride] = (T)STORE(value);                                                \
            }                                                                                     \
            return;                                                                               \
        }                                                                                         \
        CARRY carry[COLUMNS];                                                                     \
        for (int64_t j = 0; j < width; j++) carry[j] = START;                                     \
        for (int64_t i = 0; i < n; i++, x += stride, out += stride)                               \
            _Pragma("GCC ivdep") for (int64_t j = 0; j < width; j++) {                            \
                CARRY item = LOAD(x[j]);                                                          \
                carry[j] = OP(carry[j], item);                                                    \
                out[j] = (T)STORE(carry[j]);                                                      \
            }                                                                                     \
    }
/* a later equal item takes over, as in PyTorch; so does a later nan */
#define AT_LEAST(a, b) ((a) >= (b))
#define AT_MOST(a, b) ((a) <= (b))
#define EXTREME(name, T, F, LOAD, OVER)                                                           \
    static void scan_##name(int64_t n, int64_t width, int64_t stride, const void *x_, void *out_, \
                            int64_t *at) {                                                        \
        const T *x = x_;                                                                          \
        T *out = out_;                                                                            \
        for (int64_t j = 0; j < width; j++) {                                                     \
            out[j] = x[j];                                                                        \
            at[j] = 0;                                                                            \
        }                                                                                         \
        for (int64_t i = 1; i < n; i++) {                                                         \
            x += stride;                                                                          \
            out += stride;                                                                        \
            at += stride;                                                                         \
            _Pragma("GCC ivdep") for (int64_t j = 0; j < width; j++) {                            \
                F item = LOAD(x[j]), best = LOAD(out[j - stride]);                                \
                bool better = OVER(item, best) | (item != item);                                  \
                out[j] = better ? x[j] : out[j - stride];                                         \
                at[j] = better ? i : at[j - stride];                                              \
            }                                                                                     \
        }                                                                                         \
    }

#define LOG_ADD(a, b) logaddexp_f64(a, b)
#define LOG_ADD_SHORT(a, b) logaddexp_f32(a, b)
#define EXTREMES(id, T, F, LOAD) \
    EXTREME(cummax_##id, T, F, LOAD, AT_LEAST) EXTREME(cummin_##id, T, F, LOAD, AT_MOST)
#define SUMS(id, T, CARRY, LOAD, STORE) \
    SCAN(cumsum_##id, T, CARRY, 0, LOAD, STORE, ADD) SCAN(cumprod_##id, T, CARRY, 1, LOAD, STORE, MULTIPLY)
#define FLOATS(id, T, F, CARRY, LOAD, STORE)                            \
    SUMS(id, T, CARRY, LOAD, STORE)                                     \
    SCAN(logcumsumexp_##id, T, CARRY, -inf_f64(), LOAD, STORE, LOG_ADD) \
    EXTREMES(id, T, F, LOAD)
FLOATS(F16, cb_half, float, double, HALF, TO_HALF)
FLOATS(BF16, cb_bfloat, float, double, BFLOAT, TO_BFLOAT)
FLOATS(F32, float, float, double, SAME, SAME)
FLOATS(F64, double, double, double, SAME, SAME)
SUMS(C64, cb_complex64, cb_complex128, SAME, SAME)
SUMS(C128, cb_complex128, cb_complex128, SAME, SAME)
/* modulo 2^width, so one set a size serves both signs */
SUMS(U8, uint8_t, uint64_t, SAME, SAME)
SUMS(U16, uint16_t, uint64_t, SAME, SAME)
SUMS(U32, uint32_t, uint64_t, SAME, SAME)
SUMS(U64, uint64_t, uint64_t, SAME, SAME)
EXTREMES(U8, uint8_t, uint8_t, SAME)
EXTREMES(I8, int8_t, int8_t, SAME)
EXTREMES(U16, uint16_t, uint16_t, SAME)
EXTREMES(I16, int16_t, int16_t, SAME)
EXTREMES(U32, uint32_t, uint32_t, SAME)
EXTREMES(I32, int32_t, int32_t, SAME)
EXTREMES(U64, uint64_t, uint64_t, SAME)
EXTREMES(I64, int64_t, int64_t, SAME)

#define ROW_FLOAT(id)                                                                           \
    [CB_##id] = {scan_cumsum_##id, scan_cumprod_##id, scan_logcumsumexp_##id, scan_cummax_##id, \
                 scan_cummin_##id}
#define ROW_COMPLEX(id) [CB_##id] = {scan_cumsum_##id, scan_cumprod_##id}
#define ROW_INTEGER(id, bits) \
    [CB_##id] = {scan_cumsum_U##bits, scan_cumprod_U##bits, NULL, scan_cummax_##id, scan_cummin_##id}
static void (*const scans[CB_DTYPE_COUNT][CB_SCAN_COUNT])(int64_t, int64_t, int64_t, const void *, void *,
                                                          int64_t *) = {
    [CB_BOOL] = {NULL, NULL, NULL, scan_cummax_U8, scan_cummin_U8},
    /* clang-format off */
    ROW_INTEGER(U8, 8), ROW_INTEGER(I8, 8), ROW_INTEGER(U16, 16), ROW_INTEGER(I16, 16),
    ROW_INTEGER(U32, 32), ROW_INTEGER(I32, 32), ROW_INTEGER(U64, 64), ROW_INTEGER(I64, 64),
    ROW_FLOAT(F16), ROW_FLOAT(BF16), ROW_FLOAT(F32), ROW_FLOAT(F64), ROW_COMPLEX(C64), ROW_COMPLEX(C128),
    /* clang-format on */
};

static void run_tiles(void *context, int64_t begin, int64_t end) {
    const scan_run *s = context;
    for (int64_t t = begin; t < end; t++) {
        int64_t column = t % s->tiles * COLUMNS, offset = t / s->tiles * s->n * s->inner + column;
        s->row(s->n, CB_MIN(COLUMNS, s->inner - column), s->inner, s->x + offset * s->itemsize,
               s->out + offset * s->itemsize, s->at ? s->at + offset : NULL);
    }
}

int CB_FN(scan)(int op, const cb_tensor *x, int dim, cb_tensor *const *out) {
    scan_run s = {.row = scans[x->dtype][op],
                  .itemsize = x->itemsize,
                  .n = 1,
                  .inner = 1,
                  .x = x->data,
                  .out = out[0]->data,
                  .at = out[1] ? out[1]->data : NULL};
    if (!s.row)
        return cb_fail(CB_ERR_UNSUPPORTED, "%s: no kernel for %s.", cb_scan_names[op],
                       cb_dtypes[x->dtype].name);
    int64_t outer = 1;
    for (int d = 0; d < x->ndim; d++) *(d < dim ? &outer : d == dim ? &s.n : &s.inner) *= x->shape[d];
    row_sums sums = row_sums_of(x->dtype);
    if (op == CB_SCAN_cumsum && s.inner == 1 && sums.write) {
        sums.itemsize = s.itemsize;
        sums.n = s.n;
        sums.x = s.x;
        sums.out = s.out;
        return sum_rows(&sums, outer);
    }
    s.tiles = (s.inner + COLUMNS - 1) / COLUMNS;
    int64_t work = s.n * CB_MIN(COLUMNS, s.inner);
    cb_parallel(outer * s.tiles, CB_MAX(1, WORK / work), run_tiles, &s);
    return CB_OK;
}

/* ---- linear recurrences: y = a y' + b, where y' is the item before ---- */

enum { TOGETHER = 8 }; /* rows side by side, since each step of one waits for the last */

typedef struct recurrence_run {
    void (*lines)(int64_t n, int64_t width, int64_t line, int64_t step, const void *a, const void *b,
                  void *out);
    int itemsize;
    int64_t n, inner, width, tiles; /* along the dim; behind it; lines a tile; tiles of columns */
    int64_t rows;
    bool transposed;
    const char *a, *b;
    char *out;
} recurrence_run;

/* `width` lines, `line` apart, of n items, `step` apart; b and out at their first items, a at the factor of the
 * second ones */
#define RECURRENCE(id, T, CARRY, LOAD, STORE)                                                               \
    CB_INLINE void recur_##id(int64_t n, int64_t width, int64_t line, int64_t step, const T *a, const T *b, \
                              T *out) {                                                                     \
        CARRY carry[COLUMNS];                                                                               \
        for (int64_t j = 0; j < width; j++) {                                                               \
            carry[j] = LOAD(b[j * line]);                                                                   \
            out[j * line] = b[j * line];                                                                    \
        }                                                                                                   \
        for (int64_t i = 1; i < n; i++, a += step) {                                                        \
            b += step;                                                                                      \
            out += step;                                                                                    \
            _Pragma("GCC ivdep") for (int64_t j = 0; j < width; j++) {                                      \
                carry[j] = (CARRY)LOAD(a[j * line]) * carry[j] + (CARRY)LOAD(b[j * line]);                  \
                out[j * line] = (T)STORE(carry[j]);                                                         \
            }                                                                                               \
        }                                                                                                   \
    }                                                                                                       \
    static void recurrence_##id(int64_t n, int64_t width, int64_t line, int64_t step, const void *a_,       \
                                const void *b_, void *out_) {                                               \
        const T *a = a_, *b = b_;                                                                           \
        T *out = out_;                                                                                      \
        if (line == 1)                                                                                      \
            recur_##id(n, width, 1, step, a, b, out);                                                       \
        else if (width == TOGETHER)                                                                         \
            recur_##id(n, TOGETHER, line, step, a, b, out);                                                 \
        else                                                                                                \
            for (int64_t j = 0; j < width * line; j += line)                                                \
                recur_##id(n, 1, line, step, a + j, b + j, out + j);                                        \
    }
RECURRENCE(F16, cb_half, double, HALF, TO_HALF)
RECURRENCE(BF16, cb_bfloat, double, BFLOAT, TO_BFLOAT)
RECURRENCE(F32, float, double, SAME, SAME)
RECURRENCE(F64, double, double, SAME, SAME)
RECURRENCE(C64, cb_complex64, cb_complex128, SAME, SAME)
RECURRENCE(C128, cb_complex128, cb_complex128, SAME, SAME)

static void run_lines(void *context, int64_t begin, int64_t end) {
    const recurrence_run *s = context;
    bool rows = s->inner == 1;
    int64_t step = s->transposed ? -s->inner : s->inner, last = (s->n - 1) * s->inner;
    for (int64_t t = begin; t < end; t++) {
        int64_t at = t % s->tiles * s->width, first = rows ? at * s->n : t / s->tiles * s->n * s->inner + at;
        int64_t lines = CB_MIN(s->width, (rows ? s->rows : s->inner) - at);
        if (s->transposed) first += last;
        int64_t factor = s->transposed || s->n == 1 ? first : first + step;
        s->lines(s->n, lines, rows ? s->n : 1, step, s->a + factor * s->itemsize, s->b + first * s->itemsize,
                 s->out + first * s->itemsize);
    }
}

int CB_FN(recurrence)(const cb_tensor *a, const cb_tensor *b, int dim, int transposed, cb_tensor *out) {
    static void (*const kernels[CB_DTYPE_COUNT])(int64_t, int64_t, int64_t, int64_t, const void *, const void *,
                                                 void *) = {
        [CB_F16] = recurrence_F16, [CB_BF16] = recurrence_BF16, [CB_F32] = recurrence_F32,
        [CB_F64] = recurrence_F64, [CB_C64] = recurrence_C64,   [CB_C128] = recurrence_C128,
    };
    recurrence_run s = {.lines = kernels[b->dtype],
                        .itemsize = b->itemsize,
                        .n = 1,
                        .inner = 1,
                        .rows = 1,
                        .transposed = transposed,
                        .a = a->data,
                        .b = b->data,
                        .out = out->data};
    for (int d = 0; d < b->ndim; d++) *(d < dim ? &s.rows : d == dim ? &s.n : &s.inner) *= b->shape[d];
    bool rows = s.inner == 1;
    s.width = rows ? TOGETHER : COLUMNS;
    s.tiles = ((rows ? s.rows : s.inner) + s.width - 1) / s.width;
    cb_parallel(rows ? s.tiles : s.rows * s.tiles, CB_MAX(1, WORK / (s.n * s.width)), run_lines, &s);
    return CB_OK;
}
