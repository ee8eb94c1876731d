/* Draws as functions of keys: keys against the words of Philox, lanes against draws of their own, the
 * samplers' moments and probabilities, and independence of threads, strides and dtypes. */
#include <math.h>
#include <stdio.h>

#include "check.h"
#include "internal.h"
#include "samplers.h"

enum { UNIFORM, NORMAL, BERNOULLI, EXPONENTIAL, INTEGERS, RADEMACHER, PERMUTATION };

static cb_tensor *keys_of(int ndim, const int64_t *shape) {
    cb_tensor *key = cb_empty(CB_U32, CB_CPU, ndim, shape);
    for (int64_t i = 0; i < key->numel; i++) ((uint32_t *)key->data)[i] = 77u + (uint32_t)i * 0x9E3779B9u;
    return key;
}

static cb_tensor *filled(int dtype, int ndim, const int64_t *shape, double value) {
    cb_tensor *x = cb_empty(CB_F64, CB_CPU, ndim, shape), *y;
    for (int64_t i = 0; i < x->numel; i++) ((double *)x->data)[i] = value;
    y = cb_cast(x, dtype);
    cb_release(x);
    return y;
}

static void test_keys(void) {
    cb_tensor *key = keys_of(3, (int64_t[]){2, 3, 2}), *split = cb_key_split(key, 5);
    CHECK(split && split->ndim == 4 && split->shape[2] == 5 && split->numel == 60, "split");
    cb_tensor *data = cb_empty(CB_I64, CB_CPU, 3, (int64_t[]){4, 1, 1});
    for (int64_t i = 0; i < 4; i++) ((int64_t *)data->data)[i] = i - 2;
    cb_tensor *first = cb_view_new(key, 2, (int64_t[]){3, 2}, (int64_t[]){-2, 1}, 4); /* lanes 2, 1, 0 */
    cb_tensor *fold = cb_key_fold(first, data);
    CHECK(fold && fold->ndim == 3 && fold->shape[0] == 4 && fold->shape[1] == 3, "fold");
    const uint32_t *k = key->data;
    for (int64_t lane = 0; lane < 6; lane++)
        for (int64_t i = 0; i < 5; i++) {
            uint32_t words[4];
            cb_philox((uint64_t)k[2 * lane] << 32 | k[2 * lane + 1], (uint64_t)i, words);
            CHECK(!memcmp(words, (uint32_t *)split->data + 2 * (5 * lane + i), 8), "split %d", (int)lane);
        }
    for (int64_t i = 0; i < 4; i++)
        for (int64_t j = 0; j < 3; j++) {
            uint32_t words[4], high = k[2 * (2 - j)], low = k[2 * (2 - j) + 1];
            cb_philox((uint64_t)high << 32 | low, (uint64_t)(i - 2), words);
            CHECK(!memcmp(words + 2, (uint32_t *)fold->data + 2 * (3 * i + j), 8), "fold %d %d", (int)i,
                  (int)j);
        }
    cb_tensor *none = cb_key_split(key, 0);
    CHECK(none && none->numel == 0, "split into none");
    cb_tensor *all[] = {key, split, data, first, fold, none};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) cb_release(all[i]);
}

/* A lane is the draw from its seed. */
static void test_lanes(void) {
    int64_t shape[2] = {7, 11}, perm[1] = {50};
    cb_tensor *key = keys_of(3, (int64_t[]){2, 3, 2});
    const uint32_t *k = key->data;
    for (int kind = 0; kind <= PERMUTATION; kind++) {
        int dtype = kind >= INTEGERS ? CB_I64 : CB_F32, ndim = kind == PERMUTATION ? 1 : 2;
        const int64_t *own = kind == PERMUTATION ? perm : shape;
        cb_tensor *x = cb_random_keyed(kind, key, dtype, ndim, own, 0.5, 1, -5, 9);
        CHECK(x && x->ndim == 2 + ndim, "kind %d", kind);
        for (int64_t lane = 0; x && lane < 6; lane++) {
            uint64_t seed = (uint64_t)k[2 * lane] << 32 | k[2 * lane + 1];
            cb_tensor *y = kind == INTEGERS      ? cb_random_int(dtype, CB_CPU, 2, shape, seed, 0, -5, 9)
                           : kind == PERMUTATION ? cb_random_perm(dtype, CB_CPU, 50, seed, 0)
                                                 : cb_random(kind, dtype, CB_CPU, 2, shape, seed, 0, 0.5, 1);
            size_t nbytes = (size_t)(y->numel * y->itemsize);
            CHECK(!memcmp(y->data, (char *)x->data + (size_t)lane * nbytes, nbytes), "kind %d lane %d", kind,
                  (int)lane);
            cb_release(y);
        }
        cb_release(x);
    }
    cb_release(key);
}

static cb_tensor *sample(int which, cb_tensor *key, cb_tensor *p, cb_tensor *q) {
    return which == 0   ? cb_random_gamma(key, p)
           : which == 1 ? cb_random_poisson(key, p)
           : which == 2 ? cb_random_binomial(key, p, q)
                        : cb_random_von_mises(key, p);
}

