/* Random tensors from counters: value i depends on (seed, offset, i) only (philox.h says how).
 *
 * A caller that draws again advances the offset by cb_random_counters of the draw before. */
#include "philox.h"
#include "random.h"

enum { UNIFORM, NORMAL, BERNOULLI, EXPONENTIAL, INTEGERS, RADEMACHER, KINDS, PERMUTATION = KINDS };
static const char *const names[KINDS] = {"uniform",     "normal",  "bernoulli",
                                         "exponential", "randint", "rademacher"};

void cb_philox(uint64_t seed, uint64_t offset, uint32_t *out4) {
    out4[0] = (uint32_t)offset;
    out4[1] = (uint32_t)(offset >> 32);
    out4[2] = out4[3] = 0;
    cb_philox_block((uint32_t)seed, (uint32_t)(seed >> 32), out4);
}

/* Does a value, or a part of a complex one, take two words? */
static bool takes_64_bits(int kind, int dtype) {
    return kind == INTEGERS || (cb_real_dtype(dtype) == CB_F64 && kind != BERNOULLI && kind != RADEMACHER);
}

uint64_t cb_random_counters(int kind, int dtype, int64_t numel) {
    uint64_t values = (uint64_t)numel,
             group = takes_64_bits(kind, dtype) ? 2 * CB_PHILOX_LANES : 4 * CB_PHILOX_LANES;
    if (cb_is_complex(dtype) && kind != BERNOULLI && kind != RADEMACHER) values *= 2;
    return (values + group - 1) / group * CB_PHILOX_LANES;
}

static int check(int kind, int dtype, double a, double b) {
    if (kind < 0 || kind >= KINDS || kind == INTEGERS)
        return cb_fail(CB_ERR_VALUE, "random: expected a kind in [0, %d] other than %d, got %d.", KINDS - 1,
                       INTEGERS, kind);
    const char *op = names[kind];
    bool discrete = kind == BERNOULLI || kind == RADEMACHER;
    if (!discrete && !cb_is_inexact(dtype))
        return cb_fail(CB_ERR_DTYPE, "%s: expected a floating dtype, got %s. Use randint for integers.", op,
                       cb_dtypes[dtype].name);
    if (kind == EXPONENTIAL && cb_is_complex(dtype))
        return cb_fail(CB_ERR_DTYPE, "%s: expected a real dtype, got %s.", op, cb_dtypes[dtype].name);
    if (kind == RADEMACHER && (dtype == CB_BOOL || cb_dtypes[dtype].kind == 'U'))
        return cb_fail(CB_ERR_DTYPE, "%s: expected a signed dtype, got %s.", op, cb_dtypes[dtype].name);
    if (kind == UNIFORM && !(a <= b && b - a <= 1.7976931348623157e308))
        return cb_fail(CB_ERR_VALUE, "%s: expected low <= high, both finite, got %g and %g.", op, a, b);
    if (kind == NORMAL && !(b >= 0))
        return cb_fail(CB_ERR_VALUE, "%s: expected a standard deviation of at least 0, got %g.", op, b);
    if (kind == NORMAL && cb_is_complex(dtype) && a != 0)
        return cb_fail(CB_ERR_VALUE,
                       "%s: expected mean 0 for complex values, got %g. Add the mean afterwards.", op, a);
    if (kind == BERNOULLI && !(a >= 0 && a <= 1))
        return cb_fail(CB_ERR_VALUE, "%s: expected a probability in [0, 1], got %g.", op, a);
    if (kind == EXPONENTIAL && !(a > 0))
        return cb_fail(CB_ERR_VALUE, "%s: expected a rate above 0, got %g.", op, a);
    return CB_OK;
}

static int draw(int kind, cb_tensor *out, uint64_t seed, uint64_t offset, double a, double b) {
    if (!cb_is_complex(out->dtype) || kind == BERNOULLI || kind == RADEMACHER)
        return cb_backend_of(out)->random(kind, out, seed, offset, a, b);
    /* real and imaginary part in turn; a complex normal has half the variance in each */
    cb_tensor *parts = cb_view_as_real(out);
    if (!parts) return cb_error_code();
    int status = cb_backend_of(out)->random(kind, parts, seed, offset, a,
                                            kind == NORMAL ? b * 0.70710678118654752440 : b);
    cb_release(parts);
    return status;
}

static cb_tensor *finished(cb_tensor *out, int status) {
    if (!status) return out;
    cb_release(out);
    return NULL;
}

cb_tensor *cb_random(int kind, int dtype, int device, int ndim, const int64_t *shape, uint64_t seed,
                     uint64_t offset, double a, double b) {
    if (check(kind, dtype, a, b)) return NULL;
    cb_tensor *out = cb_empty(dtype, device, ndim, shape);
    if (!out || cb_is_meta(out) || out->numel == 0) return out;
    return finished(out, draw(kind, out, seed, offset, a, b));
}

int cb_random_into(int kind, cb_tensor *out, uint64_t seed, uint64_t offset, double a, double b,
                   int64_t clock) {
    if (!out) return cb_fail(CB_ERR_NULL, "random: no tensor");
    CB_TRY(check(kind, out->dtype, a, b));
    CB_TRY(cb_check_writable(names[kind], out));
    if (cb_is_meta(out) || out->numel == 0) return CB_OK;
    CB_TRY(draw(kind, out, seed, offset, a, b));
    out->storage->last_write = clock;
    return CB_OK;
}

