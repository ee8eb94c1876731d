/* Elementwise kernels for bool and the integer dtypes. */
#include "elementwise_cost.h"
#include "intmath.h"

#undef CB_UNROLL
#define CB_UNROLL
#define KIND_BOOL
#define type bool
#include "elementwise_typed.h"
#undef KIND_BOOL
#define KIND_INT
#define type uint8_t
#include "elementwise_typed.h"
#define type int8_t
#include "elementwise_typed.h"
#define type uint16_t
#include "elementwise_typed.h"
#define type int16_t
#include "elementwise_typed.h"
#define type uint32_t
#include "elementwise_typed.h"
#define type int32_t
#include "elementwise_typed.h"
#define type uint64_t
#include "elementwise_typed.h"
#define type int64_t
#include "elementwise_typed.h"

template <typename T> static bool run(int family, int op, cb_tensor *out, const cb_tensor *const *in) {
    typedef cb_ops<T, CB_CHEAP> ops;
    if (family == CB_FAMILY_UNARY) return cb_each::launch<T, 1, ops>(op, out, in);
    if (family == CB_FAMILY_BINARY) return cb_each::launch<T, 2, ops>(op, out, in);
    if constexpr (!std::is_same<T, bool>::value) return cb_each::launch<T, 3, ops>(op, out, in);
    return false;
}

bool cb_elementwise_int(int family, int op, cb_tensor *out, const cb_tensor *const *in, int compute) {
    switch (compute) {
        case CB_BOOL: return run<bool>(family, op, out, in);
        case CB_U8: return run<uint8_t>(family, op, out, in);
        case CB_I8: return run<int8_t>(family, op, out, in);
        case CB_U16: return run<uint16_t>(family, op, out, in);
        case CB_I16: return run<int16_t>(family, op, out, in);
        case CB_U32: return run<uint32_t>(family, op, out, in);
        case CB_I32: return run<int32_t>(family, op, out, in);
        case CB_U64: return run<uint64_t>(family, op, out, in);
        default: return run<int64_t>(family, op, out, in);
    }
}
