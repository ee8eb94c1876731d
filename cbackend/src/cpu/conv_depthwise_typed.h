/* Convolutions of one channel a group, in two dimensions with stride 1, and with stride 2 of small square
 * kernels: include with `real` and NAME(x) defined, after conv_typed.h.
 *
 * Vectors of a row of results read each tap at its offset, and rows that are computed together share what
 * they read. Where loads can be masked, small square kernels read planes as they lie; otherwise a plane is
 * copied into the middle of a padded one, whose zeros stay. The input gradient is the same with the kernel
 * turned round. 16-bit planes become float ones one by one, in L1. */

enum { NAME(columns) = 7 }; /* the most columns of a kernel that is read through masks */
#if defined(__AVX512F__)
#include <immintrin.h>

enum { NAME(in_place) = 1, NAME(tall) = 7 }; /* tall: the most rows of cotangents at a time */
typedef __mmask16 NAME(mask);
/* lanes outside of the mask are zeros and not read */
CB_INLINE NAME(vec) NAME(load_lanes)(const real *from, NAME(mask) mask) {
    return sizeof(real) == 4 ? (NAME(vec))_mm512_maskz_loadu_ps(mask, from)
                             : (NAME(vec))_mm512_maskz_loadu_pd((__mmask8)mask, from);
}
CB_INLINE NAME(vec) NAME(all_lanes)(NAME(mask) mask) {
    return (NAME(vec))(sizeof(real) == 4 ? _mm512_movm_epi32(mask) : _mm512_movm_epi64((__mmask8)mask));
}
/* they are read: among stores masked loads cost more than this */
CB_INLINE NAME(vec) NAME(keep_lanes)(const real *from, NAME(vec) lanes) {
    return (NAME(vec))((__m512i)lanes & (__m512i) * (const NAME(vecu) *)from);
}
CB_INLINE void NAME(store_first)(real *to, NAME(vec) v, int64_t n) {
    if (sizeof(real) == 4)
        _mm512_mask_storeu_ps(to, (__mmask16)((1u << n) - 1), (__m512)v);
    else
        _mm512_mask_storeu_pd(to, (__mmask8)((1u << n) - 1), (__m512d)v);
}
CB_INLINE NAME(vec) NAME(load_first)(const real *from, int64_t n) {
    return NAME(load_lanes)(from, (NAME(mask))(n >= NAME(vl) ? ~0u : (1u << n) - 1));
}
#else
enum { NAME(in_place) = 0, NAME(tall) = 4 };
typedef uint16_t NAME(mask);
CB_INLINE NAME(vec) NAME(load_lanes)(const real *from, NAME(mask) mask) {
    (void)mask; /* planes are padded */
    return *(const NAME(vecu) *)from;
}
CB_INLINE NAME(vec) NAME(all_lanes)(NAME(mask) mask) {
    (void)mask;
    return (NAME(vec)){0};
}
CB_INLINE NAME(vec) NAME(keep_lanes)(const real *from, NAME(vec) lanes) {
    (void)lanes;
    return *(const NAME(vecu) *)from;
}
CB_INLINE void NAME(store_first)(real *to, NAME(vec) v, int64_t n) {
    for (int i = 0; i < NAME(vl); i++)
        if (i < n) to[i] = v[i];
}
CB_INLINE NAME(vec) NAME(load_first)(const real *from, int64_t n) {
    NAME(vec) lanes = {0};
    if (n >= NAME(vl)) return *(const NAME(vecu) *)from;
    NAME(copy_run)((real *)&lanes, from, n);
    return lanes;
}
#endif

/* Which of the `n` lanes from column `at` on are columns of the input. */
CB_INLINE NAME(mask) NAME(lane_mask)(const depthwise_run *r, int64_t at, int64_t n) {
    int64_t begin = CB_MIN(CB_MAX(-at, 0), n), end = CB_MIN(CB_MAX(r->size[1] - at, begin), n);
    return (NAME(mask))((1u << end) - (1u << begin));
}

/* The same for each column of the kernel, from result j on. */
CB_INLINE void NAME(lane_masks)(const depthwise_run *r, int64_t j, int64_t n, NAME(mask) * masks) {
    for (int t = 0; t < NAME(columns); t++) masks[t] = NAME(lane_mask)(r, j + t - r->shift[1], n);
}

