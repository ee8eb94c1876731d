"""The Tensor: a handle to memory in the C core, or a mutable name for a traced value.

Slots: `_v` the C handle (NULL for traced values), `_m` what it carries besides memory (None for
plain tensors: the fast path's one question), `_b` for views the base and how to view it again.
Operations are attached by ops/*.py; here is what a tensor is: its shape, dtype, memory, gradient
and conversions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

from cbackend import ffi, lib, raise_error

from . import op as op_module
from .dtypes import DTYPES, device, device_from_code, dtype
from .errors import DimError, DTypeError, GradError, ShapeError, TraceError, message
from .tape import Node
from .trace import Leaf, Meta, TracerValue, active, clock, next_sequence, state

_new = object.__new__
watched_leaves = [0]  # how many hooks of leaves were ever registered: none, and nobody looks
_release, _retain = lib.cb_release, lib.cb_retain
if TYPE_CHECKING:  # autograd.backward: set by autograd.py, which imports this module

    def run_backward_from(*args: Any) -> None: ...


class Size(tuple):
    """A shape: a tuple of ints that also knows its product."""

    __slots__ = ()

    def numel(self) -> int:
        """The product of the sizes."""
        n = 1
        for size in self:
            n *= size
        return n

    def __repr__(self) -> str:
        return f"Size({list(self)})"

    def __getitem__(self, i: Any) -> Any:
        item = tuple.__getitem__(self, i)
        return Size(item) if isinstance(i, slice) else item

    def __add__(self, other: Any) -> Size:
        return Size(tuple.__add__(self, tuple(other)))


class Tensor:
    """An n-dimensional array of one dtype on one device, with gradients.

    Make one with `tensor(data)`, `zeros(shape)` and the like. `Tensor(2, 3)` and
    `Tensor([1.0, 2.0])` work as in torch.
    """

    __slots__ = ("__weakref__", "_b", "_m", "_v")
    __array_priority__ = 1000  # NumPy leaves mixed expressions to us

    def __new__(cls, *args: Any, **kwargs: Any) -> Tensor:
        from .ops.creation import empty, tensor

        if len(args) == 1 and not isinstance(args[0], int):
            t = tensor(args[0], **kwargs)
        else:
            t = empty(*args, **kwargs)
        return t if cls is Tensor else _recast(cls, t)

    def __del__(self, _release: Any = _release) -> None:
        _release(self._v)

    if TYPE_CHECKING:
        _v: Any
        _m: Any
        _b: Any

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
    def _shape(self) -> tuple[int, ...]:
        v = self._v
        if v:
            n = v.ndim
            return (v.shape[0],) if n == 1 else tuple(ffi.unpack(v.shape, n)) if n else ()
        return self._value.shape

    @property
    def _value(self) -> TracerValue:
        m = self._m
        if m.is_view:
            sync(self)
            m = self._m
        return m.tracer or m

    @property
    def shape(self) -> Size:
        """The sizes of all dimensions."""
        return Size(self._shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or one size of it.

        Raises:
          DimError: dim is out of range.
        """
        shape = self._shape
        if dim is None:
            return Size(shape)
        return shape[wrap_dim("size", dim, len(shape))]

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        v = self._v
        return v.ndim if v else self._value.ndim

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
    def dtype(self) -> dtype:
        """The type of the elements."""
        return DTYPES[(self._v or self._concrete).dtype]

    @property
    def device(self) -> device:
        """Where the tensor lives."""
        return device_from_code(self._place)

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

    def is_contiguous(self) -> bool:
        """Do the elements lie in row-major order without gaps?"""
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
        t = _new(Tensor)
        t._v = _retain(self._v)
        t._m = None if m is None or m.trace is None else m.tracer or m
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
            self._m = kept = Meta() if m.history or m.grad is not None else None
            if m.trace is not None:
                self._m = m.tracer
            elif kept is not None:
                kept.history, kept.grad = m.history, m.grad
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

    def retain_grad(self) -> None:
        """Keeps the gradient of this intermediate result in .grad after backward()."""
        if not self.requires_grad:
            raise GradError(
                message("retain_grad", "a tensor that requires grad", "one that does not")
            )
        if self._m.op is not None:
            self._m.retains_grad = self._m.watched = True

    def register_hook(self, hook: Any) -> Any:
        """Calls `hook(grad)` when the gradient of this tensor is complete.

        A tensor that it returns replaces the gradient.

        Returns:
          A handle with remove().
        """
        if not self.requires_grad:
            raise GradError(
                message(
                    "register_hook",
                    "a tensor that requires grad",
                    "one that does not",
                    "Call requires_grad_() first.",
                )
            )
        m = self._m
        m.watched = True
        m.hooks = m.hooks or []
        m.hooks.append(hook)
        return HookHandle(m, "hooks", hook)

    def register_post_accumulate_grad_hook(self, hook: Any) -> Any:
        """Calls `hook(tensor)` when backward() has added to this leaf's .grad.

        That is while the pass still runs, as soon as every use of the leaf has contributed.
        """
        if not self.requires_grad or not self.is_leaf:
            raise GradError(
                message(
                    "register_post_accumulate_grad_hook",
                    "a leaf that requires grad",
                    "another tensor",
                )
            )
        m = self._m
        m.after_hooks = m.after_hooks or []
        owner = ref(self)  # the meta must not keep its tensor alive

        def with_tensor(_meta: Any) -> None:
            t = owner()
            if t is not None:
                hook(t)

        m.after_hooks.append(with_tensor)
        watched_leaves[0] += 1
        return HookHandle(m, "after_hooks", with_tensor)

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Adds the gradient of this tensor with respect to every leaf to that leaf's .grad.

        Args:
          gradient: the cotangent to start from; may be left out for a tensor with one element.
          retain_graph: keep what was saved, for another backward. Default: create_graph.
          create_graph: record the backward pass itself, for higher derivatives.
          inputs: tensors to restrict to.
        Raises:
          GradError: nothing here requires grad; not a scalar; the graph was freed; a saved tensor
            was overwritten.
        Example:
          >>> x = tensor([1.0, 2.0], requires_grad=True)
          >>> (x**2).sum().backward()
          >>> x.grad
          tensor([2., 4.])
        """
        run_backward_from(self, gradient, retain_graph, create_graph, inputs)

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

    # ---- values ----

    def item(self) -> Any:
        """The only element as a Python number.

        Raises:
          ShapeError: there is not exactly one element.
        """
        self._current()
        v = self._v
        if not v:
            return self._value.trace.read(self, "item")
        out = ffi.new("cb_scalar *")
        if lib.cb_item(v, out):
            raise_error()
        return _SCALAR[out.kind](out)

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        v = self._memory("tolist")
        if v.ndim == 0:
            return self.item()
        flat = self._flat_list()
        for size in reversed(self._shape[1:]):
            if size:
                flat = [flat[i : i + size] for i in range(0, len(flat), size)]
            else:
                return _nothing(self._shape)
        return flat

    def _flat_list(self) -> list[Any]:
        """All elements in row-major order."""
        d = self.dtype
        wide = d if d.name not in ("float16", "bfloat16") else DTYPES[lib.CB_F32]
        if d.is_complex:
            wide = DTYPES[lib.CB_C128]
        near = _checked(lib.cb_to_device(self._memory("tolist"), lib.CB_CPU))
        h = _checked(lib.cb_cast(near, wide.code))
        c = _checked(lib.cb_contiguous(h))
        n = c.numel
        if d.is_complex:
            pairs = ffi.unpack(ffi.cast("double *", c.data), 2 * n) if n else []
            flat: list[Any] = [complex(pairs[i], pairs[i + 1]) for i in range(0, 2 * n, 2)]
        else:
            flat = list(ffi.unpack(ffi.cast(_C_TYPES[wide.code] + " *", c.data), n)) if n else []
        if d.name == "bool":
            flat = [bool(i) for i in flat]
        elif d.itemsize == 1 and flat and isinstance(flat[0], bytes):
            flat = [i[0] if d.name == "uint8" else i[0] - 256 * (i[0] > 127) for i in flat]
        _release(near)
        _release(h)
        _release(c)
        return flat

    def __bool__(self) -> bool:
        self._current()
        v = self._v
        if not v:
            return self._value.trace.read(self, "bool")
        if v.numel != 1:
            raise ValueError(
                message(
                    "bool",
                    "a tensor with one element",
                    f"shape {list(self._shape)}",
                    "Use .any() or .all().",
                )
            )
        return bool(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self.dtype.is_inexact:
            raise DTypeError(
                message("index", "an integer tensor", self.dtype, "Cast with .long().")
            )
        return int(self.item())

    def __len__(self) -> int:
        shape = self._shape
        if not shape:
            raise TypeError(message("len", "at least one dimension", "a 0-d tensor"))
        return shape[0]

    def __iter__(self) -> Any:
        if not self._shape:
            raise TypeError(
                message("iter", "at least one dimension", "a 0-d tensor", "Use .item().")
            )
        return iter([self[i] for i in range(len(self))])

    def __contains__(self, item: Any) -> bool:
        return bool((self == item).any())

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        from .printing import tensor_text

        return tensor_text(self)

    def __str__(self) -> str:
        if not self._v:
            self._shown()
        return repr(self)

    def _shown(self) -> None:
        """Somebody wants to read a tracer: transforms show it, compile would do so only once."""
        trace = self._value.trace
        if not trace.finished and trace.is_staging():
            raise trace.refused("print")

    def __format__(self, spec: str) -> str:
        if not self._v:
            self._shown()
        return (
            format(self.item(), spec)
            if self.ndim == 0 and self._v
            else object.__format__(self, spec)
            if spec
            else repr(self)
        )

    # ---- other libraries ----

    def numpy(self, *, force: bool = False) -> Any:
        """The same memory as a NumPy array; both see later writes.

        Raises:
          GradError: the tensor requires grad: call detach() first, or pass force=True.
          DTypeError: NumPy has no bfloat16.
        """
        if force:
            return self.detach().cpu().numpy()
        if self.requires_grad:
            raise GradError(
                message(
                    "numpy",
                    "a tensor that does not require grad",
                    "one that does",
                    "Use tensor.detach().numpy().",
                )
            )
        from .interop import to_numpy

        return to_numpy(self)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        array = self.numpy()
        if copy:
            return array.astype(array.dtype if dtype is None else dtype, copy=True)
        if dtype is None or array.dtype == dtype:
            return array
        if copy is False:
            raise ValueError(
                message(
                    "__array__",
                    f"dtype {array.dtype} where no copy may be made",
                    dtype,
                    "Pass copy=None.",
                )
            )
        return array.astype(dtype)

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: Any = None,
        dl_device: Any = None,
        copy: Any = None,
    ) -> Any:
        asked = {"stream": stream, "max_version": max_version, "dl_device": dl_device, "copy": copy}
        # NumPy before 2.1 knows the first only
        return self.numpy().__dlpack__(**{k: v for k, v in asked.items() if v is not None})

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0) if self.is_cpu else (2, self.device.index or 0)

    def __reduce_ex__(self, protocol: Any) -> Any:
        from .interop import rebuild, to_bytes

        return rebuild, (
            type(self),
            to_bytes(self),
            self.dtype.name,
            self._shape,
            self.requires_grad,
            str(self.device),
        )

    def __copy__(self) -> Tensor:
        t = self.detach() if self._v else self._alias()
        if self.requires_grad and self.is_leaf:
            t.requires_grad_()
        return t if type(self) is Tensor else _recast(type(self), t)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:
            raise GradError(
                message("deepcopy", "a leaf", "a result of recorded operations", "Copy x.detach().")
            )
        t = self.detach().clone()
        if type(self) is not Tensor:
            t = _recast(type(self), t)
        t.requires_grad_(self.requires_grad)
        if self.grad is not None:
            t.grad = self.grad.detach().clone()
        memo[id(self)] = t
        return t

    @staticmethod
    def _make_subclass(
        cls: Any,  # pyright: ignore[reportSelfClsParameterName]
        data: Tensor,
        requires_grad: bool = False,
    ) -> Any:
        """A tensor of a subclass over the memory of `data`."""
        t = _recast(cls, data._alias())
        t.requires_grad_(requires_grad)
        return t


_C_TYPES = [
    "unsigned char", "uint8_t", "int8_t", "uint16_t", "int16_t", "uint32_t", "int32_t", "uint64_t",
    "int64_t", "uint16_t", "uint16_t", "float", "double",
]  # fmt: skip
_SCALAR = {
    ord("b"): lambda s: bool(s.i),
    ord("i"): lambda s: s.i,
    ord("u"): lambda s: s.u,
    ord("f"): lambda s: s.re,
    ord("c"): lambda s: complex(s.re, s.im),
}


def _nothing(shape: tuple[int, ...]) -> list[Any]:
    """Nested lists of a shape without elements."""
    return [_nothing(shape[1:]) for _ in range(shape[0])]


class HookHandle:
    """Returned by the functions that register hooks."""

    def __init__(self, owner: Any, attribute: str, hook: Any):
        self._owner, self._attribute, self._hook = owner, attribute, hook

    def remove(self) -> None:
        """Takes the hook out again."""
        hooks = getattr(self._owner, self._attribute)
        if hooks and self._hook in hooks:
            hooks.remove(self._hook)


def _checked(handle: Any) -> Any:
    if not handle:
        raise_error()
    return handle


def _recast(cls: type, t: Tensor) -> Any:
    """Moves the value of a fresh tensor into an instance of a subclass."""
    s = _new(cls)
    s._v, s._m = t._v, t._m
    t._v, t._m = ffi.NULL, None
    return s


def wrap(handles: Any) -> Any:
    """A plain tensor for a new handle, a tuple of them for a tuple; raises the C error for NULL."""
    if not handles:
        raise_error()
    if type(handles) is tuple:
        return tuple([wrap(h) for h in handles])
    t = _new(Tensor)
    t._v = handles
    t._m = None
    return t


def viewed(x: Tensor, op: Any, params: dict[str, Any], handle: Any) -> Tensor:
    """A view of a plain tensor, outside of traces, that op(x, **params) would make."""
    if not handle:
        raise_error()
    t = _new(Tensor)
    t._v = handle
    t._m = None
    t._b = (x, op, params, None)
    return t


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
    t = _new(Tensor)
    t._v = ffi.NULL
    t._m = value
    return t


def known_regular(out: Tensor) -> bool:
    """Is the fresh result of an elementwise operation known to have its inputs' shape and dtype?"""
    v = out._v
    return not v.flags & 8 if v else out._m.regular


