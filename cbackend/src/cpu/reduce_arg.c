/* argmax, argmin: states are a value and its position along the reduced dimension. The first of equal items
 * wins, and the first nan wins over everything.
 *
 * Columns are scanned in lanes: a lane keeps its best item and that item's row, a number of the item's width.
 * Of a row, the extreme of a block comes first, and its place is looked for only if it is better than those
 * of the blocks before. A state whose position is -1 has seen nothing.
 *
 * One set of functions serves all integers of a width, or a type of floats: they look for maxima of items
 * with bits flipped, all of them for minima and the sign of unsigned numbers, or of floats times 1 or -1. */
#include "half.h"
#include "lanes.h"
#include "reduce.h"

/* lanes of columns: as many as registers hold, three vectors each */
#if defined(__AVX512F__)
enum { STRIP = 128 };
#else
enum { STRIP = 32 };
#endif
enum { BLOCK = CB_FOLD_BLOCK, DEEP = 32, WIDTH = 64 };

#define SAME(v) (v)
#define HALF(v) half_to_float(v)
#define BFLOAT(v) bfloat_to_float(v)
#define FLIP_INT(v) ((v) ^ flip)
#define FLIP_FLOAT(v) ((v) * flip)
/* Does an item take the place of the best one before it? Only a nan differs from itself. */
#define OVER(v, top) (!((v) <= (top)) & ((top) == (top)))
#define SHARED static __attribute__((noinline)) /* by calls that differ in flip */

