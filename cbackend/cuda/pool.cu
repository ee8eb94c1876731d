/* Pooling over contiguous planes: maxima with positions, averages, their gradients. A thread makes one item;
 * the gradient of an average gathers from the windows over it, and maxima write to recorded places in order.
 */
#include "kernels.h"

enum { BLOCK = 256 };

struct windows {
    int64_t planes, in[3], out[3], kernel[3], stride[3], padding[3], dilation[3];
    int64_t ins, outs, divisor_override;
    bool count_padding;
};

static windows windows_of(const cb_pool_shape *s) {
    windows w = {s->planes, {0}, {0}, {0}, {0}, {0}, {0}, 1, 1, s->divisor_override, s->count_padding};
    for (int d = 0; d < 3; d++) {
        w.ins *= w.in[d] = s->in[d];
        w.outs *= w.out[d] = s->out[d];
        w.kernel[d] = s->kernel[d];
        w.stride[d] = s->stride[d];
        w.padding[d] = s->padding[d];
        w.dilation[d] = s->dilation[d];
    }
    return w;
}

/* The first tap of a window inside the input; where all lie outside, a place inside the plane. */
CB_DEV int64_t first_tap(const windows &w, int d, int64_t o) {
    int64_t start = o * w.stride[d] - w.padding[d];
    if (start < 0) start += (-start + w.dilation[d] - 1) / w.dilation[d] * w.dilation[d];
    return start < w.in[d] - 1 ? start : w.in[d] - 1;
}

/* the first of equal values wins, a nan beats everything and the last nan wins */
template <typename T> __global__ void max_windows(windows w, T lowest, T *out, int64_t *indices, const T *x) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < w.planes * w.outs;
         i += (int64_t)gridDim.x * BLOCK) {
        int64_t o[3], plane = i / w.outs;
        cb_split3(i % w.outs, w.out, o);
        const T *from = x + plane * w.ins;
        T best = lowest;
        int64_t where =
            (first_tap(w, 0, o[0]) * w.in[1] + first_tap(w, 1, o[1])) * w.in[2] + first_tap(w, 2, o[2]);
        for (int64_t a = 0; a < w.kernel[0]; a++) {
            int64_t z = o[0] * w.stride[0] - w.padding[0] + a * w.dilation[0];
            if (z < 0 || z >= w.in[0]) continue;
            for (int64_t b = 0; b < w.kernel[1]; b++) {
                int64_t y = o[1] * w.stride[1] - w.padding[1] + b * w.dilation[1];
                if (y < 0 || y >= w.in[1]) continue;
                for (int64_t c = 0; c < w.kernel[2]; c++) {
                    int64_t k = o[2] * w.stride[2] - w.padding[2] + c * w.dilation[2];
                    if (k < 0 || k >= w.in[2]) continue;
                    int64_t at = (z * w.in[1] + y) * w.in[2] + k;
                    T v = from[at];
                    if (v > best || v != v) {
                        best = v;
                        where = at;
                    }
                }
            }
        }
        out[i] = best;
        if (indices) indices[i] = where;
    }
}

CB_DEV int64_t counted(const windows &w, int d, int64_t o) {
    int64_t start = o * w.stride[d] - w.padding[d], end = start + w.kernel[d];
    if (end > w.in[d] + w.padding[d]) end = w.in[d] + w.padding[d];
    if (w.count_padding) return end - start;
    return (end < w.in[d] ? end : w.in[d]) - (start > 0 ? start : 0);
}
CB_DEV int64_t divisor(const windows &w, const int64_t (&o)[3]) {
    if (w.divisor_override) return w.divisor_override;
    return counted(w, 0, o[0]) * counted(w, 1, o[1]) * counted(w, 2, o[2]);
}

template <typename T> __global__ void average_windows(windows w, T *out, const T *x) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < w.planes * w.outs;
         i += (int64_t)gridDim.x * BLOCK) {
        int64_t o[3];
        cb_split3(i % w.outs, w.out, o);
        const T *from = x + i / w.outs * w.ins;
        T sum = 0;
        for (int64_t a = 0; a < w.kernel[0]; a++)
            for (int64_t b = 0; b < w.kernel[1]; b++)
                for (int64_t c = 0; c < w.kernel[2]; c++) {
                    int64_t z = o[0] * w.stride[0] - w.padding[0] + a * w.dilation[0];
                    int64_t y = o[1] * w.stride[1] - w.padding[1] + b * w.dilation[1];
                    int64_t k = o[2] * w.stride[2] - w.padding[2] + c * w.dilation[2];
                    if (z < 0 || z >= w.in[0] || y < 0 || y >= w.in[1] || k < 0 || k >= w.in[2]) continue;
                    sum += from[(z * w.in[1] + y) * w.in[2] + k];
                }
        out[i] = sum / (T)divisor(w, o);
    }
}

