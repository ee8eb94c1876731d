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
    bool streams;       /* more than the caches near a core hold: tiles are asked for ahead */
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

/* Asks for the memory of items [begin, begin + n), which the steps before will hide the latency of. */
static void prefetch(const sweep *w, int64_t begin, int64_t n) {
    int count = w->f->nout + w->f->nin;
    for (int k = 0; k < count; k++) {
        const cb_operand *o = &w->operand[k];
        if (!o->direct) continue;
        int size = cb_dtypes[o->from].size;
        const char *at = o->data + begin * size;
        if (k < w->f->nout)
            for (int64_t b = 0; b < n * size; b += 64) __builtin_prefetch(at + b, 1);
        else
            for (int64_t b = 0; b < n * size; b += 64) __builtin_prefetch(at + b, 0);
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
        if (w->streams && i + n < end) prefetch(w, i + n, CB_MIN(w->tile, end - i - n));
        run_steps(w, i, n, in, registers);
        i += n;
    }
    cb_free(CB_CPU, registers, nbytes);
}

/* All sets form one row of items, cut into pieces of a fixed size; each set starts at a multiple of ALIGN. */
enum { ALIGN = 64, LOCAL_SETS = 1 };

typedef struct many {
    const sweep *sweeps;
    const int64_t *starts;
    int sets;
} many;

static void run_sets(void *context, int64_t begin, int64_t end) {
    const many *m = context;
    int low = 0, high = m->sets; /* the last set that starts at or before begin */
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        if (m->starts[middle] <= begin)
            low = middle;
        else
            high = middle;
    }
    for (int s = low; s < m->sets && m->starts[s] < end; s++) {
        int64_t at = CB_MAX(begin - m->starts[s], 0),
                stop = CB_MIN(end - m->starts[s], m->sweeps[s].space.numel);
        if (at < stop && m->sweeps[s].tile) run_tiles((void *)&m->sweeps[s], at, stop);
    }
}

/* What all sets share is in w already. */
static void describe(sweep *w, cb_tensor *const *outs, cb_tensor *const *xs) {
    const cb_fused_steps *f = w->f;
    const cb_tensor *all[CB_FUSED_TENSORS];
    for (int i = 0; i < f->nout; i++) all[i] = outs[i];
    for (int k = 0; k < f->nin; k++) all[f->nout + k] = xs[k];
    int count = f->nout + f->nin;
    CB_FN(space_init)(&w->space, count, all);
    for (int k = 0; k < count; k++) {
        const cb_tensor *x = all[k];
        int to = k < f->nout ? x->dtype : f->to[k - f->nout];
        w->operand[k] = (cb_operand){
            .data = x->data, .from = x->dtype, .to = to, .direct = CB_FN(space_dense)(&w->space, k)};
        if (k >= f->nout) w->number[k - f->nout] = x->numel == 1 && outs[0]->numel > 1;
    }
    int64_t tile = f->nregs > 24 ? CB_TILE / 8 : f->nregs > 6 ? CB_TILE / 2 : CB_TILE;
    w->tile = CB_MIN(tile, outs[0]->numel);
    w->streams = outs[0]->numel > 16 * CB_TILE;
    w->room = (w->tile * max_size(f, xs) + 63) / 64 * 64;
}

static int find_kernels(sweep *w) {
    const cb_fused_steps *f = w->f;
    for (int j = 0; j < f->nsteps; j++) {
        const cb_fused_step *s = &f->step[j];
        if (s->family == CB_FAMILY_CAST) continue;
        w->kernel[j] = CB_FN(find_kernel)(s->family, s->op, s->compute);
        if (!w->kernel[j])
            return cb_fail(CB_ERR_UNSUPPORTED, "%s: no kernel for %s.", cb_op_info_of(s->family, s->op)->name,
                           cb_dtypes[s->compute].name);
    }
    return CB_OK;
}

int CB_FN(fused)(const cb_fused_steps *f, int sets, cb_tensor *const *outs, cb_tensor *const *xs) {
    sweep one[LOCAL_SETS], *sweeps = one;
    int64_t starts[LOCAL_SETS + 1], *begins = starts;
    int64_t nbytes = sets * (int64_t)sizeof *sweeps, begin_bytes = (sets + 1) * (int64_t)sizeof *begins;
    one[0].f = f;
    CB_TRY(find_kernels(&one[0]));
    if (sets > LOCAL_SETS) {
        sweeps = cb_alloc(CB_CPU, nbytes);
        begins = sweeps ? cb_alloc(CB_CPU, begin_bytes) : NULL;
        if (!begins) {
            if (sweeps) cb_free(CB_CPU, sweeps, nbytes);
            return cb_error_code();
        }
    }
    int64_t room = 0;
    begins[0] = 0;
    for (int s = 0; s < sets; s++) {
        sweeps[s].f = f;
        memcpy(sweeps[s].kernel, one[0].kernel, (size_t)f->nsteps * sizeof(cb_kernel));
        describe(&sweeps[s], outs + s * f->nout, xs + s * f->nin);
        room = CB_MAX(room, sweeps[s].room);
        begins[s + 1] = begins[s] + (outs[s * f->nout]->numel + ALIGN - 1) / ALIGN * ALIGN;
    }
    int64_t scratch = (f->nregs + 2 * f->nin) * room;
    char *trial = scratch ? cb_alloc(CB_CPU, scratch) : NULL;
    int status = trial || !scratch ? CB_OK : cb_error_code();
    if (trial) {
        cb_free(CB_CPU, trial, scratch);
        many m = {sweeps, begins, sets};
        int64_t grain = f->costly || f->nsteps > 4 ? 16384 : 65536;
        if (sets == 1)
            cb_parallel(outs[0]->numel, grain, run_tiles, sweeps);
        else
            cb_parallel(begins[sets], grain, run_sets, &m);
    }
    if (sweeps != one) {
        cb_free(CB_CPU, begins, begin_bytes);
        cb_free(CB_CPU, sweeps, nbytes);
    }
    return status;
}
