/* A stand-in for NCCL, for tests: its entry points between processes of one machine, over shared memory, for
 * the emulated CUDA device. Calls are carried out at once. Unlike NCCL it checks what ranks ask for: another
 * function, count or type on another rank is an error, and so is an address outside of device memory.
 *
 * FL_STAND_IN, read at every call: "error" makes the next call leave an asynchronous error behind, "hang"
 * never end (until it is aborted), "die" ends the process, "refuse" keeps this rank out of communicators. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SUCCESS, UNHANDLED_CUDA, SYSTEM, INTERNAL, ARGUMENT, USAGE, REMOTE, IN_PROGRESS };
enum { CHUNK = 1 << 16, MOST_RANKS = 8, MOST_CALLS = 64 };
enum { SUM, PROD, MAX, MIN, OPERATIONS };
static const size_t sizes[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2};
enum { I8, U8, I32, U32, I64, U64, F16, F32, F64, BF16, TYPES };

typedef struct { /* from one rank to another; full is written last by the sender, cleared by the receiver */
    _Atomic int full;
    uint32_t bytes;
    uint64_t total;
    char what[64];
    char data[CHUNK];
} box;
typedef struct {
    _Atomic int pids[MOST_RANKS];
    box boxes[MOST_RANKS][MOST_RANKS];
} shared;

typedef struct ncclComm {
    uint64_t magic;
    int rank, size;
    shared *memory;
    _Atomic int error, aborted;
} *ncclComm_t;
typedef struct {
    char internal[128];
} ncclUniqueId;
static const uint64_t MAGIC = 0x6e63636c74657374;

typedef struct {
    bool send;
    char *at; /* the caller's memory */
    uint64_t total, done;
    int peer;
    bool started;
    char what[64];
    bool on_device;
} transfer;

static _Thread_local char last[256];
static _Thread_local int depth, queued;
static _Thread_local transfer calls[MOST_CALLS];
static _Thread_local ncclComm_t queued_on;

static int fail(int status, const char *text) {
    snprintf(last, sizeof last, "%s", text);
    return status;
}

/* ---- device memory ---- */
static bool (*open_memory)(const void *data, size_t nbytes, bool open);
static bool find_device(void) {
    const char *path = getenv("FL_CUDA_LIBRARY");
    void *library = path && !open_memory ? dlopen(path, RTLD_NOW | RTLD_NOLOAD) : NULL;
    if (library) *(void **)&open_memory = dlsym(library, "cb_emulated_memory_open");
    return open_memory != NULL;
}
static void copy(char *to, bool to_device, const char *from, bool from_device, size_t n) {
    if (to_device) open_memory(to, n, true);
    if (from_device) open_memory(from, n, true);
    memcpy(to, from, n);
    if (to_device) open_memory(to, n, false);
    if (from_device) open_memory(from, n, false);
}
static bool is_device(const void *data, uint64_t n) {
    if (!n) return true;
    if (!open_memory(data, n, true)) return false;
    open_memory(data, n, false);
    return true;
}

/* ---- the engine: transfers that all make progress ---- */
static bool peer_is_dead(ncclComm_t c, int peer) {
    int pid = c->memory->pids[peer];
    char path[64], text[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) return true;
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = 0;
    char *end = strrchr(text, ')');
    return end && end[1] && (end[2] == 'Z' || end[2] == 'X');
}

/* one step of a transfer; 1: something moved, 0: nothing, negative: an error */
static int advance(ncclComm_t c, transfer *t) {
    box *b = t->send ? &c->memory->boxes[c->rank][t->peer] : &c->memory->boxes[t->peer][c->rank];
    if (t->send) {
        if (atomic_load(&b->full)) return 0;
        b->bytes = (uint32_t)(t->total - t->done < CHUNK ? t->total - t->done : CHUNK);
        b->total = t->total;
        memcpy(b->what, t->what, sizeof b->what);
        copy(b->data, false, t->at + t->done, t->on_device, b->bytes);
        t->done += b->bytes;
        t->started = true;
        atomic_store(&b->full, 1);
        return 1;
    }
    if (!atomic_load(&b->full)) return 0;
    if (b->total != t->total || strcmp(b->what, t->what)) {
        snprintf(last, sizeof last, "rank %d does %s of %llu bytes, rank %d %s of %llu", t->peer, b->what,
                 (unsigned long long)b->total, c->rank, t->what, (unsigned long long)t->total);
        return -1;
    }
    copy(t->at + t->done, t->on_device, b->data, false, b->bytes);
    t->done += b->bytes;
    t->started = true;
    atomic_store(&b->full, 0);
    return 1;
}

