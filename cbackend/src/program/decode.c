/* Programs read from words (format.h). Decoding trusts nothing: every slot, place in the pool, list length
 * and number that selects something is checked against the signatures, what can be worked out is (reads, last
 * uses), and the program runs once on meta tensors before anybody gets it. */
#include <stdlib.h>

#include "../device.h"
#include "format.h"

enum { MAX_READS = 1 << 24 };

typedef struct loading {
    cb_program *p;
    const int64_t *at, *end;
    int *functions; /* numbers here, by place in the file's names */
    int n_functions;
    struct {
        int family, op;
    } *ops;
    int n_ops;
    char *defined; /* by slot */
} loading;

static int bad(const char *what, int64_t got) {
    return cb_fail(CB_ERR_VALUE, "load_program: expected %s, got %lld. The file is damaged.", what,
                   (long long)got);
}

/* A word in [low, high]; fails by way of the program. */
static int64_t word(loading *l, int64_t low, int64_t high, const char *what) {
    int64_t value = l->at < l->end ? *l->at++ : INT64_MIN;
    if (l->p->failed) return low;
    if (value < low || value > high) {
        l->p->failed = bad(what, value);
        return low;
    }
    return value;
}

static int count_of(const char *text, size_t n) {
    int count = n > 0;
    for (size_t i = 0; i < n; i++) count += text[i] == ';';
    return count;
}

static int known_function(const char *text, size_t n) {
    for (int i = 0; i < cb_call_count; i++)
        if (strlen(cb_call_signatures[i].text) == n && !memcmp(cb_call_signatures[i].text, text, n))
            return cb_is_host(i) ? -1 : i;
    return -1;
}

static int unknown_name(const char *what, const char *text, size_t n) {
    return cb_fail(CB_ERR_UNSUPPORTED,
                   "load_program: expected names of this library, got the %s %.*s. Export with this version.",
                   what, (int)CB_MIN(n, 200), text);
}

static int find_op(loading *l, int k, const char *text, size_t n) {
    for (int f = 0; f < CB_FAMILIES; f++) {
        size_t prefix = strlen(cb_families[f]);
        if (n <= prefix + 1 || memcmp(text, cb_families[f], prefix) || text[prefix] != ' ') continue;
        char name[64];
        if (n - prefix - 1 >= sizeof name) break;
        memcpy(name, text + prefix + 1, n - prefix - 1);
        name[n - prefix - 1] = 0;
        l->ops[k].family = f;
        l->ops[k].op = cb_op_code(cb_families[f], name);
        if (l->ops[k].op >= 0) return CB_OK;
    }
    return unknown_name("op", text, n);
}

static int read_names(loading *l, const char *names) {
    const char *ops = strchr(names, '|'), *dtypes = ops ? strchr(ops + 1, '|') : NULL;
    if (!dtypes) return bad("three lists of names", 0);
    l->n_functions = count_of(names, (size_t)(ops - names));
    l->n_ops = count_of(ops + 1, (size_t)(dtypes - ops - 1));
    l->functions = calloc((size_t)l->n_functions + 1, sizeof *l->functions);
    l->ops = calloc((size_t)l->n_ops + 1, sizeof *l->ops);
    if (!l->functions || !l->ops) return cb_fail(CB_ERR_MEMORY, "load_program: expected memory for names.");
    const char *at = names;
    for (int i = 0; i < l->n_functions; i++) {
        size_t n = strcspn(at, ";|");
        l->functions[i] = known_function(at, n);
        if (l->functions[i] < 0) return unknown_name("function", at, n);
        at += n + 1;
    }
    at = ops + 1;
    for (int i = 0; i < l->n_ops; i++) {
        size_t n = strcspn(at, ";|");
        CB_TRY(find_op(l, i, at, n));
        at += n + 1;
    }
    at = dtypes + 1;
    for (int d = 0; d < CB_DTYPE_COUNT; d++) {
        size_t n = strcspn(at, ";"), wanted = strlen(cb_dtypes[d].name);
        if (n != wanted || memcmp(at, cb_dtypes[d].name, n)) return unknown_name("dtype", at, n);
        at += n + (at[n] == ';');
    }
    return *at ? bad("the dtypes of this library", *at) : CB_OK;
}

