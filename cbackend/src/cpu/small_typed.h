/* The kernels of small.c for one dtype: T, I (integers of T's size), SMALLEST and LARGEST (normal
 * numbers), ROOT, NAME; READ and WRITE of the first n lanes. Matrices are row-major arrays of vectors. */

typedef T NAME(vec) __attribute__((vector_size(WIDTH)));
typedef I NAME(ivec) __attribute__((vector_size(WIDTH)));
#define V NAME(vec)
#define M NAME(ivec)

CB_INLINE V NAME(pick)(M mask, V yes, V no) { return (V)(((M)yes & mask) | ((M)no & ~mask)); }
CB_INLINE M NAME(pick_int)(M mask, M yes, M no) { return (yes & mask) | (no & ~mask); }
CB_INLINE V NAME(size)(V x) {
    M sign = (M){} + (I)((I)1 << (sizeof(I) * 8 - 1));
    return (V)((M)x & ~sign);
}
CB_INLINE bool NAME(any)(M mask) {
#if defined(__AVX512F__)
    return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#else
    typedef int64_t words __attribute__((vector_size(16)));
    words part[WIDTH / 16], all;
    memcpy(part, &mask, sizeof part);
    all = part[0];
    for (int i = 1; i < WIDTH / 16; i++) all |= part[i];
    return (all[0] | all[1]) != 0;
#endif
}
CB_INLINE V NAME(root)(V x) {
    T y[LANES];
    memcpy(y, &x, sizeof y);
    for (int l = 0; l < LANES; l++) y[l] = ROOT(y[l]);
    memcpy(&x, y, sizeof y);
    return x;
}

/* x[0..n) / d; the reciprocal of a tiny d would overflow */
CB_INLINE void NAME(divide)(V *x, int n, int64_t step, V d) {
    if (n == 1) {
        *x /= d;
        return;
    }
    V inverse = 1 / d;
    M tiny = NAME(size)(d) < SMALLEST;
    if (__builtin_expect(NAME(any)(tiny), 0))
        for (int i = 0; i < n; i++) x[i * step] = NAME(pick)(tiny, x[i * step] / d, x[i * step] * inverse);
    else
        for (int i = 0; i < n; i++) x[i * step] *= inverse;
}

/* row[r] and row[p], a number for each lane, change places for one of the rows (begin, n) */
CB_INLINE void NAME(swap)(V *x, int begin, int n, int width, M p) {
    for (int i = begin + 1; i < n; i++) {
        M mask = p == i;
        if (!NAME(any)(mask)) continue;
        for (int k = 0; k < width; k++) {
            V upper = x[begin * width + k], lower = x[i * width + k];
            x[begin * width + k] = NAME(pick)(mask, lower, upper);
            x[i * width + k] = NAME(pick)(mask, upper, lower);
        }
    }
}

CB_INLINE M NAME(lu)(V *a, int n, M *pivots) {
    M info = {};
    for (int c = 0; c < n; c++) {
        V best = NAME(size)(a[c * n + c]);
        M p = (M){} + c;
        for (int i = c + 1; i < n; i++) {
            V size = NAME(size)(a[i * n + c]);
            M better = size > best;
            best = NAME(pick)(better, size, best);
            p = NAME(pick_int)(better, (M){} + i, p);
        }
        pivots[c] = p + 1;
        info = NAME(pick_int)((best == 0) & (info == 0), (M){} + (c + 1), info);
        NAME(swap)(a, c, n, n, p);
        if (c + 1 < n) NAME(divide)(a + (c + 1) * n + c, n - c - 1, n, a[c * n + c]);
        for (int i = c + 1; i < n; i++) {
            V factor = a[i * n + c];
            for (int k = c + 1; k < n; k++) a[i * n + k] -= factor * a[c * n + k];
        }
    }
    return info;
}

