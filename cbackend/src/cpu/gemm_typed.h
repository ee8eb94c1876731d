/* Matrix products of one real type: include with `real` and NAME(x) defined. See matmul.c for the plan.
 *
 * Blocks read a in place (or from a copied block) and b in place where its rows are contiguous; a panel of b
 * that is transposed, strided or narrower than its vectors is packed, padded with zeros, KC rows at a time.
 */
#include "gemm_kernel.h"

enum { NAME(kc) = 256 };

/* the first n items of a vector and zeros; nothing behind them is read */
CB_INLINE NAME(vec) NAME(load_first)(const real *from, int64_t n) {
#if defined(__AVX512F__)
    if (sizeof(real) == 4) return (NAME(vec))_mm512_maskz_loadu_epi32((__mmask16)((1u << n) - 1), from);
    return (NAME(vec))_mm512_maskz_loadu_epi64((__mmask8)((1u << n) - 1), from);
#else
    NAME(vec) v = {0};
    memcpy(&v, from, (size_t)n * sizeof(real));
    return v;
#endif
}
#if defined(__AVX512F__)
CB_INLINE void NAME(store_first)(real *to, NAME(vec) v, int64_t n) {
    if (sizeof(real) == 4)
        _mm512_mask_storeu_epi32(to, (__mmask16)((1u << n) - 1), (__m512i)v);
    else
        _mm512_mask_storeu_epi64(to, (__mmask8)((1u << n) - 1), (__m512i)v);
}
#endif

/* c [m, n] = a @ b (+ bias), one thread, no blocking of m */
static void NAME(block)(int64_t m, int64_t n, int64_t k, const real *a, int64_t a_row, int64_t a_col,
                        const real *b, int64_t b_row, int64_t b_col, const real *bias, real *c, int64_t c_row,
                        bool accumulate) {
    enum { VL = NAME(vl), NR = NAME(nr), MR = NAME(mr) };
    _Alignas(64) real panel[NAME(kc) * NR], edge[MR * NR], edge_init[MR * NR];
    for (int64_t k0 = 0; k0 == 0 || k0 < k; k0 += NAME(kc)) {
        int64_t kn = CB_MIN(NAME(kc), k - k0);
        bool add = accumulate || k0 > 0;
        for (int64_t j = 0; j < n;) {
            int64_t left = n - j;
            int nv = (int)CB_MIN(NAME(nv), (left + VL - 1) / VL);
            if (NAME(nv) == 3 && left > NR && left <= NR + VL) nv = 2; /* 4 vectors are better as 2 + 2 */
            int64_t width = nv * VL, cols = CB_MIN(width, left);
            const real *right = b + k0 * b_row + j * b_col;
            int64_t right_row = b_row;
            if (b_col != 1 || cols < width) {
                NAME(pack)(kn, cols, width, right, b_row, b_col, panel);
                right = panel;
                right_row = width;
            }
            for (int64_t i = 0; i < m; i += MR) {
                int64_t rows = CB_MIN(MR, m - i);
                real *to = c + i * c_row + j;
                const real *left_block = a + i * a_row + k0 * a_col;
                if (cols == width) {
                    const real *init = add ? to : bias ? bias + j : NULL;
                    NAME(run_tile)(nv, rows, kn, left_block, a_row, a_col, right, right_row, init,
                                   add ? c_row : 0, to, c_row);
                } else { /* through a full tile on the stack */
                    for (int64_t r = 0; r < rows; r++)
                        for (int64_t v = 0; v < cols; v++)
                            edge_init[r * width + v] = add ? to[r * c_row + v] : bias ? bias[j + v] : 0;
                    NAME(run_tile)(nv, rows, kn, left_block, a_row, a_col, right, right_row,
                                   add || bias ? edge_init : NULL, width, edge, width);
                    for (int64_t r = 0; r < rows; r++)
                        for (int64_t v = 0; v < cols; v++) to[r * c_row + v] = edge[r * width + v];
                }
            }
            j += cols;
        }
    }
}

