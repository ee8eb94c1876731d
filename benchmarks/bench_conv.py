"""Convolutions and pooling, float32, [n, c, h, w]; GFLOP/s count 2 for a multiply-add."""

import functorch_like as ft
import nn.functional as F
from functorch_like.op import TABLE

from . import common


class Conv2d(common.Kept):
    """conv2d of shapes as models have them, forward and with both gradients."""

    ops = ["convolution", "convolution_input_grad", "convolution_weight_grad"]
    # name: batch, channels in, channels out, side, kernel, padding, stride, groups(, dilation)
    shapes = {
        "digits 1to32 k3 8x8": (32, 1, 32, 8, 3, 1, 1, 1),
        "digits 32to64 k3 4x4": (32, 32, 64, 4, 3, 1, 1, 1),
        "LeNet 6to16 k5 14x14": (64, 6, 16, 14, 5, 0, 1, 1),
        "3to32 k3 32x32": (32, 3, 32, 32, 3, 1, 1, 1),
        "64to64 k3 28x28": (32, 64, 64, 28, 3, 1, 1, 1),
        "64to128 k3 stride 2 28x28": (32, 64, 128, 28, 3, 1, 2, 1),
        "256to256 k1 14x14": (32, 256, 256, 14, 1, 0, 1, 1),
        "depthwise 64 k3 28x28": (32, 64, 64, 28, 3, 1, 1, 64),
        "64to64 k3 28x28, one image": (1, 64, 64, 28, 3, 1, 1, 1),
        "64to64 k3 dilation 2 28x28": (32, 64, 64, 28, 3, 2, 1, 1, 2),
        "64to64 k3 28x28, 4 groups": (32, 64, 64, 28, 3, 1, 1, 4),
        "256to256 k3 14x14": (8, 256, 256, 14, 3, 1, 1, 1),
        "512to512 k3 7x7": (8, 512, 512, 7, 3, 1, 1, 1),
        "per sample 1to6 k5 28x28": (1, 64, 384, 28, 5, 2, 1, 64),
        "per sample 6to16 k5 14x14": (1, 384, 1024, 14, 5, 0, 1, 64),
    }
    params = list(shapes)
    param_names = ["shape"]

    def make(self, shape):
        n, c, out, side, k, padding, stride, groups, *dilation = self.shapes[shape]
        self.options = {"padding": padding, "stride": stride, "groups": groups}
        if dilation:
            self.options["dilation"] = dilation[0]
        self.x = common.normal(n, c, side, side).requires_grad_()
        self.w = common.normal(out, c // groups, k, k, seed=1).requires_grad_()
        y = self.forward()
        self.ct = common.normal(*y.shape, seed=2)
        self.flops = 2 * y.numel() * (c // groups) * k * k

    def forward(self):
        return F.conv2d(self.x, self.w, **self.options)

    def forward_backward(self):
        self.x.grad = self.w.grad = None
        self.forward().backward(self.ct)

    def time_forward(self, shape):
        with ft.no_grad():
            return self.forward()

    def time_forward_backward(self, shape):
        self.forward_backward()

    def track_forward_rate(self, shape):
        with ft.no_grad():
            return 1e-9 * self.flops / common.seconds(self.forward)

    def track_forward_backward_rate(self, shape):
        return 3e-9 * self.flops / common.seconds(self.forward_backward)

    def peakmem_forward_backward(self, shape):
        self.forward_backward()

    track_forward_rate.unit = track_forward_backward_rate.unit = "GFLOP/s"


class Pool(common.Kept):
    """Pooling of windows of 2 x 2."""

    ops = ["max_pool", "max_pool_grad", "avg_pool", "avg_pool_grad"]
    params = [["max", "average"], [(64, 6, 28, 28), (32, 64, 28, 28)]]
    param_names = ["kind", "shape"]

    def make(self, kind, shape):
        self.pool = ft.max_pool2d if kind == "max" else ft.avg_pool2d
        self.x = common.normal(*shape).requires_grad_()
        self.ct = common.normal(*self.pool(self.x, 2).shape, seed=1)

    def forward_backward(self):
        self.x.grad = None
        self.pool(self.x, 2).backward(self.ct)

    def time_forward(self, kind, shape):
        with ft.no_grad():
            return self.pool(self.x, 2)

    def time_forward_backward(self, kind, shape):
        self.forward_backward()


class PoolGather(common.Kept):
    """What max pooling picks from a tangent: its forward mode."""

    ops = ["pool_gather"]

    def make(self):
        x = common.normal(32, 64, 28, 28)
        self.x = common.normal(32, 64, 28, 28, seed=1)
        _, self.indices = ft.max_pool2d(x, 2, return_indices=True)

    def time_pool_gather(self):
        return TABLE["pool_gather"](self.x, self.indices, nd=2)
