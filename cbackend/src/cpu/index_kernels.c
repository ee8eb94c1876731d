/* The loops of index.h, for every dtype. */
#include "index.h"

enum { AHEAD = 12 };

typedef struct {
    double re, im;
} item16;

#define ITEMS_LOOP(type, value, place, source) \
    for (int64_t i = 0; i < n; i++) {          \
        type x = to[place], y = from[source];  \
        (void)x;                               \
        to[place] = (type)(value);             \
    }
#define KERNELS(name, type, value)                                                           \
    static void items_##name(int64_t n, void *to_, const int64_t *places, const void *from_, \
                             const int64_t *sources) {                                       \
        type *restrict to = to_;                                                             \
        const type *restrict from = from_;                                                   \
        if (places && sources)                                                               \
            ITEMS_LOOP(type, value, places[i], sources[i])                                   \
        else if (places)                                                                     \
            ITEMS_LOOP(type, value, places[i], i)                                            \
        else                                                                                 \
            ITEMS_LOOP(type, value, i, sources[i])                                           \
    }
/* Rows lie far apart: those of a later one are asked for early. */
#define PREFETCH(type, base, offset, stride)                                         \
    do {                                                                             \
        const char *later_ = (const char *)((const type *)(base) + (offset));        \
        int64_t reach_ = CB_MIN(width * (stride) * (int64_t)sizeof(type), 512);      \
        for (int64_t l_ = 0; l_ < reach_; l_ += 64) __builtin_prefetch(later_ + l_); \
    } while (0)
#define ROWS(name, type, value)                                                                            \
    static void rows_##name(int64_t n, int64_t width, void *to_, const int64_t *places, int64_t to_stride, \
                            const void *from_, const int64_t *sources, int64_t from_stride) {              \
        for (int64_t j = 0; j < n; j++) {                                                                  \
            type *restrict to = (type *)to_ + places[j];                                                   \
            const type *restrict from = (const type *)from_ + sources[j];                                  \
            if (j + AHEAD < n) {                                                                           \
                PREFETCH(type, to_, places[j + AHEAD], to_stride);                                         \
                PREFETCH(type, from_, sources[j + AHEAD], from_stride);                                    \
            }                                                                                              \
            if (to_stride == 1 && from_stride == 1) {                                                      \
                for (int64_t i = 0; i < width; i++) {                                                      \
                    type x = to[i], y = from[i];                                                           \
                    (void)x;                                                                               \
                    to[i] = (type)(value);                                                                 \
                }                                                                                          \
            } else {                                                                                       \
                for (int64_t i = 0; i < width; i++) {                                                      \
                    type x = to[i * to_stride], y = from[i * from_stride];                                 \
                    (void)x;                                                                               \
                    to[i * to_stride] = (type)(value);                                                     \
                }                                                                                          \
            }                                                                                              \
        }                                                                                                  \
    }
/* Branches, since indices from the end are rare and those out of range an error. */
#define FROM_START(place, places)                                   \
    if (__builtin_expect((uint64_t)place >= (uint64_t)places, 0)) { \
        place += places;                                            \
        if ((uint64_t)place >= (uint64_t)places) return false;      \
    }
/* A row that two moves of `half` bytes cover: so short that processors work on many at once, unasked. */
CB_INLINE void copy_short(char *t, const char *f, int64_t bytes, size_t half) {
    char first[64], last[64];
    memcpy(first, f, half);
    memcpy(last, f + bytes - half, half);
    memcpy(t, first, half);
    memcpy(t + bytes - half, last, half);
}
/* `move` of rows of a number of bytes, with `half` a constant; nothing of longer ones */
#define SHORT_ROWS(bytes, move)    \
    if ((bytes) <= 2) {            \
        move(1);                   \
    } else if ((bytes) <= 4) {     \
        move(2);                   \
    } else if ((bytes) <= 8) {     \
        move(4);                   \
    } else if ((bytes) <= 16) {    \
        move(8);                   \
    } else if ((bytes) <= 32) {    \
        move(16);                  \
    } else if ((bytes) <= 64) {    \
        move(32);                  \
    } else if ((bytes) <= SHORT) { \
        move(64);                  \
    }
