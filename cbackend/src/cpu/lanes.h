/* Folding the lanes of a reduction: `count` accumulators in an array that the compiler keeps in vector
 * registers. Constant trip counts matter: a loop over shrinking widths would go through memory. Loops over
 * 16 lanes and fewer need CB_WHOLE, or gcc unrolls them to scalars before it vectorises. */
#ifndef CB_LANES_H
#define CB_LANES_H

/* the larger, or smaller, of two; nan wins, and the first nan stays. Two selects: one with || stays scalar.
 */
#define CB_GREATER(a, b)                    \
    ({                                      \
        __auto_type a_ = (a);               \
        __auto_type b_ = (b);               \
        __auto_type m_ = b_ > a_ ? b_ : a_; \
        b_ != b_ ? b_ : m_;                 \
    })
#define CB_LESS(a, b)                       \
    ({                                      \
        __auto_type a_ = (a);               \
        __auto_type b_ = (b);               \
        __auto_type m_ = b_ < a_ ? b_ : a_; \
        b_ != b_ ? b_ : m_;                 \
    })

#define CB_WHOLE _Pragma("GCC unroll 1")

/* The last items of a row, fewer than lanes: loops over all lanes where vectors have masks, so that nothing
 * goes one by one, with CB_REST for item j and something else beyond. */
#if defined(__AVX512F__)
#define CB_EACH_REST(j, lanes, rest) CB_WHOLE for (int j = 0; j < (lanes); j++)
#else
#define CB_EACH_REST(j, lanes, rest) for (int j = 0; j < (rest); j++)
#endif
#define CB_REST(x, j, rest, other) ((j) < (rest) ? (x)[j] : (other))

#define CB_HALVE(count, lane, width, OP) \
    if ((count) > (width))               \
    CB_WHOLE for (int j_ = 0; j_ < (width); j_++) lane[j_] = OP(lane[j_], lane[j_ + (width)])

/* leaves the result in lane[0] */
#define CB_FOLD_LANES(count, lane, OP)  \
    do {                                \
        CB_HALVE(count, lane, 128, OP); \
        CB_HALVE(count, lane, 64, OP);  \
        CB_HALVE(count, lane, 32, OP);  \
        CB_HALVE(count, lane, 16, OP);  \
        CB_HALVE(count, lane, 8, OP);   \
        CB_HALVE(count, lane, 4, OP);   \
        CB_HALVE(count, lane, 2, OP);   \
        CB_HALVE(count, lane, 1, OP);   \
    } while (0)
#define CB_PLUS(a, b) ((a) + (b))
/* sum over a row of the expression `value` in i */
#define CB_ROW_SUM(F, n, result, value)        \
    F result;                                  \
    do {                                       \
        enum { LANES = 256 / sizeof(F) };      \
        F lane[LANES] = {0};                   \
        int64_t b_ = 0;                        \
        for (; b_ + LANES <= (n); b_ += LANES) \
            for (int j = 0; j < LANES; j++) {  \
                int64_t i = b_ + j;            \
                lane[j] += value;              \
            }                                  \
        int rest_ = (int)((n) - b_);           \
        CB_EACH_REST(j, LANES, rest_) {        \
            int64_t i = b_ + j;                \
            lane[j] += j < rest_ ? value : 0;  \
        }                                      \
        CB_FOLD_LANES(LANES, lane, CB_PLUS);   \
        result = lane[0];                      \
    } while (0)
#endif
