/* Pooling on the CPU. One output row at a time: for each row of the window and each tap in it, the outputs
 * whose tap falls inside the input form a range, so that inner loops run over outputs without checks and
 * vectorise.
 *
 * Maxima follow torch: the first of equal values wins, a NaN beats everything and the last NaN wins. */
#include "cpu.h"

enum {
    CHUNK = 256,
    WORK = 32768
}; /* outputs of a row handled at a time; elements visited per parallel piece */

typedef struct pool_run {
    const cb_pool_shape *s;
    void *out;
    int64_t *indices;
    const void *in;
} pool_run;

static inline int64_t size3(const int64_t v[3]) { return v[0] * v[1] * v[2]; }

/* outputs [*begin, *end) of [first, first + count) whose tap lies inside the input, in dimension d */
static inline void inside(const cb_pool_shape *s, int d, int64_t tap, int64_t first, int64_t count,
                          int64_t *begin, int64_t *end) {
    int64_t shift = s->padding[d] - tap * s->dilation[d], step = s->stride[d], last = s->in[d] - 1 + shift;
    int64_t low = shift > 0 ? (shift + step - 1) / step : 0, high = last < 0 ? 0 : last / step + 1;
    *begin = CB_MAX(low, first) - first;
    *end = CB_MIN(high, first + count) - first;
}

/* The first tap of the window at output o that lies inside the input. With dilation and padding all may lie
 * outside: the value is then the lowest one, and the index is kept inside the plane. */
static inline int64_t first_tap(const cb_pool_shape *s, int d, int64_t o) {
    int64_t start = o * s->stride[d] - s->padding[d];
    if (start < 0) start += (-start + s->dilation[d] - 1) / s->dilation[d] * s->dilation[d];
    return CB_MIN(start, s->in[d] - 1);
}

static inline int64_t first_place(const cb_pool_shape *s, int64_t row, int64_t x) {
    int64_t z = row / s->out[1] % s->out[0], y = row % s->out[1];
    return (first_tap(s, 0, z) * s->in[1] + first_tap(s, 1, y)) * s->in[2] + first_tap(s, 2, x);
}

/* The loops over the chunk's window rows: ROW(input_row) runs with j0..j1 valid outputs and tap k2's first
 * input x. */
#define FOR_TAPS(s, z, y, x0, count, ...)                                                            \
    for (int64_t k0 = 0; k0 < (s)->kernel[0]; k0++) {                                                \
        int64_t iz = (z) * (s)->stride[0] - (s)->padding[0] + k0 * (s)->dilation[0];                 \
        if (iz < 0 || iz >= (s)->in[0]) continue;                                                    \
        for (int64_t k1 = 0; k1 < (s)->kernel[1]; k1++) {                                            \
            int64_t iy = (y) * (s)->stride[1] - (s)->padding[1] + k1 * (s)->dilation[1];             \
            if (iy < 0 || iy >= (s)->in[1]) continue;                                                \
            for (int64_t k2 = 0; k2 < (s)->kernel[2]; k2++) {                                        \
                int64_t j0, j1, step = (s)->stride[2];                                               \
                inside(s, 2, k2, x0, count, &j0, &j1);                                               \
                /* input of output j: base + j * step */                                             \
                int64_t base = (iz * (s)->in[1] + iy) * (s)->in[2] + (x0) * step - (s)->padding[2] + \
                               k2 * (s)->dilation[2];                                                \
                __VA_ARGS__                                                                          \
            }                                                                                        \
        }                                                                                            \
    }

