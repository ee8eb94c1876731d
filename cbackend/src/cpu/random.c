/* Counter-based random numbers: Philox words by tiles, turned into values.
 *
 * Words are made in groups of 16 blocks (philox.h); a tile is a whole number of groups, so pieces of the
 * parallel loop start at group boundaries and the values do not depend on how the work is divided. Values of
 * a 16-bit dtype are drawn with as many bits as it has, so that none is rounded up to the excluded bound. */
#include "../philox.h"
#include "half.h"
#include "vmath.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

enum { UNIFORM, NORMAL, BERNOULLI, EXPONENTIAL, INTEGERS, RADEMACHER };
enum { LANES = CB_PHILOX_LANES, GRAIN = 32 * CB_TILE };

/* words[4][LANES] of the blocks with counters block, block + 1, ... */
#if defined(__AVX512F__)
/* words in lanes of 64 bits, of which the upper halves do not matter: one instruction then makes a product */
CB_INLINE void philox_group(uint64_t seed, uint64_t block, uint32_t *restrict words) {
    typedef uint64_t eight __attribute__((vector_size(64)));
    const __m512i m0 = _mm512_set1_epi64(CB_PHILOX_M0), m1 = _mm512_set1_epi64(CB_PHILOX_M1);
#pragma GCC unroll 2
    for (int i = 0; i < LANES; i += 8) {
        uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
        eight w0 = (eight){0, 1, 2, 3, 4, 5, 6, 7} + (block + (uint64_t)i), w1 = w0 >> 32, w2 = {0};
        eight w3 = w2 + CB_PHILOX_DRAW;
        for (int round = 0; round < 10; round++) {
            eight p0 = (eight)_mm512_mul_epu32((__m512i)w0, m0),
                  p1 = (eight)_mm512_mul_epu32((__m512i)w2, m1);
            w0 = (p1 >> 32) ^ w1 ^ key0;
            w1 = p1;
            w2 = (p0 >> 32) ^ w3 ^ key1;
            w3 = p0;
            key0 += CB_PHILOX_W0;
            key1 += CB_PHILOX_W1;
        }
        const eight made[4] = {w0, w1, w2, w3};
        for (int k = 0; k < 4; k++)
            _mm256_storeu_si256((__m256i *)(words + k * LANES + i), _mm512_cvtepi64_epi32((__m512i)made[k]));
    }
}
#else
CB_INLINE void philox_group(uint64_t seed, uint64_t block, uint32_t *restrict words) {
    uint32_t w0[LANES], w1[LANES], w2[LANES], w3[LANES];
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
    for (int i = 0; i < LANES; i++) {
        w0[i] = (uint32_t)(block + (uint64_t)i);
        w1[i] = (uint32_t)((block + (uint64_t)i) >> 32);
        w2[i] = 0;
        w3[i] = CB_PHILOX_DRAW;
    }
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < LANES; i++) {
            uint64_t p0 = (uint64_t)CB_PHILOX_M0 * w0[i], p1 = (uint64_t)CB_PHILOX_M1 * w2[i];
            uint32_t n0 = (uint32_t)(p1 >> 32) ^ w1[i] ^ key0, n2 = (uint32_t)(p0 >> 32) ^ w3[i] ^ key1;
            w0[i] = n0;
            w1[i] = (uint32_t)p1;
            w2[i] = n2;
            w3[i] = (uint32_t)p0;
        }
        key0 += CB_PHILOX_W0;
        key1 += CB_PHILOX_W1;
    }
    memcpy(words, w0, sizeof w0);
    memcpy(words + LANES, w1, sizeof w1);
    memcpy(words + 2 * LANES, w2, sizeof w2);
    memcpy(words + 3 * LANES, w3, sizeof w3);
}
#endif

/* the words of values [first, first + CB_TILE); first is a multiple of CB_TILE. wide: 64-bit values, two
 * words each */
