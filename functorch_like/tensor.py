"""The Tensor: a handle to memory in the C core, or a mutable name for a traced value.

Slots: `_v` the C handle (NULL for traced values), `_m` what it carries besides memory (None for
plain tensors: the fast path's one question), `_b` for views the base and how to view it again:
(base, op, params, the base's `_m` then); views made in C have arguments in place of params, see
link_of().
Here is what a tensor is: its shape, dtype, memory and gradient. Operations are attached by
ops/*.py, backward() and hooks by autograd.py, what Python reads by values.py, conversions by
interop.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cbackend import Handle, ffi, lib, plain, prepare, raise_error, wrap

from . import op as op_module
from .dtypes import DTYPES, device, device_from_code, dtype, get_default_dtype
from .errors import DTypeError, GradError, ShapeError, TraceError, message
from .memory_format import in_order
from .size import Size, wrap_dim
from .tape import Node
from .trace import (
    Leaf,
    Meta,
    PrimalValue,
    TracerValue,
    active,
    clock,
    next_sequence,
    state,
    switches,
)

_new = object.__new__
_release, _retain = lib.cb_release, lib.cb_retain


class Tensor(Handle):
    """An n-dimensional array of one dtype on one device, with gradients.

    Make one with `tensor(data)`, `zeros(shape)` and the like. `Tensor(2, 3)` and `Tensor([1, 2])`
    work as in torch: of the default floating dtype.
    """

    __slots__ = ("__weakref__",)  # and those of Handle; what `_v` holds dies with the tensor
    __array_priority__ = 1000  # NumPy leaves mixed expressions to us

    def __new__(cls, *args: Any, **kwargs: Any) -> Tensor:
        from .ops.creation import empty, tensor

        if len(args) == 1 and not isinstance(args[0], (int, Size)):
            t = tensor(args[0], **{"dtype": get_default_dtype(), **kwargs})
        else:
            t = empty(*(args or (0,)), **kwargs)
        return t if cls is Tensor else recast(cls, t)

    if TYPE_CHECKING:
        _m: Any
        _b: Any

        @property
        def dtype(self) -> dtype: ...
        @property
        def shape(self) -> Size: ...

        # attached by values.py, interop.py and autograd.py
        def tolist(self) -> Any: ...
        def numpy(self, *, force: bool = False) -> Any: ...
        def retain_grad(self) -> None: ...
        def register_hook(self, hook: Any) -> Any: ...
        def register_post_accumulate_grad_hook(self, hook: Any) -> Any: ...
        def backward(
            self,
            gradient: Tensor | None = None,
            retain_graph: bool | None = None,
            create_graph: bool = False,
            inputs: Any = None,
        ) -> None: ...
        def __int__(self) -> int: ...
        def __complex__(self) -> complex: ...
        def __index__(self) -> int: ...
        def __iter__(self) -> Iterator[Tensor]: ...
        def __contains__(self, item: Any) -> bool: ...

        # attached by ops/*.py
        def __getattr__(self, name: str) -> Any: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __neg__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __eq__(self, other: Any) -> Any: ...
        def __ne__(self, other: Any) -> Any: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __rfloordiv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __rmod__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __rand__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __ror__(self, other: Any) -> Tensor: ...
        def __xor__(self, other: Any) -> Tensor: ...
        def __rxor__(self, other: Any) -> Tensor: ...
        def __lshift__(self, other: Any) -> Tensor: ...
        def __rlshift__(self, other: Any) -> Tensor: ...
        def __rshift__(self, other: Any) -> Tensor: ...
        def __rrshift__(self, other: Any) -> Tensor: ...
        def __iadd__(self, other: Any) -> Tensor: ...
        def __isub__(self, other: Any) -> Tensor: ...
        def __imul__(self, other: Any) -> Tensor: ...
        def __itruediv__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...

    # ---- shape, dtype, memory ----

    @property
    def _value(self) -> TracerValue:
        m = self._m
        if m.is_view:
            sync(self)
            if self._v:  # its base was given a value with memory
                value = PrimalValue()
                value.primal = self
                return value
            m = self._m
        return m.tracer or m

    def size(self, dim: int | None = None) -> Any:
        """The shape, or one size of it.

        Raises:
          DimError: dim is out of range.
        """
        if dim is None:
            return self.shape
        shape = self._shape
        return shape[wrap_dim("size", dim, len(shape))]

    def dim(self) -> int:
        """The number of dimensions."""
        return self.ndim

    ndimension = dim

    def numel(self) -> int:
        """The number of elements."""
        v = self._v
        return v.numel if v else Size(self._shape).numel()

    nelement = numel

    @property
    def _concrete(self) -> Any:
        """The handle of the tensor or of the value it stands for: dtype and device are the same."""
        t = self
        while not t._v:
            t = t._value.inner()
        return t._v

    @property
    def device(self) -> device:
        """Where the tensor lives."""
        v = self._v
        return device_from_code(v.device if v else self._place)

    @property
    def _place(self) -> int:
        """The device's code; of a tracer the one its value will be on."""
        t = self
        while not t._v:
            value = t._value
            if value.place is not None:
                return value.place
            t = value.inner()
        return t._v.device

    def _current(self) -> Meta | None:
        """The meta, of a view after it has taken up what was written to its base."""
        m = self._m
        if m is not None and m.is_view:
            sync(self)
            m = self._m
        return m

    def _memory(self, what: str) -> Any:
        """The handle, when there is one."""
        self._current()
        if not self._v:
            raise self._value.trace.refused(what)
        return self._v

    def stride(self, dim: int | None = None) -> Any:
        """The distance between neighbours along each dimension, in elements."""
        strides = self._strides()
        return strides if dim is None else strides[wrap_dim("stride", dim, len(strides))]

    def _strides(self) -> tuple[int, ...]:
        """The strides; those of one lane for a mapped value."""
        self._current()
        v = self._v
        if v:
            return tuple(ffi.unpack(v.strides, v.ndim)) if v.ndim else ()
        value = self._value
        strides = value.inner()._strides()
        return strides[len(strides) - len(value.shape) :]

    def storage_offset(self) -> int:
        """The position of the first element in the storage, in elements."""
        return self._memory("storage_offset").offset

    def data_ptr(self) -> int:
        """The address of the first element."""
        return int(ffi.cast("uintptr_t", self._memory("data_ptr").data))

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Do the elements lie in row-major order, or in a memory format's, without gaps?"""
        if memory_format is not None:
            return in_order("is_contiguous", self, memory_format).is_contiguous()
        self._current()
        if self._v:
            return bool(self._v.flags & 2)
        step, shape = 1, self._shape
        for size, stride in zip(reversed(shape), reversed(self._strides()), strict=True):
            if size != 1 and stride != step and 0 not in shape:
                return False
            step *= size
        return True

    def element_size(self) -> int:
        """Bytes an element."""
        return self.dtype.itemsize

    @property
    def itemsize(self) -> int:
        """Bytes an element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.numel() * self.dtype.itemsize

    def is_floating_point(self) -> bool:
        """Is the dtype float16, bfloat16, float32 or float64?"""
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        """Is the dtype complex?"""
        return self.dtype.is_complex

    def is_signed(self) -> bool:
        """Can the dtype hold negative numbers?"""
        return self.dtype.is_signed

    @property
    def is_meta(self) -> bool:
        """Has the tensor shape and dtype only?"""
        return self.device.type == "meta"

    @property
    def is_cuda(self) -> bool:
        """Is the tensor on a GPU?"""
        return self.device.type == "cuda"

    @property
    def is_cpu(self) -> bool:
        """Is the tensor in main memory?"""
        return self.device.type == "cpu"

    @property
    def _version(self) -> int:
        """The clock value of the last write to the memory."""
        return lib.cb_last_write(self._v) if self._v else 0

    def _alias(self) -> Tensor:
        """Another plain shell for the same value: memory, or a tracer; without tape."""
        m = self._m
        if m is not None:
            m = self._current()
        t = plain(_retain(self._v))
        if m is not None and m.trace is not None:
            t._m = m.tracer or m
        return t

    # ---- gradient ----

    @property
    def requires_grad(self) -> bool:
        """Does the tape record what is computed from this tensor?"""
        m = self._current()
        return m is not None and m.requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Asks for a gradient (or no longer), in place.

        Raises:
          DTypeError: the dtype is not floating or complex.
          GradError: switched off on a result of recorded operations: use detach().
        """
        m = self._current()
        if bool(requires_grad) == (m is not None and m.requires_grad):
            return self
        if m is not None and not requires_grad:
            if m.op is not None:
                raise GradError(
                    message(
                        "requires_grad_",
                        "a leaf to switch off",
                        "a result of recorded operations",
                        "Use detach().",
                    )
                )
            if m.trace is not None:
                self._m = m.tracer
            else:
                m.requires_grad = False  # still the leaf that graphs lead to
                switches[0] += 1
            return self
        if not self.dtype.is_inexact:
            raise DTypeError(
                message(
                    "requires_grad_",
                    "a floating or complex tensor",
                    self.dtype,
                    "Cast with .float().",
                )
            )
        trace = state.trace if active else None
        inside = m is not None and m.inside is trace
        if trace is not None and not inside and not trace.owns(self):
            raise TraceError(
                message(
                    "requires_grad_",
                    f"a tensor made inside {trace.name}",
                    "one captured from outside",
                    "Use detach().requires_grad_(), or pass it in as an argument.",
                )
            )
        switches[0] += 1
        if type(m) is Leaf:
            m.requires_grad = True
            return self
        self._m = leaf = Leaf()
        leaf.seq = next_sequence()
        leaf.stand_on(m)
        if m is not None:
            leaf.grad, leaf.history = m.grad, m.history
        return self

    @property
    def is_leaf(self) -> bool:
        """Is the tensor not a result of recorded operations?"""
        m = self._current()
        return m is None or m.op is None

    @property
    def grad_fn(self) -> Any:
        """The recorded operation that made the tensor, or None."""
        m = self._current()
        if m is None or m.op is None:
            return None
        return m if isinstance(m, Node) else m.node

    @property
    def grad(self) -> Tensor | None:
        """The accumulated gradient, after backward()."""
        if active and state.trace is not None:
            state.trace.read_grad(self)
        m = self._m
        return None if m is None else m.grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(message("grad", "a tensor or None", type(value).__name__))
            if value._shape != self._shape:
                raise ShapeError(message("grad", f"shape {list(self._shape)}", list(value._shape)))
            if value.dtype is not self.dtype:
                raise DTypeError(
                    message("grad", f"dtype {self.dtype}", value.dtype, "Cast it with to().")
                )
            if value is self:
                raise GradError(
                    message("grad", "another tensor", "the tensor itself", "Assign a clone().")
                )
        if self._m is None:
            if value is None:
                return
            self._m = Meta()
        if active and state.trace is not None:
            state.trace.note_grad(self._m, reads=False)
        self._m.grad = value

    @property
    def data(self) -> Tensor:
        """The same memory without the tape. Assigning replaces the memory."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        if value._v and self._v:
            clock[0] += 1
            self._v, old = lib.cb_retain(value._v), self._v
            _release(old)
        else:
            raise TraceError(
                message("data", "tensors with memory", "a traced tensor", "Use copy_().")
            )

    def __len__(self) -> int:
        shape = self._shape
        if not shape:
            raise TypeError(message("len", "at least one dimension", "a 0-d tensor"))
        return shape[0]

    def __hash__(self) -> int:
        return id(self)

    @staticmethod
    def _make_subclass(
        cls: Any,  # pyright: ignore[reportSelfClsParameterName]
        data: Tensor,
        requires_grad: bool = False,
    ) -> Any:
        """A tensor of a subclass over the memory of `data`."""
        t = recast(cls, data._alias())
        t.requires_grad_(requires_grad)
        return t


def recast(cls: type, t: Tensor) -> Any:
    """Moves the value of a fresh tensor into an instance of a subclass."""
    s = _new(cls)
    s._v, s._m = t._v, t._m
    view = getattr(t, "_b", None)
    if view is not None:
        s._b = view
    t._v, t._m = ffi.NULL, None
    return s


def link_of(t: Tensor) -> Any:
    """What a view is a view of, as `_b` has it, with params; None for others."""
    link = getattr(t, "_b", None)
    if link is not None and type(link[2]) is not dict:
        base, op, arguments, seen = link
        link = t._b = base, op, op.unpack(arguments), seen
    return link


def ones_of(x: Tensor) -> Tensor:
    """Ones of x's shape, dtype and device: where a backward pass starts."""
    v = x._v
    if v:
        return wrap(lib.cb_ones_like(v))
    shape = x._shape
    return wrap(lib.cb_full(x._concrete.dtype, x._place, len(shape), shape, _ONE))


