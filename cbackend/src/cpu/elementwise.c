/* The elementwise driver: runs scalar kernels over operands of any strides, dtypes and broadcast.
 *
 * Kernels see contiguous tiles of the compute dtype. An operand that already is one is passed as it lies; any
 * other is gathered and cast into a tile on the stack, so no cast or broadcast is ever materialised. */
#include "cpu.h"

/* Pieces per thread: small enough to balance, large enough that waking a thread pays. */
enum { GRAIN_CHEAP = 65536, GRAIN_COSTLY = 16384 };

#define DECLARE(id)                                \
    extern const cb_kernel CB_TABLE(unary, id)[];  \
    extern const cb_kernel CB_TABLE(binary, id)[]; \
    extern const cb_kernel CB_TABLE(ternary, id)[];
/* clang-format off */
DECLARE(BOOL) DECLARE(U8) DECLARE(I8) DECLARE(U16) DECLARE(I16) DECLARE(U32) DECLARE(I32) DECLARE(U64) DECLARE(I64)
DECLARE(F32) DECLARE(F64) DECLARE(C64) DECLARE(C128)
/* clang-format on */

#define TABLES(id) [CB_##id] = {CB_TABLE(unary, id), CB_TABLE(binary, id), CB_TABLE(ternary, id)}
static const cb_kernel *const tables[CB_DTYPE_COUNT][3] = {
    TABLES(BOOL), TABLES(U8),  TABLES(I8),  TABLES(U16), TABLES(I16), TABLES(U32),  TABLES(I32),
    TABLES(U64),  TABLES(I64), TABLES(F32), TABLES(F64), TABLES(C64), TABLES(C128),
};

/* `where` moves items without looking at them: one kernel a size */
typedef struct {
    double re, im;
} item16;
#define WHERE(size, item)                                                    \
    static void where_##size(int64_t n, void *out_, const void *const *in) { \
        item *out = out_;                                                    \
        const uint8_t *condition = in[0];                                    \
        const item *xs = in[1], *ys = in[2];                                 \
        _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) {               \
            item x = xs[i], y = ys[i];                                       \
            out[i] = condition[i] ? x : y;                                   \
        }                                                                    \
    }
WHERE(1, uint8_t)
WHERE(2, uint16_t)
WHERE(4, uint32_t)
WHERE(8, uint64_t)
WHERE(16, item16)

static cb_kernel where_of(int itemsize) {
    switch (itemsize) {
        case 1: return where_1;
        case 2: return where_2;
        case 4: return where_4;
        case 8: return where_8;
        default: return where_16;
    }
}

cb_kernel CB_FN(find_kernel)(int family, int op, int compute) {
    if (family == CB_FAMILY_TERNARY && op == CB_TERNARY_where) return where_of(cb_dtypes[compute].size);
    return tables[compute][family] ? tables[compute][family][op] : NULL;
}

typedef struct run {
    cb_kernel kernel;
    cb_space space;
    int nin;
    /* dtypes in memory and in the tile; operand 0 is the result */
    int from[CB_MAX_OPERANDS], to[CB_MAX_OPERANDS];
    char *data[CB_MAX_OPERANDS];
    bool direct[CB_MAX_OPERANDS]; /* one unbroken run of the tile's dtype */
} run;

typedef union tile {
    char bytes[CB_TILE * 16];
    double align[2];
} __attribute__((aligned(64))) tile;

static int size_of(int dtype) { return cb_dtypes[dtype].size; }

/* Operand k's items [begin, begin + n) as a contiguous tile of its compute dtype. */
static const void *load(const run *r, int k, int64_t begin, int64_t n, tile *raw, tile *cast) {
    const cb_space *s = &r->space;
    int size = size_of(r->from[k]), last = s->ndim - 1;
    int64_t inner = s->shape[last], at = begin % inner;
    const void *source = raw;
    if (r->direct[k]) {
        source = r->data[k] + begin * size;
    } else if (s->strides[k][last] == 1 && at + n <= inner) { /* inside one row that is contiguous */
        int64_t offset = at, rest = begin / inner;
        for (int d = last - 1; d >= 0; d--) {
            offset += rest % s->shape[d] * s->strides[k][d];
            rest /= s->shape[d];
        }
        source = r->data[k] + offset * size;
    } else {
        CB_FN(gather)(s, k, size, r->data[k], begin, n, raw);
    }
    if (r->from[k] == r->to[k]) return source;
    CB_FN(cast_table)[r->from[k]][r->to[k]](n, cast, source);
    return cast;
}