/* Results of at most a vector's columns, whose rows follow each other: no padding of the result. WIDTH is
 * that of a vector or half of one. */
typedef real NAME(vech) __attribute__((vector_size(NAME(bytes) / 2)));
typedef real NAME(vechu) __attribute__((vector_size(NAME(bytes) / 2), aligned(sizeof(real)), may_alias));
enum { NAME(half) = NAME(vl) / 2 };
#define NARROW(name, vector, unaligned, WIDTH)                                                            \
    static void NAME(name)(int64_t m, int64_t n, int64_t k, const real *a, int64_t a_row, int64_t a_col,  \
                           const real *b, int64_t b_row, int64_t b_col, const real *bias, real *c) {      \
        enum { STEP = 8 };                                                                                \
        _Alignas(64) real panel[NAME(kc) * WIDTH], start[WIDTH] = {0};                                    \
        if (b_col != 1 || n != WIDTH) {                                                                   \
            NAME(pack)(k, n, WIDTH, b, b_row, b_col, panel);                                              \
            b = panel;                                                                                    \
            b_row = WIDTH;                                                                                \
        }                                                                                                 \
        for (int64_t j = 0; bias && j < n; j++) start[j] = bias[j];                                       \
        int64_t i = 0;                                                                                    \
        for (; i < m && m >= STEP; i += STEP, c += STEP * n) {                                            \
            if (i + STEP > m) c -= (i + STEP - m) * n, i = m - STEP; /* some rows again */                \
            vector sum[STEP];                                                                             \
            for (int r = 0; r < STEP; r++) sum[r] = *(const vector *)start;                               \
            for (int64_t p = 0; p < k; p++) {                                                             \
                vector right = *(const unaligned *)(b + p * b_row);                                       \
                const real *left = a + i * a_row + p * a_col;                                             \
                for (int r = 0; r < STEP; r++) sum[r] += left[r * a_row] * right;                         \
            }                                                                                             \
            /* each store runs into the next row, stored after it; the last rows of the block must not */ \
            int vectors = n == WIDTH ? STEP : (int)((STEP * n - WIDTH) / n + 1);                          \
            _Pragma("GCC unroll 8") for (int r = 0; r < STEP; r++) {                                      \
                if (r < vectors)                                                                          \
                    *(unaligned *)(c + r * n) = sum[r];                                                   \
                else                                                                                      \
                    for (int64_t j = 0; j < n; j++) c[r * n + j] = sum[r][j];                             \
            }                                                                                             \
        }                                                                                                 \
        for (; i < m; i++, c += n) {                                                                      \
            vector sum = *(const vector *)start;                                                          \
            for (int64_t p = 0; p < k; p++)                                                               \
                sum += a[i * a_row + p * a_col] * *(const unaligned *)(b + p * b_row);                    \
            for (int64_t j = 0; j < n; j++) c[j] = sum[j];                                                \
        }                                                                                                 \
    }
NARROW(narrow_half, NAME(vech), NAME(vechu), NAME(half))
NARROW(narrow, NAME(vec), NAME(vecu), NAME(vl))
#undef NARROW

/* ---- large products: b packed once for all, in panels of NR columns, [k][NR] each ---- */

/* items: BAND rows of b, in the order of memory; or with columns that are neighbours, panels */
static void NAME(pack_bands)(void *context, int64_t begin, int64_t end) {
    enum { NR = NAME(nr), VL = NAME(vl) };
    const large_run *r = context;
    const cb_gemm *g = r->g;
    for (int64_t item = begin; item < end; item++) {
        int64_t k0 = g->b_col == 1 ? item * BAND : 0, k1 = g->b_col == 1 ? CB_MIN(g->k, k0 + BAND) : g->k;
        int64_t j0 = g->b_col == 1 ? 0 : item * NR, j1 = g->b_col == 1 ? g->n : CB_MIN(g->n, j0 + NR);
        for (int64_t j = j0; j < j1; j += NR) {
            int64_t n = CB_MIN(NR, g->n - j), width = round_up(n, VL);
            for (int64_t k = k0; k < k1; k += BAND) {
                int64_t rows = CB_MIN(BAND, k1 - k);
                const real *from = (const real *)r->b + k * g->b_row + j * g->b_col;
                real *to = (real *)r->panels + j * g->k + k * width;
                if (g->b_col == 1 && n == NR)
                    for (int64_t i = 0; i < rows; i++)
                        memcpy(to + i * NR, from + i * g->b_row, NR * sizeof(real));
                else
                    NAME(pack)(rows, n, width, from, g->b_row, g->b_col, to);
            }
        }
    }
}

