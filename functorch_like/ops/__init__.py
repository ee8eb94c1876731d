"""The op table: importing this package defines every op.

One module a family, as in cbackend/src.
"""

from . import (
    binary,
    complex,
    conv,
    creation,
    fill,
    index,
    join,
    linalg,
    matmul,
    norm,
    pool,
    products,
    random,
    reduce,
    scan,
    scatter,
    shape,
    softmax,
    sort,
    special,
    statistics,
    ternary,
    unary,
    views,
)

__all__ = [
    "binary", "complex", "conv", "creation", "fill", "index", "join", "linalg", "matmul", "norm",
    "pool", "products", "random", "reduce", "scan", "scatter", "shape", "softmax", "sort",
    "special", "statistics", "ternary", "unary", "views",
]  # fmt: skip
