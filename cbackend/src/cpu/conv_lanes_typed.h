/* Weight gradients over few channels, of one real type: include with `real` and NAME(x) defined, after
 * conv_typed.h.
 *
 * dW[f][c][tap] = sum over positions p of ct[f][p] * x[c][p + offset(tap)], p along vectors, whose lanes are
 * added up at the end. Where rows are no whole vectors, the cotangent is copied into rows with the planes'
 * pitch, with zeros between them. */

#if defined(__AVX512F__) || defined(__aarch64__)
enum { NAME(lane_rows) = 4, NAME(lane_cols) = 6 };
#else
enum { NAME(lane_rows) = 2, NAME(lane_cols) = 4 };
#endif

/* Positions of one unit, in `lines` of n each. */
typedef struct NAME(lane_lines) {
    int64_t lines, n, ct_line, x_line, ct_row;
} NAME(lane_lines);

/* sums[i][j] (vectors) += ct[i] * x[j] over all positions: both are read along positions */
CB_INLINE void NAME(lane_tile)(int rows, int cols, const NAME(lane_lines) * l, const real *ct, const real *x,
                               const int32_t *offsets, real *sums, int64_t sums_row) {
    enum { VL = NAME(vl) };
    NAME(vec) sum[NAME(lane_rows)][NAME(lane_cols)];
    const real *from[NAME(lane_cols)];
    for (int j = 0; j < cols; j++) from[j] = x + offsets[j];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++) sum[i][j] = *(const NAME(vecu) *)(sums + i * sums_row + j * VL);
    for (int64_t y = 0, at = 0; y < l->lines; y++, ct += l->ct_line, at += l->x_line)
        for (int64_t p = 0; p < l->n; p += VL) {
            NAME(vec) left[NAME(lane_rows)];
            for (int i = 0; i < rows; i++) left[i] = *(const NAME(vecu) *)(ct + i * l->ct_row + p);
            for (int j = 0; j < cols; j++) {
                NAME(vec) right = *(const NAME(vecu) *)(from[j] + at + p);
                for (int i = 0; i < rows; i++) sum[i][j] += left[i] * right;
            }
        }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++) *(NAME(vecu) *)(sums + i * sums_row + j * VL) = sum[i][j];
}

static void NAME(lane_block)(int64_t rows, int64_t cols, const NAME(lane_lines) * l, const real *ct,
                             const real *x, const int32_t *offsets, real *sums) {
    enum { VL = NAME(vl), R = NAME(lane_rows), C = NAME(lane_cols) };
#define LANES(r, c) \
    NAME(lane_tile)(r, c, l, ct + i * l->ct_row, x, offsets + j, sums + (i * cols + j) * VL, cols * VL)
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
            const real *line = from + ((z + first[0]) * p->out[1] + first[1]) * p->out[2] + first[2];
            for (int64_t y = 0; y < count[1]; y++, line += p->out[2]) {
                NAME(copy_run)(row + y * p->size[2], line, count[2]);
                int64_t end = y + 1 < count[1] ? (y + 1) * p->size[2] : room;
                NAME(zero_run)(row + y * p->size[2] + count[2], end - y * p->size[2] - count[2]);
            }
        }
    return length;
}

/* items: (chunk of units, group, block of filters); a unit is one band of one image */
static void NAME(lane_pieces)(void *context, int64_t begin, int64_t end) {
    enum { VL = NAME(vl) };
    lanes_run *r = context;
    const conv_plan *p = r->plan;
    const conv_part *part = p->part;
    int64_t in_plane = size3(p->in), out_plane = size3(p->out), channels = p->channels,
            zs = p->band_dim == 0 ? p->band : part->count[0], planes = channels * p->channel_size,
            held = round_up(planes + p->shared + VL, VL), flat_row = zs * p->flat_pitch;
    bool in_place = p->out[2] % VL == 0 && (p->band_dim < 2 || p->bands == 1), padded = false;
    int64_t nbytes = (held + (in_place ? 0 : r->block * flat_row)) * (int64_t)sizeof(real);
    real *buffer = cb_alloc(CB_CPU, nbytes), *flat = buffer + held;
    if (!buffer) {
        __atomic_store_n(&r->status, CB_ERR_MEMORY, __ATOMIC_RELAXED);
        return;
    }
    NAME(zero_run)(buffer + planes, held - planes); /* read past the last row, times zero */
    for (int64_t item = begin; item < end; item++) {
        int64_t block = item % r->blocks, group = item / r->blocks % p->groups,
                chunk = item / r->blocks / p->groups;
        int64_t f0 = block * r->block, rows = CB_MIN(r->block, p->rows - f0);
        real *sums = (real *)r->sums + (chunk * p->groups + group) * r->group_size + f0 * r->row_size;
        memset(sums, 0, (size_t)(rows * r->row_size) * sizeof(real));
        for (int64_t unit = chunk * r->chunk; unit < CB_MIN((chunk + 1) * r->chunk, r->units); unit++) {
            int64_t image = unit / p->bands * p->groups + group, band = unit % p->bands * p->band, count[3],
                    first[3];
            if (!unit_range(p, part, band, count, first)) continue;
            NAME(prepare)(p, channels, (const real *)r->in + image * channels * in_plane, band, padded,
                          buffer);
            padded = p->bands == 1;
            const real *ct = (const real *)r->ct + (image * p->rows + f0) * out_plane;
            NAME(lane_lines) l = {count[1], count[2], p->out[2], p->size[2], out_plane};
            if (!in_place) {
                int64_t length = NAME(flatten)(p, ct, first, count, rows, zs, p->flat_pitch, flat);
                l = (NAME(lane_lines)){1, length, 0, 0, flat_row};
            }
            for (int64_t z = 0; z < count[0]; z++)
                NAME(lane_block)(rows, part->taps * channels, &l,
                                 in_place ? ct + ((first[0] + z) * p->out[1] + first[1]) * p->out[2]
                                          : flat + z * p->flat_pitch,
                                 buffer + z * p->size[1] * p->size[2], part->offsets, sums);
        }
    }
    cb_free(CB_CPU, buffer, nbytes);
}

/* items: filters of all groups. Adds up the chunks in order, then lanes. */
static void NAME(lane_sums)(void *context, int64_t begin, int64_t end) {
    enum { VL = NAME(vl) };
    const lanes_run *r = context;
    const conv_plan *p = r->plan;
    int64_t chunk_size = p->groups * r->group_size, vectors = r->row_size / VL;
    for (int64_t item = begin; item < end; item++) {
        real *out = (real *)r->out + item * vectors;
        const real *from =
            (const real *)r->sums + item / p->rows * r->group_size + item % p->rows * r->row_size;
        NAME(vec) waiting[4];
        for (int64_t v = 0; v < vectors; v++, from += VL) {
            NAME(vec) total = *(const NAME(vecu) *)from;
            for (int64_t k = 1; k < r->chunks; k++) total += *(const NAME(vecu) *)(from + k * chunk_size);
            waiting[v % 4] = total;
            if (v % 4 == 3)
                NAME(sum4)(waiting, out + v - 3);
            else if (v + 1 == vectors)
                for (int64_t i = v / 4 * 4; i <= v; i++) out[i] = NAME(vec_sum)(waiting[i % 4]);
        }
    }
}
