/* Scalar math for the kernels' loops: <f>_f32(float) and <f>_f64(double) for every M(f) in ops.def.
 *
 * The functions are branch-free (polynomials, bit patterns, selects), so that the compiler turns a loop
 * over them into vector code at whatever width the target has: compile with -O3 -fno-math-errno -fno-
 * trapping-math, never with -ffast-math, as nan, inf, signed zeros and denormals are handled by ordinary
 * IEEE arithmetic. Accuracy bounds are asserted by tests/test_vmath.c. Also compiles as C++, and by nvcc
 * for host and device. */
#ifndef CB_VMATH_H
#define CB_VMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__CUDACC__)
#define CB_MATH static __device__ __host__ inline
#else
#define CB_MATH static inline __attribute__((always_inline)) /* a call would end vectorisation */
#endif

/* x * y + z. Explicit, since -std=c11 switches contraction off; exact products never rely on it. */
#if defined(__CUDACC__)
#define CB_FMA_F32(x, y, z) fmaf(x, y, z)
#define CB_FMA_F64(x, y, z) fma(x, y, z)
#define CB_HAVE_FMA 1
#elif defined(__FP_FAST_FMAF) && defined(__FP_FAST_FMA)
#define CB_FMA_F32(x, y, z) __builtin_fmaf(x, y, z)
#define CB_FMA_F64(x, y, z) __builtin_fma(x, y, z)
#define CB_HAVE_FMA 1
#else
#define CB_FMA_F32(x, y, z) ((x) * (y) + (z))
#define CB_FMA_F64(x, y, z) ((x) * (y) + (z))
#define CB_HAVE_FMA 0
#endif

/* c0 + x (c1 + x (c2 + ...)) of degree n; F is one of the two above, x a variable */
#define CB_HORNER_1(F, x, c, d) F(d, x, c)
#define CB_HORNER_2(F, x, c, ...) F(CB_HORNER_1(F, x, __VA_ARGS__), x, c)
#define CB_HORNER_3(F, x, c, ...) F(CB_HORNER_2(F, x, __VA_ARGS__), x, c)
#define CB_HORNER_4(F, x, c, ...) F(CB_HORNER_3(F, x, __VA_ARGS__), x, c)
#define CB_HORNER_5(F, x, c, ...) F(CB_HORNER_4(F, x, __VA_ARGS__), x, c)
#define CB_HORNER_6(F, x, c, ...) F(CB_HORNER_5(F, x, __VA_ARGS__), x, c)
#define CB_HORNER_7(F, x, c, ...) F(CB_HORNER_6(F, x, __VA_ARGS__), x, c)
#define CB_HORNER_8(F, x, c, ...) F(CB_HORNER_7(F, x, __VA_ARGS__), x, c)
#define CB_HORNER_9(F, x, c, ...) F(CB_HORNER_8(F, x, __VA_ARGS__), x, c)
#define CB_HORNER_10(F, x, c, ...) F(CB_HORNER_9(F, x, __VA_ARGS__), x, c)
#define CB_HORNER_11(F, x, c, ...) F(CB_HORNER_10(F, x, __VA_ARGS__), x, c)
#define CB_HORNER_12(F, x, c, ...) F(CB_HORNER_11(F, x, __VA_ARGS__), x, c)
#define CB_HORNER_13(F, x, c, ...) F(CB_HORNER_12(F, x, __VA_ARGS__), x, c)
#define CB_HORNER_14(F, x, c, ...) F(CB_HORNER_13(F, x, __VA_ARGS__), x, c)
#define CB_HORNER_15(F, x, c, ...) F(CB_HORNER_14(F, x, __VA_ARGS__), x, c)
#define CB_HORNER_16(F, x, c, ...) F(CB_HORNER_15(F, x, __VA_ARGS__), x, c)
#define CB_HORNER_17(F, x, c, ...) F(CB_HORNER_16(F, x, __VA_ARGS__), x, c)
#define CB_HORNER_18(F, x, c, ...) F(CB_HORNER_17(F, x, __VA_ARGS__), x, c)
#define CB_HORNER_19(F, x, c, ...) F(CB_HORNER_18(F, x, __VA_ARGS__), x, c)
#define CB_HORNER_20(F, x, c, ...) F(CB_HORNER_19(F, x, __VA_ARGS__), x, c)
#define CB_HORNER_21(F, x, c, ...) F(CB_HORNER_20(F, x, __VA_ARGS__), x, c)
#define CB_HORNER_22(F, x, c, ...) F(CB_HORNER_21(F, x, __VA_ARGS__), x, c)

