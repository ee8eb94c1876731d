/* Fourier transforms along one dim: complex to complex, real to half-complex, half-complex to real.
 * Transforms of several dims are repeated ones. Kernels are in cpu/fft.c; they see contiguous tensors. */
#include "internal.h"

static bool wanted(const char *op, const cb_tensor *x, bool complex, int64_t dim, int *d) {
    bool fits = complex ? cb_is_complex(x->dtype) : x->dtype == CB_F32 || x->dtype == CB_F64;
    if (!fits) {
        cb_fail(CB_ERR_DTYPE, "%s: expected %s, got %s. Cast with .to(dtype).", op,
                complex ? "complex64 or complex128" : "float32 or float64", cb_dtypes[x->dtype].name);
        return false;
    }
    if (x->ndim == 0) {
        cb_fail(CB_ERR_SHAPE, "%s: expected at least one dimension, got a 0-d tensor. Reshape it to [1].",
                op);
        return false;
    }
    *d = cb_wrap_dim(op, dim, x->ndim);
    return *d >= 0;
}

static bool fits(const char *op, int64_t got, int64_t n) {
    if (n > 0 && got == n) return true;
    if (n < 1)
        cb_fail(CB_ERR_SHAPE, "%s: expected at least one point, got %lld.", op, (long long)n);
    else
        cb_fail(CB_ERR_SHAPE, "%s: expected %lld frequencies, got %lld. Pad or trim the dimension.", op,
                (long long)n, (long long)got);
    return false;
}

/* the result, not yet computed: x's shape with n items along dim */
static cb_tensor *result(const cb_tensor *x, int dtype, int dim, int64_t n) {
    int64_t shape[CB_MAX_NDIM];
    memcpy(shape, x->shape, (size_t)x->ndim * sizeof *shape);
    shape[dim] = n;
    return cb_empty(dtype, x->device, x->ndim, shape);
}

enum { C2C, R2C, C2R };

static cb_tensor *computed(int kind, cb_tensor *x, int dim, int forward, double ends, double inside,
                           cb_tensor *out) {
    if (!out || cb_is_meta(out) || out->numel == 0) return out;
    const cb_backend *backend = cb_backend_of(out);
    cb_tensor *input = cb_contiguous(x);
    int status = input ? CB_OK : cb_error_code();
    if (!status)
        status = kind == C2C   ? backend->fft_c2c(input, dim, forward, ends, out)
                 : kind == R2C ? backend->fft_r2c(input, dim, ends, inside, out)
                               : backend->fft_c2r(input, dim, ends, inside, out);
    cb_release(input);
    if (!status) return out;
    cb_release(out);
    return NULL;
}

/* a real signal: half of the spectrum, and the other half from it */
static cb_tensor *whole_of_real(cb_tensor *x, int d, int forward, double scale) {
    cb_tensor *out = result(x, cb_complex_dtype(x->dtype), d, x->shape[d]);
    if (!out || cb_is_meta(out) || out->numel == 0) return out;
    cb_tensor *half = cb_fft_r2c(x, d, scale, scale);
    if (half) {
        cb_backend_of(out)->fft_mirror(half, d, forward, out);
    } else {
        cb_release(out);
        out = NULL;
    }
    cb_release(half);
    return out;
}

cb_tensor *cb_fft_c2c(cb_tensor *x, int64_t dim, int forward, double scale) {
    if (!x) return cb_fail_null(CB_ERR_NULL, "fft: no tensor");
    int d;
    if (!cb_is_complex(x->dtype)) {
        if (!wanted("fft", x, false, dim, &d) || !fits("fft", x->shape[d], x->shape[d])) return NULL;
        return whole_of_real(x, d, forward, scale);
    }
    if (!wanted("fft", x, true, dim, &d) || !fits("fft", x->shape[d], x->shape[d])) return NULL;
    return computed(C2C, x, d, forward, scale, scale, result(x, x->dtype, d, x->shape[d]));
}

cb_tensor *cb_fft_r2c(cb_tensor *x, int64_t dim, double ends, double inside) {
    if (!x) return cb_fail_null(CB_ERR_NULL, "rfft: no tensor");
    int d;
    if (!wanted("rfft", x, false, dim, &d) || !fits("rfft", x->shape[d], x->shape[d])) return NULL;
    return computed(R2C, x, d, 1, ends, inside,
                    result(x, cb_complex_dtype(x->dtype), d, x->shape[d] / 2 + 1));
}

cb_tensor *cb_fft_c2r(cb_tensor *x, int64_t dim, int64_t n, double ends, double inside) {
    if (!x) return cb_fail_null(CB_ERR_NULL, "irfft: no tensor");
    int d;
    if (!wanted("irfft", x, true, dim, &d) || (n < 1 && !fits("irfft", n, n)) ||
        !fits("irfft", x->shape[d], n / 2 + 1))
        return NULL;
    return computed(C2R, x, d, 0, ends, inside, result(x, cb_real_dtype(x->dtype), d, n));
}
