/* Fused elementwise steps. Chains that compute in float32 run as one kernel, which each operand and result
 * moves through once: one that is compiled for the chain at run time (rtc.cu), or else one that interprets
 * the steps, where what passes between steps stays with the thread (in registers or its local memory, which
 * the L1 cache holds). Other chains run step by step through the elementwise kernels, on temporaries. */
#include <memory>
#include <vector>

#include "chain.h"
#include "elementwise_cost.h"
#include "vmath.h"

#define KIND_REAL
#define type float
#define M(f) f##_f32
#include "elementwise_typed.h"

using namespace cb_each;
using namespace cb_chains;

CB_DEV float rounded(int dtype, float v) {
    if (dtype == CB_BOOL) return v != 0;
    if (dtype == CB_F16) return cb_to_float(cb_to_f16(v));
    if (dtype == CB_BF16) return cb_to_float(cb_to_bf16(v));
    return v;
}

template <int N> CB_DEV void apply(const step &s, const float (&v)[3], float &r) {
    float in[N][ITEMS], out[ITEMS];
    for (int k = 0; k < N; k++)
        for (int j = 0; j < ITEMS; j++) in[k][j] = v[k];
    if (s.cost == CB_CHEAP)
        cb_ops<float, CB_CHEAP>::apply(s.op, in, out);
    else
        cb_ops<float, CB_MATH_COST>::apply(s.op, in, out);
    r = out[0];
}

__global__ void __launch_bounds__(BLOCK) interpret(const chain c) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < c.walk.numel;
         i += (int64_t)gridDim.x * BLOCK) {
        /* where the item is along each dimension; an operand's offset is formed when it is needed */
        const int last = c.walk.ndim - 1;
        int64_t index[CB_WALK_DIMS], rest = i;
        for (int d = last; d > 0; d--) {
            const int64_t q = c.walk.small ? c.walk.fast[d].divide((uint32_t)rest) : rest / c.walk.shape[d];
            index[d] = rest - q * c.walk.shape[d];
            rest = q;
        }
        index[0] = rest;
        auto offset = [&](int p) {
            int64_t at = index[0] * c.walk.strides[p][0];
            for (int d = 1; d <= last; d++) at += index[d] * c.walk.strides[p][d];
            return at;
        };
        float regs[CB_FUSED_REGISTERS];
        for (int j = 0; j < c.nsteps; j++) {
            const step &s = c.steps[j];
            float v[3] = {0, 0, 0}, r = 0;
            for (int k = 0; k < s.nin; k++) {
                if (s.in[k] < 0) {
                    v[k] = regs[c.steps[-1 - s.in[k]].reg];
                } else {
                    const int p = c.nout + s.in[k];
                    v[k] = c.parts[p].number
                               ? c.parts[p].value
                               : cb_load_as<float>(c.parts[p].dtype, c.parts[p].data, offset(p));
                }
            }
            switch (s.family) {
                case CB_FAMILY_UNARY: apply<1>(s, v, r); break;
                case CB_FAMILY_BINARY: apply<2>(s, v, r); break;
                case CB_FAMILY_TERNARY: apply<3>(s, v, r); break;
                case WHERE: r = v[0] != 0 ? v[1] : v[2]; break;
                default: r = rounded(s.to, v[0]);
            }
            regs[s.reg] = r;
            if (s.out >= 0) cb_store_as(c.parts[s.out].dtype, c.parts[s.out].data, offset(s.out), r);
        }
    }
}

/* dtypes whose values are floats */
static bool fits(int dtype) { return dtype == CB_F32 || dtype == CB_BOOL || cb_is_16bit_float(dtype); }

static bool describe(chain *c, const cb_fused_steps *f, cb_tensor *const *outs, cb_tensor *const *xs) {
    const cb_tensor *all[CB_FUSED_TENSORS];
    c->nsteps = f->nsteps;
    c->nout = f->nout;
    c->nparts = f->nout + f->nin;
    for (int j = 0; j < f->nsteps; j++) {
        const cb_fused_step &s = f->step[j];
        bool cast = s.family == CB_FAMILY_CAST,
             where = s.family == CB_FAMILY_TERNARY && s.op == CB_TERNARY_where;
        if (!fits(s.result) || (cast ? !fits(s.compute) : s.compute != CB_F32)) return false;
        cb_cost cost = cast || where ? CB_CHEAP : cb_cost_of(s.family, s.op);
        if (cost == CB_SPECIAL_COST) return false;
        c->steps[j] = {(int8_t)(where ? WHERE : s.family),
                       (int8_t)cost,
                       (int8_t)s.result,
                       (int8_t)s.nin,
                       (int16_t)s.op,
                       {(int8_t)s.in[0], (int8_t)s.in[1], (int8_t)s.in[2]},
                       (int8_t)s.reg,
                       (int8_t)s.out};
    }
    for (int p = 0; p < f->nout + f->nin; p++) {
        const cb_tensor *x = all[p] = p < f->nout ? outs[p] : xs[p - f->nout];
        int to = p < f->nout ? x->dtype : f->to[p - f->nout];
        if (!fits(to) || (to != x->dtype && (to != CB_F32 || cb_is_complex(x->dtype)))) return false;
        c->parts[p] = {(char *)x->data, x->dtype, (x->device & 255) == CB_CPU, 0};
        if (!c->parts[p].number) continue;
        switch (x->dtype) {
#define CB_CASE(id, S) \
    case id: c->parts[p].value = cb_to<float>(*static_cast<const S *>(x->data)); break;
            CB_EACH_STORAGE(CB_CASE)
#undef CB_CASE
        }
    }
    /* the walk is made for as many operands as there can be: the rest repeats the first */
    for (int p = f->nout + f->nin; p < CB_FUSED_TENSORS; p++) all[p] = outs[0];
    return cb_walk_init(&c->walk, all);
}

