"""Optimizers in two forms: pure transformations of gradients, and the stateful class around
parameters.

A subclass of Optimizer gives its formula once, as `rule`: gradient, state and parameter of one
tensor in, change and new state out. From it come `pure()`, which works on pytrees inside grad, vmap
and compile, and step(). A subclass may also override _step_group with an in-place form of the same
formula over all parameters of a group: the place for one fused call. A test holds the two equal.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any, ClassVar, NamedTuple

import functorch_like as ft
from functorch_like import Tensor, staging, tree
from nn.hooks import RemovableHandle, add_hook, hooks_of
from nn.parameter import zero_grads
from nn.state_dict import as_tensor

__all__ = ["Optimizer", "Transformation", "apply_updates"]

State = dict[str, Any]


class Transformation(NamedTuple):
    """An optimizer as two pure functions over pytrees of tensors.

    init(params) -> state
    update(grads, state, params) -> (updates, state); apply_updates adds updates to params.
    """

    init: Callable[[Any], State]
    update: Callable[..., tuple[Any, State]]


def apply_updates(params: Any, updates: Any) -> Any:
    """params + updates, tensor by tensor.

    Example:
      >>> import functorch_like as ft
      >>> apply_updates({"w": ft.tensor(1.0)}, {"w": ft.tensor(-0.5)})
      {'w': tensor(0.5000)}
    """
    return tree.map(lambda param, change: param + change, params, updates)


def check_betas(cls: type, options: Mapping[str, Any], name: str = "betas") -> None:
    """Raise ValueError for a share outside 0..1 (1 excluded); tensors are not looked at."""
    for i, beta in enumerate(options[name]):
        if not isinstance(beta, Tensor) and not 0.0 <= beta < 1.0:
            raise ValueError(
                f"{cls.__name__}: expected {name}[{i}] within 0..1, below 1, got {beta}."
            )


def check_adam(cls: type, options: Mapping[str, Any]) -> None:
    """Raise ValueError for options out of range that Adam and its relatives share."""
    lowest = {name: 0 for name in ("lr", "eps", "weight_decay") if name in options}
    check_at_least(cls, options, **lowest)
    check_betas(cls, options)


def two_means(param: Tensor) -> State:
    """Adam's state: the number of steps, running means of the gradient and of its square."""
    return {
        "step": ft.zeros(()),
        "exp_avg": ft.zeros_like(param),
        "exp_avg_sq": ft.zeros_like(param),
    }


def given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The options among the local names at the start of an optimizer's __init__."""
    return {
        name: value
        for name, value in arguments.items()
        if name not in ("self", "params", "__class__")
    }


def is_on(value: Any) -> bool:
    """Whether an option has an effect; one that is a tensor (per vmap lane, say) always may."""
    return isinstance(value, Tensor) or bool(value)


def cast(value: Any, like: Tensor) -> Any:
    """A number as it is, a scalar tensor in the dtype of another: lanes must not promote it."""
    return value.to(like.dtype) if isinstance(value, Tensor) else value


