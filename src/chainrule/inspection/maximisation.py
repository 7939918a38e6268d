"""The image that excites a unit most, or that a class would look like, by gradient ascent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.graph import grad
from chainrule.engine.op import Array
from chainrule.engine.random import Generator
from chainrule.engine.state import inference_mode
from chainrule.engine.tensor import Tensor
from chainrule.errors import ShapeError, expect
from chainrule.inspection.canvas import (
    Diary,
    Picture,
    Preparation,
    Progress,
    drawn_shift,
    image_array,
    image_size,
    kind_of,
    noise,
    rolled,
    softened,
    stream,
)
from chainrule.inspection.given import counts, setting
from chainrule.inspection.reading import Reading, activation_of, place_of, unit_of
from chainrule.nn.module import Module

Objective = Callable[[Tensor], Tensor]
"""What is to become large, of prepared images (1, C, H, W)."""


def uphill(objective: Objective, prepare: Preparation, x: Array) -> tuple[float, Array]:
    """Give an objective at an image (C, H, W) and its gradient by the image's values.

    Nothing else gets a gradient.  Where the objective does not depend on the image, it is 0.
    """
    canvas = Tensor(x[None], requires_grad=True)
    with inference_mode(False):  # a graph is wanted whatever the caller has switched off
        value = objective(prepare(canvas))
    if not value.requires_grad:
        return float(value.item()), np.zeros_like(x)
    (gradient,) = grad(value, canvas, allow_unused=True)
    found = np.zeros_like(x) if gradient is None else gradient.array[0]
    return float(value.item()), found


def activation_maximization(
    model: Module,
    layer: str,
    unit: int,
    size: Any,
    *,
    position: Any = None,
    steps: int = 128,
    step_size: float = 0.02,
    l2: float = 0.0,
    decay: float = 0.0,
    blur: float = 0.0,
    blur_every: int = 4,
    jitter: int = 0,
    start: Any = None,
    seed: int | Generator = 0,
    mean: Any = None,
    std: Any = None,
    progress: Progress | None = None,
) -> Picture:
    """Make the image that excites a unit: the channel's mean over its map, or one `position`.

    The image begins near the neutral colour (the mean, or mid-grey without one) with a little
    noise from `seed`, or as `start`.  Each step adds the gradient of

        score = activation - l2 * sum of squares of (image - neutral) / std,

    scaled to a root mean square of `step_size`, and keeps values from 0 to 1.  What keeps the image
    from noise that no photo has:

    - `jitter`: the image is shifted in circles by up to so many pixels before each gradient;
    - `decay`: this part of the way to the neutral colour is gone back after each step;
    - `blur`: a Gaussian of so many pixels over the image, after every `blur_every`-th step.

    Step, decay and blur fall to 0 on the way, linearly.
    `layer` is a dotted name, "" the model itself; `size` is (C, H, W).  `history["score"]` has the
    score before each step and at the end, without jitter in the last alone.

    Sources: Erhan et al., 2009; Yosinski et al., 2015 (decay, blur); Mordvintsev, 2015 (jitter).
    Raises DataError for a layer that is not there, LabelError for a unit or position that it does
    not have, ShapeError for a layer without channels, a size that the network cannot read, and
    settings out of range.

    >>> import chainrule as cr
    >>> made = activation_maximization(cr.create_model("lenet5"), "conv1", 3, (1, 32, 32), steps=8)
    >>> made.image.shape, made.history["score"][-1] > made.history["score"][0]
    ((1, 32, 32), True)
    """
    asked = "activation_maximization"
    kind, shape = kind_of(asked, model), image_size(asked, size)
    forces = Forces(asked, steps, step_size, decay, blur, blur_every, jitter)
    setting(asked, 0.0, l2=l2)
    generator, prepare = stream(asked, seed), Preparation(asked, shape[0], mean, std, kind)
    x = noise(prepare, shape, 0.02, generator) if start is None else image_array(asked, start, kind)
    expect(x.shape == shape, asked, f"a start of the size {shape}", error=ShapeError, start=x)
    score = _Score(Reading(asked, model, [layer]), layer, unit, position)
    origin = prepare(prepare.neutral).array

    def objective(prepared: Tensor) -> Tensor:
        value = score(prepared)
        return value if l2 == 0 else value - l2 * ((prepared - origin) ** 2).sum()

    diary = Diary(asked, steps + 1, progress)
    return Picture(forces.climb(objective, prepare, x, generator, diary), diary.history)


def class_image(
    model: Module,
    label: int,
    size: Any,
    *,
    steps: int = 128,
    step_size: float = 0.02,
    l2: float = 1e-3,
    blur: float = 0.5,
    jitter: int = 4,
    start: Any = None,
    seed: int | Generator = 0,
    mean: Any = None,
    std: Any = None,
    progress: Progress | None = None,
) -> Picture:
    """Make the image that a class looks like to the network: its score minus l2 * |image|^2.

    The score is the model's output number `label`, before any softmax, which could also grow by
    pressing the other classes; |image| counts from the mean, in the network's own numbers.  See
    `activation_maximization` for the settings and errors; `size` must be one whose scores the
    network can give.  Source: Simonyan, Vedaldi and Zisserman, 2013, section 2.

    >>> import chainrule as cr
    >>> made = class_image(cr.create_model("lenet5"), 7, (1, 32, 32), steps=8)
    >>> made.history["score"][-1] > made.history["score"][0]
    True
    """
    return activation_maximization(
        model,
        "",
        label,
        size,
        steps=steps,
        step_size=step_size,
        l2=l2,
        blur=blur,
        jitter=jitter,
        start=start,
        seed=seed,
        mean=mean,
        std=std,
        progress=progress,
    )


@dataclass(frozen=True)
class Forces:
    """What moves an image in each step; see `activation_maximization`, in whose name they are."""

    asked: str
    steps: int
    step_size: float
    decay: float
    blur: float
    blur_every: int
    jitter: int

    def __post_init__(self) -> None:
        counts(self.asked, steps=self.steps, blur_every=self.blur_every)
        counts(self.asked, least=0, jitter=self.jitter)
        setting(self.asked, 0.0, step_size=self.step_size, blur=self.blur)
        setting(self.asked, 0.0, 1.0, decay=self.decay)

    def climb(
        self,
        objective: Objective,
        prepare: Preparation,
        x: Array,
        generator: Generator,
        diary: Diary,
    ) -> Array:
        """Give the image (C, H, W) at the end."""
        neutral = prepare.neutral[0]
        for k in range(self.steps):
            shift = drawn_shift(generator, self.jitter)
            value, gradient = uphill(objective, prepare, rolled(x, shift))
            diary.note(score=value)
            left = 1 - k / self.steps  # all cease together, or the weaker would win at the end
            x = x + left * self.step_size * _scaled(rolled(gradient, [-s for s in shift]))
            x = x + left * self.decay * (neutral - x)
            if (k + 1) % self.blur_every == 0 and k + 1 < self.steps:
                x = softened(x, left * self.blur)
            x = np.clip(x, 0, 1).astype(neutral.dtype)
        diary.note(score=uphill(objective, prepare, x)[0])
        return x


@dataclass
class _Score:
    """A unit's activation; the unit is checked where the layer's output is first seen."""

    read: Reading
    layer: str
    unit: int
    position: Any

    def __call__(self, prepared: Tensor) -> Tensor:
        y = self.read(prepared)[self.layer]
        unit = unit_of(self.read.asked, self.layer, y, self.unit)
        place = place_of(self.read.asked, self.layer, y, self.position)
        return activation_of(y, unit, place)


def _scaled(gradient: Array) -> Array:
    """Give a gradient with a root mean square of 1; of 0 where it is 0."""
    size = float(np.sqrt(np.mean(np.square(gradient, dtype=np.float64))))
    return gradient / size if size > 0 else gradient
