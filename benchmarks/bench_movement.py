"""Ops that move or make data: casts, copies, joining, indexing, random numbers; about 1e6 elements.

Every op is called as users call it, on a square matrix; GB/s count inputs and results once.
"""

import functorch_like as ft
from functorch_like.op import TABLE

from . import common

CALLS = {
    # casts and copies
    "to_dtype": ("x", lambda x: x.to(ft.float64)),
    "to_integer": ("x", lambda x: x.to(ft.int32)),
    "clone": ("x", lambda x: x.clone()),
    "contiguous": ("x", lambda x: x.T.contiguous()),
    # joining
    "cat": ("x y", lambda x, y: ft.cat((x, y), 1)),
    "stack": ("x y", lambda x, y: ft.stack((x, y))),
    "flip": ("x", lambda x: x.flip(1)),
    "roll": ("x", lambda x: x.roll(3, 1)),
    "repeat": ("x", lambda x: x.repeat(2, 2)),
    "tri": ("x", lambda x: x.tril()),
    "constant_pad": ("x", lambda x: TABLE["constant_pad"](x, pad=(1, 1, 1, 1), value=0.0)),
    # indexing
    "getitem": ("x", lambda x: x[1:-1, ::2].clone()),
    "index_embed": ("x", lambda x: x[1:-1].sum(), "gradient"),
    "index_write": ("x y", lambda x, y: x.clone().__setitem__(slice(1, None), y[1:]), "write"),
    "index": ("x i", lambda x, i: x[i]),
    "index_put": ("x i y", lambda x, i, y: x.index_put((i,), y, accumulate=True)),
    "gather": ("x j", lambda x, j: x.gather(1, j)),
    "scatter": ("x j y", lambda x, j, y: x.scatter(1, j, y)),
    "scatter_add": ("x j y", lambda x, j, y: x.scatter_add(1, j, y)),
    "index_select": ("x i", lambda x, i: x.index_select(0, i)),
    "index_add": ("x i y", lambda x, i, y: x.index_add(0, i, y)),
    "nonzero": ("x", lambda x: x.nonzero()),
    # random numbers: n is the number of elements
    "random": ("n", lambda n: ft.randn(n)),
    "random_int": ("n", lambda n: ft.randint(0, 10, (n,))),
    "random_perm": ("n", lambda n: ft.randperm(n)),
}
