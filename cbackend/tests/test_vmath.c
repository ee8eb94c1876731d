/* Accuracy of vmath.h: every float function over a sweep of all finite floats against double libm, every
 * double function against long double libm, special values, then integers and complex numbers.
 *
 * The bounds in the two tables are the claims the headers make: units in the last place of the exact
 * result. Compiled at any -march; functions run over buffers in simple loops, so that vector code is what
 * is tested. */
#include <float.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmath.h"

typedef float _Complex cb_complex64;
typedef double _Complex cb_complex128;
#include "intmath.h"
#include "vcomplex.h"

enum { BUFFER = 1024 };
static int failures;
static const double slack = CB_HAVE_FMA ? 1.0 : 1.3; /* the bounds hold where products and sums are fused */
static void fail(const char *format, const char *name, double x, double y, long double got,
                 long double want) {
    if (++failures <= 60) printf(format, name, x, y, got, want);
}

/* ---- distance in units in the last place, for a format with so many digits and exponents ---- */
static double ulps(long double got, long double want, int digits, int lowest, long double largest) {
    if (want != want || got != got) return want != want && got != got ? 0 : INFINITY;
    if (got == want) return 0;
    if (fabsl(want) > largest) want = copysignl(largest * (1 + powl(2, -digits)), want); /* rounds to inf */
    if (fabsl(got) > largest) got = copysignl(largest * (1 + powl(2, -digits)), got);
    int exponent;
    frexpl(want, &exponent);
    if (exponent < lowest) exponent = lowest;
    return (double)(fabsl(got - want) / ldexpl(1, exponent - digits));
}
static double ulps_f32(long double got, long double want) {
    return ulps(got, want, FLT_MANT_DIG, FLT_MIN_EXP, FLT_MAX);
}
static double ulps_f64(long double got, long double want) {
    return ulps(got, want, DBL_MANT_DIG, DBL_MIN_EXP, DBL_MAX);
}

/* ---- references without a name in libm, in the type one step wider ---- */
static long double sigmoid_ref(long double x) { return x < 0 ? expl(x) / (1 + expl(x)) : 1 / (1 + expl(-x)); }
static long double logsigmoid_ref(long double x) { return (x < 0 ? x : 0) - log1pl(expl(-fabsl(x))); }
static long double gelu_ref(long double x) {
    return x == -INFINITY ? 0 : 0.5L * x * erfcl(-x * 0.707106781186547524400844362104849039L);
}
static long double gelu_tanh_ref(long double x) {
    long double u = 1.59576912160573071175978423973752747L * x * (1 + 0.044715L * x * x);
    return x == -INFINITY ? 0 : x * sigmoid_ref(u);
}
static const long double pi_l = 3.14159265358979323846264338327950288L;
static long double digamma_ref(long double x) {
    long double result = 0;
    if (x == 0) return copysignl(INFINITY, -x);
    if (x < 0) {
        if (x == floorl(x)) return NAN;
        result = -pi_l / tanl(pi_l * (x - rintl(x)));
        x = 1 - x;
    }
    for (; x < 40; x += 1) result -= 1 / x;
    long double u = 1 / (x * x);
    long double tail = u * (1.0L / 12 - u * (1.0L / 120 - u * (1.0L / 252 - u * (1.0L / 240 - u / 132))));
    return x > 1e18L ? logl(x) : result + logl(x) - 0.5L / x - tail;
}
/* bisection would be slow: one Newton step from the double result squares its error */
static long double erfinv_ref(long double x) {
    long double y = erfinv_f64((double)x), a = fabsl(x);
    if (!(a < 1) || x == 0) return y;
    long double residual = a < 0.5L ? erfl(fabsl(y)) - a : (1 - a) - erfcl(fabsl(y));
    return copysignl(fabsl(y) - residual * 0.886226925452758013649083741670572591L * expl(y * y), x);
}
static long double lgamma_ref(long double x) { return x == -INFINITY ? INFINITY : lgammal(x); }

/* name, its reference, bound for float, bound for double; a negative bound counts results below 1 in ulps
 * of 1: lgamma and digamma have zeros among the negative numbers, gelu_tanh a tail that rounding of its
 * argument blurs */
