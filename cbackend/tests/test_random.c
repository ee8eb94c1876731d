/* Random numbers: Philox against published vectors, draws against the definition in philox.h written scalar
 * by scalar, moments and bounds, and independence of strides and threads. */
#include <math.h>
#include <stdio.h>

#include "check.h"
#include "internal.h"
#include "philox.h"

enum { UNIFORM, NORMAL, BERNOULLI, EXPONENTIAL, INTEGERS, RADEMACHER };
static const uint64_t seed = 0x123456789abcdef0u, offset = ((uint64_t)1 << 32) - 40;

/* Random123's kat_vectors for philox4x32, 10 rounds */
static void test_known_answers(void) {
    static const uint32_t cases[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e,
         0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb,
         0x5001e420, 0x24126ea1},
    };
    for (int k = 0; k < 3; k++) {
        uint32_t words[4];
        memcpy(words, cases[k], sizeof words);
        cb_philox_block(cases[k][4], cases[k][5], words);
        CHECK(!memcmp(words, cases[k] + 6, sizeof words), "vector %d", k);
    }
    uint32_t words[4];
    cb_philox(0, 0, words);
    CHECK(words[0] == 0x6627e8d5, "cb_philox");
}

static uint64_t bits_of(int64_t i, bool wide) {
    int64_t group = wide ? 32 : 64;
    uint64_t block = offset + (uint64_t)(i / group * 16 + i % 16);
    uint32_t words[4] = {(uint32_t)block, (uint32_t)(block >> 32), 0, 1};
    cb_philox_block((uint32_t)seed, (uint32_t)(seed >> 32), words);
    int64_t w = i / 16 % (wide ? 2 : 4);
    return wide ? words[2 * w] | (uint64_t)words[2 * w + 1] << 32 : words[w];
}

static void test_definition(void) {
    int64_t n = 5000;
    cb_tensor *f = cb_random(UNIFORM, CB_F32, CB_CPU, 1, &n, seed, offset, 0, 1),
              *d = cb_random(UNIFORM, CB_F64, CB_CPU, 1, &n, seed, offset, 0, 1);
    cb_tensor *b = cb_random(BERNOULLI, CB_BOOL, CB_CPU, 1, &n, seed, offset, 0.3, 0),
              *r = cb_random(RADEMACHER, CB_I64, CB_CPU, 1, &n, seed, offset, 0, 0);
    cb_tensor *k = cb_random_int(CB_I64, CB_CPU, 1, &n, seed, offset, -3, 1000),
              *g = cb_random_int(CB_I64, CB_CPU, 1, &n, seed, offset, INT64_MIN, INT64_MAX);
    cb_tensor *z = cb_random(NORMAL, CB_F64, CB_CPU, 1, &n, seed, offset, 0, 1),
              *e = cb_random(EXPONENTIAL, CB_F64, CB_CPU, 1, &n, seed, offset, 2, 0);
    for (int64_t i = 0; i < n; i++) {
        uint64_t narrow = bits_of(i, false), wide = bits_of(i, true);
        CHECK(((float *)f->data)[i] == (float)(narrow >> 8) * 0x1p-24f, "uniform float32 %lld", (long long)i);
        CHECK(((double *)d->data)[i] == (double)(wide >> 11) * 0x1p-53, "uniform float64 %lld", (long long)i);
        CHECK(((bool *)b->data)[i] == ((double)narrow < rint(0.3 * 0x1p32)), "bernoulli %lld", (long long)i);
        CHECK(((int64_t *)r->data)[i] == (narrow >> 31 ? -1 : 1), "rademacher %lld", (long long)i);
        CHECK(((int64_t *)k->data)[i] == (int64_t)(((unsigned __int128)wide * 1003) >> 64) - 3,
              "randint %lld", (long long)i);
        CHECK(((int64_t *)g->data)[i] ==
                  (int64_t)((uint64_t)(((unsigned __int128)wide * UINT64_MAX) >> 64) + (uint64_t)INT64_MIN),
              "randint, all %lld", (long long)i);
        int64_t first = i / 32 * 32 + i % 16;
        double u = (double)(bits_of(first, true) >> 11) * 0x1p-53 + 0x1p-54,
               turn = (double)bits_of(first + 16, true) * 0x1p-64;
        double radius = sqrt(-2 * log(u)),
               want = radius * (i % 32 < 16 ? cos(6.283185307179586476925 * turn)
                                            : sin(6.283185307179586476925 * turn));
        CHECK(fabs(((double *)z->data)[i] - want) < 1e-13, "normal %lld", (long long)i);
        CHECK(fabs(((double *)e->data)[i] + log((double)(wide >> 11) * 0x1p-53 + 0x1p-54) / 2) < 1e-13,
              "exponential %lld", (long long)i);
    }
    cb_tensor *all[] = {f, d, b, r, k, g, z, e};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) cb_release(all[i]);
}

