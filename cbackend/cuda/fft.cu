/* Fourier transforms along a dimension: by cuFFT where it is there (fft_library.cc), else by own kernels.
 *
 * Lengths with factors 2, 3, 4, 5: Stockham's passes, which need no reordering of digits. A pass of radix r
 * over a line of n points, after passes whose radices multiply to s, takes its butterfly t = p s + q (q < s)
 * from the places t + j n / r, and puts frequency k of it, turned by exp(-2 pi i p k s / n), to the place
 * q + s (r p + k). In shared memory where two copies of a line fit, else in global memory. Other lengths:
 * Bluestein's convolution with a chirp, of a longer length with small factors.
 *
 * Reference: Stockham 1966, High-speed convolution and correlation; Bluestein 1970, A linear filtering
 * approach to the computation of discrete Fourier transform. */
#include "kernels.h"

#include "fft_library.h"
#include "vmath.h"

enum { BLOCK = 256, MOST_PASSES = 64, LINES_WORTH = 1024 };

template <typename R> CB_DEV cb_complex_of<R> turned(cb_complex_of<R> z, cb_complex_of<R> by) {
    return {z.re * by.re - z.im * by.im, z.re * by.im + z.im * by.re};
}

/* Where the points of lines come from and go to. Factors are those of the table's entries: `ends` for
 * frequencies 0 and n / 2, `inside` for the others, which are half a spectrum's for real signals. */
template <typename R> struct signals {
    typedef cb_complex_of<R> C;
    int kind;
    bool forward;
    int64_t n, lines, inner; /* inner: items between the neighbours of a line, which is how many lines lie
                                between each other */
    const void *from;
    void *to;
    R ends, inside;

    __device__ __forceinline__ int64_t place(int64_t line, int64_t i, int64_t held) const {
        return (line / inner * held + i) * inner + line % inner;
    }
    __device__ __forceinline__ R factor(int64_t k) const { return k == 0 || 2 * k == n ? ends : inside; }
    __device__ __forceinline__ C load(int64_t line, int64_t i) const {
        if (kind == CB_FFT_R2C) return C(((const R *)from)[place(line, i, n)]);
        if (kind == CB_FFT_C2C) return ((const C *)from)[place(line, i, n)];
        int64_t held = n / 2 + 1, k = i < held ? i : n - i;
        C z = ((const C *)from)[place(line, k, held)];
        R by = factor(k);
        return {z.re * by, i < held ? z.im * by : -z.im * by};
    }
    __device__ __forceinline__ void store(int64_t line, int64_t k, C z) const {
        if (kind == CB_FFT_C2R) {
            ((R *)to)[place(line, k, n)] = z.re;
            return;
        }
        int64_t held = kind == CB_FFT_R2C ? n / 2 + 1 : n;
        R by = kind == CB_FFT_R2C ? factor(k) : inside;
        if (k < held) ((C *)to)[place(line, k, held)] = C(z.re * by, z.im * by);
    }
};

/* ---- butterflies ---- */

/* frequencies of `RADIX` points; sign: of the exponent */
template <int RADIX, typename R> CB_DEV void frequencies(cb_complex_of<R> (&v)[RADIX], R sign) {
    typedef cb_complex_of<R> C;
    if constexpr (RADIX == 2) {
        C a = v[0], b = v[1];
        v[0] = a + b;
        v[1] = a - b;
    } else if constexpr (RADIX == 3) {
        const R sine = (R)0.86602540378443864676 * sign;
        C sum = v[1] + v[2], difference = v[1] - v[2];
        C middle(v[0].re - sum.re * (R)0.5, v[0].im - sum.im * (R)0.5);
        C across(-difference.im * sine, difference.re * sine); /* times i sign sin(2 pi / 3) */
        v[0] = v[0] + sum;
        v[1] = middle + across;
        v[2] = middle - across;
    } else if constexpr (RADIX == 4) {
        C even = v[0] + v[2], even_ = v[0] - v[2], odd = v[1] + v[3], odd_ = v[1] - v[3];
        C across(-odd_.im * sign, odd_.re * sign);
        v[0] = even + odd;
        v[1] = even_ + across;
        v[2] = even - odd;
        v[3] = even_ - across;
    } else {
        const R c1 = (R)0.30901699437494742410, c2 = (R)-0.80901699437494742410;
        const R s1 = (R)0.95105651629515357212 * sign, s2 = (R)0.58778525229247312917 * sign;
        C a = v[1] + v[4], a_ = v[1] - v[4], b = v[2] + v[3], b_ = v[2] - v[3];
        C first(v[0].re + a.re * c1 + b.re * c2, v[0].im + a.im * c1 + b.im * c2);
        C second(v[0].re + a.re * c2 + b.re * c1, v[0].im + a.im * c2 + b.im * c1);
        C across(-(a_.im * s1 + b_.im * s2), a_.re * s1 + b_.re * s2);
        C across_(-(a_.im * s2 - b_.im * s1), a_.re * s2 - b_.re * s1);
        v[0] = v[0] + a + b;
        v[1] = first + across;
        v[4] = first - across;
        v[2] = second + across_;
        v[3] = second - across_;
    }
}

