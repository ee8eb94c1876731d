"""Attention as one op, whose memory is linear in the number of queries and keys.

The kernel gives the log-sum-exps of the scores beside the result; from them the fused gradient
recomputes the weights. Forward mode and higher orders use the decompositions, which hold the matrix
of weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cbackend import ffi, lib

from ..op import Op, Spec
from ..samples import call, sampled
from ..tensor import Tensor
from .creation import full, zeros_like
from .family import sum_to
from .matmul import matmul
from .reduce import logsumexp
from .softmax import softmax
from .ternary import where

__all__: list[str] = []  # ops of attention.py, not public

_FAMILY = "attention"
_INFINITE = float("inf")


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype.itemsize == 2 else x


def causal_bias(rows: int, columns: int, like: Tensor) -> Tensor:
    """0 where a query may attend, -inf behind it: [rows, columns]."""
    return full((rows, columns), -_INFINITE, dtype=like.dtype, device=like.device).triu(1)


def _scores(q: Tensor, k: Tensor, biases: Sequence[Tensor], causal: bool, scale: float) -> Tensor:
    scores = matmul(_wide(q) * scale, _wide(k).transpose(-2, -1))
    if causal:
        scores = scores + causal_bias(*scores._shape[-2:], scores)
    for bias in biases:
        scores = scores + _wide(bias)
    return scores


def _meaning(
    q: Tensor, k: Tensor, v: Tensor, *biases: Tensor, causal: bool, scale: float
) -> tuple[Tensor, Tensor]:
    scores = _scores(q, k, biases, causal, scale)
    if not biases:
        weights, totals = softmax(scores, -1), logsumexp(scores, -1)
    else:
        empty = (scores == -_INFINITE).all(-1, keepdim=True)
        scores = where(empty, 0.0, scores).to(scores.dtype)
        weights = where(empty, 0.0, softmax(scores, -1)).to(scores.dtype)
        totals = where(empty.squeeze(-1), _INFINITE, logsumexp(scores, -1)).to(scores.dtype)
    return matmul(weights, _wide(v)).to(q.dtype), _spread(totals, q, k, v, *biases)


def _spread(totals: Tensor, *operands: Tensor) -> Tensor:
    """Totals [..., L] with the leading sizes of all operands."""
    lead = [
        max(sizes, key=lambda n: n != 1)
        for sizes in zip(*(x._shape[:-2] for x in operands), strict=True)
    ]
    return totals.expand((*lead, totals._shape[-1]))


def _scores_cotangent(
    ct: Tensor, out: Tensor, totals: Tensor, ct_totals: Tensor | None, q: Tensor, k: Tensor,
    v: Tensor, biases: Sequence[Tensor], causal: bool, scale: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The weights, and the cotangent of the scores."""
    weights = (_scores(q, k, biases, causal, scale) - totals.unsqueeze(-1)).exp()
    inner = (_wide(ct) * _wide(out)).sum(-1, keepdim=True)
    if ct_totals is not None:
        inner = inner - ct_totals.unsqueeze(-1)
    return weights, weights * (matmul(_wide(ct), _wide(v).transpose(-2, -1)) - inner)


def _grad_meaning(
    ct: Tensor, out: Tensor, totals: Tensor, q: Tensor, k: Tensor, v: Tensor, *biases: Tensor,
    causal: bool, scale: float, ct_totals: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    weights, ds = _scores_cotangent(ct, out, totals, ct_totals, q, k, v, biases, causal, scale)
    dq = matmul(ds, _wide(k)) * scale
    dk = matmul(ds.transpose(-2, -1), _wide(q)) * scale
    dv = matmul(weights.transpose(-2, -1), _wide(ct))
    return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype)


