/* Fused elementwise steps: the code is checked as if it came from a stranger (it may come from a file), the
 * result allocated, registers assigned. The sweep itself is in cpu/fused.c. */
#include <stdlib.h>

#include "internal.h"

typedef struct reader {
    const int64_t *code;
    int n, at;
} reader;

static int64_t next(reader *r) { return r->at < r->n ? r->code[r->at++] : INT64_MIN; }

static int bad(const char *what, int64_t got) {
    return cb_fail(CB_ERR_VALUE, "fused: expected %s, got %lld.", what, (long long)got);
}

static bool is_dtype(int64_t d) { return d >= 0 && d < CB_DTYPE_COUNT; }

static int dtype_of(const cb_fused_steps *f, int operand) {
    return operand >= 0 ? f->to[operand] : f->step[-1 - operand].result;
}

/* Does the step read and write what its kernel does? */
static int check_step(const cb_fused_steps *f, const cb_fused_step *s) {
    int wanted = s->compute, made = s->result;
    if (s->family != CB_FAMILY_CAST) {
        const cb_op_info *info = cb_op_info_of(s->family, s->op);
        if (!info) return bad("a known op", s->op);
        bool where = s->family == CB_FAMILY_TERNARY && s->op == CB_TERNARY_where;
        if (where && dtype_of(f, s->in[0]) != CB_BOOL) return bad("a bool condition", dtype_of(f, s->in[0]));
        bool integer = cb_is_integer(s->compute);
        bool divides = s->family == CB_FAMILY_BINARY && integer &&
                       (s->op == CB_BINARY_floor_divide || s->op == CB_BINARY_trunc_divide ||
                        s->op == CB_BINARY_remainder || s->op == CB_BINARY_fmod);
        if (divides || cb_is_16bit_float(s->compute)) return bad("a step that can be fused", s->op);
        if (!where) made = cb_rule_output(info->rule, s->compute);
        for (int i = where; i < s->nin; i++)
            if (dtype_of(f, s->in[i]) != wanted)
                return bad("operands of the step's dtype", dtype_of(f, s->in[i]));
    } else if (dtype_of(f, s->in[0]) != wanted) {
        return bad("an operand of the dtype to cast from", dtype_of(f, s->in[0]));
    }
    return made == s->result ? CB_OK : bad("the dtype the kernel gives", s->result);
}

static int parse(cb_fused_steps *f, int n, reader *r, int nout) {
    if (n < 1 || n + nout > CB_FUSED_TENSORS || nout < 1)
        return bad("1 to 16 operands and results together", n + nout);
    f->nin = n;
    f->nout = nout;
    f->costly = false;
    for (int k = 0; k < n; k++) {
        int64_t d = next(r);
        if (!is_dtype(d)) return bad("a dtype for each operand", d);
        f->to[k] = (int)d;
        f->last_read[k] = -1;
    }
    int64_t nsteps = next(r);
    if (nsteps < 1 || nsteps > CB_FUSED_STEPS) return bad("1 to 192 steps", nsteps);
    f->nsteps = (int)nsteps;
    for (int j = 0; j < f->nsteps; j++) {
        int64_t word[7];
        for (int i = 0; i < 7; i++) word[i] = next(r);
        if (word[0] < 0 || word[0] > CB_FAMILY_CAST) return bad("a family of 0 to 3", word[0]);
        if (!is_dtype(word[2]) || !is_dtype(word[3])) return bad("a dtype", word[2]);
        if (word[1] < 0 || word[1] > INT32_MAX) return bad("a known op", word[1]);
        cb_fused_step *s = &f->step[j];
        *s = (cb_fused_step){.family = (int)word[0],
                             .op = (int)word[1],
                             .compute = (int)word[2],
                             .result = (int)word[3],
                             .reg = -1,
                             .out = -1};
        s->nin = s->family == CB_FAMILY_CAST ? 1 : s->family + 1;
        for (int i = 0; i < s->nin; i++) {
            if (word[4 + i] >= n || word[4 + i] < -j)
                return bad("an earlier step or an operand", word[4 + i]);
            s->in[i] = (int)word[4 + i];
            if (s->in[i] >= 0) f->last_read[s->in[i]] = j;
        }
        CB_TRY(check_step(f, s));
        const cb_op_info *info = s->family == CB_FAMILY_CAST ? NULL : cb_op_info_of(s->family, s->op);
        f->costly |= info && info->rule == CB_RULE_FLOAT;
    }
    for (int i = 0; i < nout; i++) {
        int64_t j = next(r);
        if (j < 0 || j >= nsteps || f->step[j].out >= 0) return bad("another step as a result", j);
        f->step[j].out = i;
    }
    return r->at == r->n ? CB_OK : bad("code of the length it says", r->n);
}

