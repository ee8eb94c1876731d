/* Elementwise operations: one kernel a compute dtype, number of operands and group of ops, whose body
 * switches on the op's code; the switch is the same for all threads. Operands of other dtypes, broadcast or
 * strided ones are read as the compute dtype in place; nothing is materialised. */
#include "elementwise.h"

/* `where` moves items of one dtype without looking at them; the condition is bool or uint8 */
template <typename T>
__global__ void choose(cb_walk<4> w, T *out, const uint8_t *condition, const T *x, const T *y) {
    for (int64_t i = (int64_t)blockIdx.x * cb_each::BLOCK + threadIdx.x; i < w.numel;
         i += (int64_t)gridDim.x * cb_each::BLOCK) {
        int64_t at[4];
        w.offsets(i, at);
        out[at[0]] = condition[at[1]] ? x[at[2]] : y[at[3]];
    }
}
/* the same with operands of other dtypes, or numbers */
struct choice {
    const void *data;
    int dtype, number;
    alignas(16) char value[16];
};
template <typename S>
__global__ void choose_cast(cb_walk<4> w, S *out, const uint8_t *condition, choice x, choice y) {
    typedef typename cb_traits<S>::compute T;
    T numbers[2] = {T(), T()};
    if (x.number) memcpy(&numbers[0], x.value, sizeof(T));
    if (y.number) memcpy(&numbers[1], y.value, sizeof(T));
    for (int64_t i = (int64_t)blockIdx.x * cb_each::BLOCK + threadIdx.x; i < w.numel;
         i += (int64_t)gridDim.x * cb_each::BLOCK) {
        int64_t at[4];
        w.offsets(i, at);
        bool first = condition[at[1]] != 0;
        const choice &c = first ? x : y;
        T v = c.number ? numbers[first ? 0 : 1] : cb_load_as<T>(c.dtype, c.data, at[first ? 2 : 3]);
        out[at[0]] = cb_to<S>(v);
    }
}

template <typename T> static choice choice_of(const cb_tensor *x) {
    choice c = {x->data, x->dtype, (x->device & 255) == CB_CPU, {0}};
    if (!c.number) return c;
    T value = T();
    switch (x->dtype) {
#define CB_CASE(id, S) \
    case id: value = cb_to<T>(*static_cast<const S *>(x->data)); break;
        CB_EACH_STORAGE(CB_CASE)
#undef CB_CASE
    }
    memcpy(c.value, &value, sizeof value);
    return c;
}

bool cb_elementwise_where(cb_tensor *out, const cb_tensor *const *in) {
    cb_walk<4> w;
    const cb_tensor *all[] = {out, in[0], in[1], in[2]};
    if ((in[0]->device & 255) == CB_CPU || !cb_walk_init(&w, all)) return false;
    unsigned grid = cb_fill_blocks(w.numel, cb_each::BLOCK);
    const uint8_t *condition = static_cast<const uint8_t *>(in[0]->data);
    bool plain = true;
    for (int k = 1; k < 3; k++)
        plain = plain && (in[k]->device & 255) != CB_CPU && in[k]->dtype == out->dtype;
    if (plain) {
        CB_DISPATCH_SIZE(out->itemsize, T,
                         CB_LAUNCH((choose<T>), grid, cb_each::BLOCK, 0, cb_stream(), w, (T *)out->data,
                                   condition, (const T *)in[1]->data, (const T *)in[2]->data))
    } else {
        CB_DISPATCH_ALL(out->dtype, S,
                        CB_LAUNCH((choose_cast<S>), grid, cb_each::BLOCK, 0, cb_stream(), w, (S *)out->data,
                                  condition, choice_of<typename cb_traits<S>::compute>(in[1]),
                                  choice_of<typename cb_traits<S>::compute>(in[2])))
    }
    return true;
}

int cb_cuda_elementwise(int family, int op, cb_tensor *out, int nin, const cb_tensor *const *in,
                        int compute) {
    bool done;
    if (family == CB_FAMILY_TERNARY && op == CB_TERNARY_where)
        done = cb_elementwise_where(out, in);
    else if (cb_is_complex(compute))
        done = cb_elementwise_complex(family, op, out, in, compute);
    else if (cb_is_float(compute))
        done = cb_elementwise_real(family, op, out, in, compute);
    else
        done = cb_elementwise_int(family, op, out, in, compute);
    return done ? cb_launched("elementwise")
                : cb_host_round_trip()->elementwise(family, op, out, nin, in, compute);
}
