"""For tests: comparison with tolerances, derivative checks, random tensors, samples of ops.

Derivatives are checked along one random direction, in float64 against central differences: as
strict as the full
Jacobian for all practical errors, at the cost of two evaluations. No test framework is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import tree
from .dtypes import as_dtype, complex128, float32, float64, get_default_dtype
from .errors import DTypeError, message
from .op import TABLE, Op
from .ops.creation import as_tensor, tensor
from .ops.random import Generator, rand, randint
from .tensor import Tensor
from .transforms.products import jvp, vjp

# rtol and atol by dtype, as in torch.testing
_TOLERANCES = {
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "float32": (1.3e-6, 1e-5),
    "complex64": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
    "complex128": (1e-7, 1e-7),
}


# ---- comparison ----


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
        bounds = [_TOLERANCES.get(t.dtype.name, (0.0, 0.0)) for t in (p, q)]
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


# ---- random tensors ----


def make_tensor(
    shape: Sequence[int] | int,
    dtype: Any = None,
    low: float | None = None,
    high: float | None = None,
    generator: Generator | None = None,
    *,
    device: Any = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
) -> Tensor:
    """A tensor of random numbers, uniform in [low, high): for tests.

    Args:
      low, high: default -9 and 9 (0 and 10 for unsigned integers); for complex dtypes they bound
        both parts.
      noncontiguous: with gaps between the elements along the last dimension.
    Example:
      >>> x = make_tensor((2, 3), float64, low=0, high=1)
      >>> x.shape, x.dtype
      (Size([2, 3]), float64)
    """
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    d = get_default_dtype() if dtype is None else as_dtype(dtype)
    if noncontiguous and shape:
        wide = make_tensor((*shape[:-1], 2 * shape[-1]), d, low, high, generator, device=device)
        x = wide[..., ::2]
        return x.requires_grad_() if requires_grad else x
    if d.name == "bool":
        x = randint(0, 2, shape, generator=generator).to(d)
    elif d.is_complex:
        parts = [make_tensor(shape, float64, low, high, generator) for _ in range(2)]
        from .ops.complex import complex as make_complex

        x = make_complex(*parts).to(d)
    elif d.is_integer:
        least = 0 if not d.is_signed else -9
        a = least if low is None else max(int(low), 0 if not d.is_signed else int(low))
        b = max(a + 1, 10 if high is None else int(high))
        x = randint(a, b, shape, generator=generator).to(d)
    else:
        a, b = -9.0 if low is None else low, 9.0 if high is None else high
        x = (rand(shape, dtype=float64, generator=generator) * (b - a) + a).to(d)
    x = x if device is None else x.to(device)
    return x.requires_grad_() if requires_grad else x


class Make:
    """Makes the tensors of an op's samples: `make(2, 3)` is random, [2, 3], of `make.dtype`.

    Args:
      seed: makers of one seed give the same tensors.
    Example:
      >>> make = Make(float32, seed=1)
      >>> make(2, 3).shape, make.index(5, 4).dtype
      (Size([2, 3]), int64)
    """

    def __init__(self, dtype: Any = float64, seed: int = 0, low: float = -2.0, high: float = 2.0):
        self.dtype, self.low, self.high = as_dtype(dtype), low, high
        self.generator = Generator().manual_seed(seed + 1)

    def __call__(self, *shape: int, low: float | None = None, high: float | None = None) -> Tensor:
        low, high = self.low if low is None else low, self.high if high is None else high
        return make_tensor(shape, self.dtype, low, high, self.generator)

    def index(self, size: int, *shape: int) -> Tensor:
        """Places in a dimension of some size: int64 in [0, size)."""
        return randint(0, size, shape, generator=self.generator)

    def places(self, size: int, count: int) -> Tensor:
        """`count` different places in a dimension of some size."""
        from .ops.random import randperm

        return randperm(size, generator=self.generator)[:count]

    def mask(self, *shape: int) -> Tensor:
        """Random truth values."""
        return make_tensor(shape, "bool", generator=self.generator)


_SHAPES: dict[str, list[tuple[tuple[int, ...], ...]]] = {
    "unary": [((3, 4),), ((),), ((0, 2),), ((2, 1, 3),)],
    "binary": [((3, 4), (3, 4)), ((3, 1), (4,)), ((), (2, 3)), ((2, 3), ()), ((2, 0), (1,))],
    "ternary": [
        ((2, 3), (2, 3), (2, 3)),
        ((3, 1), (4,), ()),
        ((), (2, 3), (3,)),
        ((0, 2), (0, 2), (2,)),
    ],
}


def samples_of(
    op: Op, dtype: Any = float64, seed: int = 0
) -> list[tuple[tuple[Tensor, ...], dict[str, Any]]]:
    """The sample calls of an entry of the op table, as (operands, params).

    Raises:
      ValueError: the entry has no samples.
    Example:
      >>> [x.shape for (x,), _ in samples_of(TABLE["exp"])][:2]
      [Size([3, 4]), Size([])]
    """
    given = getattr(op, "samples", None)
    if given is None:
        raise ValueError(
            message(
                op.name,
                "an entry with samples",
                "none",
                "Add them with sampled() beside the entry.",
            )
        )
    if not isinstance(given, dict):
        return given(Make(dtype, seed))
    make = Make(dtype, seed, given.get("low", -4.0), given.get("high", 4.0))
    masks = given.get("masks", ())
    return [
        (tuple(make.mask(*s) if i in masks else make(*s) for i, s in enumerate(shapes)), {})
        for shapes in _SHAPES[op.family]
    ]


def kinds_of(op: Op) -> tuple[str, ...]:
    """The kinds of dtypes an op takes: some of "bool", "int", "float", "complex"."""
    given = op.samples
    words = given.get("kinds", "float") if isinstance(given, dict) else given.kinds
    return tuple(words.split())


def tolerance_of(op: Op, dtype: Any, scale: float = 1.0) -> tuple[float, float]:
    """rtol and atol for an op's results, `scale` times looser."""
    name = as_dtype(dtype).name
    bounds = getattr(op, "tolerance", None) or {}
    rtol, atol = bounds.get(name, _TOLERANCES.get(name, (0.0, 0.0)))
    return rtol * scale, atol * scale


