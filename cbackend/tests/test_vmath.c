/* Accuracy of vmath.h: every float function over a sweep of all finite floats against double libm, every double
 * function against long double libm, special values, then integers and complex numbers.
 *
 * The bounds in the two tables are the claims the headers make: units in the last place of the exact result.
 * Compiled at any -march; functions run over buffers in simple loops, so that vector code is what is tested. */
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
static void fail(const char *format, const char *name, double x, double y, long double got, long double want) {
    if (++failures <= 60) printf(format, name, x, y, got, want);
}

/* ---- distance in units in the last place, for a format with `digits` bits and exponents from `lowest` ---- */
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
static long double sigmoid_ref(long double x) {
    return x < 0 ? expl(x) / (1 + expl(x)) : 1 / (1 + expl(-x));
}
static long double logsigmoid_ref(long double x) { return (x < 0 ? x : 0 * x) - log1pl(expl(-fabsl(x))); }
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
        result = -pi_l / tanl(pi_l * (x - truncl(x)));
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

/* name, its reference, bound for float, bound for double; "absolute" in units of 1 ulp(1) where |result| < 1 */
#define UNARY_TABLE(ENTRY)                   \
    ENTRY(exp, expl, 1.0, 1.0)               \
    ENTRY(exp2, exp2l, 1.0, 1.0)             \
    ENTRY(expm1, expm1l, 2.0, 2.0)           \
    ENTRY(log, logl, 1.0, 1.0)               \
    ENTRY(log2, log2l, 1.0, 1.0)             \
    ENTRY(log10, log10l, 1.0, 1.0)           \
    ENTRY(log1p, log1pl, 1.5, 1.5)           \
    ENTRY(sqrt, sqrtl, 0.51, 0.51)           \
    ENTRY(sin, sinl, 1.0, 1.5)               \
    ENTRY(cos, cosl, 1.0, 1.5)               \
    ENTRY(tan, tanl, 1.0, 3.0)               \
    ENTRY(asin, asinl, 2.0, 2.0)             \
    ENTRY(acos, acosl, 2.0, 2.0)             \
    ENTRY(atan, atanl, 2.0, 2.0)             \
    ENTRY(sinh, sinhl, 2.0, 2.0)             \
    ENTRY(cosh, coshl, 2.0, 2.0)             \
    ENTRY(tanh, tanhl, 2.0, 2.0)             \
    ENTRY(asinh, asinhl, 1.0, 3.0)           \
    ENTRY(acosh, acoshl, 1.0, 3.0)           \
    ENTRY(atanh, atanhl, 1.0, 3.0)           \
    ENTRY(sigmoid, sigmoid_ref, 2.0, 2.0)    \
    ENTRY(logsigmoid, logsigmoid_ref, 2.0, 2.0) \
    ENTRY(erf, erfl, 1.0, 2.0)               \
    ENTRY(erfc, erfcl, 4.0, 4.0)             \
    ENTRY(erfinv, erfinv_ref, 4.0, 8.0)      \
    ENTRY(gelu, gelu_ref, 4.0, 4.0)          \
    ENTRY(gelu_tanh, gelu_tanh_ref, 64.0, 512.0) \
    ENTRY(lgamma, lgamma_ref, -4.0, -8.0)    \
    ENTRY(digamma, digamma_ref, -4.0, -16.0) \
    ENTRY(fabs, fabsl, 0.0, 0.0)             \
    ENTRY(floor, floorl, 0.0, 0.0)           \
    ENTRY(ceil, ceill, 0.0, 0.0)             \
    ENTRY(trunc, truncl, 0.0, 0.0)           \
    ENTRY(rint, rintl, 0.0, 0.0)

typedef struct unary_case {
    const char *name;
    void (*run_f32)(int n, float *restrict out, const float *restrict x);
    void (*run_f64)(int n, double *restrict out, const double *restrict x);
    long double (*reference)(long double x);
    double bound_f32, bound_f64; /* negative: relative to max(|result|, 1) */
} unary_case;
#define DEFINE_RUN(name, ref, b32, b64)                                                  \
    static void run_##name##_f32(int n, float *restrict out, const float *restrict x) {  \
        for (int i = 0; i < n; i++) out[i] = name##_f32(x[i]);                           \
    }                                                                                    \
    static void run_##name##_f64(int n, double *restrict out, const double *restrict x) { \
        for (int i = 0; i < n; i++) out[i] = name##_f64(x[i]);                           \
    }
