/* Graphs: what a thread queues between begin and end is recorded on a stream of its own and launched later as
 * one, any number of times.
 *
 * A graph has a few words of device memory, its state, that each launch sets before anything runs: where the
 * random generator stands, then whatever the core put there. Checks of indices and labels cannot be waited
 * for while recording; they leave what they find in memory that the host sees, and the next wait for the
 * device, or launch of the graph, raises the error. Kernels take such places for 0 (cb_safe_index), so
 * nothing outside of a tensor is touched. */
#include <stdarg.h>
#include <stdio.h>

#include <mutex>
#include <string>
#include <vector>

#include "runtime.h"

enum { MOST_CHECKS = 64, WORDS_AT_ONCE = 60 };

struct cb_graph {
    int device;
    cudaStream_t own; /* recorded on; NULL afterwards */
    cudaStream_t before; /* what was the thread's current one */
    cudaGraphExec_t exec;
    cb_memory_pool *pool;
    uint64_t *state; /* on the device */
    uint64_t seed, offset; /* while recording */
    bool refused;
    std::vector<void *> kept; /* host memory that recorded copies read */
    volatile unsigned long long *found; /* by check: ~0, or the place that is wrong */
    std::vector<std::string> checks; /* what to raise */
};

thread_local cb_graph *cb_recording;

static std::mutex lock;
static std::vector<cb_graph *> checked; /* the graphs with checks */

cb_memory_pool *cb_graph_pool(cb_graph *g) { return g->pool; }

int cb_graph_refuse(const char *op, const char *does) {
    cb_recording->refused = true;
    return cb_fail(CB_ERR_UNSUPPORTED, "%s %s", op, does);
}

static void *pinned(int64_t nbytes) {
    void *data = nullptr;
    cb_relaxed allowed;
    return cb_cuda_failed(cudaHostAlloc(&data, (size_t)nbytes, cudaHostAllocPortable | cudaHostAllocMapped),
                          "graph")
               ? nullptr
               : data;
}

const void *cb_graph_keep(const void *host, int64_t nbytes) {
    void *copy = pinned(nbytes);
    if (!copy) return nullptr;
    memcpy(copy, host, (size_t)nbytes);
    cb_recording->kept.push_back(copy);
    return copy;
}

/* ---- the state ---- */
struct words_at_once {
    uint64_t value[WORDS_AT_ONCE];
};
__global__ void set_words(uint64_t *to, int n, words_at_once words) {
    if ((int)threadIdx.x < n) to[threadIdx.x] = words.value[threadIdx.x];
}

static int set_state(const cb_graph *g, int count, const uint64_t *words) {
    for (int first = 0; first < count; first += WORDS_AT_ONCE) {
        int n = count - first < WORDS_AT_ONCE ? count - first : (int)WORDS_AT_ONCE;
        words_at_once some = {};
        memcpy(some.value, words + first, (size_t)n * sizeof *words);
        CB_LAUNCH(set_words, 1, 64, 0, cb_stream_of(g->device), g->state + first, n, some);
    }
    return cb_launched("graph");
}

const uint64_t *cb_draw_state(uint64_t *seed, uint64_t *offset) {
    if (!cb_recording) return nullptr;
    *seed -= cb_recording->seed;
    *offset -= cb_recording->offset;
    return cb_recording->state;
}

/* ---- checks ---- */
__global__ void tell(const unsigned long long *bad, volatile unsigned long long *found) {
    if (*bad != ~0ull) *found = *bad;
}

bool cb_is_recording_graph() { return cb_recording != nullptr; }

int cb_check_later(const unsigned long long *bad, const char *format, ...) {
    cb_graph *g = cb_recording;
    char text[500];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!g->found) {
        void *room = pinned(MOST_CHECKS * sizeof *g->found);
        if (!room) return CB_ERR_MEMORY;
        memset(room, 255, MOST_CHECKS * sizeof *g->found);
        g->found = (volatile unsigned long long *)room;
    }
    if (g->checks.size() == MOST_CHECKS) return cb_graph_refuse("it", "checks more than 64 index tensors");
    CB_LAUNCH(tell, 1, 1, 0, cb_stream(), bad, g->found + g->checks.size());
    g->checks.push_back(text);
    return cb_launched("graph");
}

