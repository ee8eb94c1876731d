/* Declarations of the families' entry points, one group a family; see backend_families.h for their meaning.
 */
/* reductions */
int CB_FN(reduce)(int op, const cb_tensor *x, uint32_t mask, double parameter, cb_tensor *const *out);
int CB_FN(scan)(int op, const cb_tensor *x, int dim, cb_tensor *const *out);
int CB_FN(recurrence)(const cb_tensor *a, const cb_tensor *b, int dim, int transposed, cb_tensor *out);
int CB_FN(distances)(const cb_tensor *x, const cb_tensor *y, double p, cb_tensor *out);
int CB_FN(distances_grad)(const cb_tensor *ct, const cb_tensor *x, const cb_tensor *y, const cb_tensor *out,
                          double p, cb_tensor *dx);
/* fused rows */
int CB_FN(softmax)(const cb_tensor *x, int dim, int log, cb_tensor *out);
int CB_FN(softmax_grad)(const cb_tensor *ct, const cb_tensor *y, int dim, int log, cb_tensor *out);
int CB_FN(cross_entropy)(const cb_tensor *logits, const cb_tensor *labels, int64_t ignore, cb_tensor *losses,
                         cb_tensor *totals);
int CB_FN(cross_entropy_grad)(const cb_tensor *ct, const cb_tensor *logits, const cb_tensor *labels,
                              const cb_tensor *totals, int64_t ignore, cb_tensor *out);
int CB_FN(norm)(const cb_tensor *x, int64_t n, const cb_tensor *weight, const cb_tensor *bias, double eps,
                cb_tensor *const *out);
int CB_FN(norm_grad)(const cb_tensor *ct, const cb_tensor *x, int64_t n, const cb_tensor *mean,
                     const cb_tensor *rstd, const cb_tensor *weight, cb_tensor *const *out);
int CB_FN(channel_norm)(const cb_tensor *x, int64_t groups, const cb_tensor *weight, const cb_tensor *bias,
                        double eps, int fixed, cb_tensor *const *out);
int CB_FN(channel_norm_grad)(const cb_tensor *ct, const cb_tensor *x, const cb_tensor *mean,
                             const cb_tensor *var, const cb_tensor *weight, int64_t groups, double eps,
                             int fixed, cb_tensor *const *out);
/* products, convolution, pooling */
int CB_FN(gemm)(const cb_gemm *g);
int CB_FN(gemm_16bit)(const cb_gemm *g);
int CB_FN(gemm_plain)(const cb_gemm *g);
int CB_FN(lstm)(const cb_lstm *l);
int CB_FN(lstm_grad)(const cb_lstm *l);
int CB_FN(attention)(const cb_attention_call *a);
int CB_FN(attention_grad)(const cb_attention_call *a);
int CB_FN(conv)(const cb_conv_shape *s, void *y, const void *x, const void *w);
int CB_FN(conv_input_grad)(const cb_conv_shape *s, void *x, const void *y, const void *w);
int CB_FN(conv_weight_grad)(const cb_conv_shape *s, void *w, const void *y, const void *x);
int CB_FN(conv_plain)(const cb_conv_shape *s, void *y, const void *x, const void *w);
int CB_FN(conv_input_grad_plain)(const cb_conv_shape *s, void *x, const void *y, const void *w);
int CB_FN(conv_weight_grad_plain)(const cb_conv_shape *s, void *w, const void *y, const void *x);
int CB_FN(max_pool)(const cb_pool_shape *s, void *y, int64_t *indices, const void *x);
int CB_FN(avg_pool)(const cb_pool_shape *s, void *y, const void *x);
int CB_FN(avg_pool_grad)(const cb_pool_shape *s, void *x, const void *y);
int CB_FN(pool_scatter)(int dtype, int64_t planes, int64_t plane, int64_t windows, void *x,
                        const int64_t *indices, const void *y);
int CB_FN(pool_gather)(int itemsize, int64_t planes, int64_t plane, int64_t windows, void *y,
                       const int64_t *indices, const void *x);
/* small.c */
void CB_FN(small)(cb_small *s);
/* index.c, mask.c, rearrange.c */
int CB_FN(index_check)(const cb_tensor *x, const char *op, int count, cb_tensor *const *indices,
                       const int *dims);
