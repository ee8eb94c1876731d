"""FL_COMPILE_LOG and explain(): what staging says about itself."""

from __future__ import annotations

import re

import pytest

import functorch_like as ft


def chain(x):
    return ((x * 2 + 1) * 1.0).tanh().sum()


def test_log_to_a_file(tmp_path, monkeypatch):
    path = tmp_path / "log"
    monkeypatch.setenv("FL_COMPILE_LOG", str(path))
    ft.compile(chain)(ft.ones(3))
    text = path.read_text()
    assert all(line.startswith("compile: ") for line in text.splitlines())
    assert "chain: the first call" in text
    assert re.search(r"simplify: 5 -> 4 equations, [\d.]+ ms", text)
    assert "merge_equal: 4 -> 4" in text and "drop_unused: 4 -> 4" in text
    assert re.search(r"program: 4 equations, 1 groups fused, \d instructions, 1 inputs", text)
    assert re.search(r"chain: [\d.]+ ms in all", text)


def test_log_of_forward_and_backward(tmp_path, monkeypatch):
    path = tmp_path / "log"
    monkeypatch.setenv("FL_COMPILE_LOG", str(path))
    ft.compile(chain)(ft.ones(3, requires_grad=True)).backward()
    assert path.read_text().count("program: ") == 2


def test_log_to_stderr(monkeypatch, capsys):
    monkeypatch.setenv("FL_COMPILE_LOG", "1")
    ft.compile(chain)(ft.ones(3))
    assert "compile: program: " in capsys.readouterr().err


@pytest.mark.parametrize("off", ["", "0"])
def test_no_log(off, monkeypatch, capsys):
    monkeypatch.setenv("FL_COMPILE_LOG", off)
    ft.compile(chain)(ft.ones(3))
    assert capsys.readouterr().err == ""


def test_explain_tells_the_time():
    f = ft.compile(chain)
    f(ft.ones(3))
    f(ft.ones(4))
    first, second = f.explain().splitlines()
    assert re.fullmatch(r"1\. the first call \([\d.]+ ms\)", first)
    assert re.fullmatch(r"2\. other arguments: float32\[4\] \([\d.]+ ms\)", second)
