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

/* compute: of `where` the dtype of what it chooses from */
cb_kernel CB_FN(find_kernel)(int family, int op, int compute) {
    if (family == CB_FAMILY_TERNARY && op == CB_TERNARY_where) return where_of(cb_dtypes[compute].size);
    return tables[compute][family] ? tables[compute][family][op] : NULL;
}

typedef struct run {
    cb_kernel kernel;
    cb_space space;
    int nin;
    cb_operand operand[CB_MAX_OPERANDS]; /* 0 is the result */
} run;

typedef union tile {
    char bytes[CB_TILE * 16];
    double align[2];
} __attribute__((aligned(64))) tile;

static int size_of(int dtype) { return cb_dtypes[dtype].size; }

static const void *load(const run *r, int k, int64_t begin, int64_t n, tile *raw, tile *cast) {
    return CB_FN(load)(&r->space, k, &r->operand[k], begin, n, raw, cast);
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
        const cb_operand *out = &r->operand[0];
        int size = size_of(out->from);
        if (out->direct && out->from == out->to) {
            r->kernel(n, out->data + i * size, in);
        } else {
            void *result = &cast[0];
            r->kernel(n, result, in);
            if (out->from != out->to) {
                CB_FN(cast_table)[out->to][out->from](n, &raw[0], result);
                result = &raw[0];
            }
            CB_FN(scatter)(s, 0, size, out->data, i, n, result);
        }
        i += n;
    }
}

static void run_direct(void *context, int64_t begin, int64_t end) {
    const run *r = context;
    const void *in[CB_MAX_OPERANDS];
    for (int k = 1; k <= r->nin; k++) in[k - 1] = r->operand[k].data + begin * size_of(r->operand[k].from);
    r->kernel(end - begin, r->operand[0].data + begin * size_of(r->operand[0].from), in);
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
    cb_operand *o = r.operand;
    o[0] = (cb_operand){.data = out->data, .from = out->dtype, .to = cb_rule_output(info->rule, compute)};
    bool simple = cb_is_contiguous(out) && o[0].from == o[0].to;
    const cb_tensor *operands[CB_MAX_OPERANDS] = {out};
    for (int k = 1; k <= nin; k++) {
        const cb_tensor *x = operands[k] = in[k - 1];
        o[k] = (cb_operand){.data = x->data, .from = x->dtype, .to = where && k == 1 ? x->dtype : compute};
        simple &= o[k].from == o[k].to && x->numel == out->numel && cb_is_contiguous(x);
    }
    if (simple) {
        cb_parallel(out->numel, grain, run_direct, &r);
        return CB_OK;
    }
    CB_FN(space_init)(&r.space, nin + 1, operands);
    simple = true;
    for (int k = 0; k <= nin; k++) {
        o[k].direct = CB_FN(space_dense)(&r.space, k);
        simple &= o[k].direct && o[k].from == o[k].to;
    }
    cb_parallel(out->numel, grain, simple ? run_direct : run_tiles, &r);
    return CB_OK;
}
