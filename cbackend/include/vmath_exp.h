/* Exponentials, logarithms, hyperbolic functions and powers, float and double.
 *
 * Polynomial coefficients are our own weighted minimax fits (Lawson-weighted least squares in 50 digits,
 * rounded one coefficient at a time); the bound beside each is the fit's error relative to the function. */
#ifndef CB_VMATH_EXP_H
#define CB_VMATH_EXP_H

/* ---- exp(x) 2^shift, float ---- */
/* x = n ln2 + r, |r| <= ln2/2. n comes out of the low bits of x log2(e) + 1.5 2^23; ln2 is split after 10
 * bits, so that n times the first part is exact (Cody & Waite 1980). 2^n is applied as two factors, which
 * covers overflow and rounds denormal results once. The limits are past both ends; nan passes through
 * them. */
#define CB_MAGIC_F32 12582912.0f
#define CB_MAGIC_F64 6755399441055744.0
CB_MATH float cb_exp_reduced_f32(float x, float *t) { /* e^r; n stands in the low bits of t */
    *t = CB_FMA_F32(x, 1.44269504f, CB_MAGIC_F32);
    float n = *t - CB_MAGIC_F32;
    float r = CB_FMA_F32(n, -0.693359375f, x);
    r = CB_FMA_F32(n, 2.12194440e-4f, r);
    /* (e^r - 1 - r) / r^2, 2^-28.2 */
    float p = CB_HORNER_4(CB_FMA_F32, r, 0.49999994f, 0.1666652f, 0.041668236f, 0.008368823f, 0.001382353f);
    return CB_FMA_F32(p, r * r, r) + 1.0f;
}
CB_MATH float cb_exp_shifted_f32(float x, int shift) {
    x = x < -105.0f ? -105.0f : x;
    x = x > 90.0f ? 90.0f : x;
    float t, p = cb_exp_reduced_f32(x, &t);
    int32_t k = (int32_t)(cb_bits_f32(t) - 0x4b400000u) + 254 + shift, half = k >> 1;
    return p * cb_from_bits_f32((uint32_t)half << 23) * cb_from_bits_f32((uint32_t)(k - half) << 23);
}
/* 2^lift e^x, where that is neither denormal nor overflows: one factor is enough */
CB_MATH float cb_exp_within_f32(float x, int lift) {
    float t, p = cb_exp_reduced_f32(x, &t);
    return p * cb_from_bits_f32((cb_bits_f32(t) + (uint32_t)(127 + lift)) << 23);
}
/* e^x, x <= 0: two thirds of the work */
/* What is 0 is made so before the last product, which takes many times as long where it underflows. */
CB_MATH float cb_exp_below_f32(float x) {
    float e = cb_exp_within_f32(x < -105.0f ? -105.0f : x, 64);
    return (x < -105.0f ? 0.0f : e) * 0x1p-64f;
}
CB_MATH float exp_f32(float x) { return cb_exp_shifted_f32(x, 0); }

/* ---- exp(x + low) 2^shift, double; low is a correction far below x ---- */
CB_MATH double cb_exp_shifted_f64(double x, double low, int shift) {
    x = x < -750.0 ? -750.0 : x;
    x = x > 720.0 ? 720.0 : x;
    double t = CB_FMA_F64(x, 1.4426950408889634, CB_MAGIC_F64);
    double n = t - CB_MAGIC_F64;
    double r = CB_FMA_F64(n, -6.93147180369123816490e-01, x); /* the first 33 bits of ln2 */
    r = CB_FMA_F64(n, -1.90821492927058770002e-10, r) + low;
    /* (e^r - 1 - r) / r^2, 2^-63.8 */
    double p = CB_HORNER_10(CB_FMA_F64, r, 0.5, 0.16666666666666682, 0.04166666666666647,
                            0.008333333333317608, 0.0013888888889000079, 0.00019841269895274429,
                            2.480158709093244e-05, 2.755723575766289e-06, 2.755747178002074e-07,
                            2.511177875631321e-08, 2.0854773850863258e-09);
    p = CB_FMA_F64(p, r * r, r) + 1.0;
    uint64_t k = cb_bits_f64(t) - (0x4338000000000000u - 2048u) + (uint64_t)(int64_t)shift; /* n + 2048 */
    uint64_t half = k >> 1;
    return p * cb_from_bits_f64((half - 1u) << 52) * cb_from_bits_f64((k - half - 1u) << 52);
}
CB_MATH double exp_f64(double x) { return cb_exp_shifted_f64(x, 0.0, 0); }
CB_MATH double cb_exp_below_f64(double x) { return exp_f64(x); }

