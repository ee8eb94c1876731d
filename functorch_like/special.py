"""Special functions under the names of torch.special."""

from .ops.binary import xlogy
from .ops.reduce import logsumexp
from .ops.softmax import log_softmax, softmax
from .ops.special import (
    digamma,
    entr,
    expit,
    log_ndtr,
    logit,
    multigammaln,
    ndtr,
    ndtri,
    polygamma,
    sinc,
    xlog1py,
    zeta,
)  # fmt: skip
from .ops.special import lgamma as gammaln
from .ops.unary import erf, erfc, erfinv, exp2, expm1, log1p, round

psi = digamma

__all__ = [
    "digamma", "entr", "erf", "erfc", "erfinv", "exp2", "expit", "expm1", "gammaln", "log1p",
    "log_ndtr", "log_softmax", "logit", "logsumexp", "multigammaln", "ndtr", "ndtri", "polygamma",
    "psi", "round", "sinc", "softmax", "xlog1py", "xlogy", "zeta",
]  # fmt: skip
