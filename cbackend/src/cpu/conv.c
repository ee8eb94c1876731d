/* Convolutions on the CPU: float, double and pairs of bfloat16 (conv_bf16.c) through padded planes
 * (conv_plan.h) and register tiles (gemm_kernel.h); everything else through the plain loops.
 *
 * A piece is one band of results of one (image, group): its padded input stays in L2, a tile of 8 filters by
 * three vectors of positions stays in registers, and rows of the input are read in place, at any alignment.
 */
#include "conv_plan.h"
#include "gemm_batch.h"

#define CONV_KERNELS(t)                                         \
    static const conv_kernels t##_kernels = {sizeof(real),      \
                                             sizeof(real),      \
                                             t##_vl,            \
                                             t##_mr,            \
                                             t##_pixel_vectors, \
                                             t##_pack_weights,  \
                                             t##_prepare_units, \
                                             t##_correlate,     \
                                             t##_weight_pieces, \
                                             t##_weight_sums,   \
                                             t##_lane_pieces,   \
                                             t##_lane_sums,     \
                                             NULL}

#define real float
#define NAME(x) CB_PASTE(f32, x)
#include "conv_typed.h"
#include "conv_lanes_typed.h"
#include "conv_weight_typed.h"
#include "conv_depthwise_typed.h"
#include "conv_windows_typed.h"
CONV_KERNELS(f32);
#undef real
#undef NAME
#define real double
#define NAME(x) CB_PASTE(f64, x)
#include "conv_typed.h"
#include "conv_lanes_typed.h"
#include "conv_weight_typed.h"
#include "conv_depthwise_typed.h"
#include "conv_windows_typed.h"
CONV_KERNELS(f64);
#undef real
#undef NAME

enum { PIECE = 1 << 18 }; /* multiplications */

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* NULL: by the plain loops, or for bfloat16 not at all. */
static const conv_kernels *kernels_of(const cb_conv_shape *s) {
    for (int d = 0; d < 3; d++)
        if (s->kernel[d] > MAX_TAPS || s->stride[d] > MAX_STRIDE) return NULL;
    switch (s->dtype) {
        case CB_F32: return &f32_kernels;
        case CB_F64: return &f64_kernels;
        case CB_BF16: return CB_FN(conv_bf16_kernels)();
        default: return NULL;
    }
}

