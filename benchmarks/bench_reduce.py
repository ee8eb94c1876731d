"""Reductions, scans and the softmax family: along rows and columns and over everything."""

import functorch_like as ft
from functorch_like.op import TABLE
from functorch_like.testing import samples_of

from . import common

REDUCTIONS = [op.name for op in TABLE.values() if op.family == "reduce"]
SCANS = [op.name for op in TABLE.values() if op.family == "scan"]


class Reduce(common.Kept):
    """Every reduction of a square matrix, along rows, columns or both."""

    params = [REDUCTIONS, ["rows", "columns", "full"]]
    param_names = ["op", "along"]
    side = 1000
    small = {"side": 8}

    def make(self, op, along):
        self.op, self.x = TABLE[op], common.normal(self.side, self.side)
        if op == "prod":
            self.x = 1 + self.x * 1e-3
        _, given = samples_of(self.op)[0]  # the op's other params, correction of var for one
        if "dims" in given:
            dims = {"rows": (1,), "columns": (0,), "full": (0, 1)}[along]
            self.numbers = {**given, "dims": dims}
        else:
            self.x = self.x.reshape(-1) if along == "full" else self.x
            self.numbers = {**given, "dim": 1 if along == "rows" else 0}

    def reduce(self):
        return self.op(self.x, **self.numbers)

    def time_op(self, op, along):
        return self.reduce()

    def track_rate(self, op, along):
        return common.traffic(self.reduce, self.x)

    track_rate.unit = "GB/s"


class Large(common.Kept):
    """1e7 elements at once, from memory."""

    calls = {
        "sum": lambda x: x.sum(),
        "argmax": lambda x: x.argmax(),
        "var": lambda x: x.var(),
        "logsumexp": lambda x: x.logsumexp(0),
        "cumsum": lambda x: x.cumsum(0),
    }
    params = list(calls)
    param_names = ["op"]
    n = 10_000_000
    small = {"n": 16}

    def make(self, op):
        self.x = common.normal(self.n)

    def time_op(self, op):
        return self.calls[op](self.x)

    def track_rate(self, op):
        return common.traffic(lambda: self.calls[op](self.x), self.x)

    def track_share(self, op):
        return common.share(lambda: self.calls[op](self.x), self.x)

    track_rate.unit = "GB/s"
    track_share.unit = "% of a copy's bandwidth"


class Shapes(common.Kept):
    """About 1e7 elements in shapes that take other paths than rows and columns of a square."""

    calls = {
        "sum": lambda x, dims: x.sum(dims),
        "amax": lambda x, dims: x.amax(dims),
        "var": lambda x, dims: x.var(dims),
        "logsumexp": lambda x, dims: x.logsumexp(dims),
        "argmax": lambda x, dims: x.argmax(dims[0]),
        "cumsum": lambda x, dims: x.cumsum(dims[0]),
    }
    layouts = ["short rows", "short columns", "middle", "outer and inner", "every other"]
    params = [list(calls), layouts]
    param_names = ["call", "layout"]
    side = 1000
    small = {"side": 8}

    def make(self, call, layout):
        n = self.side
        self.x, self.dims = {
            "short rows": lambda: (common.normal(n * n, 8), (1,)),
            "short columns": lambda: (common.normal(8, n * n), (0,)),
            "middle": lambda: (common.normal(n, 100, n // 10), (1,)),
            "outer and inner": lambda: (common.normal(100, n, n // 10), (0, 2)),
            "every other": lambda: (common.normal(4 * n, 2 * n)[:, ::2], (1,)),
        }[layout]()

    def time_call(self, call, layout):
        return self.calls[call](self.x, self.dims)

    def track_rate(self, call, layout):
        return common.traffic(lambda: self.calls[call](self.x, self.dims), self.x)

    track_rate.unit = "GB/s"


class Scan(common.Kept):
    """Every scan of a square matrix."""

    params = [SCANS, ["rows", "columns"]]
    param_names = ["op", "along"]
    side = 1000
    small = {"side": 8}

    def make(self, op, along):
        self.op, self.dim = TABLE[op], 1 if along == "rows" else 0
        self.x = 1 + common.normal(self.side, self.side) * 1e-3
        self.operands, self.numbers = (self.x,), {"dim": self.dim}
        if op == "recurrence":  # of factors and terms
            self.operands, self.numbers = (self.x, self.x), {"dim": self.dim, "transposed": False}

    def time_op(self, op, along):
        return self.op(*self.operands, **self.numbers)

    def track_rate(self, op, along):
        return common.traffic(lambda: self.op(*self.operands, **self.numbers), *self.operands)

    track_rate.unit = "GB/s"


class Softmax(common.Kept):
    """The softmax family over the last dimension of [rows, 1000]."""

    params = [op.name for op in TABLE.values() if op.family == "softmax"]
    param_names = ["op"]
    rows = 4096
    small = {"rows": 4}

    def make(self, op):
        n, k = self.rows, 1000
        x, y, ct = common.normal(n, k), common.integers(k, n), common.normal(n, k, seed=1)
        self.op = TABLE[op]
        self.args, self.numbers = {
            "softmax": lambda: ((x,), {"dim": 1}),
            "log_softmax": lambda: ((x,), {"dim": 1}),
            "softmax_grad": lambda: ((ct, x.softmax(1)), {"dim": 1, "log": False}),
            "cross_entropy_rows": lambda: ((x, y), {"ignore_index": -100}),
            "cross_entropy_rows_grad": lambda: (
                (ft.ones(n), x, y, x.logsumexp(1)),
                {"ignore_index": -100},
            ),
        }[op]()

    def call(self):
        return self.op(*self.args, **self.numbers)

    def time_op(self, op):
        return self.call()

    def track_rate(self, op):
        return common.traffic(self.call, *self.args)

    track_rate.unit = "GB/s"
