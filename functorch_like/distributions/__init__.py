"""Probability distributions, in the manner of torch.distributions.

Samples come from a generator or, with key=, from a key of ft.random. Everything is made of public
functions, so it works under all transforms: vmap over parameters or keys, gradients by rsample.
"""

from . import constraints, kl_mixed
from .compound import *
from .constraints import Constraint
from .continuous_bernoulli import *
from .discrete import *
from .distribution import Distribution, Independent
from .gamma import *
from .kl import kl_divergence, register_kl
from .location_scale import *
from .low_rank import *
from .relaxed import *
from .transforms import *

__all__ = [
    "Constraint", "Distribution", "Independent", "constraints", "kl_divergence", "register_kl",
]  # fmt: skip
