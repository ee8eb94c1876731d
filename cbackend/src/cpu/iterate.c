/* Iteration over strided operands: a merged iteration space, and tiles moved between strided and contiguous
 * memory. */
#include "cpu.h"

void CB_FN(by_lanes)(int64_t n, void *out, const void *const *in, cb_kernel kernel, int nin, int size,
                     int out_size) {
    int64_t lanes = CB_LANES(size, out_size), whole = n & -lanes, rest = n - whole;
    if (whole) kernel(whole, out, in);
    if (!rest) return;
    const void *padded[3];
    char *target = out;
    bool again = whole > 0; /* may the last items be computed twice? */
    for (int k = 0; k < nin; k++) {
        const char *source = in[k];
        again &= source + n * size <= target || target + n * out_size <= source;
        padded[k] = source + (n - lanes) * size;
    }
    if (again) {
        kernel(lanes, target + (n - lanes) * out_size, padded);
        return;
    }
    _Alignas(64) char tile[4][64 * 16];
    for (int k = 0; k < nin; k++) {
        memset(tile[k], 0, (size_t)(lanes * size));
        memcpy(tile[k], (const char *)in[k] + whole * size, (size_t)(rest * size));
        padded[k] = tile[k];
    }
    kernel(lanes, tile[3], padded);
    memcpy(target + whole * out_size, tile[3], (size_t)(rest * out_size));
}

void CB_FN(space_init)(cb_space *s, int count, const cb_tensor *const *operands) {
    const cb_tensor *lead = operands[0];
    int ndim = 0;
    s->count = count;
    s->numel = lead->numel;
    for (int d = 0; d < lead->ndim; d++) {
        if (lead->shape[d] == 1) continue;
        s->shape[ndim] = lead->shape[d];
        for (int k = 0; k < count; k++) {
            const cb_tensor *x = operands[k];
            int dx = d - (lead->ndim - x->ndim);
            s->strides[k][ndim] = dx < 0 || x->shape[dx] == 1 ? 0 : x->strides[dx];
        }
        ndim++;
    }
    if (!cb_is_contiguous(lead)) {
        for (int i = 1; i < ndim; i++) /* insertion sort: outermost has the largest stride */
            for (int j = i; j > 0; j--) {
                int64_t a = s->strides[0][j - 1], b = s->strides[0][j];
                if ((a < 0 ? -a : a) >= (b < 0 ? -b : b)) break;
                int64_t t = s->shape[j];
                s->shape[j] = s->shape[j - 1];
                s->shape[j - 1] = t;
                for (int k = 0; k < count; k++) {
                    t = s->strides[k][j];
                    s->strides[k][j] = s->strides[k][j - 1];
                    s->strides[k][j - 1] = t;
                }
            }
    }
    int merged = 0; /* index of the dimension that later ones are merged into */
    for (int d = 1; d < ndim; d++) {
        bool joins = true;
        for (int k = 0; k < count; k++) joins &= s->strides[k][merged] == s->strides[k][d] * s->shape[d];
        if (joins) {
            s->shape[merged] *= s->shape[d];
        } else {
            merged++;
            s->shape[merged] = s->shape[d];
        }
        for (int k = 0; k < count; k++) s->strides[k][merged] = s->strides[k][d];
    }
    s->ndim = merged + 1;
    if (ndim == 0) {
        s->shape[0] = 1;
        for (int k = 0; k < count; k++) s->strides[k][0] = 1;
    }
}

bool CB_FN(space_dense)(const cb_space *s, int k) {
    int64_t expected = 1;
    for (int d = s->ndim - 1; d >= 0; d--) {
        if (s->strides[k][d] != expected) return false;
        expected *= s->shape[d];
    }
    return true;
}

typedef struct {
    double re, im;
} item16;

#define RUN(type)                                                          \
    do {                                                                   \
        const type *from = source;                                         \
        type *to = tile;                                                   \
        if (stride == 0) {                                                 \
            type value = *from;                                            \
            for (int64_t i = 0; i < n; i++) to[i] = value;                 \
        } else if (stride == -1) { /* constants, so that they vectorise */ \
            for (int64_t i = 0; i < n; i++) to[i] = from[-i];              \
        } else if (stride == 2) {                                          \
            for (int64_t i = 0; i < n; i++) to[i] = from[2 * i];           \
        } else {                                                           \
            for (int64_t i = 0; i < n; i++) to[i] = from[i * stride];      \
        }                                                                  \
    } while (0)

void CB_FN(gather_run)(int itemsize, const void *source, int64_t stride, int64_t n, void *tile) {
    if (stride == 1) {
        memcpy(tile, source, (size_t)(n * itemsize));
        return;
    }
    switch (itemsize) {
        case 1: RUN(uint8_t); break;
        case 2: RUN(uint16_t); break;
        case 4: RUN(uint32_t); break;
        case 8: RUN(uint64_t); break;
        default: RUN(item16);
    }
}
#undef RUN

#define RUN(type)                                                 \
    do {                                                          \
        const type *from = tile;                                  \
        type *to = target;                                        \
        for (int64_t i = 0; i < n; i++) to[i * stride] = from[i]; \
    } while (0)

