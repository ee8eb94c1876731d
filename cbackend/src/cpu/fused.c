/* Fused elementwise steps: all of them run on one tile of a thousand items before the next tile is touched,
 * so what passes between steps never leaves the L1 cache. */
#include "fused.h"

#include <stdlib.h>

static int64_t max_size(const cb_fused_steps *f, cb_tensor *const *xs) {
    int64_t size = 4;
    for (int k = 0; k < f->nin; k++) size = CB_MAX(size, CB_MAX(xs[k]->itemsize, cb_dtypes[f->to[k]].size));
    for (int j = 0; j < f->nsteps; j++) size = CB_MAX(size, cb_dtypes[f->step[j].result].size);
    return size;
}

/* Operands that are not runs of memory. What repeats along the first dimensions is gathered once, for as
 * many items as a tile that begins anywhere in it reads. Where rows are short and do not follow each other,
 * a table says where the items of a few slices lie. */
enum { SHORT_ROW = 16 };

/* After how many items the operand comes again; 0: not, or it is read as it lies. */
static int64_t repeats_after(const cb_sweep *w, int k) {
    const cb_space *s = &w->space;
    int first = 0, last = s->ndim - 1;
    int64_t count = 1;
    if (w->operand[k].direct || (s->strides[k][last] == 1 && s->shape[last] >= w->tile / 4)) return 0;
    while (first < last && s->strides[k][first] == 0) first++;
    if (first == 0) return 0;
    for (int d = first; d <= last; d++) count *= s->shape[d];
    return count <= CB_TILE ? count : 0;
}

/* The table's slices are of dimension *outer; 0: no table. */
static int64_t table_length(const cb_sweep *w, int k, int *outer) {
    const cb_space *s = &w->space;
    int size = cb_dtypes[w->operand[k].from].size, d = s->ndim - 1;
    int64_t slice = 1, reach = 0;
    if (w->operand[k].direct || (size != 4 && size != 8) || s->shape[d] > SHORT_ROW) return 0;
    for (; d >= 0 && slice * s->shape[d] <= CB_TILE / 2; d--) {
        slice *= s->shape[d];
        reach += s->shape[d] * llabs(s->strides[k][d]);
    }
    if (d < 0) return 0;
    int64_t slices = CB_MIN(CB_TILE / slice, s->shape[d]);
    reach += slices * llabs(s->strides[k][d]);
    *outer = d;
    return s->numel >= 8 * CB_TILE && reach <= INT32_MAX ? slice * slices : 0;
}

static void fill_table(const cb_space *s, int k, int64_t length, int32_t *table) {
    int64_t made = 1;
    table[0] = 0;
    for (int d = s->ndim - 1; made < length; d--) {
        int64_t count = CB_MIN(s->shape[d], length / made);
        for (int64_t i = 1; i < count; i++)
            for (int64_t j = 0; j < made; j++)
                table[i * made + j] = table[j] + (int32_t)(i * s->strides[k][d]);
        made *= count;
    }
}

/* As CB_FN(load). */
static const void *pick(const cb_making *m, int input, int64_t begin, int64_t n, char *raw, char *cast) {
    const cb_space *s = &m->w->space;
    const cb_picked *p = &m->picked[input];
    int k = m->w->f->nout + input;
    const cb_operand *o = &m->w->operand[k];
    int64_t size = cb_dtypes[o->from].size, slice = 1;
    for (int d = s->ndim - 1; d > p->outer; d--) slice *= s->shape[d];
    char *to = raw;
    for (int64_t at = begin, run; at < begin + n; at += run, to += run * size) {
        int64_t phase = at % slice, rest = at / slice, offset = 0, left = s->shape[p->outer];
        left = (left - rest % left) * slice;
        run = CB_MIN(begin + n - at, CB_MIN(p->length, left) - phase);
        for (int d = p->outer; d >= 0; d--) {
            offset += rest % s->shape[d] * s->strides[k][d];
            rest /= s->shape[d];
        }
        const char *source = o->data + offset * size;
        const int32_t *table = (const int32_t *)p->data + phase;
        if (size == 4)
            _Pragma("GCC ivdep") for (int64_t i = 0; i < run; i++)((uint32_t *)to)[i] =
                ((const uint32_t *)source)[table[i]];
        else
            _Pragma("GCC ivdep") for (int64_t i = 0; i < run; i++)((uint64_t *)to)[i] =
                ((const uint64_t *)source)[table[i]];
    }
    if (o->from == o->to) return raw;
    CB_FN(cast_table)[o->from][o->to](n, cast, raw);
    return cast;
}

/* Decides how an operand is read, and how many bytes that takes. */
static int64_t plan(cb_sweep *w, int k, cb_picked *p) {
    int64_t tile = CB_MIN(w->tile, w->space.numel);
    p->length = p->turn = 0;
    if (w->number[k - w->f->nout]) return 0;
    p->turn = repeats_after(w, k);
    if (p->turn) {
        p->length = CB_MIN(p->turn + tile, w->space.numel);
        return 2 * (p->length * 16 + 64); /* as it is and cast */
    }
    p->length = table_length(w, k, &p->outer);
    return p->length * (int64_t)sizeof(int32_t) + 64;
}