/* the plane's rows into the padded one, which begins with `pad` zeros on the left and above */
CB_INLINE void NAME(pad_plane)(const depthwise_run *r, const real *from, real *to) {
    to += r->pad[0] * r->size[1] + r->pad[1];
    for (int64_t y = 0; y < r->in[0]; y++, from += r->in[1], to += r->size[1])
        NAME(copy_run)(to, from, r->in[1]);
}

/* A plane as the kernels read it, from the tensor's; `padded` has room for both copies of it. */
CB_INLINE const real *NAME(read_plane)(const depthwise_run *r, const void *planes, int64_t plane,
                                       real *padded) {
    int64_t size = r->in[0] * r->in[1];
    const real *from = (const real *)planes + plane * size;
    if (r->widen) {
        real *wide = padded + r->padded;
        r->widen(size, wide, (const uint16_t *)planes + plane * size);
        from = wide;
    }
    if (!r->padded) return from;
    NAME(pad_plane)(r, from, padded);
    return padded;
}

/* One vector of results: a whole one where there is `room` for it, since rows stored later take what is too
 * much of `width`. */
CB_INLINE void NAME(depthwise_store)(NAME(vec) sum, int64_t width, int64_t room, real *to) {
    if (room >= NAME(vl))
        *(NAME(vecu) *)to = sum;
    else
        NAME(store_first)(to, sum, width);
}

/* Columns [j, j + vl) of a plane of results, for square kernels. A line of the input is read once and added
 * to the `side` rows that it belongs to, of which the first is then complete. */
CB_INLINE void NAME(depthwise_square)(int side, const depthwise_run *r, const real *x, const real *w,
                                      int64_t j, real *out) {
    enum { VL = NAME(vl) };
    NAME(vec) sum[NAME(columns)], tap[NAME(columns) * NAME(columns)], lanes[NAME(columns)];
    NAME(mask) masks[NAME(columns)];
    int64_t lines = r->size[0], pitch = r->size[1], height = r->out[0], width = r->out[1],
            at = j - r->shift[1], most = lines * pitch - VL - side + 1,
            room = (height + side - 1) * width - j;
    NAME(lane_masks)(r, j, VL, masks);
#pragma GCC unroll 7
    for (int t = 0; t < side; t++) lanes[t] = NAME(all_lanes)(masks[t]);
#pragma GCC unroll 49
    for (int t = 0; t < side * side; t++) tap[t] = w[t] - (NAME(vec)){0};
#pragma GCC unroll 7
    for (int k = 0; k < side; k++) sum[k] = (NAME(vec)){0};
    out += j - (side - 1) * width;
    at -= r->shift[0] * pitch;
    for (int64_t y = 0, line = -r->shift[0]; y < height + side - 1;
         y++, line++, at += pitch, room -= width, out += width) {
#pragma GCC unroll 7
        for (int k = side - 1; k > 0; k--) sum[k] = sum[k - 1];
        sum[0] = (NAME(vec)){0};
        if ((uint64_t)line < (uint64_t)lines) {
            NAME(vec) right[NAME(columns)];
            if (at >= 0 && at <= most)
#pragma GCC unroll 7
                for (int t = 0; t < side; t++) right[t] = NAME(keep_lanes)(x + at + t, lanes[t]);
            else
#pragma GCC unroll 7
                for (int t = 0; t < side; t++) right[t] = NAME(load_lanes)(x + at + t, masks[t]);
#pragma GCC unroll 7
            for (int t = 0; t < side; t++)
#pragma GCC unroll 7
                for (int k = 0; k < side; k++) sum[k] += tap[k * side + t] * right[t];
        }
        if (y >= side - 1) NAME(depthwise_store)(sum[side - 1], width, room, out);
    }
}

/* With stride 2, the masks of two vectors from each column of the kernel on, for n results from j on. */
typedef struct NAME(halved_masks) {
    NAME(mask) low[NAME(columns)], high[NAME(columns)];
} NAME(halved_masks);
CB_INLINE NAME(halved_masks) NAME(masks_halved)(const depthwise_run *r, int64_t j, int64_t n) {
    enum { VL = NAME(vl) };
    NAME(halved_masks) masks;
    NAME(lane_masks)(r, 2 * j, CB_MIN(VL, 2 * n), masks.low);
    NAME(lane_masks)(r, 2 * j + VL, CB_MAX(0, 2 * n - VL), masks.high);
    return masks;
}

