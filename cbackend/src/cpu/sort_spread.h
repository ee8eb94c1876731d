/* Sorting one long row of 32-bit keys, part of sort.c: keys are spread over buckets of about equal sizes,
 * whose bounds come from a sample; each bucket is sorted and written out while it is in the cache. Stable:
 * items of one key stay in order while they are spread, and carry their index. Chunks and buckets do not
 * depend on the number of threads. */

enum { SPREAD = 512, CELLS = 1 << 16, SAMPLE = 8 * SPREAD };

typedef struct spread {
    outcome result;
    uint32_t flip, least; /* of the sample */
    int shift;
    const uint16_t *bucket_of; /* of a cell: a range of 1 << shift keys */
    bool keys_only;
    void *to, *scratch; /* items, or keys */
    int64_t n, chunk;
    int64_t *counts; /* a row of SPREAD for each chunk */
    int64_t bounds[SPREAD + 1];
} spread;

CB_INLINE uint32_t bucket_of_key(const spread *p, uint32_t key) {
    uint32_t cell = (key < p->least ? 0 : key - p->least) >> p->shift;
    return p->bucket_of[CB_MIN(cell, CELLS - 1)];
}

static const void *keys_of_tile(const spread *p, int64_t begin, int64_t n, uint32_t *keys) {
    const sort_run *s = p->result.s;
    narrow_keys(s->x->dtype, n, (const char *)p->result.row + begin * s->x->itemsize, p->flip, !p->keys_only,
                keys);
    return keys;
}

static void spread_count(void *context, int64_t begin, int64_t end) {
    const spread *p = context;
    uint32_t keys[CB_TILE], local[SPREAD] = {0};
    int64_t *counts = p->counts + begin / p->chunk * SPREAD;
    for (int64_t i = begin; i < end; i += CB_TILE) {
        int64_t n = CB_MIN(CB_TILE, end - i);
        keys_of_tile(p, i, n, keys);
        for (int64_t j = 0; j < n; j++) local[bucket_of_key(p, keys[j])]++;
    }
    for (int k = 0; k < SPREAD; k++) counts[k] = local[k];
}

static void spread_move(void *context, int64_t begin, int64_t end) {
    const spread *p = context;
    uint32_t keys[CB_TILE], places[SPREAD];
    const int64_t *counts = p->counts + begin / p->chunk * SPREAD;
    for (int k = 0; k < SPREAD; k++) places[k] = (uint32_t)counts[k];
    uint64_t *items = p->to;
    uint32_t *plain = p->to;
    for (int64_t i = begin; i < end; i += CB_TILE) {
        int64_t n = CB_MIN(CB_TILE, end - i);
        keys_of_tile(p, i, n, keys);
        if (p->keys_only)
            for (int64_t j = 0; j < n; j++) plain[places[bucket_of_key(p, keys[j])]++] = keys[j];
        else
            for (int64_t j = 0; j < n; j++)
                items[places[bucket_of_key(p, keys[j])]++] = (uint64_t)keys[j] << 32 | (uint64_t)(i + j);
    }
}

#define IN_ORDER(name, type)                                    \
    static bool in_order_##name(const type *items, int64_t n) { \
        for (int64_t i = 1; i < n; i++)                         \
            if (items[i - 1] > items[i]) return false;          \
        return true;                                            \
    }
IN_ORDER(narrow, uint32_t)
IN_ORDER(wide, uint64_t)

static void spread_finish(void *context, int64_t begin, int64_t end) {
    spread *p = context;
    for (int64_t k = begin; k < end; k++) {
        int64_t first = p->bounds[k], n = p->bounds[k + 1] - first;
        if (n == 0) continue;
        uint32_t *keys = (uint32_t *)p->to + first;
        uint64_t *items = (uint64_t *)p->to + first;
        bool sorts = p->keys_only ? !in_order_narrow(keys, n) : !in_order_wide(items, n);
        int64_t room = sorts ? radix_room(n) * 8 : 0, *counts = room ? cb_alloc(CB_CPU, room) : NULL;
        if (p->keys_only) {
            if (sorts) keys = sort_items_narrow(keys, (uint32_t *)p->scratch + first, n, 0, 32, counts);
            const outcome *o = &p->result;
            narrow_values(o->s->x->dtype, n, keys, p->flip, o->values + first * (int64_t)sizeof *keys);
        } else {
            outcome o = p->result;
            if (sorts && sort_items_wide(items, (uint64_t *)p->scratch + first, n, 32, 64, counts) != items)
                o.items = p->scratch;
            put_outcome(&o, first, first + n);
        }
        if (counts) cb_free(CB_CPU, counts, room);
    }
}

/* Fills in the buckets of cells, so that each bucket gets an equal share of the sample. */
static void spread_plan(spread *p, uint16_t *bucket_of) {
    uint32_t keys[SAMPLE], scratch[SAMPLE];
    for (int64_t i = 0; i < SAMPLE; i++) keys_of_tile(p, i * (p->n / SAMPLE), 1, &keys[i]);
    const uint32_t *sample = sort_items_narrow(keys, scratch, SAMPLE, 0, 32, NULL);
    p->least = sample[0];
    uint32_t range = sample[SAMPLE - 1] - sample[0];
    p->shift = range < CELLS ? 0 : 16 - __builtin_clz(range);
    int cell = 0;
    for (int i = 0; i < SAMPLE; i++)
        for (int last = (int)((sample[i] - p->least) >> p->shift); cell <= last; cell++)
            bucket_of[cell] = (uint16_t)(i * SPREAD / SAMPLE);
    for (; cell < CELLS; cell++) bucket_of[cell] = SPREAD - 1;
    p->bucket_of = bucket_of;
}

/* a, b: room for n items, or keys, and then values are contiguous; counts: radix_room(n) numbers. False when
 * there is no memory. */
static bool spread_sort(const outcome *result, int64_t n, bool keys_only, void *a, void *b, int64_t *counts) {
    uint16_t *bucket_of = cb_alloc(CB_CPU, CELLS * sizeof *bucket_of);
    if (!bucket_of) return false;
    spread p = {.result = *result,
                .flip = result->s->descending ? 0xffffffffu : 0,
                .keys_only = keys_only,
                .to = a,
                .scratch = b,
                .n = n,
                .chunk = radix_chunk(n),
                .counts = counts};
    p.result.items = a;
    spread_plan(&p, bucket_of);
    cb_parallel(n, p.chunk, spread_count, &p);
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
    cb_parallel(n, p.chunk, spread_move, &p);
    cb_parallel(SPREAD, 4, spread_finish, &p);
    cb_free(CB_CPU, bucket_of, CELLS * sizeof *bucket_of);
    return true;
}
