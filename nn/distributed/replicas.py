"""DataParallel: one process that computes a batch on several of its devices.

Each forward copies the module to the devices, deals out the batch, computes the parts in threads
and joins the outputs. All copies are differentiable, so backward() by itself adds the gradients up
on the first device. DistributedDataParallel, one process a device, is faster.
"""

# `state` is the framework's own protocol
# pyright: reportPrivateUsage=false

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import functorch_like as ft
from functorch_like import Tensor, amp
from functorch_like.trace import state
from nn.module import MODULE, Module

__all__ = ["DataParallel", "gather", "parallel_apply", "replicate", "scatter"]


class DataParallel(Module):
    """A module that computes each batch on several devices, a part on each.

    Args:
      module: its parameters and buffers lie on the first device.
      device_ids: devices or their numbers; by default all CUDA devices. Without any, the module
        runs where it is.
      output_device: where outputs are joined; by default the first device.
      dim: of inputs and outputs, along which they are dealt out and joined.
    Raises:
      RuntimeError: from forward(): a parameter or buffer lies elsewhere.
    Notes: Tensors among the arguments are cut along dim, in tuples, lists and dicts too; anything
      else goes to all devices as it is. Outputs without dimensions are joined to a vector. What
      forward writes to the module is lost, except on the first device: so batch norm keeps the
      statistics of its part. Under a transform or while compiling the parts are computed one after
      the other. Threads take random numbers in no fixed order: dropout is not reproducible here.
    Example:
      >>> import functorch_like as ft, nn
      >>> from nn.distributed import DataParallel
      >>> model = DataParallel(nn.Linear(2, 1))
      >>> model(ft.ones(3, 2)).shape
      Size([3, 1])
    """

    def __init__(
        self,
        module: Module,
        device_ids: Sequence[Any] | None = None,
        output_device: Any = None,
        dim: int = 0,
    ) -> None:
        super().__init__()
        self.module, self.dim = module, dim
        if device_ids is None:
            device_ids = range(ft.cuda.device_count())
        self.device_ids = [_device(d) for d in device_ids]
        first = self.device_ids[0] if self.device_ids else None
        self.output_device = first if output_device is None else _device(output_device)

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """What the module gives for the whole batch."""
        if not self.device_ids:
            return self.module(*inputs, **kwargs)
        for tensor in (*self.module.parameters(), *self.module.buffers()):
            if tensor.device != self.device_ids[0]:
                raise RuntimeError(
                    f"DataParallel: expected parameters and buffers on {self.device_ids[0]} "
                    f"(device_ids[0]), got one on {tensor.device}. Move the module there."
                )
        parts = scatter((inputs, kwargs), self.device_ids, self.dim)
        replicas = replicate(self.module, self.device_ids[: len(parts)])
        outputs = parallel_apply(replicas, parts, self.device_ids)
        return gather(outputs, self.output_device, self.dim)


def _device(given: Any) -> ft.device:
    return ft.device("cuda", given) if isinstance(given, int) else ft.device(given)


def scatter(value: Any, devices: Sequence[Any], dim: int = 0) -> list[Any]:
    """The parts of a value for the devices, fewer than those if tensors are too short.

    Tensors are cut along dim, as chunk() does; of other things all get the same.
    """
    pieces = _dealt(value, devices, dim)
    return [value] if pieces is None else pieces


def _dealt(value: Any, devices: Sequence[Any], dim: int) -> list[Any] | None:
    """The parts; None if there is no tensor in it."""
    if isinstance(value, Tensor):
        parts = value.chunk(len(devices), dim)
        return [part.to(device) for part, device in zip(parts, devices, strict=False)]
    if isinstance(value, Mapping):
        return _rebuilt(list(value.values()), lambda v: _like(value, v), devices, dim)
    if isinstance(value, (tuple, list)):
        return _rebuilt(list(value), lambda v: _like(value, v), devices, dim)
    return None


