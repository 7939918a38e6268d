"""What the networks share: images refused with a reason, initial values by a rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from chainrule.engine.creation import empty
from chainrule.engine.device import chosen_device
from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import ShapeError, failure
from chainrule.nn import Conv2d, Linear, Module, Parameter, init
from chainrule.nn.tracking import retold

PART = 1 << 18
"""So many weights are drawn at a time."""


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


def he(weight: Tensor) -> Tensor:
    """Draw normal values of variance 2 / fan_in; source: He et al. (2015), made for ReLU.

    >>> import chainrule as cr
    >>> bool(abs(he(cr.zeros(100, 200)).std().item() - 0.1) < 0.01)
    True
    """
    return init.kaiming_normal_(weight, nonlinearity="relu")


def dense(inputs: int, outputs: int) -> Linear:
    """Make a dense layer without values, on device "meta", until `initialise` draws them.

    The values that a layer draws for itself take a second for a hundred million weights.

    >>> dense(3, 2).weight.is_meta
    True
    """
    return Linear(inputs, outputs, device="meta")


def initialise(model: Module, draw: Callable[[Tensor], Any]) -> None:
    """Draw the weights of all convolutions and dense layers by a rule; set their biases to 0.

    The rule gets some rows of a weight (out, in, ...) at a time, so that its temporary arrays stay
    in the cache: it may depend on fan_in, not on fan_out.

    >>> import chainrule as cr
    >>> net = cr.nn.Sequential(cr.nn.Conv2d(1, 2, 3), cr.nn.BatchNorm2d(2), dense(2, 1))
    >>> initialise(net, cr.nn.init.ones_)
    >>> net[0].weight.sum().item(), net[0].bias.tolist(), net[2].weight.tolist()
    (18.0, [0.0, 0.0], [[1.0, 1.0]])
    """
    for layer in model.modules():
        if isinstance(layer, Conv2d | Linear):
            if chosen_device(None) == "meta":
                continue
            for name, parameter in list(layer.named_parameters()):
                if parameter.is_meta:
                    setattr(layer, name, Parameter(empty(parameter.shape)))
            rows = max(1, PART // max(1, math.prod(layer.weight.shape[1:])))
            for first in range(0, layer.weight.shape[0], rows):
                draw(Tensor(layer.weight.array[first : first + rows]))
            if layer.bias is not None:
                init.zeros_(layer.bias)
