/* Integer formulas of ops.def for operands of any width, signed or unsigned, without undefined behaviour
 * or traps.
 *
 * The macros are expressions: values travel through 64-bit helpers and the assignment to the operand's
 * type wraps. uint64 alone does not fit int64 and has helpers of its own; CB_INT_IS_U64 sees it by size
 * and by the sign of x * 0 - 1 (narrow unsigned types promote to int, and int64 holds their values). A
 * zero divisor gives 0. */
#ifndef CB_INTMATH_H
#define CB_INTMATH_H

#include <stdint.h>

#if defined(__CUDACC__)
#define CB_INT static __device__ __host__ inline
#else
#define CB_INT static inline
#endif

#define CB_INT_IS_U64(x) (sizeof(x) == 8 && (x) * 0 - 1 > 1)
#define CB_INT_CALL(f, x, y) \
    (CB_INT_IS_U64(x) ? (int64_t)f##_u64((uint64_t)(x), (uint64_t)(y)) : f##_i64((int64_t)(x), (int64_t)(y)))

#define INT_FLOOR_DIVIDE(x, y) CB_INT_CALL(cb_floor_divide, x, y)
#define INT_TRUNC_DIVIDE(x, y) CB_INT_CALL(cb_trunc_divide, x, y)
#define INT_REMAINDER(x, y) CB_INT_CALL(cb_remainder, x, y)
#define INT_FMOD(x, y) CB_INT_CALL(cb_fmod, x, y)
#define INT_POW(x, y) CB_INT_CALL(cb_ipow, x, y)
#define INT_GCD(x, y) CB_INT_CALL(cb_gcd, x, y)
#define INT_LCM(x, y) CB_INT_CALL(cb_lcm, x, y)
/* a count outside [0, width) shifts everything out; right shifts of negative numbers fill with the sign */
#define INT_SHIFT_LEFT(x, y) \
    ((uint64_t)(y) < 8 * sizeof(x) ? (int64_t)((uint64_t)(x) << ((uint64_t)(y) & 63)) : (int64_t)0)
#define INT_SHIFT_RIGHT(x, y)                                                                     \
    (CB_INT_IS_U64(x) ? (int64_t)((uint64_t)(y) < 64 ? (uint64_t)(x) >> ((uint64_t)(y) & 63) : 0) \
                      : (int64_t)(x) >> ((uint64_t)(y) < 8 * sizeof(x) ? (uint64_t)(y) & 63 : 63))

/* the wrapped value of an unsigned result: well defined on every compiler we support (two's complement) */
CB_INT int64_t cb_wrap_i64(uint64_t x) { return (int64_t)x; }
CB_INT uint64_t cb_magnitude_i64(int64_t x) { return x < 0 ? 0 - (uint64_t)x : (uint64_t)x; }

/* ---- division: y = -1 is negation, as INT64_MIN / -1 traps; y = 0 divides by 1 and drops the result ---- */
CB_INT int64_t cb_trunc_divide_i64(int64_t x, int64_t y) {
    int special = y == 0 || y == -1;
    int64_t q = x / (special ? 1 : y);
    return !special ? q : (y == 0 ? 0 : cb_wrap_i64(0 - (uint64_t)x));
}
CB_INT int64_t cb_fmod_i64(int64_t x, int64_t y) { return x % (y == 0 || y == -1 ? 1 : y); }
CB_INT int64_t cb_remainder_i64(int64_t x, int64_t y) {
    int64_t r = cb_fmod_i64(x, y);
    return r != 0 && (r ^ y) < 0 ? r + y : r;
}
CB_INT int64_t cb_floor_divide_i64(int64_t x, int64_t y) {
    int64_t r = cb_fmod_i64(x, y), q = cb_trunc_divide_i64(x, y);
    return r != 0 && (r ^ y) < 0 ? q - 1 : q;
}
CB_INT uint64_t cb_trunc_divide_u64(uint64_t x, uint64_t y) { return y == 0 ? 0 : x / y; }
CB_INT uint64_t cb_floor_divide_u64(uint64_t x, uint64_t y) { return y == 0 ? 0 : x / y; }
CB_INT uint64_t cb_fmod_u64(uint64_t x, uint64_t y) { return y == 0 ? 0 : x % y; }
CB_INT uint64_t cb_remainder_u64(uint64_t x, uint64_t y) { return y == 0 ? 0 : x % y; }

/* ---- powers: by squaring, modulo 2^64 and so modulo 2^width ---- */
CB_INT uint64_t cb_ipow_u64(uint64_t x, uint64_t y) {
    uint64_t power = 1;
    for (; y; y >>= 1) {
        power *= y & 1 ? x : 1;
        x *= x;
    }
    return power;
}
/* a negative exponent gives the reciprocal rounded towards zero: 0, except for the units */
CB_INT int64_t cb_ipow_i64(int64_t x, int64_t y) {
    int64_t unit = x == 1 ? 1 : (x == -1 ? (y & 1 ? -1 : 1) : 0);
    return y < 0 ? unit : cb_wrap_i64(cb_ipow_u64((uint64_t)x, (uint64_t)y));
}

/* ---- divisors: results are not negative, up to wrapping; gcd(0, 0) = 0 and lcm with 0 is 0 ---- */
CB_INT uint64_t cb_gcd_u64(uint64_t x, uint64_t y) {
    while (y) {
        uint64_t r = x % y;
        x = y;
        y = r;
    }
    return x;
}
CB_INT uint64_t cb_lcm_u64(uint64_t x, uint64_t y) {
    uint64_t d = cb_gcd_u64(x, y);
    return d ? x / d * y : 0;
}
CB_INT int64_t cb_gcd_i64(int64_t x, int64_t y) {
    return cb_wrap_i64(cb_gcd_u64(cb_magnitude_i64(x), cb_magnitude_i64(y)));
}
CB_INT int64_t cb_lcm_i64(int64_t x, int64_t y) {
    return cb_wrap_i64(cb_lcm_u64(cb_magnitude_i64(x), cb_magnitude_i64(y)));
}

#endif
