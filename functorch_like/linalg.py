"""Linear algebra under the names of torch.linalg."""

from .errors import LinAlgError
from .ops.linalg.factor import (
    cholesky,
    cholesky_ex,
    householder_product,
    lu,
    lu_factor,
    lu_factor_ex,
    qr,
)
from .ops.linalg.functions import (
    cross,
    det,
    diagonal,
    matrix_exp,
    matrix_power,
    multi_dot,
    slogdet,
    tensorinv,
    tensorsolve,
    vander,
    vecdot,
)
from .ops.linalg.ldl import ldl_factor, ldl_factor_ex, ldl_solve
from .ops.linalg.norms import matrix_norm, norm, vector_norm
from .ops.linalg.pseudo import cond, lstsq, matrix_rank, pinv
from .ops.linalg.solve import (
    inv,
    inv_ex,
    lu_solve,
    solve,
    solve_ex,
    solve_triangular,
)
from .ops.linalg.spectral import eig, eigh, eigvals, eigvalsh, svd, svdvals
from .ops.matmul import matmul

__all__ = [
    "LinAlgError", "cholesky", "cholesky_ex", "cond", "cross", "det", "diagonal", "eig", "eigh",
    "eigvals", "eigvalsh", "householder_product", "inv", "inv_ex", "ldl_factor", "ldl_factor_ex",
    "ldl_solve", "lstsq", "lu", "lu_factor", "lu_factor_ex", "lu_solve", "matmul", "matrix_exp",
    "matrix_norm", "matrix_power", "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet",
    "solve", "solve_ex", "solve_triangular", "svd", "svdvals", "tensorinv", "tensorsolve", "vander",
    "vecdot", "vector_norm",
]  # fmt: skip
