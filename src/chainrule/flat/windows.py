"""Pooling, and images as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import failure
from chainrule.flat.arrays import back, check_same, floats, run
from chainrule.ops import window
from chainrule.ops.arguments import int_tuple, pair
from chainrule.ops.pool_max import MaxPool
from chainrule.ops.pool_windows import settings

Size = int | Sequence[int]


def _max_pool(name: str, size: Size, stride: Size) -> MaxPool:
    return MaxPool(*settings(name, 2, size, stride, 0, 1, False))


def _planes(name: str, x: Array) -> Array:
    """Give a bare image (H, W) its one channel."""
    if x.ndim not in (2, 3, 4):
        raise failure(name, "x (H, W), (C, H, W) or (N, C, H, W)", x=x)
    return x[None] if x.ndim == 2 else x


def maxpool(x: Any, size: Size, stride: Size) -> Array:
    """Keep the largest value of each size x size window, one every `stride`; deck 004.

    x is (H, W), (C, H, W) or (N, C, H, W); H becomes floor((H - size)/stride) + 1: rows and columns
    at the end that no window reaches are dropped.  Size and stride are numbers or (height, width).
    Raises ShapeError with the arithmetic where no window fits.

    >>> from chainrule import flat
    >>> flat.maxpool([[3, 2, 3, 1], [0, 5, 3, 4], [1, 2, 2, 2], [7, 3, 1, 7]], 2, 2)
    array([[5., 4.],
           [7., 7.]])
    """
    (x,) = floats("maxpool", x=x)
    (y,) = run(_max_pool("maxpool", size, stride), _planes("maxpool", x))
    return y[0] if x.ndim == 2 else y


def maxpool_back(dLdy: Any, x: Any, size: Size, stride: Size, y: Any = None) -> Array:
    """Gradient of `maxpool`: each dLdy goes to the winner of its window, of equals to the first.

    The output `y` is not needed, but its shape is checked if it comes.

    >>> from chainrule import flat
    >>> flat.maxpool_back([[10.0]], [[1.0, 3.0], [2.0, 3.0]], 2, 2)
    array([[ 0., 10.],
           [ 0.,  0.]])
    """
    name = "maxpool_back"
    gy, x = floats(name, dLdy=dLdy, x=x)
    planes, op = _planes(name, x), _max_pool(name, size, stride)
    single = x.ndim == 2
    shape = run(op, planes)[0].shape[single:]
    check_same(name, "y", y, shape)
    check_same(name, "dLdy", gy, shape)
    (dx,) = back(name, op, gy[None] if single else gy, planes)
    return np.asarray(dx[0] if single else dx)


def im2col(x: Any, size: Size, stride: Size = 1, padding: Size = 0, dilation: Size = 1) -> Array:
    """Write every window as a column: (C, H, W) -> (C*kh*kw, windows); decks 000 and 004.

    (H, W) -> (kh*kw, windows), (N, C, H, W) -> (N, C*kh*kw, windows).  Windows and entries come row
    by row; Matlab's order, column by column, is that of the transposed image.  `size` is a number
    or (height, width).  Raises ShapeError with the arithmetic where no window fits.

    >>> from chainrule import flat
    >>> flat.im2col([[3, 2, 3], [0, 5, 3]], 2)
    array([[3., 2.],
           [2., 3.],
           [0., 5.],
           [5., 3.]])
    """
    (x,) = floats("im2col", x=x)
    if x.ndim not in (2, 3, 4):
        raise failure("im2col", "x (H, W), (C, H, W) or (N, C, H, W)", x=x)
    return window.im2col(x, *_window("im2col", size, stride, padding, dilation))


def col2im(
    columns: Any,
    shape: Sequence[int],
    size: Size,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
) -> Array:
    """Add columns back to where `im2col` took them: its gradient; overlaps add up.

    `shape` is the image's, (H, W), (C, H, W) or (N, C, H, W).  Raises ShapeError for columns of
    another image.

    >>> import numpy as np
    >>> from chainrule import flat
    >>> flat.col2im(np.ones((4, 2)), (2, 3), 2)
    array([[1., 2., 1.],
           [1., 2., 1.]])
    """
    (columns,) = floats("col2im", columns=columns)
    sizes = int_tuple(shape, "col2im", "the image's shape")
    if len(sizes) not in (2, 3, 4):
        raise failure("col2im", "a shape (H, W), (C, H, W) or (N, C, H, W)", shape=sizes)
    return window.col2im(columns, sizes, *_window("col2im", size, stride, padding, dilation))


def _window(name: str, size: Size, stride: Size, padding: Size, dilation: Size) -> Any:
    """Give the settings as pairs; refuse those that mean nothing."""
    named = {"size": size, "stride": stride, "padding": padding, "dilation": dilation}
    pairs = {what: pair(value, f"{name} {what}") for what, value in named.items()}
    for what, values in pairs.items():
        least = 0 if what == "padding" else 1
        if min(values) < least:
            raise failure(name, f"{what} of at least {least}", given=values)
    return pairs.values()
