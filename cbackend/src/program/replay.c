/* Programs on a CUDA device as graphs: the first run launches kernel by kernel, the second one records its
 * launches (device.h), and from then on a run is one launch of the graph.
 *
 * The addresses in a graph are fixed. Inputs that lay at the same place in the first two runs (parameters,
 * optimizer state) are used where they are, the others are copied to a place of their own first; when one of
 * the former moves, the graph is made again. What computes with numbers on the host (step counts, learning
 * rates) is not recorded: it runs on the host at each replay, and the numbers that kernels take go into the
 * graph's state, as do seed and offset. Results are copied out, so that the next replay does not touch them.
 * A program that cannot be recorded is launched as before, and says why. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "../device.h"
#include "program.h"

enum { MOST_RECORDINGS = 8, STATE = 2 /* words before the numbers, which have two each */ };
enum { OF_GRAPH, OF_HOST, OF_INPUT, OF_CONSTANT, VIEW_OF_INPUT }; /* where a result comes from */

typedef struct origin {
    int kind, slot;
    int64_t bytes;   /* of a view: from where the input begins */
    cb_tensor *made; /* of the graph; a view's form */
} origin;

struct cb_replay {
    pthread_mutex_t lock;
    int device, runs, recordings;
    bool refused;
    char text[400];
    bool *moves;   /* by input: it is copied */
    void **places; /* by input: where it lay */
    /* the graph, and what it was recorded with */
    struct cb_graph *graph;
    void *stream;
    cb_tensor **stands; /* by slot: the graph's own tensor for a moving input or a number, or NULL */
    origin *results;
    int *numbers, n_numbers; /* slots of numbers, as they lie in the state */
    int *host_code, n_host_code; /* instructions that run on the host */
    /* scratch of a run */
    cb_tensor **slots, **lists;
    uint64_t *words;
};

static int enabled = -1;

int cb_program_graphs(int on) {
    if (enabled < 0) {
        const char *asked = getenv("FL_CUDA_GRAPHS");
        enabled = !asked || strcmp(asked, "0");
    }
    int before = enabled;
    if (on >= 0) enabled = on != 0;
    return before;
}

const char *cb_program_replay(const cb_program *p) {
    return p->replay && *p->replay->text ? p->replay->text : NULL;
}

static void refuse(struct cb_replay *r, const char *why) {
    r->refused = true;
    snprintf(r->text, sizeof r->text, "launched kernel by kernel: %s", why);
}

/* What is known beforehand. */
static void look(const cb_program *p, struct cb_replay *r) {
    for (int k = 0; k < p->n_code && !r->refused; k++) {
        const cb_call_signature *s = &cb_call_signatures[p->code[k].call];
        if (!strcmp(cb_call_names[p->code[k].call], "cb_host_call")) refuse(r, "it calls back into Python");
        for (int i = 0; i < s->n; i++)
            if (!strcmp(s->parameters[i].name, "clock")) refuse(r, "it writes to a tensor that it is given");
    }
}

void cb_replay_prepare(cb_program *p) {
    int device = -1;
    for (int i = 0; i < p->n_in + p->n_constants; i++) {
        int d = i < p->n_in ? p->known[i]->device >> 8 : p->constants[i - p->n_in].value->device;
        if ((d & 255) == CB_CUDA) device = d;
    }
    p->replay = NULL;
    struct cb_replay *r = device < 0 ? NULL : calloc(1, sizeof *r);
    if (!r) return;
    r->device = device;
    size_t n = (size_t)p->n_slots + 1;
    r->moves = calloc((size_t)p->n_in + 1, sizeof *r->moves);
    r->places = calloc((size_t)p->n_in + 1, sizeof *r->places);
    r->stands = calloc(n, sizeof *r->stands);
    r->results = calloc((size_t)p->n_results + 1, sizeof *r->results);
    r->numbers = calloc(n, sizeof *r->numbers);
    r->host_code = calloc((size_t)p->n_code + 1, sizeof *r->host_code);
    r->slots = calloc(n, sizeof *r->slots);
    r->lists = calloc((size_t)p->longest + 1, sizeof *r->lists);
    r->words = calloc(STATE + 2 * n, sizeof *r->words);
    pthread_mutex_init(&r->lock, NULL);
    p->replay = r;
    if (!r->moves || !r->places || !r->stands || !r->results || !r->numbers || !r->host_code || !r->slots ||
        !r->lists || !r->words)
        refuse(r, "there is no memory to record it");
    else
        look(p, r);
}

