"""Settings in which every registered transform is tested, and images to test it on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.data.transforms import TRANSFORMS, Transform, parse_transform

Shape = tuple[int, ...]
KINDS = (np.uint8, np.uint16, np.float32, np.float64)
AXES = "((0.6, 0.64, 0.48), (0.8, -0.48, -0.36), (0.0, 0.6, -0.8))"


def same(c: int, h: int, w: int) -> Shape:
    return c, h, w


def to(*size: int) -> Callable[[int, int, int], Shape]:
    return lambda c, h, w: (c, *size)


def short(side: int) -> Callable[[int, int, int], Shape]:
    return lambda c, h, w: (c, side, side * w // h) if h <= w else (c, side * h // w, side)


@dataclass(frozen=True)
class Case:
    """A transform's text and what must come of it."""

    text: str
    shape: Callable[[int, int, int], Shape] | None = same  # None: drawn for each image
    least: int = 1  # the smallest side that it takes
    channels: tuple[int, ...] = (1, 2, 3, 5)
    floats: bool = False  # float32 comes out, of any range
    bounded: bool = True  # floats between 0 and 1 stay there
    fits: bool = False  # must be fitted before it runs
    chance: bool = True  # two seeds differ

    @property
    def name(self) -> str:
        return self.text.partition("(")[0]

    def made(self, images: Any) -> Transform:
        """The transform, ready to run on these images."""
        made = parse_transform(self.text)
        return made.fit(lambda: iter([images])) if self.fits else made


CASES = [
    Case("Identity()", chance=False),
    Case("Compose([])", chance=False),
    Case("Compose([RandomHorizontalFlip(), RandomCrop(2, padding=1)])", to(2, 2)),
    Case("Resize(5)", short(5), chance=False),
    Case("Resize((4, 7), 'bicubic')", to(4, 7), bounded=False, chance=False),
    Case("Resize((3, 6), 'nearest')", to(3, 6), chance=False),
    Case("Resize((6, 2), 'nearest-exact')", to(6, 2), chance=False),
    Case("Resize((6, 3), antialias=False)", to(6, 3), chance=False),
    Case("Resize((2, 70))", to(2, 70), chance=False),
    Case("RandomResize(3, 9)", None),
    Case("RandomResize(4, 6, 'nearest', eval_size=4)", None),
    Case("CenterCrop((2, 3))", to(2, 3), least=3, chance=False),
    Case("CenterCrop(5, pad_if_needed=True)", to(5, 5), chance=False),
    Case("RandomCrop(3)", to(3, 3), least=3),
    Case("RandomCrop((2, 3), padding=2, padding_mode='reflect')", to(2, 3)),
    Case("RandomCrop(9, pad_if_needed=True, fill=1)", to(9, 9)),
    Case("RandomResizedCrop((5, 4))", to(5, 4)),
    Case("RandomResizedCrop(6, (0.1, 0.3), (0.2, 5.0), 'nearest')", to(6, 6)),
    Case("Pad(2)", lambda c, h, w: (c, h + 4, w + 4), chance=False),
    Case("Pad((1, 0, 2, 3), 1)", lambda c, h, w: (c, h + 3, w + 3), chance=False),
    Case("Pad((3, 2), padding_mode='edge')", lambda c, h, w: (c, h + 4, w + 6), chance=False),
    Case("Pad(3, padding_mode='symmetric')", lambda c, h, w: (c, h + 6, w + 6), chance=False),
    Case("RandomHorizontalFlip()"),
    Case("RandomVerticalFlip(0.3)"),
    Case("RandomRotation(40, fill=1)"),
    Case("RandomRotation((-10.5, 90), 'bilinear', center=(3, 1))"),
    Case("RandomAffine(20, (0.2, 0.1), (0.7, 1.3), 15, 'bilinear')"),
    Case("RandomAffine((0, 0), (0.5, 0.5))"),
    Case("RandomAffine(0, shear=(-5, 20, -10, 10))"),
    Case("ColorJitter(0.4, 0.4, 0.4, 0.2)", channels=(1, 3)),
    Case("ColorJitter(brightness=(0.2, 3.0), contrast=0.9)"),
    Case("Grayscale()", lambda c, h, w: (1, h, w), channels=(1, 3), chance=False),
    Case("Grayscale(3)", lambda c, h, w: (3, h, w), channels=(1, 3), chance=False),
    Case("RandomGrayscale(0.5)", channels=(1, 3)),
    Case("Lighting()", bounded=False, fits=True),
    Case(f"Lighting(0.2, (0.2, 0.02, 0.01), {AXES})", channels=(3,), bounded=False),
    Case("GaussianBlur(3)"),
    Case("GaussianBlur((5, 1), 0.8)", chance=False),
    Case("RandomErasing()"),
    Case("RandomErasing(1, (0.1, 0.9), (0.5, 2), 1)"),
    Case("RandomErasing(1.0, value='random')", bounded=False),
    Case("RandomApply([RandomErasing(1, value=1), RandomVerticalFlip()], 0.5)"),
    Case("ToFloat()", floats=True, chance=False),
    Case("Normalize(0.5, 0.25)", floats=True, chance=False),
    Case("Normalize()", floats=True, fits=True, chance=False),
    Case("PerPixelMean()", floats=True, fits=True, chance=False),
    Case("FiveCrop((3, 2))", lambda c, h, w: (5, c, 3, 2), least=3, chance=False),
    Case("TenCrop(2, vertical_flip=True)", lambda c, h, w: (10, c, 2, 2), 2, chance=False),
]

MISSING = set(TRANSFORMS) - {case.name for case in CASES}


def pictures(shape: Shape, kind: Any, seed: int = 0) -> Any:
    """Random pixels over the whole range of a type."""
    rng = np.random.default_rng(seed)
    if np.dtype(kind).kind == "f":
        return rng.random(shape).astype(kind)
    return rng.integers(0, np.iinfo(kind).max + 1, shape).astype(kind)
