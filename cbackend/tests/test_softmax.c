/* Fused rows (softmax, cross-entropy, norms) and their gradients against naive loops in double: floating
 * dtypes, all dims, layouts, special values, ignored labels, empty tensors, the meta device, errors, and
 * equality of bits for any number of threads. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cbackend.h"
#include "check.h"

static const int dtypes[] = {CB_F16, CB_BF16, CB_F32, CB_F64};
static const double tolerances[] = {4e-3, 3e-2, 4e-6, 1e-12};

static unsigned state = 7;
static double number(void) {
    state = state * 1664525u + 1013904223u;
    return (double)(state >> 8) / (1 << 23) - 1;
}

static cb_tensor *make(int dtype, int ndim, const int64_t *shape) {
    cb_tensor *x = cb_empty(CB_F64, CB_CPU, ndim, shape);
    for (int64_t i = 0; i < x->numel; i++) ((double *)x->data)[i] = 2 * number();
    cb_tensor *y = cb_cast(x, dtype);
    cb_release(x);
    return y;
}

/* row-major values in double; the caller frees them */
static double *values(cb_tensor *x) {
    cb_tensor *wide = cb_cast(x, CB_F64), *flat = cb_contiguous(wide);
    double *out = malloc((size_t)(x->numel + 1) * sizeof *out);
    if (x->numel) memcpy(out, flat->data, (size_t)x->numel * sizeof *out);
    cb_release(wide), cb_release(flat);
    return out;
}

static void compare(const char *what, int t, cb_tensor *got, const double *want, double scale) {
    CHECK(got, "%s: %s", what, cb_error_message());
    if (!got) return;
    double *g = values(got);
    for (int64_t i = 0; i < got->numel; i++) {
        bool good = isnan(want[i])   ? isnan(g[i])
                    : isinf(want[i]) ? g[i] == want[i]
                                     : fabs(g[i] - want[i]) <= tolerances[t] * scale * (1 + fabs(want[i]));
        CHECK(good, "%s, dtype %d, %lld of %lld: got %g, expected %g", what, dtypes[t], (long long)i,
              (long long)got->numel, g[i], want[i]);
        if (!good) break;
    }
    free(g);
}

static void softmax_reference(const cb_tensor *x, const double *in, int dim, bool log_, double *out) {
    int64_t step = 1, n = x->shape[dim];
    for (int d = dim + 1; d < x->ndim; d++) step *= x->shape[d];
    for (int64_t i = 0; i < x->numel; i++) {
        if (i / step % n) continue;
        double top = -INFINITY, sum = 0;
        for (int64_t j = 0; j < n; j++) top = fmax(top, in[i + j * step]);
        for (int64_t j = 0; j < n; j++) sum += exp(in[i + j * step] - top);
        for (int64_t j = 0; j < n; j++) {
            double shifted = in[i + j * step] - top;
            out[i + j * step] = log_ ? shifted - log(sum) : exp(shifted) / sum;
        }
    }
}

static void softmax_grad_reference(const cb_tensor *x, const double *ct, const double *y, int dim, bool log_,
                                   double *out) {
    int64_t step = 1, n = x->shape[dim];
    for (int d = dim + 1; d < x->ndim; d++) step *= x->shape[d];
    for (int64_t i = 0; i < x->numel; i++) {
        if (i / step % n) continue;
        double sum = 0;
        for (int64_t j = 0; j < n; j++) sum += ct[i + j * step] * (log_ ? 1 : y[i + j * step]);
        for (int64_t j = 0; j < n; j++) {
            double c = ct[i + j * step], v = y[i + j * step];
            out[i + j * step] = log_ ? c - exp(v) * sum : v * (c - sum);
        }
    }
}