#define MAX_POOL(name, type, lowest, nan)                                                                    \
    static void max_##name(void *context, int64_t begin, int64_t end) {                                      \
        const pool_run *r = context;                                                                         \
        const cb_pool_shape *s = r->s;                                                                       \
        int64_t rows = s->out[0] * s->out[1], in = size3(s->in);                                             \
        type best[CHUNK];                                                                                    \
        int32_t where[CHUNK];                                                                                \
        for (int64_t item = begin; item < end; item++) {                                                     \
            int64_t plane = item / rows, z = item % rows / s->out[1], y = item % s->out[1];                  \
            const type *x_ = (const type *)r->in + plane * in;                                               \
            for (int64_t x0 = 0; x0 < s->out[2]; x0 += CHUNK) {                                              \
                int64_t count = CB_MIN(CHUNK, s->out[2] - x0);                                               \
                for (int64_t j = 0; j < count; j++) best[j] = lowest;                                        \
                if (!r->indices) {                                                                           \
                    FOR_TAPS(s, z, y, x0, count, {                                                           \
                        if (step == 1)                                                                       \
                            for (int64_t j = j0; j < j1; j++) {                                              \
                                type v = x_[base + j];                                                       \
                                best[j] = (v > best[j]) | (nan) ? v : best[j];                               \
                            }                                                                                \
                        else if (step == 2)                                                                  \
                            for (int64_t j = j0; j < j1; j++) {                                              \
                                type v = x_[base + 2 * j];                                                   \
                                best[j] = (v > best[j]) | (nan) ? v : best[j];                               \
                            }                                                                                \
                        else                                                                                 \
                            for (int64_t j = j0; j < j1; j++) {                                              \
                                type v = x_[base + j * step];                                                \
                                best[j] = (v > best[j]) | (nan) ? v : best[j];                               \
                            }                                                                                \
                    })                                                                                       \
                } else {                                                                                     \
                    int64_t row = (first_tap(s, 0, z) * s->in[1] + first_tap(s, 1, y)) * s->in[2];           \
                    for (int64_t j = 0; j < count; j++) where[j] = (int32_t)(row + first_tap(s, 2, x0 + j)); \
                    FOR_TAPS(s, z, y, x0, count, {                                                           \
                        int32_t at = (int32_t)base, hop = (int32_t)step;                                     \
                        for (int32_t j = (int32_t)j0; j < (int32_t)j1; j++) {                                \
                            type v = x_[at + j * hop];                                                       \
                            bool better = (v > best[j]) | (nan);                                             \
                            best[j] = better ? v : best[j];                                                  \
                            where[j] = better ? at + j * hop : where[j];                                     \
                        }                                                                                    \
                    })                                                                                       \
                    int64_t *to = r->indices + item * s->out[2] + x0;                                        \
                    for (int64_t j = 0; j < count; j++) to[j] = where[j];                                    \
                }                                                                                            \
                memcpy((type *)r->out + item * s->out[2] + x0, best, (size_t)count * sizeof *best);          \
            }                                                                                                \
        }                                                                                                    \
    }

/* Maxima of windows of several rows: first of each of their columns, reading rows as they lie, then of the
 * columns of each window. Places decide between equal numbers, so neither order matters. Rows of results are
 * taken together, `slots` results apart, while their columns fit. */
enum { COLUMNS = 1024, LANES = 16, NOWHERE = INT32_MAX };

static bool by_columns(const cb_pool_shape *s) {
    return (s->dtype == CB_F32 || s->dtype == CB_F64) && s->kernel[0] * s->kernel[1] > 1 &&
           (s->kernel[2] - 1) * s->dilation[2] < COLUMNS / 2 && s->stride[2] <= COLUMNS / 2;
}