int CB_FN(index_get)(cb_tensor *out, const cb_tensor *x, const char *op, int count, cb_tensor *const *indices,
                     const int *dims);
int CB_FN(index_put)(cb_tensor *x, const cb_tensor *base, const cb_tensor *values, const char *op, int count,
                     cb_tensor *const *indices, const int *dims, int accumulate);
int CB_FN(gather_along)(cb_tensor *out, const cb_tensor *x, const cb_tensor *index, int dim);
int CB_FN(scatter_along)(cb_tensor *x, const cb_tensor *base, const cb_tensor *index, const cb_tensor *src,
                         int dim, int mode);
void CB_FN(mask_count)(const cb_tensor *mask, int64_t *counts);
void CB_FN(mask_nonzero)(cb_tensor *out, const cb_tensor *mask, const int64_t *starts);
void CB_FN(mask_select)(cb_tensor *out, const cb_tensor *x, const cb_tensor *mask, const int64_t *starts);
int CB_FN(tri)(cb_tensor *out, const cb_tensor *x, int64_t diagonal, int upper);
void CB_FN(join)(cb_tensor *out, int64_t rows, int n, const char *const *from, const int64_t *bytes,
                 const int64_t *steps);
/* pad.c, resample.c */
int CB_FN(pad)(cb_tensor *out, const cb_tensor *x, int64_t *const *pads, const cb_scalar *value);
int CB_FN(pad_grad)(cb_tensor *out, const cb_tensor *ct, int64_t *const *pads);
int CB_FN(resample)(cb_tensor *out, const cb_tensor *x, int dim, const cb_tensor *places,
                    const cb_tensor *weights);
/* random.c */
int CB_FN(random)(int kind, cb_tensor *out, uint64_t seed, uint64_t offset, double a, double b);
int CB_FN(random_int)(cb_tensor *out, uint64_t seed, uint64_t offset, int64_t low, uint64_t range);
int CB_FN(random_perm)(cb_tensor *out, uint64_t seed, uint64_t offset);
/* sort.c */
int CB_FN(sort)(cb_tensor *values, cb_tensor *indices, const cb_tensor *x, int dim, int descending,
                int64_t k);
int CB_FN(kth)(cb_tensor *values, cb_tensor *indices, const cb_tensor *x, int dim, int64_t k);
/* search.c */
int CB_FN(searchsorted)(cb_tensor *out, const cb_tensor *sorted, const cb_tensor *values, int right);
int64_t CB_FN(run_starts)(const cb_tensor *sorted, uint8_t *starts);
void CB_FN(unique_runs)(const cb_tensor *sorted, const cb_tensor *order, const uint8_t *starts,
                        cb_tensor *values, cb_tensor *inverse, cb_tensor *counts);
int CB_FN(bincount)(cb_tensor *out, const cb_tensor *x, const cb_tensor *weights);
void CB_FN(int_range)(const cb_tensor *x, int64_t *low, int64_t *high);
/* fft.c */
int CB_FN(fft_c2c)(const cb_tensor *x, int dim, int forward, double scale, cb_tensor *out);
int CB_FN(fft_r2c)(const cb_tensor *x, int dim, double ends, double inside, cb_tensor *out);
void CB_FN(fft_mirror)(const cb_tensor *half, int dim, int forward, cb_tensor *out);
int CB_FN(fft_c2r)(const cb_tensor *x, int dim, double ends, double inside, cb_tensor *out);
/* grid.c */
void CB_FN(grid_sample)(const cb_grid *g, void *y, const void *x, const void *at);
void CB_FN(grid_sample_grad)(const cb_grid *g, void *gx, void *gat, const void *ct, const void *x,
                             const void *at);
/* optim.c */
int CB_FN(optim_step)(const cb_step *s, int n, cb_tensor *const *const *lists);
/* fused.c */
int CB_FN(fused)(const cb_fused_steps *f, int sets, cb_tensor *const *outs, cb_tensor *const *xs);
int CB_FN(reduce_made)(const cb_fused_call *made, int op, const cb_tensor *x, uint32_t mask,
                       cb_tensor *const *out);
int CB_FN(softmax_made)(const cb_fused_call *made, const cb_tensor *x, int dim, int log, cb_tensor *out);
