"""Draws from keys: elements a second, and keys a second."""

import functorch_like as ft

from . import common

DRAWS = {
    "keyed": lambda key, n: ft.random.normal(key, (n,)),
    "key_split": lambda key, n: ft.random.split(key, n),
    "key_fold": lambda key, n: ft.random.fold_in(key, ft.arange(n)),
    "standard_gamma": lambda key, n: ft.random.gamma(key, ft.full((n,), 2.5)),
    "poisson": lambda key, n: ft.random.poisson(key, ft.full((n,), 50.0)),
    "binomial": lambda key, n: ft.random.binomial(key, ft.full((n,), 40.0), ft.full((n,), 0.3)),
    "von_mises": lambda key, n: ft.random.von_mises(key, ft.full((n,), 4.0)),
}


class KeyedDraws(common.Kept):
    """n draws, or keys, from one key."""

    params = list(DRAWS)
    param_names = ["op"]
    n = 100_000
    small = {"n": 12}

    def make(self, op):
        self.key = ft.random.key(0)

    def time_draw(self, op):
        return DRAWS[op](self.key, self.n)