/* butterfly t of a line from x to y; turns: exp(sign 2 pi i k / n) */
template <int RADIX, typename R, typename X, typename Y>
CB_DEV void butterfly(X x, Y y, const cb_complex_of<R> *turns, R sign, int64_t n, int64_t s, int64_t t) {
    int64_t p = t / s, q = t - p * s;
    cb_complex_of<R> v[RADIX];
    for (int j = 0; j < RADIX; j++) v[j] = x[t + j * (n / RADIX)];
    frequencies<RADIX, R>(v, sign);
    y[q + s * (RADIX * p)] = v[0];
    for (int k = 1; k < RADIX; k++) y[q + s * (RADIX * p + k)] = turned(v[k], turns[p * k * s]);
}
template <typename R, typename X, typename Y>
CB_DEV void butterfly_of(int radix, X x, Y y, const cb_complex_of<R> *turns, R sign, int64_t n, int64_t s,
                         int64_t t) {
    switch (radix) {
        case 2: butterfly<2, R>(x, y, turns, sign, n, s, t); break;
        case 3: butterfly<3, R>(x, y, turns, sign, n, s, t); break;
        case 4: butterfly<4, R>(x, y, turns, sign, n, s, t); break;
        default: butterfly<5, R>(x, y, turns, sign, n, s, t);
    }
}

struct passes {
    int count;
    int8_t radix[MOST_PASSES];
    /* false: n has a larger prime factor than 5 */
    bool find(int64_t n) {
        static const int radices[] = {4, 2, 3, 5};
        count = 0;
        for (int r : radices)
            for (; n % r == 0; n /= r) radix[count++] = (int8_t)r;
        return n == 1;
    }
};

/* ---- kernels ---- */

template <typename R> __global__ void fill_turns(int64_t n, double sign, cb_complex_of<R> *turns) {
    for (int64_t k = (int64_t)blockIdx.x * BLOCK + threadIdx.x; k < n; k += (int64_t)gridDim.x * BLOCK) {
        double angle = 6.283185307179586477 * (double)k / (double)n;
        turns[k] = {(R)cos_f64(angle), (R)(sign * sin_f64(angle))};
    }
}

/* `each` lines a block, in shared memory from the first pass to the last */
template <typename R>
__global__ void __launch_bounds__(BLOCK)
    transform_shared(signals<R> s, passes p, int64_t each, const cb_complex_of<R> *turns) {
    CB_DYNAMIC_SHARED(cb_complex_of<R>, room);
    R sign = s.forward ? (R)-1 : (R)1;
    for (int64_t first = blockIdx.x * each; first < s.lines; first += gridDim.x * each) {
        int64_t lines = min(each, s.lines - first), all = lines * s.n;
        /* neighbouring threads take neighbouring memory */
        for (int64_t i = threadIdx.x; i < all; i += blockDim.x) {
            int64_t line = s.inner == 1 ? i / s.n : i % lines, k = s.inner == 1 ? i % s.n : i / lines;
            room[line * s.n + k] = s.load(first + line, k);
        }
        int64_t from = 0, to = each * s.n, done = 1;
        for (int pass = 0; pass < p.count; pass++) {
            __syncthreads();
            int64_t share = s.n / p.radix[pass];
            for (int64_t i = threadIdx.x; i < lines * share; i += blockDim.x) {
                int64_t line = i / share * s.n;
                butterfly_of<R>(p.radix[pass], room + (from + line), room + (to + line), turns, sign, s.n,
                                done, i % share);
            }
            done *= p.radix[pass];
            int64_t swap = from;
            from = to;
            to = swap;
        }
        __syncthreads();
        for (int64_t i = threadIdx.x; i < all; i += blockDim.x) {
            int64_t line = s.inner == 1 ? i / s.n : i % lines, k = s.inner == 1 ? i % s.n : i / lines;
            s.store(first + line, k, room[from + line * s.n + k]);
        }
        __syncthreads();
    }
}

