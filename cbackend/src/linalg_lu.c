/* Factorizations by elimination: LU with what follows from it (solutions, inverse, determinant), LDL.
 *
 * Pivots are LAPACK's: int32, from 1, row k was swapped with row pivots[k]. */
#include <complex.h>
#include <math.h>

#include "linalg.h"

typedef void (*getrf_fn)(const int *m, const int *n, void *a, const int *lda, int *pivots, int *info);
typedef void (*getrs_fn)(const char *trans, const int *n, const int *k, const void *lu, const int *lda,
                         const int *pivots, void *b, const int *ldb, int *info, size_t);
typedef void (*getri_fn)(const int *n, void *a, const int *lda, const int *pivots, void *work,
                         const int *lwork, int *info);
typedef void (*swap_fn)(const int *n, void *x, const int *x_step, void *y, const int *y_step);
typedef void (*laswp_fn)(const int *n, void *a, const int *lda, const int *first, const int *last,
                         const int *pivots, const int *step);
typedef void (*sytrf_fn)(const char *uplo, const int *n, void *a, const int *lda, int *pivots, void *work,
                         const int *lwork, int *info, size_t);
typedef void (*sytrs_fn)(const char *uplo, const int *n, const int *k, const void *a, const int *lda,
                         const int *pivots, void *b, const int *ldb, int *info, size_t);

static int square(const cb_lapack *j) {
    if (j->m == j->n) return CB_OK;
    return cb_fail(CB_ERR_SHAPE, "%s: expected square matrices, got shape %s.", j->op, cb_shape_of(j->in[0]));
}

static int *info_at(const cb_lapack *j, int which, int64_t item) { return (int *)j->out[which]->data + item; }

/* ---- LU ---- */

/* By panels of PANEL columns; the columns right of one are swapped, solved and updated in pieces of COLUMNS,
 * side by side. Matrices below LEAST are one call of LAPACK, which is as fast. */
enum { PANEL = 32, COLUMNS = 64, LEAST = 256, SWAP_BYTES = 512 };
typedef struct panel {
    const cb_lapack *j;
    char *a;
    int m, n, ld, at, width;
    const int *pivots; /* of the whole matrix, from 1 */
} panel;

static char *element(const panel *p, int i, int k) {
    return p->a + (i + (int64_t)k * p->ld) * cb_itemsize(p->j->dtype);
}

/* rows [first, last] (from 1) of these columns change places */
static void swap_rows(const panel *p, int column, int count, int first, int last) {
    ((laswp_fn)p->j->call[2])(&count, element(p, 0, column), &p->ld, &first, &last, p->pivots, &(int){1});
}

static void update_columns(void *context, int64_t begin, int64_t end) {
    const panel *p = context;
    const cb_lapack *j = p->j;
    int next = p->at + p->width, first = next + (int)begin, count = (int)(end - begin), below = p->m - next;
    swap_rows(p, first, count, p->at + 1, next);
    ((cb_trsm_fn)j->call[3])("L", "L", "N", "U", &p->width, &count, cb_unit(j->dtype, false),
                             element(p, p->at, p->at), &p->ld, element(p, p->at, first), &p->ld, 1, 1, 1, 1);
    if (below > 0)
        ((cb_gemm_fn)j->call[4])("N", "N", &below, &count, &p->width, cb_unit(j->dtype, true),
                                 element(p, next, p->at), &p->ld, element(p, p->at, first), &p->ld,
                                 cb_unit(j->dtype, false), element(p, next, first), &p->ld, 1, 1);
}

/* what the panels after theirs swapped */
static void swap_left(void *context, int64_t begin, int64_t end) {
    const panel *p = context;
    int rank = CB_MIN(p->m, p->n), done = ((int)begin / PANEL + 1) * PANEL;
    if (done < rank) swap_rows(p, (int)begin, (int)(end - begin), done + 1, rank);
}

