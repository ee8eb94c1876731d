/* Reductions: dims, result dtypes and shapes. Kernels are in cpu/reduce*.c.
 *
 * A reduction is one backend call with a mask of reduced dimensions; the result is contiguous. An input is
 * cast first only where computing in its own dtype and casting the result would give other values. */
#include "reduce.h"

#include <stdlib.h>

#define NEED(x, op) \
    if (!(x)) return cb_fail_null(CB_ERR_NULL, op ": no tensor")

#define NAME(name) #name,
const char *const cb_reduce_names[] = {CB_REDUCE_OPS(NAME) NULL};

int cb_reduced_dims(const char *op, const cb_tensor *x, int n, const int64_t *dims, uint32_t *mask) {
    *mask = n < 0 ? (uint32_t)((UINT64_C(1) << x->ndim) - 1) : 0;
    for (int i = 0; i < n; i++) {
        int d = cb_wrap_dim(op, dims[i], x->ndim);
        if (d < 0) return cb_error_code();
        if (*mask >> d & 1)
            return cb_fail(CB_ERR_DIM, "%s: expected each dim once, got %s. Name every dimension once.", op,
                           cb_shape_text(CB_MIN(n, CB_MAX_NDIM), dims));
        *mask |= UINT32_C(1) << d;
    }
    return CB_OK;
}

cb_tensor *cb_reduced_empty(const cb_tensor *x, uint32_t mask, int keepdim, int dtype) {
    int64_t shape[CB_MAX_NDIM];
    int ndim = 0;
    for (int d = 0; d < x->ndim; d++) {
        if (!(mask >> d & 1))
            shape[ndim++] = x->shape[d];
        else if (keepdim)
            shape[ndim++] = 1;
    }
    return cb_empty(dtype, x->device, ndim, shape);
}

int cb_check_reduced_sizes(const char *op, const cb_tensor *x, uint32_t mask) {
    if (x->numel > 0) return CB_OK;
    for (int d = 0; d < x->ndim; d++)
        if ((mask >> d & 1) && x->shape[d] == 0)
            return cb_fail(CB_ERR_SHAPE,
                           "%s: expected at least one element to reduce, got shape %s (dim %d has size 0). "
                           "Give dims of other sizes.",
                           op, cb_shape_of(x), d);
    return CB_OK;
}

/* out, filled; NULL after an error */
static cb_tensor *reduced(int op, cb_tensor *x, uint32_t mask, double parameter, cb_tensor *out) {
    if (!out || cb_is_meta(out) || out->numel == 0) return out;
    bool none = op == CB_REDUCE_sum && x->numel == 0; /* as in gradients of what repeats nothing */
    if (none ? cb_backend_of(out)->fill(out, &(cb_scalar){0})
             : cb_backend_of(out)->reduce(op, x, mask, parameter, (cb_tensor *[]){out, NULL})) {
        cb_release(out);
        return NULL;
    }
    return out;
}

typedef struct plan {
    int compute; /* what the input is cast to first */
    int result;
} plan;

static int rejected(const char *op, const char *rule, int dtype) {
    return cb_fail(CB_ERR_DTYPE, "%s: expected a %s dtype, got %s. Cast with .to(dtype), or pass dtype=.", op,
                   rule, cb_dtypes[dtype].name);
}

