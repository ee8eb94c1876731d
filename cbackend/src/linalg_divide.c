/* Eigenvectors of symmetric tridiagonal matrices by divide and conquer, many threads at a time.
 *
 * LAPACK's stedc with the parts that do not depend on each other as pieces of work: PARTS quarters are solved
 * and merged in pairs. In a merge (Cuppen 1981, Gu & Eisenstat 1995) every root of the secular equation and
 * every column of the eigenvectors is for itself. Pieces follow from sizes, so results do not depend on the
 * number of threads. */
#include "linalg.h"

typedef void (*stedc_fn)(const char *vectors, const int *n, void *d, void *e, void *z, const int *ldz,
                         void *work, const int *lwork, int *iwork, const int *liwork, int *info, size_t);
typedef void (*laed2_fn)(int *k, const int *n, const int *n1, void *d, void *q, const int *ldq, int *order,
                         void *rho, void *z, void *poles, void *w, void *q2, int *index, int *grouped,
                         int *deflated, int *types, int *info);
typedef void (*laed4_fn)(const int *n, const int *i, const void *poles, const void *z, void *delta,
                         const void *rho, void *root, int *info);
typedef void (*lamrg_fn)(const int *n1, const int *n2, const void *a, const int *step1, const int *step2,
                         int *order);

enum { PARTS = 4, ROOTS = 32, COLUMNS = 100 };
enum { STEDC, LAED2, LAED4, LAMRG, GEMM };

typedef struct merge {
    const cb_divide *t;
    int n, n1, k; /* size, of the first half, of what is not deflated */
    int ld, info;
    char *d, *q, *q2, *s, *z, *poles, *w;
    int *order, *grouped, *types; /* types: how many columns have rows above, in both halves, below */
    cb_scalar rho;
} merge;

static char *real_at(const cb_divide *t, void *base, int64_t i) { return (char *)base + i * t->size; }

static int start_of(const cb_divide *t, int part) { return (int)((int64_t)t->n * part / PARTS); }

bool cb_divide_start(cb_divide *t, int dtype) {
    static const char *const names[] = {"stedc", "laed2", "laed4", "lamrg", "gemm"};
    cb_lapack real = {.dtype = dtype};
    t->dtype = dtype;
    t->size = cb_itemsize(dtype);
    for (int i = 0; i < 5; i++) t->call[i] = cb_lapack_routine(&real, names[i], NULL);
    return !real.failed;
}

int64_t cb_divide_memory(int64_t n, int64_t size) {
    return 2 * cb_padded(size * n * n) + cb_padded(3 * size * n) + (int64_t)sizeof(int) * (16 * n + 64);
}

/* ---- parts ---- */

static void solve_part(void *context, int64_t begin, int64_t end) {
    cb_divide *t = context;
    for (int part = (int)begin; part < end; part++) {
        int first = start_of(t, part), n = start_of(t, part + 1) - first, info = 0;
        int lwork = 1 + 4 * n + n * n, liwork = 3 + 5 * n;
        ((stedc_fn)t->call[STEDC])("I", &n, real_at(t, t->d, first), real_at(t, t->e, first),
                                   real_at(t, t->q, first + (int64_t)first * t->n), &t->n,
                                   real_at(t, t->s, (int64_t)first * t->n), &lwork,
                                   t->ints + 8 * first + 16 * part, &liwork, &info, 1);
        for (int i = 0; i < n; i++) t->order[first + i] = i + 1;
        if (info) __atomic_store_n(&t->info, info, __ATOMIC_RELAXED);
    }
}

/* ---- merging ---- */

static void find_roots(void *context, int64_t begin, int64_t end) {
    merge *m = context;
    const cb_divide *t = m->t;
    for (int i = (int)begin + 1; i <= end; i++) {
        int info = 0;
        ((laed4_fn)t->call[LAED4])(&m->k, &i, m->poles, m->w, real_at(t, m->q, (int64_t)(i - 1) * m->ld),
                                   &m->rho, real_at(t, m->d, i - 1), &info);
        if (info) __atomic_store_n(&m->info, info, __ATOMIC_RELAXED);
    }
}

