/* Convolutions by plain loops: integers and complex numbers, and the reference for tests.
 *
 * One visit per (result item, tap): the taps that fall inside the input are found per dimension, so that the
 * inner loops have no checks. Integers wrap: signed types are computed as unsigned ones of their size. */
#include "cpu.h"

typedef struct conv_run {
    const cb_conv_shape *s;
    void *out;
    const void *p, *q;
} conv_run;

static inline int64_t size3(const int64_t v[3]) { return v[0] * v[1] * v[2]; }

/* first and one past the last output position o in [0, out) with 0 <= o * stride - padding + tap * dilation <
 * in */
static inline void output_range(const cb_conv_shape *s, int d, int64_t tap, int64_t *begin, int64_t *end) {
    int64_t shift = s->padding[d] - tap * s->dilation[d], step = s->stride[d];
    *begin = shift > 0 ? (shift + step - 1) / step : 0;
    int64_t last = s->in[d] - 1 + shift; /* o * stride <= last */
    *end = last < 0 ? 0 : CB_MIN(s->out[d], last / step + 1);
}

/* Calls ACTION for each row of outputs that tap (k0, k1, k2) of one (image, filter, channel) reaches, with
 * o: offset in the output plane, i: offset in the input plane, count: row length, t: the tap's flat index. */
#define FOR_ROWS(s, ...)                                                                           \
    for (int64_t k0 = 0, t = 0; k0 < (s)->kernel[0]; k0++)                                         \
        for (int64_t k1 = 0; k1 < (s)->kernel[1]; k1++)                                            \
            for (int64_t k2 = 0; k2 < (s)->kernel[2]; k2++, t++) {                                 \
                int64_t z0, z1, y0, y1, x0, x1, step = (s)->stride[2];                             \
                output_range(s, 0, k0, &z0, &z1);                                                  \
                output_range(s, 1, k1, &y0, &y1);                                                  \
                output_range(s, 2, k2, &x0, &x1);                                                  \
                int64_t count = x1 - x0;                                                           \
                if (count <= 0) continue;                                                          \
                for (int64_t z = z0; z < z1; z++)                                                  \
                    for (int64_t y = y0; y < y1; y++) {                                            \
                        int64_t iz = z * (s)->stride[0] - (s)->padding[0] + k0 * (s)->dilation[0]; \
                        int64_t iy = y * (s)->stride[1] - (s)->padding[1] + k1 * (s)->dilation[1]; \
                        int64_t ix = x0 * step - (s)->padding[2] + k2 * (s)->dilation[2];          \
                        int64_t o = (z * (s)->out[1] + y) * (s)->out[2] + x0;                      \
                        int64_t i = (iz * (s)->in[1] + iy) * (s)->in[2] + ix;                      \
                        __VA_ARGS__                                                                \
                    }                                                                              \
            }

