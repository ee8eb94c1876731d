"""For tests: comparison with tolerances, derivative checks, random tensors, samples of ops.

No test framework is imported.
"""

from .comparison import assert_close
from .derivatives import check_grads, gradcheck, gradgradcheck
from .inputs import TABLE, Make, kinds_of, make_tensor, samples_of, tolerance_of

__all__ = [
    "TABLE", "Make", "assert_close", "check_grads", "gradcheck", "gradgradcheck", "kinds_of",
    "make_tensor", "samples_of", "tolerance_of",
]  # fmt: skip
