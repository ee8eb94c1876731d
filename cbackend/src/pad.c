/* Padding: with a number, or with what a reflection, the nearest edge or the other side holds. Kernels:
 * cpu/pad.c, ../cuda/pad.cu. */
#include "pad.h"

static const char *const mode_names[] = {"reflect", "replicate", "circular"};

typedef struct plan {
    int64_t small[CB_MAX_NDIM], large[CB_MAX_NDIM];
    int64_t pads[CB_MAX_NDIM][2]; /* of each dimension: the mode, and the items before */
    int64_t *padded[CB_MAX_NDIM]; /* NULL where nothing is padded */
} plan;

/* From one of the two shapes the other, both checked. */
static int plan_shapes(plan *p, int mode, const cb_tensor *x, int n2, const int64_t *pad, bool grad) {
    if (n2 % 2 || n2 < 0 || n2 / 2 > x->ndim)
        return cb_fail(
            CB_ERR_VALUE,
            "pad: expected pairs (before, after) for at most %d dimensions, last first, got %d numbers.",
            x->ndim, n2);
    int64_t *known = grad ? p->large : p->small, *wanted = grad ? p->small : p->large;
    for (int d = 0; d < x->ndim; d++) {
        known[d] = wanted[d] = x->shape[d];
        p->padded[d] = NULL;
    }
    for (int k = 0; k < n2 / 2; k++) {
        int d = x->ndim - 1 - k;
        int64_t low = pad[2 * k], high = pad[2 * k + 1], n;
        if (grad ? __builtin_sub_overflow(known[d], low, &n) || __builtin_sub_overflow(n, high, &n) || n < 0
                 : __builtin_add_overflow(known[d], low, &n) || __builtin_add_overflow(n, high, &n) || n < 0)
            return cb_fail(CB_ERR_SHAPE,
                           "pad: expected sizes of at least 0 in the result, got pad (%lld, %lld) for "
                           "dim %d of size %lld.",
                           (long long)low, (long long)high, d, (long long)known[d]);
        wanted[d] = n;
        p->pads[d][0] = mode;
        p->pads[d][1] = low;
        if (low || high) p->padded[d] = p->pads[d];
        if (mode == CB_PAD_CONSTANT || (low <= 0 && high <= 0)) continue;
        if (p->small[d] == 0 || (mode == CB_PAD_REFLECT && CB_MAX(low, high) >= p->small[d]))
            return cb_fail(
                CB_ERR_SHAPE, "pad: expected %s in mode \"%s\", got (%lld, %lld) for dim %d of size %lld.",
                mode == CB_PAD_REFLECT ? "reflections shorter than the dimension" : "elements to repeat",
                mode_names[mode], (long long)low, (long long)high, d, (long long)p->small[d]);
    }
    return CB_OK;
}

static cb_tensor *finished(cb_tensor *out, int status) {
    if (!status) return out;
    cb_release(out);
    return NULL;
}

/* x has the dtype of the result; neither is empty. */
static cb_tensor *computed(const plan *p, cb_tensor *x, bool grad, const cb_scalar *value) {
    cb_tensor *out = cb_empty(x->dtype, x->device, x->ndim, grad ? p->small : p->large);
    cb_tensor *from = out ? cb_contiguous(x) : NULL;
    int status = from ? CB_OK : cb_error_code();
    if (!status)
        status = grad ? cb_backend_of(out)->pad_grad(out, from, p->padded)
                      : cb_backend_of(out)->pad(out, from, p->padded, value);
    cb_release(from);
    return finished(out, status);
}

static cb_tensor *padded(cb_tensor *x, int n2, const int64_t *pad, int mode, const cb_scalar *value) {
    plan p;
    if (plan_shapes(&p, mode, x, n2, pad, false)) return NULL;
    if (cb_is_meta(x) || x->numel == 0 || cb_numel_of(x->ndim, p.large) <= 0) {
        cb_tensor *out = cb_empty(x->dtype, x->device, x->ndim, p.large);
        if (!out || cb_is_meta(out) || out->numel == 0) return out;
        return finished(out, cb_backend_of(out)->fill(out, value));
    }
    return computed(&p, x, false, value);
}

cb_tensor *cb_pad(cb_tensor *x, int n2, const int64_t *pad, const cb_scalar *value) {
    if (!x) return cb_fail_null(CB_ERR_NULL, "pad: no tensor");
    return padded(x, n2, pad, CB_PAD_CONSTANT, value);
}

static bool is_mode(int mode) {
    if (mode >= CB_PAD_REFLECT && mode <= CB_PAD_CIRCULAR) return true;
    cb_fail(CB_ERR_VALUE, "pad: expected a mode of 0 to 2, got %d.", mode);
    return false;
}

cb_tensor *cb_pad_edges(cb_tensor *x, int n2, const int64_t *pad, int mode) {
    if (!x) return cb_fail_null(CB_ERR_NULL, "pad: no tensor");
    return is_mode(mode) ? padded(x, n2, pad, mode, &(cb_scalar){.kind = 'i'}) : NULL;
}

cb_tensor *cb_pad_edges_grad(cb_tensor *ct, int n2, const int64_t *pad, int mode) {
    plan p;
    if (!ct) return cb_fail_null(CB_ERR_NULL, "pad: no tensor");
    if (!is_mode(mode) || plan_shapes(&p, mode, ct, n2, pad, true)) return NULL;
    if (!cb_is_inexact(ct->dtype))
        return cb_fail_null(CB_ERR_DTYPE, "pad: expected a floating or complex cotangent, got %s.",
                            cb_dtypes[ct->dtype].name);
    if (cb_is_meta(ct) || ct->numel == 0 || cb_numel_of(ct->ndim, p.small) <= 0) {
        cb_tensor *out = cb_empty(ct->dtype, ct->device, ct->ndim, p.small);
        if (!out || cb_is_meta(out) || out->numel == 0) return out;
        return finished(out, cb_backend_of(out)->fill(out, &(cb_scalar){.kind = 'i'}));
    }
    cb_tensor *wide = cb_cast(ct, cb_compute_dtype(ct->dtype)), *out = NULL;
    if (wide) out = computed(&p, wide, true, NULL);
    cb_release(wide);
    if (!out || out->dtype == ct->dtype) return out;
    cb_tensor *narrow = cb_cast(out, ct->dtype);
    cb_release(out);
    return narrow;
}
