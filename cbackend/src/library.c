/* Start-up: picks the kernel table for this processor, or the one that was asked for. */
#include "device.h"
#include "internal.h"

#if defined(CB_LEVELS_X86)
extern const cb_backend cb_cpu_v2, cb_cpu_v3, cb_cpu_v4;
#else
extern const cb_backend cb_cpu_base;
#endif

const cb_backend *cb_cpu;

#if defined(CB_LEVELS_X86)
static const cb_backend *const levels[] = {
#if defined(CB_LEVEL_v4)
    &cb_cpu_v4,
#endif
#if defined(CB_LEVEL_v3)
    &cb_cpu_v3,
#endif
#if defined(CB_LEVEL_v2)
    &cb_cpu_v2,
#endif
};
static bool supported(int k) {
    __builtin_cpu_init();
    bool v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
    bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
              __builtin_cpu_supports("bmi2");
    bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
              __builtin_cpu_supports("avx512cd");
    return levels[k]->name[1] == '4' ? v4 : levels[k]->name[1] == '3' ? v3 : v2;
}
#else
static const cb_backend *const levels[] = {&cb_cpu_base};
static bool supported(int k) { return k == 0; }
#endif

int cb_init(const char *level) {
    enum { COUNT = sizeof levels / sizeof *levels };
    char known[64] = "";
    for (int k = 0; k < COUNT; k++) {
        if (level && strcmp(level, levels[k]->name)) continue;
        if (supported(k)) {
            cb_cpu = levels[k];
            return CB_OK;
        }
        if (level)
            return cb_fail(
                CB_ERR_UNSUPPORTED,
                "FL_CPU_LEVEL: expected a level this processor has, got %s. Unset it, or name a lower one.",
                level);
    }
    for (int k = COUNT - 1; k >= 0; k--) {
        strcat(known, levels[k]->name);
        if (k) strcat(known, ", ");
    }
    return cb_fail(CB_ERR_UNSUPPORTED,
                   "FL_CPU_LEVEL: expected one of %s, got %s. Unset it to let the library choose.", known,
                   level ? level : "a processor below all of them");
}

const char *cb_cpu_level(void) { return cb_cpu ? cb_cpu->name : ""; }

const cb_backend *cb_backend_of(const cb_tensor *x) {
    return (x->device & 255) == CB_CUDA ? cb_cuda_backend(x->device) : cb_cpu;
}
