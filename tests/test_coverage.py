"""docs/coverage.md is about the table as it is, and all green."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

import functorch_like  # noqa: F401 - fills the table
from functorch_like.op import TABLE

DOCS = Path(__file__).resolve().parent.parent / "docs"


def listed():
    """The rows of the page: name -> cells."""
    rows = {}
    for line in (DOCS / "coverage.md").read_text(encoding="utf-8").splitlines():
        found = re.match(r"\| `(\w+)` \| (.*) \|$", line)
        if found:
            rows[found[1]] = found[2].split(" | ")
    return rows


def test_the_page_lists_exactly_the_table():
    missing, extra = TABLE.keys() - listed().keys(), listed().keys() - TABLE.keys()
    assert not missing and not extra, (
        f"missing {sorted(missing)}, stale {sorted(extra)}: run python docs/coverage.py"
    )


def test_the_page_is_green():
    assert not [name for name, cells in listed().items() if "✗" in cells]


@pytest.mark.slow
def test_the_page_is_what_the_generator_writes():
    generator = runpy.run_path(str(DOCS / "coverage.py"))
    assert generator["page"]() == (DOCS / "coverage.md").read_text(encoding="utf-8")
