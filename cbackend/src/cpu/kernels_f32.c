/* Functions of float32 with kernels of their own, beside the loops over vmath.h that all others have.
 *
 * tanh and log, where a vector holds sixteen floats: one permutation looks up sixteen numbers in a register;
 * erf, gelu and, with AVX2, tanh: it looks up eight. Tables and polynomials are our own fits (Lawson-weighted
 * least squares, rounded one coefficient at a time); centres of intervals are chosen so that the function
 * there is nearly a float. sin, cos, tan and gradients: blocks of numbers below 2^24 do without the choice of
 * the bits of 1/pi, to the same results. */
#include "cpu.h"
#include "vmath.h"
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define NEAR(family, name, place, value)                                               \
    static void family##_##name(int64_t n, void *out_, const void *const *in) {        \
        enum { BLOCK = 128 };                                                          \
        float *out = out_;                                                             \
        const float *x = in[0], *angle = in[place];                                    \
        (void)x;                                                                       \
        for (int64_t i = 0; i < n; i += BLOCK) {                                       \
            int64_t end = CB_MIN(n, i + BLOCK);                                        \
            int far = 0;                                                               \
            for (int64_t j = i; j < end; j++) far |= fabs_f32(angle[j]) >= 0x1p24f;    \
            if (far) {                                                                 \
                enum { near = 0 };                                                     \
                _Pragma("GCC ivdep") for (int64_t j = i; j < end; j++) out[j] = value; \
            } else {                                                                   \
                enum { near = 1 };                                                     \
                _Pragma("GCC ivdep") for (int64_t j = i; j < end; j++) out[j] = value; \
            }                                                                          \
        }                                                                              \
    }
NEAR(unary, sin, 0, cb_sin_f32(angle[j], near))
NEAR(unary, cos, 0, cb_cos_f32(angle[j], near))
NEAR(unary, tan, 0, cb_tan_f32(angle[j], near))
NEAR(binary, sin_grad, 1, x[j] == 0 ? 0 : x[j] * cb_cos_f32(angle[j], near))
NEAR(binary, cos_grad, 1, x[j] == 0 ? 0 : -x[j] * cb_sin_f32(angle[j], near))

#if defined(__AVX512F__)
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

/* ---- tables of eight; a vector of sixteen floats has them twice ---- */
#if defined(__AVX2__)
#if defined(__AVX512F__)
typedef __m512 floats;
typedef __m512i ints;
#define MM(operation) _mm512_##operation
#define PICK8(at, ...) _mm512_permutexvar_ps(at, _mm512_broadcast_f32x8(_mm256_setr_ps(__VA_ARGS__)))
#else
typedef __m256 floats;
typedef __m256i ints;
#define MM(operation) _mm256_##operation
#define PICK8(at, ...) _mm256_permutevar8x32_ps(_mm256_setr_ps(__VA_ARGS__), at)
#endif
#define FMA MM(fmadd_ps)
#define ALL MM(set1_ps)

/* Intervals of equal width about the centres; the first, where erf x = x + x P(x), is around 0: 2^-25.4. From
 * the limit on erf rounds to 1. */
CB_INLINE floats lanes_erf(floats x) {
    floats sign = ALL(-0.0f), a = MM(andnot_ps)(sign, x);
    a = MM(min_ps)(ALL(3.925f), a); /* nan stays: the second operand */
    ints at = (ints)FMA(a, ALL(1.9f), ALL(CB_MAGIC_F32));
    floats d = MM(sub_ps)(a, PICK8(at, 0.0f, 0.52629036f, 1.0524637f, 1.5787874f, 2.105158f, 2.6313157f,
                                   3.1576076f, 3.6846874f));
    floats p = PICK8(at, -0.019952793f, -0.047797058f, 0.008796968f, 0.01620559f, -0.0013321332f,
                     -0.0022106643f, -0.00041000167f, -0.000881704f);
    p = FMA(p, d,
            PICK8(at, 0.11843968f, 0.00039032154f, -0.06535941f, -0.0070986818f, 0.012442571f, 0.00421423f,
                  0.0005232215f, 2.9287876e-05f));
    p = FMA(p, d,
            PICK8(at, -0.00071580196f, 0.18349561f, 0.05135636f, -0.04873613f, -0.027620824f, -0.005282765f,
                  -0.00046969551f, 6.7755376e-05f));
    p = FMA(p, d,
            PICK8(at, -0.3760868f, -0.12720788f, 0.15094918f, 0.12397997f, 0.035187718f, 0.004752544f,
                  0.00033212878f, 1.247205e-05f));
    p = FMA(p, d,
            PICK8(at, -6.791607e-07f, -0.45018265f, -0.39228708f, -0.14732268f, -0.028253926f, -0.0029217934f,
                  -0.00016661451f, -7.609303e-06f));
    p = FMA(p, d,
            PICK8(at, 0.12837917f, 0.85538894f, 0.37273172f, 0.09331357f, 0.013421281f, 0.001110418f,
                  5.277129e-05f, 1.4324157e-06f));
    p = FMA(p, d,
            FMA(d, PICK8(at, 1.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f),
                PICK8(at, 0.0f, 0.5432971f, 0.86335677f, 0.9744341f, 0.9970905f, 0.99980175f, 0.999992f,
                      0.9999998f)));
    return MM(or_ps)(p, MM(and_ps)(sign, x));
}

