/* Padding from the tensor itself, its transpose, and resizing by tables, against naive loops: all dtypes,
 * strides, rows longer than a block, meta tensors, errors. Numbers are whole, so results are exact. */
#include "products_test.h"

static int64_t taken_place(int mode, int64_t i, int64_t n) {
    if (mode == 1) return i < 0 ? 0 : i >= n ? n - 1 : i;
    while (i < 0 || i >= n) i = mode == 2 ? (i < 0 ? i + n : i - n) : i < 0 ? -i : 2 * n - 2 - i;
    return i;
}

static void padding(int dtype, int mode, int layout, const int64_t *shape) {
    int64_t pad[4], large[3] = {shape[0], shape[1], shape[2]};
    for (int k = 0; k < 4; k++) {
        int64_t n = shape[2 - k / 2], most = mode == 0 ? n - 1 : n + 2;
        pad[k] = whole(-(n - 1) / 2, most);
        large[2 - k / 2] += pad[k];
    }
    cb_tensor *base = make(dtype, 3, shape, 3), *x = restride(base, layout);
    cb_tensor *y = cb_pad_edges(x, 4, pad, mode);
    int64_t n = count_of(3, shape), m = count_of(3, large);
    cb_complex128 *xs = values(x), *want = calloc((size_t)m + 1, sizeof *want);
    int64_t *from = calloc((size_t)m + 1, sizeof *from);
    for (int64_t i = 0; i < m; i++) {
        int64_t c = taken_place(mode, i % large[2] - pad[0], shape[2]);
        int64_t r = taken_place(mode, i / large[2] % large[1] - pad[2], shape[1]);
        from[i] = (i / large[2] / large[1] * shape[1] + r) * shape[2] + c;
        want[i] = xs[from[i]];
    }
    compare(y, want, m, "pad", dtype);
    if (cb_is_inexact(dtype)) {
        cb_tensor *cts = make(dtype, 3, large, 2), *ct = restride(cts, layout);
        cb_tensor *gx = cb_pad_edges_grad(ct, 4, pad, mode);
        cb_complex128 *cs = values(ct), *sums = calloc((size_t)n + 1, sizeof *sums);
        for (int64_t i = 0; i < m; i++) sums[from[i]] += cs[i];
        compare(gx, sums, n, "pad, transposed", dtype);
        free(cs);
        free(sums);
        cb_release(cts);
        cb_release(ct);
        cb_release(gx);
    }
    free(xs);
    free(want);
    free(from);
    cb_release(base);
    cb_release(x);
    cb_release(y);
}

static void resizing(int dtype, const int64_t *shape, int dim, int64_t m, int64_t taps, int layout) {
    int64_t n = shape[dim], inner = 1, outer = 1, made[3] = {shape[0], shape[1], shape[2]};
    made[dim] = m;
    for (int d = 0; d < 3; d++) {
        if (d < dim) outer *= shape[d];
        if (d > dim) inner *= shape[d];
    }
    cb_tensor *base = make(dtype, 3, shape, 2), *x = restride(base, layout);
    cb_tensor *w = make(cb_compute_dtype(dtype), 2, (int64_t[]){m, taps}, 2);
    cb_tensor *p = make(CB_I64, 2, (int64_t[]){m, taps}, 0);
    for (int64_t i = 0; i < m * taps; i++) {
        int64_t place = i / taps * n / m + whole(-2, 2);
        ((int64_t *)p->data)[i] = CB_MIN(n - 1, CB_MAX(0, place));
    }
    cb_tensor *y = cb_resample(x, dim, p, w);
    cb_complex128 *xs = values(x), *ws = values(w);
    cb_complex128 *want = calloc((size_t)(outer * m * inner) + 1, sizeof *want);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t j = 0; j < m; j++)
            for (int64_t i = 0; i < inner; i++)
                for (int64_t t = 0; t < taps; t++)
                    want[(o * m + j) * inner + i] +=
                        ws[j * taps + t] * xs[(o * n + ((int64_t *)p->data)[j * taps + t]) * inner + i];
    compare(y, want, outer * m * inner, "resample", dtype);
    CHECK(y && !memcmp(y->shape, made, sizeof made), "shape");
    free(xs);
    free(ws);
    free(want);
    cb_tensor *all[] = {base, x, w, p, y};
    for (int i = 0; i < 5; i++) cb_release(all[i]);
}

