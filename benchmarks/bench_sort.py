"""Sorting and what rests on it, on 1e6 elements: a square matrix along rows, or all at once."""

import functorch_like as ft

from . import common

# op: the operands by name, and a call. x a matrix, v all its elements, s the same sorted,
# i integers in [0, 1000)
CALLS = {
    "sort": ("x", lambda x: x.sort(1)),
    "sort_values": ("v", lambda v: ft.msort(v)),
    "argsort": ("x", lambda x: x.argsort(1)),
    "topk": ("x", lambda x: x.topk(10, 1)),
    "kthvalue": ("x", lambda x: x.kthvalue(10, 1)),
    "median": ("v", lambda v: v.median()),
    "searchsorted": ("s v", lambda s, v: ft.searchsorted(s, v)),
    "unique": ("i", lambda i: i.unique()),
    "bincount": ("i", lambda i: i.bincount()),
    "bincount_weighted": ("i v", lambda i, v: i.bincount(v)),
}


class Sort(common.Kept):
    """Each op of the family."""

    params = list(CALLS)
    param_names = ["op"]
    side = 1000
    small = {"side": 16}

    def make(self, op):
        x = common.normal(self.side, self.side)
        v = x.reshape(-1)
        names, self.call = CALLS[op]
        given = {"x": x, "v": v, "s": v.sort().values, "i": common.integers(1000, len(v))}
        self.args = [given[name] for name in names.split()]

    def time_op(self, op):
        return self.call(*self.args)

    def track_rate(self, op):
        """Millions of elements a second."""
        n = self.args[-1].numel()
        return 1e-6 * n / common.seconds(lambda: self.call(*self.args))

    track_rate.unit = "M/s"
