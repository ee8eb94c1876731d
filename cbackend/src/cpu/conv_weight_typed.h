/* Weight gradients of one type by register tiles: include with `real` and NAME(x) defined, after
 * conv_typed.h.
 *
 * dW[f][c][tap] = sum over positions p of ct[f][p] * x[c][p + offset(tap)]. One operand is turned, so that 16
 * channels (or filters) lie together at each position; the other is read where it lies, a number at a time. A
 * tile of sums stays in registers over all rows of positions of several units, which are listed as runs. */

typedef struct NAME(position_run) {
    int64_t left, right, n; /* where it begins in either operand; items */
} NAME(position_run);

/* The vectors of a tile where so many are left. */
CB_INLINE int NAME(tile_vectors)(int64_t left) {
    return left == 4 && NAME(nv) == 3 ? 2 : (int)CB_MIN(NAME(nv), left);
}

/* sums[v][i] += over all positions of a number of row i * a vector v */
CB_INLINE void NAME(weight_tile)(int mr, int nv, const NAME(position_run) * run, int64_t runs,
                                 const plain *const *rows, int64_t left_step, const real *const *vectors,
                                 int64_t right_step, accum *sums) {
    typedef real item __attribute__((aligned(sizeof(plain)), may_alias));
    enum { VL = NAME(vl), MR = NAME(mr) };
    NAME(sums) sum[NAME(mr)][NAME(nv)];
    const plain *row[NAME(mr)];
    const real *from[NAME(nv)];
    for (int i = 0; i < mr; i++) row[i] = rows[i];
    for (int v = 0; v < nv; v++) {
        from[v] = vectors[v];
        for (int i = 0; i < mr; i++) sum[i][v] = *(const NAME(sumsu) *)(sums + (v * MR + i) * VL);
    }
    for (; runs > 0; runs--, run++) {
        int64_t at = run->left, to = run->right;
        for (int64_t n = run->n; n > 0; n--, at += left_step, to += right_step) {
            NAME(vec) right[NAME(nv)];
            for (int v = 0; v < nv; v++) right[v] = *(const NAME(vecu) *)(from[v] + to);
            for (int i = 0; i < mr; i++) {
                real left = *(const item *)(row[i] + at);
                for (int v = 0; v < nv; v++) MULTIPLY_ADD(sum[i][v], left, right[v]);
            }
        }
    }
    for (int v = 0; v < nv; v++)
        for (int i = 0; i < mr; i++) *(NAME(sumsu) *)(sums + (v * MR + i) * VL) = sum[i][v];
}

static void NAME(run_weights)(int nv, bool many, const NAME(position_run) * run, int64_t runs,
                              const plain *const *rows, int64_t left_step, const real *const *vectors,
                              int64_t right_step, accum *sums) {
#define WEIGHTS(nv)                                                                             \
    if (many)                                                                                   \
        NAME(weight_tile)(NAME(mr), nv, run, runs, rows, left_step, vectors, right_step, sums); \
    else                                                                                        \
        NAME(weight_tile)(NAME(mr) / 2, nv, run, runs, rows, left_step, vectors, right_step, sums)
    if (nv == NAME(nv)) {
        WEIGHTS(NAME(nv));
    } else if (nv == 1) {
        WEIGHTS(1);
    } else {
        WEIGHTS(2);
    }
#undef WEIGHTS
}

/* What a thread works with: planes, turned vectors, and where cotangents are copied, those. */
typedef struct NAME(weight_scratch) {
    plain *planes, *ct;
    real *vectors;
    NAME(position_run) * runs;
    uint64_t *inside; /* of each run, the taps that read more than rows of padding */
    int64_t ready;    /* planes whose padding is there */
} NAME(weight_scratch);

/* Of n runs, those that some of the tile's taps read, from `first` on. Returns how many. */
CB_INLINE int64_t NAME(runs_inside)(const NAME(weight_scratch) * w, int64_t n, int64_t taps, int64_t first,
                                    int nv, NAME(position_run) * to) {
    int64_t kept = 0;
    uint64_t set = 0;
    for (int v = 0; v < nv; v++) set |= (uint64_t)1 << (first + v) % taps;
    for (int64_t i = 0; i < n; i++) {
        to[kept] = w->runs[i];
        kept += (w->inside[i] & set) != 0;
    }
    return kept;
}

/* The rows of positions of one unit, the u-th of those held, as runs from *runs on; where rows join in both
 * operands, they are one. */
