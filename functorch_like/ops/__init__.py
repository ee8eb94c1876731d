"""The op table: importing this package defines every op.

One module a family, as in cbackend/src.
"""

from . import (
    attention,
    binary,
    complex,
    conv,
    creation,
    distance,
    fft,
    fill,
    fold,
    index,
    join,
    linalg,
    matmul,
    norm,
    numpy_like,
    pool,
    pool_adaptive,
    products,
    random,
    recurrent,
    reduce,
    resample,
    scan,
    scatter,
    segment,
    select,
    shape,
    softmax,
    sort,
    special,
    special_bessel,
    special_gamma,
    special_polynomials,
    spectral,
    statistics,
    ternary,
    unary,
    views,
)

__all__ = [
    "attention", "binary", "complex", "conv", "creation", "distance", "fft", "fill", "fold",
    "index", "join", "linalg", "matmul", "norm", "numpy_like", "pool", "pool_adaptive", "products",
    "random", "recurrent", "reduce", "resample", "scan", "scatter", "segment", "select", "shape",
    "softmax", "sort", "special", "special_bessel", "special_gamma", "special_polynomials",
    "spectral", "statistics", "ternary", "unary", "views",
]  # fmt: skip
