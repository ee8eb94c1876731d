/* Batched linear algebra: a block factors a matrix, in shared memory where it fits; systems go to blocks by
 * matrix and groups of right sides. Pivots, signs and info are LAPACK's. What has no kernel here is asked of
 * cuSOLVER (linalg_library.cc), or left to the processor. */
#include "linalg_library.h"

#include "kernels.h"
#include "vmath.h"

/* Blocks of one multiprocessor factor matrices up to OWN_BEST as fast as cuSOLVER, and up to OWN_MOST faster
 * than a round trip through host memory. */
enum { OWN_BEST = 128, OWN_MOST = 512, COLUMNS = 32, BLOCK = 256 };

/* ---- numbers ---- */
template <typename T> CB_DEV T conjugate(T x) {
    if constexpr (cb_traits<T>::is_complex)
        return T(x.re, -x.im);
    else
        return x;
}
template <typename T> CB_DEV typename cb_traits<T>::real real_part(T x) {
    if constexpr (cb_traits<T>::is_complex)
        return x.re;
    else
        return x;
}
/* what pivots are compared by */
template <typename T> CB_DEV typename cb_traits<T>::real size_of(T x) {
    if constexpr (cb_traits<T>::is_complex)
        return (x.re < 0 ? -x.re : x.re) + (x.im < 0 ? -x.im : x.im);
    else
        return x < 0 ? -x : x;
}
/* x / y; complex numbers without overflow of |y|^2 (Smith 1962) */
template <typename T> CB_DEV T quotient(T x, T y) {
    if constexpr (cb_traits<T>::is_complex) {
        typedef typename cb_traits<T>::real R;
        if ((y.re < 0 ? -y.re : y.re) >= (y.im < 0 ? -y.im : y.im)) {
            R ratio = y.im / y.re, below = y.re + y.im * ratio;
            return T((x.re + x.im * ratio) / below, (x.im - x.re * ratio) / below);
        }
        R ratio = y.re / y.im, below = y.re * ratio + y.im;
        return T((x.re * ratio + x.im) / below, (x.im * ratio - x.re) / below);
    } else {
        return x / y;
    }
}
CB_DEV float root_of(float x) { return sqrt_f32(x); }
CB_DEV double root_of(double x) { return sqrt_f64(x); }

/* ---- factors ---- */

template <typename R> struct candidate {
    R size;
    int row;
};
struct larger {
    template <typename R>
    __device__ __forceinline__ candidate<R> operator()(candidate<R> a, candidate<R> b) const {
        return b.size > a.size || (b.size == a.size && b.row < a.row) ? b : a;
    }
};

/* a [m, n] becomes its factors; the first zero pivot's number, from 1, or 0 */
template <typename T, typename P, typename S>
CB_DEV int lu_steps(P a, int m, int n, int32_t *pivots, S scratch) {
    typedef typename cb_traits<T>::real R;
    int info = 0, threads = (int)blockDim.x, t = (int)threadIdx.x, steps = m < n ? m : n;
    for (int c = 0; c < steps; c++) {
        candidate<R> best = {(R)-1, m};
        for (int i = c + t; i < m; i += threads) {
            candidate<R> mine = {size_of<T>((T)a[i * n + c]), i};
            best = larger()(best, mine);
        }
        best = cb_block_reduce(best, scratch, larger());
        int p = best.row < m ? best.row : c; /* nan is larger than nothing */
        if (t == 0) pivots[c] = p + 1;
        if (best.size == 0) {
            if (!info) info = c + 1;
            continue;
        }
        for (int k = t; p != c && k < n; k += threads) {
            T swap = a[c * n + k];
            a[c * n + k] = (T)a[p * n + k];
            a[p * n + k] = swap;
        }
        __syncthreads();
        T pivot = a[c * n + c];
        for (int i = c + 1 + t; i < m; i += threads) a[i * n + c] = quotient<T>((T)a[i * n + c], pivot);
        __syncthreads();
        int width = n - c - 1, height = m - c - 1;
        for (int64_t u = t; u < (int64_t)width * height; u += threads) {
            int i = c + 1 + (int)(u / width), k = c + 1 + (int)(u % width);
            a[i * n + k] = (T)a[i * n + k] - (T)a[i * n + c] * (T)a[c * n + k];
        }
        __syncthreads();
    }
    return info;
}

