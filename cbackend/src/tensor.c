/* Handles and storages: creation, reference counts, the flags kept in a handle.
 *
 * A handle and its shape and strides are one allocation. Handles of up to SMALL_NDIM dimensions are recycled
 * through a per-thread list: making one is then a few instructions. */
#include <stdatomic.h>
#include <stdlib.h>

#include "internal.h"
#include "record.h"

enum { SMALL_NDIM = 6, RECYCLED_MAX = 256 };

static _Thread_local cb_tensor *recycled;
static _Thread_local int recycled_count;
static atomic_llong next_serial;

/* ---- storage ---- */

cb_storage *cb_storage_new(int device, int64_t nbytes) {
    cb_storage *s = malloc(sizeof *s);
    if (!s) {
        cb_fail(CB_ERR_MEMORY, "empty: the system has no memory left.");
        return NULL;
    }
    *s = (cb_storage){.refcount = 1,
                      .device = device,
                      .nbytes = nbytes,
                      .serial = atomic_fetch_add_explicit(&next_serial, 1, memory_order_relaxed)};
    if ((device & 255) != CB_META && nbytes > 0) {
        s->data = cb_alloc(device, nbytes);
        if (!s->data) {
            free(s);
            return NULL;
        }
    }
    return s;
}

void cb_storage_release(cb_storage *s) {
    if (!s || __atomic_sub_fetch(&s->refcount, 1, __ATOMIC_ACQ_REL) > 0) return;
    if (s->deleter)
        s->deleter(s->context);
    else if (s->data && !s->borrowed)
        cb_free(s->device, s->data, s->nbytes);
    free(s);
}

uint64_t cb_storage_id(const cb_tensor *x) { return (uint64_t)(uintptr_t)x->storage; }
int64_t cb_storage_nbytes(const cb_tensor *x) { return x->storage->nbytes; }
int64_t cb_last_write(const cb_tensor *x) { return x->storage->last_write; }
int64_t cb_storage_serial(void) { return atomic_load_explicit(&next_serial, memory_order_relaxed); }
int64_t cb_storage_born(const cb_tensor *x) { return x->storage->serial; }
int cb_storage_users(const cb_tensor *x) { return x->storage->refcount; }

/* ---- handles ---- */

cb_tensor *cb_handle_new(int dtype, int device, int ndim) {
    cb_tensor *x;
    if (ndim > CB_MAX_NDIM)
        return cb_fail_null(CB_ERR_SHAPE,
                            "tensor: expected at most %d dimensions, got %d. Merge some with reshape.",
                            CB_MAX_NDIM, ndim);
    if (ndim <= SMALL_NDIM && recycled) {
        x = recycled;
        recycled = (cb_tensor *)x->data;
        recycled_count--;
    } else {
        int room = CB_MAX(ndim, SMALL_NDIM);
        x = malloc(sizeof *x + 2 * (size_t)room * sizeof(int64_t));
        if (!x) return cb_fail_null(CB_ERR_MEMORY, "tensor: the system has no memory left.");
        x->shape = (int64_t *)(x + 1);
        x->strides = x->shape + room;
    }
    x->refcount = 1;
    x->flags = 0;
    x->dtype = dtype;
    x->device = device;
    x->ndim = ndim;
    x->itemsize = cb_dtypes[dtype].size;
    x->offset = 0;
    x->storage = NULL;
    x->data = NULL;
    return x;
}

cb_tensor *cb_handle_finish(cb_tensor *x) {
    int64_t numel = 1;
    bool contiguous = true;
    for (int d = x->ndim - 1; d >= 0; d--) {
        if (x->shape[d] != 1 && x->strides[d] != numel) contiguous = false;
        /* wraps only on the way to a size of 0, or where a caller has refused the shape */
        (void)__builtin_mul_overflow(numel, x->shape[d], &numel);
    }
    x->numel = numel;
    if (contiguous || numel == 0) x->flags |= CB_FLAG_CONTIGUOUS;
    x->data = x->storage->data ? (char *)x->storage->data + x->offset * x->itemsize : NULL;
    return x;
}

cb_tensor *cb_retain(cb_tensor *x) {
    if (x) __atomic_add_fetch(&x->refcount, 1, __ATOMIC_RELAXED);
    return x;
}

