"""Functions take the keywords that torch documents for them."""

import inspect
import re

import pytest

import functorch_like as ft

torch = pytest.importorskip("torch")

# what stands for nothing here, or for what functions of several outputs and dtypes have elsewhere
IGNORED = {"*", "/", "", "out", "layout", "pin_memory", "requires_grad"}
# functions that torch has twice, with the names of torch.linalg, and names that are ambiguous there
EXCUSED = {"det", "inverse", "matrix_power", "orgqr", "slogdet", "swapaxes", "true_divide"}
EXCUSED |= {"gather", "is_conj", "is_inference", "result_type"}


def documented(name, function):
    """The parameters in each signature of a docstring."""
    text = function.__doc__ or ""
    pattern = rf"^\s*(?:torch\.)?{re.escape(name)}\((.*?)\)\s*->"
    for found in re.finditer(pattern, text, re.M | re.S):
        parts = re.split(r",\s*(?![^(\[]*[)\]])", found.group(1))
        names = [re.split("[=:]", p)[0].strip().lstrip("*") for p in parts]
        yield [n for n in names if n.isidentifier()]


def shared():
    for name in sorted(set(dir(torch)) & set(dir(ft)) - EXCUSED):
        theirs, ours = getattr(torch, name), getattr(ft, name)
        if name.startswith("_") or not callable(theirs) or not inspect.isfunction(ours):
            continue
        if signatures := list(documented(name, theirs)):
            yield pytest.param(ours, signatures, id=name)


@pytest.mark.parametrize(("function", "signatures"), list(shared()))
def test_keywords_are_torchs(function, signatures):
    known = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in known.values()):
        return
    for names in signatures:
        missing = [n for n in names if n not in known and n not in IGNORED]
        assert not missing, f"{names}: ours are {list(known)}"
