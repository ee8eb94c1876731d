/* What every test here is written with: CHECK counts and prints what is not so, finish() is main's last line.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdarg.h>
#include <stdio.h>

#include "cbackend.h"

enum { FAILURES_PRINTED = 40 };
static int failures;

/* CHECK(condition) or CHECK(condition, format, ...) */
#define CHECK(condition, ...)                                                            \
    do {                                                                                 \
        if (!(condition)) check_failed(__FILE__, __LINE__, #condition, " " __VA_ARGS__); \
    } while (0)

__attribute__((format(printf, 4, 5))) static inline void
check_failed(const char *file, int line, const char *condition, const char *format, ...) {
    if (failures++ >= FAILURES_PRINTED) return;
    va_list details;
    va_start(details, format);
    fprintf(stderr, "%s:%d: %s:", file, line, condition);
    vfprintf(stderr, format, details);
    fprintf(stderr, " [%s]\n", cb_error_message());
    va_end(details);
}

/* The status to end with; no tensor may be left. */
static inline int finish(const char *name) {
    CHECK(cb_memory_allocated(CB_CPU) == 0, "%lld bytes leaked", (long long)cb_memory_allocated(CB_CPU));
    cb_empty_cache();
    if (failures)
        printf("%s: %d failures\n", name, failures);
    else
        printf("%s: ok\n", name);
    return failures != 0;
}
#endif
