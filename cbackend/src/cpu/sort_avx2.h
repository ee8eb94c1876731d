/* What sort_vector.h asks of AVX2, for eight lanes of 32 bits. Masks are numbers, as those of AVX-512. */
#ifndef CB_CPU_SORT_AVX2_H
#define CB_CPU_SORT_AVX2_H

#include <immintrin.h>

#include "cpu.h"

/* for each mask the lanes it has, in order, then the others: a byte each */
#define BELOW_BIT(m, i) __builtin_popcount((m) & ((1 << (i)) - 1))
#define PLACE(m, i) \
    (uint64_t)(i) << 8 * ((m) >> (i) & 1 ? BELOW_BIT(m, i) : __builtin_popcount(m) + BELOW_BIT(255 ^ (m), i))
#define PLACES(m)                                                                                     \
    PLACE(m, 0) | PLACE(m, 1) | PLACE(m, 2) | PLACE(m, 3) | PLACE(m, 4) | PLACE(m, 5) | PLACE(m, 6) | \
        PLACE(m, 7)
#define PLACES_4(m) PLACES(m), PLACES(m + 1), PLACES(m + 2), PLACES(m + 3)
#define PLACES_16(m) PLACES_4(m), PLACES_4(m + 4), PLACES_4(m + 8), PLACES_4(m + 12)
#define PLACES_64(m) PLACES_16(m), PLACES_16(m + 16), PLACES_16(m + 32), PLACES_16(m + 48)
static const uint64_t avx2_places[256] = {PLACES_64(0), PLACES_64(64), PLACES_64(128), PLACES_64(192)};

CB_INLINE __m256i avx2_lanes(uint32_t mask) {
    const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)mask), bits), bits);
}
CB_INLINE __m256i avx2_read(__m256i others, uint32_t mask, const void *from) {
    if (mask == 255) return _mm256_loadu_si256(from);
    __m256i lanes = avx2_lanes(mask);
    return _mm256_blendv_epi8(others, _mm256_maskload_epi32(from, lanes), lanes);
}
CB_INLINE void avx2_write(void *to, uint32_t mask, __m256i v) {
    if (mask == 255)
        _mm256_storeu_si256(to, v);
    else
        _mm256_maskstore_epi32(to, avx2_lanes(mask), v);
}
CB_INLINE __m256i avx2_pack(uint32_t mask, __m256i v) {
    __m128i places = _mm_loadl_epi64((const __m128i *)&avx2_places[mask]);
    return _mm256_permutevar8x32_epi32(v, _mm256_cvtepu8_epi32(places));
}
CB_INLINE uint32_t avx2_equal(__m256i a, __m256i b) {
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(a, b)));
}
#endif
