/* Factorizations by Householder reflections, and least squares. */
#include <math.h>

#include "linalg.h"

typedef void (*geqrf_fn)(const int *m, const int *n, void *a, const int *lda, void *tau, void *work,
                         const int *lwork, int *info);
typedef void (*orgqr_fn)(const int *m, const int *n, const int *k, void *a, const int *lda, const void *tau,
                         void *work, const int *lwork, int *info);
typedef void (*ormqr_fn)(const char *side, const char *trans, const int *m, const int *n, const int *k,
                         const void *a, const int *lda, const void *tau, void *c, const int *ldc, void *work,
                         const int *lwork, int *info, size_t, size_t);
typedef void (*larft_fn)(const char *direct, const char *stored, const int *n, const int *k, const void *v,
                         const int *ldv, const void *tau, void *t, const int *ldt, size_t, size_t);
typedef void (*larfb_fn)(const char *side, const char *trans, const char *direct, const char *stored,
                         const int *m, const int *n, const int *k, const void *v, const int *ldv,
                         const void *t, const int *ldt, void *c, const int *ldc, void *work,
                         const int *ldwork, size_t, size_t, size_t, size_t);
typedef void (*gelsy_fn)(const int *m, const int *n, const int *k, void *a, const int *lda, void *b,
                         const int *ldb, int *jpvt, const void *rcond, int *rank, void *work,
                         const int *lwork, int *info);
typedef void (*cgelsy_fn)(const int *m, const int *n, const int *k, void *a, const int *lda, void *b,
                          const int *ldb, int *jpvt, const void *rcond, int *rank, void *work,
                          const int *lwork, void *rwork, int *info);

static int query_geqrf(cb_lapack *j, int m, int n) {
    double answer[2] = {0}, any[2] = {0};
    int query = -1, info, ld = cb_leading(m);
    if (!j->failed) ((geqrf_fn)j->call[0])(&m, &n, any, &ld, any, answer, &query, &info);
    return CB_MAX(cb_lapack_queried(j->dtype, answer), cb_leading(n));
}

static int query_orgqr(cb_lapack *j, int m, int n, int k) {
    double answer[2] = {0}, any[2] = {0};
    int query = -1, info, ld = cb_leading(m);
    if (!j->failed) ((orgqr_fn)j->call[1])(&m, &n, &k, any, &ld, any, answer, &query, &info);
    return CB_MAX(cb_lapack_queried(j->dtype, answer), cb_leading(n));
}

/* ---- QR ---- */

/* By panels of PANEL reflections, which all threads apply to the columns right of them in pieces of COLUMNS.
 * LEAST: fewer reflections are one call of LAPACK, which is as fast. */
enum { PANEL = 16, COLUMNS = 64, LEAST = 48 };
typedef struct panel {
    const cb_lapack *j;
    char *a, *tau;
    const char *trans;
    int m, ld, at, width;
    cb_complex128 t[PANEL * PANEL]; /* of any dtype */
} panel;

static char *element(const panel *p, int i, int k) {
    return p->a + (i + (int64_t)k * p->ld) * cb_itemsize(p->j->dtype);
}

static void reflect_columns(void *context, int64_t begin, int64_t end) {
    const panel *p = context;
    int rows = p->m - p->at, count = (int)(end - begin);
    cb_complex128 work[COLUMNS * PANEL];
    ((larfb_fn)p->j->call[3])("L", p->trans, "F", "C", &rows, &count, &p->width, element(p, p->at, p->at),
                              &p->ld, p->t, &(int){PANEL}, element(p, p->at, p->at + p->width + (int)begin),
                              &p->ld, work, &count, 1, 1, 1, 1);
}

/* the panel's reflections, or their inverses, to what is right of it */
static void reflect(panel *p, int columns) {
    int rows = p->m - p->at, left = columns - p->at - p->width;
    if (left <= 0) return;
    ((larft_fn)p->j->call[2])("F", "C", &rows, &p->width, element(p, p->at, p->at), &p->ld,
                              p->tau + (int64_t)p->at * cb_itemsize(p->j->dtype), p->t, &(int){PANEL}, 1, 1);
    cb_parallel(left, COLUMNS, reflect_columns, p);
}

