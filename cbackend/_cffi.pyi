# The compiled module has no types to show: what a call takes and gives is checked when it runs.
from typing import Any

ffi: Any
lib: Any
