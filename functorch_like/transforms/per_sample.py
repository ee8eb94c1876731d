"""Gradients of each sample of a batch, their norms, and their clipped sum.

The norms and the clipped sum never form the gradients of single samples where an operation with a
parameter allows: of a matrix product it is enough to know its input and the cotangent of its output
("ghost clipping"). The loss is mapped over the batch while an interpreter on top notes the
operations in which a parameter meets a sample. Small parameters (biases, scales) and operations of
other kinds get a gradient a sample, of that parameter alone.

Reference: Goodfellow 2015, Efficient Per-Example Gradient Computations; Li et al. 2022, Large
Language Models Can Be Strong Differentially Private Learners.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from .. import tree
from ..errors import ShapeError, message
from ..op import Op
from ..ops.creation import zeros_like
from ..ops.join import cat
from ..tensor import Tensor, ones_of
from ..trace import Outside, Trace
from .arguments import settled, tensors_of
from .gradients import grad
from .vjp_trace import VjpTrace
from .vmap import _in_dims, _mapped_size, vmap
from .vmap_trace import VmapTrace


def per_sample_grad(
    loss: Callable[..., Any], argnums: Any = 0, in_dims: Any = 0, **options: Any
) -> Callable[..., Any]:
    """A function that gives the gradient of each sample's loss: [batch, *parameter] at each leaf.

    Args:
      loss: `loss(params, *sample)`, a scalar.
      in_dims: the batch dimension of the arguments after the first, which is shared; as in vmap.
      options: of vmap.
    Example:
      >>> per_sample_grad(lambda w, x: (w * x).sum())(ones(2), tensor([[1.0, 2.0], [3.0, 4.0]]))
      tensor([[1., 2.],
              [3., 4.]])
    """
    gradient = grad(loss, argnums)

    @wraps(loss)
    def wrapped(params: Any, *batch: Any) -> Any:
        dims = _dims_of(in_dims, len(batch))
        return vmap(gradient, (None, *dims), **options)(params, *batch)

    return wrapped


def _dims_of(in_dims: Any, count: int) -> tuple[Any, ...]:
    return tuple(in_dims) if isinstance(in_dims, (tuple, list)) else (in_dims,) * count


# ---- what a parameter's gradient is made of ----


class _Product:
    """A matrix product with a weight [out, in]: its input a and the cotangent g of its output.

    Both are [batch, t, features]; sample b's gradient is the sum over t of g_t a_t^T.
    """

    def __init__(self, a: Tensor, transposed: bool):
        self.a, self.transposed = a, transposed
        self.g: Any = None

    @staticmethod
    def joined(parts: Sequence[_Product]) -> _Product:
        """One product for several with the same weight."""
        if len(parts) == 1:
            return parts[0]
        whole = _Product(cat([p.a for p in parts], 1), parts[0].transposed)
        whole.g = cat([p.g for p in parts], 1)
        return whole

    def squares(self) -> Tensor:
        """The squared norm of each sample's gradient."""
        a, g = self.a, self.g
        t, features, outs = a._shape[1], a._shape[2], g._shape[2]
        if t == 1:
            return (a * a).sum((1, 2)) * (g * g).sum((1, 2))
        if t * (features + outs) <= features * outs:  # <g a^T, g a^T> = <g g^T, a a^T>
            return ((a @ a.transpose(1, 2)) * (g @ g.transpose(1, 2))).sum((1, 2))
        each = g.transpose(1, 2) @ a
        return (each * each).sum((1, 2))

    def each(self) -> Tensor:
        """[batch, *weight]"""
        return (
            self.a.transpose(1, 2) @ self.g if self.transposed else self.g.transpose(1, 2) @ self.a
        )

    def weighted(self, weights: Tensor) -> Tensor:
        """The sum of the samples' gradients times their weights."""
        g = (self.g * weights.reshape((-1, 1, 1))).reshape((-1, self.g._shape[2]))
        a = self.a.reshape((-1, self.a._shape[2]))
        return a.t() @ g if self.transposed else g.t() @ a