/* geqrf */
static void factorize(const cb_lapack *j, int m, int n, void *a, int ld, void *tau, void *work) {
    int k = CB_MIN(m, n), info;
    if (k < LEAST) {
        ((geqrf_fn)j->call[0])(&m, &n, a, &ld, tau, work, &j->lwork, &info);
        return;
    }
    panel p = {.j = j, .a = a, .tau = tau, .trans = cb_is_complex(j->dtype) ? "C" : "T", .m = m, .ld = ld};
    for (; p.at < k; p.at += p.width) {
        int rows = m - p.at;
        p.width = CB_MIN(PANEL, k - p.at);
        ((geqrf_fn)j->call[0])(&rows, &p.width, element(&p, p.at, p.at), &ld,
                               p.tau + (int64_t)p.at * cb_itemsize(j->dtype), work, &j->lwork, &info);
        reflect(&p, n);
    }
}

/* orgqr: the first columns of Q instead of k reflections */
static void form_q(const cb_lapack *j, int m, int columns, int k, void *a, int ld, void *tau, void *work) {
    int64_t size = cb_itemsize(j->dtype);
    int info;
    if (k < LEAST) {
        ((orgqr_fn)j->call[1])(&m, &columns, &k, a, &ld, tau, work, &j->lwork, &info);
        return;
    }
    panel p = {.j = j, .a = a, .tau = tau, .trans = "N", .m = m, .ld = ld};
    for (int c = k; c < columns; c++) {
        memset(element(&p, 0, c), 0, (size_t)(m * size));
        memcpy(element(&p, c, c), cb_unit(j->dtype, false), (size_t)size);
    }
    for (p.at = (k - 1) / PANEL * PANEL; p.at >= 0; p.at -= PANEL) {
        int rows = m - p.at;
        p.width = CB_MIN(PANEL, k - p.at);
        reflect(&p, columns);
        ((orgqr_fn)j->call[1])(&rows, &p.width, &p.width, element(&p, p.at, p.at), &ld, p.tau + p.at * size,
                               work, &j->lwork, &info);
        for (int c = p.at; c < p.at + p.width; c++) memset(element(&p, 0, c), 0, (size_t)(p.at * size));
    }
}

static void start_panels(cb_lapack *j) {
    j->call[2] = cb_lapack_routine(j, "larft", NULL);
    j->call[3] = cb_lapack_routine(j, "larfb", NULL);
}

static void qr_one(const cb_lapack *j, int64_t item, char *scratch) {
    int m = j->m, n = j->n, k = CB_MIN(m, n), columns = j->k, ld = cb_leading(m);
    int64_t size = cb_itemsize(j->dtype);
    void *a = cb_carve(&scratch, size * m * CB_MAX(n, columns)), *tau = cb_carve(&scratch, size * k);
    char *r = cb_carve(&scratch, size * columns * n);
    int ldr = cb_leading(columns);
    cb_lapack_load(j, 0, item, a, ld);
    factorize(j, m, n, a, ld, tau, scratch);
    for (int64_t c = 0; c < n; c++)
        memcpy(r + c * ldr * size, (char *)a + c * ld * size, (size_t)(size * columns));
    cb_zero_triangle((int)size, r, ldr, columns, n, true);
    cb_lapack_store(j, 1, item, r, ldr);
    form_q(j, m, columns, k, a, ld, tau, scratch);
    cb_lapack_store(j, 0, item, a, ld);
}

static void qr_group(const cb_lapack *j, int64_t first, cb_small *s, char *scratch) {
    s->kind = CB_SMALL_QR;
    cb_small_operand(j, 0, first, false, s, &s->a);
    cb_small_result(j, 0, first, false, s, &s->x);
    cb_small_result(j, 1, first, false, s, &s->y);
    cb_small_run(s);
    cb_small_repair(j, first, s, scratch);
}

