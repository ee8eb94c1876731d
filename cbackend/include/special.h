/* Special functions that are long scalar code: their formulas lie in special/, in double, compiled once for
 * the CPU (src/special.c) and not once an instruction-set level, since they do not vectorise. The float
 * versions compute in double and round.
 *
 * Accuracy bounds are asserted by tests/test_special.c. nvcc includes the formulas themselves. */
#ifndef CB_SPECIAL_H
#define CB_SPECIAL_H

#include <math.h>

#if defined(__CUDACC__)
#define CB_SPECIAL static __device__ __host__ inline
#if defined(__CUDA_ARCH__)
#define CB_SPECIAL_TABLE static __device__ const double
#else
#define CB_SPECIAL_TABLE static const double
#endif
#include "special/airy.h"
#include "special/bessel.h"
#include "special/erfcx.h"
#include "special/gamma.h"
#include "special/polynomials.h"
#elif defined(__cplusplus)
#define CB_SPECIAL extern "C" __attribute__((visibility("hidden")))
#else
#define CB_SPECIAL __attribute__((visibility("hidden")))
#define CB_SPECIAL_TABLE static const double
#endif
#define CB_SPECIAL_1(name)                                       \
    CB_SPECIAL double cb_##name(double x);                       \
    CB_MATH double name##_f64(double x) { return cb_##name(x); } \
    CB_MATH float name##_f32(float x) { return (float)cb_##name((double)x); }
#define CB_SPECIAL_2(name)                                                    \
    CB_SPECIAL double cb_##name(double x, double y);                          \
    CB_MATH double name##_f64(double x, double y) { return cb_##name(x, y); } \
    CB_MATH float name##_f32(float x, float y) { return (float)cb_##name((double)x, (double)y); }
#define CB_SPECIAL_3(name)                                                                 \
    CB_SPECIAL double cb_##name(double x, double y, double z);                             \
    CB_MATH double name##_f64(double x, double y, double z) { return cb_##name(x, y, z); } \
    CB_MATH float name##_f32(float x, float y, float z) {                                  \
        return (float)cb_##name((double)x, (double)y, (double)z);                          \
    }

CB_SPECIAL_1(erfcx)
CB_SPECIAL_1(airy_ai)
CB_SPECIAL_1(airy_ai_prime)
CB_SPECIAL_1(bessel_j0)
CB_SPECIAL_1(bessel_j1)
CB_SPECIAL_1(bessel_y0)
CB_SPECIAL_1(bessel_y1)
CB_SPECIAL_1(i0)
CB_SPECIAL_1(i0e)
CB_SPECIAL_1(i1)
CB_SPECIAL_1(i1e)
CB_SPECIAL_1(modified_bessel_k0)
CB_SPECIAL_1(modified_bessel_k1)
CB_SPECIAL_1(scaled_modified_bessel_k0)
CB_SPECIAL_1(scaled_modified_bessel_k1)
CB_SPECIAL_2(igamma)
CB_SPECIAL_2(igammac)
CB_SPECIAL_2(erfcx_derivative)
CB_SPECIAL_2(bessel_jn)
CB_SPECIAL_2(bessel_yn)
CB_SPECIAL_2(scaled_bessel_in)
CB_SPECIAL_2(scaled_bessel_kn)
CB_SPECIAL_2(chebyshev_polynomial_t)
CB_SPECIAL_2(chebyshev_polynomial_u)
CB_SPECIAL_2(chebyshev_polynomial_v)
CB_SPECIAL_2(chebyshev_polynomial_w)
CB_SPECIAL_2(hermite_polynomial_h)
CB_SPECIAL_2(hermite_polynomial_he)
CB_SPECIAL_3(betainc)
CB_SPECIAL_3(gamma_moment)
CB_SPECIAL_3(gegenbauer)
CB_SPECIAL_3(laguerre)
#endif
