/* Reductions that fold one value an item with an associative operator: sums, products, extrema, truth.
 *
 * Rows are folded in a fixed number of lanes, which the compiler keeps in vector registers, block by block;
 * columns eight items at a time. Blocks bound the narrow lanes of integer sums and the error of float ones.
 */
#include <math.h>

#include "half.h"
#include "lanes.h"
#include "reduce.h"

enum { BLOCK = CB_FOLD_BLOCK, SHORT = CB_FOLD_SHORT, AHEAD = 8192 };

/* asks for `lines` of memory, `step` bytes apart, before their time */
#define FETCH(p, lines, step) \
    for (int f_ = 0; f_ < (int)(lines); f_++) __builtin_prefetch((const char *)(p) + f_ * (step))

#define ADD(a, b) ((a) + (b))
#define MULTIPLY(a, b) ((a) * (b))
#define OR(a, b) ((a) | (b))
/* without regard to nan */
#define LARGER(a, b)          \
    ({                        \
        __auto_type a_ = (a); \
        __auto_type b_ = (b); \
        b_ > a_ ? b_ : a_;    \
    })
#define SMALLER(a, b)         \
    ({                        \
        __auto_type a_ = (a); \
        __auto_type b_ = (b); \
        b_ < a_ ? b_ : a_;    \
    })

/* eight items into s, two by two */
#define EIGHT(OP, s, a, b, c, d, e, f, g, h) OP(s, OP(OP(OP(a, b), OP(c, d)), OP(OP(e, f), OP(g, h))))
/* Extrema of floats: OP keeps a nan that comes first, so each step shows whether its item is one, and items
 * themselves are loaded once. A nan in s stays. */
#define EXTREME(OP, s, a, b, c, d, e, f, g, h)                                            \
    ({                                                                                    \
        __auto_type ab_ = OP(a, b);                                                       \
        __auto_type c_ = OP(c, ab_);                                                      \
        __auto_type d_ = OP(d, c_);                                                       \
        __auto_type e_ = OP(e, d_);                                                       \
        __auto_type f_ = OP(f, e_);                                                       \
        __auto_type g_ = OP(g, f_);                                                       \
        __auto_type h_ = OP(h, g_);                                                       \
        __auto_type most_ = OP(s, h_);                                                    \
        bool ordered_ = !__builtin_isunordered(b, ab_) & !__builtin_isunordered(c_, d_) & \
                        !__builtin_isunordered(e_, f_) & !__builtin_isunordered(g_, h_);  \
        ordered_ ? most_ : (__typeof__(most_))NAN;                                        \
    })
#define EIGHT_ADD(...) EIGHT(ADD, __VA_ARGS__)
#define EIGHT_MULTIPLY(...) EIGHT(MULTIPLY, __VA_ARGS__)
#define EIGHT_OR(...) EIGHT(OR, __VA_ARGS__)
#define EIGHT_LARGER(...) EIGHT(LARGER, __VA_ARGS__)
#define EIGHT_SMALLER(...) EIGHT(SMALLER, __VA_ARGS__)
#define EIGHT_CB_GREATER(...) EXTREME(LARGER, __VA_ARGS__)
#define EIGHT_CB_LESS(...) EXTREME(SMALLER, __VA_ARGS__)

/* T: storage; LANE: folded within a block; STATE: kept between blocks; VALUE(v): an item as a LANE. Rows
 * are taken a vector of WIDTH items at a time, columns two (STRIP): fewer addresses an item. */