int cb_qr(cb_tensor *a, int complete, cb_tensor *out[2]) {
    cb_lapack j;
    CB_TRY(cb_lapack_start(&j, "qr", 1, &a, (int[]){2}));
    int k = CB_MIN(j.m, j.n);
    j.k = complete ? j.m : k; /* the columns of Q */
    cb_lapack_result(&j, j.dtype, j.m, j.k);
    cb_lapack_result(&j, j.dtype, j.k, j.n);
    int status = CB_OK;
    if (!cb_lapack_idle(&j)) {
        int64_t size = cb_itemsize(j.dtype);
        j.call[0] = cb_lapack_routine(&j, "geqrf", NULL);
        j.call[1] = cb_lapack_routine(&j, "orgqr", "ungqr");
        start_panels(&j);
        j.lwork = query_geqrf(&j, j.m, j.n);
        j.lwork = CB_MAX(j.lwork, query_orgqr(&j, j.m, j.k, k));
        j.scratch = cb_padded(size * j.m * CB_MAX(j.n, j.k)) + cb_padded(size * k) +
                    cb_padded(size * j.k * j.n) + size * j.lwork;
        j.work = 2.0 * j.m * j.n * k + (double)j.m * j.k * k;
        j.one = qr_one;
        j.group = qr_group;
        j.kind = CB_LAPACK_QR;
        status = cb_lapack_run(&j);
    }
    return cb_lapack_finish(&j, status, NULL, 0, "", out, 2);
}

static void geqrf_one(const cb_lapack *j, int64_t item, char *scratch) {
    int ld = cb_leading(j->m);
    void *a = cb_carve(&scratch, (int64_t)cb_itemsize(j->dtype) * j->m * j->n);
    cb_lapack_load(j, 0, item, a, ld);
    factorize(j, j->m, j->n, a, ld, cb_lapack_place(j, 1, item), scratch);
    cb_lapack_store(j, 0, item, a, ld);
}

int cb_geqrf(cb_tensor *a, cb_tensor *out[2]) {
    cb_lapack j;
    CB_TRY(cb_lapack_start(&j, "geqrf", 1, &a, (int[]){2}));
    int k = CB_MIN(j.m, j.n), status = CB_OK;
    cb_lapack_result(&j, j.dtype, j.m, j.n);
    cb_lapack_result(&j, j.dtype, k, -1);
    if (!cb_lapack_idle(&j)) {
        int64_t size = cb_itemsize(j.dtype);
        j.call[0] = cb_lapack_routine(&j, "geqrf", NULL);
        start_panels(&j);
        j.lwork = query_geqrf(&j, j.m, j.n);
        j.scratch = cb_padded(size * j.m * j.n) + size * j.lwork;
        j.work = 2.0 * j.m * j.n * k;
        j.one = geqrf_one;
        status = cb_lapack_run(&j);
    }
    return cb_lapack_finish(&j, status, NULL, 0, "", out, 2);
}

/* ---- products with reflections ---- */

static void householder_one(const cb_lapack *j, int64_t item, char *scratch) {
    int ld = cb_leading(j->m);
    int64_t size = cb_itemsize(j->dtype);
    void *a = cb_carve(&scratch, size * j->m * j->n), *tau = cb_carve(&scratch, size * j->k);
    cb_lapack_load(j, 0, item, a, ld);
    cb_lapack_load_vector(j, 1, item, tau);
    form_q(j, j->m, j->n, j->k, a, ld, tau, scratch);
    cb_lapack_store(j, 0, item, a, ld);
}

cb_tensor *cb_householder_product(cb_tensor *a, cb_tensor *tau) {
    cb_lapack j;
    cb_tensor *out;
    if (cb_lapack_start(&j, "householder_product", 2, (cb_tensor *[]){a, tau}, (int[]){2, 1})) return NULL;
    j.k = (int)tau->shape[tau->ndim - 1];
    if (j.m < j.n || j.k > j.n || tau->dtype != j.dtype)
        return cb_fail_null(CB_ERR_SHAPE,
                            "householder_product: expected [..., m, n] with m >= n and tau [..., at most n], "
                            "got %s and %s.",
                            cb_shape_of(a), cb_shape_of(tau));
    cb_lapack_result(&j, j.dtype, j.m, j.n);
    int status = CB_OK;
    if (!cb_lapack_idle(&j)) {
        int64_t size = cb_itemsize(j.dtype);
        j.call[1] = cb_lapack_routine(&j, "orgqr", "ungqr");
        start_panels(&j);
        j.lwork = query_orgqr(&j, j.m, j.n, j.k);
        j.scratch = cb_padded(size * j.m * j.n) + cb_padded(size * j.k) + size * j.lwork;
        j.work = 2.0 * j.m * j.n * j.k;
        j.one = householder_one;
        status = cb_lapack_run(&j);
    }
    return cb_lapack_finish(&j, status, NULL, 0, "", &out, 1) ? NULL : out;
}

