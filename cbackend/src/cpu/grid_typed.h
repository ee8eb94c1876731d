/* The kernels of grid.c for one dtype: F, NAME, and with AVX-512 PICK(x, place, inside): a vector of items, 0
 * where not inside. */

enum { NAME(LANES) = 64 / sizeof(F) };
typedef F NAME(lanes) __attribute__((vector_size(64)));

/* Along one dimension the taps of a tile's points: their places, are they inside, their weights and the
 * derivatives of those by the grid's coordinate. */
typedef struct {
    _Alignas(64) int32_t place[GRID_WAYS][GRID_TILE], inside[GRID_WAYS][GRID_TILE];
    _Alignas(64) F weight[GRID_WAYS][GRID_TILE], slope[GRID_WAYS][GRID_TILE];
} NAME(line);

/* The taps of a tile's points in a plane; slope[d * count + k]: by coordinate d of tap k. */
typedef struct {
    int count;
    _Alignas(64) int32_t place[GRID_TAPS][GRID_TILE], inside[GRID_TAPS][GRID_TILE];
    _Alignas(64) F weight[GRID_TAPS][GRID_TILE], slope[GRID_SLOPES][GRID_TILE];
} NAME(taps);

typedef struct {
    const cb_grid *g;
    F *y, *gx, *gat;
    const F *x, *at, *ct;
    int64_t tiles, plane; /* of an image: tiles of points, places */
    int64_t width, groups, room; /* of packed images */
    F *packed;
} NAME(grid_run);

CB_INLINE F NAME(whole)(F a) {
    return sizeof(F) == 4 ? (F)__builtin_floorf((float)a) : (F)__builtin_floor((double)a);
}

/* at: the tile's first point; n is a multiple of 16, and points from `valid` on are left to chance */
static void NAME(find_line)(const cb_grid *g, int d, const F *at, int n, int valid, NAME(line) * l) {
    bool cubic = g->mode == CB_GRID_CUBIC, reflects = g->padding == CB_GRID_REFLECTION;
    int32_t size = (int32_t)g->size[3 - g->nd + d], start[GRID_TILE];
    F top = (F)(size - 1), shift = g->align ? 0 : (F)0.5, span = top + 2 * shift, half = span / 2;
    F a[GRID_TILE], rest[GRID_TILE], factor[GRID_TILE]; /* factor: how a changes with the coordinate */
    at += g->nd - 1 - d; /* the last dimension's comes first */
    for (int i = 0; i < valid; i++) {
        F v = at[i * g->nd];
        a[i] = v == v ? v : -1;
    }
    for (int i = valid; i < n; i++) a[i] = 0;
    for (int i = 0; i < n; i++) a[i] = (a[i] + 1) * half;
    /* rounded before the difference, as torch does: what is halfway between elements depends on it */
    __asm__ volatile("" : : "r"(a) : "memory");
    for (int i = 0; i < n; i++) {
        a[i] -= shift;
        factor[i] = half;
    }
    if (!cubic && reflects)
        for (int i = 0; i < n; i++) {
            F away = a[i] + shift, distance = away < 0 ? -away : away, turns = NAME(whole)(distance / span);
            F extra = distance - turns * span;
            bool odd = turns - 2 * NAME(whole)(turns / 2) != 0;
            a[i] = (odd ? span - extra : extra) - shift;
            factor[i] = odd != (away < 0) ? -factor[i] : factor[i];
        }
    if (!cubic && g->padding != CB_GRID_ZEROS)
        for (int i = 0; i < n; i++) {
            factor[i] = (a[i] > 0) & (a[i] < top) ? factor[i] : 0;
            a[i] = a[i] > 0 ? a[i] < top ? a[i] : top : 0;
        }
    if (g->mode == CB_GRID_NEAREST)
        for (int i = 0; i < n; i++)
            a[i] = sizeof(F) == 4 ? (F)__builtin_rintf((float)a[i]) : (F)__builtin_rint((double)a[i]);
    /* far outside is as good as near, unless it is reflected, and fits an integer */
    F least = cubic && reflects ? -(F)(1 << 30) : -3, most = cubic && reflects ? (F)(1 << 30) : (F)size + 1;
    for (int i = 0; i < n; i++) {
        F v = a[i] > least ? a[i] : least;
        v = v < most ? v : most;
        F low = NAME(whole)(v);
        start[i] = (int32_t)low - cubic;
        rest[i] = v - low;
    }
    for (int j = 0; j < grid_ways(g); j++) {
        int32_t *place = l->place[j];
        F *weight = l->weight[j], *slope = l->slope[j];
        for (int i = 0; i < n; i++) place[i] = start[i] + j;
        if (cubic && g->padding == CB_GRID_BORDER)
            for (int i = 0; i < n; i++) place[i] = place[i] < 0 ? 0 : place[i] < size ? place[i] : size - 1;
        else if (cubic && reflects)
            for (int i = 0; i < n; i++)
                if (place[i] < 0 || place[i] >= size) place[i] = grid_reflected(place[i], size, g->align);
        for (int i = 0; i < n; i++) l->inside[j][i] = (place[i] >= 0) & (place[i] < size);
        if (cubic) {
            const double *c = grid_cubic[j];
            for (int i = 0; i < n; i++) {
                F r = rest[i];
                weight[i] = (((F)c[0] * r + (F)c[1]) * r + (F)c[2]) * r + (F)c[3];
                slope[i] = ((3 * (F)c[0] * r + 2 * (F)c[1]) * r + (F)c[2]) * factor[i];
            }
        } else if (g->mode == CB_GRID_NEAREST) {
            for (int i = 0; i < n; i++) weight[i] = 1;
        } else {
            for (int i = 0; i < n; i++) {
                weight[i] = j ? rest[i] : 1 - rest[i];
                slope[i] = j ? factor[i] : -factor[i];
            }
        }
    }
}

