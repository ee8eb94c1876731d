/* A chain of fused steps as its kernels take it: what fused.cu interprets and rtc.cu compiles. */
#ifndef CB_CHAIN_H
#define CB_CHAIN_H

#include "kernels.h"

namespace cb_chains {

enum { WHERE = CB_FAMILY_CAST + 1 };

struct step {
    int8_t family, cost, to, nin;
    int16_t op;
    int8_t in[3]; /* as in cb_fused_step */
    int8_t reg, out;
};
/* An operand with its walk's number; results come first, as in the walk. */
struct part {
    char *data;
    int dtype, number;
    float value;
};
struct chain {
    int nsteps, nout, nparts;
    step steps[CB_FUSED_STEPS];
    part parts[CB_FUSED_TENSORS];
    cb_walk<CB_FUSED_TENSORS> walk;
};

} // namespace cb_chains

/* Queues the chain as a kernel compiled for it; false: there is none. */
bool cb_rtc_launch(const cb_chains::chain &c);
#endif
