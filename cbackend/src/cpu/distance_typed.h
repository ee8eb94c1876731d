/* Distances between rows for one type: include with F, INT, NAME(x), POW(x, y) of x >= 0 and ROOT(x)
 * defined. */
#define VECTOR (BYTES / (int)sizeof(F))
#define WIDE (2 * VECTOR)
typedef F NAME(vec) __attribute__((vector_size(BYTES)));
typedef F NAME(vecu) __attribute__((vector_size(BYTES), aligned(sizeof(F)), may_alias));
typedef INT NAME(bits) __attribute__((vector_size(BYTES)));
#define VEC NAME(vec)
#define BITS NAME(bits)

/* where vectors have their signs */
CB_INLINE BITS NAME(sign)(void) { return (BITS)((VEC){0} * -1); }
CB_INLINE VEC NAME(size)(VEC d) { return (VEC)((BITS)d & ~NAME(sign)()); }

/* not inline: gcc vectorises this loop in a function of its own only */
static __attribute__((noinline)) VEC NAME(power)(VEC size, F p) {
    F items[VECTOR];
    *(NAME(vecu) *)items = size;
    CB_WHOLE for (int j = 0; j < VECTOR; j++) items[j] = POW(items[j], p);
    return *(NAME(vecu) *)items;
}

/* |d|^p to a sum, or the larger of the two; nan stays */
CB_INLINE VEC NAME(put)(int norm, VEC sum, VEC d, F p) {
    if (norm == SQUARES) return sum + d * d;
    if (norm == COUNT) return sum + (VEC)((BITS)((VEC){0} + 1) & (BITS)(d != 0));
    d = NAME(size)(d);
    if (norm == SIZES) return sum + d;
    if (norm == LARGEST) {
        BITS take = (BITS)(d > sum) | (BITS)(d != d);
        return (VEC)(((BITS)d & take) | ((BITS)sum & ~take));
    }
    return sum + NAME(power)(d, p);
}

/* rows i to i + ROWS of a chunk against one panel, items [0, depth) of both */
CB_INLINE void NAME(block)(int norm, const F *const *row, int64_t depth, const F *panel, F p, F *totals) {
    VEC sum[ROWS][2];
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < 2; v++) sum[r][v] = (VEC){0};
    for (int64_t m = 0; m < depth; m++) {
        VEC y[2];
        for (int v = 0; v < 2; v++) y[v] = *(const VEC *)(panel + m * WIDE + v * VECTOR);
        for (int r = 0; r < ROWS; r++)
            for (int v = 0; v < 2; v++) sum[r][v] = NAME(put)(norm, sum[r][v], row[r][m] - y[v], p);
    }
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < 2; v++) {
            VEC *total = (VEC *)(totals + r * WIDE + v * VECTOR);
            *total = norm != LARGEST ? *total + sum[r][v] : NAME(put)(LARGEST, *total, sum[r][v], 0);
        }
}

/* One unit: up to TALL rows of x against WIDE rows of y. */
CB_INLINE void NAME(between)(int norm, const task *t, int64_t unit) {
    _Alignas(64) F panel[DEEP * WIDE], totals[TALL * WIDE];
    int64_t panels = (t->others + WIDE - 1) / WIDE, b = unit / (panels * t->chunks);
    int64_t first = unit / panels % t->chunks * TALL, left = unit % panels * WIDE;
    int64_t columns = CB_MIN(WIDE, t->others - left), rows = CB_MIN(TALL, t->rows - first), m = t->items;
    if (t->pairs) rows = CB_MIN(rows, left + columns - 1 - first);
    if (rows <= 0) return;
    const F *x = (const F *)t->x + (b * t->rows + first) * m;
    const F *y = (const F *)t->y + (b * t->others + left) * m;
    memset(totals, 0, sizeof totals);
    if (columns < WIDE) memset(panel, 0, sizeof panel);
    for (int64_t at = 0; at < m; at += DEEP) {
        int64_t depth = CB_MIN(DEEP, m - at);
        CB_FN(turn)(sizeof(F), depth, columns, y + at, m, panel, WIDE);
        for (int64_t i = 0; i < rows; i += ROWS) {
            const F *row[ROWS];
            for (int r = 0; r < ROWS; r++) row[r] = x + CB_MIN(i + r, rows - 1) * m + at;
            NAME(block)(norm, row, depth, panel, (F)t->p, totals + i * WIDE);
        }
    }
    for (int64_t i = 0; i < rows; i++) {
        F *total = totals + i * WIDE, *out = (F *)t->out;
        if (norm == SQUARES)
            for (int j = 0; j < WIDE; j++) total[j] = ROOT(total[j]);
        if (norm == POWERS)
            for (int j = 0; j < WIDE; j++) total[j] = POW(total[j], (F)(1 / t->p));
        int64_t from = t->pairs ? CB_MAX(0, first + i + 1 - left) : 0;
        out += t->pairs ? b * pairs_of(t->rows) + place(t->rows, first + i, left + from)
                        : (b * t->rows + first + i) * t->others + left;
        memcpy(out, total + from, (size_t)(columns - from) * sizeof(F));
    }
}

/* What a distance's differences are multiplied by; the largest one's cotangent is that of the places that
 * have it. */
CB_INLINE F NAME(weight)(const task *t, F ct, F distance) {
    if (t->norm == SQUARES) return distance == 0 ? 0 : ct / distance;
    if (t->norm == POWERS) return distance == 0 ? 0 : ct / POW(distance, (F)(t->p - 1));
    return ct;
}

