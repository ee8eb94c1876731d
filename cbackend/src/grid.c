/* Sampling images: checks, shapes, results. Kernels are in cpu/grid.c. */
#include "internal.h"

static int described(cb_grid *g, const cb_tensor *x, const cb_tensor *at, bool nearest) {
    if (x->dtype != at->dtype || (x->dtype != CB_F32 && x->dtype != CB_F64))
        return cb_fail(
            CB_ERR_DTYPE,
            "grid_sample: expected float32 or float64 images and places, got %s and %s. Cast them.",
            cb_dtypes[x->dtype].name, cb_dtypes[at->dtype].name);
    int nd = x->ndim - 2;
    if (nd < 1 || nd > 3 || at->ndim != 3 || at->shape[0] != x->shape[0] || at->shape[2] != nd)
        return cb_fail(CB_ERR_SHAPE,
                       "grid_sample: expected images [N, C, *sizes] and places [N, P, %d], got %s and %s.",
                       nd, cb_shape_of(x), cb_shape_of(at));
    *g = (cb_grid){.dtype = x->dtype, .nd = nd, .nearest = nearest, .size = {1, 1, 1}};
    g->n = x->shape[0];
    g->channels = x->shape[1];
    g->points = at->shape[1];
    for (int i = 0; i < nd; i++) g->size[3 - nd + i] = x->shape[2 + i];
    if (g->size[0] * g->size[1] * g->size[2] > INT32_MAX)
        return cb_fail(CB_ERR_UNSUPPORTED,
                       "grid_sample: expected images of fewer than 2^31 elements, got %s.", cb_shape_of(x));
    return cb_common_device("grid_sample", 2, (cb_tensor *[]){(cb_tensor *)x, (cb_tensor *)at}) < 0
               ? cb_error_code()
               : CB_OK;
}

cb_tensor *cb_grid_linear(cb_tensor *x, cb_tensor *at, int nearest) {
    if (!x || !at) return cb_fail_null(CB_ERR_NULL, "grid_sample: no tensor");
    cb_grid g;
    if (described(&g, x, at, nearest)) return NULL;
    cb_tensor *out = cb_empty(x->dtype, x->device, 3, (int64_t[]){g.n, g.channels, g.points});
    if (!out || cb_is_meta(out) || !out->numel) return out;
    cb_tensor *image = cb_contiguous(x), *places = image ? cb_contiguous(at) : NULL;
    if (places) {
        cb_backend_of(out)->grid_linear(&g, out->data, image->data, places->data);
    } else {
        cb_release(out);
        out = NULL;
    }
    cb_release(places);
    cb_release(image);
    return out;
}

int cb_grid_linear_grad(cb_tensor *ct, cb_tensor *x, cb_tensor *at, int nearest, cb_tensor *out[2]) {
    if (!ct || !x || !at) return cb_fail(CB_ERR_NULL, "grid_sample: no tensor");
    cb_grid g;
    CB_TRY(described(&g, x, at, nearest));
    if (ct->dtype != x->dtype || ct->ndim != 3 || ct->shape[0] != g.n || ct->shape[1] != g.channels ||
        ct->shape[2] != g.points)
        return cb_fail(CB_ERR_SHAPE, "grid_sample: expected a cotangent %s [%lld, %lld, %lld], got %s %s.",
                       cb_dtypes[x->dtype].name, (long long)g.n, (long long)g.channels, (long long)g.points,
                       cb_dtypes[ct->dtype].name, cb_shape_of(ct));
    out[0] = cb_empty(x->dtype, x->device, x->ndim, x->shape);
    out[1] = out[0] ? cb_empty(at->dtype, at->device, at->ndim, at->shape) : NULL;
    int status = out[1] ? CB_OK : cb_error_code();
    if (!status && !cb_is_meta(ct)) {
        cb_tensor *y = cb_contiguous(ct), *image = y ? cb_contiguous(x) : NULL,
                  *places = image ? cb_contiguous(at) : NULL;
        if (places)
            cb_backend_of(x)->grid_linear_grad(&g, out[0]->data, out[1]->data, y->data, image->data,
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