#define MAX_COLUMNS(name, type, lowest, nan)                                                                \
    CB_INLINE void larger_##name(int32_t n, int32_t at, const type *x, type *column, int32_t *place) {      \
        for (int32_t i = 0; i < n; i++) {                                                                   \
            type v = x[i];                                                                                  \
            bool better = (v > column[i]) | (nan);                                                          \
            column[i] = better ? v : column[i];                                                             \
            place[i] = better ? at + i : place[i];                                                          \
        }                                                                                                   \
    }                                                                                                       \
    /* For the windows of row `item` of results, whose columns are n and begin at one of the input. */      \
    static void columns_##name(const pool_run *r, int64_t item, int64_t at, int64_t n, type *column,        \
                               int32_t *place) {                                                            \
        const cb_pool_shape *s = r->s;                                                                      \
        int64_t rows = s->out[0] * s->out[1], z = item % rows / s->out[1] * s->stride[0] - s->padding[0],   \
                y = item % s->out[1] * s->stride[1] - s->padding[1], begin = CB_MAX(0, -at),                \
                end = CB_MIN(n, s->in[2] - at);                                                             \
        const type *x = (const type *)r->in + item / rows * size3(s->in);                                   \
        for (int64_t i = 0; i < n; i++) column[i] = lowest, place[i] = NOWHERE;                             \
        for (int64_t iz = z; iz < z + s->kernel[0] * s->dilation[0]; iz += s->dilation[0])                  \
            for (int64_t iy = y; iy < y + s->kernel[1] * s->dilation[1]; iy += s->dilation[1]) {            \
                if (iz < 0 || iz >= s->in[0] || iy < 0 || iy >= s->in[1]) continue;                         \
                int64_t row = (iz * s->in[1] + iy) * s->in[2] + at;                                         \
                for (int64_t i = begin; i < end; i += LANES) { /* the last ones may overlap those before */ \
                    if (end - begin >= LANES) i = CB_MIN(i, end - LANES);                                   \
                    if (end - i >= LANES)                                                                   \
                        larger_##name(LANES, (int32_t)(row + i), x + row + i, column + i, place + i);       \
                    else                                                                                    \
                        larger_##name((int32_t)(end - i), (int32_t)(row + i), x + row + i, column + i,      \
                                      place + i);                                                           \
                }                                                                                           \
            }                                                                                               \
    }                                                                                                       \
    CB_INLINE void windows_##name(int32_t n, int32_t step, const type *column, const int32_t *place,        \
                                  type *best, int32_t *where) {                                             \
        for (int32_t j = 0; j < n; j++) {                                                                   \
            type v = column[j * step], top = best[j];                                                       \
            int32_t at = place[j * step];                                                                   \
            bool better =                                                                                   \
                (v > top) | ((v == top) & (at < where[j])) | ((nan) & ((top == top) | (at > where[j])));    \
            best[j] = better ? v : top;                                                                     \
            where[j] = better ? at : where[j];                                                              \
        }                                                                                                   \
    }                                                                                                       \
    static void max_columns_##name(void *context, int64_t begin, int64_t end) {                             \
        const pool_run *r = context;                                                                        \
        const cb_pool_shape *s = r->s;                                                                      \
        type column[COLUMNS], best[COLUMNS];                                                                \
        int32_t place[COLUMNS], where[COLUMNS];                                                             \
        int64_t step = s->stride[2], hop = s->dilation[2], span = (s->kernel[2] - 1) * hop + 1,             \
                most = CB_MIN(s->out[2], (COLUMNS - span) / step + 1),                                      \
                slots = (span + step - 1) / step + most - 1,                                                \
                group = most == s->out[2] ? CB_MAX(1, COLUMNS / (slots * step)) : 1;                        \
        for (int64_t item = begin; item < end; item += group) {                                             \
            int64_t rows = CB_MIN(group, end - item);                                                       \
            for (int64_t x0 = 0; x0 < s->out[2]; x0 += most) {                                              \
                int64_t count = CB_MIN(most, s->out[2] - x0), all = (rows - 1) * slots + count;             \
                for (int64_t i = 0; i < rows; i++)                                                          \
                    columns_##name(r, item + i, x0 * step - s->padding[2], (count - 1) * step + span,       \
                                   column + i * slots * step, place + i * slots * step);                    \
                for (int64_t j = 0; j < all; j++) best[j] = lowest, where[j] = NOWHERE;                     \
                for (int64_t t = 0; t < span; t += hop)                                                     \
                    if (step == 1)                                                                          \
                        windows_##name((int32_t)all, 1, column + t, place + t, best, where);                \
                    else if (step == 2)                                                                     \
                        windows_##name((int32_t)all, 2, column + t, place + t, best, where);                \
                    else                                                                                    \
                        windows_##name((int32_t)all, (int32_t)step, column + t, place + t, best, where);    \
                for (int64_t i = 0; i < rows; i++) {                                                        \
                    int64_t to = (item + i) * s->out[2] + x0;                                               \
                    memcpy((type *)r->out + to, best + i * slots, (size_t)count * sizeof *best);            \
                    for (int64_t j = 0; j < count && r->indices; j++) {                                     \
                        int32_t at = where[i * slots + j];                                                  \
                        r->indices[to + j] = at == NOWHERE ? first_place(s, item + i, x0 + j) : at;         \
                    }                                                                                       \
                }                                                                                           \
            }                                                                                               \
        }                                                                                                   \
    }

