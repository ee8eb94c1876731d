/* The transforms for one real type: see the definitions before each inclusion in fft.c. */
#include "fft_passes.h"
#include "fft_moves.h"
#include "fft_plan.h"
#include "fft_lines.h"

#undef F
#undef NAME
#undef V
#undef MASK
#undef LOW
#undef HIGH
#undef EVEN
#undef ODD
#undef LANES
