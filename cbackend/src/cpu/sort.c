/* Sorting and selection.
 *
 * Values become unsigned keys of the same order (floats: flip the sign bit, or all bits of a negative number;
 * nan above everything; descending: the complement). Keys of up to 32 bits carry their position in the lower
 * half of a 64-bit item, so one integer comparison is a stable order; 64-bit keys travel as pairs. */
#include <stdatomic.h>

#include "half.h"
#include "cpu.h"

enum {
    RADIX_BITS = 11,
    RADIX_BUCKETS = 1 << RADIX_BITS,
    INSERTION_MAX = 32,
    RADIX_LARGE = 1 << 16,
    RADIX_DEEP = 1 << 12,
    SPREAD_LEAST = 1 << 15,
    COMPACT_MOST = 4096, /* codes of 32 bits */
    WORK = 4096,
    STACK = 32768,
    SELECT_TILE = 128
};

/* chunks of a long array: enough for many threads, few enough for small tables */
static int64_t radix_chunk(int64_t n) { return CB_MAX(1 << 15, (n + 255) / 256); }
static int64_t radix_room(int64_t n) {
    return n < RADIX_DEEP ? 0 : ((n + radix_chunk(n) - 1) / radix_chunk(n)) << RADIX_BITS;
}

typedef struct pair {
    uint64_t key;
    int64_t index;
} pair;

/* from how many items on they are sorted by codes */
#if defined(__AVX512F__)
#include <immintrin.h>
enum { COMPACT_LEAST = 65, VECTORS_32 = 1, VECTORS_64 = 1 };
#elif defined(__AVX2__)
#include "sort_avx2.h"
enum { COMPACT_LEAST = 5, VECTORS_32 = 1, VECTORS_64 = 0 };
#else
enum { VECTORS_32 = 0, VECTORS_64 = 0 };
#endif
#define ITEM uint32_t
#define KEY(x) (x)
#define NAME(f) f##_narrow
#if defined(__AVX512F__)
#define VECTOR_SORT
#define LANES 16
#define IOTA {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
#define READ(others, mask, from) (V) _mm512_mask_loadu_epi32((__m512i)(others), (__mmask16)(mask), from)
#define WRITE(to, mask, v) _mm512_mask_storeu_epi32(to, (__mmask16)(mask), (__m512i)(v))
#define PERMUTE(places, v) (V) _mm512_permutexvar_epi32((__m512i)(places), (__m512i)(v))
#define PACK(mask, v) (V) _mm512_maskz_compress_epi32((__mmask16)(mask), (__m512i)(v))
/* packed to the front, then turned to the back */
#define PACK_BACK(mask, count, v) \
    PERMUTE(((V)IOTA - (ITEM)(count)) & (ITEM)(LANES - 1), PACK(~(mask) & ((1u << LANES) - 1), v))
#define LESSER(a, b) (V) _mm512_min_epu32((__m512i)(a), (__m512i)(b))
#define GREATER(a, b) (V) _mm512_max_epu32((__m512i)(a), (__m512i)(b))
#define MASK_GREATER(no, mask, a, b) \
    (V) _mm512_mask_max_epu32((__m512i)(no), (__mmask16)(mask), (__m512i)(a), (__m512i)(b))
#define BELOW(a, b) _mm512_cmplt_epu32_mask((__m512i)(a), (__m512i)(b))
#define NOT_ABOVE(a, b) _mm512_cmple_epu32_mask((__m512i)(a), (__m512i)(b))
#include "sort_vector.h"
#elif defined(__AVX2__)
#define VECTOR_SORT
#define LANES 8
#define IOTA {0, 1, 2, 3, 4, 5, 6, 7}
#define READ(others, mask, from) (V) avx2_read((__m256i)(others), mask, from)
#define WRITE(to, mask, v) avx2_write(to, mask, (__m256i)(v))
#define PERMUTE(places, v) __builtin_shuffle(v, places)
#define PACK(mask, v) (V) avx2_pack(mask, (__m256i)(v))
#define PACK_BACK(mask, count, v) PACK(mask, v)
#define LESSER(a, b) (V) _mm256_min_epu32((__m256i)(a), (__m256i)(b))
#define GREATER(a, b) (V) _mm256_max_epu32((__m256i)(a), (__m256i)(b))
#define MASK_GREATER(no, mask, a, b) \
    __builtin_shuffle(no, GREATER(a, b), (V)IOTA + (((V){} + (mask)) >> (V)IOTA & 1) * LANES)
