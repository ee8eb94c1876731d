"""Whole models of models.py: a training step, eager and compiled, and inference."""

from . import common, models, workloads


class Models(common.Kept):
    """Each model at its usual batch."""

    params = list(models.MODELS)
    param_names = ["model"]
    batch = None
    small = {"batch": 2}

    def make(self, model):
        self.calls = models.calls(workloads.framework("ours"), model, self.batch)

    def time_eager(self, model):
        return self.calls["eager"]()

    def time_compiled(self, model):
        return self.calls["compiled"]()

    def time_inference(self, model):
        return self.calls["inference"]()
