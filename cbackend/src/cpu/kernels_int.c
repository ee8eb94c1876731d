/* Scalar kernels for bool and the integer dtypes. */
#include "cpu.h"
#include "intmath.h"

/* Formulas are written once for all integer types: a comparison such as x < 0 is pointless for unsigned ones.
 */
#pragma GCC diagnostic ignored "-Wtype-limits"
#pragma GCC diagnostic ignored "-Wbool-operation"
#pragma GCC diagnostic ignored "-Wint-in-bool-context"

#define KIND_BOOL
#define DTYPE_ID BOOL
#define type _Bool
#define real_type _Bool
#include "kernels_typed.h"
#undef KIND_BOOL

#define KIND_INT
#define DTYPE_ID U8
#define type uint8_t
#define real_type type
#include "kernels_typed.h"
#define DTYPE_ID I8
#define type int8_t
#define real_type type
#include "kernels_typed.h"
#define DTYPE_ID U16
#define type uint16_t
#define real_type type
#include "kernels_typed.h"
#define DTYPE_ID I16
#define type int16_t
#define real_type type
#include "kernels_typed.h"
#define DTYPE_ID U32
#define type uint32_t
#define real_type type
#include "kernels_typed.h"
#define DTYPE_ID I32
#define type int32_t
#define real_type type
#include "kernels_typed.h"
#define DTYPE_ID U64
#define type uint64_t
#define real_type type
#include "kernels_typed.h"
#define DTYPE_ID I64
#define type int64_t
#define real_type type
#include "kernels_typed.h"
