/* Random numbers as functions of keys: uint32 [*lanes, 2], the words of a Philox seed.
 *
 * A lane's numbers depend on its key alone, whatever the other lanes, the threads or the strides. Keys are
 * read on the host, where new ones are made too; draws are made on the key's device. */
#include "random.h"
#include "record.h"
#include "samplers.h"

enum { SAMPLER_GRAIN = 256 };

static cb_tensor *finished(cb_tensor *out, int status) {
    if (!status) return out;
    cb_release(out);
    return NULL;
}

/* a result that was made on the host, on the device where it belongs */
static cb_tensor *delivered(cb_tensor *host, int device) {
    if (!host || host->device == device) return host;
    cb_tensor *out = cb_to_device(host, device);
    cb_release(host);
    return out;
}

/* x in row-major order on the host, as dtype, expanded to a shape; NULL after an error */
static cb_tensor *on_host(cb_tensor *x, int dtype, int ndim, const int64_t *shape) {
    cb_tensor *host = cb_to_device(x, CB_CPU), *typed = host ? cb_cast(host, dtype) : NULL,
              *wide = typed ? cb_expand(typed, ndim, shape) : NULL,
              *dense = wide ? cb_contiguous(wide) : NULL;
    cb_release(wide);
    cb_release(typed);
    cb_release(host);
    return dense;
}

static int check_key(const char *op, const cb_tensor *key) {
    if (key->dtype != CB_U32)
        return cb_fail(CB_ERR_DTYPE, "%s: expected a key, uint32, got %s. Make one with random.key(seed).",
                       op, cb_dtypes[key->dtype].name);
    if (!key->ndim || key->shape[key->ndim - 1] != 2)
        return cb_fail(CB_ERR_SHAPE, "%s: expected a key of shape [..., 2], got %s.", op, cb_shape_of(key));
    return CB_OK;
}

static uint64_t seed_of(const cb_tensor *keys, int64_t lane) {
    const uint32_t *words = (const uint32_t *)keys->data + 2 * lane;
    return (uint64_t)words[0] << 32 | words[1];
}

/* ---- keys from keys ---- */

cb_tensor *cb_key_split(cb_tensor *key, int64_t num) {
    if (!key) return cb_fail_null(CB_ERR_NULL, "split: no tensor");
    if (check_key("split", key)) return NULL;
    int64_t shape[CB_MAX_NDIM];
    int n = key->ndim - 1;
    if (n + 2 > CB_MAX_NDIM)
        return cb_fail_null(CB_ERR_DIM, "split: expected at most %d dimensions, got %d.", CB_MAX_NDIM, n + 2);
    for (int d = 0; d < n; d++) shape[d] = key->shape[d];
    shape[n] = num;
    shape[n + 1] = 2;
    if (cb_is_meta(key)) return cb_empty(CB_U32, key->device, n + 2, shape);
    cb_tensor *out = cb_empty(CB_U32, CB_CPU, n + 2, shape);
    if (!out || !out->numel) return delivered(out, key->device);
    cb_tensor *keys = on_host(key, CB_U32, key->ndim, key->shape);
    if (!keys) return finished(out, cb_error_code());
    uint32_t *place = out->data, words[4];
    for (int64_t lane = 0; lane < key->numel / 2; lane++)
        for (int64_t i = 0; i < num; i++, place += 2) {
            cb_philox(seed_of(keys, lane), (uint64_t)i, words);
            memcpy(place, words, 2 * sizeof *words);
        }
    cb_release(keys);
    return delivered(out, key->device);
}

