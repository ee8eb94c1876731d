/* Attention, forward and first reverse: checks, shapes, results. Kernels are in cpu/attention.c.
 *
 * Operands are described by strides, so heads that lie between the positions need no copy. 16-bit floats are
 * computed in float: operands are cast, and results rounded once. */
#include "internal.h"

enum { Q, K, V, BIAS, CT, RESULT, TOTALS, OPERANDS };

static const char *const names[OPERANDS] = {"query", "key", "value", "bias", "cotangent", "result", "totals"};

static int misfit(const char *op, const char *rule, cb_tensor *const *in) {
    return cb_fail(CB_ERR_SHAPE, "%s: expected %s, got %s, %s and %s. Check the last two dimensions.", op,
                   rule, cb_shape_of(in[Q]), cb_shape_of(in[K]), cb_shape_of(in[V]));
}

static void matrices(cb_matrices *m, const cb_tensor *x, int nbatch) {
    m->data = x->data;
    m->row = x->shape[nbatch] == 1 ? 0 : x->strides[nbatch];
    m->col = x->shape[nbatch + 1] == 1 ? 0 : x->strides[nbatch + 1];
    for (int d = 0; d < nbatch; d++) m->batch[d] = x->shape[d] == 1 ? 0 : x->strides[d];
}

/* Checks the operands (bias may be NULL) and fills in sizes and the broadcast batch. */
static int describe(const char *op, cb_tensor *const *in, cb_attention_call *a) {
    const cb_tensor *q = in[Q], *k = in[K], *v = in[V], *bias = in[BIAS];
    for (int i = Q; i <= BIAS; i++) {
        if (!in[i]) continue;
        if (!cb_is_float(in[i]->dtype) || in[i]->dtype != q->dtype)
            return cb_fail(
                CB_ERR_DTYPE,
                "%s: expected operands of one floating dtype, got %s and %s. Cast with .to(dtype).", op,
                cb_dtypes[q->dtype].name, cb_dtypes[in[i]->dtype].name);
        if (in[i]->ndim != q->ndim || q->ndim < 2)
            return cb_fail(CB_ERR_SHAPE,
                           "%s: expected operands of one rank of at least 2, got a query %s and a %s %s. "
                           "Add dimensions with unsqueeze.",
                           op, cb_shape_of(q), names[i], cb_shape_of(in[i]));
    }
    int nb = a->nbatch = q->ndim - 2;
    if (in[CT] && in[CT]->ndim != q->ndim)
        return cb_fail(CB_ERR_SHAPE, "%s: expected a cotangent of the rank of query %s, got %s.", op,
                       cb_shape_of(q), cb_shape_of(in[CT]));
    a->rows = q->shape[nb];
    a->width = q->shape[nb + 1];
    a->keys = k->shape[nb];
    a->value_width = v->shape[nb + 1];
    if (k->shape[nb + 1] != a->width || v->shape[nb] != a->keys)
        return misfit(op, "query [..., L, E], key [..., S, E] and value [..., S, D]", in);
    if (bias && ((bias->shape[nb] != a->rows && bias->shape[nb] != 1) ||
                 (bias->shape[nb + 1] != a->keys && bias->shape[nb + 1] != 1)))
        return cb_fail(CB_ERR_SHAPE, "%s: expected a bias that broadcasts to [..., %lld, %lld], got %s.", op,
                       (long long)a->rows, (long long)a->keys, cb_shape_of(bias));
    a->batch = 1;
    for (int d = 0; d < nb; d++) {
        a->batch_shape[d] = 1;
        for (int i = Q; i <= CT; i++) {
            if (!in[i] || in[i]->shape[d] == 1) continue;
            if (a->batch_shape[d] != 1 && a->batch_shape[d] != in[i]->shape[d])
                return cb_fail(CB_ERR_SHAPE,
                               "%s: expected leading dimensions that broadcast, got %s of shape %s (%lld != "
                               "%lld). Reshape one operand.",
                               op, names[i], cb_shape_of(in[i]), (long long)in[i]->shape[d],
                               (long long)a->batch_shape[d]);
            a->batch_shape[d] = in[i]->shape[d];
        }
        a->batch *= a->batch_shape[d];
    }
    return CB_OK;
}

static cb_tensor *empty(const cb_attention_call *a, int dtype, int device, int trailing, int64_t rows,
                        int64_t columns) {
    int64_t shape[CB_MAX_NDIM];
    memcpy(shape, a->batch_shape, (size_t)a->nbatch * sizeof *shape);
    shape[a->nbatch] = rows;
    if (trailing == 2) shape[a->nbatch + 1] = columns;
    return cb_empty(dtype, device, a->nbatch + trailing, shape);
}