/* the lower triangle of a [n, n] becomes the factor; info as above, of the first pivot that is not positive
 */
template <typename T, typename P> CB_DEV int cholesky_steps(P a, int n) {
    typedef typename cb_traits<T>::real R;
    int threads = (int)blockDim.x, t = (int)threadIdx.x;
    for (int c = 0; c < n; c++) {
        R d = real_part<T>((T)a[c * n + c]);
        if (!(d > 0)) return c + 1;
        d = root_of(d);
        __syncthreads();
        if (t == 0) a[c * n + c] = T(d);
        for (int i = c + 1 + t; i < n; i += threads) a[i * n + c] = quotient<T>((T)a[i * n + c], T(d));
        __syncthreads();
        int width = n - c - 1;
        for (int64_t u = t; u < (int64_t)width * width; u += threads) {
            int i = c + 1 + (int)(u / width), k = c + 1 + (int)(u % width);
            if (k <= i) a[i * n + k] = (T)a[i * n + k] - (T)a[i * n + c] * conjugate<T>((T)a[k * n + c]);
        }
        __syncthreads();
    }
    return 0;
}

enum { LU, CHOLESKY };

/* matrices [m, n] in place, one a block; `local`: in shared memory */
template <int KIND, typename T>
__global__ void __launch_bounds__(BLOCK)
    factor(int64_t count, int m, int n, int local, T *all, int32_t *pivots, int32_t *infos) {
    typedef typename cb_traits<T>::real R;
    CB_SHARED(candidate<R>, scratch, 32);
    CB_DYNAMIC_SHARED(T, room);
    int steps = m < n ? m : n, size = m * n;
    for (int64_t item = blockIdx.x; item < count; item += gridDim.x) {
        T *a = all + item * size;
        int32_t *p = KIND == LU ? pivots + item * steps : nullptr;
        int info;
        if (local) {
            for (int i = (int)threadIdx.x; i < size; i += (int)blockDim.x) room[i] = a[i];
            __syncthreads();
            if constexpr (KIND == LU)
                info = lu_steps<T>(room, m, n, p, scratch);
            else
                info = cholesky_steps<T>(room, n);
            __syncthreads();
            for (int i = (int)threadIdx.x; i < size; i += (int)blockDim.x) a[i] = (T)room[i];
        } else if constexpr (KIND == LU) {
            info = lu_steps<T>(a, m, n, p, scratch);
        } else {
            info = cholesky_steps<T>(a, n);
        }
        if (threadIdx.x == 0) infos[item] = info;
        __syncthreads();
    }
}

template <int KIND, typename T>
static int run_factor(int64_t count, int m, int n, void *a, int32_t *pivots, int32_t *infos) {
    int64_t nbytes = (int64_t)m * n * (int64_t)sizeof(T);
    int local = nbytes <= (40 << 10);
    int64_t threads = CB_MIN(((int64_t)m * n / 4 + 31) / 32 * 32, (int64_t)BLOCK);
    CB_LAUNCH((factor<KIND, T>), cb_blocks(count, 1, INT32_MAX), (unsigned)CB_MAX(threads, 32),
              local ? CB_MAX(nbytes, 16) : 16, cb_stream(), count, m, n, local, (T *)a, pivots, infos);
    return cb_launched(KIND == LU ? "lu_factor" : "cholesky");
}

/* ---- triangular systems ---- */

/* a matrix that may be read transposed or conjugated */
template <typename T> struct reader {
    const T *a;
    int64_t row, column;
    bool conjugated;
    __device__ __forceinline__ T operator()(int64_t i, int64_t k) const {
        T v = a[i * row + k * column];
        return conjugated ? conjugate<T>(v) : v;
    }
};