MAX_POOL(u8, uint8_t, 0, 0)
MAX_POOL(i8, int8_t, INT8_MIN, 0)
MAX_POOL(u16, uint16_t, 0, 0)
MAX_POOL(i16, int16_t, INT16_MIN, 0)
MAX_POOL(u32, uint32_t, 0, 0)
MAX_POOL(i32, int32_t, INT32_MIN, 0)
MAX_POOL(u64, uint64_t, 0, 0)
MAX_POOL(i64, int64_t, INT64_MIN, 0)
MAX_POOL(f32, float, -__builtin_inff(), (v != v))
MAX_POOL(f64, double, -__builtin_inf(), (v != v))
MAX_COLUMNS(f32, float, -__builtin_inff(), (v != v))
MAX_COLUMNS(f64, double, -__builtin_inf(), (v != v))

/* ---- the common 2 x 2 windows of stride 2 in float32: eight outputs from two rows of sixteen inputs ---- */

typedef float vec8 __attribute__((vector_size(32)));
typedef float vec8u __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t mask8 __attribute__((vector_size(32)));
typedef int64_t wide8 __attribute__((vector_size(64)));
typedef int64_t wide8u __attribute__((vector_size(64), aligned(8), may_alias));

/* best = v where v is greater or NaN; the same choice for the positions */
CB_INLINE void take(vec8 *best, mask8 *where, vec8 v, mask8 position) {
    mask8 better = (v > *best) | (v != v);
    *best = (vec8)((better & (mask8)v) | (~better & (mask8)*best));
    *where = (better & position) | (~better & *where);
}

CB_INLINE void window8(const float *top, int64_t pitch, int32_t first, int32_t row, float *out,
                       int64_t *indices) {
    vec8 a = *(const vec8u *)top, b = *(const vec8u *)(top + 8);
    vec8 c = *(const vec8u *)(top + pitch), d = *(const vec8u *)(top + pitch + 8);
    mask8 at = (mask8){0, 2, 4, 6, 8, 10, 12, 14} + first;
    vec8 best = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
    mask8 where = at;
    take(&best, &where, __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15), at + 1);
    take(&best, &where, __builtin_shufflevector(c, d, 0, 2, 4, 6, 8, 10, 12, 14), at + row);
    take(&best, &where, __builtin_shufflevector(c, d, 1, 3, 5, 7, 9, 11, 13, 15), at + row + 1);
    *(vec8u *)out = best;
    if (indices) *(wide8u *)indices = __builtin_convertvector(where, wide8);
}