_ONE = ffi.new("cb_scalar *", {"kind": ord("i"), "i": 1})


def traced(value: TracerValue) -> Tensor:
    """A tensor for a tracer's value."""
    t = plain(ffi.NULL)
    t._m = value
    return t


def known_regular(out: Tensor) -> bool:
    """Is the fresh result of an elementwise operation known to have its inputs' shape and dtype?"""
    v = out._v
    return not v.flags & 8 if v else out._m.regular


def sync(t: Tensor) -> None:
    """Brings a view up to date with a base that has been given a new value.

    Its own old value goes to its history.
    """
    if t._m.clock == clock[0]:  # nothing was written since it was recorded
        return
    views = []  # views of views, to any depth: those nearer to the root first
    link = link_of(t)
    while link is not None:  # an old value of a view has none
        views.append((t, link))
        t = link[0]
        m = t._m
        link = link_of(t) if m is not None and m.is_view else None
    for view, (base, op, params, seen) in reversed(views):
        if base._m is not seen:
            _renew(view, base, op, params)


def _renew(t: Tensor, base: Tensor, op: Any, params: dict[str, Any]) -> None:
    m = base._m
    # it was recorded when it was made, wherever it is looked at; a view of a leaf may not have been
    saved, state.grad = state.grad, type(m) is not Leaf or t._m.requires_grad
    trace = state.trace if active else None
    if trace is not None:
        state.trace = trace.recorded()
    try:
        fresh = op_module.dispatch(op, (base,), params)
    finally:
        state.grad = saved
        if trace is not None:
            state.trace = trace
    replace(t, fresh)
    t._m.is_view = True
    t._b = (base, op, params, m)


