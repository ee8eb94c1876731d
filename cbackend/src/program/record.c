/* Making programs: public functions called on meta tensors by this thread become instructions.
 *
 * Two modes. In the first, calls only compute shapes, and creation makes meta tensors: that is staging. In
 * the second they are also written down. Constants are tensors with memory that a call names and no
 * instruction made. */
#include <stdlib.h>

#include "pairs.h"

int cb_recorders;
static _Thread_local cb_program *recording;
static _Thread_local int depth; /* staging without a program counts too */

static void *grown(void *data, int count, int *room, size_t item) {
    if (count < *room) return data;
    int more = *room ? *room * 2 : 64;
    void *larger = realloc(data, (size_t)more * item);
    if (larger) *room = more;
    return larger;
}

/* Appends; on lack of memory marks the program failed and leaves it as it was. */
#define PUSH(p, list, value)                                                                  \
    do {                                                                                      \
        void *grown_ = grown((p)->list, (p)->n_##list, &(p)->room_##list, sizeof *(p)->list); \
        if (grown_) {                                                                         \
            (p)->list = grown_;                                                               \
            (p)->list[(p)->n_##list++] = (value);                                             \
        } else {                                                                              \
            (p)->failed = CB_ERR_MEMORY;                                                      \
        }                                                                                     \
    } while (0)

int cb_is_recording(void) { return depth; }

void cb_staging_begin(void) {
    depth++;
    __atomic_add_fetch(&cb_recorders, 1, __ATOMIC_RELAXED);
}

void cb_staging_end(void) {
    depth--;
    __atomic_sub_fetch(&cb_recorders, 1, __ATOMIC_RELAXED);
}

int cb_staging_pause(void) {
    int paused = depth;
    depth = 0;
    return paused;
}

void cb_staging_resume(int paused) { depth = paused; }

/* ---- which slot is a handle's? ---- */

static uint32_t hash_of(const cb_tensor *x) { return (uint32_t)((uintptr_t)x >> 4) * 2654435761u; }

static int slot_of(const cb_program *p, const cb_tensor *x) {
    for (uint32_t i = hash_of(x), mask = (uint32_t)p->n_places - 1;; i++) {
        int32_t slot = p->places[i & mask] - 1;
        if (slot < 0 || p->known[slot] == x) return slot;
    }
}

static void enter(cb_program *p, const cb_tensor *x, int32_t slot) {
    uint32_t i = hash_of(x), mask = (uint32_t)p->n_places - 1;
    while (p->places[i & mask]) i++;
    p->places[i & mask] = slot + 1;
}

static void make_place(cb_program *p) {
    if (p->n_known * 2 < p->n_places) return;
    int larger = p->n_places ? p->n_places * 2 : 256;
    int32_t *fresh = calloc((size_t)larger, sizeof *fresh);
    if (!fresh) {
        p->failed = CB_ERR_MEMORY;
        return;
    }
    free(p->places);
    p->places = fresh;
    p->n_places = larger;
    for (int32_t s = 0; s < p->n_known; s++)
        if (p->known[s]) enter(p, p->known[s], s);
}

static int32_t new_slot(cb_program *p, cb_tensor *x) {
    int32_t slot = p->n_known;
    make_place(p);
    if (p->failed) return -1;
    PUSH(p, known, cb_retain(x));
    if (p->failed) return -1;
    if (x) enter(p, x, slot);
    return slot;
}

static void add_constant(cb_program *p, int32_t slot, cb_tensor *value) {
    cb_constant made = {slot, cb_retain(value)};
    PUSH(p, constants, made);
    if (p->failed) cb_release(value);
}

/* ---- writing down ---- */

static cb_instruction *last(cb_program *p) { return &p->code[p->n_code - 1]; }

void cb_record_call(int number) {
    cb_program *p = recording;
    if (!p || p->failed) return;
    p->list = 0;
    cb_instruction made = {.call = number, .words = p->n_words, .reads = p->n_reads, .out = p->n_known};
    PUSH(p, code, made);
}

void cb_record_number(cb_word value) {
    cb_program *p = recording;
    if (!p || p->failed) return;
    PUSH(p, words, value);
    last(p)->nwords++;
}

static int32_t read_slot(cb_program *p, cb_tensor *x) {
    if (!x) return -1;
    int32_t slot = p->n_places ? slot_of(p, x) : -1;
    if (slot < 0) {
        if (cb_is_meta(x)) {
            p->failed = CB_ERR_UNSUPPORTED;
            return -1;
        }
        slot = new_slot(p, x);
        if (slot < 0) return -1;
        add_constant(p, slot, x);
        if (last(p)->out == slot) last(p)->out++;
    }
    PUSH(p, reads, slot);
    if (!p->failed) last(p)->nreads++;
    return slot;
}

void cb_record_tensor(cb_tensor *x) {
    cb_program *p = recording;
    if (!p || p->failed) return;
    int32_t slot = read_slot(p, x);
    if (!p->failed) cb_record_number((cb_word){.i = slot});
}

/* A list of slots lies in the pool. */
void cb_record_tensors(int64_t n, cb_tensor *const *xs) {
    cb_program *p = recording;
    if (!p || p->failed) return;
    p->list += (int)n;
    p->longest = CB_MAX(p->longest, p->list);
    int64_t *slots = xs ? malloc((size_t)(n + 1) * sizeof *slots) : NULL;
    for (int64_t i = 0; slots && i < n && !p->failed; i++) slots[i] = read_slot(p, xs[i]);
    if (!p->failed) cb_record_bytes(slots, n * (int64_t)sizeof *slots);
    free(slots);
}

void cb_record_bytes(const void *data, int64_t nbytes) {
    cb_program *p = recording;
    if (!p || p->failed) return;
    int64_t at = p->n_pool;
    for (int64_t i = 0; data && i < nbytes && !p->failed; i++) PUSH(p, pool, ((const char *)data)[i]);
    while (p->n_pool % 8 && !p->failed) PUSH(p, pool, 0);
    if (!p->failed) cb_record_number((cb_word){.i = data ? at : -1});
}

void cb_record_result(cb_tensor *x) {
    cb_program *p = recording;
    if (!p || p->failed) return;
    if (last(p)->nout == 0 && x && slot_of(p, x) >= 0) { /* it gave an operand back: nothing to do */
        cb_instruction *made = last(p);
        p->n_words = made->words;
        p->n_reads = made->reads;
        p->n_code--;
        return;
    }
    new_slot(p, x);
    if (!p->failed) last(p)->nout++;
}

/* ---- the public side ---- */

cb_program *cb_program_begin(int n, cb_tensor *const *inputs) {
    cb_program *p = calloc(1, sizeof *p);
    if (!p || recording) {
        free(p);
        cb_fail(recording ? CB_ERR_VALUE : CB_ERR_MEMORY,
                "program: expected memory and no other program being recorded by this thread.");
        return NULL;
    }
    p->n_in = n;
    make_place(p);
    for (int i = 0; i < n; i++) new_slot(p, inputs[i]);
    if (p->failed) {
        cb_program_free(p);
        cb_fail(CB_ERR_MEMORY, "program: expected memory for %d inputs.", n);
        return NULL;
    }
    recording = p;
    cb_staging_begin();
    return p;
}

int cb_program_constant(cb_program *p, cb_tensor *meta, cb_tensor *value) {
    if (!p || p != recording || p->failed)
        return cb_fail(CB_ERR_VALUE, "program: expected the program that this thread records.");
    int32_t slot = new_slot(p, meta);
    if (slot >= 0) add_constant(p, slot, value);
    return p->failed ? cb_fail(CB_ERR_MEMORY, "program: expected memory for a constant.") : CB_OK;
}

/* The last instruction that reads the memory of input s, through whatever views; INT32_MAX if a result other
 * than `except` is a view of it. */
static int last_look(const cb_program *p, int s, int except) {
    const cb_storage *storage = p->known[s]->storage;
    int last = -1;
    for (int k = 0; k < p->n_code; k++)
        for (int i = 0; i < p->code[k].nreads; i++) {
            const cb_tensor *x = p->known[p->reads[p->code[k].reads + i]];
            if (x && x->storage == storage) last = k;
        }
    for (int i = 0; i < p->n_results; i++)
        if (i != except && p->known[p->results[i]]->storage == storage) return INT32_MAX;
    return last;
}

/* Result i overwrites input s: the sweep that makes it may write it there at once, if it is the last to look.
 */
static void write_through(cb_program *p, int i, int s) {
    int32_t slot = p->results[i];
    for (int k = 0; k < p->n_code; k++) {
        cb_instruction *c = &p->code[k];
        if (slot < c->out || slot >= c->out + c->nout) continue;
        bool one = !cb_is_sets(c->call);
        if (!cb_places_results(c->call) || last_look(p, s, i) > k) return;
        int sets = one ? 1 : (int)p->words[c->words + 6].i, n = c->nreads / sets, nout = c->nout / sets;
        int set = (slot - c->out) / nout, at = -1;
        for (int r = 0; r < c->nreads; r++) {
            const cb_tensor *x = p->known[p->reads[c->reads + r]];
            if (p->reads[c->reads + r] == s && at < 0 && r / n == set)
                at = r % n;
            else if (!one && x && x->storage == p->known[s]->storage)
                return; /* another set may run first */
        }
        if (at < 0) return;
        uint64_t mark = (uint64_t)((slot - c->out) % nout + 1) << 4 * at;
        if (one)
            p->words[c->words + c->nwords - 1].u |= mark;
        else
            ((uint64_t *)(p->pool + p->words[c->words + c->nwords - 1].i))[set] |= mark;
        PUSH(p, overwritten, s);
        return;
    }
}

static int finish(cb_program *p, int n, cb_tensor *const *results, const int64_t *into) {
    for (int i = 0; i < n && !p->failed; i++) {
        int32_t slot = slot_of(p, results[i]);
        if (slot < 0 && !cb_is_meta(results[i])) {
            slot = new_slot(p, results[i]);
            if (slot >= 0) add_constant(p, slot, results[i]);
        }
        if (slot < 0) p->failed = CB_ERR_UNSUPPORTED;
        PUSH(p, results, slot);
    }
    for (int i = 0; into && i < n && !p->failed; i++)
        if (into[i] >= 0 && into[i] < p->n_in) write_through(p, i, (int)into[i]);
    p->n_slots = p->n_known;
    if (p->failed || cb_program_plan(p)) return p->failed;
    for (int s = p->n_in; s < p->n_slots; s++) cb_release(p->known[s]);
    p->n_known = p->n_in;
    free(p->places);
    p->places = NULL;
    return p->failed;
}

/* Of an instruction over sets: the reads that die in it and that no other set reads. */
static void mark_freed(cb_program *p, const cb_instruction *c) {
    const int32_t *reads = p->reads + c->reads;
    int sets = (int)p->words[c->words + 6].i, n = c->nreads / sets;
    uint64_t *reuse = (uint64_t *)(p->pool + p->words[c->words + c->nwords - 2].i);
    for (int i = 0; i < c->ndead; i++) {
        int found = 0, at = 0;
        for (int r = 0; r < c->nreads; r++)
            if (reads[r] == p->dead[c->dead + i]) found++, at = r;
        if (found == 1) reuse[at / n] |= UINT64_C(1) << at % n;
    }
}

/* Code that does not hold together is left for the call itself to complain about. */
static void prepare(cb_program *p, cb_instruction *c, bool in_sets) {
    const cb_word *a = p->words + c->words;
    int64_t sets = in_sets ? a[6].i : 1, n = a[0].i, ncode = a[2].i, nout = a[4].i;
    if (sets < 1 || n % sets || nout % sets || a[3].i < 0) return;
    c->steps = cb_fused_prepare((int)(n / sets), (int)ncode, (const int64_t *)(p->pool + a[3].i),
                                (int)(nout / sets));
    if (c->steps) c->steps->owner = p;
}

int cb_program_plan(cb_program *p) {
    int32_t *last_use = calloc((size_t)p->n_slots + 1, sizeof *last_use);
    if (!last_use) return p->failed = CB_ERR_MEMORY;
    for (int s = 0; s < p->n_slots; s++) last_use[s] = -1;
    for (int k = 0; k < p->n_code; k++) {
        const cb_instruction *c = &p->code[k];
        for (int i = 0; i < c->nout; i++) last_use[c->out + i] = k;
        for (int i = 0; i < c->nreads; i++) last_use[p->reads[c->reads + i]] = k;
    }
    /* constants are never freed, results only at the end */
    for (int s = 0; s < p->n_in; s++)
        if (!p->given || !p->given[s]) last_use[s] = -1;
    for (int i = 0; i < p->n_constants; i++) last_use[p->constants[i].slot] = -1;
    for (int i = 0; i < p->n_results; i++) last_use[p->results[i]] = -1;
    for (int k = 0; k < p->n_code && !p->failed; k++) {
        cb_instruction *c = &p->code[k];
        c->dead = p->n_dead;
        uint64_t freed = 0; /* reads that die here, by position: their memory may become the result's */
        for (int i = 0; i < c->nreads; i++) {
            int32_t s = p->reads[c->reads + i];
            if (last_use[s] != k) continue;
            last_use[s] = -1;
            PUSH(p, dead, s);
            if (i < 64) freed |= UINT64_C(1) << i;
        }
        for (int i = 0; i < c->nout; i++)
            if (last_use[c->out + i] == k) PUSH(p, dead, c->out + i);
        c->ndead = p->n_dead - c->dead;
        bool sets = cb_is_sets(c->call), fused = cb_is_fused(c->call);
        if (fused && !sets) p->words[c->words + c->nwords - 2].u = freed;
        if (sets && !p->failed && !p->loaded) mark_freed(p, c);
        if (fused && !p->failed) prepare(p, c, sets);
    }
    free(last_use);
    if (!p->failed) cb_program_pair(p);
    return p->failed;
}

int cb_program_give(cb_program *p, int n, const int64_t *inputs) {
    if (!p || p != recording || p->failed)
        return cb_fail(CB_ERR_VALUE, "program: expected the program that this thread records.");
    if (!p->given) p->given = calloc((size_t)p->n_in + 1, sizeof *p->given);
    if (!p->given) return cb_fail(CB_ERR_MEMORY, "program: expected memory for its inputs.");
    for (int i = 0; i < n; i++) {
        if (inputs[i] < 0 || inputs[i] >= p->n_in)
            return cb_fail(CB_ERR_INDEX, "program: expected an input in [0, %d), got %lld.", p->n_in,
                           (long long)inputs[i]);
        p->given[inputs[i]] = true;
    }
    return CB_OK;
}

int cb_program_end(cb_program *p, int n, cb_tensor *const *results, const int64_t *into) {
    if (!p || p != recording)
        return cb_fail(CB_ERR_VALUE, "program: expected the program that this thread records.");
    recording = NULL;
    cb_staging_end();
    int status = finish(p, n, results, into);
    if (status == CB_ERR_MEMORY) return cb_fail(status, "program: expected memory for its instructions.");
    if (status) return cb_fail(status, "program: a tensor came from a function that cannot be recorded.");
    cb_replay_prepare(p);
    return CB_OK;
}

void cb_program_free(cb_program *p) {
    if (!p) return;
    if (p == recording) {
        recording = NULL;
        cb_staging_end();
    }
    cb_replay_free(p);
    /* a program of copied instructions uses the steps of the first one */
    for (int k = 0; p->code && k < p->n_code; k++)
        if (p->code[k].steps && p->code[k].steps->owner == p) free(p->code[k].steps);
    for (int i = 0; i < p->n_known; i++) cb_release(p->known[i]);
    for (int i = 0; i < p->n_constants; i++) cb_release(p->constants[i].value);
    for (int i = 0; p->result_metas && i < p->n_results; i++) cb_release(p->result_metas[i]);
    free(p->result_metas);
    free(p->code);
    free(p->words);
    free(p->reads);
    free(p->dead);
    free(p->pool);
    free(p->known);
    free(p->constants);
    free(p->results);
    free(p->overwritten);
    free(p->given);
    free(p->places);
    free(p);
}

int cb_program_length(const cb_program *p) { return p->n_code; }

const char *cb_program_call(const cb_program *p, int i) {
    return i >= 0 && i < p->n_code ? cb_call_names[p->code[i].call] : NULL;
}
