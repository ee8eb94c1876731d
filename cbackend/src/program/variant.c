/* Programs as vectors of numbers. Two of the same structure can be compared number by number, and a third one
 * made of other data: that is how one staged for a few sizes runs for others.
 *
 * Numbers: where the data begins; the structure: counts, instructions, slots; the data: words, pool, and of
 * each input dtype, flags, ndim, shape, strides. */
#include <stdlib.h>

#include "program.h"

enum { CODE = 8, COUNTS = 12 };

static void put(int64_t **to, int64_t value) { *(*to)++ = value; }
static void put_list(int64_t **to, const int32_t *list, int n) {
    for (int i = 0; i < n; i++) put(to, list[i]);
}

static int64_t structure_length(const cb_program *p) {
    return COUNTS + CODE * (int64_t)p->n_code + p->n_reads + p->n_dead + p->n_results + p->n_constants +
           p->n_overwritten + p->n_in;
}

int64_t cb_program_words(const cb_program *p, int64_t *out) {
    int64_t start = structure_length(p), n = start + p->n_words + p->n_pool / 8;
    for (int i = 0; i < p->n_in; i++) n += 3 + 2 * (int64_t)p->known[i]->ndim;
    if (!out) return n;
    const int64_t counts[COUNTS] = {start,        p->n_in,        p->n_slots,       p->n_code,
                                    p->n_words,   p->n_pool,      p->n_reads,       p->n_dead,
                                    p->n_results, p->n_constants, p->n_overwritten, p->longest};
    memcpy(out, counts, sizeof counts);
    int64_t *to = out + COUNTS;
    for (int k = 0; k < p->n_code; k++) {
        const cb_instruction *c = &p->code[k];
        const int64_t all[CODE] = {c->call,   c->nwords, c->out,   c->nout,
                                   c->nreads, c->ndead,  c->words, c->reads};
        memcpy(to, all, sizeof all);
        to += CODE;
    }
    put_list(&to, p->reads, p->n_reads);
    put_list(&to, p->dead, p->n_dead);
    put_list(&to, p->results, p->n_results);
    for (int i = 0; i < p->n_constants; i++) put(&to, p->constants[i].slot);
    put_list(&to, p->overwritten, p->n_overwritten);
    for (int i = 0; i < p->n_in; i++) put(&to, p->given && p->given[i]);
    if (p->n_words) memcpy(to, p->words, (size_t)p->n_words * sizeof *to);
    to += p->n_words;
    if (p->n_pool) memcpy(to, p->pool, (size_t)p->n_pool);
    to += p->n_pool / 8;
    for (int i = 0; i < p->n_in; i++) {
        const cb_tensor *x = p->known[i];
        put(&to, x->dtype);
        put(&to, x->flags);
        put(&to, x->ndim);
        for (int d = 0; d < x->ndim; d++) put(&to, x->shape[d]);
        for (int d = 0; d < x->ndim; d++) put(&to, x->strides[d]);
    }
    return n;
}

/* A meta tensor like x of the shape and strides that follow; NULL where they do not fit. */
static cb_tensor *read_input(const cb_tensor *x, const int64_t **at) {
    const int64_t *from = *at;
    *at += 3 + 2 * x->ndim;
    if (from[0] != x->dtype || from[2] != x->ndim || cb_numel_of(x->ndim, from + 3) < 0)
        return cb_fail_null(CB_ERR_VALUE, "program: expected inputs of the same dtypes and dimensions.");
    cb_tensor *base = cb_empty(x->dtype, x->device, x->ndim, from + 3);
    if (!base) return NULL;
    cb_tensor *made = cb_view_new(base, x->ndim, from + 3, from + 3 + x->ndim, 0);
    cb_release(base);
    if (made) made->flags |= x->flags & CB_FLAG_WEAK;
    return made;
}

#define COPY(list) (q->list = copied(p->list, p->n_##list, sizeof *p->list, &q->failed))
static void *copied(const void *from, int n, size_t item, int *failed) {
    void *made = malloc((size_t)(n + 1) * item);
    if (!made)
        *failed = CB_ERR_MEMORY;
    else if (n)
        memcpy(made, from, (size_t)n * item);
    return made;
}

static void fill(cb_program *q, const cb_program *p, const int64_t *words, cb_tensor *const *constants) {
    COPY(code), COPY(reads), COPY(dead), COPY(results), COPY(overwritten), COPY(words), COPY(pool);
    q->known = calloc((size_t)p->n_in + 1, sizeof *q->known);
    q->constants = calloc((size_t)p->n_constants + 1, sizeof *q->constants);
    q->given = p->given ? copied(p->given, p->n_in, sizeof *p->given, &q->failed) : NULL;
    if (!q->known || !q->constants) q->failed = CB_ERR_MEMORY;
    if (q->failed) return;
    const int64_t *at = words + structure_length(p);
    memcpy(q->words, at, (size_t)p->n_words * sizeof *at);
    at += p->n_words;
    memcpy(q->pool, at, (size_t)p->n_pool);
    at += p->n_pool / 8;
    for (int i = 0; i < p->n_in; i++) {
        q->known[i] = read_input(p->known[i], &at);
        if (!q->known[i]) {
            q->failed = cb_error_code();
            return;
        }
        q->n_known++;
    }
    for (int i = 0; i < p->n_constants; i++)
        q->constants[q->n_constants++] = (cb_constant){p->constants[i].slot, cb_retain(constants[i])};
}

cb_program *cb_program_variant(const cb_program *p, const int64_t *words, int n,
                               cb_tensor *const *constants) {
    if (!p || p->failed || p->loaded || n != p->n_constants || words[0] != structure_length(p)) {
        cb_fail(CB_ERR_VALUE, "program: expected a recorded program and numbers and constants like its own.");
        return NULL;
    }
    cb_program *q = malloc(sizeof *q);
    if (!q) {
        cb_fail(CB_ERR_MEMORY, "program: expected memory for a variant.");
        return NULL;
    }
    *q = *p;
    q->code = NULL, q->words = NULL, q->reads = NULL, q->dead = NULL, q->pool = NULL, q->known = NULL;
    q->constants = NULL, q->results = NULL, q->overwritten = NULL, q->given = NULL, q->places = NULL,
    q->replay = NULL;
    q->n_known = q->n_constants = 0;
    fill(q, p, words, constants);
    if (!q->failed) {
        cb_replay_prepare(q);
        return q;
    }
    int status = q->failed;
    cb_program_free(q);
    if (status == CB_ERR_MEMORY) cb_fail(status, "program: expected memory for a variant.");
    return NULL;
}
