/* Padding, its transpose, and resizing along a dimension: a thread takes an item of the result. */
#include "kernels.h"

#include "../src/pad.h"

enum { BLOCK = 256, MOST_DIMS = 8 };

struct padded_dim {
    int64_t large, small, before;
    int mode; /* CB_PAD_CONSTANT without anything before where nothing is padded */
};
struct padding {
    int ndim;
    padded_dim dim[MOST_DIMS];
    int64_t items; /* of the result */
};

/* Dimensions next to each other that are not padded become one. False: there are too many. */
static bool describe(padding *p, const cb_tensor *large, const cb_tensor *small, int64_t *const *pads) {
    p->ndim = 0;
    for (int d = 0; d < large->ndim; d++) {
        padded_dim *last = p->ndim ? &p->dim[p->ndim - 1] : nullptr;
        if (last && !pads[d] && !pads[d - 1]) {
            last->large *= large->shape[d];
            last->small *= small->shape[d];
            continue;
        }
        if (p->ndim == MOST_DIMS) return false;
        p->dim[p->ndim++] = {large->shape[d], small->shape[d], pads[d] ? pads[d][1] : 0,
                             pads[d] ? (int)pads[d][0] : CB_PAD_CONSTANT};
    }
    return true;
}

template <typename T> __global__ void pad_items(padding p, T *y, const T *x) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < p.items;
         i += (int64_t)gridDim.x * BLOCK) {
        int64_t rest = i, from = 0, stride = 1;
        bool inside = true;
        for (int d = p.ndim - 1; d >= 0; d--) {
            const padded_dim &q = p.dim[d];
            int64_t place = cb_pad_place(q.mode, rest % q.large - q.before, q.small);
            rest /= q.large;
            inside = inside && place >= 0;
            from += place * stride;
            stride *= q.small;
        }
        if (inside) y[i] = x[from];
    }
}

/* Which items of a padded dimension took place `at`: `count` of them. */
struct takers {
    int64_t first, step, count, others[2];
};
CB_DEV takers takers_of(const padded_dim &q, int64_t at) {
    int64_t low = -q.before, high = q.large - 1 - q.before, n = q.small; /* the places that there are */
    takers t = {at, 1, 0, {0, 0}};
    int64_t end = at;
    if (q.mode == CB_PAD_REPLICATE) {
        if (at == 0) t.first = low;
        if (at == n - 1) end = high;
    } else if (q.mode == CB_PAD_CIRCULAR) {
        t.step = n;
        int64_t above = low - at; /* how far the first one may not lie below */
        t.first = at + (above > 0 ? (above + n - 1) / n : -(-above / n)) * n;
        end = high;
    }
    t.first = t.first < low && q.mode == CB_PAD_REPLICATE ? low : t.first;
    end = end > high ? high : end;
    if (t.first >= low && end >= t.first) t.count = (end - t.first) / t.step + 1;
    if (q.mode != CB_PAD_REFLECT) return t;
    int64_t mirrored[2] = {-at, 2 * (n - 1) - at};
    int found = 0;
    for (int k = 0; k < 2; k++)
        if (mirrored[k] != at && mirrored[k] >= low && mirrored[k] <= high) t.others[found++] = mirrored[k];
    if (!t.count && found) { /* cut off itself: the others come first */
        t.first = t.others[0];
        t.others[0] = t.others[1];
    }
    t.count += found;
    return t;
}

/* x[i] = the sum over all y that took it, last dimension first; `width` numbers an item */
template <typename F> __global__ void add_takers(padding p, int width, F *x, const F *y) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < p.items * width;
         i += (int64_t)gridDim.x * BLOCK) {
        takers t[MOST_DIMS];
        int64_t rest = i / width, all = 1;
        for (int d = p.ndim - 1; d >= 0; d--) {
            t[d] = takers_of(p.dim[d], rest % p.dim[d].small);
            rest /= p.dim[d].small;
            all *= t[d].count;
        }
        F sum = 0;
        for (int64_t k = 0; k < all; k++) {
            int64_t which = k, from = 0, stride = 1;
            for (int d = p.ndim - 1; d >= 0; d--) {
                int64_t j = which % t[d].count;
                which /= t[d].count;
                bool other = p.dim[d].mode == CB_PAD_REFLECT && j > 0;
                from +=
                    ((other ? t[d].others[j - 1] : t[d].first + j * t[d].step) + p.dim[d].before) * stride;
                stride *= p.dim[d].large;
            }
            sum += y[from * width + i % width];
        }
        x[i] = sum;
    }
}