def replace(t: Tensor, new: Tensor) -> None:
    """Moves the value of `new` into `t`.

    The old value stays in t's history, for those who saved it.
    """
    clock[0] += 1
    m = t._m
    old = plain(lib.cb_retain(t._v))
    old._m = m
    t._v, new._v = new._v, t._v
    kept = new._m or Meta()
    if isinstance(m, Leaf) and not kept.requires_grad:
        kept = Leaf()  # written under no_grad: still the leaf that graphs of earlier values lead to
        kept.requires_grad = m.requires_grad
        kept.stand_on(new._m)
        kept.seq, kept.watched = m.seq, m.watched
        kept.hooks, kept.after_hooks = m.hooks, m.after_hooks
        m.successor = kept
    t._m = kept
    new._m = None
    kept.is_view = False
    if m is None:
        kept.history = (clock[0], old, None)
        return
    kept.history = (clock[0], old, m.history)
    if m.grad is not None:
        kept.grad = m.grad
    if m.retains_grad:  # asked of the tensor, so of its value when backward() comes
        kept.retains_grad = kept.watched = True
        m.retains_grad = False


op_module.sync = sync
prepare(Tensor, Size, DTYPES, active, state, raise_error)
__all__ = [
    "Size",
    "Tensor",
    "known_regular",
    "ones_of",
    "recast",
    "replace",
    "sync",
    "traced",
    "wrap",
    "wrap_dim",
]
