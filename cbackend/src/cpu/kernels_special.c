/* Kernels of float32 for special functions: in double, by polynomials, many numbers at a time.
 *
 * A block's numbers go through the same steps side by side. What lies outside the range of the fits is
 * computed again, one by one, by the functions of special.h and vmath_gamma.h, as is all of float64: no
 * item's result depends on its neighbours. Functions of a degree or an order have steps for blocks with one
 * common degree; results differ from those of the functions called otherwise by roundings in double. */
#include <float.h>
#include <string.h>

#include "cpu.h"
#include "special_fits.h"
#include "vmath.h"

enum { BLOCK = 64 };
/* the level's own width: gcc takes wider vectors apart through memory */
#if defined(__AVX512F__)
enum { WIDTH = 64 };
#elif defined(__AVX2__)
enum { WIDTH = 32 };
#else
enum { WIDTH = 16 };
#endif
typedef double lanes __attribute__((vector_size(WIDTH), aligned(8), may_alias));
#define EACH _Pragma("GCC ivdep") for (int i = 0; i < BLOCK; i++)

/* p = the polynomial in u */
static void sum(const cb_fit *fit, const double *u, double *p) {
    for (int i = 0; i < BLOCK; i += 4 * WIDTH / 8) {
        const lanes *from = (const lanes *)(u + i);
        lanes *to = (lanes *)(p + i);
        lanes t0 = from[0] * fit->scale + fit->shift, t1 = from[1] * fit->scale + fit->shift;
        lanes t2 = from[2] * fit->scale + fit->shift, t3 = from[3] * fit->scale + fit->shift;
        lanes s0 = {0}, s1 = s0, s2 = s0, s3 = s0;
        for (int k = 0; k < fit->count; k++) {
            s0 = s0 * t0 + fit->c[k];
            s1 = s1 * t1 + fit->c[k];
            s2 = s2 * t2 + fit->c[k];
            s3 = s3 * t3 + fit->c[k];
        }
        to[0] = s0;
        to[1] = s1;
        to[2] = s2;
        to[3] = s3;
    }
}

/* does any number of the block lie beyond the limit? */
static bool any_above(const double *x, double limit) {
    int above = 0;
    EACH above |= fabs_f64(x[i]) > limit;
    return above;
}
static void take_exp(double *x) { EACH x[i] = exp_f64(x[i]); }
static void take_log(double *x) { EACH x[i] = log_f64(x[i]); }

/* ---- Bessel functions ---- */
static void bessel_i(const double *x, double *y, int order, int scaled) {
    double e[BLOCK], u[BLOCK], far[BLOCK];
    bool beyond = any_above(x, 8);
    EACH u[i] = x[i] * x[i];
    EACH e[i] = scaled ? -fabs_f64(x[i]) : fabs_f64(x[i]);
    if (scaled || beyond) take_exp(e);
    sum(order ? &i1_near : &i0_near, u, y);
    if (order) EACH y[i] *= x[i];
    if (scaled) EACH y[i] *= e[i];
    if (!beyond) return;
    EACH u[i] = 1 / fabs_f64(x[i]);
    sum(order ? &i1_far : &i0_far, u, far);
    EACH far[i] *= sqrt_f64(u[i]);
    if (order) EACH far[i] = copysign_f64(far[i], x[i]);
    if (!scaled) EACH far[i] *= e[i];
    EACH y[i] = fabs_f64(x[i]) > 8 ? far[i] : y[i];
}
static void bessel_k(const double *x, double *y, int order, int scaled) {
    double u[BLOCK], e[BLOCK], l[BLOCK], first[BLOCK], far[BLOCK];
    EACH u[i] = x[i] * x[i];
    EACH l[i] = 0.5 * x[i];
    EACH e[i] = scaled ? x[i] : -x[i];
    take_log(l);
    take_exp(e);
    sum(order ? &k1_near : &k0_near, u, y);
    sum(order ? &i1_near : &i0_near, u, first);
    if (order)
        EACH y[i] = y[i] / x[i] + l[i] * x[i] * first[i];
    else
        EACH y[i] -= l[i] * first[i];
    if (scaled) EACH y[i] *= e[i];
    if (!any_above(x, 2)) return;
    EACH u[i] = 1 / x[i];
    sum(order ? &k1_far : &k0_far, u, far);
    EACH far[i] *= sqrt_f64(u[i]);
    if (!scaled) EACH far[i] *= e[i];
    EACH y[i] = x[i] > 2 ? far[i] : y[i];
}
/* J, or Y where second is set */
static void bessel_jy(const double *x, double *y, int order, int second) {
    double u[BLOCK], l[BLOCK], first[BLOCK];
    EACH u[i] = x[i] * x[i];
    sum(order ? &j1_near : &j0_near, u, first);
    EACH y[i] = order ? x[i] * first[i] : first[i];
    if (!second) return;
    EACH l[i] = x[i];
    take_log(l);
    sum(order ? &y1_near : &y0_near, u, first);
    EACH l[i] = l[i] * y[i] - (order ? 1 / x[i] : 0);
    EACH y[i] = 0.63661977236758134308 * l[i] + (order ? x[i] * first[i] : first[i]);
}

