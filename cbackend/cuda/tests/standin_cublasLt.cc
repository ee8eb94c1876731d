/* A stand-in for cuBLASLt (standin.h). Products are summed in double. */
#include "standin.h"

enum { R_32F = 0, R_64F = 1, R_16F = 2, C_32F = 4, C_64F = 5, R_16BF = 14 };
enum { COMPUTE_32F = 68, COMPUTE_64F = 70, COMPUTE_32F_FAST_TF32 = 77 };
enum { MAGIC = 0x5ca1e };

struct context {
    int magic = MAGIC;
};
struct desc {
    int compute, scale, transa = 0, transb = 0, epilogue = 1;
    const void *bias = nullptr;
};
struct layout {
    int type;
    uint64_t rows, columns;
    int64_t ld, stride = 0;
    int32_t count = 1;
};
struct preference {
    uint64_t workspace = 0;
    uint32_t alignment[4] = {256, 256, 256, 256};
};
struct algorithm {
    uint64_t data[8];
};
struct heuristic {
    algorithm algo;
    size_t workspace;
    int status;
    float waves;
    int reserved[4];
};

static size_t size_of(int type) {
    return type == R_16F || type == R_16BF ? 2 : type == R_32F ? 4 : type == C_64F ? 16 : 8;
}
static float of_half(uint16_t bits) {
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float value = exponent == 31 ? (fraction ? NAN : INFINITY)
                  : exponent     ? std::ldexp(1024.f + (float)fraction, exponent - 25)
                                 : std::ldexp((float)fraction, -24);
    return bits >> 15 ? -value : value;
}
static uint16_t to_half(float value) {
    uint16_t best = 0;
    uint16_t sign = std::signbit(value) ? 0x8000 : 0;
    float size = std::fabs(value);
    if (size != size) return 0x7e00;
    if (size >= 65520) return (uint16_t)(sign | 0x7c00);
    int low = 0, high = 0x7bff; /* the numbers are in the order of their bits */
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (of_half((uint16_t)middle) <= size)
            low = middle;
        else
            high = middle - 1;
    }
    float below = of_half((uint16_t)low), above = low == 0x7bff ? 65536 : of_half((uint16_t)(low + 1));
    bool up = size - below > above - size || (size - below == above - size && (low & 1));
    best = (uint16_t)(low + up);
    return (uint16_t)(sign | best);
}
static float of_bfloat(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, 4);
    return value;
}
static uint16_t to_bfloat(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    if (value != value) return 0x7fc0;
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
typedef std::complex<double> number;
static number load(int type, const void *p, int64_t i) {
    switch (type) {
        case R_16F: return of_half(((const uint16_t *)p)[i]);
        case R_16BF: return of_bfloat(((const uint16_t *)p)[i]);
        case R_32F: return ((const float *)p)[i];
        case R_64F: return ((const double *)p)[i];
        case C_32F: return number(((const std::complex<float> *)p)[i]);
        default: return ((const number *)p)[i];
    }
}
static void store(int type, void *p, int64_t i, number v) {
    switch (type) {
        case R_16F: ((uint16_t *)p)[i] = to_half((float)v.real()); break;
        case R_16BF: ((uint16_t *)p)[i] = to_bfloat((float)v.real()); break;
        case R_32F: ((float *)p)[i] = (float)v.real(); break;
        case R_64F: ((double *)p)[i] = v.real(); break;
        case C_32F: ((std::complex<float> *)p)[i] = std::complex<float>(v); break;
        default: ((number *)p)[i] = v;
    }
}

STANDIN size_t cublasLtGetVersion() { return 130000; }
STANDIN int cublasLtCreate(context **out) {
    *out = new context;
    return 0;
}
STANDIN int cublasLtMatmulDescCreate(desc **out, int compute, int scale) {
    CHECK(compute == COMPUTE_32F || compute == COMPUTE_64F || compute == COMPUTE_32F_FAST_TF32);
    bool wide = compute == COMPUTE_64F;
    CHECK(wide ? scale == R_64F || scale == C_64F : scale == R_32F || scale == C_32F);
    *out = new desc{compute, scale};
    return 0;
}
STANDIN int cublasLtMatmulDescDestroy(desc *d) {
    delete d;
    return 0;
}
STANDIN int cublasLtMatmulDescSetAttribute(desc *d, int attribute, const void *value, size_t size) {
    int32_t number_ = 0;
    if (attribute == 8) {
        CHECK(size == sizeof(void *));
        memcpy(&d->bias, value, size);
        return 0;
    }
    CHECK(size == 4);
    memcpy(&number_, value, 4);
    if (attribute == 3 || attribute == 4) {
        CHECK(number_ >= 0 && number_ <= 2);
        (attribute == 3 ? d->transa : d->transb) = number_;
    } else {
        CHECK(attribute == 7 && number_ == 4);
        d->epilogue = number_;
    }
    return 0;
}
STANDIN int cublasLtMatrixLayoutCreate(layout **out, int type, uint64_t rows, uint64_t columns, int64_t ld) {
    CHECK(rows > 0 && columns > 0);
    CHECK(ld >= (int64_t)rows);
    *out = new layout{type, rows, columns, ld};
    return 0;
}
STANDIN int cublasLtMatrixLayoutDestroy(layout *l) {
    delete l;
    return 0;
}
STANDIN int cublasLtMatrixLayoutSetAttribute(layout *l, int attribute, const void *value, size_t size) {
    CHECK(attribute == 5 || attribute == 6);
    if (attribute == 5) {
        CHECK(size == 4);
        memcpy(&l->count, value, 4);
        CHECK(l->count > 0);
    } else {
        CHECK(size == 8);
        memcpy(&l->stride, value, 8);
    }
    return 0;
}
STANDIN int cublasLtMatmulPreferenceCreate(preference **out) {
    *out = new preference;
    return 0;
}
STANDIN int cublasLtMatmulPreferenceDestroy(preference *p) {
    delete p;
    return 0;
}
STANDIN int cublasLtMatmulPreferenceSetAttribute(preference *p, int attribute, const void *value,
                                                 size_t size) {
    if (attribute == 1) {
        CHECK(size == 8);
        memcpy(&p->workspace, value, 8);
    } else {
        CHECK(attribute >= 5 && attribute <= 8 && size == 4);
        memcpy(&p->alignment[attribute - 5], value, 4);
    }
    return 0;
}

/* the sizes of one product, checked; what an algorithm is valid for */
static void describe(const desc *d, const layout *a, const layout *b, const layout *c, uint64_t *key) {
    uint64_t m = d->transa ? a->columns : a->rows, k = d->transa ? a->rows : a->columns;
    uint64_t n = d->transb ? b->rows : b->columns;
    CHECK((d->transb ? b->columns : b->rows) == k);
    CHECK(c->rows == m && c->columns == n);
    CHECK(a->type == b->type && b->type == c->type);
    CHECK(a->count == c->count && b->count == c->count);
    CHECK(c->count == 1 || c->stride >= c->ld * (int64_t)(c->columns - 1) + (int64_t)c->rows);
    CHECK(d->epilogue == 1 || d->bias);
    CHECK(d->epilogue == 1 || a->type == R_32F || a->type == R_16F || a->type == R_16BF);
    bool wide = a->type == R_64F || a->type == C_64F;
    CHECK(wide == (d->compute == COMPUTE_64F));
    const uint64_t all[8] = {MAGIC,
                             m,
                             n,
                             k,
                             (uint64_t)a->ld << 32 | (uint64_t)b->ld,
                             (uint64_t)c->count << 32 | (uint64_t)a->type,
                             (uint64_t)d->transa << 8 | (uint64_t)d->transb << 4 | (uint64_t)d->epilogue,
                             (uint64_t)d->compute};
    memcpy(key, all, sizeof all);
}

STANDIN int cublasLtMatmulAlgoGetHeuristic(context *h, desc *d, layout *a, layout *b, layout *c, layout *e,
                                           preference *p, int wanted, heuristic *results, int *found) {
    CHECK(h->magic == MAGIC);
    CHECK(c->rows == e->rows && c->columns == e->columns && c->ld == e->ld);
    CHECK(wanted == 1);
    memset(results, 0, sizeof *results);
    describe(d, a, b, c, results->algo.data);
    for (int i = 0; i < 4; i++) CHECK(p->alignment[i] >= size_of(a->type) && p->alignment[i] <= 256);
    *found = c->rows != 13; /* there is not always an algorithm */
    results->workspace = c->rows % 2 ? 0 : 1024 + 16 * (c->rows % 64);
    CHECK(results->workspace <= p->workspace);
    return 0;
}

static number factor(const layout *l, int transposed, const void *data, uint64_t i, uint64_t j,
                     int64_t item) {
    int64_t at =
        item * l->stride + (transposed ? (int64_t)i * l->ld + (int64_t)j : (int64_t)j * l->ld + (int64_t)i);
    number v = load(l->type, data, at);
    return transposed == 2 ? std::conj(v) : v;
}

STANDIN int cublasLtMatmul(context *h, desc *d, const void *alpha, const void *a, layout *la, const void *b,
                           layout *lb, const void *beta, const void *c, layout *lc, void *e, layout *le,
                           const algorithm *algo, void *workspace, size_t workspace_size, void *) {
    CHECK(h->magic == MAGIC && lc == le && c == e);
    uint64_t key[8];
    describe(d, la, lb, lc, key);
    CHECK(!memcmp(key, algo->data, sizeof key));
    CHECK(workspace_size >= (lc->rows % 2 ? 0 : 1024 + 16 * (lc->rows % 64)));
    use_workspace(workspace, workspace_size);
    uint64_t k = d->transa ? la->rows : la->columns;
    number scale = load(d->scale, alpha, 0), old = load(d->scale, beta, 0);
    for (int64_t item = 0; item < lc->count; item++)
        for (uint64_t j = 0; j < lc->columns; j++)
            for (uint64_t i = 0; i < lc->rows; i++) {
                number sum = 0;
                for (uint64_t t = 0; t < k; t++)
                    sum += factor(la, d->transa, a, i, t, item) * factor(lb, d->transb, b, t, j, item);
                int64_t at = item * lc->stride + (int64_t)j * lc->ld + (int64_t)i;
                sum *= scale;
                if (old != 0.0) sum += old * load(lc->type, c, at);
                if (d->epilogue == 4) sum += load(lc->type, d->bias, (int64_t)i);
                store(lc->type, e, at, sum);
            }
    standin_calls++;
    return 0;
}
