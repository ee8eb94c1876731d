/* Thread-local error state: a code and a message, read once by the caller after a failure. */
#include <stdarg.h>
#include <stdio.h>

#include "internal.h"

static _Thread_local int error_code;
static _Thread_local char error_message[1024];

int cb_error_code(void) { return error_code; }
const char *cb_error_message(void) { return error_message; }

static void set(int code, const char *format, va_list args) {
    error_code = code;
    vsnprintf(error_message, sizeof error_message, format, args);
}

int cb_fail(int code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    set(code, format, args);
    va_end(args);
    return code;
}

cb_tensor *cb_fail_null(int code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    set(code, format, args);
    va_end(args);
    return NULL;
}

const char *cb_shape_text(int ndim, const int64_t *shape) {
    enum { BUFFERS = 4, SIZE = 160 };
    static _Thread_local char buffers[BUFFERS][SIZE];
    static _Thread_local int next;
    char *text = buffers[next = (next + 1) % BUFFERS];
    int used = snprintf(text, SIZE, "[");
    for (int i = 0; i < ndim && used < SIZE - 24; i++)
        used += snprintf(text + used, (size_t)(SIZE - used), i ? ", %lld" : "%lld", (long long)shape[i]);
    snprintf(text + used, (size_t)(SIZE - used), "]");
    return text;
}
