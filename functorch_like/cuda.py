"""CUDA devices: which there are, streams, events, memory. Names and meanings are torch.cuda's.

The CUDA half of the core is a library of its own, opened at the first question. Without it, or
without a driver, `is_available()` is False, `why_unavailable()` says why, and everything else in
the package works. Work on a device is queued on the calling thread's current stream; results are
waited for when they are read. One random generator serves all devices, with the same numbers.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, NamedTuple

from cbackend import check, ffi, lib, raise_error

from .dtypes import device as _Device
from .errors import DeviceError, message

__all__ = [
    "DeviceProperties", "Event", "Library", "Stream", "current_device", "current_stream",
    "default_stream", "device", "device_count", "empty_cache", "get_device_capability",
    "get_device_name", "get_device_properties", "get_float32_matmul_precision", "initial_seed",
    "is_available", "is_bf16_supported", "is_initialized", "libraries", "manual_seed",
    "manual_seed_all", "max_memory_allocated", "max_memory_reserved", "mem_get_info",
    "memory_allocated", "memory_reserved", "memory_stats", "reset_peak_memory_stats", "seed",
    "seed_all", "set_device", "set_float32_matmul_precision", "set_stream", "stream", "synchronize",
    "use_graphs", "why_unavailable",
]  # fmt: skip


# ---- devices ----


def is_available() -> bool:
    """Can tensors be put on a GPU?"""
    return bool(lib.cb_cuda_available())


def why_unavailable() -> str:
    """Why there is no device, in words; "" where there is one."""
    return ffi.string(lib.cb_cuda_reason()).decode(errors="replace")


def is_initialized() -> bool:
    """Has the CUDA library been opened? Asking opens it."""
    return is_available()


def device_count() -> int:
    """How many GPUs can be used."""
    return lib.cb_cuda_device_count()


def current_device() -> int:
    """The device that "cuda" without a number means, for the calling thread."""
    return lib.cb_cuda_current_device()


def _index(place: Any, op: str) -> int:
    """A device's number; the current one for None."""
    if place is None:
        return current_device()
    if isinstance(place, int):
        return place
    found = place if isinstance(place, _Device) else _Device(place)
    if found.type != "cuda":
        raise DeviceError(message(op, "a CUDA device", f"'{found}'"))
    return found.code >> 8


def set_device(device: Any) -> None:
    """Makes a device the calling thread's current one.

    Raises:
      DeviceError: there is no such device.
    """
    check(lib.cb_cuda_set_device(_index(device, "set_device")))


class device:
    """Makes a device the current one for the length of a `with` block.

    Args:
      device: a number, a string or a device; None, or a negative number, changes nothing.
    """

    def __init__(self, device: Any = None):
        self.idx = -1 if device is None else _index(device, "device")
        self.prev_idx = -1

    def __enter__(self) -> device:
        if self.idx >= 0:
            self.prev_idx = current_device()
            set_device(self.idx)
        return self

    def __exit__(self, *_: Any) -> None:
        if self.prev_idx >= 0:
            set_device(self.prev_idx)


def synchronize(device: Any = None) -> None:
    """Waits for all work on a device."""
    check(lib.cb_cuda_synchronize(_index(device, "synchronize")))


