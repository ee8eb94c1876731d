/* Trigonometric functions and their inverses, float and double.
 *
 * Angles are reduced to x / pi = n + f, |f| <= 1/2, by multiplying with those bits of 1/pi that matter at
 * x's magnitude (Payne & Hanek 1983): bits so high that their product is an even integer are left out.
 * That is right for every finite argument and needs no branch. Polynomials are in f or x; fits as
 * described in vmath_exp.h. */
#ifndef CB_VMATH_TRIG_H
#define CB_VMATH_TRIG_H

/* ---- reduction for float, in double: 1/pi in pieces of 29 bits, times 24 bits of x is exact ---- */
/* The pieces for |x| in [2^b, 2^(b + 26)) start at weight 2^(23 - b). Gives f, and n's parity in
 * bit 63 of *odd. With quarter = 1/2 the same for x / pi - 1/2, exactly, for the cosine. near, a constant,
 * promises |x| < 2^24 or nan: the same result without the choice. */
CB_MATH double cb_half_turns_f32(float x, int near, double quarter, uint64_t *odd) {
    double y = (double)x, a = near ? 0.0 : fabs_f64(y);
    double c0 = 0x1.45f306d000000p-2;
    c0 = a < 0x1p24 ? c0 : 0x1.45f306c000000p-2;
    c0 = a < 0x1p50 ? c0 : 0x1.b939105000000p-27;
    c0 = a < 0x1p76 ? c0 : 0x1.529fc27000000p-53;
    c0 = a < 0x1p102 ? c0 : 0x1.d5f47d4000000p-79;
    double c1 = 0x1.9391054a7f09dp-31;
    c1 = a < 0x1p24 ? c1 : 0x1.c9c882a000000p-30;
    c1 = a < 0x1p50 ? c1 : 0x1.29fc274000000p-57;
    c1 = a < 0x1p76 ? c1 : 0x1.5f47d4c000000p-83;
    c1 = a < 0x1p102 ? c1 : 0x1.a6ee06d000000p-108;
    double c2 = 0.0;
    c2 = a < 0x1p24 ? c2 : 0x1.4fe13abe8fa9ap-60;
    c2 = a < 0x1p50 ? c2 : 0x1.7d1f534ddc0dbp-85;
    c2 = a < 0x1p76 ? c2 : 0x1.377036d8a5664p-111;
    c2 = a < 0x1p102 ? c2 : 0x1.6295993c43904p-137;
    double p0 = y * c0, p1 = y * c1;
    double t0 = p0 + CB_MAGIC_F64, s0 = p0 - (t0 - CB_MAGIC_F64);
    double t1 = (s0 + p1) - quarter + CB_MAGIC_F64, n1 = (t1 - CB_MAGIC_F64) + quarter;
    *odd = (cb_bits_f64(t0) ^ cb_bits_f64(t1)) << 63;
    return CB_FMA_F64(y, c2, (p1 - n1) + s0);
}
/* sin(pi f), relative error 2^-35 */
CB_MATH double cb_sinpi_lite(double f) {
    double u = f * f;
    return f * CB_HORNER_5(CB_FMA_F64, u, 3.141592653523178, -5.167712762078585, 2.5501632390028037,
                           -0.59925131396422, 0.08204639846301413, -0.007022024305391148);
}
CB_MATH float cb_sin_f32(float x, int near) {
    uint64_t odd;
    double f = cb_half_turns_f32(x, near, 0.0, &odd);
    return (float)cb_from_bits_f64(cb_bits_f64(cb_sinpi_lite(f)) ^ odd);
}
CB_MATH float cb_cos_f32(float x, int near) {
    uint64_t odd;
    double f = cb_half_turns_f32(x, near, 0.5, &odd);
    return (float)cb_from_bits_f64(cb_bits_f64(-cb_sinpi_lite(f)) ^ odd);
}
/* the cosine of pi f is the sine of what |f| lacks to 1/2 */
CB_MATH float cb_tan_f32(float x, int near) {
    uint64_t odd;
    double f = cb_half_turns_f32(x, near, 0.0, &odd);
    return (float)(cb_sinpi_lite(f) / cb_sinpi_lite(0.5 - fabs_f64(f)));
}

CB_MATH float sin_f32(float x) { return cb_sin_f32(x, 0); }
CB_MATH float cos_f32(float x) { return cb_cos_f32(x, 0); }
CB_MATH float tan_f32(float x) { return cb_tan_f32(x, 0); }

