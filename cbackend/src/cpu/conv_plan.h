/* The geometry of a convolution or of its input gradient, turned into correlations with stride 1.
 *
 * The input is copied once into padded planes. With a stride, each phase of it (positions equal modulo the
 * stride) becomes a plane of its own, called a source; the input gradient instead has one source and one part
 * per phase of its result. In both cases result (z, y, x) of a part is the sum over taps of plane[offset(tap)
 * + flat(z, y, x)] with unit stride, where flat uses the planes' pitch: sums over whole padded rows need no
 * index arithmetic at all. Columns between the rows' ends are computed too and dropped. */
#ifndef CB_CONV_PLAN_H
#define CB_CONV_PLAN_H

#include "cpu.h"

enum { MAX_TAPS = 2048, MAX_STRIDE = 512 }; /* of a dimension */
enum { MAX_PARTS = 4096, DEPTHWISE_TAPS = 64, MAX_TOGETHER = 16, PREPARED = 64 /* channels a piece */ };

typedef struct conv_part {
    int64_t taps;
    int64_t first[3], step[3], count[3]; /* the results it computes */
    int32_t *tap;                        /* index of each tap in the kernel */
    int32_t *offsets;                    /* [channels * taps] into the padded copy */
    int32_t *weight_at;                  /* [channels * taps] into a row's weights; NULL: as they lie */
    int32_t (*origin)[3];                /* of each tap: where in the input it reads for the first result */
    const void *weights;
} conv_part;

/* One result when computing by pixels: where it reads the planes, which of a part's results it is, and the
 * taps that read more than padding, as bits (all of them where there are more than 64). list: of the tile
 * that begins with it. */
typedef struct conv_pixel {
    int32_t at, place;
    uint64_t taps;
    int64_t list;
} conv_pixel;

/* What pixels read in a run of channels: lists of offsets into the planes and into the packed weights, one
 * for each set of taps. n: taps in a set; size: room for a list. The first has all taps. */
enum { TAP_LISTS = 16 };
typedef struct tap_pair {
    int32_t offset, weight;
} tap_pair;
typedef struct tap_lists {
    int64_t channels, size, width, n[TAP_LISTS];
    uint64_t set[TAP_LISTS];
    tap_pair *pairs;
    int count;
} tap_lists;

typedef struct conv_plan {
    int64_t groups, channels, rows; /* per group: channels read, rows of the result */
    int64_t taps, weight_row;       /* of the kernel; from one row's weights to the next's */
    int64_t in[3], out[3];
    int64_t size[3], step[3];       /* padded planes; distance in the input of neighbours in a plane */
    int64_t hop[3];                 /* distance in a plane of neighbouring results: 1, but for HOPPING */
    int64_t channel_size, flat;     /* elements of a channel's planes; of the longest flat row of results */
    int64_t flat_pitch;             /* flat, rounded up to a cache line */
    int64_t shared; /* zeros after a row that are those before the next: as many must follow the last */
    int64_t (*start)[3]; /* per source: input position of the plane's first element */
    conv_part *part;
    int sources, parts, band_dim;
    int64_t band, bands; /* results along band_dim computed from one copy */
    void *memory;
    int64_t nbytes;
} conv_plan;

/* A piece computes `block` rows of the results of `together` units (bands of images): large weights are then
 * read once for several images. */
typedef struct conv_run {
    const conv_plan *plan;
    const void *in;
    void *out;
    int64_t units, together, block, blocks;
    int64_t width; /* filters a block when computing by pixels; 0: by rows */
    const void *planes; /* padded ones of all units, `held` items apart; NULL: each piece copies its own */
    int64_t held;
    int status;
} conv_run;

/* Weights being brought into another order. */
typedef struct weight_pack {
    const conv_plan *plan;
    const cb_conv_shape *shape;
    const conv_part *part;
    const void *from;
    void *to;
    int64_t k, width, blocks;
    bool turn; /* rows and channels change places */
} weight_pack;

