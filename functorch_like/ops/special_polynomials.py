"""Classical orthogonal polynomials of x and a degree n.

All take a number or a tensor for n, which broadcasts with x; fractions are dropped, negative
degrees give 0. They are piecewise constant in n: no gradient flows there. By x there are
derivatives of all orders, through Gegenbauer and generalised Laguerre polynomials (DLMF 18.9).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..dtypes import int64
from ..op import Op
from ..samples import call
from ..tensor import Tensor
from .family import number, operand
from .special_family import ordered, scipy_special
from .unary import trunc

__all__: list[str] = []


def _degree(op: str, n: Any) -> Tensor:
    """A degree as a tensor from which 1 can be subtracted."""
    if isinstance(n, float):
        return number(int(n))
    n = operand(op, n).detach()
    if n.dtype.is_floating_point:
        return trunc(n)
    return n.to(int64) if n.dtype.name.startswith(("u", "b")) else n


def _samples(make: Any) -> list[Any]:
    return [
        call(make(3, 4, low=-0.9, high=0.9), make.index(12, 3, 4)),
        call(make(4, low=-1.5, high=1.5), make.index(6, 3, 1)),
        call(make(low=-0.9, high=0.9), make.index(6, 2)),
        call(make(0), make.index(6)),
    ]


def _ordered_samples(order: float) -> Callable[[Any], list[Any]]:
    return lambda make: [call(*tensors, order=order) for tensors, _ in _samples(make)]


def _oracle(name: str) -> Callable[..., Any]:
    return lambda _np, x, n: scipy_special(name)(n, x)


# (d/dx) C[l, n] = 2 l C[l + 1, n - 1];  (d/dx) L[a, n] = -L[a + 1, n - 1]
_gegenbauer = ordered(
    "gegenbauer",
    [lambda x, n, order: 2 * order * _gegenbauer(x, n - 1, order=order + 1), None],
    _ordered_samples(0.5),
    oracle=lambda _np, x, n, order: scipy_special("eval_gegenbauer")(n, order, x),
)
_laguerre = ordered(
    "laguerre",
    [lambda x, n, order: -_laguerre(x, n - 1, order=order + 1), None],
    _ordered_samples(1.0),
    oracle=lambda _np, x, n, order: scipy_special("eval_genlaguerre")(n, order, x),
)


def _second(x: Tensor, n: Tensor) -> Tensor:
    return 2 * _gegenbauer(x, n, order=2)


_u = ordered(
    "chebyshev_polynomial_u",
    [lambda x, n: _second(x, n - 1), None],
    _samples,
    oracle=_oracle("eval_chebyu"),
    orders=0,
)
_t = ordered(
    "chebyshev_polynomial_t",
    [lambda x, n: n * _u(x, n - 1), None],
    _samples,
    oracle=_oracle("eval_chebyt"),
    orders=0,
)
_v = ordered(
    "chebyshev_polynomial_v",
    [lambda x, n: _second(x, n - 1) - _second(x, n - 2), None],
    _samples,
    oracle=lambda np, x, n: _from_second_kind(np, x, n, -1),
    orders=0,
)
_w = ordered(
    "chebyshev_polynomial_w",
    [lambda x, n: _second(x, n - 1) + _second(x, n - 2), None],
    _samples,
    oracle=lambda np, x, n: _from_second_kind(np, x, n, 1),
    orders=0,
)


def _from_second_kind(np: Any, x: Any, n: Any, sign: int) -> Any:
    """U[n] -+ U[n - 1]: SciPy has no third and fourth kind."""
    u = scipy_special("eval_chebyu")
    return u(n, x) + sign * np.where(n > 0, u(np.maximum(n - 1, 0), x), 0)


_h = ordered(
    "hermite_polynomial_h",
    [lambda x, n: 2 * n * _h(x, n - 1), None],
    _samples,
    oracle=_oracle("eval_hermite"),
    orders=0,
)
_he = ordered(
    "hermite_polynomial_he",
    [lambda x, n: n * _he(x, n - 1), None],
    _samples,
    oracle=_oracle("eval_hermitenorm"),
    orders=0,
)


def _evaluate(name: str, op: Op, x: Any, n: Any, **order: float) -> Tensor:
    return op(operand(name, x), _degree(name, n), **order)


def chebyshev_polynomial_t(x: Any, n: Any) -> Tensor:
    """The Chebyshev polynomial of the first kind: T[n](cos a) = cos(n a).

    Example:
      >>> special.chebyshev_polynomial_t(tensor([0.5, 2.0]), 3)
      tensor([-1., 26.])
    """
    return _evaluate("chebyshev_polynomial_t", _t, x, n)


def chebyshev_polynomial_u(x: Any, n: Any) -> Tensor:
    """The Chebyshev polynomial of the second kind: U[n](cos a) = sin((n + 1) a) / sin(a)."""
    return _evaluate("chebyshev_polynomial_u", _u, x, n)


def chebyshev_polynomial_v(x: Any, n: Any) -> Tensor:
    """The Chebyshev polynomial of the third kind: V[n](cos a) = cos((n + 1/2) a) / cos(a / 2)."""
    return _evaluate("chebyshev_polynomial_v", _v, x, n)


def chebyshev_polynomial_w(x: Any, n: Any) -> Tensor:
    """The Chebyshev polynomial of the fourth kind: W[n](cos a) = sin((n + 1/2) a) / sin(a / 2)."""
    return _evaluate("chebyshev_polynomial_w", _w, x, n)


def shifted_chebyshev_polynomial_t(x: Any, n: Any) -> Tensor:
    """The Chebyshev polynomial of the first kind on [0, 1]: T[n](2 x - 1)."""
    return chebyshev_polynomial_t(2 * operand("shifted_chebyshev_polynomial_t", x) - 1, n)


def shifted_chebyshev_polynomial_u(x: Any, n: Any) -> Tensor:
    """The Chebyshev polynomial of the second kind on [0, 1]: U[n](2 x - 1)."""
    return chebyshev_polynomial_u(2 * operand("shifted_chebyshev_polynomial_u", x) - 1, n)


def shifted_chebyshev_polynomial_v(x: Any, n: Any) -> Tensor:
    """The Chebyshev polynomial of the third kind on [0, 1]: V[n](2 x - 1)."""
    return chebyshev_polynomial_v(2 * operand("shifted_chebyshev_polynomial_v", x) - 1, n)


def shifted_chebyshev_polynomial_w(x: Any, n: Any) -> Tensor:
    """The Chebyshev polynomial of the fourth kind on [0, 1]: W[n](2 x - 1)."""
    return chebyshev_polynomial_w(2 * operand("shifted_chebyshev_polynomial_w", x) - 1, n)


def hermite_polynomial_h(x: Any, n: Any) -> Tensor:
    """The physicists' Hermite polynomial, orthogonal under exp(-x^2).

    Example:
      >>> special.hermite_polynomial_h(tensor([0.5, 2.0]), 3)
      tensor([-5., 40.])
    """
    return _evaluate("hermite_polynomial_h", _h, x, n)


def hermite_polynomial_he(x: Any, n: Any) -> Tensor:
    """The probabilists' Hermite polynomial, orthogonal under exp(-x^2 / 2)."""
    return _evaluate("hermite_polynomial_he", _he, x, n)


def laguerre_polynomial_l(x: Any, n: Any) -> Tensor:
    """The Laguerre polynomial, orthogonal under exp(-x) on [0, inf).

    Example:
      >>> special.laguerre_polynomial_l(tensor([0.0, 2.0]), 2)
      tensor([ 1., -1.])
    """
    return _evaluate("laguerre_polynomial_l", _laguerre, x, n, order=0.0)


def legendre_polynomial_p(x: Any, n: Any) -> Tensor:
    """The Legendre polynomial, orthogonal on [-1, 1].

    Example:
      >>> special.legendre_polynomial_p(tensor([0.5, 1.0]), 3)
      tensor([-0.4375,  1.0000])
    """
    return _evaluate("legendre_polynomial_p", _gegenbauer, x, n, order=0.5)
