/* Convolutions of bfloat16 on processors that multiply pairs of them (AVX512_BF16): the kernels of conv.c
 * over 32-bit items, summed in float and rounded once. Elsewhere the frame casts to float instead.
 *
 * An item holds the same position of two neighbouring channels, in planes as in weights; in weight gradients
 * two neighbouring positions of a channel, which lie in the cotangent as they are. The instruction takes
 * subnormal numbers for zeros. */
#include "conv_plan.h"

#if defined(__AVX512F__) && defined(__AVX512VL__) && defined(__AVX512BW__)
#include <immintrin.h>

#include "half.h"

#define NAME(x) CB_PASTE(f32, x)
#define real float
#include "gemm_kernel.h"
#undef real
#undef NAME
#undef accum
#undef MULTIPLY_ADD

enum { u16_vl = 32 };
#define NAME(x) CB_PASTE(u16, x)
#define real uint16_t
#include "conv_copy_typed.h"
#undef real
#undef NAME
#undef plain
#undef PACKED
#undef LOAD_RUN
#undef STORE_RUN
#undef TURN_SUMS
#undef PREPARE_PLANES
#undef TURN_PLANES

#pragma GCC push_options
#pragma GCC target("avx512bf16")

CB_INLINE __mmask16 first_lanes(int64_t n) {
    return n >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << n) - 1);
}

CB_INLINE __m512i widened(__mmask16 mask, const uint16_t *from) {
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from));
}

/* to[i] = (low[i * step], high[i * step]) */
CB_INLINE void pair_run(uint32_t *to, const uint16_t *low, const uint16_t *high, int64_t n, int64_t step) {
    if (step != 1) {
        for (int64_t i = 0; i < n; i++) to[i] = low[i * step] | (uint32_t)high[i * step] << 16;
        return;
    }
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 mask = first_lanes(n - i);
        __m512i upper = _mm512_slli_epi32(widened(mask, high + i), 16);
        _mm512_mask_storeu_epi32(to + i, mask, _mm512_or_epi32(widened(mask, low + i), upper));
    }
}

CB_INLINE void round_run(uint16_t *to, int64_t step, const float *from, int64_t n) {
    if (step != 1) {
        for (int64_t i = 0; i < n; i++) to[i * step] = float_to_bfloat(from[i]);
        return;
    }
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 mask = first_lanes(n - i);
        _mm256_mask_storeu_epi16(to + i, mask,
                                 (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, from + i)));
    }
}

/* Planes of `size` positions of n channels: at each position 16 channels' pairs of it and the one `step` on.
 */
static void pair_planes(int64_t size, int64_t n, int64_t step, const uint16_t *from, int64_t pitch,
                        uint32_t *to);

#define NAME(x) CB_PASTE(bf16, x)
#define real uint32_t
#define accum float
#define plain uint16_t
#define PACKED 2
#define MULTIPLY_ADD(sum, left, right)                                                            \
    ((sum) = (bf16_sums)_mm512_dpbf16_ps((__m512)(sum), (__m512bh)_mm512_set1_epi32((int)(left)), \
                                         (__m512bh)(right)))
#define LOAD_RUN(to, from, plane, n, step) pair_run(to, from, (from) + (plane), n, step)
#define STORE_RUN(to, step, from, n) round_run(to, step, from, n)
#define TURN_SUMS f32_turn
#define PREPARE_PLANES u16_prepare
#define TURN_PLANES(size, n, step, from, pitch, to) pair_planes(size, n, step, from, pitch, to)
#include "conv_typed.h"
#include "conv_weight_typed.h"

static void pair_planes(int64_t size, int64_t n, int64_t step, const uint16_t *from, int64_t pitch,
                        uint32_t *to) {
    enum { VL = 16, STRIP = 64 };
    uint32_t strip[VL * STRIP];
    for (int64_t at = 0; at < size; at += STRIP) {
        int64_t count = CB_MIN(STRIP, size - at), whole = CB_MAX(0, CB_MIN(count, size - step - at));
        for (int64_t c = 0; c < n; c++) {
            const uint16_t *low = from + c * pitch + at;
            pair_run(strip + c * STRIP, low, low + step, whole, 1);
            for (int64_t i = whole; i < count; i++)
                strip[c * STRIP + i] = low[i]; /* zeros behind the plane */
        }
        bf16_pack(count, n, VL, strip, 1, STRIP, to + at * VL);
    }
}

/* items: rows of pairs, of one filter each or of two */
typedef struct pairing {
    const uint16_t *from;
    uint32_t *to;
    int64_t n, blocks; /* neighbours to pair with the n behind them; of those in an item */
} pairing;

static void pair_rows(void *context, int64_t begin, int64_t end) {
    const pairing *r = context;
    int64_t b = begin * r->blocks, stop = end * r->blocks;
    if (r->n <= 16) { /* one permutation each; what is too much of a store is stored again by the next */
        uint16_t lanes[32] = {0};
        for (int i = 0; i < r->n; i++) lanes[2 * i] = (uint16_t)i, lanes[2 * i + 1] = (uint16_t)(r->n + i);
        __m512i order = _mm512_loadu_si512(lanes);
        for (; b * r->n + 16 <= stop * r->n; b++)
            _mm512_storeu_si512(r->to + b * r->n,
                                _mm512_permutexvar_epi16(order, _mm512_loadu_si512(r->from + 2 * b * r->n)));
    }
    for (; b < stop; b++)
        pair_run(r->to + b * r->n, r->from + 2 * b * r->n, r->from + (2 * b + 1) * r->n, r->n, 1);
}

static void pair_weights(const cb_conv_shape *s, bool filters, const void *from, void *to) {
    int64_t taps = size3(s->kernel), rows = s->groups * s->oc / (filters ? 2 : 1);
    pairing r = {from, to, filters ? s->ic * taps : taps, filters ? 1 : s->ic / 2};
    cb_parallel(rows, CB_MAX(1, 32768 / CB_MAX(1, s->ic * taps)), pair_rows, &r);
}
#pragma GCC pop_options

const conv_kernels *CB_FN(conv_bf16_kernels)(void) {
    static const conv_kernels kernels = {sizeof(uint32_t),
                                         sizeof(uint16_t),
                                         bf16_vl,
                                         bf16_mr,
                                         bf16_pixel_vectors,
                                         bf16_pack_weights,
                                         bf16_prepare_units,
                                         bf16_correlate,
                                         bf16_weight_pieces,
                                         bf16_weight_sums,
                                         NULL,
                                         NULL,
                                         pair_weights};
    return __builtin_cpu_supports("avx512bf16") ? &kernels : NULL;
}
#else
const conv_kernels *CB_FN(conv_bf16_kernels)(void) { return NULL; }
#endif
