/* Searching sorted rows, runs of equal values, counting. */
#include "half.h"
#include "cpu.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

enum { WORK = 4096 };

/* ---- searchsorted ---- */

typedef struct search_run {
    const cb_tensor *sorted, *values;
    int64_t *out;
    int64_t n, m; /* sizes of a row of sorted and of values; one row of sorted may serve all */
    bool shared, right;
} search_run;

/* Positions of `count` values in one row, LANES searches abreast: each step is a load that misses the cache,
 * and these overlap. Steps are sums under a mask: a branch on the data would be wrong half of the time. The
 * order is that of sorting: nan comes after everything, so it is before nothing but nan. */
enum { LANES = 8 };
#define STEPS(lanes, low, before)                      \
    for (int64_t length = s->n; length > 0;) {         \
        int64_t half = (length + 1) >> 1;              \
        for (int j = 0; j < (lanes); j++) {            \
            __auto_type item = row[low[j] + half - 1]; \
            low[j] += -(int64_t)(before) & half;       \
        }                                              \
        length -= half;                                \
    }
#define SEARCH(type, load)                                                                               \
    static void search_##type(const search_run *s, const void *row_, const void *values_, int64_t count, \
                              int64_t *out) {                                                            \
        const type *row = row_, *values = values_;                                                       \
        for (int64_t i = 0; i < count; i += LANES) {                                                     \
            int64_t low[LANES] = {0};                                                                    \
            int lanes = (int)CB_MIN(LANES, count - i);                                                   \
            __typeof__(+load(row[0])) wanted[LANES] = {0}; /* + drops const */                           \
            for (int j = 0; j < lanes; j++) wanted[j] = load(values[i + j]);                             \
            if (s->right)                                                                                \
                STEPS(LANES, low, load(item) <= wanted[j])                                               \
            else                                                                                         \
                STEPS(LANES, low, load(item) < wanted[j])                                                \
            for (int j = 0; j < lanes; j++) out[i + j] = low[j];                                         \
            for (int k = 0; k < lanes; k++) {                                                            \
                if (wanted[k] == wanted[k]) continue;                                                    \
                int64_t first[1] = {0};                                                                  \
                if (!s->right) STEPS(1, first, load(item) == load(item))                                 \
                out[i + k] = s->right ? s->n : first[0];                                                 \
            }                                                                                            \
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

#if defined(__AVX512F__)
/* 32 searches of floats in two vectors, twice as fast; blocks of values with a nan go the plain way */
static void search_vectors(const search_run *s, const void *row_, const void *values_, int64_t count,
                           int64_t *out) {
    const float *row = row_, *values = values_;
    int64_t i = 0;
    for (; i + 32 <= count && s->n <= INT32_MAX; i += 32) {
        __m512 a = _mm512_loadu_ps(values + i), b = _mm512_loadu_ps(values + i + 16);
        if (_mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q)) {
            search_float(s, row, values + i, 32, out + i);
            continue;
        }
        __m512i low_a = _mm512_setzero_si512(), low_b = low_a;
        for (int64_t length = s->n; length > 0;) {
            int64_t half = (length + 1) >> 1;
            __m512i step = _mm512_set1_epi32((int)half);
            __m512 x = _mm512_i32gather_ps(low_a, row + half - 1, 4),
                   y = _mm512_i32gather_ps(low_b, row + half - 1, 4);
            __mmask16 to_a =
                s->right ? _mm512_cmp_ps_mask(x, a, _CMP_LE_OQ) : _mm512_cmp_ps_mask(x, a, _CMP_LT_OQ);
            __mmask16 to_b =
                s->right ? _mm512_cmp_ps_mask(y, b, _CMP_LE_OQ) : _mm512_cmp_ps_mask(y, b, _CMP_LT_OQ);
            low_a = _mm512_mask_add_epi32(low_a, to_a, low_a, step);
            low_b = _mm512_mask_add_epi32(low_b, to_b, low_b, step);
            length -= half;
        }
        _mm512_storeu_si512(out + i, _mm512_cvtepi32_epi64(_mm512_castsi512_si256(low_a)));
        _mm512_storeu_si512(out + i + 8, _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(low_a, 1)));
        _mm512_storeu_si512(out + i + 16, _mm512_cvtepi32_epi64(_mm512_castsi512_si256(low_b)));
        _mm512_storeu_si512(out + i + 24, _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(low_b, 1)));
    }
    search_float(s, row, values + i, count - i, out + i);
}
#else
#define search_vectors search_float
#endif

static void search_values(void *context, int64_t begin, int64_t end) {
    static void (*const searches[CB_DTYPE_COUNT])(const search_run *, const void *, const void *, int64_t,
                                                  int64_t *) = {
        [CB_BOOL] = search_uint8_t, [CB_U8] = search_uint8_t,     [CB_I8] = search_int8_t,
        [CB_U16] = search_uint16_t, [CB_I16] = search_int16_t,    [CB_U32] = search_uint32_t,
        [CB_I32] = search_int32_t,  [CB_U64] = search_uint64_t,   [CB_I64] = search_int64_t,
        [CB_F16] = search_cb_half,  [CB_BF16] = search_cb_bfloat, [CB_F32] = search_vectors,
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

/* Counts of a chunk in four tables, so that equal neighbours do not wait for one another. */
enum { TABLES = 4, CHUNKS = 16, MOST_BINS = 1 << 13 };

typedef struct count_run {
    const int64_t *bins;
    int64_t *tables; /* TABLES of each chunk */
    int64_t nbins, chunk;
} count_run;

static void count_chunk(void *context, int64_t begin, int64_t end) {
    const count_run *c = context;
    int64_t n = c->nbins, *tables = c->tables + begin / c->chunk * TABLES * n, i = begin;
    memset(tables, 0, (size_t)(TABLES * n) * sizeof *tables);
    for (; i + TABLES <= end; i += TABLES)
        for (int k = 0; k < TABLES; k++) tables[k * n + c->bins[i + k]]++;
    for (; i < end; i++) tables[c->bins[i]]++;
}

int CB_FN(bincount)(cb_tensor *out, const cb_tensor *x, const cb_tensor *weights) {
    const int64_t *bins = x->data;
    int64_t *counts = out->data, n = out->numel;
    if (weights) {
        double *sums = out->data;
        const double *w = weights->data;
        for (int64_t i = 0; i < x->numel; i++) sums[bins[i]] += w[i];
        return CB_OK;
    }
    int64_t chunk = CB_MAX((x->numel + CHUNKS - 1) / CHUNKS, 4 * WORK),
            chunks = (x->numel + chunk - 1) / chunk;
    int64_t nbytes = chunks * TABLES * n * (int64_t)sizeof *counts;
    count_run c = {bins, n <= MOST_BINS && TABLES * n < chunk ? cb_alloc(CB_CPU, nbytes) : NULL, n, chunk};
    if (!c.tables) {
        for (int64_t i = 0; i < x->numel; i++) counts[bins[i]]++;
        return CB_OK;
    }
    cb_parallel(x->numel, chunk, count_chunk, &c);
    for (int64_t k = 0; k < chunks * TABLES; k++)
        for (int64_t i = 0; i < n; i++) counts[i] += c.tables[k * n + i];
    cb_free(CB_CPU, c.tables, nbytes);
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
