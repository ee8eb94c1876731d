/* Error functions and the activations made from them, float and double. Fits as described in vmath_exp.h. */
#ifndef CB_VMATH_SPECIAL_H
#define CB_VMATH_SPECIAL_H

/* ---- the Gaussian tail: erfc(a) = exp(-a^2) g(a), a >= 0 ---- */
/* (1 - v (d + dropped)) for v = fl(1 / d): what a Newton step multiplies v with, to have 1 / (d + dropped)
 * in two parts. Without FMA the division's own rounding is left in. */
#if CB_HAVE_FMA
#define CB_RECIPROCAL_REST_F32(v, d, dropped) (CB_FMA_F32(-(v), d, 1.0f) - (v) * (dropped))
#define CB_RECIPROCAL_REST_F64(v, d, dropped) (CB_FMA_F64(-(v), d, 1.0) - (v) * (dropped))
#else
#define CB_RECIPROCAL_REST_F32(v, d, dropped) (-(v) * (dropped))
#define CB_RECIPROCAL_REST_F64(v, d, dropped) (-(v) * (dropped))
#endif
/* g(a) (a + k) / 2 is smooth in t = (a - k) / (a + k) on the whole half line (the substitution of
 * Schonfelder, Math. Comp. 32, 1978); 2^-25.2 for a < 10.2 and k = 2, 2^-54 for a < 27.3 and k = 5/2. */
CB_MATH float cb_half_erfcx_f32(float a) {
    float d = a + 2.0f, v = 1.0f / d, v_lo = v * CB_RECIPROCAL_REST_F32(v, d, a - (d - 2.0f));
    float t = CB_FMA_F32(-4.0f, v, 1.0f) + -4.0f * v_lo;
    float g = CB_HORNER_9(CB_FMA_F32, t, 0.51079136f, -0.34358045f, 0.13973564f, -0.018218044f, -0.010750511f,
                          0.0032181279f, 0.0015189615f, -0.00036476247f, -0.00026219783f, -2.159146e-05f);
    return CB_FMA_F32(v, g, v_lo * g);
}
CB_MATH double cb_half_erfcx_f64(double a) {
    double d = a + 2.5, v = 1.0 / d, v_lo = v * CB_RECIPROCAL_REST_F64(v, d, a - (d - 2.5));
    double t = CB_FMA_F64(-5.0, v, 1.0) + -5.0 * v_lo;
    double g = CB_HORNER_22(
        CB_FMA_F64, t, 0.527015910152859, -0.40232592471957446, 0.22695705832404017, -0.08562557262301919,
        0.014180775066416242, 0.004196522151072706, -0.0024093927704346555, -0.00021960413086814952,
        0.0003513469581014924, 2.91538766242128e-05, -5.630303362622758e-05, -9.76594505345294e-06,
        9.124688173567298e-06, 3.376552549445345e-06, -1.1727660008602974e-06, -9.80099951148722e-07,
        8.572914944071794e-09, 2.2261791372849327e-07, 5.591683956454393e-08, -3.4211988032103606e-08,
        -1.7183546989090445e-08, 2.416192810460632e-09, 1.9581623036785856e-09);
    return CB_FMA_F64(v, g, v_lo * g);
}
/* 2^lift exp(-scale a^2), scale 1 or 1/2, with the rounding error of a^2 put back: it would cost a^2 ulp. The
 * lift keeps float clear of denormals, for one rounding at the end. */
#define CB_LIFT_F32 100
#define CB_DROP_f32 0x1p-100f
#define CB_DROP_f64 1.0
CB_MATH float cb_exp_minus_square_f32(float a, float scale) {
    float square = a * a;
#if CB_HAVE_FMA
    float rest = CB_FMA_F32(a, a, -square);
#else
    float hi = cb_from_bits_f32(cb_bits_f32(a) & 0xfffff000u), lo = a - hi;
    float rest = ((hi * hi - square) + 2.0f * hi * lo) + lo * lo;
#endif
    float e = cb_exp_within_f32(-scale * square, CB_LIFT_F32);
    return CB_FMA_F32(e, -scale * rest, e);
}
CB_MATH double cb_exp_minus_square_f64(double a, double scale) {
    double rest, square = cb_two_product(a, a, &rest);
    return cb_exp_shifted_f64(-scale * square, -scale * rest, 0);
}

