"""Every op of the table on its samples: values, derivatives, vmap, layouts, devices, dtypes.

Nothing here names an op: samples, kinds, oracles and tolerances come from the entries
(functorch_like/samples.py).
"""

from __future__ import annotations

import importlib
import itertools
from contextlib import contextmanager

import numpy
import pytest

import functorch_like as ft
from functorch_like import testing
from functorch_like.dtypes import DTYPES
from functorch_like.op import TABLE
from functorch_like.testing import assert_close, kinds_of, samples_of, tolerance_of
from functorch_like.testing.derivatives import inner

OPS = sorted(TABLE)
DRAWN = [n for n in OPS if TABLE[n].random]
FIXED = [n for n in OPS if not TABLE[n].random]
DIFFERENTIABLE = [n for n in FIXED if TABLE[n].differentiable]
ELEMENTWISE = [n for n in FIXED if TABLE[n].family in ("unary", "binary", "ternary")]
LANES = 2
KINDS = {"bool": ft.bool_, "int": ft.int64, "float": ft.float64, "complex": ft.complex128}


def flag(op, name):
    """An attribute of the samples that elementwise ops, whose samples are a dict, do not have."""
    return getattr(op.samples, name, None)


@contextmanager
def told(op, number, args, params):
    """Names the sample at which a check failed."""
    try:
        yield
    except Exception as e:
        shapes = ", ".join(f"{a.dtype}{list(a.shape)}" for a in args)
        raise AssertionError(
            f"{op.name}, sample {number} ({shapes}; {params}): {type(e).__name__}: {e}"
        ) from e


def cases(op, dtype, seed=0):
    return enumerate(samples_of(op, dtype, seed))


def inexact(op):
    """The dtypes to differentiate in."""
    return [KINDS[k] for k in kinds_of(op) if k in ("float", "complex")]


def outputs(value):
    return list(value) if isinstance(value, tuple) else [value]


def smooth(value):
    """The outputs that have derivatives."""
    return [y for y in outputs(value) if y.dtype.is_inexact]


def chosen(args):
    return [i for i, a in enumerate(args) if a.dtype.is_inexact]


def restricted(op, args, params):
    """The op as a function of its floating operands, and those operands."""
    at = chosen(args)

    def function(*values):
        call = list(args)
        for i, value in zip(at, values, strict=True):
            call[i] = value
        return tuple(smooth(op(*call, **params)))

    return function, [args[i] for i in at]


def weighted(op, args, params, make):
    """A real scalar function of the floating operands: the outputs against fixed random weights."""
    function, values = restricted(op, args, params)
    weights = [make_like(y, make) for y in function(*values)]

    def loss(*values):
        total = 0.0
        for y, w in zip(function(*values), weights, strict=True):
            total = total + (w * y).sum().real
        return total

    return loss, values


def make_like(x, generator):
    return testing.make_tensor(x.shape, x.dtype, -1.0, 1.0, generator)


def random_generator():
    return ft.Generator().manual_seed(7)


# ---- the table itself ----


@pytest.mark.parametrize("name", OPS)
def test_entry_is_complete(name):
    op = TABLE[name]
    assert samples_of(op), "at least one sample"
    assert kinds_of(op), "the kinds of dtypes it takes"
    assert op.batch or op.decompose or op.decides
    if op.differentiable:
        assert (op.pull or op.decompose) and (op.jvp or op.decompose)
    if getattr(op, "tolerance", None):
        assert op.tolerance["reason"]


# ---- values ----


def oracle_of(op):
    given = getattr(op, "oracle", None)
    if isinstance(given, str):
        module, _, name = given.rpartition(".")
        function = getattr(importlib.import_module(module), name)
        return lambda *arrays, **params: function(*arrays, **params)
    return given and (lambda *arrays, **params: given(numpy, *arrays, **params))


@pytest.mark.parametrize("name", [n for n in FIXED if getattr(TABLE[n], "oracle", None)])
def test_forward_is_the_oracles(name):
    op = TABLE[name]
    oracle = oracle_of(op)
    for kind in kinds_of(op):
        for i, (args, params) in cases(op, KINDS[kind]):
            with told(op, i, args, params), numpy.errstate(all="ignore"):
                expected = oracle(*[a.numpy() for a in args], **params)
                rtol, atol = tolerance_of(op, KINDS[kind], 10)
                got = op(*args, **params)
                assert_close(
                    outputs(got),
                    [numpy.asarray(e) for e in outputs(expected)],
                    rtol,
                    atol,
                    equal_nan=True,
                    check_dtype=False,
                )


SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -2.5,
    float("inf"),
    -float("inf"),
    float("nan"),
    1e-30,
    -1e-30,
    1e30,
    88.0,
    -104.0,
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "name",
    [
        n
        for n in ELEMENTWISE
        if getattr(TABLE[n], "oracle", None)
        and "float" in kinds_of(TABLE[n])
        and "special" not in TABLE[n].samples
    ],
)
def test_special_values_are_the_oracles(name, dtype):
    op = TABLE[name]
    oracle = oracle_of(op)
    arity = {"unary": 1, "binary": 2, "ternary": 3}[op.family]
    columns = [
        numpy.array(c, dtype=dtype)
        for c in zip(*itertools.product(SPECIAL, repeat=arity), strict=True)
    ]
    with numpy.errstate(all="ignore"):
        expected = oracle(*columns)
        got = op(*[ft.tensor(c) for c in columns]).numpy()
        rtol, atol = tolerance_of(op, dtype, 10)
        atol = min(atol, 1e-12)
        same = (
            (got == expected) | (numpy.isnan(got) & numpy.isnan(expected))
            if expected.dtype.kind == "f"
            else got == expected
        )
        if expected.dtype.kind == "f":
            same |= numpy.abs(got - expected) <= atol + rtol * numpy.abs(expected)
    wrong = [
        (*[float(c[i]) for c in columns], float(got[i]), float(expected[i]))
        for i in numpy.flatnonzero(~same)
    ]
    assert not wrong, f"{name}: operands, got, expected: {wrong[:6]} ({len(wrong)} in all)"
    if got.dtype.kind == "f":
        zeros = [
            (*[float(c[i]) for c in columns], float(got[i]))
            for i in numpy.flatnonzero(
                (got == 0) & (expected == 0) & (numpy.signbit(got) != numpy.signbit(expected))
            )
        ]
        assert not zeros, f"{name}: the sign of zero differs from NumPy's: {zeros[:6]}"


# ---- layouts ----


def strided(x):
    """Equal to x, with gaps."""
    if not x.ndim:
        return ft.stack([x, x])[1]
    wide = ft.stack([x, x * 0 if x.dtype.is_inexact else x], x.ndim).flatten(-2)
    return wide[..., ::2]


def transposed(x):
    """Equal to x, in column-major order."""
    return (
        x.permute(*reversed(range(x.ndim))).contiguous().permute(*reversed(range(x.ndim)))
        if x.ndim
        else x
    )


def offset(x):
    """Equal to x, in the middle of a larger storage."""
    return ft.stack([x, x, x])[1]