static void edges(void) {
    cb_tensor *x = make(CB_F32, 2, (int64_t[]){2, 3}, 2), *meta = cb_as_meta(x), *y;
    y = cb_pad_edges(meta, 2, (int64_t[]){1, 2}, 0);
    CHECK(y && y->shape[1] == 6, "meta");
    cb_release(y);
    expect_error(cb_pad_edges(x, 2, (int64_t[]){3, 0}, 0), CB_ERR_SHAPE, "a reflection too long");
    expect_error(cb_pad_edges(x, 3, (int64_t[]){1, 0, 0}, 0), CB_ERR_VALUE, "an odd number");
    expect_error(cb_pad_edges(x, 2, (int64_t[]){1, 0}, 3), CB_ERR_VALUE, "a mode");
    expect_error(cb_pad_edges(x, 2, (int64_t[]){-2, -2}, 1), CB_ERR_SHAPE, "less than nothing");
    expect_error(cb_pad_edges(NULL, 0, NULL, 1), CB_ERR_NULL, "no tensor");
    cb_tensor *empty = cb_empty(CB_F32, CB_CPU, 2, (int64_t[]){2, 0});
    expect_error(cb_pad_edges(empty, 2, (int64_t[]){1, 0}, 1), CB_ERR_SHAPE, "nothing to repeat");
    y = cb_pad_edges_grad(empty, 2, (int64_t[]){-2, -1}, 2);
    CHECK(y && y->shape[1] == 3 && ((float *)y->data)[5] == 0, "cropped to nothing");
    cb_release(y);
    cb_tensor *p = make(CB_I64, 2, (int64_t[]){4, 1}, 0), *w = make(CB_F32, 2, (int64_t[]){4, 1}, 1);
    ((int64_t *)p->data)[2] = 3;
    expect_error(cb_resample(x, 1, p, w), CB_ERR_INDEX, "a place out of range");
    expect_error(cb_resample(x, 1, w, w), CB_ERR_DTYPE, "places that are no integers");
    expect_error(cb_resample(x, 1, p, x), CB_ERR_SHAPE, "tables of two shapes");
    expect_error(cb_resample(x, 2, p, w), CB_ERR_DIM, "a dim");
    y = cb_resample(meta, 0, p, w);
    CHECK(y && y->shape[0] == 4, "meta");
    cb_tensor *all[] = {x, meta, y, empty, p, w};
    for (int i = 0; i < 6; i++) cb_release(all[i]);
}

static void single_items(void) { /* cb_slice and cb_select against basic indexing */
    cb_tensor *x = make(CB_I32, 3, (int64_t[]){4, 3, 5}, 9);
    for (int k = 0; k < 300; k++) {
        int dim = (int)whole(0, 2);
        int64_t start = whole(-7, 7), stop = whole(-7, 7), step = whole(-3, 3), spec[12];
        for (int d = 0; d < dim; d++) memcpy(spec + 4 * d, (int64_t[]){1, INT64_MIN, INT64_MIN, 1}, 32);
        if (k % 5 == 0) start = INT64_MIN;
        if (k % 7 == 0) stop = INT64_MIN;
        for (int select = 0; select < 2; select++) {
            memcpy(spec + 4 * dim, select ? (int64_t[]){0, start, 0, 0} : (int64_t[]){1, start, stop, step},
                   32);
            cb_tensor *want = cb_index_basic(x, dim + 1, spec);
            cb_tensor *got = select ? cb_select(x, dim, start) : cb_slice(x, dim, start, stop, step);
            CHECK(!got == !want, "an error of one");
            if (got && want) {
                CHECK(cb_same_shape(got, want) && got->flags == want->flags, "slice");
                CHECK(!got->numel || got->data == want->data, "slice begins elsewhere");
                CHECK(!memcmp(got->strides, want->strides, (size_t)got->ndim * 8), "strides");
            }
            cb_release(got);
            cb_release(want);
        }
    }
    cb_tensor *scalar = cb_reshape(x, 0, NULL);
    expect_error(scalar, CB_ERR_SHAPE, "60 items are no scalar");
    cb_release(x);
}

int main(void) {
    if (cb_init(NULL)) return 1;
    cb_set_num_threads(3);
    for (int dtype = 0; dtype < CB_DTYPE_COUNT; dtype++)
        for (int mode = 0; mode < 3; mode++)
            for (int layout = 0; layout < 3; layout++) {
                if (dtype == CB_BOOL) continue; /* make() draws larger numbers */
                padding(dtype, mode, layout, (int64_t[]){3, 4, 5});
                padding(dtype, mode, layout, (int64_t[]){1, 7, 90});
                padding(dtype, mode, layout, (int64_t[]){40, 30, 31});
                if (dtype % 4 == 3)
                    padding(dtype, mode, layout, (int64_t[]){1, 2, 70000}); /* rows in pieces */
            }
    static const int kinds[] = {CB_F32, CB_F64, CB_F16, CB_BF16};
    for (int k = 0; k < 4; k++)
        for (int layout = 0; layout < 3; layout++)
            for (int64_t taps = 1; taps < 6; taps++) {
                resizing(kinds[k], (int64_t[]){2, 3, 4}, (int)(taps % 3), 7, taps, layout);
                resizing(kinds[k], (int64_t[]){3, 25, 40}, 2, 300, taps, layout);
                resizing(kinds[k], (int64_t[]){3, 25, 400}, 2, 130, taps, layout);
                resizing(kinds[k], (int64_t[]){1, 1, 40}, 2, 300, taps, layout);
                resizing(kinds[k], (int64_t[]){2, 30, 70}, 1, 50, taps, layout);
            }
    edges();
    single_items();
    return finish("test_pad");
}
