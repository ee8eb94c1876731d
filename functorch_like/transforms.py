"""The function transforms, as compositions of the three interpreters.

They are grad, vjp, jvp, vmap, jacrev, jacfwd and hessian.

All take and return functions of pytrees and nest in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any

from . import tree
from .dtypes import DTYPES, can_cast
from .errors import DTypeError, GradError, ShapeError, message
from .jvp import JvpTrace
from .mapping import over_lanes, vmap
from .tape import run_backward
from .tensor import Tensor, ones_of
from .vjp import VjpTrace, VjpValue

Argnums = int | Sequence[int]

# codes of dtypes
_INEXACT = frozenset(code for code, d in enumerate(DTYPES) if d.is_inexact)
_FLOATING = frozenset(code for code, d in enumerate(DTYPES) if d.is_floating_point)


def _selected(op: str, args: Sequence[Any], argnums: Argnums) -> tuple[int, ...]:
    """The argument positions, checked and made non-negative."""
    positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    n = len(args)
    for p in positions:
        if not -n <= p < n:
            raise ValueError(
                message(
                    op,
                    f"argnums in [{-n}, {n - 1}]",
                    p,
                    f"The function was called with {n} positional arguments.",
                )
            )
    return tuple(p % n for p in positions)


def _tensors_of(op: str, leaves: Sequence[Any]) -> list[Tensor]:
    """The leaves to differentiate: tensors, or Python floats made tensors."""
    out = []
    for leaf in leaves:
        if isinstance(leaf, (float, complex)):
            from .ops.creation import tensor

            leaf = tensor(leaf)
        if not isinstance(leaf, Tensor):
            raise TypeError(
                message(
                    op,
                    "tensors at the leaves of the arguments to differentiate",
                    type(leaf).__name__,
                    "Choose others with argnums.",
                )
            )
        if not leaf.dtype.is_inexact:
            raise DTypeError(
                message(op, "floating or complex inputs", leaf.dtype, "Cast with .float().")
            )
        out.append(leaf)
    return out


def _like(op: str, what: str, t: Any, x: Tensor) -> Tensor:
    """A tangent or cotangent: it must have the shape of x and a dtype that can be cast to x's."""
    if isinstance(t, (float, complex)):
        t = _tensors_of(op, [t])[0]
    if not isinstance(t, Tensor):
        raise TypeError(message(op, f"a tensor as the {what}", type(t).__name__))
    if t._shape != x._shape:
        raise ShapeError(message(op, f"a {what} of shape {list(x._shape)}", list(t._shape)))
    if t.dtype is not x.dtype:
        if not can_cast(t.dtype, x.dtype):
            raise DTypeError(message(op, f"a {what} of dtype {x.dtype}", t.dtype))
        t = t.to(x.dtype)
    return t


def _current(x: Any) -> Any:
    """What a result carries, after a view has taken up what was written to its base."""
    return x._current() if isinstance(x, Tensor) else None


def _settled(out: Any) -> None:
    """Views among the results of a transformed function take up what was written to their bases.

    To be called while its trace is current.
    """
    for x in (out,) if isinstance(out, Tensor) else tree.flatten(out)[0]:
        _current(x)


def _split_aux(op: str, out: Any, has_aux: bool) -> tuple[Any, Any]:
    _settled(out)
    if not has_aux:
        return out, None
    if not (isinstance(out, tuple) and len(out) == 2):
        raise TypeError(
            message(
                op, "a function that returns (output, aux), since has_aux=True", type(out).__name__
            )
        )
    return out


def _lowered(trace: Any, aux: Any) -> Any:
    return tree.map(lambda x: trace.lower(x) if isinstance(x, Tensor) else x, aux)


