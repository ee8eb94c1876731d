/* Sampling images between their elements and its gradients: ../src/grid.h. A thread takes a point of a
 * channel; the gradient of an image is added up by one thread for each channel, in order of the points. */
#include "kernels.h"

enum { BLOCK = 256 };

/* Of a point, by dimension: the taps' places (-1 outside), their weights, and the derivatives of those by the
 * grid's coordinate. */
template <typename F> struct taps_of {
    int64_t place[3][4];
    F weight[3][4], slope[3][4];
};

CB_DEV int ways_of(const cb_grid &g) {
    return g.mode == CB_GRID_NEAREST ? 1 : g.mode == CB_GRID_LINEAR ? 2 : 4;
}
CB_DEV int count_of(const cb_grid &g) {
    int count = 1;
    for (int d = 0; d < g.nd; d++) count *= ways_of(g);
    return count;
}

/* a product that is rounded before more is done with it, as torch does: what is halfway depends on it */
template <typename F> CB_DEV F rounded(F v) {
    volatile F kept = v;
    return kept;
}

/* a place outside, reflected at the centres (align) or the edges of the last elements */
CB_DEV int64_t reflected(int64_t place, int64_t size, bool align) {
    int64_t once = align ? size - 1 : size, p = place >= 0 ? place : align ? -place : -1 - place;
    if (once == 0) return 0;
    p %= 2 * once;
    return p < size ? p : align ? 2 * once - p : 2 * once - 1 - p;
}

template <typename F> CB_DEV void find_line(const cb_grid &g, const F *at, int d, taps_of<F> *t) {
    /* weights of Keys' cubic kernel with a = -0.75: polynomials of the way from the second tap to the third
     */
    const double cubics[4][4] = {
        {-0.75, 1.5, -0.75, 0}, {1.25, -2.25, 0, 1}, {-1.25, 1.5, 0.75, 0}, {0.75, -0.75, 0, 0}};
    bool cubic = g.mode == CB_GRID_CUBIC, reflects = g.padding == CB_GRID_REFLECTION;
    int64_t size = g.size[3 - g.nd + d];
    F top = (F)(size - 1), shift = g.align ? 0 : (F)0.5, span = top + 2 * shift, factor = span / 2;
    F v = at[g.nd - 1 - d], a = rounded(((v == v ? v : -1) + 1) * factor) - shift;
    if (!cubic && reflects) {
        F away = a + shift, distance = fabs(away), turns = floor(distance / span);
        F extra = distance - turns * span;
        bool odd = turns - 2 * floor(turns / 2) != 0;
        a = (odd ? span - extra : extra) - shift;
        if (odd != (away < 0)) factor = -factor;
    }
    if (!cubic && g.padding != CB_GRID_ZEROS) {
        if (!(a > 0 && a < top)) factor = 0;
        a = a > 0 ? a < top ? a : top : 0;
    }
    if (g.mode == CB_GRID_NEAREST) a = rint(a);
    /* far outside is as good as near, unless it is reflected, and fits an integer */
    F least = cubic && reflects ? -(F)(1 << 30) : (F)-3,
      most = cubic && reflects ? (F)(1 << 30) : (F)size + 1;
    a = a > least ? a : least;
    a = a < most ? a : most;
    F low = floor(a), rest = a - low;
    for (int j = 0; j < ways_of(g); j++) {
        int64_t p = (int64_t)low + j - cubic;
        if (cubic && g.padding == CB_GRID_BORDER) p = p < 0 ? 0 : p < size ? p : size - 1;
        if (cubic && reflects && (p < 0 || p >= size)) p = reflected(p, size, g.align);
        t->place[d][j] = p < 0 || p >= size ? -1 : p;
        if (cubic) {
            const double *c = cubics[j];
            t->weight[d][j] = (((F)c[0] * rest + (F)c[1]) * rest + (F)c[2]) * rest + (F)c[3];
            t->slope[d][j] = ((3 * (F)c[0] * rest + 2 * (F)c[1]) * rest + (F)c[2]) * factor;
        } else if (g.mode == CB_GRID_NEAREST) {
            t->weight[d][j] = 1;
        } else {
            t->weight[d][j] = j ? rest : 1 - rest;
            t->slope[d][j] = j ? factor : -factor;
        }
    }
}

