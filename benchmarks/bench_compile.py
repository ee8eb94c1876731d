"""Compiled functions beside the same functions uncompiled, and what compiling costs."""

import functorch_like as ft

from . import common, workloads

OURS = workloads.framework("ours")


class CompiledCall(common.Kept):
    """A call of sixteen ops on four elements: the price of a call."""

    def make(self):
        self.a, self.b = workloads.chain_inputs(OURS)
        self.compiled = ft.compile(workloads.chain16)

    def time_compiled(self):
        return self.compiled(self.a, self.b)

    def time_eager(self):
        return workloads.chain16(self.a, self.b)

    def time_compile(self):
        return ft.compile(workloads.chain16)(self.a, self.b)


class CompiledChain(common.Kept):
    """An elementwise chain on 1e7 elements: one sweep over memory."""

    def make(self):
        self.x = [common.normal(10**7) for _ in range(3)]
        self.compiled = ft.compile(workloads.fused_chain)

    def time_compiled(self):
        return self.compiled(*self.x)

    def time_eager(self):
        return workloads.fused_chain(*self.x)


def squared_error(x, y):
    return ((x - y) * (x - y)).mean()


def attention_weights(x, mask):
    return (x * 0.125).masked_fill(mask, -ft.inf).softmax(-1)


class CompiledReduction(common.Kept):
    """Reductions and softmaxes that take what a sweep makes tile by tile."""

    params = ["squared error of 1e7", "attention weights"]
    param_names = ["function"]

    def make(self, function):
        if function == "attention weights":
            mask = ft.ones(512, 512).tril() == 0
            self.function, self.x = attention_weights, (common.normal(16, 8, 512, 512), mask)
        else:
            self.function, self.x = squared_error, (common.normal(10**7), common.normal(10**7))
        self.compiled = ft.compile(self.function)

    def time_compiled(self, function):
        return self.compiled(*self.x)

    def time_eager(self, function):
        return self.function(*self.x)


class CompiledTransform(common.Kept):
    """Transforms as one program."""

    params = ["grad", "hessian", "per-sample gradients"]
    param_names = ["transform"]

    def make(self, transform):
        if transform == "per-sample gradients":
            p, (x, y) = workloads.mlp_params(OURS), workloads.images(OURS, 784)
            self.function, self.args = workloads.per_sample(OURS, workloads.mlp), (p, x, y)
        else:
            self.function = getattr(ft, transform)(workloads.cubic)
            self.args = (common.normal(4),)
        self.compiled = ft.compile(self.function)

    def time_compiled(self, transform):
        return self.compiled(*self.args)

    def time_eager(self, transform):
        return self.function(*self.args)


class CompiledTraining(common.Kept):
    """A training step, batch 64: forward, backward, update."""

    params = ["mlp", "lenet"]
    param_names = ["model"]

    def make(self, model):
        self.step = workloads.steps(OURS, model)
        self.compiled = ft.compile(workloads.steps(OURS, model))

    def time_compiled(self, model):
        return self.compiled()

    def time_eager(self, model):
        return self.step()

    def time_compile(self, model):
        return ft.compile(self.step)()
