"""Optimizer steps of 1e7 parameters in 100 tensors."""

import functorch_like as ft
import nn

from . import common


class Step(common.Kept):
    """A step of each optimizer; the share counts every operand read and every state written."""

    made = {
        "SGD": (nn.optim.SGD, {"lr": 1e-3}, 3),
        "SGD, momentum": (nn.optim.SGD, {"lr": 1e-3, "momentum": 0.9}, 5),
        "Adam": (nn.optim.Adam, {"lr": 1e-3}, 7),
        "AdamW": (nn.optim.AdamW, {"lr": 1e-3}, 7),
        "RMSprop": (nn.optim.RMSprop, {"lr": 1e-3}, 5),
        "NAdam": (nn.optim.NAdam, {"lr": 1e-3}, 7),
    }
    params = list(made)
    param_names = ["optimizer"]
    tensors, size = 100, 100_000
    small = {"tensors": 2, "size": 16}

    def make(self, optimizer):
        cls, settings, self.passes = self.made[optimizer]
        parameters = [nn.Parameter(ft.zeros(self.size)) for _ in range(self.tensors)]
        for p in parameters:
            p.grad = ft.full((self.size,), 1e-3)
        self.optimizer = cls(parameters, **settings)
        self.optimizer.step()

    def time_step(self, optimizer):
        self.optimizer.step()

    def track_share(self, optimizer):
        x = common.normal(common.COPIED)
        copied = common.traffic(x.clone, x)
        nbytes = 4 * self.tensors * self.size * self.passes
        return 100 * nbytes / common.seconds(self.optimizer.step) / 1e9 / copied

    track_share.unit = "% of a copy's bandwidth"