static void ormqr_one(const cb_lapack *j, int64_t item, char *scratch) {
    const cb_tensor *a = j->in[0];
    int rows = (int)a->shape[a->ndim - 2], lda = cb_leading(rows), ldc = cb_leading(j->m), info;
    int64_t size = cb_itemsize(j->dtype);
    void *v = cb_carve(&scratch, size * rows * a->shape[a->ndim - 1]);
    void *tau = cb_carve(&scratch, size * j->k), *c = cb_carve(&scratch, size * j->m * j->n);
    cb_lapack_load(j, 0, item, v, lda);
    cb_lapack_load_vector(j, 1, item, tau);
    cb_lapack_load(j, 2, item, c, ldc);
    const char *trans = !j->flags[1] ? "N" : cb_is_complex(j->dtype) ? "C" : "T";
    ((ormqr_fn)j->call[0])(j->flags[0] ? "L" : "R", trans, &j->m, &j->n, &j->k, v, &lda, tau, c, &ldc,
                           scratch, &j->lwork, &info, 1, 1);
    cb_lapack_store(j, 0, item, c, ldc);
}

cb_tensor *cb_ormqr(cb_tensor *a, cb_tensor *tau, cb_tensor *c, int left, int trans) {
    cb_lapack j;
    cb_tensor *out;
    if (cb_lapack_start(&j, "ormqr", 3, (cb_tensor *[]){a, tau, c}, (int[]){2, 1, 2})) return NULL;
    int rows = j.m, columns = j.n;
    j.m = (int)c->shape[c->ndim - 2];
    j.n = (int)c->shape[c->ndim - 1];
    j.k = (int)tau->shape[tau->ndim - 1];
    if (rows != (left ? j.m : j.n) || j.k > columns || j.k > rows || tau->dtype != j.dtype)
        return cb_fail_null(CB_ERR_SHAPE,
                            "ormqr: expected reflectors [..., %d, n] and tau [..., at most n], got %s and %s "
                            "for a matrix of shape %s.",
                            left ? j.m : j.n, cb_shape_of(a), cb_shape_of(tau), cb_shape_of(c));
    cb_lapack_result(&j, j.dtype, j.m, j.n);
    int status = CB_OK;
    if (!cb_lapack_idle(&j)) {
        int64_t size = cb_itemsize(j.dtype);
        double answer[2] = {0}, any[2] = {0};
        int query = -1, info, lda = cb_leading(rows), ldc = cb_leading(j.m);
        j.call[0] = cb_lapack_routine(&j, "ormqr", "unmqr");
        j.flags[0] = left;
        j.flags[1] = trans;
        if (!j.failed)
            ((ormqr_fn)j.call[0])(left ? "L" : "R", "N", &j.m, &j.n, &j.k, any, &lda, any, any, &ldc, answer,
                                  &query, &info, 1, 1);
        j.lwork = CB_MAX(cb_lapack_queried(j.dtype, answer), cb_leading(CB_MAX(j.m, j.n)));
        j.scratch = cb_padded(size * rows * columns) + cb_padded(size * j.k) + cb_padded(size * j.m * j.n) +
                    size * j.lwork;
        j.work = 2.0 * j.m * j.n * j.k;
        j.one = ormqr_one;
        status = cb_lapack_run(&j);
    }
    return cb_lapack_finish(&j, status, NULL, 0, "", &out, 1) ? NULL : out;
}

/* ---- least squares ---- */

/* A vector divided by its length, which it gives. */
static double to_unit(int dtype, void *x, int64_t n) {
    double squares = 0;
    if (cb_is_complex(dtype)) n *= 2;
    if (cb_real_dtype(dtype) == CB_F64) {
        double *v = x;
        for (int64_t i = 0; i < n; i++) squares += v[i] * v[i];
        for (int64_t i = 0; i < n; i++) v[i] /= sqrt(squares);
    } else {
        float *v = x;
        for (int64_t i = 0; i < n; i++) squares += (double)v[i] * v[i];
        for (int64_t i = 0; i < n; i++) v[i] = (float)(v[i] / sqrt(squares));
    }
    return sqrt(squares);
}