/* A run of kn columns of m rows of a, with its strides: whole rows of a contiguous matrix where they are,
 * others, which may share cache sets, copied in lines as they lie. */
static const real *NAME(left_block)(const cb_gemm *g, int64_t m, int64_t kn, const real *from, real *copy,
                                    int64_t *row, int64_t *col) {
    bool by_rows = g->a_row != 1;
    *row = g->a_row;
    *col = g->a_col;
    if (by_rows && *col == 1 && *row == kn) return from;
    int64_t lines = by_rows ? m : kn, length = by_rows ? kn : m, pitch = length + 16;
    for (int64_t i = 0; i < lines; i++)
        CB_FN(gather_run)(sizeof(real), from + i * (by_rows ? *row : *col), by_rows ? *col : 1, length,
                          copy + i * pitch);
    *row = by_rows ? pitch : 1;
    *col = by_rows ? 1 : pitch;
    return copy;
}

/* items: (block of rows, block of columns) */
static void NAME(large_blocks)(void *context, int64_t begin, int64_t end) {
    enum { NR = NAME(nr), VL = NAME(vl), MR = NAME(mr), KC = 1024 * 4 / sizeof(real) };
    large_run *r = context;
    const cb_gemm *g = r->g;
    int64_t runs = (g->k + KC - 1) / KC, run = CB_MAX(1, (g->k + runs - 1) / runs);
    int64_t nbytes = (r->rows + 16) * (run + 16) * (int64_t)sizeof(real);
    real *copy = cb_alloc(CB_CPU, nbytes);
    _Alignas(64) real edge[MR * NR];
    if (!copy) {
        __atomic_store_n(&r->status, CB_ERR_MEMORY, __ATOMIC_RELAXED);
        return;
    }
    for (int64_t piece = begin; piece < end; piece++) {
        int64_t i0 = piece / r->column_blocks * r->rows, m = CB_MIN(r->rows, g->m - i0);
        int64_t j0 = piece % r->column_blocks * r->columns, j1 = CB_MIN(g->n, j0 + r->columns);
        for (int64_t k0 = 0; k0 < g->k; k0 += run) {
            int64_t kn = CB_MIN(run, g->k - k0), row, col;
            const real *block = NAME(left_block)(g, m, kn, (const real *)r->a + i0 * g->a_row + k0 * g->a_col,
                                                 copy, &row, &col);
            for (int64_t j = j0; j < j1; j += NR) {
                int64_t n = CB_MIN(NR, g->n - j), width = round_up(n, VL);
                const real *panel = (const real *)r->panels + j * g->k + k0 * width;
                const real *bias = g->bias && !k0 ? (const real *)g->bias + j : NULL;
                for (int64_t i = 0; i < m; i += MR) {
                    int64_t rows = CB_MIN(MR, m - i);
                    real *to = (real *)r->c + (i0 + i) * g->n + j;
                    const real *left = block + i * row;
                    for (int64_t next = 0; next < CB_MIN(MR, m - i - MR); next++)
                        for (int v = 0; v < NAME(nv); v++)
                            __builtin_prefetch(to + (MR + next) * g->n + v * VL, 1);
                    if (n == width) {
                        NAME(run_tile)((int)(width / VL), rows, kn, left, row, col, panel, width,
                                       k0 ? to : bias, k0 ? g->n : 0, to, g->n);
                        continue;
                    }
                    for (int64_t q = 0; q < rows; q++) /* through a full tile on the stack */
                        for (int64_t v = 0; v < n; v++)
                            edge[q * width + v] = k0 ? to[q * g->n + v] : bias ? bias[v] : 0;
                    NAME(run_tile)((int)(width / VL), rows, kn, left, row, col, panel, width, edge, width,
                                   edge, width);
                    for (int64_t q = 0; q < rows; q++)
                        for (int64_t v = 0; v < n; v++) to[q * g->n + v] = edge[q * width + v];
                }
            }
        }
    }
    cb_free(CB_CPU, copy, nbytes);
}

