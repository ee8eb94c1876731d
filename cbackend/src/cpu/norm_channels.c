/* Batch and group norm: x [n, c, inner] normalised per channel, or per group of channels of each n.
 *
 * Means and squared deviations, or the gradient's sums, are taken of pieces that lie in L1: blocks of the
 * rows of x [n * c, inner]; where rows are short and statistics per channel, tiles of x [n, c * inner], down
 * the columns. Each gives a pair of numbers, and pairs are joined in order, in double: which piece runs where
 * and when makes no difference. Groups that fit into L2 are done one after the other; else all pieces are
 * read, then all again. (A channel's rows would fit as well, but are often a power of two apart.) */
#include <math.h>

#include "cpu.h"
#include "half.h"
#include "lanes.h"
#include "norm_short.h"

enum { BLOCK = 16384 };               /* bytes of a piece of a row */
enum { COLUMNS = 64, TALL = 64 };     /* of a tile */
enum { NARROW = 64 };                 /* items: shorter rows go by columns */
enum { WORK = 32768, JOINED = 1024 }; /* items, pairs: what is worth a thread */
enum { CACHED = 512 * 1024 };         /* bytes of a group */
enum { FEW = 8 };                     /* groups: too few to be shared out whole */
enum { TOGETHER = 8 };                /* sets that are joined side by side */

#define F float
#define NAME(f) f##_f32
#include "norm_channels_typed.h"
#undef F
#undef NAME
#define F double
#define NAME(f) f##_f64
#include "norm_channels_typed.h"

enum { MEAN, SLOPE, SHIFT, BACK, EACH };

typedef struct task {
    int dtype, compute, size; /* size: of the compute dtype's items */
    bool columns, fixed;
    int64_t n, c, inner, groups;
    int64_t count, members; /* sets of statistics; rows of each */
    int64_t block;          /* items of a piece */
    int64_t length, blocks; /* rows that pairs are taken of, and blocks of each */
    int64_t pieces;         /* blocks of a row of x */
    int64_t outer, stride, run; /* a set's pairs: `run` neighbours, `outer` times */
    int64_t entries, coefficients; /* of a set; of all */
    double eps;
    int64_t nbytes; /* of pairs and all that follows */
    const char *x, *ct; /* ct: NULL unless gradient */
    char *out;
    const void *weight, *bias;
    void *mean, *var;
    double *pairs, *sums; /* sums: of weight and bias, c each */
    void *each[EACH];     /* y = (x - mean) * slope + shift; dx = ct * slope + (x - mean) * back + shift */
} task;

CB_INLINE double get(const task *t, const void *values, int64_t i) {
    return t->compute == CB_F64 ? ((const double *)values)[i] : (double)((const float *)values)[i];
}
CB_INLINE void put(const task *t, void *values, int64_t i, double value) {
    if (t->compute == CB_F64)
        ((double *)values)[i] = value;
    else
        ((float *)values)[i] = (float)value;
}

/* n items in the compute dtype: where they lie, or widened */
CB_INLINE const void *load(const task *t, const char *data, int64_t at, int64_t n, void *scratch) {
    const char *items = data + at * cb_dtypes[t->dtype].size;
    if (t->compute == t->dtype) return items;
    if (t->dtype == CB_BF16 && n <= SHORT) /* a call costs as much */
        for (int64_t i = 0; i < n; i++)
            ((float *)scratch)[i] = bfloat_to_float(((const cb_bfloat *)(const void *)items)[i]);
    else
        CB_FN(cast_table)[t->dtype][t->compute](n, scratch, items);
    return scratch;
}

typedef struct room {
    char x[BLOCK] __attribute__((aligned(64))), ct[BLOCK];
} room;

/* where a piece lies: rows of `length` items, in pieces of a block. Kept while pieces go by, as divisions
 * cost as much as short rows. */
typedef struct place {
    int64_t length, row, from, set; /* set: whose coefficients the row has, counted up to `sets` */
    int64_t sets;
} place;

