/* Eigenvalues, eigenvectors and singular values.
 *
 * LAPACK's iterations may not end on inf and nan: such matrices are not given to it; their results are nan
 * and their info is -1. */
#include "linalg.h"

typedef void (*syevd_fn)(const char *jobz, const char *uplo, const int *n, void *a, const int *lda, void *w,
                         void *work, const int *lwork, int *iwork, const int *liwork, int *info, size_t,
                         size_t);
typedef void (*heevd_fn)(const char *jobz, const char *uplo, const int *n, void *a, const int *lda, void *w,
                         void *work, const int *lwork, void *rwork, const int *lrwork, int *iwork,
                         const int *liwork, int *info, size_t, size_t);
typedef void (*trd_fn)(const char *uplo, const int *n, void *a, const int *lda, void *d, void *e, void *tau,
                       void *work, const int *lwork, int *info, size_t);
typedef void (*mtr_fn)(const char *side, const char *uplo, const char *trans, const int *m, const int *n,
                       const void *a, const int *lda, const void *tau, void *c, const int *ldc, void *work,
                       const int *lwork, int *info, size_t, size_t, size_t);
typedef void (*geev_fn)(const char *left, const char *right, const int *n, void *a, const int *lda, void *wr,
                        void *wi, void *vl, const int *ldvl, void *vr, const int *ldvr, void *work,
                        const int *lwork, int *info, size_t, size_t);
typedef void (*cgeev_fn)(const char *left, const char *right, const int *n, void *a, const int *lda, void *w,
                         void *vl, const int *ldvl, void *vr, const int *ldvr, void *work, const int *lwork,
                         void *rwork, int *info, size_t, size_t);
typedef void (*gesdd_fn)(const char *jobz, const int *m, const int *n, void *a, const int *lda, void *s,
                         void *u, const int *ldu, void *vt, const int *ldvt, void *work, const int *lwork,
                         int *iwork, int *info, size_t);
typedef void (*cgesdd_fn)(const char *jobz, const int *m, const int *n, void *a, const int *lda, void *s,
                          void *u, const int *ldu, void *vt, const int *ldvt, void *work, const int *lwork,
                          void *rwork, int *iwork, int *info, size_t);

static int square(const cb_lapack *j) {
    if (j->m == j->n) return CB_OK;
    return cb_fail(CB_ERR_SHAPE, "%s: expected square matrices, got shape %s.", j->op, cb_shape_of(j->in[0]));
}

static int64_t real_size(const cb_lapack *j) { return cb_itemsize(cb_real_dtype(j->dtype)); }

static int *info_at(const cb_lapack *j, int64_t item) { return (int *)j->out[j->nout - 1]->data + item; }

/* A refused item: nan everywhere, info -1. The info is the last result. */
static void refuse(const cb_lapack *j, int64_t item) {
    int last = j->nout - 1;
    for (int i = 0; i < last; i++)
        cb_fill_nan(j->out[i], cb_lapack_place(j, i, item), j->out[i]->numel / j->count);
    *info_at(j, item) = -1;
}

/* ---- Hermitian ---- */

/* the lower triangle becomes the mean of it and the conjugated upper one */
static void average_triangles(int dtype, void *a, int n) {
#define AVERAGE(T, conjugated)      \
    for (int64_t k = 0; k < n; k++) \
        for (int64_t i = k; i < n; i++) ((T *)a)[i + k * n] = (((T *)a)[i + k * n] + (conjugated)) / 2;
    if (dtype == CB_F32) {
        AVERAGE(float, ((float *)a)[k + i * n])
    } else if (dtype == CB_F64) {
        AVERAGE(double, ((double *)a)[k + i * n])
    } else if (dtype == CB_C64) {
        AVERAGE(cb_complex64, __builtin_conjf(((cb_complex64 *)a)[k + i * n]))
    } else {
        AVERAGE(cb_complex128, __builtin_conj(((cb_complex128 *)a)[k + i * n]))
    }
#undef AVERAGE
}

static bool triangle_is_finite(const cb_lapack *j, const char *a, bool upper) {
    int64_t size = cb_itemsize(j->dtype), n = j->n;
    for (int64_t k = 0; k < n; k++) {
        int64_t begin = upper ? 0 : k, end = upper ? k + 1 : n;
        if (!cb_all_finite(j->dtype, a + (begin + k * n) * size, end - begin)) return false;
    }
    return true;
}

