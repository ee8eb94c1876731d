/* Linear algebra: each factorization multiplied out, for all dtypes, shapes, layouts and batches; failures,
 * meta tensors, errors. CB_BLAS names the OpenBLAS library; without it only the missing library is tested. */
#include <math.h>

#include "products_test.h"

static int current;

/* frees x */
static cb_tensor *own(cb_tensor *x, cb_tensor *y) {
    cb_release(x);
    return y;
}

static cb_tensor *mul(cb_tensor *a, cb_tensor *b) { return cb_matmul(a, b); }

static cb_tensor *adjoint(cb_tensor *a) {
    cb_tensor *t = cb_transpose(a, -1, -2);
    return !cb_is_complex(a->dtype) ? t : own(t, cb_unary(cb_op_code("unary", "conj_physical"), t));
}

static cb_tensor *eye(int n) { return cb_eye(current, CB_CPU, n, n); }

/* the largest |a - b|, relative to the largest |b| or 1 */
static double distance(cb_tensor *a, cb_tensor *b) {
    if (!a || !b || a->numel != b->numel) return INFINITY;
    cb_complex128 *p = values(a), *q = values(b);
    double most = 0, size = 1;
    for (int64_t i = 0; i < a->numel; i++) {
        double d = cabs(p[i] - q[i]);
        if (!(d <= most)) most = d;
        if (cabs(q[i]) > size) size = cabs(q[i]);
    }
    free(p);
    free(q);
    return most / size;
}

static void same(cb_tensor *a, cb_tensor *b, const char *what) {
    double bound = cb_real_dtype(current) == CB_F64 ? 1e-9 : 2e-3, d = distance(a, b);
    CHECK(d <= bound, "%s %s: distance %g", what, cb_dtypes[current].name, d);
}

/* random matrices with a heavy diagonal, in one of the layouts of restride */
static cb_tensor *heavy(int nbatch, int m, int n, int mode) {
    int64_t shape[3] = {nbatch, m, n};
    cb_tensor *x = make(current, 3, shape, 3), *unit = cb_eye(current, CB_CPU, m, n);
    cb_tensor *ten = cb_binary_int(cb_op_code("binary", "mul"), unit, 10, 0);
    cb_tensor *y = cb_binary(cb_op_code("binary", "add"), x, ten), *z = restride(y, mode);
    cb_release(x);
    cb_release(unit);
    cb_release(ten);
    cb_release(y);
    return z;
}

static void drop(cb_tensor **xs, int n) {
    for (int i = 0; i < n; i++) cb_release(xs[i]);
}

static void systems(int n, int mode) {
    cb_tensor *a = heavy(3, n, n, mode), *b = heavy(1, n, 2, mode), *out[6], *one = eye(n);
    int64_t all[3] = {3, n, n};
    cb_tensor *ones = cb_expand(one, 3, all), *t = cb_transpose(a, -1, -2), *h = adjoint(a), *x, *y;
    CHECK(cb_lu_factor(a, "lu", out) == CB_OK, "lu_factor");
    for (int trans = 0; trans < 3; trans++) {
        x = cb_lu_solve(out[0], out[1], b, trans);
        y = mul(trans == 0 ? a : trans == 1 ? t : h, x);
        int64_t shape[3] = {3, n, 2};
        cb_tensor *wide = cb_expand(b, 3, shape);
        same(y, wide, "lu_solve");
        drop((cb_tensor *[]){x, y, wide}, 3);
    }
    x = cb_lu_permutation(out[1], n + 1);
    CHECK(x && x->dtype == CB_I64 && x->shape[1] == n + 1, "permutation");
    cb_release(x);
    drop(out, 3);
    CHECK(cb_inv(a, "inv", out) == CB_OK, "inv");
    y = mul(a, out[0]);
    same(y, ones, "inv");
    cb_release(y);
    drop(out, 2);
    CHECK(cb_det(a, out) == CB_OK, "det");
    drop(out, 6);
    cb_tensor *spd = mul(a, h);
    for (int part = 0; part < 3; part++) {
        CHECK(cb_cholesky(spd, part, "cholesky", out) == CB_OK, "cholesky");
        x = adjoint(out[0]);
        y = mul(out[0], x);
        same(y, spd, "cholesky");
        drop((cb_tensor *[]){x, y}, 2);
        drop(out, 2);
    }
    for (int hermitian = 0; hermitian < 2; hermitian++) {
        cb_tensor *sum = cb_binary(cb_op_code("binary", "add"), a, hermitian ? h : t);
        CHECK(cb_ldl_factor(sum, hermitian, "ldl", out) == CB_OK, "ldl");
        x = cb_ldl_solve(out[0], out[1], sum, hermitian);
        same(x, ones, "ldl_solve");
        drop((cb_tensor *[]){x, sum}, 2);
        drop(out, 3);
    }
    for (int k = 0; k < 24; k++) {
        int upper = k & 1, left = k >> 1 & 1, unit = k >> 2 & 1, trans = k / 8;
        cb_tensor *right = left ? b : cb_transpose(b, -1, -2);
        x = cb_solve_triangular(a, right, upper, left, unit, trans);
        CHECK(x && x->shape[1] == right->shape[1], "solve_triangular");
        if (!unit && !trans && left) {
            cb_tensor *tri = cb_tri(a, 0, upper);
            int64_t shape[3] = {3, n, 2};
            cb_tensor *wide = cb_expand(b, 3, shape);
            y = mul(tri, x);
            same(y, wide, "solve_triangular");
            drop((cb_tensor *[]){tri, wide, y}, 3);
        }
        cb_release(x);
        if (!left) cb_release(right);
    }
    drop((cb_tensor *[]){a, b, one, ones, t, h, spd}, 7);
}

