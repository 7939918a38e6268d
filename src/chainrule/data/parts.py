"""From what is found to training, validation and test: parts as they are, or shared out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.data.dataset import Dataset, ImageData
from chainrule.data.splits import split
from chainrule.data.subsets import Subset
from chainrule.errors import DataError

PARTS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""The names under which the parts of a set are found, in small letters."""


def image_data(
    name: str,
    parts: Mapping[str, Dataset],
    white: float,
    notes: Sequence[str] = (),
    *,
    test: float = 0.2,
    validation: float = 0.0,
    seed: int = 0,
    groups: Any = None,
) -> ImageData:
    """Complete the parts that were found under "train", "validation" and "test".

    Where there is no test part, the validation part is what is measured on, as with ImageNet, and
    a note says so; where neither is there, the fraction `test` of the training part becomes it.
    Where there is no validation part, the fraction `validation` of the training part does.  See
    `split` for how; `groups` are those of the training part.  Raises DataError for a set without
    training images, and for fractions that leave none.

    >>> from chainrule.data import load_digits
    >>> found = image_data("digits", {"train": load_digits().train}, 16.0, test=0.5)
    >>> len(found.train), len(found.test)
    (719, 719)
    """
    found, said = dict(parts), list(notes)
    train = found.get("train")
    if train is None or not len(train):
        raise DataError(f"{name}: expected training images, found none")
    if "test" not in found and "validation" in found:
        found["test"] = found.pop("validation")
        said.append("there is no test part: the validation part is measured on")
    wanted = {
        "validation": validation if "validation" not in found else 0.0,
        "test": test if "test" not in found else 0.0,
    }
    rest = 1.0 - sum(wanted.values())
    if any(not 0.0 <= share < 1.0 for share in wanted.values()) or rest <= 0.0:
        raise DataError(
            f"{name}: expected fractions of at least 0 that leave something to train on, got "
            f"validation {validation} and test {test}"
        )
    if "test" not in found and not test:
        raise DataError(f"{name}: expected images to measure on; ask for a fraction `test` above 0")
    cut = {"train": rest, **{part: share for part, share in wanted.items() if share > 0.0}}
    if len(cut) > 1:
        try:
            numbers = split(train.targets, list(cut.values()), seed, groups, train.task)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        for part, chosen in zip(cut, numbers, strict=True):
            found[part] = Subset(train, chosen)
    said += _unlearnt(found)
    return ImageData(
        name,
        found["train"],
        found["test"],
        train.classes,
        white,
        tuple(said),
        found.get("validation"),
    )


def _unlearnt(parts: Mapping[str, Dataset]) -> list[str]:
    """Tell of classes that are measured and never trained on."""
    train = parts["train"]
    if train.task != "classification":
        return []
    learnt = np.bincount(train.targets, minlength=train.num_classes) > 0
    notes = []
    for part in ("validation", "test"):
        if part in parts:
            there = np.bincount(parts[part].targets, minlength=train.num_classes) > 0
            missing = [train.classes[number] for number in np.flatnonzero(there & ~learnt)]
            if missing:
                some = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
                notes.append(f"no training image of {some}, which the {part} part has")
    return notes