#define BELOW(a, b) (avx2_equal((__m256i)(a), (__m256i)GREATER(a, b)) ^ 255)
#define NOT_ABOVE(a, b) avx2_equal((__m256i)(a), (__m256i)LESSER(a, b))
#include "sort_vector.h"
#endif
#include "radix.h"
#define ITEM uint64_t
#define KEY(x) (x)
#define NAME(f) f##_wide
#if defined(__AVX512F__)
#define VECTOR_SORT
#define LANES 8
#define IOTA {0, 1, 2, 3, 4, 5, 6, 7}
#define READ(others, mask, from) (V) _mm512_mask_loadu_epi64((__m512i)(others), (__mmask8)(mask), from)
#define WRITE(to, mask, v) _mm512_mask_storeu_epi64(to, (__mmask8)(mask), (__m512i)(v))
#define PERMUTE(places, v) (V) _mm512_permutexvar_epi64((__m512i)(places), (__m512i)(v))
#define PACK(mask, v) (V) _mm512_maskz_compress_epi64((__mmask8)(mask), (__m512i)(v))
#define PACK_BACK(mask, count, v) \
    PERMUTE(((V)IOTA - (ITEM)(count)) & (ITEM)(LANES - 1), PACK(~(mask) & ((1u << LANES) - 1), v))
#define LESSER(a, b) (V) _mm512_min_epu64((__m512i)(a), (__m512i)(b))
#define GREATER(a, b) (V) _mm512_max_epu64((__m512i)(a), (__m512i)(b))
#define MASK_GREATER(no, mask, a, b) \
    (V) _mm512_mask_max_epu64((__m512i)(no), (__mmask8)(mask), (__m512i)(a), (__m512i)(b))
#define BELOW(a, b) _mm512_cmplt_epu64_mask((__m512i)(a), (__m512i)(b))
#define NOT_ABOVE(a, b) _mm512_cmple_epu64_mask((__m512i)(a), (__m512i)(b))
#include "sort_vector.h"
#endif
#if defined(__AVX2__)
#define COMPACTS(n, low) ((n) >= COMPACT_LEAST && (low) == 32) /* items with an index in their lower half */
#define RANK(x) ((uint32_t)((x) >> 32))
#define CODE uint32_t
#define SORT(codes, scratch, n) vector_sort_narrow(codes, scratch, n, 0, 32)
#include "sort_compact.h"
#endif
#include "radix.h"
#define ITEM pair
#define KEY(x) ((x).key)
#define NAME(f) f##_pair
#if defined(__AVX512F__)
#define COMPACTS(n, low) ((n) > 16)
#define RANK(x) ((x).key)
#define CODE uint64_t
#define SORT(codes, scratch, n) vector_sort_wide(codes, scratch, n, 0, 64)
#include "sort_compact.h"
#endif
#include "radix.h"

/* ---- keys ---- */

CB_INLINE uint32_t key_of_float(float v, bool merge) {
    uint32_t bits = float_to_bits(v);
    if (merge) bits = v == 0 ? 0 : bits; /* -0 equals 0 */
    uint32_t key = bits ^ ((uint32_t)((int32_t)bits >> 31) | 0x80000000u);
    return v != v ? 0xffffffffu : key;
}
CB_INLINE uint64_t key_of_double(double v, bool merge) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    if (merge) bits = v == 0 ? 0 : bits;
    uint64_t key = bits ^ ((uint64_t)((int64_t)bits >> 63) | 0x8000000000000000u);
    return v != v ? 0xffffffffffffffffu : key;
}
/* of the 16 bits of a float16 or bfloat16 whose infinity is `infinity` */
CB_INLINE uint32_t key_of_16(uint16_t bits, uint32_t infinity, bool merge) {
    uint32_t magnitude = bits & 0x7fffu, key = bits & 0x8000u ? 0xffffu ^ bits : bits | 0x8000u;
    if (merge) key = magnitude == 0 ? 0x8000u : key;
    return magnitude > infinity ? 0xffffu : key;
}