/* v diag(w) */
static cb_tensor *scaled(cb_tensor *v, cb_tensor *w) {
    cb_tensor *row = cb_unsqueeze(w, -2);
    return own(row, cb_binary(cb_op_code("binary", "mul"), v, row));
}

static void spectra(int n, int mode) {
    cb_tensor *a = heavy(2, n, n, mode), *h = adjoint(a), *out[3], *x, *y;
    cb_tensor *sum = cb_binary(cb_op_code("binary", "add"), a, h);
    for (int part = 0; part < 3; part++) {
        CHECK(cb_eigh(sum, part, 1, "eigh", out) == CB_OK, "eigh");
        x = mul(sum, out[1]);
        y = scaled(out[1], out[0]);
        same(x, y, "eigh");
        drop((cb_tensor *[]){x, y, out[1]}, 3);
        CHECK(cb_eigh(sum, part, 0, "eigh", out + 1) == CB_OK, "eigvalsh");
        same(out[0], out[1], "eigvalsh");
        drop(out, 2);
    }
    CHECK(cb_eig(a, 1, "eig", out) == CB_OK, "eig");
    cb_tensor *wide = cb_cast(a, cb_complex_dtype(current));
    x = mul(wide, out[1]);
    y = scaled(out[1], out[0]);
    same(x, y, "eig");
    drop((cb_tensor *[]){x, y, wide}, 3);
    drop(out, 2);
    CHECK(cb_eig(a, 0, "eig", out) == CB_OK, "eigvals");
    cb_release(out[0]);
    cb_release(cb_matrix_exp(a));
    drop((cb_tensor *[]){a, h, sum}, 3);
}

static void rectangles(int m, int n, int mode) {
    int k = CB_MIN(m, n);
    cb_tensor *a = heavy(2, m, n, mode), *out[3], *x, *y;
    for (int full = 0; full < 2; full++) {
        CHECK(cb_qr(a, full, out) == CB_OK, "qr");
        x = mul(out[0], out[1]);
        same(x, a, "qr");
        cb_release(x);
        drop(out, 2);
        CHECK(cb_svd(a, full, 1, "svd", out) == CB_OK, "svd");
        CHECK(out[0]->shape[2] == (full ? m : k) && out[2]->shape[1] == (full ? n : k), "svd");
        int64_t columns[8] = {3, 0, 0, 0, 1, INT64_MIN, k, 1};
        int64_t rows[12] = {3, 0, 0, 0, 1, INT64_MIN, k, 1, 1, INT64_MIN, INT64_MIN, 1};
        cb_tensor *u = cb_index_basic(out[0], 2, columns), *v = cb_index_basic(out[2], 3, rows);
        x = scaled(u, out[1]);
        y = mul(x, v);
        same(y, a, "svd");
        drop((cb_tensor *[]){u, v, x, y}, 4);
        drop(out, 3);
    }
    CHECK(cb_svd(a, 0, 0, "svd", out) == CB_OK, "svdvals");
    cb_release(out[0]);
    CHECK(cb_geqrf(a, out) == CB_OK, "geqrf");
    if (m >= n) {
        x = cb_householder_product(out[0], out[1]);
        CHECK(x != NULL, "householder_product");
        cb_release(x);
    }
    for (int left = 0; left < 2; left++)
        for (int trans = 0; trans < 2; trans++) {
            cb_tensor *c = left ? cb_retain(a) : cb_transpose(a, -1, -2);
            x = cb_ormqr(out[0], out[1], c, left, trans);
            CHECK(x != NULL, "ormqr");
            drop((cb_tensor *[]){x, c}, 2);
        }
    drop(out, 2);
    cb_tensor *b = heavy(1, m, 2, 0);
    CHECK(cb_lstsq(a, b, 1e-6, out) == CB_OK, "lstsq");
    CHECK(k == 0 || ((int64_t *)out[1]->data)[0] == k, "rank");
    drop(out, 2);
    drop((cb_tensor *[]){a, b}, 2);
}