/* for float functions that compute in double: e^x to 2^-33, |x| < 700 */
CB_MATH double cb_exp_lite(double x) {
    double t = CB_FMA_F64(x, 1.4426950408889634, CB_MAGIC_F64);
    double n = t - CB_MAGIC_F64;
    double r = CB_FMA_F64(n, -0.6931471805599453, x);
    double p = CB_HORNER_5(CB_FMA_F64, r, 0.50000000793525, 0.1666666682495986, 0.04166626616518411,
                           0.008333272171894097, 0.0013946303019898947, 0.00019914293470837954);
    p = CB_FMA_F64(p, r * r, r) + 1.0;
    return cb_from_bits_f64(cb_bits_f64(p) + (cb_bits_f64(t) << 52));
}

/* ---- exp2: the reduction is exact ---- */
CB_MATH float exp2_f32(float x) {
    x = x < -152.0f ? -152.0f : x;
    x = x > 130.0f ? 130.0f : x;
    float t = x + CB_MAGIC_F32;
    float r = x - (t - CB_MAGIC_F32);
    /* (2^r - 1) / r, 2^-28.3 */
    float p = CB_HORNER_5(CB_FMA_F32, r, 0.6931472f, 0.24022648f, 0.05550359f, 0.009618496f, 0.0013391303f,
                          0.00015331022f);
    p = CB_FMA_F32(p, r, 1.0f);
    uint32_t k = cb_bits_f32(t) - (0x4b400000u - 256u), half = k >> 1;
    return p * cb_from_bits_f32((half - 1u) << 23) * cb_from_bits_f32((k - half - 1u) << 23);
}
CB_MATH double exp2_f64(double x) {
    x = x < -1080.0 ? -1080.0 : x;
    x = x > 1030.0 ? 1030.0 : x;
    double t = x + CB_MAGIC_F64;
    double r = x - (t - CB_MAGIC_F64);
    /* (2^r - 1) / r, 2^-57.7 */
    double p = CB_HORNER_10(CB_FMA_F64, r, 0.6931471805599453, 0.2402265069591011, 0.05550410866482169,
                            0.009618129107600553, 0.0013333558146551249, 0.00015403530450269166,
                            1.5252733632840173e-05, 1.3215438264284305e-06, 1.017815931386364e-07,
                            7.073324761317554e-09, 4.4391115482518287e-10);
    p = CB_FMA_F64(p, r, 1.0);
    uint64_t k = cb_bits_f64(t) - (0x4338000000000000u - 2048u), half = k >> 1;
    return p * cb_from_bits_f64((half - 1u) << 52) * cb_from_bits_f64((k - half - 1u) << 52);
}

