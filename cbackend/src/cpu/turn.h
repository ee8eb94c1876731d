/* Transposing a block: squares of N x N items lie in N vectors and are turned by log2(N) rounds of swaps, so
 * that both sides move whole vectors. Edges go item by item. */
#ifndef CB_CPU_TURN_H
#define CB_CPU_TURN_H

#include "cpu.h"

/* to[r * to_step + c] = from[c * from_step + r] */
#define CB_TURN_EDGE(T, id)                                                                            \
    static void turn_edge_##id(int64_t rows, int64_t columns, const T *from, int64_t from_step, T *to, \
                               int64_t to_step) {                                                      \
        for (int64_t r = 0; r < rows; r++)                                                             \
            for (int64_t c = 0; c < columns; c++) to[r * to_step + c] = from[c * from_step + r];       \
    }

/* Round s swaps the blocks of s x s items on either side of the diagonal of each 2s x 2s block. */
#define CB_TURN(T, id, N)                                                                                  \
    typedef T vector_##id##_##N __attribute__((vector_size((N) * sizeof(T))));                             \
    CB_INLINE void turn_round_##id##_##N(vector_##id##_##N *v, int s) {                                    \
        vector_##id##_##N low, high;                                                                       \
        for (int j = 0; j < (N); j++) {                                                                    \
            low[j] = (T)(j & s ? (N) + j - s : j);                                                         \
            high[j] = (T)(j & s ? (N) + j : j + s);                                                        \
        }                                                                                                  \
        for (int i = 0; i < (N); i++) {                                                                    \
            if (i & s) continue;                                                                           \
            vector_##id##_##N a = v[i], b = v[i + s];                                                      \
            v[i] = __builtin_shuffle(a, b, low);                                                           \
            v[i + s] = __builtin_shuffle(a, b, high);                                                      \
        }                                                                                                  \
    }                                                                                                      \
    /* reads `columns` of N and writes the first `rows` of the N rows of the turned square */              \
    CB_INLINE void turn_square_##id##_##N(int rows, int columns, const T *from, int64_t from_step, T *to,  \
                                          int64_t to_step) {                                               \
        vector_##id##_##N v[N];                                                                            \
        _Pragma("GCC unroll 32") for (int i = 0; i < (N); i++) {                                           \
            v[i] = (vector_##id##_##N){0};                                                                 \
            if (i < columns) memcpy(&v[i], from + i * from_step, sizeof v[i]);                             \
        }                                                                                                  \
        if ((N) > 8) turn_round_##id##_##N(v, 8 % (N));                                                    \
        if ((N) > 4) turn_round_##id##_##N(v, 4 % (N));                                                    \
        if ((N) > 2) turn_round_##id##_##N(v, 2 % (N));                                                    \
        turn_round_##id##_##N(v, 1);                                                                       \
        _Pragma("GCC unroll 32") for (int i = 0; i < (N); i++) if (i < rows)                               \
            memcpy(to + i * to_step, &v[i], sizeof v[i]);                                                  \
    }                                                                                                      \
    /* At most N rows. Squares read N items of every column; where the last ones might lie behind the last \
     * column, items go one by one. */                                                                     \
    static void turn_##id##_##N(int rows, int64_t columns, const T *from, int64_t from_step, T *to,        \
                                int64_t to_step) {                                                         \
        int64_t c = 0, behind = rows - (N);                                                                \
        if (rows == (N))                                                                                   \
            for (; c + (N) <= columns; c += (N))                                                           \
                turn_square_##id##_##N(N, N, from + c * from_step, from_step, to + c, to_step);            \
        else if (from_step > 0)                                                                            \
            for (; (columns - c - (N)) * from_step + behind >= 0; c += (N))                                \
                turn_square_##id##_##N(rows, N, from + c * from_step, from_step, to + c, to_step);         \
        turn_edge_##id(rows, columns - c, from + c * from_step, from_step, to + c, to_step);               \
    }
#endif
