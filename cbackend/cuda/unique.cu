/* Runs of equal items in a sorted vector, and the range of integers.
 *
 * Flags say where runs begin. Counted by tile and added up, they give each tile the number of its first run;
 * a second pass over the tiles numbers every item. */
#include "kernels.h"

#include "radix.h"

enum { BLOCK = 128, EACH = 8, TILE = BLOCK * EACH, RANGE_BLOCK = 256, MOST_RANGES = 256 };

/* nan differs from everything, as in torch */
template <typename T> __global__ void flag_starts(int64_t n, const T *items, uint8_t *starts) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < n; i += (int64_t)gridDim.x * BLOCK) {
        typedef typename cb_traits<T>::compute C;
        starts[i] = i == 0 || cb_to<C>(items[i]) != cb_to<C>(items[i - 1]);
    }
}

CB_DEV int flags_of(const uint8_t *starts, int64_t first, int64_t n) {
    int sum = 0;
    for (int e = 0; e < EACH && first + e < n; e++) sum += starts[first + e];
    return sum;
}
__global__ void count_tiles(int64_t n, const uint8_t *starts, int64_t *counts) {
    CB_SHARED(int, scratch, 32);
    int64_t first = (int64_t)blockIdx.x * TILE + (int64_t)threadIdx.x * EACH;
    int sum = cb_block_reduce(flags_of(starts, first, n), scratch, cb_op_sum());
    if (threadIdx.x == 0) counts[blockIdx.x] = sum;
}
template <typename T>
__global__ void number_runs(int64_t n, const T *items, const int64_t *order, const uint8_t *starts,
                            const int64_t *before, T *values, int64_t *inverse, int64_t *firsts) {
    CB_SHARED(int, sums, BLOCK);
    int64_t first = (int64_t)blockIdx.x * TILE + (int64_t)threadIdx.x * EACH;
    sums[threadIdx.x] = flags_of(starts, first, n);
    __syncthreads();
    int64_t run = before[blockIdx.x] - 1;
    for (unsigned t = 0; t < threadIdx.x; t++) run += (int)sums[t];
    for (int e = 0; e < EACH && first + e < n; e++) {
        int64_t i = first + e;
        if (starts[i]) {
            run++;
            values[run] = items[i];
            if (firsts) firsts[run] = i;
        }
        if (inverse) inverse[order[i]] = run;
    }
}
__global__ void measure_runs(int64_t runs, int64_t n, const int64_t *firsts, int64_t *counts) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < runs; i += (int64_t)gridDim.x * BLOCK)
        counts[i] = (i + 1 < runs ? firsts[i + 1] : n) - firsts[i];
}

/* how many runs begin before each tile; the last number is that of all */
static int count_runs(int64_t n, const uint8_t *starts, int64_t *counts) {
    int64_t tiles = (n + TILE - 1) / TILE;
    CB_TRY(cb_set_bytes(counts + tiles, 0, sizeof *counts));
    CB_LAUNCH(count_tiles, (unsigned)tiles, BLOCK, 0, cb_stream(), n, starts, counts);
    return cb_add_up(tiles + 1, counts);
}
static int64_t count_bytes(int64_t n) { return ((n + TILE - 1) / TILE + 1) * (int64_t)sizeof(int64_t); }

int64_t cb_cuda_run_starts(const cb_tensor *sorted, uint8_t *starts) {
    int64_t n = sorted->numel, runs = 0;
    cb_scratch counts(count_bytes(n));
    if (n == 0 || !counts.ok()) return 0;
    CB_DISPATCH_ALL(sorted->dtype, T,
                    CB_LAUNCH((flag_starts<T>), cb_fill_blocks(n, BLOCK), BLOCK, 0, cb_stream(), n,
                              (const T *)sorted->data, starts))
    if (count_runs(n, starts, counts.as<int64_t>())) return 0;
    cb_read_back(&runs, counts.as<char>() + count_bytes(n) - (int64_t)sizeof runs, sizeof runs);
    return runs;
}

void cb_cuda_unique_runs(const cb_tensor *sorted, const cb_tensor *order, const uint8_t *starts,
                         cb_tensor *values, cb_tensor *inverse, cb_tensor *counts) {
    int64_t n = sorted->numel, runs = values->numel;
    cb_scratch before(count_bytes(n)), firsts(counts ? runs * (int64_t)sizeof(int64_t) : 0);
    if (n == 0 || !before.ok() || !firsts.ok() || count_runs(n, starts, before.as<int64_t>())) return;
    CB_DISPATCH_SIZE(sorted->itemsize, T,
                     CB_LAUNCH((number_runs<T>), (unsigned)((n + TILE - 1) / TILE), BLOCK, 0, cb_stream(), n,
                               (const T *)sorted->data, inverse ? (const int64_t *)order->data : nullptr,
                               starts, before.as<int64_t>(), (T *)values->data,
                               inverse ? (int64_t *)inverse->data : nullptr, firsts.as<int64_t>()))
    if (counts)
        CB_LAUNCH(measure_runs, cb_fill_blocks(runs, BLOCK), BLOCK, 0, cb_stream(), runs, n,
                  firsts.as<int64_t>(), (int64_t *)counts->data);
}

__global__ void find_range(int64_t n, const int64_t *items, int64_t *lows, int64_t *highs) {
    CB_SHARED(int64_t, scratch, 32);
    int64_t low = items[0], high = low;
    for (int64_t i = (int64_t)blockIdx.x * RANGE_BLOCK + threadIdx.x; i < n;
         i += (int64_t)gridDim.x * RANGE_BLOCK) {
        low = items[i] < low ? items[i] : low;
        high = items[i] > high ? items[i] : high;
    }
    low = cb_block_reduce(low, scratch, cb_op_min());
    high = cb_block_reduce(high, scratch, cb_op_max());
    if (threadIdx.x == 0) {
        lows[blockIdx.x] = low;
        highs[blockIdx.x] = high;
    }
}
void cb_cuda_int_range(const cb_tensor *x, int64_t *low, int64_t *high) {
    int64_t found[2][MOST_RANGES];
    unsigned blocks = cb_blocks(x->numel, RANGE_BLOCK * 8, MOST_RANGES);
    cb_scratch room(sizeof found);
    if (!room.ok()) return;
    int64_t *lows = room.as<int64_t>(), *highs = lows + MOST_RANGES;
    CB_LAUNCH(find_range, blocks, RANGE_BLOCK, 0, cb_stream(), x->numel, (const int64_t *)x->data, lows,
              highs);
    if (cb_read_back(found[0], lows, blocks * sizeof *lows) ||
        cb_read_back(found[1], highs, blocks * sizeof *highs))
        return;
    *low = found[0][0];
    *high = found[1][0];
    for (unsigned i = 1; i < blocks; i++) {
        *low = CB_MIN(*low, found[0][i]);
        *high = CB_MAX(*high, found[1][i]);
    }
}
