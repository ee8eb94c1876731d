/* Advanced indexing, gather and scatter, triangles.
 *
 * Reading takes a thread an item. Writing at places that may repeat is in the order of the indices, as on the
 * CPU: places are sorted, stably, and a thread walks all writes to one place. Indices out of range are an
 * error here too, which costs a wait for the device. */
#include "kernels.h"

#include "../src/index_views.h"
#include "radix.h"

enum { BLOCK = 256, MOST_INDICES = 6, MODE_ASSIGN = 0, MODE_ADD, MODE_MULTIPLY, MODE_MAXIMUM, MODE_MINIMUM };

static int fail_range(const char *op, int dim, int64_t size, int64_t value) {
    return cb_fail(CB_ERR_INDEX,
                   "%s: expected an index in [%lld, %lld] for dim %d of size %lld, got %lld. Use an index "
                   "inside the dimension.",
                   op, (long long)-size, (long long)(size - 1), dim, (long long)size, (long long)value);
}

/* an index tensor over the index positions in row-major order */
struct index_operand {
    cb_walk<1> walk;
    const int64_t *values;
    int64_t size, stride; /* of the indexed dimension */
};

__global__ void find_bad(index_operand index, unsigned long long *bad) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < index.walk.numel;
         i += (int64_t)gridDim.x * BLOCK) {
        int64_t at[1];
        index.walk.offsets(i, at);
        int64_t v = index.values[at[0]];
        if (v < -index.size || v >= index.size) atomicMin(bad, (unsigned long long)i);
    }
}

static int check_one(const char *op, const cb_tensor *index, int dim, int64_t size) {
    index_operand o;
    const int64_t *strides[] = {index->strides};
    if (index->numel == 0) return CB_OK;
    if (!cb_walk_rows(&o.walk, index->ndim, index->shape, strides))
        return cb_fail(CB_ERR_UNSUPPORTED, "%s: expected an index of fewer dimensions.", op);
    o.values = (const int64_t *)index->data;
    o.size = size;
    o.stride = 0;
    cb_scratch bad(sizeof(unsigned long long));
    if (!bad.ok()) return CB_ERR_MEMORY;
    CB_TRY(cb_set_bytes(bad.data, 255, sizeof(unsigned long long)));
    CB_LAUNCH(find_bad, cb_fill_blocks(index->numel, BLOCK), BLOCK, 0, cb_stream(), o,
              bad.as<unsigned long long>());
    CB_TRY(cb_launched(op));
    if (cb_is_recording_graph())
        return cb_check_later(bad.as<unsigned long long>(),
                              "%s: expected an index in [%lld, %lld] for dim %d of size %lld", op,
                              (long long)-size, (long long)(size - 1), dim, (long long)size);
    unsigned long long first;
    CB_TRY(cb_read_back(&first, bad.data, sizeof first));
    if (first == ~0ull) return CB_OK;
    int64_t rest = (int64_t)first, offset = 0, value;
    for (int d = index->ndim - 1; d >= 0; d--) {
        offset += rest % index->shape[d] * index->strides[d];
        rest /= index->shape[d];
    }
    CB_TRY(cb_read_back(&value, o.values + offset, sizeof value));
    return fail_range(op, dim, size, value);
}

int cb_cuda_index_check(const cb_tensor *x, const char *op, int count, cb_tensor *const *indices,
                        const int *dims) {
    for (int k = 0; k < count; k++) CB_TRY(check_one(op, indices[k], dims[k], x->shape[dims[k]]));
    return CB_OK;
}

/* ---- x[indices], x[indices] = values ---- */

struct index_plan {
    int count;
    index_operand index[MOST_INDICES];
    cb_walk<2> rest; /* the dimensions not indexed: the other side (result or values), x */
    cb_walk<1> positions; /* the index dimensions of the other side */

    /* where in x the items of an index position lie */
    __device__ __forceinline__ int64_t place(int64_t position) const {
        int64_t offset = 0, at[1];
        for (int k = 0; k < count; k++) {
            index[k].walk.offsets(position, at);
            int64_t v = index[k].values[at[0]];
            offset += cb_safe_index(v, index[k].size) * index[k].stride;
        }
        return offset;
    }
};