/* Key bits of a dtype, 64 at most. */
static int key_bits(int dtype) { return 8 * cb_dtypes[dtype].size; }

/* Fills 32-bit keys. merge: zeros of both signs get one key, as stability demands; without it keys can be
 * inverted. */
static void narrow_keys(int dtype, int64_t n, const void *values, uint32_t flip, bool merge, uint32_t *keys) {
#define LOOP(type, key)                     \
    for (int64_t i = 0; i < n; i++) {       \
        type v = ((const type *)values)[i]; \
        keys[i] = (uint32_t)(key) ^ flip;   \
    }                                       \
    break
    switch (dtype) {
        case CB_BOOL:
        case CB_U8: LOOP(uint8_t, v);
        case CB_I8: LOOP(uint8_t, v ^ 0x80u);
        case CB_U16: LOOP(uint16_t, v);
        case CB_I16: LOOP(uint16_t, v ^ 0x8000u);
        case CB_U32: LOOP(uint32_t, v);
        case CB_I32: LOOP(uint32_t, v ^ 0x80000000u);
        case CB_F16: LOOP(uint16_t, key_of_16(v, 0x7c00, merge));
        case CB_BF16: LOOP(uint16_t, key_of_16(v, 0x7f80, merge));
        default: LOOP(float, key_of_float(v, merge));
    }
}

/* the value of a key made without merge; all nans become one */
static void narrow_values(int dtype, int64_t n, const uint32_t *keys, uint32_t flip, void *values) {
#define BACK(type, bits)                    \
    for (int64_t i = 0; i < n; i++) {       \
        uint32_t k = keys[i] ^ flip;        \
        ((type *)values)[i] = (type)(bits); \
    }                                       \
    break
    switch (dtype) {
        case CB_BOOL:
        case CB_U8: BACK(uint8_t, k);
        case CB_I8: BACK(uint8_t, k ^ 0x80u);
        case CB_U16: BACK(uint16_t, k);
        case CB_I16: BACK(uint16_t, k ^ 0x8000u);
        case CB_U32: BACK(uint32_t, k);
        case CB_I32: BACK(uint32_t, k ^ 0x80000000u);
        case CB_F16: BACK(uint16_t, k == 0xffff ? 0x7e00 : k & 0x8000u ? k & 0x7fffu : ~k);
        case CB_BF16: BACK(uint16_t, k == 0xffff ? 0x7fc0 : k & 0x8000u ? k & 0x7fffu : ~k);
        default: BACK(uint32_t, k == 0xffffffffu ? 0x7fc00000u : k & 0x80000000u ? k & 0x7fffffffu : ~k);
    }
}

CB_INLINE uint64_t wide_key(int dtype, const void *values, int64_t i, bool merge) {
    if (dtype == CB_F64) return key_of_double(((const double *)values)[i], merge);
    return ((const uint64_t *)values)[i] ^ (dtype == CB_I64 ? 0x8000000000000000u : 0);
}

static void wide_keys(int dtype, int64_t n, const void *values, uint64_t flip, bool merge, uint64_t *keys) {
    for (int64_t i = 0; i < n; i++) keys[i] = wide_key(dtype, values, i, merge) ^ flip;
}

static void wide_values(int dtype, int64_t n, const uint64_t *keys, uint64_t flip, uint64_t *values) {
    if (dtype == CB_F64)
        for (int64_t i = 0; i < n; i++) {
            uint64_t k = keys[i] ^ flip;
            values[i] = k == 0xffffffffffffffffu ? 0x7ff8000000000000u
                        : k >> 63                ? k & 0x7fffffffffffffffu
                                                 : ~k;
        }
    else
        for (int64_t i = 0; i < n; i++)
            values[i] = keys[i] ^ flip ^ (dtype == CB_I64 ? 0x8000000000000000u : 0);
}

