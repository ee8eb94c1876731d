#ifndef CB_TMP_H
#define CB_TMP_H
#define CB_LIBM_UNARY(name)                                     \
    CB_MATH float name##_f32(float x) { return name##f(x); }    \
    CB_MATH double name##_f64(double x) { return name(x); }
#define CB_LIBM_BINARY(name)                                               \
    CB_MATH float name##_f32(float x, float y) { return name##f(x, y); }   \
    CB_MATH double name##_f64(double x, double y) { return name(x, y); }

CB_LIBM_UNARY(sin)
CB_LIBM_UNARY(cos)
CB_LIBM_UNARY(tan)
CB_LIBM_UNARY(asin)
CB_LIBM_UNARY(acos)
CB_LIBM_UNARY(atan)
CB_LIBM_UNARY(erf)
CB_LIBM_UNARY(erfc)
CB_LIBM_BINARY(atan2)
CB_LIBM_BINARY(hypot)
/* exp(-|x|) never overflows, and 1 - sigmoid(-x) is not formed: the small tail keeps its relative accuracy */
#define CB_LIBM_DERIVED(T, f32)                                                                   \
    /* x Phi(x); erfc keeps the negative tail accurate */                                         \
    CB_MATH T gelu_##f32(T x) {                                                                   \
        T tail = (T)0.5 * erfc_##f32((T)-0.70710678118654752440 * x);                             \
        return tail == 0 ? (x != x ? x : (T)-0.0) : x * tail;                                     \
    }                                                                                             \
    /* 0.5 x (1 + tanh u) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3): Hendrycks & Gimpel 2016 */ \
    CB_MATH T gelu_tanh_##f32(T x) {                                                              \
        T s = sigmoid_##f32((T)1.59576912160573071176 * x * (1 + (T)0.044715 * x * x));           \
        return s == 0 ? (T)-0.0 : x * s;                                                          \
    }
CB_LIBM_DERIVED(float, f32)
CB_LIBM_DERIVED(double, f64)

#endif
