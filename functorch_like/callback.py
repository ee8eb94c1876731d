"""Python and NumPy code as an operation: run eagerly, by vmap, and from inside compiled programs.

A call becomes an Op of its own whose kernel is the function: the core makes memory for the results,
whose shapes and dtypes are known beforehand, and the function fills it.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cbackend import check, ffi, lib
from cbackend.host import HostFunction

from . import tree
from .dtypes import DTYPES, as_dtype, can_cast
from .errors import DTypeError, GradError, ShapeError, message
from .op import NONDIFF, Op, dispatch, wrap
from .ops.creation import tensor
from .tensor import Tensor
from .trace import Untraced

__all__ = ["callback"]

METHODS = ("sequential", "expand_dims", "broadcast_all")
# of arguments, results to be filled, and how many dimensions of lanes they have in front
Fill = Callable[[list[Tensor], list[Tensor], int], None]
Form = tuple[int, tuple[int, ...]]  # dtype's code, shape
_TOKEN: Form = (lib.CB_U8, (0,))


def callback(
    fn: Callable[..., Any],
    result_like: Any,
    *args: Any,
    ordered: bool = True,
    vmap_method: str = "sequential",
    **kwargs: Any,
) -> Any:
    """fn(*args), for Python code that is no function of tensors: printing, files, NumPy, SciPy.

    In a compiled function it runs at each call of the program, not once while staging. fn gets
    plain tensors with memory (`.numpy()` shares it) that are for reading only, whatever transforms
    there are around; what an exception in it says and where it happened is kept.

    Args:
      result_like: a pytree of tensors (or of anything with shape and dtype) like what fn returns;
        values do not matter. fn may return tensors, NumPy arrays or numbers. None: no result.
      args, kwargs: pytrees; leaves that are not tensors are passed as they are.
      ordered: fn has effects: in a compiled function it runs exactly once a call, after the
        ordered callbacks before it. Otherwise it is left out where its result is not used.
      vmap_method: under vmap, "sequential" calls fn for one lane after the other; "expand_dims"
        calls it once with all lanes in a dimension in front, which is 1 for arguments that are
        the same in all lanes; "broadcast_all" repeats those. The result then has all lanes in
        front.
    Raises:
      ShapeError, DTypeError, ValueError: fn returns something else than result_like.
      GradError: a gradient passes through; give the function one with custom_vjp or custom_jvp.
      TraceError: it is in a function that is exported to a file.
    Example:
      >>> import numpy
      >>> def f(x):
      ...     middle = callback(lambda x: numpy.median(x.numpy()), tensor(0.0), x)
      ...     callback(lambda m: print("median:", m.item()), None, middle)
      ...     return x - middle
      >>> compile(f)(tensor([1.0, 2.0, 4.0]))
      median: 2.0
      tensor([-1.,  0.,  2.])
    """
    if vmap_method not in METHODS:
        raise ValueError(
            message("callback", f"a vmap_method out of {', '.join(METHODS)}", repr(vmap_method))
        )
    likes, result = tree.flatten(result_like)
    forms = [_form(like) for like in likes]
    leaves, structure = tree.flatten_call(args, kwargs)
    at = [i for i, x in enumerate(leaves) if isinstance(x, Tensor)]

    def fill(xs: list[Tensor], out: list[Tensor], _lead: int) -> None:
        given = list(leaves)
        for i, x in zip(at, xs, strict=True):
            given[i] = x
        a, k = tree.unflatten(structure, given)
        made = fn(*a, **k)
        if likes:
            _store(made, result_like, out)

    fixed = [None if isinstance(x, Tensor) else x for x in leaves]
    origin = (fn, fixed, structure, result)
    op = _op_of(fill, forms or [_TOKEN], ordered, vmap_method, _name_of(fn), origin)
    made = dispatch(op, tuple([leaves[i] for i in at]), {})
    if not likes:
        return None
    return tree.unflatten(result, made if type(made) is tuple else (made,))


def _name_of(fn: Any) -> str:
    return getattr(fn, "__name__", type(fn).__name__)


def _form(like: Any) -> Form:
    if isinstance(like, Tensor):
        return like.dtype.code, tuple(like._shape)
    if hasattr(like, "shape") and hasattr(like, "dtype"):
        return as_dtype(like.dtype).code, tuple(like.shape)
    if isinstance(like, (bool, int, float, complex)):
        return tensor(like).dtype.code, ()
    raise TypeError(
        message(
            "callback",
            "result_like made of tensors, or of what has shape and dtype",
            type(like).__name__,
            "Pass zeros(shape, dtype=...), or None for no result.",
        )
    )


def _store(made: Any, result_like: Any, out: list[Tensor]) -> None:
    """Writes what the function returned to the results' memory."""
    values = tree.leaves(made)
    if len(out) != 1 or len(values) != 1 or made is not values[0]:
        import optree

        expected, got = optree.tree_structure(result_like), optree.tree_structure(made)
        if expected != got:
            raise ValueError(
                message(
                    "callback",
                    f"a result of the structure {expected}, as result_like has",
                    str(got),
                )
            )
    for value, target in zip(values, out, strict=True):
        if not isinstance(value, Tensor):
            value = tensor(value)
        if value._shape != target._shape:
            raise ShapeError(
                message(
                    "callback",
                    f"a result of shape {list(target._shape)}, as result_like has",
                    list(value._shape),
                )
            )
        if not can_cast(value.dtype, target.dtype):
            raise DTypeError(
                message("callback", f"a result of dtype {target.dtype}", value.dtype, "Cast it.")
            )
        check(lib.cb_copy_into(target._v, value._memory("callback"), 0))


