/* Complex functions for every C(f) in ops.def: <f>_c64 and <f>_c128, through C11's <complex.h>, or in the C++
 * of CUDA kernels through what cuda/vcomplex_device.h puts in its place.
 *
 * The types cb_complex64 and cb_complex128 are internal.h's. complex64 computes in double throughout:
 * nothing overflows on the way and the result is good to half an ulp. Magnitudes, angles and quotients are
 * free of branches, so that loops over them become vector code; what calls libm is not. */
#ifndef CB_VCOMPLEX_H
#define CB_VCOMPLEX_H

#include "vmath.h"

#if !defined(__cplusplus)
#define CB_CMATH static inline
#include <complex.h>
#undef I /* too short a name to leave to the kernels */

/* x + iy without the multiplication by i, which would turn an infinite y into a nan real part */
CB_CMATH cb_complex128 cb_complex(double re, double im) { return __builtin_complex(re, im); }
#endif

/* ---- real results ---- */
CB_CMATH double abs_c128(cb_complex128 z) { return hypot_f64(creal(z), cimag(z)); }
CB_CMATH double angle_c128(cb_complex128 z) { return atan2_f64(cimag(z), creal(z)); }
CB_CMATH int isinf_c128(cb_complex128 z) { return fabs(creal(z)) == INFINITY || fabs(cimag(z)) == INFINITY; }
CB_CMATH int isfinite_c128(cb_complex128 z) { return fabs(creal(z)) < INFINITY && fabs(cimag(z)) < INFINITY; }
CB_CMATH float abs_c64(cb_complex64 z) { return hypot_f32(crealf(z), cimagf(z)); }
CB_CMATH float angle_c64(cb_complex64 z) { return atan2_f32(cimagf(z), crealf(z)); }
CB_CMATH int isinf_c64(cb_complex64 z) {
    return fabsf(crealf(z)) == INFINITY || fabsf(cimagf(z)) == INFINITY;
}
CB_CMATH int isfinite_c64(cb_complex64 z) {
    return fabsf(crealf(z)) < INFINITY && fabsf(cimagf(z)) < INFINITY;
}

/* ---- arithmetic ---- */
CB_CMATH cb_complex128 conj_c128(cb_complex128 z) { return conj(z); }
/* z / |z|; 0 stays 0 */
CB_CMATH cb_complex128 sgn_c128(cb_complex128 z) {
    double r = abs_c128(z);
    return cb_complex(r == 0 ? 0 : creal(z) / r, r == 0 ? 0 : cimag(z) / r);
}
/* (a + ib) / (c + id) from squares and products that neither overflow nor vanish. By zero: each part is
 * divided by 0, giving inf or nan as for reals; a finite number by infinity: 0. */
CB_CMATH cb_complex128 cb_quotient(double a, double b, double c, double d) {
    double size = c * c + d * d, inf = inf_f64();
    c = size == inf ? copysign_f64(fabs_f64(c) == inf ? 1.0 : 0.0, c) : c;
    d = size == inf ? copysign_f64(fabs_f64(d) == inf ? 1.0 : 0.0, d) : d;
    return cb_complex((size == 0 ? a : a * c + b * d) / size, (size == 0 ? b : b * c - a * d) / size);
}
/* the biased exponent of the larger one, within what the inverse power of two has */
CB_CMATH int64_t cb_exponent_of(double x, double y) {
    double most = fabs_f64(x) > fabs_f64(y) ? fabs_f64(x) : fabs_f64(y);
    int64_t e = (int64_t)(cb_bits_f64(most) >> 52);
    e = e < 1 ? 1 : e;
    return e > 2045 ? 2045 : e;
}
CB_CMATH double cb_power_of_two(int64_t biased) { return cb_from_bits_f64((uint64_t)biased << 52); }
CB_CMATH cb_complex128 div_c128(cb_complex128 x, cb_complex128 y) {
    int64_t ex = cb_exponent_of(creal(x), cimag(x)), ey = cb_exponent_of(creal(y), cimag(y));
    double sx = cb_power_of_two(2046 - ex), sy = cb_power_of_two(2046 - ey);
    cb_complex128 q = cb_quotient(creal(x) * sx, cimag(x) * sx, creal(y) * sy, cimag(y) * sy);
    int64_t half = (int64_t)((uint64_t)(ex - ey + 2046) >> 1); /* 2^(ex - ey) may be out of range */
    double s1 = cb_power_of_two(half), s2 = cb_power_of_two(ex - ey + 2046 - half);
    return cb_complex(creal(q) * s1 * s2, cimag(q) * s1 * s2);
}
CB_CMATH cb_complex128 reciprocal_c128(cb_complex128 z) { return div_c128(cb_complex(1, 0), z); }

