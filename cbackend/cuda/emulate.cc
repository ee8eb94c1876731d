/* The machinery behind emulate.h: fibres for the threads of a block, barriers, shared memory with its
 * checks, and device memory in guarded pages.
 *
 * One launch, copy or allocation runs at a time, under one lock. A fibre runs the threads of a block one
 * after the other; when one blocks, the fibre is that thread's, and another fibre goes on with those that
 * have not started. So kernels without barriers never switch. A report abandons the fibres and becomes the
 * error of the launch. */
#include "emulate.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "emulate_api.h"
#include "emulate_memory.h"
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

/* ---- fibres ---- */
enum { STACK = 256 << 10, PAGE = 4096 };

#if defined(__x86_64__)
typedef void *place; /* a stack pointer below the registers that calls preserve */
extern "C" void cb_emulate_switch(place *from, place to);
__asm__(".text\n.globl cb_emulate_switch\n.hidden cb_emulate_switch\n.type cb_emulate_switch,@function\n"
        "cb_emulate_switch:\n"
        "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
        "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
        "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n"
        ".size cb_emulate_switch,.-cb_emulate_switch\n");
static void start_at(place *p, char *stack, void (*entry)()) {
    void **top = (void **)(stack + STACK);
    *--top = nullptr; /* entry finds the stack as after a call: 8 bytes below a multiple of 16 */
    *--top = (void *)entry;
    for (int i = 0; i < 6; i++) *--top = nullptr;
    *p = top;
}
static void go(place *from, place *to) { cb_emulate_switch(from, *to); }
#else
typedef ucontext_t place;
static void start_at(place *p, char *stack, void (*entry)()) {
    getcontext(p);
    p->uc_stack.ss_sp = stack;
    p->uc_stack.ss_size = STACK;
    p->uc_link = nullptr;
    makecontext(p, entry, 0);
}
static void go(place *from, place *to) { swapcontext(from, to); }
#endif

struct fibre {
    place at;
    char *stack;
};

struct thread : cb_emulated_thread {
    fibre *on;         /* the fibre that it blocks on */
    const char *waits; /* what for, in words; NULL when it does not */
    int line;
    bool done;
};

struct meeting { /* of the lanes of one mask of one warp; two rounds' values, as lanes may be a round apart */
    unsigned arrived, round, votes;
    unsigned result[2];
    alignas(16) char values[2][32 * 16];
};

/* ---- shared memory ---- */
/* One byte's history: who wrote it last and who read it since, with the epochs of block and warp. */
struct mark {
    uint16_t thread; /* number + 1; 0 nobody; MANY several lanes of a warp */
    uint16_t warp;
    uint32_t block_epoch, warp_epoch;
};
enum { MANY = 0xffff };
struct history {
    mark write, reads[2]; /* reads of two warps at most: a third changes no answer */
    bool written, atomic;
};
struct cb_emulated_array {
    std::string name;
    std::vector<char> bytes;
    std::vector<history> past;
};

/* ---- the running launch ---- */
cb_emulated_thread *cb_emulated_self;
uint3 cb_emulated_block;
dim3 cb_emulated_block_dim, cb_emulated_grid_dim;

static struct {
    const char *kernel;
    void (*body)(void *);
    void *context;
    std::vector<thread> threads;
    std::deque<thread *> ready;
    std::vector<fibre *> idle;
    fibre *running;
    place scheduler;
    unsigned started, finished, at_barrier, votes, barrier_votes;
    const char *file;
    int line;
    uint32_t epoch;
    std::map<std::pair<unsigned, unsigned>, meeting> meetings; /* by warp and mask */
    std::map<const void *, cb_emulated_array> arrays;
    cb_emulated_array dynamic;
    bool failed;
} now;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static std::string first_error; /* until cb_emulate_take_error */

static thread *self() { return static_cast<thread *>(cb_emulated_self); }

static void run_threads() { /* what a fibre does */
    for (;;) {
        fibre *mine = now.running;
        while (now.started < now.threads.size()) {
            thread *t = &now.threads[now.started++];
            cb_emulated_self = t;
            now.body(now.context);
            t = self(); /* the same, after any switches */
            t->done = true;
            now.finished++;
        }
        mine = now.running;
        now.idle.push_back(mine);
        go(&mine->at, &now.scheduler);
    }
}

static fibre *fibre_new() {
    if (!now.idle.empty()) {
        fibre *f = now.idle.back();
        now.idle.pop_back();
        return f;
    }
    fibre *f = new fibre;
    char *pages =
        (char *)mmap(nullptr, STACK + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) abort();
    mprotect(pages, PAGE, PROT_NONE);
    f->stack = pages + PAGE;
    start_at(&f->at, f->stack, run_threads);
    return f;
}

static void resume(fibre *f, thread *t) {
    now.running = f;
    cb_emulated_self = t;
    go(&now.scheduler, &f->at);
    cb_emulated_self = nullptr;
}

/* The running thread gives way until somebody puts it among the ready ones. */
static void block_here(const char *what, int line) {
    thread *t = self();
    t->waits = what;
    t->line = line;
    t->on = now.running;
    go(&t->on->at, &now.scheduler);
    t->waits = nullptr;
}

