/* Programs and fused steps: recorded calls run again as the calls themselves would; broken code is refused.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "internal.h"
#include "record.h"

static cb_tensor *numbers(int n, const float *values) {
    return cb_from_bytes(values, CB_F32, 1, (int64_t[]){n});
}

static float at(const cb_tensor *x, int i) { return ((const float *)x->data)[i]; }

/* Records a function by its numbers, as the generated wrappers do. */
static int number_of(const char *name) {
    extern const char *const cb_call_names[];
    extern const int cb_call_count;
    for (int i = 0; i < cb_call_count; i++)
        if (!strcmp(cb_call_names[i], name)) return i;
    return -1;
}

static cb_tensor *recorded_binary(const char *op, cb_tensor *x, cb_tensor *y) {
    int code = cb_op_code("binary", op);
    cb_tensor *out = cb_binary(code, x, y);
    cb_record_call(number_of("cb_binary"));
    cb_record_number((cb_word){.i = code});
    cb_record_tensor(x);
    cb_record_tensor(y);
    cb_record_result(out);
    return out;
}

static void test_recorded_calls(void) {
    cb_tensor *x = numbers(3, (float[]){1, 2, 3}), *c = numbers(3, (float[]){10, 20, 30});
    cb_tensor *meta = cb_as_meta(x);
    CHECK(meta && cb_is_meta(meta) && meta->numel == 3 && meta->data == NULL);
    cb_program *p = cb_program_begin(1, &meta);
    CHECK(p && cb_is_recording());
    CHECK(!cb_program_begin(1, &meta)); /* one at a time */
    cb_tensor *sum = recorded_binary("add", meta, c), *product = recorded_binary("mul", sum, meta);
    CHECK(sum && product && cb_is_meta(product));
    cb_tensor *results[] = {product, meta, c};
    CHECK(cb_program_end(p, 3, results, NULL) == CB_OK && !cb_is_recording());
    CHECK(cb_program_length(p) == 2 && !strcmp(cb_program_call(p, 1), "cb_binary") && !cb_program_call(p, 2));
    for (int round = 0; round < 3; round++) {
        cb_tensor *out[3] = {NULL};
        CHECK(cb_program_run(p, 1, &x, 0, 0, out) == CB_OK);
        CHECK(out[0] && at(out[0], 0) == 11 && at(out[0], 2) == 99 && out[1] == x && out[2] == c);
        for (int i = 0; i < 3; i++) cb_release(out[i]);
    }
    cb_tensor *longer = numbers(4, (float[]){1, 2, 3, 4}), *out[3];
    CHECK(cb_program_run(p, 1, &longer, 0, 0, out) == CB_PROGRAM_OTHER_INPUTS);
    CHECK(cb_program_run(p, 0, NULL, 0, 0, out) == CB_ERR_VALUE);
    cb_tensor *all[] = {x, c, meta, sum, product, longer};
    for (int i = 0; i < 6; i++) cb_release(all[i]);
    cb_program_free(p);
}

static void test_given_up_recording(void) {
    cb_tensor *x = numbers(2, (float[]){1, 2}), *meta = cb_as_meta(x), *stranger = cb_as_meta(x);
    cb_program *p = cb_program_begin(1, &meta);
    cb_tensor *sum = recorded_binary("add", meta, stranger); /* nobody knows where that comes from */
    CHECK(cb_program_end(p, 1, &sum, NULL) == CB_ERR_UNSUPPORTED);
    cb_program_free(p);
    p = cb_program_begin(1, &meta);
    cb_program_free(p); /* in the middle */
    CHECK(!cb_is_recording());
    cb_release(x), cb_release(meta), cb_release(stranger), cb_release(sum);
}

