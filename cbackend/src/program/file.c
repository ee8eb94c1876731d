/* Reading programs from safetensors files: 8 bytes with the length of a JSON header, the header, the tensors'
 * bytes. The reader takes JSON of the form that safetensors allows, and no other; it never looks past `end`.
 * Tensors are copied out, so that a file need not be aligned and may go. */
#include <stdio.h>
#include <stdlib.h>

#include "program.h"

enum { MAX_HEADER = 100 << 20, MAX_CONSTANTS = 1 << 20 };

typedef struct text {
    const char *at, *end;
    bool bad;
} text;

/* A string's characters as they stand in the file, escapes and all. */
typedef struct span {
    const char *at;
    int64_t n;
} span;

typedef struct file {
    const char *data; /* of the tensors */
    int64_t nbytes;
    cb_tensor **constants;
    int n_constants, most;
    cb_tensor *program;
    char *names;
} file;

static int damaged(const char *what) {
    return cb_fail(CB_ERR_VALUE, "load_program: expected %s. The file is damaged, or no exported program.",
                   what);
}

static void blanks(text *t) {
    while (t->at < t->end && (*t->at == ' ' || *t->at == '\n' || *t->at == '\t' || *t->at == '\r')) t->at++;
}

static bool take(text *t, char c) {
    blanks(t);
    if (t->bad || t->at >= t->end || *t->at != c) return false;
    t->at++;
    return true;
}

static void need(text *t, char c) {
    if (!take(t, c)) t->bad = true;
}

static span string(text *t) {
    need(t, '"');
    span s = {t->at, 0};
    while (!t->bad) {
        if (t->at >= t->end || (unsigned char)*t->at < 32) {
            t->bad = true;
        } else if (*t->at == '"') {
            s.n = t->at++ - s.at;
            return s;
        } else {
            t->at += *t->at == '\\' && t->end - t->at > 1 ? 2 : 1;
        }
    }
    return (span){t->end, 0};
}

static bool is(span s, const char *wanted) {
    return s.n == (int64_t)strlen(wanted) && !memcmp(s.at, wanted, (size_t)s.n);
}

static int64_t number(text *t) {
    blanks(t);
    int64_t value = 0;
    const char *first = t->at;
    while (t->at < t->end && *t->at >= '0' && *t->at <= '9')
        if (__builtin_mul_overflow(value, (int64_t)10, &value) ||
            __builtin_add_overflow(value, (int64_t)(*t->at++ - '0'), &value))
            t->bad = true;
    if (t->at == first) t->bad = true;
    return t->bad ? 0 : value;
}

static int numbers(text *t, int64_t *to, int most) {
    int n = 0;
    need(t, '[');
    if (take(t, ']')) return 0;
    do {
        int64_t value = number(t);
        if (n == most) t->bad = true;
        if (t->bad) return 0;
        to[n++] = value;
    } while (take(t, ','));
    need(t, ']');
    return n;
}