typedef struct eigh_sizes {
    int lwork, lrwork, liwork;
} eigh_sizes;

static eigh_sizes eigh_workspace(int n, bool vectors, bool is_complex) {
    /* the minimum of xSYEVD and xHEEVD plus room for blocks of 64 */
    eigh_sizes s = {.liwork = vectors ? 3 + 5 * n : 1, .lrwork = 1};
    if (is_complex) {
        s.lwork = vectors ? 2 * n + n * n + 64 * n : n + 1 + 64 * n;
        s.lrwork = vectors ? 1 + 5 * n + 2 * n * n : CB_MAX(n, 1);
    } else {
        s.lwork = (vectors ? 1 + 6 * n + 2 * n * n : 2 * n + 1) + 64 * n;
    }
    s.lwork = CB_MAX(s.lwork, 1);
    return s;
}

/* Large matrices: what LAPACK does by one call, with pieces of it side by side. */
enum { LEAST = 128, BACK_COLUMNS = 100, BACK_BLOCK = 64 };
typedef struct eigh_job {
    const cb_lapack *j;
    cb_divide divide;
    const char *uplo;
    char *a, *tau, *vectors, *work;
    int64_t grain;
} eigh_job;

static int64_t back_grain(int64_t n) {
    int64_t pieces = ((n - 1) / BACK_COLUMNS + 2) / 2 * 2;
    return (n + pieces - 1) / pieces;
}

static int64_t back_work(int64_t n) { /* numbers, a piece */
    return BACK_BLOCK * back_grain(n) + (BACK_BLOCK + 1) * BACK_BLOCK;
}

/* these vectors of the tridiagonal matrix, in rising order, become those of the whole one */
static void transform_back(void *context, int64_t begin, int64_t end) {
    const eigh_job *e = context;
    const cb_lapack *j = e->j;
    int n = j->n, count = (int)(end - begin), lwork = (int)back_work(n), info;
    int64_t size = cb_itemsize(j->dtype), real = real_size(j);
    char *to = e->vectors + begin * n * size;
    for (int c = 0; c < count; c++) {
        const char *from = (char *)e->divide.q + (e->divide.order[begin + c] - 1) * n * real;
        if (size == real) {
            memcpy(to + c * n * size, from, (size_t)(n * size));
            continue;
        }
        memset(to + c * n * size, 0, (size_t)(n * size));
        for (int i = 0; i < n; i++) memcpy(to + (c * (int64_t)n + i) * size, from + i * real, (size_t)real);
    }
    ((mtr_fn)j->call[2])("L", e->uplo, "N", &n, &count, e->a, &n, e->tau, to, &n,
                         e->work + begin / e->grain * back_work(n) * size, &lwork, &info, 1, 1, 1);
}

static int64_t eigh_large_memory(const cb_lapack *j) {
    int64_t n = j->n, size = cb_itemsize(j->dtype), pieces = (n + back_grain(n) - 1) / back_grain(n);
    return 2 * cb_padded(size * n * n) + cb_padded(real_size(j) * n * n) + cb_padded(size * n) +
           cb_padded(real_size(j) * n) + cb_divide_memory(n, real_size(j)) +
           size * CB_MAX(BACK_BLOCK * n, pieces * back_work(n));
}

static void eigh_large(const cb_lapack *j, int64_t item, char *a, const char *uplo, char *scratch) {
    int n = j->n, lwork = BACK_BLOCK * n, *info = info_at(j, item);
    int64_t size = cb_itemsize(j->dtype), real = real_size(j);
    eigh_job e = {.j = j, .divide = *(const cb_divide *)j->call[3], .uplo = uplo, .a = a};
    char *w = cb_lapack_place(j, 0, item), *off = cb_carve(&scratch, real * n);
    e.tau = cb_carve(&scratch, size * n);
    e.vectors = cb_carve(&scratch, size * n * n);
    char *q = cb_carve(&scratch, real * n * n), *memory = cb_carve(&scratch, cb_divide_memory(n, real));
    e.work = scratch;
    ((trd_fn)j->call[1])(uplo, &n, a, &n, w, off, e.tau, e.work, &lwork, info, 1);
    *info = cb_divide_run(&e.divide, n, w, off, q, memory);
    if (*info) return;
    e.grain = back_grain(n);
    cb_parallel(n, e.grain, transform_back, &e);
    memcpy(off, w, (size_t)(real * n));
    for (int i = 0; i < n; i++) {
        int from = e.divide.order[i] - 1;
        if (real == 4)
            ((float *)w)[i] = (float)(((float *)off)[from] * e.divide.scale);
        else
            ((double *)w)[i] = ((double *)off)[from] * e.divide.scale;
    }
    cb_lapack_store(j, 1, item, e.vectors, n);
}

