/* Programs from files: one that is right runs, and thousands of damaged ones give errors and nothing else.
 * Under the sanitizers this is the proof that a file cannot make the core read or write where it may not.
 *
 * With arguments it is a fuzzer of other files: test_program_file FILE [ROUNDS [SEED]]. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "internal.h"
#include "program/program.h"

/* Under the address sanitizer a damaged size is a failed allocation, not minutes of touching memory. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "max_allocation_size_mb=64:allocator_may_return_null=1"; }

static uint64_t state = 0x9e3779b97f4a7c15u;

static uint64_t draw(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

typedef struct bytes {
    char *data;
    int64_t n;
} bytes;

static int number_of(const char *function) {
    for (int i = 0; i < cb_call_count; i++)
        if (!strcmp(cb_call_names[i], function)) return i;
    return -1;
}

/* y = softmax(reshape(x + c, [4, 2]), dim), cat(y, y, c) made by hand: what the recorder would write down. */
static bytes example(void) {
    static const int64_t c_shape[] = {2};
    static const float c_data[] = {1, 2};
    char names[8192];
    int total = 0;
    const char *functions[] = {"cb_binary", "cb_reshape", "cb_softmax", "cb_cat", "cb_reduce", "cb_full"};
    names[0] = 0;
    for (int i = 0; i < 6; i++) {
        if (i) strcat(names, ";");
        strcat(names, cb_call_signatures[number_of(functions[i])].text);
    }
    strcat(names, "|binary add;reduce sum|");
    for (int d = 0; d < CB_DTYPE_COUNT; d++) {
        if (d) strcat(names, ";");
        strcat(names, cb_dtypes[d].name);
    }
    /* slots: 0 x, 1 c, 2 x + c, 3 reshaped, 4 softmax, 5 catted, 6 summed, 7 a filled tensor */
    cb_scalar one = {.kind = 'f', .re = 1.5};
    int64_t pool[32] = {8, 4, 3, 0, -1}; /* shape [8]; list (4, 3); dim 0; shape [3] at 3 */
    pool[3] = 0;
    pool[4] = 3;
    memcpy(pool + 5, &one, sizeof one);
    const int64_t words[] = {
        0,      0,      1,                    /* add(x, c) */
        2,      1,      0,                    /* reshape to the shape at 0 */
        3,      0,      0, -1,                /* softmax along 0 */
        2,      8,      0,                    /* cat of the list at 8 */
        1,      5,      1, 24, 0,  -1,         /* sum over the dims at 24 */
        CB_F32, CB_CPU, 1, 32, 40,  /* full */
    };
    int64_t program[512];
    int64_t n = 0;
    const int64_t head[] = {0x474f525042434c46, 1, 1, 1, 2, 6, (int64_t)(sizeof words / 8), 10};
    memcpy(program, head, sizeof head);
    n = 8;
    const int64_t rest[] = {CB_F32, 0, 2, 4, 2, 1, 0, 6, 7, 0, 2, 1, 3, 2, 4, 3, 5, 4, 6, 5, 7};
    memcpy(program + n, rest, sizeof rest);
    n += (int64_t)(sizeof rest / 8);
    memcpy(program + n, words, sizeof words);
    n += (int64_t)(sizeof words / 8);
    memcpy(program + n, pool, 80);
    n += 10;
    char *header = malloc(16384);
    total = sprintf(
        header,
        "{\"__metadata__\":{\"format\":\"x\\\"y\",\"program.names\":\"%s\"},\"program\":{\"dtype\":\"I64\","
        "\"shape\":[%lld],\"data_offsets\":[0,%lld]},\"constant.0\":{\"dtype\":\"F32\",\"shape\":[%lld],"
        "\"data_offsets\":[%lld,%lld]}}",
        names, (long long)n, (long long)n * 8, (long long)c_shape[0], (long long)n * 8, (long long)n * 8 + 8);
    bytes made = {malloc((size_t)(8 + total + n * 8 + 8)), 8 + total + n * 8 + 8};
    uint64_t length = (uint64_t)total;
    memcpy(made.data, &length, 8);
    memcpy(made.data + 8, header, length);
    memcpy(made.data + 8 + length, program, (size_t)n * 8);
    memcpy(made.data + 8 + length + n * 8, c_data, 8);
    free(header);
    return made;
}