static std::string thread_name(const cb_emulated_thread *t) {
    char text[160];
    snprintf(text, sizeof text, "block (%u, %u, %u) thread (%u, %u, %u)", cb_emulated_block.x,
             cb_emulated_block.y, cb_emulated_block.z, t->index.x, t->index.y, t->index.z);
    return text;
}

void cb_emulate_note(const std::string &what) {
    now.failed = true;
    if (first_error.empty()) first_error = what;
    if (getenv("FL_EMULATE_ABORT")) {
        fprintf(stderr, "%s\n", what.c_str());
        abort();
    }
}

void cb_emulate_report(const char *format, ...) {
    char text[600];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!cb_emulated_self) {
        fprintf(stderr, "emulated device: %s\n", text);
        abort();
    }
    cb_emulate_note("kernel " + std::string(now.kernel) + ", " + thread_name(cb_emulated_self) + ": " + text);
    place nowhere;
    go(&nowhere, &now.scheduler); /* the fibre is abandoned */
    abort();
}

std::string cb_emulate_take_error() {
    std::string text;
    text.swap(first_error);
    return text;
}

/* ---- barriers ---- */
int cb_emulate_barrier(const char *file, int line, int vote) {
    if (now.at_barrier && (now.line != line || strcmp(now.file, file)))
        cb_emulate_report("waits at the barrier in line %d of %s while others wait at line %d of %s", line,
                          file, now.line, now.file);
    now.file = file;
    now.line = line;
    now.at_barrier++;
    now.votes += (unsigned)vote;
    if (now.at_barrier == now.threads.size()) {
        now.at_barrier = 0;
        now.barrier_votes = now.votes;
        now.votes = 0;
        now.epoch++;
        for (thread &t : now.threads)
            if (&t != self()) now.ready.push_back(&t);
    } else {
        block_here("__syncthreads", line);
    }
    return (int)now.barrier_votes;
}

const char *cb_emulate_meet(unsigned mask, const void *value, size_t size, const char *what,
                            unsigned *lanes) {
    thread *t = self();
    unsigned lane = t->linear & 31, warp = t->linear >> 5;
    if (!(mask >> lane & 1))
        cb_emulate_report("%s with mask %08x, which lacks its own lane %u", what, mask, lane);
    if (warp * 32 + 31 - (unsigned)__builtin_clz(mask) >= now.threads.size())
        cb_emulate_report("%s with mask %08x names lanes that the block of %zu threads lacks", what, mask,
                          now.threads.size());
    meeting &m = now.meetings[{warp, mask}];
    unsigned which = m.round & 1;
    if (size) memcpy(m.values[which] + 16 * lane, value, size);
    if (size == 1 && *(const char *)value) m.votes |= 1u << lane;
    m.arrived |= 1u << lane;
    if (m.arrived == mask) {
        m.result[which] = m.votes;
        m.arrived = m.votes = 0;
        m.round++;
        for (unsigned l = 0; l < 32; l++)
            if (mask >> l & 1 && l != lane) now.ready.push_back(&now.threads[warp * 32 + l]);
    } else {
        block_here(what, 0);
    }
    t->warp_epoch++;
    if (lanes) *lanes = m.result[which];
    return m.values[which];
}

/* ---- shared memory ---- */
cb_emulated_array *cb_emulate_shared(const void *site, const char *name, size_t nbytes) {
    cb_emulated_array &a = now.arrays[site];
    if (a.bytes.size() != nbytes) {
        a.name = name;
        a.bytes.assign(nbytes, (char)0xff);
        a.past.assign(nbytes, history());
    }
    return &a;
}
cb_emulated_array *cb_emulate_dynamic_shared() { return &now.dynamic; }

static bool ordered(const mark &m, const thread *t) {
    if (!m.thread || m.block_epoch != now.epoch) return true;
    if (m.thread == t->linear + 1) return true;
    return m.warp == t->linear >> 5 && m.warp_epoch != t->warp_epoch;
}

static void race(const cb_emulated_array *a, int64_t offset, const mark &other, const char *did,
                 const char *does) {
    char who[32] = "several threads";
    if (other.thread != MANY) snprintf(who, sizeof who, "thread %u", other.thread - 1u);
    cb_emulate_report(
        "race on shared memory: %s byte %lld of %s, which %s (of warp %u) %s since the last barrier", does,
        (long long)offset, a->name.c_str(), who, other.warp, did);
}