/* The convolution or its input gradient by a plan. w: the convolution's weights, whatever is computed. */
static int correlate(const cb_conv_shape *s, const conv_kernels *k, conv_plan *p, bool input_grad,
                     const void *w, const void *in, void *out) {
    int64_t work = size3(s->out) * size3(s->kernel) * s->ic * s->oc / p->bands, packed_bytes = 0;
    conv_run r = {.plan = p,
                  .in = in,
                  .out = out,
                  .units = s->n * s->groups * p->bands,
                  .together = 1,
                  .block = p->rows,
                  .blocks = 1};
    int64_t copies = CB_MAX(1, s->n * p->bands); /* of an input that the packed weights serve */
    r.width = k->pixel_vectors(p, copies) * k->vl;
    bool large = s->groups == 1 && s->ic * s->oc * size3(s->kernel) * k->item > (512 << 10);
    int64_t planes = p->channels * p->channel_size, plane_bytes = 0;
    void *prepared = NULL;
    if (r.width && !k->pair_weights && plan_direct(p) && planes == p->channels * size3(p->in)) {
        r.planes = in;
        r.held = planes;
    } else if (large && r.width && r.units < 32) { /* few: copied once for all pieces */
        r.held = round_up(planes + p->shared, 64 / k->item);
        plane_bytes = r.units * r.held * k->item;
        if (plane_bytes <= (8 << 20)) r.planes = prepared = cb_alloc(CB_CPU, plane_bytes);
    }
    if (large) {
        /* where every piece copies its units, no more of them together, so no more blocks, than sharing the
         * work takes */
        int64_t most = CB_MIN(CB_MIN(8, r.planes ? r.units : (r.units + 15) / 16),
                              (1 << 20) / (planes * k->item)),
                sets = ceil_div(r.units, CB_MAX(1, most)), blocks = ceil_div(16, sets),
                least = CB_MAX(64, ceil_div(p->rows, blocks));
        r.together = ceil_div(r.units, sets);
        r.block = CB_MIN(p->rows, round_up(least, r.width ? r.width : 8));
        r.blocks = ceil_div(p->rows, r.block);
        work = CB_MAX(1, work * r.together / r.blocks);
    }
    if (prepared)
        cb_parallel(r.units * ((p->channels + PREPARED - 1) / PREPARED),
                    CB_MAX(1, 65536 / (PREPARED * p->channel_size)), k->prepare_units, &r);
    void *packed = NULL;
    for (int q = 0; q < p->parts; q++) p->part[q].weights = w; /* [groups][filters][channels][taps] */
    if (r.width) {
        packed_bytes =
            CB_MAX(1, s->groups * round_up(p->rows, r.width) * p->channels * size3(s->kernel) * k->item);
        packed = cb_alloc(CB_CPU, packed_bytes);
        if (!packed) {
            if (prepared) cb_free(CB_CPU, prepared, plane_bytes);
            return CB_ERR_MEMORY;
        }
        k->pack_weights(p, input_grad ? s : NULL, r.width, w, packed);
    }
    cb_parallel((r.units + r.together - 1) / r.together * r.blocks, CB_MAX(1, PIECE / CB_MAX(work, 1)),
                k->correlate, &r);
    if (packed) cb_free(CB_CPU, packed, packed_bytes);
    if (prepared) cb_free(CB_CPU, prepared, plane_bytes);
    return r.status;
}

/* By the plain loops, which bfloat16 has none of. */
static int plain_loops(const cb_conv_shape *s, bool input_grad, const void *w, const void *in, void *out) {
    if (s->dtype == CB_BF16) return CB_ERR_UNSUPPORTED;
    return input_grad ? CB_FN(conv_input_grad_plain)(s, out, in, w) : CB_FN(conv_plain)(s, out, in, w);
}

static int planned(const cb_conv_shape *s, bool input_grad, const void *w, const void *in, void *out) {
    const conv_kernels *k = kernels_of(s);
    conv_plan p;
    cb_conv_shape pairs = *s;
    void *paired = NULL;
    int64_t nbytes = 0;
    if (!k) return plain_loops(s, input_grad, w, in, out);
    if (k->pair_weights) {
        int64_t *halved = input_grad ? &pairs.oc : &pairs.ic;
        if (*halved % 2) return CB_ERR_UNSUPPORTED;
        *halved /= 2;
        nbytes = s->groups * pairs.oc * pairs.ic * size3(s->kernel) * k->item;
    }
    int64_t copied = input_grad ? pairs.oc : pairs.ic;
    bool hops = !input_grad && size3(s->stride) > 1 && size3(s->stride) <= size3(s->kernel);
    int status = hops ? plan_init(&p, &pairs, HOPPING, copied, k->item) : CB_OK;
    if (hops && !status && !k->pixel_vectors(&p, s->n * p.bands)) {
        cb_free(CB_CPU, p.memory, p.nbytes);
        hops = false;
    }
    if (!hops || status) status = plan_init(&p, &pairs, input_grad ? INPUT_GRAD : PLAIN, copied, k->item);
    if (status == CB_ERR_UNSUPPORTED) return plain_loops(s, input_grad, w, in, out);
    if (status) return status;
    if (k->pair_weights) {
        if ((paired = cb_alloc(CB_CPU, nbytes)))
            k->pair_weights(s, input_grad, w, paired);
        else
            status = CB_ERR_MEMORY;
        w = paired;
    }
    if (!status) status = correlate(&pairs, k, &p, input_grad, w, in, out);
    if (paired) cb_free(CB_CPU, paired, nbytes);
    cb_free(CB_CPU, p.memory, p.nbytes);
    return status;
}

