/* Sweeps of an elementwise kernel over operands that are not all one run of memory.
 *
 * Rows: the innermost dimension is long; what is contiguous along it is passed as it lies. Blocks: an operand
 * is contiguous along another dimension (x.T + y) and is transposed block by block, so that both sides read
 * and write whole cache lines. Tiles: the innermost dimension is short; operands are gathered across rows,
 * and one that repeats every few items is gathered once. Pieces depend on shapes and strides only. */
#include "stream.h"
#include "sweep.h"
#include "vmath.h"

enum { LONG = 128, SHORT = 16, BLOCK_COLUMNS = 128, BLOCK_BYTES = 128, ACROSS = 8 * BLOCK_COLUMNS };
enum { AHEAD = 4096 }; /* bytes of rows */

typedef union tile {
    char bytes[CB_TILE * 16];
    double align[2];
} __attribute__((aligned(64))) tile;

static int size_of(int dtype) { return cb_dtypes[dtype].size; }

static void cast(int from, int to, int64_t n, void *out, const void *x) {
    CB_FN(cast_table)[from][to](n, out, x);
}

/* does the kernel write the result where it lies? */
static bool writes_through(const cb_sweep *w) {
    const cb_operand *out = &w->operand[0];
    return !w->stream && out->from == out->to && w->space.strides[0][w->space.ndim - 1] == 1;
}

/* n items of the result, `stride` apart, computed in `made`, which holds two tiles */
static void compute(const cb_sweep *w, int64_t n, char *target, int64_t stride, const void *const *in,
                    tile *made) {
    const cb_operand *out = &w->operand[0];
    int size = size_of(out->from);
    const void *result = &made[0];
    w->kernel(n, &made[0], in);
    if (out->from != out->to) { /* `to` is what the kernel gives */
        cast(out->to, out->from, n, &made[1], result);
        result = &made[1];
    }
    CB_FN(scatter_run)(size, target, stride, n, result);
}

/* A streamed result is collected in a tile across rows, so that only whole cache lines leave it. */
typedef struct collected {
    tile items;
    int64_t held;
    char *target;
} collected;

static void flush(collected *c, int size) {
    cb_stream(c->target, &c->items, c->held * size);
    c->target += c->held * size;
    c->held = 0;
}

/* ---- rows ---- */

typedef struct cursor {
    int64_t index[CB_MAX_NDIM], offset[CB_MAX_OPERANDS]; /* of the row, in items */
} cursor;

static void find_row(const cb_sweep *w, int64_t row, cursor *at) {
    const cb_space *s = &w->space;
    for (int k = 0; k <= w->nin; k++) at->offset[k] = 0;
    for (int d = s->ndim - 2; d >= 0; d--) {
        at->index[d] = row % s->shape[d];
        row /= s->shape[d];
        for (int k = 0; k <= w->nin; k++) at->offset[k] += at->index[d] * s->strides[k][d];
    }
}

static void next_row(const cb_sweep *w, cursor *at) {
    const cb_space *s = &w->space;
    for (int d = s->ndim - 2; d >= 0; d--) {
        for (int k = 0; k <= w->nin; k++) at->offset[k] += s->strides[k][d];
        if (++at->index[d] < s->shape[d]) return;
        for (int k = 0; k <= w->nin; k++) at->offset[k] -= s->shape[d] * s->strides[k][d];
        at->index[d] = 0;
    }
}

/* Rows of one item, which repeats, and a run of items: for the commonest operations the item goes to the
 * kernel as it is, since writing a row of it costs as much as the operation. */
#define SPREAD(name, T, OP)                                                       \
    static void name##_left_##T(int64_t n, void *out_, const void *const *in) {   \
        T *out = out_, x = *(const T *)in[0];                                     \
        const T *ys = in[1];                                                      \
        _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) out[i] = x OP ys[i]; \
    }                                                                             \
    static void name##_right_##T(int64_t n, void *out_, const void *const *in) {  \
        T *out = out_, y = *(const T *)in[1];                                     \
        const T *xs = in[0];                                                      \
        _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) out[i] = xs[i] OP y; \
    }
