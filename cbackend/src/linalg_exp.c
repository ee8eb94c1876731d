/* The matrix exponential: Padé approximants with scaling and squaring.
 *
 * Reference: Higham 2005, The scaling and squaring method for the matrix exponential revisited. Degree and
 * scaling follow from each matrix's 1-norm.
 * A complex matrix is an array of twice as many reals to all but products. */
#include <math.h>

#include "linalg.h"

typedef void (*gemm_fn)(const char *ta, const char *tb, const int *m, const int *n, const int *k,
                        const void *alpha, const void *a, const int *lda, const void *b, const int *ldb,
                        const void *beta, void *c, const int *ldc, size_t, size_t);
typedef void (*gesv_fn)(const int *n, const int *k, void *a, const int *lda, int *pivots, void *b,
                        const int *ldb, int *info);

static const double pade3[] = {120, 60, 12, 1};
static const double pade5[] = {30240, 15120, 3360, 420, 30, 1};
static const double pade7[] = {17297280, 8648640, 1995840, 277200, 25200, 1512, 56, 1};
static const double pade9[] = {17643225600, 8821612800, 2075673600, 302702400, 30270240,
                               2162160,     110880,     3960,       90,        1};
static const double pade13[] = {64764752532480000,
                                32382376266240000,
                                7771770303897600,
                                1187353796428800,
                                129060195264000,
                                10559470521600,
                                670442572800,
                                33522128640,
                                1323241920,
                                40840800,
                                960960,
                                16380,
                                182,
                                1};

static void product(const cb_lapack *j, const void *a, const void *b, void *c) {
    double alpha[2] = {1, 0}, beta[2] = {0, 0};
    if (cb_real_dtype(j->dtype) == CB_F32) memcpy(alpha, (float[]){1, 0}, 2 * sizeof(float));
    ((gemm_fn)j->call[0])("N", "N", &j->n, &j->n, &j->n, alpha, a, &j->n, b, &j->n, beta, c, &j->n, 1, 1);
}

/* y = scale * y + factor * x */
static void add(const cb_lapack *j, double scale, void *y, double factor, const void *x) {
    int64_t n = (int64_t)j->n * j->n * (cb_is_complex(j->dtype) ? 2 : 1);
    if (cb_real_dtype(j->dtype) == CB_F64) {
        double *p = y;
        for (int64_t i = 0; i < n; i++)
            p[i] = (scale == 0 ? 0 : scale * p[i]) + factor * ((const double *)x)[i];
    } else {
        float *p = y, f = (float)factor, s = (float)scale;
        for (int64_t i = 0; i < n; i++) p[i] = (s == 0 ? 0 : s * p[i]) + f * ((const float *)x)[i];
    }
}

static void add_identity(const cb_lapack *j, void *y, double factor) {
    int64_t step = ((int64_t)j->n + 1) * (cb_is_complex(j->dtype) ? 2 : 1);
    for (int64_t i = 0; i < j->n; i++) {
        if (cb_real_dtype(j->dtype) == CB_F64)
            ((double *)y)[i * step] += factor;
        else
            ((float *)y)[i * step] += (float)factor;
    }
}

static double norm1(const cb_lapack *j, const void *a) {
    double largest = 0;
    for (int64_t k = 0; k < j->n; k++) {
        double sum = 0;
        for (int64_t i = k * j->n; i < (k + 1) * j->n; i++)
            sum += j->dtype == CB_F32   ? fabs((double)((const float *)a)[i])
                   : j->dtype == CB_F64 ? fabs(((const double *)a)[i])
                   : j->dtype == CB_C64
                       ? hypot((double)((const float *)a)[2 * i], (double)((const float *)a)[2 * i + 1])
                       : hypot(((const double *)a)[2 * i], ((const double *)a)[2 * i + 1]);
        if (!(sum <= largest)) largest = sum; /* nan stays */
    }
    return largest;
}

enum { U, V, A2, A4, A6, WORK, MATRICES };

/* U and V, the odd and even parts of the approximant's numerator, of one of the degrees 3 to 9 */
static void low_degree(const cb_lapack *j, const void *a, void **w, const double *b, int degree) {
    void *const powers[] = {NULL, w[A2], w[A4], w[A6], w[V]};
    add(j, 0, w[WORK], b[3], w[A2]);
    if (degree >= 5) product(j, w[A2], w[A2], w[A4]);
    if (degree >= 7) product(j, w[A4], w[A2], w[A6]);
    if (degree >= 9) product(j, w[A4], w[A4], w[V]); /* A^8, overwritten last */
    for (int i = 2; 2 * i <= degree; i++) add(j, 1, w[WORK], b[2 * i + 1], powers[i]);
    add_identity(j, w[WORK], b[1]);
    product(j, a, w[WORK], w[U]);
    if (degree >= 9)
        add(j, b[8], w[V], b[2], w[A2]);
    else
        add(j, 0, w[V], b[2], w[A2]);
    for (int i = 2; 2 * i <= CB_MIN(degree, 7); i++) add(j, 1, w[V], b[2 * i], powers[i]);
    add_identity(j, w[V], b[0]);
}

