"""Runs the examples in all docstrings, with everything public of functorch_like at hand."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

import functorch_like as ft

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL


def modules():
    return [
        *[
            importlib.import_module(m.name)
            for m in pkgutil.walk_packages(ft.__path__, "functorch_like.")
        ],
        ft,  # last: a function that out= was given to is found where it is written first
    ]


def examples():
    """Every docstring with examples once, from its module, from Tensor or from the package."""
    finder = doctest.DocTestFinder(recurse=True)
    seen, found = set(), []
    places = [(m.__name__, m, m) for m in modules()]
    public = {k: v for k, v in vars(ft).items() if not k.startswith("_")}
    places += [(f"functorch_like.{k}", v, None) for k, v in public.items() if callable(v)]
    places += [
        (f"Tensor.{k}", v, None)
        for k, v in vars(ft.Tensor).items()
        if callable(v) or isinstance(v, property)
    ]
    for name, thing, module in places:
        names = {**public, **vars(module or inspect.getmodule(thing) or ft)}
        for test in finder.find(
            thing, name, module=module if module is not None else False, globs=names
        ):
            if test.examples and test.docstring not in seen:
                seen.add(test.docstring)
                found.append(pytest.param(test, id=test.name.removeprefix("functorch_like.")))
    return found


@pytest.mark.parametrize("test", examples())
def test_example(test):
    report = []
    result = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append)
    assert not result.failed, "".join(report)
