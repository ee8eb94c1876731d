"""The op table: importing this package defines every op.

One module a family, as in cbackend/src.
"""

from . import (
    binary,
    complex,
    conv,
    creation,
    fft,
    fill,
    index,
    join,
    matmul,
    norm,
    numpy_like,
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
    spectral,
    statistics,
    ternary,
    unary,
    views,
)

__all__ = [
    "binary", "complex", "conv", "creation", "fft", "fill", "index", "join", "matmul", "norm",
    "numpy_like", "pool", "products", "random", "reduce", "scan", "scatter", "shape", "softmax",
    "sort", "special", "spectral", "statistics", "ternary", "unary", "views",
]  # fmt: skip