/* ---- bit patterns ---- */
CB_MATH uint32_t cb_bits_f32(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
CB_MATH uint64_t cb_bits_f64(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
CB_MATH float cb_from_bits_f32(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
CB_MATH double cb_from_bits_f64(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
/* yes ? x : y by masking: with ?: the compiler may move y's table look-ups under the condition, and then
 * does not vectorise them */
CB_MATH double cb_choose_f64(int yes, double x, double y) {
    uint64_t mask = yes ? ~(uint64_t)0 : 0;
    return cb_from_bits_f64((cb_bits_f64(x) & mask) | (cb_bits_f64(y) & ~mask));
}

/* ---- what the hardware does: one instruction each once inlined ---- */
CB_MATH float inf_f32(void) { return cb_from_bits_f32(0x7f800000u); }
CB_MATH double inf_f64(void) { return cb_from_bits_f64(0x7ff0000000000000u); }
CB_MATH float fabs_f32(float x) { return fabsf(x); }
CB_MATH double fabs_f64(double x) { return fabs(x); }
CB_MATH float floor_f32(float x) { return floorf(x); }
CB_MATH double floor_f64(double x) { return floor(x); }
CB_MATH float ceil_f32(float x) { return ceilf(x); }
CB_MATH double ceil_f64(double x) { return ceil(x); }
CB_MATH float trunc_f32(float x) { return truncf(x); }
CB_MATH double trunc_f64(double x) { return trunc(x); }
CB_MATH float rint_f32(float x) { return rintf(x); }
CB_MATH double rint_f64(double x) { return rint(x); }
CB_MATH float sqrt_f32(float x) { return sqrtf(x); }
CB_MATH double sqrt_f64(double x) { return sqrt(x); }
CB_MATH float copysign_f32(float x, float y) { return copysignf(x, y); }
CB_MATH double copysign_f64(double x, double y) { return copysign(x, y); }
CB_MATH int signbit_f32(float x) { return (int)(cb_bits_f32(x) >> 31); }
CB_MATH int signbit_f64(double x) { return (int)(cb_bits_f64(x) >> 63); }

/* The neighbour of x towards y, on the bit patterns: magnitude up or down by one unit, 0 steps to
 * +-denorm_min. */
#define CB_NEXTAFTER(T, U, f32, sign_bit)                        \
    CB_MATH T nextafter_##f32(T x, T y) {                        \
        U bits = cb_bits_##f32(x);                               \
        U step = ((y > x) == (x > 0)) ? bits + 1 : bits - 1;     \
        U from_zero = (cb_bits_##f32(y) & (sign_bit)) | 1u;      \
        T moved = cb_from_bits_##f32(x == 0 ? from_zero : step); \
        return x == y ? y : (x != x || y != y ? x + y : moved);  \
    }
CB_NEXTAFTER(float, uint32_t, f32, 0x80000000u)
CB_NEXTAFTER(double, uint64_t, f64, 0x8000000000000000u)

#if defined(__CUDACC__) || defined(CB_VMATH_LIBM)
#include "vmath_libm.h"
#else
#include "vmath_exp.h"
#include "vmath_trig.h"
#include "vmath_special.h"
#endif
#if !defined(CB_RTC) /* kernels compiled at run time do without the long ones */
#include "vmath_gamma.h"
#include "special.h"
#endif

/* ---- compositions; the signs and special cases are PyTorch's ---- */
CB_MATH float fmod_f32(float x, float y) { return fmodf(x, y); }
CB_MATH double fmod_f64(double x, double y) { return fmod(x, y); }

#define CB_COMPOSED(T, f32)                                                                             \
    /* of r = fmod(x, y): the result has the divisor's sign, as in Python */                            \
    CB_MATH T cb_remainder_of_##f32(T r, T x, T y) {                                                    \
        return (void)x, r != 0 && (y < 0) != (r < 0) ? r + y : r;                                       \
    }                                                                                                   \
    CB_MATH T remainder_##f32(T x, T y) { return cb_remainder_of_##f32(fmod_##f32(x, y), x, y); }       \
    /* floor of the exact quotient: x - r is a multiple of y up to rounding, which the half repairs */  \
    CB_MATH T cb_floor_divide_of_##f32(T r, T x, T y) {                                                 \
        T ratio = x / y, q = (x - r) / y;                                                               \
        q = r != 0 && (y < 0) != (r < 0) ? q - 1 : q;                                                   \
        T down = floor_##f32(q);                                                                        \
        down = q - down > (T)0.5 ? down + 1 : down;                                                     \
        down = q == 0 ? copysign_##f32((T)0, ratio) : down;                                             \
        return y == 0 ? ratio : down;                                                                   \
    }                                                                                                   \
    CB_MATH T floor_divide_##f32(T x, T y) { return cb_floor_divide_of_##f32(fmod_##f32(x, y), x, y); } \
    /* nan in any operand propagates; with lo > hi the result is hi */                                  \
    CB_MATH T clamp_##f32(T x, T lo, T hi) {                                                            \
        T up = x < lo || lo != lo ? lo : x;                                                             \
        return up > hi || hi != hi ? hi : up;                                                           \
    }                                                                                                   \
    /* two forms, so that both ends are met exactly and the result is monotonic in w */                 \
    CB_MATH T lerp_##f32(T x, T y, T w) {                                                               \
        T d = y - x;                                                                                    \
        return fabs_##f32(w) < (T)0.5 ? x + w * d : y - d * (1 - w);                                    \
    }                                                                                                   \
    /* log(exp x + exp y); two equal infinities would give inf - inf */                                 \
    CB_MATH T logaddexp_##f32(T x, T y) {                                                               \
        T m = x > y ? x : y, d = fabs_##f32(x - y);                                                     \
        T sum = m + cb_log1p_unit_##f32(exp_##f32(-d));                                                 \
        sum = x == y && fabs_##f32(x) == inf_##f32() ? x : sum;                                         \
        return x != x || y != y ? x + y : sum;                                                          \
    }
CB_COMPOSED(float, f32)
CB_COMPOSED(double, f64)

#endif
