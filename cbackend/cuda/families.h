/* The functions that families bring, by file; library.cu puts them into the table. */
#ifndef CB_CUDA_FAMILIES_H
#define CB_CUDA_FAMILIES_H

/* elementwise.cu */
int cb_cuda_elementwise(int family, int op, cb_tensor *out, int nin, const cb_tensor *const *in, int compute);
/* fused.cu */
int cb_cuda_fused(const cb_fused_steps *f, int sets, cb_tensor *const *outs, cb_tensor *const *xs);
/* copy.cu */
int cb_cuda_copy(cb_tensor *dst, const cb_tensor *src);
int cb_cuda_fill(cb_tensor *dst, const cb_scalar *value);
int cb_cuda_arange(cb_tensor *out, const cb_scalar *start, const cb_scalar *step);
/* reduce.cu, scan.cu */
int cb_cuda_reduce(int op, const cb_tensor *x, uint32_t mask, double parameter, cb_tensor *const *out);
int cb_cuda_scan(int op, const cb_tensor *x, int dim, cb_tensor *const *out);
/* softmax.cu */
int cb_cuda_softmax(const cb_tensor *x, int dim, int log, cb_tensor *out);
int cb_cuda_softmax_grad(const cb_tensor *ct, const cb_tensor *y, int dim, int log, cb_tensor *out);
int cb_cuda_cross_entropy(const cb_tensor *logits, const cb_tensor *labels, int64_t ignore, cb_tensor *losses,
                          cb_tensor *totals);
int cb_cuda_cross_entropy_grad(const cb_tensor *ct, const cb_tensor *logits, const cb_tensor *labels,
                               const cb_tensor *totals, int64_t ignore, cb_tensor *out);
/* norm.cu */
int cb_cuda_norm(const cb_tensor *x, int64_t n, const cb_tensor *weight, const cb_tensor *bias, double eps,
                 cb_tensor *const *out);
int cb_cuda_norm_grad(const cb_tensor *ct, const cb_tensor *x, int64_t n, const cb_tensor *mean,
                      const cb_tensor *rstd, const cb_tensor *weight, cb_tensor *const *out);
/* norm_channels.cu */
int cb_cuda_channel_norm(const cb_tensor *x, int64_t groups, const cb_tensor *weight, const cb_tensor *bias,
                         double eps, int fixed, cb_tensor *const *out);
int cb_cuda_channel_norm_grad(const cb_tensor *ct, const cb_tensor *x, const cb_tensor *mean,
                              const cb_tensor *var, const cb_tensor *weight, int64_t groups, double eps,
                              int fixed, cb_tensor *const *out);
/* gemm.cu, conv.cu, pool.cu */
int cb_cuda_gemm(const cb_gemm *g);
int cb_cuda_conv(const cb_conv_shape *s, void *y, const void *x, const void *w);
int cb_cuda_conv_input_grad(const cb_conv_shape *s, void *x, const void *y, const void *w);
int cb_cuda_conv_weight_grad(const cb_conv_shape *s, void *w, const void *y, const void *x);
int cb_cuda_max_pool(const cb_pool_shape *s, void *y, int64_t *indices, const void *x);
int cb_cuda_avg_pool(const cb_pool_shape *s, void *y, const void *x);
int cb_cuda_avg_pool_grad(const cb_pool_shape *s, void *x, const void *y);
int cb_cuda_pool_scatter(int dtype, int64_t planes, int64_t plane, int64_t count, void *x,
                         const int64_t *indices, const void *y);
int cb_cuda_pool_gather(int itemsize, int64_t planes, int64_t plane, int64_t count, void *y,
                        const int64_t *indices, const void *x);
/* index.cu, mask.cu */
int cb_cuda_index_check(const cb_tensor *x, const char *op, int count, cb_tensor *const *indices,
                        const int *dims);
int cb_cuda_index_get(cb_tensor *out, const cb_tensor *x, const char *op, int count,
                      cb_tensor *const *indices, const int *dims);
int cb_cuda_index_put(cb_tensor *x, const cb_tensor *base, const cb_tensor *values, const char *op, int count,
                      cb_tensor *const *indices, const int *dims, int accumulate);
int cb_cuda_gather_along(cb_tensor *out, const cb_tensor *x, const cb_tensor *index, int dim);
int cb_cuda_scatter_along(cb_tensor *x, const cb_tensor *base, const cb_tensor *index, const cb_tensor *src,
                          int dim, int mode);
int cb_cuda_tri(cb_tensor *out, const cb_tensor *x, int64_t diagonal, int upper);
void cb_cuda_mask_count(const cb_tensor *mask, int64_t *counts);
void cb_cuda_mask_nonzero(cb_tensor *out, const cb_tensor *mask, const int64_t *starts);
void cb_cuda_mask_select(cb_tensor *out, const cb_tensor *x, const cb_tensor *mask, const int64_t *starts);
/* random.cu */
int cb_cuda_random(int kind, cb_tensor *out, uint64_t seed, uint64_t offset, double a, double b);
int cb_cuda_random_int(cb_tensor *out, uint64_t seed, uint64_t offset, int64_t low, uint64_t range);
/* linalg.cu */
int cb_cuda_lapack(const struct cb_lapack *j);
/* sort.cu */
int cb_cuda_sort(cb_tensor *values, cb_tensor *indices, const cb_tensor *x, int dim, int descending,
                 int64_t k);
int cb_cuda_searchsorted(cb_tensor *out, const cb_tensor *sorted, const cb_tensor *values, int right);
int cb_cuda_bincount(cb_tensor *out, const cb_tensor *x, const cb_tensor *weights);
/* unique.cu */
int64_t cb_cuda_run_starts(const cb_tensor *sorted, uint8_t *starts);
void cb_cuda_unique_runs(const cb_tensor *sorted, const cb_tensor *order, const uint8_t *starts,
                         cb_tensor *values, cb_tensor *inverse, cb_tensor *counts);
void cb_cuda_int_range(const cb_tensor *x, int64_t *low, int64_t *high);
/* optim.cu */
int cb_cuda_optim_step(const cb_step *s, int n, cb_tensor *const *const *lists);
/* attention.cu */
int cb_cuda_attention(const cb_attention_call *a);
int cb_cuda_attention_grad(const cb_attention_call *a);
/* recurrent.cu */
int cb_cuda_lstm(const cb_lstm *l);
int cb_cuda_lstm_grad(const cb_lstm *l);
/* grid.cu */
int cb_cuda_pad(cb_tensor *out, const cb_tensor *x, int64_t *const *pads, const cb_scalar *value);
int cb_cuda_pad_grad(cb_tensor *out, const cb_tensor *ct, int64_t *const *pads);
int cb_cuda_resample(cb_tensor *out, const cb_tensor *x, int dim, const cb_tensor *places,
                     const cb_tensor *weights);
void cb_cuda_grid_sample(const cb_grid *g, void *y, const void *x, const void *at);
void cb_cuda_grid_sample_grad(const cb_grid *g, void *gx, void *gat, const void *ct, const void *x,
                              const void *at);
/* fft.cu */
int cb_cuda_fft_c2c(const cb_tensor *x, int dim, int forward, double scale, cb_tensor *out);
int cb_cuda_fft_r2c(const cb_tensor *x, int dim, double ends, double inside, cb_tensor *out);
int cb_cuda_fft_c2r(const cb_tensor *x, int dim, double ends, double inside, cb_tensor *out);
void cb_cuda_fft_mirror(const cb_tensor *half, int dim, int forward, cb_tensor *out);
#endif
