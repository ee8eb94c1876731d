/* C's complex functions for device code, under their C names, and on them those of vcomplex.h: C(f) of
 * ops.def. They come from cuda::std::complex, and in the emulator from std::complex. */
#ifndef CB_VCOMPLEX_DEVICE_H
#define CB_VCOMPLEX_DEVICE_H

#include "kernels.h"

#if defined(CB_EMULATE)
#include <complex>
#define CB_CMATH static inline
#define CB_STD_COMPLEX std::complex<double>
#define CB_STD_CALL(f) std::f
#else
#include <cuda/std/complex>
#define CB_CMATH static __host__ __device__ inline
#define CB_STD_COMPLEX cuda::std::complex<double>
#define CB_STD_CALL(f) cuda::std::f
#endif

CB_CMATH cb_complex128 cb_complex(double re, double im) { return {re, im}; }
#define creal(z) ((z).re)
#define cimag(z) ((z).im)
#define crealf(z) ((z).re)
#define cimagf(z) ((z).im)
#define conj(z) cb_complex((z).re, -(z).im)
#define CB_C_FUNCTION(f)                                                     \
    CB_CMATH cb_complex128 cb_c##f(cb_complex128 z) {                        \
        const CB_STD_COMPLEX w = CB_STD_CALL(f)(CB_STD_COMPLEX(z.re, z.im)); \
        return {w.real(), w.imag()};                                         \
    }
CB_C_FUNCTION(sqrt)
CB_C_FUNCTION(exp)
CB_C_FUNCTION(log)
CB_C_FUNCTION(sin)
CB_C_FUNCTION(cos)
CB_C_FUNCTION(tan)
CB_C_FUNCTION(asin)
CB_C_FUNCTION(acos)
CB_C_FUNCTION(atan)
CB_C_FUNCTION(sinh)
CB_C_FUNCTION(cosh)
CB_C_FUNCTION(tanh)
CB_C_FUNCTION(asinh)
CB_C_FUNCTION(acosh)
CB_C_FUNCTION(atanh)
CB_CMATH cb_complex128 cb_cpow(cb_complex128 x, cb_complex128 y) {
    const CB_STD_COMPLEX w = CB_STD_CALL(pow)(CB_STD_COMPLEX(x.re, x.im), CB_STD_COMPLEX(y.re, y.im));
    return {w.real(), w.imag()};
}
#define csqrt cb_csqrt
#define cexp cb_cexp
#define clog cb_clog
#define csin cb_csin
#define ccos cb_ccos
#define ctan cb_ctan
#define casin cb_casin
#define cacos cb_cacos
#define catan cb_catan
#define csinh cb_csinh
#define ccosh cb_ccosh
#define ctanh cb_ctanh
#define casinh cb_casinh
#define cacosh cb_cacosh
#define catanh cb_catanh
#define cpow cb_cpow
#include "vcomplex.h"
#undef conj
#endif