class Optimizer:
    """Base class: parameter groups, state, and step().

    Args:
      params: parameters, (name, parameter) pairs, or dicts {"params": ..., option: value} with
        options of their own.
      defaults: the options of groups that do not give them.
    """

    #: names of the state tensors that are counters: one for all parameters in the pure form, never
    #: cast on load
    counters: ClassVar[tuple[str, ...]] = ("step",)
    _parted = 0  # how often counters stopped to be shared
    _hooks: dict[str, dict[int, Any]] | None = None  # of state dicts

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.state: defaultdict[Any, State] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._pre_hooks: dict[int, Any] = {}
        self._post_hooks: dict[int, Any] = {}
        if isinstance(params, Tensor):
            raise TypeError(
                f"{type(self).__name__}: expected an iterable of parameters or dicts, got one "
                "Tensor. Pass [tensor]."
            )
        groups = list(params)
        if not groups:
            raise ValueError(
                f"{type(self).__name__}: expected at least one parameter, got none. Pass "
                "model.parameters()."
            )
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    # ---- the formula ----

    @classmethod
    def check(cls, options: Mapping[str, Any]) -> None:
        """Raise ValueError for options out of range."""

    @classmethod
    def init_state(cls, param: Tensor, options: Mapping[str, Any]) -> State:
        """The state of one parameter before the first step."""
        raise NotImplementedError

    @classmethod
    def rule(
        cls, grad: Tensor, state: State, param: Tensor, options: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """(what to add to param, new state), without changing anything."""
        raise NotImplementedError

    @classmethod
    def state_shape(cls, name: str, param: Tensor) -> tuple[int, ...]:
        """The shape of a state tensor of one parameter; a saved one must have it."""
        return tuple(param.shape)

    @classmethod
    def pure(cls, **options: Any) -> Transformation:
        """This optimizer as a Transformation; options as the class's, numbers or tensors (one per
        vmap lane, say).

        Example:
          >>> import functorch_like as ft
          >>> from nn.optim import SGD, apply_updates
          >>> sgd = SGD.pure(lr=0.1)
          >>> params = {"w": ft.tensor(1.0)}
          >>> updates, state = sgd.update({"w": ft.tensor(2.0)}, sgd.init(params), params)
          >>> apply_updates(params, updates)
          {'w': tensor(0.8000)}
        """
        known = cls._defaults()
        unknown = [name for name in options if name not in known]
        if unknown:
            raise TypeError(
                f"{cls.__name__}.pure: expected options {', '.join(known)}, got "
                f"{', '.join(unknown)}."
            )
        chosen = {**known, **options}
        cls.check(chosen)

        def init(params: Any) -> State:
            leaves, treedef = tree.flatten(params)
            states = [cls.init_state(leaf.detach(), chosen) for leaf in leaves]
            names = dict.fromkeys(name for state in states for name in state)
            none = ft.zeros(0)  # in place of what the state of a parameter of this shape lacks
            return {
                name: states[0][name]
                if name in cls.counters
                else tree.unflatten(treedef, [s.get(name, none) for s in states])
                for name in names
            }

        def update(grads: Any, state: State, params: Any) -> tuple[Any, State]:
            leaves, treedef = tree.flatten(params)
            gradients = tree.leaves(grads)
            if len(gradients) != len(leaves):
                raise ValueError(
                    f"{cls.__name__}.update: expected a gradient for each of {len(leaves)} "
                    f"parameters, got {len(gradients)}."
                )
            parts = {
                name: [value] * len(leaves) if name in cls.counters else tree.leaves(value)
                for name, value in state.items()
            }
            changes, states = [], []
            for i, (leaf, gradient) in enumerate(zip(leaves, gradients, strict=True)):
                old = {name: values[i] for name, values in parts.items()}
                change, new = cls.rule(gradient, old, leaf, chosen)
                changes.append(change)
                states.append({**old, **new})
            new_state = {
                name: states[0][name]
                if name in cls.counters
                else tree.unflatten(treedef, [s[name] for s in states])
                for name in state
                if states
            }
            return tree.unflatten(treedef, changes), new_state

        return Transformation(init, update)

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        """The options of __init__ with their defaults; from its signature, without `inspect`."""
        function: Any = cls.__init__
        code, values = function.__code__, function.__defaults__ or ()
        names = code.co_varnames[: code.co_argcount]
        return {
            **dict(zip(names[len(names) - len(values) :], values, strict=True)),
            **(function.__kwdefaults__ or {}),
        }

    # ---- the class ----

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters, with options of their own: {"params": [...], "lr": 1e-3}."""
        name = type(self).__name__
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise TypeError(
                f"{name}: expected a dict with 'params', got {type(param_group).__name__}."
            )
        group = dict(param_group)
        params = [group["params"]] if isinstance(group["params"], Tensor) else group["params"]
        if isinstance(params, set):
            raise TypeError(
                f"{name}: expected parameters in a fixed order, got a set. Pass a list."
            )
        params = list(params)
        if params and all(isinstance(param, tuple) for param in params):
            group["param_names"] = [param_name for param_name, _ in params]
            params = [param for _, param in params]
        for param in params:
            if not isinstance(param, Tensor):
                raise TypeError(
                    f"{name}: expected Tensors as parameters, got {type(param).__name__}."
                )
            if not param.is_leaf:
                raise ValueError(
                    f"{name}: expected leaf tensors, got the result of an operation. Optimize its "
                    "inputs."
                )
        for option, default in self.defaults.items():
            group.setdefault(option, default)
        type(self).check(group)
        ids = [id(param) for param in params]
        taken = {id(param) for other in self.param_groups for param in other["params"]}
        if len(set(ids)) < len(ids) or taken & set(ids):
            raise ValueError(f"{name}: expected every parameter once, got one of them twice.")
        group["params"] = params
        staging.note_made(group)
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients, or fill them with zeros."""
        for group in self.param_groups:
            zero_grads(group["params"], set_to_none)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient; returns the closure's loss.

        Args:
          closure: computes the loss anew (zero_grad, forward, backward) before the step.
        """
        for hook in list(self._pre_hooks.values()):
            hook(self, (), {} if closure is None else {"closure": closure})
        loss = None
        if closure is not None:
            with ft.enable_grad():
                loss = closure()
        staging.depends_on(lambda: self._parted)
        with ft.autograd.untaped():
            for group in self.param_groups:
                params, grads, states, idle = [], [], [], []
                for param in group["params"]:
                    grad = param.grad
                    if grad is not None:
                        params.append(param)
                        grads.append(grad)
                        states.append(self.state[param])
                    elif param in self.state:
                        idle.append(self.state[param])
                if params:
                    self._start(params, states, group)
                    self._part(states, idle, group)
                    self._step_group(params, grads, states, group)
        for hook in list(self._post_hooks.values()):
            hook(self, (), {} if closure is None else {"closure": closure})
        return loss

    def _start(self, params: list[Tensor], states: list[State], group: dict[str, Any]) -> None:
        """Make the state of parameters at their first step; together, they share counters."""
        counters: dict[str, Any] = {}
        for param, state in zip(params, states, strict=True):
            if not state:
                with nullcontext() if staging.was_made(group) else staging.eagerly():
                    state.update(self.init_state(param.detach(), group))
                for name in self.counters:
                    if name in state:
                        state[name] = counters.setdefault(name, state[name])

    def _part(self, states: list[State], idle: list[State], group: dict[str, Any]) -> None:
        """Give states counters of their own where they share them with some that make no step."""
        resting = {id(state[name]) for state in idle for name in self.counters if name in state}
        own: dict[int, Tensor] = {}
        for state in states if resting else ():
            for name in self.counters:
                if name not in state or id(state[name]) not in resting:
                    continue
                counter = state[name]
                if id(counter) not in own:
                    with nullcontext() if staging.was_made(group) else staging.eagerly():
                        own[id(counter)] = ft.zeros((), dtype=counter.dtype, device=counter.device)
                    own[id(counter)].copy_(counter)
                state[name] = own[id(counter)]
        self._parted += bool(own)

    def _step_group(
        self, params: list[Tensor], grads: list[Tensor], states: list[State], group: dict[str, Any]
    ) -> None:
        """One step for parameters that share options; by the rule, unless a subclass is faster."""
        options = options_of(group)
        counters: dict[int, tuple[Tensor, Tensor]] = {}  # shared ones advance once, at the end
        for param, grad, state in zip(params, grads, states, strict=True):
            change, new = self.rule(grad, state, param, options)
            param.add_(change)
            for name, value in new.items():
                if name in self.counters and staging.current_stage() is not None:
                    counters[id(state[name])] = (state[name], value)
                else:
                    keep(state, name, value)
        for counter, value in counters.values():
            counter.copy_(value)

    def register_step_pre_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """hook(optimizer, args, kwargs) before every step."""
        handle = RemovableHandle(self._pre_hooks)
        self._pre_hooks[handle.id] = hook
        return handle

    def register_step_post_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """hook(optimizer, args, kwargs) after every step."""
        handle = RemovableHandle(self._post_hooks)
        self._post_hooks[handle.id] = hook
        return handle

    # ---- saving ----

    def register_state_dict_pre_hook(
        self, hook: Callable[..., None], prepend: bool = False
    ) -> RemovableHandle:
        """hook(optimizer) before every state_dict()."""
        return add_hook(self, "save_pre", hook, prepend)

    def register_state_dict_post_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """hook(optimizer, state_dict) after every state_dict(); may return another one."""
        return add_hook(self, "save_post", hook, prepend)

    def register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """hook(optimizer, state_dict) before load_state_dict(); may return another one."""
        return add_hook(self, "load_pre", hook, prepend)

    def register_load_state_dict_post_hook(
        self, hook: Callable[..., None], prepend: bool = False
    ) -> RemovableHandle:
        """hook(optimizer) after every load_state_dict()."""
        return add_hook(self, "load_post", hook, prepend)

    def _hooked(self, kind: str, *state: Any) -> Any:
        """The state that the hooks of a kind make of this one, where they take one."""
        for hook, _ in hooks_of(self, kind):
            changed = hook(self, *state)
            state = state if changed is None or not state else (changed,)
        return state[0] if state else None

    def state_dict(self) -> dict[str, Any]:
        """{"state": {number: state}, "param_groups": [options, parameter numbers]}, as torch's."""
        self._hooked("save_pre")
        number: dict[int, int] = {}
        counters: dict[int, Tensor] = {}  # copies, since steps advance them in place
        groups = []
        for group in self.param_groups:
            for param in group["params"]:
                number.setdefault(id(param), len(number))
            options = {name: value for name, value in group.items() if name != "params"}
            groups.append({**options, "params": [number[id(param)] for param in group["params"]]})
        state = {}
        for param, values in self.state.items():
            place = number.get(id(param))
            if place is None:
                continue
            state[place] = saved = values.copy()
            for name in self.counters:
                value = saved.get(name)
                if isinstance(value, Tensor):
                    copy = counters.get(id(value))
                    if copy is None:
                        copy = counters[id(value)] = value.clone()
                    saved[name] = copy
        return self._hooked("save_post", {"state": state, "param_groups": groups})

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over options and state from state_dict(); ours or torch's.

        Raises:
          ValueError: other numbers of groups or parameters, or state of another shape; nothing is
            changed.
        """
        name = type(self).__name__
        state_dict = self._hooked("load_pre", state_dict)
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= set(state_dict):
            raise ValueError(
                f"{name}.load_state_dict: expected a dict with 'state' and 'param_groups'."
            )
        saved = state_dict["param_groups"]
        sizes, own = (
            [len(g["params"]) for g in saved],
            [len(g["params"]) for g in self.param_groups],
        )
        if sizes != own:
            raise ValueError(
                f"{name}.load_state_dict: expected groups of {own} parameters, got {sizes}. "
                "Build the optimizer with the same groups first."
            )
        params = dict(
            zip(
                [key for group in saved for key in group["params"]],
                [param for group in self.param_groups for param in group["params"]],
                strict=True,
            )
        )
        state: defaultdict[Any, State] = defaultdict(dict)
        counters: dict[int, Tensor] = {}  # those that were shared are so again
        for key, values in state_dict["state"].items():
            if key in params:
                param = params[key]
                new = state[param] = {}
                for what, value in values.items():
                    counter = isinstance(value, Tensor) and what in self.counters
                    adopted = counters.get(id(value)) if counter else None
                    if adopted is None:
                        adopted = self._adopt(key, what, value, param)
                    if counter:
                        counters[id(value)] = adopted
                    new[what] = adopted
        groups = []
        for group, old in zip(saved, self.param_groups, strict=True):
            options = {
                what: value
                for what, value in group.items()
                if what not in ("params", "param_names")
            }
            type(self).check({**old, **options})
            groups.append({**old, **options})
        self.state = state
        self.param_groups = groups
        self._hooked("load_post")

    def _adopt(self, key: Any, what: str, value: Any, param: Tensor) -> Any:
        """A saved state value, copied, on the parameter's device and in its dtype."""
        if what in self.counters:
            return ft.tensor(float(value), dtype=ft.float32)
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        tensor = as_tensor(value)
        expected = self.state_shape(what, param)
        if tensor.ndim and tensor.shape != expected:
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: expected {what} of parameter {key} to be "
                f"{list(expected)}, "
                f"got {list(tensor.shape)}. The checkpoint belongs to another model."
            )
        return tensor.detach().to(param.device, param.dtype, copy=True)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join([*lines, ")"])


