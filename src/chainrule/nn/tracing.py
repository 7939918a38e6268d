"""Following a network layer by layer: which layer ran which operation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Token
from typing import Any

from chainrule.engine import state
from chainrule.engine.capture import Graph, capture
from chainrule.nn.module import Module


def trace(model: Module, *inputs: Any) -> Graph:
    """Capture a network's graph, each node with the path of its layer in `layer`.

    Neighbouring layers run one by one and not as fused operations, so that every operation has
    its layer.  See `capture` for the rest.

    >>> import chainrule as cr
    >>> net = cr.nn.Sequential(cr.nn.Linear(2, 3), cr.nn.ReLU())
    >>> [(node.layer, node.op.name) for node in trace(net, cr.zeros(1, 2)) if node.op]
    [('0', 'linear'), ('1', 'relu')]
    """
    with following(model):
        return capture(model, *inputs)


@contextmanager
def following(model: Module) -> Iterator[None]:
    """Note inside which layer of the model runs, by its path."""
    stack: list[Token[str]] = []

    def enter(path: str) -> Callable[..., None]:
        return lambda *_: stack.append(state.LAYER.set(path))

    def leave(*_: Any) -> None:
        state.LAYER.reset(stack.pop())

    handles = []
    try:
        for path, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(enter(path)))
            handles.append(module.register_forward_hook(leave))
        yield
    finally:
        for handle in handles:
            handle.remove()
        while stack:  # an error left layers early
            leave()
