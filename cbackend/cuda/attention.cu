/* Attention and its gradient, in tiles: memory grows with the length, not with its square (Rabe & Staats
 * 2021; Dao et al. 2022). A block takes TILE queries and walks the keys, TILE at a time, with a running
 * softmax; the gradients of keys and values take TILE keys and walk the queries. Every result is written by
 * one block, in one order. */
#include "kernels.h"

#include "math_of.h"

enum { TILE = 16, THREADS = TILE * TILE };

CB_DEV int64_t offset_of(const cb_attention_call &a, const cb_matrices &m, int64_t item) {
    int64_t at = 0;
    for (int d = a.nbatch - 1; d >= 0; d--) {
        at += item % a.batch_shape[d] * m.batch[d];
        item /= a.batch_shape[d];
    }
    return at;
}

/* rows [first, first + TILE) of a matrix with strides, dense in shared memory, zeros behind the last */
template <typename R, typename P>
CB_DEV void load_rows(P to, const R *from, int64_t row, int64_t col, int64_t first, int64_t rows,
                      int64_t width) {
    for (int64_t t = threadIdx.x; t < TILE * width; t += THREADS) {
        int64_t r = first + t / width, c = t % width;
        to[t] = r < rows ? from[r * row + c * col] : R(0);
    }
}

/* the score of query i and key j, whose rows are in shared memory; -inf where masked or outside */
template <typename R, typename P>
CB_DEV R score_of(const cb_attention_call &a, const R *bias, P q, P k, int64_t i, int64_t j) {
    if (i >= a.rows || j >= a.keys || (a.causal && j > i)) return -(R)HUGE_VAL;
    R sum = 0;
    for (int64_t w = 0; w < a.width; w++)
        sum += (R)q[(i % TILE) * a.width + w] * (R)k[(j % TILE) * a.width + w];
    sum *= (R)a.scale;
    return bias ? sum + bias[i * a.bias.row + j * a.bias.col] : sum;
}

template <typename R> struct operands { /* of one item */
    const R *q, *k, *v, *bias, *ct, *out, *totals;
    CB_DEV operands of(const cb_attention_call &a, int64_t item) {
        operands o;
        o.q = (const R *)a.q.data + offset_of(a, a.q, item);
        o.k = (const R *)a.k.data + offset_of(a, a.k, item);
        o.v = (const R *)a.v.data + offset_of(a, a.v, item);
        o.bias = a.bias.data ? (const R *)a.bias.data + offset_of(a, a.bias, item) : nullptr;
        o.ct = a.ct.data ? (const R *)a.ct.data + offset_of(a, a.ct, item) : nullptr;
        o.out = (const R *)a.out + item * a.rows * a.value_width;
        o.totals = (const R *)a.totals + item * a.rows;
        return o;
    }
};