/* z for which the roots found are exact (Gu & Eisenstat), in place of the given one, for rows [begin, end) */
#define EXACT_Z(T, root)                                                                            \
    static void exact_z_##T(const merge *m, int begin, int end) {                                   \
        const T *poles = (const T *)m->poles, *q = (const T *)m->q;                                 \
        T *z = (T *)m->z;                                                                           \
        const T *w = (const T *)m->w;                                                               \
        for (int i = begin; i < end; i++) z[i] = q[i + (int64_t)i * m->ld];                         \
        for (int k = 0; k < m->k; k++) {                                                            \
            const T *column = q + (int64_t)k * m->ld;                                               \
            T pole = poles[k];                                                                      \
            for (int i = begin; i < CB_MIN(k, end); i++) z[i] *= column[i] / (poles[i] - pole);     \
            for (int i = CB_MAX(k + 1, begin); i < end; i++) z[i] *= column[i] / (poles[i] - pole); \
        }                                                                                           \
        for (int i = begin; i < end; i++) z[i] = __builtin_copysign(root(-z[i]), w[i]);             \
    }                                                                                               \
    /* the vector of root `column`, in the order of the grouped columns */                          \
    static void vector_##T(const merge *m, int column, T *to) {                                     \
        const T *q = (const T *)m->q + (int64_t)column * m->ld, *z = (const T *)m->z;               \
        if (m->k <= 2) { /* laed4 has made unit vectors */                                          \
            for (int i = 0; i < m->k; i++) to[i] = q[m->grouped[i] - 1];                            \
            return;                                                                                 \
        }                                                                                           \
        double squares = 0;                                                                         \
        for (int i = 0; i < m->k; i++) {                                                            \
            T x = z[m->grouped[i] - 1] / q[m->grouped[i] - 1];                                      \
            to[i] = x;                                                                              \
            squares += (double)x * (double)x;                                                       \
        }                                                                                           \
        double scale = 1 / __builtin_sqrt(squares);                                                 \
        for (int i = 0; i < m->k; i++) to[i] = (T)(to[i] * scale);                                  \
    }
EXACT_Z(float, __builtin_sqrtf)
EXACT_Z(double, __builtin_sqrt)

static void exact_z(void *context, int64_t begin, int64_t end) {
    const merge *m = context;
    if (m->t->dtype == CB_F32)
        exact_z_float(m, (int)begin, (int)end);
    else
        exact_z_double(m, (int)begin, (int)end);
}

/* rows of the result: the eigenvectors of a half, but deflated ones, times the rows of s of their types */
static void multiply(const merge *m, char *to, int rows, int count, const char *left, int inner,
                     const char *s) {
    const cb_divide *t = m->t;
    if (inner)
        ((cb_gemm_fn)t->call[GEMM])("N", "N", &rows, &count, &inner, cb_unit(t->dtype, false), left, &rows, s,
                                    &m->k, &(double){0}, to, &m->ld, 1, 1);
    for (int c = 0; !inner && c < count; c++)
        memset(real_at(t, to, (int64_t)c * m->ld), 0, (size_t)(rows * t->size));
}

static void make_vectors(void *context, int64_t begin, int64_t end) {
    const merge *m = context;
    const cb_divide *t = m->t;
    int count = (int)(end - begin), above = m->types[0] + m->types[1], below = m->types[1] + m->types[2];
    char *s = real_at(t, m->s, begin * m->k), *to = real_at(t, m->q, begin * m->ld);
    for (int c = (int)begin; c < end; c++) {
        char *column = real_at(t, m->s, (int64_t)c * m->k);
        if (t->dtype == CB_F32)
            vector_float(m, c, (float *)column);
        else
            vector_double(m, c, (double *)column);
    }
    multiply(m, to, m->n1, count, m->q2, above, s);
    multiply(m, real_at(t, to, m->n1), m->n - m->n1, count, real_at(t, m->q2, (int64_t)m->n1 * above), below,
             real_at(t, s, m->types[0]));
}