template <typename F> CB_DEV taps_of<F> find_taps(const cb_grid &g, const F *at) {
    taps_of<F> t;
    for (int d = 0; d < g.nd; d++) find_line(g, at, d, &t);
    return t;
}

/* tap k in a plane, -1 outside, and its weight; by: its derivative along this dimension, -1: itself */
template <typename F> CB_DEV int64_t tap_of(const cb_grid &g, const taps_of<F> &t, int k, int by, F *weight) {
    int64_t place = 0;
    *weight = 1;
    for (int d = g.nd - 1, step = 1; d >= 0; d--, k /= ways_of(g)) {
        int j = k % ways_of(g);
        place = place < 0 || t.place[d][j] < 0 ? -1 : place + t.place[d][j] * step;
        *weight *= d == by ? t.slope[d][j] : t.weight[d][j];
        step *= (int)g.size[3 - g.nd + d];
    }
    return place;
}

template <typename F> __global__ void sample(cb_grid g, int64_t plane, F *y, const F *x, const F *at) {
    int64_t all = g.n * g.channels * g.points;
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < all; i += (int64_t)gridDim.x * BLOCK) {
        int64_t point = i % g.points, image = i / g.points / g.channels;
        const F *from = x + i / g.points * plane;
        taps_of<F> t = find_taps(g, at + (image * g.points + point) * g.nd);
        F sum = 0, weight;
        for (int k = 0; k < count_of(g); k++) {
            int64_t place = tap_of(g, t, k, -1, &weight);
            sum += weight * (place < 0 ? (F)0 : from[place]);
        }
        y[i] = sum;
    }
}

template <typename F> __global__ void image_grads(cb_grid g, int64_t plane, F *gx, const F *ct, const F *at) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < g.n * g.channels;
         i += (int64_t)gridDim.x * BLOCK) {
        F *to = gx + i * plane;
        for (int64_t p = 0; p < plane; p++) to[p] = 0;
        for (int64_t point = 0; point < g.points; point++) {
            taps_of<F> t = find_taps(g, at + (i / g.channels * g.points + point) * g.nd);
            F weight;
            for (int k = 0; k < count_of(g); k++) {
                int64_t place = tap_of(g, t, k, -1, &weight);
                if (place >= 0) to[place] += weight * ct[i * g.points + point];
            }
        }
    }
}

template <typename F>
__global__ void place_grads(cb_grid g, int64_t plane, F *gat, const F *ct, const F *x, const F *at) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < g.n * g.points;
         i += (int64_t)gridDim.x * BLOCK) {
        int64_t image = i / g.points, point = i % g.points;
        F sum[3] = {0, 0, 0}, weight;
        taps_of<F> t = find_taps(g, at + i * g.nd);
        for (int k = 0; k < count_of(g) && g.mode != CB_GRID_NEAREST; k++) {
            int64_t place = tap_of(g, t, k, -1, &weight);
            F value = 0;
            for (int64_t channel = image * g.channels; channel < (image + 1) * g.channels && place >= 0;
                 channel++)
                value += x[channel * plane + place] * ct[channel * g.points + point];
            for (int d = 0; d < g.nd; d++) {
                tap_of(g, t, k, d, &weight);
                sum[d] += weight * value;
            }
        }
        for (int d = 0; d < g.nd; d++) gat[i * g.nd + g.nd - 1 - d] = sum[d];
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

void cb_cuda_grid_sample(const cb_grid *g, void *y, const void *x, const void *at) {
    if (g->dtype == CB_F64)
        forward<double>(g, y, x, at);
    else
        forward<float>(g, y, x, at);
}

void cb_cuda_grid_sample_grad(const cb_grid *g, void *gx, void *gat, const void *ct, const void *x,
                              const void *at) {
    if (g->dtype == CB_F64)
        backward<double>(g, gx, gat, ct, x, at);
    else
        backward<float>(g, gx, gat, ct, x, at);
}