static void forget(const cb_program *p, struct cb_replay *r) {
    for (int s = 0; r->stands && s < p->n_slots; s++) {
        cb_release(r->stands[s]);
        r->stands[s] = NULL;
    }
    for (int i = 0; r->results && i < p->n_results; i++) {
        cb_release(r->results[i].made);
        r->results[i].made = NULL;
    }
    if (r->graph) cb_device_open("compile", r->device)->graph_free(r->graph);
    r->graph = NULL;
    r->n_numbers = r->n_host_code = 0;
}

void cb_replay_free(cb_program *p) {
    struct cb_replay *r = p->replay;
    if (!r) return;
    forget(p, r);
    pthread_mutex_destroy(&r->lock);
    free(r->moves);
    free(r->places);
    free(r->stands);
    free(r->results);
    free(r->numbers);
    free(r->host_code);
    free(r->slots);
    free(r->lists);
    free(r->words);
    free(r);
}

/* ---- recording ---- */

/* a handle with x's form on other memory */
static cb_tensor *handle_like(const cb_tensor *x, cb_storage *storage, int64_t offset) {
    cb_tensor *y = cb_handle_new(x->dtype, storage->device, x->ndim);
    if (!y) return NULL;
    if (x->ndim) {
        memcpy(y->shape, x->shape, (size_t)x->ndim * sizeof *x->shape);
        memcpy(y->strides, x->strides, (size_t)x->ndim * sizeof *x->strides);
    }
    y->flags = x->flags & CB_FLAG_WEAK;
    y->offset = offset;
    y->storage = storage;
    __atomic_add_fetch(&storage->refcount, 1, __ATOMIC_RELAXED);
    return cb_handle_finish(y);
}

/* The state's place for the number in slot s. */
static cb_tensor *number_of(struct cb_replay *r, const cb_tensor *x, int s, uint64_t *state) {
    if (r->stands[s]) return r->stands[s];
    cb_storage *storage = cb_storage_new(r->device, 0);
    if (!storage) return NULL;
    storage->data = state + STATE + 2 * (int64_t)r->n_numbers;
    storage->nbytes = x->itemsize;
    storage->borrowed = true;
    r->stands[s] = handle_like(x, storage, 0);
    cb_storage_release(storage);
    if (r->stands[s]) r->numbers[r->n_numbers++] = s;
    return r->stands[s];
}

static bool is_constant(const cb_program *p, int s) {
    for (int i = 0; i < p->n_constants; i++)
        if (p->constants[i].slot == s) return true;
    return false;
}

/* Instruction k on the device, with the state's numbers for those on the host. */
static int record_step(const cb_program *p, struct cb_replay *r, int k, uint64_t *state, uint64_t seed,
                       uint64_t offset) {
    const cb_instruction *c = &p->code[k];
    for (int i = 0; i < c->nreads; i++) {
        int s = p->reads[c->reads + i];
        cb_tensor *x = s < 0 ? NULL : r->slots[s], *number;
        if (!x || cb_is_cuda(x) || is_constant(p, s)) continue;
        if (x->ndim)
            return cb_fail(CB_ERR_UNSUPPORTED, "%s reads a tensor on the cpu", cb_call_names[c->call]);
        number = number_of(r, x, s, state);
        if (!number) return cb_error_code();
        r->slots[s] = cb_retain(number);
        cb_release(x);
    }
    return cb_program_step(p, k, r->slots, r->lists, seed, offset);
}

static bool is_on_host(const cb_tensor *x) { return x && !cb_is_cuda(x); }

/* All instructions: those of the host are done and noted, the others recorded. A slot of the host that a
 * kernel reads is the state's number from there on, unless the host reads it once more. */
