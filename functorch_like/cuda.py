"""CUDA devices. The CUDA half of the core is opened at the first question."""

from cbackend import lib


def is_available() -> bool:
    """Can tensors be put on a GPU?"""
    return bool(lib.cb_cuda_available())


def device_count() -> int:
    """How many GPUs can be used."""
    return lib.cb_cuda_device_count()
