"""Checks of derivatives along one random direction, in float64 against central differences.

As strict as the full Jacobian for all practical errors, at the cost of two evaluations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .. import tree
from ..dtypes import complex128, float64
from ..errors import DTypeError, message
from ..ops.random import Generator
from ..tensor import Tensor
from ..transforms.products import jvp, vjp
from .comparison import assert_close
from .inputs import make_tensor

__all__ = ["check_grads", "gradcheck", "gradgradcheck", "inner"]


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


def inner(a: Sequence[Tensor], b: Sequence[Tensor]) -> tuple[float, float]:
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
    deeper = partial(
        _check, x=x, order=order - 1, modes=modes, rtol=rtol, atol=atol, eps=eps,
        generator=generator,
    )  # fmt: skip
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
            deeper(lambda *a: jvp(f, a, t)[1], path=f" (of the forward derivative{path})")
    if "rev" in modes:
        out, back = vjp(f, *x)
        ct = _direction(out, generator)
        pulled = back(ct)
        for k, (g, a) in enumerate(zip(pulled, x, strict=True)):
            if g._shape != a._shape or g.dtype is not a.dtype:
                raise AssertionError(
                    f"The reverse derivative{path} by input {k} has shape {list(g._shape)} and "
                    f"dtype {g.dtype}, the input {list(a._shape)} and {a.dtype}."
                )
        expected, size = inner(ct, numeric)
        got, size_back = inner(pulled, t)
        noise = 1e-7 * max(size, size_back)  # what cancels in the sums
        if not abs(got - expected) <= atol + rtol * abs(expected) + noise:
            raise AssertionError(
                f"The reverse derivative{path} along a random direction is {got!r}, "
                f"the difference quotient {expected!r}."
            )
        if order > 1:
            deeper(lambda *a: vjp(f, *a)[1](ct), path=f" (of the reverse derivative{path})")


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
