/* The allocator and graphs over the emulated runtime, where blocks are used again as on a GPU. */
#include <stdio.h>
#include <stdlib.h>

#include <string>

#include "../emulate_memory.h"
#include "../runtime.h"

const cb_host_api *cb_host;
extern "C" const cb_backend *cb_host_round_trip() { return nullptr; }
extern "C" const cb_dtype_info cb_dtypes[CB_DTYPE_COUNT] = {};
extern "C" int cb_fail(int code, const char *, ...) { return code; }

static int failures;
#define CHECK(...)                                                    \
    do {                                                              \
        if (!(__VA_ARGS__)) {                                         \
            failures++;                                               \
            printf("line %d: expected %s\n", __LINE__, #__VA_ARGS__); \
        }                                                             \
    } while (0)

static cb_device_api api;

static void test_blocks_go_by_stream() {
    void *x = api.alloc(0, 1000), *side;
    api.free(0, x);
    CHECK(api.alloc(0, 900) == x); /* of the same class */
    api.stream_new(0, 0, &side);
    api.free(0, x);
    api.stream_set(0, side);
    void *y = api.alloc(0, 1000);
    CHECK(y != x);
    api.stream_set(0, nullptr);
    void *z = api.alloc(0, 1000);
    CHECK(z == x);
    api.free(0, z);
    api.free(0, y);
    CHECK(api.alloc(0, 1000) == x); /* y is the side stream's */
    api.free(0, x);
    api.stream_free(0, side); /* whose blocks become everybody's */
    void *a = api.alloc(0, 1000), *b = api.alloc(0, 1000);
    CHECK((a == x && b == y) || (a == y && b == x));
    api.free(0, a);
    api.free(0, b);
    api.empty_cache(0);
}

static void test_readers_hold_a_block_back() {
    void *side;
    api.stream_new(0, 0, &side);
    void *x = api.alloc(0, 5000);
    api.record_stream(0, x, side);
    api.record_stream(0, x, nullptr); /* its own: nothing */
    cb_emulated_stall((cudaStream_t)side, true);
    api.free(0, x);
    void *y = api.alloc(0, 5000);
    CHECK(y != x); /* the side stream may still read it */
    cb_emulated_stall((cudaStream_t)side, false);
    void *z = api.alloc(0, 5000);
    CHECK(z == x);
    api.free(0, y);
    api.free(0, z);
    api.stream_free(0, side);
    int64_t numbers[CB_CUDA_NUMBERS];
    api.empty_cache(0);
    api.memory(0, numbers);
    CHECK(numbers[0] == 0 && numbers[2] == 0);
}

__global__ void add(float *x, float by) { x[threadIdx.x] += by; }
__global__ void draws(uint64_t *to, uint64_t seed, uint64_t offset, const uint64_t *state) {
    to[0] = seed + state[0];
    to[1] = offset + state[1];
    to[2] = state[2];
}

static void test_graphs() {
    float *x = (float *)api.alloc(0, 128), values[32] = {0};
    uint64_t *drawn = (uint64_t *)api.alloc(0, 24), seen[3];
    void *spare = api.alloc(0, 7000);
    api.free(0, spare);
    cb_send(x, values, 128);
    cb_graph *g;
    void *state;
    const uint64_t now[] = {40, 1000};
    CHECK(!api.graph_begin(0, 4, now, &g, &state));
    void *inside = api.alloc(0, 7000), *again;
    CHECK(inside == spare);
    api.free(0, inside);
    again = api.alloc(0, 7000);
    CHECK(again == inside); /* within the graph in its order */
    api.free(0, again);
    CB_LAUNCH(add, 1, 32, 0, cb_stream(), x, 1.0f);
    float two = 2;
    cb_send(x, &two, 4); /* what is sent is kept */
    two = 3;
    CB_LAUNCH(add, 1, 32, 0, cb_stream(), x, 1.0f);
    uint64_t seed = 42, offset = 1008;
    const uint64_t *words = cb_draw_state(&seed, &offset);
    CHECK(words == state && seed == 2 && offset == 8);
    CB_LAUNCH(draws, 1, 1, 0, cb_stream(), drawn, seed, offset, words);
    CHECK(!api.graph_end(g));
    CHECK(!cb_draw_state(&seed, &offset));
    void *outside = api.alloc(0, 7000);
    CHECK(outside != inside); /* which stays the graph's */
    cb_read_back(values, x, 128);
    CHECK(values[1] == 0); /* nothing has run */
    for (uint64_t i = 0; i < 3; i++) {
        const uint64_t set[] = {50 + i, 2000 * i, 7 + i};
        CHECK(!api.graph_launch(g, 3, set));
        cb_read_back(values, x, 128);
        CHECK(values[0] == 3 && values[1] == 2 * (float)(i + 1));
        cb_read_back(seen, drawn, 24);
        CHECK(seen[0] == 52 + i && seen[1] == 2000 * i + 8 && seen[2] == 7 + i);
    }
    api.graph_free(g);
    CHECK(api.alloc(0, 7000) == inside);
    api.free(0, inside);
    api.free(0, outside);
    api.free(0, x);
    api.free(0, drawn);
}

/* what a graph cannot hold fails, also at the end */
template <typename F> static void refused(const char *what, F does) {
    cb_graph *g;
    void *state;
    const uint64_t now[] = {0, 0};
    CHECK(!api.graph_begin(0, 2, now, &g, &state));
    does();
    if (!api.graph_end(g)) failures++, printf("expected a graph that %s to be refused\n", what);
    api.graph_free(g);
    CHECK(cb_stream() == nullptr);
    api.synchronize(0); /* and all is well again */
}

static void test_refusals() {
    void *x = api.alloc(0, 64), *event;
    char host[64] = {0};
    api.event_new(0, 0, &event);
    refused("reads back", [&] { CHECK(cb_read_back(host, x, 64)); });
    refused("waits", [&] { CHECK(api.synchronize(0)); });
    refused("waits for a stream", [&] { CHECK(api.stream_synchronize(0, nullptr)); });
    refused("copies from pageable memory",
            [&] { CHECK(cudaMemcpyAsync(x, host, 64, cudaMemcpyHostToDevice, cb_stream())); });
    refused("allocates out of order", [&] {
        void *data;
        CHECK(cudaMalloc(&data, 64));
    });
    refused("waits for an event", [&] { CHECK(api.event_synchronize(0, event)); });
    cudaGraph_t graph;
    CHECK(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeThreadLocal));
    CHECK(cudaStreamEndCapture(nullptr, &graph));
    api.event_free(0, event);
    api.free(0, x);
}

int main() {
    setenv("FL_EMULATE_REUSE", "1", 1);
    cb_runtime_open(&api);
    test_blocks_go_by_stream();
    test_readers_hold_a_block_back();
    test_graphs();
    test_refusals();
    if (!failures) printf("the runtime does what it should\n");
    return failures != 0;
}
