/* A stand-in for cuFFT (standin.h): the definition, in double. */
#include <vector>

#include "standin.h"

typedef std::complex<double> number;
enum { R2C = 0x2a, C2R = 0x2c, C2C = 0x29, D2Z = 0x6a, Z2D = 0x6c, Z2Z = 0x69 };

struct plan {
    bool live = false, planned = false, own_workspace = true, has_stream = false;
    int type = 0;
    long long n = 0, in_stride = 0, in_distance = 0, out_stride = 0, out_distance = 0, batch = 0;
    size_t size = 0;
    void *workspace = nullptr;
};
static std::vector<plan> plans;

static plan *plan_of(int number_) {
    CHECK(number_ >= 0 && number_ < (int)plans.size() && plans[(size_t)number_].live);
    return &plans[(size_t)number_];
}

STANDIN int cufftGetVersion(int *version) {
    *version = 12000;
    return 0;
}
STANDIN int cufftCreate(int *out) {
    *out = (int)plans.size();
    plans.push_back(plan());
    plans.back().live = true;
    return 0;
}
STANDIN int cufftDestroy(int number_) {
    plan_of(number_)->live = false;
    return 0;
}
STANDIN int cufftSetAutoAllocation(int number_, int allocate) {
    CHECK(!plan_of(number_)->planned);
    plan_of(number_)->own_workspace = allocate != 0;
    return 0;
}
STANDIN int cufftMakePlanMany64(int number_, int rank, long long *n, long long *in_embed, long long in_stride,
                                long long in_distance, long long *out_embed, long long out_stride,
                                long long out_distance, int type, long long batch, size_t *workspace) {
    plan *p = plan_of(number_);
    CHECK(!p->planned && rank == 1 && *n >= 1 && batch >= 1);
    CHECK(in_embed && out_embed); /* NULL would mean dense lines, whatever the strides */
    CHECK(type == R2C || type == C2R || type == C2C || type == D2Z || type == Z2D || type == Z2Z);
    CHECK(in_stride >= 1 && out_stride >= 1 && in_distance >= 1 && out_distance >= 1);
    p->planned = true;
    p->type = type;
    p->n = *n;
    p->in_stride = in_stride;
    p->in_distance = in_distance;
    p->out_stride = out_stride;
    p->out_distance = out_distance;
    p->batch = batch;
    p->size = *workspace = *n % 2 ? 0 : 512 + (size_t)*n;
    return 0;
}
STANDIN int cufftSetStream(int number_, void *) {
    plan_of(number_)->has_stream = true;
    return 0;
}
STANDIN int cufftSetWorkArea(int number_, void *workspace) {
    CHECK(!plan_of(number_)->own_workspace);
    plan_of(number_)->workspace = workspace;
    return 0;
}

template <typename R> static int run(int number_, int type, const void *in, void *out, int direction) {
    plan *p = plan_of(number_);
    CHECK(p->planned && p->type == type && p->has_stream && !p->own_workspace);
    CHECK(direction == 1 || direction == -1);
    use_workspace(p->workspace, p->size);
    p->workspace = nullptr; /* given for each call */
    bool from_real = type == R2C || type == D2Z, to_real = type == C2R || type == Z2D;
    long long n = p->n, held = n / 2 + 1;
    CHECK(aligned(in, from_real ? sizeof(R) : 2 * sizeof(R)));
    CHECK(aligned(out, to_real ? sizeof(R) : 2 * sizeof(R)));
    std::vector<number> line((size_t)n), result((size_t)n);
    for (long long b = 0; b < p->batch; b++) {
        for (long long i = 0; i < n; i++) {
            bool mirrored = to_real && i >= held;
            long long at = b * p->in_distance + (mirrored ? n - i : i) * p->in_stride;
            number z = from_real ? number(((const R *)in)[at]) : number(((const std::complex<R> *)in)[at]);
            line[(size_t)i] = mirrored ? std::conj(z) : z;
        }
        for (long long k = 0; k < n; k++) {
            number sum = 0;
            for (long long i = 0; i < n; i++)
                sum +=
                    line[(size_t)i] * std::polar(1.0, direction * 2 * M_PI * (double)(i * k % n) / (double)n);
            result[(size_t)k] = sum;
        }
        for (long long k = 0; k < (from_real ? held : n); k++) {
            long long at = b * p->out_distance + k * p->out_stride;
            if (to_real)
                ((R *)out)[at] = (R)result[(size_t)k].real();
            else
                ((std::complex<R> *)out)[at] = std::complex<R>(result[(size_t)k]);
        }
    }
    standin_calls++;
    return 0;
}
STANDIN int cufftExecC2C(int p, void *in, void *out, int direction) {
    return run<float>(p, C2C, in, out, direction);
}
STANDIN int cufftExecZ2Z(int p, void *in, void *out, int direction) {
    return run<double>(p, Z2Z, in, out, direction);
}
STANDIN int cufftExecR2C(int p, void *in, void *out) { return run<float>(p, R2C, in, out, -1); }
STANDIN int cufftExecD2Z(int p, void *in, void *out) { return run<double>(p, D2Z, in, out, -1); }
STANDIN int cufftExecC2R(int p, void *in, void *out) { return run<float>(p, C2R, in, out, 1); }
STANDIN int cufftExecZ2D(int p, void *in, void *out) { return run<double>(p, Z2D, in, out, 1); }