static void test_softmax(void) {
    static const int64_t shapes[][3] = {{1},      {10},      {100},       {70, 10},   {65, 33},
                                        {5, 200}, {3, 7, 4}, {2, 20, 67}, {3, 5, 64}, {0, 3}};
    static const int ranks[] = {1, 1, 1, 2, 2, 2, 3, 3, 3, 2};
    for (int t = 0; t < 4; t++)
        for (size_t s = 0; s < sizeof ranks / sizeof *ranks; s++)
            for (int turned = 0; turned < 2; turned++) {
                cb_tensor *base = make(dtypes[t], ranks[s], shapes[s]),
                          *x = turned && ranks[s] > 1 ? cb_transpose(base, 0, -1) : cb_retain(base);
                cb_tensor *ct = make(dtypes[t], x->ndim, x->shape);
                double *in = values(x), *c = values(ct),
                       *want = malloc((size_t)(x->numel + 1) * sizeof *want);
                for (int dim = 0; dim < x->ndim; dim++)
                    for (int log_ = 0; log_ < 2; log_++) {
                        cb_tensor *y = cb_softmax(x, dim - x->ndim, log_, -1);
                        softmax_reference(x, in, dim, log_, want);
                        compare(log_ ? "log_softmax" : "softmax", t, y, want, 1);
                        cb_tensor *dx = cb_softmax_grad(ct, y, dim, log_);
                        double *out = values(y);
                        softmax_grad_reference(x, c, out, dim, log_, want);
                        compare("softmax_grad", t, dx, want, 4);
                        free(out);
                        cb_release(y), cb_release(dx);
                    }
                free(in), free(c), free(want);
                cb_release(base), cb_release(x), cb_release(ct);
            }
    const double rows[][2] = {{-INFINITY, 0}, {-INFINITY, -INFINITY}, {INFINITY, 0},
                              {NAN, 0},       {1000, 1000},           {0, NAN}};
    const double first[] = {0, NAN, NAN, NAN, 0.5, NAN};
    for (int k = 0; k < 6; k++) {
        cb_tensor *x = cb_from_bytes(rows[k], CB_F64, 1, (int64_t[]){2}), *y = cb_softmax(x, 0, 0, -1);
        double got = ((double *)y->data)[0];
        CHECK(isnan(first[k]) ? isnan(got) : got == first[k], "softmax special %d: got %g", k, got);
        cb_release(x), cb_release(y);
    }
}

static void test_cross_entropy(void) {
    static const int64_t shapes[][2] = {{1, 1}, {70, 10}, {5, 200}, {130, 33}, {0, 4}};
    static const int label_types[] = {CB_I64, CB_U8, CB_I16};
    for (int t = 0; t < 4; t++)
        for (int s = 0; s < 5; s++)
            for (int l = 0; l < 3; l++) {
                int64_t n = shapes[s][0], c = shapes[s][1], ignore = 77;
                cb_tensor *x = make(dtypes[t], 2, shapes[s]), *ct = make(dtypes[t], 1, &n), *out[2],
                          *labels = cb_empty(CB_I64, CB_CPU, 1, &n);
                int64_t *label = labels->data;
                for (int64_t i = 0; i < n; i++)
                    label[i] = i % 5 == 3 ? ignore : (int64_t)(fabs(number()) * (double)(c < 70 ? c : 70));
                cb_tensor *typed = cb_cast(labels, label_types[l]);
                CHECK(!cb_cross_entropy(x, typed, ignore, out), "%s", cb_error_message());
                double *in = values(x), *cts = values(ct), *loss = calloc((size_t)n + 1, 8),
                       *total = calloc((size_t)n + 1, 8), *dx = calloc((size_t)(n * c) + 1, 8);
                for (int64_t i = 0; i < n; i++) {
                    double sum = 0;
                    for (int64_t j = 0; j < c; j++) sum += exp(in[i * c + j]);
                    total[i] = log(sum);
                    if (label[i] == ignore) continue;
                    loss[i] = total[i] - in[i * c + label[i]];
                    for (int64_t j = 0; j < c; j++)
                        dx[i * c + j] = cts[i] * (exp(in[i * c + j] - total[i]) - (j == label[i]));
                }
                compare("cross_entropy", t, out[0], loss, 1);
                compare("cross_entropy: log-sum-exp", t, out[1], total, 1);
                cb_tensor *grad = cb_cross_entropy_grad(ct, x, typed, out[1], ignore);
                compare("cross_entropy_grad", t, grad, dx, 2);
                free(in), free(cts), free(loss), free(total), free(dx);
                cb_release(x), cb_release(ct), cb_release(labels), cb_release(typed), cb_release(out[0]),
                    cb_release(out[1]), cb_release(grad);
            }
}