/* Means and variances on both sides of the places where methods change. */
static void test_moments(void) {
    static const double cases[][5] = {
        /* sampler, parameters, mean, variance */
        {0, 0.3, 0, 0.3, 0.3},    {0, 1, 0, 1, 1},          {0, 50, 0, 50, 50},     {1, 0, 0, 0, 0},
        {1, 0.5, 0, 0.5, 0.5},    {1, 9.99, 0, 9.99, 9.99}, {1, 10, 0, 10, 10},     {1, 1e6, 0, 1e6, 1e6},
        {1, 1e15, 0, 1e15, 1e15}, {1, 1e22, 0, 1e22, 1e22}, {2, 12, 0.25, 3, 2.25}, {2, 12, 0.75, 9, 2.25},
        {2, 100, 0.4, 40, 24},    {2, 1e6, 0.9, 9e5, 9e4},  {2, 9, 1, 9, 0},        {2, 9, 0, 0, 0},
        {2, 0, 0.5, 0, 0},        {3, 0, 0, 0, 3.28986813}, {3, 1e10, 0, 0, 1e-10},
    };
    int64_t n = 100000;
    cb_tensor *key = keys_of(1, (int64_t[]){2});
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        cb_tensor *p = filled(CB_F64, 1, &n, cases[c][1]), *q = filled(CB_F64, 1, &n, cases[c][2]);
        cb_tensor *x = sample((int)cases[c][0], key, p, q);
        double sum = 0, square = 0, mean = cases[c][3], variance = cases[c][4];
        for (int64_t i = 0; i < n; i++) {
            double v = ((double *)x->data)[i] - mean;
            sum += v / (double)n;
            square += v * v / (double)n;
        }
        CHECK(fabs(sum) <= 5 * sqrt(variance / (double)n), "case %d: mean %g off by %g", (int)c, mean, sum);
        CHECK(fabs(square - sum * sum - variance) <= 0.05 * variance, "case %d: variance %g", (int)c, square);
        cb_release(x);
        cb_release(q);
        cb_release(p);
    }
    cb_release(key);
}

/* Each count as often as its probability says, by a sum of squares over the common ones. */
static void test_probabilities(void) {
    int64_t n = 200000;
    cb_tensor *key = keys_of(1, (int64_t[]){2});
    static const double rates[] = {3, 12, 30}, trials[] = {20, 60, 400}, chances[] = {0.2, 0.35, 0.9};
    for (int which = 1; which <= 2; which++)
        for (int c = 0; c < 3; c++) {
            double first = which == 1 ? rates[c] : trials[c];
            cb_tensor *p = filled(CB_F64, 1, &n, first), *q = filled(CB_F64, 1, &n, chances[c]);
            cb_tensor *x = sample(which, key, p, q);
            int64_t counts[512] = {0};
            for (int64_t i = 0; i < n; i++) {
                double v = ((double *)x->data)[i];
                CHECK(v >= 0 && v < 512 && v == floor(v), "count %g", v);
                counts[v >= 0 && v < 512 ? (int)v : 0]++;
            }
            double distance = 0, freedom = -1;
            for (int k = 0; k < 512; k++) {
                double chance = which == 1  ? k * log(first) - first - lgamma(k + 1.0)
                                : k > first ? -INFINITY
                                            : lgamma(first + 1) - lgamma(k + 1.0) - lgamma(first - k + 1) +
                                                  k * log(chances[c]) + (first - k) * log1p(-chances[c]);
                double expected = (double)n * exp(chance), got = (double)counts[k];
                if (expected < 10) continue;
                distance += (got - expected) * (got - expected) / expected;
                freedom++;
            }
            CHECK(distance < freedom + 5 * sqrt(2 * freedom), "sampler %d case %d: %g of %g", which, c,
                  distance, freedom);
            cb_release(x);
            cb_release(q);
            cb_release(p);
        }
    cb_release(key);
}