bool CB_FN(index_pick_rows)(int64_t n, int64_t bytes, char *to, const char *from, const int64_t *index,
                            int64_t places, int64_t stride) {
#define MOVE(half)                                                      \
    for (int64_t i = 0; i < n; i++) {                                   \
        int64_t place = index[i];                                       \
        FROM_START(place, places)                                       \
        copy_short(to + i * bytes, from + place * stride, bytes, half); \
    }
    SHORT_ROWS(bytes, MOVE)
#undef MOVE
    return true;
}
/* Rows that lie together on both sides: in vectors, the last one over the one before. */
static void copy_rows(int64_t n, int64_t bytes, char *to, const int64_t *places, const char *from,
                      const int64_t *sources, int64_t size) {
#define MOVE(half)                                                                \
    for (int64_t j = 0; j < n; j++)                                               \
        copy_short(to + places[j] * size, from + sources[j] * size, bytes, half); \
    return
    SHORT_ROWS(bytes, MOVE)
#undef MOVE
    bool in_order = (places[n - 1] - places[0]) * size == (n - 1) * bytes; /* nothing to fetch there */
    int64_t reach = CB_MIN(bytes, 512);
    for (int64_t j = 0; j < n; j++) {
        char *t = to + places[j] * size;
        const char *f = from + sources[j] * size;
        if (j + AHEAD < n) {
            const char *later = from + sources[j + AHEAD] * size, *there = to + places[j + AHEAD] * size;
            for (int64_t i = 0; i < reach; i += 64) __builtin_prefetch(later + i);
            for (int64_t i = 0; i < reach && !in_order; i += 64) __builtin_prefetch(there + i, 1);
        }
        int64_t i = 0;
        for (; i + 64 <= bytes; i += 64) memcpy(t + i, f + i, 64);
        for (; i + 16 <= bytes; i += 16) memcpy(t + i, f + i, 16);
        if (i < bytes) memcpy(t + bytes - 16, f + bytes - 16, 16);
    }
}
#define MOVE_ROWS(size, type)                                                                  \
    static void rows_move_##size(int64_t n, int64_t width, void *to_, const int64_t *places,   \
                                 int64_t to_stride, const void *from_, const int64_t *sources, \
                                 int64_t from_stride) {                                        \
        if (to_stride == 1 && from_stride == 1 && n > 0) {                                     \
            copy_rows(n, width * (size), to_, places, from_, sources, size);                   \
            return;                                                                            \
        }                                                                                      \
        for (int64_t j = 0; j < n; j++)                                                        \
            for (int64_t i = 0; i < width; i++)                                                \
                ((type *)to_)[places[j] + i * to_stride] =                                     \
                    ((const type *)from_)[sources[j] + i * from_stride];                       \
    }
#define PICK(size, type)                                                                                   \
    static bool pick_##size(int64_t n, void *to_, const void *from_, const int64_t *index, int64_t places, \
                            int64_t stride) {                                                              \
        type *restrict to = to_;                                                                           \
        const type *restrict from = from_;                                                                 \
        _Pragma("GCC unroll 4") for (int64_t i = 0; i < n; i++) {                                          \
            int64_t place = index[i];                                                                      \
            FROM_START(place, places)                                                                      \
            to[i] = from[place * stride];                                                                  \
        }                                                                                                  \
        return true;                                                                                       \
    }
#define LINE(name, type, value)                                                                      \
    static bool line_##name(int64_t n, void *to, int64_t step, const int64_t *index, int64_t places, \
                            int64_t stride, const void *from) {                                      \
        type *line = to;                                                                             \
        _Pragma("GCC unroll 4") for (int64_t i = 0; i < n; i++, line += step) {                      \
            int64_t place = index[i];                                                                \
            FROM_START(place, places)                                                                \
            type x = line[place * stride], y = ((const type *)from)[i];                              \
            (void)x;                                                                                 \
            line[place * stride] = (type)(value);                                                    \
        }                                                                                            \
        return true;                                                                                 \
    }
