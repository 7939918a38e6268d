"""An image, what attribution says of its pixels, and the one laid over the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import DataError, expect
from chainrule.inspection.figures import new_figure, plain_title
from chainrule.inspection.given import real

_BRIGHTEST = 99.5  # the percentile that has the strongest colour: single pixels must not rule it
_SIGNED, _UNSIGNED = "RdBu_r", "inferno"
_COVERS = 0.85  # how much of the image the strongest colour hides


def show_attribution(image: Any, map: Any, title: str = "") -> Any:
    """Draw an image, its map, and the map over the image in grey: a matplotlib Figure.

    `image` is (C, H, W) with one or three channels, or (H, W); bytes, or numbers that are spread
    from their least to their largest.  `map` is (H, W), or (C, H, W), whose channels are added up;
    with three of them the map is drawn as a picture whose grey is 0.  Signed maps are red where
    they are positive and blue where negative; others go from black to yellow.  The half per cent
    of the strongest values share one colour.  In Jupyter the figure shows itself; `figure_png`
    writes it.

    Raises ShapeError for other shapes, DataError where matplotlib is missing.

    >>> import numpy as np
    >>> figure = show_attribution(np.eye(8), np.eye(8), "a diagonal")
    >>> [axes.get_title() for axes in figure.axes[:3]]
    ['image', 'map', 'both']
    """
    picture, values = _picture(image), _array(map)
    fits = values.ndim in (2, 3) and values.shape[-2:] == picture.shape[:2] and values.size > 0
    rule = f"a map (H, W) or (C, H, W) of the image's {picture.shape[:2]}"
    expect(fits, "show_attribution", rule, map=values)
    rule = "finite numbers; are the network's weights finite?"
    expect(bool(np.isfinite(values).all()), "show_attribution", rule, error=DataError, map=values)
    figure = new_figure(9.6, min(8.0, max(2.2, 2.9 * picture.shape[0] / picture.shape[1])) + 0.7)
    left, middle, right = figure.subplots(1, 3)
    _grey(left, picture)
    pale = 0.35 + 0.65 * (picture if picture.ndim == 2 else picture.mean(axis=2))
    _grey(right, pale)  # colours would be lost on black
    flat = values if values.ndim == 2 else values.sum(axis=0)
    over = _coloured(right, flat, np.clip(np.abs(flat) / _scale(flat), 0.0, 1.0) * _COVERS)
    if values.ndim == 3 and len(values) == 3:
        middle.imshow(_around_grey(values), interpolation="nearest")
    else:
        over = _coloured(middle, flat, None)
    figure.colorbar(over, ax=right).ax.tick_params(labelsize=7)
    for axes, name in ((left, "image"), (middle, "map"), (right, "both")):
        axes.set_title(name, fontsize="medium")
        axes.set(xticks=[], yticks=[])  # else they are placed, which takes long, and not drawn
        axes.set_axis_off()
    plain_title(figure, title)
    return figure


def _grey(axes: Any, picture: Array) -> None:
    axes.imshow(picture, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")


def _coloured(axes: Any, values: Array, alpha: Array | None) -> Any:
    signed, scale = bool((values < 0).any()), _scale(values)
    return axes.imshow(
        values,
        cmap=_SIGNED if signed else _UNSIGNED,
        vmin=-scale if signed else 0.0,
        vmax=scale,
        alpha=alpha,
        interpolation="nearest",
    )


def _array(value: Any) -> Array:
    return real("show_attribution", "a map", value).astype(np.float64)


def _scale(values: Array) -> float:
    """Give the size that has the strongest colour."""
    sizes = np.abs(values)
    return float(np.percentile(sizes, _BRIGHTEST)) or float(sizes.max()) or 1.0


def _around_grey(values: Array) -> Array:
    """Give (H, W, 3) from 0 to 1, 0.5 where the map is 0."""
    return np.clip(0.5 + np.moveaxis(values, 0, 2) / (2 * _scale(values)), 0.0, 1.0)


def _picture(image: Any) -> Array:
    """Give (H, W) or (H, W, 3) from 0 to 1."""
    given = real("show_attribution", "an image", image)
    fits = given.ndim == 2 or (given.ndim == 3 and given.shape[0] in (1, 3))
    expect(fits and given.size > 0, "show_attribution", "an image (C, H, W), C = 1 or 3, or (H, W)",
           image=given)  # fmt: skip
    if given.ndim == 3:
        given = given[0] if len(given) == 1 else np.moveaxis(given, 0, 2)
    if given.dtype == np.uint8:
        return given / 255.0
    low, high = float(given.min()), float(given.max())
    return np.asarray((given - low) / ((high - low) or 1.0), dtype=np.float64)