/* clang-format off */
#define SPREADS(T) SPREAD(add, T, +) SPREAD(sub, T, -) SPREAD(mul, T, *) SPREAD(div, T, /)
SPREADS(float) SPREADS(double)
#define PAIR(name, T) [CB_BINARY_##name] = {name##_left_##T, name##_right_##T}
#define PAIRS(T) {PAIR(add, T), PAIR(sub, T), PAIR(mul, T), PAIR(div, T)}
static const cb_kernel spread_kernels[2][CB_BINARY_COUNT][2] = {PAIRS(float), PAIRS(double)};
/* clang-format on */

/* A row between two numbers. */
#define CLAMPED(T, M)                                                                      \
    static void clamped_##T(int64_t n, void *out_, const void *const *in) {                \
        T *out = out_, low = *(const T *)in[1], high = *(const T *)in[2];                  \
        const T *xs = in[0];                                                               \
        _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) out[i] = M(xs[i], low, high); \
    }
CLAMPED(float, clamp_f32)
CLAMPED(double, clamp_f64)

static cb_kernel clamp_kernel(const cb_sweep *w) {
    int dtype = w->operand[1].to, last = w->space.ndim - 1;
    if ((dtype != CB_F32 && dtype != CB_F64) || w->space.strides[1][last] != 1) return NULL;
    for (int k = 1; k <= 3; k++)
        if (w->operand[k].from != dtype || (k > 1 && w->space.strides[k][last] != 0)) return NULL;
    if (w->kernel != CB_FN(find_kernel)(CB_FAMILY_TERNARY, CB_TERNARY_clamp, dtype) &&
        w->kernel != CB_FN(find_kernel)(CB_FAMILY_TERNARY, CB_TERNARY_hardtanh, dtype))
        return NULL;
    return dtype == CB_F32 ? clamped_float : clamped_double;
}

/* NULL where rows are of another kind */
static cb_kernel spread_kernel(const cb_sweep *w) {
    const cb_operand *x = &w->operand[1], *y = &w->operand[2];
    if (w->nin == 3) return clamp_kernel(w);
    if (w->op < 0 || (x->to != CB_F32 && x->to != CB_F64) || x->from != x->to || y->from != x->to)
        return NULL;
    int last = w->space.ndim - 1;
    int64_t x_stride = w->space.strides[1][last], y_stride = w->space.strides[2][last];
    if (x_stride + y_stride != 1 || x_stride * y_stride != 0) return NULL;
    return spread_kernels[x->to == CB_F64][w->op][x_stride];
}

/* Rows that the kernel takes as they lie, all at the same distance: short ones cost little else then. Where
 * they leave gaps, what the processor fetches by itself is what lies behind a row: the next are asked for. */
static void run_even_rows(const cb_sweep *w, cb_kernel kernel, int64_t begin, int64_t end) {
    const cb_space *s = &w->space;
    const void *at[CB_MAX_OPERANDS];
    int64_t step[CB_MAX_OPERANDS], back[CB_MAX_OPERANDS], far[CB_MAX_OPERANDS];
    int64_t inner = s->shape[1], skip = begin % inner;
    for (int k = 0; k <= w->nin; k++) {
        int size = size_of(w->operand[k].from);
        int64_t length = inner * s->strides[k][1] * size;
        step[k] = s->strides[k][0] * size;
        back[k] = skip * s->strides[k][1] * size; /* the first row may be a part */
        at[k] = w->operand[k].data + begin / inner * step[k] + back[k];
        far[k] = length && step[k] != length ? AHEAD / length * step[k] : 0;
    }
    for (int64_t i = begin, n; i < end; i += n, skip = 0) {
        n = CB_MIN(end - i, inner - skip);
        for (int k = 1; k <= w->nin; k++)
            for (int64_t b = 0; far[k] && b < n * size_of(w->operand[k].from); b += 64)
                __builtin_prefetch((const char *)at[k] + far[k] + b);
        kernel(n, (void *)at[0], at + 1);
        for (int k = 0; k <= w->nin; k++) {
            at[k] = (const char *)at[k] + step[k] - back[k];
            back[k] = 0;
        }
    }
}

