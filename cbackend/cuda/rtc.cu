/* Fused chains as kernels of their own: C++ is written from the chain and the formulas of ops.def, compiled
 * by NVRTC (opened when it is first needed), loaded through the driver and kept, in memory and on disk.
 *
 * The first launch of a chain compiles it, which takes tenths of a second; chains of fewer than SMALL items
 * are not worth that. Without NVRTC, or where it fails, chains are interpreted (fused.cu), and a line on
 * stderr says so once. FL_CUDA_RTC=0 turns it off, =1 compiles small chains too; FL_NVRTC_LIBRARY names the
 * library; FL_CUDA_RTC_CACHE names the folder of compiled kernels (empty: none), ~/.cache/functorch-like/cuda
 * else. */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "chain.h"
#include "pack.h"
#include "rtc_arguments.h"
#include "rtc_sources.h" /* generated: cb_rtc_names, cb_rtc_texts, CB_RTC_FILES */
#include "runtime.h"

using namespace cb_chains;

enum { SMALL = 1 << 14, VERSION = 1 };

/* ---- the libraries, as far as they are used ---- */
typedef struct nvrtc_program *program_handle;
typedef void *driver_handle; /* CUmodule, CUfunction */
static struct {
    int (*version)(int *, int *);
    int (*create)(program_handle *, const char *, const char *, int, const char *const *,
                  const char *const *);
    int (*compile)(program_handle, int, const char *const *);
    int (*log_size)(program_handle, size_t *);
    int (*log)(program_handle, char *);
    int (*image_size)(program_handle, size_t *);
    int (*image)(program_handle, char *);
    int (*destroy)(program_handle *);
    int (*load)(driver_handle *, const void *, unsigned, void *, void *);
    int (*function)(driver_handle *, driver_handle, const char *);
    int (*launch)(driver_handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                  cudaStream_t, void **, void **);
    int major, minor;
} lib;

static std::mutex lock;
static bool opened, usable;

static bool complain(const std::string &what) {
    static bool done;
    if (!done)
        fprintf(
            stderr,
            "functorch-like: chains of elementwise operations on CUDA are interpreted, not compiled: %s\n",
            what.c_str());
    done = true;
    return false;
}

template <typename F> static bool find(void *library, const char *name, F *to) {
    *reinterpret_cast<void **>(to) = dlsym(library, name);
    return *to || complain(std::string("there is no ") + name);
}

static bool open_libraries() {
    std::string tried = getenv("FL_NVRTC_LIBRARY") ? getenv("FL_NVRTC_LIBRARY") : "";
    void *nvrtc = tried.empty() ? nullptr : dlopen(tried.c_str(), RTLD_NOW | RTLD_LOCAL);
    for (const char *name : {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"})
        if (!nvrtc && tried.empty()) nvrtc = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!nvrtc)
        return complain(
            "NVRTC was not found. Install it (pip install nvidia-cuda-nvrtc) and put its folder into "
            "LD_LIBRARY_PATH, or name the file in FL_NVRTC_LIBRARY");
#if defined(CB_EMULATE)
    lib.load = cuModuleLoadDataEx;
    lib.function = cuModuleGetFunction;
    lib.launch = cuLaunchKernel;
#else
    void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!driver) return complain("there is no libcuda.so.1");
    if (!find(driver, "cuModuleLoadDataEx", &lib.load) ||
        !find(driver, "cuModuleGetFunction", &lib.function) || !find(driver, "cuLaunchKernel", &lib.launch))
        return false;
#endif
    return find(nvrtc, "nvrtcVersion", &lib.version) && find(nvrtc, "nvrtcCreateProgram", &lib.create) &&
           find(nvrtc, "nvrtcCompileProgram", &lib.compile) &&
           find(nvrtc, "nvrtcGetProgramLogSize", &lib.log_size) &&
           find(nvrtc, "nvrtcGetProgramLog", &lib.log) && find(nvrtc, "nvrtcGetCUBINSize", &lib.image_size) &&
           find(nvrtc, "nvrtcGetCUBIN", &lib.image) && find(nvrtc, "nvrtcDestroyProgram", &lib.destroy) &&
           (!lib.version(&lib.major, &lib.minor) || complain("NVRTC does not tell its version"));
}

