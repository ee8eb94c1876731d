/* Profiling: events are noted only while somebody profiles, with times in order and the operands' shapes. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "internal.h"
#include "record.h"

static int number_of(const char *name) {
    for (int i = 0; cb_call_name(i); i++)
        if (!strcmp(cb_call_name(i), name)) return i;
    return -1;
}

/* exp as the generated wrappers call and record it */
static cb_tensor *exp_of(cb_tensor *x) {
    int number = number_of("cb_unary"), code = cb_op_code("unary", "exp");
    int64_t begin = cb_profiling ? cb_profile_clock() : 0;
    cb_tensor *made = cb_unary(code, x);
    if (cb_is_recording()) {
        cb_record_call(number);
        cb_record_number((cb_word){.i = code});
        cb_record_tensor(x);
        cb_record_result(made);
    } else if (begin) {
        cb_profile_open(number, -1, begin);
        cb_profile_number(code);
        cb_profile_tensor(x, 'r');
        cb_profile_tensor(made, 'm');
        cb_profile_close();
    }
    return made;
}

static void test_calls(void) {
    cb_tensor *x = cb_empty(CB_F32, CB_CPU, 2, (int64_t[]){4, 1});
    cb_tensor *wide = cb_expand(x, 2, (int64_t[]){4, 3});
    cb_release(exp_of(x)); /* nobody watches */
    int64_t from[2], to[2], after[2];
    cb_profile_start();
    cb_profile_count(from);
    CHECK(from[0] == 0 && from[1] == 0 && cb_profiling == 1 && cb_recorders == 1);
    cb_tensor *y = exp_of(wide);
    cb_profile_start(); /* one in the other */
    cb_profile_count(to);
    CHECK(to[0] == 1);
    cb_profile_stop();
    cb_profile_count(after);
    CHECK(after[0] == 1 && after[1] == to[1]); /* the outer one goes on */
    cb_event event;
    int64_t details[32];
    CHECK(to[1] == 2 + 7 + 7);
    cb_profile_copy(from, to, &event, details);
    CHECK(event.begin <= event.end && event.thread == cb_profile_thread() && event.instruction == -1);
    CHECK(!strcmp(cb_call_name(event.call), "cb_unary") && event.allocated == cb_memory_allocated(CB_CPU));
    CHECK(details[0] == 'n' && details[1] == cb_op_code("unary", "exp"));
    CHECK(details[2] == 'r' && details[3] == CB_F32 && details[4] == 16); /* an expanded item counts once */
    CHECK(details[6] == 2 && details[7] == 4 && details[8] == 3);
    CHECK(details[9] == 'm' && details[11] == 48);
    cb_profile_stop();
    cb_profile_count(after);
    CHECK(after[0] == 0 && !cb_profiling && !cb_recorders);
    CHECK(!cb_call_name(-1));
    cb_release(x);
    cb_release(wide);
    cb_release(y);
}

static void test_program(void) {
    cb_tensor *x = cb_empty(CB_F32, CB_CPU, 1, (int64_t[]){5}), *meta = cb_as_meta(x);
    cb_program *p = cb_program_begin(1, &meta);
    cb_tensor *y = exp_of(meta), *z = exp_of(y);
    CHECK(cb_program_end(p, 1, &z, NULL) == CB_OK);
    cb_profile_start();
    cb_tensor *out = NULL;
    CHECK(cb_program_run(p, 1, &x, 0, 0, &out) == CB_OK);
    int64_t from[2] = {0, 0}, to[2];
    cb_profile_count(to);
    CHECK(to[0] == 3);
    cb_event events[3];
    int64_t details[64];
    cb_profile_copy(from, to, events, details);
    cb_profile_stop();
    CHECK(events[0].instruction == 0 && events[1].instruction == 1 && events[2].call == -1);
    CHECK(events[2].begin <= events[0].begin && events[1].end <= events[2].end);
    CHECK(events[0].end <= events[1].begin);
    CHECK(details[events[2].detail + 1] == (int64_t)(uintptr_t)p);
    cb_release(out);
    cb_release(x);
    cb_release(y);
    cb_release(z);
    cb_release(meta);
    cb_program_free(p);
}

enum { THREADS = 4, CALLS = 2000 };

static void *call_often(void *x) {
    for (int i = 0; i < CALLS; i++) {
        cb_profile_open(number_of("cb_unary"), -1, cb_profile_clock());
        cb_profile_number(i);
        cb_profile_tensor(x, 'r');
        cb_profile_close();
    }
    return NULL;
}

static void test_threads(void) {
    cb_tensor *x = cb_empty(CB_F32, CB_CPU, 1, (int64_t[]){5});
    cb_profile_start();
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, call_often, x);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    int64_t counts[2];
    cb_profile_count(counts);
    CHECK(counts[0] == THREADS * CALLS && counts[1] == counts[0] * (2 + 6));
    cb_profile_stop();
    cb_release(x);
}

int main(void) {
    cb_init(NULL);
    test_calls();
    test_program();
    test_threads();
    return finish("test_profile");
}
