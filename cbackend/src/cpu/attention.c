/* Attention on the CPU, forward and first reverse, without the matrix of scores.
 *
 * Scores are computed transposed, a block of keys down by a block of queries across: queries lie along the
 * lanes of vectors, so that maxima and sums are vector operations, keys and values are read in place at any
 * strides as the broadcast operand of register tiles, and only queries are turned. The softmax is the online
 * one (Milakov & Gimelshein 2018; Dao et al. 2022): running maxima and sums rescale what was summed before.
 * The gradient recomputes the weights from the log-sum-exps. Blocks depend on sizes only. */
#include "cpu.h"
#include "vmath.h"

enum { KEYS = 64, WORK = 1 << 18, CHUNKS = 16, CHUNK_KEYS = 256 };

static inline int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

typedef struct attention_run {
    const cb_attention_call *a;
    int64_t lanes, blocks;  /* queries a block, blocks an item */
    int64_t chunk, chunks;  /* gradient: keys a chunk, chunks an item */
    void *parts;            /* gradient with several chunks: [batch][chunks][rows][width] */
    int status;
} attention_run;

/* where an item's matrix begins, in elements */
static int64_t item_at(const cb_attention_call *a, const cb_matrices *m, int64_t item) {
    int64_t at = 0;
    for (int d = a->nbatch - 1; d >= 0; d--) {
        at += item % a->batch_shape[d] * m->batch[d];
        item /= a->batch_shape[d];
    }
    return at;
}

#define real float
#define NAME(x) CB_PASTE(f32, x)
#include "attention_typed.h"
#undef real
#undef NAME
#define real double
#define NAME(x) CB_PASTE(f64, x)
#include "attention_typed.h"
#undef real
#undef NAME

int CB_FN(attention)(const cb_attention_call *a) {
    bool narrow = a->dtype == CB_F32;
    int64_t most = narrow ? f32_nr : f64_nr, vl = narrow ? f32_vl : f64_vl;
    attention_run r = {.a = a, .blocks = (a->rows + most - 1) / most};
    if (!r.blocks) return CB_OK;
    r.lanes = round_up((a->rows + r.blocks - 1) / r.blocks, vl);
    int64_t work = r.lanes * CB_MAX(1, a->keys) * (a->width + a->value_width) + 1;
    cb_parallel(a->batch * r.blocks, CB_MAX(1, WORK / work), narrow ? f32_attend : f64_attend, &r);
    return r.status;
}

int CB_FN(attention_grad)(const cb_attention_call *a) {
    bool narrow = a->dtype == CB_F32;
    int64_t most = narrow ? f32_nr : f64_nr, vl = narrow ? f32_vl : f64_vl, size = narrow ? 4 : 8;
    attention_run r = {.a = a, .blocks = (a->rows + most - 1) / most};
    r.lanes = r.blocks ? round_up((a->rows + r.blocks - 1) / r.blocks, vl) : vl;
    r.chunks = CB_MAX(1, CB_MIN((CHUNKS + a->batch - 1) / a->batch, a->keys / CHUNK_KEYS));
    r.chunk = CB_MAX(1, round_up((a->keys + r.chunks - 1) / r.chunks, KEYS));
    r.chunks = CB_MAX(1, (a->keys + r.chunk - 1) / r.chunk);
    int64_t item = a->rows * a->width, nbytes = a->batch * r.chunks * item * size;
    r.parts = r.chunks > 1 ? cb_alloc(CB_CPU, nbytes) : a->dq;
    if (!r.parts && item) return CB_ERR_MEMORY;
    int64_t work = 5 * a->rows * r.chunk * (a->width + a->value_width) / 2 + 1;
    cb_parallel(a->batch * r.chunks, CB_MAX(1, WORK / work), narrow ? f32_attend_grad : f64_attend_grad, &r);
    if (r.chunks > 1) {
        if (!r.status) cb_parallel(a->batch * item, 1 << 14, narrow ? f32_add_parts : f64_add_parts, &r);
        cb_free(CB_CPU, r.parts, nbytes);
    }
    return r.status;
}
