"""What writing and reading share: the package, dtypes, and the words for a missing operation."""

from __future__ import annotations

from typing import Any

from ..dtypes import DTYPES, dtype
from ..errors import KernelError, message

OPSET = 18  # 17 brought LayerNormalization, 18 axes as inputs of all reductions

# our dtype's name -> onnx.TensorProto's number for it
NUMBERS = {
    "float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9,
    "float16": 10, "float64": 11, "uint32": 12, "uint64": 13, "complex64": 14, "complex128": 15,
    "bfloat16": 16,
}  # fmt: skip
BY_NUMBER: dict[int, dtype] = {NUMBERS[d.name]: d for d in DTYPES}


def package(op: str) -> Any:
    """The onnx package."""
    try:
        import onnx
        import onnx.helper  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            message(
                op, "the onnx package", f"none ({error})", "Run pip install 'functorch-like[onnx]'."
            )
        ) from None
    return onnx


def missing(op: str, name: str, known: Any, next_step: str) -> KernelError:
    """The error for an operation outside the set."""
    return KernelError(
        message(
            op,
            "operations of the inference set",
            name,
            next_step + f" Known: {', '.join(sorted(known))}.",
        )
    )
