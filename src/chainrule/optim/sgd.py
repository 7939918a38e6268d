"""Stochastic gradient descent, with momentum, Nesterov's look ahead and weight decay."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from chainrule.engine.dispatch import current_backend
from chainrule.engine.op import Array
from chainrule.engine.workers import run_all
from chainrule.errors import KindError, failure
from chainrule.optim.optimizer import Entry, Group, Optimizer, check_range

_BLOCK = 1 << 18
"""Bytes of an array that are handled at a time: measured; five arrays stay in the cache."""

_LARGE, _SHARE = 1 << 17, 1 << 20
"""Numbers from which a parameter is a task for several threads, and the most in one task."""


class SGD(Optimizer):
    """w -= lr * d, where d is the gradient g with decay and momentum.

    d = g (or -g if `maximize`) + weight_decay * w; with momentum, v = momentum * v +
    (1 - dampening) * d (v = d at the first step), and then d = v, or with `nesterov`
    d = d + momentum * v.

    Sources: Polyak (1964); Nesterov (1983) in the form of Sutskever et al. (2013); the
    definition, arguments and defaults are those of `torch.optim.SGD`.  `foreach` and `fused` are
    accepted for programs that set them, and change nothing; `differentiable=True` raises
    NotImplementedError, since gradients are first order.

    Raises ValueError for a negative rate, momentum or decay, and for Nesterov without momentum
    or with dampening; otherwise as `Optimizer`.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0], requires_grad=True)
    >>> optimizer = SGD([w], lr=0.1, momentum=0.9)
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     (w * w).sum().backward()
    ...     optimizer.step()
    >>> w
    tensor([0.46], requires_grad=True)
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        if differentiable:
            raise NotImplementedError("SGD: differentiable=True; gradients are first order here")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": False,
            "fused": fused,
        }
        self._scratch: dict[Any, tuple[Array, Array]] = {}
        self.check_options(defaults)
        super().__init__(params, defaults)

    def check_options(self, group: Group) -> None:
        """Check one group's numbers; see the class."""
        check_range(
            "SGD",
            lr=(group["lr"], 0.0, math.inf),
            momentum=(group["momentum"], 0.0, math.inf),
            weight_decay=(group["weight_decay"], 0.0, math.inf),
        )
        if isinstance(group["dampening"], bool) or not math.isfinite(group["dampening"]):
            rule = "a number as dampening"
            raise failure("SGD", rule, error=KindError, dampening=group["dampening"])
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise failure(
                "SGD",
                "momentum > 0 and dampening = 0 with nesterov",
                momentum=group["momentum"],
                dampening=group["dampening"],
            )

    def update(self, value: Array, gradient: Array, state: dict[str, Any], group: Group) -> None:
        """Change one parameter in place; allocates only a new momentum buffer."""
        self.update_group([(value, gradient, state)], group)

    def update_group(self, entries: list[Entry], group: Group) -> None:
        """Change parameters in place, block by block, large ones on several threads.

        What each number becomes does not depend on blocks or threads.
        """
        rules: dict[Any, _Rule] = {}
        backend, step = current_backend(), _step(group)
        begin = step._replace(first=True)
        tasks: list[Callable[[], None]] = []
        for value, gradient, state in entries:
            rule = rules.get(value.dtype)
            if rule is None:
                rule = rules[value.dtype] = _rule(value.dtype, group)
            first, v = False, None
            if rule.momentum is not None:
                v = state.get("momentum_buffer")
                if v is None:
                    first, v = True, np.empty_like(value)
                    state["momentum_buffer"] = v
            arrays = _flat(value, gradient, v)
            size = arrays[0].size
            if arrays[0].ndim != 1:
                rule.descend(first, *arrays)
            elif backend.sgd_step(*arrays, begin if first else step):
                pass
            elif size < _LARGE:
                self._blocks(rule, first, arrays)
            else:
                pieces = [slice(i, i + _SHARE) for i in range(0, size, _SHARE)]
                parts = [_part(arrays, piece) for piece in pieces]
                tasks += [partial(_task, rule, first, part) for part in parts]
        run_all(tasks)

    def _blocks(self, rule: _Rule, first: bool, arrays: _Arrays) -> None:
        """Change a small flat parameter, with buffers that are kept from step to step."""
        dtype, size = arrays[0].dtype, arrays[0].size
        pair = self._scratch.get(dtype)
        if pair is None:
            pair = self._scratch[dtype] = _buffers(dtype)
        if size <= pair[0].size:
            rule.descend(first, *arrays, pair[0][:size], pair[1][:size])
        else:
            _walk(rule, first, arrays, *pair)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_scratch": {}}


