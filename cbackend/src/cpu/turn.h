/* Transposing a block: squares of N x N items lie in N vectors and are turned by log2(N) rounds of swaps, so
 * that both sides move whole vectors. Edges go item by item. */
#ifndef CB_CPU_TURN_H
#define CB_CPU_TURN_H

#include "cpu.h"

#if defined(__AVX512F__)
enum { CB_TURN_BYTES = 64 };
#elif defined(__AVX2__)
enum { CB_TURN_BYTES = 32 };
#else
enum { CB_TURN_BYTES = 16 };
#endif

/* to[r * to_step + c] = from[c * from_step + r] */
#define CB_TURN_EDGE(T, id)                                                                            \
    static void turn_edge_##id(int64_t rows, int64_t columns, const T *from, int64_t from_step, T *to, \
                               int64_t to_step) {                                                      \
        for (int64_t r = 0; r < rows; r++)                                                             \
            for (int64_t c = 0; c < columns; c++) to[r * to_step + c] = from[c * from_step + r];       \
    }

/* round s swaps the blocks of s x s items on either side of the diagonal of each 2s x 2s block */
#define CB_TURN(T, id, N)                                                                                    \
    typedef T vector_##id __attribute__((vector_size((N) * sizeof(T))));                                     \
    CB_TURN_EDGE(T, id)                                                                                      \
    CB_INLINE void turn_round_##id(vector_##id *v, int s) {                                                  \
        vector_##id low, high;                                                                               \
        for (int j = 0; j < (N); j++) {                                                                      \
            low[j] = (T)(j & s ? (N) + j - s : j);                                                           \
            high[j] = (T)(j & s ? (N) + j : j + s);                                                          \
        }                                                                                                    \
        for (int i = 0; i < (N); i++) {                                                                      \
            if (i & s) continue;                                                                             \
            vector_##id a = v[i], b = v[i + s];                                                              \
            v[i] = __builtin_shuffle(a, b, low);                                                             \
            v[i + s] = __builtin_shuffle(a, b, high);                                                        \
        }                                                                                                    \
    }                                                                                                        \
    CB_INLINE void turn_square_##id(const T *from, int64_t from_step, T *to, int64_t to_step) {              \
        vector_##id v[N];                                                                                    \
        _Pragma("GCC unroll 32") for (int i = 0; i < (N); i++)                                               \
            memcpy(&v[i], from + i * from_step, sizeof v[i]);                                                \
        if ((N) > 16) turn_round_##id(v, 16 % (N));                                                          \
        if ((N) > 8) turn_round_##id(v, 8 % (N));                                                            \
        if ((N) > 4) turn_round_##id(v, 4 % (N));                                                            \
        if ((N) > 2) turn_round_##id(v, 2 % (N));                                                            \
        turn_round_##id(v, 1);                                                                               \
        _Pragma("GCC unroll 32") for (int i = 0; i < (N); i++) memcpy(to + i * to_step, &v[i], sizeof v[i]); \
    }                                                                                                        \
    static void turn_##id(int64_t rows, int64_t columns, const T *from, int64_t from_step, T *to,            \
                          int64_t to_step) {                                                                 \
        int64_t r = 0;                                                                                       \
        for (; r + (N) <= rows; r += (N)) {                                                                  \
            int64_t c = 0;                                                                                   \
            for (; c + (N) <= columns; c += (N))                                                             \
                turn_square_##id(from + c * from_step + r, from_step, to + r * to_step + c, to_step);        \
            turn_edge_##id(N, columns - c, from + c * from_step + r, from_step, to + r * to_step + c,        \
                           to_step);                                                                         \
        }                                                                                                    \
        turn_edge_##id(rows - r, columns, from + r, from_step, to + r * to_step, to_step);                   \
    }
#endif
