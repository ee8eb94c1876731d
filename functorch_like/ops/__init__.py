"""The op table: importing this package defines every op.

One module a family, as in cbackend/src.
"""

from . import (
    aliases,
    binary,
    complex,
    conv,
    creation,
    draws,
    fill,
    index,
    join,
    keys,
    matmul,
    norm,
    numeric,
    pool,
    products,
    random,
    reduce,
    sampling,
    scan,
    scatter,
    shape,
    softmax,
    sort,
    special,
    statistics,
    strided,
    ternary,
    unary,
    views,
)

__all__ = [
    "aliases", "binary", "complex", "conv", "creation", "draws", "fill", "index", "join",
    "keys", "matmul", "norm", "numeric", "pool", "products", "random", "reduce", "sampling", "scan",
    "scatter", "shape", "softmax", "sort", "special", "statistics", "strided", "ternary", "unary",
    "views",
]  # fmt: skip