static void NAME(find_taps)(const cb_grid *g, const F *at, int n, bool slopes, NAME(taps) * c) {
    NAME(line) lines[3];
    int nd = g->nd, ways = grid_ways(g), all = (n + 15) / 16 * 16; /* whole vectors of points are picked */
    c->count = 1;
    for (int d = 0; d < nd; d++) {
        NAME(find_line)(g, d, at, all, n, &lines[d]);
        c->count *= ways;
    }
    for (int k = 0; k < c->count; k++) {
        int32_t *place = c->place[k], *inside = c->inside[k];
        F *weight = c->weight[k];
        int digit[3];
        for (int d = nd - 1, rest = k; d >= 0; d--, rest /= ways) digit[d] = rest % ways;
        memcpy(place, lines[0].place[digit[0]], (size_t)all * sizeof *place);
        memcpy(inside, lines[0].inside[digit[0]], (size_t)all * sizeof *inside);
        memcpy(weight, lines[0].weight[digit[0]], (size_t)all * sizeof *weight);
        for (int d = 1; d < nd; d++) {
            const NAME(line) *l = &lines[d];
            int32_t size = (int32_t)g->size[3 - nd + d];
            for (int i = 0; i < all; i++) {
                inside[i] &= l->inside[digit[d]][i];
                place[i] = place[i] * size + l->place[digit[d]][i];
                weight[i] *= l->weight[digit[d]][i];
            }
        }
        for (int i = 0; i < all; i++) place[i] = inside[i] ? place[i] : 0;
        for (int d = 0; slopes && d < nd; d++) {
            F *slope = c->slope[d * c->count + k];
            memcpy(slope, lines[d].slope[digit[d]], (size_t)all * sizeof *slope);
            for (int e = 0; e < nd; e++)
                for (int i = 0; e != d && i < all; i++) slope[i] *= lines[e].weight[digit[e]][i];
        }
    }
}

/* values of x at a tap of a tile's points, 0 outside */
CB_INLINE void NAME(pick)(const F *x, const NAME(taps) * c, int k, int n, F *value) {
#if defined(PICK)
    for (int i = 0; i < n; i += NAME(LANES))
        *(NAME(lanes) *)(value + i) = PICK(x, c->place[k] + i, c->inside[k] + i);
#else
    for (int i = 0; i < n; i++) {
        F v = x[c->place[k][i]];
        value[i] = c->inside[k][i] ? v : 0;
    }
#endif
}

