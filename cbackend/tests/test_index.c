/* Indexing and rearranging against naive loops over logical positions, for all dtypes and memory layouts.
 *
 * Values are small integers, exact in every dtype (bool: 0 and 1), so results must be equal, not close. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "internal.h"

#define EACH_DTYPE(d) for (int d = 0; d < CB_DTYPE_COUNT; d++)
enum { LAYOUTS = 4, MAX = 4096 };

static uint64_t state = 88172645463325252u;
static int64_t draw(int64_t n) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (int64_t)(state % (uint64_t)n);
}
static double value_for(int dtype) { return (double)(dtype == CB_BOOL ? draw(2) : draw(7)); }

/* a tensor with the given logical values: layout 0 contiguous, 1 dims reversed in memory, 2 every second, 3
 * backwards */
static cb_tensor *make(int dtype, int ndim, const int64_t *shape, int layout, const double *values) {
    int64_t room[CB_MAX_NDIM], reversed[CB_MAX_NDIM], strides[CB_MAX_NDIM],
        offset = 0, n = cb_numel_of(ndim, shape), stride = 1;
    for (int d = 0; d < ndim; d++) room[d] = layout == 2 ? 2 * shape[d] : shape[d];
    for (int d = 0; d < ndim; d++) reversed[d] = room[layout == 1 ? ndim - 1 - d : d];
    cb_tensor *base = cb_full(dtype, CB_CPU, ndim, reversed, &(cb_scalar){.kind = 'i', .i = 1});
    for (int k = ndim - 1; k >= 0; k--) {
        int d = layout == 1 ? ndim - 1 - k : k;
        strides[d] = stride;
        stride *= room[d];
    }
    for (int d = 0; d < ndim; d++) {
        if (layout == 2) strides[d] *= 2;
        if (layout == 3 && n) offset += (shape[d] - 1) * strides[d], strides[d] = -strides[d];
    }
    cb_tensor *x = cb_view_new(base, ndim, shape, strides, offset);
    cb_tensor *source = cb_from_bytes(values, CB_F64, ndim, shape);
    CHECK(!cb_copy_into(x, source, 0), "make");
    cb_release(source);
    cb_release(base);
    return x;
}

static void read_values(cb_tensor *x, double *values) {
    cb_tensor *wide = cb_cast(x, CB_F64), *dense = cb_contiguous(wide);
    if (dense->numel) memcpy(values, dense->data, (size_t)dense->numel * sizeof *values);
    cb_release(dense);
    cb_release(wide);
}

static void expect(cb_tensor *got, int ndim, const int64_t *shape, const double *want, const char *format,
                   ...) {
    char what[200];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    CHECK(got != NULL, "%s", what);
    if (!got) return;
    bool same = got->ndim == ndim;
    for (int d = 0; d < ndim && same; d++) same = got->shape[d] == shape[d];
    CHECK(same, "%s: shape %s", what, cb_shape_of(got));
    static double values[MAX * 64];
    if (!same) return;
    read_values(got, values);
    for (int64_t i = 0; i < got->numel; i++)
        if (values[i] != want[i]) {
            CHECK(values[i] == want[i], "%s: item %lld is %g, not %g", what, (long long)i, values[i],
                  want[i]);
            return;
        }
}

static void unravel(int64_t i, int ndim, const int64_t *shape, int64_t *position) {
    for (int d = ndim - 1; d >= 0; d--) {
        position[d] = i % shape[d];
        i /= shape[d];
    }
}
static int64_t ravel(int ndim, const int64_t *shape, const int64_t *position) {
    int64_t i = 0;
    for (int d = 0; d < ndim; d++) i = i * shape[d] + position[d];
    return i;
}
static void fill_values(int dtype, int64_t n, double *values) {
    for (int64_t i = 0; i < n; i++) values[i] = value_for(dtype);
}
static void fill_indices(int64_t n, int64_t size, double *values) {
    for (int64_t i = 0; i < n; i++) values[i] = (double)(draw(2 * size) - size);
}
static int64_t wrapped(double v, int64_t size) { return (int64_t)v < 0 ? (int64_t)v + size : (int64_t)v; }

/* ---- index, index_put ---- */