/* ---- thin products ---- */

/* rows x cols dot products of contiguous runs */
CB_INLINE void NAME(dot_tile)(int rows, int cols, int64_t k, const real *a, int64_t a_row, const real *b,
                              int64_t b_col, const real *bias, real *c, int64_t c_row) {
    enum { AHEAD = 2048 / sizeof(real) };
    NAME(vec) sum[4][4], more[4][4];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++) sum[i][j] = more[i][j] = (NAME(vec)){0};
    int64_t at = 0, ahead = rows * k <= 4096 ? rows * a_row : AHEAD; /* the next rows, if they fit in L1 */
    bool twice = rows * cols <= 4; /* a second set of sums hides the latency of few */
    if (twice)
        for (; at + 2 * NAME(vl) <= k; at += 2 * NAME(vl))
            for (int i = 0; i < rows; i++)
                for (int j = 0; j < cols; j++) {
                    const real *x = a + i * a_row + at, *y = b + j * b_col + at;
                    sum[i][j] += *(const NAME(vecu) *)x * *(const NAME(vecu) *)y;
                    more[i][j] += *(const NAME(vecu) *)(x + NAME(vl)) * *(const NAME(vecu) *)(y + NAME(vl));
                }
    for (; at + NAME(vl) <= k; at += NAME(vl))
        for (int i = 0; i < rows; i++) {
            __builtin_prefetch(a + i * a_row + at + ahead);
            for (int j = 0; j < cols; j++)
                sum[i][j] +=
                    *(const NAME(vecu) *)(a + i * a_row + at) * *(const NAME(vecu) *)(b + j * b_col + at);
        }
    if (at < k) {
        NAME(vec) right[4];
        for (int j = 0; j < cols; j++) right[j] = NAME(load_first)(b + j * b_col + at, k - at);
        for (int i = 0; i < rows; i++) {
            NAME(vec) left = NAME(load_first)(a + i * a_row + at, k - at);
            for (int j = 0; j < cols; j++) sum[i][j] += left * right[j];
        }
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols && twice; j++) sum[i][j] += more[i][j];
    NAME(vec) flat[16];
    real totals[16];
    for (int i = 0; i < rows * cols; i++) flat[i] = sum[i / cols][i % cols];
    for (int i = 0; i + 4 <= rows * cols; i += 4) NAME(sum4)(flat + i, totals + i);
    for (int i = rows * cols & ~3; i < rows * cols; i++) totals[i] = NAME(vec_sum)(flat[i]);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++)
            c[i * c_row + j] = bias ? totals[i * cols + j] + bias[j] : totals[i * cols + j];
}

static void NAME(dots)(int64_t m, int64_t n, int64_t k, const real *a, int64_t a_row, const real *b,
                       int64_t b_col, const real *bias, real *c, int64_t c_row) {
#define DOTS(rows, cols)                                                                              \
    NAME(dot_tile)(rows, cols, k, a + i * a_row, a_row, b + j * b_col, b_col, bias ? bias + j : NULL, \
                   c + i * c_row + j, c_row)
#define COLUMNS(rows)                             \
    {                                             \
        int64_t j = 0;                            \
        for (; j + 4 <= n; j += 4) DOTS(rows, 4); \
        for (; j + 2 <= n; j += 2) DOTS(rows, 2); \
        for (; j < n; j++) DOTS(rows, 1);         \
    }
    int64_t i = 0;
    for (; i + 4 <= m; i += 4) COLUMNS(4)
    for (; i < m; i++) COLUMNS(1)
#undef COLUMNS
#undef DOTS
}

