/* The runtime on a GPU: devices, the caching allocator, copies, streams and events, over the CUDA runtime
 * (linked statically; it opens the driver itself, so the library loads on machines without one).
 *
 * The allocator keeps freed blocks by device, stream and size class. A block goes back to the list of the
 * stream that was current when it was made: work queued there comes later than what used the block before, so
 * no waiting is needed. Memory used on other streams must be kept until those have passed an event. */
#include <cuda_runtime.h>
#include <stdio.h>
#include <string.h>

#include <map>
#include <mutex>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "kernels.h"
#include "runtime.h"

enum { MAX_DEVICES = 64 };

static int devices;
static thread_local int current;
static thread_local cudaStream_t streams[MAX_DEVICES];
static cudaDeviceProp properties[MAX_DEVICES];

static int failed(cudaError_t error, const char *op) {
    if (error == cudaSuccess) return CB_OK;
    cudaGetLastError(); /* forgotten, where it can be */
    return cb_fail(error == cudaErrorMemoryAllocation ? CB_ERR_MEMORY : CB_ERR_INTERNAL,
                   "%s: expected the CUDA call to succeed, got %s (%s).", op, cudaGetErrorName(error),
                   cudaGetErrorString(error));
}
#define TRY_CUDA(call, op)              \
    do {                                \
        int status_ = failed(call, op); \
        if (status_) return status_;    \
    } while (0)

/* ---- what kernel families use ---- */
cudaStream_t cb_stream() { return streams[current]; }
int cb_current_device() { return current; }
int cb_multiprocessors() { return properties[current].multiProcessorCount; }
int64_t cb_shared_limit() { return (int64_t)properties[current].sharedMemPerBlockOptin; }
int cb_launched(const char *op) { return failed(cudaGetLastError(), op); }
int cb_read_back(void *host, const void *device, int64_t nbytes) {
    TRY_CUDA(cudaMemcpyAsync(host, device, (size_t)nbytes, cudaMemcpyDeviceToHost, cb_stream()), "copy");
    return failed(cudaStreamSynchronize(cb_stream()), "copy");
}
int cb_send(void *device, const void *host, int64_t nbytes) {
    /* pageable memory is staged by the driver before the call returns */
    return failed(cudaMemcpyAsync(device, host, (size_t)nbytes, cudaMemcpyHostToDevice, cb_stream()), "copy");
}
int cb_set_bytes(void *device, int byte, int64_t nbytes) {
    return failed(cudaMemsetAsync(device, byte, (size_t)nbytes, cb_stream()), "fill");
}

/* ---- the allocator ---- */
typedef std::tuple<int, cudaStream_t, int64_t> kind; /* device, stream, rounded size */
struct held {
    kind what;
    int64_t nbytes;
};
static std::mutex memory_lock;
static std::unordered_map<void *, held> live;
static std::map<kind, std::vector<void *>> cached;
static cb_memory_counts counts[MAX_DEVICES];

/* four classes a power of two, from 512 bytes */
static int64_t rounded(int64_t nbytes) {
    int64_t base = 512;
    while (base * 2 < nbytes) base *= 2;
    if (nbytes <= base) return base;
    int64_t quarter = base / 4;
    return base + (nbytes - base + quarter - 1) / quarter * quarter;
}

static void empty_locked(int device) {
    for (auto &entry : cached) {
        if (std::get<0>(entry.first) != device) continue;
        for (void *data : entry.second) {
            cudaFree(data);
            counts[device].reserved -= std::get<2>(entry.first);
        }
        entry.second.clear();
    }
}

static void *device_alloc(int device, int64_t nbytes) {
    std::lock_guard<std::mutex> guard(memory_lock);
    kind what(device, streams[device], rounded(nbytes));
    int64_t size = std::get<2>(what);
    void *data = nullptr;
    std::vector<void *> &list = cached[what];
    if (!list.empty()) {
        data = list.back();
        list.pop_back();
        counts[device].hits++;
    } else {
        cudaError_t error = cudaMalloc(&data, (size_t)size);
        if (error == cudaErrorMemoryAllocation) {
            cudaGetLastError();
            empty_locked(device);
            error = cudaMalloc(&data, (size_t)size);
        }
        if (error != cudaSuccess) {
            cudaGetLastError();
            size_t free = 0, total = 0;
            cudaMemGetInfo(&free, &total);
            cb_fail(CB_ERR_MEMORY,
                    "empty: expected %lld bytes of memory on cuda:%d, got a refusal (%s): %lld bytes are in "
                    "use by "
                    "tensors, %lld of %lld are free. Free tensors or use a smaller shape.",
                    (long long)nbytes, device, cudaGetErrorName(error), (long long)counts[device].allocated,
                    (long long)free, (long long)total);
            return nullptr;
        }
        counts[device].reserve(size);
    }
    counts[device].add(size);
    live[data] = held{what, size};
    return data;
}