/* ---- rows ---- */

typedef struct sort_run {
    const cb_tensor *x;
    int dim;
    int64_t n, k; /* length of a row; items wanted of each, n for all */
    bool descending, alone;     /* alone: no other thread helps with a row */
    cb_tensor *values, *indices; /* either may be NULL */
    atomic_int failed;
} sort_run;

/* offset of row r of a tensor along dim */
static int64_t row_offset(const cb_tensor *x, int dim, int64_t r) {
    int64_t offset = 0;
    for (int d = x->ndim - 1; d >= 0; d--) {
        if (d == dim) continue;
        offset += r % x->shape[d] * x->strides[d];
        r /= x->shape[d];
    }
    return offset;
}

/* Where the results of a row go: indices, and values picked from the row or made from the keys again. */
typedef struct outcome {
    const sort_run *s;
    const void *row, *items;
    int64_t *indices; /* either may be NULL: not wanted */
    char *values;
    int64_t index_stride, value_stride;
    bool pairs;
} outcome;

CB_INLINE void put_picked(const outcome *o, int64_t i) {
    int64_t size = o->s->x->itemsize, source = o->pairs
                                                   ? ((const pair *)o->items)[i].index
                                                   : (int64_t)(((const uint64_t *)o->items)[i] & 0xffffffffu);
    memcpy(o->values + i * o->value_stride * size, (const char *)o->row + source * size, (size_t)size);
}

CB_INLINE uint64_t key_of_item(const outcome *o, int64_t i) {
    return o->pairs ? ((const pair *)o->items)[i].key : ((const uint64_t *)o->items)[i] >> 32;
}

/* The values of items [begin, end) from their keys, in order of memory. Zeros of both signs share a key, as
 * do nans: such items are picked. */
static void put_unkeyed(const outcome *o, int64_t begin, int64_t end) {
    int dtype = o->s->x->dtype, bits = key_bits(dtype), size = o->s->x->itemsize;
    uint64_t most = ~(uint64_t)0 >> (64 - bits), flip = o->s->descending ? most : 0, zero = most / 2 + 1;
    uint64_t values[CB_TILE], wide[CB_TILE];
    uint32_t narrow[CB_TILE];
    for (int64_t i = begin; i < end; i += CB_TILE) {
        int64_t n = CB_MIN(CB_TILE, end - i);
        void *to = o->value_stride == 1 ? (void *)(o->values + i * size) : values;
        if (bits == 64) {
            for (int64_t j = 0; j < n; j++) wide[j] = key_of_item(o, i + j);
            wide_values(dtype, n, wide, flip, to);
        } else {
            for (int64_t j = 0; j < n; j++) narrow[j] = (uint32_t)key_of_item(o, i + j);
            narrow_values(dtype, n, narrow, (uint32_t)flip, to);
        }
        if (to == values)
            CB_FN(scatter_run)(size, o->values + i * o->value_stride * size, o->value_stride, n, values);
        uint64_t a = key_of_item(o, i) ^ flip, b = key_of_item(o, i + n - 1) ^ flip, high = CB_MAX(a, b);
        if (!cb_is_float(dtype) || (high != most && (high < zero || CB_MIN(a, b) > zero))) continue;
        uint64_t shared = 0; /* not bool, or the loop stays scalar */
        for (int64_t j = 0; j < n; j++) {
            uint64_t key = key_of_item(o, i + j) ^ flip;
            shared |= (uint64_t)((key == zero) | (key == most));
        }
        for (int64_t j = 0; shared && j < n; j++) {
            uint64_t key = key_of_item(o, i + j) ^ flip;
            if (key == zero || key == most) put_picked(o, i + j);
        }
    }
}

