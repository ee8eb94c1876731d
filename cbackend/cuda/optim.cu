/* Optimizer steps of many tensors in a few launches: tables of up to TENSORS of them travel as kernel
 * arguments. Formulas and their order are the CPU's (../src/cpu/optim.c). */
#include "kernels.h"

enum { BLOCK = 256, TENSORS = 48 };

struct batch {
    int count;
    int64_t starts[TENSORS + 1]; /* where each tensor begins in the row of all items */
    void *data[TENSORS][CB_STEP_OPERANDS];
};

template <typename F> CB_DEV void sgd_item(const cb_step &s, F &p, F g, F &b) {
    F d = (F)s.sign * g;
    if (s.l2) d += (F)s.decay * p;
    if (s.operands > CB_STEP_FIRST_STATE) {
        F m = s.start ? d : (F)s.momentum * b + (F)s.share * d;
        b = m;
        d = s.nesterov ? d + (F)s.momentum * m : m;
    }
    p += (F)s.rate * d;
}

template <typename F> CB_DEV void adam_item(const cb_step &s, F &p, F g, F &mean, F &square, F &largest) {
    F d = (F)s.sign * g;
    if (s.l2) d += (F)s.decay * p;
    F way = d - mean;
    F m = s.mean_share < 0.5 ? mean + (F)s.mean_share * way : d - (F)(1 - s.mean_share) * way;
    F v = (F)s.square_keep * square + (F)s.square_share * d * d;
    mean = m;
    square = v;
    if (s.operands > CB_STEP_THIRD_STATE) {
        v = largest > v || largest != largest ? largest : v; /* nan wins */
        largest = v;
    }
    p = (F)s.keep * p + (F)s.rate * m / (sqrt(v) * (F)s.root_scale + (F)s.eps);
}

/* S: storage, F: arithmetic */
template <typename S, typename F> __global__ void step_items(cb_step s, batch b) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < b.starts[b.count];
         i += (int64_t)gridDim.x * BLOCK) {
        int low = 0, high = b.count;
        while (high - low > 1) {
            int middle = (low + high) / 2;
            if (b.starts[middle] <= i)
                low = middle;
            else
                high = middle;
        }
        int64_t at = i - b.starts[low];
        S *const *data = (S *const *)b.data[low];
        F p = cb_to<F>(data[CB_STEP_PARAM][at]), g = cb_to<F>(data[CB_STEP_GRAD][at]), state[3] = {0, 0, 0};
        for (int k = CB_STEP_FIRST_STATE; k < s.operands; k++)
            state[k - CB_STEP_FIRST_STATE] = cb_to<F>(data[k][at]);
        if (s.adam)
            adam_item(s, p, g, state[0], state[1], state[2]);
        else
            sgd_item(s, p, g, state[0]);
        data[CB_STEP_PARAM][at] = cb_to<S>(p);
        for (int k = CB_STEP_FIRST_STATE; k < s.operands; k++)
            data[k][at] = cb_to<S>(state[k - CB_STEP_FIRST_STATE]);
    }
}

int cb_cuda_optim_step(const cb_step *s, int n, cb_tensor *const *const *lists) {
    for (int t = 0; t < n; t++)
        for (int k = 0; k < s->operands; k++)
            if (!cb_is_contiguous(lists[k][t]) || lists[k][t]->dtype != lists[CB_STEP_PARAM][t]->dtype)
                return cb_host_round_trip()->optim_step(s, n, lists);
    for (int first = 0; first < n;) { /* runs of one dtype */
        batch b;
        b.count = 0;
        b.starts[0] = 0;
        int dtype = lists[CB_STEP_PARAM][first]->dtype;
        for (; first < n && b.count < TENSORS && lists[CB_STEP_PARAM][first]->dtype == dtype; first++) {
            for (int k = 0; k < s->operands; k++) b.data[b.count][k] = lists[k][first]->data;
            b.starts[b.count + 1] = b.starts[b.count] + lists[CB_STEP_PARAM][first]->numel;
            b.count++;
        }
        if (b.starts[b.count] == 0) continue;
        unsigned grid = cb_fill_blocks(b.starts[b.count], BLOCK);
        switch (dtype) {
            case CB_F32: CB_LAUNCH((step_items<float, float>), grid, BLOCK, 0, cb_stream(), *s, b); break;
            case CB_F64: CB_LAUNCH((step_items<double, double>), grid, BLOCK, 0, cb_stream(), *s, b); break;
            case CB_F16: CB_LAUNCH((step_items<cb_f16, float>), grid, BLOCK, 0, cb_stream(), *s, b); break;
            default: CB_LAUNCH((step_items<cb_bf16, float>), grid, BLOCK, 0, cb_stream(), *s, b);
        }
    }
    return cb_launched("optimizer step");
}
