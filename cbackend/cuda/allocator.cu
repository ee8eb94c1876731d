/* The caching allocator. It keeps freed blocks by device, stream and size class. A block goes back to the
 * list of the stream that was current when it was made: work queued there comes later than what used the
 * block before, so no waiting is needed. Memory that other streams use is either ordered by events, or has
 * those streams noted (record_stream): it then waits for events on them before it is handed out again.
 *
 * While a thread records a graph its blocks come from, and go back to, the graph's pool: the addresses are
 * the graph's until it is dissolved.
 *
 * Emulated, sizes are those asked for and nothing is used twice, so that accesses outside of blocks and to
 * freed ones are found; FL_EMULATE_REUSE=1 makes it as on a GPU. */
#include <stdlib.h>

#include <list>
#include <map>
#include <mutex>
#include <set>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "runtime.h"

typedef std::tuple<int, cudaStream_t, int64_t> kind; /* device, stream, rounded size */
struct cb_memory_pool {
    cudaStream_t stream;
    std::map<kind, std::vector<void *>> spare;
};
struct block {
    kind what;
    cb_memory_pool *pool;
    std::set<cudaStream_t> readers; /* other streams that use it */
};
struct waiting {
    void *data;
    kind what;
    std::vector<cudaEvent_t> events;
};
struct numbers_of {
    int64_t allocated, peak, reserved, reserved_peak, allocations, frees, hits, driver_calls;
};

static std::mutex lock;
static std::unordered_map<void *, block> live;
static std::map<kind, std::vector<void *>> cached;
static std::list<waiting> held_back;
static numbers_of counts[CB_MAX_DEVICES];

static bool reuses() {
#if defined(CB_EMULATE)
    static const bool asked = getenv("FL_EMULATE_REUSE") && atoi(getenv("FL_EMULATE_REUSE"));
    return asked;
#else
    return true;
#endif
}

/* four classes a power of two, from 512 bytes */
static int64_t rounded(int64_t nbytes) {
    if (!reuses()) return nbytes;
    int64_t base = 512;
    while (base * 2 < nbytes) base *= 2;
    if (nbytes <= base) return base;
    int64_t quarter = base / 4;
    return base + (nbytes - base + quarter - 1) / quarter * quarter;
}

static void give_back(void *data, const kind &what) {
    cudaFree(data);
    counts[std::get<0>(what)].reserved -= std::get<2>(what);
}
static void keep(void *data, const kind &what) {
    if (reuses())
        cached[what].push_back(data);
    else
        give_back(data, what);
}

/* blocks whose readers are done become free; with `all` they are waited for */
static void collect(bool all) {
    for (auto w = held_back.begin(); w != held_back.end();) {
        while (!w->events.empty()) {
            cudaEvent_t event = w->events.back();
            if (all)
                cudaEventSynchronize(event);
            else if (cudaEventQuery(event) == cudaErrorNotReady)
                break;
            cudaEventDestroy(event);
            w->events.pop_back();
        }
        if (w->events.empty()) {
            keep(w->data, w->what);
            w = held_back.erase(w);
        } else {
            ++w;
        }
    }
    cudaGetLastError(); /* not ready is no error */
}

static void empty(int device) {
    collect(true);
    for (auto &entry : cached) {
        if (std::get<0>(entry.first) != device) continue;
        for (void *data : entry.second) give_back(data, entry.first);
        entry.second.clear();
    }
}

static void *taken(std::vector<void *> &list) {
    if (list.empty()) return nullptr;
    void *data = list.back();
    list.pop_back();
    return data;
}

static void *device_alloc(int device, int64_t nbytes) {
    std::lock_guard<std::mutex> guard(lock);
    cb_memory_pool *pool = cb_recording ? cb_graph_pool(cb_recording) : nullptr;
    kind what(device, pool ? pool->stream : cb_stream_of(device), rounded(nbytes));
    int64_t size = std::get<2>(what);
    numbers_of &count = counts[device];
    if (!pool && !held_back.empty()) collect(false);
    void *data = pool && reuses() ? taken(pool->spare[what]) : nullptr;
    if (!data) data = taken(cached[what]);
    if (data) {
        count.hits++;
    } else {
        cb_relaxed allowed;
        cudaError_t error = cudaMalloc(&data, (size_t)size);
        if (error == cudaErrorMemoryAllocation && !pool) {
            cudaGetLastError();
            empty(device);
            error = cudaMalloc(&data, (size_t)size);
        }
        if (error != cudaSuccess) {
            cudaGetLastError();
            size_t free = 0, total = 0;
            cudaMemGetInfo(&free, &total);
            cb_fail(CB_ERR_MEMORY,
                    "empty: expected %lld bytes of memory on cuda:%d, got a refusal (%s): %lld bytes are in "
                    "use by tensors, %lld of %lld are free. Free tensors or use a smaller shape.",
                    (long long)nbytes, device, cudaGetErrorName(error), (long long)count.allocated,
                    (long long)free, (long long)total);
            return nullptr;
        }
        count.driver_calls++;
        count.reserved += size;
        if (count.reserved > count.reserved_peak) count.reserved_peak = count.reserved;
    }
    count.allocations++;
    count.allocated += size;
    if (count.allocated > count.peak) count.peak = count.allocated;
    live[data] = block{what, pool, {}};
    return data;
}

