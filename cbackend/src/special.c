/* The special functions of include/special/, compiled once: kernels of every instruction-set level call them.
 */
#include "vmath.h"

#include "special/airy.h"
#include "special/bessel.h"
#include "special/erfcx.h"
#include "special/gamma.h"
#include "special/polynomials.h"