static void run_rows(void *context, int64_t begin, int64_t end) {
    const cb_sweep *w = context;
    const cb_space *s = &w->space;
    tile raw[CB_MAX_OPERANDS - 1], made[CB_MAX_OPERANDS - 1], result[2];
    const void *in[CB_MAX_OPERANDS];
    int last = s->ndim - 1, sizes[CB_MAX_OPERANDS];
    int64_t inner = s->shape[last], at = begin % inner, strides[CB_MAX_OPERANDS];
    int64_t repeated[CB_MAX_OPERANDS],
        filled[CB_MAX_OPERANDS] = {0}; /* offset and length of what a tile holds */
    bool through = writes_through(w), whole = through;
    collected c;
    c.held = 0;
    c.target = w->operand[0].data + begin * size_of(w->operand[0].from);
    for (int k = 0; k <= w->nin; k++) {
        const cb_operand *o = &w->operand[k];
        sizes[k] = size_of(o->from);
        strides[k] = s->strides[k][last];
        if (k) whole &= o->from == o->to && strides[k] == 1;
    }
    cb_kernel spread = through || w->stream ? spread_kernel(w) : NULL, kernel = spread ? spread : w->kernel;
    whole |= spread != NULL;
    if (whole && !w->stream && s->ndim == 2) {
        run_even_rows(w, kernel, begin, end);
        return;
    }
    cursor row;
    find_row(w, begin / inner, &row);
    for (int64_t i = begin; i < end;) {
        int64_t length = CB_MIN(end - i, inner - at), step = whole ? length : CB_TILE;
        for (int64_t done = 0, n; done < length; done += n) {
            n = CB_MIN(step, length - done);
            if (w->stream) n = CB_MIN(n, CB_TILE - c.held);
            for (int k = 1; k <= w->nin; k++) {
                const cb_operand *o = &w->operand[k];
                int64_t offset = row.offset[k] + (at + done) * strides[k];
                const void *source = o->data + offset * sizes[k];
                if (strides[k] == 0 && !spread) { /* one item: its tile serves until the item changes */
                    in[k - 1] = o->from == o->to ? &raw[k - 1] : &made[k - 1];
                    if (filled[k] >= n && repeated[k] == offset) continue;
                    CB_FN(gather_run)(sizes[k], source, 0, n, &raw[k - 1]);
                    if (o->from != o->to) cast(o->from, o->to, n, &made[k - 1], &raw[k - 1]);
                    filled[k] = n;
                    repeated[k] = offset;
                    continue;
                }
                if (strides[k] != 1 && strides[k] != 0) {
                    CB_FN(gather_run)(sizes[k], source, strides[k], n, &raw[k - 1]);
                    source = &raw[k - 1];
                }
                if (o->from != o->to) {
                    cast(o->from, o->to, n, &made[k - 1], source);
                    source = &made[k - 1];
                }
                in[k - 1] = source;
            }
            char *target = w->operand[0].data + (row.offset[0] + (at + done) * strides[0]) * sizes[0];
            if (w->stream) {
                kernel(n, c.items.bytes + c.held * sizes[0], in);
                c.held += n;
                if (c.held == CB_TILE) flush(&c, sizes[0]);
            } else if (through) {
                kernel(n, target, in);
            } else {
                compute(w, n, target, strides[0], in, result);
            }
        }
        i += length;
        at = 0;
        next_row(w, &row);
    }
    if (!w->stream) return;
    flush(&c, sizes[0]);
    cb_stream_end();
}

/* ---- blocks ---- */

typedef struct block {
    int64_t rows, columns, offset[CB_MAX_OPERANDS]; /* items to its first item */
} block;

