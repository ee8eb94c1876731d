/* argmax, argmin: states are a value and its position along the reduced dimension. The first of equal items
 * wins, and the first nan wins over everything.
 *
 * Rows find the best value of a block without positions, which vectorises, and locate it only when it beats
 * the state. A state whose position is -1 has seen nothing. */
#include <math.h>

#include "half.h"
#include "lanes.h"
#include "reduce.h"

enum { BLOCK = 4096, SHORT = 32 };

#define SAME(v) (v)
#define HALF(v) half_to_float(v)
#define BFLOAT(v) bfloat_to_float(v)
#define ABOVE(a, b) ((a) > (b))
#define BELOW(a, b) ((a) < (b))
/* is b better than a? An item equal to itself is no nan. */
#define BEATS(b, a, OVER) (OVER(b, a) || ((b) != (b) && (a) == (a)))

#define ARG(name, T, F, ID, WORST, LOAD, OVER, BEST)                                                   \
    CB_INLINE F best_##name(int64_t n, const T *x) {                                                   \
        enum { LANES = 256 / sizeof(F) };                                                              \
        F lane[LANES];                                                                                 \
        int64_t i = 0;                                                                                 \
        for (int j = 0; j < LANES; j++) lane[j] = WORST;                                               \
        for (; i + LANES <= n; i += LANES)                                                             \
            for (int j = 0; j < LANES; j++) {                                                          \
                F v = LOAD(x[i + j]);                                                                  \
                lane[j] = BEST(lane[j], v);                                                            \
            }                                                                                          \
        for (int j = 0; i < n; i++, j++) {                                                             \
            F v = LOAD(x[i]);                                                                          \
            lane[j] = BEST(lane[j], v);                                                                \
        }                                                                                              \
        CB_FOLD_LANES(LANES, lane, BEST);                                                              \
        return lane[0];                                                                                \
    }                                                                                                  \
    CB_INLINE int64_t find_##name(int64_t n, const T *x, F top) {                                      \
        int64_t i = 0;                                                                                 \
        for (; i + 64 <= n; i += 64) { /* whole vectors first */                                       \
            int found = 0;                                                                             \
            for (int j = 0; j < 64; j++) {                                                             \
                F v = LOAD(x[i + j]);                                                                  \
                found |= (v == top) | ((v != v) & (top != top));                                       \
            }                                                                                          \
            if (found) break;                                                                          \
        }                                                                                              \
        for (; i < n - 1; i++) {                                                                       \
            F v = LOAD(x[i]);                                                                          \
            if (v == top || (v != v && top != top)) break;                                             \
        }                                                                                              \
        return i;                                                                                      \
    }                                                                                                  \
    static void rows_##name(int64_t kept, int64_t n, int64_t stride, int64_t first, const void *x_,    \
                            void *states) {                                                            \
        const T *x = x_;                                                                               \
        F *best = states;                                                                              \
        int64_t *at = (int64_t *)states + kept;                                                        \
        for (int64_t r = 0; r < kept; r++, x += stride) {                                              \
            if (n < SHORT && at[r] < 0) {                                                              \
                F top = LOAD(x[0]);                                                                    \
                int64_t place = 0;                                                                     \
                for (int64_t i = 1; i < n; i++) {                                                      \
                    F v = LOAD(x[i]);                                                                  \
                    bool better = OVER(v, top) | ((v != v) & (top == top));                            \
                    top = better ? v : top;                                                            \
                    place = better ? i : place;                                                        \
                }                                                                                      \
                best[r] = top;                                                                         \
                at[r] = first + place;                                                                 \
                continue;                                                                              \
            }                                                                                          \
            for (int64_t b = 0; b < n; b += BLOCK) {                                                   \
                int64_t count = CB_MIN(BLOCK, n - b);                                                  \
                F top = best_##name(count, x + b);                                                     \
                if (at[r] >= 0 && !BEATS(top, best[r], OVER)) continue;                                \
                best[r] = top;                                                                         \
                at[r] = first + b + find_##name(count, x + b, top);                                    \
            }                                                                                          \
        }                                                                                              \
    }                                                                                                  \
    static void columns_##name(int64_t kept, int64_t n, int64_t stride, int64_t first, const void *x_, \
                               void *states) {                                                         \
        const T *x = x_;                                                                               \
        F *best = states;                                                                              \
        int64_t *at = (int64_t *)states + kept;                                                        \
        int64_t i = 0;                                                                                 \
        if (n > 0 && at[0] < 0) {                                                                      \
            for (int64_t j = 0; j < kept; j++) {                                                       \
                best[j] = LOAD(x[j]);                                                                  \
                at[j] = first;                                                                         \
            }                                                                                          \
            i++;                                                                                       \
            x += stride;                                                                               \
        }                                                                                              \
        for (; i < n; i++, x += stride) _Pragma("GCC ivdep") for (int64_t j = 0; j < kept; j++) {      \
                F v = LOAD(x[j]), old = best[j];                                                       \
                bool better = OVER(v, old) | ((v != v) & (old == old));                                \
                best[j] = better ? v : old;                                                            \
                at[j] = better ? first + i : at[j];                                                    \
            }                                                                                          \
    }                                                                                                  \
    static void merge_##name(int64_t kept, void *into, const void *from) {                             \
        F *best = into;                                                                                \
        const F *more = from;                                                                          \
        int64_t *at = (int64_t *)into + kept;                                                          \
        const int64_t *more_at = (const int64_t *)from + kept;                                         \
        for (int64_t j = 0; j < kept; j++)                                                             \
            if (BEATS(more[j], best[j], OVER)) {                                                       \
                best[j] = more[j];                                                                     \
                at[j] = more_at[j];                                                                    \
            }                                                                                          \
    }                                                                                                  \
    static const cb_reducer reducer_##name = {                                                         \
        8, 2, {CB_##ID, CB_I64}, rows_##name, columns_##name, start, merge_##name, NULL};

static void start(int64_t kept, void *states) {
    int64_t *at = (int64_t *)states + kept;
    for (int64_t j = 0; j < kept; j++) at[j] = -1;
}

#define BOTH(id, T, F, ID, LOW, HIGH, LOAD)                  \
    ARG(argmax_##id, T, F, ID, LOW, LOAD, ABOVE, CB_GREATER) \
    ARG(argmin_##id, T, F, ID, HIGH, LOAD, BELOW, CB_LESS)
BOTH(U8, uint8_t, uint8_t, U8, 0, UINT8_MAX, SAME)
BOTH(I8, int8_t, int8_t, I8, INT8_MIN, INT8_MAX, SAME)
BOTH(U16, uint16_t, uint16_t, U16, 0, UINT16_MAX, SAME)
BOTH(I16, int16_t, int16_t, I16, INT16_MIN, INT16_MAX, SAME)
BOTH(U32, uint32_t, uint32_t, U32, 0, UINT32_MAX, SAME)
BOTH(I32, int32_t, int32_t, I32, INT32_MIN, INT32_MAX, SAME)
BOTH(U64, uint64_t, uint64_t, U64, 0, UINT64_MAX, SAME)
BOTH(I64, int64_t, int64_t, I64, INT64_MIN, INT64_MAX, SAME)
BOTH(F16, cb_half, float, F32, -INFINITY, INFINITY, HALF)
BOTH(BF16, cb_bfloat, float, F32, -INFINITY, INFINITY, BFLOAT)
BOTH(F32, float, float, F32, -INFINITY, INFINITY, SAME)
BOTH(F64, double, double, F64, -INFINITY, INFINITY, SAME)

#define ENTRY(id) [CB_##id] = {&reducer_argmax_##id, &reducer_argmin_##id}
static const cb_reducer *const reducers[CB_DTYPE_COUNT][2] = {
    [CB_BOOL] = {&reducer_argmax_U8, &reducer_argmin_U8},
    /* clang-format off */
    ENTRY(U8), ENTRY(I8), ENTRY(U16), ENTRY(I16), ENTRY(U32), ENTRY(I32), ENTRY(U64), ENTRY(I64),
    ENTRY(F16), ENTRY(BF16), ENTRY(F32), ENTRY(F64),
    /* clang-format on */
};

const cb_reducer *CB_FN(arg_reducer)(int op, int dtype) { return reducers[dtype][op == CB_REDUCE_argmin]; }
