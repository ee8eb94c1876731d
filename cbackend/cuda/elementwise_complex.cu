/* Elementwise kernels for complex64 and complex128. */
#include "elementwise_cost.h"
#include "vcomplex_device.h"

#define KIND_COMPLEX
#define type cb_complex64
#define C(f) f##_c64
#include "elementwise_typed.h"
#undef C
#define type cb_complex128
#define C(f) f##_c128
#include "elementwise_typed.h"

template <typename T> static bool run(int family, int op, cb_tensor *out, const cb_tensor *const *in) {
    if (cb_cost_of(family, op) == CB_CHEAP) {
        typedef cb_ops<T, CB_CHEAP> ops;
        if (family == CB_FAMILY_UNARY) return cb_each::launch<T, 1, ops>(op, out, in);
        if (family == CB_FAMILY_BINARY) return cb_each::launch<T, 2, ops>(op, out, in);
        return cb_each::launch<T, 3, ops>(op, out, in);
    }
    typedef cb_ops<T, CB_MATH_COST> ops;
    if (family == CB_FAMILY_UNARY) return cb_each::launch<T, 1, ops>(op, out, in);
    return cb_each::launch<T, 2, ops>(op, out, in);
}

bool cb_elementwise_complex(int family, int op, cb_tensor *out, const cb_tensor *const *in, int compute) {
    return compute == CB_C64 ? run<cb_complex64>(family, op, out, in)
                             : run<cb_complex128>(family, op, out, in);
}
