"""Windows there and back: a number is read by those windows that hold it, and by no others."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.inspection.circuits import circuit_of
from chainrule.inspection.circuits.places import (
    conv_pairs,
    conv_readers,
    pool_readers,
    pool_window,
)

X = np.arange(2 * 4 * 7 * 9, dtype=np.float32).reshape(2, 4, 7, 9)


def gate(function: Any) -> Any:
    return circuit_of(cr.capture(function, cr.tensor(X))).end.gate


POOLS = {
    "dilated": lambda x: cr.max_pool2d(x, (2, 3), (1, 2), (1, 1), (3, 2)),
    "beyond": lambda x: cr.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    "apart": lambda x: cr.max_pool2d(x, 2, 3),
    "average": lambda x: cr.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
    "adaptive": lambda x: cr.adaptive_avg_pool2d(x, (3, 4)),
}


@pytest.mark.parametrize("name", POOLS)
def test_readers_of_a_pooling_are_the_windows_that_hold_a_number(name: str) -> None:
    made = gate(POOLS[name])
    readers: dict[Any, list[Any]] = defaultdict(list)
    for out in np.ndindex(*made.shapes[0]):
        for place in pool_window(made.op, X.shape, out).places.tolist():
            readers[tuple(place)].append(out)
    for place in np.ndindex(*X.shape):
        found = [tuple(each) for each in pool_readers(made.op, X.shape, place).tolist()]
        assert sorted(found) == sorted(readers[place])


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), ((2, 3), 2, 2)])
@pytest.mark.parametrize("groups", [1, 2])
def test_readers_of_a_convolution(stride: Any, padding: int, dilation: int, groups: int) -> None:
    w = cr.randn(6, 4 // groups, 3, 2)
    made = gate(lambda x: cr.conv2d(x, w, None, stride, padding, dilation, groups))
    shape = made.shapes[0]
    readers: dict[Any, list[Any]] = defaultdict(list)
    for out in np.ndindex(*shape):
        found = conv_pairs(made.op, X.shape, w.shape, out)
        for place, weight in zip(found.left.tolist(), found.right.tolist(), strict=True):
            readers[tuple(place)].append((out, tuple(weight)))
    for place in np.ndindex(*X.shape):
        found = conv_readers(made.op, shape, w.shape, place)
        outs = [tuple(each) for each in found.left.tolist()]
        weights = [tuple(each) for each in found.right.tolist()]
        assert sorted(zip(outs, weights, strict=True)) == sorted(readers[place])