class _Rows:
    """Rows picked from a table [n, features]: which ones [batch, t], and the cotangents."""

    def __init__(self, index: Tensor, like: Tensor):
        self.index, self.like = index, like
        self.g: Any = None

    @staticmethod
    def joined(parts: Sequence[_Rows]) -> _Rows:
        if len(parts) == 1:
            return parts[0]
        whole = _Rows(cat([p.index for p in parts], 1), parts[0].like)
        whole.g = cat([p.g for p in parts], 1)
        return whole

    def squares(self) -> Tensor:
        same = (self.index.unsqueeze(2) == self.index.unsqueeze(1)).to(self.g.dtype)
        return (same * (self.g @ self.g.transpose(1, 2))).sum((1, 2))

    def each(self) -> Tensor:
        empty = zeros_like(self.like)
        return vmap(lambda index, g: empty.index_add(0, index, g))(self.index, self.g)

    def weighted(self, weights: Tensor) -> Tensor:
        g = (self.g * weights.reshape((-1, 1, 1))).reshape((-1, self.g._shape[2]))
        return zeros_like(self.like).index_add(0, self.index.reshape(-1), g)


class _Each:
    """The gradient of each sample, [batch, *parameter]."""

    def __init__(self, gradients: Tensor):
        self.gradients = gradients

    @staticmethod
    def joined(parts: Sequence[_Each]) -> _Each:
        total = parts[0].gradients
        for part in parts[1:]:
            total = total + part.gradients
        return _Each(total)

    def squares(self) -> Tensor:
        flat = self.gradients.reshape((self.gradients._shape[0], -1))
        return (flat * flat).sum(1)

    def each(self) -> Tensor:
        return self.gradients

    def weighted(self, weights: Tensor) -> Tensor:
        g = self.gradients
        return (weights @ g.reshape((g._shape[0], -1))).reshape(g._shape[1:])


def _combined(parts: Sequence[Any]) -> Any:
    """All that one parameter takes part in."""
    kinds = {(type(p), getattr(p, "transposed", None)) for p in parts}
    if len(kinds) == 1:
        return type(parts[0]).joined(parts)
    return _Each.joined([_Each(p.each()) for p in parts])


# ---- the interpreter ----


