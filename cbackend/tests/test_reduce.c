/* Reductions, arg-reductions and scans against naive loops in double: all dtypes, layouts and sets of dims,
 * special values, empty and 0-d tensors, the meta device, errors, and bitwise equality for any number of
 * threads. */
#include <complex.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cbackend.h"
#include "check.h"

static const char *names[] = {"bool",     "uint8",   "int8",    "uint16",    "int16",
                              "uint32",   "int32",   "uint64",  "int64",     "float16",
                              "bfloat16", "float32", "float64", "complex64", "complex128"};

static bool is_float(int d) { return d >= CB_F16 && d <= CB_F64; }
static bool is_complex(int d) { return d >= CB_C64; }
static int code(const char *family, const char *name) { return cb_op_code(family, name); }

/* what rounding to the dtype may cost */
static double tolerance(int dtype) {
    switch (dtype) {
        case CB_F16: return 2e-3;
        case CB_BF16: return 2e-2;
        case CB_F32:
        case CB_C64: return 3e-6;
        default: return 1e-12;
    }
}

static bool close_to(double complex got, double complex want, double rtol) {
    if (isnan(creal(want))) return isnan(creal(got));
    if (isinf(creal(want))) return creal(got) == creal(want);
    return cabs(got - want) <= rtol * (1 + cabs(want));
}

/* x as complex128 in row-major order; the caller frees it */
static double complex *values(cb_tensor *x) {
    cb_tensor *wide = cb_cast(x, CB_C128), *flat = cb_contiguous(wide);
    double complex *out = malloc((size_t)(x->numel + 1) * sizeof *out);
    if (x->numel) memcpy(out, flat->data, (size_t)x->numel * sizeof *out);
    cb_release(wide);
    cb_release(flat);
    return out;
}

static unsigned state = 1;
static double number(void) {
    state = state * 1664525u + 1013904223u;
    return (double)(state >> 8) / (1 << 24);
}

static cb_tensor *make(int dtype, int ndim, const int64_t *shape) {
    cb_tensor *x = cb_empty(CB_C128, CB_CPU, ndim, shape);
    double complex *data = x->data;
    for (int64_t i = 0; i < x->numel; i++)
        data[i] = dtype == CB_BOOL ? number() > 0.3
                  : dtype < CB_F16 ? floor(number() * 12)
                                   : 3 * number() - 1.5 + I * (number() - 0.5);
    cb_tensor *y = cb_cast(x, dtype);
    cb_release(x);
    return y;
}

/* the same tensor in other layouts; NULL past the last */
static cb_tensor *layout(cb_tensor *x, int k) {
    int64_t spec[] = {3, 0, 0, 0, 1, INT64_MIN, INT64_MIN, 2}, shape[CB_MAX_NDIM + 1];
    switch (k) {
        case 0: return cb_retain(x);
        case 1: return x->ndim < 2 ? cb_retain(x) : cb_transpose(x, 0, -1);
        case 2: return x->ndim < 1 ? cb_retain(x) : cb_index_basic(x, 2, spec);
        case 3: {
            cb_tensor *wide = cb_unsqueeze(x, 0);
            memcpy(shape, wide->shape, (size_t)wide->ndim * sizeof *shape);
            shape[0] = 3;
            cb_tensor *y = cb_expand(wide, wide->ndim, shape);
            cb_release(wide);
            return y;
        }
        case 4: { /* backwards along the last dim */
            if (x->ndim < 1) return cb_retain(x);
            int64_t strides[CB_MAX_NDIM], n = x->shape[x->ndim - 1];
            memcpy(strides, x->strides, (size_t)x->ndim * sizeof *strides);
            strides[x->ndim - 1] = -strides[x->ndim - 1];
            return cb_as_strided(x, x->ndim, x->shape, strides,
                                 n ? x->offset + (n - 1) * x->strides[x->ndim - 1] : 0);
        }
        default: return NULL;
    }
}

/* the output position of each input position, with kept dims in order */
static int64_t out_index(const cb_tensor *x, unsigned mask, int64_t i, int64_t *along) {
    int64_t out = 0, scale = 1;
    for (int d = x->ndim - 1; d >= 0; d--) {
        int64_t at = i % x->shape[d];
        i /= x->shape[d];
        if (mask >> d & 1) {
            if (along) *along = at;
            continue;
        }
        out += at * scale;
        scale *= x->shape[d];
    }
    return out;
}