/* the sums over `count` taps, written to y */
CB_INLINE void NAME(weighted)(const F *x, const NAME(taps) * c, int count, int n, F *y) {
#if defined(PICK)
    for (int i = 0; i < n; i += NAME(LANES)) {
        NAME(lanes) sum = {0};
        for (int k = 0; k < count; k++)
            sum += *(const NAME(lanes) *)(c->weight[k] + i) * PICK(x, c->place[k] + i, c->inside[k] + i);
        memcpy(y + i, &sum, (size_t)CB_MIN(n - i, NAME(LANES)) * sizeof(F));
    }
#else
    for (int i = 0; i < n; i++) {
        F sum = 0;
        for (int k = 0; k < count; k++) {
            F v = x[c->place[k][i]];
            sum += c->weight[k][i] * (c->inside[k][i] ? v : 0);
        }
        y[i] = sum;
    }
#endif
}

static void NAME(forward_tiles)(void *context, int64_t begin, int64_t end) {
    const NAME(grid_run) *r = context;
    const cb_grid *g = r->g;
    int64_t plane = g->size[0] * g->size[1] * g->size[2];
    NAME(taps) c;
    for (int64_t t = begin; t < end; t++) {
        int64_t image = t / r->tiles, first = t % r->tiles * GRID_TILE;
        int n = (int)CB_MIN(GRID_TILE, g->points - first);
        NAME(find_taps)(g, r->at + (image * g->points + first) * g->nd, n, false, &c);
        for (int64_t channel = 0; channel < g->channels; channel++) {
            const F *x = r->x + (image * g->channels + channel) * plane;
            F *y = r->y + (image * g->channels + channel) * g->points + first;
            switch (c.count) {
                case 1: NAME(weighted)(x, &c, 1, n, y); break;
                case 4: NAME(weighted)(x, &c, 4, n, y); break;
                case 16: NAME(weighted)(x, &c, 16, n, y); break;
                default: NAME(weighted)(x, &c, c.count, n, y);
            }
        }
    }
}

/* ---- many channels: images with the channels of a place side by side, a group of them a vector ----
 *
 * A group is `width` channels, missing ones 0. Behind the places of an image lies a row of zeros: outside. */

/* where the taps of a tile's points lie in a packed group */
static void NAME(find_rows)(const NAME(taps) * c, int n, int64_t plane, int64_t width,
                            int64_t rows[GRID_TAPS][GRID_TILE]) {
    for (int k = 0; k < c->count; k++)
        for (int i = 0; i < n; i++) rows[k][i] = (c->inside[k][i] ? c->place[k][i] : plane) * width;
}

/* channels of a group side by side: to [count, width] from rows of `step` items */
static void NAME(pack)(const F *from, int64_t step, int64_t channels, int64_t width, int64_t count, F *to) {
    if (channels < width) memset(to, 0, (size_t)(count * width) * sizeof(F));
    CB_FN(turn)(sizeof(F), count, CB_MIN(channels, width), from, step, to, width);
}

static void NAME(pack_images)(void *context, int64_t begin, int64_t end) {
    const NAME(grid_run) *r = context;
    const cb_grid *g = r->g;
    for (int64_t item = begin; item < end; item++) {
        int64_t image = item / r->groups, first = item % r->groups * r->width;
        F *to = r->packed + item * (r->plane + 1) * r->width;
        NAME(pack)(r->x + (image * g->channels + first) * r->plane, r->plane, g->channels - first, r->width,
                   r->plane, to);
        memset(to + r->plane * r->width, 0, (size_t)r->width * sizeof(F));
    }
}

/* For groups of W channels, a vector each. blend: y [n, W] from the taps' rows of x; spill: the transpose;
 * slant: to each point's sums [nd, W] by how much ct times the blend changes with its coordinates. */
