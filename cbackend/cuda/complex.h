/* Complex numbers of device code: cb_complex64 and cb_complex128, laid out as C's. C++ has no _Complex, and
 * std::complex no device functions. The functions of ops.def are in
 * vcomplex_device.h. */
#ifndef CB_COMPLEX_H
#define CB_COMPLEX_H

#include <math.h>
#if defined(CB_EMULATE)
using std::copysign;
using std::isinf;
using std::isnan;
#endif

template <typename R> struct alignas(2 * sizeof(R)) cb_complex_of {
    typedef R real_type;
    R re, im;
    cb_complex_of() = default;
    __host__ __device__ cb_complex_of(R re_, R im_ = 0) : re(re_), im(im_) {}
    template <typename S>
    __host__ __device__ explicit cb_complex_of(const cb_complex_of<S> &z) : re((R)z.re), im((R)z.im) {}
};
typedef cb_complex_of<float> cb_complex64;
typedef cb_complex_of<double> cb_complex128;

/* C's product (C11, annex G): where the plain formula gives nan + i nan, infinite factors give infinity */
template <typename R>
static __host__ __device__ __noinline__ cb_complex_of<R> cb_infinite_product(cb_complex_of<R> x,
                                                                             cb_complex_of<R> y) {
    R a = x.re, b = x.im, c = y.re, d = y.im;
    bool again = false;
    if (isinf(a) || isinf(b)) {
        a = copysign(isinf(a) ? (R)1 : (R)0, a);
        b = copysign(isinf(b) ? (R)1 : (R)0, b);
        if (isnan(c)) c = copysign((R)0, c);
        if (isnan(d)) d = copysign((R)0, d);
        again = true;
    }
    if (isinf(c) || isinf(d)) {
        c = copysign(isinf(c) ? (R)1 : (R)0, c);
        d = copysign(isinf(d) ? (R)1 : (R)0, d);
        if (isnan(a)) a = copysign((R)0, a);
        if (isnan(b)) b = copysign((R)0, b);
        again = true;
    }
    if (!again && (isinf(a * c) || isinf(b * d) || isinf(a * d) || isinf(b * c))) {
        if (isnan(a)) a = copysign((R)0, a);
        if (isnan(b)) b = copysign((R)0, b);
        if (isnan(c)) c = copysign((R)0, c);
        if (isnan(d)) d = copysign((R)0, d);
        again = true;
    }
    if (!again) return {(R)NAN, (R)NAN};
    return {(R)INFINITY * (a * c - b * d), (R)INFINITY * (a * d + b * c)};
}
template <typename R>
CB_BOTH cb_complex_of<R> cb_complex_product(const cb_complex_of<R> &x, const cb_complex_of<R> &y) {
    R re = x.re * y.re - x.im * y.im, im = x.re * y.im + x.im * y.re;
    if (re != re && im != im) return cb_infinite_product(x, y);
    return {re, im};
}

#define CB_COMPLEX_OPERATOR(op, result, expression)                                                          \
    template <typename R> CB_BOTH result operator op(const cb_complex_of<R> &x, const cb_complex_of<R> &y) { \
        return expression;                                                                                   \
    }                                                                                                        \
    template <typename R>                                                                                    \
    CB_BOTH result operator op(const cb_complex_of<R> &x, typename cb_complex_of<R>::real_type y_) {         \
        const cb_complex_of<R> y = {y_, 0};                                                                  \
        return expression;                                                                                   \
    }
#define CB_COMPLEX_VALUE cb_complex_of<R>
CB_COMPLEX_OPERATOR(+, CB_COMPLEX_VALUE, cb_complex_of<R>(x.re + y.re, x.im + y.im))
CB_COMPLEX_OPERATOR(-, CB_COMPLEX_VALUE, cb_complex_of<R>(x.re - y.re, x.im - y.im))
CB_COMPLEX_OPERATOR(*, CB_COMPLEX_VALUE, cb_complex_product(x, y))
CB_COMPLEX_OPERATOR(==, bool, x.re == y.re && x.im == y.im)
CB_COMPLEX_OPERATOR(!=, bool, x.re != y.re || x.im != y.im)
#undef CB_COMPLEX_VALUE
#undef CB_COMPLEX_OPERATOR
template <typename R> CB_BOTH cb_complex_of<R> operator-(const cb_complex_of<R> &x) { return {-x.re, -x.im}; }
template <typename R> CB_BOTH cb_complex_of<R> &operator+=(cb_complex_of<R> &x, const cb_complex_of<R> &y) {
    return x = x + y;
}
#endif
