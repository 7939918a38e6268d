from __future__ import annotations

import errno
import struct
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.data import DataLoader
from chainrule.errors import DataError, ShapeError
from tests.data.pictures import WORKERS, Pictures, noise, numbers, plain


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize(
    ("error", "text"),
    [
        (DataError("folder/3.png: no picture"), r"^folder/3\.png: no picture$"),
        (DataError("torn"), r"^folder/3\.png: torn$"),
        (OSError(5, "I/O"), r"^folder/3\.png: OSError: .*I/O$"),
        (SyntaxError("broken PNG file"), r"^folder/3\.png: SyntaxError: broken PNG file$"),
        (struct.error("unpack requires"), r"^folder/3\.png: error: unpack requires$"),
        (EOFError(), r"^folder/3\.png: EOFError$"),
    ],
)
def test_a_bad_image_raises_with_its_name(error: Exception, text: str, workers: int) -> None:
    loader = DataLoader(Pictures(8, {3: error, 7: ValueError()}), 2, num_workers=workers)
    walk = iter(loader)
    assert next(walk)[1].tolist() == [0, 1]
    with pytest.raises(DataError, match=text):
        next(walk)
    assert list(walk) == []  # it is over


@pytest.mark.parametrize("workers", [0, 2])
def test_a_program_error_is_no_bad_image(workers: int) -> None:
    bad: dict[int, Exception] = {3: AttributeError("no such thing")}
    loader = DataLoader(Pictures(8, bad), 2, num_workers=workers, skip_bad=True)
    with pytest.raises(AttributeError, match="no such thing") as caught:
        list(loader)
    assert caught.traceback[-1].name == "image"  # the worker's own frames are in it


@pytest.mark.parametrize("workers", [0, 2])
def test_the_machines_troubles_are_no_bad_image(workers: int) -> None:
    outage = DataError("folder/3.png: cannot be opened")
    outage.__cause__ = OSError(errno.EMFILE, "Too many open files")
    loader = DataLoader(Pictures(8, {3: outage}), 2, num_workers=workers, skip_bad=True)
    with pytest.raises(DataError, match="cannot be opened"):
        list(loader)
    assert loader.skipped == []

    def starved(images: np.ndarray) -> np.ndarray:
        raise OSError(errno.ENOMEM, "no memory")

    loader = DataLoader(Pictures(8), 2, num_workers=workers, skip_bad=True, transform=starved)
    with pytest.raises(OSError, match="no memory"):
        list(loader)
    assert loader.skipped == []


@pytest.mark.parametrize("workers", WORKERS)
def test_bad_images_are_left_out_in_order(workers: int) -> None:
    bad: dict[int, Exception] = {k: DataError(f"image {k} is torn") for k in (1, 4, 5, 7)}
    loader = DataLoader(Pictures(9, bad), 2, num_workers=workers, skip_bad=True)
    for _ in range(2):
        assert numbers(loader) == [[0], [2, 3], [6], [8]]
    assert loader.skipped == [(f"folder/{k}.png", f"image {k} is torn") for k in (1, 4, 5, 7)]
    assert len(loader) == 5


def refuse_four(images: np.ndarray, generator: cr.Generator) -> np.ndarray:
    if (images == 4).any():
        raise ShapeError("crop: too small")
    return noise(images, generator)


@pytest.mark.parametrize("workers", [0, 3])
def test_a_transform_fails_on_an_image_with_its_name(workers: int) -> None:
    def loader(transform: Any, **options: Any) -> DataLoader:
        seeded = {"generator": cr.Generator(0), "num_workers": workers}
        return DataLoader(Pictures(9), 3, transform=transform, **seeded, **options)

    with pytest.raises(DataError, match=r"^folder/4\.png: crop: too small$"):
        list(loader(refuse_four))
    skipping = loader(refuse_four, skip_bad=True)
    without = [[0, 1, 2], [3, 5], [6, 7, 8]]  # draws as if the image had never been there
    assert plain(skipping) == plain(_noisy(without))
    assert skipping.skipped == [("folder/4.png", "crop: too small")]


def _noisy(batches: list[list[int]]) -> list[Any]:
    loader = DataLoader(
        Pictures(9), batch_sampler=batches, transform=noise, generator=cr.Generator(0)
    )
    return list(loader)


def test_a_transform_that_fails_on_no_image_alone_raises_as_it_is() -> None:
    def alone(images: np.ndarray) -> np.ndarray:
        if len(images) > 1:
            raise ShapeError("one image at a time")
        return images

    loader = DataLoader(Pictures(4), 2, transform=alone, skip_bad=True)
    with pytest.raises(ShapeError, match="one image at a time") as caught:
        list(loader)
    assert "folder/0.png to folder/1.png" in caught.value.__notes__[0]


def test_images_of_different_sizes_are_named_or_transformed() -> None:
    class Sizes(Pictures):
        def image(self, index: int) -> np.ndarray:
            return np.full((1, 2, 2 + (index == 1)), index, np.float32)

    pattern = r"folder/0\.png is \(1, 2, 2\), folder/1\.png is \(1, 2, 3\)"
    with pytest.raises(ShapeError, match=pattern):
        list(DataLoader(Sizes(3), 3))

    def cropped(images: Any, generator: cr.Generator) -> list[np.ndarray]:
        assert isinstance(images, list)
        return [image[:, :2, :2] for image in images]

    for workers in (0, 2):
        loader = DataLoader(Sizes(3), 3, transform=cropped, num_workers=workers)
        assert numbers(loader) == [[0, 1, 2]]


def test_where_nothing_is_left_it_says_so() -> None:
    bad: dict[int, Exception] = {k: DataError("torn") for k in range(4)}
    for workers in (0, 2):
        loader = DataLoader(Pictures(4, bad), 2, skip_bad=True, num_workers=workers)
        with pytest.raises(DataError, match=r"all were left out, folder/0\.png: torn"):
            list(loader)