static int carry_out(ncclComm_t c, transfer *all, int n) {
    const char *way = getenv("FL_STAND_IN");
    if (way && !strcmp(way, "die")) raise(SIGKILL);
    bool hang = way && !strcmp(way, "hang");
    for (long turn = 0;; turn++) {
        bool open = false, moved = false;
        if (atomic_load(&c->aborted)) return fail(INTERNAL, "the communicator was aborted");
        bool busy[2][MOST_RANKS] = {{false}}; /* the messages of a pair keep their order */
        for (int i = 0; i < n && !hang; i++) {
            transfer *t = &all[i];
            if (t->started && t->done == t->total) continue;
            open = true;
            if (busy[t->send][t->peer]) continue;
            busy[t->send][t->peer] = true;
            int step = advance(c, t);
            if (step < 0) return ARGUMENT;
            moved = moved || step;
        }
        if (!open && !hang) {
            if (way && !strcmp(way, "error")) atomic_store(&c->error, REMOTE); /* told later, as by NCCL */
            return SUCCESS;
        }
        if (moved) continue;
        if (turn % 256 == 255)
            for (int r = 0; r < c->size; r++)
                if (peer_is_dead(c, r)) { /* as NCCL: told later */
                    snprintf(last, sizeof last, "rank %d is gone", r);
                    atomic_store(&c->error, REMOTE);
                    return SUCCESS;
                }
        usleep(50);
    }
}

