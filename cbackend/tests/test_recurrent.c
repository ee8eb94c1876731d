/* An LSTM layer and its gradient: values against naive loops in double, the gradient against difference
 * quotients, both directions, equality of bits for any number of threads, the meta device, errors. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "internal.h"

#define S(...) \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / 8), (int64_t[]) { __VA_ARGS__ }

static unsigned state = 5;
static cb_tensor *make(int dtype, int ndim, const int64_t *shape) {
    cb_tensor *wide = cb_empty(CB_F64, CB_CPU, ndim, shape);
    for (int64_t i = 0; i < wide->numel; i++) {
        state = state * 1664525u + 1013904223u;
        ((double *)wide->data)[i] = (double)(state >> 8) / (1 << 23) - 1;
    }
    cb_tensor *x = cb_cast(wide, dtype);
    cb_release(wide);
    return x;
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

/* h, c and the gates in double; T, N and H are the sizes */
static void reference(int64_t T, int64_t N, int64_t H, const double *pre, const double *h0, const double *c0,
                      const double *w, bool backwards, double *hs, double *cs, double *acts) {
    for (int64_t i = 0; i < T; i++) {
        int64_t t = backwards ? T - 1 - i : i, from = backwards ? t + 1 : t - 1;
        const double *h = i ? hs + from * N * H : h0, *c = i ? cs + from * N * H : c0;
        for (int64_t n = 0; n < N; n++) {
            double *a = acts + (t * N + n) * 4 * H;
            for (int64_t j = 0; j < 4 * H; j++) {
                double sum = pre[(t * N + n) * 4 * H + j];
                for (int64_t k = 0; k < H; k++) sum += h[n * H + k] * w[j * H + k];
                a[j] = j / H == 2 ? tanh(sum) : sigmoid(sum);
            }
            for (int64_t j = 0; j < H; j++) {
                double now = a[H + j] * c[n * H + j] + a[j] * a[2 * H + j];
                cs[(t * N + n) * H + j] = now;
                hs[(t * N + n) * H + j] = a[3 * H + j] * tanh(now);
            }
        }
    }
}

static void close_to(const char *what, cb_tensor *x, const double *want, double bound) {
    cb_tensor *wide = cb_cast(x, CB_F64);
    for (int64_t i = 0; i < x->numel; i++) {
        double got = ((double *)wide->data)[i];
        CHECK(fabs(got - want[i]) <= bound, "%s, dtype %d, %lld: got %g, expected %g", what, x->dtype,
              (long long)i, got, want[i]);
    }
    cb_release(wide);
}

