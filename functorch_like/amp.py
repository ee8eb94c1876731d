"""Mixed precision: autocast, under which products are computed in 16 bits.

Public functions of products ask `lowered`, those that need range or digits (softmax, norms, losses,
decompositions) ask `widened` or are `wide`; all only where `entered` says that some autocast is on.
Casts are ordinary recorded operations, so that gradients arrive in the parameters' own dtype; rules
of derivatives call the products beneath and are not cast again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from .dtypes import bfloat16, dtype, float16, float32
from .errors import DTypeError, message

__all__ = ["autocast", "is_autocast_enabled"]

_F = TypeVar("_F", bound=Callable[..., Any])


class _Local(threading.local):
    dtype: dtype | None = None


_local = _Local()
# one entry for each autocast that is on in any thread: the one truth test of code without it
entered: list[None] = []


class autocast:
    """Matrix products and convolutions inside take float32 tensors as 16-bit ones.

    A context manager and a decorator. Softmax, norms, losses, decompositions, solvers, Fourier
    transforms, distances and products of elements compute and return float32.

    Args:
      device_type: accepted as torch does.
      dtype: bfloat16 or float16; float16 needs a GradScaler.
      enabled: False switches an outer autocast off inside.
      cache_enabled: accepted as torch does; casts are not kept.
    Raises:
      TypeError: another dtype.
    Notes: Run backward() outside. Parameters, gradients and optimizer stay in float32.
    Reference: Micikevicius et al. 2018.
    Example:
      >>> import functorch_like as ft
      >>> x = ft.ones(2, 2, requires_grad=True)
      >>> with autocast():
      ...     y = x @ x
      >>> y.dtype, ft.softmax(y, 0).dtype
      (bfloat16, bfloat16)
      >>> y.float().sum().backward()
      >>> x.grad.dtype
      float32
    """

    def __init__(
        self,
        device_type: str = "cpu",
        dtype: Any = bfloat16,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if enabled and dtype not in (bfloat16, float16):
            raise DTypeError(message("autocast", "bfloat16 or float16", dtype))
        self.dtype = dtype if enabled else None
        self.device_type = device_type
        self._saved: list[Any] = []

    def __enter__(self) -> autocast:
        entered.append(None)
        self._saved.append(_local.dtype)
        _local.dtype = self.dtype  # last: an interrupt before it changes nothing
        return self

    def __exit__(self, *_: object) -> None:
        entered.pop()
        _local.dtype = self._saved.pop()

    def __call__(self, function: Any) -> Any:
        @wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with autocast(self.device_type, self.dtype or bfloat16, self.dtype is not None):
                return function(*args, **kwargs)

        return wrapped


def current_dtype() -> dtype | None:
    """What this thread's autocast computes products in; None without one."""
    return _local.dtype


def is_autocast_enabled(device_type: str = "cpu") -> bool:
    """Is autocast on in this thread?"""
    return _local.dtype is not None


def lowered(*xs: Any) -> tuple[Any, ...]:
    """Floating tensors of at most 32 bits in autocast's dtype; None and the rest as they are."""
    low = _local.dtype
    if low is None:
        return xs
    return tuple(x.to(low) if _narrow(x) and x.dtype is not low else x for x in xs)


def widened(*xs: Any) -> tuple[Any, ...]:
    """16-bit floating tensors in float32 under autocast; None and the rest as they are."""
    if _local.dtype is None:
        return xs
    return tuple(x.to(float32) if _narrow(x) and x.dtype is not float32 else x for x in xs)


def wide(function: _F) -> _F:
    """The function, which takes 16-bit floating tensors as float32 ones under autocast and computes
    as without it."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not entered or _local.dtype is None:
            return function(*args, **kwargs)
        names, args = list(kwargs), widened(*args, *kwargs.values())
        count = len(args) - len(names)
        with autocast(enabled=False):
            return function(*args[:count], **dict(zip(names, args[count:], strict=True)))

    return call  # type: ignore[return-value]


def _narrow(x: Any) -> bool:
    return getattr(x, "dtype", None) in (float32, float16, bfloat16)
