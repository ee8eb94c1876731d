/* Softmax and log-softmax along a dimension, cross-entropy of labels, and their gradients; operands
 * contiguous.
 *
 * A block takes a line (a thread where lines lie side by side): one pass for maximum and sum together
 * (Milakov & Gimelshein 2018), one to write. Each is computed in float, or in double for float64. */
#include "kernels.h"

#include "math_of.h"

enum { BLOCK = 256, WIDE = 32 };

/* maximum and sum of exp(x - maximum) */
template <typename F> struct spread {
    F top, sum;
};
template <typename F> CB_DEV spread<F> join(const spread<F> &a, const spread<F> &b) {
    F top = a.top != a.top || a.top > b.top ? a.top : b.top;
    F shift = fabs(top) == (F)HUGE_VAL ? (F)0 : top;
    return {top, cb_exp(a.top - shift) * a.sum + cb_exp(b.top - shift) * b.sum};
}
struct join_spreads {
    template <typename F> __device__ spread<F> operator()(const spread<F> &a, const spread<F> &b) const {
        return join(a, b);
    }
};

/* Lines of n items, `inner` apart. By blocks all threads of a block share one, else each thread has one. */
struct lines {
    int dtype, log;
    int64_t count, n, inner;
};

template <bool BY_BLOCKS> struct worker {
    int64_t line, step;
    unsigned first, stride;
    __device__ worker() {
        line = BY_BLOCKS ? (int64_t)blockIdx.x : (int64_t)blockIdx.x * BLOCK + threadIdx.x;
        step = BY_BLOCKS ? (int64_t)gridDim.x : (int64_t)gridDim.x * BLOCK;
        first = BY_BLOCKS ? threadIdx.x : 0;
        stride = BY_BLOCKS ? BLOCK : 1;
    }
};

CB_DEV int64_t start_of(const lines &l, int64_t line) {
    return line / l.inner * l.n * l.inner + line % l.inner;
}

template <typename F, bool BY_BLOCKS> __global__ void softmax_lines(lines l, const void *x, void *out) {
    CB_SHARED(spread<F>, parts, 32);
    worker<BY_BLOCKS> w;
    for (; w.line < l.count; w.line += w.step) {
        int64_t base = start_of(l, w.line);
        spread<F> all = {-(F)HUGE_VAL, 0};
        for (int64_t i = w.first; i < l.n; i += w.stride)
            all = join(all, spread<F>{cb_load_as<F>(l.dtype, x, base + i * l.inner), 1});
        if (BY_BLOCKS) all = cb_block_reduce(all, parts, join_spreads());
        if (all.top == (F)HUGE_VAL) all.sum = all.top = all.top - all.top; /* inf beside anything: nan */
        F shift = l.log ? all.top + cb_log(all.sum) : all.top;
        for (int64_t i = w.first; i < l.n; i += w.stride) {
            F v = cb_load_as<F>(l.dtype, x, base + i * l.inner) - shift;
            cb_store_as(l.dtype, out, base + i * l.inner, l.log ? v : cb_exp(v) / all.sum);
        }
    }
}

template <typename F, bool BY_BLOCKS>
__global__ void softmax_grad_lines(lines l, const void *ct, const void *y, void *out) {
    CB_SHARED(F, parts, 32);
    worker<BY_BLOCKS> w;
    for (; w.line < l.count; w.line += w.step) {
        int64_t base = start_of(l, w.line);
        F sum = 0;
        for (int64_t i = w.first; i < l.n; i += w.stride) {
            F g = cb_load_as<F>(l.dtype, ct, base + i * l.inner);
            sum += l.log ? g : g * cb_load_as<F>(l.dtype, y, base + i * l.inner);
        }
        if (BY_BLOCKS) sum = cb_block_reduce(sum, parts, cb_op_sum());
        for (int64_t i = w.first; i < l.n; i += w.stride) {
            F g = cb_load_as<F>(l.dtype, ct, base + i * l.inner);
            F v = cb_load_as<F>(l.dtype, y, base + i * l.inner);
            cb_store_as(l.dtype, out, base + i * l.inner, l.log ? g - cb_exp(v) * sum : v * (g - sum));
        }
    }
}