static bool make_plan(index_plan *p, const cb_tensor *x, const cb_tensor *other, int count,
                      cb_tensor *const *indices) {
    if (count > MOST_INDICES) return false;
    int ndim = other->ndim - (x->ndim - count), rest = x->ndim - count;
    p->count = count;
    for (int k = 0; k < count; k++) {
        int64_t strides[CB_MAX_NDIM];
        const int64_t *one[] = {strides};
        int missing = ndim - indices[k]->ndim;
        for (int d = 0; d < ndim; d++)
            strides[d] =
                d < missing || indices[k]->shape[d - missing] == 1 ? 0 : indices[k]->strides[d - missing];
        if (!cb_walk_rows(&p->index[k].walk, ndim, other->shape, one)) return false;
        p->index[k].values = (const int64_t *)indices[k]->data;
        p->index[k].size = x->shape[k];
        p->index[k].stride = x->strides[k];
    }
    const int64_t *both[] = {other->strides + ndim, x->strides + count}, *one[] = {other->strides};
    return cb_walk_rows(&p->rest, rest, other->shape + ndim, both) &&
           cb_walk_rows(&p->positions, ndim, other->shape, one);
}

template <typename T> __global__ void get_items(index_plan p, T *out, const T *x) {
    int64_t n = p.positions.numel * p.rest.numel;
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < n; i += (int64_t)gridDim.x * BLOCK) {
        int64_t position = i / p.rest.numel, to[1], at[2];
        p.positions.offsets(position, to);
        p.rest.offsets(i - position * p.rest.numel, at);
        out[to[0] + at[0]] = x[p.place(position) + at[1]];
    }
}

int cb_cuda_index_get(cb_tensor *out, const cb_tensor *x, const char *op, int count,
                      cb_tensor *const *indices, const int *dims) {
    index_plan p;
    if (!make_plan(&p, x, out, count, indices))
        return cb_host_round_trip()->index_get(out, x, op, count, indices, dims);
    for (int k = 0; k < count; k++) CB_TRY(check_one(op, indices[k], dims[k], x->shape[k]));
    CB_DISPATCH_SIZE(out->itemsize, T,
                     CB_LAUNCH((get_items<T>), cb_fill_blocks(out->numel, BLOCK), BLOCK, 0, cb_stream(), p,
                               (T *)out->data, (const T *)x->data))
    return cb_launched(op);
}

/* ---- ordered writes: pairs (place, number), sorted by place ---- */

template <typename A> CB_DEV A combined(int mode, const A &x, const A &y) {
    if (mode == MODE_ADD) return x + y;
    if (mode == MODE_MULTIPLY) return x * y;
    if constexpr (!cb_traits<A>::is_complex) {
        if (mode == MODE_MAXIMUM) return x > y || x != x ? x : y;
        if (mode == MODE_MINIMUM) return x < y || x != x ? x : y;
    }
    return y;
}
template <> __device__ __forceinline__ bool combined(int mode, const bool &x, const bool &y) {
    return mode == MODE_ADD || mode == MODE_MAXIMUM ? x | y : mode == MODE_ASSIGN ? y : x & y;
}

__global__ void list_places(index_plan p, uint64_t *keys, int64_t *values) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < p.positions.numel;
         i += (int64_t)gridDim.x * BLOCK) {
        keys[i] = (uint64_t)p.place(i) + ((uint64_t)1 << 62); /* strides may be negative */
        values[i] = i;
    }
}

/* A thread takes the first pair of a place and one item behind it, and makes all its writes in order. */
template <typename T>
__global__ void put_items(index_plan p, int mode, int64_t n, const uint64_t *keys, const int64_t *values,
                          T *x, const T *from) {
    int64_t all = n * p.rest.numel;
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < all; i += (int64_t)gridDim.x * BLOCK) {
        int64_t k = i / p.rest.numel, source[1], at[2];
        uint64_t key = keys[k];
        if (k > 0 && keys[k - 1] == key) continue;
        p.rest.offsets(i - k * p.rest.numel, at);
        T *to = x + (int64_t)(key - ((uint64_t)1 << 62)) + at[1];
        T value = *to;
        for (; k < n && keys[k] == key; k++) {
            p.positions.offsets(values[k], source);
            value = combined(mode, value, from[source[0] + at[0]]);
        }
        *to = value;
    }
}

