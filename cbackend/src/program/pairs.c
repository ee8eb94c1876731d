/* Pairs of instructions: see pairs.h. */
#include "pairs.h"
#include "../reduce.h"

/* The call that can take a tensor tile by tile, and where among its words that tensor stands. */
static cb_pair reader(const char *call) {
    return !strcmp(call, "cb_reduce")    ? CB_PAIR_REDUCE
           : !strcmp(call, "cb_softmax") ? CB_PAIR_SOFTMAX
                                         : CB_ALONE;
}

static const int fed_word[] = {[CB_PAIR_REDUCE] = 1, [CB_PAIR_SOFTMAX] = 0};

/* How instruction d takes a result of instruction c. */
static cb_pair pair(const cb_program *p, const cb_instruction *c, const cb_instruction *d) {
    cb_pair how = reader(cb_call_names[d->call]);
    if (!how || !c->steps || cb_is_sets(c->call)) return CB_ALONE;
    int64_t x = p->words[d->words + fed_word[how]].i;
    return x >= c->out && x < c->out + c->nout ? how : CB_ALONE;
}

void cb_program_pair(cb_program *p) {
    for (int k = 0; k + 1 < p->n_code; k++) p->code[k].feeds = pair(p, &p->code[k], &p->code[k + 1]);
}

int cb_program_pairs(const cb_program *p) {
    int count = 0;
    for (int k = 0; k < p->n_code; k++) count += p->code[k].feeds != CB_ALONE;
    return count;
}

/* The operands of fused steps. */
static void load(const cb_program *p, const cb_instruction *c, cb_tensor **slots, cb_tensor **xs) {
    const cb_word *a = p->words + c->words;
    const int64_t *at = (const int64_t *)(p->pool + a[1].i);
    for (int i = 0; i < c->steps->nin; i++) xs[i] = at[i] < 0 ? NULL : slots[at[i]];
}

static bool dies(const cb_program *p, const cb_instruction *c, int64_t slot) {
    for (int i = 0; i < c->ndead; i++)
        if (p->dead[c->dead + i] == slot) return true;
    return false;
}

typedef struct reading {
    const cb_program *p;
    const cb_instruction *d;
    cb_pair how;
    cb_tensor **out;
} reading;

static int reduce_or_softmax(void *context, const cb_fused_call *made, cb_tensor *x) {
    const reading *r = context;
    const cb_word *a = r->p->words + r->d->words;
    if (r->how == CB_PAIR_SOFTMAX) return cb_softmax_made(made, x, a[1].i, (int)a[2].i, (int)a[3].i, r->out);
    const int64_t *dims = a[3].i < 0 ? NULL : (const int64_t *)(r->p->pool + a[3].i);
    return cb_reduce_made(made, (int)a[0].i, x, (int)a[2].i, dims, (int)a[4].i, (int)a[5].i, r->out);
}

int cb_program_feed(const cb_program *p, int k, cb_tensor **slots, bool *ran) {
    const cb_instruction *c = &p->code[k], *d = c + 1;
    const cb_fused_steps *f = c->steps;
    const cb_word *a = p->words + c->words;
    int64_t slot = p->words[d->words + fed_word[c->feeds]].i;
    cb_tensor *xs[CB_FUSED_TENSORS];
    load(p, c, slots, xs);
    *ran = false;
    if (cb_any_null(f->nin, xs)) return CB_OK; /* the call itself complains */
    reading r = {p, d, c->feeds, slots + d->out};
    int status = cb_fused_read(f, xs, a[6].u, a[7].u, slots + c->out, (int)(slot - c->out), !dies(p, d, slot),
                               reduce_or_softmax, &r);
    *ran = !status;
    return status == CB_ERR_UNSUPPORTED ? CB_OK : status;
}
