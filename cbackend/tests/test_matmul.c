/* Matrix products against naive loops: all dtypes, ranks, strides, sizes at the edges of tiles and blocks. */
#include "products_test.h"

static void one(int dtype, int nx, const int64_t *sx, int ny, const int64_t *sy, int mx, int my) {
    cb_tensor *x0 = make(dtype, nx, sx, 2), *y0 = make(dtype, ny, sy, 2), *x = restride(x0, mx),
              *y = restride(y0, my);
    cb_complex128 *a = values(x), *b = values(y);
    int64_t m = nx == 1 ? 1 : sx[nx - 2], k = sx[nx - 1], n = ny == 1 ? 1 : sy[ny - 1], batch = 1;
    int bx = CB_MAX(nx - 2, 0), by = CB_MAX(ny - 2, 0), nb = CB_MAX(bx, by);
    int64_t shape[CB_MAX_NDIM];
    for (int d = 0; d < nb; d++) {
        int64_t u = d < nb - bx ? 1 : sx[d - nb + bx], v = d < nb - by ? 1 : sy[d - nb + by];
        batch *= shape[d] = u == 1 ? v : u;
    }
    cb_complex128 *want = calloc((size_t)(batch * m * n) + 1, sizeof *want);
    for (int64_t item = 0; item < batch; item++) {
        int64_t rest = item, ia = 0, ib = 0, pa = 1, pb = 1;
        for (int d = nb - 1; d >= 0; d--) {
            int64_t i = rest % shape[d];
            rest /= shape[d];
            int64_t u = d < nb - bx ? 1 : sx[d - nb + bx], v = d < nb - by ? 1 : sy[d - nb + by];
            ia += (u == 1 ? 0 : i) * pa, pa *= u;
            ib += (v == 1 ? 0 : i) * pb, pb *= v;
        }
        for (int64_t i = 0; i < m; i++)
            for (int64_t r = 0; r < k; r++)
                for (int64_t j = 0; j < n; j++)
                    want[(item * m + i) * n + j] += a[(ia * m + i) * k + r] * b[(ib * k + r) * n + j];
    }
    cb_tensor *z = cb_matmul(x, y);
    compare(z, want, batch * m * n, "matmul", dtype);
    if (nx == 2 && ny == 2 && z) { /* the same through linear, with a bias */
        int64_t sb[1] = {n};
        cb_tensor *w = cb_transpose(y, 0, 1), *bias = make(dtype, 1, sb, 2);
        cb_complex128 *c = values(bias);
        for (int64_t i = 0; i < m * n; i++) want[i] += c[i % n];
        cb_tensor *l = cb_linear(x, w, bias, 1);
        compare(l, want, m * n, "linear", dtype);
        free(c);
        cb_release(w);
        cb_release(bias);
        cb_release(l);
    }
    free(a);
    free(b);
    free(want);
    cb_release(x0);
    cb_release(y0);
    cb_release(x);
    cb_release(y);
    cb_release(z);
}

#define S(...) \
    (sizeof((int64_t[]){__VA_ARGS__}) / 8), (int64_t[]) { __VA_ARGS__ }

static void small_shapes(void) {
    for (int dtype = CB_U8; dtype < CB_DTYPE_COUNT; dtype++)
        for (int mode = 0; mode < 9; mode++) {
            int mx = mode % 3, my = mode / 3;
            one(dtype, S(3, 4), S(4, 5), mx, my);
            one(dtype, S(7), S(7), mx, my);
            one(dtype, S(3, 4), S(4), mx, my);
            one(dtype, S(4), S(4, 5), mx, my);
            one(dtype, S(2, 3, 4), S(4, 5), mx, my);
            one(dtype, S(2, 1, 3, 4), S(5, 4, 2), mx, my);
            one(dtype, S(4), S(2, 4, 3), mx, my);
            one(dtype, S(2, 5, 4), S(4), mx, my);
            one(dtype, S(9, 1), S(1, 20), mx, my);
            one(dtype, S(17, 9), S(9, 33), mx, my);
        }
}

static void float_shapes(void) {
    static const int dtypes[] = {CB_F32, CB_F64, CB_C64, CB_I32};
    for (int t = 0; t < 4; t++)
        for (int mode = 0; mode < 9; mode += 2) {
            int dtype = dtypes[t], mx = mode % 3, my = mode / 3;
            for (int64_t m = 1; m <= 9; m += 2)
                for (int64_t n = 1; n <= 70; n += 23) one(dtype, S(m, 40), S(40, n), mx, my);
            one(dtype, S(65, 300), S(300, 50), mx, my);
            one(dtype, S(1, 300), S(300, 100), mx, my);
            one(dtype, S(100, 300), S(300, 1), mx, my);
            for (int64_t n = 2; n <= 17; n += 5) one(dtype, S(37, 290), S(290, n), mx, my); /* thin */
            one(dtype, S(50, 70), S(70, 3), mx, my);
            one(dtype, S(20, 8, 8), S(20, 8, 8), mx, my);
        }
    one(CB_F32, S(130, 513), S(513, 200), 0, 1); /* large blocks */
    one(CB_F64, S(130, 513), S(513, 200), 1, 0);
    one(CB_F32, S(100000), S(100000), 0, 0); /* a dot product in pieces */
    for (int mode = 0; mode < 9; mode++) {
        for (int64_t n = 1; n <= 8; n++) one(CB_F32, S(20, 3, n), S(20, n, n), mode % 3, mode / 3);
        one(CB_F64, S(3, 2, 5, 8), S(2, 8, 3), mode % 3, mode / 3);
        one(CB_F32, S(1, 3000), S(3000, 200), mode % 3, mode / 3);
        one(CB_F64, S(3000), S(3000, 130), mode % 3, mode / 3);
        one(CB_BF16, S(70, 130), S(130, 49), mode % 3, mode / 3);
        one(CB_BF16, S(2, 65, 77), S(2, 77, 100), mode % 3, mode / 3);
        one(CB_BF16, S(3, 40, 64), S(64, 130), mode % 3, mode / 3);
    }
}