_Arrays = tuple[Array, Array, Array | None]
"""A parameter, its gradient and its momentum."""


class _Rule(NamedTuple):
    """One group's numbers as 0-d arrays of one dtype, which NumPy takes twice as fast as floats.

    None stands for what is not wanted.
    """

    rate: Array
    decay: Array | None
    momentum: Array | None
    kept: Array | None
    nesterov: bool
    maximize: bool

    def descend(
        self,
        first: bool,
        w: Array,
        g: Array,
        v: Array | None,
        one: Array | None = None,
        two: Array | None = None,
    ) -> None:
        """Change w and v in place; `one` and `two`, like w, are written over."""
        one = np.empty_like(w) if one is None else one
        two = np.empty_like(w) if two is None else two
        d = g
        if self.decay is not None:
            np.multiply(w, self.decay, one)
            d = (np.subtract if self.maximize else np.add)(one, g, one)
        elif self.maximize:
            d = np.negative(g, one)
        if v is not None and self.momentum is not None:
            if first:
                np.copyto(v, d)
            else:
                np.multiply(v, self.momentum, v)
                np.add(v, d if self.kept is None else np.multiply(d, self.kept, two), v)
            d = np.add(d, np.multiply(v, self.momentum, two), two) if self.nesterov else v
        np.subtract(w, np.multiply(d, self.rate, two), w)


class Step(NamedTuple):
    """One group's numbers, for a backend; `kept` is 1 - dampening, `first` a momentum's beginning.

    With d = g + decay w (-g with `maximize`) and v = momentum v + kept d (v = d at first), w
    becomes w - rate v; with `nesterov` w - rate (d + momentum v), without momentum w - rate d.
    """

    rate: float
    decay: float
    momentum: float
    kept: float
    nesterov: bool
    maximize: bool
    first: bool = False


def _step(group: Group) -> Step:
    return Step(
        float(group["lr"]),
        float(group["weight_decay"]),
        float(group["momentum"]),
        1.0 - float(group["dampening"]),
        bool(group["nesterov"]),
        bool(group["maximize"]),
    )


def _rule(dtype: Any, group: Group) -> _Rule:
    """Give a group's numbers in the parameters' dtype."""

    def number(value: Any) -> Array:
        return np.array(float(value), dtype)

    return _Rule(
        number(group["lr"]),
        number(group["weight_decay"]) if group["weight_decay"] else None,
        number(group["momentum"]) if group["momentum"] else None,
        number(1.0 - group["dampening"]) if group["dampening"] else None,
        bool(group["nesterov"]),
        bool(group["maximize"]),
    )


def _flat(w: Array, g: Array, v: Array | None) -> _Arrays:
    """View a parameter, its gradient and its momentum as vectors in one order of memory.

    A gradient that lies otherwise is copied into it.  A parameter or a momentum with gaps, or in
    an order of its own, makes all come back as they are.
    """
    if w.flags.c_contiguous and (v is None or v.flags.c_contiguous):
        return w.ravel(), g.ravel(), None if v is None else v.ravel()
    if w.flags.f_contiguous and (v is None or v.flags.f_contiguous):
        return w.T.ravel(), g.T.ravel(), None if v is None else v.T.ravel()
    return w, g, v


def _part(arrays: _Arrays, piece: slice) -> _Arrays:
    w, g, v = arrays
    return w[piece], g[piece], None if v is None else v[piece]


def _task(rule: _Rule, first: bool, arrays: _Arrays) -> None:
    """Change a part of a large parameter, on whatever thread."""
    _walk(rule, first, arrays, *_buffers(arrays[0].dtype))


def _buffers(dtype: Any) -> tuple[Array, Array]:
    """Give the two buffers of a block."""
    block = _BLOCK // dtype.itemsize
    return np.empty(block, dtype), np.empty(block, dtype)


def _walk(rule: _Rule, first: bool, arrays: _Arrays, one: Array, two: Array) -> None:
    """Change flat arrays block by block."""
    (w, g, v), block = arrays, one.size
    for start in range(0, w.size, block):
        end = min(start + block, w.size)
        n = end - start
        momentum = None if v is None else v[start:end]
        rule.descend(first, w[start:end], g[start:end], momentum, one[:n], two[:n])
