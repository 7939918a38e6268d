"""A data set of few pixels, some of which cannot be read, and changes by chance."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

import chainrule as cr
from chainrule.data.dataset import Dataset

WORKERS = (0, 1, 4, 8)


class Pictures(Dataset):
    """Images that hold their number; some cannot be read."""

    def __init__(self, n: int, bad: dict[int, Exception] | None = None, side: int = 2) -> None:
        super().__init__(np.arange(n) % 3, "abc", name="pictures")
        self.bad, self.side = bad or {}, side

    def image(self, index: int) -> np.ndarray:
        if index in self.bad:
            raise self.bad[index]
        return np.full((1, self.side, self.side), index, np.float32)

    def describe(self, index: int) -> str:
        return f"folder/{index}.png"


def noise(images: np.ndarray, generator: cr.Generator) -> np.ndarray:
    """Draw for every image, and once for the batch."""
    drawn = generator.uniform(images.shape, np.dtype(np.float32), 0.0, 1.0)
    return images + drawn + generator.uniform((), np.dtype(np.float32), 0.0, 1.0)


def mixed(images: Any, targets: Any, classes: int, generator: cr.Generator) -> tuple[Any, Any]:
    share = generator.uniform((len(images), 1, 1, 1), np.dtype(np.float32), 0.0, 1.0)
    soft = np.eye(classes, dtype=np.float32)[targets]
    part = share.reshape(-1, 1)
    return share * images + (1 - share) * images[::-1], part * soft + (1 - part) * soft[::-1]


def plain(batches: Iterable[Any]) -> list[Any]:
    return [(images.tolist(), targets.tolist()) for images, targets in batches]


def numbers(batches: Iterable[Any]) -> list[list[int]]:
    return [images[:, 0, 0, 0].astype(int).tolist() for images, _ in batches]