static int local_op(void *context, int family, int64_t *op) {
    const loading *l = context;
    if (*op < 0 || *op >= l->n_ops || l->ops[*op].family != family) return bad("an op of the names", *op);
    *op = l->ops[*op].op;
    return CB_OK;
}

/* Is it a slot with a value, or none? Notes that it is read. */
static int check_slot(loading *l, cb_instruction *c, int64_t slot) {
    cb_program *p = l->p;
    if (slot == -1) return CB_OK;
    if (slot < 0 || slot >= p->n_slots || !l->defined[slot]) return bad("a slot that has a value", slot);
    if (p->n_reads == p->room_reads) {
        int room = 2 * p->room_reads + 64;
        int32_t *larger = p->n_reads < MAX_READS ? realloc(p->reads, (size_t)room * sizeof *larger) : NULL;
        if (!larger) return cb_fail(CB_ERR_MEMORY, "load_program: expected memory for its instructions.");
        p->reads = larger;
        p->room_reads = room;
    }
    p->reads[p->n_reads++] = (int32_t)slot;
    c->nreads++;
    return CB_OK;
}

/* Numbers that choose one of a few ways to compute; others of type int are counts, or yes or no. */
static int64_t most_of(const char *name) {
    static const struct {
        const char *name;
        int64_t most;
    } known[] = {
        {"op", INT32_MAX}, {"dtype", INT32_MAX}, {"device", INT32_MAX}, {"n_normalized", CB_MAX_NDIM},
        {"has_affine", 3}, {"trans", 2},         {"part", 2},           {"mode", 4},
        {"kind", 6},       {"ndim", INT32_MAX},  {"nd", INT32_MAX},     {"n", INT32_MAX},
        {"n2", INT32_MAX}, {"ncode", INT32_MAX}, {"nout", INT32_MAX},   {"padding", 2}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i].name)) return known[i].most;
    return 1;
}

/* Sizes, strides and places as far as arithmetic with them stays in range; dims and sentinels apart. */
static bool is_reasonable(int64_t value) { return value <= INT64_C(1) << 40 && value >= -(INT64_C(1) << 40); }

static bool is_any_number(const char *name) {
    static const char *const known[] = {"value", "low", "high", "start", "stop", "step", "clock"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i])) return true;
    return false;
}

/* What a number selects must exist, also where the function itself trusts its callers. */
static int check_number(const char *function, const cb_call_parameter *q, cb_word a) {
    bool keeps = !strcmp(function, "cb_empty_like"), is_int = q->type == 'i';
    if (is_int && (a.i < INT32_MIN || a.i > INT32_MAX)) return bad("a number of 32 bits", a.i);
    if (is_int && a.i > most_of(q->name)) return bad(q->name, a.i);
    if (is_int && a.i < 0 && most_of(q->name) < INT32_MAX) return bad(q->name, a.i);
    if (q->type == 'l' && !is_any_number(q->name) && !is_reasonable(a.i) &&
        !(a.i == INT64_MIN && !strcmp(q->name, "dim")))
        return bad(q->name, a.i);
    if (!strcmp(q->name, "dtype")) {
        bool optional = keeps || !strcmp(function, "cb_reduce") || !strcmp(function, "cb_scan") ||
                        !strcmp(function, "cb_softmax");
        if (a.i < (optional ? -1 : 0) || a.i >= CB_DTYPE_COUNT) return bad("a dtype", a.i);
    }
    if (!strcmp(q->name, "device") && a.i != CB_CPU && !(keeps && a.i == -1)) return bad("the CPU", a.i);
    if (is_int && (!strcmp(q->name, "ndim") || !strcmp(q->name, "nd")) && (a.i < 0 || a.i > CB_MAX_NDIM))
        return bad("a number of dimensions", a.i);
    return CB_OK;
}

static int64_t item_size(char type) {
    return type == 'I' ? (int64_t)sizeof(int) : type == 'S' ? (int64_t)sizeof(cb_scalar) : 8;
}