/* right[t]: what column t of the kernel reads for a vector of results, every second number from t on */
CB_INLINE void NAME(load_halved)(int side, const real *from, const NAME(halved_masks) * masks,
                                 NAME(vec) * right) {
    enum { VL = NAME(vl) };
    typeof((NAME(vec)){0} == (NAME(vec)){0}) evens;
    for (int i = 0; i < VL; i++) evens[i] = 2 * i;
#pragma GCC unroll 3
    for (int t = 0; t < side; t += 2) {
        NAME(vec)
        low = NAME(load_lanes)(from + t, masks->low[t]),
        high = NAME(load_lanes)(from + t + VL, masks->high[t]);
        right[t] = __builtin_shuffle(low, high, evens);
        if (t + 1 < side) right[t + 1] = __builtin_shuffle(low, high, evens + 1);
    }
}

/* Columns [j, j + vl) of a plane of results with stride 2, or of the cotangents y of which the sums (vectors,
 * of all taps) of the weights' gradient get their share. Two lines of the input are read in a step and meet
 * the rows whose windows have them: rows of results are complete when the last of these lines is read. */
CB_INLINE void NAME(depthwise_halved)(int side, bool weights, const depthwise_run *r, const real *x,
                                      const real *w, int64_t j, real *y, NAME(vec) * sum) {
    int64_t n = CB_MIN(NAME(vl), r->out[1] - j), height = r->out[0], width = r->out[1], lines = r->size[0],
            pitch = r->size[1];
    int rows = (side + 1) / 2;
    NAME(halved_masks) masks = NAME(masks_halved)(r, j, n);
    NAME(vec) row[3] = {{0}, {0}, {0}};
    x += 2 * j - r->shift[1];
    y += j;
    for (int64_t step = 0, line = -r->shift[0]; step < height + rows - 1; step++) {
#pragma GCC unroll 2
        for (int m = rows - 1; m > 0; m--) row[m] = row[m - 1];
        row[0] = (NAME(vec)){0};
        if (weights && step < height) row[0] = NAME(load_first)(y + step * width, n);
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++, line++) {
            NAME(vec) right[NAME(columns)];
            if ((uint64_t)line >= (uint64_t)lines) continue;
            NAME(load_halved)(side, x + line * pitch, &masks, right);
#pragma GCC unroll 3
            for (int k = half; k < side; k += 2)
#pragma GCC unroll 5
                for (int t = 0; t < side; t++)
                    if (weights)
                        sum[k * side + t] += row[k / 2] * right[t];
                    else
                        row[k / 2] += w[k * side + t] * right[t];
        }
        if (!weights && step >= rows - 1)
            NAME(depthwise_store)(row[rows - 1], n, n, y + (step - rows + 1) * width);
    }
}

/* Results [2 j, 2 j + 2 vl) of all rows of an input gradient of stride 2: a tap belongs to every second
 * result. odd: the padding is. */
CB_INLINE void NAME(depthwise_doubled)(int side, int odd, const depthwise_run *r, const real *x,
                                       const real *w, int64_t j, real *out) {
    enum { VL = NAME(vl) };
    typeof((NAME(vec)){0} == (NAME(vec)){0}) low, high;
    NAME(mask) masks[NAME(columns)];
    int64_t at[NAME(columns)], n = r->out[1] - 2 * j, first = CB_MIN(VL, n), second = CB_MIN(VL, n - VL);
    for (int i = 0; i < VL; i++) low[i] = i / 2 + i % 2 * VL, high[i] = low[i] + VL / 2;
    for (int t = 0; t < side; t++) {
        at[t] = j + (t + (t + odd) % 2 + r->pad[1]) / 2 - r->shift[1];
        masks[t] = NAME(lane_mask)(r, at[t], VL);
    }
    int64_t height = r->out[0], width = r->out[1], lines = r->size[0], pitch = r->size[1], pad = r->pad[0],
            shift = r->shift[0];
    for (int64_t y = 0; y < height; y++, out += width) {
        NAME(vec) sum[2] = {{0}, {0}};
        for (int64_t k = (y + pad) % 2; k < side; k += 2) {
            int64_t line = (y + k + pad) / 2 - shift;
            if ((uint64_t)line >= (uint64_t)lines) continue;
#pragma GCC unroll 5
            for (int t = 0; t < side; t++)
                sum[(t + odd) % 2] += w[k * side + t] * NAME(load_lanes)(x + line * pitch + at[t], masks[t]);
        }
        NAME(depthwise_store)(__builtin_shuffle(sum[0], sum[1], low), first, first, out + 2 * j);
        if (second > 0)
            NAME(depthwise_store)(__builtin_shuffle(sum[0], sum[1], high), second, second, out + 2 * j + VL);
    }
}

