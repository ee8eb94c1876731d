/* Reductions with several numbers a state: log-sum-exp (maximum, sum), variance (count, mean, sum of squared
 * deviations: Chan, Golub & LeVeque 1983) and norms scaled against overflow (scale, sum).
 *
 * Each block of items is reduced on its own while it lies in L1 or in registers, then merged into the state.
 */
#include <math.h>

#include "half.h"
#include "lanes.h"
#include "reduce.h"
#include "vmath.h"

enum { BLOCK = 1024, LANES = 32, EIGHT = 8, STRIP = 32 };

#define SAME(v) (v)
#define HALF(v) half_to_float(v)
#define BFLOAT(v) bfloat_to_float(v)
#define ADD(a, b) ((a) + (b))
#define LARGER(a, b) ((a) > (b) ? (a) : (b))

/* ---- helpers over one contiguous block, in the dtype of computation ---- */
#define BLOCKS(F, f)                                                                                   \
    CB_INLINE F fold_lanes_##f(F *lane) {                                                              \
        CB_FOLD_LANES(LANES, lane, ADD);                                                               \
        return lane[0];                                                                                \
    }                                                                                                  \
    /* passes over nan, which reaches log-sum-exp through its exponential */                           \
    CB_INLINE F block_max_##f(int64_t n, const F *x) {                                                 \
        F lane[LANES];                                                                                 \
        int64_t i = 0;                                                                                 \
        for (int j = 0; j < LANES; j++) lane[j] = -(F)INFINITY;                                        \
        for (; i + LANES <= n; i += LANES)                                                             \
            for (int j = 0; j < LANES; j++) lane[j] = LARGER(x[i + j], lane[j]);                       \
        int rest = (int)(n - i);                                                                       \
        CB_EACH_REST(j, LANES, rest) lane[j] = LARGER(CB_REST(x + i, j, rest, -(F)INFINITY), lane[j]); \
        CB_FOLD_LANES(LANES, lane, LARGER);                                                            \
        return lane[0];                                                                                \
    }                                                                                                  \
    CB_INLINE F block_sum_##f(int64_t n, const F *x) {                                                 \
        F lane[LANES] = {0};                                                                           \
        int64_t i = 0;                                                                                 \
        for (; i + LANES <= n; i += LANES)                                                             \
            for (int j = 0; j < LANES; j++) lane[j] += x[i + j];                                       \
        int rest = (int)(n - i);                                                                       \
        CB_EACH_REST(j, LANES, rest) lane[j] += CB_REST(x + i, j, rest, 0);                            \
        return fold_lanes_##f(lane);                                                                   \
    }                                                                                                  \
    CB_INLINE F block_sum_exp_##f(int64_t n, const F *x, F shift) {                                    \
        F lane[LANES] = {0};                                                                           \
        int64_t i = 0;                                                                                 \
        for (; i + LANES <= n; i += LANES)                                                             \
            for (int j = 0; j < LANES; j++) lane[j] += exp_##f(x[i + j] - shift);                      \
        int rest = (int)(n - i);                                                                       \
        if (rest) CB_EACH_REST(j, LANES, rest)                                                         \
        lane[j] += exp_##f(CB_REST(x + i, j, rest, -(F)INFINITY) - shift);                             \
        return fold_lanes_##f(lane);                                                                   \
    }                                                                                                  \
    /* the shift is the maximum */                                                                     \
    CB_INLINE F block_sum_below_##f(int64_t n, const F *x, F shift) {                                  \
        F lane[LANES] = {0};                                                                           \
        int64_t i = 0;                                                                                 \
        for (; i + LANES <= n; i += LANES)                                                             \
            for (int j = 0; j < LANES; j++) lane[j] += cb_exp_below_##f(x[i + j] - shift);             \
        int rest = (int)(n - i);                                                                       \
        if (rest) CB_EACH_REST(j, LANES, rest)                                                         \
        lane[j] += cb_exp_below_##f(CB_REST(x + i, j, rest, -(F)INFINITY) - shift);                    \
        return fold_lanes_##f(lane);                                                                   \
    }                                                                                                  \
    CB_INLINE F block_deviations_##f(int64_t n, const F *x, F mean) {                                  \
        F lane[LANES] = {0}, drift[LANES] = {0}; /* the mean's rounding error is taken out */          \
        int64_t i = 0;                                                                                 \
        for (; i + LANES <= n; i += LANES)                                                             \
            for (int j = 0; j < LANES; j++) {                                                          \
                F d = x[i + j] - mean;                                                                 \
                lane[j] += d * d;                                                                      \
                drift[j] += d;                                                                         \
            }                                                                                          \
        int rest = (int)(n - i);                                                                       \
        CB_EACH_REST(j, LANES, rest) {                                                                 \
            F d = CB_REST(x + i, j, rest, mean) - mean;                                                \
            lane[j] += d * d;                                                                          \
            drift[j] += d;                                                                             \
        }                                                                                              \
        F squares = fold_lanes_##f(lane), sum = fold_lanes_##f(drift);                                 \
        return squares - sum * (sum / (F)n);                                                           \
    }
