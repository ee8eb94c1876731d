/* Matrix products on the CPU: the plan of blocks and batches; kernels are in gemm_typed.h.
 *
 * A broadcast right operand folds the batch into the rows of one product. Blocks depend on sizes only, and
 * each is computed whole by one thread, so results do not depend on the number of threads. float, double and
 * integers of 32 and 64 bits (as unsigned ones, which wrap) have their own kernels: faster than OpenBLAS on
 * small and batched products, close to its rate from 1024 on, and independent of its environment
 * variables. Large complex products go to OpenBLAS, the rest to matmul_plain.c. */
#include "cpu.h"
#include "gemm_batch.h"
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

static inline int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

enum { BAND = 16 }; /* rows packed at a time */

/* One large product: operands of one item of the batch, and b packed. */
typedef struct large_run {
    const cb_gemm *g;
    const void *a, *b;
    void *c, *panels;
    int64_t rows, columns, column_blocks; /* of a piece; pieces side by side */
    int status;
} large_run;

#define real float
#define NAME(x) CB_PASTE(f32, x)
#include "gemm_typed.h"
#undef real
#undef NAME
#define real double
#define NAME(x) CB_PASTE(f64, x)
#include "gemm_typed.h"
#undef real
#undef NAME

#define real uint32_t
#define NAME(x) CB_PASTE(u32, x)
#include "gemm_typed.h"
#undef real
#undef NAME
#define real uint64_t
#define NAME(x) CB_PASTE(u64, x)
#include "gemm_typed.h"
#undef real
#undef NAME

/* A block of a, at most ROWS x KC (gemm_typed.h), takes half of a second-level cache of 1 MB. */
enum { ROWS = 128, COLUMNS = 3072, PIECES = 8, SMALL = 1 << 16, LARGE = 1 << 21 };

typedef int (*product)(int64_t, int64_t, int64_t, const void *, int64_t, int64_t, const void *, int64_t,
                       int64_t, const void *, void *, int64_t);

typedef struct gemm_run {
    const cb_gemm *g;
    product multiply;
    int64_t size, rows, columns, row_blocks, column_blocks;
    int status;
} gemm_run;

static void blocks(void *context, int64_t begin, int64_t end) {
    gemm_run *r = context;
    const cb_gemm *g = r->g;
    int64_t per_item = r->row_blocks * r->column_blocks;
    for (int64_t p = begin; p < end; p++) {
        int64_t item = p, i = 0, j = 0;
        if (per_item > 1) {
            item = p / per_item, i = p % per_item / r->column_blocks * r->rows;
            j = p % r->column_blocks * r->columns;
        }
        int64_t a = i * g->a_row, b = j * g->b_col, rest = item;
        if (g->nbatch == 1) { /* divisions cost as much as a tiny product */
            a += item * g->a_batch[0];
            b += item * g->b_batch[0];
        }
        for (int d = g->nbatch - 1; d >= 0 && g->nbatch > 1; d--) {
            int64_t index = rest % g->batch_shape[d];
            rest /= g->batch_shape[d];
            a += index * g->a_batch[d];
            b += index * g->b_batch[d];
        }
        char *c = g->c + ((item * g->m + i) * g->n + j) * r->size;
        int status = r->multiply(CB_MIN(r->rows, g->m - i), CB_MIN(r->columns, g->n - j), g->k,
                                 g->a + a * r->size, g->a_row, g->a_col, g->b + b * r->size, g->b_row,
                                 g->b_col, g->bias ? (const char *)g->bias + j * r->size : NULL, c, g->n);
        if (status) __atomic_store_n(&r->status, status, __ATOMIC_RELAXED);
    }
}

/* without a batch and a bias: c transposed, or c itself if it is one row or column */
static void transpose(cb_gemm *g) {
    cb_gemm t = *g;
    t.m = g->n, t.a = g->b, t.a_row = g->b_col, t.a_col = g->b_row;
    t.n = g->m, t.b = g->a, t.b_row = g->a_col, t.b_col = g->a_row;
    *g = t;
}

/* One matrix times many columns, each an item of the batch, is one product: the columns as rows, times the
 * matrix transposed. */
static void join_columns(cb_gemm *g) {
    if (g->n != 1 || g->bias || g->nbatch < 1) return;
    int64_t row = g->b_batch[g->nbatch - 1], count = g->batch_shape[g->nbatch - 1];
    for (int d = g->nbatch - 1; d >= 0; d--)
        if (g->a_batch[d] != 0 || (d < g->nbatch - 1 && g->b_batch[d] != row * count))
            return;
        else if (d < g->nbatch - 1)
            count *= g->batch_shape[d];
    g->n = g->batch;
    g->b_col = row;
    g->nbatch = 0;
    g->batch = 1;
    transpose(g);
}

