"""Images of any kind, as the estimator is given them, one by one: arrays, files, data sets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from chainrule.data.dataset import Dataset, ImageData
from chainrule.data.pictures import shown
from chainrule.data.sources import FRAMES
from chainrule.engine.op import Array
from chainrule.errors import ChainruleError, DataError, KindError, expect, failure
from chainrule.retrieval.asking import frame_of
from chainrule.retrieval.items import Reading, folder_items, pictures
from chainrule.retrieval.network import RunNetwork

Skipped = list[tuple[str, str]]
"""Files of a folder that were left out, each with its reason."""


class Given(NamedTuple):
    """An image: pixels, its file and class where they are known; `own` as `Picture` has it."""

    pixels: Array
    path: str | None = None
    label: str | None = None
    own: bool = False


def reading_of(network: RunNetwork | None) -> Reading:
    """Say how files are read: as the run's network wants them, or as they are.

    >>> reading_of(None).mode is None
    True
    """
    return Reading(mode=None if network is None else network.member.mode)


def each(images: Any, network: RunNetwork | None, skipped: Skipped) -> Iterator[Given]:
    """Walk over images: a folder or file, a data set, or many of what `one` takes one of.

    What cannot be read of a folder is added to `skipped`; of single images it ends the walk.
    Raises DataError, which says which one, and KindError for what holds no images.

    >>> [given.pixels.shape for given in each(np.zeros((2, 1, 4, 4)), None, [])]
    [(1, 4, 4), (1, 4, 4)]
    """
    if isinstance(images, ImageData):
        rule = "one part of the data set, as .train or .test"
        raise failure("Retriever", rule, error=KindError, images=type(images))
    if isinstance(images, str | os.PathLike):
        yield from _folder(images, network, skipped)
    elif isinstance(images, Dataset):
        yield from _data(images, network)
    else:
        yield from _many(images, network)


def one(image: Any, network: RunNetwork | None) -> tuple[Given, tuple[str, ...]]:
    """Give one image, and what is to be said of the choice: of several frames the middle one.

    It is a path, a file's bytes, or pixels (C, H, W), (H, W), (1, C, H, W).

    >>> one(np.zeros((1, 3, 4, 4)), None)[0].pixels.shape
    (3, 4, 4)
    """
    if isinstance(image, str | os.PathLike | bytes):
        try:
            picture, notes = frame_of(image, reading_of(network), None)
        except ChainruleError as error:
            raise _named(error, image) from error
        return Given(picture.pixels, _path(image)), notes
    pixels = np.asarray(image)
    if pixels.ndim == 4:
        if len(pixels) != 1:
            raise failure("query", "one image; kneighbors takes several", image=pixels)
        pixels = pixels[0]
    return Given(_checked(pixels, network)), ()


def _folder(
    place: str | os.PathLike[str], network: RunNetwork | None, skipped: Skipped
) -> Iterator[Given]:
    names = () if network is None else network.classes
    items, _ = folder_items(place, names, reading_of(network))
    for item in items:
        try:
            for picture in item.read():
                yield Given(picture.pixels, item.where, item.label)
        except DataError as error:
            if not os.path.isdir(place):
                raise _named(error, place) from error
            skipped.append((item.where, _reason(error)))


def _data(data: Dataset, network: RunNetwork | None) -> Iterator[Given]:
    names = data.classes if data.task == "classification" else None
    own = network is not None and _of_its_set(network, data)
    for number in range(len(data)):
        label = None if names is None else names[int(data.targets[number])]
        yield Given(np.asarray(data.image(number)), None, label, own)


def _of_its_set(network: RunNetwork, data: Dataset) -> bool:
    """Tell whether a data set has the form of the network's own, as far as it can be seen.

    Digits from outside are brought into the frame of the set; those of the set are in it.
    """
    frame = FRAMES.get(network.member.config.train.data)
    if frame is None or tuple(data.classes) != network.classes or not len(data):
        return False
    return data.image(0).shape == (1, frame.size, frame.size)


def _many(images: Any, network: RunNetwork | None) -> Iterator[Given]:
    try:
        walk = iter(images)
    except TypeError as error:
        rule = "images (N, C, H, W), a folder, paths, or a data set"
        raise failure("Retriever", rule, error=KindError, images=type(images)) from error
    for number, image in enumerate(walk):
        if not isinstance(image, str | os.PathLike | bytes):
            yield Given(_checked(np.asarray(image), network))
            continue
        try:
            for picture in pictures(image, reading_of(network)):
                yield Given(picture.pixels, _path(image))
        except ChainruleError as error:
            raise _named(error, image, f"image {number}, ") from error


def _checked(pixels: Array, network: RunNetwork | None) -> Array:
    """Give an image (C, H, W), for a run in a form that pictures have."""
    if network is not None:
        return frame_of(pixels, reading_of(network), None)[0].pixels
    if pixels.ndim not in (2, 3) or pixels.dtype.kind not in "biuf":
        raise failure("Retriever", "images (C, H, W) of numbers", error=KindError, image=pixels)
    return pixels[np.newaxis] if pixels.ndim == 2 else pixels


def _path(source: str | os.PathLike[str] | bytes) -> str | None:
    return None if isinstance(source, bytes) else os.path.realpath(source)


def _reason(error: ChainruleError) -> str:
    return str(error).removeprefix("the file: ")


def _named(error: ChainruleError, source: Any, before: str = "") -> DataError:
    """Say which file it was: the caller named it, and may read its name."""
    return DataError(f"{before}{shown(source)}: {_reason(error)}")


def listed(name: str, values: Any) -> list[Any]:
    """Give labels or groups (N,) as a list of plain values; KindError for what is no such thing.

    >>> listed("groups", np.array([3, 4]))
    [3, 4]
    """
    plain = values.tolist() if hasattr(values, "tolist") else values
    try:
        found = list(plain)
        for value in found:
            hash(value)
    except TypeError as error:
        raise failure(
            "fit", f"{name} (N,), one for each image", error=KindError, given=values
        ) from error
    return found


def stacked(images: list[Array]) -> Array:
    """Put images of one shape into a batch; DataError where they differ.

    >>> stacked([np.zeros((1, 2, 2))] * 3).shape
    (3, 1, 2, 2)
    """
    shapes = sorted({image.shape for image in images})
    rule = "images that are of one shape when the network gets them"
    expect(len(shapes) == 1, "Retriever", rule, error=DataError, shapes=shapes)
    return np.stack(images)
