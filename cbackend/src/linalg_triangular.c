/* Cholesky factors and triangular systems. */
#include <limits.h>

#include "linalg.h"

typedef void (*potrf_fn)(const char *uplo, const int *n, void *a, const int *lda, int *info, size_t);
static int square(const cb_lapack *j) {
    if (j->m == j->n) return CB_OK;
    return cb_fail(CB_ERR_SHAPE, "%s: expected square matrices, got shape %s.", j->op, cb_shape_of(j->in[0]));
}

/* The triangle of a matrix by rows that is read becomes the lower one. */
static void to_lower(int dtype, void *a, int n, int part) {
#define COMBINE(T, conjugate)                                                  \
    for (int64_t i = 0; i < n; i++)                                            \
        for (int64_t k = 0; k <= i; k++) {                                     \
            T *low = (T *)a + i * n + k, high = ((T *)a)[k * n + i];           \
            *low = part == 1 ? conjugate(high) : (*low + conjugate(high)) / 2; \
        }
    if (part == 0) return;
    if (dtype == CB_F32) {
        COMBINE(float, )
    } else if (dtype == CB_F64) {
        COMBINE(double, )
    } else if (dtype == CB_C64) {
        COMBINE(cb_complex64, __builtin_conjf)
    } else {
        COMBINE(cb_complex128, __builtin_conj)
    }
#undef COMBINE
}

/* Cholesky in place by panels of PANEL columns, of which pieces of ROWS rows are done side by side. A
 * triangle that is the lower one by rows is the upper one to LAPACK, and a piece of rows one of columns. */
enum { PANEL = 96, ROWS = 96, LEAST = 4 * PANEL /* what one call of LAPACK does as fast */ };
typedef struct panel {
    const cb_lapack *j;
    char *a;
    int at, width; /* the panel's columns; rows below them are left */
} panel;

static char *element(const panel *p, int i, int k) {
    return p->a + ((int64_t)i * p->j->n + k) * cb_itemsize(p->j->dtype);
}

static void solve_rows(void *context, int64_t begin, int64_t end) {
    const panel *p = context;
    const cb_lapack *j = p->j;
    int first = p->at + p->width + (int)begin, count = (int)(end - begin);
    ((cb_trsm_fn)j->call[1])("L", "U", "C", "N", &p->width, &count, cb_unit(j->dtype, false),
                             element(p, p->at, p->at), &j->n, element(p, first, p->at), &j->n, 1, 1, 1, 1);
}

static void update_rows(void *context, int64_t begin, int64_t end) {
    const panel *p = context;
    const cb_lapack *j = p->j;
    int left = p->at + p->width, first = left + (int)begin, count = (int)(end - begin), columns = (int)end;
    ((cb_gemm_fn)j->call[2])("C", "N", &columns, &count, &p->width, cb_unit(j->dtype, true),
                             element(p, left, p->at), &j->n, element(p, first, p->at), &j->n,
                             cb_unit(j->dtype, false), element(p, first, left), &j->n, 1, 1);
}

static void cholesky_one(const cb_lapack *j, int64_t item, char *scratch) {
    int n = j->n, ld = cb_leading(n), *info = (int *)j->out[1]->data + item;
    panel p = {.j = j, .a = cb_lapack_place(j, 0, item)};
    (void)scratch;
    cb_lapack_load_rows(j, 0, item, p.a);
    to_lower(j->dtype, p.a, n, j->flags[0]);
    *info = 0;
    for (; p.at < n && !*info; p.at += p.width) {
        p.width = n < LEAST ? n : CB_MIN(PANEL, n - p.at);
        ((potrf_fn)j->call[0])("U", &p.width, element(&p, p.at, p.at), &ld, info, 1);
        if (*info) *info += p.at;
        int below = n - p.at - p.width;
        if (*info || !below) break;
        cb_parallel(below, ROWS, solve_rows, &p);
        cb_parallel(below, ROWS, update_rows, &p);
    }
    cb_zero_triangle(cb_itemsize(j->dtype), p.a, ld, n, n, true);
}