/* Dot products and rows times matrices, long in k: fixed pieces of k summed apart, then in order. Each piece
 * reads whole rows of b, in the order of memory. */
enum { LONG_PIECE = 32768, LONG_PIECES = 64 };
typedef struct long_run {
    const cb_gemm *g;
    product multiply;
    int64_t size, piece;
    char *parts;
    int status;
} long_run;

static void long_pieces(void *context, int64_t begin, int64_t end) {
    long_run *r = context;
    const cb_gemm *g = r->g;
    int status = r->multiply(1, g->n, end - begin, g->a + begin * g->a_col * r->size, 0, g->a_col,
                             g->b + begin * g->b_row * r->size, g->b_row, g->b_col, NULL,
                             r->parts + begin / r->piece * g->n * r->size, g->n);
    if (status) __atomic_store_n(&r->status, status, __ATOMIC_RELAXED);
}

#define ADD_PARTS(type)                                                                              \
    for (int64_t j = 0; j < g->n; j++) ((type *)g->c)[j] = g->bias ? ((const type *)g->bias)[j] : 0; \
    for (int64_t p = 0; p < pieces; p++)                                                             \
        for (int64_t j = 0; j < g->n; j++) ((type *)g->c)[j] += ((const type *)r.parts)[p * g->n + j]

static int long_sum(const cb_gemm *g, product multiply, int64_t size) {
    int64_t piece = CB_MAX(g->n == 1 ? LONG_PIECE : CB_MAX(16, LONG_PIECE / g->n),
                           (g->k + LONG_PIECES - 1) / LONG_PIECES),
            pieces = (g->k + piece - 1) / piece, nbytes = pieces * g->n * size;
    long_run r = {g, multiply, size, piece, cb_alloc(CB_CPU, nbytes), CB_OK};
    if (!r.parts) return CB_ERR_MEMORY;
    cb_parallel(g->k, piece, long_pieces, &r);
    switch (g->dtype) {
        case CB_F32: ADD_PARTS(float); break;
        case CB_F64: ADD_PARTS(double); break;
        case CB_C64: ADD_PARTS(cb_complex64); break;
        default: ADD_PARTS(cb_complex128);
    }
    cb_free(CB_CPU, r.parts, nbytes);
    return r.status;
}

/* Products of few columns, long in k. Where rows of a lie in order, b is turned once for all, so that results
 * are dot products of two runs; where columns of a do, the transposed product packs nothing. */
enum { THIN = 16, THIN_ROWS = 32, THIN_LENGTH = 32, NARROW_LENGTH = 256 };

static bool is_thin(const cb_gemm *g) {
    bool by_rows = g->a_col == 1 && g->b_row != 1, by_columns = g->a_row == 1 && g->a_col != 1 && !g->bias;
    return g->batch == 1 && g->n <= THIN && g->m >= THIN_ROWS && g->k >= THIN_LENGTH &&
           (g->n <= 4 || g->k > NARROW_LENGTH) && (by_rows || (by_columns && g->n > 1)) &&
           !cb_is_complex(g->dtype);
}

static int thin_product(const cb_gemm *g, int size) {
    bool by_rows = g->a_col == 1;
    int64_t length = by_rows ? g->k : g->m, nbytes = g->n * length * size;
    char *room = cb_alloc(CB_CPU, nbytes);
    if (!room) return CB_ERR_MEMORY;
    cb_gemm t = *g;
    if (by_rows) {
        t.b = room, t.b_row = 1, t.b_col = length;
        if (g->b_col == 1)
            CB_FN(turn)(size, g->n, length, g->b, g->b_row, room, length);
        else
            for (int64_t j = 0; j < g->n; j++)
                CB_FN(gather_run)(size, g->b + j * g->b_col * size, g->b_row, length,
                                  room + j * length * size);
    } else {
        transpose(&t);
        t.c = room;
    }
    int status = CB_FN(gemm)(&t);
    if (!by_rows) CB_FN(turn)(size, length, g->n, room, length, g->c, g->n);
    cb_free(CB_CPU, room, nbytes);
    return status;
}

/* ---- complex, through OpenBLAS ---- */

typedef void (*complex_gemm)(int order, int ta, int tb, int m, int n, int k, const void *alpha, const void *a,
                             int lda, const void *b, int ldb, const void *beta, void *c, int ldc);

