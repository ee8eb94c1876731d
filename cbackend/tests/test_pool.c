/* Pooling against naive loops: windows, padding, dilation, ceil_mode, NaN, indices and their transposes. */
#include <math.h>

#include "products_test.h"

typedef struct geometry {
    int nd;
    int64_t in[3], kernel[3], stride[3], padding[3], dilation[3], out[3];
    int ceil_mode, count_padding;
    int64_t divisor;
} geometry;

static bool random_geometry(geometry *g, bool average) {
    static const int64_t most[4] = {0, 600, 20, 8};
    g->nd = (int)whole(1, 3);
    g->ceil_mode = (int)whole(0, 1);
    g->count_padding = (int)whole(0, 1);
    g->divisor = whole(0, 3) ? 0 : 3;
    for (int d = 0; d < g->nd; d++) {
        g->kernel[d] = whole(1, 4);
        g->stride[d] = whole(1, 3);
        g->padding[d] = whole(0, g->kernel[d] / 2);
        g->dilation[d] = average || whole(0, 2) ? 1 : 2;
        g->in[d] = whole(1, most[g->nd]);
        int64_t room = g->in[d] + 2 * g->padding[d] - g->dilation[d] * (g->kernel[d] - 1) - 1,
                up = g->ceil_mode ? g->stride[d] - 1 : 0;
        if (room + up < 0) return false;
        g->out[d] = (room + up) / g->stride[d] + 1;
        if (g->ceil_mode && (g->out[d] - 1) * g->stride[d] >= g->in[d] + g->padding[d]) g->out[d]--;
        if (g->out[d] < 1) return false;
        for (int64_t o = 0; o < g->out[d]; o++) { /* no window whose taps all lie outside */
            bool any = false;
            for (int64_t t = 0; t < g->kernel[d]; t++) {
                int64_t at = o * g->stride[d] - g->padding[d] + t * g->dilation[d];
                any |= at >= 0 && at < g->in[d];
            }
            if (!any) return false;
        }
    }
    return true;
}

/* Flat input position of tap t of window o, or -1. */
static int64_t position(const geometry *g, int64_t o, int64_t t) {
    int64_t at = 0, size = 1;
    for (int d = g->nd - 1; d >= 0; d--) {
        int64_t i = o % g->out[d] * g->stride[d] - g->padding[d] + t % g->kernel[d] * g->dilation[d];
        o /= g->out[d], t /= g->kernel[d];
        if (i < 0 || i >= g->in[d]) return -1;
        at += i * size, size *= g->in[d];
    }
    return at;
}

static double divisor_of(const geometry *g, int64_t o) {
    double n = 1;
    if (g->divisor) return (double)g->divisor;
    for (int d = g->nd - 1; d >= 0; d--) {
        int64_t start = o % g->out[d] * g->stride[d] - g->padding[d],
                end = CB_MIN(start + g->kernel[d], g->in[d] + g->padding[d]);
        o /= g->out[d];
        n *= (double)(g->count_padding ? end - start : CB_MIN(end, g->in[d]) - CB_MAX(start, 0));
    }
    return n;
}