@pytest.mark.parametrize("layout", [strided, transposed, offset], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", FIXED)
def test_layout_makes_no_difference(name, layout):
    op = TABLE[name]
    if flag(op, "layout") and layout is not offset:
        pytest.skip(flag(op, "layout"))
    for kind in kinds_of(op)[-1:]:
        for i, (args, params) in cases(op, KINDS[kind]):
            with told(op, i, args, params):
                moved = [layout(a) for a in args]
                for m, a in zip(moved, args, strict=True):
                    assert_close(m, a, 0, 0, equal_nan=True)
                assert_close(
                    outputs(op(*moved, **params)),
                    outputs(op(*args, **params)),
                    *tolerance_of(op, KINDS[kind]),
                    equal_nan=True,
                )


@pytest.mark.parametrize("name", FIXED)
def test_expanded_and_reversed_operands(name):
    """Operands with stride 0, and with a negative stride, give what their copies give."""
    op = TABLE[name]
    if flag(op, "layout"):
        pytest.skip(flag(op, "layout"))
    for i, (args, params) in cases(op, KINDS[kinds_of(op)[-1]]):
        with told(op, i, args, params):
            for change in (_expanded, _reversed):
                changed = [change(a) if a.dtype.is_inexact else a for a in args]
                if change is _reversed and name in ("reshape",):
                    changed = [c.contiguous() for c in changed]
                copies = [c.clone().contiguous() for c in changed]
                assert_close(
                    outputs(op(*changed, **params)),
                    outputs(op(*copies, **params)),
                    *tolerance_of(op, KINDS[kinds_of(op)[-1]]),
                    equal_nan=True,
                )


def _expanded(x):
    return x[:1].expand(x.shape) if x.ndim and x.shape[0] else x


def _reversed(x):
    return ft.from_numpy(x.numpy()[..., ::-1]) if x.ndim else x


# ---- first order ----


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_jvp_is_the_difference_quotient(name):
    op = TABLE[name]
    if flag(op, "implicit"):
        pytest.skip(flag(op, "implicit"))
    for dtype in inexact(op):
        for i, (args, params) in cases(op, dtype):
            function, values = restricted(op, args, params)
            with told(op, i, args, params):
                testing.check_grads(function, values, order=1, modes=("fwd",))


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_vjp_is_the_transpose_of_jvp(name):
    op = TABLE[name]
    for dtype in inexact(op):
        for i, (args, params) in cases(op, dtype):
            function, values = restricted(op, args, params)
            generator = random_generator()
            with told(op, i, args, params):
                for one in [
                    range(len(values)),
                    *[[k] for k in range(len(values)) if len(values) > 1],
                ]:
                    # all inputs at once, then each alone: rules see which gradients are wanted
                    def of_some(*some, one=one, values=values, function=function):
                        full = list(values)
                        for k, v in zip(one, some, strict=True):
                            full[k] = v
                        return function(*full)

                    some = tuple(values[k] for k in one)
                    t = tuple(make_like(x, generator) for x in some)
                    out, pushed = ft.jvp(of_some, some, t)
                    ct = tuple(make_like(y, generator) for y in out)
                    pulled = ft.vjp(of_some, *some)[1](ct)
                    for g, x in zip(pulled, some, strict=True):
                        assert (g.shape, g.dtype) == (x.shape, x.dtype), (
                            "a gradient has its input's shape and dtype"
                        )
                    for p, y in zip(pushed, out, strict=True):
                        assert (p.shape, p.dtype) == (y.shape, y.dtype), (
                            "a tangent has its output's shape and dtype"
                        )
                    left, size = inner(ct, pushed)
                    right, _ = inner(pulled, t)
                    assert abs(left - right) <= 1e-9 * max(size, 1.0), (
                        f"<ct, J t> = {left}, <J^T ct, t> = {right}"
                    )


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_tape_gives_the_functional_gradients(name):
    op = TABLE[name]
    for dtype in inexact(op):
        for i, (args, params) in cases(op, dtype):
            with told(op, i, args, params):
                function, values = restricted(op, args, params)
                out, back = ft.vjp(function, *values)
                ct = tuple(make_like(y, random_generator()) for y in out)
                expected = back(ct)
                leaves = [v.detach().clone().requires_grad_() for v in values]
                ft.autograd.backward(list(function(*leaves)), list(ct))
                for leaf, e in zip(leaves, expected, strict=True):
                    assert_close(
                        leaf.grad if leaf.grad is not None else ft.zeros_like(e),
                        e,
                        0,
                        0,
                        equal_nan=True,
                    )


# ---- second order ----


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_second_order(name):
    """All four of jvp and vjp of jvp and vjp, against difference quotients of the inner one."""
    op = TABLE[name]
    if flag(op, "implicit"):
        pytest.skip(flag(op, "implicit"))
    for dtype in inexact(op)[:1]:
        for i, (args, params) in cases(op, dtype):
            function, values = restricted(op, args, params)
            with told(op, i, args, params):
                testing.check_grads(function, values, order=2)


# ---- vmap ----


def stacked(lanes, k, dim=0):
    """Operand k of all lanes, stacked along a dim."""
    return ft.stack([args[k] for args, _ in lanes], dim)


def choices(n):
    """Which operands to map: every choice for few of them."""
    if n <= 3:
        return [c for c in itertools.product((False, True), repeat=n) if any(c)]
    return [tuple(i == k for i in range(n)) for k in range(n)] + [(True,) * n]


def lanes_of(op, dtype):
    """The samples once a lane: [sample][lane]."""
    return list(zip(*[samples_of(op, dtype, seed) for seed in range(LANES)], strict=True))


@pytest.mark.parametrize("name", [n for n in FIXED if not flag(TABLE[n], "unmapped")])
def test_vmap_is_a_loop(name):
    op = TABLE[name]
    dtype = KINDS[kinds_of(op)[-1]]
    for i, lanes in enumerate(lanes_of(op, dtype)):
        args, params = lanes[0]
        for mapped in choices(len(args)):
            for last in (False, True):
                with told(op, i, args, {"mapped": mapped, "last": last, **params}):
                    dims = tuple((-1 if last else 0) if m else None for m in mapped)
                    inputs = [
                        stacked(lanes, k, -1 if last else 0) if m else args[k]
                        for k, m in enumerate(mapped)
                    ]
                    got = ft.vmap(lambda *a, params=params: op(*a, **params), in_dims=dims)(*inputs)
                    loop = [
                        outputs(
                            op(
                                *[lanes[b][0][k] if m else args[k] for k, m in enumerate(mapped)],
                                **params,
                            )
                        )
                        for b in range(LANES)
                    ]
                    expected = [ft.stack(list(ys)) for ys in zip(*loop, strict=True)]
                    assert_close(outputs(got), expected, *tolerance_of(op, dtype), equal_nan=True)


@pytest.mark.parametrize(
    "name", [n for n in FIXED if flag(TABLE[n], "unmapped") and not TABLE[n].decides]
)
def test_what_cannot_be_mapped_says_so(name):
    op = TABLE[name]
    lanes = lanes_of(op, KINDS[kinds_of(op)[-1]])[0]
    with pytest.raises(ft.TraceError, match=f"^{name}: expected"):
        ft.vmap(lambda *a: op(*a, **lanes[0][1]))(
            *[stacked(lanes, k) for k in range(len(lanes[0][0]))]
        )


@pytest.mark.parametrize("name", [n for n in FIXED if not flag(TABLE[n], "unmapped")])
def test_vmap_of_vmap(name):
    op = TABLE[name]
    dtype = KINDS[kinds_of(op)[-1]]
    for i, lanes in enumerate(lanes_of(op, dtype)):
        args, params = lanes[0]
        n = len(args)
        # the outer map takes operand 0 (and the last), the inner one all but operand 0
        outer = [k in (0, n - 1) for k in range(n)]
        inner = [k > 0 or n == 1 for k in range(n)]
        with told(op, i, args, {"outer": outer, "inner": inner, **params}):

            def pick(k, a, b, outer=outer, inner=inner, lanes=lanes):
                lane = (a if outer[k] else 0) + (b if inner[k] else 0)
                return lanes[lane % LANES][0][k]

            def operand(k, outer=outer, inner=inner, pick=pick):
                rows = [
                    ft.stack([pick(k, a, b) for b in range(LANES)]) if inner[k] else pick(k, a, 0)
                    for a in range(LANES)
                ]
                return ft.stack(rows) if outer[k] else rows[0]

            def dims(which):
                return tuple(0 if w else None for w in which)

            call = (
                ft.vmap(
                    ft.vmap(lambda *x, params=params: op(*x, **params), in_dims=dims(inner)),
                    in_dims=dims(outer),
                )
                if any(inner)
                else None
            )
            got = outputs(call(*[operand(k) for k in range(n)]))
            loop = [
                [outputs(op(*[pick(k, a, b) for k in range(n)], **params)) for b in range(LANES)]
                for a in range(LANES)
            ]
            expected = [
                ft.stack([ft.stack([loop[a][b][y] for b in range(LANES)]) for a in range(LANES)])
                for y in range(len(got))
            ]
            assert_close(got, expected, *tolerance_of(op, dtype), equal_nan=True)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_vmap_of_grad_and_grad_of_vmap(name):
    """Per-lane gradients by vmap(grad), by the gradient of the sum over a vmap, and by a loop."""
    op = TABLE[name]
    for dtype in inexact(op)[:1]:
        for i, lanes in enumerate(lanes_of(op, dtype)):
            args, params = lanes[0]
            with told(op, i, args, params):
                loss, values = weighted(op, args, params, random_generator())
                at = chosen(args)
                argnums = tuple(range(len(at)))
                xs = [stacked(lanes, k) for k in at]
                tolerance = tolerance_of(op, dtype, 10)
                for one in [argnums, *[(k,) for k in argnums if len(argnums) > 1]]:
                    dims = tuple(0 if k in one else None for k in argnums)
                    inputs = [x if d == 0 else v for x, d, v in zip(xs, dims, values, strict=True)]
                    loop = [
                        ft.grad(loss, argnums)(
                            *[x[b] if d == 0 else x for x, d in zip(inputs, dims, strict=True)]
                        )
                        for b in range(LANES)
                    ]
                    expected = [ft.stack([g[k] for g in loop]) for k in argnums]
                    assert_close(
                        list(ft.vmap(ft.grad(loss, argnums), in_dims=dims)(*inputs)),
                        expected,
                        *tolerance,
                        equal_nan=True,
                    )
                    through = ft.grad(
                        lambda *x, dims=dims, loss=loss: ft.vmap(loss, in_dims=dims)(*x).sum(),
                        argnums,
                    )(*inputs)
                    assert_close(
                        list(through),
                        [e if d == 0 else e.sum(0) for e, d in zip(expected, dims, strict=True)],
                        *tolerance,
                        equal_nan=True,
                    )


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_jvp_of_vmap_and_vmap_of_jvp(name):
    op = TABLE[name]
    for dtype in inexact(op)[:1]:
        for i, lanes in enumerate(lanes_of(op, dtype)):
            args, params = lanes[0]
            with told(op, i, args, params):
                function, _ = restricted(op, args, params)
                xs = tuple(stacked(lanes, k) for k in chosen(args))
                ts = tuple(make_like(x, random_generator()) for x in xs)
                loop = [
                    ft.jvp(function, tuple(x[b] for x in xs), tuple(t[b] for t in ts))[1]
                    for b in range(LANES)
                ]
                expected = [ft.stack(list(ys)) for ys in zip(*loop, strict=True)]
                tolerance = tolerance_of(op, dtype, 10)
                mapped = ft.vmap(lambda x, t, function=function: ft.jvp(function, x, t)[1])(xs, ts)
                assert_close(list(mapped), expected, *tolerance, equal_nan=True)
                assert_close(
                    list(ft.jvp(ft.vmap(function), xs, ts)[1]), expected, *tolerance, equal_nan=True
                )


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_vmap_of_second_order(name):
    """Hessian-vector products a lane: forward over reverse under vmap, against a loop."""
    op = TABLE[name]
    dtype = inexact(op)[0]
    for i, lanes in enumerate(lanes_of(op, dtype)[:3]):
        args, params = lanes[0]
        with told(op, i, args, params):
            loss, _ = weighted(op, args, params, random_generator())
            xs = tuple(stacked(lanes, k) for k in chosen(args))
            ts = tuple(make_like(x, random_generator()) for x in xs)

            def product(x, t, loss=loss):
                return ft.jvp(ft.grad(loss, tuple(range(len(x)))), x, t)[1]

            loop = [product(tuple(x[b] for x in xs), tuple(t[b] for t in ts)) for b in range(LANES)]
            assert_close(
                list(ft.vmap(product)(xs, ts)),
                [ft.stack(list(g)) for g in zip(*loop, strict=True)],
                *tolerance_of(op, dtype, 10),
                equal_nan=True,
            )


# ---- devices and threads ----


@pytest.mark.parametrize("name", OPS)
def test_meta_gives_shape_and_dtype(name):
    op = TABLE[name]
    if flag(op, "data_dependent"):
        pytest.skip("the shape depends on the values")
    for kind in kinds_of(op):
        for i, (args, params) in cases(op, KINDS[kind]):
            with told(op, i, args, params):
                expected = outputs(op(*args, **params))
                if "place" in params:
                    params = {**params, "place": ft.device("meta").code}
                if name == "to_device":
                    params = {"code": ft.device("meta").code}
                got = outputs(op(*[a.to("meta") for a in args], **params))
                assert [(y.shape, y.dtype) for y in got] == [(y.shape, y.dtype) for y in expected]
                assert all(y.is_meta for y in got)


def bits(value):
    return [y.contiguous().numpy().tobytes() for y in outputs(value)]


@pytest.mark.parametrize("name", OPS)
def test_same_bits_twice(name):
    op = TABLE[name]
    for kind in kinds_of(op):
        for (args, params), (again, fresh) in zip(
            samples_of(op, KINDS[kind]), samples_of(op, KINDS[kind]), strict=True
        ):
            assert bits(op(*args, **params)) == bits(op(*again, **fresh))


def large(op, args):
    """Operands of many elements, for elementwise ops and those of one operand."""
    make = testing.Make(args[0].dtype, 3, 0.3, 0.9)
    if op.family in ("unary", "binary", "ternary"):
        masks = op.samples.get("masks", ())
        return [make.mask(317, 211) if i in masks else make(317, 211) for i in range(len(args))]
    if op.family in ("reduce", "scan", "softmax", "view", "cast", "copy") and all(
        a.dtype.is_inexact for a in args
    ):
        return [
            make(*[n and 37 * n if n != 1 else 1 for n in a.shape]) if a.ndim == 2 else None
            for a in args
        ]
    return [None]


@pytest.mark.parametrize("name", FIXED)
def test_same_bits_with_one_and_two_threads(name):
    op = TABLE[name]
    dtype = ft.float32 if "float" in kinds_of(op) else KINDS[kinds_of(op)[-1]]
    for args, params in samples_of(op, dtype)[:3]:
        args = (large(op, args) if args else [None]) if not flag(op, "layout") else [None]
        if any(a is None for a in args):
            continue
        try:
            ft.set_num_threads(1)
            one = bits(op(*args, **params))
        except (ft.ShapeError, ft.DimError):
            continue  # params that fit the sample's own shape only
        ft.set_num_threads(2)
        assert bits(op(*args, **params)) == one


@pytest.mark.parametrize("name", DRAWN)
def test_draws(name):
    """Draws depend on the seed; vmap gives each lane its own, one for all, or an error."""
    op = TABLE[name]
    for args, params in samples_of(op, KINDS[kinds_of(op)[-1]]):
        shape = op(*args, **params).shape
        assert tuple(shape) == params["shape"]

        generator = random_generator()

        def draw(_, params=params, generator=generator):
            return op(**{**params, "generator": generator})

        lanes = ft.zeros(3)
        different = ft.vmap(draw)(lanes)
        same = ft.vmap(draw, randomness="same", out_dims=0)(lanes)
        assert tuple(different.shape) == tuple(same.shape) == (3, *shape)
        assert_close(same[0], same[2], 0, 0)
        if shape.numel() > 4:
            assert not bool((different[0] == different[2]).all())
        with pytest.raises(ft.TraceError, match="randomness"):
            ft.vmap(draw, randomness="error")(lanes)


# ---- dtypes ----

_TORCH_NAMES = [d.name for d in DTYPES if d.name not in ("uint16", "uint32", "uint64")]


def torch_function(torch, name):
    """torch's function of the op's name, wherever it lives."""
    for module in (torch, torch.nn.functional, torch.special):
        if hasattr(module, name):
            return getattr(module, name)
    return None


def to_torch(torch, x):
    if x.dtype is ft.bfloat16:
        return torch.from_numpy(x.float().numpy().copy()).to(torch.bfloat16)
    return torch.from_numpy(numpy.array(x.numpy()))


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_dtypes_are_torchs(name):
    """Wherever torch takes a dtype, so do we, with its results; `missing` says where not."""
    torch = pytest.importorskip("torch")
    op, function = TABLE[name], torch_function(torch, name)
    if function is None:
        pytest.skip("torch has no function of this name")
    wrong = []
    missing = op.samples.get("missing", {})
    for dtype in _TORCH_NAMES:
        kind = (
            "bool"
            if dtype == "bool"
            else "complex"
            if "complex" in dtype
            else "float"
            if "float" in dtype
            else "int"
        )
        for args, params in samples_of(op, dtype)[:3]:
            try:
                expected = function(*[to_torch(torch, a) for a in args], **params)
            except (RuntimeError, TypeError):
                continue  # torch does not take it
            if kind in missing:
                with pytest.raises(ft.DTypeError):
                    op(*args, **params)
                break
            try:
                got = op(*args, **params)
                rtol, atol = tolerance_of(op, got.dtype, 4)
                assert_close(got, expected, rtol, atol, equal_nan=True)
            except Exception as e:
                wrong.append(f"{dtype}: {type(e).__name__}: {e}")
                break
    assert not wrong, "\n".join(wrong)