static complex_gemm cgemm, zgemm;
typedef void (*complex_gemv)(int order, int trans, int m, int n, const void *alpha, const void *a, int lda,
                             const void *x, int x_step, const void *beta, void *y, int y_step);
static complex_gemv cgemv, zgemv;
typedef void (*complex_dot)(int n, const void *x, int x_step, const void *y, int y_step, void *sum);
static complex_dot cdotu, zdotu;

/* m and n 1; numbers that do not follow each other are copied, since BLAS adds those one by one */
static int complex_sum(int64_t k, const void *a, int64_t a_step, const void *b, int64_t b_step,
                       const void *bias, void *c, int64_t size) {
    char *copy = NULL;
    if (a_step != 1 || b_step != 1) {
        copy = cb_alloc(CB_CPU, 2 * k * size);
        if (!copy) return CB_ERR_MEMORY;
        CB_FN(gather_run)((int)size, a, a_step, k, copy);
        CB_FN(gather_run)((int)size, b, b_step, k, copy + k * size);
        a = copy;
        b = copy + k * size;
    }
    (size == 16 ? zdotu : cdotu)((int)k, a, 1, b, 1, c);
    if (bias && size == 16) *(cb_complex128 *)c += *(const cb_complex128 *)bias;
    if (bias && size == 8) *(cb_complex64 *)c += *(const cb_complex64 *)bias;
    if (copy) cb_free(CB_CPU, copy, 2 * k * size);
    return CB_OK;
}

static void complex_product(int64_t m, int64_t n, int64_t k, const char *a, int64_t lda, int ta,
                            const char *b, int64_t ldb, int tb, const void *bias, char *c, int64_t ldc,
                            int64_t size) {
    cb_complex128 one16 = 1, zero16 = 0;
    cb_complex64 one8 = 1, zero8 = 0;
    bool wide = size == 16;
    const void *one = wide ? (void *)&one16 : (void *)&one8, *zero = wide ? (void *)&zero16 : (void *)&zero8;
    enum { ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112 };
    complex_gemv gemv = wide ? zgemv : cgemv;
    for (int64_t i = 0; i < m && (bias || n == 1 || m == 1); i++) {
        if (bias)
            memcpy(c + i * ldc * size, bias, (size_t)(n * size));
        else
            memset(c + i * ldc * size, 0, (size_t)(n * size));
    }
    if (n == 1)
        gemv(ROW_MAJOR, ta ? TRANSPOSED : PLAIN, (int)(ta ? k : m), (int)(ta ? m : k), one, a, (int)lda, b,
             tb ? 1 : (int)ldb, one, c, (int)ldc);
    else if (m == 1)
        gemv(ROW_MAJOR, tb ? PLAIN : TRANSPOSED, (int)(tb ? n : k), (int)(tb ? k : n), one, b, (int)ldb, a,
             ta ? (int)lda : 1, one, c, 1);
    else
        (wide ? zgemm : cgemm)(ROW_MAJOR, ta ? TRANSPOSED : PLAIN, tb ? TRANSPOSED : PLAIN, (int)m, (int)n,
                               (int)k, one, a, (int)lda, b, (int)ldb, bias ? one : zero, c, (int)ldc);
}

/* how BLAS takes a matrix of these strides: its leading dimension, or 0 when it must be copied */
static int64_t leading(int64_t rows, int64_t cols, int64_t row, int64_t col, int *transposed) {
    *transposed = col != 1 && row == 1;
    int64_t ld = *transposed ? col : row, length = *transposed ? rows : cols;
    if (*transposed ? cols == 1 : rows == 1) ld = CB_MAX(length, 1);
    return (col == 1 || row == 1) && ld >= CB_MAX(length, 1) && ld <= INT32_MAX ? ld : 0;
}

static int complex_blocks(int64_t m, int64_t n, int64_t k, const void *a, int64_t a_row, int64_t a_col,
                          const void *b, int64_t b_row, int64_t b_col, const void *bias, void *c,
                          int64_t c_row, int64_t size) {
    if (m == 1 && n == 1) return complex_sum(k, a, a_col, b, b_row, bias, c, size);
    int ta, tb;
    int64_t lda = leading(m, k, a_row, a_col, &ta), ldb = leading(k, n, b_row, b_col, &tb);
    int64_t a_bytes = m * k * size, b_bytes = k * n * size;
    char *a_copy = NULL, *b_copy = NULL;
    int status = CB_OK;
    if (!lda && (a_copy = cb_alloc(CB_CPU, a_bytes))) {
        for (int64_t i = 0; i < m; i++)
            CB_FN(gather_run)((int)size, (const char *)a + i * a_row * size, a_col, k, a_copy + i * k * size);
        a = a_copy, lda = k, ta = 0;
    }
    if (!ldb && (b_copy = cb_alloc(CB_CPU, b_bytes))) {
        for (int64_t i = 0; i < k; i++)
            CB_FN(gather_run)((int)size, (const char *)b + i * b_row * size, b_col, n, b_copy + i * n * size);
        b = b_copy, ldb = n, tb = 0;
    }
    if (lda && ldb)
        complex_product(m, n, k, a, lda, ta, b, ldb, tb, bias, c, c_row, size);
    else
        status = CB_ERR_MEMORY;
    if (a_copy) cb_free(CB_CPU, a_copy, a_bytes);
    if (b_copy) cb_free(CB_CPU, b_copy, b_bytes);
    return status;
}

