"""Base of optimizers whose formula works element by element.

Complex parameters are taken as pairs of real numbers, as torch does: a rule written for real
tensors then serves both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import functorch_like as ft
from functorch_like import Tensor, steps
from functorch_like.updates import Update, staged_update
from nn.optim.base import Optimizer, State, cast, is_on

__all__ = ["Elementwise"]

_MOST = 64  # updates kept: for sets of options and of dtypes
_NEW, _SEEN = object(), object()
_updates: dict[Any, Any] = {}  # None: not one sweep; _SEEN: wanted once, not staged yet
_FIXED = (float, int, bool, str, type(None))  # options that an update is staged for


class Elementwise(Optimizer):
    """A subclass gives `start` and `change` for real tensors; step counts are in `counters`."""

    @classmethod
    def start(cls, param: Tensor, options: Mapping[str, Any]) -> State:
        """init_state of a real parameter."""
        raise NotImplementedError

    @classmethod
    def change(
        cls, grad: Tensor, state: State, param: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """The rule for a real parameter."""
        raise NotImplementedError

    @classmethod
    def init_state(cls, param: Tensor, options: Mapping[str, Any]) -> State:
        """The state of one parameter before the first step."""
        if not param.is_complex():
            return cls.start(param, options)
        state = cls.start(ft.view_as_real(param), options)
        return {n: v if n in cls.counters else ft.view_as_complex(v) for n, v in state.items()}

    @classmethod
    def rule(
        cls, grad: Tensor, state: State, param: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """(what to add to param, new state), without changing anything."""
        if not param.is_complex():
            return cls.change(grad, state, param, options)
        parts = {n: v if n in cls.counters else ft.view_as_real(v) for n, v in state.items()}
        change, new = cls.change(ft.view_as_real(grad), parts, ft.view_as_real(param), options)
        whole = {n: v if n in cls.counters else ft.view_as_complex(v) for n, v in new.items()}
        return ft.view_as_complex(change), whole

    def _step_group(
        self, params: list[Tensor], grads: list[Tensor], states: list[State], group: dict[str, Any]
    ) -> None:
        """The rule: in one sweep over all parameters alike, where memory may be written."""
        if not steps.in_memory():
            super()._step_group(params, grads, states, group)
            return
        if self._sweep(params, grads, states, group):
            return
        alike: dict[Any, list[int]] = {}
        for i, (param, grad, state) in enumerate(zip(params, grads, states, strict=True)):
            held = [getattr(value, "dtype", None) for value in state.values()]
            form = (param.device, param.dtype, grad.dtype, *state, *held)
            alike.setdefault(form, []).append(i)
        for chosen in alike.values():
            some = [params[i] for i in chosen]
            of_some = [grads[i] for i in chosen], [states[i] for i in chosen]
            if len(alike) == 1 or not self._sweep(some, *of_some, group):
                super()._step_group(some, *of_some, group)

    def _sweep(
        self, params: list[Tensor], grads: list[Tensor], states: list[State], group: dict[str, Any]
    ) -> bool:
        """The step in one sweep; False where nothing was done, since the sets do not fit one."""
        first = states[0]
        options = [group[name] for name in self.defaults if name != "lr"]
        fixed = [part for x in options for part in (x if type(x) is tuple else (x,))]
        if not all(isinstance(part, _FIXED) for part in fixed) or params[0].is_complex():
            return False
        values = list(first.values())
        if not all(isinstance(x, Tensor) and x.device.type == "cpu" for x in [params[0], *values]):
            return False
        if any(state.keys() != first.keys() for state in states):
            return False
        rate: Any = group["lr"]
        held: Any = None  # a rate that is no operand: 16-bit formulas round a tensor, not a number
        if isinstance(rate, Tensor):
            if rate.ndim or steps.handles([rate]) is None:
                return False
        elif params[0].dtype in (ft.float16, ft.bfloat16):
            held = rate
        else:
            rate = ft.tensor(rate, dtype=ft.float64, device="cpu")
        rates = [] if held is not None else [rate]
        dtypes = [x.dtype for x in (params[0], grads[0], *values, *rates)]
        kind = (type(self), held, *options, *first, *dtypes)
        update: Any = _updates.get(kind, _NEW)
        if update is _NEW or update is _SEEN:
            # a rate that changes in each step is not worth staging
            once = held is not None and update is _NEW
            update = _SEEN if once else self._update(params[0], grads[0], first, rates, group)
            if len(_updates) >= _MOST:
                _updates.clear()
            _updates[kind] = update
        if update is None or update is _SEEN:
            return False
        counters = [name for name in first if name in self.counters]
        tensors = [[state[name] for state in states] for name in first if name not in counters]
        each = _numbers(update, [[state[name] for name in counters] for state in states], rates)
        if each is None:
            return False
        alone = all(x is each[0] for x in each)
        read = range(len(counters), len(each[0]))
        numbers = [each[0][k] if alone else [x[k] for x in each] for k in read]
        if not update.step([params, grads, *tensors], numbers):
            return False
        for state, new in zip(states, each, strict=True):
            state.update(zip(counters, new, strict=False))
        return True

    def _update(
        self,
        param: Tensor,
        grad: Tensor,
        state: State,
        rates: list[Tensor],
        group: dict[str, Any],
    ) -> Update | None:
        """The rule, staged for dtypes like these."""
        counters = [name for name in state if name in self.counters]
        names = [name for name in state if name not in counters]

        def formula(
            tensors: list[Tensor], numbers: list[Tensor]
        ) -> tuple[list[Tensor], list[Tensor]]:
            param, grad, *held = tensors
            old = dict(zip([*names, *counters], [*held, *numbers], strict=False))
            options = {**group, "lr": numbers[-1]} if rates else group
            change, new = self.rule(grad, old, param, options)
            after = {**old, **new}
            return [param + change, *[after[n] for n in names]], [after[n] for n in counters]

        tensors = [param, grad, *[state[name] for name in names]]
        numbers = [*[state[name] for name in counters], *rates]
        return staged_update(formula, tensors, numbers, [0, *range(2, len(tensors))])


def _numbers(
    update: Update, counts: list[list[Tensor]], rates: list[Tensor]
) -> list[Sequence[Tensor]] | None:
    """What each set's counts amount to, made once for those that are equal; None: other dtypes."""
    made: dict[Any, Any] = {}  # by the values of the counts
    same: dict[Any, Any] = {}  # by their identity
    each = []
    for some in counts:
        ids = tuple(map(id, some))
        if ids not in same:
            known = tuple([x.item() for x in some])
            if known not in made:
                made[known] = update.numbers([*some, *rates])
                if made[known] is None:
                    return None
            same[ids] = made[known]
        each.append(same[ids])
    return each


def uphill(grad: Tensor, options: Mapping[str, Any]) -> Tensor:
    """The gradient to descend: negated with maximize."""
    return -grad if options["maximize"] else grad


def penalized(grad: Tensor, param: Tensor, options: Mapping[str, Any]) -> Tensor:
    """The gradient to descend, with the L2 penalty's added."""
    grad, decay = uphill(grad, options), options["weight_decay"]
    return grad + cast(decay, param) * param if is_on(decay) else grad


def exact(count: Tensor) -> Tensor:
    """A step count in float64: powers of betas close to 1 need the digits."""
    return count.to(ft.float64)


def mixed(old: Tensor, new: Tensor, share: Any) -> Tensor:
    """old moved towards new by a share."""
    return old + cast(share, old) * (new - old)
