/* Functions of float32 with kernels of their own, beside the loops over vmath.h that all others have.
 *
 * tanh and log, where a vector holds sixteen floats: one permutation looks up sixteen numbers in a register.
 * Tables and polynomials are our own fits (Lawson-weighted least squares, rounded one coefficient at a time);
 * centres of intervals are chosen so that the function there is nearly a float. sin, cos and tan: blocks of
 * numbers below 2^24 do without the choice of the bits of 1/pi, to the same results. */
#include "cpu.h"
#include "vmath.h"

#define NEAR(name)                                                                                         \
    static void unary_##name(int64_t n, void *out_, const void *const *in) {                               \
        enum { BLOCK = 128 };                                                                              \
        float *out = out_;                                                                                 \
        const float *xs = in[0];                                                                           \
        for (int64_t i = 0; i < n; i += BLOCK) {                                                           \
            int64_t end = CB_MIN(n, i + BLOCK);                                                            \
            int far = 0;                                                                                   \
            for (int64_t j = i; j < end; j++) far |= fabs_f32(xs[j]) >= 0x1p24f;                           \
            if (far)                                                                                       \
                _Pragma("GCC ivdep") for (int64_t j = i; j < end; j++) out[j] = cb_##name##_f32(xs[j], 0); \
            else                                                                                           \
                _Pragma("GCC ivdep") for (int64_t j = i; j < end; j++) out[j] = cb_##name##_f32(xs[j], 1); \
        }                                                                                                  \
    }
NEAR(sin)
NEAR(cos)
NEAR(tan)

#if defined(__AVX512F__)
#include <immintrin.h>

#define PICK(at, ...) _mm512_permutexvar_ps(at, _mm512_setr_ps(__VA_ARGS__))

/* Intervals are quarters of the octaves of 1 + |x|, as wide as the distance to the poles of tanh allows, from
 * 1 at position 12 on; the last begins where tanh rounds to 1. A polynomial in the distance to the centre:
 * 2^-26.5. The first interval is around 0, where the polynomial is x + ... */
CB_INLINE __m512 tanh_16(__m512 x) {
    __m512 sign = _mm512_set1_ps(-0.0f), a = _mm512_andnot_ps(sign, x);
    a = _mm512_min_ps(_mm512_set1_ps(9.0f), a); /* nan stays: the second operand */
    __m512i at = _mm512_srli_epi32(_mm512_castps_si512(_mm512_add_ps(a, _mm512_set1_ps(1.0f))), 21);
    __m512 d = _mm512_sub_ps(a, PICK(at, 1.25098777f, 1.74976504f, 2.24957728f, 2.74952292f, 3.49993134f,
                                     4.50320292f, 5.49680424f, 6.49897146f, 7.99427938f, 9.0f, 9.0f, 9.0f,
                                     0.0f, 0.374971211f, 0.624576032f, 0.875141978f));
    __m512 p = PICK(at, 0.0150629096f, 0.00210238248f, -0.000716013717f, -0.000545379065f, -0.000157687682f,
                    -2.26049342e-05f, -3.0845822e-06f, -4.18716468e-07f, 3.13468121e-07f, 0.0f, 0.0f, 0.0f,
                    -0.0369772613f, -0.0696189106f, -0.02370378f, 0.012773294f);
    p = _mm512_fmadd_ps(p, d,
                        PICK(at, -0.0196041111f, 0.00348038692f, 0.00397909898f, 0.00191578188f,
                             0.00049032981f, 6.78455472e-05f, 9.33729189e-06f, 1.25848317e-06f,
                             6.48969518e-08f, 0.0f, 0.0f, 0.0f, 0.143084392f, 0.018808879f, -0.0539521277f,
                             -0.058767803f));
    p = _mm512_fmadd_ps(p, d,
                        PICK(at, -0.0126789734f, -0.0235289894f, -0.012331591f, -0.00510457577f,
                             -0.00119750109f, -0.000162989818f, -2.23909647e-05f, -3.01685418e-06f,
                             -6.56495331e-07f, 0.0f, 0.0f, 0.0f, -0.00118374522f, 0.168118954f, 0.138004214f,
                             0.0607576109f));
    p = _mm512_fmadd_ps(p, d,
                        PICK(at, 0.108276471f, 0.0629502535f, 0.0271085817f, 0.0105560506f, 0.0024120938f,
                             0.00032633642f, 4.47703787e-05f, 6.0336356e-06f, 3.03743604e-07f, 0.0f, 0.0f,
                             0.0f, -0.333270192f, -0.178616181f, -0.0180776641f, 0.0818441287f));
    p = _mm512_fmadd_ps(p, d,
                        PICK(at, -0.237550497f, -0.107184216f, -0.0425441787f, -0.0160973985f,
                             -0.00363479182f, -0.00049025676f, -6.72313254e-05f, -9.06006608e-06f,
                             -2.64735434e-07f, 0.0f, 0.0f, 0.0f, -1.0973796e-06f, -0.312321752f,
                             -0.383992612f, -0.355097443f));
    p = _mm512_fmadd_ps(p, d,
                        PICK(at, 0.279945135f, 0.113862403f, 0.0435008705f, 0.0162296407f, 0.00364145194f,
                             0.000490376959f, 6.72343522e-05f, 9.0600779e-06f, 4.5520963e-07f, 0.0f, 0.0f,
                             0.0f, 1.0f, 0.871597946f, 0.692744792f, 0.504416049f));
    p = _mm512_fmadd_ps(p, d,
                        PICK(at, 0.848560393f, 0.941348791f, 0.978007734f, 0.991851985f, 0.998177648f,
                             0.999754786f, 0.999966383f, 0.99999547f, 0.999999762f, 1.0f, 1.0f, 1.0f, 0.0f,
                             0.358332306f, 0.55430609f, 0.703977227f));
    return _mm512_or_ps(p, _mm512_and_ps(sign, x));
}