static void cholesky_group(const cb_lapack *j, int64_t first, cb_small *s, char *scratch) {
    s->kind = CB_SMALL_CHOLESKY;
    s->part = j->flags[0];
    cb_small_operand(j, 0, first, s->part == 1, s, &s->a);
    cb_small_result(j, 0, first, false, s, &s->x);
    cb_small_run(s);
    for (int l = 0; l < s->count; l++) ((int *)j->out[1]->data)[first + l] = 0;
    cb_small_repair(j, first, s, scratch);
}

int cb_cholesky(cb_tensor *a, int part, const char *check, cb_tensor *out[2]) {
    cb_lapack j;
    CB_TRY(cb_lapack_start(&j, "cholesky", 1, &a, (int[]){2}));
    CB_TRY(square(&j));
    cb_lapack_result(&j, j.dtype, j.n, j.n);
    cb_lapack_result(&j, CB_I32, -1, -1);
    int status = CB_OK;
    if (!cb_lapack_idle(&j)) {
        j.call[0] = cb_lapack_best(&j, j.n, CB_POTRF);
        if (j.n >= LEAST) {
            j.call[1] = cb_lapack_routine(&j, "trsm", NULL);
            j.call[2] = cb_lapack_routine(&j, "gemm", NULL);
        }
        j.flags[0] = part;
        j.work = 0.5 * j.n * j.n * j.n;
        j.one = cholesky_one;
        j.kind = CB_LAPACK_CHOLESKY;
        j.group = cholesky_group;
        status = cb_lapack_run(&j);
    }
    return cb_lapack_finish(&j, status, check, 1, "positive-definite matrices", out, 2);
}

/* ---- triangular systems ---- */

void cb_triangle_start(cb_lapack *j) {
    j->call[CB_TRSM] = cb_lapack_routine(j, "trsm", NULL);
    j->call[CB_TRSV] = cb_lapack_routine(j, "trsv", NULL);
}

void cb_triangle_operand(cb_triangle *t, int which, int64_t item, void *scratch) {
    const cb_tensor *x = t->j->in[which];
    int64_t n = x->shape[x->ndim - 1], row = x->strides[x->ndim - 2], col = x->strides[x->ndim - 1];
    bool conjugated = t->trans == 2 && cb_is_complex(x->dtype); /* not without transposing */
    t->a = cb_lapack_at(t->j, which, 2, item);
    t->by_columns = row == 1 && col >= n && col <= INT_MAX && !conjugated;
    t->ld = t->by_columns ? col : row;
    if (t->by_columns || (col == 1 && row >= n && row <= INT_MAX)) return;
    cb_lapack_load_rows(t->j, which, item, scratch);
    t->a = scratch;
    t->ld = n;
}

int64_t cb_triangle_grain(int64_t n, int64_t sides) {
    enum { WIDE = 100, LEAST = 200000 /* multiplications: about 10 us */ };
    int64_t pieces = CB_MIN(n * n / 2 * sides / LEAST, ((sides - 1) / WIDE + 2) / 2 * 2);
    pieces = CB_MAX(pieces, 1);
    return CB_MAX((sides + pieces - 1) / pieces, 1);
}