static void put_outcome(void *context, int64_t begin, int64_t end) {
    const outcome *o = context;
    int64_t stride = o->index_stride;
    if (o->indices && o->pairs)
        for (int64_t i = begin; i < end; i++) o->indices[i * stride] = ((const pair *)o->items)[i].index;
    else if (o->indices)
        for (int64_t i = begin; i < end; i++)
            o->indices[i * stride] = (int64_t)(((const uint64_t *)o->items)[i] & 0xffffffffu);
    if (o->values) put_unkeyed(o, begin, end);
}

/* Items of [begin, begin + n) of a row. Items sort like (key, index). */
static void make_items(const sort_run *s, const void *row, int64_t begin, int64_t n, void *items,
                       bool pairs) {
    int dtype = s->x->dtype, bits = key_bits(dtype);
    if (bits == 64) {
        uint64_t flip = s->descending ? ~(uint64_t)0 : 0;
        pair *to = items;
        for (int64_t i = 0; i < n; i++)
            to[i] = (pair){wide_key(dtype, row, begin + i, true) ^ flip, begin + i};
        return;
    }
    uint32_t keys[CB_TILE], flip = s->descending ? 0xffffffffu >> (32 - bits) : 0;
    for (int64_t i = 0; i < n; i += CB_TILE) {
        int64_t count = CB_MIN(CB_TILE, n - i);
        narrow_keys(dtype, count, (const char *)row + (begin + i) * s->x->itemsize, flip, true, keys);
        if (pairs)
            for (int64_t j = 0; j < count; j++) ((pair *)items)[i + j] = (pair){keys[j], begin + i + j};
        else
            for (int64_t j = 0; j < count; j++)
                ((uint64_t *)items)[i + j] = (uint64_t)keys[j] << 32 | (uint64_t)(begin + i + j);
    }
}

typedef struct making {
    const sort_run *s;
    const void *row;
    char *items;
    bool pairs;
} making;

static void make_chunk(void *context, int64_t begin, int64_t end) {
    const making *m = context;
    int64_t size = m->pairs ? sizeof(pair) : 8;
    make_items(m->s, m->row, begin, end - begin, m->items + begin * size, m->pairs);
}

static void *sort_items(void *a, void *b, int64_t n, int bits, bool pairs, int64_t *counts) {
    return pairs ? (void *)sort_items_pair(a, b, n, 0, bits, counts)
                 : (void *)sort_items_wide(a, b, n, 32, 32 + bits, counts);
}

/* The k first items of the order, sorted, without sorting the row: items better than the k-th of those seen
 * so far collect in a buffer, which is sorted and cut when it is full. */
static void *select_items(const sort_run *s, const void *row, void *a, void *b, int64_t room, bool pairs) {
    int bits = key_bits(s->x->dtype);
    int64_t held = 0;
    uint64_t limit = ~(uint64_t)0; /* keys (of plain items: the items) at or above it are out */
    uint64_t tile[SELECT_TILE];
    pair pair_tile[SELECT_TILE];
    for (int64_t i = 0; i < s->n; i += SELECT_TILE) {
        int64_t n = CB_MIN(SELECT_TILE, s->n - i);
        make_items(s, row, i, n, pairs ? (void *)pair_tile : tile, pairs);
        if (held + n > room) {
            void *sorted = sort_items(a, b, held, bits, pairs, NULL);
            if (sorted != a) {
                b = a;
                a = sorted;
            }
            held = s->k;
            limit = pairs ? ((pair *)a)[held - 1].key : ((uint64_t *)a)[held - 1];
        }
        if (pairs) { /* a later item of the same key is not better; the greatest key may be a limit or none */
            bool cut = limit != ~(uint64_t)0;
            for (int64_t j = 0; j < n; j++) {
                ((pair *)a)[held] = pair_tile[j];
                held += !cut || pair_tile[j].key < limit;
            }
        } else {
            for (int64_t j = 0; j < n; j++) {
                ((uint64_t *)a)[held] = tile[j];
                held += tile[j] < limit;
            }
        }
    }
    return sort_items(a, b, held, bits, pairs, NULL);
}

