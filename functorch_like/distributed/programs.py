"""Collectives in compiled programs: instructions that call back, in the order they were staged."""

# `_v` is the package's own protocol
# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from cbackend import check, lib

from ..op import Op, concretely, wrap
from ..tensor import Tensor
from ..trace import Untraced

# the instructions' functions by what they do; the core knows functions only while they live
_calls: dict[Any, Callable[..., Any]] = {}


def enter(op: Op, kernel: Callable[..., Any]) -> Op:
    """Lets programs have a collective; gives the op."""

    def impl(token: Tensor, x: Tensor, **params: Any) -> Any:
        with concretely():
            like = wrap(kernel(x, **params))  # of meta tensors: the result's shape
        key = (op.name, tuple(params.items()), like._v.dtype, like._shape)
        if key not in _calls:
            _calls[key] = _instruction(kernel, params, (like._v.dtype, like._shape), key)
        return _calls[key](token, x)

    rules: dict[str, Any] = {"vjp": op.vjp, "jvp": op.jvp, "batch": op.batch}
    ordered = Op(op.name, impl, nouts=2, family="callback", registered=False, **rules)
    ordered.ordered = op.ordered = ordered
    return op


def _instruction(
    kernel: Callable[..., Any], params: dict[str, Any], form: Any, key: Any
) -> Callable[..., Any]:
    callback: Any = import_module("..callback", __package__)  # the module, not its function

    def run(xs: list[Any], out: list[Any]) -> None:
        with Untraced():
            source = wrap(lib.cb_retain(xs[1]))
            made = wrap(kernel(source, **params))
            check(lib.cb_copy_into(out[1], made._v, 0))

    return callback._impl(run, [callback._TOKEN, form], key, ordered=True)
