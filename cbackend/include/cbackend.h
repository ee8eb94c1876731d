/* cbackend: a small array library in plain C. This is its whole public interface.
 *
 * A cb_tensor is a reference-counted, immutable description of a strided view (dtype, device, shape,
 * strides in elements) over shared storage. Its fields may be read, never written, by callers.
 * Every function that makes a tensor returns a new reference, or NULL after setting the calling
 * thread's error (cb_error_code, cb_error_message). Functions returning int give CB_OK or an error code.
 * No function prints, exits or aborts on bad input. Run on `meta` tensors, each computes shape and
 * dtype only: that is the one copy of the shape rules.
 *
 * Everything between the CFFI markers is parsed by cffi: declarations only, no preprocessor lines. */
#ifndef CBACKEND_H
#define CBACKEND_H

#include <stdint.h>

#if defined(__cplusplus)
extern "C" {
#endif
#if defined(__GNUC__)
#define CB_API __attribute__((visibility("default")))
#else
#define CB_API
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

/* CFFI-BEGIN */
typedef enum {
    /* clang-format off */
    CB_BOOL, CB_U8, CB_I8, CB_U16, CB_I16, CB_U32, CB_I32, CB_U64, CB_I64,
    CB_F16, CB_BF16, CB_F32, CB_F64, CB_C64, CB_C128, CB_DTYPE_COUNT
    /* clang-format on */
} cb_dtype;

/* A device is its kind in the low byte and its index above: CUDA device 2 is CB_CUDA | 2 << 8. */
enum { CB_CPU = 0, CB_CUDA = 1, CB_META = 2 };

enum {
    /* clang-format off */
    CB_OK = 0, CB_ERR_SHAPE, CB_ERR_DIM, CB_ERR_INDEX, CB_ERR_DTYPE, CB_ERR_DEVICE, CB_ERR_VALUE,
    CB_ERR_MEMORY, CB_ERR_UNSUPPORTED, CB_ERR_NULL, CB_ERR_LINALG, CB_ERR_INTERNAL, CB_ERR_HOST
    /* clang-format on */
};

/* CB_WEAK marks a wrapped Python number: it takes part in promotion by category only.
 * CONTIGUOUS: row-major without gaps. READONLY: memory lent by an exporter that forbids writes.
 * IRREGULAR, on an elementwise result: some operand had another shape or dtype than the result. */
enum { CB_FLAG_WEAK = 1, CB_FLAG_CONTIGUOUS = 2, CB_FLAG_READONLY = 4, CB_FLAG_IRREGULAR = 8 };

enum { CB_MAX_NDIM = 32 };

typedef struct cb_storage cb_storage;

typedef struct cb_tensor {
    int32_t refcount;
    int32_t flags;
    int32_t dtype;
    int32_t device;
    int32_t ndim;
    int32_t itemsize;
    int64_t numel;
    int64_t offset;           /* elements from the start of the storage */
    cb_storage *storage;
    void *data;               /* address of element 0; NULL on meta */
    int64_t *shape;           /* ndim entries */
    int64_t *strides;         /* ndim entries, in elements */
} cb_tensor;

/* A number from the caller's language. kind: 'b' bool, 'i' int64, 'u' uint64, 'f' double, 'c' complex. */
typedef struct cb_scalar {
    int32_t kind;
    int64_t i;
    uint64_t u;
    double re;
    double im;
} cb_scalar;

/* ---- library ---- */
int cb_init(const char *level);                 /* NULL picks the best; else "v2", "v3", "v4", "base" */
const char *cb_cpu_level(void);                 /* the level in use */
int cb_error_code(void);
const char *cb_error_message(void);
int cb_op_code(const char *family, const char *name);  /* -1 when there is no such kernel */
const char *cb_op_name(const char *family, int op);    /* NULL past the last one */
int cb_load_blas(const char *path);             /* where OpenBLAS lies; opened at the first product */
void cb_set_num_threads(int n);
int cb_get_num_threads(void);
void cb_set_default_dtype(int dtype);
int cb_promote_types(int a, int b);             /* -1 and an error when there is no common type */
int cb_result_type(int n, cb_tensor *const *xs);

/* ---- memory ---- */
cb_tensor *cb_retain(cb_tensor *x);
void cb_release(cb_tensor *x);
int64_t cb_memory_allocated(int device);        /* bytes in live storages */
int64_t cb_max_memory_allocated(int device);
void cb_reset_peak_memory(int device);
int64_t cb_memory_cached(int device);           /* bytes kept for reuse */
void cb_empty_cache(void);
uint64_t cb_storage_id(const cb_tensor *x);     /* the same for all views of one storage */
int64_t cb_storage_nbytes(const cb_tensor *x);
int64_t cb_storage_serial(void);                /* the number the next storage gets */
int64_t cb_storage_born(const cb_tensor *x);    /* the number its storage got */
int cb_storage_users(const cb_tensor *x);       /* handles over its storage */
int cb_is_sole_owner(const cb_tensor *x); /* the only handle over a storage it fills element by element */
int64_t cb_last_write(const cb_tensor *x); /* clock value of the storage's last recorded write */

/* ---- creation ---- */
cb_tensor *cb_empty(int dtype, int device, int ndim, const int64_t *shape);
cb_tensor *cb_empty_like(cb_tensor *x, int dtype, int device); /* -1 keeps x's; dense layouts are kept */
cb_tensor *cb_full(int dtype, int device, int ndim, const int64_t *shape, const cb_scalar *value);
cb_tensor *cb_ones_like(cb_tensor *x); /* of x's shape, dtype and device */
cb_tensor *cb_scalar_tensor(const cb_scalar *value, int dtype); /* dtype -1: weak, of the kind's default */
cb_tensor *cb_arange(int dtype, int device, double start, double step, int64_t n);
cb_tensor *cb_arange_int(int dtype, int device, int64_t start, int64_t step, int64_t n);
cb_tensor *cb_linspace(int dtype, int device, double start, double stop, int64_t n);
cb_tensor *cb_eye(int dtype, int device, int64_t n, int64_t m);
cb_tensor *cb_from_memory(void *data, int dtype, int ndim, const int64_t *shape, const int64_t *strides,
                          int readonly, void (*deleter)(void *), void *context);
cb_tensor *cb_from_bytes(const void *data, int dtype, int ndim, const int64_t *shape); /* copies */
int cb_item(cb_tensor *x, cb_scalar *out); /* x has one element */

/* ---- views: share storage, move no data ---- */
cb_tensor *cb_alias(cb_tensor *x);
cb_tensor *cb_as_strided(cb_tensor *x, int ndim, const int64_t *shape, const int64_t *strides,
                         int64_t offset);
cb_tensor *cb_permute(cb_tensor *x, int n, const int64_t *dims);
cb_tensor *cb_transpose(cb_tensor *x, int64_t a, int64_t b);
cb_tensor *cb_expand(cb_tensor *x, int ndim, const int64_t *shape); /* -1 keeps a size */
cb_tensor *cb_view(cb_tensor *x, int ndim, const int64_t *shape); /* -1 infers one; NULL if it needs a copy */
cb_tensor *cb_reshape(cb_tensor *x, int ndim, const int64_t *shape); /* a view where possible, else a copy */
cb_tensor *cb_unsqueeze(cb_tensor *x, int64_t dim);
cb_tensor *cb_squeeze(cb_tensor *x, int n, const int64_t *dims); /* n = -1: every size-1 dimension */
cb_tensor *cb_diagonal(cb_tensor *x, int64_t offset, int64_t dim1, int64_t dim2);
cb_tensor *cb_unfold(cb_tensor *x, int64_t dim, int64_t size, int64_t step);
cb_tensor *cb_view_dtype(cb_tensor *x, int dtype); /* reinterprets bytes */
cb_tensor *cb_view_as_real(cb_tensor *x);
cb_tensor *cb_view_as_complex(cb_tensor *x);
/* Basic indexing. spec holds 4 numbers an item: {0, i, 0, 0} integer, {1, start, stop, step} slice with
 * INT64_MIN for a missing bound, {2, 0, 0, 0} new axis, {3, 0, 0, 0} ellipsis. */
cb_tensor *cb_index_basic(cb_tensor *x, int n, const int64_t *spec);
/* the same for one item and dimension: x[start:stop:step], x[index] */
cb_tensor *cb_slice(cb_tensor *x, int64_t dim, int64_t start, int64_t stop, int64_t step);
cb_tensor *cb_select(cb_tensor *x, int64_t dim, int64_t index);

/* ---- copies and casts ---- */
cb_tensor *cb_cast(cb_tensor *x, int dtype); /* x itself when nothing changes */
cb_tensor *cb_clone(cb_tensor *x);
cb_tensor *cb_contiguous(cb_tensor *x); /* x itself when it already is */
cb_tensor *cb_to_device(cb_tensor *x, int device);
int cb_copy_into(cb_tensor *dst, cb_tensor *src, int64_t clock); /* dst[...] = src, broadcast and cast */
/* the same for n pairs */
int cb_copy_all_into(int n, cb_tensor *const *dst, cb_tensor *const *src, int64_t clock);
int cb_fill(cb_tensor *dst, const cb_scalar *value, int64_t clock);

/* ---- elementwise: op codes come from cb_op_code("unary" | "binary" | "ternary", name) ---- */
cb_tensor *cb_unary(int op, cb_tensor *x);
cb_tensor *cb_binary(int op, cb_tensor *x, cb_tensor *y);
cb_tensor *cb_binary_int(int op, cb_tensor *x, int64_t value, int swapped);
cb_tensor *cb_binary_float(int op, cb_tensor *x, double value, int swapped);
cb_tensor *cb_ternary(int op, cb_tensor *x, cb_tensor *y, cb_tensor *z);
int cb_unary_into(int op, cb_tensor *x, cb_tensor *out, int64_t clock);
int cb_binary_into(int op, cb_tensor *x, cb_tensor *y, cb_tensor *out, int64_t clock);
int cb_ternary_into(int op, cb_tensor *x, cb_tensor *y, cb_tensor *z, cb_tensor *out, int64_t clock);
cb_tensor *cb_sum_to(cb_tensor *x, int ndim, const int64_t *shape);
/* ---- reductions (src/reduce.c): op codes from cb_op_code("reduce" | "argreduce" | "scan", name) ---- */
/* n = -1: all dims; dtype -1: the op's default (sums of integers are int64) */
cb_tensor *cb_reduce(int op, cb_tensor *x, int n, const int64_t *dims, int keepdim, int dtype);
cb_tensor *cb_var(cb_tensor *x, int n, const int64_t *dims, int keepdim, double correction);
/* The first of equal items; dim INT64_MIN: over all items in row-major order. out: values, indices. */
cb_tensor *cb_argreduce(int op, cb_tensor *x, int64_t dim, int keepdim);
int cb_reduce_with_index(int op, cb_tensor *x, int64_t dim, int keepdim, cb_tensor *out[2]);
cb_tensor *cb_scan(int op, cb_tensor *x, int64_t dim, int dtype); /* cumsum cumprod logcumsumexp */
/* cummax cummin: values, indices */
int cb_scan_with_index(int op, cb_tensor *x, int64_t dim, cb_tensor *out[2]);
/* y[i] = a[i] y[i - 1] + b[i] along dim, y[0] = b[0]; transposed: y[i] = a[i + 1] y[i + 1] + b[i] */
cb_tensor *cb_recurrence(cb_tensor *a, cb_tensor *b, int64_t dim, int transposed);

/* ---- distances (src/distance.c) ---- */
/* p-norms of the differences between rows: x [..., P, M], y [..., R, M] -> [..., P, R] */
cb_tensor *cb_distances(cb_tensor *x, cb_tensor *y, double p);
/* the gradient by x; out: the distances */
cb_tensor *cb_distances_grad(cb_tensor *ct, cb_tensor *x, cb_tensor *y, cb_tensor *out, double p);
/* x [..., N, M] -> [..., N (N - 1) / 2]: of rows (0, 1), (0, 2), ..., (1, 2), ... */
cb_tensor *cb_pair_distances(cb_tensor *x, double p);
cb_tensor *cb_pair_distances_grad(cb_tensor *ct, cb_tensor *x, cb_tensor *out, double p);

/* ---- products (src/matmul.c) ---- */
cb_tensor *cb_matmul(cb_tensor *x, cb_tensor *y);
/* x [..., in] @ w [out, in] transposed, + b [out] when has_bias */
cb_tensor *cb_linear(cb_tensor *x, cb_tensor *w, cb_tensor *b, int has_bias);

/* ---- convolution and pooling (src/conv.c, src/pool.c) ---- */
/* Cross-correlation over nd spatial dimensions: x [n, c, *s], w [o, c / groups, *k] -> [n, o, *s']. */
cb_tensor *cb_conv(cb_tensor *x, cb_tensor *w, int nd, const int64_t *stride, const int64_t *padding,
                   const int64_t *dilation, int64_t groups);
/* the transpose in x (also the forward of transposed convolution): ct [n, o, *s'] -> [n, c, *input_size] */
cb_tensor *cb_conv_input_grad(cb_tensor *ct, cb_tensor *w, int nd, const int64_t *input_size,
                              const int64_t *stride, const int64_t *padding, const int64_t *dilation,
                              int64_t groups);
cb_tensor *cb_conv_weight_grad(cb_tensor *ct, cb_tensor *x, int nd, const int64_t *kernel_size,
                               const int64_t *stride, const int64_t *padding, const int64_t *dilation,
                               int64_t groups);
/* Pools the last nd dimensions. out: values and int64 flat indices into the plane. */
int cb_max_pool(cb_tensor *x, int nd, const int64_t *kernel, const int64_t *stride, const int64_t *padding,
                const int64_t *dilation, int ceil_mode, cb_tensor *out[2]);
cb_tensor *cb_max_pool_values(cb_tensor *x, int nd, const int64_t *kernel, const int64_t *stride,
                              const int64_t *padding, const int64_t *dilation, int ceil_mode);
/* adds each ct to its index of the plane; its transpose picks x's plane values at the indices */
cb_tensor *cb_max_pool_grad(cb_tensor *ct, cb_tensor *indices, int nd, const int64_t *input_size);
cb_tensor *cb_pool_gather(cb_tensor *x, cb_tensor *indices, int nd);
/* Resizing along dim: item j of the result is the sum of weights[j, t] times x at places[j, t]; places int64,
 * weights of x's dtype (float32 for 16-bit x). */
cb_tensor *cb_resample(cb_tensor *x, int64_t dim, cb_tensor *places, cb_tensor *weights);
/* x [N, C, *sizes] sampled at the coordinates of grid [N, *out, nd]: [N, C, *out]; modes and paddings:
 * src/grid.h, align: do -1 and 1 stand for the centres of the last elements? The gradients of x and of grid.
 */
cb_tensor *cb_grid_sample(cb_tensor *x, cb_tensor *grid, int mode, int padding, int align);
int cb_grid_sample_grad(cb_tensor *ct, cb_tensor *x, cb_tensor *grid, int mode, int padding, int align,
                        cb_tensor *out[2]);
cb_tensor *cb_avg_pool(cb_tensor *x, int nd, const int64_t *kernel, const int64_t *stride,
                       const int64_t *padding, int ceil_mode, int count_include_pad,
                       int64_t divisor_override);
cb_tensor *cb_avg_pool_grad(cb_tensor *ct, int nd, const int64_t *input_size, const int64_t *kernel,
                            const int64_t *stride, const int64_t *padding, int ceil_mode,
                            int count_include_pad, int64_t divisor_override);

/* ---- indexing (src/index.c), sorting (src/sort.c) ---- */
/* x[..., indices, ...]: integer indices[d] apply to dimension d where present[d]; they broadcast together,
 * wrap when negative, and their dimensions stand where the indexed ones stood if those are adjacent, else
 * first. */
cb_tensor *cb_index(cb_tensor *x, int n, cb_tensor *const *indices, const int *present);
/* In place, values broadcast and cast. For one place named twice the last value wins, or all are added. */
int cb_index_put(cb_tensor *x, int n, cb_tensor *const *indices, const int *present, cb_tensor *values,
                 int accumulate, int64_t clock);
/* The same on a copy of x, as are all functions here that end so. */
cb_tensor *cb_index_put_copy(cb_tensor *x, int n, cb_tensor *const *indices, const int *present,
                             cb_tensor *values, int accumulate);
/* index of any rank replaces the dim */
cb_tensor *cb_index_select(cb_tensor *x, int64_t dim, cb_tensor *index);
int cb_index_add(cb_tensor *x, int64_t dim, cb_tensor *index, cb_tensor *src, int64_t clock);
cb_tensor *cb_index_add_copy(cb_tensor *x, int64_t dim, cb_tensor *index, cb_tensor *src);
cb_tensor *cb_take(cb_tensor *x, cb_tensor *index); /* from the flattened x */
cb_tensor *cb_gather(cb_tensor *x, int64_t dim, cb_tensor *index);
/* x.scatter_(dim, index, src); mode 0 assigns, 1 adds, 2 multiplies, 3 keeps the maximum, 4 the minimum */
int cb_scatter(cb_tensor *x, int64_t dim, cb_tensor *index, cb_tensor *src, int mode, int64_t clock);
cb_tensor *cb_scatter_copy(cb_tensor *x, int64_t dim, cb_tensor *index, cb_tensor *src, int mode);
cb_tensor *cb_nonzero(cb_tensor *x); /* int64 [count, ndim] in row-major order */
cb_tensor *cb_masked_select(cb_tensor *x, cb_tensor *mask); /* 1-d */
cb_tensor *cb_cat(int n, cb_tensor *const *xs, int64_t dim);
cb_tensor *cb_stack(int n, cb_tensor *const *xs, int64_t dim);
cb_tensor *cb_repeat(cb_tensor *x, int n, const int64_t *reps); /* tiles; n >= ndim */
cb_tensor *cb_flip(cb_tensor *x, int n, const int64_t *dims);
/* dims NULL: flattened, n = 1 */
cb_tensor *cb_roll(cb_tensor *x, int n, const int64_t *shifts, const int64_t *dims);
/* constant; pad holds n2 / 2 pairs (before, after) from the last dimension on, negative ones crop */
cb_tensor *cb_pad(cb_tensor *x, int n2, const int64_t *pad, const cb_scalar *value);
/* filled from x instead: mode 0 reflects it, 1 repeats its edges, 2 continues on its other side */
cb_tensor *cb_pad_edges(cb_tensor *x, int n2, const int64_t *pad, int mode);
cb_tensor *cb_pad_edges_grad(cb_tensor *ct, int n2, const int64_t *pad, int mode);
cb_tensor *cb_tri(cb_tensor *x, int64_t diagonal, int upper); /* tril, or triu, of the last two dims */
/* zeros(shape) with ct in place of the cb_index_basic view: the transpose of basic indexing */
cb_tensor *cb_index_embed(cb_tensor *ct, int ndim, const int64_t *shape, int n, const int64_t *spec);
/* nan counts as the greatest; all sorts are stable. out: values, int64 indices */
int cb_sort(cb_tensor *x, int64_t dim, int descending, int stable, cb_tensor *out[2]);
cb_tensor *cb_sort_values(cb_tensor *x, int64_t dim, int descending); /* faster, without the indices */
cb_tensor *cb_argsort(cb_tensor *x, int64_t dim, int descending, int stable);
/* always sorted */
int cb_topk(cb_tensor *x, int64_t k, int64_t dim, int largest, int sorted, cb_tensor *out[2]);
int cb_kthvalue(cb_tensor *x, int64_t k, int64_t dim, int keepdim, cb_tensor *out[2]); /* k counts from 1 */
cb_tensor *cb_searchsorted(cb_tensor *sorted, cb_tensor *values, int right);
/* of the flattened x, sorted. out: values, inverse in x's shape, counts; NULL for those not asked for */
int cb_unique(cb_tensor *x, int return_inverse, int return_counts, cb_tensor *out[3]);
cb_tensor *cb_bincount(cb_tensor *x, cb_tensor *weights, int has_weights, int64_t minlength);

/* ---- random (src/random.c) ---- */
/* Counter-based (Philox4x32-10): value i of a draw depends on seed, offset and i only, in row-major order
 * whatever the strides, threads or device. kind: 0 uniform on [a, b), 1 normal (mean a, standard deviation
 * b), 2 bernoulli (1 with probability a), 3 exponential (rate a), 5 rademacher (-1 or 1); 4, integers, has
 * its own function. */
cb_tensor *cb_random(int kind, int dtype, int device, int ndim, const int64_t *shape, uint64_t seed,
                     uint64_t offset, double a, double b);
int cb_random_into(int kind, cb_tensor *out, uint64_t seed, uint64_t offset, double a, double b,
                   int64_t clock);
cb_tensor *cb_random_int(int dtype, int device, int ndim, const int64_t *shape, uint64_t seed,
                         uint64_t offset, int64_t low, int64_t high); /* integers in [low, high) */
cb_tensor *cb_random_perm(int dtype, int device, int64_t n, uint64_t seed, uint64_t offset);
/* One draw a lane, [*lanes, *shape]: in lane (i, j, ...) the offset is offset + i * strides[0] + j *
 * strides[1]
 * + ... kind 4: integers in [low, high), 6: permutations of shape[0] items; else as cb_random. */
cb_tensor *cb_random_lanes(int kind, int dtype, int device, int n, const int64_t *lanes,
                           const int64_t *strides, int ndim, const int64_t *shape, uint64_t seed,
                           uint64_t offset, double a, double b, int64_t low, int64_t high);
/* what to add to offset after a draw of numel values; kind 4 for integers and permutations */
uint64_t cb_random_counters(int kind, int dtype, int64_t numel);
void cb_philox(uint64_t seed, uint64_t offset, uint32_t *out4); /* for deriving keys; apart from all draws */

/* ---- random numbers as functions of keys (src/random_keyed.c) ---- */
/* A key is uint32 [*lanes, 2], the high and the low word of a seed. Lanes draw apart from each other, so that
 * a draw of many keys is the draws of each, one behind the other. */
cb_tensor *cb_key_split(cb_tensor *key, int64_t num); /* [*lanes, num, 2]: new keys */
/* a key of each pair; data: int64 [..., 1], which broadcasts against the key */
cb_tensor *cb_key_fold(cb_tensor *key, cb_tensor *data);
/* [*lanes, *shape]; kinds and arguments as in cb_random_lanes */
cb_tensor *cb_random_keyed(int kind, cb_tensor *key, int dtype, int ndim, const int64_t *shape, double a,
                           double b, int64_t low, int64_t high);
/* A sample for each element of floating parameters [*lanes, *shape], in their dtype; nan for parameters
 * outside the distribution's domain. The gamma distribution's scale is 1, von Mises' mean is 0. */
cb_tensor *cb_random_gamma(cb_tensor *key, cb_tensor *shape_parameter);
cb_tensor *cb_random_poisson(cb_tensor *key, cb_tensor *rate);
cb_tensor *cb_random_binomial(cb_tensor *key, cb_tensor *count, cb_tensor *probability);
cb_tensor *cb_random_von_mises(cb_tensor *key, cb_tensor *concentration);

/* ---- fused rows: softmax, losses, norms (src/softmax.c) ---- */
cb_tensor *cb_softmax(cb_tensor *x, int64_t dim, int log, int dtype);
cb_tensor *cb_softmax_grad(cb_tensor *ct, cb_tensor *y, int64_t dim, int log); /* y: the forward's result */
/* logits [N, C], labels [N]; out: losses [N], 0 where ignored, and log-sum-exps [N], float32 for 16-bit */
int cb_cross_entropy(cb_tensor *logits, cb_tensor *target, int64_t ignore_index, cb_tensor *out[2]);
cb_tensor *cb_cross_entropy_grad(cb_tensor *ct, cb_tensor *logits, cb_tensor *target, cb_tensor *logsumexp,
                                 int64_t ignore_index);
/* Normalise the last n_normalized dims. has_affine: bit 0 a weight, bit 1 a bias is given; a NULL handle
 * without its bit is none. out: y, mean, rstd; statistics [leading dims, 1...] in the compute dtype.
 * Gradients: dx, dweight, dbias, the last two NULL where has_affine lacks the bit. RMS norm has no mean and
 * no bias: out: y, rstd. */
int cb_layer_norm(cb_tensor *x, int n_normalized, cb_tensor *weight, cb_tensor *bias, int has_affine,
                  double eps, cb_tensor *out[3]);
int cb_layer_norm_grad(cb_tensor *ct, cb_tensor *x, cb_tensor *mean, cb_tensor *rstd, int n_normalized,
                       cb_tensor *weight, int has_affine, cb_tensor *out[3]);
int cb_rms_norm(cb_tensor *x, int n_normalized, cb_tensor *weight, int has_affine, double eps,
                cb_tensor *out[2]);
int cb_rms_norm_grad(cb_tensor *ct, cb_tensor *x, cb_tensor *rstd, int n_normalized, cb_tensor *weight,
                     int has_affine, cb_tensor *out[2]);
/* x [n, c, ...] with mean 0 and variance 1 over each channel (groups 0) or over each of so many groups of
 * neighbouring channels of each n, times weight [c] plus bias [c]. out: y, mean and variance, [c] or
 * [n, groups], in the compute dtype. Gradients: dx, dweight, dbias; fixed: as of cb_channel_scale. */
int cb_channel_norm(cb_tensor *x, int64_t groups, cb_tensor *weight, cb_tensor *bias, double eps,
                    cb_tensor *out[3]);
int cb_channel_norm_grad(cb_tensor *ct, cb_tensor *x, cb_tensor *mean, cb_tensor *var, cb_tensor *weight,
                         int64_t groups, double eps, int fixed, cb_tensor *out[3]);
/* the same by a mean and a variance [c] that are given */
cb_tensor *cb_channel_scale(cb_tensor *x, cb_tensor *mean, cb_tensor *var, cb_tensor *weight, cb_tensor *bias,
                            double eps);
/* ---- attention (src/attention.c) ---- */
/* softmax(scale * q @ k^T + bias) @ v of q [..., L, E], k [..., S, E], v [..., S, D], bias [..., L, S] if
 * has_bias (else it is not looked at): of one rank and dtype, leading sizes and the bias's broadcast. causal:
 * row i attends to keys 0..i. out: the result [..., L, D], 0 for a row that attends to nothing, and the
 * log-sum-exps of the scores [..., L] in the compute dtype, inf for such a row. Memory is linear in L and S.
 * The gradient takes the forward's results; out: dq, dk and dv with the broadcast leading sizes. */
int cb_attention(cb_tensor *q, cb_tensor *k, cb_tensor *v, cb_tensor *bias, int has_bias, int causal,
                 double scale, cb_tensor *out[2]);
int cb_attention_grad(cb_tensor *ct, cb_tensor *result, cb_tensor *totals, cb_tensor *q, cb_tensor *k,
                      cb_tensor *v, cb_tensor *bias, int has_bias, int causal, double scale,
                      cb_tensor *out[3]);
/* ---- recurrent layers (src/recurrent.c) ---- */
/* One direction of an LSTM layer over pre [T, N, 4 H], the projected input with all biases, from states h0
 * and c0 [N, H] with recurrent weights [4 H, H]; gates in the order input, forget, cell, output. out: h and c
 * [T, N, H] and the gates after their functions [T, N, 4 H]. */
int cb_lstm_layer(cb_tensor *pre, cb_tensor *h0, cb_tensor *c0, cb_tensor *w, int backwards,
                  cb_tensor *out[3]);
/* From cotangents of the three (of the gates only if through_acts) to those of pre, h0 and c0. */
int cb_lstm_layer_grad(cb_tensor *ct_h, cb_tensor *ct_c, cb_tensor *ct_acts, cb_tensor *cs, cb_tensor *acts,
                       cb_tensor *c0, cb_tensor *w, int backwards, int through_acts, cb_tensor *out[3]);
/* ---- Fourier transforms along one dim, unnormalised times a scale (src/fft.c) ---- */
cb_tensor *cb_fft_c2c(cb_tensor *x, int64_t dim, int forward, double scale);
/* n reals -> n / 2 + 1 frequencies, forward. ends: the factor of frequency 0 and, for an even n, n / 2;
 * inside: of all others. The two make r2c and c2r each other's transposes. */
cb_tensor *cb_fft_r2c(cb_tensor *x, int64_t dim, double ends, double inside);
/* n / 2 + 1 frequencies -> n reals, backward; the factors are those of the frequencies */
cb_tensor *cb_fft_c2r(cb_tensor *x, int64_t dim, int64_t n, double ends, double inside);
/* ---- optimizer steps (src/optim.c) ---- */
/* Lists of n tensors, stepped in place together or, on an error, not at all. */
/* first: momentum takes the gradients as they are; a momentum list is not looked at when the factor is 0 */
int cb_sgd_step(int n, cb_tensor *const *params, cb_tensor *const *grads, cb_tensor *const *momentum,
                double lr, double momentum_factor, double dampening, double weight_decay, int nesterov,
                int maximize, int first, int64_t clock);
/* step counts from 1; max_exp_avg_sq is looked at with amsgrad only */
int cb_adam_step(int n, cb_tensor *const *params, cb_tensor *const *grads, cb_tensor *const *exp_avg,
                 cb_tensor *const *exp_avg_sq, cb_tensor *const *max_exp_avg_sq, double lr, double beta1,
                 double beta2, double eps, double weight_decay, int decoupled, int amsgrad, int maximize,
                 int64_t step, int64_t clock);
/* Adam for n2 sets of operands at once, on the CPU: param, grad, running means of it and of its square, the
 * largest of the latter or nothing, then float64 numbers: what the mean is multiplied by, what the param is,
 * and the root. Gives the new param, means and largest. code: the bits of doubles: the gradient's sign, an L2
 * penalty, shares of the two means that are kept, eps. reuse and into as in cb_fused_sets. */
int cb_adam_sets(int n, cb_tensor *const *xs, int ncode, const int64_t *code, int nout, cb_tensor **out,
                 int n2, const int64_t *reuse, const int64_t *into);
/* ---- linear algebra (src/linalg*.c) ---- */
/* Batches of matrices [..., m, n] in float32, float64 and their complex forms; LAPACK's conventions. Two
 * operands broadcast over the leading dims. `check`: the name for an error message if some matrix fails, or
 * NULL for no error. info: int32, LAPACK's, a matrix. trans: 0 as it is, 1 transposed, 2 conjugated too.
 * part: what is read of a Hermitian matrix: 0 the lower triangle, 1 the upper, 2 the mean of both. */
int cb_lu_factor(cb_tensor *a, const char *check, cb_tensor *out[3]); /* LU, int32 pivots, info */
cb_tensor *cb_lu_solve(cb_tensor *lu, cb_tensor *pivots, cb_tensor *b, int trans);
cb_tensor *cb_lu_permutation(cb_tensor *pivots, int64_t m); /* int64: row i of L @ U is row p[i] of a */
int cb_inv(cb_tensor *a, const char *check, cb_tensor *out[2]); /* inverse, info */
/* det, sign, log of |det|, what replacing zero pivots by tiny ones adds to det, the LU so changed, pivots */
int cb_det(cb_tensor *a, cb_tensor *out[6]);
int cb_cholesky(cb_tensor *a, int part, const char *check, cb_tensor *out[2]); /* lower factor, info */
cb_tensor *cb_solve_triangular(cb_tensor *a, cb_tensor *b, int upper, int left, int unit, int trans);
int cb_ldl_factor(cb_tensor *a, int hermitian, const char *check, cb_tensor *out[3]); /* LD, pivots, info */
cb_tensor *cb_ldl_solve(cb_tensor *ld, cb_tensor *pivots, cb_tensor *b, int hermitian);
int cb_qr(cb_tensor *a, int complete, cb_tensor *out[2]); /* Q, R */
int cb_geqrf(cb_tensor *a, cb_tensor *out[2]); /* reflectors and R, tau */
cb_tensor *cb_householder_product(cb_tensor *a, cb_tensor *tau);
cb_tensor *cb_ormqr(cb_tensor *a, cb_tensor *tau, cb_tensor *c, int left, int trans);
int cb_lstsq(cb_tensor *a, cb_tensor *b, double rcond, cb_tensor *out[2]); /* solution, int64 rank */
/* U, S, Vh; S alone without vectors */
int cb_svd(cb_tensor *a, int full, int vectors, const char *check, cb_tensor *out[3]);
/* values, ascending, and vectors if wanted */
int cb_eigh(cb_tensor *a, int part, int vectors, const char *check, cb_tensor *out[2]);
int cb_eig(cb_tensor *a, int vectors, const char *check, cb_tensor *out[2]); /* complex; as for eigh */
cb_tensor *cb_matrix_exp(cb_tensor *a);

/* ---- programs (src/program): calls on meta tensors, written down and run again on memory ---- */
typedef struct cb_program cb_program;
/* not errors: dtypes, shapes or strides differ from the recorded; an input that the program writes over
 * shares its memory with another, and nothing was run */
enum { CB_PROGRAM_OTHER_INPUTS = 100, CB_PROGRAM_SHARED_INPUTS = 101 };
cb_tensor *cb_as_meta(cb_tensor *x); /* shape, strides and dtype without memory */
/* Between begin and end the calling thread's calls compute shapes only, and what they create is meta. */
void cb_staging_begin(void);
void cb_staging_end(void);
int cb_staging_pause(void); /* calls compute and are not recorded until cb_staging_resume(what it gave) */
void cb_staging_resume(int depth);
/* The same, and calls become instructions. inputs: meta tensors. */
cb_program *cb_program_begin(int n, cb_tensor *const *inputs);
int cb_program_constant(cb_program *p, cb_tensor *meta, cb_tensor *value); /* meta stands for value */
/* into, or NULL: for each result the input it will be copied into after a run, or -1. It may then be that
 * input's memory already: the results' handles tell. */
int cb_program_end(cb_program *p, int n, cb_tensor *const *results, const int64_t *into);
/* Before the end of recording: these inputs are used up. A run that starts (whose status is neither of the
 * two above) takes the caller's reference, frees them after their last reader and may write over them. */
int cb_program_give(cb_program *p, int n, const int64_t *inputs);
void cb_program_free(cb_program *p); /* also while it is recorded */
/* seed and offset are added to those of recorded draws. results: as many as at the end of recording */
int cb_program_run(const cb_program *p, int n, cb_tensor *const *inputs, uint64_t seed, uint64_t offset,
                   cb_tensor **results);
/* Are programs on CUDA replayed as graphs? 1 or 0 to change it, -1 to ask; gives what it was.
 * FL_CUDA_GRAPHS=0 makes it 0 at the start. */
int cb_program_graphs(int on);
/* how a program on CUDA runs, in words; NULL while that is not decided, and for others */
const char *cb_program_replay(const cb_program *p);
int cb_program_length(const cb_program *p);
const char *cb_program_call(const cb_program *p, int i); /* the function behind instruction i */
int cb_program_pairs(const cb_program *p); /* fused steps that the next instruction may run */
/* A recorded program as numbers, and how many they are; out may be NULL. The first says from where on they
 * are data (arguments, arrays, shapes of inputs); before that they say what the program does. A variant has
 * other data and other constants, as many as cb_program_constant_count says. */
int64_t cb_program_words(const cb_program *p, int64_t *out);
cb_program *cb_program_variant(const cb_program *p, const int64_t *words, int n, cb_tensor *const *constants);
/* Functions of the host language as instructions (src/program/host.c). cb_host_call makes a tensor for each
 * of forms (its dtype, ndim and shape), and unless the device is CB_META the host fills them from xs, all
 * lent. A host whose function fails returns something else than 0 and keeps the reason. */
void cb_host_set(int (*call)(int64_t function, int n, cb_tensor *const *xs, int nout, cb_tensor *const *out));
int cb_host_call(int64_t function, int n, cb_tensor *const *xs, int ncode, const int64_t *forms, int nout,
                 cb_tensor **out, int device);
/* Programs as files (src/program/encode.c, decode.c, file.c): safetensors with the instructions in the tensor
 * "program", functions and ops by name, and the constants in tensors "constant.<i>". The instructions as
 * int64 words, and in names, which the caller releases with cb_text_free, the names they refer to. The last
 * n_captured inputs count as constants, after those of the program. */
cb_tensor *cb_program_encode(const cb_program *p, int n_captured, char **names);
void cb_text_free(char *text);
int cb_program_constant_count(const cb_program *p);
cb_tensor *cb_program_constant_value(const cb_program *p, int i); /* a new reference */
/* NULL and an error for files that are damaged, or hostile, or name functions that this library lacks. */
cb_program *cb_program_load(const char *path);
cb_program *cb_program_load_bytes(const void *data, int64_t nbytes); /* data may go after the call */
int cb_program_to(cb_program *p, int device); /* a loaded one, before it runs: its constants move there */
int cb_program_input_count(const cb_program *p);
int cb_program_result_count(const cb_program *p);
/* of a loaded program: meta tensors that say shape and dtype, lent; NULL when out of range */
const cb_tensor *cb_program_input(const cb_program *p, int i);
const cb_tensor *cb_program_result(const cb_program *p, int i);

/* ---- profiling (src/profile.c): public calls and the instructions of programs, timed ---- */
/* A description: 'n', a number that was passed, or 'r' (read) or 'm' (made) and a
 * tensor: dtype, bytes of its distinct elements, storage, ndim, shape; up to the next event's. */
typedef struct cb_event {
    int64_t begin, end; /* nanoseconds of the monotonic clock */
    int64_t allocated; /* bytes in live storages afterwards */
    int64_t detail; /* where its description starts */
    int32_t call, instruction, thread; /* cb_call_name's (-1: a program), place in a program or -1 */
} cb_event;
void cb_profile_start(void); /* nests; events are dropped when the outermost stops */
void cb_profile_count(int64_t *counts); /* events, and items of their descriptions, so far */
void cb_profile_copy(const int64_t *from, const int64_t *to, cb_event *events, int64_t *details);
void cb_profile_stop(void);
int cb_profile_thread(void); /* a small number for the calling thread */
const char *cb_call_name(int call);
/* the dtype an elementwise op computes in; -1 and an error where it has no kernel */
int cb_compute_dtype_of(int family, int op, int n, cb_tensor *const *xs);
/* Elementwise steps in one sweep over operands that broadcast (src/fused.c). code: the dtype each of the n
 * operands is read in; the number of steps; for each {family, op, compute dtype, result dtype, three
 * operands}: k >= 0 is xs[k], -1 - j step j; nout steps whose results come out. Family 3 is a cast. reuse:
 * bit k says that xs[k] may become a result's memory. into: 4 bits an operand, 1 + the result that may be
 * written over it. */
int cb_fused(int n, cb_tensor *const *xs, int ncode, const int64_t *code, int nout, cb_tensor **out,
             uint64_t reuse, uint64_t into);
/* The same steps for n2 sets of operands in one parallel sweep: xs and out hold set after set, each set as
 * cb_fused would take and give it; reuse and into have a word a set, or are NULL. */
int cb_fused_sets(int n, cb_tensor *const *xs, int ncode, const int64_t *code, int nout, cb_tensor **out,
                  int n2, const int64_t *reuse, const int64_t *into);
/* cb_reduce of the only result of steps, which need not get memory; dims: n2, or all with -1 */
cb_tensor *cb_reduce_steps(int n, cb_tensor *const *xs, int ncode, const int64_t *code, int op, int n2,
                           const int64_t *dims, int keepdim);
/* ---- CUDA (src/device.c): the CUDA library is opened at the first call; index -1 is the current device ----
 */
typedef struct cb_device_properties {
    char name[128];
    int32_t major, minor, multiprocessors, clock_khz, memory_clock_khz, memory_bus_bits, warp;
    int32_t threads_per_block, threads_per_multiprocessor, registers_per_block;
    int64_t total_memory, shared_per_block, shared_per_multiprocessor, l2_cache;
    int32_t pci_bus, pci_device;
} cb_device_properties;
void cb_cuda_set_library(const char *path); /* before the first use; NULL: beside this library */
int cb_cuda_available(void); /* never an error */
int cb_cuda_device_count(void); /* 0 without a driver */
const char *cb_cuda_reason(void); /* why there is none; "" when there is one */
const char *cb_cuda_library_name(void); /* "cuda", "emulated", or "" */
/* NVIDIA's libraries that the CUDA library may use, from 0: text becomes a name, a version ("" when it is not
 * used), and a path or why it is not used; 0 past the last */
int cb_cuda_library_info(int which, const char *text[3]);
/* may products of float32 round their factors to TF32? Sets it where allow is 0 or 1; gives what it is now */
int cb_cuda_allow_tf32(int allow);
int cb_cuda_current_device(void); /* the calling thread's */
int cb_cuda_set_device(int index);
int cb_cuda_properties(int index, cb_device_properties *out);
/* 10 numbers: allocated, its peak, reserved, its peak, allocations, frees, cache hits, driver calls, free and
 * total bytes of the device */
int cb_cuda_memory(int index, int64_t *numbers);
void cb_cuda_reset_peak_memory(int index);
void cb_cuda_empty_cache(int index);
int cb_cuda_synchronize(int index);
void *cb_cuda_stream_new(int index, int priority); /* NULL and an error */
void cb_cuda_stream_free(int index, void *stream);
int cb_cuda_stream_set(int index, void *stream); /* of the calling thread; NULL the default stream */
void *cb_cuda_stream_current(int index);
int cb_cuda_stream_synchronize(int index, void *stream);
/* x's memory, when freed, waits for what is queued on the stream then */
int cb_cuda_record_stream(cb_tensor *x, void *stream);
int cb_cuda_stream_done(int index, void *stream); /* 1, 0, or -1 and an error */
void *cb_cuda_event_new(int index, int timing);
void cb_cuda_event_free(int index, void *event);
int cb_cuda_event_record(int index, void *event, void *stream);
int cb_cuda_event_done(int index, void *event);
int cb_cuda_event_synchronize(int index, void *event);
int cb_cuda_event_wait(int index, void *event, void *stream); /* the stream waits */
double cb_cuda_event_elapsed(int index, void *start, void *end); /* milliseconds; negative and an error */
/* a copy in page-locked memory, from which copies to a device are queued without waiting */
cb_tensor *cb_pin_memory(cb_tensor *x);
int cb_is_pinned(const cb_tensor *x);
/* CFFI-END */

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#if defined(__cplusplus)
}
#endif
#endif
