/* Quicksort of unsigned integers with AVX-512, included once for each ITEM: a vector at a time is split by a
 * pivot and packed to the two ends of the other buffer; the buffers swap roles; what fits in eight vectors is
 * sorted by a bitonic network. ITEM, LANES, NAME, and instructions: see sort.c.
 *
 * Not stable, which shows in nothing: equal items are the same number. Pivots come from fixed places, so the
 * work is deterministic; items ordered so badly that splits stay uneven go to the radix sort. */

typedef ITEM NAME(lanes) __attribute__((vector_size(64)));
#define V NAME(lanes)
enum { NAME(LEAF) = 8 * LANES };

static ITEM *NAME(radix_small)(ITEM *a, ITEM *b, int64_t n, int low, int high);

/* the first n lanes from memory, the others greatest; n may exceed LANES */
CB_INLINE uint32_t NAME(first)(int64_t n) { return n >= LANES ? (1u << LANES) - 1 : (1u << n) - 1; }
CB_INLINE V NAME(get)(const ITEM *from, int64_t n) { return READ((V){} - 1, NAME(first)(n), from); }
CB_INLINE void NAME(put)(ITEM *to, int64_t n, V v) { WRITE(to, NAME(first)(n), v); }

/* Lane i meets lane i ^ with; the larger goes to the one with the bit `up` set. */
CB_INLINE V NAME(exchange)(V x, int with, int up) {
    V y = PERMUTE((V)IOTA ^ (ITEM)with, x);
    uint32_t ups = up == 1 ? 0xaaaa : up == 2 ? 0xcccc : up == 4 ? 0xf0f0 : 0xff00;
    return MASK_GREATER(LESSER(x, y), ups & ((1u << LANES) - 1), x, y);
}

/* `count` vectors of LANES items, each sorted */
CB_INLINE void NAME(sort_lanes)(V *v, int count) {
#pragma GCC unroll 4
    for (int size = 2; size <= LANES; size *= 2) {
        for (int k = 0; k < count; k++) v[k] = NAME(exchange)(v[k], size - 1, size / 2);
#pragma GCC unroll 4
        for (int s = size / 4; s > 0; s /= 2)
            for (int k = 0; k < count; k++) v[k] = NAME(exchange)(v[k], s, s);
    }
}

/* Runs of `run` sorted vectors become runs twice as long. */
CB_INLINE void NAME(merge_runs)(V *v, int count, int run) {
    V back = (LANES - 1) - (V)IOTA;
#pragma GCC unroll 8
    for (int first = 0; first < count; first += 2 * run) {
        /* the first against the second backwards: each half of the result is bitonic */
#pragma GCC unroll 8
        for (int k = 0; k < run; k++) {
            V x = v[first + k], y = PERMUTE(back, v[first + 2 * run - 1 - k]);
            v[first + k] = LESSER(x, y);
            v[first + 2 * run - 1 - k] = PERMUTE(back, GREATER(x, y));
        }
#pragma GCC unroll 4
        for (int s = run / 2; s > 0; s /= 2)
#pragma GCC unroll 8
            for (int k = 0; k < 2 * run; k++)
                if (!(k & s)) {
                    V x = v[first + k], y = v[first + k + s];
                    v[first + k] = LESSER(x, y);
                    v[first + k + s] = GREATER(x, y);
                }
    }
#pragma GCC unroll 4
    for (int s = LANES / 2; s > 0; s /= 2)
#pragma GCC unroll 8
        for (int k = 0; k < count; k++) v[k] = NAME(exchange)(v[k], s, s);
}

CB_INLINE void NAME(network)(const ITEM *from, ITEM *to, int64_t n, int count) {
    V v[8];
    for (int k = 0; k < count; k++) v[k] = NAME(get)(from + k * LANES, CB_MAX(n - k * LANES, 0));
    NAME(sort_lanes)(v, count);
    if (count >= 2) NAME(merge_runs)(v, count, 1);
    if (count >= 4) NAME(merge_runs)(v, count, 2);
    if (count >= 8) NAME(merge_runs)(v, count, 4);
    for (int k = 0; k < count; k++) NAME(put)(to + k * LANES, CB_MAX(n - k * LANES, 0), v[k]);
}

