/* Running programs. The switch over the public functions is generated from their declarations (calls.py). */
#include <stdlib.h>

#include "pairs.h"

typedef struct run {
    const cb_program *program;
    cb_tensor **slots;
    cb_tensor **list; /* scratch for one list argument */
    uint64_t seed, offset;
} run;

static inline cb_tensor *slot_of(const run *r, cb_word a) { return a.i < 0 ? NULL : r->slots[a.i]; }

static inline const void *pooled(const run *r, cb_word a) { return a.i < 0 ? NULL : r->program->pool + a.i; }

/* Lists come one after another into the scratch, which is as long as all lists of an instruction. */
static cb_tensor *const *slots_of(const run *r_, cb_word a, int n) {
    run *r = (run *)r_;
    const int64_t *slots = pooled(r, a);
    if (!slots) return NULL;
    cb_tensor **list = r->list;
    for (int i = 0; i < n; i++) list[i] = slots[i] < 0 ? NULL : r->slots[slots[i]];
    r->list += n;
    return list;
}

static int bad_call(int number) {
    return cb_fail(CB_ERR_INTERNAL, "program: expected a known function, got number %d.", number);
}

#include "program_calls.inc"

static bool has_form_of(const cb_tensor *expected, const cb_tensor *x) {
    return x && x->dtype == expected->dtype && x->ndim == expected->ndim &&
           x->device == expected->device >> 8 && /* what cb_meta_for made of it */
           !memcmp(x->shape, expected->shape, (size_t)x->ndim * sizeof *x->shape) &&
           ((x->flags & expected->flags & CB_FLAG_CONTIGUOUS) ||
            !memcmp(x->strides, expected->strides, (size_t)x->ndim * sizeof *x->strides)) &&
           (x->flags & CB_FLAG_WEAK) == (expected->flags & CB_FLAG_WEAK);
}

/* The event of an instruction that has just run; what it read is still there. */
static void note(const cb_program *p, int k, cb_tensor **slots, int64_t begin) {
    const cb_instruction *c = &p->code[k];
    cb_profile_open(c->call, k, begin);
    for (int i = 0; i < c->nreads; i++)
        if (slots[p->reads[c->reads + i]]) cb_profile_tensor(slots[p->reads[c->reads + i]], 'r');
    const char *kinds = cb_call_kinds[c->call];
    for (int i = 0; i < c->nwords && kinds[i]; i++)
        if (kinds[i] == 'n') cb_profile_number(p->words[c->words + i].i);
    for (int i = 0; i < c->nout; i++)
        if (slots[c->out + i]) cb_profile_tensor(slots[c->out + i], 'm'); /* else made and read by tiles */
    cb_profile_close();
}

int cb_program_step(const cb_program *p, int k, cb_tensor **slots, cb_tensor **lists, uint64_t seed,
                    uint64_t offset) {
    run r = {.program = p, .slots = slots, .list = lists, .seed = seed, .offset = offset};
    const cb_instruction *c = &p->code[k];
    cb_fused_prepared = c->steps;
    int status = call(&r, c->call, p->words + c->words, slots + c->out);
    cb_fused_prepared = NULL; /* a call that failed may not have taken it */
    return status;
}

static void release_dead(const cb_program *p, int k, cb_tensor **slots) {
    const cb_instruction *c = &p->code[k];
    for (int i = 0; i < c->ndead; i++) {
        int32_t s = p->dead[c->dead + i];
        cb_release(slots[s]);
        slots[s] = NULL;
    }
}

int cb_program_execute(const cb_program *p, cb_tensor **slots, uint64_t seed, uint64_t offset) {
    enum { ON_STACK = 256 };
    cb_tensor *few[ON_STACK];
    cb_tensor **lists = p->longest <= ON_STACK ? few : malloc((size_t)p->longest * sizeof *lists);
    if (!lists) return cb_fail(CB_ERR_MEMORY, "program: expected memory to run.");
    run r = {.program = p, .slots = slots, .seed = seed, .offset = offset};
    int status = CB_OK;
    for (int k = 0; k < p->n_code && !status; k++) {
        const cb_instruction *c = &p->code[k];
        r.list = lists;
        int64_t begin = cb_profiling ? cb_profile_clock() : 0;
        bool both = false;
        if (c->feeds) status = cb_program_feed(p, k, slots, &both);
        if (!both && !status) {
            cb_fused_prepared = c->steps;
            status = call(&r, c->call, p->words + c->words, slots + c->out);
        }
        if (begin && !status) note(p, k, slots, begin);
        if (begin && !status && both) note(p, k + 1, slots, cb_profile_clock());
        release_dead(p, k, slots);
        if (both) release_dead(p, ++k, slots);
    }
    cb_fused_prepared = NULL; /* a call that failed may not have taken it */
    if (lists != few) free(lists);
    return status;
}

