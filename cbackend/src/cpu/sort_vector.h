/* Quicksort of unsigned integers with AVX-512 or AVX2, included once for each ITEM: a vector at a time is
 * split by a pivot and packed to the two ends of the other buffer; the buffers swap roles; what fits in 16
 * vectors is sorted by a network. ITEM, LANES, NAME, and instructions: see sort.c.
 *
 * Not stable, which shows in nothing: equal items are the same number. Pivots come from fixed places, so the
 * work is deterministic; items ordered so badly that splits stay uneven go to the radix sort. */

typedef ITEM NAME(lanes) __attribute__((vector_size(LANES * sizeof(ITEM))));
#define V NAME(lanes)
enum { NAME(LEAF) = 16 * LANES };

static ITEM *NAME(radix_small)(ITEM *a, ITEM *b, int64_t n, int low, int high);

/* the first n lanes from memory, the others greatest; n may exceed LANES */
CB_INLINE uint32_t NAME(first)(int64_t n) { return n >= LANES ? (1u << LANES) - 1 : (1u << n) - 1; }
CB_INLINE V NAME(get)(const ITEM *from, int64_t n) { return READ((V){} - 1, NAME(first)(n), from); }
CB_INLINE void NAME(put)(ITEM *to, int64_t n, V v) { WRITE(to, NAME(first)(n), v); }

/* the lanes whose number has this bit */
CB_INLINE uint32_t NAME(with_bit)(int bit) {
    uint32_t lanes = bit == 1 ? 0xaaaa : bit == 2 ? 0xcccc : bit == 4 ? 0xf0f0 : 0xff00;
    return lanes & ((1u << LANES) - 1);
}

/* Lane i meets lane i ^ with; the larger goes to the one with the bit `up` set. */
CB_INLINE V NAME(exchange)(V x, int with, int up) {
    V y = PERMUTE((V)IOTA ^ (ITEM)with, x);
    return MASK_GREATER(LESSER(x, y), NAME(with_bit)(up), x, y);
}

CB_INLINE void NAME(order)(V *v, int i, int k) {
    V x = v[i], y = v[k];
    v[i] = LESSER(x, y);
    v[k] = GREATER(x, y);
}

/* Sorts each lane down the vectors: Batcher's odd-even merge sort. */
#define ORDER(i, k) NAME(order)(v, i, k)
CB_INLINE void NAME(sort_columns_8)(V *v) {
    ORDER(0, 1), ORDER(2, 3), ORDER(4, 5), ORDER(6, 7), ORDER(0, 2), ORDER(1, 3), ORDER(4, 6), ORDER(5, 7);
    ORDER(1, 2), ORDER(5, 6), ORDER(0, 4), ORDER(1, 5), ORDER(2, 6), ORDER(3, 7), ORDER(2, 4), ORDER(3, 5);
    ORDER(1, 2), ORDER(3, 4), ORDER(5, 6);
}
CB_INLINE void NAME(sort_columns)(V *v, int count) {
    if (count == 16) {
        NAME(sort_columns_8)(v);
        NAME(sort_columns_8)(v + 8);
        ORDER(0, 8), ORDER(1, 9), ORDER(2, 10), ORDER(3, 11), ORDER(4, 12), ORDER(5, 13), ORDER(6, 14);
        ORDER(7, 15), ORDER(4, 8), ORDER(5, 9), ORDER(6, 10), ORDER(7, 11);
        ORDER(2, 4), ORDER(3, 5), ORDER(6, 8), ORDER(7, 9), ORDER(10, 12), ORDER(11, 13);
        ORDER(1, 2), ORDER(3, 4), ORDER(5, 6), ORDER(7, 8), ORDER(9, 10), ORDER(11, 12), ORDER(13, 14);
    } else if (count == 8) {
        NAME(sort_columns_8)(v);
    } else if (count == 4) {
        ORDER(0, 1), ORDER(2, 3), ORDER(0, 2), ORDER(1, 3), ORDER(1, 2);
    } else if (count == 2) {
        ORDER(0, 1);
    }
}

/* Groups of `lanes` lanes, sorted down the vectors and then from lane to lane, become groups twice as wide.
 */
