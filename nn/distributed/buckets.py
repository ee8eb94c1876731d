"""Gradients on their way: buckets that are reduced over all ranks while backward still runs.

A hook of each parameter copies its gradient into a bucket as soon as it is complete; a full bucket
is handed to the group's courier, which reduces it while the main thread goes on. Buckets are handed
in by their number, so all ranks reduce them in one order whatever the order their gradients come
in. The order of parameters in buckets is the reverse of their definition first and that in which
gradients came, on rank 0, after the first pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import functorch_like as ft
from functorch_like import Tensor, autograd, distributed, staging
from functorch_like.distributed import Group

__all__ = ["Reducer"]

_FIRST = 1 << 20  # bytes of the first bucket: reduction begins early


class _Bucket:
    """One message: a flat tensor and the parameters whose gradients it holds."""

    def __init__(self, places: list[int], params: Sequence[Tensor], dtype: Any):
        self.places = places
        count = sum(params[i].numel() for i in places)
        self.flat = ft.zeros(count, dtype=dtype, device=params[places[0]].device)
        self.views: list[Tensor] = []
        start = 0
        for i in places:
            count = params[i].numel()
            self.views.append(self.flat.narrow(0, start, count).view(params[i].shape))
            start += count
        self.waiting = len(places)
        self.work: Any = None


class Reducer:
    """Averages the gradients of parameters over the ranks of a group, in buckets.

    Args:
      params: those that require grad, with their names.
      cap: bytes of a bucket.
      as_view: gradients become views of the buckets; saves their memory and a copy.
      find_unused: some parameters may get no gradient in a pass.
      dtype: of the messages; by default each parameter's own.
    """

    def __init__(
        self,
        params: Sequence[tuple[str, Tensor]],
        group: Group,
        cap: int,
        as_view: bool = False,
        find_unused: bool = False,
        dtype: Any = None,
    ):
        self.names = [name for name, _ in params]
        self.params = [p for _, p in params]
        self.group, self.cap, self.as_view = group, cap, as_view
        self.find_unused, self.dtype = find_unused, dtype
        self.expected = False  # is a backward pass from a synchronised forward due?
        self.arrived: list[int] | None = []  # the order in the first pass
        self._build(list(reversed(range(len(self.params)))))
        self._running = False
        self._used: list[bool] = [True] * len(self.params)
        for i, p in enumerate(self.params):
            p.register_post_accumulate_grad_hook(self._hook(i))

    def _build(self, order: list[int]) -> None:
        groups: list[list[int]] = []
        open_: dict[Any, tuple[list[int], int]] = {}
        for i in order:
            p = self.params[i]
            dtype = self.dtype or p.dtype
            kind = (dtype, p.device)
            size = p.numel() * dtype.itemsize
            places, filled = open_.get(kind, ([], 0))
            limit = self.cap if groups[1:] else min(self.cap, _FIRST)
            if not places or filled + size > limit:
                places, filled = [], 0
                groups.append(places)
            places.append(i)
            open_[kind] = (places, filled + size)
        self.buckets = [
            _Bucket(places, self.params, self.dtype or self.params[places[0]].dtype)
            for places in groups
        ]
        self._home = {
            i: (bucket, k) for bucket in self.buckets for k, i in enumerate(bucket.places)
        }

    # ---- during backward ----

    def _hook(self, i: int) -> Callable[[Tensor], None]:
        return lambda _: self._ready(i)

    def prepare(self, outputs: Sequence[Tensor] | None) -> None:
        """Before a backward pass; outputs: of the module, to find parameters they do not use."""
        for bucket in self.buckets:
            bucket.waiting, bucket.work = len(bucket.places), None
        self._next = 0
        self._running = False
        self._ready_ones: set[int] = set()
        if not self.find_unused or outputs is None:
            self._used = [True] * len(self.params)
            return
        from functorch_like.tape import used_leaves

        leaves = used_leaves(outputs)
        self._used = [p._m in leaves for p in self.params]

    def _ready(self, i: int) -> None:
        if not self.expected:
            return
        if not self._running:
            self._running = True
            autograd.queue_callback(self._finish)
            if not all(self._used):
                for k, used in enumerate(self._used):
                    if not used:
                        self._put(k)
        self._put(i)

    def _put(self, i: int) -> None:
        if i in self._ready_ones:
            return
        self._ready_ones.add(i)
        if staging.current_stage() is not None:
            return
        if self.arrived is not None:
            self.arrived.append(i)
        bucket, k = self._home[i]
        self._fill(bucket, k, self.params[i].grad)
        bucket.waiting -= 1
        while self._next < len(self.buckets) and not self.buckets[self._next].waiting:
            self._send(self.buckets[self._next])
            self._next += 1

    def _fill(self, bucket: _Bucket, k: int, grad: Tensor | None) -> None:
        view = bucket.views[k]
        with ft.no_grad():
            if grad is None:
                view.zero_()
            elif grad.data_ptr() != view.data_ptr() or grad.dtype != view.dtype:
                view.copy_(grad.detach())

    def _send(self, bucket: _Bucket) -> None:
        bucket.work = distributed.all_reduce_(bucket.flat, "mean", self.group, async_op=True)

    def _finish(self) -> None:
        """At the end of backward: waits for the buckets and puts the means in place."""
        self.expected = self._running = False
        if staging.current_stage() is not None:
            self._finish_staged()
            return
        missing = [name for i, name in enumerate(self.names) if i not in self._ready_ones]
        if missing:
            raise RuntimeError(
                "DistributedDataParallel: expected a gradient for every parameter, got none for "
                f"{', '.join(missing[:5])}{', ...' if missing[5:] else ''}. "
                "Pass find_unused_parameters=True."
            )
        used = self._used_anywhere()
        with ft.no_grad():
            for bucket in self.buckets:
                bucket.work.wait()
                for i, view in zip(bucket.places, bucket.views, strict=True):
                    if used is None or used[i]:
                        self._take(self.params[i], view)
        if self.arrived is not None:
            order, self.arrived = self.arrived, None
            if not self.find_unused and not self.as_view:
                self._build(distributed.broadcast_object(order, self.group.ranks[0], self.group))

    def _take(self, param: Tensor, view: Tensor) -> None:
        if self.as_view and view.dtype == param.dtype:
            param.grad = view
        elif param.grad is None:
            param.grad = view.to(param.dtype, copy=True)
        else:
            param.grad.copy_(view)

    def _used_anywhere(self) -> list[bool] | None:
        """Which parameters any rank used; None: all."""
        if not self.find_unused:
            return None
        flags = ft.tensor(self._used).to(ft.uint8)
        return distributed.all_reduce(flags, "max", self.group, async_op=True).wait().tolist()

    def _finish_staged(self) -> None:
        """In a compiled step the means are values of the program."""
        grads = {i: p.grad for i, p in enumerate(self.params) if p.grad is not None}
        for i, mean in distributed.pmean(grads, self.group).items():
            self.params[i].grad = mean

    # ---- by hand ----

    def reduce(self) -> None:
        """Averages what lies in .grad now; parameters without count as zero."""
        self.prepare(None)
        for bucket in self.buckets:
            for k, i in enumerate(bucket.places):
                self._fill(bucket, k, self.params[i].grad)
            self._send(bucket)
        with ft.no_grad():
            for bucket in self.buckets:
                bucket.work.wait()
                for i, view in zip(bucket.places, bucket.views, strict=True):
                    self._take(self.params[i], view)
