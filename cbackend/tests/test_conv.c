/* Convolution and its two gradients against naive loops: dimensions, strides, padding, dilation, groups,
 * dtypes. */
#include "products_test.h"

typedef struct geometry {
    int nd;
    int64_t n, groups, ic, oc;
    int64_t in[3], kernel[3], stride[3], padding[3], dilation[3], out[3];
} geometry;

static bool random_geometry(geometry *g, int64_t limit) {
    static const int64_t most[4] = {0, 40, 12, 6};
    g->nd = (int)whole(1, 3);
    g->n = whole(1, 3);
    g->groups = whole(0, 2) ? 1 : whole(1, 4);
    g->ic = whole(0, 4) ? whole(1, 4) : whole(12, 20);
    g->oc = whole(0, 4) ? whole(1, 4) : whole(9, 18);
    if (g->ic * 27 > limit) g->ic = 1;
    if (g->oc * 27 > limit) g->oc = 1;
    for (int d = 0; d < g->nd; d++) {
        g->kernel[d] = whole(1, 3);
        g->stride[d] = whole(0, 1) ? 1 : whole(1, 3);
        g->dilation[d] = whole(0, 2) ? 1 : 2;
        g->padding[d] = whole(0, 3);
        g->in[d] = whole(1, most[g->nd]);
        int64_t room = g->in[d] + 2 * g->padding[d] - g->dilation[d] * (g->kernel[d] - 1) - 1;
        if (room < 0) return false;
        g->out[d] = room / g->stride[d] + 1;
    }
    return true;
}

/* Adds up the three products over every (image, filter, channel, position, tap). */
static void reference(const geometry *g, const cb_complex128 *x, const cb_complex128 *w,
                      const cb_complex128 *ct, cb_complex128 *y, cb_complex128 *gx, cb_complex128 *gw) {
    int64_t in = count_of(g->nd, g->in), out = count_of(g->nd, g->out), taps = count_of(g->nd, g->kernel);
    for (int64_t n = 0; n < g->n; n++)
        for (int64_t f = 0; f < g->groups * g->oc; f++)
            for (int64_t c = 0; c < g->ic; c++)
                for (int64_t o = 0; o < out; o++)
                    for (int64_t t = 0; t < taps; t++) {
                        int64_t ro = o, rt = t, i = 0, size = 1;
                        bool inside = true;
                        for (int d = g->nd - 1; d >= 0; d--) {
                            int64_t at = ro % g->out[d] * g->stride[d] - g->padding[d] +
                                         rt % g->kernel[d] * g->dilation[d];
                            ro /= g->out[d], rt /= g->kernel[d];
                            inside &= at >= 0 && at < g->in[d];
                            i += at * size, size *= g->in[d];
                        }
                        if (!inside) continue;
                        int64_t xi = ((n * g->groups + f / g->oc) * g->ic + c) * in + i,
                                wi = (f * g->ic + c) * taps + t;
                        int64_t yi = (n * g->groups * g->oc + f) * out + o;
                        y[yi] += x[xi] * w[wi];
                        gx[xi] += ct[yi] * w[wi];
                        gw[wi] += ct[yi] * x[xi];
                    }
}

static void with_spatial(int64_t *shape, int64_t a, int64_t b, int nd, const int64_t *sizes) {
    shape[0] = a;
    shape[1] = b;
    memcpy(shape + 2, sizes, (size_t)nd * sizeof *sizes);
}

/* reduce: results modulo 2^bits for narrow integers, whose sums wrap */
static void wrap(cb_complex128 *v, int64_t n, int dtype) {
    cb_tensor *wide = cb_from_bytes(v, CB_C128, 1, &n), *i64 = cb_cast(wide, CB_I64),
              *narrow = cb_cast(i64, dtype);
    cb_complex128 *back = values(narrow);
    memcpy(v, back, (size_t)n * sizeof *v);
    free(back);
    cb_release(wide);
    cb_release(i64);
    cb_release(narrow);
}

