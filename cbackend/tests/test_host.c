/* Programs beyond running as recorded: functions of the host, inputs that are used up, other sizes. */
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "internal.h"
#include "record.h"

static cb_tensor *numbers(int n, const float *values) {
    return cb_from_bytes(values, CB_F32, 1, (int64_t[]){n});
}

static float at(const cb_tensor *x, int i) { return ((const float *)x->data)[i]; }

static int number_of(const char *name) {
    extern const char *const cb_call_names[];
    extern const int cb_call_count;
    for (int i = 0; i < cb_call_count; i++)
        if (!strcmp(cb_call_names[i], name)) return i;
    return -1;
}

/* As the generated wrappers do. */
static cb_tensor *recorded_add(cb_tensor *x, cb_tensor *y) {
    int code = cb_op_code("binary", "add");
    cb_tensor *out = cb_binary(code, x, y);
    cb_record_call(number_of("cb_binary"));
    cb_record_number((cb_word){.i = code});
    cb_record_tensor(x);
    cb_record_tensor(y);
    cb_record_result(out);
    return out;
}

static cb_tensor *recorded_host(int64_t function, cb_tensor *x, int ncode, const int64_t *forms) {
    cb_tensor *out = NULL;
    if (cb_host_call(function, 1, &x, ncode, forms, 1, &out, CB_META)) return NULL;
    cb_record_call(number_of("cb_host_call"));
    cb_record_number((cb_word){.i = function});
    cb_record_number((cb_word){.i = 1});
    cb_record_tensors(1, &x);
    cb_record_number((cb_word){.i = ncode});
    cb_record_bytes(forms, ncode * (int64_t)sizeof *forms);
    cb_record_number((cb_word){.i = 1});
    cb_record_number((cb_word){.i = 0});
    cb_record_number((cb_word){.i = CB_CPU});
    cb_record_result(out);
    return out;
}

/* Function 7 doubles; all others fail. */
static int host(int64_t function, int n, cb_tensor *const *xs, int nout, cb_tensor *const *out) {
    if (function != 7 || n != 1 || nout != 1) return 1;
    for (int64_t i = 0; i < out[0]->numel; i++) ((float *)out[0]->data)[i] = 2 * at(xs[0], (int)i);
    return 0;
}

static void test_host_functions(void) {
    cb_tensor *x = numbers(3, (float[]){1, 2, 3}), *meta = cb_as_meta(x), *out = NULL;
    int64_t forms[] = {CB_F32, 1, 3};
    CHECK(cb_host_call(7, 1, &x, 3, forms, 1, &out, CB_CPU) == CB_ERR_UNSUPPORTED && !out);
    cb_host_set(host);
    CHECK(cb_host_call(7, 1, &x, 3, forms, 1, &out, CB_CPU) == CB_OK && at(out, 2) == 6);
    cb_release(out);
    CHECK(cb_host_call(8, 1, &x, 3, forms, 1, &out, CB_CPU) == CB_ERR_HOST && !out);
    CHECK(cb_host_call(8, 1, &x, 3, forms, 1, &out, CB_META) == CB_OK && cb_is_meta(out)); /* not called */
    cb_release(out);
    CHECK(cb_host_call(7, 1, (cb_tensor *[]){NULL}, 3, forms, 1, &out, CB_CPU) == CB_ERR_NULL);
    static const int64_t strange[] = {-1, 1000, INT64_MAX, INT64_MIN};
    for (int i = 0; i < 2; i++)
        for (int s = 0; s < 4; s++) {
            int64_t broken[] = {CB_F32, 1, 3};
            broken[i] = strange[s];
            CHECK(cb_host_call(7, 1, &x, 3, broken, 1, &out, CB_CPU) && !out);
        }
    for (int shorter = 0; shorter < 3; shorter++)
        CHECK(cb_host_call(7, 1, &x, shorter, forms, 1, &out, CB_CPU) == CB_ERR_VALUE);

    for (int64_t function = 7; function <= 8; function++) {
        cb_program *p = cb_program_begin(1, &meta);
        cb_tensor *doubled = recorded_host(function, meta, 3, forms), *sum = recorded_add(doubled, meta);
        CHECK(cb_program_end(p, 1, &sum, NULL) == CB_OK && cb_program_length(p) == 2);
        int status = cb_program_run(p, 1, &x, 0, 0, &out);
        CHECK(status == (function == 7 ? CB_OK : CB_ERR_HOST));
        if (!status) {
            CHECK(at(out, 1) == 6);
            cb_release(out);
        }
        char *names = NULL;
        CHECK(!cb_program_encode(p, 0, &names) && cb_error_code() == CB_ERR_UNSUPPORTED && !names);
        cb_release(doubled), cb_release(sum);
        cb_program_free(p);
    }
    cb_release(x), cb_release(meta);
}