static place place_of(const task *t, int64_t length, int64_t piece, int64_t sets) {
    int64_t pieces = CB_MAX((length + t->block - 1) / t->block, 1), row = piece / pieces;
    return (place){length, row, piece % pieces * t->block, row % CB_MAX(sets, 1), sets};
}
CB_INLINE void to_next(const task *t, place *p) {
    p->from += t->block;
    if (p->from < p->length) return;
    p->from = 0;
    p->row++;
    if (++p->set == p->sets) p->set = 0;
}

/* ---- pairs ---- */

static void pair_of_block(const task *t, const place *p, double *pair, room *room) {
    int64_t n = CB_MIN(t->block, p->length - p->from), at = p->row * p->length + p->from;
    const void *x = load(t, t->x, at, n, room->x);
    if (!t->ct) {
        t->compute == CB_F64 ? row_moments_f64(n, x, pair) : row_moments_f32(n, x, pair);
        return;
    }
    const void *ct = load(t, t->ct, at, n, room->ct);
    double mean = get(t, t->each[MEAN], p->set);
    t->compute == CB_F64 ? row_sums_f64(n, ct, x, mean, pair) : row_sums_f32(n, ct, x, (float)mean, pair);
}

/* of at most sixteen short rows */
static void pairs_of_short(const task *t, const place *p, int64_t rows, double *pairs, room *room) {
    int64_t n = p->length, at = p->row * n;
    const float *x = load(t, t->x, at, rows * n, room->x);
    float first[SIDE], second[SIDE];
    if (t->ct) {
        const float *ct = load(t, t->ct, at, rows * n, room->ct), *means = t->each[MEAN];
        float middle[SIDE];
        for (int64_t r = 0; r < rows; r++) middle[r] = means[(p->set + r) % p->sets];
        sixteen_sums(SUM, rows, n, ct, NULL, NULL, first);
        sixteen_sums(PRODUCTS, rows, n, x, middle, ct, second);
    } else {
        sixteen_sums(SUM, rows, n, x, NULL, NULL, first);
        for (int r = 0; r < SIDE; r++) first[r] /= (float)n;
        sixteen_sums(SQUARES, rows, n, x, first, NULL, second);
    }
    for (int64_t r = 0; r < rows; r++) {
        pairs[2 * r] = (double)first[r];
        pairs[2 * r + 1] = (double)second[r];
    }
}

/* rows of a tile in the compute dtype, and their distance */
static const void *load_tile(const task *t, const char *data, int64_t at, int64_t rows, int64_t w,
                             char *scratch, int64_t *step) {
    int64_t width = t->c * t->inner;
    *step = t->compute == t->dtype ? width : COLUMNS;
    if (t->compute == t->dtype) return load(t, data, at, w, NULL);
    for (int64_t r = 0; r < rows; r++) load(t, data, at + r * width, w, scratch + r * COLUMNS * t->size);
    return scratch;
}

static void pairs_of_tile(const task *t, int64_t unit, room *room) {
    int64_t width = t->c * t->inner, stripes = (width + COLUMNS - 1) / COLUMNS;
    int64_t chunk = unit / stripes, column = unit % stripes * COLUMNS, step;
    int64_t rows = CB_MIN(TALL, t->n - chunk * TALL), w = CB_MIN(COLUMNS, width - column);
    int64_t at = chunk * TALL * width + column;
    double *pairs = t->pairs + 2 * (chunk * width + column);
    const void *x = load_tile(t, t->x, at, rows, w, room->x, &step);
    if (!t->ct) {
        t->compute == CB_F64 ? column_moments_f64(rows, w, x, step, pairs)
                             : column_moments_f32(rows, w, x, step, pairs);
        return;
    }
    const void *ct = load_tile(t, t->ct, at, rows, w, room->ct, &step),
               *mean = (char *)t->each[MEAN] + column * t->size;
    t->compute == CB_F64 ? column_sums_f64(rows, w, ct, x, step, mean, pairs)
                         : column_sums_f32(rows, w, ct, x, step, mean, pairs);
}