#define FOLD(name, T, LANE, STATE, STATE_ID, IDENTITY, OP, VALUE, FINISH)                                \
    enum { WIDTH_##name = 64 / sizeof(LANE), STRIP_##name = 128 / sizeof(LANE) };                        \
    /* eight rows of STRIP items into states */                                                          \
    CB_INLINE void eight_##name(int64_t step, const T *x, STATE *state) {                                \
        _Pragma("GCC ivdep") for (int j = 0; j < STRIP_##name; j++) {                                    \
            LANE a = VALUE(x[j]), b = VALUE(x[j + step]), c = VALUE(x[j + 2 * step]),                    \
                 d = VALUE(x[j + 3 * step]), e = VALUE(x[j + 4 * step]), f = VALUE(x[j + 5 * step]),     \
                 g = VALUE(x[j + 6 * step]), h = VALUE(x[j + 7 * step]);                                 \
            state[j] = EIGHT_##OP(state[j], a, b, c, d, e, f, g, h);                                     \
        }                                                                                                \
    }                                                                                                    \
    /* at least WIDTH items lie before the end of x, if not all in this block */                         \
    CB_INLINE LANE block_##name(int64_t n, const T *x) {                                                 \
        enum { WIDTH = WIDTH_##name };                                                                   \
        LANE lane[WIDTH];                                                                                \
        int64_t i = 0;                                                                                   \
        CB_WHOLE for (int j = 0; j < WIDTH; j++) lane[j] = IDENTITY;                                     \
        for (; i + 8 * WIDTH <= n; i += 8 * WIDTH) {                                                     \
            FETCH((const char *)(x + i) + AHEAD, 8 * WIDTH * sizeof(T) / 64, 64);                        \
            CB_WHOLE for (int j = 0; j < WIDTH; j++) {                                                   \
                const T *at = x + i + j;                                                                 \
                LANE a = VALUE(at[0]), b = VALUE(at[WIDTH]), c = VALUE(at[2 * WIDTH]),                   \
                     d = VALUE(at[3 * WIDTH]), e = VALUE(at[4 * WIDTH]), f = VALUE(at[5 * WIDTH]),       \
                     g = VALUE(at[6 * WIDTH]), h = VALUE(at[7 * WIDTH]);                                 \
                lane[j] = EIGHT_##OP(lane[j], a, b, c, d, e, f, g, h);                                   \
            }                                                                                            \
        }                                                                                                \
        for (; i + WIDTH <= n; i += WIDTH) CB_WHOLE for (int j = 0; j < WIDTH; j++) {                    \
                LANE value = VALUE(x[i + j]);                                                            \
                lane[j] = OP(lane[j], value);                                                            \
            }                                                                                            \
        /* the rest as the end of a whole vector: single lanes would go through memory */                \
        if (i < n) {                                                                                     \
            const T *end = x + n - WIDTH;                                                                \
            int counted = WIDTH - (int)(n - i);                                                          \
            CB_WHOLE for (int j = 0; j < WIDTH; j++) {                                                   \
                LANE value = VALUE(end[j]);                                                              \
                value = j >= counted ? value : (LANE)IDENTITY;                                           \
                lane[j] = OP(lane[j], value);                                                            \
            }                                                                                            \
        }                                                                                                \
        CB_FOLD_LANES(WIDTH, lane, OP);                                                                  \
        return lane[0];                                                                                  \
    }                                                                                                    \
    static void rows_##name(int64_t kept, int64_t n, int64_t stride, int64_t first, const void *x_,      \
                            void *states) {                                                              \
        (void)first;                                                                                     \
        const T *x = x_;                                                                                 \
        STATE *state = states;                                                                           \
        for (int64_t r = 0; r < kept; r++, x += stride) {                                                \
            if (n < SHORT || n < (int64_t)(64 / sizeof(LANE))) {                                         \
                STATE total = state[r];                                                                  \
                for (int64_t i = 0; i < n; i++) {                                                        \
                    STATE value = VALUE(x[i]);                                                           \
                    total = OP(total, value);                                                            \
                }                                                                                        \
                state[r] = total;                                                                        \
                continue;                                                                                \
            }                                                                                            \
            for (int64_t b = 0; b < n; b += BLOCK) {                                                     \
                STATE part = block_##name(CB_MIN(BLOCK, n - b), x + b);                                  \
                state[r] = OP(state[r], part);                                                           \
            }                                                                                            \
        }                                                                                                \
    }                                                                                                    \
    static void columns_##name(int64_t kept, int64_t n, int64_t stride, int64_t first, const void *x_,   \
                               void *states) {                                                           \
        (void)first;                                                                                     \
        const T *x = x_;                                                                                 \
        STATE *state = states;                                                                           \
        enum { STRIP = STRIP_##name };                                                                   \
        int64_t i = 0, tail = kept - STRIP, step = stride * (int64_t)sizeof(T);                          \
        bool far = kept * n > 4 * BLOCK; /* not in a nearby cache already */                             \
        int64_t near = AHEAD / 8 / sizeof(T), ahead = kept > 4 * near ? near : 8 * CB_MAX(stride, near); \
        if (tail >= 0) {                                                                                 \
            /* the last strip may overlap the one before, and has states of its own meanwhile */         \
            STATE last[STRIP];                                                                           \
            for (int j = 0; j < STRIP; j++) last[j] = state[tail + j];                                   \
            for (; i + 8 <= n; i += 8, x += 8 * stride)                                                  \
                for (int64_t j = 0; j < kept; j += STRIP) {                                              \
                    const T *at = x + CB_MIN(j, tail);                                                   \
                    for (int b = 0; far && b < STRIP; b += 64 / (int)sizeof(T))                          \
                        FETCH(at + ahead + b, 8, step);                                                  \
                    eight_##name(stride, at, j < tail ? state + j : last);                               \
                }                                                                                        \
            int unused = kept % STRIP ? STRIP - kept % STRIP : 0;                                        \
            for (int j = unused; j < STRIP; j++) state[tail + j] = last[j];                              \
        }                                                                                                \
        for (; i < n; i++, x += stride) _Pragma("GCC ivdep") for (int64_t j = 0; j < kept; j++) {        \
                STATE value = VALUE(x[j]);                                                               \
                state[j] = OP(state[j], value);                                                          \
            }                                                                                            \
    }                                                                                                    \
    static void start_##name(int64_t kept, void *states) {                                               \
        STATE *state = states;                                                                           \
        for (int64_t j = 0; j < kept; j++) state[j] = IDENTITY;                                          \
    }                                                                                                    \
    static void merge_##name(int64_t kept, void *into_, const void *from_) {                             \
        STATE *into = into_;                                                                             \
        const STATE *from = from_;                                                                       \
        for (int64_t j = 0; j < kept; j++) into[j] = OP(into[j], from[j]);                               \
    }                                                                                                    \
    static const cb_reducer reducer_##name = {                                                           \
        sizeof(STATE), 1,     {CB_##STATE_ID, 0}, rows_##name, columns_##name, start_##name,             \
        merge_##name,  FINISH};

/* ---- how states become values ---- */
static void finish_mean(int64_t kept, void *states, int64_t count, double parameter) {
    (void)parameter;
    double *state = states;
    for (int64_t j = 0; j < kept; j++) state[j] /= (double)count;
}
static void finish_mean_complex(int64_t kept, void *states, int64_t count, double parameter) {
    finish_mean(2 * kept, states, count, parameter);
}
static void finish_norm(int64_t kept, void *states, int64_t count, double parameter) {
    (void)count, (void)parameter;
    double *state = states;
    for (int64_t j = 0; j < kept; j++) state[j] = sqrt(state[j]);
}
/* a mean is a sum finished otherwise */
#define MEAN(id, STATE, STATE_ID, FINISH)                                                           \
    static const cb_reducer reducer_mean_##id = {                                                   \
        sizeof(STATE),  1,     {CB_##STATE_ID, 0}, rows_sum_##id, columns_sum_##id, start_sum_##id, \
        merge_sum_##id, FINISH};
/* states tell whether an item was zero; the result is whether none was */
#define FINISH_ALL(bits)                                                                         \
    static void finish_all_##bits(int64_t kept, void *states, int64_t count, double parameter) { \
        (void)count, (void)parameter;                                                            \
        uint##bits##_t *state = states;                                                          \
        for (int64_t j = 0; j < kept; j++) state[j] = !state[j];                                 \
    }
FINISH_ALL(8)
FINISH_ALL(16)
FINISH_ALL(32)
FINISH_ALL(64)

/* ---- floats ---- */
#define SAME(v) (v)
#define HALF(v) half_to_float(v)
#define BFLOAT(v) bfloat_to_float(v)
#define IS_NONZERO(v) ((v) != 0)
#define IS_ZERO(v) ((v) == 0)
#define HALF_NONZERO(v) (((v) & 0x7fff) != 0)
#define HALF_ZERO(v) (((v) & 0x7fff) == 0)

#define FLOATS(id, T, F, COMPUTE_ID, LOAD, BITS, NONZERO, ZERO)                      \
    CB_INLINE F square_##id(T v) {                                                   \
        F f = LOAD(v);                                                               \
        return f * f;                                                                \
    }                                                                                \
    CB_INLINE F number_##id(T v) {                                                   \
        F f = LOAD(v);                                                               \
        return f == f ? f : 0;                                                       \
    }                                                                                \
    CB_INLINE double wide_##id(T v) { return (double)LOAD(v); }                      \
    CB_INLINE double wide_square_##id(T v) {                                         \
        double f = (double)LOAD(v);                                                  \
        return f * f;                                                                \
    }                                                                                \
    FOLD(sum_##id, T, F, double, F64, 0, ADD, LOAD, NULL)                            \
    MEAN(id, double, F64, finish_mean)                                               \
    FOLD(nansum_##id, T, F, double, F64, 0, ADD, number_##id, NULL)                  \
    FOLD(sum_squares_##id, T, F, double, F64, 0, ADD, square_##id, NULL)             \
    FOLD(norm2_##id, T, double, double, F64, 0, ADD, wide_square_##id, finish_norm)  \
    FOLD(prod_##id, T, double, double, F64, 1, MULTIPLY, wide_##id, NULL)            \
    FOLD(amax_##id, T, F, F, COMPUTE_ID, -(F)INFINITY, CB_GREATER, LOAD, NULL)       \
    FOLD(amin_##id, T, F, F, COMPUTE_ID, (F)INFINITY, CB_LESS, LOAD, NULL)           \
    FOLD(count_nonzero_##id, T, uint##BITS##_t, int64_t, I64, 0, ADD, NONZERO, NULL) \
    FOLD(any_##id, T, uint##BITS##_t, uint##BITS##_t, U##BITS, 0, OR, NONZERO, NULL) \
    FOLD(all_##id, T, uint##BITS##_t, uint##BITS##_t, U##BITS, 0, OR, ZERO, finish_all_##BITS)
FLOATS(F16, cb_half, float, F32, HALF, 16, HALF_NONZERO, HALF_ZERO)
FLOATS(BF16, cb_bfloat, float, F32, BFLOAT, 16, HALF_NONZERO, HALF_ZERO)
FLOATS(F32, float, float, F32, SAME, 32, IS_NONZERO, IS_ZERO)
FLOATS(F64, double, double, F64, SAME, 64, IS_NONZERO, IS_ZERO)

/* ---- complex numbers ---- */
#define COMPLEX(id, T, R)                                                                      \
    CB_INLINE R square_##id(T v) { return __real__ v * __real__ v + __imag__ v * __imag__ v; } \
    CB_INLINE double wide_square_##id(T v) {                                                   \
        double re = __real__ v, im = __imag__ v;                                               \
        return re * re + im * im;                                                              \
    }                                                                                          \
    FOLD(sum_##id, T, T, cb_complex128, C128, 0, ADD, SAME, NULL)                              \
    MEAN(id, cb_complex128, C128, finish_mean_complex)                                         \
    FOLD(sum_squares_##id, T, R, double, F64, 0, ADD, square_##id, NULL)                       \
    FOLD(norm2_##id, T, double, double, F64, 0, ADD, wide_square_##id, finish_norm)            \
    FOLD(prod_##id, T, cb_complex128, cb_complex128, C128, 1, MULTIPLY, SAME, NULL)            \
    FOLD(count_nonzero_##id, T, int64_t, int64_t, I64, 0, ADD, IS_NONZERO, NULL)               \
    FOLD(any_##id, T, uint8_t, uint8_t, U8, 0, OR, IS_NONZERO, NULL)                           \
    FOLD(all_##id, T, uint8_t, uint8_t, U8, 0, OR, IS_ZERO, finish_all_8)
COMPLEX(C64, cb_complex64, float)
COMPLEX(C128, cb_complex128, double)

/* ---- integers: narrow ones are summed in int32 lanes, which a block cannot overflow; sums wrap ---- */
#define WRAP_SQUARE(v) ((uint64_t)(v) * (uint64_t)(v))
#define INTEGERS(id, T, LANE, LOW, HIGH)                                          \
    FOLD(sum_##id, T, LANE, uint64_t, I64, 0, ADD, SAME, NULL)                    \
    FOLD(sum_squares_##id, T, uint64_t, uint64_t, I64, 0, ADD, WRAP_SQUARE, NULL) \
    FOLD(prod_##id, T, uint64_t, uint64_t, I64, 1, MULTIPLY, SAME, NULL)          \
    FOLD(amax_##id, T, T, T, id, LOW, LARGER, SAME, NULL)                         \
    FOLD(amin_##id, T, T, T, id, HIGH, SMALLER, SAME, NULL)
INTEGERS(U8, uint8_t, int32_t, 0, UINT8_MAX)
INTEGERS(I8, int8_t, int32_t, INT8_MIN, INT8_MAX)
INTEGERS(U16, uint16_t, int32_t, 0, UINT16_MAX)
INTEGERS(I16, int16_t, int32_t, INT16_MIN, INT16_MAX)
INTEGERS(U32, uint32_t, uint64_t, 0, UINT32_MAX)
INTEGERS(I32, int32_t, uint64_t, INT32_MIN, INT32_MAX)
INTEGERS(U64, uint64_t, uint64_t, 0, UINT64_MAX)
INTEGERS(I64, int64_t, uint64_t, INT64_MIN, INT64_MAX)
/* zero or not: one set a size, for both signs */
#define TRUTH(bits, LANE)                                                                              \
    FOLD(count_nonzero_##bits, uint##bits##_t, LANE, int64_t, I64, 0, ADD, IS_NONZERO, NULL)           \
    FOLD(any_##bits, uint##bits##_t, uint##bits##_t, uint##bits##_t, U##bits, 0, OR, IS_NONZERO, NULL) \
    FOLD(all_##bits, uint##bits##_t, uint##bits##_t, uint##bits##_t, U##bits, 0, OR, IS_ZERO,          \
         finish_all_##bits)
TRUTH(8, uint16_t)
TRUTH(16, uint16_t)
TRUTH(32, uint32_t)
TRUTH(64, int64_t)

#define ROW_INTEGER(id, bits)                             \
    {[CB_REDUCE_sum] = &reducer_sum_##id,                 \
     [CB_REDUCE_prod] = &reducer_prod_##id,               \
     [CB_REDUCE_nansum] = &reducer_sum_##id,              \
     [CB_REDUCE_sum_squares] = &reducer_sum_squares_##id, \
     [CB_REDUCE_amax] = &reducer_amax_##id,               \
     [CB_REDUCE_amin] = &reducer_amin_##id,               \
     [CB_REDUCE_all] = &reducer_all_##bits,               \
     [CB_REDUCE_any] = &reducer_any_##bits,               \
     [CB_REDUCE_count_nonzero] = &reducer_count_nonzero_##bits}
#define COMMON(id)                                                                            \
    [CB_REDUCE_sum] = &reducer_sum_##id, [CB_REDUCE_mean] = &reducer_mean_##id,               \
    [CB_REDUCE_prod] = &reducer_prod_##id, [CB_REDUCE_norm2] = &reducer_norm2_##id,           \
    [CB_REDUCE_sum_squares] = &reducer_sum_squares_##id, [CB_REDUCE_all] = &reducer_all_##id, \
    [CB_REDUCE_any] = &reducer_any_##id, [CB_REDUCE_count_nonzero] = &reducer_count_nonzero_##id
#define ROW_FLOAT(id)                                                                              \
    {COMMON(id), [CB_REDUCE_nansum] = &reducer_nansum_##id, [CB_REDUCE_amax] = &reducer_amax_##id, \
     [CB_REDUCE_amin] = &reducer_amin_##id}
#define ROW_COMPLEX(id) {COMMON(id)}

static const cb_reducer *const reducers[CB_DTYPE_COUNT][CB_REDUCE_PUBLIC_COUNT] = {
    [CB_BOOL] = ROW_INTEGER(U8, 8),  [CB_U8] = ROW_INTEGER(U8, 8),    [CB_I8] = ROW_INTEGER(I8, 8),
    [CB_U16] = ROW_INTEGER(U16, 16), [CB_I16] = ROW_INTEGER(I16, 16), [CB_U32] = ROW_INTEGER(U32, 32),
    [CB_I32] = ROW_INTEGER(I32, 32), [CB_U64] = ROW_INTEGER(U64, 64), [CB_I64] = ROW_INTEGER(I64, 64),
    [CB_F16] = ROW_FLOAT(F16),       [CB_BF16] = ROW_FLOAT(BF16),     [CB_F32] = ROW_FLOAT(F32),
    [CB_F64] = ROW_FLOAT(F64),       [CB_C64] = ROW_COMPLEX(C64),     [CB_C128] = ROW_COMPLEX(C128),
};

const cb_reducer *CB_FN(fold_reducer)(int op, int dtype) { return reducers[dtype][op]; }
