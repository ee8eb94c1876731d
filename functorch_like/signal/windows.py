"""Window functions under the names of torch.signal.windows.

A window of M points is symmetric, or, with sym=False, the first M points of the symmetric one of
M + 1: then it continues periodically, as spectral analysis wants. All are computed in float64 and
rounded at the end.
Reference: Harris 1978, On the use of windows for harmonic analysis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from ..dtypes import as_dtype, float64, get_default_dtype
from ..errors import DTypeError, message
from ..ops.creation import arange, ones
from ..tensor import Tensor

__all__ = [
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine",
    "general_hamming", "hamming", "hann", "kaiser", "nuttall",
]  # fmt: skip


def _window(
    name: str,
    M: int,
    sym: bool,
    dtype: Any,
    device: Any,
    requires_grad: bool,
    values: Callable[[Tensor, int], Tensor],
) -> Tensor:
    """The window with `values(i, last)` at i = 0 ... M - 1, of a symmetric one over 0 ... last."""
    if M < 0:
        raise ValueError(message(name, "a length of at least 0", M))
    dtype = get_default_dtype() if dtype is None else as_dtype(dtype)
    if not dtype.is_floating_point:
        raise DTypeError(message(name, "a floating dtype", dtype))
    if M <= 1:
        out = ones(M, dtype=dtype, device=device)
    else:
        places = arange(M, dtype=float64, device=device)
        out = values(places, M - 1 if sym else M).to(dtype)
    return out.requires_grad_() if requires_grad else out


def _positive(name: str, what: str, value: float) -> None:
    if value <= 0:
        raise ValueError(message(name, f"{what} above 0", value))


def general_cosine(
    M: int,
    *,
    a: Iterable[float],
    sym: bool = True,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A sum of cosines: a[0] - a[1] cos(t) + a[2] cos(2 t) - ..., t from 0 to 2 pi.

    Args:
      M: points.
      a: the factors; at least one.
    Returns:
      [M].
    Example:
      >>> signal.windows.general_cosine(5, a=[0.5, 0.5])
      tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """
    factors = list(a)
    if not factors:
        raise ValueError(message("general_cosine", "at least one factor in a", "none"))

    def values(i: Tensor, last: int) -> Tensor:
        total = i * 0 + factors[0]
        for k, factor in enumerate(factors[1:], 1):
            total = total + (i * (2 * math.pi * k / last)).cos() * ((-1) ** k * factor)
        return total

    return _window("general_cosine", M, sym, dtype, device, requires_grad, values)


def general_hamming(
    M: int,
    *,
    alpha: float = 0.54,
    sym: bool = True,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """alpha - (1 - alpha) cos(t), t from 0 to 2 pi."""
    return general_cosine(
        M,
        a=(alpha, 1 - alpha),
        sym=sym,
        dtype=dtype,
        device=device,
        requires_grad=requires_grad,
    )


def hamming(
    M: int,
    *,
    sym: bool = True,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """The Hamming window: general_hamming with alpha = 0.54."""
    return general_hamming(M, sym=sym, dtype=dtype, device=device, requires_grad=requires_grad)


def hann(
    M: int,
    *,
    sym: bool = True,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """The Hann window: general_hamming with alpha = 0.5.

    Example:
      >>> signal.windows.hann(4, sym=False)
      tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    return general_hamming(
        M, alpha=0.5, sym=sym, dtype=dtype, device=device, requires_grad=requires_grad
    )


def blackman(
    M: int,
    *,
    sym: bool = True,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """The Blackman window: three cosine terms."""
    return general_cosine(
        M,
        a=(0.42, 0.5, 0.08),
        sym=sym,
        dtype=dtype,
        device=device,
        requires_grad=requires_grad,
    )


def nuttall(
    M: int,
    *,
    sym: bool = True,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """The minimal 4-term Blackman-Harris window after Nuttall 1981."""
    return general_cosine(
        M,
        a=(0.3635819, 0.4891775, 0.1365995, 0.0106411),
        sym=sym,
        dtype=dtype,
        device=device,
        requires_grad=requires_grad,
    )


def bartlett(
    M: int,
    *,
    sym: bool = True,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A triangle from 0 over 1 to 0."""
    return _window(
        "bartlett",
        M,
        sym,
        dtype,
        device,
        requires_grad,
        lambda i, last: 1 - (i * (2 / last) - 1).abs(),
    )


def cosine(
    M: int,
    *,
    sym: bool = True,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Half a period of a sine, sampled at the middles of M intervals."""
    return _window(
        "cosine",
        M,
        sym,
        dtype,
        device,
        requires_grad,
        lambda i, last: ((i + 0.5) * (math.pi / (last + 1))).sin(),
    )


def exponential(
    M: int,
    *,
    center: float | None = None,
    tau: float = 1.0,
    sym: bool = True,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """exp(-|i - center| / tau).

    Args:
      center: default the middle; a symmetric window has no other.
      tau: how many points it takes to fall to 1 / e.
    """
    _positive("exponential", "tau", tau)
    if sym and center is not None:
        raise ValueError(message("exponential", "no center for a symmetric window", center))

    def values(i: Tensor, last: int) -> Tensor:
        middle = last / 2 if center is None else center
        return (-(i - middle).abs() / tau).exp()

    return _window("exponential", M, sym, dtype, device, requires_grad, values)


def gaussian(
    M: int,
    *,
    std: float = 1.0,
    sym: bool = True,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """exp(-((i - middle) / std)^2 / 2); std in points."""
    _positive("gaussian", "std", std)
    return _window(
        "gaussian",
        M,
        sym,
        dtype,
        device,
        requires_grad,
        lambda i, last: (((i - last / 2) / std) ** 2 * -0.5).exp(),
    )


def kaiser(
    M: int,
    *,
    beta: float = 12.0,
    sym: bool = True,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """I0(beta sqrt(1 - t^2)) / I0(beta), t from -1 to 1: nearly the most energy in the main lobe.

    Args:
      beta: narrower windows have a larger one; 0 gives ones.
    Reference: Kaiser & Schafer 1980.
    """
    if beta < 0:
        raise ValueError(message("kaiser", "beta of at least 0", beta))

    def values(i: Tensor, last: int) -> Tensor:
        t = i * (2 / last) - 1
        return _bessel_ratio(((1 - t) * (1 + t)).clamp(min=0), beta) if beta else t * 0 + 1

    return _window("kaiser", M, sym, dtype, device, requires_grad, values)


def _bessel_ratio(square: Tensor, beta: float) -> Tensor:
    """I0(beta sqrt(square)) / I0(beta), by I0's power series, whose terms are positive.

    Terms are taken relative to the largest one of I0(beta), so nothing overflows. Those left out
    are below 1e-17 of the sum.
    Reference: DLMF 10.25.2.
    """
    logs = [2 * (k * math.log(beta / 2) - math.lgamma(k + 1)) for k in range(int(2 * beta) + 32)]
    factors = [math.exp(v - max(logs)) for v in logs]
    total = square * 0
    for factor in reversed(factors):
        total = total * square + factor
    return total / sum(factors)
