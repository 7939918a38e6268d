"""DeepDream: an image changed so that a layer sees more of what it sees already."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.random import Generator
from chainrule.engine.tensor import Tensor
from chainrule.errors import expect
from chainrule.inspection.canvas import (
    Diary,
    Picture,
    Preparation,
    Progress,
    drawn_shift,
    image_array,
    kind_of,
    resized,
    rolled,
    softened,
    stream,
)
from chainrule.inspection.given import counts, setting
from chainrule.inspection.maximisation import uphill
from chainrule.inspection.reading import Reading, unit_of
from chainrule.nn.module import Module


def deep_dream(
    model: Module,
    image: Any,
    layer: str,
    *,
    unit: int | None = None,
    octaves: int = 4,
    scale: float = 1.4,
    steps: int = 10,
    step_size: float = 0.006,
    jitter: int = 4,
    blur: float = 0.5,
    seed: int | Generator = 0,
    mean: Any = None,
    std: Any = None,
    progress: Progress | None = None,
) -> Picture:
    """Change an image until a layer answers strongly: ascent on half its mean square.

    By the squares, whatever already answers grows most; with `unit` one channel alone counts.  It
    begins on the image shrunk by `scale` for `octaves - 1` times, and what was painted there is
    enlarged and laid over the next larger one, so that shapes come in several sizes.  A step adds
    the gradient, scaled to a mean size of `step_size`; before each the image is shifted in circles
    by up to `jitter` pixels, so that the network's steps leave no pattern, and the gradient is
    softened by a Gaussian of `blur` pixels, without which first layers paint stripes of a pixel.

    The network runs only as far as the layer, so that one of small images dreams on large ones.
    Shapes: (C, H, W) from 0 to 1 -> the same, in `.image`; `history["score"]` has the objective
    before each step, octave after octave.

    Source: Mordvintsev, Olah and Tyka, "Inceptionism", 2015.  Raises DataError for a layer that is
    not there, LabelError for a unit that it does not have, ShapeError for an octave that is too
    small for the network and for settings out of range.

    >>> import chainrule as cr
    >>> photo = cr.rand(3, 40, 60, generator=cr.Generator(0)).numpy()
    >>> dream = deep_dream(cr.create_model("resnet20"), photo, "layer1", octaves=2, steps=3)
    >>> dream.image.shape, len(dream.history["score"])
    ((3, 40, 60), 6)
    """
    asked = "deep_dream"
    x = image_array(asked, image, kind_of(asked, model))
    several, count = counts(asked, octaves=octaves, steps=steps)
    setting(asked, 0.0, step_size=step_size, blur=blur, scale=scale)
    expect(scale > 1, asked, "a scale above 1 from octave to octave", scale=scale)
    generator, prepare = stream(asked, seed), Preparation(asked, len(x), mean, std, x.dtype)
    (reach,) = counts(asked, least=0, jitter=jitter)
    read = Reading(asked, model, [layer])

    def objective(prepared: Tensor) -> Tensor:
        y = read(prepared)[layer]
        return _half_square(y if unit is None else y[:, unit_of(asked, layer, y, unit)])

    diary = Diary(asked, several * count, progress)
    painted: Array = np.zeros_like(x)
    for size in _sizes(x.shape[1], x.shape[2], several, scale):
        base = np.clip(resized(x, *size), 0, 1)
        canvas = np.clip(base + resized(painted, *size), 0, 1)
        for _ in range(count):
            shift = drawn_shift(generator, reach)
            value, gradient = uphill(objective, prepare, rolled(canvas, shift))
            diary.note(score=value)
            step = step_size * _even(softened(rolled(gradient, [-s for s in shift]), blur))
            canvas = np.clip(canvas + step, 0, 1).astype(x.dtype)
        painted = canvas - base
    return Picture(canvas, diary.history)


def _half_square(y: Tensor) -> Tensor:
    """Give half the mean square, whose gradient is what is there already."""
    half: Tensor = 0.5 * (y * y).mean()
    return half


def _even(gradient: Array) -> Array:
    """Give a gradient of mean size 1; of 0 where it is 0."""
    size = float(np.abs(gradient).mean())
    even: Array = np.divide(gradient, size) if size > 0 else gradient
    return even


def _sizes(height: int, width: int, octaves: int, scale: float) -> list[tuple[int, int]]:
    """Give the octaves' sizes, the smallest first; the last is the image's own."""
    factors = [scale**-k for k in reversed(range(octaves))]
    return [(max(1, round(height * f)), max(1, round(width * f))) for f in factors]
