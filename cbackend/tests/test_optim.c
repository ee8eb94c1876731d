/* Optimizer steps against the formulas written out in double: all floating and complex dtypes, layouts,
 * options, lists of small, large and empty tensors, special values, equality of bits for any number of
 * threads, errors that change nothing, the meta device. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cbackend.h"
#include "check.h"

enum { PARAM, GRAD, FIRST, SECOND, THIRD, LISTS, COUNT = 9 };

static unsigned state = 3;
static double number(void) {
    state = state * 1664525u + 1013904223u;
    return (double)(state >> 8) / (1 << 23) - 1;
}

typedef struct {
    bool adam, nesterov, first, maximize, decoupled, amsgrad;
    double factor, dampening, decay, beta1;
    int step;
} rule;

static const double LR = 0.05, BETA2 = 0.99, EPS = 1e-6;

/* the row-major values, pairs for complex numbers; the caller frees them */
static double *values(cb_tensor *x, int64_t *n) {
    cb_tensor *real = x->dtype >= CB_C64 ? cb_view_as_real(x) : cb_retain(x);
    cb_tensor *wide = cb_cast(real, CB_F64), *flat = cb_contiguous(wide);
    double *out = malloc((size_t)(flat->numel + 1) * sizeof *out);
    if (flat->numel) memcpy(out, flat->data, (size_t)flat->numel * sizeof *out);
    *n = flat->numel;
    cb_release(real), cb_release(wide), cb_release(flat);
    return out;
}

static void reference(const rule *r, const double corrections[2], double *p, double g, double *a, double *b,
                      double *c) {
    double d = r->maximize ? -g : g;
    if (r->adam && r->decoupled)
        *p *= 1 - LR * r->decay;
    else
        d += r->decay * *p;
    if (!r->adam) {
        if (r->factor != 0) {
            *a = r->first ? d : r->factor * *a + (1 - r->dampening) * d;
            d = r->nesterov ? d + r->factor * *a : *a;
        }
        *p -= LR * d;
        return;
    }
    *a = r->beta1 * *a + (1 - r->beta1) * d;
    *b = BETA2 * *b + (1 - BETA2) * d * d;
    double square = *b;
    if (r->amsgrad) square = *c = isnan(*c) || isnan(square) ? NAN : fmax(*c, square);
    *p -= LR / corrections[0] * *a / (sqrt(square) / sqrt(corrections[1]) + EPS);
}

static int call(const rule *r, int n, cb_tensor **lists[LISTS], int64_t clock) {
    if (r->adam)
        return cb_adam_step(n, lists[PARAM], lists[GRAD], lists[FIRST], lists[SECOND],
                            r->amsgrad ? lists[THIRD] : NULL, LR, r->beta1, BETA2, EPS, r->decay,
                            r->decoupled, r->amsgrad, r->maximize, r->step, clock);
    return cb_sgd_step(n, lists[PARAM], lists[GRAD], r->factor != 0 ? lists[FIRST] : NULL, LR, r->factor,
                       r->dampening, r->decay, r->nesterov, r->maximize, r->first, clock);
}

/* a tensor of the i-th shape; layouts other than 0 are views with gaps, transposed or reversed */
static cb_tensor *make(int dtype, int i, int layout, bool positive) {
    static const int64_t shapes[COUNT][3] = {{3, 5, 7},     {1, 1, 1},    {0, 4, 2},
                                             {12, 60, 100}, {2, 3, 1000}, {1, 64, 64},
                                             {7, 30, 33},   {1, 1, 129},  {5, 1, 2}};
    int64_t shape[3] = {shapes[i][0], shapes[i][1], shapes[i][2]};
    int64_t held[3] = {shape[0], shape[layout == 1 ? 2 : 1],
                       shape[layout == 1 ? 1 : 2] * (layout == 2 ? 2 : 1)};
    int64_t n = held[0] * held[1] * held[2];
    cb_tensor *x = cb_empty(dtype >= CB_C64 ? CB_C128 : CB_F64, CB_CPU, 3, held);
    double *data = x->data;
    for (int64_t j = 0; j < n * (dtype >= CB_C64 ? 2 : 1); j++)
        data[j] = positive ? fabs(number()) : number();
    cb_tensor *y = cb_cast(x, dtype), *view = NULL;
    cb_release(x);
    if (layout == 1) view = cb_transpose(y, 1, 2);
    if (layout == 2) view = cb_index_basic(y, 2, (int64_t[]){3, 0, 0, 0, 1, INT64_MIN, INT64_MIN, 2});
    if (!view) return y;
    cb_release(y);
    return view;
}

