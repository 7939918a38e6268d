"""The way from a data set's images to a network's input, as a configuration asks for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from chainrule.data.dataset import ArrayDataset, Dataset, ImageData, Images
from chainrule.data.subsets import Subset
from chainrule.data.transforms import (
    CenterCrop,
    Compose,
    FiveCrop,
    Pad,
    RandomCrop,
    RandomResizedCrop,
    Resize,
    TenCrop,
    Transform,
    parse_transforms,
)
from chainrule.engine.op import Array
from chainrule.engine.random import Generator
from chainrule.errors import DataError

_CHUNK = 256
_ENOUGH = 10_000  # images from which means and deviations are learnt; more change no digit
VIEWS = ("center", "five", "ten")
"""How many views of an image a network is asked about: one, five crops, or those mirrored too."""


def readable(dataset: Dataset, numbers: Any, skip_bad: bool) -> tuple[Images, Array]:
    """Give the images and targets at these numbers; with `skip_bad` without those that are bad."""
    if not skip_bad:
        return dataset.__getitems__(np.asarray(numbers))
    images: list[Array] = []
    kept: list[int] = []
    for number in map(int, numbers):
        with contextlib.suppress(DataError):
            images.append(dataset.image(number))
            kept.append(number)
    if not kept:
        some = dataset.describe(int(numbers[0]))
        raise DataError(f"{dataset.name}: none of {len(numbers)} images can be read, as {some}")
    return images, dataset.targets[kept]


def training_transforms(
    texts: tuple[str, ...], data: ImageData, size: int, shift: int, skip_bad: bool = False
) -> Compose:
    """Give the transforms that were asked for, or what suits the images; fitted to them.

    Without texts, images that all fit into the network's `size` are enlarged a whole number of
    times, padded with black and moved by up to `shift` pixels; others are resized to 8/7 of the
    size and cut to it.  Means and deviations are those of the training images, of the first
    10,000 at an even stride.
    """
    pipeline = parse_transforms(list(texts) or _suitable(data, size, shift))
    count = len(data.train)
    stride = -(-count // _ENOUGH)

    def batches() -> Iterator[Images]:
        for begin in range(0, count, _CHUNK * stride):
            numbers = np.arange(begin, min(begin + _CHUNK * stride, count), stride)
            yield readable(data.train, numbers, skip_bad)[0]

    return pipeline.fit(batches, data.white)


def _suitable(data: ImageData, size: int, shift: int) -> list[str]:
    """Write the transforms for a set of which nothing was said."""
    move = [f"RandomCrop({size}, padding={shift})"] if shift else []
    if not isinstance(data.train, ArrayDataset) or max(data.train.images.shape[2:]) > size:
        return [f"Resize({round(size * 8 / 7)})", f"RandomCrop({size})", "Normalize()"]
    h, w = data.train.images.shape[2:]
    factor = max(1, size // max(h, w))
    steps = [f"ToFloat({data.white})"] if factor > 1 or data.white not in (255.0, 65535.0) else []
    if factor > 1:
        steps.append(f"Resize(({h * factor}, {w * factor}))")
    spare = [size - side * factor for side in (w, h)]
    if any(spare):
        left, top = (rest // 2 for rest in spare)
        steps.append(f"Pad(({left}, {top}, {spare[0] - left}, {spare[1] - top}))")
    return [*steps, *move, "Normalize()"]


def input_shape(
    pipeline: Transform, dataset: Dataset, skip_bad: bool = False
) -> tuple[int, int, int]:
    """Give the shape (C, H, W) in which a set's first image reaches the network."""
    first = readable(dataset, range(min(len(dataset), _CHUNK if skip_bad else 1)), skip_bad)[0][0]
    c, h, w = pipeline.eval()(first, Generator(0)).shape
    return c, h, w


def fixed_frame(dataset: Dataset) -> tuple[int, int] | None:
    """Give the height and width that all images of a set in memory have; None of others."""
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    if not isinstance(dataset, ArrayDataset):
        return None
    h, w = dataset.images.shape[2:]
    return h, w


def framed(image: Array, frame: tuple[int, int]) -> Array:
    """Bring a picture (C, H, W) to a set's frame: the largest middle part of its proportions.

    >>> framed(np.zeros((3, 40, 90), np.uint8), (32, 32)).shape
    (3, 32, 32)
    """
    (h, w), (_, height, width) = frame, image.shape
    scale = max(h / height, w / width)
    size = max(h, round(height * scale)), max(w, round(width * scale))
    resized = image if size == (height, width) else Resize(size)(image)
    return np.asarray(CenterCrop((h, w))(resized))


def with_views(pipeline: Compose, views: str) -> Compose:
    """Give the pipeline for use, in which the last crop becomes several: (N, V, C, h, w).

    Raises DataError where nothing is cropped, or for another word than those of `VIEWS`.

    >>> from chainrule.data.transforms import CenterCrop, Normalize
    >>> with_views(Compose([CenterCrop(24), Normalize()]), "ten")
    Compose([TenCrop(size=24), Normalize()])
    """
    if views not in VIEWS:
        raise DataError(f"views: expected one of {', '.join(VIEWS)}; got {views!r}")
    if views == "center":
        return pipeline.eval()
    several: Any = TenCrop if views == "ten" else FiveCrop
    members = list(pipeline.transforms)
    for place in reversed(range(len(members))):
        crop = members[place]
        before: list[Transform] = []
        if isinstance(crop, RandomCrop | CenterCrop) and crop.padding:
            before = [Pad(crop.padding, crop.fill, crop.padding_mode)]
        elif isinstance(crop, RandomResizedCrop):
            evaluated = crop.eval()
            before = [m for m in getattr(evaluated, "transforms", ()) if isinstance(m, Resize)]
        elif not isinstance(crop, RandomCrop | CenterCrop):
            continue
        parts = [*members[:place], *before, several(crop.size), *members[place + 1 :]]
        return Compose(tuple(part.eval() for part in parts))
    raise DataError(f"views: expected transforms with a crop; got {pipeline!r}")