static void test_norms(void) {
    static const int64_t shapes[][3] = {{6}, {70, 64}, {3, 4, 5}, {2, 1000}, {300, 33}, {0, 5}, {4, 1}};
    static const int ranks[] = {1, 2, 3, 2, 2, 2, 2}, normalized[] = {1, 1, 2, 1, 1, 1, 1};
    for (int t = 0; t < 4; t++)
        for (int s = 0; s < 7; s++)
            for (int affine = 0; affine < 8; affine++) { /* bit 2: RMS norm */
                bool rms = affine & 4, weighted = affine & 1, biased = affine & 2;
                int k = normalized[s], lead = ranks[s] - k, has = affine & 3;
                if (rms && biased) continue;
                const int64_t *inner = shapes[s] + lead;
                int64_t n = 1;
                for (int d = 0; d < k; d++) n *= inner[d];
                cb_tensor *x = make(dtypes[t], ranks[s], shapes[s]),
                          *ct = make(dtypes[t], ranks[s], shapes[s]), *w = make(dtypes[t], k, inner),
                          *b = make(dtypes[t], k, inner);
                cb_tensor *out[3] = {NULL}, *grad[3] = {NULL};
                int failed =
                    rms ? cb_rms_norm(x, k, weighted ? w : NULL, has, 1e-3, out)
                        : cb_layer_norm(x, k, weighted ? w : NULL, biased ? b : NULL, has, 1e-3, out);
                CHECK(!failed, "%s", cb_error_message());
                if (rms)
                    failed = cb_rms_norm_grad(ct, x, out[1], k, weighted ? w : NULL, has, grad);
                else
                    failed = cb_layer_norm_grad(ct, x, out[1], out[2], k, weighted ? w : NULL, has, grad);
                CHECK(!failed, "%s", cb_error_message());
                int64_t rows = n ? x->numel / n : 0;
                double *in = values(x), *c = values(ct), *ws = values(w), *bs = values(b),
                       *y = calloc((size_t)x->numel + 1, 8), *dx = calloc((size_t)x->numel + 1, 8);
                double *dw = calloc((size_t)n + 1, 8), *db = calloc((size_t)n + 1, 8),
                       *xhat = calloc((size_t)n + 1, 8);
                for (int64_t r = 0; r < rows; r++) {
                    double mean = 0, square = 0, mean_g = 0, dot = 0;
                    for (int64_t i = 0; i < n; i++) mean += rms ? 0 : in[r * n + i] / (double)n;
                    for (int64_t i = 0; i < n; i++) square += pow(in[r * n + i] - mean, 2) / (double)n;
                    double rstd = 1 / sqrt(square + 1e-3);
                    for (int64_t i = 0; i < n; i++) {
                        double g = c[r * n + i] * (weighted ? ws[i] : 1);
                        xhat[i] = (in[r * n + i] - mean) * rstd;
                        y[r * n + i] = xhat[i] * (weighted ? ws[i] : 1) + (biased ? bs[i] : 0);
                        mean_g += rms ? 0 : g / (double)n;
                        dot += g * xhat[i] / (double)n;
                        dw[i] += c[r * n + i] * xhat[i];
                        db[i] += c[r * n + i];
                    }
                    for (int64_t i = 0; i < n; i++)
                        dx[r * n + i] =
                            rstd * (c[r * n + i] * (weighted ? ws[i] : 1) - mean_g - xhat[i] * dot);
                }
                compare("norm", t, out[0], y, 2);
                compare("norm_grad", t, grad[0], dx, n == 1 ? 100 : 8); /* one item: everything cancels */
                CHECK(!grad[1] == !weighted && !grad[2] == !biased,
                      "norm_grad: gradients of absent parameters");
                if (weighted) compare("norm_grad: weight", t, grad[1], dw, 20);
                if (biased) compare("norm_grad: bias", t, grad[2], db, 20);
                free(in), free(c), free(ws), free(bs), free(y), free(dx), free(dw), free(db), free(xhat);
                cb_release(x), cb_release(ct), cb_release(w), cb_release(b);
                for (int i = 0; i < 3; i++) cb_release(out[i]), cb_release(grad[i]);
            }
}