/* ---- expm1 = 2^n expm1(r) + (2^n - 1), formed at half scale so that 2^n itself may overflow ---- */
CB_MATH float cb_half_expm1_f32(float x) {
    float t = CB_FMA_F32(x, 1.44269504f, CB_MAGIC_F32);
    float n = t - CB_MAGIC_F32;
    float r = CB_FMA_F32(n, -0.693359375f, x);
    r = CB_FMA_F32(n, 2.12194440e-4f, r);
    /* as in exp, one degree more: 2^-33 */
    float p = CB_HORNER_5(CB_FMA_F32, r, 0.5f, 0.16666666f, 0.041666456f, 0.008333561f, 0.0013935772f,
                          0.0001974888f);
    p = CB_FMA_F32(p, r * r, r);
    float s = cb_from_bits_f32((cb_bits_f32(t) + 126u) << 23);
    return CB_FMA_F32(s, p, s - 0.5f);
}
CB_MATH float expm1_f32(float x) {
    float limited = x < -20.0f ? -20.0f : x;
    limited = limited > 89.0f ? 89.0f : limited;
    float y = 2.0f * cb_half_expm1_f32(limited);
    return fabs_f32(x) < 1e-8f ? x : y; /* denormals and -0 */
}
CB_MATH double cb_half_expm1_f64(double x) {
    double t = CB_FMA_F64(x, 1.4426950408889634, CB_MAGIC_F64);
    double n = t - CB_MAGIC_F64;
    double r = CB_FMA_F64(n, -6.93147180369123816490e-01, x);
    r = CB_FMA_F64(n, -1.90821492927058770002e-10, r);
    double p = CB_HORNER_10(CB_FMA_F64, r, 0.5, 0.16666666666666682, 0.04166666666666647,
                            0.008333333333317608, 0.0013888888889000079, 0.00019841269895274429,
                            2.480158709093244e-05, 2.755723575766289e-06, 2.755747178002074e-07,
                            2.511177875631321e-08, 2.0854773850863258e-09);
    p = CB_FMA_F64(p, r * r, r);
    double s = cb_from_bits_f64((cb_bits_f64(t) + 1022u) << 52);
    return CB_FMA_F64(s, p, s - 0.5);
}
CB_MATH double expm1_f64(double x) {
    double limited = x < -45.0 ? -45.0 : x;
    limited = limited > 710.0 ? 710.0 : limited;
    double y = 2.0 * cb_half_expm1_f64(limited);
    return fabs_f64(x) < 1e-17 ? x : y;
}

/* ---- logarithms ---- */
/* u = 2^e m, sqrt(1/2) <= m < sqrt(2); gives m - 1, and 2^-e (0 for the largest e) for the rest of a sum u */
CB_MATH float cb_log_parts_f32(float u, float *e, float *shrink) {
    uint32_t offset = cb_bits_f32(u) - 0x3f3504f3u; /* sqrt(1/2) */
    int32_t k = (int32_t)offset >> 23;
    float m = cb_from_bits_f32((offset & 0x007fffffu) + 0x3f3504f3u);
    *e = (float)k;
    *shrink = cb_from_bits_f32(k < 127 ? (uint32_t)(127 - k) << 23 : 0u);
    return m - 1.0f;
}
/* log(1 + f) - f + f^2 / 2, 2^-30.3 */
CB_MATH float cb_log_tail_f32(float f) {
    float p = CB_HORNER_8(CB_FMA_F32, f, 0.33333313f, -0.25000012f, 0.20002075f, -0.16667858f, 0.14220196f,
                          -0.124081016f, 0.11886399f, -0.11661355f, 0.06733425f);
    return p * f * (f * f);
}
/* log(2^-scaling (u + c)) for normal positive u */
CB_MATH float cb_log_sum_f32(float u, float c, float scaling) {
    float e, shrink, f = cb_log_parts_f32(u, &e, &shrink);
    f = CB_FMA_F32(c, shrink, f);
    e -= scaling;
    float tail = CB_FMA_F32(e, -2.12194440e-4f, cb_log_tail_f32(f));
    tail = CB_FMA_F32(-0.5f * f, f, tail);
    return CB_FMA_F32(e, 0.693359375f, f + tail);
}
/* e as a double without an integer conversion, which AVX2 lacks: put into the mantissa of 2^52 */
CB_MATH double cb_log_parts_f64(double u, double *e, double *shrink) {
    uint64_t offset = cb_bits_f64(u) - 0x3fe6a09e667f3bcdu;
    uint64_t k = (offset + 0x3ff0000000000000u) >> 52;
    double m = cb_from_bits_f64((offset & 0x000fffffffffffffu) + 0x3fe6a09e667f3bcdu);
    *e = cb_from_bits_f64(k | 0x4330000000000000u) - (4503599627370496.0 + 1023.0);
    *shrink = cb_from_bits_f64(k < 2046u ? (2046u - k) << 52 : 0u);
    return m - 1.0;
}
/* log(1 + f) - f + f^2 / 2 = s (f^2 / 2 + R(s^2)), s = f / (2 + f) (Tang 1990); R is good to 2^-58.5 */
CB_MATH double cb_log_tail_f64(double f) {
    double s = f / (2.0 + f), z = s * s;
    double p = CB_HORNER_6(CB_FMA_F64, z, 0.6666666666666734, 0.3999999999941674, 0.2857142874199722,
                           0.222221986086289, 0.18183562656080643, 0.15314089940187453, 0.14795581990926532);
    return s * CB_FMA_F64(0.5 * f, f, z * p);
}
CB_MATH double cb_log_sum_f64(double u, double c, double scaling) {
    double e, shrink, f = cb_log_parts_f64(u, &e, &shrink);
    f = CB_FMA_F64(c, shrink, f);
    e -= scaling;
    double tail = CB_FMA_F64(e, 1.90821492927058770002e-10, cb_log_tail_f64(f));
    tail = CB_FMA_F64(-0.5 * f, f, tail);
    return CB_FMA_F64(e, 6.93147180369123816490e-01, f + tail);
}