#define UNARY_TABLE(ENTRY)                      \
    ENTRY(exp, expl, 1.0, 1.0)                  \
    ENTRY(exp2, exp2l, 1.0, 1.0)                \
    ENTRY(expm1, expm1l, 2.0, 2.0)              \
    ENTRY(log, logl, 1.0, 1.0)                  \
    ENTRY(log2, log2l, 1.0, 1.0)                \
    ENTRY(log10, log10l, 1.0, 1.0)              \
    ENTRY(log1p, log1pl, 1.5, 1.5)              \
    ENTRY(sqrt, sqrtl, 0.51, 0.51)              \
    ENTRY(sin, sinl, 1.0, 2.0)                  \
    ENTRY(cos, cosl, 1.0, 2.0)                  \
    ENTRY(tan, tanl, 1.0, 3.0)                  \
    ENTRY(asin, asinl, 2.5, 2.5)                \
    ENTRY(acos, acosl, 2.0, 2.0)                \
    ENTRY(atan, atanl, 2.0, 2.0)                \
    ENTRY(sinh, sinhl, 2.0, 2.0)                \
    ENTRY(cosh, coshl, 2.0, 2.0)                \
    ENTRY(tanh, tanhl, 2.0, 2.2)                \
    ENTRY(asinh, asinhl, 1.0, 3.0)              \
    ENTRY(acosh, acoshl, 1.0, 3.0)              \
    ENTRY(atanh, atanhl, 1.0, 3.0)              \
    ENTRY(sigmoid, sigmoid_ref, 2.4, 2.0)       \
    ENTRY(logsigmoid, logsigmoid_ref, 2.0, 2.0) \
    ENTRY(erf, erfl, 1.5, 1.5)                  \
    ENTRY(erfc, erfcl, 4.0, 4.0)                \
    ENTRY(erfinv, erfinv_ref, 1.0, 10.0)        \
    ENTRY(gelu, gelu_ref, 4.5, 4.5)             \
    ENTRY(gelu_tanh, gelu_tanh_ref, -2.0, -4.0) \
    ENTRY(lgamma, lgamma_ref, -4.0, -8.0)       \
    ENTRY(digamma, digamma_ref, -4.0, -40.0)    \
    ENTRY(fabs, fabsl, 0.0, 0.0)                \
    ENTRY(floor, floorl, 0.0, 0.0)              \
    ENTRY(ceil, ceill, 0.0, 0.0)                \
    ENTRY(trunc, truncl, 0.0, 0.0)              \
    ENTRY(rint, rintl, 0.0, 0.0)

typedef struct unary_case {
    const char *name;
    void (*run_f32)(int n, float *restrict out, const float *restrict x);
    void (*run_f64)(int n, double *restrict out, const double *restrict x);
    long double (*reference)(long double x);
    double bound_f32, bound_f64; /* negative: relative to max(|result|, 1) */
} unary_case;
#define DEFINE_RUN(name, ref, b32, b64)                                                   \
    static void run_##name##_f32(int n, float *restrict out, const float *restrict x) {   \
        for (int i = 0; i < n; i++) out[i] = name##_f32(x[i]);                            \
    }                                                                                     \
    static void run_##name##_f64(int n, double *restrict out, const double *restrict x) { \
        for (int i = 0; i < n; i++) out[i] = name##_f64(x[i]);                            \
    }
UNARY_TABLE(DEFINE_RUN)
#define TABLE_ROW(name, ref, b32, b64) {#name, run_##name##_f32, run_##name##_f64, ref, b32, b64},
static const unary_case unary_cases[] = {UNARY_TABLE(TABLE_ROW)};

