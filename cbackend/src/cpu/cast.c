/* Conversions between all pairs of dtypes, on contiguous runs. Complex to real keeps the real part. */
#include "half.h"

/* Floats reach narrow integers through int32 and wide ones through int64: defined for every value that fits,
 * and what PyTorch gives for negative floats to unsigned. */
typedef uint8_t type_BOOL; /* 0 or 1: loops over _Bool stay scalar */
typedef uint8_t type_U8;
typedef int8_t type_I8;
typedef uint16_t type_U16;
typedef int16_t type_I16;
typedef uint32_t type_U32;
typedef int32_t type_I32;
typedef uint64_t type_U64;
typedef int64_t type_I64;
typedef cb_half type_F16;
typedef cb_bfloat type_BF16;
typedef float type_F32;
typedef double type_F64;
typedef cb_complex64 type_C64;
typedef cb_complex128 type_C128;

#define CAST(from, to, expression)                                           \
    static void cast_##from##_##to(int64_t n, void *out_, const void *in_) { \
        type_##to *restrict out = out_;                                      \
        const type_##from *restrict in = in_;                                \
        for (int64_t i = 0; i < n; i++) {                                    \
            __auto_type v = in[i];                                           \
            out[i] = expression;                                             \
        }                                                                    \
    }

/* to every dtype, from one whose value `v` is used as `number` (real) or `whole` (possibly complex) */
#define CASTS_FROM(from, number, narrow, wide, whole)  \
    CAST(from, BOOL, (whole) != 0)                     \
    CAST(from, U8, (uint8_t)(narrow))                  \
    CAST(from, I8, (int8_t)(narrow))                   \
    CAST(from, U16, (uint16_t)(narrow))                \
    CAST(from, I16, (int16_t)(narrow))                 \
    CAST(from, U32, (uint32_t)(wide))                  \
    CAST(from, I32, (int32_t)(narrow))                 \
    CAST(from, U64, (uint64_t)(wide))                  \
    CAST(from, I64, (int64_t)(wide))                   \
    CAST(from, F16, float_to_half((float)(number)))    \
    CAST(from, BF16, float_to_bfloat((float)(number))) \
    CAST(from, F32, (float)(number))                   \
    CAST(from, F64, (double)(number))                  \
    CAST(from, C64, (cb_complex64)(whole))             \
    CAST(from, C128, (cb_complex128)(whole))

#define CASTS_FROM_INTEGER(from) CASTS_FROM(from, v, v, v, v)
#define CASTS_FROM_REAL(from, load) CASTS_FROM(from, load, (int32_t)(load), (int64_t)(load), load)
CASTS_FROM_INTEGER(BOOL)
CASTS_FROM_INTEGER(U8)
CASTS_FROM_INTEGER(I8)
CASTS_FROM_INTEGER(U16)
CASTS_FROM_INTEGER(I16)
CASTS_FROM_INTEGER(U32)
CASTS_FROM_INTEGER(I32)
CASTS_FROM_INTEGER(U64)
CASTS_FROM_INTEGER(I64)
CASTS_FROM_REAL(F16, half_to_float(v))
CASTS_FROM_REAL(BF16, bfloat_to_float(v))
CASTS_FROM_REAL(F32, v)
CASTS_FROM_REAL(F64, v)
CASTS_FROM(C64, __real__ v, (int32_t)__real__ v, (int64_t)__real__ v, v)
CASTS_FROM(C128, __real__ v, (int32_t)__real__ v, (int64_t)__real__ v, v)

#define ROW(from)                                                                                \
    [CB_##from] = {cast_##from##_BOOL, cast_##from##_U8,  cast_##from##_I8,   cast_##from##_U16, \
                   cast_##from##_I16,  cast_##from##_U32, cast_##from##_I32,  cast_##from##_U64, \
                   cast_##from##_I64,  cast_##from##_F16, cast_##from##_BF16, cast_##from##_F32, \
                   cast_##from##_F64,  cast_##from##_C64, cast_##from##_C128},

const cb_cast_kernel CB_FN(cast_table)[CB_DTYPE_COUNT][CB_DTYPE_COUNT] = {
    /* clang-format off */
    ROW(BOOL) ROW(U8) ROW(I8) ROW(U16) ROW(I16) ROW(U32) ROW(I32) ROW(U64) ROW(I64)
    ROW(F16) ROW(BF16) ROW(F32) ROW(F64) ROW(C64) ROW(C128)
    /* clang-format on */
};