static void channels_reference(const int64_t *shape, int64_t groups, const double *x, const double *ct,
                               const double *w, const double *b, double *y, double *dx, double *dw,
                               double *db) {
    int64_t n = shape[0], c = shape[1], inner = shape[2], sets = groups ? n * groups : c;
    double items = (double)(n * c * inner) / (double)sets, *sum = calloc((size_t)sets * 4, 8);
    double *mean = sum, *var = sum + sets, *g_mean = sum + 2 * sets, *dot = sum + 3 * sets;
#define EACH                                                                                            \
    for (int64_t i = 0; i < n * c * inner; i++)                                                         \
        for (int64_t row = i / inner, j = row % c, once = 1, s = groups ? row / (c / groups) : j; once; \
             once = 0)
    EACH mean[s] += x[i] / items;
    EACH var[s] += pow(x[i] - mean[s], 2) / items;
#define SCALED ((x[i] - mean[s]) / sqrt(var[s] + 1e-3))
    EACH {
        y[i] = SCALED * w[j] + b[j];
        g_mean[s] += ct[i] * w[j] / items;
        dot[s] += ct[i] * w[j] * SCALED / items;
        dw[j] += ct[i] * SCALED;
        db[j] += ct[i];
    }
    EACH dx[i] = (ct[i] * w[j] - g_mean[s] - SCALED * dot[s]) / sqrt(var[s] + 1e-3);
#undef SCALED
#undef EACH
    free(sum);
}

static void test_channels(void) {
    /* columns, short rows, several blocks of a row and of a group */
    const int64_t shapes[][3] = {{5, 3, 1}, {130, 70, 2}, {3, 5, 70}, {2, 3, 5000}, {9, 16, 30}, {1, 2, 9}};
    const int64_t groups[] = {0, 0, 0, 0, 4, 1};
    for (int t = 0; t < 4; t++)
        for (int k = 0; k < 6; k++) {
            int64_t c = shapes[k][1], numel = shapes[k][0] * c * shapes[k][2];
            cb_tensor *x = make(dtypes[t], 3, shapes[k]), *ct = make(dtypes[t], 3, shapes[k]),
                      *w = make(dtypes[t], 1, &c), *b = make(dtypes[t], 1, &c), *out[3], *grad[3];
            CHECK(!cb_channel_norm(x, groups[k], w, b, 1e-3, out) &&
                      !cb_channel_norm_grad(ct, x, out[1], out[2], w, groups[k], 1e-3, 0, grad),
                  "%s", cb_error_message());
            double *in[4] = {values(x), values(ct), values(w), values(b)},
                   *want = calloc((size_t)(2 * numel + 2 * c), 8), *dx = want + numel, *dw = dx + numel;
            channels_reference(shapes[k], groups[k], in[0], in[1], in[2], in[3], want, dx, dw, dw + c);
            compare("channel_norm", t, out[0], want, 4);
            compare("channel_norm_grad", t, grad[0], dx, 20);
            compare("channel_norm_grad: weight", t, grad[1], dw, 200);
            compare("channel_norm_grad: bias", t, grad[2], dw + c, 200);
            if (!groups[k]) {
                cb_tensor *y = cb_channel_scale(x, out[1], out[2], w, b, 1e-3);
                compare("channel_scale", t, y, want, 4);
                cb_release(y);
            }
            for (int i = 0; i < 4; i++) free(in[i]);
            free(want);
            cb_release(x), cb_release(ct), cb_release(w), cb_release(b);
            for (int i = 0; i < 3; i++) cb_release(out[i]), cb_release(grad[i]);
        }
}

static void same_bits(const char *what, cb_tensor **a, cb_tensor **b, int n) {
    for (int i = 0; i < n; i++) {
        CHECK(a[i] && b[i] && !memcmp(a[i]->data, b[i]->data, (size_t)(a[i]->numel * a[i]->itemsize)),
              "%s: threads change the bits", what);
        cb_release(a[i]), cb_release(b[i]);
    }
}

static void test_threads(void) {
    int64_t shape[] = {600, 700}, label_shape = 600;
    cb_tensor *x = make(CB_F32, 2, shape), *w = make(CB_F32, 1, shape + 1),
              *labels = cb_full(CB_I64, CB_CPU, 1, &label_shape, &(cb_scalar){.kind = 'i', .i = 3});
    cb_tensor *soft[2][2], *entropy[2][2], *norm[2][3], *grad[2][3], *channels[2][3];
    for (int k = 0; k < 2; k++) {
        cb_set_num_threads(k + 1);
        for (int dim = 0; dim < 2; dim++) soft[k][dim] = cb_softmax(x, dim, 0, -1);
        CHECK(!cb_cross_entropy(x, labels, -100, entropy[k]) &&
                  !cb_layer_norm(x, 1, w, w, 3, 1e-5, norm[k]) &&
                  !cb_layer_norm_grad(x, x, norm[k][1], norm[k][2], 1, w, 3, grad[k]) &&
                  !cb_channel_norm(x, 0, w, w, 1e-5, channels[k]),
              "%s", cb_error_message());
    }
    same_bits("softmax", soft[0], soft[1], 2);
    same_bits("cross_entropy", entropy[0], entropy[1], 2);
    same_bits("layer_norm", norm[0], norm[1], 3);
    same_bits("layer_norm_grad", grad[0], grad[1], 3);
    same_bits("channel_norm", channels[0], channels[1], 3);
    cb_release(x), cb_release(w), cb_release(labels);
}