template <typename R> __global__ void __launch_bounds__(THREADS) attend(cb_attention_call a) {
    CB_DYNAMIC_SHARED(R, room);
    CB_SHARED(R, weights, TILE * TILE);
    CB_SHARED(R, top, TILE);
    CB_SHARED(R, sum, TILE);
    CB_SHARED(R, shrink, TILE);
    CB_SHARED_PTR(R) q = room + 0;
    CB_SHARED_PTR(R) k = q + TILE * a.width;
    CB_SHARED_PTR(R) v = k + TILE * a.width;
    CB_SHARED_PTR(R) o = v + TILE * a.value_width;
    int64_t tiles = (a.rows + TILE - 1) / TILE;
    unsigned row = threadIdx.x / TILE, column = threadIdx.x % TILE;
    for (int64_t work = blockIdx.x; work < tiles * a.batch; work += gridDim.x) {
        int64_t item = work / tiles, i0 = work % tiles * TILE;
        operands<R> x = operands<R>::of(a, item);
        load_rows(q, x.q, a.q.row, a.q.col, i0, a.rows, a.width);
        for (int64_t t = threadIdx.x; t < TILE * a.value_width; t += THREADS) o[t] = R(0);
        if (threadIdx.x < TILE) {
            top[threadIdx.x] = -(R)HUGE_VAL;
            sum[threadIdx.x] = R(0);
        }
        int64_t end = a.causal && i0 + TILE < a.keys ? i0 + TILE : a.keys;
        for (int64_t j0 = 0; j0 < end; j0 += TILE) {
            load_rows(k, x.k, a.k.row, a.k.col, j0, a.keys, a.width);
            load_rows(v, x.v, a.v.row, a.v.col, j0, a.keys, a.value_width);
            __syncthreads();
            weights[threadIdx.x] = score_of(a, x.bias, q, k, i0 + row, j0 + column);
            __syncthreads();
            if (threadIdx.x < TILE) {
                R old = top[threadIdx.x], next = old, part = 0;
                for (int c = 0; c < TILE; c++) {
                    R s = weights[threadIdx.x * TILE + c];
                    next = s > next || s != s ? s : next;
                }
                R shift = next == -(R)HUGE_VAL ? (R)0 : next, factor = cb_exp(old - shift);
                for (int c = 0; c < TILE; c++) {
                    R w = cb_exp((R)weights[threadIdx.x * TILE + c] - shift);
                    weights[threadIdx.x * TILE + c] = w;
                    part += w;
                }
                top[threadIdx.x] = next;
                shrink[threadIdx.x] = factor;
                sum[threadIdx.x] = (R)sum[threadIdx.x] * factor + part;
            }
            __syncthreads();
            for (int64_t t = threadIdx.x; t < TILE * a.value_width; t += THREADS) {
                int64_t r = t / a.value_width, d = t % a.value_width;
                R value = (R)o[t] * (R)shrink[r];
                for (int c = 0; c < TILE; c++)
                    value += (R)weights[r * TILE + c] * (R)v[c * a.value_width + d];
                o[t] = value;
            }
            __syncthreads();
        }
        __syncthreads();
        R *out = (R *)a.out + item * a.rows * a.value_width;
        for (int64_t t = threadIdx.x; t < TILE * a.value_width; t += THREADS) {
            int64_t r = t / a.value_width;
            R total = sum[r];
            if (i0 + r < a.rows) out[i0 * a.value_width + t] = total == 0 ? (R)0 : (R)o[t] / total;
        }
        if (threadIdx.x < TILE && i0 + threadIdx.x < a.rows) {
            R total = sum[threadIdx.x];
            ((R *)a.totals)[item * a.rows + i0 + threadIdx.x] =
                total == 0 ? (R)HUGE_VAL : (R)top[threadIdx.x] + cb_log(total);
        }
        __syncthreads();
    }
}

