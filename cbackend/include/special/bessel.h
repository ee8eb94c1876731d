/* Modified Bessel functions I and K and Chebyshev sums; J and Y come from the platform's math library
 * (POSIX).
 *
 * Integer orders above 1 serve derivatives: J' = (J- - J+) / 2 and its like hold at every order and at 0.
 * Fits are ours: Chebyshev interpolation at 40 digits, cut at 2^-58. Scaled forms: exp(-|x|) I(x), exp(x)
 * K(x). Reference: DLMF 10.25 (series), 10.29 (recurrences), 10.40 (asymptotic series). */
#ifndef CB_SPECIAL_BESSEL_H
#define CB_SPECIAL_BESSEL_H

#if !defined(CB_SPECIAL_CHEBYSHEV)
#define CB_SPECIAL_CHEBYSHEV
/* c[0] + c[1] T1(t) + ..., by Clenshaw's recurrence */
CB_SPECIAL double cb_chebyshev_sum(const double *c, int n, double t) {
    double b0 = 0, b1 = 0, b2 = 0;
    for (int k = n - 1; k > 0; k--) {
        b2 = b1;
        b1 = b0;
        b0 = 2 * t * b1 - b2 + c[k];
    }
    return t * b0 - b1 + c[0];
}
#define CB_CHEBYSHEV(table, t) cb_chebyshev_sum(table, (int)(sizeof table / sizeof *table), t)
#endif

