/* Caching allocator for CPU memory: freed blocks are kept by size class and handed out again, because a fresh
 * large block costs more in page faults than most kernels cost in arithmetic.
 *
 * Size classes: four per power of two, from 64 bytes. Blocks are 64-byte aligned. The cache is bounded by
 * CACHE_LIMIT_FRACTION of physical memory; over that, and when the system refuses memory, it is emptied.
 * All state is behind one spinlock: critical sections are a few instructions. */
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "device.h"
#include "internal.h"

enum { CLASSES = 4 * 48, ALIGNMENT = 64, HUGE_PAGE = 2 << 20, CACHE_LIMIT_FRACTION = 4 };

typedef struct block {
    struct block *next;
} block;

static block *free_lists[CLASSES];
static atomic_flag lock = ATOMIC_FLAG_INIT;
static int64_t live_bytes, peak_bytes, cached_bytes, physical_bytes;

static void acquire(void) {
    while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire)) {
    }
}
static void release(void) { atomic_flag_clear_explicit(&lock, memory_order_release); }

/* The lock must not stay held in a forked child: threads.c calls this from its fork handler. */
CB_HIDDEN void cb_allocator_after_fork(void) { release(); }

static int64_t physical_memory(void) {
    if (!physical_bytes) physical_bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    return physical_bytes;
}

/* Class index and rounded size for a request. */
static int size_class(int64_t nbytes, int64_t *rounded) {
    if (nbytes <= ALIGNMENT) {
        *rounded = ALIGNMENT;
        return 0;
    }
    int log = 63 - __builtin_clzll((unsigned long long)(nbytes - 1)); /* 2^log < nbytes <= 2^(log+1) */
    int64_t base = (int64_t)1 << log, quarter = base >> 2;
    int step = (int)((nbytes - base + quarter - 1) / quarter); /* 1..4 */
    *rounded = base + step * quarter;
    return 4 * (log - 6) + step;
}

static void *system_alloc(int64_t size) {
    bool huge = size >= 2 * HUGE_PAGE;
    void *data = NULL;
    if (posix_memalign(&data, huge ? HUGE_PAGE : ALIGNMENT, (size_t)size)) return NULL;
#if defined(MADV_HUGEPAGE)
    if (huge) madvise(data, (size_t)size, MADV_HUGEPAGE);
#endif
    return data;
}

static void empty_locked(void) {
    for (int c = 0; c < CLASSES; c++) {
        while (free_lists[c]) {
            block *b = free_lists[c];
            free_lists[c] = b->next;
            free(b);
        }
    }
    cached_bytes = 0;
}

static void *cpu_alloc(int64_t nbytes) {
    if (nbytes > physical_memory()) {
        cb_fail(CB_ERR_MEMORY,
                "empty: expected at most %lld bytes (this machine's memory), got a request for %lld bytes. "
                "Use a smaller shape or dtype.",
                (long long)physical_memory(), (long long)nbytes);
        return NULL;
    }
    int64_t size;
    int c = size_class(nbytes, &size);
    acquire();
    block *b = free_lists[c];
    if (b) {
        free_lists[c] = b->next;
        cached_bytes -= size;
    }
    live_bytes += size;
    if (live_bytes > peak_bytes) peak_bytes = live_bytes;
    release();
    if (b) return b;
    void *data = system_alloc(size);
    if (!data) {
        cb_empty_cache();
        data = system_alloc(size);
    }
    if (!data) {
        acquire();
        live_bytes -= size;
        release();
        cb_fail(CB_ERR_MEMORY,
                "empty: expected %lld bytes of memory, got a refusal from the system with %lld bytes in use. "
                "Free tensors or use a smaller shape.",
                (long long)nbytes, (long long)live_bytes);
    }
    return data;
}

static void cpu_free(void *data, int64_t nbytes) {
    int64_t size;
    int c = size_class(nbytes, &size);
    acquire();
    live_bytes -= size;
    bool keep = cached_bytes + size <= physical_memory() / CACHE_LIMIT_FRACTION;
    if (keep) {
        block *b = data;
        b->next = free_lists[c];
        free_lists[c] = b;
        cached_bytes += size;
    }
    release();
    if (!keep) free(data);
}

void *cb_alloc(int device, int64_t nbytes) {
    if ((device & 255) == CB_CPU) return cpu_alloc(nbytes);
    const cb_device_api *api = cb_device_open("empty", device);
    return api ? api->alloc(device >> 8, nbytes) : NULL;
}

void cb_free(int device, void *data, int64_t nbytes) {
    if ((device & 255) == CB_CPU)
        cpu_free(data, nbytes);
    else
        cb_device_open("free", device)->free(device >> 8, data);
}

void cb_empty_cache(void) {
    acquire();
    empty_locked();
    release();
}

static int64_t cuda_number(int device, int which) {
    int64_t numbers[CB_CUDA_NUMBERS] = {0};
    if ((device & 255) == CB_CUDA && cb_cuda_available()) cb_cuda_memory(device >> 8, numbers);
    return numbers[which];
}

int64_t cb_memory_allocated(int device) {
    return (device & 255) == CB_CPU ? live_bytes : cuda_number(device, 0);
}
int64_t cb_max_memory_allocated(int device) {
    return (device & 255) == CB_CPU ? peak_bytes : cuda_number(device, 1);
}
int64_t cb_memory_cached(int device) {
    return (device & 255) == CB_CPU ? cached_bytes : cuda_number(device, 2) - cuda_number(device, 0);
}
void cb_reset_peak_memory(int device) {
    if ((device & 255) == CB_CPU)
        peak_bytes = live_bytes;
    else if ((device & 255) == CB_CUDA)
        cb_cuda_reset_peak_memory(device >> 8);
}
