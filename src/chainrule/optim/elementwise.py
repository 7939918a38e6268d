"""Optimisers whose rule concerns each number alone: how it runs over parameters of any size."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import numpy as np

from chainrule.engine.dispatch import current_backend
from chainrule.engine.op import Array
from chainrule.engine.workers import run_all
from chainrule.errors import failure
from chainrule.optim.optimizer import Entry, Group, Optimizer
from chainrule.optim.rules import Rule, States

_BLOCK = 1 << 18
"""Bytes of an array that are handled at a time: measured; five arrays stay in the cache."""

_LARGE, _SHARE = 1 << 17, 1 << 20
"""Numbers from which a parameter is a task for several threads, and the most in one task."""

_Arrays = tuple[Array, Array, States]
"""A parameter, its gradient and its state."""


class Elementwise(Optimizer):
    """Base of the optimisers that change each number by its own gradient and its own state.

    A subclass says in `begin` which arrays of state a parameter has, and in `rule` what a step
    makes of them.  The backend may have a kernel for the rule; else NumPy computes block by
    block, so that the arrays pass through memory once, and large parameters are shared among
    threads.  What a number becomes does not depend on either.
    """

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self._scratch: dict[Any, list[Array]] = {}
        self.check_options(defaults)
        super().__init__(params, defaults)

    def begin(self, value: Array, state: dict[str, Any], group: Group) -> tuple[Hashable, States]:
        """Count a parameter's step and give its arrays of state, made anew where it has none.

        Parameters of a group for which the first result is alike share a rule.
        """
        raise NotImplementedError(f"{self._name}.begin")

    def rule(self, group: Group, key: Any) -> Rule:
        """Give the rule of a group's parameters for which `begin` gave `key`."""
        raise NotImplementedError(f"{self._name}.rule")

    def update(self, value: Array, gradient: Array, state: dict[str, Any], group: Group) -> None:
        """Change one parameter in place; allocates nothing but its first state."""
        self.update_group([(value, gradient, state)], group)

    def update_group(self, entries: list[Entry], group: Group) -> None:
        """Change parameters in place, by the backend's kernel or block by block."""
        rules: dict[Hashable, Rule] = {}
        backend = current_backend()
        tasks: list[Callable[[], None]] = []
        for value, gradient, state in entries:
            key, states = self.begin(value, state, group)
            rule = rules.get(key)
            if rule is None:
                rule = rules[key] = self.rule(group, key)
            w, g, states = _flat(value, gradient, states)
            if w.ndim != 1:
                rule.descend(w, g, states, [np.empty_like(w) for _ in range(rule.buffers)])
            elif backend.update(rule, w, g, states):
                pass
            elif w.size < _LARGE:
                _walk(rule, (w, g, states), self._buffers(rule, w.dtype))
            else:
                pieces = [slice(i, i + _SHARE) for i in range(0, w.size, _SHARE)]
                tasks += [partial(_task, rule, _part(w, g, states, piece)) for piece in pieces]
        run_all(tasks)

    def _buffers(self, rule: Rule, dtype: Any) -> list[Array]:
        """Give buffers that are kept from step to step, for small parameters."""
        found = self._scratch.get(dtype)
        if found is None:
            found = self._scratch[dtype] = _buffers(rule, dtype)
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_scratch": {}}


def counted(state: dict[str, Any]) -> int:
    """Add a step to a state's count, which may come from elsewhere as a float or a 0-d array.

    >>> from chainrule.optim.elementwise import counted
    >>> state = {}
    >>> counted(state), counted(state), state
    (1, 2, {'step': 2})
    """
    step: int = int(state.get("step", 0)) + 1
    state["step"] = step
    return step


def kept(state: dict[str, Any], name: str, value: Array, fill: float = 0.0) -> Array:
    """Give an array of a parameter's state; new, shaped and laid out as it, if there is none."""
    found: Array | None = state.get(name)
    if found is None:
        found = np.zeros_like(value) if fill == 0 else np.full_like(value, fill)
        state[name] = found
    return found


def switches(name: str, **given: bool | None) -> dict[str, bool | None]:
    """Take PyTorch's options on how to compute, none of which changes a result here.

    Raises NotImplementedError for those that would need what is not here, and ValueError for
    `fused` with `foreach`.

    >>> from chainrule.optim.elementwise import switches
    >>> switches("Adam", foreach=True, differentiable=False)
    {'foreach': True, 'differentiable': False}
    """
    if given.get("differentiable"):
        raise NotImplementedError(f"{name}: differentiable=True; gradients are first order here")
    if given.get("capturable"):
        raise NotImplementedError(f"{name}: capturable=True is for graphs of a GPU; leave it out")
    if given.get("fused") and given.get("foreach"):
        rule = "at most one of fused and foreach (neither changes anything here)"
        raise failure(name, rule, fused=True, foreach=True)
    return given


def _flat(w: Array, g: Array, states: States) -> _Arrays:
    """View a parameter, its gradient and its state as vectors in one order of memory.

    A gradient that lies otherwise is copied into it.  A parameter or a state with gaps, or in
    an order of its own, makes all come back as they are.
    """
    if w.flags.c_contiguous and all(s is None or s.flags.c_contiguous for s in states):
        return w.ravel(), g.ravel(), tuple([None if s is None else s.ravel() for s in states])
    if w.flags.f_contiguous and all(s is None or s.flags.f_contiguous for s in states):
        flat = tuple([None if s is None else s.T.ravel() for s in states])
        return w.T.ravel(), g.T.ravel(), flat
    return w, g, states


def _part(w: Array, g: Array, states: States, piece: slice) -> _Arrays:
    return w[piece], g[piece], tuple([None if s is None else s[piece] for s in states])


def _task(rule: Rule, arrays: _Arrays) -> None:
    """Change a part of a large parameter, on whatever thread."""
    _walk(rule, arrays, _buffers(rule, arrays[0].dtype))


def _buffers(rule: Rule, dtype: Any) -> list[Array]:
    """Give the buffers of a block."""
    return [np.empty(_BLOCK // dtype.itemsize, dtype) for _ in range(rule.buffers)]


def _walk(rule: Rule, arrays: _Arrays, buffers: list[Array]) -> None:
    """Change flat arrays block by block."""
    (w, g, states), block = arrays, buffers[0].size
    if w.size <= block:
        rule.descend(w, g, states, [b[: w.size] for b in buffers])
        return
    for start in range(0, w.size, block):
        piece = slice(start, start + block)
        part = w[piece]
        rule.descend(*_part(w, g, states, piece), [b[: part.size] for b in buffers])
