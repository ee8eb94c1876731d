/* NVIDIA's libraries, each optional: opened at run time, without their headers. What they do has an own
 * kernel or the round trip through host memory behind it.
 *
 *     const cb_cufft *lib = cb_cufft_open();       // NULL: not there, or switched off
 *     void *context = cb_library_context(CB_CUSOLVER);                // the calling thread's device's
 *     int status = cb_library_call("cufft", [&] { return lib->exec_c2c(plan, x, y, -1); });
 *
 * Where they are looked for: the folders of the environment variable FL_CUDA_LIBRARIES (separated by
 * colons; `none` switches all of them off), NVIDIA's wheels beside this package, the system's search path,
 * /usr/local/cuda. The emulated device takes only those of FL_CUDA_LIBRARIES: code for the processor.
 *
 * The members are the functions of the same names, their prototypes those of the documentation (cuBLAS,
 * cuSOLVER and cuFFT of CUDA 12 and 13), with opaque handles as void *, enumerations as int, and pointers to
 * device memory of several types as void *. A status of 0 is success everywhere. */
#ifndef CB_LIBRARIES_H
#define CB_LIBRARIES_H

#include <stddef.h>
#include <stdint.h>

#include "runtime.h"
#if defined(CB_EMULATE)
#include "emulate_memory.h"
#endif

enum { CB_CUBLASLT, CB_CUSOLVER, CB_CUFFT, CB_LIBRARY_COUNT };

/* the values of CUDA's enumerations that are used */
enum { CB_CUDA_R_32F = 0, CB_CUDA_R_64F = 1, CB_CUDA_R_16F = 2, CB_CUDA_C_32F = 4, CB_CUDA_C_64F = 5 };
enum { CB_CUDA_R_16BF = 14 };
enum { CB_CUBLAS_COMPUTE_32F = 68, CB_CUBLAS_COMPUTE_64F = 70, CB_CUBLAS_COMPUTE_32F_FAST_TF32 = 77 };
enum { CB_CUBLAS_OP_N, CB_CUBLAS_OP_T, CB_CUBLAS_OP_C };
enum { CB_CUBLAS_LOWER, CB_CUBLAS_UPPER };
enum { CB_LT_TRANSA = 3, CB_LT_TRANSB = 4, CB_LT_EPILOGUE = 7, CB_LT_BIAS_POINTER = 8 };
enum { CB_LT_EPILOGUE_BIAS = 4 };
enum { CB_LT_BATCH_COUNT = 5, CB_LT_BATCH_STRIDE = 6 };
enum { CB_LT_MAX_WORKSPACE = 1, CB_LT_ALIGNMENT_A = 5, CB_LT_ALIGNMENT_B = 6 };
enum { CB_LT_ALIGNMENT_C = 7, CB_LT_ALIGNMENT_D = 8 };
enum { CB_CUFFT_C2C = 0x29, CB_CUFFT_R2C = 0x2a, CB_CUFFT_C2R = 0x2c };
enum { CB_CUFFT_Z2Z = 0x69, CB_CUFFT_D2Z = 0x6a, CB_CUFFT_Z2D = 0x6c };
enum { CB_CUFFT_FORWARD = -1, CB_CUFFT_INVERSE = 1 };

struct cb_lt_algorithm { /* cublasLtMatmulAlgo_t */
    uint64_t data[8];
};
struct cb_lt_heuristic { /* cublasLtMatmulHeuristicResult_t */
    cb_lt_algorithm algorithm;
    size_t workspace;
    int status;
    float waves;
    int reserved[4];
};

struct cb_cublaslt {
    size_t (*version)();
    int (*create)(void **context);
    int (*desc_create)(void **desc, int compute_type, int scale_type);
    int (*desc_destroy)(void *desc);
    int (*desc_set)(void *desc, int attribute, const void *value, size_t size);
    int (*layout_create)(void **layout, int type, uint64_t rows, uint64_t columns, int64_t ld);
    int (*layout_destroy)(void *layout);
    int (*layout_set)(void *layout, int attribute, const void *value, size_t size);
    int (*preference_create)(void **preference);
    int (*preference_destroy)(void *preference);
    int (*preference_set)(void *preference, int attribute, const void *value, size_t size);
    int (*heuristic)(void *context, void *desc, void *a, void *b, void *c, void *d, void *preference,
                     int wanted, cb_lt_heuristic *results, int *found);
    int (*matmul)(void *context, void *desc, const void *alpha, const void *a, void *a_layout, const void *b,
                  void *b_layout, const void *beta, const void *c, void *c_layout, void *d, void *d_layout,
                  const cb_lt_algorithm *algorithm, void *workspace, size_t workspace_size,
                  cudaStream_t stream);
};