void cb_release(cb_tensor *x) {
    if (!x || __atomic_sub_fetch(&x->refcount, 1, __ATOMIC_ACQ_REL) > 0) return;
    cb_storage_release(x->storage);
    bool small = x->strides - x->shape == SMALL_NDIM;
    if (small && recycled_count < RECYCLED_MAX) {
        x->data = recycled;
        recycled = x;
        recycled_count++;
    } else {
        free(x);
    }
}

cb_tensor *cb_view_new(cb_tensor *x, int ndim, const int64_t *shape, const int64_t *strides, int64_t offset) {
    cb_tensor *y = cb_handle_new(x->dtype, x->device, ndim);
    if (!y) return NULL;
    if (ndim) { /* both may be NULL for 0-d views */
        memcpy(y->shape, shape, (size_t)ndim * sizeof *shape);
        memcpy(y->strides, strides, (size_t)ndim * sizeof *strides);
    }
    y->offset = offset;
    y->flags = x->flags & CB_FLAG_READONLY;
    y->storage = x->storage;
    __atomic_add_fetch(&y->storage->refcount, 1, __ATOMIC_RELAXED);
    return cb_handle_finish(y);
}

int64_t cb_numel_of(int ndim, const int64_t *shape) {
    int64_t n = 1;
    for (int d = 0; d < ndim; d++)
        if (shape[d] == 0) return 0;
    for (int d = 0; d < ndim; d++)
        if (__builtin_mul_overflow(n, shape[d], &n)) return -1;
    return n;
}

cb_tensor *cb_empty(int dtype, int device, int ndim, const int64_t *shape) {
    cb_tensor *x = cb_handle_new(dtype, device, ndim);
    if (!x) return NULL;
    int64_t stride = 1;
    for (int d = ndim - 1; d >= 0; d--) {
        if (shape[d] < 0) {
            cb_release(x);
            return cb_fail_null(CB_ERR_SHAPE, "empty: expected sizes of at least 0, got %s. Check the shape.",
                                cb_shape_text(ndim, shape));
        }
        x->shape[d] = shape[d];
        x->strides[d] = stride;
        if (__builtin_mul_overflow(stride, CB_MAX(shape[d], 1), &stride)) {
            cb_release(x);
            return cb_fail_null(CB_ERR_MEMORY,
                                "empty: expected a shape that fits in memory, got %s. Use a smaller shape.",
                                cb_shape_text(ndim, shape));
        }
    }
    int64_t numel = cb_numel_of(ndim, shape), nbytes;
    if (__builtin_mul_overflow(numel, (int64_t)x->itemsize, &nbytes)) {
        cb_release(x);
        return cb_fail_null(CB_ERR_MEMORY,
                            "empty: expected a shape that fits in memory, got %s. Use a smaller shape.",
                            cb_shape_text(ndim, shape));
    }
    x->storage = cb_storage_new(device, nbytes);
    if (!x->storage) {
        cb_release(x);
        return NULL;
    }
    x->numel = numel;
    x->flags = CB_FLAG_CONTIGUOUS;
    x->data = x->storage->data;
    return x;
}

/* Non-overlapping and dense: the elements fill a block of memory in some order of the dimensions. */
static bool dense_order(const cb_tensor *x, int *order) {
    for (int d = 0; d < x->ndim; d++) order[d] = d;
    for (int i = 1; i < x->ndim; i++) /* insertion sort by descending stride; stable */
        for (int j = i; j > 0 && x->strides[order[j]] > x->strides[order[j - 1]]; j--) {
            int t = order[j];
            order[j] = order[j - 1];
            order[j - 1] = t;
        }
    int64_t expected = 1;
    for (int i = x->ndim - 1; i >= 0; i--) {
        int d = order[i];
        if (x->shape[d] == 1) continue;
        if (x->strides[d] != expected) return false;
        expected *= x->shape[d];
    }
    return true;
}

cb_tensor *cb_empty_like(cb_tensor *x, int dtype, int device) {
    if (!x) return cb_fail_null(CB_ERR_NULL, "empty_like: no tensor");
    cb_tensor *y = cb_empty(dtype < 0 ? x->dtype : dtype, device < 0 ? x->device : device, x->ndim, x->shape);
    int order[CB_MAX_NDIM];
    if (!y || cb_is_contiguous(x) || !dense_order(x, order)) return y;
    int64_t stride = 1;
    for (int i = y->ndim - 1; i >= 0; i--) {
        y->strides[order[i]] = stride;
        stride *= y->shape[order[i]];
    }
    y->flags &= ~CB_FLAG_CONTIGUOUS;
    return cb_handle_finish(y);
}

