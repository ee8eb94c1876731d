/* OpenBLAS, opened at first use: loading it costs milliseconds that an import should not pay.
 * It is told to use one thread; the work is partitioned by cb_parallel. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

static char *library_path;
static void *library;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

int cb_load_blas(const char *path) {
    pthread_mutex_lock(&mutex);
    free(library_path);
    library_path = path ? strdup(path) : NULL;
    pthread_mutex_unlock(&mutex);
    return CB_OK;
}

static void *open_library(void) {
    if (!library_path) return NULL;
    const char *threads = getenv("OPENBLAS_NUM_THREADS");
    char *saved = threads ? strdup(threads) : NULL;
    setenv("OPENBLAS_NUM_THREADS", "1", 1); /* read while loading: no pool is started */
    void *handle = dlopen(library_path, RTLD_NOW | RTLD_LOCAL);
    if (saved)
        setenv("OPENBLAS_NUM_THREADS", saved, 1);
    else
        unsetenv("OPENBLAS_NUM_THREADS");
    free(saved);
    return handle;
}

void *cb_blas_symbol(const char *name) {
    pthread_mutex_lock(&mutex);
    if (!library) library = open_library();
    pthread_mutex_unlock(&mutex);
    if (!library) {
        cb_fail(CB_ERR_INTERNAL, "OpenBLAS: expected the library at %s, got %s. Install scipy-openblas32.",
                library_path ? library_path : "(no path set)", library_path ? dlerror() : "no path");
        return NULL;
    }
    char prefixed[96];
    snprintf(prefixed, sizeof prefixed, "scipy_%s", name);
    void *symbol = dlsym(library, prefixed);
    if (!symbol) symbol = dlsym(library, name);
    if (!symbol)
        cb_fail(CB_ERR_INTERNAL,
                "OpenBLAS: expected the routine %s, got a library without it. Reinstall scipy-openblas32.",
                name);
    return symbol;
}
