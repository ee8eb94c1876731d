"""The C core: loads the library, exposes `ffi` and `lib`, and turns C error codes into exceptions.

Importing picks the kernels for this processor; the environment variable FL_CPU_LEVEL (v2, v3, v4 or
base) forces a level. OpenBLAS is only located here: the core opens it at the first matrix product.
"""

import os
from importlib.machinery import PathFinder

from cbackend._cffi import (
    Entry,
    Form,
    Handle,
    Record,
    Sizes,
    borrow,
    drawn,
    ffi,
    fill,
    fill_node,
    filled,
    leave,
    lend,
    lib,
    number,
    output_of,
    plain,
    prepare,
    prepare_calls,
    prepare_records,
    record,
    recorded,
    reduce_sweep,
    run_program,
    run_sweep,
    step_sets,
    sweep_key,
    wrap,
    write_all,
)
from cbackend.host import raise_host_error

__all__ = [
    "DTypeError",
    "DeviceError",
    "DimError",
    "Entry",
    "Form",
    "Handle",
    "KernelError",
    "LinAlgError",
    "OutOfMemoryError",
    "Record",
    "ShapeError",
    "Sizes",
    "TraceError",
    "borrow",
    "check",
    "drawn",
    "ffi",
    "fill",
    "fill_node",
    "filled",
    "leave",
    "lend",
    "lib",
    "number",
    "output_of",
    "plain",
    "prepare",
    "prepare_calls",
    "prepare_records",
    "raise_error",
    "record",
    "recorded",
    "reduce_sweep",
    "run_program",
    "run_sweep",
    "step_sets",
    "sweep_key",
    "wrap",
    "write_all",
]


class ShapeError(ValueError, RuntimeError):
    """Shapes that do not fit the operation."""


class DimError(IndexError):
    """A dimension or an index out of range."""


class DTypeError(TypeError, RuntimeError):
    """A dtype the operation does not take."""


class DeviceError(RuntimeError):
    """Tensors on different devices, or a device that is not there."""


class OutOfMemoryError(MemoryError, RuntimeError):
    """Not enough memory; nothing was changed."""


class LinAlgError(RuntimeError):
    """A matrix without the property an algorithm needs."""


class KernelError(RuntimeError):
    """A missing kernel or library."""


class TraceError(RuntimeError):
    """A traced tensor used where it cannot be."""


_EXCEPTIONS = {
    lib.CB_ERR_SHAPE: ShapeError,
    lib.CB_ERR_DIM: DimError,
    lib.CB_ERR_INDEX: DimError,
    lib.CB_ERR_DTYPE: DTypeError,
    lib.CB_ERR_DEVICE: DeviceError,
    lib.CB_ERR_VALUE: ValueError,
    lib.CB_ERR_MEMORY: OutOfMemoryError,
    lib.CB_ERR_UNSUPPORTED: KernelError,
    lib.CB_ERR_NULL: TraceError,
    lib.CB_ERR_LINALG: LinAlgError,
    lib.CB_ERR_INTERNAL: KernelError,
}


def raise_error() -> None:
    """Raises the exception for the calling thread's last C error."""
    if lib.cb_error_code() == lib.CB_ERR_HOST:
        raise_host_error()
    message = ffi.string(lib.cb_error_message()).decode(errors="replace")
    raise _EXCEPTIONS.get(lib.cb_error_code(), KernelError)(message)


def check(status: int) -> None:
    """Raises if a C function returned an error code."""
    if status:
        raise_error()


def _openblas_path() -> str | None:
    spec = PathFinder.find_spec("scipy_openblas32")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for where in ("lib", ".libs"):
            directory = os.path.join(folder, where)
            if os.path.isdir(directory):
                for name in sorted(os.listdir(directory)):
                    if (
                        name.startswith(("libscipy_openblas", "libopenblas")) and ".so" in name
                    ) or name.endswith(".dylib"):
                        return os.path.join(directory, name)
    return None


def _start() -> None:
    level = os.environ.get("FL_CPU_LEVEL")
    check(lib.cb_init(level.encode() if level else ffi.NULL))
    path = _openblas_path()
    if path:
        lib.cb_load_blas(path.encode())


_start()
