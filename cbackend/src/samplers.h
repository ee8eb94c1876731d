/* Samplers that reject: gamma, Poisson, binomial and von Mises numbers, one at a time in double precision.
 *
 * Each element has a stream of its own (philox.h), so a sample depends on the key, the element's place in its
 * lane and the parameters only. Parameters for which no proposal would ever be
 * accepted (nan, infinities) are answered first; for all others rejection ends after a round or two. */
#ifndef CB_SAMPLERS_H
#define CB_SAMPLERS_H

#include <math.h>
#include <stdbool.h>

#include "philox.h"
#include "vmath.h"

typedef struct cb_stream {
    uint32_t key[2], index[2], block, words[4];
    int used; /* words of the block */
} cb_stream;

CB_MATH cb_stream cb_stream_of(uint64_t seed, int64_t index) {
    return (cb_stream){.key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
                       .index = {(uint32_t)index, (uint32_t)((uint64_t)index >> 32)},
                       .used = 4};
}

static inline uint64_t stream_bits(cb_stream *s) {
    if (s->used == 4) {
        s->words[0] = s->block++;
        s->words[1] = s->index[0];
        s->words[2] = s->index[1];
        s->words[3] = CB_PHILOX_SAMPLER;
        cb_philox_block(s->key[0], s->key[1], s->words);
        s->used = 0;
    }
    uint64_t bits = s->words[s->used] | (uint64_t)s->words[s->used + 1] << 32;
    s->used += 2;
    return bits;
}

/* in [0, 1), and in (0, 1) for what logarithms are taken of */
static inline double stream_uniform(cb_stream *s) { return (double)(stream_bits(s) >> 11) * 0x1p-53; }
static inline double stream_open(cb_stream *s) { return (double)(stream_bits(s) >> 12) * 0x1p-52 + 0x1p-53; }
static inline double stream_exponential(cb_stream *s) { return -log_f64(stream_open(s)); }
/* Box and Muller 1958 */
static inline double stream_normal(cb_stream *s) {
    double radius = sqrt(2 * stream_exponential(s));
    return radius * cos_f64(6.283185307179586476925 * stream_uniform(s));
}

/* log k! less Stirling's formula (k + 1/2) log(k + 1) - (k + 1) + log(2 pi) / 2, for whole k. From 10 on the
 * asymptotic series of DLMF 5.11.1 in 1 / (k + 1), off by less than 4e-13. */
static inline double stirling_rest(double k) {
    static const double first[] = {
        0.081061466795327258, 0.041340695955409295, 0.027677925684998339, 0.020790672103765093,
        0.016644691189821193, 0.013876128823070748, 0.011896709945891770, 0.010411265261972096,
        0.009255462182712733, 0.008330563433362871,
    };
    if (k < 10) return first[(int)k];
    double r = 1 / (k + 1), q = r * r;
    return r * (1.0 / 12 - q * (1.0 / 360 - q * (1.0 / 1260 - q / 1680)));
}

/* Marsaglia & Tsang 2000; below 1 a sample of a + 1 times uniform**(1 / a). */
static inline double random_gamma(cb_stream *s, double a) {
    if (!(a > 0)) return a == 0 ? 0 : NAN;
    if (a > 1.7976931348623157e308) return a;
    double d = (a < 1 ? a + 1 : a) - 1.0 / 3, c = 1 / sqrt(9 * d), v;
    for (;;) {
        double x = stream_normal(s);
        v = 1 + c * x;
        if (v <= 0) continue;
        v = v * v * v;
        if (log_f64(stream_open(s)) < 0.5 * x * x + d * (1 - v + log_f64(v))) break;
    }
    return a < 1 ? d * v * exp_f64(-stream_exponential(s) / a) : d * v;
}