/* Kernels of one tap without stride or padding are matrix products: y[image][group] = w[group] @
 * x[image][group], unless planes are so small that vectors of several images' pixels pay. */
static bool is_product(const cb_conv_shape *s) {
    int64_t plane = size3(s->in);
    for (int d = 0; d < 3; d++)
        if (s->kernel[d] != 1 || s->stride[d] != 1 || s->padding[d] != 0) return false;
    if (s->dtype != CB_F32 && s->dtype != CB_F64) return false;
    bool small = plane * 100 < round_up(plane, kernels_of(s)->vl) * 85;
    return !small || s->n < 4 || s->groups > 1 || s->ic < 64 || s->oc < 64;
}

static int as_product(const cb_conv_shape *s, void *out, const void *in, const void *w, bool input_grad) {
    int64_t n = size3(s->in), rows = input_grad ? s->ic : s->oc, k = input_grad ? s->oc : s->ic;
    cb_gemm g = {.dtype = s->dtype,
                 .nbatch = 2,
                 .m = rows,
                 .n = n,
                 .k = k,
                 .batch = s->n * s->groups,
                 .a = w,
                 .b = in,
                 .c = out,
                 .a_row = input_grad ? 1 : s->ic,
                 .a_col = input_grad ? s->ic : 1,
                 .b_row = n,
                 .b_col = 1,
                 .batch_shape = {s->n, s->groups},
                 .a_batch = {0, s->oc * s->ic},
                 .b_batch = {s->groups * k * n, k * n}};
    return CB_FN(gemm)(&g);
}

/* A kernel as large as its input has one result, a product of all that is summed over with the weights:
 * y = x @ w^T, dx = ct @ w and dw = ct^T @ x for matrices of images, of filters and of an image's numbers. */
static bool is_whole(const cb_conv_shape *s) {
    for (int d = 0; d < 3; d++)
        if (s->kernel[d] != s->in[d] || s->padding[d] != 0 || s->dilation[d] != 1) return false;
    return s->groups == 1 && (s->dtype == CB_F32 || s->dtype == CB_F64);
}

/* Input gradients of few channels under long kernels with wide strides: what each window gives is a product
 * of its cotangents and the weights, in runs along the kernel's last dimension, which are added up where
 * windows overlap. */
static bool is_of_windows(const cb_conv_shape *s) {
    return s->ic <= 4 && s->oc >= 32 && s->kernel[2] >= 16 && s->stride[2] >= 4 && s->dilation[2] == 1 &&
           (s->dtype == CB_F32 || s->dtype == CB_F64);
}

static int by_windows(const cb_conv_shape *s, void *x, const void *y, const void *w) {
    enum { HELD = 4 << 20 }; /* bytes of windows: of several images, or of some positions of one */
    int64_t positions = size3(s->out), row = s->ic * size3(s->kernel), size = cb_dtypes[s->dtype].size,
            each = CB_MAX(1, CB_MIN(positions, HELD / (s->groups * row * size))),
            images = CB_MAX(1, CB_MIN(s->n, HELD / (s->groups * positions * row * size))),
            nbytes = images * s->groups * each * row * size;
    void *windows = cb_alloc(CB_CPU, nbytes);
    int status = windows ? CB_OK : CB_ERR_MEMORY;
    for (int64_t i = 0; i < s->n && !status; i += images)
        for (int64_t p = 0; p < positions && !status; p += each) {
            int64_t n = CB_MIN(images, s->n - i), count = CB_MIN(each, positions - p);
            cb_gemm g = {.dtype = s->dtype,
                         .nbatch = 2,
                         .m = count,
                         .n = row,
                         .k = s->oc,
                         .batch = n * s->groups,
                         .a = (const char *)y + (i * s->groups * s->oc * positions + p) * size,
                         .b = w,
                         .c = windows,
                         .a_row = 1,
                         .a_col = positions,
                         .b_row = row,
                         .b_col = 1,
                         .batch_shape = {n, s->groups},
                         .a_batch = {s->groups * s->oc * positions, s->oc * positions},
                         .b_batch = {0, s->oc * row}};
            status = CB_FN(gemm)(&g);
            windows_run r = {s, windows, (char *)x + i * s->groups * s->ic * size3(s->in) * size, p, count};
            if (!status)
                cb_parallel(n * s->groups * s->ic, CB_MAX(1, 16384 / (count * size3(s->kernel))),
                            s->dtype == CB_F64 ? f64_add_windows : f32_add_windows, &r);
        }
    if (windows) cb_free(CB_CPU, windows, nbytes);
    return status;
}