/* Another base: log(1 + f) as hi + lo with few enough bits in hi for hi times the leading part of log_b(e)
 * to be exact, so that powers of the base come out exact (the scheme of FreeBSD's e_log10.c). */
CB_MATH float cb_log_base_f32(float u, float scaling, float per_e_hi, float per_e_lo, float two_hi,
                              float two_lo) {
    float e, shrink, f = cb_log_parts_f32(u, &e, &shrink);
    e -= scaling;
    float half_square = 0.5f * f * f;
    float hi = cb_from_bits_f32(cb_bits_f32(f - half_square) & 0xfffff000u);
    float lo = (f - hi) - half_square + cb_log_tail_f32(f);
    float y_hi = e * two_hi, v = hi * per_e_hi;
    float v_lo = e * two_lo + (lo + hi) * per_e_lo + lo * per_e_hi;
    float sum = y_hi + v;
    return sum + (v_lo + ((y_hi - sum) + v));
}
CB_MATH double cb_log_base_f64(double u, double scaling, double per_e_hi, double per_e_lo, double two_hi,
                               double two_lo) {
    double e, shrink, f = cb_log_parts_f64(u, &e, &shrink);
    e -= scaling;
    double half_square = 0.5 * f * f;
    double hi = cb_from_bits_f64(cb_bits_f64(f - half_square) & 0xffffffff00000000u);
    double lo = (f - hi) - half_square + cb_log_tail_f64(f);
    double y_hi = e * two_hi, v = hi * per_e_hi;
    double v_lo = e * two_lo + (lo + hi) * per_e_lo + lo * per_e_hi;
    double sum = y_hi + v;
    return sum + (v_lo + ((y_hi - sum) + v));
}

/* denormals are scaled up by 2^25 or 2^54 first; 0 gives -inf, negative numbers nan, inf and nan
 * themselves */
#define CB_LOG_FUNCTION(name, T, f32, value, smallest, exponent)                     \
    CB_MATH T name##_##f32(T x) {                                                    \
        T scaling = x < (smallest) ? (T)(exponent) : (T)0;                           \
        T u = x < (smallest) ? x * (T)((uint64_t)1 << (exponent)) : x;               \
        T y = value;                                                                 \
        T special = x == 0 ? -inf_##f32() : (x < 0 ? inf_##f32() - inf_##f32() : x); \
        return x > 0 && x < inf_##f32() ? y : special;                               \
    }
#define CB_LOG_FUNCTION_F32(name, value) CB_LOG_FUNCTION(name, float, f32, value, 1.17549435e-38f, 25)
#define CB_LOG_FUNCTION_F64(name, value) \
    CB_LOG_FUNCTION(name, double, f64, value, 2.2250738585072014e-308, 54)
CB_LOG_FUNCTION_F32(log, cb_log_sum_f32(u, 0.0f, scaling))
CB_LOG_FUNCTION_F64(log, cb_log_sum_f64(u, 0.0, scaling))
CB_LOG_FUNCTION_F32(log2, cb_log_base_f32(u, scaling, 1.4423828125f, 0.0003122284f, 1.0f, 0.0f))
CB_LOG_FUNCTION_F64(log2,
                    cb_log_base_f64(u, scaling, 1.44269504072144627571, 1.67517131648865118353e-10, 1.0, 0.0))
