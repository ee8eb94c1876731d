"""Data: sets of samples, samplers that order them, a loader that makes batches, and real digits."""

from nn.data.collate import default_collate
from nn.data.dataset import (
    ConcatDataset,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    random_split,
    train_test_split,
)
from nn.data.digits import load_digits
from nn.data.loader import DataLoader
from nn.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    WeightedRandomSampler,
)

__all__ = [
    "BatchSampler",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "IterableDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "Subset",
    "TensorDataset",
    "WeightedRandomSampler",
    "default_collate",
    "load_digits",
    "random_split",
    "train_test_split",
]
