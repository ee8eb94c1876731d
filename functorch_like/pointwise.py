"""pointwise(): functions made of elementwise ops, run as one sweep over memory.

Each op of such a function would read and write whole tensors. Here the function is staged once for
the dtypes of its operands (on two elements: steps know of no sizes), and the core takes all its
steps tile by tile. So is its gradient, which keeps nothing but the operands. Where something other
than the tape interprets, and where the steps do not fit one sweep, the function runs as written.
Sums and means of the function are taken in the sweep that makes it, which then writes nothing.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from math import prod
from types import NoneType
from typing import Any, Protocol, cast

from cbackend import lib, record, reduce_sweep, run_sweep, sweep_key

from .op import Op, Spec
from .ops import reduce
from .ops.creation import empty
from .ops.family import align, fronted, sum_to
from .ops.views import broadcast_shapes
from .tensor import Tensor
from .trace import state

__all__ = ["pointwise"]

_MOST = 64  # sweeps kept of a function: for sets of dtypes and of numbers
Sweep = tuple[bytes, tuple[Any, ...], int]  # what run_sweep takes


class Pointwise(Op):
    """The entry behind a pointwise function; not in the table, since it has no kernel of its own.

    Args:
      cotangents: of a gradient, how many of its first operands are cotangents. They have the shape
        of the results, so that other operands need not be read.
      count: how many results it gives.
    Attributes:
      call: the function, in one sweep where that is possible; `written`: the function as written.
    """

    __slots__ = ("_gradients", "_sweeps", "call", "cotangents", "written")

    def __init__(
        self, name: str, function: Callable[..., Any], cotangents: int = 0, count: int = 1
    ):
        def vjp(
            ct: Any, _out: Any, *inputs: Tensor, needs: Sequence[bool], **params: Any
        ) -> list[Tensor | None]:
            cts = ct if count > 1 else (ct,)
            found = self._gradient(tuple(needs))(*cts, *inputs, **params)
            found = iter(found if type(found) is tuple else (found,))
            return [
                sum_to(next(found), Spec(x)) if need else None
                for x, need in zip(inputs, needs, strict=True)
            ]

        def batch(size: int, batched: Sequence[bool], *args: Tensor, **params: Any) -> Any:
            aligned = align(batched, args)
            return self(*(fronted(size, batched, aligned) if cotangents else aligned), **params)

        super().__init__(
            name,
            self._run,
            vjp=vjp,
            batch=batch,
            decompose=function,
            nouts=count,
            inlined=True,  # the compiler fuses its ops with others
            registered=False,
        )
        self.written, self.call = function, _caller(self)
        self.cotangents = cotangents
        self._sweeps: dict[Any, Sweep | None] = {}
        self._gradients: dict[tuple[bool, ...], Pointwise] = {}

    def _run(self, *tensors: Tensor, **params: Any) -> Any:
        """The kernel, for interpreters: handles of the results."""
        key = sweep_key(tensors, params)
        sweep = None if key is None else self.sweep(key, tensors, params)
        if sweep is None:
            out = self.written(*tensors, **params)
        else:
            out = run_sweep(*sweep, tensors)
        if type(out) is tuple:
            return tuple([lib.cb_retain(t._v) for t in out])
        return lib.cb_retain(out._v)

    def sweep(self, key: Any, tensors: Sequence[Tensor], params: dict[str, Any]) -> Sweep | None:
        """The steps for these operands; None where they do not fit one sweep."""
        try:
            return self._sweeps[key]
        except KeyError:
            if len(self._sweeps) >= _MOST:
                self._sweeps.clear()
            sweep = self._sweeps[key] = self._stage(tensors, params)
            return sweep

    def _stage(self, tensors: Sequence[Tensor], params: dict[str, Any]) -> Sweep | None:
        from .staging.fuse import steps_of
        from .staging.passes import optimize
        from .staging.stage import stage

        def results(operands: list[Tensor]) -> list[Tensor]:
            out = self.written(*operands, **params)
            return list(out) if type(out) is tuple else [out]

        recording, state.grad = state.grad, True
        try:
            examples = [
                empty((2,) if t._shape else (), dtype=t.dtype, device="meta") for t in tensors
            ]
            graph = optimize(stage(results, examples).graph)
        finally:
            state.grad = recording
        steps = steps_of(graph)
        if steps is None:
            return None
        place = {var: i for i, var in enumerate(graph.inputs)}
        operands = tuple([place[v] if v in place else item_of(v.value) for v in steps.operands])
        needed = set(range(self.cotangents or len(tensors)))
        if any(x is None for x in operands) or needed - {x for x in operands if type(x) is int}:
            return None  # or the result would not have the shape of all operands
        return steps.packed(), operands, len(graph.outputs)

    def reads_all(self, tensors: Sequence[Tensor], params: dict[str, Any]) -> bool:
        """Has the result the shape of all operands? The rules for transforms count on it."""
        kinds = [(t.dtype, not t._shape) for t in tensors]
        key = (*kinds, *[(name, type(value), value) for name, value in params.items()])
        return self.sweep(key, tensors, params) is not None

    def _gradient(self, needs: tuple[bool, ...]) -> Callable[..., Any]:
        """The gradients by the operands that need one, of the shape of the cotangents."""
        found = self._gradients.get(needs)
        if found is None:
            wanted = [i for i, need in enumerate(needs) if need]
            count = self.nouts

            def function(*operands: Tensor, **params: Any) -> Any:
                from .transforms.products import vjp

                cts, shape = operands[:count], operands[0]._shape
                inputs = [x.expand(shape) if x._shape else x for x in operands[count:]]

                def of_wanted(*some: Tensor) -> Any:
                    for i, x in zip(wanted, some, strict=True):
                        inputs[i] = x
                    return self.written(*inputs, **params)

                found = vjp(of_wanted, *[inputs[i] for i in wanted])[1](
                    cts if count > 1 else cts[0]
                )
                return found if len(found) > 1 else found[0]

            found = Pointwise(f"{self.name}_grad", function, count, len(wanted))
            self._gradients[needs] = found
        return found.call


def _caller(op: Pointwise) -> Callable[..., Any]:
    def call(*tensors: Any, **params: Any) -> Any:
        key = sweep_key(tensors, params)
        recorded = None if key is None else _wanted(tensors)
        if key is None or recorded is None:
            return interpreted(tensors, params)
        sweep = None if recorded and _mixed(tensors) else op.sweep(key, tensors, params)
        if sweep is None:
            return op.written(*tensors, **params)
        out = run_sweep(*sweep, tensors)
        return record(op, tensors, params, out) if recorded and state.grad else out

    def interpreted(tensors: tuple[Any, ...], params: dict[str, Any]) -> Any:
        known = all(isinstance(t, Tensor) for t in tensors) and not _mixed(tensors)
        known = known and all(isinstance(x, (int, float, NoneType)) for x in params.values())
        if not known or (len(tensors) > 1 and not op.reads_all(tensors, params)):
            return op.written(*tensors, **params)
        return op(*tensors, **params)

    return call


class Reduction(Op):
    """The sum or mean of what a pointwise function gives, in the sweep that makes it.

    Attributes:
      call: the function of tensors and numbers, `dim` and `keepdim` among them.
    """

    __slots__ = ("call",)

    def __init__(self, function: Pointwise, kind: str):
        reduced, code = getattr(reduce, kind), lib.cb_op_code(b"reduce", kind.encode())

        def vjp(
            ct: Any,
            _out: Any,
            *inputs: Tensor,
            needs: Sequence[bool],
            dims: tuple[int, ...],
            keepdim: bool,
            **params: Any,
        ) -> list[Tensor | None]:
            shape = broadcast_shapes(*[x._shape for x in inputs])
            if kind == "mean":
                ct = ct / (prod([shape[d] for d in dims]) or 1)
            ct = reduce._spread(ct, shape, dims, keepdim)
            return function.vjp(ct, None, *inputs, needs=needs, **params)

        def written(
            *tensors: Tensor, dims: tuple[int, ...], keepdim: bool, **params: Any
        ) -> Tensor:
            return reduced(function.call(*tensors, **params), dims, keepdim)

        def call(*tensors: Any, dim: Any = None, keepdim: bool = False, **params: Any) -> Tensor:
            key = sweep_key(tensors, params)
            recorded = None if key is None else _wanted(tensors)
            sweep = None
            if key is not None and recorded is not None and not (recorded and _mixed(tensors)):
                sweep = function.sweep(key, tensors, params)
            if sweep is None:
                return reduced(function.call(*tensors, **params), dim, keepdim)
            dims = reduce._dims(kind, max(tensors, key=_rank), dim)
            out = reduce_sweep(*sweep[:2], tensors, code, dims, keepdim)
            if recorded and state.grad:
                return record(self, tensors, {**params, "dims": dims, "keepdim": keepdim}, out)
            return out

        super().__init__(
            f"{function.name}_{kind}",
            None,
            vjp=vjp,
            decompose=written,
            family="pointwise",
            registered=False,
        )
        self.call = call


def _rank(t: Tensor) -> int:
    return len(t._shape)


def _wanted(tensors: Sequence[Tensor]) -> bool | None:
    """Does one want a gradient? None where something other than the tape has to look at one."""
    wanted = False
    for t in tensors:
        m = t._m
        if m is not None:
            if m.is_view or m.trace is not None:
                return None
            wanted |= m.requires_grad
    return wanted


def _mixed(tensors: Sequence[Tensor]) -> bool:
    """Do some have dimensions and some not? The latter's gradients are sums, and no sweeps."""
    return len({not t._shape for t in tensors}) == 2


