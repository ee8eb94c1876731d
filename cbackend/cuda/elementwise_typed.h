/* ops.def's formulas for one compute dtype, as functions of the op's code. A template: included once a dtype
 * with
 *   type        its C++ type,     KIND_BOOL, KIND_INT, KIND_REAL or KIND_COMPLEX defined,
 *   M(f), C(f)  as ops.def needs them.
 * Results come as the compute type: a bool as 0 or 1, the real result of a complex op with imaginary part 0.
 */
#define T(c) ((type)(c))
#define CB_ONE(family, name, value) \
    case CB_##family##_##name: return (type)(value);

CB_DEV type cb_apply(int op, type x) {
    switch (op) {
#define DEFINE(name, out, value) CB_ONE(UNARY, name, value)
#if defined(KIND_BOOL)
#define UNARY_BOOL DEFINE
#elif defined(KIND_INT)
#define UNARY_INT DEFINE
#elif defined(KIND_REAL)
#define UNARY_REAL DEFINE
#else
#define UNARY_COMPLEX DEFINE
#endif
#include "ops.def"
#undef DEFINE
    }
    return x;
}

CB_DEV type cb_apply(int op, type x, type y) {
    switch (op) {
#define DEFINE(name, out, value) CB_ONE(BINARY, name, value)
#if defined(KIND_BOOL)
#define BINARY_BOOL DEFINE
#elif defined(KIND_INT)
#define BINARY_INT DEFINE
#elif defined(KIND_REAL)
#define BINARY_REAL DEFINE
#else
#define BINARY_COMPLEX DEFINE
#endif
#include "ops.def"
#undef DEFINE
    }
    return x;
}

#if !defined(KIND_BOOL)
CB_DEV type cb_apply(int op, type x, type y, type z) {
    switch (op) {
#define DEFINE(name, out, value) CB_ONE(TERNARY, name, value)
#if defined(KIND_INT)
#define TERNARY_INT DEFINE
#elif defined(KIND_REAL)
#define TERNARY_REAL DEFINE
#else
#define TERNARY_COMPLEX DEFINE
#endif
#include "ops.def"
#undef DEFINE
    }
    return x;
}
#endif

#undef T
#undef CB_ONE
#undef type
