"""Runs a program's checks on this rank; each is reported in one line of JSON."""

import json
import os
import sys
import traceback

import functorch_like as ft

D = ft.distributed


def run(names, only=None):
    group = D.init(timeout=60.0)
    for name, check in list(names.items()):
        if not name.startswith("check_") or (only and name != only):
            continue
        ft.manual_seed(0)
        error = ""
        try:
            check(group.rank, group.size)
        except Exception:
            error = traceback.format_exc()
        line = json.dumps({"check": name, "rank": group.rank, "error": error}) + "\n"
        os.write(sys.stdout.fileno(), line.encode())
        try:
            D.barrier()
        except D.CollectiveError:  # the ranks are out of step
            break


def same(a, b, tolerance=1e-6):
    assert tuple(a.shape) == tuple(b.shape), (a.shape, b.shape)
    assert a.dtype == b.dtype, (a.dtype, b.dtype)
    if a.numel():
        a, b = (t if t.dtype.is_inexact else t.float() for t in (a, b))
        error = (a - b).abs().max().item()
        assert error <= tolerance, (error, a, b)
