/* The elementwise driver: runs scalar kernels over operands of any strides, dtypes and broadcast.
 *
 * Kernels see contiguous tiles of the compute dtype. An operand that already is one is passed as it lies; any
 * other is gathered and cast into a tile on the stack (sweep.c), so no cast or broadcast is ever
 * materialised. */
#include "stream.h"
#include "sweep.h"
#include "vmath.h"

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
    cb_kernel own = compute == CB_F32 ? CB_FN(kernel_f32)(family, op) : NULL;
    if (!own && family == CB_FAMILY_BINARY) own = CB_FN(modulo_kernel)(op, compute);
    if (!own && compute == CB_F32) own = CB_FN(special_kernel)(family, op);
    if (own) return own;
    if (family == CB_FAMILY_TERNARY && op == CB_TERNARY_where) return where_of(cb_dtypes[compute].size);
    return tables[compute][family] ? tables[compute][family][op] : NULL;
}

/* Powers by one number that need no logarithm. float32 multiplies in double what it found in float, so that
 * these too are rounded once; float64 has those that a single operation gives. */
#define POWER(name, T, VALUE)                                                \
    static void power_##name(int64_t n, void *out_, const void *const *in) { \
        T *out = out_;                                                       \
        const T *xs = in[0];                                                 \
        _Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) {               \
            T x = xs[i];                                                     \
            out[i] = (T)(VALUE);                                             \
        }                                                                    \
    }
/* r, about 1 / x or 1 / sqrt(x), made better by a step of Newton's method where it is neither 0 nor infinite
 */
#define IS_PLAIN(r) ((r) != 0 && fabs_f32(r) < inf_f32())
CB_INLINE double inverse(float x) {
    double r = 1 / x, d = x;
    return IS_PLAIN((float)r) ? r + r * (1 - d * r) : r;
}
CB_INLINE double inverse_root(float x) {
    double r = 1 / sqrt_f32(fabs_f32(x)), d = x;
    double better = IS_PLAIN((float)r) ? r + 0.5 * r * (1 - d * r * r) : r;
    return x < 0 && x > -inf_f32() ? (double)(inf_f32() - inf_f32()) : better;
}
#define CUBE(x) ((x) * (x) * (x))
#define SQUARE(x) ((x) * (x))
POWER(first_f32, float, x)
POWER(first_f64, double, x)
POWER(cube_f32, float, CUBE((double)x))
POWER(fourth_f32, float, SQUARE(SQUARE((double)x)))
POWER(inverse_square_f32, float, SQUARE(inverse(x)))
POWER(inverse_root_f32, float, inverse_root(x))
POWER(inverse_root_cube_f32, float, CUBE(inverse_root(x)))
/* unlike a square root, a power gives 0 for -0 and inf for -inf */
POWER(root_f32, float, x == -inf_f32() ? -x : sqrt_f32(x) + 0)
POWER(root_f64, double, x == -inf_f64() ? -x : sqrt_f64(x) + 0)

cb_kernel CB_FN(power_kernel)(int compute, const cb_tensor *exponent) {
    if (exponent->numel != 1 || !exponent->data) return NULL;
    double y;
    CB_FN(cast_table)[exponent->dtype][CB_F64](1, &y, exponent->data);
    if (y == 2) return CB_FN(find_kernel)(CB_FAMILY_UNARY, CB_UNARY_square, compute);
    if (y == -1) return CB_FN(find_kernel)(CB_FAMILY_UNARY, CB_UNARY_reciprocal, compute);
    if (compute == CB_F64) return y == 1 ? power_first_f64 : y == 0.5 ? power_root_f64 : NULL;
    if (compute != CB_F32) return NULL;
    return y == 1      ? power_first_f32
           : y == 0.5  ? power_root_f32
           : y == 3    ? power_cube_f32
           : y == 4    ? power_fourth_f32
           : y == -2   ? power_inverse_square_f32
           : y == -0.5 ? power_inverse_root_f32
           : y == -1.5 ? power_inverse_root_cube_f32
                       : NULL;
}

