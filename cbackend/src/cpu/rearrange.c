/* Lower and upper triangles of batches of matrices; pieces joined side by side. */
#include "bytes.h"

enum { WORK = 32768 };

typedef struct tri_run {
    const cb_tensor *out, *x;
    int64_t rows, columns, diagonal;
    bool upper;
} tri_run;

/* Rows [begin, end) of the batch laid end to end: the kept part is copied, the rest is zero in all dtypes'
 * bits. */
static void tri_rows(void *context, int64_t begin, int64_t end) {
    const tri_run *t = context;
    const cb_tensor *x = t->x;
    int last = x->ndim - 1;
    int64_t size = x->itemsize, stride = x->strides[last], columns = t->columns;
    for (int64_t r = begin; r < end; r++) {
        int64_t row = r % t->rows, rest = r, offset = 0;
        for (int d = last - 1; d >= 0; d--) {
            offset += rest % x->shape[d] * x->strides[d];
            rest /= x->shape[d];
        }
        /* kept: columns [low, high) */
        int64_t edge = CB_MAX(0, CB_MIN(columns, t->upper ? row + t->diagonal : row + t->diagonal + 1));
        int64_t low = t->upper ? edge : 0, high = t->upper ? columns : edge;
        char *to = (char *)t->out->data + r * columns * size;
        const char *from = (const char *)x->data + offset * size;
        memset(to, 0, (size_t)(low * size));
        if (high > low)
            CB_FN(gather_run)((int)size, from + low * stride * size, stride, high - low, to + low * size);
        memset(to + high * size, 0, (size_t)((columns - high) * size));
    }
}

/* Batches of dense small matrices: as many as fit under a mask of MASK bytes at a time. */
enum { MASK = 4096 };
typedef struct tri_mask {
    uint8_t *out;
    const uint8_t *x;
    int64_t numel, size; /* bytes, of all and of the mask */
    uint8_t mask[MASK];
} tri_mask;

static void tri_masked(void *context, int64_t begin, int64_t end) {
    const tri_mask *t = context;
    for (int64_t b = begin; b < end; b++) {
        uint8_t *restrict to = t->out + b * t->size;
        const uint8_t *restrict from = t->x + b * t->size, *restrict mask = t->mask;
        int64_t n = CB_MIN(t->size, t->numel - b * t->size);
        for (int64_t i = 0; i < n; i++) to[i] = from[i] & mask[i];
    }
}

static int tri_small(const tri_run *run) {
    int64_t size = run->x->itemsize, one = run->rows * run->columns * size;
    tri_mask t = {.out = run->out->data, .x = run->x->data, .numel = run->x->numel * size};
    for (int64_t r = 0; r < run->rows; r++)
        for (int64_t c = 0; c < run->columns; c++)
            memset(t.mask + (r * run->columns + c) * size,
                   (run->upper ? c - r >= run->diagonal : c - r <= run->diagonal) ? 255 : 0, (size_t)size);
    for (t.size = one; t.size + one <= CB_MIN(MASK, t.numel); t.size += one)
        memcpy(t.mask + t.size, t.mask, (size_t)one);
    cb_parallel((t.numel + t.size - 1) / t.size, CB_MAX(8 * WORK / t.size, 1), tri_masked, &t);
    return CB_OK;
}

int CB_FN(tri)(cb_tensor *out, const cb_tensor *x, int64_t diagonal, int upper) {
    tri_run t = {
        .out = out, .x = x, .rows = x->shape[x->ndim - 2], .columns = x->shape[x->ndim - 1], .upper = upper};
    t.diagonal = CB_MAX(-t.rows - 1, CB_MIN(diagonal, t.columns + 1)); /* far away is as good as outside */
    if (cb_is_contiguous(x) && t.rows * t.columns * x->itemsize <= MASK && x->numel >= 8 * t.rows * t.columns)
        return tri_small(&t);
    cb_parallel(out->numel / t.columns, CB_MAX(WORK / t.columns, 1), tri_rows, &t);
    return CB_OK;
}

typedef struct join_run {
    char *out;
    int64_t row; /* bytes */
    int n;
    const char *const *from;
    const int64_t *bytes, *steps; /* of a row, and from one to the next */
    bool stream;
} join_run;

static void join_rows(void *context, int64_t begin, int64_t end) {
    const join_run *j = context;
    char *to = j->out + begin * j->row;
    for (int64_t r = begin; r < end; r++)
        for (int i = 0; i < j->n; i++) {
            int64_t bytes = j->bytes[i];
            const char *from = j->from[i] + r * j->steps[i];
            cb_copy_bytes(to, from, bytes, j->stream);
            to += bytes;
        }
    if (j->stream) cb_stream_end();
}

/* items of two tensors by turns */
#define JOIN_PAIRS(type)                                                                           \
    static void join_##type(void *context, int64_t begin, int64_t end) {                           \
        const join_run *j = context;                                                               \
        type *restrict to = (type *)j->out;                                                        \
        const type *restrict x = (const type *)j->from[0], *restrict y = (const type *)j->from[1]; \
        for (int64_t i = begin; i < end; i++) {                                                    \
            to[2 * i] = x[i];                                                                      \
            to[2 * i + 1] = y[i];                                                                  \
        }                                                                                          \
    }
JOIN_PAIRS(uint16_t)
JOIN_PAIRS(uint32_t)
JOIN_PAIRS(uint64_t)

void CB_FN(join)(cb_tensor *out, int64_t rows, int n, const char *const *from, const int64_t *bytes,
                 const int64_t *steps) {
    join_run j = {.out = out->data, .n = n, .from = from, .bytes = bytes, .steps = steps};
    for (int i = 0; i < n; i++) j.row += bytes[i];
    j.stream = cb_streams(rows * j.row, rows * j.row);
    bool pairs = n == 2 && bytes[0] == out->itemsize && bytes[1] == out->itemsize;
    void (*body)(void *, int64_t, int64_t) = pairs && bytes[0] == 2   ? join_uint16_t
                                             : pairs && bytes[0] == 4 ? join_uint32_t
                                             : pairs && bytes[0] == 8 ? join_uint64_t
                                                                      : join_rows;
    cb_parallel(rows, CB_MAX(4 * WORK / j.row, 1), body, &j);
}
