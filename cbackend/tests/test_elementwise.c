/* Elementwise sweeps and copies against one item at a time: layouts that take each path (rows, blocks, tiles,
 * streamed results), all dtypes, tails, nan, empty and 0-d tensors, results written into strided memory, and
 * bitwise equality for any number of threads. Transposed blocks and running sums in chunks are here too. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cbackend.h"
#include "check.h"

static unsigned state = 1;
static int number(void) {
    state = state * 1664525u + 1013904223u;
    return (int)(state >> 25);
}

/* whole numbers in [0, 60), exact in every dtype; 0 and 1 for bool */
static cb_tensor *make(int dtype, int ndim, const int64_t *shape) {
    cb_tensor *x = cb_empty(CB_I32, CB_CPU, ndim, shape);
    int32_t *items = x->data;
    for (int64_t i = 0; i < x->numel; i++) items[i] = number() % (dtype == CB_BOOL ? 2 : 60);
    cb_tensor *y = cb_cast(x, dtype);
    cb_release(x);
    return y;
}

static double item(const cb_tensor *x, int64_t i) { /* i: offset in items */
    int64_t none = 0;
    cb_tensor *one = cb_as_strided((cb_tensor *)x, 0, &none, &none, x->offset + i);
    cb_scalar s;
    cb_item(one, &s);
    cb_release(one);
    return s.kind == 'f' || s.kind == 'c' ? s.re : s.kind == 'u' ? (double)s.u : (double)s.i;
}

/* the value of x, broadcast to `like`, at position i in row-major order */
static double value(const cb_tensor *x, const cb_tensor *like, int64_t i) {
    int64_t offset = 0;
    for (int d = like->ndim - 1; d >= 0; d--) {
        int64_t at = i % like->shape[d];
        int dx = d - (like->ndim - x->ndim);
        i /= like->shape[d];
        if (dx >= 0 && x->shape[dx] > 1) offset += at * x->strides[dx];
    }
    return item(x, offset);
}

enum { LAYOUTS = 9 };
static const char *const layouts[LAYOUTS] = {"whole",       "transposed", "inner pair swapped",
                                             "every other", "backwards",  "wide slice",
                                             "row",         "column",     "expanded outside"};

/* a tensor of this shape that lies in memory as layout k says */
static cb_tensor *lay(int k, int dtype, int ndim, const int64_t *shape) {
    int64_t sizes[CB_MAX_NDIM], order[CB_MAX_NDIM], strides[CB_MAX_NDIM];
    memcpy(sizes, shape, (size_t)ndim * sizeof *shape);
    for (int d = 0; d < ndim; d++) order[d] = d;
    int last = ndim - 1, other = k == 1 ? 0 : ndim - 2;
    if (ndim == 0 || (ndim == 1 && (k == 1 || k == 2 || k >= 6))) k = 0;
    if (k == 1 || k == 2) {
        sizes[last] = shape[other], sizes[other] = shape[last];
        order[last] = other, order[other] = last;
    }
    if (k == 3) sizes[last] *= 2;
    if (k == 5) sizes[last] += 5;
    if (k == 6)
        for (int d = 0; d < last; d++) sizes[d] = 1;
    if (k == 7) sizes[last] = 1;
    if (k == 8) sizes[0] = 1;
    cb_tensor *x = make(dtype, ndim, sizes), *y = NULL;
    switch (k) {
        case 1:
        case 2: y = cb_permute(x, ndim, order); break;
        case 3:
        case 4:
        case 5:
            memcpy(strides, x->strides, (size_t)ndim * sizeof *strides);
            if (k == 3) strides[last] = 2;
            if (k == 4) strides[last] = -1;
            y = cb_as_strided(x, ndim, shape, strides,
                              k == 4 ? (shape[last] > 0 ? shape[last] - 1 : 0) : k == 3);
            break;
        case 6:
        case 7:
        case 8: y = cb_expand(x, ndim, shape); break;
        default: y = cb_retain(x);
    }
    cb_release(x);
    return y;
}

static bool same(const cb_tensor *a, const cb_tensor *b) {
    return a && b && a->numel == b->numel && !memcmp(a->data, b->data, (size_t)(a->numel * a->itemsize));
}

static void check_sum(cb_tensor *x, cb_tensor *y, const char *what) {
    int add = cb_op_code("binary", x->dtype == CB_BOOL ? "logical_xor" : "add");
    cb_tensor *sum = cb_binary(add, x, y), *flat = sum ? cb_contiguous(sum) : NULL;
    CHECK(flat, "%s: %s", what, cb_error_message());
    int64_t step = 1 + (flat ? flat->numel / 700 : 0);
    for (int64_t i = 0; flat && i < flat->numel;
         i = i + step < flat->numel || i == flat->numel - 1 ? i + step : flat->numel - 1) {
        double want = value(x, flat, i) + value(y, flat, i), got = item(flat, i);
        if (x->dtype == CB_BOOL) want = want == 1;
        CHECK(got == want, "%s: item %lld is %g, not %g", what, (long long)i, got, want);
    }
    cb_release(sum);
    cb_release(flat);
}

static void check_copy(cb_tensor *x, int dtype, const char *what) {
    cb_tensor *copy = cb_cast(x, dtype), *flat = cb_contiguous(copy), *whole = cb_contiguous(x);
    int64_t step = 1 + flat->numel / 500;
    for (int64_t i = 0; i < flat->numel; i += step) {
        double want = value(x, flat, i);
        if (dtype == CB_BOOL) want = want != 0;
        CHECK(item(flat, i) == want && item(whole, i) == value(x, flat, i), "copy of %s: item %lld", what,
              (long long)i);
    }
    cb_release(copy);
    cb_release(flat);
    cb_release(whole);
}

