/* fmod, remainder and floor_divide of floats, many at a time.
 *
 * While the quotient is below 2^p / 2 for p bits of mantissa, its whole part q is right or one too large in
 * magnitude, and x - q y is a float, so that a fused multiply-add gives it exactly: the result has the bits
 * of fmod(). Blocks with larger quotients, infinities or nan are gone through again, one by one. */
#include "cpu.h"
#include "vmath.h"

#if defined(__FMA__)
enum { BLOCK = 256 };
#define FMA_f32 __builtin_fmaf
#define FMA_f64 __builtin_fma

/* OF: of r = fmod(x, y); EXACT: the same by the C library */
#define KERNEL(name, T, f32, LIMIT, OF, EXACT)                                                \
    CB_INLINE T rest_##name(T x, T y) {                                                       \
        T r = FMA_##f32(-trunc_##f32(x / y), y, x);                                           \
        r = r != 0 && (r < 0) != (x < 0) ? r + copysign_##f32(y, x) : r;                      \
        r = copysign_##f32(r, x);                                                             \
        return OF;                                                                            \
    }                                                                                         \
    static void name(int64_t n, void *out_, const void *const *in) {                          \
        for (int64_t begin = 0; begin < n; begin += BLOCK) {                                  \
            T *out = (T *)out_ + begin;                                                       \
            const T *xs = (const T *)in[0] + begin, *ys = (const T *)in[1] + begin;           \
            int64_t count = n - begin < BLOCK ? n - begin : BLOCK;                            \
            int far = 0;                                                                      \
            T made[BLOCK]; /* the result may lie over an operand */                           \
            for (int64_t i = 0; i < count; i++) {                                             \
                T x = xs[i], y = ys[i];                                                       \
                far |= !(fabs_##f32(x / y) < LIMIT);                                          \
                made[i] = rest_##name(x, y);                                                  \
            }                                                                                 \
            for (int64_t i = 0; i < count && far; i++) made[i] = EXACT##_##f32(xs[i], ys[i]); \
            memcpy(out, made, (size_t)count * sizeof(T));                                     \
        }                                                                                     \
    }
KERNEL(fmod_floats, float, f32, 0x1p23f, r, fmod)
KERNEL(fmod_doubles, double, f64, 0x1p52, r, fmod)
KERNEL(remainder_floats, float, f32, 0x1p23f, cb_remainder_of_f32(r, x, y), remainder)
KERNEL(remainder_doubles, double, f64, 0x1p52, cb_remainder_of_f64(r, x, y), remainder)
KERNEL(floor_divide_floats, float, f32, 0x1p23f, cb_floor_divide_of_f32(r, x, y), floor_divide)
KERNEL(floor_divide_doubles, double, f64, 0x1p52, cb_floor_divide_of_f64(r, x, y), floor_divide)

cb_kernel CB_FN(modulo_kernel)(int op, int dtype) {
    if (dtype != CB_F32 && dtype != CB_F64) return NULL;
    switch (op) {
        case CB_BINARY_fmod: return dtype == CB_F32 ? fmod_floats : fmod_doubles;
        case CB_BINARY_remainder: return dtype == CB_F32 ? remainder_floats : remainder_doubles;
        case CB_BINARY_floor_divide: return dtype == CB_F32 ? floor_divide_floats : floor_divide_doubles;
        default: return NULL;
    }
}
#else
cb_kernel CB_FN(modulo_kernel)(int op, int dtype) { return (void)op, (void)dtype, NULL; }
#endif
