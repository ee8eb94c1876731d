/* Convolutions on the CPU: float and double through padded planes (conv_plan.h) and register tiles (gemm_kernel.h);
 * everything else through the plain loops.
 *
 * A piece is one band of results of one (image, group): its padded input stays in L2, a tile of 8 filters by three
 * vectors of positions stays in registers, and rows of the input are read in place, at any alignment. */
#include "conv_plan.h"

#define real float
#define NAME(x) CB_PASTE(f32, x)
#include "conv_typed.h"
#include "conv_weight_typed.h"
#undef real
#undef NAME
#define real double
#define NAME(x) CB_PASTE(f64, x)
#include "conv_typed.h"
#include "conv_weight_typed.h"
#undef real
#undef NAME

enum { PIECE = 1 << 18 }; /* multiplications */

static int correlate(const cb_conv_shape *s, const conv_plan *p, const void *in, void *out) {
    conv_run r = {p, in, out, CB_OK};
    int64_t work = size3(s->out) * size3(s->kernel) * s->ic * s->oc / p->bands;
    cb_parallel(s->n * s->groups * p->bands, CB_MAX(1, PIECE / CB_MAX(work, 1)), s->dtype == CB_F32 ? f32_correlate : f64_correlate, &r);
    return r.status;
}

static bool planned(const cb_conv_shape *s) { return (s->dtype == CB_F32 || s->dtype == CB_F64) && plan_possible(s); }

int CB_FN(conv)(const cb_conv_shape *s, void *y, const void *x, const void *w) {
    conv_plan p;
    int status = planned(s) ? plan_init(&p, s, false, cb_dtypes[s->dtype].size) : CB_ERR_UNSUPPORTED;
    if (status == CB_ERR_UNSUPPORTED) return CB_FN(conv_plain)(s, y, x, w);
    if (status) return status;
    p.part[0].weights = w; /* already [groups][filters][channels][taps] */
    status = correlate(s, &p, x, y);
    cb_free(CB_CPU, p.memory, p.nbytes);
    return status;
}

int CB_FN(conv_input_grad)(const cb_conv_shape *s, void *x, const void *y, const void *w) {
    conv_plan p;
    int64_t size = cb_dtypes[s->dtype].size;
    int status = planned(s) ? plan_init(&p, s, true, size) : CB_ERR_UNSUPPORTED;
    if (status == CB_ERR_UNSUPPORTED) return CB_FN(conv_input_grad_plain)(s, x, y, w);
    if (status) return status;
    int64_t filters = s->groups * s->oc * s->ic, nbytes = CB_MAX(1, filters * size3(s->kernel) * size);
    char *turned = cb_alloc(CB_CPU, nbytes), *next = turned;
    if (turned) {
        for (int q = 0; q < p.parts; q++) {
            p.part[q].weights = next;
            (s->dtype == CB_F32 ? f32_turn_weights : f64_turn_weights)(s, &p.part[q], w, next);
            next += filters * p.part[q].taps * size;
        }
        status = correlate(s, &p, y, x);
        cb_free(CB_CPU, turned, nbytes);
    } else {
        status = CB_ERR_MEMORY;
    }
    cb_free(CB_CPU, p.memory, p.nbytes);
    return status;
}

int CB_FN(conv_weight_grad)(const cb_conv_shape *s, void *w, const void *y, const void *x) {
    conv_plan p;
    bool narrow = s->dtype == CB_F32;
    int64_t size = cb_dtypes[s->dtype].size, vl = narrow ? f32_vl : f64_vl;
    int status = planned(s) ? plan_init(&p, s, false, size) : CB_ERR_UNSUPPORTED;
    if (status == CB_ERR_UNSUPPORTED) return CB_FN(conv_weight_grad_plain)(s, w, y, x);
    if (status) return status;
    int64_t taps = size3(s->kernel), work = size3(s->out) * taps * s->ic * s->oc; /* per image and group */
    weight_run r = {.plan = &p, .in = x, .ct = y, .out = w, .units = s->n * p.bands, .block = s->oc, .blocks = 1};
    r.width = round_up(s->ic, vl);
    r.lanes = s->ic * 4 < r.width * 3;
    r.row_size = r.lanes ? s->ic * taps * vl : taps * r.width;
    int64_t wanted = CB_MIN(16, CB_MAX(1, s->n * s->groups * work / PIECE));
    r.chunks = CB_MAX(1, CB_MIN(r.units, (wanted + s->groups - 1) / s->groups));
    r.chunk = CB_MAX(1, (r.units + r.chunks - 1) / r.chunks);
    r.chunks = CB_MAX(1, (r.units + r.chunk - 1) / r.chunk);
    if (r.chunks * s->groups < wanted) { /* few images: share the filters instead */
        r.block = CB_MIN(s->oc, round_up(s->oc * r.chunks * s->groups / wanted + 1, 8));
        r.blocks = (s->oc + r.block - 1) / r.block;
    }
    int64_t nbytes = r.chunks * s->groups * s->oc * r.row_size * size;
    r.sums = cb_alloc(CB_CPU, nbytes);
    if (r.sums) {
        int64_t pieces = r.chunks * s->groups * r.blocks, units_work = CB_MAX(1, work / p.bands * r.chunk / r.blocks);
        cb_parallel(pieces, CB_MAX(1, PIECE / units_work), narrow ? f32_weight_pieces : f64_weight_pieces, &r);
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
