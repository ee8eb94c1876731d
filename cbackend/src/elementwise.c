/* Elementwise operations: dtype rules, broadcasting, result allocation. Kernels are in cpu/elementwise.c. */
#include "internal.h"

typedef struct plan {
    int compute;  /* dtype the kernel computes in */
    int result;   /* dtype of a fresh result */
    int device;
} plan;

static int kind_bit(int dtype) {
    switch (cb_dtypes[dtype].kind) {
        case 'B': return CB_KIND_BOOL;
        case 'F': return CB_KIND_REAL;
        case 'C': return CB_KIND_COMPLEX;
        default: return CB_KIND_INT;
    }
}

static int make_plan(int family, int op, int n, cb_tensor *const *xs, plan *p) {
    const cb_op_info *info = cb_op_info_of(family, op);
    if (!info) return cb_fail(CB_ERR_VALUE, "elementwise: expected a known op code, got %d.", op);
    bool where = family == CB_FAMILY_TERNARY && op == CB_TERNARY_where;
    if (where && xs[0]->dtype != CB_BOOL && xs[0]->dtype != CB_U8)
        return cb_fail(CB_ERR_DTYPE, "where: expected a bool condition, got %s. Compare first, as in x > 0.",
                       cb_dtypes[xs[0]->dtype].name);
    bool same = true; /* one dtype, no wrapped number: the common case needs no promotion */
    for (int i = where; i < n; i++)
        same &= xs[i]->dtype == xs[where]->dtype && !(xs[i]->flags & CB_FLAG_WEAK);
    int type = same ? xs[where]->dtype : cb_result_type(n - where, xs + where);
    if (type < 0) return cb_error_code();
    bool floats = info->rule == CB_RULE_FLOAT || (info->rule == CB_RULE_REAL && !(info->kinds & CB_KIND_INT));
    if (floats) type = cb_float_dtype(type);
    int compute = info->rule == CB_RULE_LOGICAL ? CB_BOOL : cb_compute_dtype(type);
    if (!(info->kinds & kind_bit(compute))) {
        if (compute == CB_BOOL && (info->kinds & CB_KIND_INT) && info->rule == CB_RULE_BOOL)
            compute = CB_U8;
        else
            return cb_fail(CB_ERR_DTYPE, "%s: expected %s%s%s%s, got %s. Cast with .to(dtype).", info->name,
                           info->kinds & CB_KIND_BOOL ? "bool " : "",
                           info->kinds & CB_KIND_INT ? "integer " : "",
                           info->kinds & CB_KIND_REAL ? "floating " : "",
                           info->kinds & CB_KIND_COMPLEX ? "complex" : "dtype", cb_dtypes[type].name);
    }
    if (family == CB_FAMILY_BINARY && op == CB_BINARY_pow && kind_bit(compute) == CB_KIND_INT &&
        xs[1]->flags & CB_FLAG_WEAK && !cb_is_meta(xs[1]) && *(const int64_t *)xs[1]->data < 0)
        return cb_fail(CB_ERR_VALUE,
                       "pow: expected powers of at least 0 of integers, got %lld. Cast with .float().",
                       (long long)*(const int64_t *)xs[1]->data);
    p->compute = compute;
    p->result = info->rule == CB_RULE_BOOL || info->rule == CB_RULE_LOGICAL ? CB_BOOL
                : info->rule == CB_RULE_REAL                                ? cb_real_dtype(type)
                                                                            : type;
    p->device = n == 1 ? xs[0]->device : cb_common_device(info->name, n, xs);
    return p->device < 0 ? cb_error_code() : CB_OK;
}