static int faults_of(cb_graph *g) {
    for (size_t k = 0; k < g->checks.size(); k++) {
        unsigned long long place = g->found[k];
        if (place == ~0ull) continue;
        g->found[k] = ~0ull;
        return cb_fail(CB_ERR_INDEX,
                       "%s, got another one at place %llu, in an earlier run of a compiled function that is "
                       "replayed as a CUDA graph. cuda.use_graphs(False) finds it in its own run.",
                       g->checks[k].c_str(), place);
    }
    return CB_OK;
}

int cb_graph_faults() {
    std::lock_guard<std::mutex> guard(lock);
    int status = CB_OK;
    for (cb_graph *g : checked)
        if (!status) status = faults_of(g);
    return status;
}

/* ---- what the core calls ---- */
static void graph_free(cb_graph *g) {
    {
        std::lock_guard<std::mutex> guard(lock);
        for (size_t i = 0; i < checked.size(); i++)
            if (checked[i] == g) checked.erase(checked.begin() + (ptrdiff_t)i--);
    }
    /* a running graph lives until it is done, but its copies read memory that goes now */
    if (!g->kept.empty() || g->found) cudaDeviceSynchronize();
    if (g->exec) cudaGraphExecDestroy(g->exec);
    for (void *data : g->kept) cudaFreeHost(data);
    if (g->found) cudaFreeHost((void *)g->found);
    if (g->pool) cb_pool_dissolve(g->pool);
    if (g->state) cb_device_free(g->state);
    delete g;
}

static int graph_begin(int index, int words, const uint64_t *now, cb_graph **out, void **state) {
    cb_graph *g = *out = new cb_graph();
    g->device = index;
    g->seed = now[0];
    g->offset = now[1];
    g->before = cb_stream_of(index);
    g->state = static_cast<uint64_t *>(cb_device_alloc((int64_t)sizeof(uint64_t) * words));
    *state = g->state;
    int status = g->state ? CB_OK : (int)CB_ERR_MEMORY;
    if (!status) status = cb_cuda_failed(cudaStreamCreateWithFlags(&g->own, cudaStreamNonBlocking), "graph");
    if (!status)
        status = cb_cuda_failed(cudaStreamBeginCapture(g->own, cudaStreamCaptureModeThreadLocal), "graph");
    if (status) {
        if (g->own) cudaStreamDestroy(g->own);
        graph_free(g);
        *out = nullptr;
        return status;
    }
    g->pool = cb_pool_new(g->before);
    cb_set_stream_of(index, g->own);
    cb_recording = g;
    return CB_OK;
}

static int graph_end(cb_graph *g) {
    cudaGraph_t graph = nullptr;
    cb_recording = nullptr;
    cb_set_stream_of(g->device, g->before);
    cudaError_t error = cudaStreamEndCapture(g->own, &graph);
    cudaStreamDestroy(g->own);
    g->own = nullptr;
    int status = CB_OK;
    if (g->refused)
        status = CB_ERR_UNSUPPORTED; /* the text is set */
    else
        status = cb_cuda_failed(error, "graph");
    if (!status) status = cb_cuda_failed(cudaGraphInstantiate(&g->exec, graph, 0), "graph");
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError();
    if (!status && !g->checks.empty()) {
        std::lock_guard<std::mutex> guard(lock);
        checked.push_back(g);
    }
    return status;
}

static int graph_launch(cb_graph *g, int n, const uint64_t *words) {
    {
        std::lock_guard<std::mutex> guard(lock);
        CB_TRY(faults_of(g));
    }
    CB_TRY(set_state(g, n, words));
    CB_TRY_CUDA(cudaGraphLaunch(g->exec, cb_stream_of(g->device)), "graph");
    return cb_launched("graph");
}

void cb_graph_open(cb_device_api *api) {
    api->graph_begin = graph_begin;
    api->graph_end = graph_end;
    api->graph_launch = graph_launch;
    api->graph_free = graph_free;
}
