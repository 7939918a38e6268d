"""The network of an index: a run's, packed into the index without a word of where it came from."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.data.sources import FRAMES, SETS
from chainrule.engine.op import Array
from chainrule.engine.random import Generator
from chainrule.errors import ChainruleError, DataError
from chainrule.formats.safetensors import load_safetensors, save_safetensors
from chainrule.retrieval.embedding import Embedded, Embedder
from chainrule.training.folder import BEST, CONFIG, PIXELS, WEIGHTS, RunConfig, RunFolder
from chainrule.training.pipeline import framed
from chainrule.training.recipes import list_recipes
from chainrule.training.using import Member

MODEL = "model"
"""The folder of the network within an index: a run's, in small."""

_REMOVED = "images"  # stands for the path of the training data, which may name people


class RunNetwork:
    """A run's network, and the way from a picture to what it is searched by.

    >>> RunNetwork("runs/absent")
    Traceback (most recent call last):
    chainrule.errors.CheckpointError: runs/absent: no such folder
    """

    def __init__(
        self, run: str | os.PathLike[str], layer: str | None = None, best: bool = False
    ) -> None:
        self.member = Member.load(run, best=best)
        config = self.member.config
        if config.task == "regression":
            raise DataError(
                f"{run}: expected a network of classes, got one of a regression, whose images have "
                "no class to search by"
            )
        model, classes = self.member.model, config.classes
        self.embedder = Embedder(model, layer, classes=classes, task=config.task)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.member.config.classes

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape (C, H, W) of the images that the network gets."""
        return self.member.config.shape

    def prepare(self, picture: Array, own: bool = False) -> Array:
        """Bring a picture (C, H, W), as it was read, to the network's input (C, H, W).

        `own` says that it is of the network's own data set, and in its form.  Where the run's
        transforms keep a picture's proportions and crop nothing, the middle part that has the
        network's proportions is taken: all images of an index go through it together.
        """
        whole = own or self._fixes_size
        part = picture if whole else middle(picture, self.shape[1:])
        pixels = part[np.newaxis] if own else self.member.adapted(part)
        prepared: Array = np.asarray(self.member.transforms(pixels, Generator(0)))[0]
        if prepared.shape[1:] != self.shape[1:]:
            prepared = framed(prepared, self.shape[1:])
        return prepared

    @cached_property
    def _fixes_size(self) -> bool:
        """Whether a picture of other proportions comes to the network's size by itself."""
        c, h, w = self.shape
        config = self.member.config
        if config.frame is not None or FRAMES.get(config.train.data) is not None:
            return True
        other = np.zeros((1, c, h, 2 * w), np.uint8)
        try:
            size = np.shape(self.member.transforms(other, Generator(0)))[2:]
        except ChainruleError:  # a transform that is of one size alone
            return False
        return bool(size == (h, w))

    def plain(self, x: Array) -> Array:
        """Turn prepared images (..., C, H, W) back into pixels from 0 to 1."""
        mean, std = (part[:, np.newaxis, np.newaxis] for part in self.member.scale())
        return np.asarray(np.clip(x * std + mean, 0.0, 1.0))

    def __call__(self, images: Array) -> Embedded:
        """Give features and probabilities of prepared images (N, C, H, W)."""
        return self.embedder(images)


def middle(picture: Array, frame: tuple[int, int]) -> Array:
    """Take the largest middle part of a picture (C, H, W) with a frame's proportions, at its size.

    >>> middle(np.zeros((1, 40, 9000), np.uint8), (64, 64)).shape
    (1, 40, 40)
    """
    (h, w), (_, height, width) = frame, picture.shape
    high = max(1, min(height, round(width * h / w)))
    wide = max(1, min(width, round(height * w / h)))
    top, left = (height - high) // 2, (width - wide) // 2
    return picture[:, top : top + high, left : left + wide]


def packed(run: str | os.PathLike[str], best: bool = False) -> dict[str, bytes]:
    """Give the files of a run that its network needs, by their names within an index.

    Paths are left out: where the training data were, and what recipe outside the package was used.
    Raises CheckpointError for a run that cannot be read.
    """
    folder = RunFolder(run)
    config = folder.read_config()
    folder.load_model(best)  # so that a damaged one is refused now and in words
    files = {CONFIG: _without_paths(config).to_json().encode()}
    files[WEIGHTS] = _written(load_safetensors(folder.path / (BEST if best else WEIGHTS)))
    arrays = config.transforms.arrays()
    if arrays:
        files[PIXELS] = _written(arrays)
    return {f"{MODEL}/{name}": data for name, data in files.items()}


def _without_paths(config: RunConfig) -> RunConfig:
    train = config.train
    data = train.data if train.data in SETS else _REMOVED
    recipe = train.recipe if train.recipe in list_recipes() else ""
    return replace(config, train=replace(train, data=data, data_dir=None, recipe=recipe))


def _written(state: Mapping[str, Any]) -> bytes:
    """Give a file of tensors as bytes, without what else the run's file says."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / WEIGHTS
        save_safetensors(state, path)
        return path.read_bytes()
