"""Bad input: a Python exception of the fitting class with `{op}: expected ..., got ...`; the
process and all tensors intact."""

import gc
import os
import re
import subprocess
import sys
import textwrap

import pytest

import functorch_like as ft

FORM = re.compile(r"^[\w. ()=\[\]]+: expected .+, got .+", re.DOTALL)

x23, x34, x56, v3 = ft.ones(2, 3), ft.ones(3, 4), ft.ones(5, 6), ft.ones(3)
i3 = ft.tensor([0, 1, 2])

CASES = {
    # shapes
    "add": (lambda: x23 + ft.ones(2), ft.ShapeError),
    "matmul": (lambda: x34 @ x56, ft.ShapeError),
    "matmul 0-d": (lambda: x23 @ ft.tensor(1.0), ft.ShapeError),
    "bmm": (lambda: ft.bmm(x23, x34), ft.ShapeError),
    "reshape": (lambda: x23.reshape(4), ft.ShapeError),
    "view": (lambda: x23.t().view(6), ft.ShapeError),
    "expand": (lambda: x23.expand(2, 4), ft.ShapeError),
    "cat": (lambda: ft.cat([x23, x34]), ft.ShapeError),
    "stack": (lambda: ft.stack([x23, x34]), ft.ShapeError),
    "where": (lambda: ft.where(x23 > 0, v3, ft.ones(2)), ft.ShapeError),
    "split": (lambda: v3.split([1, 1]), ft.ShapeError),
    "broadcast_to": (lambda: x23.broadcast_to((3, 3)), ft.ShapeError),
    "conv2d": (lambda: ft.conv2d(ft.ones(1, 2, 4, 4), ft.ones(1, 3, 2, 2)), ft.ShapeError),
    "conv2d kernel": (lambda: ft.conv2d(ft.ones(1, 1, 2, 2), ft.ones(1, 1, 3, 3)), ft.ShapeError),
    "cross_entropy": (lambda: ft.cross_entropy(x23, i3), ft.ShapeError),
    "nested lists": (lambda: ft.tensor([[1], [2, 3]]), ft.ShapeError),
    "setitem": (lambda: x23.__setitem__(0, ft.ones(2)), ft.ShapeError),
    "in place": (lambda: v3.add_(ft.ones(2, 3)), ft.ShapeError),
    "item": (lambda: x23.item(), ft.ShapeError),
    # dims and indices
    "sum dim": (lambda: x23.sum(2), ft.DimError),
    "sum dims": (lambda: x23.sum((0, 0)), (ft.DimError, ValueError)),
    "softmax dim": (lambda: x23.softmax(-3), ft.DimError),
    "transpose": (lambda: x23.transpose(0, 2), ft.DimError),
    "cat dim": (lambda: ft.cat([x23, x23], 2), ft.DimError),
    "index": (lambda: x23[2], ft.DimError),
    "index too many": (lambda: x23[0, 0, 0], ft.DimError),
    "index list": (lambda: x23[[0, 2]], ft.DimError),
    "gather": (lambda: x23.gather(1, ft.tensor([[3]])), ft.DimError),
    "gather far negative": (lambda: x23.gather(1, ft.tensor([[-4]])), ft.DimError),
    "index_select": (lambda: x23.index_select(0, ft.tensor([2])), ft.DimError),
    "scatter": (lambda: x23.scatter(1, ft.tensor([[5]]), 1.0), ft.DimError),
    "cross_entropy target": (
        lambda: ft.cross_entropy(x23, ft.tensor([0, 3])),
        (ft.DimError, ValueError),
    ),
    "embedding": (lambda: ft.embedding(ft.tensor([5]), x23), ft.DimError),
    "max of nothing": (lambda: ft.ones(0).max(), (ft.DimError, ft.ShapeError, ValueError)),
    # dtypes
    "bitwise": (lambda: v3 & v3, ft.DTypeError),
    "sqrt of text": (lambda: ft.sqrt("a"), ft.DTypeError),
    "index float": (lambda: x23[ft.tensor([0.5])], ft.DTypeError),
    "gather float": (lambda: x23.gather(1, ft.tensor([[0.0]])), ft.DTypeError),
    "requires_grad": (lambda: i3.requires_grad_(), ft.DTypeError),
    "in place category": (lambda: i3.add_(0.5), ft.DTypeError),
    "matmul dtypes": (lambda: x23 @ ft.ones(3, 4, dtype=ft.float64), ft.DTypeError),
    "complex order": (lambda: ft.tensor([1j]) < 1, ft.DTypeError),
    "mean of ints": (lambda: i3.mean(), ft.DTypeError),
    "softmax of ints": (lambda: i3.softmax(0), ft.DTypeError),
    "grad of ints": (lambda: ft.grad(lambda x: x.sum())(i3), ft.DTypeError),
    "unknown dtype": (lambda: ft.zeros(1, dtype="float99"), ft.DTypeError),
    "tensor of text": (lambda: ft.tensor("abc"), ft.DTypeError),
    # devices
    "unknown device": (lambda: ft.zeros(1, device="tpu"), ft.DeviceError),
    "two devices": (lambda: v3 + ft.ones(3, device="meta"), ft.DeviceError),
    "numpy of meta": (lambda: ft.ones(3, device="meta").numpy(), ft.DeviceError),
    # gradients
    "non-scalar backward": (lambda: (ft.ones(2, requires_grad=True) * 2).backward(), ft.GradError),
    "backward of nothing": (lambda: v3.sum().backward(), ft.GradError),
    "in place on a leaf": (lambda: ft.ones(2, requires_grad=True).add_(1), ft.GradError),
    "numpy of a leaf": (lambda: ft.ones(2, requires_grad=True).numpy(), ft.GradError),
    "grad of a vector": (lambda: ft.grad(lambda x: x)(v3), ft.ShapeError),
    "argnums": (lambda: ft.grad(lambda x: x.sum(), 1)(v3), ValueError),
    # vmap
    "vmap sizes": (lambda: ft.vmap(lambda x, y: x)(v3, ft.ones(2)), ValueError),
    "vmap nothing": (lambda: ft.vmap(lambda x: x, None)(v3), ValueError),
    "vmap result": (lambda: ft.vmap(lambda x: 3)(v3), TypeError),
    # values
    "negative size": (lambda: ft.zeros(-1), (ft.ShapeError, ValueError)),
    "bool of many": (lambda: bool(x23), ValueError),
    "arange": (lambda: ft.arange(0, 3, -1), ValueError),
}


