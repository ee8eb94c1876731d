"""Training with a loop that is already written: Trainer, its callbacks, a search for the learning
rate."""

from nn.training.callbacks import Callback, EarlyStopping, LearningCurve, ModelCheckpoint
from nn.training.loggers import CSVLogger, Progress, TensorBoardLogger
from nn.training.lr_finder import find_lr
from nn.training.nonfinite import NonFiniteLossError
from nn.training.trainer import Trainer

__all__ = [
    "CSVLogger", "Callback", "EarlyStopping", "LearningCurve", "ModelCheckpoint",
    "NonFiniteLossError", "Progress", "TensorBoardLogger", "Trainer", "find_lr",
]  # fmt: skip
