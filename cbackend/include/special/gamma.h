/* Incomplete gamma and beta functions, and the derivatives of the first by their parameter.
 *
 * P and Q by series and continued fraction for small a; from a = 20 on, and for derivatives, by
 * Gauss-Legendre quadrature of the defining integral on the side of x where its integrand falls, with panels
 * that follow its slope and curvature: one method, accurate in both tails, for a of any size. Reference:
 * DLMF 8.7, 8.9 (incomplete gamma), 8.17 (beta), 5.11 (Stirling). */
#ifndef CB_SPECIAL_GAMMA_H
#define CB_SPECIAL_GAMMA_H

/* the 16-point rule on [-1, 1]: nodes and weights of its positive half */
CB_SPECIAL_TABLE cb_gauss_x[8] = {
    0.09501250983763744, 0.2816035507792589, 0.45801677765722737, 0.6178762444026438,
    0.755404408355003,   0.8656312023878318, 0.9445750230732326,  0.9894009349916499,
};
CB_SPECIAL_TABLE cb_gauss_w[8] = {
    0.1894506104550685,  0.18260341504492358, 0.16915651939500254,  0.14959598881657674,
    0.12462897125553388, 0.09515851168249279, 0.062253523938647894, 0.027152459411754096,
};
/* (-1)^k (zeta(k) - 1) / k for k = 2, 3, ... */
CB_SPECIAL_TABLE cb_lgamma1p_table[28] = {
    0.3224670334241132,     -0.0673523010531981,     0.020580808427784546,   -0.007385551028673986,
    0.0028905103307415234,  -0.001192753911703261,   0.0005096695247430425,  -0.00022315475845357939,
    9.945751278180853e-05,  -4.492623673813314e-05,  2.050721277567069e-05,  -9.439488275268397e-06,
    4.374866789907488e-06,  -2.039215753801366e-06,  9.55141213040742e-07,   -4.492469198764566e-07,
    2.1207184805554665e-07, -1.0043224823968099e-07, 4.7698101693639804e-08, -2.2711094608943164e-08,
    1.0838659214896955e-08, -5.183475041970047e-09,  2.4836745438024785e-09, -1.1921401405860912e-09,
    5.731367241678862e-10,  -2.7595228851242334e-10, 1.330476437424449e-10,  -6.4229645638381e-11,
};

/* log Gamma(1 + a), also for tiny a; DLMF 5.7.3 */
CB_SPECIAL double cb_lgamma1p(double a) {
    if (a > 0.5) return lgamma_f64(1 + a);
    double sum = 0;
    for (int k = (int)(sizeof cb_lgamma1p_table / sizeof(double)) - 1; k >= 0; k--)
        sum = sum * a + cb_lgamma1p_table[k];
    return a * (0.42278433509846713939 + a * sum) - log1p(a);
}
/* log Gamma(x) - (x - 1/2) log(x) + x - log(2 pi) / 2 for x >= 10 */
CB_SPECIAL double cb_stirling(double x) {
    double u = 1 / (x * x);
    return (1.0 / 12 + u * (-1.0 / 360 +
                            u * (1.0 / 1260 + u * (-1.0 / 1680 + u * (1.0 / 1188 - u * (691.0 / 360360)))))) /
           x;
}
/* log(1 + m) - m */
CB_SPECIAL double cb_log1p_less(double m) {
    if (m < -0.3 || m > 0.45) return log1p(m) - m;
    double r = m / (2 + m), square = r * r, sum = 0;
    for (int k = 25; k >= 3; k -= 2) sum = sum * square + 1.0 / k;
    return r * (2 * square * sum - m);
}
/* exp(v) - 1 - v */
CB_SPECIAL double cb_expm1_less(double v) {
    if (fabs(v) > 0.5) return expm1(v) - v;
    double sum = 1.0 / 1307674368000;
    const double factors[13] = {1.0 / 87178291200,
                                1.0 / 6227020800,
                                1.0 / 479001600,
                                1.0 / 39916800,
                                1.0 / 3628800,
                                1.0 / 362880,
                                1.0 / 40320,
                                1.0 / 5040,
                                1.0 / 720,
                                1.0 / 120,
                                1.0 / 24,
                                1.0 / 6,
                                0.5};
    for (int k = 0; k < 13; k++) sum = sum * v + factors[k];
    return v * v * sum;
}
/* x^a exp(-x) / Gamma(a) */
CB_SPECIAL double cb_gamma_factor(double a, double x) {
    if (a >= 20) {
        double less = x < 0.5 * a ? log(x / a) - (x - a) / a : cb_log1p_less((x - a) / a);
        double power = a * less - cb_stirling(a);
        return sqrt(a * 0.15915494309189533577) * exp(power);
    }
    if (x > 600) return pow(x * exp(-x / a), a) / tgamma(a);
    return a < 1e-300 ? a * exp(-x) : pow(x, a) * exp(-x) / tgamma(a);
}