def item_of(constant: Tensor | None) -> Tensor | None:
    """The item of a constant, if it is the same for all elements of the example."""
    if constant is None or not constant.ndim:
        return constant
    items = constant.reshape((-1,))
    return items[0] if bool((items == items[0]).all()) else None


class Swept(Protocol):
    """A pointwise function."""

    def __call__(self, *tensors: Any, **numbers: Any) -> Tensor: ...

    def sum(self, *tensors: Any, dim: Any = None, keepdim: bool = False, **numbers: Any) -> Tensor:
        """The sum of what it gives, over dims."""
        ...

    def mean(self, *tensors: Any, dim: Any = None, keepdim: bool = False, **numbers: Any) -> Tensor:
        """The mean of what it gives, over dims."""
        ...


def pointwise(function: Callable[..., Tensor]) -> Swept:
    """The function of elementwise ops, run as one sweep over memory instead of one for each op.

    Values are those of the function as written, bit for bit. All transforms hold; in forward mode
    and compile it runs as written.

    Args:
      function: takes tensors by position and Python numbers by keyword, and gives one tensor made
        of them by elementwise ops alone (arithmetic, comparisons, `where`, casts); it may not
        depend on values or shapes. It is run again for other dtypes and other numbers.
    Returns:
      The function, with two more as attributes: `sum` and `mean` take a `dim` and `keepdim` too and
      give the sum or mean of its values, which are not written to memory.
    Example:
      >>> @pointwise
      ... def swish(x, *, beta):
      ...     return x * (beta * x).sigmoid()
      >>> swish(tensor([-1.0, 2.0]), beta=1.0)
      tensor([-0.2689,  1.7616])
      >>> swish.sum(tensor([-1.0, 2.0]), beta=1.0)
      tensor(1.4927)
      >>> grad(lambda x: swish(x, beta=1.0))(tensor(0.0))
      tensor(0.5000)
    """
    op = Pointwise(function.__name__.strip("_"), function)
    swept = cast(Any, wraps(function)(op.call))
    swept.sum, swept.mean = Reduction(op, "sum").call, Reduction(op, "mean").call
    return swept