CB_INLINE void rows_2x2(const pool_run *r, bool indexed, int64_t begin, int64_t end) {
    const cb_pool_shape *s = r->s;
    int64_t pitch = s->in[2], n = s->out[2], y = begin % s->out[1], plane = begin / s->out[1];
    for (int64_t item = begin; item < end; item++) {
        const float *top = (const float *)r->in + (plane * s->in[1] + 2 * y) * pitch;
        float *out = (float *)r->out + item * n;
        int64_t *indices = indexed ? r->indices + item * n : NULL;
        int32_t first = (int32_t)(2 * y * pitch), row = (int32_t)pitch;
        if (n >= 8) { /* the last eight overlap the ones before */
            for (int64_t j = 0; j + 8 < n; j += 8)
                window8(top + 2 * j, pitch, first + 2 * (int32_t)j, row, out + j,
                        indexed ? indices + j : NULL);
            int64_t j = n - 8;
            window8(top + 2 * j, pitch, first + 2 * (int32_t)j, row, out + j, indexed ? indices + j : NULL);
        } else {
            for (int64_t j = 0; j < n; j++) {
                float best = top[2 * j];
                int32_t at = first + 2 * (int32_t)j, where = at;
                for (int t = 1; t < 4; t++) {
                    float v = top[2 * j + (t & 1) + (t >> 1) * pitch];
                    if (v > best || v != v) {
                        best = v;
                        where = at + (t & 1) + (t >> 1) * row;
                    }
                }
                out[j] = best;
                if (indexed) indices[j] = where;
            }
        }
        if (++y == s->out[1]) y = 0, plane++;
    }
}
static void max_2x2(void *context, int64_t begin, int64_t end) { rows_2x2(context, false, begin, end); }
static void max_2x2_indexed(void *context, int64_t begin, int64_t end) {
    rows_2x2(context, true, begin, end);
}

static bool is_2x2(const cb_pool_shape *s) {
    for (int d = 0; d < 3; d++) {
        int64_t size = d ? 2 : 1;
        if (s->kernel[d] != size || s->stride[d] != size || s->padding[d] || s->dilation[d] != 1)
            return false;
        if (s->out[d] * size > s->in[d]) return false; /* ceil_mode: a window reaches over the edge */
    }
    return s->in[0] == 1 && s->dtype == CB_F32;
}

static int64_t row_grain(const cb_pool_shape *s) { return CB_MAX(1, WORK / (s->out[2] * size3(s->kernel))); }

int CB_FN(max_pool)(const cb_pool_shape *s, void *y, int64_t *indices, const void *x) {
    pool_run r = {s, y, indices, x};
    if (is_2x2(s)) {
        cb_parallel(s->planes * s->out[1], CB_MAX(1, WORK / (4 * s->out[2])),
                    indices ? max_2x2_indexed : max_2x2, &r);
        return CB_OK;
    }
    bool columns = by_columns(s);
    void (*body)(void *, int64_t, int64_t);
    switch (s->dtype) {
        case CB_U8: body = max_u8; break;
        case CB_I8: body = max_i8; break;
        case CB_U16: body = max_u16; break;
        case CB_I16: body = max_i16; break;
        case CB_U32: body = max_u32; break;
        case CB_I32: body = max_i32; break;
        case CB_U64: body = max_u64; break;
        case CB_I64: body = max_i64; break;
        case CB_F32: body = columns ? max_columns_f32 : max_f32; break;
        default: body = columns ? max_columns_f64 : max_f64;
    }
    cb_parallel(s->planes * s->out[0] * s->out[1], row_grain(s), body, &r);
    return CB_OK;
}

/* ---- averages ---- */

/* how many input positions the divisor counts for output o of dimension d */
static inline int64_t counted(const cb_pool_shape *s, int d, int64_t o) {
    int64_t start = o * s->stride[d] - s->padding[d],
            end = CB_MIN(start + s->kernel[d], s->in[d] + s->padding[d]);
    return s->count_padding ? end - start : CB_MIN(end, s->in[d]) - CB_MAX(start, 0);
}

