/* What the CPU kernel families share. Every file in this folder is compiled once per instruction-set level;
 * CB_FN(name) gives exported functions the level's suffix, and backend.c collects them in one cb_backend. */
#ifndef CB_CPU_H
#define CB_CPU_H

#include "../internal.h"

#define CB_PASTE_(a, b) a##_##b
#define CB_PASTE(a, b) CB_PASTE_(a, b)
#define CB_FN(name) CB_PASTE(cb_##name, CB_LEVEL)
#define CB_PASTE3_(a, b, c) a##_##b##_##c
#define CB_PASTE3(a, b, c) CB_PASTE3_(a, b, c)
/* the table of a family's kernels for one dtype (kernels_typed.h) */
#define CB_TABLE(family, id) CB_PASTE3(cb_##family, id, CB_LEVEL)
#define CB_INLINE static inline __attribute__((always_inline))

/* Kernels work on contiguous tiles; this many elements of operands and result stay in L1. */
/* A space may have more operands than a kernel: fused steps share one. */
enum { CB_TILE = 1024, CB_MAX_OPERANDS = 4, CB_MAX_SPACE = CB_FUSED_TENSORS };

#pragma GCC visibility push(hidden)

typedef void (*cb_kernel)(int64_t n, void *out, const void *const *in);
typedef void (*cb_cast_kernel)(int64_t n, void *out, const void *in);
/* [from][to], contiguous (cast.c) */
extern const cb_cast_kernel CB_FN(cast_table)[CB_DTYPE_COUNT][CB_DTYPE_COUNT];
/* Kernels are written for whole vectors, so that each is one loop: n is rounded down to a multiple of
 * CB_LANES, a cache line of the smaller items. by_lanes runs one on any n: the last vector computes items of
 * the one before again, or goes through padded tiles (iterate.c). */
#define CB_LANES(size, out_size) (64 / (int)CB_MIN(size, out_size))
void CB_FN(by_lanes)(int64_t n, void *out, const void *const *in, cb_kernel kernel, int nin, int size,
                     int out_size);
/* kernels of their own of functions of float32, or NULL (kernels_f32.c) */
cb_kernel CB_FN(kernel_f32)(int family, int op);
cb_kernel CB_FN(modulo_kernel)(int op, int dtype);
cb_kernel CB_FN(special_kernel)(int family, int op); /* of float32 (kernels_special.c) */
/* NULL where there is no kernel (elementwise.c) */
cb_kernel CB_FN(find_kernel)(int family, int op, int compute);
/* of x^exponent, reading x alone; NULL: no better one than that of any powers */
cb_kernel CB_FN(power_kernel)(int compute, const cb_tensor *exponent);

/* An iteration space common to up to CB_MAX_SPACE operands (iterate.c): size-1 dimensions dropped,
 * dimensions ordered by the first operand's strides, neighbours merged where all operands allow it. ndim is
 * at least 1. */
typedef struct cb_space {
    int ndim, count;
    int64_t numel;
    int64_t shape[CB_MAX_NDIM];
    int64_t strides[CB_MAX_SPACE][CB_MAX_NDIM]; /* elements */
} cb_space;
/* operands broadcast to the shape of the first */
void CB_FN(space_init)(cb_space *s, int count, const cb_tensor *const *operands);
/* is operand k one unbroken run of memory over the space? */
bool CB_FN(space_dense)(const cb_space *s, int k);
/* copies items [begin, begin + n) of operand k between its memory and a contiguous tile */
void CB_FN(gather)(const cb_space *s, int k, int itemsize, const void *base, int64_t begin, int64_t n,
                   void *tile);
void CB_FN(scatter)(const cb_space *s, int k, int itemsize, void *base, int64_t begin, int64_t n,
                    const void *tile);
/* n items apart by `stride` elements into a contiguous tile, and back */
void CB_FN(gather_run)(int itemsize, const void *source, int64_t stride, int64_t n, void *tile);
void CB_FN(scatter_run)(int itemsize, void *target, int64_t stride, int64_t n, const void *tile);

/* to[r * to_step + c] = from[c * from_step + r], steps in items (turn.c) */
void CB_FN(turn)(int itemsize, int64_t rows, int64_t columns, const void *from, int64_t from_step, void *to,
                 int64_t to_step);
/* at least a vector's rows, fewer columns than a vector has items; zeros up to a vector */
void CB_FN(turn_padded)(int itemsize, int64_t rows, int64_t columns, const void *from, int64_t from_step,
                        void *to, int64_t to_step);
/* The dimension along which operand k is unbroken where it is not so along the innermost one, or -1: such an
 * operand is moved in blocks of both. */
int CB_FN(space_turned)(const cb_space *s, int k);

/* An operand of a sweep: its memory, the dtypes there and in the tile, and whether it is one unbroken run. */
typedef struct cb_operand {
    char *data;
    int from, to;
    bool direct;
} cb_operand;
/* operand k's items [begin, begin + n) as a contiguous tile of its dtype `to`; raw and cast are room for it
 */
const void *CB_FN(load)(const cb_space *s, int k, const cb_operand *o, int64_t begin, int64_t n, void *raw,
                        void *cast);

int CB_FN(copy)(cb_tensor *dst, const cb_tensor *src);
int CB_FN(fill)(cb_tensor *dst, const cb_scalar *value);
int CB_FN(arange)(cb_tensor *out, const cb_scalar *start, const cb_scalar *step);
int CB_FN(elementwise)(int family, int op, cb_tensor *out, int nin, const cb_tensor *const *in, int compute);
#include "families.h"

#pragma GCC visibility pop
#endif