/* exp(x * y + x) of dtype f32: {to, to, 3 steps, ...} */
static int fused_code(int64_t *code) {
    int64_t mul = cb_op_code("binary", "mul"), add = cb_op_code("binary", "add"),
            exp_ = cb_op_code("unary", "exp");
    int64_t made[] = {CB_F32, CB_F32, 3, 1, mul, CB_F32, CB_F32, 0,      1,  0, 1, add, CB_F32,
                      CB_F32, -1,     0, 0, 0,   exp_,   CB_F32, CB_F32, -2, 0, 0, 2,   0};
    memcpy(code, made, sizeof made);
    return (int)(sizeof made / sizeof *made);
}

static void test_fused(void) {
    enum { N = 5000 };
    cb_tensor *x = cb_random(0, CB_F32, CB_CPU, 2, (int64_t[]){N, 3}, 1, 0, -1, 1);
    cb_tensor *y = cb_random(0, CB_F64, CB_CPU, 1, (int64_t[]){3}, 2, 0, -1, 1); /* cast and broadcast */
    int64_t code[32];
    int n = fused_code(code);
    cb_tensor *out[2] = {NULL};
    CHECK(cb_fused(2, (cb_tensor *[]){x, y}, n, code, 2, out, 0, 0) == CB_OK);
    float worst = 0;
    for (int i = 0; out[0] && i < 3 * N; i++) {
        float b = (float)((double *)y->data)[i % 3], a = at(x, i);
        worst = fmaxf(worst, fabsf(at(out[0], i) - expf(a * b + a)) / expf(a * b + a));
        worst = fmaxf(worst, fabsf(at(out[1], i) - a * b));
    }
    CHECK(worst < 1e-6f);
    cb_tensor *expected = cb_clone(out[0]), *again[2] = {NULL};
    CHECK(cb_fused(2, (cb_tensor *[]){x, y}, n, code, 2, again, 0, 1) == CB_OK); /* into x's memory */
    CHECK(again[0] == x && !memcmp(x->data, expected->data, 3 * N * sizeof(float)));
    for (int i = 0; i < 2; i++) cb_release(out[i]), cb_release(again[i]);
    cb_release(expected), cb_release(x), cb_release(y);
}

/* Sets of other shapes, one written into its operand, one that gives a dying operand's memory away. */
static void test_sets(void) {
    enum { SETS = 3 };
    cb_tensor *xs[2 * SETS], *each[2], *made[2 * SETS] = {NULL};
    for (int s = 0; s < SETS; s++) {
        xs[2 * s] = cb_random(0, CB_F32, CB_CPU, 2, (int64_t[]){1 + 9000 * s, 3}, 1, s, -1, 1);
        xs[2 * s + 1] = cb_random(0, CB_F64, CB_CPU, 1, (int64_t[]){3}, 2, s, -1, 1);
    }
    cb_tensor *kept[SETS];
    for (int s = 0; s < SETS; s++) kept[s] = cb_clone(xs[2 * s]);
    int64_t code[32], reuse[SETS] = {0, 0, 1}, into[SETS] = {0, 1, 0};
    int n = fused_code(code);
    char *first = xs[0]->data, *second = xs[2]->data, *third = xs[4]->data;
    CHECK(cb_fused_sets(2 * SETS, xs, n, code, 2 * SETS, made, SETS, reuse, into) == CB_OK);
    CHECK(made[0] && made[0]->data != first && made[2]->data == second && made[4]->data == third);
    for (int s = 0; s < SETS; s++) {
        CHECK(cb_fused(2, (cb_tensor *[]){kept[s], xs[2 * s + 1]}, n, code, 2, each, 0, 0) == CB_OK);
        for (int i = 0; i < 2; i++) {
            size_t nbytes = (size_t)each[i]->numel * sizeof(float);
            CHECK(!memcmp(each[i]->data, made[2 * s + i]->data, nbytes));
            cb_release(each[i]), cb_release(made[2 * s + i]);
        }
        made[2 * s] = made[2 * s + 1] = NULL;
    }
    for (int sets = -1; sets < 8; sets++) {
        int status = cb_fused_sets(2 * SETS, xs, n, code, 2 * SETS, made, sets, NULL, NULL);
        CHECK(sets == SETS ? !status : status == CB_ERR_VALUE);
        for (int i = 0; i < 2 * SETS; i++) cb_release(made[i]), made[i] = NULL;
    }
    for (int s = 0; s < SETS; s++) cb_release(xs[2 * s]), cb_release(xs[2 * s + 1]), cb_release(kept[s]);
}

