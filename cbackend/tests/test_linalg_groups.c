/* Matrices side by side (small.h): QR, eigenvalues and singular values multiplied out for random, degenerate
 * and badly scaled matrices, and bit for bit the same among other neighbours, in other layouts and with
 * another number of threads. Needs CB_BLAS, the OpenBLAS library: what a group refuses goes there. */
#include <float.h>
#include <math.h>

#include "products_test.h"

enum { COUNT = 21, MOST = 32, NAN_AT = 5 };
static int current, rows, cols;
static const char *const kinds[] = {"normal",   "zero",   "ones",   "identity", "repeated", "rank 1",
                                    "low rank", "graded", "graded", "tiny",     "huge",     "nan"};
enum {
    NORMAL,
    ZERO,
    ONES,
    IDENTITY,
    REPEATED,
    RANK_1,
    LOW_RANK,
    BY_COLUMN,
    BY_ROW,
    SUBNORMAL,
    VAST,
    WITH_NAN,
    KINDS
};

static double uniform(void) { return (double)whole(-1000000, 1000000) / 1000000; }

static double element(int kind, int i, int k, const double *left, const double *right) {
    double sum = 0, range = CB_MAX(CB_MAX(rows, cols) - 1, 1);
    switch (kind) {
        case ZERO: return 0;
        case ONES: return 1;
        case IDENTITY: return i == k;
        case REPEATED: return i == k ? 2 + i / 3 : 0;
        case RANK_1: return left[i] * right[k];
        case LOW_RANK:
            for (int r = 0; r < (rows + cols) / 4; r++) sum += left[i + r * MOST] * right[k + r * MOST];
            return sum;
        case BY_COLUMN: return uniform() * pow(10, 20 - 40 * k / range);
        case BY_ROW: return uniform() * pow(10, 20 - 40 * i / range);
        case SUBNORMAL: return uniform() * (current == CB_F32 ? 1e-40 : 1e-310);
        case VAST: return uniform() * (current == CB_F32 ? 3e36 : 1e306);
        default: return uniform();
    }
}

static cb_tensor *matrices(int kind, bool symmetric) {
    static double left[MOST * MOST], right[MOST * MOST];
    cb_complex128 *data = calloc((size_t)COUNT * MOST * MOST, sizeof *data);
    for (int item = 0; item < COUNT; item++) {
        cb_complex128 *a = data + item * rows * cols;
        for (int i = 0; i < MOST * MOST; i++) left[i] = uniform(), right[i] = uniform();
        for (int i = 0; i < rows; i++)
            for (int k = 0; k < cols; k++) a[i * cols + k] = element(kind, i, k, left, right);
        for (int i = 0; symmetric && i < rows; i++)
            for (int k = 0; k < i; k++) a[k * cols + i] = a[i * cols + k];
        if (kind == WITH_NAN && item == NAN_AT) a[0] = item & 1 ? NAN : INFINITY;
    }
    cb_tensor *wide = cb_from_bytes(data, CB_C128, 3, (int64_t[]){COUNT, rows, cols});
    cb_tensor *x = cb_cast(wide, current);
    cb_release(wide);
    free(data);
    return x;
}

typedef int factor(cb_tensor *a, cb_tensor **out);
static int qr(cb_tensor *a, cb_tensor **out) { return cb_qr(a, 0, out); }
static int qr_complete(cb_tensor *a, cb_tensor **out) { return cb_qr(a, 1, out); }
static int eigh(cb_tensor *a, cb_tensor **out) { return cb_eigh(a, 0, 1, NULL, out); }
static int eigh_upper(cb_tensor *a, cb_tensor **out) { return cb_eigh(a, 1, 1, NULL, out); }
static int eigh_mean(cb_tensor *a, cb_tensor **out) { return cb_eigh(a, 2, 1, NULL, out); }
static int svd(cb_tensor *a, cb_tensor **out) { return cb_svd(a, 0, 1, NULL, out); }
typedef struct method {
    const char *name;
    factor *run;
    int outs;
    bool symmetric;
} method;
static const method methods[] = {{"qr", qr, 2, false},
                                 {"complete qr", qr_complete, 2, false},
                                 {"eigh", eigh, 2, true},
                                 {"upper eigh", eigh_upper, 2, true},
                                 {"mean eigh", eigh_mean, 2, true},
                                 {"svd", svd, 3, false}};