static void device_free(int device, void *data) {
    std::lock_guard<std::mutex> guard(lock);
    auto found = live.find(data);
    if (found == live.end()) return;
    block b = std::move(found->second);
    live.erase(found);
    counts[device].allocated -= std::get<2>(b.what);
    counts[device].frees++;
    if (b.pool) {
        b.pool->spare[b.what].push_back(data);
    } else if (b.readers.empty()) {
        keep(data, b.what);
    } else {
        waiting w = {data, b.what, {}};
        for (cudaStream_t s : b.readers) {
            cudaEvent_t event;
            if (cudaEventCreateWithFlags(&event, cudaEventDisableTiming) == cudaSuccess) {
                cudaEventRecord(event, s);
                w.events.push_back(event);
            } else {
                cudaStreamSynchronize(s);
            }
        }
        held_back.push_back(std::move(w));
    }
}

static int record_stream(int, void *data, void *stream) {
    std::lock_guard<std::mutex> guard(lock);
    auto found = live.find(data);
    if (found != live.end() && std::get<1>(found->second.what) != (cudaStream_t)stream)
        found->second.readers.insert((cudaStream_t)stream);
    return CB_OK;
}

void *cb_device_alloc(int64_t nbytes) { return device_alloc(cb_current_device(), nbytes); }
void cb_device_free(void *data) { device_free(cb_current_device(), data); }

void cb_memory_leave(int device, cudaStream_t stream) {
    std::lock_guard<std::mutex> guard(lock);
    cudaStreamSynchronize(stream);
    collect(false);
    for (auto &entry : cached)
        if (std::get<0>(entry.first) == device && std::get<1>(entry.first) == stream) {
            auto &target = cached[kind(device, nullptr, std::get<2>(entry.first))];
            target.insert(target.end(), entry.second.begin(), entry.second.end());
            entry.second.clear();
        }
    for (auto &entry : live) {
        entry.second.readers.erase(stream);
        if (std::get<0>(entry.second.what) == device && std::get<1>(entry.second.what) == stream)
            std::get<1>(entry.second.what) = nullptr;
    }
}

cb_memory_pool *cb_pool_new(cudaStream_t stream) { return new cb_memory_pool{stream, {}}; }

void cb_pool_dissolve(cb_memory_pool *pool) {
    std::lock_guard<std::mutex> guard(lock);
    for (auto &entry : live)
        if (entry.second.pool == pool) entry.second.pool = nullptr;
    for (auto &entry : pool->spare)
        for (void *data : entry.second) keep(data, entry.first);
    delete pool;
}

static int memory(int device, int64_t *numbers) {
    size_t free = 0, total = 0;
    {
        std::lock_guard<std::mutex> guard(lock);
        memcpy(numbers, &counts[device], sizeof counts[device]);
    }
    CB_TRY_CUDA(cudaMemGetInfo(&free, &total), "mem_get_info");
    numbers[8] = (int64_t)free;
    numbers[9] = (int64_t)total;
    return CB_OK;
}
static void reset_peak(int device) {
    std::lock_guard<std::mutex> guard(lock);
    counts[device].peak = counts[device].allocated;
    counts[device].reserved_peak = counts[device].reserved;
}
static void empty_cache(int device) {
    std::lock_guard<std::mutex> guard(lock);
    cudaDeviceSynchronize();
    empty(device);
}

void cb_memory_open(cb_device_api *api) {
    api->alloc = device_alloc;
    api->free = device_free;
    api->record_stream = record_stream;
    api->memory = memory;
    api->reset_peak = reset_peak;
    api->empty_cache = empty_cache;
}
