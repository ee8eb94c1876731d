/* Matrix products: the shape and dtype rules of torch.matmul and linear. Kernels are in cpu/matmul.c.
 *
 * Operands are described to the backend by strides, so transposed, broadcast and sliced ones need no copy
 * here. 16-bit floats are computed in float: both operands are cast, and the result is rounded once. */
#include "internal.h"

static int check_dtypes(const char *op, const cb_tensor *x, const cb_tensor *y) {
    if (x->dtype != y->dtype)
        return cb_fail(CB_ERR_DTYPE,
                       "%s: expected operands of one dtype, got %s and %s. Cast one with .to(dtype).", op,
                       cb_dtypes[x->dtype].name, cb_dtypes[y->dtype].name);
    if (x->dtype == CB_BOOL)
        return cb_fail(CB_ERR_DTYPE,
                       "%s: expected numbers, got bool. Cast with .to(dtype), for example to int32.", op);
    return CB_OK;
}

/* Fills in g's shape, strides and batch, and the shape of the result. */
static int describe(cb_tensor *x, cb_tensor *y, cb_gemm *g, int *ndim, int64_t *shape) {
    if (x->ndim == 0 || y->ndim == 0)
        return cb_fail(
            CB_ERR_SHAPE,
            "matmul: expected at least 1 dimension each, got %s @ %s. Multiply by a number with *.",
            cb_shape_of(x), cb_shape_of(y));
    bool row = x->ndim == 1,
         column = y->ndim == 1; /* vectors stand for a row on the left, a column on the right */
    int xb = row ? 0 : x->ndim - 2, yb = column ? 0 : y->ndim - 2, nb = CB_MAX(xb, yb);
    g->m = row ? 1 : x->shape[xb];
    g->k = x->shape[x->ndim - 1];
    g->n = column ? 1 : y->shape[yb + 1];
    int64_t inner = y->shape[yb];
    if (g->k != inner)
        return cb_fail(
            CB_ERR_SHAPE,
            "matmul: expected equal inner sizes, got %s @ %s (%lld != %lld). Transpose an operand?",
            cb_shape_of(x), cb_shape_of(y), (long long)g->k, (long long)inner);
    g->a_row = row ? 0 : x->strides[xb];
    g->a_col = x->strides[x->ndim - 1];
    g->b_row = y->strides[yb];
    g->b_col = column ? 0 : y->strides[yb + 1];
    g->nbatch = nb;
    g->batch = 1;
    for (int d = 0; d < nb; d++) {
        int dx = d - (nb - xb), dy = d - (nb - yb);
        int64_t nx = dx < 0 ? 1 : x->shape[dx], ny = dy < 0 ? 1 : y->shape[dy];
        if (nx != ny && nx != 1 && ny != 1)
            return cb_fail(CB_ERR_SHAPE,
                           "matmul: expected batch dimensions that broadcast, got %s @ %s (%lld != %lld). "
                           "Reshape one of them.",
                           cb_shape_of(x), cb_shape_of(y), (long long)nx, (long long)ny);
        g->batch_shape[d] = shape[d] = nx == 1 ? ny : nx;
        g->a_batch[d] = nx == 1 ? 0 : x->strides[dx];
        g->b_batch[d] = ny == 1 ? 0 : y->strides[dy];
        g->batch *= shape[d];
    }
    *ndim = nb;
    if (!row) shape[(*ndim)++] = g->m;
    if (!column) shape[(*ndim)++] = g->n;
    return CB_OK;
}

/* Computes into a fresh result of the given shape. x and y hold g's operands. */
static cb_tensor *multiply(cb_gemm *g, cb_tensor *x, cb_tensor *y, int device, int ndim,
                           const int64_t *shape) {
    cb_tensor *out = cb_empty(x->dtype, device, ndim, shape);
    if (!out || cb_is_meta(out) || out->numel == 0) return out;
    g->dtype = x->dtype;
    g->a = x->data;
    g->b = y->data;
    g->c = out->data;
    if (cb_backend_of(out)->gemm(g)) {
        cb_release(out);
        return NULL;
    }
    return out;
}

static cb_tensor *rounded(cb_tensor *wide, int dtype) {
    cb_tensor *out = wide ? cb_cast(wide, dtype) : NULL;
    cb_release(wide);
    return out;
}

