"""What attribution asks of a network: a value for each image, and its gradient by the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.engine.graph import grad
from chainrule.engine.op import Array
from chainrule.engine.state import enable_grad, no_grad
from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import DataError, GraphError, KindError, LabelError, expect, failure
from chainrule.inspection.given import real, text
from chainrule.inspection.layers import find_layer, watching
from chainrule.nn.module import Module

Target = int | Sequence[int] | Array | None


def as_images(asked: str, model: Module, images: Any) -> Array:
    """Give images (N, C, H, W) as an array of the model's dtype, checked.

    `asked` is the function in whose name errors speak.  Raises KindError for a model that is no
    Module and for images that are no tensor or array, ShapeError for other than four axes.
    """
    if not isinstance(model, Module):
        raise failure(asked, "a Module", error=KindError, model=type(model))
    x = as_tensor(images, f"{asked}: images").array
    expect(
        x.ndim == 4 and x.size > 0,
        asked,
        "images (N, C, H, W), at least one",
        hint="put a single image into a batch of one: image[None]",
        images=x,
    )
    kinds = [p.dtype for p in model.parameters() if p.dtype.kind == "f"]
    return x.astype(kinds[0] if kinds else np.float32, copy=False)


def output(asked: str, model: Module, x: Tensor, layer: str | None = None) -> Tensor:
    """Run the model and give its scores, or what a layer gives: (N, units, ...).

    Of several outputs the first counts, which is the main classifier's.
    """
    name = "" if layer is None else text(asked, "a layer's name", layer)
    find_layer(model, name)
    with watching(model, [name]) as seen:
        model(x)
    if name not in seen:
        raise DataError(f"{asked}: the layer {name!r} did not run when the model was called")
    found = seen[name]
    what = f"layer {name!r}" if name else "model"
    if not isinstance(found, Tensor) or found.ndim < 2 or len(found) != len(x):
        raise failure(
            asked, f"a {what} that gives (N, units, ...) for N = {len(x)} images", output=found
        )
    return found


def goals(asked: str, scores: Array, target: Target) -> Array:
    """Say which value of (N, units, ...) each image asks about: its place among them, (N,).

    `target` is a unit (a class, a channel) for all images or one for each; None is the one with
    the largest value.  Of a map of a unit's values it is the place of the largest.  Raises
    LabelError for a unit that is not there, ShapeError for another number of targets.
    """
    n, units = scores.shape[:2]
    best = scores.reshape(n, units, -1)
    places = best.argmax(axis=2)
    if target is None:
        chosen = np.take_along_axis(best, places[..., None], 2)[..., 0].argmax(axis=1)
    else:
        given = real(asked, "a target", target)
        if given.dtype.kind not in "iu":
            raise failure(asked, "a target that is a whole number", error=KindError, target=target)
        expect(given.shape in ((), (n,)), asked, f"one target, or {n}", target=given)
        bad = given[(given < 0) | (given >= units)]
        if bad.size:
            raise failure(
                asked, f"a target from 0 to {units - 1}", error=LabelError, target=int(bad[0])
            )
        chosen = np.broadcast_to(given, (n,))
    return np.asarray(chosen * best.shape[2] + places[np.arange(n), chosen])


def values_at(scores: Array, places: Array) -> Array:
    """Give the values (N,) that `goals` chose."""
    flat = scores.reshape(len(scores), -1)
    return np.take_along_axis(flat, places[:, None], 1)[:, 0]


def gradient(asked: str, scores: Tensor, places: Array, by: Tensor) -> Array:
    """Give the gradient of each image's chosen value by a tensor of the graph, in its shape.

    No parameter's `.grad` changes.
    """
    seed = np.zeros((len(scores), scores.array[0].size), scores.dtype)
    np.put_along_axis(seed, places[:, None], 1, 1)
    try:
        (found,) = grad(scores, by, Tensor(seed.reshape(scores.shape)))
    except GraphError as error:
        raise GraphError(f"{asked}: no gradient comes back from the scores: {error}") from error
    return np.asarray(found.array)


def input_gradient(
    asked: str, model: Module, x: Array, target: Target, layer: str | None = None
) -> Array:
    """Give the gradient of the targets' values by the images, (N, C, H, W)."""
    with enable_grad():
        pixels = Tensor(x, requires_grad=True)
        scores = output(asked, model, pixels, layer)
    return gradient(asked, scores, goals(asked, scores.array, target), pixels)


def plain_scores(asked: str, model: Module, x: Array) -> Array:
    """Give the scores alone."""
    with no_grad():
        return output(asked, model, Tensor(x)).array
