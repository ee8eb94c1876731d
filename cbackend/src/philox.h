/* Philox4x32-10: Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 *
 * A counter block of four words and a key of two give four random words; there is no other state. How draws
 * use it, the same on every device: value i of a draw with 32-bit values takes word (i / 16) % 4 of the block
 * with counter offset + i / 64 * 16 + i % 16, so that 16 neighbours are the same word of 16 neighbouring
 * blocks and vector code needs no shuffles; a 64-bit value joins words 2w and 2w + 1 in the same way. Word 3
 * of a draw's counter is 1: keys derived by cb_philox have 0 there, so that numbers and keys never come from
 * one block. Samplers that reject have 2 there and a stream an element: block r of element i has the counter
 * {r, low half of i, high half of i, 2}. */
#ifndef CB_PHILOX_H
#define CB_PHILOX_H

#include <stdint.h>

enum { CB_PHILOX_LANES = 16, CB_PHILOX_DRAW = 1, CB_PHILOX_SAMPLER = 2 };

#define CB_PHILOX_M0 0xD2511F53u
#define CB_PHILOX_M1 0xCD9E8D57u
#define CB_PHILOX_W0 0x9E3779B9u
#define CB_PHILOX_W1 0xBB67AE85u

#if defined(__CUDACC__)
#define CB_PHILOX static __host__ __device__ inline
#else
#define CB_PHILOX static inline
#endif

/* counter words in and random words out, in place */
CB_PHILOX void cb_philox_block(uint32_t key0, uint32_t key1, uint32_t words[4]) {
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)CB_PHILOX_M0 * words[0], p1 = (uint64_t)CB_PHILOX_M1 * words[2];
        uint32_t w1 = words[1], w3 = words[3];
        words[0] = (uint32_t)(p1 >> 32) ^ w1 ^ key0;
        words[1] = (uint32_t)p1;
        words[2] = (uint32_t)(p0 >> 32) ^ w3 ^ key1;
        words[3] = (uint32_t)p0;
        key0 += CB_PHILOX_W0;
        key1 += CB_PHILOX_W1;
    }
}

#endif
