"""Training on several ranks: data-parallel, sharded, and kept going when ranks fail.

`python -m nn.distributed.run --nproc 4 program.py` starts a program; functorch_like.distributed has
the collectives. Everything here also works in a process by itself, as a world of one.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nn.distributed.batches import *
    from nn.distributed.checkpoint import *
    from nn.distributed.data_parallel import *
    from nn.distributed.embedding import *
    from nn.distributed.replicas import *
    from nn.distributed.reports import *
    from nn.distributed.sharded import *
    from nn.distributed.tensor_parallel import *
    from nn.distributed.zero import *

# the names by the module that has them in its __all__
_NAMES = {
    "batches": "DistributedSampler GlobalBatches manual_seed rank_generator rank_key",
    "checkpoint": "Checkpointer Part Parts",
    "data_parallel": "DistributedDataParallel broadcast_module",
    "embedding": "ShardedEmbedding",
    "replicas": "DataParallel",
    "reports": "get_logger merge_traces print_once profile_ranks progress",
    "sharded": """
        ShardedUnit clip_sharded_grad_norm_ fully_shard load_sharded load_whole own_state
        whole_state_dict
    """,
    "tensor_parallel": "ColumnParallelLinear ParallelAttention RowParallelLinear",
    "zero": "ZeroRedundancyOptimizer",
}
_HOME = {name: home for home, names in _NAMES.items() for name in names.split()}

__all__: list[str] = []
__all__ += [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'nn.distributed' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"nn.distributed.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
