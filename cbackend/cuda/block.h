/* Reductions within a warp and a block, always in the same order: results do not depend on timing.
 *
 *     CB_SHARED(T, scratch, 32);
 *     T total = cb_block_reduce(value, scratch, cb_op_sum());   // all threads of the block; all get the
 * result
 *
 * Blocks have a multiple of 32 threads, at most 1024, in one dimension. Values are plain structs of up to 16
 * bytes. Between two calls with one scratch no barrier is needed: each call ends with one. */
#ifndef CB_BLOCK_H
#define CB_BLOCK_H

/* shuffles of any plain type, word by word */
template <typename T, typename Move> CB_DEV T cb_shuffle_words(T value, const Move &move) {
    uint32_t words[(sizeof(T) + 3) / 4] = {0};
    memcpy(words, &value, sizeof(T));
    for (unsigned i = 0; i < sizeof words / 4; i++) words[i] = move(words[i]);
    memcpy(&value, words, sizeof(T));
    return value;
}
template <typename T> CB_DEV T cb_shuffle_down(T value, unsigned by, unsigned mask = 0xffffffffu) {
    return cb_shuffle_words(value, [=](uint32_t word) { return __shfl_down_sync(mask, word, by); });
}
template <typename T> CB_DEV T cb_shuffle_up(T value, unsigned by, unsigned mask = 0xffffffffu) {
    return cb_shuffle_words(value, [=](uint32_t word) { return __shfl_up_sync(mask, word, by); });
}
template <typename T> CB_DEV T cb_shuffle_xor(T value, int bits, unsigned mask = 0xffffffffu) {
    return cb_shuffle_words(value, [=](uint32_t word) { return __shfl_xor_sync(mask, word, bits); });
}
template <typename T> CB_DEV T cb_shuffle_from(T value, int lane, unsigned mask = 0xffffffffu) {
    return cb_shuffle_words(value, [=](uint32_t word) { return __shfl_sync(mask, word, lane); });
}

struct cb_op_sum {
    template <typename T> __device__ __forceinline__ T operator()(T a, T b) const { return a + b; }
};
/* the larger, or smaller, of two; nan wins */
struct cb_op_max {
    template <typename T> __device__ __forceinline__ T operator()(T a, T b) const {
        return b != b || b > a ? b : a;
    }
};
struct cb_op_min {
    template <typename T> __device__ __forceinline__ T operator()(T a, T b) const {
        return b != b || b < a ? b : a;
    }
};

/* lane 0 has the result of the warp's 32 lanes, in lane order: op(earlier, later) */
template <typename T, typename Op> CB_DEV T cb_warp_reduce(T value, Op op) {
    for (unsigned by = 1; by < 32; by <<= 1) value = op(value, cb_shuffle_down(value, by));
    return value;
}

/* every thread gets the result of the block's values */
template <typename T, typename P, typename Op> CB_DEV T cb_block_reduce(T value, P scratch, Op op) {
    unsigned thread = threadIdx.x, warps = blockDim.x >> 5;
    value = cb_warp_reduce(value, op);
    if ((thread & 31) == 0) scratch[thread >> 5] = value;
    __syncthreads();
    T total = scratch[0];
    for (unsigned w = 1; w < warps; w++) total = op(total, (T)scratch[w]);
    __syncthreads();
    return total;
}
#endif
