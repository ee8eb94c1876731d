"""Tensors, models and training states in files: written whole or not at all, read without code.

state.py writes and reads safetensors files, tree.py puts nested values into their JSON, lazy.py
reads tensors when they are asked for and models in several files, numpy_file.py and torch_file.py
read what others wrote. atomic.py has what all writers share.
"""

from .atomic import FileFormatError
from .lazy import LazyTensors, save_sharded
from .numpy_file import load_npz, save_npz
from .state import load, load_metadata, save
from .torch_file import load_torch

__all__ = [
    "FileFormatError", "LazyTensors", "load", "load_metadata", "load_npz", "load_torch", "save",
    "save_npz", "save_sharded",
]  # fmt: skip