/* Convolutions of one channel a group (conv_depthwise_typed.h). x: planes [in], y: planes [out], w: weights,
 * or for a weight gradient the cotangents, y then being the weights' gradient. */
typedef struct depthwise_run {
    const void *x, *w;
    void *y;
    int64_t images, groups, filters, taps; /* filters: of each channel */
    int64_t in[2], out[2], pad[2];
    int64_t size[2], shift[2]; /* planes as they are read, and what of `pad` is not in them */
    int64_t padded;            /* items of a padded plane, and room behind it; 0: read as they lie */
    bool turn;
    int side, stride; /* of a small square kernel, or 0 */
    int32_t offsets[DEPTHWISE_TAPS];
    cb_cast_kernel widen, narrow; /* of 16-bit planes, or NULL */
    int status;
} depthwise_run;

/* A weight gradient whose vectors lie along positions (conv_lanes_typed.h), for few channels. Images and
 * bands are summed in chunks: [chunks][groups][group_size], row_size of it a filter. */
typedef struct lanes_run {
    const conv_plan *plan;
    const void *in, *ct;
    void *out, *sums;
    int64_t row_size, group_size;
    int64_t units, chunk, chunks; /* bands of images; units a chunk */
    int64_t block, blocks; /* filters a piece */
    int status;
} lanes_run;

/* A weight gradient by register tiles (conv_weight_typed.h): rows of sums belong to filters and vectors to
 * channels and taps; or with `filters`, for few channels and small planes, rows to channels and taps and
 * vectors to filters. Sums: [chunks][pieces][piece_size]. */
typedef struct weight_run {
    const conv_plan *plan;
    const void *in, *ct;
    void *out, *sums;
    bool filters, copied, direct; /* copied: cotangents, to make their rows even; direct: planes are not */
    bool skips; /* tiles leave out rows where all their taps read padding */
    int64_t units, chunk, chunks; /* as above */
    int64_t rows, block, blocks; /* of sums; a piece */
    int64_t vectors, vector_blocks; /* turned vectors a piece */
    int64_t vector_size, held; /* items of a turned vector; numbers of the planes it is made from */
    int64_t together; /* units held at a time: sums are then visited once for all of them */
    int64_t piece_size;
    int status;
} weight_run;

/* An input gradient by windows (conv_windows_typed.h): what `count` of them from `first` on give,
 * [image][group][position][channel][tap]. */
typedef struct windows_run {
    const cb_conv_shape *s;
    const void *windows;
    void *x;
    int64_t first, count;
} windows_run;

/* What the kernels of one type can do. */
typedef struct conv_kernels {
    int64_t item, size, vl, mr; /* bytes of an item and of a number of a tensor; vectors, tiles */
    int (*pixel_vectors)(const conv_plan *, int64_t units);
    void (*pack_weights)(conv_plan *, const cb_conv_shape *, int64_t width, const void *from, void *to);
    void (*prepare_units)(void *, int64_t, int64_t), (*correlate)(void *, int64_t, int64_t),
        (*weight_pieces)(void *, int64_t, int64_t), (*weight_sums)(void *, int64_t, int64_t);
    /* NULL where items are pairs */
    void (*lane_pieces)(void *, int64_t, int64_t), (*lane_sums)(void *, int64_t, int64_t);
    /* NULL where they are numbers: [groups][filters][channels][taps] as pairs of filters or of channels */
    void (*pair_weights)(const cb_conv_shape *, bool filters, const void *from, void *to);
} conv_kernels;

/* NULL where the processor has no instructions for them */
const conv_kernels *CB_FN(conv_bf16_kernels)(void);

static inline int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }
static inline int64_t size3(const int64_t v[3]) { return v[0] * v[1] * v[2]; }
static inline int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

/* One dimension: which phase, source and shift belong to each tap. */
typedef struct conv_axis {
    int phases; /* parts along this dimension */
    int sources;
    int64_t first[MAX_STRIDE], count[MAX_STRIDE];
    int64_t start[MAX_STRIDE];
    int16_t phase[MAX_TAPS], source[MAX_TAPS];
    int64_t shift[MAX_TAPS], most; /* most: the largest shift */
} conv_axis;

