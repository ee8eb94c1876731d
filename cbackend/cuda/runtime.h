/* What the parts of the runtime share: runtime.cu (devices, copies, streams, events), allocator.cu and
 * graph.cu each fill their functions of the cb_device_api that library.cu hands to the core. They compile
 * over the CUDA runtime and over the emulated one (emulate_api.h). */
#ifndef CB_RUNTIME_H
#define CB_RUNTIME_H

#include "kernels.h"
#if defined(CB_EMULATE)
#include "emulate_api.h"
#endif

enum { CB_MAX_DEVICES = 64 };

extern const cb_host_api *cb_host;
/* the functions that talk to the driver; backend is filled in by library.cu. False and an error set when
 * there is no device */
bool cb_runtime_open(cb_device_api *api);
void cb_memory_open(cb_device_api *api);
void cb_graph_open(cb_device_api *api);

int cb_cuda_failed(cudaError_t error, const char *op); /* CB_OK for cudaSuccess */
#define CB_TRY_CUDA(call, op)                   \
    do {                                        \
        int status_ = cb_cuda_failed(call, op); \
        if (status_) return status_;            \
    } while (0)
int cb_current_device();
cudaStream_t cb_stream_of(int device);
void cb_set_stream_of(int device, cudaStream_t stream);

/* ---- allocator.cu ---- */
/* a stream goes: its work is waited for, its blocks become the default stream's */
void cb_memory_leave(int device, cudaStream_t stream);
/* Memory for one graph: blocks made while a thread records it stay its own until it is dissolved. */
struct cb_memory_pool;
cb_memory_pool *cb_pool_new(cudaStream_t stream); /* the stream that the graph will run on */
void cb_pool_dissolve(cb_memory_pool *pool);

/* ---- graph.cu ---- */
extern thread_local struct cb_graph *cb_recording; /* the graph that this thread writes down, or NULL */
cb_memory_pool *cb_graph_pool(cb_graph *g);
/* a copy of bytes that lives as long as the recorded graph; NULL and an error */
const void *cb_graph_keep(const void *host, int64_t nbytes);
int cb_graph_refuse(const char *op, const char *does);
#define CB_NOT_IN_GRAPH(op, does)                           \
    do {                                                    \
        if (cb_recording) return cb_graph_refuse(op, does); \
    } while (0)
/* what checks found that graphs have made (cb_check_later): the first one's error. Called after waiting */
int cb_graph_faults();
/* calls that a recording thread may make only when it says that it knows */
struct cb_relaxed {
    cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    cb_relaxed() { cudaThreadExchangeStreamCaptureMode(&mode); }
    ~cb_relaxed() { cudaThreadExchangeStreamCaptureMode(&mode); }
};
#endif
