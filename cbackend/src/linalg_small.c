/* LU and Cholesky of small matrices, with LAPACK's arguments: OpenBLAS spends more on setting up a 4 x 4
 * factorization than the factorization takes.
 *
 * Column-major but for Cholesky, unblocked; pivots are chosen as LAPACK does (for complex numbers by |re| +
 * |im|), so that both give the same factors up to rounding. */
#include <math.h>

#include "linalg.h"

#define SMALL(T, R, name, size_of, conjugate, real_of)                                                      \
    static void getrf_##name(const int *m, const int *n, T *a, const int *lda, int *pivots, int *info) {    \
        *info = 0;                                                                                          \
        for (int c = 0; c < CB_MIN(*m, *n); c++) {                                                          \
            T *column = a + (int64_t)c * *lda;                                                              \
            int p = c;                                                                                      \
            for (int i = c + 1; i < *m; i++)                                                                \
                if (size_of(column[i]) > size_of(column[p])) p = i;                                         \
            pivots[c] = p + 1;                                                                              \
            if (column[p] == 0) {                                                                           \
                if (!*info) *info = c + 1;                                                                  \
                continue;                                                                                   \
            }                                                                                               \
            for (int k = 0; p != c && k < *n; k++) {                                                        \
                T *x = a + (int64_t)k * *lda, swap = x[p];                                                  \
                x[p] = x[c];                                                                                \
                x[c] = swap;                                                                                \
            }                                                                                               \
            T pivot = column[c];                                                                            \
            for (int i = c + 1; i < *m; i++) column[i] /= pivot;                                            \
            for (int k = c + 1; k < *n; k++) {                                                              \
                T *x = a + (int64_t)k * *lda, factor = x[c];                                                \
                for (int i = c + 1; i < *m; i++) x[i] -= factor * column[i];                                \
            }                                                                                               \
        }                                                                                                   \
    }                                                                                                       \
    static void plain_##name(int n, const T *a, int64_t lda, T *x) {                                        \
        for (int c = 0; c < n; c++)                                                                         \
            for (int i = c + 1; i < n; i++) x[i] -= x[c] * a[i + c * lda];                                  \
        for (int c = n - 1; c >= 0; c--) {                                                                  \
            x[c] /= a[c + c * lda];                                                                         \
            for (int i = 0; i < c; i++) x[i] -= x[c] * a[i + c * lda];                                      \
        }                                                                                                   \
    }                                                                                                       \
    static void transposed_##name(int n, const T *a, int64_t lda, T *x, bool conj) {                        \
        for (int c = 0; c < n; c++) {                                                                       \
            for (int i = 0; i < c; i++) x[c] -= (conj ? conjugate(a[i + c * lda]) : a[i + c * lda]) * x[i]; \
            x[c] /= conj ? conjugate(a[c + c * lda]) : a[c + c * lda];                                      \
        }                                                                                                   \
        for (int c = n - 1; c >= 0; c--)                                                                    \
            for (int i = c + 1; i < n; i++)                                                                 \
                x[c] -= (conj ? conjugate(a[i + c * lda]) : a[i + c * lda]) * x[i];                         \
    }                                                                                                       \
    static void swap_##name(T *x, int i, int k) {                                                           \
        T swap = x[i];                                                                                      \
        x[i] = x[k];                                                                                        \
        x[k] = swap;                                                                                        \
    }                                                                                                       \
    static void getrs_##name(const char *trans, const int *n, const int *k, const T *lu, const int *lda,    \
                             const int *pivots, T *b, const int *ldb, int *info, size_t length) {           \
        (void)length;                                                                                       \
        *info = 0;                                                                                          \
        for (int r = 0; r < *k; r++) {                                                                      \
            T *x = b + (int64_t)r * *ldb;                                                                   \
            if (*trans == 'N') {                                                                            \
                for (int i = 0; i < *n; i++) swap_##name(x, i, pivots[i] - 1);                              \
                plain_##name(*n, lu, *lda, x);                                                              \
            } else {                                                                                        \
                transposed_##name(*n, lu, *lda, x, *trans == 'C');                                          \
                for (int i = *n - 1; i >= 0; i--) swap_##name(x, i, pivots[i] - 1);                         \
            }                                                                                               \
        }                                                                                                   \
    }                                                                                                       \
    static void getri_##name(const int *n, T *a, const int *lda, const int *pivots, T *work,                \
                             const int *lwork, int *info) {                                                 \
        T lu[CB_SMALL_ORDER * CB_SMALL_ORDER];                                                              \
        (void)work;                                                                                         \
        *info = 0;                                                                                          \
        if (*lwork < 0) return;                                                                             \
        for (int c = 0; c < *n; c++)                                                                        \
            for (int i = 0; i < *n; i++) {                                                                  \
                lu[i + c * CB_SMALL_ORDER] = a[i + (int64_t)c * *lda];                                      \
                a[i + (int64_t)c * *lda] = i == c;                                                          \
            }                                                                                               \
        getrs_##name("N", n, n, lu, &(int){CB_SMALL_ORDER}, pivots, a, lda, info, 1);                       \
    }                                                                                                       \
    /* by rows: the lower triangle, which is LAPACK's upper one */                                          \
    static void potrf_##name(const char *uplo, const int *n, T *a, const int *lda, int *info,               \
                             size_t length) {                                                               \
        (void)uplo;                                                                                         \
        (void)length;                                                                                       \
        *info = 0;                                                                                          \
        for (int i = 0; i < *n; i++) {                                                                      \
            T *row = a + (int64_t)i * *lda;                                                                 \
            R d = real_of(row[i]);                                                                          \
            for (int k = 0; k < i; k++) {                                                                   \
                const T *upper = a + (int64_t)k * *lda;                                                     \
                T sum = row[k];                                                                             \
                for (int r = 0; r < k; r++) sum -= row[r] * conjugate(upper[r]);                            \
                row[k] = sum / upper[k];                                                                    \
                d -= real_of(row[k] * conjugate(row[k]));                                                   \
            }                                                                                               \
            if (!(d > 0)) {                                                                                 \
                row[i] = d;                                                                                 \
                *info = i + 1;                                                                              \
                return;                                                                                     \
            }                                                                                               \
            row[i] = (R)sqrt((double)d);                                                                    \
        }                                                                                                   \
    }

#define SAME(x) (x)
#define PARTS32(x) (fabsf(__real__(x)) + fabsf(__imag__(x)))
#define PARTS64(x) (fabs(__real__(x)) + fabs(__imag__(x)))
#define REAL(x) (__real__(x))
SMALL(float, float, f32, fabsf, SAME, SAME)
SMALL(double, double, f64, fabs, SAME, SAME)
SMALL(cb_complex64, float, c64, PARTS32, __builtin_conjf, REAL)
SMALL(cb_complex128, double, c128, PARTS64, __builtin_conj, REAL)

void *cb_small_routine(int dtype, int which) {
#define ROW(name)                                                                              \
    {                                                                                          \
        (void *)getrf_##name, (void *)getrs_##name, (void *)getri_##name, (void *)potrf_##name \
    }
    static void *const table[4][4] = {ROW(f32), ROW(f64), ROW(c64), ROW(c128)};
#undef ROW
    return table[dtype == CB_F32 ? 0 : dtype == CB_F64 ? 1 : dtype == CB_C64 ? 2 : 3][which];
}
