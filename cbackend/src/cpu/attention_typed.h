/* Attention of one real type: include with `real` and NAME(x) defined. See attention.c for the plan.
 *
 * Scratch matrices named with a trailing t are turned: [features][lanes]; p and ds are [keys][lanes]. */
#include "gemm_kernel.h"

#define exp_ NAME(exp_lane)
CB_INLINE real NAME(exp_lane)(real x) {
    return sizeof(real) == 4 ? (real)exp_f32((float)x) : (real)exp_f64((double)x);
}

/* `rows` rows of a matrix times a factor, dense with zeros up to `pitch`; and turned, with zeros up to
 * `lanes` */
static void NAME(take_rows)(const real *from, int64_t row, int64_t col, int64_t rows, int64_t n, real factor,
                            int64_t pitch, int64_t lanes, real *to, real *turned) {
    for (int64_t i = 0; i < lanes; i++) {
        int64_t done = 0;
        if (i < rows) {
            if (col == 1)
                for (; done < n; done++) to[i * pitch + done] = factor * from[i * row + done];
            else
                for (; done < n; done++) to[i * pitch + done] = factor * from[i * row + done * col];
        }
        for (; done < pitch; done++) to[i * pitch + done] = 0;
    }
    NAME(turn)(n, lanes, to, 1, pitch, turned, lanes);
}

/* scores of keys [k0, k0 + n) with a block of queries from row0 on, biased and masked */
static void NAME(scores)(const cb_attention_call *a, int64_t item, int64_t k0, int64_t n, int64_t row0,
                         int64_t rows, const real *qt, int64_t lanes, real *biases, real *p) {
    enum { MR = NAME(mr), VL = NAME(vl) };
    const real *k = (const real *)a->k.data + item_at(a, &a->k, item) + k0 * a->k.row;
    for (int64_t j = 0; j < n; j += MR)
        NAME(run_tile)((int)(lanes / VL), CB_MIN(MR, n - j), a->width, k + j * a->k.row, a->k.row, a->k.col,
                       qt, lanes, NULL, 0, p + j * lanes, lanes);
    if (a->bias.data) {
        const cb_matrices *b = &a->bias;
        const real *from = (const real *)b->data + item_at(a, b, item) + k0 * b->col + row0 * b->row;
        if (b->row == 0) {
            for (int64_t j = 0; j < n; j++)
                for (int64_t i = 0; i < lanes; i++) p[j * lanes + i] += from[j * b->col];
        } else {
            NAME(turn)(n, rows, from, b->col, b->row, biases, lanes);
            for (int64_t j = 0; j < n; j++)
                for (int64_t i = 0; i < rows; i++) p[j * lanes + i] += biases[j * lanes + i];
        }
    }
    if (a->causal)
        for (int64_t j = CB_MAX(0, row0 - k0 + 1); j < n; j++)
            for (int64_t i = 0; i < CB_MIN(lanes, k0 + j - row0); i++) p[j * lanes + i] = -(real)INFINITY;
}

/* One block of keys into the running softmax: p becomes weights. Returns whether older sums must be scaled by
 * `scale`. */
CB_INLINE bool NAME(online)(int64_t n, int64_t lanes, real *restrict p, real *restrict top,
                            real *restrict sum, real *restrict scale) {
    real next[NAME(nr)], shift[NAME(nr)];
    for (int64_t i = 0; i < lanes; i++) next[i] = top[i];
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < lanes; i++) next[i] = p[j * lanes + i] > next[i] ? p[j * lanes + i] : next[i];
    real most = 0;
    for (int64_t i = 0; i < lanes; i++) {
        shift[i] = next[i] == -(real)INFINITY ? 0 : next[i];
        scale[i] = exp_(top[i] - shift[i]);
        sum[i] *= scale[i];
        most += next[i] != top[i] ? 1 : 0;
        top[i] = next[i];
    }
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < lanes; i++) {
            real e = exp_(p[j * lanes + i] - shift[i]);
            p[j * lanes + i] = e;
            sum[i] += e;
        }
    return most != 0;
}

