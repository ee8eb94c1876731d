/* Linear sampling of images against a plain reference: one to three dimensions, tails, places outside, both
 * dtypes, strided operands; gradients against differences of a linear function; meta tensors, errors. */
#include <math.h>

#include "products_test.h"

/* the value of one channel at a place */
static double at_place(const double *x, int nd, const int64_t *size, const double *place) {
    double total = 0;
    for (int corner = 0; corner < 1 << nd; corner++) {
        double weight = 1;
        int64_t offset = 0;
        for (int d = 0; d < nd; d++) {
            double low = floor(place[d]), rest = place[d] - low;
            int up = corner >> d & 1;
            int64_t p = (int64_t)low + up;
            weight *= p < 0 || p >= size[d] ? 0 : up ? rest : 1 - rest;
            offset = offset * size[d] + CB_MIN(CB_MAX(p, 0), size[d] - 1);
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

static void sampling(int dtype, int nd, int64_t n, int64_t channels, int64_t points, int mode) {
    static const int64_t sizes[3] = {5, 3, 4};
    int64_t plane = 1, shape[5] = {n, channels};
    for (int d = 0; d < nd; d++) plane *= shape[2 + d] = sizes[d];
    cb_tensor *base = make(dtype, nd + 2, shape, 3), *x = restride(base, mode);
    cb_tensor *drawn = make(dtype, 3, (int64_t[]){n, points, nd}, 22);
    cb_tensor *scaled = cb_binary_int(cb_op_code("binary", "div"), drawn, 4, 0), *at = restride(scaled, mode);
    cb_tensor *ct = make(dtype, 3, (int64_t[]){n, channels, points}, 3), *grads[2];
    cb_tensor *y = cb_grid_linear(x, at, 0);
    CHECK(y && !cb_grid_linear_grad(ct, x, at, 0, grads), "sampling");
    double *xs = reals(x), *ps = reals(at), *ys = reals(y), *cs = reals(ct), *gx = reals(grads[0]);
    double *gp = reals(grads[1]), error = 0, sum_x = 0, sum_y = 0;
    for (int64_t i = 0; i < n * points; i++) {
        double slopes[3] = {0};
        for (int64_t c = 0; c < channels; c++) {
            int64_t image = i / points, k = (image * channels + c) * points + i % points;
            const double *one = xs + (image * channels + c) * plane;
            double value = at_place(one, nd, sizes, ps + i * nd), step = 1e-6, near[3];
            error = fmax(error, fabs(value - ys[k]));
            sum_y += cs[k] * ys[k];
            for (int d = 0; d < nd; d++) {
                memcpy(near, ps + i * nd, (size_t)nd * sizeof *near);
                near[d] += step;
                slopes[d] += cs[k] * (at_place(one, nd, sizes, near) - value) / step;
            }
        }
        for (int d = 0; d < nd; d++) {
            double rest = ps[i * nd + d] - floor(ps[i * nd + d]);
            if (rest < 1 - 1e-5) error = fmax(error, 1e-2 * fabs(slopes[d] - gp[i * nd + d]));
        }
    }
    /* y is linear in x, so the two products agree */
    for (int64_t i = 0; i < x->numel; i++) sum_x += xs[i] * gx[i];
    CHECK(error < (dtype == CB_F64 ? 1e-6 : 1e-4), "values, %d dimensions: %g", nd, error);
    CHECK(fabs(sum_x - sum_y) < 1e-3 * (1 + fabs(sum_y)), "gradients: %g %g", sum_x, sum_y);
    double *all[] = {xs, ps, ys, cs, gx, gp};
    for (int i = 0; i < 6; i++) free(all[i]);
    cb_tensor *made[] = {base, x, drawn, scaled, at, ct, y, grads[0], grads[1]};
    for (int i = 0; i < 9; i++) cb_release(made[i]);
}

static void nearest_and_infinite(void) {
    cb_tensor *x = make(CB_F32, 3, (int64_t[]){1, 1, 3}, 3), *at = make(CB_F32, 3, (int64_t[]){1, 5, 1}, 3);
    memcpy(x->data, (float[]){INFINITY, 2, 3}, 12);
    memcpy(at->data, (float[]){-1, 1, 2, 3, NAN}, 20);
    cb_tensor *y = cb_grid_linear(x, at, 1), *grads[2];
    CHECK(!memcmp(y->data, (float[]){0, 2, 3, 0, 0}, 20), "nearest, outside and nan are 0");
    CHECK(!cb_grid_linear_grad(y, x, at, 1, grads), "gradients");
    CHECK(!memcmp(grads[0]->data, (float[]){0, 2, 3}, 12), "gradient of the image");
    cb_tensor *made[] = {x, at, y, grads[0], grads[1]};
    for (int i = 0; i < 5; i++) cb_release(made[i]);
}

static void edges(void) {
    cb_tensor *x = cb_empty(CB_F32, CB_META, 4, (int64_t[]){2, 3, 4, 5});
    cb_tensor *at = cb_empty(CB_F32, CB_META, 3, (int64_t[]){2, 7, 2}), *grads[2];
    cb_tensor *y = cb_grid_linear(x, at, 0), *none = cb_empty(CB_F32, CB_CPU, 3, (int64_t[]){2, 0, 2});
    CHECK(y && y->shape[1] == 3 && y->shape[2] == 7, "meta");
    CHECK(!cb_grid_linear_grad(y, x, at, 0, grads) && grads[1]->shape[1] == 7, "meta");
    cb_release(grads[0]);
    cb_release(grads[1]);
    CHECK(!cb_grid_linear(x, NULL, 0) && cb_error_code() == CB_ERR_NULL, "no tensor");
    CHECK(!cb_grid_linear(at, x, 0) && cb_error_code() == CB_ERR_SHAPE, "shapes");
    CHECK(cb_grid_linear_grad(x, x, at, 0, grads + 0) == CB_ERR_SHAPE, "a cotangent of another shape");
    cb_tensor *image = make(CB_F32, 4, (int64_t[]){2, 3, 4, 5}, 3), *empty = cb_grid_linear(image, none, 0);
    CHECK(empty && empty->numel == 0, "no points");
    cb_tensor *made[] = {x, at, y, none, image, empty};
    for (int i = 0; i < 6; i++) cb_release(made[i]);
}

int main(void) {
    if (cb_init(NULL)) return 1;
    cb_set_num_threads(3);
    for (int dtype = CB_F32; dtype <= CB_F64; dtype++)
        for (int nd = 1; nd <= 3; nd++)
            for (int mode = 0; mode < 3; mode++) {
                sampling(dtype, nd, 2, 6, 1, mode);
                sampling(dtype, nd, 2, 6, 300, mode);
                sampling(dtype, nd, 4, 2, 140, mode);
                sampling(dtype, nd, 4, 21, 140, mode); /* groups of as many channels as a vector holds */
                sampling(dtype, nd, 1, 13, 30, mode);
            }
    nearest_and_infinite();
    edges();
    return finish("test_grid");
}