static void compare(const rule *r, int dtype, int mixed) {
    cb_tensor *tensors[LISTS][COUNT], **lists[LISTS];
    double *before[LISTS][COUNT];
    int64_t n;
    for (int k = 0; k < LISTS; k++) {
        lists[k] = tensors[k];
        for (int i = 0; i < COUNT; i++) {
            tensors[k][i] = make(dtype, i, mixed ? (i + k * mixed) % 3 : 0, k >= SECOND);
            before[k][i] = values(tensors[k][i], &n);
        }
    }
    CHECK(!call(r, COUNT, lists, 77), "%s", cb_error_message());
    const double corrections[2] = {1 - pow(r->beta1, r->step), 1 - pow(BETA2, r->step)};
    double tolerance = dtype == CB_F16                      ? 2e-3
                       : dtype == CB_BF16                   ? 2e-2
                       : dtype == CB_F32 || dtype == CB_C64 ? 2e-6
                                                            : 1e-12;
    for (int i = 0; i < COUNT; i++) {
        double *after[LISTS];
        for (int k = 0; k < LISTS; k++) after[k] = values(tensors[k][i], &n);
        bool good = true;
        for (int64_t j = 0; j < n && good; j++) {
            double want[LISTS];
            for (int k = 0; k < LISTS; k++) want[k] = before[k][i][j];
            reference(r, corrections, &want[PARAM], want[GRAD], &want[FIRST], &want[SECOND], &want[THIRD]);
            for (int k = 0; k < LISTS && good; k++) {
                good = fabs(after[k][j] - want[k]) <= tolerance * (1 + fabs(want[k]));
                CHECK(good,
                      "%s, dtype %d, layouts %d, tensor %d, list %d, item %lld: got %.9g, expected %.9g",
                      r->adam ? "adam" : "sgd", dtype, mixed, i, k, (long long)j, after[k][j], want[k]);
            }
        }
        for (int k = 0; k < LISTS; k++) free(after[k]);
    }
    CHECK(cb_last_write(tensors[PARAM][0]) == 77 && cb_last_write(tensors[GRAD][0]) != 77,
          "writes are not marked");
    for (int k = 0; k < LISTS; k++)
        for (int i = 0; i < COUNT; i++) free(before[k][i]), cb_release(tensors[k][i]);
}

static void formulas(void) {
    static const rule rules[] = {
        {.factor = 0},
        {.decay = 0.1, .maximize = true},
        {.factor = 0.9, .first = true, .dampening = 0.5},
        {.factor = 0.9, .dampening = 0.5, .decay = 0.1},
        {.factor = 0.9, .nesterov = true, .first = true},
        {.factor = 0.9, .nesterov = true, .maximize = true},
        {.adam = true, .beta1 = 0.9, .step = 1},
        {.adam = true, .beta1 = 0.9, .step = 7, .decay = 0.1},
        {.adam = true, .beta1 = 0.2, .step = 7, .decay = 0.1, .decoupled = true, .maximize = true},
        {.adam = true, .beta1 = 0, .step = 2, .amsgrad = true},
        {.adam = true, .beta1 = 0.9, .step = 1000, .amsgrad = true, .decay = 0.1},
    };
    static const int dtypes[] = {CB_F32, CB_F64, CB_F16, CB_BF16, CB_C64, CB_C128};
    for (unsigned d = 0; d < sizeof dtypes / sizeof *dtypes; d++)
        for (unsigned i = 0; i < sizeof rules / sizeof *rules; i++)
            for (int mixed = 0; mixed < 3; mixed++) compare(&rules[i], dtypes[d], mixed);
}

static void special_values(void) {
    rule r = {.adam = true, .beta1 = 0.9, .step = 1, .amsgrad = true};
    static const double grads[] = {0, NAN, INFINITY, 1e30, -1e-30};
    cb_tensor *x[LISTS], **lists[LISTS];
    for (int k = 0; k < LISTS; k++) {
        lists[k] = &x[k];
        x[k] = cb_full(CB_F32, CB_CPU, 1, (int64_t[]){5}, &(cb_scalar){.kind = 'i'});
    }
    for (int i = 0; i < 5; i++) ((float *)x[GRAD]->data)[i] = (float)grads[i];
    ((float *)x[PARAM]->data)[0] = INFINITY;
    CHECK(!call(&r, 1, lists, 1), "%s", cb_error_message());
    const float *p = x[PARAM]->data, *largest = x[THIRD]->data;
    CHECK(isinf(p[0]), "inf became %g", (double)p[0]); /* no decay: not 0 * inf */
    CHECK(isnan(p[1]) && isnan(largest[1]), "nan became %g", (double)p[1]);
    CHECK(isnan(p[2]) && isinf(largest[2]), "inf gradient gave %g", (double)p[2]);
    CHECK(p[3] == 0 && isinf(largest[3]), "1e30 gave %g", (double)p[3]);
    for (int k = 0; k < LISTS; k++) cb_release(x[k]);
}