#define ARG(name, T, F, I, LOAD, FLIP)                                                                     \
    /* rows of `width` items: into each lane its best item and the row of that */                          \
    CB_INLINE void scan_nan_##name(int width, int64_t n, int64_t stride, const T *x, F *top, I *row,       \
                                   F flip) {                                                               \
        for (int64_t i = 0; i < n; i++)                                                                    \
            for (int j = 0; j < width; j++) {                                                              \
                F v = FLIP(LOAD(x[i * stride + j]));                                                       \
                bool better = OVER(v, top[j]);                                                             \
                top[j] = better ? v : top[j];                                                              \
                row[j] = better ? (I)i : row[j];                                                           \
            }                                                                                              \
    }                                                                                                      \
    /* The same without nan; true if there is one. Maxima need not wait for comparisons. */                \
    CB_INLINE bool scan_##name(int width, int64_t n, int64_t stride, const T *x, F *top, I *row, F flip) { \
        I nan[STRIP];                                                                                      \
        int found = 0;                                                                                     \
        for (int j = 0; j < width; j++) nan[j] = top[j] != top[j];                                         \
        for (int64_t i = 0; i < n; i++)                                                                    \
            for (int j = 0; j < width; j++) {                                                              \
                F v = FLIP(LOAD(x[i * stride + j]));                                                       \
                row[j] = !(v <= top[j]) ? (I)i : row[j];                                                   \
                top[j] = v > top[j] ? v : top[j];                                                          \
                nan[j] = v != v ? 1 : nan[j];                                                              \
            }                                                                                              \
        for (int j = 0; j < width; j++) found |= nan[j];                                                   \
        return found;                                                                                      \
    }                                                                                                      \
    /* the first of n items that is `top`, which is a nan if there is one */                               \
    CB_INLINE int64_t find_##name(int64_t n, const T *x, F top) {                                          \
        int64_t i = 0;                                                                                     \
        if (n < WIDTH || top != top) {                                                                     \
            for (F v = LOAD(x[0]); i < n - 1 && (v != top) & (v == v);) v = LOAD(x[++i]);                  \
            return i;                                                                                      \
        }                                                                                                  \
        for (; i < n - WIDTH; i = CB_MIN(i + WIDTH, n - WIDTH)) {                                          \
            I found = 0;                                                                                   \
            for (int j = 0; j < WIDTH; j++) found |= LOAD(x[i + j]) == top;                                \
            if (found) break;                                                                              \
        }                                                                                                  \
        int32_t place[WIDTH];                                                                              \
        for (int j = 0; j < WIDTH; j++) place[j] = LOAD(x[i + j]) == top ? j : WIDTH;                      \
        CB_FOLD_LANES(WIDTH, place, CB_LESS);                                                              \
        return i + place[0];                                                                               \
    }                                                                                                      \
    SHARED void rows_##name(int64_t kept, int64_t n, int64_t stride, int64_t first, const void *x_,        \
                            void *states, F flip, cb_fold fold) {                                          \
        const T *x = x_;                                                                                   \
        F *best = states;                                                                                  \
        int64_t *at = (int64_t *)states + kept;                                                            \
        for (int64_t r = 0; r < kept; r++, x += stride) {                                                  \
            for (int64_t b = 0; b < n; b += BLOCK) {                                                       \
                int64_t count = CB_MIN(BLOCK, n - b);                                                      \
                F top = LOAD(x[b]);                                                                        \
                fold(1, count, 0, 0, x + b, &top);                                                         \
                if (at[r] >= 0 && !OVER(FLIP(top), FLIP(best[r]))) continue;                               \
                best[r] = top;                                                                             \
                at[r] = first + b + find_##name(count, x + b, top);                                        \
            }                                                                                              \
        }                                                                                                  \
    }                                                                                                      \
    /* `width` columns of at most DEEP items */                                                            \
    CB_INLINE void strip_##name(int width, int64_t n, int64_t stride, int64_t first, const T *x, F *best,  \
                                int64_t *at, F flip) {                                                     \
        F top[STRIP];                                                                                      \
        I row[STRIP];                                                                                      \
        bool fresh = at[0] < 0;                                                                            \
        for (int pass = 0; pass < 2; pass++) { /* the second only if there is a nan */                     \
            for (int j = 0; j < width; j++) {                                                              \
                F v = fresh ? LOAD(x[j]) : best[j];                                                        \
                top[j] = FLIP(v);                                                                          \
                row[j] = fresh ? 0 : -1;                                                                   \
            }                                                                                              \
            if (pass)                                                                                      \
                scan_nan_##name(width, n, stride, x, top, row, flip);                                      \
            else if (!scan_##name(width, n, stride, x, top, row, flip))                                    \
                break;                                                                                     \
        }                                                                                                  \
        for (int j = 0; j < width; j++) {                                                                  \
            best[j] = FLIP(top[j]);                                                                        \
            at[j] = row[j] < 0 ? at[j] : first + row[j];                                                   \
        }                                                                                                  \
    }                                                                                                      \
    SHARED void columns_##name(int64_t kept, int64_t n, int64_t stride, int64_t first, const void *x_,     \
                               void *states, F flip) {                                                     \
        const T *x = x_;                                                                                   \
        F *best = states;                                                                                  \
        int64_t *at = (int64_t *)states + kept;                                                            \
        for (int64_t i = 0; i < n; i += DEEP, x += DEEP * stride) {                                        \
            int64_t deep = CB_MIN(DEEP, n - i), b = 0;                                                     \
            for (; b + STRIP <= kept; b += STRIP)                                                          \
                strip_##name(STRIP, deep, stride, first + i, x + b, best + b, at + b, flip);               \
            if (b < kept)                                                                                  \
                strip_##name((int)(kept - b), deep, stride, first + i, x + b, best + b, at + b, flip);     \
        }                                                                                                  \
    }                                                                                                      \
    SHARED void merge_##name(int64_t kept, void *into, const void *from, F flip) {                         \
        F *best = into;                                                                                    \
        const F *more = from;                                                                              \
        int64_t *at = (int64_t *)into + kept;                                                              \
        const int64_t *more_at = (const int64_t *)from + kept;                                             \
        for (int64_t j = 0; j < kept; j++)                                                                 \
            if (OVER(FLIP(more[j]), FLIP(best[j]))) {                                                      \
                best[j] = more[j];                                                                         \
                at[j] = more_at[j];                                                                        \
            }                                                                                              \
    }

