/* Fourier transforms along one dim of contiguous tensors.
 *
 * Everything is one kernel: short transforms of V signals side by side, one a lane (fft_passes.h). Signals of
 * a tensor fill the lanes where there are many; a single signal fills them with its own columns
 * (fft_lines.h). So all arithmetic is vectorised, whatever the layout, and data is moved by register
 * transposes (fft_moves.h). Plans are kept in a small cache, bounded in number and bytes. Nobody waits for
 * its lock: a plan that cannot be looked up is made anew. */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "cpu.h"

enum { FFT_C2C, FFT_R2C, FFT_C2R };
enum {
    FFT_MAX_RADIX = 61,   /* larger prime factors cost more than Bluestein's method */
    FFT_MAX_BLOCK = 4096, /* the longest transform of lanes: its scratch still fits L2 or nearly */
    FFT_MAX_FACTORS = 64,
    FFT_MAX_TABLES = 16,
    FFT_WORK = 32768, /* complex items a piece of parallel work */
};

typedef struct fft_stages {
    int64_t n;
    int count;
    int radix[FFT_MAX_FACTORS];
    void *twiddles;
} fft_stages;

typedef struct fft_plan fft_plan;
struct fft_plan {
    atomic_int references;
    int64_t length; /* the key: points of the signal, real or not, itemsize of the real type */
    bool real;
    int itemsize;
    int64_t n;                        /* complex points to transform */
    fft_stages whole, first, second;  /* whole.n is 0 for lengths that are not done in blocks of lanes */
    void *near, *far; /* of the four steps: w_n^(k1 l) for lane l, [k1][re, im][l]; w_n^(k1 V b), [b][k1] */
    fft_plan *inner; /* Bluestein's: NULL for smooth lengths */
    void *chirp, *filter;
    void *turns; /* w_length^k of even real lengths */
    int64_t nbytes;
    int table_count;
    void *tables[FFT_MAX_TABLES];
};

static int64_t fft_grain(int64_t items) { return CB_MAX(1, FFT_WORK / items); }

/* exp(-2 pi i k / n) */
static void fft_turn(int64_t k, int64_t n, double *re, double *im) {
    k %= n;
    int64_t octant = 8 * k / n, rest = 8 * k - octant * n;
    if (octant % 2) rest = n - rest;
    double angle = 0.78539816339744830962 * ((double)rest / (double)n), c = cos(angle), s = sin(angle);
    bool steep = (octant + 1) / 2 % 2; /* nearer to the imaginary axis */
    double x = steep ? s : c, y = steep ? c : s;
    *re = octant >= 2 && octant < 6 ? -x : x;
    *im = octant < 4 ? -y : y;
}

/* n as a product of radices 8, 4, 2, 3, 5 and other primes */
static int fft_factor(int64_t n, int *radix) {
    int count = 0, twos = 0;
    for (; n % 2 == 0; n /= 2) twos++;
    if (twos % 3 == 1 && twos > 1) radix[count++] = 4, twos -= 2;
    if (twos % 3) radix[count++] = 1 << twos % 3;
    for (; twos >= 3; twos -= 3) radix[count++] = 8;
    for (int r = 3; n > 1; r += 2)
        for (; n % r == 0; n /= r) radix[count++] = r;
    return count;
}

static bool fft_is_smooth(int64_t n) {
    for (int r = 2; r <= FFT_MAX_RADIX; r++)
        while (n % r == 0) n /= r;
    return n == 1;
}

/* the least product of 2, 3 and 5 that is at least n and, for longer ones, a multiple of 64 */
static int64_t fft_smooth_length(int64_t n) {
    int64_t unit = n > 256 ? 64 : 1, best = INT64_MAX;
    for (int64_t five = unit; five < best; five *= 5)
        for (int64_t three = five; three < best; three *= 3) {
            int64_t m = three;
            while (m < n) m *= 2;
            best = CB_MIN(best, m);
            if (three >= n) break;
        }
    return best;
}

/* ---- plans and their cache ---- */

static fft_plan *fft_plan_new(int64_t length, bool real, int itemsize) {
    fft_plan *plan = calloc(1, sizeof *plan);
    if (!plan) {
        cb_fail(CB_ERR_MEMORY, "fft: no memory for a plan of %lld points.", (long long)length);
        return NULL;
    }
    atomic_init(&plan->references, 1);
    plan->length = length;
    plan->real = real;
    plan->itemsize = itemsize;
    return plan;
}

