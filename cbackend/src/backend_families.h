/* The per-family entries of cb_backend (see internal.h). Included inside the struct. */
/* reductions: reduce.h. mask: the reduced dims; out[1] is for the ops of argreduce only */
int (*reduce)(int op, const cb_tensor *x, uint32_t mask, double parameter, cb_tensor *const *out);
int (*scan)(int op, const cb_tensor *x, int dim, cb_tensor *const *out); /* x and out contiguous, one dtype */
/* fused rows: all operands contiguous; totals are log-sum-exps in the compute dtype, as is ct of
 * cross_entropy_grad */
int (*softmax)(const cb_tensor *x, int dim, int log, cb_tensor *out);
int (*softmax_grad)(const cb_tensor *ct, const cb_tensor *y, int dim, int log, cb_tensor *out);
int (*cross_entropy)(const cb_tensor *logits, const cb_tensor *labels, int64_t ignore, cb_tensor *losses,
                     cb_tensor *totals);
int (*cross_entropy_grad)(const cb_tensor *ct, const cb_tensor *logits, const cb_tensor *labels,
                          const cb_tensor *totals, int64_t ignore, cb_tensor *out);
/* n items are normalised together; out: y, rstd and mean (NULL: no centring); gradient: dx, dweight, dbias or
 * NULL */
int (*norm)(const cb_tensor *x, int64_t n, const cb_tensor *weight, const cb_tensor *bias, double eps,
            cb_tensor *const *out);
int (*norm_grad)(const cb_tensor *ct, const cb_tensor *x, int64_t n, const cb_tensor *mean,
                 const cb_tensor *rstd, const cb_tensor *weight, cb_tensor *const *out);
/* products, convolution, pooling: products.h */
int (*gemm)(const cb_gemm *g);
int (*gemm_16bit)(const cb_gemm *g); /* of 16-bit floats; or CB_ERR_UNSUPPORTED, without a message */
int (*lstm)(const cb_lstm *l);
int (*lstm_grad)(const cb_lstm *l);
int (*attention)(const cb_attention_call *a);
int (*attention_grad)(const cb_attention_call *a);
int (*conv)(const cb_conv_shape *s, void *y, const void *x, const void *w);
int (*conv_input_grad)(const cb_conv_shape *s, void *x, const void *y, const void *w);
int (*conv_weight_grad)(const cb_conv_shape *s, void *w, const void *y, const void *x);
/* indices: NULL when not wanted */
int (*max_pool)(const cb_pool_shape *s, void *y, int64_t *indices, const void *x);
int (*avg_pool)(const cb_pool_shape *s, void *y, const void *x);
int (*avg_pool_grad)(const cb_pool_shape *s, void *x, const void *y);
int (*pool_scatter)(int dtype, int64_t planes, int64_t plane, int64_t windows, void *x,
                    const int64_t *indices, const void *y);
int (*pool_gather)(int itemsize, int64_t planes, int64_t plane, int64_t windows, void *y,
                   const int64_t *indices, const void *x);
/* indexing. Canonical order: x has its indexed dimensions first (one an index), the result or the values have
 * the broadcast index dimensions first; indices are int64; dims names the user's dimensions in errors. */
/* x as the user sees it */
int (*index_check)(const cb_tensor *x, const char *op, int count, cb_tensor *const *indices, const int *dims);
int (*index_get)(cb_tensor *out, const cb_tensor *x, const char *op, int count, cb_tensor *const *indices,
                 const int *dims);
/* base: NULL, or what x, which is fresh then, is to be a copy of before anything is written */
int (*index_put)(cb_tensor *x, const cb_tensor *base, const cb_tensor *values, const char *op, int count,
                 cb_tensor *const *indices, const int *dims, int accumulate);
int (*gather_along)(cb_tensor *out, const cb_tensor *x, const cb_tensor *index, int dim);
/* index's and src's shapes equal; base as in index_put */
int (*scatter_along)(cb_tensor *x, const cb_tensor *base, const cb_tensor *index, const cb_tensor *src,
                     int dim, int mode);
/* masks are contiguous bools; counts has one item for each CB_MASK_PIECE items, starts their running sums
 * from 0 */
void (*mask_count)(const cb_tensor *mask, int64_t *counts);
void (*mask_nonzero)(cb_tensor *out, const cb_tensor *mask, const int64_t *starts);
void (*mask_select)(cb_tensor *out, const cb_tensor *x, const cb_tensor *mask, const int64_t *starts);
int (*tri)(cb_tensor *out, const cb_tensor *x, int64_t diagonal, int upper); /* out contiguous */
/* out, contiguous, is rows of n pieces side by side: bytes[i] from from[i] + row * steps[i]. NULL where there
 * is none. */
void (*join)(cb_tensor *out, int64_t rows, int n, const char *const *from, const int64_t *bytes,
             const int64_t *steps);
/* padding; both sides contiguous. pads[d]: the mode (pad.h) and the items before, NULL where nothing is
 * padded; pad_grad adds what was taken to zeros, for floats of 32 and 64 bits and complex numbers. */
