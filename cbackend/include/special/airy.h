/* The Airy function Ai and its derivative.
 *
 * Up to |x| = 10.25 by Taylor series about the nearest half-integer, whose coefficients follow from
 * Ai'' = x Ai; beyond by the asymptotic series, DLMF 9.7.5, 9.7.6, 9.7.9 and 9.7.10. */
#ifndef CB_SPECIAL_AIRY_H
#define CB_SPECIAL_AIRY_H

/* Ai(x) and Ai'(x) at x = -10, -9.5, ..., 10 */
CB_SPECIAL_TABLE cb_airy_table[41][2] = {
    {0.04024123848644319, 0.99626504413279},           {0.3191032477191282, -0.10809531881187123},
    {-0.022133721547341403, -0.9756639809263316},      {-0.33029023763020887, -0.03231334828463914},
    {-0.0527050503563862, 0.9355609381983065},         {0.3217757163806479, 0.3188095066985546},
    {0.18428083525050565, -0.7710081684101265},        {-0.2380203019971158, -0.6749524925132022},
    {-0.3291451736298231, 0.3459354872813429},         {0.017781541276574976, 0.8641972177713984},
    {0.35076100902411433, 0.32719281855444315},        {0.2921527810559595, -0.5233625323157477},
    {-0.07026553294928951, -0.7906285753685813},       {-0.37553382314043193, -0.34344343345404815},
    {-0.37881429367765806, 0.3145837692165988},        {-0.11232506769296609, 0.6788527342647943},
    {0.22740742820168558, 0.618259020741691},          {0.4642565777488694, 0.3091869672024104},
    {0.5355608832923521, -0.01016056711664521},        {0.4757280916105396, -0.20408167033954738},
    {0.3550280538878172, -0.2588194037928068},         {0.23169360648083348, -0.2249105326646839},
    {0.13529241631288141, -0.1591474412967932},        {0.07174949700810541, -0.09738201284230132},
    {0.03492413042327438, -0.05309038443365363},       {0.01572592338047049, -0.026250881035903232},
    {0.006591139357460719, -0.011912976705951319},     {0.002584098786989635, -0.005004413967952583},
    {0.0009515638512048018, -0.001958640950204179},    {0.00033025032351430896, -0.0007178665675575089},
    {0.00010834442813607442, -0.0002474138908684625},  {3.368531190859981e-05, -8.046339130556515e-05},
    {9.947694360252889e-06, -2.4765200397034955e-05},  {2.7958823432049136e-06, -7.231931466601793e-06},
    {7.492128863997167e-07, -2.008150894738792e-06},   {1.9172560675134309e-07, -5.312713959720545e-07},
    {4.6922076160992316e-08, -1.3414392979067865e-07}, {1.0997009755195506e-08, -3.237725440447602e-08},
    {2.47116843087249e-09, -7.480641389658946e-09},    {5.330263704617492e-10, -1.6566394593740667e-09},
    {1.1047532552898686e-10, -3.5206336767389237e-10},
};

/* 2/3 z^(3/2) as a sum of two numbers: exponentials and phases magnify its rounding error */
CB_SPECIAL double cb_airy_zeta(double z, double *low) {
    double root = sqrt(z), root_low = fma(-root, root, z) / (2 * root);
    double product = z * root, product_low = fma(z, root, -product) + z * root_low;
    double zeta = product * (2.0 / 3);
    *low = (fma(-1.5, zeta, product) + product_low) * (2.0 / 3);
    return zeta;
}

CB_SPECIAL double cb_airy_far(double x, int derivative) {
    double z = fabs(x), low, zeta = cb_airy_zeta(z, &low);
    if (!(zeta < 1e300)) return derivative && x < 0 ? NAN : 0;
    if (x > 0 && zeta > 760) return derivative ? -0.0 : 0;
    /* even and odd terms of the series, signs alternating within each for x < 0 and between them else */
    double even = 1, odd = 0, u = 1;
    for (int k = 1; k < 40; k++) {
        double next = u * ((6.0 * k - 5) * (6.0 * k - 3) * (6.0 * k - 1)) / (216.0 * k * (2 * k - 1) * zeta);
        if (fabs(next) < 1e-18 || fabs(next) > fabs(u)) break;
        u = next;
        double term = derivative ? u * (6.0 * k + 1) / (1 - 6.0 * k) : u;
        if (x < 0 && (k & 2)) term = -term;
        if (k & 1)
            odd += term;
        else
            even += term;
    }
    double quarter = sqrt(sqrt(z)), scale = 0.56418958354775628695 * (derivative ? quarter : 1 / quarter);
    if (x > 0) {
        double decay = 0.5 * scale * exp(-zeta) * (1 - low) * (even - odd);
        return derivative ? -decay : decay;
    }
    double c = cos(zeta), s = sin(zeta);
    double cosine = 0.70710678118654752440 * ((c + s) - low * (s - c));
    double sine = 0.70710678118654752440 * ((s - c) + low * (c + s));
    return scale * (derivative ? sine * even - cosine * odd : cosine * even + sine * odd);
}

CB_SPECIAL double cb_airy(double x, int derivative) {
    if (isinf(x)) return NAN; /* as in SciPy and PyTorch */
    if (!(fabs(x) < 10.25)) return x == x ? cb_airy_far(x, derivative) : x;
    int near = (int)rint(2 * x);
    double centre = 0.5 * near, h = x - centre;
    double c[22] = {cb_airy_table[near + 20][0], cb_airy_table[near + 20][1]};
    c[2] = 0.5 * centre * c[0];
    for (int k = 1; k < 20; k++) c[k + 2] = (centre * c[k] + c[k - 1]) / ((k + 1) * (k + 2));
    double value = 0;
    for (int k = 21; k >= derivative; k--) value = value * h + (derivative ? k * c[k] : c[k]);
    return value;
}
CB_SPECIAL double cb_airy_ai(double x) { return cb_airy(x, 0); }
CB_SPECIAL double cb_airy_ai_prime(double x) { return cb_airy(x, 1); }
#endif
