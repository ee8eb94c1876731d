/* Running sums of contiguous rows: a vector of items at a time by shifted additions (three for eight), with
 * one addition between groups, so that the chain of dependent operations is a group's share of the row.
 * Products stay one by one (scan.c): those of groups could overflow where the running product does not.
 *
 * A long row is cut into chunks whose totals are chained: a piece adds up its chunk, waits for the sum before
 * it, hands on its own and then writes, from the cache, prefix + local sums. The total handed on is the one
 * that the local sums end in, so results do not depend on who computes which chunk. */
#ifndef CB_CPU_SCAN_ROWS_H
#define CB_CPU_SCAN_ROWS_H

#include <sched.h>
#include <stdatomic.h>

#include "half.h"

#if defined(__AVX512F__)
enum { SCAN_GROUP = 8 };
#elif defined(__AVX2__)
enum { SCAN_GROUP = 4 };
#else
enum { SCAN_GROUP = 2 };
#endif
enum { SCAN_CHUNK = 16384 };

typedef double scan_group __attribute__((vector_size(SCAN_GROUP * sizeof(double))));
typedef int64_t scan_lanes __attribute__((vector_size(SCAN_GROUP * sizeof(double))));

/* Sums of n items, each to `out` with the prefix added; without `out` only the sum of all is returned. */
#define SCAN_SUM(id, T, LOAD, STORE)                                                         \
    CB_INLINE double local_##id(int64_t n, const T *x, T *out, double prefix) {              \
        const scan_group zeros = {0};                                                        \
        scan_lanes last;                                                                     \
        for (int j = 0; j < SCAN_GROUP; j++) last[j] = SCAN_GROUP + j;                       \
        double carry = 0;                                                                    \
        int64_t i = 0;                                                                       \
        for (; i + SCAN_GROUP <= n; i += SCAN_GROUP) {                                       \
            scan_group v;                                                                    \
            for (int j = 0; j < SCAN_GROUP; j++) v[j] = (double)LOAD(x[i + j]);              \
            v += __builtin_shuffle(zeros, v, last - 1);                                      \
            if (SCAN_GROUP > 2) v += __builtin_shuffle(zeros, v, last - 2);                  \
            if (SCAN_GROUP > 4) v += __builtin_shuffle(zeros, v, last - 4);                  \
            if (out) {                                                                       \
                scan_group whole = v + carry + prefix;                                       \
                for (int j = 0; j < SCAN_GROUP; j++) out[i + j] = (T)STORE(whole[j]);        \
            }                                                                                \
            carry += v[SCAN_GROUP - 1];                                                      \
        }                                                                                    \
        for (; i < n; i++) {                                                                 \
            carry += (double)LOAD(x[i]);                                                     \
            if (out) out[i] = (T)STORE(carry + prefix);                                      \
        }                                                                                    \
        return carry;                                                                        \
    }                                                                                        \
    static double total_##id(int64_t n, const void *x) { return local_##id(n, x, NULL, 0); } \
    static void write_##id(int64_t n, const void *x, void *out, double prefix) {             \
        local_##id(n, x, out, prefix);                                                       \
    }

#define SCAN_HALF(v) half_to_float(v)
#define SCAN_BFLOAT(v) bfloat_to_float(v)
#define SCAN_SAME(v) (v)
#define SCAN_TO_HALF(v) float_to_half((float)(v))
#define SCAN_TO_BFLOAT(v) float_to_bfloat((float)(v))
SCAN_SUM(F16, cb_half, SCAN_HALF, SCAN_TO_HALF)
SCAN_SUM(BF16, cb_bfloat, SCAN_BFLOAT, SCAN_TO_BFLOAT)
SCAN_SUM(F32, float, SCAN_SAME, SCAN_SAME)
SCAN_SUM(F64, double, SCAN_SAME, SCAN_SAME)

typedef struct row_sums {
    double (*total)(int64_t n, const void *x);
    void (*write)(int64_t n, const void *x, void *out, double prefix);
    int itemsize;
    int64_t n, chunks;
    const char *x;
    char *out;
    double *prefix;      /* before each chunk of each row */
    atomic_schar *known; /* is it set? */
} row_sums;

/* of one dtype; NULL where there are none */
static inline row_sums row_sums_of(int dtype) {
    switch (dtype) {
        case CB_F16: return (row_sums){.total = total_F16, .write = write_F16};
        case CB_BF16: return (row_sums){.total = total_BF16, .write = write_BF16};
        case CB_F32: return (row_sums){.total = total_F32, .write = write_F32};
        case CB_F64: return (row_sums){.total = total_F64, .write = write_F64};
        default: return (row_sums){.total = NULL};
    }
}

static void sum_short_rows(void *context, int64_t begin, int64_t end) {
    const row_sums *s = context;
    int64_t step = s->n * s->itemsize;
    for (int64_t r = begin; r < end; r++) s->write(s->n, s->x + r * step, s->out + r * step, 0);
}

/* Pieces count chunks, and begin in order: the one waited for is done or running. */
static void sum_chunks(void *context, int64_t begin, int64_t end) {
    row_sums *s = context;
    for (int64_t i = begin; i < end; i++) {
        int64_t chunk = i % s->chunks, first = chunk * SCAN_CHUNK, count = CB_MIN(SCAN_CHUNK, s->n - first),
                offset = (i / s->chunks * s->n + first) * s->itemsize;
        bool hands_on = chunk < s->chunks - 1;
        double total = hands_on ? s->total(count, s->x + offset) : 0, prefix = 0;
        if (chunk > 0) {
            while (!atomic_load_explicit(&s->known[i], memory_order_acquire)) sched_yield();
            prefix = s->prefix[i];
        }
        if (hands_on) {
            s->prefix[i + 1] = prefix + total;
            atomic_store_explicit(&s->known[i + 1], 1, memory_order_release);
        }
        s->write(count, s->x + offset, s->out + offset, prefix);
    }
}

static int sum_rows(row_sums *s, int64_t rows) {
    s->chunks = (s->n + SCAN_CHUNK - 1) / SCAN_CHUNK;
    if (s->chunks <= 2) {
        cb_parallel(rows, CB_MAX(1, SCAN_CHUNK / s->n), sum_short_rows, s);
        return CB_OK;
    }
    int64_t count = rows * s->chunks, nbytes = count * (int64_t)(sizeof *s->prefix + sizeof *s->known);
    s->prefix = cb_alloc(CB_CPU, nbytes);
    if (!s->prefix) return cb_error_code();
    s->known = (atomic_schar *)(s->prefix + count);
    memset(s->known, 0, (size_t)count);
    cb_parallel_in_order(count, 1, sum_chunks, s);
    cb_free(CB_CPU, s->prefix, nbytes);
    return CB_OK;
}
#endif
