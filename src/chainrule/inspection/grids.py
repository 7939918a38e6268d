"""Filters and activation maps as grids: many small pictures on one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.state import no_grad
from chainrule.engine.tensor import Tensor
from chainrule.errors import KindError, LabelError, failure
from chainrule.inspection.canvas import Preparation, image_array, kind_of
from chainrule.inspection.given import counts, real, setting, several
from chainrule.inspection.layers import find_layer
from chainrule.inspection.reading import Reading, maps_of, unit_of
from chainrule.nn.conv_transpose import ConvTranspose2d
from chainrule.nn.module import Module
from chainrule.ops.arguments import integer


def image_grid(
    images: Any, columns: int | None = None, gap: int = 1, background: float = 1.0
) -> Array:
    """Lay images beside and below each other, row by row, `gap` pixels apart.

    `columns` is about the root of their number by default.  Shapes: (N, C, H, W), or a sequence of
    (C, H, W) of one size, -> (C, rows*(H + gap) - gap, columns*(W + gap) - gap).  Places without an
    image have the background's value.  Raises ShapeError for other shapes and no images.

    >>> image_grid(np.zeros((2, 1, 1, 2)), columns=2).tolist()
    [[[0.0, 0.0, 1.0, 0.0, 0.0]]]
    """
    listed = images.array if isinstance(images, Tensor) else images
    arrays = [real("image_grid", "images", x) for x in several("image_grid", "images", listed)]
    setting("image_grid", -math.inf, background=background)
    shapes = {a.shape for a in arrays}
    if len(shapes) != 1 or len(next(iter(shapes))) != 3:
        rule = "images (N, C, H, W) of one size, at least one"
        raise failure("image_grid", rule, shapes=sorted(shapes))
    if any(a.dtype.kind != "f" for a in arrays):
        raise failure("image_grid", "images of floats", error=KindError, dtype=arrays[0].dtype)
    across = _across(len(arrays)) if columns is None else columns
    across = integer(across, "image_grid", "columns that are a whole number")
    space = integer(gap, "image_grid", "a gap that is a whole number")
    if across < 1 or space < 0:
        raise failure("image_grid", "columns of 1 or more, a gap of 0 or more", columns=columns)
    down = -(-len(arrays) // across)
    c, h, w = arrays[0].shape
    high, wide = down * (h + space) - space, across * (w + space) - space
    grid = np.full((c, high, wide), background, arrays[0].dtype)
    for k, array in enumerate(arrays):
        top, left = k // across * (h + space), k % across * (w + space)
        grid[:, top : top + h, left : left + w] = array
    return grid


def grid_numbers(count: int, columns: int | None = None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give numbers for the rows and columns of a grid: a picture's is the sum of its two.

    `columns` is that of `image_grid`.  Gives what `image_figure` takes as `rows` and `columns`.
    Raises KindError for what is no whole number, ShapeError for one below 1.

    >>> grid_numbers(6)
    (('0', '3'), ('+0', '+1', '+2'))
    >>> grid_numbers(2, 2)
    ((), ('0', '1'))
    """
    (n,) = counts("grid_numbers", count=count)
    (across,) = counts("grid_numbers", columns=_across(n) if columns is None else columns)
    if n <= across:
        return (), tuple(str(k) for k in range(across))
    return tuple(str(k) for k in range(0, n, across)), tuple(f"+{k}" for k in range(across))


def _across(count: int) -> int:
    return math.ceil(math.sqrt(count))


def filter_grid(
    model: Module,
    layer: str,
    *,
    channel: int | None = None,
    columns: int | None = None,
    gap: int = 1,
    each: bool = True,
) -> Array:
    """Give the filters of a two-dimensional convolution as a grid of pictures from 0 to 1.

    0 is mid-grey, what is lighter is positive; a picture is scaled by its own largest weight, with
    `each=False` by that of all.  Filters of three channels are in colour, (3, H, W); of others
    `channel` chooses one, and without it a filter has a row of the grid with a picture for each
    channel; these are (1, H, W).  Source: Krizhevsky et al., 2012, figure 3.

    Raises DataError for a layer that is not there, ShapeError for one without such filters,
    LabelError for a channel that they do not have.

    >>> import chainrule as cr
    >>> model = cr.create_model("lenet5")
    >>> filter_grid(model, "conv1").shape  # six filters of 5x5, in rows of three
    (1, 11, 17)
    >>> filter_grid(model, "conv2").shape  # sixteen rows of six channels
    (1, 95, 35)
    """
    found = find_layer(model, layer)
    weight = getattr(found, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 4:
        rule = f"a convolution with filters (O, C, H, W), not {layer!r}: {type(found).__name__}"
        raise failure("filter_grid", rule, weight=weight)
    w = weight.array.swapaxes(0, 1) if isinstance(found, ConvTranspose2d) else weight.array
    o, c, kh, kw = w.shape
    if channel is not None:
        i = integer(channel, "filter_grid", "a channel's number")
        if not 0 <= i < c:
            rule = f"a channel from 0 to {c - 1}: the filters of {layer!r} have {c}"
            raise failure("filter_grid", rule, error=LabelError, channel=i)
        w = w[:, i : i + 1]
    elif c not in (1, 3):
        w = w.reshape(o * c, 1, kh, kw)
        columns = c if columns is None else columns
    largest = np.abs(w).max(axis=(1, 2, 3) if each else None, keepdims=True)
    return image_grid(0.5 + 0.5 * w / np.where(largest > 0, largest, 1), columns, gap)


def activation_grid(
    model: Module,
    image: Any,
    layer: str,
    *,
    units: Sequence[int] | None = None,
    columns: int | None = None,
    gap: int = 1,
    each: bool = True,
    mean: Any = None,
    std: Any = None,
) -> Array:
    """Give the maps of a layer for one image as a grid of grey pictures from 0 to 1.

    A map is stretched from its smallest value, black, to its largest, white, with `each=False` all
    maps by the values of all.  A map of one value everywhere, such as a ReLU's that never fires, is
    black.  `units` chooses channels; `mean` and `std` prepare the image, (C, H, W) from 0 to 1.

    Shapes: (C, H, W) -> (1, H', W').  Raises DataError for a layer that is not there, ShapeError
    for one without maps, LabelError for a unit that it does not have.

    >>> import chainrule as cr
    >>> model = cr.create_model("lenet5")
    >>> activation_grid(model, np.zeros((1, 32, 32)), "conv1").shape  # six maps of 28x28
    (1, 57, 86)
    """
    asked = "activation_grid"
    x = image_array(asked, image, kind_of(asked, model))
    prepare = Preparation(asked, len(x), mean, std, x.dtype)
    with no_grad():
        y = Reading(asked, model, [layer])(prepare(x[None]))[layer]
    maps = maps_of(asked, layer, y)
    if units is not None:
        maps = maps[[unit_of(asked, layer, y, unit) for unit in several(asked, "units", units)]]
    axes = (1, 2) if each else None
    low, high = maps.min(axis=axes, keepdims=True), maps.max(axis=axes, keepdims=True)
    scaled = (maps - low) / np.where(high > low, high - low, 1)
    return image_grid(scaled[:, None], columns, gap)