static void max_case(const geometry *g, int dtype, bool with_nan) {
    int nd = g->nd;
    int64_t sx[4] = {3}, sy[4] = {3}, in = count_of(nd, g->in), out = count_of(nd, g->out),
            taps = count_of(nd, g->kernel);
    memcpy(sx + 1, g->in, (size_t)nd * 8);
    memcpy(sy + 1, g->out, (size_t)nd * 8);
    cb_tensor *x0 = make(dtype, nd + 1, sx, 5), *x = restride(x0, (int)whole(0, 2)),
              *ct = make(dtype, nd + 1, sy, 3), *pair[2] = {NULL};
    if (with_nan && dtype == CB_F32) {
        cb_tensor *c = cb_contiguous(x);
        cb_tensor *copy = cb_clone(c);
        for (int64_t i = 0; i < copy->numel; i += 7) ((float *)copy->data)[i] = NAN;
        cb_release(x);
        cb_release(c);
        x = copy;
    }
    cb_complex128 *v = values(x), *vct = values(ct), *grad = calloc((size_t)(3 * in), 16);
    CHECK(cb_max_pool(x, nd, g->kernel, g->stride, g->padding, g->dilation, g->ceil_mode, pair) == CB_OK,
          "max_pool");
    cb_tensor *only = cb_max_pool_values(x, nd, g->kernel, g->stride, g->padding, g->dilation, g->ceil_mode);
    cb_complex128 *top = values(pair[0]), *top2 = values(only);
    const int64_t *index = pair[1]->data;
    int wrong = 0;
    for (int64_t p = 0; p < 3; p++)
        for (int64_t o = 0; o < out; o++) {
            double best = -INFINITY;
            int64_t where = -1;
            for (int64_t t = 0; t < taps; t++) {
                int64_t i = position(g, o, t);
                if (i < 0) continue;
                double value = creal(v[p * in + i]);
                if (where < 0 || value > best || isnan(value)) best = value, where = i;
            }
            double a = creal(top[p * out + o]), b = creal(top2[p * out + o]);
            wrong += !(index[p * out + o] == where && (a == best || (isnan(a) && isnan(best))) &&
                       (a == b || (isnan(a) && isnan(b))));
            if (where >= 0) grad[p * in + where] += vct[p * out + o];
        }
    CHECK(wrong == 0, "max_pool %s: %d wrong, kernel %s over %s", cb_dtypes[dtype].name, wrong,
          cb_shape_text(nd, g->kernel), cb_shape_text(nd, g->in));
    cb_tensor *gx = cb_max_pool_grad(ct, pair[1], nd, g->in), *back = cb_pool_gather(x, pair[1], nd);
    compare(gx, grad, 3 * in, "max_pool_grad", dtype);
    if (!with_nan) compare(back, top, 3 * out, "pool_gather", dtype);
    cb_tensor *all[] = {x0, x, ct, pair[0], pair[1], only, gx, back};
    for (int i = 0; i < 8; i++) cb_release(all[i]);
    free(v);
    free(vct);
    free(grad);
    free(top);
    free(top2);
}

static double worst(cb_tensor *x, const double *want, int64_t n) {
    cb_complex128 *got = values(x);
    double most = 0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs(creal(got[i]) - want[i]) / fmax(1, fabs(want[i])));
    free(got);
    return most;
}

static void avg_case(const geometry *g, int dtype) {
    int nd = g->nd;
    int64_t sx[4] = {2}, sy[4] = {2}, in = count_of(nd, g->in), out = count_of(nd, g->out),
            taps = count_of(nd, g->kernel);
    memcpy(sx + 1, g->in, (size_t)nd * 8);
    memcpy(sy + 1, g->out, (size_t)nd * 8);
    cb_tensor *x = make(dtype, nd + 1, sx, 5), *ct = make(dtype, nd + 1, sy, 5);
    cb_complex128 *v = values(x), *vct = values(ct);
    double *y = calloc((size_t)(2 * out), 8), *gx = calloc((size_t)(2 * in), 8),
           tolerance = dtype == CB_F64   ? 1e-14
                       : dtype == CB_F32 ? 1e-6
                                         : 2e-2;
    for (int64_t p = 0; p < 2; p++)
        for (int64_t o = 0; o < out; o++)
            for (int64_t t = 0; t < taps; t++) {
                int64_t i = position(g, o, t);
                if (i < 0) continue;
                y[p * out + o] += creal(v[p * in + i]) / divisor_of(g, o);
                gx[p * in + i] += creal(vct[p * out + o]) / divisor_of(g, o);
            }
    cb_tensor *a =
        cb_avg_pool(x, nd, g->kernel, g->stride, g->padding, g->ceil_mode, g->count_padding, g->divisor);
    cb_tensor *b = cb_avg_pool_grad(ct, nd, g->in, g->kernel, g->stride, g->padding, g->ceil_mode,
                                    g->count_padding, g->divisor);
    CHECK(a && b && a->numel == 2 * out && b->numel == 2 * in, "avg_pool shapes");
    if (a && b)
        CHECK(worst(a, y, 2 * out) <= tolerance && worst(b, gx, 2 * in) <= tolerance, "avg_pool %s",
              cb_dtypes[dtype].name);
    cb_release(x);
    cb_release(ct);
    cb_release(a);
    cb_release(b);
    free(v);
    free(vct);
    free(y);
    free(gx);
}

