"""Layer and RMS norm over the last dimension of [rows, 1000], batch and group norm of images."""

import functorch_like as ft
from functorch_like.op import TABLE

from . import common


class Norm(common.Kept):
    """Each fused entry."""

    params = ["layer_norm", "layer_norm_grad", "rms_norm", "rms_norm_grad"]
    param_names = ["op"]
    rows = 4096
    small = {"rows": 4}

    def make(self, op):
        n, k = self.rows, 1000
        x, ct, w = common.normal(n, k), common.normal(n, k, seed=1), common.normal(k, seed=2)
        mean, rstd = x.mean(1, keepdim=True), 1 / x.std(1, keepdim=True)
        self.op = TABLE[op]
        self.args, self.params_of_op = {
            "layer_norm": ((x, w, w), {"n": 1, "eps": 1e-5}),
            "layer_norm_grad": ((ct, x, mean, rstd, w), {"n": 1}),
            "rms_norm": ((x, w), {"n": 1, "eps": 1e-5}),
            "rms_norm_grad": ((ct, x, rstd, w), {"n": 1}),
        }[op]

    def call(self):
        return self.op(*self.args, **self.params_of_op)

    def time_op(self, op):
        return self.call()

    def track_rate(self, op):
        return common.traffic(self.call, *self.args)

    track_rate.unit = "GB/s"


class Channels(common.Kept):
    """Each fused entry on images: statistics per channel, or of 8 groups, or given."""

    params = [["channel_norm", "channel_norm_grad", "channel_scale"], [0, 8]]
    param_names = ["op", "groups"]
    n, side = 32, 28
    small = {"n": 2, "side": 2}

    def make(self, op, groups):
        n, c = self.n, 64
        x, ct = (common.normal(n, c, self.side, self.side, seed=seed) for seed in (0, 1))
        w, part = common.normal(c, seed=2), (n, groups) if groups else (c,)
        mean, var = common.normal(*part, seed=3), common.normal(*part, seed=4) ** 2
        self.op = TABLE[op]
        how = {"groups": groups, "eps": 1e-5}
        self.args, self.params_of_op = {
            "channel_norm": ((x, w, w), how),
            "channel_norm_grad": ((ct, x, mean, var, w), how | {"fixed": False}),
            "channel_scale": ((x, w, w * w, w, w), {"eps": 1e-5}),
        }[op]

    def call(self):
        return self.op(*self.args, **self.params_of_op)

    def time_op(self, op, groups):
        return self.call()

    def track_rate(self, op, groups):
        return common.traffic(self.call, *self.args)

    track_rate.unit = "GB/s"


class Layers(common.Kept):
    """Batch and group norm of images, forward and backward."""

    calls = {
        "batch_norm": lambda x, w: ft.batch_norm(x, None, None, w, w, True),
        "group_norm": lambda x, w: ft.group_norm(x, 4, w, w),
    }
    params = list(calls)
    param_names = ["call"]
    n = 32
    small = {"n": 2}

    def make(self, call):
        self.x, self.w = common.normal(self.n, 16, 32, 32), common.normal(16, seed=1)
        self.x.requires_grad_()

    def time_both(self, call):
        self.calls[call](self.x, self.w).sum().backward()
