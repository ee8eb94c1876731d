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

/* The tile the other way round: vectors of filters, broadcast inputs. sum[i][v] over k of x[pixels[i] +
 * offsets[k]] * w[k][v]: nothing is computed between rows' ends, which pays on small planes. */
CB_INLINE void NAME(pixel_tile)(int mr, int nv, int64_t rows, int64_t k, const real *x, const int32_t *pixels,
                                const int32_t *offsets, const real *w, bool add, accum *c) {
    enum { VL = NAME(vl) };
    NAME(sums) sum[NAME(mr)][NAME(nv)];
    const real *from[NAME(mr)];
    for (int i = 0; i < mr; i++) {
        from[i] = x + pixels[CB_MIN(i, rows - 1)];
        for (int v = 0; v < nv; v++) {
            sum[i][v] = (NAME(sums)){0};
            if (add) sum[i][v] = *(const NAME(sumsu) *)(c + (CB_MIN(i, rows - 1) * nv + v) * VL);
        }
    }
    for (int64_t t = 0; t < k; t++, w += nv * VL) {
        NAME(vec) right[NAME(nv)];
        int64_t at = offsets[t];
        for (int v = 0; v < nv; v++) right[v] = *(const NAME(vecu) *)(w + v * VL);
        for (int i = 0; i < mr; i++) {
            real left = from[i][at];
            for (int v = 0; v < nv; v++) MULTIPLY_ADD(sum[i][v], left, right[v]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
        if (i < rows)
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++) *(NAME(sumsu) *)(c + (i * nv + v) * VL) = sum[i][v];
}

static void NAME(run_pixels)(int nv, int64_t rows, int64_t k, const real *x, const int32_t *pixels,
                             const int32_t *offsets, const real *w, bool add, accum *c) {
#define PIXELS(nv)                                                              \
    if (rows > 4 && NAME(mr) > 4)                                               \
        NAME(pixel_tile)(NAME(mr), nv, rows, k, x, pixels, offsets, w, add, c); \
    else if (rows > 1)                                                          \
        NAME(pixel_tile)(4, nv, rows, k, x, pixels, offsets, w, add, c);        \
    else                                                                        \
        NAME(pixel_tile)(1, nv, rows, k, x, pixels, offsets, w, add, c)
    if (nv == 1) {
        PIXELS(1);
    } else if (nv == 2) {
        PIXELS(2);
    } else {
        PIXELS(NAME(nv));
    }
#undef PIXELS
}

/* What a unit computes of a part: counts and first result per dimension. Is it anything? */
CB_INLINE bool NAME(unit_range)(const conv_plan *p, const conv_part *part, int64_t band, int64_t count[3],
                                int64_t first[3]) {
    for (int d = 0; d < 3; d++) {
        int64_t skip = d == p->band_dim ? band : 0;
        count[d] = d == p->band_dim ? CB_MIN(p->band, part->count[d] - skip) : part->count[d];
        first[d] = part->first[d] + skip * part->step[d];
        if (count[d] <= 0) return false;
    }
    return true;
}

/* One part of several units by pixels, `columns` filters of one block of weights from filter `filter` on. The
 * weights are passed over in runs that stay in L1, each by the pixels of all units. tile: [positions][width],
 * and behind it room for one unit's again. */
static void NAME(correlate_pixels)(const conv_run *r, const conv_part *part, const real *weights,
                                   int64_t first_unit, int64_t units, int64_t filter, int64_t columns,
                                   const real *buffer, int64_t held, accum *tile, int32_t *pixels) {
    enum { VL = NAME(vl), MR = NAME(mr) };
    const conv_plan *p = r->plan;
    int64_t k = part->taps * p->channels, out_plane = size3(p->out), hop = part->step[2], width = r->width;
    bool ahead = units > 1; /* fetch a run while the pixels pass over the one before: both lie in L1 */
    int64_t most = ahead ? 128 : 192, runs = CB_MAX(1, (k + most - 1) / most), run = (k + runs - 1) / runs,
            count[3], first[3];
    for (int64_t z = 0; z < CB_MAX(part->count[0], 1); z++) {
        int64_t total = 0;
        for (int64_t u = 0; u < units; u++) {
            if (!NAME(unit_range)(p, part, (first_unit + u) % p->bands * p->band, count, first) ||
                z >= count[0])
                continue;
            for (int64_t y = 0; y < count[1]; y++)
                for (int64_t x = 0; x < count[2]; x++)
                    pixels[total++] = (int32_t)(u * held + (z * p->size[1] + y) * p->size[2] + x);
        }
        /* of a run in bytes, for each tile */
        int64_t share = ahead ? round_up(run * width * (int64_t)sizeof(real) * MR / CB_MAX(total, 1), 64) : 0;
        for (int64_t k0 = 0; k0 == 0 || k0 < k; k0 += CB_MAX(run, 1)) {
            const char *next = (const char *)(weights + (k0 + run) * width);
            for (int64_t i = 0; i < total; i += MR) {
                for (int64_t q = 0; q < share; q += 64) __builtin_prefetch(next + i / MR * share + q);
                NAME(run_pixels)((int)(width / VL), CB_MIN(MR, total - i), CB_MIN(run, k - k0), buffer,
                                 pixels + i, part->offsets + k0, weights + k0 * width, k0 > 0,
                                 tile + i * width);
            }
        }
        accum *from = tile;
        for (int64_t u = 0; u < units; u++) {
            if (!NAME(unit_range)(p, part, (first_unit + u) % p->bands * p->band, count, first) ||
                z >= count[0])
                continue;
            int64_t n = count[1] * count[2];
            plain *to = (plain *)r->out + ((first_unit + u) / p->bands * p->rows + filter) * out_plane +
                        ((first[0] + z * part->step[0]) * p->out[1] + first[1]) * p->out[2] + first[2];
            bool join = count[2] == p->out[2] && part->step[1] == 1 && hop == 1; /* the rows */
            if (join && PACKED == 1) {
                TURN_SUMS(columns, n, from, 1, width, (accum *)to, out_plane);
            } else {
                accum *turned = tile + total * width;
                int64_t lines = join ? 1 : count[1], line = n / lines;
                TURN_SUMS(columns, n, from, 1, width, turned, n);
                for (int64_t c = 0; c < columns; c++)
                    for (int64_t y = 0; y < lines; y++)
                        STORE_RUN(to + c * out_plane + y * part->step[1] * p->out[2], hop,
                                  turned + c * n + y * line, line);
            }
            from += n * width;
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
    int nv = p->rows <= VL ? 1 : NAME(nv) == 3 && p->rows % (3 * VL) == 0 ? 3 : 2;
    int64_t by_rows = 0, by_pixels = 0, k = p->channels * p->part[0].taps;
    for (int q = 0; q < p->parts; q++) {
        const conv_part *part = &p->part[q];
        int64_t y = p->band_dim == 1 ? CB_MIN(p->band, part->count[1]) : part->count[1];
        if (y <= 0 || part->count[2] <= 0) continue;
        by_rows += round_up(p->rows, 4) * round_up((y - 1) * p->size[2] + part->count[2], VL);
        by_pixels += round_up(y * part->count[2], 4) * round_up(p->rows, nv * VL);
    }
    by_pixels = by_pixels * (nv == 1 ? 150 : 106) + p->rows * PACKING * 100 / units;
    return k >= 48 && by_pixels < by_rows * 100 ? nv : 0;
}

/* items: (several units, block of rows) */
static void NAME(correlate)(void *context, int64_t begin, int64_t end) {
    enum { NR = NAME(nr), MR = NAME(mr) };
    conv_run *r = context;
    const conv_plan *p = r->plan;
    int64_t pitch = round_up(p->flat, NR), planes = p->channels * p->channel_size,
            held = round_up(planes + p->shared + NR, 64 / sizeof(real));
    int64_t scratch = r->width ? p->flat * ((r->together + 1) * r->width + r->together) : MR * pitch;
    int64_t nbytes = (r->together * held + scratch) * (int64_t)sizeof(real), step = r->width ? r->width : MR;
    real *buffer = cb_alloc(CB_CPU, nbytes);
    accum *flat = (accum *)(buffer + r->together * held);
    if (!buffer) {
        __atomic_store_n(&r->status, CB_ERR_MEMORY, __ATOMIC_RELAXED);
        return;
    }
    for (int64_t u = 0; u < r->together; u++)
        NAME(zero_run)(buffer + u * held + planes, held - planes); /* read past the last row, unused */
    int64_t in_plane = size3(p->in), out_plane = size3(p->out), padded = 0;
    for (int64_t item = begin; item < end; item++) {
        int64_t block = item % r->blocks * r->block, first = item / r->blocks * r->together,
                units = CB_MIN(r->together, r->units - first);
        for (int64_t u = 0; u < units; u++)
            NAME(prepare)(p, p->channels,
                          (const plain *)r->in + (first + u) / p->bands * PACKED * p->channels * in_plane,
                          (first + u) % p->bands * p->band, p->bands == 1 && u < padded, buffer + u * held);
        padded = CB_MAX(padded, units);
        for (int q = 0; q < p->parts; q++) {
            const conv_part *part = &p->part[q];
            int64_t k = part->taps * p->channels;
            for (int64_t i = block; i < CB_MIN(p->rows, block + r->block); i += step) {
                const real *weights = part->weights;
                int64_t rows = CB_MIN(step, p->rows - i), group = first / p->bands % p->groups;
                if (r->width) { /* together only without groups */
                    NAME(correlate_pixels)(r, part, weights + (group * round_up(p->rows, r->width) + i) * k,
                                           first, units, i, rows, buffer, held, flat,
                                           (int32_t *)(flat + p->flat * (r->together + 1) * r->width));
                    continue;
                }
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