/* A few rows times a matrix with contiguous rows, read once in the order of memory. */
static void NAME(rows_times)(int64_t m, int64_t n, int64_t k, const real *a, int64_t a_row, int64_t a_col,
                             const real *b, int64_t b_row, const real *bias, real *c, int64_t c_row) {
    enum { STRIP = 2048, LINE = 64 / sizeof(real) };
    for (int64_t j0 = 0; j0 < n; j0 += STRIP)
        for (int64_t i = 0; i < m; i++) {
            int64_t cols = CB_MIN(STRIP, n - j0), r = 0;
            real *restrict to = c + i * c_row + j0;
            for (int64_t j = 0; j < cols; j++) to[j] = bias ? bias[j0 + j] : 0;
            for (; r + 8 <= k; r += 8) {
                const real *x = a + i * a_row + r * a_col, *restrict y = b + r * b_row + j0;
                real x0 = x[0], x1 = x[a_col], x2 = x[2 * a_col], x3 = x[3 * a_col];
                real x4 = x[4 * a_col], x5 = x[5 * a_col], x6 = x[6 * a_col], x7 = x[7 * a_col];
                int64_t j = 0;
#define EIGHT_ROWS(type)                                                                          \
    {                                                                                             \
        const real *z = y + j;                                                                    \
        *(type *)(to + j) +=                                                                      \
            ((x0 * ROW(type, 0) + x1 * ROW(type, 1)) + (x2 * ROW(type, 2) + x3 * ROW(type, 3))) + \
            ((x4 * ROW(type, 4) + x5 * ROW(type, 5)) + (x6 * ROW(type, 6) + x7 * ROW(type, 7)));  \
    }
#define ROW(type, q) (*(const type *)(z + q * b_row))
                while (j + LINE <= cols) {
                    for (int q = 8; q < 16; q++) __builtin_prefetch(y + j + q * b_row); /* the next eight */
                    for (int v = 0; v < LINE; v += NAME(vl), j += NAME(vl)) EIGHT_ROWS(NAME(vecu))
                }
                for (; j < cols; j++) EIGHT_ROWS(real)
#undef ROW
#undef EIGHT_ROWS
            }
            for (; r < k; r++) {
                real x = a[i * a_row + r * a_col];
                const real *restrict y = b + r * b_row + j0;
                for (int64_t j = 0; j < cols; j++) to[j] += x * y[j];
            }
        }
}

/* ---- batches of tiny products ---- */

/* c [m, n] = a @ b with rows of b that are neighbours' and n a constant of at most 8: rows in one vector */
CB_INLINE void NAME(tiny_rows)(int n, int64_t m, int64_t k, const real *a, int64_t a_row, int64_t a_col,
                               const real *b, int64_t b_row, real *c) {
    typedef real row __attribute__((vector_size(8 * sizeof(real))));
    typedef real half __attribute__((vector_size(4 * sizeof(real))));
#define TINY(type)                                                       \
    for (int64_t i = 0; i < m; i++, a += a_row, c += n) {                \
        type sum = {0};                                                  \
        for (int64_t p = 0; p < k; p++) {                                \
            type right = {0};                                            \
            if (n == 4 || n == 8)                                        \
                memcpy(&right, b + p * b_row, (size_t)n * sizeof(real)); \
            else                                                         \
                for (int j = 0; j < n; j++) right[j] = b[p * b_row + j]; \
            sum += a[p * a_col] * right;                                 \
        }                                                                \
        if (n == 4 || n == 8)                                            \
            memcpy(c, &sum, (size_t)n * sizeof(real));                   \
        else                                                             \
            for (int j = 0; j < n; j++) c[j] = sum[j];                   \
    }
    if (n <= 4) {
        TINY(half)
    } else {
        TINY(row)
    }
#undef TINY
}

