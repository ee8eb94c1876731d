/* Sampling images: checks, shapes, results. Kernels are in cpu/grid.c. */
#include "internal.h"

static int described(cb_grid *g, const cb_tensor *x, const cb_tensor *grid, int mode, int padding,
                     int align) {
    if (x->dtype != grid->dtype || (x->dtype != CB_F32 && x->dtype != CB_F64))
        return cb_fail(CB_ERR_DTYPE,
                       "grid_sample: expected float32 or float64 images and grids, got %s and %s. Cast them.",
                       cb_dtypes[x->dtype].name, cb_dtypes[grid->dtype].name);
    int nd = x->ndim - 2;
    if (nd < 1 || nd > 3 || grid->ndim != x->ndim || grid->shape[0] != x->shape[0] ||
        grid->shape[nd + 1] != nd)
        return cb_fail(CB_ERR_SHAPE,
                       "grid_sample: expected images [N, C, *sizes] and a grid [N, *out, %d], got %s and %s.",
                       nd, cb_shape_of(x), cb_shape_of(grid));
    if (mode > CB_GRID_CUBIC || padding > CB_GRID_REFLECTION || (mode == CB_GRID_CUBIC && nd == 3))
        return cb_fail(
            CB_ERR_UNSUPPORTED,
            "grid_sample: expected a mode and a padding that exist for %d dimensions, got %d and %d.", nd,
            mode, padding);
    *g = (cb_grid){.dtype = x->dtype,
                   .nd = nd,
                   .mode = mode,
                   .padding = padding,
                   .align = align,
                   .n = x->shape[0],
                   .channels = x->shape[1],
                   .points = 1,
                   .size = {1, 1, 1}};
    int64_t plane = 1;
    for (int i = 0; i < nd; i++) {
        plane *= g->size[3 - nd + i] = x->shape[2 + i];
        g->points *= grid->shape[1 + i];
    }
    if (plane < 1 || plane > INT32_MAX)
        return cb_fail(CB_ERR_UNSUPPORTED,
                       "grid_sample: expected images of 1 to 2^31 - 1 elements a channel, got %s.",
                       cb_shape_of(x));
    return cb_common_device("grid_sample", 2, (cb_tensor *[]){(cb_tensor *)x, (cb_tensor *)grid}) < 0
               ? cb_error_code()
               : CB_OK;
}

/* [N, C, *out] */
static void shape_of_samples(const cb_grid *g, const cb_tensor *grid, int64_t *shape) {
    shape[0] = g->n;
    shape[1] = g->channels;
    for (int i = 0; i < g->nd; i++) shape[2 + i] = grid->shape[1 + i];
}

cb_tensor *cb_grid_sample(cb_tensor *x, cb_tensor *grid, int mode, int padding, int align) {
    if (!x || !grid) return cb_fail_null(CB_ERR_NULL, "grid_sample: no tensor");
    cb_grid g;
    int64_t shape[CB_MAX_NDIM];
    if (described(&g, x, grid, mode, padding, align)) return NULL;
    shape_of_samples(&g, grid, shape);
    cb_tensor *out = cb_empty(x->dtype, x->device, x->ndim, shape);
    if (!out || cb_is_meta(out) || !out->numel) return out;
    cb_tensor *image = cb_contiguous(x), *places = image ? cb_contiguous(grid) : NULL;
    if (places) {
        cb_backend_of(out)->grid_sample(&g, out->data, image->data, places->data);
    } else {
        cb_release(out);
        out = NULL;
    }
    cb_release(places);
    cb_release(image);
    return out;
}

int cb_grid_sample_grad(cb_tensor *ct, cb_tensor *x, cb_tensor *grid, int mode, int padding, int align,
                        cb_tensor *out[2]) {
    if (!ct || !x || !grid) return cb_fail(CB_ERR_NULL, "grid_sample: no tensor");
    cb_grid g;
    int64_t shape[CB_MAX_NDIM];
    CB_TRY(described(&g, x, grid, mode, padding, align));
    shape_of_samples(&g, grid, shape);
    if (ct->dtype != x->dtype || ct->ndim != x->ndim ||
        memcmp(ct->shape, shape, (size_t)x->ndim * sizeof *shape) != 0)
        return cb_fail(CB_ERR_SHAPE,
                       "grid_sample: expected a cotangent like the result of %s %s and %s, got %s %s.",
                       cb_dtypes[x->dtype].name, cb_shape_of(x), cb_shape_of(grid), cb_dtypes[ct->dtype].name,
                       cb_shape_of(ct));
    out[0] = cb_empty(x->dtype, x->device, x->ndim, x->shape);
    out[1] = out[0] ? cb_empty(grid->dtype, grid->device, grid->ndim, grid->shape) : NULL;
    int status = out[1] ? CB_OK : cb_error_code();
    if (!status && !cb_is_meta(ct)) {
        cb_tensor *y = cb_contiguous(ct), *image = y ? cb_contiguous(x) : NULL,
                  *places = image ? cb_contiguous(grid) : NULL;
        if (places)
            cb_backend_of(x)->grid_sample_grad(&g, out[0]->data, out[1]->data, y->data, image->data,
                                               places->data);
        else
            status = cb_error_code();
        cb_release(places);
        cb_release(image);
        cb_release(y);
    }
    for (int i = 0; status && i < 2; i++) {
        cb_release(out[i]);
        out[i] = NULL;
    }
    return status;
}