/* exp(-x) I0(x), t = x / 4 - 1 */
CB_SPECIAL_TABLE cb_i0_near[30] = {
    0.33839763720473803,    -0.3046826723431984,     0.17162090152220877,    -0.09490109704804764,
    0.04930528423967071,    -0.02373741480589947,    0.010546460394594998,   -0.004324309995050576,
    0.0016394756169413357,  -0.0005763755745385824,  0.00018850288509584165, -5.754195010082104e-05,
    1.6448448070728896e-05, -4.4167383584587505e-06, 1.1173875391201037e-06, -2.670793853940612e-07,
    6.046995022541919e-08,  -1.300025009986248e-08,  2.6598237246823866e-09, -5.189795601635263e-10,
    9.675809035373237e-11,  -1.726826291441556e-11,  2.95505266312964e-12,   -4.856446783111929e-13,
    7.676185498604936e-14,  -1.1685332877993451e-14, 1.715391285555133e-15,  -2.431279846547955e-16,
    3.3307945188222384e-17, -4.4153416464793395e-18,
};
/* exp(-x) sqrt(x) I0(x), t = 16 / x - 1 */
CB_SPECIAL_TABLE cb_i0_far[25] = {
    0.4022452055070544,      0.0033691164782556943,   6.889758346916825e-05,   2.8913705208347567e-06,
    2.0489185894690638e-07,  2.266668990498178e-08,   3.3962320257083865e-09,  4.94060238822497e-10,
    1.1889147107846439e-11,  -3.1499165279632416e-11, -1.3215811840447713e-11, -1.7941785315068062e-12,
    7.180124451383666e-13,   3.8527783827421426e-13,  1.54008621752141e-14,    -4.150569347287222e-14,
    -9.554846698828307e-15,  3.8116806693526224e-15,  1.7725601330565263e-15,  -3.425485619677219e-16,
    -2.8276239805165836e-16, 3.461222867697461e-17,   4.46562142029676e-17,    -4.830504485944182e-18,
    -7.233180487874754e-18,
};
/* exp(-x) I1(x) / x, t = x / 4 - 1 */
CB_SPECIAL_TABLE cb_i1_near[29] = {
    0.12629359322181682,    -0.17641651835783406,    0.1026436586898471,     -0.05294598120809499,
    0.024726449030626516,   -0.010564084894626197,   0.004156422944312888,   -0.0015135724506312532,
    0.0005122859561685758,  -0.00016176081582589674, 4.781565107550054e-05,  -1.3273163656039436e-05,
    3.4702513081376785e-06, -8.568720264695455e-07,  2.0032947535521353e-07, -4.445059128796328e-08,
    9.381537386495773e-09,  -1.8872497517228294e-09, 3.625590281552117e-10,  -6.663489723502027e-11,
    1.1736186298890901e-11, -1.9839743977649436e-12, 3.223793365945575e-13,  -5.042185504727912e-14,
    7.600684294735408e-15,  -1.1055969477353862e-15, 1.5536319577362005e-16, -2.111421214358166e-17,
    2.7779141127610464e-18,
};
/* exp(-x) sqrt(x) I1(x), t = 16 / x - 1 */
CB_SPECIAL_TABLE cb_i1_far[25] = {
    0.38928811750914005,     -0.009761097491361469,   -0.00011058893876262371, -3.882564808877691e-06,
    -2.512236237870209e-07,  -2.6314688468895196e-08, -3.835380385964237e-09,  -5.589743462196584e-10,
    -1.8974958123505413e-11, 3.2526035830154884e-11,  1.4125807436613782e-11,  2.0356285441470896e-12,
    -7.198551776245908e-13,  -4.0835511110921974e-13, -2.1015418427726643e-14, 4.272440016711951e-14,
    1.0420276984128802e-14,  -3.8144030724370075e-15, -1.8803547755107825e-15, 3.3082023109209285e-16,
    2.96262899764595e-16,    -3.209525921993424e-17,  -4.6503053684893586e-17, 4.414348323071708e-18,
    7.517296310842105e-18,
};
/* K0(x) + log(x / 2) I0(x), t = x^2 / 2 - 1 */
CB_SPECIAL_TABLE cb_k0_near[10] = {
    -0.2676636966169514,    0.3442898999246285,     0.0359799365153615,    0.001264615411446926,
    2.286212103119452e-05,  2.5347910790261494e-07, 1.904516377220209e-09, 1.0349695257633625e-11,
    4.2598161427910826e-14, 1.3744654358807508e-16,
};
/* exp(x) sqrt(x) K0(x), t = 4 / x - 1 */
CB_SPECIAL_TABLE cb_k0_far[25] = {
    1.2201515410329777,     -0.0314481013119645,     0.0015698838857300533,  -0.00012849549581627802,
    1.39498137188765e-05,   -1.8317555227191195e-06, 2.766813639445015e-07,  -4.660489897687948e-08,
    8.574034017414225e-09,  -1.6975345093890614e-09, 3.5773972814003283e-10, -7.957489244477396e-11,
    1.8559491149549264e-11, -4.514597883374519e-12,  1.1403405882073441e-12, -2.9800969231481784e-13,
    8.032890775068375e-14,  -2.2275133267462965e-14, 6.340076476276646e-15,  -1.848593377920907e-15,
    5.5120559994043335e-16, -1.6782311257549006e-16, 5.2103917776435543e-17, -1.6475805939842632e-17,
    5.3004337711773354e-18,
};
/* x (K1(x) - log(x / 2) I1(x)), t = x^2 / 2 - 1 */
CB_SPECIAL_TABLE cb_k1_near[11] = {
    0.7626501136694739,     -0.3531559607765449,     -0.12261118082265715,   -0.006975723859639864,
    -0.0001730288957513052, -2.4334061415659684e-06, -2.213387630734726e-08, -1.4114883926335278e-10,
    -6.666901694199329e-13, -2.427449850519366e-15,  -7.023863479386288e-18,
};
/* exp(x) sqrt(x) K1(x), t = 4 / x - 1 */
CB_SPECIAL_TABLE cb_k1_far[25] = {
    1.3603130952422213,      0.10392373657681724,    -0.002857816859622779,   0.00019521551847135162,
    -1.936197974166083e-05,  2.406484947837217e-06,  -3.5019606030878126e-07, 5.7410841254500495e-08,
    -1.0345762465678097e-08, 2.0150497551970347e-09, -4.1903547593419254e-10, 9.218315187605315e-11,
    -2.129967838427791e-11,  5.139639673482343e-12,  -1.2891739609498229e-12, 3.348419666052243e-13,
    -8.976705182010146e-14,  2.4771544242195988e-14, -7.0198370892147685e-15, 2.038703166239861e-15,
    -6.057047270643018e-16,  1.8380935752430455e-16, -5.689462849193648e-17,  1.7940510478863572e-17,
    -5.7567444820733025e-18,
};

/* ---- J and Y ---- */
/* nan at infinity as in SciPy and PyTorch; Y -inf at 0 and nan below: libraries differ there */
CB_SPECIAL double cb_bessel_j0(double x) { return isinf(x) ? NAN : j0(x); }
CB_SPECIAL double cb_bessel_j1(double x) { return isinf(x) ? NAN : j1(x); }
CB_SPECIAL double cb_bessel_y0(double x) { return x > 0 && x < HUGE_VAL ? y0(x) : x == 0 ? -HUGE_VAL : NAN; }
CB_SPECIAL double cb_bessel_y1(double x) { return x > 0 && x < HUGE_VAL ? y1(x) : x == 0 ? -HUGE_VAL : NAN; }
CB_SPECIAL double cb_bessel_jn(double x, double n) {
    return fabs(n) < 1e9 && !isinf(x) ? jn((int)n, x) : NAN;
}
CB_SPECIAL double cb_bessel_yn(double x, double n) {
    double sign = n < 0 && (int64_t)n % 2 ? -1 : 1;
    if (!(fabs(n) < 1e9) || !(x >= 0) || isinf(x)) return NAN;
    return sign * (x == 0 ? -HUGE_VAL : yn((int)fabs(n), x));
}