#define CONV(name, type, wide)                                                                        \
    /* items: (image, filter) */                                                                      \
    static void forward_##name(void *context, int64_t begin, int64_t end) {                           \
        const conv_run *r = context;                                                                  \
        const cb_conv_shape *s = r->s;                                                                \
        int64_t in = size3(s->in), out = size3(s->out), taps = size3(s->kernel),                      \
                filters = s->groups * s->oc;                                                          \
        for (int64_t item = begin; item < end; item++) {                                              \
            int64_t image = item / filters, f = item % filters, group = f / s->oc;                    \
            type *y_ = (type *)r->out + item * out;                                                   \
            memset(y_, 0, (size_t)out * sizeof *y_);                                                  \
            for (int64_t c = 0; c < s->ic; c++) {                                                     \
                const type *x_ = (const type *)r->p + ((image * s->groups + group) * s->ic + c) * in; \
                const type *w = (const type *)r->q + (f * s->ic + c) * taps;                          \
                FOR_ROWS(s, {                                                                         \
                    for (int64_t j = 0; j < count; j++)                                               \
                        y_[o + j] = (type)(y_[o + j] + (wide)w[t] * x_[i + j * step]);                \
                })                                                                                    \
            }                                                                                         \
        }                                                                                             \
    }                                                                                                 \
    /* items: (image, channel) */                                                                     \
    static void input_grad_##name(void *context, int64_t begin, int64_t end) {                        \
        const conv_run *r = context;                                                                  \
        const cb_conv_shape *s = r->s;                                                                \
        int64_t in = size3(s->in), out = size3(s->out), taps = size3(s->kernel),                      \
                channels = s->groups * s->ic;                                                         \
        for (int64_t item = begin; item < end; item++) {                                              \
            int64_t image = item / channels, c = item % channels, group = c / s->ic;                  \
            type *x_ = (type *)r->out + item * in;                                                    \
            memset(x_, 0, (size_t)in * sizeof *x_);                                                   \
            for (int64_t f = group * s->oc; f < (group + 1) * s->oc; f++) {                           \
                const type *y_ = (const type *)r->p + (image * s->groups * s->oc + f) * out;          \
                const type *w = (const type *)r->q + (f * s->ic + c % s->ic) * taps;                  \
                FOR_ROWS(s, {                                                                         \
                    for (int64_t j = 0; j < count; j++)                                               \
                        x_[i + j * step] = (type)(x_[i + j * step] + (wide)w[t] * y_[o + j]);         \
                })                                                                                    \
            }                                                                                         \
        }                                                                                             \
    }                                                                                                 \
    /* items: (filter, channel of its group) */                                                       \
    static void weight_grad_##name(void *context, int64_t begin, int64_t end) {                       \
        const conv_run *r = context;                                                                  \
        const cb_conv_shape *s = r->s;                                                                \
        int64_t in = size3(s->in), out = size3(s->out), taps = size3(s->kernel),                      \
                filters = s->groups * s->oc;                                                          \
        for (int64_t item = begin; item < end; item++) {                                              \
            int64_t f = item / s->ic, c = f / s->oc * s->ic + item % s->ic;                           \
            type *w = (type *)r->out + item * taps;                                                   \
            memset(w, 0, (size_t)taps * sizeof *w);                                                   \
            for (int64_t image = 0; image < s->n; image++) {                                          \
                const type *y_ = (const type *)r->p + (image * filters + f) * out;                    \
                const type *x_ = (const type *)r->q + (image * s->groups * s->ic + c) * in;           \
                FOR_ROWS(s, {                                                                         \
                    type sum = 0;                                                                     \
                    for (int64_t j = 0; j < count; j++)                                               \
                        sum = (type)(sum + (wide)y_[o + j] * x_[i + j * step]);                       \
                    w[t] = (type)(w[t] + sum);                                                        \
                })                                                                                    \
            }                                                                                         \
        }                                                                                             \
    }
CONV(u8, uint8_t, uint8_t)
CONV(u32, uint32_t, uint32_t)
CONV(u64, uint64_t, uint64_t)
CONV(c64, cb_complex64, cb_complex64)
CONV(c128, cb_complex128, cb_complex128)
CONV(f32, float, float)
CONV(f64, double, double)
CONV(u16, uint16_t, uint32_t) /* u16 * u16 would be computed in int and may overflow it */

typedef void (*body)(void *, int64_t, int64_t);
#define PICK(kind)                                                                                   \
    static body pick_##kind(int dtype) {                                                             \
        switch (dtype) {                                                                             \
            case CB_C64: return kind##_c64;                                                          \
            case CB_C128: return kind##_c128;                                                        \
            case CB_F32: return kind##_f32;                                                          \
            case CB_F64: return kind##_f64;                                                          \
        }                                                                                            \
        int size = cb_dtypes[dtype].size;                                                            \
        return size == 1 ? kind##_u8 : size == 2 ? kind##_u16 : size == 4 ? kind##_u32 : kind##_u64; \
    }
PICK(forward)
PICK(input_grad)
PICK(weight_grad)

int CB_FN(conv_plain)(const cb_conv_shape *s, void *y, const void *x, const void *w) {
    conv_run r = {s, y, x, w};
    cb_parallel(s->n * s->groups * s->oc,
                CB_MAX(1, 16384 / CB_MAX(1, size3(s->out) * size3(s->kernel) * s->ic)),
                pick_forward(s->dtype), &r);
    return CB_OK;
}

int CB_FN(conv_input_grad_plain)(const cb_conv_shape *s, void *x, const void *y, const void *w) {
    conv_run r = {s, x, y, w};
    cb_parallel(s->n * s->groups * s->ic,
                CB_MAX(1, 16384 / CB_MAX(1, size3(s->out) * size3(s->kernel) * s->oc)),
                pick_input_grad(s->dtype), &r);
    return CB_OK;
}

int CB_FN(conv_weight_grad_plain)(const cb_conv_shape *s, void *w, const void *y, const void *x) {
    conv_run r = {s, w, y, x};
    cb_parallel(s->groups * s->oc * s->ic,
                CB_MAX(1, 16384 / CB_MAX(1, size3(s->out) * size3(s->kernel) * s->n)),
                pick_weight_grad(s->dtype), &r);
    return CB_OK;
}