UNARY_TABLE(DEFINE_RUN)
#define TABLE_ROW(name, ref, b32, b64) {#name, run_##name##_f32, run_##name##_f64, ref, b32, b64},
static const unary_case unary_cases[] = {UNARY_TABLE(TABLE_ROW)};

static double worst;
static double worst_at;
static void compare(const char *name, bool is_f32, double x, long double got, long double want, double bound) {
    double distance = is_f32 ? ulps_f32(got, want) : ulps_f64(got, want);
    if (bound < 0 && fabsl(want) < 1) distance = (double)(fabsl(got - want) / (is_f32 ? FLT_EPSILON : DBL_EPSILON));
    if (distance > worst) worst = distance, worst_at = x;
    if (distance > fabs(bound)) fail("FAIL %s(%.17g, %g) = %.20Lg, not %.20Lg\n", name, x, 0, got, want);
    if (want == 0 && got == 0 && signbit(want) != signbit(got) && fabs(x) < 1)
        fail("FAIL %s(%.17g, %g) = %Lg, sign of %Lg\n", name, x, 0, got, want);
}

static const double specials[] = {0, -0.0, INFINITY, -INFINITY, NAN, 1, -1, 0.5, -0.5, 2, -2, 3, 10, 100, 1000, 1e22,
    1.5707963267948966, 3.141592653589793, 6.283185307179586, 0.7853981633974483, 1.4616321449683622,
    FLT_MIN, FLT_MAX, FLT_TRUE_MIN, -FLT_TRUE_MIN, 1 - FLT_EPSILON / 2, 1 + FLT_EPSILON, 88.72283, 88.72284, -103.97,
    -104, 89.4, 709.78, 709.79, -745.13, -745.14, 710.4, DBL_MIN, DBL_MAX, DBL_TRUE_MIN, -DBL_TRUE_MIN,
    1 - DBL_EPSILON / 2, 1 + DBL_EPSILON, 6381956970095103.0 * 0x1p797 /* nearest multiple of pi/2, Muller 2006 */,
    16367173.0 * 0x1p72 /* the same among floats */};
enum { SPECIALS = sizeof specials / sizeof *specials };

/* all bit patterns with a stride, then points spread evenly over (-range, range) */
static void test_unary(const unary_case *c, int verbose) {
    static float x32[BUFFER], y32[BUFFER];
    static double x64[BUFFER], y64[BUFFER];
    worst = 0;
    for (int round = 0; round < 1400; round++) {
        for (int i = 0; i < BUFFER; i++) {
            uint32_t index = (uint32_t)(round * BUFFER + i);
            double spread = (index * 2654435769u / 4294967296.0 - 0.5) * (index & 64 ? 2.2 : (index & 128 ? 24 : 220));
            x32[i] = round < 900 ? cb_from_bits_f32(index * 4663u) : (float)spread;
            if (round == 1000 && i < SPECIALS) x32[i] = (float)specials[i];
        }
        c->run_f32(BUFFER, y32, x32);
        for (int i = 0; i < BUFFER; i++)
            if (isfinite(x32[i]) || round == 1000) compare(c->name, true, x32[i], y32[i], c->reference(x32[i]), c->bound_f32);
    }
    if (verbose) printf("%-11s f32 %6.3f ulp at %-14.9g", c->name, worst, worst_at);
    worst = 0;
    for (int round = 0; round < 240; round++) {
        for (int i = 0; i < BUFFER; i++) {
            uint64_t index = (uint64_t)(round * BUFFER + i), mixed = index * 0x9e3779b97f4a7c15u;
            double spread = ((double)(mixed >> 11) * 0x1p-53 - 0.5) * (index & 64 ? 2.2 : (index & 128 ? 24 : 1500));
            x64[i] = round < 120 ? cb_from_bits_f64(mixed) : spread;
            if (round == 200 && i < SPECIALS) x64[i] = specials[i];
        }
        c->run_f64(BUFFER, y64, x64);
        for (int i = 0; i < BUFFER; i++)
            if (isfinite(x64[i]) || round == 200) compare(c->name, false, x64[i], y64[i], c->reference(x64[i]), c->bound_f64);
    }
    if (verbose) printf("   f64 %6.3f ulp at %.17g\n", worst, worst_at);
}

int main(int argc, char **argv) {
    int verbose = argc > 1;
    for (size_t i = 0; i < sizeof unary_cases / sizeof *unary_cases; i++)
        if (argc < 3 || !strcmp(argv[2], unary_cases[i].name)) test_unary(&unary_cases[i], verbose);
    if (failures) printf("%d failures\n", failures);
    return failures > 0;
}
