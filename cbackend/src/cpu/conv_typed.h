/* Convolutions of one real type: include with `real` and NAME(x) defined, after conv_plan.h. See conv.c for the plan. */
#include "gemm_kernel.h"

static void NAME(conv_tile)(int nv, int64_t rows, int64_t k, const real *w, int64_t w_row, const int32_t *offsets, const real *x, real *c,
                            int64_t c_row) {
#define TILE(mr, nv) NAME(tile)(mr, nv, rows, k, w, w_row, 1, x, 0, offsets, NULL, 0, c, c_row)
#define TILES(nv)                                      \
    if (NAME(mr) > 4 && rows > 4) TILE(NAME(mr), nv);  \
    else if (rows > 2) TILE(4, nv);                    \
    else if (rows == 2) TILE(2, nv);                   \
    else TILE(1, nv)
    if (nv == 1) {
        TILES(1);
    } else if (nv == 2) {
        TILES(2);
    } else {
        TILES(NAME(nv));
    }
#undef TILES
#undef TILE
}

CB_INLINE void NAME(copy_run)(real *to, const real *from, int64_t n) {
    enum { VL = NAME(vl) };
    int64_t i = 0;
    for (; i + VL <= n; i += VL) *(NAME(vecu) *)(to + i) = *(const NAME(vecu) *)(from + i);
    if (i < n && n >= VL) *(NAME(vecu) *)(to + n - VL) = *(const NAME(vecu) *)(from + n - VL);
    else
        for (; i < n; i++) to[i] = from[i];
}

/* The padded (and phase-split) copy of one image's channels, for the outputs from `band` on. */
static void NAME(prepare)(const conv_plan *p, const real *x, int64_t band, real *to) {
    int64_t plane = p->in[0] * p->in[1] * p->in[2];
    for (int64_t c = 0; c < p->channels; c++)
        for (int u = 0; u < p->sources; u++) {
            int64_t start[3], step = p->step[2];
            for (int d = 0; d < 3; d++) start[d] = p->start[u][d] + (d == p->band_dim ? band * p->step[d] : 0);
            /* columns [left, right) of a row lie inside the input */
            int64_t left = start[2] >= 0 ? 0 : CB_MIN(p->size[2], (-start[2] + step - 1) / step);
            int64_t right = start[2] >= p->in[2] ? 0 : CB_MIN(p->size[2], (p->in[2] - 1 - start[2]) / step + 1);
            right = CB_MAX(left, right);
            for (int64_t z = 0; z < p->size[0]; z++)
                for (int64_t y = 0; y < p->size[1]; y++, to += p->size[2]) {
                    int64_t iz = start[0] + z * p->step[0], iy = start[1] + y * p->step[1];
                    if (iz < 0 || iz >= p->in[0] || iy < 0 || iy >= p->in[1]) {
                        memset(to, 0, (size_t)p->size[2] * sizeof *to);
                        continue;
                    }
                    const real *from = x + c * plane + (iz * p->in[1] + iy) * p->in[2] + start[2];
                    for (int64_t i = 0; i < left; i++) to[i] = 0;
                    if (step == 1) NAME(copy_run)(to + left, from + left, right - left);
                    else if (step == 2)
                        for (int64_t i = left; i < right; i++) to[i] = from[2 * i];
                    else
                        for (int64_t i = left; i < right; i++) to[i] = from[i * step];
                    for (int64_t i = right; i < p->size[2]; i++) to[i] = 0;
                }
        }
}

/* items: (image, group, band) */
static void NAME(correlate)(void *context, int64_t begin, int64_t end) {
    enum { NR = NAME(nr), VL = NAME(vl), MR = NAME(mr) };
    conv_run *r = context;
    const conv_plan *p = r->plan;
    int64_t pitch = round_up(p->flat, NR), held = p->channels * p->channel_size + NR;
    int64_t nbytes = (held + MR * pitch) * (int64_t)sizeof(real);
    real *buffer = cb_alloc(CB_CPU, nbytes), *flat = buffer + held;
    if (!buffer) {
        __atomic_store_n(&r->status, CB_ERR_MEMORY, __ATOMIC_RELAXED);
        return;
    }
    memset(buffer + held - NR, 0, NR * sizeof(real)); /* read past the last row, never used */
    int64_t in_plane = p->in[0] * p->in[1] * p->in[2], out_plane = p->out[0] * p->out[1] * p->out[2];
    for (int64_t item = begin; item < end; item++) {
        int64_t image = item / p->bands, band = item % p->bands * p->band, group = image % p->groups;
        real *out = (real *)r->out + image * p->rows * out_plane;
        NAME(prepare)(p, (const real *)r->in + image * p->channels * in_plane, band, buffer);
        for (int q = 0; q < p->parts; q++) {
            const conv_part *part = &p->part[q];
            int64_t count[3], first[3], k = part->taps * p->channels;
            bool any = true;
            for (int d = 0; d < 3; d++) {
                int64_t skip = d == p->band_dim ? band : 0;
                count[d] = d == p->band_dim ? CB_MIN(p->band, part->count[d] - skip) : part->count[d];
                first[d] = part->first[d] + skip * part->step[d];
                any &= count[d] > 0;
            }
            if (!any) continue;
            int64_t length = (count[1] - 1) * p->size[2] + count[2];
            const real *weights = (const real *)part->weights + group * p->rows * k;
            for (int64_t i = 0; i < p->rows; i += MR) {
                int64_t rows = CB_MIN(MR, p->rows - i);
                for (int64_t z = 0; z < count[0]; z++) {
                    const real *x = buffer + z * p->size[1] * p->size[2];
                    for (int64_t f = 0; f < length;) {
                        int nv = (int)CB_MIN(NAME(nv), (length - f + VL - 1) / VL);
                        NAME(conv_tile)(nv, rows, k, weights + i * k, k, part->offsets, x + f, flat + f, pitch);
                        f += nv * VL;
                    }
                    for (int64_t row = 0; row < rows; row++) {
                        real *to = out + (i + row) * out_plane + ((first[0] + z * part->step[0]) * p->out[1] + first[1]) * p->out[2] + first[2];
                        const real *from = flat + row * pitch;
                        int64_t hop = part->step[2], to_row = part->step[1] * p->out[2];
                        for (int64_t y = 0; y < count[1]; y++, to += to_row, from += p->size[2]) {
                            if (hop == 1) NAME(copy_run)(to, from, count[2]);
                            else
                                for (int64_t x2 = 0; x2 < count[2]; x2++) to[x2 * hop] = from[x2];
                        }
                    }
                }
            }
        }
    }
    cb_free(CB_CPU, buffer, nbytes);
}

/* Weights of the input gradient for one part: [group][channel][filter][tap]. */
static void NAME(turn_weights)(const cb_conv_shape *s, const conv_part *part, const void *w_, void *to_) {
    const real *w = w_;
    real *to = to_;
    int64_t all = s->kernel[0] * s->kernel[1] * s->kernel[2];
    for (int64_t g = 0; g < s->groups; g++)
        for (int64_t c = 0; c < s->ic; c++)
            for (int64_t f = 0; f < s->oc; f++)
                for (int64_t t = 0; t < part->taps; t++) *to++ = w[((g * s->oc + f) * s->ic + c) * all + part->tap[t]];
}
