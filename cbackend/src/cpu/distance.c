/* p-norms of the differences between rows, and their gradients, without the differences in memory.
 *
 * A unit of work is some rows of x against a panel: a few rows of y turned, so that vectors go along them,
 * and of few items at a time, so that it stays in L1. Sums of DEEP items are added up on their own: they
 * round less than sums of all. In the gradient vectors go along the items. */
#include <math.h>

#include "cpu.h"
#include "lanes.h"
#include "vmath.h"

#if defined(__AVX512F__)
enum { BYTES = 64, ROWS = 4, PULLED = 4 };
#elif defined(__AVX__)
enum { BYTES = 32, ROWS = 4, PULLED = 2 };
#else
enum { BYTES = 16, ROWS = 4, PULLED = 2 };
#endif
enum { DEEP = 128, TALL = 128, WORK = 1 << 19 /* differences a piece */ };
enum { COUNT, SIZES, SQUARES, POWERS, LARGEST };
typedef void body(void *context, int64_t begin, int64_t end);

typedef struct task {
    const void *x, *y, *ct;
    void *out, *dx, *weights, *distances;
    int64_t batch, rows, others, items, chunks; /* chunks of TALL rows */
    double p;
    int norm;
    bool pairs; /* distances between the rows of x, each pair once */
} task;

static int64_t pairs_of(int64_t rows) { return rows * (rows - 1) / 2; }
/* of rows i < j among the distances of pairs */
static int64_t place(int64_t rows, int64_t i, int64_t j) { return i * (2 * rows - i - 1) / 2 + j - i - 1; }

#define F float
#define INT int32_t
#define NAME(f) f##_f32
#define POW(x, y) cb_pow_magnitude_f32(x, y)
#define ROOT(x) sqrtf(x)
#include "distance_typed.h"
#define F double
#define INT int64_t
#define NAME(f) f##_f64
#define POW(x, y) cb_pow_magnitude_f64(x, y)
#define ROOT(x) sqrt(x)
#include "distance_typed.h"

static task task_of(const cb_tensor *x, const cb_tensor *y, double p) {
    int n = x->ndim;
    task t = {.x = x->data, .y = y ? y->data : x->data, .p = p, .pairs = !y, .batch = 1};
    t.rows = x->shape[n - 2];
    t.others = (y ? y : x)->shape[n - 2];
    t.items = x->shape[n - 1];
    t.chunks = (t.rows + TALL - 1) / TALL;
    for (int d = 0; d < n - 2; d++) t.batch *= x->shape[d];
    t.norm = p == 0 ? COUNT : p == 1 ? SIZES : p == 2 ? SQUARES : isinf(p) ? LARGEST : POWERS;
    return t;
}

/* units of `tall` rows by `wide` columns, `deep` differences each */
static void each_unit(task *t, int64_t columns, int64_t deep, int size, body *unit) {
    int64_t wide = 2 * BYTES / size, units = t->batch * t->chunks * ((columns + wide - 1) / wide);
    int64_t differences = CB_MIN(t->rows, TALL) * wide * CB_MAX(deep, 1);
    cb_parallel(units, CB_MAX(1, WORK / differences), unit, t);
}

int CB_FN(distances)(const cb_tensor *x, const cb_tensor *y, double p, cb_tensor *out) {
    task t = task_of(x, y, p);
    t.out = out->data;
    bool single = x->dtype == CB_F32;
    each_unit(&t, t.others, t.items, x->itemsize, single ? forward_f32[t.norm] : forward_f64[t.norm]);
    return CB_OK;
}

int CB_FN(distances_grad)(const cb_tensor *ct, const cb_tensor *x, const cb_tensor *y, const cb_tensor *out,
                          double p, cb_tensor *dx) {
    task t = task_of(x, y, p);
    if (t.norm == COUNT || !t.others) {
        memset(dx->data, 0, (size_t)(dx->numel * dx->itemsize));
        return CB_OK;
    }
    int64_t nbytes = t.batch * t.rows * t.others * x->itemsize, sets = t.norm == LARGEST ? 2 : 1;
    char *made = cb_alloc(CB_CPU, sets * nbytes);
    if (!made) return CB_ERR_MEMORY;
    t.ct = ct->data;
    t.out = out->data;
    t.dx = dx->data;
    t.weights = made;
    t.distances = sets > 1 ? made + nbytes : NULL;
    bool single = x->dtype == CB_F32;
    cb_parallel(t.batch * t.rows, CB_MAX(1, (1 << 14) / t.others), single ? weigh_f32 : weigh_f64, &t);
    each_unit(&t, t.items, t.others, x->itemsize, single ? backward_f32[t.norm] : backward_f64[t.norm]);
    cb_free(CB_CPU, made, sets * nbytes);
    return CB_OK;
}
