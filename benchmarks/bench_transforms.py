"""Transforms of functions, each beside what one would write by hand where that is short.

time_by_hand computes the same with the derivative written out; what time_transform takes beyond it
is the price of the transform.
"""

import functorch_like as ft

from . import common, workloads

OURS = workloads.framework("ours")


class Grad(common.Kept):
    """grad of a function of two ops, four elements."""

    def make(self):
        self.x = common.normal(4)
        self.grad = ft.grad(workloads.square_sum)

    def time_transform(self):
        return self.grad(self.x)

    def time_by_tape(self):
        x = self.x.detach().requires_grad_()
        workloads.square_sum(x).backward()
        return x.grad

    def time_by_hand(self):
        return self.x * 2.0


class NestedGrad(common.Kept):
    """Derivatives of tanh(x) sin(x) by grads within grads."""

    params = [1, 2, 3, 5]
    param_names = ["order"]

    def make(self, order):
        self.x = ft.tensor(0.7)
        self.grad = workloads.nested_grad(OURS, order)

    def time_transform(self, order):
        return self.grad(self.x)


class CubicHessian(common.Kept):
    """hessian of the sum of cubes of four numbers."""

    def make(self):
        self.x = common.normal(4)
        self.hessian = ft.hessian(workloads.cubic)

    def time_transform(self):
        return self.hessian(self.x)

    def time_by_hand(self):
        return ft.diag(self.x * 6.0)


class VmapOneOp(common.Kept):
    """vmap of sin over 64 lanes of four elements."""

    def make(self):
        self.x = common.normal(64, 4)
        self.mapped = ft.vmap(lambda x: x.sin())

    def time_transform(self):
        return self.mapped(self.x)

    def time_by_hand(self):
        return self.x.sin()


class PerSampleMLP(common.Kept):
    """One gradient a sample of the 784-256-256-10 MLP, batch 64: 69 MB of gradients."""

    warm = False
    batch = 64
    small = {"batch": 4}

    def make(self):
        self.p = workloads.mlp_params(OURS)
        self.x, self.y = workloads.images(OURS, 784, batch=self.batch)
        self.gradients = workloads.per_sample(OURS, workloads.mlp)

    def transform(self):
        return self.gradients(self.p, self.x, self.y)

    def time_transform(self):
        return self.transform()

    def time_by_hand(self):
        p, h0 = self.p, self.x
        h1 = (h0 @ p["w1"].T + p["b1"]).relu()
        h2 = (h1 @ p["w2"].T + p["b2"]).relu()
        d3 = (h2 @ p["w3"].T + p["b3"]).softmax(1)
        d3[ft.arange(len(self.y)), self.y] -= 1.0
        d2 = (d3 @ p["w3"]) * (h2 > 0)
        d1 = (d2 @ p["w2"]) * (h1 > 0)
        layers = ((d1, h0), (d2, h1), (d3, h2))
        grads = {f"w{i}": d.unsqueeze(2) * h.unsqueeze(1) for i, (d, h) in enumerate(layers, 1)}
        return grads | {f"b{i}": d for i, (d, _) in enumerate(layers, 1)}

    def track_memory(self):
        """Most bytes of tensors beyond the parameters and data, the gradients included."""
        ft.reset_peak_memory()
        before = ft.memory_allocated()
        self.transform()
        return ft.max_memory_allocated() - before

    def peakmem_transform(self):
        self.transform()

    track_memory.unit = "bytes"


class PerSampleLeNet(common.Kept):
    """One gradient a sample of LeNet-5, batch 64; by hand it is a loop over the samples."""

    warm = False
    batch = 64
    small = {"batch": 4}

    def make(self):
        self.p = workloads.lenet_params(OURS)
        self.x, self.y = workloads.images(OURS, 1, 28, 28, batch=self.batch)
        self.gradients = workloads.per_sample(OURS, workloads.lenet)
        self.one = ft.grad(workloads.sample_loss(OURS, workloads.lenet))

    def time_transform(self):
        return self.gradients(self.p, self.x, self.y)

    def time_by_hand(self):
        each = [self.one(self.p, x, y) for x, y in zip(self.x, self.y, strict=True)]
        return {name: ft.stack([grads[name] for grads in each]) for name in self.p}


class Jacobian(common.Kept):
    """The [64, 64] Jacobian of W2 tanh(W1 x + b1) + b2, sizes 64-128-64."""

    params = ["jacrev", "jacfwd"]
    param_names = ["mode"]

    def make(self, mode):
        function, self.x = workloads.tanh_layers(OURS)
        self.p = workloads.mlp_params(OURS, (64, 128, 64))
        self.jacobian = getattr(ft, mode)(function)

    def time_transform(self, mode):
        return self.jacobian(self.x)

    def time_by_hand(self, mode):
        h = (self.p["w1"] @ self.x + self.p["b1"]).tanh()
        return (self.p["w2"] * (1.0 - h * h)) @ self.p["w1"]


class Hessian(common.Kept):
    """The [100, 100] Hessian of w2 . tanh(W1 x + b1) with 64 units."""

    def make(self):
        function, self.x = workloads.tanh_scalar(OURS)
        self.w1, self.b1 = common.normal(64, 100, seed=1) * 0.1, common.normal(64, seed=2)
        self.w2 = common.normal(64, seed=3)
        self.hessian = ft.hessian(function)

    def transform(self):
        return self.hessian(self.x)

    def time_transform(self):
        return self.transform()

    def time_by_hand(self):
        h = (self.w1 @ self.x + self.b1).tanh()
        return (self.w1.T * (-2.0 * self.w2 * h * (1.0 - h * h))) @ self.w1

    def track_memory(self):
        """Most bytes of tensors beyond the parameters and data."""
        ft.reset_peak_memory()
        before = ft.memory_allocated()
        self.transform()
        return ft.max_memory_allocated() - before

    track_memory.unit = "bytes"


class HVP(common.Kept):
    """Hessian-vector product of the MLP's loss at batch 64: jvp of grad.

    By hand: gradients of the gradient's product with the direction, by the tape.
    """

    def make(self):
        self.hvp, self.p, self.v = workloads.hvp(OURS)
        self.x, self.y = workloads.images(OURS, 784)

    def time_transform(self):
        return self.hvp(self.p, self.v)

    def time_by_hand(self):
        p = {name: a.detach().requires_grad_() for name, a in self.p.items()}
        loss = OURS.F.cross_entropy(workloads.mlp(OURS, p, self.x), self.y)
        grads = ft.autograd.grad(loss, list(p.values()), create_graph=True)
        product = sum((g * v).sum() for g, v in zip(grads, self.v.values(), strict=True))
        return dict(zip(p, ft.autograd.grad(product, list(p.values())), strict=True))
