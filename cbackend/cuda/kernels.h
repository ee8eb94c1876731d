/* What every kernel family includes, and nothing else: `#include "kernels.h"`. How to write, build, emulate
 * and test a family is in README.md beside this file.
 *
 * The files compile twice: by nvcc for a GPU, and with CB_EMULATE by a C++17 compiler for the processor
 * (emulate.h). Backend functions are those of src/backend_families.h; what they are given is checked, on the
 * calling thread's device, and they queue their work on cb_stream(). A function returns CB_OK or the code
 * of cb_fail; after launches `return cb_launched("op")`.
 *
 * Contents: runtime (this file), walk.h (strided iteration), casts.h (dtypes, loads and stores of any dtype
 * as a compute type), complex.h (complex numbers), block.h (reductions in a block, in a fixed order). */
#ifndef CB_KERNELS_H
#define CB_KERNELS_H

#if defined(CB_EMULATE)
#include "emulate.h"
#else
#include <cuda_runtime.h>
#define CB_SHARED(type, name, count) __shared__ type name[count]
#define CB_DYNAMIC_SHARED(type, name)                                 \
    extern __shared__ __align__(16) unsigned char cb_dynamic_bytes[]; \
    type *const name = reinterpret_cast<type *>(cb_dynamic_bytes)
#define CB_SHARED_PTR(type) type *
#define CB_SHARED_CAST(type, pointer) (reinterpret_cast<type *>(pointer))
/* kernel: a name, or a template's instance in parentheses */
#define CB_LAUNCH(kernel, grid, block, shared, stream, ...)                                           \
    do {                                                                                              \
        size_t cb_shared_ = (size_t)(shared);                                                         \
        if (cb_shared_ > 48 * 1024)                                                                   \
            cudaFuncSetAttribute((const void *)(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize, \
                                 (int)cb_shared_);                                                    \
        (kernel)<<<(grid), (block), cb_shared_, (stream)>>>(__VA_ARGS__);                             \
    } while (0)
#endif

#include <stdint.h>

#include "../src/device.h"
#include "types.h"

/* ---- runtime (runtime.cu, allocator.cu) ---- */
cudaStream_t cb_stream(); /* the calling thread's, of its device */
int cb_launched(const char *op); /* CB_OK, or the error of the launches since the last call */
int cb_current_device();         /* the calling thread's */
int cb_multiprocessors();        /* of that device */
int64_t cb_shared_limit();       /* bytes of dynamic shared memory that a block can have */
int cb_read_back(void *host, const void *device, int64_t nbytes); /* waits for the stream's work */
int cb_send(void *device, const void *host, int64_t nbytes);      /* the host memory may change on return */
int cb_set_bytes(void *device, int byte, int64_t nbytes);
void *cb_device_alloc(int64_t nbytes);
void cb_device_free(void *data);

/* While a compiled program is recorded as a graph (graph.cu) nothing can be read back. A check of indices or
 * labels asks, and leaves the place that is wrong (~0: none) to be raised later; text: "op: expected ...". */
bool cb_is_recording_graph();
int cb_check_later(const unsigned long long *bad, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* For draws: NULL, or the device memory where seed and offset of a run will lie; what is given then becomes
 * what to add to them. */
const uint64_t *cb_draw_state(uint64_t *seed, uint64_t *offset);

/* Device memory for the length of a call; reused in stream order. `if (!s.ok()) return cb_error_code_of();`
 */
struct cb_scratch {
    void *data;
    explicit cb_scratch(int64_t nbytes)
        : data(nbytes > 0 ? cb_device_alloc(nbytes) : nullptr), wanted(nbytes > 0) {}
    ~cb_scratch() {
        if (data) cb_device_free(data);
    }
    cb_scratch(const cb_scratch &) = delete;
    cb_scratch &operator=(const cb_scratch &) = delete;
    bool ok() const { return data || !wanted; } /* if not: return CB_ERR_MEMORY, the text is set */
    template <typename T> T *as() const { return static_cast<T *>(data); }

  private:
    bool wanted;
};

/* blocks for n threads' worth of work, at most `most` (kernels then loop: grid-stride) */
static inline unsigned cb_blocks(int64_t n, int64_t a_block, int64_t most = 65535) {
    int64_t blocks = (n + a_block - 1) / a_block;
    return (unsigned)(blocks < 1 ? 1 : blocks > most ? most : blocks);
}
/* enough blocks of 256 threads to fill the device several times over */
static inline unsigned cb_fill_blocks(int64_t n, int64_t a_block) {
    return cb_blocks(n, a_block, (int64_t)cb_multiprocessors() * 32);
}

/* an index that may be negative, or, in a graph, wrong */
CB_DEV int64_t cb_safe_index(int64_t v, int64_t size) {
    if (v < 0) v += size;
    return (uint64_t)v < (uint64_t)size ? v : 0;
}

#include "casts.h"
#include "walk.h"
#include "block.h"

/* ---- the table: one function an entry; library.cu collects them ---- */
/* Every entry has a round trip through host memory (host.cc), the default until a family brings kernels, and
 * what a family calls for cases it does not cover: cb_host_round_trip()->entry(...). */
extern "C" const cb_backend *cb_host_round_trip();
#include "families.h"
#endif
