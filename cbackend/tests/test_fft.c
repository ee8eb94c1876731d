/* Fourier transforms against the plain sum, for lengths on both sides of every change of method (radices,
 * large primes, blocks of lanes, four steps), layouts, both precisions; transposes, threads, errors. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "internal.h"

static uint64_t state = 88172645463325252u;
static double draw(void) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (double)(state >> 11) * 0x1p-52 - 1;
}

/* real numbers, or pairs of them, of any floating dtype */
static double get(const cb_tensor *x, int64_t i) {
    return cb_real_dtype(x->dtype) == CB_F32 ? (double)((float *)x->data)[i] : ((double *)x->data)[i];
}
static cb_tensor *random_tensor(int dtype, int ndim, const int64_t *shape) {
    cb_tensor *x = cb_empty(dtype, CB_CPU, ndim, shape);
    int64_t numbers = x->numel * (cb_is_complex(dtype) ? 2 : 1);
    for (int64_t i = 0; i < numbers; i++) {
        if (cb_real_dtype(dtype) == CB_F32)
            ((float *)x->data)[i] = (float)draw();
        else
            ((double *)x->data)[i] = draw();
    }
    return x;
}

typedef struct layout {
    int64_t outer, n, inner;
} layout;

/* item j of signal (o, i) */
static void item(const cb_tensor *x, layout at, int64_t length, int64_t o, int64_t j, int64_t i, double *re,
                 double *im) {
    int64_t place = (o * length + j) * at.inner + i;
    bool complex = cb_is_complex(x->dtype);
    *re = get(x, complex ? 2 * place : place);
    *im = complex ? get(x, 2 * place + 1) : 0;
}

/* item k of the transform of n points; a half spectrum is completed */
static void naive(const cb_tensor *x, layout at, int64_t length, int64_t o, int64_t i, int64_t k, int sign,
                  double *re, double *im) {
    *re = *im = 0;
    for (int64_t j = 0; j < at.n; j++) {
        double a, b, angle = sign * 2 * M_PI * (double)(j * k % at.n) / (double)at.n;
        bool mirrored = j >= length;
        item(x, at, length, o, mirrored ? at.n - j : j, i, &a, &b);
        if (mirrored) b = -b;
        if (length < at.n && (j == 0 || 2 * j == at.n)) b = 0;
        *re += a * cos(angle) - b * sin(angle);
        *im += a * sin(angle) + b * cos(angle);
    }
}

enum { C2C, BACK, R2C, C2R, WHOLE, WHOLE_BACK };
static const char *const KINDS[] = {"c2c", "back", "r2c", "c2r", "c2c of reals", "back of reals"};

static cb_tensor *transformed(int kind, cb_tensor *x, int64_t n, double scale) {
    return kind == R2C   ? cb_fft_r2c(x, 1, scale, scale)
           : kind == C2R ? cb_fft_c2r(x, 1, n, scale, scale)
                         : cb_fft_c2c(x, 1, kind == C2C || kind == WHOLE, scale);
}

static cb_tensor *input_of(int kind, bool wide, layout at) {
    int dtype = kind == R2C || kind >= WHOLE ? (wide ? CB_F64 : CB_F32) : wide ? CB_C128 : CB_C64;
    int64_t shape[3] = {at.outer, kind == C2R ? at.n / 2 + 1 : at.n, at.inner};
    return random_tensor(dtype, 3, shape);
}

static void check_values(int kind, bool wide, layout at) {
    cb_tensor *x = input_of(kind, wide, at), *y = transformed(kind, x, at.n, 0.5);
    CHECK(y, "%s of %lld points", KINDS[kind], (long long)at.n);
    if (!y) return;
    int64_t step = at.n > 200 ? at.n / 13 : 1, lanes = at.outer * at.inner > 3 ? 5 : 1;
    double error = 0, bound = (wide ? 2e-15 : 1e-6) * sqrt((double)at.n) * (4 + log2((double)at.n));
    for (int64_t lane = 0; lane < at.outer * at.inner; lane += lanes)
        for (int64_t k = 0; k < y->shape[1]; k += step) {
            int64_t o = lane / at.inner, i = lane % at.inner;
            double re, im, a, b;
            naive(x, at, x->shape[1], o, i, k, kind == C2C || kind == R2C || kind == WHOLE ? -1 : 1, &re,
                  &im);
            item(y, at, y->shape[1], o, k, i, &a, &b);
            error = fmax(error, fabs(a - 0.5 * re));
            if (kind != C2R) error = fmax(error, fabs(b - 0.5 * im));
        }
    CHECK(error < bound, "%s %s [%lld, %lld, %lld]: %g", KINDS[kind], wide ? "f64" : "f32",
          (long long)at.outer, (long long)at.n, (long long)at.inner, error);
    cb_release(x);
    cb_release(y);
}

/* <r2c x, y> = <x, c2r y> when the inner factor of the one is half the other's */
static void check_transposes(int64_t n) {
    layout at = {3, n, 2};
    cb_tensor *x = input_of(R2C, true, at), *y = input_of(C2R, true, at);
    cb_tensor *fx = cb_fft_r2c(x, 1, 0.75, 3), *ty = cb_fft_c2r(y, 1, n, 0.75, 1.5);
    double left = 0, right = 0;
    for (int64_t i = 0; i < 2 * y->numel; i++) left += get(fx, i) * get(y, i);
    for (int64_t i = 0; i < x->numel; i++) right += get(x, i) * get(ty, i);
    CHECK(fabs(left - right) < 1e-10 * (double)n, "n = %lld: %g != %g", (long long)n, left, right);
    cb_release(x), cb_release(y), cb_release(fx), cb_release(ty);
}

