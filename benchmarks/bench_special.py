"""Special functions with an order or a degree: scalar code, so elements a second, not GB/s, count.

Operands are those of each op's first sample, repeated.
"""

import functorch_like as ft
from functorch_like.op import TABLE
from functorch_like.samples import Samples
from functorch_like.testing import samples_of

from . import common

OPS = [
    op.name
    for op in TABLE.values()
    if op.family == "special" and isinstance(op.samples, Samples) and op.name != "zeta"
]


class SpecialFunctions(common.Kept):
    """Each op on contiguous float64 operands of n elements."""

    params = OPS
    param_names = ["op"]
    n = 120_000
    small = {"n": 12}

    def make(self, op):
        tensors, self.order = samples_of(TABLE[op], ft.float64)[0]
        self.op = TABLE[op]
        self.args = [ft.tile(t.reshape(-1), (self.n // t.numel(),)) for t in tensors]

    def time_op(self, op):
        return self.op(*self.args, **self.order)
