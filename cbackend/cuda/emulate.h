/* Lets a C++ compiler build the .cu files for the processor, so that tests run the kernels where there is no
 * GPU, and find there what a GPU would do silently. Included by kernels.h under CB_EMULATE; emulate.cc is
 * the machinery.
 *
 * A launch runs its blocks one after the other in the calling thread; the CUDA threads of a block run one
 * after the other until they block at a barrier or a shuffle, each then on a fibre of its own. Reported, with
 * kernel, block and thread, as the error of the launch (set FL_EMULATE_ABORT=1 to stop in a debugger):
 *   - shared memory: accesses out of bounds, reads of what nobody wrote, races (two threads, one access a
 *     write, no barrier between; __syncwarp, shuffles and votes order the threads of a warp);
 *   - barriers that not all threads of the block reach, or reach at different places in the source; shuffles
 *     from lanes that do not take part;
 *   - global memory: accesses beyond an allocation (guard pages at both ends; writes to the last, partial 16
 *     bytes are found after the launch). Fresh memory holds bytes of 255: floats are nan.
 * Device memory is closed to host code outside launches and copies: host code that reads it crashes.
 *
 * What kernels must do for this: shared arrays are declared with CB_SHARED or CB_DYNAMIC_SHARED, passed on as
 * CB_SHARED_PTR(type) and are used through [], + and &; launches go through CB_LAUNCH. */
#ifndef CB_EMULATE_H
#define CB_EMULATE_H

#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

typedef struct cb_emulated_stream *cudaStream_t; /* the rest of the runtime is in emulate_api.h */

/* what kernels compiled at run time use too (rtc.cu) */
#define CB_EMULATED __attribute__((visibility("default")))

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

#define CB_VECTOR(type, name, size)                                             \
    struct alignas(2 * size) name##2 { type x, y; };                            \
    struct alignas(4 * size > 16 ? 16 : 4 * size) name##4 { type x, y, z, w; }; \
    static inline name##2 make_##name##2(type x, type y) { return {x, y}; }     \
    static inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
CB_VECTOR(float, float, 4)
CB_VECTOR(double, double, 8)
CB_VECTOR(int, int, 4)
CB_VECTOR(unsigned, uint, 4)
#undef CB_VECTOR

/* ---- a running thread ---- */
struct cb_emulated_thread {
    uint3 index;
    unsigned linear;     /* its number in the block */
    unsigned warp_epoch; /* counts what ordered it with its warp */
};
CB_EMULATED extern cb_emulated_thread *cb_emulated_self; /* NULL outside launches */
CB_EMULATED extern uint3 cb_emulated_block;
CB_EMULATED extern dim3 cb_emulated_block_dim, cb_emulated_grid_dim;
#define threadIdx (cb_emulated_self->index)
#define blockIdx (cb_emulated_block)
#define blockDim (cb_emulated_block_dim)
#define gridDim (cb_emulated_grid_dim)
enum { warpSize = 32 };

/* ---- launches ---- */
/* now, or when the graph runs that the stream is being recorded into: context is plain data of `size` bytes
 */
void cb_emulate_run(cudaStream_t stream, const char *kernel, dim3 grid, dim3 block, size_t shared,
                    void (*body)(void *), void *context, size_t size);
