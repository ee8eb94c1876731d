/* The part of small_typed.h with orthogonal results: Householder's QR, and Jacobi's rotations for eigenvalues
 * (of both sides) and singular values (of one side). TARGET, TINY, TOLERANCE: see small.c.
 *
 * Matrices are scaled by powers of two, so that squares neither overflow nor vanish. The pairs of one round
 * of rotations have no row in common, so their angles are found together. A pair that is good already turns
 * by 0: lanes that are done stay as they are while others go on. What a lane cannot do (inf, nan, sizes too
 * far apart, no convergence) has an info, and the frame gives it to LAPACK. */

enum { NAME(BIAS) = sizeof(T) == 4 ? 127 : 1023, NAME(DIGITS) = sizeof(T) == 4 ? 23 : 52 };

CB_INLINE V NAME(only)(M mask, V x) { return (V)((M)x & mask); }

/* the largest |a[i * step]|; odd: lanes with inf or nan */
CB_INLINE V NAME(largest)(const V *a, int n, int step, M *odd) {
    V most = {};
    for (int i = 0; i < n; i++) {
        V size = NAME(size)(a[i * step]);
        *odd |= ~(M)(size <= LARGEST);
        most = NAME(pick)(size > most, size, most);
    }
    return most;
}

/* 2^e brings `size` near 2^TARGET; both 2^e and 2^-e are normal numbers */
CB_INLINE M NAME(exponent)(V size) {
    M e = NAME(BIAS) + TARGET - ((M)size >> NAME(DIGITS));
    return NAME(pick_int)(e < NAME(BIAS), e, (M){} + (NAME(BIAS) - 1));
}
CB_INLINE V NAME(power)(M e) { return (V)((e + NAME(BIAS)) << NAME(DIGITS)); }

/* ---- QR ---- */

/* x - tau v (v, x), where v[0] is 1 */
CB_INLINE void NAME(reflect)(const V *v, int v_step, V tau, V *x, int x_step, int n) {
    V sum = x[0];
    for (int i = 1; i < n; i++) sum += v[i * v_step] * x[i * x_step];
    sum *= tau;
    x[0] -= sum;
    for (int i = 1; i < n; i++) x[i * x_step] -= v[i * v_step] * sum;
}

/* As LAPACK's xGEQR2 and xORG2R, signs included; each column has a scale of its own. */
static void NAME(qr)(cb_small *s, V *a) {
    int m = s->m, n = s->n, least = CB_MIN(m, n), columns = s->k;
    V *q = a + m * n, tau[CB_GROUP_ORDER], back[CB_GROUP_ORDER];
    M odd = {};
    NAME(load)(a, &s->a, m, n);
    for (int k = 0; k < n; k++) {
        M e = NAME(exponent)(NAME(largest)(a + k, m, n, &odd));
        V scale = NAME(power)(e);
        back[k] = NAME(power)(-e);
        for (int i = 0; i < m; i++) a[i * n + k] *= scale;
    }
    for (int c = 0; c < least; c++) {
        V *top = a + c * n + c, alpha = *top, below = {};
        M turns = {};
        for (int i = 1; i < m - c; i++) {
            below += top[i * n] * top[i * n];
            turns |= top[i * n] != 0;
        }
        odd |= turns & (below < TINY);
        V norm = NAME(root)(alpha * alpha + below), beta = NAME(pick)(alpha < 0, norm, -norm);
        V inverse = NAME(only)(turns, 1 / (alpha - beta));
        tau[c] = NAME(only)(turns, (beta - alpha) / beta);
        *top = NAME(pick)(turns, beta, alpha);
        for (int i = 1; i < m - c; i++) top[i * n] *= inverse;
        for (int k = 1; k < n - c; k++) NAME(reflect)(top, n, tau[c], top + k, n, m - c);
    }
    for (int i = 0; i < m; i++)
        for (int k = 0; k < columns; k++) q[i * columns + k] = (V){} + (T)(i == k);
    for (int c = least - 1; c >= 0; c--)
        for (int k = c; k < columns; k++)
            NAME(reflect)(a + c * n + c, n, tau[c], q + c * columns + k, columns, m - c);
    NAME(store)(&s->x, q, s->count, m, columns);
    for (int i = 0; i < columns; i++)
        for (int k = 0; k < n; k++) a[i * n + k] = i > k ? (V){} : a[i * n + k] * back[k];
    NAME(store)(&s->y, a, s->count, columns, n);
    NAME(put_info)(s, odd);
}

/* ---- Jacobi's rotations ---- */

enum { NAME(PAIRS) = CB_GROUP_ORDER / 2, NAME(SWEEPS) = 20 };

/* One of the rotations of a round: which rows, where in the table of pairs, and does any lane turn? */
typedef struct NAME(turn) {
    int p, q;
    bool any;
    V sin, half; /* half: the tangent of half the angle */
} NAME(turn);

/* Pair i of round r, for an even n: in n - 1 rounds of n / 2 pairs everybody meets everybody else. */
CB_INLINE void NAME(meet)(NAME(turn) * t, int n, int r, int i) {
    t->p = i ? (r + i) % (n - 1) : n - 1;
    t->q = (r + n - 1 - i) % (n - 1);
}

