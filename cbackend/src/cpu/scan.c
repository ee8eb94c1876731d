/* Cumulative ops and linear recurrences on contiguous tensors: tiles of columns, or of rows where the dim is
 * innermost, advance together. float32 sums are carried in double; the carried value never depends on the
 * tile. */
#include "half.h"
#include "reduce.h"
#include "scan_rows.h"
#include "vmath.h"

/* TOGETHER rows advance side by side too, since each step waits for the one before */
enum { COLUMNS = 256, TOGETHER = 8, WORK = 16384 };

/* Lines of n items `step` apart; of a tile of them, neighbours are `line` apart. */
typedef struct scan_run {
    void (*lines)(int64_t n, int64_t width, int64_t line, int64_t step, const void *x, void *out,
                  int64_t *at);
    void (*recur)(int64_t n, int64_t width, int64_t line, int64_t step, const void *a, const void *b,
                  void *out);
    int itemsize;
    int64_t outer, n, inner; /* before the dim, along it, behind it */
    int64_t width, tiles;    /* lines a tile; tiles in all, or of columns behind the dim */
    bool transposed;
    const char *x, *factors;
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

/* The lines of a tile by loops of a known width, for columns and for rows; operands follow, from item j on.
 */
#define BY_LINES(lines, ...)                                                                   \
    if (line == 1) {                                                                           \
        enum { j = 0 };                                                                        \
        lines(n, width, 1, step, __VA_ARGS__);                                                 \
    } else if (width == TOGETHER) {                                                            \
        enum { j = 0 };                                                                        \
        lines(n, TOGETHER, line, step, __VA_ARGS__);                                           \
    } else {                                                                                   \
        for (int64_t j = 0; j < width * line; j += line) lines(n, 1, line, step, __VA_ARGS__); \
    }

#define SCAN(name, T, CARRY, START, LOAD, STORE, OP)                                                        \
    CB_INLINE void lines_##name(int64_t n, int64_t width, int64_t line, int64_t step, const T *x, T *out) { \
        CARRY carry[COLUMNS];                                                                               \
        for (int64_t j = 0; j < width; j++) carry[j] = START;                                               \
        for (int64_t i = 0; i < n; i++, x += step, out += step)                                             \
            _Pragma("GCC ivdep") for (int64_t j = 0; j < width; j++) {                                      \
                CARRY item = LOAD(x[j * line]);                                                             \
                carry[j] = OP(carry[j], item);                                                              \
                out[j * line] = (T)STORE(carry[j]);                                                         \
            }                                                                                               \
    }                                                                                                       \
    static void scan_##name(int64_t n, int64_t width, int64_t line, int64_t step, const void *x_,           \
                            void *out_, int64_t *at) {                                                      \
        const T *x = x_;                                                                                    \
        T *out = out_;                                                                                      \
        (void)at;                                                                                           \
        BY_LINES(lines_##name, x + j, out + j)                                                              \
    }
/* a later equal item takes over, as in PyTorch; so does a later nan */
#define AT_LEAST(a, b) ((a) >= (b))
#define AT_MOST(a, b) ((a) <= (b))
#define EXTREME(name, T, F, LOAD, OVER)                                                                   \
    CB_INLINE void lines_##name(int64_t n, int64_t width, int64_t line, int64_t step, const T *x, T *out, \
                                int64_t *at) {                                                            \
        T best[COLUMNS];                                                                                  \
        int64_t place[COLUMNS];                                                                           \
        for (int64_t j = 0; j < width; j++) {                                                             \
            best[j] = x[j * line];                                                                        \
            place[j] = 0;                                                                                 \
        }                                                                                                 \
        for (int64_t i = 0; i < n; i++, x += step, out += step, at += step)                               \
            _Pragma("GCC ivdep") for (int64_t j = 0; j < width; j++) {                                    \
                F item = LOAD(x[j * line]), most = LOAD(best[j]);                                         \
                bool better = OVER(item, most) | (item != item);                                          \
                best[j] = better ? x[j * line] : best[j];                                                 \
                place[j] = better ? i : place[j];                                                         \
                out[j * line] = best[j];                                                                  \
                at[j * line] = place[j];                                                                  \
            }                                                                                             \
    }                                                                                                     \
    static void scan_##name(int64_t n, int64_t width, int64_t line, int64_t step, const void *x_,         \
                            void *out_, int64_t *at) {                                                    \
        const T *x = x_;                                                                                  \
        T *out = out_;                                                                                    \
        BY_LINES(lines_##name, x + j, out + j, at + j)                                                    \
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
static void (*const scans[CB_DTYPE_COUNT][CB_SCAN_COUNT])(int64_t, int64_t, int64_t, int64_t, const void *,
                                                          void *, int64_t *) = {
    [CB_BOOL] = {NULL, NULL, NULL, scan_cummax_U8, scan_cummin_U8},
    /* clang-format off */
    ROW_INTEGER(U8, 8), ROW_INTEGER(I8, 8), ROW_INTEGER(U16, 16), ROW_INTEGER(I16, 16),
    ROW_INTEGER(U32, 32), ROW_INTEGER(I32, 32), ROW_INTEGER(U64, 64), ROW_INTEGER(I64, 64),
    ROW_FLOAT(F16), ROW_FLOAT(BF16), ROW_FLOAT(F32), ROW_FLOAT(F64), ROW_COMPLEX(C64), ROW_COMPLEX(C128),
    /* clang-format on */
};

/* y = a y' + b, where y' is the item before; x is b, and a begins at the factor of the second items */
#define RECURRENCE(id, T, CARRY, LOAD, STORE)                                                               \
    CB_INLINE void recur_##id(int64_t n, int64_t width, int64_t line, int64_t step, const T *a, const T *x, \
                              T *out) {                                                                     \
        CARRY carry[COLUMNS];                                                                               \
        for (int64_t j = 0; j < width; j++) {                                                               \
            carry[j] = LOAD(x[j * line]);                                                                   \
            out[j * line] = x[j * line];                                                                    \
        }                                                                                                   \
        for (int64_t i = 1; i < n; i++, a += step) {                                                        \
            x += step;                                                                                      \
            out += step;                                                                                    \
            _Pragma("GCC ivdep") for (int64_t j = 0; j < width; j++) {                                      \
                carry[j] = (CARRY)LOAD(a[j * line]) * carry[j] + (CARRY)LOAD(x[j * line]);                  \
                out[j * line] = (T)STORE(carry[j]);                                                         \
            }                                                                                               \
        }                                                                                                   \
    }                                                                                                       \
    static void recurrence_##id(int64_t n, int64_t width, int64_t line, int64_t step, const void *a_,       \
                                const void *x_, void *out_) {                                               \
        const T *a = a_, *x = x_;                                                                           \
        T *out = out_;                                                                                      \
        BY_LINES(recur_##id, a + j, x + j, out + j)                                                         \
    }
RECURRENCE(F16, cb_half, double, HALF, TO_HALF)
RECURRENCE(BF16, cb_bfloat, double, BFLOAT, TO_BFLOAT)
RECURRENCE(F32, float, double, SAME, SAME)
RECURRENCE(F64, double, double, SAME, SAME)
RECURRENCE(C64, cb_complex64, cb_complex128, SAME, SAME)
RECURRENCE(C128, cb_complex128, cb_complex128, SAME, SAME)

static void run_tiles(void *context, int64_t begin, int64_t end) {
    const scan_run *s = context;
    bool rows = s->inner == 1;
    int64_t line = rows ? s->n : 1, step = s->transposed ? -s->inner : s->inner;
    for (int64_t t = begin; t < end; t++) {
        int64_t at = t % s->tiles * s->width, width = CB_MIN(s->width, (rows ? s->outer : s->inner) - at);
        int64_t first = rows ? at * s->n : t / s->tiles * s->n * s->inner + at;
        if (s->transposed) first += (s->n - 1) * s->inner;
        const char *x = s->x + first * s->itemsize;
        char *out = s->out + first * s->itemsize;
        if (s->recur)
            s->recur(s->n, width, line, step, s->factors + (first + (s->transposed ? 0 : step)) * s->itemsize,
                     x, out);
        else
            s->lines(s->n, width, line, step, x, out, s->at ? s->at + first : NULL);
    }
}

static scan_run scan_of(const cb_tensor *x, int dim, cb_tensor *out) {
    scan_run s = {.itemsize = x->itemsize, .outer = 1, .n = 1, .inner = 1, .x = x->data, .out = out->data};
    for (int d = 0; d < x->ndim; d++) *(d < dim ? &s.outer : d == dim ? &s.n : &s.inner) *= x->shape[d];
    return s;
}

static int run_scan(scan_run *s) {
    bool rows = s->inner == 1;
    s->width = rows ? TOGETHER : COLUMNS;
    s->tiles = ((rows ? s->outer : s->inner) + s->width - 1) / s->width;
    int64_t work = s->n * CB_MIN(s->width, rows ? s->outer : s->inner);
    cb_parallel(rows ? s->tiles : s->outer * s->tiles, CB_MAX(1, WORK / work), run_tiles, s);
    return CB_OK;
}

int CB_FN(scan)(int op, const cb_tensor *x, int dim, cb_tensor *const *out) {
    scan_run s = scan_of(x, dim, out[0]);
    s.lines = scans[x->dtype][op];
    s.at = out[1] ? out[1]->data : NULL;
    if (!s.lines)
        return cb_fail(CB_ERR_UNSUPPORTED, "%s: no kernel for %s.", cb_scan_names[op],
                       cb_dtypes[x->dtype].name);
    row_sums sums = row_sums_of(x->dtype);
    if (op == CB_SCAN_cumsum && s.inner == 1 && sums.write) {
        sums.itemsize = s.itemsize;
        sums.n = s.n;
        sums.x = s.x;
        sums.out = s.out;
        return sum_rows(&sums, s.outer);
    }
    return run_scan(&s);
}

int CB_FN(recurrence)(const cb_tensor *a, const cb_tensor *b, int dim, int transposed, cb_tensor *out) {
    static void (*const kernels[CB_DTYPE_COUNT])(int64_t, int64_t, int64_t, int64_t, const void *,
                                                 const void *, void *) = {
        [CB_F16] = recurrence_F16, [CB_BF16] = recurrence_BF16, [CB_F32] = recurrence_F32,
        [CB_F64] = recurrence_F64, [CB_C64] = recurrence_C64,   [CB_C128] = recurrence_C128,
    };
    scan_run s = scan_of(b, dim, out);
    s.recur = kernels[b->dtype];
    s.transposed = transposed;
    s.factors = a->data;
    return run_scan(&s);
}
