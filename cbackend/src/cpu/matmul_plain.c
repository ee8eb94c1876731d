/* Matrix products by plain loops: 8- and 16-bit integers, and complex numbers too small for BLAS.
 *
 * Integer products wrap: signed types are computed as unsigned ones. They are added up in 32 bits, whose low
 * bits are the same. Each row of the result is a sum of multiples of rows of b. */
#include "cpu.h"

enum { STRIP = 512 }; /* columns of the result accumulated at a time, on the stack */

/* addresses of item `index` of the batch */
static void batch_item(const cb_gemm *g, int64_t index, int size, const char **a, const char **b, char **c) {
    *a = g->a;
    *b = g->b;
    *c = g->c + index * g->m * g->n * size;
    for (int d = g->nbatch - 1; d >= 0; d--) {
        int64_t i = index % g->batch_shape[d];
        index /= g->batch_shape[d];
        *a += i * g->a_batch[d] * size;
        *b += i * g->b_batch[d] * size;
    }
}

#define ROWS(name, type, wide)                                                                            \
    static void rows_##name(void *context, int64_t begin, int64_t end) {                                  \
        const cb_gemm *g = context;                                                                       \
        const char *a_ = NULL, *b_ = NULL;                                                                \
        char *c_ = NULL;                                                                                  \
        wide sums[STRIP];                                                                                 \
        for (int64_t r = begin; r < end; r++) {                                                           \
            int64_t item = r / g->m, i = r % g->m;                                                        \
            if (i == 0 || r == begin) batch_item(g, item, sizeof(type), &a_, &b_, &c_);                   \
            const type *a = (const type *)a_ + i * g->a_row, *b = (const type *)b_, *bias = g->bias;      \
            type *c = (type *)c_ + i * g->n;                                                              \
            for (int64_t j0 = 0; j0 < g->n; j0 += STRIP) {                                                \
                int64_t n = CB_MIN(STRIP, g->n - j0), step = g->b_col;                                    \
                for (int64_t j = 0; j < n; j++) sums[j] = bias ? bias[j0 + j] : (wide)0;                  \
                int64_t k = 0;                                                                            \
                for (; step == 1 && k + 4 <= g->k; k += 4) { /* four rows of b a visit of the sums */     \
                    const type *y = b + k * g->b_row + j0, *z = a + k * g->a_col;                         \
                    wide x0 = z[0], x1 = z[g->a_col], x2 = z[2 * g->a_col], x3 = z[3 * g->a_col];         \
                    const type *y1 = y + g->b_row, *y2 = y1 + g->b_row, *y3 = y2 + g->b_row;              \
                    for (int64_t j = 0; j < n; j++)                                                       \
                        sums[j] +=                                                                        \
                            (x0 * (wide)y[j] + x1 * (wide)y1[j]) + (x2 * (wide)y2[j] + x3 * (wide)y3[j]); \
                }                                                                                         \
                for (; k < g->k; k++) {                                                                   \
                    wide x = a[k * g->a_col];                                                             \
                    const type *y = b + k * g->b_row + j0 * step;                                         \
                    if (step == 1)                                                                        \
                        for (int64_t j = 0; j < n; j++) sums[j] += x * (wide)y[j];                        \
                    else                                                                                  \
                        for (int64_t j = 0; j < n; j++) sums[j] += x * (wide)y[j * step];                 \
                }                                                                                         \
                for (int64_t j = 0; j < n; j++) c[j0 + j] = (type)sums[j];                                \
            }                                                                                             \
        }                                                                                                 \
    }
ROWS(1, uint8_t, uint32_t)
ROWS(2, uint16_t, uint32_t)
ROWS(c64, cb_complex64, cb_complex64)
ROWS(c128, cb_complex128, cb_complex128)

int CB_FN(gemm_plain)(const cb_gemm *g) {
    int64_t rows = g->batch * g->m, work = CB_MAX(g->n * g->k, 1), grain = CB_MAX(1, 32768 / work);
    void (*body)(void *, int64_t, int64_t);
    switch (g->dtype) {
        case CB_C64: body = rows_c64; break;
        case CB_C128: body = rows_c128; break;
        default: body = cb_dtypes[g->dtype].size == 1 ? rows_1 : rows_2;
    }
    cb_parallel(rows, grain, body, (void *)g);
    return CB_OK;
}
