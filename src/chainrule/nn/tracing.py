"""Following a network layer by layer: which layer ran which operation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Token
from typing import Any

from chainrule.engine import state
from chainrule.engine.capture import Graph, capture
from chainrule.engine.tensor import Tensor, meta_tensor
from chainrule.errors import GraphError
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


def recorded(asked: str, model: Module, inputs: Sequence[Tensor], method: str = "forward") -> Graph:
    """Give the graph of a network in evaluation mode, to be run or written elsewhere.

    The network is followed on inputs without data; where it makes constants of its own that are
    then without values, like ones_like(x), once more on the inputs as they are.  Its modules' modes
    are as before at the end.  Raises GraphError, in the name of who asked, where what the network
    computes depends on values or is drawn anew at each call, and where parameters have no values.
    """
    shapes = [meta_tensor(x.shape, x.dtype) for x in inputs]
    what = f"{asked}: {type(model).__name__}.{method}"
    with evaluating(model):
        graph = _captured(what, model, method, shapes)
        if graph.without_values:
            graph = _captured(what, model, method, inputs)
    lost = [node.layer or node.name for node in graph.without_values]
    if lost:
        raise GraphError(f"{what}: there are no values, only shapes, in {lost[0]}: load weights")
    if graph.random:
        raise GraphError(f"{what}: random numbers are drawn at each call, even in evaluation mode")
    return graph


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Have all modules in evaluation mode inside, and in their own again afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, training in modes:
            module.training = training


def _captured(what: str, model: Module, method: str, inputs: Sequence[Tensor]) -> Graph:
    try:
        with following(model), state.no_grad():
            return capture(getattr(model, method), *inputs)
    except GraphError as error:
        raise GraphError(
            f"{what} cannot be followed: outputs must be computed from the inputs by operations "
            f"alone, whatever the values are: {error}"
        ) from error


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
