"""Ops that move or make data: casts, copies, joining, indexing, random numbers; about 1e6 elements.

Every op is called as users call it, on square matrices; GB/s count inputs and results once.
"""

import functorch_like as ft

from . import common


def write(x, y):
    """What an assignment to a part of a recorded tensor costs, a clone included."""
    z = x.clone()
    z[1:] = y[1:]
    return z


# op: the operands by name, and a call. x, y matrices, xr one that requires grad, i row numbers,
# j column numbers for every place, n the number of elements; pull, reflected: reverse rules
CALLS = {
    # casts and copies
    "to_dtype": ("x", lambda x: x.to(ft.float64)),
    "to_integer": ("x", lambda x: x.to(ft.int32)),
    "clone": ("x", lambda x: x.clone()),
    "contiguous": ("x", lambda x: x.T.contiguous()),
    # joining
    "cat": ("x y", lambda x, y: ft.cat((x, y), 1)),
    "stack": ("x y", lambda x, y: ft.stack((x, y))),
    "flip": ("x", lambda x: x.flip(1)),
    "roll": ("x", lambda x: x.roll(3, 1)),
    "repeat": ("x", lambda x: x.repeat(2, 2)),
    "tri": ("x", lambda x: x.tril()),
    "constant_pad": ("x", lambda x: ft.pad(x, (1, 1, 1, 1))),
    "edge_pad": ("x", lambda x: ft.pad(x, (3, 3, 3, 3), "reflect")),
    "edge_pad_grad": ("reflected x", lambda reflected, x: reflected(x)),
    # indexing
    "index_embed": ("pull y", lambda pull, y: pull(y[1:])),
    "index_write": ("xr y", write),
    "index": ("x i", lambda x, i: x[i]),
    "index_put": ("x i y", lambda x, i, y: x.index_put((i,), y, accumulate=True)),
    "gather": ("x j", lambda x, j: x.gather(1, j)),
    "scatter": ("x j y", lambda x, j, y: x.scatter(1, j, y)),
    "scatter_add": ("x j y", lambda x, j, y: x.scatter_add(1, j, y)),
    "scatter_prod": ("x j y", lambda x, j, y: x.scatter_reduce(1, j, y, "prod")),
    "scatter_amax": ("x j y", lambda x, j, y: x.scatter_reduce(1, j, y, "amax")),
    "scatter_amin": ("x j y", lambda x, j, y: x.scatter_reduce(1, j, y, "amin")),
    "index_select": ("x i", lambda x, i: x.index_select(0, i)),
    "index_add": ("x i y", lambda x, i, y: x.index_add(0, i, y)),
    "nonzero": ("x", lambda x: x.nonzero()),
    # random numbers
    "random": ("n", lambda n: ft.randn(n)),
    "random_int": ("n", lambda n: ft.randint(0, 10, (n,))),
    "random_perm": ("n", lambda n: ft.randperm(n)),
}


class Move(common.Kept):
    """Each op on [side, side]."""

    params = list(CALLS)
    param_names = ["op"]
    side = 1000
    small = {"side": 8}

    def make(self, op):
        side = self.side
        x, y = common.normal(side, side), common.normal(side, side, seed=1)
        names, self.call = CALLS[op]
        given = {
            "x": x,
            "y": y,
            "xr": x.clone().requires_grad_(),
            "i": common.integers(side, side),
            "j": common.integers(side, side, side),
            "n": side * side,
            "pull": lambda ct: self.pull(ct)[0],
            "reflected": lambda ct: self.reflected(ct)[0],
        }
        _, self.pull = ft.vjp(lambda x: x[1:], x)
        _, self.reflected = ft.vjp(lambda x: ft.pad(x, (1, 1), "reflect"), x[:, 2:])
        self.args = [given[name] for name in names.split()]

    def time_op(self, op):
        return self.call(*self.args)

    def track_rate(self, op):
        tensors = [a for a in self.args if isinstance(a, ft.Tensor)]
        return common.traffic(lambda: self.call(*self.args), *tensors)

    track_rate.unit = "GB/s"


class Copy(common.Kept):
    """Copies in another order, of [side, side] or of as many elements."""

    calls = {
        "transposed": lambda x: x.T.contiguous(),
        "channels last": lambda x: (
            x.reshape(-1, 50, x.shape[1] * 3 // 50, x.shape[1] // 3)
            .permute(0, 2, 3, 1)
            .contiguous()
        ),
        "heads": lambda x: x.reshape(-1, 75, 8, x.shape[1] // 24).permute(0, 2, 1, 3).contiguous(),
        "rows backwards": lambda x: x.flip(0),
        "columns backwards": lambda x: x.flip(1),
    }
    params = list(calls)
    param_names = ["call"]
    side = 3000
    small = {"side": 600}

    def make(self, call):
        self.x = common.normal(self.side, self.side)

    def time_copy(self, call):
        return self.calls[call](self.x)

    def track_share(self, call):
        return common.share(lambda: self.calls[call](self.x), self.x)

    track_share.unit = "% of a copy's bandwidth"
