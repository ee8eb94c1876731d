/* ops.def's formulas for one compute dtype, as functions of the op's code. A template: included once a dtype
 * with
 *   type        its C++ type,     KIND_BOOL, KIND_INT, KIND_REAL or KIND_COMPLEX defined,
 *   M(f), C(f)  as ops.def needs them.
 * Defines cb_ops<type, COST> for the groups of elementwise.h (integers have one). Results come as the compute
 * type: a bool as 0 or 1, the real result of a complex op with imaginary part 0. */
#define T(c) ((type)(c))
#if defined(KIND_BOOL) || defined(KIND_INT)
#define CB_OF_GROUP(family, name) COST == CB_CHEAP
#else
#define CB_OF_GROUP(family, name) cb_cost_of(CB_FAMILY_##family, CB_##family##_##name) == COST
#endif
#define CB_ONE(family, name, LOAD, value)                                                     \
    case CB_##family##_##name:                                                                \
        if constexpr (CB_OF_GROUP(family, name)) {                                            \
            CB_UNROLL for (int j = 0; j < cb_each::ITEMS; j++) { LOAD r[j] = (type)(value); } \
        }                                                                                     \
        break;
#define LOAD_1 const type x = v[0][j];
#define LOAD_2 LOAD_1 const type y = v[1][j];
#define LOAD_3 LOAD_2 const type z = v[2][j];
#define DEFINE1(name, out, value) CB_ONE(UNARY, name, LOAD_1, value)
#define DEFINE2(name, out, value) CB_ONE(BINARY, name, LOAD_2, value)
#define DEFINE3(name, out, value) CB_ONE(TERNARY, name, LOAD_3, value)

template <int COST> struct cb_ops<type, COST> {
    static __device__ __forceinline__ void apply(int op, const type (&v)[1][cb_each::ITEMS],
                                                 type (&r)[cb_each::ITEMS]) {
        switch (op) {
#if defined(KIND_BOOL)
#define UNARY_BOOL DEFINE1
#elif defined(KIND_INT)
#define UNARY_INT DEFINE1
#elif defined(KIND_REAL)
#define UNARY_REAL DEFINE1
#else
#define UNARY_COMPLEX DEFINE1
#endif
#include "ops.def"
        }
    }
    static __device__ __forceinline__ void apply(int op, const type (&v)[2][cb_each::ITEMS],
                                                 type (&r)[cb_each::ITEMS]) {
        switch (op) {
#if defined(KIND_BOOL)
#define BINARY_BOOL DEFINE2
#elif defined(KIND_INT)
#define BINARY_INT DEFINE2
#elif defined(KIND_REAL)
#define BINARY_REAL DEFINE2
#else
#define BINARY_COMPLEX DEFINE2
#endif
#include "ops.def"
        }
    }
#if !defined(KIND_BOOL)
    static __device__ __forceinline__ void apply(int op, const type (&v)[3][cb_each::ITEMS],
                                                 type (&r)[cb_each::ITEMS]) {
        switch (op) {
#if defined(KIND_INT)
#define TERNARY_INT DEFINE3
#elif defined(KIND_REAL)
#define TERNARY_REAL DEFINE3
#else
#define TERNARY_COMPLEX DEFINE3
#endif
#include "ops.def"
        }
    }
#endif
};

#undef T
#undef CB_OF_GROUP
#undef CB_ONE
#undef LOAD_1
#undef LOAD_2
#undef LOAD_3
#undef DEFINE1
#undef DEFINE2
#undef DEFINE3
#undef type