/* which half of an octave 1 + a < 16 lies in; 1 is at position 6 of tables */
CB_INLINE ints half_octave(floats a) { return MM(srli_epi32)((ints)MM(add_ps)(a, ALL(1.0f)), 22); }

/* x Phi(x) = max(x, 0) - a Phi(-a), a = |x|. Phi(-a) is exp(-a^2 / 2), with what rounding dropped from a^2
 * and 100 in the exponent as in vmath_special.h, times a function that is smooth in 1 + a: 2^-24.7. */
CB_INLINE floats lanes_gelu(floats x) {
    floats a = MM(andnot_ps)(ALL(-0.0f), x);
    a = MM(min_ps)(ALL(14.9f), a);
    ints at = half_octave(a);
    floats d = MM(sub_ps)(a, PICK8(at, 1.5000662f, 2.5000432f, 4.0000443f, 6.001253f, 9.001333f, 12.997779f,
                                   0.24998306f, 0.75014746f));
    floats p = PICK8(at, -0.00010505191f, -1.4668416e-05f, -1.3785619e-06f, -1.0948429e-07f, -6.7094073e-09f,
                     -4.114396e-10f, -0.0019582836f, -0.00072657823f);
    p = FMA(p, d,
            PICK8(at, 0.00038142042f, 6.385187e-05f, 7.5638545e-06f, 7.7498834e-07f, 6.5884066e-08f,
                  5.6589546e-09f, 0.0056582186f, 0.0017569949f));
    p = FMA(p, d,
            PICK8(at, -0.0012656921f, -0.0002574547f, -3.750743e-05f, -5.216591e-06f, -5.8969493e-07f,
                  -7.344619e-08f, -0.014998749f, -0.0051612095f));
    p = FMA(p, d,
            PICK8(at, 0.0041080867f, 0.0010173408f, 0.00019247636f, 3.579447e-05f, 5.672081e-06f,
                  9.866798e-07f, 0.037251428f, 0.014356032f));
    p = FMA(p, d,
            PICK8(at, -0.012495933f, -0.0038309402f, -0.0009586823f, -0.0002410056f, -5.4118398e-05f,
                  -1.3198221e-05f, -0.0843067f, -0.036676545f));
    p = FMA(p, d,
            PICK8(at, 0.035184465f, 0.013647737f, 0.0046058064f, 0.0015895697f, 0.00050987315f, 0.0001754977f,
                  0.17009108f, 0.08493703f));
    p = FMA(p, d,
            PICK8(at, -0.09026662f, -0.045612775f, -0.021299308f, -0.010262409f, -0.0047518206f,
                  -0.0023206715f, -0.29544002f, -0.17374288f));
    p = FMA(p, d,
            PICK8(at, 0.2057747f, 0.14132936f, 0.0944097f, 0.06476645f, 0.043792453f, 0.030514568f,
                  0.4140371f, 0.30020684f));
    floats square = MM(mul_ps)(a, a), rest = MM(fmsub_ps)(a, a, square);
    floats lift = ALL(CB_MAGIC_F32 + 100.0f), t = FMA(square, ALL(-0.72134752f), lift);
    floats n = MM(sub_ps)(t, lift);
    floats r = FMA(n, ALL(-0.693359375f), MM(mul_ps)(square, ALL(-0.5f)));
    r = FMA(n, ALL(2.12194440e-4f), r);
    r = FMA(rest, ALL(-0.5f), r);
    floats e = FMA(r, ALL(0.001382353f), ALL(0.008368823f)); /* as cb_exp_reduced_f32 */
    e = FMA(e, r, ALL(0.041668236f));
    e = FMA(e, r, ALL(0.1666652f));
    e = FMA(e, r, ALL(0.49999994f));
    e = FMA(e, r, ALL(1.0f));
    e = FMA(e, r, ALL(1.0f));
    e = (floats)MM(add_epi32)((ints)e, MM(slli_epi32)((ints)t, 23));
    floats tail = MM(mul_ps)(MM(mul_ps)(a, p), e);
    return MM(fnmadd_ps)(tail, ALL(0x1p-100f), MM(max_ps)(ALL(-0.0f), x));
}

