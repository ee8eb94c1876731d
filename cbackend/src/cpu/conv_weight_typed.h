/* Weight gradients of one real type: include with `real` and NAME(x) defined, after conv_typed.h. See
 * conv_weight.h.
 *
 * dW[f][c][tap] = sum over positions p of ct[f][p] * x[c][p + offset(tap)], over whole padded rows: the
 * cotangent is zero between the rows' ends. */

#if defined(__AVX512F__) || defined(__aarch64__)
enum { NAME(lane_rows) = 4, NAME(lane_cols) = 6 };
#else
enum { NAME(lane_rows) = 2, NAME(lane_cols) = 4 };
#endif

/* sums[i][j] (vectors) += ct[i] * x[j] over n positions: both are read along positions */
CB_INLINE void NAME(lane_tile)(int rows, int cols, int64_t n, const real *ct, int64_t ct_row, const real *x,
                               const int32_t *offsets, real *sums, int64_t sums_row) {
    enum { VL = NAME(vl) };
    NAME(vec) sum[NAME(lane_rows)][NAME(lane_cols)];
    const real *from[NAME(lane_cols)];
    for (int j = 0; j < cols; j++) from[j] = x + offsets[j];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++) sum[i][j] = *(const NAME(vecu) *)(sums + i * sums_row + j * VL);
    for (int64_t p = 0; p < n; p += VL) {
        NAME(vec) left[NAME(lane_rows)];
        for (int i = 0; i < rows; i++) left[i] = *(const NAME(vecu) *)(ct + i * ct_row + p);
        for (int j = 0; j < cols; j++) {
            NAME(vec) right = *(const NAME(vecu) *)(from[j] + p);
            for (int i = 0; i < rows; i++) sum[i][j] += left[i] * right;
        }
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++) *(NAME(vecu) *)(sums + i * sums_row + j * VL) = sum[i][j];
}

static void NAME(lane_block)(int64_t rows, int64_t cols, int64_t n, const real *ct, int64_t ct_row,
                             const real *x, const int32_t *offsets, real *sums) {
    enum { VL = NAME(vl), R = NAME(lane_rows), C = NAME(lane_cols) };
#define LANES(r, c) \
    NAME(lane_tile)(r, c, n, ct + i * ct_row, ct_row, x, offsets + j, sums + (i * cols + j) * VL, cols * VL)
    for (int64_t i = 0; i < rows;) {
        bool many = rows - i >= R;
        int64_t j = 0;
        for (; j + C <= cols; j += C)
            if (many)
                LANES(R, C);
            else
                LANES(1, C);
        for (; j + C / 2 <= cols; j += C / 2)
            if (many)
                LANES(R, C / 2);
            else
                LANES(1, C / 2);
        for (; j < cols; j++)
            if (many)
                LANES(R, 1);
            else
                LANES(1, 1);
        i += many ? R : 1;
    }
#undef LANES
}

/* One band of the cotangent of `rows` filters as flat rows with the planes' pitch, zero between the rows'
 * ends and up to `room`. Returns the length of a flat row. */
static int64_t NAME(flatten)(const conv_plan *p, const real *from, const int64_t first[3],
                             const int64_t count[3], int64_t rows, int64_t zs, int64_t room, real *to) {
    int64_t length = (count[1] - 1) * p->size[2] + count[2];
    for (int64_t f = 0; f < rows; f++, from += size3(p->out))
        for (int64_t z = 0; z < count[0]; z++) {
            real *row = to + (f * zs + z) * room;
            const real *line = from + ((z + first[0]) * p->out[1] + first[1]) * p->out[2];
            for (int64_t y = 0; y < count[1]; y++, line += p->out[2]) {
                NAME(copy_run)(row + y * p->size[2], line, count[2]);
                int64_t end = y + 1 < count[1] ? (y + 1) * p->size[2] : room;
                NAME(zero_run)(row + y * p->size[2] + count[2], end - y * p->size[2] - count[2]);
            }
        }
    return length;
}

/* sums[i][v] += over k positions of ct[i] (broadcast) * a vector of channels. The nv vectors belong to any
 * taps and channels: vector v is read at x + x_at[v] and added up at sums + sums_at[v]. */
