/* Convolution and both its gradients as implicit matrix products: the patches are never stored, their items
 * are read from x (or y) when a tile is loaded. Groups, stride, padding, dilation, one to three dimensions.
 *
 *   forward      y[n, f, o]  = sum over c, t of w[f, c, t] x[n, c, o stride - padding + t dilation]
 *   input grad   x[n, c, i]  = sum over f, t of w[f, c, t] y[n, f, (i + padding - t dilation) / stride]
 *   weight grad  w[f, c, t]  = sum over n, o of y[n, f, o] x[n, c, ...]
 *
 * Each is a product of a matrix with rows by filters or channels of one group, and columns by positions (or
 * taps). */
#include "kernels.h"

#include "tile.h"

enum { FORWARD, INPUT_GRAD, WEIGHT_GRAD };

struct problem {
    int64_t n, groups, ic, oc;
    int64_t in[3], out[3], kernel[3], stride[3], padding[3], dilation[3];
    int64_t ins, outs, taps; /* products of the sizes */
    int64_t rows, columns, depth;
};

/* the place in the input of output o under tap t; -1 in the padding */
CB_DEV int64_t input_of(const problem &p, int64_t o, int64_t t) {
    int64_t at[3], tap[3], i = 0;
    cb_split3(o, p.out, at);
    cb_split3(t, p.kernel, tap);
    for (int d = 0; d < 3; d++) {
        int64_t place = at[d] * p.stride[d] - p.padding[d] + tap[d] * p.dilation[d];
        if (place < 0 || place >= p.in[d]) return -1;
        i = i * p.in[d] + place;
    }
    return i;
}
/* the output whose tap t reads input i; -1: none */
CB_DEV int64_t output_of(const problem &p, int64_t i, int64_t t) {
    int64_t at[3], tap[3], o = 0;
    cb_split3(i, p.in, at);
    cb_split3(t, p.kernel, tap);
    for (int d = 0; d < 3; d++) {
        int64_t place = at[d] + p.padding[d] - tap[d] * p.dilation[d];
        if (place < 0 || place % p.stride[d] != 0 || place / p.stride[d] >= p.out[d]) return -1;
        o = o * p.out[d] + place / p.stride[d];
    }
    return o;
}

/* item (row, k) of the left matrix of a group: u is w, or y for weight gradients */
template <int KIND, typename S>
CB_DEV S left_item(const problem &p, int64_t g, int64_t row, int64_t k, const S *u) {
    if (KIND == FORWARD) return u[(g * p.oc + row) * p.depth + k];
    if (KIND == INPUT_GRAD) return u[((g * p.oc + k / p.taps) * p.ic + row) * p.taps + k % p.taps];
    return u[(k / p.outs * p.groups * p.oc + g * p.oc + row) * p.outs + k % p.outs];
}
/* item (k, column) of the right one; false: zero */
template <int KIND, typename S>
CB_DEV bool right_item(const problem &p, int64_t g, int64_t k, int64_t column, const S *v, S *item) {
    int64_t place, plane;
    if (KIND == FORWARD) {
        place = input_of(p, column % p.outs, k % p.taps);
        plane = column / p.outs * p.groups * p.ic + g * p.ic + k / p.taps;
    } else if (KIND == INPUT_GRAD) {
        place = output_of(p, column % p.ins, k % p.taps);
        plane = column / p.ins * p.groups * p.oc + g * p.oc + k / p.taps;
    } else {
        place = input_of(p, k % p.outs, column % p.taps);
        plane = k / p.outs * p.groups * p.ic + g * p.ic + column / p.taps;
    }
    if (place < 0) return false;
    *item = v[plane * (KIND == INPUT_GRAD ? p.outs : p.ins) + place];
    return true;
}
template <int KIND> CB_DEV int64_t result_of(const problem &p, int64_t g, int64_t row, int64_t column) {
    if (KIND == FORWARD)
        return (column / p.outs * p.groups * p.oc + g * p.oc + row) * p.outs + column % p.outs;
    if (KIND == INPUT_GRAD)
        return (column / p.ins * p.groups * p.ic + g * p.ic + row) * p.ins + column % p.ins;
    return (g * p.oc + row) * p.columns + column;
}

template <int KIND, typename S, typename A> struct left_items {
    static constexpr bool along_depth = true;
    const problem &p;
    int64_t g, i0;
    const S *u;
    __device__ __forceinline__ A operator()(unsigned i, int64_t k) const {
        return i0 + i < p.rows && k < p.depth ? cb_to<A>(left_item<KIND>(p, g, i0 + i, k, u)) : A(0);
    }
};
template <int KIND, typename S, typename A> struct right_items {
    static constexpr bool along_depth = false;
    const problem &p;
    int64_t g, j0;
    const S *v;
    __device__ __forceinline__ A operator()(unsigned j, int64_t k) const {
        S item;
        bool found = j0 + j < p.columns && k < p.depth && right_item<KIND>(p, g, k, j0 + j, v, &item);
        return found ? cb_to<A>(item) : A(0);
    }
};