/* not through cb_alloc: what is kept here is no tensor's */
static void *fft_plan_memory(fft_plan *plan, int64_t nbytes) {
    nbytes = (CB_MAX(nbytes, 1) + 63) / 64 * 64;
    void *memory = aligned_alloc(64, (size_t)nbytes);
    if (!memory) {
        cb_fail(CB_ERR_MEMORY, "fft: no memory for a plan of %lld points.", (long long)plan->length);
        return NULL;
    }
    plan->nbytes += nbytes;
    return plan->tables[plan->table_count++] = memory;
}

static void fft_plan_release(fft_plan *plan) {
    if (!plan || atomic_fetch_sub(&plan->references, 1) > 1) return;
    for (int i = 0; i < plan->table_count; i++) free(plan->tables[i]);
    fft_plan_release(plan->inner);
    free(plan);
}

enum { FFT_CACHE = 32, FFT_CACHE_BYTES = 64 << 20, FFT_TRIES = 1000 };
static struct {
    atomic_flag lock;
    int count;
    int64_t nbytes;
    fft_plan *plans[FFT_CACHE]; /* latest use first */
} fft_cache = {.lock = ATOMIC_FLAG_INIT};

/* held for a few moves of pointers; a forked child may find it held for ever, so tries are counted */
static bool fft_cache_enter(void) {
    for (int i = 0; i < FFT_TRIES; i++)
        if (!atomic_flag_test_and_set_explicit(&fft_cache.lock, memory_order_acquire)) return true;
    return false;
}
static void fft_cache_leave(void) { atomic_flag_clear_explicit(&fft_cache.lock, memory_order_release); }

static fft_plan *fft_cache_find(int64_t length, bool real, int itemsize) {
    if (!fft_cache_enter()) return NULL;
    fft_plan *found = NULL;
    for (int i = 0; i < fft_cache.count && !found; i++) {
        fft_plan *plan = fft_cache.plans[i];
        if (plan->length != length || plan->real != real || plan->itemsize != itemsize) continue;
        memmove(fft_cache.plans + 1, fft_cache.plans, (size_t)i * sizeof plan);
        fft_cache.plans[0] = found = plan;
        atomic_fetch_add(&plan->references, 1);
    }
    fft_cache_leave();
    return found;
}

/* keeps a reference of its own; gives the plan back */
static fft_plan *fft_cache_keep(fft_plan *plan) {
    fft_plan *dropped[FFT_CACHE];
    int drops = 0;
    if (plan->nbytes > FFT_CACHE_BYTES || !fft_cache_enter()) return plan;
    while (fft_cache.count == FFT_CACHE ||
           (fft_cache.count && fft_cache.nbytes + plan->nbytes > FFT_CACHE_BYTES)) {
        fft_plan *last = dropped[drops++] = fft_cache.plans[--fft_cache.count];
        fft_cache.nbytes -= last->nbytes;
    }
    memmove(fft_cache.plans + 1, fft_cache.plans, (size_t)fft_cache.count++ * sizeof plan);
    fft_cache.plans[0] = plan;
    fft_cache.nbytes += plan->nbytes;
    atomic_fetch_add(&plan->references, 1);
    fft_cache_leave();
    for (int i = 0; i < drops; i++) fft_plan_release(dropped[i]);
    return plan;
}

/* ---- float and double ---- */

#if defined(__AVX512F__)
#define VECTOR 64
#else
#define VECTOR 32
#endif
#if defined(__clang__)
#define SHUFFLE_(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE_(a, b, ...) __builtin_shuffle(a, b, (MASK){__VA_ARGS__})
#endif
#define SHUFFLE(a, b, list) SHUFFLE_(a, b, list)
#define LOW_4 0, 4, 1, 5
#define HIGH_4 2, 6, 3, 7
#define EVEN_4 0, 2, 4, 6
#define ODD_4 1, 3, 5, 7
#define LOW_8 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH_8 4, 12, 5, 13, 6, 14, 7, 15
#define EVEN_8 0, 2, 4, 6, 8, 10, 12, 14
#define ODD_8 1, 3, 5, 7, 9, 11, 13, 15
#define LOW_16 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH_16 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define EVEN_16 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODD_16 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31

