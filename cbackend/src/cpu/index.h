/* Advanced indexing, gather and scatter: what index.c, index_along.c and index_kernels.c share.
 *
 * Every case comes down to tables of element offsets, made a tile at a time, and to loops that move items
 * (one item an offset) or rows (a run an offset). Writes in place go in index order for each element of x,
 * and pieces of the parallel loops never share an element of x, so duplicates give the same result for any
 * number of threads. */
#ifndef CB_CPU_INDEX_H
#define CB_CPU_INDEX_H

#include "../index_views.h"
#include "cpu.h"

enum { TILE = 1024, WORK = 32768, SHORT = 128 /* bytes of a row */ };

/* to[places[i]] = op(to[places[i]], from[sources[i]]); a table that is NULL stands for 0, 1, 2, ... */
typedef void (*items_kernel)(int64_t n, void *to, const int64_t *places, const void *from,
                             const int64_t *sources);
/* the same for a run of `width` items at two strides from each place and source */
typedef void (*rows_kernel)(int64_t n, int64_t width, void *to, const int64_t *places, int64_t to_stride,
                            const void *from, const int64_t *sources, int64_t from_stride);

/* Places are indices in [0, places), or from the end in [-places, 0); false, having stopped, at any other.
 * to[i * step + place * stride] = op(that, from[i]) */
typedef bool (*line_kernel)(int64_t n, void *to, int64_t step, const int64_t *index, int64_t places,
                            int64_t stride, const void *from);
/* to[i] = from[place * stride] */
typedef bool (*pick_kernel)(int64_t n, void *to, const void *from, const int64_t *index, int64_t places,
                            int64_t stride);

enum { MODE_ASSIGN, MODE_ADD, MODE_MULTIPLY, MODE_MAXIMUM, MODE_MINIMUM };
/* MODE_ASSIGN and MODE_ADD */
items_kernel CB_FN(index_items)(int mode, int dtype);
rows_kernel CB_FN(index_rows)(int mode, int dtype);
line_kernel CB_FN(index_line)(int mode, int dtype);
pick_kernel CB_FN(index_pick)(int itemsize);
/* the same of rows of at most SHORT bytes, side by side in `to` and `stride` bytes apart in `from` */
bool CB_FN(index_pick_rows)(int64_t n, int64_t bytes, char *to, const char *from, const int64_t *index,
                            int64_t places, int64_t stride);

/* element offsets of items [begin, begin + n) of operand k, in the order of the space */
void CB_FN(index_offsets)(const cb_space *s, int k, int64_t begin, int64_t n, int64_t *offsets);

/* Wrapped index times stride, written to offsets (or added to them); false if one is out of range. */
static inline bool wrap_indices(int64_t n, const int64_t *values, int64_t size, int64_t stride, bool add,
                                int64_t *offsets) {
    uint64_t bad = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t v = values[i] + (size & (values[i] >> 63));
        bad |= (uint64_t)((uint64_t)v >= (uint64_t)size);
        v = stride == 1 ? v : (int64_t)((uint64_t)v * (uint64_t)stride);
        offsets[i] = add ? (int64_t)((uint64_t)offsets[i] + (uint64_t)v) : v;
    }
    return !bad;
}

/* The iteration space of a dimension range in row-major order, whatever the strides of x: its leading operand
 * is an imaginary contiguous tensor. Operand 1 is x. */
void CB_FN(row_major_space)(cb_space *s, int ndim, const int64_t *shape, const cb_tensor *x);

/* Fails for an index outside of a dimension of `size`. */
int CB_FN(index_range)(const char *op, const cb_tensor *index, int dim, int64_t size);

#endif