static inline void forward_axis(const cb_conv_shape *s, int d, conv_axis *a) {
    int16_t source_of[MAX_STRIDE];
    a->phases = 1;
    a->sources = 0;
    a->first[0] = 0;
    a->count[0] = s->out[d];
    for (int64_t r = 0; r < s->stride[d]; r++) source_of[r] = -1;
    a->most = 0;
    for (int64_t k = 0; k < s->kernel[d]; k++) {
        int r = (int)(k * s->dilation[d] % s->stride[d]);
        if (source_of[r] < 0) {
            source_of[r] = (int16_t)a->sources;
            a->start[a->sources++] = r - s->padding[d];
        }
        a->phase[k] = 0;
        a->source[k] = source_of[r];
        a->shift[k] = k * s->dilation[d] / s->stride[d];
        a->most = CB_MAX(a->most, a->shift[k]);
    }
}

static inline void input_grad_axis(const cb_conv_shape *s, int d, conv_axis *a) {
    int64_t step = s->stride[d], begin[MAX_STRIDE], low = INT64_MAX;
    a->phases = (int)step;
    a->sources = 1;
    for (int64_t r = 0; r < step;
         r++) { /* positions i with (i + padding) % step == r; i + padding = q * step + r */
        begin[r] = -floor_div(r - s->padding[d], step);
        a->first[r] = begin[r] * step + r - s->padding[d];
        a->count[r] = CB_MAX(0, floor_div(s->in[d] - 1 + s->padding[d] - r, step) - begin[r] + 1);
    }
    for (int64_t k = 0; k < s->kernel[d]; k++) {
        int r = (int)(k * s->dilation[d] % step);
        a->phase[k] = (int16_t)r;
        a->source[k] = 0;
        a->shift[k] = begin[r] + (r - k * s->dilation[d]) /
                                     step; /* exact; index of the cotangent for the first result */
        low = CB_MIN(low, a->shift[k]);
    }
    a->most = 0;
    a->start[0] = low;
    for (int64_t k = 0; k < s->kernel[d]; k++) {
        a->shift[k] -= low;
        a->most = CB_MAX(a->most, a->shift[k]);
    }
}

/* Results by pixels, and weight gradients whose planes are turned (conv_weight_typed.h), step over positions
 * and need no phases. */
static inline void hopping_axis(const cb_conv_shape *s, int d, conv_axis *a) {
    a->phases = a->sources = 1;
    a->first[0] = 0;
    a->count[0] = s->out[d];
    a->start[0] = -s->padding[d];
    for (int64_t k = 0; k < s->kernel[d]; k++) {
        a->phase[k] = a->source[k] = 0;
        a->shift[k] = k * s->dilation[d];
    }
    a->most = (s->kernel[d] - 1) * s->dilation[d];
}

/* Makes the plan; free p->memory after use. copied: channels in one padded copy. CB_ERR_UNSUPPORTED: too
 * many phases, or sizes beyond 32-bit offsets, without an error message. */
