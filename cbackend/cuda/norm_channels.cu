/* Batch and group norm: x [n, c, inner] normalised per channel, or per group of channels of each n. A block
 * takes the items of a channel or a group (in the gradient, of a row of a group's) for sums; results are
 * elementwise.
 */
#include "kernels.h"

enum { BLOCK = 256 };

struct layout {
    int dtype;
    int64_t n, c, inner, groups;
    double eps;
    int64_t sets, members, items; /* of statistics; rows and items of each */
};

/* where item i of a set lies */
CB_DEV int64_t item_at(const layout &l, int64_t set, int64_t i) {
    return l.groups ? set * l.items + i : (i / l.inner * l.c + set) * l.inner + i % l.inner;
}

template <typename F> __global__ void moments(layout l, const void *x, F *means, F *vars) {
    CB_SHARED(F, parts, 32);
    for (int64_t set = blockIdx.x; set < l.sets; set += gridDim.x) {
        F sum = 0, squares = 0;
        for (int64_t i = threadIdx.x; i < l.items; i += BLOCK)
            sum += cb_load_as<F>(l.dtype, x, item_at(l, set, i));
        F mean = cb_block_reduce(sum, parts, cb_op_sum()) / (F)l.items;
        for (int64_t i = threadIdx.x; i < l.items; i += BLOCK) {
            F v = cb_load_as<F>(l.dtype, x, item_at(l, set, i)) - mean;
            squares += v * v;
        }
        squares = cb_block_reduce(squares, parts, cb_op_sum());
        if (threadIdx.x == 0) {
            means[set] = mean;
            vars[set] = squares / (F)l.items;
        }
    }
}

template <typename F> CB_DEV F root(const layout &l, const F *vars, int64_t set) {
    return (F)(1 / sqrt((double)vars[set] + l.eps));
}

template <typename F>
__global__ void scale(layout l, const void *x, const F *means, const F *vars, const F *weight, const F *bias,
                      void *y) {
    int64_t total = l.n * l.c * l.inner;
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < total; i += (int64_t)gridDim.x * BLOCK) {
        int64_t row = i / l.inner, channel = row % l.c, set = l.groups ? row / l.members : channel;
        F v = cb_load_as<F>(l.dtype, x, i) - means[set];
        cb_store_as(l.dtype, y, i, v * (root(l, vars, set) * weight[channel]) + bias[channel]);
    }
}

/* sums [lines, 2] of ct and of ct * (x - mean): of a channel, or of a row [n * c] where there are groups */
template <typename F>
__global__ void line_sums(layout l, int64_t lines, const void *ct, const void *x, const F *means, F *sums) {
    CB_SHARED(F, parts, 32);
    int64_t items = l.groups ? l.inner : l.items;
    for (int64_t line = blockIdx.x; line < lines; line += gridDim.x) {
        F plain = 0, scaled = 0, mean = means[l.groups ? line / l.members : line];
        for (int64_t i = threadIdx.x; i < items; i += BLOCK) {
            int64_t at = l.groups ? line * l.inner + i : item_at(l, line, i);
            F g = cb_load_as<F>(l.dtype, ct, at);
            plain += g;
            scaled += g * (cb_load_as<F>(l.dtype, x, at) - mean);
        }
        plain = cb_block_reduce(plain, parts, cb_op_sum());
        scaled = cb_block_reduce(scaled, parts, cb_op_sum());
        if (threadIdx.x == 0) {
            sums[2 * line] = plain;
            sums[2 * line + 1] = scaled;
        }
    }
}

/* [sets, 2]: what dx has of a set besides ct, a shift and a multiple of x - mean */
template <typename F>
__global__ void join_sets(layout l, const F *sums, const F *vars, const F *weight, F *joined) {
    int64_t lines = l.groups ? l.members : 1;
    for (int64_t set = (int64_t)blockIdx.x * BLOCK + threadIdx.x; set < l.sets;
         set += (int64_t)gridDim.x * BLOCK) {
        double plain = 0, scaled = 0, rstd = (double)root(l, vars, set), items = (double)l.items;
        for (int64_t i = set * lines; i < (set + 1) * lines; i++) {
            plain += (double)weight[i % l.c] * (double)sums[2 * i];
            scaled += (double)weight[i % l.c] * (double)sums[2 * i + 1];
        }
        joined[2 * set] = (F)(-rstd * plain / items);
        joined[2 * set + 1] = (F)(-rstd * rstd * rstd * scaled / items);
    }
}

template <typename F>
__global__ void join_channels(layout l, int64_t lines, const F *sums, const F *vars, int dtype, void *dweight,
                              void *dbias) {
    for (int64_t c = (int64_t)blockIdx.x * BLOCK + threadIdx.x; c < l.c; c += (int64_t)gridDim.x * BLOCK) {
        double plain = 0, scaled = 0;
        for (int64_t i = c; i < lines && l.items > 0; i += l.c) {
            plain += (double)sums[2 * i];
            scaled += (double)root(l, vars, l.groups ? i / l.members : c) * (double)sums[2 * i + 1];
        }
        cb_store_as(dtype, dweight, c, scaled);
        cb_store_as(dtype, dbias, c, plain);
    }
}