/* the two neighbouring systems that begin at `first` and `middle`, with e[middle - 1] between them */
static void merge_pair(cb_divide *t, int first, int middle, int end) {
    int *ints = t->ints + 4 * first, n = end - first;
    merge m = {.t = t,
               .n = n,
               .n1 = middle - first,
               .ld = t->n,
               .d = real_at(t, t->d, first),
               .q = real_at(t, t->q, first + (int64_t)first * t->n),
               .q2 = real_at(t, t->q2, (int64_t)first * t->n),
               .s = real_at(t, t->s, (int64_t)first * t->n),
               .z = real_at(t, t->reals, first),
               .poles = real_at(t, t->reals, t->n + first),
               .w = real_at(t, t->reals, 2 * (int64_t)t->n + first),
               .order = t->order + first,
               .grouped = ints + n,
               .types = ints + 3 * n};
    memcpy(&m.rho, real_at(t, t->e, middle - 1), (size_t)t->size);
    for (int i = 0; i < n; i++) /* the last row of the first half, the first row of the second */
        memcpy(real_at(t, m.z, i), real_at(t, m.q, m.n1 - (i < m.n1) + (int64_t)i * m.ld), (size_t)t->size);
    ((laed2_fn)t->call[LAED2])(&m.k, &n, &m.n1, m.d, m.q, &m.ld, m.order, &m.rho, m.z, m.poles, m.w, m.q2,
                               ints, m.grouped, ints + 2 * n, m.types, &m.info);
    if (!m.info && m.k) {
        cb_parallel(m.k, ROOTS, find_roots, &m);
        if (m.k > 2) cb_parallel(m.k, ROOTS, exact_z, &m);
        int64_t pieces = ((m.k - 1) / COLUMNS + 2) / 2 * 2;
        cb_parallel(m.k, (m.k + pieces - 1) / pieces, make_vectors, &m);
        int left = n - m.k;
        ((lamrg_fn)t->call[LAMRG])(&m.k, &left, m.d, &(int){1}, &(int){-1}, m.order);
    } else {
        for (int i = 0; i < n; i++) m.order[i] = i + 1;
    }
    if (m.info) __atomic_store_n(&t->info, m.info, __ATOMIC_RELAXED);
}

static void merge_quarters(void *context, int64_t begin, int64_t end) {
    cb_divide *t = context;
    for (int pair = 2 * (int)begin; pair < 2 * end; pair += 2)
        merge_pair(t, start_of(t, pair), start_of(t, pair + 1), start_of(t, pair + 2));
}

#define PREPARE(T, absolute)                                                       \
    {                                                                              \
        T *d = t->d, *e = t->e, largest = 0;                                       \
        for (int i = 0; i < n; i++) largest = CB_MAX(largest, absolute(d[i]));     \
        for (int i = 0; i + 1 < n; i++) largest = CB_MAX(largest, absolute(e[i])); \
        t->scale = largest;                                                        \
        for (int i = 0; i < n; i++) d[i] /= largest;                               \
        for (int i = 0; i + 1 < n; i++) e[i] /= largest;                           \
        for (int part = 1; part < PARTS; part++) {                                 \
            int cut = start_of(t, part);                                           \
            d[cut - 1] -= absolute(e[cut - 1]);                                    \
            d[cut] -= absolute(e[cut - 1]);                                        \
        }                                                                          \
    }

static double value_at(const cb_divide *t, int i) {
    return t->dtype == CB_F32 ? ((const float *)t->d)[i - 1] : ((const double *)t->d)[i - 1];
}

/* roots of a cluster may be an ulp out of order */
static void sort_order(cb_divide *t) {
    for (int i = 1; i < t->n; i++) {
        int item = t->order[i], k = i;
        for (; k > 0 && value_at(t, t->order[k - 1]) > value_at(t, item); k--) t->order[k] = t->order[k - 1];
        t->order[k] = item;
    }
}

int cb_divide_run(cb_divide *t, int n, void *d, void *e, void *q, char *scratch) {
    t->n = n;
    t->d = d;
    t->e = e;
    t->q = q;
    t->q2 = cb_carve(&scratch, t->size * n * n);
    t->s = cb_carve(&scratch, t->size * n * n);
    t->reals = cb_carve(&scratch, 3 * t->size * n);
    t->order = (int *)scratch;
    t->ints = t->order + n;
    t->info = 0;
    if (t->dtype == CB_F32)
        PREPARE(float, __builtin_fabsf)
    else
        PREPARE(double, __builtin_fabs)
    memset(q, 0, (size_t)(t->size * n * n));
    cb_parallel(PARTS, 1, solve_part, t);
    if (!t->info) cb_parallel(PARTS / 2, 1, merge_quarters, t);
    if (!t->info) merge_pair(t, 0, start_of(t, PARTS / 2), n);
    sort_order(t);
    return t->info;
}
