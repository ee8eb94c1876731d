"""Distances between 600 rows of 600 items, and their gradients; cross products."""

import functorch_like as ft
from functorch_like.op import TABLE

from . import common


class Distances(common.Kept):
    """Each entry, at three of the norms that have kernels of their own and one that has not."""

    params = [
        ["distances", "distances_grad", "pair_distances", "pair_distances_grad"],
        [1.0, 2.0, 3.0, float("inf")],
    ]
    param_names = ["op", "p"]
    rows = 600
    small = {"rows": 4}

    def make(self, op, p):
        n = self.rows
        x, y, ct = (common.normal(n, n, seed=seed) for seed in range(3))
        pairs = common.normal(n * (n - 1) // 2, seed=3)
        self.op, self.p = TABLE[op], p
        self.args = {
            "distances": (x, y),
            "distances_grad": (ct, x, y, ct * ct),
            "pair_distances": (x,),
            "pair_distances_grad": (pairs, x, pairs * pairs),
        }[op]

    def call(self):
        return self.op(*self.args, p=self.p)

    def time_op(self, op, p):
        return self.call()


class Cross(common.Kept):
    """Products of vectors of size 3."""

    ops = ["cross"]
    params = [8, 100000]
    param_names = ["n"]

    def make(self, n):
        self.x, self.y = common.normal(n, 3), common.normal(n, 3, seed=1)

    def time_cross(self, n):
        return ft.cross(self.x, self.y)
