/* Gamma functions, zeta and the inverse error function; the float versions compute in double.
 *
 * digamma, zeta and lgamma of doubles are ordinary scalar code with branches. */
#ifndef CB_VMATH_GAMMA_H
#define CB_VMATH_GAMMA_H

/* ---- log |Gamma(x)| ---- */
#if defined(__CUDACC__)
CB_MATH double lgamma_f64(double x) { return lgamma(x); }
CB_MATH float lgamma_f32(float x) { return lgammaf(x); }
#else
/* the _r form, since lgamma writes the global signgam from every thread */
CB_MATH double lgamma_f64(double x) {
    int sign;
    return __builtin_lgamma_r(x, &sign);
}
/* Stirling's series (DLMF 5.11.1) at x + 6 and the logarithm of x (x + 1) ... (x + 5), below 0 by reflection
 * (DLMF 5.5.3); in double, so that little is left near the zeros 1 and 2. Without branches: loops vectorise.
 */
CB_MATH float lgamma_f32(float given) {
    double x = (double)given, z = x < 0 ? 1 - x : x, near = z * (z + 5);
    int small = z < 6;
    double product = small ? near * (near + 4) * (near + 6) : 1, y = small ? z + 6 : z;
    double fraction = x - rint_f64(x), u = fraction * fraction;
    double sine = -3.3481335350440634e-12; /* sin(pi fraction) / (pi fraction), its power series */
    sine =
        CB_HORNER_3(CB_FMA_F64, u, 2.531217404137026e-7, -7.304711822217769e-9, 1.7165384749821422e-10, sine);
    sine = CB_HORNER_3(CB_FMA_F64, u, 0.02614784781765479, -0.0023460810354558226, 0.00014842879303107092,
                       CB_FMA_F64(sine, u, -6.975873661656377e-6));
    sine = CB_HORNER_3(CB_FMA_F64, u, 1.0, -1.6449340668482264, 0.8117424252833535,
                       CB_FMA_F64(sine, u, -0.1907518241220842));
    double log_product = log_f64(x < 0 ? product / fabs_f64(fraction * sine) : product);
    double v = 1 / y, w = v * v;
    double series = CB_HORNER_7(CB_FMA_F64, w, 1.0 / 12, -1.0 / 360, 1.0 / 1260, -1.0 / 1680, 1.0 / 1188,
                                -691.0 / 360360, 1.0 / 156, -3617.0 / 122400);
    double stirling = (y - 0.5) * (log_f64(y) - 1) + (0.41893853320467274 + v * series);
    double result = x < 0 ? log_product - stirling : stirling - log_product;
    result = x == 1 || x == 2 ? 0 : result;
    return (float)(fabs_f64(x) == inf_f64() ? inf_f64() : result);
}
#endif

/* ---- psi(x) = Gamma'(x) / Gamma(x) ---- */
/* psi(x) / (x - root) on [1, 2] around psi's positive root, given in two parts so that results near it keep
 * their relative accuracy. Our minimax fit, relative error 2^-53. */