static void device_free(int device, void *data) {
    std::lock_guard<std::mutex> guard(memory_lock);
    auto found = live.find(data);
    if (found == live.end()) return;
    counts[device].allocated -= found->second.nbytes;
    counts[device].frees++;
    cached[found->second.what].push_back(data);
    live.erase(found);
}

void *cb_device_alloc(int64_t nbytes) { return device_alloc(current, nbytes); }
void cb_device_free(void *data) { device_free(current, data); }

static int memory(int device, int64_t *numbers) {
    size_t free = 0, total = 0;
    {
        std::lock_guard<std::mutex> guard(memory_lock);
        counts[device].tell(numbers);
    }
    TRY_CUDA(cudaMemGetInfo(&free, &total), "mem_get_info");
    numbers[8] = (int64_t)free;
    numbers[9] = (int64_t)total;
    return CB_OK;
}
static void reset_peak(int device) {
    std::lock_guard<std::mutex> guard(memory_lock);
    counts[device].peak = counts[device].allocated;
    counts[device].reserved_peak = counts[device].reserved;
}
static void empty_cache(int device) {
    std::lock_guard<std::mutex> guard(memory_lock);
    cudaDeviceSynchronize();
    empty_locked(device);
}

/* ---- devices and copies ---- */
static int count() { return devices; }
static int set_device(int index) {
    TRY_CUDA(cudaSetDevice(index), "cuda");
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
    TRY_CUDA(cudaMemcpyAsync(to, from, (size_t)nbytes, kinds[kind_], streams[index]), "copy");
    if (kind_ == CB_COPY_TO_HOST || (kind_ == CB_COPY_TO_DEVICE && !queued))
        TRY_CUDA(cudaStreamSynchronize(streams[index]), "copy");
    return CB_OK;
}
static int copy_between(int to_index, void *to, int from_index, const void *from, int64_t nbytes) {
    TRY_CUDA(cudaStreamSynchronize(streams[from_index]), "copy");
    TRY_CUDA(cudaMemcpyPeerAsync(to, to_index, from, from_index, (size_t)nbytes, streams[to_index]), "copy");
    return failed(cudaStreamSynchronize(streams[to_index]), "copy");
}
static void *pinned_alloc(int64_t nbytes) {
    void *data = nullptr;
    return failed(cudaHostAlloc(&data, (size_t)nbytes, cudaHostAllocPortable), "pin_memory") ? nullptr : data;
}
static void pinned_free(void *data) { cudaFreeHost(data); }

/* ---- streams and events ---- */
static int synchronize(int) { return failed(cudaDeviceSynchronize(), "synchronize"); }
static int stream_new(int, int priority, void **out) {
    return failed(cudaStreamCreateWithPriority((cudaStream_t *)out, cudaStreamNonBlocking, priority),
                  "Stream");
}
/* Its cached blocks may be in use by queued work: they are given back to the driver, which waits. */
static void stream_free(int index, void *stream) {
    std::lock_guard<std::mutex> guard(memory_lock);
    cudaStreamSynchronize((cudaStream_t)stream);
    for (auto &entry : cached)
        if (std::get<0>(entry.first) == index && std::get<1>(entry.first) == (cudaStream_t)stream) {
            auto &target = cached[kind(index, nullptr, std::get<2>(entry.first))];
            target.insert(target.end(), entry.second.begin(), entry.second.end());
            entry.second.clear();
        }
    for (auto &entry : live)
        if (std::get<0>(entry.second.what) == index && std::get<1>(entry.second.what) == (cudaStream_t)stream)
            std::get<1>(entry.second.what) = nullptr;
    if (streams[index] == (cudaStream_t)stream) streams[index] = nullptr;
    cudaStreamDestroy((cudaStream_t)stream);
}
static int stream_set(int index, void *stream) {
    streams[index] = (cudaStream_t)stream;
    return CB_OK;
}
static void *stream_current(int index) { return (void *)streams[index]; }
static int stream_synchronize(int, void *stream) {
    return failed(cudaStreamSynchronize((cudaStream_t)stream), "synchronize");
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
    TRY_CUDA(cudaEventElapsedTime(&value, (cudaEvent_t)start, (cudaEvent_t)end), "elapsed_time");
    *milliseconds = value;
    return CB_OK;
}

bool cb_runtime_open(cb_device_api *api) {
    cudaError_t error = cudaGetDeviceCount(&devices);
    if (error != cudaSuccess) {
        cb_fail(CB_ERR_DEVICE, "no CUDA driver that can be used (%s)", cudaGetErrorString(error));
        return false;
    }
    if (devices > MAX_DEVICES) devices = MAX_DEVICES;
    for (int i = 0; i < devices; i++) cudaGetDeviceProperties(&properties[i], i);
    api->name = "cuda";
#define CB_SET(member) api->member = member;
    CB_SET(count)
    CB_SET(set_device)
    api->properties = get_properties;
    api->alloc = device_alloc;
    api->free = device_free;
    CB_SET(memory)
    CB_SET(reset_peak)
    CB_SET(empty_cache)
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
