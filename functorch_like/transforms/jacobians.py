"""Jacobians and Hessians: the pushes and pulls of all unit vectors at once, by vmap."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from .. import tree
from ..errors import message
from ..ops.creation import eye, zeros_like
from ..tape import run_backward
from ..tensor import Tensor, ones_of
from .arguments import (
    INEXACT,
    Argnums,
    is_simple,
    recorded,
    selected,
    settled,
    tensors_of,
)
from .jvp_trace import JvpTrace
from .products import jvp, pull_function, vjp
from .vjp_trace import VjpTrace, VjpValue
from .vmap import over_lanes, vmap


def unit_vectors(leaves: list[Tensor]) -> list[Tensor]:
    """The unit vectors of the flattened leaves, stacked: for each leaf a tensor [total, *shape]."""
    sizes = [x.numel() for x in leaves]
    total = sum(sizes)
    if len(leaves) == 1:
        (x,) = leaves
        unit = eye(total, dtype=x.dtype, device=x.device)
        return [unit if x.ndim == 1 else unit.reshape((total, *x._shape))]
    blocks = []
    at = 0
    for x, size in zip(leaves, sizes, strict=True):
        unit = eye(total, dtype=x.dtype, device=x.device)
        blocks.append(unit[:, at : at + size].reshape((total, *x._shape)))
        at += size
    return blocks


def _rows(stacked: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    """Splits dimension 0, which runs over the flattened leaves: [*leaf shape, ...] for each."""
    pieces = []
    at = 0
    for x in leaves:
        size = x.numel()
        piece = stacked if size == stacked._shape[0] else stacked[at : at + size]
        pieces.append(piece if x.ndim == 1 else piece.reshape((*x._shape, *piece._shape[1:])))
        at += size
    return pieces


def jacrev(
    function: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    chunk_size: int | str | None = None,
) -> Callable[..., Any]:
    """A function that gives the Jacobian by reverse mode: best with fewer outputs than inputs.

    Returns:
      For each output leaf and each chosen argument leaf a tensor [*output shape, *input shape],
      nested as the output and then as the argument; `(jacobian, aux)` with has_aux.
    Example:
      >>> jacrev(lambda x: x * x)(tensor([1.0, 2.0]))
      tensor([[2., 0.],
              [0., 4.]])
    """
    simple = is_simple(argnums, has_aux)

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if simple and len(args) > argnums and isinstance(args[argnums], Tensor):  # type: ignore[operator,index]
            run = recorded("jacrev", function, argnums, args, kwargs)  # type: ignore[arg-type]
            return _jacobian_of(*run, chunk_size)
        positions = selected("jacrev", args, argnums)

        def of_chosen(*chosen: Any) -> Any:
            call = list(args)
            for p, value in zip(positions, chosen, strict=True):
                call[p] = value
            return function(*call, **kwargs)

        value, back, *aux = vjp(of_chosen, *[args[p] for p in positions], has_aux=has_aux)
        one = isinstance(argnums, int)
        jacobian = _rows_pulled(value, (lambda ct: back(ct)[0]) if one else back, chunk_size)
        return (jacobian, aux[0]) if has_aux else jacobian

    return wrapped


def _jacobian_of(
    trace: VjpTrace, given: VjpValue, out: Any, value: VjpValue | None, chunk_size: int | str | None
) -> Any:
    """The Jacobian of a recorded function of one tensor, by rows."""
    if value is None or chunk_size is not None:
        result, pull = pull_function(trace, [given], tree.flatten((given.primal,))[1], out)
        return _rows_pulled(result, lambda ct: pull(ct)[0], chunk_size)
    y, leaf = value.primal, given.node

    def back(ct: Tensor) -> Tensor:
        found = run_backward([(value.node, ct)], wanted={leaf}, retain_graph=True)
        return found[leaf] if leaf in found else zeros_like(given.primal)

    if not y.ndim:  # one row: nothing to map over
        return back(ones_of(y))
    rows = over_lanes(back, (unit_vectors([y])[0],))
    return rows if y.ndim == 1 else rows.reshape((*y._shape, *rows._shape[1:]))


def _rows_pulled(value: Any, back: Callable[..., Any], chunk_size: int | str | None) -> Any:
    """The Jacobian, for each output leaf and input leaf, from cotangents of the outputs."""
    out_leaves, out_definition = tree.flatten(value)
    if len(out_leaves) == 1 and out_leaves[0].numel() == 1:  # one row: nothing to map over
        (y,) = out_leaves
        flat, definition = tree.flatten(back(tree.unflatten(out_definition, [ones_of(y)])))
        rows = [[g.reshape((*y._shape, *g._shape)) if y.ndim else g] for g in flat]
    else:
        basis = unit_vectors(out_leaves)
        stacked = vmap(
            lambda *cts: back(tree.unflatten(out_definition, list(cts))), chunk_size=chunk_size
        )(*basis)
        flat, definition = tree.flatten(stacked)
        rows = [_rows(leaf, out_leaves) for leaf in flat]  # [input leaf][output leaf]
    return tree.unflatten(
        out_definition,
        [
            _nested([rows[i][o] for i in range(len(flat))], definition)
            for o in range(len(out_leaves))
        ],
    )


def _nested(leaves: list[Tensor], definition: Any) -> Any:
    return tree.unflatten(definition, leaves)


def jacfwd(
    function: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    randomness: str = "different",
    chunk_size: int | str | None = None,
) -> Callable[..., Any]:
    """A function that gives the Jacobian by forward mode: best with fewer inputs than outputs.

    Results as jacrev.

    Example:
      >>> jacfwd(lambda x: x * x)(tensor([1.0, 2.0]))
      tensor([[2., 0.],
              [0., 4.]])
    """
    simple = is_simple(argnums, has_aux) and chunk_size is None
    only: Any = argnums

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if simple and len(args) > only and isinstance(args[only], Tensor):
            return _columns_pushed(function, only, args, kwargs, randomness)
        positions = selected("jacfwd", args, argnums)
        chosen = tuple(args[p] for p in positions)
        flat, definition = tree.flatten(chosen)
        flat = tensors_of("jacfwd", flat)
        seen: dict[str, Any] = {}

        def along(*directions: Tensor) -> Any:
            def of_chosen(*values: Tensor) -> Any:
                call = list(args)
                for p, value in zip(
                    positions, tree.unflatten(definition, list(values)), strict=True
                ):
                    call[p] = value
                return function(*call, **kwargs)

            value, tangent, *aux = jvp(of_chosen, tuple(flat), directions, has_aux=has_aux)
            seen["value"] = value
            return (tangent, aux[0]) if has_aux else tangent

        basis = unit_vectors(flat)
        out_dims: Any = (-1, None) if has_aux else -1
        pushed = vmap(along, out_dims=out_dims, randomness=randomness, chunk_size=chunk_size)(
            *basis
        )
        columns, aux = pushed if has_aux else (pushed, None)
        out_leaves, out_definition = tree.flatten(columns)
        blocks = []
        for leaf in out_leaves:  # [*output shape, total]
            at, parts = 0, []
            for x in flat:
                size = x.numel()
                part = leaf if size == leaf._shape[-1] else leaf[..., at : at + size]
                parts.append(part if x.ndim == 1 else part.reshape((*part._shape[:-1], *x._shape)))
                at += size
            nested = tree.unflatten(definition, parts)
            blocks.append(nested[0] if isinstance(argnums, int) else nested)
        jacobian = tree.unflatten(out_definition, blocks)
        return (jacobian, aux) if has_aux else jacobian

    return wrapped


def _columns_pushed(
    function: Callable[..., Any],
    at: int,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    randomness: str,
) -> Any:
    """jacfwd by one tensor."""
    x = args[at]
    if (x._v or x._concrete).dtype not in INEXACT:
        tensors_of("jacfwd", (x,))

    def along(direction: Tensor) -> Any:
        with JvpTrace() as trace:
            out = function(*args[:at], trace.leaf(x, direction), *args[at + 1 :], **kwargs)
            settled(out)
        return tree.map(lambda y: _tangent("jacfwd", trace, y), out)

    def shaped(columns: Tensor) -> Tensor:
        return columns.reshape((*columns._shape[:-1], *x._shape))

    columns = over_lanes(along, unit_vectors([x]), -1, randomness)
    return columns if x.ndim == 1 else tree.map(shaped, columns)


def _tangent(op: str, trace: JvpTrace, y: Any) -> Tensor:
    if not isinstance(y, Tensor):
        raise TypeError(message(op, "tensors in the function's result", type(y).__name__))
    primal, tangent = trace.unpack(y)
    return zeros_like(primal) if tangent is None else tangent


def hessian(
    function: Callable[..., Any], argnums: Argnums = 0, *, chunk_size: int | str | None = None
) -> Callable[..., Any]:
    """A function that gives the second derivatives of a scalar function, forward over reverse.

    Args:
      chunk_size: how many directions to compute at once, as vmap's.
    Example:
      >>> hessian(lambda x: (x**3).sum())(tensor([1.0, 2.0]))
      tensor([[ 6.,  0.],
              [ 0., 12.]])
    """
    return jacfwd(jacrev(function, argnums), argnums, chunk_size=chunk_size)


__all__ = ["hessian", "jacfwd", "jacrev"]