/* Runs it on inputs of the form it asks for, if they are small. */
static int run(const cb_program *p) {
    enum { MOST = 64 };
    cb_tensor *in[MOST] = {0}, *out[MOST] = {0};
    int n = cb_program_input_count(p), n_out = cb_program_result_count(p), status = n > MOST || n_out > MOST;
    for (int i = 0; i < n && !status; i++) {
        const cb_tensor *like = cb_program_input(p, i);
        if (like->numel > 1 << 20) status = 1;
        if (!status)
            in[i] = cb_full(like->dtype, CB_CPU, like->ndim, like->shape, &(cb_scalar){.kind = 'i', .i = 1});
        status |= !in[i];
    }
    for (int i = 0; i < n_out && !status; i++) status = cb_program_result(p, i)->numel > 1 << 20;
    if (!status) status = cb_program_run(p, n, in, 3, 4, out);
    for (int i = 0; i < n && i < MOST; i++) cb_release(in[i]);
    for (int i = 0; i < n_out && i < MOST; i++) cb_release(out[i]);
    return status;
}

static bool attempt(const char *data, int64_t n) {
    /* in memory of its own size, so that a look past its end is seen */
    char *exact = malloc((size_t)CB_MAX(n, 1));
    memcpy(exact, data, (size_t)n);
    cb_program *p = cb_program_load_bytes(exact, n);
    free(exact);
    bool loaded = p != NULL;
    if (p) run(p);
    cb_program_free(p);
    return loaded;
}

/* Bytes, or whole words of the program, become others; or the file ends early. */
static void fuzz(bytes file, int rounds) {
    static const int64_t odd[] = {-1,  0,         1,         2,         31,        32,     33,
                                  255, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, 1 << 20};
    char *data = malloc((size_t)file.n);
    uint64_t header;
    memcpy(&header, file.data, 8);
    int64_t start = 8 + (int64_t)header, words = CB_MIN((file.n - start) / 8, 1 << 15);
    int loaded = 0;
    for (int k = 0; k < rounds; k++) {
        memcpy(data, file.data, (size_t)file.n);
        int64_t n = file.n;
        int kind = (int)(draw() % 8);
        for (int i = (int)(draw() % 3); i >= 0; i--) {
            if (kind == 0) {
                n = (int64_t)(draw() % (uint64_t)file.n);
            } else if (kind == 1) {
                data[draw() % (uint64_t)CB_MIN(start, file.n)] ^= (char)(1 << draw() % 8);
            } else if (kind == 2) {
                data[draw() % (uint64_t)file.n] = (char)draw();
            } else if (words > 0) {
                int64_t value =
                    kind < 5 ? odd[draw() % (sizeof odd / sizeof *odd)] : (int64_t)(draw() % 64) - 4;
                memcpy(data + start + 8 * (int64_t)(draw() % (uint64_t)words), &value, 8);
            }
        }
        loaded += attempt(data, n);
    }
    free(data);
    printf("%d of %d damaged files could be run\n", loaded, rounds);
}

static bytes read_whole(const char *path) {
    FILE *in = fopen(path, "rb");
    bytes made = {NULL, 0};
    if (!in) return made;
    fseek(in, 0, SEEK_END);
    made.n = ftell(in);
    fseek(in, 0, SEEK_SET);
    made.data = malloc((size_t)made.n + 1);
    if (fread(made.data, 1, (size_t)made.n, in) != (size_t)made.n) made.n = 0;
    fclose(in);
    return made;
}

int main(int argc, char **argv) {
    cb_init(NULL);
    if (getenv("CB_BLAS")) cb_load_blas(getenv("CB_BLAS"));
    if (argc > 3) state += strtoull(argv[3], NULL, 10) * 0x100000001b3u;
    if (argc > 1) {
        bytes file = read_whole(argv[1]);
        CHECK(file.data && attempt(file.data, file.n));
        if (!failures) fuzz(file, argc > 2 ? atoi(argv[2]) : 10000);
        free(file.data);
        return finish(argv[1]);
    }
    bytes file = example();
    cb_program *p = cb_program_load_bytes(file.data, file.n);
    CHECK(p);
    if (p) {
        CHECK(cb_program_length(p) == 6 && cb_program_input_count(p) == 1 && cb_program_result_count(p) == 2);
        CHECK(cb_program_result(p, 0)->ndim == 0 && cb_program_result(p, 1)->shape[0] == 3);
        CHECK(!cb_program_input(p, 1) && !cb_program_result(p, -1));
        float x[8] = {0, 1, 2, 3, 4, 5, 6, 7};
        cb_tensor *in = cb_from_bytes(x, CB_F32, 2, (int64_t[]){4, 2}), *out[2];
        CHECK(cb_program_run(p, 1, &in, 0, 0, out) == CB_OK);
        CHECK(((float *)out[1]->data)[2] == 1.5f);
        cb_release(out[0]);
        cb_release(out[1]);
        cb_release(in);
    }
    cb_program_free(p);
    for (int64_t n = 0; n < file.n; n++) CHECK(!attempt(file.data, n));
    fuzz(file, 10000);
    free(file.data);
    CHECK(!cb_program_load("/nowhere") && cb_error_code() == CB_ERR_VALUE);
    return finish("test_program_file");
}
