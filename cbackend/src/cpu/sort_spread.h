/* Sorting one long row, included for keys of 32 and of 64 bits: keys are spread over buckets of about equal
 * sizes, whose bounds come from a sample; each bucket is sorted and written out while it is in the cache.
 * Stable: items of one key stay in order while they are spread, and carry their index. Chunks and buckets do
 * not depend on the number of threads.
 *
 * WORD: the type of a key; ITEM, of a key with its index, ITEM_OF(key, index), RANK(item), by which items are
 * in order; KEYS, VALUES: what makes keys of values, and values again; SORT_KEYS, SORT_ITEMS; NAME. */

typedef struct {
    outcome result;
    WORD flip, least; /* of the sample */
    int shift;
    const uint16_t *bucket_of; /* of a cell: a range of 1 << shift keys */
    bool keys_only;
    void *to, *scratch; /* items, or keys */
    int64_t n, chunk;
    int64_t *counts; /* a row of SPREAD for each chunk */
    int64_t bounds[SPREAD + 1];
} NAME(spread);

CB_INLINE uint32_t NAME(bucket)(const NAME(spread) * p, WORD key) {
    WORD cell = (key < p->least ? 0 : key - p->least) >> p->shift;
    return p->bucket_of[CB_MIN(cell, CELLS - 1)];
}

static void NAME(keys_of_tile)(const NAME(spread) * p, int64_t begin, int64_t n, WORD *keys) {
    KEYS(p->result.s->x->dtype, n, (const WORD *)p->result.row + begin, p->flip, !p->keys_only, keys);
}

static void NAME(spread_count)(void *context, int64_t begin, int64_t end) {
    const NAME(spread) *p = context;
    WORD keys[CB_TILE];
    uint32_t local[SPREAD] = {0};
    int64_t *counts = p->counts + begin / p->chunk * SPREAD;
    for (int64_t i = begin; i < end; i += CB_TILE) {
        int64_t n = CB_MIN(CB_TILE, end - i);
        NAME(keys_of_tile)(p, i, n, keys);
        for (int64_t j = 0; j < n; j++) local[NAME(bucket)(p, keys[j])]++;
    }
    for (int k = 0; k < SPREAD; k++) counts[k] = local[k];
}

static void NAME(spread_move)(void *context, int64_t begin, int64_t end) {
    const NAME(spread) *p = context;
    WORD keys[CB_TILE];
    uint32_t places[SPREAD];
    const int64_t *counts = p->counts + begin / p->chunk * SPREAD;
    for (int k = 0; k < SPREAD; k++) places[k] = (uint32_t)counts[k];
    ITEM *items = p->to;
    WORD *plain = p->to;
    for (int64_t i = begin; i < end; i += CB_TILE) {
        int64_t n = CB_MIN(CB_TILE, end - i);
        NAME(keys_of_tile)(p, i, n, keys);
        if (p->keys_only)
            for (int64_t j = 0; j < n; j++) plain[places[NAME(bucket)(p, keys[j])]++] = keys[j];
        else
            for (int64_t j = 0; j < n; j++)
                items[places[NAME(bucket)(p, keys[j])]++] = ITEM_OF(keys[j], i + j);
    }
}

static bool NAME(keys_in_order)(const WORD *keys, int64_t n) {
    for (int64_t i = 1; i < n; i++)
        if (keys[i - 1] > keys[i]) return false;
    return true;
}

static bool NAME(items_in_order)(const ITEM *items, int64_t n) {
    for (int64_t i = 1; i < n; i++)
        if (RANK(items[i - 1]) > RANK(items[i])) return false;
    return true;
}

static void NAME(spread_finish)(void *context, int64_t begin, int64_t end) {
    NAME(spread) *p = context;
    for (int64_t k = begin; k < end; k++) {
        int64_t first = p->bounds[k], n = p->bounds[k + 1] - first;
        if (n == 0) continue;
        WORD *keys = (WORD *)p->to + first;
        ITEM *items = (ITEM *)p->to + first;
        bool sorts = p->keys_only ? !NAME(keys_in_order)(keys, n) : !NAME(items_in_order)(items, n);
        int64_t room = sorts ? radix_room(n) * 8 : 0, *counts = room ? cb_alloc(CB_CPU, room) : NULL;
        if (p->keys_only) {
            if (sorts) keys = SORT_KEYS(keys, (WORD *)p->scratch + first, n, counts);
            const outcome *o = &p->result;
            VALUES(o->s->x->dtype, n, keys, p->flip, (void *)((WORD *)o->values + first));
        } else {
            outcome o = p->result;
            if (sorts && SORT_ITEMS(items, (ITEM *)p->scratch + first, n, counts) != items)
                o.items = p->scratch;
            put_outcome(&o, first, first + n);
        }
        if (counts) cb_free(CB_CPU, counts, room);
    }
}

/* Fills in the buckets of cells, so that each bucket gets an equal share of the sample. */
static void NAME(spread_plan)(NAME(spread) * p, uint16_t *bucket_of) {
    WORD keys[SAMPLE], scratch[SAMPLE];
    for (int64_t i = 0; i < SAMPLE; i++) NAME(keys_of_tile)(p, i * (p->n / SAMPLE), 1, &keys[i]);
    const WORD *sample = SORT_KEYS(keys, scratch, SAMPLE, NULL);
    p->least = sample[0];
    WORD range = sample[SAMPLE - 1] - sample[0];
    p->shift = range < CELLS ? 0 : 48 - __builtin_clzll(range);
    int cell = 0;
    for (int i = 0; i < SAMPLE; i++)
        for (int last = (int)((sample[i] - p->least) >> p->shift); cell <= last; cell++)
            bucket_of[cell] = (uint16_t)(i * SPREAD / SAMPLE);
    for (; cell < CELLS; cell++) bucket_of[cell] = SPREAD - 1;
    p->bucket_of = bucket_of;
}

/* a, b: room for n items, or keys, and then values are contiguous; counts: radix_room(n) numbers. False when
 * there is no memory. */
static bool NAME(spread_sort)(const outcome *result, int64_t n, bool keys_only, void *a, void *b,
                              int64_t *counts) {
    uint16_t *bucket_of = cb_alloc(CB_CPU, CELLS * sizeof *bucket_of);
    if (!bucket_of) return false;
    NAME(spread)
    p = {.result = *result,
         .flip = result->s->descending ? (WORD)-1 : 0,
         .keys_only = keys_only,
         .to = a,
         .scratch = b,
         .n = n,
         .chunk = radix_chunk(n),
         .counts = counts};
    p.result.items = a;
    NAME(spread_plan)(&p, bucket_of);
    cb_parallel(n, p.chunk, NAME(spread_count), &p);
    int64_t chunks = (n + p.chunk - 1) / p.chunk, sum = 0;
    for (int k = 0; k < SPREAD; k++) {
        p.bounds[k] = sum;
        for (int64_t c = 0; c < chunks; c++) {
            int64_t *slot = &counts[c * SPREAD + k], count = *slot;
            *slot = sum;
            sum += count;
        }
    }
    p.bounds[SPREAD] = n;
    cb_parallel(n, p.chunk, NAME(spread_move), &p);
    cb_parallel(SPREAD, 4, NAME(spread_finish), &p);
    cb_free(CB_CPU, bucket_of, CELLS * sizeof *bucket_of);
    return true;
}

#undef WORD
#undef ITEM
#undef ITEM_OF
#undef RANK
#undef KEYS
#undef VALUES
#undef SORT_KEYS
#undef SORT_ITEMS
#undef NAME
