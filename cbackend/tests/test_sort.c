/* Sorting, selection and searching against a stable insertion-order reference, for all real dtypes, layouts
 * and lengths on both sides of every change of algorithm; nan, infinities and both zeros among the values. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "internal.h"

static uint64_t state = 88172645463325252u;
static uint64_t draw(void) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state;
}

/* FEW: many duplicates; NEAR: but for some far ones, values differ in their last bits only. They are exact in
 * the dtype. */
enum { MANY, FEW, NEAR };
static double value_for(int dtype, int spread) {
    char kind = cb_dtypes[dtype].kind;
    bool few = spread == FEW;
    if (spread == NEAR && kind == 'F' && draw() % 50) {
        int bits = dtype == CB_F64 ? 50 : dtype == CB_F32 ? 22 : 7;
        return 1 + ldexp((double)(draw() % 64), -bits);
    }
    if (spread == NEAR && (kind == 'U' || kind == 'I') && draw() % 50) return (double)(draw() % 64);
    if (kind == 'B') return (double)(draw() & 1);
    if (kind == 'F') {
        switch (draw() % 40) {
            case 0: return NAN;
            case 1: return INFINITY;
            case 2: return -INFINITY;
            case 3: return -0.0;
            case 4: return 0;
            case 5: return -NAN;
        }
        double v = (double)(int64_t)(draw() % (few ? 16 : 256)) - (few ? 8 : 128);
        return ldexp(v, (int)(draw() % (few ? 1 : 8)) - 6);
    }
    int bits = CB_MIN(8 * cb_dtypes[dtype].size, 52);
    double v = few ? (double)(draw() % 5) : (double)(draw() >> (64 - bits));
    return kind == 'I' ? v - (few ? 2 : ldexp(1, bits - 1)) : v;
}

static bool descends;
static const double *ranked;
static int before(const void *a, const void *b) {
    int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;
    double x = ranked[i], y = ranked[j];
    int order = x != x || y != y ? (x != x) - (y != y) : (x > y) - (x < y);
    if (descends) order = -order;
    return order ? order : (i > j) - (i < j);
}

static bool same(double a, double b) { return a == b || (a != a && b != b); }

static cb_tensor *as_double(cb_tensor *x) {
    cb_tensor *wide = cb_cast(x, CB_F64), *dense = cb_contiguous(wide);
    cb_release(wide);
    return dense;
}

/* x [rows, n] in memory, or its transpose */
static void test_sort(int dtype, int64_t rows, int64_t n, int spread, bool transposed, bool descending) {
    double *values = malloc((size_t)(rows * n + 1) * sizeof *values);
    int64_t *order = malloc((size_t)(rows * n + 1) * sizeof *order);
    for (int64_t i = 0; i < rows * n; i++) values[i] = value_for(dtype, spread);
    int64_t shape[2] = {rows, n};
    cb_tensor *source = cb_from_bytes(values, CB_F64, 2, shape), *x = cb_cast(source, dtype);
    if (transposed) { /* the same logical values, rows apart by 1 */
        cb_tensor *t = cb_transpose(x, 0, 1), *dense = cb_contiguous(t);
        cb_release(x);
        x = cb_transpose(dense, 0, 1);
        cb_release(dense);
        cb_release(t);
    }
    descends = descending;
    for (int64_t r = 0; r < rows; r++) {
        ranked = values + r * n;
        for (int64_t i = 0; i < n; i++) order[r * n + i] = i;
        qsort(order + r * n, (size_t)n, sizeof *order, before);
    }
#define WHAT_FORMAT "%s [%lld, %lld] spread %d transposed %d descending %d"
#define WHAT_ARGS cb_dtypes[dtype].name, (long long)rows, (long long)n, spread, transposed, descending
#define WHAT WHAT_FORMAT, WHAT_ARGS
    cb_tensor *out[2] = {NULL, NULL};
    CHECK(!cb_sort(x, -1, descending, 1, out), WHAT);
    cb_tensor *plain = cb_sort_values(x, 1, descending), *places = cb_argsort(x, 1, descending, 0);
    cb_tensor *v = as_double(out[0]), *w = as_double(plain);
    bool fine = true;
    for (int64_t i = 0; i < rows * n && fine; i++) {
        double want = values[i / n * n + order[i]];
        fine = same(((double *)v->data)[i], want) && same(((double *)w->data)[i], want) &&
               ((int64_t *)out[1]->data)[i] == order[i] && ((int64_t *)places->data)[i] == order[i];
    }
    CHECK(fine, WHAT);
    int64_t ks[] = {1, 3, n / 20, n / 2, n};
    for (int c = 0; c < 5; c++) {
        int64_t k = ks[c];
        if (k < 1 || k > n) continue;
        cb_tensor *top[2], *kth[2];
        CHECK(!cb_topk(x, k, 1, descending, 1, top), WHAT);
        CHECK(!cb_kthvalue(x, k, 1, 0, kth), WHAT);
        cb_tensor *t = as_double(top[0]), *q = as_double(kth[0]);
        fine = true;
        for (int64_t i = 0; i < rows * k && fine; i++)
            fine = ((int64_t *)top[1]->data)[i] == order[i / k * n + i % k] &&
                   same(((double *)t->data)[i], values[i / k * n + order[i / k * n + i % k]]);
        CHECK(fine, "topk %lld " WHAT_FORMAT, (long long)k, WHAT_ARGS);
        for (int64_t r = 0; r < rows && !descending; r++) {
            double want = values[r * n + order[r * n + k - 1]];
            CHECK(same(((double *)q->data)[r], want) &&
                      same(values[r * n + ((int64_t *)kth[1]->data)[r]], want),
                  "kthvalue %lld", (long long)k);
        }
        cb_tensor *all[] = {top[0], top[1], kth[0], kth[1], t, q};
        for (int i = 0; i < 6; i++) cb_release(all[i]);
    }
    cb_tensor *all[] = {source, x, out[0], out[1], plain, places, v, w};
    for (int i = 0; i < 8; i++) cb_release(all[i]);
    free(values);
    free(order);
}

