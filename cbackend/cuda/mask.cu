/* Masks: the positions of true items and the items they select, a block for each piece of CB_MASK_PIECE;
 * counts and their running sums pass through the host, which allocates the results. */
#include "kernels.h"

#include "../src/index_views.h"

enum { BLOCK = 256 };

__global__ void count_pieces(int64_t n, const uint8_t *mask, int64_t *counts) {
    CB_SHARED(int64_t, parts, 32);
    int64_t begin = (int64_t)blockIdx.x * CB_MASK_PIECE,
            end = begin + CB_MASK_PIECE < n ? begin + CB_MASK_PIECE : n;
    int64_t count = 0;
    for (int64_t i = begin + threadIdx.x; i < end; i += BLOCK) count += mask[i] != 0;
    count = cb_block_reduce(count, parts, cb_op_sum());
    if (threadIdx.x == 0) counts[blockIdx.x] = count;
}

static int64_t pieces_of(const cb_tensor *mask) { return (mask->numel + CB_MASK_PIECE - 1) / CB_MASK_PIECE; }

void cb_cuda_mask_count(const cb_tensor *mask, int64_t *counts) {
    int64_t pieces = pieces_of(mask), nbytes = pieces * (int64_t)sizeof *counts;
    cb_scratch room(nbytes);
    if (pieces == 0) return;
    if (room.ok()) {
        CB_LAUNCH(count_pieces, (unsigned)pieces, BLOCK, 0, cb_stream(), mask->numel,
                  (const uint8_t *)mask->data, room.as<int64_t>());
        if (!cb_launched("nonzero") && !cb_read_back(counts, room.data, nbytes)) return;
    }
    cb_host_round_trip()->mask_count(mask, counts); /* this entry reports no errors */
}

/* Calls use(number among the true items, position) for the true items of a piece, in order. */
template <typename Use>
CB_DEV void each_true(int64_t n, const uint8_t *mask, const int64_t *starts, const Use &use) {
    CB_SHARED(int, warps, BLOCK / 32);
    int64_t begin = (int64_t)blockIdx.x * CB_MASK_PIECE,
            end = begin + CB_MASK_PIECE < n ? begin + CB_MASK_PIECE : n;
    int64_t before = starts[blockIdx.x];
    unsigned lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    for (int64_t tile = begin; tile < end; tile += BLOCK) {
        int64_t i = tile + threadIdx.x;
        bool set = i < end && mask[i];
        unsigned vote = __ballot_sync(0xffffffffu, set);
        if (lane == 0) warps[warp] = (int)__popc(vote);
        __syncthreads();
        int64_t at = before + __popc(vote & ((1u << lane) - 1));
        for (unsigned w = 0; w < BLOCK / 32; w++) {
            int count = warps[w];
            if (w < warp) at += count;
            before += count;
        }
        if (set) use(at, i);
        __syncthreads();
    }
}

struct write_position {
    int ndim;
    int64_t shape[CB_WALK_DIMS];
    int64_t *out;
    __device__ void operator()(int64_t at, int64_t i) const {
        for (int d = ndim - 1; d >= 0; d--) {
            out[at * ndim + d] = i % shape[d];
            i /= shape[d];
        }
    }
};
template <typename T> struct write_item {
    const T *from;
    T *to;
    __device__ void operator()(int64_t at, int64_t i) const { to[at] = from[i]; }
};

template <typename Use>
__global__ void visit_true(int64_t n, const uint8_t *mask, const int64_t *starts, Use use) {
    each_true(n, mask, starts, use);
}

template <typename Use> static bool visit(const cb_tensor *mask, const int64_t *starts, const Use &use) {
    int64_t pieces = pieces_of(mask), nbytes = pieces * (int64_t)sizeof *starts;
    cb_scratch room(nbytes);
    if (pieces == 0) return true;
    if (!room.ok() || cb_send(room.data, starts, nbytes)) return false;
    CB_LAUNCH((visit_true<Use>), (unsigned)pieces, BLOCK, 0, cb_stream(), mask->numel,
              (const uint8_t *)mask->data, room.as<int64_t>(), use);
    return !cb_launched("nonzero");
}

void cb_cuda_mask_nonzero(cb_tensor *out, const cb_tensor *mask, const int64_t *starts) {
    write_position use = {mask->ndim, {0}, (int64_t *)out->data};
    if (mask->ndim <= CB_WALK_DIMS) {
        for (int d = 0; d < mask->ndim; d++) use.shape[d] = mask->shape[d];
        if (visit(mask, starts, use)) return;
    }
    cb_host_round_trip()->mask_nonzero(out, mask, starts);
}

void cb_cuda_mask_select(cb_tensor *out, const cb_tensor *x, const cb_tensor *mask, const int64_t *starts) {
    bool done = false;
    CB_DISPATCH_SIZE(x->itemsize, T,
                     done = visit(mask, starts, write_item<T>{(const T *)x->data, (T *)out->data}))
    if (!done) cb_host_round_trip()->mask_select(out, x, mask, starts);
}