static void start(int64_t kept, void *states) {
    int64_t *at = (int64_t *)states + kept;
    for (int64_t j = 0; j < kept; j++) at[j] = -1;
}

ARG(8, int8_t, int8_t, int8_t, SAME, FLIP_INT)
ARG(16, int16_t, int16_t, int16_t, SAME, FLIP_INT)
ARG(32, int32_t, int32_t, int32_t, SAME, FLIP_INT)
ARG(64, int64_t, int64_t, int64_t, SAME, FLIP_INT)
ARG(f16, cb_half, float, int32_t, HALF, FLIP_FLOAT)
ARG(bf16, cb_bfloat, float, int32_t, BFLOAT, FLIP_FLOAT)
ARG(f32, float, float, int32_t, SAME, FLIP_FLOAT)
ARG(f64, double, double, int64_t, SAME, FLIP_FLOAT)

#define REDUCER(id, ID, name, op, extreme, flip)                                                           \
    static void rows_##op##_##id(int64_t kept, int64_t n, int64_t stride, int64_t first, const void *x,    \
                                 void *states) {                                                           \
        rows_##name(kept, n, stride, first, x, states, flip,                                               \
                    CB_FN(fold_reducer)(CB_REDUCE_##extreme, CB_##id)->rows);                              \
    }                                                                                                      \
    static void columns_##op##_##id(int64_t kept, int64_t n, int64_t stride, int64_t first, const void *x, \
                                    void *states) {                                                        \
        columns_##name(kept, n, stride, first, x, states, flip);                                           \
    }                                                                                                      \
    static void merge_##op##_##id(int64_t kept, void *into, const void *from) {                            \
        merge_##name(kept, into, from, flip);                                                              \
    }                                                                                                      \
    static const cb_reducer reducer_##op##_##id = {                                                        \
        8, 2, {CB_##ID, CB_I64}, rows_##op##_##id, columns_##op##_##id, start, merge_##op##_##id, NULL};
#define BOTH(id, ID, name, max_flip, min_flip)    \
    REDUCER(id, ID, name, argmax, amax, max_flip) \
    REDUCER(id, ID, name, argmin, amin, min_flip)
BOTH(U8, U8, 8, INT8_MIN, INT8_MAX)
BOTH(I8, I8, 8, 0, -1)
BOTH(U16, U16, 16, INT16_MIN, INT16_MAX)
BOTH(I16, I16, 16, 0, -1)
BOTH(U32, U32, 32, INT32_MIN, INT32_MAX)
BOTH(I32, I32, 32, 0, -1)
BOTH(U64, U64, 64, INT64_MIN, INT64_MAX)
BOTH(I64, I64, 64, 0, -1)
BOTH(F16, F32, f16, 1, -1)
BOTH(BF16, F32, bf16, 1, -1)
BOTH(F32, F32, f32, 1, -1)
BOTH(F64, F64, f64, 1, -1)

#define ENTRY(id) [CB_##id] = {&reducer_argmax_##id, &reducer_argmin_##id}
static const cb_reducer *const reducers[CB_DTYPE_COUNT][2] = {
    [CB_BOOL] = {&reducer_argmax_U8, &reducer_argmin_U8},
    /* clang-format off */
    ENTRY(U8), ENTRY(I8), ENTRY(U16), ENTRY(I16), ENTRY(U32), ENTRY(I32), ENTRY(U64), ENTRY(I64),
    ENTRY(F16), ENTRY(BF16), ENTRY(F32), ENTRY(F64),
    /* clang-format on */
};

const cb_reducer *CB_FN(arg_reducer)(int op, int dtype) { return reducers[dtype][op == CB_REDUCE_argmin]; }
