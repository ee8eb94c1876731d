/* The CUDA library: its table, its one exported symbol, and the parts of the core's internal interface that
 * kernel families use, forwarded to the core. */
#include <stdarg.h>
#include <stdio.h>

#include "kernels.h"
#include "libraries.h"
#include "runtime.h"

const cb_host_api *cb_host;

extern "C" {
const cb_dtype_info cb_dtypes[CB_DTYPE_COUNT] = {
#define DTYPE(id, name, kind, size, storage, arithmetic) {#name, #kind[0], size},
#include "dtypes.def"
#undef DTYPE
};

int cb_fail(int code, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return cb_host->fail(code, text);
}

const char *cb_shape_text(int ndim, const int64_t *shape) {
    enum { BUFFERS = 4, SIZE = 160 };
    static thread_local char buffers[BUFFERS][SIZE];
    static thread_local int next;
    char *text = buffers[next = (next + 1) % BUFFERS];
    int used = snprintf(text, SIZE, "[");
    for (int i = 0; i < ndim && used < SIZE - 24; i++)
        used += snprintf(text + used, (size_t)(SIZE - used), i ? ", %lld" : "%lld", (long long)shape[i]);
    snprintf(text + used, (size_t)(SIZE - used), "]");
    return text;
}

const cb_op_info *cb_op_info_of(int family, int op) { return cb_host->op_info_of(family, op); }
int cb_real_dtype(int d) { return d == CB_C64 ? CB_F32 : d == CB_C128 ? CB_F64 : d; }
int cb_complex_dtype(int d) { return d == CB_F64 || d == CB_C128 ? CB_C128 : CB_C64; }
}

/* What families have kernels for; the rest makes the round trip through host memory. */
static cb_backend make_table() {
    cb_backend t = *cb_host_round_trip();
    t.name = "cuda";
    t.copy = cb_cuda_copy;
    t.fill = cb_cuda_fill;
    t.arange = cb_cuda_arange;
    t.elementwise = cb_cuda_elementwise;
    t.fused = cb_cuda_fused;
    t.reduce = cb_cuda_reduce;
    t.scan = cb_cuda_scan;
    t.softmax = cb_cuda_softmax;
    t.softmax_grad = cb_cuda_softmax_grad;
    t.cross_entropy = cb_cuda_cross_entropy;
    t.cross_entropy_grad = cb_cuda_cross_entropy_grad;
    t.norm = cb_cuda_norm;
    t.norm_grad = cb_cuda_norm_grad;
    t.channel_norm = cb_cuda_channel_norm;
    t.channel_norm_grad = cb_cuda_channel_norm_grad;
    t.gemm = cb_cuda_gemm;
    t.conv = cb_cuda_conv;
    t.conv_input_grad = cb_cuda_conv_input_grad;
    t.conv_weight_grad = cb_cuda_conv_weight_grad;
    t.max_pool = cb_cuda_max_pool;
    t.avg_pool = cb_cuda_avg_pool;
    t.avg_pool_grad = cb_cuda_avg_pool_grad;
    t.pool_scatter = cb_cuda_pool_scatter;
    t.pool_gather = cb_cuda_pool_gather;
    t.index_check = cb_cuda_index_check;
    t.index_get = cb_cuda_index_get;
    t.index_put = cb_cuda_index_put;
    t.gather_along = cb_cuda_gather_along;
    t.scatter_along = cb_cuda_scatter_along;
    t.tri = cb_cuda_tri;
    t.pad = cb_cuda_pad;
    t.pad_grad = cb_cuda_pad_grad;
    t.resample = cb_cuda_resample;
    t.mask_count = cb_cuda_mask_count;
    t.mask_nonzero = cb_cuda_mask_nonzero;
    t.mask_select = cb_cuda_mask_select;
    t.random = cb_cuda_random;
    t.random_int = cb_cuda_random_int;
    t.lapack = cb_cuda_lapack;
    t.sort = cb_cuda_sort;
    t.searchsorted = cb_cuda_searchsorted;
    t.bincount = cb_cuda_bincount;
    t.run_starts = cb_cuda_run_starts;
    t.unique_runs = cb_cuda_unique_runs;
    t.int_range = cb_cuda_int_range;
    t.optim_step = cb_cuda_optim_step;
    t.gemm_16bit = cb_cuda_gemm;
    t.attention = cb_cuda_attention;
    t.attention_grad = cb_cuda_attention_grad;
    t.lstm = cb_cuda_lstm;
    t.lstm_grad = cb_cuda_lstm_grad;
    t.grid_sample = cb_cuda_grid_sample;
    t.grid_sample_grad = cb_cuda_grid_sample_grad;
    t.fft_c2c = cb_cuda_fft_c2c;
    t.fft_r2c = cb_cuda_fft_r2c;
    t.fft_c2r = cb_cuda_fft_c2r;
    t.fft_mirror = cb_cuda_fft_mirror;
    return t;
}

extern "C" __attribute__((visibility("default"))) const cb_device_api *cb_cuda_open(const cb_host_api *host) {
    static cb_device_api api;
    static cb_backend table;
    cb_host = host;
    if (host->version != CB_DEVICE_VERSION) {
        host->fail(CB_ERR_DEVICE, "the CUDA library belongs to another version of this package");
        return nullptr;
    }
    if (!cb_runtime_open(&api)) return nullptr;
    table = make_table();
    api.version = CB_DEVICE_VERSION;
    api.backend = &table;
    api.describe_library = cb_library_describe;
    api.allow_tf32 = cb_library_allow_tf32;
    return &api;
}