static double worst;
static double worst_at;
static void compare(const char *name, bool is_f32, double x, long double got, long double want,
                    double bound) {
    double distance = is_f32 ? ulps_f32(got, want) : ulps_f64(got, want);
    if (bound < 0 && fabsl(want) < 1)
        distance = (double)(fabsl(got - want) / (is_f32 ? FLT_EPSILON : DBL_EPSILON));
    if (distance > worst) worst = distance, worst_at = x;
    if (distance > fabs(bound) * slack)
        fail("FAIL %s(%.17g, %g) = %.20Lg, not %.20Lg\n", name, x, 0, got, want);
    if (want == 0 && got == 0 && signbit(want) != signbit(got) && fabs(x) < 1)
        fail("FAIL %s(%.17g, %g) = %Lg, sign of %Lg\n", name, x, 0, got, want);
}

static const double specials[] = {
    /* clang-format off */
    0, -0.0, INFINITY, -INFINITY, NAN, 1, -1, 0.5, -0.5, 2, -2, 3, 10, 100, 1000, 1e22, 1.5707963267948966,
    3.141592653589793, 6.283185307179586, 0.7853981633974483, 1.4616321449683622, FLT_MIN, FLT_MAX,
    FLT_TRUE_MIN, -FLT_TRUE_MIN, 1 - FLT_EPSILON / 2, 1 + FLT_EPSILON, 88.72283, 88.72284, -103.97, -104,
    89.4, 709.78, 709.79, -745.13, -745.14, 710.4, DBL_MIN, DBL_MAX, DBL_TRUE_MIN, -DBL_TRUE_MIN,
    1 - DBL_EPSILON / 2, 1 + DBL_EPSILON, 16367173.0 * 0x1p72, /* the float nearest to a multiple of pi/2 */
#if CB_HAVE_FMA
    6381956970095103.0 * 0x1p797, /* the double (Muller 2006); libm, used without FMA, is 8 ulp off there */
/* clang-format on */
#endif
};
enum { SPECIALS = sizeof specials / sizeof *specials };

/* all bit patterns with a stride, then points spread evenly over (-range, range) */
static void test_unary(const unary_case *c, int verbose) {
    static float x32[BUFFER], y32[BUFFER];
    static double x64[BUFFER], y64[BUFFER];
    worst = 0;
    for (int round = 0; round < 1400; round++) {
        for (int i = 0; i < BUFFER; i++) {
            uint32_t index = (uint32_t)(round * BUFFER + i);
            double width = index & 64 ? 2.2 : (index & 128 ? 24 : 220);
            double spread = (index * 2654435769u / 4294967296.0 - 0.5) * width;
            x32[i] = round < 900 ? cb_from_bits_f32(index * 4663u) : (float)spread;
            if (round == 1000 && i < SPECIALS) x32[i] = (float)specials[i];
        }
        c->run_f32(BUFFER, y32, x32);
        for (int i = 0; i < BUFFER; i++)
            if (isfinite(x32[i]) || round == 1000)
                compare(c->name, true, x32[i], y32[i], c->reference(x32[i]), c->bound_f32);
    }
    if (verbose) printf("%-11s f32 %6.3f ulp at %-14.9g", c->name, worst, worst_at);
    worst = 0;
    for (int round = 0; round < 240; round++) {
        for (int i = 0; i < BUFFER; i++) {
            uint64_t index = (uint64_t)(round * BUFFER + i), mixed = index * 0x9e3779b97f4a7c15u;
            double width = index & 64 ? 2.2 : (index & 128 ? 24 : 1500);
            double spread = ((double)(mixed >> 11) * 0x1p-53 - 0.5) * width;
            x64[i] = round < 120 ? cb_from_bits_f64(mixed) : spread;
            if (round == 200 && i < SPECIALS) x64[i] = specials[i];
        }
        c->run_f64(BUFFER, y64, x64);
        for (int i = 0; i < BUFFER; i++)
            if (isfinite(x64[i]) || round == 200)
                compare(c->name, false, x64[i], y64[i], c->reference(x64[i]), c->bound_f64);
    }
    if (verbose) printf("   f64 %6.3f ulp at %.17g\n", worst, worst_at);
}

