"""softmax, log_softmax and cross entropy.

Fused kernels forward and for the first pass back, composites beyond.
"""

from __future__ import annotations

from typing import Any

from cbackend import lib

from ..amp import entered, widened
from ..dtypes import as_dtype
from ..errors import DimError, DTypeError, ShapeError, message
from ..op import Op
from ..samples import call, sampled
from ..tensor import Tensor, wrap_dim
from ..trace import active, state
from .creation import arange
from .extremes import _two
from .reduce import _logsumexp, _sum
from .ternary import where
from .views import _expand

__all__ = [
    "cross_entropy",
    "log_softmax",
    "nll_loss",
    "softmax",
]

_FAMILY = "softmax"


def _rows_sum(x: Tensor, dim: int) -> Tensor:
    return _sum(x, dims=(dim,), keepdim=True) if x.ndim else x


def _forward(name: str, log: bool, jvp: Any) -> Op:
    op = Op(
        name,
        lambda x, *, dim: lib.cb_softmax(x._v, dim, log, -1),
        vjp=lambda ct, out, _x, *, dim: (_softmax_grad(ct, out, dim=dim, log=log),),
        jvp=jvp,
        batch=lambda _size, _batched, x, *, dim: _mapped(op, x, dim),
        family=_FAMILY,
    )
    return op


def _mapped(op: Op, x: Tensor, dim: int) -> Tensor:
    if x.ndim == 1:  # 0-d lanes
        return op(x.unsqueeze(1), dim=1).squeeze(1)
    return op(x, dim=dim + 1)


_softmax = _forward(
    "softmax",
    False,
    lambda tangents, out, _x, *, dim: _softmax_grad(tangents[0], out, dim=dim, log=False),
)
_log_softmax = _forward(
    "log_softmax",
    True,
    lambda tangents, out, _x, *, dim: tangents[0] - _rows_sum(tangents[0] * out.exp(), dim),
)


def _lines(make: Any) -> list[Any]:
    return [
        call(make(3, 4), dim=1),
        call(make(4, 2, 3), dim=0),
        call(make(), dim=0),
        call(make(0, 3), dim=1),
        call(make(2, 0), dim=1),
    ]


def _softmax_oracle(np: Any, x: Any, *, dim: int) -> Any:
    return np.exp(x) / np.sum(np.exp(x), axis=dim, keepdims=True) if x.ndim else np.ones_like(x)


sampled(_softmax, _lines, oracle=_softmax_oracle)
sampled(_log_softmax, _lines, oracle=lambda np, x, *, dim: np.log(_softmax_oracle(np, x, dim=dim)))


def _grad_meaning(ct: Tensor, y: Tensor, *, dim: int, log: bool) -> Tensor:
    if log:
        return ct - y.exp() * _rows_sum(ct, dim)
    scaled = ct * y
    return scaled - y * _rows_sum(scaled, dim)


def _grad_batch(size: int, batched: Any, ct: Tensor, y: Tensor, *, dim: int, log: bool) -> Tensor:
    ct, y = (
        a if b else _expand(a.unsqueeze(0), shape=(size, *a._shape))
        for a, b in zip((ct, y), batched, strict=True)
    )
    if ct.ndim == 1:
        return _softmax_grad(ct.unsqueeze(1), y.unsqueeze(1), dim=1, log=log).squeeze(1)
    return _softmax_grad(ct, y, dim=dim + 1, log=log)


_softmax_grad = Op(
    "softmax_grad",
    lambda ct, y, *, dim, log: lib.cb_softmax_grad(ct._v, y._v, dim, log),
    batch=_grad_batch,
    decompose=_grad_meaning,
    family=_FAMILY,
)
sampled(
    _softmax_grad,
    lambda make: [
        call(make(*shape), make(*shape), dim=dim, log=log)
        for shape, dim in (((3, 4), 1), ((4, 2, 3), 0), ((), 0), ((0, 3), 1))
        for log in (False, True)
    ],
)