class _Uses(Trace):
    """Notes where parameters meet samples. Lies above a vmap above a reverse-mode trace."""

    name = "per_sample"

    def __init__(self, vmapped: VmapTrace, reverse: VjpTrace, params: Sequence[Tensor]):
        super().__init__()
        self.vmapped, self.reverse = vmapped, reverse
        self.params = {id(p._m): i for i, p in enumerate(params)}
        self.kept = list(params)  # their metas' ids stay theirs
        self.transposed: dict[int, int] = {}  # metas of transposed views
        # parameter, what is known, the output whose cotangent is needed, what to do with it
        self.uses: list[tuple[int, Any, Tensor, Callable[[Any, Tensor], Any]]] = []

    def read(self, t: Tensor, how: str) -> Any:
        with Outside(self):
            return bool(t) if how == "bool" else t.item()

    def owns(self, t: Tensor) -> bool:
        return self.vmapped.owns(t)

    def process(self, op: Op, args: tuple[Tensor, ...], params: dict[str, Any]) -> Any:
        if op.differentiable and (op.batch is None or op.pull is None or op.impl is None):
            return op.decompose(*args, **params)  # type: ignore[misc]
        mapped = [a._m is not None and a._m.trace is self.vmapped for a in args]
        which = [None if a._m is None else self.params.get(id(a._m)) for a in args]
        if not op.differentiable or all(p is None for p in which) or not any(mapped):
            out = self._below(op, args, params)
            if op.name == "transpose" and which[0] is not None and args[0].ndim == 2:
                self.transposed[id(out._m)] = which[0]
                self.params[id(out._m)] = which[0]
                self.kept.append(out)
            return out
        noted = self._product(op, args, mapped, which, params)
        if noted is None and op.name in ("index", "index_select") and which[0] is not None:
            noted = self._rows(op, args, which[0], params)
        if noted is not None:
            return noted
        return self._below(op, self._mapped_parameters(args, which), params)

    def _below(self, op: Op, args: tuple[Tensor, ...], params: dict[str, Any]) -> Any:
        with Outside(self):
            return self.vmapped.process(op, args, params)

    def _mapped_parameters(self, args: Any, which: Sequence[int | None]) -> tuple[Tensor, ...]:
        """The operands with a parameter for each sample in place of the shared one; no copies."""
        operands = list(args)
        for i, p in enumerate(which):
            if p is None:
                continue
            view = id(args[i]._m) in self.transposed
            value = self.reverse.lower(args[i])
            with Outside(self.reverse):
                spread = value.unsqueeze(0).expand((self.vmapped.size, *value._shape))
            leaf = self.reverse.leaf(spread)
            # its gradient is that of each sample
            self.uses.append(
                (p, None, leaf, lambda _, g, v=view: _Each(g.transpose(1, 2) if v else g))
            )
            operands[i] = self.vmapped.leaf(leaf)
        return tuple(operands)

    def _physical(self, x: Tensor) -> Tensor:
        """The values of all samples, of the context the whole runs in."""
        return self.reverse.lower(self.vmapped.unpack(x)[0])

    def _noting(
        self,
        op: Op,
        args: Sequence[Tensor],
        params: dict[str, Any],
        uses: Sequence[tuple[int, Any, Callable[[Any, Tensor], Any]]],
    ) -> Tensor:
        """The op with constant parameters, its output marked as one whose cotangent is needed."""
        constant = [
            self.reverse.lower(a) if a._m is not None and id(a._m) in self.params else a
            for a in args
        ]
        out = self._below(op, tuple(constant), params)
        physical = self.vmapped.unpack(out)[0]
        if self.reverse.value_of(physical) is None:  # depends on samples only
            physical = self.reverse.leaf(physical)
            out = self.vmapped.leaf(physical)
        for p, known, finish in uses:
            self.uses.append((p, known, physical, finish))
        return out

    def _product(
        self,
        op: Op,
        args: Sequence[Tensor],
        mapped: Sequence[bool],
        which: Sequence[int | None],
        params: dict[str, Any],
    ) -> Tensor | None:
        if op.name == "linear" and mapped[0] and which[1] is not None:
            if len(args) > 2 and which[2] is None and mapped[2]:
                return None
            weight, x = 1, args[0]
        elif op.name == "matmul" and mapped[0] and which[1] is not None and args[1].ndim == 2:
            weight, x = 1, args[0]
        elif op.name == "matmul" and mapped[1] and which[0] is not None and args[1].ndim == 1:
            weight, x = 0, args[1]
        else:
            return None
        if args[weight].ndim != 2 or x.dtype.is_complex:
            return None
        p = which[weight]
        assert p is not None
        stored_in_out = op.name == "matmul" and weight == 1
        if id(args[weight]._m) in self.transposed:
            stored_in_out = not stored_in_out
        with Outside(self.reverse):
            a = _three(self._physical(x))
        product = _Product(a, stored_in_out)
        uses: list[Any] = [(p, product, _with_cotangent)]
        if op.name == "linear" and len(args) > 2 and which[2] is not None:
            uses.append((which[2], None, lambda _, g: _Each(_three(g).sum(1))))
        return self._noting(op, args, params, uses)

    def _rows(
        self, op: Op, args: Sequence[Tensor], p: int, params: dict[str, Any]
    ) -> Tensor | None:
        whole = params == {"dims": (0,)} or params == {"dim": 0} or params == {"dims": [0]}
        if not whole or len(args) != 2 or args[0].ndim != 2 or id(args[0]._m) in self.transposed:
            return None
        with Outside(self.reverse):
            index = self._physical(args[1])
            index = index.reshape((index._shape[0], -1))
            rows = _Rows(index % args[0]._shape[0], self.reverse.lower(args[0]))
        return self._noting(op, args, params, [(p, rows, _with_cotangent)])


def _with_cotangent(known: Any, g: Tensor) -> Any:
    known.g = _three(g)
    return known


def _three(x: Tensor) -> Tensor:
    """[batch, t, features] from [batch, ..., features]."""
    shape = x._shape
    if len(shape) == 3:
        return x
    t = 1
    for size in shape[1:-1]:
        t *= size
    return x.reshape((shape[0], t, shape[-1]))