/* ---- the source ---- */
/* formulas of real operands, as text: M and T are macros of rtc.h */
static const char *formula_of(int family, int op) {
    if (family == CB_FAMILY_UNARY) {
        switch (op) {
#define UNARY_REAL(name, out, value) \
    case CB_UNARY_##name: return #value;
#include "ops.def"
        }
    } else if (family == CB_FAMILY_BINARY) {
        switch (op) {
#define BINARY_REAL(name, out, value) \
    case CB_BINARY_##name: return #value;
#include "ops.def"
        }
    } else {
        switch (op) {
#define TERNARY_REAL(name, out, value) \
    case CB_TERNARY_##name: return #value;
#include "ops.def"
        }
    }
    return nullptr;
}

static const char *storage_of(int dtype) {
    switch (dtype) {
#define CB_CASE(id, S) \
    case id: return #S;
        CB_EACH_STORAGE(CB_CASE)
#undef CB_CASE
    }
    return nullptr;
}

enum kind : char {
    NUMBER = 'n',
    SINGLE = 's',
    MANY = 'm'
}; /* of the host, one item of the device, or more */

struct form { /* all that the source depends on, but for the steps */
    bool dense;
    int parts;
    kind kinds[CB_FUSED_TENSORS];
};

static bool is_single(const chain &c, int p) {
    for (int d = 0; d < c.walk.ndim; d++)
        if (c.walk.strides[p][d] && c.walk.shape[d] > 1) return false;
    return p >= c.nout;
}

static form form_of(const chain &c) {
    form f = {true, c.nparts, {}};
    for (int p = 0; p < f.parts; p++) {
        f.kinds[p] = c.parts[p].number ? NUMBER : is_single(c, p) ? SINGLE : MANY;
        if (f.kinds[p] != MANY) continue;
        int size = cb_dtypes[c.parts[p].dtype].size * cb_each::ITEMS;
        f.dense = f.dense && c.walk.dense(p) && (uintptr_t)c.parts[p].data % (size < 16 ? size : 16) == 0;
    }
    return f;
}

static std::string text(const char *format, ...) __attribute__((format(printf, 1, 2)));
static std::string text(const char *format, ...) {
    char buffer[400];
    va_list args;
    va_start(args, format);
    vsnprintf(buffer, sizeof buffer, format, args);
    va_end(args);
    return buffer;
}

