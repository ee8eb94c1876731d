/* Optimizer steps over lists of tensors: checks, and the numbers all elements share. Kernels are in
 * cpu/optim.c.
 *
 * Every tensor of every list is checked before one is written. Complex tensors are stepped as pairs of reals.
 */
#include <math.h>

#include "internal.h"

static const char *const roles[2][CB_STEP_OPERANDS] = {
    {"params", "grads", "momentum"},
    {"params", "grads", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"},
};

static int check(const cb_step *s, const char *op, int n, cb_tensor *const *const *lists) {
    for (int k = 0; k < s->operands; k++)
        if (n && (!lists[k] || cb_any_null(n, lists[k]))) return cb_fail(CB_ERR_NULL, "%s: no tensor", op);
    for (int i = 0; i < n; i++) {
        const cb_tensor *param = lists[CB_STEP_PARAM][i];
        if (!cb_is_inexact(param->dtype))
            return cb_fail(CB_ERR_DTYPE,
                           "%s: expected floating or complex params, got %s at %d. Leave it out.", op,
                           cb_dtypes[param->dtype].name, i);
        for (int k = 0; k < s->operands; k++) {
            const cb_tensor *x = lists[k][i];
            const char *role = roles[s->adam][k];
            if (!cb_same_shape(x, param))
                return cb_fail(
                    CB_ERR_SHAPE,
                    "%s: expected %s[%d] of its parameter's shape %s, got %s. Is it another parameter's?", op,
                    role, i, cb_shape_of(param), cb_shape_of(x));
            if (x->dtype != param->dtype)
                return cb_fail(
                    CB_ERR_DTYPE,
                    "%s: expected %s[%d] of its parameter's dtype %s, got %s. Cast with .to(dtype).", op,
                    role, i, cb_dtypes[param->dtype].name, cb_dtypes[x->dtype].name);
            if (x->device != lists[CB_STEP_PARAM][0]->device)
                return cb_fail(CB_ERR_DEVICE,
                               "%s: expected %s[%d] on the device of params[0]. Move it with .to(device).",
                               op, role, i);
            if (k != CB_STEP_GRAD) CB_TRY(cb_check_writable(op, x));
        }
    }
    return CB_OK;
}

/* The step, on tensors that have been checked. */
static int run(const cb_step *s, const char *op, int n, cb_tensor *const *const *lists, int64_t clock) {
    if (n <= 0 || cb_is_meta(lists[0][0])) return CB_OK;
    const cb_backend *backend = cb_backend_of(lists[0][0]);
    if (!backend->optim_step) return cb_fail(CB_ERR_UNSUPPORTED, "%s: no kernel for this device.", op);
    bool complex = false;
    for (int i = 0; i < n; i++) complex |= cb_is_complex(lists[0][i]->dtype);
    cb_tensor **views = NULL;
    cb_tensor *const *real[CB_STEP_OPERANDS] = {NULL};
    int64_t count = (int64_t)n * s->operands, nbytes = count * (int64_t)sizeof *views;
    int status = CB_OK;
    if (complex && !(views = cb_alloc(CB_CPU, nbytes))) return cb_error_code();
    for (int k = 0; k < s->operands; k++) real[k] = views ? views + (int64_t)k * n : lists[k];
    for (int64_t j = 0; views && j < count; j++) {
        cb_tensor *x = lists[j / n][j % n];
        views[j] = cb_is_complex(x->dtype) ? cb_view_as_real(x) : cb_retain(x);
        if (!views[j]) status = cb_error_code();
    }
    if (!status) {
        for (int k = 0; k < s->operands; k++)
            for (int i = 0; i < n && k != CB_STEP_GRAD; i++) {
                int64_t *last = &lists[k][i]->storage->last_write;
                *last = CB_MAX(*last, clock);
            }
        status = backend->optim_step(s, n, real);
    }
    for (int64_t j = 0; views && j < count; j++) cb_release(views[j]);
    if (views) cb_free(CB_CPU, views, nbytes);
    return status;
}

int cb_sgd_step(int n, cb_tensor *const *params, cb_tensor *const *grads, cb_tensor *const *momentum,
                double lr, double momentum_factor, double dampening, double weight_decay, int nesterov,
                int maximize, int first, int64_t clock) {
    cb_step s = {
        .operands = momentum_factor != 0 ? CB_STEP_FIRST_STATE + 1 : CB_STEP_GRAD + 1,
        .l2 = weight_decay != 0,
        .sign = maximize ? -1 : 1,
        .decay = weight_decay,
        .keep = 1,
        .rate = -lr,
        .start = first,
        .nesterov = nesterov,
        .momentum = momentum_factor,
        .share = 1 - dampening,
    };
    cb_tensor *const *const lists[] = {params, grads, momentum};
    CB_TRY(check(&s, "sgd_step", n, lists));
    return run(&s, "sgd_step", n, lists, clock);
}

int cb_adam_step(int n, cb_tensor *const *params, cb_tensor *const *grads, cb_tensor *const *exp_avg,
                 cb_tensor *const *exp_avg_sq, cb_tensor *const *max_exp_avg_sq, double lr, double beta1,
                 double beta2, double eps, double weight_decay, int decoupled, int amsgrad, int maximize,
                 int64_t step, int64_t clock) {
    if (step < 1)
        return cb_fail(CB_ERR_VALUE,
                       "adam_step: expected a step of 1 or more, got %lld. Count before the call.",
                       (long long)step);
    cb_step s = {
        .adam = true,
        .operands = amsgrad ? CB_STEP_THIRD_STATE + 1 : CB_STEP_SECOND_STATE + 1,
        .l2 = weight_decay != 0 && !decoupled,
        .sign = maximize ? -1 : 1,
        .decay = weight_decay,
        .keep = decoupled ? 1 - lr * weight_decay : 1,
        .rate = -lr / (1 - pow(beta1, (double)step)),
        .mean_share = 1 - beta1,
        .square_keep = beta2,
        .square_share = 1 - beta2,
        .root_scale = 1 / sqrt(1 - pow(beta2, (double)step)),
        .eps = eps,
    };
    cb_tensor *const *const lists[] = {params, grads, exp_avg, exp_avg_sq, max_exp_avg_sq};
    CB_TRY(check(&s, "adam_step", n, lists));
    return run(&s, "adam_step", n, lists, clock);
}

/* ---- Adam as a function, for programs ---- */

enum { RATE, KEEP, ROOT_SCALE, NUMBERS };

/* Where operand k of a set is stepped: in its own memory if result i may have that and nobody else looks,
 * else in a copy. */
static cb_tensor *stepped(cb_tensor *const *xs, int n, int k, int i, uint64_t reuse, uint64_t into) {
    cb_tensor *x = xs[k];
    bool over = (into >> 4 * k & 15) == (uint64_t)i + 1 && !(x->flags & CB_FLAG_READONLY);
    bool dead = reuse >> k & 1 && cb_is_last_use(x);
    bool free = (over || dead) && cb_is_contiguous(x) && !cb_is_meta(x) && !cb_shares_storage(n, xs, k);
    return free ? cb_retain(x) : cb_clone(x);
}

static int check_numbers(cb_tensor *const *numbers) {
    for (int i = 0; i < NUMBERS; i++)
        if (numbers[i]->dtype != CB_F64 || numbers[i]->numel != 1)
            return cb_fail(CB_ERR_VALUE, "adam: expected numbers of float64, got %s %s.",
                           cb_dtypes[numbers[i]->dtype].name, cb_shape_of(numbers[i]));
    return CB_OK;
}

static bool same_numbers(cb_tensor *const *x, cb_tensor *const *y) {
    for (int i = 0; i < NUMBERS; i++)
        if (*(double *)x[i]->data != *(double *)y[i]->data) return false;
    return true;
}

int cb_adam_sets(int n, cb_tensor *const *xs, int ncode, const int64_t *code, int nout, cb_tensor **out,
                 int n2, const int64_t *reuse, const int64_t *into) {
    for (int i = 0; i < nout; i++) out[i] = NULL;
    if (cb_any_null(n, xs)) return cb_fail(CB_ERR_NULL, "adam: no tensor");
    int operands = n2 > 0 ? n / n2 - NUMBERS : 0, results = operands - 1; /* all but the gradient */
    if (operands <= CB_STEP_SECOND_STATE || operands > CB_STEP_OPERANDS || n != n2 * (operands + NUMBERS) ||
        nout != n2 * results || ncode != 5)
        return cb_fail(CB_ERR_VALUE,
                       "adam: expected sets of 7 or 8 operands and their results, got %d in %d.", n, n2);
    double options[5];
    memcpy(options, code, sizeof options);
    cb_step s = {.adam = true,
                 .operands = operands,
                 .l2 = options[1] != 0,
                 .sign = options[0],
                 .decay = options[1],
                 .mean_share = 1 - options[2],
                 .square_keep = options[3],
                 .square_share = 1 - options[3],
                 .eps = options[4]};
    int device = cb_common_device("adam", n, xs), each = n / n2, status = CB_OK;
    if (device < 0) return cb_error_code();
    if (device != CB_CPU && device != CB_META)
        return cb_fail(CB_ERR_UNSUPPORTED, "adam: expected tensors on the CPU. Use adam_step.");
    int64_t nbytes = (int64_t)n2 * operands * (int64_t)sizeof(cb_tensor *);
    cb_tensor **room = cb_alloc(CB_CPU, nbytes), *const * lists[CB_STEP_OPERANDS] = {NULL};
    if (!room) return cb_error_code();
    for (int k = 0; k < operands; k++) lists[k] = room + (int64_t)k * n2;
    for (int set = 0; set < n2 && !status; set++) {
        cb_tensor *const *x = xs + set * each;
        status = check_numbers(x + operands);
        for (int k = 0, i = 0; k < operands && !status; k++) {
            cb_tensor *taken = x[k];
            if (k != CB_STEP_GRAD) {
                taken = stepped(x, operands, k, i, reuse ? (uint64_t)reuse[set] : 0,
                                into ? (uint64_t)into[set] : 0);
                out[set * results + i++] = taken;
            }
            room[(int64_t)k * n2 + set] = taken;
            if (!taken) status = cb_error_code();
        }
    }
    if (!status) status = check(&s, "adam", n2, lists);
    for (int first = 0, end; first < n2 && !status && device == CB_CPU; first = end) {
        cb_tensor *const *numbers = xs + first * each + operands;
        for (end = first + 1; end < n2 && same_numbers(xs + end * each + operands, numbers);) end++;
        cb_tensor *const *part[CB_STEP_OPERANDS];
        for (int k = 0; k < operands; k++) part[k] = lists[k] + first;
        s.rate = *(double *)numbers[RATE]->data;
        s.keep = *(double *)numbers[KEEP]->data;
        s.root_scale = *(double *)numbers[ROOT_SCALE]->data;
        status = run(&s, "adam", end - first, part, 0);
    }
    cb_free(CB_CPU, room, nbytes);
    for (int i = 0; i < nout && status; i++) {
        cb_release(out[i]);
        out[i] = NULL;
    }
    return status;
}