static int record_all(const cb_program *p, struct cb_replay *r, uint64_t *state, uint64_t seed,
                      uint64_t offset) {
    cb_tensor **values = calloc((size_t)p->n_slots + 1, sizeof *values); /* the host's */
    int status = values ? CB_OK : cb_fail(CB_ERR_MEMORY, "there is no memory to record it");
    for (int s = 0; s < p->n_slots && !status; s++)
        if (is_on_host(r->slots[s])) values[s] = cb_retain(r->slots[s]);
    for (int k = 0; k < p->n_code && !status; k++) {
        const cb_instruction *c = &p->code[k];
        bool host = true;
        for (int i = 0; i < c->nreads; i++) {
            int s = p->reads[c->reads + i];
            host &= s < 0 || values[s];
        }
        for (int i = 0; i < c->nreads && host; i++) {
            int s = p->reads[c->reads + i];
            if (s < 0 || r->slots[s] == values[s]) continue;
            cb_release(r->slots[s]);
            r->slots[s] = cb_retain(values[s]);
        }
        status = host ? cb_program_step(p, k, r->slots, r->lists, seed, offset)
                      : record_step(p, r, k, state, seed, offset);
        if (status) break;
        host = host && (!c->nout || is_on_host(r->slots[c->out]));
        if (host) r->host_code[r->n_host_code++] = k;
        /* a second reference: nothing of the host's is written over */
        for (int i = 0; i < c->nout; i++)
            if (is_on_host(r->slots[c->out + i])) {
                values[c->out + i] = cb_retain(r->slots[c->out + i]);
                if (!host)
                    status =
                        cb_fail(CB_ERR_UNSUPPORTED, "%s gives a tensor on the cpu", cb_call_names[c->call]);
            }
        for (int i = 0; i < c->ndead; i++) {
            int s = p->dead[c->dead + i];
            if (values[s]) continue;
            cb_release(r->slots[s]);
            r->slots[s] = NULL;
        }
    }
    for (int s = 0; s < p->n_slots && values && !status; s++)
        if (values[s] && r->slots[s] != values[s]) {
            cb_release(r->slots[s]);
            r->slots[s] = cb_retain(values[s]);
        }
    for (int s = 0; values && s < p->n_slots; s++) cb_release(values[s]);
    free(values);
    return status;
}

/* what the graph takes for an input */
static cb_tensor *taken(const struct cb_replay *r, cb_tensor *const *inputs, int i) {
    return r->moves[i] && r->stands[i] ? r->stands[i] : inputs[i];
}

/* Are all items of y between x's first and last ones? */
static bool lies_in(const cb_tensor *y, const cb_tensor *x) {
    const cb_tensor *both[] = {y, x};
    const char *low[2], *high[2];
    for (int i = 0; i < 2; i++) {
        low[i] = high[i] = both[i]->data;
        for (int d = 0; d < both[i]->ndim; d++) {
            int64_t reach = (both[i]->shape[d] - 1) * both[i]->strides[d] * both[i]->itemsize;
            *(reach < 0 ? &low[i] : &high[i]) += reach;
        }
        high[i] += both[i]->itemsize;
    }
    return y->numel == 0 || (x->numel && low[0] >= low[1] && high[0] <= high[1]);
}

/* Where the results come from at each replay. */
static int sort_results(const cb_program *p, struct cb_replay *r, cb_tensor *const *inputs) {
    for (int i = 0; i < p->n_results; i++) {
        int slot = p->results[i];
        cb_tensor *y = r->slots[slot];
        origin *o = &r->results[i];
        *o = (origin){.kind = is_on_host(y) ? OF_HOST : OF_GRAPH, .slot = slot};
        for (int k = 0; k < p->n_constants; k++)
            if (y->storage == p->constants[k].value->storage) o->kind = OF_CONSTANT;
        for (int s = 0; s < p->n_in && o->kind == OF_GRAPH; s++) {
            const cb_tensor *x = taken(r, inputs, s);
            if (y == x) {
                *o = (origin){.kind = OF_INPUT, .slot = s};
            } else if (y->storage == x->storage) {
                if (!lies_in(y, x))
                    return cb_fail(CB_ERR_UNSUPPORTED, "a result is a view beyond an argument");
                *o = (origin){VIEW_OF_INPUT, s, (char *)y->data - (char *)x->data, NULL};
            }
        }
        if (slot < p->n_in) o->kind = OF_INPUT;
        if (o->kind != OF_INPUT && o->kind != OF_HOST) o->made = cb_retain(y);
    }
    return CB_OK;
}

static void release_slots(const cb_program *p, struct cb_replay *r) {
    for (int s = 0; s < p->n_slots; s++) {
        cb_release(r->slots[s]);
        r->slots[s] = NULL;
    }
}