/* A block of an operand as rows of contiguous items: returns the first and the bytes between them. */
static const char *load_block(const cb_sweep *w, int k, const block *b, tile *raw, tile *made,
                              int64_t *step) {
    const cb_space *s = &w->space;
    const cb_operand *o = &w->operand[k];
    int size = size_of(o->from);
    int64_t stride = s->strides[k][s->ndim - 1], down = s->strides[k][w->turned];
    const char *source = o->data + b->offset[k] * size;
    *step = down * size;
    if (stride == 1 && o->from == o->to) return source;
    int64_t rows = down == 0 ? 1 : b->rows; /* a row that repeats is made once */
    if (down == 1)
        CB_FN(turn)(size, rows, b->columns, source, stride, raw, b->columns);
    else
        for (int64_t r = 0; r < rows; r++)
            CB_FN(gather_run)(size, source + r * down * size, stride, b->columns,
                              raw->bytes + r * b->columns * size);
    *step = down == 0 ? 0 : b->columns * size_of(o->to);
    if (o->from == o->to) return raw->bytes;
    cast(o->from, o->to, rows * b->columns, made, raw);
    return made->bytes;
}

/* Pieces count stretches of ACROSS columns of one row of blocks. */
static void run_blocks(void *context, int64_t begin, int64_t end) {
    const cb_sweep *w = context;
    const cb_space *s = &w->space;
    tile raw[CB_MAX_OPERANDS - 1], made[CB_MAX_OPERANDS - 1], result[2];
    int last = s->ndim - 1, size = size_of(w->operand[0].from);
    int64_t height = s->shape[w->turned], width = s->shape[last], most = w->period;
    bool through = writes_through(w);
    for (int64_t i = begin; i < end; i++) {
        int64_t rest = i / w->chunks_across, from = i % w->chunks_across * ACROSS,
                to = CB_MIN(width, from + ACROSS), top = rest % w->blocks_down * most;
        rest /= w->blocks_down;
        block b = {.rows = CB_MIN(most, height - top)};
        for (int k = 0; k <= w->nin; k++)
            b.offset[k] = top * s->strides[k][w->turned] + from * s->strides[k][last];
        for (int d = last - 1; d >= 0; d--) {
            if (d == w->turned) continue;
            for (int k = 0; k <= w->nin; k++) b.offset[k] += rest % s->shape[d] * s->strides[k][d];
            rest /= s->shape[d];
        }
        for (int64_t c = from; c < to; c += BLOCK_COLUMNS) {
            b.columns = CB_MIN(BLOCK_COLUMNS, to - c);
            const char *rows[CB_MAX_OPERANDS];
            int64_t steps[CB_MAX_OPERANDS], stride = s->strides[0][last];
            for (int k = 1; k <= w->nin; k++)
                rows[k] = load_block(w, k, &b, &raw[k - 1], &made[k - 1], &steps[k]);
            for (int64_t r = 0; r < b.rows; r++) {
                const void *in[CB_MAX_OPERANDS];
                for (int k = 1; k <= w->nin; k++) in[k - 1] = rows[k] + r * steps[k];
                char *target = w->operand[0].data + (b.offset[0] + r * s->strides[0][w->turned]) * size;
                if (through)
                    w->kernel(b.columns, target, in);
                else
                    compute(w, b.columns, target, stride, in, result);
            }
            for (int k = 0; k <= w->nin; k++) b.offset[k] += BLOCK_COLUMNS * s->strides[k][last];
        }
    }
}

/* ---- tiles ---- */

/* Items after which operand k repeats, if that is within half a tile; else 0. */
static int64_t period_of(const cb_space *s, int k) {
    int64_t period = 1;
    for (int d = s->ndim - 1; d >= 0; d--) {
        bool repeats = true;
        for (int e = d; e >= 0; e--) repeats &= s->strides[k][e] == 0;
        if (repeats) return period;
        period *= s->shape[d];
        if (period > CB_TILE / 2) return 0;
    }
    return 0;
}

