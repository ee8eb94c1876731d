/* The loops of norm_channels.c for one dtype: F, NAME. Rows and tiles lie in L1. */

/* pair: the mean and the sum of squared deviations */
static void NAME(row_moments)(int64_t n, const F *x, double *pair) {
    CB_ROW_SUM(F, n, sum, x[i]);
    F mean = sum / (F)n;
    CB_ROW_SUM(F, n, squares, (x[i] - mean) * (x[i] - mean));
    pair[0] = (double)mean;
    pair[1] = (double)squares;
}

/* pair: the sums of ct and of ct * (x - mean) */
static void NAME(row_sums)(int64_t n, const F *ct, const F *x, F mean, double *pair) {
    CB_ROW_SUM(F, n, plain, ct[i]);
    CB_ROW_SUM(F, n, scaled, ct[i] * (x[i] - mean));
    pair[0] = (double)plain;
    pair[1] = (double)scaled;
}

static void NAME(scale_row)(int64_t n, const F *x, F mean, F slope, F shift, F *y) {
    _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * slope + shift;
}

static void NAME(grad_row)(int64_t n, const F *ct, const F *x, F mean, F slope, F back, F shift, F *dx) {
    _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) dx[i] =
        ct[i] * slope + ((x[i] - mean) * back + shift);
}

static void NAME(multiply_row)(int64_t n, const F *ct, F slope, F *dx) {
    _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) dx[i] = ct[i] * slope;
}

/* The same down the columns of a tile: w of at most COLUMNS columns, rows `step` items apart. */

CB_INLINE void NAME(add_moments)(int64_t rows, int64_t w, const F *x, int64_t step, F *mean, F *squares) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < w; j++) mean[j] += x[r * step + j];
    for (int64_t j = 0; j < w; j++) mean[j] /= (F)rows;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < w; j++) {
            F v = x[r * step + j] - mean[j];
            squares[j] += v * v;
        }
}

static void NAME(column_moments)(int64_t rows, int64_t w, const F *x, int64_t step, double *pairs) {
    F mean[COLUMNS] = {0}, squares[COLUMNS] = {0};
    if (w == COLUMNS) /* sums in registers */
        NAME(add_moments)(rows, COLUMNS, x, step, mean, squares);
    else
        NAME(add_moments)(rows, w, x, step, mean, squares);
    for (int64_t j = 0; j < w; j++) {
        pairs[2 * j] = (double)mean[j];
        pairs[2 * j + 1] = (double)squares[j];
    }
}

static void NAME(column_sums)(int64_t rows, int64_t w, const F *ct, const F *x, int64_t step, const F *mean,
                              double *pairs) {
    F plain[COLUMNS] = {0}, scaled[COLUMNS] = {0};
    if (w == COLUMNS)
        for (int64_t r = 0; r < rows; r++, ct += step, x += step)
            for (int j = 0; j < COLUMNS; j++) {
                plain[j] += ct[j];
                scaled[j] += ct[j] * (x[j] - mean[j]);
            }
    else
        for (int64_t r = 0; r < rows; r++, ct += step, x += step)
            for (int64_t j = 0; j < w; j++) {
                plain[j] += ct[j];
                scaled[j] += ct[j] * (x[j] - mean[j]);
            }
    for (int64_t j = 0; j < w; j++) {
        pairs[2 * j] = (double)plain[j];
        pairs[2 * j + 1] = (double)scaled[j];
    }
}

/* each: mean, slope, shift and back of the columns */

static void NAME(scale_columns)(int64_t n, const F *x, const F *const *each, F *y) {
    const F *mean = each[0], *slope = each[1], *shift = each[2];
    _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean[i]) * slope[i] + shift[i];
}

static void NAME(grad_columns)(int64_t n, const F *ct, const F *x, const F *const *each, F *dx) {
    const F *mean = each[0], *slope = each[1], *shift = each[2], *back = each[3];
    _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) dx[i] =
        ct[i] * slope[i] + ((x[i] - mean[i]) * back[i] + shift[i]);
}

static void NAME(multiply_columns)(int64_t n, const F *ct, const F *slope, F *dx) {
    _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) dx[i] = ct[i] * slope[i];
}
