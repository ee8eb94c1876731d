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
    CB_BOOL, CB_U8, CB_I8, CB_U16, CB_I16, CB_U32, CB_I32, CB_U64, CB_I64,
    CB_F16, CB_BF16, CB_F32, CB_F64, CB_C64, CB_C128, CB_DTYPE_COUNT
} cb_dtype;

/* A device is its kind in the low byte and its index above: CUDA device 2 is CB_CUDA | 2 << 8. */
enum { CB_CPU = 0, CB_CUDA = 1, CB_META = 2 };

enum {
    CB_OK = 0, CB_ERR_SHAPE, CB_ERR_DIM, CB_ERR_INDEX, CB_ERR_DTYPE, CB_ERR_DEVICE, CB_ERR_VALUE,
    CB_ERR_MEMORY, CB_ERR_UNSUPPORTED, CB_ERR_NULL, CB_ERR_LINALG, CB_ERR_INTERNAL
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
int64_t cb_last_write(const cb_tensor *x);      /* clock value of the storage's last recorded write */
void cb_mark_written(cb_tensor *x, int64_t clock);

/* ---- creation ---- */
cb_tensor *cb_empty(int dtype, int device, int ndim, const int64_t *shape);
cb_tensor *cb_empty_like(cb_tensor *x, int dtype, int device);   /* -1 keeps x's; dense layouts are kept */
cb_tensor *cb_full(int dtype, int device, int ndim, const int64_t *shape, const cb_scalar *value);
cb_tensor *cb_scalar_tensor(const cb_scalar *value, int dtype);  /* dtype -1: weak, of the kind's default */
cb_tensor *cb_arange(int dtype, int device, double start, double step, int64_t n);
cb_tensor *cb_arange_int(int dtype, int device, int64_t start, int64_t step, int64_t n);
cb_tensor *cb_linspace(int dtype, int device, double start, double stop, int64_t n);
cb_tensor *cb_eye(int dtype, int device, int64_t n, int64_t m);
cb_tensor *cb_from_memory(void *data, int dtype, int ndim, const int64_t *shape, const int64_t *strides,
                          int readonly, void (*deleter)(void *), void *context);
cb_tensor *cb_from_bytes(const void *data, int dtype, int ndim, const int64_t *shape);   /* copies */
int cb_item(cb_tensor *x, cb_scalar *out);      /* x has one element */

/* ---- views: share storage, move no data ---- */
cb_tensor *cb_alias(cb_tensor *x);
cb_tensor *cb_as_strided(cb_tensor *x, int ndim, const int64_t *shape, const int64_t *strides, int64_t offset);
cb_tensor *cb_permute(cb_tensor *x, int n, const int64_t *dims);
cb_tensor *cb_transpose(cb_tensor *x, int64_t a, int64_t b);
cb_tensor *cb_expand(cb_tensor *x, int ndim, const int64_t *shape);   /* -1 keeps a size */
cb_tensor *cb_view(cb_tensor *x, int ndim, const int64_t *shape);     /* -1 infers one; NULL if it needs a copy */
cb_tensor *cb_reshape(cb_tensor *x, int ndim, const int64_t *shape);  /* a view where possible, else a copy */
cb_tensor *cb_unsqueeze(cb_tensor *x, int64_t dim);
cb_tensor *cb_squeeze(cb_tensor *x, int n, const int64_t *dims);      /* n = -1: every size-1 dimension */
cb_tensor *cb_diagonal(cb_tensor *x, int64_t offset, int64_t dim1, int64_t dim2);
cb_tensor *cb_unfold(cb_tensor *x, int64_t dim, int64_t size, int64_t step);
cb_tensor *cb_view_dtype(cb_tensor *x, int dtype);                    /* reinterprets bytes */
cb_tensor *cb_view_as_real(cb_tensor *x);
cb_tensor *cb_view_as_complex(cb_tensor *x);
/* Basic indexing. spec holds 4 numbers an item: {0, i, 0, 0} integer, {1, start, stop, step} slice with
 * INT64_MIN for a missing bound, {2, 0, 0, 0} new axis, {3, 0, 0, 0} ellipsis. */
cb_tensor *cb_index_basic(cb_tensor *x, int n, const int64_t *spec);

/* ---- copies and casts ---- */
cb_tensor *cb_cast(cb_tensor *x, int dtype);                          /* x itself when nothing changes */
cb_tensor *cb_clone(cb_tensor *x);
cb_tensor *cb_contiguous(cb_tensor *x);                               /* x itself when it already is */
cb_tensor *cb_to_device(cb_tensor *x, int device);
int cb_copy_into(cb_tensor *dst, cb_tensor *src, int64_t clock);      /* dst[...] = src, broadcast and cast */
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
/* binary(x, y) summed to the shape of `like`: a broadcast operand's gradient in one call */
cb_tensor *cb_binary_sum_to(int op, cb_tensor *x, cb_tensor *y, cb_tensor *like);
cb_tensor *cb_sum_to(cb_tensor *x, int ndim, const int64_t *shape);
/* ---- reductions (src/reduce.c): op codes from cb_op_code("reduce" | "argreduce" | "scan", name) ---- */

/* ---- products (src/matmul.c) ---- */

/* ---- convolution and pooling (src/conv.c, src/pool.c) ---- */

/* ---- indexing (src/index.c), sorting (src/sort.c) ---- */

/* ---- random (src/random.c) ---- */

/* ---- fused rows: softmax, losses, norms (src/softmax.c) ---- */
/* CFFI-END */

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#if defined(__cplusplus)
}
#endif
#endif