int cb_cuda_pad(cb_tensor *out, const cb_tensor *x, int64_t *const *pads, const cb_scalar *value) {
    padding p;
    if (!describe(&p, out, x, pads)) return cb_host_round_trip()->pad(out, x, pads, value);
    p.items = out->numel;
    bool constant = false;
    for (int d = 0; d < out->ndim; d++) constant = constant || (pads[d] && pads[d][0] == CB_PAD_CONSTANT);
    if (constant) CB_TRY(cb_cuda_fill(out, value));
    CB_DISPATCH_SIZE(out->itemsize, T,
                     CB_LAUNCH((pad_items<T>), cb_fill_blocks(p.items, BLOCK), BLOCK, 0, cb_stream(), p,
                               (T *)out->data, (const T *)x->data))
    return cb_launched("pad");
}

template <typename F> static void pad_grad(const padding &p, int width, cb_tensor *out, const cb_tensor *ct) {
    CB_LAUNCH((add_takers<F>), cb_fill_blocks(p.items * width, BLOCK), BLOCK, 0, cb_stream(), p, width,
              (F *)out->data, (const F *)ct->data);
}
int cb_cuda_pad_grad(cb_tensor *out, const cb_tensor *ct, int64_t *const *pads) {
    padding p;
    if (!describe(&p, ct, out, pads)) return cb_host_round_trip()->pad_grad(out, ct, pads);
    p.items = out->numel;
    bool wide = out->dtype == CB_F64 || out->dtype == CB_C128;
    int width = out->dtype == CB_C64 || out->dtype == CB_C128 ? 2 : 1;
    (wide ? pad_grad<double> : pad_grad<float>)(p, width, out, ct);
    return cb_launched("pad");
}

/* ---- resizing ---- */
struct resizing {
    int64_t n, m, inner, taps, items;
};
template <typename F>
__global__ void add_taps(resizing r, F *y, const F *x, const int64_t *places, const F *weights) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < r.items;
         i += (int64_t)gridDim.x * BLOCK) {
        int64_t column = i % r.inner, j = i / r.inner % r.m, row = i / r.inner / r.m;
        F sum = 0;
        for (int64_t t = j * r.taps; t < (j + 1) * r.taps; t++)
            sum += weights[t] * x[(row * r.n + cb_safe_index(places[t], r.n)) * r.inner + column];
        y[i] = sum;
    }
}
template <typename F>
static void resize(const resizing &r, cb_tensor *out, const cb_tensor *x, const cb_tensor *places,
                   const cb_tensor *weights) {
    CB_LAUNCH((add_taps<F>), cb_fill_blocks(r.items, BLOCK), BLOCK, 0, cb_stream(), r, (F *)out->data,
              (const F *)x->data, (const int64_t *)places->data, (const F *)weights->data);
}
int cb_cuda_resample(cb_tensor *out, const cb_tensor *x, int dim, const cb_tensor *places,
                     const cb_tensor *weights) {
    cb_tensor *const indices[] = {const_cast<cb_tensor *>(places)};
    CB_TRY(cb_cuda_index_check(x, "resample", 1, indices, &dim));
    resizing r = {x->shape[dim], out->shape[dim], 1, places->shape[1], out->numel};
    for (int d = dim + 1; d < x->ndim; d++) r.inner *= x->shape[d];
    (out->dtype == CB_F64 ? resize<double> : resize<float>)(r, out, x, places, weights);
    return cb_launched("resample");
}