static void take_pairs(void *context, int64_t begin, int64_t end) {
    const task *t = context;
    room room;
    if (t->columns)
        for (int64_t tile = begin; tile < end; tile++) pairs_of_tile(t, tile, &room);
    else if (t->compute == CB_F32 && t->length <= SHORT)
        for (int64_t row = begin; row < end; row += SIDE) {
            place p = place_of(t, t->length, row, t->coefficients);
            pairs_of_short(t, &p, CB_MIN(SIDE, end - row), t->pairs + 2 * row, &room);
        }
    else {
        place p = place_of(t, t->length, begin, t->coefficients);
        for (int64_t piece = begin; piece < end; piece++, to_next(t, &p))
            pair_of_block(t, &p, t->pairs + 2 * piece, &room);
    }
}

/* ---- from pairs to statistics and coefficients ---- */

/* of k sets, side by side: the additions of one wait for each other */
static void join_moments(const task *t, int64_t first, int64_t k) {
    double sum[TOGETHER] = {0}, mean[TOGETHER] = {0}, squares[TOGETHER] = {0};
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t o = 0; o < t->outer; o++) {
            const double *pair = t->pairs + 2 * (o * t->stride + first * t->run);
            int64_t left = t->length, n;
            for (int64_t i = 0; i < t->run; i++, pair += 2, left -= n) {
                n = t->columns ? CB_MIN(TALL, t->n - o * TALL) : CB_MIN(t->block, left);
                double count = (double)n;
                for (int64_t s = 0; s < k; s++) {
                    double value = pair[2 * s * t->run], apart = value - mean[s];
                    if (pass == 0)
                        sum[s] += count * value;
                    else
                        squares[s] += pair[2 * s * t->run + 1] + count * apart * apart;
                }
            }
        }
        for (int64_t s = 0; s < k; s++) mean[s] = sum[s] / (double)(t->members * t->inner);
    }
    for (int64_t s = 0; s < k; s++) {
        put(t, t->mean, first + s, mean[s]);
        put(t, t->var, first + s, squares[s] / (double)(t->members * t->inner));
    }
}

/* what the set's coefficients have in common */
static void join_sums(const task *t, int64_t set, double scale, double *shift, double *back) {
    double plain = 0, scaled = 0, count = (double)(t->members * t->inner);
    for (int64_t o = 0; o < t->outer; o++) {
        const double *pair = t->pairs + 2 * (o * t->stride + set * t->run);
        for (int64_t i = 0; i < t->run; i++, pair += 2) {
            double weight = t->groups ? get(t, t->weight, (set * t->members + i / t->blocks) % t->c) : 1;
            plain += weight * pair[0];
            scaled += weight * pair[1];
        }
    }
    if (!t->groups) {
        t->sums[set] = t->outer ? scale * scaled : 0;
        t->sums[t->c + set] = plain;
        plain *= get(t, t->weight, set);
        scaled *= get(t, t->weight, set);
    }
    *shift = t->fixed ? 0 : -scale * plain / count;
    *back = t->fixed ? 0 : -scale * scale * scale * scaled / count;
}

static void join(void *context, int64_t begin, int64_t end) {
    const task *t = context;
    for (int64_t set = begin; set < end && !t->ct && !t->fixed; set += TOGETHER)
        join_moments(t, set, CB_MIN(TOGETHER, end - set));
    for (int64_t set = begin; set < end; set++) {
        double shift = 0, back = 0;
        double mean = get(t, t->mean, set), scale = 1 / sqrt(get(t, t->var, set) + t->eps);
        if (t->ct) join_sums(t, set, scale, &shift, &back);
        for (int64_t e = 0; e < t->entries; e++) {
            int64_t i = set * t->entries + e, channel = t->groups ? i % t->c : set;
            put(t, t->each[MEAN], i, mean);
            put(t, t->each[SLOPE], i, scale * get(t, t->weight, channel));
            put(t, t->each[SHIFT], i, t->ct ? shift : get(t, t->bias, channel));
            put(t, t->each[BACK], i, back);
        }
    }
}

/* ---- results ---- */