/* how many low bits of the keys differ: those of the places x has, counted around 1 << 62 */
static int key_bits(const cb_tensor *x) {
    int64_t reach = 1;
    for (int d = 0; d < x->ndim; d++) {
        int64_t span = (x->shape[d] - 1) * x->strides[d];
        reach += span < 0 ? -span : span;
    }
    for (int d = 0; d < x->ndim; d++)
        if (x->strides[d] < 0) return 63;
    return cb_bits_below(reach);
}

int cb_cuda_index_put(cb_tensor *x, const cb_tensor *base, const cb_tensor *values, const char *op, int count,
                      cb_tensor *const *indices, const int *dims, int accumulate) {
    if (base) CB_TRY(cb_cuda_copy(x, base));
    index_plan p;
    if (!make_plan(&p, x, values, count, indices))
        return cb_host_round_trip()->index_put(x, NULL, values, op, count, indices, dims, accumulate);
    for (int k = 0; k < count; k++) CB_TRY(check_one(op, indices[k], dims[k], x->shape[k]));
    if (values->numel == 0) return CB_OK;
    int64_t n = p.positions.numel;
    cb_radix r(n);
    if (!r.ok()) return CB_ERR_MEMORY;
    CB_LAUNCH(list_places, cb_fill_blocks(n, BLOCK), BLOCK, 0, cb_stream(), p, r.keys, r.values);
    CB_TRY(r.sort(0, key_bits(x)));
    unsigned grid = cb_fill_blocks(n * p.rest.numel, BLOCK);
    if (accumulate) {
        /* 16-bit floats are accumulated in a float copy by the frame */
        CB_DISPATCH_ACCUMULATED(x->dtype, T,
                                CB_LAUNCH((put_items<T>), grid, BLOCK, 0, cb_stream(), p, MODE_ADD, n, r.keys,
                                          r.values, (T *)x->data, (const T *)values->data))
    } else {
        CB_DISPATCH_MOVED(x->itemsize, T,
                          CB_LAUNCH((put_items<T>), grid, BLOCK, 0, cb_stream(), p, MODE_ASSIGN, n, r.keys,
                                    r.values, (T *)x->data, (const T *)values->data))
    }
    return cb_launched(op);
}

/* ---- along one dimension ---- */

template <typename T>
__global__ void gather_items(cb_walk<3> w, int64_t size, int64_t stride, T *out, const int64_t *index,
                             const T *x) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < w.numel;
         i += (int64_t)gridDim.x * BLOCK) {
        int64_t at[3];
        w.offsets(i, at);
        int64_t v = index[at[1]];
        out[at[0]] = x[at[2] + cb_safe_index(v, size) * stride];
    }
}

/* operands over the index's shape; x stands still along dim */
static bool along(cb_walk<3> *w, const cb_tensor *first, const cb_tensor *x, const cb_tensor *index,
                  int dim) {
    int64_t still[CB_MAX_NDIM];
    for (int d = 0; d < x->ndim; d++) still[d] = d == dim ? 0 : x->strides[d];
    const int64_t *strides[] = {first->strides, index->strides, still};
    return cb_walk_rows(w, index->ndim, index->shape, strides);
}

int cb_cuda_gather_along(cb_tensor *out, const cb_tensor *x, const cb_tensor *index, int dim) {
    cb_walk<3> w;
    if (!along(&w, out, x, index, dim)) return cb_host_round_trip()->gather_along(out, x, index, dim);
    CB_TRY(check_one("gather", index, dim, x->shape[dim]));
    CB_DISPATCH_SIZE(out->itemsize, T,
                     CB_LAUNCH((gather_items<T>), cb_fill_blocks(w.numel, BLOCK), BLOCK, 0, cb_stream(), w,
                               x->shape[dim], x->strides[dim], (T *)out->data, (const int64_t *)index->data,
                               (const T *)x->data))
    return cb_launched("gather");
}

