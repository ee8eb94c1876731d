"""Programs as files: a function for fixed shapes and what it captured, run without its source.

The file is safetensors: the instructions in the tensor `program`, what the function captured in
tensors `constant.<i>`, the structure of arguments and result in the metadata. The core reads and
checks it (cbackend/src/program/file.c, decode.c); programs in C run it without Python.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import Any

from cbackend import check, ffi, lib, raise_error

from ..dtypes import DTYPES, as_device, device_from_code
from ..errors import DeviceError, TraceError, message
from ..op import wrap
from ..ops.random import default_generator
from ..tensor import Tensor
from ..trace import untaped
from .passes import optimize
from .program import Program
from .stage import Staged, stage

__all__ = ["LoadedProgram", "export", "load_program", "stage_pure"]


def export(function: Callable[..., Any], args: Sequence[Any], path: str | os.PathLike[str]) -> None:
    """Writes a function, for arguments like these, to a file that runs without its source.

    Its values are those of the tensors it captures now (a module's parameters, say), under no_grad;
    Python numbers in args are part of it. Draws of random numbers (dropout) stay draws. Read it
    with `load_program`, or from C with `cb_program_load`.

    Args:
      function: any function of trees (tuples, lists, dicts) of tensors, or a module.
      args: a tuple of arguments whose shapes and dtypes the file is for.
      path: the file to write, `.safetensors` by convention; replaced when the new one is complete.
    Raises:
      DeviceError: arguments or captured tensors are not on the CPU.
      TraceError: the function reads values in Python (`if x > 0`) or changes a captured tensor.
      TypeError: args or the result hold what a file cannot.
    Example:
      >>> import os, tempfile
      >>> path = os.path.join(tempfile.mkdtemp(), "double.safetensors")
      >>> export(lambda x: {"y": x * 2}, (tensor([1.0, 2.0]),), path)
      >>> load_program(path)(tensor([3.0, 4.0]))
      {'y': tensor([6., 8.])}
    """
    from ..serialization.state import write_tensors  # needs safetensors

    staged, arguments, result = stage_pure("export", function, args)
    for var in (*staged.graph.inputs, *staged.graph.outside()):
        if var.meta.device.type == "meta" and var.meta._v.device >> 8:
            raise DeviceError(
                message("export", "tensors on the cpu", "others", "Move them with .cpu() first.")
            )
    for e in staged.graph.equations:
        x = e.inputs[0] if e.inputs else None
        if (
            e.op.name == "as_strided"
            and x is not None
            and x.equation is None
            and not x.meta._v.flags & 2
        ):
            raise TraceError(
                message(
                    "export", "as_strided of contiguous tensors", "a captured view", "Clone it."
                )
            )
    for var in staged.graph.outside():  # tensors of files are contiguous
        if not var.meta._v.flags & lib.CB_FLAG_CONTIGUOUS:
            if var.value is not None:
                var.value = var.value.contiguous()
            var.meta = wrap(lib.cb_empty(var.code, lib.CB_META, len(var.shape), var.shape))
    program = Program(optimize(staged.graph))
    names = ffi.new("char **")
    words = lib.cb_program_encode(program._p, len(program.captured), names)
    if not words:
        raise_error()
    try:
        text = ffi.string(names[0]).decode()
    finally:
        lib.cb_text_free(names[0])
    constants = [
        wrap(lib.cb_program_constant_value(program._p, i))
        for i in range(lib.cb_program_constant_count(program._p))
    ]
    constants += [v.source().contiguous() for v in program.captured]  # type: ignore[misc]
    metadata = {
        "format": "functorch-like program",
        "program.names": text,
        "program.arguments": json.dumps(arguments),
        "program.result": json.dumps(result),
        "program.drawn": str(staged.drawn),
    }
    if any(t.dtype is DTYPES[lib.CB_C128] for t in constants):
        wanted = "captured tensors that safetensors can hold"
        raise TypeError(message("export", wanted, "complex128", "Cast it."))
    tensors = {f"constant.{i}": t.detach().contiguous() for i, t in enumerate(constants)}
    write_tensors("export", os.fspath(path), {"program": wrap(words), **tensors}, metadata)


def stage_pure(
    op: str, function: Callable[..., Any], args: Sequence[Any]
) -> tuple[Staged, Any, Any]:
    """The function staged on contiguous tensors, and the structures of arguments and result.

    Raises:
      TraceError: it does what a file cannot repeat.
    """
    if isinstance(args, Tensor) or not isinstance(args, (tuple, list)):
        raise TypeError(message(op, "a tuple of arguments", type(args).__name__, "Write (x,)."))
    tensors: list[Tensor] = []
    arguments = _structure(op, tuple(args), tensors)
    result: Any = None

    def of_tensors(values: list[Tensor]) -> list[Tensor]:
        nonlocal result
        found: list[Tensor] = []
        made = function(*_filled(arguments, values))
        result = _structure(op, made, found)
        return found

    with untaped():
        staged = stage(of_tensors, [t.detach().contiguous() for t in tensors])
    if staged.writes or staged.grads or staged.cleared:
        raise TraceError(
            message(
                op,
                "a function that only computes",
                "one that writes to captured tensors",
                "For a module, call eval() first.",
            )
        )
    for e in staged.graph.equations:
        if e.op.family == "callback":
            raise TraceError(
                message(
                    op,
                    "operations of this library",
                    f"{e.op.name}, which is Python code",
                    "Leave it out of the exported function, or write it with tensor operations.",
                )
            )
    if staged.guards:
        raise TraceError(
            message(
                op,
                "a function of tensors",
                "one where Python reads a tensor's value",
                "Use where() instead of `if`.",
            )
        )
    return staged, arguments, result


def _structure(op: str, tree: Any, tensors: list[Tensor]) -> Any:
    """A tree as JSON can hold it: kinds of nodes, and for a leaf its number; fills `tensors`."""
    if isinstance(tree, Tensor):
        tensors.append(tree)
        return len(tensors) - 1
    if isinstance(tree, (tuple, list)):  # named ones come back as plain ones
        return [
            "tuple" if isinstance(tree, tuple) else "list",
            *[_structure(op, x, tensors) for x in tree],
        ]
    if isinstance(tree, dict) and all(type(key) is str for key in tree):
        return ["dict", {key: _structure(op, x, tensors) for key, x in tree.items()}]
    if tree is None or type(tree) in (bool, int, float, str):
        return ["value", tree]
    raise TypeError(
        message(
            op,
            "tuples, lists and dicts of tensors and numbers",
            type(tree).__name__,
            "Wrap the function in one of such arguments and results.",
        )
    )


def _filled(structure: Any, leaves: Sequence[Any]) -> Any:
    """The tree of a structure."""
    if type(structure) is int:
        return leaves[structure]
    kind, *items = structure
    if kind == "value":
        return items[0]
    if kind == "dict":
        return {key: _filled(x, leaves) for key, x in items[0].items()}
    made = [_filled(x, leaves) for x in items]
    return tuple(made) if kind == "tuple" else made


def _is_structure(structure: Any, n: int, depth: int = 0) -> bool:
    """Is it one, of at most n leaves?"""
    if type(structure) is int:
        return 0 <= structure < n
    if type(structure) is not list or not structure or depth > 64:
        return False
    kind, *items = structure
    if kind == "value":
        return len(items) == 1 and not isinstance(items[0], (list, dict))
    if kind == "dict":
        return (
            len(items) == 1
            and type(items[0]) is dict
            and all(_is_structure(x, n, depth + 1) for x in items[0].values())
        )
    return kind in ("tuple", "list") and all(_is_structure(x, n, depth + 1) for x in items)


class LoadedProgram:
    """A program from a file: call it with arguments like those it was exported for.

    Attributes:
      inputs, outputs: (shape, dtype) of each tensor, in the order of the tree.
    """

    def __init__(self, path: str, place: int = lib.CB_CPU):
        with open(path, "rb") as file:
            data = file.read()
        self._p = lib.cb_program_load_bytes(data, len(data))
        if not self._p:
            raise_error()
        metadata = _metadata(data)
        self.inputs = [
            _form(lib.cb_program_input(self._p, i))
            for i in range(lib.cb_program_input_count(self._p))
        ]
        self.outputs = [
            _form(lib.cb_program_result(self._p, i))
            for i in range(lib.cb_program_result_count(self._p))
        ]
        try:
            self._arguments = json.loads(metadata["program.arguments"])
            self._result = json.loads(metadata["program.result"])
            self._drawn = int(metadata["program.drawn"])
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise _damaged(path, repr(error)) from None
        valid = _is_structure(self._arguments, len(self.inputs)) and _is_structure(
            self._result, len(self.outputs)
        )
        if not valid or self._arguments[:1] != ["tuple"] or self._drawn < 0:
            raise _damaged(path, "arguments or results that do not fit the program")
        self._place = place
        if place != lib.CB_CPU:
            check(lib.cb_program_to(self._p, place))

    def __del__(self) -> None:
        if getattr(self, "_p", None):
            lib.cb_program_free(self._p)

    def __repr__(self) -> str:
        def typed(forms: list[Any]) -> str:
            return ", ".join(f"{dtype.name}{list(shape)}" for shape, dtype in forms)

        return f"LoadedProgram({typed(self.inputs)} -> {typed(self.outputs)})"

    def __call__(self, *args: Any) -> Any:
        tensors: list[Tensor] = []
        if _structure("load_program", args, tensors) != self._arguments:
            raise TypeError(
                message(
                    "load_program",
                    f"arguments like those at the export, {self._arguments[1:]}",
                    str(_structure("load_program", args, [])[1:]),
                )
            )
        kept = [t.detach().contiguous() for t in tensors]
        out = ffi.new("cb_tensor *[]", max(len(self.outputs), 1))
        generator = default_generator if self._drawn else None
        state = (generator._seed, generator._offset) if generator else (0, 0)
        for t in kept:
            if t._place != self._place:
                raise DeviceError(
                    message(
                        "load_program",
                        f"arguments on {device_from_code(self._place)}",
                        f"one on {t.device}",
                        "Move it, or load the program with device=.",
                    )
                )
        status = lib.cb_program_run(self._p, len(kept), [t._concrete for t in kept], *state, out)
        if status == lib.CB_PROGRAM_OTHER_INPUTS:
            raise TypeError(
                message(
                    "load_program",
                    repr(self)[len("LoadedProgram(") : -1].partition(" -> ")[0],
                    ", ".join(f"{t.dtype.name}{list(t.shape)}" for t in kept),
                    "A file is for the shapes and dtypes it was exported with.",
                )
            )
        check(status)
        if generator:
            generator._offset += self._drawn
        return _filled(self._result, [wrap(h) for h in out[0 : len(self.outputs)]])


def load_program(path: str | os.PathLike[str], device: Any = "cpu") -> LoadedProgram:
    """The program that `export` wrote to a file.

    Every number in the file is checked before anything runs: a damaged or malicious file gives an
    error. Results carry no gradients.

    Args:
      device: where it runs: its weights move there, and its arguments must lie there.
    Raises:
      DeviceError: there is no such device.
      ValueError: the file is damaged or something else.
      KernelError: it uses functions that this version of the library lacks.
    Example:
      >>> import os, tempfile
      >>> path = os.path.join(tempfile.mkdtemp(), "sum.safetensors")
      >>> export(lambda x, y: x + y, (ones(2), ones(2)), path)
      >>> load_program(path)
      LoadedProgram(float32[2], float32[2] -> float32[2])
    """
    return LoadedProgram(os.fspath(path), as_device(device).code)


def _form(meta: Any) -> tuple[tuple[int, ...], Any]:
    return tuple(meta.shape[i] for i in range(meta.ndim)), DTYPES[meta.dtype]


def _metadata(data: bytes) -> dict[str, Any]:
    """The file's texts; the core has checked its header."""
    length = int.from_bytes(data[:8], "little")
    try:
        found = json.loads(data[8 : 8 + length])["__metadata__"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _damaged(path: str, why: str) -> ValueError:
    return ValueError(
        message(
            "load_program",
            "the structure of arguments and result",
            f"{why} in {path}",
            "Export again.",
        )
    )
