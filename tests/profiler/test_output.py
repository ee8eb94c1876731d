"""Tables, traces, pictures, and the bottleneck command. No test asserts a time."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import pytest

import functorch_like as ft
from functorch_like import bottleneck
from functorch_like.profiler import profile, record_function


@pytest.fixture(scope="module")
def prof():
    f = ft.compile(lambda x: (x @ x).exp().sum())
    f(ft.ones(3, 3))
    with profile() as taken, record_function("step <1> & more"):
        for n in (3, 3, 5):
            x = ft.ones(n, n)
            (x @ x).relu()
        f(ft.ones(3, 3))
    return taken


def test_averages_by_name(prof):
    rows = {r.key: r for r in prof.key_averages()}
    assert rows["matmul"].count == 4  # one in the program
    assert rows["relu"].count == 3 and rows["relu"].flops == 9 + 9 + 25
    assert rows["relu"].input_shapes is None
    assert rows["step <1> & more"].count == 1
    step = rows["step <1> & more"]
    assert step.self_cpu_time_total < step.cpu_time_total


def test_averages_by_shape(prof):
    rows = [r for r in prof.key_averages(group_by_input_shape=True) if r.key == "relu"]
    assert sorted((r.input_shapes, r.count) for r in rows) == [(((3, 3),), 2), (((5, 5),), 1)]


def test_averages_by_instruction(prof):
    rows = prof.key_averages(group_by_instruction=True)
    places = {r.key: r.place for r in rows if r.place}
    assert places["program"] == "1" and places["matmul"] == "1:000" and places["sum"] == "1:002"
    assert "1:000" in rows.table()


@pytest.mark.parametrize(
    "column",
    ["self_cpu_time_total", "cpu_time_total", "cpu_time", "count", "flops", "nbytes", "allocated"],
)
def test_table_is_sorted(prof, column):
    averages = prof.key_averages()
    names = [line.split("  ")[0] for line in averages.table(sort_by=column).splitlines()[2:]]
    rows = sorted(averages, key=lambda r: -getattr(r, column))
    assert names[: len(rows)] == [r.key for r in rows]


def test_table(prof):
    text = prof.key_averages(group_by_input_shape=True).table(row_limit=2)
    head, rule, *rows = text.splitlines()
    assert head.split()[:3] == ["Name", "Self", "us"] and head.endswith("Input shapes")
    assert set(rule) == {"-"} and set(rows[2]) == {"-"}
    assert rows[3].startswith("wall time") and rows[4].endswith("more rows")
    assert "rel..." in prof.key_averages().table(max_name_column_width=6).replace("relu", "rel...")
    assert str(prof.key_averages()) == prof.key_averages().table()


def test_table_with_an_unknown_column(prof):
    with pytest.raises(ValueError, match=r"table: expected sort_by to be one of .*, got 'speed'"):
        prof.key_averages().table(sort_by="speed")


def test_chrome_trace(prof, tmp_path):
    prof.export_chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    spans = [e for e in events if e["ph"] == "X"]
    assert len(spans) == len(prof.events())
    assert all(e["ts"] >= 0 and e["dur"] >= 0 for e in spans)
    relu = next(e for e in spans if e["name"] == "relu")
    assert relu["cat"] == "op" and relu["args"]["inputs"] == ["float32[3,3]"]
    assert {e["cat"] for e in spans} == {"op", "instruction", "program", "range"}
    assert any(e["ph"] == "C" and "allocated" in e["args"] for e in events)


def test_flame_graph(prof, tmp_path):
    prof.export_flame_graph(tmp_path / "flame.svg")
    root = ElementTree.parse(tmp_path / "flame.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    titles = [t.text or "" for t in root.iter(f"{space}title")]
    assert titles[0].startswith("all (range)")
    assert any(t.startswith("step <1> & more (range)") for t in titles)
    boxes = [b for g in root.iter(f"{space}g") for b in g.iter(f"{space}rect")]
    assert len(boxes) == len(titles)
    assert all(float(b.get("x", "")) + float(b.get("width", "")) <= 1200.1 for b in boxes)


# ---- python -m functorch_like.bottleneck ----

SCRIPT = """
import sys
import functorch_like as ft

def busy(n):
    x = ft.ones(4)
    for _ in range(n):
        x = x.sin()
    return x

if __name__ == "__main__":
    busy(int(sys.argv[1]))
    print("ran", sys.argv[1:])
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


@pytest.mark.parametrize("once", [True, False])
def test_bottleneck(once, script, tmp_path, capsys):
    trace, flame = tmp_path / "t.json", tmp_path / "f.svg"
    options = ["--trace", str(trace), "--flame", str(flame), *(["--once"] if once else [])]
    assert bottleneck.main([*options, str(script), "20", "--flag"]) == 0
    out = capsys.readouterr().out
    assert out.count("ran ['20', '--flag']") == (1 if once else 2)
    assert "sin" in out and "busy" in out and "Advice\n- " in out and "wall time" in out
    assert json.loads(trace.read_text())["traceEvents"] and flame.read_text().startswith("<svg")


def test_bottleneck_of_a_script_that_fails(script, capsys):
    assert bottleneck.main([str(script), "not a number"]) == 1
    caught = capsys.readouterr()
    assert "ValueError" in caught.err and "Advice" in caught.out


def test_bottleneck_without_a_script(tmp_path, capsys):
    with pytest.raises(SystemExit):
        bottleneck.main([str(tmp_path / "nothing.py")])
    assert "found no file" in capsys.readouterr().err


def test_bottleneck_of_a_script_without_operations(tmp_path, capsys):
    path = tmp_path / "idle.py"
    path.write_text("raise SystemExit(3)")
    assert bottleneck.main([str(path)]) == 3
    assert "No operation of functorch_like ran." in capsys.readouterr().out
    path.write_text("raise SystemExit('too bad')")
    assert bottleneck.main([str(path)]) == 1
    assert "too bad" in capsys.readouterr().err
