/* The inner kernels of matrix products and convolutions for one type: include with `real` and NAME(x)
 * defined.
 *
 * A tile of MR x NV vectors of the result stays in registers; each step multiplies one column of a (broadcast
 * numbers) with NV vectors of a row of b. Shapes of the tile follow the number of vector registers. An
 * includer whose items are not the numbers summed (pairs of bfloat16) defines `accum`, the type of sums, and
 * MULTIPLY_ADD. */
#ifndef accum
#define accum real
#define MULTIPLY_ADD(sum, left, right) ((sum) += (left) * (right))
#endif
#if defined(__AVX512F__)
enum { NAME(bytes) = 64, NAME(mr) = 8, NAME(nv) = 3 };
#elif defined(__AVX__)
enum { NAME(bytes) = 32, NAME(mr) = 4, NAME(nv) = 3 };
#elif defined(__aarch64__)
enum { NAME(bytes) = 16, NAME(mr) = 8, NAME(nv) = 3 };
#else
enum { NAME(bytes) = 16, NAME(mr) = 4, NAME(nv) = 2 };
#endif
enum { NAME(vl) = NAME(bytes) / sizeof(real), NAME(nr) = NAME(nv) * NAME(vl) };
typedef real NAME(vec) __attribute__((vector_size(NAME(bytes))));
/* the same, at any address */
typedef real NAME(vecu) __attribute__((vector_size(NAME(bytes)), aligned(sizeof(real)), may_alias));
typedef accum NAME(sums) __attribute__((vector_size(NAME(bytes))));
typedef accum NAME(sumsu) __attribute__((vector_size(NAME(bytes)), aligned(sizeof(accum)), may_alias));

/* c[i][0..nv) = init[i] + sum over k of a[i][k] * b[k]. Rows from `rows` on are computed twice over and not
 * stored. Row k of b begins at b + offsets[k], or at b + k * b_row without offsets; column k of a at
 * a + a_offsets[k] where there are such. init: NULL for zeros;
 * init_row 0 repeats one row (a bias). Nothing is taken to be aligned. */
CB_INLINE void NAME(tile)(int mr, int nv, int64_t rows, int64_t k, const real *a, int64_t a_row,
                          int64_t a_col, const int32_t *a_offsets, const real *b, int64_t b_row,
                          const int32_t *offsets, const accum *init, int64_t init_row, accum *c,
                          int64_t c_row) {
    enum { AHEAD = 32 };
    NAME(sums) sum[NAME(mr)][NAME(nv)];
    const real *row[NAME(mr)];
    for (int i = 0; i < mr; i++) {
        int64_t clamped = CB_MIN(i, rows - 1);
        row[i] = a + clamped * a_row;
        for (int v = 0; v < nv; v++) {
            if (init)
                sum[i][v] = *(const NAME(sumsu) *)(init + clamped * init_row + v * NAME(vl));
            else
                sum[i][v] = (NAME(sums)){0};
        }
    }
    int64_t at = 0;
    for (; k > 0; k--) {
        NAME(vec) right[NAME(nv)];
        const real *from = offsets ? b + *offsets++ : b;
        for (int v = 0; v < nv; v++) right[v] = *(const NAME(vecu) *)(from + v * NAME(vl));
        if (a_offsets) {
            if (mr == NAME(mr)) /* columns to come lie far apart: a row of one each time */
                __builtin_prefetch(a + a_offsets[CB_MIN(AHEAD, k - 1)] + k % mr * a_row);
            at = *a_offsets++;
        }
        for (int i = 0; i < mr; i++) {
            real left = row[i][at];
            for (int v = 0; v < nv; v++) MULTIPLY_ADD(sum[i][v], left, right[v]);
        }
        at += a_col;
        b += b_row;
    }
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
        if (i < rows)
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++) *(NAME(sumsu) *)(c + i * c_row + v * NAME(vl)) = sum[i][v];
}

/* the tile with constant sizes for every (mr, nv) */
#define CB_TILES(nv)               \
    if (NAME(mr) > 4 && rows > 4)  \
        CB_ONE_TILE(NAME(mr), nv); \
    else if (rows > 2)             \
        CB_ONE_TILE(4, nv);        \
    else if (rows == 2)            \
        CB_ONE_TILE(2, nv);        \
    else                           \
        CB_ONE_TILE(1, nv)
#define CB_ALL_TILES        \
    if (nv == 1) {          \
        CB_TILES(1);        \
    } else if (nv == 2) {   \
        CB_TILES(2);        \
    } else {                \
        CB_TILES(NAME(nv)); \
    }