/* The product of 16-bit floats by the backend's own kernel; NULL with *tried false where it has none. */
static cb_tensor *half_product(cb_gemm *g, cb_tensor *x, cb_tensor *y, int device, int ndim,
                               const int64_t *shape, bool *tried) {
    cb_tensor *out = cb_empty(x->dtype, device, ndim, shape);
    *tried = true;
    if (!out || out->numel == 0) return out;
    g->dtype = x->dtype;
    g->a = x->data;
    g->b = y->data;
    g->c = out->data;
    int status = cb_backend_of(out)->gemm_16bit(g);
    if (!status) return out;
    cb_release(out);
    *tried = status != CB_ERR_UNSUPPORTED;
    return NULL;
}

cb_tensor *cb_matmul(cb_tensor *x, cb_tensor *y) {
    if (!x || !y) return cb_fail_null(CB_ERR_NULL, "matmul: no tensor");
    if (check_dtypes("matmul", x, y)) return NULL;
    int device = x->device == y->device ? x->device : cb_common_device("matmul", 2, (cb_tensor *[]){x, y});
    if (device < 0) return NULL;
    cb_gemm g;
    int64_t shape[CB_MAX_NDIM];
    int ndim = 0;
    if (describe(x, y, &g, &ndim, shape)) return NULL;
    g.bias = NULL;
    if (cb_is_16bit_float(x->dtype) && !cb_is_meta(x)) {
        bool tried = false;
        cb_tensor *out = half_product(&g, x, y, device, ndim, shape, &tried);
        if (tried) return out;
        cb_tensor *wx = cb_cast(x, CB_F32), *wy = wx ? cb_cast(y, CB_F32) : NULL;
        cb_tensor *wide = wy ? cb_matmul(wx, wy) : NULL;
        cb_release(wx);
        cb_release(wy);
        return rounded(wide, x->dtype);
    }
    return multiply(&g, x, y, device, ndim, shape);
}

cb_tensor *cb_linear(cb_tensor *x, cb_tensor *w, cb_tensor *b, int has_bias) {
    if (!x || !w || (has_bias && !b)) return cb_fail_null(CB_ERR_NULL, "linear: no tensor");
    if (check_dtypes("linear", x, w) || (has_bias && check_dtypes("linear", x, b))) return NULL;
    if (x->ndim == 0 || w->ndim != 2 || x->shape[x->ndim - 1] != w->shape[1])
        return cb_fail_null(
            CB_ERR_SHAPE,
            "linear: expected x [..., in] and w [out, in], got %s and %s. Transpose the weight?",
            cb_shape_of(x), cb_shape_of(w));
    if (has_bias && (b->ndim != 1 || b->shape[0] != w->shape[0]))
        return cb_fail_null(
            CB_ERR_SHAPE, "linear: expected a bias of shape [%lld], got %s. It needs one number per output.",
            (long long)w->shape[0], cb_shape_of(b));
    int device = cb_common_device("linear", has_bias ? 3 : 2, (cb_tensor *[]){x, w, b});
    if (device < 0) return NULL;
    int64_t shape[CB_MAX_NDIM], k = w->shape[1], n = w->shape[0];
    int last = x->ndim - 1;
    memcpy(shape, x->shape, (size_t)last * sizeof *shape);
    shape[last] = n;
    cb_gemm g = {.m = last ? x->shape[last - 1] : 1,
                 .n = n,
                 .k = k,
                 .nbatch = CB_MAX(last - 1, 0),
                 .batch = 1,
                 .a_row = last ? x->strides[last - 1] : 0,
                 .a_col = x->strides[last],
                 .b_row = w->strides[1],
                 .b_col = w->strides[0]};
    for (int d = 0; d < g.nbatch; d++) {
        g.batch_shape[d] = x->shape[d];
        g.a_batch[d] = x->strides[d];
        g.batch *= x->shape[d];
    }
    cb_tensor *bias = has_bias && !cb_is_meta(b) ? cb_contiguous(b) : NULL;
    if (has_bias && !bias && !cb_is_meta(b)) return NULL;
    g.bias = bias ? bias->data : NULL;
    if (cb_is_16bit_float(x->dtype) && !cb_is_meta(x)) {
        bool tried = false;
        cb_tensor *out = half_product(&g, x, w, device, last + 1, shape, &tried);
        cb_release(bias);
        if (tried) return out;
        cb_tensor *wx = cb_cast(x, CB_F32), *ww = wx ? cb_cast(w, CB_F32) : NULL;
        cb_tensor *wb = ww && has_bias ? cb_cast(b, CB_F32) : NULL;
        cb_tensor *wide = ww && (wb || !has_bias) ? cb_linear(wx, ww, wb, has_bias) : NULL;
        cb_release(wx);
        cb_release(ww);
        cb_release(wb);
        return rounded(wide, x->dtype);
    }
    cb_tensor *out = multiply(&g, x, w, device, last + 1, shape);
    cb_release(bias);
    return out;
}