static void run_tiles(void *context, int64_t begin, int64_t end) {
    const cb_sweep *w = context;
    const cb_space *s = &w->space;
    tile raw[CB_MAX_OPERANDS - 1], made[CB_MAX_OPERANDS - 1], result[2];
    const void *in[CB_MAX_OPERANDS];
    bool repeats[CB_MAX_OPERANDS];
    int64_t step = CB_TILE / w->period * w->period;
    const cb_operand *out = &w->operand[0];
    int size = size_of(out->from);
    for (int k = 1; k <= w->nin; k++) {
        repeats[k] = period_of(s, k) > 0;
        if (repeats[k])
            in[k - 1] = CB_FN(load)(s, k, &w->operand[k], begin, CB_MIN(step, end - begin), &raw[k - 1],
                                    &made[k - 1]);
    }
    for (int64_t i = begin; i < end; i += step) {
        int64_t n = CB_MIN(step, end - i);
        for (int k = 1; k <= w->nin; k++)
            if (!repeats[k]) in[k - 1] = CB_FN(load)(s, k, &w->operand[k], i, n, &raw[k - 1], &made[k - 1]);
        char *target = out->data + i * size;
        if (w->stream) {
            w->kernel(n, &result[0], in);
            cb_stream(target, &result[0], n * size);
        } else if (out->direct && out->from == out->to) {
            w->kernel(n, target, in);
        } else if (out->direct) {
            compute(w, n, target, 1, in, result);
        } else {
            w->kernel(n, &result[0], in);
            const void *made_as = &result[0];
            if (out->from != out->to) {
                cast(out->to, out->from, n, &result[1], made_as);
                made_as = &result[1];
            }
            CB_FN(scatter)(s, 0, size, out->data, i, n, made_as);
        }
    }
    if (w->stream) cb_stream_end();
}

/* Does an operand leave out items between those it has? Reads that stop and start again are slow enough
 * without stores that memory has to take at once. */
static bool has_gaps(const cb_space *s, int k) {
    const int64_t *stride = s->strides[k];
    int last = s->ndim - 1;
    bool gaps = stride[last] < 0 || stride[last] > 1;
    for (int d = 0; d < last; d++)
        gaps |= stride[d] != 0 && stride[d + 1] != 0 && stride[d] != stride[d + 1] * s->shape[d + 1];
    return gaps;
}

void CB_FN(sweep)(cb_sweep *w, int64_t grain) {
    cb_space *s = &w->space;
    int last = s->ndim - 1, most = 1;
    w->turned = -1;
    for (int k = 1; k <= w->nin; k++) {
        if (w->turned < 0) w->turned = CB_FN(space_turned)(s, k);
        most = CB_MAX(most, CB_MAX(size_of(w->operand[k].from), size_of(w->operand[k].to)));
    }
    if (w->turned >= 0) {
        w->stream = false; /* rows of blocks are too short for it */
        w->period = CB_MIN(BLOCK_BYTES / most, 64);
        w->blocks_down = (s->shape[w->turned] + w->period - 1) / w->period;
        w->chunks_across = (s->shape[last] + ACROSS - 1) / ACROSS;
        int64_t outer = s->numel / (s->shape[w->turned] * s->shape[last]),
                pieces = w->blocks_down * w->chunks_across;
        int64_t items = s->numel / (outer * pieces);
        cb_parallel(outer * pieces, CB_MAX(1, grain / CB_MAX(items, 1)), run_blocks, w);
        return;
    }
    w->stream &= w->operand[0].direct && w->operand[0].from == w->operand[0].to;
    bool plain = true; /* rows that are passed as they lie may be shorter */
    w->period = 1;
    for (int k = 0; k <= w->nin; k++) {
        plain &= s->strides[k][last] == 1 && w->operand[k].from == w->operand[k].to;
        if (k) w->period = CB_MAX(w->period, period_of(s, k));
        w->stream &= !has_gaps(s, k);
    }
    if (s->ndim == 1 || s->shape[last] >= (plain && w->period == 1 ? SHORT : LONG)) {
        cb_parallel(s->numel, grain, run_rows, w);
        return;
    }
    int64_t lines = w->period; /* tiles that end at the ends of cache lines */
    while (lines * size_of(w->operand[0].from) % 64 && lines <= CB_TILE / 2) lines *= 2;
    w->period = lines;
    cb_parallel(s->numel, (grain + w->period - 1) / w->period * w->period, run_tiles, w);
}
