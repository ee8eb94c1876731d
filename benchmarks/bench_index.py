"""Indexing, sorting, random numbers and sampling as models use them; batches of small matrices.

The rows of the gap table in README.md: bench_movement.py and bench_sort.py have every op, on one
shape each.
"""

import functorch_like as ft
import nn

from . import common

F = nn.functional


def _embedding_backward(d):
    return d["pull"](d["ct"])[0]


# a call on d: t table, r row numbers, v a row for each of them, x a matrix, c column numbers,
# p column numbers for each row, m masks over all of x, some and few true
INDEXED = {
    "rows": lambda d: d["t"][d["r"]],
    "embedding": lambda d: F.embedding(d["r"], d["t"]),
    "embedding backward": _embedding_backward,
    "index_add of rows": lambda d: d["z"].index_add(0, d["r"], d["v"]),
    "index_put of rows": lambda d: d["t"].index_put((d["r"],), d["v"]),
    "index_select of columns": lambda d: d["x"].index_select(1, d["c"]),
    "index_add of columns": lambda d: d["x"].index_add(1, d["c"], d["y"]),
    "gather along rows": lambda d: d["x"].gather(1, d["p"]),
    "scatter_add along rows": lambda d: d["x"].scatter_add(1, d["p"], d["y"]),
    "mask, half": lambda d: d["x"][d["half"]],
    "mask, few": lambda d: d["x"][d["few"]],
    "nonzero": lambda d: d["half"].nonzero(),
    "flip": lambda d: d["x"].flip(1),
    "pixel_shuffle": lambda d: F.pixel_shuffle(d["image"], 2),
    "reflection": lambda d: F.pad(d["image"], (2, 2, 2, 2), mode="reflect"),
}


class Indexed(common.Kept):
    """1e5 rows of 64, matrices of 1e6 elements."""

    params = list(INDEXED)
    param_names = ["call"]
    rows, picks, side = 50_000, 100_000, 1000
    small = {"rows": 20, "picks": 30, "side": 8}

    def make(self, call):
        table = common.normal(self.rows, 64)
        numbers = common.integers(self.rows, self.picks)
        x = common.normal(self.side, self.side)
        half = self.side // 2
        ct, pull = ft.vjp(lambda t: F.embedding(numbers, t), table)
        self.data = {
            "t": table,
            "r": numbers,
            "z": ft.zeros(self.rows, 64),
            "v": common.normal(self.picks, 64, seed=1),
            "x": x,
            "c": common.integers(self.side, half),
            "p": common.integers(self.side, self.side, half),
            "y": common.normal(self.side, half, seed=2),
            "half": x > 0,
            "few": x > 2.5,
            "image": common.normal(8, 16, 56, 56),
            "ct": ct,
            "pull": pull,
        }
        self.call = INDEXED[call]

    def time_call(self, call):
        return self.call(self.data)


ORDERED = {
    "sort": lambda x: x.sort(),
    "argsort": lambda x: x.argsort(),
    "unique": lambda x: x.unique(),
    "topk": lambda x: x.topk(min(100, x.numel())),
    "sort of rows": lambda x: x.reshape(-1, 64).sort(1),
}


class Ordered(common.Kept):
    """Vectors of n floats, or integers below 1000."""

    params = [list(ORDERED), ["float32", "float64", "int64"], [64, 1_000_000 // 64 * 64]]
    param_names = ["call", "dtype", "n"]
    small = {"longest": 128}
    longest = 1 << 30

    def make(self, call, dtype, n):
        n = min(n, self.longest)
        x = common.integers(1000, n) if dtype == "int64" else common.normal(n)
        self.x = x.to(getattr(ft, dtype))

    def time_call(self, call, dtype, n):
        return ORDERED[call](self.x)


DRAWN = {
    "uniform": lambda n: ft.rand(n),
    "normal": lambda n: ft.randn(n),
    "integers": lambda n: ft.randint(0, 100, (n,)),
    "permutation": lambda n: ft.randperm(n),
    "dropout mask": lambda n: F.dropout(ft.ones(n), 0.1),
}


class Drawn(common.Kept):
    """Random numbers, few and many."""

    params = [list(DRAWN), [1000, 1_000_000]]
    param_names = ["call", "n"]
    small = {"longest": 20}
    longest = 1 << 30

    def make(self, call, n):
        self.n = min(n, self.longest)

    def time_call(self, call, n):
        return DRAWN[call](self.n)


SOLVED = {
    "solve": lambda a, _s, b: ft.linalg.solve(a, b),
    "cholesky": lambda _a, s, _b: ft.linalg.cholesky(s),
    "inv": lambda a, _s, _b: ft.linalg.inv(a),
    "det": lambda a, _s, _b: ft.linalg.det(a),
    "solve_triangular": lambda a, _s, b: ft.linalg.solve_triangular(a, b, upper=False),
    "svd": lambda a, _s, _b: ft.linalg.svd(a),
    "eigh": lambda _a, s, _b: ft.linalg.eigh(s),
}


class SmallMatrices(common.Kept):
    """1000 matrices at once."""

    params = [list(SOLVED), [3, 4, 8, 16]]
    param_names = ["call", "n"]
    batch = 1000
    small = {"batch": 5}

    def make(self, call, n):
        a = common.normal(self.batch, n, n) + n * ft.eye(n)
        self.args = a, a @ a.mT, common.normal(self.batch, n, 1)

    def time_call(self, call, n):
        return SOLVED[call](*self.args)


class Sampled(common.Kept):
    """grid_sample forward, and with the gradients of image and grid."""

    params = ["bilinear", "nearest", "bicubic"]
    param_names = ["mode"]
    ops = ["grid_sample", "grid_sample_grad"]
    side = 56
    small = {"side": 4}

    def make(self, mode):
        n = self.side
        self.x = common.normal(8, 16, n, n).detach().requires_grad_()
        self.grid = (common.normal(8, n, n, 2) * 0.6).detach().requires_grad_()
        self.mode = mode

    def forward(self):
        return F.grid_sample(self.x, self.grid, mode=self.mode, align_corners=False)

    def time_forward(self, mode):
        with ft.no_grad():
            return self.forward()

    def time_forward_backward(self, mode):
        self.x.grad = self.grid.grad = None
        self.forward().sum().backward()