static bool first_is_nan(cb_tensor *x) {
    cb_complex128 *v = values(x);
    bool nan = isnan(creal(v[0]));
    free(v);
    return nan;
}

static void failures_and_meta(void) {
    int64_t shape[3] = {2, 3, 3};
    cb_tensor *zero = cb_full(current, CB_CPU, 3, shape, &(cb_scalar){.kind = 'i'}), *out[6];
    cb_tensor *nan = cb_full(current, CB_CPU, 3, shape, &(cb_scalar){.kind = 'f', .re = NAN});
    CHECK(cb_inv(zero, "inv", out) == CB_ERR_LINALG && !out[0] && !out[1], "singular");
    CHECK(cb_inv(zero, NULL, out) == CB_OK && ((int *)out[1]->data)[1] == 1, "info");
    drop(out, 2);
    CHECK(cb_cholesky(zero, 0, "cholesky", out) == CB_ERR_LINALG, "not positive-definite");
    CHECK(cb_lu_factor(zero, "lu", out) == CB_ERR_LINALG, "singular");
    CHECK(cb_svd(nan, 1, 1, "svd", out) == CB_ERR_LINALG, "nan");
    CHECK(cb_eig(nan, 1, "eig", out) == CB_ERR_LINALG, "nan");
    CHECK(cb_eigh(nan, 0, 1, NULL, out) == CB_OK, "nan");
    drop(out, 2);
    cb_tensor *e = cb_matrix_exp(nan);
    CHECK(e && first_is_nan(e), "nan");
    cb_release(e);
    CHECK(cb_det(zero, out) == CB_OK, "det");
    drop(out, 6);
    cb_tensor *meta = cb_empty(current, CB_META, 3, shape);
    CHECK(cb_svd(meta, 0, 1, "svd", out) == CB_OK && cb_is_meta(out[0]), "meta");
    drop(out, 3);
    CHECK(cb_lu_factor(meta, "lu", out) == CB_OK, "meta");
    cb_tensor *x = cb_lu_solve(out[0], out[1], meta, 0);
    CHECK(x && cb_is_meta(x), "meta");
    cb_release(x);
    drop(out, 3);
    drop((cb_tensor *[]){zero, nan, meta}, 3);
}

static void errors(void) {
    int64_t shape[2] = {2, 3};
    cb_tensor *wide = cb_full(CB_F64, CB_CPU, 2, shape, &(cb_scalar){.kind = 'i'}), *out[6];
    cb_tensor *half = cb_eye(CB_F16, CB_CPU, 2, 2), *whole = cb_eye(CB_I64, CB_CPU, 2, 2);
    cb_tensor *good = cb_eye(CB_F64, CB_CPU, 2, 2), *single = cb_eye(CB_F32, CB_CPU, 2, 2);
    cb_tensor *pivots = cb_full(CB_I32, CB_CPU, 1, (int64_t[]){2}, &(cb_scalar){.kind = 'i', .i = 7});
    CHECK(cb_inv(NULL, NULL, out) == CB_ERR_NULL, "null");
    CHECK(cb_inv(wide, NULL, out) == CB_ERR_SHAPE, "not square");
    CHECK(cb_eigh(half, 0, 1, NULL, out) == CB_ERR_DTYPE, "half");
    CHECK(cb_svd(whole, 0, 1, NULL, out) == CB_ERR_DTYPE, "integers");
    expect_error(cb_solve_triangular(good, single, 0, 1, 0, 0), CB_ERR_DTYPE, "two dtypes");
    expect_error(cb_lu_solve(good, pivots, good, 0), CB_ERR_VALUE, "pivots");
    expect_error(cb_lu_solve(good, good, good, 0), CB_ERR_SHAPE, "pivots");
    expect_error(cb_lu_permutation(pivots, 2), CB_ERR_VALUE, "pivots");
    expect_error(cb_householder_product(wide, good), CB_ERR_SHAPE, "m < n");
    expect_error(cb_matrix_exp(wide), CB_ERR_SHAPE, "not square");
    drop((cb_tensor *[]){wide, half, whole, good, single, pivots}, 6);
}

/* item i of a batch */
static cb_tensor *item_of(cb_tensor *x, int i) { return cb_index_basic(x, 1, (int64_t[]){0, i, 0, 0}); }

/* Batches large enough to be worked on side by side give what single matrices give, whatever the others are.
 */