/* Is the smallest singular value of R [n, n] surely above `share` times the largest? Powers of R^H R and of
 * its inverse times a vector of signs tell the one from above and the other from below, after LOOPS steps
 * within n^(1 / (4 LOOPS)) of them, about (for a vector without a part along theirs rounding gives it one);
 * MARGIN is for that. x: n numbers. */
static bool well_conditioned(const cb_lapack *j, int n, const void *r, int ldr, double share, void *x) {
    enum { LOOPS = 4, MARGIN = 4 };
    int64_t size = cb_itemsize(j->dtype);
    const char *adjoint = cb_is_complex(j->dtype) ? "C" : "T";
    double most = 0, least = 0;
    for (int inverse = 0; inverse < 2; inverse++) {
        cb_trsv_fn multiply = (cb_trsv_fn)j->call[inverse ? 1 : 4];
        uint32_t bits = 1;
        for (int i = 0; i < n; i++) {
            bits = bits * 1664525u + 1013904223u;
            memcpy((char *)x + i * size, cb_unit(j->dtype, bits >> 31), (size_t)size);
        }
        to_unit(j->dtype, x, n);
        for (int loop = 0; loop < LOOPS; loop++) {
            multiply("U", inverse ? adjoint : "N", "N", &n, r, &ldr, x, &(int){1}, 1, 1, 1);
            double first = to_unit(j->dtype, x, n);
            multiply("U", inverse ? "N" : adjoint, "N", &n, r, &ldr, x, &(int){1}, 1, 1, 1);
            *(inverse ? &least : &most) = sqrt(first * to_unit(j->dtype, x, n));
        }
    }
    return 1 / least > MARGIN * share * most; /* not for inf and nan */
}

/* Where R's condition leaves no doubt of full rank the solution is the one of gelsy, which pivots columns,
 * one at a time, to find the rank: R x = Q^H b, or of least norm, for A^H = Q R, x = Q (R^-H b). False: not
 * done. */
static bool full_rank(const cb_lapack *j, int64_t item, void *a, void *b, int ldb, void *tau, void *spare,
                      void *work) {
    bool wide = j->m < j->n;
    int rows = CB_MAX(j->m, j->n), n = CB_MIN(j->m, j->n), info;
    const char *adjoint = cb_is_complex(j->dtype) ? "C" : "T";
    if (wide)
        cb_lapack_load_rows(j, 0, item, a);
    else
        cb_lapack_load(j, 0, item, a, rows);
    if (wide && j->dtype == CB_C64)
        for (int64_t i = 0; i < (int64_t)rows * n; i++) ((float *)a)[2 * i + 1] *= -1;
    if (wide && j->dtype == CB_C128)
        for (int64_t i = 0; i < (int64_t)rows * n; i++) ((double *)a)[2 * i + 1] *= -1;
    factorize(j, rows, n, a, rows, tau, work);
    if (!well_conditioned(j, n, a, rows, j->number, spare)) return false;
    if (!wide)
        ((ormqr_fn)j->call[5])("L", adjoint, &rows, &j->k, &n, a, &rows, tau, b, &ldb, work, &j->lwork, &info,
                               1, 1);
    ((cb_trsm_fn)j->call[CB_TRSM])("L", "U", wide ? adjoint : "N", "N", &n, &j->k, cb_unit(j->dtype, false),
                                   a, &rows, b, &ldb, 1, 1, 1, 1);
    if (wide)
        ((ormqr_fn)j->call[5])("L", "N", &rows, &j->k, &n, a, &rows, tau, b, &ldb, work, &j->lwork, &info, 1,
                               1);
    return true;
}

