/* Sampling images between their elements: a tile of points at a time, first the corners of each (their places
 * in a plane, their weights, are they inside), then channel by channel the sums over them. Gradients of the
 * image are added up by one thread for each channel, in order of the points. */
#include "cpu.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

enum { GRID_TILE = 128, GRID_CORNERS = 8, GRID_WORK = 16384 };

#define F float
#define NAME(f) f##_f32
#if defined(__AVX512F__)
CB_INLINE __m512 picked_f32(const float *x, const int32_t *place, const int32_t *inside) {
    __m512i flags = _mm512_load_si512(inside);
    return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), _mm512_test_epi32_mask(flags, flags),
                                    _mm512_load_si512(place), x, 4);
}
#define PICK(x, place, inside) (lanes_f32) picked_f32(x, place, inside)
#endif
#include "grid_typed.h"
#define F double
#define NAME(f) f##_f64
#if defined(__AVX512F__)
CB_INLINE __m512d picked_f64(const double *x, const int32_t *place, const int32_t *inside) {
    __m512i flags = _mm512_cvtepi32_epi64(_mm256_load_si256((const __m256i *)inside));
    return _mm512_mask_i32gather_pd(_mm512_setzero_pd(), _mm512_test_epi64_mask(flags, flags),
                                    _mm256_load_si256((const __m256i *)place), x, 8);
}
#define PICK(x, place, inside) (lanes_f64) picked_f64(x, place, inside)
#endif
#include "grid_typed.h"

void CB_FN(grid_linear)(const cb_grid *g, void *y, const void *x, const void *at) {
    if (g->dtype == CB_F32)
        grid_forward_f32(g, y, x, at);
    else
        grid_forward_f64(g, y, x, at);
}

void CB_FN(grid_linear_grad)(const cb_grid *g, void *gx, void *gat, const void *ct, const void *x,
                             const void *at) {
    if (g->dtype == CB_F32)
        grid_backward_f32(g, gx, gat, ct, x, at);
    else
        grid_backward_f64(g, gx, gat, ct, x, at);
}