cb_tensor *cb_random_int(int dtype, int device, int ndim, const int64_t *shape, uint64_t seed,
                         uint64_t offset, int64_t low, int64_t high) {
    if (cb_is_complex(dtype))
        return cb_fail_null(CB_ERR_DTYPE, "randint: expected a real dtype, got %s.", cb_dtypes[dtype].name);
    if (low >= high)
        return cb_fail_null(CB_ERR_VALUE, "randint: expected low < high, got %lld and %lld.", (long long)low,
                            (long long)high);
    int bits = 8 * cb_dtypes[dtype].size;
    if (dtype == CB_BOOL || (cb_is_integer(dtype) && dtype != CB_I64)) {
        bool is_signed = cb_dtypes[dtype].kind == 'I';
        int64_t least = is_signed ? -((int64_t)1 << (bits - 1)) : 0;
        int64_t most = dtype == CB_BOOL ? 1
                       : bits == 64     ? INT64_MAX
                       : is_signed      ? -least - 1
                                        : ((int64_t)1 << bits) - 1;
        if (low < least || high - 1 > most)
            return cb_fail_null(CB_ERR_VALUE,
                                "randint: expected bounds in the range of %s, got [%lld, %lld).",
                                cb_dtypes[dtype].name, (long long)low, (long long)high);
    }
    cb_tensor *out = cb_empty(dtype, device, ndim, shape);
    if (!out || cb_is_meta(out) || out->numel == 0) return out;
    return finished(out,
                    cb_backend_of(out)->random_int(out, seed, offset, low, (uint64_t)high - (uint64_t)low));
}

cb_tensor *cb_random_perm(int dtype, int device, int64_t n, uint64_t seed, uint64_t offset) {
    if (cb_is_complex(dtype) || dtype == CB_BOOL)
        return cb_fail_null(CB_ERR_DTYPE, "randperm: expected an integer or floating dtype, got %s.",
                            cb_dtypes[dtype].name);
    cb_tensor *out = cb_empty(dtype, device, 1, &n);
    if (!out || cb_is_meta(out) || out->numel == 0) return out;
    return finished(out, cb_backend_of(out)->random_perm(out, seed, offset));
}

/* ---- lanes ---- */

int cb_lane_check(const cb_lane_draw *d, int dtype, int ndim, const int64_t *shape) {
    /* the checks of a draw without lanes are made on one that has no memory */
    cb_tensor *like = d->kind == INTEGERS ? cb_random_int(dtype, CB_META, ndim, shape, 0, 0, d->low, d->high)
                      : d->kind == PERMUTATION
                          ? cb_random_perm(dtype, CB_META, ndim == 1 ? shape[0] : -1, 0, 0)
                          : cb_random(d->kind, dtype, CB_META, ndim, shape, 0, 0, d->a, d->b);
    if (!like) return cb_error_code();
    cb_release(like);
    return CB_OK;
}

int cb_lane_fill(const cb_lane_draw *d, cb_tensor *out, int ndim, int64_t first, uint64_t seed,
                 uint64_t offset) {
    int lead = out->ndim - ndim;
    cb_tensor *row = cb_view_new(out, ndim, out->shape + lead, out->strides + lead, out->offset + first);
    if (!row) return cb_error_code();
    int status;
    if (d->kind == INTEGERS)
        status =
            cb_backend_of(row)->random_int(row, seed, offset, d->low, (uint64_t)d->high - (uint64_t)d->low);
    else if (d->kind == PERMUTATION)
        status = cb_backend_of(row)->random_perm(row, seed, offset);
    else
        status = draw(d->kind, row, seed, offset, d->a, d->b);
    cb_release(row);
    return status;
}

cb_tensor *cb_random_lanes(int kind, int dtype, int device, int n, const int64_t *lanes,
                           const int64_t *strides, int ndim, const int64_t *shape, uint64_t seed,
                           uint64_t offset, double a, double b, int64_t low, int64_t high) {
    cb_lane_draw drawn = {kind, a, b, low, high};
    if (cb_lane_check(&drawn, dtype, ndim, shape)) return NULL;
    int64_t whole[CB_MAX_NDIM], count = 1;
    if (n < 0 || n + ndim > CB_MAX_NDIM)
        return cb_fail_null(CB_ERR_DIM, "random: expected at most %d dimensions, got %d.", CB_MAX_NDIM,
                            n + ndim);
    for (int d = 0; d < n; d++) count *= whole[d] = lanes[d];
    for (int d = 0; d < ndim; d++) whole[n + d] = shape[d];
    cb_tensor *out = cb_empty(dtype, device, n + ndim, whole);
    if (!out || cb_is_meta(out) || out->numel == 0) return out;
    int64_t each = out->numel / count;
    int status = CB_OK;
    for (int64_t lane = 0; lane < count && !status; lane++) {
        uint64_t at = offset;
        int64_t rest = lane;
        for (int d = n - 1; d >= 0; d--) {
            at += (uint64_t)(rest % lanes[d] * strides[d]);
            rest /= lanes[d];
        }
        status = cb_lane_fill(&drawn, out, ndim, lane * each, seed, at);
    }
    return finished(out, status);
}
