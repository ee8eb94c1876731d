/* Input gradients by windows, of one real type: include with `real` and NAME(x) defined, after
 * conv_copy_typed.h. */

/* items: planes of the input. Adds what each window gives, in the order of windows. */
static void NAME(add_windows)(void *context, int64_t begin, int64_t end) {
    const windows_run *r = context;
    const cb_conv_shape *s = r->s;
    const int64_t *in = s->in, *k = s->kernel, *o = s->out;
    int64_t taps = size3(k);
    for (int64_t plane = begin; plane < end; plane++) {
        real *x = (real *)r->x + plane * size3(in);
        if (r->first == 0) NAME(zero_run)(x, size3(in));
        for (int64_t i = 0; i < r->count; i++) {
            int64_t p = r->first + i, item = (plane / s->ic * r->count + i) * s->ic + plane % s->ic;
            const real *from = (const real *)r->windows + item * taps;
            int64_t z = p / (o[1] * o[2]) * s->stride[0] - s->padding[0],
                    y = p / o[2] % o[1] * s->stride[1] - s->padding[1],
                    left = p % o[2] * s->stride[2] - s->padding[2], first = CB_MAX(0, -left),
                    stop = CB_MIN(k[2], in[2] - left);
            for (int64_t t = 0; t < k[0] * k[1]; t++, from += k[2]) {
                int64_t iz = z + t / k[1] * s->dilation[0], iy = y + t % k[1] * s->dilation[1];
                if (iz < 0 || iz >= in[0] || iy < 0 || iy >= in[1]) continue;
                real *to = x + (iz * in[1] + iy) * in[2] + left;
                for (int64_t j = first; j < stop; j++) to[j] += from[j];
            }
        }
    }
}
