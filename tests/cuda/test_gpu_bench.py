"""`make gpu-bench` runs; on the emulated device its figures mean nothing."""

from benchmarks import gpu


def test_every_workload_runs(capsys):
    assert gpu.main(["--small"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(list(gpu.workloads(True)))
