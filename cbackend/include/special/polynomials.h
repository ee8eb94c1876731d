/* Classical orthogonal polynomials of degree n, truncated to an integer; 0 for negative degrees.
 *
 * By their three-term recurrences, DLMF 18.9; Chebyshev polynomials of higher degree inside [-1, 1] by their
 * trigonometric form. Gegenbauer and generalised Laguerre polynomials are what derivatives of the others are
 * made of: (d/dx) C(l, n) = 2 l C(l + 1, n - 1) and (d/dx) L(a, n) = -L(a + 1, n - 1). */
#ifndef CB_SPECIAL_POLYNOMIALS_H
#define CB_SPECIAL_POLYNOMIALS_H

/* Degrees from here on, where a recurrence runs for seconds an element, are refused: nan. */
#define CB_MOST_STEPS 1e8

/* p(0) = 1, p(1) = first, p(k + 1) = 2 x p(k) - p(k - 1). For x >= 1 it grows: past the largest number, inf.
 */
CB_SPECIAL double cb_chebyshev_recurrence(double x, double n, double first) {
    double below = 1, value = first;
    if (n == 0) return 1;
    if (!(n < CB_MOST_STEPS)) return NAN;
    for (double k = 1; k < n && fabs(value) < HUGE_VAL; k++) {
        double above = 2 * x * value - below;
        below = value;
        value = above;
    }
    return value;
}

/* The four kinds: 0 T, 1 U, 2 V, 3 W; T and U have the parity of n, V(-x) = +-W(x). */
CB_SPECIAL double cb_chebyshev(int kind, double x, double degree) {
    double n = trunc(degree);
    if (x != x || n != n) return x + n;
    if (n < 0) return 0;
    double sign = x < 0 && fmod(n, 2.0) != 0 ? -1 : 1, a = fabs(x);
    if (x < 0 && kind >= 2) kind = 5 - kind;
    if (a < 1 && n > 6) {
        double angle = acos(a);
        if (kind == 0) return sign * cos(n * angle);
        if (kind == 1) return sign * (sin((n + 1) * angle) / sin(angle));
        if (kind == 2) return sign * (cos((n + 0.5) * angle) / cos(0.5 * angle));
        return sign * (sin((n + 0.5) * angle) / sin(0.5 * angle));
    }
    if (a == 1) return sign * (kind == 1 ? n + 1 : kind == 3 ? 2 * n + 1 : 1);
    double first[4] = {a, 2 * a, 2 * a - 1, 2 * a + 1};
    return sign * cb_chebyshev_recurrence(a, n, first[kind]);
}
CB_SPECIAL double cb_chebyshev_polynomial_t(double x, double n) { return cb_chebyshev(0, x, n); }
CB_SPECIAL double cb_chebyshev_polynomial_u(double x, double n) { return cb_chebyshev(1, x, n); }
CB_SPECIAL double cb_chebyshev_polynomial_v(double x, double n) { return cb_chebyshev(2, x, n); }
CB_SPECIAL double cb_chebyshev_polynomial_w(double x, double n) { return cb_chebyshev(3, x, n); }

/* p(k + 1) = s x p(k) - s k p(k - 1): the physicists' polynomials with s = 2, the probabilists' with s = 1 */
CB_SPECIAL double cb_hermite(double x, double degree, double s) {
    double n = trunc(degree), below = 0, value = 1;
    if (!(n < CB_MOST_STEPS) || x != x) return NAN;
    if (n < 0) return 0;
    for (double k = 0; k < n && value == value; k++) {
        double above = s * (x * value - k * below);
        below = value;
        value = above;
    }
    return value;
}
CB_SPECIAL double cb_hermite_polynomial_h(double x, double n) { return cb_hermite(x, n, 2); }
CB_SPECIAL double cb_hermite_polynomial_he(double x, double n) { return cb_hermite(x, n, 1); }

CB_SPECIAL double cb_gegenbauer(double x, double degree, double lambda) {
    double n = trunc(degree), below = 0, value = 1;
    if (!(n < CB_MOST_STEPS) || x != x) return NAN;
    if (n < 0) return 0;
    for (double k = 0; k < n && value == value; k++) {
        double above = (2 * (k + lambda) * x * value - (k + 2 * lambda - 1) * below) / (k + 1);
        below = value;
        value = above;
    }
    return value;
}

CB_SPECIAL double cb_laguerre(double x, double degree, double alpha) {
    double n = trunc(degree), below = 0, value = 1;
    if (!(n < CB_MOST_STEPS) || x != x) return NAN;
    if (n < 0) return 0;
    for (double k = 0; k < n && value == value; k++) {
        double above = ((2 * k + 1 + alpha - x) * value - (k + alpha) * below) / (k + 1);
        below = value;
        value = above;
    }
    return value;
}
#endif