static void degree_13(const cb_lapack *j, const void *a, void **w) {
    const double *b = pade13;
    product(j, w[A2], w[A2], w[A4]);
    product(j, w[A4], w[A2], w[A6]);
    add(j, 0, w[V], b[13], w[A6]);
    add(j, 1, w[V], b[11], w[A4]);
    add(j, 1, w[V], b[9], w[A2]);
    product(j, w[A6], w[V], w[WORK]);
    add(j, 1, w[WORK], b[7], w[A6]);
    add(j, 1, w[WORK], b[5], w[A4]);
    add(j, 1, w[WORK], b[3], w[A2]);
    add_identity(j, w[WORK], b[1]);
    product(j, a, w[WORK], w[U]);
    add(j, 0, w[WORK], b[12], w[A6]);
    add(j, 1, w[WORK], b[10], w[A4]);
    add(j, 1, w[WORK], b[8], w[A2]);
    product(j, w[A6], w[WORK], w[V]);
    add(j, 1, w[V], b[6], w[A6]);
    add(j, 1, w[V], b[4], w[A4]);
    add(j, 1, w[V], b[2], w[A2]);
    add_identity(j, w[V], b[0]);
}

static void matrix_exp_one(const cb_lapack *j, int64_t item, char *scratch) {
    /* norms up to which each degree is exact to rounding: Higham's tables 2.3 and 2.1 */
    static const double bounds64[] = {1.495585217958292e-2, 2.539398330063230e-1, 9.504178996162932e-1,
                                      2.097847961257068, 5.371920351148152};
    static const double bounds32[] = {4.258730016922831e-1, 1.880152677804762, 3.925724783138660};
    static const double *const tables[] = {pade3, pade5, pade7, pade9};
    int64_t size = (int64_t)cb_itemsize(j->dtype) * j->n * j->n;
    void *a = cb_carve(&scratch, size), *w[MATRICES];
    for (int i = 0; i < MATRICES; i++) w[i] = cb_carve(&scratch, size);
    int *pivots = cb_carve(&scratch, (int64_t)sizeof(int) * j->n), squarings = 0, which = 0, info;
    bool wide = cb_real_dtype(j->dtype) == CB_F64;
    cb_lapack_load(j, 0, item, a, j->n);
    double norm = norm1(j, a), last = wide ? bounds64[4] : bounds32[2];
    void *to = cb_lapack_place(j, 0, item);
    if (!isfinite(norm)) {
        cb_fill_nan(j->out[0], to, (int64_t)j->n * j->n);
        return;
    }
    int degrees = wide ? 5 : 3;
    while (which < degrees - 1 && norm > (wide ? bounds64 : bounds32)[which]) which++;
    if (norm > last) {
        frexp(norm / last, &squarings);
        add(j, 0, w[WORK], ldexp(1, -squarings), a);
        memcpy(a, w[WORK], (size_t)size);
    }
    product(j, a, a, w[A2]);
    if (which == 4)
        degree_13(j, a, w);
    else
        low_degree(j, a, w, tables[which], 3 + 2 * which);
    memcpy(w[WORK], w[V], (size_t)size);
    add(j, 1, w[V], 1, w[U]);     /* numerator */
    add(j, 1, w[WORK], -1, w[U]); /* denominator */
    ((gesv_fn)j->call[1])(&j->n, &j->n, w[WORK], &j->n, pivots, w[V], &j->n, &info);
    void *x = w[V], *y = w[U];
    for (int i = 0; i < squarings; i++) {
        product(j, x, x, y);
        void *swap = x;
        x = y;
        y = swap;
    }
    cb_lapack_store(j, 0, item, x, j->n);
}

cb_tensor *cb_matrix_exp(cb_tensor *a) {
    cb_lapack j;
    cb_tensor *out;
    if (cb_lapack_start(&j, "matrix_exp", 1, &a, (int[]){2})) return NULL;
    if (j.m != j.n)
        return cb_fail_null(CB_ERR_SHAPE, "matrix_exp: expected square matrices, got shape %s.",
                            cb_shape_of(a));
    cb_lapack_result(&j, j.dtype, j.n, j.n);
    int status = CB_OK;
    if (!cb_lapack_idle(&j) && j.n > 0) {
        int64_t size = (int64_t)cb_itemsize(j.dtype) * j.n * j.n;
        j.call[0] = cb_lapack_routine(&j, "gemm", NULL);
        j.call[1] = cb_lapack_routine(&j, "gesv", NULL);
        j.scratch = (MATRICES + 1) * cb_padded(size) + cb_padded((int64_t)sizeof(int) * j.n);
        j.work = 12.0 * j.n * j.n * j.n;
        j.one = matrix_exp_one;
        status = cb_lapack_run(&j);
    }
    return cb_lapack_finish(&j, status, NULL, 0, "", &out, 1) ? NULL : out;
}