/* outputs [low, high) of dimension d whose window may cover input i */
CB_DEV void covering(const windows &w, int d, int64_t i, int64_t *low, int64_t *high) {
    int64_t reach = (w.kernel[d] - 1) * w.dilation[d], last = (i + w.padding[d]) / w.stride[d] + 1;
    int64_t first = i + w.padding[d] - reach;
    *low = first > 0 ? (first + w.stride[d] - 1) / w.stride[d] : 0;
    *high = last < w.out[d] ? last : w.out[d];
}

template <typename T> __global__ void spread_averages(windows w, T *x, const T *y) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < w.planes * w.ins;
         i += (int64_t)gridDim.x * BLOCK) {
        int64_t at[3], low[3], high[3], o[3];
        cb_split3(i % w.ins, w.in, at);
        for (int d = 0; d < 3; d++) covering(w, d, at[d], &low[d], &high[d]);
        const T *from = y + i / w.ins * w.outs;
        T sum = 0;
        for (o[0] = low[0]; o[0] < high[0]; o[0]++)
            for (o[1] = low[1]; o[1] < high[1]; o[1]++)
                for (o[2] = low[2]; o[2] < high[2]; o[2]++) {
                    bool tapped = true;
                    for (int d = 0; d < 3; d++)
                        tapped &= (at[d] + w.padding[d] - o[d] * w.stride[d]) % w.dilation[d] == 0;
                    if (tapped) sum += from[(o[0] * w.out[1] + o[1]) * w.out[2] + o[2]] / (T)divisor(w, o);
                }
        x[i] = sum;
    }
}

template <typename T> static T lowest_of() {
    if constexpr (cb_traits<T>::is_real) return (T)-HUGE_VAL;
    return (T)-1 < (T)0 ? (T)((uint64_t)1 << (8 * sizeof(T) - 1)) : (T)0;
}

template <typename T> static int run_max(const cb_pool_shape *s, void *y, int64_t *indices, const void *x) {
    windows w = windows_of(s);
    CB_LAUNCH((max_windows<T>), cb_fill_blocks(w.planes * w.outs, BLOCK), BLOCK, 0, cb_stream(), w,
              lowest_of<T>(), (T *)y, indices, (const T *)x);
    return cb_launched("max_pool");
}

int cb_cuda_max_pool(const cb_pool_shape *s, void *y, int64_t *indices, const void *x) {
    switch (s->dtype) {
        case CB_U8: return run_max<uint8_t>(s, y, indices, x);
        case CB_I8: return run_max<int8_t>(s, y, indices, x);
        case CB_U16: return run_max<uint16_t>(s, y, indices, x);
        case CB_I16: return run_max<int16_t>(s, y, indices, x);
        case CB_U32: return run_max<uint32_t>(s, y, indices, x);
        case CB_I32: return run_max<int32_t>(s, y, indices, x);
        case CB_U64: return run_max<uint64_t>(s, y, indices, x);
        case CB_I64: return run_max<int64_t>(s, y, indices, x);
        case CB_F32: return run_max<float>(s, y, indices, x);
        default: return run_max<double>(s, y, indices, x);
    }
}

int cb_cuda_avg_pool(const cb_pool_shape *s, void *y, const void *x) {
    windows w = windows_of(s);
    unsigned grid = cb_fill_blocks(w.planes * w.outs, BLOCK);
    if (s->dtype == CB_F32)
        CB_LAUNCH((average_windows<float>), grid, BLOCK, 0, cb_stream(), w, (float *)y, (const float *)x);
    else
        CB_LAUNCH((average_windows<double>), grid, BLOCK, 0, cb_stream(), w, (double *)y, (const double *)x);
    return cb_launched("avg_pool");
}

int cb_cuda_avg_pool_grad(const cb_pool_shape *s, void *x, const void *y) {
    windows w = windows_of(s);
    unsigned grid = cb_fill_blocks(w.planes * w.ins, BLOCK);
    if (s->dtype == CB_F32)
        CB_LAUNCH((spread_averages<float>), grid, BLOCK, 0, cb_stream(), w, (float *)x, (const float *)y);
    else
        CB_LAUNCH((spread_averages<double>), grid, BLOCK, 0, cb_stream(), w, (double *)x, (const double *)y);
    return cb_launched("avg_pool");
}

/* ---- values to and from recorded positions ---- */