/* The same for `rows` vectors from row y and column j on, for any kernel over padded planes. line, row: from
 * one to the next, in the plane and in the results. */
CB_INLINE void NAME(depthwise_tile)(int rows, const depthwise_run *r, const real *x, const real *w, int64_t y,
                                    int64_t j, int64_t line, int64_t row, real *out) {
    NAME(vec) sum[4];
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++) sum[i] = (NAME(vec)){0};
    x += y * r->size[1] + j;
    for (int64_t t = 0; t < r->taps; t++) {
        real tap = w[t];
        const real *from = x + r->offsets[t];
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++) sum[i] += tap * *(const NAME(vecu) *)(from + i * line);
    }
    int64_t width = r->out[1];
    out += y * width + j;
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++)
        NAME(depthwise_store)(sum[i], width, (r->out[0] - y) * width - j - i * row, out + i * row);
}

/* The same for a line of `long_line` vectors under a kernel longer than a vector: taps a vector apart share
 * what they read. */
#ifdef __aarch64__
#define KEEP_IN_REGISTER(vector) __asm__("" : "+w"(vector))
#else
#define KEEP_IN_REGISTER(vector) __asm__("" : "+v"(vector))
#endif
enum { NAME(long_line) = NAME(in_place) ? 8 : 4 };
CB_INLINE void NAME(depthwise_line)(const depthwise_run *r, const real *x, const real *w, int64_t j,
                                    real *out) {
    enum { VL = NAME(vl), N = NAME(long_line) };
    NAME(vec) sum[N];
    for (int i = 0; i < N; i++) sum[i] = (NAME(vec)){0};
    for (int64_t first = 0; first < r->taps; first += 2 * VL) {
        int64_t stop = CB_MIN(first + VL, r->taps), pairs = CB_MIN(stop, r->taps - VL), t = first;
        for (; t < pairs; t++) {
            NAME(vec) right = *(const NAME(vecu) *)(x + j + t);
            for (int i = 0; i < N; i++) {
                sum[i] += w[t] * right;
                right = *(const NAME(vecu) *)(x + j + t + (i + 1) * VL);
                KEEP_IN_REGISTER(right); /* the compiler would read it for each use */
                sum[i] += w[t + VL] * right;
            }
        }
        for (; t < stop; t++)
            for (int i = 0; i < N; i++) sum[i] += w[t] * *(const NAME(vecu) *)(x + j + t + i * VL);
    }
    for (int i = 0; i < N; i++) *(NAME(vecu) *)(out + j + i * VL) = sum[i];
}
#undef KEEP_IN_REGISTER