static __attribute__((noinline)) void NAME(leaf)(const ITEM *from, ITEM *to, int64_t n) {
    if (n <= LANES)
        NAME(network)(from, to, n, 1);
    else if (n <= 2 * LANES)
        NAME(network)(from, to, n, 2);
    else if (n <= 4 * LANES)
        NAME(network)(from, to, n, 4);
    else
        NAME(network)(from, to, n, 8);
}

/* items of x below the pivot (or not above it) to the front of y, the others to its end; how many went to the
 * front */
CB_INLINE int64_t NAME(split)(const ITEM *x, ITEM *y, int64_t n, ITEM pivot, bool equal_too) {
    int64_t low = 0, high = n, i = 0;
    V p = (V){} + pivot;
    /* whole stores write rubbish between the two ends; it is overwritten later, as long as there is room */
    for (; i + 2 * LANES <= n; i += LANES) {
        V v = NAME(get)(x + i, LANES);
        uint32_t mask = equal_too ? NOT_ABOVE(v, p) : BELOW(v, p);
        int count = __builtin_popcount(mask);
        NAME(put)(y + low, LANES, PACK(mask, v));
        low += count;
        /* packed to the front, then turned to the back */
        V others = PACK(~mask & ((1u << LANES) - 1), v);
        NAME(put)(y + high - LANES, LANES, PERMUTE(((V)IOTA - (ITEM)count) & (ITEM)(LANES - 1), others));
        high -= LANES - count;
    }
    for (; i < n; i += LANES) {
        uint32_t here = NAME(first)(n - i);
        V v = NAME(get)(x + i, n - i);
        uint32_t mask = here & (equal_too ? NOT_ABOVE(v, p) : BELOW(v, p));
        int count = __builtin_popcount(mask), others = __builtin_popcount(here & ~mask);
        NAME(put)(y + low, count, PACK(mask, v));
        low += count;
        high -= others;
        NAME(put)(y + high, others, PACK(here & ~mask, v));
    }
    return low;
}

/* x sorted, with y as scratch; the result goes to y or stays in x */
static void NAME(quick)(ITEM *x, ITEM *y, int64_t n, bool into_y, int depth, int low, int high) {
    if (n <= NAME(LEAF)) {
        NAME(leaf)(x, into_y ? y : x, n);
        return;
    }
    if (depth == 0) {
        ITEM *sorted = NAME(radix_small)(x, y, n, low, high), *to = into_y ? y : x;
        if (sorted != to) memcpy(to, sorted, (size_t)n * sizeof *to);
        return;
    }
    ITEM sample[4 * LANES];
    int count = n <= 16 * NAME(LEAF) ? 2 * LANES : 4 * LANES; /* a short row is not worth a better pivot */
    for (int k = 0; k < count; k++) sample[k] = x[n / count * k + k % 2];
    NAME(leaf)(sample, sample, count);
    ITEM pivot = sample[count / 2];
    int64_t m = NAME(split)(x, y, n, pivot, false);
    if (m == 0) { /* the pivot is the least: all that equal it are in place together */
        m = NAME(split)(x, y, n, pivot, true);
        if (!into_y) memcpy(x, y, (size_t)m * sizeof *x);
    } else {
        NAME(quick)(y, x, m, !into_y, depth - 1, low, high);
    }
    NAME(quick)(y + m, x + m, n - m, !into_y, depth - 1, low, high);
}

static void NAME(vector_sort)(ITEM *a, ITEM *b, int64_t n, int low, int high) {
    NAME(quick)(a, b, n, false, 2 * (64 - __builtin_clzll((uint64_t)n)), low, high);
}

#undef V
#undef LANES
#undef IOTA
#undef READ
#undef WRITE
#undef PERMUTE
#undef PACK
#undef LESSER
#undef GREATER
#undef MASK_GREATER
#undef BELOW
#undef NOT_ABOVE
