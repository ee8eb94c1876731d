/* The butterflies: a Fourier transform of V lanes at once, in Stockham's self-sorting form (decimation in
 * frequency), so no pass is a permutation. Included once for each real type F; names end in _F's suffix.
 *
 * A block is rows of V lanes, real part then imaginary part: row i is z[2 i], z[2 i + 1]. Each lane is a
 * signal of its own. Direction is forward only: a backward transform is one with real and imaginary parts
 * exchanged, on the way in and on the way out.
 * Reference: Van Loan, Computational Frameworks for the Fast Fourier Transform, 1992, section 1.7. */

typedef struct NAME(item) {
    V re, im;
} NAME(item);

#define Z NAME(item)
CB_INLINE Z NAME(plus)(Z a, Z b) { return (Z){a.re + b.re, a.im + b.im}; }
CB_INLINE Z NAME(minus)(Z a, Z b) { return (Z){a.re - b.re, a.im - b.im}; }
/* times -i */
CB_INLINE Z NAME(right)(Z a) { return (Z){a.im, -a.re}; }
CB_INLINE Z NAME(times)(Z a, const F *w) { return (Z){a.re * w[0] - a.im * w[1], a.re * w[1] + a.im * w[0]}; }
#define PLUS NAME(plus)
#define MINUS NAME(minus)
#define RIGHT NAME(right)
#define TIMES NAME(times)
#define AT(j) ((Z){x[2 * s * m * (j)], x[2 * s * m * (j) + 1]})
/* result k, times its twiddle factor */
#define PUT(k, value)                                                 \
    do {                                                              \
        Z put_ = (value);                                             \
        if (turned && (k) > 0) put_ = TIMES(put_, w + 2 * ((k) - 1)); \
        y[2 * s * (k)] = put_.re;                                     \
        y[2 * s * (k) + 1] = put_.im;                                 \
    } while (0)

/* one butterfly: inputs s * m rows apart from x on, outputs s rows apart from y on */
#define BUTTERFLY(r)                                                                                        \
    CB_INLINE void NAME(butterfly##r)(int64_t s, int64_t m, const V *restrict x, V *restrict y, const F *w, \
                                      bool turned)

BUTTERFLY(2) {
    Z a = AT(0), b = AT(1);
    PUT(0, PLUS(a, b));
    PUT(1, MINUS(a, b));
}

BUTTERFLY(3) {
    const F half = (F)-0.5, height = (F)0.86602540378443864676;
    Z a = AT(0), b = AT(1), c = AT(2), sum = PLUS(b, c), d = RIGHT(MINUS(b, c));
    Z middle = {a.re + half * sum.re, a.im + half * sum.im};
    Z side = {height * d.re, height * d.im};
    PUT(0, PLUS(a, sum));
    PUT(1, PLUS(middle, side));
    PUT(2, MINUS(middle, side));
}

BUTTERFLY(4) {
    Z a = AT(0), b = AT(1), c = AT(2), d = AT(3);
    Z ac = PLUS(a, c), bd = PLUS(b, d), e = MINUS(a, c), f = RIGHT(MINUS(b, d));
    PUT(0, PLUS(ac, bd));
    PUT(1, PLUS(e, f));
    PUT(2, MINUS(ac, bd));
    PUT(3, MINUS(e, f));
}

BUTTERFLY(5) {
    const F c1 = (F)0.30901699437494742410, c2 = (F)-0.80901699437494742410;
    const F s1 = (F)0.95105651629515357212, s2 = (F)0.58778525229247312917;
    Z a = AT(0), b = AT(1), c = AT(2), d = AT(3), e = AT(4);
    Z be = PLUS(b, e), cd = PLUS(c, d), f = RIGHT(MINUS(b, e)), g = RIGHT(MINUS(c, d));
    Z u = {a.re + c1 * be.re + c2 * cd.re, a.im + c1 * be.im + c2 * cd.im};
    Z v = {a.re + c2 * be.re + c1 * cd.re, a.im + c2 * be.im + c1 * cd.im};
    Z p = {s1 * f.re + s2 * g.re, s1 * f.im + s2 * g.im};
    Z q = {s2 * f.re - s1 * g.re, s2 * f.im - s1 * g.im};
    PUT(0, PLUS(a, PLUS(be, cd)));
    PUT(1, PLUS(u, p));
    PUT(2, PLUS(v, q));
    PUT(3, MINUS(v, q));
    PUT(4, MINUS(u, p));
}

