/* Fused elementwise steps, as the frame hands them to a backend: checked, with registers assigned. */
#ifndef CB_FUSED_H
#define CB_FUSED_H

enum { CB_FUSED_TENSORS = 16, CB_FUSED_STEPS = 192, CB_FUSED_REGISTERS = 64, CB_FAMILY_CAST = 3 };

typedef struct cb_fused_step {
    int family, op, compute, result; /* compute: of a cast the dtype it reads */
    int nin;
    int in[3]; /* k >= 0: operand k; -1 - j: step j */
    int reg;   /* where the result lies; -1: in the memory of result `out` */
    int out;   /* which result it is, or -1 */
} cb_fused_step;

typedef struct cb_fused_steps {
    int nin, nsteps, nout, nregs;
    int to[CB_FUSED_TENSORS]; /* the dtype each operand is read in */
    bool costly;              /* one step at least computes more than it moves */
    const void *owner;        /* of prepared ones: the program that frees them */
    cb_fused_step step[CB_FUSED_STEPS];
    int last_read[CB_FUSED_TENSORS]; /* the last step that reads each operand */
} cb_fused_steps;

/* Fused steps with what they read and give, run by the kernel that reads one of their results. */
typedef struct cb_fused_call {
    const cb_fused_steps *steps;
    cb_tensor *const *xs;
    cb_tensor **outs;
    int which; /* the result that the kernel reads; not kept if its data is NULL */
} cb_fused_call;

/* Code checked and with registers assigned beforehand; NULL with an error, or without memory. */
cb_fused_steps *cb_fused_prepare(int n, int ncode, const int64_t *code, int nout);
#if !defined(__cplusplus)
/* The results of steps, not computed yet; those that are not NULL stay as they are. */
int cb_fused_results(const cb_fused_steps *f, cb_tensor *const *xs, uint64_t reuse, uint64_t into,
                     cb_tensor **out);

/* Runs steps through `read`, the kernel that takes result `which`, of memory only if that is `kept`. In out
 * come the results as from cb_fused, none with an error; CB_ERR_UNSUPPORTED where two steps are better. */
typedef int (*cb_made_reader)(void *context, const cb_fused_call *made, cb_tensor *x);
int cb_fused_read(const cb_fused_steps *f, cb_tensor *const *xs, uint64_t reuse, uint64_t into,
                  cb_tensor **out, int which, bool kept, cb_made_reader read, void *context);

/* cb_softmax of what steps make; as cb_reduce_made (reduce.h) */
int cb_softmax_made(const cb_fused_call *made, cb_tensor *x, int64_t dim, int log, int dtype,
                    cb_tensor **out);

/* Set by the executor right before a call whose code it has prepared; the call takes it. */
extern _Thread_local const cb_fused_steps *cb_fused_prepared;
#endif

#endif
