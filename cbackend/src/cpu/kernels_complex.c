/* Scalar kernels for complex64 and complex128. */
#include "cpu.h"
#include "vcomplex.h"

#define KIND_COMPLEX
#define DTYPE_ID C64
#define type cb_complex64
#define real_type float
#define C(f) f##_c64
#include "kernels_typed.h"
#undef C
#define DTYPE_ID C128
#define type cb_complex128
#define real_type double
#define C(f) f##_c128
#include "kernels_typed.h"
