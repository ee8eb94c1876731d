/* The emulator reports what it says it does: kernels with one mistake each, and kernels without. */
#include <stdio.h>

#include <string>

#include "../emulate_memory.h"
#include "../kernels.h"
#include "../runtime.h"

const cb_host_api *cb_host;
extern "C" const cb_backend *cb_host_round_trip() { return nullptr; }
extern "C" const cb_dtype_info cb_dtypes[CB_DTYPE_COUNT] = {};
extern "C" int cb_fail(int code, const char *, ...) { return code; }

static int failures;
static void expect(const char *what, const char *wanted) {
    std::string got = cb_emulate_take_error();
    bool right = *wanted ? got.find(wanted) != std::string::npos && got.find("thread (") != std::string::npos
                         : got.empty();
    if (!right) {
        failures++;
        printf("%s: expected a report with '%s', got '%s'\n", what, wanted, got.c_str());
    }
}

__global__ void sums(float *out, const float *in, int n) {
    CB_SHARED(float, scratch, 32);
    float total = 0;
    for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x) total += in[i];
    total = cb_block_reduce(total, scratch, cb_op_sum());
    if (threadIdx.x == 0) out[blockIdx.x] = total;
}
__global__ void transpose(float *out, const float *in) { /* 32 x 32, padded rows */
    CB_SHARED(float, tile, 32 * 33);
    for (unsigned y = threadIdx.y; y < 32; y += 8) tile[y * 33 + threadIdx.x] = in[y * 32 + threadIdx.x];
    __syncthreads();
    for (unsigned y = threadIdx.y; y < 32; y += 8) out[y * 32 + threadIdx.x] = tile[threadIdx.x * 33 + y];
}
__global__ void reversed(int *out, int count) {
    CB_DYNAMIC_SHARED(int, buffer);
    buffer[threadIdx.x] = (int)threadIdx.x;
    __syncthreads();
    out[threadIdx.x] = buffer[count - 1 - (int)threadIdx.x];
}
__global__ void histogram(int *out) {
    CB_SHARED(int, bins, 4);
    if (threadIdx.x < 4) bins[threadIdx.x] = 0;
    __syncthreads();
    atomicAdd(&bins[threadIdx.x & 3], 1);
    __syncthreads();
    if (threadIdx.x < 4) atomicAdd(out + threadIdx.x, (int)bins[threadIdx.x]);
}
__global__ void in_a_warp(int *out) { /* ordered by __syncwarp */
    CB_SHARED(int, cells, 32);
    cells[threadIdx.x] = (int)threadIdx.x;
    __syncwarp();
    out[threadIdx.x] = cells[31 - threadIdx.x];
}
__global__ void votes(unsigned *out) {
    unsigned odd = __ballot_sync(0xffffffffu, threadIdx.x & 1);
    int many = __syncthreads_count(threadIdx.x < 40);
    out[threadIdx.x] = odd + (unsigned)many;
}

__global__ void racing(int *out) {
    CB_SHARED(int, cells, 64);
    cells[threadIdx.x] = 0;
    __syncthreads();
    cells[threadIdx.x] = (int)threadIdx.x;
    out[threadIdx.x] = cells[63 - threadIdx.x];
}
__global__ void write_race(int *out) {
    CB_SHARED(int, cell, 1);
    cell[0] = (int)threadIdx.x;
    __syncthreads();
    out[threadIdx.x] = cell[0];
}
__global__ void read_then_write(int *out) {
    CB_SHARED(int, cells, 64);
    cells[threadIdx.x] = 1;
    __syncthreads();
    out[threadIdx.x] = cells[(threadIdx.x + 32) & 63];
    cells[threadIdx.x] = 2;
}
__global__ void shared_beyond(int *out) {
    CB_SHARED(int, cells, 16);
    cells[threadIdx.x] = 1;
    out[threadIdx.x] = 0;
}
__global__ void unwritten(int *out) {
    CB_SHARED(int, cells, 64);
    if (threadIdx.x != 7) cells[threadIdx.x] = 1;
    __syncthreads();
    out[threadIdx.x] = cells[threadIdx.x];
}
__global__ void left_early(int *out) {
    if (threadIdx.x == 5) return;
    __syncthreads();
    out[threadIdx.x] = 1;
}
__global__ void two_places(int *out) {
    if (threadIdx.x & 1)
        __syncthreads();
    else
        __syncthreads();
    out[threadIdx.x] = 1;
}
__global__ void half_a_warp(int *out) {
    if (threadIdx.x < 16) out[threadIdx.x] = __shfl_down_sync(0xffffffffu, 1, 1);
}
__global__ void from_outside(int *out) {
    if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0x0000ffffu, 1, 20);
}
__global__ void beyond(int *out, int n) { out[threadIdx.x + (threadIdx.x == 3 ? n : 0)] = 1; }
__global__ void just_beyond(char *out) { out[threadIdx.x] = 1; }
__global__ void reads_before(int *out) { out[threadIdx.x] = out[(int)threadIdx.x - 4000]; }

