"""Elementwise ops: every one of the op table at one size, three of them at more sizes and layouts.

Ops that take no floating dtype (bits, logic, gcd) run on int32. GB/s count every operand and the
result once.
"""

from functorch_like.op import TABLE

from . import common

ELEMENTWISE = [op.name for op in TABLE.values() if op.family in ("unary", "binary", "ternary")]


class EveryOp(common.Kept):
    """Each op on contiguous operands of n elements."""

    params = ELEMENTWISE
    param_names = ["op"]
    n = 1_000_000
    small = {"n": 16}

    def make(self, op):
        self.op = TABLE[op]
        self.args = common.operands(self.op, self.n)

    def time_op(self, op):
        return self.op(*self.args)

    def track_rate(self, op):
        return common.traffic(lambda: self.op(*self.args), *self.args)

    track_rate.unit = "GB/s"


class Sizes(common.Kept):
    """From dispatch to memory: 10 elements to 1e7."""

    params = [
        ["add", "exp", "tanh", "sin", "log", "erf", "sigmoid", "gelu"],
        [10, 1_000, 10_000, 100_000, 10_000_000],
    ]
    param_names = ["op", "n"]

    def make(self, op, n):
        self.op = TABLE[op]
        self.args = common.operands(self.op, n)

    def time_op(self, op, n):
        return self.op(*self.args)

    def track_rate(self, op, n):
        return common.traffic(lambda: self.op(*self.args), *self.args)

    def peakmem_op(self, op, n):
        return self.op(*self.args)

    track_rate.unit = "GB/s"


class Layouts(common.Kept):
    """add of [side, side] operands that do not lie one after the other."""

    params = [
        "contiguous",
        "row + column",
        "row",
        "column",
        "transposed",
        "both transposed",
        "strided",
        "channel",
        "short row",
        "short rows",
    ]
    param_names = ["layout"]
    side = 3000
    small = {"side": 8}

    def make(self, layout):
        n = self.side
        full, row, column = common.normal(n, n), common.normal(n), common.normal(n, 1, seed=1)
        other = common.normal(n, n, seed=2)
        self.args = {
            "contiguous": lambda: (full, other),
            "row + column": lambda: (row, column),
            "row": lambda: (full, row),
            "column": lambda: (full, column),
            "transposed": lambda: (full.T, other),
            "both transposed": lambda: (full.T, other.T),
            "strided": lambda: (common.normal(n, 2 * n)[:, ::2], other),
            "channel": lambda: (common.normal(n // 8, 8, n), common.normal(8, 1)),
            "short row": lambda: (common.normal(n * n // 8, 8), common.normal(8)),
            "short rows": lambda: (common.normal(n * n // 8, 8), common.normal(n * n // 8, 1)),
        }[layout]()

    def time_add(self, layout):
        x, y = self.args
        return x + y

    def track_rate(self, layout):
        x, y = self.args
        return common.traffic(lambda: x + y, x, y)

    def track_share(self, layout):
        x, y = self.args
        return common.share(lambda: x + y, x, y)

    track_rate.unit = "GB/s"
    track_share.unit = "% of a copy's bandwidth"