static void groups(int n, int mode, bool blas) {
    enum { COUNT = 21, SINGULAR = 6 };
    cb_tensor *a = heavy(COUNT, n, n, mode), *b = make(current, 3, (int64_t[]){COUNT, n, 2}, 3);
    cb_tensor *h = adjoint(a), *spd = mul(a, h), *zero = item_of(a, SINGULAR), *outs[4][6], *x[8] = {NULL};
    cb_fill(zero, &(cb_scalar){.kind = 'i'}, 0);
    CHECK(!cb_lu_factor(a, NULL, outs[0]) && !cb_inv(a, NULL, outs[1]) && !cb_det(a, outs[2]) &&
              !cb_cholesky(spd, 0, NULL, outs[3]),
          "groups");
    for (int t = 0; t < 3; t++) x[t] = cb_lu_solve(outs[0][0], outs[0][1], b, t);
    cb_tensor *bt = cb_transpose(b, -1, -2);
    for (int t = 0; t < 4 && blas; t++)
        x[4 + t] = cb_solve_triangular(spd, t & 1 ? b : bt, t & 2, t & 1, 0, t == 3 ? 1 : 0);
    for (int i = 0; i < COUNT; i++) {
        cb_tensor *ai = item_of(a, i), *bi = item_of(b, i), *si = item_of(spd, i), *alone[6], *y[6];
        static const int kept[] = {3, 2, 6, 2};
        for (int kind = 0; kind < 4; kind++) {
            int status = kind == 0   ? cb_lu_factor(ai, NULL, alone)
                         : kind == 1 ? cb_inv(ai, NULL, alone)
                         : kind == 2 ? cb_det(ai, alone)
                                     : cb_cholesky(si, 0, NULL, alone);
            CHECK(status == CB_OK, "alone");
            bool result = kind != 1 || i != SINGULAR;
            for (int k = 0; k < kept[kind]; k++) {
                y[0] = item_of(outs[kind][k], i);
                if (alone[k]->dtype == CB_I32) {
                    CHECK(!memcmp(y[0]->data, alone[k]->data, (size_t)y[0]->numel * 4), "pivots, info %d",
                          kind);
                } else if (result && !(kind == 2 && k == 2 && i == SINGULAR)) {
                    same(y[0], alone[k], "groups");
                }
                cb_release(y[0]);
            }
            if (kind == 0)
                for (int t = 0; t < 3 && i != SINGULAR; t++) {
                    y[0] = cb_lu_solve(alone[0], alone[1], bi, t);
                    y[1] = item_of(x[t], i);
                    same(y[1], y[0], "groups: lu_solve");
                    drop(y, 2);
                }
            drop(alone, kept[kind]);
        }
        for (int t = 0; t < 4 && blas && i != SINGULAR; t++) {
            y[0] = item_of(t & 1 ? b : bt, i);
            y[1] = cb_solve_triangular(si, y[0], t & 2, t & 1, 0, t == 3 ? 1 : 0);
            y[2] = item_of(x[4 + t], i);
            same(y[2], y[1], "groups: triangular");
            drop(y, 3);
        }
        drop((cb_tensor *[]){ai, bi, si}, 3);
    }
    drop(outs[0], 3), drop(outs[1], 2), drop(outs[2], 6), drop(outs[3], 2), drop(x, 8);
    drop((cb_tensor *[]){a, b, h, spd, zero, bt}, 6);
}

int main(void) {
    static const int dtypes[] = {CB_F32, CB_F64, CB_C64, CB_C128};
    static const int sizes[][2] = {{4, 4}, {5, 2}, {2, 5}, {1, 3}, {3, 1}, {40, 33}, {0, 3}, {3, 0}, {0, 0}};
    const char *blas = getenv("CB_BLAS");
    cb_init(NULL);
    errors();
    for (int n = 1; n <= 16; n += n < 5 ? 1 : 3)
        for (int wide = 0; wide < 2; wide++) {
            current = wide ? CB_F64 : CB_F32;
            for (int mode = 0; mode < 3 && (!blas || !cb_load_blas(blas)); mode++)
                groups(n, mode, blas != NULL);
        }
    if (!blas) {
        cb_tensor *x = cb_eye(CB_F64, CB_CPU, 20, 20), *out[3]; /* small ones need no library */
        CHECK(cb_lu_factor(x, NULL, out) == CB_ERR_INTERNAL, "no library");
        cb_release(x);
        return finish("test_linalg");
    }
    cb_load_blas(blas);
    for (int t = 0; t < 4; t++) {
        current = dtypes[t];
        for (int mode = 0; mode < 3; mode++) {
            static const int orders[] = {0, 1, 2, 5, 33};
            for (int i = 0; i < 5; i++) {
                systems(orders[i], mode);
                spectra(orders[i], mode);
            }
            for (int i = 0; i < 9; i++) rectangles(sizes[i][0], sizes[i][1], mode);
        }
        failures_and_meta();
    }
    return finish("test_linalg");
}