/* Threads, lanes and strides change nothing; narrower dtypes round the same sample. */
static void test_independence(void) {
    int64_t shape[3] = {3, 40, 25};
    cb_tensor *key = keys_of(2, (int64_t[]){3, 2});
    cb_tensor *base = cb_empty(CB_F64, CB_CPU, 3, (int64_t[]){3, 25, 40});
    for (int64_t i = 0; i < base->numel; i++) ((double *)base->data)[i] = 0.25 + (double)(i % 64) / 4;
    cb_tensor *p = cb_view_new(base, 3, shape, (int64_t[]){1000, 1, 40}, 0);
    cb_tensor *half = filled(CB_F64, 0, NULL, 0.5), *narrow = cb_cast(p, CB_F32), *bits = cb_cast(p, CB_BF16);
    for (int which = 0; which < 4; which++) {
        cb_set_num_threads(1);
        cb_tensor *x = sample(which, key, p, half);
        cb_set_num_threads(3);
        cb_tensor *y = sample(which, key, p, half), *f = sample(which, key, narrow, half),
                  *b = sample(which, key, bits, half), *rounded = cb_cast(x, CB_F32);
        CHECK(!memcmp(x->data, y->data, (size_t)x->numel * 8), "sampler %d: threads", which);
        CHECK(f->dtype == CB_F32 && !memcmp(f->data, rounded->data, (size_t)x->numel * 4),
              "sampler %d: float32", which);
        CHECK(b && b->dtype == CB_BF16, "sampler %d: bfloat16", which);
        for (int64_t lane = 0; lane < 3; lane++) {
            cb_tensor *one = cb_view_new(key, 1, (int64_t[]){2}, (int64_t[]){1}, 2 * lane),
                      *row = cb_view_new(p, 2, shape + 1, (int64_t[]){1, 40}, 1000 * lane),
                      *z = sample(which, one, row, half);
            CHECK(!memcmp(z->data, (double *)x->data + 1000 * lane, 8000), "sampler %d lane %d", which,
                  (int)lane);
            cb_release(z);
            cb_release(row);
            cb_release(one);
        }
        cb_tensor *all[] = {x, y, f, b, rounded};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) cb_release(all[i]);
    }
    cb_tensor *all[] = {key, base, p, half, narrow, bits};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) cb_release(all[i]);
}

static double one_sample(int which, int dtype, double a, double b) {
    cb_tensor *key = keys_of(1, (int64_t[]){2}), *p = filled(dtype, 0, NULL, a),
              *q = filled(dtype, 0, NULL, b);
    cb_tensor *x = sample(which, key, p, q), *wide = cb_cast(x, CB_F64);
    double v = *(double *)wide->data;
    cb_tensor *all[] = {key, p, q, x, wide};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) cb_release(all[i]);
    return v;
}

static void test_special_values_and_errors(void) {
    for (int which = 0; which < 4; which++) {
        CHECK(isnan(one_sample(which, CB_F64, NAN, 0.5)), "nan, sampler %d", which);
        CHECK(isnan(one_sample(which, CB_F64, -1, 0.5)), "below 0, sampler %d", which);
    }
    CHECK(isnan(one_sample(2, CB_F64, 5, 1.5)) && isnan(one_sample(2, CB_F64, INFINITY, 0.5)), "binomial");
    CHECK(isinf(one_sample(0, CB_F64, INFINITY, 0)) && isinf(one_sample(1, CB_F64, INFINITY, 0)), "infinite");
    CHECK(one_sample(3, CB_F64, INFINITY, 0) == 0, "von Mises without spread");
    CHECK(one_sample(0, CB_F32, 1e-30, 0) == 0x1p-126 && one_sample(0, CB_F64, 0, 0) == 0x1p-1022,
          "least gamma");
    int64_t n = 3;
    cb_tensor *key = keys_of(2, (int64_t[]){3, 2}), *x = filled(CB_F32, 1, (int64_t[]){4}, 1),
              *k = filled(CB_I32, 1, &n, 1), *meta = cb_as_meta(key);
#define FAILS(code, call) CHECK(!(call) && cb_error_code() == (code), "%s", cb_error_message())
    FAILS(CB_ERR_NULL, cb_key_split(NULL, 2));
    FAILS(CB_ERR_DTYPE, cb_key_split(k, 2));
    FAILS(CB_ERR_SHAPE, cb_key_split(key, -1));
    FAILS(CB_ERR_SHAPE, cb_key_fold(key, k));
    FAILS(CB_ERR_VALUE, cb_random_keyed(NORMAL, key, CB_F32, 1, &n, 0, -1, 0, 1));
    FAILS(CB_ERR_VALUE, cb_random_keyed(INTEGERS, key, CB_I64, 1, &n, 0, 0, 3, 3));
    FAILS(CB_ERR_NULL, cb_random_gamma(key, NULL));
    FAILS(CB_ERR_SHAPE, cb_random_gamma(key, x));
    FAILS(CB_ERR_DTYPE, cb_random_poisson(key, k));
    cb_tensor *a = cb_key_split(meta, 4), *b = cb_random_keyed(NORMAL, meta, CB_F32, 1, &n, 0, 1, 0, 1),
              *row = filled(CB_F32, 2, (int64_t[]){3, 0}, 1), *c = cb_random_gamma(meta, row),
              *d = cb_random_gamma(key, row);
    CHECK(a && cb_is_meta(a) && b && cb_is_meta(b) && c && cb_is_meta(c) && d && !d->numel, "meta and empty");
    cb_tensor *all[] = {key, x, k, meta, a, b, row, c, d};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) cb_release(all[i]);
}

int main(void) {
    if (cb_init(NULL)) return 1;
    test_keys();
    test_lanes();
    test_moments();
    test_probabilities();
    test_independence();
    test_special_values_and_errors();
    return finish("test_random_keyed");
}