#define F float
#define NAME(name) fft_##name##_f32
#define V fft_lanes_f32
#define MASK fft_mask_f32
typedef float V __attribute__((vector_size(VECTOR)));
typedef int32_t MASK __attribute__((vector_size(VECTOR)));
#if VECTOR == 64
enum { LANES_F32 = 16 };
#define LOW LOW_16
#define HIGH HIGH_16
#define EVEN EVEN_16
#define ODD ODD_16
#else
enum { LANES_F32 = 8 };
#define LOW LOW_8
#define HIGH HIGH_8
#define EVEN EVEN_8
#define ODD ODD_8
#endif
#define LANES LANES_F32
#include "fft_typed.h"

#define F double
#define NAME(name) fft_##name##_f64
#define V fft_lanes_f64
#define MASK fft_mask_f64
typedef double V __attribute__((vector_size(VECTOR)));
typedef int64_t MASK __attribute__((vector_size(VECTOR)));
#if VECTOR == 64
enum { LANES_F64 = 8 };
#define LOW LOW_8
#define HIGH HIGH_8
#define EVEN EVEN_8
#define ODD ODD_8
#else
enum { LANES_F64 = 4 };
#define LOW LOW_4
#define HIGH HIGH_4
#define EVEN EVEN_4
#define ODD ODD_4
#endif
#define LANES LANES_F64
#include "fft_typed.h"

static int drive(int kind, const cb_tensor *x, int dim, int forward, double ends, double inside,
                 cb_tensor *out) {
    return cb_real_dtype(x->dtype) == CB_F32 ? fft_drive_f32(kind, x, dim, forward, ends, inside, out)
                                             : fft_drive_f64(kind, x, dim, forward, ends, inside, out);
}

int CB_FN(fft_c2c)(const cb_tensor *x, int dim, int forward, double scale, cb_tensor *out) {
    return drive(FFT_C2C, x, dim, forward, scale, scale, out);
}
int CB_FN(fft_r2c)(const cb_tensor *x, int dim, double ends, double inside, cb_tensor *out) {
    return drive(FFT_R2C, x, dim, 1, ends, inside, out);
}
int CB_FN(fft_c2r)(const cb_tensor *x, int dim, double ends, double inside, cb_tensor *out) {
    return drive(FFT_C2R, x, dim, 0, ends, inside, out);
}

typedef struct mirror_run {
    const cb_tensor *half;
    cb_tensor *out;
    int64_t n, inner;
    bool forward;
} mirror_run;

/* n runs of `inner` items to places `step` apart, conjugated where asked. A complex64 is moved as one
 * word, whose highest bit is the sign of the imaginary part */
#define MIRROR(name, P, CONJUGATE)                                                                       \
    static void mirror_##name(P *y, const P *x, int64_t n, int64_t step, int64_t inner, bool conj) {     \
        if (step == -1 && inner == 1)                                                                    \
            for (int64_t k = 0; k < n; k++) y[-k] = CONJUGATE(x[k], conj);                               \
        else                                                                                             \
            for (int64_t k = 0; k < n; k++)                                                              \
                for (int64_t i = 0; i < inner; i++) y[k * step + i] = CONJUGATE(x[k * inner + i], conj); \
    }                                                                                                    \
    static void mirror_lines_##name(void *context, int64_t begin, int64_t end) {                         \
        const mirror_run *m = context;                                                                   \
        int64_t n = m->n, inner = m->inner, held = n / 2 + 1;                                            \
        for (int64_t o = begin; o < end; o++) {                                                          \
            const P *x = (const P *)m->half->data + o * held * inner;                                    \
            P *y = (P *)m->out->data + o * n * inner;                                                    \
            mirror_##name(y, x, 1, held * inner, held * inner, !m->forward);                             \
            mirror_##name(y + (n - 1) * inner, x + inner, n - held, -inner, inner, m->forward);          \
        }                                                                                                \
    }
#define FLIP_SIGN(x, conj) ((x) ^ (uint64_t)(conj) << 63)
#define FLIP_PART(x, conj) ((conj) ? __builtin_conj(x) : (x))
MIRROR(narrow, uint64_t, FLIP_SIGN)
MIRROR(wide, cb_complex128, FLIP_PART)

void CB_FN(fft_mirror)(const cb_tensor *half, int dim, int forward, cb_tensor *out) {
    mirror_run m = {.half = half, .out = out, .n = out->shape[dim], .inner = 1, .forward = forward};
    for (int d = dim + 1; d < out->ndim; d++) m.inner *= out->shape[d];
    int64_t line = m.n * m.inner;
    cb_parallel(out->numel / line, CB_MAX(32768 / line, 1),
                out->dtype == CB_C64 ? mirror_lines_narrow : mirror_lines_wide, &m);
}
