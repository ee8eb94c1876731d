/* Iteration over strided operands that broadcast to one shape: the host merges dimensions (as
 * cpu/iterate.c does), kernels turn the number of an item into the offsets of its operands.
 *
 *     cb_walk<3> w;                                    // out, x, y: by value to the kernel
 *     const cb_tensor *operands[] = {out, x, y};
 *     if (!cb_walk_init(&w, operands)) return cb_host_round_trip()->...;  // over CB_WALK_DIMS dims
 *     in the kernel: int64_t at[3]; w.offsets(i, at);  // elements from each operand's data */
#ifndef CB_WALK_H
#define CB_WALK_H

enum { CB_WALK_DIMS = 12 };

/* n / divisor and n % divisor for n < 2^31 by one multiplication (Granlund & Montgomery 1994) */
struct cb_divisor {
    uint32_t by, magic, shift;
    void set(uint32_t divisor) {
        by = divisor;
        shift = 0;
        while (shift < 31 && (1u << shift) < divisor) shift++;
        magic = (uint32_t)(((uint64_t)1 << 32) * (((uint64_t)1 << shift) - divisor) / divisor + 1);
    }
    __device__ __forceinline__ uint32_t divide(uint32_t n) const { return (__umulhi(n, magic) + n) >> shift; }
};

template <int N> struct cb_walk {
    int ndim; /* at least 1; dimension ndim - 1 is the innermost */
    int small; /* items are numbered below 2^31 */
    int64_t numel;
    int64_t shape[CB_WALK_DIMS];
    cb_divisor fast[CB_WALK_DIMS];
    int64_t strides[N][CB_WALK_DIMS]; /* elements */

    __device__ __forceinline__ void offsets(int64_t i, int64_t (&at)[N]) const {
        for (int k = 0; k < N; k++) at[k] = 0;
        if (small) {
            uint32_t rest = (uint32_t)i;
            for (int d = ndim - 1; d > 0; d--) {
                uint32_t q = fast[d].divide(rest);
                uint32_t r = rest - q * fast[d].by;
                rest = q;
                for (int k = 0; k < N; k++) at[k] += r * strides[k][d];
            }
            for (int k = 0; k < N; k++) at[k] += rest * strides[k][0];
        } else {
            for (int d = ndim - 1; d > 0; d--) {
                int64_t q = i / shape[d], r = i - q * shape[d];
                i = q;
                for (int k = 0; k < N; k++) at[k] += r * strides[k][d];
            }
            for (int k = 0; k < N; k++) at[k] += i * strides[k][0];
        }
    }
    /* is operand k one unbroken run of memory? */
    bool dense(int k) const {
        int64_t expected = 1;
        for (int d = ndim - 1; d >= 0; d--) {
            if (strides[k][d] != expected) return false;
            expected *= shape[d];
        }
        return true;
    }
};

/* operands[1..N) broadcast to the shape of operands[0]; size-1 dimensions dropped, dimensions ordered by the
 * first operand's strides, neighbours merged where all operands allow it. False: more dimensions are left
 * than CB_WALK_DIMS. */
bool cb_walk_merge(int count, const cb_tensor *const *operands, int *ndim, int64_t *shape, int64_t *strides);

template <int N> static inline bool cb_walk_init(cb_walk<N> *w, const cb_tensor *const *operands) {
    w->numel = operands[0]->numel;
    w->small = w->numel < ((int64_t)1 << 31);
    if (!cb_walk_merge(N, operands, &w->ndim, w->shape, &w->strides[0][0])) return false;
    for (int d = 0; d < w->ndim; d++) w->fast[d].set(w->small ? (uint32_t)w->shape[d] : 1);
    return true;
}

/* The same over a shape in row-major order, whatever the strides: strides[k] are operand k's. Size-1
 * dimensions are dropped and neighbours merged. False: more dimensions are left than CB_WALK_DIMS. */
template <int N>
static inline bool cb_walk_rows(cb_walk<N> *w, int ndim, const int64_t *shape,
                                const int64_t *const *strides) {
    int n = 0;
    w->numel = 1;
    for (int d = 0; d < ndim; d++) {
        w->numel *= shape[d];
        if (shape[d] == 1) continue;
        bool joins = n > 0;
        for (int k = 0; k < N && joins; k++) joins = w->strides[k][n - 1] == strides[k][d] * shape[d];
        if (!joins && n == CB_WALK_DIMS) return false;
        if (joins)
            w->shape[n - 1] *= shape[d];
        else
            w->shape[n++] = shape[d];
        for (int k = 0; k < N; k++) w->strides[k][n - 1] = strides[k][d];
    }
    if (n == 0) {
        w->shape[n++] = 1;
        for (int k = 0; k < N; k++) w->strides[k][0] = 0;
    }
    w->ndim = n;
    w->small = w->numel < ((int64_t)1 << 31);
    for (int d = 0; d < n; d++) w->fast[d].set(w->small && w->shape[d] > 0 ? (uint32_t)w->shape[d] : 1);
    return true;
}

/* the indices of item i in three dimensions: those of convolution and pooling */
CB_DEV void cb_split3(int64_t i, const int64_t *sizes, int64_t (&at)[3]) {
    at[2] = i % sizes[2];
    at[1] = i / sizes[2] % sizes[1];
    at[0] = i / sizes[2] / sizes[1];
}
#endif
