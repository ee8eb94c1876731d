/* What the elementwise files share: the kernel, and how it is launched. Each file brings the ops of its
 * dtypes (elementwise_typed.h) and one function that cb_cuda_elementwise calls. */
#ifndef CB_ELEMENTWISE_H
#define CB_ELEMENTWISE_H

#include "kernels.h"
#include "pack.h"

/* Ops by what they cost. Each group has kernels of its own, as a kernel needs the registers of its largest
 * op. SPECIAL functions are long code in double. */
enum cb_cost { CB_CHEAP, CB_MATH_COST, CB_SPECIAL_COST, CB_COSTS };

namespace cb_each {

enum kind { DENSE, NUMBER, STRIDED };

struct operand {
    const void *data;
    int dtype, kind;
    alignas(16) char value[16]; /* of a number, in the compute dtype */
};
template <int N> struct arguments {
    void *out;
    int out_dtype, op;
    int dense; /* the result is one run of memory and every operand is DENSE or NUMBER */
    operand in[N];
    cb_walk<N + 1> walk;
};

/* items [i, i + ITEMS) of dense memory, by 16-byte loads where they are that long */
template <typename T> CB_DEV void load(int dtype, const void *data, int64_t i, T (&to)[ITEMS]) {
    switch (dtype) {
#define CB_CASE(id, S)                                                                          \
    case id: {                                                                                  \
        const pack<S> p = *reinterpret_cast<const pack<S> *>(static_cast<const S *>(data) + i); \
        for (int j = 0; j < ITEMS; j++) to[j] = cb_to<T>(p.item[j]);                            \
        break;                                                                                  \
    }
        CB_EACH_STORAGE(CB_CASE)
#undef CB_CASE
    }
}
template <typename T> CB_DEV void store(int dtype, void *data, int64_t i, const T (&from)[ITEMS]) {
    switch (dtype) {
#define CB_CASE(id, S)                                                 \
    case id: {                                                         \
        pack<S> p;                                                     \
        for (int j = 0; j < ITEMS; j++) p.item[j] = cb_to<S>(from[j]); \
        *reinterpret_cast<pack<S> *>(static_cast<S *>(data) + i) = p;  \
        break;                                                         \
    }
        CB_EACH_STORAGE(CB_CASE)
#undef CB_CASE
    }
}

/* Ops<T, COST>::apply(op, x[, y[, z]]) is in elementwise_typed.h. */
template <typename T, int N, typename Ops>
__global__ void __launch_bounds__(BLOCK) kernel(const arguments<N> a) {
    const int64_t numel = a.walk.numel, step = (int64_t)gridDim.x * BLOCK * ITEMS;
    T number[N];
    for (int k = 0; k < N; k++) {
        number[k] = T();
        if (a.in[k].kind == NUMBER) memcpy(&number[k], a.in[k].value, sizeof(T));
    }
    for (int64_t i = ((int64_t)blockIdx.x * BLOCK + threadIdx.x) * ITEMS; i < numel; i += step) {
        T v[N][ITEMS], r[ITEMS];
        int64_t place[ITEMS];
        const int count = numel - i < ITEMS ? (int)(numel - i) : (int)ITEMS;
        if (a.dense && count == ITEMS) {
            for (int k = 0; k < N; k++) {
                if (a.in[k].kind == NUMBER) {
                    for (int j = 0; j < ITEMS; j++) v[k][j] = number[k];
                } else {
                    load(a.in[k].dtype, a.in[k].data, i, v[k]);
                }
            }
        } else {
            for (int j = 0; j < ITEMS; j++) {
                for (int k = 0; k < N; k++) v[k][j] = number[k];
                place[j] = 0;
                if (j >= count) continue;
                int64_t at[N + 1];
                a.walk.offsets(i + j, at);
                place[j] = at[0];
                for (int k = 0; k < N; k++)
                    if (a.in[k].kind != NUMBER)
                        v[k][j] = cb_load_as<T>(a.in[k].dtype, a.in[k].data, at[k + 1]);
            }
        }
        Ops::apply(a.op, v, r);
        if (a.dense && count == ITEMS) {
            store(a.out_dtype, a.out, i, r);
        } else {
            for (int j = 0; j < count; j++) cb_store_as(a.out_dtype, a.out, place[j], r[j]);
        }
    }
}

static inline bool aligned(const void *data, int itemsize) {
    int size = itemsize * ITEMS < 16 ? itemsize * ITEMS : 16;
    return (uintptr_t)data % (uintptr_t)size == 0;
}

/* false: more dimensions than kernels walk */
template <typename T, int N, typename Ops> bool launch(int op, cb_tensor *out, const cb_tensor *const *in) {
    arguments<N> a;
    const cb_tensor *all[N + 1] = {out};
    for (int k = 0; k < N; k++) all[k + 1] = in[k];
    if (!cb_walk_init(&a.walk, all)) return false;
    a.op = op;
    a.out = out->data;
    a.out_dtype = out->dtype;
    a.dense = a.walk.dense(0) && aligned(out->data, out->itemsize);
    for (int k = 0; k < N; k++) {
        const cb_tensor *x = in[k];
        operand &o = a.in[k];
        o.data = x->data;
        o.dtype = x->dtype;
        memset(o.value, 0, sizeof o.value);
        if ((x->device & 255) == CB_CPU) { /* a wrapped number: its value goes with the launch */
            o.kind = NUMBER;
            T value = T();
            switch (x->dtype) {
#define CB_CASE(id, S) \
    case id: value = cb_to<T>(*static_cast<const S *>(x->data)); break;
                CB_EACH_STORAGE(CB_CASE)
#undef CB_CASE
            }
            memcpy(o.value, &value, sizeof value);
        } else {
            o.kind = a.walk.dense(k + 1) && aligned(x->data, cb_dtypes[x->dtype].size) ? DENSE : STRIDED;
        }
        a.dense = a.dense && o.kind != STRIDED;
    }
    unsigned grid = cb_fill_blocks(a.walk.numel, BLOCK * ITEMS);
    CB_LAUNCH((kernel<T, N, Ops>), grid, BLOCK, 0, cb_stream(), a);
    return true;
}

} // namespace cb_each

/* elementwise_int.cu and so on; false: no kernel for it */
bool cb_elementwise_int(int family, int op, cb_tensor *out, const cb_tensor *const *in, int compute);
bool cb_elementwise_real(int family, int op, cb_tensor *out, const cb_tensor *const *in, int compute);
bool cb_elementwise_complex(int family, int op, cb_tensor *out, const cb_tensor *const *in, int compute);
bool cb_elementwise_where(cb_tensor *out, const cb_tensor *const *in);
#endif
