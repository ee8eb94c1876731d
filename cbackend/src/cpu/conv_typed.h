/* Convolutions of one type: include with `real` and NAME(x) defined, after conv_plan.h. See conv.c for the
 * plan. */
#include "gemm_kernel.h"

#include "conv_copy_typed.h"

/* One part, rows [row0, row0 + rows) of one unit, from its padded copy. rows <= MR. */
static void NAME(correlate_rows)(const conv_plan *p, const conv_part *part, const real *weights, int64_t band,
                                 const real *buffer, int64_t rows, accum *flat, int64_t pitch, plain *out) {
    enum { VL = NAME(vl) };
    int64_t count[3], first[3], k = part->taps * p->channels, out_plane = size3(p->out), hop = part->step[2];
    for (int d = 0; d < 3; d++) {
        int64_t skip = d == p->band_dim ? band : 0;
        count[d] = d == p->band_dim ? CB_MIN(p->band, part->count[d] - skip) : part->count[d];
        first[d] = part->first[d] + skip * part->step[d];
        if (count[d] <= 0) return;
    }
    int64_t length = (count[1] - 1) * p->size[2] + count[2];
    for (int64_t z = 0; z < count[0]; z++) {
        const real *x = buffer + z * p->size[1] * p->size[2];
        plain *results = out + ((first[0] + z * part->step[0]) * p->out[1] + first[1]) * p->out[2] + first[2];
        for (int64_t f = 0; f < length;) {
            int64_t left = (length - f + VL - 1) / VL;
            int nv = (int)CB_MIN(NAME(nv), left);
            if (NAME(nv) == 3 && left == 4) nv = 2; /* 2 + 2 keep the multipliers busier than 3 + 1 */
            for (int64_t row = 0; row < rows; row++) /* about where these sums will go */
                for (int v = 0; v < nv; v++)
                    __builtin_prefetch(results + row * out_plane + (f + v * VL) * hop, 1);
            NAME(offset_tile)(nv, rows, k, weights, p->weight_row, part->weight_at, part->offsets, x + f,
                              flat + f, pitch);
            f += nv * VL;
        }
        for (int64_t row = 0; row < rows; row++) {
            plain *to = results + row * out_plane;
            const accum *from = flat + row * pitch;
            int64_t to_row = part->step[1] * p->out[2];
            for (int64_t y = 0; y < count[1]; y++, to += to_row, from += p->size[2])
                STORE_RUN(to, hop, from, count[2]);
        }
    }
}

/* The tile the other way round: vectors of filters, broadcast inputs. sum[i][v] over k of x[pixel i + offset]
 * * w[weight][v]: nothing is computed between rows' ends, which pays on small planes. */