@pytest.mark.parametrize("name", CASES)
def test_message_and_class(name):
    call, error = CASES[name]
    before = [t.tolist() for t in (x23, x34, x56, v3, i3)]
    with pytest.raises(error) as caught:
        call()
    assert FORM.match(str(caught.value)), str(caught.value)
    assert [t.tolist() for t in (x23, x34, x56, v3, i3)] == before
    assert (v3 + 1).tolist() == [2, 2, 2] and ft.is_grad_enabled()


def test_classes_fit_in_the_standard_ones():
    """Code that catches what NumPy or torch raise catches ours."""
    assert issubclass(ft.ShapeError, ValueError) and issubclass(ft.ShapeError, RuntimeError)
    assert issubclass(ft.DimError, IndexError) and issubclass(ft.DTypeError, TypeError)
    assert issubclass(ft.OutOfMemoryError, MemoryError) and issubclass(
        ft.OutOfMemoryError, RuntimeError
    )
    for error in (ft.GradError, ft.TraceError, ft.KernelError, ft.DeviceError):
        assert issubclass(error, RuntimeError)


def test_messages_show_what_came():
    with pytest.raises(ft.ShapeError, match=r"matmul: expected .*\[3, 4\].*\[5, 6\]"):
        x34 @ x56
    with pytest.raises(ft.DimError, match=r"sum: expected a dim in \[-2, 1\], got 2"):
        x23.sum(2)
    with pytest.raises(
        ft.ShapeError,
        match=r"grad: expected a scalar result, got shape \[3\]\. Reduce it, or use jacrev\.",
    ):
        ft.grad(lambda x: x)(v3)