typedef double complex (*fold)(double complex total, double complex v);
static double complex add(double complex a, double complex v) { return a + v; }
static double complex multiply(double complex a, double complex v) { return a * v; }
static double complex larger(double complex a, double complex v) {
    return creal(v) > creal(a) || isnan(creal(v)) ? v : a;
}
static double complex smaller(double complex a, double complex v) {
    return creal(v) < creal(a) || isnan(creal(v)) ? v : a;
}
static double complex both(double complex a, double complex v) { return a != 0 && v != 0; }
static double complex either(double complex a, double complex v) { return a != 0 || v != 0; }
static double complex add_number(double complex a, double complex v) { return isnan(creal(v)) ? a : a + v; }
static double complex add_square(double complex a, double complex v) {
    return a + creal(v) * creal(v) + cimag(v) * cimag(v);
}
static double complex add_exp(double complex a, double complex v) { return a + cexp(v); }
static double complex count(double complex a, double complex v) { return a + (v != 0); }
enum { REAL_ONLY = 1, INEXACT = 2, FLOAT_ONLY = 4, NO_EMPTY = 8 };
static const struct {
    const char *name;
    fold fold;
    double start;
    int rule;
} ops[] = {{"sum", add, 0, 0},
           {"prod", multiply, 1, 0},
           {"mean", add, 0, INEXACT},
           {"amax", larger, -INFINITY, REAL_ONLY | NO_EMPTY},
           {"amin", smaller, INFINITY, REAL_ONLY | NO_EMPTY},
           {"all", both, 1, 0},
           {"any", either, 0, 0},
           {"nansum", add_number, 0, REAL_ONLY},
           {"logsumexp", add_exp, 0, FLOAT_ONLY},
           {"norm2", add_square, 0, INEXACT},
           {"sum_squares", add_square, 0, 0},
           {"count_nonzero", count, 0, 0}};

static void test_ops(cb_tensor *x, unsigned mask) {
    int dtype = x->dtype;
    int64_t dims[CB_MAX_NDIM], reduced = 1;
    int n = 0;
    for (int d = 0; d < x->ndim; d++)
        if (mask >> d & 1) dims[n++] = d % 2 ? d - x->ndim : d, reduced *= x->shape[d];
    double complex *in = values(x);
    for (size_t k = 0; k < sizeof ops / sizeof *ops; k++) {
        if ((ops[k].rule & REAL_ONLY && is_complex(dtype)) || (ops[k].rule & INEXACT && dtype < CB_F16) ||
            (ops[k].rule & FLOAT_ONLY && !is_float(dtype)) || (ops[k].rule & NO_EMPTY && x->numel == 0))
            continue;
        cb_tensor *out = cb_reduce(code("reduce", ops[k].name), x, n, dims, (int)k % 2, -1);
        CHECK(out, "%s %s: %s", ops[k].name, names[dtype], cb_error_message());
        if (!out) continue;
        CHECK(out->ndim == (k % 2 ? x->ndim : x->ndim - n), "%s: rank", ops[k].name);
        double complex *got = values(out), *want = malloc((size_t)(out->numel + 1) * sizeof *want);
        for (int64_t i = 0; i < out->numel; i++) want[i] = ops[k].start;
        for (int64_t i = 0; i < x->numel; i++) {
            int64_t o = out_index(x, mask, i, NULL);
            want[o] = ops[k].fold(want[o], in[i]);
        }
        for (int64_t i = 0; i < out->numel; i++) {
            double complex w = want[i];
            if (!strcmp(ops[k].name, "mean")) w /= (double)reduced;
            if (!strcmp(ops[k].name, "logsumexp")) w = log(creal(w));
            if (!strcmp(ops[k].name, "norm2")) w = sqrt(creal(w));
            if (!strcmp(ops[k].name, "prod") && dtype < CB_F16 && cabs(w) > 9e15) continue; /* wraps */
            if (out->dtype == CB_F16 && creal(w) > 65000) w = INFINITY;
            bool good = close_to(got[i], w, tolerance(dtype) * 4);
            CHECK(good, "%s %s mask %u at %lld: got %g, expected %g", ops[k].name, names[dtype], mask,
                  (long long)i, creal(got[i]), creal(w));
            if (!good) break;
        }
        free(got);
        free(want);
        cb_release(out);
    }
    if (is_float(dtype) && x->numel && n) {
        cb_tensor *out = cb_var(x, n, dims, 0, 1), *wide = cb_cast(x, CB_F64),
                  *mean = cb_reduce(code("reduce", "mean"), wide, n, dims, 1, -1);
        double complex *got = values(out), *m = values(mean);
        double *m2 = calloc((size_t)out->numel + 1, sizeof *m2);
        for (int64_t i = 0; i < x->numel; i++) {
            int64_t o = out_index(x, mask, i, NULL);
            m2[o] += pow(creal(in[i] - m[o]), 2);
        }
        for (int64_t i = 0; i < out->numel; i++) {
            double w = m2[i] / (double)(reduced - 1);
            CHECK(close_to(got[i], w, tolerance(dtype) * 4), "var %s: got %g, expected %g", names[dtype],
                  creal(got[i]), w);
        }
        free(got), free(m), free(m2);
        cb_release(out), cb_release(wide), cb_release(mean);
    }
    free(in);
}