/* ---- reduction for double: needs exact products, so FMA; without it the library's functions ---- */
#if CB_HAVE_FMA
/* 1/pi in four pieces of 53 bits for |x| < 2^24, then for [2^b, 2^(b + 16)), b = 24, 40, ...: from weight
 * 2^(52 - b). From row 33 on times 2^300, against underflow. */
static const double cb_inverse_pi[4][64] = {
    {0x1.45f306dc9c882p-2,   0x1.45f3040000000p-2,   0x1.45f306dc9c000p-2,   0x1.17cc1b727220ap-4,
     0x1.b727220a94fe0p-24,  0x1.c882a53f84eacp-38,  0x1.529fc2757d1f4p-53,  0x1.e13abe8fa9a6ep-68,
     0x1.7d1f534ddc0dap-85,  0x1.a9a6ee06db14ap-100, 0x1.dc0db6295993cp-117, 0x1.b6295993c4390p-133,
     0x1.5993c439041fep-149, 0x1.e21c820ff28b1p-164, 0x1.041fe5163abdep-181, 0x1.f28b1d5ef5de2p-196,
     0x1.1d5ef5de2b0dbp-212, 0x1.ebbc561b7246ep-229, 0x1.586dc91b8e908p-247, 0x1.b92371d2126e9p-260,
     0x1.71d2126e97003p-276, 0x1.26e9700324970p-296, 0x1.2e006492eea08p-309, 0x1.924bba8274648p-327,
     0x1.77504e8c90e7fp-340, 0x1.3a32439fc3bd4p-358, 0x1.21cfe1deb1cb0p-373, 0x1.f0ef58e5894d3p-388,
     0x1.58e5894d39f74p-404, 0x1.894d39f74411ap-420, 0x1.39f74411afa97p-436, 0x1.4411afa975da2p-452,
     0x1.afa975da24274p-468, 0x1.75da24274ce38p-184, 0x1.213a671c09ad0p-203, 0x1.4ce38135a2fbfp-216,
     0x1.8135a2fbf209cp-232, 0x1.a2fbf209cc8ebp-248, 0x1.f209cc8eb1cc1p-264, 0x1.cc8eb1cc1a99cp-280,
     0x1.639835339f49cp-297, 0x1.a99cfa4e422f0p-316, 0x1.cfa4e422fc5dep-328, 0x1.c845f8bbdf928p-345,
     0x1.f8bbdf9283b1ep-361, 0x1.efc941d8ffc4bp-376, 0x1.41d8ffc4bffefp-392, 0x1.ff897ffde0598p-409,
     0x1.7ffde05980feep-425, 0x1.e05980fef2f10p-441, 0x1.80fef2f118b5ap-457, 0x1.79788c5ad0536p-472,
     0x1.18b5a0a6d1f6cp-489, 0x1.a0a6d1f6d367ep-505, 0x1.68fb69b3f6793p-520, 0x1.69b3f6793e584p-536,
     0x1.f6793e584dba7p-552, 0x1.3e584dba7a31fp-568, 0x1.36e9e8c7ecd3cp-586, 0x1.e8c7ecd3cbfd4p-602,
     0x1.fb34f2ff516bap-616, 0x1.e5fea2d7527bap-633, 0x1.516ba93dd63f5p-648, 0x1.a93dd63f5f2f8p-664},
    {0x1.4a7f09d5f47d4p-55,  0x1.6e4e441529fc2p-25,  0x1.1054a7f09d5f4p-43,  0x1.29fc2757d1f53p-57,
     0x1.3abe8fa9a6ee0p-76,  0x1.d1f534ddc0db6p-89,  0x1.34ddc0db62959p-105, 0x1.c0db6295993c4p-121,
     0x1.6295993c43904p-137, 0x1.993c439041fe5p-153, 0x1.0e4107f9458e8p-171, 0x1.07f9458eaf7acp-187,
     0x1.458eaf7aef158p-203, 0x1.abdebbc561b72p-217, 0x1.778ac36e48dc6p-234, 0x1.61b7246e3a424p-249,
     0x1.246e3a424dd2ep-265, 0x1.d2126e9700320p-284, 0x1.374b801924bb8p-299, 0x1.c00c925dd413ap-314,
     0x1.24bba82746484p-331, 0x1.d413a32439fc2p-346, 0x1.d1921cfe1deb1p-361, 0x1.cfe1deb1cb120p-381,
     0x1.deb1cb129a730p-397, 0x1.1cb129a73ee88p-409, 0x1.29a73ee88235fp-425, 0x1.3ee88235f52ebp-441,
     0x1.046bea5d76890p-458, 0x1.f52ebb4484e99p-473, 0x1.768909d338e04p-490, 0x1.09d338e04d68ap-506,
     0x1.9c7026b45f7e4p-521, 0x1.35a2fbf209cc8p-240, 0x1.7df904e64758cp-255, 0x1.04e64758e60d4p-271,
     0x1.91d639835339fp-285, 0x1.cc1a99cfa4e40p-304, 0x1.5339f49c845f8p-317, 0x1.f49c845f8bbdfp-333,
     0x1.08bf177bf2506p-350, 0x1.8bbdf9283b1ffp-365, 0x1.f9283b1ff897fp-381, 0x1.d8ffc4bffef00p-400,
     0x1.f897ffde05980p-413, 0x1.ffde05980fef2p-429, 0x1.6603fbcbc4600p-451, 0x1.fde5e2316b400p-466,
     0x1.2f118b5a0a6d1p-477, 0x1.8b5a0a6d1f6d3p-493, 0x1.4da3eda6cfd80p-514, 0x1.1f6d367ecf27cp-525,
     0x1.367ecf27cb09bp-541, 0x1.9e4f96136e9e8p-558, 0x1.cb09b74f463f6p-573, 0x1.b74f463f669e5p-589,
     0x1.463f669e5fea2p-605, 0x1.669e5fea2d752p-621, 0x1.7fa8b5d49eeb0p-639, 0x1.6ba93dd63f5f0p-656,
     0x1.27bac7ebe5f17p-669, 0x1.8fd7cbe2f67a0p-686, 0x1.e5f17b3d0739fp-701, 0x1.7b3d0739f78a5p-717},
    {0x1.a6ee06db14accp-108, 0x1.d5f47d4d37702p-79,  0x1.f534ddc0db628p-97,  0x1.377036d8a5664p-111,
     0x1.b6c52b3278870p-130, 0x1.4acc9e21c820cp-144, 0x1.278872083fca2p-158, 0x1.c820ff28b1d5cp-176,
     0x1.fe5163abdebb8p-193, 0x1.63abdebbc5618p-209, 0x1.7bd778ac36e48p-222, 0x1.78ac36e48dc74p-238,
     0x1.b7246e3a424d8p-257, 0x1.1b8e909374b80p-271, 0x1.4849ba5c00c92p-286, 0x1.ba5c00c925dd4p-302,
     0x1.924bba8274600p-327, 0x1.25dd413a32439p-334, 0x1.413a32439fc3bp-350, 0x1.921cfe1deb1c8p-369,
     0x1.9fc3bd6396253p-382, 0x1.bd63962534e7dp-398, 0x1.962534e7dd104p-414, 0x1.34e7dd1046beap-430,
     0x1.dd1046bea5d76p-446, 0x1.1afa975da2424p-464, 0x1.4baed1213a670p-479, 0x1.68909d338e04dp-494,
     0x1.3a671c09ad17cp-511, 0x1.8e04d68befc82p-526, 0x1.ad17df904e646p-543, 0x1.efc827323ac73p-558,
     0x1.3991d63983530p-577, 0x1.d639835339f48p-293, 0x1.306a673e93908p-306, 0x1.9cfa4e422fc5cp-324,
     0x1.272117e2ef7e4p-339, 0x1.17e2ef7e4a0ecp-355, 0x1.77bf250763ff1p-370, 0x1.250763ff12fffp-386,
     0x1.63ff12fffbc0bp-402, 0x1.12fffbc0b301fp-418, 0x1.fbc0b301fde5ep-434, 0x1.6603fbcbc462cp-451,
     0x1.fde5e2316b414p-466, 0x1.e2316b414da3ep-482, 0x1.6b414da3eda6cp-498, 0x1.4da3eda6cfd9ep-514,
     0x1.eda6cfd9e4f96p-530, 0x1.9fb3c9f2c26dcp-547, 0x1.e4f96136e9e8cp-562, 0x1.6136e9e8c7ecdp-578,
     0x1.d3d18fd9a797ep-595, 0x1.8fd9a797fa8b4p-611, 0x1.a797fa8b5d49ep-627, 0x1.fd45aea4f758fp-642,
     0x1.aea4f758fd7cbp-658, 0x1.eeb1faf97c5ecp-675, 0x1.faf97c5ecf41cp-691, 0x1.7c5ecf41ce7dep-707,
     0x1.67a0e73ef14a5p-722, 0x1.ce7de294a4ba8p-739, 0x1.e294a4ba9afecp-755, 0x1.497535fdafd88p-772},
    {0x1.3c439041fe516p-161, 0x1.6d8a5664f10e4p-131, 0x1.5993c439041fcp-149, 0x1.e21c820ff28b0p-164,
     0x1.041fe5163abdcp-181, 0x1.f9458eaf7aef1p-195, 0x1.8eaf7aef1586dp-211, 0x1.7aef1586dc91bp-227,
     0x1.1586dc91b8e90p-243, 0x1.b92371d2126e8p-260, 0x1.b8e909374b801p-275, 0x1.09374b801924bp-291,
     0x1.4b801924bba82p-307, 0x1.924bba8274640p-327, 0x1.77504e8c90e7ep-340, 0x1.3a32439fc3bd0p-358,
     0x1.21cfe1deb1cb0p-373, 0x1.f877ac72c4a69p-387, 0x1.ac72c4a69cfbap-403, 0x1.894d39f74411ap-420,
     0x1.39f74411afa96p-436, 0x1.a208d7d4baed1p-451, 0x1.afa975da24274p-468, 0x1.75da24274ce38p-484,
     0x1.1213a671c09adp-499, 0x1.a671c09ad17dfp-515, 0x1.c09ad17df904ep-531, 0x1.a2fbf209cc8eap-548,
     0x1.f904e64758e60p-563, 0x1.cc8eb1cc1a99cp-580, 0x1.58e60d4ce7d27p-595, 0x1.a99cfa4e422e0p-616,
     0x1.cfa4e422fc5dep-628, 0x1.c845f8bbdf928p-345, 0x1.7e2ef7e4a0ec7p-359, 0x1.efc941d8ffc4ap-376,
     0x1.41d8ffc4bffeep-392, 0x1.ff897ffde0598p-409, 0x1.7ffde05980fecp-425, 0x1.7816603fbcbc4p-439,
     0x1.80fef2f118b58p-457, 0x1.bcbc462d6829bp-471, 0x1.18b5a0a6d1f6cp-489, 0x1.6829b47db4d9fp-503,
     0x1.b47db4d9fb3c9p-519, 0x1.b4d9fb3c9f2c2p-535, 0x1.fb3c9f2c26dd3p-551, 0x1.3e584dba7a31ep-568,
     0x1.36e9e8c7ecd38p-586, 0x1.3d18fd9a797fap-599, 0x1.fb34f2ff516bap-616, 0x1.e5fea2d7527b8p-633,
     0x1.a8b5d49eeb1fap-647, 0x1.d49eeb1faf97cp-663, 0x1.d63f5f2f8bd9ep-680, 0x1.af97c5ecf41cep-695,
     0x1.c5ecf41ce7de2p-711, 0x1.e839cfbc52948p-728, 0x1.cfbc529497534p-744, 0x1.4a525d4d7f6b8p-762,
     0x1.2ea6bfb5fb11cp-777, 0x1.afed7ec47e357p-791, 0x1.7ec47e3574215p-807, 0x1.f8d5d08560330p-825},
};
/* v modulo 2 in [-1, 1], exactly, at any magnitude */
CB_MATH double cb_mod_2(double v) { return v - 2.0 * rint_f64(0.5 * v); }
CB_MATH double cb_half_turns_f64(double x, double quarter, uint64_t *odd) {
    uint64_t exponent = (cb_bits_f64(x) >> 52) & 2047u;
    uint64_t row = ((exponent > 1031u ? exponent : 1031u) - 1031u) >> 4; /* 1023 + 24 begins row 1 */
    double c0 = cb_inverse_pi[0][row], c1 = cb_inverse_pi[1][row];
    double c2 = cb_inverse_pi[2][row], c3 = cb_inverse_pi[3][row];
    double y = fabs_f64(x) < 0x1p536 ? x : x * 0x1p-300;
    double p0_lo, p0 = cb_two_product(y, c0, &p0_lo);
    double p1_lo, p1 = cb_two_product(y, c1, &p1_lo);
    double p2_lo, p2 = cb_two_product(y, c2, &p2_lo);
    /* three terms that may hold whole turns, each reduced exactly; then n from their sum */
    double r0 = cb_mod_2(p0), r1 = cb_mod_2(p0_lo), r2 = cb_mod_2(p1);
    double t = (r0 + (r1 + r2)) - quarter + CB_MAGIC_F64, n = (t - CB_MAGIC_F64) + quarter;
    *odd = cb_bits_f64(t) << 63;
    /* the sum once more, without n and with what rounding drops: near a zero all above 2^-62 may cancel */
    double drop0, drop1, drop2, drop3, drop4;
    double small = cb_two_sum(p1_lo, p2, &drop3);
    double sum = cb_two_sum(r0, -n, &drop0);
    sum = cb_two_sum(sum, r1, &drop1);
    sum = cb_two_sum(sum, r2, &drop2);
    sum = cb_two_sum(sum, small, &drop4);
    return sum + ((drop0 + drop1) + (drop2 + drop4) + (drop3 + CB_FMA_F64(y, c3, p2_lo)));
}
/* sin(pi f): pi in two parts, the rest 2^-61.6 */
CB_MATH double cb_sinpi_f64(double f) {
    double u = f * f;
    double p = CB_HORNER_8(CB_FMA_F64, u, -5.16771278004997, 2.550164039877375, -0.5992645293220866,
                           0.08214588663858836, -0.007370431266932227, 0.000466304990403629,
                           -2.1923954052384485e-05, 8.133417064649734e-07, -3.8618205382522817e-08);
    double y = CB_FMA_F64(f, 3.141592653589793, f * CB_FMA_F64(u, p, 1.2246467991473532e-16));
    y = y > 1.0 ? 1.0 : y; /* rounding must not leave [-1, 1] */
    return y < -1.0 ? -1.0 : y;
}
CB_MATH double sin_f64(double x) {
    uint64_t odd;
    double f = cb_half_turns_f64(x, 0.0, &odd);
    double y = cb_from_bits_f64(cb_bits_f64(cb_sinpi_f64(f)) ^ odd);
    return cb_choose_f64(fabs_f64(x) < 1e-8, x, y); /* denormals */
}
CB_MATH double cos_f64(double x) {
    uint64_t odd;
    double f = cb_half_turns_f64(x, 0.5, &odd);
    return cb_from_bits_f64(cb_bits_f64(-cb_sinpi_f64(f)) ^ odd);
}
/* the ratio of both: each reduced on its own, so that zeros and poles keep their relative accuracy */
CB_MATH double tan_f64(double x) {
    uint64_t odd_sin, odd_cos;
    double f = cb_half_turns_f64(x, 0.0, &odd_sin), g = cb_half_turns_f64(x, 0.5, &odd_cos);
    double y = cb_sinpi_f64(f) / -cb_sinpi_f64(g);
    y = cb_from_bits_f64(cb_bits_f64(y) ^ odd_sin ^ odd_cos);
    return cb_choose_f64(fabs_f64(x) < 1e-8, x, y);
}
#else
CB_MATH double sin_f64(double x) { return sin(x); }
CB_MATH double cos_f64(double x) { return cos(x); }
CB_MATH double tan_f64(double x) { return tan(x); }
#endif

