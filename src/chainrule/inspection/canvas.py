"""Images into a network and out of it: checked, prepared, shifted, softened, resized."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.engine.op import Array, DType
from chainrule.engine.random import Generator
from chainrule.engine.state import no_grad
from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import AnomalyError, DataError, KindError, failure
from chainrule.inspection.given import real
from chainrule.nn import functional as F
from chainrule.nn.module import Module
from chainrule.ops.arguments import int_tuple

Progress = Callable[[int, int, Mapping[str, float]], None]
"""Told of each step: which (from 1), of how many (0 where unknown), and the numbers of it."""


@dataclass(frozen=True)
class Picture:
    """An image that a network made: (C, H, W) from 0 to 1, and each step's numbers by name."""

    image: Array
    history: dict[str, list[float]] = field(repr=False)


class Diary:
    """Keeps the numbers of each step, and tells whoever wants to see how far it is.

    Raises AnomalyError at the first number that is not finite: no image can come of it.
    """

    def __init__(self, asked: str, steps: int, progress: Progress | None) -> None:
        self.asked, self.steps, self.progress = asked, steps, progress
        self.done = 0
        self.history: dict[str, list[float]] = {}

    def note(self, **numbers: float) -> None:
        """Write down one step."""
        self.done += 1
        for name, value in numbers.items():
            if not math.isfinite(value):
                raise AnomalyError(
                    f"{self.asked}: {name} is {value} in step {self.done}; are the network's "
                    "weights finite, and the steps small enough?"
                )
            self.history.setdefault(name, []).append(float(value))
        if self.progress is not None:
            self.progress(self.done, self.steps, numbers)


class Preparation:
    """What stands between an image from 0 to 1 and the network: (x - mean) / std of a channel.

    `neutral` is the image value that becomes 0: the mean, or mid-grey where nothing is prepared.
    Raises ShapeError unless both have one number for each channel, and std is positive.
    """

    def __init__(self, asked: str, channels: int, mean: Any, std: Any, dtype: DType) -> None:
        self.mean = _numbers(asked, "mean", mean, 0.0, channels, dtype)
        self.std = _numbers(asked, "std", std, 1.0, channels, dtype)
        if not (self.std > 0).all():
            raise failure(asked, "a positive std for each channel", std=self.std.ravel().tolist())
        self.padding = self.mean  # what is 0 for the network: so it sees the border's outside
        self.neutral = self.mean if mean is not None else np.full_like(self.mean, 0.5)

    def __call__(self, x: Any) -> Tensor:
        """Give images (N, C, H, W) as the network wants them."""
        prepared: Tensor = (as_tensor(x) - self.mean) / self.std
        return prepared


def _numbers(asked: str, name: str, given: Any, default: float, n: int, dtype: DType) -> Array:
    """Give one number a channel, (1, C, 1, 1)."""
    values = real(asked, name, [default] * n if given is None else given).astype(dtype)
    rule = f"{name} with a finite number for each of {n} channels"
    if values.shape != (n,) or not np.isfinite(values).all():
        raise failure(asked, rule, **{name: given})
    return values.reshape(1, n, 1, 1)


def kind_of(asked: str, model: Any) -> DType:
    """Give the kind of floats that a model computes with; KindError for what is no Module."""
    if not isinstance(model, Module):
        raise failure(asked, "a Module", error=KindError, model=type(model))
    kinds = [p.dtype for p in model.parameters() if p.dtype.kind == "f"]
    return kinds[0] if kinds else np.dtype(np.float32)


def image_array(asked: str, image: Any, dtype: DType) -> Array:
    """Give a copy of one image (C, H, W), from 0 to 1.

    Raises ShapeError for other axes, KindError for whole numbers, DataError for other values.
    """
    array = real(asked, "an image", image)
    if array.ndim != 3 or 0 in array.shape:
        hint = "image.transpose(2, 0, 1) brings the channels to the front"
        hint = hint if array.ndim == 3 else "images[0] is the first of a batch"
        raise failure(asked, "one image (C, H, W)", hint=hint, image=array)
    if array.dtype.kind != "f":
        hint = "divide by the value of white, 255 for bytes"
        raise failure(asked, "an image of floats", error=KindError, hint=hint, image=array)
    if not (array.min() >= 0 and array.max() <= 1):  # NaN too
        raise DataError(
            f"{asked}: expected an image with values from 0 to 1, got {array.min():.4g} to "
            f"{array.max():.4g}; pass it unprepared, and mean= and std= beside it"
        )
    return array.astype(dtype)


def image_size(asked: str, size: Any) -> tuple[int, int, int]:
    """Give the size of an image to be made as (C, H, W); ShapeError for any other."""
    given = int_tuple(size, f"{asked} size", bare=False)
    if len(given) != 3 or min(given) < 1:
        raise failure(asked, "a size (C, H, W) of positive numbers", size=size)
    return given[0], given[1], given[2]


def stream(asked: str, seed: Any) -> Generator:
    """Give the generator that all randomness comes from: one that is handed in, or a new one."""
    if isinstance(seed, Generator):
        return seed
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise failure(asked, "a seed that is an integer or a Generator", error=KindError, seed=seed)
    return Generator(int(seed))


def noise(
    prepare: Preparation, shape: tuple[int, ...], amount: float, generator: Generator
) -> Array:
    """Give an image (C, H, W) of the neutral colour with normal noise of so much."""
    drawn = generator.normal(shape, prepare.mean.dtype, 0.0, amount)
    image: Array = np.clip(prepare.neutral[0] + drawn, 0, 1)
    return image


def length_of(asked: str, batches: Any) -> int:
    """Give how many batches there are; 0 where a walk does not know, KindError for no walk."""
    if not isinstance(batches, Iterable) or (isinstance(batches, np.ndarray) and not batches.ndim):
        raise failure(asked, "batches to walk over", error=KindError, batches=batches)
    return len(batches) if isinstance(batches, Sized) else 0


def rolled(x: Array, shift: Sequence[int]) -> Array:
    """Shift images in circles, by (down, right)."""
    moved: Array = np.roll(x, tuple(shift), axis=(-2, -1))
    return moved


def drawn_shift(generator: Generator, jitter: int) -> tuple[int, int]:
    """Draw how far to shift, each way by up to `jitter` pixels."""
    if not jitter:
        return 0, 0
    down, right = generator.integers(-jitter, jitter + 1, (2,)).tolist()
    return down, right


def softened(x: Array, sigma: float) -> Array:
    """Blur images (..., H, W) by a Gaussian of so many pixels; the border is repeated.

    >>> softened(np.array([[[0.0, 0.0, 1.0, 0.0, 0.0]]]), 0.5).round(2).tolist()
    [[[0.0, 0.11, 0.79, 0.11, 0.0]]]
    """
    if sigma == 0:
        return x
    reach = max(1, math.ceil(3 * sigma))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    taps = (taps / taps.sum()).astype(x.dtype)
    for axis in (-2, -1):
        n = x.shape[axis]
        places = np.arange(n)
        parts = [
            tap * np.take(x, np.clip(places + offset, 0, n - 1), axis=axis)
            for offset, tap in zip(range(-reach, reach + 1), taps, strict=True)
        ]
        x = np.sum(parts, axis=0, dtype=x.dtype)
    return x


def resized(x: Array, height: int, width: int) -> Array:
    """Resample an image (C, H, W) by Keys's cubic kernel, without aliases where it shrinks."""
    if x.shape[-2:] == (height, width):
        return x.copy()
    with no_grad():
        y = F.interpolate(as_tensor(x[None]), (height, width), mode="bicubic", antialias=True)
    return np.ascontiguousarray(y.array[0])