static void run_tiles(void *context, int64_t begin, int64_t end) {
    const run *r = context;
    const cb_space *s = &r->space;
    tile raw[CB_MAX_OPERANDS], cast[CB_MAX_OPERANDS];
    const void *in[CB_MAX_OPERANDS];
    int64_t inner = s->shape[s->ndim - 1];
    bool rows = s->ndim > 1 && inner >= CB_TILE / 4; /* tiles stop at row ends: operands stay contiguous */
    bool constant[CB_MAX_OPERANDS] = {false};
    for (int k = 1; k <= r->nin; k++) { /* a number: its tile is filled once */
        if (s->ndim > 1 || s->strides[k][0] != 0 || s->numel == 1) continue;
        in[k - 1] = load(r, k, begin, CB_MIN(CB_TILE, end - begin), &raw[k], &cast[k]);
        constant[k] = true;
    }
    for (int64_t i = begin; i < end;) {
        int64_t n = CB_MIN(CB_TILE, end - i);
        if (rows) n = CB_MIN(n, inner - i % inner);
        for (int k = 1; k <= r->nin; k++)
            if (!constant[k]) in[k - 1] = load(r, k, i, n, &raw[k], &cast[k]);
        int size = size_of(r->from[0]);
        if (r->direct[0] && r->from[0] == r->to[0]) {
            r->kernel(n, r->data[0] + i * size, in);
        } else {
            void *result = &cast[0];
            r->kernel(n, result, in);
            if (r->from[0] != r->to[0]) {
                CB_FN(cast_table)[r->to[0]][r->from[0]](n, &raw[0], result);
                result = &raw[0];
            }
            CB_FN(scatter)(s, 0, size, r->data[0], i, n, result);
        }
        i += n;
    }
}

static void run_direct(void *context, int64_t begin, int64_t end) {
    const run *r = context;
    const void *in[CB_MAX_OPERANDS];
    for (int k = 1; k <= r->nin; k++) in[k - 1] = r->data[k] + begin * size_of(r->from[k]);
    r->kernel(end - begin, r->data[0] + begin * size_of(r->from[0]), in);
}

int CB_FN(elementwise)(int family, int op, cb_tensor *out, int nin, const cb_tensor *const *in, int compute) {
    const cb_op_info *info = cb_op_info_of(family, op);
    cb_kernel kernel = CB_FN(find_kernel)(family, op, compute);
    bool where = family == CB_FAMILY_TERNARY && op == CB_TERNARY_where;
    if (where) compute = out->dtype, kernel = where_of(out->itemsize);
    if (!kernel)
        return cb_fail(CB_ERR_UNSUPPORTED, "%s: no kernel for %s.", info->name, cb_dtypes[compute].name);
    int64_t grain = info->rule == CB_RULE_FLOAT ? GRAIN_COSTLY : GRAIN_CHEAP;
    run r;
    r.kernel = kernel;
    r.nin = nin;
    r.from[0] = out->dtype;
    r.to[0] = cb_rule_output(info->rule, compute);
    r.data[0] = out->data;
    bool simple = cb_is_contiguous(out) && r.from[0] == r.to[0];
    const cb_tensor *operands[CB_MAX_OPERANDS] = {out};
    for (int k = 1; k <= nin; k++) {
        const cb_tensor *x = operands[k] = in[k - 1];
        r.from[k] = x->dtype;
        r.to[k] = where && k == 1 ? x->dtype : compute;
        r.data[k] = x->data;
        simple &= r.from[k] == r.to[k] && x->numel == out->numel && cb_is_contiguous(x);
    }
    if (simple) {
        cb_parallel(out->numel, grain, run_direct, &r);
        return CB_OK;
    }
    CB_FN(space_init)(&r.space, nin + 1, operands);
    simple = true;
    for (int k = 0; k <= nin; k++) {
        r.direct[k] = CB_FN(space_dense)(&r.space, k);
        simple &= r.direct[k] && r.from[k] == r.to[k];
    }
    cb_parallel(out->numel, grain, simple ? run_direct : run_tiles, &r);
    return CB_OK;
}