static void threads(void) {
    rule r = {.adam = true, .beta1 = 0.9, .step = 3};
    double *seen[3];
    int64_t n;
    for (int run = 0; run < 3; run++) {
        cb_set_num_threads((int[]){1, 2, 5}[run]);
        cb_tensor *tensors[LISTS][200], **lists[LISTS];
        state = 11;
        for (int k = 0; k < LISTS; k++)
            for (int i = 0; i < 200; i++)
                tensors[k][i] = make(CB_F32, i % COUNT, 0, k >= SECOND), lists[k] = tensors[k];
        CHECK(!call(&r, 200, lists, 1), "%s", cb_error_message());
        seen[run] = values(tensors[PARAM][3], &n);
        for (int k = 0; k < LISTS; k++)
            for (int i = 0; i < 200; i++) cb_release(tensors[k][i]);
    }
    for (int run = 1; run < 3; run++)
        CHECK(!memcmp(seen[0], seen[run], (size_t)n * sizeof(double)),
              "other bits with other numbers of threads");
    for (int run = 0; run < 3; run++) free(seen[run]);
    cb_set_num_threads(2);
}

/* a list of two whose second has `bad` in place k */
static void refuse(const char *what, int code, const rule *r, int k, cb_tensor *bad) {
    cb_tensor *tensors[LISTS][2], **lists[LISTS];
    for (int j = 0; j < LISTS; j++)
        for (int i = 0; i < 2; i++) {
            lists[j] = tensors[j];
            tensors[j][i] = cb_full(CB_F32, CB_CPU, 2, (int64_t[]){2, 3}, &(cb_scalar){.kind = 'i', .i = 1});
        }
    cb_tensor *good = tensors[k][1];
    tensors[k][1] = bad;
    CHECK(call(r, 2, lists, 1) == code, "%s: got code %d", what, cb_error_code());
    const float *p = tensors[PARAM][0]->data;
    CHECK(p[0] == 1 && cb_last_write(tensors[PARAM][0]) != 1, "%s: something was written", what);
    tensors[k][1] = good;
    for (int j = 0; j < LISTS; j++)
        for (int i = 0; i < 2; i++) cb_release(tensors[j][i]);
    cb_release(bad);
}

static void errors(void) {
    rule sgd = {.factor = 0.9}, adam = {.adam = true, .beta1 = 0.9, .step = 1, .amsgrad = true};
    cb_scalar one = {.kind = 'i', .i = 1};
    int64_t shape[] = {2, 3}, row[] = {3};
    for (int k = 0; k < LISTS; k++) {
        const rule *r = k > FIRST ? &adam : &sgd;
        refuse("no tensor", CB_ERR_NULL, r, k, NULL);
        if (k) refuse("shape", CB_ERR_SHAPE, r, k, cb_full(CB_F32, CB_CPU, 1, row, &one));
        refuse("dtype", CB_ERR_DTYPE, r, k, cb_full(CB_I32, CB_CPU, 2, shape, &one));
        if (k) refuse("dtype", CB_ERR_DTYPE, r, k, cb_full(CB_F64, CB_CPU, 2, shape, &one));
        refuse("device", CB_ERR_DEVICE, r, k, cb_empty(CB_F32, CB_META, 2, shape));
        cb_tensor *narrow = cb_full(CB_F32, CB_CPU, 1, row, &one), *wide = cb_expand(narrow, 2, shape);
        cb_release(narrow);
        if (k != GRAD)
            refuse("expanded", CB_ERR_VALUE, r, k, wide);
        else
            cb_release(wide);
    }
    cb_tensor *x = cb_empty(CB_F32, CB_META, 2, shape), *list[] = {x};
    cb_tensor **lists[LISTS] = {list, list, list, list, list};
    CHECK(!call(&adam, 1, lists, 1) && !call(&sgd, 1, lists, 1), "meta: %s", cb_error_message());
    CHECK(!call(&adam, 0, lists, 1), "an empty list: %s", cb_error_message());
    adam.step = 0;
    CHECK(call(&adam, 1, lists, 1) == CB_ERR_VALUE, "step 0 was taken");
    cb_release(x);
}

