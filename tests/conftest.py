"""For all tests: a fixed seed, and global state put back. Warnings are errors (pyproject.toml)."""

import pytest

import functorch_like as ft


@pytest.fixture(autouse=True)
def _fresh_state():
    """The same random numbers in every test, whichever ran before; defaults restored."""
    ft.manual_seed(0)
    threads, dtype = ft.get_num_threads(), ft.get_default_dtype()
    yield
    ft.set_num_threads(threads)
    ft.set_default_dtype(dtype)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    """Every device that is here."""
    if request.param == "cuda" and not ft.cuda.is_available():
        pytest.skip("no CUDA device")
    return ft.device(request.param)