enum { PLAIN, INPUT_GRAD, HOPPING };
static inline int plan_init(conv_plan *p, const cb_conv_shape *s, int purpose, int64_t copied,
                            int64_t itemsize) {
    conv_axis axis[3];
    bool input_grad = purpose == INPUT_GRAD;
    int64_t most[3], taps = size3(s->kernel);
    p->groups = s->groups;
    p->channels = input_grad ? s->oc : s->ic;
    p->rows = input_grad ? s->ic : s->oc;
    p->taps = taps;
    p->weight_row = input_grad ? taps : p->channels * taps;
    p->sources = p->parts = 1;
    for (int d = 0; d < 3; d++) {
        (input_grad ? input_grad_axis : purpose == HOPPING ? hopping_axis : forward_axis)(s, d, &axis[d]);
        p->in[d] = input_grad ? s->out[d] : s->in[d];
        p->out[d] = input_grad ? s->in[d] : s->out[d];
        p->step[d] = purpose == PLAIN ? s->stride[d] : 1;
        p->hop[d] = purpose == HOPPING ? s->stride[d] : 1;
        p->sources *= axis[d].sources;
        p->parts *= axis[d].phases;
        most[d] = 0;
        for (int r = 0; r < axis[d].phases; r++) most[d] = CB_MAX(most[d], axis[d].count[r]);
    }
    if (p->sources > MAX_PARTS || p->parts > MAX_PARTS) return CB_ERR_UNSUPPORTED;
    /* bands: a copy that stays in L2, and enough pieces to share */
    p->band_dim = most[0] > 1 ? 0 : most[1] > 1 ? 1 : 2;
    int b = p->band_dim;
    int64_t line = copied * p->sources * itemsize, budget = 384 << 10, most_work = 1 << 23;
    for (int d = b + 1; d < 3; d++) line *= (most[d] - 1) * p->hop[d] + 1 + axis[d].most;
    /* multiplications per result position; more rows are cut into blocks */
    int64_t work = p->channels * CB_MIN(p->rows, 256) * taps / p->parts;
    for (int d = b + 1; d < 3; d++) work *= most[d];
    p->band =
        CB_MAX(1, CB_MIN((budget / CB_MAX(line, 1) - axis[b].most) / p->hop[b], most_work / CB_MAX(work, 1)));
    /* copied edges should stay the smaller part, and results enough for several tiles */
    int64_t least =
        CB_MAX(2 * axis[b].most + 1, 64 / CB_MAX(1, (b < 2 ? most[2] : 1) * (b == 0 ? most[1] : 1)));
    p->band = CB_MAX(p->band, CB_MIN(most[b], least));
    p->bands = CB_MAX(1, (most[b] + p->band - 1) / p->band);
    p->band = CB_MAX(1, (most[b] + p->bands - 1) / p->bands);
    if (b == 2 && p->bands > 1) { /* a row is cut between tiles */
        p->band = round_up(p->band, 48);
        p->bands = (most[b] + p->band - 1) / p->band;
    }
    for (int d = 0; d < 3; d++)
        p->size[d] = ((d == b ? p->band : most[d]) - 1) * p->hop[d] + 1 + axis[d].most;
    /* zeros right of a row can be those left of the next one */
    int64_t shared = INT64_MAX;
    for (int u = 0; u < axis[2].sources; u++) {
        int64_t start = axis[2].start[u], left = start < 0 ? -floor_div(start, p->step[2]) : 0;
        int64_t end = start < p->in[2] ? floor_div(p->in[2] - 1 - start, p->step[2]) + 1 : 0;
        shared = CB_MIN(shared, CB_MAX(0, CB_MIN(CB_MIN(left, p->size[2]), p->size[2] - CB_MAX(end, 0))));
    }
    p->shared = CB_MIN(shared, p->size[2] - most[2]) * (p->hop[2] == 1 && (b < 2 || p->bands == 1));
    p->size[2] -= p->shared;
    int64_t plane = size3(p->size);
    p->flat = ((b == 1 ? p->band : most[1]) - 1) * p->size[2] + (b == 2 ? p->band : most[2]);
    p->flat_pitch = round_up(p->flat, 64 / itemsize);
    p->channel_size = p->sources * plane;
    if (p->channels * p->channel_size > INT32_MAX / 2 || taps * p->channels * p->rows > INT32_MAX)
        return CB_ERR_UNSUPPORTED;

    /* tables in one allocation: parts, starts, taps, offsets */
    int64_t part_bytes = p->parts * (int64_t)sizeof(conv_part),
            start_bytes = p->sources * 3 * (int64_t)sizeof(int64_t);
    p->nbytes = part_bytes + start_bytes + (4 * taps + 2 * taps * p->channels) * (int64_t)sizeof(int32_t);
    p->memory = cb_alloc(CB_CPU, p->nbytes);
    if (!p->memory) return CB_ERR_MEMORY;
    p->part = p->memory;
    p->start = (int64_t (*)[3])((char *)p->memory + part_bytes);
    int32_t *tap = (int32_t *)((char *)p->start + start_bytes), *offsets = tap + taps,
            *weight_at = offsets + taps * p->channels;
    int32_t (*origin)[3] = (int32_t (*)[3])(weight_at + taps * p->channels);
    for (int u = 0; u < p->sources; u++) {
        int rest = u;
        for (int d = 2; d >= 0; d--) {
            p->start[u][d] = axis[d].start[rest % axis[d].sources];
            rest /= axis[d].sources;
        }
    }
    for (int q = 0; q < p->parts; q++) {
        conv_part *part = &p->part[q];
        int phase[3], rest = q;
        for (int d = 2; d >= 0; d--) {
            phase[d] = rest % axis[d].phases;
            rest /= axis[d].phases;
            part->first[d] = axis[d].first[phase[d]];
            part->count[d] = axis[d].count[phase[d]];
            part->step[d] = input_grad ? s->stride[d] : 1;
        }
        part->taps = 0;
        part->tap = tap;
        part->offsets = offsets;
        part->weight_at = input_grad ? weight_at : NULL;
        part->origin = origin;
        part->weights = NULL;
        for (int64_t k0 = 0, t = 0; k0 < s->kernel[0]; k0++)
            for (int64_t k1 = 0; k1 < s->kernel[1]; k1++)
                for (int64_t k2 = 0; k2 < s->kernel[2]; k2++, t++) {
                    const conv_axis *a = axis;
                    if (a[0].phase[k0] != phase[0] || a[1].phase[k1] != phase[1] ||
                        a[2].phase[k2] != phase[2])
                        continue;
                    int64_t u = ((int64_t)a[0].source[k0] * a[1].sources + a[1].source[k1]) * a[2].sources +
                                a[2].source[k2];
                    offsets[part->taps] =
                        (int32_t)(u * plane + (a[0].shift[k0] * p->size[1] + a[1].shift[k1]) * p->size[2] +
                                  a[2].shift[k2]);
                    int64_t at[3] = {k0, k1, k2};
                    for (int d = 0; d < 3; d++)
                        (*origin)[d] =
                            (int32_t)(a[d].start[a[d].source[at[d]]] + a[d].shift[at[d]] * p->step[d]);
                    origin++;
                    tap[part->taps++] = (int32_t)t;
                }
        for (int64_t i = part->taps; i < part->taps * p->channels; i++)
            offsets[i] = offsets[i - part->taps] + (int32_t)p->channel_size;
        for (int64_t c = 0; input_grad && c < p->channels; c++) /* [channel][row][tap] */
            for (int64_t t = 0; t < part->taps; t++)
                *weight_at++ = (int32_t)(c * p->rows * taps + part->tap[t]);
        tap += part->taps;
        offsets += part->taps * p->channels;
    }
    return CB_OK;
}

