/* Sampling images at places between their elements: what the frame (grid.c) and the kernels (cpu/grid.c)
 * share. x [n, channels, *size], grid [n, points, nd] with coordinates of -1..1 across the image, the last
 * dimension's first (nan: -1), y [n, channels, points], all contiguous, of one dtype. Fewer than three
 * spatial dimensions have leading sizes of 1. */
#ifndef CB_GRID_H
#define CB_GRID_H

enum { CB_GRID_LINEAR, CB_GRID_NEAREST, CB_GRID_CUBIC }; /* cubic: at most two dimensions */
enum { CB_GRID_ZEROS, CB_GRID_BORDER, CB_GRID_REFLECTION }; /* what is outside */

typedef struct cb_grid {
    int dtype, nd, mode, padding;
    bool align; /* do -1 and 1 stand for the centres of the last elements? */
    int64_t n, channels, points, size[3];
} cb_grid;

#endif
