"""Comparison of nested values with tolerances by dtype."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..dtypes import complex128, float32, float64
from ..errors import message
from ..ops.creation import as_tensor, tensor
from ..tensor import Tensor

__all__ = ["TOLERANCES", "assert_close"]

# rtol and atol by dtype, as in torch.testing
TOLERANCES = {
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "float32": (1.3e-6, 1e-5),
    "complex64": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
    "complex128": (1e-7, 1e-7),
}


def assert_close(
    actual: Any,
    expected: Any,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_dtype: bool = True,
    *,
    check_device: bool = True,
    msg: str | None = None,
) -> None:
    """Raises AssertionError unless |actual - expected| <= atol + rtol * |expected| everywhere.

    Args:
      actual, expected: tensors, arrays or numbers, or sequences and mappings of them.
      rtol, atol: both or neither; default by dtype, as in torch (float32: 1.3e-6 and 1e-5; float64:
        1e-7; integers: 0).
      equal_nan: is nan equal to nan?
      check_dtype: must dtypes agree? Numbers have none.
    Raises:
      AssertionError: with the number of elements that differ, the largest differences and their
        places.
      ValueError: one of rtol and atol is missing.
    Example:
      >>> assert_close(tensor([1.0, 2.0]), tensor([1.0, 2.0]) + 1e-7)
      >>> assert_close(tensor([1.0, 2.0]), tensor([1.0, 2.5]))
      Traceback (most recent call last):
      AssertionError: 1 of 2 elements differ (50.0 %).
        largest absolute difference: 0.5 at [1] (atol 1e-05)
        largest relative difference: 0.2 at [1] (rtol 1.3e-06)
        there: actual 2.0, expected 2.5
    """
    if (rtol is None) != (atol is None):
        raise ValueError(
            message(
                "assert_close", "both of rtol and atol, or neither", f"rtol={rtol} and atol={atol}"
            )
        )
    _compare(actual, expected, rtol, atol, equal_nan, check_dtype, check_device, "", msg)


def _compare(
    a: Any,
    b: Any,
    rtol: Any,
    atol: Any,
    equal_nan: bool,
    check_dtype: bool,
    check_device: bool,
    where: str,
    msg: str | None,
) -> None:
    rest = (rtol, atol, equal_nan, check_dtype, check_device)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if set(a) != set(b):
            _fail(msg, where, f"The keys differ: {sorted(map(str, a))} and {sorted(map(str, b))}.")
        for k in a:
            _compare(a[k], b[k], *rest, f"{where}[{k!r}]", msg)
        return
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        if len(a) != len(b):
            _fail(msg, where, f"The lengths differ: {len(a)} and {len(b)}.")
        for i, (p, q) in enumerate(zip(a, b, strict=True)):
            _compare(p, q, *rest, f"{where}[{i}]", msg)
        return
    if a is None and b is None:
        return
    if a is None or b is None:
        _fail(msg, where, f"One is None: actual {a!r}, expected {b!r}.")
    _compare_arrays(a, b, *rest, where, msg)


def _fail(msg: str | None, where: str, text: str) -> Any:
    raise AssertionError(msg or (f"At {where}: {text}" if where else text))


def _compare_arrays(
    a: Any,
    b: Any,
    rtol: Any,
    atol: Any,
    equal_nan: bool,
    check_dtype: bool,
    check_device: bool,
    where: str,
    msg: str | None,
) -> None:
    import numpy

    numbers = not (hasattr(a, "dtype") and hasattr(b, "dtype"))
    p, q = _tensor(a), _tensor(b)
    if p._shape != q._shape:
        _fail(msg, where, f"The shapes differ: actual {list(p._shape)}, expected {list(q._shape)}.")
    if check_dtype and not numbers and p.dtype is not q.dtype:
        _fail(msg, where, f"The dtypes differ: actual {p.dtype}, expected {q.dtype}.")
    if check_device and isinstance(a, Tensor) and isinstance(b, Tensor) and a.device != b.device:
        _fail(msg, where, f"The devices differ: actual {a.device}, expected {b.device}.")
    if rtol is None:
        bounds = [TOLERANCES.get(t.dtype.name, (0.0, 0.0)) for t in (p, q)]
        rtol, atol = (max(pair) for pair in zip(*bounds, strict=True))
    x, y = _wide(p), _wide(q)
    if x.dtype.kind in "biu" and y.dtype.kind in "biu" and rtol == 0 and atol == 0:
        same = x == y
        x, y = x.astype("float64"), y.astype("float64")
    else:
        common = numpy.result_type(x, y, numpy.float64)
        x, y = x.astype(common), y.astype(common)
        with numpy.errstate(invalid="ignore", over="ignore"):
            same = (x == y) | ((numpy.abs(x - y) <= atol + rtol * numpy.abs(y)) & numpy.isfinite(y))
    if equal_nan:
        same = same | (numpy.isnan(x) & numpy.isnan(y))
    if bool(numpy.all(same)):
        return
    with numpy.errstate(all="ignore"):
        distance = numpy.where(same, 0.0, numpy.abs(x - y))
        relative = numpy.where(same, 0.0, distance / numpy.abs(y))
    count = int(numpy.size(same) - numpy.count_nonzero(same))
    far, far_relative = (_place(d) for d in (distance, relative))
    lines = [
        f"{count} of {numpy.size(same)} elements differ ({100 * count / numpy.size(same):.1f} %)."
        if x.ndim
        else f"{x.item()!r} and {y.item()!r} differ.",
        f"  largest absolute difference: {_at(distance, far)} (atol {atol:.4g})",
        f"  largest relative difference: {_at(relative, far_relative)} (rtol {rtol:.4g})",
        f"  there: actual {x[far].item()!r}, expected {y[far].item()!r}",
    ]
    _fail(msg, where, "\n".join(lines))


def _at(values: Any, place: tuple[Any, ...]) -> str:
    return f"{values[place]:.8g} at {list(map(int, place))}"


def _place(distance: Any) -> tuple[Any, ...]:
    """The index of the largest element; nan counts as largest."""
    import numpy

    ranked = numpy.where(numpy.isnan(distance), numpy.inf, distance)
    return numpy.unravel_index(int(numpy.argmax(ranked)), ranked.shape)


def _tensor(x: Any) -> Tensor:
    if isinstance(x, Tensor):
        return x.detach()
    if isinstance(x, (bool, int, float, complex)):
        return tensor(
            x,
            dtype=float64
            if isinstance(x, float)
            else complex128
            if isinstance(x, complex)
            else None,
        )
    if type(x).__module__.partition(".")[0] == "torch":
        return _from_torch(x)
    return as_tensor(x).detach()


def _from_torch(x: Any) -> Tensor:
    x = x.detach().cpu().resolve_conj().resolve_neg()
    if str(x.dtype) == "torch.bfloat16":
        return tensor(x.float().numpy()).bfloat16()
    return tensor(x.numpy())


def _wide(x: Tensor) -> Any:
    if x.dtype.name in ("bfloat16", "float16"):
        x = x.to(float32)
    return x.cpu().numpy()