def _op_of(
    fill: Fill,
    forms: Sequence[Form],
    ordered: bool,
    method: str,
    name: str,
    origin: tuple[Any, ...] = (),
) -> Op:
    """The op of one call; two of equal origin do the same."""

    def run(xs: list[Any], out: list[Any]) -> None:
        with Untraced():  # a host function sees values only
            fill([_lent(h) for h in xs], [_lent(h) for h in out], 0)

    def run_after(xs: list[Any], out: list[Any]) -> None:
        run(xs[1:], out[1:])

    def batch(size: int, batched: Sequence[bool], *xs: Tensor) -> Any:
        lanes = [(d, (size, *shape)) for d, shape in forms]
        mapped = _mapped(fill, batched, method)
        made = _op_of(mapped, lanes, ordered, method, name, (*origin, tuple(batched)))
        return dispatch(made, xs, {})

    def refuse(*_given: Any) -> Any:
        raise GradError(
            message(
                "callback",
                "a derivative rule",
                f"none for {name}",
                "Give it one with custom_vjp or custom_jvp, or detach its arguments.",
            )
        )

    def vjp(ct: Any, _out: Any, *x_specs: Any) -> Any:
        # also a callback: a compiled function fails when it needs the gradient, as eager code does
        wanted = [s for s in x_specs if s.dtype.is_inexact]
        cts = ct if type(ct) is tuple else (ct,)
        given = tuple([c for c in cts if c is not None])
        refusal = _op_of(refuse, [(s._dtype, s.shape) for s in wanted], False, method, name)
        made = dispatch(refusal, given, {}) if wanted else ()
        found = iter(made if type(made) is tuple else (made,))
        return tuple([next(found) if s.dtype.is_inexact else None for s in x_specs])

    smooth = any(DTYPES[d].is_inexact for d, _ in forms)
    rules: dict[str, Any] = (
        {"vjp": vjp, "jvp": refuse} if smooth else {"vjp": NONDIFF("no floating-point results")}
    )
    rules |= {"batch": batch, "family": "callback", "registered": False}
    op = Op(f"callback {name}", _impl(run, forms, origin), nouts=len(forms), **rules)
    if ordered:
        op.ordered = Op(
            op.name,
            _impl(run_after, [_TOKEN, *forms], origin, ordered=True),
            nouts=1 + len(forms),
            **rules,
        )
        op.ordered.ordered = op.ordered
    return op


def _impl(
    run: Callable[[list[Any], list[Any]], None],
    forms: Sequence[Form],
    origin: Any,
    ordered: bool = False,
) -> Any:
    """The kernel: a call of the core, so that programs have it as an instruction.

    ordered: the first argument is a token, which may lie elsewhere than the others.
    """
    host, count = HostFunction(run, origin), len(forms)
    words = [w for d, shape in forms for w in (d, len(shape), *shape)]

    def impl(*xs: Tensor) -> Any:
        given = xs[1:] or xs if ordered else xs
        place = given[0]._v.device if given else lib.CB_CPU
        out = ffi.new("cb_tensor *[]", count)
        handles = [x._v for x in xs]
        check(
            lib.cb_host_call(
                host.number, len(handles), handles, len(words), words, count, out, place
            )
        )
        return out[0] if count == 1 else tuple(out)

    return impl


def _lent(handle: Any) -> Tensor:
    return wrap(lib.cb_retain(handle))


def _mapped(fill: Fill, batched: Sequence[bool], method: str) -> Fill:
    """The function for all lanes, in a dimension in front of arguments and results."""
    if method == "sequential":

        def each(xs: list[Tensor], out: list[Tensor], lead: int) -> None:
            for i in range(out[0]._shape[0]):
                lane = [x[i] if b else x for x, b in zip(xs, batched, strict=True)]
                fill(lane, [y[i] for y in out], lead)

        return each

    def together(xs: list[Tensor], out: list[Tensor], lead: int) -> None:
        every = [x if b else x.unsqueeze(lead) for x, b in zip(xs, batched, strict=True)]
        if method == "broadcast_all":
            size = out[0]._shape[lead]
            every = [x.expand((*x._shape[:lead], size, *x._shape[lead + 1 :])) for x in every]
        fill(every, out, lead + 1)

    return together
