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
    from nn.utils.parametrizations import (
        remove_spectral_norm,
        remove_weight_norm,
        spectral_norm,
        weight_norm,
    )

# older names of torch.nn.utils; here they are those of parametrizations
_NORMS = ("remove_spectral_norm", "remove_weight_norm", "spectral_norm", "weight_norm")
__getattr__, __dir__ = later(
    __name__,
    ("parametrizations", "parametrize", "prune", "rnn"),
    dict.fromkeys(_NORMS, "nn.utils.parametrizations"),
)
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
    "remove_spectral_norm",
    "remove_weight_norm",
    "rnn",
    "skip_init",
    "spectral_norm",
    "vector_to_parameters",
    "weight_norm",
]