/* One plane of results. */
static void NAME(depthwise_plane)(const depthwise_run *r, const real *x, const real *w, real *out) {
    enum { VL = NAME(vl), ROWS = 4 };
    int64_t height = r->out[0], width = r->out[1];
    if (r->stride == 2) {
#define STRIDE_2(side)                                              \
    if (!r->turn)                                                   \
        NAME(depthwise_halved)(side, false, r, x, w, j, out, NULL); \
    else if (r->pad[1] % 2)                                         \
        NAME(depthwise_doubled)(side, 1, r, x, w, j, out);          \
    else                                                            \
        NAME(depthwise_doubled)(side, 0, r, x, w, j, out)
        for (int64_t j = 0; j < (r->turn ? (width + 1) / 2 : width); j += VL)
            if (r->side == 3) {
                STRIDE_2(3);
            } else if (r->side == 4) {
                STRIDE_2(4);
            } else {
                STRIDE_2(5);
            }
#undef STRIDE_2
        return;
    }
    enum { LINE = NAME(long_line) * VL };
    if (height == 1 && width >= LINE && r->taps > VL && r->offsets[r->taps - 1] == r->taps - 1) {
        for (int64_t j = 0; j < width; j += LINE) NAME(depthwise_line)(r, x, w, CB_MIN(j, width - LINE), out);
        return;
    }
    bool flat = height < ROWS && width >= ROWS * VL && !r->side; /* a tile lies in a row */
    int64_t rows = height >= ROWS ? ROWS : 1, span = flat ? ROWS * VL : VL;
    for (int64_t j = 0; j < width; j += span) {
        if (j && j + span > width) j = width - span;
        if (r->side == 3)
            NAME(depthwise_square)(3, r, x, w, j, out);
        else if (r->side == 5)
            NAME(depthwise_square)(5, r, x, w, j, out);
        else if (r->side == 7)
            NAME(depthwise_square)(7, r, x, w, j, out);
        for (int64_t y = 0; y < height && !r->side; y += rows) {
            if (y + rows > height) y = height - rows; /* some rows again */
            if (flat)
                NAME(depthwise_tile)(ROWS, r, x, w, y, j, VL, VL, out);
            else if (rows == ROWS)
                NAME(depthwise_tile)(ROWS, r, x, w, y, j, r->size[1], width, out);
            else
                NAME(depthwise_tile)(1, r, x, w, y, j, 0, 0, out);
        }
    }
}

/* items: planes of the input */
static void NAME(depthwise)(void *context, int64_t begin, int64_t end) {
    depthwise_run *r = context;
    int64_t in = r->in[0] * r->in[1], out = r->out[0] * r->out[1];
    int64_t nbytes = (r->padded + (r->widen ? in + out : 0)) * (int64_t)sizeof(real);
    real *buffer = NULL;
    if (nbytes && !(buffer = cb_alloc(CB_CPU, nbytes))) {
        __atomic_store_n(&r->status, CB_ERR_MEMORY, __ATOMIC_RELAXED);
        return;
    }
    if (r->padded) memset(buffer, 0, (size_t)r->padded * sizeof(real));
    for (int64_t plane = begin; plane < end; plane++) {
        const real *x = NAME(read_plane)(r, r->x, plane, buffer);
        int64_t first = plane % r->groups * r->filters;
        for (int64_t f = 0; f < r->filters; f++) {
            real turned[DEPTHWISE_TAPS];
            const real *w = (const real *)r->w + (first + f) * r->taps;
            if (r->turn) {
                for (int64_t t = 0; t < r->taps; t++) turned[t] = w[r->taps - 1 - t];
                w = turned;
            }
            int64_t result = (plane * r->filters + f) * out;
            real *to = r->widen ? buffer + r->padded + in : (real *)r->y + result;
            NAME(depthwise_plane)(r, x, w, to);
            if (r->widen) r->narrow(out, (uint16_t *)r->y + result, to);
        }
    }
    if (buffer) cb_free(CB_CPU, buffer, nbytes);
}

/* sum[k * side + t] += `rows` rows of the cotangent * lines of the input at tap (k, t) */
CB_INLINE void NAME(depthwise_products)(int rows, int side, const depthwise_run *r, const real *x, int64_t y,
                                        const NAME(mask) * masks, const real *ct, int64_t n,
                                        NAME(vec) * sum) {
    NAME(vec) left[NAME(tall)];
#pragma GCC unroll 7
    for (int i = 0; i < rows; i++) left[i] = NAME(load_first)(ct + i * r->out[1], n);
#pragma GCC unroll 16
    for (int line = 0; line < rows + side - 1; line++) {
        if ((uint64_t)(y + line - r->shift[0]) >= (uint64_t)r->size[0]) continue;
#pragma GCC unroll 5
        for (int t = 0; t < side; t++) {
            NAME(vec) right = NAME(load_lanes)(x + line * r->size[1] + t, masks[t]);
#pragma GCC unroll 5
            for (int k = 0; k < side; k++)
                if (line >= k && line - k < rows) sum[k * side + t] += left[line - k] * right;
        }
    }
}

