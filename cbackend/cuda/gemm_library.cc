/* Matrix products by cuBLASLt: tensor cores for 16-bit floats (summed in float32), for float32 only where
 * TF32 is allowed, float64 and complex numbers.
 *
 * cuBLASLt's matrices are column-major, so c = a b is asked for as c' = b' a': "A" there is b, "B" is a, and
 * a row-major operand needs no transposition. Operands without a dimension of stride 1 are copied. One
 * dimension of the batch goes to the library, the others are gone through here. */
#include <map>
#include <memory> /* before kernels.h: under emulation that gives words of CUDA another meaning */
#include <mutex>
#include <tuple>

#include "kernels.h"
/* what follows needs it */
#include "gemm_library.h"
#include "libraries.h"

namespace {

enum { MOST_LOOPS = 64, WORKSPACE = 32 << 20, MOST_CHOICES = 4096 };

struct operand {
    const char *data;
    int64_t rows, columns, row, column; /* sizes and strides */
    int64_t batch[CB_MAX_NDIM];

    /* n runs of `length` items, `unit` apart, whose starts are `step` apart: as columns of a matrix? */
    static bool columns_of(int64_t n, int64_t step, int64_t length, int64_t unit, int64_t *ld) {
        *ld = n == 1 ? length : step;
        return (unit == 1 || length == 1) && *ld >= length;
    }
    /* the leading dimension, and whether the runs are rows. False: neither rows nor columns are runs. */
    bool layout(int64_t *ld, bool *along_rows) const {
        *along_rows = columns_of(rows, row, columns, column, ld);
        return *along_rows || columns_of(columns, column, rows, row, ld);
    }
};

struct batches {
    int ndim;
    int64_t shape[CB_MAX_NDIM], c[CB_MAX_NDIM];
    operand *a, *b;

