"""Neural networks: modules, layers, losses, initialisers, optimizers, data; thin and stateful over
functorch_like.

Laid out as torch.nn, with torch.optim as nn.optim and torch.utils.data as nn.data. The parts that a
model does not need are imported at first use.
"""

from typing import TYPE_CHECKING, Any

from nn import functional, init
from nn.layers.activation import (
    CELU,
    ELU,
    GELU,
    GLU,
    SELU,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softmin,
    Softplus,
    Softsign,
    Tanh,
    Threshold,
)
from nn.layers.container import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from nn.layers.conv import Conv2d
from nn.layers.dropout import Dropout
from nn.layers.embedding import Embedding
from nn.layers.linear import Bilinear, Identity, Linear
from nn.layers.loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SmoothL1Loss,
)
from nn.layers.norm import BatchNorm1d, BatchNorm2d, LayerNorm
from nn.layers.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from nn.layers.shape import Flatten, Unflatten
from nn.module import Module
from nn.parameter import Buffer, Parameter
from nn.stateless import functional_call, stack_module_state

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Bilinear",
    "Buffer",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "HuberLoss",
    "Identity",
    "KLDivLoss",
    "L1Loss",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSigmoid",
    "LogSoftmax",
    "MSELoss",
    "MaxPool2d",
    "Mish",
    "Module",
    "ModuleDict",
    "ModuleList",
    "NLLLoss",
    "PReLU",
    "Parameter",
    "ParameterDict",
    "ParameterList",
    "ReLU",
    "ReLU6",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SmoothL1Loss",
    "Softmax",
    "Softmin",
    "Softplus",
    "Softsign",
    "Tanh",
    "Threshold",
    "Trainer",
    "Unflatten",
    "data",
    "functional",
    "functional_call",
    "init",
    "load",
    "metrics",
    "optim",
    "save",
    "save_npz",
    "save_sharded",
    "stack_module_state",
    "training",
    "utils",
]

if TYPE_CHECKING:
    from nn import data, metrics, optim, training, utils
    from nn.lazy_tensors import save_sharded
    from nn.numpy_file import save_npz
    from nn.serialization import load, save
    from nn.training.trainer import Trainer

_LAZY = {
    "data": "nn.data",
    "metrics": "nn.metrics",
    "optim": "nn.optim",
    "training": "nn.training",
    "utils": "nn.utils",
    "serialization": "nn.serialization",
}

_FROM = {
    "Trainer": "nn.training.trainer",
    "load": "nn.serialization",
    "save": "nn.serialization",
    "save_npz": "nn.numpy_file",
    "save_sharded": "nn.lazy_tensors",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name in _LAZY:
        return importlib.import_module(_LAZY[name])
    if name in _FROM:
        return getattr(importlib.import_module(_FROM[name]), name)
    raise AttributeError(f"module 'nn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
