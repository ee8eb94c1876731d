/* Resizing along one dimension: each item of the result is a weighted sum of a few items of x.
 *
 * Along another than the last dimension whole rows are added. Along the last one a block of rows is
 * transposed into a scratch tile, so that vectors hold one place of many rows, and its results are transposed
 * back. Sums run over the taps in order, whatever the piece. */
#include <stdatomic.h>

#include "cpu.h"

enum { RESAMPLE_WORK = 16384, RESAMPLE_COLUMNS = 256, RESAMPLE_FEW = 4 };

typedef struct resample_call {
    const int64_t *places;
    const void *weights, *from;
    void *to;
    int64_t outer, n, m, inner, taps;
    int64_t across, span; /* blocks of results along m; places that the widest of them needs */
    int64_t *low;         /* of each block */
    atomic_int failed;    /* no memory */
} resample_call;

#define F float
#define NAME(f) f##_f32
#include "resample_typed.h"
#define F double
#define NAME(f) f##_f64
#include "resample_typed.h"

static int block_bounds(resample_call *c) {
    c->span = 1;
    for (int64_t b = 0; b < c->across; b++) {
        int64_t begin = b * RESAMPLE_COLUMNS * c->taps,
                end = CB_MIN(c->m, (b + 1) * RESAMPLE_COLUMNS) * c->taps, low = INT64_MAX, high = -1;
        for (int64_t i = begin; i < end; i++) {
            low = CB_MIN(low, c->places[i]);
            high = CB_MAX(high, c->places[i]);
        }
        if (low < 0 || high >= c->n)
            return cb_fail(CB_ERR_INDEX, "resample: expected places in [0, %lld], got %lld.",
                           (long long)(c->n - 1), (long long)(low < 0 ? low : high));
        c->low[b] = low;
        c->span = CB_MAX(c->span, high - low + 1);
    }
    return CB_OK;
}

int CB_FN(resample)(cb_tensor *out, const cb_tensor *x, int dim, const cb_tensor *places,
                    const cb_tensor *weights) {
    resample_call c = {.places = places->data,
                       .weights = weights->data,
                       .from = x->data,
                       .to = out->data,
                       .outer = 1,
                       .n = x->shape[dim],
                       .m = out->shape[dim],
                       .inner = 1,
                       .taps = places->shape[1]};
    for (int d = 0; d < dim; d++) c.outer *= x->shape[d];
    for (int d = dim + 1; d < x->ndim; d++) c.inner *= x->shape[d];
    c.across = (c.m + RESAMPLE_COLUMNS - 1) / RESAMPLE_COLUMNS;
    int64_t room = c.across * (int64_t)sizeof *c.low;
    c.low = cb_alloc(CB_CPU, room);
    int status = c.low ? block_bounds(&c) : cb_error_code();
    if (!status) {
        bool narrow = x->dtype == CB_F32;
        if (c.inner > 1 || c.outer < RESAMPLE_FEW) {
            cb_parallel(c.outer * c.m, CB_MAX(RESAMPLE_WORK / c.inner, 1),
                        narrow ? sum_rows_f32 : sum_rows_f64, &c);
        } else {
            int64_t lanes = narrow ? LANES_f32 : LANES_f64, down = (c.outer + lanes - 1) / lanes;
            int64_t work = lanes * CB_MIN(c.m, RESAMPLE_COLUMNS);
            cb_parallel(down * c.across, CB_MAX(RESAMPLE_WORK / work, 1),
                        narrow ? sum_turned_f32 : sum_turned_f64, &c);
            if (atomic_load(&c.failed))
                status = cb_fail(CB_ERR_MEMORY, "resample: the system has no memory left.");
        }
    }
    cb_free(CB_CPU, c.low, room);
    return status;
}
