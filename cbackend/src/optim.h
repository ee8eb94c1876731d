/* One optimizer step as the frame hands it to a device's backend: the rule with its numbers worked out, and
 * the tensors it applies to, checked. */
#ifndef CB_OPTIM_H
#define CB_OPTIM_H

/* The tensors of one parameter. The gradient is read, the others are read and written. */
enum {
    CB_STEP_PARAM,
    CB_STEP_GRAD,
    CB_STEP_FIRST_STATE,
    CB_STEP_SECOND_STATE,
    CB_STEP_THIRD_STATE,
    CB_STEP_OPERANDS
};

typedef struct cb_step {
    bool adam;    /* else stochastic gradient descent */
    int operands; /* how many of the above the rule uses */
    bool l2;      /* decay * param is added to the gradient */
    double sign;  /* of the gradient: -1 to climb */
    double decay; /* with l2 */
    double keep;  /* share of the parameter that decoupled decay leaves; else 1 */
    double rate;  /* times the direction, added to the parameter */
    /* stochastic gradient descent; first state: the momentum buffer */
    bool start; /* the buffer takes the gradient as it is */
    bool nesterov;
    double momentum, share;
    /* Adam; states: running means of the gradient and of its square, the largest of the latter (amsgrad) */
    double mean_share, square_keep, square_share, root_scale, eps;
} cb_step;

#endif