/* a x = b in place of b; of a the lower or upper triangle */
CB_INLINE void NAME(lower)(const V *a, V *x, int n, int k, bool unit) {
    for (int c = 0; c < n; c++) {
        if (!unit) NAME(divide)(x + c * k, k, 1, a[c * n + c]);
        for (int i = c + 1; i < n; i++)
            for (int r = 0; r < k; r++) x[i * k + r] -= a[i * n + c] * x[c * k + r];
    }
}
CB_INLINE void NAME(upper)(const V *a, V *x, int n, int k, bool unit) {
    for (int c = n - 1; c >= 0; c--) {
        if (!unit) NAME(divide)(x + c * k, k, 1, a[c * n + c]);
        for (int i = 0; i < c; i++)
            for (int r = 0; r < k; r++) x[i * k + r] -= a[i * n + c] * x[c * k + r];
    }
}
/* the same with a transposed, of which the triangle is named */
CB_INLINE void NAME(lower_transposed)(const V *a, V *x, int n, int k, bool unit) {
    for (int c = n - 1; c >= 0; c--) {
        if (!unit) NAME(divide)(x + c * k, k, 1, a[c * n + c]);
        for (int i = 0; i < c; i++)
            for (int r = 0; r < k; r++) x[i * k + r] -= a[c * n + i] * x[c * k + r];
    }
}
CB_INLINE void NAME(upper_transposed)(const V *a, V *x, int n, int k, bool unit) {
    for (int c = 0; c < n; c++) {
        if (!unit) NAME(divide)(x + c * k, k, 1, a[c * n + c]);
        for (int i = c + 1; i < n; i++)
            for (int r = 0; r < k; r++) x[i * k + r] -= a[c * n + i] * x[c * k + r];
    }
}

CB_INLINE void NAME(lu_solve)(const V *a, const M *pivots, V *x, int n, int k, bool transposed) {
    if (transposed) {
        NAME(upper_transposed)(a, x, n, k, false);
        NAME(lower_transposed)(a, x, n, k, true);
        for (int i = n - 1; i >= 0; i--) NAME(swap)(x, i, n, k, pivots[i] - 1);
    } else {
        for (int i = 0; i < n; i++) NAME(swap)(x, i, n, k, pivots[i] - 1);
        NAME(lower)(a, x, n, k, true);
        NAME(upper)(a, x, n, k, false);
    }
}

CB_INLINE M NAME(cholesky)(V *a, int n) {
    M info = {};
    for (int c = 0; c < n; c++) {
        V d = a[c * n + c];
        info = NAME(pick_int)(~(M)(d > 0) & (info == 0), (M){} + (c + 1), info);
        d = NAME(root)(d);
        a[c * n + c] = d;
        if (c + 1 < n) NAME(divide)(a + (c + 1) * n + c, n - c - 1, n, d);
        for (int i = c + 1; i < n; i++)
            for (int k = c + 1; k <= i; k++) a[i * n + k] -= a[i * n + c] * a[k * n + c];
    }
    return info;
}

/* Is a matrix one unbroken run of memory, row by row? */
static inline bool NAME(runs)(const cb_small_matrix *m, int rows, int cols) {
    return (m->col == 1 || cols == 1) && (m->row == cols || rows == 1);
}

#if defined(__AVX512F__)
/* LANES vectors of LANES items change rows with columns: log2(LANES) rounds that exchange blocks */
CB_INLINE void NAME(transpose)(V *v) {
#pragma GCC unroll 4
    for (int s = LANES / 2; s > 0; s /= 2) {
        M low, high;
        for (int j = 0; j < LANES; j++) {
            low[j] = (I)(j & s ? LANES + j - s : j);
            high[j] = (I)(j & s ? LANES + j : j + s);
        }
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++)
            if (!(i & s)) {
                V upper = v[i], lower = v[i + s];
                v[i] = __builtin_shuffle(upper, lower, low);
                v[i + s] = __builtin_shuffle(upper, lower, high);
            }
    }
}

static __attribute__((noinline)) void NAME(load_run)(V *to, const cb_small_matrix *m, int n) {
    for (int e = 0; e < n; e += LANES) {
        int count = CB_MIN(LANES, n - e);
        V v[LANES];
        for (int l = 0; l < LANES; l++) v[l] = READ(count, (const T *)m->at[l] + e);
        NAME(transpose)(v);
        for (int i = 0; i < count; i++) to[e + i] = v[i];
    }
}

static __attribute__((noinline)) void NAME(store_run)(const cb_small_matrix *m, const V *from, int lanes,
                                                      int n) {
    for (int e = 0; e < n; e += LANES) {
        int count = CB_MIN(LANES, n - e);
        V v[LANES];
        for (int i = 0; i < LANES; i++) v[i] = i < count ? from[e + i] : (V){};
        NAME(transpose)(v);
        for (int l = 0; l < lanes; l++) WRITE(count, (T *)m->at[l] + e, v[l]);
    }
}
#endif