/* LAPACK scales matrices whose squares might over- or underflow. */
static bool is_ordinary(const cb_lapack *j, const char *a) {
    int64_t n = (int64_t)j->n * j->n * (cb_is_complex(j->dtype) ? 2 : 1);
    double largest = 0;
    bool narrow = real_size(j) == 4;
    if (narrow) {
        float most = 0;
        for (int64_t i = 0; i < n; i++) most = CB_MAX(most, __builtin_fabsf(((const float *)a)[i]));
        largest = most;
    } else {
        for (int64_t i = 0; i < n; i++) largest = CB_MAX(largest, __builtin_fabs(((const double *)a)[i]));
    }
    return narrow ? largest > 1e-15 && largest < 1e15 : largest > 1e-145 && largest < 1e145;
}

static void eigh_one(const cb_lapack *j, int64_t item, char *scratch) {
    int n = j->n, ld = cb_leading(n), part = j->flags[0], vectors = j->flags[1];
    int size = cb_itemsize(j->dtype);
    eigh_sizes s = eigh_workspace(n, vectors, cb_is_complex(j->dtype));
    const char *jobz = vectors ? "V" : "N", *uplo = part == 1 ? "U" : "L";
    char *a = cb_carve(&scratch, (int64_t)size * n * n);
    int *iwork = cb_carve(&scratch, (int64_t)sizeof(int) * s.liwork);
    void *rwork = cb_carve(&scratch, real_size(j) * s.lrwork), *w = cb_lapack_place(j, 0, item);
    int *info = info_at(j, item);
    cb_lapack_load(j, 0, item, a, ld);
    if (part == 2) average_triangles(j->dtype, a, n);
    if (!triangle_is_finite(j, a, part == 1)) {
        refuse(j, item);
        return;
    }
    if (vectors && n >= LEAST && is_ordinary(j, a)) {
        eigh_large(j, item, a, uplo, scratch);
        return;
    }
    if (cb_is_complex(j->dtype))
        ((heevd_fn)j->call[0])(jobz, uplo, &n, a, &ld, w, scratch, &s.lwork, rwork, &s.lrwork, iwork,
                               &s.liwork, info, 1, 1);
    else
        ((syevd_fn)j->call[0])(jobz, uplo, &n, a, &ld, w, scratch, &s.lwork, iwork, &s.liwork, info, 1, 1);
    if (vectors) cb_lapack_store(j, 1, item, a, ld);
}

/* Up to this order a single matrix takes no longer in a group than in LAPACK, and its vectors have the signs
 * that they have in a batch. */
enum { ALWAYS_IN_GROUPS = 8 };

/* what a group could not do goes to LAPACK */
static void finish_group(const cb_lapack *j, int64_t first, cb_small *s, char *scratch) {
    cb_small_run(s);
    memset(info_at(j, first), 0, (size_t)s->count * sizeof(int));
    cb_small_repair(j, first, s, scratch);
}

static void eigh_group(const cb_lapack *j, int64_t first, cb_small *s, char *scratch) {
    s->kind = CB_SMALL_EIGH;
    s->part = j->flags[0];
    s->vectors = j->flags[1];
    cb_small_operand(j, 0, first, s->part == 1, s, &s->a);
    cb_small_result(j, 0, first, false, s, &s->x);
    if (s->vectors) cb_small_result(j, 1, first, false, s, &s->y);
    finish_group(j, first, s, scratch);
}