static int product_c64(int64_t m, int64_t n, int64_t k, const void *a, int64_t a_row, int64_t a_col,
                       const void *b, int64_t b_row, int64_t b_col, const void *bias, void *c,
                       int64_t c_row) {
    return complex_blocks(m, n, k, a, a_row, a_col, b, b_row, b_col, bias, c, c_row, 8);
}
static int product_c128(int64_t m, int64_t n, int64_t k, const void *a, int64_t a_row, int64_t a_col,
                        const void *b, int64_t b_row, int64_t b_col, const void *bias, void *c,
                        int64_t c_row) {
    return complex_blocks(m, n, k, a, a_row, a_col, b, b_row, b_col, bias, c, c_row, 16);
}

static bool blas_fits(const cb_gemm *g) {
    int64_t least = g->m == 1 || g->n == 1 ? 512 : 32768;
    if (g->m * g->n * g->k < least || g->k > INT32_MAX || g->n > INT32_MAX) return false;
    bool wide = g->dtype == CB_C128;
    if (wide ? zdotu != NULL : cdotu != NULL) return true;
    *(void **)(wide ? &zgemm : &cgemm) = cb_blas_symbol(wide ? "cblas_zgemm" : "cblas_cgemm");
    *(void **)(wide ? &zgemv : &cgemv) = cb_blas_symbol(wide ? "cblas_zgemv" : "cblas_cgemv");
    *(void **)(wide ? &zdotu : &cdotu) = cb_blas_symbol(wide ? "cblas_zdotu_sub" : "cblas_cdotu_sub");
    return wide ? zdotu != NULL : cdotu != NULL; /* without OpenBLAS the plain loops do it */
}

typedef struct large_kernels {
    void (*pack)(void *, int64_t, int64_t), (*blocks)(void *, int64_t, int64_t);
    int64_t nr, vl;
} large_kernels;

/* Products one after the other, each shared by all threads. */
static int large_products(const cb_gemm *g, const large_kernels *k, const gemm_run *plan) {
    large_run r = {
        .g = g, .rows = plan->rows, .columns = plan->columns, .column_blocks = plan->column_blocks};
    int64_t nbytes = g->k * round_up(g->n, k->vl) * plan->size;
    r.panels = cb_alloc(CB_CPU, nbytes);
    if (!r.panels) return CB_ERR_MEMORY;
    for (int64_t item = 0; item < g->batch; item++) {
        int64_t a = 0, b = 0, rest = item;
        for (int d = g->nbatch - 1; d >= 0; d--) {
            a += rest % g->batch_shape[d] * g->a_batch[d];
            b += rest % g->batch_shape[d] * g->b_batch[d];
            rest /= g->batch_shape[d];
        }
        r.a = g->a + a * plan->size;
        r.b = g->b + b * plan->size;
        r.c = g->c + item * g->m * g->n * plan->size;
        int64_t bands = g->b_col == 1 ? (g->k + BAND - 1) / BAND : (g->n + k->nr - 1) / k->nr,
                each = g->b_col == 1 ? BAND * g->n : k->nr * g->k;
        cb_parallel(bands, CB_MAX(1, SMALL / 8 / each), k->pack, &r);
        cb_parallel(plan->row_blocks * plan->column_blocks, 1, k->blocks, &r);
    }
    cb_free(CB_CPU, r.panels, nbytes);
    return r.status;
}

#if defined(__AVX512F__)
enum { TINY_ITEMS = 4096 };

/* Does each operand and result of a batch fit a vector of `most` items? */
static bool permutable(const cb_gemm *g, int64_t most) {
    return g->nbatch == 1 && !g->bias && !cb_is_complex(g->dtype) && g->k > 0 && g->k <= most &&
           g->m * g->n <= most && g->a_row >= 0 && g->a_col >= 0 && g->b_row >= 0 && g->b_col >= 0 &&
           (g->m - 1) * g->a_row + (g->k - 1) * g->a_col < most &&
           (g->k - 1) * g->b_row + (g->n - 1) * g->b_col < most;
}
#endif

