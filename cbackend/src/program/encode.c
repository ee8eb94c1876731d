/* Programs written as words: format.h. */
#include <stdio.h>
#include <stdlib.h>

#include "format.h"

const char *const cb_families[CB_FAMILIES] = {"unary", "binary", "ternary", "reduce", "argreduce", "scan"};

/* The family of a function's parameter `op`; -1 for none. */
static int family_of(const char *function) {
    for (int f = 0; f < 3; f++)
        if (!strncmp(function + 3, cb_families[f], strlen(cb_families[f]))) return f;
    if (!strcmp(function, "cb_reduce") || !strcmp(function, "cb_reduce_steps")) return 3;
    if (!strcmp(function, "cb_argreduce") || !strcmp(function, "cb_reduce_with_index")) return 4;
    if (!strcmp(function, "cb_scan") || !strcmp(function, "cb_scan_with_index")) return 5;
    return -1;
}

int cb_each_op(int call, int64_t *words, char *pool, void *context,
               int (*visit)(void *context, int family, int64_t *op)) {
    const cb_call_signature *s = &cb_call_signatures[call];
    for (int k = 0; k < s->n; k++)
        if (!strcmp(s->parameters[k].name, "op")) {
            int family = family_of(cb_call_names[call]);
            if (family < 0) return cb_fail(CB_ERR_INTERNAL, "program: expected a family for the op.");
            CB_TRY(visit(context, family, &words[k]));
        }
    if (!cb_is_fused(call) && strcmp(cb_call_names[call], "cb_reduce_steps") != 0) return CB_OK;
    int64_t n = words[0], ncode = words[2], *code = (int64_t *)(pool + words[3]);
    if (cb_is_sets(call)) n = words[6] > 0 ? n / words[6] : -1;
    if (n < 0 || n >= ncode || code[n] < 0 || code[n] > (ncode - n - 1) / 7)
        return cb_fail(CB_ERR_VALUE, "program: expected fused steps of the length they say.");
    for (int64_t j = 0; j < code[n]; j++) {
        int64_t *step = code + n + 1 + 7 * j;
        if (step[0] >= 0 && step[0] < 3) CB_TRY(visit(context, (int)step[0], &step[1]));
    }
    return CB_OK;
}

typedef struct writer {
    char *text;
    size_t used, room;
    int *number; /* by function: its place in the names, or -1 */
    int functions;
    struct {
        int family;
        int64_t op;
    } *ops;
    int n_ops, room_ops;
    bool failed;
} writer;

static void say(writer *w, const char *prefix, const char *text) {
    size_t need = w->used + strlen(prefix) + strlen(text) + 2;
    if (need > w->room) {
        size_t room = 2 * need;
        char *larger = realloc(w->text, room);
        if (!larger) {
            w->failed = true;
            return;
        }
        w->text = larger;
        w->room = room;
    }
    w->used += (size_t)sprintf(w->text + w->used, "%s%s", prefix, text);
}

static int name_op(void *context, int family, int64_t *op) {
    writer *w = context;
    int k = 0;
    while (k < w->n_ops && (w->ops[k].family != family || w->ops[k].op != *op)) k++;
    if (k == w->n_ops) {
        if (k == w->room_ops) {
            int room = 2 * w->room_ops + 16;
            void *larger = realloc(w->ops, (size_t)room * sizeof *w->ops);
            if (!larger) return cb_fail(CB_ERR_MEMORY, "program: expected memory to write it.");
            w->ops = larger;
            w->room_ops = room;
        }
        w->ops[w->n_ops].family = family;
        w->ops[w->n_ops++].op = *op;
    }
    *op = k;
    return CB_OK;
}

static char *name_all(writer *w, const cb_program *p, int64_t *numbers) {
    for (int i = 0; i < cb_call_count; i++) w->number[i] = -1;
    for (int k = 0; k < p->n_code; k++) {
        int call = p->code[k].call;
        if (w->number[call] < 0) {
            say(w, w->functions ? ";" : "", cb_call_signatures[call].text);
            w->number[call] = w->functions++;
        }
        numbers[2 * k] = w->number[call];
        numbers[2 * k + 1] = p->code[k].out;
    }
    for (int k = 0; k < w->n_ops; k++) {
        say(w, k ? ";" : "|", cb_families[w->ops[k].family]);
        say(w, " ", cb_op_name(cb_families[w->ops[k].family], (int)w->ops[k].op));
    }
    if (!w->n_ops) say(w, "|", "");
    for (int d = 0; d < CB_DTYPE_COUNT; d++) say(w, d ? ";" : "|", cb_dtypes[d].name);
    return w->failed ? NULL : w->text;
}

