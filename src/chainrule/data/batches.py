"""One batch: its images read, those that are bad named or left out, transformed and joined."""

from __future__ import annotations

import errno
import inspect
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.data.dataset import Dataset
from chainrule.data.transforms.base import stacked
from chainrule.engine.op import Array
from chainrule.engine.random import Generator
from chainrule.errors import ChainruleError, DataError, KindError, ShapeError, failure

FAULTS = (ChainruleError, OSError, ValueError, EOFError, SyntaxError, struct.error, zlib.error)
"""What a damaged file makes readers raise; any other error is one of the program."""

OUTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Too many open files and no memory: the machine's troubles, which no image is blamed for."""

EMPTY = object()
"""What stands for a batch of which no image is left."""

Skipped = tuple[str, str]
"""An image that was left out: where it comes from, and why."""


@dataclass
class Part:
    """Some images of a batch as they were read; with a `collate_fn`, samples of any kind."""

    numbers: Array
    images: Any
    targets: Any
    skipped: list[Skipped] = field(default_factory=list)

    def without(self, places: Sequence[int], skipped: list[Skipped]) -> Part:
        """Give the part without the images at some places."""
        keep = [place for place in range(len(self.numbers)) if place not in set(places)]
        images = [self.images[place] for place in keep]
        return Part(self.numbers[keep], images, self.targets[keep], self.skipped + skipped)


@dataclass(frozen=True)
class Assembler:
    """Makes batches of a data set; called by several threads at once.

    `transform` and `mix` are those of the loader, `number` the walk's, from which each batch's
    own stream comes: so the same batch comes out whoever makes it, and when.
    """

    dataset: Any
    transform: Callable[..., Any] | None = None
    mix: Callable[..., Any] | None = None
    collate_fn: Callable[[list[Any]], Any] | None = None
    skip_bad: bool = False
    number: int = 0

    def read(self, numbers: Array) -> Part:
        """Read images and targets; raises DataError that names the first one that is bad."""
        try:
            return Part(numbers, *self._fetch(numbers))
        except FAULTS as error:
            return self._read_singly(numbers, error)

    def _fetch(self, numbers: Array) -> tuple[Any, Any]:
        if self.collate_fn is None and isinstance(self.dataset, Dataset):
            return self.dataset.__getitems__(numbers)
        return self._joined([self._sample(number) for number in numbers.tolist()])

    def _sample(self, number: int) -> Any:
        try:
            return self.dataset[number]
        except FAULTS:
            raise
        except Exception as error:
            error.add_note(f"while reading {self.where(number)}")
            raise

    def _joined(self, samples: list[Any]) -> tuple[Any, Any]:
        if self.collate_fn is not None:
            return samples, np.zeros(len(samples))
        for sample in samples:
            if not isinstance(sample, tuple | list) or len(sample) != 2:
                hint = "give a collate_fn, which joins samples of any kind"
                rule = "samples (image, target)"
                raise failure("DataLoader", rule, error=KindError, hint=hint, sample=type(sample))
        return [np.asarray(image) for image, _ in samples], np.asarray([y for _, y in samples])

    def _read_singly(self, numbers: Array, cause: Exception) -> Part:
        """Read one by one, to find which are bad."""
        samples, kept, skipped = [], [], []
        for place, number in enumerate(numbers.tolist()):
            try:
                samples.append(self._sample(number))
                kept.append(place)
            except FAULTS as error:
                skipped.append(self._left_out(number, error))
        if not skipped:  # each alone is well: it is the set's way of reading several that is not
            raise cause
        return Part(numbers[kept], *self._joined(samples), skipped)

    def _left_out(self, number: int, error: Exception) -> Skipped:
        """Say what is left out and why; without `skip_bad` raise the DataError that says it."""
        if is_outage(error):
            raise error
        where, text = self.where(number), str(error) or type(error).__name__
        if not isinstance(error, ChainruleError) and str(error):
            text = f"{type(error).__name__}: {text}"
        if not self.skip_bad:
            if isinstance(error, DataError) and where in text:
                raise error
            raise DataError(f"{where}: {text}") from error
        return where, text.removeprefix(f"{where}: ")

    def where(self, number: int) -> str:
        """Say where an image comes from."""
        if hasattr(self.dataset, "describe"):
            return str(self.dataset.describe(number))
        return f"{type(self.dataset).__name__}, image {number}"

    def finish(self, part: Part, batch: int) -> tuple[Any, list[Skipped]]:
        """Make what is yielded of batch number `batch`, EMPTY if no image is left of it."""
        if not len(part.numbers):
            return EMPTY, part.skipped
        if self.collate_fn is not None:
            return self.collate_fn(part.images), part.skipped
        if self.transform is None and self.mix is None:
            return (self._stacked(part, part.images), part.targets), part.skipped
        stream = Generator(self.number, path=(batch,))
        images = part.images
        if self.transform is not None:
            try:
                images = self.transform(same_sizes(images), stream)
            except FAULTS as error:
                return self.finish(self._without_bad(part, batch, error), batch)
        images, targets = self._stacked(part, images), part.targets
        if self.mix is not None:
            images, targets = self.mix(images, targets, self.dataset.num_classes, stream)
        return (images, targets), part.skipped

    def _without_bad(self, part: Part, batch: int, cause: Exception) -> Part:
        """Leave out the images on which the transform fails alone, or raise for the first."""
        places, skipped = [], []
        for place, number in enumerate(part.numbers.tolist()):
            image = part.images[place]
            try:
                assert self.transform is not None
                self.transform(same_sizes([image]), Generator(self.number, path=(batch,)))
            except FAULTS as error:
                places.append(place)
                skipped.append(self._left_out(number, error))
        if not places:
            first, last = (self.where(int(part.numbers[end])) for end in (0, -1))
            cause.add_note(f"while transforming a batch of {len(part.numbers)}: {first} to {last}")
            raise cause
        return part.without(places, skipped)

    def _stacked(self, part: Part, images: Any) -> Array:
        """Join the images; an error names two that do not fit together."""
        try:
            return stacked(images)
        except ShapeError as error:
            for number, image in zip(part.numbers.tolist(), images, strict=True):
                if image.shape != images[0].shape:
                    first = f"{self.where(int(part.numbers[0]))} is {images[0].shape}"
                    other = f"{self.where(number)} is {image.shape}"
                    raise ShapeError(f"{error}; {first}, {other}") from error
            raise


