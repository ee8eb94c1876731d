/* NVRTC's part of the emulation, for tests: the C++ compiler makes a shared library of the source, which the
 * emulated driver (emulate_api.cc) opens. CB_STAND_IN_CXX and CB_STAND_IN_INCLUDE are given by the build. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <string>
#include <vector>

#define EXPORTED extern "C" __attribute__((visibility("default")))

struct program {
    std::string source, log, image;
    std::vector<std::string> names, texts;
};

static std::string read(const std::string &path) {
    std::string text;
    char buffer[4096];
    FILE *in = fopen(path.c_str(), "rb");
    for (size_t n = 0; in && (n = fread(buffer, 1, sizeof buffer, in)) > 0;) text.append(buffer, n);
    if (in) fclose(in);
    return text;
}
static void write(const std::string &path, const std::string &text) {
    FILE *out = fopen(path.c_str(), "wb");
    if (!out) return;
    fwrite(text.data(), 1, text.size(), out);
    fclose(out);
}

EXPORTED int nvrtcVersion(int *major, int *minor) {
    *major = *minor = 0;
    return 0;
}
EXPORTED int nvrtcCreateProgram(program **p, const char *source, const char *, int n,
                                const char *const *texts, const char *const *names) {
    *p = new program{source, "", "", {}, {}};
    for (int i = 0; i < n; i++) {
        std::string name = names[i];
        if (name == "math.h" || name == "stdint.h" || name == "string.h") continue; /* the system's will do */
        (*p)->names.push_back(name);
        (*p)->texts.push_back(texts[i]);
    }
    return 0;
}
EXPORTED int nvrtcCompileProgram(program *p, int n, const char *const *options) {
    char folder[] = "/tmp/functorch_like_rtc_XXXXXX";
    if (!mkdtemp(folder)) return 1;
    std::string at = std::string(folder) + "/", linked;
    for (int i = 0; i < n; i++)
        if (!strncmp(options[i], "--emulator=", 11)) linked = options[i] + 11;
    write(at + "chain.cc", p->source);
    for (size_t i = 0; i < p->names.size(); i++) write(at + p->names[i], p->texts[i]);
    std::string command =
        std::string(CB_STAND_IN_CXX) +
        " -std=gnu++17 -O1 -shared -fPIC -fno-strict-aliasing -w -DCB_EMULATE=1 -DCB_VMATH_LIBM=1 -I" + at +
        " -I" CB_STAND_IN_INCLUDE " " + at + "chain.cc " + linked + " -o " + at + "chain.so 2> " + at + "log";
    int status = getenv("FL_STAND_IN_FAILS") ? 1 : system(command.c_str());
    p->log = read(at + "log");
    if (!status) p->image = read(at + "chain.so");
    std::string gone = std::string("rm -r ") + folder;
    if (system(gone.c_str())) return 1;
    return status != 0;
}
EXPORTED int nvrtcGetProgramLogSize(program *p, size_t *size) {
    *size = p->log.size();
    return 0;
}
EXPORTED int nvrtcGetProgramLog(program *p, char *to) {
    memcpy(to, p->log.data(), p->log.size());
    return 0;
}
EXPORTED int nvrtcGetCUBINSize(program *p, size_t *size) {
    *size = p->image.size();
    return 0;
}
EXPORTED int nvrtcGetCUBIN(program *p, char *to) {
    memcpy(to, p->image.data(), p->image.size());
    return 0;
}
EXPORTED int nvrtcDestroyProgram(program **p) {
    delete *p;
    *p = nullptr;
    return 0;
}
