/* What the files linalg*.c share: one batched call of a LAPACK routine.
 *
 * A job names its operands and results; cb_lapack_run calls `one` for every matrix of the batch, in parallel
 * where that pays, with scratch memory of its own. LAPACK is column-major: operands of any strides are loaded
 * into scratch transposed, results are stored row-major. OpenBLAS runs single-threaded, so calls may go on
 * side by side. */
#ifndef CB_LINALG_H
#define CB_LINALG_H

#include "internal.h"

#pragma GCC visibility push(hidden)

enum { CB_LAPACK_OPERANDS = 3, CB_LAPACK_RESULTS = 6 };

/* calls that a device may do by itself (backend_families.h); sizes and flags as `one` reads them */
typedef enum {
    CB_LAPACK_HOST, /* never */
    CB_LAPACK_LU,
    CB_LAPACK_LU_SOLVE,
    CB_LAPACK_INVERSE,
    CB_LAPACK_DET,
    CB_LAPACK_CHOLESKY,
    CB_LAPACK_TRIANGULAR,
    CB_LAPACK_QR,
    CB_LAPACK_EIGH,
    CB_LAPACK_SVD,
} cb_lapack_kind;

typedef struct cb_lapack {
    const char *op;
    cb_lapack_kind kind;
    int dtype, device, nbatch;
    int64_t batch[CB_MAX_NDIM]; /* the leading dims of the results */
    int64_t count;              /* their product */
    int nin, nout;
    const cb_tensor *in[CB_LAPACK_OPERANDS];
    cb_tensor *out[CB_LAPACK_RESULTS];
    /* bytes from item to item; 0 for operands that broadcast or have gaps */
    int64_t in_step[CB_LAPACK_OPERANDS], out_step[CB_LAPACK_RESULTS];
    int m, n, k;     /* sizes, as `one` reads them */
    int flags[3];    /* options, likewise */
    int lwork;       /* size of LAPACK's workspace, in elements */
    double number;   /* a numeric option */
    void *call[8];   /* LAPACK routines */
    int64_t scratch; /* bytes `one` needs */
    double work;     /* multiplications a matrix, roughly: decides how many share a thread */
    void (*one)(const struct cb_lapack *j, int64_t item, char *scratch);
    /* NULL, or does the matrices of a group that `good` allows side by side */
    void (*group)(const struct cb_lapack *j, int64_t first, cb_small *s, char *scratch);
    int group_min; /* fewer matrices are not worth it */
    int failed;
} cb_lapack;

/* Checks the operands (core: trailing dims of each that are not batch) and fills in op, dtype, batch, in. */
int cb_lapack_start(cb_lapack *j, const char *op, int nin, cb_tensor *const *in, const int *core);
/* Adds a result [*batch, rows, cols], [*batch, rows] (cols -1) or [*batch] (rows -1); its number, or -1. */
int cb_lapack_result(cb_lapack *j, int dtype, int64_t rows, int64_t cols);
/* Is there nothing to compute: a failure so far, meta tensors, an empty batch? */
bool cb_lapack_idle(const cb_lapack *j);
/* The routine of the job's dtype: "getrf" becomes sgetrf_ and so on; complex_name NULL: the same name. */
void *cb_lapack_routine(cb_lapack *j, const char *name, const char *complex_name);
/* The same routine without blocking and set-up, for orders up to CB_SMALL_ORDER: getrf, getrs, getri, potrf.
 */
enum { CB_GETRF = 0, CB_GETRS, CB_GETRI, CB_POTRF };
void *cb_small_routine(int dtype, int which);
/* the small one if `order` allows it, else LAPACK's */
static inline void *cb_lapack_best(cb_lapack *j, int order, int which) {
    static const char *const names[] = {"getrf", "getrs", "getri", "potrf"};
    return order <= CB_SMALL_ORDER ? cb_small_routine(j->dtype, which)
                                   : cb_lapack_routine(j, names[which], NULL);
}
/* of BLAS, for factorizations by panels; places in `call` */
enum { CB_TRSM = 6, CB_TRSV = 7 };
typedef void (*cb_trsv_fn)(const char *uplo, const char *trans, const char *diag, const int *n, const void *a,
                           const int *lda, void *x, const int *step, size_t, size_t, size_t);
typedef void (*cb_trsm_fn)(const char *side, const char *uplo, const char *trans, const char *diag,
                           const int *m, const int *n, const void *alpha, const void *a, const int *lda,
                           void *b, const int *ldb, size_t, size_t, size_t, size_t);
typedef void (*cb_gemm_fn)(const char *ta, const char *tb, const int *m, const int *n, const int *k,
                           const void *alpha, const void *a, const int *lda, const void *b, const int *ldb,
                           const void *beta, void *c, const int *ldc, size_t, size_t);