CB_LOG_FUNCTION_F32(log10, cb_log_base_f32(u, scaling, 0.4342041015625f, 9.038034e-05f, 0.301025390625f,
                                           4.605039e-06f))
CB_LOG_FUNCTION_F64(log10, cb_log_base_f64(u, scaling, 4.34294481878168880939e-01, 2.50829467116452752298e-11,
                                           3.01029995663611771306e-01, 3.69423907715893078616e-13))

/* log(1 + x): u = fl(1 + x) and the rest of 1 + x, by Knuth's exact sum (TAOCP 4.2.2). Near 0 x itself
 * keeps denormals and -0. */
#define CB_LOG1P(T, f32, tiny)                                                       \
    CB_MATH T log1p_##f32(T x) {                                                     \
        T u = 1 + x, back = u - 1;                                                   \
        T rest = (1 - (u - back)) + (x - back);                                      \
        T y = cb_log_sum_##f32(u, rest, (T)0);                                       \
        T special = u == 0 ? -inf_##f32() : (u < 0 ? inf_##f32() - inf_##f32() : x); \
        y = u > 0 && u < inf_##f32() ? y : special;                                  \
        return fabs_##f32(x) < (tiny) ? x : y;                                       \
    }
CB_LOG1P(float, f32, 1e-8f)
CB_LOG1P(double, f64, 1e-17)
/* log(1 + x) for 0 <= x <= 1 only: no special cases, nan is the caller's */
CB_MATH float cb_log1p_unit_f32(float x) {
    float u = 1.0f + x;
    return cb_log_sum_f32(u, x - (u - 1.0f), 0.0f);
}
CB_MATH double cb_log1p_unit_f64(double x) {
    double u = 1.0 + x;
    return cb_log_sum_f64(u, x - (u - 1.0), 0.0);
}

/* ---- sigmoid, tanh, sinh, cosh ---- */
#define CB_HYPERBOLIC(T, f32, wide, tanh_limit, sinh_polynomial)                                   \
    /* exp(-|x|) cannot overflow, and the small side keeps its relative accuracy. 1 / d is 1 - q   \
     * or q; with it the quotient takes back what rounding dropped from d = 1 + e. A float sigmoid \
     * stays below 2 ulp without. */                                                               \
    CB_MATH T sigmoid_##f32(T x) {                                                                 \
        T e = cb_exp_below_##f32(-fabs_##f32(x)), d = 1 + e, dropped = e - (d - 1);                \
        T q = (x < 0 ? e : (T)1) / d;                                                              \
        return wide ? q - q * dropped * (x < 0 ? 1 - q : q) : q;                                   \
    }                                                                                              \
    CB_MATH T logsigmoid_##f32(T x) {                                                              \
        T tail = cb_log1p_unit_##f32(cb_exp_below_##f32(-fabs_##f32(x)));                          \
        return (x < 0 ? x : (x != x ? x : (T)0)) - tail;                                           \
    }                                                                                              \
    /* m / (1 + m) with m = expm1(2|x|) / 2; the limit is where tanh rounds to 1 */                \
    CB_MATH T tanh_##f32(T x) {                                                                    \
        T a = fabs_##f32(x);                                                                       \
        a = a > (tanh_limit) ? (tanh_limit) : a;                                                   \
        T m = cb_half_expm1_##f32(2 * a), d = 1 + m, dropped = m < 1 ? m - (d - 1) : 1 - (d - m);  \
        T q = m / d;                                                                               \
        return copysign_##f32(q - q * dropped * (1 - q), x);                                       \
    }                                                                                              \
    /* w -+ 1 / (4 w) with w = e^|x| / 2, which overflows only where the result does */            \
    CB_MATH T cosh_##f32(T x) {                                                                    \
        T w = cb_half_exp_##f32(fabs_##f32(x));                                                    \
        return w + (T)0.25 / w;                                                                    \
    }                                                                                              \
    CB_MATH T sinh_##f32(T x) {                                                                    \
        T a = fabs_##f32(x), u = x * x;                                                            \
        T w = cb_half_exp_##f32(a);                                                                \
        T small = sinh_polynomial * (x * u) + x;                                                   \
        return a < 1 ? small : copysign_##f32(w - (T)0.25 / w, x);                                 \
    }
