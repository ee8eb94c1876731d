/* The emulated CUDA runtime (emulate_api.h): one device, or as many as FL_EMULATED_DEVICES says. */
#include "emulate_api.h"

#include <dlfcn.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "emulate_memory.h"

enum { TOTAL = 1 << 30, MAX_DEVICES = 16 };

struct cb_emulated_graph {
    std::vector<std::function<void()>> work;
};
struct cb_emulated_stream {
    cb_emulated_graph *recorded; /* NULL: work is done at once */
    bool spoilt, stalled;
};
struct cb_emulated_event {
    double when; /* it was recorded, in milliseconds; 0 never */
    cudaStream_t on;
};

static std::mutex lock;
struct held {
    int device;
    size_t nbytes;
};
static std::map<void *, held> allocations;
static std::map<void *, size_t> pinned;
static size_t allocated[MAX_DEVICES];
static thread_local int current;
static thread_local cudaStream_t recording; /* of this thread */
static thread_local cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
static thread_local std::string trouble; /* behind the last error */

/* ---- errors ---- */
cudaError_t cudaGetLastError() {
    std::string report = cb_emulate_take_error();
    if (report.empty()) return cudaSuccess;
    trouble = report;
    return cudaErrorLaunchFailure;
}
const char *cudaGetErrorName(cudaError_t error) {
    static const char *const names[] = {"cudaSuccess",
                                        "cudaErrorInvalidValue",
                                        "cudaErrorMemoryAllocation",
                                        "cudaErrorNotReady",
                                        "cudaErrorLaunchFailure",
                                        "cudaErrorStreamCaptureUnsupported",
                                        "cudaErrorStreamCaptureInvalidated",
                                        "cudaErrorIllegalState"};
    return names[error];
}
const char *cudaGetErrorString(cudaError_t error) {
    return error == cudaErrorLaunchFailure || error == cudaErrorInvalidValue ? trouble.c_str() : "emulated";
}

/* ---- recording ---- */
bool cb_emulated_recording(cudaStream_t s) { return s && s->recorded; }
void cb_emulated_record(cudaStream_t s, std::function<void()> work) {
    s->recorded->work.push_back(std::move(work));
}
/* something that a recording thread may not do; always, or unless the mode is relaxed */
static bool forbidden(bool always) {
    if (!recording || (!always && mode == cudaStreamCaptureModeRelaxed)) return false;
    recording->spoilt = true;
    return true;
}
#define NOT_WHILE_RECORDING(always) \
    if (forbidden(always)) return cudaErrorStreamCaptureUnsupported

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode *other) {
    std::swap(mode, *other);
    return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode how) {
    if (!s) return cudaErrorStreamCaptureUnsupported; /* the default stream cannot be recorded */
    if (s->recorded || recording || how != cudaStreamCaptureModeThreadLocal) return cudaErrorIllegalState;
    s->recorded = new cb_emulated_graph;
    s->spoilt = false;
    recording = s;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *graph) {
    *graph = nullptr;
    if (!s || s != recording) return cudaErrorIllegalState;
    if (s->spoilt)
        delete s->recorded;
    else
        *graph = s->recorded;
    s->recorded = nullptr;
    recording = nullptr;
    return s->spoilt ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long) {
    NOT_WHILE_RECORDING(false);
    *exec = new cb_emulated_graph(*graph);
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s) {
    if (cb_emulated_recording(s)) return forbidden(true), cudaErrorStreamCaptureUnsupported;
    for (auto &work : exec->work) work();
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return delete graph, cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) { return delete exec, cudaSuccess; }

