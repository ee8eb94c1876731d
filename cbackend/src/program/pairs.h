/* Neighbouring instructions that run as one: fused steps, and the reduction or softmax along rows that reads
 * their result. It takes the result in tiles, as they are made, while they are in the first-level cache, and
 * what nobody else reads never goes to memory. Where that cannot be done, or does not pay, the two run one
 * after the other: nobody else needs to know of pairs. */
#ifndef CB_PAIRS_H
#define CB_PAIRS_H

#include "program.h"

/* Finds the pairs of a planned program. */
void cb_program_pair(cb_program *p);
/* Runs instructions k and k + 1, or neither: *ran tells. */
int cb_program_feed(const cb_program *p, int k, cb_tensor **slots, bool *ran);

#endif