BUTTERFLY(8) {
    const F h = (F)0.70710678118654752440;
    Z a = AT(0), b = AT(4), c = AT(2), d = AT(6);
    Z ab = PLUS(a, b), cd = PLUS(c, d), e = MINUS(a, b), f = RIGHT(MINUS(c, d));
    Z e0 = PLUS(ab, cd), e1 = PLUS(e, f), e2 = MINUS(ab, cd), e3 = MINUS(e, f);
    a = AT(1), b = AT(5), c = AT(3), d = AT(7);
    ab = PLUS(a, b), cd = PLUS(c, d), e = MINUS(a, b), f = RIGHT(MINUS(c, d));
    Z o0 = PLUS(ab, cd), o2 = RIGHT(MINUS(ab, cd)), p = PLUS(e, f), q = MINUS(e, f);
    Z o1 = {h * (p.re + p.im), h * (p.im - p.re)}; /* times (1 - i) / sqrt 2 */
    Z o3 = {h * (q.im - q.re), -h * (q.re + q.im)}; /* times -(1 + i) / sqrt 2 */
    PUT(0, PLUS(e0, o0));
    PUT(1, PLUS(e1, o1));
    PUT(2, PLUS(e2, o2));
    PUT(3, PLUS(e3, o3));
    PUT(4, MINUS(e0, o0));
    PUT(5, MINUS(e1, o1));
    PUT(6, MINUS(e2, o2));
    PUT(7, MINUS(e3, o3));
}

/* any odd r, in r^2 / 2 steps; roots: the r-th roots of one as (cos, -sin) */
static void NAME(butterfly_odd)(int r, const F *roots, int64_t s, int64_t m, const V *restrict x,
                                V *restrict y, const F *w, bool turned) {
    Z sum[FFT_MAX_RADIX / 2], difference[FFT_MAX_RADIX / 2], a = AT(0), total = a;
    int half = r / 2;
    for (int j = 1; j <= half; j++) {
        Z b = AT(j), c = AT(r - j);
        sum[j - 1] = PLUS(b, c);
        difference[j - 1] = MINUS(b, c);
        total = PLUS(total, sum[j - 1]);
    }
    y[0] = total.re;
    y[1] = total.im;
    for (int k = 1; k <= half; k++) {
        Z even = a, odd = {{0}, {0}};
        for (int j = 1, index = k; j <= half; j++) {
            F c = roots[2 * index], d = roots[2 * index + 1];
            even.re += c * sum[j - 1].re;
            even.im += c * sum[j - 1].im;
            odd.re -= d * difference[j - 1].im;
            odd.im += d * difference[j - 1].re;
            index += k;
            if (index >= r) index -= r;
        }
        PUT(k, PLUS(even, odd));
        PUT(r - k, MINUS(even, odd));
    }
}

/* all butterflies of a pass; the first group of s needs no twiddles */
#define PASS(call)                                                      \
    do {                                                                \
        for (int64_t q = 0; q < s; q++, x += 2, y += 2) call(false);    \
        for (int64_t p = 1; p < m; p++) {                               \
            y += 2 * s * (r - 1);                                       \
            w += 2 * (r - 1);                                           \
            for (int64_t q = 0; q < s; q++, x += 2, y += 2) call(true); \
        }                                                               \
    } while (0)
#define FIXED_PASS(r_)                                                                                 \
    static void NAME(pass##r_)(int64_t s, int64_t m, const V *restrict x, V *restrict y, const F *w) { \
        enum { r = r_ };                                                                               \
        PASS(CALL##r_);                                                                                \
    }
#define CALL2(turned) NAME(butterfly2)(s, m, x, y, w, turned)
#define CALL3(turned) NAME(butterfly3)(s, m, x, y, w, turned)
#define CALL4(turned) NAME(butterfly4)(s, m, x, y, w, turned)
#define CALL5(turned) NAME(butterfly5)(s, m, x, y, w, turned)
#define CALL8(turned) NAME(butterfly8)(s, m, x, y, w, turned)
#define CALL_ODD(turned) NAME(butterfly_odd)(r, roots, s, m, x, y, w, turned)
FIXED_PASS(2)
FIXED_PASS(3)
FIXED_PASS(4)
FIXED_PASS(5)
FIXED_PASS(8)
static void NAME(pass_odd)(int r, const F *roots, int64_t s, int64_t m, const V *restrict x, V *restrict y,
                           const F *w) {
    PASS(CALL_ODD);
}

/* Transforms the lanes of z, n rows. The result is in z or in other, which it returns. */
static V *NAME(run)(const fft_stages *stages, V *z, V *other) {
    int64_t s = 1;
    const F *w = stages->twiddles;
    for (int i = 0; i < stages->count; i++) {
        int r = stages->radix[i];
        int64_t m = stages->n / (s * r);
        const F *roots = w, *turns = w + 2 * r;
        switch (r) {
            case 2: NAME(pass2)(s, m, z, other, turns); break;
            case 3: NAME(pass3)(s, m, z, other, turns); break;
            case 4: NAME(pass4)(s, m, z, other, turns); break;
            case 5: NAME(pass5)(s, m, z, other, turns); break;
            case 8: NAME(pass8)(s, m, z, other, turns); break;
            default: NAME(pass_odd)(r, roots, s, m, z, other, turns);
        }
        w = turns + 2 * m * (r - 1);
        s *= r;
        V *swapped = z;
        z = other;
        other = swapped;
    }
    return z;
}

#undef PLUS
#undef MINUS
#undef RIGHT
#undef TIMES
#undef AT
#undef PUT
#undef BUTTERFLY
#undef PASS
#undef FIXED_PASS
#undef CALL2
#undef CALL3
#undef CALL4
#undef CALL5
#undef CALL8
#undef CALL_ODD
#undef Z