/* psi'(x) = zeta(2, x), for positive numbers */
static void trigamma_block(const double *x, double *y, int order, int second) {
    (void)order, (void)second;
    double v[BLOCK], near[BLOCK];
    EACH v[i] = 1 / x[i];
    sum(&trigamma_near, x, near);
    EACH y[i] = v[i] * v[i] + near[i];
    if (!any_above(x, 3)) return;
    sum(&trigamma_far, v, near);
    EACH y[i] = x[i] > 3 ? v[i] + v[i] * v[i] * (0.5 + v[i] * near[i]) : y[i];
}

/* erfcx, or its derivative: in double its cancellation for x up to 27 leaves 40 bits */
static void erfcx_block(const double *x, double *y, int order, int second) {
    (void)second;
    EACH y[i] = 2 * cb_half_erfcx_f64(fabs_f64(x[i]));
    int negative = 0;
    EACH negative |= x[i] < 0;
    if (negative) EACH {
            double mirrored = 2 * exp_f64(x[i] * x[i]) - y[i];
            y[i] = x[i] < 0 ? mirrored : y[i];
        }
    if (order) EACH y[i] = 2 * x[i] * y[i] - 1.12837916709551257390;
}

/* ---- the loop over blocks: numbers in [low, high] by `block`, others by `one` ---- */
typedef void (*cb_block)(const double *x, double *y, int order, int second);
typedef double (*cb_one)(double x);
typedef struct {
    cb_block block;
    int order, second;
    float low, high;
} cb_way;

/* false: some number is out of range */
static bool of_block(const cb_way *way, int count, const float *xs, float *out) {
    double x[BLOCK], y[BLOCK];
    int inside = 1;
    for (int i = 0; i < BLOCK; i++) x[i] = i < count ? xs[i] : 1;
    for (int i = 0; i < count; i++) inside &= (xs[i] >= way->low) & (xs[i] <= way->high);
    way->block(x, y, way->order, way->second);
    for (int i = 0; i < count; i++) out[i] = (float)y[i];
    return inside;
}
static void by_blocks(int64_t n, void *out_, const void *xs_, const cb_way *way, cb_one one) {
    for (int64_t begin = 0; begin < n; begin += BLOCK) {
        const float *xs = (const float *)xs_ + begin;
        float *out = (float *)out_ + begin, made[BLOCK]; /* the result may lie over the operand */
        int count = (int)CB_MIN(n - begin, BLOCK);
        if (!of_block(way, count, xs, made))
            for (int i = 0; i < count; i++)
                if (!(xs[i] >= way->low && xs[i] <= way->high)) made[i] = (float)one(xs[i]);
        memcpy(out, made, (size_t)count * sizeof(float));
    }
}

#define LEAST FLT_TRUE_MIN
#define UNARY(name, block, order, second, low, high, one)                              \
    static void unary_##name(int64_t n, void *out, const void *const *in) {            \
        static const cb_way way = {block, order, second, (float)(low), (float)(high)}; \
        by_blocks(n, out, in[0], &way, one);                                           \
    }