static void tile_words(uint64_t seed, uint64_t offset, int64_t first, int64_t n, bool wide, uint32_t *words) {
    int group = wide ? 2 * LANES : 4 * LANES;
    uint64_t block = offset + (uint64_t)(first / group) * LANES;
    for (int64_t i = 0; i < n; i += group, block += LANES, words += 4 * LANES)
        philox_group(seed, block, words);
}

/* ---- values ---- */

/* sine and cosine of 2 pi u for u = bits / 2^32 and bits / 2^64: the two leading bits choose the quadrant
 * exactly, the rest gives an angle in [-pi/4, pi/4], where Taylor's series ends below the rounding error */
CB_INLINE void turn_f32(uint32_t bits, float *sine, float *cosine) {
    uint32_t rotated = bits + 0x20000000u, quadrant = rotated >> 30;
    float t = (float)((int32_t)(rotated << 2 >> 2) - 0x20000000) * 0x1p-30f * 1.57079632679489662f, q = t * t;
    float s =
        t * (1 + q * (-1.66666667e-1f + q * (8.33333333e-3f + q * (-1.98412698e-4f + q * 2.75573192e-6f))));
    float c = 1 + q * (-0.5f + q * (4.16666667e-2f + q * (-1.38888889e-3f + q * 2.48015873e-5f)));
    float a = quadrant & 1 ? c : s, b = quadrant & 1 ? s : c;
    *sine = quadrant & 2 ? -a : a;
    *cosine = (quadrant + 1) & 2 ? -b : b;
}

CB_INLINE void turn_f64(uint64_t bits, double *sine, double *cosine) {
    uint64_t rotated = bits + 0x2000000000000000u, quadrant = rotated >> 62;
    double t = (double)((int64_t)(rotated << 2 >> 2) - 0x2000000000000000) * 0x1p-62 * 1.57079632679489661923,
           q = t * t;
    double s = 1.0 / 355687428096000.0, c = 1.0 / 20922789888000.0; /* 1/17!, 1/16! */
    s = s * q - 1.0 / 1307674368000.0;
    s = s * q + 1.0 / 6227020800.0;
    s = s * q - 1.0 / 39916800.0;
    s = s * q + 1.0 / 362880.0;
    s = s * q - 1.0 / 5040.0;
    s = s * q + 1.0 / 120.0;
    s = s * q - 1.0 / 6.0;
    s = t + t * q * s;
    c = c * q - 1.0 / 87178291200.0;
    c = c * q + 1.0 / 479001600.0;
    c = c * q - 1.0 / 3628800.0;
    c = c * q + 1.0 / 40320.0;
    c = c * q - 1.0 / 720.0;
    c = c * q + 1.0 / 24.0;
    c = c * q - 0.5;
    c = 1 + q * c;
    double a = quadrant & 1 ? c : s, b = quadrant & 1 ? s : c;
    *sine = quadrant & 2 ? -a : a;
    *cosine = (quadrant + 1) & 2 ? -b : b;
}

/* in (0, 1], all 32 bits used, so that tails are long: what logarithms are taken of */
CB_INLINE float open_f32(uint32_t bits) { return (float)(int32_t)(bits >> 1) * 0x1p-31f + 0x1p-32f; }
CB_INLINE double open_f64(uint64_t bits) { return (double)(int64_t)(bits >> 11) * 0x1p-53 + 0x1p-54; }
CB_INLINE uint64_t join(uint32_t low, uint32_t high) { return low | (uint64_t)high << 32; }

static void uniform_f32(int64_t n, const uint32_t *words, float *out, int bits, float a, float span,
                        float most) {
    float unit = cb_from_bits_f32((uint32_t)(127 - bits) << 23);
    int shift = 32 - bits;
    for (int64_t i = 0; i < n; i++) {
        float v = a + span * ((float)(int32_t)(words[i] >> shift) * unit);
        out[i] = v > most ? most : v;
    }
}