#define AVG_POOL(name, type)                                                                             \
    static void divisors_##name(const cb_pool_shape *s, int64_t z, int64_t y, int64_t x0, int64_t count, \
                                type *out) {                                                             \
        int64_t rows = counted(s, 0, z) * counted(s, 1, y);                                              \
        for (int64_t j = 0; j < count; j++)                                                              \
            out[j] = (type)(s->divisor_override ? s->divisor_override : rows * counted(s, 2, x0 + j));   \
    }                                                                                                    \
    static void avg_##name(void *context, int64_t begin, int64_t end) {                                  \
        const pool_run *r = context;                                                                     \
        const cb_pool_shape *s = r->s;                                                                   \
        int64_t rows = s->out[0] * s->out[1], in = size3(s->in);                                         \
        type sum[CHUNK], divisor[CHUNK];                                                                 \
        for (int64_t item = begin; item < end; item++) {                                                 \
            int64_t plane = item / rows, z = item % rows / s->out[1], y = item % s->out[1];              \
            const type *x_ = (const type *)r->in + plane * in;                                           \
            for (int64_t x0 = 0; x0 < s->out[2]; x0 += CHUNK) {                                          \
                int64_t count = CB_MIN(CHUNK, s->out[2] - x0);                                           \
                type *to = (type *)r->out + item * s->out[2] + x0;                                       \
                divisors_##name(s, z, y, x0, count, divisor);                                            \
                for (int64_t j = 0; j < count; j++) sum[j] = 0;                                          \
                FOR_TAPS(s, z, y, x0, count, {                                                           \
                    if (step == 1)                                                                       \
                        for (int64_t j = j0; j < j1; j++) sum[j] += x_[base + j];                        \
                    else if (step == 2)                                                                  \
                        for (int64_t j = j0; j < j1; j++) sum[j] += x_[base + 2 * j];                    \
                    else                                                                                 \
                        for (int64_t j = j0; j < j1; j++) sum[j] += x_[base + j * step];                 \
                })                                                                                       \
                for (int64_t j = 0; j < count; j++) to[j] = sum[j] / divisor[j];                         \
            }                                                                                            \
        }                                                                                                \
    }                                                                                                    \
    /* items: planes */                                                                                  \
    static void avg_grad_##name(void *context, int64_t begin, int64_t end) {                             \
        const pool_run *r = context;                                                                     \
        const cb_pool_shape *s = r->s;                                                                   \
        int64_t in = size3(s->in), out = size3(s->out);                                                  \
        type part[CHUNK], divisor[CHUNK];                                                                \
        for (int64_t plane = begin; plane < end; plane++) {                                              \
            type *x_ = (type *)r->out + plane * in;                                                      \
            const type *y_ = (const type *)r->in + plane * out;                                          \
            memset(x_, 0, (size_t)in * sizeof *x_);                                                      \
            for (int64_t z = 0; z < s->out[0]; z++)                                                      \
                for (int64_t y = 0; y < s->out[1]; y++)                                                  \
                    for (int64_t x0 = 0; x0 < s->out[2]; x0 += CHUNK) {                                  \
                        int64_t count = CB_MIN(CHUNK, s->out[2] - x0);                                   \
                        const type *from = y_ + (z * s->out[1] + y) * s->out[2] + x0;                    \
                        divisors_##name(s, z, y, x0, count, divisor);                                    \
                        for (int64_t j = 0; j < count; j++) part[j] = from[j] / divisor[j];              \
                        FOR_TAPS(s, z, y, x0, count, {                                                   \
                            if (step == 1)                                                               \
                                for (int64_t j = j0; j < j1; j++) x_[base + j] += part[j];               \
                            else                                                                         \
                                for (int64_t j = j0; j < j1; j++) x_[base + j * step] += part[j];        \
                        })                                                                               \
                    }                                                                                    \
        }                                                                                                \
    }
AVG_POOL(f32, float)
AVG_POOL(f64, double)

int CB_FN(avg_pool)(const cb_pool_shape *s, void *y, const void *x) {
    pool_run r = {s, y, NULL, x};
    cb_parallel(s->planes * s->out[0] * s->out[1], row_grain(s), s->dtype == CB_F32 ? avg_f32 : avg_f64, &r);
    return CB_OK;
}

int CB_FN(avg_pool_grad)(const cb_pool_shape *s, void *x, const void *y) {
    pool_run r = {s, x, NULL, y};
    int64_t grain = CB_MAX(1, WORK / (size3(s->out) * size3(s->kernel) + size3(s->in)));
    cb_parallel(s->planes, grain, s->dtype == CB_F32 ? avg_grad_f32 : avg_grad_f64, &r);
    return CB_OK;
}

/* ---- moving values to and from recorded indices ---- */