static double combine(int mode, int dtype, double old, double new) {
    double r = mode == 0   ? new
               : mode == 1 ? old + new
               : mode == 2 ? old * new
               : mode == 3 ? (new > old ? new : old)
                           : (new < old ? new : old);
    return dtype == CB_BOOL ? r != 0 : r;
}

static void test_index(int dtype, int layout, int mask, int shape_kind) {
    int64_t shape[3] = {4, 3, 5}, index_shapes[3][2] = {{1, 1}, {3, 1}, {2, 3}}, result[5], order[5];
    int index_ndim = shape_kind, count = 0, first = -1, last = -1, ndim = 0;
    const int64_t *index_shape = index_shapes[shape_kind];
    double values[60], indices[3][6], want[1024];
    fill_values(dtype, 60, values);
    cb_tensor *x = make(dtype, 3, shape, layout, values), *handles[3] = {NULL};
    int present[3] = {0};
    int64_t n_index = cb_numel_of(index_ndim, index_shape);
    for (int d = 0; d < 3; d++) {
        if (!(mask >> d & 1)) continue;
        fill_indices(n_index, shape[d], indices[d]);
        handles[d] = make(d == 1 ? CB_I32 : CB_I64, index_ndim, index_shape, draw(LAYOUTS), indices[d]);
        present[d] = 1;
        if (first < 0) first = d;
        last = d;
        count++;
    }
    int at = last - first == count - 1 ? first : 0;
    /* order[]: for each result dim the x dim, or -1 - k for index dim k */
    for (int d = 0, put = 0; d <= 3; d++) {
        if (!put && ndim == at) {
            for (int k = 0; k < index_ndim; k++) order[ndim] = -1 - k, result[ndim++] = index_shape[k];
            put = 1;
        }
        if (d < 3 && !present[d]) order[ndim] = d, result[ndim++] = shape[d];
    }
    int64_t n = cb_numel_of(ndim, result), from[1024];
    for (int64_t i = 0; i < n; i++) {
        int64_t position[5], place[3], where[2];
        unravel(i, ndim, result, position);
        for (int d = 0; d < ndim; d++) {
            if (order[d] >= 0)
                place[order[d]] = position[d];
            else
                where[-1 - order[d]] = position[d];
        }
        for (int d = 0; d < 3; d++)
            if (present[d]) place[d] = wrapped(indices[d][ravel(index_ndim, index_shape, where)], shape[d]);
        from[i] = ravel(3, shape, place);
        want[i] = values[from[i]];
    }
    cb_tensor *y = cb_index(x, last + 1, handles, present);
    expect(y, ndim, result, want, "index %s layout %d mask %d shape %d", cb_dtypes[dtype].name, layout, mask,
           shape_kind);
    cb_release(y);
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        double added[1024];
        fill_values(dtype, n, added);
        read_values(x, values);
        for (int64_t i = 0; i < n; i++)
            values[from[i]] = combine(accumulate, dtype, values[from[i]], added[i]);
        cb_tensor *v = make(dtype, ndim, result, draw(LAYOUTS), added);
        y = cb_index_put_copy(x, last + 1, handles, present, v, accumulate);
        CHECK(!cb_index_put(x, last + 1, handles, present, v, accumulate, 5), "index_put");
        expect(y, 3, shape, values, "index_put_copy %s layout %d mask %d shape %d accumulate %d",
               cb_dtypes[dtype].name, layout, mask, shape_kind, accumulate);
        cb_release(y);
        expect(x, 3, shape, values, "index_put %s layout %d mask %d shape %d accumulate %d",
               cb_dtypes[dtype].name, layout, mask, shape_kind, accumulate);
        cb_release(v);
    }
    CHECK(cb_last_write(x) == 5, "clock");
    for (int d = 0; d < 3; d++) cb_release(handles[d]);
    cb_release(x);
}

/* ---- along a dimension ---- */