/* getrf */
static void factorize(const cb_lapack *j, int m, int n, void *a, int ld, int *pivots, int *info) {
    int rank = CB_MIN(m, n);
    if (rank < LEAST) {
        ((getrf_fn)j->call[0])(&m, &n, a, &ld, pivots, info);
        return;
    }
    panel p = {.j = j, .a = a, .m = m, .n = n, .ld = ld, .pivots = pivots};
    *info = 0;
    for (; p.at < rank; p.at += p.width) {
        int rows = m - p.at, failed;
        p.width = CB_MIN(PANEL, rank - p.at);
        ((getrf_fn)j->call[0])(&rows, &p.width, element(&p, p.at, p.at), &ld, pivots + p.at, &failed);
        if (failed && !*info) *info = failed + p.at;
        for (int i = p.at; i < p.at + p.width; i++) pivots[i] += p.at;
        cb_parallel(n - p.at - p.width, COLUMNS, update_columns, &p);
    }
    cb_parallel(rank, PANEL, swap_left, &p);
}

/* the routines that it calls */
static void start_factorize(cb_lapack *j, int m, int n) {
    j->call[0] = cb_lapack_best(j, CB_MAX(m, n), CB_GETRF);
    if (CB_MIN(m, n) < LEAST) return;
    j->call[2] = cb_lapack_routine(j, "laswp", NULL);
    j->call[3] = cb_lapack_routine(j, "trsm", NULL);
    j->call[4] = cb_lapack_routine(j, "gemm", NULL);
}

static void lu_factor_one(const cb_lapack *j, int64_t item, char *scratch) {
    int ld = cb_leading(j->m);
    cb_lapack_load(j, 0, item, scratch, ld);
    factorize(j, j->m, j->n, scratch, ld, cb_lapack_place(j, 1, item), info_at(j, 2, item));
    cb_lapack_store(j, 0, item, scratch, ld);
}

static void lu_factor_group(const cb_lapack *j, int64_t first, cb_small *s, char *scratch) {
    s->kind = CB_SMALL_LU;
    cb_small_operand(j, 0, first, false, s, &s->a);
    cb_small_result(j, 0, first, false, s, &s->x);
    for (int l = 0; l < s->count; l++) s->pivots[l] = cb_lapack_place(j, 1, first + l);
    cb_small_run(s);
    for (int l = 0; l < s->count; l++) *info_at(j, 2, first + l) = 0;
    cb_small_repair(j, first, s, scratch);
}

int cb_lu_factor(cb_tensor *a, const char *check, cb_tensor *out[3]) {
    cb_lapack j;
    CB_TRY(cb_lapack_start(&j, "lu_factor", 1, &a, (int[]){2}));
    cb_lapack_result(&j, j.dtype, j.m, j.n);
    cb_lapack_result(&j, CB_I32, CB_MIN(j.m, j.n), -1);
    cb_lapack_result(&j, CB_I32, -1, -1);
    int status = CB_OK;
    if (!cb_lapack_idle(&j)) {
        start_factorize(&j, j.m, j.n);
        j.scratch = (int64_t)cb_itemsize(j.dtype) * j.m * j.n;
        j.work = (double)j.m * j.n * CB_MIN(j.m, j.n);
        j.one = lu_factor_one;
        j.kind = CB_LAPACK_LU;
        j.group = j.m == j.n ? lu_factor_group : NULL;
        status = cb_lapack_run(&j);
    }
    return cb_lapack_finish(&j, status, check, 2, "invertible matrices", out, 3);
}

static void lu_solve_small(const cb_lapack *j, int64_t item, char *scratch) {
    int ld = cb_leading(j->n), size = cb_itemsize(j->dtype), info;
    void *lu = cb_carve(&scratch, (int64_t)size * j->n * j->n);
    int *pivots = cb_carve(&scratch, (int64_t)sizeof(int) * j->n);
    cb_lapack_load(j, 0, item, lu, ld);
    cb_lapack_load_vector(j, 1, item, pivots);
    cb_lapack_load(j, 2, item, scratch, ld);
    ((getrs_fn)j->call[0])(&"NTC"[j->flags[0]], &j->n, &j->k, lu, &ld, pivots, scratch, &ld, &info, 1);
    cb_lapack_store(j, 0, item, scratch, ld);
}

typedef struct right_sides {
    cb_triangle lower, upper;
    const int *pivots;
} right_sides;