/* ---- step by step ---- */

namespace {
/* A contiguous tensor on the device for what lies between two steps. */
struct temporary {
    cb_tensor tensor;
    cb_storage storage;
    int64_t strides[CB_MAX_NDIM];
    cb_scratch memory;
    temporary(const cb_tensor *like, int dtype, int device)
        : tensor(*like), storage(), memory(like->numel * cb_dtypes[dtype].size) {
        tensor.dtype = dtype;
        tensor.device = device;
        tensor.itemsize = cb_dtypes[dtype].size;
        tensor.flags = CB_FLAG_CONTIGUOUS;
        tensor.offset = 0;
        int64_t stride = 1;
        for (int d = like->ndim - 1; d >= 0; d--) {
            strides[d] = stride;
            stride *= like->shape[d];
        }
        tensor.strides = strides;
        storage.data = tensor.data = memory.data;
        storage.nbytes = like->numel * tensor.itemsize;
        storage.device = device;
        tensor.storage = &storage;
    }
};
} // namespace

static int one_by_one(const cb_fused_steps *f, cb_tensor *const *outs, cb_tensor *const *xs) {
    std::vector<std::unique_ptr<temporary>> held;
    auto make = [&](const cb_tensor *like, int dtype) -> cb_tensor * {
        held.emplace_back(new temporary(like, dtype, outs[0]->device));
        return held.back()->memory.ok() ? &held.back()->tensor : nullptr;
    };
    const cb_tensor *given[CB_FUSED_TENSORS], *made[CB_FUSED_STEPS];
    for (int k = 0; k < f->nin; k++) {
        given[k] = xs[k];
        if ((xs[k]->device & 255) == CB_CPU) { /* numbers move to the device: a cast reads them from there */
            cb_tensor *near = make(xs[k], xs[k]->dtype);
            if (!near) return CB_ERR_MEMORY;
            CB_TRY(cb_send(near->data, xs[k]->data, near->itemsize));
            given[k] = near;
        }
        if (given[k]->dtype != f->to[k]) {
            cb_tensor *cast = make(given[k], f->to[k]);
            if (!cast) return CB_ERR_MEMORY;
            CB_TRY(cb_cuda_copy(cast, given[k]));
            given[k] = cast;
        }
    }
    for (int j = 0; j < f->nsteps; j++) {
        const cb_fused_step &s = f->step[j];
        cb_tensor *out = s.out >= 0 ? outs[s.out] : make(outs[0], s.result);
        if (!out) return CB_ERR_MEMORY;
        const cb_tensor *in[3];
        for (int k = 0; k < s.nin; k++) in[k] = s.in[k] >= 0 ? given[s.in[k]] : made[-1 - s.in[k]];
        if (s.family == CB_FAMILY_CAST)
            CB_TRY(cb_cuda_copy(out, in[0]));
        else
            CB_TRY(cb_cuda_elementwise(s.family, s.op, out, s.nin, in, s.compute));
        made[j] = out;
    }
    return CB_OK;
}

int cb_cuda_fused(const cb_fused_steps *f, int sets, cb_tensor *const *outs, cb_tensor *const *xs) {
    for (; sets > 0; sets--, outs += f->nout, xs += f->nin) {
        if (!outs[0]->numel) continue;
        chain c;
        if (!describe(&c, f, outs, xs)) {
            CB_TRY(one_by_one(f, outs, xs));
            continue;
        }
        if (cb_rtc_launch(c)) continue;
        unsigned grid = cb_fill_blocks(c.walk.numel, BLOCK);
        CB_LAUNCH(interpret, grid, BLOCK, 0, cb_stream(), c);
    }
    return cb_launched("fused");
}
