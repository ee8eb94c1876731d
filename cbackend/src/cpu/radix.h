/* Sorting arrays of ITEM by an unsigned key: a template, included with ITEM, KEY(item) and NAME(f) defined.
 *
 * All sorts are stable. Small arrays: insertion, or with VECTOR_SORT quicksort (sort_vector.h), with COMPACTS
 * of codes (sort_compact.h). Arrays that fit in a cache: least-significant-digit radix sort, which passes
 * over digits that all items share. Long ones are split once by their leading bits, in chunks and by all
 * threads, into buckets that are sorted on their own; a stable outcome does not depend on the chunks. */

static void NAME(insertion)(ITEM *items, int64_t n) {
    for (int64_t i = 1; i < n; i++) {
        ITEM item = items[i];
        int64_t j = i;
        for (; j > 0 && KEY(items[j - 1]) > KEY(item); j--) items[j] = items[j - 1];
        items[j] = item;
    }
}

/* Sorts a by key bits [low, high) with b as scratch; returns whichever holds the result. */
static ITEM *NAME(radix_small)(ITEM *a, ITEM *b, int64_t n, int low, int high) {
    uint32_t counts[8][256];
    int digits = (high - low + 7) / 8;
    memset(counts, 0, sizeof counts[0] * (size_t)digits);
    for (int64_t i = 0; i < n; i++)
        for (int d = 0; d < digits; d++) counts[d][KEY(a[i]) >> (low + 8 * d) & 255]++;
    for (int d = 0; d < digits; d++) {
        int shift = low + 8 * d;
        if (counts[d][KEY(a[0]) >> shift & 255] == n) continue;
        uint32_t sum = 0;
        for (int k = 0; k < 256; k++) {
            uint32_t count = counts[d][k];
            counts[d][k] = sum;
            sum += count;
        }
        for (int64_t i = 0; i < n; i++) b[counts[d][KEY(a[i]) >> shift & 255]++] = a[i];
        ITEM *t = a;
        a = b;
        b = t;
    }
    return a;
}

/* One pass over a long array by its leading digit: counts and moves by chunks, in parallel. */
typedef struct {
    ITEM *from, *to;
    int64_t n, chunk;
    int shift, low;
    uint32_t mask;
    int64_t *counts;  /* a row of mask + 1 for each chunk */
    uint64_t *varies; /* of each chunk: the bits in which items differ from the first of all */
    int64_t *bounds;  /* of the buckets after the pass */
} NAME(pass);

static void NAME(vary_chunk)(void *context, int64_t begin, int64_t end) {
    const NAME(pass) *p = context;
    uint64_t first = KEY(p->from[0]), varies = 0;
    for (int64_t i = begin; i < end; i++) varies |= KEY(p->from[i]) ^ first;
    p->varies[begin / p->chunk] = varies;
}

static void NAME(count_chunk)(void *context, int64_t begin, int64_t end) {
    const NAME(pass) *p = context;
    int64_t *counts = p->counts + begin / p->chunk * (p->mask + 1);
    uint32_t local[RADIX_BUCKETS] = {0}, mask = p->mask;
    int shift = p->shift;
    for (int64_t i = begin; i < end; i++) local[KEY(p->from[i]) >> shift & mask]++;
    for (uint32_t k = 0; k <= mask; k++) counts[k] = local[k];
}

static void NAME(move_chunk)(void *context, int64_t begin, int64_t end) {
    const NAME(pass) *p = context;
    int64_t local[RADIX_BUCKETS];
    uint32_t mask = p->mask;
    int shift = p->shift;
    memcpy(local, p->counts + begin / p->chunk * (mask + 1), (mask + 1) * sizeof *local);
    ITEM *to = p->to;
    for (int64_t i = begin; i < end; i++) to[local[KEY(p->from[i]) >> shift & mask]++] = p->from[i];
}

static ITEM *NAME(sort_items)(ITEM *a, ITEM *b, int64_t n, int low, int high, int64_t *counts);

