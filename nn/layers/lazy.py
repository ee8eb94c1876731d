"""Layers that learn the size of their input from the first one they see.

Until then their tensors are UninitializedParameters and UninitializedBuffers. The first call, or
loading a state dict, builds the layer proper, takes its tensors over (the objects stay, so that
what holds them still does) and makes the lazy module one of that class.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import functorch_like as ft
from nn.layers.batch_norm import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
)
from nn.layers.conv import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)
from nn.layers.linear import Linear
from nn.module import Module
from nn.parameter import Buffer, Parameter

__all__ = [
    "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d", "LazyConv1d", "LazyConv2d",
    "LazyConv3d", "LazyConvTranspose1d", "LazyConvTranspose2d", "LazyConvTranspose3d",
    "LazyInstanceNorm1d", "LazyInstanceNorm2d", "LazyInstanceNorm3d", "LazyLinear",
    "UninitializedBuffer", "UninitializedParameter",
]  # fmt: skip


class _Uninitialized:
    """What a parameter and a buffer without shape share."""

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Give the tensor a shape, with memory that holds anything."""
        own: Any = self
        device, dtype = device or own.device, dtype or own.dtype
        self._become(ft.empty(tuple(shape), device=device, dtype=dtype))

    def _become(self, value: ft.Tensor) -> None:
        own: Any = self
        with ft.no_grad():
            own.data = value.detach()
        own.__class__ = Parameter if isinstance(self, Parameter) else Buffer

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class UninitializedParameter(_Uninitialized, Parameter):
    """A Parameter whose shape is not known yet; materialize gives it one.

    Args:
      requires_grad: as Parameter's. device, dtype: what it will have.
    """

    def __new__(
        cls, requires_grad: bool = True, device: Any = None, dtype: Any = None
    ) -> UninitializedParameter:
        data = ft.empty(0, device=device, dtype=dtype)
        return ft.Tensor._make_subclass(cls, data, requires_grad)

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> None:
        pass


class UninitializedBuffer(_Uninitialized, Buffer):
    """A Buffer whose shape is not known yet; materialize gives it one."""

    def __new__(
        cls,
        requires_grad: bool = False,
        device: Any = None,
        dtype: Any = None,
        persistent: bool = True,
    ) -> UninitializedBuffer:
        data = ft.empty(0, device=device, dtype=dtype)
        buffer = ft.Tensor._make_subclass(cls, data, requires_grad)
        buffer.persistent = persistent
        return buffer

    def __init__(
        self,
        requires_grad: bool = False,
        device: Any = None,
        dtype: Any = None,
        persistent: bool = True,
    ) -> None:
        pass


class _Lazy(Module):
    """Base of the lazy layers, before the layer proper among the bases."""

    proper: ClassVar[Any]  # the class that the layer becomes
    size_name: ClassVar[str]
    channel_dim: ClassVar[int] = 1  # where an input has the size; from the end for spatial layers
    _settings: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        signature = inspect.signature(self.proper.__init__)
        given = signature.bind(self, 0, *args, **kwargs)
        given.apply_defaults()
        settings = dict(given.arguments)
        del settings["self"], settings[self.size_name]
        self.proper.__init__(self, 0, **settings)
        self.__dict__["_settings"] = settings
        for name, kind in self._kinds.items():
            value = self.__dict__[name]
            if isinstance(value, Parameter):
                self.__dict__[name] = UninitializedParameter(
                    value.requires_grad, value.device, value.dtype
                )
            elif value is not None and value.ndim:
                self.__dict__[name] = UninitializedBuffer(
                    device=value.device, dtype=value.dtype, persistent=kind == "buffer"
                )
        self.register_load_state_dict_pre_hook(_size_from_state)

    def has_uninitialized_params(self) -> bool:
        """Is the layer still without a size?"""
        return True

    def forward(self, input: ft.Tensor, *args: Any) -> Any:
        """Takes the size from input, and goes on as the layer proper."""
        dim = self.channel_dim
        if not -input.ndim <= dim < input.ndim:
            raise ValueError(
                f"{type(self).__name__}: expected an input with {self.size_name} along dim {dim}, "
                f"got {list(input.shape)}."
            )
        self._initialize(input.shape[dim])
        return self.forward(input, *args)

    def _input_error(self, *_args: Any) -> str | None:
        return None  # the rules of the layer proper are about a size that is not known yet

    def _initialize(self, size: int) -> None:
        made = self.proper(size, **self._settings)
        for name, value in made.__dict__.items():
            own = self.__dict__.get(name)
            if isinstance(own, _Uninitialized):
                own._become(value.to(own.device, own.dtype))  # type: ignore[attr-defined]
            elif name not in made._kinds and name not in ("_kinds", "training"):
                self.__dict__[name] = value
        del self.__dict__["_settings"]
        loading = self._hooks["load_pre"] if self._hooks else {}
        for key, (hook, _) in list(loading.items()):
            if hook is _size_from_state:
                del loading[key]
        if self._hooks and not any(self._hooks.values()):
            del self.__dict__["_hooks"]
        self.__class__ = self.proper

    def _size_of(self, shapes: dict[str, tuple[int, ...]]) -> int | None:
        """The size that the tensors of a state dict belong to; None if they do not tell."""
        raise NotImplementedError