/* points of all lines into dense lines, and back. With a chirp: turned by it, in lines of m points. */
template <typename R>
__global__ void load_lines(signals<R> s, int64_t m, const cb_complex_of<R> *chirp, cb_complex_of<R> *dense) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < s.lines * m;
         i += (int64_t)gridDim.x * BLOCK) {
        int64_t line = i / m, k = i - line * m;
        cb_complex_of<R> z(0);
        if (k < s.n) z = s.load(line, k);
        dense[i] = chirp && k < s.n ? turned(z, chirp[k]) : z;
    }
}
template <typename R>
__global__ void store_lines(signals<R> s, int64_t m, const cb_complex_of<R> *chirp,
                            const cb_complex_of<R> *dense) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < s.lines * s.n;
         i += (int64_t)gridDim.x * BLOCK) {
        int64_t line = i / s.n, k = i - line * s.n;
        cb_complex_of<R> z = dense[line * m + k];
        if (chirp) z = turned(cb_complex_of<R>(z.re, -z.im), chirp[k]);
        s.store(line, k, z);
    }
}

template <typename R>
__global__ void transform_pass(int64_t lines, int64_t n, int radix, int64_t done, R sign,
                               const cb_complex_of<R> *turns, const cb_complex_of<R> *x,
                               cb_complex_of<R> *y) {
    int64_t share = n / radix;
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < lines * share;
         i += (int64_t)gridDim.x * BLOCK) {
        int64_t line = i / share * n;
        butterfly_of<R>(radix, x + line, y + line, turns, sign, n, done, i % share);
    }
}

/* exp(sign pi i k^2 / n), and the convolution's other factor: its conjugate, at both sides of 0 */
template <typename R>
__global__ void fill_chirp(int64_t n, int64_t m, double sign, cb_complex_of<R> *chirp,
                           cb_complex_of<R> *filter) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < m; i += (int64_t)gridDim.x * BLOCK) {
        int64_t k = i < n ? i : m - i;
        double angle = 3.141592653589793238 *
                       (double)(int64_t)((uint64_t)k * (uint64_t)k % (uint64_t)(2 * n)) / (double)n;
        R c = (R)cos_f64(angle), s = (R)(sign * sin_f64(angle));
        if (i < n) chirp[i] = {c, s};
        filter[i] = k < n ? cb_complex_of<R>(c, -s) : cb_complex_of<R>(0);
    }
}
/* the product of spectra, divided by m, as the conjugate: the next forward transform is then an inverse one
 */
template <typename R>
__global__ void multiply_lines(int64_t all, int64_t m, const cb_complex_of<R> *filter,
                               cb_complex_of<R> *dense) {
    R scale = (R)1 / (R)m;
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < all; i += (int64_t)gridDim.x * BLOCK) {
        cb_complex_of<R> z = turned(dense[i], filter[i % m]);
        dense[i] = {z.re * scale, -z.im * scale};
    }
}

/* half spectra times their factors */
template <typename R>
__global__ void weigh_half(int64_t lines, int64_t n, R ends, R inside, const cb_complex_of<R> *from,
                           cb_complex_of<R> *to) {
    int64_t held = n / 2 + 1;
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < lines * held;
         i += (int64_t)gridDim.x * BLOCK) {
        int64_t k = i % held;
        cb_complex_of<R> z = from[i];
        R by = k == 0 || 2 * k == n ? ends : inside;
        to[i] = {z.re * by, z.im * by};
    }
}
template <typename R> __global__ void scale_items(int64_t n, R by, cb_complex_of<R> *x) {
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < n; i += (int64_t)gridDim.x * BLOCK) {
        cb_complex_of<R> z = x[i];
        x[i] = {z.re * by, z.im * by};
    }
}

