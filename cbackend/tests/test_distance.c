/* Distances between rows and their gradients against plain loops: all norms, float32 and float64, sizes
 * around panels, turned operands, pairs, batches, no rows or items, meta tensors, errors. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

static const double norms[] = {0, 1, 2, 3.5, INFINITY};

static double item(int dtype, const cb_tensor *x, int64_t at) {
    return dtype == CB_F32 ? (double)((const float *)x->data)[at] : ((const double *)x->data)[at];
}

/* numbers of few values, so that rows and places agree here and there */
static cb_tensor *made(int dtype, int ndim, const int64_t *shape) {
    cb_tensor *x = cb_empty(dtype, CB_CPU, ndim, shape);
    for (int64_t i = 0; i < x->numel; i++) {
        double value = (rand() % 33 - 16) / 8.0;
        if (dtype == CB_F32)
            ((float *)x->data)[i] = (float)value;
        else
            ((double *)x->data)[i] = value;
    }
    return x;
}

static double distance(int dtype, const cb_tensor *x, const cb_tensor *y, int64_t i, int64_t j, int64_t m,
                       double p) {
    double sum = 0;
    for (int64_t k = 0; k < m; k++) {
        double d = fabs(item(dtype, x, i * m + k) - item(dtype, y, j * m + k));
        sum = p == 0 ? sum + (d != 0) : isinf(p) ? fmax(sum, d) : sum + pow(d, p);
    }
    return p == 0 || isinf(p) ? sum : pow(sum, 1 / p);
}

/* what item k of row i gets of one distance's cotangent */
static double slope(double d, double length, double p) {
    double sign = (d > 0) - (d < 0);
    if (p == 0 || d == 0) return 0;
    if (isinf(p)) return fabs(d) == length ? sign : 0;
    return sign * pow(fabs(d) / length, p - 1);
}

static void test_between(int dtype, int64_t batch, int64_t rows, int64_t others, int64_t m, double p) {
    cb_tensor *x = made(dtype, 3, (int64_t[]){batch, rows, m}),
              *y = made(dtype, 3, (int64_t[]){batch, others, m});
    cb_tensor *ct = made(dtype, 3, (int64_t[]){batch, rows, others}), *out = cb_distances(x, y, p);
    cb_tensor *dx = out ? cb_distances_grad(ct, x, y, out, p) : NULL;
    double bound = dtype == CB_F32 ? 2e-5 : 1e-12;
    CHECK(out && dx, "p = %g", p);
    if (!out || !dx) return;
    for (int64_t row = 0; row < batch * rows; row++) {
        int64_t first = row / rows * others;
        for (int64_t j = 0; j < others; j++) {
            double wanted = distance(dtype, x, y, row, first + j, m, p),
                   got = item(dtype, out, row * others + j);
            CHECK(fabs(got - wanted) <= bound * (1 + wanted), "p = %g: %g, not %g", p, got, wanted);
        }
        for (int64_t k = 0; k < m; k++) {
            double wanted = 0;
            for (int64_t j = 0; j < others; j++) {
                double d = item(dtype, x, row * m + k) - item(dtype, y, (first + j) * m + k);
                double length = distance(dtype, x, y, row, first + j, m, p);
                wanted += item(dtype, ct, row * others + j) * slope(d, length, p);
            }
            double got = item(dtype, dx, row * m + k);
            CHECK(fabs(got - wanted) <= bound * (double)(10 + others), "gradient, p = %g: %g, not %g", p, got,
                  wanted);
        }
    }
    cb_release(x), cb_release(y), cb_release(ct), cb_release(out), cb_release(dx);
}

/* pairs are what lies above the diagonal, bit for bit; their gradient is that of both operands */
static void test_pairs(int dtype, int64_t n, int64_t m, double p) {
    cb_tensor *x = made(dtype, 2, (int64_t[]){n, m}), *all = cb_distances(x, x, p),
              *out = cb_pair_distances(x, p);
    int64_t count = n * (n - 1) / 2, at = 0;
    cb_tensor *ct = made(dtype, 1, &count), *square = made(dtype, 2, (int64_t[]){n, n});
    cb_tensor *dx = cb_pair_distances_grad(ct, x, out, p);
    int64_t size = dtype == CB_F32 ? 4 : 8;
    for (int64_t i = 0; i < n; i++) {
        memset((char *)square->data + i * (n + 1) * size, 0, (size_t)size);
        for (int64_t j = i + 1; j < n; j++, at++) {
            CHECK(item(dtype, out, at) == item(dtype, all, i * n + j), "pair %d %d, p = %g", (int)i, (int)j,
                  p);
            for (int k = 0; k < 2; k++)
                memcpy((char *)square->data + (k ? i * n + j : j * n + i) * size,
                       (char *)ct->data + at * size, (size_t)size);
        }
    }
    cb_tensor *wanted = cb_distances_grad(square, x, x, all, p);
    CHECK(!memcmp(dx->data, wanted->data, (size_t)(dx->numel * size)), "gradient of pairs, p = %g", p);
    cb_release(x), cb_release(all), cb_release(out), cb_release(ct), cb_release(square);
    cb_release(dx), cb_release(wanted);
}

static void test_errors(void) {
    cb_tensor *x = made(CB_F32, 2, (int64_t[]){3, 4}), *y = made(CB_F32, 2, (int64_t[]){3, 5});
    cb_tensor *wide = made(CB_F64, 2, (int64_t[]){3, 4}), *whole = cb_cast(x, CB_I32), *meta = cb_as_meta(x);
    CHECK(!cb_distances(x, NULL, 1) && cb_error_code() == CB_ERR_NULL);
    CHECK(!cb_distances(x, y, 1) && cb_error_code() == CB_ERR_SHAPE);
    CHECK(!cb_distances(x, wide, 1) && cb_error_code() == CB_ERR_DTYPE);
    CHECK(!cb_distances(whole, whole, 1) && cb_error_code() == CB_ERR_DTYPE);
    CHECK(!cb_pair_distances(x, -1) && cb_error_code() == CB_ERR_VALUE);
    CHECK(!cb_pair_distances_grad(x, x, x, 1) && cb_error_code() == CB_ERR_SHAPE);
    cb_tensor *out = cb_distances(meta, meta, 1);
    CHECK(out && out->ndim == 2 && out->shape[0] == 3 && out->shape[1] == 3);
    cb_release(x), cb_release(y), cb_release(wide), cb_release(whole), cb_release(meta), cb_release(out);
}

int main(void) {
    cb_init(NULL);
    for (int dtype = CB_F32; dtype <= CB_F64; dtype++)
        for (int k = 0; k < 5; k++) {
            test_between(dtype, 1, 3, 5, 7, norms[k]);
            test_between(dtype, 2, 33, 1, 130, norms[k]);
            test_between(dtype, 1, 131, 35, 33, norms[k]);
            test_between(dtype, 1, 5, 140, 2, norms[k]);
            test_between(dtype, 2, 0, 3, 3, norms[k]);
            test_between(dtype, 1, 3, 0, 3, norms[k]);
            test_between(dtype, 1, 3, 2, 0, norms[k]);
            test_pairs(dtype, 1, 3, norms[k]);
            test_pairs(dtype, 140, 20, norms[k]);
        }
    test_errors();
    return finish("test_distance");
}