/* row i of these columns and row pivots[i] change places, in the order of i or, `back`, against it */
static void swap_columns_of_rows(const right_sides *r, int64_t begin, int64_t end, bool back) {
    const cb_triangle *t = &r->lower;
    int64_t size = cb_itemsize(t->j->dtype), row = size * t->n, left = size * (end - begin);
    for (char *x = t->x + begin * size; left > 0; x += SWAP_BYTES, left -= SWAP_BYTES) {
        size_t bytes = (size_t)CB_MIN(left, SWAP_BYTES);
        char spare[SWAP_BYTES];
        for (int step = 0; step < t->m; step++) {
            int i = back ? t->m - 1 - step : step, other = r->pivots[i] - 1;
            if (other == i) continue;
            memcpy(spare, x + i * row, bytes);
            memcpy(x + i * row, x + other * row, bytes);
            memcpy(x + other * row, spare, bytes);
        }
    }
}

static void lu_solve_piece(void *context, int64_t begin, int64_t end) {
    const right_sides *r = context;
    bool back = r->lower.trans;
    if (!back) swap_columns_of_rows(r, begin, end, false);
    cb_triangle_solve(back ? &r->upper : &r->lower, begin, end);
    cb_triangle_solve(back ? &r->lower : &r->upper, begin, end);
    if (back) swap_columns_of_rows(r, begin, end, true);
}

static void lu_solve_one(const cb_lapack *j, int64_t item, char *scratch) {
    int *pivots = cb_carve(&scratch, (int64_t)sizeof(int) * j->n);
    right_sides r = {.pivots = pivots,
                     .lower = {.j = j,
                               .left = true,
                               .unit = true,
                               .trans = j->flags[0],
                               .x = cb_lapack_place(j, 0, item),
                               .m = j->n,
                               .n = j->k}};
    cb_lapack_load_vector(j, 1, item, pivots);
    cb_triangle_operand(&r.lower, 0, item, scratch);
    cb_lapack_load_rows(j, 2, item, r.lower.x);
    r.upper = r.lower;
    r.upper.unit = false;
    r.upper.upper = true;
    cb_parallel(j->k, cb_triangle_grain(2 * (int64_t)j->n, j->k), lu_solve_piece, &r);
}

static void lu_solve_group(const cb_lapack *j, int64_t first, cb_small *s, char *scratch) {
    int32_t pivots[CB_SMALL_LANES][CB_GROUP_ORDER];
    (void)scratch;
    s->kind = CB_SMALL_LU_SOLVE;
    s->transposed = j->flags[0] != 0;
    cb_small_operand(j, 0, first, false, s, &s->a);
    cb_small_operand(j, 2, first, false, s, &s->b);
    cb_small_result(j, 0, first, false, s, &s->x);
    for (int l = 0; l < CB_SMALL_LANES; l++) {
        int own = CB_MIN(l, s->count - 1);
        if (j->in_step[1]) {
            s->pivots[l] = (int32_t *)cb_lapack_at(j, 1, 1, first + own);
        } else {
            if (l == own) cb_lapack_load_vector(j, 1, first + l, pivots[l]);
            s->pivots[l] = pivots[own];
        }
    }
    cb_small_run(s);
}

static int check_rows(const cb_lapack *j, const cb_tensor *b, int rows) {
    if (b->shape[b->ndim - 2] == rows) return CB_OK;
    return cb_fail(CB_ERR_SHAPE, "%s: expected right sides [..., %d, k] for matrices of shape %s, got %s.",
                   j->op, rows, cb_shape_of(j->in[0]), cb_shape_of(b));
}

static int check_pivots(const cb_lapack *j, const cb_tensor *pivots, int n) {
    if (pivots->dtype == CB_I32 && pivots->shape[pivots->ndim - 1] == n) return CB_OK;
    return cb_fail(CB_ERR_SHAPE, "%s: expected int32 pivots [..., %d], got %s %s.", j->op, n,
                   cb_dtypes[pivots->dtype].name, cb_shape_of(pivots));
}

/* LAPACK would write outside the matrix */
static int check_range(const cb_lapack *j, cb_tensor *pivots, int n) {
    if (cb_is_meta(pivots)) return CB_OK;
    cb_tensor *host = cb_to_device(pivots, CB_CPU), *dense = host ? cb_contiguous(host) : NULL;
    cb_release(host);
    if (!dense) return cb_error_code();
    const int32_t *p = dense->data;
    int status = CB_OK;
    int32_t low = 1, high = 1;
    for (int64_t i = 0; i < dense->numel; i++) {
        int32_t v = p[i] ? p[i] : INT32_MIN;
        low = CB_MIN(low, v);
        high = CB_MAX(high, v);
    }
    for (int64_t i = 0; (low < -n || high > n) && i < dense->numel && !status; i++)
        if (p[i] == 0 || p[i] > n || p[i] < -n)
            status = cb_fail(CB_ERR_VALUE, "%s: expected pivots from 1 to %d, got %d.", j->op, n, (int)p[i]);
    cb_release(dense);
    return status;
}