def _rebuilt(
    values: list[Any], build: Callable[[list[Any]], Any], devices: Sequence[Any], dim: int
) -> list[Any] | None:
    columns = [_dealt(value, devices, dim) for value in values]
    counts = [len(parts) for parts in columns if parts is not None]
    if not counts:
        return None
    if min(counts) != max(counts):
        raise RuntimeError(
            f"DataParallel: expected tensors of one size along dimension {dim}, got some that give "
            f"{min(counts)} parts and some that give {max(counts)}."
        )
    return [
        build([v if parts is None else parts[i] for v, parts in zip(values, columns, strict=True)])
        for i in range(counts[0])
    ]


def _like(value: Any, values: list[Any]) -> Any:
    """A collection of value's kind, with other values."""
    if isinstance(value, Mapping):
        return type(value)(zip(value, values, strict=True))  # type: ignore[call-arg]
    return type(value)(*values) if hasattr(value, "_fields") else type(value)(values)


def replicate(module: Module, devices: Sequence[Any]) -> list[Module]:
    """The module itself, for the first device, and copies of it on the others.

    The copies' tensors are computed from the module's: gradients flow back to it.
    """
    return [module, *(_replica(module, device, {}) for device in devices[1:])]


def _replica(module: Module, device: Any, done: dict[int, Any]) -> Module:
    """done: copies by the id of what they are of; what is tied stays tied."""
    if id(module) in done:
        return done[id(module)]
    copy = done[id(module)] = object.__new__(type(module))
    values = copy.__dict__
    values.update(module.__dict__)
    values["_kinds"] = dict(module._kinds)
    for name, kind in module._kinds.items():
        value = values[name]
        if value is None:
            continue
        if kind == MODULE:
            values[name] = _replica(value, device, done)
            continue
        if id(value) not in done:
            done[id(value)] = value.to(device)
        values[name] = done[id(value)]
    return copy


def parallel_apply(
    modules: Sequence[Module], arguments: Sequence[Any], devices: Sequence[Any]
) -> list[Any]:
    """What each module gives for its (inputs, kwargs) on its device; computed in threads.

    Raises:
      what the first of them raises that fails, with its device.
    """
    found: list[Any] = [None] * len(modules)
    errors: list[BaseException | None] = [None] * len(modules)
    streams = [ft.cuda.current_stream(d) if d.type == "cuda" else None for d in devices]
    grad, dtype = ft.is_grad_enabled(), amp._local.dtype

    def compute(i: int) -> None:
        try:
            with ft.cuda.stream(streams[i]):
                inputs, kwargs = arguments[i]
                found[i] = modules[i](*inputs, **kwargs)
        except BaseException as error:
            if hasattr(error, "add_note"):  # since Python 3.11
                error.add_note(f"in replica {i} on {devices[i]}")  # type: ignore[attr-defined]
            errors[i] = error

    def in_thread(i: int) -> None:
        with (
            ft.set_grad_enabled(grad),
            amp.autocast(dtype=dtype or ft.bfloat16, enabled=dtype is not None),
        ):
            compute(i)

    if state.trace is not None or len(modules) == 1:
        for i in range(len(modules)):
            compute(i)
    else:
        threads = [threading.Thread(target=in_thread, args=(i,)) for i in range(len(modules))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for error in errors:
        if error is not None:
            raise error
    return found


def gather(outputs: Sequence[Any], device: Any, dim: int = 0) -> Any:
    """Outputs joined along dim on one device; tuples, lists and dicts by their parts."""
    first = outputs[0]
    if isinstance(first, Tensor):
        moved = [out.to(device) for out in outputs]
        return ft.cat(moved, dim) if first.ndim else ft.stack(moved)
    if first is None:
        return None
    if isinstance(first, Mapping):
        if any(out.keys() != first.keys() for out in outputs):
            raise ValueError(
                "DataParallel: expected dicts with the same keys from all replicas, got others."
            )
        return _like(first, [gather([out[key] for out in outputs], device, dim) for key in first])
    if isinstance(first, (tuple, list)):
        columns = zip(*outputs, strict=True)
        return _like(first, [gather(column, device, dim) for column in columns])
    raise TypeError(
        "DataParallel: expected tensors, or tuples, lists and dicts of them, from the module, got "
        f"{type(first).__name__}."
    )