class DeviceProperties(NamedTuple):
    """What a device is and has; sizes in bytes, frequencies in kHz."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int
    warp_size: int
    max_threads_per_block: int
    max_threads_per_multi_processor: int
    regs_per_block: int
    shared_memory_per_block_optin: int
    shared_memory_per_multiprocessor: int
    L2_cache_size: int
    clock_rate: int
    memory_clock_rate: int
    memory_bus_width: int
    pci_bus_id: int
    pci_device_id: int


def get_device_properties(device: Any = None) -> DeviceProperties:
    """Name, capability, sizes of a device.

    Raises:
      DeviceError: there is no such device.
    """
    p = ffi.new("cb_device_properties *")
    check(lib.cb_cuda_properties(_index(device, "get_device_properties"), p))
    return DeviceProperties(
        name=ffi.string(p.name).decode(),
        major=p.major,
        minor=p.minor,
        total_memory=p.total_memory,
        multi_processor_count=p.multiprocessors,
        warp_size=p.warp,
        max_threads_per_block=p.threads_per_block,
        max_threads_per_multi_processor=p.threads_per_multiprocessor,
        regs_per_block=p.registers_per_block,
        shared_memory_per_block_optin=p.shared_per_block,
        shared_memory_per_multiprocessor=p.shared_per_multiprocessor,
        L2_cache_size=p.l2_cache,
        clock_rate=p.clock_khz,
        memory_clock_rate=p.memory_clock_khz,
        memory_bus_width=p.memory_bus_bits,
        pci_bus_id=p.pci_bus,
        pci_device_id=p.pci_device,
    )


def get_device_name(device: Any = None) -> str:
    """The device's name."""
    return get_device_properties(device).name


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The compute capability, major and minor."""
    p = get_device_properties(device)
    return p.major, p.minor


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Does the device compute bfloat16? All that the library supports do."""
    return is_available()


# ---- NVIDIA's libraries ----


class Library(NamedTuple):
    """One of NVIDIA's libraries.

    `version` is "" when it is not used; `where` is its path, or why it is not used and what to
    install.
    """

    version: str
    where: str


def libraries() -> dict[str, Library]:
    """Which of NVIDIA's libraries are in use; own kernels or the CPU do what a missing one would.

    They are looked for in the folders of the environment variable FL_CUDA_LIBRARIES (separated by
    colons; FL_CUDA_LIBRARIES=none switches all of them off), beside this package, where
    pip puts NVIDIA's wheels, and where the system keeps its libraries. Without a device: {}.

    Example:
      >>> for name, library in libraries().items():
      ...     _ = f"{name} {library.version or library.where}"
    """
    found: dict[str, Library] = {}
    text = ffi.new("const char *[3]")
    while lib.cb_cuda_library_info(len(found), text):
        name, version, where = (ffi.string(t).decode(errors="replace") for t in text)
        found[name] = Library(version, where)
    return found


_PRECISIONS = ("highest", "high", "medium")


def set_float32_matmul_precision(precision: str) -> None:
    """How exact products of float32 matrices are on CUDA.

    Args:
      precision: "highest": float32 throughout, as at the start. "high", "medium": tensor cores may
        round the factors to TF32, of 10 bits instead of 23.
    Raises:
      ValueError: another precision.
    Example:
      >>> set_float32_matmul_precision("high")
      >>> get_float32_matmul_precision()
      'high'
      >>> set_float32_matmul_precision("highest")
    """
    if precision not in _PRECISIONS:
        rule = f"one of {', '.join(map(repr, _PRECISIONS))}"
        raise ValueError(message("set_float32_matmul_precision", rule, repr(precision)))
    lib.cb_cuda_allow_tf32(precision != "highest")


def get_float32_matmul_precision() -> str:
    """What set_float32_matmul_precision() has set; "medium" is "high"."""
    return "high" if lib.cb_cuda_allow_tf32(-1) else "highest"


# ---- streams and events ----


