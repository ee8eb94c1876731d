/* The runtime of the emulated library: one device, or as many as FL_EMULATED_DEVICES says, memory in guarded
 * pages without reuse (so that stale pointers are found), streams and events that are done at once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <map>
#include <mutex>

#include "emulate_memory.h"
#include "kernels.h"
#include "runtime.h"

enum { TOTAL = 1 << 30, MAX_DEVICES = 16 };

struct held {
    int device;
    int64_t nbytes;
};
static std::mutex lock;
static std::map<void *, held> live;
static cb_memory_counts counts[MAX_DEVICES];
static thread_local int current;
static thread_local void *streams[MAX_DEVICES];

cudaStream_t cb_stream() { return streams[current]; }
int cb_current_device() { return current; }
int cb_multiprocessors() { return 4; }
int64_t cb_shared_limit() { return CB_EMULATED_SHARED; }
int cb_launched(const char *op) {
    std::string text = cb_emulate_take_error();
    return text.empty() ? CB_OK : cb_fail(CB_ERR_INTERNAL, "%s: %s.", op, text.c_str());
}

static int move(void *to, const void *from, int64_t nbytes, bool to_device, bool from_device) {
    if (nbytes <= 0) return CB_OK;
    if ((to_device && !cb_emulated_memory_open(to, (size_t)nbytes, true)) ||
        (from_device && !cb_emulated_memory_open(from, (size_t)nbytes, true)))
        return cb_fail(CB_ERR_INTERNAL, "copy: expected addresses within one allocation of device memory.");
    memmove(to, from, (size_t)nbytes);
    if (to_device) cb_emulated_memory_open(to, (size_t)nbytes, false);
    if (from_device) cb_emulated_memory_open(from, (size_t)nbytes, false);
    return CB_OK;
}
int cb_read_back(void *host, const void *device, int64_t nbytes) {
    return move(host, device, nbytes, false, true);
}
int cb_send(void *device, const void *host, int64_t nbytes) {
    return move(device, host, nbytes, true, false);
}
int cb_set_bytes(void *device, int byte, int64_t nbytes) {
    if (nbytes <= 0) return CB_OK;
    if (!cb_emulated_memory_open(device, (size_t)nbytes, true))
        return cb_fail(CB_ERR_INTERNAL, "fill: expected addresses within one allocation of device memory.");
    memset(device, byte, (size_t)nbytes);
    cb_emulated_memory_open(device, (size_t)nbytes, false);
    return CB_OK;
}

static void *alloc(int index, int64_t nbytes) {
    std::lock_guard<std::mutex> guard(lock);
    cb_memory_counts &c = counts[index];
    void *data = c.allocated + nbytes <= TOTAL ? cb_emulated_memory_new((size_t)nbytes) : nullptr;
    if (!data) {
        cb_fail(CB_ERR_MEMORY,
                "empty: expected %lld bytes of memory on cuda:%d, got a refusal: %lld bytes are in use by "
                "tensors. Free "
                "tensors or use a smaller shape.",
                (long long)nbytes, index, (long long)c.allocated);
        return nullptr;
    }
    c.reserve(nbytes);
    c.add(nbytes);
    live[data] = {index, nbytes};
    return data;
}
void *cb_device_alloc(int64_t nbytes) { return alloc(current, nbytes); }
void cb_device_free(void *data) {
    std::lock_guard<std::mutex> guard(lock);
    held h = live[data];
    counts[h.device].allocated -= h.nbytes;
    counts[h.device].reserved -= h.nbytes;
    counts[h.device].frees++;
    live.erase(data);
    cb_emulated_memory_free(data);
}

static int count() {
    const char *given = getenv("FL_EMULATED_DEVICES");
    int n = given ? atoi(given) : 1;
    return n < 1 ? 1 : n < MAX_DEVICES ? n : MAX_DEVICES;
}
static int set_device(int index) {
    current = index;
    return CB_OK;
}
static int get_properties(int index, cb_device_properties *out) {
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "emulated device");
    out->major = 8;
    out->multiprocessors = cb_multiprocessors();
    out->warp = 32;
    out->threads_per_block = 1024;
    out->threads_per_multiprocessor = 2048;
    out->registers_per_block = 65536;
    out->total_memory = TOTAL;
    out->shared_per_block = CB_EMULATED_SHARED;
    out->shared_per_multiprocessor = 228 << 10;
    out->l2_cache = 1 << 20;
    out->pci_bus = index + 1;
    return CB_OK;
}
static void free_(int, void *data) { cb_device_free(data); }
static int memory(int index, int64_t *numbers) {
    std::lock_guard<std::mutex> guard(lock);
    counts[index].tell(numbers);
    numbers[8] = TOTAL - counts[index].allocated;
    numbers[9] = TOTAL;
    return CB_OK;
}
static void reset_peak(int index) {
    std::lock_guard<std::mutex> guard(lock);
    counts[index].peak = counts[index].allocated;
    counts[index].reserved_peak = counts[index].reserved;
}
static void empty_cache(int) {}
static int copy(int kind, int, void *to, const void *from, int64_t nbytes, int) {
    return move(to, from, nbytes, kind != CB_COPY_TO_HOST, kind != CB_COPY_TO_DEVICE);
}
static int copy_between(int, void *to, int, const void *from, int64_t nbytes) {
    return move(to, from, nbytes, true, true);
}
static void *pinned_alloc(int64_t nbytes) { return malloc((size_t)nbytes); }
static void pinned_free(void *data) { free(data); }

/* an event is the time at which it was recorded */
static double milliseconds_now() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}
static int synchronize(int) { return CB_OK; }
static int stream_new(int, int, void **out) { return (*out = malloc(1)) ? CB_OK : CB_ERR_MEMORY; }
static void stream_free(int index, void *stream) {
    if (streams[index] == stream) streams[index] = nullptr;
    free(stream);
}
static int stream_set(int index, void *stream) {
    streams[index] = stream;
    return CB_OK;
}
static void *stream_current(int index) { return streams[index]; }
static int stream_synchronize(int, void *) { return CB_OK; }
static int stream_query(int, void *, int *done) {
    *done = 1;
    return CB_OK;
}
static int event_new(int, int, void **out) {
    *out = calloc(1, sizeof(double));
    return *out ? CB_OK : CB_ERR_MEMORY;
}
static void event_free(int, void *event) { free(event); }
static int event_record(int, void *event, void *) {
    *(double *)event = milliseconds_now();
    return CB_OK;
}
static int event_query(int, void *, int *done) {
    *done = 1;
    return CB_OK;
}
static int event_synchronize(int, void *) { return CB_OK; }
static int event_wait(int, void *, void *) { return CB_OK; }
static int event_elapsed(int, void *start, void *end, double *milliseconds) {
    if (*(double *)start == 0 || *(double *)end == 0)
        return cb_fail(CB_ERR_VALUE,
                       "elapsed_time: expected events that were recorded. Call record() first.");
    *milliseconds = *(double *)end - *(double *)start;
    return CB_OK;
}

bool cb_runtime_open(cb_device_api *api) {
    *api = {};
    api->name = "emulated";
    api->properties = get_properties;
    api->alloc = alloc;
    api->free = free_;
#define CB_SET(member) api->member = member;
    CB_SET(count)
    CB_SET(set_device)
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
