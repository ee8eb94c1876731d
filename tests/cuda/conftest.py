"""Everything here needs a CUDA device: a GPU, or the emulated one (`make cuda-test`)."""

import pytest

import functorch_like as ft


def pytest_collection_modifyitems(items):
    if ft.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="no CUDA device; `make cuda-test` runs these on an emulated one")
    for item in items:
        if "tests/cuda" in str(item.path):
            item.add_marker(skip)