cb_tensor *cb_lu_solve(cb_tensor *lu, cb_tensor *pivots, cb_tensor *b, int trans) {
    cb_lapack j;
    cb_tensor *out;
    if (cb_lapack_start(&j, "lu_solve", 3, (cb_tensor *[]){lu, pivots, b}, (int[]){2, 1, 2}) || square(&j) ||
        check_pivots(&j, pivots, j.n) || check_range(&j, pivots, j.n) || check_rows(&j, b, j.n))
        return NULL;
    j.k = (int)b->shape[b->ndim - 1];
    cb_lapack_result(&j, j.dtype, j.n, j.k);
    int status = CB_OK;
    if (!cb_lapack_idle(&j)) {
        int64_t size = cb_itemsize(j.dtype);
        bool is_small = CB_MAX(j.n, j.k) <= CB_SMALL_ORDER;
        j.flags[0] = trans;
        if (is_small)
            j.call[0] = cb_small_routine(j.dtype, CB_GETRS);
        else
            cb_triangle_start(&j);
        j.scratch = cb_padded(size * j.n * j.n) + cb_padded((int64_t)sizeof(int) * j.n) + size * j.n * j.k;
        j.work = (double)j.n * j.n * (j.k + 1);
        j.one = is_small ? lu_solve_small : lu_solve_one;
        j.kind = CB_LAPACK_LU_SOLVE;
        j.group = lu_solve_group;
        status = cb_lapack_run(&j);
    }
    return cb_lapack_finish(&j, status, NULL, 0, "", &out, 1) ? NULL : out;
}

static void permutation_one(const cb_lapack *j, int64_t item, char *scratch) {
    int *pivots = (int *)scratch;
    int64_t *p = cb_lapack_place(j, 0, item);
    cb_lapack_load_vector(j, 0, item, pivots);
    for (int i = 0; i < j->m; i++) p[i] = i;
    for (int i = 0; i < j->k; i++) {
        int64_t other = p[pivots[i] - 1];
        p[pivots[i] - 1] = p[i];
        p[i] = other;
    }
}

cb_tensor *cb_lu_permutation(cb_tensor *pivots, int64_t m) {
    if (!pivots) return cb_fail_null(CB_ERR_NULL, "lu_unpack: no tensor");
    if (pivots->dtype != CB_I32 || pivots->ndim < 1 || pivots->shape[pivots->ndim - 1] > m)
        return cb_fail_null(CB_ERR_SHAPE, "lu_unpack: expected int32 pivots [..., at most %lld], got %s %s.",
                            (long long)m, cb_dtypes[pivots->dtype].name, cb_shape_of(pivots));
    cb_lapack j = {.op = "lu_unpack", .device = pivots->device, .dtype = CB_I32, .nin = 1, .count = 1};
    cb_tensor *out;
    j.in[0] = pivots;
    j.nbatch = pivots->ndim - 1;
    j.m = (int)m;
    j.k = (int)pivots->shape[j.nbatch];
    if (check_range(&j, pivots, j.m)) return NULL;
    for (int d = 0; d < j.nbatch; d++) j.count *= j.batch[d] = pivots->shape[d];
    cb_lapack_result(&j, CB_I64, m, -1);
    int status = CB_OK;
    if (!cb_lapack_idle(&j)) {
        j.scratch = (int64_t)sizeof(int) * j.k;
        j.work = j.m * 2.0;
        j.one = permutation_one;
        status = cb_lapack_run(&j);
    }
    return cb_lapack_finish(&j, status, NULL, 0, "", &out, 1) ? NULL : out;
}

static void inv_small(const cb_lapack *j, int64_t item, char *scratch) {
    int ld = cb_leading(j->n), *info = info_at(j, 1, item), none = 0;
    void *a = cb_carve(&scratch, (int64_t)cb_itemsize(j->dtype) * j->n * j->n);
    int *pivots = (int *)scratch;
    cb_lapack_load(j, 0, item, a, ld);
    factorize(j, j->n, j->n, a, ld, pivots, info);
    if (*info == 0) ((getri_fn)j->call[1])(&j->n, a, &ld, pivots, NULL, &none, info);
    cb_lapack_store(j, 0, item, a, ld);
}