int main() {
    cb_device_api api;
    cb_runtime_open(&api);
    cb_scratch in(4096), out(4096);
    float values[1024], results[1024];
    for (int i = 0; i < 1024; i++) values[i] = (float)i;
    cb_send(in.data, values, 4096);

    CB_LAUNCH(sums, 3, 128, 0, cb_stream(), out.as<float>(), in.as<float>(), 1000);
    expect("sums", "");
    cb_read_back(results, out.data, 4096);
    for (int b = 0; b < 3; b++) failures += results[b] != 499500.0f;
    CB_LAUNCH(transpose, 1, dim3(32, 8), 0, cb_stream(), out.as<float>(), in.as<float>());
    expect("transpose", "");
    cb_read_back(results, out.data, 4096);
    for (int i = 0; i < 1024; i++) failures += results[i] != (float)(i % 32 * 32 + i / 32);
    int numbers[1024];
    CB_LAUNCH(reversed, 1, 100, 400, cb_stream(), out.as<int>(), 100);
    expect("reversed", "");
    cb_read_back(numbers, out.data, 400);
    for (int i = 0; i < 100; i++) failures += numbers[i] != 99 - i;
    cb_set_bytes(out.data, 0, 4096);
    CB_LAUNCH(histogram, 5, 256, 0, cb_stream(), out.as<int>());
    expect("histogram", "");
    cb_read_back(numbers, out.data, 16);
    for (int i = 0; i < 4; i++) failures += numbers[i] != 5 * 64;
    CB_LAUNCH(in_a_warp, 1, 32, 0, cb_stream(), out.as<int>());
    expect("in_a_warp", "");
    CB_LAUNCH(votes, 1, 64, 0, cb_stream(), out.as<unsigned>());
    expect("votes", "");
    cb_read_back(numbers, out.data, 256);
    for (int i = 0; i < 64; i++) failures += (unsigned)numbers[i] != 0xaaaaaaaau + 40;
    if (failures) printf("%d values are wrong\n", failures);

#define MISTAKE(kernel, threads, shared, report, ...)                \
    CB_LAUNCH(kernel, 2, threads, shared, cb_stream(), __VA_ARGS__); \
    expect(#kernel, report)
    MISTAKE(racing, 64, 0, "race on shared memory", out.as<int>());
    MISTAKE(write_race, 64, 0, "race on shared memory", out.as<int>());
    MISTAKE(read_then_write, 64, 0, "race on shared memory", out.as<int>());
    MISTAKE(shared_beyond, 64, 0, "of the shared array cells, which has 64 bytes", out.as<int>());
    MISTAKE(reversed, 64, 100, "dynamic shared memory", out.as<int>(), 64);
    MISTAKE(unwritten, 64, 0, "nobody has written", out.as<int>());
    MISTAKE(left_early, 64, 0, "have left the kernel", out.as<int>());
    MISTAKE(two_places, 64, 0, "while others wait at line", out.as<int>());
    MISTAKE(half_a_warp, 32, 0, "waits in __shfl_down_sync", out.as<int>());
    MISTAKE(from_outside, 32, 0, "does not take part", out.as<int>());
    MISTAKE(beyond, 8, 0, "after the end of an allocation of 4096 bytes", out.as<int>(), 2000);
    MISTAKE(reads_before, 8, 0, "before an allocation of 4096 bytes", out.as<int>());
    {
        cb_scratch odd(13);
        CB_LAUNCH(just_beyond, 1, 14, 0, cb_stream(), odd.as<char>());
        std::string got = cb_emulate_take_error();
        if (got.find("after the end") == std::string::npos)
            failures++, printf("just_beyond: got '%s'\n", got.c_str());
    }
    CB_LAUNCH(sums, 3, 128, 0, cb_stream(), out.as<float>(), in.as<float>(), 1000); /* all is well again */
    expect("sums", "");
    if (!failures) printf("the emulator reports what it should\n");
    return failures != 0;
}
