/* The round trip: every entry of the table done by the CPU's kernels on copies in host memory, results copied
 * back. It is what an entry is until a family brings a kernel, and what families call for rare cases.
 *
 * A copy has the layout of its tensor, strides and all, so the CPU's kernel sees what it would have seen.
 * Results are copied in first: gaps between strided items keep their bytes, and some entries add to what is
 * there. */
#include <new>
#include <vector>

#include "../src/reduce.h"
#include "kernels.h"
#include "runtime.h"

namespace {

/* a run of device memory as host memory */
class range {
  public:
    range(const void *device, int64_t nbytes, bool write)
        : device_((char *)device), nbytes_(nbytes), write_(write) {
        if (!device || nbytes <= 0) return;
        host_ = static_cast<char *>(cb_host->alloc(CB_CPU, nbytes));
        failed_ = !host_ || cb_read_back(host_, device, nbytes);
    }
    ~range() {
        if (host_) cb_host->free(CB_CPU, host_, nbytes_);
    }
    range(const range &) = delete;
    range &operator=(const range &) = delete;
    char *host() const { return host_; }
    bool failed() const { return failed_; }
    int put_back() { return host_ && write_ ? cb_send(device_, host_, nbytes_) : CB_OK; }

  private:
    char *device_, *host_ = nullptr;
    int64_t nbytes_;
    bool write_, failed_ = false;
};

/* the bytes that items with these sizes and strides lie in, counted from the first item */
struct extent {
    int64_t low = 0, high = 0;
    void dim(int64_t size, int64_t stride) {
        if (size > 0) (stride < 0 ? low : high) += (size - 1) * stride;
    }
};

class mirror { /* a tensor as a tensor on the host */
  public:
    mirror(const cb_tensor *x, bool write = false) : tensor_(x ? *x : cb_tensor()), storage_(), given_(x) {
        if (!x || (x->device & 255) != CB_CUDA || x->numel == 0) return;
        extent e;
        for (int d = 0; d < x->ndim; d++) e.dim(x->shape[d], x->strides[d]);
        const char *first = static_cast<const char *>(x->data) + e.low * x->itemsize;
        range_ = new (std::nothrow) range(first, (e.high - e.low + 1) * x->itemsize, write);
        if (range_ && range_->host()) tensor_.data = range_->host() - e.low * x->itemsize;
        tensor_.device = CB_CPU;
        /* kernels that make views of their operands start from the storage */
        storage_ = *x->storage;
        storage_.device = CB_CPU;
        storage_.data = static_cast<char *>(tensor_.data) - x->offset * x->itemsize;
    }
    mirror(mirror &&other) noexcept
        : tensor_(other.tensor_), storage_(other.storage_), given_(other.given_), range_(other.range_) {
        other.range_ = nullptr;
    }
    ~mirror() { delete range_; }
    mirror(const mirror &) = delete;
    mirror &operator=(const mirror &) = delete;
    operator cb_tensor *() {
        if (range_) tensor_.storage = &storage_;
        return given_ ? &tensor_ : nullptr;
    }
    bool failed() const { return range_ && range_->failed(); }
    int put_back() { return range_ ? range_->put_back() : CB_OK; }

  private:
    cb_tensor tensor_;
    cb_storage storage_;
    const cb_tensor *given_;
    range *range_ = nullptr;
};

/* any number of them */
class mirrors {
  public:
    void add(const cb_tensor *x, bool write) { all_.emplace_back(x, write); }
    cb_tensor *const *tensors() {
        pointers_.clear();
        for (mirror &m : all_) pointers_.push_back(m);
        return pointers_.data();
    }
    bool failed() const {
        for (const mirror &m : all_)
            if (m.failed()) return true;
        return false;
    }
    int put_back() {
        for (mirror &m : all_) CB_TRY(m.put_back());
        return CB_OK;
    }

