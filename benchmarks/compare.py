"""Our figures against torch in one run: python -m benchmarks.compare [--only NAME] [--json OUT].

Both frameworks live in one process and take turns: in every round each is timed once, in an order
that alternates, after a pause (threads of the other stop spinning) and untimed calls. The figure
is the median over the rounds of the ratio within a round, so that a machine whose speed drifts
does not disturb it. Before timing, both must compute the same result. The garbage collector is on;
objects made before the timing are frozen, so that neither pays for walking the other's modules.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import common, package, workloads
from .workloads import Framework

Call = tuple[str, dict[str, Any]]
LOWER, HIGHER = "at most", "at least"


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Args:
      make: the timed statement and its names, for either framework.
      target: what our time over torch's must be at most; with a rate, ours over torch's at least.
      flops: of a call, where the figure is a rate.
      same: compare the results; not where they are random.
    """

    name: str
    group: str
    target: float
    make: Callable[[Framework], Call]
    flops: float = 0.0
    same: bool = True


FIGURES: list[Figure] = []


def figure(name: str, group: str, target: float, **options: Any) -> Callable[..., Any]:
    """Puts a function that makes the timed statement on the list."""

    def put(make: Callable[[Framework], Call]) -> Callable[[Framework], Call]:
        FIGURES.append(Figure(name, group, target, make, **options))
        return make

    return put


# ---- issue 2 ----


@figure("add of two 4-element tensors", "issue 2", 0.6)
def _add4(f: Framework) -> Call:
    return "a + b", {"a": f.normal(4), "b": f.normal(4, seed=1)}


@figure("forward + backward of a 16-op chain, 4 elements", "issue 2", 0.6)
def _chain(f: Framework) -> Call:
    a, b = workloads.chain_inputs(f)
    return "chain(a, b)", {"chain": workloads.chain_gradient, "a": a.requires_grad_(), "b": b}


@figure("grad of a 2-op function", "issue 2", 0.3)
def _grad(f: Framework) -> Call:
    return "grad(x)", {"grad": f.func.grad(workloads.square_sum), "x": f.normal(4)}


@figure("add of 1e7 float32", "issue 2", 0.7)
def _add(f: Framework) -> Call:
    return "a + b", {"a": f.normal(10**7), "b": f.normal(10**7, seed=1)}


@figure("sgemm 1024", "issue 2", 1.0, flops=2 * 1024**3)
def _sgemm(f: Framework) -> Call:
    return "a @ b", {"a": f.normal(1024, 1024), "b": f.normal(1024, 1024, seed=1)}


@figure("digits CNN epoch", "issue 2", 1.0, same=False)
def _digits(f: Framework) -> Call:
    return "epoch()", {"epoch": workloads.digits_epoch(f)}


@figure("digits CNN epoch, batches cut beforehand", "issue 2", 1.0, same=False)
def _digits_ready(f: Framework) -> Call:
    return "epoch()", {"epoch": workloads.digits_epoch(f, ready=True)}


# ---- issue 4 ----


@figure("grad of a 2-op function, issue 4", "issue 4", 0.15)
def _grad_again(f: Framework) -> Call:
    return _grad(f)


@figure("hessian of a 4-vector cubic", "issue 4", 0.15)
def _cubic(f: Framework) -> Call:
    return "hessian(x)", {"hessian": f.func.hessian(workloads.cubic), "x": f.normal(4)}


@figure("vmap of one op", "issue 4", 0.3)
def _vmap(f: Framework) -> Call:
    return "mapped(x)", {"mapped": f.func.vmap(lambda x: x.sin()), "x": f.normal(64, 4)}


@figure("per-sample gradients, MLP, batch 64", "issue 4", 0.5)
def _per_sample_mlp(f: Framework) -> Call:
    p, (x, y) = workloads.mlp_params(f), workloads.images(f, 784)
    return "g(p, x, y)", {"g": workloads.per_sample(f, workloads.mlp), "p": p, "x": x, "y": y}


