"""The current interpreter, and what hangs on a tensor that is more than memory.

A transform runs a function under a Trace. Operations go to the calling thread's current trace,
which unwraps its own tracers, evaluates the operation in its parent's context and wraps the result:
context decides, there are no levels. `active` lists all entered traces of all threads, so that
plain code pays one truth test for the whole machinery. Leaving a trace restores the parent,
whatever happens inside, and ends the life of its tracers.
"""

# `_v`, `_m` and `_b` are the package's own protocol; the grad modes are also decorators
# pyright: reportPrivateUsage=false, reportInconsistentConstructor=false

from __future__ import annotations

import os
import sys
import threading
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias

from cbackend import Record, leave, lib

from .errors import TraceError

if TYPE_CHECKING:
    from collections.abc import Generator

    from .op import Op
    from .tensor import Tensor


_storage_serial = lib.cb_storage_serial


class _State(threading.local):
    trace: Trace | None = None  # the current interpreter of this thread
    grad = True  # does the tape record?


state = _State()
next_sequence = count(1).__next__  # numbers recorded operations and traced values by age
active: list[Trace] = []

# Advanced by every write to a tensor. A tape node remembers the value at which it was made; a
# storage, the value at which it was last written: that is how a saved tensor that was overwritten
# is noticed.
clock = [0]

# How often requires_grad or the hooks of a tensor changed: of those that it captured, a program
# depends on them.
switches = [0]


class Meta:
    """What a tensor carries besides memory.

    Plain tensors have none, and that is the fast path's only question.

    The defaults stand on the class: most instances set a few of them. What is looked at for every
    operation is set on the instances made for every operation as well (for the tape by Record):
    Python finds it there twenty times faster.
    """

    requires_grad = False
    trace: Trace | None = None  # the trace the tensor belongs to, when it is a tracer
    tracer: TracerValue | None = None  # the tracer under a tape's meta; a TracerValue is its own
    op: Op | None = None  # the operation that made it, on the tape
    seq: int  # with op: later values have larger numbers
    index: int | None = None  # which output of that operation
    node: Any  # with index: the operation's node
    grad: Tensor | None = None
    retains_grad = False
    hooks: list[Any] | None = None  # called with the gradient
    after_hooks: list[Any] | None = None  # called after accumulation
    # earlier values: (clock at which it was replaced, the value, those before it)
    history: Any = None
    is_view = False
    inside: Trace | None = None  # the trace in which detach() made the tensor, from older memory
    # of a tracer: is it known to be made elementwise from tensors of its shape and dtype?
    regular = False
    # of a leaf: its meta since it was given another value by a write that is not recorded
    successor: Leaf | None = None
    clock = -1  # of a recorded operation that saves something: the clock when it was made
    # has hooks, retains its gradient or is one of several outputs: the backward pass looks closer
    watched = False

    def stand_on(self, other: Meta | None) -> None:
        """Becomes the tape's meta of a tensor that had `other`."""
        if other is not None and other.trace is not None:
            self.trace, self.tracer = other.trace, other.tracer or other  # type: ignore[assignment]

    def last(self) -> Any:
        """What a leaf is by now."""
        meta: Any = self
        while meta.successor is not None:
            meta = meta.successor
        return meta


def asked_of(m: Meta | None) -> tuple[Any, ...]:
    """What a tensor with this meta wants of a backward pass."""
    if m is None or not m.requires_grad:
        return ()
    return (None, *(m.hooks or ()), None, *(m.after_hooks or ()))


class Leaf(Record, Meta):
    """A tensor whose gradient was asked for by requires_grad; seq: when."""

    def __init__(self) -> None:
        self.seq = 0
        self.hooks = self.successor = None


class TracerValue(Meta):
    """A value of one trace.

    Subclasses add what the trace needs; all know their logical shape and dtype.
    """

    trace: Trace  # pyright: ignore[reportIncompatibleVariableOverride]
    place: int | None = None  # the device's code, where inner() does not tell

    @property
    def shape(self) -> tuple[int, ...]:
        raise NotImplementedError

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def inner(self) -> Tensor:
        """A tensor of the parent context with the same dtype and device."""
        raise NotImplementedError


class PrimalValue(TracerValue):
    """A value with a primal: a value of the parent context, of its shape."""

    primal: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return self.primal._shape

    @property
    def ndim(self) -> int:
        return self.primal.ndim

    def inner(self) -> Tensor:
        return self.primal