static cb_tensor *wide_number(double value) {
    cb_scalar v = {.kind = 'f', .re = value};
    return cb_full(CB_F64, CB_CPU, 0, NULL, &v);
}

/* cb_adam_sets gives the bits that cb_adam_step writes, and changes operands only where it may. */
static void sets(bool amsgrad, bool over) {
    enum { SETS = 4, MOST = 8 * SETS };
    rule r = {.adam = true, .beta1 = 0.9, .decay = 0.1, .amsgrad = amsgrad, .step = 3};
    int lists_used = amsgrad ? LISTS : THIRD, each = lists_used + 3, results = lists_used - 1;
    double options[5] = {1, 0.1, 0.9, BETA2, EPS};
    int64_t code[5], into[SETS] = {0};
    memcpy(code, options, sizeof code);
    cb_tensor *kept[LISTS][SETS], **lists[LISTS], *xs[MOST], *out[MOST];
    /* sets of two groups, whose steps differ */
    cb_tensor *numbers[2][3];
    for (int g = 0; g < 2; g++) {
        int step = g ? 9 : r.step;
        numbers[g][0] = wide_number(-LR / (1 - pow(0.9, step)));
        numbers[g][1] = wide_number(1);
        numbers[g][2] = wide_number(1 / sqrt(1 - pow(BETA2, step)));
    }
    for (int i = 0; i < SETS; i++)
        for (int k = 0; k < LISTS; k++) {
            lists[k] = kept[k];
            kept[k][i] = make(CB_F32, i, 0, k >= SECOND);
            if (k < lists_used) xs[i * each + k] = cb_clone(kept[k][i]);
        }
    for (int i = 0; i < SETS; i++)
        for (int k = 0; k < 3; k++) xs[i * each + lists_used + k] = numbers[i / 2][k];
    for (int i = 0; i < SETS && over; i++) into[i] = 1 | 2 << 8 | 3 << 12 | (amsgrad ? 4 << 16 : 0);
    int status = cb_adam_sets(SETS * each, xs, 5, code, SETS * results, out, SETS, NULL, into);
    CHECK(!status, "%s", cb_error_message());
    for (int g = 0; g < 2 && !status; g++) {
        cb_tensor **half[LISTS];
        for (int k = 0; k < LISTS; k++) half[k] = lists[k] + 2 * g;
        r.step = g ? 9 : 3;
        CHECK(!call(&r, 2, half, 1), "%s", cb_error_message());
    }
    for (int i = 0; i < SETS && !status; i++)
        for (int k = 0, result = 0; k < lists_used; k++) {
            if (k == GRAD) continue;
            const cb_tensor *made = out[i * results + result++], *want = kept[k][i];
            CHECK(!want->numel || !memcmp(made->data, want->data, (size_t)want->numel * sizeof(float)),
                  "set %d, list %d", i, k);
            CHECK((made->data == xs[i * each + k]->data) == (over || !made->numel), "set %d, list %d: place",
                  i, k);
        }
    for (int i = 0; i < SETS * results; i++) cb_release(out[i]);
    CHECK(cb_adam_sets(SETS * each, xs, 4, code, SETS * results, out, SETS, NULL, NULL) == CB_ERR_VALUE,
          "a short code was taken");
    CHECK(cb_adam_sets(SETS * each, xs, 5, code, SETS, out, SETS, NULL, NULL) == CB_ERR_VALUE,
          "few results were taken");
    cb_tensor *number = xs[lists_used];
    xs[lists_used] = xs[0];
    CHECK(cb_adam_sets(SETS * each, xs, 5, code, SETS * results, out, SETS, NULL, NULL) == CB_ERR_VALUE,
          "a rate of many elements was taken");
    xs[lists_used] = number;
    for (int i = 0; i < SETS; i++)
        for (int k = 0; k < LISTS; k++) {
            cb_release(kept[k][i]);
            if (k < lists_used) cb_release(xs[i * each + k]);
        }
    for (int g = 0; g < 2; g++)
        for (int k = 0; k < 3; k++) cb_release(numbers[g][k]);
}

int main(void) {
    cb_init(NULL);
    cb_set_num_threads(2);
    formulas();
    special_values();
    threads();
    errors();
    for (int way = 0; way < 4; way++) sets(way & 1, way & 2);
    CHECK(cb_memory_allocated(CB_CPU) == 0, "%lld bytes leaked", (long long)cb_memory_allocated(CB_CPU));
    return finish("test_optim");
}
