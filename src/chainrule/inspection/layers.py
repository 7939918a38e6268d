"""Layers by name, and what goes through them: the ground of all that looks into a network."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from chainrule.engine.tensor import Tensor
from chainrule.errors import DataError, KindError, failure
from chainrule.inspection.given import text
from chainrule.nn.module import Module


def find_layer(model: Module, name: str) -> Module:
    """Give a layer by its dotted name, as `named_modules` has it.

    Raises KindError for a model that is no Module and a name that is no text, and DataError for a
    name that no layer has, with those that are near.

    >>> import chainrule as cr
    >>> find_layer(cr.create_model("lenet5"), "conv2").kernel_size
    (5, 5)
    """
    if not isinstance(model, Module):
        raise failure("find_layer", "a Module", error=KindError, model=type(model))
    text("find_layer", "a layer's name", name)
    layers = dict(model.named_modules())
    if name in layers:
        return layers[name]
    known = [path for path in layers if path]
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.4)
    near = near or [path for path in known if "." not in path][:12]
    raise DataError(
        f"{type(model).__name__} has no layer {name!r}; it has {', '.join(near) or 'none'}"
    )


@contextmanager
def watching(model: Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Keep what layers give while the model runs inside: by name, of the last call, in the graph.

    A layer that gives several values counts with its first.

    >>> import chainrule as cr
    >>> model = cr.create_model("lenet5")
    >>> with watching(model, ["conv1"]) as seen:
    ...     _ = model(cr.zeros(1, 1, 32, 32))
    >>> seen["conv1"].shape
    (1, 6, 28, 28)
    """
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(module: Module, inputs: Any, output: Any) -> None:
            seen[name] = _as_it_is(output[0] if isinstance(output, tuple) else output)

        return hook

    handles = [find_layer(model, name).register_forward_hook(keep(name)) for name in names]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _as_it_is(y: Tensor) -> Tensor:
    """Give the same value in the graph as a tensor of its own.

    A method in place, such as `relu_`, gives the layer's tensor the place of its result.
    """
    if y._node is None:
        return y
    own = Tensor(y.array)
    own._node, own._index, own._requires_grad = y._node, y._index, y._requires_grad
    return own
