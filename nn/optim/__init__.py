"""Optimizers: stateful classes for training loops, pure() transformations for functional code."""

from typing import TYPE_CHECKING

from nn.later import later
from nn.optim.base import Optimizer, Transformation, apply_updates

if TYPE_CHECKING:
    from nn.optim import lr_scheduler, swa_utils
    from nn.optim.adafactor import Adafactor
    from nn.optim.adam import Adam, AdamW
    from nn.optim.adam_variants import LAMB, Adamax, NAdam, RAdam
    from nn.optim.adaptive import Adadelta, Adagrad, RMSprop
    from nn.optim.asgd import ASGD
    from nn.optim.grad_scaler import GradScaler
    from nn.optim.lbfgs import LBFGS
    from nn.optim.muon import Muon
    from nn.optim.sgd import SGD
    from nn.optim.sign import Lion, Rprop
    from nn.optim.sparse_adam import SparseAdam

# the optimizers by their module
_OPTIMIZERS = {
    "adafactor": "Adafactor",
    "adam": "Adam AdamW",
    "adam_variants": "LAMB Adamax NAdam RAdam",
    "adaptive": "Adadelta Adagrad RMSprop",
    "asgd": "ASGD",
    "grad_scaler": "GradScaler",
    "lbfgs": "LBFGS",
    "muon": "Muon",
    "sgd": "SGD",
    "sign": "Lion Rprop",
    "sparse_adam": "SparseAdam",
}
__getattr__, __dir__ = later(
    __name__,
    (*_OPTIMIZERS, "elementwise", "lr_scheduler", "swa_utils"),
    {name: f"nn.optim.{home}" for home, names in _OPTIMIZERS.items() for name in names.split()},
)
__all__ = [
    "ASGD", "LAMB", "LBFGS", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax",
    "GradScaler", "Lion", "Muon", "NAdam", "Optimizer", "RAdam", "RMSprop", "Rprop", "SparseAdam",
    "Transformation", "apply_updates", "lr_scheduler", "swa_utils",
]  # fmt: skip