static void test_arg(cb_tensor *x, int dim) {
    double complex *in = values(x);
    for (int op = 0; op < 2; op++) {
        cb_tensor *out[2], *flat = cb_argreduce(op, x, INT64_MIN, 0);
        CHECK(!cb_reduce_with_index(op, x, dim - x->ndim, 0, out), "%s", cb_error_message());
        double complex *best = values(out[0]), *at = values(out[1]), *first = values(flat);
        double *top = malloc((size_t)(out[0]->numel + 1) * sizeof *top), top_flat = 0;
        int64_t *place = malloc((size_t)(out[0]->numel + 1) * sizeof *place), place_flat = -1;
        for (int64_t i = 0; i < out[0]->numel; i++) place[i] = -1;
        for (int64_t i = 0; i < x->numel; i++) {
            int64_t along = 0, o = out_index(x, 1u << dim, i, &along);
            double v = creal(in[i]);
#define BEATS(old) (op ? v < (old) : v > (old)) || (isnan(v) && !isnan(old))
            if (place[o] < 0 || BEATS(top[o])) top[o] = v, place[o] = along;
            if (place_flat < 0 || BEATS(top_flat)) top_flat = v, place_flat = i;
        }
        CHECK((int64_t)creal(first[0]) == place_flat, "argreduce %d %s flat: got %g, expected %lld", op,
              names[x->dtype], creal(first[0]), (long long)place_flat);
        for (int64_t i = 0; i < out[0]->numel; i++) {
            CHECK((int64_t)creal(at[i]) == place[i], "argreduce %d %s dim %d: got %g, expected %lld", op,
                  names[x->dtype], dim, creal(at[i]), (long long)place[i]);
            CHECK(close_to(best[i], top[i], 0), "argreduce %d %s: value", op, names[x->dtype]);
        }
        free(best), free(at), free(first), free(top), free(place);
        cb_release(out[0]), cb_release(out[1]), cb_release(flat);
    }
    free(in);
}

static void test_scan(cb_tensor *x, int dim) {
    double complex *in = values(x);
    int64_t step = 1, n = x->shape[dim];
    for (int d = dim + 1; d < x->ndim; d++) step *= x->shape[d];
    for (int op = 0; op < 5; op++) {
        const char *name = cb_op_name("scan", op);
        cb_tensor *out[2] = {NULL, NULL};
        bool extreme = op >= 3;
        if ((op == 2 && !is_float(x->dtype)) || (extreme && is_complex(x->dtype))) continue;
        if (extreme)
            CHECK(!cb_scan_with_index(op, x, dim, out), "%s", cb_error_message());
        else
            out[0] = cb_scan(op, x, dim, -1);
        CHECK(out[0], "%s: %s", name, cb_error_message());
        if (!out[0]) continue;
        double complex *got = values(out[0]), *at = extreme ? values(out[1]) : NULL;
        for (int64_t i = 0; i < x->numel; i++) {
            if (i / step % n) continue; /* the first of its line */
            double complex total = 0;
            int64_t place = 0;
            for (int64_t j = 0; j < n; j++) {
                double complex v = in[i + j * step];
                if (j == 0)
                    total = v;
                else if (op == 0)
                    total += v;
                else if (op == 1)
                    total *= v;
                else if (op == 2)
                    total = log(exp(creal(total)) + exp(creal(v)));
                else if (isnan(creal(v)) || (op == 3 ? creal(v) >= creal(total) : creal(v) <= creal(total)))
                    total = v, place = j;
                if (op == 1 && cabs(total) > 9e15) break;
                CHECK(close_to(got[i + j * step], total, tolerance(x->dtype) * 4),
                      "%s %s: got %g, expected %g", name, names[x->dtype], creal(got[i + j * step]),
                      creal(total));
                if (extreme)
                    CHECK((int64_t)creal(at[i + j * step]) == place, "%s %s: index", name, names[x->dtype]);
            }
        }
        free(got), free(at);
        cb_release(out[0]), cb_release(out[1]);
    }
    free(in);
}

