/* In front of the wrappers that cffi generates (build.py puts them behind this). */
#include "cbackend.h"
#include "handle.h"
#include "record_calls.h"

#define PyInit__cffi cb_generated_module

/* A wrapper lets other threads run while it calls the core. Doing that for a handful of numbers costs more
 * than it gives: 50 ns of a call of 350. So build.py makes those that take tensors ask here first. */
static inline int cb_is_brief(int count, cb_tensor **tensors) {
    for (int i = 0; i < count; i++)
        if (tensors[i] && (tensors[i]->device != CB_CPU || tensors[i]->numel > CB_BRIEF_NUMEL)) return 0;
    return 1;
}

#define CB_BEGIN_ALLOW_THREADS(...) \
    {                               \
        PyThreadState *_save = (__VA_ARGS__) ? NULL : PyEval_SaveThread();
#define CB_END_ALLOW_THREADS                \
    if (_save) PyEval_RestoreThread(_save); \
    }