#define LAUNCH_OVER(kernel, items, ...) \
    CB_LAUNCH(kernel, cb_fill_blocks(items, BLOCK), BLOCK, 0, cb_stream(), __VA_ARGS__)

/* ---- own transforms ---- */

template <typename R> static int transform_smooth(const signals<R> &s, const passes &p) {
    typedef cb_complex_of<R> C;
    cb_scratch turns(s.n * (int64_t)sizeof(C));
    if (!turns.ok()) return CB_ERR_MEMORY;
    LAUNCH_OVER((fill_turns<R>), s.n, s.n, s.forward ? -1.0 : 1.0, turns.as<C>());
    int64_t line = 2 * s.n * (int64_t)sizeof(C);
    if (line <= cb_shared_limit()) {
        int64_t each = CB_MAX(LINES_WORTH / s.n, 1);
        int64_t threads = CB_MIN((each * s.n / 4 + 31) / 32 * 32, (int64_t)BLOCK);
        CB_LAUNCH((transform_shared<R>), cb_fill_blocks(s.lines, each), (unsigned)CB_MAX(threads, 32),
                  each * line, cb_stream(), s, p, each, turns.as<C>());
        return cb_launched("fft");
    }
    int64_t all = s.lines * s.n;
    cb_scratch room(2 * all * (int64_t)sizeof(C));
    if (!room.ok()) return CB_ERR_MEMORY;
    C *x = room.as<C>(), *y = x + all;
    LAUNCH_OVER((load_lines<R>), all, s, s.n, (const C *)nullptr, x);
    int64_t done = 1;
    for (int pass = 0; pass < p.count; pass++) {
        LAUNCH_OVER((transform_pass<R>), all / p.radix[pass], s.lines, s.n, (int)p.radix[pass], done,
                    s.forward ? (R)-1 : (R)1, turns.as<C>(), (const C *)x, y);
        done *= p.radix[pass];
        C *swap = x;
        x = y;
        y = swap;
    }
    LAUNCH_OVER((store_lines<R>), all, s, s.n, (const C *)nullptr, (const C *)x);
    return cb_launched("fft");
}

template <typename R> static int transform_any(const signals<R> &s) {
    typedef cb_complex_of<R> C;
    passes p;
    if (p.find(s.n)) return transform_smooth(s, p);
    int64_t m = 2 * s.n - 1;
    while (!p.find(m)) m++;
    cb_scratch room((s.n + m + s.lines * m) * (int64_t)sizeof(C));
    if (!room.ok()) return CB_ERR_MEMORY;
    C *chirp = room.as<C>(), *filter = chirp + s.n, *dense = filter + m;
    LAUNCH_OVER((fill_chirp<R>), m, s.n, m, s.forward ? -1.0 : 1.0, chirp, filter);
    signals<R> of_filter = {CB_FFT_C2C, true, m, 1, 1, filter, filter, (R)1, (R)1};
    signals<R> of_lines = {CB_FFT_C2C, true, m, s.lines, 1, dense, dense, (R)1, (R)1};
    CB_TRY(transform_smooth(of_filter, p));
    LAUNCH_OVER((load_lines<R>), s.lines * m, s, m, (const C *)chirp, dense);
    CB_TRY(transform_smooth(of_lines, p));
    LAUNCH_OVER((multiply_lines<R>), s.lines * m, s.lines * m, m, (const C *)filter, dense);
    CB_TRY(transform_smooth(of_lines, p));
    LAUNCH_OVER((store_lines<R>), s.lines * s.n, s, m, (const C *)chirp, (const C *)dense);
    return cb_launched("fft");
}

/* ---- by cuFFT ---- */