/* y[i] = a[i] y[i - 1] + b[i], or its transpose, whose factor is that of the item before it comes from */
static void test_recurrence(cb_tensor *b, int dim) {
    cb_tensor *a = make(b->dtype, b->ndim, b->shape);
    double complex *factors = values(a), *terms = values(b);
    int64_t step = 1, n = b->shape[dim];
    for (int d = dim + 1; d < b->ndim; d++) step *= b->shape[d];
    for (int transposed = 0; transposed < 2; transposed++) {
        cb_tensor *y = cb_recurrence(a, b, dim, transposed);
        CHECK(y, "recurrence: %s", cb_error_message());
        if (!y) continue;
        double complex *got = values(y);
        for (int64_t i = 0; i < b->numel; i++) {
            if (i / step % n) continue; /* the first of its line */
            double complex value = 0;
            for (int64_t k = 0; k < n; k++) {
                int64_t j = i + (transposed ? n - 1 - k : k) * step;
                value = k ? factors[transposed ? j + step : j] * value + terms[j] : terms[j];
                if (cabs(value) > 6e4) break; /* too large for 16 bits */
                CHECK(close_to(got[j], value, tolerance(b->dtype) * 4), "recurrence %s: got %g, expected %g",
                      names[b->dtype], creal(got[j]), creal(value));
            }
        }
        free(got);
        cb_release(y);
    }
    free(factors), free(terms);
    cb_release(a);
}

static void test_layouts(void) {
    static const int64_t shapes[][4] = {{1},      {9},       {70},         {3, 5}, {18, 33},
                                        {12, 70}, {4, 1, 9}, {2, 3, 4, 5}, {0, 4}, {5, 0, 3}};
    static const int ranks[] = {1, 1, 1, 2, 2, 2, 3, 4, 2, 3};
    for (int dtype = 0; dtype < CB_DTYPE_COUNT; dtype++) {
        cb_tensor *number0 = make(dtype, 0, NULL);
        test_ops(number0, 0);
        cb_release(number0);
        for (size_t s = 0; s < sizeof ranks / sizeof *ranks; s++) {
            cb_tensor *x = make(dtype, ranks[s], shapes[s]), *y;
            for (int k = 0; (y = layout(x, k)); k++) {
                for (unsigned mask = 0; mask < 1u << y->ndim; mask++) test_ops(y, mask);
                for (int d = 0; d < y->ndim && y->numel; d++) {
                    if (!is_complex(dtype)) test_arg(y, d);
                    test_scan(y, d);
                    if (dtype >= CB_F16) test_recurrence(y, d);
                }
                cb_release(y);
            }
            cb_release(x);
        }
    }
}

/* Long enough to be cut into chunks: right, and the same bits for one and two threads. */
static void test_threads(void) {
    static const int64_t shapes[][2] = {{140000, 1}, {300, 500}, {2, 80000}, {80000, 2}};
    static const int dtypes[] = {CB_F32, CB_F16, CB_I32, CB_BOOL};
    for (int t = 0; t < 4; t++)
        for (int s = 0; s < 4; s++) {
            cb_tensor *x = make(dtypes[t], 2, shapes[s]);
            for (unsigned mask = 1; mask < 4; mask++) {
                int64_t dims[2];
                int n = 0;
                for (int d = 0; d < 2; d++)
                    if (mask >> d & 1) dims[n++] = d;
                for (int op = 0; cb_op_name("reduce", op); op++) {
                    cb_tensor *out[2];
                    if (!strcmp(cb_op_name("reduce", op), "prod")) continue;
                    for (int k = 0; k < 2; k++) {
                        cb_set_num_threads(k + 1);
                        out[k] = cb_reduce(op, x, n, dims, 0, -1);
                    }
                    if (out[0] && out[1])
                        CHECK(!memcmp(out[0]->data, out[1]->data, (size_t)(out[0]->numel * out[0]->itemsize)),
                              "%s: threads change the bits", cb_op_name("reduce", op));
                    cb_release(out[0]), cb_release(out[1]);
                }
                test_ops(x, mask);
            }
            test_arg(x, 0);
            test_arg(x, 1);
            cb_release(x);
        }
}