/* Each step is a value s<j> of item j; operands are x<p>, results y<p>. */
static std::string source_of(const chain &c, const form &f) {
    std::string functions, singles, declared, body, loads, stores;
    const char *suffix = f.dense ? "[j]" : "";
    for (int j = 0; j < c.nsteps; j++) {
        const step &s = c.steps[j];
        std::string in[3];
        for (int k = 0; k < s.nin; k++) {
            int p = c.nout + s.in[k];
            in[k] = s.in[k] < 0            ? text("s%d", -1 - s.in[k])
                    : f.kinds[p] == NUMBER ? text("a.value[%d]", p)
                                           : text("x%d%s", p, f.kinds[p] == MANY ? suffix : "");
        }
        std::string value;
        if (s.family == WHERE) {
            value = in[0] + " != 0 ? " + in[1] + " : " + in[2];
        } else if (s.family == CB_FAMILY_CAST) {
            value = std::string("cb_rtc_rounded<") + storage_of(s.to) + ">(" + in[0] + ")";
        } else {
            const char *formula = formula_of(s.family, s.op);
            if (!formula) return "";
            static const char *const parameters[] = {"float x", "float x, float y",
                                                     "float x, float y, float z"};
            functions +=
                text("CB_DEV float f%d(%s) { return (float)(", j, parameters[s.nin - 1]) + formula + "); }\n";
            value = text("f%d(", j) + in[0];
            for (int k = 1; k < s.nin; k++) value += ", " + in[k];
            value += ")";
        }
        body += text("const float s%d = cb_rtc_step(", j) + value + ");\n";
        if (s.out >= 0) body += text("y%d%s = s%d;\n", s.out, suffix, j);
    }
    const char *index = c.walk.small ? "uint32_t" : "int64_t";
    for (int p = 0; p < f.parts; p++) {
        bool result = p < c.nout;
        const char *type = storage_of(c.parts[p].dtype);
        if (f.kinds[p] == SINGLE)
            singles += text("const float x%d = cb_to<float>(*(const %s *)a.data[%d]);\n", p, type, p);
        if (f.kinds[p] != MANY) continue;
        std::string place;
        for (int d = 0; d < c.walk.ndim && !f.dense; d++)
            place += text("%si%d * a.strides[%d][%d]", d ? " + " : "", d, p, d);
        if (f.dense)
            (result ? stores : loads) += text("cb_rtc_%s<%s>(a.data[%d], i, count, %c%d);\n",
                                              result ? "store" : "load", type, p, result ? 'y' : 'x', p);
        else if (result)
            stores += text("((%s *)a.data[%d])[", type, p) + place + text("] = cb_to<%s>(y%d);\n", type, p);
        else
            loads += text("const float x%d = cb_to<float>(((const %s *)a.data[%d])[", p, type, p) + place +
                     "]);\n";
        if (f.dense || result)
            declared += text("float %c%d%s;\n", result ? 'y' : 'x', p, f.dense ? "[cb_each::ITEMS]" : "");
    }
    std::string all =
        "#include \"rtc.h\"\n" + functions +
        "extern \"C\" __global__ void __launch_bounds__(cb_each::BLOCK) chain(const cb_rtc_arguments a) {\n" +
        singles;
    if (f.dense) {
        all +=
            "for (int64_t i = ((int64_t)blockIdx.x * cb_each::BLOCK + threadIdx.x) * cb_each::ITEMS; i < "
            "a.numel;\n"
            "     i += (int64_t)gridDim.x * cb_each::BLOCK * cb_each::ITEMS) {\n"
            "const int count = a.numel - i < cb_each::ITEMS ? (int)(a.numel - i) : (int)cb_each::ITEMS;\n" +
            declared + loads + "#pragma unroll\nfor (int j = 0; j < cb_each::ITEMS; j++) {\n" + body + "}\n" +
            stores;
    } else {
        all += "for (int64_t i = (int64_t)blockIdx.x * cb_each::BLOCK + threadIdx.x; i < a.numel;\n"
               "     i += (int64_t)gridDim.x * cb_each::BLOCK) {\n" +
               text("%s rest = (%s)i;\n", index, index);
        for (int d = c.walk.ndim - 1; d > 0; d--)
            all += text("const int64_t i%d = rest %% (%s)a.shape[%d]; rest /= (%s)a.shape[%d];\n", d, index,
                        d, index, d);
        all += "const int64_t i0 = rest;\n" + declared + loads + body + stores;
    }
    all += "}\n}\n";
#if defined(CB_EMULATE)
    all += "extern \"C\" __attribute__((visibility(\"default\"))) void chain_emulated(void *a) {\n"
           "    chain(*static_cast<cb_rtc_arguments *>(a));\n}\n"
           "extern \"C\" __attribute__((visibility(\"default\"))) const size_t chain_size = "
           "sizeof(cb_rtc_arguments);\n";
#endif
    return all;
}

/* ---- compiled kernels on disk: a file is the key, its length before it, and the image ---- */
static uint64_t hash(const std::string &text, uint64_t h) { /* FNV-1a */
    for (unsigned char c : text) h = (h ^ c) * 0x100000001b3u;
    return h;
}

