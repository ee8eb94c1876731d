/* Shape arithmetic shared by all families: dims, broadcasting, device agreement. */
#include "internal.h"
#include "record.h"

int cb_wrap_dim(const char *op, int64_t dim, int ndim) {
    int64_t n = CB_MAX(ndim, 1);
    if (dim >= -n && dim < n) return (int)(dim < 0 ? dim + n : dim);
    cb_fail(CB_ERR_DIM, "%s: expected a dim in [%lld, %lld], got %lld. The tensor has %d dimensions.", op,
            (long long)-n, (long long)(n - 1), (long long)dim, ndim);
    return -1;
}

int cb_common_device(const char *op, int n, cb_tensor *const *xs) {
    int device = -1;
    if (cb_is_recording()) /* constants, which have memory, meet tensors that have none yet */
        for (int pass = 0; pass < 2; pass++)
            for (int i = 0; i < n; i++)
                if (cb_is_meta(xs[i]) && (pass || xs[i]->ndim)) return xs[i]->device;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < n; i++) {
            bool number = xs[i]->ndim == 0 && xs[i]->device == CB_CPU;
            if (number && pass == 0) continue;
            if (device < 0) device = xs[i]->device;
            if (xs[i]->device != device && !number) {
                static const char *names[] = {"cpu", "cuda", "meta"};
                cb_fail(CB_ERR_DEVICE,
                        "%s: expected all tensors on one device, got %s and %s. Move one with .to(device).",
                        op, names[device & 255], names[xs[i]->device & 255]);
                return -1;
            }
        }
    return device;
}

int cb_broadcast_shapes(const char *op, int n, cb_tensor *const *xs, int *ndim, int64_t *shape) {
    int nd = 0;
    for (int i = 0; i < n; i++) nd = CB_MAX(nd, xs[i]->ndim);
    *ndim = nd;
    for (int d = 0; d < nd; d++) shape[d] = 1;
    for (int i = 0; i < n; i++) {
        const cb_tensor *x = xs[i];
        int64_t *tail = shape + (nd - x->ndim);
        for (int d = 0; d < x->ndim; d++) {
            if (x->shape[d] == 1 || x->shape[d] == tail[d]) continue;
            if (tail[d] != 1) {
                const cb_tensor *other = xs[0];
                for (int j = 0; j < i; j++) {
                    int k = xs[j]->ndim - (x->ndim - d);
                    if (k >= 0 && xs[j]->shape[k] == tail[d]) other = xs[j];
                }
                return cb_fail(CB_ERR_SHAPE,
                               "%s: expected shapes that broadcast, got %s and %s (%lld != %lld at dim %d). "
                               "Reshape one of them so that sizes match or are 1.",
                               op, cb_shape_of(other), cb_shape_of(x), (long long)tail[d],
                               (long long)x->shape[d], d - x->ndim);
            }
            tail[d] = x->shape[d];
        }
    }
    return CB_OK;
}
