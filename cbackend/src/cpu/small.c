/* Factorizations of many small real matrices, and what follows from them: each step works on a vector that
 * holds one element of every matrix, so nothing is horizontal and every order runs at full width. Lanes do
 * not influence one another: a matrix gives the same result among any others.
 *
 * Pivots are LAPACK's. What a lane gives after a zero pivot or a failed Cholesky step is no result: info says
 * so, and the frame does such a matrix again by itself.
 *
 * For rotations: 2^TARGET is the size of a scaled matrix, whose squared norms' squares do not overflow; TINY
 * is a squared norm whose square times TOLERANCE, that of the unit roundoff, is still a normal number. */
#include "vmath.h"
#include "cpu.h"

#include <float.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

/* bytes of a vector */
#if defined(__AVX512F__)
#define WIDTH 64
#elif defined(__AVX2__)
#define WIDTH 32
#else
#define WIDTH 16
#endif
#define LANES ((int)(WIDTH / sizeof(T)))

#define T float
#define I int32_t
#define SMALLEST FLT_MIN
#define LARGEST FLT_MAX
#define TARGET 26
#define TINY 0x1p-38f
#define TOLERANCE 0x1p-48f
#define ROOT(x) __builtin_sqrtf(x)
#define NAME(f) f##_f32
#define READ(n, from) (vec_f32) _mm512_maskz_loadu_ps((__mmask16)((1u << (n)) - 1), from)
#define WRITE(n, to, v) _mm512_mask_storeu_ps(to, (__mmask16)((1u << (n)) - 1), (__m512)(v))
#include "small_typed.h"
#define T double
#define I int64_t
#define SMALLEST DBL_MIN
#define LARGEST DBL_MAX
#define TARGET 240
#define TINY 0x1p-450
#define TOLERANCE 0x1p-106
#define ROOT(x) __builtin_sqrt(x)
#define NAME(f) f##_f64
#define READ(n, from) (vec_f64) _mm512_maskz_loadu_pd((__mmask8)((1u << (n)) - 1), from)
#define WRITE(n, to, v) _mm512_mask_storeu_pd(to, (__mmask8)((1u << (n)) - 1), (__m512d)(v))
#include "small_typed.h"

void CB_FN(small)(cb_small *s) {
    if (s->dtype == CB_F32)
        group_f32(s);
    else
        group_f64(s);
}