/* ---- two operands: all pairs of special values, then random bit patterns and random magnitudes ---- */
static long double remainder_ref(long double x, long double y) {
    long double r = fmodl(x, y);
    return r != 0 && (y < 0) != (r < 0) ? r + y : r;
}
static long double logaddexp_ref(long double x, long double y) {
    long double m = x > y || x != x ? x : y;
    return x == y && isinf(x) ? x : m + log1pl(expl(-fabsl(x - y)));
}
#define BINARY_TABLE(ENTRY)                   \
    ENTRY(pow, powl, 1.0, 1.5)                \
    ENTRY(atan2, atan2l, 2.5, 2.5)            \
    ENTRY(hypot, hypotl, 1.0, 1.2)            \
    ENTRY(copysign, copysignl, 0.0, 0.0)      \
    ENTRY(fmod, fmodl, 0.0, 0.0)              \
    ENTRY(remainder, remainder_ref, 1.0, 1.0) \
    ENTRY(logaddexp, logaddexp_ref, -2.0, -2.0)
typedef struct binary_case {
    const char *name;
    void (*run_f32)(int n, float *restrict out, const float *x, const float *y);
    void (*run_f64)(int n, double *restrict out, const double *x, const double *y);
    long double (*reference)(long double x, long double y);
    double bound_f32, bound_f64;
} binary_case;
#define DEFINE_RUN2(name, ref, b32, b64)                                                          \
    static void run_##name##_f32(int n, float *restrict out, const float *x, const float *y) {    \
        for (int i = 0; i < n; i++) out[i] = name##_f32(x[i], y[i]);                              \
    }                                                                                             \
    static void run_##name##_f64(int n, double *restrict out, const double *x, const double *y) { \
        for (int i = 0; i < n; i++) out[i] = name##_f64(x[i], y[i]);                              \
    }
BINARY_TABLE(DEFINE_RUN2)
static const binary_case binary_cases[] = {BINARY_TABLE(TABLE_ROW)};

