"""Schedules as pure functions of the step: a number or a tensor in, the learning rate out.

With tensors they work inside vmap, grad and compile; nothing branches on their values. Where a
class of torch has a closed form, the function of that name gives it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import functorch_like as ft
from functorch_like import Tensor

__all__ = [
    "constant",
    "cosine_annealing",
    "cosine_warm_restarts",
    "cyclic",
    "exponential",
    "linear",
    "multi_step",
    "one_cycle",
    "polynomial",
    "step_decay",
    "warmup_cosine",
]

Scalar = Any  # a number or a 0-d tensor


def step_decay(step: Scalar, lr: Scalar, step_size: int, gamma: Scalar = 0.1) -> Scalar:
    """lr times gamma for every step_size steps done.

    Example:
      >>> [step_decay(t, 1.0, 2, 0.5) for t in range(5)]
      [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    return lr * gamma ** _floor(_number(step) / step_size)


def multi_step(step: Scalar, lr: Scalar, milestones: Sequence[int], gamma: Scalar = 0.1) -> Scalar:
    """lr times gamma for every milestone reached."""
    reached: Any = sum(_pick(_number(step) >= mark, 1.0, 0.0) for mark in milestones)
    return lr * gamma**reached


def constant(step: Scalar, lr: Scalar, factor: Scalar = 1 / 3, total_iters: int = 5) -> Scalar:
    """lr times factor before total_iters steps, lr after them."""
    return lr * _pick(_number(step) >= total_iters, 1.0, factor)


def linear(
    step: Scalar,
    lr: Scalar,
    start_factor: Scalar = 1 / 3,
    end_factor: Scalar = 1.0,
    total_iters: int = 5,
) -> Scalar:
    """lr times a factor that goes from start_factor to end_factor in total_iters steps.

    Example:
      >>> [linear(t, 1.0, 0.5, 1.0, 2) for t in range(4)]
      [0.5, 0.75, 1.0, 1.0]
    """
    done = _at_most(_number(step), total_iters) / total_iters
    return lr * (start_factor + (end_factor - start_factor) * done)


def exponential(step: Scalar, lr: Scalar, gamma: Scalar) -> Scalar:
    """lr times gamma to the step."""
    return lr * gamma ** _number(step)


def polynomial(step: Scalar, lr: Scalar, total_iters: int = 5, power: Scalar = 1.0) -> Scalar:
    """lr times a power of the share of total_iters that is left."""
    return lr * (1.0 - _at_most(_number(step), total_iters) / total_iters) ** power


def cosine_annealing(step: Scalar, lr: Scalar, T_max: int, eta_min: Scalar = 0.0) -> Scalar:
    """Half a cosine from lr to eta_min in T_max steps, and back in as many.

    Reference: Loshchilov & Hutter 2017.
    """
    return _half_cosine(lr, eta_min, _number(step) / T_max)


def cosine_warm_restarts(
    step: Scalar, lr: Scalar, T_0: int, T_mult: int = 1, eta_min: Scalar = 0.0
) -> Scalar:
    """Half a cosine from lr to eta_min, again and again, T_mult times longer each time.

    Reference: Loshchilov & Hutter 2017.
    """
    t = _number(step)
    if T_mult == 1:
        return _half_cosine(lr, eta_min, t / T_0 - _floor(t / T_0))
    # a hair above the exact power, so that the first step of a cycle belongs to it
    turns = _floor(_log(t / T_0 * (T_mult - 1) + 1) / math.log(T_mult) + 1e-9)
    length = T_0 * (T_mult * 1.0) ** turns
    return _half_cosine(lr, eta_min, (t - (length - T_0) / (T_mult - 1)) / length)


def cyclic(
    step: Scalar,
    base_lr: Scalar,
    max_lr: Scalar,
    step_size_up: int = 2000,
    step_size_down: int | None = None,
    mode: str = "triangular",
    gamma: Scalar = 1.0,
) -> Scalar:
    """Up from base_lr to max_lr and down again; lower each time with "triangular2", "exp_range".

    Raises:
      ValueError: another mode.
    Reference: Smith 2017.
    """
    t = _number(step)
    total = step_size_up + (step_size_up if step_size_down is None else step_size_down)
    cycle = _floor(1 + t / total)
    x, turn = 1.0 + t / total - cycle, step_size_up / total
    height = _pick(x <= turn, x / turn, (x - 1) / (turn - 1))
    if mode == "triangular2":
        height = height / 2.0 ** (cycle - 1)
    elif mode == "exp_range":
        height = height * gamma**t
    elif mode != "triangular":
        raise ValueError(
            f"cyclic: expected mode 'triangular', 'triangular2' or 'exp_range', got {mode!r}."
        )
    return base_lr + (max_lr - base_lr) * height


def one_cycle(
    step: Scalar,
    max_lr: Scalar,
    total_steps: int,
    pct_start: float = 0.3,
    anneal_strategy: str = "cos",
    div_factor: Scalar = 25.0,
    final_div_factor: Scalar = 1e4,
    three_phase: bool = False,
) -> Scalar:
    """From max_lr / div_factor up to max_lr, and down to far below where it started.

    Reference: Smith & Topin 2018.
    """
    t = _number(step)
    first = max_lr / div_factor
    ends = one_cycle_ends(total_steps, pct_start, three_phase)
    rates = [first, max_lr, *([first] if three_phase else []), first / final_div_factor]
    return phases(t, ends, rates, anneal_strategy)


def one_cycle_ends(total_steps: int, pct_start: float, three_phase: bool) -> list[float]:
    """The last steps of the phases of one_cycle."""
    first = float(pct_start * total_steps) - 1
    middle = [float(2 * pct_start * total_steps) - 2] if three_phase else []
    return [first, *middle, total_steps - 1]


def phases(step: Scalar, ends: Sequence[float], values: Sequence[Scalar], strategy: str) -> Scalar:
    """A value that goes from one of `values` to the next until each of the steps `ends`."""
    result, starts = None, [0.0, *ends[:-1]]
    for start, end, a, b in reversed(list(zip(starts, ends, values[:-1], values[1:], strict=True))):
        share = (step - start) / (end - start) if end != start else step * 0.0
        here = _half_cosine(a, b, share) if strategy == "cos" else (b - a) * share + a
        result = here if result is None else _pick(step <= end, here, result)
    return result


def warmup_cosine(
    step: Scalar, lr: Scalar, warmup_steps: int, total_steps: int, eta_min: Scalar = 0.0
) -> Scalar:
    """Linearly up to lr in warmup_steps, then half a cosine down to eta_min at total_steps.

    The first step (0) has lr / warmup_steps, not 0; after total_steps it stays at eta_min.

    Example:
      >>> [round(warmup_cosine(t, 1.0, 2, 6), 3) for t in range(8)]
      [0.5, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """
    t = _number(step)
    up = lr * (t + 1) / max(warmup_steps, 1)
    done = (_at_most(t, total_steps) - warmup_steps) / max(total_steps - warmup_steps, 1)
    return _pick(t < warmup_steps, up, _half_cosine(lr, eta_min, done))


def _half_cosine(start: Scalar, end: Scalar, share: Scalar) -> Scalar:
    turn = ft.cos(math.pi * share) if isinstance(share, Tensor) else math.cos(math.pi * share)
    return end + (start - end) * (1 + turn) / 2


def _number(step: Scalar) -> Scalar:
    return step.to(ft.get_default_dtype()) if isinstance(step, Tensor) else step


def _floor(x: Scalar) -> Scalar:
    return ft.floor(x) if isinstance(x, Tensor) else math.floor(x)


def _log(x: Scalar) -> Scalar:
    return ft.log(x) if isinstance(x, Tensor) else math.log(x)


def _at_most(x: Scalar, limit: float) -> Scalar:
    return ft.clamp(x, max=limit) if isinstance(x, Tensor) else min(x, limit)


def _pick(condition: Any, yes: Scalar, no: Scalar) -> Scalar:
    if not isinstance(condition, Tensor):
        return yes if condition else no
    zero = ft.zeros((), dtype=ft.get_default_dtype())
    return ft.where(condition, zero + yes, zero + no)