cb_tensor *cb_as_meta(cb_tensor *x) {
    if (!x) return cb_fail_null(CB_ERR_NULL, "as_meta: no tensor");
    cb_tensor *y = cb_empty(x->dtype, cb_meta_for(x->device), x->ndim, x->shape);
    if (!y) return NULL;
    memcpy(y->strides, x->strides, (size_t)x->ndim * sizeof *x->strides);
    y->flags = x->flags & ~CB_FLAG_READONLY;
    return y;
}

cb_tensor *cb_from_memory(void *data, int dtype, int ndim, const int64_t *shape, const int64_t *strides,
                          int readonly, void (*deleter)(void *), void *context) {
    cb_tensor *x = cb_handle_new(dtype, CB_CPU, ndim);
    if (!x) return NULL;
    if (ndim) {
        memcpy(x->shape, shape, (size_t)ndim * sizeof *shape);
        memcpy(x->strides, strides, (size_t)ndim * sizeof *strides);
    }
    x->storage = cb_storage_new(CB_CPU, 0);
    if (!x->storage) {
        cb_release(x);
        return NULL;
    }
    x->storage->data = data;
    x->storage->nbytes = cb_numel_of(ndim, shape) * x->itemsize;
    x->storage->borrowed = true;
    x->storage->deleter = deleter;
    x->storage->context = context;
    if (readonly) x->flags |= CB_FLAG_READONLY;
    return cb_handle_finish(x);
}

cb_tensor *cb_from_bytes(const void *data, int dtype, int ndim, const int64_t *shape) {
    cb_tensor *x = cb_empty(dtype, CB_CPU, ndim, shape);
    if (x && x->numel) memcpy(x->data, data, (size_t)(x->numel * x->itemsize));
    return x;
}

/* ---- questions about handles ---- */

bool cb_same_shape(const cb_tensor *x, const cb_tensor *y) {
    return x->ndim == y->ndim && memcmp(x->shape, y->shape, (size_t)x->ndim * sizeof *x->shape) == 0;
}

int cb_check_writable(const char *op, const cb_tensor *out) {
    if (out->flags & CB_FLAG_READONLY)
        return cb_fail(CB_ERR_VALUE,
                       "%s: expected a writable tensor, got one over read-only memory. Write to a clone().",
                       op);
    for (int d = 0; d < out->ndim; d++)
        if (out->strides[d] == 0 && out->shape[d] > 1)
            return cb_fail(CB_ERR_VALUE,
                           "%s: expected one memory location an element, got an expanded tensor of shape %s. "
                           "Write to a clone().",
                           op, cb_shape_of(out));
    return CB_OK;
}

int cb_is_sole_owner(const cb_tensor *x) {
    return x->storage->refcount == 1 && !x->storage->borrowed && cb_is_contiguous(x);
}

bool cb_is_last_use(const cb_tensor *x) {
    return x->refcount == 1 && !(x->flags & CB_FLAG_WEAK) && cb_is_sole_owner(x);
}

bool cb_shares_storage(int n, cb_tensor *const *xs, int k) {
    for (int other = 0; other < n; other++)
        if (other != k && xs[other]->storage == xs[k]->storage) return true;
    return false;
}

static void byte_range(const cb_tensor *x, int64_t *low, int64_t *high) {
    int64_t first = x->offset, last = x->offset;
    for (int d = 0; d < x->ndim; d++) {
        int64_t span = (x->shape[d] - 1) * x->strides[d];
        if (span > 0)
            last += span;
        else
            first += span;
    }
    *low = first * x->itemsize;
    *high = (last + 1) * x->itemsize;
}

bool cb_overlaps(const cb_tensor *x, const cb_tensor *y) {
    if (x->storage != y->storage || x->numel == 0 || y->numel == 0 || !x->data) return false;
    if (x->offset == y->offset && x->dtype == y->dtype && cb_same_shape(x, y) &&
        memcmp(x->strides, y->strides, (size_t)x->ndim * sizeof *x->strides) == 0)
        return false;
    int64_t xl, xh, yl, yh;
    byte_range(x, &xl, &xh);
    byte_range(y, &yl, &yh);
    return xl < yh && yl < xh;
}