static void NAME(list_runs)(const weight_run *r, const int64_t count[3], int64_t u, int64_t left,
                            int64_t band, NAME(weight_scratch) * w, int64_t *n) {
    const conv_plan *p = r->plan;
    bool join = p->hop[1] == 1 && p->hop[2] == 1 && p->size[2] == count[2] && !r->copied &&
                !(r->skips && p->start[0][1]);
    int64_t lines = join ? 1 : count[1], length = count[2] * count[1] / lines;
    for (int64_t z = 0; z < count[0]; z++)
        for (int64_t y = 0; y < lines; y++) {
            if (r->skips)
                w->inside[*n] = taps_inside(p, p->part, 0, z + (p->band_dim == 0 ? band : 0)) &
                                taps_inside(p, p->part, 1, y + (p->band_dim == 1 ? band : 0));
            int64_t in_planes = (z * p->hop[0] * p->size[1] + y * p->hop[1]) * p->size[2],
                    in_results = (z * p->out[1] + y) * p->out[2];
            w->runs[(*n)++] = (NAME(position_run)){.left = left + (r->filters ? in_planes : in_results),
                                                   .right = u * r->vectors * r->vector_size +
                                                            (r->filters ? in_results : in_planes) * NAME(vl),
                                                   .n = (length + PACKED - 1) / PACKED};
        }
}

/* The cotangents of `rows` filters from `ct` on, behind each other, each run of an odd number made even. */
static int64_t NAME(copy_cotangents)(const conv_plan *p, const plain *ct, int64_t rows, int64_t runs,
                                     NAME(weight_scratch) * w) {
    int64_t width = p->band_dim == 2 ? p->band : p->out[2], length = width + 1, pitch = runs * length;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < runs; k++) {
            int64_t left = w->runs[k].left, n = CB_MIN(width, p->out[2] - left % p->out[2]);
            plain *to = w->ct + i * pitch + k * length;
            memcpy(to, ct + i * size3(p->out) + left, (size_t)n * sizeof(plain));
            to[n] = 0;
        }
    for (int64_t k = 0; k < runs; k++) w->runs[k].left = k * length;
    return pitch;
}

/* Turned inputs (or cotangents) of units [unit, unit + units), from channel (filter) `c` on, n of them, and
 * the runs of positions. Returns the number of runs. */
static int64_t NAME(turn_units)(const weight_run *r, int64_t group, int64_t unit, int64_t units, int64_t c,
                                int64_t n, NAME(weight_scratch) * w) {
    enum { VL = NAME(vl) };
    const conv_plan *p = r->plan;
    int64_t in_plane = size3(p->in), out_plane = size3(p->out), runs = 0;
    for (int64_t u = 0; u < units; u++) {
        int64_t image = (unit + u) / p->bands * p->groups + group, band = (unit + u) % p->bands * p->band,
                count[3], first[3];
        if (!unit_range(p, p->part, band, count, first)) continue;
        int64_t begin = (first[0] * p->out[1] + first[1]) * p->out[2] + first[2];
        const plain *in = (const plain *)r->in + image * p->channels * in_plane,
                    *ct = (const plain *)r->ct + image * p->rows * out_plane;
        if (r->filters) {
            PREPARE_PLANES(p, p->channels, in, band, u < w->ready, w->planes + u * r->held);
            if (p->bands == 1) w->ready = CB_MAX(w->ready, u + 1);
        }
        for (int64_t v = 0; v * VL < n; v++) {
            int64_t lanes = CB_MIN(VL, n - v * VL);
            real *to = w->vectors + (u * r->vectors + v) * r->vector_size;
            if (r->filters) {
                TURN_PLANES(size3(count), lanes, 1, ct + v * VL * out_plane + begin, out_plane, to);
                continue;
            }
            const plain *planes = in + (c + v * VL) * in_plane;
            if (r->direct) {
                int64_t skip = plan_skip(p, band);
                TURN_PLANES(CB_MIN(p->channel_size, in_plane - skip), lanes, p->hop[2], planes + skip,
                            in_plane, to);
                continue;
            }
            PREPARE_PLANES(p, lanes, planes, band, lanes <= w->ready, w->planes);
            if (p->bands == 1) w->ready = CB_MAX(w->ready, lanes);
            TURN_PLANES(p->channel_size, lanes, p->hop[2], w->planes, p->channel_size, to);
            NAME(zero_run)(to + p->channel_size * VL, p->shared * VL);
        }
        int64_t left =
            r->filters ? u * r->held : (unit + u) / p->bands * p->groups * p->rows * out_plane + begin;
        NAME(list_runs)(r, count, u, left, band, w, &runs);
    }
    return runs;
}

