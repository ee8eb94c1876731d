/* The frame of batched LAPACK calls; see linalg.h. */
#include "linalg.h"

#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>

enum { PIECE = 40000 /* multiplications: about 20 us */, GROUP_MIN = 4, TURN_ITEMS = 32768 };

int cb_lapack_start(cb_lapack *j, const char *op, int nin, cb_tensor *const *in, const int *core) {
    memset(j, 0, sizeof *j);
    j->op = op;
    j->nin = nin;
    j->group_min = GROUP_MIN;
    if (cb_any_null(nin, in)) return cb_fail(CB_ERR_NULL, "%s: no tensor", op);
    j->dtype = in[0]->dtype;
    if (!cb_is_inexact(j->dtype))
        return cb_fail(CB_ERR_DTYPE, "%s: expected floating or complex matrices, got %s. Cast with .float().",
                       op, cb_dtypes[j->dtype].name);
    if (cb_is_16bit_float(j->dtype))
        return cb_fail(CB_ERR_DTYPE,
                       "%s: expected float32, float64 or complex matrices, got %s. Cast with .float().", op,
                       cb_dtypes[j->dtype].name);
    j->device = in[0]->device;
    for (int i = 0; i < nin; i++) {
        const cb_tensor *x = in[i];
        if (x->dtype != j->dtype && !(x->dtype == CB_I32 && core[i] == 1)) /* pivots */
            return cb_fail(CB_ERR_DTYPE,
                           "%s: expected operands of one dtype, got %s and %s. Cast one with .to(dtype).", op,
                           cb_dtypes[j->dtype].name, cb_dtypes[x->dtype].name);
        if (x->ndim < core[i])
            return cb_fail(CB_ERR_SHAPE, "%s: expected at least %d dimensions, got shape %s.", op, core[i],
                           cb_shape_of(x));
        for (int d = x->ndim - core[i]; d < x->ndim; d++)
            if (x->shape[d] > INT_MAX)
                return cb_fail(CB_ERR_SHAPE, "%s: expected sizes below 2**31, got shape %s.", op,
                               cb_shape_of(x));
        if (x->device != j->device)
            return cb_fail(CB_ERR_DEVICE, "%s: expected operands on one device, got several.", op);
        j->nbatch = CB_MAX(j->nbatch, x->ndim - core[i]);
        j->in[i] = x;
    }
    j->count = 1;
    for (int d = 0; d < j->nbatch; d++) {
        j->batch[d] = 1;
        for (int i = 0; i < nin; i++) {
            int at = d - j->nbatch + in[i]->ndim - core[i];
            int64_t size = at < 0 ? 1 : in[i]->shape[at];
            if (size != 1 && j->batch[d] != 1 && size != j->batch[d])
                return cb_fail(CB_ERR_SHAPE,
                               "%s: expected batch dimensions that broadcast, got shapes %s and %s.", op,
                               cb_shape_of(in[0]), cb_shape_of(in[i]));
            if (size != 1) j->batch[d] = size;
        }
        j->count *= j->batch[d];
    }
    for (int i = 0; i < nin; i++) {
        int lead = in[i]->ndim - core[i];
        if (cb_is_contiguous(in[i]) && cb_numel_of(lead, in[i]->shape) == j->count)
            j->in_step[i] = cb_numel_of(core[i], in[i]->shape + lead) * in[i]->itemsize;
    }
    if (core[0] == 2) {
        j->m = (int)in[0]->shape[in[0]->ndim - 2];
        j->n = (int)in[0]->shape[in[0]->ndim - 1];
    }
    return CB_OK;
}

