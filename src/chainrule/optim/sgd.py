"""Stochastic gradient descent, with momentum, Nesterov's look ahead and weight decay."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import KindError, failure
from chainrule.optim.optimizer import Group, Optimizer, check_range

_BLOCK = 1 << 15  # numbers handled at a time: three arrays of them stay in the cache


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
        """Change one parameter in place, block by block; allocates only a new momentum buffer."""
        if not group["momentum"]:
            for w, g in _blocks(value, gradient):
                self._descend(w, g, None, False, group)
            return
        first = state.get("momentum_buffer") is None
        if first:
            state["momentum_buffer"] = np.empty_like(value)
        for w, g, v in _blocks(value, gradient, state["momentum_buffer"]):
            self._descend(w, g, v, first, group)

    def _descend(self, w: Array, g: Array, v: Array | None, first: bool, group: Group) -> None:
        one, two = self._buffers(w)
        momentum, rate = float(group["momentum"]), float(group["lr"])
        d = g
        if group["weight_decay"]:
            d = np.multiply(w, float(group["weight_decay"]), out=one)
            (np.subtract if group["maximize"] else np.add)(d, g, out=d)
        elif group["maximize"]:
            d = np.negative(g, out=one)
        if v is not None:
            if first:
                v[...] = d
            else:
                v *= momentum
                v += np.multiply(d, 1.0 - group["dampening"], out=two) if group["dampening"] else d
            if group["nesterov"]:
                ahead = np.multiply(v, momentum, out=two)
                d = np.add(d, ahead, out=two)
            else:
                d = v
        w -= np.multiply(d, rate, out=two)

    def _buffers(self, w: Array) -> tuple[Array, Array]:
        """Give two arrays like `w` to write into, kept from step to step for blocks."""
        if w.ndim != 1 or w.size > _BLOCK:
            return np.empty_like(w), np.empty_like(w)
        pair = self._scratch.get(w.dtype)
        if pair is None:
            pair = self._scratch[w.dtype] = (np.empty(_BLOCK, w.dtype), np.empty(_BLOCK, w.dtype))
        return pair[0][: w.size], pair[1][: w.size]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_scratch": {}}


def _blocks(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Cut arrays of one shape into matching flat pieces, without copying.

    Arrays that are laid out differently, or with gaps, come back whole.
    """
    if all(array.flags.c_contiguous for array in arrays):
        flat = [array.reshape(-1) for array in arrays]
    elif all(array.flags.f_contiguous for array in arrays):
        flat = [array.T.reshape(-1) for array in arrays]
    else:
        yield arrays
        return
    for start in range(0, flat[0].size, _BLOCK):
        yield tuple([array[start : start + _BLOCK] for array in flat])
