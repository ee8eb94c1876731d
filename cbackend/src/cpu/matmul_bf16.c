/* Products of bfloat16 matrices on processors that multiply pairs of them (AVX512_BF16), summed in float and
 * rounded once. Elsewhere, and for small or thin products, the frame casts to float instead.
 *
 * Neighbours along k form one 32-bit item: a is read in place where its rows hold them so, b is packed into
 * panels of such items. The instruction takes subnormal numbers for zeros. Pieces depend on sizes only. */
#include "cpu.h"
#include "gemm_batch.h"

#if defined(__AVX512F__) && defined(__AVX512VL__) && defined(__AVX512BW__)
#include <immintrin.h>

#define real uint32_t
#define NAME(x) CB_PASTE(u32, x)
#include "gemm_kernel.h"
#undef real
#undef NAME

enum { VL = 16, NV = 3, WIDE = VL * NV, MR = 8, ROWS = 64, SMALLEST = 1 << 18 };
#define WITH_PAIRS __attribute__((target("avx512bf16")))

typedef uint32_t item __attribute__((aligned(2), may_alias));

typedef struct bf16_run {
    const cb_gemm *g;
    const uint16_t *from_a, *from_b; /* of one item of the batch */
    uint16_t *to;
    const uint32_t *a;
    uint32_t *a_copy, *panels;
    int64_t a_row, pairs, column_blocks, block; /* block: panels a piece */
} bf16_run;

static inline int64_t blocks_of(int64_t n, int64_t size) { return (n + size - 1) / size; }

static inline uint32_t pair(const uint16_t *x, int64_t step, bool both) {
    return x[0] | (both ? (uint32_t)x[step] << 16 : 0);
}

/* items: rows of a */
static void pack_rows(void *context, int64_t begin, int64_t end) {
    const bf16_run *r = context;
    const cb_gemm *g = r->g;
    for (int64_t p = 0; p < r->pairs; p++) { /* down the columns, in case those are contiguous */
        const uint16_t *from = r->from_a + 2 * p * g->a_col;
        bool both = 2 * p + 1 < g->k;
        for (int64_t i = begin; i < end; i++)
            r->a_copy[i * r->pairs + p] = pair(from + i * g->a_row, g->a_col, both);
    }
}

/* items: panels of b, [pairs][whole vectors] each */
static void pack_panels(void *context, int64_t begin, int64_t end) {
    const bf16_run *r = context;
    const cb_gemm *g = r->g;
    bool paired = g->b_row == 1 && g->k % 2 == 0 && g->b_col % 2 == 0 && (uintptr_t)r->from_b % 4 == 0;
    for (int64_t panel = begin; panel < end; panel++) {
        int64_t j0 = panel * WIDE, n = CB_MIN(WIDE, g->n - j0), width = blocks_of(n, VL) * VL;
        uint32_t *to = r->panels + j0 * r->pairs;
        const uint16_t *from = r->from_b + j0 * g->b_col;
        if (paired) {
            u32_pack(r->pairs, n, width, (const uint32_t *)from, 1, g->b_col / 2, to);
            continue;
        }
        for (int64_t p = 0; p < r->pairs; p++, to += width) {
            const uint16_t *row = from + 2 * p * g->b_row;
            bool both = 2 * p + 1 < g->k;
            if (g->b_col == 1 && both) {
                const uint16_t *next = row + g->b_row;
                for (int64_t j = 0; j < n; j++) to[j] = row[j] | (uint32_t)next[j] << 16;
            } else {
                for (int64_t j = 0; j < n; j++) to[j] = pair(row + j * g->b_col, g->b_row, both);
            }
            for (int64_t j = n; j < width; j++) to[j] = 0;
        }
    }
}

/* rows [0, rows) of a times one panel of nv vectors, into the first `columns` columns of c */
WITH_PAIRS CB_INLINE void bf16_tile(int mr, int nv, int64_t rows, int64_t pairs, const uint32_t *a,
                                    int64_t a_row, const uint32_t *b, const uint16_t *bias, int64_t columns,
                                    uint16_t *c, int64_t c_row) {
    __m512 sum[MR][NV];
    const item *row[MR];
    for (int i = 0; i < mr; i++) {
        row[i] = (const item *)a + CB_MIN(i, rows - 1) * a_row;
        for (int v = 0; v < nv; v++) sum[i][v] = _mm512_setzero_ps();
    }
    for (int64_t p = 0; p < pairs; p++, b += nv * VL) {
        __m512bh right[NV];
        for (int v = 0; v < nv; v++) right[v] = (__m512bh)_mm512_loadu_si512(b + v * VL);
        for (int i = 0; i < mr; i++) {
            __m512bh left = (__m512bh)_mm512_set1_epi32((int)row[i][p]);
            for (int v = 0; v < nv; v++) sum[i][v] = _mm512_dpbf16_ps(sum[i][v], left, right[v]);
        }
    }
#pragma GCC unroll 3
    for (int v = 0; v < nv; v++) {
        int64_t left = columns - v * VL;
        __mmask16 mask = left >= VL ? (__mmask16)0xffff : (__mmask16)((1u << left) - 1);
        __m512 more = _mm512_setzero_ps();
        if (bias)
            more = _mm512_castsi512_ps(
                _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, bias + v * VL)), 16));
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++)
            if (i < rows)
                _mm256_mask_storeu_epi16(c + i * c_row + v * VL, mask,
                                         (__m256i)_mm512_cvtneps_pbh(_mm512_add_ps(sum[i][v], more)));
    }
}