    void remove(int d) {
        ndim--;
        for (int e = d; e < ndim; e++) {
            shape[e] = shape[e + 1];
            c[e] = c[e + 1];
            a->batch[e] = a->batch[e + 1];
            b->batch[e] = b->batch[e + 1];
        }
    }
    /* neighbours that all operands go through as one become one */
    void merge() {
        for (int d = ndim - 1; d >= 0; d--)
            if (shape[d] == 1) remove(d);
        for (int d = ndim - 2; d >= 0; d--) {
            bool joins = a->batch[d] == a->batch[d + 1] * shape[d + 1] &&
                         b->batch[d] == b->batch[d + 1] * shape[d + 1];
            if (!joins) continue;
            shape[d + 1] *= shape[d];
            remove(d);
        }
    }
};

/* a copy without gaps, batch and all: what an operand without a stride of 1 becomes */
int copy_dense(const batches &all, operand *x, int dtype, void *to) {
    cb_tensor from = {}, dense = {};
    int64_t shape[CB_MAX_NDIM + 2], strides[CB_MAX_NDIM + 2], dense_strides[CB_MAX_NDIM + 2];
    int n = 0;
    for (int d = 0; d < all.ndim; d++) {
        shape[n] = x->batch[d] ? all.shape[d] : 1;
        strides[n++] = x->batch[d];
    }
    shape[n] = x->rows;
    strides[n++] = x->row;
    shape[n] = x->columns;
    strides[n++] = x->column;
    int64_t items = 1;
    for (int d = n - 1; d >= 0; d--) {
        dense_strides[d] = items;
        items *= shape[d];
    }
    from.device = dense.device = CB_CUDA;
    from.dtype = dense.dtype = dtype;
    from.itemsize = dense.itemsize = cb_dtypes[dtype].size;
    from.ndim = dense.ndim = n;
    from.numel = dense.numel = items;
    from.shape = dense.shape = shape;
    from.strides = strides;
    dense.strides = dense_strides;
    from.data = (void *)x->data;
    dense.data = to;
    CB_TRY(cb_cuda_copy(&dense, &from));
    for (int d = 0; d < all.ndim; d++) x->batch[d] = x->batch[d] ? dense_strides[d] : 0;
    x->data = static_cast<const char *>(to);
    x->row = dense_strides[n - 2];
    x->column = 1;
    return CB_OK;
}
int64_t dense_bytes(const batches &all, const operand &x, int64_t itemsize) {
    int64_t items = x.rows * x.columns;
    for (int d = 0; d < all.ndim; d++) items *= x.batch[d] ? all.shape[d] : 1;
    return items * itemsize;
}

int alignment_of(const void *data) {
    int bytes = 256;
    while ((uintptr_t)data % (unsigned)bytes) bytes /= 2;
    return bytes;
}

/* everything that the choice of an algorithm depends on */
typedef std::tuple<int, int, int, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int,
                   int>
    question;
std::mutex lock;
std::map<question, cb_lt_heuristic> choices;

/* descriptors of one product, released with it */
struct descriptors {
    const cb_cublaslt *lib;
    void *desc = nullptr, *a = nullptr, *b = nullptr, *c = nullptr, *preference = nullptr;
    int status = 0;
    explicit descriptors(const cb_cublaslt *lib_) : lib(lib_) {}
    ~descriptors() {
        if (desc) lib->desc_destroy(desc);
        if (a) lib->layout_destroy(a);
        if (b) lib->layout_destroy(b);
        if (c) lib->layout_destroy(c);
        if (preference) lib->preference_destroy(preference);
    }
    descriptors(const descriptors &) = delete;
    descriptors &operator=(const descriptors &) = delete;
    void keep(int got) {
        if (!status) status = got;
    }
    template <typename T> void set(int attribute, T value) {
        if (!status) keep(lib->desc_set(desc, attribute, &value, sizeof value));
    }
    template <typename T> void prefer(int attribute, T value) {
        if (!status) keep(lib->preference_set(preference, attribute, &value, sizeof value));
    }
    void layout(void **place, int type, int64_t rows, int64_t columns, int64_t ld, int64_t count,
                int64_t stride) {
        if (status) return;
        keep(lib->layout_create(place, type, (uint64_t)rows, (uint64_t)columns, ld));
        int32_t batch = (int32_t)count;
        if (count == 1 || status) return;
        keep(lib->layout_set(*place, CB_LT_BATCH_COUNT, &batch, sizeof batch));
        keep(lib->layout_set(*place, CB_LT_BATCH_STRIDE, &stride, sizeof stride));
    }
};

/* the library's algorithm, asked for once for products alike; CB_ERR_UNSUPPORTED: it has none */
int choose(descriptors *x, void *context, const question &q, int aligned_a, int aligned_b, int aligned_c,
           cb_lt_heuristic *choice) {
    {
        std::lock_guard<std::mutex> guard(lock);
        auto kept = choices.find(q);
        if (kept != choices.end()) {
            *choice = kept->second;
            return CB_OK;
        }
    }
    int found = 0;
    if (!x->preference) x->keep(x->lib->preference_create(&x->preference));
    x->prefer(CB_LT_MAX_WORKSPACE, (uint64_t)WORKSPACE);
    x->prefer(CB_LT_ALIGNMENT_A, (uint32_t)aligned_b);
    x->prefer(CB_LT_ALIGNMENT_B, (uint32_t)aligned_a);
    x->prefer(CB_LT_ALIGNMENT_C, (uint32_t)aligned_c);
    x->prefer(CB_LT_ALIGNMENT_D, (uint32_t)aligned_c);
    CB_TRY(cb_library_failed("matmul (cublasLt)", x->status));
    int status =
        x->lib->heuristic(context, x->desc, x->a, x->b, x->c, x->c, x->preference, 1, choice, &found);
    if (status || !found || choice->status) return CB_ERR_UNSUPPORTED;
    std::lock_guard<std::mutex> guard(lock);
    if (choices.size() >= MOST_CHOICES) choices.clear();
    choices[q] = *choice;
    return CB_OK;
}

struct types {
    int data, compute, scale;
};
bool types_of(int dtype, types *t) {
    int narrow = cb_library_tf32() ? CB_CUBLAS_COMPUTE_32F_FAST_TF32 : CB_CUBLAS_COMPUTE_32F;
    switch (dtype) {
        case CB_F16: *t = {CB_CUDA_R_16F, CB_CUBLAS_COMPUTE_32F, CB_CUDA_R_32F}; return true;
        case CB_BF16: *t = {CB_CUDA_R_16BF, CB_CUBLAS_COMPUTE_32F, CB_CUDA_R_32F}; return true;
        case CB_F32: *t = {CB_CUDA_R_32F, narrow, CB_CUDA_R_32F}; return true;
        case CB_F64: *t = {CB_CUDA_R_64F, CB_CUBLAS_COMPUTE_64F, CB_CUDA_R_64F}; return true;
        case CB_C64: *t = {CB_CUDA_C_32F, narrow, CB_CUDA_C_32F}; return true;
        case CB_C128: *t = {CB_CUDA_C_64F, CB_CUBLAS_COMPUTE_64F, CB_CUDA_C_64F}; return true;
        default: return false;
    }
}

} // namespace