class _Gradients:
    """All samples' gradients of a loss, in the forms above, one a leaf of the parameters."""

    def __init__(self, loss: Callable[..., Any], params: Any, batch: Sequence[Any], in_dims: Any):
        flat, self.definition = tree.flatten(params)
        values = tensors_of("per_sample", flat)
        args = tuple(batch)
        leaves, structure = tree.flatten(args)
        dims = _in_dims(_dims_of(in_dims, len(batch)), args, leaves)
        self.size = _mapped_size(leaves, dims)
        fronted = [
            x if d is None else x.movedim(d, 0) if d else x
            for x, d in zip(leaves, dims, strict=True)
        ]
        with VjpTrace() as reverse:
            tracers = [reverse.leaf(x) for x in values]
            with VmapTrace(self.size, "different") as vmapped:
                inputs = [
                    x if d is None else vmapped.leaf(x) for x, d in zip(fronted, dims, strict=True)
                ]
                with _Uses(vmapped, reverse, tracers) as uses:
                    out = loss(
                        tree.unflatten(self.definition, tracers),
                        *tree.unflatten(structure, inputs),
                    )
                    settled(out)
                losses, batched = vmapped.unpack(out)
                if not batched:
                    losses = losses.unsqueeze(0).expand((self.size, *losses._shape))
        self.losses = reverse.lower(losses)
        if self.losses._shape != (self.size,):
            raise ShapeError(
                message(
                    "per_sample",
                    "a scalar loss of each sample",
                    f"shape {list(self.losses._shape[1:])}",
                    "Reduce it.",
                )
            )
        inputs_of: list[Any] = [*tracers, *[t for _, _, t, _ in uses.uses]]
        wanted = [reverse.value_of(t).node for t in inputs_of]  # type: ignore[union-attr]
        cts = reverse.pull_back([losses], [ones_of(self.losses)], wanted, False)
        parts: list[list[Any]] = [[] for _ in values]
        for (p, known, _, finish), g in zip(uses.uses, cts[len(values) :], strict=True):
            if g is not None:
                parts[p].append(finish(known, g))
        if any(g is not None for g in cts[: len(values)]):
            # a parameter took a way that was not seen (for one, through other parameters)
            gradients = per_sample_grad(loss, 0, in_dims)(params, *batch)
            parts = [[_Each(g)] for g in tree.leaves(gradients)]
        self.parts = [
            _combined(some) if some else _Each(zeros_like(x).expand((self.size, *x._shape)))
            for some, x in zip(parts, values, strict=True)
        ]

    def squares(self) -> list[Tensor]:
        """For each leaf the squared norms [batch]."""
        return [part.squares() for part in self.parts]


def per_sample_norms(
    loss: Callable[..., Any], in_dims: Any = 0, *, per_leaf: bool = False
) -> Callable[..., Any]:
    """A function that gives the norm of each sample's gradient, [batch].

    Args:
      loss: `loss(params, *sample)`, a scalar.
      in_dims: the batch dimension of the arguments after the first, as in vmap.
      per_leaf: norms for each leaf of the parameters, in their structure.
    Raises:
      ShapeError: a sample's loss is not a scalar.
    Example:
      >>> per_sample_norms(lambda w, x: w @ x)(ones(2), tensor([[3.0, 4.0], [0.0, 1.0]]))
      tensor([5., 1.])
    """

    @wraps(loss)
    def wrapped(params: Any, *batch: Any) -> Any:
        found = _Gradients(loss, params, batch, in_dims)
        squares = found.squares()
        if per_leaf:
            return tree.unflatten(found.definition, [s.sqrt() for s in squares])
        return _total(squares).sqrt()

    return wrapped


def _total(squares: Sequence[Tensor]) -> Tensor:
    total = squares[0]
    for s in squares[1:]:
        total = total + s
    return total


def clipped_grad_sum(
    loss: Callable[..., Any], max_norm: float, in_dims: Any = 0
) -> Callable[..., Any]:
    """A function that gives the sum of the samples' gradients, each clipped to a norm.

    With noise added to it that is the gradient of differentially private learning.

    Args:
      max_norm: gradients with a larger norm are scaled down to it.
      loss, in_dims: as for per_sample_norms.
    Returns:
      (sum, norms): the sum in the parameters' structure, and the norms [batch] before clipping.
    Raises:
      ValueError: max_norm is not positive.
      ShapeError: a sample's loss is not a scalar.
    Reference: Abadi et al. 2016, Deep Learning with Differential Privacy.
    Example:
      >>> clipped_grad_sum(lambda w, x: w @ x, 1.0)(ones(2), tensor([[3.0, 4.0], [0.0, 0.5]]))
      (tensor([0.6000, 1.3000]), tensor([5.0000, 0.5000]))
    """
    if not max_norm > 0:
        raise ValueError(message("clipped_grad_sum", "a positive max_norm", max_norm))

    @wraps(loss)
    def wrapped(params: Any, *batch: Any) -> Any:
        found = _Gradients(loss, params, batch, in_dims)
        norms = _total(found.squares()).sqrt()
        weights = (max_norm / norms.clamp(min=max_norm)).detach()
        total = [part.weighted(weights) for part in found.parts]
        return tree.unflatten(found.definition, total), norms

    return wrapped


__all__ = ["clipped_grad_sum", "per_sample_grad", "per_sample_norms"]