/* Steps that are not results get a register until their last reader has run. */
static int assign_registers(cb_fused_steps *f) {
    int last[CB_FUSED_STEPS];
    for (int j = 0; j < f->nsteps; j++) {
        last[j] = j;
        for (int i = 0; i < f->step[j].nin; i++)
            if (f->step[j].in[i] < 0) last[-1 - f->step[j].in[i]] = j;
    }
    int holder[CB_FUSED_REGISTERS];
    f->nregs = 0;
    for (int j = 0; j < f->nsteps; j++) {
        int reg = 0;
        while (reg < f->nregs && last[holder[reg]] >= j) reg++;
        if (reg == CB_FUSED_REGISTERS) return bad("steps that fit 64 registers", f->nsteps);
        if (reg == f->nregs) f->nregs++;
        f->step[j].reg = reg;
        holder[reg] = j;
    }
    return CB_OK;
}

/* Operand k, whose memory result i is meant for, if it has the result's form and no other operand lies there.
 */
static cb_tensor *written_over(const cb_fused_steps *f, cb_tensor *const *xs, uint64_t into, int i, int j,
                               const cb_tensor *like) {
    for (int k = 0; k < f->nin && into; k++, into >>= 4) {
        cb_tensor *x = xs[k];
        if ((into & 15) != (uint64_t)i + 1 || f->last_read[k] > j || x->dtype != f->step[j].result) continue;
        if (!cb_is_contiguous(x) || !cb_is_contiguous(like) || !cb_same_shape(x, like)) continue;
        if (x->flags & CB_FLAG_READONLY || cb_is_meta(x)) continue;
        return cb_shares_storage(f->nin, xs, k) ? NULL : cb_retain(x);
    }
    return NULL;
}

/* An operand that nobody reads any more gives its memory to a result of its size, if all steps that
 * read it have run by then. */
static cb_tensor *reused(const cb_fused_steps *f, cb_tensor *const *xs, uint64_t *reuse, int j,
                         const cb_tensor *like) {
    for (int k = 0; k < f->nin; k++) {
        cb_tensor *x = xs[k];
        if (!(*reuse >> k & 1) || f->last_read[k] > j || x->dtype != f->step[j].result) continue;
        if (!cb_is_last_use(x) || !cb_is_contiguous(like) || !cb_same_shape(x, like)) continue;
        *reuse &= ~(UINT64_C(1) << k);
        return cb_retain(x);
    }
    return NULL;
}

/* The results of one set of operands; those that are there already stay. */
static int make_results(const cb_fused_steps *f, cb_tensor *const *xs, cb_tensor **out, int device,
                        uint64_t reuse, uint64_t into) {
    int status = CB_OK;
    cb_tensor *like = NULL;
    for (int j = 0; j < f->nsteps && !status; j++) {
        int i = f->step[j].out;
        if (i < 0 || out[i]) continue;
        if (into || reuse) { /* the result's form is the first's, or known once it has been made */
            if (!like) like = cb_elementwise_result("fused", f->step[j].result, CB_META, f->nin, xs);
            if (like) out[i] = written_over(f, xs, into, i, j, like);
            if (like && !out[i]) out[i] = reused(f, xs, &reuse, j, like);
        }
        if (!out[i]) out[i] = cb_elementwise_result("fused", f->step[j].result, device, f->nin, xs);
        if (!out[i]) status = cb_error_code();
    }
    cb_release(like);
    return status;
}

_Thread_local const cb_fused_steps *cb_fused_prepared;

cb_fused_steps *cb_fused_prepare(int n, int ncode, const int64_t *code, int nout) {
    cb_fused_steps *f = malloc(sizeof *f);
    if (!f) return NULL;
    if (!parse(f, n, &(reader){code, ncode, 0}, nout) && !assign_registers(f)) return f;
    free(f);
    return NULL;
}