/* ---- the device ---- */
cudaError_t cudaGetDeviceCount(int *count) {
    const char *given = getenv("FL_EMULATED_DEVICES");
    int n = given ? atoi(given) : 1;
    *count = n < 1 ? 1 : n < MAX_DEVICES ? n : MAX_DEVICES;
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
    int count;
    cudaGetDeviceCount(&count);
    if (device < 0 || device >= count) return cudaErrorInvalidValue;
    current = device;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr, int) { return *value = 0, cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device) {
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "emulated device");
    p->major = 8;
    p->multiProcessorCount = 4;
    p->warpSize = 32;
    p->maxThreadsPerBlock = 1024;
    p->maxThreadsPerMultiProcessor = 2048;
    p->regsPerBlock = 65536;
    p->totalGlobalMem = TOTAL;
    p->sharedMemPerBlockOptin = CB_EMULATED_SHARED;
    p->sharedMemPerMultiprocessor = 228 << 10;
    p->l2CacheSize = 1 << 20;
    p->pciBusID = device + 1;
    return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
    NOT_WHILE_RECORDING(true);
    return cudaSuccess;
}

/* ---- memory ---- */
cudaError_t cudaMalloc(void **data, size_t nbytes) {
    NOT_WHILE_RECORDING(false);
    std::lock_guard<std::mutex> guard(lock);
    *data = allocated[current] + nbytes <= TOTAL ? cb_emulated_memory_new(nbytes) : nullptr;
    if (!*data) return cudaErrorMemoryAllocation;
    allocated[current] += nbytes;
    allocations[*data] = {current, nbytes};
    return cudaSuccess;
}
cudaError_t cudaFree(void *data) {
    NOT_WHILE_RECORDING(false);
    std::lock_guard<std::mutex> guard(lock);
    held h = allocations[data];
    allocated[h.device] -= h.nbytes;
    allocations.erase(data);
    cb_emulated_memory_free(data);
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t *free, size_t *total) {
    std::lock_guard<std::mutex> guard(lock);
    *free = TOTAL - allocated[current];
    *total = TOTAL;
    return cudaSuccess;
}
cudaError_t cudaHostAlloc(void **data, size_t nbytes, unsigned) {
    NOT_WHILE_RECORDING(false);
    std::lock_guard<std::mutex> guard(lock);
    *data = malloc(nbytes);
    pinned[*data] = nbytes;
    return *data ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFreeHost(void *data) {
    std::lock_guard<std::mutex> guard(lock);
    pinned.erase(data);
    free(data);
    return cudaSuccess;
}
static bool is_pinned(const void *data, size_t nbytes) {
    std::lock_guard<std::mutex> guard(lock);
    auto after = pinned.upper_bound(const_cast<void *>(data));
    if (after == pinned.begin()) return false;
    auto found = std::prev(after);
    return (const char *)data + nbytes <= (const char *)found->first + found->second;
}

static cudaError_t move(void *to, const void *from, size_t nbytes, cudaMemcpyKind kind) {
    bool to_device = kind != cudaMemcpyDeviceToHost, from_device = kind != cudaMemcpyHostToDevice;
    if (nbytes == 0) return cudaSuccess;
    if ((to_device && !cb_emulated_memory_open(to, nbytes, true)) ||
        (from_device && !cb_emulated_memory_open(from, nbytes, true))) {
        trouble = "a copy's addresses do not lie within one allocation of device memory";
        return cudaErrorInvalidValue;
    }
    memmove(to, from, nbytes);
    if (to_device) cb_emulated_memory_open(to, nbytes, false);
    if (from_device) cb_emulated_memory_open(from, nbytes, false);
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t nbytes, cudaMemcpyKind kind, cudaStream_t s) {
    if (!cb_emulated_recording(s)) return move(to, from, nbytes, kind);
    bool pageable = (kind == cudaMemcpyHostToDevice && !is_pinned(from, nbytes)) ||
                    (kind == cudaMemcpyDeviceToHost && !is_pinned(to, nbytes));
    if (pageable) NOT_WHILE_RECORDING(true);
    cb_emulated_record(s, [=] {
        if (move(to, from, nbytes, kind)) cb_emulate_note(trouble);
    });
    return cudaSuccess;
}
cudaError_t cudaMemcpyPeerAsync(void *to, int, const void *from, int, size_t nbytes, cudaStream_t s) {
    return cudaMemcpyAsync(to, from, nbytes, cudaMemcpyDeviceToDevice, s);
}
static cudaError_t set_bytes(void *data, int byte, size_t nbytes) {
    if (nbytes == 0) return cudaSuccess;
    if (!cb_emulated_memory_open(data, nbytes, true)) {
        trouble = "a fill's addresses do not lie within one allocation of device memory";
        return cudaErrorInvalidValue;
    }
    memset(data, byte, nbytes);
    cb_emulated_memory_open(data, nbytes, false);
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void *data, int byte, size_t nbytes, cudaStream_t s) {
    if (!cb_emulated_recording(s)) return set_bytes(data, byte, nbytes);
    cb_emulated_record(s, [=] {
        if (set_bytes(data, byte, nbytes)) cb_emulate_note(trouble);
    });
    return cudaSuccess;
}

/* ---- streams and events: an event is the time at which it was recorded ---- */
static double milliseconds_now() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned) {
    return *s = new cb_emulated_stream(), cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int) {
    return cudaStreamCreateWithFlags(s, flags);
}
cudaError_t cudaStreamDestroy(cudaStream_t s) { return delete s, cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
    if (cb_emulated_recording(s)) return s->spoilt = true, cudaErrorStreamCaptureUnsupported;
    NOT_WHILE_RECORDING(false);
    return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t s) { return cudaStreamSynchronize(s); }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) {
    return *event = new cb_emulated_event(), cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete event, cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t s) {
    event->when = milliseconds_now();
    event->on = s;
    return cudaSuccess;
}
void cb_emulated_stall(cudaStream_t s, bool stalled) { s->stalled = stalled; }
cudaError_t cudaEventQuery(cudaEvent_t event) {
    NOT_WHILE_RECORDING(false);
    return event->on && event->on->stalled ? cudaErrorNotReady : cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
    NOT_WHILE_RECORDING(true);
    return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end) {
    if (start->when == 0 || end->when == 0) {
        trouble = "expected events that were recorded";
        return cudaErrorInvalidValue;
    }
    *milliseconds = (float)(end->when - start->when);
    return cudaSuccess;
}

