"""Optimizers: stateful classes for training loops, pure() transformations for functional code."""

from nn.optim import lr_scheduler, swa_utils
from nn.optim.adafactor import Adafactor
from nn.optim.adam import Adam, AdamW
from nn.optim.adam_variants import LAMB, Adamax, NAdam, RAdam
from nn.optim.adaptive import Adadelta, Adagrad, RMSprop
from nn.optim.asgd import ASGD
from nn.optim.base import Optimizer, Transformation, apply_updates
from nn.optim.grad_scaler import GradScaler
from nn.optim.lbfgs import LBFGS
from nn.optim.muon import Muon
from nn.optim.sgd import SGD
from nn.optim.sign import Lion, Rprop
from nn.optim.sparse_adam import SparseAdam

__all__ = [
    "ASGD",
    "LAMB",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "GradScaler",
    "Lion",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SparseAdam",
    "Transformation",
    "apply_updates",
    "lr_scheduler",
    "swa_utils",
]