static void test_search_and_unique(int dtype) {
    enum { N = 300, M = 200 };
    double values[N], sorted[M];
    for (int i = 0; i < N; i++) values[i] = value_for(dtype, true);
    for (int i = 0; i < M; i++) sorted[i] = value_for(dtype, true);
    cb_tensor *a = cb_from_bytes(values, CB_F64, 2, (int64_t[]){20, 15}), *x = cb_cast(a, dtype);
    cb_tensor *b = cb_from_bytes(sorted, CB_F64, 1, (int64_t[]){M}), *unordered = cb_cast(b, dtype),
              *s = cb_sort_values(unordered, 0, 0);
    cb_tensor *bounds = as_double(s);
    for (int right = 0; right < 2; right++) {
        cb_tensor *y = cb_searchsorted(s, x, right);
        for (int i = 0; i < N; i++) {
            int64_t want = 0;
            const double *v = bounds->data;
            double wanted = values[i]; /* nan stands after everything */
            while (want < M && (right ? v[want] <= wanted || wanted != wanted
                                      : v[want] < wanted || (wanted != wanted && v[want] == v[want])))
                want++;
            CHECK(((int64_t *)y->data)[i] == want, "searchsorted %s of %g: %lld, not %lld",
                  cb_dtypes[dtype].name, values[i], (long long)((int64_t *)y->data)[i], (long long)want);
        }
        cb_release(y);
    }
    cb_tensor *out[3];
    CHECK(!cb_unique(x, 1, 1, out), "unique");
    cb_tensor *u = as_double(out[0]);
    int64_t total = 0;
    for (int64_t k = 0; k < u->numel; k++) {
        total += ((int64_t *)out[2]->data)[k];
        CHECK(k == 0 || !(((double *)u->data)[k] <= ((double *)u->data)[k - 1]), "unique values of %s rise",
              cb_dtypes[dtype].name);
    }
    CHECK(total == N && out[1]->ndim == 2 && out[1]->shape[1] == 15, "unique counts of %s",
          cb_dtypes[dtype].name);
    for (int i = 0; i < N; i++)
        CHECK(same(((double *)u->data)[((int64_t *)out[1]->data)[i]], values[i]), "inverse of %s",
              cb_dtypes[dtype].name);
    cb_tensor *all[] = {a, x, b, unordered, s, bounds, u, out[0], out[1], out[2]};
    for (int i = 0; i < 10; i++) cb_release(all[i]);
}