int cb_library_gemm(const cb_gemm *g) {
    types t;
    if (!types_of(g->dtype, &t) || g->k == 0 || g->batch == 0 || g->m == 0 || g->n == 0)
        return CB_ERR_UNSUPPORTED;
    const cb_cublaslt *lib = cb_cublaslt_open();
    if (!lib) return CB_ERR_UNSUPPORTED;
    void *context = cb_library_context(CB_CUBLASLT);
    if (!context) return CB_ERR_INTERNAL;

    operand a = {g->a, g->m, g->k, g->a_row, g->a_col, {0}}, b = {g->b, g->k, g->n, g->b_row, g->b_col, {0}};
    batches all = {g->nbatch, {0}, {0}, &a, &b};
    int64_t itemsize = cb_dtypes[g->dtype].size, items = g->m * g->n;
    for (int d = g->nbatch - 1; d >= 0; d--) {
        all.shape[d] = g->batch_shape[d];
        all.c[d] = items;
        items *= g->batch_shape[d];
        a.batch[d] = g->a_batch[d];
        b.batch[d] = g->b_batch[d];
    }
    all.merge();
    /* rows of several items that meet one b are rows of one product */
    int64_t m = g->m;
    while (all.ndim && b.batch[all.ndim - 1] == 0 && (m == 1 || a.batch[all.ndim - 1] == m * a.row)) {
        int last = all.ndim - 1;
        if (m == 1) a.row = a.batch[last];
        a.rows = m *= all.shape[last];
        all.remove(last);
    }
    /* the longest dimension is the library's, the others are loops: few, or the operands become dense */
    int64_t loops = 1, longest = 1;
    for (int d = 0; d < all.ndim; d++) {
        loops *= all.shape[d];
        longest = CB_MAX(longest, all.shape[d]);
    }
    bool split = loops / longest > MOST_LOOPS;
    int64_t lda, ldb;
    bool a_along_rows, b_along_rows;
    bool copy_a = !a.layout(&lda, &a_along_rows) || (split && all.ndim > 1),
         copy_b = !b.layout(&ldb, &b_along_rows) || (split && all.ndim > 1);
    cb_scratch room_a(copy_a ? dense_bytes(all, a, itemsize) : 0),
        room_b(copy_b ? dense_bytes(all, b, itemsize) : 0);
    if (!room_a.ok() || !room_b.ok()) return CB_ERR_MEMORY;
    if (copy_a) {
        CB_TRY(copy_dense(all, &a, g->dtype, room_a.data));
        a.layout(&lda, &a_along_rows);
    }
    if (copy_b) {
        CB_TRY(copy_dense(all, &b, g->dtype, room_b.data));
        b.layout(&ldb, &b_along_rows);
    }
    all.merge();
    int inner = -1;
    for (int d = 0; d < all.ndim; d++)
        if (inner < 0 || all.shape[d] > all.shape[inner]) inner = d;
    int64_t count = inner < 0 ? 1 : all.shape[inner], a_stride = inner < 0 ? 0 : a.batch[inner],
            b_stride = inner < 0 ? 0 : b.batch[inner], c_stride = inner < 0 ? 0 : all.c[inner];
    if (count > INT32_MAX) return CB_ERR_UNSUPPORTED;
    if (inner >= 0) all.remove(inner);
    loops = 1;
    for (int d = 0; d < all.ndim; d++) loops *= all.shape[d];
    if (loops > MOST_LOOPS) return CB_ERR_UNSUPPORTED;

    bool epilogue = g->bias && itemsize <= 4; /* the library has none for the others */
    if (g->bias && !epilogue) CB_TRY(cb_repeat_bias(g));
    auto held = std::make_shared<descriptors>(lib); /* also by a recorded call */
    descriptors &x = *held;
    x.keep(lib->desc_create(&x.desc, t.compute, t.scale));
    x.set(CB_LT_TRANSA, (int32_t)(b_along_rows ? CB_CUBLAS_OP_N : CB_CUBLAS_OP_T));
    x.set(CB_LT_TRANSB, (int32_t)(a_along_rows ? CB_CUBLAS_OP_N : CB_CUBLAS_OP_T));
    if (epilogue) {
        x.set(CB_LT_EPILOGUE, (int32_t)CB_LT_EPILOGUE_BIAS);
        x.set(CB_LT_BIAS_POINTER, g->bias);
    }
    x.layout(&x.a, t.data, b_along_rows ? g->n : g->k, b_along_rows ? g->k : g->n, ldb, count, b_stride);
    x.layout(&x.b, t.data, a_along_rows ? g->k : m, a_along_rows ? m : g->k, lda, count, a_stride);
    x.layout(&x.c, t.data, g->n, m, g->n, count, c_stride);
    CB_TRY(cb_library_failed("matmul (cublasLt)", x.status));

    static const double one[2] = {1, 0}, zero[2] = {0, 0};
    static const float one_single[2] = {1, 0}, zero_single[2] = {0, 0};
    bool wide = t.compute == CB_CUBLAS_COMPUTE_64F;
    const void *alpha = wide ? (const void *)one : one_single;
    const void *beta = g->bias && !epilogue ? alpha : wide ? (const void *)zero : zero_single;
    for (int64_t loop = 0; loop < loops; loop++) {
        int64_t rest = loop, at_a = 0, at_b = 0, at_c = 0;
        for (int d = all.ndim - 1; d >= 0; d--) {
            int64_t i = rest % all.shape[d];
            rest /= all.shape[d];
            at_a += i * a.batch[d];
            at_b += i * b.batch[d];
            at_c += i * all.c[d];
        }
        const char *pa = a.data + at_a * itemsize, *pb = b.data + at_b * itemsize;
        char *pc = g->c + at_c * itemsize;
        int aligned_a = alignment_of(pa), aligned_b = alignment_of(pb), aligned_c = alignment_of(pc);
        int flags = a_along_rows + 2 * b_along_rows + 4 * epilogue + 8 * t.compute;
        question q(cb_current_device(), t.data, flags, m, g->n, g->k, lda, ldb, count, a_stride, b_stride,
                   aligned_a * 1000 + aligned_b, aligned_c);
        cb_lt_heuristic choice;
        int status = choose(&x, context, q, aligned_a, aligned_b, aligned_c, &choice);
        if (status) return status; /* without an algorithm: own tiles do all of them again */
        cb_scratch workspace((int64_t)choice.workspace);
        if (!workspace.ok()) return CB_ERR_MEMORY;
        void *space = workspace.data;
        CB_TRY(cb_library_call("matmul (cublasLt)", [=] {
            return lib->matmul(context, held->desc, alpha, pb, held->a, pa, held->b, beta, pc, held->c, pc,
                               held->c, &choice.algorithm, space, choice.workspace, cb_stream());
        }));
    }
    return CB_OK;
}
