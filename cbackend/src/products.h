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
