/* Reductions over any dimensions of a strided tensor: sums, products, extrema with and without positions,
 * truth, norms, log-sum-exp, variance.
 *
 * A worker (a thread, or a block) folds one chunk of the items of one output into a state; where an output
 * has several chunks, a second launch merges their states in order. Chunks depend on sizes only, so results
 * do not depend on timing. Floats are folded in double: no error grows with the length. */
#include "kernels.h"

#include "../src/reduce.h"

enum { BLOCK = 256, THREAD_ITEMS = 64, CHUNK = 16384, MOST_WORKERS = 4096 };

/* ---- folds: State start(), take(item, position), merge(later), write ---- */
template <typename A> CB_DEV bool nonzero(const A &v) { return v != A(0); }
CB_DEV double square(double v) { return v * v; }
CB_DEV double square(cb_complex128 v) { return v.re * v.re + v.im * v.im; }
CB_DEV double magnitude(double v) { return fabs(v); }
CB_DEV double magnitude(cb_complex128 v) { return fabs(v.re) > fabs(v.im) ? fabs(v.re) : fabs(v.im); }

struct shape_of_result {
    void *out[2];
    int dtype[2];
    int64_t count; /* items an output */
    double parameter;
};

template <typename A> struct fold_sum {
    A total;
    CB_DEV fold_sum start(int) { return {A(0)}; }
    __device__ void take(A v, int64_t, int op) {
        if (op == CB_REDUCE_nansum && v != v) return;
        total = total + v;
    }
    __device__ void merge(const fold_sum &later) { total = total + later.total; }
    __device__ void write(int op, const shape_of_result &r, int64_t at) const;
};
template <> __device__ void fold_sum<double>::write(int op, const shape_of_result &r, int64_t at) const {
    cb_store_as(r.dtype[0], r.out[0], at, op == CB_REDUCE_mean ? total / (double)r.count : total);
}
template <>
__device__ void fold_sum<cb_complex128>::write(int op, const shape_of_result &r, int64_t at) const {
    double n = op == CB_REDUCE_mean ? (double)r.count : 1;
    cb_store_as(r.dtype[0], r.out[0], at, cb_complex128(total.re / n, total.im / n));
}
template <> __device__ void fold_sum<int64_t>::write(int, const shape_of_result &r, int64_t at) const {
    cb_store_as(r.dtype[0], r.out[0], at, total);
}

template <typename A> struct fold_prod {
    A total;
    CB_DEV fold_prod start(int) { return {A(1)}; }
    __device__ void take(A v, int64_t, int) { total = total * v; }
    __device__ void merge(const fold_prod &later) { total = total * later.total; }
    __device__ void write(int, const shape_of_result &r, int64_t at) const {
        cb_store_as(r.dtype[0], r.out[0], at, total);
    }
};

/* all, any, count_nonzero: how many items are nonzero */
template <typename A> struct fold_count {
    int64_t total;
    CB_DEV fold_count start(int) { return {0}; }
    __device__ void take(A v, int64_t, int) { total += nonzero(v); }
    __device__ void merge(const fold_count &later) { total += later.total; }
    __device__ void write(int op, const shape_of_result &r, int64_t at) const {
        int64_t value = op == CB_REDUCE_all ? total == r.count : op == CB_REDUCE_any ? total > 0 : total;
        cb_store_as(r.dtype[0], r.out[0], at, value);
    }
};

/* the extreme value and its first position; nan comes before all numbers */
template <typename A> struct fold_extreme {
    A best;
    int64_t at;
    CB_DEV fold_extreme start(int) { return {A(0), -1}; }
    __device__ void offer(A v, int64_t position, bool largest) {
        bool better = at < 0 || (largest ? v > best : v < best) || (v != v && best == best);
        bool level = (v == best || (v != v && best != best)) && position < at;
        if (better || level) {
            best = v;
            at = position;
        }
    }
    CB_DEV bool largest(int op) { return op == CB_REDUCE_amax || op == CB_REDUCE_argmax; }
    __device__ void take(A v, int64_t position, int op) { offer(v, position, largest(op)); }
    __device__ void merge_as(const fold_extreme &later, int op) {
        if (later.at >= 0) offer(later.best, later.at, largest(op));
    }
    __device__ void write(int, const shape_of_result &r, int64_t place) const {
        if (r.out[0]) cb_store_as(r.dtype[0], r.out[0], place, best);
        if (r.out[1]) cb_store_as(r.dtype[1], r.out[1], place, at);
    }
};

