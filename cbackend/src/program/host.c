/* Functions of the host language as public functions: they make their results' memory here, so that staging
 * knows the shapes and a program has instructions for them, and the host fills it. The number of a function
 * means something to the running host only: programs from files cannot hold one (decode.c). */
#include "../internal.h"

static int (*host)(int64_t function, int n, cb_tensor *const *xs, int nout, cb_tensor *const *out);

void cb_host_set(int (*call)(int64_t, int, cb_tensor *const *, int, cb_tensor *const *)) { host = call; }

static int make_results(int ncode, const int64_t *forms, int nout, cb_tensor **out, int device) {
    int at = 0;
    for (int k = 0; k < nout; k++) {
        if (ncode - at < 2 || forms[at] < 0 || forms[at] >= CB_DTYPE_COUNT || forms[at + 1] < 0 ||
            forms[at + 1] > CB_MAX_NDIM || ncode - at - 2 < forms[at + 1])
            return cb_fail(CB_ERR_VALUE, "callback: expected dtype, ndim and shape of result %d.", k);
        out[k] = cb_empty((int)forms[at], device, (int)forms[at + 1], forms + at + 2);
        if (!out[k]) return cb_error_code();
        at += 2 + (int)forms[at + 1];
    }
    return CB_OK;
}

int cb_host_call(int64_t function, int n, cb_tensor *const *xs, int ncode, const int64_t *forms, int nout,
                 cb_tensor **out, int device) {
    for (int k = 0; k < nout; k++) out[k] = NULL;
    if (cb_any_null(n, xs)) return cb_fail(CB_ERR_NULL, "callback: expected tensors with memory.");
    int status = make_results(ncode, forms, nout, out, device);
    if (!status && (device & 255) != CB_META) {
        if (!host)
            status = cb_fail(CB_ERR_UNSUPPORTED, "callback: expected a host that calls, got none.");
        else if (host(function, n, xs, nout, out))
            status = cb_fail(CB_ERR_HOST, "callback: its function failed.");
    }
    for (int k = 0; k < nout && status; k++) {
        cb_release(out[k]);
        out[k] = NULL;
    }
    return status;
}