BLOCKS(float, f32)
BLOCKS(double, f64)

/* the state's maximum becomes the shift of the exponents; infinite ones shift by nothing */
CB_INLINE double shift_of(double maximum) { return fabs(maximum) == (double)INFINITY ? 0 : maximum; }

/* joins (count, mean, m2) of `more` items with the state; with count zero on either side too */
CB_INLINE void join_moments(double *count, double *mean, double *m2, double more, double more_mean,
                            double more_m2) {
    double total = *count + more, delta = more_mean - *mean, share = total > 0 ? more / total : 0;
    *mean += delta * share;
    *m2 += more_m2 + delta * delta * *count * share;
    *count = total;
}

#define MOMENTS(id, T, F, f, LOAD)                                                                           \
    /* a block of items as F: where they lie, or converted */                                                \
    CB_INLINE const F *block_##id(int64_t n, const T *x, F *buffer) {                                        \
        if (sizeof(T) == sizeof(F)) return (const F *)(const void *)x;                                       \
        for (int64_t i = 0; i < n; i++) buffer[i] = LOAD(x[i]);                                              \
        return buffer;                                                                                       \
    }                                                                                                        \
    static void rows_logsumexp_##id(int64_t kept, int64_t n, int64_t stride, int64_t first, const void *x_,  \
                                    void *states) {                                                          \
        (void)first;                                                                                         \
        double *maximum = states, *sum = maximum + kept;                                                     \
        F buffer[BLOCK];                                                                                     \
        for (int64_t r = 0; r < kept; r++)                                                                   \
            for (int64_t b = 0; b < n; b += BLOCK) {                                                         \
                int64_t count = CB_MIN(BLOCK, n - b);                                                        \
                const F *x = block_##id(count, (const T *)x_ + r * stride + b, buffer);                      \
                double old = maximum[r], top = (double)block_max_##f(count, x);                              \
                top = CB_GREATER(old, top);                                                                  \
                double shift = shift_of(top);                                                                \
                double kept_sum = sum[r] == 0 ? 0 : sum[r] * exp_f64(old - shift);                           \
                F more = shift == top ? block_sum_below_##f(count, x, (F)shift)                              \
                                      : block_sum_exp_##f(count, x, (F)shift);                               \
                sum[r] = kept_sum + (double)more;                                                            \
                maximum[r] = top;                                                                            \
            }                                                                                                \
    }                                                                                                        \
    /* `width` columns of `rows` items into their states: a maximum for all, then one exponential an item */ \
    CB_INLINE void strip_logsumexp_##id(int width, int64_t rows, int64_t stride, const T *x,                 \
                                        double *maximum, double *sum) {                                      \
        F top[LANES], shift[LANES], total[LANES];                                                            \
        for (int j = 0; j < width; j++) top[j] = (F)maximum[j];                                              \
        for (int64_t r = 0; r < rows; r++)                                                                   \
            for (int j = 0; j < width; j++) {                                                                \
                F value = LOAD(x[r * stride + j]);                                                           \
                top[j] = CB_GREATER(top[j], value);                                                          \
            }                                                                                                \
        int steep = 0; /* exponents above 0? */                                                              \
        for (int j = 0; j < width; j++) steep |= top[j] == (F)INFINITY;                                      \
        for (int j = 0; j < width; j++) {                                                                    \
            shift[j] = fabs_##f(top[j]) == (F)INFINITY ? 0 : top[j];                                         \
            total[j] = exp_##f((F)maximum[j] - shift[j]) * (F)sum[j];                                        \
            maximum[j] = (double)top[j];                                                                     \
        }                                                                                                    \
        if (steep) {                                                                                         \
            for (int64_t r = 0; r < rows; r++)                                                               \
                for (int j = 0; j < width; j++) total[j] += exp_##f(LOAD(x[r * stride + j]) - shift[j]);     \
        } else {                                                                                             \
            for (int64_t r = 0; r < rows; r++) {                                                             \
                /* the next strip's items come meanwhile */                                                  \
                for (int j = 0; j < LANES; j += 64 / (int)sizeof(T))                                         \
                    __builtin_prefetch(x + r * stride + 2 * LANES + j);                                      \
                for (int j = 0; j < width; j++)                                                              \
                    total[j] += cb_exp_below_##f(LOAD(x[r * stride + j]) - shift[j]);                        \
            }                                                                                                \
        }                                                                                                    \
        for (int j = 0; j < width; j++) sum[j] = (double)total[j];                                           \
    }                                                                                                        \
    static void columns_logsumexp_##id(int64_t kept, int64_t n, int64_t stride, int64_t first,               \
                                       const void *x_, void *states) {                                       \
        (void)first;                                                                                         \
        const T *x = x_;                                                                                     \
        double *maximum = states, *sum = maximum + kept;                                                     \
        for (int64_t i = 0; i < n; i += STRIP, x += STRIP * stride) {                                        \
            int64_t rows = CB_MIN(STRIP, n - i), b = 0;                                                      \
            for (; b + LANES <= kept; b += LANES) /* a constant width stays in registers */                  \
                strip_logsumexp_##id(LANES, rows, stride, x + b, maximum + b, sum + b);                      \
            if (b < kept) strip_logsumexp_##id((int)(kept - b), rows, stride, x + b, maximum + b, sum + b);  \
        }                                                                                                    \
    }                                                                                                        \
    static void rows_var_##id(int64_t kept, int64_t n, int64_t stride, int64_t first, const void *x_,        \
                              void *states) {                                                                \
        (void)first;                                                                                         \
        double *count = states, *mean = count + kept, *m2 = mean + kept;                                     \
        F buffer[BLOCK];                                                                                     \
        for (int64_t r = 0; r < kept; r++)                                                                   \
            for (int64_t b = 0; b < n; b += BLOCK) {                                                         \
                int64_t items = CB_MIN(BLOCK, n - b);                                                        \
                const F *x = block_##id(items, (const T *)x_ + r * stride + b, buffer);                      \
                F middle = block_sum_##f(items, x) / (F)items;                                               \
                double squares = (double)block_deviations_##f(items, x, middle);                             \
                join_moments(&count[r], &mean[r], &m2[r], (double)items, (double)middle, squares);           \
            }                                                                                                \
    }                                                                                                        \
    static void columns_var_##id(int64_t kept, int64_t n, int64_t stride, int64_t first, const void *x_,     \
                                 void *states) {                                                             \
        (void)first;                                                                                         \
        const T *x = x_;                                                                                     \
        double *counts = states, *mean = counts + kept, *m2 = mean + kept;                                   \
        double count = counts[0];                                                                            \
        int64_t i = 0;                                                                                       \
        for (; i + EIGHT <= n; i += EIGHT, x += EIGHT * stride) {                                            \
            double share = EIGHT / (count + EIGHT), weight = count * share;                                  \
            _Pragma("GCC ivdep") for (int64_t j = 0; j < kept; j++) {                                        \
                F a = LOAD(x[j]), b = LOAD(x[j + stride]), c = LOAD(x[j + 2 * stride]),                      \
                  d = LOAD(x[j + 3 * stride]), e = LOAD(x[j + 4 * stride]), g = LOAD(x[j + 5 * stride]),     \
                  h = LOAD(x[j + 6 * stride]), k = LOAD(x[j + 7 * stride]);                                  \
                F middle = (((a + b) + (c + d)) + ((e + g) + (h + k))) * (F)0.125;                           \
                a -= middle, b -= middle, c -= middle, d -= middle;                                          \
                e -= middle, g -= middle, h -= middle, k -= middle;                                          \
                F squares = ((a * a + b * b) + (c * c + d * d)) + ((e * e + g * g) + (h * h + k * k));       \
                F drift = ((a + b) + (c + d)) + ((e + g) + (h + k));                                         \
                squares -= drift * drift * (F)0.125;                                                         \
                double delta = (double)middle - mean[j];                                                     \
                mean[j] += delta * share;                                                                    \
                m2[j] += (double)squares + delta * delta * weight;                                           \
            }                                                                                                \
            count += EIGHT;                                                                                  \
        }                                                                                                    \
        for (; i < n; i++, x += stride) {                                                                    \
            double share = 1 / (count + 1), weight = count * share;                                          \
            _Pragma("GCC ivdep") for (int64_t j = 0; j < kept; j++) {                                        \
                double delta = (double)LOAD(x[j]) - mean[j];                                                 \
                mean[j] += delta * share;                                                                    \
                m2[j] += delta * delta * weight;                                                             \
            }                                                                                                \
            count += 1;                                                                                      \
        }                                                                                                    \
        for (int64_t j = 0; j < kept; j++) counts[j] = count;                                                \
    }                                                                                                        \
    static const cb_reducer logsumexp_##id = {8,                                                             \
                                              2,                                                             \
                                              {CB_F64, 0},                                                   \
                                              rows_logsumexp_##id,                                           \
                                              columns_logsumexp_##id,                                        \
                                              start_logsumexp,                                               \
                                              merge_logsumexp,                                               \
                                              finish_logsumexp};                                             \
    static const cb_reducer var_##id = {8,         3,         {CB_F64, 0}, rows_var_##id, columns_var_##id,  \
                                        start_var, merge_var, finish_var};