static lines lines_of(const cb_tensor *x, int dim, int log) {
    lines l = {x->dtype, log, 1, x->ndim ? x->shape[dim] : 1, 1};
    for (int d = 0; d < x->ndim; d++) {
        if (d != dim) l.count *= x->shape[d];
        if (d > dim) l.inner *= x->shape[d];
    }
    return l;
}

/* launches kernel<F, BY_BLOCKS> */
#define RUN(kernel, l, ...)                                                                      \
    do {                                                                                         \
        bool by_blocks = (l).inner < WIDE && (l).n > 16;                                         \
        unsigned grid = cb_fill_blocks((l).count, by_blocks ? 1 : BLOCK);                        \
        if ((l).dtype == CB_F64) {                                                               \
            if (by_blocks)                                                                       \
                CB_LAUNCH((kernel<double, true>), grid, BLOCK, 0, cb_stream(), l, __VA_ARGS__);  \
            else                                                                                 \
                CB_LAUNCH((kernel<double, false>), grid, BLOCK, 0, cb_stream(), l, __VA_ARGS__); \
        } else {                                                                                 \
            if (by_blocks)                                                                       \
                CB_LAUNCH((kernel<float, true>), grid, BLOCK, 0, cb_stream(), l, __VA_ARGS__);   \
            else                                                                                 \
                CB_LAUNCH((kernel<float, false>), grid, BLOCK, 0, cb_stream(), l, __VA_ARGS__);  \
        }                                                                                        \
    } while (0)

int cb_cuda_softmax(const cb_tensor *x, int dim, int log, cb_tensor *out) {
    lines l = lines_of(x, dim, log);
    RUN(softmax_lines, l, x->data, out->data);
    return cb_launched(log ? "log_softmax" : "softmax");
}

int cb_cuda_softmax_grad(const cb_tensor *ct, const cb_tensor *y, int dim, int log, cb_tensor *out) {
    lines l = lines_of(y, dim, log);
    RUN(softmax_grad_lines, l, ct->data, y->data, out->data);
    return cb_launched(log ? "log_softmax" : "softmax");
}

/* ---- cross-entropy ---- */

struct entropy {
    const void *x;
    const int64_t *labels;
    int64_t ignore;
    unsigned long long *bad; /* the first row with a label out of range */
};

template <typename F, bool BY_BLOCKS>
__global__ void entropy_lines(lines l, entropy e, void *losses, F *totals) {
    CB_SHARED(spread<F>, parts, 32);
    worker<BY_BLOCKS> w;
    for (; w.line < l.count; w.line += w.step) {
        int64_t base = start_of(l, w.line), label = e.labels[w.line];
        spread<F> all = {-(F)HUGE_VAL, 0};
        for (int64_t i = w.first; i < l.n; i += w.stride)
            all = join(all, spread<F>{cb_load_as<F>(l.dtype, e.x, base + i), 1});
        if (BY_BLOCKS) all = cb_block_reduce(all, parts, join_spreads());
        if (w.first != 0) continue;
        F total = all.top + cb_log(all.sum), loss = 0;
        totals[w.line] = total;
        if (label != e.ignore) {
            if (label >= 0 && label < l.n)
                loss = total - cb_load_as<F>(l.dtype, e.x, base + label);
            else
                atomicMin(e.bad, (unsigned long long)w.line);
        }
        cb_store_as(l.dtype, losses, w.line, loss);
    }
}

