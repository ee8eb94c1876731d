"""Optimizers: stateful classes for training loops, pure() transformations for functional code."""

from nn.optim.adam import Adam, AdamW
from nn.optim.base import Optimizer, Transformation, apply_updates
from nn.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "Transformation", "apply_updates"]