static void one(const geometry *g, int dtype, int limit, int mode) {
    int64_t sx[5], sw[5], sy[5];
    int nd = g->nd;
    with_spatial(sx, g->n, g->groups * g->ic, nd, g->in);
    with_spatial(sw, g->groups * g->oc, g->ic, nd, g->kernel);
    with_spatial(sy, g->n, g->groups * g->oc, nd, g->out);
    cb_tensor *x0 = make(dtype, nd + 2, sx, limit), *w = make(dtype, nd + 2, sw, limit),
              *ct = make(dtype, nd + 2, sy, limit), *x = restride(x0, mode);
    cb_complex128 *vx = values(x), *vw = values(w), *vct = values(ct);
    cb_complex128 *y = calloc((size_t)ct->numel + 1, 16), *gx = calloc((size_t)x->numel + 1, 16),
                  *gw = calloc((size_t)w->numel + 1, 16);
    reference(g, vx, vw, vct, y, gx, gw);
    if (cb_is_integer(dtype)) {
        wrap(y, ct->numel, dtype);
        wrap(gx, x->numel, dtype);
        wrap(gw, w->numel, dtype);
    }
    cb_tensor *a = cb_conv(x, w, nd, g->stride, g->padding, g->dilation, g->groups);
    cb_tensor *b = cb_conv_input_grad(ct, w, nd, g->in, g->stride, g->padding, g->dilation, g->groups);
    cb_tensor *c = cb_conv_weight_grad(ct, x, nd, g->kernel, g->stride, g->padding, g->dilation, g->groups);
    compare(a, y, ct->numel, "conv", dtype);
    compare(b, gx, x->numel, "conv_input_grad", dtype);
    compare(c, gw, w->numel, "conv_weight_grad", dtype);
    cb_tensor *all[] = {x0, w, ct, x, a, b, c};
    for (int i = 0; i < 7; i++) cb_release(all[i]);
    free(vx);
    free(vw);
    free(vct);
    free(y);
    free(gx);
    free(gw);
}