int cb_eigh(cb_tensor *a, int part, int vectors, const char *check, cb_tensor *out[2]) {
    cb_lapack j;
    CB_TRY(cb_lapack_start(&j, vectors ? "eigh" : "eigvalsh", 1, &a, (int[]){2}));
    CB_TRY(square(&j));
    if (j.n > 30000) return cb_fail(CB_ERR_SHAPE, "eigh: expected sizes up to 30000, got %d.", j.n);
    cb_lapack_result(&j, cb_real_dtype(j.dtype), j.n, -1);
    if (vectors) cb_lapack_result(&j, j.dtype, j.n, j.n);
    int info = cb_lapack_result(&j, CB_I32, -1, -1), status = CB_OK;
    if (!cb_lapack_idle(&j)) {
        eigh_sizes s = eigh_workspace(j.n, vectors, cb_is_complex(j.dtype));
        int64_t size = cb_itemsize(j.dtype);
        j.call[0] = cb_lapack_routine(&j, "syevd", "heevd");
        j.flags[0] = part;
        j.flags[1] = vectors;
        j.scratch = cb_padded(size * j.n * j.n) + cb_padded((int64_t)sizeof(int) * s.liwork) +
                    cb_padded(real_size(&j) * s.lrwork) + size * s.lwork;
        cb_divide divide;
        if (vectors && j.n >= LEAST) {
            j.call[1] = cb_lapack_routine(&j, "sytrd", "hetrd");
            j.call[2] = cb_lapack_routine(&j, "ormtr", "unmtr");
            j.call[3] = &divide;
            if (!cb_divide_start(&divide, cb_real_dtype(j.dtype))) j.failed = 1;
            j.scratch += eigh_large_memory(&j);
        }
        j.work = 9.0 * j.n * j.n * j.n;
        j.one = eigh_one;
        j.group = eigh_group;
        if (j.n <= ALWAYS_IN_GROUPS) j.group_min = 1;
        j.kind = CB_LAPACK_EIGH;
        status = cb_lapack_run(&j);
    }
    return cb_lapack_finish(&j, status, check, info, "finite matrices whose eigenvalues converge", out,
                            1 + vectors);
}

/* ---- general ---- */

/* LAPACK gives the eigenvectors of a conjugate pair as real and imaginary part in two columns. */
#define UNPACK(R, C)                                                                       \
    static void unpack_##R(int n, const R *wr, const R *wi, const R *v, C *w, C *out) {    \
        for (int k = 0; k < n; k++) w[k] = __builtin_complex(wr[k], wi[k]);                \
        for (int k = 0; v && k < n; k++) {                                                 \
            bool pair = wi[k] != 0 && k + 1 < n;                                           \
            for (int i = 0; i < n; i++) {                                                  \
                R re = v[i + (int64_t)k * n], im = pair ? v[i + (int64_t)(k + 1) * n] : 0; \
                out[(int64_t)i * n + k] = __builtin_complex(re, im);                       \
                if (pair) out[(int64_t)i * n + k + 1] = __builtin_complex(re, -im);        \
            }                                                                              \
            k += pair;                                                                     \
        }                                                                                  \
    }
UNPACK(float, cb_complex64)
UNPACK(double, cb_complex128)

static void eig_one(const cb_lapack *j, int64_t item, char *scratch) {
    int n = j->n, ld = cb_leading(n), vectors = j->flags[0], size = cb_itemsize(j->dtype);
    void *a = cb_carve(&scratch, (int64_t)size * n * n);
    void *v = cb_carve(&scratch, (int64_t)size * n * n);
    void *real = cb_carve(&scratch, 2 * real_size(j) * n);
    int *info = info_at(j, item);
    void *w = cb_lapack_place(j, 0, item);
    cb_lapack_load(j, 0, item, a, ld);
    if (!cb_all_finite(j->dtype, a, (int64_t)n * n)) {
        refuse(j, item);
        return;
    }
    const char *right = vectors ? "V" : "N";
    if (cb_is_complex(j->dtype)) {
        ((cgeev_fn)j->call[0])("N", right, &n, a, &ld, w, v, &ld, v, &ld, scratch, &j->lwork, real, info, 1,
                               1);
        if (vectors) cb_lapack_store(j, 1, item, v, ld);
        return;
    }
    void *wi = (char *)real + real_size(j) * n, *to = vectors ? cb_lapack_place(j, 1, item) : NULL;
    ((geev_fn)j->call[0])("N", right, &n, a, &ld, real, wi, v, &ld, v, &ld, scratch, &j->lwork, info, 1, 1);
    if (j->dtype == CB_F32)
        unpack_float(n, real, wi, vectors ? v : NULL, w, to);
    else
        unpack_double(n, real, wi, vectors ? v : NULL, w, to);
}