/* x[i, k] at i * row + k * column: the solution takes the place of the right side; all threads of the block
 */
template <typename T>
CB_DEV void solve_steps(const reader<T> &a, bool lower, bool unit, int n, T *x, int64_t row, int64_t column,
                        int columns) {
    int threads = (int)blockDim.x, t = (int)threadIdx.x;
    for (int step = 0; step < n; step++) {
        int c = lower ? step : n - 1 - step, first = lower ? c + 1 : 0, left = n - 1 - step;
        if (!unit) {
            T d = a(c, c);
            for (int k = t; k < columns; k += threads)
                x[c * row + k * column] = quotient<T>(x[c * row + k * column], d);
            __syncthreads();
        }
        for (int64_t u = t; u < (int64_t)left * columns; u += threads) {
            int i = first + (int)(u / columns), k = (int)(u % columns);
            int64_t at = i * row + k * column;
            x[at] = x[at] - a(i, c) * x[c * row + k * column];
        }
        __syncthreads();
    }
}

struct systems {
    int64_t count;
    int n, k; /* x is [n, k] */
    int64_t row, column;
    bool transposed, conjugated, lower, unit;
};
/* a group of right sides and its matrix, for a block */
#define EACH_GROUP(s)                                                                                    \
    for (int64_t groups = ((s).k + COLUMNS - 1) / COLUMNS, work = blockIdx.x; work < (s).count * groups; \
         work += gridDim.x)

template <typename T> CB_DEV reader<T> read_as(const systems &s, const T *a) {
    return {a, s.transposed ? 1 : s.n, s.transposed ? s.n : 1, s.conjugated};
}
template <typename T> __global__ void __launch_bounds__(BLOCK) solve_triangles(systems s, const T *a, T *x) {
    EACH_GROUP(s) {
        int64_t item = work / groups, first = work % groups * COLUMNS, size = (int64_t)s.n * s.n;
        T *own = x + item * s.n * s.k + first * s.column;
        solve_steps<T>(read_as(s, a + item * size), s.lower != s.transposed, s.unit, s.n, own, s.row,
                       s.column, (int)min((int64_t)COLUMNS, s.k - first));
    }
}
template <typename T>
__global__ void __launch_bounds__(BLOCK) solve_factors(systems s, const T *a, const int32_t *pivots, T *x) {
    EACH_GROUP(s) {
        int64_t item = work / groups, first = work % groups * COLUMNS, size = (int64_t)s.n * s.n;
        int columns = (int)min((int64_t)COLUMNS, s.k - first), t = (int)threadIdx.x;
        T *own = x + item * s.n * s.k + first * s.column;
        const int32_t *p = pivots + item * s.n;
        reader<T> m = read_as(s, a + item * size);
        for (int stage = 0; stage < 3; stage++) {
            if (stage == (s.transposed ? 2 : 0)) {
                for (int i = 0; t < columns && i < s.n; i++) {
                    int64_t at = s.transposed ? s.n - 1 - i : i, other = (p[at] < 0 ? -p[at] : p[at]) - 1;
                    T swap = own[at * s.row + t * s.column];
                    own[at * s.row + t * s.column] = own[other * s.row + t * s.column];
                    own[other * s.row + t * s.column] = swap;
                }
                __syncthreads();
                continue;
            }
            /* L and U, or their transposes the other way round: either way what is lower comes first */
            bool is_lower = stage == (s.transposed ? 0 : 1);
            bool unit = is_lower != s.transposed;
            solve_steps<T>(m, is_lower, unit, s.n, own, s.row, s.column, columns);
        }
    }
}
static unsigned groups_of(const systems &s) {
    return cb_blocks(s.count * ((s.k + COLUMNS - 1) / COLUMNS), 1, INT32_MAX);
}

/* ---- determinants, from factors ---- */

/* Zero pivots become tiny ones: solving with them and multiplying by the determinant changed likewise gives
 * the adjugate, which a singular matrix has too. One thread a matrix. */
