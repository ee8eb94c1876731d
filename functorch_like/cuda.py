"""CUDA devices. There is no CUDA half of the core in this build: nothing is available."""


def is_available() -> bool:
    """Can tensors be put on a GPU?"""
    return False


def device_count() -> int:
    """How many GPUs can be used."""
    return 0
