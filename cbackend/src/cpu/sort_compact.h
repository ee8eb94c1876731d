/* Sorting by way of codes of half an item's size, included where vectors sort those: a code is as much of the
 * key, less the least one, as fits in front of the item's place. ITEM, KEY, NAME as in radix.h; RANK(item):
 * the key without an index; CODE: the type of ranks and codes; SORT(codes, scratch, n).
 *
 * Items of one key must lie in their order. Where keys differ only in bits that a code had no room for, items
 * come out by place, and such runs are sorted again. */

static void NAME(insertion)(ITEM *items, int64_t n);
static ITEM *NAME(radix_small)(ITEM *a, ITEM *b, int64_t n, int low, int high);

/* how codes are made: keys of one cell share all of a code but the place */
typedef struct {
    CODE least;
    int shift, places; /* bits of a key that are lost; of a place */
} NAME(cells);

CB_INLINE CODE NAME(cell)(const NAME(cells) * c, ITEM item) { return (RANK(item) - c->least) >> c->shift; }

CB_INLINE NAME(cells) NAME(cells_of)(const ITEM *a, int64_t n) {
    CODE least = RANK(a[0]), most = least;
    for (int64_t i = 1; i < n; i++) {
        CODE rank = RANK(a[i]);
        least = rank < least ? rank : least;
        most = rank > most ? rank : most;
    }
    int bits = most == least ? 0 : 64 - __builtin_clzll((uint64_t)(most - least));
    NAME(cells) c = {.least = least, .places = 64 - __builtin_clzll((uint64_t)n - 1)};
    c.shift = CB_MAX(0, bits + c.places - 8 * (int)sizeof(CODE));
    return c;
}

/* the code of each item, sorted */
CB_INLINE void NAME(sorted_codes)(const ITEM *a, int64_t n, const NAME(cells) * c, CODE *codes,
                                  CODE *scratch) {
    for (int64_t i = 0; i < n; i++) codes[i] = NAME(cell)(c, a[i]) << c->places | (CODE)i;
    SORT(codes, scratch, n);
}

/* sorts each run of one cell that is not in order; b is scratch */
static void NAME(mend)(ITEM *a, ITEM *b, int64_t n, const NAME(cells) * c) {
    enum { BLOCK = 32 };
    for (int64_t i = 1; i < n;) {
        int64_t stop = CB_MIN(i + BLOCK, n), begin, end;
        uint64_t disorder = 0; /* not bool, or the loop stays scalar */
        for (int64_t j = i; j < stop; j++) disorder |= (uint64_t)(KEY(a[j - 1]) > KEY(a[j]));
        if (!disorder) {
            i = stop;
            continue;
        }
        while (KEY(a[i - 1]) <= KEY(a[i])) i++;
        CODE cell = NAME(cell)(c, a[i]);
        for (begin = i - 1; begin > 0 && NAME(cell)(c, a[begin - 1]) == cell; begin--) {
        }
        for (end = i + 1; end < n && NAME(cell)(c, a[end]) == cell; end++) {
        }
        i = end;
        if (end - begin <= INSERTION_MAX) {
            NAME(insertion)(a + begin, end - begin);
            continue;
        }
        ITEM *sorted = NAME(radix_small)(a + begin, b, end - begin, 64 - 8 * (int)sizeof(CODE), 64);
        if (sorted != a + begin) memcpy(a + begin, sorted, (size_t)(end - begin) * sizeof *a);
    }
}

/* Sorts a with b as scratch; returns whichever holds the result, or NULL, with a as it was, if codes have no
 * room for enough of the keys. */
static ITEM *NAME(compact)(ITEM *a, ITEM *b, int64_t n) {
    NAME(cells) c = NAME(cells_of)(a, n);
    if (c.shift && sizeof(CODE) == 4 && n > COMPACT_MOST) return NULL;
    /* codes lie at the end of b, so that items can be written from its beginning */
    CODE *codes = (CODE *)b + n, mask = ((CODE)1 << c.places) - 1;
    NAME(sorted_codes)(a, n, &c, codes, (CODE *)b);
    for (int64_t i = 0; i < n; i++) b[i] = a[codes[i] & mask];
    NAME(mend)(b, a, n, &c);
    return b;
}

#undef RANK
#undef CODE
#undef SORT