static void test_given_inputs(void) {
    cb_tensor *x = numbers(2, (float[]){1, 2}), *y = numbers(2, (float[]){3, 4}), *out = NULL;
    cb_tensor *metas[] = {cb_as_meta(x), cb_as_meta(y)};
    cb_program *p = cb_program_begin(2, metas);
    cb_tensor *sum = recorded_add(metas[0], metas[1]), *more = recorded_add(sum, metas[1]);
    CHECK(cb_program_give(p, 1, (int64_t[]){2}) == CB_ERR_INDEX);
    CHECK(cb_program_give(p, 1, (int64_t[]){0}) == CB_OK);
    CHECK(cb_program_end(p, 1, &more, NULL) == CB_OK);
    CHECK(cb_program_give(p, 1, (int64_t[]){0}) == CB_ERR_VALUE);
    cb_tensor *longer = numbers(3, (float[]){1, 2, 3});
    CHECK(cb_program_run(p, 2, (cb_tensor *[]){longer, y}, 0, 0, &out) == CB_PROGRAM_OTHER_INPUTS);
    CHECK(longer->refcount == 1);
    cb_retain(x);
    CHECK(cb_program_run(p, 2, (cb_tensor *[]){x, y}, 0, 0, &out) == CB_OK && at(out, 1) == 10);
    CHECK(x->refcount == 1 && y->refcount == 1);
    cb_release(out);
    CHECK(cb_program_run(p, 2, (cb_tensor *[]){x, y}, 0, 0, &out) == CB_OK); /* the last reference */
    cb_tensor *all[] = {out, y, longer, sum, more, metas[0], metas[1]};
    for (int i = 0; i < 7; i++) cb_release(all[i]);
    cb_program_free(p);
}

static void test_variants(void) {
    cb_tensor *x = numbers(3, (float[]){1, 2, 3}), *c = numbers(1, (float[]){10});
    cb_tensor *meta = cb_as_meta(x), *out = NULL;
    cb_program *p = cb_program_begin(1, &meta);
    cb_tensor *sum = recorded_add(meta, c);
    CHECK(cb_program_end(p, 1, &sum, NULL) == CB_OK);
    int64_t n = cb_program_words(p, NULL), *words = malloc((size_t)n * sizeof *words);
    CHECK(cb_program_words(p, words) == n && words[0] < n);
    CHECK(words[n - 2] == 3 && words[n - 1] == 1); /* shape and strides of the input */
    words[n - 2] = 5;
    cb_tensor *other = numbers(1, (float[]){20});
    cb_program *q = cb_program_variant(p, words, 1, &other);
    CHECK(q && cb_program_length(q) == 1);
    cb_tensor *longer = numbers(5, (float[]){1, 2, 3, 4, 5});
    CHECK(cb_program_run(q, 1, &x, 0, 0, &out) == CB_PROGRAM_OTHER_INPUTS);
    CHECK(cb_program_run(q, 1, &longer, 0, 0, &out) == CB_OK && at(out, 4) == 25);
    cb_release(out);
    cb_program_free(p); /* they share nothing */
    CHECK(cb_program_run(q, 1, &longer, 0, 0, &out) == CB_OK && at(out, 0) == 21);
    cb_release(out);
    words[n - 2] = -1;
    CHECK(!cb_program_variant(q, words, 1, &other));
    CHECK(!cb_program_variant(q, words, 0, NULL));
    cb_program_free(q);
    free(words);
    cb_tensor *all[] = {x, c, meta, sum, other, longer};
    for (int i = 0; i < 6; i++) cb_release(all[i]);
}

int main(void) {
    cb_init(NULL);
    test_host_functions();
    test_given_inputs();
    test_variants();
    return finish("test_host");
}
