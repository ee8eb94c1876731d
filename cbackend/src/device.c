/* Devices other than the processor: opens the CUDA library at the first use, moves tensors between
 * devices, and serves the public cb_cuda_* functions.
 *
 * A tensor on CUDA exists only after the library was opened, so code that has one need not ask again. The
 * calling thread's device follows the tensors it works on: cb_cuda_backend sets it. */
#define _GNU_SOURCE /* dladdr */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "device.h"

#if defined(__APPLE__)
#define LIBRARY "libcbackend_cuda.dylib"
#else
#define LIBRARY "libcbackend_cuda.so"
#endif

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char given[4096], reason[600];
static const cb_device_api *opened;
static int tf32;
static _Thread_local int current; /* what cb_cuda_set_device said */
static _Thread_local int active = -1; /* what the library was told */

void cb_cuda_set_library(const char *path) { snprintf(given, sizeof given, "%s", path ? path : ""); }

static int fail_text(int code, const char *text) { return cb_fail(code, "%s", text); }

/* the folder that this library lies in, or "" */
static void beside(char *path, size_t size) {
    Dl_info info;
    *path = 0;
    if (!dladdr((void *)cb_cuda_set_library, &info) || !info.dli_fname) return;
    const char *slash = strrchr(info.dli_fname, '/');
    if (slash) snprintf(path, size, "%.*s%s", (int)(slash - info.dli_fname + 1), info.dli_fname, LIBRARY);
}

static void open_library(void) {
    char path[4096];
    const char *asked = given[0] ? given : getenv("FL_CUDA_LIBRARY");
    if (asked && *asked)
        snprintf(path, sizeof path, "%s", asked);
    else
        beside(path, sizeof path);
    void *library = *path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!library) {
        snprintf(reason, sizeof reason, "this build has no CUDA library (%.400s)",
                 *path ? dlerror() : LIBRARY);
        return;
    }
    cb_cuda_open_fn open_fn;
    *(void **)&open_fn = dlsym(library, "cb_cuda_open");
    if (!open_fn) {
        snprintf(reason, sizeof reason, "%.400s is not a CUDA library of this package", path);
        return;
    }
    static const cb_host_api template = {.version = CB_DEVICE_VERSION,
                                         .fail = fail_text,
                                         .op_info_of = cb_op_info_of,
                                         .alloc = cb_alloc,
                                         .free = cb_free,
                                         .empty = cb_empty,
                                         .release = cb_release};
    static cb_host_api host;
    host = template;
    host.cpu = cb_cpu;
    const cb_device_api *api = open_fn(&host);
    if (!api)
        snprintf(reason, sizeof reason, "%.500s", cb_error_message());
    else if (api->version != CB_DEVICE_VERSION)
        snprintf(reason, sizeof reason, "%.400s belongs to another version of this package", path);
    else if (api->count() == 0)
        snprintf(reason, sizeof reason, "the CUDA driver sees no device");
    else
        opened = api;
    if (opened) opened->allow_tf32(tf32);
}

static const cb_device_api *library(void) {
    pthread_once(&once, open_library);
    return opened;
}

static int activate(const cb_device_api *api, int index) {
    if (index == active) return CB_OK;
    CB_TRY(api->set_device(index));
    active = index;
    return CB_OK;
}

const cb_device_api *cb_device_open(const char *op, int device) {
    const cb_device_api *api = library();
    int index = device >> 8;
    if (!api) {
        cb_fail(CB_ERR_DEVICE,
                "%s: expected a CUDA device, got none: %s. Use device='cpu', or check "
                "functorch_like.cuda.is_available().",
                op, reason);
        return NULL;
    }
    if (index < 0 || index >= api->count()) {
        cb_fail(CB_ERR_DEVICE, "%s: expected a CUDA device from 0 to %d, got cuda:%d. Use one that is there.",
                op, api->count() - 1, index);
        return NULL;
    }
    return activate(api, index) ? NULL : api;
}

const cb_backend *cb_cuda_backend(int device) {
    activate(opened, device >> 8);
    return opened->backend;
}

