/* Attention and its gradient against naive loops in double: sizes around blocks and vectors, layouts, masks,
 * broadcasting, rows that attend to nothing, equality of bits for any number of threads, errors. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "internal.h"

static unsigned state = 11;
static double number(void) {
    state = state * 1664525u + 1013904223u;
    return (double)(state >> 8) / (1 << 23) - 1;
}

enum { PLAIN, TURNED, HEADS_INSIDE, BROADCAST };

/* [2, 3, rows, columns] in one of the layouts, seen through views */
static cb_tensor *make(int dtype, int64_t rows, int64_t columns, int layout) {
    int64_t shape[4] = {2, 3, rows, columns};
    if (layout == TURNED) shape[2] = columns, shape[3] = rows;
    if (layout == HEADS_INSIDE) shape[1] = rows, shape[2] = 3;
    if (layout == BROADCAST) shape[0] = 1;
    cb_tensor *wide = cb_empty(CB_F64, CB_CPU, 4, shape);
    for (int64_t i = 0; i < wide->numel; i++) ((double *)wide->data)[i] = 2 * number();
    cb_tensor *x = cb_cast(wide, dtype), *view = layout == TURNED         ? cb_transpose(x, -1, -2)
                                                 : layout == HEADS_INSIDE ? cb_transpose(x, 1, 2)
                                                                          : cb_retain(x);
    cb_release(wide), cb_release(x);
    return view;
}

/* row-major values of the whole batch in double; the caller frees them */
static double *values(cb_tensor *x, bool batched) {
    int64_t shape[4] = {2, 3};
    if (batched) memcpy(shape + 2, x->shape + 2, (size_t)(x->ndim - 2) * sizeof *shape);
    cb_tensor *wide = cb_cast(x, CB_F64), *all = batched ? cb_expand(wide, x->ndim, shape) : cb_retain(wide),
              *flat = cb_contiguous(all);
    double *out = malloc((size_t)(flat->numel + 1) * sizeof *out);
    if (flat->numel) memcpy(out, flat->data, (size_t)flat->numel * sizeof *out);
    cb_release(wide), cb_release(all), cb_release(flat);
    return out;
}

static void compare(const char *what, cb_tensor *got, const double *want, double bound) {
    CHECK(got, "%s: %s", what, cb_error_message());
    if (!got) return;
    double *g = values(got, false), most = 0;
    for (int64_t i = 0; i < got->numel; i++) most = fmax(most, isinf(want[i]) ? 0 : fabs(want[i]));
    for (int64_t i = 0; i < got->numel; i++) {
        bool good = isinf(want[i]) ? g[i] == want[i] : fabs(g[i] - want[i]) <= bound * (1 + most);
        CHECK(good, "%s, dtype %d, %lld of %lld: got %g, expected %g", what, got->dtype, (long long)i,
              (long long)got->numel, g[i], want[i]);
        if (!good) break;
    }
    free(g);
}

static void one(int dtype, double bound, int64_t L, int64_t S, int64_t E, int64_t D, const int layouts[3],
                int bias_kind, int causal) {
    const double scale = 0.4;
    cb_tensor *q = make(dtype, L, E, layouts[0]), *k = make(dtype, S, E, layouts[1]),
              *v = make(dtype, S, D, layouts[2]), *ct = make(dtype, L, D, layouts[0] == TURNED), *bias = NULL;
    if (bias_kind) { /* 1: whole; 2: the same for all queries; every seventh forbidden, and all of row 1 */
        cb_tensor *wide = make(CB_F64, bias_kind == 1 ? L : 1, S, bias_kind == 1 ? PLAIN : BROADCAST);
        for (int64_t i = 0; i < wide->numel; i++)
            if (i % 7 == 3 || (bias_kind == 1 && i / S % L == 1)) ((double *)wide->data)[i] = -INFINITY;
        bias = cb_cast(wide, dtype);
        cb_release(wide);
    }
    double *vq = values(q, true), *vk = values(k, true), *vv = values(v, true), *vg = values(ct, true),
           *vb = NULL;
    if (bias) vb = values(bias, true);
    double *y = calloc((size_t)(6 * L * D + 1), 8), *totals = calloc((size_t)(6 * L + 1), 8),
           *dq = calloc((size_t)(6 * L * E + 1), 8), *dk = calloc((size_t)(6 * S * E + 1), 8),
           *dv = calloc((size_t)(6 * S * D + 1), 8), *p = calloc((size_t)(S + 1), 8);
    for (int64_t b = 0; b < 6; b++)
        for (int64_t i = 0; i < L; i++) {
            double top = -INFINITY, sum = 0, inner = 0;
            for (int64_t j = 0; j < S; j++) {
                p[j] = 0;
                for (int64_t e = 0; e < E; e++)
                    p[j] += scale * vq[(b * L + i) * E + e] * vk[(b * S + j) * E + e];
                if (vb) p[j] += vb[bias_kind == 1 ? (b * L + i) * S + j : b * S + j];
                if (causal && j > i) p[j] = -INFINITY;
                top = fmax(top, p[j]);
            }
            for (int64_t j = 0; j < S; j++) sum += p[j] = top == -INFINITY ? 0 : exp(p[j] - top);
            totals[b * L + i] = sum == 0 ? INFINITY : top + log(sum);
            for (int64_t j = 0; j < S; j++)
                for (int64_t d = 0; d < D; d++) {
                    p[j] = sum == 0 ? 0 : d ? p[j] : p[j] / sum;
                    y[(b * L + i) * D + d] += p[j] * vv[(b * S + j) * D + d];
                }
            for (int64_t d = 0; d < D; d++) inner += vg[(b * L + i) * D + d] * y[(b * L + i) * D + d];
            for (int64_t j = 0; j < S && D; j++) {
                double dp = 0;
                for (int64_t d = 0; d < D; d++) {
                    dp += vg[(b * L + i) * D + d] * vv[(b * S + j) * D + d];
                    dv[(b * S + j) * D + d] += p[j] * vg[(b * L + i) * D + d];
                }
                for (int64_t e = 0; e < E; e++) {
                    dq[(b * L + i) * E + e] += scale * p[j] * (dp - inner) * vk[(b * S + j) * E + e];
                    dk[(b * S + j) * E + e] += scale * p[j] * (dp - inner) * vq[(b * L + i) * E + e];
                }
            }
        }
    cb_tensor *out[2][2], *grads[2][3];
    for (int run = 0; run < 2; run++) {
        cb_set_num_threads(run ? 3 : 1);
        CHECK(!cb_attention(q, k, v, bias, bias != NULL, causal, scale, out[run]), "%s", cb_error_message());
        CHECK(!cb_attention_grad(ct, out[run][0], out[run][1], q, k, v, bias, bias != NULL, causal, scale,
                                 grads[run]),
              "%s", cb_error_message());
    }
    if (out[0][1] && grads[0][2]) {
        compare("result", out[0][0], y, bound);
        compare("totals", out[0][1], totals, bound);
        compare("dq", grads[0][0], dq, 4 * bound);
        compare("dk", grads[0][1], dk, 4 * bound);
        compare("dv", grads[0][2], dv, 4 * bound);
    }
    for (int i = 0; i < 5; i++) {
        cb_tensor *a = i < 2 ? out[0][i] : grads[0][i - 2], *b = i < 2 ? out[1][i] : grads[1][i - 2];
        if (a && b && a->numel)
            CHECK(!memcmp(a->data, b->data, (size_t)(a->numel * cb_dtypes[a->dtype].size)),
                  "result %d depends on the number of threads", i);
        cb_release(a), cb_release(b);
    }
    cb_release(q), cb_release(k), cb_release(v), cb_release(ct), cb_release(bias);
    free(vq), free(vk), free(vv), free(vg), free(vb);
    free(y), free(totals), free(dq), free(dk), free(dv), free(p);
}