__global__ void list_targets(cb_walk<3> w, int64_t size, int64_t stride, const int64_t *index, uint64_t *keys,
                             int64_t *values) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < w.numel;
         i += (int64_t)gridDim.x * BLOCK) {
        int64_t at[3];
        w.offsets(i, at);
        int64_t v = index[at[1]];
        keys[i] = (uint64_t)(at[2] + cb_safe_index(v, size) * stride) + ((uint64_t)1 << 62);
        values[i] = i;
    }
}

template <typename T>
__global__ void scatter_items(cb_walk<3> w, int mode, const uint64_t *keys, const int64_t *values, T *x,
                              const T *src) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < w.numel;
         i += (int64_t)gridDim.x * BLOCK) {
        uint64_t key = keys[i];
        if (i > 0 && keys[i - 1] == key) continue;
        T *to = x + (int64_t)(key - ((uint64_t)1 << 62));
        T value = *to;
        for (int64_t k = i; k < w.numel && keys[k] == key; k++) {
            int64_t at[3];
            w.offsets(values[k], at);
            value = combined(mode, value, src[at[0]]);
        }
        *to = value;
    }
}

int cb_cuda_scatter_along(cb_tensor *x, const cb_tensor *base, const cb_tensor *index, const cb_tensor *src,
                          int dim, int mode) {
    if (base) CB_TRY(cb_cuda_copy(x, base));
    cb_walk<3> w;
    if (!along(&w, src, x, index, dim))
        return cb_host_round_trip()->scatter_along(x, NULL, index, src, dim, mode);
    CB_TRY(check_one("scatter_", index, dim, x->shape[dim]));
    if (w.numel == 0) return CB_OK;
    cb_radix r(w.numel);
    if (!r.ok()) return CB_ERR_MEMORY;
    unsigned grid = cb_fill_blocks(w.numel, BLOCK);
    CB_LAUNCH(list_targets, grid, BLOCK, 0, cb_stream(), w, x->shape[dim], x->strides[dim],
              (const int64_t *)index->data, r.keys, r.values);
    CB_TRY(r.sort(0, key_bits(x)));
    if (mode == MODE_ASSIGN) {
        CB_DISPATCH_MOVED(x->itemsize, T,
                          CB_LAUNCH((scatter_items<T>), grid, BLOCK, 0, cb_stream(), w, mode, r.keys,
                                    r.values, (T *)x->data, (const T *)src->data))
    } else {
        CB_DISPATCH_ACCUMULATED(x->dtype, T,
                                CB_LAUNCH((scatter_items<T>), grid, BLOCK, 0, cb_stream(), w, mode, r.keys,
                                          r.values, (T *)x->data, (const T *)src->data))
    }
    return cb_launched("scatter_");
}

/* ---- triangles ---- */

template <typename T>
__global__ void keep_triangle(cb_walk<2> w, int64_t rows, int64_t columns, int64_t diagonal, int upper,
                              T *out, const T *x, T zero) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < w.numel;
         i += (int64_t)gridDim.x * BLOCK) {
        int64_t at[2], c = i % columns, r = i / columns % rows;
        w.offsets(i, at);
        bool keep = upper ? c - r >= diagonal : c - r <= diagonal;
        out[at[0]] = keep ? x[at[1]] : zero;
    }
}

int cb_cuda_tri(cb_tensor *out, const cb_tensor *x, int64_t diagonal, int upper) {
    cb_walk<2> w;
    const int64_t *strides[] = {out->strides, x->strides};
    if (!cb_walk_rows(&w, x->ndim, x->shape, strides))
        return cb_host_round_trip()->tri(out, x, diagonal, upper);
    CB_DISPATCH_SIZE(out->itemsize, T,
                     CB_LAUNCH((keep_triangle<T>), cb_fill_blocks(w.numel, BLOCK), BLOCK, 0, cb_stream(), w,
                               x->shape[x->ndim - 2], x->shape[x->ndim - 1], diagonal, upper, (T *)out->data,
                               (const T *)x->data, T()))
    return cb_launched("tri");
}
