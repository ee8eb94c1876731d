/* Copies with casts and any strides, fills, ranges. */
#include "kernels.h"

enum { BLOCK = 256 };

/* one dtype on both sides: items are moved by size */
template <typename T> __global__ void move_items(cb_walk<2> w, T *to, const T *from) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < w.numel;
         i += (int64_t)gridDim.x * BLOCK) {
        int64_t at[2];
        w.offsets(i, at);
        to[at[0]] = from[at[1]];
    }
}

template <typename To> __global__ void cast_items(cb_walk<2> w, To *to, int from_dtype, const void *from) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < w.numel;
         i += (int64_t)gridDim.x * BLOCK) {
        int64_t at[2];
        w.offsets(i, at);
        to[at[0]] = cb_load_as<To>(from_dtype, from, at[1]);
    }
}

template <typename T> __global__ void fill_items(cb_walk<1> w, T *to, T value) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < w.numel;
         i += (int64_t)gridDim.x * BLOCK) {
        int64_t at[1];
        w.offsets(i, at);
        to[at[0]] = value;
    }
}

/* start + i step, in double for floats and in wrapping 64-bit integers otherwise: the CPU's rule */
template <typename T>
__global__ void count_up(cb_walk<1> w, T *to, int whole, double start, double step, int64_t first,
                         int64_t by) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < w.numel;
         i += (int64_t)gridDim.x * BLOCK) {
        int64_t at[1];
        w.offsets(i, at);
        to[at[0]] = whole ? cb_to<T>((int64_t)((uint64_t)first + (uint64_t)i * (uint64_t)by))
                          : cb_to<T>(start + (double)i * step);
    }
}

int cb_cuda_copy(cb_tensor *dst, const cb_tensor *src) {
    cb_walk<2> w;
    const cb_tensor *operands[] = {dst, src};
    if (dst->numel == 0) return CB_OK;
    if (src->device != dst->device || !cb_walk_init(&w, operands))
        return cb_host_round_trip()->copy(dst, src);
    unsigned grid = cb_fill_blocks(w.numel, BLOCK);
    if (dst->dtype == src->dtype) {
        CB_DISPATCH_SIZE(
            dst->itemsize, T,
            CB_LAUNCH((move_items<T>), grid, BLOCK, 0, cb_stream(), w, (T *)dst->data, (const T *)src->data))
    } else {
        CB_DISPATCH_ALL(
            dst->dtype, T,
            CB_LAUNCH((cast_items<T>), grid, BLOCK, 0, cb_stream(), w, (T *)dst->data, src->dtype, src->data))
    }
    return cb_launched("copy");
}

template <typename T> static T number_of(const cb_scalar *v) {
    switch (v->kind) {
        case 'u': return cb_to<T>(v->u);
        case 'f': return cb_to<T>(v->re);
        case 'c': return cb_to<T>(cb_complex128(v->re, v->im));
        default: return cb_to<T>(v->i);
    }
}

int cb_cuda_fill(cb_tensor *dst, const cb_scalar *value) {
    cb_walk<1> w;
    const cb_tensor *operands[] = {dst};
    if (!cb_walk_init(&w, operands)) return cb_host_round_trip()->fill(dst, value);
    unsigned grid = cb_fill_blocks(w.numel, BLOCK);
    CB_DISPATCH_ALL(
        dst->dtype, T,
        CB_LAUNCH((fill_items<T>), grid, BLOCK, 0, cb_stream(), w, (T *)dst->data, number_of<T>(value)))
    return cb_launched("fill");
}

int cb_cuda_arange(cb_tensor *out, const cb_scalar *start, const cb_scalar *step) {
    cb_walk<1> w;
    const cb_tensor *operands[] = {out};
    if (!cb_walk_init(&w, operands)) return cb_host_round_trip()->arange(out, start, step);
    unsigned grid = cb_fill_blocks(w.numel, BLOCK);
    int whole = start->kind == 'i';
    CB_DISPATCH_ALL(out->dtype, T,
                    CB_LAUNCH((count_up<T>), grid, BLOCK, 0, cb_stream(), w, (T *)out->data, whole, start->re,
                              step->re, start->i, step->i))
    return cb_launched("arange");
}