CB_MATH float cb_half_exp_f32(float x) { return cb_exp_shifted_f32(x, -1); }
CB_MATH double cb_half_exp_f64(double x) { return cb_exp_shifted_f64(x, 0.0, -1); }
/* (sinh x - x) / x^3 in x^2, |x| < 1: 2^-31.5 and 2^-61.3 */
CB_HYPERBOLIC(float, f32, 0, 10.0f,
              CB_HORNER_3(CB_FMA_F32, u, 0.16666667f, 0.008333314f, 0.00019841893f, 2.788632e-06f))
CB_HYPERBOLIC(double, f64, 1, 22.0,
              CB_HORNER_6(CB_FMA_F64, u, 0.16666666666666669, 0.008333333333332905, 0.00019841269841602447,
                          2.75573191027694e-06, 2.50521317799574e-08, 1.6056589123686087e-10,
                          7.778946924202072e-13))

/* ---- inverse hyperbolic functions; the float ones are the double ones rounded ---- */
/* log(scale (1 + t)) with the sum 1 + t kept exactly; t >= -1 */
CB_MATH double cb_log_1_plus(double t, double base, double scaling) {
    double u = base + t, back = u - base;
    return cb_log_sum_f64(u, (base - (u - back)) + (t - back), scaling);
}
/* log(a + sqrt(a^2 + 1)) = log1p(a + a^2 / (1 + sqrt(a^2 + 1))); from 2^28 on log(2a) */
CB_MATH double asinh_f64(double x) {
    double a = fabs_f64(x);
    int large = a > 268435456.0;
    double t = a + a * a / (1 + sqrt_f64(CB_FMA_F64(a, a, 1.0)));
    double y = cb_log_1_plus(large ? a : t, large ? 0.0 : 1.0, large ? -1.0 : 0.0);
    y = a < 1e-8 ? a : y;
    return copysign_f64(a < inf_f64() ? y : a, x);
}
/* t = x - 1: log1p(t + sqrt(2t + t^2)) */
CB_MATH double acosh_f64(double x) {
    int large = x > 268435456.0;
    double t = x - 1;
    t = large ? x : t + sqrt_f64(t * (2 + t));
    double y = cb_log_1_plus(t, large ? 0.0 : 1.0, large ? -1.0 : 0.0);
    y = x < 1 ? inf_f64() - inf_f64() : y;
    return x < inf_f64() ? y : x;
}
/* log1p(2a / (1 - a)) / 2 */
CB_MATH double atanh_f64(double x) {
    double a = fabs_f64(x);
    return copysign_f64(0.5 * log1p_f64(2 * a / (1 - a)), x);
}
CB_MATH float asinh_f32(float x) { return (float)asinh_f64((double)x); }
CB_MATH float acosh_f32(float x) { return (float)acosh_f64((double)x); }
CB_MATH float atanh_f32(float x) { return (float)atanh_f64((double)x); }

/* ---- pow ---- */
/* x^y from the value at |x|: signs for odd integer y, nan for negative x and fractional y, and the cases
 * where y log|x| is a nan though IEEE 754 has x^0 = 1^y = (-1)^(+-inf) = 1. */
