/* Dtypes in device code: conversions with the CPU's rules (cpu/cast.c), and loads and stores of memory of any
 * dtype as values of a compute type.
 *
 *     T v = cb_load_as<T>(dtype, data, i);       // item i; the switch over dtype is the same for all threads
 *     cb_store_as(dtype, data, i, v);
 *     CB_DISPATCH_REAL(dtype, T, { CB_LAUNCH((kernel<T>), ...); });   // host: float and double; also
 *                                             // CB_DISPATCH_ALL, _NUMBERS, _SIZES; T is the compute type */
#ifndef CB_CASTS_H
#define CB_CASTS_H

#include "complex.h"

/* ---- 16-bit floats: bits to and from float; the formulas of cpu/half.h ---- */
CB_BOTH float cb_bits_to_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
CB_BOTH uint32_t cb_float_to_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}
CB_BOTH float cb_to_float(cb_bf16 x) { return cb_bits_to_float((uint32_t)x.bits << 16); }
CB_BOTH float cb_to_float(cb_f16 x) {
    uint32_t magnitude = (uint32_t)(x.bits & 0x7fff) << 13, sign = (uint32_t)(x.bits & 0x8000) << 16;
    uint32_t bits = cb_float_to_bits(cb_bits_to_float(magnitude) * cb_bits_to_float((254u - 15) << 23));
    if (magnitude >= 0x0f800000u) bits = (magnitude & 0x7fffff) | 0x7f800000u; /* inf and nan */
    return cb_bits_to_float(bits | sign);
}
CB_BOTH cb_bf16 cb_to_bf16(float value) {
    uint32_t bits = cb_float_to_bits(value), rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return cb_bf16{(uint16_t)((bits & 0x7fffffff) > 0x7f800000u ? 0x7fc0 : rounded)};
}
CB_BOTH cb_f16 cb_to_f16(float value) {
    uint32_t bits = cb_float_to_bits(value), sign = bits & 0x80000000u, magnitude = bits ^ sign;
    uint32_t result;
    if (magnitude >= (127u + 16) << 23) {
        result = magnitude > 0x7f800000u ? 0x7e00 : 0x7c00;
    } else if (magnitude < 113u << 23) { /* adding a large constant leaves the rounded denormal's bits */
        uint32_t magic = ((127u - 15) + (23 - 10) + 1) << 23;
        result = cb_float_to_bits(cb_bits_to_float(magnitude) + cb_bits_to_float(magic)) - magic;
    } else {
        result = (magnitude + ((uint32_t)(15 - 127) << 23) + 0xfff + ((magnitude >> 13) & 1)) >> 13;
    }
    return cb_f16{(uint16_t)(result | (sign >> 16))};
}

/* ---- conversions ---- */
template <typename T> struct cb_traits {
    static const bool is_complex = false, is_real = false, is_half = false;
    typedef T compute, real;
};
template <> struct cb_traits<float> {
    static const bool is_complex = false, is_real = true, is_half = false;
    typedef float compute, real;
};
template <> struct cb_traits<double> {
    static const bool is_complex = false, is_real = true, is_half = false;
    typedef double compute, real;
};
template <> struct cb_traits<cb_f16> {
    static const bool is_complex = false, is_real = true, is_half = true;
    typedef float compute, real;
};
template <> struct cb_traits<cb_bf16> {
    static const bool is_complex = false, is_real = true, is_half = true;
    typedef float compute, real;
};
template <typename R> struct cb_traits<cb_complex_of<R>> {
    static const bool is_complex = true, is_real = false, is_half = false;
    typedef cb_complex_of<R> compute;
    typedef R real;
};

