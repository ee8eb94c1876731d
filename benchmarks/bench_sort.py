"""Sorting, selection, searching, counting and special functions, on about 1e6 elements."""

import functorch_like as ft

from . import common

# op: a call. x is a square matrix, p the same in (0, 1), i small integers, w weights, s sorted
CALLS = {
    "sort": lambda d: d["x"].sort(1),
    "sort_values": lambda d: ft.msort(d["x"]),
    "argsort": lambda d: d["x"].argsort(1),
    "topk": lambda d: d["x"].topk(4, 1),
    "kthvalue": lambda d: d["x"].kthvalue(4, 1),
    "median": lambda d: d["x"].median(),
    "searchsorted": lambda d: ft.searchsorted(d["s"], d["x"]),
    "unique": lambda d: d["i"].unique(return_inverse=True),
    "unique_values": lambda d: d["i"].unique(),
    "bincount": lambda d: d["i"].bincount(),
    "bincount_weighted": lambda d: d["i"].bincount(d["w"]),
    "zeta": lambda d: ft.special.zeta(2.0, d["p"]),
}


class Sort(common.Kept):
    """Each op on [side, side]."""

    params = list(CALLS)
    param_names = ["op"]
    side = 1000
    small = {"side": 8}

    def make(self, op):
        n = self.side
        x = common.normal(n, n)
        self.data = {
            "x": x,
            "p": x.sigmoid(),
            "i": common.integers(1000, n * n),
            "w": x.reshape(-1),
            "s": common.normal(n, seed=1).sort().values,
        }
        self.call = CALLS[op]

    def time_op(self, op):
        return self.call(self.data)

    def track_rate(self, op):
        return common.traffic(lambda: self.call(self.data), self.data["x"])

    track_rate.unit = "GB/s"