static void test_along(int dtype, int layout, int dim) {
    int64_t shape[3] = {4, 3, 5}, sub[3] = {3, 2, 4};
    sub[dim] = 6;
    double values[60], indices[200], source[400], want[400];
    int64_t n = cb_numel_of(3, sub), places[200];
    fill_values(dtype, 60, values);
    fill_indices(n, shape[dim], indices);
    cb_tensor *x = make(dtype, 3, shape, layout, values),
              *index = make(CB_I64, 3, sub, draw(LAYOUTS), indices);
    for (int64_t i = 0; i < n; i++) {
        int64_t position[3];
        unravel(i, 3, sub, position);
        position[dim] = wrapped(indices[i], shape[dim]);
        places[i] = ravel(3, shape, position);
        want[i] = values[places[i]];
    }
    cb_tensor *y = cb_gather(x, dim - 3, index);
    expect(y, 3, sub, want, "gather %s layout %d dim %d", cb_dtypes[dtype].name, layout, dim);
    cb_release(y);
    for (int mode = 0; mode < 5; mode++) {
        int64_t large[3] = {sub[0] + 1, sub[1], sub[2] + 1};
        double before[60];
        read_values(x, before);
        fill_values(dtype, cb_numel_of(3, large), source);
        if (mode == 2) /* keep products small */
            for (int64_t i = 0; i < cb_numel_of(3, large); i++) source[i] = source[i] > 2;
        cb_tensor *src = make(dtype, 3, large, draw(LAYOUTS), source);
        if (mode >= 3 && cb_is_complex(dtype)) {
            CHECK(cb_scatter(x, dim, index, src, mode, 0) == CB_ERR_DTYPE, "complex maximum");
        } else {
            for (int64_t i = 0; i < n; i++) {
                int64_t position[3];
                unravel(i, 3, sub, position);
                before[places[i]] =
                    combine(mode, dtype, before[places[i]], source[ravel(3, large, position)]);
            }
            y = cb_scatter_copy(x, dim, index, src, mode);
            expect(y, 3, shape, before, "scatter_copy %s layout %d dim %d mode %d", cb_dtypes[dtype].name,
                   layout, dim, mode);
            cb_release(y);
            CHECK(!cb_scatter(x, dim, index, src, mode, 0), "scatter");
            expect(x, 3, shape, before, "scatter %s layout %d dim %d mode %d", cb_dtypes[dtype].name, layout,
                   dim, mode);
        }
        cb_release(src);
    }
    cb_release(index);
    /* index_select and index_add */
    int64_t count = 7, picked[3] = {4, 3, 5};
    picked[dim] = count;
    fill_indices(count, shape[dim], indices);
    index = make(CB_I64, 1, &count, layout, indices);
    n = cb_numel_of(3, picked);
    read_values(x, values);
    for (int64_t i = 0; i < n; i++) {
        int64_t position[3];
        unravel(i, 3, picked, position);
        position[dim] = wrapped(indices[position[dim]], shape[dim]);
        places[i] = ravel(3, shape, position);
        want[i] = values[places[i]];
    }
    y = cb_index_select(x, dim, index);
    expect(y, 3, picked, want, "index_select %s layout %d dim %d", cb_dtypes[dtype].name, layout, dim);
    fill_values(dtype, n, source);
    cb_tensor *src = make(dtype, 3, picked, draw(LAYOUTS), source);
    for (int64_t i = 0; i < n; i++) values[places[i]] = combine(1, dtype, values[places[i]], source[i]);
    cb_release(y);
    y = cb_index_add_copy(x, dim, index, src);
    expect(y, 3, shape, values, "index_add_copy %s layout %d dim %d", cb_dtypes[dtype].name, layout, dim);
    CHECK(!cb_index_add(x, dim, index, src, 0), "index_add");
    expect(x, 3, shape, values, "index_add %s layout %d dim %d", cb_dtypes[dtype].name, layout, dim);
    cb_release(src);
    cb_release(y);
    fill_indices(count, 60, indices);
    cb_tensor *flat = make(CB_I64, 1, &count, 0, indices);
    for (int64_t i = 0; i < count; i++) want[i] = values[wrapped(indices[i], 60)];
    y = cb_take(x, flat);
    expect(y, 1, &count, want, "take %s", cb_dtypes[dtype].name);
    cb_release(y);
    cb_release(flat);
    cb_release(index);
    cb_release(x);
}

/* ---- masks ---- */

