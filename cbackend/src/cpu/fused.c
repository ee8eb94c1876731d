/* Fused elementwise steps: all of them run on one tile of a thousand items before the next tile is touched,
 * so what passes between steps never leaves the L1 cache. */
#include "cpu.h"

typedef struct sweep {
    const cb_fused_steps *f;
    cb_space space; /* results first, then operands */
    cb_operand operand[CB_FUSED_TENSORS];
    bool number[CB_FUSED_TENSORS]; /* the same item everywhere: its tile is made once */
    cb_kernel kernel[CB_FUSED_STEPS];
    int64_t tile, room; /* items and bytes of a tile */
} sweep;

static int64_t max_size(const cb_fused_steps *f, cb_tensor *const *xs) {
    int64_t size = 4;
    for (int k = 0; k < f->nin; k++) size = CB_MAX(size, CB_MAX(xs[k]->itemsize, cb_dtypes[f->to[k]].size));
    for (int j = 0; j < f->nsteps; j++) size = CB_MAX(size, cb_dtypes[f->step[j].result].size);
    return size;
}

static void run_steps(const sweep *w, int64_t begin, int64_t n, const void *const *operands,
                      char *registers) {
    const cb_fused_steps *f = w->f;
    const void *made[CB_FUSED_STEPS];
    for (int j = 0; j < f->nsteps; j++) {
        const cb_fused_step *s = &f->step[j];
        const void *in[3];
        for (int i = 0; i < s->nin; i++) in[i] = s->in[i] >= 0 ? operands[s->in[i]] : made[-1 - s->in[i]];
        const cb_operand *out = s->out >= 0 ? &w->operand[s->out] : NULL;
        void *to = registers + s->reg * w->room;
        if (out && out->direct) to = out->data + begin * cb_dtypes[s->result].size;
        if (s->family == CB_FAMILY_CAST)
            CB_FN(cast_table)[s->compute][s->result](n, to, in[0]);
        else
            w->kernel[j](n, to, in);
        if (out && !out->direct)
            CB_FN(scatter)(&w->space, s->out, cb_dtypes[s->result].size, out->data, begin, n, to);
        made[j] = to;
    }
}

static void run_tiles(void *context, int64_t begin, int64_t end) {
    const sweep *w = context;
    const cb_fused_steps *f = w->f;
    const cb_space *s = &w->space;
    int64_t inner = s->shape[s->ndim - 1];
    bool rows = s->ndim > 1 && inner >= w->tile / 4; /* tiles stop at row ends: operands stay contiguous */
    int64_t nbytes = (f->nregs + 2 * f->nin) * w->room;
    char *registers = cb_alloc(CB_CPU, nbytes);
    if (!registers) return; /* found by the caller, which allocates as much beforehand */
    char *raw = registers + f->nregs * w->room, *cast = raw + f->nin * w->room;
    const void *in[CB_FUSED_TENSORS];
    for (int k = 0; k < f->nin; k++)
        if (w->number[k])
            in[k] = CB_FN(load)(s, f->nout + k, &w->operand[f->nout + k], begin, CB_MIN(w->tile, end - begin),
                                raw + k * w->room, cast + k * w->room);
    for (int64_t i = begin; i < end;) {
        int64_t n = CB_MIN(w->tile, end - i);
        if (rows) n = CB_MIN(n, inner - i % inner);
        for (int k = 0; k < f->nin; k++)
            if (!w->number[k])
                in[k] = CB_FN(load)(s, f->nout + k, &w->operand[f->nout + k], i, n, raw + k * w->room,
                                    cast + k * w->room);
        run_steps(w, i, n, in, registers);
        i += n;
    }
    cb_free(CB_CPU, registers, nbytes);
}

int CB_FN(fused)(const cb_fused_steps *f, cb_tensor *const *outs, cb_tensor *const *xs) {
    sweep w = {.f = f};
    const cb_tensor *all[CB_FUSED_TENSORS];
    for (int i = 0; i < f->nout; i++) all[i] = outs[i];
    for (int k = 0; k < f->nin; k++) all[f->nout + k] = xs[k];
    int count = f->nout + f->nin;
    CB_FN(space_init)(&w.space, count, all);
    for (int k = 0; k < count; k++) {
        const cb_tensor *x = all[k];
        int to = k < f->nout ? x->dtype : f->to[k - f->nout];
        w.operand[k] = (cb_operand){
            .data = x->data, .from = x->dtype, .to = to, .direct = CB_FN(space_dense)(&w.space, k)};
        if (k >= f->nout) w.number[k - f->nout] = x->numel == 1 && outs[0]->numel > 1;
    }
    for (int j = 0; j < f->nsteps; j++) {
        const cb_fused_step *s = &f->step[j];
        if (s->family == CB_FAMILY_CAST) continue;
        w.kernel[j] = CB_FN(find_kernel)(s->family, s->op, s->compute);
        if (!w.kernel[j])
            return cb_fail(CB_ERR_UNSUPPORTED, "%s: no kernel for %s.", cb_op_info_of(s->family, s->op)->name,
                           cb_dtypes[s->compute].name);
    }
    w.tile = CB_MIN(f->nregs > 6 ? CB_TILE / 2 : CB_TILE, outs[0]->numel);
    w.room = (w.tile * max_size(f, xs) + 63) / 64 * 64;
    int64_t nbytes = (f->nregs + 2 * f->nin) * w.room;
    char *trial = cb_alloc(CB_CPU, nbytes);
    if (!trial) return cb_error_code();
    cb_free(CB_CPU, trial, nbytes);
    cb_parallel(outs[0]->numel, f->costly || f->nsteps > 4 ? 16384 : 65536, run_tiles, &w);
    return CB_OK;
}