static uint64_t random_bits(void) {
    static uint64_t state;
    uint64_t z = state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static double random_in(double limit) { return ((double)(random_bits() >> 11) * 0x1p-52 - 1) * limit; }
static void compare2(const binary_case *c, bool f32, double x, double y, long double got) {
    long double want = c->reference(x, y);
    double bound = f32 ? c->bound_f32 : c->bound_f64;
    double distance = f32 ? ulps_f32(got, want) : ulps_f64(got, want);
    if (bound < 0 && fabsl(want) < 1)
        distance = (double)(fabsl(got - want) / (f32 ? FLT_EPSILON : DBL_EPSILON));
    if (distance > worst) worst = distance, worst_at = x;
    if (distance > fabs(bound) * slack)
        fail("FAIL %s(%.17g, %.17g) = %.20Lg, not %.20Lg\n", c->name, x, y, got, want);
}
static void test_binary(const binary_case *c, int verbose) {
    static float x32[BUFFER], y32[BUFFER], r32[BUFFER];
    static double x64[BUFFER], y64[BUFFER], r64[BUFFER];
    for (int f32 = 1; f32 >= 0; f32--) {
        worst = 0;
        for (int round = 0; round < 150; round++) {
            for (int i = 0; i < BUFFER; i++) {
                int pair = round * BUFFER + i;
                double x = random_in(i & 1 ? 3 : 100), y = random_in(i & 2 ? 3 : 100);
                if (round > 100) {
                    uint64_t u = random_bits(), v = random_bits();
                    x = f32 ? cb_from_bits_f32((uint32_t)u) : cb_from_bits_f64(u);
                    y = f32 ? cb_from_bits_f32((uint32_t)v) : cb_from_bits_f64(v);
                }
                if (round > 130) x = 1 + random_in(1e-2), y = random_in(1e4);
                if (pair < SPECIALS * SPECIALS) x = specials[pair % SPECIALS], y = specials[pair / SPECIALS];
                x32[i] = (float)(x64[i] = x);
                y32[i] = (float)(y64[i] = y);
            }
            if (f32)
                c->run_f32(BUFFER, r32, x32, y32);
            else
                c->run_f64(BUFFER, r64, x64, y64);
            for (int i = 0; i < BUFFER; i++)
                if (f32)
                    compare2(c, true, x32[i], y32[i], r32[i]);
                else
                    compare2(c, false, x64[i], y64[i], r64[i]);
        }
        if (verbose) printf("%-11s f%d %6.3f ulp at %.17g\n", c->name, f32 ? 32 : 64, worst, worst_at);
    }
}

/* ---- single values ---- */
#define CHECK(condition)                                                                  \
    do {                                                                                  \
        if (!(condition)) failures++, printf("FAIL line %d: %s\n", __LINE__, #condition); \
    } while (0)
static void test_values(void) {
    double inf = inf_f64(), nan = inf - inf;
    for (int k = -300; k <= 300; k++) CHECK(fabs(log10_f64(pow(10, k)) - k) <= abs(k) * DBL_EPSILON / 2);
    for (int k = 0; k <= 22; k++) CHECK(log10_f64(pow(10, k)) == k);
    for (int k = 0; k <= 10; k++) CHECK(log10_f32(powf(10, (float)k)) == (float)k);
    for (int k = -1074; k < 1024; k++) CHECK(log2_f64(ldexp(1, k)) == k && exp2_f64(k) == ldexp(1, k));
    for (int k = -149; k < 128; k++)
        CHECK(log2_f32(ldexpf(1, k)) == (float)k && exp2_f32((float)k) == ldexpf(1, k));
    for (int i = 0; i < SPECIALS; i++)
        for (int j = 0; j < SPECIALS; j++) {
            double x = specials[i], y = specials[j], next = nextafter_f64(x, y), want = nextafter(x, y);
            float x32 = (float)x, y32 = (float)y;
            float next32 = nextafter_f32(x32, y32), want32 = nextafterf(x32, y32);
            CHECK(next == want || (next != next && want != want));
            CHECK(next32 == want32 || (next32 != next32 && want32 != want32));
        }
    /* Python's and torch's signs, and torch's division by zero */
    CHECK(remainder_f64(-7, 3) == 2 && remainder_f64(7, -3) == -2 && remainder_f32(-7, 3) == 2);
    CHECK(floor_divide_f64(-7, 3) == -3 && floor_divide_f64(7, -3) == -3 && floor_divide_f32(7, 2) == 3);
    CHECK(floor_divide_f64(1, 0) == inf && floor_divide_f64(-1, 0) == -inf && isnan(floor_divide_f64(0, 0)));
    CHECK(floor_divide_f64(1, 0.1) == 9 && floor_divide_f64(-0.0, 3) == 0);
    CHECK(signbit(floor_divide_f64(-0.0, 3)));
    CHECK(clamp_f64(5, 1, 3) == 3 && clamp_f64(0, 1, 3) == 1 && clamp_f64(2, 3, 1) == 1);
    CHECK(isnan(clamp_f64(nan, 0, 1)) && isnan(clamp_f64(0, nan, 1)) && isnan(clamp_f64(0, 0, nan)));
    CHECK(clamp_f64(inf, -inf, 2) == 2);
    CHECK(lerp_f64(1, 3, 0) == 1 && lerp_f64(1, 3, 1) == 3 && lerp_f64(1, 3, 0.5) == 2);
    CHECK(lerp_f32(0.1f, 0.7f, 1) == 0.7f);
    CHECK(signbit_f64(-0.0) && !signbit_f64(0.0) && signbit_f32(-1) && !signbit_f32(1));
    CHECK(erfinv_f64(1) == inf && erfinv_f64(-1) == -inf && isnan(erfinv_f64(1.5)) && erfinv_f32(0) == 0);
    CHECK(isinf(digamma_f64(0.0)) && digamma_f64(0.0) < 0 && digamma_f64(-0.0) > 0 && isnan(digamma_f64(-3)));
    CHECK(fabs(zeta_f64(2, 1) - 1.6449340668482264) < 5e-16 &&
          fabs(zeta_f64(3, 1) - 1.2020569031595942) < 5e-16);
    CHECK(fabs(zeta_f64(2, -0.5) - 8.934802200544679) < 4e-15 &&
          fabs(zeta_f64(3, -0.5) - 0.4143983221171581) < 1e-14);
    /* the trigamma function: pi^2 / 8 * 4 at a half, and across the ends of its ways */
    CHECK(fabs(zeta_f64(2, 0.5) - 4.934802200544679) < 2e-15 &&
          fabs(zeta_f64(2, 1e-120) * 1e-240 - 1) < 1e-15);
    for (double q = 1e-3; q < 1e4; q *= 1.17) {
        double want = cb_zeta_positive(2, q);
        CHECK(fabs(zeta_f64(2, q) - want) < 2e-15 * want);
    }
    CHECK(lgamma_f32(1) == 0 && lgamma_f32(2) == 0 && lgamma_f32(0) == inf_f32() &&
          lgamma_f32(-3) == inf_f32());
    CHECK(lgamma_f32(inf_f32()) == inf_f32() && lgamma_f32(-inf_f32()) == inf_f32() &&
          isnan(lgamma_f32(NAN)));
    float above = lgamma_f32(0x1.000002p0f), below = lgamma_f32(0x1.fffffep-1f); /* next to the zero 1 */
    CHECK(fabsf(above + 6.8808e-8f) < 1e-11f && fabsf(below - 3.44044e-8f) < 1e-12f);
    CHECK(isinf(zeta_f64(1, 2)) && isinf(zeta_f64(2, 0)) && isinf(zeta_f64(2, -3)) &&
          isnan(zeta_f64(0.5, 2)));
    CHECK(isnan(zeta_f64(2.5, -1.5)) && zeta_f64(2, inf_f64()) == 0 && zeta_f64(inf_f64(), 1) == 1);
    CHECK(cos_f32(0) == 1 && cos_f64(0) == 1 && exp_f32(0) == 1 && exp_f64(0) == 1 && signbit(sin_f64(-0.0)));
}

/* ---- integers ---- */
#define CHECK_INT(T, lowest, highest)                                                                    \
    do {                                                                                                 \
        T values[] = {0, 1, 2, 3, 7, 10, (T)-1, (T)-2, (T)-7, highest, highest - 1, lowest, lowest + 1}; \
        for (int i = 0; i < 13; i++)                                                                     \
            for (int j = 0; j < 13; j++) {                                                               \
                T x = values[i], y = values[j];                                                          \
                T q = INT_FLOOR_DIVIDE(x, y), r = INT_REMAINDER(x, y), t = INT_TRUNC_DIVIDE(x, y);       \
                T m = INT_FMOD(x, y), g = INT_GCD(x, y), l = INT_LCM(x, y), p = INT_POW(x, y);           \
                T left = INT_SHIFT_LEFT(x, y), right = INT_SHIFT_RIGHT(x, y);                            \
                if (y == 0)                                                                              \
                    CHECK(q == 0 && t == 0);                                                             \
                else                                                                                     \
                    CHECK((T)((uint64_t)q * (uint64_t)y + (uint64_t)r) == x);                            \
                if (y != 0) CHECK((T)((uint64_t)t * (uint64_t)y + (uint64_t)m) == x);                    \
                if (y != 0) CHECK(r == 0 || (r > 0) == (y > 0));                                         \
                if (y != 0) CHECK(m == 0 || (m > 0) == (x > 0));                                         \
                if (g != 0) CHECK(x % g == 0 && y % g == 0 && (l == 0) == (x == 0 || y == 0 || l == 0)); \
                if (y == 3) CHECK(p == (T)((uint64_t)x * (uint64_t)x * (uint64_t)x));                    \
                if (y == 2) CHECK(left == (T)((uint64_t)x * 4));                                         \
                if (y == highest) CHECK(left == 0 && right == (T)(x > 0 ? 0 : 0 - (x != 0)));            \
            }                                                                                            \
    } while (0)
static void test_integers(void) {
    CHECK_INT(int8_t, INT8_MIN, INT8_MAX);
    CHECK_INT(int16_t, INT16_MIN, INT16_MAX);
    CHECK_INT(int32_t, INT32_MIN, INT32_MAX);
    CHECK_INT(int64_t, INT64_MIN, INT64_MAX);
    uint8_t a = 200, b = 7;
    uint64_t big = UINT64_MAX, three = 3;
    CHECK(INT_FLOOR_DIVIDE(a, b) == 28 && INT_REMAINDER(a, b) == 4 && (uint8_t)INT_POW(a, b) == 0);
    CHECK((uint64_t)INT_FLOOR_DIVIDE(big, three) == UINT64_MAX / 3);
    CHECK((uint64_t)INT_SHIFT_RIGHT(big, three) == UINT64_MAX >> 3);
    CHECK((uint64_t)INT_GCD(big, three) == 3 && INT_FLOOR_DIVIDE(big, (uint64_t)0) == 0);
    int32_t base = -1, two = 2, power = -3;
    CHECK(INT_POW(base, power) == -1 && INT_POW(two, power) == 0);
    CHECK(INT_POW(two, (int32_t)31) == 2147483648LL);
    CHECK(INT_LCM((int32_t)-4, (int32_t)6) == 12 && INT_GCD((int32_t)-4, (int32_t)6) == 2);
}

/* ---- complex numbers: against identities, as libm has no wider reference for most ---- */
static bool close_to(cb_complex128 got, cb_complex128 want, double tolerance) {
    return cabs(got - want) <= tolerance * fmax(cabs(want), 1e-300);
}
static void test_complex(void) {
    double inf = inf_f64();
    for (int i = 0; i < 20000; i++) {
        cb_complex128 z = cb_complex(random_in(3), random_in(3)), w = cb_complex(random_in(3), random_in(3));
        cb_complex64 z32 = (cb_complex64)z;
        CHECK(close_to(div_c128(z, w) * w, z, 1e-14));
        CHECK(close_to(div_c128(z * 0x1p1000, w * 0x1p1000), div_c128(z, w), 1e-15));
        CHECK(close_to(div_c128(z * 0x1p-1000, w * 0x1p-1000), div_c128(z, w), 1e-15));
        CHECK(close_to(reciprocal_c128(w) * w, 1, 1e-14));
        CHECK(close_to(expm1_c128(z), cexp(z) - 1, 1e-13 * (1 + 1 / cabs(z))));
        CHECK(close_to(exp_c128(log1p_c128(z)), 1 + z, 1e-14 * (1 + 1 / cabs(1 + z))));
        CHECK(close_to(exp2_c128(log2_c128(z)), z, 1e-14) && close_to(pow_c128(z, 2), z * z, 1e-14));
        CHECK(close_to(sigmoid_c128(z), 1 / (1 + cexp(-z)), 1e-13));
        CHECK(fabs(abs_c128(sgn_c128(z)) - 1) < 1e-15 && close_to(sin_c64(z32), csin(z32), 1e-7));
    }
    CHECK(creal(expm1_c128(cb_complex(1e-20, 0))) == 1e-20);
    CHECK(creal(log1p_c128(cb_complex(1e-20, 0))) == 1e-20);
    CHECK(creal(div_c128(1, 0)) == inf && div_c128(cb_complex(1, 1), cb_complex(inf, 0)) == 0);
    CHECK(pow_c128(0, 0) == 1 && pow_c128(0, 2) == 0 && sgn_c128(0) == 0 && abs_c64(cb_complex(3, 4)) == 5);
    CHECK(sigmoid_c128(cb_complex(-1000, 0)) == 0 && sigmoid_c128(cb_complex(1000, 0)) == 1);
    CHECK(abs_c128(cb_complex(-inf, NAN)) == inf);
    CHECK(isinf_c64(cb_complex(1, -inf)) && !isfinite_c128(cb_complex(NAN, 1)));
}

/* test_vmath [-v [function]]: -v prints the largest error found */
int main(int argc, char **argv) {
    int verbose = argc > 1;
    for (size_t i = 0; i < sizeof unary_cases / sizeof *unary_cases; i++)
        if (argc < 3 || !strcmp(argv[2], unary_cases[i].name)) test_unary(&unary_cases[i], verbose);
    for (size_t i = 0; i < sizeof binary_cases / sizeof *binary_cases; i++)
        if (argc < 3 || !strcmp(argv[2], binary_cases[i].name)) test_binary(&binary_cases[i], verbose);
    test_values();
    test_integers();
    test_complex();
    if (failures) printf("%d failures\n", failures);
    return failures > 0;
}
