"""Chains compiled at run time: by NVRTC on a GPU, by its stand-in on the emulated device."""

import os
import pathlib
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest

SCRIPT = textwrap.dedent(
    """
    import pickle, sys
    import functorch_like as ft

    def of(names, *xs):
        return [getattr(ft, name)(*xs) for name in names]

    unary = (
        "neg abs sign square reciprocal relu floor ceil trunc round frac isnan sqrt rsqrt exp exp2 "
        "expm1 log log2 log10 log1p sigmoid sin cos tan asin acos atan sinh cosh tanh asinh acosh "
        "atanh erf erfc"
    ).split()
    binary = (
        "add sub mul div maximum minimum pow atan2 hypot logaddexp xlogy remainder fmod copysign "
        "gt le eq nextafter"
    ).split()
    x, y = ft.linspace(-2, 2, 130).reshape((10, 13)), ft.linspace(0.3, 3, 13)
    x, y = x.cuda(), y.cuda()
    every = [unary[i : i + 12] for i in range(0, len(unary), 12)]
    chains = [lambda x, y, some=some: of(some, x.abs() * 0.9) for some in every]
    every = [binary[i : i + 9] for i in range(0, len(binary), 9)]
    chains += [lambda x, y, some=some: of(some, x * 1, y + 0) for some in every]
    chains += [
        lambda x, y: [x * y[3] + y[2] * 2],
        lambda x, y: [ft.where(x > 0, x * y, y - x).tanh() * 2 + 1],
        lambda x, y: [(x.t() * y.unsqueeze(1)).exp() + 1, x.t() - 1],
        lambda x, y: [((x.half() * 2).float() + y.bfloat16().float()).half() * 2],
        lambda x, y: [(x[::2, 1:].clamp(-1, 1) * 3).sigmoid() * ft.tensor(0.5)],
        lambda x, y: [((x * y + 1) * x + y) * x],
    ]
    out = []
    for chain in chains[-2:] if "--few" in sys.argv else chains:
        compiled = ft.compile(chain)
        for _ in range(3 if "--replay" in sys.argv else 1):
            made = compiled(x, y)
        out.append([t.cpu().numpy() for t in made])
    pickle.dump(out, open(sys.argv[1], "wb"))
    """
)


@pytest.fixture(scope="module")
def nvrtc():
    """The environment's NVRTC, or the stand-in beside the emulated library."""
    beside = pathlib.Path(os.environ.get("FL_CUDA_LIBRARY", "")).parent / "libstand_in_nvrtc.so"
    return os.environ.get("FL_NVRTC_LIBRARY") or (str(beside) if beside.exists() else "")


def run(folder, *arguments, **environment):
    """The chains' values in a process of its own, and what it wrote to stderr."""
    out = folder / "out.pickle"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(out), *arguments],
        env={**os.environ, "FL_CUDA_RTC_CACHE": str(folder / "cache"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return pickle.loads(out.read_bytes()), done.stderr


def assert_same(values, others):
    for chain, other in zip(values, others, strict=True):
        for a, b in zip(chain, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_compiled_chains_give_what_interpreted_ones_give(tmp_path, nvrtc):
    interpreted, said = run(tmp_path, FL_CUDA_RTC="0")
    assert not said
    assert not (tmp_path / "cache").exists()
    compiled, said = run(tmp_path, FL_CUDA_RTC="1", FL_NVRTC_LIBRARY=nvrtc)
    if not nvrtc and "NVRTC was not found" in said:
        pytest.skip("there is no NVRTC")
    assert not said
    assert_same(compiled, interpreted)
    kept = sorted((tmp_path / "cache").iterdir())
    assert len(kept) >= 8
    assert all(f.suffix == ".bin" for f in kept)  # no drafts are left

    # from the disk, in graphs; nothing is compiled again
    again, said = run(
        tmp_path, "--replay", FL_CUDA_RTC="1", FL_NVRTC_LIBRARY=nvrtc, FL_STAND_IN_FAILS="1"
    )
    assert not said
    assert_same(again, interpreted)

    # files that are damaged, or cut off, are made anew
    before = {f: f.read_bytes() for f in kept}
    for i, f in enumerate(kept[:3]):
        data = bytearray(before[f])
        data[-3] ^= 255
        f.write_bytes(bytes(data[: len(data) // 2]) if i else bytes(data))
    again, said = run(tmp_path, FL_CUDA_RTC="1", FL_NVRTC_LIBRARY=nvrtc)
    assert not said
    assert_same(again, interpreted)
    assert sorted((tmp_path / "cache").iterdir()) == kept
    assert all(len(f.read_bytes()) > len(before[f]) // 2 + 1 for f in kept)

    # without a folder for them
    again, said = run(
        tmp_path,
        "--few",
        FL_CUDA_RTC="1",
        FL_NVRTC_LIBRARY=nvrtc,
        FL_CUDA_RTC_CACHE="/dev/null/no",
    )
    assert not said
    assert_same(again, interpreted[-2:])


def test_without_a_compiler_chains_are_interpreted(tmp_path, nvrtc):
    interpreted, _ = run(tmp_path, FL_CUDA_RTC="0")
    values, said = run(tmp_path, FL_CUDA_RTC="1", FL_NVRTC_LIBRARY="/nowhere/libnvrtc.so")
    assert_same(values, interpreted)
    assert said.count("are interpreted, not compiled: NVRTC was not found") == 1
    assert said.count("\n") == 1
    if "stand_in" in nvrtc:
        values, said = run(tmp_path, FL_CUDA_RTC="1", FL_NVRTC_LIBRARY=nvrtc, FL_STAND_IN_FAILS="1")
        assert_same(values, interpreted)
        assert said.count("NVRTC fails") == 1
