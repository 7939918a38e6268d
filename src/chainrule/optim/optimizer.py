"""The base of every optimiser: groups of parameters with their options, state by name."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.state import enable_grad, no_grad
from chainrule.engine.tensor import Tensor
from chainrule.engine.written import mark
from chainrule.errors import CheckpointError, KindError, ShapeError, failure

Group = dict[str, Any]
Entry = tuple[Array, Array, dict[str, Any]]
"""A parameter's array, its gradient's array and its own state."""


class Optimizer:
    """Holds parameters in groups that each have their own options.

    `params` is an iterable of tensors, of (name, tensor) pairs as `named_parameters()` gives
    them, or of dictionaries: {"params": ..., and options that differ from the defaults}.

    `param_groups` is a list of dictionaries with "params", "param_names" and the options, which
    may be changed between steps.  `state` keeps each parameter's own arrays under its name;
    parameters given without names are called "0", "1", ... in order.  Subclasses implement
    `update`.

    Raises TypeError for what is not an iterable of tensors, ValueError for none at all, for a
    tensor made by an operation, and for a parameter in two groups.
    """

    counters: ClassVar[frozenset[str]] = frozenset()
    """Which names of a parameter's state are plain numbers and no arrays."""

    def __init__(self, params: Any, defaults: Mapping[str, Any]) -> None:
        self.defaults = dict(defaults)
        self.state: dict[str, dict[str, Any]] = {}
        self.param_groups: list[Group] = []
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            rule = "an iterable of tensors, of (name, tensor) pairs or of dictionaries"
            raise failure(self._name, rule, error=KindError, params=params)
        given = list(params)
        if not given:
            hint = "was model.parameters() an iterator that had been used up?"
            raise failure(self._name, "at least one parameter", hint=hint, params=[])
        groups = given if isinstance(given[0], Mapping) else [{"params": given}]
        for group in groups:
            self.add_param_group(group)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add parameters with options of their own; what is not given is taken from the defaults.

        Raises as the constructor does.

        >>> import chainrule as cr
        >>> a, b = (cr.tensor([0.0], requires_grad=True) for _ in range(2))
        >>> optimizer = cr.optim.SGD([a], lr=0.1)
        >>> optimizer.add_param_group({"params": b, "lr": 0.01})
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.1, 0.01]
        """
        if not isinstance(param_group, Mapping) or "params" not in param_group:
            rule = 'a dictionary with "params"'
            raise failure(self._name, rule, error=KindError, param_group=param_group)
        group = {**self.defaults, **param_group}
        names, tensors = self._named(group["params"])
        group["params"], group["param_names"] = tensors, names
        self.check_options(group)
        self.param_groups.append(group)

    def _named(self, params: Any) -> tuple[list[str], list[Tensor]]:
        """Split a group into names and tensors, checked one by one."""
        if isinstance(params, set | frozenset):
            rule = "parameters in an order that repeats, not a set"
            raise failure(self._name, rule, error=KindError, params=params)
        items: list[Any] = [params] if isinstance(params, Tensor) else list(params)
        named = [isinstance(item, tuple) and len(item) == 2 for item in items]
        if any(named) and not all(named):
            raise failure(self._name, "names for all parameters or for none")
        seen = {id(t): n for g in self.param_groups for n, t in _members(g)}
        used = set(seen.values())
        names: list[str] = []
        tensors: list[Tensor] = []
        for item, pair in zip(items, named, strict=True):
            name = str(item[0]) if pair else str(len(seen) + len(tensors))
            tensor: Any = item[1] if pair else item
            self._check_parameter(name, tensor, seen)
            if any(tensor is other for other in tensors):
                text = f"{self._name}: parameter {name} is in one group twice, and is updated once"
                warnings.warn(text, stacklevel=4)
                continue
            if name in used or name in names:
                rule = f"a name of its own for each parameter, not {name!r} twice"
                raise failure(self._name, rule)
            names.append(name)
            tensors.append(tensor)
        return names, tensors

    def _check_parameter(self, name: str, tensor: Any, seen: Mapping[int, str]) -> None:
        if not isinstance(tensor, Tensor):
            raise failure(self._name, "tensors to optimise", error=KindError, parameter=tensor)
        if not tensor.is_leaf:
            hint = "optimise what it was computed from"
            rule = f"leaves of the graph; parameter {name} was made by {tensor.grad_fn}"
            raise failure(self._name, rule, hint=hint, parameter=tensor)
        if id(tensor) in seen:
            rule = f"each parameter in one group; {name} is already there as {seen[id(tensor)]!r}"
            raise failure(self._name, rule)

    def check_options(self, group: Group) -> None:
        """Check the options of a new group; subclasses say what they allow."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or with `set_to_none=False` fill them with 0.

        >>> import chainrule as cr
        >>> w = cr.tensor([1.0], requires_grad=True)
        >>> (w * w).sum().backward()
        >>> cr.optim.SGD([w], lr=0.1).zero_grad()
        >>> w.grad is None
        True
        """
        for group in self.param_groups:
            for tensor in group["params"]:
                if set_to_none:
                    tensor.grad = None
                elif tensor.grad is not None:  # a new array: the old one may be shared
                    tensor.grad = Tensor(np.zeros_like(tensor.grad.array))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient; returns what `closure` returns, if given.

        `closure` computes the loss anew, with gradients, before the change.

        >>> import chainrule as cr
        >>> w = cr.tensor([1.0], requires_grad=True)
        >>> optimizer = cr.optim.SGD([w], lr=0.25)
        >>> (w * w).sum().backward(); optimizer.step(); w
        tensor([0.5], requires_grad=True)
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        written: list[Array] = []
        with no_grad(), np.errstate(all="ignore"):
            try:
                for group in self.param_groups:
                    entries: list[Entry] = []
                    for name, tensor in _members(group):
                        gradient = tensor.grad
                        if gradient is not None:
                            state = self.state.setdefault(name, {})
                            entries.append((tensor.array, gradient.array, state))
                    written += [value for value, _, _ in entries]
                    self.update_group(entries, group)
            finally:
                if written:
                    mark(*written)
        return loss

    def update_group(self, entries: list[Entry], group: Group) -> None:
        """Change the parameters of one group that have gradients, one by one by `update`."""
        for value, gradient, state in entries:
            self.update(value, gradient, state, group)

    def update(self, value: Array, gradient: Array, state: dict[str, Any], group: Group) -> None:
        """Change one parameter's array in place; `state` is its own and kept between steps."""
        raise NotImplementedError(f"{self._name}.update")

    def state_dict(self) -> dict[str, Any]:
        """Give the state by parameter name, and the groups with names in place of tensors.

        The arrays are shared, not copied.

        >>> import chainrule as cr
        >>> w = cr.tensor([1.0], requires_grad=True)
        >>> cr.optim.SGD([("w", w)], lr=0.1).state_dict()["param_groups"][0]["params"]
        ['w']
        """
        groups = []
        for group in self.param_groups:
            options = {k: v for k, v in group.items() if k not in ("params", "param_names")}
            groups.append({**options, "params": list(group["param_names"])})
        return {"state": {n: dict(s) for n, s in self.state.items()}, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` gave: options of the groups and all arrays.

        Arrays are copied, in the dtype of their parameter.  A state of PyTorch's, which numbers
        the parameters, is taken in their order.  Raises CheckpointError (a ValueError) if
        groups, names or shapes are not those of this optimiser; nothing is changed then.

        >>> import chainrule as cr
        >>> w = cr.tensor([1.0], requires_grad=True)
        >>> a, b = cr.optim.SGD([w], lr=0.1), cr.optim.SGD([w], lr=0.5)
        >>> a.load_state_dict(b.state_dict()); a.param_groups[0]["lr"]
        0.5
        """
        groups, entries = self._by_name(state_dict)
        ours = [group["param_names"] for group in self.param_groups]
        theirs = [list(group["params"]) for group in groups]
        if ours != theirs:
            raise CheckpointError(f"{self._name}: {_difference(ours, theirs)}")
        tensors = dict(pair for group in self.param_groups for pair in _members(group))
        foreign = [name for name in entries if name not in tensors]
        if foreign:
            raise CheckpointError(
                f"{self._name}: state of {foreign[0]!r}, which is not a parameter here"
            )
        state = {
            name: {key: self._adopt(name, key, v, tensors) for key, v in entry.items()}
            for name, entry in entries.items()
        }
        self.state = state
        for group, loaded in zip(self.param_groups, groups, strict=True):
            group.update({k: copy.deepcopy(v) for k, v in loaded.items() if k != "params"})

    def _by_name(
        self, state_dict: Mapping[str, Any]
    ) -> tuple[list[Mapping[str, Any]], Mapping[str, Any]]:
        """Give the groups and the state of parameters, whose numbers become names."""
        groups, state = list(state_dict["param_groups"]), state_dict["state"]
        numbers = [number for group in groups for number in group["params"]]
        if not all(isinstance(number, int) for number in numbers):
            return groups, state
        ours = [name for group in self.param_groups for name in group["param_names"]]
        names: dict[Any, str] = {number: str(number) for number in numbers}
        names.update(zip(numbers, ours, strict=False))
        named: list[Mapping[str, Any]] = []
        for group in groups:
            told = {key: value for key, value in group.items() if key != "param_names"}
            named.append({**told, "params": [names[number] for number in group["params"]]})
        return named, {names.get(number, str(number)): entry for number, entry in state.items()}

    def _adopt(self, name: str, key: str, value: Any, tensors: Mapping[str, Tensor]) -> Any:
        array = value.array if isinstance(value, Tensor) else value
        if not isinstance(array, np.ndarray):
            return copy.deepcopy(value)
        if key in self.counters and array.size == 1:
            return array.item()
        parameter = tensors[name].array
        if array.ndim and array.shape != parameter.shape:
            raise CheckpointError(
                f"{self._name}: {key} of {name!r} has shape {array.shape}, "
                f"the parameter {parameter.shape}"
            )
        same = array.shape == parameter.shape
        own = np.empty_like(parameter) if same else np.empty((), array.dtype)
        own[...] = array
        return own

    def __repr__(self) -> str:
        lines = [f"{self._name} ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            options = {k: v for k, v in group.items() if k not in ("params", "param_names")}
            lines.extend(f"    {key}: {options[key]}" for key in sorted(options))
        return "\n".join([*lines, ")"])


def _members(group: Group) -> list[tuple[str, Tensor]]:
    return list(zip(group["param_names"], group["params"], strict=True))


def _difference(ours: list[list[str]], theirs: list[list[str]]) -> str:
    """Say how two lists of groups of names differ."""
    if len(ours) != len(theirs):
        return f"the state has {len(theirs)} parameter groups, this optimiser {len(ours)}"
    have = {name for names in ours for name in names}
    want = {name for names in theirs for name in names}
    if have == want:
        return "the state has the same parameters in other groups or in another order"
    missing = ", ".join(sorted(have - want)) or "none"
    unexpected = ", ".join(sorted(want - have)) or "none"
    return f"the state is of other parameters: missing {missing}; unexpected {unexpected}"


def check_range(name: str, **bounds: tuple[Any, float, float]) -> None:
    """Raise ShapeError (a ValueError) unless each option lies in its [low, high]."""
    for option, (value, low, high) in bounds.items():
        if not low <= _number(name, option, value) <= high:
            above = f" and at most {high:g}" if high != float("inf") else ""
            rule = f"{option} of at least {low:g}{above}"
            raise failure(name, rule, error=ShapeError, **{option: value})


def check_positive(name: str, group: Group, *options: str) -> None:
    """Raise ShapeError (a ValueError) unless each option is a number of at least 0."""
    check_range(name, **{option: (group[option], 0.0, float("inf")) for option in options})


def check_betas(name: str, betas: Any) -> None:
    """Raise unless these are two numbers of at least 0 and below 1."""
    for value in check_pair(name, "betas", betas):
        if not 0.0 <= value < 1.0:
            raise failure(name, "betas of at least 0 and below 1", betas=betas)


def check_pair(name: str, option: str, pair: Any) -> tuple[float, float]:
    """Give an option's two numbers; KindError (a TypeError) for what is no pair of them."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        facts: dict[str, Any] = {option: pair}
        raise failure(name, f"{option} as two numbers", error=KindError, **facts)
    first, second = (_number(name, option, value) for value in pair)
    return first, second


def _number(name: str, option: str, value: Any) -> float:
    """Read a number, or a tensor that holds one."""
    facts: dict[str, Any] = {option: value}
    if isinstance(value, Tensor) and value.array.size != 1:
        raise failure(name, f"{option} as one number", **facts)
    try:
        return float(value.item() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError) as error:
        raise failure(name, f"a number as {option}", error=KindError, **facts) from error