static void uniform_f64(int64_t n, const uint32_t *words, double *out, double a, double span, double most) {
    for (int64_t i = 0; i < n; i += LANES, words += 2 * LANES)
        for (int j = 0; j < LANES; j++) {
            double v = a + span * ((double)(int64_t)(join(words[j], words[LANES + j]) >> 11) * 0x1p-53);
            out[i + j] = v > most ? most : v;
        }
}

/* Box and Muller 1958: words w and w + 1 of a block give values w and w + 1 */
static void normal_f32(int64_t n, const uint32_t *words, float *out, float mean, float std) {
    for (int64_t i = 0; i < n; i += 2 * LANES)
        for (int j = 0; j < LANES; j++) {
            float radius = std * sqrtf(-2 * log_f32(open_f32(words[i + j]))), sine, cosine;
            turn_f32(words[i + LANES + j], &sine, &cosine);
            out[i + j] = mean + radius * cosine;
            out[i + LANES + j] = mean + radius * sine;
        }
}

static void normal_f64(int64_t n, const uint32_t *words, double *out, double mean, double std) {
    for (int64_t i = 0; i < n; i += 2 * LANES, words += 4 * LANES)
        for (int j = 0; j < LANES; j++) {
            double radius = std * sqrt(-2 * log_f64(open_f64(join(words[j], words[LANES + j])))), sine,
                   cosine;
            turn_f64(join(words[2 * LANES + j], words[3 * LANES + j]), &sine, &cosine);
            out[i + j] = mean + radius * cosine;
            out[i + LANES + j] = mean + radius * sine;
        }
}

/* Never 0, as samples are divided by: words are kept below those whose logarithm rounds to 0. */
static void exponential_f32(int64_t n, const uint32_t *restrict words, float *restrict out, float scale) {
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = words[i] < 0xfffffeffu ? words[i] : 0xfffffeffu;
        out[i] = -log_f32(open_f32(bits)) * scale;
    }
}

static void exponential_f64(int64_t n, const uint32_t *restrict words, double *restrict out, double scale) {
    uint64_t bits[CB_TILE];
    for (int64_t i = 0; i < n; i += LANES, words += 2 * LANES)
        for (int j = 0; j < LANES; j++) bits[i + j] = join(words[j], words[LANES + j]);
    for (int64_t i = 0; i < n; i++) {
        uint64_t b = bits[i] < 0xfffffffffffff7ffu ? bits[i] : 0xfffffffffffff7ffu;
        out[i] = -log_f64(open_f64(b)) * scale;
    }
}

/* always: the probability is 1, for which no 32-bit threshold stands */
static void below_u8(int64_t n, const uint32_t *words, uint8_t *out, uint32_t threshold, bool always) {
    for (int64_t i = 0; i < n; i++) out[i] = (words[i] < threshold) | always;
}

static void below_f32(int64_t n, const uint32_t *words, float *out, uint32_t threshold, bool always) {
    for (int64_t i = 0; i < n; i++) out[i] = (words[i] < threshold) | always ? 1.0f : 0.0f;
}

/* low + (64 random bits * range) / 2^64, in halves that multiply as 32 by 32 bits when the range allows */
static void integers(int64_t n, const uint32_t *words, int64_t *out, int64_t low, uint64_t range) {
    for (int64_t i = 0; i < n; i += LANES, words += 2 * LANES)
        for (int j = 0; j < LANES; j++) {
            uint64_t bits = join(words[j], words[LANES + j]);
            uint64_t scaled = (uint64_t)(((unsigned __int128)bits * range) >> 64);
            out[i + j] = (int64_t)((uint64_t)low + scaled);
        }
}

static void integers_32(int64_t n, const uint32_t *words, int64_t *out, int64_t low, uint32_t range) {
    for (int64_t i = 0; i < n; i += LANES, words += 2 * LANES)
        for (int j = 0; j < LANES; j++) {
            uint64_t high = (uint64_t)words[LANES + j] * range, carry = ((uint64_t)words[j] * range) >> 32;
            out[i + j] = low + (int64_t)((high + carry) >> 32);
        }
}