/* n items at `at`, with coefficients from `first`: one for all, or one each */
CB_INLINE void give(const task *t, int64_t at, int64_t n, int64_t first, room *room) {
    bool wide = t->compute == CB_F64, in_place = t->compute == t->dtype, grad = t->ct != NULL;
    char *to = t->out + at * cb_dtypes[t->dtype].size;
    void *y = in_place ? to : room->x;
    const void *x = grad && t->fixed ? NULL : load(t, t->x, at, n, room->x),
               *ct = grad ? load(t, t->ct, at, n, room->ct) : NULL, *each[EACH];
    double m = 0, a = 0, s = 0, b = 0;
    for (int k = 0; k < EACH; k++) each[k] = (const char *)t->each[k] + first * t->size;
    if (!t->columns) {
        m = get(t, each[MEAN], 0), a = get(t, each[SLOPE], 0);
        s = get(t, each[SHIFT], 0), b = get(t, each[BACK], 0);
    }
    if (wide && t->columns) {
        !grad ? scale_columns_f64(n, x, (const double *const *)each, y)
        : x   ? grad_columns_f64(n, ct, x, (const double *const *)each, y)
              : multiply_columns_f64(n, ct, each[SLOPE], y);
    } else if (wide) {
        !grad ? scale_row_f64(n, x, m, a, s, y)
        : x   ? grad_row_f64(n, ct, x, m, a, b, s, y)
              : multiply_row_f64(n, ct, a, y);
    } else if (t->columns) {
        !grad ? scale_columns_f32(n, x, (const float *const *)each, y)
        : x   ? grad_columns_f32(n, ct, x, (const float *const *)each, y)
              : multiply_columns_f32(n, ct, each[SLOPE], y);
    } else {
        !grad ? scale_row_f32(n, x, (float)m, (float)a, (float)s, y)
        : x   ? grad_row_f32(n, ct, x, (float)m, (float)a, (float)b, (float)s, y)
              : multiply_row_f32(n, ct, (float)a, y);
    }
    if (t->dtype == CB_BF16 && n <= SHORT)
        for (int64_t i = 0; i < n; i++) ((cb_bfloat *)(void *)to)[i] = float_to_bfloat(((float *)y)[i]);
    else if (!in_place)
        CB_FN(cast_table)[t->compute][t->dtype](n, to, y);
}

/* pieces of rows of x, [n * c, inner], or of columns [n, c * inner] */
static void give_results(void *context, int64_t begin, int64_t end) {
    const task *t = context;
    room room;
    place p = place_of(t, t->columns ? t->c * t->inner : t->inner, begin, t->coefficients);
    for (int64_t piece = begin; piece < end; piece++, to_next(t, &p))
        give(t, p.row * p.length + p.from, CB_MIN(t->block, p.length - p.from), t->columns ? p.from : p.set,
             &room);
}

/* pairs and results of one group after the other */
static void whole_groups(void *context, int64_t begin, int64_t end) {
    const task *t = context;
    int64_t pieces = t->members * t->pieces;
    for (int64_t set = begin; set < end; set++) {
        take_pairs(context, set * t->run, (set + 1) * t->run);
        join(context, set, set + 1);
        give_results(context, set * pieces, (set + 1) * pieces);
    }
}

/* ---- the whole ---- */

static void lay_out(task *t, const cb_tensor *x, int64_t groups) {
    t->dtype = x->dtype, t->compute = cb_compute_dtype(x->dtype), t->size = cb_dtypes[t->compute].size;
    t->n = x->shape[0], t->c = x->shape[1], t->groups = groups, t->x = x->data;
    t->inner = cb_numel_of(x->ndim - 2, x->shape + 2);
    t->block = BLOCK / t->size;
    t->columns = !groups && t->inner < NARROW;
    t->count = groups ? t->n * groups : t->c;
    t->members = groups ? t->c / groups : t->n;
    t->length = groups && !t->ct ? t->members * t->inner : t->inner;
    t->blocks = (t->length + t->block - 1) / t->block;
    t->pieces = ((t->columns ? t->c * t->inner : t->inner) + t->block - 1) / t->block;
    t->entries = groups ? t->members : t->columns ? t->inner : 1;
    t->coefficients = t->count * t->entries;
    t->outer = groups ? 1 : t->columns ? (t->n + TALL - 1) / TALL : t->n;
    t->run = t->columns ? t->inner : groups && t->ct ? t->members * t->blocks : t->blocks;
    t->stride = t->columns ? t->c * t->inner : t->c * t->blocks;
}