CB_INLINE void NAME(turned_tile)(int mr, int nv, int64_t rows, int64_t k, const real *ct, int64_t ct_row,
                                 const real *x, const int64_t *x_at, int64_t x_row, real *sums,
                                 const int64_t *sums_at, int64_t sums_row) {
    NAME(vec) sum[NAME(mr)][NAME(nv)];
    const real *row[NAME(mr)], *from[NAME(nv)];
    for (int v = 0; v < nv; v++) from[v] = x + x_at[v];
    for (int i = 0; i < mr; i++) {
        int64_t clamped = CB_MIN(i, rows - 1);
        row[i] = ct + clamped * ct_row;
        for (int v = 0; v < nv; v++)
            sum[i][v] = *(const NAME(vecu) *)(sums + sums_at[v] + clamped * sums_row);
    }
    for (int64_t p = 0, at = 0; p < k; p++, at += x_row) {
        NAME(vec) right[NAME(nv)];
        for (int v = 0; v < nv; v++) right[v] = *(const NAME(vecu) *)(from[v] + at);
        for (int i = 0; i < mr; i++) {
            real left = row[i][p];
            for (int v = 0; v < nv; v++) sum[i][v] += left * right[v];
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
        if (i < rows)
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++) *(NAME(vecu) *)(sums + sums_at[v] + i * sums_row) = sum[i][v];
}

static void NAME(run_turned)(int nv, int64_t rows, int64_t k, const real *ct, int64_t ct_row, const real *x,
                             const int64_t *x_at, int64_t x_row, real *sums, const int64_t *sums_at,
                             int64_t sums_row) {
#define TURNED(mr, nv) NAME(turned_tile)(mr, nv, rows, k, ct, ct_row, x, x_at, x_row, sums, sums_at, sums_row)
    bool many = rows > 4 && NAME(mr) > 4;
    if (nv == NAME(nv)) {
        if (many)
            TURNED(NAME(mr), NAME(nv));
        else
            TURNED(4, NAME(nv));
    } else if (nv == 1) {
        if (many)
            TURNED(NAME(mr), 1);
        else
            TURNED(4, 1);
    } else {
        if (many)
            TURNED(NAME(mr), 2);
        else
            TURNED(4, 2);
    }
#undef TURNED
}

/* Sums over one or more units whose turned inputs and flat cotangents lie side by side. The input lies
 * [vector of channels][position][channel], so that taps of one vector read the same run of memory; sums lie
 * [MR filters][vector of channels][tap][filter][channel], so that a tile's are neighbours. */
static void NAME(channel_block)(const weight_run *r, int64_t units, const int64_t *length,
                                const int64_t *depth, int64_t rows, const real *ct, int64_t ct_row,
                                int64_t ct_unit, const real *x, int64_t x_unit, real *sums) {
    enum { VL = NAME(vl), MR = NAME(mr), NV = NAME(nv) };
    const conv_plan *p = r->plan;
    const conv_part *part = p->part;
    int64_t taps = part->taps, vectors = taps * r->width / VL, plane = (p->channel_size + p->shared) * VL;
    for (int64_t f = 0; f < rows; f += MR)
        for (int64_t first = 0; first < vectors; first += NV) {
            int64_t x_at[NV], sums_at[NV];
            int nv = (int)CB_MIN(NV, vectors - first);
            for (int v = 0; v < nv; v++) {
                x_at[v] = (first + v) / taps * plane + (int64_t)part->offsets[(first + v) % taps] * VL;
                sums_at[v] = (f * vectors / MR + first + v) * MR * VL;
            }
            for (int line = 0; line < NV * MR; line++) /* the next tile's sums */
                __builtin_prefetch(sums + sums_at[0] + (NV * MR + line) * VL, 1);
            for (int64_t u = 0; u < units; u++)
                for (int64_t z = 0; z < depth[u]; z++)
                    NAME(run_turned)(nv, CB_MIN(MR, rows - f), length[u],
                                     ct + u * ct_unit + f * ct_row + z * p->flat_pitch, ct_row,
                                     x + u * x_unit + z * p->size[1] * p->size[2] * VL, x_at, VL, sums,
                                     sums_at, VL);
        }
}

/* items: (chunk of units, group, block of filters); a unit is one band of one image */
static void NAME(weight_pieces)(void *context, int64_t begin, int64_t end) {
    enum { VL = NAME(vl) };
    weight_run *r = context;
    const conv_plan *p = r->plan;
    const conv_part *part = p->part;
    int64_t in_plane = size3(p->in), out_plane = size3(p->out), channels = p->channels,
            zs = p->band_dim == 0 ? p->band : part->count[0];
    int64_t planes = channels * p->channel_size, held = round_up(planes + p->shared + VL, VL),
            ct_row = zs * p->flat_pitch;
    int64_t turned = r->lanes ? 0 : (p->channel_size + p->shared) * r->width, ct_unit = r->block * ct_row;
    int64_t nbytes = (held + r->together * (turned + ct_unit)) * (int64_t)sizeof(real);
    real *buffer = cb_alloc(CB_CPU, nbytes), *x = buffer + held, *ct = x + r->together * turned;
    if (!buffer) {
        __atomic_store_n(&r->status, CB_ERR_MEMORY, __ATOMIC_RELAXED);
        return;
    }
    memset(buffer + planes, 0,
           (size_t)(held - planes) * sizeof(real)); /* read past the last row, times zero */
    int64_t plane = (p->channel_size + p->shared) * VL;
    for (int64_t u = 0; u < r->together && !r->lanes; u++)
        for (int64_t v = 0; v < r->width / VL; v++)
            NAME(zero_run)(x + u * turned + v * plane + p->channel_size * VL, p->shared * VL);
    bool padded = false;
    for (int64_t item = begin; item < end; item++) {
        int64_t block = item % r->blocks, group = item / r->blocks % p->groups,
                chunk = item / r->blocks / p->groups;
        int64_t f0 = block * r->block, rows = CB_MIN(r->block, p->rows - f0);
        real *sums = (real *)r->sums + (chunk * p->groups + group) * r->group_size + f0 * r->row_size;
        memset(sums, 0, (size_t)((r->lanes ? rows : round_up(rows, NAME(mr))) * r->row_size) * sizeof(real));
        int64_t length[MAX_TOGETHER], depth[MAX_TOGETHER], waiting = 0,
                                                           stop = CB_MIN((chunk + 1) * r->chunk, r->units);
        for (int64_t unit = chunk * r->chunk; unit < stop; unit++) {
            int64_t image = unit / p->bands * p->groups + group, band = unit % p->bands * p->band, count[3],
                    first[3] = {0};
            for (int d = 0; d < 3; d++) count[d] = part->count[d];
            count[p->band_dim] = CB_MIN(p->band, count[p->band_dim] - band);
            first[p->band_dim] = band;
            if (count[p->band_dim] > 0) {
                NAME(prepare)(p, (const real *)r->in + image * channels * in_plane, band, padded, buffer);
                padded = p->bands == 1;
                length[waiting] =
                    NAME(flatten)(p, (const real *)r->ct + (image * p->rows + f0) * out_plane, first, count,
                                  rows, zs, p->flat_pitch, ct + waiting * ct_unit);
                depth[waiting] = count[0];
                if (r->lanes) {
                    for (int64_t z = 0; z < count[0]; z++)
                        NAME(lane_block)(rows, part->taps * channels, length[0], ct + z * p->flat_pitch,
                                         ct_row, buffer + z * p->size[1] * p->size[2], part->offsets, sums);
                } else {
                    for (int64_t c = 0; c < channels; c += VL)
                        NAME(pack)(p->channel_size, CB_MIN(VL, channels - c), VL,
                                   buffer + c * p->channel_size, 1, p->channel_size,
                                   x + waiting * turned + c / VL * plane);
                    waiting++;
                }
            }
            if (waiting == r->together || (waiting && unit + 1 == stop)) {
                NAME(channel_block)(r, waiting, length, depth, rows, ct, ct_row, ct_unit, x, turned, sums);
                waiting = 0;
            }
        }
    }
    cb_free(CB_CPU, buffer, nbytes);
}

/* items: filters of all groups. Adds up the chunks in order, then lanes, and brings taps innermost. */
static void NAME(weight_sums)(void *context, int64_t begin, int64_t end) {
    enum { VL = NAME(vl), MR = NAME(mr) };
    const weight_run *r = context;
    const conv_plan *p = r->plan;
    int64_t taps = p->part->taps, channels = p->channels, chunk_size = p->groups * r->group_size,
            vectors = r->row_size / VL;
    for (int64_t item = begin; item < end; item++) {
        int64_t group = item / p->rows, f = item % p->rows;
        real *out = (real *)r->out + item * channels * taps;
        const real *from = (const real *)r->sums + group * r->group_size;
        from += r->lanes ? f * r->row_size : f / MR * MR * r->row_size + f % MR * VL;
        NAME(vec) waiting[4];
        for (int64_t v = 0; v < vectors; v++, from += r->lanes ? VL : MR * VL) {
            NAME(vec) total = *(const NAME(vecu) *)from;
            for (int64_t k = 1; k < r->chunks; k++) total += *(const NAME(vecu) *)(from + k * chunk_size);
            if (r->lanes) { /* [channel][tap][lane] */
                waiting[v % 4] = total;
                if (v % 4 == 3)
                    NAME(sum4)(waiting, out + v - 3);
                else if (v + 1 == vectors)
                    for (int64_t i = v / 4 * 4; i <= v; i++) out[i] = NAME(vec_sum)(waiting[i % 4]);
            } else {
                int64_t c0 = v / taps * VL;
                for (int64_t c = 0; c < CB_MIN(VL, channels - c0); c++)
                    out[(c0 + c) * taps + v % taps] = total[c];
            }
        }
    }
}
