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

#define CAST(from, to, expression)                                                                    \
    static void lanes_##from##_##to(int64_t n, void *out_, const void *const *in_) {                  \
        type_##to *restrict out = out_;                                                               \
        const type_##from *restrict in = in_[0];                                                      \
        n &= -(int64_t)CB_LANES(sizeof *in, sizeof *out);                                             \
        for (int64_t i = 0; i < n; i++) {                                                             \
            __auto_type v = in[i];                                                                    \
            out[i] = expression;                                                                      \
        }                                                                                             \
    }                                                                                                 \
    static void cast_##from##_##to(int64_t n, void *out, const void *in) {                            \
        CB_FN(by_lanes)(n, out, &in, lanes_##from##_##to, 1, sizeof(type_##from), sizeof(type_##to)); \
    }

/* to every dtype, from one whose value `v` is used as `number` (real) or `whole` (possibly complex); signed
 * results have the bits of unsigned ones, but those of 32 bits made of floats */
#define CASTS_FROM(from, number, narrow, wide, whole)  \
    CAST(from, BOOL, (whole) != 0)                     \
    CAST(from, U8, (uint8_t)(narrow))                  \
    CAST(from, U16, (uint16_t)(narrow))                \
    CAST(from, U32, (uint32_t)(wide))                  \
    CAST(from, U64, (uint64_t)(wide))                  \
    CAST(from, F16, float_to_half((float)(number)))    \
    CAST(from, BF16, float_to_bfloat((float)(number))) \
    CAST(from, F32, (float)(number))                   \
    CAST(from, F64, (double)(number))                  \
    CAST(from, C64, (cb_complex64)(whole))             \
    CAST(from, C128, (cb_complex128)(whole))

#define CASTS_FROM_INTEGER(from) CASTS_FROM(from, v, v, v, v)
#define CASTS_FROM_FLOAT(from, number, whole)                             \
    CASTS_FROM(from, number, (int32_t)(number), (int64_t)(number), whole) \
    CAST(from, I32, (int32_t)(number))
#define CASTS_FROM_REAL(from, load) CASTS_FROM_FLOAT(from, load, load)
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
CASTS_FROM_FLOAT(C64, __real__ v, v)
CASTS_FROM_FLOAT(C128, __real__ v, v)

#define ROW(from, SIGNED32)                                                                                 \
    {cast_##from##_BOOL, cast_##from##_U8,         cast_##from##_U8,  cast_##from##_U16, cast_##from##_U16, \
     cast_##from##_U32,  cast_##from##_##SIGNED32, cast_##from##_U64, cast_##from##_U64, cast_##from##_F16, \
     cast_##from##_BF16, cast_##from##_F32,        cast_##from##_F64, cast_##from##_C64, cast_##from##_C128}

const cb_cast_kernel CB_FN(cast_table)[CB_DTYPE_COUNT][CB_DTYPE_COUNT] = {
    [CB_BOOL] = ROW(U8, U32), /* 0 or 1 */
    [CB_U8] = ROW(U8, U32),   [CB_I8] = ROW(I8, U32),     [CB_U16] = ROW(U16, U32), [CB_I16] = ROW(I16, U32),
    [CB_U32] = ROW(U32, U32), [CB_I32] = ROW(I32, U32),   [CB_U64] = ROW(U64, U32), [CB_I64] = ROW(I64, U32),
    [CB_F16] = ROW(F16, I32), [CB_BF16] = ROW(BF16, I32), [CB_F32] = ROW(F32, I32), [CB_F64] = ROW(F64, I32),
    [CB_C64] = ROW(C64, I32), [CB_C128] = ROW(C128, I32),
};
