"""Connectionist temporal classification: the forward variables of a hidden Markov model, in logs.

One step a frame over all states and sequences at once; lengths only mask, so that the loss works
under vmap and differentiates to any order.
"""

from __future__ import annotations

from collections.abc import Sequence

import functorch_like as ft
from functorch_like import Tensor
from functorch_like.errors import ShapeError, TraceError
from functorch_like.trace import active
from nn.losses.reduction import reduced

__all__ = ["ctc_loss"]

# log of an impossible path: finite, so that differences of two such logs are no nan
_IMPOSSIBLE = -1e30


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int] | int,
    target_lengths: Tensor | Sequence[int] | int,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Negative log-probability of label sequences, summed over all alignments to the frames.

    Args:
      log_probs [t, n, c] or [t, c] floating: log-probabilities of the classes for each frame.
      targets [n, s], [s], or [sum(target_lengths)] integer: labels, padded or joined; no blanks.
      input_lengths, target_lengths [n] or []: frames and labels of each sequence.
      blank: the class that stands for no label.
      reduction: "mean" divides each loss by its target length and averages.
      zero_infinity: 0 in place of infinity, for sequences that need more frames than there are.
    Returns:
      [], or [n] for "none" ([] for a single sequence).
    Raises:
      ShapeError: the shapes do not fit. ValueError: a length exceeds its dimension.
    Notes: The gradient is that of the formula; torch's is the one after log_softmax. Both agree
      there, and log_probs are meant to come from log_softmax.
    Reference: Graves et al. 2006.
    Example:
      >>> uniform = ft.log_softmax(ft.zeros(2, 1, 2), -1)
      >>> ctc_loss(uniform, ft.tensor([[1]]), [2], [1])  # 3 of the 4 paths give the label
      tensor(0.2877)
    """
    if log_probs.ndim not in (2, 3):
        raise ShapeError(
            f"ctc_loss: expected log_probs [t, n, c] or [t, c], got {list(log_probs.shape)}."
        )
    single = log_probs.ndim == 2
    x = log_probs.unsqueeze(1) if single else log_probs
    if x.dtype in (ft.float16, ft.bfloat16):
        x = x.to(ft.float32)
    frames, n, classes = x.shape
    if not frames:
        raise ShapeError("ctc_loss: expected at least one frame, got log_probs of none.")
    if not 0 <= blank < classes:
        raise ValueError(f"ctc_loss: expected blank within 0..{classes - 1}, got {blank}.")
    lengths = _lengths("input_lengths", input_lengths, n, x)
    label_lengths = _lengths("target_lengths", target_lengths, n, x)
    targets = targets.to(ft.int64)
    if targets.ndim == 2 or single:
        labels = targets.reshape(n, -1)
    else:
        labels = _split(targets, label_lengths)
    _check_range("input_lengths", lengths, frames)
    _check_range("target_lengths", label_lengths, labels.shape[1])

    loss = -_log_likelihood(x, labels, lengths, label_lengths, blank)
    infinite = loss > -0.5 * _IMPOSSIBLE
    loss = ft.where(infinite, 0.0 if zero_infinity else float("inf"), loss)
    if reduction == "mean":
        loss = loss / label_lengths.clamp(min=1).to(loss.dtype)
    if single:
        loss = loss.squeeze(0)
    return reduced("ctc_loss", loss, reduction).to(log_probs.dtype)


def _lengths(name: str, value: Tensor | Sequence[int] | int, n: int, like: Tensor) -> Tensor:
    if not isinstance(value, Tensor):
        value = ft.tensor(value, dtype=ft.int64, device=like.device)
    if value.numel() != n:
        raise ShapeError(f"ctc_loss: expected {name} [{n}], got {list(value.shape)}.")
    return value.to(ft.int64).reshape(n)


def _check_range(name: str, lengths: Tensor, most: int) -> None:
    """Values are looked at in eager mode only: a trace has none, or would be tied to them."""
    if not active and lengths.numel():
        low, high = int(lengths.min()), int(lengths.max())
        if low < 0 or high > most:
            raise ValueError(f"ctc_loss: expected {name} within 0..{most}, got {low}..{high}.")


def _split(targets: Tensor, lengths: Tensor) -> Tensor:
    """Labels joined in one vector as rows [n, longest], whatever behind their ends."""
    if targets.ndim != 1:
        raise ShapeError(
            f"ctc_loss: expected targets [n, s] or [total length], got {list(targets.shape)}."
        )
    try:
        sizes = [int(length) for length in lengths.tolist()]
    except TraceError as error:
        raise TraceError(
            "ctc_loss: expected targets [n, s] where target_lengths has no known values, got "
            "joined labels. Pad them, or compute the loss outside of the compiled function."
        ) from error
    if sum(sizes) != targets.shape[0]:
        raise ShapeError(
            f"ctc_loss: expected {sum(sizes)} joined labels, the sum of target_lengths, got "
            f"{targets.shape[0]}."
        )
    longest = max(sizes, default=0)
    starts = (lengths.cumsum(0) - lengths).unsqueeze(1)
    places = (starts + ft.arange(longest, device=targets.device)).clamp(
        max=max(targets.shape[0] - 1, 0)
    )
    return targets[places] if targets.shape[0] else targets.reshape(len(sizes), 0)


def _frames(x: Tensor) -> list[Tensor]:
    """x[0], x[1], ...; by halves, as the reverse of T slices would write T tensors of x's size."""
    count = x.shape[0]
    if count == 1:
        return [x.squeeze(0)]
    half = count // 2
    return _frames(x.narrow(0, 0, half)) + _frames(x.narrow(0, half, count - half))