static void test_values(void) {
    static const int64_t sizes[][4] = {{1, 1, 1, 1},     {5, 7, 3, 2},     {48, 64, 16, 16}, {49, 65, 17, 15},
                                       {100, 30, 8, 40}, {20, 130, 33, 7}, {3, 4, 0, 2},     {2, 3, 2, 0}};
    static const int layouts[][3] = {{PLAIN, PLAIN, PLAIN},
                                     {TURNED, TURNED, TURNED},
                                     {HEADS_INSIDE, HEADS_INSIDE, HEADS_INSIDE},
                                     {PLAIN, BROADCAST, BROADCAST}};
    for (int s = 0; s < 8; s++)
        for (int l = 0; l < 4; l++)
            for (int kind = 0; kind < 6; kind++) {
                int dtype = (s + l + kind) % 2 ? CB_F32 : CB_F64;
                one(dtype, dtype == CB_F32 ? 4e-6 : 1e-14, sizes[s][0], sizes[s][1], sizes[s][2], sizes[s][3],
                    layouts[l], kind / 2, kind % 2);
            }
    one(CB_BF16, 2e-2, 20, 30, 8, 8, layouts[0], 0, 1);
    one(CB_F16, 3e-3, 20, 30, 8, 8, layouts[2], 2, 0);
    one(CB_F32, 4e-6, 60, 1100, 4, 4, layouts[0], 0, 0); /* keys in chunks */
    one(CB_F32, 4e-6, 700, 600, 4, 4, layouts[0], 0, 1);
}

static void test_errors(void) {
    cb_tensor *x = make(CB_F32, 4, 5, PLAIN), *y = make(CB_F32, 4, 6, PLAIN), *d = make(CB_F64, 4, 5, PLAIN),
              *out[2], *grads[3];
    CHECK(cb_attention(NULL, x, x, x, 0, 0, 1, out) == CB_ERR_NULL, "no tensor");
    CHECK(cb_attention(x, y, x, x, 0, 0, 1, out) == CB_ERR_SHAPE && !out[0], "widths");
    CHECK(cb_attention(x, d, x, x, 0, 0, 1, out) == CB_ERR_DTYPE && !out[0], "dtypes");
    CHECK(cb_attention(x, x, x, y, 1, 0, 1, out) == CB_ERR_SHAPE && !out[0], "bias");
    CHECK(cb_attention_grad(x, x, x, x, x, x, x, 0, 0, 1, grads) == CB_ERR_SHAPE && !grads[0], "totals");
    cb_tensor *m = cb_as_meta(x);
    CHECK(!cb_attention(m, m, m, m, 0, 1, 1, out) && out[1]->ndim == 3, "meta: %s", cb_error_message());
    CHECK(!cb_attention_grad(out[0], out[0], out[1], m, m, m, m, 0, 1, 1, grads) && grads[2]->ndim == 4,
          "meta: %s", cb_error_message());
    cb_release(out[0]), cb_release(out[1]);
    for (int i = 0; i < 3; i++) cb_release(grads[i]);
    cb_release(x), cb_release(y), cb_release(d), cb_release(m);
}

int main(void) {
    cb_init(NULL);
    test_values();
    test_errors();
    return finish("test_attention");
}
