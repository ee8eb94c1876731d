/* One dtype's scalar kernels over contiguous tiles, from ops.def. A template: included once a dtype with
 *   DTYPE_ID    the dtype's id (F32),        type       its C type,
 *   real_type   the type of its real part,   KIND_BOOL, KIND_INT, KIND_REAL or KIND_COMPLEX defined,
 *   M(f), C(f)  as ops.def needs them.
 * Defines the kernels and three exported tables, indexed by op code. */
#define LOOP(name, OUT, lanes, n_operands, value)                                         \
    static void CB_PASTE(name, DTYPE_ID)(int64_t n, void *out_, const void *const *in_) { \
        OUT *out = out_;                                                                  \
        n &= -(int64_t)(lanes);                                                           \
        OPERANDS_##n_operands _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) {      \
            LOAD_##n_operands out[i] = (OUT)(value);                                      \
        }                                                                                 \
    }
#define ALONE(family, name, OUT, n_operands, value) LOOP(family##_##name, OUT, 1, n_operands, value)
#if defined(KIND_COMPLEX)
#define KERNEL ALONE
#else
#define KERNEL(family, name, OUT, n_operands, value)                                                       \
    LOOP(lanes_##family##_##name, OUT, CB_LANES(sizeof(type), sizeof(OUT)), n_operands, value)             \
    static void CB_PASTE(family##_##name, DTYPE_ID)(int64_t n, void *out, const void *const *in) {         \
        CB_FN(by_lanes)(n, out, in, CB_PASTE(lanes_##family##_##name, DTYPE_ID), n_operands, sizeof(type), \
                        sizeof(OUT));                                                                      \
    }
#endif
#define OPERANDS_1 const type *xs = in_[0];
#define OPERANDS_2 OPERANDS_1 const type *ys = in_[1];
#define OPERANDS_3 OPERANDS_2 const type *zs = in_[2];
#define LOAD_1 type x = xs[i];
#define LOAD_2 LOAD_1 type y = ys[i];
#define LOAD_3 LOAD_2 type z = zs[i];
/* the result type letters of ops.def */
#define OUT_T type
#define OUT_B _Bool
#define OUT_R real_type
#define T(c) ((type)(c))

#define DEFINE1(name, out, value) KERNEL(unary, name, OUT_##out, 1, value)
#define DEFINE2(name, out, value) KERNEL(binary, name, OUT_##out, 2, value)
#define DEFINE3(name, out, value) KERNEL(ternary, name, OUT_##out, 3, value)
#if defined(KIND_BOOL)
#define UNARY_BOOL DEFINE1
#define BINARY_BOOL DEFINE2
#elif defined(KIND_INT)
#define UNARY_INT DEFINE1
#define BINARY_INT DEFINE2
#define BINARY_INT_ALONE(name, out, value) ALONE(binary, name, OUT_##out, 2, value)
#define TERNARY_INT DEFINE3
#elif defined(KIND_REAL)
#define UNARY_REAL DEFINE1
#define UNARY_REAL_ALONE(name, out, value) ALONE(unary, name, OUT_##out, 1, value)
#define BINARY_REAL DEFINE2
#define BINARY_REAL_ALONE(name, out, value) ALONE(binary, name, OUT_##out, 2, value)
#define TERNARY_REAL DEFINE3
#define TERNARY_REAL_ALONE(name, out, value) ALONE(ternary, name, OUT_##out, 3, value)
#else
#define UNARY_COMPLEX DEFINE1
#define BINARY_COMPLEX DEFINE2
#define TERNARY_COMPLEX DEFINE3
#endif
#include "ops.def"

#define ENTRY1(name, out, value) [CB_UNARY_##name] = CB_PASTE(unary_##name, DTYPE_ID),
#define ENTRY2(name, out, value) [CB_BINARY_##name] = CB_PASTE(binary_##name, DTYPE_ID),
#define ENTRY3(name, out, value) [CB_TERNARY_##name] = CB_PASTE(ternary_##name, DTYPE_ID),
#if defined(KIND_BOOL)
#define UNARY_BOOL ENTRY1
#elif defined(KIND_INT)
#define UNARY_INT ENTRY1
#elif defined(KIND_REAL)
#define UNARY_REAL ENTRY1
#else
#define UNARY_COMPLEX ENTRY1
#endif
const cb_kernel CB_TABLE(unary, DTYPE_ID)[CB_UNARY_COUNT] = {
#include "ops.def"
};
#if defined(KIND_BOOL)
#define BINARY_BOOL ENTRY2
#elif defined(KIND_INT)
#define BINARY_INT ENTRY2
#elif defined(KIND_REAL)
#define BINARY_REAL ENTRY2
#else
#define BINARY_COMPLEX ENTRY2
#endif
const cb_kernel CB_TABLE(binary, DTYPE_ID)[CB_BINARY_COUNT] = {
#include "ops.def"
};
#if defined(KIND_INT)
#define TERNARY_INT ENTRY3
#elif defined(KIND_REAL)
#define TERNARY_REAL ENTRY3
#elif defined(KIND_COMPLEX)
#define TERNARY_COMPLEX ENTRY3
#endif
const cb_kernel CB_TABLE(ternary, DTYPE_ID)[CB_TERNARY_COUNT] = {
#include "ops.def"
};

#undef LOOP
#undef ALONE
#undef KERNEL
#undef OPERANDS_1
#undef OPERANDS_2
#undef OPERANDS_3
#undef LOAD_1
#undef LOAD_2
#undef LOAD_3
#undef OUT_T
#undef OUT_B
#undef OUT_R
#undef T
#undef DEFINE1
#undef DEFINE2
#undef DEFINE3
#undef ENTRY1
#undef ENTRY2
#undef ENTRY3
#undef DTYPE_ID
#undef type
#undef real_type