#define CB_POW(T, f32, magnitude)                                                             \
    CB_MATH T pow_##f32(T x, T y) {                                                           \
        T a = fabs_##f32(x), half = (T)0.5 * y;                                               \
        T r = magnitude;                                                                      \
        int integral = rint_##f32(y) == y, odd = integral & (rint_##f32(half) != half);       \
        T signed_r = odd ? copysign_##f32(r, x) : r;                                          \
        T invalid = inf_##f32() - inf_##f32();                                                \
        r = (x < 0) & (a < inf_##f32()) & !integral ? invalid : signed_r;                     \
        return (y == 0) | (x == 1) | ((x == -1) & (fabs_##f32(y) == inf_##f32())) ? (T)1 : r; \
    }

/* e^(y log a) in double for float operands: log to 2^-36, exp to 2^-34 */
CB_MATH float cb_pow_magnitude_f32(float a, float y) {
    double e, shrink, f = cb_log_parts_f64((double)a, &e, &shrink);
    double s = f / (2.0 + f), z = s * s;
    double p = CB_HORNER_3(CB_FMA_F64, z, 0.6666666564501184, 0.4000033526818711, 0.2853730447740591,
                           0.23582217950175452);
    double log_a = CB_FMA_F64(e, 0.6931471805599453, CB_FMA_F64(s * z, p, 2.0 * s));
    log_a = a == 0 ? -inf_f64() : (a < inf_f32() ? log_a : (double)a);
    double product = (double)y * log_a;
    product = product < -200.0 ? -200.0 : product;
    product = product > 200.0 ? 200.0 : product;
    return (float)cb_exp_lite(product);
}
CB_POW(float, f32, cb_pow_magnitude_f32(a, y))

/* exact sums and products of two doubles (Knuth; with FMA, else Dekker's splitting at 26 bits by masking) */
CB_MATH double cb_two_sum(double x, double y, double *rest) {
    double sum = x + y, back = sum - x;
    *rest = (x - (sum - back)) + (y - back);
    return sum;
}
CB_MATH double cb_two_product(double x, double y, double *rest) {
    double product = x * y;
#if CB_HAVE_FMA
    *rest = CB_FMA_F64(x, y, -product);
#else
    double x_hi = cb_from_bits_f64(cb_bits_f64(x) & 0xfffffffff8000000u), x_lo = x - x_hi;
    double y_hi = cb_from_bits_f64(cb_bits_f64(y) & 0xfffffffff8000000u), y_lo = y - y_hi;
    *rest = ((x_hi * y_hi - product) + x_hi * y_lo + x_lo * y_hi) + x_lo * y_lo;
#endif
    return product;
}
/* log a as hi + lo to about 2^-66: 2 atanh(s) = 2s (1 + z/3 + z^2 Q(z)), s = f / (2 + f) and z = s^2 in
 * two parts, Q to 2^-66. The exponent of |y log a| < 1100 then costs no more than 2^-55. */
CB_MATH double cb_pow_magnitude_f64(double a, double y) {
    double scaling = a < 2.2250738585072014e-308 ? 54.0 : 0.0;
    double u = a < 2.2250738585072014e-308 ? a * 18014398509481984.0 : a;
    double e, shrink, f = cb_log_parts_f64(u, &e, &shrink);
    e -= scaling;
    double d_lo, d = cb_two_sum(2.0, f, &d_lo);
    double s = f / d, product_lo, product = cb_two_product(s, d, &product_lo);
    double s_lo = ((f - product) - product_lo - s * d_lo) / d;
    double z_lo, z = cb_two_product(s, s, &z_lo);
    z_lo += 2.0 * s * s_lo;
    double q =
        CB_HORNER_6(CB_FMA_F64, z, 0.20000000000001128, 0.14285714285049866, 0.11111111259937852,
                    0.09090892186288857, 0.07693378514673908, 0.06628412901905546, 0.06598122625862865);
    /* b = 1 + z/3 + z^2 q; a third in two parts */
    double third_lo, third = cb_two_product(z, 0.3333333333333333, &third_lo);
    third_lo += z * 1.850371707708594e-17 + z_lo * 0.3333333333333333 + z * z * q;
    double b_lo, b = cb_two_sum(1.0, third, &b_lo);
    b_lo += third_lo;
    double log_lo, log_hi = cb_two_product(2.0 * s, b, &log_lo);
    log_lo += 2.0 * (s * b_lo + s_lo * b);
    /* + e ln2; the leading part has 33 bits, so the product is exact */
    double sum_lo, sum = cb_two_sum(e * 6.93147180369123816490e-01, log_hi, &sum_lo);
    sum_lo += log_lo + e * 1.90821492927058770002e-10;
    double normal = sum + sum_lo;
    sum_lo = (sum - normal) + sum_lo;
    double log_a = a == 0 ? -inf_f64() : (a < inf_f64() ? normal : a);
    double t_lo, t = cb_two_product(y, log_a, &t_lo);
    t_lo += y * sum_lo;
    t_lo = fabs_f64(t) < 1100.0 ? t_lo : 0.0;
    return cb_exp_shifted_f64(t, t_lo, 0);
}
CB_POW(double, f64, cb_pow_magnitude_f64(a, y))

#endif