template <typename T>
__global__ void determinants(int64_t count, int n, T *all, const int32_t *pivots, T *dets, T *signs,
                             typename cb_traits<T>::real *logs, T *repairs) {
    typedef typename cb_traits<T>::real R;
    typedef cb_complex128 C;
    for (int64_t item = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; item < count;
         item += (int64_t)gridDim.x * blockDim.x) {
        T *a = all + item * n * n;
        double largest = 0, log_abs = 0;
        C det(1), replaced(1), sign(1);
        for (int pass = 0; pass < 2; pass++) {
            double tiny = (sizeof(R) == 8 ? 0x1p-52 : 0x1p-23) * (largest > 0 ? largest : 1);
            for (int i = 0; i < n; i++) {
                C u = cb_to<C>(a[(int64_t)i * n + i]);
                double size = hypot(u.re, u.im);
                if (pass == 0) {
                    largest = size > largest ? size : largest;
                    continue;
                }
                if (pivots[item * n + i] != i + 1) det = -det, replaced = -replaced, sign = -sign;
                det = det * u;
                replaced = replaced * (size == 0 ? C(tiny) : u);
                sign = sign * (size == 0 ? C(0) : C(u.re / size, u.im / size));
                log_abs += log_f64(size);
                if (size == 0) a[(int64_t)i * n + i] = cb_to<T>(tiny);
            }
        }
        bool singular = log_abs < 0 && isinf(log_abs);
        dets[item] = cb_to<T>(det);
        signs[item] = cb_to<T>(sign);
        logs[item] = (R)log_abs;
        repairs[item] = cb_to<T>(singular ? replaced - det : C(0));
    }
}

/* ---- moving ---- */

template <typename T> __global__ void fill_identity(int64_t all, int64_t n, T *x) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < all; i += (int64_t)gridDim.x * BLOCK)
        x[i] = T(i % (n * n) % (n + 1) == 0 ? 1 : 0);
}
template <typename T> __global__ void take_triangle(int64_t all, int64_t n, int part, bool both, T *a) {
    typedef typename cb_traits<T>::real R;
    for (int64_t u = (int64_t)blockIdx.x * BLOCK + threadIdx.x; u < all; u += (int64_t)gridDim.x * BLOCK) {
        int64_t item = u / (n * n), i = u / n % n, k = u % n;
        if (k > i) continue; /* the thread of the item below the diagonal does both */
        T *low = a + item * n * n + i * n + k, *high = a + item * n * n + k * n + i;
        T v = *low, other = conjugate<T>(*high);
        if (part == 1) v = other;
        if (part == 2) v = (v + other) * (R)0.5;
        if (i == k) v = T(real_part<T>(v)); /* as LAPACK, which does not look at the rest */
        if (both) {
            *low = conjugate<T>(v);
            *high = v;
        } else {
            if (i != k) *high = T(0);
            *low = v;
        }
    }
}
template <typename T>
__global__ void take_upper(int64_t all, int64_t rows, int64_t columns, int64_t ld, int64_t apart,
                           const T *from, T *to) {
    for (int64_t u = (int64_t)blockIdx.x * BLOCK + threadIdx.x; u < all; u += (int64_t)gridDim.x * BLOCK) {
        int64_t item = u / (rows * columns), i = u / columns % rows, k = u % columns;
        to[u] = k < i ? T(0) : from[item * apart + k * ld + i];
    }
}
template <typename R> __global__ void find_bad(int64_t count, int64_t each, const R *a, uint8_t *flags) {
    for (int64_t item = blockIdx.x; item < count; item += gridDim.x) {
        int bad = 0;
        for (int64_t i = threadIdx.x; i < each; i += BLOCK)
            bad |= !(a[item * each + i] - a[item * each + i] == 0);
        bad = __syncthreads_or(bad);
        if (threadIdx.x == 0) flags[item] = (uint8_t)(bad != 0);
    }
}
template <typename R> __global__ void put_nan(int64_t n, R *a) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < n; i += (int64_t)gridDim.x * BLOCK)
        a[i] = (R)NAN;
}