static void test_masks(int dtype, int layout) {
    int64_t shape[3] = {7, 3, 50}, n = 7 * 3 * 50, count = 0;
    double values[1050], mask[1050], found[3150], picked[1050];
    int64_t picks = 0;
    fill_values(dtype, n, values);
    for (int64_t i = 0; i < n; i++) {
        if (draw(3)) values[i] = 0;
        mask[i] = (double)draw(2);
        int64_t position[3];
        unravel(i, 3, shape, position);
        if (values[i] != 0) {
            for (int d = 0; d < 3; d++) found[3 * count + d] = (double)position[d];
            count++;
        }
        if (mask[i] != 0) picked[picks++] = values[i];
    }
    cb_tensor *x = make(dtype, 3, shape, layout, values), *m = make(CB_BOOL, 3, shape, 3 - layout, mask);
    cb_tensor *y = cb_nonzero(x);
    expect(y, 2, (int64_t[]){count, 3}, found, "nonzero %s layout %d", cb_dtypes[dtype].name, layout);
    cb_release(y);
    y = cb_masked_select(x, m);
    expect(y, 1, &picks, picked, "masked_select %s layout %d", cb_dtypes[dtype].name, layout);
    cb_release(y);
    cb_release(m);
    cb_release(x);
}

/* ---- rearranging ---- */