static void one(int dtype, double bound, int64_t T, int64_t N, int64_t H, bool backwards, bool through) {
    cb_tensor *in[4] = {make(dtype, S(T, N, 4 * H)), make(dtype, S(N, H)), make(dtype, S(N, H)),
                        make(dtype, S(4 * H, H))};
    cb_tensor *ct[3] = {make(dtype, S(T, N, H)), make(dtype, S(T, N, H)), make(dtype, S(T, N, 4 * H))};
    cb_tensor *wide[4], *wide_ct[3], *out[2][3], *grads[2][3];
    int64_t sizes[3] = {T *N * H, T *N * H, 4 * T *N * H};
    double *want[3], *v[4], *g[3];
    for (int i = 0; i < 3; i++) {
        want[i] = calloc((size_t)sizes[i] + 1, 8);
        wide_ct[i] = cb_cast(ct[i], CB_F64), g[i] = wide_ct[i]->data;
    }
    for (int i = 0; i < 4; i++) wide[i] = cb_cast(in[i], CB_F64), v[i] = wide[i]->data;
    for (int run = 0; run < 2; run++) {
        cb_set_num_threads(run ? 3 : 1);
        CHECK(!cb_lstm_layer(in[0], in[1], in[2], in[3], backwards, out[run]), "%s", cb_error_message());
        CHECK(!cb_lstm_layer_grad(ct[0], ct[1], ct[2], out[run][1], out[run][2], in[2], in[3], backwards,
                                  through, grads[run]),
              "%s", cb_error_message());
    }
    reference(T, N, H, v[0], v[1], v[2], v[3], backwards, want[0], want[1], want[2]);
    for (int i = 0; i < 3; i++) {
        close_to("result", out[0][i], want[i], bound);
        size_t size = (size_t)cb_dtypes[dtype].size;
        if (!out[0][i]->numel || !grads[0][i]->numel) continue;
        CHECK(!memcmp(out[0][i]->data, out[1][i]->data, (size_t)out[0][i]->numel * size) &&
                  !memcmp(grads[0][i]->data, grads[1][i]->data, (size_t)grads[0][i]->numel * size),
              "result %d depends on the number of threads", i);
    }
    if (dtype == CB_F64) /* <ct, results> as a function of one number of pre, h0 or c0 at a time */
        for (int i = 0; i < 3; i++)
            for (int64_t at = 0; at < wide[i]->numel; at += 3) {
                double value = v[i][at], sums[2] = {0, 0}, h = 1e-5;
                for (int side = 0; side < 2; side++) {
                    v[i][at] = value + (side ? h : -h);
                    reference(T, N, H, v[0], v[1], v[2], v[3], backwards, want[0], want[1], want[2]);
                    for (int o = 0; o < (through ? 3 : 2); o++)
                        for (int64_t e = 0; e < sizes[o]; e++) sums[side] += g[o][e] * want[o][e];
                }
                v[i][at] = value;
                double got = ((double *)grads[0][i]->data)[at], slope = (sums[1] - sums[0]) / (2 * h);
                CHECK(fabs(got - slope) < 1e-7, "gradient %d at %lld: got %g, expected %g", i, (long long)at,
                      got, slope);
            }
    for (int i = 0; i < 3; i++) {
        for (int run = 0; run < 2; run++) cb_release(out[run][i]), cb_release(grads[run][i]);
        cb_release(ct[i]), cb_release(wide_ct[i]);
        free(want[i]);
    }
    for (int i = 0; i < 4; i++) cb_release(in[i]), cb_release(wide[i]);
}

static void errors(void) {
    cb_tensor *pre = make(CB_F32, S(2, 3, 8)), *h = make(CB_F32, S(3, 2)), *w = make(CB_F32, S(8, 2)),
              *bad = make(CB_F32, S(8, 3)), *wide = make(CB_F64, S(3, 2)), *out[3];
    CHECK(cb_lstm_layer(NULL, h, h, w, 0, out) == CB_ERR_NULL, "no tensor");
    CHECK(cb_lstm_layer(pre, h, h, bad, 0, out) == CB_ERR_SHAPE && !out[0], "weights");
    CHECK(cb_lstm_layer(pre, h, wide, w, 0, out) == CB_ERR_DTYPE && !out[0], "dtypes");
    cb_tensor *m[] = {cb_as_meta(pre), cb_as_meta(h), cb_as_meta(w)};
    CHECK(!cb_lstm_layer(m[0], m[1], m[1], m[2], 0, out) && cb_is_meta(out[2]) && out[2]->shape[2] == 8,
          "meta");
    for (int i = 0; i < 3; i++) cb_release(out[i]), cb_release(m[i]);
    cb_tensor *all[] = {pre, h, w, bad, wide};
    for (int i = 0; i < 5; i++) cb_release(all[i]);
}

int main(void) {
    cb_init(NULL);
    for (int mode = 0; mode < 4; mode++) {
        one(CB_F64, 1e-13, 3, 2, 2, mode & 1, mode & 2);
        one(CB_F64, 1e-13, 1, 3, 1, mode & 1, mode & 2);
        one(CB_F32, 1e-5, 4, 5, 33, mode & 1, mode & 2);
        one(CB_F32, 1e-5, 2, 70, 64, mode & 1, mode & 2);
    }
    one(CB_BF16, 2e-2, 3, 4, 8, false, false);
    one(CB_F32, 1e-5, 2, 0, 3, false, true);
    errors();
    return finish("test_recurrent");
}
