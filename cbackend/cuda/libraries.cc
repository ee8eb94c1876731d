/* Finds and opens the libraries of libraries.h, once each. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "kernels.h"
#include "libraries.h"

namespace {

struct known { /* of CUDA 13 and of CUDA 12 */
    const char *name, *file[2], *wheel[2], *package[2];
};
const known libraries[CB_LIBRARY_COUNT] = {
    {"cublasLt",
     {"libcublasLt.so.13", "libcublasLt.so.12"},
     {"cu13", "cublas"},
     {"nvidia-cublas", "nvidia-cublas-cu12"}},
    {"cusolver",
     {"libcusolver.so.12", "libcusolver.so.11"},
     {"cu13", "cusolver"},
     {"nvidia-cusolver", "nvidia-cusolver-cu12"}},
    {"cufft", {"libcufft.so.12", "libcufft.so.11"}, {"cu13", "cufft"}, {"nvidia-cufft", "nvidia-cufft-cu12"}},
};

struct opened {
    std::once_flag once;
    void *handle = nullptr;
    std::string version, where;
};
opened found[CB_LIBRARY_COUNT];

struct symbol {
    const char *name;
    void **place;
};

/* the first of CUDA's two versions that the driver can run */
int first_version() {
#if defined(CB_EMULATE)
    return 0;
#else
    int driver = 0;
    return cudaDriverGetVersion(&driver) == cudaSuccess && driver >= 13000 ? 0 : 1;
#endif
}

std::vector<std::string> given_folders() {
    std::vector<std::string> folders;
    const char *given = getenv("FL_CUDA_LIBRARIES");
    std::string text = given ? given : "";
    for (size_t begin = 0; begin < text.size();) {
        size_t end = std::min(text.find(':', begin), text.size());
        if (end > begin) folders.push_back(text.substr(begin, end - begin) + "/");
        begin = end + 1;
    }
    return folders;
}

/* the paths to try for one of the two versions, best first */
std::vector<std::string> candidates(const known &k, int version) {
    std::vector<std::string> paths;
    for (const std::string &folder : given_folders()) paths.push_back(folder + k.file[version]);
#if !defined(CB_EMULATE)
    Dl_info info;
    if (dladdr((void *)cb_library_tf32, &info) && info.dli_fname) { /* site-packages/cbackend/this library */
        std::string path = info.dli_fname;
        size_t slash = path.rfind('/');
        std::string folder = slash == std::string::npos ? "." : path.substr(0, slash);
        paths.push_back(folder + "/../nvidia/" + k.wheel[version] + "/lib/" + k.file[version]);
    }
    paths.push_back(k.file[version]);
    paths.push_back(std::string("/usr/local/cuda/lib64/") + k.file[version]);
#endif
    return paths;
}

void open_library(int which, const std::vector<symbol> &symbols) {
    const known &k = libraries[which];
    opened &o = found[which];
    const char *given = getenv("FL_CUDA_LIBRARIES");
    if (given && !strcmp(given, "none")) {
        o.where = "switched off by FL_CUDA_LIBRARIES=none";
        return;
    }
    int first = first_version();
    o.where = std::string(k.file[first]) + " was not found. pip install " + k.package[first] +
              ", or name its folder in FL_CUDA_LIBRARIES";
    for (int version = first; version < 2 && !o.handle; version++)
        for (const std::string &path : candidates(k, version)) {
            o.handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
            if (o.handle) {
                o.where = path;
                break;
            }
        }
    for (const symbol &s : symbols) {
        if (!o.handle) return;
        *s.place = dlsym(o.handle, s.name);
        if (*s.place) continue;
        o.where += std::string(" has no ") + s.name;
        dlclose(o.handle);
        o.handle = nullptr;
    }
}

std::string dotted(int64_t major, int64_t minor, int64_t patch) {
    return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

} // namespace

#define CB_SYMBOL(member, name) {name, (void **)&lib.member}

const cb_cublaslt *cb_cublaslt_open() {
    static cb_cublaslt lib;
    opened &o = found[CB_CUBLASLT];
    std::call_once(o.once, [&] {
        open_library(CB_CUBLASLT,
                     {CB_SYMBOL(version, "cublasLtGetVersion"), CB_SYMBOL(create, "cublasLtCreate"),
                      CB_SYMBOL(desc_create, "cublasLtMatmulDescCreate"),
                      CB_SYMBOL(desc_destroy, "cublasLtMatmulDescDestroy"),
                      CB_SYMBOL(desc_set, "cublasLtMatmulDescSetAttribute"),
                      CB_SYMBOL(layout_create, "cublasLtMatrixLayoutCreate"),
                      CB_SYMBOL(layout_destroy, "cublasLtMatrixLayoutDestroy"),
                      CB_SYMBOL(layout_set, "cublasLtMatrixLayoutSetAttribute"),
                      CB_SYMBOL(preference_create, "cublasLtMatmulPreferenceCreate"),
                      CB_SYMBOL(preference_destroy, "cublasLtMatmulPreferenceDestroy"),
                      CB_SYMBOL(preference_set, "cublasLtMatmulPreferenceSetAttribute"),
                      CB_SYMBOL(heuristic, "cublasLtMatmulAlgoGetHeuristic"),
                      CB_SYMBOL(matmul, "cublasLtMatmul")});
        if (!o.handle) return;
        int64_t v = (int64_t)lib.version();
        o.version = dotted(v / 10000, v / 100 % 100, v % 100);
    });
    return o.handle ? &lib : nullptr;
}