cb_tensor *cb_key_fold(cb_tensor *key, cb_tensor *data) {
    if (!key || !data) return cb_fail_null(CB_ERR_NULL, "fold_in: no tensor");
    if (check_key("fold_in", key)) return NULL;
    if (data->dtype != CB_I64 || !data->ndim || data->shape[data->ndim - 1] != 1)
        return cb_fail_null(CB_ERR_SHAPE, "fold_in: expected int64 data of shape [..., 1], got %s %s.",
                            cb_dtypes[data->dtype].name, cb_shape_of(data));
    int64_t shape[CB_MAX_NDIM];
    int ndim;
    if (cb_broadcast_shapes("fold_in", 2, (cb_tensor *[]){key, data}, &ndim, shape)) return NULL;
    if (cb_is_meta(key) || cb_is_meta(data))
        return cb_empty(CB_U32, cb_is_meta(key) ? key->device : data->device, ndim, shape);
    cb_tensor *out = cb_empty(CB_U32, CB_CPU, ndim, shape);
    if (!out || !out->numel) return delivered(out, key->device);
    cb_tensor *keys = on_host(key, CB_U32, ndim, shape);
    shape[ndim - 1] = 1;
    cb_tensor *numbers = keys ? on_host(data, CB_I64, ndim, shape) : NULL;
    if (numbers) {
        uint32_t *place = out->data, words[4];
        for (int64_t lane = 0; lane < out->numel / 2; lane++, place += 2) {
            /* the half of the block that split leaves */
            cb_philox(seed_of(keys, lane), (uint64_t)((const int64_t *)numbers->data)[lane], words);
            memcpy(place, words + 2, 2 * sizeof *words);
        }
    }
    int status = numbers ? CB_OK : cb_error_code();
    cb_release(numbers);
    cb_release(keys);
    return delivered(finished(out, status), key->device);
}

/* ---- draws ---- */

cb_tensor *cb_random_keyed(int kind, cb_tensor *key, int dtype, int ndim, const int64_t *shape, double a,
                           double b, int64_t low, int64_t high) {
    if (!key) return cb_fail_null(CB_ERR_NULL, "random: no tensor");
    cb_lane_draw drawn = {kind, a, b, low, high};
    if (check_key("random", key) || cb_lane_check(&drawn, dtype, ndim, shape)) return NULL;
    int64_t whole[CB_MAX_NDIM];
    int n = key->ndim - 1;
    if (n + ndim > CB_MAX_NDIM)
        return cb_fail_null(CB_ERR_DIM, "random: expected at most %d dimensions, got %d.", CB_MAX_NDIM,
                            n + ndim);
    for (int d = 0; d < n; d++) whole[d] = key->shape[d];
    for (int d = 0; d < ndim; d++) whole[n + d] = shape[d];
    cb_tensor *out = cb_empty(dtype, key->device, n + ndim, whole);
    if (!out || cb_is_meta(out) || !out->numel) return out;
    cb_tensor *keys = on_host(key, CB_U32, key->ndim, key->shape);
    int64_t lanes = key->numel / 2, each = out->numel / lanes;
    int status = keys ? CB_OK : cb_error_code();
    for (int64_t lane = 0; lane < lanes && !status; lane++)
        status = cb_lane_fill(&drawn, out, ndim, lane * each, seed_of(keys, lane), 0);
    cb_release(keys);
    return finished(out, status);
}

/* ---- samplers that reject ---- */

typedef struct sampling {
    double (*sample)(cb_stream *, const double *parameters);
    const cb_tensor *keys;
    int n;
    const double *parameters[2];
    int64_t each; /* elements of a lane */
    double least; /* of the results */
    double *out;
} sampling;

static void sample_piece(void *context, int64_t begin, int64_t end) {
    const sampling *s = context;
    for (int64_t i = begin; i < end; i++) {
        double parameters[2];
        for (int k = 0; k < s->n; k++) parameters[k] = s->parameters[k][i];
        cb_stream stream = cb_stream_of(seed_of(s->keys, i / s->each), i % s->each);
        double v = s->sample(&stream, parameters);
        s->out[i] = v < s->least ? s->least : v;
    }
}