static int make_plan(int op, int from, int dtype, plan *p) {
    const char *name = cb_reduce_names[op];
    int asked = dtype < 0 ? from : dtype;
    bool whole = !cb_is_inexact(from), whole_asked = !cb_is_inexact(asked);
    p->compute = from;
    p->result = asked;
    switch (op) {
        case CB_REDUCE_all:
        case CB_REDUCE_any: p->result = dtype < 0 ? CB_BOOL : dtype; return CB_OK;
        case CB_REDUCE_count_nonzero: p->result = dtype < 0 ? CB_I64 : dtype; return CB_OK;
        case CB_REDUCE_amax:
        case CB_REDUCE_amin: return cb_is_complex(from) ? rejected(name, "real", from) : CB_OK;
        case CB_REDUCE_mean:
            if (whole_asked) return rejected(name, "floating or complex", asked);
            break;
        case CB_REDUCE_logsumexp:
            if (cb_is_complex(asked)) return rejected(name, "real", asked);
            p->result = asked = cb_float_dtype(asked);
            break;
        case CB_REDUCE_norm2:
            if (whole_asked) return rejected(name, "floating or complex", asked);
            p->result = cb_real_dtype(asked);
            if (dtype < 0 || (cb_is_complex(from) && cb_real_dtype(from) == dtype)) return CB_OK;
            break;
        default:
            if (op == CB_REDUCE_nansum && cb_is_complex(asked)) return rejected(name, "real", asked);
            if (op == CB_REDUCE_sum_squares) p->result = cb_real_dtype(asked);
            if (dtype < 0 && whole) p->result = CB_I64;
    }
    /* integer sums are exact modulo 2^64, whatever they are cast to afterwards */
    bool exact = whole && (whole_asked ? asked != CB_BOOL : op == CB_REDUCE_sum || op == CB_REDUCE_nansum);
    bool widened = cb_is_16bit_float(from) && asked == CB_F32;
    if (dtype >= 0 && !exact && !widened) p->compute = asked;
    if (op == CB_REDUCE_logsumexp && whole) p->compute = asked;
    return CB_OK;
}

cb_tensor *cb_reduce(int op, cb_tensor *x, int n, const int64_t *dims, int keepdim, int dtype) {
    NEED(x, "reduce");
    if (op < 0 || op >= CB_REDUCE_PUBLIC_COUNT)
        return cb_fail_null(CB_ERR_VALUE, "reduce: expected a known op code, got %d.", op);
    uint32_t mask;
    plan p;
    if (cb_reduced_dims(cb_reduce_names[op], x, n, dims, &mask) || make_plan(op, x->dtype, dtype, &p))
        return NULL;
    if ((op == CB_REDUCE_amax || op == CB_REDUCE_amin) &&
        cb_check_reduced_sizes(cb_reduce_names[op], x, mask))
        return NULL;
    cb_tensor *out = cb_reduced_empty(x, mask, keepdim, p.result);
    if (!out || p.compute == x->dtype || cb_is_meta(out)) return reduced(op, x, mask, 0, out);
    cb_tensor *input = cb_cast(x, p.compute);
    if (!input) {
        cb_release(out);
        return NULL;
    }
    out = reduced(op, input, mask, 0, out);
    cb_release(input);
    return out;
}

int cb_reduce_made(const cb_fused_call *made, int op, cb_tensor *x, int n, const int64_t *dims, int keepdim,
                   int dtype, cb_tensor **out) {
    *out = NULL;
    uint32_t mask;
    plan p;
    if (op < 0 || op >= CB_REDUCE_PUBLIC_COUNT || x->numel == 0 || !cb_backend_of(x)->reduce_made)
        return CB_ERR_UNSUPPORTED;
    CB_TRY(cb_reduced_dims(cb_reduce_names[op], x, n, dims, &mask));
    CB_TRY(make_plan(op, x->dtype, dtype, &p));
    if (p.compute != x->dtype) return CB_ERR_UNSUPPORTED;
    cb_tensor *total = cb_reduced_empty(x, mask, keepdim, p.result);
    if (!total) return cb_error_code();
    int status = cb_backend_of(x)->reduce_made(made, op, x, mask, (cb_tensor *[]){total, NULL});
    if (status)
        cb_release(total);
    else
        *out = total;
    return status;
}

typedef struct reading {
    int op, n, keepdim;
    const int64_t *dims;
    cb_tensor *out;
} reading;

