/* vmath.h by overload, for kernels that are templates over the real type. */
#ifndef CB_MATH_OF_H
#define CB_MATH_OF_H

#include "vmath.h"

#define CB_MATH_OF(name)                                      \
    CB_DEV float cb_##name(float x) { return name##_f32(x); } \
    CB_DEV double cb_##name(double x) { return name##_f64(x); }
CB_MATH_OF(exp)
CB_MATH_OF(log)
CB_MATH_OF(tanh)
CB_MATH_OF(sigmoid)
#undef CB_MATH_OF
#endif