__attribute__((unused)) static void NAME(run_tile)(int nv, int64_t rows, int64_t k, const real *a,
                                                   int64_t a_row, int64_t a_col, const real *b, int64_t b_row,
                                                   const accum *init, int64_t init_row, accum *c,
                                                   int64_t c_row) {
#define CB_ONE_TILE(mr, nv) \
    NAME(tile)(mr, nv, rows, k, a, a_row, a_col, NULL, b, b_row, NULL, init, init_row, c, c_row)
    CB_ALL_TILES
#undef CB_ONE_TILE
}
/* rows of b at offsets, a at offsets or (NULL) contiguous along k, nothing to begin with */
__attribute__((unused)) static void NAME(offset_tile)(int nv, int64_t rows, int64_t k, const real *a,
                                                      int64_t a_row, const int32_t *a_offsets,
                                                      const int32_t *offsets, const real *b, accum *c,
                                                      int64_t c_row) {
    if (a_offsets) {
#define CB_ONE_TILE(mr, nv) \
    NAME(tile)(mr, nv, rows, k, a, a_row, 0, a_offsets, b, 0, offsets, NULL, 0, c, c_row)
        CB_ALL_TILES
#undef CB_ONE_TILE
        return;
    }
#define CB_ONE_TILE(mr, nv) NAME(tile)(mr, nv, rows, k, a, a_row, 1, NULL, b, 0, offsets, NULL, 0, c, c_row)
    CB_ALL_TILES
#undef CB_ONE_TILE
}
#undef CB_ALL_TILES
#undef CB_TILES

/* 4 x 4 numbers: columns of four strided rows become rows of `width` numbers */
typedef real NAME(vec4) __attribute__((vector_size(4 * sizeof(real))));
typedef real NAME(vec4u) __attribute__((vector_size(4 * sizeof(real)), aligned(sizeof(real)), may_alias));
CB_INLINE void NAME(transpose4)(const real *from, int64_t from_row, real *to, int64_t to_row) {
    NAME(vec4) r0 = *(const NAME(vec4u) *)from, r1 = *(const NAME(vec4u) *)(from + from_row);
    NAME(vec4)
    r2 = *(const NAME(vec4u) *)(from + 2 * from_row), r3 = *(const NAME(vec4u) *)(from + 3 * from_row);
    NAME(vec4)
    a = __builtin_shufflevector(r0, r1, 0, 4, 1, 5), b = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
    NAME(vec4)
    c = __builtin_shufflevector(r0, r1, 2, 6, 3, 7), d = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
    *(NAME(vec4u) *)to = __builtin_shufflevector(a, b, 0, 1, 4, 5);
    *(NAME(vec4u) *)(to + to_row) = __builtin_shufflevector(a, b, 2, 3, 6, 7);
    *(NAME(vec4u) *)(to + 2 * to_row) = __builtin_shufflevector(c, d, 0, 1, 4, 5);
    *(NAME(vec4u) *)(to + 3 * to_row) = __builtin_shufflevector(c, d, 2, 3, 6, 7);
}

CB_INLINE real NAME(vec_sum)(NAME(vec) v) {
    real lanes[NAME(vl)];
    memcpy(lanes, &v, sizeof v);
    for (int half = NAME(vl) / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    return lanes[0];
}

/* the sums of four vectors, one behind the other */
CB_INLINE void NAME(sum4)(const NAME(vec) * v, real *to) {
    enum { PARTS = NAME(vl) / 4 > 0 ? NAME(vl) / 4 : 1 };
    if (NAME(vl) < 4) {
        for (int i = 0; i < 4; i++) to[i] = NAME(vec_sum)(v[i]);
        return;
    }
    NAME(vec4) part[4], turned[4];
    for (int i = 0; i < 4; i++) {
        NAME(vec4) quarter[PARTS];
        memcpy(quarter, v + i, sizeof quarter);
        for (int half = PARTS / 2; half > 0; half /= 2)
            for (int q = 0; q < half; q++) quarter[q] += quarter[q + half];
        part[i] = quarter[0];
    }
    NAME(transpose4)((const real *)part, 4, (real *)turned, 4);
    *(NAME(vec4u) *)to = (turned[0] + turned[1]) + (turned[2] + turned[3]);
}

/* to[r][j] = b[r][j] for k rows and n columns of any strides */
static void NAME(turn)(int64_t k, int64_t n, const real *b, int64_t b_row, int64_t b_col, real *to,
                       int64_t to_row) {
    if (b_row == 1 && b_col != 1) {
        CB_FN(turn)(sizeof(real), k, n, b, b_col, to, to_row);
        return;
    }
    for (int64_t r = 0; r < k; r++) {
        real *row = to + r * to_row;
        const real *from = b + r * b_row;
        if (b_col == 1)
            for (int64_t j = 0; j < n; j++) row[j] = from[j];
        else
            for (int64_t j = 0; j < n; j++) row[j] = from[j * b_col];
    }
}

/* b[0..k)[0..n) into rows of `width` numbers, zeros from n on */
__attribute__((unused)) static void NAME(pack)(int64_t k, int64_t n, int64_t width, const real *b,
                                               int64_t b_row, int64_t b_col, real *to) {
    int64_t whole = n / NAME(vl) * NAME(vl);
    if (b_row == 1 && b_col != 1 && n < width && width - whole == NAME(vl) && k >= NAME(vl) &&
        NAME(vl) >= 4 && sizeof(real) >= 4) { /* squares of vl */
        if (whole) NAME(turn)(k, whole, b, b_row, b_col, to, width);
        CB_FN(turn_padded)(sizeof(real), k, n - whole, b + whole * b_col, b_col, to + whole, width);
        return;
    }
    NAME(turn)(k, n, b, b_row, b_col, to, width);
    for (int64_t r = 0; r < k && n < width; r++)
        for (int64_t j = n; j < width; j++) to[r * width + j] = 0;
}
