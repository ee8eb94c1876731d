/* Devices, copies, streams and events, over the CUDA runtime (linked statically; it opens the driver itself,
 * so the library loads on machines without one), or over the emulated one. */
#include <stdio.h>
#include <string.h>

#include "runtime.h"

static int devices;
static thread_local int current;
static thread_local cudaStream_t streams[CB_MAX_DEVICES];
static cudaDeviceProp properties[CB_MAX_DEVICES];

int cb_cuda_failed(cudaError_t error, const char *op) {
    if (error == cudaSuccess) return CB_OK;
    const char *name = cudaGetErrorName(error);
    cudaGetLastError(); /* forgotten, where it can be */
    return cb_fail(error == cudaErrorMemoryAllocation ? CB_ERR_MEMORY : CB_ERR_INTERNAL,
                   "%s: expected the CUDA call to succeed, got %s (%s).", op, name,
                   cudaGetErrorString(error));
}
static int failed(cudaError_t error, const char *op) { return cb_cuda_failed(error, op); }

/* ---- what kernel families use ---- */
cudaStream_t cb_stream() { return streams[current]; }
cudaStream_t cb_stream_of(int device) { return streams[device]; }
void cb_set_stream_of(int device, cudaStream_t stream) { streams[device] = stream; }
int cb_current_device() { return current; }
int cb_multiprocessors() { return properties[current].multiProcessorCount; }
int64_t cb_shared_limit() { return (int64_t)properties[current].sharedMemPerBlockOptin; }
int cb_launched(const char *op) { return failed(cudaGetLastError(), op); }
int cb_read_back(void *host, const void *device, int64_t nbytes) {
    CB_NOT_IN_GRAPH("copy", "reads values back");
    CB_TRY_CUDA(cudaMemcpyAsync(host, device, (size_t)nbytes, cudaMemcpyDeviceToHost, cb_stream()), "copy");
    return failed(cudaStreamSynchronize(cb_stream()), "copy");
}
int cb_send(void *device, const void *host, int64_t nbytes) {
    if (cb_recording) host = cb_graph_keep(host, nbytes);
    if (!host) return CB_ERR_MEMORY;
    /* pageable memory is staged by the driver before the call returns */
    return failed(cudaMemcpyAsync(device, host, (size_t)nbytes, cudaMemcpyHostToDevice, cb_stream()), "copy");
}
int cb_set_bytes(void *device, int byte, int64_t nbytes) {
    return failed(cudaMemsetAsync(device, byte, (size_t)nbytes, cb_stream()), "fill");
}

/* ---- devices and copies ---- */
static int count() { return devices; }
static int set_device(int index) {
    CB_TRY_CUDA(cudaSetDevice(index), "cuda");
    current = index;
    return CB_OK;
}
static int get_properties(int index, cb_device_properties *out) {
    const cudaDeviceProp &p = properties[index];
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "%s", p.name);
    int clock = 0, memory_clock = 0;
    cudaDeviceGetAttribute(&clock, cudaDevAttrClockRate, index);
    cudaDeviceGetAttribute(&memory_clock, cudaDevAttrMemoryClockRate, index);
    out->major = p.major;
    out->minor = p.minor;
    out->multiprocessors = p.multiProcessorCount;
    out->clock_khz = clock;
    out->memory_clock_khz = memory_clock;
    out->memory_bus_bits = p.memoryBusWidth;
    out->warp = p.warpSize;
    out->threads_per_block = p.maxThreadsPerBlock;
    out->threads_per_multiprocessor = p.maxThreadsPerMultiProcessor;
    out->registers_per_block = p.regsPerBlock;
    out->total_memory = (int64_t)p.totalGlobalMem;
    out->shared_per_block = (int64_t)p.sharedMemPerBlockOptin;
    out->shared_per_multiprocessor = (int64_t)p.sharedMemPerMultiprocessor;
    out->l2_cache = p.l2CacheSize;
    out->pci_bus = p.pciBusID;
    out->pci_device = p.pciDeviceID;
    return CB_OK;
}
static int copy(int kind_, int index, void *to, const void *from, int64_t nbytes, int queued) {
    static const cudaMemcpyKind kinds[] = {cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost,
                                           cudaMemcpyDeviceToDevice};
    if (kind_ != CB_COPY_ON_DEVICE) CB_NOT_IN_GRAPH("copy", "copies between host and device");
    CB_TRY_CUDA(cudaMemcpyAsync(to, from, (size_t)nbytes, kinds[kind_], streams[index]), "copy");
    if (kind_ == CB_COPY_TO_HOST || (kind_ == CB_COPY_TO_DEVICE && !queued))
        CB_TRY_CUDA(cudaStreamSynchronize(streams[index]), "copy");
    return kind_ == CB_COPY_TO_HOST ? cb_graph_faults() : CB_OK;
}
static int copy_between(int to_index, void *to, int from_index, const void *from, int64_t nbytes) {
    CB_NOT_IN_GRAPH("copy", "copies between devices");
    CB_TRY_CUDA(cudaStreamSynchronize(streams[from_index]), "copy");
    CB_TRY_CUDA(cudaMemcpyPeerAsync(to, to_index, from, from_index, (size_t)nbytes, streams[to_index]),
                "copy");
    return failed(cudaStreamSynchronize(streams[to_index]), "copy");
}
static void *pinned_alloc(int64_t nbytes) {
    void *data = nullptr;
    return failed(cudaHostAlloc(&data, (size_t)nbytes, cudaHostAllocPortable), "pin_memory") ? nullptr : data;
}
static void pinned_free(void *data) { cudaFreeHost(data); }

