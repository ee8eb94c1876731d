/* A program: instructions over numbered slots. Slots 0 .. n_in - 1 are the inputs, then the constants; every
 * instruction fills new ones. Immutable once finished, so threads may run one at the same time. */
#ifndef CB_PROGRAM_H
#define CB_PROGRAM_H

#include "../internal.h"
#include "record.h"

#define GROWING(type, name) \
    type *name;             \
    int n_##name, room_##name

typedef struct cb_instruction {
    int32_t call;          /* which public function: cb_call_names */
    int32_t words, nwords; /* its arguments, in program.words */
    int32_t out, nout;     /* the slots it fills */
    int32_t reads, nreads; /* the slots it takes, in program.reads */
    int32_t dead, ndead;   /* the slots nobody reads after it, in program.dead */
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
    int n_in, n_slots;
    int failed; /* an error while recording: the program cannot be run */
    int32_t *places; /* while recording: a hash table from handle address to slot + 1 */
    int n_places;
};

extern const char *const cb_call_names[];
extern const int cb_call_count;
/* by call, a letter a parameter: n an integer, d a double, t a tensor, l a list of them, o results, a an
 * array */
extern const char *const cb_call_kinds[];
/* Runs all instructions: slots holds the inputs and constants and receives the rest. */
int cb_program_execute(const cb_program *p, cb_tensor **slots, uint64_t seed, uint64_t offset);

#endif
