/* Copies of rows: pieces of any length that lie anywhere. */
#ifndef CB_CPU_BYTES_H
#define CB_CPU_BYTES_H

#include "stream.h"

/* fewer than 64 bytes: two moves that overlap */
static inline void cb_copy_few(char *to, const char *from, size_t n) {
#define HALVES(size)                             \
    if (n >= (size)) {                           \
        char first[size], last[size];            \
        memcpy(first, from, size);               \
        memcpy(last, from + (n - (size)), size); \
        memcpy(to, first, size);                 \
        memcpy(to + (n - (size)), last, size);   \
        return;                                  \
    }
    HALVES(32)
    HALVES(16)
    HALVES(8)
    HALVES(4)
    HALVES(2)
#undef HALVES
    if (n) *to = *from;
}

/* memcpy without a call, past the caches if told so; the last piece overlaps the one before. (Of rows of 6 KB
 * that begin anywhere libc's memcpy takes half as long again.) */
static inline void cb_copy_bytes(char *to, const char *from, int64_t n, bool stream) {
    if (n < 64) {
        cb_copy_few(to, from, (size_t)n);
    } else if (stream && n > 1024) {
        cb_stream(to, from, n);
    } else {
        for (int64_t i = 0; i + 64 <= n; i += 64) memcpy(to + i, from + i, 64);
        memcpy(to + n - 64, from + n - 64, 64);
    }
}
#endif