static char *prepare(cb_sweep *w, int k, cb_picked *p, char *room) {
    const cb_operand *o = &w->operand[k];
    p->data = room;
    if (!p->length) return room;
    if (!p->turn) {
        fill_table(&w->space, k, p->length, (int32_t *)room);
        return room + (p->length * (int64_t)sizeof(int32_t) + 63) / 64 * 64;
    }
    CB_FN(gather)(&w->space, k, cb_dtypes[o->from].size, o->data, 0, p->length, room);
    room += (p->length * cb_dtypes[o->from].size + 63) / 64 * 64;
    if (o->from == o->to) return room;
    CB_FN(cast_table)[o->from][o->to](p->length, room, p->data);
    p->data = room;
    return room + (p->length * cb_dtypes[o->to].size + 63) / 64 * 64;
}

/* A result without memory goes to `landing`. */
static void run_steps(const cb_sweep *w, int64_t begin, int64_t n, const void *const *operands,
                      char *registers, char *landing) {
    const cb_fused_steps *f = w->f;
    const void *made[CB_FUSED_STEPS];
    for (int j = 0; j < f->nsteps; j++) {
        const cb_fused_step *s = &f->step[j];
        const void *in[3];
        for (int i = 0; i < s->nin; i++) in[i] = s->in[i] >= 0 ? operands[s->in[i]] : made[-1 - s->in[i]];
        const cb_operand *out = s->out >= 0 ? &w->operand[s->out] : NULL;
        void *to = registers + s->reg * w->room;
        if (out && !out->data)
            to = landing;
        else if (out && out->direct)
            to = out->data + begin * cb_dtypes[s->result].size;
        if (s->family == CB_FAMILY_CAST)
            CB_FN(cast_table)[s->compute][s->result](n, to, in[0]);
        else
            w->kernel[j](n, to, in);
        if (out && out->data && !out->direct)
            CB_FN(scatter)(&w->space, s->out, cb_dtypes[s->result].size, out->data, begin, n, to);
        made[j] = to;
    }
}

static void ask(const char *at, int64_t nbytes, bool writes) {
    if (writes)
        for (int64_t b = 0; b < nbytes; b += 64) __builtin_prefetch(at + b, 1);
    else
        for (int64_t b = 0; b < nbytes; b += 64) __builtin_prefetch(at + b, 0);
}

/* Asks for the memory of items [begin, begin + n), which the steps before will hide the latency of: runs of
 * memory, and rows of it with gaps between them. */
static void prefetch(const cb_sweep *w, int64_t begin, int64_t n) {
    const cb_space *s = &w->space;
    int count = w->f->nout + w->f->nin;
    for (int k = 0; k < count; k++) {
        const cb_operand *o = &w->operand[k];
        int size = cb_dtypes[o->from].size;
        if (!o->data) continue;
        if (o->direct) {
            ask(o->data + begin * size, n * size, k < w->f->nout);
        } else if (s->ndim == 2 && s->strides[k][1] == 1) {
            int64_t inner = s->shape[1];
            for (int64_t i = begin - begin % inner; i < begin + n; i += inner)
                ask(o->data + i / inner * s->strides[k][0] * size, inner * size, k < w->f->nout);
        }
    }
}

void CB_FN(making_begin)(cb_making *m, cb_sweep *w, int out) {
    const cb_fused_steps *f = w->f;
    m->w = w;
    m->out = out;
    m->size = cb_dtypes[w->operand[out].from].size;
    m->nbytes = (f->nregs + 2 * f->nin) * w->room;
    for (int k = 0; k < f->nin; k++) m->nbytes += plan(w, f->nout + k, &m->picked[k]);
    m->registers = cb_alloc(CB_CPU, m->nbytes);
    if (!m->registers) {
        __atomic_store_n(&w->status, CB_ERR_MEMORY, __ATOMIC_RELAXED);
        return;
    }
    char *raw = m->registers + f->nregs * w->room, *cast = raw + f->nin * w->room;
    char *room = cast + f->nin * w->room;
    for (int k = 0; k < f->nin; k++) room = prepare(w, f->nout + k, &m->picked[k], room);
    for (int k = 0; k < f->nin; k++)
        if (w->number[k])
            m->in[k] = CB_FN(load)(&w->space, f->nout + k, &w->operand[f->nout + k], 0, w->tile,
                                   raw + k * w->room, cast + k * w->room);
}

void CB_FN(making_end)(cb_making *m) {
    if (m->registers) cb_free(CB_CPU, m->registers, m->nbytes);
}

