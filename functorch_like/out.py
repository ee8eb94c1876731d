"""`out=`: results written into tensors that are there already.

Elementwise functions take `out` themselves (ops/family.py), as do zeros, rand and their like, which
one function in front of another would slow by a fifth. The others get it here, once, where the
package's namespace is made: each is replaced by a function of the same signature and `out=None`.
Methods, operators and calls inside the package stay as they are and pay nothing.

Writing follows the rules of in-place operations, so that out= also works under transforms and on
the tape, where torch refuses it.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from types import FunctionType
from typing import Any

from .dtypes import can_cast
from .errors import DTypeError, ShapeError, message
from .tensor import Tensor

# functions with out= in torch that are not elementwise ones of one kernel
NAMES = """
addbmm addcdiv addcmul addmm addmv addr all amax amin aminmax any arange argmax argmin argsort
as_strided_scatter baddbmm bernoulli bincount binomial block_diag bmm bucketize cat cdist
chain_matmul clamp clamp_max clamp_min clip clone column_stack complex concat concatenate
conv_transpose1d conv_transpose2d conv_transpose3d count_nonzero cross cummax cummin cumprod cumsum
deg2rad diag diag_embed diagonal_scatter diff dist dot dstack embedding empty_like empty_permuted
empty_strided eye fill flip float_power frexp full full_like gather ger heaviside histc histogram
histogramdd hstack index_add index_copy index_fill index_put index_reduce index_select inner isin
isneginf isposinf kron kthvalue ldexp lerp linspace log_softmax logaddexp2 logcumsumexp logit
logspace logsumexp masked_fill masked_scatter masked_select matmul max mean median min mm mode msort
multinomial mv mvlgamma nan_to_num nanmean nanmedian nanquantile nansum narrow_copy nonzero norm
normal ones_like outer poisson polar polygamma prod put quantile rad2deg rand_like randint
randint_like randn_like randperm range renorm repeat_interleave roll rot90 round row_stack rsub
scalar_tensor scatter scatter_add scatter_reduce searchsorted select_scatter sinc slice_scatter
softmax sort stack standard_gamma std std_mean sum take take_along_dim tensordot topk trace tril
tril_indices triu triu_indices unique_consecutive var var_mean vdot vstack where zeros_like
""".split()


def store(op: str, out: Any, value: Any) -> Any:
    """Writes a result (or a tuple of them) into `out`, and returns out.

    Raises:
      TypeError: out is no tensor (or no tuple of as many).
      ShapeError: its shape is another one, and it is not empty.
      DTypeError: its dtype cannot hold the result.
    """
    if isinstance(value, tuple):
        if not isinstance(out, (tuple, list)) or len(out) != len(value):
            raise TypeError(message(op, f"out to be {len(value)} tensors", type(out).__name__))
        stored = [store(op, o, v) for o, v in zip(out, value, strict=True)]
        make: Any = type(value)  # tuples with names for their items among them
        return make(*stored) if hasattr(value, "_fields") else make(stored)
    if not isinstance(out, Tensor):
        raise TypeError(message(op, "out to be a tensor", type(out).__name__))
    fit(op, out, value._shape)
    if not can_cast(value.dtype, out.dtype):
        raise DTypeError(message(op, f"out of a dtype that holds {value.dtype}", out.dtype))
    return out.copy_(value)


def fit(op: str, out: Tensor, shape: Sequence[int]) -> None:
    """Gives an empty out the shape of the result; any other must have it."""
    if out._shape == tuple(shape):
        return
    if out.numel():
        raise ShapeError(
            message(op, f"out of shape {list(shape)}", list(out._shape), "Pass an empty tensor.")
        )
    out.resize_(tuple(shape))


def accept(namespace: dict[str, Any]) -> None:
    """Replaces the functions of NAMES in a module's namespace by ones that take out=."""
    source, known = [], {"store": store}
    chosen = [n for n in NAMES if isinstance(namespace.get(n), FunctionType)]
    for name in chosen:
        _declare(name, namespace[name], source, known)
    exec(compile("\n".join(source), __file__, "exec"), known)
    for name in chosen:
        function, plain = known[name], namespace[name]
        function.__doc__, function.__module__ = plain.__doc__, "functorch_like"
        hints = {_TORCH.get(n, n): hint for n, hint in plain.__annotations__.items()}
        function.__annotations__ = {**hints, "out": "Tensor | None"}
        function.plain = plain
        namespace[name] = function


_TORCH = {"x": "input", "y": "other"}  # torch's names for the keywords of functions


def _declare(name: str, function: Any, source: list[str], known: dict[str, Any]) -> None:
    """Source of a function with the signature of another one, torch's names, and out.

    out stands last among the positional ones where there are no others: such functions are called
    faster.
    """
    kinds = inspect.Parameter
    parameters = list(inspect.signature(function).parameters.values())
    rest = [p.name for p in parameters if p.kind is kinds.VAR_KEYWORD]
    plain = all(p.kind is kinds.POSITIONAL_OR_KEYWORD for p in parameters)
    declared: list[str] = []
    passed: list[str] = []
    starred = False
    for p in parameters:
        if p.kind is kinds.VAR_KEYWORD:
            continue
        if p.kind is kinds.VAR_POSITIONAL:
            declared.append(f"*{p.name}")
            passed.append(f"*{p.name}")
            starred = True
            continue
        if p.kind is kinds.KEYWORD_ONLY and not starred:
            declared.append("*")
            starred = True
        default = ""
        if p.default is not kinds.empty:
            default = f"=_default_{name}__{p.name}"  # not the name of a function
            known[default[1:]] = p.default
        given = _TORCH.get(p.name, p.name)
        declared.append(given + default)
        passed.append(f"{p.name}={given}" if p.kind is kinds.KEYWORD_ONLY else given)
    known[f"_{name}"] = function
    if not starred and not plain:
        declared.append("*")
    end = f", **{rest[0]}" if rest else ""
    call = f"_{name}({', '.join(passed)}{end})"
    source.append(f"def {name}({', '.join(declared)}, out=None{end}):\n")
    if rest:
        source.append(f"    if out is None and not {rest[0]}:\n")
        source.append(f"        return _{name}({', '.join(passed)})\n")
    source.append(f"    if out is None:\n        return {call}\n")
    source.append(f"    return store({name!r}, out, {call})\n")