/* Does an input that is written over share its memory with another input? -1 without memory to find out. */
static int shares_memory(const cb_program *p, cb_tensor *const *inputs) {
    enum { ON_STACK = 1024 };
    int32_t few[ON_STACK];
    int size = 16, found = 0;
    while (size < 2 * p->n_in) size *= 2;
    int32_t *places = size <= ON_STACK ? few : malloc((size_t)size * sizeof *places);
    bool *written = calloc((size_t)p->n_in, sizeof *written);
    if (!places || !written) found = -1;
    if (places) memset(places, 0, (size_t)size * sizeof *places);
    for (int i = 0; i < p->n_overwritten && !found; i++) written[p->overwritten[i]] = true;
    for (int i = 0; i < p->n_in && !found; i++) {
        uint32_t at = (uint32_t)((uintptr_t)inputs[i]->storage >> 4) * 2654435761u & (uint32_t)(size - 1);
        while (places[at] && inputs[places[at] - 1]->storage != inputs[i]->storage)
            at = (at + 1) & (uint32_t)(size - 1);
        if (places[at])
            found = written[i] || written[places[at] - 1];
        else
            places[at] = i + 1;
    }
    if (places != few) free(places);
    free(written);
    return found;
}

int cb_program_run(const cb_program *p, int n, cb_tensor *const *inputs, uint64_t seed, uint64_t offset,
                   cb_tensor **results) {
    if (n != p->n_in) return cb_fail(CB_ERR_VALUE, "program: expected %d inputs, got %d.", p->n_in, n);
    for (int i = 0; i < n; i++)
        if (!has_form_of(p->known[i], inputs[i])) return CB_PROGRAM_OTHER_INPUTS;
    if (p->n_overwritten) {
        int shared = shares_memory(p, inputs);
        if (shared < 0) return cb_fail(CB_ERR_MEMORY, "program: expected memory to run.");
        if (shared) return CB_PROGRAM_SHARED_INPUTS;
    }
    if (p->replay) {
        int status = cb_replay_run(p, inputs, seed, offset, results);
        for (int i = 0; status != CB_NOT_REPLAYED && i < n && p->given; i++)
            if (p->given[i]) cb_release(inputs[i]);
        if (status != CB_NOT_REPLAYED) return status;
    }
    int64_t begin = cb_profiling ? cb_profile_clock() : 0;
    enum { ON_STACK = 512 };
    cb_tensor *few[ON_STACK];
    cb_tensor **slots = p->n_slots <= ON_STACK ? few : malloc((size_t)p->n_slots * sizeof *slots);
    if (!slots) return cb_fail(CB_ERR_MEMORY, "program: expected memory to run.");
    /* a program from a file does not get to write to its inputs, whatever it says */
    bool guarded = p->loaded && p->writes;
    for (int i = 0; i < n; i++) {
        slots[i] = guarded ? cb_alias(inputs[i]) : inputs[i];
        if (guarded && slots[i]) slots[i]->flags |= CB_FLAG_READONLY | (inputs[i]->flags & CB_FLAG_WEAK);
    }
    memset(slots + n, 0, (size_t)(p->n_slots - n) * sizeof *slots);
    for (int i = 0; i < p->n_constants; i++) slots[p->constants[i].slot] = cb_retain(p->constants[i].value);
    int status = cb_program_execute(p, slots, seed, offset);
    for (int i = 0; i < p->n_results && !status; i++) results[i] = cb_retain(slots[p->results[i]]);
    for (int s = guarded ? 0 : n; s < p->n_slots; s++) cb_release(slots[s]);
    for (int i = 0; i < n && p->given && !guarded; i++)
        if (p->given[i]) cb_release(slots[i]);
    if (slots != few) free(slots);
    if (begin) {
        cb_profile_open(-1, -1, begin);
        cb_profile_number((int64_t)(uintptr_t)p);
        cb_profile_close();
    }
    return status;
}
