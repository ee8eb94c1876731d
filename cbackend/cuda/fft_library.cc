/* Fourier transforms by cuFFT: plans are kept, their workspace comes from our allocator for each call. */
#include "kernels.h"

#include <map>
#include <mutex>
#include <tuple>

#include "fft_library.h"
#include "libraries.h"

namespace {

enum { MOST_PLANS = 64 };

struct plan {
    int number;
    size_t workspace;
};
typedef std::tuple<int, int, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t> question;
std::mutex lock;
std::map<question, plan> plans;

int type_of(const cb_fft_lines &l) {
    static const int types[2][3] = {{CB_CUFFT_C2C, CB_CUFFT_R2C, CB_CUFFT_C2R},
                                    {CB_CUFFT_Z2Z, CB_CUFFT_D2Z, CB_CUFFT_Z2D}};
    return types[l.wide][l.kind];
}

int plan_locked(const cb_cufft *lib, const cb_fft_lines &l, plan *out) {
    question q(cb_current_device(), type_of(l), l.n, l.lines, l.in_stride, l.in_distance, l.out_stride,
               l.out_distance);
    auto found = plans.find(q);
    if (found != plans.end()) {
        *out = found->second;
        return CB_OK;
    }
    if (plans.size() >= MOST_PLANS) {
        for (auto &entry : plans) lib->destroy(entry.second.number);
        plans.clear();
    }
    /* sizes of one dimension embed themselves: the library looks at them only to know that the strides
     * count */
    long long n = l.n, embed = l.n;
    CB_TRY(cb_library_failed("fft (cufft)", lib->create(&out->number)));
    int status = lib->set_auto_allocation(out->number, 0);
    if (!status)
        status = lib->make_plan(out->number, 1, &n, &embed, l.in_stride, l.in_distance, &embed, l.out_stride,
                                l.out_distance, type_of(l), l.lines, &out->workspace);
    if (status) lib->destroy(out->number);
    CB_TRY(cb_library_failed("fft (cufft)", status));
    plans[q] = *out;
    return CB_OK;
}

} // namespace

bool cb_library_has_fft() { return cb_cufft_open() != nullptr; }

int cb_library_fft(const cb_fft_lines &l, void *in, void *out) {
    const cb_cufft *lib = cb_cufft_open();
    std::lock_guard<std::mutex> guard(lock); /* a plan has one stream and one workspace at a time */
    plan p;
    CB_TRY(plan_locked(lib, l, &p));
    cb_scratch workspace((int64_t)p.workspace);
    if (!workspace.ok()) return CB_ERR_MEMORY;
    int status = lib->set_stream(p.number, cb_stream());
    if (!status && p.workspace) status = lib->set_workspace(p.number, workspace.data);
    CB_TRY(cb_library_failed("fft (cufft)", status));
    return cb_library_call("fft (cufft)", [=] {
        int direction = l.forward ? CB_CUFFT_FORWARD : CB_CUFFT_INVERSE;
        switch (l.kind) {
            case CB_FFT_C2C: return (l.wide ? lib->exec_z2z : lib->exec_c2c)(p.number, in, out, direction);
            case CB_FFT_R2C: return (l.wide ? lib->exec_d2z : lib->exec_r2c)(p.number, in, out);
            default: return (l.wide ? lib->exec_z2d : lib->exec_c2r)(p.number, in, out);
        }
    });
}