/* An array lies in the pool, all of it, or is none where the function takes that. */
static int check_array(loading *l, cb_instruction *c, const cb_call_parameter *q, const cb_word *a,
                       cb_word here) {
    cb_program *p = l->p;
    const char *function = cb_call_names[c->call];
    if (here.i < -1 || here.i > p->n_pool || (here.i > 0 && here.i % 8))
        return bad("a place in the pool", here.i);
    if (q->type == 'C')
        return here.i < 0 || memchr(p->pool + here.i, 0, (size_t)(p->n_pool - here.i))
                   ? CB_OK
                   : bad("a text's end", here.i);
    int64_t count = q->count < 0 ? 1 : a[q->count].i;
    bool all = count == -1 && (!strncmp(function, "cb_reduce", 9) || !strcmp(function, "cb_var") ||
                               !strcmp(function, "cb_squeeze"));
    if (count < 0 && !all) return bad("a length", count);
    if (count <= 0) return CB_OK;
    if (here.i < 0)
        return !strcmp(function, "cb_roll") && !strcmp(q->name, "dims") && count == 1 ? CB_OK
                                                                                      : bad("a list", here.i);
    int64_t room = (p->n_pool - here.i) / item_size(q->type);
    if (count > room / q->times) return bad("a list inside the pool", count);
    if (q->type == 'S') {
        int kind = ((const cb_scalar *)(p->pool + here.i))->kind;
        if (kind < 'a' || kind > 'z' || !strchr("biufc", kind)) return bad("a kind of number", kind);
    }
    if (q->type == 'L' && strcmp(q->name, "spec") && !cb_places_results(c->call)) {
        const int64_t *values = (const int64_t *)(p->pool + here.i);
        for (int64_t i = 0; i < count; i++)
            if (!is_reasonable(values[i])) return bad(q->name, values[i]);
    }
    if (q->type != 'T') return CB_OK;
    const int64_t *slots = (const int64_t *)(p->pool + here.i);
    for (int64_t i = 0; i < count; i++) CB_TRY(check_slot(l, c, slots[i]));
    p->list += (int)count;
    p->longest = CB_MAX(p->longest, p->list);
    return CB_OK;
}

static int check_instruction(loading *l, cb_instruction *c) {
    cb_program *p = l->p;
    const cb_call_signature *s = &cb_call_signatures[c->call];
    cb_word *a = p->words + c->words;
    int64_t nout = s->makes_tensor;
    p->list = 0;
    c->reads = p->n_reads;
    for (int k = 0; k < s->n; k++) {
        const cb_call_parameter *q = &s->parameters[k];
        if (q->type == 'R')
            nout = q->count < 0 ? q->times : a[q->count].i;
        else if (q->type == 't')
            CB_TRY(check_slot(l, c, a[k].i));
        else if (strchr("TLISC", q->type))
            CB_TRY(check_array(l, c, q, a, a[k]));
        else
            CB_TRY(check_number(cb_call_names[c->call], q, a[k]));
        p->writes |= !strcmp(q->name, "clock");
    }
    if (cb_places_results(c->call)) { /* whose memory to write over: plan says that */
        a[s->n - 1].i = a[s->n - 2].i = cb_is_sets(c->call) ? -1 : 0;
        if (a[3].i < 0 || a[2].i < 1) return bad("the code of steps", a[2].i);
    }
    CB_TRY(cb_each_op(c->call, &a->i, p->pool, l, local_op));
    if (nout < 0 || nout > p->n_slots - c->out) return bad("results that fit the slots", nout);
    c->nout = (int32_t)nout;
    for (int i = 0; i < c->nout; i++) {
        if (l->defined[c->out + i]) return bad("a slot without a value", c->out + i);
        l->defined[c->out + i] = 1;
    }
    return CB_OK;
}

static int read_inputs(loading *l) {
    cb_program *p = l->p;
    for (int i = 0; i < p->n_in && !p->failed; i++) {
        int64_t shape[CB_MAX_NDIM];
        int dtype = (int)word(l, 0, CB_DTYPE_COUNT - 1, "a dtype");
        int flags = (int)word(l, 0, CB_FLAG_WEAK, "flags");
        int ndim = (int)word(l, 0, CB_MAX_NDIM, "a number of dimensions");
        for (int d = 0; d < ndim; d++) shape[d] = word(l, 0, INT64_MAX, "a size");
        if (p->failed) break;
        cb_tensor *x = cb_empty(dtype, CB_META, ndim, shape);
        if (!x) return p->failed = cb_error_code();
        x->flags |= flags;
        p->known[p->n_known++] = x;
        l->defined[i] = 1;
    }
    return p->failed;
}