/* Fills in r for an image of `in` padded by `pad`, if depthwise loops can do it. */
static bool depthwise_init(depthwise_run *r, const cb_conv_shape *s, const int64_t *in, const int64_t *out,
                           const int64_t pad[2]) {
    *r = (depthwise_run){.images = s->n, .groups = s->groups, .filters = s->oc, .taps = size3(s->kernel)};
    if (s->ic != 1 || s->kernel[0] != 1 || s->in[0] != 1 || s->out[0] != 1 || s->padding[0] != 0 ||
        r->taps > DEPTHWISE_TAPS || (s->dtype != CB_F32 && s->dtype != CB_F64 && s->dtype != CB_BF16))
        return false;
    int64_t side = s->kernel[1];
    bool square = side == s->kernel[2] && s->dilation[1] == 1 && s->dilation[2] == 1,
         in_place = s->dtype == CB_F64 ? f64_in_place : f32_in_place;
    r->stride = (int)s->stride[1];
    r->side = square && (side == 3 || side == 5 || (side == 7 && in_place) || (side == 4 && r->stride == 2))
                  ? (int)side
                  : 0;
    if (s->stride[2] != r->stride || (r->stride != 1 && (r->stride != 2 || !r->side || side == 7)))
        return false;
    for (int d = 0; d < 2; d++) {
        if (pad[d] < 0) return false;
        r->in[d] = r->size[d] = in[d + 1], r->out[d] = out[d + 1], r->pad[d] = pad[d];
        if (in_place && r->side)
            r->shift[d] = pad[d];
        else
            r->size[d] += 2 * pad[d];
    }
    int64_t items = r->size[0] * r->size[1];
    if (items > 1 << 16) return false; /* bands would stay in L2, which whole planes do not */
    if (!in_place || !r->side) r->padded = round_up(items, 64) + 64;
    for (int64_t t = 0; t < r->taps; t++)
        r->offsets[t] =
            (int32_t)(t / s->kernel[2] * s->dilation[1] * r->size[1] + t % s->kernel[2] * s->dilation[2]);
    if (s->dtype == CB_BF16) {
        r->widen = CB_FN(cast_table)[CB_BF16][CB_F32];
        r->narrow = CB_FN(cast_table)[CB_F32][CB_BF16];
    }
    return true;
}

/* w: of s->dtype, as the result */
static int depthwise(depthwise_run *r, const cb_conv_shape *s, const void *x, const void *w, void *y) {
    int64_t weights = r->groups * r->filters * r->taps, nbytes = r->widen ? weights * 4 : 0,
            work = r->in[0] * r->in[1] + r->out[0] * r->out[1] * r->taps * r->filters;
    float *wide = NULL;
    if (nbytes) {
        if (!(wide = cb_alloc(CB_CPU, nbytes))) return CB_ERR_MEMORY;
        r->widen(weights, wide, w);
        w = wide;
    }
    r->x = x, r->w = w, r->y = y;
    cb_parallel(r->images * r->groups, CB_MAX(1, PIECE / work),
                s->dtype == CB_F64 ? f64_depthwise : f32_depthwise, r);
    if (wide) cb_free(CB_CPU, wide, nbytes);
    return r->status;
}