/* a block a plane; writes of a chunk of windows to one place are made by one thread, in order */
template <typename T>
__global__ void scatter_planes(int64_t planes, int64_t plane, int64_t count, T *x, const int64_t *indices,
                               const T *y, unsigned long long *outside) {
    CB_SHARED(int64_t, places, BLOCK);
    for (int64_t p = blockIdx.x; p < planes; p += gridDim.x) {
        T *to = x + p * plane;
        for (int64_t i = threadIdx.x; i < plane; i += BLOCK) to[i] = T(0);
        __syncthreads();
        for (int64_t begin = 0; begin < count; begin += BLOCK) {
            int64_t k = p * count + begin + threadIdx.x, place = -1 - (int64_t)threadIdx.x;
            int limit = count - begin < BLOCK ? (int)(count - begin) : BLOCK;
            if ((int)threadIdx.x < limit) {
                place = indices[k];
                if (place < 0 || place >= plane) {
                    *outside = (unsigned long long)k;
                    place = -1 - (int64_t)threadIdx.x;
                }
            }
            places[threadIdx.x] = place;
            __syncthreads();
            bool first = place >= 0;
            for (unsigned t = 0; t < threadIdx.x && first; t++) first = (int64_t)places[t] != place;
            if (first) {
                T sum = to[place];
                for (int t = (int)threadIdx.x; t < limit; t++)
                    if ((int64_t)places[t] == place) sum = sum + y[p * count + begin + t];
                to[place] = sum;
            }
            __syncthreads();
        }
    }
}

template <typename T>
__global__ void gather_planes(int64_t n, int64_t plane, int64_t count, T *y, const int64_t *indices,
                              const T *x, unsigned long long *outside) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < n; i += (int64_t)gridDim.x * BLOCK) {
        int64_t place = indices[i];
        if (place < 0 || place >= plane)
            *outside = (unsigned long long)i;
        else
            y[i] = x[i / count * plane + place];
    }
}

static int report(const char *op, int64_t plane, const cb_scratch &outside) {
    unsigned long long found;
    CB_TRY(cb_launched(op));
    if (cb_is_recording_graph())
        return cb_check_later(outside.as<unsigned long long>(), "%s: expected indices in [0, %lld)", op,
                              (long long)plane);
    CB_TRY(cb_read_back(&found, outside.data, sizeof found));
    return found != ~0ull
               ? cb_fail(
                     CB_ERR_INDEX,
                     "%s: expected indices in [0, %lld), got one outside. Use those that max_pool returned.",
                     op, (long long)plane)
               : CB_OK;
}

int cb_cuda_pool_scatter(int dtype, int64_t planes, int64_t plane, int64_t count, void *x,
                         const int64_t *indices, const void *y) {
    cb_scratch outside(sizeof(unsigned long long));
    if (!outside.ok()) return CB_ERR_MEMORY;
    CB_TRY(cb_set_bytes(outside.data, 255, sizeof(unsigned long long)));
#define SCATTER(T)                                                                                         \
    CB_LAUNCH((scatter_planes<T>), cb_fill_blocks(planes, 1), BLOCK, 0, cb_stream(), planes, plane, count, \
              (T *)x, indices, (const T *)y, outside.as<unsigned long long>())
    switch (dtype) {
        case CB_F32: SCATTER(float); break;
        case CB_F64: SCATTER(double); break;
        case CB_C64: SCATTER(cb_complex64); break;
        case CB_C128: SCATTER(cb_complex128); break;
        default:
            switch (cb_dtypes[dtype].size) { /* sums of integers wrap, signed or not */
                case 1: SCATTER(uint8_t); break;
                case 2: SCATTER(uint16_t); break;
                case 4: SCATTER(uint32_t); break;
                default: SCATTER(uint64_t);
            }
    }
#undef SCATTER
    return report("max_pool_grad", plane, outside);
}

int cb_cuda_pool_gather(int itemsize, int64_t planes, int64_t plane, int64_t count, void *y,
                        const int64_t *indices, const void *x) {
    cb_scratch outside(sizeof(unsigned long long));
    if (!outside.ok()) return CB_ERR_MEMORY;
    CB_TRY(cb_set_bytes(outside.data, 255, sizeof(unsigned long long)));
    CB_DISPATCH_SIZE(itemsize, T,
                     CB_LAUNCH((gather_planes<T>), cb_fill_blocks(planes * count, BLOCK), BLOCK, 0,
                               cb_stream(), planes * count, plane, count, (T *)y, indices, (const T *)x,
                               outside.as<unsigned long long>()))
    return report("pool_gather", plane, outside);
}