static void test_rearrange(int dtype, int layout) {
    int64_t shape[3] = {2, 4, 3}, result[4];
    double values[24], other[24], want[512];
    fill_values(dtype, 24, values);
    fill_values(dtype, 24, other);
    cb_tensor *x = make(dtype, 3, shape, layout, values), *z = make(dtype, 3, shape, 0, other), *y;
    for (int dim = 0; dim < 3; dim++) { /* cat, and stack at the same place */
        for (int stack = 0; stack < 2; stack++) {
            int ndim = 3 + stack;
            for (int d = 0; d < ndim; d++)
                result[d] = stack ? (d < dim    ? shape[d]
                                     : d == dim ? 2
                                                : shape[d - 1])
                                  : shape[d] * (d == dim ? 2 : 1);
            for (int64_t i = 0; i < 48; i++) {
                int64_t position[4], place[3];
                unravel(i, ndim, result, position);
                int64_t second = stack ? position[dim] : position[dim] >= shape[dim];
                for (int d = 0; d < 3; d++) place[d] = position[d + (stack && d >= dim)];
                if (!stack) place[dim] -= second * shape[dim];
                want[i] = (second ? other : values)[ravel(3, shape, place)];
            }
            y = (stack ? cb_stack : cb_cat)(2, (cb_tensor *[]){x, z}, dim);
            expect(y, ndim, result, want, "%s %s layout %d dim %d", stack ? "stack" : "cat",
                   cb_dtypes[dtype].name, layout, dim);
            cb_release(y);
        }
    }
    for (int mask = 0; mask < 8; mask++) { /* flip and roll over the dims in mask */
        int64_t dims[3], shifts[3];
        int n = 0;
        for (int d = 0; d < 3; d++)
            if (mask >> d & 1) dims[n] = d, shifts[n++] = draw(11) - 5;
        double rolled[24];
        for (int64_t i = 0; i < 24; i++) {
            int64_t position[3], from[3];
            unravel(i, 3, shape, position);
            memcpy(from, position, sizeof from);
            for (int k = 0; k < n; k++) from[dims[k]] = shape[dims[k]] - 1 - position[dims[k]];
            want[i] = values[ravel(3, shape, from)];
            for (int k = 0; k < n; k++)
                from[dims[k]] =
                    ((position[dims[k]] - shifts[k]) % shape[dims[k]] + shape[dims[k]]) % shape[dims[k]];
            rolled[i] = values[ravel(3, shape, from)];
        }
        y = cb_flip(x, n, dims);
        expect(y, 3, shape, want, "flip %s layout %d mask %d", cb_dtypes[dtype].name, layout, mask);
        cb_release(y);
        y = cb_roll(x, n, shifts, dims);
        expect(y, 3, shape, rolled, "roll %s layout %d mask %d", cb_dtypes[dtype].name, layout, mask);
        cb_release(y);
    }
    int64_t reps[4] = {2, 1, 3, 2}, tiled[4] = {2, 2, 12, 6};
    for (int64_t i = 0; i < 288; i++) {
        int64_t position[4];
        unravel(i, 4, tiled, position);
        want[i] = values[ravel(3, shape, (int64_t[]){position[1] % 2, position[2] % 4, position[3] % 3})];
    }
    y = cb_repeat(x, 4, reps);
    expect(y, 4, tiled, want, "repeat %s layout %d", cb_dtypes[dtype].name, layout);
    cb_release(y);
    for (int k = 0; k < 20; k++) { /* pads in [-2, 2] for the two last dims */
        int64_t pad[4], padded[3] = {2, 4, 3};
        for (int j = 0; j < 4; j++) pad[j] = draw(5) - 2;
        padded[2] += pad[0] + pad[1];
        padded[1] += pad[2] + pad[3];
        y = cb_pad(x, 4, pad, &(cb_scalar){.kind = 'i', .i = 1});
        if (padded[1] < 0 || padded[2] < 0) {
            CHECK(!y && cb_error_code() == CB_ERR_SHAPE, "pad to a negative size");
            continue;
        }
        for (int64_t i = 0; i < cb_numel_of(3, padded); i++) {
            int64_t position[3];
            unravel(i, 3, padded, position);
            position[2] -= pad[0];
            position[1] -= pad[2];
            bool inside = position[1] >= 0 && position[1] < 4 && position[2] >= 0 && position[2] < 3;
            want[i] = inside ? values[ravel(3, shape, position)] : 1;
        }
        expect(y, 3, padded, want, "pad %s layout %d: %lld %lld %lld %lld", cb_dtypes[dtype].name, layout,
               (long long)pad[0], (long long)pad[1], (long long)pad[2], (long long)pad[3]);
        cb_release(y);
    }
    for (int64_t diagonal = -6; diagonal <= 6; diagonal++)
        for (int upper = 0; upper < 2; upper++) {
            for (int64_t i = 0; i < 24; i++) {
                int64_t position[3];
                unravel(i, 3, shape, position);
                bool kept =
                    upper ? position[2] - position[1] >= diagonal : position[2] - position[1] <= diagonal;
                want[i] = kept ? values[i] : 0;
            }
            y = cb_tri(x, diagonal, upper);
            expect(y, 3, shape, want, "tri %s layout %d diagonal %lld upper %d", cb_dtypes[dtype].name,
                   layout, (long long)diagonal, upper);
            cb_release(y);
        }
    /* zeros([2, 9, 3])[:, 1::2] = x */
    int64_t spec[8] = {1, INT64_MIN, INT64_MIN, 1, 1, 1, INT64_MIN, 2}, embedded[3] = {2, 9, 3};
    memset(want, 0, sizeof want);
    for (int64_t i = 0; i < 24; i++) {
        int64_t position[3];
        unravel(i, 3, shape, position);
        position[1] = 1 + 2 * position[1];
        want[ravel(3, embedded, position)] = values[i];
    }
    y = cb_index_embed(x, 3, embedded, 2, spec);
    expect(y, 3, embedded, want, "index_embed %s layout %d", cb_dtypes[dtype].name, layout);
    cb_release(y);
    cb_release(z);
    cb_release(x);
}

/* ---- edges ---- */

#define FAILS(code, call)                                                          \
    do {                                                                           \
        cb_tensor *result_ = (call);                                               \
        CHECK(!result_ && cb_error_code() == (code), "expected error %d", (code)); \
        cb_release(result_);                                                       \
    } while (0)
#define STATUS(code, call) CHECK((call) == (code), "expected status %d", (code))

