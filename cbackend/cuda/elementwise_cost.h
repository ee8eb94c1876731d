/* Which group an op is in (elementwise.h), as constants: kernels of a group contain its ops only. */
#ifndef CB_ELEMENTWISE_COST_H
#define CB_ELEMENTWISE_COST_H

#include "elementwise.h"

/* clang-format finds no lasting form for these lists */
/* clang-format off */
#define CB_MATH_OPS_1(X)                                                                                   \
    X(exp) X(exp2) X(expm1) X(log) X(log2) X(log10) X(log1p) X(sigmoid) X(sin) X(cos) X(tan) X(asin)       \
    X(acos) X(atan) X(sinh) X(cosh) X(tanh) X(asinh) X(acosh) X(atanh) X(erf) X(erfc) X(gelu) X(gelu_tanh) \
    X(silu) X(logsigmoid)
#define CB_MATH_OPS_2(X)                                                                                   \
    X(floor_divide) X(remainder) X(fmod) X(pow) X(atan2) X(hypot) X(logaddexp) X(xlogy) X(gelu_grad)       \
    X(gelu_tanh_grad) X(silu_grad) X(elu) X(sin_grad) X(cos_grad)
#define CB_MATH_OPS_3(X) X(elu_grad)
#define CB_SPECIAL_OPS_1(X)                                                                                \
    X(erfinv) X(lgamma) X(digamma) X(erfcinv) X(erfcx) X(airy_ai) X(airy_ai_prime) X(bessel_j0)            \
    X(bessel_j1) X(bessel_y0) X(bessel_y1) X(i0) X(i0e) X(i1) X(i1e) X(modified_bessel_k0)                 \
    X(modified_bessel_k1) X(scaled_modified_bessel_k0) X(scaled_modified_bessel_k1)
#define CB_SPECIAL_OPS_2(X)                                                                                \
    X(zeta) X(igamma) X(igammac) X(erfcx_derivative) X(bessel_jn) X(bessel_yn) X(scaled_bessel_in)         \
    X(scaled_bessel_kn) X(chebyshev_polynomial_t) X(chebyshev_polynomial_u) X(chebyshev_polynomial_v)      \
    X(chebyshev_polynomial_w) X(hermite_polynomial_h) X(hermite_polynomial_he)
#define CB_SPECIAL_OPS_3(X) X(betainc) X(gamma_moment) X(gegenbauer) X(laguerre)
/* clang-format on */

constexpr cb_cost cb_cost_of(int family, int op) {
    if (family == CB_FAMILY_UNARY) {
        switch (op) {
#define CB_CASE(name) case CB_UNARY_##name:
            CB_MATH_OPS_1(CB_CASE) return CB_MATH_COST;
            CB_SPECIAL_OPS_1(CB_CASE) return CB_SPECIAL_COST;
#undef CB_CASE
        }
    } else if (family == CB_FAMILY_BINARY) {
        switch (op) {
#define CB_CASE(name) case CB_BINARY_##name:
            CB_MATH_OPS_2(CB_CASE) return CB_MATH_COST;
            CB_SPECIAL_OPS_2(CB_CASE) return CB_SPECIAL_COST;
#undef CB_CASE
        }
    } else {
        switch (op) {
#define CB_CASE(name) case CB_TERNARY_##name:
            CB_MATH_OPS_3(CB_CASE) return CB_MATH_COST;
            CB_SPECIAL_OPS_3(CB_CASE) return CB_SPECIAL_COST;
#undef CB_CASE
        }
    }
    return CB_CHEAP;
}

/* the formulas of a dtype (elementwise_typed.h) */
template <typename T, int COST> struct cb_ops;
/* long functions once a loop, not once an item of it */
#define CB_UNROLL _Pragma("unroll 1")
#endif
