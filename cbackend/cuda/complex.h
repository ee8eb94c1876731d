/* Complex numbers of device code: cb_complex64 and cb_complex128, laid out as C's. C++ has no _Complex, and
 * std::complex no device functions. Arithmetic is the plain formulas; the functions of ops.def are in
 * vcomplex_device.h. */
#ifndef CB_COMPLEX_H
#define CB_COMPLEX_H

template <typename R> struct alignas(2 * sizeof(R)) cb_complex_of {
    typedef R real_type;
    R re, im;
    cb_complex_of() = default;
    __host__ __device__ cb_complex_of(R re_, R im_ = 0) : re(re_), im(im_) {}
};
typedef cb_complex_of<float> cb_complex64;
typedef cb_complex_of<double> cb_complex128;

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
CB_COMPLEX_OPERATOR(*, CB_COMPLEX_VALUE, cb_complex_of<R>(x.re *y.re - x.im * y.im, x.re *y.im + x.im * y.re))
CB_COMPLEX_OPERATOR(==, bool, x.re == y.re && x.im == y.im)
CB_COMPLEX_OPERATOR(!=, bool, x.re != y.re || x.im != y.im)
#undef CB_COMPLEX_VALUE
#undef CB_COMPLEX_OPERATOR
template <typename R> CB_BOTH cb_complex_of<R> operator-(const cb_complex_of<R> &x) { return {-x.re, -x.im}; }
template <typename R> CB_BOTH cb_complex_of<R> &operator+=(cb_complex_of<R> &x, const cb_complex_of<R> &y) {
    return x = x + y;
}
#endif