static void test_edges(void) {
    int64_t shape[2] = {3, 4};
    double values[12], nothing[1] = {0}, bad[2] = {0, 3}, low[2] = {-4, 0}, fine[2] = {2, -3};
    fill_values(CB_F32, 12, values);
    cb_tensor *x = make(CB_F32, 2, shape, 0, values), *empty = make(CB_I64, 1, (int64_t[]){0}, 0, nothing);
    cb_tensor *over = make(CB_I64, 1, (int64_t[]){2}, 0, bad),
              *under = make(CB_I64, 1, (int64_t[]){2}, 0, low);
    cb_tensor *good = make(CB_I64, 1, (int64_t[]){2}, 0, fine),
              *real = make(CB_F32, 1, (int64_t[]){2}, 0, fine);
    cb_tensor *meta = cb_empty(CB_F32, CB_META, 2, shape),
              *meta_index = cb_empty(CB_I64, CB_META, 1, (int64_t[]){5});
    int one[1] = {1}, two[2] = {1, 1};
    FAILS(CB_ERR_INDEX, cb_index(x, 1, &over, one));
    FAILS(CB_ERR_INDEX, cb_index(x, 1, &under, one));
    FAILS(CB_ERR_DTYPE, cb_index(x, 1, &real, one));
    FAILS(CB_ERR_NULL, cb_index(NULL, 1, &good, one));
    FAILS(CB_ERR_NULL, cb_index(x, 1, (cb_tensor *[]){NULL}, one));
    FAILS(CB_ERR_NULL, cb_index(x, 2, (cb_tensor *[]){good, NULL}, two));
    FAILS(CB_ERR_INDEX, cb_index(x, 3, (cb_tensor *[]){good, good, good}, (int[]){1, 1, 1}));
    FAILS(CB_ERR_INDEX, cb_index_select(x, 0, over));
    FAILS(CB_ERR_DIM, cb_index_select(x, 2, good));
    FAILS(CB_ERR_SHAPE, cb_gather(x, 0, good));
    FAILS(CB_ERR_UNSUPPORTED, cb_nonzero(meta));
    FAILS(CB_ERR_DTYPE, cb_masked_select(x, good));
    FAILS(CB_ERR_SHAPE, cb_cat(2, (cb_tensor *[]){x, good}, 0));
    FAILS(CB_ERR_VALUE, cb_cat(0, NULL, 0));
    FAILS(CB_ERR_SHAPE, cb_stack(2, (cb_tensor *[]){x, good}, 0));
    FAILS(CB_ERR_SHAPE, cb_tri(good, 0, 0));
    FAILS(CB_ERR_DIM, cb_flip(x, 2, (int64_t[]){0, -2}));
    FAILS(CB_ERR_VALUE, cb_pad(x, 3, (int64_t[]){0, 1, 2}, &(cb_scalar){.kind = 'i'}));
    cb_tensor *number = cb_scalar_tensor(&(cb_scalar){.kind = 'i', .i = 7}, -1);
    STATUS(CB_ERR_INDEX, cb_index_put(x, 1, &over, one, number, 0, 0));
    cb_release(number);
    cb_tensor *rows = cb_index_select(x, 0, good);
    FAILS(CB_ERR_INDEX, cb_index_add_copy(x, 0, under, rows));
    STATUS(CB_ERR_INDEX, cb_index_add(x, 0, under, rows, 0));
    cb_release(rows);
    STATUS(CB_ERR_SHAPE, cb_index_add(x, 0, good, x, 0));
    STATUS(CB_ERR_VALUE, cb_scatter(x, 0, good, x, 5, 0));
    cb_tensor *beyond = cb_unsqueeze(over, 1);
    FAILS(CB_ERR_INDEX, cb_scatter_copy(x, 0, beyond, x, 0));
    FAILS(CB_ERR_NULL, cb_scatter_copy(NULL, 0, beyond, x, 0));
    STATUS(CB_ERR_INDEX, cb_scatter(x, 0, beyond, x, 0, 0));
    cb_release(beyond);
    expect(x, 2, shape, values, "unchanged after errors");
    cb_tensor *y = cb_index(x, 1, &empty, one);
    expect(y, 2, (int64_t[]){0, 4}, nothing, "empty index");
    cb_release(y);
    y = cb_index(meta, 2, (cb_tensor *[]){NULL, meta_index}, (int[]){0, 1});
    CHECK(y && y->ndim == 2 && y->shape[0] == 3 && y->shape[1] == 5 && cb_is_meta(y), "meta");
    cb_release(y);
    STATUS(CB_OK, cb_index_put(meta, 1, &meta_index, one, meta_index, 0, 0) == CB_ERR_SHAPE
                      ? CB_OK
                      : CB_ERR_INTERNAL);
    y = cb_pad(meta, 2, (int64_t[]){1, 2}, &(cb_scalar){.kind = 'i'});
    CHECK(y && y->shape[1] == 7, "meta pad");
    cb_release(y);
    y = cb_cat(2, (cb_tensor *[]){empty, x}, 1); /* an empty vector joins anything */
    expect(y, 2, shape, values, "cat with an empty vector");
    cb_release(y);
    cb_tensor *scalar = make(CB_F32, 0, shape, 0, values), *zero = make(CB_I64, 0, shape, 0, nothing);
    y = cb_index_select(scalar, 0, zero);
    expect(y, 0, shape, values, "index_select of a scalar");
    cb_release(y);
    y = cb_gather(scalar, 0, zero);
    expect(y, 0, shape, values, "gather of a scalar");
    cb_release(y);
    STATUS(CB_OK, cb_scatter(scalar, 0, zero, x, 0, 0) == CB_ERR_SHAPE ? CB_OK : CB_ERR_INTERNAL);
    y = cb_nonzero(scalar);
    CHECK(y && y->ndim == 2 && y->shape[1] == 0, "nonzero of a scalar");
    cb_release(y);
    cb_tensor *all[] = {x, empty, over, under, good, real, meta, meta_index, scalar, zero};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) cb_release(all[i]);
}

