"""Fully sharded training: every rank keeps a part of each parameter, gradient and state.

The parameters of a unit, say a block of a transformer, lie in one flat tensor of which each rank
has an equal part. The unit's forward gathers them, computes, and lets go; its backward gathers them
once more, as a checkpoint whose policy drops the parameters and keeps the activations. While one
unit computes, the courier gathers the next one's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import functorch_like as ft
from functorch_like import Tensor, distributed
from functorch_like.distributed import Group
from functorch_like.distributed.sharding import gather_parameters, gather_parameters_op, splitter
from nn.distributed.checkpoint import Part
from nn.distributed.data_parallel import broadcast_module
from nn.module import Module
from nn.parameter import Parameter

__all__ = [
    "ShardedUnit", "clip_sharded_grad_norm_", "fully_shard", "load_sharded", "load_whole",
    "own_state", "whole_state_dict",
]  # fmt: skip

_FLAT = "flat_shard"


class ShardedUnit:
    """The sharded parameters of a module: which they are, and how they are gathered ahead."""

    def __init__(self, name: str, places: dict[str, list[tuple[Module, str]]], group: Group):
        self.name, self.group = name, group
        self.names = list(places)
        self.places = list(places.values())
        params = [owner.__dict__[key] for (owner, key), *_ in self.places]
        if len({p.dtype for p in params}) > 1:
            raise ValueError(
                f"fully_shard: expected parameters of one dtype in {name or 'the module'}, got "
                f"{', '.join(sorted({str(p.dtype) for p in params}))}."
            )
        self.shapes = [tuple(p.shape) for p in params]
        self.count = sum(p.numel() for p in params)
        self.each = -(-self.count // group.size)
        with ft.no_grad():
            pieces = [p.detach().reshape(-1) for p in params]
            padding = self.each * group.size - self.count
            pieces.append(ft.zeros(padding, dtype=params[0].dtype, device=params[0].device))
            whole = ft.cat(pieces)
            mine = whole.narrow(0, group.rank * self.each, self.each).clone()
        self.shard = Parameter(mine)
        for spots in self.places:
            for owner, key in spots:
                owner._kinds.pop(key)
                owner.__dict__[key] = None
        self.split = splitter(self.shapes)
        self.order: list[ShardedUnit] = []
        self.in_forward = False
        self._coming: Any = None

    # ---- gathering ----

    def start(self) -> None:
        """Asks for the parameters ahead of their use."""
        if self._coming is None:
            shard = self.shard.detach()
            work = distributed.all_gather(shard, group=self.group, async_op=True)
            self._coming = (work, shard._version)

    def take(self, shard: Tensor) -> Tensor | None:
        """The parameters if they were asked for and have not changed since; asks for the next."""
        found, self._coming = self._coming, None
        whole = None
        if found is not None:
            whole = found[0].wait()
            if found[1] != shard._version:
                whole = None
        if self in self.order:
            at = self.order.index(self) + (1 if self.in_forward else -1)
            if 0 <= at < len(self.order):
                self.order[at].start()
        return whole

    def fill(self) -> None:
        """Puts the gathered parameters in their places."""
        whole = gather_parameters(self.shard, self.group, self)
        for spots, value in zip(self.places, self._parts(whole), strict=True):
            for owner, key in spots:
                owner.__dict__[key] = value

    def _parts(self, whole: Tensor) -> tuple[Tensor, ...]:
        from functorch_like.op import dispatch

        return dispatch(self.split, (whole,), {})

    def empty(self) -> None:
        """Takes the parameters out of their places."""
        for spots in self.places:
            for owner, key in spots:
                owner.__dict__[key] = None

    # ---- saving ----

    def bounds(self) -> tuple[int, int]:
        """Which elements of the flat parameters, without padding, this rank has."""
        start = min(self.group.rank * self.each, self.count)
        return start, min(start + self.each, self.count)

    def part(self, values: Tensor) -> Part:
        """This rank's part of a flat tensor as long as the parameters, for a Checkpointer."""
        start, stop = self.bounds()
        return Part(values.detach().narrow(0, 0, stop - start), start, self.count)

    def whole(self) -> dict[str, Tensor]:
        """The parameters by name."""
        with ft.no_grad():
            flat = distributed.all_gather(self.shard.detach(), group=self.group)
            return dict(zip(self.names, self._parts(flat), strict=True))


