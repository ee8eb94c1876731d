/* The thread pool behind cb_parallel.
 *
 * A piece's bounds depend on n and grain only, so results do not depend on the number of threads. Every
 * thread begins with a stretch of neighbouring pieces of its own, the same one each time: it reads and writes
 * memory in order, and in the pages that it touched before. Then it takes what is left of the others'
 * stretches, so that a thread that is late or asleep delays nobody. Idle workers spin briefly, then sleep. A
 * forked child starts with no workers and makes its own at the next parallel call. One parallel region runs
 * at a time; a second caller, or a nested call, does its work alone instead of waiting. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "internal.h"

enum { MAX_THREADS = 256, SPINS = 2000 };

/* the pieces that a thread begins with; a cache line each, for all threads count in them */
typedef struct stretch {
    _Alignas(64) atomic_llong next;
    int64_t end;
} stretch;

typedef struct job {
    void (*body)(void *, int64_t, int64_t);
    void *context;
    int64_t n, grain;
    int stretches;
    stretch of[MAX_THREADS];
    atomic_int running; /* workers inside this job */
} job;

static pthread_mutex_t pool_mutex = PTHREAD_MUTEX_INITIALIZER; /* guards sleeping and starting */
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static atomic_int busy;       /* 1 while a region runs */
static atomic_int generation; /* counts regions: a change tells workers of new work */
static job current;
static int workers, wanted;
static _Thread_local bool inside;

void cb_allocator_after_fork(void);

static void cut(job *j, int64_t pieces, int stretches) {
    j->stretches = stretches;
    for (int i = 0; i < stretches; i++) {
        atomic_store_explicit(&j->of[i].next, pieces * i / stretches, memory_order_relaxed);
        j->of[i].end = pieces * (i + 1) / stretches;
    }
}

static void run_pieces(job *j, int thread) {
    for (int i = 0; i < j->stretches; i++) {
        stretch *s = &j->of[(thread + i) % j->stretches];
        while (atomic_load_explicit(&s->next, memory_order_relaxed) < s->end) {
            int64_t p = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed);
            if (p >= s->end) break;
            int64_t begin = p * j->grain;
            j->body(j->context, begin, CB_MIN(begin + j->grain, j->n));
        }
    }
}

static inline void pause_cpu(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void *worker_main(void *arg) {
    int id = (int)(intptr_t)arg, seen = 0;
    inside = true;
    for (;;) {
        int now = seen;
        for (int spin = 0; spin < SPINS && now == seen; spin++) {
            pause_cpu();
            now = atomic_load_explicit(&generation, memory_order_acquire);
        }
        if (now == seen) {
            pthread_mutex_lock(&pool_mutex);
            while ((now = atomic_load(&generation)) == seen) pthread_cond_wait(&wake, &pool_mutex);
            pthread_mutex_unlock(&pool_mutex);
        }
        seen = now;
        /* Enter only a region that is still open: `running` is -1 when closed. */
        int inside_now = atomic_load(&current.running);
        while (inside_now >= 0 &&
               !atomic_compare_exchange_weak(&current.running, &inside_now, inside_now + 1)) {
        }
        if (inside_now < 0) continue;
        if (id < wanted - 1) run_pieces(&current, id + 1);
        atomic_fetch_sub(&current.running, 1);
    }
    return NULL;
}

static void after_fork(void) {
    pthread_mutex_init(&pool_mutex, NULL);
    pthread_cond_init(&wake, NULL);
    atomic_store(&busy, 0);
    atomic_store(&generation, 0);
    atomic_store(&current.running, -1);
    workers = 0;
    inside = false;
    cb_allocator_after_fork();
}

static int default_threads(void) {
    const char *text = getenv("OMP_NUM_THREADS");
    int n = text ? atoi(text) : 0;
#if defined(__linux__)
    if (n <= 0) n = (int)sysconf(_SC_NPROCESSORS_ONLN);
#endif
    return CB_MAX(1, CB_MIN(n, MAX_THREADS));
}

int cb_get_num_threads(void) {
    if (!wanted) {
        wanted = default_threads();
        atomic_store(&current.running, -1);
        pthread_atfork(NULL, NULL, after_fork);
    }
    return wanted;
}

void cb_set_num_threads(int n) {
    cb_get_num_threads();
    wanted = CB_MAX(1, CB_MIN(n, MAX_THREADS));
}

static void start_workers(void) {
    pthread_mutex_lock(&pool_mutex);
    while (workers < wanted - 1) {
        pthread_t thread;
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        int failed = pthread_create(&thread, &attributes, worker_main, (void *)(intptr_t)workers);
        pthread_attr_destroy(&attributes);
        if (failed) break; /* fewer workers is still correct */
        workers++;
    }
    pthread_mutex_unlock(&pool_mutex);
}

static void run(int64_t n, int64_t grain, void (*body)(void *, int64_t, int64_t), void *context,
                bool in_order) {
    if (n <= 0) return;
    grain = CB_MAX(grain, 1);
    int free_pool = 0;
    if (n <= grain || inside || cb_get_num_threads() == 1 ||
        !atomic_compare_exchange_strong(&busy, &free_pool, 1)) {
        for (int64_t begin = 0; begin < n; begin += grain) body(context, begin, CB_MIN(begin + grain, n));
        return;
    }
    if (workers < wanted - 1) start_workers();
    inside = true;
    current.body = body;
    current.context = context;
    current.n = n;
    current.grain = grain;
    int64_t pieces = (n + grain - 1) / grain;
    cut(&current, pieces, in_order ? 1 : (int)CB_MIN(pieces, wanted));
    atomic_store(&current.running, 0);
    pthread_mutex_lock(&pool_mutex);
    atomic_fetch_add_explicit(&generation, 1, memory_order_release);
    if (pieces > workers) {
        pthread_cond_broadcast(&wake);
    } else { /* no more than there is work for */
        for (int64_t i = 1; i < pieces; i++) pthread_cond_signal(&wake);
    }
    pthread_mutex_unlock(&pool_mutex);
    run_pieces(&current, 0);
    /* All pieces are taken; wait for the workers that still compute one, then close the region. */
    int none = 0;
    while (!atomic_compare_exchange_weak(&current.running, &none, -1)) {
        none = 0;
        pause_cpu();
    }
    inside = false;
    atomic_store(&busy, 0);
}

void cb_parallel(int64_t n, int64_t grain, void (*body)(void *, int64_t, int64_t), void *context) {
    run(n, grain, body, context, false);
}

void cb_parallel_in_order(int64_t n, int64_t grain, void (*body)(void *, int64_t, int64_t), void *context) {
    run(n, grain, body, context, true);
}