def _prepared(op: str, x: Tensor, dim: int | None, dtype: Any) -> tuple[Tensor, int]:
    if entered and dtype is None:
        (x,) = widened(x)
    if dtype is not None:
        x = x.to(as_dtype(dtype))
    if not x.dtype.is_floating_point:
        raise DTypeError(message(op, "a floating tensor", x.dtype, "Pass dtype=float32, or cast."))
    if dim is None:
        raise TypeError(
            message(op, "a dim", "none", "Name the dimension of the classes, as in dim=-1.")
        )
    return x, wrap_dim(op, dim, x.ndim)


def softmax(input: Tensor, dim: int | None = None, dtype: Any = None, **_legacy: Any) -> Tensor:
    """exp(input - max) / sum along a dim.

    Args:
      input [..., n, ...] floating: logits.
      dim: the dimension of size n.
    Returns:
      [same as input]; sums to 1 along dim.
    Raises:
      DTypeError: input is not floating. DimError: dim out of range.
    Notes: 16-bit floats accumulate in float32. Differentiable any number of times.
    Reference: Bridle 1990; stabilised form as in Blanchard, Higham & Higham 2021.
    Example:
      >>> softmax(tensor([0.0, 0.0]), dim=0)
      tensor([0.5000, 0.5000])
    """
    input, d = _prepared("softmax", input, dim, dtype)
    return _softmax(input, dim=d)


def log_softmax(input: Tensor, dim: int | None = None, dtype: Any = None, **_legacy: Any) -> Tensor:
    """log(softmax(input)), without overflow."""
    input, d = _prepared("log_softmax", input, dim, dtype)
    return _log_softmax(input, dim=d)


# ---- cross entropy of rows of logits with class labels ----


def _entropy_meaning(x: Tensor, target: Tensor, *, ignore_index: int) -> tuple[Tensor, Tensor]:
    total = _logsumexp(x, dims=(1,), keepdim=False)
    kept = target != ignore_index
    picked = x.gather(1, where(kept, target, 0).unsqueeze(1)).squeeze(1)
    return where(kept, total - picked, 0), total


def _entropy_vjp(
    ct: Any, out: Any, x: Tensor, target: Tensor, *, ignore_index: int
) -> tuple[Any, None]:
    g = None
    if ct[0] is not None:
        g = _entropy_grad(ct[0], x, target, out[1], ignore_index=ignore_index)
    if ct[1] is not None:
        total = (x - out[1].unsqueeze(1)).exp() * ct[1].unsqueeze(1)
        g = total if g is None else g + total
    return g, None


def _rows_batch(op: Any, nouts: int) -> Any:
    """Folds the mapped dimension into the rows."""

    def batch(size: int, batched: Any, *args: Tensor, **params: Any) -> Any:
        fronted = [
            a if b else _expand(a.unsqueeze(0), shape=(size, *a._shape))
            for a, b in zip(args, batched, strict=True)
        ]
        rows = fronted[0]._shape[1]
        out = op()(*[a.reshape((size * rows, *a._shape[2:])) for a in fronted], **params)
        if nouts == 1:
            return out.reshape((size, rows, *out._shape[1:]))
        return tuple(y.reshape((size, rows, *y._shape[1:])) for y in out)

    return batch


_entropy = Op(
    "cross_entropy_rows",
    lambda x, target, *, ignore_index: _two(lib.cb_cross_entropy, x._v, target._v, ignore_index),
    vjp=_entropy_vjp,
    batch=_rows_batch(lambda: _entropy, 2),
    decompose=_entropy_meaning,
    nouts=2,
    family=_FAMILY,
)
sampled(
    _entropy,
    lambda make: [
        call(make(4, 5), make.index(5, 4), ignore_index=-100),
        call(make(4, 3), make.index(3, 4), ignore_index=1),
        call(make(0, 3), make.index(3, 0), ignore_index=-100),
    ],
)


def _entropy_grad_meaning(
    ct: Tensor, x: Tensor, target: Tensor, total: Tensor, *, ignore_index: int
) -> Tensor:
    classes = arange(x._shape[1], device=x.device)
    hit = classes == target.unsqueeze(1)
    share = (x - total.unsqueeze(1)).exp() - hit.to(x.dtype)
    return where((target != ignore_index).unsqueeze(1), share * ct.unsqueeze(1), 0)