/* many sums in few places of a vector, in place and on a copy */
static void test_bins(void) {
    enum { ITEMS = 300000, PLACES = 100 };
    static double indices[ITEMS];
    fill_indices(ITEMS, PLACES, indices);
    int64_t n = ITEMS, places = PLACES;
    double before[PLACES], want[PLACES];
    fill_values(CB_I32, PLACES, before);
    memcpy(want, before, sizeof want);
    for (int64_t i = 0; i < ITEMS; i++) want[wrapped(indices[i], PLACES)] += 1;
    cb_tensor *index = make(CB_I64, 1, &n, 0, indices), *ones = cb_ones_like(index);
    cb_tensor *x = make(CB_I64, 1, &places, 0, before), *y = cb_index_add_copy(x, 0, index, ones);
    expect(y, 1, &places, want, "many sums on a copy");
    cb_release(y);
    y = cb_scatter_copy(x, 0, index, ones, 1);
    expect(y, 1, &places, want, "many scattered sums on a copy");
    cb_release(y);
    STATUS(CB_OK, cb_index_add(x, 0, index, ones, 0));
    expect(x, 1, &places, want, "many sums in place");
    cb_release(x);
    cb_release(ones);
    cb_release(index);
}

/* rows of a table, of every length around those of vectors and cache lines */
static void test_rows(int dtype) {
    double values[5 * 34], want[5 * 34];
    fill_values(dtype, 5 * 34, values);
    cb_tensor *index = make(CB_I64, 1, (int64_t[]){5}, 0, (double[]){3, -1, 0, 3, 1});
    for (int64_t width = 1; width <= 34; width++) {
        for (int k = 0; k < 5; k++)
            memcpy(want + k * width, values + "34031"[k] % 16 * width, (size_t)width * 8);
        cb_tensor *x = make(dtype, 2, (int64_t[]){5, width}, 0, values), *y = cb_index_select(x, 0, index);
        expect(y, 2, (int64_t[]){5, width}, want, "rows of %d %s", (int)width, cb_dtypes[dtype].name);
        cb_release(y), cb_release(x);
    }
    cb_release(index);
}