@figure("per-sample gradients, CNN, batch 64", "issue 4", 0.5)
def _per_sample_cnn(f: Framework) -> Call:
    p, (x, y) = workloads.lenet_params(f), workloads.images(f, 1, 28, 28)
    return "g(p, x, y)", {"g": workloads.per_sample(f, workloads.lenet), "p": p, "x": x, "y": y}


@figure("jacrev 64-128-64", "issue 4", 0.4)
def _jacrev(f: Framework) -> Call:
    function, x = workloads.tanh_layers(f)
    return "jacobian(x)", {"jacobian": f.func.jacrev(function), "x": x}


@figure("jacfwd 64-128-64", "issue 4", 0.4)
def _jacfwd(f: Framework) -> Call:
    function, x = workloads.tanh_layers(f)
    return "jacobian(x)", {"jacobian": f.func.jacfwd(function), "x": x}


@figure("hessian, n = 100, two-layer tanh MLP", "issue 4", 0.3)
def _hessian(f: Framework) -> Call:
    function, x = workloads.tanh_scalar(f)
    return "hessian(x)", {"hessian": f.func.hessian(function), "x": x}


@figure("HVP of the MLP loss", "issue 4", 0.5)
def _hvp(f: Framework) -> Call:
    function, p, v = workloads.hvp(f)
    return "hvp(p, v)", {"hvp": function, "p": p, "v": v}


@figure("5th nested derivative", "issue 4", 0.1)
def _nested(f: Framework) -> Call:
    return "d(x)", {"d": workloads.nested_grad(f, 5), "x": f.array(np.float32(0.7))}


# ---- issue 6: ours compiled, torch eager ----


@figure("compiled 16-op chain, 4 elements, torch eager", "issue 6", 0.2)
def _compiled_call(f: Framework) -> Call:
    a, b = workloads.chain_inputs(f)
    return "chain(a, b)", {"chain": workloads.compiled(f, workloads.chain16), "a": a, "b": b}


@figure("compiled elementwise chain of 1e7, torch eager", "issue 6", 0.2)
def _compiled_sweep(f: Framework) -> Call:
    names = {k: f.normal(10**7, seed=i) for i, k in enumerate("abc")}
    return "chain(a, b, c)", {"chain": workloads.compiled(f, workloads.fused_chain), **names}


@figure("compiled per-sample gradients, MLP, torch eager", "issue 6", 0.5)
def _compiled_per_sample(f: Framework) -> Call:
    call, names = _per_sample_mlp(f)
    return call, {**names, "g": workloads.compiled(f, names["g"])}


@figure("compiled hessian, n = 100, torch eager", "issue 6", 0.3)
def _compiled_hessian(f: Framework) -> Call:
    function, x = workloads.tanh_scalar(f)
    return "h(x)", {"h": workloads.compiled(f, f.func.hessian(function)), "x": x}


@figure("compiled training step, MLP, torch eager", "issue 6", 0.6, same=False)
def _compiled_mlp(f: Framework) -> Call:
    return "step()", {"step": workloads.compiled(f, workloads.steps(f, "mlp"))}


@figure("compiled training step, LeNet, torch eager", "issue 6", 0.9, same=False)
def _compiled_lenet(f: Framework) -> Call:
    return "step()", {"step": workloads.compiled(f, workloads.steps(f, "lenet"))}


# ---- measuring ----


def leaves(value: Any) -> Iterator[Any]:
    """The arrays in a result."""
    if isinstance(value, dict):
        for key in sorted(value):
            yield from leaves(value[key])
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from leaves(item)
    else:
        yield value.detach().numpy()


def check_same(calls: list[Call]) -> None:
    """Both results agree within what float32 allows, measured against the largest element."""
    ours, theirs = (list(leaves(eval(call, names))) for call, names in calls)
    assert len(ours) == len(theirs), f"{len(ours)} results, torch gives {len(theirs)}"
    for a, b in zip(ours, theirs, strict=True):
        scale = float(np.abs(b).max(initial=0.0))
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-4 * scale)


