/* Profiling: while somebody profiles, every public call from outside and every instruction of a program
 * leaves an event: when, on which thread, what memory was live after it, and what it was called with.
 *
 * The wrappers of calls.py and the executor write events. Nobody pays for it while nobody profiles: the
 * wrappers look at cb_recorders anyway, the executor at cb_profiling once an instruction. One lock guards
 * the lists; it is taken after the end of a call is stamped. Out of memory, events are dropped. */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "internal.h"
#include "program/program.h"

int cb_profiling;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    cb_event *events;
    int64_t n_events, room_events;
    int64_t *details;
    int64_t n_details, room_details;
} log_;
static int threads;

int64_t cb_profile_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int cb_profile_thread(void) {
    static _Thread_local int number;
    if (!number) number = __atomic_add_fetch(&threads, 1, __ATOMIC_RELAXED);
    return number;
}

static bool grow(void *list, int64_t count, int64_t *room, size_t item) {
    if (count < *room) return true;
    int64_t more = *room ? *room * 2 : 1024;
    void *larger = realloc(*(void **)list, (size_t)more * item);
    if (!larger) return false;
    *(void **)list = larger;
    *room = more;
    return true;
}

static void detail(int64_t value) {
    if (grow(&log_.details, log_.n_details, &log_.room_details, sizeof value))
        log_.details[log_.n_details++] = value;
}

/* ---- for the wrappers and the executor: open, numbers, tensors, close ---- */

void cb_profile_open(int call, int instruction, int64_t begin) {
    int64_t end = cb_profile_clock();
    cb_event made = {.begin = begin,
                     .end = end,
                     .allocated = cb_memory_allocated(CB_CPU),
                     .call = call,
                     .instruction = instruction,
                     .thread = cb_profile_thread()};
    pthread_mutex_lock(&lock);
    made.detail = log_.n_details;
    if (grow(&log_.events, log_.n_events, &log_.room_events, sizeof made))
        log_.events[log_.n_events++] = made;
}

void cb_profile_number(int64_t value) {
    detail('n');
    detail(value);
}

/* role: 'r' read, 'm' made. Bytes: those of its distinct elements. */
void cb_profile_tensor(const cb_tensor *x, int role) {
    if (!x) return;
    int64_t bytes = x->itemsize;
    for (int d = 0; d < x->ndim; d++)
        if (x->strides[d] || !x->shape[d]) bytes *= x->shape[d];
    detail(role);
    detail(x->dtype);
    detail(bytes);
    detail((int64_t)(uintptr_t)x->storage);
    detail(x->ndim);
    for (int d = 0; d < x->ndim; d++) detail(x->shape[d]);
}

void cb_profile_close(void) { pthread_mutex_unlock(&lock); }

/* ---- the public side ---- */

/* A forked process is not profiled: another thread of the old one may have held the lock. */
static void forget(void) {
    pthread_mutex_init(&lock, NULL);
    __atomic_sub_fetch(&cb_recorders, cb_profiling, __ATOMIC_RELAXED);
    cb_profiling = 0;
    memset(&log_, 0, sizeof log_);
}

static void watch_forks(void) { pthread_atfork(NULL, NULL, forget); }

void cb_profile_start(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&lock);
    cb_profiling++;
    pthread_mutex_unlock(&lock);
    __atomic_add_fetch(&cb_recorders, 1, __ATOMIC_RELAXED);
}

void cb_profile_count(int64_t *counts) {
    pthread_mutex_lock(&lock);
    counts[0] = log_.n_events;
    counts[1] = log_.n_details;
    pthread_mutex_unlock(&lock);
}

void cb_profile_copy(const int64_t *from, const int64_t *to, cb_event *events, int64_t *details) {
    pthread_mutex_lock(&lock);
    if (to[0] > from[0]) memcpy(events, log_.events + from[0], (size_t)(to[0] - from[0]) * sizeof *events);
    if (to[1] > from[1]) memcpy(details, log_.details + from[1], (size_t)(to[1] - from[1]) * sizeof *details);
    pthread_mutex_unlock(&lock);
}

void cb_profile_stop(void) {
    pthread_mutex_lock(&lock);
    if (cb_profiling) { /* or else this process was forked meanwhile */
        __atomic_sub_fetch(&cb_recorders, 1, __ATOMIC_RELAXED);
        if (!--cb_profiling) {
            free(log_.events);
            free(log_.details);
            memset(&log_, 0, sizeof log_);
        }
    }
    pthread_mutex_unlock(&lock);
}

const char *cb_call_name(int call) { return call >= 0 && call < cb_call_count ? cb_call_names[call] : NULL; }
