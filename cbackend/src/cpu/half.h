/* 16-bit floats to and from float, branch-free so that loops vectorise without conversion instructions.
 * float16: exponent re-bias by multiplication (F. Giesen, "Half to float done quick", 2012), which also
 * handles denormals; bfloat16: the upper half of a float, rounded to nearest even. */
#ifndef CB_HALF_H
#define CB_HALF_H

#include "cpu.h"

CB_INLINE float bits_to_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
CB_INLINE uint32_t float_to_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

CB_INLINE float half_to_float(cb_half h) {
    uint32_t magnitude = (uint32_t)(h & 0x7fff) << 13, sign = (uint32_t)(h & 0x8000) << 16;
    float scaled = bits_to_float(magnitude) * bits_to_float((254 - 15) << 23);
    uint32_t bits = float_to_bits(scaled);
    bits = magnitude >= 0x0f800000u ? (magnitude & 0x7fffff) | 0x7f800000u : bits; /* inf and nan */
    return bits_to_float(bits | sign);
}

CB_INLINE cb_half float_to_half(float value) {
    uint32_t bits = float_to_bits(value), sign = bits & 0x80000000u, magnitude = bits ^ sign;
    /* too small for a normal half: adding a large constant leaves the rounded denormal in the low bits */
    float magic = bits_to_float(((127 - 15) + (23 - 10) + 1) << 23);
    uint32_t small = float_to_bits(bits_to_float(magnitude) + magic) - float_to_bits(magic);
    uint32_t odd = (magnitude >> 13) & 1;
    uint32_t normal = (magnitude + ((uint32_t)(15 - 127) << 23) + 0xfff + odd) >> 13;
    uint32_t special = magnitude > 0x7f800000u ? 0x7e00 : 0x7c00;
    uint32_t result = magnitude >= ((127 + 16) << 23) ? special : magnitude < (113 << 23) ? small : normal;
    return (cb_half)(result | (sign >> 16));
}

CB_INLINE float bfloat_to_float(cb_bfloat b) { return bits_to_float((uint32_t)b << 16); }

CB_INLINE cb_bfloat float_to_bfloat(float value) {
    uint32_t bits = float_to_bits(value);
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return (cb_bfloat)((bits & 0x7fffffff) > 0x7f800000u ? 0x7fc0 : rounded);
}
#endif
