/* Sorting along a dimension, searching sorted rows, counting. Items become unsigned keys whose order is
 * theirs (nan above everything, descending: the complement), are sorted with their numbers by key, then by
 * row. */
#include "kernels.h"

#include "radix.h"

enum { BLOCK = 256 };

CB_DEV uint64_t key_of(double v) {
    if (v != v) return ~(uint64_t)0;
    if (v == 0) v = 0; /* one zero */
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits >> 63 ? ~bits : bits | (uint64_t)1 << 63;
}
CB_DEV uint64_t key_of(float v) {
    if (v != v) return 0xffffffffu;
    if (v == 0) v = 0;
    uint32_t bits = cb_float_to_bits(v);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}
/* the key of item i; `bits` of it count */
CB_DEV uint64_t load_key(int dtype, const void *x, int64_t i, int bits) {
    switch (dtype) {
        case CB_F64: return key_of(static_cast<const double *>(x)[i]);
        case CB_F32:
        case CB_F16:
        case CB_BF16: return key_of(cb_load_as<float>(dtype, x, i));
        case CB_U64: return static_cast<const uint64_t *>(x)[i];
        default: return (uint64_t)cb_load_as<int64_t>(dtype, x, i) + ((uint64_t)1 << (bits - 1));
    }
}

__global__ void list_keys(cb_walk<1> rows, int64_t n, int64_t stride, int dtype, const void *x, int bits,
                          int descending, uint64_t *keys, int64_t *values) {
    int64_t all = rows.numel * n;
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < all; i += (int64_t)gridDim.x * BLOCK) {
        int64_t at[1];
        rows.offsets(i / n, at);
        uint64_t key = load_key(dtype, x, at[0] + i % n * stride, bits);
        keys[i] = descending ? ~key : key;
        values[i] = i;
    }
}

struct place {
    void *data;
    int64_t stride; /* along the dimension */
};

/* rows: of x, values and indices */
template <typename T>
__global__ void take_sorted(cb_walk<3> rows, int64_t n, int64_t k, const int64_t *order, place x,
                            place values, place indices) {
    int64_t all = rows.numel * k;
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < all; i += (int64_t)gridDim.x * BLOCK) {
        int64_t at[3], j = i % k, from = order[i / k * n + j] % n;
        rows.offsets(i / k, at);
        if (values.data)
            ((T *)values.data)[at[1] + j * values.stride] = ((const T *)x.data)[at[0] + from * x.stride];
        if (indices.data) ((int64_t *)indices.data)[at[2] + j * indices.stride] = from;
    }
}

int cb_cuda_sort(cb_tensor *values, cb_tensor *indices, const cb_tensor *x, int dim, int descending,
                 int64_t k) {
    int64_t shape[CB_MAX_NDIM + 1], strides[3][CB_MAX_NDIM + 1], n = x->shape[dim];
    const cb_tensor *all[3] = {x, values ? values : indices, indices ? indices : values};
    int ndim = 0;
    for (int d = 0; d < x->ndim; d++) {
        if (d == dim) continue;
        shape[ndim] = x->shape[d];
        for (int o = 0; o < 3; o++) strides[o][ndim] = all[o]->strides[d];
        ndim++;
    }
    cb_walk<1> rows;
    cb_walk<3> results;
    const int64_t *of_x[] = {strides[0]}, *of_all[] = {strides[0], strides[1], strides[2]};
    if (!cb_walk_rows(&rows, ndim, shape, of_x) || !cb_walk_rows(&results, ndim, shape, of_all))
        return cb_host_round_trip()->sort(values, indices, x, dim, descending, k);
    int64_t items = rows.numel * n;
    if (items == 0) return CB_OK;
    int bits = x->dtype == CB_F64 ? 64 : cb_is_float(x->dtype) ? 32 : 8 * x->itemsize;
    if (!cb_is_float(x->dtype) && cb_dtypes[x->dtype].kind == 'U' && bits < 64)
        bits++; /* above a shifted zero */
    cb_radix r(items);
    if (!r.ok()) return CB_ERR_MEMORY;
    CB_LAUNCH(list_keys, cb_fill_blocks(items, BLOCK), BLOCK, 0, cb_stream(), rows, n, x->strides[dim],
              x->dtype, x->data, bits, descending, r.keys, r.values);
    CB_TRY(r.sort(0, bits));
    CB_TRY(r.sort_values(n, cb_bits_below(rows.numel)));
    place from = {x->data, x->strides[dim]}, to = {nullptr, 0}, at = {nullptr, 0};
    if (values) to = {values->data, values->strides[dim]};
    if (indices) at = {indices->data, indices->strides[dim]};
    CB_DISPATCH_SIZE(x->itemsize, T,
                     CB_LAUNCH((take_sorted<T>), cb_fill_blocks(rows.numel * k, BLOCK), BLOCK, 0, cb_stream(),
                               results, n, k, r.values, from, to, at))
    return cb_launched("sort");
}

/* ---- searchsorted ---- */

/* A is what numbers are compared as; nan comes after everything, so it is before nothing but nan. */
template <typename A>
__global__ void search_rows(int dtype, const void *sorted, const void *values, int64_t numel, int64_t n,
                            int64_t m, int shared, int right, int out_dtype, void *out) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < numel; i += (int64_t)gridDim.x * BLOCK) {
        A wanted = cb_load_as<A>(dtype, values, i);
        bool all = wanted != wanted;
        int64_t low = 0, high = n, base = shared ? 0 : i / m * n;
        while (low < high) {
            int64_t middle = low + (high - low) / 2;
            A item = cb_load_as<A>(dtype, sorted, base + middle);
            bool before = right ? item <= wanted || all : item < wanted || (all && item == item);
            if (before)
                low = middle + 1;
            else
                high = middle;
        }
        cb_store_as(out_dtype, out, i, low);
    }
}

int cb_cuda_searchsorted(cb_tensor *out, const cb_tensor *sorted, const cb_tensor *values, int right) {
    int64_t n = sorted->shape[sorted->ndim - 1], m = values->ndim ? values->shape[values->ndim - 1] : 1;
    unsigned grid = cb_fill_blocks(values->numel, BLOCK);
    int shared = sorted->ndim == 1, dtype = sorted->dtype;
#define SEARCH(A)                                                                               \
    CB_LAUNCH((search_rows<A>), grid, BLOCK, 0, cb_stream(), dtype, sorted->data, values->data, \
              values->numel, n, m, shared, right, out->dtype, out->data)
    if (cb_is_float(dtype))
        SEARCH(double);
    else if (dtype == CB_U64)
        SEARCH(uint64_t);
    else
        SEARCH(int64_t);
#undef SEARCH
    return cb_launched("searchsorted");
}

/* ---- counting ---- */

__global__ void count_bins(int64_t n, const int64_t *bins, unsigned long long *counts) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < n; i += (int64_t)gridDim.x * BLOCK)
        atomicAdd(&counts[bins[i]], 1ull);
}

int cb_cuda_bincount(cb_tensor *out, const cb_tensor *x, const cb_tensor *weights) {
    if (weights) { /* in the order of x, for each bin */
        cb_tensor *bins = const_cast<cb_tensor *>(x);
        const int dim = 0;
        return cb_cuda_index_put(out, NULL, weights, "bincount", 1, &bins, &dim, 1);
    }
    CB_LAUNCH(count_bins, cb_fill_blocks(x->numel, BLOCK), BLOCK, 0, cb_stream(), x->numel,
              (const int64_t *)x->data, (unsigned long long *)out->data);
    return cb_launched("bincount");
}