#define LAUNCH_OVER(kernel, items, ...) \
    CB_LAUNCH(kernel, cb_fill_blocks(items, BLOCK), BLOCK, 0, cb_stream(), __VA_ARGS__)
#define CASE(id, T, ...)  \
    case id: {            \
        typedef T number; \
        __VA_ARGS__;      \
        break;            \
    }
#define EACH_NUMBER(dtype, ...)                   \
    switch (dtype) {                              \
        CASE(CB_F32, float, __VA_ARGS__)          \
        CASE(CB_F64, double, __VA_ARGS__)         \
        CASE(CB_C64, cb_complex64, __VA_ARGS__)   \
        CASE(CB_C128, cb_complex128, __VA_ARGS__) \
    }
#define EACH_REAL(dtype, ...)             \
    switch (cb_real_dtype(dtype)) {       \
        CASE(CB_F32, float, __VA_ARGS__)  \
        CASE(CB_F64, double, __VA_ARGS__) \
    }

/* a tensor over device memory, for copies */
struct described {
    cb_tensor tensor = {};
    int64_t shape[CB_MAX_NDIM + 1], strides[CB_MAX_NDIM + 1];
    described(int dtype, void *data) {
        tensor.device = CB_CUDA;
        tensor.dtype = dtype;
        tensor.itemsize = cb_dtypes[dtype].size;
        tensor.numel = 1;
        tensor.data = data;
        tensor.shape = shape;
        tensor.strides = strides;
    }
    void dim(int64_t size, int64_t stride) {
        shape[tensor.ndim] = size;
        strides[tensor.ndim++] = stride;
        tensor.numel *= size;
    }
};

int cb_linalg_copy(const cb_lapack *j, int which, bool transposed, void *to) {
    const cb_tensor *x = j->in[which];
    /* vectors are matrices of one column */
    bool vector = which == 1 && j->kind == CB_LAPACK_LU_SOLVE;
    int core = vector ? 1 : 2, lead = x->ndim - core;
    int64_t rows = x->shape[lead], columns = vector ? 1 : x->shape[lead + 1],
            step = rows * columns * j->count;
    described from(x->dtype, x->data), dense(x->dtype, to);
    for (int d = 0; d < j->nbatch; d++) {
        int at = d - j->nbatch + lead;
        step /= CB_MAX(j->batch[d], 1);
        from.dim(j->batch[d], at < 0 || x->shape[at] == 1 ? 0 : x->strides[at]);
        dense.dim(j->batch[d], step);
    }
    from.dim(rows, x->strides[lead]);
    from.dim(columns, vector ? 0 : x->strides[lead + 1]);
    dense.dim(rows, transposed ? 1 : columns);
    dense.dim(columns, transposed ? rows : 1);
    return cb_cuda_copy(&dense.tensor, &from.tensor);
}
int cb_linalg_transpose(int dtype, int64_t count, int64_t rows, int64_t columns, int64_t apart,
                        const void *from_, void *to) {
    described from(dtype, (void *)from_), dense(dtype, to);
    from.dim(count, apart);
    dense.dim(count, rows * columns);
    from.dim(columns, 1);
    dense.dim(columns, rows);
    from.dim(rows, columns);
    dense.dim(rows, 1);
    return cb_cuda_copy(&dense.tensor, &from.tensor);
}
int cb_linalg_spread(int dtype, int64_t count, int64_t each, int64_t apart, const void *from_, void *to) {
    described from(dtype, (void *)from_), spread(dtype, to);
    from.dim(count, each);
    spread.dim(count, apart);
    from.dim(each, 1);
    spread.dim(each, 1);
    return cb_cuda_copy(&spread.tensor, &from.tensor);
}
int cb_linalg_triangle(int dtype, int64_t count, int64_t n, int part, bool both, void *a) {
    int64_t all = count * n * n;
    EACH_NUMBER(dtype, LAUNCH_OVER((take_triangle<number>), all, all, n, part, both, (number *)a))
    return cb_launched("linalg");
}
int cb_linalg_take_upper(int dtype, int64_t count, int64_t rows, int64_t columns, int64_t ld, int64_t apart,
                         const void *from, void *to) {
    int64_t all = count * rows * columns;
    if (all == 0) return CB_OK;
    EACH_NUMBER(dtype, LAUNCH_OVER((take_upper<number>), all, all, rows, columns, ld, apart,
                                   (const number *)from, (number *)to))
    return cb_launched("qr");
}
int cb_linalg_bad_items(int dtype, int64_t count, int64_t each, const void *a, uint8_t *flags) {
    cb_scratch found(count);
    if (!found.ok()) return CB_ERR_MEMORY;
    if (cb_is_complex(dtype)) each *= 2;
    EACH_REAL(dtype, CB_LAUNCH((find_bad<number>), cb_blocks(count, 1), BLOCK, 0, cb_stream(), count, each,
                               (const number *)a, found.as<uint8_t>()))
    CB_TRY(cb_launched("linalg"));
    return cb_read_back(flags, found.data, count);
}
int cb_linalg_fill_nan(int dtype, int64_t items, void *a) {
    if (cb_is_complex(dtype)) items *= 2;
    if (items == 0) return CB_OK;
    EACH_REAL(dtype, LAUNCH_OVER((put_nan<number>), items, items, (number *)a))
    return cb_launched("linalg");
}

