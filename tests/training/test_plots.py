from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from chainrule.training import Row
from chainrule.training.plots import confusion_png, curves_png

pytest.importorskip("matplotlib", reason="plots are in the demo extra")


def decoded(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def rows(n: int) -> list[Row]:
    return [Row(k, 0.1, 1 / k, 1 - 0.5 / k, 1.2 / k, 1 - 0.6 / k) for k in range(1, n + 1)]


@pytest.mark.parametrize("n", [1, 2, 30])
def test_curves_are_drawn_the_same_each_time(n: int) -> None:
    png = curves_png(rows(n), "title")
    assert png == curves_png(rows(n), "title")
    picture = decoded(png)
    assert picture.shape[1] > picture.shape[0] > 300
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


@pytest.mark.parametrize("classes", [2, 10, 40])
def test_confusion_follows_the_counts(classes: int) -> None:
    names = [f"class {k}" for k in range(classes)]
    right = decoded(confusion_png(np.eye(classes, dtype=int) * 5, names))
    wrong = decoded(confusion_png(np.eye(classes, dtype=int)[::-1] * 5, names, "title"))
    empty = decoded(confusion_png(np.zeros((classes, classes), int), names))
    assert not np.array_equal(right[: len(wrong)], wrong[: len(right)])
    assert (empty > 200).mean() > (right > 200).mean()
