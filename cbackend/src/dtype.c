/* Dtype table and promotion rules.
 *
 * Promotion follows PyTorch's: operands with dimensions, 0-d operands and wrapped Python numbers form three
 * groups; a lower group changes the result only by raising its category (bool < integer < real < complex).
 * Unsigned types beyond uint8 promote as the array API standard says. */
#include "internal.h"

const cb_dtype_info cb_dtypes[CB_DTYPE_COUNT] = {
#define DTYPE(id, name, kind, size, storage, compute) {#name, (#kind)[0], size},
#include "dtypes.def"
#undef DTYPE
};
_Static_assert(CB_C128 == 14, "dtypes.def and the cb_dtype enum must list the same dtypes");

int cb_default_dtype = CB_F32;
void cb_set_default_dtype(int dtype) { cb_default_dtype = dtype; }

int cb_real_dtype(int d) { return d == CB_C64 ? CB_F32 : d == CB_C128 ? CB_F64 : d; }
int cb_complex_dtype(int d) { return d == CB_F64 || d == CB_C128 ? CB_C128 : CB_C64; }
int cb_float_dtype(int d) { return cb_is_inexact(d) ? d : cb_default_dtype; }

/* bool 0, integer 1, real 2, complex 3 */
static int category(int d) {
    switch (cb_dtypes[d].kind) {
        case 'B': return 0;
        case 'F': return 2;
        case 'C': return 3;
        default: return 1;
    }
}

static int signed_of_size(int size) {
    return size == 1 ? CB_I8 : size == 2 ? CB_I16 : size == 4 ? CB_I32 : CB_I64;
}

int cb_promote_types(int a, int b) {
    if (a == b) return a;
    int ca = category(a), cb = category(b);
    if (ca < cb) return cb_promote_types(b, a);
    if (ca == 3) {
        if (cb == 3) return CB_C128;
        return cb == 2 && b == CB_F64 ? CB_C128 : a;
    }
    if (ca == 2) {
        if (cb < 2) return a;
        if (cb_is_16bit_float(a) && cb_is_16bit_float(b)) return CB_F32; /* half with bfloat */
        return cb_dtypes[a].size > cb_dtypes[b].size ? a : b;
    }
    if (cb == 0) return a;
    /* two different integers */
    bool ua = cb_dtypes[a].kind == 'U', ub = cb_dtypes[b].kind == 'U';
    int sa = cb_dtypes[a].size, sb = cb_dtypes[b].size;
    if (ua == ub) return sa > sb ? a : b;
    int unsigned_size = ua ? sa : sb, signed_size = ua ? sb : sa;
    if (signed_size > unsigned_size) return ua ? b : a;
    if (unsigned_size == 8) {
        cb_fail(CB_ERR_DTYPE,
                "promote_types: expected dtypes with a common type, got %s and %s. Cast one of them first.",
                cb_dtypes[a].name, cb_dtypes[b].name);
        return -1;
    }
    return signed_of_size(2 * unsigned_size);
}

/* Raises `high` by the category of `low` only. -1 stands for "no operand in this group". */
static int combine(int high, int low) {
    if (high < 0) return low;
    if (low < 0) return high;
    int ch = category(high), cl = category(low);
    if (ch >= cl) {
        return high;
    }
    if (cl == 3 && ch == 2) return cb_complex_dtype(high);
    return low;
}

int cb_result_type(int n, cb_tensor *const *xs) {
    int dims = -1, zero = -1, weak = -1;
    for (int i = 0; i < n; i++) {
        int d = xs[i]->dtype;
        if (xs[i]->flags & CB_FLAG_WEAK) /* held at full width, counted as the default dtype */
            d = d == CB_F64 ? cb_default_dtype : d == CB_C128 ? cb_complex_dtype(cb_default_dtype) : d;
        int *group = (xs[i]->flags & CB_FLAG_WEAK) ? &weak : xs[i]->ndim == 0 ? &zero : &dims;
        *group = *group < 0 ? d : cb_promote_types(*group, d);
        if (*group < 0) return -1;
    }
    return combine(combine(dims, zero), weak);
}
