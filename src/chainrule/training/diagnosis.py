"""Where a step went wrong: the step once more on the reference, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from chainrule.engine.dispatch import use_backend
from chainrule.engine.op import Array
from chainrule.engine.random import default_generator
from chainrule.engine.state import detect_anomaly
from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import AnomalyError, ChainruleError
from chainrule.nn.module import Module

Loss = Callable[[Any, Array], Tensor]


def first_layer_not_finite(
    model: Module, loss: Loss, x: Array, y: Array, drawn: dict[str, Any]
) -> str:
    """Repeat a step's forward and backward on NumPy, and say where the first NaN or infinity is.

    `drawn` is the global generator's state before the step, so that random masks are the same.
    Parameters, their gradients and the generator are afterwards as they were; buffers too.
    Gives the end of a sentence, "; ..." with the layer's name.
    """
    named = list(model.named_parameters())
    gradients = [p.grad for _, p in named]
    buffers = {name: b.array.copy() for name, b in model.named_buffers()}
    generator, now = default_generator(), default_generator().get_state()
    generator.set_state(drawn)
    try:
        for name, p in named:
            if not np.isfinite(p.array).all():
                return f"; the parameter {name} itself is not finite"
        if not np.isfinite(x).all():
            return "; the images themselves are not finite"
        return _replay(model, loss, x, y)
    finally:
        generator.set_state(now)
        for (_, p), gradient in zip(named, gradients, strict=True):
            p.grad = gradient
        for name, b in model.named_buffers():
            b.array[...] = buffers[name]


def _replay(model: Module, loss: Loss, x: Array, y: Array) -> str:
    at: dict[str, str] = {}
    with use_backend("numpy"), np.errstate(all="ignore"), _watched(model, at):
        model.zero_grad()
        try:
            with detect_anomaly():
                loss(model(as_tensor(x)), y).backward()
        except AnomalyError as error:
            place = f"in layer {at['layer']!r}" if "layer" in at else "outside any layer"
            return f"; the first such number is made {place}: {error}"
        except ChainruleError as error:  # the step cannot be repeated: say so, and no more
            return f"; repeated on the reference it ended otherwise ({error})"
    return (
        "; repeated on the reference the step stays finite, so that a number near the largest "
        "float32 is likely"
    )


@contextmanager
def _watched(model: Module, at: dict[str, str]) -> Iterator[None]:
    """Note in `at` the layer that runs, forward and then backward."""
    handles = []
    for name, layer in model.named_modules():
        if not any(True for _ in layer.children()):
            handles.append(layer.register_forward_pre_hook(_entering(name, at)))
            handles.append(layer.register_forward_hook(_leaving(name, at)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _entering(name: str, at: dict[str, str]) -> Callable[..., None]:
    def note(layer: Module, inputs: Any) -> None:
        at["layer"] = name

    return note


def _leaving(name: str, at: dict[str, str]) -> Callable[..., None]:
    def note(layer: Module, inputs: Any, output: Any) -> None:
        for value in output if isinstance(output, tuple) else (output,):
            if isinstance(value, Tensor) and value.requires_grad:
                value.register_hook(receive)  # its gradient comes: now the layer goes backward

    def receive(gradient: Tensor) -> None:
        at["layer"] = name

    return note