static void errors_and_meta(void) {
    int64_t sx[] = {2, 3, 8, 8}, two[] = {2, 2}, zero[] = {0, 0}, one[] = {1, 1}, nine[] = {9, 9},
            in[] = {8, 8}, small[] = {2, 2};
    cb_tensor *x = make(CB_F32, 4, sx, 3), *c = cb_cast(x, CB_C64), *i = cb_cast(x, CB_I32),
              *pair[2] = {NULL};
    expect_error(cb_max_pool_values(NULL, 2, two, two, zero, one, 0), CB_ERR_NULL, "null");
    expect_error(cb_max_pool_values(c, 2, two, two, zero, one, 0), CB_ERR_DTYPE, "complex");
    expect_error(cb_max_pool_values(x, 2, two, two, two, one, 0), CB_ERR_VALUE, "padding");
    expect_error(cb_max_pool_values(x, 2, nine, two, zero, one, 0), CB_ERR_SHAPE, "window");
    expect_error(cb_avg_pool(i, 2, two, two, zero, 0, 1, 0), CB_ERR_DTYPE, "integers");
    CHECK(cb_max_pool(x, 2, two, two, zero, one, 0, pair) == CB_OK, "max_pool");
    expect_error(cb_max_pool_grad(pair[0], pair[1], 2, small), CB_ERR_INDEX, "indices outside");
    expect_error(cb_max_pool_grad(x, pair[1], 2, in), CB_ERR_SHAPE, "shapes");
    expect_error(cb_pool_gather(x, x, 2), CB_ERR_DTYPE, "index dtype");
    cb_tensor *m = cb_empty(CB_BF16, CB_META, 4, sx), *y = cb_avg_pool(m, 2, two, two, zero, 0, 1, 0),
              *mp[2] = {NULL};
    CHECK(y && y->dtype == CB_BF16 && y->shape[3] == 4, "meta");
    CHECK(cb_max_pool(m, 2, two, two, zero, one, 0, mp) == CB_OK && mp[0]->dtype == CB_BF16 &&
              mp[1]->dtype == CB_I64,
          "meta");
    cb_tensor *all[] = {x, c, i, pair[0], pair[1], m, y, mp[0], mp[1]};
    for (int k = 0; k < 9; k++) cb_release(all[k]);
}

int main(void) {
    static const char *levels[] = {NULL, "v2", "v3"};
    for (int level = 0; level < 3; level++) {
        if (cb_init(levels[level])) continue;
        for (int i = 0; i < 200; i++) {
            geometry g;
            if (random_geometry(&g, false))
                max_case(&g, i % 2 ? CB_F32 : (int)whole(CB_U8, CB_F64), i % 4 == 1);
            geometry half = {2, {whole(2, 40), whole(2, 40)}, {2, 2}, {2, 2}, {0, 0}, {1, 1}, {0, 0}, 0, 0,
                             0}; /* the fast path */
            for (int d = 0; d < 2; d++) half.out[d] = half.in[d] / 2;
            max_case(&half, CB_F32, i % 2);
            if (random_geometry(&g, true)) avg_case(&g, (int)whole(CB_F16, CB_F64));
        }
    }
    cb_init(NULL);
    errors_and_meta();
    return finish("test_pool");
}