/* A list of n_##list items, zeroed. */
#define MAKE(p, list, n) ((p)->list = calloc((size_t)(n) + 1, sizeof *(p)->list))

static int read_program(loading *l, int n_constants, cb_tensor **constants) {
    cb_program *p = l->p;
    int64_t most = CB_MIN(l->end - l->at, INT32_MAX / 8);
    word(l, CB_FORMAT_MAGIC, CB_FORMAT_MAGIC, "a program");
    word(l, CB_FORMAT_VERSION, CB_FORMAT_VERSION, "version 1 of the format");
    p->n_in = (int)word(l, 0, most, "a number of inputs");
    int64_t n_file = word(l, 0, n_constants, "as many constants as tensors");
    if (!p->failed && n_file != n_constants) return bad("as many constants as tensors", n_file);
    int n_results = (int)word(l, 0, most, "a number of results"), n_code = (int)word(l, 0, most, "a length");
    int n_words = (int)word(l, 0, most, "a length"), n_pool = (int)word(l, 0, most, "a length") * 8;
    if (p->failed) return p->failed;
    /* and what the instructions make: at most 16 each, or for each of the sets that lists in the pool name */
    int64_t n_slots = (int64_t)p->n_in + n_constants;
    p->n_slots = (int)CB_MIN(n_slots + 16 * ((int64_t)n_code + n_pool / 8), INT32_MAX / 8);
    l->defined = calloc((size_t)p->n_slots + 1, 1);
    if (!l->defined || !MAKE(p, known, p->n_in) || !MAKE(p, constants, n_constants) ||
        !MAKE(p, results, n_results) || !MAKE(p, code, n_code) || !MAKE(p, words, n_words) ||
        !MAKE(p, pool, n_pool) || !MAKE(p, result_metas, n_results))
        return cb_fail(CB_ERR_MEMORY, "load_program: expected memory for its instructions.");
    CB_TRY(read_inputs(l));
    for (int i = 0; i < n_constants; i++) {
        int32_t slot = (int32_t)word(l, 0, p->n_slots - 1, "a slot");
        int32_t flags = (int32_t)word(l, 0, CB_FLAG_WEAK, "flags");
        if (p->failed || l->defined[slot]) return bad("a slot without a value", slot);
        l->defined[slot] = 1;
        constants[i]->flags |= flags | CB_FLAG_READONLY;
        p->constants[p->n_constants++] = (cb_constant){slot, cb_retain(constants[i])};
    }
    for (int i = 0; i < n_results; i++) p->results[i] = (int32_t)word(l, 0, p->n_slots - 1, "a slot");
    const int64_t *code = l->at;
    if (p->failed || l->end - code != 2 * (int64_t)n_code + n_words + n_pool / 8)
        return p->failed ? p->failed : bad("the length that it says", l->end - code);
    memcpy(p->words, code + 2 * (int64_t)n_code, (size_t)n_words * sizeof *p->words);
    memcpy(p->pool, code + 2 * (int64_t)n_code + n_words, (size_t)n_pool);
    p->n_words = n_words;
    p->n_pool = n_pool;
    p->n_results = n_results;
    int64_t used = 0;
    for (int k = 0; k < n_code; k++) {
        int64_t number = word(l, 0, l->n_functions - 1, "a function of the names");
        int64_t out = word(l, 0, p->n_slots, "a slot");
        if (p->failed) return p->failed;
        cb_instruction *c = &p->code[p->n_code++];
        *c = (cb_instruction){.call = l->functions[number], .words = (int32_t)used, .out = (int32_t)out};
        c->nwords = cb_call_signatures[c->call].n;
        if (used + c->nwords > n_words) return bad("arguments for every function", used);
        used += c->nwords;
        CB_TRY(check_instruction(l, c));
        n_slots += c->nout;
    }
    if (used != n_words) return bad("arguments of functions only", n_words - used);
    for (int i = 0; i < n_results; i++)
        if (!l->defined[p->results[i]]) return bad("results with a value", p->results[i]);
    if (n_slots > p->n_slots || memchr(l->defined, 0, (size_t)n_slots))
        return bad("slots without gaps", n_slots);
    p->n_slots = (int)n_slots;
    return CB_OK;
}

/* Shapes and dtypes are those that the functions themselves give: a program that does not fit together fails
 * here, and the results' forms come out. */