/* ---- inverse functions ---- */
/* asin and acos beyond 1/2 by asin(x) = pi/2 - 2 asin(sqrt((1 - x) / 2)); beyond 1 sqrt gives nan */
/* asin_tail: (asin s - s) / s^3 in u = s^2 <= 1/4; 2^-27.6 and 2^-59.9. atan_tail: (atan t - t) / t^3 in u
 * = t^2 <= 1; 2^-28.5 and 2^-57.6. */
CB_MATH float cb_asin_tail_f32(float u) {
    return CB_HORNER_4(CB_FMA_F32, u, 0.16666752f, 0.0749531f, 0.04546902f, 0.024185505f, 0.042157006f);
}
CB_MATH double cb_asin_tail_f64(double u) {
    return CB_HORNER_12(CB_FMA_F64, u, 0.1666666666666676, 0.07499999999970872, 0.04464285717455335,
                        0.03038194271029126, 0.02237221492272441, 0.01735161310626216, 0.013980808105962738,
                        0.01139900987999857, 0.010779723820788479, 0.0037083508270812572,
                        0.021702832677360794, -0.02099266144358552, 0.03262468775667123);
}
CB_MATH float cb_atan_tail_f32(float u) {
    return CB_HORNER_8(CB_FMA_F32, u, -0.333333f, 0.19998534f, -0.14264102f, 0.10951506f, -0.08401582f,
                       0.05792723f, -0.031148937f, 0.0108996965f, -0.0017904058f);
}
CB_MATH double cb_atan_tail_f64(double u) {
    return CB_HORNER_19(CB_FMA_F64, u, -0.33333333333333065, 0.19999999999951082, -0.14285714282557124,
                        0.11111111006570307, -0.09090906995842296, 0.07692279763809891, -0.06666403491410684,
                        0.05880524686632567, -0.05253505501480023, 0.04722280383997388, -0.04219074829913761,
                        0.036639886952948265, -0.02990078458664359, 0.02198122312397927,
                        -0.013897263739570436, 0.007194247598286166, -0.0028837940056670145,
                        0.0008309366077352405, -0.00015207979573877918, 1.3217177876381737e-05);
}
#define CB_ARCS(T, f32, FMA, half_pi, half_pi_rest)                                                   \
    CB_MATH T asin_##f32(T x) {                                                                       \
        T a = fabs_##f32(x), v = (T)0.5 - (T)0.5 * a;                                                 \
        T u = a > (T)0.5 ? v : x * x, s = a > (T)0.5 ? sqrt_##f32(v) : a;                             \
        T r = FMA(s * u, cb_asin_tail_##f32(u), s);                                                   \
        T far = (half_pi) - (2 * r - (half_pi_rest));                                                 \
        return copysign_##f32(a > (T)0.5 ? far : r, x);                                               \
    }                                                                                                 \
    CB_MATH T acos_##f32(T x) {                                                                       \
        T a = fabs_##f32(x), v = (T)0.5 - (T)0.5 * a;                                                 \
        T u = a > (T)0.5 ? v : x * x, s = a > (T)0.5 ? sqrt_##f32(v) : x;                             \
        T r = FMA(s * u, cb_asin_tail_##f32(u), s);                                                   \
        T near = (half_pi) - (r - (half_pi_rest));                                                    \
        T far = x < 0 ? 2 * ((half_pi) - (r - (half_pi_rest))) : 2 * r;                               \
        return a > (T)0.5 ? far : near;                                                               \
    }                                                                                                 \
    CB_MATH T atan_##f32(T x) {                                                                       \
        T a = fabs_##f32(x), t = a > 1 ? 1 / a : a, u = t * t;                                        \
        T r = FMA(t * u, cb_atan_tail_##f32(u), t);                                                   \
        return copysign_##f32(a > 1 ? (half_pi) - (r - (half_pi_rest)) : r, x);                       \
    }                                                                                                 \
    /* the smaller over the larger; 0/0 counts as 0 and inf/inf as 1 */                               \
    CB_MATH T atan2_##f32(T y, T x) {                                                                 \
        T a = fabs_##f32(x), b = fabs_##f32(y);                                                       \
        T least = b < a ? b : a, most = b < a ? a : b;                                                \
        T t = a == b ? (a == 0 ? (T)0 : (T)1) : least / most, u = t * t;                              \
        T r = FMA(t * u, cb_atan_tail_##f32(u), t);                                                   \
        T right = b > a ? (half_pi) - (r - (half_pi_rest)) : r;                                       \
        T left = b > a ? (half_pi) + (r + (half_pi_rest)) : 2 * (half_pi) - (r - 2 * (half_pi_rest)); \
        r = copysign_##f32(signbit_##f32(x) ? left : right, y);                                       \
        return x != x || y != y ? x + y : r;                                                          \
    }