/* ---- the calls ---- */

/* an operand as dense items: itself, or a copy in `room` */
struct dense_operand {
    const void *data;
    cb_scratch room;
    dense_operand(const cb_lapack *j, int which, int64_t each)
        : data(j->in[which]->data), room(j->in_step[which] ? 0 : j->count * each * j->in[which]->itemsize) {
        if (j->in_step[which] || !room.ok()) return;
        data = room.data;
        failed_ = cb_linalg_copy(j, which, false, room.data) != CB_OK;
    }
    int status() const { return !room.ok() ? CB_ERR_MEMORY : failed_ ? CB_ERR_INTERNAL : CB_OK; }

  private:
    bool failed_ = false;
};

static int solve(const cb_lapack *j, const systems &s, const void *a, const int32_t *pivots, void *x) {
    if (s.n == 0 || s.k == 0) return CB_OK;
    int64_t threads = CB_MIN(((int64_t)s.n * CB_MIN(s.k, (int)COLUMNS) + 31) / 32 * 32, (int64_t)BLOCK);
    if (pivots)
        EACH_NUMBER(j->dtype, CB_LAUNCH((solve_factors<number>), groups_of(s), (unsigned)threads, 0,
                                        cb_stream(), s, (const number *)a, pivots, (number *)x))
    else
        EACH_NUMBER(j->dtype, CB_LAUNCH((solve_triangles<number>), groups_of(s), (unsigned)threads, 0,
                                        cb_stream(), s, (const number *)a, (number *)x))
    return cb_launched(j->op);
}

static int factor_lu(const cb_lapack *j, void *a, int32_t *pivots, int32_t *infos) {
    EACH_NUMBER(j->dtype, return (run_factor<LU, number>(j->count, j->m, j->n, a, pivots, infos)))
    return CB_ERR_INTERNAL;
}

static int lu_solve(const cb_lapack *j) {
    dense_operand lu(j, 0, (int64_t)j->n * j->n), pivots(j, 1, j->n);
    CB_TRY(lu.status());
    CB_TRY(pivots.status());
    CB_TRY(cb_linalg_copy(j, 2, false, j->out[0]->data));
    systems s = {j->count, j->n, j->k, j->k, 1, j->flags[0] != 0, j->flags[0] == 2, false, false};
    return solve(j, s, lu.data, (const int32_t *)pivots.data, j->out[0]->data);
}