/* sum_squares; norm2 of narrow floats */
template <typename A> struct fold_squares {
    double total;
    CB_DEV fold_squares start(int) { return {0}; }
    __device__ void take(A v, int64_t, int) { total += square(v); }
    __device__ void merge(const fold_squares &later) { total += later.total; }
    __device__ void write(int op, const shape_of_result &r, int64_t at) const {
        cb_store_as(r.dtype[0], r.out[0], at, op == CB_REDUCE_norm2 ? sqrt(total) : total);
    }
};

/* norm2 of float64: squares relative to the largest magnitude, so that nothing overflows or vanishes */
template <typename A> struct fold_norm {
    double scale, total;
    CB_DEV fold_norm start(int) { return {0, 0}; }
    __device__ void join(double s, double t) {
        if (!(s <= scale)) { /* larger, or nan */
            double ratio = s > 0 && s <= 1.7976931348623157e308 ? scale / s : 0;
            total = t + total * ratio * ratio;
            scale = s;
        } else if (scale > 0) {
            double ratio = scale <= 1.7976931348623157e308 ? s / scale : 0;
            total += t * ratio * ratio;
        }
    }
    __device__ void take(A v, int64_t, int) {
        double m = magnitude(v);
        if (m != m || scale != scale) {
            scale = total = m + scale;
        } else if (m > 0) {
            join(m, m <= 1.7976931348623157e308 ? of_unit(v, m) : 1);
        }
    }
    CB_DEV double of_unit(double, double) { return 1; }
    CB_DEV double of_unit(cb_complex128 v, double m) { return v.re / m * (v.re / m) + v.im / m * (v.im / m); }
    __device__ void merge(const fold_norm &later) {
        if (later.scale != later.scale || scale != scale)
            scale = total = later.scale + scale;
        else if (later.scale > 0)
            join(later.scale, later.total);
    }
    __device__ void write(int, const shape_of_result &r, int64_t at) const {
        cb_store_as(r.dtype[0], r.out[0], at, scale == 0 ? 0.0 : scale * sqrt(total));
    }
};

struct fold_logsumexp {
    double top, total;
    CB_DEV fold_logsumexp start(int) { return {-HUGE_VAL, 0}; }
    __device__ void join(double other, double sum) {
        if (other != other || top != top) {
            top = total = other + top;
            return;
        }
        double larger = other > top ? other : top, shift = fabs(larger) == HUGE_VAL ? 0 : larger;
        total = (total == 0 ? 0 : total * exp(top - shift)) + (sum == 0 ? 0 : sum * exp(other - shift));
        /* an infinite top: its terms are infinite themselves */
        top = larger;
        if (larger == HUGE_VAL) total = 1;
    }
    __device__ void take(double v, int64_t, int) { join(v, 1); }
    __device__ void merge(const fold_logsumexp &later) {
        if (later.total != 0 || later.top != later.top) join(later.top, later.total);
    }
    __device__ void write(int, const shape_of_result &r, int64_t at) const {
        double value = fabs(top) == HUGE_VAL || top != top ? top : top + log(total);
        cb_store_as(r.dtype[0], r.out[0], at, value);
    }
};

/* Welford 1962, joined as Chan, Golub & LeVeque 1983 */
struct fold_var {
    double count, mean, squares;
    CB_DEV fold_var start(int) { return {0, 0, 0}; }
    __device__ void take(double v, int64_t, int) {
        count += 1;
        double delta = v - mean;
        mean += delta / count;
        squares += delta * (v - mean);
    }
    __device__ void merge(const fold_var &later) {
        if (later.count == 0) return;
        double all = count + later.count, delta = later.mean - mean, share = later.count / all;
        squares += later.squares + delta * delta * count * share;
        mean += delta * share;
        count = all;
    }
    __device__ void write(int, const shape_of_result &r, int64_t at) const {
        double freedom = count - r.parameter;
        cb_store_as(r.dtype[0], r.out[0], at, squares / (freedom > 0 ? freedom : 0));
    }
};

