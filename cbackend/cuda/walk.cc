/* The host's part of walk.h: cpu/iterate.c's merging of dimensions. */
#include <utility>

#include "kernels.h"

bool cb_walk_merge(int count, const cb_tensor *const *operands, int *out_ndim, int64_t *out_shape,
                   int64_t *out_strides) {
    const cb_tensor *lead = operands[0];
    int64_t shape[CB_MAX_NDIM], strides[CB_FUSED_TENSORS][CB_MAX_NDIM];
    int ndim = 0;
    for (int d = 0; d < lead->ndim; d++) {
        if (lead->shape[d] == 1) continue;
        shape[ndim] = lead->shape[d];
        for (int k = 0; k < count; k++) {
            const cb_tensor *x = operands[k];
            int dx = d - (lead->ndim - x->ndim);
            strides[k][ndim] = dx < 0 || x->shape[dx] == 1 ? 0 : x->strides[dx];
        }
        ndim++;
    }
    if (!cb_is_contiguous(lead))
        for (int i = 1; i < ndim; i++) /* insertion sort: outermost has the largest stride */
            for (int j = i; j > 0; j--) {
                int64_t a = strides[0][j - 1], b = strides[0][j];
                if ((a < 0 ? -a : a) >= (b < 0 ? -b : b)) break;
                std::swap(shape[j], shape[j - 1]);
                for (int k = 0; k < count; k++) std::swap(strides[k][j], strides[k][j - 1]);
            }
    int merged = 0;
    for (int d = 1; d < ndim; d++) {
        bool joins = true;
        for (int k = 0; k < count; k++) joins &= strides[k][merged] == strides[k][d] * shape[d];
        if (joins)
            shape[merged] *= shape[d];
        else
            shape[++merged] = shape[d];
        for (int k = 0; k < count; k++) strides[k][merged] = strides[k][d];
    }
    if (ndim == 0) {
        shape[0] = 1;
        for (int k = 0; k < count; k++) strides[k][0] = 1;
    }
    if (merged + 1 > CB_WALK_DIMS) return false;
    *out_ndim = merged + 1;
    for (int d = 0; d <= merged; d++) {
        out_shape[d] = shape[d];
        for (int k = 0; k < count; k++) out_strides[k * CB_WALK_DIMS + d] = strides[k][d];
    }
    return true;
}