static void start_logsumexp(int64_t kept, void *states) {
    double *maximum = states, *sum = maximum + kept;
    for (int64_t j = 0; j < kept; j++) {
        maximum[j] = -INFINITY;
        sum[j] = 0;
    }
}
static void merge_logsumexp(int64_t kept, void *into, const void *from) {
    double *maximum = into, *sum = maximum + kept;
    const double *more = from, *more_sum = more + kept;
    _Pragma("GCC ivdep") for (int64_t j = 0; j < kept; j++) {
        double top = CB_GREATER(maximum[j], more[j]), shift = shift_of(top);
        sum[j] = sum[j] * exp_f64(maximum[j] - shift) + more_sum[j] * exp_f64(more[j] - shift);
        maximum[j] = top;
    }
}
static void finish_logsumexp(int64_t kept, void *states, int64_t count, double parameter) {
    (void)count, (void)parameter;
    double *maximum = states, *sum = maximum + kept;
    _Pragma("GCC ivdep") for (int64_t j = 0; j < kept; j++) maximum[j] += log_f64(sum[j]);
}

static void start_var(int64_t kept, void *states) { memset(states, 0, (size_t)kept * 3 * sizeof(double)); }
static void merge_var(int64_t kept, void *into, const void *from) {
    double *count = into, *mean = count + kept, *m2 = mean + kept;
    const double *more = from;
    for (int64_t j = 0; j < kept; j++)
        join_moments(&count[j], &mean[j], &m2[j], more[j], more[j + kept], more[j + 2 * kept]);
}
static void finish_var(int64_t kept, void *states, int64_t items, double correction) {
    double *count = states, *mean = count + kept, *m2 = mean + kept;
    double divisor = CB_MAX((double)items - correction, 0);
    /* infinite items, whose mean is infinite, have no variance, whatever the order of the steps gave */
    for (int64_t j = 0; j < kept; j++) count[j] = (m2[j] + (mean[j] - mean[j])) / divisor;
}