static int run_on_meta(cb_program *p) {
    cb_program dry = *p;
    cb_tensor **slots = calloc((size_t)p->n_slots + 1, sizeof *slots);
    dry.words = malloc((size_t)(p->n_words + 1) * sizeof *dry.words);
    int status = slots && dry.words ? CB_OK : cb_fail(CB_ERR_MEMORY, "load_program: expected memory.");
    if (!status) memcpy(dry.words, p->words, (size_t)p->n_words * sizeof *dry.words);
    for (int k = 0; k < p->n_code && !status; k++) {
        const cb_call_signature *s = &cb_call_signatures[p->code[k].call];
        for (int i = 0; i < s->n; i++)
            if (!strcmp(s->parameters[i].name, "device")) dry.words[p->code[k].words + i].i = CB_META;
    }
    for (int i = 0; i < p->n_in && !status; i++) slots[i] = cb_retain(p->known[i]);
    for (int i = 0; i < p->n_constants && !status; i++) {
        cb_tensor *x = slots[p->constants[i].slot] = cb_as_meta(p->constants[i].value);
        if (!x) status = cb_error_code();
    }
    if (!status) status = cb_program_execute(&dry, slots, 0, 0);
    for (int i = 0; i < p->n_results && !status; i++) {
        p->result_metas[i] = cb_retain(slots[p->results[i]]);
        if (!p->result_metas[i]) status = bad("results with a value", i);
    }
    for (int s = 0; slots && s < p->n_slots; s++) cb_release(slots[s]);
    free(slots);
    free(dry.words);
    return status;
}

cb_program *cb_program_decode(const int64_t *words, int64_t n, const char *names, int n_constants,
                              cb_tensor **constants) {
    cb_program *p = calloc(1, sizeof *p);
    loading l = {.p = p, .at = words, .end = words + n};
    int status = p ? CB_OK : cb_fail(CB_ERR_MEMORY, "load_program: expected memory.");
    if (p) p->loaded = true;
    if (!status) status = read_names(&l, names);
    if (!status) status = read_program(&l, n_constants, constants);
    if (!status && cb_program_plan(p)) status = cb_fail(CB_ERR_MEMORY, "load_program: expected memory.");
    if (!status) status = run_on_meta(p);
    free(l.functions);
    free(l.ops);
    free(l.defined);
    for (int i = 0; i < n_constants; i++) cb_release(constants[i]);
    if (!status) return p;
    cb_program_free(p);
    return NULL;
}

int cb_program_to(cb_program *p, int device) {
    if (!p || !p->loaded) return cb_fail(CB_ERR_VALUE, "program: expected one that was loaded.");
    if ((device & 255) == CB_META)
        return cb_fail(CB_ERR_DEVICE, "load_program: expected a device with memory.");
    if ((device & 255) == CB_CUDA && !cb_device_open("load_program", device)) return cb_error_code();
    for (int i = 0; i < p->n_constants; i++) {
        cb_tensor *x = p->constants[i].value, *moved = cb_to_device(x, device);
        if (!moved) return cb_error_code();
        if (moved != x) moved->flags |= x->flags & (CB_FLAG_WEAK | CB_FLAG_READONLY);
        p->constants[i].value = moved;
        cb_release(x);
    }
    for (int i = 0; i < p->n_in; i++) p->known[i]->device = cb_meta_for(device);
    for (int k = 0; k < p->n_code; k++) {
        const cb_call_signature *s = &cb_call_signatures[p->code[k].call];
        for (int i = 0; i < s->n; i++) {
            cb_word *a = &p->words[p->code[k].words + i];
            if (!strcmp(s->parameters[i].name, "device") && a->i >= 0) a->i = device;
        }
    }
    cb_replay_free(p);
    cb_replay_prepare(p);
    return CB_OK;
}

int cb_program_input_count(const cb_program *p) { return p->n_in; }
int cb_program_result_count(const cb_program *p) { return p->n_results; }

const cb_tensor *cb_program_input(const cb_program *p, int i) {
    return i >= 0 && i < p->n_in && i < p->n_known ? p->known[i] : NULL;
}

const cb_tensor *cb_program_result(const cb_program *p, int i) {
    return p->result_metas && i >= 0 && i < p->n_results ? p->result_metas[i] : NULL;
}