/* Buckets [begin, end) are in `to` and must end there; `from` is their scratch. */
static void NAME(sort_buckets)(void *context, int64_t begin, int64_t end) {
    const NAME(pass) *p = context;
    for (int64_t k = begin; k < end; k++) {
        int64_t first = p->bounds[k], n = p->bounds[k + 1] - first;
        if (n < 2 || p->shift <= p->low) continue;
        int64_t *counts =
            radix_room(n) ? cb_alloc(CB_CPU, radix_room(n) * 8) : NULL; /* NULL is slower, not wrong */
        ITEM *a = p->to + first, *sorted = NAME(sort_items)(a, p->from + first, n, p->low, p->shift, counts);
        if (sorted != a) memcpy(a, sorted, (size_t)n * sizeof *a);
        if (counts) cb_free(CB_CPU, counts, radix_room(n) * 8);
    }
}

/* Splits by the leading bits that differ, so that the buckets fit in a cache; counts: radix_room(n) numbers.
 */
static ITEM *NAME(radix_large)(ITEM *a, ITEM *b, int64_t n, int low, int high, int64_t *counts) {
    int64_t bounds[RADIX_BUCKETS + 1], chunk = radix_chunk(n), chunks = (n + chunk - 1) / chunk, sum = 0;
    NAME(pass)
    p = {.from = a,
         .to = b,
         .n = n,
         .chunk = chunk,
         .low = low,
         .counts = counts,
         .varies = (uint64_t *)counts,
         .bounds = bounds};
    cb_parallel(n, chunk, NAME(vary_chunk), &p);
    uint64_t varies = 0;
    for (int64_t c = 0; c < chunks; c++) varies |= p.varies[c];
    varies = (varies & (high < 64 ? ((uint64_t)1 << high) - 1 : ~(uint64_t)0)) >> low;
    if (varies == 0) return a;
    high = low + 64 - __builtin_clzll(varies);
#if defined(COMPACTS)
    int digit = CB_MIN(RADIX_BITS, 54 - __builtin_clzll((uint64_t)n)); /* buckets of about 1000, if even */
#else
    int digit = RADIX_BITS;
#endif
    p.shift = CB_MAX(low, high - digit);
    p.mask = (1u << (high - p.shift)) - 1;
    cb_parallel(n, chunk, NAME(count_chunk), &p);
    for (uint32_t k = 0; k <= p.mask; k++) {
        bounds[k] = sum;
        for (int64_t c = 0; c < chunks; c++) {
            int64_t *slot = &counts[c * (p.mask + 1) + k], count = *slot;
            *slot = sum;
            sum += count;
        }
    }
    bounds[p.mask + 1] = n;
    cb_parallel(n, chunk, NAME(move_chunk), &p);
    cb_parallel(p.mask + 1, CB_MAX((p.mask + 1) / 256, 1), NAME(sort_buckets), &p);
    return b;
}

static ITEM *NAME(sort_items)(ITEM *a, ITEM *b, int64_t n, int low, int high, int64_t *counts) {
#if defined(COMPACTS)
    if (COMPACTS(n, low) && n < RADIX_LARGE) {
        ITEM *sorted = NAME(compact)(a, b, n);
        if (sorted) return sorted;
    }
#endif
#if defined(VECTOR_SORT)
    if (n < RADIX_LARGE || !counts) {
        NAME(vector_sort)(a, b, n, low, high);
        return a;
    }
#endif
    if (n <= INSERTION_MAX) {
        NAME(insertion)(a, n);
        return a;
    }
    /* many digits: splitting until little is left moves items less often than passing over each digit */
    bool splits = counts && n >= (high - low > 32 ? RADIX_DEEP : RADIX_LARGE);
    return splits ? NAME(radix_large)(a, b, n, low, high, counts) : NAME(radix_small)(a, b, n, low, high);
}

#undef VECTOR_SORT
#undef COMPACTS
#undef ITEM
#undef KEY
#undef NAME