static void test_distributions(void) {
    static const int dtypes[] = {CB_F16, CB_BF16, CB_F32, CB_F64};
    int64_t n = 200000;
    for (int t = 0; t < 4; t++)
        for (int kind = 0; kind < 4; kind++) {
            cb_tensor *x = cb_random(kind, dtypes[t], CB_CPU, 1, &n, 7, 0, kind == BERNOULLI ? 0.25 : 1, 3),
                      *y = cb_cast(x, CB_F64);
            double mean = 0, square = 0, low = INFINITY, high = -INFINITY;
            const double *v = y->data;
            for (int64_t i = 0; i < n; i++) {
                mean += v[i] / (double)n;
                square += v[i] * v[i] / (double)n;
                low = fmin(low, v[i]);
                high = fmax(high, v[i]);
            }
            static const double means[] = {2, 1, 0.25, 1}, variances[] = {1.0 / 3, 9, 0.1875, 1};
            double spread = sqrt(variances[kind] / (double)n), rounding = t < 2 ? 0.01 : 0;
            CHECK(fabs(mean - means[kind]) < 5 * spread + rounding, "mean of kind %d dtype %d: %g", kind,
                  dtypes[t], mean);
            CHECK(fabs(square - mean * mean - variances[kind]) < 0.03 * variances[kind] + rounding,
                  "variance of kind %d dtype %d: %g", kind, dtypes[t], square - mean * mean);
            CHECK(kind != UNIFORM || (low >= 1 && high < 3), "uniform in [%g, %g], dtype %d", low, high,
                  dtypes[t]);
            CHECK(kind != EXPONENTIAL || low > 0, "exponential above 0, dtype %d", dtypes[t]);
            cb_release(y);
            cb_release(x);
        }
    /* an interval of a few representable values: the upper bound stays out */
    for (int t = 0; t < 4; t++) {
        cb_tensor *x = cb_random(UNIFORM, dtypes[t], CB_CPU, 1, &n, 7, 0, 1, 1.02), *y = cb_cast(x, CB_F64);
        for (int64_t i = 0; i < n; i++) {
            double v = ((double *)y->data)[i];
            if (!(v >= 1 && v < 1.02)) {
                CHECK(false, "uniform [1, 1.02) gave %g, dtype %d", v, dtypes[t]);
                break;
            }
        }
        cb_release(y);
        cb_release(x);
    }
    cb_tensor *ones = cb_random(BERNOULLI, CB_U8, CB_CPU, 1, &n, 7, 0, 1, 0),
              *zeros = cb_random(BERNOULLI, CB_F32, CB_CPU, 1, &n, 7, 0, 0, 0);
    for (int64_t i = 0; i < n; i++)
        if (((uint8_t *)ones->data)[i] != 1 || ((float *)zeros->data)[i] != 0) {
            CHECK(false, "bernoulli with probability 1 and 0");
            break;
        }
    cb_release(ones);
    cb_release(zeros);
}