/* sums (vectors, of all taps) += one plane's */
CB_INLINE void NAME(depthwise_sums)(int side, const depthwise_run *r, const real *x, const real *ct,
                                    NAME(vec) * sums) {
    enum { VL = NAME(vl), ROWS = NAME(tall) };
    NAME(vec) sum[DEPTHWISE_TAPS];
    int64_t height = r->out[0], width = r->out[1];
    x -= r->shift[0] * r->size[1] + r->shift[1];
#pragma GCC unroll 25
    for (int t = 0; t < side * side; t++) sum[t] = sums[t];
    for (int64_t j = 0; j < width; j += VL) {
        NAME(mask) masks[NAME(columns)];
        int64_t n = CB_MIN(VL, width - j), y = 0;
        NAME(lane_masks)(r, j, n, masks);
        for (; y + ROWS <= height; y += ROWS)
            NAME(depthwise_products)(ROWS, side, r, x + y * r->size[1] + j, y, masks, ct + y * width + j, n,
                                     sum);
        for (; y < height; y++)
            NAME(depthwise_products)(1, side, r, x + y * r->size[1] + j, y, masks, ct + y * width + j, n,
                                     sum);
    }
#pragma GCC unroll 25
    for (int t = 0; t < side * side; t++) sums[t] = sum[t];
}

/* The same with stride 2. */
CB_INLINE void NAME(depthwise_sums_halved)(int side, const depthwise_run *r, const real *x, const real *ct,
                                           NAME(vec) * sums) {
    NAME(vec) sum[DEPTHWISE_TAPS];
#pragma GCC unroll 25
    for (int t = 0; t < side * side; t++) sum[t] = sums[t];
    for (int64_t j = 0; j < r->out[1]; j += NAME(vl))
        NAME(depthwise_halved)(side, true, r, x, NULL, j, (real *)ct, sum);
#pragma GCC unroll 25
    for (int t = 0; t < side * side; t++) sums[t] = sum[t];
}

/* items: channels; all images of one are summed in order */
static void NAME(depthwise_weight)(void *context, int64_t begin, int64_t end) {
    depthwise_run *r = context;
    int64_t in = r->in[0] * r->in[1], out = r->out[0] * r->out[1];
    int64_t nbytes = (r->padded + (r->widen ? in + out : 0)) * (int64_t)sizeof(real);
    real *buffer = NULL;
    if (nbytes && !(buffer = cb_alloc(CB_CPU, nbytes))) {
        __atomic_store_n(&r->status, CB_ERR_MEMORY, __ATOMIC_RELAXED);
        return;
    }
    if (r->padded) memset(buffer, 0, (size_t)r->padded * sizeof(real));
    for (int64_t channel = begin; channel < end; channel++) {
        NAME(vec) sums[DEPTHWISE_TAPS];
        for (int t = 0; t < r->taps; t++) sums[t] = (NAME(vec)){0};
        for (int64_t image = 0; image < r->images; image++) {
            int64_t plane = image * r->groups + channel;
            const real *x = NAME(read_plane)(r, r->x, plane, buffer), *ct = (const real *)r->w + plane * out;
            if (r->widen) {
                real *wide = buffer + r->padded + in;
                r->widen(out, wide, (const uint16_t *)r->w + plane * out);
                ct = wide;
            }
            if (r->stride == 2)
                r->side == 3   ? NAME(depthwise_sums_halved)(3, r, x, ct, sums)
                : r->side == 4 ? NAME(depthwise_sums_halved)(4, r, x, ct, sums)
                               : NAME(depthwise_sums_halved)(5, r, x, ct, sums);
            else
                r->side == 3 ? NAME(depthwise_sums)(3, r, x, ct, sums)
                             : NAME(depthwise_sums)(5, r, x, ct, sums);
        }
        for (int64_t t = 0; t < r->taps; t++) ((real *)r->y)[channel * r->taps + t] = NAME(vec_sum)(sums[t]);
    }
    if (buffer) cb_free(CB_CPU, buffer, nbytes);
}
