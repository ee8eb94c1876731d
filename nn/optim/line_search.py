"""A step length along a direction, by the strong Wolfe conditions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from functorch_like import Tensor

__all__ = ["strong_wolfe"]


class _Point(NamedTuple):
    """A step length with the loss, gradient and slope there."""

    t: float
    loss: float
    grad: Any
    slope: float


def strong_wolfe(
    at: Callable[[float], tuple[float, Tensor]],
    t: float,
    direction: Tensor,
    loss: float,
    grad: Tensor,
    slope: float,
    most: int,
    *,
    c1: float = 1e-4,
    c2: float = 0.9,
    tolerance: float = 1e-9,
) -> tuple[float, Tensor, float]:
    """(loss, gradient, step length) at a point that is lower and flatter than the start.

    Args:
      at: loss and flat gradient at a step length.
      t: first step length to try.
      direction [n]: along it the slope is negative.
      loss, grad, slope: at step length 0.
      most: most step lengths to try after the first.
      c1, c2: least decrease and largest remaining slope, as shares of the slope.
      tolerance: the search ends when the interval, times the largest element of the direction, is
        shorter.
    Reference: Nocedal & Wright 2006, algorithms 3.5 and 3.6, with cubic interpolation (eq. 3.59).
    """

    def evaluate(length: float) -> _Point:
        value, gradient = at(length)
        return _Point(length, value, gradient, float((gradient * direction).sum()))

    origin = _Point(0.0, loss, grad, slope)
    previous, point = origin, evaluate(t)
    tries = 0
    bracket: list[_Point] = []
    while tries < most:
        too_high = point.loss > loss + c1 * point.t * slope
        if too_high or (tries > 1 and point.loss >= previous.loss):
            bracket = [previous, point]
            break
        if abs(point.slope) <= -c2 * slope:
            return point.loss, point.grad, point.t
        if point.slope >= 0:
            bracket = [previous, point]
            break
        lowest, highest = point.t + 0.01 * (point.t - previous.t), point.t * 10
        following = _cubic_minimum(previous, point, lowest, highest)
        previous, point = point, evaluate(following)
        tries += 1
    if not bracket:
        bracket = [origin, point]

    scale = float(direction.abs().max())
    stuck = False
    low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
    while tries < most and abs(bracket[1].t - bracket[0].t) * scale >= tolerance:
        first, last = sorted((bracket[0].t, bracket[1].t))
        t = _cubic_minimum(bracket[0], bracket[1], first, last)
        margin = 0.1 * (last - first)
        if min(last - t, t - first) < margin:  # close to an end: the second time, move inwards
            if stuck or t >= last or t <= first:
                t = last - margin if abs(t - last) < abs(t - first) else first + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        point = evaluate(t)
        tries += 1
        if point.loss > loss + c1 * t * slope or point.loss >= bracket[low].loss:
            bracket[high] = point
            low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
            continue
        done = abs(point.slope) <= -c2 * slope
        if not done and point.slope * (bracket[high].t - bracket[low].t) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = point
        if done:
            break
    best = bracket[low]
    return best.loss, best.grad, best.t


def _cubic_minimum(a: _Point, b: _Point, lowest: float, highest: float) -> float:
    """Where the cubic through both points is lowest, within limits; their middle if nowhere."""
    if a.t > b.t:
        a, b = b, a
    if a.t == b.t:
        return (lowest + highest) / 2.0
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (lowest + highest) / 2.0
    d2 = math.sqrt(square)
    below = b.slope - a.slope + 2 * d2
    if below == 0:
        return (lowest + highest) / 2.0
    return min(max(b.t - (b.t - a.t) * ((b.slope + d2 - d1) / below), lowest), highest)