struct cb_cufft {
    int (*version)(int *version);
    int (*create)(int *plan);
    int (*destroy)(int plan);
    int (*set_auto_allocation)(int plan, int allocate);
    int (*make_plan)(int plan, int rank, long long *n, long long *in_embed, long long in_stride,
                     long long in_distance, long long *out_embed, long long out_stride,
                     long long out_distance, int type, long long batch, size_t *workspace);
    int (*set_stream)(int plan, cudaStream_t stream);
    int (*set_workspace)(int plan, void *workspace);
    int (*exec_c2c)(int plan, void *in, void *out, int direction);
    int (*exec_r2c)(int plan, void *in, void *out);
    int (*exec_c2r)(int plan, void *in, void *out);
    int (*exec_z2z)(int plan, void *in, void *out, int direction);
    int (*exec_d2z)(int plan, void *in, void *out);
    int (*exec_z2d)(int plan, void *in, void *out);
};

/* of the dense part of cuSOLVER; [4]: float32, float64, complex64, complex128 */
struct cb_cusolver {
    int (*version)(int *version);
    int (*create)(void **context);
    int (*set_stream)(void *context, cudaStream_t stream);
    int (*getrf_size[4])(void *context, int m, int n, void *a, int lda, int *size);
    int (*getrf[4])(void *context, int m, int n, void *a, int lda, void *work, int *pivots, int *info);
    int (*potrf_size[4])(void *context, int part, int n, void *a, int lda, int *size);
    int (*potrf[4])(void *context, int part, int n, void *a, int lda, void *work, int size, int *info);
    int (*geqrf_size[4])(void *context, int m, int n, void *a, int lda, int *size);
    int (*geqrf[4])(void *context, int m, int n, void *a, int lda, void *tau, void *work, int size,
                    int *info);
    int (*orgqr_size[4])(void *context, int m, int n, int k, const void *a, int lda, const void *tau,
                         int *size);
    int (*orgqr[4])(void *context, int m, int n, int k, void *a, int lda, const void *tau, void *work,
                    int size, int *info);
    int (*syevd_size[4])(void *context, int vectors, int part, int n, const void *a, int lda, const void *w,
                         int *size);
    int (*syevd[4])(void *context, int vectors, int part, int n, void *a, int lda, void *w, void *work,
                    int size, int *info);
    int (*gesvd_size[4])(void *context, int m, int n, int *size);
    int (*gesvd[4])(void *context, signed char job_u, signed char job_v, int m, int n, void *a, int lda,
                    void *s, void *u, int ldu, void *vt, int ldvt, void *work, int size, void *rwork,
                    int *info);
};

const cb_cublaslt *cb_cublaslt_open();
const cb_cusolver *cb_cusolver_open();
const cb_cufft *cb_cufft_open();
/* cuBLASLt's and cuSOLVER's handle for the calling thread's device, made at the first use and kept; NULL and
 * an error */
void *cb_library_context(int which);
/* which library: its name, its version ("" when it is not used), its path or why it is not used; 0 past the
 * last */
int cb_library_describe(int which, const char *text[3]);
int cb_library_failed(const char *call, int status); /* the error of a call's status */
/* may products of float32 round their factors to TF32? */
void cb_library_allow_tf32(int allow);
bool cb_library_tf32();

/* A call that touches device memory, by what it needs as copies: while a graph is recorded the emulated
 * device keeps it, as the real libraries put their kernels into the graph. There it runs as a kernel of one
 * thread does, where that memory is open, and accesses beyond it are found. */
#if defined(CB_EMULATE)
template <typename Call> static inline int cb_library_run(const char *name, Call &call) {
    struct held {
        Call *call;
        int status;
    } h = {&call, -1};
    cb_emulate_run(
        nullptr, name, dim3(1), dim3(1), 0,
        [](void *context) {
            held *c = static_cast<held *>(context);
            c->status = (*c->call)();
        },
        &h, sizeof h);
    CB_TRY(cb_launched(name));
    return cb_library_failed(name, h.status);
}
template <typename Call> static inline int cb_library_call(const char *name, Call call) {
    if (!cb_emulated_recording(cb_stream())) return cb_library_run(name, call);
    cb_emulated_record(cb_stream(), [=]() mutable {
        if (cb_library_run(name, call)) cb_emulate_note(std::string(name) + " failed");
    });
    return CB_OK;
}
#else
template <typename Call> static inline int cb_library_call(const char *name, Call call) {
    return cb_library_failed(name, call());
}
#endif
#endif