cb_tensor *cb_elementwise_result(const char *op, int dtype, int device, int n, cb_tensor *const *xs) {
    cb_tensor *widest = xs[0];
    bool alike = true; /* every operand but numbers has the shape and strides of the widest */
    for (int i = 1; i < n; i++)
        if (xs[i]->ndim > widest->ndim) widest = xs[i];
    for (int i = 0; i < n; i++) {
        if (xs[i] == widest || xs[i]->ndim == 0) continue;
        alike &= cb_same_shape(xs[i], widest) &&
                 !memcmp(xs[i]->strides, widest->strides, (size_t)widest->ndim * sizeof(int64_t));
    }
    if (alike)
        return cb_is_contiguous(widest) ? cb_empty(dtype, device, widest->ndim, widest->shape)
                                        : cb_empty_like(widest, dtype, device);
    int64_t shape[CB_MAX_NDIM];
    int ndim;
    if (cb_broadcast_shapes(op, n, xs, &ndim, shape)) return NULL;
    return cb_empty(dtype, device, ndim, shape);
}

/* Integer division has no result for a zero divisor: found before anything is computed. */
static int check_divisor(const char *op, cb_tensor *y) {
    if (cb_is_meta(y) || y->numel == 0) return CB_OK;
    bool zero;
    if (y->flags & CB_FLAG_WEAK) {
        zero = *(int64_t *)y->data == 0;
    } else {
        cb_scalar all;
        cb_tensor *nonzero = cb_reduce(cb_op_code("reduce", "all"), y, -1, NULL, 0, -1);
        int status = nonzero ? cb_item(nonzero, &all) : cb_error_code();
        cb_release(nonzero);
        if (status) return status;
        zero = !all.i;
    }
    if (zero)
        return cb_fail(
            CB_ERR_VALUE,
            "%s: expected divisors other than 0 for integers, got 0. Divide floats, or mask with where().",
            op);
    return CB_OK;
}

static bool divides_integers(int family, int op, const plan *p) {
    return family == CB_FAMILY_BINARY && kind_bit(p->compute) == CB_KIND_INT &&
           (op == CB_BINARY_floor_divide || op == CB_BINARY_trunc_divide || op == CB_BINARY_remainder ||
            op == CB_BINARY_fmod);
}

int cb_compute_dtype_of(int family, int op, int n, cb_tensor *const *xs) {
    plan p;
    return make_plan(family, op, n, xs, &p) ? -1 : p.compute;
}

static cb_tensor *run(int family, int op, int n, cb_tensor *const *xs) {
    if (cb_any_null(n, xs)) return cb_fail_null(CB_ERR_NULL, "elementwise: no tensor");
    plan p;
    if (make_plan(family, op, n, xs, &p)) return NULL;
    if (divides_integers(family, op, &p) && check_divisor(cb_op_info_of(family, op)->name, xs[1]))
        return NULL;
    cb_tensor *out = cb_elementwise_result(cb_op_info_of(family, op)->name, p.result, p.device, n, xs);
    for (int i = 0; out && i < n; i++)
        if (!(xs[i]->flags & CB_FLAG_WEAK) && (xs[i]->dtype != out->dtype || !cb_same_shape(xs[i], out)))
            out->flags |= CB_FLAG_IRREGULAR;
    if (!out || cb_is_meta(out) || out->numel == 0) return out;
    if (cb_backend_of(out)->elementwise(family, op, out, n, (const cb_tensor *const *)xs, p.compute)) {
        cb_release(out);
        return NULL;
    }
    return out;
}

/* bool 0, integer 1, real 2, complex 3: a result may be written to an equal or higher category only */
static int category(int d) {
    char kind = cb_dtypes[d].kind;
    return kind == 'B' ? 0 : kind == 'F' ? 2 : kind == 'C' ? 3 : 1;
}