void *cb_emulate_access(cb_emulated_array *a, int64_t offset, size_t size, cb_emulated_access access) {
    thread *t = self();
    if (offset < 0 || offset + (int64_t)size > (int64_t)a->bytes.size())
        cb_emulate_report("%s bytes %lld to %lld of the shared array %s, which has %zu bytes",
                          access == CB_EMULATE_READ ? "reads" : "writes", (long long)offset,
                          (long long)(offset + (int64_t)size - 1), a->name.c_str(), a->bytes.size());
    const mark mine = {(uint16_t)(t->linear + 1), (uint16_t)(t->linear >> 5), now.epoch, t->warp_epoch};
    for (size_t i = (size_t)offset; i < (size_t)offset + size; i++) {
        history &h = a->past[i];
        if (access != CB_EMULATE_WRITE && !h.written)
            cb_emulate_report("reads byte %zu of the shared array %s, which nobody has written", i,
                              a->name.c_str());
        if (!(access == CB_EMULATE_ATOMIC && h.atomic) && !ordered(h.write, t))
            race(a, (int64_t)i, h.write, "wrote", access == CB_EMULATE_READ ? "reads" : "writes");
        if (access == CB_EMULATE_READ) {
            mark *slot = &h.reads[0];
            if (slot->thread && slot->block_epoch == now.epoch && slot->warp != mine.warp) slot = &h.reads[1];
            bool same = slot->thread && slot->block_epoch == now.epoch && slot->warp == mine.warp &&
                        slot->warp_epoch == mine.warp_epoch && slot->thread != mine.thread;
            *slot = mine;
            if (same) slot->thread = MANY;
        } else {
            for (const mark &r : h.reads)
                if (!ordered(r, t)) race(a, (int64_t)i, r, "read", "writes");
            h.write = mine;
            h.written = true;
            h.atomic = access == CB_EMULATE_ATOMIC;
        }
    }
    return a->bytes.data() + offset;
}

/* ---- launches ---- */
static void run_block(size_t count, size_t shared) {
    now.threads.assign(count, thread());
    unsigned n = 0;
    for (unsigned z = 0; z < cb_emulated_block_dim.z; z++)
        for (unsigned y = 0; y < cb_emulated_block_dim.y; y++)
            for (unsigned x = 0; x < cb_emulated_block_dim.x; x++, n++) {
                now.threads[n].index = {x, y, z};
                now.threads[n].linear = n;
            }
    now.started = now.finished = now.at_barrier = now.votes = 0;
    now.epoch = 1;
    now.ready.clear();
    now.meetings.clear();
    for (auto &entry : now.arrays) {
        std::fill(entry.second.past.begin(), entry.second.past.end(), history());
        std::fill(entry.second.bytes.begin(), entry.second.bytes.end(), (char)0xff);
    }
    now.dynamic.name = "dynamic shared memory";
    now.dynamic.bytes.assign(shared, (char)0xff);
    now.dynamic.past.assign(shared, history());
    while (!now.failed && now.finished < count) {
        if (!now.ready.empty()) {
            thread *t = now.ready.front();
            now.ready.pop_front();
            resume(t->on, t);
        } else if (now.started < count) {
            resume(fibre_new(), nullptr);
        } else { /* all wait, or have left */
            for (thread &t : now.threads)
                if (t.waits) {
                    cb_emulated_self = &t;
                    cb_emulate_note(
                        "kernel " + std::string(now.kernel) + ", " + thread_name(&t) + ": waits in " +
                        t.waits + (t.line ? " of line " + std::to_string(t.line) : std::string()) +
                        " for threads that " +
                        (now.finished ? "have left the kernel, or wait elsewhere" : "wait elsewhere"));
                    cb_emulated_self = nullptr;
                    break;
                }
        }
    }
}

void cb_emulate_run(cudaStream_t stream, const char *kernel, dim3 grid, dim3 block, size_t shared,
                    void (*body)(void *), void *context, size_t size) {
    size_t count = (size_t)block.x * block.y * block.z;
    if (cb_emulated_recording(stream)) {
        std::vector<char> kept((char *)context, (char *)context + size);
        cb_emulated_record(stream, [=]() mutable {
            cb_emulate_run(nullptr, kernel, grid, block, shared, body, kept.data(), size);
        });
        return;
    }
    pthread_mutex_lock(&lock);
    now.failed = false;
    now.kernel = kernel;
    if (count == 0 || count > 1024 || block.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 ||
        grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535 || shared > (size_t)CB_EMULATED_SHARED) {
        char text[200];
        snprintf(text, sizeof text,
                 "grid (%u, %u, %u), block (%u, %u, %u) or %zu bytes of shared memory are over the limits",
                 grid.x, grid.y, grid.z, block.x, block.y, block.z, shared);
        cb_emulate_note("kernel " + std::string(kernel) + ": " + text);
    } else {
        now.body = body;
        now.context = context;
        cb_emulated_grid_dim = grid;
        cb_emulated_block_dim = block;
        now.arrays.clear();
        cb_emulated_memory_begin();
        for (unsigned z = 0; z < grid.z && !now.failed; z++)
            for (unsigned y = 0; y < grid.y && !now.failed; y++)
                for (unsigned x = 0; x < grid.x && !now.failed; x++) {
                    cb_emulated_block = {x, y, z};
                    run_block(count, shared);
                }
        cb_emulated_self = nullptr;
        if (now.failed) now.idle.clear(); /* fibres may be in the middle of a thread */
        std::string bad = cb_emulated_memory_end();
        if (!bad.empty() && !now.failed) cb_emulate_note("kernel " + std::string(kernel) + ": " + bad);
    }
    pthread_mutex_unlock(&lock);
}