static __attribute__((noinline)) void NAME(load)(V *to, const cb_small_matrix *m, int rows, int cols) {
#if defined(__AVX512F__)
    if (NAME(runs)(m, rows, cols)) {
        NAME(load_run)(to, m, rows * cols);
        return;
    }
    if (rows == cols && m->row == 1 && m->col == rows) {
        NAME(load_run)(to, m, rows * cols);
        for (int i = 0; i < rows; i++)
            for (int k = 0; k < i; k++) {
                V swap = to[i * cols + k];
                to[i * cols + k] = to[k * cols + i];
                to[k * cols + i] = swap;
            }
        return;
    }
#endif
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < cols; k++) {
            T *v = (T *)to++;
            for (int l = 0; l < LANES; l++) v[l] = ((const T *)m->at[l])[i * m->row + k * m->col];
        }
}

static void NAME(store)(const cb_small_matrix *m, const V *from, int count, int rows, int cols) {
#if defined(__AVX512F__)
    if (NAME(runs)(m, rows, cols)) {
        NAME(store_run)(m, from, count, rows * cols);
        return;
    }
#endif
    for (int l = 0; l < count; l++) {
        T *to = (T *)m->at[l];
        const T *v = (const T *)from + l;
        for (int64_t i = 0; i < rows; i++)
            for (int64_t k = 0; k < cols; k++, v += LANES) to[i * m->row + k * m->col] = *v;
    }
}

/* Products of the diagonal in double; the logarithm from the products of mantissas and the sum of exponents.
 * Where a factor is 0, subnormal, inf or nan, info says so. */
static void NAME(products)(cb_small *s, const V *a, const M *pivots, int n) {
    double det[LANES], sign[LANES], mantissa[LANES], log_abs[LANES];
    int64_t exponent[LANES] = {0}, odd[LANES] = {0};
    for (int l = 0; l < LANES; l++) det[l] = mantissa[l] = 1;
    for (int i = 0; i < n; i++) {
        const T *u = (const T *)&a[i * n + i];
        const I *p = (const I *)&pivots[i];
        for (int l = 0; l < LANES; l++) {
            double value = p[l] == i + 1 ? (double)u[l] : -(double)u[l];
            int64_t bits, one;
            memcpy(&bits, &value, sizeof bits);
            int64_t e = bits >> 52 & 2047;
            odd[l] |= e == 0 || e == 2047;
            exponent[l] += e - 1023;
            one = (bits & ~((int64_t)2047 << 52)) | (int64_t)1023 << 52;
            memcpy(&value, &one, sizeof value);
            mantissa[l] *= value;
            memcpy(&value, &bits, sizeof value);
            det[l] *= value;
        }
    }
    for (int l = 0; l < LANES; l++) {
        sign[l] = mantissa[l] < 0 ? -1 : 1;
        log_abs[l] = log_f64(mantissa[l] * sign[l]) + (double)exponent[l] * 0.693147180559945309417;
    }
    for (int l = 0; l < LANES; l++) {
        s->det[l] = det[l];
        s->sign[l] = sign[l];
        s->log_abs[l] = log_abs[l];
        s->info[l] = odd[l];
    }
}

static void NAME(put_pivots)(cb_small *s, const M *pivots) {
    for (int l = 0; l < s->count; l++)
        for (int i = 0; i < s->n; i++) s->pivots[l][i] = (int32_t)pivots[i][l];
}
static void NAME(put_info)(cb_small *s, M info) {
    for (int l = 0; l < LANES; l++) s->info[l] = info[l];
}