def _scalar(value: Any) -> Tensor:
    """The value of a result, checked to be one that a gradient can start from."""
    if not isinstance(value, Tensor):
        raise GradError(
            message(
                "grad",
                "a function that returns a scalar tensor",
                type(value).__name__,
                "Return the loss itself; pass other results with has_aux=True.",
            )
        )
    v = value._v
    if v.ndim if v else value._shape:
        raise ShapeError(
            message(
                "grad",
                "a scalar result",
                f"shape {list(value._shape)}",
                "Reduce it, or use jacrev.",
            )
        )
    if (v or value._concrete).dtype not in _FLOATING:
        raise DTypeError(
            message("grad", "a real floating result", value.dtype, "For complex results use vjp.")
        )
    return value


def _recorded(
    op: str, function: Callable[..., Any], at: int, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[VjpTrace, VjpValue, Any, VjpValue | None]:
    """A call of the function with its argument `at`, a tensor, traced.

    Gives the trace, the argument's value in it, the result, and its value if it is a tensor that
    depends on the argument.
    """
    x = args[at]
    if (x._v or x._concrete).dtype not in _INEXACT:
        _tensors_of(op, (x,))
    with VjpTrace() as trace:
        tracer = trace.leaf(x)
        given: Any = tracer._m  # the function may rebind the tensor it is given
        if len(args) == 1:
            out = function(tracer, **kwargs)
        else:
            out = function(*args[:at], tracer, *args[at + 1 :], **kwargs)
        m: Any = out._m if out.__class__ is Tensor else _current(out)
        if m is not None and m.is_view:
            m = _current(out)
    return trace, given, out, None if m is None or m.trace is not trace else m.tracer or m


def _by_one_tensor(
    function: Callable[..., Any], at: int, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """Value and gradient by the tensor at one position: the usual case, without trees."""
    _, given, out, value = _recorded("grad", function, at, args, kwargs)
    if value is None:
        return _scalar(out), _zeros_like(args[at])
    primal, leaf = _scalar(value.primal), given.node
    found = run_backward([(value.node, ones_of(primal))], wanted={leaf})
    return primal, found[leaf] if leaf in found else _zeros_like(given.primal)


def _is_simple(argnums: Argnums, has_aux: bool) -> bool:
    """May _by_one_tensor serve, if a tensor stands at that position?"""
    return type(argnums) is int and argnums >= 0 and not has_aux


def value_and_grad(
    function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that gives `(value, gradient)` of a scalar function.

    With has_aux, it gives `((value, aux), gradient)`.

    Args:
      argnums: the argument, or the arguments, to differentiate; pytrees. A tuple of argnums gives a
        tuple of gradients.
      has_aux: the function returns (output, aux); aux is passed through.
    Raises:
      GradError, ShapeError: the output is not a scalar tensor.
      DTypeError: an input is not floating or complex.
    Example:
      >>> value_and_grad(lambda x: (x**2).sum())(tensor([1.0, 2.0]))
      (tensor(5.), tensor([2., 4.]))
    """

    simple = _is_simple(argnums, has_aux)

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if simple and len(args) > argnums and isinstance(args[argnums], Tensor):  # type: ignore[operator,index]
            return _by_one_tensor(function, argnums, args, kwargs)  # type: ignore[arg-type]
        positions = _selected("grad", args, argnums)
        call = list(args)
        with VjpTrace() as trace:
            # the leaves themselves: the function may rebind the tensors it is given
            inputs: list[Any] = []
            slots = []
            for p in positions:
                leaves, definition = tree.flatten(args[p])
                tracers = [trace.leaf(x) for x in _tensors_of("grad", leaves)]
                slots.append((len(tracers), definition))
                inputs += [x._m for x in tracers]
                call[p] = tree.unflatten(definition, tracers)
            out, aux = _split_aux("grad", function(*call, **kwargs), has_aux)
        value = _scalar(trace.lower(out) if isinstance(out, Tensor) else out)
        flat = trace.pull_back([out], [ones_of(value)], [v.node for v in inputs], False)
        aux = _lowered(trace, aux) if has_aux else None
        grads = []
        at = 0
        for count, definition in slots:
            some = [
                g if g is not None else _zeros_like(x.primal)
                for g, x in zip(flat[at : at + count], inputs[at : at + count], strict=True)
            ]
            grads.append(tree.unflatten(definition, some))
            at += count
        result = grads[0] if isinstance(argnums, int) else tuple(grads)
        return ((value, aux) if has_aux else value), result

    return wrapped


def _zeros_like(x: Tensor) -> Tensor:
    from .ops.creation import zeros

    return zeros(x._shape, dtype=x.dtype, device=x.device)


_GRAD: Any = None  # the code of the functions that grad() makes


def grad(
    function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that gives the gradient of a scalar function; `(gradient, aux)` with has_aux.

    Arguments and errors as value_and_grad.

    Example:
      >>> grad(grad(lambda x: x**3))(tensor(2.0))
      tensor(12.)
    """
    both = value_and_grad(function, argnums, has_aux)
    nest = _Nest(function, argnums) if _is_simple(argnums, has_aux) else None
    at: Any = argnums

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if nest is not None and len(args) > at and isinstance(args[at], Tensor):
            if nest.order > 2 and not args[at].ndim:
                return nest.derivative(args, kwargs)
            return _by_one_tensor(function, at, args, kwargs)[1]
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    wrapped._nest = nest  # type: ignore[attr-defined]
    return wrapped


class _Nest:
    """grads of grads of one function by one argument: its derivative of some order.

    By a 0-d tensor it is computed in one pass of Taylor mode from the third order on, where that
    gives the same: nested passes cost more than twice as much an order.
    """

    __slots__ = ("at", "base", "nests", "order")

    def __init__(self, function: Callable[..., Any], at: Any):
        inner = None
        # wraps() copies attributes, also to decorators that are none of ours
        if getattr(function, "__code__", None) is _GRAD:
            inner = function._nest  # type: ignore[attr-defined]
            inner = inner if inner is not None and inner.at == at else None
        self.at = at
        self.base = function if inner is None else inner.base
        self.order = 1 if inner is None else inner.order + 1
        self.nests = False  # once it was seen to be necessary

    def derivative(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """The derivative by the 0-d tensor at position `at`."""
        from .jet import NeedsNesting, nth_derivative

        if not self.nests:
            try:
                out = nth_derivative(self.base, self.order, self.at, args, kwargs)
            except NeedsNesting:
                out, self.nests = None, True
            if out is not None:
                return out
        function = self.base
        for _ in range(self.order - 1):
            function = partial(_gradient, function, self.at)
        return _gradient(function, self.at, *args, **kwargs)


def _gradient(function: Callable[..., Any], at: int, /, *args: Any, **kwargs: Any) -> Tensor:
    return _by_one_tensor(function, at, args, kwargs)[1]


_GRAD = grad(lambda x: x).__code__


def grad_and_value(
    function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """value_and_grad with torch.func's order of results: `(gradient, value)`."""
    both = value_and_grad(function, argnums, has_aux)

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return gradient, value

    return wrapped


def vjp(function: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """The function's value at the primals, and the function that carries cotangents back.

    Returns:
      (output, vjp_fn), and aux with has_aux. vjp_fn may be called any number of times; it returns
      one cotangent for a single primal, a tuple for several.
    Example:
      >>> y, back = vjp(lambda x: x * x, tensor([1.0, 3.0]))
      >>> back(tensor([1.0, 1.0]))
      tensor([2., 6.])
    """
    flat, definition = tree.flatten(primals)
    with VjpTrace() as trace:
        tracers = [trace.leaf(x) for x in _tensors_of("vjp", flat)]
        inputs: list[Any] = [x._m for x in tracers]
        out, aux = _split_aux("vjp", function(*tree.unflatten(definition, tracers)), has_aux)
        aux = _lowered(trace, aux) if has_aux else None
    value, vjp_fn = _pull_function(trace, inputs, definition, out, len(primals) == 1)
    return (value, vjp_fn, aux) if has_aux else (value, vjp_fn)


def _pull_function(
    trace: VjpTrace, inputs: list[Any], definition: Any, out: Any, single: bool
) -> tuple[Any, Callable[..., Any]]:
    """The value of a recorded result, and the function that carries cotangents back."""
    out_leaves, out_definition = tree.flatten(out)
    for leaf in out_leaves:
        if not isinstance(leaf, Tensor):
            raise TypeError(message("vjp", "tensors in the function's result", type(leaf).__name__))
    values = [trace.lower(x) for x in out_leaves]

    def vjp_fn(ct: Any, retain_graph: bool = True) -> Any:
        """Pulls a cotangent, of the structure of the function's value, back to the primals."""
        cts, given = tree.flatten(ct)
        if len(cts) != len(values):
            raise ValueError(
                message("vjp", f"a cotangent of the value's structure {out_definition}", f"{given}")
            )
        cts = [_like("vjp", "cotangent", c, v) for c, v in zip(cts, values, strict=True)]
        grads = trace.pull_back(out_leaves, cts, [v.node for v in inputs], retain_graph)
        filled = [
            g if g is not None else _zeros_like(x.primal)
            for g, x in zip(grads, inputs, strict=True)
        ]
        result = tree.unflatten(definition, filled)
        return result[0] if single else result

    return tree.unflatten(out_definition, values), vjp_fn


def jvp(
    function: Callable[..., Any],
    primals: tuple[Any, ...],
    tangents: tuple[Any, ...],
    *,
    has_aux: bool = False,
) -> Any:
    """The function's value at the primals and its derivative along the tangents, in one pass.

    Returns:
      (output, tangent), and aux with has_aux.
    Raises:
      ShapeError: a tangent differs in shape from its primal.
    Example:
      >>> jvp(lambda x: x * x, (tensor(3.0),), (tensor(1.0),))
      (tensor(9.), tensor(6.))
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise TypeError(
            message(
                "jvp",
                "tuples of primals and tangents",
                f"{type(primals).__name__} and {type(tangents).__name__}",
                "Write (x,) for one argument.",
            )
        )
    flat, definition = tree.flatten(tuple(primals))
    directions, given = tree.flatten(tuple(tangents))
    if len(flat) != len(directions):
        raise ValueError(
            message("jvp", f"tangents of the primals' structure {definition}", f"{given}")
        )
    with JvpTrace() as trace:
        inputs = []
        for x, t in zip(_tensors_of("jvp", flat), directions, strict=True):
            inputs.append(trace.leaf(x, _like("jvp", "tangent", t, x)))
        out, aux = _split_aux("jvp", function(*tree.unflatten(definition, inputs)), has_aux)
        out_leaves, out_definition = tree.flatten(out)
        for y in out_leaves:
            if not isinstance(y, Tensor):
                raise TypeError(
                    message("jvp", "tensors in the function's result", type(y).__name__)
                )
        pairs = [trace.unpack(y) for y in out_leaves]
        if has_aux:
            aux = tree.map(lambda x: trace.unpack(x)[0] if isinstance(x, Tensor) else x, aux)
    value = tree.unflatten(out_definition, [p for p, _ in pairs])
    tangent = tree.unflatten(
        out_definition, [t if t is not None else _zeros_like(p) for p, t in pairs]
    )
    return (value, tangent, aux) if has_aux else (value, tangent)


# ---- Jacobians ----


def _basis(leaves: list[Tensor]) -> tuple[list[Tensor], int]:
    """The unit vectors of the flattened leaves, stacked: for each leaf a tensor [total, *shape]."""
    from .ops.creation import eye

    sizes = [x.numel() for x in leaves]
    total = sum(sizes)
    if len(leaves) == 1:
        (x,) = leaves
        unit = eye(total, dtype=x.dtype, device=x.device)
        return [unit if x.ndim == 1 else unit.reshape((total, *x._shape))], total
    blocks = []
    at = 0
    for x, size in zip(leaves, sizes, strict=True):
        unit = eye(total, dtype=x.dtype, device=x.device)
        blocks.append(unit[:, at : at + size].reshape((total, *x._shape)))
        at += size
    return blocks, total


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

    simple = _is_simple(argnums, has_aux)

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if simple and len(args) > argnums and isinstance(args[argnums], Tensor):  # type: ignore[operator,index]
            run = _recorded("jacrev", function, argnums, args, kwargs)  # type: ignore[arg-type]
            return _jacobian_of(*run, chunk_size)
        positions = _selected("jacrev", args, argnums)

        def of_chosen(*chosen: Any) -> Any:
            call = list(args)
            for p, value in zip(positions, chosen, strict=True):
                call[p] = value
            return function(*call, **kwargs)

        value, back, *aux = vjp(of_chosen, *[args[p] for p in positions], has_aux=has_aux)
        jacobian = _rows_pulled(value, back, chunk_size)
        if not isinstance(argnums, int) and len(positions) == 1:
            rows, out_definition = tree.flatten(jacobian)
            jacobian = tree.unflatten(out_definition, [(leaf,) for leaf in rows])
        return (jacobian, aux[0]) if has_aux else jacobian

    return wrapped


def _jacobian_of(
    trace: VjpTrace, given: VjpValue, out: Any, value: VjpValue | None, chunk_size: int | str | None
) -> Any:
    """The Jacobian of a recorded function of one tensor, by rows."""
    if value is None or chunk_size is not None:
        both = _pull_function(trace, [given], tree.flatten((given.primal,))[1], out, True)
        return _rows_pulled(*both, chunk_size)
    y, leaf = value.primal, given.node

    def back(ct: Tensor) -> Tensor:
        found = run_backward([(value.node, ct)], wanted={leaf}, retain_graph=True)
        return found[leaf] if leaf in found else _zeros_like(given.primal)

    if not y.ndim:  # one row: nothing to map over
        return back(ones_of(y))
    rows = over_lanes(back, (_basis([y])[0][0],))
    return rows if y.ndim == 1 else rows.reshape((*y._shape, *rows._shape[1:]))


def _rows_pulled(value: Any, back: Callable[..., Any], chunk_size: int | str | None) -> Any:
    """The Jacobian, for each output leaf and input leaf, from cotangents of the outputs."""
    out_leaves, out_definition = tree.flatten(value)
    if len(out_leaves) == 1 and out_leaves[0].numel() == 1:  # one row: nothing to map over
        (y,) = out_leaves
        flat, definition = tree.flatten(back(tree.unflatten(out_definition, [ones_of(y)])))
        rows = [[g.reshape((*y._shape, *g._shape)) if y.ndim else g] for g in flat]
    else:
        basis, _ = _basis(out_leaves)
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

    simple = _is_simple(argnums, has_aux) and chunk_size is None
    only: Any = argnums

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if simple and len(args) > only and isinstance(args[only], Tensor):
            return _columns_pushed(function, only, args, kwargs, randomness)
        positions = _selected("jacfwd", args, argnums)
        chosen = tuple(args[p] for p in positions)
        flat, definition = tree.flatten(chosen)
        flat = _tensors_of("jacfwd", flat)
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

        basis, _ = _basis(flat)
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
    if (x._v or x._concrete).dtype not in _INEXACT:
        _tensors_of("jacfwd", (x,))

    def along(direction: Tensor) -> Any:
        with JvpTrace() as trace:
            out = function(*args[:at], trace.leaf(x, direction), *args[at + 1 :], **kwargs)
            _settled(out)
        return tree.map(lambda y: _tangent("jacfwd", trace, y), out)

    def shaped(columns: Tensor) -> Tensor:
        return columns.reshape((*columns._shape[:-1], *x._shape))

    columns = over_lanes(along, _basis([x])[0], -1, randomness)
    return columns if x.ndim == 1 else tree.map(shaped, columns)


def _tangent(op: str, trace: JvpTrace, y: Any) -> Tensor:
    if not isinstance(y, Tensor):
        raise TypeError(message(op, "tensors in the function's result", type(y).__name__))
    primal, tangent = trace.unpack(y)
    return _zeros_like(primal) if tangent is None else tangent


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


__all__ = [
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "value_and_grad",
    "vjp",
    "vmap",
]