/* items: (item of the batch, block of queries) */
static void NAME(attend)(void *context, int64_t begin, int64_t end) {
    enum { MR = NAME(mr), VL = NAME(vl), NR = NAME(nr) };
    attention_run *r = context;
    const cb_attention_call *a = r->a;
    int64_t pitch = a->width + 1, wide = a->value_width;
    int64_t items = NR * (pitch + a->width + wide + 2 * KEYS), nbytes = items * (int64_t)sizeof(real);
    real *rows_ = cb_alloc(CB_CPU, nbytes), *p = rows_, *biases, *ot, *qt;
    if (!rows_) {
        __atomic_store_n(&r->status, CB_ERR_MEMORY, __ATOMIC_RELAXED);
        return;
    }
    biases = p + NR * KEYS, ot = biases + NR * KEYS, qt = ot + NR * wide, rows_ = qt + NR * a->width;
    for (int64_t piece = begin; piece < end; piece++) {
        int64_t item = piece / r->blocks, row0 = piece % r->blocks * r->lanes,
                rows = CB_MIN(r->lanes, a->rows - row0), lanes = round_up(CB_MAX(rows, 1), VL);
        if (rows <= 0) continue;
        NAME(take_rows)((const real *)a->q.data + item_at(a, &a->q, item) + row0 * a->q.row, a->q.row,
                        a->q.col, rows, a->width, (real)a->scale, pitch, lanes, rows_, qt);
        memset(ot, 0, (size_t)(wide * lanes) * sizeof(real));
        real top[NR], sum[NR], scale[NR];
        for (int i = 0; i < NR; i++) top[i] = -(real)INFINITY, sum[i] = 0;
        const real *v = (const real *)a->v.data + item_at(a, &a->v, item);
        int64_t keys = a->causal ? CB_MIN(a->keys, row0 + rows) : a->keys;
        for (int64_t k0 = 0; k0 < keys; k0 += KEYS) {
            int64_t n = CB_MIN(KEYS, keys - k0);
            NAME(scores)(a, item, k0, n, row0, rows, qt, lanes, biases, p);
            bool rescale = lanes == NR ? NAME(online)(n, NR, p, top, sum, scale)
                                       : NAME(online)(n, lanes, p, top, sum, scale);
            if (rescale && k0)
                for (int64_t e = 0; e < wide; e++)
                    for (int64_t i = 0; i < lanes; i++) ot[e * lanes + i] *= scale[i];
            for (int64_t e = 0; e < wide; e += MR)
                NAME(run_tile)((int)(lanes / VL), CB_MIN(MR, wide - e), n, v + k0 * a->v.row + e * a->v.col,
                               a->v.col, a->v.row, p, lanes, ot + e * lanes, lanes, ot + e * lanes, lanes);
        }
        for (int64_t i = 0; i < lanes; i++) scale[i] = sum[i] == 0 ? 0 : 1 / sum[i];
        for (int64_t e = 0; e < wide; e++)
            for (int64_t i = 0; i < lanes; i++) ot[e * lanes + i] *= scale[i];
        int64_t first = item * a->rows + row0;
        NAME(turn)(rows, wide, ot, 1, lanes, (real *)a->out + first * wide, wide);
        for (int64_t i = 0; i < rows; i++)
            ((real *)a->totals)[first + i] =
                sum[i] == 0 ? (real)INFINITY
                            : top[i] + (sizeof(real) == 4 ? (real)log_f32((float)sum[i])
                                                          : (real)log_f64((double)sum[i]));
    }
    cb_free(CB_CPU, p, nbytes);
}

/* c [m, n] += a [m, k] @ b [k, n] with n whole vectors */
static void NAME(add_product)(int64_t m, int64_t n, int64_t k, const real *a, int64_t a_row, const real *b,
                              int64_t b_row, real *c, int64_t c_row) {
    enum { MR = NAME(mr), VL = NAME(vl) };
    for (int64_t j = 0; j < n;) {
        int64_t left = (n - j) / VL;
        int nv = (int)CB_MIN(NAME(nv), left);
        if (NAME(nv) == 3 && left == 4) nv = 2;
        for (int64_t i = 0; i < m; i += MR)
            NAME(run_tile)(nv, CB_MIN(MR, m - i), k, a + i * a_row, a_row, 1, b + j, b_row, c + i * c_row + j,
                           c_row, c + i * c_row + j, c_row);
        j += nv * VL;
    }
}

/* p: scores to weights; ds: cotangents of weights to those of scores */
CB_INLINE void NAME(weigh)(int64_t n, int64_t lanes, real *restrict p, real *restrict ds, const real *totals,
                           const real *delta) {
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < lanes; i++) {
            real e = exp_(p[j * lanes + i] - totals[i]);
            p[j * lanes + i] = e;
            ds[j * lanes + i] = e * (ds[j * lanes + i] - delta[i]);
        }
}

CB_INLINE real NAME(inner)(int64_t n, const real *x, const real *y) {
    enum { VL = NAME(vl) };
    NAME(vec) sum = {0};
    int64_t i = 0;
    for (; i + VL <= n; i += VL) sum += *(const NAME(vecu) *)(x + i) * *(const NAME(vecu) *)(y + i);
    real total = 0;
    for (int j = 0; j < VL; j++) total += sum[j];
    for (; i < n; i++) total += x[i] * y[i];
    return total;
}

