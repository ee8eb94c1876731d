/* Convolutions of one channel a group, in two dimensions with stride 1: include with `real` and NAME(x)
 * defined, after conv_typed.h.
 *
 * A plane is copied into the middle of a padded one, whose zeros stay; vectors of a row of results then read
 * each tap at its offset. The input gradient is the same with the kernel turned round. */

/* the plane's rows into the padded one, which begins with `pad` zeros on the left and above */
CB_INLINE void NAME(pad_plane)(const depthwise_run *r, const real *from, real *to) {
    to += r->pad[0] * r->pitch + r->pad[1];
    for (int64_t y = 0; y < r->in[0]; y++, from += r->in[1], to += r->pitch)
        NAME(copy_run)(to, from, r->in[1]);
}

/* `rows` rows of one vector of results */
CB_INLINE void NAME(depthwise_tile)(int rows, const depthwise_run *r, const real *x, const real *w,
                                    NAME(vec) * sum) {
    for (int i = 0; i < rows; i++) sum[i] = (NAME(vec)){0};
    for (int64_t t = 0; t < r->taps; t++) {
        real tap = w[t];
        const real *from = x + r->offsets[t];
        for (int i = 0; i < rows; i++) sum[i] += tap * *(const NAME(vecu) *)(from + i * r->pitch);
    }
}

/* The same for square kernels whose rows are neighbours: a vector of the input serves `side` rows. */
CB_INLINE void NAME(depthwise_square)(int rows, int side, const depthwise_run *r, const real *x,
                                      const real *w, NAME(vec) * sum) {
    int64_t step = r->offsets[1];
    for (int i = 0; i < rows; i++) sum[i] = (NAME(vec)){0};
#pragma GCC unroll 8
    for (int line = 0; line < rows + side - 1; line++)
#pragma GCC unroll 5
        for (int t = 0; t < side; t++) {
            NAME(vec) right = *(const NAME(vecu) *)(x + line * r->pitch + t * step);
#pragma GCC unroll 5
            for (int k = 0; k < side; k++)
                if (line >= k && line - k < rows) sum[line - k] += w[k * side + t] * right;
        }
}

/* One plane of results. Narrow rows are stored as whole vectors too, where the next rows, stored later, take
 * what is too much. */
CB_INLINE void NAME(depthwise_plane)(int side, const depthwise_run *r, const real *x, const real *w,
                                     real *out) {
    enum { VL = NAME(vl), ROWS = 4 };
    int64_t height = r->out[0], width = r->out[1];
    int rows = height >= ROWS ? ROWS : 1;
    for (int64_t y = 0; y < height; y += rows) {
        if (y + rows > height) y = height - rows; /* some rows again */
        for (int64_t j = 0; j < width; j += VL) {
            if (j && j + VL > width) j = width - VL;
            NAME(vec) sum[ROWS];
            if (rows == ROWS && side)
                NAME(depthwise_square)(ROWS, side, r, x + y * r->pitch + j, w, sum);
            else if (rows == ROWS)
                NAME(depthwise_tile)(ROWS, r, x + y * r->pitch + j, w, sum);
            else
                NAME(depthwise_tile)(1, r, x + y * r->pitch + j, w, sum);
            for (int i = 0; i < rows; i++) {
                real *to = out + (y + i) * width + j;
                if ((height - y - i) * width - j >= VL)
                    *(NAME(vecu) *)to = sum[i];
                else
                    for (int64_t e = 0; e < width; e++) to[e] = sum[i][e];
            }
        }
    }
}

/* items: planes of the input */
static void NAME(depthwise)(void *context, int64_t begin, int64_t end) {
    depthwise_run *r = context;
    int64_t in = r->in[0] * r->in[1], out = r->out[0] * r->out[1];
    int64_t nbytes = r->padded * (int64_t)sizeof(real);
    real *buffer = cb_alloc(CB_CPU, nbytes);
    if (!buffer) {
        __atomic_store_n(&r->status, CB_ERR_MEMORY, __ATOMIC_RELAXED);
        return;
    }
    memset(buffer, 0, (size_t)nbytes);
    for (int64_t plane = begin; plane < end; plane++) {
        NAME(pad_plane)(r, (const real *)r->x + plane * in, buffer);
        int64_t first = plane % r->groups * r->filters;
        for (int64_t f = 0; f < r->filters; f++) {
            real turned[MAX_TAPS];
            const real *w = (const real *)r->w + (first + f) * r->taps;
            if (r->turn) {
                for (int64_t t = 0; t < r->taps; t++) turned[t] = w[r->taps - 1 - t];
                w = turned;
            }
            real *to = (real *)r->y + (plane * r->filters + f) * out;
            if (r->side == 3)
                NAME(depthwise_plane)(3, r, buffer, w, to);
            else if (r->side == 5)
                NAME(depthwise_plane)(5, r, buffer, w, to);
            else
                NAME(depthwise_plane)(0, r, buffer, w, to);
        }
    }
    cb_free(CB_CPU, buffer, nbytes);
}

/* sums[t] (vectors) += ct * x at tap t over one plane, for nine taps */
CB_INLINE void NAME(depthwise_sums)(const depthwise_run *r, const real *x, const real *ct, NAME(vec) * sums) {
    enum { VL = NAME(vl), TAPS = 9 };
    NAME(vec) sum[TAPS];
    int64_t width = r->out[1];
    for (int t = 0; t < TAPS; t++) sum[t] = sums[t];
    for (int64_t y = 0; y < r->out[0]; y++, x += r->pitch, ct += width)
        for (int64_t j = 0; j < width; j += VL) {
            NAME(vec) left = {0};
            if (j + VL <= width)
                left = *(const NAME(vecu) *)(ct + j);
            else
                NAME(copy_run)((real *)&left, ct + j, width - j);
            for (int t = 0; t < TAPS; t++) sum[t] += left * *(const NAME(vecu) *)(x + r->offsets[t] + j);
        }
    for (int t = 0; t < TAPS; t++) sums[t] = sum[t];
}

/* items: channels; all images of one are summed in order */
static void NAME(depthwise_weight)(void *context, int64_t begin, int64_t end) {
    enum { VL = NAME(vl) };
    depthwise_run *r = context;
    int64_t in = r->in[0] * r->in[1], out = r->out[0] * r->out[1];
    int64_t nbytes = r->padded * (int64_t)sizeof(real);
    real *buffer = cb_alloc(CB_CPU, nbytes);
    if (!buffer) {
        __atomic_store_n(&r->status, CB_ERR_MEMORY, __ATOMIC_RELAXED);
        return;
    }
    memset(buffer, 0, (size_t)nbytes);
    for (int64_t channel = begin; channel < end; channel++) {
        NAME(vec) sums[9];
        for (int t = 0; t < 9; t++) sums[t] = (NAME(vec)){0};
        for (int64_t image = 0; image < r->images; image++) {
            int64_t plane = image * r->groups + channel;
            NAME(pad_plane)(r, (const real *)r->x + plane * in, buffer);
            const real *ct = (const real *)r->w + plane * out;
            NAME(depthwise_sums)(r, buffer, ct, sums);
        }
        for (int64_t t = 0; t < r->taps; t++) {
            real lane[VL];
            memcpy(lane, &sums[t], sizeof lane);
            for (int half = VL / 2; half > 0; half /= 2)
                for (int i = 0; i < half; i++) lane[i] += lane[i + half];
            ((real *)r->y)[channel * r->taps + t] = lane[0];
        }
    }
    cb_free(CB_CPU, buffer, nbytes);
}