def check_at_least(cls: type, options: Mapping[str, Any], **lowest: float) -> None:
    """Raise ValueError for an option below its lowest value; tensors are not looked at."""
    for name, low in lowest.items():
        value = options[name]
        if not isinstance(value, Tensor) and not value >= low:
            raise ValueError(f"{cls.__name__}: expected {name} >= {low:g}, got {value}.")


def options_of(group: dict[str, Any]) -> dict[str, Any]:
    """A group's options; in a compiled step the learning rate is read at each run, and other
    options that change stage it again."""
    if staging.current_stage() is None or staging.was_made(group):
        return group
    staging.depends_on(
        lambda: [v for k, v in group.items() if k not in ("params", "lr") and v is not None]
    )
    return {**group, "lr": staging.at_each_run(lambda: group["lr"])}


def keep(state: State, name: str, value: Any) -> None:
    """state[name] = value; in a compiled step written into the memory that is there."""
    if staging.current_stage() is None or not isinstance(value, Tensor):
        state[name] = value
        return
    staging.depends_on(lambda: name in state)
    if name not in state:
        with staging.eagerly():
            state[name] = ft.zeros(value.shape, dtype=value.dtype, device=value.device)
    state[name].copy_(value)


def advance(states: Iterable[State]) -> None:
    """Add one to the step counter of every state; a shared counter counts once."""
    seen: set[int] = set()
    for state in states:
        step = state["step"]
        if id(step) not in seen:
            seen.add(id(step))
            step.add_(1)
