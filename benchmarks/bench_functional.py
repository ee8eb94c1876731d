"""Programs of function transforms (functional.py), eager and compiled."""

from . import common, functional, workloads


class Functional(common.Kept):
    """Each program at its usual size."""

    params = list(functional.PROGRAMS)
    param_names = ["program"]
    size = None
    small = {"size": 5}

    def make(self, program):
        self.calls = functional.calls(workloads.framework("ours"), program, self.size)

    def time_eager(self, program):
        return self.calls["eager"]()

    def time_compiled(self, program):
        return self.calls["compiled"]()
