"""Training on several ranks: data-parallel, sharded, and kept going when ranks fail.

`python -m nn.distributed.run --nproc 4 program.py` starts a program; functorch_like.distributed has
the collectives. Everything here also works in a process by itself, as a world of one.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nn.distributed.data_parallel import DistributedDataParallel, broadcast_module

_HOME = {
    "DistributedDataParallel": "data_parallel",
    "broadcast_module": "data_parallel",
}

__all__ = ["DistributedDataParallel", "broadcast_module"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'nn.distributed' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"nn.distributed.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
