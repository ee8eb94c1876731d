"""Derivatives made from grad, vjp, jvp and vmap.

Products with second derivatives, linear maps and their transposes, sums of diagonals. None of them
forms a matrix that was not asked for.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from .. import tree
from ..errors import ShapeError, message
from ..ops.creation import zeros_like
from ..ops.random import rand
from ..tensor import Tensor
from ..trace import state
from .arguments import Argnums, matching, results_of, selected, settled, tensors_of
from .gradients import grad
from .jacobians import jacfwd, jacrev, unit_vectors
from .jvp_trace import JvpTrace
from .products import jvp, vjp
from .replay import Place, Recorder, Step, another_shell, replay
from .vmap import vmap


def _of_chosen(
    op: str, function: Callable[..., Any], args: Sequence[Any], argnums: Argnums
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The function of the chosen arguments only, and those arguments."""
    positions = selected(op, args, argnums)

    def of_chosen(*chosen: Any) -> Any:
        call = list(args)
        for p, value in zip(positions, chosen, strict=True):
            call[p] = value
        return function(*call)

    return of_chosen, tuple(args[p] for p in positions)


# ---- linear maps ----


def linearize(function: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """The function's value at the primals, and its derivative there as a linear function.

    The derivative is computed once in forward mode; the linear function repeats only the operations
    that depend on the tangents.

    Returns:
      (output, jvp_fn); jvp_fn takes tangents like the primals and may be called any number of
      times, under any transform.
    Raises:
      ShapeError: of jvp_fn, when a tangent differs in shape from its primal.
    Example:
      >>> y, push = linearize(lambda x: x.sin(), tensor(0.0))
      >>> push(tensor(2.0))
      tensor(2.)
    """
    flat, definition = tree.flatten(primals)
    xs = tensors_of("linearize", flat)
    directions = [zeros_like(x) for x in xs]
    outer = state.trace
    held: list[tuple[Tensor, ...]] = []  # all results
    recorder = Recorder(
        lambda _index, outs: held.append(tuple([another_shell(t) for t in outs])), another_shell
    )
    recorder.slip_over(outer)
    # a step of its own for each tangent, so that places can stand for them
    places: list[Place] = []
    try:
        for t in directions:
            recorder.steps.append(Step(_INPUT, {}, []))
            recorder.know(t, (len(recorder.steps) - 1, 0))
            places.append((len(recorder.steps) - 1, 0))
        state.trace = recorder
        with JvpTrace() as trace:
            inputs = [trace.leaf(x, t) for x, t in zip(xs, directions, strict=True)]
            out = function(*tree.unflatten(definition, inputs))
            settled(out)
            out_leaves, out_definition = results_of("linearize", out)
            pairs = [trace.unpack(y) for y in out_leaves]
        recorder.settle()
        ends = [None if t is None else recorder.place_of(t) for _, t in pairs]
    finally:
        state.trace = outer
        recorder.lift()
    steps = recorder.steps
    wanted = [p for p in ends if p is not None]
    _freeze(steps, places, wanted, held)

    def jvp_fn(*tangents: Any) -> Any:
        """The derivative along tangents of the primals' structure."""
        what = "tangents of the primals' structure"
        given = tree.leaves_as(definition, tangents, "linearize", what)
        ts = [matching("linearize", "tangent", t, x) for t, x in zip(given, xs, strict=True)]
        found = replay(steps, wanted, given=dict(zip(places, ts, strict=True)))
        results = []
        for (primal, tangent), place in zip(pairs, ends, strict=True):
            if place is not None:
                results.append(found[place])
            else:  # a constant one is zero: it does not depend on the tangents
                results.append(zeros_like(primal if tangent is None else tangent))
        return tree.unflatten(out_definition, results)

    return tree.unflatten(out_definition, [p for p, _ in pairs]), jvp_fn


class _Input:
    """Stands where a step's op would, for tangents that are given."""

    name, nouts, random = "tangent", 1, False


_INPUT: Any = _Input()


def _freeze(
    steps: list[Step],
    inputs: list[Place],
    wanted: list[Place],
    held: list[tuple[Tensor, ...]],
) -> None:
    """Makes results that do not depend on the inputs constants, where they are used or wanted."""
    moving = {index for index, _ in inputs}
    values = dict(zip(range(len(inputs), len(steps)), held, strict=True))
    for index, step in enumerate(steps):
        if index in moving:
            continue
        if any(type(s) is tuple and s[0] in moving for s in step.sources):
            moving.add(index)
    for index in moving:
        for s in steps[index].sources:
            if type(s) is tuple and s[0] not in moving:
                steps[s[0]].kept = values[s[0]]
    for index, _ in wanted:
        if index not in moving:
            steps[index].kept = values[index]
    for index, step in enumerate(steps):
        if index not in moving:
            step.sources = []


def linear_transpose(function: Callable[..., Any], *examples: Any) -> Callable[..., Any]:
    """The transpose of a linear function, as a function of cotangents of its result.

    Args:
      examples: arguments of the shapes and dtypes it takes; their values do not matter.
    Returns:
      A function from a cotangent to a tuple of cotangents, one an example.
    Example:
      >>> linear_transpose(lambda x: 3.0 * x.sum(), zeros(2))(tensor(1.0))
      (tensor([3., 3.]),)
    """
    return vjp(function, *tree.map(zeros_like, tuple(examples)))[1]


# ---- Jacobians ----


def jacobian(
    function: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that gives the Jacobian, by the mode that takes fewer passes.

    That is reverse mode where there are at most as many outputs as inputs, else forward mode. The
    number of outputs comes from a call of the function.

    Returns:
      As jacrev: for each output leaf and each chosen argument leaf [*output shape, *input shape].
    Example:
      >>> jacobian(lambda x: (x * x).sum())(tensor([1.0, 2.0]))
      tensor([2., 4.])
    """
    reverse = jacrev(function, argnums, has_aux, chunk_size=chunk_size)
    forward = jacfwd(function, argnums, has_aux, chunk_size=chunk_size)

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        chosen = [args[p] for p in selected("jacobian", args, argnums)]
        inputs = sum(x.numel() for x in tensors_of("jacobian", tree.leaves(chosen)))
        if inputs == 1:
            return forward(*args, **kwargs)
        out = function(*args, **kwargs)
        out = out[0] if has_aux else out
        outputs = sum(y.numel() for y in tree.leaves(out) if isinstance(y, Tensor))
        return (reverse if outputs <= inputs else forward)(*args, **kwargs)

    return wrapped


# ---- products with second derivatives ----


def hvp(
    function: Callable[..., Any], primals: Any, tangents: Any, argnums: Argnums | None = None
) -> Any:
    """The Hessian of a scalar function times a vector: forward over reverse, without the matrix.

    Args:
      primals: the arguments, a tuple.
      tangents: the vector, of the structure of the primals (of those chosen by argnums).
      argnums: which arguments to differentiate by; all by default.
    Returns:
      The product, of the structure of the tangents.
    Example:
      >>> hvp(lambda x: (x**3).sum(), (tensor([1.0, 2.0]),), (tensor([1.0, 1.0]),))
      (tensor([ 6., 12.]),)
    """
    f, chosen, vectors, single = _second_order("hvp", function, primals, tangents, argnums)
    gradient = grad(f, tuple(range(len(chosen))))
    product = jvp(gradient, chosen, vectors)[1]
    return product[0] if single else product


def vhp(
    function: Callable[..., Any], primals: Any, cotangents: Any, argnums: Argnums | None = None
) -> Any:
    """A vector times the Hessian of a scalar function: reverse over reverse.

    For real functions that is hvp, which is cheaper; this one needs no forward mode.

    Example:
      >>> vhp(lambda x: (x**3).sum(), (tensor([1.0, 2.0]),), (tensor([1.0, 1.0]),))
      (tensor([ 6., 12.]),)
    """
    f, chosen, vectors, single = _second_order("vhp", function, primals, cotangents, argnums)
    gradient = grad(f, tuple(range(len(chosen))))
    product = vjp(gradient, *chosen)[1](vectors)
    return product[0] if single else product


def _second_order(
    op: str, function: Callable[..., Any], primals: Any, vectors: Any, argnums: Argnums | None
) -> tuple[Callable[..., Any], tuple[Any, ...], tuple[Any, ...], bool]:
    if not isinstance(primals, (tuple, list)):
        raise TypeError(
            message(
                op, "a tuple of primals", type(primals).__name__, "Write (x,) for one argument."
            )
        )
    single = isinstance(argnums, int)
    f, chosen = _of_chosen(
        op, function, primals, tuple(range(len(primals))) if argnums is None else argnums
    )
    if single:
        vectors = (vectors,)
    if not isinstance(vectors, (tuple, list)) or len(vectors) != len(chosen):
        raise ValueError(
            message(
                op, f"a tuple of {len(chosen)} vectors, one an argument", type(vectors).__name__
            )
        )
    return f, chosen, tuple(vectors), single


def ggnvp(
    model: Callable[..., Any], loss: Callable[[Any], Any], primals: Any, tangents: Any
) -> Any:
    """The Gauss-Newton matrix of loss(model(*primals)) times a vector: J^T H J v.

    H is the Hessian of the loss by the model's output, J the Jacobian of the model. The product is
    positive semi-definite where the loss is convex.

    Args:
      primals, tangents: tuples of one structure.
    Reference: Schraudolph 2002, Fast Curvature Matrix-Vector Products.
    Example:
      >>> ggnvp(lambda w: w.sin(), lambda y: (y * y).sum(), (tensor(0.0),), (tensor(1.0),))
      (tensor(2.),)
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise TypeError(
            message(
                "ggnvp",
                "tuples of primals and tangents",
                f"{type(primals).__name__} and {type(tangents).__name__}",
                "Write (x,) for one argument.",
            )
        )
    out, pushed = jvp(model, tuple(primals), tuple(tangents))
    curved = jvp(grad(loss), (out,), (pushed,))[1]
    return vjp(model, *primals)[1](curved)


# ---- sums of diagonals ----


def divergence(
    function: Callable[..., Any],
    *,
    method: str = "exact",
    samples: int = 1,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that gives the divergence of a vector field: the trace of its Jacobian.

    Args:
      function: from a tensor (and other arguments) to a tensor of the same shape.
      method: "exact", one forward pass a dimension; or "hutchinson", an unbiased estimate from
        `samples` random directions.
    Raises:
      ShapeError: the field's value differs in shape from its argument.
    Reference: Hutchinson 1989, A Stochastic Estimator of the Trace of the Influence Matrix.
    Example:
      >>> divergence(lambda x: x**2)(tensor([1.0, 2.0]))
      tensor(6.)
    """
    _check_method("divergence", method)

    @wraps(function)
    def wrapped(x: Tensor, *rest: Any, **kwargs: Any) -> Tensor:
        def along(t: Tensor) -> Tensor:
            y, pushed = jvp(lambda x: function(x, *rest, **kwargs), (x,), (t,))
            if y._shape != x._shape:
                raise ShapeError(
                    message("divergence", f"a field of shape {list(x._shape)}", list(y._shape))
                )
            return (pushed * t).sum()

        directions = _directions(x, method, samples)
        sums = vmap(along, chunk_size=chunk_size)(directions)
        return sums.sum() if method == "exact" else sums.mean()

    return wrapped


def _check_method(op: str, method: str) -> None:
    if method not in ("exact", "hutchinson"):
        raise ValueError(message(op, 'method "exact" or "hutchinson"', repr(method)))


def _directions(x: Tensor, method: str, samples: int) -> Tensor:
    """The unit vectors, or random ones of signs: [n, *x.shape]."""
    if method == "exact":
        return unit_vectors([x])[0]
    signs = rand((samples, *x._shape), dtype=x.dtype, device=x.device) < 0.5
    return signs.to(x.dtype) * 2 - 1


def laplacian(
    function: Callable[..., Any], *, method: str = "exact", samples: int = 1
) -> Callable[..., Any]:
    """A function that gives the Laplacian: the sum of unmixed second derivatives.

    Exactly by collapsed Taylor mode: one forward pass carries the derivatives along all directions,
    but of the second ones only their sum.

    Args:
      function: from a tensor (and other arguments) to a tensor of any shape, whose Laplacian has
        that shape.
      method: "exact", or "hutchinson", an unbiased estimate from `samples` random directions.
    Reference: Dangel et al. 2025, Collapsing Taylor Mode Automatic Differentiation.
    Example:
      >>> laplacian(lambda x: (x**3).sum())(tensor([1.0, 2.0]))
      tensor(18.)
    """
    _check_method("laplacian", method)

    @wraps(function)
    def wrapped(x: Tensor, *rest: Any, **kwargs: Any) -> Any:
        from .collapsed import second_derivatives

        directions = _directions(x, method, samples)
        result = second_derivatives(
            lambda x: function(x, *rest, **kwargs), x, directions, method == "exact"
        )[2]
        return result if method == "exact" else tree.map(lambda y: y / samples, result)

    return wrapped


def directional_derivative(
    function: Callable[..., Any], x: Any, direction: Any, order: int = 1
) -> Any:
    """The derivative of that order of t -> function(x + t direction), at t = 0, by Taylor mode.

    Raises:
      ValueError: an order below 0.
    Example:
      >>> directional_derivative(lambda x: x**4, tensor(1.0), tensor(1.0), order=3)
      tensor(24.)
    """
    from .jet import jet

    if order < 0:
        raise ValueError(message("directional_derivative", "an order of at least 0", order))
    if order == 0:
        return function(x)
    rest = [tree.map(zeros_like, x) for _ in range(order - 1)]
    _, series = jet(function, (x,), ([direction, *rest],))
    return series[-1]


__all__ = [
    "directional_derivative",
    "divergence",
    "ggnvp",
    "hvp",
    "jacobian",
    "laplacian",
    "linear_transpose",
    "linearize",
    "vhp",
]
