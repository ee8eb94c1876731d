"""L-BFGS: a quasi-Newton method from the last steps and changes of the gradient.

The class evaluates its closure several times in each step, searches along the direction where asked
to, and stops early. pure() is one iteration with a fixed step: no decision hangs on values, so that
it runs inside vmap and grad.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import functorch_like as ft
from functorch_like import Tensor, tree
from nn.optim.base import Optimizer, State, Transformation, cast, check_at_least
from nn.optim.line_search import strong_wolfe

__all__ = ["LBFGS"]


class LBFGS(Optimizer):
    """Steps along an estimate of the inverse Hessian times the gradient.

    Args:
      params: parameters, one group of them.
      lr: length of a step, in units of the direction; where a line search starts.
      max_iter: most iterations in one step().
      max_eval: most evaluations of the closure in one step(); max_iter * 5 // 4 by default.
      tolerance_grad: stop at gradients of this size.
      tolerance_change: stop at changes of parameters or loss of this size.
      history_size: pairs of steps and changes that are kept.
      line_search_fn: "strong_wolfe", or None for steps of lr.
    Raises:
      ValueError: a negative option, another line search, several groups.
    Reference: Nocedal & Wright 2006, algorithms 7.4, 3.5 and 3.6.
    Example:
      >>> import functorch_like as ft
      >>> from nn.optim import LBFGS
      >>> w = ft.tensor([3.0, -2.0], requires_grad=True)
      >>> optimizer = LBFGS([w], line_search_fn="strong_wolfe")
      >>> def closure():
      ...     optimizer.zero_grad()
      ...     loss = ((w - ft.tensor([1.0, 5.0])) ** 2).sum()
      ...     loss.backward()
      ...     return loss
      >>> optimizer.step(closure).item()
      53.0
      >>> w.detach()
      tensor([1.0000, 5.0000])
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        defaults = dict(
            lr=lr,
            max_iter=max_iter,
            max_eval=max_iter * 5 // 4 if max_eval is None else max_eval,
            tolerance_grad=tolerance_grad,
            tolerance_change=tolerance_change,
            history_size=history_size,
            line_search_fn=line_search_fn,
        )
        super().__init__(params, defaults)

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> None:
        """Raise ValueError for options out of range."""
        check_at_least(cls, options, lr=0, max_iter=1, history_size=1)
        if options["line_search_fn"] not in (None, "strong_wolfe"):
            raise ValueError(
                "LBFGS: expected line_search_fn 'strong_wolfe' or None, got "
                f"{options['line_search_fn']!r}."
            )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """The one group; a second is refused."""
        if self.param_groups:
            raise ValueError("LBFGS: expected one group of parameters, got several.")
        super().add_param_group(param_group)

    # ---- the pure form ----

    @classmethod
    def pure(cls, **options: Any) -> Transformation:
        """One iteration of steps of lr as a Transformation; looks at lr and history_size only.

        Raises:
          TypeError: an option that is neither.
        """
        unknown = [name for name in options if name not in ("lr", "history_size")]
        if unknown:
            raise TypeError(
                f"LBFGS.pure: expected options lr, history_size, got {', '.join(unknown)}. Line "
                "search and tolerances need the class."
            )
        chosen = {**cls._defaults(), **options}
        cls.check(chosen)
        lr, size = chosen["lr"], chosen["history_size"]

        def init(params: Any) -> State:
            flat = _flat(tree.leaves(params))
            none = ft.zeros((size, flat.numel()), dtype=flat.dtype, device=flat.device)
            return {
                "n_iter": ft.zeros(()),
                "step": ft.zeros_like(flat),
                "prev_flat_grad": ft.zeros_like(flat),
                "old_dirs": none,
                "old_stps": none,
                "ro": none[:, 0],
                "H_diag": ft.ones((), dtype=flat.dtype, device=flat.device),
            }

        def update(grads: Any, state: State, params: Any) -> tuple[Any, State]:
            leaves, treedef = tree.flatten(params)
            grad = _flat(tree.leaves(grads))
            first = state["n_iter"] == 0
            y, s = grad - state["prev_flat_grad"], state["step"]
            curvature = (y * s).sum()
            useful = ft.logical_and(curvature > 1e-10, ft.logical_not(first))
            safe = ft.where(useful, curvature, ft.ones_like(curvature))
            norm = ft.where(useful, (y * y).sum(), ft.ones_like(curvature))
            new = {"old_dirs": y, "old_stps": s, "ro": 1.0 / safe}
            new = {
                name: ft.where(useful, ft.cat([state[name][1:], value.unsqueeze(0)]), state[name])
                for name, value in new.items()
            }
            scale = ft.where(useful, safe / norm, state["H_diag"])
            direction = _direction(
                grad,
                [new["old_dirs"][i] for i in range(size)],
                [new["old_stps"][i] for i in range(size)],
                [new["ro"][i] for i in range(size)],  # zero, without effect, where there is none
                scale,
            )
            total = grad.abs().sum()
            start = 1.0 / ft.where(total > 1.0, total, ft.ones_like(total))
            step = direction * ft.where(first, start, ft.ones_like(start)) * cast(lr, grad)
            new_state = {
                "n_iter": state["n_iter"] + 1,
                "step": step,
                "prev_flat_grad": grad,
                **new,
                "H_diag": scale,
            }
            return tree.unflatten(treedef, _split(step, leaves)), new_state

        return Transformation(init, update)

    # ---- the class ----

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to max_iter iterations; returns the loss before them.

        Args:
          closure: computes the loss anew (zero_grad, forward, backward); needed.
        """
        if closure is None:
            raise TypeError("LBFGS.step: expected a closure that computes the loss, got none.")
        for hook in list(self._pre_hooks.values()):
            hook(self, (closure,), {})
        with ft.autograd.untaped():
            loss = self._iterate(closure)
        for hook in list(self._post_hooks.values()):
            hook(self, (closure,), {})
        return loss

    def _iterate(self, closure: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        params: list[Tensor] = group["params"]
        lr = float(group["lr"])
        state = self.state[params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        def evaluate() -> tuple[Any, Tensor]:
            with ft.enable_grad():
                value = closure()
            state["func_evals"] += 1
            zeros = (ft.zeros_like(param) for param in params)
            pairs = zip(params, zeros, strict=True)
            return value, _flat([z if p.grad is None else p.grad for p, z in pairs])

        def move(length: float, direction: Tensor) -> None:
            for param, part in zip(params, _split(direction, params), strict=True):
                param.add_(part, alpha=length)

        def along(direction: Tensor) -> Callable[[float], tuple[float, Tensor]]:
            before = [param.clone() for param in params]

            def at(length: float) -> tuple[float, Tensor]:
                move(length, direction)
                value, flat = evaluate()
                for param, old in zip(params, before, strict=True):
                    param.copy_(old)
                return float(value), flat

            return at

        first_loss, grad = evaluate()
        start = state["func_evals"] - 1
        loss = float(first_loss)
        if float(grad.abs().max()) <= group["tolerance_grad"]:
            return first_loss
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            d = self._remember(state, grad, group["history_size"])
            state["prev_flat_grad"], state["prev_loss"] = grad.clone(), loss
            t = min(1.0, 1.0 / float(grad.abs().sum())) * lr if state["n_iter"] == 1 else lr
            state["d"], state["t"] = d, t
            slope = float((grad * d).sum())
            if slope > -group["tolerance_change"]:
                break
            last = iteration == group["max_iter"]
            if group["line_search_fn"] is not None:
                most = group["max_eval"] - (state["func_evals"] - start)
                loss, grad, t = strong_wolfe(along(d), t, d, loss, grad, slope, most)
                state["t"] = t
                move(t, d)
            else:
                move(t, d)
                if not last:  # the loss after the last step is not needed
                    value, grad = evaluate()
                    loss = float(value)
            if (
                last
                or state["func_evals"] - start >= group["max_eval"]
                or float(grad.abs().max()) <= group["tolerance_grad"]
                or float((d * t).abs().max()) <= group["tolerance_change"]
                or abs(loss - state["prev_loss"]) < group["tolerance_change"]
            ):
                break
        return first_loss

    @staticmethod
    def _remember(state: State, grad: Tensor, size: int) -> Tensor:
        """Take in the last step and the change of the gradient over it; the next direction."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return -grad
        y, s = grad - state["prev_flat_grad"], state["d"] * state["t"]
        curvature = float((y * s).sum())
        if curvature > 1e-10:
            for name, value in (("old_dirs", y), ("old_stps", s), ("ro", 1.0 / curvature)):
                state[name] = [*state[name], value][-size:]
            state["H_diag"] = curvature / float((y * y).sum())
        return _direction(grad, state["old_dirs"], state["old_stps"], state["ro"], state["H_diag"])

    def _adopt(self, key: Any, what: str, value: Any, param: Tensor) -> Any:
        """A saved state value: numbers, vectors over all parameters, and lists of them."""
        from nn.state_dict import as_tensor

        if isinstance(value, (list, tuple)):
            return [self._adopt(key, what, item, param) for item in value]
        if value is None or isinstance(value, (int, float)):
            return value
        tensor = as_tensor(value)
        if tensor.ndim == 0:
            return tensor.item()
        expected = sum(_real(p).numel() for p in self.param_groups[0]["params"])
        if tuple(tensor.shape) != (expected,):
            raise ValueError(
                f"LBFGS.load_state_dict: expected {what} of {expected} elements, got "
                f"{list(tensor.shape)}. The checkpoint belongs to another model."
            )
        return tensor.detach().to(param.device, _real(param).dtype).clone()


def _direction(
    grad: Tensor, changes: list[Tensor], steps: list[Tensor], inverses: list[Any], scale: Any
) -> Tensor:
    """Minus the estimated inverse Hessian times the gradient, by the two loops."""
    q = -grad
    shares = []
    for y, s, inverse in reversed(list(zip(changes, steps, inverses, strict=True))):
        share = (s * q).sum() * inverse
        shares.append(share)
        q = q - share * y
    r = q * scale
    for y, s, inverse, share in zip(changes, steps, inverses, reversed(shares), strict=True):
        r = r + (share - (y * r).sum() * inverse) * s
    return r


def _real(x: Tensor) -> Tensor:
    return ft.view_as_real(x) if x.is_complex() else x


def _flat(tensors: list[Tensor]) -> Tensor:
    return ft.cat([_real(x).reshape(-1) for x in tensors])


def _split(vector: Tensor, like: list[Tensor]) -> list[Tensor]:
    parts, start = [], 0
    for x in like:
        real = _real(x)
        part = vector[start : start + real.numel()].reshape(tuple(real.shape))
        parts.append(ft.view_as_complex(part) if x.is_complex() else part)
        start += real.numel()
    return parts