template <typename R> static int transform_by_library(const signals<R> &s) {
    typedef cb_complex_of<R> C;
    const bool wide = sizeof(R) == 8;
    int64_t n = s.n, lines = s.lines, held = n / 2 + 1;
    if (s.kind == CB_FFT_C2C && (s.inner == 1 || s.inner == lines)) {
        int64_t step = s.inner, apart = s.inner == 1 ? n : 1;
        CB_TRY(cb_library_fft({CB_FFT_C2C, wide, s.forward, n, lines, step, apart, step, apart},
                              (void *)s.from, s.to));
        if (s.inside != (R)1) LAUNCH_OVER((scale_items<R>), lines * n, lines * n, s.inside, (C *)s.to);
        return cb_launched("fft");
    }
    if (s.kind == CB_FFT_R2C && s.inner == 1) {
        CB_TRY(cb_library_fft({CB_FFT_R2C, wide, true, n, lines, 1, n, 1, held}, (void *)s.from, s.to));
        if (s.ends != (R)1 || s.inside != (R)1)
            LAUNCH_OVER((weigh_half<R>), lines * held, lines, n, s.ends, s.inside, (const C *)s.to,
                        (C *)s.to);
        return cb_launched("fft");
    }
    bool half = s.kind == CB_FFT_C2R && s.inner == 1;
    cb_scratch room(lines * (half ? held : n) * (int64_t)sizeof(C));
    if (!room.ok()) return CB_ERR_MEMORY;
    C *dense = room.as<C>();
    if (half) { /* cuFFT may overwrite it */
        LAUNCH_OVER((weigh_half<R>), lines * held, lines, n, s.ends, s.inside, (const C *)s.from, dense);
        return cb_library_fft({CB_FFT_C2R, wide, false, n, lines, 1, held, 1, n}, dense, s.to);
    }
    LAUNCH_OVER((load_lines<R>), lines * n, s, n, (const C *)nullptr, dense);
    CB_TRY(cb_library_fft({CB_FFT_C2C, wide, s.forward, n, lines, 1, n, 1, n}, dense, dense));
    LAUNCH_OVER((store_lines<R>), lines * n, s, n, (const C *)nullptr, (const C *)dense);
    return cb_launched("fft");
}

/* ---- entries of the table ---- */

template <typename R>
static int run(int kind, const cb_tensor *x, int dim, int forward, double ends, double inside,
               cb_tensor *out) {
    const cb_tensor *whole = kind == CB_FFT_R2C ? x : out; /* the one with n points */
    signals<R> s = {kind, forward != 0, whole->shape[dim], 0, 1, x->data, out->data, (R)ends, (R)inside};
    for (int d = dim + 1; d < out->ndim; d++) s.inner *= out->shape[d];
    s.lines = whole->numel / s.n;
    return cb_library_has_fft() ? transform_by_library(s) : transform_any(s);
}

int cb_cuda_fft_c2c(const cb_tensor *x, int dim, int forward, double scale, cb_tensor *out) {
    return (x->dtype == CB_C64 ? run<float> : run<double>)(CB_FFT_C2C, x, dim, forward, scale, scale, out);
}
int cb_cuda_fft_r2c(const cb_tensor *x, int dim, double ends, double inside, cb_tensor *out) {
    return (x->dtype == CB_F32 ? run<float> : run<double>)(CB_FFT_R2C, x, dim, 1, ends, inside, out);
}
int cb_cuda_fft_c2r(const cb_tensor *x, int dim, double ends, double inside, cb_tensor *out) {
    return (x->dtype == CB_C64 ? run<float> : run<double>)(CB_FFT_C2R, x, dim, 0, ends, inside, out);
}

/* ---- the whole spectrum of a real signal from half of it ---- */

template <typename R>
__global__ void mirror_lines(int64_t all, int64_t n, int64_t inner, int forward, const cb_complex_of<R> *half,
                             cb_complex_of<R> *out) {
    int64_t most = n / 2 + 1;
    for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < all; i += (int64_t)gridDim.x * BLOCK) {
        int64_t k = i / inner % n, line = i / inner / n, column = i % inner;
        bool mirrored = k >= most;
        cb_complex_of<R> v = half[(line * most + (mirrored ? n - k : k)) * inner + column];
        if (mirrored == (forward != 0)) v.im = -v.im; /* the inverse transform is the conjugate */
        out[i] = v;
    }
}

template <typename R> static void mirror(const cb_tensor *half, int dim, int forward, cb_tensor *out) {
    int64_t inner = 1;
    for (int d = dim + 1; d < out->ndim; d++) inner *= out->shape[d];
    LAUNCH_OVER((mirror_lines<R>), out->numel, out->numel, out->shape[dim], inner, forward,
                (const cb_complex_of<R> *)half->data, (cb_complex_of<R> *)out->data);
}

void cb_cuda_fft_mirror(const cb_tensor *half, int dim, int forward, cb_tensor *out) {
    if (out->dtype == CB_C128)
        mirror<double>(half, dim, forward, out);
    else
        mirror<float>(half, dim, forward, out);
}
