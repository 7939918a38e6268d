"""What layers give for images of any size: the network runs only as far as it must."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chainrule.engine.op import Array
from chainrule.engine.tensor import Tensor
from chainrule.errors import DataError, LabelError, ShapeError, failure
from chainrule.inspection.given import several, text
from chainrule.inspection.layers import find_layer, watching
from chainrule.nn.module import Module
from chainrule.nn.tracing import evaluating
from chainrule.ops.arguments import integer


class _Enough(Exception):
    """All layers that were asked for have run."""


class Reading:
    """Reads layers by name, in evaluation mode, of the last call of each.

    The forward ends once they have run, so that a network whose last layers want one size of image
    reads others too as far as its convolutions go (unless it refuses them itself).  How often a
    layer runs is seen in the first reading, which goes as far as it can.

    >>> import chainrule as cr
    >>> small = cr.nn.Sequential(cr.nn.Conv2d(1, 4, 5), cr.nn.Flatten(), cr.nn.Linear(64, 2))
    >>> read = Reading("example", small, ["0"])  # the dense layer wants images of 8x8
    >>> read(cr.zeros(1, 1, 50, 60))["0"].shape
    (1, 4, 46, 56)
    """

    def __init__(self, asked: str, model: Module, names: Sequence[str]) -> None:
        if isinstance(names, str) or not len(names):
            raise failure(asked, "a sequence of at least one layer's name", layers=names)
        named = [text(asked, "a layer's name", name) for name in names]
        self.asked, self.model, self.names = asked, model, list(dict.fromkeys(named))
        self.layers = {name: find_layer(model, name) for name in self.names}
        self.calls: dict[str, int] | None = None

    def __call__(self, x: Tensor) -> dict[str, Tensor]:
        """Give what the layers give for prepared images (N, C, H, W), by name, in the graph.

        Raises ShapeError where images are too small to reach a layer, or of wrong channels, and
        DataError for a layer that the network does not run.
        """
        calls = dict.fromkeys(self.names, 0)
        with evaluating(self.model), watching(self.model, self.names) as seen:
            counters = [
                layer.register_forward_hook(self._counter(name, calls))
                for name, layer in self.layers.items()
            ]
            try:
                self.model(x)
            except _Enough:
                pass
            except ShapeError as error:
                self._accept(error, seen, x)
            finally:
                for counter in counters:
                    counter.remove()
        unseen = [name for name in self.names if name not in seen]
        if unseen:
            kind = type(self.model).__name__
            raise DataError(f"{self.asked}: {kind} does not run {unseen[0]!r} in evaluation mode")
        self.calls = self.calls or calls
        return dict(seen)

    def _counter(self, name: str, calls: dict[str, int]) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            calls[name] += 1
            wanted = self.calls
            if wanted is not None and all(calls[each] >= wanted[each] for each in self.names):
                raise _Enough

        return hook

    def _accept(self, error: ShapeError, seen: dict[str, Tensor], x: Tensor) -> None:
        """Let a network fail behind the layers that were asked for; before them say how far."""
        unseen = [name for name in self.names if name not in seen]
        if unseen:
            raise ShapeError(
                f"{self.asked}: expected images that reach layer {unseen[0]!r}, got {x.shape} "
                f"(N, C, H, W): {error}"
            ) from error


def unit_of(asked: str, layer: str, y: Tensor, unit: Any) -> int:
    """Give the number of a unit (a channel of a layer); of those from the end, from the start.

    Raises ShapeError for a layer without channels, LabelError for a number that is none of them.
    """
    if y.ndim < 2 or y.dtype.kind != "f":
        rule = f"a layer with channels, (N, C) or (N, C, H, W); {layer!r} gives none"
        raise failure(asked, rule, output=y)
    i, n = integer(unit, asked, "a unit's number"), y.shape[1]
    if not -n <= i < n:
        rule = f"a unit from 0 to {n - 1}: layer {layer!r} has {n}"
        raise failure(asked, rule, error=LabelError, unit=i)
    return i % n


def place_of(asked: str, layer: str, y: Tensor, position: Any) -> tuple[int, ...] | None:
    """Check a position (row, column) on a layer's map; None stays what it is, all of them."""
    if position is None:
        return None
    size = y.shape[2:]
    listed = several(asked, "position", position)
    place = tuple(integer(p, asked, "a position of integers") for p in listed)
    if len(place) != len(size) or not all(0 <= p < n for p, n in zip(place, size, strict=True)):
        rule = f"a position within the map {size} of layer {layer!r}"
        raise failure(asked, rule, error=LabelError, position=position)
    return place


def activation_of(y: Tensor, unit: int, place: tuple[int, ...] | None) -> Tensor:
    """Give a unit's activation, one number: its mean over the map and images, or at a place."""
    values: Tensor = y[:, unit]
    chosen = values if place is None else values[(slice(None), *place)]
    mean: Tensor = chosen.mean()
    return mean


def maps_of(asked: str, layer: str, y: Tensor) -> Array:
    """Give the maps of the first image, (C, H, W); ShapeError for a layer that has none."""
    if y.ndim != 4:
        raise failure(asked, f"a layer with maps (N, C, H, W), not {layer!r}", output=y)
    maps: Array = y.array[0]
    return maps
