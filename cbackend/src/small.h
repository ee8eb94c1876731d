/* A group of small real matrices handled side by side, one a vector lane: what the frame (linalg*.c) and the
 * kernels (cpu/small.c) share. Pointers hold a matrix for every lane; lanes without a matrix of their own
 * repeat the last, and their results are not stored. */
#ifndef CB_SMALL_H
#define CB_SMALL_H

enum {
    CB_SMALL_ORDER = 16,  /* of a matrix that is done alone without LAPACK */
    CB_GROUP_ORDER = 32,  /* of matrices that are done side by side */
    CB_SMALL_LANES = 16,
};
typedef enum {
    CB_SMALL_LU,         /* x: the factors, pivots, info */
    CB_SMALL_LU_SOLVE,   /* a: the factors; pivots are read; b, x: right sides and solutions */
    CB_SMALL_INVERSE,    /* x, info */
    CB_SMALL_DET,        /* x: the factors, pivots, det, sign, log_abs; info: where these are not good */
    CB_SMALL_CHOLESKY,   /* x: the lower factor, info */
    CB_SMALL_TRIANGULAR, /* b, x; a's other triangle is not used */
    CB_SMALL_QR,         /* a: [m, n]; x: Q [m, k], y: R [k, n], info */
    CB_SMALL_EIGH,       /* the lower triangle of a; x: eigenvalues, y: vectors, info */
    CB_SMALL_SVD,        /* a: [m, n]; x: singular values, y: U, z: Vh, info */
} cb_small_kind;

typedef struct cb_small_matrix {
    char *at[CB_SMALL_LANES];
    int64_t row, col; /* strides in elements */
} cb_small_matrix;

typedef struct cb_small {
    cb_small_kind kind;
    int dtype; /* float32: 16 lanes, float64: 8 */
    int m, n, k; /* unless said, a is [n, n], b and x [n, k] */
    int count;   /* lanes with a matrix of their own */
    bool transposed, lower, unit, vectors;
    int part; /* of the operand, as in cb_cholesky */
    cb_small_matrix a, b, x, y, z;
    void *memory; /* cb_small_memory bytes, aligned to 64 */
    int32_t *pivots[CB_SMALL_LANES]; /* from 1, contiguous */
    int64_t info[CB_SMALL_LANES];    /* LAPACK's */
    double det[CB_SMALL_LANES], sign[CB_SMALL_LANES], log_abs[CB_SMALL_LANES];
} cb_small;

static inline int cb_small_lanes(int dtype) { return dtype == CB_F32 ? 16 : 8; }

/* three matrices whose sides are `most` and one longer */
static inline int64_t cb_small_memory(int most) { return 64 * (int64_t)(3 * most * most + most + 1); }

#endif
