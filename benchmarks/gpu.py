"""`python -m benchmarks.gpu`: kernels as shares of what a GPU can do, beside torch if it is there.

A share is the bytes (or floating-point operations) a workload needs at least, by its time, over
the device's bandwidth (or rate): memory clock times bus width, and multiprocessors times 128 lanes
times two operations a clock, in float32 without tensor cores. `--small` uses sizes for the
emulated device, where only the path can be tried, not the speed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import functorch_like as ft
from functorch_like import cuda

LANES = 128  # of a multiprocessor, since compute capability 8.6; 64 on 8.0


class Workload(NamedTuple):
    """What is timed: a function of a library (ours or torch) that returns a call."""

    name: str
    make: Callable[[Any], Callable[[], Any]]
    nbytes: float = 0
    flops: float = 0


def workloads(small: bool) -> Iterator[Workload]:
    """Elementwise, reductions, rows, products, convolution, attention, indexing, sorting."""
    n = 1 << (10 if small else 24)
    rows, columns = (8, 32) if small else (16384, 1024)
    m = 32 if small else 4096
    batch, channels, size = (1, 4, 8) if small else (64, 64, 56)
    heads, length, width = (2, 32, 16) if small else (16, 2048, 64)

    def rand(lib: Any, *shape: int) -> Any:
        return lib.rand(*shape, device="cuda")

    def unary(function: str) -> Callable[[Any], Callable[[], Any]]:
        def make(lib: Any) -> Callable[[], Any]:
            x = rand(lib, n)
            return lambda: getattr(lib, function)(x)

        return make

    def binary(lib: Any) -> Callable[[], Any]:
        x, y = rand(lib, n), rand(lib, n)
        return lambda: x + y

    def row_wise(call: Callable[[Any, Any], Any]) -> Callable[[Any], Callable[[], Any]]:
        def make(lib: Any) -> Callable[[], Any]:
            x = rand(lib, rows, columns)
            return lambda: call(lib, x)

        return make

    def product(lib: Any) -> Callable[[], Any]:
        x, y = rand(lib, m, m), rand(lib, m, m)
        return lambda: x @ y

    def convolution(lib: Any) -> Callable[[], Any]:
        x, w = rand(lib, batch, channels, size, size), rand(lib, channels, channels, 3, 3)
        return lambda: lib.conv2d(x, w, padding=1)

    def attention(lib: Any) -> Callable[[], Any]:
        import importlib

        name = "nn.functional" if lib is ft else "torch.nn.functional"
        attend = importlib.import_module(name).scaled_dot_product_attention
        q, k, v = (rand(lib, 1, heads, length, width) for _ in range(3))
        return lambda: attend(q, k, v)

    def picked(lib: Any) -> Callable[[], Any]:
        x, index = rand(lib, rows, columns), lib.randint(0, rows, (rows,), device="cuda")
        return lambda: x[index]

    def ordered(lib: Any) -> Callable[[], Any]:
        x = rand(lib, n // 16)
        return lambda: lib.sort(x)

    items, table = 4.0 * n, 4.0 * rows * columns
    yield Workload("neg", unary("neg"), 2 * items)
    yield Workload("exp", unary("exp"), 2 * items)
    yield Workload("add", binary, 3 * items)
    yield Workload("sum", row_wise(lambda _, x: x.sum()), table)
    yield Workload("sum of rows", row_wise(lambda _, x: x.sum(1)), table)
    yield Workload("softmax", row_wise(lambda lib, x: lib.softmax(x, 1)), 2 * table)
    yield Workload("cumsum", row_wise(lambda lib, x: lib.cumsum(x, 1)), 2 * table)
    yield Workload("rows by index", picked, 2 * table)
    yield Workload("sort", ordered, 2 * items / 16)
    yield Workload("matmul", product, flops=2.0 * m**3)
    yield Workload("conv2d 3x3", convolution, flops=18.0 * batch * channels**2 * size**2)
    yield Workload("attention", attention, flops=4.0 * heads * length**2 * width)


def seconds(call: Callable[[], Any], events: Any, runs: int) -> float:
    """The time of one call on the device, the shortest of five groups of runs."""
    call()
    found = []
    for _ in range(5):
        start, end = events.Event(enable_timing=True), events.Event(enable_timing=True)
        start.record()
        for _ in range(runs):
            call()
        end.record()
        end.synchronize()
        found.append(start.elapsed_time(end) / 1e3 / runs)
    return min(found)


def main(arguments: list[str] | None = None) -> int:
    """Print a line for each workload; 1 where there is no GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--small", action="store_true", help="sizes for the emulated device")
    options = parser.parse_args(arguments)
    if not cuda.is_available():
        print(f"no GPU: {cuda.why_unavailable()}")
        return 1
    device = cuda.get_device_properties()
    bandwidth = 2e3 * device.memory_clock_rate * device.memory_bus_width / 8
    rate = 2e3 * device.clock_rate * device.multi_processor_count * LANES
    print(f"{device.name}: {bandwidth / 1e9:.0f} GB/s, {rate / 1e12:.1f} TFLOP/s in float32")
    try:
        import torch

        peer = torch if torch.cuda.is_available() else None
    except ImportError:
        peer = None
    runs = 1 if options.small else 20
    for work in workloads(options.small):
        ours = seconds(work.make(ft), cuda, runs)
        done, limit, unit = (
            (work.nbytes, bandwidth, "GB/s") if work.nbytes else (work.flops, rate, "GFLOP/s")
        )
        line = f"{work.name:15} {ours * 1e6:10.1f} us {done / ours / 1e9:10.1f} {unit:8}"
        if limit:
            line += f"{done / ours / limit:7.1%}"
        if peer is not None:
            line += f"   torch {ours / seconds(work.make(peer), peer.cuda, runs):.2f}x"
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