int cb_lapack_result(cb_lapack *j, int dtype, int64_t rows, int64_t cols) {
    int64_t shape[CB_MAX_NDIM];
    int ndim = j->nbatch;
    if (ndim + 2 > CB_MAX_NDIM) {
        cb_fail(CB_ERR_SHAPE, "%s: expected at most %d dimensions, got more.", j->op, CB_MAX_NDIM);
        j->failed = 1;
        return -1;
    }
    memcpy(shape, j->batch, (size_t)ndim * sizeof *shape);
    if (rows >= 0) shape[ndim++] = rows;
    if (cols >= 0) shape[ndim++] = cols;
    /* LAPACK works in host memory: cb_lapack_finish moves results to where they belong, which run_on_device
     * may have done */
    int device = (j->device & 255) == CB_CUDA ? CB_CPU : j->device;
    cb_tensor *x = j->failed ? NULL : cb_empty(dtype, device, ndim, shape);
    if (!x) {
        j->failed = 1;
        return -1;
    }
    j->out[j->nout] = x;
    j->out_step[j->nout] = CB_MAX(rows, -rows) * CB_MAX(cols, -cols) * x->itemsize;
    return j->nout++;
}

bool cb_lapack_idle(const cb_lapack *j) { return j->failed || (j->device & 255) == CB_META || !j->count; }

void *cb_lapack_routine(cb_lapack *j, const char *name, const char *complex_name) {
    /* by the address of the literal, a slot each: looking symbols up takes longer than a small matrix */
    static _Thread_local struct {
        const char *name, *complex_name;
        int dtype;
        void *routine;
    } known[64];
    int slot = (int)(((uintptr_t)name ^ (uintptr_t)complex_name * 7) * 4 + (uintptr_t)j->dtype) & 63;
    if (known[slot].name == name && known[slot].complex_name == complex_name &&
        known[slot].dtype == j->dtype && known[slot].routine)
        return known[slot].routine;
    char full[32];
    bool is_complex = cb_is_complex(j->dtype);
    char letter = is_complex ? (j->dtype == CB_C64 ? 'c' : 'z') : (j->dtype == CB_F32 ? 's' : 'd');
    snprintf(full, sizeof full, "%c%s_", letter, is_complex && complex_name ? complex_name : name);
    void *routine = cb_blas_symbol(full);
    if (!routine) j->failed = 1;
    known[slot].name = name;
    known[slot].complex_name = complex_name;
    known[slot].dtype = j->dtype;
    known[slot].routine = routine;
    return routine;
}