def _drops(unit: ShardedUnit) -> Callable[..., bool]:
    """What a unit's backward finds kept: all but the parameters and views of them."""

    def keep(op: Any, _params: Any) -> bool:
        return op is not gather_parameters_op and op is not unit.split and not op.view

    return keep


def fully_shard(
    module: Module,
    units: Collection[type] | Callable[[str, Module], bool] = (),
    process_group: Group | None = None,
    *,
    recompute: bool = False,
    prefetch: bool = True,
) -> list[ShardedUnit]:
    """Deals the parameters of a module out over the ranks, in place.

    module.parameters() are then flat parts, `flat_shard`, one of each unit: give those to an
    optimizer that treats every element alike (SGD, Adam and their kin; not Muon or Adafactor).
    Gradients are averaged over the ranks.

    Args:
      module: on each rank; rank 0's values count.
      units: classes of the submodules to gather one at a time, or a predicate of name and module.
        What is in none of them is gathered at the start and kept until backward is done.
      process_group: by default all ranks.
      recompute: compute the units' activations again in backward too, as ft.checkpoint does.
      prefetch: gather the next unit's parameters while one computes.
    Returns:
      The units, the one of the module itself last.
    Raises:
      ValueError: a parameter in two units; one unit with several dtypes.
    Reference: Rajbhandari et al. 2020 (stage 3); Zhao et al. 2023, PyTorch FSDP.
    """
    group = distributed.world(process_group)
    broadcast_module(module, group)
    if callable(units) and not isinstance(units, (tuple, list, set, frozenset)):
        chosen = [m for name, m in module.named_modules() if m is not module and units(name, m)]
    else:
        kinds = tuple(units)  # type: ignore[arg-type]
        chosen = [m for m in module.modules() if m is not module and isinstance(m, kinds)]
    made: list[ShardedUnit] = []
    seen: dict[int, str] = {}
    order: list[ShardedUnit] = []
    names = {id(m): name for name, m in module.named_modules()}
    for one in sorted(chosen, key=lambda m: -names[id(m)].count(".")):
        unit = _unit_of(one, names[id(one)], group, seen)
        if unit is not None:
            made.append(unit)
            _wrap(one, unit, order if prefetch else None, recompute)
    made.sort(key=lambda unit: list(names.values()).index(unit.name))
    rest = _unit_of(module, "", group, seen)
    if rest is not None:
        made.append(rest)
        _wrap(module, rest, None, None)
    object.__setattr__(module, "_sharded_units", made)
    return made


def _unit_of(module: Module, name: str, group: Group, seen: dict[int, str]) -> ShardedUnit | None:
    places: dict[str, list[tuple[Module, str]]] = {}
    first: dict[int, str] = {}
    for path, owner in module.named_modules():
        for key, value in list(owner._parameters.items()):
            if value is None or key == _FLAT:
                continue
            full = ".".join(part for part in (name, path, key) if part)
            if id(value) in seen:
                raise ValueError(
                    f"fully_shard: expected each parameter in one unit, got {full}, which is "
                    f"{seen[id(value)]} too. Make one unit of both."
                )
            if id(value) in first:
                places[first[id(value)]].append((owner, key))
            else:
                first[id(value)] = full
                places[full] = [(owner, key)]
    seen.update(first)
    if not places:
        return None
    unit = ShardedUnit(name, places, group)
    module.register_parameter(_FLAT, unit.shard)
    return unit