  private:
    std::vector<mirror> all_;
    std::vector<cb_tensor *> pointers_;
};

template <typename... M> bool any_failed(const M &...m) { return (m.failed() || ...); }
/* after the call: its status, or that of copying the results back */
template <typename... M> int finish(int status, M &...m) {
    if (!status) ((void)(status || (status = m.put_back())), ...);
    return status;
}
const int no_memory = CB_ERR_MEMORY; /* the text is set */

int copy(cb_tensor *dst, const cb_tensor *src) {
    mirror d(dst, true), s(src);
    return any_failed(d, s) ? no_memory : finish(cb_host->cpu->copy(d, s), d);
}
int fill(cb_tensor *dst, const cb_scalar *value) {
    mirror d(dst, true);
    return d.failed() ? no_memory : finish(cb_host->cpu->fill(d, value), d);
}
int arange(cb_tensor *out, const cb_scalar *start, const cb_scalar *step) {
    mirror o(out, true);
    return o.failed() ? no_memory : finish(cb_host->cpu->arange(o, start, step), o);
}
int elementwise(int family, int op, cb_tensor *out, int nin, const cb_tensor *const *in, int compute) {
    mirror o(out, true);
    mirrors xs;
    for (int k = 0; k < nin; k++) xs.add(in[k], false);
    if (any_failed(o, xs)) return no_memory;
    return finish(cb_host->cpu->elementwise(family, op, o, nin, xs.tensors(), compute), o);
}
int fused(const cb_fused_steps *f, int sets, cb_tensor *const *outs, cb_tensor *const *xs) {
    mirrors to, from;
    for (int i = 0; i < sets * f->nout; i++) to.add(outs[i], true);
    for (int k = 0; k < sets * f->nin; k++) from.add(xs[k], false);
    return any_failed(to, from) ? no_memory
                                : finish(cb_host->cpu->fused(f, sets, to.tensors(), from.tensors()), to);
}

/* entries on a few tensors: results, then operands */
#define CB_CALL(call, results, ...) \
    (any_failed(__VA_ARGS__) ? no_memory : finish(cb_host->cpu->call, results))

int reduce(int op, const cb_tensor *x, uint32_t mask, double parameter, cb_tensor *const *out) {
    mirror a(x);
    mirrors o;
    o.add(out[0], true);
    o.add(out[1], true);
    return CB_CALL(reduce(op, a, mask, parameter, o.tensors()), o, a, o);
}
int scan(int op, const cb_tensor *x, int dim, cb_tensor *const *out) {
    mirror a(x);
    mirrors o;
    o.add(out[0], true);
    o.add(op == CB_SCAN_cummax || op == CB_SCAN_cummin ? out[1] : nullptr, true);
    return CB_CALL(scan(op, a, dim, o.tensors()), o, a, o);
}
int recurrence(const cb_tensor *a, const cb_tensor *b, int dim, int transposed, cb_tensor *out) {
    mirror x(a), y(b), o(out, true);
    return CB_CALL(recurrence(x, y, dim, transposed, o), o, x, y, o);
}
int softmax(const cb_tensor *x, int dim, int log, cb_tensor *out) {
    mirror a(x), o(out, true);
    return CB_CALL(softmax(a, dim, log, o), o, a, o);
}
int softmax_grad(const cb_tensor *ct, const cb_tensor *y, int dim, int log, cb_tensor *out) {
    mirror a(ct), b(y), o(out, true);
    return CB_CALL(softmax_grad(a, b, dim, log, o), o, a, b, o);
}
int cross_entropy(const cb_tensor *logits, const cb_tensor *labels, int64_t ignore, cb_tensor *losses,
                  cb_tensor *totals) {
    mirror a(logits), b(labels);
    mirrors o;
    o.add(losses, true);
    o.add(totals, true);
    cb_tensor *const *outs = o.tensors();
    return CB_CALL(cross_entropy(a, b, ignore, outs[0], outs[1]), o, a, b, o);
}
int cross_entropy_grad(const cb_tensor *ct, const cb_tensor *logits, const cb_tensor *labels,
                       const cb_tensor *totals, int64_t ignore, cb_tensor *out) {
    mirror a(ct), b(logits), c(labels), d(totals), o(out, true);
    return CB_CALL(cross_entropy_grad(a, b, c, d, ignore, o), o, a, b, c, d, o);
}
int norm(const cb_tensor *x, int64_t n, const cb_tensor *weight, const cb_tensor *bias, double eps,
         cb_tensor *const *out) {
    mirror a(x), w(weight), b(bias);
    mirrors o;
    for (int i = 0; i < 3; i++) o.add(out[i], true);
    return CB_CALL(norm(a, n, w, b, eps, o.tensors()), o, a, w, b, o);
}
int norm_grad(const cb_tensor *ct, const cb_tensor *x, int64_t n, const cb_tensor *mean,
              const cb_tensor *rstd, const cb_tensor *weight, cb_tensor *const *out) {
    mirror a(ct), b(x), m(mean), r(rstd), w(weight);
    mirrors o;
    for (int i = 0; i < 3; i++) o.add(out[i], true);
    return CB_CALL(norm_grad(a, b, n, m, r, w, o.tensors()), o, a, b, m, r, w, o);
}
int channel_norm(const cb_tensor *x, int64_t groups, const cb_tensor *weight, const cb_tensor *bias,
                 double eps, int fixed, cb_tensor *const *out) {
    mirror a(x), w(weight), b(bias);
    mirrors o;
    for (int i = 0; i < 3; i++) o.add(out[i], i == 0 || !fixed);
    return CB_CALL(channel_norm(a, groups, w, b, eps, fixed, o.tensors()), o, a, w, b, o);
}
int channel_norm_grad(const cb_tensor *ct, const cb_tensor *x, const cb_tensor *mean, const cb_tensor *var,
                      const cb_tensor *weight, int64_t groups, double eps, int fixed, cb_tensor *const *out) {
    mirror a(ct), b(x), m(mean), v(var), w(weight);
    mirrors o;
    for (int i = 0; i < 3; i++) o.add(out[i], true);
    return CB_CALL(channel_norm_grad(a, b, m, v, w, groups, eps, fixed, o.tensors()), o, a, b, m, v, w, o);
}

/* ---- products: memory without tensors ---- */
int64_t size_of(int dtype) { return cb_dtypes[dtype].size; }
int gemm(const cb_gemm *g) {
    extent a, b;
    a.dim(g->m, g->a_row);
    a.dim(g->k, g->a_col);
    b.dim(g->k, g->b_row);
    b.dim(g->n, g->b_col);
    for (int d = 0; d < g->nbatch; d++) {
        a.dim(g->batch_shape[d], g->a_batch[d]);
        b.dim(g->batch_shape[d], g->b_batch[d]);
    }
    int64_t size = size_of(g->dtype), made = g->batch * g->m * g->n * size;
    bool empty = g->k == 0 || made == 0;
    range ra(g->a + a.low * size, empty ? 0 : (a.high - a.low + 1) * size, false);
    range rb(g->b + b.low * size, empty ? 0 : (b.high - b.low + 1) * size, false);
    range rc(g->c, made, true), rbias(g->bias, g->n * size, false);
    cb_gemm h = *g;
    if (!empty) h.a = ra.host() - a.low * size;
    if (!empty) h.b = rb.host() - b.low * size;
    h.c = rc.host();
    h.bias = rbias.host();
    return CB_CALL(gemm(&h), rc, ra, rb, rc, rbias);
}
struct conv_sizes {
    int64_t x, w, y;
    explicit conv_sizes(const cb_conv_shape *s) {
        x = s->n * s->groups * s->ic * size_of(s->dtype);
        w = s->groups * s->oc * s->ic * size_of(s->dtype);
        y = s->n * s->groups * s->oc * size_of(s->dtype);
        for (int d = 0; d < 3; d++) x *= s->in[d], w *= s->kernel[d], y *= s->out[d];
    }
};
int conv(const cb_conv_shape *s, void *y, const void *x, const void *w) {
    conv_sizes size(s);
    range ry(y, size.y, true), rx(x, size.x, false), rw(w, size.w, false);
    return CB_CALL(conv(s, ry.host(), rx.host(), rw.host()), ry, ry, rx, rw);
}
int conv_input_grad(const cb_conv_shape *s, void *x, const void *y, const void *w) {
    conv_sizes size(s);
    range rx(x, size.x, true), ry(y, size.y, false), rw(w, size.w, false);
    return CB_CALL(conv_input_grad(s, rx.host(), ry.host(), rw.host()), rx, ry, rx, rw);
}
int conv_weight_grad(const cb_conv_shape *s, void *w, const void *y, const void *x) {
    conv_sizes size(s);
    range rw(w, size.w, true), ry(y, size.y, false), rx(x, size.x, false);
    return CB_CALL(conv_weight_grad(s, rw.host(), ry.host(), rx.host()), rw, ry, rx, rw);
}
struct pool_sizes {
    int64_t x, y; /* items */
    explicit pool_sizes(const cb_pool_shape *s) : x(s->planes), y(s->planes) {
        for (int d = 0; d < 3; d++) x *= s->in[d], y *= s->out[d];
    }
};
int max_pool(const cb_pool_shape *s, void *y, int64_t *indices, const void *x) {
    pool_sizes n(s);
    range ry(y, n.y * size_of(s->dtype), true), ri(indices, n.y * 8, true),
        rx(x, n.x * size_of(s->dtype), false);
    if (any_failed(ry, ri, rx)) return no_memory;
    return finish(cb_host->cpu->max_pool(s, ry.host(), (int64_t *)ri.host(), rx.host()), ry, ri);
}
int avg_pool(const cb_pool_shape *s, void *y, const void *x) {
    pool_sizes n(s);
    range ry(y, n.y * size_of(s->dtype), true), rx(x, n.x * size_of(s->dtype), false);
    return CB_CALL(avg_pool(s, ry.host(), rx.host()), ry, ry, rx);
}
int avg_pool_grad(const cb_pool_shape *s, void *x, const void *y) {
    pool_sizes n(s);
    range rx(x, n.x * size_of(s->dtype), true), ry(y, n.y * size_of(s->dtype), false);
    return CB_CALL(avg_pool_grad(s, rx.host(), ry.host()), rx, ry, rx);
}
int pool_scatter(int dtype, int64_t planes, int64_t plane, int64_t windows, void *x, const int64_t *indices,
                 const void *y) {
    range rx(x, planes * plane * size_of(dtype), true), ri(indices, planes * windows * 8, false),
        ry(y, planes * windows * size_of(dtype), false);
    return CB_CALL(pool_scatter(dtype, planes, plane, windows, rx.host(), (int64_t *)ri.host(), ry.host()),
                   rx, rx, ri, ry);
}
int pool_gather(int itemsize, int64_t planes, int64_t plane, int64_t windows, void *y, const int64_t *indices,
                const void *x) {
    range ry(y, planes * windows * itemsize, true), ri(indices, planes * windows * 8, false),
        rx(x, planes * plane * itemsize, false);
    return CB_CALL(pool_gather(itemsize, planes, plane, windows, ry.host(), (int64_t *)ri.host(), rx.host()),
                   ry, ry, ri, rx);
}

/* ---- indexing ---- */
void add_all(mirrors *m, int count, cb_tensor *const *xs) {
    for (int i = 0; i < count; i++) m->add(xs[i], false);
}
int index_check(const cb_tensor *x, const char *op, int count, cb_tensor *const *indices, const int *dims) {
    mirrors i;
    add_all(&i, count, indices);
    return i.failed() ? no_memory
                      : cb_host->cpu->index_check(x, op, count, i.tensors(), dims); /* x: its sizes */
}
int index_get(cb_tensor *out, const cb_tensor *x, const char *op, int count, cb_tensor *const *indices,
              const int *dims) {
    mirror o(out, true), a(x);
    mirrors i;
    add_all(&i, count, indices);
    return CB_CALL(index_get(o, a, op, count, i.tensors(), dims), o, o, a, i);
}
/* bases of what is written were copied on the device */
int index_put(cb_tensor *x, const cb_tensor *, const cb_tensor *values, const char *op, int count,
              cb_tensor *const *indices, const int *dims, int accumulate) {
    mirror a(x, true), v(values);
    mirrors i;
    add_all(&i, count, indices);
    return CB_CALL(index_put(a, NULL, v, op, count, i.tensors(), dims, accumulate), a, a, v, i);
}
int gather_along(cb_tensor *out, const cb_tensor *x, const cb_tensor *index, int dim) {
    mirror o(out, true), a(x), i(index);
    return CB_CALL(gather_along(o, a, i, dim), o, o, a, i);
}
int scatter_along(cb_tensor *x, const cb_tensor *, const cb_tensor *index, const cb_tensor *src, int dim,
                  int mode) {
    mirror a(x, true), i(index), s(src);
    return CB_CALL(scatter_along(a, NULL, i, s, dim, mode), a, a, i, s);
}
void mask_count(const cb_tensor *mask, int64_t *counts) {
    mirror m(mask);
    if (!m.failed()) cb_host->cpu->mask_count(m, counts);
}
void mask_nonzero(cb_tensor *out, const cb_tensor *mask, const int64_t *starts) {
    mirror o(out, true), m(mask);
    if (any_failed(o, m)) return;
    cb_host->cpu->mask_nonzero(o, m, starts);
    o.put_back();
}
void mask_select(cb_tensor *out, const cb_tensor *x, const cb_tensor *mask, const int64_t *starts) {
    mirror o(out, true), a(x), m(mask);
    if (any_failed(o, a, m)) return;
    cb_host->cpu->mask_select(o, a, m, starts);
    o.put_back();
}
int tri(cb_tensor *out, const cb_tensor *x, int64_t diagonal, int upper) {
    mirror o(out, true), a(x);
    return CB_CALL(tri(o, a, diagonal, upper), o, o, a);
}
int pad(cb_tensor *out, const cb_tensor *x, int64_t *const *pads, const cb_scalar *value) {
    mirror o(out, true), a(x);
    return CB_CALL(pad(o, a, pads, value), o, o, a);
}
int pad_grad(cb_tensor *out, const cb_tensor *ct, int64_t *const *pads) {
    mirror o(out, true), a(ct);
    return CB_CALL(pad_grad(o, a, pads), o, o, a);
}
int resample(cb_tensor *out, const cb_tensor *x, int dim, const cb_tensor *places, const cb_tensor *weights) {
    mirror o(out, true), a(x), p(places), w(weights);
    return CB_CALL(resample(o, a, dim, p, w), o, o, a, p, w);
}

/* ---- random ---- */
int random_values(int kind, cb_tensor *out, uint64_t seed, uint64_t offset, double a, double b) {
    mirror o(out, true);
    return CB_CALL(random(kind, o, seed, offset, a, b), o, o);
}
int random_int(cb_tensor *out, uint64_t seed, uint64_t offset, int64_t low, uint64_t count) {
    mirror o(out, true);
    return CB_CALL(random_int(o, seed, offset, low, count), o, o);
}
int random_perm(cb_tensor *out, uint64_t seed, uint64_t offset) {
    mirror o(out, true);
    return CB_CALL(random_perm(o, seed, offset), o, o);
}

/* ---- sorting ---- */
int sort(cb_tensor *values, cb_tensor *indices, const cb_tensor *x, int dim, int descending, int64_t k) {
    mirror v(values, true), i(indices, true), a(x);
    if (any_failed(v, i, a)) return no_memory;
    return finish(cb_host->cpu->sort(v, i, a, dim, descending, k), v, i);
}
int searchsorted(cb_tensor *out, const cb_tensor *sorted, const cb_tensor *values, int right) {
    mirror o(out, true), s(sorted), v(values);
    return CB_CALL(searchsorted(o, s, v, right), o, o, s, v);
}
int64_t run_starts(const cb_tensor *sorted, uint8_t *starts) {
    mirror s(sorted);
    range flags(starts, sorted->numel, true);
    if (any_failed(s, flags)) return 0;
    int64_t count = cb_host->cpu->run_starts(s, (uint8_t *)flags.host());
    return flags.put_back() ? 0 : count;
}
void unique_runs(const cb_tensor *sorted, const cb_tensor *order, const uint8_t *starts, cb_tensor *values,
                 cb_tensor *inverse, cb_tensor *counts) {
    mirror s(sorted), r(order), v(values, true), i(inverse, true), c(counts, true);
    range flags(starts, sorted->numel, false);
    if (any_failed(s, r, v, i, c, flags)) return;
    cb_host->cpu->unique_runs(s, r, (const uint8_t *)flags.host(), v, i, c);
    v.put_back();
    i.put_back();
    c.put_back();
}
int bincount(cb_tensor *out, const cb_tensor *x, const cb_tensor *weights) {
    mirror o(out, true), a(x), w(weights);
    return CB_CALL(bincount(o, a, w), o, o, a, w);
}
void int_range(const cb_tensor *x, int64_t *low, int64_t *high) {
    mirror a(x);
    if (!a.failed()) cb_host->cpu->int_range(a, low, high);
}

int fft_c2c(const cb_tensor *x, int dim, int forward, double scale, cb_tensor *out) {
    mirror a(x), o(out, true);
    return CB_CALL(fft_c2c(a, dim, forward, scale, o), o, a, o);
}
int fft_r2c(const cb_tensor *x, int dim, double ends, double inside, cb_tensor *out) {
    mirror a(x), o(out, true);
    return CB_CALL(fft_r2c(a, dim, ends, inside, o), o, a, o);
}
int fft_c2r(const cb_tensor *x, int dim, double ends, double inside, cb_tensor *out) {
    mirror a(x), o(out, true);
    return CB_CALL(fft_c2r(a, dim, ends, inside, o), o, a, o);
}

int optim_step(const cb_step *s, int n, cb_tensor *const *const *lists) {
    mirrors all[CB_STEP_OPERANDS];
    cb_tensor *const *on_host[CB_STEP_OPERANDS];
    for (int k = 0; k < s->operands; k++) {
        for (int i = 0; i < n; i++) all[k].add(lists[k][i], k != CB_STEP_GRAD);
        if (all[k].failed()) return no_memory;
        on_host[k] = all[k].tensors();
    }
    CB_TRY(cb_host->cpu->optim_step(s, n, on_host));
    for (int k = 0; k < s->operands; k++) CB_TRY(all[k].put_back());
    return CB_OK;
}

} // namespace