UNARY(i0, bessel_i, 0, 0, -FLT_MAX, FLT_MAX, cb_i0)
UNARY(i0e, bessel_i, 0, 1, -FLT_MAX, FLT_MAX, cb_i0e)
UNARY(i1, bessel_i, 1, 0, -FLT_MAX, FLT_MAX, cb_i1)
UNARY(i1e, bessel_i, 1, 1, -FLT_MAX, FLT_MAX, cb_i1e)
UNARY(modified_bessel_k0, bessel_k, 0, 0, LEAST, FLT_MAX, cb_modified_bessel_k0)
UNARY(modified_bessel_k1, bessel_k, 1, 0, LEAST, FLT_MAX, cb_modified_bessel_k1)
UNARY(scaled_modified_bessel_k0, bessel_k, 0, 1, LEAST, FLT_MAX, cb_scaled_modified_bessel_k0)
UNARY(scaled_modified_bessel_k1, bessel_k, 1, 1, LEAST, FLT_MAX, cb_scaled_modified_bessel_k1)
UNARY(bessel_j0, bessel_jy, 0, 0, -8, 8, cb_bessel_j0)
UNARY(bessel_j1, bessel_jy, 1, 0, -8, 8, cb_bessel_j1)
UNARY(bessel_y0, bessel_jy, 0, 1, LEAST, 8, cb_bessel_y0)
UNARY(bessel_y1, bessel_jy, 1, 1, LEAST, 8, cb_bessel_y1)
UNARY(erfcx, erfcx_block, 0, 0, -27, 27, cb_erfcx)

/* ---- functions of a degree or an order, where a block has only one ---- */
enum { T, U, V, W, H, HE, GEGENBAUER, LAGUERRE };
/* p(k + 1) = (a x + b) p(k) + c p(k - 1), special/polynomials.h */
static void recurrence(int kind, const double *x, double *y, int degree, double parameter) {
    double below[BLOCK];
    EACH y[i] = 1, below[i] = 0;
    for (int k = 0; k < degree; k++) {
        double a = 2, b = 0, c = -1;
        if (kind <= W && k == 0) a = kind == T ? 1 : 2, b = kind == V ? -1 : kind == W;
        if (kind == H) c = -2.0 * k;
        if (kind == HE) a = 1, c = -k;
        if (kind == GEGENBAUER) a = 2 * (k + parameter) / (k + 1), c = -(k + 2 * parameter - 1) / (k + 1);
        if (kind == LAGUERRE)
            a = -1.0 / (k + 1), b = (2 * k + 1 + parameter) / (k + 1), c = -(k + parameter) / (k + 1);
        EACH {
            double above = (a * x[i] + b) * y[i] + c * below[i];
            below[i] = y[i];
            y[i] = above;
        }
    }
}
/* Chebyshev polynomials of higher degree are trigonometric inside [-1, 1] */
static int most_degree(int kind) { return kind <= W ? 6 : 64; }

/* is the whole part of all n numbers, of which there is at least one, the same and in [0, most]? */
static bool common_degree(int count, const float *ns, int most) {
    if (!(ns[0] >= 0 && ns[0] < most + 1)) return false;
    float degree = trunc_f32(ns[0]);
    int same = 1;
    for (int i = 0; i < count; i++) same &= (ns[i] >= degree) & (ns[i] < degree + 1);
    return same;
}
static void polynomial(int kind, int64_t n, void *out_, const void *const *in,
                       double (*one)(double x, double degree, double parameter)) {
    static const float none[BLOCK];
    for (int64_t begin = 0; begin < n; begin += BLOCK) {
        const float *xs = (const float *)in[0] + begin, *ns = (const float *)in[1] + begin;
        const float *parameters = kind >= GEGENBAUER ? (const float *)in[2] + begin : none;
        float *out = (float *)out_ + begin, made[BLOCK];
        int count = (int)CB_MIN(n - begin, BLOCK), inside = common_degree(count, ns, most_degree(kind));
        for (int i = 0; i < count; i++)
            inside &= (fabs_f32(xs[i]) <= FLT_MAX) & (parameters[i] == parameters[0]);
        if (inside) {
            double x[BLOCK], y[BLOCK];
            for (int i = 0; i < BLOCK; i++) x[i] = i < count ? xs[i] : 1;
            recurrence(kind, x, y, (int)ns[0], parameters[0]);
            for (int i = 0; i < count; i++) made[i] = (float)y[i];
        } else {
            for (int i = 0; i < count; i++) made[i] = (float)one(xs[i], ns[i], parameters[i]);
        }
        memcpy(out, made, (size_t)count * sizeof(float));
    }
}
#define POLYNOMIAL(family, name, kind, ...)                                    \
    static double one_##name(double x, double n, double parameter) {           \
        (void)parameter;                                                       \
        return cb_##name(__VA_ARGS__);                                         \
    }                                                                          \
    static void family##_##name(int64_t n, void *out, const void *const *in) { \
        polynomial(kind, n, out, in, one_##name);                              \
    }
