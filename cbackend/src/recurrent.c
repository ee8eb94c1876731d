/* What recurrent layers compute between their products, a step at a time: checks. Kernels are in
 * cpu/recurrent.c; they see contiguous tensors of float32 or float64. */
#include "internal.h"

static int check(const char *op, const char *what, cb_tensor *x, const cb_tensor *like, int64_t width,
                 bool written) {
    if (!x) return cb_fail(CB_ERR_NULL, "%s: no tensor", op);
    if (x->dtype != like->dtype || (x->dtype != CB_F32 && x->dtype != CB_F64))
        return cb_fail(CB_ERR_DTYPE, "%s: expected %s of dtype float32 or float64 throughout, got %s.", op,
                       what, cb_dtypes[x->dtype].name);
    if (x->ndim != 2 || x->shape[0] != like->shape[0] || x->shape[1] != width || !cb_is_contiguous(x))
        return cb_fail(CB_ERR_SHAPE, "%s: expected contiguous %s of shape [%lld, %lld], got %s.", op, what,
                       (long long)like->shape[0], (long long)width, cb_shape_of(x));
    if (x->device != like->device)
        return cb_fail(CB_ERR_DEVICE, "%s: expected %s on the device of c. Move it with .to(device).", op,
                       what);
    return written ? cb_check_writable(op, x) : CB_OK;
}

static int check_cell(const char *op, const cb_tensor *c) {
    if (!c) return cb_fail(CB_ERR_NULL, "%s: no tensor", op);
    if (c->ndim == 2) return CB_OK;
    return cb_fail(CB_ERR_SHAPE, "%s: expected c of shape [N, H], got %s.", op, cb_shape_of(c));
}

int cb_lstm_cell(cb_tensor *pre, cb_tensor *hidden, cb_tensor *c, cb_tensor *acts, cb_tensor *c_out,
                 cb_tensor *h_out, int64_t clock) {
    const char *op = "lstm_cell";
    CB_TRY(check_cell(op, c));
    int64_t n = c->shape[1];
    CB_TRY(check(op, "c", c, c, n, false));
    CB_TRY(check(op, "pre", pre, c, 4 * n, false));
    CB_TRY(check(op, "hidden", hidden, c, 4 * n, false));
    CB_TRY(check(op, "acts", acts, c, 4 * n, true));
    CB_TRY(check(op, "c_out", c_out, c, n, true));
    CB_TRY(check(op, "h_out", h_out, c, n, true));
    if (cb_is_meta(c) || c->numel == 0) return CB_OK;
    const cb_backend *backend = cb_backend_of(c);
    if (!backend->lstm_cell) return cb_fail(CB_ERR_UNSUPPORTED, "%s: no kernel for this device.", op);
    acts->storage->last_write = c_out->storage->last_write = h_out->storage->last_write = clock;
    backend->lstm_cell(c->dtype, c->shape[0], n, pre->data, hidden->data, c->data, acts->data, c_out->data,
                       h_out->data);
    return CB_OK;
}

int cb_lstm_cell_grad(cb_tensor *dh, cb_tensor *dc, cb_tensor *acts, cb_tensor *c, cb_tensor *prior,
                      cb_tensor *d, int64_t clock) {
    const char *op = "lstm_cell_grad";
    CB_TRY(check_cell(op, c));
    int64_t n = c->shape[1];
    CB_TRY(check(op, "c", c, c, n, false));
    CB_TRY(check(op, "dh", dh, c, n, false));
    CB_TRY(check(op, "dc", dc, c, n, true));
    CB_TRY(check(op, "acts", acts, c, 4 * n, false));
    CB_TRY(check(op, "prior", prior, c, n, false));
    CB_TRY(check(op, "d", d, c, 4 * n, true));
    if (cb_is_meta(c) || c->numel == 0) return CB_OK;
    const cb_backend *backend = cb_backend_of(c);
    if (!backend->lstm_cell_grad) return cb_fail(CB_ERR_UNSUPPORTED, "%s: no kernel for this device.", op);
    dc->storage->last_write = d->storage->last_write = clock;
    backend->lstm_cell_grad(c->dtype, c->shape[0], n, dh->data, dc->data, acts->data, c->data, prior->data,
                            d->data);
    return CB_OK;
}