const void *CB_FN(make_items)(cb_making *m, int64_t begin, int64_t n, void *room) {
    const cb_sweep *w = m->w;
    const cb_fused_steps *f = w->f;
    const cb_space *s = &w->space;
    const cb_operand *o = &w->operand[m->out];
    int64_t inner = s->shape[s->ndim - 1];
    bool whole = s->ndim > 1 && inner >= w->tile / 4; /* tiles stop at row ends: operands stay contiguous */
    if (!m->registers) return room;
    char *raw = m->registers + f->nregs * w->room, *cast = raw + f->nin * w->room;
    for (int64_t i = begin, end = begin + n, count; i < end; i += count) {
        count = CB_MIN(w->tile, end - i);
        if (whole) count = CB_MIN(count, inner - i % inner);
        for (int k = 0; k < f->nin; k++) {
            const cb_picked *p = &m->picked[k];
            if (p->turn)
                m->in[k] = p->data + i % p->turn * cb_dtypes[w->operand[f->nout + k].to].size;
            else if (p->length)
                m->in[k] = pick(m, k, i, count, raw + k * w->room, cast + k * w->room);
            else if (!w->number[k])
                m->in[k] = CB_FN(load)(s, f->nout + k, &w->operand[f->nout + k], i, count, raw + k * w->room,
                                       cast + k * w->room);
        }
        if (w->streams && i + count < end)
            prefetch(w, i + count, CB_MIN(whole ? CB_MIN(inner, w->tile) : w->tile, end - i - count));
        run_steps(w, i, count, m->in, m->registers, room ? (char *)room + (i - begin) * m->size : NULL);
    }
    return o->data ? o->data + begin * m->size : room;
}

static void run_stretch(void *context, int64_t begin, int64_t end) {
    cb_making m;
    CB_FN(making_begin)(&m, context, 0);
    CB_FN(make_items)(&m, begin, end - begin, NULL);
    CB_FN(making_end)(&m);
}

/* All sets form one row of items, cut into pieces of a fixed size; each set starts at a multiple of ALIGN. */
enum { ALIGN = 64, LOCAL_SETS = 1 };

typedef struct many {
    cb_sweep *sweeps;
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
        if (at < stop && m->sweeps[s].tile) run_stretch(&m->sweeps[s], at, stop);
    }
}

/* Is operand k the same item everywhere? */
static bool repeats(const cb_space *s, int k) {
    for (int d = 0; d < s->ndim; d++)
        if (s->strides[k][d]) return false;
    return true;
}

/* What all sets share is in w already. */
static void describe(cb_sweep *w, cb_tensor *const *outs, cb_tensor *const *xs) {
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
        if (k >= f->nout) w->number[k - f->nout] = repeats(&w->space, k);
    }
    int64_t tile = f->nregs > 24 ? CB_TILE / 8 : f->nregs > 6 ? CB_TILE / 2 : CB_TILE;
    w->tile = CB_MIN(tile, outs[0]->numel);
    w->streams = outs[0]->numel > 16 * CB_TILE;
    w->room = (w->tile * max_size(f, xs) + 63) / 64 * 64;
    w->status = CB_OK;
}

static int find_kernels(cb_sweep *w) {
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

/* Powers by a number among the operands; of many sets each has its own. */
static void know_exponents(cb_sweep *w, cb_tensor *const *xs) {
    const cb_fused_steps *f = w->f;
    for (int j = 0; j < f->nsteps; j++) {
        const cb_fused_step *s = &f->step[j];
        if (s->family != CB_FAMILY_BINARY || s->op != CB_BINARY_pow || s->in[1] < 0) continue;
        cb_kernel power = CB_FN(power_kernel)(s->compute, xs[s->in[1]]);
        if (power) w->kernel[j] = power;
    }
}

int CB_FN(sweep_open)(cb_sweep *w, const cb_fused_steps *f, cb_tensor *const *outs, cb_tensor *const *xs) {
    w->f = f;
    CB_TRY(find_kernels(w));
    describe(w, outs, xs);
    know_exponents(w, xs);
    return CB_OK;
}

int CB_FN(fused)(const cb_fused_steps *f, int sets, cb_tensor *const *outs, cb_tensor *const *xs) {
    cb_sweep one[LOCAL_SETS], *sweeps = one;
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
    begins[0] = 0;
    for (int s = 0; s < sets; s++) {
        sweeps[s].f = f;
        memcpy(sweeps[s].kernel, one[0].kernel, (size_t)f->nsteps * sizeof(cb_kernel));
        describe(&sweeps[s], outs + s * f->nout, xs + s * f->nin);
        know_exponents(&sweeps[s], xs + s * f->nin);
        begins[s + 1] = begins[s] + (outs[s * f->nout]->numel + ALIGN - 1) / ALIGN * ALIGN;
    }
    many m = {sweeps, begins, sets};
    int64_t grain = f->costly || f->nsteps > 4 ? 16384 : 65536;
    if (sets == 1)
        cb_parallel(outs[0]->numel, grain, run_stretch, sweeps);
    else
        cb_parallel(begins[sets], grain, run_sets, &m);
    int status = CB_OK;
    for (int s = 0; s < sets; s++) status = status ? status : sweeps[s].status;
    if (status) cb_fail(status, "fused: the system has no memory left.");
    if (sweeps != one) {
        cb_free(CB_CPU, begins, begin_bytes);
        cb_free(CB_CPU, sweeps, nbytes);
    }
    return status;
}