/* ---- I ---- */
CB_SPECIAL double cb_i0e(double x) {
    double a = fabs(x);
    if (a <= 8) return CB_CHEBYSHEV(cb_i0_near, a / 4 - 1);
    return CB_CHEBYSHEV(cb_i0_far, 16 / a - 1) / sqrt(a);
}
CB_SPECIAL double cb_i1e(double x) {
    double a = fabs(x);
    if (a <= 8) return x * CB_CHEBYSHEV(cb_i1_near, a / 4 - 1);
    return copysign(CB_CHEBYSHEV(cb_i1_far, 16 / a - 1) / sqrt(a), x);
}
/* exp(|x|) in two halves: the product is finite a little longer than exp is. nan at infinity as in SciPy. */
CB_SPECIAL double cb_i0(double x) {
    double half = exp(0.5 * fabs(x));
    return half * cb_i0e(x) * half;
}
CB_SPECIAL double cb_i1(double x) {
    double half = exp(0.5 * fabs(x));
    return half * cb_i1e(x) * half;
}
/* exp(-|x|) I_n(x) */
CB_SPECIAL double cb_scaled_bessel_in(double x, double order) {
    double a = fabs(x), n = trunc(fabs(order));
    double sign = x < 0 && fmod(n, 2.0) != 0 ? -1 : 1;
    if (x != x || n != n) return x + n;
    if (n == 0) return cb_i0e(x);
    if (n == 1) return cb_i1e(x);
    if (isinf(x)) return 0;
    double term = 1, sum = 1;
    if (a > 30 + 0.5 * n * n) {
        for (int k = 1; k < 100 && fabs(term) > 1e-17; k++) {
            term *= -(2 * n - 2 * k + 1) * (2 * n + 2 * k - 1) / (8 * k * a);
            sum += term;
        }
        return sign * sum / sqrt(6.28318530717958647692 * a);
    }
    for (int k = 1; k < 2000 && term > 1e-17 * sum; k++) {
        term *= (0.5 * a / k) * (0.5 * a / (k + n));
        sum += term;
    }
    double lead = n < 170 ? pow(0.5 * a, n) / tgamma(n + 1) : exp(n * log(0.5 * a) - lgamma_f64(n + 1));
    return sign * lead * exp(-a) * sum;
}

/* ---- K ---- */
CB_SPECIAL double cb_modified_bessel_k0(double x) {
    if (!(x > 0)) return x == 0 ? HUGE_VAL : NAN;
    if (x <= 2) return CB_CHEBYSHEV(cb_k0_near, 0.5 * x * x - 1) - log(0.5 * x) * cb_i0(x);
    return exp(-x) * (CB_CHEBYSHEV(cb_k0_far, 4 / x - 1) / sqrt(x));
}
CB_SPECIAL double cb_modified_bessel_k1(double x) {
    if (!(x > 0)) return x == 0 ? HUGE_VAL : NAN;
    if (x <= 2) return log(0.5 * x) * cb_i1(x) + CB_CHEBYSHEV(cb_k1_near, 0.5 * x * x - 1) / x;
    return exp(-x) * (CB_CHEBYSHEV(cb_k1_far, 4 / x - 1) / sqrt(x));
}
CB_SPECIAL double cb_scaled_modified_bessel_k0(double x) {
    if (!(x > 2)) return exp(x) * cb_modified_bessel_k0(x);
    return CB_CHEBYSHEV(cb_k0_far, 4 / x - 1) / sqrt(x);
}
CB_SPECIAL double cb_scaled_modified_bessel_k1(double x) {
    if (!(x > 2)) return exp(x) * cb_modified_bessel_k1(x);
    return CB_CHEBYSHEV(cb_k1_far, 4 / x - 1) / sqrt(x);
}
/* exp(x) K_n(x): the recurrence upwards is stable */
CB_SPECIAL double cb_scaled_bessel_kn(double x, double order) {
    double n = trunc(fabs(order)), below = cb_scaled_modified_bessel_k0(x);
    if (!(n < 1e9)) return NAN;
    if (n == 0 || below == HUGE_VAL) return below;
    double value = cb_scaled_modified_bessel_k1(x);
    for (double k = 1; k < n && value < HUGE_VAL; k++) {
        double above = below + 2 * k / x * value;
        below = value;
        value = above;
    }
    return value;
}
#endif