static double norm_of(const double *data, int64_t n, int64_t columns) {
    cb_tensor *x = cb_from_bytes(data, CB_F64, 1, &n), *column = cb_unsqueeze(x, 1);
    int64_t shape[2] = {n, columns}, dim = 0;
    cb_tensor *wide = cb_expand(column, 2, shape), *solid = cb_contiguous(wide),
              *out = cb_reduce(code("reduce", "norm2"), solid, 1, &dim, 0, -1);
    double norm = ((double *)out->data)[columns - 1];
    cb_release(x), cb_release(column), cb_release(wide), cb_release(solid), cb_release(out);
    return norm;
}

static void test_special(void) {
    const double huge[] = {3e200, 4e200}, tiny[] = {3e-200, 4e-200}, none[] = {0, 0},
                 endless[] = {INFINITY, 1}, bad[] = {NAN, 1e200};
    for (int64_t columns = 1; columns < 9; columns += 7) {
        CHECK(fabs(norm_of(huge, 2, columns) / 5e200 - 1) < 1e-14, "norm2: overflow");
        CHECK(fabs(norm_of(tiny, 2, columns) / 5e-200 - 1) < 1e-14, "norm2: underflow");
        CHECK(norm_of(none, 2, columns) == 0 && isinf(norm_of(endless, 2, columns)) &&
                  isnan(norm_of(bad, 2, columns)),
              "norm2: special values");
    }
    const float rows[][2] = {{-INFINITY, -INFINITY}, {INFINITY, 1}, {NAN, 1}, {1000, 1000}, {-1000, -1000}};
    const double expected[] = {-INFINITY, INFINITY, NAN, 1000 + M_LN2, -1000 + M_LN2};
    for (int k = 0; k < 5; k++) {
        cb_tensor *x = cb_from_bytes(rows[k], CB_F32, 1, (int64_t[]){2}),
                  *out = cb_reduce(code("reduce", "logsumexp"), x, -1, NULL, 0, -1);
        CHECK(close_to(*(float *)out->data, expected[k], 1e-6), "logsumexp: got %g, expected %g",
              (double)*(float *)out->data, expected[k]);
        cb_release(x), cb_release(out);
    }
    /* float32 keeps what a running float sum would lose */
    int64_t n = 1 << 20;
    cb_tensor *x = cb_full(CB_F32, CB_CPU, 1, &n, &(cb_scalar){.kind = 'f', .re = 0.1}),
              *out = cb_reduce(0, x, -1, NULL, 0, -1);
    CHECK(fabs(*(float *)out->data / ((double)0.1f * (double)n) - 1) < 1e-6, "sum: accuracy");
    cb_release(x), cb_release(out);
}

static void test_sum_to(void) {
    static const int64_t shape[] = {4, 2, 3},
                         targets[][3] = {{4, 2, 3}, {2, 3}, {3}, {2, 1}, {1, 2, 3}, {4, 1, 1}, {1, 1, 1}};
    static const int ranks[] = {3, 2, 1, 2, 3, 3, 3};
    cb_tensor *x = make(CB_F64, 3, shape);
    double *in = x->data;
    for (int k = 0; k < 7; k++) {
        cb_tensor *out = cb_sum_to(x, ranks[k], targets[k]);
        double want[24] = {0};
        for (int64_t i = 0; i < 24; i++) {
            int64_t at[3] = {i / 6, i / 3 % 2, i % 3}, o = 0;
            for (int d = 0; d < ranks[k]; d++)
                o = o * targets[k][d] + (targets[k][d] == 1 ? 0 : at[3 - ranks[k] + d]);
            want[o] += in[i];
        }
        CHECK(out && (k || out == x), "sum_to: equal shapes give x itself");
        for (int64_t i = 0; out && i < out->numel; i++)
            CHECK(fabs(((double *)out->data)[i] - want[i]) < 1e-12, "sum_to %d", k);
        cb_release(out);
    }
    cb_tensor *scalar = cb_sum_to(x, 0, NULL);
    CHECK(scalar && scalar->ndim == 0, "sum_to: no dims");
    cb_release(scalar);
    CHECK(!cb_sum_to(x, 1, (int64_t[]){2}) && cb_error_code() == CB_ERR_SHAPE, "sum_to: shape error");
    CHECK(!cb_sum_to(x, 4, (int64_t[]){1, 4, 2, 3}) && cb_error_code() == CB_ERR_SHAPE, "sum_to: rank error");
    cb_release(x);
}