/* ---- erf: x + x P(x^2) near 0, 1 - exp(log erfc) or 1 - erfc beyond ---- */
CB_MATH float erf_f32(float x) {
    float a = fabs_f32(x), u = x * x;
    /* erf(x) / x - 1, 2^-30.1 */
    float near = CB_HORNER_6(CB_FMA_F32, u, 0.12837917f, -0.37612632f, 0.1128367f, -0.026858013f,
                             0.005197589f, -0.0008103718f, 8.2064355e-05f);
    near = CB_FMA_F32(near, x, x);
    /* -log erfc(a) on [0.94, 4], 2^-29.4 of erf; from 4 on erf rounds to 1 */
    float b = a > 4.0f ? 4.0f : a;
    float far = CB_HORNER_6(CB_FMA_F32, b, 0.00022847918f, 1.127541f, 0.63740766f, 0.103734925f,
                            -0.022132656f, 0.0030197005f, -0.00019355268f);
    far = copysign_f32(1.0f - cb_exp_within_f32(-far, 0), x);
    return a < 0.95f ? near : far;
}
CB_MATH double erf_f64(double x) {
    double a = fabs_f64(x), u = x * x;
    /* erf(x) / x - 1, 2^-56 */
    double near = CB_HORNER_11(CB_FMA_F64, u, 0.12837916709551256, -0.3761263890318346, 0.11283791670942667,
                               -0.026866170642932886, 0.005223977604946769, -0.0008548325882223672,
                               0.00012055292359163176, -1.492469163048403e-05, 1.644690251935614e-06,
                               -1.6204718610180667e-07, 1.3704643214340636e-08, -7.768514779826323e-10);
    near = CB_FMA_F64(near, x, x);
    double b = a > 6.5 ? 6.5 : a;
    double far = 1.0 - 2.0 * cb_half_erfcx_f64(b) * cb_exp_minus_square_f64(b, 1.0);
    return a < 1.0 ? near : copysign_f64(far, x);
}

/* ---- erfc, gelu ---- */
#define CB_GAUSSIAN_TAILS(T, f32, erfc_limit, gelu_limit)                                                \
    CB_MATH T erfc_##f32(T x) {                                                                          \
        T a = fabs_##f32(x);                                                                             \
        a = a > (erfc_limit) ? (erfc_limit) : a;                                                         \
        T tail = 2 * cb_half_erfcx_##f32(a) * cb_exp_minus_square_##f32(a, 1) * CB_DROP_##f32;           \
        return x < 0 ? 2 - tail : tail;                                                                  \
    }                                                                                                    \
    /* x Phi(x) = max(x, 0) - |x| Phi(-|x|): the negative side keeps its relative accuracy */            \
    CB_MATH T gelu_##f32(T x) {                                                                          \
        T a = fabs_##f32(x);                                                                             \
        a = a > (gelu_limit) ? (gelu_limit) : a;                                                         \
        T e = cb_exp_minus_square_##f32(a, (T)0.5);                                                      \
        T tail = a * cb_half_erfcx_##f32((T)0.70710678118654752440 * a) * e * CB_DROP_##f32;             \
        return (x < 0 ? (T)-0.0 : x) - tail;                                                             \
    }                                                                                                    \
    /* 0.5 x (1 + tanh u) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3): Hendrycks & Gimpel 2016 */ \
    CB_MATH T gelu_tanh_##f32(T x) {                                                                     \
        T b = x < -(gelu_limit) ? -(gelu_limit) : x;                                                     \
        T s = sigmoid_##f32((T)1.59576912160573071176 * b * (1 + (T)0.044715 * b * b));                  \
        return b * s;                                                                                    \
    }                                                                                                    \
    /* Phi(x) + x phi(x), from one exponential */                                                        \
    CB_MATH T gelu_slope_##f32(T x) {                                                                    \
        T a = fabs_##f32(x);                                                                             \
        a = a > (gelu_limit) ? (gelu_limit) : a;                                                         \
        T e = cb_exp_minus_square_##f32(a, (T)0.5) * CB_DROP_##f32;                                      \
        T tail = cb_half_erfcx_##f32((T)0.70710678118654752440 * a) * e;                                 \
        T way = (T)0.39894228040143267794 * a * e;                                                       \
        return x < 0 ? tail - way : 1 - tail + way;                                                      \
    }                                                                                                    \
    /* s + x s (1 - s) (2u)', s = sigmoid(2u) as in gelu_tanh; beyond the limits it is 0 or 1 */         \
    CB_MATH T gelu_tanh_slope_##f32(T x) {                                                               \
        T b = x < -(gelu_limit) ? -(gelu_limit) : x;                                                     \
        b = b > (gelu_limit) ? (gelu_limit) : b;                                                         \
        T s = sigmoid_##f32((T)1.59576912160573071176 * b * (1 + (T)0.044715 * b * b));                  \
        T way = b * (T)1.59576912160573071176 * (1 + (T)0.134145 * b * b);                               \
        return s + s * (1 - s) * way;                                                                    \
    }
CB_GAUSSIAN_TAILS(float, f32, 10.2f, 15.0f)
CB_GAUSSIAN_TAILS(double, f64, 27.3, 39.0)

#endif
