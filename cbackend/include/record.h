/* Recording calls of the public functions into a program: what the generated wrappers (calls.py) use.
 *
 * Not for other callers. While a thread records, tensors are `meta` handles that the recorder knows by
 * address; it keeps a reference to each, so that an address stays one tensor's. */
#ifndef CB_RECORD_H
#define CB_RECORD_H

#include "cbackend.h"

#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

/* An argument of an instruction: a number, a slot (or -1 for none), or a place in the pool (or -1). */
typedef union cb_word {
    int64_t i;
    uint64_t u;
    double d;
} cb_word;

extern int cb_recorders; /* recording threads and profilers: the one thing calls outside pay for */
int cb_is_recording(void);
/* The device of a tensor without memory that stands for one on `device`: while a program is made, meta
 * tensors keep above their low byte where the values will be (0: on the CPU, as ordinary meta tensors have
 * it). */
static inline int cb_meta_for(int device) {
    return (device & 255) == CB_META ? device : CB_META | device << 8;
}
void cb_record_call(int number);
void cb_record_tensor(cb_tensor *x);
void cb_record_tensors(int64_t n, cb_tensor *const *xs);
void cb_record_bytes(const void *data, int64_t nbytes);
void cb_record_number(cb_word value);
void cb_record_result(cb_tensor *x);

/* Events of a profile (src/profile.c): between open, which takes the time, and close a lock is held. */
extern int cb_profiling;
int64_t cb_profile_clock(void);
void cb_profile_open(int call, int instruction, int64_t begin);
void cb_profile_number(int64_t value);
void cb_profile_tensor(const cb_tensor *x, int role); /* 'r' read, 'm' made */
void cb_profile_close(void);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#endif