/* [m, n] numbers; transposed: [n, m] */
static void product(int m, int n, int k, const double *a, const double *b, double *c) {
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            double sum = 0;
            for (int r = 0; r < k; r++) sum += a[i * k + r] * b[r * n + j];
            c[i * n + j] = sum;
        }
}
static void transpose(int m, int n, const double *a, double *t) {
    for (int i = 0; i < m; i++)
        for (int k = 0; k < n; k++) t[k * m + i] = a[i * n + k];
}
static double largest(int n, const double *a, const double *b) {
    double most = 0;
    for (int i = 0; i < n; i++) {
        double d = fabs(b ? a[i] - b[i] : a[i]);
        if (!(d <= most)) most = d;
    }
    return most;
}

/* the largest deviation of the columns of q [m, n] from orthonormal ones */
static double skew(int m, int n, const double *q) {
    double t[MOST * MOST], p[MOST * MOST];
    transpose(m, n, q, t);
    product(n, n, m, t, q, p);
    for (int i = 0; i < n; i++) p[i * n + i] -= 1;
    return largest(n * n, p, NULL);
}

static double first_of(cb_tensor *x, int item) {
    int64_t at = item * (x->numel / COUNT);
    return x->dtype == CB_F64 ? ((double *)x->data)[at] : (double)((float *)x->data)[at];
}

static void item_of(cb_tensor *x, int item, double scale, double *to) {
    int64_t n = x->numel / COUNT;
    for (int64_t i = 0; i < n; i++)
        to[i] = scale * (x->dtype == CB_F64 ? ((double *)x->data)[item * n + i]
                                            : (double)((float *)x->data)[item * n + i]);
}

/* the factors of one item, multiplied out; elements are near 1 after `scale` */
static void check_item(const method *f, cb_tensor *a, cb_tensor **out, int item, double scale, double bound,
                       const char *kind) {
    double x[MOST * MOST], y[3][MOST * MOST], left[MOST * MOST], right[MOST * MOST], shape_bound;
    int k = CB_MIN(rows, cols);
    item_of(a, item, scale, x);
    double size = largest(rows * cols, x, NULL);
    if (f->symmetric) { /* a v = v w */
        item_of(out[0], item, scale, y[0]);
        item_of(out[1], item, 1, y[1]);
        product(rows, rows, rows, x, y[1], left);
        for (int i = 0; i < rows * rows; i++) right[i] = y[1][i] * y[0][i % rows];
        for (int i = 1; i < rows; i++) CHECK(y[0][i - 1] <= y[0][i], "ascending");
        shape_bound = skew(rows, rows, y[1]);
    } else if (f->outs == 2) {
        int columns = (int)out[0]->shape[2];
        item_of(out[0], item, 1, y[0]);
        item_of(out[1], item, scale, y[1]);
        product(rows, cols, columns, y[0], y[1], left);
        memcpy(right, x, sizeof x);
        shape_bound = skew(rows, columns, y[0]);
        for (int i = 0; i < columns; i++)
            for (int c = 0; c < i && c < cols; c++) CHECK(y[1][i * cols + c] == 0, "triangular");
    } else {
        item_of(out[0], item, 1, y[0]);
        item_of(out[1], item, scale, y[1]);
        item_of(out[2], item, 1, y[2]);
        for (int i = 1; i < k; i++) CHECK(y[1][i - 1] >= y[1][i] && y[1][i] >= 0, "descending");
        shape_bound = skew(rows, k, y[0]);
        for (int i = 0; i < rows * k; i++) y[0][i] *= y[1][i % k];
        product(rows, cols, k, y[0], y[2], left);
        memcpy(right, x, sizeof x);
        transpose(k, cols, y[2], y[1]);
        shape_bound = fmax(shape_bound, skew(cols, k, y[1]));
    }
    double d = largest(rows * cols, left, right);
    CHECK(d <= bound * size, "%s of %s, %d x %d, item %d: residual %g", f->name, kind, rows, cols, item,
          d / size);
    CHECK(shape_bound <= bound, "%s of %s, %d x %d, item %d: not orthonormal by %g", f->name, kind, rows,
          cols, item, shape_bound);
}

static bool same_bits(cb_tensor *x, int at, cb_tensor *y, int from, int count) {
    size_t bytes = (size_t)(y->numel / y->shape[0] * y->itemsize);
    return !memcmp((char *)x->data + at * bytes, (char *)y->data + from * bytes, count * bytes);
}

