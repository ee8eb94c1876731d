/* Results too large to be read again from a cache are written past the caches: a plain store reads the line
 * that it is about to overwrite, which costs copies a third of the memory bandwidth. What is streamed comes
 * from a tile in L1. */
#ifndef CB_CPU_STREAM_H
#define CB_CPU_STREAM_H

#include "cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* What operands and result must take together for the result to be streamed: more than a usual last-level
 * cache. With less, the result may still lie there when it is read, or written the next time. */
enum { CB_STREAM_FROM = 40 << 20 };

#if defined(__AVX512F__)
typedef __m512i cb_line;
#define CB_STREAM_LINE(to, from) _mm512_stream_si512((to), _mm512_loadu_si512(from))
#elif defined(__AVX__)
typedef __m256i cb_line;
#define CB_STREAM_LINE(to, from) _mm256_stream_si256((to), _mm256_loadu_si256(from))
#elif defined(__x86_64__)
typedef __m128i cb_line;
#define CB_STREAM_LINE(to, from) _mm_stream_si128((to), _mm_loadu_si128(from))
#endif

/* memcpy past the caches; other processors' stores are left to their own devices */
static inline void cb_stream(void *to_, const void *from_, int64_t nbytes) {
#if defined(__x86_64__)
    enum { LINE = sizeof(cb_line) };
    char *to = to_;
    const char *from = from_;
    int64_t head = CB_MIN(nbytes, (int64_t)(-(uintptr_t)to & (LINE - 1)));
    if (head) {
        memcpy(to, from, (size_t)head);
        to += head, from += head, nbytes -= head;
    }
    for (; nbytes >= LINE; to += LINE, from += LINE, nbytes -= LINE)
        CB_STREAM_LINE((cb_line *)(void *)to, (const cb_line *)(const void *)from);
    if (nbytes) memcpy(to, from, (size_t)nbytes);
#else
    memcpy(to_, from_, (size_t)nbytes);
#endif
}

/* after a piece of work that streamed: its stores are seen before whatever says that it is done */
static inline void cb_stream_end(void) {
#if defined(__x86_64__)
    _mm_sfence();
#endif
}

/* read, written: bytes */
static inline bool cb_streams(int64_t read, int64_t written) {
#if defined(__x86_64__)
    return read + written >= CB_STREAM_FROM && written >= CB_STREAM_FROM / 8;
#else
    (void)read, (void)written;
    return false;
#endif
}
#endif
