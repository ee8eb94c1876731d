/* Elementwise kernels for float and double; 16-bit floats are computed in float. */
#include "elementwise_cost.h"
#include "vmath.h"

#define KIND_REAL
#define type float
#define M(f) f##_f32
#include "elementwise_typed.h"
#undef M
#define type double
#define M(f) f##_f64
#include "elementwise_typed.h"

template <typename T, int COST>
static bool run(int family, int op, cb_tensor *out, const cb_tensor *const *in) {
    typedef cb_ops<T, COST> ops;
    if (family == CB_FAMILY_UNARY) return cb_each::launch<T, 1, ops>(op, out, in);
    if (family == CB_FAMILY_BINARY) return cb_each::launch<T, 2, ops>(op, out, in);
    if constexpr (COST != CB_MATH_COST) return cb_each::launch<T, 3, ops>(op, out, in);
    return false;
}

template <typename T> static bool run(int family, int op, cb_tensor *out, const cb_tensor *const *in) {
    switch (cb_cost_of(family, op)) {
        case CB_CHEAP: return run<T, CB_CHEAP>(family, op, out, in);
        case CB_MATH_COST: return run<T, CB_MATH_COST>(family, op, out, in);
        default: return run<T, CB_SPECIAL_COST>(family, op, out, in);
    }
}

bool cb_elementwise_real(int family, int op, cb_tensor *out, const cb_tensor *const *in, int compute) {
    return compute == CB_F32 ? run<float>(family, op, out, in) : run<double>(family, op, out, in);
}
