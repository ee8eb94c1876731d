/* For the stand-ins of NVIDIA's libraries: plain loops over memory of the processor, which check what they
 * are asked for. A wrong argument ends the process with a message. `standin_calls` counts the calls that
 * compute, for tests that ask whether the library was used. */
#ifndef CB_STANDIN_H
#define CB_STANDIN_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <complex>

#define STANDIN extern "C" __attribute__((visibility("default")))
STANDIN int64_t standin_calls;
int64_t standin_calls;

#define CHECK(condition)                                                          \
    do {                                                                          \
        if (!(condition)) {                                                       \
            fprintf(stderr, "stand-in: %s: expected %s\n", __func__, #condition); \
            abort();                                                              \
        }                                                                         \
    } while (0)

static inline bool aligned(const void *p, size_t to) { return (uintptr_t)p % to == 0; }

/* the workspace of a call is written, so that one which is too small is found */
static inline void use_workspace(void *data, size_t size) {
    CHECK(size == 0 || data);
    CHECK(aligned(data, 16));
    memset(data, 0x5a, size);
}
#endif