static std::string cache_folder() {
    if (const char *named = getenv("FL_CUDA_RTC_CACHE")) return named;
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && *cache) return std::string(cache) + "/functorch-like/cuda";
    return home && *home ? std::string(home) + "/.cache/functorch-like/cuda" : "";
}

static std::string cache_path(const std::string &folder, const std::string &key) {
    return folder + text("/%016llx%016llx.bin", (unsigned long long)hash(key, 0xcbf29ce484222325u),
                         (unsigned long long)hash(key, 0x9ae16a3b2f90404fu));
}

static std::string read_cached(const std::string &key) {
    std::string folder = cache_folder(), image;
    FILE *in = folder.empty() ? nullptr : fopen(cache_path(folder, key).c_str(), "rb");
    if (!in) return "";
    uint64_t length = 0, size = 0;
    std::string found(key.size(), 0);
    bool right = fread(&length, sizeof length, 1, in) == 1 && length == key.size() &&
                 fread(&found[0], 1, found.size(), in) == found.size() && found == key &&
                 fread(&size, sizeof size, 1, in) == 1 && size > 0 && size < (64 << 20);
    if (right) {
        image.resize(size);
        uint64_t sum = 0;
        right = fread(&image[0], 1, size, in) == size && fread(&sum, sizeof sum, 1, in) == 1 &&
                sum == hash(image, 0xcbf29ce484222325u);
    }
    fclose(in);
    return right ? image : "";
}

static void write_cached(const std::string &key, const std::string &image) {
    std::string folder = cache_folder();
    if (folder.empty()) return;
    for (size_t at = folder.find('/', 1);; at = folder.find('/', at + 1)) { /* and the folders above */
        if (mkdir(folder.substr(0, at).c_str(), 0700) && errno != EEXIST) return;
        if (at == std::string::npos) break;
    }
    std::string path = cache_path(folder, key), draft = path + text(".%ld.tmp", (long)getpid());
    FILE *out = fopen(draft.c_str(), "wb");
    if (!out) return;
    uint64_t length = key.size(), size = image.size(), sum = hash(image, 0xcbf29ce484222325u);
    bool right = fwrite(&length, sizeof length, 1, out) == 1 &&
                 fwrite(key.data(), 1, key.size(), out) == key.size() &&
                 fwrite(&size, sizeof size, 1, out) == 1 && fwrite(image.data(), 1, size, out) == size &&
                 fwrite(&sum, sizeof sum, 1, out) == 1;
    right = !fclose(out) && right;
    if (!right || rename(draft.c_str(), path.c_str())) unlink(draft.c_str());
}

/* ---- compiling ---- */
#if defined(CB_EMULATE)
static std::string emulator() { /* the library that emulated kernels are linked to */
    Dl_info info;
    return dladdr(reinterpret_cast<void *>(cb_rtc_launch), &info) && info.dli_fname ? info.dli_fname : "";
}
#endif

static std::string compile(const std::string &source, const std::string &arch) {
    program_handle p;
    if (lib.create(&p, source.c_str(), "chain.cu", CB_RTC_FILES, cb_rtc_texts, cb_rtc_names)) return "";
    std::vector<const char *> options = {"--std=c++17", "--fmad=true", arch.c_str()};
#if defined(CB_EMULATE)
    std::string linked = "--emulator=" + emulator();
    options.push_back(linked.c_str());
#endif
    std::string image;
    size_t size = 0;
    if (lib.compile(p, (int)options.size(), options.data())) {
        std::string log;
        if (!lib.log_size(p, &size) && size) {
            log.resize(size);
            lib.log(p, &log[0]);
        }
        complain("NVRTC fails: " + log.substr(0, 2000));
    } else if (!lib.image_size(p, &size) && size) {
        image.resize(size);
        if (lib.image(p, &image[0])) image.clear();
    }
    lib.destroy(&p);
    return image;
}