int CB_FN(gemm)(const cb_gemm *given) {
    cb_gemm g = *given;
    fold_batch(&g);
    join_columns(&g);
    if (g.batch == 1 && g.n == 1 && g.a_row == 1 && g.a_col != 1 && !g.bias) transpose(&g);
    int64_t size = cb_dtypes[g.dtype].size, work = g.m * g.n * CB_MAX(g.k, 1);
    product multiply;
    switch (g.dtype) {
        case CB_F32: multiply = f32_product; break;
        case CB_F64: multiply = f64_product; break;
        case CB_C64: multiply = blas_fits(&g) ? product_c64 : NULL; break;
        case CB_C128: multiply = blas_fits(&g) ? product_c128 : NULL; break;
        default: multiply = size == 4 ? u32_product : size == 8 ? u64_product : NULL;
    }
    if (!multiply) return CB_FN(gemm_plain)(&g);
    bool by_rows = g.b_col == 1 && g.n >= 64 && g.n <= 4096 && g.k >= 64 && work > 4 * SMALL;
    if (g.batch * g.m == 1 && (by_rows || (g.n == 1 && g.k > LONG_PIECE)) && cb_is_inexact(g.dtype))
        return long_sum(&g, multiply, size);
    if (is_thin(&g)) return thin_product(&g, (int)size);
#if defined(__AVX512F__)
    if (permutable(&g, 64 / size)) {
        cb_parallel(g.batch, TINY_ITEMS,
                    g.dtype == CB_F32   ? f32_permuted
                    : g.dtype == CB_F64 ? f64_permuted
                    : size == 4         ? u32_permuted
                                        : u64_permuted,
                    &g);
        return CB_OK;
    }
#endif
    gemm_run r = {.g = &g,
                  .multiply = multiply,
                  .size = size,
                  .rows = g.m,
                  .columns = g.n,
                  .row_blocks = 1,
                  .column_blocks = 1};
    /* packing pays when enough rows pass over what is packed; rows of b that lie in order need it less */
    bool packs = g.k > 256 || g.b_col != 1 || cb_is_complex(g.dtype),
         shared = g.batch == 1 || work >= 4 * LARGE;
    bool large = work >= LARGE && g.n >= 64 && g.m > (g.b_col == 1 ? 512 : 128) && packs && shared &&
                 !cb_is_complex(g.dtype);
    int64_t grain = CB_MAX(1, SMALL * 4 / CB_MAX(work, 1));
    /* large ones add up in the same order however they are cut */
    int64_t pieces = large ? 2 * cb_get_num_threads() : PIECES;
    if (work > 4 * SMALL) { /* split each product */
        int64_t tall = (g.m + ROWS - 1) / ROWS, wide = (g.n + COLUMNS - 1) / COLUMNS;
        r.rows = round_up((g.m + tall - 1) / tall, 8); /* blocks of nearly one size, whole tiles */
        r.columns = round_up((g.n + wide - 1) / wide, 48);
        while ((g.m + r.rows - 1) / r.rows * ((g.n + r.columns - 1) / r.columns) * g.batch < pieces &&
               r.rows * r.columns * g.k > 2 * SMALL) {
            if (!large && packs && r.columns > 32) /* each piece turns or reads its columns of b once */
                r.columns = round_up(r.columns / 2, r.columns > 96 ? 48 : 32);
            else if (r.rows >= r.columns / 4 && r.rows > 16)
                r.rows = round_up(r.rows / 2, 8);
            else if (r.columns > 48)
                r.columns = round_up(r.columns / 2, 48);
            else
                break;
        }
        r.row_blocks = (g.m + r.rows - 1) / r.rows;
        r.column_blocks = (g.n + r.columns - 1) / r.columns;
    }
    if (large) {
#define LARGE_KERNELS(t)                                 \
    {                                                    \
        t##_pack_bands, t##_large_blocks, t##_nr, t##_vl \
    }
        static const large_kernels kernels[] = {LARGE_KERNELS(f32), LARGE_KERNELS(f64), LARGE_KERNELS(u32),
                                                LARGE_KERNELS(u64)};
        return large_products(&g, &kernels[(cb_is_float(g.dtype) ? 0 : 2) + (size == 8)], &r);
    }
    cb_parallel(g.batch * r.row_blocks * r.column_blocks, grain, blocks, &r);
    return r.status;
}
