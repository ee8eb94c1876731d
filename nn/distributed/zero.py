"""ZeroRedundancyOptimizer: every rank keeps the optimizer state of a part of the parameters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import functorch_like as ft
from functorch_like import Tensor, distributed
from functorch_like.distributed import Group
from nn.optim.base import Optimizer

__all__ = ["ZeroRedundancyOptimizer"]

_BYTES = 25 << 20  # of parameters in one message


class ZeroRedundancyOptimizer(Optimizer):
    """An optimizer whose state is dealt out over the ranks: ZeRO, stage 1.

    Each rank makes the step of the parameters it owns and sends them to the others. Use it with
    DistributedDataParallel, which gives all ranks the same gradients.

    Args:
      params: as the optimizer takes them, alike on all ranks.
      optimizer_class: any of nn.optim that steps each parameter by itself.
      process_group: by default all ranks.
      parameters_as_bucket_view, overlap_with_ddp: accepted as torch does.
      defaults: options of the optimizer.
    Reference: Rajbhandari et al. 2020, ZeRO: Memory Optimizations Toward Training Trillion
      Parameter Models.
    Example:
      >>> import functorch_like as ft, nn
      >>> from nn.distributed import ZeroRedundancyOptimizer
      >>> w = ft.ones(2, requires_grad=True)
      >>> optimizer = ZeroRedundancyOptimizer([w], nn.optim.SGD, lr=0.5)
      >>> w.sum().backward()
      >>> optimizer.step()
      >>> w.detach()
      tensor([0.5000, 0.5000])
    """

    def __init__(
        self,
        params: Any,
        optimizer_class: Callable[..., Optimizer],
        process_group: Group | None = None,
        parameters_as_bucket_view: bool = False,
        overlap_with_ddp: bool = False,
        **defaults: Any,
    ) -> None:
        self.group = distributed.world(process_group)
        # the optimizer knows all parameters; it makes state for those that it steps, no others
        self.optim = optimizer_class(params, **defaults)
        self.defaults = self.optim.defaults
        self.param_groups = self.optim.param_groups
        self._pre_hooks, self._post_hooks = self.optim._pre_hooks, self.optim._post_hooks
        self._deal()

    @property
    def state(self) -> defaultdict[Any, dict[str, Any]]:  # type: ignore[override]
        """Of the parameters that this rank owns."""
        return self.optim.state

    def _deal(self) -> None:
        """Each parameter gets an owner: the largest first, to the rank with the least so far."""
        params = [p for group in self.param_groups for p in group["params"]]
        loads = [0] * self.group.size
        self.owners: list[int] = [0] * len(params)
        for i in sorted(range(len(params)), key=lambda i: (-params[i].numel(), i)):
            least = loads.index(min(loads))
            self.owners[i] = least
            loads[least] += params[i].numel()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters, with options of their own; before the first step."""
        self.optim.add_param_group(param_group)
        self._deal()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient, each on its owner, and send them round."""
        every = [group["params"] for group in self.param_groups]
        at = iter(self.owners)
        mine = [[p for p in params if next(at) == self.group.rank] for params in every]
        try:
            for group, params in zip(self.param_groups, mine, strict=True):
                group["params"] = params
            loss = self.optim.step(closure)
        finally:
            for group, params in zip(self.param_groups, every, strict=True):
                group["params"] = params
        self._send_round([p for params in every for p in params])
        return loss

    def _send_round(self, params: list[Tensor]) -> None:
        if self.group.size == 1:
            return
        messages: list[tuple[int, list[Tensor]]] = []
        filled: dict[Any, tuple[list[Tensor], int]] = {}
        for p, owner in zip(params, self.owners, strict=True):
            some, size = filled.get((owner, p.dtype, p.device), ([], _BYTES))
            if size + p.nbytes > _BYTES:
                some, size = [], 0
                messages.append((owner, some))
            some.append(p)
            filled[owner, p.dtype, p.device] = (some, size + p.nbytes)
        with ft.no_grad():
            works = []
            for owner, some in messages:
                if owner == self.group.rank:
                    flat = ft.cat([p.detach().reshape(-1) for p in some])
                else:
                    count, like = sum(p.numel() for p in some), some[0]
                    flat = ft.empty(count, dtype=like.dtype, device=like.device)
                source = self.group.ranks[owner]
                works.append(distributed.broadcast(flat, source, self.group, async_op=True))
            for (owner, some), work in zip(messages, works, strict=True):
                flat = work.wait()
                if owner != self.group.rank:
                    for p, part in zip(some, flat.split([p.numel() for p in some]), strict=True):
                        p.detach().copy_(part.view(p.shape))

    # ---- saving ----

    def own_state(self, prefix: str = "optimizer") -> dict[str, Any]:
        """This rank's part of the state by key, for Checkpointer.save(own=...)."""
        saved = self.optim.state_dict()["state"]
        return {
            f"{prefix}/{number}/{name}": value
            for number, values in saved.items()
            for name, value in values.items()
        }

    def load_own_state(self, parts: Mapping[str, Any], prefix: str = "optimizer") -> None:
        """Takes over the state of the parameters that this rank owns, from Checkpointer.load."""
        state: dict[int, dict[str, Any]] = {}
        for key in parts:
            if key.startswith(f"{prefix}/"):
                _, number, name = key.rsplit("/", 2)
                if self.owners[int(number)] == self.group.rank:
                    state.setdefault(int(number), {})[name] = parts[key]
        groups = self.optim.state_dict()["param_groups"]
        self.optim.load_state_dict({"state": state, "param_groups": groups})
        self.param_groups = self.optim.param_groups

    def state_dict(self) -> dict[str, Any]:
        """The whole state, gathered from all ranks, on each of them; all call it."""
        mine = self.optim.state_dict()
        for part in distributed.all_gather_object(mine["state"], self.group):
            mine["state"].update(part)
        return mine

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Takes over a whole state; of parameters that other ranks own, nothing is kept."""
        mine = {k: v for k, v in state_dict["state"].items() if self.owners[k] == self.group.rank}
        self.optim.load_state_dict({**state_dict, "state": mine})
        self.param_groups = self.optim.param_groups
