/* Cumulative sums, products, extrema and log-sum-exps along a dimension of contiguous tensors.
 *
 * Where columns are many, a thread walks each of them, neighbours side by side in memory. Else a block takes
 * a line: tiles of TILE items, scanned by a warp-wise prefix in a fixed order, with the total so far carried
 * on. Sums and products are carried in double or in wrapping 64-bit integers. */
#include "kernels.h"

#include "../src/reduce.h"

#include "vmath.h"

enum { BLOCK = 256, WIDE = 64 };

struct lines {
    const void *x;
    void *out;
    int64_t *at; /* positions of extrema */
    int dtype, op;
    int64_t n, inner, count; /* along the dim; behind it; lines in all */
};

template <typename A> struct scan_sum {
    typedef A State;
    CB_DEV A first(int op) { return op == CB_SCAN_cumprod ? A(1) : A(0); }
    CB_DEV A load(const lines &l, int64_t i, int64_t) { return cb_load_as<A>(l.dtype, l.x, i); }
    CB_DEV A join(int op, const A &a, const A &b) { return op == CB_SCAN_cumprod ? a * b : a + b; }
    CB_DEV void store(const lines &l, int64_t i, const A &v) { cb_store_as(l.dtype, l.out, i, v); }
};

struct scan_logsumexp {
    typedef double State;
    CB_DEV double first(int) { return -HUGE_VAL; }
    CB_DEV double load(const lines &l, int64_t i, int64_t) { return cb_load_as<double>(l.dtype, l.x, i); }
    CB_DEV double join(int, const double &a, const double &b) { return logaddexp_f64(a, b); }
    CB_DEV void store(const lines &l, int64_t i, const double &v) { cb_store_as(l.dtype, l.out, i, v); }
};

template <typename A> struct best_so_far {
    A value;
    int64_t at; /* -1: nothing yet */
};
/* a later equal item takes over, as does a later nan */
template <typename A> struct scan_extreme {
    typedef best_so_far<A> State;
    CB_DEV State first(int) { return {A(0), -1}; }
    CB_DEV State load(const lines &l, int64_t i, int64_t position) {
        return {cb_load_as<A>(l.dtype, l.x, i), position};
    }
    CB_DEV State join(int op, const State &a, const State &b) {
        if (b.at < 0) return a;
        bool over = op == CB_SCAN_cummax ? b.value >= a.value : b.value <= a.value;
        return a.at < 0 || over || b.value != b.value ? b : a;
    }
    CB_DEV void store(const lines &l, int64_t i, const State &v) {
        cb_store_as(l.dtype, l.out, i, v.value);
        l.at[i] = v.at;
    }
};

template <typename S> __global__ void scan_columns(lines l) {
    int64_t step = (int64_t)gridDim.x * BLOCK;
    for (int64_t c = (int64_t)blockIdx.x * BLOCK + threadIdx.x; c < l.count; c += step) {
        int64_t i = c / l.inner * l.n * l.inner + c % l.inner;
        typename S::State state = S::first(l.op);
        for (int64_t k = 0; k < l.n; k++, i += l.inner) {
            state = S::join(l.op, state, S::load(l, i, k));
            S::store(l, i, state);
        }
    }
}

template <typename S> __global__ void scan_lines(lines l) {
    typedef typename S::State State;
    CB_SHARED(State, totals, BLOCK / 32);
    unsigned lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    for (int64_t c = blockIdx.x; c < l.count; c += gridDim.x) {
        int64_t base = c / l.inner * l.n * l.inner + c % l.inner;
        State carried = S::first(l.op);
        for (int64_t begin = 0; begin < l.n; begin += BLOCK) {
            int64_t k = begin + threadIdx.x;
            State state = k < l.n ? S::load(l, base + k * l.inner, k) : S::first(l.op);
            for (unsigned by = 1; by < 32; by <<= 1) {
                State before = cb_shuffle_up(state, by);
                if (lane >= by) state = S::join(l.op, before, state);
            }
            if (lane == 31) totals[warp] = state;
            __syncthreads();
            State before = carried;
            for (unsigned w = 0; w < BLOCK / 32; w++) {
                State total = totals[w];
                carried = S::join(l.op, carried, total);
                if (w + 1 == warp) before = carried;
            }
            if (k < l.n) S::store(l, base + k * l.inner, S::join(l.op, before, state));
            __syncthreads();
        }
    }
}

template <typename S> static int run(const lines &l) {
    if (l.inner >= WIDE || l.n < 32)
        CB_LAUNCH((scan_columns<S>), cb_fill_blocks(l.count, BLOCK), BLOCK, 0, cb_stream(), l);
    else
        CB_LAUNCH((scan_lines<S>), cb_fill_blocks(l.count, 1), BLOCK, 0, cb_stream(), l);
    return cb_launched("scan");
}

int cb_cuda_scan(int op, const cb_tensor *x, int dim, cb_tensor *const *out) {
    lines l = {x->data, out[0]->data, out[1] ? (int64_t *)out[1]->data : nullptr, x->dtype, op, 1, 1, 1};
    for (int d = 0; d < x->ndim; d++) {
        if (d == dim) l.n = x->shape[d];
        if (d != dim) l.count *= x->shape[d];
        if (d > dim) l.inner *= x->shape[d];
    }
    char kind = cb_dtypes[x->dtype].kind;
    if (op == CB_SCAN_logcumsumexp) return run<scan_logsumexp>(l);
    if (op == CB_SCAN_cummax || op == CB_SCAN_cummin) {
        if (kind == 'F') return run<scan_extreme<double>>(l);
        if (x->dtype == CB_U64) return run<scan_extreme<uint64_t>>(l);
        return run<scan_extreme<int64_t>>(l);
    }
    if (kind == 'C') return run<scan_sum<cb_complex128>>(l);
    if (kind == 'F') return run<scan_sum<double>>(l);
    return run<scan_sum<int64_t>>(l);
}
