/* Elementwise operations: one kernel a compute dtype and number of operands, whose body switches on the op's
 * code; the switch is the same for all threads. Operands of other dtypes, broadcast or strided ones are read
 * as the compute dtype in place; nothing is materialised. */
#include "kernels.h"

#include "intmath.h"
#include "vmath.h"

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
#undef KIND_INT

#define KIND_REAL
#define type float
#define M(f) f##_f32
#include "elementwise_typed.h"
#undef M
#define type double
#define M(f) f##_f64
#include "elementwise_typed.h"
#undef M
#undef KIND_REAL

enum { BLOCK = 256 };

struct operand {
    const void *data;
    int dtype;
    int number; /* a wrapped number: its value is here */
    alignas(16) char value[16];
};
template <int N> struct operands {
    operand in[N];
};

template <typename T, int N>
__global__ void each(int op, cb_walk<N + 1> w, int out_dtype, void *out, operands<N> xs) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < w.numel;
         i += (int64_t)gridDim.x * BLOCK) {
        int64_t at[N + 1];
        w.offsets(i, at);
        T v[N];
        for (int k = 0; k < N; k++) {
            const operand &x = xs.in[k];
            v[k] = x.number ? cb_load_as<T>(x.dtype, x.value, 0) : cb_load_as<T>(x.dtype, x.data, at[k + 1]);
        }
        T r;
        if constexpr (N == 1) r = cb_apply(op, v[0]);
        if constexpr (N == 2) r = cb_apply(op, v[0], v[1]);
        if constexpr (N == 3) r = cb_apply(op, v[0], v[1], v[2]);
        cb_store_as(out_dtype, out, at[0], r);
    }
}

template <int N>
static int run(int op, cb_tensor *out, const cb_tensor *const *in, int compute, bool *handled) {
    cb_walk<N + 1> w;
    operands<N> xs;
    const cb_tensor *all[N + 1] = {out};
    for (int k = 0; k < N; k++) {
        const cb_tensor *x = all[k + 1] = in[k];
        xs.in[k].data = x->data;
        xs.in[k].dtype = x->dtype;
        xs.in[k].number = (x->device & 255) == CB_CPU;
        if (xs.in[k].number) memcpy(xs.in[k].value, x->data, (size_t)cb_dtypes[x->dtype].size);
    }
    *handled = cb_walk_init(&w, all);
    if (!*handled) return CB_OK;
    unsigned grid = cb_fill_blocks(w.numel, BLOCK);
#define CB_CASE(id, T) \
    case id: CB_LAUNCH((each<T, N>), grid, BLOCK, 0, cb_stream(), op, w, out->dtype, out->data, xs); break;
    switch (compute) {
        case CB_BOOL:
            if constexpr (N < 3)
                CB_LAUNCH((each<bool, N>), grid, BLOCK, 0, cb_stream(), op, w, out->dtype, out->data, xs);
            break;
            CB_CASE(CB_U8, uint8_t)
            CB_CASE(CB_I8, int8_t)
            CB_CASE(CB_U16, uint16_t)
            CB_CASE(CB_I16, int16_t)
            CB_CASE(CB_U32, uint32_t)
            CB_CASE(CB_I32, int32_t)
            CB_CASE(CB_U64, uint64_t)
            CB_CASE(CB_I64, int64_t)
            CB_CASE(CB_F32, float)
            CB_CASE(CB_F64, double)
    }
#undef CB_CASE
    return cb_launched("elementwise");
}

int cb_cuda_elementwise(int family, int op, cb_tensor *out, int nin, const cb_tensor *const *in,
                        int compute) {
    bool where = family == CB_FAMILY_TERNARY && op == CB_TERNARY_where, handled = false;
    int status = CB_OK;
    if (!cb_is_complex(compute) && !where) {
        if (nin == 1) status = run<1>(op, out, in, compute, &handled);
        if (nin == 2) status = run<2>(op, out, in, compute, &handled);
        if (nin == 3) status = run<3>(op, out, in, compute, &handled);
    }
    return handled ? status : cb_host_round_trip()->elementwise(family, op, out, nin, in, compute);
}
