/* A stand-in for the dense part of cuSOLVER (standin.h): textbook algorithms, LAPACK's conventions. */
#include <algorithm>
#include <vector>

#include "standin.h"

struct context {
    bool has_stream;
};
enum { LOWER, UPPER };

template <typename T> struct real_of {
    typedef T type;
};
template <typename R> struct real_of<std::complex<R>> {
    typedef R type;
};
template <typename T> using real = typename real_of<T>::type;

static double conj_of(double x) { return x; }
static float conj_of(float x) { return x; }
template <typename R> static std::complex<R> conj_of(std::complex<R> x) { return std::conj(x); }

static void begin(context *c) { CHECK(c && c->has_stream); }
template <typename T> static void matrix(const T *a, int rows, int columns, int ld) {
    CHECK(rows >= 1 && columns >= 1 && ld >= rows);
    CHECK(a && aligned(a, sizeof(T)));
}
/* sizes depend on the routine, so that one routine's workspace does not do for another */
static int wanted(int routine, int m, int n) { return 8 * routine + m + 2 * n; }
template <typename T> static void workspace(int routine, int m, int n, T *work, int size) {
    CHECK(size >= wanted(routine, m, n));
    use_workspace(work, (size_t)size * sizeof(T));
    standin_calls++;
}

template <typename T>
static int getrf(context *c, int m, int n, T *a, int ld, T *work, int *pivots, int *info) {
    begin(c);
    matrix(a, m, n, ld);
    workspace(1, m, n, work, wanted(1, m, n));
    *info = 0;
    for (int k = 0; k < std::min(m, n); k++) {
        int p = k;
        auto size = [&](T x) { return std::abs(std::real(x)) + std::abs(std::imag(x)); };
        for (int i = k + 1; i < m; i++)
            if (size(a[i + k * ld]) > size(a[p + k * ld])) p = i;
        pivots[k] = p + 1;
        if (a[p + k * ld] == T(0)) {
            if (!*info) *info = k + 1;
            continue;
        }
        for (int i = 0; i < n; i++) std::swap(a[k + i * ld], a[p + i * ld]);
        for (int i = k + 1; i < m; i++) {
            a[i + k * ld] /= a[k + k * ld];
            for (int h = k + 1; h < n; h++) a[i + h * ld] -= a[i + k * ld] * a[k + h * ld];
        }
    }
    return 0;
}

template <typename T>
static int potrf(context *c, int part, int n, T *a, int ld, T *work, int size, int *info) {
    begin(c);
    matrix(a, n, n, ld);
    workspace(2, n, n, work, size);
    CHECK(part == UPPER);
    *info = 0;
    for (int k = 0; k < n; k++) {
        real<T> d = std::real(a[k + k * ld]);
        for (int i = 0; i < k; i++) d -= std::norm(a[i + k * ld]);
        if (!(d > 0)) {
            *info = k + 1;
            return 0;
        }
        a[k + k * ld] = std::sqrt(d);
        for (int h = k + 1; h < n; h++) {
            for (int i = 0; i < k; i++) a[k + h * ld] -= conj_of(a[i + k * ld]) * a[i + h * ld];
            a[k + h * ld] /= a[k + k * ld];
        }
    }
    return 0;
}

template <typename T>
static int geqrf(context *c, int m, int n, T *a, int ld, T *tau, T *work, int size, int *info) {
    begin(c);
    matrix(a, m, n, ld);
    workspace(3, m, n, work, size);
    *info = 0;
    for (int k = 0; k < std::min(m, n); k++) {
        T *v = a + k * ld;
        real<T> below = 0;
        for (int i = k + 1; i < m; i++) below += std::norm(v[i]);
        T alpha = v[k];
        tau[k] = 0;
        if (below == 0 && std::imag(alpha) == 0) continue;
        real<T> beta = std::sqrt(std::norm(alpha) + below);
        if (std::real(alpha) > 0) beta = -beta;
        tau[k] = (T(beta) - alpha) / T(beta);
        for (int i = k + 1; i < m; i++) v[i] /= alpha - T(beta);
        v[k] = beta;
        for (int h = k + 1; h < n; h++) { /* the conjugate transpose of the reflection */
            T sum = a[k + h * ld];
            for (int i = k + 1; i < m; i++) sum += conj_of(v[i]) * a[i + h * ld];
            sum *= conj_of(tau[k]);
            a[k + h * ld] -= sum;
            for (int i = k + 1; i < m; i++) a[i + h * ld] -= sum * v[i];
        }
    }
    return 0;
}