/* weights, and distances where they are wanted, of rows [begin, end) of the whole batch, as squares */
static void NAME(weigh)(void *context, int64_t begin, int64_t end) {
    const task *t = context;
    int64_t n = t->others;
    for (int64_t row = begin; row < end; row++) {
        F *weights = (F *)t->weights + row * n,
          *distances = t->distances ? (F *)t->distances + row * n : NULL;
        int64_t b = row / t->rows, i = row % t->rows;
        for (int64_t j = 0; j < n; j++) {
            int64_t at = row * n + j;
            if (t->pairs) {
                if (i == j) {
                    weights[j] = 0;
                    if (distances) distances[j] = 0;
                    continue;
                }
                at = b * pairs_of(n) + place(n, CB_MIN(i, j), CB_MAX(i, j));
            }
            F distance = ((const F *)t->out)[at];
            weights[j] = NAME(weight)(t, ((const F *)t->ct)[at], distance);
            if (distances) distances[j] = distance;
        }
    }
}

CB_INLINE VEC NAME(slope)(int norm, VEC d, F weight, F distance, F power) {
    VEC w = (VEC){0} + weight;
    if (norm == SQUARES) return w * d;
    BITS sign = (BITS)d & NAME(sign)(), any = (BITS)(d != 0);
    if (norm == LARGEST) any &= (BITS)(NAME(size)(d) == distance);
    if (norm == POWERS) w *= NAME(power)(NAME(size)(d), power);
    return (VEC)(((BITS)w ^ sign) & any);
}

/* One unit: WIDE columns of up to TALL rows of the gradient. */
CB_INLINE void NAME(pull)(int norm, const task *t, int64_t unit) {
    _Alignas(64) F panel[DEEP * WIDE], totals[TALL * WIDE], own[TALL * WIDE];
    int64_t panels = (t->items + WIDE - 1) / WIDE, b = unit / (panels * t->chunks), m = t->items;
    int64_t first = unit / panels % t->chunks * TALL, left = unit % panels * WIDE, n = t->others;
    int64_t columns = CB_MIN(WIDE, m - left), rows = CB_MIN(TALL, t->rows - first);
    const F *x = (const F *)t->x + (b * t->rows + first) * m + left, *y = (const F *)t->y + b * n * m + left;
    const F *weights = (const F *)t->weights + (b * t->rows + first) * n;
    const F *distances = norm == LARGEST ? (const F *)t->distances + (b * t->rows + first) * n : weights;
    memset(totals, 0, sizeof totals);
    if (columns < WIDE) {
        memset(panel, 0, sizeof panel);
        memset(own, 0, sizeof own);
    }
    for (int64_t i = 0; i < rows; i++) memcpy(own + i * WIDE, x + i * m, (size_t)columns * sizeof(F));
    for (int64_t at = 0; at < n; at += DEEP) {
        int64_t depth = CB_MIN(DEEP, n - at);
        for (int64_t j = 0; j < depth; j++)
            memcpy(panel + j * WIDE, y + (at + j) * m, (size_t)columns * sizeof(F));
        for (int64_t i = 0; i < rows; i += PULLED) {
            VEC sum[PULLED][2], mine[PULLED][2];
            int64_t row[PULLED];
            for (int r = 0; r < PULLED; r++) {
                row[r] = CB_MIN(i + r, rows - 1);
                for (int v = 0; v < 2; v++) {
                    sum[r][v] = (VEC){0};
                    mine[r][v] = *(const VEC *)(own + row[r] * WIDE + v * VECTOR);
                }
            }
            for (int64_t j = 0; j < depth; j++)
                for (int r = 0; r < PULLED; r++)
                    for (int v = 0; v < 2; v++) {
                        VEC d = mine[r][v] - *(const VEC *)(panel + j * WIDE + v * VECTOR);
                        int64_t k = row[r] * n + at + j;
                        sum[r][v] += NAME(slope)(norm, d, weights[k], distances[k], (F)(t->p - 1));
                    }
            for (int r = 0; r < PULLED; r++)
                for (int v = 0; v < 2; v++) *(VEC *)(totals + (i + r) * WIDE + v * VECTOR) += sum[r][v];
        }
    }
    F *dx = (F *)t->dx + (b * t->rows + first) * m + left;
    for (int64_t i = 0; i < rows; i++) memcpy(dx + i * m, totals + i * WIDE, (size_t)columns * sizeof(F));
}

#define EACH(name, what, norm)                                        \
    static void NAME(name)(void *t, int64_t begin, int64_t end) {     \
        for (int64_t u = begin; u < end; u++) NAME(what)(norm, t, u); \
    }
EACH(count, between, COUNT)
EACH(sizes, between, SIZES)
EACH(squares, between, SQUARES)
EACH(powers, between, POWERS)
EACH(largest, between, LARGEST)
EACH(pull_sizes, pull, SIZES)
EACH(pull_squares, pull, SQUARES)
EACH(pull_powers, pull, POWERS)
EACH(pull_largest, pull, LARGEST)
static body *const NAME(forward)[] = {NAME(count), NAME(sizes), NAME(squares), NAME(powers), NAME(largest)};
static body *const NAME(backward)[] = {NULL, NAME(pull_sizes), NAME(pull_squares), NAME(pull_powers),
                                       NAME(pull_largest)};
#undef EACH
#undef BITS
#undef VEC
#undef WIDE
#undef VECTOR
#undef ROOT
#undef POW
#undef NAME
#undef INT
#undef F
