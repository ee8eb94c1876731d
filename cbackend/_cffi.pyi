# The compiled module says nothing of its types: what a call takes and gives is checked when it runs.
from typing import Any

ffi: Any
lib: Any