static int64_t *put_shape(int64_t *to, const cb_tensor *x) {
    *to++ = x->dtype;
    *to++ = x->flags & CB_FLAG_WEAK;
    *to++ = x->ndim;
    for (int d = 0; d < x->ndim; d++) *to++ = x->shape[d];
    return to;
}

/* Fills out, which is long enough. */
static int put_all(writer *w, const cb_program *p, int n_captured, int64_t *to) {
    int n_in = p->n_in - n_captured;
    const int64_t head[] = {CB_FORMAT_MAGIC, CB_FORMAT_VERSION, n_in,       p->n_constants + n_captured,
                            p->n_results,    p->n_code,         p->n_words, p->n_pool / 8};
    memcpy(to, head, sizeof head);
    to += sizeof head / sizeof *head;
    for (int i = 0; i < n_in; i++) to = put_shape(to, p->known[i]);
    for (int i = 0; i < p->n_constants; i++) {
        *to++ = p->constants[i].slot;
        *to++ = p->constants[i].value->flags & CB_FLAG_WEAK;
    }
    for (int i = n_in; i < p->n_in; i++) {
        *to++ = i;
        *to++ = p->known[i]->flags & CB_FLAG_WEAK;
    }
    for (int i = 0; i < p->n_results; i++) *to++ = p->results[i];
    int64_t *numbers = to, *words = to + 2 * (int64_t)p->n_code;
    char *pool = (char *)(words + p->n_words);
    memcpy(words, p->words, (size_t)p->n_words * sizeof *words);
    memcpy(pool, p->pool, (size_t)p->n_pool);
    for (int k = 0; k < p->n_code; k++)
        CB_TRY(cb_each_op(p->code[k].call, words + p->code[k].words, pool, w, name_op));
    return name_all(w, p, numbers) ? CB_OK : cb_fail(CB_ERR_MEMORY, "program: expected memory to write it.");
}

cb_tensor *cb_program_encode(const cb_program *p, int n_captured, char **names) {
    *names = NULL;
    if (!p || p->failed || p->loaded || n_captured < 0 || n_captured > p->n_in)
        return cb_fail_null(CB_ERR_VALUE, "program: expected a recorded program and its captured inputs.");
    for (int i = 0; i < p->n_in; i++)
        if (!cb_is_contiguous(p->known[i]))
            return cb_fail_null(CB_ERR_VALUE, "program: expected contiguous inputs. Record it on such.");
    for (int k = 0; k < p->n_code; k++)
        if (cb_is_host(p->code[k].call))
            return cb_fail_null(CB_ERR_UNSUPPORTED,
                                "program: expected functions of this library only, got one of the host's.");
    int64_t n = 8 + 2 * ((int64_t)p->n_constants + n_captured) + p->n_results + 2 * (int64_t)p->n_code +
                p->n_words + p->n_pool / 8;
    for (int i = 0; i < p->n_in - n_captured; i++) n += 3 + p->known[i]->ndim;
    cb_tensor *made = cb_empty(CB_I64, CB_CPU, 1, &n);
    if (!made) return NULL;
    writer w = {.number = malloc((size_t)cb_call_count * sizeof(int))};
    say(&w, "", "");
    int status = w.number && !w.failed ? put_all(&w, p, n_captured, made->data) : CB_ERR_MEMORY;
    free(w.number);
    free(w.ops);
    if (status) {
        free(w.text);
        cb_release(made);
        return NULL;
    }
    *names = w.text;
    return made;
}

void cb_text_free(char *text) { free(text); }
int cb_program_constant_count(const cb_program *p) { return p->n_constants; }

cb_tensor *cb_program_constant_value(const cb_program *p, int i) {
    if (i < 0 || i >= p->n_constants)
        return cb_fail_null(CB_ERR_INDEX, "program: expected a constant in [0, %d), got %d.", p->n_constants,
                            i);
    return cb_retain(p->constants[i].value);
}
