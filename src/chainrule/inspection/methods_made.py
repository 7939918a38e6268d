"""The methods that show what a network's units know: grids, patches, images made, points."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.state import no_grad
from chainrule.engine.tensor import as_tensor
from chainrule.errors import DataError
from chainrule.inspection.canvas import kind_of
from chainrule.inspection.dream import deep_dream
from chainrule.inspection.embeddings import embeddings, pca, tsne
from chainrule.inspection.figures import embedding_figure, image_figure
from chainrule.inspection.grad_cam import last_maps
from chainrule.inspection.grids import activation_grid, filter_grid, grid_numbers, image_grid
from chainrule.inspection.layers import find_layer
from chainrule.inspection.looking import Look, Method, Use
from chainrule.inspection.maximisation import activation_maximization, class_image
from chainrule.inspection.patches import top_patches
from chainrule.inspection.reading import Reading
from chainrule.inspection.style import style_transfer
from chainrule.nn.conv import Conv2d
from chainrule.nn.conv_transpose import ConvTranspose2d

_UNITS, _PATCHES, _SEARCHED, _POINTS = 8, 9, 1000, 500
"""Units that are shown where none is named, patches of each, images that are gone through."""
_SUM = "; number = row + column"


def _filters(at: Look) -> Any:
    """Draw filters in colour, each a picture, and others as a row each of their channels."""
    layer = _layer(at)
    grid = filter_grid(at.model, layer)
    filters, channels = _filters_of(at, layer)
    if channels in (1, 3):
        rows, columns = grid_numbers(filters)
        title = f"{filters} filters of layer {layer!r}{_SUM * bool(rows)}"
    else:
        rows, columns = (tuple(map(str, range(n))) for n in (filters, channels))
        title = f"filters of layer {layer!r}: a row each, with a column for each channel"
    return image_figure(grid, title, rows=rows, columns=columns)


def _filters_of(at: Look, layer: str) -> tuple[int, int]:
    """Give how many filters a convolution has, and of how many channels."""
    found = find_layer(at.model, layer)
    first, second = found.weight.shape[:2]
    return (second, first) if isinstance(found, ConvTranspose2d) else (first, second)


def _activations(at: Look) -> Any:
    layer = _layer(at)
    grid = activation_grid(at.model, at.plain(at.picture)[0], layer, **at.preparation)
    rows, columns = grid_numbers(_count(at, layer, at.picture))
    title = f"maps of layer {layer!r}, each from its least to its largest{_SUM * bool(rows)}"
    return image_figure(grid, title, rows=rows, columns=columns)


def _patches(at: Look) -> Any:
    """Draw a row for each unit: the patches that excite it most."""
    layer = _layer(at)
    images, labels = at.some(_SEARCHED)
    units = _units(at, layer, images)
    batches = [(images[k : k + 100], labels[k : k + 100]) for k in range(0, len(images), 100)]
    found = top_patches(at.model, layer, units, batches, _PATCHES, **at.preparation)
    rows = [patch.patch for unit in units for patch in found[unit]]
    grid = image_grid(rows, columns=min(_PATCHES, len(found[units[0]])))
    said = f"unit {units[0]}" if len(units) == 1 else f"units {units[0]} to {units[-1]}, a row each"
    title = f"what excites layer {layer!r} most, of {len(images):,}: {said}"
    return image_figure(grid, title, rows=tuple(map(str, units)))


def _maximisation(at: Look) -> Any:
    """Make an image for each unit, from noise on or from the picture on."""
    layer, size = _layer(at), at.made_size
    units = _units(at, layer, np.zeros((1, *size), np.float32))
    given: dict[str, Any] = {"start": at.start, **at.preparation}
    made = [
        activation_maximization(at.model, layer, unit, size, jitter=4, blur=0.5, **given).image
        for unit in units
    ]
    said = f"unit {units[0]}" if len(units) == 1 else f"units {units[0]} to {units[-1]}"
    title = f"made to excite layer {layer!r}{_from_what(at)}: {said}"
    rows, columns = grid_numbers(len(units)) if len(units) > 1 else ((), ())
    return image_figure(image_grid(made), title, rows=rows, columns=columns)


def _class_image(at: Look) -> Any:
    """Make an image for each class, from noise on or from the picture on."""
    wanted = list(range(len(at.classes)))[:10] if at.target is None else [at.target]
    if not wanted:
        raise DataError("class-image needs a target: the network's classes have no names here")
    given: dict[str, Any] = {"start": at.start, **at.preparation}
    made = [class_image(at.model, k, at.made_size, **given).image for k in wanted]
    names = [at.classes[k] if k < len(at.classes) else str(k) for k in wanted]
    return image_figure(image_grid(made), f"made for {', '.join(names)}{_from_what(at)}")


def _from_what(at: Look) -> str:
    return "" if at.image is None else ", begun with the picture"


def _dream(at: Look) -> Any:
    """Dream on the picture; in one size where there is only what a network of one size sees."""
    layer, octaves = _layer(at), 1 if at.photo is None else 4
    made = deep_dream(
        at.model, at.own_size, layer, unit=at.target, octaves=octaves, **at.preparation
    )
    return image_figure(made.image, f"a dream of layer {layer!r}")


def _style(at: Look) -> Any:
    """Take the content from one layer, the style from the convolutions up to it."""
    layer = at.layer or last_maps(at.model, at.picture)
    style = at.style
    assert style is not None
    made = style_transfer(
        at.model,
        at.own_size,
        style,
        content_layers=[layer],
        style_layers=_convolutions(at, layer),
        **at.preparation,
    )
    return image_figure(made.image, f"content of layer {layer!r}, style of the layers before it")


def _pca(at: Look) -> Any:
    points, labels = _embedded(at)
    return embedding_figure(pca(points), labels, at.classes or None, "embeddings, PCA")


def _tsne(at: Look) -> Any:
    points, labels = _embedded(at)
    near = min(30.0, max(1.0, (len(points) - 1) / 3))
    return embedding_figure(
        tsne(points, perplexity=near), labels, at.classes or None, "embeddings, t-SNE"
    )


def _embedded(at: Look) -> tuple[Array, Array]:
    images, labels = at.some(_POINTS)
    batches = [(images[k : k + 100], labels[k : k + 100]) for k in range(0, len(images), 100)]
    return embeddings(at.model, batches, at.layer, **at.preparation)


def _layer(at: Look) -> str:
    assert at.layer is not None  # the entries say that it must be
    return at.layer


def _units(at: Look, layer: str, images: Array) -> list[int]:
    """Give the unit that is asked about, or the layer's first ones."""
    if at.target is not None:
        return [at.target]
    mean, std = (np.reshape(v, (-1, 1, 1)).astype(np.float32) for v in (at.mean, at.std))
    return list(range(min(_UNITS, _count(at, layer, (images[:1] - mean) / std))))