enum { SPREAD = 512, CELLS = 1 << 16, SAMPLE = 8 * SPREAD };
#define WORD uint32_t
#define ITEM uint64_t
#define ITEM_OF(key, index) ((uint64_t)(key) << 32 | (uint64_t)(index))
#define RANK(item) (item)
#define KEYS narrow_keys
#define VALUES narrow_values
#define SORT_KEYS(keys, scratch, n, counts) sort_items_narrow(keys, scratch, n, 0, 32, counts)
#define SORT_ITEMS(items, scratch, n, counts) sort_items_wide(items, scratch, n, 32, 64, counts)
#define NAME(f) f##_narrow
#include "sort_spread.h"
#define WORD uint64_t
#define ITEM pair
#define ITEM_OF(key, index) ((pair){key, index})
#define RANK(item) ((item).key)
#define KEYS wide_keys
#define VALUES wide_values
#define SORT_KEYS(keys, scratch, n, counts) sort_items_wide(keys, scratch, n, 0, 64, counts)
#define SORT_ITEMS(items, scratch, n, counts) sort_items_pair(items, scratch, n, 0, 64, counts)
#define NAME(f) f##_wide
#include "sort_spread.h"

/* Do keys differ in their last 16 bits alone? Those of classes and other small integers do. */
static bool differ_low(int dtype, const void *row, int64_t n) {
    int size = cb_dtypes[dtype].size;
    if (size <= 2) return true;
    if (!cb_is_integer(dtype)) return false;
    const uint32_t *narrow = row;
    const uint64_t *wide = row;
    uint64_t differs = 0;
    for (int64_t i = 0; i < n && differs <= 0xffff; i += CB_TILE) {
        int64_t end = CB_MIN(i + CB_TILE, n);
        if (size == 4)
            for (int64_t j = i; j < end; j++) differs |= narrow[j] ^ narrow[0];
        else
            for (int64_t j = i; j < end; j++) differs |= wide[j] ^ wide[0];
    }
    return differs <= 0xffff;
}

