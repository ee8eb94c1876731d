/* A program: instructions over numbered slots. Slots 0 .. n_in - 1 are the inputs, then the constants; every
 * instruction fills new ones. Immutable once finished, so threads may run one at the same time. */
#ifndef CB_PROGRAM_H
#define CB_PROGRAM_H

#include "../internal.h"
#include "record.h"

#define GROWING(type, name) \
    type *name;             \
    int n_##name, room_##name

/* How an instruction's result is taken by the next one, tile by tile: pairs.h */
typedef enum { CB_ALONE, CB_PAIR_REDUCE, CB_PAIR_SOFTMAX } cb_pair;

typedef struct cb_instruction {
    int32_t call;          /* which public function: cb_call_names */
    int32_t words, nwords; /* its arguments, in program.words */
    int32_t out, nout;     /* the slots it fills */
    int32_t reads, nreads; /* the slots it takes, in program.reads */
    int32_t dead, ndead;   /* the slots nobody reads after it, in program.dead */
    cb_fused_steps *steps; /* of fused steps: checked beforehand */
    cb_pair feeds;         /* may it run together with the next one? */
} cb_instruction;

typedef struct cb_constant {
    int32_t slot;
    cb_tensor *value;
} cb_constant;

struct cb_program {
    GROWING(cb_instruction, code);
    GROWING(cb_word, words);
    GROWING(int32_t, reads);
    GROWING(int32_t, dead);
    GROWING(char, pool);
    GROWING(cb_tensor *, known);    /* by slot: the meta handle while recording; inputs' ones stay */
    GROWING(cb_constant, constants);
    GROWING(int32_t, results);
    GROWING(int32_t, overwritten); /* inputs that a sweep may write over */
    int n_in, n_slots;
    bool *given;                   /* by input: a run uses it up; NULL where none is */
    int list, longest; /* while recording: tensors in this instruction's lists; at most */
    bool loaded, writes; /* it came from a file; some instruction writes to a tensor it is given */
    cb_tensor **result_metas; /* of a loaded one */
    int failed; /* an error while recording: the program cannot be run */
    int32_t *places; /* while recording: a hash table from handle address to slot + 1 */
    int n_places;
    struct cb_replay *replay; /* of programs on CUDA */
};

extern const char *const cb_call_names[];

/* Calls of elementwise steps, and calls over sets of operands. The last two arguments of both say which
 * memory results may take. */
static inline bool cb_is_fused(int call) { return !strncmp(cb_call_names[call], "cb_fused", 8); }
static inline bool cb_is_sets(int call) {
    return !strcmp(cb_call_names[call], "cb_fused_sets") || !strcmp(cb_call_names[call], "cb_adam_sets");
}
static inline bool cb_places_results(int call) { return cb_is_fused(call) || cb_is_sets(call); }
extern const int cb_call_count;
/* by call, a letter a parameter: n an integer, d a double, t a tensor, l a list of them, o results, a an
 * array */
extern const char *const cb_call_kinds[];

/* What calls.py knows of the parameters; type letters: i int, l int64_t, u uint64_t, d double, t tensor,
 * T tensors, R results, L int64_t array, I int array, S cb_scalar, C string. An array has `times` items for
 * each that parameter number `count` says, or just `times` if that is -1. */
typedef struct cb_call_parameter {
    char type;
    const char *name;
    int count, times;
} cb_call_parameter;
typedef struct cb_call_signature {
    const char *text; /* as declared: what files refer to it by */
    int makes_tensor, n;
    const cb_call_parameter *parameters;
} cb_call_signature;
extern const cb_call_signature cb_call_signatures[];

/* Works out which slots die where, from code, reads, constants and results; CB_OK or why not. */
int cb_program_plan(cb_program *p);
/* The program in `words`, as cb_program_encode wrote it; takes n_constants references, also when it fails. */
cb_program *cb_program_decode(const int64_t *words, int64_t n, const char *names, int n_constants,
                              cb_tensor **constants);
/* Runs all instructions: slots holds the inputs and constants and receives the rest. */
int cb_program_execute(const cb_program *p, cb_tensor **slots, uint64_t seed, uint64_t offset);
/* instruction k alone, which frees nothing; lists has room for p->longest */
int cb_program_step(const cb_program *p, int k, cb_tensor **slots, cb_tensor **lists, uint64_t seed,
                    uint64_t offset);

/* CUDA graphs (replay.c): made for programs whose inputs or constants lie on CUDA */
enum { CB_NOT_REPLAYED = -1 };
void cb_replay_prepare(cb_program *p);
void cb_replay_free(cb_program *p);
/* a run, or CB_NOT_REPLAYED: it must be made kernel by kernel */
int cb_replay_run(const cb_program *p, cb_tensor *const *inputs, uint64_t seed, uint64_t offset,
                  cb_tensor **results);

#endif