static void errors_and_meta(void) {
    int64_t sx[] = {2, 4, 8, 8}, sw[] = {6, 2, 3, 3}, one_[] = {1, 1}, zero[] = {0, 0}, kernel[] = {3, 3},
            in[] = {8, 8}, big[] = {9, 9, 9, 9};
    cb_tensor *x = make(CB_F32, 4, sx, 1), *w = make(CB_F32, 4, sw, 1), *d = cb_cast(w, CB_F64),
              *huge = make(CB_F32, 4, big, 1);
    expect_error(cb_conv(NULL, w, 2, one_, zero, one_, 2), CB_ERR_NULL, "null");
    expect_error(cb_conv(x, d, 2, one_, zero, one_, 2), CB_ERR_DTYPE, "dtype");
    expect_error(cb_conv(x, w, 1, one_, zero, one_, 2), CB_ERR_SHAPE, "ndim");
    expect_error(cb_conv(x, w, 2, one_, zero, one_, 1), CB_ERR_SHAPE, "channels");
    expect_error(cb_conv(x, w, 2, one_, zero, one_, 3), CB_ERR_VALUE, "groups");
    expect_error(cb_conv(x, w, 2, zero, zero, one_, 2), CB_ERR_VALUE, "stride");
    expect_error(cb_conv(x, huge, 2, one_, zero, one_, 1), CB_ERR_SHAPE, "kernel");
    expect_error(cb_conv_input_grad(x, w, 2, in, one_, zero, one_, 4), CB_ERR_VALUE, "filters in groups");
    expect_error(cb_conv_input_grad(x, w, 2, in, one_, zero, one_, 2), CB_ERR_SHAPE, "cotangent");
    expect_error(cb_conv_weight_grad(x, x, 2, kernel, one_, zero, one_, 2), CB_ERR_SHAPE, "cotangent");
    cb_tensor *mx = cb_empty(CB_F16, CB_META, 4, sx), *mw = cb_empty(CB_F16, CB_META, 4, sw),
              *y = cb_conv(mx, mw, 2, one_, one_, one_, 2);
    CHECK(y && y->dtype == CB_F16 && y->shape[1] == 6 && y->shape[2] == 8, "meta");
    cb_tensor *all[] = {x, w, d, huge, mx, mw, y};
    for (int i = 0; i < 7; i++) cb_release(all[i]);
    geometry g = {2, 0, 1, 2, 3, {5, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {5, 5}}; /* no images */
    one(&g, CB_F32, 2, 0);
}

/* bands, large weights shared by images, and threads */
static void large(void) {
    geometry a = {2, 2, 1, 20, 20, {70, 66}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {70, 66}};
    geometry b = {2, 3, 1, 130, 140, {5, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {5, 5}};
    geometry c = {2, 2, 1, 3, 17, {40, 40}, {5, 5}, {2, 2}, {2, 2}, {1, 1}, {20, 20}};
    geometry d = {3, 1, 2, 16, 16, {9, 9, 9}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {9, 9, 9}};
    geometry e = {2, 5, 1, 34, 72, {7, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {7, 7}};
    geometry f = {2, 3, 2, 18, 24, {14, 13}, {3, 2}, {2, 2}, {1, 0}, {1, 1}, {7, 6}};
    geometry g = {2, 3, 1, 64, 130, {6, 6}, {1, 1}, {1, 1}, {0, 0}, {1, 1}, {6, 6}};
    geometry h = {2, 2, 8, 6, 20, {12, 12}, {5, 5}, {1, 1}, {0, 0}, {1, 1}, {8, 8}};
    geometry whole = {2, 7, 1, 20, 40, {3, 4}, {3, 4}, {1, 1}, {0, 0}, {1, 1}, {1, 1}};
    geometry pixels = {2, 5, 1, 72, 66, {7, 7}, {1, 1}, {1, 1}, {0, 0}, {1, 1}, {7, 7}};
    geometry halved = {2, 2, 20, 1, 1, {17, 40}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {9, 20}};
    geometry uneven = {2, 2, 20, 1, 1, {17, 40}, {5, 5}, {2, 2}, {2, 1}, {1, 1}, {9, 19}};
    geometry wide = {2, 2, 20, 1, 1, {9, 19}, {7, 7}, {1, 1}, {3, 2}, {1, 1}, {9, 17}};
    geometry line = {1, 2, 20, 1, 1, {150}, {31}, {1}, {15}, {1}, {150}};
    geometry tiled = {2, 2, 1, 2, 64, {36, 64}, {4, 8}, {4, 8}, {0, 0}, {1, 1}, {9, 8}};
    geometry images = {2, 3, 1, 260, 256, {1, 3}, {1, 1}, {1, 1}, {0, 0}, {1, 1}, {1, 3}};
    geometry banded = {2, 1, 1, 64, 140, {33, 30}, {1, 1}, {1, 1}, {0, 0}, {1, 1}, {33, 30}};
    geometry strided = {1, 2, 1, 3, 20, {400}, {90}, {33}, {5}, {1}, {10}};
    geometry sparse = {2, 2, 2, 4, 4, {60, 50}, {3, 20}, {18, 17}, {1, 3}, {1, 2}, {4, 2}};
    geometry row = {1, 1, 1, 96, 4, {1200}, {5}, {2}, {3}, {1}, {601}};
    geometry cut = {1, 1, 1, 192, 32, {610}, {2}, {2}, {1}, {1}, {306}};
    geometry odd = {1, 2, 1, 4, 96, {1101}, {3}, {1}, {1}, {2}, {1099}};
    geometry few = {1, 1, 1, 3, 256, {1296}, {9}, {1}, {4}, {1}, {1296}};
    geometry volume = {3,         1,         1,         3,         40,          {24, 33, 31},
                       {3, 3, 3}, {2, 2, 2}, {1, 1, 1}, {1, 1, 1}, {12, 17, 16}};
    geometry windows = {1, 3, 2, 2, 33, {400}, {40}, {17}, {5}, {1}, {22}};
    geometry overlaps = {2, 2, 1, 1, 32, {50, 60}, {20, 18}, {7, 5}, {3, 2}, {1, 1}, {6, 10}};
    geometry even = {2, 2, 20, 1, 1, {17, 40}, {4, 4}, {2, 2}, {2, 1}, {1, 1}, {9, 20}};
    geometry longer = {1, 2, 20, 1, 1, {300}, {50}, {1}, {20}, {1}, {291}};
    geometry slices = {2, 3, 1, 20, 24, {15, 14}, {1, 1}, {2, 3}, {0, 0}, {1, 1}, {8, 5}};
    geometry hops = {2, 2, 1, 12, 40, {33, 30}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {17, 15}};
    geometry edges = {2, 2, 1, 20, 20, {12, 11}, {3, 3}, {1, 1}, {5, 4}, {5, 4}, {12, 11}};
    geometry column = {2, 2, 1, 20, 20, {9, 9}, {7, 1}, {1, 1}, {3, 0}, {1, 1}, {9, 9}};
    geometry far = {1, 2, 1, 3, 5, {100}, {20}, {20}, {0}, {1}, {5}};
    const geometry *all[] = {
        &a,      &volume, &b,       &c,        &d,     &e,      &f,      &g,      &h,       &whole,  &pixels,
        &halved, &uneven, &wide,    &line,     &tiled, &far,    &images, &banded, &strided, &sparse, &row,
        &odd,    &few,    &windows, &overlaps, &even,  &longer, &slices, &hops,   &edges,   &column, &cut};
    for (int i = 0; i < (int)(sizeof all / sizeof *all); i++)
        for (int threads = 1; threads <= 4; threads += 3) {
            cb_set_num_threads(threads);
            one(all[i], CB_F32, 2, 0);
            if (i > 1) one(all[i], CB_BF16, 1, 0); /* sums of the first two are not exact */
        }
}

int main(void) {
    static const char *levels[] = {NULL, "v2", "v3"};
    for (int level = 0; level < 3; level++) {
        if (cb_init(levels[level])) continue;
        for (int i = 0; i < 100; i++) {
            geometry g;
            int dtype = i % 3 ? (i % 2 ? CB_F32 : CB_F64) : (int)whole(CB_U8, CB_DTYPE_COUNT - 1);
            bool narrow = dtype == CB_BF16 || dtype == CB_F16;
            if (random_geometry(&g, narrow ? 200 : 1000)) one(&g, dtype, narrow ? 1 : 2, (int)whole(0, 2));
        }
    }
    cb_init(NULL);
    large();
    errors_and_meta();
    return finish("test_conv");
}
