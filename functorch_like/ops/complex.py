"""Complex numbers: parts, conjugates, construction."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .creation import zeros_like
from .family import operand
from .join import stack
from .unary import conj_physical
from .views import broadcast_tensors, view_as_complex, view_as_real

__all__ = [
    "complex",
    "conj",
    "imag",
    "polar",
    "real",
    "resolve_conj",
]


def real(input: Tensor) -> Tensor:
    """The real part, a view; a real tensor itself."""
    return view_as_real(input)[..., 0] if input.dtype.is_complex else input


def imag(input: Tensor) -> Tensor:
    """The imaginary part, a view; zeros for a real tensor."""
    return view_as_real(input)[..., 1] if input.dtype.is_complex else zeros_like(input)


def conj(input: Tensor) -> Tensor:
    """The complex conjugate; a real tensor itself."""
    return conj_physical(input) if input.dtype.is_complex else input


resolve_conj = conj


def complex(real: Any, imag: Any) -> Tensor:  # torch's name
    """The complex tensor with these parts, which broadcast.

    Example:
      >>> complex(tensor([1.0]), tensor([2.0]))
      tensor([1.+2.j])
    """
    parts = operand("complex", real), operand("complex", imag)
    if parts[0]._shape != parts[1]._shape:
        parts = broadcast_tensors(*parts)
    return view_as_complex(stack(parts, -1))


def polar(abs: Any, angle: Any) -> Tensor:  # torch's names
    """The complex tensor with this modulus and argument, in radians."""
    return complex(abs * angle.cos(), abs * angle.sin())


Tensor.real = property(real, doc=real.__doc__)  # type: ignore[attr-defined]
Tensor.imag = property(imag, doc=imag.__doc__)  # type: ignore[attr-defined]
Tensor.conj = conj  # type: ignore[attr-defined]
Tensor.resolve_conj = conj  # type: ignore[attr-defined]