#define GRID_GROUP(W)                                                                                        \
    typedef F NAME(group##W) __attribute__((vector_size((W) * sizeof(F)), aligned(sizeof(F)), may_alias));   \
    CB_INLINE void NAME(blend##W)(const F *x, const NAME(taps) * c, const int64_t (*rows)[GRID_TILE], int n, \
                                  F *restrict y, int count, int nd) {                                        \
        (void)nd;                                                                                            \
        for (int i = 0; i < n; i++) {                                                                        \
            NAME(group##W) sum = c->weight[0][i] * *(const NAME(group##W) *)(x + rows[0][i]);                \
            for (int k = 1; k < count; k++)                                                                  \
                sum += c->weight[k][i] * *(const NAME(group##W) *)(x + rows[k][i]);                          \
            *(NAME(group##W) *)(y + i * (W)) = sum;                                                          \
        }                                                                                                    \
    }                                                                                                        \
    CB_INLINE void NAME(spill##W)(F * gx, const NAME(taps) * c, const int64_t (*rows)[GRID_TILE], int n,     \
                                  const F *ct, int count, int nd) {                                          \
        (void)nd;                                                                                            \
        for (int i = 0; i < n; i++) {                                                                        \
            NAME(group##W) v = *(const NAME(group##W) *)(ct + i * (W));                                      \
            for (int k = 0; k < count; k++) *(NAME(group##W) *)(gx + rows[k][i]) += c->weight[k][i] * v;     \
        }                                                                                                    \
    }                                                                                                        \
    CB_INLINE void NAME(slant##W)(const F *x, const NAME(taps) * c, const int64_t (*rows)[GRID_TILE], int n, \
                                  const F *ct, F *restrict sums, int count, int nd) {                        \
        for (int i = 0; i < n; i++) {                                                                        \
            NAME(group##W) v = *(const NAME(group##W) *)(ct + i * (W)), by[3] = {0};                         \
            for (int k = 0; k < count; k++) {                                                                \
                NAME(group##W) row = *(const NAME(group##W) *)(x + rows[k][i]);                              \
                by[0] += c->slope[k][i] * row;                                                               \
                if (nd > 1) by[1] += c->slope[count + k][i] * row;                                           \
                if (nd > 2 && 3 * count <= GRID_SLOPES) by[2] += c->slope[2 * count + k][i] * row;           \
            }                                                                                                \
            for (int d = 0; d < nd; d++) *(NAME(group##W) *)(sums + (i * nd + d) * (W)) += v * by[d];        \
        }                                                                                                    \
    }
GRID_GROUP(4)
GRID_GROUP(8)
GRID_GROUP(16)
#undef GRID_GROUP

/* one of these functions, with the taps and dimensions of linear and cubic planes as constants */
#define GRID_EACH(f, W, ...)                                     \
    (c.count == 4 && g->nd == 2 ? NAME(f##W)(__VA_ARGS__, 4, 2)  \
     : c.count == 16            ? NAME(f##W)(__VA_ARGS__, 16, 2) \
                                : NAME(f##W)(__VA_ARGS__, c.count, g->nd))
#define GRID_CALL(f, ...)                            \
    switch (r->width) {                              \
        case 4: GRID_EACH(f, 4, __VA_ARGS__); break; \
        case 8: GRID_EACH(f, 8, __VA_ARGS__); break; \
        default: GRID_EACH(f, 16, __VA_ARGS__);      \
    }

static void NAME(packed_tiles)(void *context, int64_t begin, int64_t end) {
    const NAME(grid_run) *r = context;
    const cb_grid *g = r->g;
    NAME(taps) c;
    int64_t rows[GRID_TAPS][GRID_TILE];
    _Alignas(64) F y[GRID_TILE * NAME(LANES)];
    for (int64_t t = begin; t < end; t++) {
        int64_t image = t / r->tiles, first = t % r->tiles * GRID_TILE;
        int n = (int)CB_MIN(GRID_TILE, g->points - first);
        NAME(find_taps)(g, r->at + (image * g->points + first) * g->nd, n, false, &c);
        NAME(find_rows)(&c, n, r->plane, r->width, rows);
        for (int64_t group = 0; group < r->groups; group++) {
            const F *x = r->packed + (image * r->groups + group) * (r->plane + 1) * r->width;
            int64_t channel = group * r->width;
            GRID_CALL(blend, x, &c, (const int64_t (*)[GRID_TILE])rows, n, y)
            CB_FN(turn)(sizeof(F), CB_MIN(r->width, g->channels - channel), n, y, r->width,
                        r->y + (image * g->channels + channel) * g->points + first, g->points);
        }
    }
}

/* Chooses a width and packs the images; false where that does not pay, or there is no memory. */
static bool NAME(packs)(NAME(grid_run) * r) {
    const cb_grid *g = r->g;
    if (g->channels < 3 || g->points * 8 < r->plane) return false;
    r->width = NAME(LANES);
    while (r->width > 4 && (r->width / 2 >= g->channels || g->n * ((g->channels + r->width - 1) / r->width) <
                                                               4)) /* something for each thread */
        r->width /= 2;
    r->groups = (g->channels + r->width - 1) / r->width;
    r->room = g->n * r->groups * (r->plane + 1) * r->width * (int64_t)sizeof(F);
    r->packed = cb_alloc(CB_CPU, r->room);
    if (!r->packed) return false;
    cb_parallel(g->n * r->groups, CB_MAX(GRID_WORK / (r->plane * r->width), 1), NAME(pack_images), r);
    return true;
}

static void NAME(grid_forward)(const cb_grid *g, void *y, const void *x, const void *at) {
    NAME(grid_run) r = {.g = g, .y = y, .x = x, .at = at};
    r.tiles = (g->points + GRID_TILE - 1) / GRID_TILE;
    r.plane = g->size[0] * g->size[1] * g->size[2];
    int64_t work = GRID_TILE * g->channels * grid_taps(g);
    bool packed = (g->mode != CB_GRID_NEAREST || GRID_PACKS_ONE) && NAME(packs)(&r);
    cb_parallel(g->n * r.tiles, CB_MAX(GRID_WORK / work, 1),
                packed ? NAME(packed_tiles) : NAME(forward_tiles), &r);
    if (packed) cb_free(CB_CPU, r.packed, r.room);
}

enum { NAME(GROUP) = 4 }; /* channels that share the finding of corners */

/* gradients of the image: items are groups of channels */
static void NAME(image_grads)(void *context, int64_t begin, int64_t end) {
    const NAME(grid_run) *r = context;
    const cb_grid *g = r->g;
    int64_t plane = g->size[0] * g->size[1] * g->size[2];
    int64_t groups = (g->channels + NAME(GROUP) - 1) / NAME(GROUP);
    NAME(taps) c;
    for (int64_t item = begin; item < end; item++) {
        int64_t image = item / groups, from = item % groups * NAME(GROUP);
        int64_t to = CB_MIN(from + NAME(GROUP), g->channels);
        memset(r->gx + (image * g->channels + from) * plane, 0, (size_t)((to - from) * plane) * sizeof(F));
        for (int64_t first = 0; first < g->points; first += GRID_TILE) {
            int n = (int)CB_MIN(GRID_TILE, g->points - first);
            NAME(find_taps)(g, r->at + (image * g->points + first) * g->nd, n, false, &c);
            for (int64_t channel = from; channel < to; channel++) {
                F *gx = r->gx + (image * g->channels + channel) * plane;
                const F *ct = r->ct + (image * g->channels + channel) * g->points + first;
                for (int i = 0; i < n; i++)
                    for (int k = 0; k < c.count; k++)
                        if (c.inside[k][i]) gx[c.place[k][i]] += c.weight[k][i] * ct[i];
            }
        }
    }
}

static void NAME(put_place_grads)(const NAME(grid_run) * r, int64_t point, int n, F (*grad)[GRID_TILE]) {
    int nd = r->g->nd;
    for (int i = 0; i < n; i++)
        for (int d = 0; d < nd; d++) r->gat[(point + i) * nd + nd - 1 - d] = grad[d][i];
}

static void NAME(place_grads)(void *context, int64_t begin, int64_t end) {
    const NAME(grid_run) *r = context;
    const cb_grid *g = r->g;
    int64_t plane = g->size[0] * g->size[1] * g->size[2];
    NAME(taps) c;
    for (int64_t t = begin; t < end; t++) {
        int64_t image = t / r->tiles, first = t % r->tiles * GRID_TILE;
        int n = (int)CB_MIN(GRID_TILE, g->points - first);
        F sum[3][GRID_TILE] = {{0}};
        NAME(find_taps)(g, r->at + (image * g->points + first) * g->nd, n, true, &c);
        for (int64_t channel = 0; channel < g->channels; channel++) {
            const F *x = r->x + (image * g->channels + channel) * plane;
            const F *ct = r->ct + (image * g->channels + channel) * g->points + first;
            for (int k = 0; k < c.count; k++) {
                _Alignas(64) F value[GRID_TILE];
                NAME(pick)(x, &c, k, n, value);
                for (int i = 0; i < n; i++) value[i] *= ct[i];
                for (int d = 0; d < g->nd; d++)
                    for (int i = 0; i < n; i++) sum[d][i] += c.slope[d * c.count + k][i] * value[i];
            }
        }
        NAME(put_place_grads)(r, image * g->points + first, n, sum);
    }
}

/* gradients of the image: a group of channels is one thread's, in order of the points */
static void NAME(packed_image_grads)(void *context, int64_t begin, int64_t end) {
    NAME(grid_run) *r = context;
    const cb_grid *g = r->g;
    int64_t rows[GRID_TAPS][GRID_TILE];
    NAME(taps) c;
    _Alignas(64) F ct[GRID_TILE * NAME(LANES)];
    for (int64_t item = begin; item < end; item++) { /* in place of the image: its sums */
        int64_t image = item / r->groups, channel = item % r->groups * r->width;
        F *gx = r->packed + item * (r->plane + 1) * r->width;
        memset(gx, 0, (size_t)((r->plane + 1) * r->width) * sizeof(F));
        for (int64_t first = 0; first < g->points; first += GRID_TILE) {
            int n = (int)CB_MIN(GRID_TILE, g->points - first);
            NAME(find_taps)(g, r->at + (image * g->points + first) * g->nd, n, false, &c);
            NAME(find_rows)(&c, n, r->plane, r->width, rows);
            NAME(pack)(r->ct + (image * g->channels + channel) * g->points + first, g->points,
                       g->channels - channel, r->width, n, ct);
            GRID_CALL(spill, gx, &c, (const int64_t (*)[GRID_TILE])rows, n, ct)
        }
        CB_FN(turn)(sizeof(F), CB_MIN(r->width, g->channels - channel), r->plane, gx, r->width,
                    r->gx + (image * g->channels + channel) * r->plane, r->plane);
    }
}

static void NAME(packed_place_grads)(void *context, int64_t begin, int64_t end) {
    const NAME(grid_run) *r = context;
    const cb_grid *g = r->g;
    int64_t rows[GRID_TAPS][GRID_TILE], width = r->width;
    NAME(taps) c;
    _Alignas(64) F ct[GRID_TILE * NAME(LANES)], sums[3 * GRID_TILE * NAME(LANES)];
    for (int64_t t = begin; t < end; t++) {
        int64_t image = t / r->tiles, first = t % r->tiles * GRID_TILE;
        int n = (int)CB_MIN(GRID_TILE, g->points - first);
        NAME(find_taps)(g, r->at + (image * g->points + first) * g->nd, n, true, &c);
        NAME(find_rows)(&c, n, r->plane, width, rows);
        memset(sums, 0, (size_t)(g->nd * n * width) * sizeof(F));
        for (int64_t group = 0; group < r->groups; group++) {
            const F *x = r->packed + (image * r->groups + group) * (r->plane + 1) * width;
            NAME(pack)(r->ct + (image * g->channels + group * width) * g->points + first, g->points,
                       g->channels - group * width, width, n, ct);
            GRID_CALL(slant, x, &c, (const int64_t (*)[GRID_TILE])rows, n, ct, sums)
        }
        F grad[3][GRID_TILE] = {{0}};
        for (int d = 0; d < g->nd; d++) {
            CB_FN(turn)(sizeof(F), width, n, sums + d * width, g->nd * width, ct, GRID_TILE);
            for (int j = 0; j < width; j++)
                for (int i = 0; i < n; i++) grad[d][i] += ct[j * GRID_TILE + i];
        }
        NAME(put_place_grads)(r, image * g->points + first, n, grad);
    }
}

static void NAME(grid_backward)(const cb_grid *g, void *gx, void *gat, const void *ct, const void *x,
                                const void *at) {
    NAME(grid_run) r = {.g = g, .gx = gx, .gat = gat, .ct = ct, .x = x, .at = at};
    r.tiles = (g->points + GRID_TILE - 1) / GRID_TILE;
    r.plane = g->size[0] * g->size[1] * g->size[2];
    int64_t work = GRID_TILE * g->channels * grid_taps(g);
    bool packed = NAME(packs)(&r);
    if (g->mode == CB_GRID_NEAREST)
        memset(gat, 0, (size_t)(g->n * g->points * g->nd) * sizeof(F));
    else
        cb_parallel(g->n * r.tiles, CB_MAX(GRID_WORK / (work + 1), 1),
                    packed ? NAME(packed_place_grads) : NAME(place_grads), &r);
    if (packed) {
        cb_parallel(g->n * r.groups, 1, NAME(packed_image_grads), &r);
        cb_free(CB_CPU, r.packed, r.room);
        return;
    }
    cb_parallel(g->n * ((g->channels + NAME(GROUP) - 1) / NAME(GROUP)),
                CB_MAX(GRID_WORK / ((g->points + 1) * grid_taps(g)), 1), NAME(image_grads), &r);
}

#undef GRID_CALL
#undef GRID_EACH
#undef F
#undef NAME
#undef PICK