class Stream:
    """A queue of work on a device. Work on different streams may overlap: order it with events.

    Tensors belong to the stream that was current when they were made. Before one is read on another
    stream, let that stream wait (wait_stream, or an Event); before it is freed while that stream
    may still read it, call its record_stream.

    Args:
      device: where; the current one by default.
      priority: lower numbers go first; 0 by default.
    Example:
      >>> if is_available():
      ...     side = Stream()
      ...     with stream(side):
      ...         pass  # work here is queued on it
      ...     current_stream().wait_stream(side)
    """

    def __init__(self, device: Any = None, priority: int = 0, **_: Any):
        self.device_index = _index(device, "Stream")
        self._handle = lib.cb_cuda_stream_new(self.device_index, priority)
        self._owned = True
        if self._handle == ffi.NULL:
            self._owned = False
            raise_error()

    @classmethod
    def _of(cls, index: int, handle: Any) -> Stream:
        s = cls.__new__(cls)
        s.device_index, s._handle, s._owned = index, handle, False
        return s

    def __del__(self) -> None:
        if getattr(self, "_owned", False):
            lib.cb_cuda_stream_free(self.device_index, self._handle)

    @property
    def device(self) -> _Device:
        """Where the stream is."""
        return _Device("cuda", self.device_index)

    @property
    def cuda_stream(self) -> int:
        """The driver's handle."""
        return int(ffi.cast("uintptr_t", self._handle))

    def synchronize(self) -> None:
        """Waits for the work queued so far."""
        check(lib.cb_cuda_stream_synchronize(self.device_index, self._handle))

    def query(self) -> bool:
        """Is the work queued so far done?"""
        return _done(lib.cb_cuda_stream_done(self.device_index, self._handle))

    def record_event(self, event: Event | None = None) -> Event:
        """An event at this place of the queue."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Later work waits for the event; the caller does not."""
        event.wait(self)

    def wait_stream(self, stream: Stream) -> None:
        """Later work waits for what is queued on the other stream now."""
        self.wait_event(stream.record_event())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and (self.device_index, self.cuda_stream) == (
            other.device_index,
            other.cuda_stream,
        )

    def __hash__(self) -> int:
        return hash((self.device_index, self.cuda_stream))

    def __repr__(self) -> str:
        return f"<cuda.Stream device=cuda:{self.device_index} cuda_stream={self.cuda_stream:#x}>"


def _done(answer: int) -> bool:
    if answer < 0:
        raise_error()
    return answer == 1


def current_stream(device: Any = None) -> Stream:
    """The stream that the calling thread queues work on."""
    index = _index(device, "current_stream")
    get_device_properties(index)  # an error where there is none
    return Stream._of(index, lib.cb_cuda_stream_current(index))


def default_stream(device: Any = None) -> Stream:
    """The stream that is current until another one is set."""
    return Stream._of(_index(device, "default_stream"), ffi.NULL)


def set_stream(stream: Stream | None) -> None:
    """Makes a stream the calling thread's current one on its device."""
    if stream is not None:
        check(lib.cb_cuda_stream_set(stream.device_index, stream._handle))


class stream:
    """Makes a stream, and its device, current for the length of a `with` block.

    None changes nothing.
    """

    def __init__(self, stream: Stream | None):
        self.stream = stream
        self._before: list[Any] = []

    def __enter__(self) -> stream:
        if self.stream is not None:
            self._before.append((current_device(), current_stream(self.stream.device_index)))
            set_device(self.stream.device_index)
            set_stream(self.stream)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.stream is not None:
            index, before = self._before.pop()
            set_stream(before)
            set_device(index)