static int run_into(int family, int op, int n, cb_tensor *const *xs, cb_tensor *out, int64_t clock) {
    if (cb_any_null(n, xs) || !out) return cb_fail(CB_ERR_NULL, "elementwise: no tensor");
    const cb_op_info *info = cb_op_info_of(family, op);
    plan p;
    CB_TRY(make_plan(family, op, n, xs, &p));
    if (divides_integers(family, op, &p)) CB_TRY(check_divisor(info->name, xs[1]));
    CB_TRY(cb_check_writable(info->name, out));
    if (category(p.result) > category(out->dtype))
        return cb_fail(
            CB_ERR_DTYPE,
            "%s: expected a result that can be stored as %s, got %s. Use the out-of-place form, or cast.",
            info->name, cb_dtypes[out->dtype].name, cb_dtypes[p.result].name);
    if (p.device != out->device && xs[0]->ndim)
        return cb_fail(CB_ERR_DEVICE, "%s: expected the result on the device of its operands.", info->name);
    int64_t shape[CB_MAX_NDIM];
    int ndim;
    CB_TRY(cb_broadcast_shapes(info->name, n, xs, &ndim, shape));
    if (ndim != out->ndim || memcmp(shape, out->shape, (size_t)ndim * sizeof *shape))
        return cb_fail(CB_ERR_SHAPE,
                       "%s: expected operands that broadcast to the shape %s written to, got %s. Use the "
                       "out-of-place form.",
                       info->name, cb_shape_of(out), cb_shape_text(ndim, shape));
    if (cb_is_meta(out) || out->numel == 0) return CB_OK;
    cb_tensor *args[3], *copies[3] = {NULL};
    int status = CB_OK;
    for (int i = 0; i < n; i++) {
        args[i] = xs[i];
        if (!(xs[i]->flags & CB_FLAG_WEAK) && cb_overlaps(out, xs[i])) {
            args[i] = copies[i] = cb_clone(xs[i]);
            if (!copies[i]) status = cb_error_code();
        }
    }
    if (!status) {
        out->storage->last_write = clock;
        status =
            cb_backend_of(out)->elementwise(family, op, out, n, (const cb_tensor *const *)args, p.compute);
    }
    for (int i = 0; i < n; i++) cb_release(copies[i]);
    return status;
}

cb_tensor *cb_unary(int op, cb_tensor *x) { return run(CB_FAMILY_UNARY, op, 1, &x); }
cb_tensor *cb_binary(int op, cb_tensor *x, cb_tensor *y) {
    return run(CB_FAMILY_BINARY, op, 2, (cb_tensor *[]){x, y});
}
cb_tensor *cb_ternary(int op, cb_tensor *x, cb_tensor *y, cb_tensor *z) {
    return run(CB_FAMILY_TERNARY, op, 3, (cb_tensor *[]){x, y, z});
}

/* A wrapped number on the stack: no allocation for `x * 2`. Kernels read it through data only. */
static cb_tensor number(int dtype, void *value) {
    return (cb_tensor){.refcount = 1,
                       .flags = CB_FLAG_WEAK | CB_FLAG_CONTIGUOUS,
                       .dtype = dtype,
                       .itemsize = 8,
                       .numel = 1,
                       .data = value};
}

static cb_tensor *with_number(int op, cb_tensor *x, cb_tensor *number, int swapped) {
    return run(CB_FAMILY_BINARY, op, 2, (cb_tensor *[]){swapped ? number : x, swapped ? x : number});
}

cb_tensor *cb_binary_int(int op, cb_tensor *x, int64_t value, int swapped) {
    cb_tensor y = number(CB_I64, &value);
    return with_number(op, x, &y, swapped);
}

cb_tensor *cb_binary_float(int op, cb_tensor *x, double value, int swapped) {
    cb_tensor y = number(CB_F64, &value);
    return with_number(op, x, &y, swapped);
}

int cb_unary_into(int op, cb_tensor *x, cb_tensor *out, int64_t clock) {
    return run_into(CB_FAMILY_UNARY, op, 1, &x, out, clock);
}
int cb_binary_into(int op, cb_tensor *x, cb_tensor *y, cb_tensor *out, int64_t clock) {
    return run_into(CB_FAMILY_BINARY, op, 2, (cb_tensor *[]){x, y}, out, clock);
}
int cb_ternary_into(int op, cb_tensor *x, cb_tensor *y, cb_tensor *z, cb_tensor *out, int64_t clock) {
    return run_into(CB_FAMILY_TERNARY, op, 3, (cb_tensor *[]){x, y, z}, out, clock);
}
