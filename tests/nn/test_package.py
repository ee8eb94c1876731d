"""The package as a whole: lazy parts, imports, names with docs, examples that run."""

import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import nn

MODULES = [info.name for info in pkgutil.walk_packages(nn.__path__, "nn.")]


def test_public_names_exist_and_have_docs():
    for name in nn.__all__:
        assert getattr(nn, name).__doc__, name
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        assert module.__doc__, module_name
        for name in getattr(module, "__all__", []):
            value = getattr(module, name)
            assert value.__doc__, f"{module_name}.{name}"
            if inspect.isclass(value) and value.__module__ == module_name:
                for method, function in vars(value).items():
                    if not method.startswith("_") and inspect.isfunction(function):
                        assert function.__doc__, f"{module_name}.{name}.{method}"
    with pytest.raises(AttributeError, match="has no attribute 'Lineer'"):
        nn.Lineer  # noqa: B018
    assert set(nn.__all__) <= set(dir(nn))


@pytest.mark.parametrize("module_name", MODULES)
def test_examples_in_docstrings(module_name):
    module = importlib.import_module(module_name)
    assert doctest.testmod(module).failed == 0


def test_import_leaves_heavy_packages_alone():
    code = (
        "import sys, functorch_like; before = set(sys.modules); import nn; "
        "heavy = {'numpy', 'safetensors', 'optree', 'multiprocessing', 'torch', 'json', 'inspect', "
        "'dataclasses', 'nn.data', 'nn.optim', 'nn.serialization'}; "
        "print(sorted(heavy & (set(sys.modules) - before)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