CB_MATH double cb_digamma_near_root(double x) {
    double t = (x - 1.4616321449683622) - 9.549995429965697e-17;
    double p = 0.0002573099548818226;
    p = CB_FMA_F64(p, t, -0.000576079232224825);
    p = CB_FMA_F64(p, t, 0.0005781818031946626);
    p = CB_FMA_F64(p, t, -0.0006253364476274143);
    p = CB_FMA_F64(p, t, 0.0010282383537817978);
    p = CB_FMA_F64(p, t, -0.0016059944194559326);
    p = CB_FMA_F64(p, t, 0.002320439409501494);
    p = CB_FMA_F64(p, t, -0.0033653615784310217);
    p = CB_FMA_F64(p, t, 0.004924167824852104);
    p = CB_FMA_F64(p, t, -0.00720495119412435);
    p = CB_FMA_F64(p, t, 0.010539059730217053);
    p = CB_FMA_F64(p, t, -0.015424742026787178);
    p = CB_FMA_F64(p, t, 0.022597631727805666);
    p = CB_FMA_F64(p, t, -0.03316112727511201);
    p = CB_FMA_F64(p, t, 0.04880428874309039);
    p = CB_FMA_F64(p, t, -0.07219956124206647);
    p = CB_FMA_F64(p, t, 0.10782405068100595);
    p = CB_FMA_F64(p, t, -0.16394270544252434);
    p = CB_FMA_F64(p, t, 0.25849976095572097);
    p = CB_FMA_F64(p, t, -0.4427631689835918);
    p = CB_FMA_F64(p, t, 0.9676722454476211);
    return t * p;
}
/* PyTorch's poles: -+inf at +-0, nan at the negative integers and at -inf. */
CB_MATH double digamma_f64(double x) {
    double result = 0;
    if (x == 0) return copysign(inf_f64(), -x);
    if (x < 0) {
        /* reflection, DLMF 5.5.4; the fraction first, so that poles and large x stay accurate */
        double fraction = x - rint(x);
        if (fraction == 0 || x == -inf_f64()) return inf_f64() - inf_f64();
        result = -3.14159265358979323846 / tan(3.14159265358979323846 * fraction);
        x = 1 - x;
    }
    if (x < 1) {
        result -= 1 / x;
        x += 1;
    }
    if (x <= 2) return result + cb_digamma_near_root(x);
    /* recurrence up to where the asymptotic series (DLMF 5.11.2, Bernoulli numbers) is good to 1e-17 */
    for (; x < 10; x += 1) result -= 1 / x;
    double u = 1 / (x * x);
    double p = 1.0 / 12;
    p = CB_FMA_F64(p, u, -691.0 / 32760);
    p = CB_FMA_F64(p, u, 1.0 / 132);
    p = CB_FMA_F64(p, u, -1.0 / 240);
    p = CB_FMA_F64(p, u, 1.0 / 252);
    p = CB_FMA_F64(p, u, -1.0 / 120);
    p = CB_FMA_F64(p, u, 1.0 / 12);
    return result + (log(x) - 0.5 / x - (x < 1e17 ? u * p : 0));
}
CB_MATH float digamma_f32(float x) { return (float)digamma_f64((double)x); }

/* ---- zeta(x, q) = sum of (q + k)^-x over k >= 0, Hurwitz ---- */
/* q > 0 and x > 1: terms up to where the Euler-Maclaurin series (DLMF 25.11.4 and 25.11.28, twelve Bernoulli
 * numbers) is good to 1e-16. */
CB_MATH double cb_zeta_positive(double x, double q) {
    const double b[12] = {/* B_2k / (2k)! */
                          8.333333333333333e-2,    -1.3888888888888889e-3,  3.306878306878307e-5,
                          -8.267195767195768e-7,   2.08767569878681e-8,     -5.284190138687493e-10,
                          1.3382536530684679e-11,  -3.3896802963225827e-13, 8.586062056277845e-15,
                          -2.1748686985580617e-16, 5.509002828360229e-18,   -1.3954464685812523e-19};
    double sum = 0, a = q, term = 0;
    for (int k = 0; k < 10; k++, a += 1) {
        term = pow(a, -x);
        sum += term;
        if (k && term <= 1e-17 * sum) return sum;
    }
    term = pow(a, -x);
    sum += term * a / (x - 1) + 0.5 * term;
    double factor = x * term / a; /* (x)_(2k-1) a^(1-x-2k) */
    for (int k = 0; k < 12; k++) {
        double t = factor * b[k];
        sum += t;
        if (fabs(t) <= 1e-17 * sum) break;
        factor *= (x + 2 * k + 1) * (x + 2 * k + 2) / (a * a);
    }
    return sum;
}
/* zeta(2, q), the trigamma function (DLMF 5.15.8), for q > 1e-100: two terms a division, then the series */
CB_MATH double cb_zeta_two(double q) {
    double sum = 0, a = q;
    for (; a < 10; a += 2) {
        double b = a + 1, product = a * b;
        sum += (a * a + b * b) / (product * product);
    }
    double v = 1 / a, u = v * v;
    double series = CB_HORNER_7(CB_FMA_F64, u, 1.0 / 6, -1.0 / 30, 1.0 / 42, -1.0 / 30, 5.0 / 66,
                                -691.0 / 2730, 7.0 / 6, -3617.0 / 510);
    return sum + (v + u * (0.5 + v * series));
}
/* Outside: inf at x = 1 and at the poles q = 0, -1, ..., nan for x < 1 and for negative q with fractional x,
 * as in Cephes and PyTorch. Below 0 the sum over all integers, split at the fraction of q, less the terms
 * beyond q. */
CB_MATH double zeta_f64(double x, double q) {
    if (x != x || q != q) return x + q;
    if (x == 1) return inf_f64();
    if (x < 1) return inf_f64() - inf_f64();
    if (x == 2 && q > 1e-100) return cb_zeta_two(q);
    if (q > 0) return cb_zeta_positive(x, q);
    double fraction = q - floor(q);
    if (fraction == 0) return inf_f64();
    if (x != floor(x) || q == -inf_f64()) return inf_f64() - inf_f64();
    double beyond = cb_zeta_positive(x, 1 - fraction) - cb_zeta_positive(x, 1 - q);
    return cb_zeta_positive(x, fraction) + (fmod(x, 2.0) == 0 ? beyond : -beyond);
}
CB_MATH float zeta_f32(float x, float q) { return (float)zeta_f64((double)x, (double)q); }