template <typename T>
static int orgqr(context *c, int m, int n, int k, T *a, int ld, const T *tau, T *work, int size, int *info) {
    begin(c);
    matrix(a, m, n, ld);
    CHECK(n <= m && k <= n);
    workspace(4, m, n, work, size);
    *info = 0;
    std::vector<T> q((size_t)m * (size_t)n);
    for (int h = 0; h < n; h++) q[(size_t)(h + h * m)] = 1;
    for (int r = k - 1; r >= 0; r--)
        for (int h = 0; h < n; h++) {
            T *x = q.data() + h * m, sum = x[r];
            for (int i = r + 1; i < m; i++) sum += conj_of(a[i + r * ld]) * x[i];
            sum *= tau[r];
            x[r] -= sum;
            for (int i = r + 1; i < m; i++) x[i] -= sum * a[i + r * ld];
        }
    for (int h = 0; h < n; h++)
        for (int i = 0; i < m; i++) a[i + h * ld] = q[(size_t)(i + h * m)];
    return 0;
}

/* columns of x [m, n] made orthogonal by rotations from the right, which v collects (Hestenes 1958) */
template <typename T> static void orthogonalise(int m, int n, std::vector<T> &x, std::vector<T> &v) {
    typedef real<T> R;
    for (int sweep = 0; sweep < 60; sweep++) {
        R most = 0;
        for (int p = 0; p < n; p++)
            for (int q = p + 1; q < n; q++) {
                R pp = 0, qq = 0;
                T pq = 0;
                for (int i = 0; i < m; i++) {
                    T a = x[(size_t)(i + p * m)], b = x[(size_t)(i + q * m)];
                    pp += std::norm(a), qq += std::norm(b), pq += conj_of(a) * b;
                }
                R size = std::abs(pq), scale = std::sqrt(pp * qq);
                if (size == 0 || size <= scale * std::numeric_limits<R>::epsilon()) continue;
                most = std::max(most, size / scale);
                R zeta = (qq - pp) / (2 * size);
                R t = (zeta < 0 ? -1 : 1) / (std::abs(zeta) + std::sqrt(1 + zeta * zeta));
                R cosine = 1 / std::sqrt(1 + t * t), sine = cosine * t;
                T phase = pq / T(size);
                auto turn = [&](std::vector<T> &y, int rows) {
                    for (int i = 0; i < rows; i++) {
                        T &a = y[(size_t)(i + p * rows)], &b = y[(size_t)(i + q * rows)];
                        T old = a, other = b * conj_of(phase);
                        a = T(cosine) * old - T(sine) * other;
                        b = T(sine) * old + T(cosine) * other;
                    }
                };
                turn(x, m);
                turn(v, n);
            }
        if (most < 4 * std::numeric_limits<R>::epsilon()) break;
    }
}

