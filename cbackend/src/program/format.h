/* The format of encoded programs: 64-bit words that encode.c writes and decode.c reads. What depends on a
 * build's numbering (functions, ops) is referred to by name: a word holds the place in a list of names.
 *
 * Words: MAGIC VERSION n_in n_constants n_results n_code n_words n_pool; for each input dtype, flags, ndim,
 * shape; for each constant slot, flags; the results' slots; for each instruction function, first slot made;
 * the arguments; the pool. Names: functions, ops as "family name" and dtypes, each joined with ';', those
 * three with '|'. */
#ifndef CB_PROGRAM_FORMAT_H
#define CB_PROGRAM_FORMAT_H

#include "program.h"

#define CB_FORMAT_MAGIC INT64_C(0x474f525042434c46) /* "FLCBPROG" */
enum { CB_FORMAT_VERSION = 1, CB_FAMILIES = 6 };

#pragma GCC visibility push(hidden)
extern const char *const cb_families[CB_FAMILIES]; /* of ops, by the numbers that words hold */
/* Calls visit on every word that holds an op code, with its family. `words` and `pool` are valid for the
 * signature already. */
int cb_each_op(int call, int64_t *words, char *pool, void *context,
               int (*visit)(void *context, int family, int64_t *op));
#pragma GCC visibility pop

static inline bool cb_is_host(int call) { return !strcmp(cb_call_names[call], "cb_host_call"); }

#endif