/* Sums of one tile of rows, done: into the weights' gradient. */
static void NAME(store_weights)(const weight_run *r, int64_t group, int64_t row, int64_t rows, int64_t first,
                                int64_t n, const accum *sums) {
    enum { VL = NAME(vl), MR = NAME(mr), TAPS = 64 };
    const conv_plan *p = r->plan;
    int64_t taps = p->part->taps, line = p->channels * taps;
    plain *out = (plain *)r->out + group * p->rows * line;
    for (int64_t v = 0; v * VL < n; v++) {
        int64_t lanes = CB_MIN(VL, n - v * VL), c = first + v * VL;
        if (r->filters) { /* [filter][row] */
            TURN_SUMS(lanes, rows, sums + v * MR * VL, 1, VL, (accum *)(out + c * line + row), line);
            continue;
        }
        for (int64_t i = 0; i < rows; i++)
            for (int64_t t = 0; t < taps; t += TAPS) { /* [channel][tap] */
                const accum *from = sums + ((v * taps + t) * MR + i) * VL;
                plain *to = out + (row + i) * line + c * taps + t;
                int64_t count = CB_MIN(TAPS, taps - t);
                if (taps == 1) {
                    STORE_RUN(to, 1, from, lanes);
                    continue;
                }
                if (PACKED == 1) {
                    TURN_SUMS(lanes, count, from, 1, MR * VL, (accum *)to, taps);
                    continue;
                }
                accum turned[VL * TAPS];
                TURN_SUMS(lanes, count, from, 1, MR * VL, turned, count);
                for (int64_t lane = 0; lane < lanes; lane++)
                    STORE_RUN(to + lane * taps, 1, turned + lane * count, count);
            }
    }
}

/* Which part of the sums a piece makes: rows [row, row + rows), channels or filters [c, c + n). */
CB_INLINE int64_t NAME(weight_piece)(const weight_run *r, int64_t piece, int64_t *row, int64_t *rows,
                                     int64_t *c, int64_t *n) {
    int64_t most = r->filters ? r->plan->rows : r->plan->channels;
    *c = piece % r->vector_blocks * r->vectors * NAME(vl);
    *n = CB_MIN(r->vectors * NAME(vl), most - *c);
    *row = piece / r->vector_blocks % r->blocks * r->block;
    *rows = CB_MIN(r->block, r->rows - *row);
    return piece / r->vector_blocks / r->blocks; /* the group */
}

/* items: (chunk of units, group, block of rows, block of vectors). A single chunk's sums are stored at once.
 */