template <typename F> CB_DEV void merge_states(F &into, const F &later, int) { into.merge(later); }
template <typename A> CB_DEV void merge_states(fold_extreme<A> &into, const fold_extreme<A> &later, int op) {
    into.merge_as(later, op);
}

/* ---- the sweep ---- */
struct plan {
    cb_walk<1> kept, reduced; /* of outputs, and of the items of one; operand 0 is x */
    const void *x;
    int dtype, op;
    int64_t chunk, chunks;
    shape_of_result result;
};

/* A is what items are loaded as. By blocks: all threads of a block work on one chunk. */
template <typename F, typename A, bool BY_BLOCKS> __global__ void fold_items(plan p, F *states) {
    int64_t workers = p.kept.numel * p.chunks;
    int64_t me = BY_BLOCKS ? blockIdx.x : (int64_t)blockIdx.x * BLOCK + threadIdx.x;
    int64_t step = BY_BLOCKS ? gridDim.x : (int64_t)gridDim.x * BLOCK;
    CB_SHARED(F, parts, BLOCK);
    for (; me < workers; me += step) {
        /* neighbouring threads have neighbouring outputs */
        int64_t output = me % p.kept.numel, c = me / p.kept.numel;
        int64_t base[1], at[1], end = (c + 1) * p.chunk;
        if (end > p.reduced.numel) end = p.reduced.numel;
        p.kept.offsets(output, base);
        F state = F::start(0);
        for (int64_t i = c * p.chunk + (BY_BLOCKS ? threadIdx.x : 0); i < end; i += BY_BLOCKS ? BLOCK : 1) {
            p.reduced.offsets(i, at);
            state.take(cb_load_as<A>(p.dtype, p.x, base[0] + at[0]), i, p.op);
        }
        if (BY_BLOCKS) {
            parts[threadIdx.x] = state;
            __syncthreads();
            for (unsigned half = BLOCK / 2; half > 0; half /= 2) {
                if (threadIdx.x < half) {
                    F mine = parts[threadIdx.x], later = parts[threadIdx.x + half];
                    merge_states(mine, later, p.op);
                    parts[threadIdx.x] = mine;
                }
                __syncthreads();
            }
            if (threadIdx.x == 0) state = parts[0];
            __syncthreads();
        }
        if (BY_BLOCKS && threadIdx.x != 0) continue;
        if (states)
            states[me] = state;
        else
            state.write(p.op, p.result, output);
    }
}

template <typename F> __global__ void join_chunks(plan p, const F *states) {
    int64_t step = (int64_t)gridDim.x * BLOCK;
    for (int64_t o = (int64_t)blockIdx.x * BLOCK + threadIdx.x; o < p.kept.numel; o += step) {
        F state = states[o];
        for (int64_t c = 1; c < p.chunks; c++) {
            F later = states[c * p.kept.numel + o];
            merge_states(state, later, p.op);
        }
        state.write(p.op, p.result, o);
    }
}

template <typename F, typename A> static int run(const plan &p, bool by_blocks) {
    int64_t workers = p.kept.numel * p.chunks;
    cb_scratch scratch(p.chunks > 1 ? workers * (int64_t)sizeof(F) : 0);
    if (!scratch.ok()) return CB_ERR_MEMORY;
    F *states = p.chunks > 1 ? scratch.as<F>() : nullptr;
    if (by_blocks)
        CB_LAUNCH((fold_items<F, A, true>), cb_fill_blocks(workers, 1), BLOCK, 0, cb_stream(), p, states);
    else
        CB_LAUNCH((fold_items<F, A, false>), cb_fill_blocks(workers, BLOCK), BLOCK, 0, cb_stream(), p,
                  states);
    if (states)
        CB_LAUNCH((join_chunks<F>), cb_fill_blocks(p.kept.numel, BLOCK), BLOCK, 0, cb_stream(), p, states);
    return cb_launched("reduce");
}