/* Below 10 by multiplication of uniforms, above by transformed rejection (PTRS, Hoermann 1993). */
static inline double random_poisson(cb_stream *s, double rate) {
    if (!(rate >= 0)) return NAN;
    if (rate < 10) {
        double limit = exp_f64(-rate), product = stream_uniform(s), k = 0;
        for (; product > limit; k++) product *= stream_uniform(s);
        return k;
    }
    if (rate > 1.7976931348623157e308) return rate;
    if (rate > 1e20) return floor(rate + sqrt(rate) * stream_normal(s)); /* the limit, 1e-10 away */
    double b = 0.931 + 2.53 * sqrt(rate), a = -0.059 + 0.02483 * b;
    double inverse = 1.1239 + 1.1328 / (b - 3.4), top = 0.9277 - 3.6224 / (b - 2);
    for (;;) {
        double u = stream_uniform(s) - 0.5, v = stream_open(s), us = 0.5 - fabs(u);
        double k = floor((2 * a / us + b) * u + rate + 0.43);
        if (us >= 0.07 && v <= top) return k;
        if (!(k >= 0) || (us < 0.013 && v > us)) continue;
        /* the logarithm of the probability of k, without the cancellation of k log(rate) - rate - log k! */
        double x = (rate - (k + 1)) / (k + 1), step = log1p_f64(x);
        double target =
            (k + 1) * (step - x) - step - 0.5 * log_f64(6.283185307179586476925 * (k + 1)) - stirling_rest(k);
        if (log_f64(v * inverse / (a / (us * us) + b)) <= target) return k;
    }
}

/* By sums of geometric gaps where the mean is below 10, else BTRS (Hoermann 1993). */
static inline double random_binomial(cb_stream *s, double n, double probability) {
    if (!(probability >= 0 && probability <= 1 && n >= 0 && n <= 1.7976931348623157e308)) return NAN;
    bool flipped = probability > 0.5;
    n = floor(n);
    double p = flipped ? 1 - probability : probability, k;
    if (n * p < 10) {
        double rate = -log1p_f64(-p), reached = 0;
        for (k = -1; reached <= n; k++) reached += ceil(stream_exponential(s) / rate);
        return flipped ? n - k : k;
    }
    double spread = sqrt(n * p * (1 - p)), b = 1.15 + 2.53 * spread;
    double a = -0.0873 + 0.0248 * b + 0.01 * p, centre = n * p + 0.5, top = 0.92 - 4.2 / b;
    double odds = p / (1 - p), alpha = (2.83 + 5.1 / b) * spread, mode = floor((n + 1) * p);
    double at_mode = (mode + 0.5) * log_f64((mode + 1) / (odds * (n - mode + 1))) + stirling_rest(mode) +
                     stirling_rest(n - mode);
    for (;;) {
        double u = stream_uniform(s) - 0.5, v = stream_open(s), us = 0.5 - fabs(u);
        k = floor((2 * a / us + b) * u + centre);
        if (!(k >= 0 && k <= n)) continue;
        if (us >= 0.07 && v <= top) break;
        double ratio = at_mode + (n + 1) * log_f64((n - mode + 1) / (n - k + 1)) +
                       (k + 0.5) * log_f64(odds * (n - k + 1) / (k + 1)) - stirling_rest(k) -
                       stirling_rest(n - k);
        if (log_f64(v * alpha / (a / (us * us) + b)) <= ratio) break;
    }
    return flipped ? n - k : k;
}

/* Angles around 0. Best & Fisher 1979, wrapped Cauchy envelope; far out a normal distribution, which is off
 * by less than the envelope's rounding. */
static inline double random_von_mises(cb_stream *s, double concentration) {
    if (!(concentration >= 0)) return NAN;
    double k = concentration < 1e-7 ? 1e-7 : concentration;
    if (k > 1e8) return stream_normal(s) / sqrt(k);
    double tau = 1 + sqrt(1 + 4 * k * k), rho = (tau - sqrt(2 * tau)) / (2 * k);
    double e = k < 1e-5 ? 1 / k + k : (1 + rho * rho) / (2 * rho);
    for (;;) {
        double z = cos_f64(3.14159265358979323846 * stream_uniform(s)), u = stream_open(s);
        double f = (1 + e * z) / (e + z), c = k * (e - f);
        if (!(c * (2 - c) > u || log_f64(c / u) + 1 >= c)) continue;
        double angle = acos_f64(f > 1 ? 1 : f < -1 ? -1 : f);
        return stream_uniform(s) < 0.5 ? -angle : angle;
    }
}

#endif