/* The integral of t^(a-1) exp(-t) (log t - psi(a))^power / Gamma(a) over (0, x), or (x, inf): with t = x
 * exp(-+v) exp(-rise(v)) is integrated over v from 0 on, where rise is convex. */
CB_SPECIAL double cb_gamma_quadrature(double a, double x, int power, int upper) {
    double factor = cb_gamma_factor(a, x), d = upper ? x - a : a - x, side = upper ? 1 : -1, sum = 0, v = 0;
    if (!(factor > 0)) return factor;
    double u = 1 / (a * a), ratio = (x - a) / a;
    double level = 0; /* log x - psi(a) */
    if (power && a >= 20)
        level = (ratio < -0.5 ? log(x / a) : log1p(ratio)) + 0.5 / a +
                u * (1.0 / 12 - u * (1.0 / 120 - u * (1.0 / 252 - u * (1.0 / 240))));
    else if (power)
        level = log(x) - digamma_f64(a);
    for (int panel = 0; panel < 2000; panel++) {
        double curve = x * exp(side * v), slope = fabs(d + side * x * expm1(side * v));
        double width = 12 / (slope + sqrt(slope * slope + 12 * curve)); /* rise(v) grows by about 6 */
        width = fmin(width, upper ? 1 : fmax(1.0, v));
        double part = 0;
        for (int i = 0; i < 16; i++) {
            double node = i < 8 ? cb_gauss_x[i] : -cb_gauss_x[i - 8], at = v + 0.5 * width * (1 + node);
            double value = exp(-(d * at + x * cb_expm1_less(side * at)));
            for (int k = 0; k < power; k++) value *= level + side * at;
            part += cb_gauss_w[i & 7] * value;
        }
        sum += 0.5 * width * part;
        v += width;
        if (d * v + x * cb_expm1_less(side * v) > 48) break;
    }
    return factor * sum;
}

CB_SPECIAL double cb_igamma_series(double a, double x) {
    double term = 1, sum = 1;
    for (int k = 1; k < 3000 && term > 1e-17 * sum; k++) {
        term *= x / (a + k);
        sum += term;
    }
    return a < 1e-300 ? 1 : cb_gamma_factor(a, x) / a * sum;
}
/* for small x and a: 1 - P without its cancellation */
CB_SPECIAL double cb_igammac_series(double a, double x) {
    double power = a * log(x) - cb_lgamma1p(a), term = 1, sum = 0;
    for (int k = 1; k < 100 && fabs(term) > 1e-18; k++) {
        term *= -x / k;
        sum += term / (a + k);
    }
    return -expm1(power) - a * exp(power) * sum;
}
CB_SPECIAL double cb_igammac_fraction(double a, double x) {
    double b = x + 1 - a, c = 1e300, d = 1 / b, h = d; /* Lentz's method, DLMF 8.9.2 */
    for (int k = 1; k < 3000; k++) {
        double n = -k * (k - a);
        b += 2;
        d = 1 / (b + n * d);
        c = b + n / c;
        h *= c * d;
        if (fabs(c * d - 1) < 1e-16) break;
    }
    return cb_gamma_factor(a, x) * h;
}

CB_SPECIAL double cb_igammac(double a, double x);
/* P(a, x); edge values as in SciPy and PyTorch */
CB_SPECIAL double cb_igamma(double a, double x) {
    if (!(a >= 0 && x >= 0)) return NAN;
    if (a == 0) return x > 0 ? 1 : NAN;
    if (x == 0) return 0;
    if (isinf(a)) return isinf(x) ? NAN : 0;
    if (isinf(x)) return 1;
    if (a >= 20 && x <= a) return cb_gamma_quadrature(a, x, 0, 0);
    if (x > 1 && x > a) return 1 - cb_igammac(a, x);
    return cb_igamma_series(a, x);
}
/* Q(a, x) = 1 - P(a, x) */
CB_SPECIAL double cb_igammac(double a, double x) {
    if (!(a >= 0 && x >= 0)) return NAN;
    if (a == 0) return x > 0 ? 0 : NAN;
    if (x == 0) return 1;
    if (isinf(a)) return isinf(x) ? NAN : 1;
    if (isinf(x)) return 0;
    if (a >= 20) return x <= a ? 1 - cb_gamma_quadrature(a, x, 0, 0) : cb_gamma_quadrature(a, x, 0, 1);
    if (x > 1.1) return x < a ? 1 - cb_igamma_series(a, x) : cb_igammac_fraction(a, x);
    double least = x <= 0.5 ? -0.4 / log(x) : 1.1 * x;
    return least < a ? 1 - cb_igamma_series(a, x) : cb_igammac_series(a, x);
}