int cb_eig(cb_tensor *a, int vectors, const char *check, cb_tensor *out[2]) {
    cb_lapack j;
    CB_TRY(cb_lapack_start(&j, vectors ? "eig" : "eigvals", 1, &a, (int[]){2}));
    CB_TRY(square(&j));
    cb_lapack_result(&j, cb_complex_dtype(j.dtype), j.n, -1);
    if (vectors) cb_lapack_result(&j, cb_complex_dtype(j.dtype), j.n, j.n);
    int info = cb_lapack_result(&j, CB_I32, -1, -1), status = CB_OK;
    if (!cb_lapack_idle(&j)) {
        int64_t size = cb_itemsize(j.dtype);
        double answer[2] = {0}, any[2] = {0}; /* queries read and write single elements of arrays */
        int query = -1, code, ld = cb_leading(j.n);
        const char *right = vectors ? "V" : "N";
        j.call[0] = cb_lapack_routine(&j, "geev", NULL);
        if (!j.failed && cb_is_complex(j.dtype))
            ((cgeev_fn)j.call[0])("N", right, &j.n, any, &ld, any, any, &ld, any, &ld, answer, &query, any,
                                  &code, 1, 1);
        else if (!j.failed)
            ((geev_fn)j.call[0])("N", right, &j.n, any, &ld, any, any, any, &ld, any, &ld, answer, &query,
                                 &code, 1, 1);
        j.lwork = CB_MAX(cb_lapack_queried(j.dtype, answer), 4 * j.n + 1);
        j.flags[0] = vectors;
        j.scratch = 2 * cb_padded(size * j.n * j.n) + cb_padded(2 * real_size(&j) * j.n) + size * j.lwork;
        j.work = 25.0 * j.n * j.n * j.n;
        j.one = eig_one;
        status = cb_lapack_run(&j);
    }
    return cb_lapack_finish(&j, status, check, info, "finite matrices whose eigenvalues converge", out,
                            1 + vectors);
}

/* ---- singular values ---- */

static int64_t svd_real_workspace(int m, int n, bool vectors) {
    int64_t k = CB_MIN(m, n), l = CB_MAX(m, n);
    return vectors ? CB_MAX(5 * k * k + 5 * k, 2 * l * k + 2 * k * k + k) : 7 * k;
}

static const char *svd_job(const cb_lapack *j) { return !j->flags[1] ? "N" : j->flags[0] ? "A" : "S"; }

static void svd_one(const cb_lapack *j, int64_t item, char *scratch) {
    int m = j->m, n = j->n, k = CB_MIN(m, n), full = j->flags[0], vectors = j->flags[1];
    int64_t size = cb_itemsize(j->dtype);
    int lda = cb_leading(m), ldu = lda, ldv = cb_leading(full ? n : k), *info = info_at(j, item);
    void *a = cb_carve(&scratch, size * m * n);
    void *u = cb_carve(&scratch, vectors ? size * m * (full ? m : k) : 0);
    void *v = cb_carve(&scratch, vectors ? size * ldv * n : 0);
    int *iwork = cb_carve(&scratch, (int64_t)sizeof(int) * 8 * k);
    void *rwork =
        cb_carve(&scratch, cb_is_complex(j->dtype) ? real_size(j) * svd_real_workspace(m, n, vectors) : 0);
    void *s = cb_lapack_place(j, vectors ? 1 : 0, item);
    cb_lapack_load(j, 0, item, a, lda);
    if (!cb_all_finite(j->dtype, a, (int64_t)m * n)) {
        refuse(j, item);
        return;
    }
    if (cb_is_complex(j->dtype))
        ((cgesdd_fn)j->call[0])(svd_job(j), &m, &n, a, &lda, s, u, &ldu, v, &ldv, scratch, &j->lwork, rwork,
                                iwork, info, 1);
    else
        ((gesdd_fn)j->call[0])(svd_job(j), &m, &n, a, &lda, s, u, &ldu, v, &ldv, scratch, &j->lwork, iwork,
                               info, 1);
    if (!vectors) return;
    cb_lapack_store(j, 0, item, u, ldu);
    cb_lapack_store(j, 2, item, v, ldv);
}

