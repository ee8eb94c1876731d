/* Weight gradients of one real type: include with `real` and NAME(x) defined, after conv_typed.h. See conv_weight.h.
 *
 * dW[f][c][tap] = sum over positions p of ct[f][p] * x[c][p + offset(tap)], over whole padded rows: the cotangent is
 * zero between the rows' ends. */

#if defined(__AVX512F__) || defined(__aarch64__)
enum { NAME(lane_rows) = 4, NAME(lane_cols) = 6 };
#else
enum { NAME(lane_rows) = 2, NAME(lane_cols) = 4 };
#endif

/* sums[i][j] (vectors) += ct[i] * x[j] over n positions: both are read along positions */
CB_INLINE void NAME(lane_tile)(int rows, int cols, int64_t n, const real *ct, int64_t ct_row, const real *x, const int32_t *offsets,
                               real *sums, int64_t sums_row) {
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

static void NAME(lane_block)(int64_t rows, int64_t cols, int64_t n, const real *ct, int64_t ct_row, const real *x, const int32_t *offsets,
                             real *sums) {
    enum { VL = NAME(vl), R = NAME(lane_rows), C = NAME(lane_cols) };
#define LANES(r, c) NAME(lane_tile)(r, c, n, ct + i * ct_row, ct_row, x, offsets + j, sums + (i * cols + j) * VL, cols * VL)
    for (int64_t i = 0; i < rows;) {
        bool many = rows - i >= R;
        int64_t j = 0;
        for (; j + C <= cols; j += C)
            if (many) LANES(R, C);
            else LANES(1, C);
        for (; j + C / 2 <= cols; j += C / 2)
            if (many) LANES(R, C / 2);
            else LANES(1, C / 2);
        for (; j < cols; j++)
            if (many) LANES(R, 1);
            else LANES(1, 1);
        i += many ? R : 1;
    }
#undef LANES
}

/* items: (chunk of bands of images, group, block of filters) */
static void NAME(weight_pieces)(void *context, int64_t begin, int64_t end) {
    enum { VL = NAME(vl), MR = NAME(mr) };
    weight_run *r = context;
    const conv_plan *p = r->plan;
    const conv_part *part = p->part;
    int64_t in_plane = size3(p->in), out_plane = size3(p->out), channels = p->channels, zs = p->band_dim == 0 ? p->band : part->count[0];
    int64_t pitch = round_up(p->flat, VL), held = round_up(channels * p->channel_size + VL, VL), turned = r->lanes ? 0 : p->channel_size * r->width;
    int64_t nbytes = (held + turned + r->block * zs * pitch) * (int64_t)sizeof(real);
    real *buffer = cb_alloc(CB_CPU, nbytes), *last = buffer + held, *ct = last + turned;
    if (!buffer) {
        __atomic_store_n(&r->status, CB_ERR_MEMORY, __ATOMIC_RELAXED);
        return;
    }
    memset(buffer + channels * p->channel_size, 0, (size_t)(held - channels * p->channel_size) * sizeof(real));
    for (int64_t item = begin; item < end; item++) {
        int64_t block = item % r->blocks, group = item / r->blocks % p->groups, chunk = item / r->blocks / p->groups;
        int64_t f0 = block * r->block, rows = CB_MIN(r->block, p->rows - f0);
        real *sums = (real *)r->sums + (chunk * p->groups + group) * p->rows * r->row_size;
        if (r->lanes) sums += f0 * r->row_size;
        for (int64_t f = 0; f < rows; f++)
            if (r->lanes) memset(sums + f * r->row_size, 0, (size_t)r->row_size * sizeof(real));
        if (!r->lanes)
            for (int64_t t = 0; t < part->taps; t++)
                memset(sums + (t * p->rows + f0) * r->width, 0, (size_t)(rows * r->width) * sizeof(real));
        for (int64_t unit = chunk * r->chunk; unit < CB_MIN((chunk + 1) * r->chunk, r->units); unit++) {
            int64_t image = unit / p->bands * p->groups + group, band = unit % p->bands * p->band, count[3], skip[3] = {0};
            for (int d = 0; d < 3; d++) count[d] = part->count[d];
            count[p->band_dim] = CB_MIN(p->band, count[p->band_dim] - band);
            skip[p->band_dim] = band;
            if (count[p->band_dim] <= 0) continue;
            int64_t length = (count[1] - 1) * p->size[2] + count[2];
            NAME(prepare)(p, (const real *)r->in + image * channels * in_plane, band, buffer);
            for (int64_t f = 0; f < rows; f++)
                for (int64_t z = 0; z < count[0]; z++) {
                    real *to = ct + (f * zs + z) * pitch;
                    const real *from = (const real *)r->ct + (image * p->rows + f0 + f) * out_plane +
                                       ((z + skip[0]) * p->out[1] + skip[1]) * p->out[2];
                    for (int64_t y = 0; y < count[1]; y++) {
                        NAME(copy_run)(to + y * p->size[2], from + y * p->out[2], count[2]);
                        int64_t zero_end = y + 1 < count[1] ? (y + 1) * p->size[2] : round_up(length, VL);
                        for (int64_t j = y * p->size[2] + count[2]; j < zero_end; j++) to[j] = 0;
                    }
                }
            if (r->lanes) {
                for (int64_t z = 0; z < count[0]; z++)
                    NAME(lane_block)(rows, part->taps * channels, length, ct + z * pitch, zs * pitch, buffer + z * p->size[1] * p->size[2],
                                     part->offsets, sums);
                continue;
            }
            NAME(pack)(p->channel_size, channels, r->width, buffer, 1, p->channel_size, last);
            for (int64_t z = 0; z < count[0]; z++)
                for (int64_t f = 0; f < rows; f += MR)
                    for (int64_t t = 0; t < part->taps; t++) {
                        const real *x = last + (part->offsets[t] + z * p->size[1] * p->size[2]) * r->width;
                        real *to = sums + (t * p->rows + f0 + f) * r->width;
                        for (int64_t c = 0; c < r->width;) {
                            int64_t left = (r->width - c) / VL;
                            int nv = (int)CB_MIN(left, NAME(nv));
                            if (NAME(nv) == 3 && left == 4) nv = 2;
                            NAME(run_tile)(nv, CB_MIN(MR, rows - f), length, ct + (f * zs + z) * pitch, zs * pitch, 1, x + c, r->width, to + c,
                                           r->width, to + c, r->width);
                            c += nv * VL;
                        }
                    }
        }
    }
    cb_free(CB_CPU, buffer, nbytes);
}

/* items: filters of all groups. Adds up the chunks in order. */
static void NAME(weight_sums)(void *context, int64_t begin, int64_t end) {
    enum { VL = NAME(vl) };
    const weight_run *r = context;
    const conv_plan *p = r->plan;
    int64_t taps = p->part->taps, channels = p->channels, chunk_size = p->groups * p->rows * r->row_size;
    for (int64_t item = begin; item < end; item++) {
        int64_t group = item / p->rows, f = item % p->rows;
        real *out = (real *)r->out + item * channels * taps;
        const real *sums = (const real *)r->sums + group * p->rows * r->row_size;
        for (int64_t c = 0; c < channels; c++)
            for (int64_t t = 0; t < taps; t++) {
                real total = 0;
                for (int64_t k = 0; k < r->chunks; k++) {
                    const real *from = sums + k * chunk_size;
                    if (r->lanes) {
                        real lanes[VL];
                        memcpy(lanes, from + f * r->row_size + (c * taps + t) * VL, sizeof lanes);
                        for (int half = VL / 2; half > 0; half /= 2)
                            for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
                        total += lanes[0];
                    } else {
                        total += from[(t * p->rows + f) * r->width + c];
                    }
                }
                out[c * taps + t] = total;
            }
    }
}
