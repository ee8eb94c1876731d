"""Array: a Tensor whose operators follow the standard where torch's differ.

Tensor's operators are torch's: beside a tensor with dims one without dims does not widen the dtype,
`inf // 2` is nan, a remainder of 0 has the dividend's sign. The functions of this namespace follow
the standard; an Array's operators are these functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from ..out import store
from ..tensor import Tensor
from . import elementwise, products

__all__ = ["Array", "standardize"]

_OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide",
    "floordiv": "floor_divide", "mod": "remainder", "pow": "pow", "matmul": "matmul",
    "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift",
}  # fmt: skip
_COMPARISONS = {
    "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater",
    "ge": "greater_equal",
}  # fmt: skip
_UNARY = {"neg": "negative", "pos": "positive", "abs": "abs", "invert": "bitwise_invert"}
_IN_PLACE = ("floordiv", "mod")  # Tensor's other ones give what the standard asks for


class Array(Tensor):
    """A Tensor with the operators of the array API standard; shares memory with `data`.

    Every function of the namespace, every operator and every index gives Arrays. Tensor's other
    methods, the package's functions and transforms take Arrays as they take any Tensor, and give
    Tensors; so a transformed function is handed Tensors. Beside a Tensor an Array decides what an
    operator means.

    Args:
      data: a Tensor, to whose graph the Array belongs, or anything asarray() takes.
    Example:
      >>> x = Array([1.0, inf])
      >>> x // 2.0
      tensor([0., inf])
      >>> x.as_subclass(Tensor) // 2.0
      tensor([0., nan])
    """

    __slots__ = ()

    def __new__(cls, data: Any) -> Array:
        from .creation import asarray

        return _array(asarray(data), (data,))

    def __getitem__(self, index: Any) -> Array:
        return _array(super().__getitem__(index))

    @property
    def size(self) -> Any:
        """The number of elements; called, Tensor's size()."""
        count = _Count(self.numel())
        count.shape = self.shape
        return count

    @property
    def T(self) -> Array:
        """The dims reversed."""
        return _array(super().T)  # type: ignore[attr-defined]

    @property
    def mT(self) -> Array:
        """The last two dims swapped."""
        return _array(super().mT)  # type: ignore[attr-defined]

    def to_device(self, device: Any, /, *, stream: Any = None) -> Array:
        """The Array on a device."""
        return _array(super().to_device(device, stream=stream))  # type: ignore[attr-defined]


class _Count(int):
    """A number of elements; called as Tensor.size() is, it gives the shape or one size of it."""

    shape: Any

    def __call__(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]


def _array(t: Tensor, given: Any = ()) -> Array:
    """A result as an Array: itself, if it is a fresh Tensor and none of those given."""
    if isinstance(t, Array):
        return t
    if type(t) is not Tensor or any(t is g for g in given):
        return t.as_subclass(Array)
    t.__class__ = Array
    return t  # pyright: ignore[reportReturnType]


def _standard(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with Arrays for the tensors that it returns, one or a tuple of them."""

    @wraps(function)
    def of_arrays(*args: Any, **options: Any) -> Any:
        out = function(*args, **options)
        if isinstance(out, Tensor):
            return _array(out, args)
        if isinstance(out, tuple) and out and isinstance(out[0], Tensor):
            make: Any = type(out)
            arrays = [_array(t, args) for t in out]
            return make(*arrays) if hasattr(make, "_fields") else make(arrays)
        return out

    return of_arrays


def standardize(namespace: dict[str, Any], names: Iterable[str]) -> None:
    """Makes functions of a namespace give Arrays."""
    for name in names:
        namespace[name] = _standard(namespace[name])


def _operator(method: str, function: Callable[..., Any], reflected: bool = False) -> Any:
    def operator(x: Array, y: Any) -> Any:
        if not isinstance(y, (Tensor, bool, int, float, complex)) and not hasattr(y, "__array__"):
            return NotImplemented
        out = function(y, x) if reflected else function(x, y)
        out.__class__ = Array  # results of two operands are fresh
        return out

    operator.__name__ = method
    return operator


def _in_place(method: str, function: Callable[..., Any]) -> Any:
    def operator(x: Array, y: Any) -> Any:
        return store(method, x, function(x, y))

    operator.__name__ = method
    return operator


def _attach() -> None:
    """Gives Array its operators."""
    functions = {
        dunder: getattr(products if name == "matmul" else elementwise, name)
        for dunder, name in {**_OPERATORS, **_COMPARISONS, **_UNARY}.items()
    }
    for dunder, function in functions.items():
        method = f"__{dunder}__"
        unary = dunder in _UNARY
        setattr(Array, method, _standard(function) if unary else _operator(method, function))
    for dunder in _OPERATORS:
        method = f"__r{dunder}__"
        setattr(Array, method, _operator(method, functions[dunder], reflected=True))
    for dunder in _IN_PLACE:
        setattr(Array, f"__i{dunder}__", _in_place(f"__i{dunder}__", functions[dunder]))


_attach()