static void svd_group(const cb_lapack *j, int64_t first, cb_small *s, char *scratch) {
    s->kind = CB_SMALL_SVD;
    s->vectors = j->flags[1];
    cb_small_operand(j, 0, first, false, s, &s->a);
    cb_small_result(j, s->vectors ? 1 : 0, first, false, s, &s->x);
    if (s->vectors) {
        cb_small_result(j, 0, first, false, s, &s->y);
        cb_small_result(j, 2, first, false, s, &s->z);
    }
    finish_group(j, first, s, scratch);
}

/* the vectors of empty matrices, which LAPACK leaves alone */
static int identities(cb_lapack *j) {
    for (int i = 0; i < 3; i += 2) {
        cb_tensor *y = j->out[i],
                  *eye = cb_eye(j->dtype, j->device, y->shape[j->nbatch], y->shape[j->nbatch + 1]);
        int status = eye ? cb_copy_into(y, eye, 0) : cb_error_code();
        cb_release(eye);
        if (status) return status;
    }
    memset(j->out[3]->data, 0, (size_t)j->count * sizeof(int32_t));
    return CB_OK;
}

int cb_svd(cb_tensor *a, int full, int vectors, const char *check, cb_tensor *out[3]) {
    cb_lapack j;
    CB_TRY(cb_lapack_start(&j, vectors ? "svd" : "svdvals", 1, &a, (int[]){2}));
    int m = j.m, n = j.n, k = CB_MIN(m, n);
    full = full && vectors;
    if (vectors) cb_lapack_result(&j, j.dtype, m, full ? m : k);
    cb_lapack_result(&j, cb_real_dtype(j.dtype), k, -1);
    if (vectors) cb_lapack_result(&j, j.dtype, full ? n : k, n);
    int info = cb_lapack_result(&j, CB_I32, -1, -1), status = CB_OK;
    if (!cb_lapack_idle(&j) && k == 0) {
        if (vectors)
            status = identities(&j);
        else
            memset(j.out[info]->data, 0, (size_t)j.count * sizeof(int32_t));
    } else if (!cb_lapack_idle(&j)) {
        int64_t size = cb_itemsize(j.dtype);
        double answer[2] = {0}, any[2] = {0};
        int query = -1, code, ldv = full ? n : k, integer;
        j.call[0] = cb_lapack_routine(&j, "gesdd", NULL);
        j.flags[0] = full;
        j.flags[1] = vectors;
        if (!j.failed && cb_is_complex(j.dtype))
            ((cgesdd_fn)j.call[0])(svd_job(&j), &m, &n, any, &m, any, any, &m, any, &ldv, answer, &query, any,
                                   &integer, &code, 1);
        else if (!j.failed)
            ((gesdd_fn)j.call[0])(svd_job(&j), &m, &n, any, &m, any, any, &m, any, &ldv, answer, &query,
                                  &integer, &code, 1);
        j.lwork = CB_MAX(cb_lapack_queried(j.dtype, answer), 1);
        j.scratch = cb_padded(size * m * n) + cb_padded((int64_t)sizeof(int) * 8 * k) + size * j.lwork;
        if (vectors) j.scratch += cb_padded(size * m * (full ? m : k)) + cb_padded(size * ldv * n);
        if (cb_is_complex(j.dtype)) j.scratch += cb_padded(real_size(&j) * svd_real_workspace(m, n, vectors));
        j.work = 20.0 * m * n * k;
        j.one = svd_one;
        if (!full || m == n) j.group = svd_group;
        if (CB_MAX(m, n) <= ALWAYS_IN_GROUPS) j.group_min = 1;
        j.kind = CB_LAPACK_SVD;
        status = cb_lapack_run(&j);
    }
    return cb_lapack_finish(&j, status, check, info, "finite matrices whose singular values converge", out,
                            vectors ? 3 : 1);
}
