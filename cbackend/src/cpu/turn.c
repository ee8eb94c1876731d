/* Blocks transposed between a strided operand and a tile, or between two tensors. */
#include "turn.h"

CB_TURN_EDGE(uint8_t, 1)
CB_TURN(uint16_t, 2, CB_TURN_BYTES == 16 ? 8 : 16)
CB_TURN(uint32_t, 4, CB_TURN_BYTES / 4)
CB_TURN(uint64_t, 8, CB_TURN_BYTES / 8)
typedef struct {
    double re, im;
} item16;
CB_TURN_EDGE(item16, 16)

void CB_FN(turn)(int itemsize, int64_t rows, int64_t columns, const void *from, int64_t from_step, void *to,
                 int64_t to_step) {
    switch (itemsize) {
        case 1: turn_edge_1(rows, columns, from, from_step, to, to_step); break;
        case 2: turn_2(rows, columns, from, from_step, to, to_step); break;
        case 4: turn_4(rows, columns, from, from_step, to, to_step); break;
        case 8: turn_8(rows, columns, from, from_step, to, to_step); break;
        default: turn_edge_16(rows, columns, from, from_step, to, to_step);
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