static int depthwise_weight(depthwise_run *r, const cb_conv_shape *s, void *w, const void *y, const void *x) {
    int64_t weights = r->groups * r->taps, nbytes = r->widen ? weights * 4 : 0,
            work = s->n * (r->in[0] * r->in[1] + r->out[0] * r->out[1] * r->taps);
    float *wide = NULL;
    if (nbytes && !(wide = cb_alloc(CB_CPU, nbytes))) return CB_ERR_MEMORY;
    r->x = x, r->w = y, r->y = wide ? wide : w;
    cb_parallel(r->groups, CB_MAX(1, PIECE / CB_MAX(1, work)),
                s->dtype == CB_F64 ? f64_depthwise_weight : f32_depthwise_weight, r);
    if (wide) {
        r->narrow(weights, w, wide);
        cb_free(CB_CPU, wide, nbytes);
    }
    return r->status;
}

int CB_FN(conv)(const cb_conv_shape *s, void *y, const void *x, const void *w) {
    if (is_whole(s)) return one_product(s->dtype, s->n, s->oc, s->ic * size3(s->in), y, x, false, w, true);
    if (is_product(s)) return as_product(s, y, x, w, false);
    depthwise_run r;
    if (s->oc <= 2 && depthwise_init(&r, s, s->in, s->out, s->padding + 1)) return depthwise(&r, s, x, w, y);
    return planned(s, false, w, x, y);
}

int CB_FN(conv_input_grad)(const cb_conv_shape *s, void *x, const void *y, const void *w) {
    if (is_whole(s)) return one_product(s->dtype, s->n, s->ic * size3(s->in), s->oc, x, y, false, w, false);
    if (is_product(s)) return as_product(s, x, y, w, true);
    depthwise_run r;
    int64_t pad[2];
    for (int d = 0; d < 2; d++) pad[d] = s->dilation[d + 1] * (s->kernel[d + 1] - 1) - s->padding[d + 1];
    if (s->oc == 1 && depthwise_init(&r, s, s->out, s->in, pad)) {
        r.turn = true;
        return depthwise(&r, s, y, w, x);
    }
    if (is_of_windows(s)) return by_windows(s, x, y, w);
    return planned(s, true, w, y, x);
}

/* ---- weight gradients ---- */

enum { WANTED = 16, SUMS = 8 << 20 }; /* pieces; bytes of partial sums */

/* Fills in how units are cut into chunks, of which `wanted` would do. */
static void cut_units(int64_t units, int64_t wanted, int64_t sum_bytes, int64_t *chunk, int64_t *chunks) {
    *chunks = CB_MAX(1, CB_MIN(CB_MIN(units, wanted), SUMS / CB_MAX(1, sum_bytes)));
    *chunk = CB_MAX(1, ceil_div(units, *chunks));
    *chunks = CB_MAX(1, ceil_div(units, *chunk));
}