/* Is a channel of padded planes a run of the input? It then begins at plan_skip(). */
static inline bool plan_direct(const conv_plan *p) {
    bool direct = p->sources == 1;
    for (int d = 0; d < 3; d++)
        direct = direct && p->start[0][d] == 0 && p->step[d] == 1 &&
                 (d < p->band_dim ? p->in[d] == 1 : d == p->band_dim || p->size[d] == p->in[d]);
    return direct;
}
static inline int64_t plan_skip(const conv_plan *p, int64_t band) {
    return band * p->hop[p->band_dim] * (p->band_dim < 2 ? p->in[2] : 1) * (p->band_dim == 0 ? p->in[1] : 1);
}

/* What a unit computes of a part: counts and first result per dimension. Is it anything? */
static inline bool unit_range(const conv_plan *p, const conv_part *part, int64_t band, int64_t count[3],
                              int64_t first[3]) {
    for (int d = 0; d < 3; d++) {
        int64_t skip = d == p->band_dim ? band : 0;
        count[d] = d == p->band_dim ? CB_MIN(p->band, part->count[d] - skip) : part->count[d];
        first[d] = part->first[d] + skip * part->step[d];
        if (count[d] <= 0) return false;
    }
    return true;
}

/* The taps of a part that read the input, not padding, at result j along dimension d. */
static inline uint64_t taps_inside(const conv_plan *p, const conv_part *part, int d, int64_t j) {
    uint64_t inside = 0;
    if (part->taps > 64) return ~(uint64_t)0;
    for (int64_t t = 0; t < part->taps; t++)
        inside |= (uint64_t)((uint64_t)(part->origin[t][d] + j * p->step[d] * p->hop[d]) < (uint64_t)p->in[d])
                  << t;
    return inside;
}

