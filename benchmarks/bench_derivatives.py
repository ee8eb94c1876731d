"""Derivatives beyond grad and Jacobians: Laplacians, Taylor mode, clipped gradients, checkpoints.

time_by_hand and track_*_by_hand are the same result by a simpler way, where there is one.
"""

import functorch_like as ft

from . import common


def peak(call):
    """Most bytes of tensors beyond those there before."""
    ft.reset_peak_memory()
    before = ft.memory_allocated()
    call()
    return ft.max_memory_allocated() - before


class Laplacian(common.Kept):
    """The Laplacian of w3 . tanh(tanh(x W1) W2), 256 inputs, two layers of 512."""

    width, inputs = 512, 256
    small = {"width": 8, "inputs": 4}

    def make(self):
        w1 = common.normal(self.inputs, self.width, seed=1) * 0.05
        w2 = common.normal(self.width, self.width, seed=2) * 0.04
        w3 = common.normal(self.width, seed=3) * 0.04
        self.x = common.normal(self.inputs)
        self.net = lambda x: ((x @ w1).tanh() @ w2).tanh() @ w3
        self.laplacian, self.hessian = ft.laplacian(self.net), ft.hessian(self.net)

    def time_transform(self):
        return self.laplacian(self.x)

    def time_by_hand(self):
        return self.hessian(self.x).trace()


class Taylor(common.Kept):
    """A directional derivative of tanh(x) sin(x), 1000 elements, by Taylor mode; by nested jvp."""

    params = [2, 4, 6]
    param_names = ["order"]
    size = 1000
    small = {"size": 4}

    def make(self, order):
        self.x, self.v = common.normal(self.size), common.normal(self.size, seed=1)

    def function(self, x):
        return x.tanh() * x.sin()

    def time_transform(self, order):
        return ft.directional_derivative(self.function, self.x, self.v, order)

    def time_by_hand(self, order):
        def along(f):
            return lambda x: ft.jvp(f, (x,), (self.v,))[1]

        f = self.function
        for _ in range(order):
            f = along(f)
        return f(self.x)


class ClippedGradients(common.Kept):
    """Per-sample norms and clipped sum of the gradients of 784-512-10, batch 256."""

    warm = False
    batch, sizes = 256, (784, 512, 10)
    small = {"batch": 4, "sizes": (8, 6, 3)}

    def make(self):
        n, hidden, classes = self.sizes
        self.p = [
            common.normal(hidden, n, seed=1) * 0.05,
            common.normal(hidden, seed=2),
            common.normal(classes, hidden, seed=3) * 0.05,
            common.normal(classes, seed=4),
        ]
        self.x = common.normal(self.batch, n)
        self.y = common.normal(self.batch, classes, seed=5)

        def loss(p, x, y):
            h = ft.relu(ft.linear(x, p[0], p[1]))
            return ((ft.linear(h, p[2], p[3]) - y) ** 2).sum()

        self.norms, self.clipped = ft.per_sample_norms(loss), ft.clipped_grad_sum(loss, 1.0)
        self.plain = ft.grad(lambda p: ft.vmap(loss, (None, 0, 0))(p, self.x, self.y).sum())

    def time_norms(self):
        return self.norms(self.p, self.x, self.y)

    def time_clipped(self):
        return self.clipped(self.p, self.x, self.y)

    def time_plain_gradient(self):
        return self.plain(self.p)

    def track_norms(self):
        return peak(lambda: self.norms(self.p, self.x, self.y))

    def track_plain_gradient(self):
        return peak(lambda: self.plain(self.p))

    track_norms.unit = track_plain_gradient.unit = "bytes"


class Checkpoint(common.Kept):
    """The gradient by the input of a tanh MLP of 24 layers, width 1024, batch 512; 5 segments."""

    params = ["grad", "tape"]
    param_names = ["way"]
    warm = False
    width, batch = 1024, 512
    small = {"width": 8, "batch": 4}

    def make(self, way):
        self.weights = [common.normal(self.width, self.width, seed=i) * 0.03 for i in range(24)]
        self.x = common.normal(self.batch, self.width)

    def part(self, x, some):
        for w in some:
            x = (x @ w).tanh()
        return x

    def plain(self, x):
        return (self.part(x, self.weights) ** 2).mean()

    def segmented(self, x):
        at = 0
        for size in (7, 6, 5, 4, 2):  # longer ones while fewer inputs of segments are alive
            x = ft.checkpoint(self.part, x, self.weights[at : at + size])
            at += size
        return (x**2).mean()

    def run(self, loss, way):
        if way == "grad":
            return ft.grad(loss)(self.x)
        x = self.x.clone().requires_grad_()
        loss(x).backward()
        return x.grad

    def time_transform(self, way):
        return self.run(self.segmented, way)

    def time_by_hand(self, way):
        return self.run(self.plain, way)

    def track_memory(self, way):
        return peak(lambda: self.run(self.segmented, way))

    def track_memory_by_hand(self, way):
        return peak(lambda: self.run(self.plain, way))

    track_memory.unit = track_memory_by_hand.unit = "bytes"


class SparseJacobian(common.Kept):
    """The Jacobian of squared second differences of 2000 numbers, as CSR; and with its pattern."""

    size = 2000
    small = {"size": 8}

    def make(self):
        self.x = common.normal(self.size)
        self.jacobian = ft.sparse_jacobian(self.function)
        pattern = ft.jacobian_sparsity(self.function, self.x)
        self.with_pattern = ft.sparse_jacobian(self.function, pattern=pattern)

    def function(self, x):
        return (x[2:] - 2 * x[1:-1] + x[:-2]) ** 2

    def time_transform(self):
        return self.jacobian(self.x)

    def time_with_pattern(self):
        return self.with_pattern(self.x)