static void lstsq_one(const cb_lapack *j, int64_t item, char *scratch) {
    int m = j->m, n = j->n, lda = cb_leading(m), ldb = cb_leading(CB_MAX(m, n)), rank = 0, info;
    int64_t size = cb_itemsize(j->dtype), real = cb_itemsize(cb_real_dtype(j->dtype));
    void *a = cb_carve(&scratch, size * m * n), *b = cb_carve(&scratch, size * ldb * j->k);
    int *order = cb_carve(&scratch, (int64_t)sizeof(int) * n);
    void *rwork = cb_carve(&scratch, 2 * real * n), *tau = cb_carve(&scratch, size * CB_MIN(m, n));
    void *spare = cb_carve(&scratch, size * CB_MIN(m, n));
    float narrow = (float)j->number;
    const void *rcond = real == 4 ? (const void *)&narrow : &j->number;
    memset(b, 0, (size_t)(size * ldb * j->k));
    cb_lapack_load(j, 1, item, b, ldb);
    if (CB_MIN(m, n) > 0 && full_rank(j, item, a, b, ldb, tau, spare, scratch)) {
        *(int64_t *)cb_lapack_place(j, 1, item) = CB_MIN(m, n);
        cb_lapack_store(j, 0, item, b, ldb);
        return;
    }
    cb_lapack_load(j, 0, item, a, lda);
    memset(order, 0, sizeof(int) * (size_t)n);
    if (cb_is_complex(j->dtype))
        ((cgelsy_fn)j->call[7])(&m, &n, &j->k, a, &lda, b, &ldb, order, rcond, &rank, scratch, &j->lwork,
                                rwork, &info);
    else
        ((gelsy_fn)j->call[7])(&m, &n, &j->k, a, &lda, b, &ldb, order, rcond, &rank, scratch, &j->lwork,
                               &info);
    *(int64_t *)cb_lapack_place(j, 1, item) = rank;
    cb_lapack_store(j, 0, item, b, ldb);
}

int cb_lstsq(cb_tensor *a, cb_tensor *b, double rcond, cb_tensor *out[2]) {
    cb_lapack j;
    out[0] = out[1] = NULL;
    CB_TRY(cb_lapack_start(&j, "lstsq", 2, (cb_tensor *[]){a, b}, (int[]){2, 2}));
    if (b->shape[b->ndim - 2] != j.m)
        return cb_fail(CB_ERR_SHAPE, "lstsq: expected right sides with %d rows, got shapes %s and %s.", j.m,
                       cb_shape_of(a), cb_shape_of(b));
    j.k = (int)b->shape[b->ndim - 1];
    cb_lapack_result(&j, j.dtype, j.n, j.k);
    cb_lapack_result(&j, CB_I64, -1, -1);
    int status = CB_OK;
    if (!cb_lapack_idle(&j)) {
        int64_t size = cb_itemsize(j.dtype), real = cb_itemsize(cb_real_dtype(j.dtype));
        double answer[2] = {0}, any[2] = {0};
        int query = -1, info, rank, integer = 0, lda = cb_leading(j.m), ldb = cb_leading(CB_MAX(j.m, j.n));
        j.call[0] = cb_lapack_routine(&j, "geqrf", NULL);
        start_panels(&j);
        j.call[1] = cb_lapack_routine(&j, "trsv", NULL);
        j.call[4] = cb_lapack_routine(&j, "trmv", NULL);
        j.call[5] = cb_lapack_routine(&j, "ormqr", "unmqr");
        j.call[CB_TRSM] = cb_lapack_routine(&j, "trsm", NULL);
        j.call[7] = cb_lapack_routine(&j, "gelsy", NULL);
        j.number = rcond;
        if (!j.failed && cb_is_complex(j.dtype))
            ((cgelsy_fn)j.call[7])(&j.m, &j.n, &j.k, any, &lda, any, &ldb, &integer, &rcond, &rank, answer,
                                   &query, any, &info);
        else if (!j.failed)
            ((gelsy_fn)j.call[7])(&j.m, &j.n, &j.k, any, &lda, any, &ldb, &integer, &rcond, &rank, answer,
                                  &query, &info);
        /* enough for the blocks of geqrf and ormqr */
        j.lwork = CB_MAX(cb_lapack_queried(j.dtype, answer), 64 * (64 + CB_MAX(j.n, j.k)));
        j.scratch = cb_padded(size * j.m * j.n) + cb_padded(size * ldb * j.k) +
                    cb_padded((int64_t)sizeof(int) * j.n) + cb_padded(2 * real * j.n) +
                    2 * cb_padded(size * CB_MIN(j.m, j.n)) + size * j.lwork;
        j.work = 3.0 * j.m * j.n * CB_MIN(j.m, j.n) + (double)j.m * j.n * j.k;
        j.one = lstsq_one;
        status = cb_lapack_run(&j);
    }
    return cb_lapack_finish(&j, status, NULL, 0, "", out, 2);
}