/* ---- moving tensors ---- */

/* x's elements without gaps between them, so that they move as one run of bytes */
static cb_tensor *dense_of(cb_tensor *x) {
    cb_tensor *like = cb_empty_like(x, -1, CB_META);
    if (!like) return NULL;
    bool dense = !memcmp(like->strides, x->strides, (size_t)x->ndim * sizeof *x->strides);
    cb_release(like);
    return dense || cb_is_contiguous(x) ? cb_retain(x) : cb_clone(x);
}

static int move_bytes(int to_device, void *to, int from_device, const void *from, int64_t nbytes,
                      int queued) {
    bool to_cuda = (to_device & 255) == CB_CUDA, from_cuda = (from_device & 255) == CB_CUDA;
    if (to_cuda && from_cuda && to_device != from_device) {
        const cb_device_api *api = cb_device_open("to", to_device);
        return api->copy_between(to_device >> 8, to, from_device >> 8, from, nbytes);
    }
    const cb_device_api *api = cb_device_open("to", to_cuda ? to_device : from_device);
    int kind = to_cuda && from_cuda ? CB_COPY_ON_DEVICE : to_cuda ? CB_COPY_TO_DEVICE : CB_COPY_TO_HOST;
    return api->copy(kind, (to_cuda ? to_device : from_device) >> 8, to, from, nbytes, queued);
}

cb_tensor *cb_to_device(cb_tensor *x, int device) {
    if (!x) return cb_fail_null(CB_ERR_NULL, "to: no tensor");
    if (x->device == device) return cb_retain(x);
    if ((device & 255) == CB_META) return cb_empty_like(x, -1, device);
    if (cb_is_meta(x))
        return cb_fail_null(
            CB_ERR_DEVICE,
            "to: expected a tensor with data, got one on meta. Create it on the target device instead.");
    if ((device & 255) == CB_CUDA && !cb_device_open("to", device)) return NULL;
    cb_tensor *dense = dense_of(x), *y = dense ? cb_empty_like(dense, -1, device) : NULL;
    if (y && y->numel) {
        int queued = cb_is_pinned(dense);
        if (move_bytes(device, y->data, x->device, dense->data, y->numel * y->itemsize, queued)) {
            cb_release(y);
            y = NULL;
        }
    }
    cb_release(dense);
    return y;
}

static void free_pinned(void *data) {
    if (opened) opened->pinned_free(data);
}

cb_tensor *cb_pin_memory(cb_tensor *x) {
    if (!x) return cb_fail_null(CB_ERR_NULL, "pin_memory: no tensor");
    if ((x->device & 255) != CB_CPU)
        return cb_fail_null(CB_ERR_DEVICE, "pin_memory: expected a tensor on the cpu. Move it there first.");
    if (cb_is_pinned(x)) return cb_retain(x);
    const cb_device_api *api = cb_device_open("pin_memory", CB_CUDA | current << 8);
    if (!api) return NULL;
    cb_tensor *like = cb_empty_like(x, -1, CB_META);
    void *data = like ? api->pinned_alloc(CB_MAX(x->numel * x->itemsize, 1)) : NULL;
    cb_tensor *y =
        data ? cb_from_memory(data, x->dtype, x->ndim, x->shape, like->strides, 0, free_pinned, data) : NULL;
    cb_release(like);
    if (y && y->numel && cb_cpu->copy(y, x)) {
        cb_release(y);
        y = NULL;
    }
    return y;
}

int cb_is_pinned(const cb_tensor *x) { return x->storage && x->storage->deleter == free_pinned; }

/* ---- the public functions ---- */

int cb_cuda_available(void) { return library() != NULL; }
int cb_cuda_device_count(void) { return library() ? opened->count() : 0; }
const char *cb_cuda_reason(void) { return library() ? "" : reason; }
const char *cb_cuda_library_name(void) { return library() ? opened->name : ""; }
int cb_cuda_current_device(void) { return current; }

