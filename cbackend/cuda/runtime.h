/* What the two runtimes share: the real one (runtime.cu) and the emulated one (emulate_runtime.cc) both fill
 * a cb_device_api, and library.cu hands it to the core. */
#ifndef CB_RUNTIME_H
#define CB_RUNTIME_H

#include "../src/device.h"

extern const cb_host_api *cb_host;
/* the functions that talk to the driver; backend is filled in by library.cu. False and an error set when
 * there is no device */
bool cb_runtime_open(cb_device_api *api);

/* Statistics and size classes of the caching allocators. */
struct cb_memory_counts {
    int64_t allocated, peak, reserved, reserved_peak, allocations, frees, hits, driver_calls;
    void add(int64_t nbytes) {
        allocated += nbytes;
        allocations++;
        if (allocated > peak) peak = allocated;
    }
    void reserve(int64_t nbytes) {
        reserved += nbytes;
        driver_calls++;
        if (reserved > reserved_peak) reserved_peak = reserved;
    }
    void tell(int64_t *numbers) const {
        const int64_t all[] = {allocated,   peak,  reserved, reserved_peak,
                               allocations, frees, hits,     driver_calls};
        memcpy(numbers, all, sizeof all);
    }
};
#endif