/* Vectors along positions. */
static int lanes_gradient(const cb_conv_shape *s, const conv_kernels *k, int64_t wanted, void *w,
                          const void *y, const void *x) {
    conv_plan p;
    int status = plan_init(&p, s, PLAIN, s->ic, k->item);
    if (status) return status;
    int64_t taps = size3(s->kernel), work = size3(s->out) * taps * s->ic * s->oc / p.bands;
    lanes_run r = {
        .plan = &p, .in = x, .ct = y, .out = w, .units = s->n * p.bands, .block = s->oc, .blocks = 1};
    r.row_size = s->ic * taps * k->vl;
    r.group_size = s->oc * r.row_size;
    int64_t nbytes = s->groups * r.group_size * k->item;
    cut_units(r.units, ceil_div(wanted, s->groups), nbytes, &r.chunk, &r.chunks);
    nbytes *= r.chunks;
    if (r.chunks * s->groups < wanted) { /* few images: share the filters instead */
        r.block = CB_MIN(s->oc, round_up(s->oc * r.chunks * s->groups / wanted + 1, 8));
        r.blocks = ceil_div(s->oc, r.block);
    }
    r.sums = cb_alloc(CB_CPU, nbytes);
    if (r.sums) {
        cb_parallel(r.chunks * s->groups * r.blocks, CB_MAX(1, PIECE / CB_MAX(1, work * r.chunk / r.blocks)),
                    k->lane_pieces, &r);
        cb_parallel(s->groups * s->oc, CB_MAX(1, 2048 / (s->ic * taps * r.chunks)), k->lane_sums, &r);
        cb_free(CB_CPU, r.sums, nbytes);
        status = r.status;
    } else {
        status = CB_ERR_MEMORY;
    }
    cb_free(CB_CPU, p.memory, p.nbytes);
    return status;
}

/* Register tiles. `filters`: vectors of filters, else of channels. */
static int tiles_gradient(const cb_conv_shape *s, const conv_kernels *k, bool filters, int64_t wanted,
                          void *w, const void *y, const void *x) {
    enum { ROWS = 128, VECTORS = 36, HELD = 768 << 10 };
    conv_plan p;
    int64_t vectors = ceil_div(filters ? s->oc : s->ic, k->vl), taps = size3(s->kernel);
    if (!filters) vectors = ceil_div(vectors, ceil_div(vectors * taps, CB_MAX(taps, VECTORS)));
    int status = plan_init(&p, s, HOPPING, filters ? s->ic : vectors * k->vl, k->item);
    if (status) return status;
    int64_t out = size3(s->out), work = out * taps * s->ic * s->oc / p.bands,
            band_out = out / s->out[p.band_dim] * p.band;
    weight_run r = {.plan = &p,
                    .in = x,
                    .ct = y,
                    .out = w,
                    .filters = filters,
                    .copied = k->pair_weights && s->out[2] % 2,
                    .skips = !filters && taps > 1 && taps <= 64 && (s->padding[0] || s->padding[1]),
                    .units = s->n * p.bands,
                    .rows = filters ? s->ic * taps : s->oc,
                    .blocks = 1,
                    .vectors = vectors,
                    .direct = !filters && plan_direct(&p),
                    .vector_size = (filters ? band_out : p.channel_size + p.shared) * k->vl,
                    .held = (filters ? p.channels : k->vl) * p.channel_size + p.shared};
    r.vector_blocks = filters ? 1 : ceil_div(s->ic, vectors * k->vl);
    /* large blocks of filters turn the input less often */
    r.block = filters ? r.rows
                      : CB_MIN(r.rows,
                               CB_MAX(ROWS, CB_MIN(2 * ROWS, r.rows * s->groups * r.vector_blocks / wanted)));
    r.blocks = ceil_div(r.rows, r.block);
    int64_t width = vectors * (filters ? 1 : taps) * k->vl, pieces = s->groups * r.blocks * r.vector_blocks,
            all = s->groups * r.vector_blocks * round_up(r.rows, k->mr) * width * k->item;
    cut_units(r.units, ceil_div(wanted, pieces), all, &r.chunk, &r.chunks);
    if (pieces * r.chunks < wanted && !filters) { /* few images: share the filters instead */
        r.block = CB_MIN(r.block, round_up(r.rows * r.vector_blocks * s->groups * r.chunks / wanted + 1, 8));
        r.blocks = ceil_div(r.rows, r.block);
        pieces = s->groups * r.blocks * r.vector_blocks;
    }
    r.piece_size = round_up(r.block, k->mr) * width;
    int64_t unit = vectors * r.vector_size * k->item + (filters ? r.held : r.block * out / p.bands) * k->size;
    r.together = CB_MAX(1, CB_MIN(CB_MIN(MAX_TOGETHER, r.chunk), HELD / CB_MAX(1, unit)));
    int64_t sum_bytes = r.chunks > 1 ? r.chunks * pieces * r.piece_size * k->item : 0;
    if (sum_bytes && !(r.sums = cb_alloc(CB_CPU, sum_bytes))) r.status = CB_ERR_MEMORY;
    if (!r.status)
        cb_parallel(pieces * r.chunks, CB_MAX(1, PIECE * pieces / CB_MAX(1, work * r.chunk * s->groups)),
                    k->weight_pieces, &r);
    if (sum_bytes && !r.status)
        cb_parallel(pieces * ceil_div(r.block, k->mr), CB_MAX(1, 16384 / CB_MAX(1, k->mr * width * r.chunks)),
                    k->weight_sums, &r);
    if (r.sums) cb_free(CB_CPU, r.sums, sum_bytes);
    status = r.status;
    cb_free(CB_CPU, p.memory, p.nbytes);
    return status;
}

