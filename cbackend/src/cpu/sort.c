/* Sorting, selection and searching.
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

#if defined(__AVX512F__)
#include <immintrin.h>
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
#define LESSER(a, b) (V) _mm512_min_epu32((__m512i)(a), (__m512i)(b))
#define GREATER(a, b) (V) _mm512_max_epu32((__m512i)(a), (__m512i)(b))
#define MASK_GREATER(no, mask, a, b) \
    (V) _mm512_mask_max_epu32((__m512i)(no), (__mmask16)(mask), (__m512i)(a), (__m512i)(b))
#define BELOW(a, b) _mm512_cmplt_epu32_mask((__m512i)(a), (__m512i)(b))
#define NOT_ABOVE(a, b) _mm512_cmple_epu32_mask((__m512i)(a), (__m512i)(b))
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
#define LESSER(a, b) (V) _mm512_min_epu64((__m512i)(a), (__m512i)(b))
#define GREATER(a, b) (V) _mm512_max_epu64((__m512i)(a), (__m512i)(b))
#define MASK_GREATER(no, mask, a, b) \
    (V) _mm512_mask_max_epu64((__m512i)(no), (__mmask8)(mask), (__m512i)(a), (__m512i)(b))
#define BELOW(a, b) _mm512_cmplt_epu64_mask((__m512i)(a), (__m512i)(b))
#define NOT_ABOVE(a, b) _mm512_cmple_epu64_mask((__m512i)(a), (__m512i)(b))
#include "sort_vector.h"
#endif
#include "radix.h"
#define ITEM pair
#define KEY(x) ((x).key)
#define NAME(f) f##_pair
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
    bool descending;
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

/* values of items [begin, end) by their indices */
static void put_picked(const outcome *o, int64_t begin, int64_t end) {
    int64_t stride = o->value_stride;
#define PICK(type)                                                                    \
    for (int64_t i = begin; i < end; i++)                                             \
    ((type *)o->values)[i * stride] =                                                 \
        ((const type *)o->row)[o->pairs ? (uint64_t)((const pair *)o->items)[i].index \
                                        : ((const uint64_t *)o->items)[i] & 0xffffffffu]
    switch (o->s->x->itemsize) {
        case 1: PICK(uint8_t); break;
        case 2: PICK(uint16_t); break;
        case 4: PICK(uint32_t); break;
        default: PICK(uint64_t);
    }
#undef PICK
}

/* The same from the keys, in order of memory. Zeros of both signs share a key, as do nans: such items are
 * picked. */