/* ---- exponentials, logarithms, powers ---- */
CB_CMATH cb_complex128 sqrt_c128(cb_complex128 z) { return csqrt(z); }
CB_CMATH cb_complex128 exp_c128(cb_complex128 z) { return cexp(z); }
CB_CMATH cb_complex128 exp2_c128(cb_complex128 z) {
    double scale = exp2(creal(z)), angle = 0.69314718055994530942 * cimag(z);
    if (cimag(z) == 0 || !isfinite_c128(z)) return cexp(cb_complex(0.69314718055994530942 * creal(z), angle));
    return cb_complex(scale * cos(angle), scale * sin(angle));
}
/* real part expm1(a) cos b - 2 sin^2(b/2): no cancellation at z = 0 */
CB_CMATH cb_complex128 expm1_c128(cb_complex128 z) {
    double a = creal(z), b = cimag(z), s = sin(0.5 * b);
    if (b == 0) return cb_complex(expm1(a), b);
    if (!isfinite_c128(z) || a > 40) return cexp(z) - 1;
    return cb_complex(expm1(a) * cos(b) - 2 * s * s, exp(a) * sin(b));
}
CB_CMATH cb_complex128 log_c128(cb_complex128 z) { return clog(z); }
CB_CMATH cb_complex128 log2_c128(cb_complex128 z) {
    cb_complex128 w = clog(z);
    return cb_complex(1.44269504088896340736 * creal(w), 1.44269504088896340736 * cimag(w));
}
CB_CMATH cb_complex128 log10_c128(cb_complex128 z) {
    cb_complex128 w = clog(z);
    return cb_complex(0.43429448190325182765 * creal(w), 0.43429448190325182765 * cimag(w));
}
/* |1 + z|^2 - 1 = a (2 + a) + b^2 for small z, where 1 + z would drop digits */
CB_CMATH cb_complex128 log1p_c128(cb_complex128 z) {
    double a = creal(z), b = cimag(z);
    double re = fabs(a) < 0.5 && fabs(b) < 0.5 ? 0.5 * log1p(a * (2 + a) + b * b) : log(hypot(1 + a, b));
    return cb_complex(re, atan2(b, 1 + a));
}
/* the exponential that does not overflow */
CB_CMATH cb_complex128 sigmoid_c128(cb_complex128 z) {
    int negative = creal(z) < 0;
    cb_complex128 e = cexp(negative ? z : -z), one = cb_complex(1, 0);
    return div_c128(negative ? e : one, one + e);
}
/* exp(y log x), or products and roots for the commonest y; 0^0 = 1, and 0^y = 0 where the real part of y is
 * positive */
CB_CMATH cb_complex128 pow_c128(cb_complex128 x, cb_complex128 y) {
    if (cimag(y) == 0) {
        double p = creal(y);
        if (p == 1) return x;
        if (p == 2) return x * x;
        if (p == 3) return x * x * x;
        if (p == 0.5) return sqrt_c128(x);
        if (p == -1) return reciprocal_c128(x);
    }
    if (creal(y) == 0 && cimag(y) == 0) return cb_complex(1, 0);
    if (creal(x) == 0 && cimag(x) == 0 && creal(y) > 0) return cb_complex(0, 0);
    return cpow(x, y);
}

/* ---- trigonometric and hyperbolic ---- */
#define CB_COMPLEX_LIBM(f) \
    CB_CMATH cb_complex128 f##_c128(cb_complex128 z) { return c##f(z); }
CB_COMPLEX_LIBM(sin)
CB_COMPLEX_LIBM(cos)
CB_COMPLEX_LIBM(tan)
CB_COMPLEX_LIBM(asin)
CB_COMPLEX_LIBM(acos)
CB_COMPLEX_LIBM(atan)
CB_COMPLEX_LIBM(sinh)
CB_COMPLEX_LIBM(cosh)
CB_COMPLEX_LIBM(tanh)
CB_COMPLEX_LIBM(asinh)
CB_COMPLEX_LIBM(acosh)
CB_COMPLEX_LIBM(atanh)

/* ---- complex64 ---- */
#define CB_COMPLEX_NARROW(f) \
    CB_CMATH cb_complex64 f##_c64(cb_complex64 z) { return (cb_complex64)f##_c128((cb_complex128)z); }
CB_COMPLEX_NARROW(conj)
CB_COMPLEX_NARROW(sgn)
CB_COMPLEX_NARROW(sqrt)
CB_COMPLEX_NARROW(exp)
CB_COMPLEX_NARROW(exp2)
CB_COMPLEX_NARROW(expm1)
CB_COMPLEX_NARROW(log)
CB_COMPLEX_NARROW(log2)
CB_COMPLEX_NARROW(log10)
CB_COMPLEX_NARROW(log1p)
CB_COMPLEX_NARROW(sigmoid)
CB_COMPLEX_NARROW(sin)
CB_COMPLEX_NARROW(cos)
CB_COMPLEX_NARROW(tan)
CB_COMPLEX_NARROW(asin)
CB_COMPLEX_NARROW(acos)
CB_COMPLEX_NARROW(atan)
CB_COMPLEX_NARROW(sinh)
CB_COMPLEX_NARROW(cosh)
CB_COMPLEX_NARROW(tanh)
CB_COMPLEX_NARROW(asinh)
CB_COMPLEX_NARROW(acosh)
CB_COMPLEX_NARROW(atanh)
CB_CMATH cb_complex64 div_c64(cb_complex64 x, cb_complex64 y) { /* squares of floats fit double */
    return (cb_complex64)cb_quotient(crealf(x), cimagf(x), crealf(y), cimagf(y));
}
CB_CMATH cb_complex64 reciprocal_c64(cb_complex64 z) {
    return (cb_complex64)cb_quotient(1, 0, crealf(z), cimagf(z));
}
CB_CMATH cb_complex64 pow_c64(cb_complex64 x, cb_complex64 y) {
    return (cb_complex64)pow_c128((cb_complex128)x, (cb_complex128)y);
}

#endif