#if !defined(__AVX512F__)
/* Polynomials in the distance to the centre: 2^-24.6, and 1 in the last interval. */
CB_INLINE floats lanes_tanh(floats x) {
    floats sign = ALL(-0.0f), a = MM(andnot_ps)(sign, x);
    a = MM(min_ps)(ALL(11.0f), a);
    ints at = half_octave(a);
    floats d = MM(sub_ps)(
        a, PICK8(at, 1.5003363f, 2.4997172f, 4.0007777f, 6.0003986f, 8.0f, 11.0f, 0.0f, 0.75014377f));
    floats p = PICK8(at, -0.0038272964f, 5.9303573e-05f, 1.8273944e-05f, 3.5663732e-07f, 1.6182342e-09f, 0.0f,
                     -0.022265125f, 0.02163425f);
    p = FMA(p, d,
            PICK8(at, 0.007515169f, -0.0006990935f, -6.6073095e-05f, -1.2499556e-06f, -2.2400389e-08f, 0.0f,
                  -0.027226668f, -0.0021768895f));
    p = FMA(p, d,
            PICK8(at, -0.0026706157f, 0.0028626672f, 0.00017506865f, 3.2358662e-06f, 1.0454088e-07f, 0.0f,
                  0.14321229f, -0.06405475f));
    p = FMA(p, d,
            PICK8(at, -0.025028508f, -0.008054856f, -0.00043961502f, -8.09093e-06f, -2.2000383e-07f, 0.0f,
                  -0.0017373023f, 0.09974856f));
    p = FMA(p, d,
            PICK8(at, 0.0877842f, 0.017029796f, 0.0008912927f, 1.638227e-05f, 2.732326e-07f, 0.0f,
                  -0.3331951f, 0.04186731f));
    p = FMA(p, d,
            PICK8(at, -0.16347533f, -0.026250586f, -0.0013387322f, -2.4572315e-05f, -3.6589017e-07f, 0.0f,
                  -3.639795e-06f, -0.37890324f));
    p = FMA(p, d,
            PICK8(at, 0.18059663f, 0.026607074f, 0.0013388289f, 2.4556071e-05f, 4.5014113e-07f, 0.0f, 1.0f,
                  0.59647685f));
    p = FMA(p, d,
            PICK8(at, 0.905209f, 0.9866068f, 0.99933034f, 0.9999877f, 0.99999976f, 1.0f, 0.0f, 0.6352347f));
    return MM(or_ps)(p, MM(and_ps)(sign, x));
}
#endif

#define BY_LANES(name)                                                                             \
    static void whole_##name(int64_t n, void *out, const void *const *in) {                        \
        enum { STEP = sizeof(floats) / sizeof(float) };                                            \
        for (int64_t i = 0; i + STEP <= n; i += STEP)                                              \
            MM(storeu_ps)((float *)out + i, lanes_##name(MM(loadu_ps)((const float *)in[0] + i))); \
    }                                                                                              \
    static void unary_##name(int64_t n, void *out, const void *const *in) {                        \
        CB_FN(by_lanes)(n, out, in, whole_##name, 1, sizeof(float), sizeof(float));                \
    }
BY_LANES(erf)
BY_LANES(gelu)
#if !defined(__AVX512F__)
BY_LANES(tanh)
#endif
#endif

cb_kernel CB_FN(kernel_f32)(int family, int op) {
    if (family == CB_FAMILY_BINARY)
        return op == CB_BINARY_sin_grad ? binary_sin_grad : op == CB_BINARY_cos_grad ? binary_cos_grad : NULL;
    if (family != CB_FAMILY_UNARY) return NULL;
    switch (op) {
        case CB_UNARY_sin: return unary_sin;
        case CB_UNARY_cos: return unary_cos;
        case CB_UNARY_tan: return unary_tan;
#if defined(__AVX2__)
        case CB_UNARY_tanh: return unary_tanh;
        case CB_UNARY_erf: return unary_erf;
        case CB_UNARY_gelu: return unary_gelu;
#endif
#if defined(__AVX512F__)
        case CB_UNARY_log: return unary_log;
#endif
        default: return NULL;
    }
}