_entropy_grad = Op(
    "cross_entropy_rows_grad",
    lambda ct, x, target, total, *, ignore_index: lib.cb_cross_entropy_grad(
        ct._v, x._v, target._v, total._v, ignore_index
    ),
    batch=_rows_batch(lambda: _entropy_grad, 1),
    decompose=_entropy_grad_meaning,
    family=_FAMILY,
)
sampled(
    _entropy_grad,
    lambda make: [
        call(make(4), make(4, 5), make.index(5, 4), make(4), ignore_index=-100),
        call(make(4), make(4, 3), make.index(3, 4), make(4), ignore_index=1),
        call(make(0), make(0, 3), make.index(3, 0), make(0), ignore_index=-100),
    ],
)


def cross_entropy(
    input: Tensor,  # torch's name
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """The cross entropy between logits and classes.

    Args:
      input [N, C], [C] or [N, C, d1, ...] floating: logits.
      target [N], [] or [N, d1, ...] integer labels, or probabilities of the input's shape.
      weight [C]: a factor for each class.
      ignore_index: a label that counts for nothing.
      reduction: "mean" (weighted), "sum" or "none".
      label_smoothing: the share of a uniform distribution in the target, in [0, 1].
    Raises:
      DimError: a label out of range. ShapeError: shapes do not fit.
    Example:
      >>> cross_entropy(zeros(2, 4), tensor([0, 3]))
      tensor(1.3863)
    """
    _check_reduction("cross_entropy", reduction)
    if entered:
        input, weight = widened(input, weight)
    single = input.ndim == 1
    if single:
        input, target = input.unsqueeze(0), target.unsqueeze(0)
    if not input.dtype.is_floating_point:
        raise DTypeError(message("cross_entropy", "floating logits", input.dtype))
    if not 0 <= label_smoothing <= 1:
        raise ValueError(message("cross_entropy", "label_smoothing in [0, 1]", label_smoothing))
    shape = input._shape
    lead = (shape[0], *shape[2:])
    if target.dtype.is_floating_point:
        losses, scale = _soft_losses(input, target, weight, label_smoothing), None
    else:
        if target._shape != lead:
            raise ShapeError(
                message(
                    "cross_entropy",
                    f"labels of shape {list(lead)} for logits of shape {list(shape)}",
                    list(target._shape),
                )
            )
        losses, scale = _hard_losses(input, target, weight, ignore_index, label_smoothing)
    if reduction == "none":
        return losses if not single else losses.reshape(())
    if reduction == "mean" and scale is None:
        return losses.mean()
    return losses.sum() if reduction == "sum" else losses.sum() / scale


def _hard_losses(
    x: Tensor, labels: Tensor, weight: Tensor | None, ignore_index: int, smoothing: float
) -> tuple[Tensor, Any]:
    """The losses and what "mean" divides by (None: the number of labels); classes are dim 1."""
    if not smoothing and (x.ndim == 2 or x.dtype.itemsize < 4):
        return _row_losses(x, labels, weight, ignore_index)
    log_p = _log_softmax(x, dim=1)
    losses, factor = _picked("cross_entropy", log_p, labels, weight, ignore_index)
    if smoothing:
        weighted = log_p if weight is None else log_p * _along_classes(weight, x.ndim)
        uniform = -weighted.sum(1) / x._shape[1]
        if factor is not None:
            uniform = where(labels != ignore_index, uniform, 0)
        losses = losses * (1 - smoothing) + uniform * smoothing
    return losses, None if factor is None else factor.sum()


def _row_losses(
    x: Tensor, labels: Tensor, weight: Tensor | None, ignore_index: int
) -> tuple[Tensor, Any]:
    """_hard_losses() by the kernel that reads rows of classes and keeps nothing but them."""
    shape = labels._shape
    if x.ndim > 2:
        x, labels = x.movedim(1, -1).reshape((-1, x._shape[1])), labels.reshape((-1,))
    losses, _totals = _entropy(x, labels, ignore_index=ignore_index)
    scale = None
    if weight is not None:
        kept = labels != ignore_index
        factor = weight.index_select(0, where(kept, labels, 0)) * kept.to(x.dtype)
        losses, scale = losses * factor, factor.sum()
    elif _has(labels, ignore_index):
        scale = (labels != ignore_index).sum()
    return losses if losses.ndim == len(shape) else losses.reshape(shape), scale


def _along_classes(weight: Tensor, ndim: int) -> Tensor:
    return weight.reshape((-1, *[1] * (ndim - 2)))


def _has(labels: Tensor, ignore_index: int) -> bool:
    """Might a label be the ignored one? Those without known values might."""
    if not labels._v or labels.is_meta:
        return True
    few = _few(labels)
    return bool((labels == ignore_index).any()) if few is None else ignore_index in few


def _few(labels: Tensor) -> list[Any] | None:
    """A handful of plain labels as a list, which is read faster than operations are called."""
    plain = labels._m is None and (not active or state.trace is None)
    return labels._numbers() if plain and labels._v.numel <= 64 else None


def _ignores(op: str, labels: Tensor, classes: int, ignore_index: int) -> bool:
    """_has(), once no other label is negative: gather() would count it from the end."""
    if not labels._v or labels.is_meta:
        return True
    few = _few(labels)
    if not ((labels < 0).any() if few is None else min(few, default=0) < 0):
        return ignore_index >= 0 and _has(labels, ignore_index)
    wrong = labels[(labels < 0) & (labels != ignore_index)]
    if wrong.numel():
        raise DimError(message(op, f"labels in [0, {classes})", wrong[0].item()))
    return True


def _soft_losses(x: Tensor, p: Tensor, weight: Tensor | None, smoothing: float) -> Tensor:
    if p._shape != x._shape:
        raise ShapeError(
            message("cross_entropy", f"probabilities of shape {list(x._shape)}", list(p._shape))
        )
    if smoothing:
        p = p * (1 - smoothing) + smoothing / x._shape[1]
    if weight is not None:
        p = p * _along_classes(weight, x.ndim)
    return -(_log_softmax(x, dim=1) * p).sum(1)


def _check_reduction(op: str, reduction: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(message(op, 'reduction "mean", "sum" or "none"', repr(reduction)))


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """The negative log likelihood.

    Minus the log-probabilities (input [N, C, ...]) of the labels (target [N, ...]).

    Raises:
      DimError: a label out of range.
    """
    _check_reduction("nll_loss", reduction)
    if input.ndim == 1:
        picked = nll_loss(
            input.unsqueeze(0), target.unsqueeze(0), weight, None, ignore_index, None, reduction
        )
        return picked.squeeze(0) if picked.ndim else picked
    losses, factor = _picked("nll_loss", input, target, weight, ignore_index)
    if reduction == "none":
        return losses
    if reduction == "mean" and factor is None:
        return losses.mean()
    return losses.sum() if reduction == "sum" else losses.sum() / factor.sum()


def _picked(
    op: str, log_p: Tensor, labels: Tensor, weight: Tensor | None, ignore_index: int
) -> tuple[Tensor, Any]:
    """Minus log_p at the labels of dim 1, times factors, and these; None where all are 1."""
    ignores = _ignores(op, labels, log_p._shape[1], ignore_index)
    if weight is None and not ignores:
        return -log_p.gather(1, labels.unsqueeze(1)).squeeze(1), None
    kept = labels != ignore_index
    safe = where(kept, labels, 0)
    losses = -log_p.gather(1, safe.unsqueeze(1)).squeeze(1)
    factor = kept.to(log_p.dtype)
    if weight is not None:
        factor = factor * weight.index_select(0, safe.reshape((-1,))).reshape(safe._shape)
    return where(kept, losses * factor, 0), factor  # an ignored one may be inf


Tensor.softmax = softmax  # type: ignore[attr-defined]
Tensor.log_softmax = log_softmax  # type: ignore[attr-defined]