static void NAME(weight_pieces)(void *context, int64_t begin, int64_t end) {
    enum { VL = NAME(vl), MR = NAME(mr), NV = NAME(nv) };
    weight_run *r = context;
    const conv_plan *p = r->plan;
    const conv_part *part = p->part;
    int64_t most = part->count[0] * part->count[1] * r->together, /* runs */
        plane_bytes = round_up((r->filters ? r->together * r->held : r->held) * (int64_t)sizeof(plain), 64),
            vector_bytes = r->together * r->vectors * r->vector_size * (int64_t)sizeof(real),
            sum_bytes = r->chunks == 1 ? r->piece_size * (int64_t)sizeof(accum) : 0,
            tiles = r->skips ? (r->vectors * part->taps + 1) / 2 : 0, /* each with its own runs */
        run_bytes = most * (int64_t)((tiles + 1) * sizeof(NAME(position_run)) + sizeof(uint64_t)) +
                    tiles * (int64_t)sizeof(int64_t),
            ct_bytes = r->copied ? r->block * most * (p->out[2] + 1) * (int64_t)sizeof(plain) : 0,
            nbytes = vector_bytes + sum_bytes + plane_bytes + run_bytes + ct_bytes;
    char *buffer = cb_alloc(CB_CPU, nbytes);
    if (!buffer) {
        __atomic_store_n(&r->status, CB_ERR_MEMORY, __ATOMIC_RELAXED);
        return;
    }
    accum *own = (accum *)(buffer + vector_bytes);
    NAME(weight_scratch)
    w = {.vectors = (real *)buffer, .planes = (plain *)(buffer + vector_bytes + sum_bytes)};
    w.runs = (NAME(position_run) *)((char *)w.planes + plane_bytes);
    NAME(position_run) *of_tiles = w.runs + most;
    w.inside = (uint64_t *)(of_tiles + tiles * most);
    int64_t *kept = (int64_t *)(w.inside + most);
    w.ct = (plain *)((char *)w.runs + run_bytes);
    memset(w.planes, 0, (size_t)plane_bytes); /* zeros behind the last plane too */
    int64_t pieces = p->groups * r->blocks * r->vector_blocks, taps = r->filters ? 1 : part->taps;
    for (int64_t item = begin; item < end; item++) {
        int64_t row0, rows, c, n, piece = item % pieces, chunk = item / pieces,
                                  group = NAME(weight_piece)(r, piece, &row0, &rows, &c, &n);
        int64_t stop = CB_MIN((chunk + 1) * r->chunk, r->units), vectors = (n + VL - 1) / VL * taps;
        accum *sums = sum_bytes ? own : (accum *)r->sums + item * r->piece_size;
        memset(sums, 0, (size_t)(round_up(rows, MR) * vectors * VL) * sizeof(accum));
        for (int64_t unit = chunk * r->chunk; unit < stop; unit += r->together) {
            int64_t runs = NAME(turn_units)(r, group, unit, CB_MIN(r->together, stop - unit), c, n, &w);
            const plain *left = w.planes;
            int64_t left_row = size3(p->out), left_step = r->filters ? p->hop[2] : PACKED;
            if (!r->filters) left = (const plain *)r->ct + (group * p->rows + row0) * left_row;
            if (r->copied) {
                left_row = NAME(copy_cotangents)(p, left, rows, runs, &w);
                left = w.ct;
            }
            for (int64_t first = 0, tile = 0; r->skips && first < vectors; tile++) {
                int nv = NAME(tile_vectors)(vectors - first);
                kept[tile] = NAME(runs_inside)(&w, runs, taps, first, nv, of_tiles + tile * most);
                first += nv;
            }
            for (int64_t i = 0; i < rows; i += MR) {
                const plain *row[MR];
                for (int64_t k = 0; k < MR; k++) {
                    int64_t at = CB_MIN(i + k, rows - 1);
                    row[k] = left + (r->filters ? part->offsets[row0 + at] : at * left_row);
                }
                for (int64_t first = 0, tile = 0, nv; first < vectors; first += nv, tile++) {
                    const real *from[NV];
                    const NAME(position_run) *run = r->skips ? of_tiles + tile * most : w.runs;
                    nv = NAME(tile_vectors)(vectors - first);
                    for (int v = 0; v < nv; v++)
                        from[v] = w.vectors + (first + v) / taps * r->vector_size +
                                  (r->filters ? 0 : (int64_t)part->offsets[(first + v) % taps] * VL);
                    NAME(run_weights)((int)nv, rows - i > MR / 2, run, r->skips ? kept[tile] : runs, row,
                                      left_step, from, r->filters ? VL : p->hop[2] * PACKED * VL,
                                      sums + (i * vectors + first * MR) * VL);
                }
            }
        }
        for (int64_t i = 0; i < rows && r->chunks == 1; i += MR)
            NAME(store_weights)(r, group, row0 + i, CB_MIN(MR, rows - i), c, n, sums + i * vectors * VL);
    }
    cb_free(CB_CPU, buffer, nbytes);
}

/* items: (group, block of rows, block of vectors, tile of rows). Adds up the chunks in order. */
static void NAME(weight_sums)(void *context, int64_t begin, int64_t end) {
    enum { VL = NAME(vl), MR = NAME(mr) };
    const weight_run *r = context;
    const conv_plan *p = r->plan;
    int64_t tiles = (r->block + MR - 1) / MR, pieces = p->groups * r->blocks * r->vector_blocks;
    for (int64_t item = begin; item < end; item++) {
        int64_t row0, rows, c, n, piece = item / tiles, i = item % tiles * MR,
                                  group = NAME(weight_piece)(r, piece, &row0, &rows, &c, &n);
        if (i >= rows) continue;
        int64_t size = MR * VL * ((n + VL - 1) / VL) * (r->filters ? 1 : p->part->taps);
        accum *sums = (accum *)r->sums + piece * r->piece_size + i / MR * size;
        for (int64_t chunk = 1; chunk < r->chunks; chunk++) {
            const accum *more = sums + chunk * pieces * r->piece_size;
            for (int64_t j = 0; j < size; j++) sums[j] += more[j];
        }
        NAME(store_weights)(r, group, row0 + i, CB_MIN(MR, rows - i), c, n, sums);
    }
}