static void test_edges(void) {
    int64_t zero[2] = {3, 0};
    cb_tensor *empty = cb_empty(CB_F32, CB_CPU, 2, zero),
              *complex = cb_empty(CB_C64, CB_CPU, 1, (int64_t[]){3}), *out[3];
    cb_tensor *meta = cb_empty(CB_F32, CB_META, 2, (int64_t[]){3, 9}),
              *number = cb_full(CB_F32, CB_CPU, 0, zero, &(cb_scalar){.kind = 'i', .i = 3});
    CHECK(!cb_sort(empty, 1, 0, 0, out) && out[0]->shape[0] == 3 && out[1]->numel == 0, "sort of nothing");
    cb_release(out[0]);
    cb_release(out[1]);
    CHECK(!cb_unique(empty, 0, 1, out) && out[0]->numel == 0 && !out[1], "unique of nothing");
    cb_release(out[0]);
    cb_release(out[2]);
    CHECK(!cb_sort(number, 0, 0, 0, out) && out[0]->ndim == 0 && *(float *)out[0]->data == 3 &&
              *(int64_t *)out[1]->data == 0,
          "sort of a scalar");
    cb_release(out[0]);
    cb_release(out[1]);
    CHECK(!cb_topk(meta, 4, 1, 1, 1, out) && out[0]->shape[1] == 4 && cb_is_meta(out[1]), "topk on meta");
    cb_release(out[0]);
    cb_release(out[1]);
    CHECK(!cb_kthvalue(meta, 4, 1, 1, out) && out[0]->ndim == 2 && out[0]->shape[1] == 1, "kthvalue on meta");
    cb_release(out[0]);
    cb_release(out[1]);
    CHECK(cb_sort(NULL, 0, 0, 0, out) == CB_ERR_NULL, "null");
    CHECK(cb_sort(complex, 0, 0, 0, out) == CB_ERR_DTYPE, "complex");
    CHECK(cb_topk(empty, 1, 1, 1, 1, out) == CB_ERR_VALUE, "k too large");
    CHECK(cb_kthvalue(empty, 1, 0, 0, out) == CB_OK, "kthvalue of empty rows");
    cb_release(out[0]);
    cb_release(out[1]);
    CHECK(cb_unique(meta, 0, 0, out) == CB_ERR_UNSUPPORTED, "unique on meta");
    CHECK(!cb_searchsorted(meta, complex, 0) && cb_error_code() == CB_ERR_DTYPE, "searchsorted complex");
    /* bincount */
    int64_t bins[6] = {1, 4, 1, 0, 4, 4}, negative[1] = {-1};
    float weights[6] = {0.5, 1, 2, 3, 4, 5};
    cb_tensor *x = cb_from_bytes(bins, CB_I64, 1, (int64_t[]){6}),
              *w = cb_from_bytes(weights, CB_F32, 1, (int64_t[]){6});
    cb_tensor *bad = cb_from_bytes(negative, CB_I64, 1, (int64_t[]){1}), *counts = cb_bincount(x, NULL, 0, 7),
              *sums = cb_bincount(x, w, 1, 0);
    CHECK(counts && counts->numel == 7 && !memcmp(counts->data, (int64_t[]){1, 2, 0, 0, 3, 0, 0}, 56),
          "bincount");
    CHECK(sums && sums->dtype == CB_F32 && !memcmp(sums->data, (float[]){3, 2.5, 0, 0, 10}, 20),
          "bincount with weights");
    CHECK(!cb_bincount(bad, NULL, 0, 0) && cb_error_code() == CB_ERR_VALUE, "bincount of a negative number");
    CHECK(!cb_bincount(w, NULL, 0, 0) && cb_error_code() == CB_ERR_DTYPE, "bincount of floats");
    CHECK(!cb_bincount(x, bad, 1, 0) && cb_error_code() == CB_ERR_SHAPE, "bincount with short weights");
    cb_tensor *all[] = {empty, complex, meta, number, x, w, bad, counts, sums};
    for (int i = 0; i < 9; i++) cb_release(all[i]);
}

int main(void) {
    if (cb_init(NULL)) return 1;
    cb_set_num_threads(3);
    static const int64_t sizes[][2] = {{3, 1},  {5, 2},   {3, 9},    {4, 32},  {4, 33},
                                       {2, 65}, {2, 130}, {2, 1500}, {1, 9000}};
    for (int dtype = 0; dtype < CB_DTYPE_COUNT; dtype++) {
        if (cb_is_complex(dtype)) continue;
        for (int k = 0; k < 9; k++)
            for (int flags = 0; flags < 12; flags++)
                test_sort(dtype, sizes[k][0], sizes[k][1], flags / 4, flags & 1, flags & 2);
        test_search_and_unique(dtype);
    }
    static const int large[] = {CB_U8, CB_I16, CB_F32, CB_F64, CB_I64, CB_I32};
    for (int k = 0; k < 6; k++)
        for (int spread = MANY; spread <= NEAR; spread++) test_sort(large[k], 1, 80000, spread, false, k & 1);
    for (int k = 0; k < 6; k++) test_sort(large[k], 2, 40000, MANY + k % 3, k == 2, k & 1);
    cb_set_num_threads(1); /* no other thread helps with a row */
    for (int k = 0; k < 6; k++) test_sort(large[k], 1, k % 2 ? 80000 : 270000, MANY + k % 3, k == 2, k & 1);
    test_edges();
    return finish("test_sort");
}
