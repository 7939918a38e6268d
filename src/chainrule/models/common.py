"""What the networks share: images refused with a reason, initial values by a rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from chainrule.engine.creation import empty
from chainrule.engine.device import chosen_device
from chainrule.engine.random import Generator, drawing_from, initialization_generator
from chainrule.engine.tensor import Tensor, as_tensor, mark_written
from chainrule.engine.workers import run_all
from chainrule.errors import ShapeError, failure
from chainrule.nn import Conv2d, Linear, Module, Parameter, init
from chainrule.nn.tracking import retold

PART = 1 << 18
"""So many weights are drawn at a time, so that temporary arrays stay in the cache."""

Rule = Callable[[Tensor, tuple[int, int]], Any]
"""Draws a part of a weight; it is told (fan_in, fan_out) of the whole weight."""


def images(name: str, x: Any) -> Tensor:
    """Give a batch of images as a tensor; ShapeError, in the network's name, for other axes.

    >>> import chainrule as cr
    >>> images("Net", cr.zeros(3, 8, 8))
    Traceback (most recent call last):
    chainrule.errors.ShapeError: Net: expected a batch of images (N, C, H, W); \
got input float32 (3, 8, 8); x[None] makes a batch of one image
    """
    tensor = as_tensor(x, name)
    if tensor.ndim != 4:
        hint = "x[None] makes a batch of one image" if tensor.ndim == 3 else ""
        raise failure(name, "a batch of images (N, C, H, W)", hint=hint, input=tensor)
    return tensor


@contextmanager
def at_least(name: str, side: int, x: Tensor) -> Iterator[None]:
    """Complete a layer's ShapeError with the smallest image that the whole network can read.

    The layers decide and not the number, so that a network with other layers put in works.

    >>> import chainrule as cr
    >>> x = cr.zeros(1, 1, 4, 4)
    >>> try:
    ...     with at_least("Net", 5, x):
    ...         y = cr.nn.Conv2d(1, 1, 5)(x)
    ... except ShapeError as error:
    ...     print(str(error).split(";")[0])
    Net: expected images of at least 5x5
    """
    try:
        yield
    except ShapeError as error:
        if min(x.shape[2:]) >= side:
            raise
        rule = f"images of at least {side}x{side}"
        why = error.__dict__.get("original", str(error))
        raise retold(error, failure(name, rule, hint=why, input=x)) from error


def he(part: Tensor, fans: tuple[int, int]) -> Tensor:
    """Draw normal values of variance 2 / fan_in; source: He et al. (2015), made for ReLU.

    >>> import chainrule as cr
    >>> bool(abs(he(cr.zeros(100, 200), (200, 100)).std().item() - 0.1) < 0.01)
    True
    """
    return init.normal_(part, 0.0, math.sqrt(2 / fans[0]))


def he_uniform(part: Tensor, fans: tuple[int, int]) -> Tensor:
    """Draw uniform values of variance 2 / fan_in: a third of the time that normal ones take.

    >>> import chainrule as cr
    >>> bool(he_uniform(cr.zeros(100, 600), (600, 100)).abs().max() <= 0.1)
    True
    """
    bound = math.sqrt(6 / fans[0])
    return init.uniform_(part, -bound, bound)


def he_fan_out(part: Tensor, fans: tuple[int, int]) -> Tensor:
    """Draw normal values of variance 2 / fan_out, which keeps the size of gradients.

    >>> import chainrule as cr
    >>> bool(abs(he_fan_out(cr.zeros(200, 100), (100, 200)).std().item() - 0.1) < 0.01)
    True
    """
    return init.normal_(part, 0.0, math.sqrt(2 / fans[1]))


def glorot(part: Tensor, fans: tuple[int, int]) -> Tensor:
    """Draw uniform values of variance 2 / (fan_in + fan_out); source: Glorot and Bengio (2010).

    >>> import chainrule as cr
    >>> bool(glorot(cr.zeros(100, 500), (500, 100)).abs().max() <= 0.1)
    True
    """
    bound = math.sqrt(6 / sum(fans))
    return init.uniform_(part, -bound, bound)


def hundredth(part: Tensor, fans: tuple[int, int]) -> Tensor:
    """Draw normal values of standard deviation 0.01, whatever the fans.

    >>> import chainrule as cr
    >>> bool(abs(hundredth(cr.zeros(100, 200), (200, 100)).std().item() - 0.01) < 0.001)
    True
    """
    return init.normal_(part, 0.0, 0.01)


def dense(inputs: int, outputs: int) -> Linear:
    """Make a dense layer without values, on device "meta", until `initialise` draws them.

    The values that a layer draws for itself take a second for a hundred million weights.

    >>> dense(3, 2).weight.is_meta
    True
    """
    return Linear(inputs, outputs, device="meta")


def initialise(
    model: Module, rule: Rule, kinds: tuple[type[Module], ...] = (Conv2d, Linear)
) -> None:
    """Draw the weights of all convolutions and dense layers by a rule; set their biases to 0.

    Each layer has a stream of its own, so that one that grows leaves the others' values as they
    were, and each part of a weight has one too, so that threads share the work and the values do
    not depend on their number.

    >>> import chainrule as cr
    >>> net = cr.nn.Sequential(cr.nn.Conv2d(1, 2, 3), cr.nn.BatchNorm2d(2), dense(2, 1))
    >>> initialise(net, lambda part, fans: cr.nn.init.ones_(part))
    >>> net[0].weight.sum().item(), net[0].bias.tolist(), net[2].weight.tolist()
    (18.0, [0.0, 0.0], [[1.0, 1.0]])
    """
    if chosen_device(None) == "meta":
        return
    tasks: list[Callable[[], None]] = []
    source = initialization_generator()
    for layer in model.modules():
        if isinstance(layer, kinds):
            stream = source.spawn()
            for name, parameter in list(layer.named_parameters()):
                if parameter.is_meta:
                    setattr(layer, name, Parameter(empty(parameter.shape)))
            tasks += _parts(layer.weight, rule, stream)
            if layer.bias is not None:
                init.zeros_(layer.bias)
    run_all(tasks)


def _parts(weight: Tensor, rule: Rule, stream: Generator) -> list[Callable[[], None]]:
    """Give what draws a weight, some rows at a time, each from a stream of its own."""
    mark_written(weight)
    fans = init.fans(weight)
    rows = max(1, PART // max(1, math.prod(weight.shape[1:])))
    parts = [Tensor(weight.array[k : k + rows]) for k in range(0, weight.shape[0], rows)]
    return [partial(_draw, part, rule, fans, stream.spawn()) for part in parts]


def _draw(part: Tensor, rule: Rule, fans: tuple[int, int], stream: Generator) -> None:
    with drawing_from(stream):
        rule(part, fans)