def _log_likelihood(
    x: Tensor, labels: Tensor, lengths: Tensor, label_lengths: Tensor, blank: int
) -> Tensor:
    """[n]: the forward recursion over states blank, label, blank, label, ..., blank."""
    frames, n, _ = x.shape
    most = labels.shape[1]
    inside = ft.arange(most, device=x.device) < label_lengths.unsqueeze(1)
    labels = ft.where(inside, labels, blank)
    blanks = ft.full_like(labels, blank)
    states = ft.cat([ft.stack([blanks, labels], 2).reshape(n, 2 * most), blanks[:, :1]], 1)
    if most == 0:
        states = ft.full((n, 1), blank, dtype=ft.int64, device=x.device)
    count = 2 * most + 1

    # a label may follow the one before it without a blank between, unless both are the same
    padded = ft.cat([ft.full_like(states[:, :1], blank).expand(n, 2), states], 1)[:, :count]
    skips = (states != blank) & (states != padded)
    may_skip = ft.where(skips, 0.0, _IMPOSSIBLE).to(x.dtype)

    emitted = x.gather(2, states.unsqueeze(0).expand(frames, n, count))
    first = ft.arange(count, device=x.device) < 2
    alpha = ft.where(first, emitted[0], _IMPOSSIBLE)
    wall = ft.full((n, 2), _IMPOSSIBLE, dtype=x.dtype, device=x.device)
    rest = lengths.unsqueeze(1)
    for t, frame in enumerate(_frames(emitted)[1:], 1):
        walled = ft.cat([wall, alpha], 1)
        from_before = ft.logaddexp(alpha, walled[:, 1:-1])
        arrived = ft.logaddexp(from_before, walled[:, :-2] + may_skip)
        alpha = ft.where(rest > t, arrived + frame, alpha)

    last = (2 * label_lengths).unsqueeze(1)
    finals = alpha.gather(1, ft.cat([last, (last - 1).clamp(min=0)], 1))
    # without labels both ends are the one blank state: count it once
    twice = (last == 0) & (ft.arange(2, device=x.device) == 1)
    total = ft.logsumexp(ft.where(twice, _IMPOSSIBLE, finals), 1)
    no_frames = ft.where(label_lengths == 0, 0.0, _IMPOSSIBLE).to(x.dtype)
    return ft.where(lengths == 0, no_frames, total)