static int record_into(const cb_program *p, struct cb_replay *r, cb_tensor *const *inputs, uint64_t *state,
                       uint64_t seed, uint64_t offset) {
    int status = CB_OK;
    for (int i = 0; i < p->n_in; i++) {
        if (cb_is_cuda(inputs[i]) && inputs[i]->device != r->device)
            status = cb_fail(CB_ERR_UNSUPPORTED, "arguments lie on several devices");
        if (r->moves[i] && !status) {
            r->stands[i] = cb_empty_like(inputs[i], -1, -1);
            if (r->stands[i])
                r->stands[i]->flags |= inputs[i]->flags & CB_FLAG_WEAK;
            else
                status = cb_error_code();
        }
        /* sweeps on the host may write over what they are given, which is for the replays to do */
        r->slots[i] = cb_is_cuda(inputs[i]) ? cb_retain(taken(r, inputs, i)) : cb_clone(inputs[i]);
        if (r->slots[i])
            r->slots[i]->flags |= inputs[i]->flags & CB_FLAG_WEAK;
        else
            status = cb_error_code();
        /* a second reference, so that the memory of donated inputs becomes nobody's */
        if (p->given && p->given[i]) cb_retain(taken(r, inputs, i));
    }
    for (int i = 0; i < p->n_constants; i++)
        r->slots[p->constants[i].slot] = cb_retain(p->constants[i].value);
    if (!status) status = record_all(p, r, state, seed, offset);
    if (!status) status = sort_results(p, r, inputs);
    for (int i = 0; i < p->n_in && p->given; i++)
        if (p->given[i]) cb_release(taken(r, inputs, i));
    release_slots(p, r);
    return status;
}

static int record(const cb_program *p, struct cb_replay *r, const cb_device_api *api,
                  cb_tensor *const *inputs, uint64_t seed, uint64_t offset) {
    void *state = NULL;
    const uint64_t now[STATE] = {seed, offset};
    CB_TRY(api->graph_begin(r->device >> 8, STATE + 2 * p->n_slots, now, &r->graph, &state));
    int status = record_into(p, r, inputs, state, seed, offset);
    char why[300];
    snprintf(why, sizeof why, "%s", status ? cb_error_message() : "");
    int ended = api->graph_end(r->graph);
    return status ? cb_fail(status, "%s", why) : ended;
}

/* ---- running ---- */

/* Results that share memory still do. */
static cb_tensor *copied(struct cb_replay *r, const cb_device_api *api, cb_tensor **results, int i) {
    const cb_tensor *y = r->results[i].made;
    int first = 0;
    while (r->results[first].kind != OF_GRAPH || r->results[first].made->storage != y->storage) first++;
    if (first < i)
        return r->results[first].made == y ? cb_retain(results[first])
                                           : handle_like(y, results[first]->storage, y->offset);
    cb_storage *s = cb_storage_new(r->device, y->storage->nbytes);
    if (!s) return NULL;
    cb_tensor *made = NULL;
    if (!s->nbytes || !api->copy(CB_COPY_ON_DEVICE, r->device >> 8, s->data, y->storage->data, s->nbytes, 1))
        made = handle_like(y, s, y->offset);
    cb_storage_release(s);
    return made;
}

static int hand_out(const cb_program *p, struct cb_replay *r, const cb_device_api *api,
                    cb_tensor *const *inputs, cb_tensor **results) {
    for (int i = 0; i < p->n_results; i++) {
        const origin *o = &r->results[i];
        switch (o->kind) {
            case OF_INPUT: results[i] = cb_retain(inputs[o->slot]); break;
            case OF_HOST: results[i] = cb_retain(r->slots[o->slot]); break;
            case OF_CONSTANT: results[i] = cb_retain(o->made); break;
            case OF_GRAPH: results[i] = copied(r, api, results, i); break;
            default: {
                const cb_tensor *x = inputs[o->slot];
                int64_t begin = (char *)x->data + o->bytes - (char *)x->storage->data;
                results[i] = handle_like(o->made, x->storage, begin / o->made->itemsize);
            }
        }
        if (results[i]) continue;
        while (i-- > 0) cb_release(results[i]);
        return cb_error_code();
    }
    return CB_OK;
}