typedef struct index_run {
    int64_t plane, windows;
    void *out;
    const int64_t *indices;
    const void *in;
    int outside; /* set when an index is not in the plane */
} index_run;

#define SCATTER(name, type)                                                 \
    static void scatter_##name(void *context, int64_t begin, int64_t end) { \
        index_run *r = context;                                             \
        for (int64_t p = begin; p < end; p++) {                             \
            type *to = (type *)r->out + p * r->plane;                       \
            const type *from = (const type *)r->in + p * r->windows;        \
            const int64_t *index = r->indices + p * r->windows;             \
            memset(to, 0, (size_t)r->plane * sizeof *to);                   \
            for (int64_t i = 0; i < r->windows; i++) {                      \
                if ((uint64_t)index[i] >= (uint64_t)r->plane) {             \
                    __atomic_store_n(&r->outside, 1, __ATOMIC_RELAXED);     \
                    return;                                                 \
                }                                                           \
                to[index[i]] = (type)(to[index[i]] + from[i]);              \
            }                                                               \
        }                                                                   \
    }
SCATTER(u8, uint8_t)
SCATTER(u16, uint16_t)
SCATTER(u32, uint32_t)
SCATTER(u64, uint64_t)
SCATTER(f32, float)
SCATTER(f64, double)
SCATTER(c64, cb_complex64)
SCATTER(c128, cb_complex128)

#define GATHER(size, type)                                                 \
    static void gather_##size(void *context, int64_t begin, int64_t end) { \
        index_run *r = context;                                            \
        for (int64_t p = begin; p < end; p++) {                            \
            type *to = (type *)r->out + p * r->windows;                    \
            const type *from = (const type *)r->in + p * r->plane;         \
            const int64_t *index = r->indices + p * r->windows;            \
            for (int64_t i = 0; i < r->windows; i++) {                     \
                if ((uint64_t)index[i] >= (uint64_t)r->plane) {            \
                    __atomic_store_n(&r->outside, 1, __ATOMIC_RELAXED);    \
                    return;                                                \
                }                                                          \
                to[i] = from[index[i]];                                    \
            }                                                              \
        }                                                                  \
    }
GATHER(1, uint8_t)
GATHER(2, uint16_t)
GATHER(4, uint32_t)
GATHER(8, uint64_t)
GATHER(16, cb_complex128)

static int moved(const char *op, index_run *r, int64_t planes, void (*body)(void *, int64_t, int64_t)) {
    cb_parallel(planes, CB_MAX(1, WORK / (r->plane + r->windows)), body, r);
    return r->outside
               ? cb_fail(
                     CB_ERR_INDEX,
                     "%s: expected indices in [0, %lld), got one outside. Use those that max_pool returned.",
                     op, (long long)r->plane)
               : CB_OK;
}

int CB_FN(pool_scatter)(int dtype, int64_t planes, int64_t plane, int64_t windows, void *x,
                        const int64_t *indices, const void *y) {
    index_run r = {plane, windows, x, indices, y, 0};
    int size = cb_dtypes[dtype].size;
    void (*body)(void *, int64_t, int64_t) = size == 1   ? scatter_u8
                                             : size == 2 ? scatter_u16
                                             : size == 4 ? scatter_u32
                                                         : scatter_u64;
    if (dtype == CB_F32) body = scatter_f32;
    if (dtype == CB_F64) body = scatter_f64;
    if (dtype == CB_C64) body = scatter_c64;
    if (dtype == CB_C128) body = scatter_c128;
    return moved("max_pool_grad", &r, planes, body);
}

int CB_FN(pool_gather)(int itemsize, int64_t planes, int64_t plane, int64_t windows, void *y,
                       const int64_t *indices, const void *x) {
    index_run r = {plane, windows, y, indices, x, 0};
    return moved("pool_gather", &r, planes,
                 itemsize == 1   ? gather_1
                 : itemsize == 2 ? gather_2
                 : itemsize == 4 ? gather_4
                 : itemsize == 8 ? gather_8
                                 : gather_16);
}