static void test_rules(void) {
    int64_t shape[] = {2, 3}, empty[] = {0, 3}, dim = 0, twice[] = {0, -2}, far = 2;
    cb_tensor *meta = cb_empty(CB_I32, CB_META, 2, shape), *out, *pair[2];
    out = cb_reduce(code("reduce", "sum"), meta, 1, &dim, 1, -1);
    CHECK(out && out->dtype == CB_I64 && out->ndim == 2 && out->shape[0] == 1 && !out->data, "meta: sum");
    cb_release(out);
    CHECK(!cb_reduce_with_index(0, meta, 1, 0, pair) && pair[0]->dtype == CB_I32 &&
              pair[1]->dtype == CB_I64 && pair[1]->ndim == 1,
          "meta: argmax");
    cb_release(pair[0]), cb_release(pair[1]);
    out = cb_scan(0, meta, 0, -1);
    CHECK(out && out->dtype == CB_I64, "meta: cumsum");
    cb_release(out);
#define FAILS(call, expected)                                                                         \
    CHECK(!(call) && cb_error_code() == (expected), "%s: expected error %d, got %d", #call, expected, \
          cb_error_code())
    cb_tensor *x = make(CB_I32, 2, shape), *none = make(CB_F32, 2, empty), *z = make(CB_C64, 2, shape);
    FAILS(cb_reduce(0, NULL, -1, NULL, 0, -1), CB_ERR_NULL);
    FAILS(cb_reduce(99, x, -1, NULL, 0, -1), CB_ERR_VALUE);
    FAILS(cb_reduce(code("reduce", "mean"), x, -1, NULL, 0, -1), CB_ERR_DTYPE);
    FAILS(cb_reduce(code("reduce", "norm2"), x, -1, NULL, 0, -1), CB_ERR_DTYPE);
    FAILS(cb_reduce(code("reduce", "amax"), z, -1, NULL, 0, -1), CB_ERR_DTYPE);
    FAILS(cb_reduce(code("reduce", "amax"), none, 1, &dim, 0, -1), CB_ERR_SHAPE);
    FAILS(cb_reduce(0, x, 2, twice, 0, -1), CB_ERR_DIM);
    FAILS(cb_reduce(0, x, 1, &far, 0, -1), CB_ERR_DIM);
    FAILS(cb_var(x, -1, NULL, 0, 1), CB_ERR_DTYPE);
    FAILS(cb_argreduce(0, none, INT64_MIN, 0), CB_ERR_SHAPE);
    FAILS(cb_argreduce(0, z, 0, 0), CB_ERR_DTYPE);
    FAILS(cb_scan(code("scan", "logcumsumexp"), z, 0, -1), CB_ERR_DTYPE);
    CHECK(cb_scan_with_index(code("scan", "cummax"), z, 0, pair) == CB_ERR_DTYPE, "cummax: complex");
    FAILS(cb_recurrence(x, x, 0, 0), CB_ERR_DTYPE);
    FAILS(cb_recurrence(NULL, none, 0, 0), CB_ERR_NULL);
    FAILS(cb_recurrence(none, none, 2, 0), CB_ERR_DIM);
    out = make(CB_C64, 2, (int64_t[]){3, 2});
    FAILS(cb_recurrence(out, z, 0, 0), CB_ERR_SHAPE);
    cb_release(out);
    /* a dtype: floats are cast before, integer sums after */
    out = cb_reduce(0, x, -1, NULL, 0, CB_F32);
    CHECK(out && out->dtype == CB_F32, "sum: dtype");
    cb_release(out);
    out = cb_var(z, -1, NULL, 0, 1);
    CHECK(out && out->dtype == CB_F32, "var: complex gives real");
    cb_release(out);
    cb_release(x), cb_release(none), cb_release(z), cb_release(meta);
}

int main(void) {
    if (cb_init(NULL)) return 1;
    int64_t live = cb_memory_allocated(CB_CPU);
    test_layouts();
    test_threads();
    test_special();
    test_sum_to();
    test_rules();
    CHECK(cb_memory_allocated(CB_CPU) == live, "%lld bytes leaked",
          (long long)(cb_memory_allocated(CB_CPU) - live));
    return finish("test_reduce");
}