CB_ARCS(float, f32, CB_FMA_F32, 1.57079637f, -4.37113883e-8f)
CB_ARCS(double, f64, CB_FMA_F64, 1.5707963267948966, 6.123233995736766e-17)

/* ---- hypot: inf if either is, even beside nan ---- */
CB_MATH float hypot_f32(float x, float y) {
    double a = (double)x, b = (double)y;
    float r = (float)sqrt_f64(a * a + b * b); /* the squares fit double */
    return fabs_f32(x) == inf_f32() || fabs_f32(y) == inf_f32() ? inf_f32() : r;
}
/* scaled by powers of two where the squares would overflow or vanish */
CB_MATH double hypot_f64(double x, double y) {
    double a = fabs_f64(x), b = fabs_f64(y), most = a > b ? a : b;
    double scale = most > 0x1p500 ? 0x1p-600 : (most < 0x1p-500 ? 0x1p600 : 1.0);
    double back = most > 0x1p500 ? 0x1p600 : (most < 0x1p-500 ? 0x1p-600 : 1.0);
    a *= scale;
    b *= scale;
    double r = back * sqrt_f64(CB_FMA_F64(a, a, b * b));
    return fabs_f64(x) == inf_f64() || fabs_f64(y) == inf_f64() ? inf_f64() : r;
}

#endif
