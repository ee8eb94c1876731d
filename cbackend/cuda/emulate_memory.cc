/* Emulated device memory (emulate_memory.h), and the handler that opens it to kernels and turns accesses
 * beyond it into reports. */
#include "emulate_memory.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <map>
#include <vector>

#include "emulate.h"

enum { PAGE = 4096, GUARD = 256 * PAGE, SLACK = 16 };
enum { CANARY = 0xa5 };

struct region {
    char *pages; /* the first page that can be opened; guards before and after */
    size_t size; /* of the pages */
    char *data;
    size_t nbytes;
};
static std::map<uintptr_t, region> regions; /* by the first byte of the guard before */
static std::vector<region *> opened;        /* since the launch began */
static bool launching;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction previous;

static region *region_of(const void *address) {
    auto after = regions.upper_bound((uintptr_t)address);
    if (after == regions.begin()) return nullptr;
    region *r = &std::prev(after)->second;
    return (char *)address < r->pages + r->size + GUARD ? r : nullptr;
}

static void protect(region *r, int how) { mprotect(r->pages, r->size, how); }

static void on_fault(int signal, siginfo_t *info, void *context) {
    char *address = static_cast<char *>(info->si_addr);
    region *r = region_of(address);
    bool inside = r && address >= r->pages && address < r->pages + r->size;
    if (launching && cb_emulated_self) {
        if (inside) {
            for (region *o : opened)
                if (o == r) inside = false; /* open already: another kind of fault */
            if (inside) {
                protect(r, PROT_READ | PROT_WRITE);
                opened.push_back(r);
                return;
            }
        }
        if (r)
            cb_emulate_report(
                "accesses global memory %lld bytes %s an allocation of %zu bytes",
                (long long)(address < r->data ? r->data - address : address - r->data - (long long)r->nbytes),
                address < r->data ? "before" : "after the end of", r->nbytes);
        cb_emulate_report("accesses address %p, which is not global memory", (void *)address);
    }
    if (r)
        fprintf(stderr, "emulated device: host code touched device memory at %p (allocation of %zu bytes)\n",
                (void *)address, r->nbytes);
    if (previous.sa_flags & SA_SIGINFO) {
        if (previous.sa_sigaction) return previous.sa_sigaction(signal, info, context);
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        return previous.sa_handler(signal);
    }
    sigaction(SIGSEGV, &previous, nullptr); /* the access faults again, without us */
}

static void install() {
    static bool done;
    if (done) return;
    done = true;
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(SIGSEGV, &action, &previous);
}

/* a stack for the handler, so that overflowing fibres can be told */
static void give_stack() {
    static thread_local bool done;
    if (done) return;
    done = true;
    stack_t old;
    sigaltstack(nullptr, &old);
    if (!(old.ss_flags & SS_DISABLE)) return;
    stack_t mine = {};
    mine.ss_size = 64 << 10;
    mine.ss_sp = malloc(mine.ss_size);
    sigaltstack(&mine, nullptr);
}

void *cb_emulated_memory_new(size_t nbytes) {
    pthread_mutex_lock(&lock);
    install();
    size_t used = (nbytes + SLACK - 1) / SLACK * SLACK, size = (used + PAGE - 1) / PAGE * PAGE;
    char *all = (char *)mmap(nullptr, size + 2 * GUARD, PROT_NONE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    char *data = nullptr;
    if (all != MAP_FAILED) {
        region r = {all + GUARD, size, all + GUARD + size - used, nbytes};
        protect(&r, PROT_READ | PROT_WRITE);
        memset(r.pages, CANARY, size);
        memset(r.data, 0xff, nbytes);
        protect(&r, PROT_NONE);
        regions[(uintptr_t)all] = r;
        data = r.data;
    }
    pthread_mutex_unlock(&lock);
    return data;
}

void cb_emulated_memory_free(void *data) {
    pthread_mutex_lock(&lock);
    region *r = region_of(data);
    if (!r || r->data != data) {
        fprintf(stderr, "emulated device: %p is freed, which is no allocation\n", data);
        abort();
    }
    char *all = r->pages - GUARD;
    munmap(all, r->size + 2 * GUARD);
    regions.erase((uintptr_t)all);
    pthread_mutex_unlock(&lock);
}

bool cb_emulated_memory_open(const void *data, size_t nbytes, bool open) {
    pthread_mutex_lock(&lock);
    region *r = region_of(data);
    bool inside = r && (char *)data >= r->data && (char *)data + nbytes <= r->data + r->nbytes;
    if (inside) protect(r, open ? PROT_READ | PROT_WRITE : PROT_NONE);
    pthread_mutex_unlock(&lock);
    return inside;
}

void cb_emulated_memory_begin() {
    give_stack();
    launching = true;
}

std::string cb_emulated_memory_end() {
    launching = false;
    char text[200] = "";
    for (region *r : opened) {
        for (char *p = r->pages; p < r->data && !*text; p++)
            if (*(unsigned char *)p != CANARY)
                snprintf(text, sizeof text, "wrote %lld bytes before an allocation of %zu bytes",
                         (long long)(r->data - p), r->nbytes);
        for (char *p = r->data + r->nbytes; p < r->pages + r->size && !*text; p++)
            if (*(unsigned char *)p != CANARY)
                snprintf(text, sizeof text, "wrote %lld bytes after the end of an allocation of %zu bytes",
                         (long long)(p - r->data - (long long)r->nbytes), r->nbytes);
        protect(r, PROT_NONE);
    }
    opened.clear();
    return text;
}
