/* argmax, argmin: states are a value and its position along the reduced dimension. The first of equal items
 * wins, and the first nan wins over everything.
 *
 * Columns are scanned in lanes: a lane keeps its best item and that item's row, a number of the item's width.
 * Of a row, the extreme of a block comes first, and its place is looked for only if it is better than those
 * of the blocks before. A state whose position is -1 has seen nothing. */
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
/* Does an item take the place of the best one before it? Only a nan differs from itself. LE is <= or >=. */
/* clang-format off */
#define OVER(v, top, LE) (!((v) LE (top)) & ((top) == (top)))
/* clang-format on */

#define ARG(name, id, T, F, I, ID, LOAD, GT, LE, EXTREME)                                                  \
    /* rows of `width` items: into each lane its best item and the row of that */                          \
    CB_INLINE void scan_nan_##name(int width, int64_t n, int64_t stride, const T *x, F *top, I *row) {     \
        for (int64_t i = 0; i < n; i++)                                                                    \
            for (int j = 0; j < width; j++) {                                                              \
                F v = LOAD(x[i * stride + j]);                                                             \
                bool better = OVER(v, top[j], LE);                                                         \
                top[j] = better ? v : top[j];                                                              \
                row[j] = better ? (I)i : row[j];                                                           \
            }                                                                                              \
    }                                                                                                      \
    /* The same without nan; true if there is one. Maxima need not wait for comparisons. */                \
    CB_INLINE bool scan_##name(int width, int64_t n, int64_t stride, const T *x, F *top, I *row) {         \
        I nan[STRIP];                                                                                      \
        int found = 0;                                                                                     \
        for (int j = 0; j < width; j++) nan[j] = top[j] != top[j];                                         \
        for (int64_t i = 0; i < n; i++)                                                                    \
            for (int j = 0; j < width; j++) {                                                              \
                F v = LOAD(x[i * stride + j]);                                                             \
                row[j] = !(v LE top[j]) ? (I)i : row[j];                                                   \
                top[j] = v GT top[j] ? v : top[j];                                                         \
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
    static void rows_##name(int64_t kept, int64_t n, int64_t stride, int64_t first, const void *x_,        \
                            void *states) {                                                                \
        const T *x = x_;                                                                                   \
        F *best = states;                                                                                  \
        int64_t *at = (int64_t *)states + kept;                                                            \
        cb_fold fold = CB_FN(fold_reducer)(CB_REDUCE_##EXTREME, CB_##id)->rows;                            \
        for (int64_t r = 0; r < kept; r++, x += stride) {                                                  \
            for (int64_t b = 0; b < n; b += BLOCK) {                                                       \
                int64_t count = CB_MIN(BLOCK, n - b);                                                      \
                F top = LOAD(x[b]);                                                                        \
                fold(1, count, 0, 0, x + b, &top);                                                         \
                if (at[r] >= 0 && !OVER(top, best[r], LE)) continue;                                       \
                best[r] = top;                                                                             \
                at[r] = first + b + find_##name(count, x + b, top);                                        \
            }                                                                                              \
        }                                                                                                  \
    }                                                                                                      \
    /* `width` columns of at most DEEP items */                                                            \
    CB_INLINE void strip_##name(int width, int64_t n, int64_t stride, int64_t first, const T *x, F *best,  \
                                int64_t *at) {                                                             \
        F top[STRIP];                                                                                      \
        I row[STRIP];                                                                                      \
        bool fresh = at[0] < 0;                                                                            \
        for (int pass = 0; pass < 2; pass++) { /* the second only if there is a nan */                     \
            for (int j = 0; j < width; j++) {                                                              \
                top[j] = fresh ? LOAD(x[j]) : best[j];                                                     \
                row[j] = fresh ? 0 : -1;                                                                   \
            }                                                                                              \
            if (pass)                                                                                      \
                scan_nan_##name(width, n, stride, x, top, row);                                            \
            else if (!scan_##name(width, n, stride, x, top, row))                                          \
                break;                                                                                     \
        }                                                                                                  \
        for (int j = 0; j < width; j++) {                                                                  \
            best[j] = top[j];                                                                              \
            at[j] = row[j] < 0 ? at[j] : first + row[j];                                                   \
        }                                                                                                  \
    }                                                                                                      \
    static void columns_##name(int64_t kept, int64_t n, int64_t stride, int64_t first, const void *x_,     \
                               void *states) {                                                             \
        const T *x = x_;                                                                                   \
        F *best = states;                                                                                  \
        int64_t *at = (int64_t *)states + kept;                                                            \
        for (int64_t i = 0; i < n; i += DEEP, x += DEEP * stride) {                                        \
            int64_t deep = CB_MIN(DEEP, n - i), b = 0;                                                     \
            for (; b + STRIP <= kept; b += STRIP)                                                          \
                strip_##name(STRIP, deep, stride, first + i, x + b, best + b, at + b);                     \
            if (b < kept) strip_##name((int)(kept - b), deep, stride, first + i, x + b, best + b, at + b); \
        }                                                                                                  \
    }                                                                                                      \
    static void merge_##name(int64_t kept, void *into, const void *from) {                                 \
        F *best = into;                                                                                    \
        const F *more = from;                                                                              \
        int64_t *at = (int64_t *)into + kept;                                                              \
        const int64_t *more_at = (const int64_t *)from + kept;                                             \
        for (int64_t j = 0; j < kept; j++)                                                                 \
            if (OVER(more[j], best[j], LE)) {                                                              \
                best[j] = more[j];                                                                         \
                at[j] = more_at[j];                                                                        \
            }                                                                                              \
    }                                                                                                      \
    static const cb_reducer reducer_##name = {                                                             \
        8, 2, {CB_##ID, CB_I64}, rows_##name, columns_##name, start, merge_##name, NULL};

static void start(int64_t kept, void *states) {
    int64_t *at = (int64_t *)states + kept;
    for (int64_t j = 0; j < kept; j++) at[j] = -1;
}

#define BOTH(id, T, F, I, ID, LOAD)                      \
    ARG(argmax_##id, id, T, F, I, ID, LOAD, >, <=, amax) \
    ARG(argmin_##id, id, T, F, I, ID, LOAD, <, >=, amin)
BOTH(U8, uint8_t, uint8_t, int8_t, U8, SAME)
BOTH(I8, int8_t, int8_t, int8_t, I8, SAME)
BOTH(U16, uint16_t, uint16_t, int16_t, U16, SAME)
BOTH(I16, int16_t, int16_t, int16_t, I16, SAME)
BOTH(U32, uint32_t, uint32_t, int32_t, U32, SAME)
BOTH(I32, int32_t, int32_t, int32_t, I32, SAME)
BOTH(U64, uint64_t, uint64_t, int64_t, U64, SAME)
BOTH(I64, int64_t, int64_t, int64_t, I64, SAME)
BOTH(F16, cb_half, float, int32_t, F32, HALF)
BOTH(BF16, cb_bfloat, float, int32_t, F32, BFLOAT)
BOTH(F32, float, float, int32_t, F32, SAME)
BOTH(F64, double, double, int64_t, F64, SAME)

#define ENTRY(id) [CB_##id] = {&reducer_argmax_##id, &reducer_argmin_##id}
static const cb_reducer *const reducers[CB_DTYPE_COUNT][2] = {
    [CB_BOOL] = {&reducer_argmax_U8, &reducer_argmin_U8},
    /* clang-format off */
    ENTRY(U8), ENTRY(I8), ENTRY(U16), ENTRY(I16), ENTRY(U32), ENTRY(I32), ENTRY(U64), ENTRY(I64),
    ENTRY(F16), ENTRY(BF16), ENTRY(F32), ENTRY(F64),
    /* clang-format on */
};

const cb_reducer *CB_FN(arg_reducer)(int op, int dtype) { return reducers[dtype][op == CB_REDUCE_argmin]; }
