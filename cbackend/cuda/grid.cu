/* Sampling images between their elements and its gradients: ../src/grid.h. A thread takes a point of a
 * channel; the gradient of an image is added up by one thread for each channel, in order of the points. */
#include "kernels.h"

enum { BLOCK = 256 };

template <typename F> struct corner {
    int64_t place; /* -1 outside */
    F weight, slope[3];
};

/* corner k of the point at `at`, a place in elements of each dimension */
template <typename F> CB_DEV corner<F> corner_of(const cb_grid &g, const F *at, int k) {
    corner<F> c = {0, 1, {0, 0, 0}};
    for (int d = 0; d < g.nd; d++) c.slope[d] = 1;
    for (int d = 0; d < g.nd; d++) {
        int64_t size = g.size[3 - g.nd + d];
        F a = at[d];
        a = a > -2 ? a : (F)-2; /* far outside is as good as near, and fits an integer */
        a = a < (F)size + 1 ? a : (F)size + 1;
        F whole = floor(a), rest = a - whole;
        int up = k >> (g.nd - 1 - d) & 1;
        int64_t p = (int64_t)whole + up;
        c.place = p < 0 || p >= size || c.place < 0 ? -1 : c.place * size + p;
        if (g.nearest) continue;
        F share = up ? rest : 1 - rest;
        c.weight *= share;
        for (int e = 0; e < g.nd; e++) c.slope[e] *= e == d ? (up ? (F)1 : (F)-1) : share;
    }
    return c;
}

CB_DEV int corners_of(const cb_grid &g) { return g.nearest ? 1 : 1 << g.nd; }

template <typename F> __global__ void sample(cb_grid g, int64_t plane, F *y, const F *x, const F *at) {
    int64_t all = g.n * g.channels * g.points;
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < all; i += (int64_t)gridDim.x * BLOCK) {
        int64_t point = i % g.points, image = i / g.points / g.channels;
        const F *from = x + i / g.points * plane;
        F sum = 0;
        for (int k = 0; k < corners_of(g); k++) {
            corner<F> c = corner_of(g, at + (image * g.points + point) * g.nd, k);
            sum += c.weight * (c.place < 0 ? (F)0 : from[c.place]);
        }
        y[i] = sum;
    }
}

template <typename F> __global__ void image_grads(cb_grid g, int64_t plane, F *gx, const F *ct, const F *at) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < g.n * g.channels;
         i += (int64_t)gridDim.x * BLOCK) {
        F *to = gx + i * plane;
        for (int64_t p = 0; p < plane; p++) to[p] = 0;
        for (int64_t point = 0; point < g.points; point++)
            for (int k = 0; k < corners_of(g); k++) {
                corner<F> c = corner_of(g, at + (i / g.channels * g.points + point) * g.nd, k);
                if (c.place >= 0) to[c.place] += c.weight * ct[i * g.points + point];
            }
    }
}

template <typename F>
__global__ void place_grads(cb_grid g, int64_t plane, F *gat, const F *ct, const F *x, const F *at) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < g.n * g.points;
         i += (int64_t)gridDim.x * BLOCK) {
        int64_t image = i / g.points, point = i % g.points;
        F sum[3] = {0, 0, 0};
        for (int k = 0; k < corners_of(g) && !g.nearest; k++) {
            corner<F> c = corner_of(g, at + i * g.nd, k);
            for (int64_t channel = image * g.channels; channel < (image + 1) * g.channels; channel++) {
                F value = c.place < 0 ? (F)0 : x[channel * plane + c.place] * ct[channel * g.points + point];
                for (int d = 0; d < g.nd; d++) sum[d] += c.slope[d] * value;
            }
        }
        for (int d = 0; d < g.nd; d++) gat[i * g.nd + d] = sum[d];
    }
}

template <typename F> static void forward(const cb_grid *g, void *y, const void *x, const void *at) {
    int64_t plane = g->size[0] * g->size[1] * g->size[2];
    CB_LAUNCH((sample<F>), cb_fill_blocks(g->n * g->channels * g->points, BLOCK), BLOCK, 0, cb_stream(), *g,
              plane, (F *)y, (const F *)x, (const F *)at);
}

template <typename F>
static void backward(const cb_grid *g, void *gx, void *gat, const void *ct, const void *x, const void *at) {
    int64_t plane = g->size[0] * g->size[1] * g->size[2];
    CB_LAUNCH((image_grads<F>), cb_fill_blocks(g->n * g->channels, BLOCK), BLOCK, 0, cb_stream(), *g, plane,
              (F *)gx, (const F *)ct, (const F *)at);
    CB_LAUNCH((place_grads<F>), cb_fill_blocks(g->n * g->points, BLOCK), BLOCK, 0, cb_stream(), *g, plane,
              (F *)gat, (const F *)ct, (const F *)x, (const F *)at);
}

void cb_cuda_grid_linear(const cb_grid *g, void *y, const void *x, const void *at) {
    if (g->dtype == CB_F64)
        forward<double>(g, y, x, at);
    else
        forward<float>(g, y, x, at);
}

void cb_cuda_grid_linear_grad(const cb_grid *g, void *gx, void *gat, const void *ct, const void *x,
                              const void *at) {
    if (g->dtype == CB_F64)
        backward<double>(g, gx, gat, ct, x, at);
    else
        backward<float>(g, gx, gat, ct, x, at);
}