static int reduce_made(void *context, const cb_fused_call *made, cb_tensor *x) {
    reading *r = context;
    return cb_reduce_made(made, r->op, x, r->n, r->dims, r->keepdim, -1, &r->out);
}

cb_tensor *cb_reduce_steps(int n, cb_tensor *const *xs, int ncode, const int64_t *code, int op, int n2,
                           const int64_t *dims, int keepdim) {
    if (cb_any_null(n, xs)) return cb_fail_null(CB_ERR_NULL, "reduce: no tensor");
    cb_fused_steps *f = cb_fused_prepare(n, ncode, code, 1);
    if (!f) return NULL;
    cb_tensor *made = NULL;
    reading r = {op, n2, keepdim, dims, NULL};
    int status = cb_fused_read(f, xs, 0, 0, &made, 0, false, reduce_made, &r);
    free(f);
    if (status == CB_ERR_UNSUPPORTED && !cb_fused(n, xs, ncode, code, 1, &made, 0, 0)) {
        r.out = cb_reduce(op, made, n2, dims, keepdim, -1);
        cb_release(made);
    }
    return r.out;
}

/* The variance of a complex number is the sum of those of its parts. */
static cb_tensor *complex_var(cb_tensor *x, int n, const int64_t *dims, int keepdim, double correction) {
    int64_t wrapped[CB_MAX_NDIM], last = -1;
    uint32_t mask;
    if (cb_reduced_dims("var", x, n, dims, &mask)) return NULL;
    int count = 0;
    for (int d = 0; d < x->ndim; d++)
        if (mask >> d & 1) wrapped[count++] = d;
    cb_tensor *parts = cb_view_as_real(x);
    cb_tensor *vars = parts ? cb_var(parts, count, wrapped, keepdim, correction) : NULL;
    cb_tensor *out = vars ? cb_reduce(CB_REDUCE_sum, vars, 1, &last, 0, -1) : NULL;
    cb_release(parts);
    cb_release(vars);
    return out;
}

cb_tensor *cb_var(cb_tensor *x, int n, const int64_t *dims, int keepdim, double correction) {
    NEED(x, "var");
    if (!cb_is_inexact(x->dtype)) {
        rejected("var", "floating or complex", x->dtype);
        return NULL;
    }
    if (cb_is_complex(x->dtype)) return complex_var(x, n, dims, keepdim, correction);
    uint32_t mask;
    if (cb_reduced_dims("var", x, n, dims, &mask)) return NULL;
    return reduced(CB_REDUCE_var, x, mask, correction, cb_reduced_empty(x, mask, keepdim, x->dtype));
}

cb_tensor *cb_sum_to(cb_tensor *x, int ndim, const int64_t *shape) {
    NEED(x, "sum_to");
    int extra = x->ndim - ndim;
    bool same = true;
    if (extra < 0)
        return cb_fail_null(CB_ERR_SHAPE, "sum_to: expected a shape that broadcasts to %s, got %s.",
                            cb_shape_of(x), cb_shape_text(CB_MIN(ndim, CB_MAX_NDIM), shape));
    uint32_t mask = (uint32_t)((UINT64_C(1) << extra) - 1);
    for (int d = 0; d < extra; d++) same &= x->shape[d] == 1;
    for (int d = extra; d < x->ndim; d++) {
        if (x->shape[d] == shape[d - extra]) continue;
        if (shape[d - extra] != 1)
            return cb_fail_null(CB_ERR_SHAPE, "sum_to: expected a shape that broadcasts to %s, got %s.",
                                cb_shape_of(x), cb_shape_text(ndim, shape));
        same = false;
        mask |= UINT32_C(1) << d;
    }
    if (same) return extra == 0 ? cb_retain(x) : cb_view_new(x, ndim, shape, x->strides + extra, x->offset);
    return reduced(CB_REDUCE_sum, x, mask, 0, cb_empty(x->dtype, x->device, ndim, shape));
}
