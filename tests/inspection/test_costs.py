"""What single operations cost, counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule.engine.op import OPS, Spec
from chainrule.inspection.costs import Window, multiply_adds, new_values, windows

FLOAT = np.dtype(np.float32)


def specs(*shapes: tuple[int, ...]) -> list[Spec]:
    return [Spec(shape, FLOAT) for shape in shapes]


def output(op: Any, inputs: list[Spec]) -> Spec:
    found: Spec = op.infer(*inputs)[0]
    return found


@pytest.mark.parametrize(
    ("op", "shapes", "count"),
    [
        # each of 6 x 8 x 9 results is a sum of 4 / 2 channels of a 3x2 window
        (OPS["Conv"](groups=2), [(5, 4, 10, 10), (6, 2, 3, 2)], 5 * (6 * 8 * 9) * (2 * 3 * 2)),
        # each of 4 x 5 x 5 values is multiplied with a 3x2 window of 6 filters
        (OPS["ConvTranspose"]((2, 2)), [(5, 4, 5, 5), (4, 6, 3, 2)], 5 * (4 * 5 * 5) * (6 * 3 * 2)),
        (OPS["Linear"](), [(5, 7), (3, 7)], 5 * 3 * 7),
        (OPS["Linear"](), [(5, 4, 7), (3, 7)], 5 * 4 * 3 * 7),
        (OPS["Matmul"](), [(2, 5, 7), (2, 7, 3)], 2 * 5 * 7 * 3),
        (OPS["ReLU"](), [(5, 4, 10, 10)], 0),
        (OPS["MaxPool"]((2, 2), (2, 2), (0, 0), (1, 1)), [(5, 4, 10, 10)], 0),
    ],
    ids=repr,
)
def test_multiply_adds(op: Any, shapes: list[tuple[int, ...]], count: int) -> None:
    inputs = specs(*shapes)
    assert multiply_adds(op, inputs, output(op, inputs)) == count


@pytest.mark.parametrize(
    ("op", "kept"),
    [
        (OPS["ReLU"](), 0),
        (OPS["Flatten"](1, 3), 0),
        (OPS["Permute"]((0, 2, 3, 1)), 0),
        (OPS["AvgPool"]((2, 2), (2, 2), (0, 0)), 2 * 3 * 5 * 4),
        (OPS["AdaptiveAvgPool"]((5, 4)), 2 * 3 * 5 * 4),
        (OPS["AdaptiveAvgPool"]((10, 8)), 0),  # every range is one value
        (OPS["AdaptiveMaxPool"]((10, 8)), 0),
        (OPS["AdaptiveMaxPool"]((10, 4)), 2 * 3 * 10 * 4),
    ],
    ids=repr,
)
def test_new_values(op: Any, kept: int) -> None:
    (x,) = specs((2, 3, 10, 8))
    assert new_values(op, x, output(op, [x])) == kept


@pytest.mark.parametrize(("size", "count"), [(6, 3), (7, 3), (5, 3), (5, 4), (11, 8), (3, 3)])
def test_an_adaptive_poolings_window_is_its_largest_range(size: int, count: int) -> None:
    (x,) = specs((1, 1, size, 2))
    op: Any = OPS["AdaptiveAvgPool"]((count, 2))
    found = windows(op, [x], output(op, [x]))
    assert found is not None
    # what each result sees, found by a gradient
    gy = np.eye(count)[:, None, :, None] * np.ones((1, 1, 1, 2))
    _, saved = op.forward(np, np.zeros((count, 1, size, 2)))
    (gx,) = op.backward(np, saved, gy, (True,))
    assert found[0].extent == (gx[:, 0, :, 0] != 0).sum(axis=1).max()
    assert found[1] == Window(1, 1)


def test_windows() -> None:
    x, w = specs((1, 4, 11, 10), (6, 4, 3, 2))
    op: Any = OPS["Conv"]((2, 3), ((1, 1), (0, 0)), (1, 2), 1)
    assert windows(op, [x, w], output(op, [x, w])) == (Window(3, 2, 0, 1), Window(3, 3, 1))
    whole: Any = OPS["AdaptiveAvgPool"]((1, 1))
    assert windows(whole, [x], output(whole, [x])) is None
    for size in (10, 11):  # two columns of eleven pooled by three, or one of ten
        pool: Any = OPS["MaxPool"]((3, 3), (3, 3), (0, 0), (1, 1))
        (y,) = specs((1, 4, 9, size))
        assert windows(pool, [y], output(pool, [y])) == (Window(3, 3, 0), Window(3, 3, size - 9))
