/* Sampling images between their elements: a tile of points at a time, first the taps of each, the elements
 * around it (their places in a plane, their weights, are they inside), then channel by channel the sums over
 * them. Gradients of the image are added up by one thread for each channel, in order of the points. */
#include "cpu.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

/* GRID_WAYS: taps along a dimension */
enum { GRID_TILE = 64, GRID_WAYS = 4, GRID_TAPS = 16, GRID_SLOPES = 32, GRID_WORK = 16384 };

/* is packing worth it where a point takes one element? */
#if defined(__AVX2__)
enum { GRID_PACKS_ONE = true };
#else
enum { GRID_PACKS_ONE = false };
#endif

/* weights of Keys' cubic kernel with a = -0.75: polynomials of the way from the second tap to the third */
static const double grid_cubic[GRID_WAYS][4] = {
    {-0.75, 1.5, -0.75, 0}, {1.25, -2.25, 0, 1}, {-1.25, 1.5, 0.75, 0}, {0.75, -0.75, 0, 0}};

static inline int grid_ways(const cb_grid *g) {
    return g->mode == CB_GRID_NEAREST ? 1 : g->mode == CB_GRID_LINEAR ? 2 : GRID_WAYS;
}
static inline int grid_taps(const cb_grid *g) {
    int taps = 1;
    for (int d = 0; d < g->nd; d++) taps *= grid_ways(g);
    return taps;
}

/* a place outside, reflected at the centres (align) or the edges of the last elements */
static inline int32_t grid_reflected(int32_t place, int32_t size, bool align) {
    int32_t once = align ? size - 1 : size, p = place >= 0 ? place : align ? -place : -1 - place;
    if (once == 0) return 0;
    p %= 2 * once;
    return p < size ? p : align ? 2 * once - p : 2 * once - 1 - p;
}

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

void CB_FN(grid_sample)(const cb_grid *g, void *y, const void *x, const void *at) {
    if (g->dtype == CB_F32)
        grid_forward_f32(g, y, x, at);
    else
        grid_forward_f64(g, y, x, at);
}

void CB_FN(grid_sample_grad)(const cb_grid *g, void *gx, void *gat, const void *ct, const void *x,
                             const void *at) {
    if (g->dtype == CB_F32)
        grid_backward_f32(g, gx, gat, ct, x, at);
    else
        grid_backward_f64(g, gx, gat, ct, x, at);
}