extern "C" const cb_backend *cb_host_round_trip() {
    static const cb_backend table = [] {
        cb_backend t = {};
        t.name = "host";
#define CB_SET(entry) t.entry = entry;
        CB_SET(copy)
        CB_SET(fill)
        CB_SET(arange)
        CB_SET(elementwise)
        CB_SET(fused)
        CB_SET(reduce)
        CB_SET(scan)
        CB_SET(recurrence)
        CB_SET(softmax)
        CB_SET(softmax_grad)
        CB_SET(cross_entropy)
        CB_SET(cross_entropy_grad)
        CB_SET(norm)
        CB_SET(norm_grad)
        CB_SET(channel_norm)
        CB_SET(channel_norm_grad)
        CB_SET(gemm)
        CB_SET(conv)
        CB_SET(conv_input_grad)
        CB_SET(conv_weight_grad)
        CB_SET(max_pool)
        CB_SET(avg_pool)
        CB_SET(avg_pool_grad)
        CB_SET(pool_scatter)
        CB_SET(pool_gather)
        CB_SET(index_check)
        CB_SET(index_get)
        CB_SET(index_put)
        CB_SET(gather_along)
        CB_SET(scatter_along)
        CB_SET(mask_count)
        CB_SET(mask_nonzero)
        CB_SET(mask_select)
        CB_SET(tri)
        CB_SET(pad)
        CB_SET(pad_grad)
        CB_SET(resample)
        t.random = random_values;
        CB_SET(random_int)
        CB_SET(random_perm)
        CB_SET(sort)
        CB_SET(searchsorted)
        CB_SET(run_starts)
        CB_SET(unique_runs)
        CB_SET(bincount)
        CB_SET(int_range)
        CB_SET(fft_c2c)
        CB_SET(fft_r2c)
        CB_SET(fft_c2r)
        CB_SET(optim_step)
        return t;
    }();
    return &table;
}
