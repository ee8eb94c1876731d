/* The scaled complementary error function exp(x^2) erfc(x) and its derivatives of all orders.
 *
 * The form of Shepherd & Laframboise, Math. Comp. 36 (1981), with a Chebyshev fit of ours. */
#ifndef CB_SPECIAL_ERFCX_H
#define CB_SPECIAL_ERFCX_H

#include "bessel.h"

/* (1 + 2 x) erfcx(x), t = (x - 3.75) / (x + 3.75) */
CB_SPECIAL_TABLE cb_erfcx_table[25] = {
    1.1775789345674017,     -0.004590054580646478,  -0.08424913336651792,    0.05920993999819189,
    -0.026658668435305753,  0.009074997670705265,   -0.002413163540417608,   0.0004907758365258086,
    -6.916973302501207e-05, 4.13902798607301e-06,   7.74038306619849e-07,    -2.1886401049234397e-07,
    1.076499946567091e-08,  4.521959811218287e-09,  -7.754400208831351e-10,  -6.318088340886684e-11,
    2.86879501093067e-11,   1.9455868545777347e-13, -9.65469674843344e-13,   3.25254814814874e-14,
    3.3478119482868056e-14, -1.864562880419313e-15, -1.2507950530688648e-15, 7.418235256624044e-17,
    5.068148904796111e-17,
};

CB_SPECIAL double cb_erfcx(double x) {
    double a = fabs(x);
    /* from 1e8 on one term of the asymptotic series is exact to rounding */
    double value = a > 1e8 ? 0.56418958354775628695 / a
                           : CB_CHEBYSHEV(cb_erfcx_table, (a - 3.75) / (a + 3.75)) / (1 + 2 * a);
    if (!(x < 0)) return value;
    if (x < -27) return HUGE_VAL;
    double square = x * x; /* its rounding error would be magnified by exp */
    return 2 * exp(square) * (1 + fma(x, x, -square)) - value;
}

/* The n-th derivative, from y' = 2 x y - 2 / sqrt(pi) and y(n+1) = 2 x y(n) + 2 n y(n-1). For positive x,
 * where this cancels, by the continued fraction of the ratios -y(n) / y(n-1) = 2 n / (2 x + ...),
 * DLMF 7.18.13. */
CB_SPECIAL double cb_erfcx_derivative(double x, double order) {
    double value = cb_erfcx(x);
    if (!(order >= 0 && order < 1e6)) return NAN;
    int n = (int)order;
    if (x > 0.5) {
        int last = n + 30 + (int)fmin(250 / (x * x), 1e4);
        double ratio = sqrt(x * x + 2 * last) - x;
        for (int k = last; k > 0; k--) {
            ratio = 2 * k / (2 * x + ratio);
            if (k <= n) value *= -ratio;
        }
        return value;
    }
    double below = -1.12837916709551257390; /* stands for 2 n y(n-1) at n = 0 */
    for (int k = 0; k < n; k++) {
        double above = 2 * x * value + below;
        below = 2 * (k + 1) * value;
        value = above;
    }
    return value;
}
#endif