# ---- derivatives ----


def check_grads(
    fn: Callable[..., Any],
    args: Sequence[Any],
    order: int = 2,
    modes: Sequence[str] = ("rev", "fwd"),
    *,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    eps: float = 1e-6,
    seed: int = 0,
) -> None:
    """Compares derivatives of a function with central differences along one random direction.

    Order 2 checks the derivatives of the first-order derivatives, all combinations of modes, and so
    on.

    Args:
      fn: a function of tensors that gives a tensor, or a tuple of them; those that are not floating
        or complex are
        ignored.
      args: tensors in float64 or complex128; others are passed on as constants.
      modes: "rev" for vjp, "fwd" for jvp.
      eps: the step of the differences.
    Raises:
      AssertionError: a derivative is wrong; the message names the mode.
      DTypeError: an argument has too little precision.
    Example:
      >>> check_grads(lambda x: (x**3).sum(), (tensor([1.0, 2.0], dtype=float64),))
    """
    _check_modes(modes)
    args = tuple(args)
    chosen = [i for i, a in enumerate(args) if isinstance(a, Tensor) and a.dtype.is_inexact]
    if not chosen:
        raise ValueError(message("check_grads", "at least one floating or complex tensor", "none"))
    for i in chosen:
        if args[i].dtype not in (float64, complex128):
            raise DTypeError(
                message(
                    "check_grads",
                    "float64 or complex128 arguments",
                    f"{args[i].dtype} for argument {i}",
                    "Cast with .double().",
                )
            )
    point = tuple(args[i].detach().clone() for i in chosen)

    def restricted(*values: Tensor) -> tuple[Tensor, ...]:
        call = list(args)
        for i, value in zip(chosen, values, strict=True):
            call[i] = value
        return tuple(y for y in tree.flatten(fn(*call))[0] if y.dtype.is_inexact)

    _check(
        restricted, point, order, tuple(modes), rtol, atol, eps, Generator().manual_seed(seed), ""
    )


def _check_modes(modes: Sequence[str]) -> None:
    for mode in modes:
        if mode not in ("rev", "fwd"):
            raise ValueError(message("check_grads", 'modes "rev" and "fwd"', repr(mode)))


def _direction(like: Sequence[Tensor], generator: Generator) -> tuple[Tensor, ...]:
    return tuple(make_tensor(x._shape, x.dtype, -1.0, 1.0, generator) for x in like)


def _inner(a: Sequence[Tensor], b: Sequence[Tensor]) -> tuple[float, float]:
    """The real inner product of two lists of tensors, and the sum of its terms' sizes."""
    total = size = 0.0
    for x, y in zip(a, b, strict=True):
        terms = (x.conj() * y).real
        total += float(terms.sum())
        size += float(terms.abs().sum())
    return total, size