/* 1 or -1 */
static inline const void *cb_unit(int dtype, bool minus) {
    static const float narrow[2][2] = {{1, 0}, {-1, 0}};
    static const double wide[2][2] = {{1, 0}, {-1, 0}};
    return cb_real_dtype(dtype) == CB_F32 ? (const void *)narrow[minus] : wide[minus];
}
/* Triangular systems, side by side: op(a) x = b, or x op(a) = b if not left, in place in x [m, n], which is
 * contiguous by rows. */
typedef struct cb_triangle {
    const cb_lapack *j;
    const char *a;
    int64_t ld;
    bool by_columns;          /* as a lies; ld elements from one to the next */
    bool upper, left, unit;   /* unit: its diagonal is taken as ones */
    int trans;                /* op: 0 nothing, 1 transposed, 2 conjugated too */
    char *x;
    int m, n;
} cb_triangle;
void cb_triangle_start(cb_lapack *j); /* takes call[CB_TRSM] and call[CB_TRSV] */
/* a of operand `which` where it lies if BLAS can read that, else copied to scratch */
void cb_triangle_operand(cb_triangle *t, int which, int64_t item, void *scratch);
/* right sides [begin, end): columns of x, or rows if not left */
void cb_triangle_solve(const cb_triangle *t, int64_t begin, int64_t end);
/* How many right sides make a piece: enough for a matrix to be packed for, even where there are few pieces.
 */
int64_t cb_triangle_grain(int64_t n, int64_t sides);
/* Eigenvectors of symmetric tridiagonal matrices [n, n], n >= 16, of a real dtype (linalg_divide.c). */
typedef struct cb_divide {
    int dtype, n, info;
    int64_t size;
    void *call[5];
    void *d, *e, *q, *q2, *s, *reals;
    int *order, *ints;
    double scale;
} cb_divide;
bool cb_divide_start(cb_divide *t, int dtype);
int64_t cb_divide_memory(int64_t n, int64_t size);
/* Eigenvalue i is scale * d[order[i] - 1], in rising order, its vector that column of q; e is overwritten.
 * Gives LAPACK's info. */
int cb_divide_run(cb_divide *t, int n, void *d, void *e, void *q, char *scratch);
int cb_lapack_run(cb_lapack *j);
/* Moves the results to out, or releases them after a failure. info >= 0 is a result to be checked: with
 * `check`, an item of it that is not zero is a LinAlgError; `property` says what was expected. */
int cb_lapack_finish(cb_lapack *j, int status, const char *check, int info, const char *property,
                     cb_tensor **out, int nout);

/* ---- for `group` ---- */
/* operand or result `which` of a group's matrices; transposed: rows and columns change places */
void cb_small_operand(const cb_lapack *j, int which, int64_t first, bool transposed, cb_small *s,
                      cb_small_matrix *m);
void cb_small_result(const cb_lapack *j, int which, int64_t first, bool transposed, cb_small *s,
                     cb_small_matrix *m);
void cb_small_run(cb_small *s);
/* does the group's matrices whose info is not 0 by themselves */
void cb_small_repair(const cb_lapack *j, int64_t first, const cb_small *s, char *scratch);

/* ---- for `one` ---- */
static inline int64_t cb_padded(int64_t bytes) { return (bytes + 63) / 64 * 64; }
static inline void *cb_carve(char **scratch, int64_t bytes) {
    void *p = *scratch;
    *scratch += cb_padded(bytes);
    return p;
}
static inline int cb_leading(int rows) { return CB_MAX(rows, 1); }
const char *cb_lapack_at(const cb_lapack *j, int which, int core, int64_t item);
/* operand `which` of an item, column-major with leading dimension ld */
void cb_lapack_load(const cb_lapack *j, int which, int64_t item, void *to, int ld);
/* the same by rows, without gaps */
void cb_lapack_load_rows(const cb_lapack *j, int which, int64_t item, void *to);
/* a vector operand */
void cb_lapack_load_vector(const cb_lapack *j, int which, int64_t item, void *to);
void *cb_lapack_place(const cb_lapack *j, int which, int64_t item); /* an item of a result */
/* column-major scratch to a result [rows, cols] */
void cb_lapack_store(const cb_lapack *j, int which, int64_t item, const void *from, int ld);
/* zeroes what is above (or, `upper`, below) the diagonal of a column-major matrix */
void cb_zero_triangle(int itemsize, void *a, int ld, int rows, int cols, bool upper);
bool cb_all_finite(int dtype, const void *data, int64_t n);
void cb_fill_nan(cb_tensor *out, void *place, int64_t n);
/* the size in a workspace query's answer */
int cb_lapack_queried(int dtype, const void *answer);
static inline int cb_itemsize(int dtype) { return cb_dtypes[dtype].size; }

#pragma GCC visibility pop
#endif
