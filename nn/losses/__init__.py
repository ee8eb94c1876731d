"""Losses as pure functions of tensors; nn.functional re-exports them.

They broadcast input against target without a warning: give equal shapes. All are compositions or
fused operations of functorch_like, so that all work under every transform.
"""

from nn.losses import classification, ctc, margin, regression
from nn.losses.classification import *
from nn.losses.ctc import *
from nn.losses.margin import *
from nn.losses.regression import *

__all__: list[str] = []
__all__ += classification.__all__
__all__ += ctc.__all__
__all__ += margin.__all__
__all__ += regression.__all__
