"""DistributedDataParallel: a module whose gradients are averaged over all ranks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import functorch_like as ft
from functorch_like import Tensor, distributed, tree
from functorch_like.distributed import Group
from nn.distributed.buckets import Reducer
from nn.module import Module

__all__ = ["DistributedDataParallel", "broadcast_module"]


class DistributedDataParallel(Module):
    """A module that trains on all ranks at once, each on its own part of the batch.

    All ranks start with the tensors of rank 0. Gradients are averaged over the ranks in backward(),
    in buckets, while earlier layers are still computed; so optimizers take the same step on all
    ranks, that of the whole batch.

    Args:
      module: on each rank, with equal parameters.
      device_ids, output_device, dim: accepted as torch does.
      broadcast_buffers: give all ranks rank 0's buffers before each forward in training.
      init_sync: start with rank 0's parameters and buffers; False if they are equal already.
      process_group: by default all ranks.
      bucket_cap_mb: most MiB of gradients in one message; the first one has at most 1.
      find_unused_parameters: some parameters may not take part in a forward, not the same ones on
        all ranks; those that no rank used keep their .grad.
      check_reduction, static_graph: accepted as torch does.
      gradient_as_bucket_view: .grad shares memory with the buckets.
      gradient_dtype: of the messages, say bfloat16, which are half as long; by default the
        gradients' own.
    Raises:
      CollectiveError: the ranks have different modules.
      RuntimeError: from backward(): a parameter got no gradient, without find_unused_parameters.
    Notes: As in torch, gradients are averaged in the first backward after a forward, not in a
      second one. In a compiled step gradients are reduced together where backward ends. Or compile
      the backward pass under no_sync(), and call reduce_gradients() between it and the optimizer.
    Reference: Li et al. 2020, PyTorch Distributed: Experiences on Accelerating Data Parallel
      Training.
    Example:
      >>> import functorch_like as ft, nn
      >>> from nn.distributed import DistributedDataParallel
      >>> model = DistributedDataParallel(nn.Linear(2, 1))
      >>> model(ft.ones(3, 2)).sum().backward()
      >>> model.module.bias.grad
      tensor([3.])
    """

    def __init__(
        self,
        module: Module,
        device_ids: Any = None,
        output_device: Any = None,
        dim: int = 0,
        broadcast_buffers: bool = True,
        init_sync: bool = True,
        process_group: Group | None = None,
        bucket_cap_mb: float | None = None,
        find_unused_parameters: bool = False,
        check_reduction: bool = False,
        gradient_as_bucket_view: bool = False,
        static_graph: bool = False,
        *,
        gradient_dtype: Any = None,
    ) -> None:
        super().__init__()
        self.module = module
        self.process_group = distributed.world(process_group)
        self.broadcast_buffers = broadcast_buffers
        self.require_backward_grad_sync = True
        named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
        if not named:
            raise RuntimeError(
                "DistributedDataParallel: expected a module with parameters that require grad, got "
                f"{module._get_name()} without."
            )
        _check_alike(module, self.process_group)
        if init_sync:
            broadcast_module(module, self.process_group)
        self._reducer = Reducer(
            named,
            self.process_group,
            math.ceil((25.0 if bucket_cap_mb is None else bucket_cap_mb) * (1 << 20)),
            gradient_as_bucket_view,
            find_unused_parameters,
            gradient_dtype,
        )
        self._reducer.prepare(None)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module gives."""
        synced = self.require_backward_grad_sync and ft.is_grad_enabled()
        if self.broadcast_buffers and self.training and synced:
            _broadcast([b for b in self.module.buffers()], self.process_group)
        out = self.module(*args, **kwargs)
        self._reducer.expected = synced
        if synced:
            tensors = [t for t in tree.leaves(out) if isinstance(t, Tensor)]
            self._reducer.prepare(tensors)
        return out

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Inside, gradients add up on each rank; the next backward after it averages the sums."""
        saved, self.require_backward_grad_sync = self.require_backward_grad_sync, False
        try:
            yield
        finally:
            self.require_backward_grad_sync = saved

    def reduce_gradients(self) -> None:
        """Averages the gradients that lie in .grad now: after backward passes under no_sync()."""
        self._reducer.reduce()


def broadcast_module(module: Module, group: Group | None = None) -> None:
    """Gives all ranks the parameters and buffers of the group's first one."""
    tensors = [*module.parameters(), *module.buffers()]
    _broadcast(tensors, distributed.world(group))


def _broadcast(tensors: list[Tensor], group: Group) -> None:
    if group.size == 1 or not tensors:
        return
    kinds: dict[Any, list[Tensor]] = {}
    for t in tensors:
        kinds.setdefault((t.dtype, t.device), []).append(t)
    with ft.no_grad():
        for same in kinds.values():
            flat = ft.cat([t.detach().reshape(-1) for t in same])
            flat = distributed.broadcast(flat, group.ranks[0], group)
            for t, part in zip(same, flat.split([t.numel() for t in same]), strict=True):
                t.detach().copy_(part.view(t.shape))


def _check_alike(module: Module, group: Group) -> None:
    """Raises on all ranks if they have different parameters."""
    mine = [(n, list(p.shape), str(p.dtype)) for n, p in module.named_parameters()]
    every = distributed.all_gather_object(mine, group)
    for rank, theirs in zip(group.ranks, every, strict=True):
        for a, b in zip(every[0], theirs, strict=False):
            if a != b:
                raise distributed.CollectiveError(
                    f"DistributedDataParallel: expected equal parameters on all ranks, got {a[0]} "
                    f"{a[2]}{a[1]} on rank {group.ranks[0]} and {b[0]} {b[2]}{b[1]} on rank {rank}."
                )
        if len(theirs) != len(every[0]):
            raise distributed.CollectiveError(
                "DistributedDataParallel: expected equal parameters on all ranks, got "
                f"{len(every[0])} on rank {group.ranks[0]} and {len(theirs)} on rank {rank}."
            )
