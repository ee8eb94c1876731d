/* Internal interface of the core: what the frame (src/), the kernel families (src/cpu/) and the CUDA library
 * share.
 *
 * The frame validates arguments, infers shape and dtype, allocates the result and then calls the
 * device's cb_backend with tensors that are already right: a backend function never re-checks.
 * On meta tensors the frame stops before that call. */
#ifndef CB_INTERNAL_H
#define CB_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "cbackend.h"

#define CB_HIDDEN __attribute__((visibility("hidden")))
#define CB_MIN(a, b) ((a) < (b) ? (a) : (b))
#define CB_MAX(a, b) ((a) > (b) ? (a) : (b))
#define CB_TRY(call)                       \
    do {                                   \
        int cb_status_ = (call);           \
        if (cb_status_) return cb_status_; \
    } while (0)
#pragma GCC visibility push(hidden)
#if defined(__cplusplus)
extern "C" {
#endif

/* ---- dtypes (dtype.c) ---- */
typedef uint16_t cb_half;
typedef uint16_t cb_bfloat;
#if !defined(__cplusplus)
typedef float _Complex cb_complex64;
typedef double _Complex cb_complex128;
#endif
typedef struct cb_dtype_info {
    const char *name;
    char kind; /* B U I F C */
    int size;
} cb_dtype_info;
extern const cb_dtype_info cb_dtypes[CB_DTYPE_COUNT];
extern int cb_default_dtype;

static inline bool cb_is_float(int d) { return cb_dtypes[d].kind == 'F'; }
static inline bool cb_is_complex(int d) { return cb_dtypes[d].kind == 'C'; }
static inline bool cb_is_inexact(int d) { return cb_is_float(d) || cb_is_complex(d); }
static inline bool cb_is_integer(int d) { return cb_dtypes[d].kind == 'I' || cb_dtypes[d].kind == 'U'; }
static inline bool cb_is_16bit_float(int d) { return d == CB_F16 || d == CB_BF16; }
/* the dtype kernels compute in: 16-bit floats in float32, everything else in itself */
static inline int cb_compute_dtype(int d) { return cb_is_16bit_float(d) ? CB_F32 : d; }
int cb_real_dtype(int d);    /* complex64 -> float32 and so on; others themselves */
int cb_complex_dtype(int d); /* float32 -> complex64 and so on */
int cb_float_dtype(int d);   /* integers and bool -> the default dtype; others themselves */

/* ---- errors (error.c): message form "{op}: expected {rule}, got {what came}. {next step}" ---- */
int cb_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
cb_tensor *cb_fail_null(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "[2, 3]" in one of a few rotating thread-local buffers, for use inside messages */
const char *cb_shape_text(int ndim, const int64_t *shape);
static inline const char *cb_shape_of(const cb_tensor *x) { return cb_shape_text(x->ndim, x->shape); }

/* ---- storage (storage.c, allocator.c) ---- */
struct cb_storage {
    int32_t refcount;
    int32_t device;
    int64_t nbytes;
    void *data;
    int64_t last_write;
    int64_t serial; /* counts storages: later ones have larger numbers */
    bool borrowed;                  /* somebody else's memory: the deleter, if any, gives it back */
    void (*deleter)(void *context);
    void *context;
};
void *cb_alloc(int device, int64_t nbytes); /* 64-byte aligned; NULL after setting CB_ERR_MEMORY */
void cb_free(int device, void *data, int64_t nbytes);
cb_storage *cb_storage_new(int device, int64_t nbytes);
void cb_storage_release(cb_storage *s);

/* ---- handles (tensor.c) ---- */
/* a handle with room for ndim dims and nothing else filled in but refcount, dtype, device, itemsize */
cb_tensor *cb_handle_new(int dtype, int device, int ndim);
/* completes a handle whose shape, strides, offset and storage are set: numel, data, flags */
cb_tensor *cb_handle_finish(cb_tensor *x);
/* a view of x's storage; strides in elements of x's dtype, offset absolute */
cb_tensor *cb_view_new(cb_tensor *x, int ndim, const int64_t *shape, const int64_t *strides, int64_t offset);
static inline bool cb_is_contiguous(const cb_tensor *x) { return x->flags & CB_FLAG_CONTIGUOUS; }
static inline bool cb_is_meta(const cb_tensor *x) { return (x->device & 255) == CB_META; }
/* NULL operands (handles of traced tensors) are CB_ERR_NULL, without a message */
static inline bool cb_any_null(int n, cb_tensor *const *xs) {
    for (int i = 0; i < n; i++)
        if (!xs[i]) return true;
    return false;
}
/* a negative dim wrapped; -1 and CB_ERR_DIM when out of range (a 0-d tensor counts as 1-d) */
int cb_wrap_dim(const char *op, int64_t dim, int ndim);
/* the same device for all operands, 0-d CPU numbers aside; -1 and an error otherwise */
int cb_common_device(const char *op, int n, cb_tensor *const *xs);
/* a tensor of the shape the operands broadcast to; their memory order is kept where they agree on one */
cb_tensor *cb_elementwise_result(const char *op, int dtype, int device, int n, cb_tensor *const *xs);
int cb_broadcast_shapes(const char *op, int n, cb_tensor *const *xs, int *ndim, int64_t *shape);
bool cb_same_shape(const cb_tensor *x, const cb_tensor *y);
int64_t cb_numel_of(int ndim, const int64_t *shape); /* -1 on overflow */
/* raises CB_ERR_VALUE when out cannot be written: read-only, or expanded (several elements, one address) */
int cb_check_writable(const char *op, const cb_tensor *out);
/* might the two views touch the same bytes without being the very same view? */
bool cb_overlaps(const cb_tensor *x, const cb_tensor *y);
/* does any other of the n operands lie in operand k's storage? */
bool cb_shares_storage(int n, cb_tensor *const *xs, int k);
/* may the memory of a program's operand that nobody reads any more become a result's? */
bool cb_is_last_use(const cb_tensor *x);

/* ---- threads (threads.c) ---- */
/* Calls body(context, begin, end) over [0, n) in pieces of `grain` items (the last shorter). Pieces depend
 * on n and grain only, never on the number of threads, so results are the same for any number. Nested
 * calls run in the calling thread. */
void cb_parallel(int64_t n, int64_t grain, void (*body)(void *context, int64_t begin, int64_t end),
                 void *context);
/* the same, with pieces begun in order: whatever lies before a piece is done or running */
void cb_parallel_in_order(int64_t n, int64_t grain, void (*body)(void *context, int64_t begin, int64_t end),
                          void *context);

/* ---- BLAS and LAPACK (blas.c): function pointers, loaded at first use, one thread each ---- */
void *cb_blas_symbol(const char *name); /* "cblas_sgemm", "sgetrf_": NULL after an error */

#include "fused.h"
#include "grid.h"
#include "optim.h"
#include "products.h"
#include "small.h"

/* ---- what a device must provide ---- */
struct cb_lapack; /* linalg.h */
typedef struct cb_backend {
    const char *name;
    int (*copy)(cb_tensor *dst, const cb_tensor *src); /* same shape; casts */
    int (*fill)(cb_tensor *dst, const cb_scalar *value);
    int (*arange)(cb_tensor *out, const cb_scalar *start, const cb_scalar *step);
    /* family: CB_FAMILY_UNARY and so on; operands broadcast to out's shape; compute: the dtype to compute in
     */
    int (*elementwise)(int family, int op, cb_tensor *out, int nin, const cb_tensor *const *in, int compute);
#include "backend_families.h"
} cb_backend;
const cb_backend *cb_backend_of(const cb_tensor *x);
extern const cb_backend *cb_cpu;

/* ---- op tables (optable.c) ---- */
enum { CB_FAMILY_UNARY, CB_FAMILY_BINARY, CB_FAMILY_TERNARY };
typedef enum { CB_RULE_SAME, CB_RULE_FLOAT, CB_RULE_REAL, CB_RULE_BOOL, CB_RULE_LOGICAL } cb_rule;
enum { CB_KIND_BOOL = 1, CB_KIND_INT = 2, CB_KIND_REAL = 4, CB_KIND_COMPLEX = 8 };
typedef struct cb_op_info {
    const char *name;
    cb_rule rule; /* how the dtypes of computation and result follow from the promoted one: ops.def */
    int kinds;    /* CB_KIND_* with a kernel */
} cb_op_info;
/* NULL when op is out of range */
const cb_op_info *cb_op_info_of(int family, int op);
/* The dtype a kernel writes when it computes in `compute`. */
static inline int cb_rule_output(cb_rule rule, int compute) {
    return rule == CB_RULE_BOOL || rule == CB_RULE_LOGICAL ? CB_BOOL
           : rule == CB_RULE_REAL                          ? cb_real_dtype(compute)
                                                           : compute;
}
enum {
#define UNARY(name, rule) CB_UNARY_##name,
#include "ops.def"
    CB_UNARY_COUNT
};
enum {
#define BINARY(name, rule) CB_BINARY_##name,
#include "ops.def"
    CB_BINARY_COUNT
};
enum {
#define TERNARY(name, rule) CB_TERNARY_##name,
#include "ops.def"
    CB_TERNARY_COUNT
};

#if defined(__cplusplus)
}
#endif
#pragma GCC visibility pop
#endif
