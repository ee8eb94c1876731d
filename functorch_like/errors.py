"""Exception classes and the one way to word a message.

It reads `{op}: expected {rule}, got {what}. {next step}`.
"""

from cbackend import (
    DeviceError,
    DimError,
    DTypeError,
    KernelError,
    LinAlgError,
    OutOfMemoryError,
    ShapeError,
    TraceError,
)

__all__ = [
    "DTypeError", "DeviceError", "DimError", "GradError", "KernelError", "LinAlgError",
    "OutOfMemoryError", "ShapeError", "TraceError", "message",
]  # fmt: skip


class GradError(RuntimeError):
    """A gradient that cannot be computed as asked."""


def message(op: str, expected: str, got: object, next_step: str = "") -> str:
    """`{op}: expected {expected}, got {got}. {next_step}`"""
    text = f"{op}: expected {expected}, got {got}."
    return f"{text} {next_step}" if next_step else text