MOMENTS(F16, cb_half, float, f32, HALF)
MOMENTS(BF16, cb_bfloat, float, f32, BFLOAT)
MOMENTS(F32, float, float, f32, SAME)
MOMENTS(F64, double, double, f64, SAME)

const cb_reducer *CB_FN(moment_reducer)(int op, int dtype) {
    bool var = op == CB_REDUCE_var;
    switch (dtype) {
        case CB_F16: return var ? &var_F16 : &logsumexp_F16;
        case CB_BF16: return var ? &var_BF16 : &logsumexp_BF16;
        case CB_F32: return var ? &var_F32 : &logsumexp_F32;
        case CB_F64: return var ? &var_F64 : &logsumexp_F64;
        default: return NULL;
    }
}

/* ---- norms of float64 whose squares overflow or underflow ---- */
/* Rare, so plain loops; value = scale * sqrt(sum). */
static inline void join_norm(double *scale, double *sum, double more, double more_sum) {
    if (more != more || *scale != *scale) {
        *scale = NAN;
    } else if (more > *scale) {
        double ratio = *scale / more;
        *sum = (more == (double)INFINITY ? 1 : *sum * ratio * ratio + more_sum);
        *scale = more;
    } else if (more > 0 && *scale < (double)INFINITY) {
        double ratio = more / *scale;
        *sum += more_sum * ratio * ratio;
    }
}
static void fold_norm(int64_t kept, int64_t n, int64_t kept_stride, int64_t stride, const double *x,
                      void *states) {
    double *scale = states, *sum = scale + kept;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < kept; j++)
            join_norm(&scale[j], &sum[j], fabs(x[j * kept_stride + i * stride]), 1);
}
static void rows_norm(int64_t kept, int64_t n, int64_t stride, int64_t first, const void *x, void *states) {
    (void)first;
    fold_norm(kept, n, stride, 1, x, states);
}
static void columns_norm(int64_t kept, int64_t n, int64_t stride, int64_t first, const void *x,
                         void *states) {
    (void)first;
    fold_norm(kept, n, 1, stride, x, states);
}
/* a complex number is two items */
static void rows_norm_complex(int64_t kept, int64_t n, int64_t stride, int64_t first, const void *x,
                              void *states) {
    (void)first;
    fold_norm(kept, 2 * n, 2 * stride, 1, x, states);
}
static void columns_norm_complex(int64_t kept, int64_t n, int64_t stride, int64_t first, const void *x,
                                 void *states) {
    (void)first;
    fold_norm(kept, n, 2, 2 * stride, x, states);
    fold_norm(kept, n, 2, 2 * stride, (const double *)x + 1, states);
}
static void start_norm(int64_t kept, void *states) { memset(states, 0, (size_t)kept * 2 * sizeof(double)); }
static void merge_norm(int64_t kept, void *into, const void *from) {
    double *scale = into;
    const double *more = from;
    for (int64_t j = 0; j < kept; j++) join_norm(&scale[j], &scale[j + kept], more[j], more[j + kept]);
}
static void finish_norm(int64_t kept, void *states, int64_t count, double parameter) {
    (void)count, (void)parameter;
    double *scale = states, *sum = scale + kept;
    for (int64_t j = 0; j < kept; j++) scale[j] = scale[j] == 0 ? 0 : scale[j] * sqrt(sum[j]);
}
static const cb_reducer norm_f64 = {8,          2,          {CB_F64, 0}, rows_norm, columns_norm,
                                    start_norm, merge_norm, finish_norm};
static const cb_reducer norm_c128 = {
    8, 2, {CB_F64, 0}, rows_norm_complex, columns_norm_complex, start_norm, merge_norm, finish_norm};

const cb_reducer *CB_FN(scaled_norm_reducer)(int dtype) {
    return dtype == CB_F64 ? &norm_f64 : dtype == CB_C128 ? &norm_c128 : NULL;
}
