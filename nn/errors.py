"""Where in a model an exception came from, and which rule of a layer was broken.

Module.__call__ asks here only after forward raised, so that a call that succeeds pays nothing for
good messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nn.module import Module

__all__ = ["locate"]


def locate(module: Module, args: tuple[Any, ...], error: Exception) -> Exception:
    """The error with a note naming its place in the model; reworded when the layer knows which rule
    was broken.

    Each module on the way out replaces the note by one that starts at itself, so that the note that
    is shown holds the whole path: "in Net.features.0: Conv2d(1, 6, kernel_size=(5, 5), stride=(1,
    1))".
    """
    trail = getattr(error, "module_trail", None)
    if trail is None:
        error = _reworded(module, args, error)
        names: list[str] = []
        what = repr(module) if not module._modules else None
    else:
        inner, names, what, note = trail
        names = [_name_in(module, inner), *names]
        if note in error.__notes__:  # type: ignore[attr-defined]
            error.__notes__.remove(note)  # type: ignore[attr-defined]
    path = ".".join([type(module).__name__, *names])
    note = f"in {path}: {what}" if what and names else f"in {what or path}"
    try:
        if not hasattr(error, "__notes__"):
            error.__notes__ = []  # type: ignore[attr-defined]
        error.__notes__.append(note)  # type: ignore[attr-defined]
        error.module_trail = (module, names, what, note)  # type: ignore[attr-defined]
    except AttributeError:  # an exception class with slots
        pass
    return error


def _reworded(module: Module, args: tuple[Any, ...], error: Exception) -> Exception:
    if not isinstance(error, (ValueError, TypeError, RuntimeError, IndexError)):
        return error
    try:
        message = module._input_error(*args)
        return error if message is None else type(error)(message)
    except Exception:  # args that the rule cannot even look at: the original error tells more
        return error


def _name_in(module: Module, inner: Module) -> str:
    return next(
        (name for name, child in module.named_modules() if child is inner and name),
        type(inner).__name__,
    )
