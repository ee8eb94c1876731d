"""The Python array API standard: the namespace that `Tensor.__array_namespace__` returns.

The standard's names, signatures and dtype rules over the package's own functions. They take Tensors
and give Arrays, the Tensors whose operators follow the standard too.
Reference: https://data-apis.org/array-api/2025.12/
"""

import math as _math
from importlib import import_module as _import_module

from ..dtypes import (
    bool_ as bool,
)
from ..dtypes import (
    complex64,
    complex128,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from . import creation, elementwise, manipulation, products, searching, statistics
from .array import Array
from .array import standardize as _standardize
from .creation import *
from .dtype_rules import *
from .elementwise import *
from .info import __array_namespace_info__
from .manipulation import *
from .products import matmul, matrix_transpose, tensordot, vecdot
from .searching import *
from .statistics import *

__array_api_version__ = "2025.12"
_standardize(
    globals(),
    ("astype", *creation.__all__, *elementwise.__all__, *manipulation.__all__, *products.__all__,
     *searching.__all__, *statistics.__all__),
)  # fmt: skip
e, inf, nan, newaxis, pi = _math.e, _math.inf, _math.nan, None, _math.pi


def __getattr__(name: str) -> object:
    """The extensions `linalg` and `fft`, where the package has them."""
    if name in ("linalg", "fft"):
        try:
            _import_module(f"functorch_like.{name}")
        except ImportError:
            raise AttributeError(f"array_api: this build has no {name}.") from None
        return _import_module(f".{name}_extension", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