/* KEYS: a tile of keys walks the queries (dk, dv); else a tile of queries walks the keys (dq). */
template <typename R, bool KEYS> __global__ void __launch_bounds__(THREADS) attend_grad(cb_attention_call a) {
    CB_DYNAMIC_SHARED(R, room);
    CB_SHARED(R, weights, TILE * TILE); /* [query][key] */
    CB_SHARED(R, slopes, TILE * TILE);
    CB_SHARED(R, dots, TILE); /* ct . out of each query */
    int64_t wide = TILE * a.width, deep = TILE * a.value_width;
    CB_SHARED_PTR(R) q = room + 0;
    CB_SHARED_PTR(R) k = q + wide;
    CB_SHARED_PTR(R) v = k + wide;
    CB_SHARED_PTR(R) ct = v + deep;
    CB_SHARED_PTR(R) first = ct + deep;
    CB_SHARED_PTR(R) second = first + wide;
    int64_t own = KEYS ? a.keys : a.rows, other = KEYS ? a.rows : a.keys, tiles = (own + TILE - 1) / TILE;
    unsigned row = threadIdx.x / TILE, column = threadIdx.x % TILE;
    for (int64_t work = blockIdx.x; work < tiles * a.batch; work += gridDim.x) {
        int64_t item = work / tiles, own0 = work % tiles * TILE;
        operands<R> x = operands<R>::of(a, item);
        for (int64_t t = threadIdx.x; t < wide; t += THREADS) first[t] = R(0);
        if (KEYS)
            for (int64_t t = threadIdx.x; t < deep; t += THREADS) second[t] = R(0);
        int64_t begin = KEYS && a.causal ? own0 : 0;
        int64_t end = !KEYS && a.causal && own0 + TILE < other ? own0 + TILE : other;
        for (int64_t other0 = begin; other0 < end; other0 += TILE) {
            int64_t i0 = KEYS ? other0 : own0, j0 = KEYS ? own0 : other0;
            load_rows(q, x.q, a.q.row, a.q.col, i0, a.rows, a.width);
            load_rows(k, x.k, a.k.row, a.k.col, j0, a.keys, a.width);
            load_rows(v, x.v, a.v.row, a.v.col, j0, a.keys, a.value_width);
            load_rows(ct, x.ct, a.ct.row, a.ct.col, i0, a.rows, a.value_width);
            __syncthreads();
            if (threadIdx.x < TILE) {
                R dot = 0;
                int64_t i = i0 + threadIdx.x;
                for (int64_t d = 0; d < a.value_width && i < a.rows; d++)
                    dot += (R)ct[threadIdx.x * a.value_width + d] * x.out[i * a.value_width + d];
                dots[threadIdx.x] = dot;
            }
            __syncthreads();
            R score = score_of(a, x.bias, q, k, i0 + row, j0 + column), weight = 0, slope = 0;
            if (score != -(R)HUGE_VAL) {
                weight = cb_exp(score - x.totals[i0 + row]);
                for (int64_t d = 0; d < a.value_width; d++)
                    slope += (R)ct[row * a.value_width + d] * (R)v[column * a.value_width + d];
                slope = weight * (slope - (R)dots[row]) * (R)a.scale;
            }
            weights[threadIdx.x] = weight;
            slopes[threadIdx.x] = slope;
            __syncthreads();
            for (int64_t t = threadIdx.x; t < wide; t += THREADS) {
                int64_t r = t / a.width, d = t % a.width;
                R value = first[t];
                for (int c = 0; c < TILE; c++)
                    value += KEYS ? (R)slopes[c * TILE + r] * (R)q[c * a.width + d]
                                  : (R)slopes[r * TILE + c] * (R)k[c * a.width + d];
                first[t] = value;
            }
            if (KEYS)
                for (int64_t t = threadIdx.x; t < deep; t += THREADS) {
                    int64_t r = t / a.value_width, d = t % a.value_width;
                    R value = second[t];
                    for (int c = 0; c < TILE; c++)
                        value += (R)weights[c * TILE + r] * (R)ct[c * a.value_width + d];
                    second[t] = value;
                }
            __syncthreads();
        }
        __syncthreads();
        R *to = (R *)(KEYS ? a.dk : a.dq) + item * own * a.width;
        for (int64_t t = threadIdx.x; t < wide; t += THREADS)
            if (own0 + t / a.width < own) to[own0 * a.width + t] = first[t];
        if (KEYS) {
            R *values = (R *)a.dv + item * own * a.value_width;
            for (int64_t t = threadIdx.x; t < deep; t += THREADS)
                if (own0 + t / a.value_width < own) values[own0 * a.value_width + t] = second[t];
        }
        __syncthreads();
    }
}

static unsigned blocks_of(const cb_attention_call *a, int64_t length) {
    return cb_blocks((length + TILE - 1) / TILE * a->batch, 1, INT32_MAX);
}

static int too_wide(const char *op, int64_t nbytes) {
    return nbytes <= cb_shared_limit() - 8192
               ? CB_OK
               : cb_fail(CB_ERR_UNSUPPORTED,
                         "%s: expected rows that fit the device's shared memory, got %lld bytes a block. Use "
                         "narrower heads, or the CPU.",
                         op, (long long)nbytes);
}

template <typename R> static int run(const cb_attention_call *a) {
    int64_t nbytes = 2 * TILE * (a->width + a->value_width) * (int64_t)sizeof(R);
    CB_TRY(too_wide("attention", nbytes));
    if (a->rows > 0) CB_LAUNCH((attend<R>), blocks_of(a, a->rows), THREADS, nbytes, cb_stream(), *a);
    return cb_launched("attention");
}

template <typename R> static int run_grad(const cb_attention_call *a) {
    int64_t nbytes = 3 * TILE * (a->width + a->value_width) * (int64_t)sizeof(R);
    CB_TRY(too_wide("attention_grad", nbytes));
    if (a->rows > 0)
        CB_LAUNCH((attend_grad<R, false>), blocks_of(a, a->rows), THREADS, nbytes, cb_stream(), *a);
    if (a->keys > 0)
        CB_LAUNCH((attend_grad<R, true>), blocks_of(a, a->keys), THREADS, nbytes, cb_stream(), *a);
    return cb_launched("attention_grad");
}

int cb_cuda_attention(const cb_attention_call *a) {
    return a->dtype == CB_F64 ? run<double>(a) : run<float>(a);
}
int cb_cuda_attention_grad(const cb_attention_call *a) {
    return a->dtype == CB_F64 ? run_grad<double>(a) : run_grad<float>(a);
}
