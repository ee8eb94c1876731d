/* The item at one place of a row's order, without sorting the row: included by sort.c. Keys are split by
 * pivots, as in a quicksort that forgets the side it does not need; then the place of the key is looked up,
 * the one as far among its equals as stability demands. */

static uint32_t nth_narrow(uint32_t *a, uint32_t *b, int64_t n, int64_t k, int bits) {
#if defined(__AVX2__)
    return vector_select_narrow(a, b, n, k, 0, bits);
#else
    return sort_items_narrow(a, b, n, 0, bits, NULL)[k];
#endif
}
static uint64_t nth_wide(uint64_t *a, uint64_t *b, int64_t n, int64_t k) {
#if defined(__AVX512F__)
    return vector_select_wide(a, b, n, k, 0, 64);
#else
    return sort_items_wide(a, b, n, 0, 64, NULL)[k];
#endif
}

/* where the key that is item k of all lies */
#define PLACE_OF(type, id)                                                           \
    static int64_t place_of_##id(const type *keys, int64_t n, int64_t k, type key) { \
        for (int64_t i = 0; i < n; i++) k -= keys[i] < key;                          \
        for (int64_t i = 0;; i += CB_TILE) {                                         \
            int64_t end = CB_MIN(i + CB_TILE, n), equal = 0;                         \
            for (int64_t j = i; j < end; j++) equal += keys[j] == key;               \
            for (int64_t j = i; equal > k && j < end; j++)                           \
                if (keys[j] == key && k-- == 0) return j;                            \
            k -= equal;                                                              \
        }                                                                            \
    }
PLACE_OF(uint32_t, narrow)
PLACE_OF(uint64_t, wide)

/* k counts in the order; scratch: three times the keys */
static int64_t kth_place(int dtype, const void *row, int64_t n, int64_t k, void *scratch) {
    int bits = key_bits(dtype);
    if (bits == 64) {
        uint64_t *keys = scratch, *a = keys + n, *b = a + n;
        for (int64_t i = 0; i < n; i++) keys[i] = wide_key(dtype, row, i, true);
        memcpy(a, keys, (size_t)n * sizeof *a);
        return place_of_wide(keys, n, k, nth_wide(a, b, n, k));
    }
    uint32_t *keys = scratch, *a = keys + n, *b = a + n;
    narrow_keys(dtype, n, row, 0, true, keys);
    memcpy(a, keys, (size_t)n * sizeof *a);
    return place_of_narrow(keys, n, k, nth_narrow(a, b, n, k, bits));
}

static void kth_rows(void *context, int64_t begin, int64_t end) {
    sort_run *s = context;
    const cb_tensor *x = s->x;
    int64_t n = s->n, stride = x->strides[s->dim], size = x->itemsize;
    int64_t row_bytes = stride == 1 ? 0 : (n * size + 63) / 64 * 64;
    int64_t nbytes = row_bytes + 3 * n * CB_MAX(size, (int64_t)sizeof(uint32_t));
    _Alignas(64) char local[STACK];
    char *scratch = nbytes <= STACK ? local : cb_alloc(CB_CPU, nbytes);
    if (!scratch) {
        atomic_store(&s->failed, 1);
        return;
    }
    for (int64_t r = begin; r < end; r++) {
        const char *row = (const char *)x->data + row_offset(x, s->dim, r) * size;
        if (stride != 1) {
            CB_FN(gather_run)((int)size, row, stride, n, scratch);
            row = scratch;
        }
        int64_t place = kth_place(x->dtype, row, n, s->k, scratch + row_bytes);
        ((int64_t *)s->indices->data)[row_offset(s->indices, s->dim, r)] = place;
        memcpy((char *)s->values->data + row_offset(s->values, s->dim, r) * size, row + place * size,
               (size_t)size);
    }
    if (scratch != local) cb_free(CB_CPU, scratch, nbytes);
}

int CB_FN(kth)(cb_tensor *values, cb_tensor *indices, const cb_tensor *x, int dim, int64_t k) {
    sort_run s = {.x = x, .dim = dim, .n = x->shape[dim], .k = k, .values = values, .indices = indices};
    atomic_init(&s.failed, 0);
    cb_parallel(x->numel / s.n, CB_MAX(WORK / s.n, 1), kth_rows, &s);
    return atomic_load(&s.failed)
               ? cb_fail(CB_ERR_MEMORY, "kthvalue: the system has no memory left for scratch space.")
               : CB_OK;
}