/* gcc does not see that x is loaded over the very rows and columns that are stored */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
CB_INLINE void NAME(work)(cb_small *s, int n) {
    V *restrict a = s->memory, *restrict x = a + n * n;
    M pivots[CB_GROUP_ORDER];
    int k = s->k;
    if (n < 1 || n > CB_GROUP_ORDER) __builtin_unreachable();
    NAME(load)(a, &s->a, n, n);
    switch (s->kind) {
        case CB_SMALL_LU:
            NAME(put_info)(s, NAME(lu)(a, n, pivots));
            NAME(put_pivots)(s, pivots);
            NAME(store)(&s->x, a, s->count, n, n);
            break;
        case CB_SMALL_LU_SOLVE:
            NAME(load)(x, &s->b, n, k);
            for (int i = 0; i < n; i++)
                for (int l = 0; l < LANES; l++) pivots[i][l] = s->pivots[l][i];
            if (k == 1)
                NAME(lu_solve)(a, pivots, x, n, 1, s->transposed);
            else
                NAME(lu_solve)(a, pivots, x, n, k, s->transposed);
            NAME(store)(&s->x, x, s->count, n, k);
            break;
        case CB_SMALL_INVERSE:
            NAME(put_info)(s, NAME(lu)(a, n, pivots));
            for (int i = 0; i < n * n; i++) x[i] = (V){} + (T)(i % (n + 1) == 0);
            NAME(lu_solve)(a, pivots, x, n, n, false);
            NAME(store)(&s->x, x, s->count, n, n);
            break;
        case CB_SMALL_DET:
            NAME(lu)(a, n, pivots);
            NAME(products)(s, a, pivots, n);
            NAME(put_pivots)(s, pivots);
            NAME(store)(&s->x, a, s->count, n, n);
            break;
        case CB_SMALL_CHOLESKY:
            if (s->part == 2)
                for (int i = 0; i < n; i++)
                    for (int c = 0; c < i; c++) a[i * n + c] = (a[i * n + c] + a[c * n + i]) / 2;
            NAME(put_info)(s, NAME(cholesky)(a, n));
            for (int i = 0; i < n; i++)
                for (int c = i + 1; c < n; c++) a[i * n + c] = (V){};
            NAME(store)(&s->x, a, s->count, n, n);
            break;
        case CB_SMALL_TRIANGULAR:
            NAME(load)(x, &s->b, n, k);
            if (s->lower)
                NAME(lower)(a, x, n, k, s->unit);
            else
                NAME(upper)(a, x, n, k, s->unit);
            NAME(store)(&s->x, x, s->count, n, k);
            break;
        default: break;
    }
}

#include "small_vectors_typed.h"

static void NAME(part)(cb_small *s) {
    bool turns = s->kind == CB_SMALL_EIGH || s->kind == CB_SMALL_SVD;
    if (turns && LANES == 2 && CB_MAX(s->m, s->n) > 24) { /* LAPACK is faster than rotations of two lanes */
        for (int l = 0; l < s->count; l++) s->info[l] = 1;
        return;
    }
    switch (s->kind) {
        case CB_SMALL_QR: NAME(qr)(s, s->memory); return;
        case CB_SMALL_EIGH: NAME(eigh)(s, s->memory); return;
        case CB_SMALL_SVD: NAME(svd)(s, s->memory); return;
        default: break;
    }
    switch (s->n) {
#if defined(__AVX__) || !defined(__x86_64__)
        case 2: NAME(work)(s, 2); break;
        case 3: NAME(work)(s, 3); break;
        case 4: NAME(work)(s, 4); break;
#endif
        default: NAME(work)(s, s->n);
    }
}

/* A group with more matrices than a vector has lanes is done in parts. */
static void NAME(group)(cb_small *s) {
    if (LANES >= s->count) {
        NAME(part)(s);
        return;
    }
    for (int first = 0; first < s->count; first += LANES) {
        cb_small part = *s;
        part.count = CB_MIN(LANES, s->count - first);
        for (int l = 0; l < LANES; l++) {
            part.a.at[l] = s->a.at[first + l];
            part.b.at[l] = s->b.at[first + l];
            part.x.at[l] = s->x.at[first + l];
            part.y.at[l] = s->y.at[first + l];
            part.z.at[l] = s->z.at[first + l];
            part.pivots[l] = s->pivots[first + l];
        }
        NAME(part)(&part);
        for (int l = 0; l < LANES; l++) {
            s->info[first + l] = part.info[l];
            s->det[first + l] = part.det[l];
            s->sign[first + l] = part.sign[l];
            s->log_abs[first + l] = part.log_abs[l];
        }
    }
}
#pragma GCC diagnostic pop

#undef V
#undef M
#undef T
#undef I
#undef SMALLEST
#undef LARGEST
#undef TARGET
#undef TINY
#undef TOLERANCE
#undef ROOT
#undef NAME
#undef READ
#undef WRITE
