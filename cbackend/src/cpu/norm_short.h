/* Sums of short rows, sixteen rows at a time: their folds are then one vector's. A row's result does not
 * depend on the others. */
#ifndef CB_NORM_SHORT_H
#define CB_NORM_SHORT_H

#include "cpu.h"

enum { SIDE = 16, SHORT = 256 }; /* rows; most items of a row */
/* of x; of its squared deviations from middle[r]; of these deviations times y */
enum { SUM, SQUARES, PRODUCTS };

CB_INLINE float short_term(int what, float x, float middle, float y) {
    float v = what == SUM ? x : x - middle;
    return what == SQUARES ? v * v : what == PRODUCTS ? y * v : v;
}

/* total[r]: the sum of row r, of at most sixteen */
CB_INLINE void sixteen_sums(int what, int64_t rows, int64_t n, const float *x, const float *middle,
                            const float *y, float *total) {
    _Alignas(64) float lanes[SIDE * SIDE] = {0}, turned[SIDE * SIDE];
    for (int64_t r = 0; r < rows; r++) {
        float lane[SIDE] = {0}, shift = what == SUM ? 0 : middle[r];
        const float *xs = x + r * n, *ys = what == PRODUCTS ? y + r * n : xs;
        int64_t b = 0;
        for (; b + SIDE <= n; b += SIDE)
            for (int j = 0; j < SIDE; j++) lane[j] += short_term(what, xs[b + j], shift, ys[b + j]);
        for (int j = 0; b + j < n; j++) lane[j] += short_term(what, xs[b + j], shift, ys[b + j]);
        memcpy(lanes + r * SIDE, lane, sizeof lane);
    }
    CB_FN(turn)(sizeof(float), SIDE, SIDE, lanes, SIDE, turned, SIDE);
    for (int half = SIDE / 2; half > 0; half /= 2)
        for (int j = 0; j < half * SIDE; j++) turned[j] += turned[half * SIDE + j];
    memcpy(total, turned, SIDE * sizeof(float));
}
#endif