static void run_piece(void *context, int64_t begin, int64_t end) {
    cb_lapack *j = context;
    char *scratch = cb_alloc(CB_CPU, CB_MAX(j->scratch, 64));
    if (!scratch) {
        __atomic_store_n(&j->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    for (int64_t item = begin; item < end; item++) j->one(j, item, scratch);
    cb_free(CB_CPU, scratch, CB_MAX(j->scratch, 64));
}

static int longest(const cb_lapack *j) { return CB_MAX(CB_MAX(j->m, j->n), j->k); }

static void run_groups(void *context, int64_t begin, int64_t end) {
    cb_lapack *j = context;
    int lanes = cb_small_lanes(j->dtype);
    int64_t size = CB_MAX(j->scratch, cb_small_memory(longest(j)));
    char *scratch = cb_alloc(CB_CPU, size);
    if (!scratch) {
        __atomic_store_n(&j->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    for (int64_t g = begin; g < end; g++) {
        cb_small s;
        s.dtype = j->dtype;
        s.memory = scratch;
        s.m = j->m;
        s.n = j->n;
        s.k = j->k;
        s.count = (int)CB_MIN(lanes, j->count - g * lanes);
        j->group(j, g * lanes, &s, scratch);
    }
    cb_free(CB_CPU, scratch, size);
}

static bool in_groups(const cb_lapack *j) {
    return j->group && j->count >= j->group_min && CB_MIN(j->m, j->n) >= 1 && longest(j) <= CB_GROUP_ORDER &&
           (j->dtype == CB_F32 || j->dtype == CB_F64);
}

/* The call by the operands' device; CB_ERR_UNSUPPORTED where it has to be done here. */
static int run_on_device(cb_lapack *j) {
    const cb_backend *backend = cb_backend_of(j->in[0]);
    if (!j->kind || !backend->lapack) return CB_ERR_UNSUPPORTED;
    cb_tensor *host[CB_LAPACK_RESULTS];
    int status = CB_OK;
    memcpy(host, j->out, sizeof host);
    for (int i = 0; i < j->nout; i++) {
        j->out[i] = cb_empty(host[i]->dtype, j->device, host[i]->ndim, host[i]->shape);
        if (!j->out[i]) status = cb_error_code();
    }
    if (!status) status = backend->lapack(j);
    for (int i = 0; i < j->nout; i++) {
        cb_release(status ? j->out[i] : host[i]);
        if (status) j->out[i] = host[i];
    }
    return status;
}

int cb_lapack_run(cb_lapack *j) {
    if (j->failed) return cb_error_code();
    if ((j->device & 255) == CB_CUDA) {
        int done = run_on_device(j);
        if (done != CB_ERR_UNSUPPORTED) return done;
    }
    cb_tensor *host[CB_LAPACK_OPERANDS] = {NULL};
    int status = CB_OK;
    for (int i = 0; i < j->nin && !status && (j->device & 255) == CB_CUDA; i++) {
        host[i] = cb_to_device((cb_tensor *)j->in[i], CB_CPU); /* of the same layout, or denser */
        if (!host[i]) status = cb_error_code();
        j->in[i] = host[i];
    }
    if (!status && in_groups(j)) {
        int lanes = cb_small_lanes(j->dtype);
        /* moving a matrix takes as long as many multiplications side by side */
        int64_t work = (int64_t)j->work + 16 * j->n * (j->n + j->k);
        int64_t groups = (j->count + lanes - 1) / lanes, grain = CB_MAX(8 * PIECE / lanes / (work + 1), 1);
        int64_t pieces = (groups + grain - 1) / grain; /* of even size: there are few */
        cb_parallel(groups, (groups + pieces - 1) / pieces, run_groups, j);
    } else if (!status) {
        cb_parallel(j->count, CB_MAX((int64_t)(PIECE / (j->work + 1)), 1), run_piece, j);
    }
    for (int i = 0; i < j->nin; i++) cb_release(host[i]);
    if (status) return status;
    return j->failed ? cb_fail(CB_ERR_MEMORY, "%s: out of memory for LAPACK's workspace.", j->op) : CB_OK;
}

static int first_failure(const cb_lapack *j, const char *check, int info, const char *property) {
    cb_tensor *host = cb_to_device(j->out[info], CB_CPU);
    if (!host) return cb_error_code();
    const int32_t *codes = host->data;
    int status = CB_OK;
    for (int64_t i = 0; i < j->count && !status; i++) {
        if (!codes[i]) continue;
        const char *kind = codes[i] < 0 ? "one with inf or nan" : "one without that property";
        status = cb_fail(CB_ERR_LINALG, "%s: expected %s, got %s as batch element %lld (LAPACK's info: %d).",
                         check, property, kind, (long long)i, (int)codes[i]);
    }
    cb_release(host);
    return status;
}

int cb_lapack_finish(cb_lapack *j, int status, const char *check, int info, const char *property,
                     cb_tensor **out, int nout) {
    if (!status && j->failed) status = cb_error_code();
    if (!status && check && (j->device & 255) != CB_META) status = first_failure(j, check, info, property);
    for (int i = 0; i < nout; i++) out[i] = NULL;
    for (int i = 0; i < j->nout; i++) {
        if (!status && i < nout && j->out[i]->device != j->device) {
            out[i] = cb_to_device(j->out[i], j->device);
            if (!out[i]) status = cb_error_code();
            cb_release(j->out[i]);
        } else if (status || i >= nout) {
            cb_release(j->out[i]);
        } else {
            out[i] = j->out[i];
        }
    }
    for (int i = 0; i < nout && status; i++) {
        cb_release(out[i]);
        out[i] = NULL;
    }
    return status;
}

/* ---- groups ---- */

void cb_small_operand(const cb_lapack *j, int which, int64_t first, bool transposed, cb_small *s,
                      cb_small_matrix *m) {
    const cb_tensor *x = j->in[which];
    for (int l = 0; l < CB_SMALL_LANES; l++)
        m->at[l] = l < s->count ? (char *)cb_lapack_at(j, which, 2, first + l) : m->at[s->count - 1];
    m->row = x->strides[x->ndim - (transposed ? 1 : 2)];
    m->col = x->strides[x->ndim - (transposed ? 2 : 1)];
}

void cb_small_result(const cb_lapack *j, int which, int64_t first, bool transposed, cb_small *s,
                     cb_small_matrix *m) {
    const cb_tensor *y = j->out[which];
    for (int l = 0; l < s->count; l++) m->at[l] = cb_lapack_place(j, which, first + l);
    m->row = transposed ? 1 : y->shape[y->ndim - 1];
    m->col = transposed ? y->shape[y->ndim - 1] : 1;
}

void cb_small_run(cb_small *s) { cb_cpu->small(s); }

void cb_small_repair(const cb_lapack *j, int64_t first, const cb_small *s, char *scratch) {
    for (int l = 0; l < s->count; l++)
        if (s->info[l]) j->one(j, first + l, scratch);
}

/* ---- moving matrices ---- */

const char *cb_lapack_at(const cb_lapack *j, int which, int core, int64_t item) {
    const cb_tensor *x = j->in[which];
    if (j->in_step[which]) return (const char *)x->data + item * j->in_step[which];
    int64_t offset = 0;
    int lead = j->nbatch - (x->ndim - core);
    for (int d = j->nbatch - 1; d >= 0; d--) {
        int64_t i = item % j->batch[d];
        item /= j->batch[d];
        if (d >= lead && x->shape[d - lead] != 1) offset += i * x->strides[d - lead];
    }
    return (const char *)x->data + offset * x->itemsize;
}

/* y[i, k] = x[i, k], for layouts of which none is dense along the other's dense dimension */
static inline void move_items(int itemsize, char *y, int64_t y_row, int64_t y_col, const char *x,
                              int64_t x_row, int64_t x_col, int64_t rows, int64_t cols) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < cols; k++)
            memcpy(y + (i * y_row + k * y_col) * itemsize, x + (i * x_row + k * x_col) * itemsize,
                   (size_t)itemsize);
}

typedef struct turn_job {
    int itemsize;
    int64_t columns, from_step, to_step;
    const char *from;
    char *to;
} turn_job;

static void turn_rows(void *context, int64_t begin, int64_t end) {
    const turn_job *t = context;
    cb_cpu->turn(t->itemsize, end - begin, t->columns, t->from + begin * t->itemsize, t->from_step,
                 t->to + begin * t->to_step * t->itemsize, t->to_step);
}

static void turn(int itemsize, int64_t rows, int64_t columns, const void *from, int64_t from_step, void *to,
                 int64_t to_step) {
    int64_t strip = CB_MAX(TURN_ITEMS / CB_MAX(columns, 1), 1) + 15;
    cb_parallel(rows, strip / 16 * 16, turn_rows,
                &(turn_job){itemsize, columns, from_step, to_step, from, to});
}

static void move(int itemsize, void *y, int64_t y_row, int64_t y_col, const void *x, int64_t x_row,
                 int64_t x_col, int64_t rows, int64_t cols) {
    if (!rows || !cols) return;
    if (x_col == 1 && y_col == 1)
        for (int64_t i = 0; i < rows; i++)
            memcpy((char *)y + i * y_row * itemsize, (const char *)x + i * x_row * itemsize,
                   (size_t)(cols * itemsize));
    else if (x_col == 1 && y_row == 1)
        turn(itemsize, cols, rows, x, x_row, y, y_col);
    else if (x_row == 1 && y_col == 1)
        turn(itemsize, rows, cols, x, x_col, y, y_row);
    else if (x_row == 1 && y_row == 1)
        move(itemsize, y, y_col, 1, x, x_col, 1, cols, rows);
    else if (itemsize == 4)
        move_items(4, y, y_row, y_col, x, x_row, x_col, rows, cols);
    else if (itemsize == 8)
        move_items(8, y, y_row, y_col, x, x_row, x_col, rows, cols);
    else
        move_items(16, y, y_row, y_col, x, x_row, x_col, rows, cols);
}

void cb_lapack_load(const cb_lapack *j, int which, int64_t item, void *to, int ld) {
    const cb_tensor *x = j->in[which];
    int r = x->ndim - 2, c = x->ndim - 1;
    move(x->itemsize, to, 1, ld, cb_lapack_at(j, which, 2, item), x->strides[r], x->strides[c], x->shape[r],
         x->shape[c]);
}

void cb_lapack_load_rows(const cb_lapack *j, int which, int64_t item, void *to) {
    const cb_tensor *x = j->in[which];
    int r = x->ndim - 2, c = x->ndim - 1;
    move(x->itemsize, to, x->shape[c], 1, cb_lapack_at(j, which, 2, item), x->strides[r], x->strides[c],
         x->shape[r], x->shape[c]);
}

void cb_lapack_load_vector(const cb_lapack *j, int which, int64_t item, void *to) {
    const cb_tensor *x = j->in[which];
    int d = x->ndim - 1;
    move(x->itemsize, to, 1, 0, cb_lapack_at(j, which, 1, item), x->strides[d], 0, x->shape[d], 1);
}

void *cb_lapack_place(const cb_lapack *j, int which, int64_t item) {
    return (char *)j->out[which]->data + item * j->out_step[which];
}

void cb_lapack_store(const cb_lapack *j, int which, int64_t item, const void *from, int ld) {
    const cb_tensor *y = j->out[which];
    int64_t rows = y->shape[y->ndim - 2], cols = y->shape[y->ndim - 1];
    move(y->itemsize, cb_lapack_place(j, which, item), cols, 1, from, 1, ld, rows, cols);
}

void cb_zero_triangle(int itemsize, void *a, int ld, int rows, int cols, bool upper) {
    for (int k = 0; k < cols; k++) {
        int begin = upper ? k + 1 : 0, end = upper ? rows : CB_MIN(k, rows);
        if (begin < end)
            memset((char *)a + ((int64_t)k * ld + begin) * itemsize, 0,
                   (size_t)(end - begin) * (size_t)itemsize);
    }
}

bool cb_all_finite(int dtype, const void *data, int64_t n) {
    if (cb_is_complex(dtype)) n *= 2;
    bool infinite = false; /* no way out of the loops: that would keep them from being vectors */
    if (cb_real_dtype(dtype) == CB_F64)
        for (int64_t i = 0; i < n; i++) infinite |= !(__builtin_fabs(((const double *)data)[i]) <= DBL_MAX);
    else
        for (int64_t i = 0; i < n; i++) infinite |= !(__builtin_fabsf(((const float *)data)[i]) <= FLT_MAX);
    return !infinite;
}

void cb_fill_nan(cb_tensor *out, void *place, int64_t n) {
    if (cb_is_complex(out->dtype)) n *= 2;
    bool wide = cb_real_dtype(out->dtype) == CB_F64;
    for (int64_t i = 0; i < n; i++) {
        if (wide)
            ((double *)place)[i] = NAN;
        else
            ((float *)place)[i] = NAN;
    }
}

int cb_lapack_queried(int dtype, const void *answer) {
    double size = cb_real_dtype(dtype) == CB_F64 ? *(const double *)answer : (double)*(const float *)answer;
    return (int)CB_MIN(size * (1 + 1e-6) + 1, (double)INT_MAX); /* float32 may have rounded it down */
}