/* x = 2^e m, 3/4 <= m < 3/2; with c one of sixteen numbers close to 1 / m, r = m c - 1 and
 * log x = e log 2 - log c + log(1 + r), the last to 2^-28.4 of r. About m = 1 c is 1, so nothing cancels. log
 * 2 is cut after 16 bits and so is each - log c, nearly a float there: their sum is exact. Zero, infinity,
 * negative numbers and nan come out of getexp and getmant as they should. */
CB_INLINE __m512 log_16(__m512 x) {
    __m512 e = _mm512_getexp_ps(x), m = _mm512_getmant_ps(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_nan);
    __m512 one = _mm512_set1_ps(1.0f);
    __m512i at = _mm512_srli_epi32(_mm512_castps_si512(m), 19);
    /* of numbers from 3/2 on, twice the m above, c is half as large */
    e = _mm512_mask_add_ps(e, _mm512_cmp_ps_mask(m, _mm512_set1_ps(1.5f), _CMP_GE_OQ), e, one);
    __m512 c = PICK(at, 1.0f, 0.930723906f, 0.874747872f, 0.824248612f, 0.784549773f, 0.741528451f,
                    0.711002231f, 0.679261386f, 0.651705146f, 0.628855765f, 0.604986191f, 0.584568143f,
                    0.558718801f, 0.540018797f, 0.524011493f, 0.5f);
    __m512 minus_log_c = PICK(at, 0.0f, 0.0717926025f, 0.13381958f, 0.193283081f, 0.242645264f, 0.299041748f,
                              0.341079712f, 0.386749268f, -0.264984131f, -0.229293823f, -0.190597534f,
                              -0.156265259f, -0.111038208f, -0.0769958496f, -0.0469055176f, 0.0f);
    __m512 r = _mm512_fmsub_ps(m, c, one);
    __m512 p = _mm512_set1_ps(0.18868269f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(-0.25007498f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.33334434f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(-0.5f));
    p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r);
    p = _mm512_fmadd_ps(e, _mm512_set1_ps(1.4286068e-06f), p);
    return _mm512_add_ps(_mm512_fmadd_ps(e, _mm512_set1_ps(0.693145752f), minus_log_c), p);
}

#define KERNEL(name)                                                                                \
    static void unary_##name(int64_t n, void *out_, const void *const *in) {                        \
        float *out = out_;                                                                          \
        const float *xs = in[0];                                                                    \
        int64_t i = 0;                                                                              \
        for (; i + 16 <= n; i += 16) _mm512_storeu_ps(out + i, name##_16(_mm512_loadu_ps(xs + i))); \
        if (i == n) return;                                                                         \
        __mmask16 rest = (__mmask16)((1u << (n - i)) - 1);                                          \
        _mm512_mask_storeu_ps(out + i, rest, name##_16(_mm512_maskz_loadu_ps(rest, xs + i)));       \
    }
KERNEL(tanh)
KERNEL(log)
#endif

cb_kernel CB_FN(kernel_f32)(int op) {
    switch (op) {
        case CB_UNARY_sin: return unary_sin;
        case CB_UNARY_cos: return unary_cos;
        case CB_UNARY_tan: return unary_tan;
#if defined(__AVX512F__)
        case CB_UNARY_tanh: return unary_tanh;
        case CB_UNARY_log: return unary_log;
#endif
        default: return NULL;
    }
}