def measure(fig: Figure, pair: list[Framework], rounds: int, block: float) -> dict[str, Any]:
    """Seconds a call of both, and the median ratio of ours to torch's."""
    calls = [fig.make(f) for f in pair]
    if fig.same:
        check_same(calls)
    clocks = [common.timer(call, names) for call, names in calls]
    numbers = [common.enough(clock, block) for clock in clocks]
    gc.collect()
    gc.freeze()
    times: list[list[float]] = [[], []]
    for i in range(rounds):
        for side in (0, 1) if i % 2 == 0 else (1, 0):
            time.sleep(min(0.01, block))
            clocks[side].timeit(max(1, numbers[side] // 5))
            times[side].append(clocks[side].timeit(numbers[side]) / numbers[side])
    gc.unfreeze()
    ratios = [ours / theirs for ours, theirs in zip(*times, strict=True)]
    ours, theirs = (statistics.median(t) for t in times)
    ratio = statistics.median(ratios)
    low, high = min(ratios), max(ratios)
    if fig.flops:
        ratio, low, high = 1 / ratio, 1 / high, 1 / low
    return {
        "figure": fig.name,
        "group": fig.group,
        "ours": shown(ours, fig.flops),
        "torch": shown(theirs, fig.flops),
        "ratio": ratio,
        "ratios": [low, high],
        "target": f"{HIGHER if fig.flops else LOWER} {fig.target}x",
        "met": ratio >= fig.target if fig.flops else ratio <= fig.target,
        "seconds": {"ours": times[0], "torch": times[1]},
    }


def import_figure(runs: int) -> dict[str, Any]:
    """Import time of functorch_like and nn; torch's beside it for comparison only."""
    ours = package.import_seconds("functorch_like, nn", runs)
    theirs = package.import_seconds("torch", min(runs, 3))
    return absolute("import of functorch_like + nn", ours, theirs, 0.15, "s")


def size_figure() -> dict[str, Any]:
    """Installed size; torch's beside it for comparison only."""
    from importlib.metadata import files

    theirs = sum(p.stat().st_size for f in files("torch") or [] if (p := Path(f.locate())).exists())
    ours = package.installed_bytes()
    return absolute("installed size without OpenBLAS", ours / 1e6, theirs / 1e6, 10.0, "MB")


def absolute(name: str, ours: float, theirs: float, target: float, unit: str) -> dict[str, Any]:
    """A line whose target is not a ratio."""
    return {
        "figure": name,
        "group": "issue 2",
        "ours": f"{ours:.3g} {unit}",
        "torch": f"{theirs:.3g} {unit}",
        "ratio": ours / theirs,
        "target": f"{LOWER} {target:g} {unit}",
        "met": ours <= target,
    }


ABSOLUTE = {
    "import of functorch_like + nn": lambda runs: import_figure(runs),
    "installed size without OpenBLAS": lambda _runs: size_figure(),
}


def shown(elapsed: float, flops: float) -> str:
    """A time with a fitting unit, or the rate."""
    if flops:
        return f"{flops / elapsed / 1e9:.1f} GFLOP/s"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if elapsed >= size:
            return f"{elapsed / size:.3g} {unit}"
    return f"{elapsed * 1e9:.0f} ns"


# ---- the table ----

HEAD = ("figure", "ours", "torch", "ratio", "target", "met")


def row(line: dict[str, Any]) -> list[str]:
    """The cells of a line."""
    if "failed" in line:
        return [line["figure"], "failed", "", "", line["target"], "no"]
    ratio = f"{line['ratio']:.3g}x"
    if "ratios" in line:
        ratio += " ({:.3g}..{:.3g})".format(*line["ratios"])
    met = "yes" if line["met"] else "no"
    return [line["figure"], line["ours"], line["torch"], ratio, line["target"], met]


def table(lines: list[dict[str, Any]]) -> str:
    """A table that reads well in a terminal and in Markdown, group by group."""
    rows = [HEAD, *map(row, lines)]
    widths = [max(len(r[i]) for r in rows) for i in range(len(HEAD))]

    def text(cells: Any) -> str:
        cells = [c.ljust(w) for c, w in zip(cells, widths, strict=True)]
        return "| " + " | ".join(cells) + " |"

    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    parts = []
    for group in dict.fromkeys(line["group"] for line in lines):
        inside = [text(row(line)) for line in lines if line["group"] == group]
        parts.append("\n".join([f"{group.capitalize()}:", "", text(HEAD), rule, *inside]))
    return "\n\n".join(parts)


def machine(threads: int) -> dict[str, Any]:
    """Where and with what this was measured."""
    import torch

    import functorch_like as ft

    cpu = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = [x for x in info.read_text("utf-8").splitlines() if x.startswith("model name")]
        cpu = found[0].partition(":")[2].strip() if found else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": threads,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "functorch_like": ft.__version__,
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare", description="Our figures against torch in one run."
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="figures whose name has it")
    parser.add_argument("--threads", type=int, default=2, help="default 2")
    parser.add_argument(
        "--rounds", type=int, default=15, help="turns of each framework, default 15"
    )
    parser.add_argument("--block", type=float, default=0.05, help="seconds of a turn, default 0.05")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every timing there")
    parser.add_argument("--list", action="store_true", help="name the figures and stop")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Measures and prints; 0 if nothing failed. A target that is not met is not a failure."""
    args = arguments(argv)
    wanted = [w.lower() for w in args.only or [""]]
    figures = [f for f in FIGURES if any(w in f.name.lower() for w in wanted)]
    plain = [name for name in ABSOLUTE if any(w in name.lower() for w in wanted)]
    if args.list:
        print(*[f"{f.group}: {f.name}" for f in figures], sep="\n")
        print(*[f"issue 2: {name}" for name in plain], sep="\n")
        return 0
    if not figures and not plain:
        print(f"no figure has {args.only} in its name; see --list", file=sys.stderr)
        return 2
    pair = [workloads.framework("ours"), workloads.framework("torch")]
    for f in pair:
        f.m.set_num_threads(args.threads)
        f.m.manual_seed(0)
    where = machine(args.threads)
    print(", ".join(f"{key} {value}" for key, value in where.items()), end="\n\n")
    if (where["load"] or 0.0) > 0.5:
        print(
            "The machine was not quiet: waiting at OpenMP barriers makes torch many times slower.\n"
        )
    lines = []
    jobs: list[tuple[str, str, Callable[[], dict[str, Any]]]] = [
        (f.name, f.group, lambda f=f: measure(f, pair, args.rounds, args.block)) for f in figures
    ]
    jobs += [(n, "issue 2", lambda n=n: ABSOLUTE[n](min(7, args.rounds))) for n in plain]
    for name, group, job in jobs:
        try:
            line = job()
        except Exception as error:
            line = {"figure": name, "group": group, "target": "", "met": False}
            line["failed"] = f"{type(error).__name__}: {error}"
        lines.append(line)
        progress = row(line)
        print(*progress[:4], line.get("failed", ""), sep="  ", file=sys.stderr, flush=True)
    print(table(lines))
    if args.json:
        args.json.write_text(json.dumps({"machine": where, "figures": lines}, indent=1) + "\n")
    return 1 if any("failed" in line for line in lines) else 0


if __name__ == "__main__":
    chosen = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
    if len(chosen) < len(os.environ):  # they would pin OpenBLAS to another processor's kernels
        here = [sys.executable, "-m", "benchmarks.compare", *sys.argv[1:]]
        os.execve(sys.executable, here, chosen)
    raise SystemExit(main())