def _count(at: Look, layer: str, x: Array) -> int:
    """Give how many units a layer has for a prepared image (1, C, H, W)."""
    with no_grad():
        y = Reading("look", at.model, [layer])(as_tensor(x.astype(kind_of("look", at.model))))
    return y[layer].shape[1]


def _convolutions(at: Look, layer: str) -> list[str]:
    """Name the convolutions up to and in a layer; the layer itself where there are none."""
    modules = list(at.model.named_modules())
    own = [k for k, (name, _) in enumerate(modules) if f"{name}.".startswith(f"{layer}.")]
    found = [
        name
        for name, module in modules[: own[-1] + 1]
        if isinstance(module, Conv2d) and module.kernel_size != (1, 1)
    ]
    return found or [layer]


MADE: dict[str, Method] = {
    "filters": Method(_filters, "a layer's filters", image=Use.NO, layer=Use.MUST, target=Use.NO),
    "activations": Method(
        _activations, "a layer's maps of the picture", layer=Use.MUST, target=Use.NO
    ),
    "top-patches": Method(
        _patches,
        "the test images' patches that excite units most",
        image=Use.NO,
        layer=Use.MUST,
        units=True,
    ),
    "activation-maximization": Method(
        _maximisation,
        "images made to excite units, from a picture on if one is given",
        image=Use.MAY,
        layer=Use.MUST,
        units=True,
    ),
    "class-image": Method(
        _class_image, "images made for classes, from a picture on if one is given", image=Use.MAY
    ),
    "deep-dream": Method(
        _dream, "a picture changed until a layer answers", layer=Use.MUST, units=True, painted=True
    ),
    "style-transfer": Method(
        _style,
        "a picture in another's style (--style)",
        layer=Use.MAY,
        target=Use.NO,
        style=Use.MUST,
        painted=True,
    ),
    "embeddings-pca": Method(
        _pca, "test images as points", image=Use.NO, layer=Use.MAY, target=Use.NO
    ),
    "embeddings-tsne": Method(
        _tsne, "test images as points, near by near", image=Use.NO, layer=Use.MAY, target=Use.NO
    ),
}
"""These methods by name."""