/* To BLAS x is x^T, and a matrix by rows its transpose: x^T op(a)^T = b^T, with op(a)^T = op(a^T). */
void cb_triangle_solve(const cb_triangle *t, int64_t begin, int64_t end) {
    const cb_lapack *j = t->j;
    int count = (int)(end - begin), order = t->left ? t->m : t->n, ld = (int)CB_MAX(t->ld, 1);
    bool is_complex = cb_is_complex(j->dtype);
    if (!t->m || !t->n) return;
    const char *trans = &(t->by_columns ? "TNN" : "NTC")[t->trans];
    const char *uplo = t->upper == t->by_columns ? "U" : "L", *diag = t->unit ? "U" : "N";
    char *x = t->x + begin * (t->left ? 1 : t->n) * cb_itemsize(j->dtype);
    if (count == 1 && (!t->left || (t->n == 1 && !(is_complex && *trans == 'C')))) {
        const char *vector_trans = !t->left ? trans : *trans == 'N' ? "T" : "N"; /* x^T M = (M^T x)^T */
        ((cb_trsv_fn)j->call[CB_TRSV])(uplo, vector_trans, diag, &order, t->a, &ld, x, &(int){1}, 1, 1, 1);
        return;
    }
    ((cb_trsm_fn)j->call[CB_TRSM])(t->left ? "R" : "L", uplo, trans, diag, t->left ? &count : &order,
                                   t->left ? &order : &count, cb_unit(j->dtype, false), t->a, &ld, x, &t->n,
                                   1, 1, 1, 1);
}

static void solve_piece(void *context, int64_t begin, int64_t end) { cb_triangle_solve(context, begin, end); }

static void solve_triangular_one(const cb_lapack *j, int64_t item, char *scratch) {
    cb_triangle t = {.j = j,
                     .upper = j->flags[0],
                     .left = j->flags[1] & 1,
                     .unit = j->flags[1] & 2,
                     .trans = j->flags[2],
                     .x = cb_lapack_place(j, 0, item),
                     .m = j->m,
                     .n = j->n};
    int64_t sides = t.left ? t.n : t.m;
    cb_triangle_operand(&t, 0, item, scratch);
    cb_lapack_load_rows(j, 1, item, t.x);
    cb_parallel(sides, cb_triangle_grain(t.left ? t.m : t.n, sides), solve_piece, &t);
}

/* x op(a) = b is op(a)^T x^T = b^T */
static void solve_triangular_group(const cb_lapack *j, int64_t first, cb_small *s, char *scratch) {
    bool left = j->flags[1] & 1, transposed = (j->flags[2] != 0) == left;
    (void)scratch;
    s->kind = CB_SMALL_TRIANGULAR;
    s->n = left ? j->m : j->n;
    s->k = left ? j->n : j->m;
    s->lower = (j->flags[0] == 0) != transposed;
    s->unit = j->flags[1] & 2;
    cb_small_operand(j, 0, first, transposed, s, &s->a);
    cb_small_operand(j, 1, first, !left, s, &s->b);
    cb_small_result(j, 0, first, !left, s, &s->x);
    cb_small_run(s);
}

cb_tensor *cb_solve_triangular(cb_tensor *a, cb_tensor *b, int upper, int left, int unit, int trans) {
    cb_lapack j;
    cb_tensor *out;
    if (cb_lapack_start(&j, "solve_triangular", 2, (cb_tensor *[]){a, b}, (int[]){2, 2}) || square(&j))
        return NULL;
    int side = j.n;
    j.m = (int)b->shape[b->ndim - 2];
    j.n = (int)b->shape[b->ndim - 1];
    if ((left ? j.m : j.n) != side)
        return cb_fail_null(CB_ERR_SHAPE,
                            "solve_triangular: expected right sides with %d %s, got shapes %s and %s.", side,
                            left ? "rows" : "columns", cb_shape_of(a), cb_shape_of(b));
    cb_lapack_result(&j, j.dtype, j.m, j.n);
    int status = CB_OK;
    if (!cb_lapack_idle(&j)) {
        int64_t size = cb_itemsize(j.dtype);
        cb_triangle_start(&j);
        j.flags[0] = upper;
        j.flags[1] = (left ? 1 : 0) | (unit ? 2 : 0);
        j.flags[2] = trans;
        j.scratch = size * side * side;
        j.work = 0.5 * side * j.m * j.n + (double)side * side;
        j.one = solve_triangular_one;
        j.kind = CB_LAPACK_TRIANGULAR;
        j.group = solve_triangular_group;
        status = cb_lapack_run(&j);
    }
    return cb_lapack_finish(&j, status, NULL, 0, "", &out, 1) ? NULL : out;
}
