# The compiled module has no types to show: what a call takes and gives is checked when it runs.
from typing import Any

ffi: Any
lib: Any

class Handle:
    _v: Any
    @property
    def _shape(self) -> tuple[int, ...]: ...
    def _number(self) -> Any: ...