static void check_layouts(void) {
    layout at = {5, 12, 7};
    cb_tensor *x = input_of(C2C, true, at), *turned = cb_transpose(x, 0, 1), *dense = cb_contiguous(turned);
    cb_tensor *a = cb_fft_c2c(turned, -1, 1, 1), *b = cb_fft_c2c(dense, 2, 1, 1);
    for (int64_t i = 0; i < 2 * a->numel; i++) CHECK(get(a, i) == get(b, i), "item %lld", (long long)i);
    cb_tensor *row = cb_empty(CB_C64, CB_CPU, 2, (int64_t[]){0, 8}), *none = cb_fft_c2c(row, 1, 1, 1);
    CHECK(none && none->numel == 0 && none->shape[1] == 8, "an empty batch");
    cb_tensor *meta = cb_empty(CB_F32, CB_META, 2, (int64_t[]){4, 9}), *shape = cb_fft_r2c(meta, -1, 1, 1);
    CHECK(shape && shape->dtype == CB_C64 && shape->shape[1] == 5 && cb_is_meta(shape), "meta");
    cb_release(x), cb_release(turned), cb_release(dense), cb_release(a), cb_release(b);
    cb_release(row), cb_release(none), cb_release(meta), cb_release(shape);
}

/* the same bits for any number of threads */
static void check_threads(void) {
    static const layout cases[] = {{1, 1 << 16, 1}, {700, 60, 1}, {3, 100, 300}, {1, 20011, 1}, {9, 5000, 2}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (int kind = C2C; kind <= WHOLE_BACK; kind++) {
            cb_tensor *x = input_of(kind, false, cases[c]), *y[3];
            for (int t = 0; t < 3; t++) {
                cb_set_num_threads(t + 1);
                y[t] = transformed(kind, x, cases[c].n, 1);
            }
            size_t bytes = (size_t)(y[0]->numel * y[0]->itemsize);
            CHECK(!memcmp(y[0]->data, y[1]->data, bytes) && !memcmp(y[0]->data, y[2]->data, bytes),
                  "%s, case %zu", KINDS[kind], c);
            cb_release(x);
            for (int t = 0; t < 3; t++) cb_release(y[t]);
        }
}

static void check_error(cb_tensor *got, int code, const char *what) {
    CHECK(!got && cb_error_code() == code, "%s: code %d", what, cb_error_code());
    cb_release(got);
}

static void check_errors(void) {
    cb_tensor *z = cb_empty(CB_C64, CB_CPU, 2, (int64_t[]){3, 4}),
              *x = cb_empty(CB_F32, CB_CPU, 1, (int64_t[]){0});
    cb_tensor *half = cb_empty(CB_F16, CB_CPU, 1, (int64_t[]){4}),
              *point = cb_empty(CB_C128, CB_CPU, 0, NULL);
    check_error(cb_fft_c2c(NULL, 0, 1, 1), CB_ERR_NULL, "no tensor");
    check_error(cb_fft_c2c(z, 2, 1, 1), CB_ERR_DIM, "a dim out of range");
    check_error(cb_fft_c2c(half, 0, 1, 1), CB_ERR_DTYPE, "float16 for c2c");
    check_error(cb_fft_c2c(x, 0, 1, 1), CB_ERR_SHAPE, "no points for c2c");
    check_error(cb_fft_r2c(z, 0, 1, 1), CB_ERR_DTYPE, "complex for r2c");
    check_error(cb_fft_r2c(half, 0, 1, 1), CB_ERR_DTYPE, "float16");
    check_error(cb_fft_r2c(x, 0, 1, 1), CB_ERR_SHAPE, "no points");
    check_error(cb_fft_c2c(point, 0, 1, 1), CB_ERR_SHAPE, "0-d");
    check_error(cb_fft_c2r(z, 1, 0, 1, 1), CB_ERR_SHAPE, "no points wanted");
    check_error(cb_fft_c2r(z, 1, 9, 1, 1), CB_ERR_SHAPE, "too few frequencies");
    cb_release(z), cb_release(x), cb_release(half), cb_release(point);
}

int main(void) {
    if (cb_init(NULL)) return 1;
    static const int64_t longer[] = {72,  96,  97,   121,  128,  130,  243,  256,  257,  320,  509,
                                     625, 720, 1009, 1018, 1024, 1331, 2310, 4096, 4099, 5000, 8192};
    enum { SHORT = 68, LONGER = sizeof longer / sizeof *longer };
    for (int wide = 0; wide < 2; wide++)
        for (int kind = C2C; kind <= WHOLE_BACK; kind++)
            for (int i = 1; i < SHORT + LONGER; i++) {
                int64_t n = i < SHORT ? i : longer[i - SHORT];
                check_values(kind, wide, (layout){1, n, 1});
                if (n > 300 && n % 5) continue;
                check_values(kind, wide, (layout){1, n, 19});
                check_values(kind, wide, (layout){2, n, 3});
                check_values(kind, wide, (layout){37, n, 1});
            }
    for (int64_t n = 1; n < 20; n++) check_transposes(n);
    check_transposes(1009);
    check_layouts();
    check_threads();
    check_errors();
    return finish("test_fft");
}