template <typename... P, typename... A>
static inline void cb_emulate_launch(cudaStream_t stream, const char *name, dim3 grid, dim3 block,
                                     size_t shared, void (*kernel)(P...), A &&...args) {
    static_assert((std::is_trivially_copyable<P>::value && ...), "kernels take plain data");
    struct held {
        void (*kernel)(P...);
        std::tuple<P...> args;
    } h = {kernel, std::tuple<P...>(static_cast<P>(args)...)};
    cb_emulate_run(
        stream, name, grid, block, shared,
        [](void *context) {
            held *c = static_cast<held *>(context);
            std::apply(c->kernel, c->args);
        },
        &h, sizeof h);
}
#define CB_LAUNCH(kernel, grid, block, shared, stream, ...) \
    cb_emulate_launch(stream, #kernel, grid, block, shared, kernel, __VA_ARGS__)

/* a report: ends the launch (does not return) when a kernel runs */
[[noreturn]] CB_EMULATED void cb_emulate_report(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/* ---- barriers, shuffles, votes ---- */
int cb_emulate_barrier(const char *file, int line, int vote); /* how many threads voted 1 */
/* all lanes of the mask meet; all[lane] are the values they brought (16 bytes each) */
const char *cb_emulate_meet(unsigned mask, const void *value, size_t size, const char *what, unsigned *lanes);
#define __syncthreads() ((void)cb_emulate_barrier(__FILE__, __LINE__, 0))
#define __syncthreads_count(vote) cb_emulate_barrier(__FILE__, __LINE__, (vote) != 0)
#define __syncthreads_or(vote) (cb_emulate_barrier(__FILE__, __LINE__, (vote) != 0) > 0)
#define __syncthreads_and(vote) (cb_emulate_barrier(__FILE__, __LINE__, (vote) == 0) == 0)
static inline void __syncwarp(unsigned mask = 0xffffffffu) {
    cb_emulate_meet(mask, nullptr, 0, "__syncwarp", nullptr);
}
static inline void __threadfence() {}
static inline void __threadfence_block() {}

template <typename T>
static inline T cb_emulate_shuffle(unsigned mask, T value, int source, const char *what) {
    static_assert(sizeof(T) <= 16, "shuffles move up to 16 bytes");
    const char *all = cb_emulate_meet(mask, &value, sizeof value, what, nullptr);
    int lane = (int)(cb_emulated_self->linear & 31);
    if (source == lane) return value;
    if (!(mask >> source & 1)) cb_emulate_report("%s reads lane %d, which does not take part", what, source);
    T got;
    std::memcpy(&got, all + 16 * source, sizeof got);
    return got;
}
static inline int cb_emulate_lane() { return (int)(cb_emulated_self->linear & 31); }
template <typename T> static inline T __shfl_sync(unsigned mask, T v, int source, int width = 32) {
    int lane = cb_emulate_lane();
    return cb_emulate_shuffle(mask, v, (lane & ~(width - 1)) + (source & (width - 1)), "__shfl_sync");
}
template <typename T> static inline T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32) {
    int lane = cb_emulate_lane(), source = lane ^ bits;
    if (source >= (lane & ~(width - 1)) + width) source = lane;
    return cb_emulate_shuffle(mask, v, source, "__shfl_xor_sync");
}
template <typename T> static inline T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32) {
    int lane = cb_emulate_lane(), source = lane + (int)by;
    if (source >= (lane & ~(width - 1)) + width) source = lane;
    return cb_emulate_shuffle(mask, v, source, "__shfl_down_sync");
}
template <typename T> static inline T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32) {
    int lane = cb_emulate_lane(), source = lane - (int)by;
    if (source < (lane & ~(width - 1))) source = lane;
    return cb_emulate_shuffle(mask, v, source, "__shfl_up_sync");
}
static inline unsigned __ballot_sync(unsigned mask, int vote) {
    unsigned lanes = 0;
    char set = vote != 0;
    cb_emulate_meet(mask, &set, 1, "__ballot_sync", &lanes);
    return lanes;
}
static inline int __any_sync(unsigned mask, int vote) { return __ballot_sync(mask, vote) != 0; }
static inline int __all_sync(unsigned mask, int vote) { return __ballot_sync(mask, vote) == mask; }
template <typename T> static inline unsigned __match_any_sync(unsigned mask, T value) {
    const char *all = cb_emulate_meet(mask, &value, sizeof value, "__match_any_sync", nullptr);
    unsigned same = 0;
    for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1 && !std::memcmp(all + 16 * lane, &value, sizeof value)) same |= 1u << lane;
    return same;
}

/* ---- shared memory ---- */
enum cb_emulated_access { CB_EMULATE_READ, CB_EMULATE_WRITE, CB_EMULATE_ATOMIC };
struct cb_emulated_array; /* one shared array of the running block */
cb_emulated_array *cb_emulate_shared(const void *site, const char *name, size_t nbytes);
cb_emulated_array *cb_emulate_dynamic_shared();
/* the address of [offset, offset + size) after the checks */
void *cb_emulate_access(cb_emulated_array *array, int64_t offset, size_t size, cb_emulated_access access);

