/* Convolutions on the CPU: float and double through padded planes (conv_plan.h) and register tiles
 * (gemm_kernel.h); everything else through the plain loops.
 *
 * A piece is one band of results of one (image, group): its padded input stays in L2, a tile of 8 filters by
 * three vectors of positions stays in registers, and rows of the input are read in place, at any alignment.
 */
#include "conv_plan.h"

#define real float
#define NAME(x) CB_PASTE(f32, x)
#include "conv_typed.h"
#include "conv_weight_typed.h"
#include "conv_depthwise_typed.h"
#undef real
#undef NAME
#define real double
#define NAME(x) CB_PASTE(f64, x)
#include "conv_typed.h"
#include "conv_weight_typed.h"
#include "conv_depthwise_typed.h"
#undef real
#undef NAME

enum { PIECE = 1 << 18 }; /* multiplications */

/* w: the convolution's weights, whatever is computed */
static int correlate(const cb_conv_shape *s, conv_plan *p, bool input_grad, const void *w, const void *in,
                     void *out) {
    bool narrow = s->dtype == CB_F32;
    int64_t size = cb_dtypes[s->dtype].size,
            work = size3(s->out) * size3(s->kernel) * s->ic * s->oc / p->bands, packed_bytes = 0;
    conv_run r = {.plan = p,
                  .in = in,
                  .out = out,
                  .units = s->n * s->groups * p->bands,
                  .together = 1,
                  .block = p->rows,
                  .blocks = 1};
    int64_t copies = CB_MAX(1, s->n * p->bands); /* of an input that the packed weights serve */
    r.width = narrow ? f32_pixel_vectors(p, copies) * f32_vl : f64_pixel_vectors(p, copies) * f64_vl;
    if (s->groups == 1 && s->ic * s->oc * size3(s->kernel) * size > (512 << 10)) {
        r.together =
            CB_MAX(1, CB_MIN(CB_MIN(8, r.units), (1 << 20) / (p->channels * p->channel_size * size)));
        /* every piece copies its units: no more blocks than sharing the work takes */
        int64_t sets = (r.units + r.together - 1) / r.together, blocks = (16 + sets - 1) / sets,
                least = CB_MAX(64, (p->rows + blocks - 1) / blocks);
        r.block = CB_MIN(p->rows, r.width ? round_up(least, r.width) : round_up(least, 8));
        r.blocks = (p->rows + r.block - 1) / r.block;
        work = CB_MAX(1, work * r.together / r.blocks);
    }
    void *packed = NULL;
    for (int q = 0; q < p->parts; q++) p->part[q].weights = w; /* [groups][filters][channels][taps] */
    if (r.width || input_grad) {
        int64_t rows = r.width ? round_up(p->rows, r.width) : p->rows;
        packed_bytes = CB_MAX(1, s->groups * rows * p->channels * size3(s->kernel) * size);
        packed = cb_alloc(CB_CPU, packed_bytes);
        if (!packed) return CB_ERR_MEMORY;
    }
    if (r.width) {
        (narrow ? f32_pack_weights : f64_pack_weights)(p, input_grad ? s : NULL, r.width, w, packed);
    } else if (input_grad) {
        char *next = packed;
        for (int q = 0; q < p->parts; q++) {
            p->part[q].weights = next;
            (narrow ? f32_turn_weights : f64_turn_weights)(s, &p->part[q], w, next);
            next += s->groups * s->oc * s->ic * p->part[q].taps * size;
        }
    }
    cb_parallel((r.units + r.together - 1) / r.together * r.blocks, CB_MAX(1, PIECE / CB_MAX(work, 1)),
                narrow ? f32_correlate : f64_correlate, &r);
    if (packed) cb_free(CB_CPU, packed, packed_bytes);
    return r.status;
}

static bool planned(const cb_conv_shape *s) {
    return (s->dtype == CB_F32 || s->dtype == CB_F64) && plan_possible(s);
}

/* Kernels of one tap without stride or padding are matrix products: y[image][group] = w[group] @
 * x[image][group]. */
