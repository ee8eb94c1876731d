/* Linear algebra by cuSOLVER, which takes one matrix a call, column-major. */
#include "linalg_library.h"

#include <mutex>
#include <vector>

#include "kernels.h"
#include "libraries.h"

namespace {

std::mutex lock; /* the handle has one stream at a time */

struct job {
    const cb_lapack *j;
    const cb_cusolver *lib;
    void *context;
    int type; /* index of lib's routines */
    int64_t size, real_size;

    int64_t real_bytes(int64_t n) const { return n * real_size; }
    char *result(int which) const { return static_cast<char *>(j->out[which]->data); }
    int *info() const { return reinterpret_cast<int *>(j->out[j->nout - 1]->data); }
};

/* lib's call for every item that `skip` does not name */
template <typename Call>
int each_item(const job &x, const char *name, const std::vector<uint8_t> *skip, Call call) {
    CB_NOT_IN_GRAPH(name, "calls cuSOLVER");
    return cb_library_call(name, [&] {
        for (int64_t item = 0; item < x.j->count; item++) {
            if (skip && (*skip)[(size_t)item]) continue;
            int status = call(item);
            if (status) return status;
        }
        return 0;
    });
}
int sized(const char *name, int status) { return cb_library_failed(name, status); }

int lu(const job &x) {
    const cb_lapack *j = x.j;
    int size = 0, ld = cb_leading(j->m), steps = CB_MIN(j->m, j->n);
    int64_t each = (int64_t)j->m * j->n;
    CB_TRY(sized("lu_factor (cusolver)",
                 x.lib->getrf_size[x.type](x.context, j->m, j->n, x.result(0), ld, &size)));
    cb_scratch a(j->count * each * x.size), work(size * x.size);
    if (!a.ok() || !work.ok()) return CB_ERR_MEMORY;
    CB_TRY(cb_linalg_copy(j, 0, true, a.data));
    CB_TRY(each_item(x, "lu_factor (cusolver)", nullptr, [&](int64_t item) {
        return x.lib->getrf[x.type](x.context, j->m, j->n, a.as<char>() + item * each * x.size, ld, work.data,
                                    (int *)x.result(1) + item * steps, x.info() + item);
    }));
    return cb_linalg_transpose(j->dtype, j->count, j->n, j->m, each, a.data, x.result(0));
}

/* A row-major lower factor is a column-major upper one: of the conjugate, which has the conjugate factor. */
int cholesky(const job &x) {
    const cb_lapack *j = x.j;
    int size = 0, n = j->n;
    CB_TRY(cb_linalg_copy(j, 0, false, x.result(0)));
    CB_TRY(cb_linalg_triangle(j->dtype, j->count, n, j->flags[0], false, x.result(0)));
    CB_TRY(sized("cholesky (cusolver)",
                 x.lib->potrf_size[x.type](x.context, CB_CUBLAS_UPPER, n, x.result(0), n, &size)));
    cb_scratch work(size * x.size);
    if (!work.ok()) return CB_ERR_MEMORY;
    return each_item(x, "cholesky (cusolver)", nullptr, [&](int64_t item) {
        return x.lib->potrf[x.type](x.context, CB_CUBLAS_UPPER, n, x.result(0) + item * n * n * x.size, n,
                                    work.data, size, x.info() + item);
    });
}

int qr(const job &x) {
    const cb_lapack *j = x.j;
    int m = j->m, n = j->n, steps = CB_MIN(m, n), columns = j->k, ld = cb_leading(m), size = 0, more = 0;
    int64_t room = (int64_t)m * CB_MAX(n, columns); /* Q may have more columns than A */
    cb_scratch a(j->count * room * x.size), tau(j->count * steps * x.size), infos(j->count * 4);
    if (!a.ok() || !tau.ok() || !infos.ok()) return CB_ERR_MEMORY;
    CB_TRY(sized("qr (cusolver)", x.lib->geqrf_size[x.type](x.context, m, n, a.data, ld, &size)));
    CB_TRY(sized("qr (cusolver)",
                 x.lib->orgqr_size[x.type](x.context, m, columns, steps, a.data, ld, tau.data, &more)));
    size = CB_MAX(size, more);
    cb_scratch work(size * x.size);
    if (!work.ok()) return CB_ERR_MEMORY;
    /* items of A lie dense first; those of the routines are `room` apart */
    if (columns > n) {
        cb_scratch dense(j->count * m * n * x.size);
        if (!dense.ok()) return CB_ERR_MEMORY;
        CB_TRY(cb_linalg_copy(j, 0, true, dense.data));
        CB_TRY(cb_linalg_spread(j->dtype, j->count, (int64_t)m * n, room, dense.data, a.data));
    } else {
        CB_TRY(cb_linalg_copy(j, 0, true, a.data));
    }
    auto at = [&](int64_t item) { return a.as<char>() + item * room * x.size; };
    CB_TRY(each_item(x, "qr (cusolver)", nullptr, [&](int64_t item) {
        return x.lib->geqrf[x.type](x.context, m, n, at(item), ld, tau.as<char>() + item * steps * x.size,
                                    work.data, size, infos.as<int>() + item);
    }));
    CB_TRY(cb_linalg_take_upper(j->dtype, j->count, columns, n, ld, room, a.data, x.result(1)));
    CB_TRY(each_item(x, "qr (cusolver)", nullptr, [&](int64_t item) {
        return x.lib->orgqr[x.type](x.context, m, columns, steps, at(item), ld,
                                    tau.as<char>() + item * steps * x.size, work.data, size,
                                    infos.as<int>() + item);
    }));
    return cb_linalg_transpose(j->dtype, j->count, columns, m, room, a.data, x.result(0));
}

/* Items with inf or nan are not given to the iterations: their results are nan, their info -1. */
int refuse(const job &x, const std::vector<uint8_t> &bad) {
    const int32_t code = -1;
    for (int64_t item = 0; item < x.j->count; item++) {
        if (!bad[(size_t)item]) continue;
        CB_TRY(cb_send(x.info() + item, &code, sizeof code));
        for (int i = 0; i + 1 < x.j->nout; i++) {
            const cb_tensor *y = x.j->out[i];
            int64_t each = y->numel / x.j->count;
            CB_TRY(cb_linalg_fill_nan(y->dtype, each, x.result(i) + item * each * y->itemsize));
        }
    }
    return CB_OK;
}

int eigh(const job &x) {
    const cb_lapack *j = x.j;
    int n = j->n, vectors = j->flags[1], size = 0;
    int64_t each = (int64_t)n * n;
    std::vector<uint8_t> bad((size_t)j->count);
    cb_scratch a(j->count * each * x.size);
    if (!a.ok()) return CB_ERR_MEMORY;
    CB_TRY(cb_linalg_copy(j, 0, false, a.data));
    CB_TRY(cb_linalg_triangle(j->dtype, j->count, n, j->flags[0], true, a.data));
    CB_TRY(cb_linalg_bad_items(j->dtype, j->count, each, a.data, bad.data()));
    CB_TRY(sized("eigh (cusolver)", x.lib->syevd_size[x.type](x.context, vectors, CB_CUBLAS_LOWER, n, a.data,
                                                              n, x.result(0), &size)));
    cb_scratch work(size * x.size);
    if (!work.ok()) return CB_ERR_MEMORY;
    CB_TRY(each_item(x, "eigh (cusolver)", &bad, [&](int64_t item) {
        return x.lib->syevd[x.type](x.context, vectors, CB_CUBLAS_LOWER, n,
                                    a.as<char>() + item * each * x.size, n,
                                    x.result(0) + x.real_bytes(item * n), work.data, size, x.info() + item);
    }));
    if (vectors) CB_TRY(cb_linalg_transpose(j->dtype, j->count, n, n, each, a.data, x.result(1)));
    return refuse(x, bad);
}

/* gesvd wants no fewer rows than columns. A wide matrix in row-major order is its transpose, a tall one, in
 * column-major order, whose U and V^H change places: those are the results as they lie. */
int svd(const job &x) {
    const cb_lapack *j = x.j;
    bool wide = j->m < j->n, vectors = j->flags[1];
    int m = wide ? j->n : j->m, n = wide ? j->m : j->n, size = 0; /* of the tall one */
    int columns = j->flags[0] ? m : n;                             /* of its U */
    int64_t each = (int64_t)m * n;
    std::vector<uint8_t> bad((size_t)j->count);
    cb_scratch a(j->count * each * x.size), superdiagonal(x.real_bytes(n)),
        u(vectors && !wide ? j->count * m * columns * x.size : 0),
        vt(vectors && !wide ? j->count * n * n * x.size : 0);
    if (!a.ok() || !superdiagonal.ok() || !u.ok() || !vt.ok()) return CB_ERR_MEMORY;
    CB_TRY(cb_linalg_copy(j, 0, !wide, a.data));
    CB_TRY(cb_linalg_bad_items(j->dtype, j->count, each, a.data, bad.data()));
    CB_TRY(sized("svd (cusolver)", x.lib->gesvd_size[x.type](x.context, m, n, &size)));
    cb_scratch work(size * x.size);
    if (!work.ok()) return CB_ERR_MEMORY;
    char *to_u = !vectors ? nullptr : wide ? x.result(2) : u.as<char>();
    char *to_v = !vectors ? nullptr : wide ? x.result(0) : vt.as<char>();
    signed char job_u = !vectors ? 'N' : j->flags[0] ? 'A' : 'S', job_v = !vectors ? 'N' : 'A';
    CB_TRY(each_item(x, "svd (cusolver)", &bad, [&](int64_t item) {
        return x.lib->gesvd[x.type](x.context, job_u, job_v, m, n, a.as<char>() + item * each * x.size, m,
                                    x.result(vectors ? 1 : 0) + x.real_bytes(item * n),
                                    to_u ? to_u + item * m * columns * x.size : nullptr, m,
                                    to_v ? to_v + item * n * n * x.size : nullptr, n, work.data, size,
                                    superdiagonal.data, x.info() + item);
    }));
    if (vectors && !wide) {
        CB_TRY(
            cb_linalg_transpose(j->dtype, j->count, columns, m, (int64_t)m * columns, u.data, x.result(0)));
        CB_TRY(cb_linalg_transpose(j->dtype, j->count, n, n, (int64_t)n * n, vt.data, x.result(2)));
    }
    return refuse(x, bad);
}

} // namespace

bool cb_library_has_linalg() { return cb_cusolver_open() != nullptr; }

int cb_library_lapack(const cb_lapack *j) {
    if (CB_MIN(j->m, j->n) == 0) return CB_ERR_UNSUPPORTED;
    int type = j->dtype == CB_F32 ? 0 : j->dtype == CB_F64 ? 1 : j->dtype == CB_C64 ? 2 : 3;
    job x = {j,    cb_cusolver_open(),       cb_library_context(CB_CUSOLVER),
             type, cb_dtypes[j->dtype].size, cb_dtypes[cb_real_dtype(j->dtype)].size};
    if (!x.context) return CB_ERR_INTERNAL;
    std::lock_guard<std::mutex> guard(lock);
    CB_TRY(cb_library_failed("linalg (cusolver)", x.lib->set_stream(x.context, cb_stream())));
    switch (j->kind) {
        case CB_LAPACK_LU: return lu(x);
        case CB_LAPACK_CHOLESKY: return cholesky(x);
        case CB_LAPACK_QR: return qr(x);
        case CB_LAPACK_EIGH: return eigh(x);
        case CB_LAPACK_SVD: return svd(x);
        default: return CB_ERR_UNSUPPORTED;
    }
}
