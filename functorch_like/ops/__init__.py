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
    special_bessel,
    special_gamma,
    special_polynomials,
    statistics,
    ternary,
    unary,
    views,
)

__all__ = [
    "binary", "complex", "conv", "creation", "fill", "index", "join", "matmul", "norm", "pool",
    "products", "random", "reduce", "scan", "scatter", "shape", "softmax", "sort", "special",
    "special_bessel", "special_gamma", "special_polynomials", "statistics", "ternary", "unary",
    "views",
]  # fmt: skip