static bool is_product(const cb_conv_shape *s) {
    for (int d = 0; d < 3; d++)
        if (s->kernel[d] != 1 || s->stride[d] != 1 || s->padding[d] != 0) return false;
    return s->dtype == CB_F32 || s->dtype == CB_F64;
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

/* Fills in r for an image of `in` padded by `pad`, if depthwise loops can do it. */
static bool depthwise_init(depthwise_run *r, const cb_conv_shape *s, const int64_t *in, const int64_t *out,
                           const int64_t pad[2]) {
    *r = (depthwise_run){.images = s->n, .groups = s->groups, .filters = s->oc, .taps = size3(s->kernel)};
    if (s->ic != 1 || s->kernel[0] != 1 || s->in[0] != 1 || s->out[0] != 1 || s->padding[0] != 0 ||
        r->taps > MAX_TAPS || (s->dtype != CB_F32 && s->dtype != CB_F64))
        return false;
    for (int d = 0; d < 2; d++) {
        if (s->stride[d + 1] != 1 || pad[d] < 0) return false;
        r->in[d] = in[d + 1], r->out[d] = out[d + 1], r->pad[d] = pad[d];
    }
    r->pitch = r->in[1] + 2 * pad[1];
    bool square = s->kernel[1] == s->kernel[2] && s->dilation[1] == 1;
    r->side = square && (s->kernel[1] == 3 || s->kernel[1] == 5) ? (int)s->kernel[1] : 0;
    r->padded = (r->in[0] + 2 * pad[0]) * r->pitch + 64;
    if (r->padded > 1 << 16) return false; /* bands would stay in L2, which whole planes do not */
    for (int64_t t = 0; t < r->taps; t++)
        r->offsets[t] =
            (int32_t)(t / s->kernel[2] * s->dilation[1] * r->pitch + t % s->kernel[2] * s->dilation[2]);
    return true;
}

static int depthwise(depthwise_run *r, const cb_conv_shape *s, const void *x, const void *w, void *y) {
    r->x = x, r->w = w, r->y = y;
    int64_t work = r->padded + r->out[0] * r->out[1] * r->taps * r->filters;
    cb_parallel(r->images * r->groups, CB_MAX(1, PIECE / work),
                s->dtype == CB_F32 ? f32_depthwise : f64_depthwise, r);
    return r->status;
}

int CB_FN(conv)(const cb_conv_shape *s, void *y, const void *x, const void *w) {
    if (is_product(s)) return as_product(s, y, x, w, false);
    depthwise_run r;
    if (s->oc <= 2 && depthwise_init(&r, s, s->in, s->out, s->padding + 1)) return depthwise(&r, s, x, w, y);
    conv_plan p;
    int status = planned(s) ? plan_init(&p, s, false, cb_dtypes[s->dtype].size) : CB_ERR_UNSUPPORTED;
    if (status == CB_ERR_UNSUPPORTED) return CB_FN(conv_plain)(s, y, x, w);
    if (status) return status;
    status = correlate(s, &p, false, w, x, y);
    cb_free(CB_CPU, p.memory, p.nbytes);
    return status;
}

int CB_FN(conv_input_grad)(const cb_conv_shape *s, void *x, const void *y, const void *w) {
    if (is_product(s)) return as_product(s, x, y, w, true);
    depthwise_run r;
    int64_t pad[2];
    for (int d = 0; d < 2; d++) pad[d] = s->dilation[d + 1] * (s->kernel[d + 1] - 1) - s->padding[d + 1];
    if (s->oc == 1 && depthwise_init(&r, s, s->out, s->in, pad)) {
        r.turn = true;
        return depthwise(&r, s, y, w, x);
    }
    conv_plan p;
    int64_t size = cb_dtypes[s->dtype].size;
    int status = planned(s) ? plan_init(&p, s, true, size) : CB_ERR_UNSUPPORTED;
    if (status == CB_ERR_UNSUPPORTED) return CB_FN(conv_input_grad_plain)(s, x, y, w);
    if (status) return status;
    status = correlate(s, &p, true, w, y, x);
    cb_free(CB_CPU, p.memory, p.nbytes);
    return status;
}

int CB_FN(conv_weight_grad)(const cb_conv_shape *s, void *w, const void *y, const void *x) {
    depthwise_run one;
    if (s->oc == 1 && s->groups >= 16 && depthwise_init(&one, s, s->in, s->out, s->padding + 1) &&
        one.taps == 9) {
        one.x = x, one.w = y, one.y = w;
        int64_t each = s->n * (one.padded + one.out[0] * one.out[1] * one.taps);
        cb_parallel(s->groups, CB_MAX(1, PIECE / CB_MAX(1, each)),
                    s->dtype == CB_F32 ? f32_depthwise_weight : f64_depthwise_weight, &one);
        return one.status;
    }
    conv_plan p;
    bool narrow = s->dtype == CB_F32;
    int64_t size = cb_dtypes[s->dtype].size, vl = narrow ? f32_vl : f64_vl;
    int status = planned(s) ? plan_init(&p, s, false, size) : CB_ERR_UNSUPPORTED;
    if (status == CB_ERR_UNSUPPORTED) return CB_FN(conv_weight_grad_plain)(s, w, y, x);
    if (status) return status;
    int64_t taps = size3(s->kernel), work = size3(s->out) * taps * s->ic * s->oc; /* per image and group */
    weight_run r = {
        .plan = &p, .in = x, .ct = y, .out = w, .units = s->n * p.bands, .block = s->oc, .blocks = 1};
    r.width = round_up(s->ic, vl);
    r.lanes = s->ic * 4 < r.width * 3;
    r.row_size = r.lanes ? s->ic * taps * vl : taps * r.width;
    r.group_size = (r.lanes ? s->oc : round_up(s->oc, narrow ? f32_mr : f64_mr)) * r.row_size;
    /* about 16 pieces: chunks of units as far as 8 MB of sums go, blocks of filters for the rest */
    int64_t wanted = CB_MIN(16, CB_MAX(1, s->n * s->groups * work / PIECE)),
            weight_bytes = s->groups * r.group_size * size;
    int64_t affordable = CB_MIN(r.units, CB_MAX(1, (8 << 20) / weight_bytes)) * s->groups;
    if (!r.lanes && s->oc >= 128 && wanted > affordable) {
        r.block = round_up(s->oc / CB_MIN(s->oc / 64, (wanted + affordable - 1) / affordable), 8);
        r.blocks = (s->oc + r.block - 1) / r.block;
    }
    r.chunks = CB_MAX(1, CB_MIN(r.units, (wanted + s->groups * r.blocks - 1) / (s->groups * r.blocks)));
    r.chunk = CB_MAX(1, (r.units + r.chunks - 1) / r.chunks);
    r.chunks = CB_MAX(1, (r.units + r.chunk - 1) / r.chunk);
    if (r.blocks == 1 && r.chunks * s->groups < wanted) { /* few images: share the filters instead */
        r.block = CB_MIN(s->oc, round_up(s->oc * r.chunks * s->groups / wanted + 1, 8));
        r.blocks = (s->oc + r.block - 1) / r.block;
    }
    int64_t unit = (p.channel_size * r.width + r.block * p.flat_pitch * s->out[0]) * size;
    r.together = r.lanes ? 1 : CB_MAX(1, CB_MIN(CB_MIN(MAX_TOGETHER, r.chunk), (768 << 10) / unit));
    int64_t nbytes = r.chunks * s->groups * r.group_size * size;
    r.sums = cb_alloc(CB_CPU, nbytes);
    if (r.sums) {
        int64_t pieces = r.chunks * s->groups * r.blocks,
                units_work = CB_MAX(1, work / p.bands * r.chunk / r.blocks);
        cb_parallel(pieces, CB_MAX(1, PIECE / units_work), narrow ? f32_weight_pieces : f64_weight_pieces,
                    &r);
        cb_parallel(s->groups * s->oc, CB_MAX(1, 16384 / (s->ic * taps * r.chunks * (r.lanes ? 8 : 1))),
                    narrow ? f32_weight_sums : f64_weight_sums, &r);
        cb_free(CB_CPU, r.sums, nbytes);
        status = r.status;
    } else {
        status = CB_ERR_MEMORY;
    }
    cb_free(CB_CPU, p.memory, p.nbytes);
    return status;
}
