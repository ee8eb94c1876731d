"""Matrix products: square, thin and batched, float32; GFLOP/s count 2 m n k."""

import functorch_like as ft

from . import common


class Square(common.Kept):
    """[n, n] @ [n, n]."""

    ops = ["matmul"]
    params = [64, 128, 256, 512, 1024, 2048]
    param_names = ["n"]

    def make(self, n):
        self.a, self.b = common.normal(n, n), common.normal(n, n, seed=1)

    def time_matmul(self, n):
        return self.a @ self.b

    def track_rate(self, n):
        return 2e-9 * n**3 / common.seconds("a @ b", {"a": self.a, "b": self.b})

    track_rate.unit = "GFLOP/s"


class Shapes(common.Kept):
    """Products of other shapes: what models call."""

    shapes = {
        "batched 64 of 4": ([64, 4, 4], [64, 4, 4]),
        "batched 64 of 64": ([64, 64, 64], [64, 64, 64]),
        "batched 1000 of 16": ([1000, 16, 16], [1000, 16, 16]),
        "batched 4096 of 8": ([4096, 8, 8], [4096, 8, 8]),
        "batched 10000 of 3": ([10000, 3, 3], [10000, 3, 3]),
        "outer products, 64 samples": ([64, 256, 1], [64, 1, 784]),
        "broadcast 64 of 64": ([64, 64, 64], [64, 64]),
        "matrix by vector": ([2048, 2048], [2048]),
        "vector by matrix": ([2048], [2048, 2048]),
        "thin": ([64, 784], [784, 256]),
        "outer": ([1024, 16], [16, 1024]),
        "inner": ([16, 65536], [65536, 16]),
    }
    params = list(shapes)
    param_names = ["shape"]

    def make(self, shape):
        a, b = self.shapes[shape]
        self.a, self.b = common.normal(*a), common.normal(*b, seed=1)

    def time_matmul(self, shape):
        return self.a @ self.b

    def track_rate(self, shape):
        out = self.a @ self.b
        flops = 2 * out.numel() * self.a.shape[-1]
        return 1e-9 * flops / common.seconds("a @ b", {"a": self.a, "b": self.b})

    track_rate.unit = "GFLOP/s"


class Half(common.Kept):
    """[n, n] @ [n, n] of 16-bit floats, summed in float32."""

    params = [["bfloat16", "float16"], [64, 256, 1024]]
    param_names = ["dtype", "n"]

    def make(self, dtype, n):
        kind = getattr(ft, dtype)
        self.a, self.b = (common.normal(n, n, seed=i).to(kind) for i in range(2))

    def time_matmul(self, dtype, n):
        return self.a @ self.b

    def track_rate(self, dtype, n):
        return 2e-9 * n**3 / common.seconds("a @ b", {"a": self.a, "b": self.b})

    track_rate.unit = "GFLOP/s"


class Layouts(common.Kept):
    """[512, 512] products of transposed and strided operands."""

    params = ["transposed @ plain", "plain @ transposed", "both transposed", "strided"]
    param_names = ["layout"]

    def make(self, layout):
        a, b = common.normal(512, 512), common.normal(512, 512, seed=1)
        self.a, self.b = {
            "transposed @ plain": (a.T, b),
            "plain @ transposed": (a, b.T),
            "both transposed": (a.T, b.T),
            "strided": (common.normal(512, 1024)[:, ::2], b),
        }[layout]

    def time_matmul(self, layout):
        return self.a @ self.b


class Linear(common.Kept):
    """x W^T + b with x [64, 784], W [256, 784]."""

    ops = ["linear"]

    def make(self):
        self.x, self.w = common.normal(64, 784), common.normal(256, 784, seed=1).requires_grad_()
        self.b = common.normal(256, seed=2).requires_grad_()

    def forward(self):
        from nn.functional import linear

        return linear(self.x, self.w, self.b)

    def time_forward(self):
        with ft.no_grad():
            return self.forward()

    def time_forward_backward(self):
        self.w.grad = self.b.grad = None
        self.forward().sum().backward()