int (*pad)(cb_tensor *out, const cb_tensor *x, int64_t *const *pads, const cb_scalar *value);
int (*pad_grad)(cb_tensor *out, const cb_tensor *ct, int64_t *const *pads);
/* random; kinds as in cbackend.h */
int (*random)(int kind, cb_tensor *out, uint64_t seed, uint64_t offset, double a, double b);
int (*random_int)(cb_tensor *out, uint64_t seed, uint64_t offset, int64_t low, uint64_t range);
int (*random_perm)(cb_tensor *out, uint64_t seed, uint64_t offset);
/* linear algebra: a group of small matrices (small.h) */
void (*small)(cb_small *s);
/* a whole batched call on the device, j->kind: results lie there; or CB_ERR_UNSUPPORTED, without a message.
 * NULL: none */
int (*lapack)(const struct cb_lapack *j);
/* sorting: the k first items of x along dim; values or indices may be NULL, not both, and without indices k
 * is all */
int (*sort)(cb_tensor *values, cb_tensor *indices, const cb_tensor *x, int dim, int descending, int64_t k);
/* Item k of each row in the order of sort; results have size 1 along dim. NULL where there is none. */
int (*kth)(cb_tensor *values, cb_tensor *indices, const cb_tensor *x, int dim, int64_t k);
/* contiguous, one dtype */
int (*searchsorted)(cb_tensor *out, const cb_tensor *sorted, const cb_tensor *values, int right);
/* flags where a new value begins; returns how many */
int64_t (*run_starts)(const cb_tensor *sorted, uint8_t *starts);
void (*unique_runs)(const cb_tensor *sorted, const cb_tensor *order, const uint8_t *starts, cb_tensor *values,
                    cb_tensor *inverse, cb_tensor *counts);
/* int64; or with weights, all float64; out starts at 0 */
int (*bincount)(cb_tensor *out, const cb_tensor *x, const cb_tensor *weights);
void (*int_range)(const cb_tensor *x, int64_t *low, int64_t *high);
/* Fourier transforms along dim; operands contiguous */
int (*fft_c2c)(const cb_tensor *x, int dim, int forward, double scale, cb_tensor *out);
int (*fft_r2c)(const cb_tensor *x, int dim, double ends, double inside, cb_tensor *out);
/* the whole spectrum of real signals from half of it; of the inverse transform where not forward */
void (*fft_mirror)(const cb_tensor *half, int dim, int forward, cb_tensor *out);
int (*fft_c2r)(const cb_tensor *x, int dim, double ends, double inside, cb_tensor *out);
/* sampling of images: grid.h */
void (*grid_sample)(const cb_grid *g, void *y, const void *x, const void *at);
void (*grid_sample_grad)(const cb_grid *g, void *gx, void *gat, const void *ct, const void *x,
                         const void *at);
/* sums of weights[j, t] * x[places[j, t]] along dim; all contiguous, float32 or float64; CB_ERR_INDEX for a
 * place out of range */
int (*resample)(cb_tensor *out, const cb_tensor *x, int dim, const cb_tensor *places,
                const cb_tensor *weights);
/* optimizers: optim.h; lists[operand][tensor] */
int (*optim_step)(const cb_step *s, int n, cb_tensor *const *const *lists);
/* fused elementwise steps: fused.h */
int (*fused)(const cb_fused_steps *f, int sets, cb_tensor *const *outs, cb_tensor *const *xs);
/* Of what fused steps make on the way: x has the form of their result `which`, and its memory if it is kept.
 * NULL where a device has none; CB_ERR_UNSUPPORTED where two steps are better. */
int (*reduce_made)(const cb_fused_call *made, int op, const cb_tensor *x, uint32_t mask,
                   cb_tensor *const *out);
int (*softmax_made)(const cb_fused_call *made, const cb_tensor *x, int dim, int log, cb_tensor *out);
/* to[r * to_step + c] = from[c * from_step + r], steps in items: host memory only */
void (*turn)(int itemsize, int64_t rows, int64_t columns, const void *from, int64_t from_step, void *to,
             int64_t to_step);
/* x [n, c, ...]; out: y, mean and variance, which are read if `fixed`; gradient: dx, dweight, dbias */
int (*channel_norm)(const cb_tensor *x, int64_t groups, const cb_tensor *weight, const cb_tensor *bias,
                    double eps, int fixed, cb_tensor *const *out);
int (*channel_norm_grad)(const cb_tensor *ct, const cb_tensor *x, const cb_tensor *mean, const cb_tensor *var,
                         const cb_tensor *weight, int64_t groups, double eps, int fixed,
                         cb_tensor *const *out);
/* cb_recurrence of contiguous operands of one shape and one inexact dtype */
int (*recurrence)(const cb_tensor *a, const cb_tensor *b, int dim, int transposed, cb_tensor *out);
/* distances of contiguous rows; y NULL: of pairs of x's. NULL where there is none. */
int (*distances)(const cb_tensor *x, const cb_tensor *y, double p, cb_tensor *out);
int (*distances_grad)(const cb_tensor *ct, const cb_tensor *x, const cb_tensor *y, const cb_tensor *out,
                      double p, cb_tensor *dx);