/* ---- the driver ---- */

typedef struct random_run {
    int kind;
    int made;     /* the dtype values are made in */
    int bits;     /* of a uniform float32 */
    bool wide;    /* 64-bit values */
    bool dense;   /* out is contiguous */
    uint64_t seed, offset;
    double a, b;
    double most;  /* the largest value a uniform draw may give */
    int64_t low;
    uint64_t range; /* of integers; of a bernoulli draw, the number of words out of 2^32 that give 1 */
    cb_space space; /* operand 1: out in row-major order */
    cb_tensor *out;
} random_run;

static void random_tile(const random_run *r, int64_t n, const uint32_t *words, void *values) {
    switch (r->kind) {
        case UNIFORM:
            if (r->wide)
                uniform_f64(n, words, values, r->a, r->b - r->a, r->most);
            else
                uniform_f32(n, words, values, r->bits, (float)r->a, (float)(r->b - r->a), (float)r->most);
            break;
        case NORMAL:
            if (r->wide)
                normal_f64(n, words, values, r->a, r->b);
            else
                normal_f32(n, words, values, (float)r->a, (float)r->b);
            break;
        case EXPONENTIAL:
            if (r->wide)
                exponential_f64(n, words, values, 1 / r->a);
            else
                exponential_f32(n, words, values, (float)(1 / r->a));
            break;
        case BERNOULLI:
            if (r->made == CB_BOOL)
                below_u8(n, words, values, (uint32_t)r->range, r->range >> 32);
            else
                below_f32(n, words, values, (uint32_t)r->range, r->range >> 32);
            break;
        case RADEMACHER:
            for (int64_t i = 0; i < n; i++) ((int32_t *)values)[i] = 1 - (int32_t)(words[i] >> 31 << 1);
            break;
        default:
            if (r->range < 0x100000000u)
                integers_32(n, words, values, r->low, (uint32_t)r->range);
            else
                integers(n, words, values, r->low, r->range);
    }
}

static void random_tiles(void *context, int64_t begin, int64_t end) {
    const random_run *r = context;
    /* whole groups are made, for which there is room, as a tile is whole groups */
    _Alignas(64) uint32_t words[2 * CB_TILE];
    _Alignas(64) char values[CB_TILE * 8], cast[CB_TILE * 16];
    int itemsize = r->out->itemsize, group = r->wide ? 2 * LANES : 4 * LANES;
    for (int64_t i = begin; i < end; i += CB_TILE) {
        int64_t n = CB_MIN(CB_TILE, end - i);
        char *place = (char *)r->out->data + i * itemsize;
        bool direct = r->dense && r->made == r->out->dtype && n % group == 0;
        void *items = direct ? (void *)place : values;
        tile_words(r->seed, r->offset, i, n, r->wide, words);
        random_tile(r, direct ? n : (n + group - 1) / group * group, words, items);
        if (direct) continue;
        if (r->made != r->out->dtype) {
            void *landing = r->dense ? (void *)place : cast;
            CB_FN(cast_table)[r->made][r->out->dtype](n, landing, items);
            if (r->dense) continue;
            items = cast;
        }
        if (r->dense)
            memcpy(place, items, (size_t)(n * itemsize));
        else
            CB_FN(scatter)(&r->space, 1, itemsize, r->out->data, i, n, items);
    }
}

static int random_start(random_run *r, cb_tensor *out) {
    r->out = out;
    r->dense = cb_is_contiguous(out);
    if (!r->dense) {
        int64_t strides[CB_MAX_NDIM + 1], stride = 1;
        for (int d = out->ndim - 1; d >= 0; d--) {
            strides[d] = stride;
            stride *= out->shape[d];
        }
        cb_tensor lead = *out; /* an imaginary contiguous tensor, whose order is the logical one */
        lead.strides = strides;
        lead.flags |= CB_FLAG_CONTIGUOUS;
        CB_FN(space_init)(&r->space, 2, (const cb_tensor *const[]){&lead, out});
    }
    cb_parallel(out->numel, GRAIN, random_tiles, r);
    return CB_OK;
}