static void run_direct(void *context, int64_t begin, int64_t end) {
    const cb_sweep *w = context;
    const void *in[CB_MAX_OPERANDS];
    int sizes[CB_MAX_OPERANDS];
    for (int k = 0; k <= w->nin; k++) sizes[k] = cb_dtypes[w->operand[k].from].size;
    enum { STEP = 256 }; /* few enough lines to leave while the next ones are computed */
    _Alignas(64) char tile[STEP * 16];
    int64_t step = w->stream ? STEP : end - begin;
    for (int64_t i = begin; i < end; i += step) {
        int64_t n = CB_MIN(step, end - i);
        for (int k = 1; k <= w->nin; k++) in[k - 1] = w->operand[k].data + i * sizes[k];
        char *target = w->operand[0].data + i * sizes[0];
        w->kernel(n, w->stream ? tile : target, in);
        if (w->stream) cb_stream(target, tile, n * sizes[0]);
    }
    if (w->stream) cb_stream_end();
}

/* Does memory take longer than the arithmetic? Then a large result is worth streaming. */
static bool is_light(int family, int op, int rule, int compute) {
    if (rule != CB_RULE_FLOAT) return true;
    if (family == CB_FAMILY_BINARY) return op == CB_BINARY_div;
    if (family != CB_FAMILY_UNARY) return false;
#if defined(__AVX512F__)
    if (compute == CB_F32 && (op == CB_UNARY_tanh || op == CB_UNARY_erf || op == CB_UNARY_log)) return true;
#else
    (void)compute; /* those take longer without tables of sixteen (kernels_f32.c) */
#endif
    return op == CB_UNARY_sqrt || op == CB_UNARY_reciprocal;
}

int CB_FN(elementwise)(int family, int op, cb_tensor *out, int nin, const cb_tensor *const *in, int compute) {
    const cb_op_info *info = cb_op_info_of(family, op);
    cb_kernel kernel = CB_FN(find_kernel)(family, op, compute);
    cb_kernel power =
        family == CB_FAMILY_BINARY && op == CB_BINARY_pow ? CB_FN(power_kernel)(compute, in[1]) : NULL;
    if (power) kernel = power, nin = 1;
    bool where = family == CB_FAMILY_TERNARY && op == CB_TERNARY_where;
    if (where) compute = out->dtype, kernel = where_of(out->itemsize);
    if (!kernel)
        return cb_fail(CB_ERR_UNSUPPORTED, "%s: no kernel for %s.", info->name, cb_dtypes[compute].name);
    int64_t grain = info->rule == CB_RULE_FLOAT ? GRAIN_COSTLY : GRAIN_CHEAP;
    cb_sweep w;
    w.kernel = kernel;
    w.op = nin == 2 ? op : -1;
    w.nin = nin;
    cb_operand *o = w.operand;
    o[0] = (cb_operand){.data = out->data, .from = out->dtype, .to = cb_rule_output(info->rule, compute)};
    bool simple = cb_is_contiguous(out) && o[0].from == o[0].to;
    const cb_tensor *operands[CB_MAX_OPERANDS] = {out};
    int64_t nbytes = 0;
    for (int k = 1; k <= nin; k++) {
        const cb_tensor *x = operands[k] = in[k - 1];
        o[k] = (cb_operand){.data = x->data, .from = x->dtype, .to = where && k == 1 ? x->dtype : compute};
        simple &= o[k].from == o[k].to && x->numel == out->numel && cb_is_contiguous(x);
        nbytes += x->numel * x->itemsize;
    }
    w.stream = is_light(family, op, info->rule, compute) && cb_streams(nbytes, out->numel * out->itemsize);
    if (!simple) {
        CB_FN(space_init)(&w.space, nin + 1, operands);
        simple = true;
        for (int k = 0; k <= nin; k++) {
            o[k].direct = CB_FN(space_dense)(&w.space, k);
            simple &= o[k].direct && o[k].from == o[k].to;
        }
    }
    if (simple)
        cb_parallel(out->numel, grain, run_direct, &w);
    else
        CB_FN(sweep)(&w, grain);
    return CB_OK;
}