static void NAME(tiny)(int64_t m, int64_t n, int64_t k, const real *a, int64_t a_row, int64_t a_col,
                       const real *b, int64_t b_row, real *c) {
#define SIZE(n) \
    case n: NAME(tiny_rows)(n, m, k, a, a_row, a_col, b, b_row, c); return;
    switch (n) { SIZE(1) SIZE(2) SIZE(3) SIZE(4) SIZE(5) SIZE(6) SIZE(7) SIZE(8) }
#undef SIZE
}

#if defined(__AVX512F__)
/* A batch of products whose operands and results fit a vector each: for every p, items of a and of b are
 * brought to the places of the results they go into. */
static void NAME(permuted)(void *context, int64_t begin, int64_t end) {
    typedef typeof((NAME(vec)){0} == 0) places;
    const cb_gemm *g = context;
    places left[NAME(vl)], right[NAME(vl)];
    int64_t k = g->k, a_items = 1 + (g->m - 1) * g->a_row + (k - 1) * g->a_col,
            b_items = 1 + (k - 1) * g->b_row + (g->n - 1) * g->b_col, c_items = g->m * g->n;
    for (int64_t p = 0; p < k; p++)
        for (int64_t i = 0; i < NAME(vl); i++) {
            left[p][i] = i < c_items ? i / g->n * g->a_row + p * g->a_col : 0;
            right[p][i] = i < c_items ? p * g->b_row + i % g->n * g->b_col : 0;
        }
    const real *a = (const real *)g->a + begin * g->a_batch[0],
               *b = (const real *)g->b + begin * g->b_batch[0];
    real *c = (real *)g->c + begin * c_items;
    for (int64_t item = begin; item < end; item++, c += c_items) {
        NAME(vec) x = NAME(load_first)(a, a_items), y = NAME(load_first)(b, b_items), sum = {0};
        for (int64_t p = 0; p < k; p++) sum += __builtin_shuffle(x, left[p]) * __builtin_shuffle(y, right[p]);
        NAME(store_first)(c, sum, c_items);
        a += g->a_batch[0];
        b += g->b_batch[0];
    }
}
#endif

/* One block of one product, by the kernel that suits its shape. */
static int NAME(product)(int64_t m, int64_t n, int64_t k, const void *a, int64_t a_row, int64_t a_col,
                         const void *b, int64_t b_row, int64_t b_col, const void *bias, void *c,
                         int64_t c_row) {
    if (n <= 8 && b_col == 1 && m <= 8 && k <= 8 && c_row == n && !bias) {
        NAME(tiny)(m, n, k, a, a_row, a_col, b, b_row, c);
    } else if (a_col == 1 && b_row == 1 &&
               (k >= 2 * NAME(vl) ? m <= 4 || n <= 4 || (n <= 16 && k > NAME(kc)) : n == 1)) {
        NAME(dots)(m, n, k, a, a_row, b, b_col, bias, c, c_row);
    } else if (b_col == 1 && m <= 2 && n >= NAME(vl)) {
        NAME(rows_times)(m, n, k, a, a_row, a_col, b, b_row, bias, c, c_row);
    } else if (a_row == 1 && n == 1 && c_row == 1 && m >= NAME(vl) && !bias) { /* the transposed problem */
        NAME(rows_times)(1, m, k, b, 0, b_row, a, a_col, NULL, c, 0);
    } else if (n <= NAME(half) && n >= NAME(half) / 4 && k <= NAME(kc) && c_row == n) {
        NAME(narrow_half)(m, n, k, a, a_row, a_col, b, b_row, b_col, bias, c);
    } else if (n > NAME(half) && n <= NAME(vl) && k <= NAME(kc) && c_row == n) {
        NAME(narrow)(m, n, k, a, a_row, a_col, b, b_row, b_col, bias, c);
    } else {
        NAME(block)(m, n, k, a, a_row, a_col, b, b_row, b_col, bias, c, c_row, false);
    }
    return CB_OK;
}
