/* Random numbers by counters: value i is the CPU's value i (../src/philox.h says which words it takes).
 * Logarithm, sine and cosine are those of the CPU's kernels, so that numbers agree to the last bits. */
#include "kernels.h"

#include "../src/philox.h"

#include "vmath.h"

enum { BLOCK = 256, LANES = CB_PHILOX_LANES };
enum { UNIFORM, NORMAL, BERNOULLI, EXPONENTIAL, INTEGERS, RADEMACHER };

struct draw {
    int kind, dtype, bits; /* bits: of a uniform float32 */
    uint64_t seed, offset;
    double a, b, most; /* most: the largest value a uniform draw may give */
    int64_t low;
    uint64_t range; /* of integers; of a bernoulli draw, the number of words out of 2^32 that give 1 */
    const uint64_t *state; /* NULL, or what to add seed and offset to */
};

CB_DEV void start(draw &d) {
    if (!d.state) return;
    d.seed += d.state[0];
    d.offset += d.state[1];
}

CB_DEV void block_words(const draw &d, uint64_t block, uint32_t (&words)[4]) {
    words[0] = (uint32_t)block;
    words[1] = (uint32_t)(block >> 32);
    words[2] = 0;
    words[3] = CB_PHILOX_DRAW;
    cb_philox_block((uint32_t)d.seed, (uint32_t)(d.seed >> 32), words);
}
/* of a choice of four: an index known at run time would put the words into memory */
CB_DEV uint32_t word_of(const uint32_t (&words)[4], unsigned k) {
    return k < 2 ? (k ? words[1] : words[0]) : (k == 2 ? words[2] : words[3]);
}

CB_DEV void turn(uint32_t bits, float *sine, float *cosine) {
    uint32_t rotated = bits + 0x20000000u, quadrant = rotated >> 30;
    float t = (float)((int32_t)(rotated << 2 >> 2) - 0x20000000) * 0x1p-30f * 1.57079632679489662f, q = t * t;
    float s =
        t * (1 + q * (-1.66666667e-1f + q * (8.33333333e-3f + q * (-1.98412698e-4f + q * 2.75573192e-6f))));
    float c = 1 + q * (-0.5f + q * (4.16666667e-2f + q * (-1.38888889e-3f + q * 2.48015873e-5f)));
    float a = quadrant & 1 ? c : s, b = quadrant & 1 ? s : c;
    *sine = quadrant & 2 ? -a : a;
    *cosine = (quadrant + 1) & 2 ? -b : b;
}
CB_DEV void turn(uint64_t bits, double *sine, double *cosine) {
    uint64_t rotated = bits + 0x2000000000000000u, quadrant = rotated >> 62;
    double t = (double)((int64_t)(rotated << 2 >> 2) - 0x2000000000000000) * 0x1p-62 * 1.57079632679489661923,
           q = t * t;
    double s = 1.0 / 355687428096000.0, c = 1.0 / 20922789888000.0; /* 1/17!, 1/16! */
    const double odd[] = {-1.0 / 1307674368000.0, 1.0 / 6227020800.0, -1.0 / 39916800.0, 1.0 / 362880.0,
                          -1.0 / 5040.0,          1.0 / 120.0,        -1.0 / 6.0};
    const double even[] = {-1.0 / 87178291200.0,
                           1.0 / 479001600.0,
                           -1.0 / 3628800.0,
                           1.0 / 40320.0,
                           -1.0 / 720.0,
                           1.0 / 24.0,
                           -0.5};
    for (int k = 0; k < 7; k++) {
        s = s * q + odd[k];
        c = c * q + even[k];
    }
    s = t + t * q * s;
    c = 1 + q * c;
    double a = quadrant & 1 ? c : s, b = quadrant & 1 ? s : c;
    *sine = quadrant & 2 ? -a : a;
    *cosine = (quadrant + 1) & 2 ? -b : b;
}

/* in (0, 1]: what logarithms are taken of */
CB_DEV float open_unit(uint32_t bits) { return (float)(int32_t)(bits >> 1) * 0x1p-31f + 0x1p-32f; }
CB_DEV double open_unit(uint64_t bits) { return (double)(int64_t)(bits >> 11) * 0x1p-53 + 0x1p-54; }

/* values of 32 bits: i takes word (i / 16) % 4 of block i / 64 * 16 + i % 16 */
__global__ void draw_narrow(draw d, cb_walk<1> w, void *out) {
    start(d);
    float unit = cb_bits_to_float((uint32_t)(127 - d.bits) << 23);
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < w.numel;
         i += (int64_t)gridDim.x * BLOCK) {
        uint32_t words[4];
        int64_t at[1];
        block_words(d, d.offset + (uint64_t)(i / (4 * LANES)) * LANES + (uint64_t)(i % LANES), words);
        w.offsets(i, at);
        unsigned which = (unsigned)(i / LANES) % 4;
        uint32_t word = word_of(words, which);
        switch (d.kind) {
            case UNIFORM: {
                float v = (float)d.a + (float)(d.b - d.a) * ((float)(int32_t)(word >> (32 - d.bits)) * unit);
                cb_store_as(d.dtype, out, at[0], v > (float)d.most ? (float)d.most : v);
                break;
            }
            case NORMAL: { /* words w and w + 1 of a block give values w and w + 1 */
                float radius = (float)d.b * sqrtf(-2 * log_f32(open_unit(word_of(words, which & ~1u)))), sine,
                      cosine;
                turn(word_of(words, which | 1), &sine, &cosine);
                cb_store_as(d.dtype, out, at[0], (float)d.a + radius * (which & 1 ? sine : cosine));
                break;
            }
            case EXPONENTIAL:
                word = word < 0xfffffeffu ? word : 0xfffffeffu;
                cb_store_as(d.dtype, out, at[0], -log_f32(open_unit(word)) * (float)(1 / d.a));
                break;
            case BERNOULLI:
                cb_store_as(d.dtype, out, at[0], (int64_t)(word < (uint32_t)d.range || d.range >> 32));
                break;
            default: cb_store_as(d.dtype, out, at[0], (int64_t)(1 - (int32_t)(word >> 31 << 1)));
        }
    }
}