static int run(const char *op, bool grad, cb_tensor *const *in, int causal, double scale, cb_tensor **out) {
    cb_attention_call a = {.causal = causal, .scale = scale};
    CB_TRY(describe(op, in, &a));
    cb_tensor *present[OPERANDS];
    int count = 0, given = in[Q]->dtype, made = grad ? 3 : 2;
    for (int i = 0; i < OPERANDS; i++)
        if (in[i]) present[count++] = in[i];
    int device = cb_common_device(op, count, present);
    if (device < 0) return cb_error_code();
    a.dtype = cb_compute_dtype(given);
    if (grad) {
        int nb = a.nbatch;
        for (int i = CT; i <= TOTALS; i++) {
            bool last = i == TOTALS,
                 fits = in[i]->ndim == nb + (last ? 1 : 2) &&
                        !memcmp(in[i]->shape, a.batch_shape, (size_t)nb * sizeof(int64_t)) &&
                        in[i]->shape[nb] == a.rows && (last || in[i]->shape[nb + 1] == a.value_width);
            if (!fits || in[i]->dtype != (last ? a.dtype : given))
                return cb_fail(CB_ERR_SHAPE,
                               "%s: expected the %s of the forward pass, got shape %s and dtype %s.", op,
                               names[i], cb_shape_of(in[i]), cb_dtypes[in[i]->dtype].name);
        }
        out[0] = empty(&a, a.dtype, device, 2, a.rows, a.width);
        out[1] = out[0] ? empty(&a, a.dtype, device, 2, a.keys, a.width) : NULL;
        out[2] = out[1] ? empty(&a, a.dtype, device, 2, a.keys, a.value_width) : NULL;
    } else {
        out[0] = empty(&a, a.dtype, device, 2, a.rows, a.value_width);
        out[1] = out[0] ? empty(&a, a.dtype, device, 1, a.rows, 0) : NULL;
    }
    int status = out[made - 1] ? CB_OK : cb_error_code();
    if (!status && (device & 255) != CB_META && a.batch > 0) {
        cb_tensor *held[OPERANDS] = {NULL};
        for (int i = 0; i < OPERANDS && !status; i++) {
            if (!in[i]) continue;
            held[i] = cb_cast(in[i], a.dtype);
            if (held[i] && i >= RESULT) {
                cb_tensor *dense = cb_contiguous(held[i]);
                cb_release(held[i]);
                held[i] = dense;
            }
            if (!held[i]) status = cb_error_code();
        }
        if (!status) {
            cb_matrices *const described[] = {&a.q, &a.k, &a.v, &a.bias, &a.ct};
            for (int i = Q; i <= CT; i++)
                if (held[i]) matrices(described[i], held[i], a.nbatch);
            a.out = grad ? held[RESULT]->data : out[0]->data;
            a.totals = grad ? held[TOTALS]->data : out[1]->data;
            if (grad) a.dq = out[0]->data, a.dk = out[1]->data, a.dv = out[2]->data;
            const cb_backend *backend = cb_backend_of(out[0]);
            status = grad ? backend->attention_grad(&a) : backend->attention(&a);
        }
        for (int i = 0; i < OPERANDS; i++) cb_release(held[i]);
    }
    for (int i = 0; i < made && !status && given != a.dtype; i++) {
        if (!grad && i == 1) continue; /* totals stay wide */
        cb_tensor *narrow = cb_cast(out[i], given);
        cb_release(out[i]);
        out[i] = narrow;
        if (!narrow) status = cb_error_code();
    }
    for (int i = 0; i < made && status; i++) {
        cb_release(out[i]);
        out[i] = NULL;
    }
    return status;
}

int cb_attention(cb_tensor *q, cb_tensor *k, cb_tensor *v, cb_tensor *bias, int has_bias, int causal,
                 double scale, cb_tensor *out[2]) {
    out[0] = out[1] = NULL;
    if (!q || !k || !v || (has_bias && !bias)) return cb_fail(CB_ERR_NULL, "attention: no tensor");
    cb_tensor *in[OPERANDS] = {q, k, v, has_bias ? bias : NULL};
    return run("attention", false, in, causal, scale, out);
}

int cb_attention_grad(cb_tensor *ct, cb_tensor *result, cb_tensor *totals, cb_tensor *q, cb_tensor *k,
                      cb_tensor *v, cb_tensor *bias, int has_bias, int causal, double scale,
                      cb_tensor *out[3]) {
    out[0] = out[1] = out[2] = NULL;
    if (!ct || !result || !totals || !q || !k || !v || (has_bias && !bias))
        return cb_fail(CB_ERR_NULL, "attention_grad: no tensor");
    cb_tensor *in[OPERANDS] = {q, k, v, has_bias ? bias : NULL, ct, result, totals};
    return run("attention_grad", true, in, causal, scale, out);
}