static void test_rules(void) {
    int64_t shape[] = {2, 3}, two = 2;
    cb_tensor *x = make(CB_F32, 2, shape), *whole = cb_cast(x, CB_I32),
              *labels = cb_full(CB_I64, CB_CPU, 1, &two, &(cb_scalar){.kind = 'i', .i = 3}), *out[3];
    cb_tensor *meta = cb_empty(CB_F16, CB_META, 2, shape), *meta_labels = cb_empty(CB_I64, CB_META, 1, &two),
              *y;
#define FAILS(call, expected)                                                                        \
    CHECK((call) && cb_error_code() == (expected), "%s: expected error %d, got %d", #call, expected, \
          cb_error_code())
    FAILS(!cb_softmax(NULL, 0, 0, -1), CB_ERR_NULL);
    FAILS(!cb_softmax(whole, 0, 0, -1), CB_ERR_DTYPE);
    FAILS(!cb_softmax(x, 2, 0, -1), CB_ERR_DIM);
    FAILS(!cb_softmax_grad(labels, x, 0, 0), CB_ERR_SHAPE);
    FAILS(cb_cross_entropy(x, labels, -100, out), CB_ERR_INDEX);
    CHECK(strstr(cb_error_message(), "got 3 in row 0"), "cross_entropy: %s", cb_error_message());
    FAILS(cb_cross_entropy(x, x, -100, out), CB_ERR_DTYPE);
    FAILS(cb_cross_entropy(labels, labels, -100, out), CB_ERR_DTYPE);
    FAILS(cb_layer_norm(x, 1, NULL, NULL, 1, 1e-5, out), CB_ERR_NULL);
    FAILS(cb_layer_norm(x, 3, NULL, NULL, 0, 1e-5, out), CB_ERR_DIM);
    FAILS(cb_layer_norm(x, 1, x, NULL, 1, 1e-5, out), CB_ERR_SHAPE);
    FAILS(cb_rms_norm(whole, 1, NULL, 0, 1e-5, out), CB_ERR_DTYPE);
    FAILS(cb_channel_norm(x, 0, NULL, x, 1e-5, out), CB_ERR_NULL);
    FAILS(cb_channel_norm(x, 2, x, x, 1e-5, out), CB_ERR_SHAPE);
    FAILS(cb_channel_norm(x, 0, x, x, 1e-5, out), CB_ERR_SHAPE);
    FAILS(cb_channel_norm(whole, 0, x, x, 1e-5, out), CB_ERR_DTYPE);
    y = cb_softmax(whole, 0, 0, CB_F64);
    CHECK(y && y->dtype == CB_F64, "softmax: dtype");
    cb_release(y);
    y = cb_softmax(meta, 1, 1, -1);
    CHECK(y && y->dtype == CB_F16 && y->ndim == 2 && !y->data, "meta: softmax");
    cb_release(y);
    CHECK(!cb_cross_entropy(meta, meta_labels, -100, out) && out[0]->dtype == CB_F16 &&
              out[1]->dtype == CB_F32,
          "meta: cross_entropy");
    cb_release(out[0]), cb_release(out[1]);
    CHECK(!cb_layer_norm(meta, 1, NULL, NULL, 0, 1e-5, out) && out[1]->ndim == 2 && out[1]->shape[1] == 1,
          "meta: layer_norm");
    for (int i = 0; i < 3; i++) cb_release(out[i]);
    cb_release(x), cb_release(whole), cb_release(labels), cb_release(meta), cb_release(meta_labels);
}

int main(void) {
    if (cb_init(NULL)) return 1;
    int64_t live = cb_memory_allocated(CB_CPU);
    test_softmax();
    test_cross_entropy();
    test_norms();
    test_channels();
    test_threads();
    test_rules();
    CHECK(cb_memory_allocated(CB_CPU) == live, "%lld bytes leaked",
          (long long)(cb_memory_allocated(CB_CPU) - live));
    return finish("test_softmax");
}