/* ---- the driver ---- */
struct emulated_function {
    std::string name;
    void (*body)(void *);
    size_t size;
};

int cuModuleLoadDataEx(void **module, const void *image, unsigned, void *, void *) {
    NOT_WHILE_RECORDING(false);
    const Elf64_Ehdr *elf = static_cast<const Elf64_Ehdr *>(image);
    if (memcmp(elf->e_ident, ELFMAG, SELFMAG)) return cudaErrorInvalidValue;
    size_t nbytes = elf->e_shoff + (size_t)elf->e_shnum * elf->e_shentsize; /* the table at its end */
    char path[] = "/tmp/functorch_like_module_XXXXXX";
    int file = mkstemp(path);
    bool written = file >= 0 && write(file, image, nbytes) == (ssize_t)nbytes;
    if (file >= 0) close(file);
    *module = written ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
    if (!*module && written) trouble = dlerror();
    if (file >= 0) unlink(path);
    return *module ? cudaSuccess : cudaErrorInvalidValue;
}
int cuModuleGetFunction(void **function, void *module, const char *name) {
    std::string n = name;
    void *body = dlsym(module, (n + "_emulated").c_str()), *size = dlsym(module, (n + "_size").c_str());
    if (!body || !size) return cudaErrorInvalidValue;
    *function =
        new emulated_function{n, reinterpret_cast<void (*)(void *)>(body), *static_cast<size_t *>(size)};
    return cudaSuccess;
}
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                   unsigned bz, unsigned shared, cudaStream_t s, void **arguments, void **) {
    auto *f = static_cast<emulated_function *>(function);
    std::vector<char> held((char *)arguments[0], (char *)arguments[0] + f->size);
    cb_emulate_run(s, f->name.c_str(), dim3(gx, gy, gz), dim3(bx, by, bz), shared, f->body, held.data(),
                   f->size);
    return cudaSuccess;
}