def test_backward_twice():
    x = ft.ones(2, requires_grad=True)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(ft.GradError, match=r"retain_graph=True") as caught:
        y.backward()
    assert FORM.match(str(caught.value)) and x.grad.tolist() == [2, 2] and y.item() == 2


def test_in_place_on_a_saved_tensor():
    x = ft.ones(2, requires_grad=True)
    y = x * 1
    z = (y * y).sum()
    with ft.no_grad():
        y += 1
    with pytest.raises(ft.GradError, match="mul") as caught:
        z.backward()
    assert FORM.match(str(caught.value)) and x.grad is None and y.tolist() == [2, 2]


def test_out_of_memory():
    gc.collect()
    kept = ft.ones(3)
    start = ft.memory_allocated()
    for make in (
        lambda: ft.empty(10**15, dtype=ft.uint8),
        lambda: ft.zeros(10**8, 10**7),
        lambda: ft.ones(10**15 // 4),
        lambda: ft.rand(10**14),
        lambda: kept.expand(10**14, 3) + 1,
        lambda: ft.arange(10**14),
        lambda: ft.eye(10**8),
        lambda: kept.repeat(10**14),
    ):
        with pytest.raises(MemoryError) as caught:
            make()
        assert isinstance(caught.value, ft.OutOfMemoryError) and FORM.match(str(caught.value)), str(
            caught.value
        )
        caught = None
    assert kept.tolist() == [1, 1, 1]
    assert ft.memory_allocated() == start


def test_sizes_that_overflow():
    for shape in ((1 << 40, 1 << 40), (1 << 62, 4), (1 << 63,), (1 << 70,)):
        with pytest.raises((ft.OutOfMemoryError, ValueError, OverflowError)):
            ft.empty(shape)
    with pytest.raises((ft.ShapeError, ft.OutOfMemoryError, OverflowError)):
        ft.ones(1).expand(1 << 62, 1 << 62)


def _python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        cwd=os.path.dirname(os.path.dirname(__file__)),
    )


def test_unknown_cpu_level():
    done = _python("import functorch_like", FL_CPU_LEVEL="v9")
    assert done.returncode == 1 and "FL_CPU_LEVEL" in done.stderr and "v9" in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith(("cbackend.", "ValueError"))


def test_cpu_level_that_the_machine_lacks():
    """Asked for every level, the core either loads it or says which ones there are."""
    loaded = 0
    for level in ("base", "v2", "v3", "v4"):
        done = _python(
            "import functorch_like as ft; print((ft.arange(1000.0).exp() * 0 + 2).mean().item())",
            FL_CPU_LEVEL=level,
        )
        if done.returncode == 0:
            assert done.stdout.strip() in ("2.0", "nan")
            loaded += 1
        else:
            assert (
                "FL_CPU_LEVEL" in done.stderr and level in done.stderr and "expected" in done.stderr
            )
    assert loaded


def test_a_crash_in_python_code_leaves_the_interpreter_alone():
    done = _python(
        """
        import functorch_like as ft
        x = ft.ones(3)
        for bad in (
            lambda: x[5], lambda: x + ft.ones(4), lambda: ft.empty(10**15),
            lambda: x @ ft.ones(2), lambda: ft.tensor("a"),
        ):
            try:
                bad()
            except Exception:
                continue
            raise SystemExit("no error")
        print(x.sum().item())
        """
    )
    assert done.returncode == 0 and done.stdout == "3.0\n" and not done.stderr