/* joined: NULL where statistics are given */
template <typename F>
__global__ void give_grad(layout l, const void *ct, const void *x, const F *means, const F *vars,
                          const F *weight, const F *joined, void *dx) {
    int64_t total = l.n * l.c * l.inner;
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < total; i += (int64_t)gridDim.x * BLOCK) {
        int64_t row = i / l.inner, channel = row % l.c, set = l.groups ? row / l.members : channel;
        F v = cb_load_as<F>(l.dtype, ct, i) * (root(l, vars, set) * weight[channel]);
        if (joined) v += (cb_load_as<F>(l.dtype, x, i) - means[set]) * joined[2 * set + 1] + joined[2 * set];
        cb_store_as(l.dtype, dx, i, v);
    }
}

static layout layout_of(const cb_tensor *x, int64_t groups, double eps) {
    layout l = {x->dtype, x->shape[0], x->shape[1], 1, groups, eps, 0, 0, 0};
    for (int d = 2; d < x->ndim; d++) l.inner *= x->shape[d];
    l.sets = groups ? l.n * groups : l.c;
    l.members = groups ? l.c / groups : l.n;
    l.items = l.members * l.inner;
    return l;
}

template <typename F> static F *data_of(const cb_tensor *x) { return (F *)x->data; }

template <typename F>
static int forward(const cb_tensor *x, int64_t groups, const cb_tensor *weight, const cb_tensor *bias,
                   double eps, int fixed, cb_tensor *const *out) {
    layout l = layout_of(x, groups, eps);
    F *means = data_of<F>(out[1]), *vars = data_of<F>(out[2]);
    if (!fixed)
        CB_LAUNCH((moments<F>), cb_fill_blocks(l.sets, 1), BLOCK, 0, cb_stream(), l, x->data, means, vars);
    if (x->numel > 0)
        CB_LAUNCH((scale<F>), cb_fill_blocks(x->numel, BLOCK), BLOCK, 0, cb_stream(), l, x->data, means, vars,
                  data_of<F>(weight), data_of<F>(bias), out[0]->data);
    return cb_launched("channel_norm");
}

int cb_cuda_channel_norm(const cb_tensor *x, int64_t groups, const cb_tensor *weight, const cb_tensor *bias,
                         double eps, int fixed, cb_tensor *const *out) {
    return x->dtype == CB_F64 ? forward<double>(x, groups, weight, bias, eps, fixed, out)
                              : forward<float>(x, groups, weight, bias, eps, fixed, out);
}

template <typename F>
static int backward(const cb_tensor *ct, const cb_tensor *x, const cb_tensor *mean, const cb_tensor *var,
                    const cb_tensor *weight, int64_t groups, double eps, int fixed, cb_tensor *const *out) {
    layout l = layout_of(x, groups, eps);
    const F *means = data_of<F>(mean), *vars = data_of<F>(var), *weights = data_of<F>(weight);
    int64_t lines = groups ? l.n * l.c : l.c;
    cb_scratch room(2 * (lines + l.sets) * (int64_t)sizeof(F));
    if (!room.ok()) return CB_ERR_MEMORY;
    F *sums = room.as<F>(), *joined = fixed ? nullptr : sums + 2 * lines;
    if (x->numel > 0)
        CB_LAUNCH((line_sums<F>), cb_fill_blocks(lines, 1), BLOCK, 0, cb_stream(), l, lines, ct->data,
                  x->data, means, sums);
    CB_LAUNCH((join_channels<F>), cb_fill_blocks(l.c, BLOCK), BLOCK, 0, cb_stream(), l, lines, sums, vars,
              out[1]->dtype, out[1]->data, out[2]->data);
    if (x->numel > 0 && joined)
        CB_LAUNCH((join_sets<F>), cb_fill_blocks(l.sets, BLOCK), BLOCK, 0, cb_stream(), l, sums, vars,
                  weights, joined);
    if (x->numel > 0)
        CB_LAUNCH((give_grad<F>), cb_fill_blocks(x->numel, BLOCK), BLOCK, 0, cb_stream(), l, ct->data,
                  x->data, means, vars, weights, joined, out[0]->data);
    return cb_launched("channel_norm_grad");
}

int cb_cuda_channel_norm_grad(const cb_tensor *ct, const cb_tensor *x, const cb_tensor *mean,
                              const cb_tensor *var, const cb_tensor *weight, int64_t groups, double eps,
                              int fixed, cb_tensor *const *out) {
    return x->dtype == CB_F64 ? backward<double>(ct, x, mean, var, weight, groups, eps, fixed, out)
                              : backward<float>(ct, x, mean, var, weight, groups, eps, fixed, out);
}
