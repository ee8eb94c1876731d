/* Sampling of images against a plain reference: every mode and padding, one to three dimensions, tails,
 * places outside, both dtypes, strided operands; gradients against differences and products; meta tensors,
 * errors. */
#include <math.h>

#include "products_test.h"

typedef struct {
    int nd, mode, padding, align;
} sampler;

static double reflected(double p, int64_t n, int align) {
    double low = align ? 0 : -0.5, span = align ? (double)n - 1 : (double)n;
    if (span == 0) return 0;
    double around = fmod(fabs(p - low), 2 * span);
    return (around < span ? around : 2 * span - around) + low;
}

static double padded(double p, int64_t n, const sampler *s) {
    if (s->padding == CB_GRID_ZEROS) return p;
    if (s->padding == CB_GRID_REFLECTION) p = reflected(p, n, s->align);
    return fmin(fmax(p, 0), (double)n - 1);
}

static double tap_weight(double far, int mode) {
    if (mode == CB_GRID_LINEAR) return fmax(0, 1 - fabs(far));
    far = fabs(far);
    if (far < 1) return (1.25 * far - 2.25) * far * far + 1;
    return far < 2 ? -0.75 * (((far - 5) * far + 8) * far - 4) : 0;
}

/* the value of one channel at the coordinates of a point */
static double at_point(const double *x, const sampler *s, const int64_t *size, const double *point) {
    enum { WAYS = 4 };
    double total = 0;
    for (int tap = 0; tap < 1 << (2 * s->nd); tap++) { /* more than there are: the others weigh nothing */
        double weight = 1;
        int64_t offset = 0;
        for (int d = 0, rest = tap; d < s->nd; d++, rest /= WAYS) {
            double n = (double)size[d], at = (point[s->nd - 1 - d] + 1) * (s->align ? n - 1 : n) / 2;
            if (!s->align) at -= 0.5;
            if (s->mode != CB_GRID_CUBIC) at = padded(at, size[d], s);
            double p = s->mode == CB_GRID_NEAREST ? rint(at) : floor(at) + rest % WAYS - 1;
            if (s->mode != CB_GRID_NEAREST)
                weight *= tap_weight(at - p, s->mode);
            else if (rest % WAYS)
                weight = 0;
            if (s->mode == CB_GRID_CUBIC) p = padded(p, size[d], s);
            weight *= p < 0 || p >= n ? 0 : 1;
            offset = offset * size[d] + (int64_t)fmin(fmax(p, 0), n - 1);
        }
        total += weight * x[offset];
    }
    return total;
}

static double *reals(cb_tensor *x) {
    cb_complex128 *v = values(x);
    double *r = (double *)v;
    for (int64_t i = 0; i < x->numel; i++) r[i] = creal(v[i]);
    return r;
}

static void sampling(int dtype, sampler s, int64_t n, int64_t channels, int64_t points, int layout) {
    static const int64_t sizes[3] = {5, 3, 4};
    int64_t plane = 1, shape[5] = {n, channels}, out[5] = {n, channels, points, 1, 1};
    int64_t grid_shape[5] = {n, points, 1, 1, 1};
    grid_shape[s.nd + 1] = s.nd;
    for (int d = 0; d < s.nd; d++) plane *= shape[2 + d] = sizes[d];
    cb_tensor *base = make(dtype, s.nd + 2, shape, 3), *x = restride(base, layout);
    cb_tensor *drawn = make(dtype, s.nd + 2, grid_shape, 22);
    cb_tensor *scaled = cb_binary_int(cb_op_code("binary", "div"), drawn, 7, 0),
              *grid = restride(scaled, layout);
    cb_tensor *ct = make(dtype, s.nd + 2, out, 3), *grads[2];
    cb_tensor *y = cb_grid_sample(x, grid, s.mode, s.padding, s.align);
    CHECK(y && !cb_grid_sample_grad(ct, x, grid, s.mode, s.padding, s.align, grads), "sampling");
    double *xs = reals(x), *ps = reals(grid), *ys = reals(y), *cs = reals(ct), *gx = reals(grads[0]);
    double *gp = reals(grads[1]), error = 0, slope_error = 0, sum_x = 0, sum_y = 0;
    for (int64_t i = 0; i < n * points; i++) {
        double before[3] = {0}, after[3] = {0};
        for (int64_t c = 0; c < channels; c++) {
            int64_t image = i / points, k = (image * channels + c) * points + i % points;
            const double *one = xs + (image * channels + c) * plane;
            double value = at_point(one, &s, sizes, ps + i * s.nd), step = 1e-6, near[3];
            error = fmax(error, fabs(value - ys[k]));
            sum_y += cs[k] * ys[k];
            for (int d = 0; d < s.nd; d++) {
                memcpy(near, ps + i * s.nd, (size_t)s.nd * sizeof *near);
                near[d] += step;
                after[d] += cs[k] * (at_point(one, &s, sizes, near) - value) / step;
                near[d] -= 2 * step;
                before[d] += cs[k] * (value - at_point(one, &s, sizes, near)) / step;
            }
        }
        for (int d = 0; d < s.nd; d++) /* not where the derivative jumps */
            if (fabs(after[d] - before[d]) < 5e-2)
                slope_error = fmax(slope_error, fabs(after[d] - gp[i * s.nd + d]));
    }
    /* y is linear in x, so the two products agree */
    for (int64_t i = 0; i < x->numel; i++) sum_x += xs[i] * gx[i];
    CHECK(error < (dtype == CB_F64 ? 1e-6 : 1e-4), "values, %d dimensions, mode %d, padding %d: %g", s.nd,
          s.mode, s.padding, error);
    CHECK(slope_error < 6e-2, "slopes, %d dimensions, mode %d, padding %d: %g", s.nd, s.mode, s.padding,
          slope_error);
    CHECK(fabs(sum_x - sum_y) < 1e-3 * (1 + fabs(sum_y)), "gradients: %g %g", sum_x, sum_y);
    double *all[] = {xs, ps, ys, cs, gx, gp};
    for (int i = 0; i < 6; i++) free(all[i]);
    cb_tensor *made[] = {base, x, drawn, scaled, grid, ct, y, grads[0], grads[1]};
    for (int i = 0; i < 9; i++) cb_release(made[i]);
}