/* items: (item of the batch, chunk of keys) */
static void NAME(attend_grad)(void *context, int64_t begin, int64_t end) {
    enum { MR = NAME(mr), VL = NAME(vl), NR = NAME(nr) };
    attention_run *r = context;
    const cb_attention_call *a = r->a;
    int64_t wide = a->value_width, width = a->width;
    int64_t pitch = round_up(width, VL), wide_pitch = round_up(wide, VL);
    int64_t items = 3 * NR * KEYS + NR * (2 * width + wide + pitch + wide_pitch) +
                    r->chunk * (pitch + wide_pitch),
            nbytes = items * (int64_t)sizeof(real);
    real *p = cb_alloc(CB_CPU, nbytes), *ds = p + NR * KEYS, *biases = ds + NR * KEYS;
    if (!p) {
        __atomic_store_n(&r->status, CB_ERR_MEMORY, __ATOMIC_RELAXED);
        return;
    }
    real *q = biases + NR * KEYS, *g = q + NR * pitch, *dk = g + NR * wide_pitch, *dv = dk + r->chunk * pitch,
         *qt = dv + r->chunk * wide_pitch, *gt = qt + NR * width, *dqt = gt + NR * wide;
    for (int64_t piece = begin; piece < end; piece++) {
        int64_t item = piece / r->chunks, first = piece % r->chunks * r->chunk,
                stop = CB_MIN(a->keys, first + r->chunk);
        memset(dk, 0, (size_t)(r->chunk * (pitch + wide_pitch)) * sizeof(real));
        const real *k = (const real *)a->k.data + item_at(a, &a->k, item);
        const real *v = (const real *)a->v.data + item_at(a, &a->v, item);
        real *dq = (real *)r->parts + piece * a->rows * width;
        for (int64_t row0 = 0; row0 < a->rows; row0 += r->lanes) {
            int64_t rows = CB_MIN(r->lanes, a->rows - row0), lanes = round_up(rows, VL),
                    at = item * a->rows + row0;
            int64_t keys = a->causal ? CB_MIN(stop, row0 + rows) : stop;
            if (keys <= first) {
                for (int64_t e = 0; e < rows * width; e++) dq[row0 * width + e] = 0;
                continue;
            }
            NAME(take_rows)((const real *)a->q.data + item_at(a, &a->q, item) + row0 * a->q.row, a->q.row,
                            a->q.col, rows, width, (real)a->scale, pitch, lanes, q, qt);
            NAME(take_rows)((const real *)a->ct.data + item_at(a, &a->ct, item) + row0 * a->ct.row, a->ct.row,
                            a->ct.col, rows, wide, 1, wide_pitch, lanes, g, gt);
            real totals[NR], delta[NR];
            for (int64_t i = 0; i < lanes; i++) {
                const real *y = (const real *)a->out + (at + i) * wide;
                delta[i] = i < rows ? NAME(inner)(wide, g + i * wide_pitch, y) : 0;
                totals[i] = i < rows ? ((const real *)a->totals)[at + i] : (real)INFINITY;
            }
            memset(dqt, 0, (size_t)(width * lanes) * sizeof(real));
            for (int64_t k0 = first; k0 < keys; k0 += KEYS) {
                int64_t n = CB_MIN(KEYS, keys - k0);
                int nv = (int)(lanes / VL);
                NAME(scores)(a, item, k0, n, row0, rows, qt, lanes, biases, p);
                for (int64_t j = 0; j < n; j += MR)
                    NAME(run_tile)(nv, CB_MIN(MR, n - j), wide, v + (k0 + j) * a->v.row, a->v.row, a->v.col,
                                   gt, lanes, NULL, 0, ds + j * lanes, lanes);
                if (lanes == NR)
                    NAME(weigh)(n, NR, p, ds, totals, delta);
                else
                    NAME(weigh)(n, lanes, p, ds, totals, delta);
                NAME(add_product)(n, wide_pitch, rows, p, lanes, g, wide_pitch,
                                  dv + (k0 - first) * wide_pitch, wide_pitch);
                NAME(add_product)(n, pitch, rows, ds, lanes, q, pitch, dk + (k0 - first) * pitch, pitch);
                for (int64_t e = 0; e < width; e += MR)
                    NAME(run_tile)(nv, CB_MIN(MR, width - e), n, k + k0 * a->k.row + e * a->k.col, a->k.col,
                                   a->k.row, ds, lanes, dqt + e * lanes, lanes, dqt + e * lanes, lanes);
            }
            real factor = (real)a->scale;
            for (int64_t i = 0; i < width * lanes; i++) dqt[i] *= factor;
            NAME(turn)(rows, width, dqt, 1, lanes, dq + row0 * width, width);
        }
        for (int64_t j = first; j < stop; j++) {
            real *to_k = (real *)a->dk + (item * a->keys + j) * width,
                 *to_v = (real *)a->dv + (item * a->keys + j) * wide;
            for (int64_t e = 0; e < width; e++) to_k[e] = dk[(j - first) * pitch + e];
            for (int64_t e = 0; e < wide; e++) to_v[e] = dv[(j - first) * wide_pitch + e];
        }
    }
    cb_free(CB_CPU, p, nbytes);
}

/* items: elements of dq, whose chunks are added in order */
static void NAME(add_parts)(void *context, int64_t begin, int64_t end) {
    const attention_run *r = context;
    int64_t size = r->a->rows * r->a->width;
    while (begin < end) {
        int64_t item = begin / size, from = begin % size, n = CB_MIN(end - begin, size - from);
        const real *part = (const real *)r->parts + item * r->chunks * size + from;
        real *restrict to = (real *)r->a->dq + begin;
        for (int64_t i = 0; i < n; i++) to[i] = part[i];
        for (int64_t c = 1; c < r->chunks; c++)
            for (int64_t i = 0; i < n; i++) to[i] += part[c * size + i];
        begin += n;
    }
}
#undef exp_
