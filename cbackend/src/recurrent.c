/* One direction of an LSTM layer and its gradient: checks, shapes, results. Kernels are in cpu/recurrent.c.
 * Operands reach the backend contiguous, 16-bit floats as float. */
#include "internal.h"

enum { MOST = 7 };

static int check(const char *op, int n, cb_tensor *const *in, const char *const *names,
                 const int64_t (*shapes)[3]) {
    for (int i = 0; i < n; i++) {
        int ndim = shapes[i][0] < 0 ? 2 : 3;
        const int64_t *shape = shapes[i] + (3 - ndim);
        if (in[i]->ndim != ndim || memcmp(in[i]->shape, shape, (size_t)ndim * sizeof *shape))
            return cb_fail(CB_ERR_SHAPE, "%s: expected %s of shape %s, got %s. Check the sizes.", op,
                           names[i], cb_shape_text(ndim, shape), cb_shape_of(in[i]));
        if (!cb_is_float(in[i]->dtype) || in[i]->dtype != in[0]->dtype)
            return cb_fail(
                CB_ERR_DTYPE,
                "%s: expected operands of one floating dtype, got %s and %s. Cast with .to(dtype).", op,
                cb_dtypes[in[0]->dtype].name, cb_dtypes[in[i]->dtype].name);
    }
    return CB_OK;
}

/* Makes the results, runs the backend on contiguous operands in the compute dtype, casts back. */
static int run(const char *op, bool grad, cb_lstm *l, int n, cb_tensor *const *in, const int64_t (*shapes)[3],
               cb_tensor **out) {
    int device = cb_common_device(op, n, in), given = in[0]->dtype, status = CB_OK;
    if (device < 0) return cb_error_code();
    l->dtype = cb_compute_dtype(given);
    for (int i = 0; i < 3 && !status; i++) {
        int ndim = shapes[i][0] < 0 ? 2 : 3;
        out[i] = cb_empty(l->dtype, device, ndim, shapes[i] + (3 - ndim));
        if (!out[i]) status = cb_error_code();
    }
    cb_tensor *held[MOST] = {NULL};
    bool compute = (device & 255) != CB_META && l->rows > 0 && l->hidden > 0;
    for (int i = 0; i < n && !status && compute; i++) {
        cb_tensor *wide = cb_cast(in[i], l->dtype);
        held[i] = wide ? cb_contiguous(wide) : NULL;
        cb_release(wide);
        if (!held[i]) status = cb_error_code();
    }
    if (!status && compute) {
        const cb_backend *backend = cb_backend_of(out[0]);
        if (grad) {
            l->ct_h = held[0]->data, l->ct_c = held[1]->data, l->cs = held[2]->data, l->acts = held[3]->data;
            l->c0 = held[4]->data, l->w = held[5]->data, l->ct_acts = n > 6 ? held[6]->data : NULL;
            l->dpre = out[0]->data, l->dh = out[1]->data, l->dc = out[2]->data;
        } else {
            l->pre = held[0]->data, l->h0 = held[1]->data, l->c0 = held[2]->data, l->w = held[3]->data;
            l->hs = out[0]->data, l->cs = out[1]->data, l->acts = out[2]->data;
        }
        status = grad ? backend->lstm_grad(l) : backend->lstm(l);
    }
    for (int i = 0; i < n; i++) cb_release(held[i]);
    for (int i = 0; i < 3 && !status && given != l->dtype; i++) {
        cb_tensor *narrow = cb_cast(out[i], given);
        cb_release(out[i]);
        out[i] = narrow;
        if (!narrow) status = cb_error_code();
    }
    for (int i = 0; i < 3 && status; i++) {
        cb_release(out[i]);
        out[i] = NULL;
    }
    return status;
}

int cb_lstm_layer(cb_tensor *pre, cb_tensor *h0, cb_tensor *c0, cb_tensor *w, int backwards,
                  cb_tensor *out[3]) {
    out[0] = out[1] = out[2] = NULL;
    if (!pre || !h0 || !c0 || !w) return cb_fail(CB_ERR_NULL, "lstm_layer: no tensor");
    if (pre->ndim != 3 || w->ndim != 2)
        return cb_fail(CB_ERR_SHAPE, "lstm_layer: expected pre [T, N, 4 H] and w [4 H, H], got %s and %s.",
                       cb_shape_of(pre), cb_shape_of(w));
    cb_lstm l = {
        .backwards = backwards, .steps = pre->shape[0], .rows = pre->shape[1], .hidden = w->shape[1]};
    int64_t t = l.steps, n = l.rows, h = l.hidden;
    const char *const names[] = {"pre", "h0", "c0", "w"};
    const int64_t shapes[][3] = {{t, n, 4 * h}, {-1, n, h}, {-1, n, h}, {-1, 4 * h, h}},
                  results[][3] = {{t, n, h}, {t, n, h}, {t, n, 4 * h}};
    cb_tensor *in[] = {pre, h0, c0, w};
    CB_TRY(check("lstm_layer", 4, in, names, shapes));
    return run("lstm_layer", false, &l, 4, in, results, out);
}

int cb_lstm_layer_grad(cb_tensor *ct_h, cb_tensor *ct_c, cb_tensor *ct_acts, cb_tensor *cs, cb_tensor *acts,
                       cb_tensor *c0, cb_tensor *w, int backwards, int through_acts, cb_tensor *out[3]) {
    out[0] = out[1] = out[2] = NULL;
    if (!ct_h || !ct_c || !ct_acts || !cs || !acts || !c0 || !w)
        return cb_fail(CB_ERR_NULL, "lstm_layer_grad: no tensor");
    if (cs->ndim != 3)
        return cb_fail(CB_ERR_SHAPE, "lstm_layer_grad: expected cs [T, N, H], got %s.", cb_shape_of(cs));
    cb_lstm l = {.backwards = backwards, .steps = cs->shape[0], .rows = cs->shape[1], .hidden = cs->shape[2]};
    int64_t t = l.steps, n = l.rows, h = l.hidden;
    const char *const names[] = {"ct_h", "ct_c", "cs", "acts", "c0", "w", "ct_acts"};
    const int64_t shapes[][3] = {{t, n, h},  {t, n, h},      {t, n, h},    {t, n, 4 * h},
                                 {-1, n, h}, {-1, 4 * h, h}, {t, n, 4 * h}},
                  results[][3] = {{t, n, 4 * h}, {-1, n, h}, {-1, n, h}};
    cb_tensor *in[] = {ct_h, ct_c, cs, acts, c0, w, ct_acts};
    int count = through_acts ? 7 : 6;
    CB_TRY(check("lstm_layer_grad", count, in, names, shapes));
    return run("lstm_layer_grad", true, &l, count, in, results, out);
}