/* The results at depth z of a part in several units. Those that read the same padding lie together, so that
 * tiles of them can leave it out: results at the upper edges, then right, lower and left ones, then the rest.
 * columns: room for the taps of each column. Returns how many. */
static inline int64_t list_pixels(const conv_plan *p, const conv_part *part, int64_t z, int64_t first_unit,
                                  int64_t units, int64_t held, uint64_t *columns, conv_pixel *list) {
    enum { UPPER, RIGHT, LOWER, LEFT, INNER };
    uint64_t all_rows = 0, all_columns = 0;
    int64_t count[3], first[3], total = 0;
    for (int64_t y = 0; y < part->count[1]; y++) all_rows |= taps_inside(p, part, 1, y);
    for (int64_t x = 0; x < part->count[2]; x++) all_columns |= columns[x] = taps_inside(p, part, 2, x);
    for (int side = UPPER; side <= INNER; side++)
        for (int64_t u = 0, place = 0; u < units; u++) {
            int64_t band = (first_unit + u) % p->bands * p->band, skip = p->band_dim == 1 ? band : 0;
            const uint64_t *column = columns + (p->band_dim == 2 ? band : 0);
            if (!unit_range(p, part, band, count, first) || z >= count[0]) continue;
            uint64_t depth = taps_inside(p, part, 0, z + (p->band_dim == 0 ? band : 0));
            for (int64_t y = 0; y < count[1]; y++) {
                uint64_t row = taps_inside(p, part, 1, skip + y);
                bool upper = 2 * (skip + y) < part->count[1];
                for (int64_t x = 0; x < count[2]; x++, place++) {
                    int lies = row != all_rows            ? (upper ? UPPER : LOWER)
                               : column[x] != all_columns ? (2 * x < count[2] ? LEFT : RIGHT)
                                                          : INNER;
                    int64_t line = z * p->hop[0] * p->size[1] + y * p->hop[1],
                            at = u * held + line * p->size[2] + x * p->hop[2];
                    if (lies == side)
                        list[total++] = (conv_pixel){(int32_t)at, (int32_t)place, row & column[x] & depth, 0};
                }
            }
        }
    return total;
}

/* The number of the list for a set of taps, made where there is none and room for it. */
static inline int list_taps(const conv_plan *p, const conv_part *part, uint64_t set, tap_lists *lists) {
    int64_t n = 0;
    int found = 0;
    while (found < lists->count && lists->set[found] != set) found++;
    if (found < lists->count) return found;
    if (found == TAP_LISTS) return 0;
    tap_pair *pairs = lists->pairs + found * lists->size;
    for (int64_t c = 0; c < lists->channels; c++)
        for (int64_t t = 0; t < part->taps; t++)
            if (t >= 64 || set >> t & 1)
                pairs[n++] = (tap_pair){(int32_t)(c * p->channel_size) + part->offsets[t],
                                        (int32_t)((c * part->taps + t) * lists->width)};
    lists->set[found] = set;
    lists->n[found] = n / CB_MAX(1, lists->channels);
    lists->count++;
    return found;
}
#endif