static void check(const method *f, int kind) {
    cb_tensor *a = matrices(kind, f->symmetric), *out[3] = {NULL}, *again[3] = {NULL};
    double unit = current == CB_F32 ? FLT_EPSILON : DBL_EPSILON;
    double scale = kind == SUBNORMAL ? (current == CB_F32 ? 1e40 : 1e308)
                   : kind == VAST    ? (current == CB_F32 ? 1e-37 : 1e-307)
                                     : 1;
    /* results of subnormal matrices are multiples of the least number */
    double bound = kind == SUBNORMAL ? 1e-3 : 8 * (4 + rows + cols) * unit;
    CHECK(f->run(a, out) == CB_OK, "%s", f->name);
    for (int item = 0; item < COUNT; item++)
        if (kind != WITH_NAN || item != NAN_AT)
            check_item(f, a, out, item, scale, bound, kinds[kind]);
        else
            CHECK(isnan(first_of(out[f->outs - 1], item)), "%s: nan", f->name);
    /* the same matrices in another place, layout and number of threads */
    for (int mode = 0; mode < 3; mode++) {
        cb_tensor *part = cb_index_basic(a, 1, (int64_t[]){1, 7, COUNT, 1}), *moved = restride(part, mode);
        cb_set_num_threads(mode % 2 + 1);
        CHECK(f->run(moved, again) == CB_OK, "%s", f->name);
        for (int i = 0; i < f->outs; i++) {
            CHECK(same_bits(again[i], 0, out[i], 7, COUNT - 7), "%s of %s, %d x %d: result %d differs",
                  f->name, kinds[kind], rows, cols, i);
            cb_release(again[i]);
        }
        cb_release(part);
        cb_release(moved);
    }
    cb_release(a);
    for (int i = 0; i < f->outs; i++) cb_release(out[i]);
}

/* Values alone, and small matrices alone, are those of a batch with vectors. */
static void values_and_singles(int kind) {
    cb_tensor *a = matrices(kind, rows == cols), *all[3], *alone[3], *only[3];
    for (int symmetric = 0; symmetric < 1 + (rows == cols); symmetric++) {
        int outs = symmetric ? 2 : 3, at = symmetric ? 0 : 1;
        CHECK(!(symmetric ? eigh(a, all) : svd(a, all)), "all");
        CHECK(!(symmetric ? cb_eigh(a, 0, 0, NULL, only) : cb_svd(a, 0, 0, NULL, only)), "values");
        CHECK(same_bits(only[0], 0, all[at], 0, COUNT), "values of %s, %d x %d", kinds[kind], rows, cols);
        cb_tensor *one = cb_index_basic(a, 1, (int64_t[]){1, 3, 4, 1});
        CHECK(!(symmetric ? eigh(one, alone) : svd(one, alone)), "alone");
        for (int i = 0; i < outs; i++)
            CHECK(CB_MAX(rows, cols) > 8 || same_bits(alone[i], 0, all[i], 3, 1), "alone, %d x %d", rows,
                  cols);
        for (int i = 0; i < outs; i++) cb_release(all[i]), cb_release(alone[i]);
        cb_release(only[0]);
        cb_release(one);
    }
    cb_release(a);
}

int main(void) {
    static const int sizes[][2] = {{1, 1}, {2, 2}, {3, 3}, {4, 4}, {7, 7},  {16, 16}, {19, 19}, {32, 32},
                                   {5, 3}, {3, 5}, {1, 4}, {4, 1}, {16, 9}, {9, 16},  {32, 7},  {2, 31}};
    const char *blas = getenv("CB_BLAS");
    cb_init(NULL);
    if (!blas || cb_load_blas(blas)) return finish("test_linalg_groups");
    for (int i = 0; i < (int)(sizeof sizes / sizeof *sizes); i++)
        for (int wide = 0; wide < 2; wide++) {
            current = wide ? CB_F64 : CB_F32;
            rows = sizes[i][0];
            cols = sizes[i][1];
            for (int kind = 0; kind < KINDS; kind++)
                for (int f = 0; f < (int)(sizeof methods / sizeof *methods); f++)
                    if (rows == cols || !methods[f].symmetric) check(methods + f, kind);
            values_and_singles(NORMAL);
        }
    return finish("test_linalg_groups");
}