/* The angle that makes (pp, pq; pq, qq) diagonal: its rotation goes to t, pp and qq change; which lanes turn
 */
CB_INLINE M NAME(angle)(NAME(turn) * t, V *pp, V pq, V *qq, T tolerance) {
    M turns = pq * pq > tolerance * NAME(size)(*pp * *qq);
    V gap = *qq - *pp, twice = pq + pq;
    M negative = (M)gap & ((M){} + (I)((I)1 << (sizeof(I) * 8 - 1)));
    V tan = twice / (NAME(size)(gap) + NAME(root)(gap * gap + twice * twice));
    tan = NAME(only)(turns, (V)((M)tan ^ negative));
    V secant = NAME(root)(1 + tan * tan);
    t->sin = tan / secant;
    t->half = tan / (1 + secant);
    t->any = NAME(any)(turns);
    *pp -= tan * pq;
    *qq += tan * pq;
    return turns;
}

/* (cos x - sin y, sin x + cos y): a rounded cosine would change lengths even where the angle is small */
CB_INLINE void NAME(rotate)(const NAME(turn) * t, V *p, V *q) {
    V x = *p, y = *q;
    *p = x - t->sin * (y + t->half * x);
    *q = y + t->sin * (x - t->half * y);
}

/* keys ascend (or descend), and rows follow: Batcher's network */
static void NAME(sort)(V *key, V *row, int n, int width, bool descending) {
    for (int size = 1; size < n; size *= 2)
        for (int gap = size; gap >= 1; gap /= 2)
            for (int j = gap % size; j + gap < n; j += 2 * gap)
                for (int p = j, q = p + gap; p < j + gap && q < n; p++, q++) {
                    if (p / (2 * size) != q / (2 * size)) continue;
                    M mask = descending ? key[p] < key[q] : key[q] < key[p], change;
                    if (!NAME(any)(mask)) continue;
                    change = ((M)key[p] ^ (M)key[q]) & mask;
                    key[p] = (V)((M)key[p] ^ change);
                    key[q] = (V)((M)key[q] ^ change);
                    for (int k = 0; k < width; k++) {
                        V *x = row + p * width + k, *y = row + q * width + k;
                        change = ((M)*x ^ (M)*y) & mask;
                        *x = (V)((M)*x ^ change);
                        *y = (V)((M)*y ^ change);
                    }
                }
}

/* An odd order gets a partner of zeros, which never turns. Of a symmetric matrix the lower triangle is kept;
 * rotations of pairs t and u change a block of 2 x 2 in it. */
CB_INLINE V *NAME(lower_at)(V *a, int n, int i, int k) { return i > k ? a + i * n + k : a + k * n + i; }

static void NAME(turn_block)(V *a, int n, const NAME(turn) * t, const NAME(turn) * u) {
    V *pp = NAME(lower_at)(a, n, t->p, u->p), *pq = NAME(lower_at)(a, n, t->p, u->q);
    V *qp = NAME(lower_at)(a, n, t->q, u->p), *qq = NAME(lower_at)(a, n, t->q, u->q);
    V x[4] = {*pp, *pq, *qp, *qq};
    NAME(rotate)(t, &x[0], &x[2]);
    NAME(rotate)(t, &x[1], &x[3]);
    NAME(rotate)(u, &x[0], &x[1]);
    NAME(rotate)(u, &x[2], &x[3]);
    *pp = x[0];
    *pq = x[1];
    *qp = x[2];
    *qq = x[3];
}

/* one sweep over the lower triangle of a; the rows of v, if it is there, turn with it */
static M NAME(eigh_sweep)(V *a, V *v, int n) {
    int even = n + (n & 1);
    NAME(turn) turns[NAME(PAIRS)];
    M turned = {};
    for (int r = 0; r < even - 1; r++) {
        M now = {};
        for (int i = 0; i < even / 2; i++) {
            NAME(turn) *t = turns + i;
            NAME(meet)(t, even, r, i);
            V *pq = NAME(lower_at)(a, n, t->p, t->q);
            M turn = NAME(angle)(t, a + t->p * n + t->p, *pq, a + t->q * n + t->q, TOLERANCE);
            *pq = NAME(only)(~turn, *pq);
            now |= turn;
        }
        if (!NAME(any)(now)) continue;
        turned |= now;
        for (int i = 1; i < even / 2; i++)
            for (int k = 0; k < i; k++)
                if (turns[i].any || turns[k].any) NAME(turn_block)(a, n, turns + i, turns + k);
        for (int i = 0; v && i < even / 2; i++)
            for (int k = 0; turns[i].any && k < n; k++)
                NAME(rotate)(turns + i, v + turns[i].p * n + k, v + turns[i].q * n + k);
    }
    return turned;
}