static void put_unkeyed(const outcome *o, int64_t begin, int64_t end) {
    int dtype = o->s->x->dtype, bits = key_bits(dtype), size = o->s->x->itemsize;
    uint32_t most = 0xffffffffu >> (32 - bits), flip = o->s->descending ? most : 0, zero = most / 2 + 1;
    uint32_t keys[CB_TILE], values[CB_TILE];
    for (int64_t i = begin; i < end; i += CB_TILE) {
        int64_t n = CB_MIN(CB_TILE, end - i);
        const uint64_t *items = (const uint64_t *)o->items + i;
        for (int64_t j = 0; j < n; j++) keys[j] = (uint32_t)(items[j] >> 32);
        uint32_t a = keys[0] ^ flip, b = keys[n - 1] ^ flip, low = CB_MIN(a, b), high = CB_MAX(a, b);
        if (cb_is_float(dtype) && (high == most || (low <= zero && zero <= high))) {
            put_picked(o, i, i + n);
        } else if (o->value_stride == 1) {
            narrow_values(dtype, n, keys, flip, o->values + i * size);
        } else {
            narrow_values(dtype, n, keys, flip, values);
            CB_FN(scatter_run)(size, o->values + i * o->value_stride * size, o->value_stride, n, values);
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
    if (!o->values) return;
    if (o->pairs)
        put_picked(o, begin, end);
    else
        put_unkeyed(o, begin, end);
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

#include "sort_spread.h"

static void sort_rows(void *context, int64_t begin, int64_t end) {
    sort_run *s = context;
    const cb_tensor *x = s->x;
    int64_t n = s->n, stride = x->strides[s->dim], size = x->itemsize;
    int bits = key_bits(x->dtype);
    bool pairs = s->indices && (bits == 64 || n > UINT32_MAX), keys_only = !s->indices;
    bool spreads = bits == 32 && n >= RADIX_LARGE && n <= UINT32_MAX && s->k == n;
    if (spreads && keys_only && s->values->strides[s->dim] != 1) keys_only = false;
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
        if (keys_only && !spreads) {
            int64_t to_stride = s->values->strides[s->dim];
            char *to = (char *)s->values->data + row_offset(s->values, s->dim, r) * size;
            char *landing = to_stride == 1
                                ? to
                                : scratch; /* a strided row was gathered there, and is not needed any more */
            if (bits == 64) {
                uint64_t flip = s->descending ? ~(uint64_t)0 : 0, *keys = a;
                for (int64_t i = 0; i < n; i++) keys[i] = wide_key(x->dtype, row, i, false) ^ flip;
                keys = sort_items_wide(a, b, n, 0, 64, counts);
                if (to_stride != 1) landing = (char *)(keys == a ? b : a);
                wide_values(x->dtype, n, keys, flip, (uint64_t *)landing);
            } else {
                uint32_t flip = s->descending ? 0xffffffffu >> (32 - bits) : 0, *keys = a;
                narrow_keys(x->dtype, n, row, flip, false, keys);
                keys = sort_items_narrow(a, b, n, 0, bits, counts);
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
        void *sorted;
        if (spreads) {
            if (!spread_sort(&o, n, keys_only, a, b, counts)) atomic_store(&s->failed, 1);
            continue;
        }
        if (selects) {
            sorted = select_items(s, row, a, b, room, pairs);
        } else {
            cb_parallel(n, RADIX_LARGE, make_chunk,
                        &(making){.s = s, .row = row, .items = a, .pairs = pairs});
            sorted = sort_items(a, b, n, bits, pairs, counts);
        }
        o.items = sorted;
        cb_parallel(s->k, RADIX_LARGE, put_outcome, &o);
    }
    if (scratch != local) cb_free(CB_CPU, scratch, nbytes);
}

int CB_FN(sort)(cb_tensor *values, cb_tensor *indices, const cb_tensor *x, int dim, int descending,
                int64_t k) {
    sort_run s = {.x = x,
                  .dim = dim,
                  .n = x->shape[dim],
                  .k = k,
                  .descending = descending,
                  .values = values,
                  .indices = indices};
    atomic_init(&s.failed, 0);
    cb_parallel(x->numel / s.n, CB_MAX(WORK / s.n, 1), sort_rows, &s);
    return atomic_load(&s.failed)
               ? cb_fail(CB_ERR_MEMORY, "sort: the system has no memory left for scratch space.")
               : CB_OK;
}

/* ---- searchsorted ---- */

typedef struct search_run {
    const cb_tensor *sorted, *values;
    int64_t *out;
    int64_t n, m; /* sizes of a row of sorted and of values; one row of sorted may serve all */
    bool shared, right;
} search_run;

/* Positions of `count` values in one row, LANES searches abreast: each step is a load that misses the cache,
 * and these overlap. The order is that of sorting: nan comes after everything, so it is before nothing but
 * nan. */
enum { LANES = 16 };
#define SEARCH(type, load)                                                                               \
    static void search_##type(const search_run *s, const void *row_, const void *values_, int64_t count, \
                              int64_t *out) {                                                            \
        const type *row = row_, *values = values_;                                                       \
        for (int64_t i = 0; i < count; i += LANES) {                                                     \
            int64_t low[LANES] = {0}, length = s->n;                                                     \
            int lanes = (int)CB_MIN(LANES, count - i);                                                   \
            __typeof__(+load(row[0])) wanted[LANES] = {0}; /* + drops const */                           \
            bool all[LANES] = {false}; /* is every number before this value? */                          \
            for (int j = 0; j < lanes; j++) {                                                            \
                wanted[j] = load(values[i + j]);                                                         \
                all[j] = wanted[j] != wanted[j];                                                         \
            }                                                                                            \
            while (length > 0) {                                                                         \
                int64_t half = (length + 1) >> 1;                                                        \
                for (int j = 0; j < lanes; j++) {                                                        \
                    __auto_type item = load(row[low[j] + half - 1]);                                     \
                    bool before = s->right ? item <= wanted[j] || all[j]                                 \
                                           : item < wanted[j] || (all[j] && item == item);               \
                    low[j] += before ? half : 0;                                                         \
                }                                                                                        \
                length -= half;                                                                          \
            }                                                                                            \
            for (int j = 0; j < lanes; j++) out[i + j] = low[j];                                         \
        }                                                                                                \
    }
#define PLAIN(v) (v)
SEARCH(uint8_t, PLAIN)
SEARCH(int8_t, PLAIN)
SEARCH(uint16_t, PLAIN)
SEARCH(int16_t, PLAIN)
SEARCH(uint32_t, PLAIN)
SEARCH(int32_t, PLAIN)
SEARCH(uint64_t, PLAIN)
SEARCH(int64_t, PLAIN)
SEARCH(float, PLAIN)
SEARCH(double, PLAIN)
SEARCH(cb_half, half_to_float)
SEARCH(cb_bfloat, bfloat_to_float)

static void search_values(void *context, int64_t begin, int64_t end) {
    static void (*const searches[CB_DTYPE_COUNT])(const search_run *, const void *, const void *, int64_t,
                                                  int64_t *) = {
        [CB_BOOL] = search_uint8_t, [CB_U8] = search_uint8_t,     [CB_I8] = search_int8_t,
        [CB_U16] = search_uint16_t, [CB_I16] = search_int16_t,    [CB_U32] = search_uint32_t,
        [CB_I32] = search_int32_t,  [CB_U64] = search_uint64_t,   [CB_I64] = search_int64_t,
        [CB_F16] = search_cb_half,  [CB_BF16] = search_cb_bfloat, [CB_F32] = search_float,
        [CB_F64] = search_double};
    const search_run *s = context;
    int64_t size = s->values->itemsize;
    for (int64_t i = begin; i < end;) {
        int64_t row = s->shared ? 0 : i / s->m,
                count = s->shared ? end - i : CB_MIN(end, (row + 1) * s->m) - i;
        searches[s->values->dtype](s, (const char *)s->sorted->data + row * s->n * size,
                                   (const char *)s->values->data + i * size, count, s->out + i);
        i += count;
    }
}

int CB_FN(searchsorted)(cb_tensor *out, const cb_tensor *sorted, const cb_tensor *values, int right) {
    search_run s = {.sorted = sorted,
                    .values = values,
                    .out = out->data,
                    .n = sorted->shape[sorted->ndim - 1],
                    .m = values->ndim ? values->shape[values->ndim - 1] : 1,
                    .shared = sorted->ndim == 1,
                    .right = right};
    cb_parallel(values->numel, WORK / 4, search_values, &s);
    return CB_OK;
}

/* ---- runs of equal values in a sorted vector ---- */

/* Does item i differ from its predecessor? nan differs from everything, as in torch. */
#define CHANGES(type, load)                                 \
    for (int64_t i = 0; i < n; i++) {                       \
        const type *v = sorted->data;                       \
        starts[i] = i == 0 || load(v[i]) != load(v[i - 1]); \
    }                                                       \
    break

int64_t CB_FN(run_starts)(const cb_tensor *sorted, uint8_t *starts) {
    int64_t n = sorted->numel, count = 0;
    switch (sorted->dtype) {
        case CB_F16: CHANGES(cb_half, half_to_float);
        case CB_BF16: CHANGES(cb_bfloat, bfloat_to_float);
        case CB_F32: CHANGES(float, PLAIN);
        case CB_F64: CHANGES(double, PLAIN);
        default:
            switch (sorted->itemsize) {
                case 1: CHANGES(uint8_t, PLAIN);
                case 2: CHANGES(uint16_t, PLAIN);
                case 4: CHANGES(uint32_t, PLAIN);
                default: CHANGES(uint64_t, PLAIN);
            }
    }
    for (int64_t i = 0; i < n; i++) count += starts[i];
    return count;
}

/* The first items of runs, without branches on the data: others are written too, and overwritten. */
#define FIRSTS(type)                                                \
    for (int64_t i = 0, k = 0; k < values->numel; k += starts[i++]) \
    ((type *)values->data)[k] = ((const type *)sorted->data)[i]

void CB_FN(unique_runs)(const cb_tensor *sorted, const cb_tensor *order, const uint8_t *starts,
                        cb_tensor *values, cb_tensor *inverse, cb_tensor *counts) {
    int64_t n = sorted->numel, run = -1, first = 0;
    switch (values->itemsize) {
        case 1: FIRSTS(uint8_t); break;
        case 2: FIRSTS(uint16_t); break;
        case 4: FIRSTS(uint32_t); break;
        default: FIRSTS(uint64_t);
    }
    if (!inverse && !counts) return;
    for (int64_t i = 0; i < n; i++) {
        if (starts[i]) {
            if (counts && run >= 0) ((int64_t *)counts->data)[run] = i - first;
            first = i;
            run++;
        }
        if (inverse) ((int64_t *)inverse->data)[((const int64_t *)order->data)[i]] = run;
    }
    if (counts && run >= 0) ((int64_t *)counts->data)[run] = n - first;
}

/* ---- bincount ---- */

int CB_FN(bincount)(cb_tensor *out, const cb_tensor *x, const cb_tensor *weights) {
    const int64_t *bins = x->data;
    if (weights) {
        double *sums = out->data;
        const double *w = weights->data;
        for (int64_t i = 0; i < x->numel; i++) sums[bins[i]] += w[i];
    } else {
        int64_t *counts = out->data;
        for (int64_t i = 0; i < x->numel; i++) counts[bins[i]]++;
    }
    return CB_OK;
}

/* least and greatest of a non-empty contiguous int64 vector */
void CB_FN(int_range)(const cb_tensor *x, int64_t *low, int64_t *high) {
    const int64_t *v = x->data;
    int64_t least = v[0], most = v[0];
    for (int64_t i = 1; i < x->numel; i++) {
        least = v[i] < least ? v[i] : least;
        most = v[i] > most ? v[i] : most;
    }
    *low = least;
    *high = most;
}