/* the library with device `index`, or the current one for -1, made the thread's */
static const cb_device_api *at(int *index) {
    if (*index < 0) *index = current;
    return cb_device_open("cuda", CB_CUDA | *index << 8);
}

int cb_cuda_set_device(int index) {
    if (!at(&index)) return cb_error_code();
    current = index;
    return CB_OK;
}

#define WITH_DEVICE(call)                         \
    do {                                          \
        const cb_device_api *api = at(&index);    \
        return api ? api->call : cb_error_code(); \
    } while (0)

int cb_cuda_properties(int index, cb_device_properties *out) { WITH_DEVICE(properties(index, out)); }
int cb_cuda_memory(int index, int64_t *numbers) { WITH_DEVICE(memory(index, numbers)); }
int cb_cuda_synchronize(int index) { WITH_DEVICE(synchronize(index)); }
int cb_cuda_stream_set(int index, void *stream) { WITH_DEVICE(stream_set(index, stream)); }
int cb_cuda_stream_synchronize(int index, void *stream) { WITH_DEVICE(stream_synchronize(index, stream)); }
int cb_cuda_event_record(int index, void *event, void *stream) {
    WITH_DEVICE(event_record(index, event, stream));
}
int cb_cuda_event_synchronize(int index, void *event) { WITH_DEVICE(event_synchronize(index, event)); }
int cb_cuda_event_wait(int index, void *event, void *stream) {
    WITH_DEVICE(event_wait(index, event, stream));
}

int cb_cuda_library_info(int which, const char *text[3]) {
    return library() ? opened->describe_library(which, text) : 0;
}
int cb_cuda_allow_tf32(int allow) {
    if (allow == 0 || allow == 1) tf32 = allow;
    if (opened) opened->allow_tf32(tf32);
    return tf32;
}
int cb_cuda_record_stream(cb_tensor *x, void *stream) {
    if (!x) return cb_fail(CB_ERR_NULL, "record_stream: no tensor");
    if (!cb_is_cuda(x))
        return cb_fail(CB_ERR_DEVICE, "record_stream: expected a CUDA tensor, got one on the cpu.");
    const cb_device_api *api = cb_device_open("record_stream", x->device);
    if (!api || !x->storage->data) return api ? CB_OK : cb_error_code();
    return api->record_stream(x->device >> 8, x->storage->data, stream);
}

void cb_cuda_reset_peak_memory(int index) {
    const cb_device_api *api = library() ? at(&index) : NULL;
    if (api) api->reset_peak(index);
}
void cb_cuda_empty_cache(int index) {
    const cb_device_api *api = library() ? at(&index) : NULL;
    if (api) api->empty_cache(index);
}
void cb_cuda_stream_free(int index, void *stream) {
    if (opened && stream) opened->stream_free(index, stream);
}
void cb_cuda_event_free(int index, void *event) {
    if (opened && event) opened->event_free(index, event);
}
void *cb_cuda_stream_current(int index) {
    const cb_device_api *api = at(&index);
    return api ? api->stream_current(index) : NULL;
}
void *cb_cuda_stream_new(int index, int priority) {
    const cb_device_api *api = at(&index);
    void *stream = NULL;
    return api && !api->stream_new(index, priority, &stream) ? stream : NULL;
}
void *cb_cuda_event_new(int index, int timing) {
    const cb_device_api *api = at(&index);
    void *event = NULL;
    return api && !api->event_new(index, timing, &event) ? event : NULL;
}
int cb_cuda_stream_done(int index, void *stream) {
    const cb_device_api *api = at(&index);
    int done = 0;
    return !api || api->stream_query(index, stream, &done) ? -1 : done;
}
int cb_cuda_event_done(int index, void *event) {
    const cb_device_api *api = at(&index);
    int done = 0;
    return !api || api->event_query(index, event, &done) ? -1 : done;
}
double cb_cuda_event_elapsed(int index, void *start, void *end) {
    const cb_device_api *api = at(&index);
    double milliseconds = 0;
    return !api || api->event_elapsed(index, start, end, &milliseconds) ? -1 : milliseconds;
}