template <typename To> struct cb_caster {
    template <typename From> CB_BOTH_MEMBER To from(From v) {
        if constexpr (cb_traits<From>::is_complex) {
            if constexpr (cb_traits<To>::is_complex)
                return To((typename cb_traits<To>::real)v.re, (typename cb_traits<To>::real)v.im);
            else if constexpr (sizeof(To) == 1 && (To)2 == (To)1) /* bool */
                return v.re != 0 || v.im != 0;
            else
                return cb_caster<To>::from(v.re);
        } else if constexpr (cb_traits<From>::is_half) {
            return cb_caster<To>::from(cb_to_float(v));
        } else if constexpr (cb_traits<To>::is_complex) {
            return To((typename cb_traits<To>::real)v);
        } else if constexpr (sizeof(To) == 1 && (To)2 == (To)1) {
            return v != 0;
        } else if constexpr (cb_traits<From>::is_real && !cb_traits<To>::is_real) {
            /* floats reach narrow integers through int32 and wide ones through int64 */
            if constexpr (sizeof(To) < 4 || (sizeof(To) == 4 && (To)-1 < (To)0))
                return (To)(int32_t)v;
            else
                return (To)(int64_t)v;
        } else {
            return (To)v;
        }
    }
};
template <> struct cb_caster<cb_f16> {
    template <typename From> CB_BOTH_MEMBER cb_f16 from(From v) {
        return cb_to_f16(cb_caster<float>::from(v));
    }
};
template <> struct cb_caster<cb_bf16> {
    template <typename From> CB_BOTH_MEMBER cb_bf16 from(From v) {
        return cb_to_bf16(cb_caster<float>::from(v));
    }
};
/* v as a To; storage and compute types alike */
template <typename To, typename From> CB_BOTH To cb_to(From v) { return cb_caster<To>::from(v); }

/* ---- memory of a dtype known at run time ---- */
#define CB_EACH_STORAGE(CASE) \
    CASE(CB_BOOL, bool)       \
    CASE(CB_U8, uint8_t)      \
    CASE(CB_I8, int8_t)       \
    CASE(CB_U16, uint16_t)    \
    CASE(CB_I16, int16_t)     \
    CASE(CB_U32, uint32_t)    \
    CASE(CB_I32, int32_t)     \
    CASE(CB_U64, uint64_t)    \
    CASE(CB_I64, int64_t)     \
    CASE(CB_F16, cb_f16)      \
    CASE(CB_BF16, cb_bf16)    \
    CASE(CB_F32, float) CASE(CB_F64, double) CASE(CB_C64, cb_complex64) CASE(CB_C128, cb_complex128)

template <typename T> CB_DEV T cb_load_as(int dtype, const void *data, int64_t i) {
    switch (dtype) {
#define CB_CASE(id, S) \
    case id: return cb_to<T>(static_cast<const S *>(data)[i]);
        CB_EACH_STORAGE(CB_CASE)
#undef CB_CASE
    }
    return T();
}
template <typename T> CB_DEV void cb_store_as(int dtype, void *data, int64_t i, T v) {
    switch (dtype) {
#define CB_CASE(id, S) \
    case id: static_cast<S *>(data)[i] = cb_to<S>(v); break;
        CB_EACH_STORAGE(CB_CASE)
#undef CB_CASE
    }
}

/* ---- on the host: code for the type of a dtype. T is the storage type; typename cb_traits<T>::compute is
 * what to compute in ---- */
#define CB_DISPATCH_CASE(id, S, T, ...) \
    case id: {                          \
        typedef S T;                    \
        __VA_ARGS__;                    \
        break;                          \
    }
#define CB_DISPATCH_ALL(dtype, T, ...)                  \
    switch (dtype) {                                    \
        CB_DISPATCH_CASE(CB_BOOL, bool, T, __VA_ARGS__) \
        CB_DISPATCH_INTEGER_CASES(T, __VA_ARGS__)       \
        CB_DISPATCH_FLOAT_CASES(T, __VA_ARGS__)         \
        CB_DISPATCH_COMPLEX_CASES(T, __VA_ARGS__)       \
    }
#define CB_DISPATCH_FLOAT(dtype, T, ...) /* the four floating dtypes */ \
    switch (dtype) { CB_DISPATCH_FLOAT_CASES(T, __VA_ARGS__) }
