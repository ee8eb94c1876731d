/* What the core and the CUDA library know of each other.
 *
 * The CUDA library (cbackend/cuda, built by nvcc, or by a C++ compiler for tests) is opened at run time by
 * device.c and exports one symbol, cb_cuda_open. It gets a cb_host_api and gives a cb_device_api; neither
 * links the other. Both are built from one tree, and CB_DEVICE_VERSION keeps strangers apart. */
#ifndef CB_DEVICE_H
#define CB_DEVICE_H

#include "internal.h"

#if defined(__cplusplus)
extern "C" {
#endif

enum { CB_DEVICE_VERSION = 2, CB_CUDA_NUMBERS = 10 };

/* what the CUDA library uses of the core */
typedef struct cb_host_api {
    int version;
    int (*fail)(int code, const char *text); /* sets the calling thread's error; gives the code back */
    const cb_op_info *(*op_info_of)(int family, int op);
    const cb_backend *cpu;
    void *(*alloc)(int device, int64_t nbytes);
    void (*free)(int device, void *data, int64_t nbytes);
    cb_tensor *(*empty)(int dtype, int device, int ndim, const int64_t *shape);
    void (*release)(cb_tensor *x);
} cb_host_api;

struct cb_graph;
enum { CB_COPY_TO_DEVICE, CB_COPY_TO_HOST, CB_COPY_ON_DEVICE };

/* Functions that can fail give CB_OK or an error code, with the error set. index: which device. All work is
 * queued on the calling thread's current stream of the device (0 until set_stream). */
typedef struct cb_device_api {
    int version;
    const char *name; /* "cuda" or "emulated" */
    const cb_backend *backend;
    int (*count)(void);
    int (*set_device)(int index); /* for the kernels the calling thread launches from here on */
    int (*properties)(int index, cb_device_properties *out);

    void *(*alloc)(int index, int64_t nbytes); /* 256-byte aligned; NULL and an error */
    void (*free)(int index, void *data);
    int (*record_stream)(int index, void *data, void *stream); /* that stream uses the memory too */
    int (*memory)(int index, int64_t *numbers); /* those of cb_cuda_memory */
    void (*reset_peak)(int index);
    void (*empty_cache)(int index);
    /* copies to the host have arrived on return; others need not have, with `queued`, if the host memory is
     * pinned */
    int (*copy)(int kind, int index, void *to, const void *from, int64_t nbytes, int queued);
    int (*copy_between)(int to_index, void *to, int from_index, const void *from, int64_t nbytes);
    void *(*pinned_alloc)(int64_t nbytes);
    void (*pinned_free)(void *data);

    int (*synchronize)(int index);
    int (*stream_new)(int index, int priority, void **out);
    void (*stream_free)(int index, void *stream);
    int (*stream_set)(int index, void *stream); /* the calling thread's current one; NULL the default one */
    void *(*stream_current)(int index);
    int (*stream_synchronize)(int index, void *stream);
    int (*stream_query)(int index, void *stream, int *done);
    int (*event_new)(int index, int timing, void **out);
    void (*event_free)(int index, void *event);
    int (*event_record)(int index, void *event, void *stream);
    int (*event_query)(int index, void *event, int *done);
    int (*event_synchronize)(int index, void *event);
    int (*event_wait)(int index, void *event, void *stream); /* the stream waits, not the caller */
    int (*event_elapsed)(int index, void *start, void *end, double *milliseconds);

    /* of the libraries that it may use: cb_cuda_library_info, cb_cuda_allow_tf32 */
    int (*describe_library)(int which, const char *text[3]);
    void (*allow_tf32)(int allow);
    /* Graphs: the work that the calling thread queues between begin and end is written down, not done. What
     * cannot be (waiting, host memory) fails, and then end does too; a graph that failed is freed like
     * others. `state`: words of device memory that each launch sets first; the first two are the random
     * generator's seed and offset, `now` those of the run that is recorded. */
    int (*graph_begin)(int index, int words, const uint64_t *now, struct cb_graph **out, void **state);
    int (*graph_end)(struct cb_graph *g);
    int (*graph_launch)(struct cb_graph *g, int n, const uint64_t *words); /* the first n are set */
    void (*graph_free)(struct cb_graph *g);
} cb_device_api;

/* NULL and an error set when there is no device that can be used */
typedef const cb_device_api *(*cb_cuda_open_fn)(const cb_host_api *host);

#if defined(__cplusplus)
}
#endif

/* ---- the core's side (device.c) ---- */
#if !defined(__cplusplus)
#pragma GCC visibility push(hidden)
/* The opened library, after making the device the calling thread's; NULL and CB_ERR_DEVICE without one. */
const cb_device_api *cb_device_open(const char *op, int device);
/* the table of a device on which a tensor lies; the device becomes the calling thread's */
const cb_backend *cb_cuda_backend(int device);
static inline bool cb_is_cuda(const cb_tensor *x) { return (x->device & 255) == CB_CUDA; }
#pragma GCC visibility pop
#endif
#endif