template <int KIND, typename S, typename A>
__global__ void __launch_bounds__(CB_TILE_THREADS) convolve(problem p, S *result, const S *u, const S *v) {
    CB_SHARED(A, shared, CB_TILE_SHARED);
    int64_t tiles_n = (p.columns + CB_TILE - 1) / CB_TILE, tiles = (p.rows + CB_TILE - 1) / CB_TILE * tiles_n;
    for (int64_t work = blockIdx.x; work < tiles * p.groups; work += gridDim.x) {
        int64_t g = work / tiles, i0 = work % tiles / tiles_n * CB_TILE, j0 = work % tiles_n * CB_TILE;
        A sums[CB_TILE_EACH][CB_TILE_EACH];
        cb_tile_product(p.depth, left_items<KIND, S, A>{p, g, i0, u}, right_items<KIND, S, A>{p, g, j0, v},
                        shared, sums);
        for (int f = 0; f < CB_TILE_EACH; f++)
            for (int e = 0; e < CB_TILE_EACH; e++) {
                int64_t i = i0 + cb_tile_row(f), j = j0 + cb_tile_column(e);
                if (i < p.rows && j < p.columns) result[result_of<KIND>(p, g, i, j)] = cb_to<S>(sums[f][e]);
            }
    }
}

template <int KIND, typename S, typename A>
static int run(const problem &p, void *result, const void *u, const void *v) {
    int64_t tiles = (p.rows + CB_TILE - 1) / CB_TILE * ((p.columns + CB_TILE - 1) / CB_TILE) * p.groups;
    if (tiles == 0) return CB_OK;
    CB_LAUNCH((convolve<KIND, S, A>), cb_blocks(tiles, 1, INT32_MAX), CB_TILE_THREADS, 0, cb_stream(), p,
              (S *)result, (const S *)u, (const S *)v);
    return cb_launched("conv");
}

template <int KIND> static int run_kind(const cb_conv_shape *s, void *result, const void *u, const void *v) {
    problem p = {s->n, s->groups, s->ic, s->oc, {0}, {0}, {0}, {0}, {0}, {0}, 1, 1, 1, 0, 0, 0};
    for (int d = 0; d < 3; d++) {
        p.ins *= p.in[d] = s->in[d];
        p.outs *= p.out[d] = s->out[d];
        p.taps *= p.kernel[d] = s->kernel[d];
        p.stride[d] = s->stride[d];
        p.padding[d] = s->padding[d];
        p.dilation[d] = s->dilation[d];
    }
    p.rows = KIND == INPUT_GRAD ? s->ic : s->oc;
    p.columns = KIND == FORWARD ? s->n * p.outs : KIND == INPUT_GRAD ? s->n * p.ins : s->ic * p.taps;
    p.depth = KIND == FORWARD ? s->ic * p.taps : KIND == INPUT_GRAD ? s->oc * p.taps : s->n * p.outs;
    switch (s->dtype) {
        case CB_F32: return run<KIND, float, float>(p, result, u, v);
        case CB_F64: return run<KIND, double, double>(p, result, u, v);
        case CB_F16: return run<KIND, cb_f16, float>(p, result, u, v);
        case CB_BF16: return run<KIND, cb_bf16, float>(p, result, u, v);
        case CB_C64: return run<KIND, cb_complex64, cb_complex64>(p, result, u, v);
        case CB_C128: return run<KIND, cb_complex128, cb_complex128>(p, result, u, v);
        default: break;
    }
    switch (cb_dtypes[s->dtype].size) { /* products of integers wrap, signed or not */
        case 1: return run<KIND, uint8_t, uint32_t>(p, result, u, v);
        case 2: return run<KIND, uint16_t, uint32_t>(p, result, u, v);
        case 4: return run<KIND, uint32_t, uint32_t>(p, result, u, v);
        default: return run<KIND, uint64_t, uint64_t>(p, result, u, v);
    }
}

int cb_cuda_conv(const cb_conv_shape *s, void *y, const void *x, const void *w) {
    return run_kind<FORWARD>(s, y, w, x);
}
int cb_cuda_conv_input_grad(const cb_conv_shape *s, void *x, const void *y, const void *w) {
    return run_kind<INPUT_GRAD>(s, x, w, y);
}
int cb_cuda_conv_weight_grad(const cb_conv_shape *s, void *w, const void *y, const void *x) {
    return run_kind<WEIGHT_GRAD>(s, w, y, x);
}