static int inverse(const cb_lapack *j) {
    int64_t all = j->count * j->n * j->n;
    cb_scratch lu(all * cb_dtypes[j->dtype].size), pivots(j->count * j->n * 4);
    if (!lu.ok() || !pivots.ok()) return CB_ERR_MEMORY;
    CB_TRY(cb_linalg_copy(j, 0, false, lu.data));
    CB_TRY(factor_lu(j, lu.data, pivots.as<int32_t>(), (int32_t *)j->out[1]->data));
    if (all == 0) return CB_OK;
    EACH_NUMBER(j->dtype,
                LAUNCH_OVER((fill_identity<number>), all, all, (int64_t)j->n, (number *)j->out[0]->data))
    systems s = {j->count, j->n, j->n, j->n, 1, false, false, false, false};
    return solve(j, s, lu.data, pivots.as<int32_t>(), j->out[0]->data);
}

static int determinant(const cb_lapack *j) {
    cb_scratch infos(j->count * 4);
    if (!infos.ok()) return CB_ERR_MEMORY;
    int32_t *pivots = (int32_t *)j->out[5]->data;
    CB_TRY(cb_linalg_copy(j, 0, false, j->out[4]->data));
    CB_TRY(factor_lu(j, j->out[4]->data, pivots, infos.as<int32_t>()));
    EACH_NUMBER(j->dtype, CB_LAUNCH((determinants<number>), cb_fill_blocks(j->count, 32), 32, 0, cb_stream(),
                                    j->count, j->n, (number *)j->out[4]->data, (const int32_t *)pivots,
                                    (number *)j->out[0]->data, (number *)j->out[1]->data,
                                    (cb_traits<number>::real *)j->out[2]->data, (number *)j->out[3]->data))
    return cb_launched("det");
}

static int cholesky(const cb_lapack *j) {
    CB_TRY(cb_linalg_copy(j, 0, false, j->out[0]->data));
    if (j->n) CB_TRY(cb_linalg_triangle(j->dtype, j->count, j->n, j->flags[0], false, j->out[0]->data));
    EACH_NUMBER(j->dtype, return (run_factor<CHOLESKY, number>(j->count, j->n, j->n, j->out[0]->data, nullptr,
                                                               (int32_t *)j->out[1]->data)))
    return CB_ERR_INTERNAL;
}

/* x op(a) = b is op(a)^T x^T = b^T */
static int triangular(const cb_lapack *j) {
    bool left = j->flags[1] & 1;
    int side = left ? j->m : j->n;
    dense_operand a(j, 0, (int64_t)side * side);
    CB_TRY(a.status());
    CB_TRY(cb_linalg_copy(j, 1, false, j->out[0]->data));
    systems s = {j->count,
                 side,
                 left ? j->n : j->m,
                 left ? j->n : 1,
                 left ? 1 : j->n,
                 (j->flags[2] != 0) == left,
                 j->flags[2] == 2,
                 j->flags[0] == 0,
                 (j->flags[1] & 2) != 0};
    return solve(j, s, a.data, nullptr, j->out[0]->data);
}

int cb_cuda_lapack(const cb_lapack *j) {
    int order = CB_MAX(j->m, j->n);
    bool library = cb_library_has_linalg(), own = order <= (library ? OWN_BEST : OWN_MOST);
    switch (j->kind) {
        case CB_LAPACK_LU_SOLVE: return lu_solve(j);
        case CB_LAPACK_TRIANGULAR: return triangular(j);
        case CB_LAPACK_INVERSE: return order <= OWN_MOST ? inverse(j) : CB_ERR_UNSUPPORTED;
        case CB_LAPACK_DET: return order <= OWN_MOST ? determinant(j) : CB_ERR_UNSUPPORTED;
        case CB_LAPACK_LU:
            if (!own) break;
            CB_TRY(cb_linalg_copy(j, 0, false, j->out[0]->data));
            return factor_lu(j, j->out[0]->data, (int32_t *)j->out[1]->data, (int32_t *)j->out[2]->data);
        case CB_LAPACK_CHOLESKY:
            if (!own) break;
            return cholesky(j);
        default: break;
    }
    return library ? cb_library_lapack(j) : CB_ERR_UNSUPPORTED;
}