def _size_from_state(module: Any, state: dict[str, Any], prefix: str, *_others: Any) -> None:
    shapes = {
        name: tuple(state[prefix + name].shape) for name in module._kinds if prefix + name in state
    }
    size = module._size_of(shapes)
    if size is not None:
        module._initialize(size)


class LazyLinear(_Lazy, Linear):
    """Linear that takes in_features from its first input; other arguments as Linear's.

    Example:
      >>> import functorch_like as ft, nn
      >>> layer = nn.LazyLinear(2)
      >>> layer(ft.zeros(5, 3)).shape, layer
      (Size([5, 2]), Linear(in_features=3, out_features=2, bias=True))
    """

    proper, size_name, channel_dim = Linear, "in_features", -1

    def _size_of(self, shapes: dict[str, tuple[int, ...]]) -> int | None:
        weight = shapes.get("weight")
        return weight[1] if weight and len(weight) == 2 else None


class _LazyConvolution(_Lazy):
    size_name = "in_channels"

    def _size_of(self, shapes: dict[str, tuple[int, ...]]) -> int | None:
        weight = shapes.get("weight")
        own: Any = self
        if not weight or len(weight) != own.spatial + 2:
            return None
        return weight[0] if own.transposed else weight[1] * own.groups


class LazyConv1d(_LazyConvolution, Conv1d):
    """Conv1d that takes in_channels from its first input; other arguments as Conv1d's."""

    proper, channel_dim = Conv1d, -2


class LazyConv2d(_LazyConvolution, Conv2d):
    """Conv2d that takes in_channels from its first input; other arguments as Conv2d's."""

    proper, channel_dim = Conv2d, -3


class LazyConv3d(_LazyConvolution, Conv3d):
    """Conv3d that takes in_channels from its first input; other arguments as Conv3d's."""

    proper, channel_dim = Conv3d, -4


class LazyConvTranspose1d(_LazyConvolution, ConvTranspose1d):
    """ConvTranspose1d that takes in_channels from its first input."""

    proper, channel_dim = ConvTranspose1d, -2


class LazyConvTranspose2d(_LazyConvolution, ConvTranspose2d):
    """ConvTranspose2d that takes in_channels from its first input."""

    proper, channel_dim = ConvTranspose2d, -3


class LazyConvTranspose3d(_LazyConvolution, ConvTranspose3d):
    """ConvTranspose3d that takes in_channels from its first input."""

    proper, channel_dim = ConvTranspose3d, -4


class _LazyNorm(_Lazy):
    size_name = "num_features"

    def _size_of(self, shapes: dict[str, tuple[int, ...]]) -> int | None:
        sizes = [shape[0] for shape in shapes.values() if len(shape) == 1]
        return sizes[0] if sizes else None


class LazyBatchNorm1d(_LazyNorm, BatchNorm1d):
    """BatchNorm1d that takes num_features from its first input."""

    proper = BatchNorm1d


class LazyBatchNorm2d(_LazyNorm, BatchNorm2d):
    """BatchNorm2d that takes num_features from its first input."""

    proper = BatchNorm2d


class LazyBatchNorm3d(_LazyNorm, BatchNorm3d):
    """BatchNorm3d that takes num_features from its first input."""

    proper = BatchNorm3d


class LazyInstanceNorm1d(_LazyNorm, InstanceNorm1d):
    """InstanceNorm1d that takes num_features from its first input."""

    proper, channel_dim = InstanceNorm1d, -2


class LazyInstanceNorm2d(_LazyNorm, InstanceNorm2d):
    """InstanceNorm2d that takes num_features from its first input."""

    proper, channel_dim = InstanceNorm2d, -3


class LazyInstanceNorm3d(_LazyNorm, InstanceNorm3d):
    """InstanceNorm3d that takes num_features from its first input."""

    proper, channel_dim = InstanceNorm3d, -4
