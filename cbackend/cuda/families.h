/* The functions that families bring, by file; library.cu puts them into the table. */
#ifndef CB_CUDA_FAMILIES_H
#define CB_CUDA_FAMILIES_H

/* elementwise.cu */
int cb_cuda_elementwise(int family, int op, cb_tensor *out, int nin, const cb_tensor *const *in, int compute);
/* fused.cu */
int cb_cuda_fused(const cb_fused_steps *f, cb_tensor *const *outs, cb_tensor *const *xs);
/* copy.cu */
int cb_cuda_copy(cb_tensor *dst, const cb_tensor *src);
int cb_cuda_fill(cb_tensor *dst, const cb_scalar *value);
int cb_cuda_arange(cb_tensor *out, const cb_scalar *start, const cb_scalar *step);
#endif