/* The integral over (0, x) of the gamma density times (log t - psi(a))^k, k = 0, 1, ...: what derivatives of
 * P by a are made of, since (d/da) M(k) = M(k + 1) - k psi'(a) M(k - 1). */
CB_SPECIAL double cb_gamma_moment(double a, double x, double k) {
    if (!(a > 0 && x >= 0 && a < HUGE_VAL && k >= 0 && k < 60)) return NAN;
    int power = (int)k;
    if (power == 0) return cb_igamma(a, x);
    if (x == 0) return 0;
    /* below x = a too, where nearly all of the mass lies near 0 and the lower integral cancels */
    int upper = x > a || (a < 0.5 && a * log(a / x) < 10);
    if (!upper) return cb_gamma_quadrature(a, x, power, 0);
    double moments[60] = {1, 0}, factorial = 1; /* central moments of log t, from its cumulants psi(i - 1) */
    for (int m = 2; m <= power; m++) {
        double choose = m - 1; /* (m - 1)! over (i - 1)! (m - i)! */
        factorial = 1;
        for (int i = 2; i <= m; i++) {
            double cumulant = (i % 2 ? -1 : 1) * factorial * zeta_f64(i, a);
            moments[m] += choose * cumulant * moments[m - i];
            choose *= (double)(m - i) / i;
            factorial *= i;
        }
    }
    return moments[power] - (isinf(x) ? 0 : cb_gamma_quadrature(a, x, power, 1));
}

/* ---- incomplete beta ---- */
/* x^a (1 - x)^b / B(a, b), y = 1 - x */
CB_SPECIAL double cb_beta_factor(double a, double b, double x, double y) {
    if (a >= 20 && b >= 20) {
        double excess = b * x - a * y; /* (a + b) x - a */
        double power = a * cb_log1p_less(excess / a) + b * cb_log1p_less(-excess / b);
        power += cb_stirling(a + b) - cb_stirling(a) - cb_stirling(b);
        return sqrt(0.15915494309189533577 * a * (b / (a + b))) * exp(power);
    }
    if (a > b) return cb_beta_factor(b, a, y, x);
    double log_y = x < 0.5 ? log1p(-x) : log(y);
    if (b >= 20) {
        double power =
            b * (log_y + cb_log1p_less(a / b)) - 0.5 * log1p(a / b) + cb_stirling(a + b) - cb_stirling(b);
        return pow(x * (a + b), a) / tgamma(a) * exp(power);
    }
    return pow(x, a) * pow(y, b) * (tgamma(a + b) / tgamma(a) / tgamma(b));
}
/* I_x(a, b) below its mean, by the continued fraction DLMF 8.17.22 (Lentz's method) */
CB_SPECIAL double cb_betainc_fraction(double a, double b, double x, double y) {
    double c = 1, d = 1 - (a + b) * x / (a + 1), h;
    d = 1 / d;
    h = d;
    for (double m = 1; m < 100000; m++) {
        double n = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        d = 1 / (1 + n * d);
        c = 1 + n / c;
        h *= c * d;
        n = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 / (1 + n * d);
        c = 1 + n / c;
        h *= c * d;
        if (fabs(c * d - 1) < 1e-16) break;
    }
    return cb_beta_factor(a, b, x, y) / a * h;
}
CB_SPECIAL double cb_betainc(double a, double b, double x) {
    if (!(a >= 0 && b >= 0 && x >= 0 && x <= 1) || (a == 0 && b == 0)) return NAN;
    if (isinf(a) && isinf(b)) return NAN;
    if (x == 0 || x == 1) return x;
    if (a == 0 || isinf(b)) return 1;
    if (b == 0 || isinf(a)) return 0;
    if (x <= (a + 1) / (a + b + 2)) return cb_betainc_fraction(a, b, x, 1 - x);
    return 1 - cb_betainc_fraction(b, a, 1 - x, x);
}
#endif