/* ---- inverse error functions ---- */
/* PPND16 of Wichura, Algorithm AS241, Applied Statistics 37 (1988): relative error about 1e-16 for the normal
 * quantile z(p) with p = (1 - |x|) / 2; erfinv(x) = z((1 + x) / 2) / sqrt(2). */
CB_MATH double cb_erfinv_centre(double x) {
    double q = 0.5 * x, u = 0.180625 - q * q;
    double num = CB_HORNER_7(CB_FMA_F64, u, 3.3871328727963666080e+0, 1.3314166789178437745e+2,
                             1.9715909503065514427e+3, 1.3731693765509461125e+4, 4.5921953931549871457e+4,
                             6.7265770927008700853e+4, 3.3430575583588128105e+4, 2.5090809287301226727e+3);
    double den = CB_HORNER_7(CB_FMA_F64, u, 1.0, 4.2313330701600911252e+1, 6.8718700749205790830e+2,
                             5.3941960214247511077e+3, 2.1213794301586595867e+4, 3.9307895800092710610e+4,
                             2.8729085735721942674e+4, 5.2264952788528545610e+3);
    return 0.70710678118654752440 * q * (num / den);
}
/* the tails, from the probability p beyond; in sqrt(-log p), with two pairs of polynomials, from 5 on the
 * second; up to sqrt(-log p) = 27.3, where doubles end */
CB_MATH double cb_erfinv_tail(double p) {
    double r = sqrt_f64(-log_f64(p));
    int far = r > 5.0;
    r = r - (far ? 5.0 : 1.6);
    double num = CB_HORNER_7(CB_FMA_F64, r, far ? 6.65790464350110377720e+0 : 1.42343711074968357734e+0,
                             far ? 5.46378491116411436990e+0 : 4.63033784615654529590e+0,
                             far ? 1.78482653991729133580e+0 : 5.76949722146069140550e+0,
                             far ? 2.96560571828504891230e-1 : 3.64784832476320460504e+0,
                             far ? 2.65321895265761230930e-2 : 1.27045825245236838258e+0,
                             far ? 1.24266094738807843860e-3 : 2.41780725177450611770e-1,
                             far ? 2.71155556874348757815e-5 : 2.27238449892691845833e-2,
                             far ? 2.01033439929228813265e-7 : 7.74545014278341407640e-4);
    double den = CB_HORNER_7(CB_FMA_F64, r, far ? 1.0 : 1.0,
                             far ? 5.99832206555887937690e-1 : 2.05319162663775882187e+0,
                             far ? 1.36929880922735805310e-1 : 1.67638483018380384940e+0,
                             far ? 1.48753612908506148525e-2 : 6.89767334985100004550e-1,
                             far ? 7.86869131145613259100e-4 : 1.48103976427480074590e-1,
                             far ? 1.84631831751005468180e-5 : 1.51986665636164571966e-2,
                             far ? 1.42151175831644588870e-7 : 5.47593808499534494600e-4,
                             far ? 2.04426310338993978564e-15 : 1.05075007164441684324e-9);
    return 0.70710678118654752440 * (num / den);
}
CB_MATH double erfinv_f64(double x) {
    double a = fabs_f64(x), centre = cb_erfinv_centre(x);
    double tail = copysign_f64(cb_erfinv_tail(0.5 - 0.5 * a), x);
    tail = a == 1 ? copysign_f64(inf_f64(), x) : tail;
    return a <= 0.85 ? centre : tail; /* nan beyond 1, from log */
}
CB_MATH float erfinv_f32(float x) { return (float)erfinv_f64((double)x); }
/* its companion without cancellation for small x: erfcinv(x) = erfinv(1 - x) */
CB_MATH double erfcinv_f64(double x) {
    double least = x > 1 ? 2 - x : x, centre = cb_erfinv_centre(1 - x);
    double tail = copysign_f64(cb_erfinv_tail(0.5 * least), 1 - x);
    tail = least == 0 ? copysign_f64(inf_f64(), 1 - x) : tail;
    return least >= 0.15 ? centre : tail; /* nan outside [0, 2], from log */
}
CB_MATH float erfcinv_f32(float x) { return (float)erfcinv_f64((double)x); }

#endif