class Trace:
    """An interpreter: one run of a transformed function."""

    name = "trace"
    functional = False  # is a write always a new value, also of tensors made inside?

    finished = False
    parent: Trace | None = None  # the context below
    site: Any = None  # of the call that started the trace, see _user_site
    aliases: list[Tensor] | None = None  # when staging: the detached aliases that were made

    def __enter__(self):
        self.parent = state.trace
        self.site = _user_site()
        self.first = next_sequence()
        self.first_storage = _storage_serial()
        try:
            active.append(self)
            state.trace = self
            return self
        except BaseException:  # an interrupt: __exit__ will not be called
            active.remove(self)
            raise

    # In C: an interrupt may come before the first line of a function in Python, and the trace stay.
    __exit__ = leave

    # Shorter ways for elementwise ops of one and two operands, `one(op, function, x)` and
    # `two(op, function, x, y)`, or None; they give None themselves for operands that need the
    # general way. `function`, the public one, evaluates the op in the parent's context.
    one: Any = None
    two: Any = None

    def process(self, op: Op, args: tuple[Tensor, ...], params: dict[str, Any]) -> Any:
        """Evaluates an operation on tensors, of which some are this trace's tracers."""
        raise NotImplementedError

    @property
    def made_at(self) -> str:
        """`file:line` of the call that started this trace."""
        return line_of(self.site)

    def settle(self) -> None:
        """Takes note of what was computed last; called before a backward pass starts."""

    def owns(self, t: Tensor) -> bool:
        """Was the tensor made since this trace was entered?"""
        if t._v:
            return lib.cb_storage_born(t._v) >= self.first_storage
        return (t._m.tracer or t._m).seq >= self.first

    def heeds_no_grad(self) -> bool:
        """no_grad begins: does this trace compute gradients?"""
        return False

    def carry(self, old: Tensor, new: Tensor) -> Tensor:
        """What stands in `old` after `new` is written to it; see transforms/unrecorded.py."""
        del old
        return new

    def recorded(self) -> Trace:
        """This trace without the no_grad that lies over it."""
        return self

    def meet_custom(self) -> None:
        """A custom function's own computation is about to be used in the place of its rules."""

    def capture_write(self, t: Tensor) -> None:
        """A write to a tensor from outside is about to happen; asked of functional traces only."""

    def note_grad(self, meta: Meta, reads: bool) -> bool:
        """The .grad of a tensor is about to be set, or added to where it `reads`.

        Says whether gradients of tensors from outside may hold this trace's values.
        """
        del meta, reads
        return False

    def read_grad(self, t: Tensor) -> None:
        """The .grad of a tensor is about to be read."""
        if self.parent is not None:
            self.parent.read_grad(t)

    def read(self, t: Tensor, how: str) -> Any:
        """The Python value (bool or item) of a tracer."""
        raise TraceError(
            f"{how}: expected a tensor with one known value, got a tracer of {self.within()}. "
            "Use where() instead of if, or move the decision outside the transform."
        )

    def refused(self, what: str) -> TraceError:
        """The error for something that needs the memory of this trace's tensors."""
        if self.is_staging():
            return TraceError(
                f"{what}: expected a tensor with memory, got one that is being compiled (at "
                f"{line_of(_user_site())}). Call the code that needs its values by "
                "callback(function, result_like, x), or outside of the compiled function."
            )
        return TraceError(
            f"{what}: expected a tensor with memory, got a tracer of {self.within()}. "
            "Return the tensor from the transformed function and look at it there."
        )

    def strayed(self, what: str) -> TraceError:
        """The error for tracers of this trace in another context."""
        return TraceError(
            f"{what}: expected tensors of the current context, got a tracer of a "
            f"{'finished ' if self.finished else ''}{self.name} (called at {self.made_at}). "
            "Return it from the function instead of storing it."
        )

    def is_staging(self) -> bool:
        """Is it within a run that only writes down what is to be computed?"""
        return self.parent is not None and self.parent.is_staging()

    def within(self) -> str:
        """The stack of transforms from the outermost in, for messages."""
        names: list[str] = []
        trace: Trace | None = self
        while trace is not None:
            names.append(trace.name)
            trace = trace.parent
        return " of ".join(names)


class Context:
    """Runs a block with `trace` as the thread's current one; with None, outside of all."""

    __slots__ = ("saved", "trace")

    def __init__(self, trace: Trace | None):
        self.trace = trace

    def __enter__(self) -> None:
        self.saved, state.trace = state.trace, self.trace

    def __exit__(self, *exc: object) -> None:
        state.trace = self.saved


class Outside(Context):
    """Runs a block in the context of `trace`'s parent, where rules and backward passes run."""

    __slots__ = ()

    def __init__(self, trace: Trace):
        self.trace = trace.parent