template <typename F, bool BY_BLOCKS>
__global__ void entropy_grad_lines(lines l, entropy e, const F *ct, const F *totals, void *out) {
    worker<BY_BLOCKS> w;
    for (; w.line < l.count; w.line += w.step) {
        int64_t base = start_of(l, w.line), label = e.labels[w.line];
        F share = label == e.ignore ? (F)0 : ct[w.line], total = totals[w.line];
        for (int64_t i = w.first; i < l.n; i += w.stride) {
            F v = label == e.ignore ? (F)0 : cb_exp(cb_load_as<F>(l.dtype, e.x, base + i) - total) * share;
            cb_store_as(l.dtype, out, base + i, i == label && label != e.ignore ? v - share : v);
        }
    }
}

/* labels out of range are an error here too, which costs a wait for the device */
static int check_labels(const lines &l, const entropy &e) {
    if (cb_is_recording_graph())
        return cb_check_later(e.bad, "cross_entropy: expected labels in [0, %lld)", (long long)l.n);
    unsigned long long row;
    int status = cb_read_back(&row, e.bad, sizeof row);
    if (status || row == ~0ull) return status;
    int64_t label;
    status = cb_read_back(&label, e.labels + row, sizeof label);
    return status ? status
                  : cb_fail(CB_ERR_INDEX,
                            "cross_entropy: expected labels in [0, %lld), got %lld in row %lld. Mark rows to "
                            "skip with ignore_index.",
                            (long long)l.n, (long long)label, (long long)row);
}

/* one label, and lines without gaps */
#define RUN_ENTROPY(kernel, l, ...)                                                     \
    do {                                                                                \
        bool by_blocks = (l).n > 16;                                                    \
        unsigned grid = cb_fill_blocks((l).count, by_blocks ? 1 : BLOCK);               \
        if (by_blocks)                                                                  \
            CB_LAUNCH((kernel<F, true>), grid, BLOCK, 0, cb_stream(), l, __VA_ARGS__);  \
        else                                                                            \
            CB_LAUNCH((kernel<F, false>), grid, BLOCK, 0, cb_stream(), l, __VA_ARGS__); \
    } while (0)

template <typename F>
static int run_entropy(const lines &l, const cb_tensor *logits, const cb_tensor *labels, int64_t ignore,
                       cb_tensor *losses, cb_tensor *totals) {
    cb_scratch bad(sizeof(unsigned long long));
    if (!bad.ok()) return CB_ERR_MEMORY;
    int status = cb_set_bytes(bad.data, 255, sizeof(unsigned long long));
    if (status) return status;
    entropy e = {logits->data, (const int64_t *)labels->data, ignore, bad.as<unsigned long long>()};
    RUN_ENTROPY(entropy_lines, l, e, losses->data, (F *)totals->data);
    status = cb_launched("cross_entropy");
    return status ? status : check_labels(l, e);
}

int cb_cuda_cross_entropy(const cb_tensor *logits, const cb_tensor *labels, int64_t ignore, cb_tensor *losses,
                          cb_tensor *totals) {
    lines l = lines_of(logits, 1, 1);
    if (l.dtype == CB_F64) return run_entropy<double>(l, logits, labels, ignore, losses, totals);
    return run_entropy<float>(l, logits, labels, ignore, losses, totals);
}

template <typename F>
static int run_entropy_grad(const lines &l, const cb_tensor *ct, const cb_tensor *logits,
                            const cb_tensor *labels, const cb_tensor *totals, int64_t ignore,
                            cb_tensor *out) {
    /* the forward pass has checked the labels; one out of range meets no class */
    entropy e = {logits->data, (const int64_t *)labels->data, ignore, nullptr};
    RUN_ENTROPY(entropy_grad_lines, l, e, (const F *)ct->data, (const F *)totals->data, out->data);
    return cb_launched("cross_entropy");
}

int cb_cuda_cross_entropy_grad(const cb_tensor *ct, const cb_tensor *logits, const cb_tensor *labels,
                               const cb_tensor *totals, int64_t ignore, cb_tensor *out) {
    lines l = lines_of(logits, 1, 1);
    if (l.dtype == CB_F64) return run_entropy_grad<double>(l, ct, logits, labels, totals, ignore, out);
    return run_entropy_grad<float>(l, ct, logits, labels, totals, ignore, out);
}