def _vjp(
    ct: Any, out: Any, q: Tensor, k: Tensor, v: Tensor, *biases: Tensor,
    causal: bool, scale: float, needs: tuple[bool, ...],
) -> tuple[Any, ...]:  # fmt: skip
    g = zeros_like(out[0]) if ct[0] is None else ct[0]
    y, totals = out
    found: list[Any] = [None] * 3
    if any(needs[:3]):
        if ct[1] is None:
            made = _attention_grad(g, y, totals, q, k, v, *biases, causal=causal, scale=scale)
        else:
            made = _grad_meaning(
                g, y, totals, q, k, v, *biases, causal=causal, scale=scale, ct_totals=ct[1]
            )
        found = [
            sum_to(x, Spec(operand)) if need else None
            for x, operand, need in zip(made, (q, k, v), needs, strict=False)
        ]
    if biases:
        ds = None
        if needs[3]:
            _, ds = _scores_cotangent(g, y, totals, ct[1], q, k, v, biases, causal, scale)
            ds = sum_to(ds, Spec(biases[0]))
        found.append(ds)
    return tuple(found)


def _batch(op: Any) -> Any:
    def batch(_size: int, batched: Any, *args: Tensor, **params: Any) -> Any:
        return op()(
            *[a if b else a.unsqueeze(0) for a, b in zip(args, batched, strict=True)], **params
        )

    return batch


def _impl(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None, *, causal: bool, scale: float
) -> Any:
    out = ffi.new("cb_tensor *[2]")
    has = bias is not None
    extra = bias._v if has else q._v
    return () if lib.cb_attention(q._v, k._v, v._v, extra, has, causal, scale, out) else tuple(out)


def _grad_impl(
    ct: Tensor, result: Tensor, totals: Tensor, q: Tensor, k: Tensor, v: Tensor,
    bias: Tensor | None = None, *, causal: bool, scale: float,
) -> Any:  # fmt: skip
    out = ffi.new("cb_tensor *[3]")
    has = bias is not None
    extra = bias._v if has else q._v
    failed = lib.cb_attention_grad(
        ct._v, result._v, totals._v, q._v, k._v, v._v, extra, has, causal, scale, out
    )
    return () if failed else tuple(out)


attention = Op(
    "attention",
    _impl,
    vjp=_vjp,
    batch=_batch(lambda: attention),
    decompose=_meaning,
    nouts=2,
    family=_FAMILY,
)
_attention_grad = Op(
    "attention_grad",
    _grad_impl,
    batch=lambda _size, batched, *args, **params: _grad_batch(batched, args, params),
    decompose=_grad_meaning,
    nouts=3,
    family=_FAMILY,
)


def _grad_batch(batched: Any, args: Sequence[Tensor], params: Any) -> Any:
    lanes = [a if b else a.unsqueeze(0) for a, b in zip(args, batched, strict=True)]
    size = max(a._shape[0] for a, b in zip(args, batched, strict=True) if b)
    for i in range(3):  # these have the whole batch
        if not batched[i]:
            lanes[i] = lanes[i].expand((size, *args[i]._shape))
    return _attention_grad(*lanes, **params)


# shapes of q, k, v and, where there is one, of the bias
_SHAPES: list[tuple[tuple[int, ...], ...]] = [
    ((4, 3), (5, 3), (5, 2)),
    ((2, 3, 2), (2, 4, 2), (2, 4, 3)),
    ((2, 1, 3, 2), (1, 2, 4, 2), (1, 2, 4, 1)),
    ((2, 3, 2), (2, 4, 2), (2, 4, 3), (1, 3, 4)),
    ((3, 2), (4, 2), (4, 2), (1, 4)),
    ((0, 3, 2), (0, 4, 2), (0, 4, 2)),
]


def _wholes(shapes: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    lead = [
        max(sizes, key=lambda n: n != 1) for sizes in zip(*(s[:-2] for s in shapes), strict=True)
    ]
    return (*lead, shapes[0][-2], shapes[2][-1]), (*lead, shapes[0][-2])


sampled(
    attention,
    lambda make: [
        call(*[make(*s) for s in shapes], causal=causal, scale=0.7)
        for shapes in _SHAPES
        for causal in (False, True)
    ],
)
sampled(
    _attention_grad,
    lambda make: [
        call(
            *[make(*s) for s in (_wholes(shapes)[0], *_wholes(shapes))],
            *[make(*s) for s in shapes],
            causal=causal,
            scale=0.7,
        )
        for shapes in _SHAPES
        for causal in (False, True)
    ],
)
