/* The sort of radix.h: digits of four bits. A block counts the digits of its tile by thread and by digit; the
 * counts of all blocks, added up in the order (digit, block), tell each block where its items of a digit go.
 */
#include "kernels.h"

#include "radix.h"

enum { BLOCK = 128, EACH = 8, TILE = BLOCK * EACH, DIGITS = 16 };

struct digit_of {
    int shift;
    int64_t divisor; /* 0: of the key, else of value / divisor */
    __device__ __forceinline__ unsigned operator()(uint64_t key, int64_t value) const {
        uint64_t by = divisor ? (uint64_t)(value / divisor) : key;
        return (unsigned)(by >> shift) & (DIGITS - 1);
    }
};

__global__ void count_digits(int64_t n, int64_t blocks, digit_of digit, const uint64_t *keys,
                             const int64_t *values, int64_t *counts) {
    CB_SHARED(int, found, DIGITS *BLOCK);
    int mine[DIGITS];
    for (int d = 0; d < DIGITS; d++) mine[d] = 0;
    int64_t first = (int64_t)blockIdx.x * TILE + (int64_t)threadIdx.x * EACH;
    for (int e = 0; e < EACH && first + e < n; e++) {
        unsigned own = digit(keys[first + e], values[first + e]);
        for (unsigned d = 0; d < DIGITS; d++) mine[d] += d == own;
    }
    for (int d = 0; d < DIGITS; d++) found[d * BLOCK + threadIdx.x] = mine[d];
    __syncthreads();
    if (threadIdx.x < DIGITS) {
        int64_t sum = 0;
        for (int t = 0; t < BLOCK; t++) sum += (int)found[threadIdx.x * BLOCK + t];
        counts[threadIdx.x * blocks + blockIdx.x] = sum;
    }
}

/* one block */
__global__ void add_up(int64_t n, int64_t *counts) {
    CB_SHARED(int64_t, parts, 256);
    int64_t share = (n + 255) / 256, begin = threadIdx.x * share, end = begin + share < n ? begin + share : n;
    int64_t sum = 0;
    for (int64_t i = begin; i < end; i++) sum += counts[i];
    parts[threadIdx.x] = sum;
    __syncthreads();
    int64_t before = 0;
    for (unsigned t = 0; t < threadIdx.x; t++) before += (int64_t)parts[t];
    for (int64_t i = begin; i < end; i++) {
        int64_t count = counts[i];
        counts[i] = before;
        before += count;
    }
}

__global__ void move_items(int64_t n, int64_t blocks, digit_of digit, const uint64_t *keys,
                           const int64_t *values, const int64_t *starts, uint64_t *to_keys,
                           int64_t *to_values) {
    CB_SHARED(int, found, DIGITS *BLOCK);
    int mine[DIGITS];
    for (int d = 0; d < DIGITS; d++) mine[d] = 0;
    int64_t first = (int64_t)blockIdx.x * TILE + (int64_t)threadIdx.x * EACH;
    for (int e = 0; e < EACH && first + e < n; e++) {
        unsigned own = digit(keys[first + e], values[first + e]);
        for (unsigned d = 0; d < DIGITS; d++) mine[d] += d == own;
    }
    for (int d = 0; d < DIGITS; d++) found[d * BLOCK + threadIdx.x] = mine[d];
    __syncthreads();
    if (threadIdx.x < DIGITS) { /* of each digit, how many items lie in earlier threads */
        int before = 0;
        for (int t = 0; t < BLOCK; t++) {
            int count = found[threadIdx.x * BLOCK + t];
            found[threadIdx.x * BLOCK + t] = before;
            before += count;
        }
    }
    __syncthreads();
    int64_t place[DIGITS];
    for (int d = 0; d < DIGITS; d++)
        place[d] = starts[d * blocks + blockIdx.x] + (int)found[d * BLOCK + threadIdx.x];
    for (int e = 0; e < EACH && first + e < n; e++) {
        uint64_t key = keys[first + e];
        int64_t value = values[first + e], at = 0;
        unsigned own = digit(key, value);
        for (unsigned d = 0; d < DIGITS; d++) {
            at = d == own ? place[d] : at;
            place[d] += d == own;
        }
        to_keys[at] = key;
        to_values[at] = value;
    }
}

int cb_add_up(int64_t n, int64_t *counts) {
    CB_LAUNCH(add_up, 1, 256, 0, cb_stream(), n, counts);
    return cb_launched("sort");
}

cb_radix::cb_radix(int64_t n_)
    : n(n_), room(n_ * 2 * 16), counts(((n_ + TILE - 1) / TILE) * DIGITS * (int64_t)sizeof(int64_t)) {
    keys = room.as<uint64_t>();
    values = (int64_t *)(keys + n);
    other_keys = (uint64_t *)(values + n);
    other_values = (int64_t *)(other_keys + n);
    blocks = (n + TILE - 1) / TILE;
}

int cb_radix::passes(int first_bit, int bits, int64_t divisor) {
    if (n <= 1) return CB_OK;
    for (int shift = first_bit; shift < first_bit + bits; shift += 4) {
        digit_of digit = {shift, divisor};
        CB_LAUNCH(count_digits, (unsigned)blocks, BLOCK, 0, cb_stream(), n, blocks, digit, keys, values,
                  counts.as<int64_t>());
        CB_TRY(cb_add_up(blocks * DIGITS, counts.as<int64_t>()));
        CB_LAUNCH(move_items, (unsigned)blocks, BLOCK, 0, cb_stream(), n, blocks, digit, keys, values,
                  counts.as<int64_t>(), other_keys, other_values);
        uint64_t *k = keys;
        keys = other_keys;
        other_keys = k;
        int64_t *v = values;
        values = other_values;
        other_values = v;
    }
    return cb_launched("sort");
}