/* A reduction of steps: the bits of two calls, by the kernel that makes its items and where there is none. */
static void test_reduced_steps(int64_t n, const char *op) {
    cb_tensor *x = cb_random(0, CB_F32, CB_CPU, 2, (int64_t[]){n, 3}, 1, 0, -1, 1);
    cb_tensor *y = cb_random(0, CB_F64, CB_CPU, 1, (int64_t[]){3}, 2, 0, -1, 1), *xs[] = {x, y}, *made = NULL;
    int64_t code[32];
    int length = fused_code(code) - 1, reduction = cb_op_code("reduce", op); /* the first result alone */
    CHECK(cb_fused(2, xs, length, code, 1, &made, 0, 0) == CB_OK);
    for (int64_t dim = -1; dim < 2; dim++) {
        int count = dim < 0 ? -1 : 1;
        cb_tensor *wanted = cb_reduce(reduction, made, count, &dim, 1, -1);
        cb_tensor *found = cb_reduce_steps(2, xs, length, code, reduction, count, &dim, 1);
        CHECK(found && wanted && found->numel == wanted->numel && found->ndim == 2);
        CHECK(found && !memcmp(found->data, wanted->data, (size_t)found->numel * 4), "%s, dim %d", op,
              (int)dim);
        cb_release(wanted);
        cb_release(found);
    }
    CHECK(!cb_reduce_steps(2, xs, length, code, 99, -1, NULL, 0) && cb_error_code() == CB_ERR_VALUE);
    CHECK(!cb_reduce_steps(2, xs, length - 1, code, 0, -1, NULL, 0) && cb_error_code() == CB_ERR_VALUE);
    CHECK(!cb_reduce_steps(2, (cb_tensor *[]){x, NULL}, length, code, 0, -1, NULL, 0) &&
          cb_error_code() == CB_ERR_NULL);
    cb_release(made), cb_release(x), cb_release(y);
}

/* Fused steps and the call that reads a result of theirs, as one: the bits of two, whether it is kept or not.
 */