void CB_FN(scatter_run)(int itemsize, void *target, int64_t stride, int64_t n, const void *tile) {
    if (stride == 1) {
        memcpy(target, tile, (size_t)(n * itemsize));
        return;
    }
    switch (itemsize) {
        case 1: RUN(uint8_t); break;
        case 2: RUN(uint16_t); break;
        case 4: RUN(uint32_t); break;
        case 8: RUN(uint64_t); break;
        default: RUN(item16);
    }
}
#undef RUN

/* Walks items [begin, begin + n) of operand k as runs along the innermost dimension. */
#define WALK(ACTION)                                                              \
    int last = s->ndim - 1;                                                       \
    int64_t index[CB_MAX_NDIM], offset = 0, rest = begin, inner = s->shape[last]; \
    const int64_t *strides = s->strides[k];                                       \
    for (int d = last; d >= 0; d--) {                                             \
        index[d] = rest % s->shape[d];                                            \
        rest /= s->shape[d];                                                      \
        offset += index[d] * strides[d];                                          \
    }                                                                             \
    while (n > 0) {                                                               \
        int64_t run = CB_MIN(n, inner - index[last]);                             \
        ACTION;                                                                   \
        n -= run;                                                                 \
        if (n == 0) break;                                                        \
        offset -= index[last] * strides[last];                                    \
        index[last] = 0;                                                          \
        for (int d = last - 1; d >= 0; d--) {                                     \
            offset += strides[d];                                                 \
            if (++index[d] < s->shape[d]) break;                                  \
            offset -= s->shape[d] * strides[d];                                   \
            index[d] = 0;                                                         \
        }                                                                         \
    }

enum { SHORT_RUN = 16 };

/* `rows` runs of `inner` items, one after the other; the few lengths of pixels and repeats unrolled */
#define ROWS_OF(type, inner_, stride_)         \
    for (int64_t r = 0; r < rows; r++)         \
        for (int64_t j = 0; j < (inner_); j++) \
    ((type *)tile)[r * (inner_) + j] = ((const type *)source)[r * row_stride + j * (stride_)]
#define ROWS_BY(type, stride_)                    \
    switch (inner) {                              \
        case 2: ROWS_OF(type, 2, stride_); break; \
        case 3: ROWS_OF(type, 3, stride_); break; \
        case 4: ROWS_OF(type, 4, stride_); break; \
        case 8: ROWS_OF(type, 8, stride_); break; \
        default: ROWS_OF(type, inner, stride_);   \
    }
#define ROWS(type)            \
    if (stride == 0) {        \
        ROWS_BY(type, 0)      \
    } else {                  \
        ROWS_BY(type, stride) \
    }                         \
    break
static void gather_rows(int itemsize, const void *source, int64_t row_stride, int64_t stride, int64_t rows,
                        int64_t inner, void *tile) {
    if (stride == 1 && inner > SHORT_RUN) {
        size_t length = (size_t)(inner * itemsize);
        for (int64_t r = 0; r < rows; r++)
            memcpy((char *)tile + r * inner * itemsize, (const char *)source + r * row_stride * itemsize,
                   length);
        return;
    }
    switch (itemsize) {
        case 1: ROWS(uint8_t);
        case 2: ROWS(uint16_t);
        case 4: ROWS(uint32_t);
        case 8: ROWS(uint64_t);
        default: ROWS(item16);
    }
}
#undef ROWS
#undef ROWS_BY
#undef ROWS_OF

void CB_FN(gather)(const cb_space *s, int k, int itemsize, const void *base, int64_t begin, int64_t n,
                   void *tile) {
    char *to = tile;
    WALK({
        int64_t rows = 0;
        if ((inner <= SHORT_RUN || strides[last] == 1) && last > 0 && index[last] == 0)
            rows = CB_MIN(n / inner, s->shape[last - 1] - index[last - 1]);
        if (rows >
            1) { /* whole rows of the last two dimensions at once; the walk goes on from the last one */
            gather_rows(itemsize, (const char *)base + offset * itemsize, strides[last - 1], strides[last],
                        rows, inner, to);
            run = rows * inner;
            offset += (rows - 1) * strides[last - 1];
            index[last - 1] += rows - 1;
        } else {
            CB_FN(gather_run)(itemsize, (const char *)base + offset * itemsize, strides[last], run, to);
        }
        to += run * itemsize;
    })
}

void CB_FN(scatter)(const cb_space *s, int k, int itemsize, void *base, int64_t begin, int64_t n,
                    const void *tile) {
    const char *from = tile;
    WALK({
        CB_FN(scatter_run)(itemsize, (char *)base + offset * itemsize, strides[last], run, from);
        from += run * itemsize;
    })
}

const void *CB_FN(load)(const cb_space *s, int k, const cb_operand *o, int64_t begin, int64_t n, void *raw,
                        void *cast) {
    int size = cb_dtypes[o->from].size, last = s->ndim - 1;
    int64_t inner = s->shape[last], at = begin % inner;
    const void *source = raw;
    if (o->direct) {
        source = o->data + begin * size;
    } else if (s->strides[k][last] == 1 && at + n <= inner) { /* inside one row that is contiguous */
        int64_t offset = at, rest = begin / inner;
        for (int d = last - 1; d >= 0; d--) {
            offset += rest % s->shape[d] * s->strides[k][d];
            rest /= s->shape[d];
        }
        source = o->data + offset * size;
    } else {
        CB_FN(gather)(s, k, size, o->data, begin, n, raw);
    }
    if (o->from == o->to) return source;
    CB_FN(cast_table)[o->from][o->to](n, cast, source);
    return cast;
}