/* items: (block of rows, block of panels) */
WITH_PAIRS static void bf16_blocks(void *context, int64_t begin, int64_t end) {
    const bf16_run *r = context;
    const cb_gemm *g = r->g;
    for (int64_t piece = begin; piece < end; piece++) {
        int64_t i0 = piece / r->column_blocks * ROWS, i1 = CB_MIN(g->m, i0 + ROWS);
        int64_t first = piece % r->column_blocks * r->block * WIDE;
        for (int64_t j = first; j < CB_MIN(g->n, first + r->block * WIDE); j += WIDE) {
            int64_t columns = CB_MIN(WIDE, g->n - j), nv = blocks_of(columns, VL);
            const uint16_t *bias = g->bias ? (const uint16_t *)g->bias + j : NULL;
            for (int64_t i = i0; i < i1; i += MR) {
#define TILE(mr, nv)                                                                                         \
    bf16_tile(mr, nv, CB_MIN(mr, i1 - i), r->pairs, r->a + i * r->a_row, r->a_row, r->panels + j * r->pairs, \
              bias, columns, r->to + i * g->n + j, g->n)
                if (i1 - i > 4) {
                    if (nv == 3)
                        TILE(8, 3);
                    else if (nv == 2)
                        TILE(8, 2);
                    else
                        TILE(8, 1);
                } else {
                    if (nv == 3)
                        TILE(4, 3);
                    else if (nv == 2)
                        TILE(4, 2);
                    else
                        TILE(4, 1);
                }
#undef TILE
            }
        }
    }
}

int CB_FN(gemm_16bit)(const cb_gemm *given) {
    cb_gemm folded = *given, *g = &folded;
    fold_batch(g);
    int64_t work = g->m * g->n * g->k;
    if (g->dtype != CB_BF16 || !__builtin_cpu_supports("avx512bf16") || g->m < MR || g->n < VL || g->k < VL ||
        work < SMALLEST)
        return CB_ERR_UNSUPPORTED;
    bf16_run r = {.g = g, .pairs = blocks_of(g->k, 2)};
    int64_t panels = blocks_of(g->n, WIDE);
    bool in_place = g->a_col == 1 && g->k % 2 == 0 && g->a_row % 2 == 0;
    int64_t a_items = in_place ? 0 : g->m * r.pairs,
            nbytes = (a_items + r.pairs * blocks_of(g->n, VL) * VL) * (int64_t)sizeof(uint32_t);
    r.panels = cb_alloc(CB_CPU, nbytes);
    if (!r.panels) return CB_ERR_MEMORY;
    r.a_copy = r.panels + nbytes / (int64_t)sizeof(uint32_t) - a_items;
    r.block = CB_MAX(1, CB_MIN(panels, (1 << 22) / (ROWS * WIDE * CB_MAX(1, g->k))));
    r.column_blocks = blocks_of(panels, r.block);
    for (int64_t item = 0; item < g->batch; item++) {
        int64_t a = 0, b = 0, rest = item;
        for (int d = g->nbatch - 1; d >= 0; d--) {
            a += rest % g->batch_shape[d] * g->a_batch[d];
            b += rest % g->batch_shape[d] * g->b_batch[d];
            rest /= g->batch_shape[d];
        }
        r.from_a = (const uint16_t *)g->a + a;
        r.from_b = (const uint16_t *)g->b + b;
        r.to = (uint16_t *)g->c + item * g->m * g->n;
        r.a = in_place ? (const uint32_t *)r.from_a : r.a_copy;
        r.a_row = in_place ? g->a_row / 2 : r.pairs;
        if (!in_place) cb_parallel(g->m, CB_MAX(16, 32768 / g->k), pack_rows, &r);
        cb_parallel(panels, CB_MAX(1, 32768 / (g->k * WIDE)), pack_panels, &r);
        cb_parallel(blocks_of(g->m, ROWS) * r.column_blocks, 1, bf16_blocks, &r);
    }
    cb_free(CB_CPU, r.panels, nbytes);
    return CB_OK;
}
#else
int CB_FN(gemm_16bit)(const cb_gemm *g) {
    (void)g;
    return CB_ERR_UNSUPPORTED;
}
#endif