static void NAME(eigh)(cb_small *s, V *a) {
    int n = s->n;
    V *v = s->vectors ? a + n * n + n + 1 : NULL, w[CB_GROUP_ORDER], most = {};
    M odd = {}, turned = {};
    NAME(load)(a, &s->a, n, n);
    for (int i = 0; i < n; i++) {
        for (int k = 0; s->part == 2 && k < i; k++) a[i * n + k] = (a[i * n + k] + a[k * n + i]) / 2;
        V size = NAME(largest)(a + i * n, i + 1, 1, &odd);
        most = NAME(pick)(size > most, size, most);
    }
    M e = NAME(exponent)(most);
    V scale = NAME(power)(e), back = NAME(power)(-e);
    for (int i = 0; i < n * n; i++) a[i] = NAME(only)(~odd, a[i] * scale);
    for (int i = 0; i <= n; i++) a[n * n + i] = (V){};
    for (int i = 0; v && i < n * n; i++) v[i] = (V){} + (T)(i % (n + 1) == 0);
    for (int sweep = 0; sweep < NAME(SWEEPS); sweep++) {
        turned = NAME(eigh_sweep)(a, v, n);
        if (!NAME(any)(turned)) break;
    }
    for (int i = 0; i < n; i++) w[i] = a[i * n + i] * back + 0;
    NAME(sort)(w, v, n, v ? n : 0, false);
    NAME(store)(&s->x, w, s->count, 1, n);
    /* extra sweeps for other lanes may have turned -0 into 0 */
    for (int i = 0; v && i < n; i++)
        for (int k = 0; k < n; k++) a[i * n + k] = v[k * n + i] + 0;
    if (v) NAME(store)(&s->y, a, s->count, n, n);
    NAME(put_info)(s, odd | turned);
}

CB_INLINE V NAME(dot)(const V *x, const V *y, int n) {
    V even = {}, odd = {};
    for (int i = 0; i + 1 < n; i += 2) {
        even += x[i] * y[i];
        odd += x[i + 1] * y[i + 1];
    }
    return n & 1 ? even + odd + x[n - 1] * y[n - 1] : even + odd;
}

/* one sweep over n rows, whose first `length` columns become orthogonal; square: of their norms */
static M NAME(svd_sweep)(V *x, V *square, int n, int length, int width) {
    int even = n + (n & 1);
    NAME(turn) turns[NAME(PAIRS)];
    M turned = {};
    for (int i = 0; i < n; i++) square[i] = NAME(dot)(x + i * width, x + i * width, length);
    for (int r = 0; r < even - 1; r++) {
        for (int i = n & 1; i < even / 2; i++) {
            NAME(turn) *t = turns + i;
            NAME(meet)(t, even, r, i);
            V pq = NAME(dot)(x + t->p * width, x + t->q * width, length);
            turned |= NAME(angle)(t, square + t->p, pq, square + t->q, TOLERANCE * (T)length);
        }
        for (int i = n & 1; i < even / 2; i++)
            for (int k = 0; turns[i].any && k < width; k++)
                NAME(rotate)(turns + i, x + turns[i].p * width + k, x + turns[i].q * width + k);
    }
    return turned;
}

/* The rows of a, or where it has more rows than columns the columns, are made orthogonal; the rotations that
 * do it stand to the right of them. */
static void NAME(svd)(cb_small *s, V *a) {
    int m = s->m, n = s->n, least = CB_MIN(m, n), length = CB_MAX(m, n);
    int width = length + (s->vectors ? least : 0);
    bool tall = m > n;
    V *x = a + m * n, square[CB_GROUP_ORDER], value[CB_GROUP_ORDER];
    M odd = {}, turned = {};
    NAME(load)(a, &s->a, m, n);
    M e = NAME(exponent)(NAME(largest)(a, m * n, 1, &odd));
    V scale = NAME(power)(e), back = NAME(power)(-e);
    for (int i = 0; i < least; i++)
        for (int k = 0; k < width; k++)
            x[i * width + k] = k < length ? NAME(only)(~odd, a[tall ? k * n + i : i * n + k] * scale)
                                          : (V){} + (T)(k - length == i);
    for (int sweep = 0; sweep < NAME(SWEEPS); sweep++) {
        turned = NAME(svd_sweep)(x, square, least, length, width);
        if (!NAME(any)(turned)) break;
    }
    odd |= turned;
    NAME(sort)(square, x, least, s->vectors ? width : 0, true);
    for (int i = 0; i < least; i++) {
        V norm = NAME(root)(square[i]), inverse = 1 / norm;
        value[i] = norm * back;
        if (!s->vectors) continue;
        odd |= square[i] < TINY; /* the direction of such a row is noise, or it has none */
        for (int k = 0; k < length; k++) x[i * width + k] *= inverse;
    }
    NAME(store)(&s->x, value, s->count, 1, least);
    NAME(put_info)(s, odd);
    if (!s->vectors) return;
    /* adding 0: extra sweeps for other lanes may have turned -0 into 0 */
    for (int i = 0; i < m; i++)
        for (int k = 0; k < least; k++) a[i * least + k] = x[k * width + (tall ? i : length + i)] + 0;
    NAME(store)(&s->y, a, s->count, m, least);
    for (int i = 0; i < least; i++)
        for (int k = 0; k < n; k++) a[i * n + k] = x[i * width + (tall ? length + k : k)] + 0;
    NAME(store)(&s->z, a, s->count, least, n);
}