def _wrap(
    module: Module, unit: ShardedUnit, order: list[ShardedUnit] | None, recompute: bool | None
) -> None:
    """Has the module's forward gather its parameters; recompute None: once for both passes."""
    forward = module.forward
    if order is not None:
        unit.order = order

    def gathered(*args: Any, **kwargs: Any) -> Any:
        if order is not None and unit not in order:
            order.append(unit)
        unit.shard = module.__dict__[_FLAT]
        unit.in_forward = True
        try:
            unit.fill()
            return forward(*args, **kwargs)
        finally:
            unit.in_forward = False
            unit.empty()

    policy: Any = "nothing" if recompute else _drops(unit)
    run = gathered if recompute is None else ft.checkpoint(gathered, policy=policy)
    object.__setattr__(module, "forward", run)


# ---- norms and saving ----


def clip_sharded_grad_norm_(units: list[ShardedUnit], max_norm: float, eps: float = 1e-6) -> Tensor:
    """Scales gradients so that their norm over all ranks is at most max_norm; gives the norm."""
    with ft.no_grad():
        grads = [u.shard.grad for u in units if u.shard.grad is not None]
        square = sum(((g * g).sum() for g in grads), ft.zeros((), device=units[0].shard.device))
        norm = distributed.all_reduce(square, group=units[0].group).sqrt()
        factor = (max_norm / (norm + eps)).clamp(max=1.0)
        for g in grads:
            g.mul_(factor)
    return norm


def whole_state_dict(module: Module) -> dict[str, Tensor]:
    """The state of a sharded module under its original names, on each rank; all call it."""
    units: list[ShardedUnit] = module.__dict__["_sharded_units"]
    found = {k: v for k, v in module.state_dict().items() if not k.endswith(_FLAT)}
    for unit in units:
        found |= {name: t.clone() for name, t in unit.whole().items()}
    return found


def own_state(module: Module, optimizer: Any = None) -> dict[str, Any]:
    """This rank's parts of the parameters, and of the optimizer's state, for a Checkpointer."""
    found: dict[str, Any] = {}
    for unit in module.__dict__["_sharded_units"]:
        found[f"parameters/{unit.name}"] = unit.part(unit.shard)
        for name, value in ({} if optimizer is None else optimizer.state[unit.shard]).items():
            key = f"optimizer/{unit.name}/{name}"
            flat = isinstance(value, Tensor) and value.shape == unit.shard.shape
            number = value.item() if isinstance(value, Tensor) and not value.ndim else value
            found[key] = unit.part(value) if flat else number
    return found


def load_sharded(module: Module, parts: Any, optimizer: Any = None) -> None:
    """Takes over what own_state() saved, on whatever number of ranks.

    Args:
      parts: the third thing that Checkpointer.load gives.
    """
    units: list[ShardedUnit] = module.__dict__["_sharded_units"]
    state: dict[int, dict[str, Any]] = {}
    numbers = {}
    if optimizer is not None:
        params = [p for group in optimizer.param_groups for p in group["params"]]
        numbers = {id(p): i for i, p in enumerate(params)}
    for unit in units:
        start, stop = unit.bounds()

        def padded(key: str, unit: ShardedUnit = unit, a: int = start, b: int = stop) -> Tensor:
            flat = ft.zeros(unit.each, dtype=unit.shard.dtype, device=unit.shard.device)
            if b > a:
                flat.narrow(0, 0, b - a).copy_(parts.slice(key, a, b))
            return flat

        with ft.no_grad():
            unit.shard.detach().copy_(padded(f"parameters/{unit.name}"))
        prefix = f"optimizer/{unit.name}/"
        for key in parts if optimizer is not None else ():
            if key.startswith(prefix) and "/" not in key[len(prefix) :]:
                flat = parts.is_flat(key)
                value = padded(key) if flat else ft.tensor(parts[key])
                state.setdefault(numbers[id(unit.shard)], {})[key[len(prefix) :]] = value
    if optimizer is not None:
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})


def load_whole(module: Module, state: Mapping[str, Tensor]) -> None:
    """Takes over parameters under their original names, as whole_state_dict gives them."""
    for unit in module.__dict__["_sharded_units"]:
        start, stop = unit.bounds()
        flat = ft.cat([state[name].reshape(-1) for name in unit.names])
        with ft.no_grad():
            unit.shard.detach().narrow(0, 0, stop - start).copy_(
                flat.narrow(0, start, stop - start)
            )