typedef struct inversion {
    const cb_lapack *j;
    const char *lu;
    const int *pivots;
    char *x;
} inversion;

/* These rows of X with X P L U = 1, by columns; those of U^-1 begin with zeros. */
static void inv_piece(void *context, int64_t begin, int64_t end) {
    const inversion *v = context;
    const cb_lapack *j = v->j;
    int n = j->n, rows = (int)(end - begin), left = n - (int)begin;
    int64_t size = cb_itemsize(j->dtype), column = n * size, bytes = rows * size;
    const void *one = cb_unit(j->dtype, false);
    char *x = v->x + begin * size;
    for (int64_t c = 0; c < n; c++) {
        memset(x + c * column, 0, (size_t)bytes);
        if (begin <= c && c < end) memcpy(x + c * column + (c - begin) * size, one, (size_t)size);
    }
    ((cb_trsm_fn)j->call[3])("R", "U", "N", "N", &rows, &left, one, v->lu + begin * (column + size), &n,
                             x + begin * column, &n, 1, 1, 1, 1);
    ((cb_trsm_fn)j->call[3])("R", "L", "N", "U", &rows, &n, one, v->lu, &n, x, &n, 1, 1, 1, 1);
    for (int c = n - 1; c >= 0; c--)
        if (v->pivots[c] != c + 1)
            ((swap_fn)j->call[1])(&rows, x + c * column, &(int){1}, x + (v->pivots[c] - 1) * column,
                                  &(int){1});
}

/* By rows A is A^T to LAPACK, and the inverse of that the transpose of A's. */
static void inv_one(const cb_lapack *j, int64_t item, char *scratch) {
    int n = j->n, *info = info_at(j, 1, item);
    void *a = cb_carve(&scratch, (int64_t)cb_itemsize(j->dtype) * n * n);
    inversion v = {.j = j, .lu = a, .pivots = (int *)scratch, .x = cb_lapack_place(j, 0, item)};
    cb_lapack_load_rows(j, 0, item, a);
    factorize(j, n, n, a, n, (int *)scratch, info);
    if (*info == 0)
        cb_parallel(n, cb_triangle_grain(2 * (int64_t)n, n), inv_piece, &v);
    else
        memcpy(v.x, a, (size_t)cb_itemsize(j->dtype) * (size_t)n * (size_t)n);
}

static void inv_group(const cb_lapack *j, int64_t first, cb_small *s, char *scratch) {
    s->kind = CB_SMALL_INVERSE;
    cb_small_operand(j, 0, first, false, s, &s->a);
    cb_small_result(j, 0, first, false, s, &s->x);
    cb_small_run(s);
    for (int l = 0; l < s->count; l++) *info_at(j, 1, first + l) = 0;
    cb_small_repair(j, first, s, scratch);
}

int cb_inv(cb_tensor *a, const char *check, cb_tensor *out[2]) {
    cb_lapack j;
    CB_TRY(cb_lapack_start(&j, "inv", 1, &a, (int[]){2}));
    CB_TRY(square(&j));
    cb_lapack_result(&j, j.dtype, j.n, j.n);
    cb_lapack_result(&j, CB_I32, -1, -1);
    int status = CB_OK;
    if (!cb_lapack_idle(&j)) {
        bool is_small = j.n <= CB_SMALL_ORDER;
        start_factorize(&j, j.n, j.n);
        if (is_small) {
            j.call[1] = cb_small_routine(j.dtype, CB_GETRI);
        } else {
            j.call[1] = cb_lapack_routine(&j, "swap", NULL);
            j.call[3] = cb_lapack_routine(&j, "trsm", NULL);
        }
        j.scratch = cb_padded((int64_t)cb_itemsize(j.dtype) * j.n * j.n) + (int64_t)sizeof(int) * j.n;
        j.work = 2.0 * j.n * j.n * j.n;
        j.one = is_small ? inv_small : inv_one;
        j.kind = CB_LAPACK_INVERSE;
        j.group = inv_group;
        status = cb_lapack_run(&j);
    }
    return cb_lapack_finish(&j, status, check, 1, "invertible matrices", out, 2);
}

/* ---- determinant ---- */