static int launch(const cb_program *p, struct cb_replay *r, const cb_device_api *api,
                  cb_tensor *const *inputs, uint64_t seed, uint64_t offset, cb_tensor **results) {
    int status = CB_OK;
    for (int i = 0; i < p->n_in && !status; i++) {
        if (!cb_is_cuda(inputs[i])) r->slots[i] = cb_retain(inputs[i]);
        if (r->moves[i] && inputs[i]->numel)
            status = api->copy(CB_COPY_ON_DEVICE, r->device >> 8, r->stands[i]->data, inputs[i]->data,
                               inputs[i]->numel * inputs[i]->itemsize, 1);
    }
    for (int i = 0; i < p->n_constants && r->n_host_code; i++)
        r->slots[p->constants[i].slot] = cb_retain(p->constants[i].value);
    int done = 0;
    for (; done < r->n_host_code && !status; done++) {
        const cb_instruction *c = &p->code[r->host_code[done]];
        status = cb_program_step(p, r->host_code[done], r->slots, r->lists, seed, offset);
        for (int i = 0; i < c->nout && !status; i++) cb_retain(r->slots[c->out + i]); /* as while recording */
        if (status) break;
    }
    r->words[0] = seed;
    r->words[1] = offset;
    for (int i = 0; i < r->n_numbers && !status; i++) {
        const cb_tensor *x = r->slots[r->numbers[i]];
        memcpy(r->words + STATE + 2 * i, x->data, (size_t)x->itemsize);
    }
    if (!status) status = api->graph_launch(r->graph, STATE + 2 * r->n_numbers, r->words);
    if (!status) status = hand_out(p, r, api, inputs, results);
    while (done-- > 0) {
        const cb_instruction *c = &p->code[r->host_code[done]];
        for (int i = 0; i < c->nout; i++) cb_release(r->slots[c->out + i]);
    }
    release_slots(p, r);
    return status;
}

/* one run of memory that a tensor made like it has too */
static bool can_be_copied(cb_tensor *x) {
    cb_tensor *like = cb_empty_like(x, -1, CB_META);
    bool same = like && (cb_is_contiguous(x) ||
                         !memcmp(like->strides, x->strides, (size_t)x->ndim * sizeof *x->strides));
    cb_release(like);
    return same;
}

static bool is_overwritten(const cb_program *p, int input) {
    for (int i = 0; i < p->n_overwritten; i++)
        if (p->overwritten[i] == input) return true;
    return false;
}

/* Inputs that are not where they were: those are copied from now on, or recorded anew where that cannot be.
 */
static bool have_moved(const cb_program *p, struct cb_replay *r, cb_tensor *const *inputs) {
    bool moved = false;
    for (int i = 0; i < p->n_in; i++) {
        if (!cb_is_cuda(inputs[i]) || r->moves[i]) continue;
        if (r->runs && inputs[i]->data != r->places[i]) {
            moved = true;
            r->moves[i] = !is_overwritten(p, i) && can_be_copied(inputs[i]);
        }
        r->places[i] = inputs[i]->data;
    }
    return moved;
}

int cb_replay_run(const cb_program *p, cb_tensor *const *inputs, uint64_t seed, uint64_t offset,
                  cb_tensor **results) {
    struct cb_replay *r = p->replay;
    if (r->refused || !cb_program_graphs(-1) || cb_profiling) return CB_NOT_REPLAYED;
    if (pthread_mutex_trylock(&r->lock)) return CB_NOT_REPLAYED; /* another thread runs it */
    const cb_device_api *api = cb_device_open("compile", r->device);
    int status = CB_NOT_REPLAYED;
    void *stream = api->stream_current(r->device >> 8);
    if (!r->graph || stream == r->stream) {
        if (have_moved(p, r, inputs)) forget(p, r);
        bool first = r->runs++ == 0;
        if (!first && !r->graph) {
            if (r->recordings++ == MOST_RECORDINGS) {
                refuse(r, "arguments that cannot be copied keep moving");
            } else if (record(p, r, api, inputs, seed, offset)) {
                refuse(r, cb_error_message());
                forget(p, r);
            } else {
                r->stream = stream;
                snprintf(r->text, sizeof r->text, "replayed as a CUDA graph");
            }
        }
        if (r->graph) status = launch(p, r, api, inputs, seed, offset, results);
    }
    pthread_mutex_unlock(&r->lock);
    return status;
}
