"""What a call costs when the arithmetic costs nothing: nanoseconds an op on four elements.

These are track_ benchmarks of ours, not time_: asv times single calls of benchmarks that have a
setup, which a call of 400 ns is too short for.
"""

import os
import tracemalloc

import functorch_like as ft
from functorch_like.op import TABLE
from functorch_like.testing import samples_of

from . import common, workloads


class SmallOp:
    """Nanoseconds a call as users write it."""

    statements = {
        "add": "a + b",
        "mul by number": "a * 2.0",
        "exp": "a.exp()",
        "sum": "a.sum()",
        "x[1:3]": "a[1:3]",
        "reshape": "a.reshape(2, 2)",
        "matmul 4x4": "m @ m",
        "in-place add": "c.add_(b)",
    }
    params = list(statements)
    param_names = ["call"]

    def setup(self, call):
        a, b = workloads.chain_inputs(workloads.framework("ours"))
        self.names = {"a": a, "b": b, "c": a.clone(), "m": common.normal(4, 4)}

    def track_plain(self, call):
        return 1e9 * common.seconds(self.statements[call], self.names)

    def track_requires_grad(self, call):
        self.names["a"] = self.names["a"].requires_grad_()
        self.names["m"] = self.names["m"].requires_grad_()
        return 1e9 * common.seconds(self.statements[call], self.names)

    track_plain.unit = track_requires_grad.unit = "ns"


class Entry:
    """Nanoseconds a call of every entry of the op table, on its first sample."""

    params = sorted(TABLE)
    param_names = ["entry"]

    def setup(self, entry):
        op = TABLE[entry]
        args, params = samples_of(op, common.dtype_for(op))[0]
        self.names = {"op": op, "args": args, "params": params}

    def track_entry(self, entry):
        return 1e9 * common.seconds("op(*args, **params)", self.names)

    track_entry.unit = "ns"


class TapeMemory:
    """Bytes by which the process grows for an op that is recorded, with its storage.

    From the resident pages, so that memory of C and of Python count alike. Ops on t are a chain,
    whose graph keeps what it needs of the results; results of the others are kept.
    """

    statements = {
        "add": "t + b",
        "mul": "t * a",
        "exp": "t.exp()",
        "matmul 4x4": "t @ c",
        "sum": "m.sum()",
        "x[1:3]": "m[1:3]",
        "softmax": "t.softmax(-1)",
        "not recorded": "b + b",
    }
    params = list(statements)
    param_names = ["call"]
    count = 20_000

    def setup(self, call):
        a, b = workloads.chain_inputs(workloads.framework("ours"))
        m = common.normal(4, 4).requires_grad_()
        start = m if call == "matmul 4x4" else a.requires_grad_()
        self.names = {"a": a, "b": b, "c": common.normal(4, 4), "m": m, "start": start}
        self.code = compile(self.statements[call], call, "eval")

    def track_bytes(self, call):
        self.grown(100)  # what the first calls keep for good
        return self.grown(self.count) / self.count

    def grown(self, count):
        names = {**self.names, "t": self.names["start"]}
        chained = "t" in self.code.co_names
        kept = [None] * count
        before = _resident()
        for i in range(count):
            names["t"] = eval(self.code, names)
            if not chained:
                kept[i] = names["t"]
        return _resident() - before

    track_bytes.unit = "bytes"


def _resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Chain:
    """A chain of 16 ops on four elements, by the tape."""

    def setup(self):
        self.a, self.b = workloads.chain_inputs(workloads.framework("ours"))
        self.a.requires_grad_()

    def forward(self):
        return workloads.chain16(self.a, self.b)

    def gradient(self):
        return workloads.chain_gradient(self.a, self.b)

    def track_no_grad(self):
        with ft.no_grad():
            return 1e6 * common.seconds(self.forward)

    def track_forward(self):
        return 1e6 * common.seconds(self.forward)

    def track_forward_backward(self):
        return 1e6 * common.seconds(self.gradient)

    def track_tensor_memory(self):
        """Bytes of tensors that the graph keeps after the forward pass."""
        before = ft.memory_allocated()
        out = self.forward()
        kept = ft.memory_allocated() - before
        del out
        return kept

    def track_python_memory(self):
        """Bytes of Python objects that the graph keeps after the forward pass."""
        self.forward()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            out = self.forward()
            kept = tracemalloc.get_traced_memory()[0] - before
            del out
        finally:
            tracemalloc.stop()
        return kept

    track_no_grad.unit = track_forward.unit = track_forward_backward.unit = "us"
    track_tensor_memory.unit = track_python_memory.unit = "bytes"