static void nearest_and_infinite(void) {
    cb_tensor *x = make(CB_F32, 3, (int64_t[]){1, 1, 3}, 3), *at = make(CB_F32, 3, (int64_t[]){1, 6, 1}, 3);
    memcpy(x->data, (float[]){INFINITY, 2, 3}, 12);
    memcpy(at->data, (float[]){-2, 0, 1, 2, INFINITY, 1e30f}, 24);
    cb_tensor *y = cb_grid_sample(x, at, CB_GRID_NEAREST, CB_GRID_ZEROS, 1), *grads[2];
    CHECK(!memcmp(y->data, (float[]){0, 2, 3, 0, 0, 0}, 24), "nearest, outside is 0");
    CHECK(!cb_grid_sample_grad(y, x, at, CB_GRID_NEAREST, CB_GRID_ZEROS, 1, grads), "gradients");
    CHECK(!memcmp(grads[0]->data, (float[]){0, 2, 3}, 12), "gradient of the image");
    cb_tensor *made[] = {x, at, y, grads[0], grads[1]};
    for (int i = 0; i < 5; i++) cb_release(made[i]);
}

/* whatever the grid holds, only elements of the image are read */
static void anything(void) {
    cb_tensor *x = make(CB_F32, 4, (int64_t[]){1, 1, 1, 3}, 3),
              *at = make(CB_F32, 4, (int64_t[]){1, 4, 1, 2}, 3);
    float wild[] = {NAN, 0, INFINITY, -INFINITY, 1e30f, -1e30f, 0.5f, NAN};
    memcpy(at->data, wild, sizeof wild);
    for (int mode = 0; mode < 3; mode++)
        for (int padding = 0; padding < 3; padding++)
            for (int align = 0; align < 2; align++) {
                cb_tensor *y = cb_grid_sample(x, at, mode, padding, align), *grads[2];
                CHECK(y && !cb_grid_sample_grad(y, x, at, mode, padding, align, grads), "any coordinates");
                cb_release(y);
                cb_release(grads[0]);
                cb_release(grads[1]);
            }
    cb_release(x);
    cb_release(at);
}

static void edges(void) {
    cb_tensor *x = cb_empty(CB_F32, CB_META, 4, (int64_t[]){2, 3, 4, 5});
    cb_tensor *at = cb_empty(CB_F32, CB_META, 4, (int64_t[]){2, 7, 1, 2}), *grads[2];
    cb_tensor *y = cb_grid_sample(x, at, 0, 0, 0),
              *none = cb_empty(CB_F32, CB_CPU, 4, (int64_t[]){2, 0, 1, 2});
    CHECK(y && y->shape[1] == 3 && y->shape[2] == 7, "meta");
    CHECK(!cb_grid_sample_grad(y, x, at, 0, 0, 0, grads) && grads[1]->shape[1] == 7, "meta");
    cb_release(grads[0]);
    cb_release(grads[1]);
    CHECK(!cb_grid_sample(x, NULL, 0, 0, 0) && cb_error_code() == CB_ERR_NULL, "no tensor");
    CHECK(!cb_grid_sample(at, x, 0, 0, 0) && cb_error_code() == CB_ERR_SHAPE, "shapes");
    CHECK(!cb_grid_sample(x, at, 3, 0, 0) && cb_error_code() == CB_ERR_UNSUPPORTED, "no such mode");
    CHECK(cb_grid_sample_grad(x, x, at, 0, 0, 0, grads + 0) == CB_ERR_SHAPE, "a cotangent of another shape");
    cb_tensor *image = make(CB_F32, 4, (int64_t[]){2, 3, 4, 5}, 3),
              *empty = cb_grid_sample(image, none, 0, 0, 0);
    CHECK(empty && empty->numel == 0, "no points");
    cb_tensor *made[] = {x, at, y, none, image, empty};
    for (int i = 0; i < 6; i++) cb_release(made[i]);
}

int main(void) {
    if (cb_init(NULL)) return 1;
    cb_set_num_threads(3);
    for (int dtype = CB_F32; dtype <= CB_F64; dtype++)
        for (int nd = 1; nd <= 3; nd++)
            for (int way = 0; way < 18; way++) {
                sampler s = {.nd = nd, .mode = way % 3, .padding = way / 3 % 3, .align = way / 9};
                if (nd == 3 && s.mode == CB_GRID_CUBIC) continue;
                int layout = way % 3;
                sampling(dtype, s, 2, 6, 1, layout);
                sampling(dtype, s, 2, 6, 150, (layout + way / 3) % 3);
                sampling(dtype, s, 4, 2, 70, layout);
                sampling(dtype, s, 4, 21, 70, layout); /* groups of as many channels as a vector holds */
                sampling(dtype, s, 1, 13, 30, (layout + 1) % 3);
            }
    nearest_and_infinite();
    anything();
    edges();
    return finish("test_grid");
}
