/* Sampling images at places between their elements, linearly: what the frame (grid.c) and the kernels
 * (cpu/grid.c) share. x [n, channels, *size], at [n, points, nd] in elements of each dimension, y
 * [n, channels, points], all contiguous, of one dtype; outside are zeros. Fewer than three spatial dimensions
 * have leading sizes of 1. */
#ifndef CB_GRID_H
#define CB_GRID_H

typedef struct cb_grid {
    int dtype, nd;
    bool nearest; /* places are integers: the element there */
    int64_t n, channels, points, size[3];
} cb_grid;

#endif