/* eigenvectors of a Hermitian matrix from the singular vectors of one shifted to be positive definite */
template <typename T>
static int syevd(context *c, int vectors, int part, int n, T *a, int ld, real<T> *w, T *work, int size,
                 int *info) {
    typedef real<T> R;
    begin(c);
    matrix(a, n, n, ld);
    workspace(5, n, n, work, size);
    CHECK(part == LOWER);
    CHECK(aligned(w, sizeof(R)));
    *info = 0;
    R shift = 1;
    for (int k = 0; k < n; k++) {
        R sum = 0;
        for (int i = 0; i < n; i++) sum += std::abs(i >= k ? a[i + k * ld] : a[k + i * ld]);
        shift = std::max(shift, 2 * sum);
    }
    std::vector<T> x((size_t)(n * n)), v((size_t)(n * n));
    for (int k = 0; k < n; k++)
        for (int i = 0; i < n; i++) {
            x[(size_t)(i + k * n)] = i >= k ? a[i + k * ld] : conj_of(a[k + i * ld]);
            if (i == k) x[(size_t)(i + k * n)] += T(shift), v[(size_t)(i + k * n)] = 1;
        }
    orthogonalise(n, n, x, v);
    std::vector<std::pair<R, int>> order;
    for (int k = 0; k < n; k++) {
        R sum = 0;
        for (int i = 0; i < n; i++) sum += std::norm(x[(size_t)(i + k * n)]);
        order.push_back({std::sqrt(sum) - shift, k});
    }
    std::sort(order.begin(), order.end());
    for (int k = 0; k < n; k++) {
        w[k] = order[(size_t)k].first;
        for (int i = 0; i < n; i++) /* without vectors, what is left there is of no use */
            a[i + k * ld] = vectors ? v[(size_t)(i + order[(size_t)k].second * n)] : T(NAN);
    }
    return 0;
}

template <typename T>
static int gesvd(context *c, signed char job_u, signed char job_v, int m, int n, T *a, int ld, real<T> *s,
                 T *u, int ldu, T *vt, int ldv, T *work, int size, real<T> *rwork, int *info) {
    typedef real<T> R;
    begin(c);
    matrix(a, m, n, ld);
    CHECK(m >= n);
    CHECK(rwork);
    workspace(6, m, n, work, size);
    CHECK((job_u == 'N' && job_v == 'N') || ((job_u == 'A' || job_u == 'S') && job_v == 'A'));
    *info = 0;
    std::vector<T> x((size_t)(m * n)), v((size_t)(n * n));
    for (int k = 0; k < n; k++) {
        for (int i = 0; i < m; i++) x[(size_t)(i + k * m)] = a[i + k * ld];
        v[(size_t)(k + k * n)] = 1;
    }
    orthogonalise(m, n, x, v);
    std::vector<std::pair<R, int>> order;
    for (int k = 0; k < n; k++) {
        R sum = 0;
        for (int i = 0; i < m; i++) sum += std::norm(x[(size_t)(i + k * m)]);
        order.push_back({-std::sqrt(sum), k});
    }
    std::sort(order.begin(), order.end());
    for (int k = 0; k < n; k++) s[k] = -order[(size_t)k].first;
    for (int i = 0; i < m * n; i++) a[i % m + i / m * ld] = T(NAN); /* destroyed, as the library may */
    if (job_u == 'N') return 0;
    int columns = job_u == 'A' ? m : n;
    matrix(u, m, columns, ldu);
    matrix(vt, n, n, ldv);
    for (int k = 0; k < n; k++)
        for (int i = 0; i < n; i++) vt[k + i * ldv] = conj_of(v[(size_t)(i + order[(size_t)k].second * n)]);
    for (int k = 0; k < columns; k++) {
        T *column = u + k * ldu;
        bool own = k < n && s[k] > s[0] * std::numeric_limits<R>::epsilon();
        for (int unit = 0; unit < m; unit++) { /* a unit vector, less its part along the columns before */
            for (int i = 0; i < m; i++)
                column[i] = own ? x[(size_t)(i + order[(size_t)k].second * m)] / T(s[k]) : T(i == unit);
            if (own) break;
            R norm = 0;
            for (int twice = 0; twice < 2; twice++) {
                norm = 0;
                for (int h = 0; h < k; h++) {
                    T sum = 0;
                    for (int i = 0; i < m; i++) sum += conj_of(u[i + h * ldu]) * column[i];
                    for (int i = 0; i < m; i++) column[i] -= sum * u[i + h * ldu];
                }
                for (int i = 0; i < m; i++) norm += std::norm(column[i]);
                norm = std::sqrt(norm);
                for (int i = 0; i < m; i++) column[i] /= T(norm > 0 ? norm : 1);
                if (twice == 0 && norm < (R)0.1) break;
            }
            if (norm > (R)0.1) break;
        }
    }
    return 0;
}

