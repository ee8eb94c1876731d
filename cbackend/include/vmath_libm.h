/* The functions of vmath_exp.h, vmath_trig.h and vmath_special.h through the platform's math library.
 *
 * Used on CUDA, whose library is accurate to 1-2 ulp, tuned for the device and right for huge arguments;
 * define CB_VMATH_LIBM to have it on the CPU too (a reference without polynomials, but scalar code). */
#ifndef CB_VMATH_LIBM_H
#define CB_VMATH_LIBM_H

#define CB_LIBM_UNARY(name)                                  \
    CB_MATH float name##_f32(float x) { return name##f(x); } \
    CB_MATH double name##_f64(double x) { return name(x); }
#define CB_LIBM_BINARY(name)                                             \
    CB_MATH float name##_f32(float x, float y) { return name##f(x, y); } \
    CB_MATH double name##_f64(double x, double y) { return name(x, y); }

CB_LIBM_UNARY(exp)
CB_LIBM_UNARY(exp2)
CB_LIBM_UNARY(expm1)
CB_LIBM_UNARY(log)
CB_LIBM_UNARY(log2)
CB_LIBM_UNARY(log10)
CB_LIBM_UNARY(log1p)
CB_LIBM_UNARY(sin)
CB_LIBM_UNARY(cos)
CB_LIBM_UNARY(tan)
CB_LIBM_UNARY(asin)
CB_LIBM_UNARY(acos)
CB_LIBM_UNARY(atan)
CB_LIBM_UNARY(sinh)
CB_LIBM_UNARY(cosh)
CB_LIBM_UNARY(tanh)
CB_LIBM_UNARY(asinh)
CB_LIBM_UNARY(acosh)
CB_LIBM_UNARY(atanh)
CB_LIBM_UNARY(erf)
CB_LIBM_UNARY(erfc)
CB_LIBM_BINARY(pow)
CB_LIBM_BINARY(atan2)
CB_LIBM_BINARY(hypot)

CB_MATH float cb_log1p_unit_f32(float x) { return log1pf(x); }
CB_MATH double cb_log1p_unit_f64(double x) { return log1p(x); }

/* exp(-|x|) never overflows, and 1 - sigmoid(-x) is not formed: the small tail keeps its relative accuracy */
#define CB_LIBM_DERIVED(T, f32)                                                                          \
    CB_MATH T sigmoid_##f32(T x) {                                                                       \
        T e = exp_##f32(-fabs_##f32(x));                                                                 \
        return (x < 0 ? e : 1) / (1 + e);                                                                \
    }                                                                                                    \
    CB_MATH T logsigmoid_##f32(T x) {                                                                    \
        return (x < 0 ? x : (x != x ? x : (T)0)) - log1p_##f32(exp_##f32(-fabs_##f32(x)));               \
    }                                                                                                    \
    /* x Phi(x); erfc keeps the negative tail accurate */                                                \
    CB_MATH T gelu_##f32(T x) {                                                                          \
        T tail = (T)0.5 * erfc_##f32((T)-0.70710678118654752440 * x);                                    \
        return tail == 0 ? (x != x ? x : (T)-0.0) : x * tail;                                            \
    }                                                                                                    \
    /* 0.5 x (1 + tanh u) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3): Hendrycks & Gimpel 2016 */ \
    CB_MATH T gelu_tanh_##f32(T x) {                                                                     \
        T s = sigmoid_##f32((T)1.59576912160573071176 * x * (1 + (T)0.044715 * x * x));                  \
        return s == 0 ? (T)-0.0 : x * s;                                                                 \
    }                                                                                                    \
    /* Phi(x) + x phi(x) */                                                                              \
    CB_MATH T gelu_slope_##f32(T x) {                                                                    \
        T a = fabs_##f32(x);                                                                             \
        a = a > 40 ? 40 : a;                                                                             \
        T way = (T)0.39894228040143267794 * a * exp_##f32((T)-0.5 * a * a);                              \
        T tail = (T)0.5 * erfc_##f32((T)0.70710678118654752440 * a);                                     \
        return x < 0 ? tail - way : 1 - tail + way;                                                      \
    }                                                                                                    \
    /* s + x s (1 - s) (2u)', s = sigmoid(2u) as in gelu_tanh; far out it is 0 or 1 */                   \
    CB_MATH T gelu_tanh_slope_##f32(T x) {                                                               \
        T b = x < -40 ? -40 : x > 40 ? 40 : x;                                                           \
        T s = sigmoid_##f32((T)1.59576912160573071176 * b * (1 + (T)0.044715 * b * b));                  \
        return s + s * (1 - s) * b * (T)1.59576912160573071176 * (1 + (T)0.134145 * b * b);              \
    }
CB_LIBM_DERIVED(float, f32)
CB_LIBM_DERIVED(double, f64)

#endif