static int dtype_of(span s) {
    static const struct {
        const char *name;
        int dtype;
    } known[] = {{"BOOL", CB_BOOL}, {"U8", CB_U8},   {"I8", CB_I8},   {"U16", CB_U16}, {"I16", CB_I16},
                 {"U32", CB_U32},   {"I32", CB_I32}, {"U64", CB_U64}, {"I64", CB_I64}, {"F16", CB_F16},
                 {"BF16", CB_BF16}, {"F32", CB_F32}, {"F64", CB_F64}, {"C64", CB_C64}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (is(s, known[i].name)) return known[i].dtype;
    return -1;
}

/* {"dtype": ..., "shape": [...], "data_offsets": [...]}; NULL and an error otherwise */
static cb_tensor *tensor(text *t, const file *f) {
    int64_t shape[CB_MAX_NDIM], range[2] = {-1, -1};
    int dtype = -1, ndim = -1;
    need(t, '{');
    do {
        span key = string(t);
        need(t, ':');
        if (is(key, "dtype"))
            dtype = dtype_of(string(t));
        else if (is(key, "shape"))
            ndim = numbers(t, shape, CB_MAX_NDIM);
        else if (!is(key, "data_offsets") || numbers(t, range, 2) != 2)
            t->bad = true;
    } while (take(t, ','));
    need(t, '}');
    if (t->bad || dtype < 0 || ndim < 0 || range[0] < 0 || range[1] < range[0] || range[1] > f->nbytes)
        return damaged("a tensor with dtype, shape and place"), NULL;
    int64_t n = cb_numel_of(ndim, shape), nbytes;
    if (n < 0 || __builtin_mul_overflow(n, (int64_t)cb_dtypes[dtype].size, &nbytes) ||
        nbytes != range[1] - range[0])
        return damaged("a tensor whose bytes fit its shape"), NULL;
    const unsigned char *bytes = (const unsigned char *)f->data + range[0];
    for (int64_t i = 0; dtype == CB_BOOL && i < nbytes; i++)
        if (bytes[i] > 1) return damaged("0 or 1 in bool tensors"), NULL;
    return cb_from_bytes(bytes, dtype, ndim, shape);
}

/* the constant number of "constant.<i>", or -1 */
static int64_t constant_number(span key) {
    static const char prefix[] = "constant.";
    int64_t n = sizeof prefix - 1;
    if (key.n <= n || memcmp(key.at, prefix, (size_t)n)) return -1;
    text t = {key.at + n, key.at + key.n, false};
    int64_t value = number(&t);
    return t.bad || t.at != t.end || value >= MAX_CONSTANTS ? -1 : value;
}

static int metadata(text *t, file *f) {
    need(t, '{');
    if (take(t, '}')) return CB_OK;
    do {
        span key = string(t);
        need(t, ':');
        span value = string(t);
        if (t->bad) return damaged("texts as metadata");
        if (!is(key, "program.names") || f->names) continue;
        if (memchr(value.at, '\\', (size_t)value.n) || memchr(value.at, 0, (size_t)value.n))
            return damaged("plain names");
        f->names = malloc((size_t)value.n + 1);
        if (!f->names) return cb_fail(CB_ERR_MEMORY, "load_program: expected memory.");
        memcpy(f->names, value.at, (size_t)value.n);
        f->names[value.n] = 0;
    } while (take(t, ','));
    need(t, '}');
    return CB_OK;
}

static int keep(file *f, int64_t i, cb_tensor *x) {
    if (i >= f->most) {
        int more = (int)CB_MAX(i + 1, 2 * (int64_t)f->most);
        cb_tensor **larger = realloc(f->constants, (size_t)more * sizeof *larger);
        if (!larger) {
            cb_release(x);
            return cb_fail(CB_ERR_MEMORY, "load_program: expected memory.");
        }
        memset(larger + f->most, 0, (size_t)(more - f->most) * sizeof *larger);
        f->constants = larger;
        f->most = more;
    }
    cb_release(f->constants[i]);
    f->constants[i] = x;
    f->n_constants = CB_MAX(f->n_constants, (int)i + 1);
    return CB_OK;
}

static int read_header(text *t, file *f) {
    need(t, '{');
    do {
        span key = string(t);
        need(t, ':');
        if (t->bad) return damaged("a JSON header");
        if (is(key, "__metadata__")) {
            CB_TRY(metadata(t, f));
            continue;
        }
        int64_t i = constant_number(key);
        bool program = is(key, "program");
        if (i < 0 && (!program || f->program)) return damaged("one program and its constants");
        cb_tensor *x = tensor(t, f);
        if (!x) return cb_error_code();
        if (program)
            f->program = x;
        else
            CB_TRY(keep(f, i, x));
    } while (take(t, ','));
    need(t, '}');
    blanks(t);
    return t->bad || t->at != t->end ? damaged("a JSON header") : CB_OK;
}

static cb_program *load(text *header, file *f) {
    if (read_header(header, f)) return NULL;
    if (!f->program || f->program->dtype != CB_I64 || f->program->ndim != 1 || !f->names)
        return damaged("a program and its names"), NULL;
    for (int i = 0; i < f->n_constants; i++)
        if (!f->constants[i]) return damaged("all constants"), NULL;
    int n = f->n_constants;
    f->n_constants = 0; /* decode takes them */
    return cb_program_decode(f->program->data, f->program->numel, f->names, n, f->constants);
}

cb_program *cb_program_load_bytes(const void *data, int64_t nbytes) {
    uint64_t length = 0;
    for (int i = 7; i >= 0 && nbytes >= 8; i--) length = length << 8 | ((const unsigned char *)data)[i];
    if (nbytes < 8 || length > (uint64_t)CB_MIN(nbytes - 8, MAX_HEADER)) {
        damaged("a header of the length that it says");
        return NULL;
    }
    text header = {(const char *)data + 8, (const char *)data + 8 + length, false};
    file f = {.data = header.end, .nbytes = nbytes - 8 - (int64_t)length};
    cb_program *p = load(&header, &f);
    for (int i = 0; i < f.n_constants; i++) cb_release(f.constants[i]);
    cb_release(f.program);
    free(f.constants);
    free(f.names);
    return p;
}

cb_program *cb_program_load(const char *path) {
    FILE *in = fopen(path, "rb");
    long nbytes = -1;
    if (in && !fseek(in, 0, SEEK_END)) nbytes = ftell(in);
    char *data = nbytes >= 0 && !fseek(in, 0, SEEK_SET) ? malloc((size_t)nbytes + 1) : NULL;
    bool whole = data && fread(data, 1, (size_t)nbytes, in) == (size_t)nbytes;
    if (in) fclose(in);
    cb_program *p = NULL;
    if (whole)
        p = cb_program_load_bytes(data, nbytes);
    else
        cb_fail(CB_ERR_VALUE, "load_program: expected a file that can be read, got %s.", path);
    free(data);
    return p;
}