STANDIN int cusolverGetVersion(int *version) {
    *version = 12000;
    return 0;
}
STANDIN int cusolverDnCreate(context **out) {
    *out = new context{false};
    return 0;
}
STANDIN int cusolverDnSetStream(context *c, void *) {
    c->has_stream = true;
    return 0;
}
#define SIZE(letter, routine, number, m, n, ...)                                   \
    STANDIN int cusolverDn##letter##routine##_bufferSize(__VA_ARGS__, int *size) { \
        *size = wanted(number, m, n);                                              \
        return 0;                                                                  \
    }
#define ALL(letter, T, org, sye)                                                                             \
    SIZE(letter, getrf, 1, m, n, context *, int m, int n, T *, int)                                          \
    SIZE(letter, potrf, 2, n, n, context *, int, int n, T *, int)                                            \
    SIZE(letter, geqrf, 3, m, n, context *, int m, int n, T *, int)                                          \
    SIZE(letter, org, 4, m, n, context *, int m, int n, int, const T *, int, const T *)                      \
    SIZE(letter, sye, 5, n, n, context *, int, int, int n, const T *, int, const real<T> *)                  \
    SIZE(letter, gesvd, 6, m, n, context *, int m, int n)                                                    \
    STANDIN int cusolverDn##letter##getrf(context *c, int m, int n, T *a, int ld, T *work, int *pivots,      \
                                          int *info) {                                                       \
        return getrf<T>(c, m, n, a, ld, work, pivots, info);                                                 \
    }                                                                                                        \
    STANDIN int cusolverDn##letter##potrf(context *c, int part, int n, T *a, int ld, T *work, int size,      \
                                          int *info) {                                                       \
        return potrf<T>(c, part, n, a, ld, work, size, info);                                                \
    }                                                                                                        \
    STANDIN int cusolverDn##letter##geqrf(context *c, int m, int n, T *a, int ld, T *tau, T *work, int size, \
                                          int *info) {                                                       \
        return geqrf<T>(c, m, n, a, ld, tau, work, size, info);                                              \
    }                                                                                                        \
    STANDIN int cusolverDn##letter##org(context *c, int m, int n, int k, T *a, int ld, const T *tau,         \
                                        T *work, int size, int *info) {                                      \
        return orgqr<T>(c, m, n, k, a, ld, tau, work, size, info);                                           \
    }                                                                                                        \
    STANDIN int cusolverDn##letter##sye(context *c, int vectors, int part, int n, T *a, int ld, real<T> *w,  \
                                        T *work, int size, int *info) {                                      \
        return syevd<T>(c, vectors, part, n, a, ld, w, work, size, info);                                    \
    }                                                                                                        \
    STANDIN int cusolverDn##letter##gesvd(context *c, signed char job_u, signed char job_v, int m, int n,    \
                                          T *a, int ld, real<T> *s, T *u, int ldu, T *vt, int ldv, T *work,  \
                                          int size, real<T> *rwork, int *info) {                             \
        return gesvd<T>(c, job_u, job_v, m, n, a, ld, s, u, ldu, vt, ldv, work, size, rwork, info);          \
    }
ALL(S, float, orgqr, syevd)
ALL(D, double, orgqr, syevd)
ALL(C, std::complex<float>, ungqr, heevd)
ALL(Z, std::complex<double>, ungqr, heevd)