POLYNOMIAL(binary, chebyshev_polynomial_t, T, x, n)
POLYNOMIAL(binary, chebyshev_polynomial_u, U, x, n)
POLYNOMIAL(binary, chebyshev_polynomial_v, V, x, n)
POLYNOMIAL(binary, chebyshev_polynomial_w, W, x, n)
POLYNOMIAL(binary, hermite_polynomial_h, H, x, n)
POLYNOMIAL(binary, hermite_polynomial_he, HE, x, n)
POLYNOMIAL(ternary, gegenbauer, GEGENBAUER, x, n, parameter)
POLYNOMIAL(ternary, laguerre, LAGUERRE, x, n, parameter)

/* a function of an order with a way for one order: zeta(2, x) and the first derivative of erfcx */
static void by_order(const cb_way *way, int64_t n, float *out, const float *xs, const float *orders,
                     float order, double (*one)(double x, double order)) {
    float made[BLOCK];
    for (int64_t begin = 0; begin < n; begin += BLOCK) {
        int count = (int)CB_MIN(n - begin, BLOCK), same = 1;
        const float *x = xs + begin, *o = orders + begin;
        for (int i = 0; i < count; i++) same &= o[i] == order;
        if (!of_block(way, count, x, made) || !same)
            for (int i = 0; i < count; i++)
                if (!(o[i] == order && x[i] >= way->low && x[i] <= way->high))
                    made[i] = (float)one(x[i], o[i]);
        memcpy(out + begin, made, (size_t)count * sizeof(float));
    }
}
static double one_zeta(double q, double x) { return zeta_f64(x, q); }
static void binary_zeta(int64_t n, void *out, const void *const *in) {
    static const cb_way way = {trigamma_block, 0, 0, LEAST, FLT_MAX};
    by_order(&way, n, out, in[1], in[0], 2, one_zeta);
}
static void binary_erfcx_derivative(int64_t n, void *out, const void *const *in) {
    static const cb_way way = {erfcx_block, 1, 0, -27, 27};
    by_order(&way, n, out, in[0], in[1], 1, cb_erfcx_derivative);
}

cb_kernel CB_FN(special_kernel)(int family, int op) {
#define UNARY_OF(name) \
    case CB_UNARY_##name: return unary_##name;
#define BINARY_OF(name) \
    case CB_BINARY_##name: return binary_##name;
    if (family == CB_FAMILY_UNARY) switch (op) {
            UNARY_OF(i0)
            UNARY_OF(i0e)
            UNARY_OF(i1)
            UNARY_OF(i1e)
            UNARY_OF(modified_bessel_k0)
            UNARY_OF(modified_bessel_k1)
            UNARY_OF(scaled_modified_bessel_k0)
            UNARY_OF(scaled_modified_bessel_k1)
            UNARY_OF(bessel_j0)
            UNARY_OF(bessel_j1)
            UNARY_OF(bessel_y0)
            UNARY_OF(bessel_y1)
            UNARY_OF(erfcx)
        }
    if (family == CB_FAMILY_BINARY) switch (op) {
            BINARY_OF(chebyshev_polynomial_t)
            BINARY_OF(chebyshev_polynomial_u)
            BINARY_OF(chebyshev_polynomial_v)
            BINARY_OF(chebyshev_polynomial_w)
            BINARY_OF(hermite_polynomial_h)
            BINARY_OF(hermite_polynomial_he)
            BINARY_OF(zeta)
            BINARY_OF(erfcx_derivative)
        }
    if (family == CB_FAMILY_TERNARY && op == CB_TERNARY_gegenbauer) return ternary_gegenbauer;
    if (family == CB_FAMILY_TERNARY && op == CB_TERNARY_laguerre) return ternary_laguerre;
    return NULL;
}
