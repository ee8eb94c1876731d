/* What matrix products, convolutions and pooling are asked to compute: plain descriptions that the frame
 * fills in and a device's backend runs. Sizes are checked, pointers valid, dtypes already the ones to compute
 * in. */
#ifndef CB_PRODUCTS_H
#define CB_PRODUCTS_H

/* c = a @ b (+ bias along rows) for every item of a batch. c is row-major and contiguous over the whole
 * batch; a and b have any strides (elements), 0 where they are broadcast. m, n and k may be anything from 0.
 */
typedef struct cb_gemm {
    int dtype;
    int nbatch;
    int64_t m, n, k, batch; /* batch: the product of batch_shape */
    const char *a, *b;
    char *c;
    int64_t a_row, a_col, b_row, b_col;
    int64_t batch_shape[CB_MAX_NDIM], a_batch[CB_MAX_NDIM], b_batch[CB_MAX_NDIM];
    const void *bias; /* n contiguous items, or NULL */
} cb_gemm;

/* A batch of matrices: strides in elements, 0 where broadcast. */
typedef struct cb_matrices {
    const void *data;
    int64_t row, col, batch[CB_MAX_NDIM];
} cb_matrices;

/* Attention, softmax(scale * q @ k^T + bias) @ v, for every item of a batch: q [rows, width], k [keys,
 * width], v [keys, value_width], bias [rows, keys] or without data, ct [rows, value_width] for the gradient.
 * out [batch, rows, value_width] and totals [batch, rows] (log-sum-exps of the scores, inf where a row
 * attends to nothing) are contiguous: the forward's results, the gradient's operands. dq, dk, dv: contiguous.
 */
typedef struct cb_attention_call {
    int dtype, nbatch;
    bool causal; /* row i attends to keys 0..i */
    double scale;
    int64_t batch, rows, keys, width, value_width;
    int64_t batch_shape[CB_MAX_NDIM];
    cb_matrices q, k, v, bias, ct;
    void *out, *totals, *dq, *dk, *dv;
} cb_attention_call;

/* One direction of an LSTM layer, all contiguous: pre [steps, rows, 4 hidden], w [4 hidden, hidden], states
 * [rows, hidden], hs and cs [steps, rows, hidden], acts (the gates after their functions: input, forget,
 * cell, output) as pre. The gradient reads cs and acts and writes dpre, dh and dc. */
typedef struct cb_lstm {
    int dtype;
    bool backwards;
    int64_t steps, rows, hidden;
    const void *pre, *h0, *c0, *w;
    void *hs, *cs, *acts;
    const void *ct_h, *ct_c, *ct_acts; /* ct_acts: NULL for zeros */
    void *dpre, *dh, *dc;
} cb_lstm;

/* x [n, groups * ic, *in], w [groups * oc, ic, *kernel], y [n, groups * oc, *out], all contiguous. Fewer than
 * three spatial dimensions have leading sizes of 1. */
typedef struct cb_conv_shape {
    int dtype;
    int64_t n, groups, ic, oc;
    int64_t in[3], out[3], kernel[3], stride[3], padding[3], dilation[3];
} cb_conv_shape;

/* x [planes, *in], y [planes, *out], contiguous, three spatial dimensions as above. */
typedef struct cb_pool_shape {
    int dtype;
    int64_t planes;
    int64_t in[3], out[3], kernel[3], stride[3], padding[3], dilation[3];
    bool count_padding;       /* averages: padding counts in the divisor */
    int64_t divisor_override; /* averages: 0 for none */
} cb_pool_shape;

#endif