static cb_complex128 get(int dtype, const void *data, int64_t i) {
    return dtype == CB_F32   ? ((const float *)data)[i]
           : dtype == CB_F64 ? ((const double *)data)[i]
           : dtype == CB_C64 ? ((const cb_complex64 *)data)[i]
                             : ((const cb_complex128 *)data)[i];
}

static void put(int dtype, void *data, int64_t i, cb_complex128 value) {
    if (dtype == CB_F32)
        ((float *)data)[i] = (float)creal(value);
    else if (dtype == CB_F64)
        ((double *)data)[i] = creal(value);
    else if (dtype == CB_C64)
        ((cb_complex64 *)data)[i] = (cb_complex64)value;
    else
        ((cb_complex128 *)data)[i] = value;
}

/* Zero pivots become tiny ones in the LU given back: solving with it and multiplying by the determinant
 * changed likewise gives the adjugate, which a singular matrix has too. */
static void det_one(const cb_lapack *j, int64_t item, char *scratch) {
    int ld = cb_leading(j->n), info, *pivots = cb_lapack_place(j, 5, item), d = j->dtype;
    cb_lapack_load(j, 0, item, scratch, ld);
    factorize(j, j->n, j->n, scratch, ld, pivots, &info);
    double largest = 0, log_abs = 0;
    for (int i = 0; i < j->n; i++) largest = fmax(largest, cabs(get(d, scratch, i + (int64_t)i * ld)));
    double tiny = (cb_real_dtype(d) == CB_F64 ? 0x1p-52 : 0x1p-23) * (largest > 0 ? largest : 1);
    cb_complex128 det = 1, replaced = 1, sign = 1;
    for (int i = 0; i < j->n; i++) {
        cb_complex128 u = get(d, scratch, i + (int64_t)i * ld);
        double size = cabs(u);
        if (pivots[i] != i + 1) det = -det, replaced = -replaced, sign = -sign;
        det *= u;
        replaced *= size == 0 ? tiny : u;
        sign *= size == 0 ? 0 : u / size;
        log_abs += log(size);
        if (size == 0) put(d, scratch, i + (int64_t)i * ld, tiny);
    }
    bool singular = log_abs == -INFINITY;
    put(d, cb_lapack_place(j, 0, item), 0, det);
    put(d, cb_lapack_place(j, 1, item), 0, sign);
    put(cb_real_dtype(d), cb_lapack_place(j, 2, item), 0, log_abs);
    put(d, cb_lapack_place(j, 3, item), 0, singular ? replaced - det : 0);
    cb_lapack_store(j, 4, item, scratch, ld);
}

static void det_group(const cb_lapack *j, int64_t first, cb_small *s, char *scratch) {
    s->kind = CB_SMALL_DET;
    cb_small_operand(j, 0, first, false, s, &s->a);
    cb_small_result(j, 4, first, false, s, &s->x);
    for (int l = 0; l < s->count; l++) s->pivots[l] = cb_lapack_place(j, 5, first + l);
    cb_small_run(s);
    for (int l = 0; l < s->count; l++) {
        put(j->dtype, j->out[0]->data, first + l, s->det[l]);
        put(j->dtype, j->out[1]->data, first + l, s->sign[l]);
        put(j->dtype, j->out[2]->data, first + l, s->log_abs[l]);
        put(j->dtype, j->out[3]->data, first + l, 0);
    }
    cb_small_repair(j, first, s, scratch);
}

int cb_det(cb_tensor *a, cb_tensor *out[6]) {
    cb_lapack j;
    CB_TRY(cb_lapack_start(&j, "det", 1, &a, (int[]){2}));
    CB_TRY(square(&j));
    cb_lapack_result(&j, j.dtype, -1, -1);
    cb_lapack_result(&j, j.dtype, -1, -1);
    cb_lapack_result(&j, cb_real_dtype(j.dtype), -1, -1);
    cb_lapack_result(&j, j.dtype, -1, -1);
    cb_lapack_result(&j, j.dtype, j.n, j.n);
    cb_lapack_result(&j, CB_I32, j.n, -1);
    int status = CB_OK;
    if (!cb_lapack_idle(&j)) {
        start_factorize(&j, j.n, j.n);
        j.scratch = (int64_t)cb_itemsize(j.dtype) * j.n * j.n;
        j.work = (double)j.n * j.n * j.n;
        j.one = det_one;
        j.kind = CB_LAPACK_DET;
        j.group = det_group;
        status = cb_lapack_run(&j);
    }
    return cb_lapack_finish(&j, status, NULL, 0, "", out, 6);
}

