"""What the network's page shows of one layer: its maps or numbers, its filters, small maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from chainrule.engine.op import Array
from chainrule.inspection.circuits.gates import Gate
from chainrule.lab.filters import COLOURS, filters
from chainrule.lab.followed import Followed, Layer
from chainrule.lab.network_numbers import Block, Window
from chainrule.lab.network_tiles import A_PAGE, Form, Tile, large, maps, page_of, tile

_SMALL_MAP, _CLOSEST = 112, 16  # pixels of a small map's longer side, and of one number


class Unit(NamedTuple):
    """One number of a layer without maps; `share` is of the largest, for a bar."""

    number: int
    value: float
    share: float


@dataclass(frozen=True)
class LayerView:
    """A layer, or one step of it, as it is shown; `values` are None where no gradient arrived."""

    layer: Layer
    key: str
    gate: Gate
    form: Form
    values: Array | None
    before: Layer | None
    after: Layer | None
    sources: Sequence[tuple[str, str]]
    readers: Sequence[tuple[str, str]]

    @property
    def is_step(self) -> bool:
        """Whether it is a step within the layer, and not what the layer gives."""
        return self.key != self.layer.key

    @property
    def spread(self) -> tuple[float, float, float]:
        """The smallest and the largest number, and the part of zeros."""
        assert self.values is not None
        if not self.values.size:
            return 0.0, 0.0, 0.0
        zeros = float(np.mean(self.values == 0))
        return float(self.values.min()), float(self.values.max()), zeros

    def tiles(self, page: int, coloured: bool) -> list[Tile]:
        """Paint a page of its maps."""
        assert self.values is not None
        found = maps(self.values)
        return [tile(k, found[k], coloured) for k in page_of(self.form, page)]

    def units(self, page: int) -> list[Unit]:
        """List a page of its numbers."""
        assert self.values is not None
        found = maps(self.values)
        most = float(np.abs(np.nan_to_num(found)).max(initial=0.0)) or 1.0
        units = []
        for k in page_of(self.form, page):
            value = float(found[k])
            units.append(Unit(k, value, min(1.0, abs(value) / most) if np.isfinite(value) else 1.0))
        return units


def layer_view(run: Followed, key: str, backward: bool) -> LayerView:
    """Look at a layer; DataError for a key that the network does not have."""
    layer = run.layer(key)
    gate, place = run.gates[key], run.layers.index(layer)
    values = gate.values[0]
    if backward:
        values = gate.gradients[0] if gate.gradients else None
    return LayerView(
        layer,
        key,
        gate,
        Form.of(gate.shapes[0]),
        values,
        run.layers[place - 1] if place else None,
        run.layers[place + 1] if place + 1 < len(run.layers) else None,
        [_named(run, wire.gate) for wire in gate.inputs],
        [_named(run, reader) for reader in _readers(run, gate)],
    )


def _named(run: Followed, gate: Gate) -> tuple[str, str]:
    """Give a gate's key, "" for weights, and its name."""
    key = run.keys.get(id(gate), "")
    return key, key or gate.name


def _readers(run: Followed, gate: Gate) -> Sequence[Gate]:
    return list({id(g): g for g, _ in run.users.get((id(gate), 0), ())}.values())


@dataclass(frozen=True)
class FilterView:
    """Filters as tiles: of all maps by one input map, or of one map by all.

    `tiles` is empty where filters are single numbers.
    """

    tiles: Sequence[Tile]
    many: int
    channels: int
    size: tuple[int, int]
    slice: int


def filter_view(
    view: LayerView, backward: bool, page: int, channel: int | None, part: int
) -> FilterView | None:
    """Paint a layer's filters; those of map `channel`, or of a page of maps by input map `part`."""
    found = filters(view.gate, backward)
    if found is None or not found.size:
        return None
    many, channels, height, width = found.shape
    part = min(part, channels - 1)
    shown: list[tuple[int, Array]] = []
    if height * width == 1:
        pass
    elif channel is not None and channels not in (1, COLOURS):
        first = part // A_PAGE * A_PAGE
        numbers = range(first, min(channels, first + A_PAGE))
        shown = [(k, found[channel, k]) for k in numbers]
    else:
        numbers = range((page - 1) * A_PAGE, min(many, page * A_PAGE))
        shown = [(k, found[k] if channels == COLOURS else found[k, part]) for k in numbers]
    tiles = [tile(k, values, True) for k, values in shown]
    return FilterView(tiles, many, channels, (height, width), part)


class SmallMap(NamedTuple):
    """A map beside the grids of a window in it: its address, size, and the window's outline."""

    uri: str
    width: int
    height: int
    mark: str


def small_map(run: Followed, block: Block, window: Window, gradients: bool) -> SmallMap | None:
    """Paint the map in which a window lies; None for filters and maps of one number."""
    gate = run.gates.get(block.key)
    if gate is None or max(gate.shapes[0][-2:]) == 1:
        return None
    values = gate.gradients[0] if gradients else gate.values[0]
    if values is None:
        return None
    shown = maps(values)[window.channel]
    height, width = shown.shape
    scale = min(_CLOSEST, _SMALL_MAP / max(height, width))
    row, col, rows, cols = (edge * scale for edge in window.box)
    mark = f"left:{col:.1f}px;top:{row:.1f}px;width:{cols:.1f}px;height:{rows:.1f}px"
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return SmallMap(large(shown, gradients), *size, mark)