def wrap_dim(op: str, dim: int, ndim: int) -> int:
    """A dim in [0, ndim), from one that may be negative. A 0-d tensor counts as 1-d.

    Raises:
      DimError: dim is out of range.
    """
    n = ndim or 1
    if -n <= dim < n:
        return dim + n if dim < 0 else dim
    raise DimError(
        message(op, f"a dim in [{-n}, {n - 1}]", dim, f"The tensor has {ndim} dimensions.")
    )


def sync(t: Tensor) -> None:
    """Brings a view up to date with a base that has been given a new value.

    Its own old value goes to its history.
    """
    view = getattr(t, "_b", None)
    if view is None:  # an old value of a view
        return
    base, op, params, seen = view
    m = base._m
    if m is not None and m.is_view:
        sync(base)
        m = base._m
    if m is seen:
        return
    # it was recorded when it was made, wherever it is looked at; a view of a leaf may not have been
    saved, state.grad = state.grad, type(m) is not Leaf or t._m.requires_grad
    try:
        fresh = op_module.dispatch(op, (base,), params)
    finally:
        state.grad = saved
    replace(t, fresh)
    t._m.is_view = True
    t._b = (base, op, params, m)


def replace(t: Tensor, new: Tensor) -> None:
    """Moves the value of `new` into `t`.

    The old value stays in t's history, for those who saved it.
    """
    clock[0] += 1
    m = t._m
    old = _new(Tensor)
    old._v, old._m, old._b = lib.cb_retain(t._v), m, None
    t._v, new._v = new._v, t._v
    kept = new._m or Meta()
    if m is not None and m.requires_grad and m.op is None and not kept.requires_grad:
        kept = Leaf()  # written under no_grad: still the leaf that graphs of earlier values lead to
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


op_module.wrap = wrap
op_module.sync = sync
__all__ = [
    "HookHandle",
    "Size",
    "Tensor",
    "known_regular",
    "ones_of",
    "replace",
    "sync",
    "traced",
    "wrap",
    "wrap_dim",
]