/* target[...] = x for a target that is laid out as k says */
static void check_into(int k, cb_tensor *x, const char *what) {
    cb_tensor *target = lay(k, CB_F64, x->ndim, x->shape);
    if (cb_copy_into(target, x, 1)) CHECK(false, "into %s: %s", what, cb_error_message());
    int64_t step = 1 + x->numel / 300;
    for (int64_t i = 0; i < x->numel; i += step)
        CHECK(value(target, target, i) == value(x, target, i), "%s into %s: item %lld", what, layouts[k],
              (long long)i);
    cb_release(target);
}

static void test_layouts(void) {
    static const int64_t shapes[][5] = {{0},           {1, 0},         {1, 1},          {1, 1500},
                                        {2, 3, 5},     {2, 67, 70},    {2, 300, 130},   {2, 0, 4},
                                        {2, 700, 3},   {3, 20, 9, 33}, {3, 5, 40, 140}, {4, 3, 4, 18, 11},
                                        {3, 130, 8, 9}};
    static const int dtypes[] = {CB_F32, CB_F32, CB_F16, CB_U8, CB_I64, CB_C128, CB_BOOL};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int i = 0; i < LAYOUTS; i++)
            for (int j = 0; j < LAYOUTS; j++) {
                int ndim = (int)shapes[s][0], dtype = dtypes[(i * LAYOUTS + j + (int)s) % 7];
                cb_tensor *x = lay(i, dtype, ndim, shapes[s] + 1), *y = lay(j, dtype, ndim, shapes[s] + 1);
                char what[100];
                snprintf(what, sizeof what, "shape %d, dtype %d, %s + %s", (int)s, dtype, layouts[i],
                         layouts[j]);
                check_sum(x, y, what);
                if (dtype != CB_BOOL) {
                    cb_tensor *other =
                        cb_cast(y, dtype == CB_F64 ? CB_F32 : CB_F64); /* a cast in the sweep */
                    if (dtype != CB_C128) check_sum(x, other, what);
                    cb_release(other);
                }
                check_copy(x, dtypes[(i + j) % 7], what);
                if (j < 6 && dtype != CB_C128) check_into(j, x, what);
                cb_release(x);
                cb_release(y);
            }
}

/* large enough to be streamed; the tail of every sweep is odd */
static void test_streamed(void) {
    int64_t shape[] = {2301, 2303}, row[] = {2303}, column[] = {2301, 1};
    cb_tensor *x = make(CB_F32, 2, shape), *y = make(CB_F32, 2, shape), *r = make(CB_F32, 1, row),
              *c = make(CB_F32, 2, column), *t = lay(1, CB_F32, 2, shape), *slice = lay(5, CB_F32, 2, shape);
    int add = cb_op_code("binary", "add");
    cb_tensor *others[] = {y, r, c, t, slice};
    ((float *)x->data)[12345] = NAN;
    for (int k = 0; k < 5; k++) {
        cb_tensor *results[3];
        for (int threads = 1; threads <= 3; threads++) {
            cb_set_num_threads(threads);
            results[threads - 1] = cb_binary(add, x, others[k]);
        }
        CHECK(same(results[0], results[1]) && same(results[0], results[2]), "threads change sum %d", k);
        for (int64_t i = 0; i < x->numel; i += i < 12000 || i > x->numel - 3000 ? 1 : 4099) {
            double want = value(x, results[0], i) + value(others[k], results[0], i),
                   got = item(results[0], i);
            CHECK(got == want || (isnan(got) && isnan(want)), "streamed %d: item %lld is %g, not %g", k,
                  (long long)i, got, want);
        }
        for (int i = 0; i < 3; i++) cb_release(results[i]);
        cb_tensor *copy = cb_clone(others[k]), *flat = cb_contiguous(copy),
                  *wide = cb_cast(others[k], CB_F64);
        cb_tensor *narrow = cb_cast(wide, CB_F32), *back = cb_contiguous(narrow);
        CHECK(same(flat, back), "copies of %d differ", k);
        cb_tensor *all[] = {copy, flat, wide, narrow, back};
        for (int i = 0; i < 5; i++) cb_release(all[i]);
    }
    cb_tensor *used[] = {x, y, r, c, t, slice};
    for (int i = 0; i < 6; i++) cb_release(used[i]);
}

/* rows around the sizes of groups and chunks */
static void test_running_sums(void) {
    static const int64_t sizes[] = {1, 7, 8, 9, 1000, 16384, 32768, 32769, 49153, 100001};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int dtype = CB_F16; dtype <= CB_F64; dtype++) {
            int64_t shape[] = {3, sizes[s]};
            cb_tensor *x = make(dtype, 2, shape), *results[2];
            for (int threads = 1; threads <= 2; threads++) {
                cb_set_num_threads(threads * 2 - 1);
                results[threads - 1] = cb_scan(cb_op_code("scan", "cumsum"), x, 1, -1);
            }
            CHECK(same(results[0], results[1]), "threads change a running sum of %lld", (long long)sizes[s]);
            double total = 0;
            for (int64_t i = 0; i < x->numel && dtype >= CB_F32; i++) { /* whole numbers: exact */
                if (i % sizes[s] == 0) total = 0;
                total += item(x, i);
                if (i % 97 == 0 || i % sizes[s] > sizes[s] - 3)
                    CHECK(item(results[0], i) == total, "running sum of %lld at %lld", (long long)sizes[s],
                          (long long)i);
            }
            cb_release(x);
            cb_release(results[0]);
            cb_release(results[1]);
        }
}

int main(void) {
    CHECK(cb_init(NULL) == 0, "no kernels: %s", cb_error_message());
    test_layouts();
    test_streamed();
    test_running_sums();
    return finish("test_elementwise");
}