/* x's dimensions with (mask's bit) == want; false: too many */
static bool walk_of(cb_walk<1> *w, const cb_tensor *x, uint32_t mask, bool want) {
    int64_t shape[CB_MAX_NDIM], strides[CB_MAX_NDIM];
    const int64_t *one[1] = {strides};
    int n = 0;
    for (int d = 0; d < x->ndim; d++) {
        if ((mask >> d & 1) != (uint32_t)want) continue;
        shape[n] = x->shape[d];
        strides[n++] = x->strides[d];
    }
    return cb_walk_rows(w, n, shape, one);
}

template <typename A> static int run_number(const plan &p, bool by_blocks) {
    switch (p.op) {
        case CB_REDUCE_prod: return run<fold_prod<A>, A>(p, by_blocks);
        case CB_REDUCE_all:
        case CB_REDUCE_any:
        case CB_REDUCE_count_nonzero: return run<fold_count<A>, A>(p, by_blocks);
        default: return run<fold_sum<A>, A>(p, by_blocks);
    }
}

int cb_cuda_reduce(int op, const cb_tensor *x, uint32_t mask, double parameter, cb_tensor *const *out) {
    plan p;
    if (!walk_of(&p.kept, x, mask, false) || !walk_of(&p.reduced, x, mask, true))
        return cb_host_round_trip()->reduce(op, x, mask, parameter, out);
    p.x = x->data;
    p.dtype = x->dtype;
    p.op = op;
    for (int k = 0; k < 2; k++) {
        p.result.out[k] = out[k] ? out[k]->data : nullptr;
        p.result.dtype[k] = out[k] ? out[k]->dtype : 0;
    }
    p.result.count = p.reduced.numel;
    p.result.parameter = parameter;
    int64_t n = p.reduced.numel, outputs = p.kept.numel;
    if (outputs == 0) return CB_OK;
    /* rows of memory go to blocks, columns to threads, which then read neighbours together */
    bool rows = p.reduced.strides[0][p.reduced.ndim - 1] == 1 || outputs < 32;
    bool by_blocks = rows && n > THREAD_ITEMS;
    int64_t wanted = by_blocks ? MOST_WORKERS : MOST_WORKERS * 32, least = by_blocks ? CHUNK : 256;
    p.chunks = outputs < wanted ? (n + least - 1) / least : 1;
    if (p.chunks > wanted / outputs) p.chunks = wanted / outputs;
    if (p.chunks < 1) p.chunks = 1;
    p.chunk = (n + p.chunks - 1) / p.chunks;
    if (p.chunk < 1) p.chunk = 1;

    char kind = cb_dtypes[x->dtype].kind;
    switch (op) {
        case CB_REDUCE_logsumexp: return run<fold_logsumexp, double>(p, by_blocks);
        case CB_REDUCE_var: return run<fold_var, double>(p, by_blocks);
        case CB_REDUCE_norm2:
            if (x->dtype == CB_F64) return run<fold_norm<double>, double>(p, by_blocks);
            if (x->dtype == CB_C128) return run<fold_norm<cb_complex128>, cb_complex128>(p, by_blocks);
            [[fallthrough]];
        case CB_REDUCE_sum_squares:
            if (kind == 'C') return run<fold_squares<cb_complex128>, cb_complex128>(p, by_blocks);
            if (kind != 'F') return cb_host_round_trip()->reduce(op, x, mask, parameter, out);
            return run<fold_squares<double>, double>(p, by_blocks);
        case CB_REDUCE_amax:
        case CB_REDUCE_amin:
        case CB_REDUCE_argmax:
        case CB_REDUCE_argmin:
            if (kind == 'F') return run<fold_extreme<double>, double>(p, by_blocks);
            if (x->dtype == CB_U64) return run<fold_extreme<uint64_t>, uint64_t>(p, by_blocks);
            return run<fold_extreme<int64_t>, int64_t>(p, by_blocks);
        default: break;
    }
    if (kind == 'C') return run_number<cb_complex128>(p, by_blocks);
    if (kind == 'F') return run_number<double>(p, by_blocks);
    return run_number<int64_t>(p, by_blocks);
}
