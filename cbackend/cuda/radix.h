/* Stable sorting of 64-bit keys with a payload, least significant digits first. Used where equal keys must
 * keep their order: sorting, and writes at repeated indices.
 *
 *     cb_radix r(n);                       // room for n pairs, twice
 *     if (!r.ok()) return CB_ERR_MEMORY;
 *     ... a kernel fills r.keys and r.values ...
 *     CB_TRY(r.sort(first_bit, bits));     // by that many bits of the keys; results in r.keys and r.values
 *     CB_TRY(r.sort_values(divisor, bits)); // by values / divisor, keys carried along */
#ifndef CB_RADIX_H
#define CB_RADIX_H

struct cb_radix {
    int64_t n;
    uint64_t *keys;
    int64_t *values;

    explicit cb_radix(int64_t n_);
    bool ok() const { return room.ok() && counts.ok(); }
    int sort(int first_bit, int bits) { return passes(first_bit, bits, 0); }
    int sort_values(int64_t divisor, int bits) { return passes(0, bits, divisor); }

  private:
    int passes(int first_bit, int bits, int64_t divisor);
    cb_scratch room, counts;
    uint64_t *other_keys;
    int64_t *other_values;
    int64_t blocks;
};

/* counts on the device become the sums of those before them */
int cb_add_up(int64_t n, int64_t *counts);

/* bits that numbers below n need */
static inline int cb_bits_below(int64_t n) {
    int bits = 0;
    while (bits < 63 && ((int64_t)1 << bits) < n) bits++;
    return bits;
}
#endif
