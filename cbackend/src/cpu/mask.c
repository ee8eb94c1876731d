/* Masks: counting true items, their positions, and the items they select. Masks are contiguous bools, worked
 * on in pieces of CB_MASK_PIECE; the sums of the counts tell each piece where its results go. */
#include "../index_views.h"
#include "cpu.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

enum { TILE = 1024 };

typedef struct {
    double re, im;
} item16;

static void count_pieces(void *context, int64_t begin, int64_t end) {
    void **c = context;
    const uint8_t *mask = c[0];
    int64_t *counts = c[1];
    for (int64_t i = begin; i < end;
         i += 128) { /* sums of 128 flags fit in a byte, where they vectorise best */
        int64_t n = CB_MIN(128, end - i);
        uint8_t sum = 0;
        for (int64_t j = 0; j < n; j++) sum = (uint8_t)(sum + mask[i + j]);
        counts[begin / CB_MASK_PIECE] += sum;
    }
}

void CB_FN(mask_count)(const cb_tensor *mask, int64_t *counts) {
    memset(counts, 0, (size_t)((mask->numel + CB_MASK_PIECE - 1) / CB_MASK_PIECE) * sizeof *counts);
    cb_parallel(mask->numel, CB_MASK_PIECE, count_pieces, (void *[]){mask->data, counts});
}

typedef struct mask_run {
    const uint8_t *mask;
    const int64_t *starts;
    int ndim;
    const int64_t *shape;
    int64_t *positions;
    const char *from;
    char *to;
    int itemsize;
} mask_run;

/* positions of the true items among n <= TILE, without branches on data; room for 8 more is needed */
static int64_t pack_positions(const uint8_t *mask, int64_t n, int64_t first, int64_t *positions) {
    int64_t count = 0, i = 0;
#if defined(__AVX512F__) && defined(__AVX512BW__)
    __m512i at = _mm512_add_epi64(_mm512_set1_epi64(first), _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7));
    for (; i + 64 <= n; i += 64) {
        __m512i flags = _mm512_loadu_si512(mask + i);
        uint64_t bits = _mm512_test_epi8_mask(flags, flags);
        if (bits == 0) continue; /* sparse masks */
        __m512i here = _mm512_add_epi64(at, _mm512_set1_epi64(i));
        for (int k = 0; k < 8; k++) {
            __mmask8 part = (__mmask8)(bits >> 8 * k);
            _mm512_storeu_si512(positions + count, _mm512_maskz_compress_epi64(part, here));
            count += __builtin_popcount(part);
            here = _mm512_add_epi64(here, _mm512_set1_epi64(8));
        }
    }
#endif
    for (; i < n; i++) {
        positions[count] = first + i;
        count += mask[i];
    }
    return count;
}

static void nonzero_pieces(void *context, int64_t begin, int64_t end) {
    const mask_run *m = context;
    int ndim = m->ndim;
    int64_t *out = m->positions + m->starts[begin / CB_MASK_PIECE] * ndim;
    int64_t found[TILE + 8];
    for (int64_t i = begin; i < end; i += TILE) {
        int64_t count = pack_positions(m->mask + i, CB_MIN(TILE, end - i), i, found);
        if (ndim == 1) {
            memcpy(out, found, (size_t)count * sizeof *out);
            out += count;
            continue;
        }
        int64_t base = 0, row = -1,
                size = m->shape[ndim - 1]; /* elements before the current row of the last dimension */
        for (int64_t j = 0; j < count; j++, out += ndim) {
            if (row < 0 || found[j] >= base + size) {
                row = found[j] / size;
                base = row * size;
                int64_t rest = row;
                for (int d = ndim - 2; d >= 0; d--) {
                    out[d] = rest % m->shape[d];
                    rest /= m->shape[d];
                }
            } else {
                for (int d = 0; d < ndim - 1; d++) out[d] = out[d - ndim];
            }
            out[ndim - 1] = found[j] - base;
        }
    }
}

void CB_FN(mask_nonzero)(cb_tensor *out, const cb_tensor *mask, const int64_t *starts) {
    mask_run m = {.mask = mask->data,
                  .starts = starts,
                  .ndim = mask->ndim,
                  .shape = mask->shape,
                  .positions = out->data};
    cb_parallel(mask->numel, CB_MASK_PIECE, nonzero_pieces, &m);
}

static void select_pieces(void *context, int64_t begin, int64_t end) {
    const mask_run *m = context;
    char *to = m->to + m->starts[begin / CB_MASK_PIECE] * m->itemsize;
    int64_t found[TILE + 8];
    for (int64_t i = begin; i < end; i += TILE) {
        int64_t count = pack_positions(m->mask + i, CB_MIN(TILE, end - i), i, found);
#define PICK(type) \
    for (int64_t j = 0; j < count; j++) ((type *)to)[j] = ((const type *)m->from)[found[j]]
        switch (m->itemsize) {
            case 1: PICK(uint8_t); break;
            case 2: PICK(uint16_t); break;
            case 4: PICK(uint32_t); break;
            case 8: PICK(uint64_t); break;
            default: PICK(item16);
        }
#undef PICK
        to += count * m->itemsize;
    }
}

void CB_FN(mask_select)(cb_tensor *out, const cb_tensor *x, const cb_tensor *mask, const int64_t *starts) {
    mask_run m = {
        .mask = mask->data, .starts = starts, .from = x->data, .to = out->data, .itemsize = x->itemsize};
    cb_parallel(mask->numel, CB_MASK_PIECE, select_pieces, &m);
}