CB_INLINE void NAME(pixel_tile)(int mr, int nv, int64_t rows, int64_t k, const real *x,
                                const conv_pixel *pixels, const tap_pair *pairs, const real *w, bool add,
                                accum *c) {
    enum { VL = NAME(vl) };
    NAME(sums) sum[NAME(mr)][NAME(nv)];
    const real *from[NAME(mr)];
    for (int i = 0; i < mr; i++) {
        const conv_pixel *pixel = pixels + CB_MIN(i, rows - 1);
        from[i] = x + pixel->at;
        for (int v = 0; v < nv; v++) {
            sum[i][v] = (NAME(sums)){0};
            if (add) sum[i][v] = *(const NAME(sumsu) *)(c + (pixel->place * nv + v) * VL);
        }
    }
    for (; k > 0; k--, pairs++) {
        NAME(vec) right[NAME(nv)];
        int64_t at = pairs->offset;
        const real *row = w + pairs->weight;
        for (int v = 0; v < nv; v++) right[v] = *(const NAME(vecu) *)(row + v * VL);
        for (int i = 0; i < mr; i++) {
            real left = from[i][at];
            for (int v = 0; v < nv; v++) MULTIPLY_ADD(sum[i][v], left, right[v]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
        if (i < rows)
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++) *(NAME(sumsu) *)(c + (pixels[i].place * nv + v) * VL) = sum[i][v];
}

static void NAME(run_pixels)(int nv, int64_t rows, int64_t k, const real *x, const conv_pixel *pixels,
                             const tap_pair *pairs, const real *w, bool add, accum *c) {
#define PIXELS(nv)                                                            \
    if (rows > 4 && NAME(mr) > 4)                                             \
        NAME(pixel_tile)(NAME(mr), nv, rows, k, x, pixels, pairs, w, add, c); \
    else if (rows > 1)                                                        \
        NAME(pixel_tile)(4, nv, rows, k, x, pixels, pairs, w, add, c);        \
    else                                                                      \
        NAME(pixel_tile)(1, nv, rows, k, x, pixels, pairs, w, add, c)
    if (nv == 1) {
        PIXELS(1);
    } else if (nv == 2) {
        PIXELS(2);
    } else {
        PIXELS(NAME(nv));
    }
#undef PIXELS
}

/* The channels whose weights stay in L1, all of them in runs of as many as possible. ahead: beside those that
 * are fetched while pixels pass over them. */
enum { NAME(run_rows) = 192, NAME(run_rows_ahead) = 128 };
CB_INLINE int64_t NAME(run_channels)(int64_t channels, int64_t taps, bool ahead) {
    int64_t most = ahead ? NAME(run_rows_ahead) : NAME(run_rows), runs = (channels * taps + most - 1) / most;
    return CB_MAX(1, taps > most ? 1 : (channels + runs - 1) / CB_MAX(1, runs));
}

/* Sums for one block of filters, tile[place][width]. The weights are passed over in runs, each by all pixels;
 * a tile leaves out the taps that read nothing but padding. */
static void NAME(sum_pixels)(const conv_plan *p, int64_t taps, const tap_lists *lists, const real *weights,
                             bool ahead, const real *buffer, const conv_pixel *pixels, int64_t total,
                             accum *tile) {
    enum { VL = NAME(vl), MR = NAME(mr) };
    int64_t width = lists->width, channels = lists->channels, span = CB_MAX(1, CB_MIN(taps, NAME(run_rows))),
            row = taps * width; /* of a channel's weights */
    /* of a run in bytes, for each tile */
    int64_t share = ahead ? round_up(channels * row * (int64_t)sizeof(real) * MR / CB_MAX(total, 1), 64) : 0;
    for (int64_t c = 0; c == 0 || c < p->channels; c += channels)
        for (int64_t t = 0; t == 0 || t < taps; t += span) {
            const char *next = (const char *)(weights + (c + channels) * row);
            int64_t each = CB_MIN(channels, p->channels - c);
            for (int64_t i = 0; i < total; i += MR) {
                const conv_pixel *first = pixels + i;
                const tap_pair *pairs = lists->pairs + first->list * lists->size + t;
                int64_t k = taps > span ? CB_MIN(span, taps - t) * each : lists->n[first->list] * each;
                for (int64_t q = 0; q < share; q += 64) __builtin_prefetch(next + i / MR * share + q);
                NAME(run_pixels)((int)(width / VL), CB_MIN(MR, total - i), k, buffer + c * p->channel_size,
                                 first, pairs, weights + c * row, c + t > 0, tile);
            }
        }
}

/* One part of several units by pixels, filters [block, stop). tile: [places][width], and behind it room for
 * one unit's again. */
static void NAME(correlate_pixels)(const conv_run *r, const conv_part *part, int64_t first_unit,
                                   int64_t units, int64_t block, const real *buffer, int64_t held,
                                   accum *tile) {
    const conv_plan *p = r->plan;
    int64_t out_plane = size3(p->out), hop = part->step[2], width = r->width, k = part->taps * p->channels,
            group = first_unit / p->bands % p->groups, count[3], first[3]; /* together only without groups */
    conv_pixel *pixels = (conv_pixel *)(tile + p->flat * (r->together + 1) * width);
    uint64_t *columns = (uint64_t *)(pixels + p->flat * r->together),
             all = part->taps < 64 ? ((uint64_t)1 << part->taps) - 1 : ~(uint64_t)0;
    tap_lists lists = {.width = width, .pairs = (tap_pair *)(columns + p->out[2])};
    lists.channels = NAME(run_channels)(p->channels, part->taps, units > 1);
    lists.size = lists.channels * part->taps;
    list_taps(p, part, all, &lists);
    for (int64_t z = 0; z < CB_MAX(part->count[0], 1); z++) {
        int64_t total = list_pixels(p, part, z, first_unit, units, held, columns, pixels);
        for (int64_t i = 0; i < total; i += NAME(mr)) {
            uint64_t set = 0;
            for (int64_t j = i; j < CB_MIN(i + NAME(mr), total); j++) set |= pixels[j].taps;
            pixels[i].list = list_taps(p, part, set, &lists);
        }
        for (int64_t i = block; i < CB_MIN(p->rows, block + r->block); i += width) {
            int64_t filters = CB_MIN(width, p->rows - i);
            NAME(sum_pixels)(p, part->taps, &lists,
                             (const real *)part->weights + (group * round_up(p->rows, width) + i) * k,
                             units > 1, buffer, pixels, total, tile);
            accum *from = tile;
            for (int64_t u = 0; u < units; u++) {
                if (!unit_range(p, part, (first_unit + u) % p->bands * p->band, count, first) ||
                    z >= count[0])
                    continue;
                int64_t n = count[1] * count[2];
                plain *to = (plain *)r->out + ((first_unit + u) / p->bands * p->rows + i) * out_plane +
                            ((first[0] + z * part->step[0]) * p->out[1] + first[1]) * p->out[2] + first[2];
                bool join = count[2] == p->out[2] && part->step[1] == 1 && hop == 1; /* the rows */
                if (join && PACKED == 1) {
                    TURN_SUMS(filters, n, from, 1, width, (accum *)to, out_plane);
                } else {
                    accum *turned = tile + total * width;
                    int64_t lines = join ? 1 : count[1], line = n / lines;
                    TURN_SUMS(filters, n, from, 1, width, turned, n);
                    for (int64_t c = 0; c < filters; c++)
                        for (int64_t y = 0; y < lines; y++)
                            STORE_RUN(to + c * out_plane + y * part->step[1] * p->out[2], hop,
                                      turned + c * n + y * line, line);
                }
                from += n * width;
            }
        }
    }
}

/* items: blocks of filters of all groups of one part, [k][width] each */
static void NAME(pack_blocks)(void *context, int64_t begin, int64_t end) {
    const weight_pack *w = context;
    const conv_plan *p = w->plan;
    for (int64_t item = begin; item < end; item++) {
        int64_t group = item / w->blocks, i = item % w->blocks * w->width;
        int64_t n = CB_MIN(w->width, p->rows - i), taps = w->part->taps;
        real *to = (real *)w->to + item * w->k * w->width;
        if (!w->turn) {
            NAME(pack)(w->k, n, w->width, (const real *)w->from + (group * p->rows + i) * w->k, 1, w->k, to);
            continue;
        }
        int64_t all = size3(w->shape->kernel); /* from [group][channel][row][kernel] */
        const real *from = (const real *)w->from + (group * p->channels * p->rows + i) * all;
        for (int64_t c = 0; c < p->channels; c++, from += p->rows * all, to += taps * w->width) {
            for (int64_t j = 0; j < n * all; j += 64 / (int64_t)sizeof(real)) /* of a channel to come */
                __builtin_prefetch(from + 2 * p->rows * all + j);
            if (taps == all) {
                NAME(pack)(taps, n, w->width, from, 1, all, to);
                continue;
            }
            for (int64_t t = 0; t < taps; t++)
                for (int64_t j = 0; j < w->width; j++)
                    to[t * w->width + j] = j < n ? from[j * all + w->part->tap[t]] : 0;
        }
    }
}

/* Weights of every part as [groups][blocks][k][width]; s: they are those of a convolution whose input
 * gradient is computed. */
static void NAME(pack_weights)(conv_plan *p, const cb_conv_shape *s, int64_t width, const void *from,
                               void *to) {
    for (int q = 0; q < p->parts; q++) {
        conv_part *part = &p->part[q];
        weight_pack w = {.plan = p,
                         .shape = s,
                         .part = part,
                         .turn = s != NULL,
                         .from = from,
                         .to = to,
                         .k = part->taps * p->channels,
                         .width = width,
                         .blocks = (p->rows + width - 1) / width};
        part->weights = to;
        cb_parallel(p->groups * w.blocks, CB_MAX(1, 16384 / CB_MAX(1, w.k * width)), NAME(pack_blocks), &w);
        to = (real *)to + p->groups * w.blocks * w.k * width;
    }
}

/* The vectors a block of filters takes when computing by pixels, or 0 where whole rows cost less. */
static int NAME(pixel_vectors)(const conv_plan *p, int64_t units) {
    enum { VL = NAME(vl), MR = NAME(mr), PACKING = 24 }; /* what packing a weight costs, in products */
    if (p->band_dim == 2 && p->bands > 1 && p->hop[2] == 1) return 0; /* rows are long */
    int nv = p->rows <= VL ? 1 : NAME(nv) == 3 && p->rows % (3 * VL) == 0 ? 3 : 2;
    int64_t by_rows = 0, by_pixels = 0, k = p->channels * p->part[0].taps, pitch = p->size[2];
    if (size3(p->hop) > 1) { /* phases would be shorter, share zeros and be copied apart */
        pitch = (pitch + p->hop[2] - 1) / p->hop[2] - CB_MAX(0, -p->start[0][2]) / p->hop[2];
        by_rows = p->channel_size * (p->hop[2] == 2 ? 6 : 32) / p->taps;
    }
    for (int q = 0; q < p->parts; q++) {
        const conv_part *part = &p->part[q];
        int64_t y = p->band_dim == 1 ? CB_MIN(p->band, part->count[1]) : part->count[1];
        if (y <= 0 || part->count[2] <= 0) continue;
        by_rows += round_up(p->rows, 4) * round_up((y - 1) * pitch + part->count[2], VL);
        by_pixels += round_up(y * part->count[2], 4) * round_up(p->rows, nv * VL);
    }
    by_pixels = by_pixels * (nv == 1 ? 150 : 106) + p->rows * PACKING * 100 / units;
    return k >= 48 && by_pixels < by_rows * 100 ? nv : 0;
}

/* items: (unit, block of channels) */
static void NAME(prepare_units)(void *context, int64_t begin, int64_t end) {
    const conv_run *r = context;
    const conv_plan *p = r->plan;
    int64_t blocks = (p->channels + PREPARED - 1) / PREPARED, planes = p->channels * p->channel_size;
    for (int64_t item = begin; item < end; item++) {
        int64_t unit = item / blocks, c = item % blocks * PREPARED, n = CB_MIN(PREPARED, p->channels - c);
        real *to = (real *)r->planes + unit * r->held;
        NAME(prepare)(p, n,
                      (const plain *)r->in + (unit / p->bands * p->channels + c) * PACKED * size3(p->in),
                      unit % p->bands * p->band, false, to + c * p->channel_size);
        if (c + n == p->channels) NAME(zero_run)(to + planes, r->held - planes);
    }
}

/* items: (several units, block of rows) */
static void NAME(correlate)(void *context, int64_t begin, int64_t end) {
    enum { NR = NAME(nr), MR = NAME(mr) };
    conv_run *r = context;
    const conv_plan *p = r->plan;
    int64_t pitch = round_up(p->flat, NR), planes = p->channels * p->channel_size,
            held = round_up(planes + p->shared + NR, 64 / sizeof(real)),
            sums = r->width ? p->flat * (r->together + 1) * r->width : MR * pitch,
            lists = r->width ? p->flat * r->together * (int64_t)sizeof(conv_pixel) +
                                   p->out[2] * (int64_t)sizeof(uint64_t) +
                                   TAP_LISTS * (p->taps + NAME(run_rows)) * (int64_t)sizeof(tap_pair)
                             : 0,
            own = r->planes ? 0 : r->together * held, nbytes = (own + sums) * (int64_t)sizeof(real) + lists;
    real *buffer = cb_alloc(CB_CPU, nbytes);
    accum *flat = (accum *)(buffer + own);
    if (!buffer) {
        __atomic_store_n(&r->status, CB_ERR_MEMORY, __ATOMIC_RELAXED);
        return;
    }
    for (int64_t u = 0; u < r->together && own; u++)
        NAME(zero_run)(buffer + u * held + planes, held - planes); /* read past the last row, unused */
    int64_t in_plane = size3(p->in), out_plane = size3(p->out), padded = 0;
    for (int64_t item = begin; item < end; item++) {
        int64_t block = item % r->blocks * r->block, first = item / r->blocks * r->together,
                units = CB_MIN(r->together, r->units - first);
        for (int64_t u = 0; u < units && own; u++)
            NAME(prepare)(p, p->channels,
                          (const plain *)r->in + (first + u) / p->bands * PACKED * p->channels * in_plane,
                          (first + u) % p->bands * p->band, p->bands == 1 && u < padded, buffer + u * held);
        padded = CB_MAX(padded, units);
        for (int q = 0; q < p->parts; q++) {
            const conv_part *part = &p->part[q];
            if (r->width) {
                if (own)
                    NAME(correlate_pixels)(r, part, first, units, block, buffer, held, flat);
                else
                    NAME(correlate_pixels)(r, part, first, units, block,
                                           (const real *)r->planes + first * r->held, r->held, flat);
                continue;
            }
            for (int64_t i = block; i < CB_MIN(p->rows, block + r->block); i += MR) {
                const real *weights = part->weights;
                int64_t rows = CB_MIN(MR, p->rows - i), group = first / p->bands % p->groups;
                for (int64_t u = 0; u < units; u++) {
                    int64_t image = (first + u) / p->bands,
                            band = (first + u) % p->bands * p->band; /* image: of all groups */
                    NAME(correlate_rows)(
                        p, part, weights + group * p->rows * p->channels * p->taps + i * p->weight_row, band,
                        buffer + u * held, rows, flat, pitch,
                        (plain *)r->out + (image * p->rows + i) * out_plane);
                }
            }
        }
    }
    cb_free(CB_CPU, buffer, nbytes);
}