static void empty_and_meta(void) {
    one(CB_F32, S(0), S(0), 0, 0);
    one(CB_F32, S(3, 0), S(0, 4), 0, 0);
    one(CB_F64, S(0, 3), S(3, 4), 0, 0);
    one(CB_I64, S(2, 0, 3), S(3, 0), 0, 0);
    cb_tensor *x = cb_empty(CB_BF16, CB_META, S(2, 3, 4)), *y = cb_empty(CB_BF16, CB_META, S(4, 5)),
              *z = cb_matmul(x, y);
    CHECK(z && z->dtype == CB_BF16 && z->ndim == 3 && z->shape[0] == 2 && z->shape[1] == 3 &&
              z->shape[2] == 5,
          "meta");
    cb_release(x);
    cb_release(y);
    cb_release(z);
}

static void special_values(void) {
    float bad[4] = {1, __builtin_nanf(""), __builtin_inff(), 0}, good[4] = {0, 1, 1, 1};
    cb_tensor *x = cb_from_bytes(bad, CB_F32, S(2, 2)), *y = cb_from_bytes(good, CB_F32, S(2, 2)),
              *z = cb_matmul(x, y);
    float *v = z->data; /* [nan, nan], [inf * 0 = nan, inf] */
    CHECK(v[0] != v[0] && v[1] != v[1] && v[2] != v[2] && v[3] == bad[2], "NaN and infinity");
    cb_release(x);
    cb_release(y);
    cb_release(z);
}

static void errors(void) {
    cb_tensor *x = make(CB_F32, S(3, 4), 1), *y = make(CB_F32, S(5, 6), 1), *d = make(CB_F64, S(4, 2), 1);
    cb_tensor *scalar = make(CB_F32, 0, NULL, 1), *b = cb_cast(x, CB_BOOL), *p = make(CB_F32, S(2, 3, 4), 1),
              *q = make(CB_F32, S(3, 4, 2), 1);
    expect_error(cb_matmul(x, y), CB_ERR_SHAPE, "inner sizes");
    CHECK(!strcmp(cb_error_message(),
                  "matmul: expected equal inner sizes, got [3, 4] @ [5, 6] (4 != 5). Transpose an operand?"),
          "message");
    expect_error(cb_matmul(x, d), CB_ERR_DTYPE, "dtypes");
    expect_error(cb_matmul(b, b), CB_ERR_DTYPE, "bool");
    expect_error(cb_matmul(scalar, x), CB_ERR_SHAPE, "0-d");
    expect_error(cb_matmul(p, q), CB_ERR_SHAPE, "batch");
    expect_error(cb_matmul(NULL, x), CB_ERR_NULL, "null");
    expect_error(cb_linear(x, y, NULL, 0), CB_ERR_SHAPE, "linear");
    expect_error(cb_linear(x, x, NULL, 1), CB_ERR_NULL, "linear null");
    expect_error(cb_linear(x, x, y, 1), CB_ERR_SHAPE, "linear bias");
    cb_tensor *all[] = {x, y, d, scalar, b, p, q};
    for (int i = 0; i < 7; i++) cb_release(all[i]);
}

/* bitwise equal for any number of threads */
static void threads(void) {
    cb_tensor *x = make(CB_F32, S(300, 400), 100), *y = make(CB_F32, S(400, 200), 100),
              *t = cb_unary(CB_UNARY_sin, x), *z[2];
    for (int i = 0; i < 2; i++) {
        cb_set_num_threads(i ? 4 : 1);
        z[i] = cb_matmul(t, y);
    }
    CHECK(!memcmp(z[0]->data, z[1]->data, (size_t)z[0]->numel * 4), "threads change the result");
    cb_release(x);
    cb_release(y);
    cb_release(t);
    cb_release(z[0]);
    cb_release(z[1]);
}

int main(void) {
    static const char *levels[] = {NULL, "v2", "v3"};
    for (int i = 0; i < 3; i++) {
        if (cb_init(levels[i])) continue;
        small_shapes();
        float_shapes();
    }
    cb_init(NULL);
    empty_and_meta();
    special_values();
    errors();
    threads();
    return finish("test_matmul");
}