static void sort_rows(void *context, int64_t begin, int64_t end) {
    sort_run *s = context;
    const cb_tensor *x = s->x;
    int64_t n = s->n, stride = x->strides[s->dim], size = x->itemsize;
    int bits = key_bits(x->dtype), low_bits = CB_MIN(bits, 16);
    bool keys_only = !s->indices;
    /* splitting a long row of keys pays where threads share the work */
    bool whole =
        keys_only && s->alone && (bits == 64 ? VECTORS_64 : VECTORS_32 && bits == 32 && n >= 4 * RADIX_LARGE);
    bool spreads =
        bits >= 32 && !whole && n >= (keys_only ? RADIX_LARGE : SPREAD_LEAST) && n <= UINT32_MAX && s->k == n;
    /* two passes over digits are faster than any splitting, unless threads share that */
    int64_t most = s->alone ? UINT32_MAX : bits <= 16 ? 1 << 21 : SPREAD_LEAST;
    bool may_pass = n >= RADIX_DEEP && n <= most;
    if (spreads && keys_only && s->values->strides[s->dim] != 1) keys_only = false;
    bool pairs = !keys_only && (bits == 64 || n > UINT32_MAX);
    int64_t item = pairs ? sizeof(pair) : keys_only && bits <= 32 ? 4 : 8;
    /* a buffer of candidates is worth it when few are wanted */
    int64_t room = CB_MAX(4 * s->k, SELECT_TILE) + SELECT_TILE;
    bool selects = !keys_only && s->k <= n / 8 && room < n && room < RADIX_LARGE;
    int64_t items = selects ? room : n, n_counts = selects ? 0 : radix_room(n);
    int64_t row_bytes = stride == 1 ? 0 : (n * size + 63) / 64 * 64,
            items_bytes = (items * item + 63) / 64 * 64;
    int64_t nbytes = row_bytes + 2 * items_bytes + n_counts * 8;
    _Alignas(64) char local[STACK];
    char *scratch = nbytes <= STACK ? local : cb_alloc(CB_CPU, nbytes);
    if (!scratch) {
        atomic_store(&s->failed, 1);
        return;
    }
    void *a = scratch + row_bytes, *b = (char *)a + items_bytes;
    int64_t *counts = (int64_t *)((char *)b + items_bytes);
    for (int64_t r = begin; r < end; r++) {
        const void *row = (const char *)x->data + row_offset(x, s->dim, r) * size;
        if (stride != 1) {
            CB_FN(gather_run)((int)size, row, stride, n, scratch);
            row = scratch;
        }
        bool passes = may_pass && !selects && differ_low(x->dtype, row, n);
        if (keys_only && (passes || !spreads)) {
            int64_t to_stride = s->values->strides[s->dim];
            char *to = (char *)s->values->data + row_offset(s->values, s->dim, r) * size;
            char *landing = to_stride == 1
                                ? to
                                : scratch; /* a strided row was gathered there, and is not needed any more */
            if (bits == 64) {
                uint64_t flip = s->descending ? ~(uint64_t)0 : 0, *keys = a;
                wide_keys(x->dtype, n, row, flip, false, keys);
                keys = passes ? radix_small_wide(a, b, n, 0, low_bits)
                              : sort_items_wide(a, b, n, 0, 64, whole ? NULL : counts);
                if (to_stride != 1) landing = (char *)(keys == a ? b : a);
                wide_values(x->dtype, n, keys, flip, (uint64_t *)landing);
            } else {
                uint32_t flip = s->descending ? 0xffffffffu >> (32 - bits) : 0, *keys = a;
                narrow_keys(x->dtype, n, row, flip, false, keys);
                keys = passes ? radix_small_narrow(a, b, n, 0, low_bits)
                              : sort_items_narrow(a, b, n, 0, bits, whole ? NULL : counts);
                if (to_stride != 1) landing = (char *)(keys == a ? b : a);
                narrow_values(x->dtype, n, keys, flip, landing);
            }
            if (to_stride != 1) CB_FN(scatter_run)((int)size, to, to_stride, n, landing);
            continue;
        }
        outcome o = {.s = s, .row = row, .pairs = pairs};
        if (s->indices) {
            o.indices = (int64_t *)s->indices->data + row_offset(s->indices, s->dim, r);
            o.index_stride = s->indices->strides[s->dim];
        }
        if (s->values) {
            o.values = (char *)s->values->data + row_offset(s->values, s->dim, r) * size;
            o.value_stride = s->values->strides[s->dim];
        }
        if (spreads && !passes) {
            bool sorted = bits == 64 ? spread_sort_wide(&o, n, keys_only, a, b, counts)
                                     : spread_sort_narrow(&o, n, keys_only, a, b, counts);
            if (!sorted) atomic_store(&s->failed, 1);
            continue;
        }
        void *sorted;
        if (selects) {
            sorted = select_items(s, row, a, b, room, pairs);
        } else {
            cb_parallel(n, RADIX_LARGE, make_chunk,
                        &(making){.s = s, .row = row, .items = a, .pairs = pairs});
            sorted = !passes ? sort_items(a, b, n, bits, pairs, counts)
                     : pairs ? (void *)radix_small_pair(a, b, n, 0, low_bits)
                             : (void *)radix_small_wide(a, b, n, 32, 32 + low_bits);
        }
        o.items = sorted;
        cb_parallel(s->k, RADIX_LARGE, put_outcome, &o);
    }
    if (scratch != local) cb_free(CB_CPU, scratch, nbytes);
}

#include "sort_select.h"

int CB_FN(sort)(cb_tensor *values, cb_tensor *indices, const cb_tensor *x, int dim, int descending,
                int64_t k) {
    sort_run s = {.x = x,
                  .dim = dim,
                  .n = x->shape[dim],
                  .k = k,
                  .descending = descending,
                  .alone = x->numel > s.n || cb_get_num_threads() == 1,
                  .values = values,
                  .indices = indices};
    atomic_init(&s.failed, 0);
    cb_parallel(x->numel / s.n, CB_MAX(WORK / s.n, 1), sort_rows, &s);
    return atomic_load(&s.failed)
               ? cb_fail(CB_ERR_MEMORY, "sort: the system has no memory left for scratch space.")
               : CB_OK;
}