CB_INLINE void NAME(merge_lanes)(V *v, int count, int lanes) {
    V across = (V)IOTA ^ (ITEM)(2 * lanes - 1);
    uint32_t ups = NAME(with_bit)(lanes);
    /* the first group against the second backwards: each half of the result is bitonic */
    if (count == 1) v[0] = NAME(exchange)(v[0], 2 * lanes - 1, lanes);
#pragma GCC unroll 8
    for (int k = 0; k < count / 2; k++) {
        V x = v[k], y = v[count - 1 - k], x_across = PERMUTE(across, x), y_across = PERMUTE(across, y);
        v[k] = MASK_GREATER(LESSER(x, y_across), ups, x, y_across);
        v[count - 1 - k] = MASK_GREATER(LESSER(y, x_across), ups, y, x_across);
    }
#pragma GCC unroll 4
    for (int s = lanes / 2; s > 0; s /= 2)
#pragma GCC unroll 16
        for (int k = 0; k < count; k++) v[k] = NAME(exchange)(v[k], s, s);
#pragma GCC unroll 4
    for (int s = count / 2; s > 0; s /= 2)
#pragma GCC unroll 16
        for (int k = 0; k < count; k++)
            if (!(k & s)) NAME(order)(v, k, k + s);
}

/* lanes of `count` items each, down the vectors, become one run of vectors */
CB_INLINE void NAME(turn_lanes)(V *v, int count) {
    V low, high;
    for (int j = 0; j < LANES; j++) {
        low[j] = (ITEM)(j / 2 + j % 2 * LANES);
        high[j] = low[j] + LANES / 2;
    }
#pragma GCC unroll 4
    for (int c = count; c > 1; c /= 2) {
        V w[16];
#pragma GCC unroll 16
        for (int k = 0; k < count; k++)
            if (!(k & (c / 2))) {
                w[k] = __builtin_shuffle(v[k], v[k + c / 2], low);
                w[k + c / 2] = __builtin_shuffle(v[k], v[k + c / 2], high);
            }
#pragma GCC unroll 16
        for (int k = 0; k < count; k++) v[k] = w[k];
    }
}

CB_INLINE void NAME(network)(const ITEM *from, ITEM *to, int64_t n, int count) {
    V v[16];
#pragma GCC unroll 16
    for (int k = 0; k < count; k++) v[k] = NAME(get)(from + k * LANES, CB_MAX(n - k * LANES, 0));
    NAME(sort_columns)(v, count);
#pragma GCC unroll 4
    for (int lanes = 1; lanes < LANES; lanes *= 2) NAME(merge_lanes)(v, count, lanes);
    NAME(turn_lanes)(v, count);
#pragma GCC unroll 16
    for (int k = 0; k < count; k++) NAME(put)(to + k * LANES, CB_MAX(n - k * LANES, 0), v[k]);
}

static __attribute__((noinline)) void NAME(leaf)(const ITEM *from, ITEM *to, int64_t n) {
    if (n <= LANES)
        NAME(network)(from, to, n, 1);
    else if (n <= 2 * LANES)
        NAME(network)(from, to, n, 2);
    else if (n <= 4 * LANES)
        NAME(network)(from, to, n, 4);
    else if (n <= 8 * LANES)
        NAME(network)(from, to, n, 8);
    else
        NAME(network)(from, to, n, 16);
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
        NAME(put)(y + high - LANES, LANES, PACK_BACK(mask, count, v));
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

/* the middle of some items of x, which are many */
CB_INLINE ITEM NAME(pivot)(const ITEM *x, int64_t n) {
    ITEM sample[4 * LANES];
    int count = n <= 128 * LANES ? 2 * LANES : 4 * LANES; /* a short row is not worth a better pivot */
    for (int k = 0; k < count; k++) sample[k] = x[n / count * k + k % 2];
    NAME(leaf)(sample, sample, count);
    return sample[count / 2];
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
    ITEM pivot = NAME(pivot)(x, n);
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

/* item k of x sorted, with y as scratch; both are overwritten */
static ITEM NAME(vector_select)(ITEM *x, ITEM *y, int64_t n, int64_t k, int low, int high) {
    for (int depth = 2 * (64 - __builtin_clzll((uint64_t)n)); n > NAME(LEAF); depth--) {
        if (depth == 0) return NAME(radix_small)(x, y, n, low, high)[k];
        ITEM pivot = NAME(pivot)(x, n), *from = x;
        int64_t m = NAME(split)(x, y, n, pivot, false);
        x = y;
        y = from;
        if (k < m) {
            n = m;
            continue;
        }
        if (m == 0) { /* the pivot is the least */
            m = NAME(split)(y, x, n, pivot, true);
            if (k < m) return pivot;
        }
        x += m, y += m, n -= m, k -= m;
    }
    NAME(leaf)(x, x, n);
    return x[k];
}

#undef ORDER
#undef V
#undef LANES
#undef IOTA
#undef READ
#undef WRITE
#undef PERMUTE
#undef PACK
#undef PACK_BACK
#undef LESSER
#undef GREATER
#undef MASK_GREATER
#undef BELOW
#undef NOT_ABOVE
