/* Blocks transposed between a strided operand and a tile, or between two tensors. */
#include "turn.h"

/* the widest squares fill a vector of the level */
#if defined(__AVX512F__)
#define WHERE_512(yes, no) yes
#else
#define WHERE_512(yes, no) no
#endif
#if defined(__AVX2__)
#define WHERE_256(yes, no) yes
#else
#define WHERE_256(yes, no) no
#endif

typedef struct {
    double re, im;
} item16;
CB_TURN_EDGE(uint8_t, 1)
CB_TURN_EDGE(uint16_t, 2)
CB_TURN_EDGE(uint32_t, 4)
CB_TURN_EDGE(uint64_t, 8)
CB_TURN_EDGE(item16, 16)
CB_TURN(uint16_t, 2, 8)
CB_TURN(uint16_t, 2, 16)
CB_TURN(uint32_t, 4, 4)
CB_TURN(uint32_t, 4, 8)
CB_TURN(uint32_t, 4, 16)
CB_TURN(uint64_t, 8, 4)
CB_TURN(uint64_t, 8, 8)

/* In strips of the widest square, WIDE rows, then of the narrowest that holds what is left. */
#define TURN(T, id, WIDE, REST)                                                                       \
    static void turn_##id(int64_t rows, int64_t columns, const T *from, int64_t from_step, T *to,     \
                          int64_t to_step) {                                                          \
        int64_t r = 0;                                                                                \
        for (; r + (WIDE) <= rows; r += (WIDE))                                                       \
            CB_PASTE3(turn, id, WIDE)(WIDE, columns, from + r, from_step, to + r * to_step, to_step); \
        int left = (int)(rows - r);                                                                   \
        if (left == 1)                                                                                \
            turn_edge_##id(1, columns, from + r, from_step, to + r * to_step, to_step);               \
        else if (left > 0)                                                                            \
            (REST)(left, columns, from + r, from_step, to + r * to_step, to_step);                    \
    }
#define WIDE_2 WHERE_256(16, 8)
#define WIDE_4 WHERE_512(16, WHERE_256(8, 4))
#define WIDE_8 WHERE_512(8, 4)
TURN(uint16_t, 2, WIDE_2, left <= 8 ? turn_2_8 : turn_2_16)
TURN(uint32_t, 4, WIDE_4, left <= 4 ? turn_4_4 : left <= 8 ? turn_4_8 : turn_4_16)
TURN(uint64_t, 8, WIDE_8, left <= 4 ? turn_8_4 : turn_8_8)

void CB_FN(turn)(int itemsize, int64_t rows, int64_t columns, const void *from, int64_t from_step, void *to,
                 int64_t to_step) {
    switch (itemsize) {
        case 1: turn_edge_1(rows, columns, from, from_step, to, to_step); break;
        case 2: turn_2(rows, columns, from, from_step, to, to_step); break;
        case 4: turn_4(rows, columns, from, from_step, to, to_step); break;
        case 8: turn_8(rows, columns, from, from_step, to, to_step); break;
        default: /* as many rows at a time as use up the lines that are read */
            for (int64_t r = 0; r < rows; r += 4)
                turn_edge_16(CB_MIN(rows - r, 4), columns, (const item16 *)from + r, from_step,
                             (item16 *)to + r * to_step, to_step);
    }
}

/* At least a square's rows, columns that are fewer than its own, as squares with zeros for the others. */
#define TURN_PADDED(T, id, N)                                                              \
    for (int64_t r = 0; r < rows; r += (N)) {                                              \
        r = CB_MIN(r, rows - (N)); /* some rows again */                                   \
        CB_PASTE3(turn_square, id, N)                                                      \
        (N, (int)columns, (const T *)from + r, from_step, (T *)to + r * to_step, to_step); \
    }
void CB_FN(turn_padded)(int itemsize, int64_t rows, int64_t columns, const void *from, int64_t from_step,
                        void *to, int64_t to_step) {
    if (itemsize == 4) {
        TURN_PADDED(uint32_t, 4, WIDE_4)
    } else {
        TURN_PADDED(uint64_t, 8, WIDE_8)
    }
}

int CB_FN(space_turned)(const cb_space *s, int k) {
    enum { LEAST = 8 }; /* shorter sides do not fill a vector */
    int last = s->ndim - 1;
    int64_t stride = s->strides[k][last];
    if (s->shape[last] < LEAST || stride == 0 || stride == 1) return -1;
    for (int d = 0; d < last; d++)
        if (s->strides[k][d] == 1 && s->shape[d] >= LEAST) return d;
    return -1;
}