/* many single items by two indices, of values side by side or of one number */
static void test_items(int layout, int accumulate, int64_t many) {
    enum { ITEMS = 40000, ROWS = 60, COLUMNS = 40 };
    static double i[ITEMS], j[ITEMS], added[ITEMS], want[ROWS * COLUMNS];
    int64_t shape[2] = {ROWS, COLUMNS}, n = ITEMS;
    fill_indices(ITEMS, ROWS, i), fill_indices(ITEMS, COLUMNS, j);
    fill_values(CB_F64, ROWS * COLUMNS, want);
    for (int k = 0; k < ITEMS; k++) added[k] = (double)(k % 1000);
    cb_tensor *x = make(CB_F64, 2, shape, layout, want), *v = make(CB_F64, (int)many, &n, layout, added);
    cb_tensor *indices[2] = {make(CB_I64, 1, &n, 0, i), make(CB_I64, 1, &n, 2, j)};
    for (int k = 0; k < ITEMS; k++) {
        double *place = &want[wrapped(i[k], ROWS) * COLUMNS + wrapped(j[k], COLUMNS)];
        *place = combine(accumulate, CB_F64, *place, added[k * many]);
    }
    cb_tensor *y = cb_index_put_copy(x, 2, indices, (int[]){1, 1}, v, accumulate);
    STATUS(CB_OK, cb_index_put(x, 2, indices, (int[]){1, 1}, v, accumulate, 0));
    ((int64_t *)indices[0]->data)[ITEMS - 1] = ROWS;
    STATUS(CB_ERR_INDEX, cb_index_put(x, 2, indices, (int[]){1, 1}, v, accumulate, 0));
    expect(x, 2, shape, want, "items, layout %d", layout);
    expect(y, 2, shape, want, "items on a copy, layout %d", layout);
    cb_tensor *all[5] = {x, y, v, indices[0], indices[1]};
    for (int k = 0; k < 5; k++) cb_release(all[k]);
}

/* large operands, where work is divided, with one thread and with several */
static void test_threads(void) {
    enum { ROWS = 40000, WIDTH = 24, TABLE = 3000 };
    static double indices[ROWS];
    fill_indices(ROWS, TABLE, indices);
    cb_tensor *index = make(CB_I64, 1, (int64_t[]){ROWS}, 0, indices), *column = cb_unsqueeze(index, 1);
    cb_tensor *wide = cb_expand(column, 2, (int64_t[]){ROWS, WIDTH});
    cb_tensor *src = cb_random(1, CB_F32, CB_CPU, 2, (int64_t[]){ROWS, WIDTH}, 1, 0, 0, 1), *sums[2][2];
    for (int t = 0; t < 2; t++) {
        cb_set_num_threads(t ? 3 : 1);
        for (int k = 0; k < 2; k++) {
            cb_tensor *sum = sums[t][k] =
                cb_full(CB_F32, CB_CPU, 2, (int64_t[]){TABLE, WIDTH}, &(cb_scalar){.kind = 'i'});
            STATUS(CB_OK, k ? cb_scatter(sum, 0, wide, src, 1, 0) : cb_index_add(sum, 0, index, src, 0));
        }
        CHECK(!memcmp(sums[t][0]->data, sums[t][1]->data, TABLE * WIDTH * 4),
              "index_add and scatter add in the same order");
    }
    CHECK(!memcmp(sums[0][0]->data, sums[1][0]->data, TABLE * WIDTH * 4), "index_add depends on threads");
    float *reference = calloc(TABLE * WIDTH, sizeof *reference);
    for (int64_t i = 0; i < ROWS; i++)
        for (int64_t j = 0; j < WIDTH; j++)
            reference[wrapped(indices[i], TABLE) * WIDTH + j] += ((const float *)src->data)[i * WIDTH + j];
    CHECK(!memcmp(sums[0][0]->data, reference, TABLE * WIDTH * 4), "index_add in index order");
    free(reference);
    for (int t = 0; t < 4; t++) cb_release(sums[t / 2][t % 2]);
    cb_release(src);
    cb_release(wide);
    cb_release(column);
    cb_release(index);
}

int main(void) {
    if (cb_init(NULL)) return 1;
    EACH_DTYPE(dtype) {
        for (int layout = 0; layout < LAYOUTS; layout++) {
            for (int mask = 1; mask < 8; mask++)
                for (int kind = 0; kind < 3; kind++) test_index(dtype, layout, mask, kind);
            for (int dim = 0; dim < 3; dim++) test_along(dtype, layout, dim);
            test_masks(dtype, layout);
            test_rearrange(dtype, layout);
        }
        test_rows(dtype);
    }
    for (int k = 0; k < 4 * LAYOUTS; k++) test_items(k % LAYOUTS, k / LAYOUTS % 2, k / LAYOUTS / 2);
    test_edges();
    test_bins();
    test_threads();
    return finish("test_index");
}