/* ---- arithmetic ---- */
static float from_half(uint16_t h) {
    uint32_t sign = (uint32_t)(h >> 15) << 31, e = (h >> 10) & 31, m = h & 1023;
    if (e == 0) {
        float value = (float)m * 0x1p-24f;
        return sign ? -value : value;
    }
    uint32_t bits = sign | (e == 31 ? 255u << 23 : (e + 112) << 23) | m << 13;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
static float from_bfloat(uint16_t h) {
    uint32_t bits = (uint32_t)h << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
static uint16_t to_bfloat(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    if (value != value) return 0x7fc0;
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
static uint16_t to_half(float value) {
    _Float16 h = (_Float16)value;
    uint16_t bits;
    memcpy(&bits, &h, 2);
    return bits;
}
#define COMBINE(T, load, store)                                                                       \
    for (size_t i = 0; i < n; i++) {                                                                  \
        T a = load(((const T##_at *)x)[i]), b = load(((T##_at *)y)[i]);                               \
        T r = op == SUM ? a + b : op == PROD ? a * b : op == MAX ? (a > b ? a : b) : (a < b ? a : b); \
        ((T##_at *)y)[i] = store(r);                                                                  \
    }
#define SAME(v) (v)
typedef int8_t int8_t_at;
typedef uint8_t uint8_t_at;
typedef int32_t int32_t_at;
typedef uint32_t uint32_t_at;
typedef int64_t int64_t_at;
typedef uint64_t uint64_t_at;
typedef float float_at;
typedef double double_at;
typedef float half;
typedef uint16_t half_at;

static void combine(int type, int op, const void *x, void *y, size_t n) {
    switch (type) {
        case I8: COMBINE(int8_t, SAME, SAME) break;
        case U8: COMBINE(uint8_t, SAME, SAME) break;
        case I32: COMBINE(int32_t, SAME, SAME) break;
        case U32: COMBINE(uint32_t, SAME, SAME) break;
        case I64: COMBINE(int64_t, SAME, SAME) break;
        case U64: COMBINE(uint64_t, SAME, SAME) break;
        case F32: COMBINE(float, SAME, SAME) break;
        case F64: COMBINE(double, SAME, SAME) break;
        case F16: COMBINE(half, from_half, to_half) break;
        case BF16: COMBINE(half, from_bfloat, to_bfloat) break;
    }
}

/* ---- NCCL's entry points ---- */
int ncclGetVersion(int *version) {
    *version = 22703;
    return SUCCESS;
}
const char *ncclGetErrorString(int status) {
    static const char *names[] = {"no error",
                                  "unhandled cuda error",
                                  "unhandled system error",
                                  "internal error",
                                  "invalid argument",
                                  "invalid usage",
                                  "remote process exited or there was a network error",
                                  "in progress"};
    return status >= 0 && status <= IN_PROGRESS ? names[status] : "unknown";
}
const char *ncclGetLastError(ncclComm_t comm) {
    (void)comm;
    return last;
}
int ncclGetUniqueId(ncclUniqueId *id) {
    static int count;
    memset(id, 0, sizeof *id);
    snprintf(id->internal, sizeof id->internal, "/fl-stand-in-%d-%d", (int)getpid(), count++);
    return SUCCESS;
}
int ncclCommInitRank(ncclComm_t *out, int size, ncclUniqueId id, int rank) {
    if (rank < 0 || rank >= size || size > MOST_RANKS || strncmp(id.internal, "/fl-stand-in-", 13))
        return fail(ARGUMENT, "ncclCommInitRank");
    const char *way = getenv("FL_STAND_IN");
    if (way && !strcmp(way, "refuse")) return fail(SYSTEM, "asked to refuse");
    if (!find_device()) return fail(UNHANDLED_CUDA, "the stand-in works with the emulated device only");
    int file = shm_open(id.internal, O_CREAT | O_RDWR, 0600);
    if (file < 0 || ftruncate(file, sizeof(shared))) return fail(SYSTEM, strerror(errno));
    shared *memory = mmap(NULL, sizeof(shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (memory == MAP_FAILED) return fail(SYSTEM, strerror(errno));
    ncclComm_t c = calloc(1, sizeof *c);
    c->magic = MAGIC;
    c->rank = rank;
    c->size = size;
    c->memory = memory;
    atomic_store(&memory->pids[rank], (int)getpid());
    for (int r = 0; r < size; r++)
        while (!atomic_load(&memory->pids[r])) usleep(100);
    shm_unlink(id.internal); /* all have it */
    *out = c;
    return SUCCESS;
}
int ncclCommGetAsyncError(ncclComm_t c, int *error) {
    *error = atomic_load(&c->error);
    return SUCCESS;
}
int ncclCommAbort(ncclComm_t c) {
    fprintf(stderr, "stand-in: rank %d aborts\n", c->rank);
    atomic_store(&c->aborted, 1); /* not freed: a call may be under way */
    return SUCCESS;
}

static int check(ncclComm_t c, const void *send, uint64_t sent, const void *recv, uint64_t taken, int type,
                 int op) {
    if (!c || c->magic != MAGIC) return fail(ARGUMENT, "no communicator");
    if (atomic_load(&c->aborted)) return fail(USAGE, "the communicator was aborted");
    if (type < 0 || type >= TYPES || op < 0 || op >= OPERATIONS) return fail(ARGUMENT, "type or operation");
    if (!is_device(send, sent * sizes[type]) || !is_device(recv, taken * sizes[type]))
        return fail(ARGUMENT, "expected addresses within one allocation of device memory");
    return SUCCESS;
}
#define TRY(call)                    \
    do {                             \
        int status_ = (call);        \
        if (status_) return status_; \
    } while (0)

/* every rank's part of `each` elements: send + i * step goes to rank i of those in `to`; the results of all
 * senders lie one after the other in `all` */
static int exchange(ncclComm_t c, const char *what, const void *send, size_t step, size_t bytes, int only_to,
                    int only_from, char *all, bool device) {
    transfer list[2 * MOST_RANKS];
    int n = 0;
    for (int r = 0; r < c->size; r++) {
        transfer t = {true, (char *)send + (size_t)r * step, bytes, 0, r, false, "", true};
        snprintf(t.what, sizeof t.what, "%s", what);
        if ((only_to < 0 || r == only_to) && (only_from < 0 || only_from == c->rank)) list[n++] = t;
        t.send = false;
        t.at = all + (only_from < 0 ? (size_t)r * bytes : 0);
        t.on_device = device;
        if ((only_to < 0 || only_to == c->rank) && (only_from < 0 || r == only_from)) list[n++] = t;
    }
    return carry_out(c, list, n);
}

static int reduced(ncclComm_t c, const char *what, const void *send, void *recv, size_t step, size_t count,
                   int type, int op, int root) {
    size_t bytes = count * sizes[type];
    char *all = malloc(bytes * (size_t)c->size + 1), label[64];
    snprintf(label, sizeof label, "%s of type %d with %d to %d", what, type, op, root);
    int status = exchange(c, label, send, step, bytes, root, -1, all, false);
    if (!status && (root < 0 || root == c->rank)) {
        for (int r = 1; r < c->size; r++) combine(type, op, all + bytes * (size_t)r, all, count);
        copy(recv, true, all, false, bytes);
    }
    free(all);
    return status;
}

int ncclAllReduce(const void *send, void *recv, size_t count, int type, int op, ncclComm_t c, void *stream) {
    (void)stream;
    TRY(check(c, send, count, recv, count, type, op));
    return reduced(c, "all_reduce", send, recv, 0, count, type, op, -1);
}
int ncclReduce(const void *send, void *recv, size_t count, int type, int op, int root, ncclComm_t c,
               void *stream) {
    (void)stream;
    TRY(check(c, send, count, recv, root == c->rank ? count : 0, type, op));
    return reduced(c, "reduce", send, recv, 0, count, type, op, root);
}
int ncclReduceScatter(const void *send, void *recv, size_t count, int type, int op, ncclComm_t c,
                      void *stream) {
    (void)stream;
    TRY(check(c, send, count * (size_t)c->size, recv, count, type, op));
    return reduced(c, "reduce_scatter", send, recv, count * sizes[type], count, type, op, -1);
}
int ncclAllGather(const void *send, void *recv, size_t count, int type, ncclComm_t c, void *stream) {
    (void)stream;
    TRY(check(c, send, count, recv, count * (size_t)c->size, type, SUM));
    return exchange(c, "all_gather", send, 0, count * sizes[type], -1, -1, recv, true);
}
int ncclBroadcast(const void *send, void *recv, size_t count, int type, int root, ncclComm_t c,
                  void *stream) {
    (void)stream;
    TRY(check(c, send, root == c->rank ? count : 0, recv, count, type, SUM));
    return exchange(c, "broadcast", send, 0, count * sizes[type], -1, root, recv, true);
}

static int note(bool send, void *at, size_t count, int type, int peer, ncclComm_t c) {
    TRY(check(c, at, count, NULL, 0, type, SUM));
    if (peer < 0 || peer >= c->size || queued == MOST_CALLS || (queued && queued_on != c))
        return fail(ARGUMENT, "ncclSend or ncclRecv");
    calls[queued] = (transfer){send, at, count * sizes[type], 0, peer, false, "message", true};
    queued_on = c;
    queued++;
    if (depth) return SUCCESS;
    queued = 0;
    return carry_out(c, calls, 1);
}
int ncclSend(const void *send, size_t count, int type, int peer, ncclComm_t c, void *stream) {
    (void)stream;
    return note(true, (void *)send, count, type, peer, c);
}
int ncclRecv(void *recv, size_t count, int type, int peer, ncclComm_t c, void *stream) {
    (void)stream;
    return note(false, recv, count, type, peer, c);
}
int ncclGroupStart(void) {
    depth++;
    return SUCCESS;
}
int ncclGroupEnd(void) {
    if (!depth) return fail(USAGE, "ncclGroupEnd without ncclGroupStart");
    if (--depth || !queued) return SUCCESS;
    int n = queued;
    queued = 0;
    return carry_out(queued_on, calls, n);
}