class Event:
    """A mark in a stream: to wait for, or with enable_timing to measure between two.

    Example:
      >>> if is_available():
      ...     start, end = Event(enable_timing=True), Event(enable_timing=True)
      ...     start.record()
      ...     end.record()
      ...     end.synchronize()
      ...     assert start.elapsed_time(end) >= 0  # milliseconds
    """

    def __init__(self, enable_timing: bool = False, blocking: bool = False, **_: Any):
        self._timing = enable_timing
        self._handle: Any = None
        self._index = 0

    def record(self, stream: Stream | None = None) -> None:
        """Puts the mark behind the work queued on the stream, by default the current one."""
        s = current_stream() if stream is None else stream
        if self._handle is None:
            handle = lib.cb_cuda_event_new(s.device_index, self._timing)
            if handle == ffi.NULL:
                raise_error()
            self._handle, self._index = handle, s.device_index
        check(lib.cb_cuda_event_record(self._index, self._handle, s._handle))

    def wait(self, stream: Stream | None = None) -> None:
        """Later work of the stream, by default the current one, waits for the mark."""
        s = current_stream() if stream is None else stream
        if self._handle is not None:
            check(lib.cb_cuda_event_wait(s.device_index, self._handle, s._handle))

    def query(self) -> bool:
        """Has all work before the mark been done?"""
        return self._handle is None or _done(lib.cb_cuda_event_done(self._index, self._handle))

    def synchronize(self) -> None:
        """Waits for the work before the mark."""
        if self._handle is not None:
            check(lib.cb_cuda_event_synchronize(self._index, self._handle))

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this mark to the other; both made with enable_timing and recorded.

        Raises:
          ValueError: one of them was not.
        """
        if not (self._timing and end_event._timing and self._handle and end_event._handle):
            raise ValueError(
                message(
                    "elapsed_time",
                    "two recorded events with enable_timing=True",
                    "others",
                    "Make them so and call record().",
                )
            )
        value = lib.cb_cuda_event_elapsed(self._index, self._handle, end_event._handle)
        if value < 0:
            raise_error()
        return value

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            lib.cb_cuda_event_free(self._index, self._handle)


def use_graphs(enabled: bool | None = None) -> bool:
    """Are compiled functions on CUDA replayed as CUDA graphs? Changes it, and gives what it was.

    A graph saves the launches of single kernels, a few microseconds each. From the third call on,
    the programs of compiled functions are replayed if nothing in them waits for the device or runs
    on the host; `explain()` says which are, and why others are not. Indices and labels that are out
    of range raise their error at the next wait for the device. FL_CUDA_GRAPHS=0 in the environment
    turns graphs off.

    Args:
      enabled: None only asks.
    Example:
      >>> before = use_graphs(False)
      >>> use_graphs(before)
      False
    """
    return bool(lib.cb_program_graphs(-1 if enabled is None else enabled))


# ---- memory ----

_NUMBERS = (
    "allocated_bytes.all.current",
    "allocated_bytes.all.peak",
    "reserved_bytes.all.current",
    "reserved_bytes.all.peak",
    "allocation.all.allocated",
    "allocation.all.freed",
    "num_cache_hits",
    "num_device_alloc",
)


def _memory(device: Any) -> list[int]:
    numbers = ffi.new("int64_t[10]")
    check(lib.cb_cuda_memory(_index(device, "memory"), numbers))
    return list(numbers)


def memory_stats(device: Any = None) -> dict[str, int]:
    """The allocator's statistics."""
    return dict(zip(_NUMBERS, _memory(device), strict=False))


def _number(which: int, device: Any) -> int:
    return _memory(device)[which] if is_available() else 0


def memory_allocated(device: Any = None) -> int:
    """Bytes in live tensors; 0 without a device."""
    return _number(0, device)


def max_memory_allocated(device: Any = None) -> int:
    """The largest memory_allocated() since the start or reset_peak_memory_stats()."""
    return _number(1, device)


def memory_reserved(device: Any = None) -> int:
    """Bytes taken from the driver: live tensors and what is kept for reuse."""
    return _number(2, device)


def max_memory_reserved(device: Any = None) -> int:
    """The largest memory_reserved() since the start or reset_peak_memory_stats()."""
    return _number(3, device)


def reset_peak_memory_stats(device: Any = None) -> None:
    """Starts the maxima anew."""
    if is_available():
        lib.cb_cuda_reset_peak_memory(_index(device, "reset_peak_memory_stats"))


def empty_cache() -> None:
    """Gives memory that is kept for reuse back to the driver, on all devices."""
    for index in range(device_count()):
        lib.cb_cuda_empty_cache(index)


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Free and total bytes of a device, as the driver says."""
    numbers = _memory(device)
    return numbers[8], numbers[9]


# ---- random numbers: one generator for all devices ----


def manual_seed(seed: int) -> None:
    """Starts the global generator's stream of a seed."""
    from .ops import random

    random.manual_seed(seed)


manual_seed_all = manual_seed


def seed() -> None:
    """Starts the global generator with a seed from the operating system."""
    from .ops import random

    random.seed()


seed_all = seed


def initial_seed() -> int:
    """The global generator's seed."""
    from .ops import random

    return random.initial_seed()
