"""Linear algebra on LAPACK: the entries and functions behind functorch_like.linalg.

The names exported here are those of torch's top level; some differ from linalg's of the same name
(svd gives V here and Vh there).
"""

from ...tensor import Tensor
from . import ldl  # noqa: F401 - its entries
from .factor import geqrf, lu_unpack, orgqr, ormqr
from .functions import chain_matmul, det, logdet, matrix_exp, matrix_power, slogdet
from .lowrank import lobpcg, pca_lowrank, svd_lowrank
from .older import cholesky, lu, lu_solve, pinverse, qr, svd
from .solve import cholesky_inverse, cholesky_solve, inverse, triangular_solve

__all__ = [
    "chain_matmul", "cholesky", "cholesky_inverse", "cholesky_solve", "det", "geqrf", "inverse",
    "lobpcg", "logdet", "lu", "lu_solve", "lu_unpack", "matrix_exp", "matrix_power", "orgqr",
    "ormqr", "pca_lowrank", "pinverse", "qr", "slogdet", "svd", "svd_lowrank", "triangular_solve",
]  # fmt: skip

for _name in __all__:
    if _name not in ("chain_matmul", "lobpcg", "lu_unpack", "pca_lowrank", "svd_lowrank"):
        setattr(Tensor, _name, globals()[_name])