template <typename T> struct cb_shared_ptr;
template <typename T> struct cb_shared_ref { /* what name[i] is */
    cb_emulated_array *array;
    int64_t offset;
    T get() const {
        T value;
        std::memcpy(&value, cb_emulate_access(array, offset, sizeof(T), CB_EMULATE_READ), sizeof(T));
        return value;
    }
    void set(const T &value) const {
        std::memcpy(cb_emulate_access(array, offset, sizeof(T), CB_EMULATE_WRITE), &value, sizeof(T));
    }
    operator T() const { return get(); }
    const cb_shared_ref &operator=(const T &value) const { return set(value), *this; }
    const cb_shared_ref &operator=(const cb_shared_ref &other) const { return set(other.get()), *this; }
    cb_shared_ref(const cb_shared_ref &) = default;
    cb_shared_ref(cb_emulated_array *a, int64_t o) : array(a), offset(o) {}
#define CB_COMPOUND(op) \
    const cb_shared_ref &operator op## = (const T &value) const { return set((T)(get() op value)), *this; }
    CB_COMPOUND(+)
    CB_COMPOUND(-)
    CB_COMPOUND(*)
    CB_COMPOUND(/)
    CB_COMPOUND(|)
    CB_COMPOUND(&)
    CB_COMPOUND(^)
#undef CB_COMPOUND
    const cb_shared_ref &operator++() const { return set((T)(get() + 1)), *this; }
    T operator++(int) const {
        T old = get();
        set((T)(old + 1));
        return old;
    }
    cb_shared_ptr<T> operator&() const { return {array, offset}; }
};
template <typename T> struct cb_shared_ptr {
    typedef T value_type;
    cb_emulated_array *array;
    int64_t offset;
    cb_shared_ref<T> operator[](int64_t i) const { return {array, offset + i * (int64_t)sizeof(T)}; }
    cb_shared_ref<T> operator*() const { return (*this)[0]; }
    cb_shared_ptr operator+(int64_t i) const { return {array, offset + i * (int64_t)sizeof(T)}; }
    cb_shared_ptr operator-(int64_t i) const { return {array, offset - i * (int64_t)sizeof(T)}; }
};
#define CB_SHARED(type, name, count)   \
    static char name##_site;           \
    const cb_shared_ptr<type> name = { \
        cb_emulate_shared(&name##_site, #name, sizeof(type) * (size_t)(count)), 0}
#define CB_DYNAMIC_SHARED(type, name) const cb_shared_ptr<type> name = {cb_emulate_dynamic_shared(), 0}
#define CB_SHARED_PTR(type) cb_shared_ptr<type>
#define CB_SHARED_CAST(type, pointer) (cb_emulate_cast<type>(pointer))
template <typename U, typename T> static inline cb_shared_ptr<U> cb_emulate_cast(cb_shared_ptr<T> p) {
    return {p.array, p.offset};
}

/* ---- atomics: threads run one at a time, so plain code will do; shared ones are told apart for the races
 * ---- */
template <typename T> static inline T *cb_emulate_place(T *p) { return p; }
template <typename T> static inline T *cb_emulate_place(cb_shared_ptr<T> p) {
    return static_cast<T *>(cb_emulate_access(p.array, p.offset, sizeof(T), CB_EMULATE_ATOMIC));
}
template <typename T> struct cb_emulate_identity {
    typedef T type;
};
#define CB_ATOMIC(name, expression)                                                             \
    template <typename T> static inline T name(T *p, typename cb_emulate_identity<T>::type v) { \
        T old = *p;                                                                             \
        *p = (T)(expression);                                                                   \
        return old;                                                                             \
    }                                                                                           \
    template <typename T>                                                                       \
    static inline T name(cb_shared_ptr<T> p, typename cb_emulate_identity<T>::type v) {         \
        return name(cb_emulate_place(p), v);                                                    \
    }
CB_ATOMIC(atomicAdd, old + v)
CB_ATOMIC(atomicSub, old - v)
CB_ATOMIC(atomicMax, old < v ? v : old)
CB_ATOMIC(atomicMin, v < old ? v : old)
CB_ATOMIC(atomicAnd, old &v)
CB_ATOMIC(atomicOr, old | v)
CB_ATOMIC(atomicXor, old ^ v)
CB_ATOMIC(atomicExch, v)
#undef CB_ATOMIC
template <typename P, typename T> static inline T atomicCAS(P p, T expected, T value) {
    auto *place = cb_emulate_place(p);
    T old = (T)*place;
    if (old == expected) *place = value;
    return old;
}

/* ---- intrinsics ---- */
template <typename T> static inline T __ldg(const T *p) { return *p; }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
static inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __ffsll(long long x) { return __builtin_ffsll(x); }
static inline unsigned __brev(unsigned x) {
    unsigned r = 0;
    for (int i = 0; i < 32; i++) r |= (x >> i & 1) << (31 - i);
    return r;
}
static inline uint64_t __umul64hi(uint64_t x, uint64_t y) {
    return (uint64_t)(((unsigned __int128)x * y) >> 64);
}
static inline unsigned __umulhi(unsigned x, unsigned y) { return (unsigned)((uint64_t)x * y >> 32); }
static inline unsigned long long __umul64hi(unsigned long long x, unsigned long long y) {
    return (unsigned long long)((unsigned __int128)x * y >> 64);
}
template <typename To, typename From> static inline To cb_emulate_bits(From x) {
    To y;
    static_assert(sizeof x == sizeof y, "of one size");
    std::memcpy(&y, &x, sizeof y);
    return y;
}
static inline unsigned __float_as_uint(float x) { return cb_emulate_bits<unsigned>(x); }
static inline int __float_as_int(float x) { return cb_emulate_bits<int>(x); }
static inline float __uint_as_float(unsigned x) { return cb_emulate_bits<float>(x); }
static inline float __int_as_float(int x) { return cb_emulate_bits<float>(x); }
static inline long long __double_as_longlong(double x) { return cb_emulate_bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return cb_emulate_bits<double>(x); }
static inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
static inline double rsqrt(double x) { return 1 / std::sqrt(x); }
template <typename A, typename B> static inline std::common_type_t<A, B> min(A a, B b) {
    return b < a ? b : a;
}
template <typename A, typename B> static inline std::common_type_t<A, B> max(A a, B b) {
    return a < b ? b : a;
}
#endif