/* ---- streams and events ---- */
static int synchronize(int) {
    CB_NOT_IN_GRAPH("synchronize", "waits");
    CB_TRY_CUDA(cudaDeviceSynchronize(), "synchronize");
    return cb_graph_faults();
}
static int stream_new(int, int priority, void **out) {
    return failed(cudaStreamCreateWithPriority((cudaStream_t *)out, cudaStreamNonBlocking, priority),
                  "Stream");
}
static void stream_free(int index, void *stream) {
    cb_memory_leave(index, (cudaStream_t)stream);
    if (streams[index] == (cudaStream_t)stream) streams[index] = nullptr;
    cudaStreamDestroy((cudaStream_t)stream);
}
static int stream_set(int index, void *stream) {
    streams[index] = (cudaStream_t)stream;
    return CB_OK;
}
static void *stream_current(int index) { return (void *)streams[index]; }
static int stream_synchronize(int, void *stream) {
    CB_NOT_IN_GRAPH("synchronize", "waits");
    CB_TRY_CUDA(cudaStreamSynchronize((cudaStream_t)stream), "synchronize");
    return cb_graph_faults();
}
static int is_done(cudaError_t error, int *done, const char *op) {
    *done = error == cudaSuccess;
    if (error == cudaErrorNotReady) {
        cudaGetLastError();
        return CB_OK;
    }
    return failed(error, op);
}
static int stream_query(int, void *stream, int *done) {
    return is_done(cudaStreamQuery((cudaStream_t)stream), done, "query");
}
static int event_new(int, int timing, void **out) {
    return failed(
        cudaEventCreateWithFlags((cudaEvent_t *)out, timing ? cudaEventDefault : cudaEventDisableTiming),
        "Event");
}
static void event_free(int, void *event) { cudaEventDestroy((cudaEvent_t)event); }
static int event_record(int, void *event, void *stream) {
    return failed(cudaEventRecord((cudaEvent_t)event, (cudaStream_t)stream), "record");
}
static int event_query(int, void *event, int *done) {
    return is_done(cudaEventQuery((cudaEvent_t)event), done, "query");
}
static int event_synchronize(int, void *event) {
    return failed(cudaEventSynchronize((cudaEvent_t)event), "synchronize");
}
static int event_wait(int, void *event, void *stream) {
    return failed(cudaStreamWaitEvent((cudaStream_t)stream, (cudaEvent_t)event, 0), "wait");
}
static int event_elapsed(int, void *start, void *end, double *milliseconds) {
    float value = 0;
    CB_TRY_CUDA(cudaEventElapsedTime(&value, (cudaEvent_t)start, (cudaEvent_t)end), "elapsed_time");
    *milliseconds = value;
    return CB_OK;
}

bool cb_runtime_open(cb_device_api *api) {
    cudaError_t error = cudaGetDeviceCount(&devices);
    if (error != cudaSuccess) {
        cb_fail(CB_ERR_DEVICE, "no CUDA driver that can be used (%s)", cudaGetErrorString(error));
        return false;
    }
    if (devices > CB_MAX_DEVICES) devices = CB_MAX_DEVICES;
    for (int i = 0; i < devices; i++) cudaGetDeviceProperties(&properties[i], i);
#if defined(CB_EMULATE)
    api->name = "emulated";
#else
    api->name = "cuda";
#endif
    cb_memory_open(api);
    cb_graph_open(api);
#define CB_SET(member) api->member = member;
    CB_SET(count)
    CB_SET(set_device)
    api->properties = get_properties;
    CB_SET(copy)
    CB_SET(copy_between)
    CB_SET(pinned_alloc)
    CB_SET(pinned_free)
    CB_SET(synchronize)
    CB_SET(stream_new)
    CB_SET(stream_free)
    CB_SET(stream_set)
    CB_SET(stream_current)
    CB_SET(stream_synchronize)
    CB_SET(stream_query)
    CB_SET(event_new)
    CB_SET(event_free)
    CB_SET(event_record)
    CB_SET(event_query)
    CB_SET(event_synchronize)
    CB_SET(event_wait)
    CB_SET(event_elapsed)
    return true;
}