/* values of 64 bits: i joins words 2w and 2w + 1, w = (i / 16) % 2, of block i / 32 * 16 + i % 16 */
__global__ void draw_wide(draw d, cb_walk<1> w, void *out) {
    start(d);
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < w.numel;
         i += (int64_t)gridDim.x * BLOCK) {
        uint32_t words[4];
        int64_t at[1];
        block_words(d, d.offset + (uint64_t)(i / (2 * LANES)) * LANES + (uint64_t)(i % LANES), words);
        w.offsets(i, at);
        bool second = i / LANES % 2 != 0;
        uint64_t low = words[0] | (uint64_t)words[1] << 32, high = words[2] | (uint64_t)words[3] << 32;
        uint64_t bits = second ? high : low;
        switch (d.kind) {
            case UNIFORM: {
                double v = d.a + (d.b - d.a) * ((double)(int64_t)(bits >> 11) * 0x1p-53);
                cb_store_as(d.dtype, out, at[0], v > d.most ? d.most : v);
                break;
            }
            case NORMAL: {
                double radius = d.b * sqrt(-2 * log_f64(open_unit(low))), sine, cosine;
                turn(high, &sine, &cosine);
                cb_store_as(d.dtype, out, at[0], d.a + radius * (second ? sine : cosine));
                break;
            }
            case EXPONENTIAL:
                bits = bits < 0xfffffffffffff7ffu ? bits : 0xfffffffffffff7ffu;
                cb_store_as(d.dtype, out, at[0], -log_f64(open_unit(bits)) * (1 / d.a));
                break;
            default: /* low + bits * range / 2^64 */
                cb_store_as(d.dtype, out, at[0], (int64_t)((uint64_t)d.low + __umul64hi(bits, d.range)));
        }
    }
}

static bool walk_of(cb_walk<1> *w, const cb_tensor *out) {
    const int64_t *strides[] = {out->strides};
    return cb_walk_rows(w, out->ndim, out->shape, strides);
}

/* the largest value of the dtype below b; b itself when the interval is empty */
static double largest_below(int dtype, double a, double b) {
    if (!(a < b)) return b;
    if (dtype == CB_F64) return nextafter(b, a);
    float edge = (float)b;
    if (dtype == CB_F32) return (double)edge < b ? edge : nextafterf(edge, -HUGE_VALF);
    uint16_t bits = dtype == CB_F16 ? cb_to_f16(edge).bits : cb_to_bf16(edge).bits;
    for (int step = 0; step < 3; step++) { /* stepping the 16 bits down */
        float value = dtype == CB_F16 ? cb_to_float(cb_f16{bits}) : cb_to_float(cb_bf16{bits});
        if ((double)value < b) return value;
        bits = (bits & 0x7fff) == 0 ? 0x8001 : bits & 0x8000 ? (uint16_t)(bits + 1) : (uint16_t)(bits - 1);
    }
    return a;
}

int cb_cuda_random(int kind, cb_tensor *out, uint64_t seed, uint64_t offset, double a, double b) {
    cb_walk<1> w;
    if (!walk_of(&w, out)) return cb_host_round_trip()->random(kind, out, seed, offset, a, b);
    const uint64_t *state = cb_draw_state(&seed, &offset);
    draw d = {kind, out->dtype, 24, seed, offset, a, b, 0, 0, 0, state};
    bool discrete = kind == BERNOULLI || kind == RADEMACHER;
    if (kind == BERNOULLI) d.range = (uint64_t)rint(a * 0x1p32);
    if (out->dtype == CB_F16) d.bits = 11;
    if (out->dtype == CB_BF16) d.bits = 8;
    if (!discrete) d.most = largest_below(out->dtype, a, b);
    unsigned grid = cb_fill_blocks(w.numel, BLOCK);
    if (out->dtype == CB_F64 && !discrete)
        CB_LAUNCH(draw_wide, grid, BLOCK, 0, cb_stream(), d, w, out->data);
    else
        CB_LAUNCH(draw_narrow, grid, BLOCK, 0, cb_stream(), d, w, out->data);
    return cb_launched("random");
}

int cb_cuda_random_int(cb_tensor *out, uint64_t seed, uint64_t offset, int64_t low, uint64_t range) {
    cb_walk<1> w;
    if (!walk_of(&w, out)) return cb_host_round_trip()->random_int(out, seed, offset, low, range);
    const uint64_t *state = cb_draw_state(&seed, &offset);
    draw d = {INTEGERS, out->dtype, 0, seed, offset, 0, 0, 0, low, range, state};
    CB_LAUNCH(draw_wide, cb_fill_blocks(w.numel, BLOCK), BLOCK, 0, cb_stream(), d, w, out->data);
    return cb_launched("randint");
}
