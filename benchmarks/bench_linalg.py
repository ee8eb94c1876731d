"""Linear algebra on batches of matrices [64, 32, 32]: every entry; a solve with its gradient."""

import functorch_like as ft
from functorch_like.op import TABLE

from . import common


class Linalg(common.Kept):
    """Each entry of the family."""

    params = [
        op.name
        for op in TABLE.values()
        if op.family == "linalg" and op.name not in common.UNMEASURED
    ]
    param_names = ["op"]
    batch, n = 64, 32
    small = {"batch": 1, "n": 4}

    def make(self, op):
        n = self.n
        a = common.normal(self.batch, n, n) + n * ft.eye(n)
        spd, b, tau = a @ a.mT, common.normal(self.batch, n, 4), common.normal(self.batch, n)
        tall = a[..., : n // 2]
        packed, pivots, _ = TABLE["lu_factor"](a, check=None)
        ld, order, _ = TABLE["ldl_factor"](spd, hermitian=True, check=None)
        zero, check, hermitian = ft.zeros(()), {"check": None}, {"part": 0, "check": None}
        self.op = TABLE[op]
        self.args, self.params_of_op = {
            "linalg_solve": ((a, b), {"adjoint": False, **check}),
            "linalg_inv": ((a,), check),
            "linalg_solve_triangular": (
                (a, b),
                {"upper": False, "left": True, "unit": False, "adjoint": False},
            ),
            "lu_factor": ((a,), check),
            "lu_solve": ((packed, pivots, b), {"adjoint": False}),
            "ldl_factor": ((spd,), {"hermitian": True, **check}),
            "ldl_solve": ((TABLE["linalg_bits"](ld), order, b), {"hermitian": True}),
            "linalg_cholesky": ((spd,), hermitian),
            "linalg_qr": ((a,), {}),
            "qr_complete": ((tall,), {}),
            "geqrf": ((a,), {}),
            "householder_product": ((a, tau), {}),
            "ormqr": ((a, tau, b), {"left": True, "transpose": False}),
            "linalg_det": ((a,), {}),
            "linalg_slogdet": ((a,), {}),
            "matrix_exp": ((a / n,), {}),
            "linalg_svd": ((a,), {"full": False, **check}),
            "linalg_svdvals": ((a,), check),
            "linalg_eigh": ((spd,), hermitian),
            "linalg_eigvalsh": ((spd,), hermitian),
            "linalg_eig": ((a,), check),
            "linalg_eigvals": ((a,), check),
            "linalg_pinv": ((tall, zero, zero), {"hermitian": False}),
            "linalg_lstsq": ((tall, b), {"rcond": 1e-6}),
        }[op]

    def time_op(self, op):
        return self.op(*self.args, **self.params_of_op)


class SolveBackward(common.Kept):
    """A solution and its gradients, which reuse the factorization."""

    batch, n = 16, 100
    small = {"batch": 1, "n": 4}

    def make(self):
        self.a = (common.normal(self.batch, self.n, self.n) + self.n * ft.eye(self.n)).detach()
        self.b = common.normal(self.batch, self.n, 4)
        self.a.requires_grad_()

    def time_both(self):
        ft.linalg.solve(self.a, self.b).sum().backward()