const cb_cufft *cb_cufft_open() {
    static cb_cufft lib;
    opened &o = found[CB_CUFFT];
    std::call_once(o.once, [&] {
        open_library(CB_CUFFT,
                     {CB_SYMBOL(version, "cufftGetVersion"), CB_SYMBOL(create, "cufftCreate"),
                      CB_SYMBOL(destroy, "cufftDestroy"),
                      CB_SYMBOL(set_auto_allocation, "cufftSetAutoAllocation"),
                      CB_SYMBOL(make_plan, "cufftMakePlanMany64"), CB_SYMBOL(set_stream, "cufftSetStream"),
                      CB_SYMBOL(set_workspace, "cufftSetWorkArea"), CB_SYMBOL(exec_c2c, "cufftExecC2C"),
                      CB_SYMBOL(exec_r2c, "cufftExecR2C"), CB_SYMBOL(exec_c2r, "cufftExecC2R"),
                      CB_SYMBOL(exec_z2z, "cufftExecZ2Z"), CB_SYMBOL(exec_d2z, "cufftExecD2Z"),
                      CB_SYMBOL(exec_z2d, "cufftExecZ2D")});
        int v = 0;
        if (o.handle && !lib.version(&v)) o.version = dotted(v / 1000, v % 1000 / 100, v % 100);
    });
    return o.handle ? &lib : nullptr;
}

const cb_cusolver *cb_cusolver_open() {
    static cb_cusolver lib;
    opened &o = found[CB_CUSOLVER];
    std::call_once(o.once, [&] {
        std::vector<symbol> symbols = {CB_SYMBOL(version, "cusolverGetVersion"),
                                       CB_SYMBOL(create, "cusolverDnCreate"),
                                       CB_SYMBOL(set_stream, "cusolverDnSetStream")};
#define CB_EACH_DTYPE(member, real, complex, size)                                                          \
    {"cusolverDnS" real size, (void **)&lib.member[0]}, {"cusolverDnD" real size, (void **)&lib.member[1]}, \
        {"cusolverDnC" complex size, (void **)&lib.member[2]},                                              \
        {"cusolverDnZ" complex size, (void **)&lib.member[3]}
#define CB_ROUTINE(member, real, complex) \
    CB_EACH_DTYPE(member##_size, real, complex, "_bufferSize"), CB_EACH_DTYPE(member, real, complex, "")
        const symbol routines[] = {
            CB_ROUTINE(getrf, "getrf", "getrf"), CB_ROUTINE(potrf, "potrf", "potrf"),
            CB_ROUTINE(geqrf, "geqrf", "geqrf"), CB_ROUTINE(orgqr, "orgqr", "ungqr"),
            CB_ROUTINE(syevd, "syevd", "heevd"), CB_ROUTINE(gesvd, "gesvd", "gesvd"),
        };
        symbols.insert(symbols.end(), std::begin(routines), std::end(routines));
        open_library(CB_CUSOLVER, symbols);
        int v = 0;
        if (o.handle && !lib.version(&v)) o.version = dotted(v / 1000, v % 1000 / 100, v % 100);
    });
    return o.handle ? &lib : nullptr;
}

void *cb_library_context(int which) {
    static std::mutex lock;
    static std::map<std::pair<int, int>, void *> contexts; /* by library and device */
    std::lock_guard<std::mutex> guard(lock);
    void *&context = contexts[{which, cb_current_device()}];
    if (context) return context;
    int status =
        which == CB_CUBLASLT ? cb_cublaslt_open()->create(&context) : cb_cusolver_open()->create(&context);
    return cb_library_failed(libraries[which].name, status) ? nullptr : context;
}

int cb_library_describe(int which, const char *text[3]) {
    if (which < 0 || which >= CB_LIBRARY_COUNT) return 0;
    which == CB_CUBLASLT   ? (void)cb_cublaslt_open()
    : which == CB_CUSOLVER ? (void)cb_cusolver_open()
                           : (void)cb_cufft_open();
    text[0] = libraries[which].name;
    text[1] = found[which].version.c_str();
    text[2] = found[which].where.c_str();
    return 1;
}

int cb_library_failed(const char *call, int status) {
    if (status == 0) return CB_OK;
    return cb_fail(CB_ERR_INTERNAL,
                   "%s: expected the library's call to succeed, got its status %d. Set "
                   "FL_CUDA_LIBRARIES=none to do without.",
                   call, status);
}

static std::atomic<bool> tf32{false};
void cb_library_allow_tf32(int allow) { tf32 = allow != 0; }
bool cb_library_tf32() { return tf32; }