/* Do vectors of filters cost less than vectors of positions, whose lanes must be added up? In hundredths of a
 * cycle for one group, estimated. */
static bool filters_pay(const cb_conv_shape *s, const conv_kernels *k, int64_t wanted) {
    int64_t products = s->ic * size3(s->kernel), out = size3(s->out), width = round_up(s->oc, k->vl),
            images = CB_MAX(1, s->n / CB_MAX(1, CB_MIN(s->n, wanted / s->groups)));
    int64_t row = s->out[2] % k->vl ? s->out[2] + (s->kernel[2] - 1) * s->dilation[2] : s->out[2],
            positions = round_up(s->out[0] * s->out[1] * row, k->vl);
    /* lanes take phases of the input apart and copy cotangents whose rows are no whole vectors */
    int64_t copies = (s->out[2] % k->vl ? s->oc * positions * 45 : 0) +
                     (size3(s->stride) > 1 ? s->ic * size3(s->in) * 50 : 0);
    int64_t by_lanes = images * (s->oc * products * positions * 50 / k->vl + copies) + s->oc * products * 600,
            by_filters = images * out * width * (round_up(products, 4) * 55 / k->vl + 40);
    return by_filters < by_lanes;
}

int CB_FN(conv_weight_grad)(const cb_conv_shape *s, void *w, const void *y, const void *x) {
    depthwise_run one;
    if (is_whole(s)) return one_product(s->dtype, s->oc, s->ic * size3(s->in), s->n, w, y, true, x, false);
    if (s->oc == 1 && s->groups >= 16 && depthwise_init(&one, s, s->in, s->out, s->padding + 1) && one.side &&
        one.side <= (one.padded ? 3 : 5)) /* more sums need registers */
        return depthwise_weight(&one, s, w, y, x);
    const conv_kernels *k = kernels_of(s);
    int status = CB_ERR_UNSUPPORTED;
    if (k) {
        int64_t work = s->n * s->groups * size3(s->out) * size3(s->kernel) * s->ic * s->oc,
                wanted = CB_MIN(WANTED, CB_MAX(1, work / PIECE));
        bool few = s->ic * 4 < round_up(s->ic, k->vl) * 3;
        if (!few)
            status = tiles_gradient(s, k, false, wanted, w, y, x);
        else if (k->lane_pieces && filters_pay(s, k, wanted))
            status = tiles_gradient(s, k, true, wanted, w, y, x);
        if (status == CB_ERR_UNSUPPORTED && k->lane_pieces) status = lanes_gradient(s, k, wanted, w, y, x);
    }
    return status == CB_ERR_UNSUPPORTED && s->dtype != CB_BF16 ? CB_FN(conv_weight_grad_plain)(s, w, y, x)
                                                               : status;
}