/* Samples with parameters of one shape that begins with the key's lanes. */
static cb_tensor *sampled(const char *op, double (*sample)(cb_stream *, const double *), cb_tensor *key,
                          int n, cb_tensor *const *parameters, bool positive) {
    if (!key || cb_any_null(n, parameters)) return cb_fail_null(CB_ERR_NULL, "%s: no tensor", op);
    if (check_key(op, key)) return NULL;
    int dtype = parameters[0]->dtype, ndim, lead = key->ndim - 1;
    int64_t shape[CB_MAX_NDIM], lanes = 1;
    for (int k = 0; k < n; k++)
        if (!cb_is_float(parameters[k]->dtype))
            return cb_fail_null(CB_ERR_DTYPE, "%s: expected floating parameters, got %s.", op,
                                cb_dtypes[parameters[k]->dtype].name);
    if (cb_broadcast_shapes(op, n, parameters, &ndim, shape)) return NULL;
    if (ndim < lead || memcmp(shape, key->shape, (size_t)lead * sizeof *shape))
        return cb_fail_null(CB_ERR_SHAPE,
                            "%s: expected parameters whose shape begins with the key's %s, got %s.", op,
                            cb_shape_text(lead, key->shape), cb_shape_text(ndim, shape));
    for (int d = 0; d < lead; d++) lanes *= shape[d];
    bool meta = cb_is_meta(key);
    for (int k = 0; k < n; k++) meta |= cb_is_meta(parameters[k]);
    if (meta) return cb_empty(dtype, cb_meta_for(key->device), ndim, shape);
    cb_tensor *out = cb_empty(CB_F64, CB_CPU, ndim, shape);
    if (out && out->numel) {
        sampling s = {.sample = sample, .n = n, .each = out->numel / lanes, .out = out->data};
        s.least = !positive         ? -INFINITY
                  : dtype == CB_F64 ? 0x1p-1022
                  : dtype == CB_F16 ? 0x1p-14
                                    : 0x1p-126; /* the smallest normal number */
        cb_tensor *keys = on_host(key, CB_U32, key->ndim, key->shape), *held[2] = {NULL, NULL};
        int status = keys ? CB_OK : cb_error_code();
        for (int k = 0; k < n && !status; k++) {
            held[k] = on_host(parameters[k], CB_F64, ndim, shape);
            if (held[k])
                s.parameters[k] = held[k]->data;
            else
                status = cb_error_code();
        }
        s.keys = keys;
        if (!status) cb_parallel(out->numel, SAMPLER_GRAIN, sample_piece, &s);
        for (int k = 0; k < n; k++) cb_release(held[k]);
        cb_release(keys);
        out = finished(out, status);
    }
    cb_tensor *typed = out ? cb_cast(out, dtype) : NULL;
    cb_release(out);
    return delivered(typed, key->device);
}

static double gamma_sample(cb_stream *s, const double *p) { return random_gamma(s, p[0]); }
static double poisson_sample(cb_stream *s, const double *p) { return random_poisson(s, p[0]); }
static double binomial_sample(cb_stream *s, const double *p) { return random_binomial(s, p[0], p[1]); }
static double von_mises_sample(cb_stream *s, const double *p) { return random_von_mises(s, p[0]); }

cb_tensor *cb_random_gamma(cb_tensor *key, cb_tensor *shape_parameter) {
    return sampled("gamma", gamma_sample, key, 1, &shape_parameter, true);
}

cb_tensor *cb_random_poisson(cb_tensor *key, cb_tensor *rate) {
    return sampled("poisson", poisson_sample, key, 1, &rate, false);
}

cb_tensor *cb_random_binomial(cb_tensor *key, cb_tensor *count, cb_tensor *probability) {
    return sampled("binomial", binomial_sample, key, 2, (cb_tensor *[]){count, probability}, false);
}

cb_tensor *cb_random_von_mises(cb_tensor *key, cb_tensor *concentration) {
    return sampled("von_mises", von_mises_sample, key, 1, &concentration, false);
}