/* any dtype, strides and threads: the same numbers in logical order; and draws that continue each other */
static void test_independence(void) {
    int64_t shape[3] = {5, 60, 300}, n = 5 * 60 * 300;
    for (int kind = 0; kind <= RADEMACHER; kind++) {
        if (kind == INTEGERS) continue;
        for (int dtype = 0; dtype < CB_DTYPE_COUNT; dtype++) {
            double a = kind == NORMAL ? 0 : 0.5;
            cb_set_num_threads(1);
            cb_tensor *x = cb_random(kind, dtype, CB_CPU, 3, shape, seed, offset, a, 1);
            bool discrete = kind == BERNOULLI || kind == RADEMACHER,
                 unsigned_kind = dtype == CB_BOOL || cb_dtypes[dtype].kind == 'U';
            bool allowed = discrete ? kind == BERNOULLI || !unsigned_kind
                                    : cb_is_inexact(dtype) && !(kind == EXPONENTIAL && cb_is_complex(dtype));
            CHECK(!x == !allowed, "kind %d dtype %d allowed", kind, dtype);
            if (!x) continue;
            cb_set_num_threads(3);
            cb_tensor *base = cb_empty(dtype, CB_CPU, 3, (int64_t[]){600, 60, 5});
            cb_tensor *y = cb_view_new(base, 3, shape, (int64_t[]){1, 5, -600}, 299 * 600);
            CHECK(!cb_random_into(kind, y, seed, offset, a, 1, 9) && cb_last_write(y) == 9, "random_into");
            cb_tensor *dense = cb_contiguous(y);
            CHECK(!memcmp(dense->data, x->data, (size_t)(n * x->itemsize)), "kind %d dtype %d strided", kind,
                  dtype);
            uint64_t step = cb_random_counters(kind, dtype, 6400);
            cb_tensor *z = cb_random(kind, dtype, CB_CPU, 1, (int64_t[]){7}, seed, offset + step, a, 1);
            CHECK(!memcmp(z->data, (char *)x->data + 6400 * x->itemsize, (size_t)(7 * x->itemsize)),
                  "kind %d dtype %d continued", kind, dtype);
            cb_release(z);
            cb_release(dense);
            cb_release(y);
            cb_release(base);
            cb_release(x);
        }
    }
}

static void test_permutations_and_errors(void) {
    for (int64_t n = 0; n < 3000; n = 2 * n + 1)
        for (int dtype = CB_I32; dtype <= CB_I64; dtype += CB_I64 - CB_I32) {
            cb_tensor *p = cb_random_perm(dtype, CB_CPU, n, seed, offset), *wide = cb_cast(p, CB_I64);
            bool seen[3000] = {false}, fine = true;
            for (int64_t i = 0; i < n; i++) {
                int64_t v = ((int64_t *)wide->data)[i];
                fine &= v >= 0 && v < n && !seen[v];
                if (fine) seen[v] = true;
            }
            CHECK(fine, "permutation of %lld", (long long)n);
            cb_release(wide);
            cb_release(p);
        }
    int64_t n = 3, huge = (int64_t)1 << 62;
#define FAILS(code, call) CHECK(!(call) && cb_error_code() == (code), "%s", cb_error_message())
    FAILS(CB_ERR_DTYPE, cb_random(UNIFORM, CB_I32, CB_CPU, 1, &n, 1, 0, 0, 1));
    FAILS(CB_ERR_VALUE, cb_random(UNIFORM, CB_F32, CB_CPU, 1, &n, 1, 0, 1, 0));
    FAILS(CB_ERR_VALUE, cb_random(UNIFORM, CB_F32, CB_CPU, 1, &n, 1, 0, NAN, 1));
    FAILS(CB_ERR_VALUE, cb_random(NORMAL, CB_F32, CB_CPU, 1, &n, 1, 0, 0, -1));
    FAILS(CB_ERR_VALUE, cb_random(BERNOULLI, CB_F32, CB_CPU, 1, &n, 1, 0, 1.5, 0));
    FAILS(CB_ERR_VALUE, cb_random(EXPONENTIAL, CB_F32, CB_CPU, 1, &n, 1, 0, 0, 0));
    FAILS(CB_ERR_VALUE, cb_random(INTEGERS, CB_I64, CB_CPU, 1, &n, 1, 0, 0, 1));
    FAILS(CB_ERR_VALUE, cb_random_int(CB_U8, CB_CPU, 1, &n, 1, 0, 0, 257));
    FAILS(CB_ERR_VALUE, cb_random_int(CB_I64, CB_CPU, 1, &n, 1, 0, 5, 5));
    FAILS(CB_ERR_MEMORY, cb_random(UNIFORM, CB_F32, CB_CPU, 1, &huge, 1, 0, 0, 1));
    CHECK(cb_random_into(UNIFORM, NULL, 1, 0, 0, 1, 0) == CB_ERR_NULL, "null");
    cb_tensor *meta = cb_random(NORMAL, CB_F32, CB_META, 1, &n, 1, 0, 0, 1);
    CHECK(meta && cb_is_meta(meta), "meta");
    cb_tensor *wide = cb_expand(meta, 2, (int64_t[]){2, 3});
    CHECK(cb_random_into(NORMAL, wide, 1, 0, 0, 1, 0) == CB_ERR_VALUE, "expanded");
    cb_release(wide);
    cb_release(meta);
}

int main(void) {
    if (cb_init(NULL)) return 1;
    test_known_answers();
    test_definition();
    test_distributions();
    test_independence();
    test_permutations_and_errors();
    return finish("test_random");
}