def _check(
    f: Any,
    x: tuple[Tensor, ...],
    order: int,
    modes: tuple[str, ...],
    rtol: float,
    atol: float,
    eps: float,
    generator: Generator,
    path: str,
) -> None:
    t = _direction(x, generator)
    above = f(*[a + eps * d for a, d in zip(x, t, strict=True)])
    below = f(*[a - eps * d for a, d in zip(x, t, strict=True)])
    numeric = [(p - q) / (2 * eps) for p, q in zip(above, below, strict=True)]
    if "fwd" in modes:
        _, pushed = jvp(f, x, t)
        for k, (n, p) in enumerate(zip(numeric, pushed, strict=True)):
            try:
                assert_close(p, n, rtol, atol * max(1.0, _size(n)))
            except AssertionError as e:
                raise AssertionError(
                    f"The forward derivative{path} of output {k} is not the difference quotient.\n"
                    f"{e}"
                ) from None
        if order > 1:
            _check(
                lambda *a: jvp(f, a, t)[1],
                x,
                order - 1,
                modes,
                rtol,
                atol,
                eps,
                generator,
                f" (of the forward derivative{path})",
            )
    if "rev" in modes:
        out, back = vjp(f, *x)
        ct = _direction(out, generator)
        pulled = back(ct)
        pulled = pulled if isinstance(pulled, tuple) else (pulled,)
        for k, (g, a) in enumerate(zip(pulled, x, strict=True)):
            if g._shape != a._shape or g.dtype is not a.dtype:
                raise AssertionError(
                    f"The reverse derivative{path} by input {k} has shape {list(g._shape)} and "
                    f"dtype {g.dtype}, the input {list(a._shape)} and {a.dtype}."
                )
        expected, size = _inner(ct, numeric)
        got, size_back = _inner(pulled, t)
        noise = 1e-7 * max(size, size_back)  # what cancels in the sums
        if not abs(got - expected) <= atol + rtol * abs(expected) + noise:
            raise AssertionError(
                f"The reverse derivative{path} along a random direction is {got!r}, "
                f"the difference quotient {expected!r}."
            )
        if order > 1:

            def pull(*a: Tensor) -> Any:
                g = vjp(f, *a)[1](ct)
                return g if isinstance(g, tuple) else (g,)

            _check(
                pull,
                x,
                order - 1,
                modes,
                rtol,
                atol,
                eps,
                generator,
                f" (of the reverse derivative{path})",
            )


def _size(x: Tensor) -> float:
    return float(x.abs().max()) if x.numel() else 0.0


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Are the first derivatives right, along one random direction? Takes torch's arguments.

    Args:
      inputs: a tensor or a tuple; those that require grad are differentiated, or all floating ones
        if none does.
      raise_exception: raise AssertionError instead of returning False.
      nondet_tol, check_undefined_grad, check_grad_dtypes, check_batched_grad,
      check_batched_forward_grad, fast_mode, masked:
        accepted for torch's sake; dtypes are always checked.
    Example:
      >>> gradcheck(exp, tensor([0.5], dtype=float64, requires_grad=True))
      True
    """
    modes = [m for m, wanted in (("rev", check_backward_ad), ("fwd", check_forward_ad)) if wanted]
    return _verdict(func, inputs, 1, modes, eps, atol, rtol, raise_exception)


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Are the second derivatives right? Takes torch's arguments; see gradcheck.

    Args:
      grad_outputs: accepted for torch's sake; the cotangents are random.
      check_fwd_over_rev, check_rev_over_rev: which way to differentiate the gradient.
    Example:
      >>> gradgradcheck(exp, tensor([0.5], dtype=float64, requires_grad=True))
      True
    """
    generator = Generator().manual_seed(0)
    cts: list[Tensor] = []

    def gradient(*args: Any) -> Any:
        chosen = _chosen(args)

        def restricted(*values: Tensor) -> Any:
            call = list(args)
            for i, value in zip(chosen, values, strict=True):
                call[i] = value
            return tuple(y for y in tree.flatten(func(*call))[0] if y.dtype.is_inexact)

        out, back = vjp(restricted, *[args[i] for i in chosen])
        if not cts:
            cts.extend(_direction(out, generator))
        return back(tuple(cts))

    modes = [
        m for m, wanted in (("rev", check_rev_over_rev), ("fwd", check_fwd_over_rev)) if wanted
    ]
    return _verdict(gradient, inputs, 1, modes, eps, atol, rtol, raise_exception)


def _chosen(inputs: Sequence[Any]) -> list[int]:
    """Which inputs to differentiate."""
    inexact = [i for i, a in enumerate(inputs) if isinstance(a, Tensor) and a.dtype.is_inexact]
    return [i for i in inexact if inputs[i].requires_grad] or inexact


def _verdict(
    func: Any,
    inputs: Any,
    order: int,
    modes: Sequence[str],
    eps: float,
    atol: float,
    rtol: float,
    raise_exception: bool,
) -> bool:
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    chosen = _chosen(inputs)
    constants = [a.detach() if isinstance(a, Tensor) else a for a in inputs]

    def restricted(*values: Tensor) -> Any:
        call = list(constants)
        for i, value in zip(chosen, values, strict=True):
            call[i] = value
        return func(*call)

    try:
        check_grads(
            restricted, [constants[i] for i in chosen], order, modes, rtol=rtol, atol=atol, eps=eps
        )
    except AssertionError:
        if raise_exception:
            raise
        return False
    return True


__all__ = [
    "TABLE", "Make", "assert_close", "check_grads", "gradcheck", "gradgradcheck", "kinds_of",
    "make_tensor", "samples_of", "tolerance_of",
]  # fmt: skip