static driver_handle load(const std::string &image) {
    driver_handle module = nullptr, function = nullptr;
    if (lib.load(&module, image.data(), 0, nullptr, nullptr) || lib.function(&function, module, "chain"))
        return nullptr;
    return function;
}

/* the kernel for a source; NULL where there is none */
static driver_handle made(const std::string &source) {
    if (source.empty()) return nullptr;
    cudaDeviceProp p;
    if (cudaGetDeviceProperties(&p, cb_current_device()) != cudaSuccess) return nullptr;
    std::string arch = text("--gpu-architecture=sm_%d%d", p.major, p.minor);
    uint64_t headers = 0xcbf29ce484222325u;
    for (int i = 0; i < CB_RTC_FILES; i++) headers = hash(cb_rtc_texts[i], hash(cb_rtc_names[i], headers));
    std::string key = text("%d %d.%d %s %016llx\n", (int)VERSION, lib.major, lib.minor, arch.c_str(),
                           (unsigned long long)headers) +
                      source;
    std::string image = read_cached(key);
    if (driver_handle found = image.empty() ? nullptr : load(image)) return found;
    image = compile(source, arch);
    if (image.empty()) return nullptr;
    driver_handle function = load(image);
    if (function)
        write_cached(key, image);
    else
        complain("the driver does not load what NVRTC made");
    return function;
}

/* ---- launching ---- */
static std::map<std::string, driver_handle> kernels; /* by device and what the source depends on */

static std::string key_of(const chain &c, const form &f) {
    std::string key;
    for (int j = 0; j < c.nsteps; j++) {
        const step &s = c.steps[j];
        for (int number : {(int)s.family, s.op & 255, s.op >> 8, (int)s.to, (int)s.in[0], (int)s.in[1],
                           (int)s.in[2], (int)s.out})
            key.push_back((char)number);
    }
    for (int p = 0; p < f.parts; p++) {
        key.push_back((char)c.parts[p].dtype);
        key.push_back(f.kinds[p]);
    }
    for (int number :
         {f.parts, c.nout, (int)f.dense, f.dense ? 0 : c.walk.ndim, c.walk.small, cb_current_device()})
        key.push_back((char)number);
    return key;
}

static int asked() {
    static const char *const value = getenv("FL_CUDA_RTC");
    return value ? atoi(value) : -1;
}

bool cb_rtc_launch(const chain &c) {
    if (asked() == 0 || c.walk.numel == 0 || (asked() < 0 && c.walk.numel < SMALL)) return false;
    const form f = form_of(c);
    std::string key = key_of(c, f);
    driver_handle kernel;
    {
        std::lock_guard<std::mutex> guard(lock);
        if (!opened) {
            opened = true;
            usable = open_libraries();
        }
        if (!usable) return false;
        auto found = kernels.find(key);
        if (found == kernels.end()) {
            if (cb_recording) return false; /* loading would spoil the recording */
            found = kernels.emplace(key, made(source_of(c, f))).first;
        }
        kernel = found->second;
    }
    if (!kernel) return false;
    cb_rtc_arguments a = {};
    a.numel = c.walk.numel;
    for (int p = 0; p < f.parts; p++) {
        a.data[p] = c.parts[p].data;
        a.value[p] = c.parts[p].value;
    }
    if (!f.dense) {
        memcpy(a.shape, c.walk.shape, sizeof a.shape);
        memcpy(a.strides, c.walk.strides, sizeof a.strides);
    }
    unsigned grid = cb_fill_blocks(a.numel, f.dense ? cb_each::BLOCK * cb_each::ITEMS : cb_each::BLOCK);
    void *arguments[] = {&a};
    return !lib.launch(kernel, grid, 1, 1, cb_each::BLOCK, 1, 1, 0, cb_stream(), arguments, nullptr);
}