class Untraced(Context):
    """Runs a block outside of all transforms, on the values that tensors have."""

    __slots__ = ()

    def __init__(self) -> None:
        self.trace = None


_PACKAGE = os.path.dirname(__file__)


def _user_site() -> Any:
    """Code and instruction of the nearest frame outside this package.

    Cheap to take, resolved when a message needs it.
    """
    frame = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return None if frame is None else (frame.f_code, frame.f_lasti)


def line_of(site: Any) -> str:
    """`file:line` of what _user_site() gave."""
    if site is None:
        return "an unknown line"
    code, instruction = site
    line = next((n for start, end, n in code.co_lines() if start <= instruction < end), None)
    return f"{code.co_filename}:{line}"


# was the tape on, and the traces before and after the switch
_Modes: TypeAlias = "tuple[bool, Trace | None, Trace | None]"


class _GradMode:
    """Switches the tape.

    A context manager and a decorator, also of generators and without parentheses.
    """

    enabled = False
    tape_only = False  # do transforms go on as they are?

    def __new__(cls, function: Any = None) -> Any:
        mode = object.__new__(cls)
        if not callable(function):
            return mode
        mode.__init__()
        return mode(function)

    def __init__(self) -> None:
        self.saved: list[_Modes] = []

    def _switch(self) -> _Modes:
        """Begins the mode; gives what _restore() takes."""
        before = after = state.trace if active else None
        if before is not None and not self.tape_only:
            from .transforms.unrecorded import switched

            state.trace = after = switched(before, self.enabled)
        grad, state.grad = state.grad, self.enabled
        return grad, before, after

    @staticmethod
    def _restore(saved: _Modes) -> None:
        state.grad, before, after = saved
        if after is not before and state.trace is after:
            state.trace = before

    def __enter__(self):
        # no call after the switch, where an interrupt could come: nothing would end the mode
        self.saved = [*self.saved, self._switch()]
        return self

    def __exit__(self, *exc: object) -> None:
        self._restore(self.saved.pop())

    def __call__(self, function: Any) -> Any:
        from functools import wraps
        from inspect import isgeneratorfunction

        # what was before is held by the call, not by self: calls run in several threads at once
        @wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            saved = self._switch()
            try:
                return function(*args, **kwargs)
            finally:
                self._restore(saved)

        @wraps(function)
        def wrapped_generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            generator = function(*args, **kwargs)
            resume: Any = generator.send
            sent: Any = None
            while True:
                saved = self._switch()
                try:
                    item = resume(sent)
                except StopIteration as stop:
                    return stop.value
                finally:
                    self._restore(saved)
                try:
                    sent = yield item
                    resume = generator.send
                except GeneratorExit:
                    generator.close()
                    raise
                except BaseException as error:
                    resume, sent = generator.throw, error

        return wrapped_generator if isgeneratorfunction(function) else wrapped


class untaped(_GradMode):
    """no_grad for code that changes state, like optimizers: transforms around it go on recording.

    So grad goes through training steps inside the function it is given.
    """

    tape_only = True


class no_grad(_GradMode):
    """Nothing inside is recorded for reverse mode. A context manager and a decorator.

    That goes for the tape and, inside a transformed function, for grad, vjp and jacrev around it,
    to which results are constants and tensors that are written stay what they were; forward mode
    goes on (see torch.func). What was transformed inside is not affected. Updates that transforms
    are to differentiate go under autograd.untaped(), as those of nn.optim do.

    Example:
      >>> x = tensor([1.0], requires_grad=True)
      >>> with no_grad():
      ...     y = x * 2
      >>> y.requires_grad
      False
    """


class enable_grad(_GradMode):
    """The tape records inside, also within no_grad. A context manager and a decorator."""

    enabled = True


class inference_mode(_GradMode):
    """no_grad under torch's other name; `inference_mode(False)` switches the tape on."""

    def __init__(self, mode: bool = True) -> None:
        super().__init__()
        self.enabled = not mode


class set_grad_enabled(_GradMode):
    """Switches the tape from the call on, or for a `with` block or a decorated function."""

    def __init__(self, mode: bool):
        super().__init__()
        self.enabled = bool(mode)
        super().__enter__()
        self.entered = False  # a first block ends what the call began, later ones switch themselves

    def __enter__(self):
        if self.entered:
            return super().__enter__()
        self.entered, state.grad = True, self.enabled
        return self

    def __call__(self, function: Any) -> Any:
        self.__exit__()
        return super().__call__(function)


def is_grad_enabled() -> bool:
    """Does the tape record?"""
    return state.grad