#define CB_DISPATCH_INEXACT(dtype, T, ...) /* floating and complex */ \
    switch (dtype) { CB_DISPATCH_FLOAT_CASES(T, __VA_ARGS__) CB_DISPATCH_COMPLEX_CASES(T, __VA_ARGS__) }
#define CB_DISPATCH_INTEGER_CASES(T, ...)              \
    CB_DISPATCH_CASE(CB_U8, uint8_t, T, __VA_ARGS__)   \
    CB_DISPATCH_CASE(CB_I8, int8_t, T, __VA_ARGS__)    \
    CB_DISPATCH_CASE(CB_U16, uint16_t, T, __VA_ARGS__) \
    CB_DISPATCH_CASE(CB_I16, int16_t, T, __VA_ARGS__)  \
    CB_DISPATCH_CASE(CB_U32, uint32_t, T, __VA_ARGS__) \
    CB_DISPATCH_CASE(CB_I32, int32_t, T, __VA_ARGS__)  \
    CB_DISPATCH_CASE(CB_U64, uint64_t, T, __VA_ARGS__) \
    CB_DISPATCH_CASE(CB_I64, int64_t, T, __VA_ARGS__)
#define CB_DISPATCH_FLOAT_CASES(T, ...)                \
    CB_DISPATCH_CASE(CB_F16, cb_f16, T, __VA_ARGS__)   \
    CB_DISPATCH_CASE(CB_BF16, cb_bf16, T, __VA_ARGS__) \
    CB_DISPATCH_CASE(CB_F32, float, T, __VA_ARGS__)    \
    CB_DISPATCH_CASE(CB_F64, double, T, __VA_ARGS__)
#define CB_DISPATCH_COMPLEX_CASES(T, ...)                  \
    CB_DISPATCH_CASE(CB_C64, cb_complex64, T, __VA_ARGS__) \
    CB_DISPATCH_CASE(CB_C128, cb_complex128, T, __VA_ARGS__)
/* an item of a size, for kernels that only move items: 1, 2, 4, 8 or 16 bytes */
struct alignas(16) cb_item16 {
    uint64_t part[2];
};
#define CB_DISPATCH_SIZE(itemsize, T, ...)              \
    switch (itemsize) {                                 \
        CB_DISPATCH_CASE(1, uint8_t, T, __VA_ARGS__)    \
        CB_DISPATCH_CASE(2, uint16_t, T, __VA_ARGS__)   \
        CB_DISPATCH_CASE(4, uint32_t, T, __VA_ARGS__)   \
        CB_DISPATCH_CASE(8, uint64_t, T, __VA_ARGS__)   \
        CB_DISPATCH_CASE(16, cb_item16, T, __VA_ARGS__) \
    }
/* where items are replaced: the same by types of plain numbers, 16 bytes as a complex one */
#define CB_DISPATCH_MOVED(itemsize, T, ...)                 \
    switch (itemsize) {                                     \
        CB_DISPATCH_CASE(1, uint8_t, T, __VA_ARGS__)        \
        CB_DISPATCH_CASE(2, uint16_t, T, __VA_ARGS__)       \
        CB_DISPATCH_CASE(4, uint32_t, T, __VA_ARGS__)       \
        CB_DISPATCH_CASE(8, uint64_t, T, __VA_ARGS__)       \
        CB_DISPATCH_CASE(16, cb_complex128, T, __VA_ARGS__) \
    }
/* where items are added up: all dtypes but 16-bit floats, which come as float */
#define CB_DISPATCH_ACCUMULATED(dtype, T, ...)           \
    switch (dtype) {                                     \
        CB_DISPATCH_CASE(CB_BOOL, bool, T, __VA_ARGS__)  \
        CB_DISPATCH_INTEGER_CASES(T, __VA_ARGS__)        \
        CB_DISPATCH_CASE(CB_F32, float, T, __VA_ARGS__)  \
        CB_DISPATCH_CASE(CB_F64, double, T, __VA_ARGS__) \
        CB_DISPATCH_COMPLEX_CASES(T, __VA_ARGS__)        \
    }
#endif
