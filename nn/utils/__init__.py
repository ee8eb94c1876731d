"""Helpers around modules: clipping gradients, parameters as a vector, sequences of different
lengths (rnn), tensors computed from others (parametrize, parametrizations), pruning, and folding
batch normalisation into the layer before it, building without initial values.
"""

from typing import TYPE_CHECKING

from nn.later import later
from nn.utils.construction import skip_init
from nn.utils.fusion import (
    fuse_conv_bn_eval,
    fuse_conv_bn_weights,
    fuse_linear_bn_eval,
    fuse_linear_bn_weights,
)
from nn.utils.gradients import (
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)
from nn.utils.vectors import parameters_to_vector, vector_to_parameters

if TYPE_CHECKING:
    from nn.utils import parametrizations, parametrize, prune, rnn

__getattr__, __dir__ = later(__name__, ("parametrizations", "parametrize", "prune", "rnn"))
__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "fuse_conv_bn_eval",
    "fuse_conv_bn_weights",
    "fuse_linear_bn_eval",
    "fuse_linear_bn_weights",
    "get_total_norm",
    "parameters_to_vector",
    "parametrizations",
    "parametrize",
    "prune",
    "rnn",
    "skip_init",
    "vector_to_parameters",
]
