/* Scalar kernels for float32 and float64; 16-bit floats are computed in float32. */
#include "cpu.h"
#include "vmath.h"

#define KIND_REAL
#define DTYPE_ID F32
#define type float
#define real_type float
#define M(f) f##_f32
#include "kernels_typed.h"
#undef M
#define DTYPE_ID F64
#define type double
#define real_type double
#define M(f) f##_f64
#include "kernels_typed.h"