/* the largest value of the dtype below b; b itself when the interval is empty */
static double largest_below(int dtype, double a, double b) {
    if (!(a < b)) return b;
    if (dtype == CB_F64) return nextafter(b, a);
    float edge = (float)b;
    if (dtype == CB_F32) return (double)edge < b ? edge : nextafterf(edge, -INFINITY);
    /* stepping the 16 bits down */
    uint16_t bits = dtype == CB_F16 ? float_to_half(edge) : float_to_bfloat(edge);
    for (int step = 0; step < 3; step++) {
        float value = dtype == CB_F16 ? half_to_float(bits) : bfloat_to_float(bits);
        if ((double)value < b) return value;
        bits = (bits & 0x7fff) == 0 ? 0x8001 : bits & 0x8000 ? bits + 1 : bits - 1;
    }
    return a;
}

int CB_FN(random)(int kind, cb_tensor *out, uint64_t seed, uint64_t offset, double a, double b) {
    random_run r = {.kind = kind, .seed = seed, .offset = offset, .a = a, .b = b};
    int dtype = out->dtype;
    if (kind == BERNOULLI) {
        r.made = dtype == CB_F32 ? CB_F32 : CB_BOOL;
        r.range = (uint64_t)rint(a * 0x1p32);
    } else if (kind == RADEMACHER) {
        r.made = CB_I32;
    } else {
        r.wide = dtype == CB_F64;
        r.made = r.wide ? CB_F64 : CB_F32;
        r.bits = dtype == CB_F16 ? 11 : dtype == CB_BF16 ? 8 : 24;
        r.most = largest_below(dtype, a, b);
    }
    return random_start(&r, out);
}

int CB_FN(random_int)(cb_tensor *out, uint64_t seed, uint64_t offset, int64_t low, uint64_t range) {
    random_run r = {.kind = INTEGERS,
                    .made = CB_I64,
                    .wide = true,
                    .seed = seed,
                    .offset = offset,
                    .low = low,
                    .range = range};
    return random_start(&r, out);
}

/* Fisher and Yates, from the end; the step for position i draws from [0, i] with the 64-bit value i. */
#define SHUFFLE(type)                                                                                   \
    do {                                                                                                \
        type *items = scratch;                                                                          \
        for (int64_t i = 0; i < n; i++) items[i] = (type)i;                                             \
        for (int64_t first = (n - 1) / CB_TILE * CB_TILE; first >= 0; first -= CB_TILE) {               \
            int64_t count = CB_MIN(CB_TILE, n - first);                                                 \
            tile_words(seed, offset, first, count, true, words);                                        \
            for (int64_t i = count - 1; i >= 0; i--) {                                                  \
                const uint32_t *pair = words + i / LANES * 2 * LANES + i % LANES;                       \
                uint64_t range = (uint64_t)(first + i) + 1;                                             \
                uint64_t j = (uint64_t)(((unsigned __int128)join(pair[0], pair[LANES]) * range) >> 64); \
                type t = items[first + i];                                                              \
                items[first + i] = items[j];                                                            \
                items[j] = t;                                                                           \
            }                                                                                           \
        }                                                                                               \
    } while (0)

int CB_FN(random_perm)(cb_tensor *out, uint64_t seed, uint64_t offset) {
    int64_t n = out->numel;
    bool narrow = n <= INT32_MAX;
    int64_t nbytes = n * (narrow ? 4 : 8);
    void *scratch = cb_alloc(CB_CPU, nbytes);
    if (!scratch) return cb_error_code();
    uint32_t words[2 * CB_TILE];
    if (narrow)
        SHUFFLE(int32_t);
    else
        SHUFFLE(int64_t);
    CB_FN(cast_table)[narrow ? CB_I32 : CB_I64][out->dtype](n, out->data, scratch);
    cb_free(CB_CPU, scratch, nbytes);
    return CB_OK;
}