/* ---- LDL ---- */

static void ldl_factor_one(const cb_lapack *j, int64_t item, char *scratch) {
    int ld = cb_leading(j->n), size = cb_itemsize(j->dtype);
    void *a = cb_carve(&scratch, (int64_t)size * j->n * j->n);
    cb_lapack_load(j, 0, item, a, ld);
    ((sytrf_fn)j->call[0])("L", &j->n, a, &ld, cb_lapack_place(j, 1, item), scratch, &j->lwork,
                           info_at(j, 2, item), 1);
    cb_zero_triangle(size, a, ld, j->n, j->n, false);
    cb_lapack_store(j, 0, item, a, ld);
}

int cb_ldl_factor(cb_tensor *a, int hermitian, const char *check, cb_tensor *out[3]) {
    cb_lapack j;
    CB_TRY(cb_lapack_start(&j, "ldl_factor", 1, &a, (int[]){2}));
    CB_TRY(square(&j));
    cb_lapack_result(&j, j.dtype, j.n, j.n);
    cb_lapack_result(&j, CB_I32, j.n, -1);
    cb_lapack_result(&j, CB_I32, -1, -1);
    int status = CB_OK;
    if (!cb_lapack_idle(&j)) {
        int64_t size = cb_itemsize(j.dtype);
        double answer[2] = {0}, any[2] = {0};
        int query = -1, info, integer = 0, ld = cb_leading(j.n);
        j.call[0] = cb_lapack_routine(&j, "sytrf", hermitian ? "hetrf" : NULL);
        if (!j.failed) ((sytrf_fn)j.call[0])("L", &j.n, any, &ld, &integer, answer, &query, &info, 1);
        j.lwork = CB_MAX(cb_lapack_queried(j.dtype, answer), 1);
        j.scratch = cb_padded(size * j.n * j.n) + size * j.lwork;
        j.work = 0.5 * j.n * j.n * j.n;
        j.one = ldl_factor_one;
        status = cb_lapack_run(&j);
    }
    return cb_lapack_finish(&j, status, check, 2, "matrices with an invertible D", out, 3);
}

static void ldl_solve_one(const cb_lapack *j, int64_t item, char *scratch) {
    int ld = cb_leading(j->n), info;
    void *a = cb_carve(&scratch, (int64_t)cb_itemsize(j->dtype) * j->n * j->n);
    int *pivots = cb_carve(&scratch, (int64_t)sizeof(int) * j->n);
    cb_lapack_load(j, 0, item, a, ld);
    cb_lapack_load_vector(j, 1, item, pivots);
    cb_lapack_load(j, 2, item, scratch, ld);
    ((sytrs_fn)j->call[0])("L", &j->n, &j->k, a, &ld, pivots, scratch, &ld, &info, 1);
    cb_lapack_store(j, 0, item, scratch, ld);
}

cb_tensor *cb_ldl_solve(cb_tensor *ld, cb_tensor *pivots, cb_tensor *b, int hermitian) {
    cb_lapack j;
    cb_tensor *out;
    if (cb_lapack_start(&j, "ldl_solve", 3, (cb_tensor *[]){ld, pivots, b}, (int[]){2, 1, 2}) || square(&j) ||
        check_pivots(&j, pivots, j.n) || check_range(&j, pivots, j.n) || check_rows(&j, b, j.n))
        return NULL;
    j.k = (int)b->shape[b->ndim - 1];
    cb_lapack_result(&j, j.dtype, j.n, j.k);
    int status = CB_OK;
    if (!cb_lapack_idle(&j)) {
        int64_t size = cb_itemsize(j.dtype);
        j.call[0] = cb_lapack_routine(&j, "sytrs", hermitian ? "hetrs" : NULL);
        j.scratch = cb_padded(size * j.n * j.n) + cb_padded((int64_t)sizeof(int) * j.n) + size * j.n * j.k;
        j.work = (double)j.n * j.n * (j.k + 1);
        j.one = ldl_solve_one;
        status = cb_lapack_run(&j);
    }
    return cb_lapack_finish(&j, status, NULL, 0, "", &out, 1) ? NULL : out;
}