#define MOVES(size, type)         \
    KERNELS(move_##size, type, y) \
    MOVE_ROWS(size, type) LINE(move_##size, type, y) PICK(size, type)
MOVES(1, uint8_t)
MOVES(2, uint16_t)
MOVES(4, uint32_t)
MOVES(8, uint64_t)
MOVES(16, item16)

/* wide: an unsigned type without overflow for sums and products of integers */
#define SUMS(id, type, sum, product) \
    KERNELS(add_##id, type, sum)     \
    ROWS(add_##id, type, sum) LINE(add_##id, type, sum) LINE(mul_##id, type, product)
#define ARITHMETIC(id, type, wide) SUMS(id, type, (wide)x + (wide)y, (wide)x * (wide)y)
#define ORDERED(id, type) \
    LINE(max_##id, type, x > y || x != x ? x : y) LINE(min_##id, type, x < y || x != x ? x : y)
SUMS(BOOL, _Bool, x | y, x &y)
ARITHMETIC(U8, uint8_t, uint32_t)
ARITHMETIC(I8, int8_t, uint32_t)
ARITHMETIC(U16, uint16_t, uint32_t)
ARITHMETIC(I16, int16_t, uint32_t)
ARITHMETIC(U32, uint32_t, uint32_t)
ARITHMETIC(I32, int32_t, uint32_t)
ARITHMETIC(U64, uint64_t, uint64_t)
ARITHMETIC(I64, int64_t, uint64_t)
ARITHMETIC(F32, float, float)
ARITHMETIC(F64, double, double)
ARITHMETIC(C64, cb_complex64, cb_complex64)
ARITHMETIC(C128, cb_complex128, cb_complex128)
ORDERED(BOOL, _Bool)
ORDERED(U8, uint8_t)
ORDERED(I8, int8_t)
ORDERED(U16, uint16_t)
ORDERED(I16, int16_t)
ORDERED(U32, uint32_t)
ORDERED(I32, int32_t)
ORDERED(U64, uint64_t)
ORDERED(I64, int64_t)
ORDERED(F32, float)
ORDERED(F64, double)

/* 16-bit floats are accumulated in a float copy by the frame */
#define EACH(ENTRY) \
    ENTRY(BOOL)     \
    ENTRY(U8)       \
    ENTRY(I8) ENTRY(U16) ENTRY(I16) ENTRY(U32) ENTRY(I32) ENTRY(U64) ENTRY(I64) ENTRY(F32) ENTRY(F64)
#define ENTRY(id) [CB_##id] = items_add_##id,
static const items_kernel items_adds[CB_DTYPE_COUNT] = {EACH(ENTRY) ENTRY(C64) ENTRY(C128)};
#undef ENTRY
#define ENTRY(id) [CB_##id] = rows_add_##id,
static const rows_kernel rows_adds[CB_DTYPE_COUNT] = {EACH(ENTRY) ENTRY(C64) ENTRY(C128)};
#undef ENTRY
#define ENTRY(id) [CB_##id] = {NULL, line_add_##id, line_mul_##id, line_max_##id, line_min_##id},
#define ENTRY_COMPLEX(id) [CB_##id] = {NULL, line_add_##id, line_mul_##id, NULL, NULL},
static const line_kernel lines[CB_DTYPE_COUNT][5] = {EACH(ENTRY) ENTRY_COMPLEX(C64) ENTRY_COMPLEX(C128)};

#define CHOICE(kind, otherwise)                               \
    if (mode == MODE_ASSIGN) switch (cb_dtypes[dtype].size) { \
            case 1: return kind##_move_1;                     \
            case 2: return kind##_move_2;                     \
            case 4: return kind##_move_4;                     \
            case 8: return kind##_move_8;                     \
            default: return kind##_move_16;                   \
        }                                                     \
    return otherwise
items_kernel CB_FN(index_items)(int mode, int dtype) { CHOICE(items, items_adds[dtype]); }
rows_kernel CB_FN(index_rows)(int mode, int dtype) { CHOICE(rows, rows_adds[dtype]); }
line_kernel CB_FN(index_line)(int mode, int dtype) { CHOICE(line, lines[dtype][mode]); }
pick_kernel CB_FN(index_pick)(int itemsize) {
    return itemsize == 1   ? pick_1
           : itemsize == 2 ? pick_2
           : itemsize == 4 ? pick_4
           : itemsize == 8 ? pick_8
                           : pick_16;
}