static void test_pair(const char *reader, int64_t n, int64_t width, int op, bool kept) {
    cb_tensor *x = cb_random(0, CB_F32, CB_CPU, 2, (int64_t[]){n, width}, 1, 0, -1, 1);
    cb_tensor *y = cb_random(0, CB_F64, CB_CPU, 1, (int64_t[]){width}, 2, 0, -1, 1);
    cb_tensor *metas[] = {cb_as_meta(x), cb_as_meta(y)}, *steps[2] = {NULL};
    cb_program *p = cb_program_begin(2, metas);
    int64_t code[32], dim = 1;
    int length = fused_code(code);
    CHECK(p && cb_fused(2, metas, length, code, 2, steps, 0, 0) == CB_OK);
    cb_record_call(number_of("cb_fused"));
    cb_record_number((cb_word){.i = 2});
    cb_record_tensors(2, metas);
    cb_record_number((cb_word){.i = length});
    cb_record_bytes(code, length * (int64_t)sizeof *code);
    cb_record_number((cb_word){.i = 2});
    for (int i = 0; i < 3; i++) cb_record_number((cb_word){.i = 0}); /* the results' place, reuse, into */
    for (int i = 0; i < 2; i++) cb_record_result(steps[i]);
    bool softmax = !strcmp(reader, "cb_softmax");
    cb_tensor *made = softmax ? cb_softmax(steps[0], dim, op, -1) : cb_reduce(op, steps[0], 1, &dim, 0, -1);
    cb_record_call(number_of(reader));
    if (softmax) {
        cb_record_tensor(steps[0]);
        cb_record_number((cb_word){.i = dim});
        cb_record_number((cb_word){.i = op});
    } else {
        cb_record_number((cb_word){.i = op});
        cb_record_tensor(steps[0]);
        cb_record_number((cb_word){.i = 1});
        cb_record_bytes(&dim, sizeof dim);
        cb_record_number((cb_word){.i = 0});
    }
    cb_record_number((cb_word){.i = -1});
    cb_record_result(made);
    CHECK(cb_program_end(p, kept ? 3 : 2, (cb_tensor *[]){made, steps[1], steps[0]}, NULL) == CB_OK);
    CHECK(cb_program_pairs(p) == 1);
    cb_tensor *results[3] = {NULL}, *each[2] = {NULL};
    CHECK(cb_program_run(p, 2, (cb_tensor *[]){x, y}, 0, 0, results) == CB_OK);
    CHECK(cb_fused(2, (cb_tensor *[]){x, y}, length, code, 2, each, 0, 0) == CB_OK);
    cb_tensor *expected = softmax ? cb_softmax(each[0], dim, op, -1) : cb_reduce(op, each[0], 1, &dim, 0, -1);
    cb_tensor *wanted[] = {expected, each[1], each[0]}, *meta[] = {made, steps[0], steps[1]};
    for (int i = 0; i < 3; i++) {
        if (i < 2 || kept)
            CHECK(results[i] &&
                  !memcmp(results[i]->data, wanted[i]->data, (size_t)wanted[i]->numel * sizeof(float)));
        cb_release(results[i]), cb_release(wanted[i]), cb_release(meta[i]);
    }
    cb_program_free(p);
    cb_release(metas[0]), cb_release(metas[1]), cb_release(x), cb_release(y);
}

static void test_pairs(void) {
    static const int64_t sizes[][2] = {{3, 5}, {64, 64}, {700, 100}, {2, 300000}, {90, 4100}, {9000, 20}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int kept = 0; kept < 2; kept++) {
            test_pair("cb_reduce", sizes[i][0], sizes[i][1], cb_op_code("reduce", "sum"), kept);
            test_pair("cb_reduce", sizes[i][0], sizes[i][1], cb_op_code("reduce", "amax"), kept);
            test_pair("cb_softmax", sizes[i][0], sizes[i][1], kept, kept);
        }
}

/* Every number of the code replaced by every strange one: an error or a result, never a crash. */
static void test_broken_code(void) {
    cb_tensor *xs[] = {numbers(2, (float[]){1, 2}), numbers(2, (float[]){3, 4})};
    int64_t good[32], code[32];
    int n = fused_code(good);
    static const int64_t strange[] = {-1, -2, -3, -100, 0,  1,    2,         3,        4,
                                      11, 15, 16, 64,   65, 1000, INT64_MAX, INT64_MIN};
    for (int i = 0; i < n; i++)
        for (size_t s = 0; s < sizeof strange / sizeof *strange; s++) {
            memcpy(code, good, sizeof code);
            code[i] = strange[s];
            cb_tensor *out[2] = {NULL};
            int status = cb_fused(2, xs, n, code, 2, out, 0, 0);
            CHECK(status || (out[0] && out[1]));
            cb_release(out[0]), cb_release(out[1]);
        }
    for (int shorter = 0; shorter < n; shorter++) {
        cb_tensor *out[2] = {NULL};
        CHECK(cb_fused(2, xs, shorter, good, 2, out, 0, 0) == CB_ERR_VALUE);
    }
    cb_release(xs[0]), cb_release(xs[1]);
}

int main(void) {
    cb_init(NULL);
    test_recorded_calls();
    test_given_up_recording();
    test_fused();
    test_reduced_steps(10, "sum");
    test_reduced_steps(100000, "mean");
    test_reduced_steps(100000, "amax");
    test_sets();
    test_pairs();
    test_broken_code();
    return finish("test_program");
}