static int work(task *t) {
    int64_t width = t->c * t->inner, set = t->members * t->inner;
    int64_t pairs = 2 * t->outer * (t->columns ? width : t->count * t->run);
    t->nbytes = (pairs + 2 * t->c + EACH * t->coefficients) * (int64_t)sizeof(double);
    t->pairs = cb_alloc(CB_CPU, t->nbytes);
    if (!t->pairs) return cb_error_code();
    t->sums = t->pairs + pairs;
    for (int k = 0; k < EACH; k++) t->each[k] = t->sums + 2 * t->c + k * t->coefficients;
    memset(t->sums, 0, (size_t)t->c * 2 * sizeof(double));
    for (int64_t i = 0; t->ct && i < t->coefficients; i++)
        put(t, t->each[MEAN], i, get(t, t->mean, i / t->entries));
    int64_t rows = t->columns ? t->n : t->n * t->c, piece = CB_MIN(t->block, t->columns ? width : t->inner);
    bool pass_once = t->fixed && !t->ct; /* y needs no pairs */
    if (t->groups && t->count >= FEW && set * cb_dtypes[t->dtype].size * (t->ct ? 2 : 1) <= CACHED) {
        cb_parallel(t->count, CB_MAX(1, WORK / CB_MAX(set, 1)), whole_groups, t);
    } else {
        if (t->columns)
            cb_parallel(pass_once ? 0 : t->outer * ((width + COLUMNS - 1) / COLUMNS), WORK / (TALL * COLUMNS),
                        take_pairs, t);
        else
            cb_parallel(pass_once ? 0 : pairs / 2, CB_MAX(1, WORK / CB_MAX(CB_MIN(t->block, t->length), 1)),
                        take_pairs, t);
        cb_parallel(t->count, CB_MAX(1, JOINED / CB_MAX(t->outer * t->run, 1)), join, t);
        cb_parallel(rows * t->pieces, CB_MAX(1, WORK / CB_MAX(piece, 1)), give_results, t);
    }
    return CB_OK;
}

int CB_FN(channel_norm)(const cb_tensor *x, int64_t groups, const cb_tensor *weight, const cb_tensor *bias,
                        double eps, int fixed, cb_tensor *const *out) {
    task t = {.eps = eps, .fixed = fixed, .weight = weight->data, .bias = bias->data, .out = out[0]->data};
    t.mean = out[1]->data;
    t.var = out[2]->data;
    lay_out(&t, x, groups);
    CB_TRY(work(&t));
    cb_free(CB_CPU, t.pairs, t.nbytes);
    return CB_OK;
}

int CB_FN(channel_norm_grad)(const cb_tensor *ct, const cb_tensor *x, const cb_tensor *mean,
                             const cb_tensor *var, const cb_tensor *weight, int64_t groups, double eps,
                             int fixed, cb_tensor *const *out) {
    task t = {.eps = eps, .fixed = fixed, .weight = weight->data, .ct = ct->data, .out = out[0]->data};
    t.mean = mean->data;
    t.var = var->data;
    lay_out(&t, x, groups);
    CB_TRY(work(&t));
    for (int64_t row = 0; groups && row < t.n * t.c; row++) {
        double scale = 1 / sqrt(get(&t, t.var, row / t.members) + eps);
        for (int64_t b = 0; b < t.blocks; b++) {
            const double *pair = t.pairs + 2 * (row * t.blocks + b);
            t.sums[row % t.c] += scale * pair[1];
            t.sums[t.c + row % t.c] += pair[0];
        }
    }
    for (int k = 1; k < 3; k++)
        CB_FN(cast_table)[CB_F64][out[k]->dtype](t.c, out[k]->data, t.sums + (k - 1) * t.c);
    cb_free(CB_CPU, t.pairs, t.nbytes);
    return CB_OK;
}