def joined_parts(parts: Sequence[Part]) -> Part:
    """Join the parts of one batch, in order."""
    if len(parts) == 1:
        return parts[0]
    full = [part for part in parts if len(part.numbers)] or list(parts[:1])
    arrays = all(isinstance(part.images, np.ndarray) for part in full)
    return Part(
        np.concatenate([part.numbers for part in full]),
        np.concatenate([part.images for part in full])
        if arrays and len({part.images.shape[1:] for part in full}) == 1
        else [image for part in full for image in part.images],
        np.concatenate([part.targets for part in full]),
        [entry for part in parts for entry in part.skipped],
    )


def same_sizes(images: Any) -> Any:
    """Give images of one size and type as one array, others as the list that they are."""
    if isinstance(images, list) and len({(i.shape, i.dtype) for i in images}) == 1:
        return np.stack(images)
    return images


def is_outage(error: BaseException) -> bool:
    """Tell whether the machine's trouble, not a file's, is behind an error.

    >>> is_outage(OSError(errno.EMFILE, "Too many open files")), is_outage(OSError("truncated"))
    (True, False)
    """
    return any(isinstance(e, OSError) and e.errno in OUTAGES for e in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def with_generator(
    transform: Callable[..., Any] | None,
) -> tuple[Callable[..., Any] | None, bool]:
    """Give a transform that takes (images, generator), and whether it uses the generator.

    Transforms of the images alone are called without one.
    """
    if transform is None:
        return None, False
    try:
        parameters = list(inspect.signature(transform).parameters.values())
    except (TypeError, ValueError):  # written in C: its arguments are not known
        parameters = []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    second = [p for p in parameters if p.kind in kinds][1:2]
    takes = any(p.name == "generator" or p.default is p.empty for p in second)
    if takes or any(p.kind == inspect.Parameter.VAR_POSITIONAL for p in parameters):
        return transform, True
    return lambda images, generator: transform(images), False
