"""The examples for several ranks, on two."""

from __future__ import annotations

from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("name", ["distributed_digits", "distributed_gpt", "two_tower"])
def test_example_on_two_ranks(name, launch):
    done = launch(EXAMPLES / f"{name}.py", 2, "--quick")
    assert done.returncode == 0, done.stdout + done.stderr