static int run(int sets, int n, cb_tensor *const *xs, int ncode, const int64_t *code, int nout,
               cb_tensor **out, const int64_t *reuse, const int64_t *into) {
    for (int64_t i = 0; i < (int64_t)sets * nout; i++) out[i] = NULL;
    cb_fused_steps own;
    const cb_fused_steps *f = cb_fused_prepared;
    cb_fused_prepared = NULL;
    if (!f) {
        CB_TRY(parse(&own, n, &(reader){code, ncode, 0}, nout));
        CB_TRY(assign_registers(&own));
        f = &own;
    }
    int device = cb_common_device("fused", sets * n, xs);
    if (device < 0) return cb_error_code();
    int status = CB_OK;
    for (int s = 0; s < sets && !status; s++)
        status = make_results(f, xs + s * n, out + s * nout, device, reuse ? (uint64_t)reuse[s] : 0,
                              into ? (uint64_t)into[s] : 0);
    if (!status && !cb_is_meta(out[0])) status = cb_backend_of(out[0])->fused(f, sets, out, xs);
    for (int i = 0; i < sets * nout && status; i++) {
        cb_release(out[i]);
        out[i] = NULL;
    }
    return status;
}

int cb_fused_results(const cb_fused_steps *f, cb_tensor *const *xs, uint64_t reuse, uint64_t into,
                     cb_tensor **out) {
    cb_tensor *given[CB_FUSED_TENSORS];
    memcpy(given, out, (size_t)f->nout * sizeof *given);
    int device = cb_common_device("fused", f->nin, xs);
    if (device >= 0 && !make_results(f, xs, out, device, reuse, into)) return CB_OK;
    for (int i = 0; i < f->nout; i++) {
        if (!given[i]) cb_release(out[i]);
        out[i] = given[i];
    }
    return cb_error_code();
}

int cb_fused_read(const cb_fused_steps *f, cb_tensor *const *xs, uint64_t reuse, uint64_t into,
                  cb_tensor **out, int which, bool kept, cb_made_reader read, void *context) {
    int dtype = 0, device = cb_common_device("fused", f->nin, xs);
    for (int j = 0; j < f->nsteps; j++)
        if (f->step[j].out == which) dtype = f->step[j].result;
    cb_tensor *form = device < 0 ? NULL : cb_elementwise_result("fused", dtype, CB_META, f->nin, xs);
    if (!form) return cb_error_code();
    int status = CB_ERR_UNSUPPORTED;
    if (device == CB_CPU && cb_is_contiguous(form)) {
        cb_tensor bare = *form; /* what nobody keeps gets no memory */
        bare.device = device;
        if (!kept) out[which] = &bare;
        status = cb_fused_results(f, xs, reuse, into, out);
        bool made = !status;
        if (made) status = read(context, &(cb_fused_call){f, xs, out, which}, out[which]);
        if (!kept) out[which] = NULL;
        for (int i = 0; i < f->nout && made && status; i++) {
            cb_release(out[i]);
            out[i] = NULL;
        }
    }
    cb_release(form);
    if (status == CB_ERR_MEMORY)
        cb_fail(status, "fused: expected memory for its tiles, the system has none.");
    return status;
}

int cb_fused(int n, cb_tensor *const *xs, int ncode, const int64_t *code, int nout, cb_tensor **out,
             uint64_t reuse, uint64_t into) {
    if (cb_any_null(n, xs)) return cb_fail(CB_ERR_NULL, "fused: no tensor");
    int64_t words[2] = {(int64_t)reuse, (int64_t)into};
    return run(1, n, xs, ncode, code, nout, out, &words[0], &words[1]);
}

int cb_fused_sets(int n, cb_tensor *const *xs, int ncode, const int64_t *code, int nout, cb_tensor **out,
                  int n2, const int64_t *reuse, const int64_t *into) {
    if (cb_any_null(n, xs)) return cb_fail(CB_ERR_NULL, "fused: no tensor");
    if (n2 < 1 || n % n2 || nout % n2) return bad("equal sets of operands and of results", n2);
    return run(n2, n / n2, xs, ncode, code, nout / n2, out, reuse, into);
}
