"""Pooling to one value for each part of an image: global and spatial pyramid pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule.engine.op import public
from chainrule.engine.tensor import Tensor, apply, apply_all, as_tensor
from chainrule.errors import failure
from chainrule.ops.arguments import int_tuple
from chainrule.ops.join import cat
from chainrule.ops.pool_average import AdaptiveAvgPool, AvgPool
from chainrule.ops.pool_max import AdaptiveMaxPool, MaxPool
from chainrule.ops.pool_windows import check_axes
from chainrule.ops.shape import flatten
from chainrule.ops.window import Sizes


def _spatial(name: str, x: Tensor) -> Sizes:
    if not 3 <= x.ndim <= 5:
        rule = "an input (N, C, L), (N, C, H, W) or (N, C, D, H, W)"
        raise failure(name, rule, hint="unsqueeze(0) makes a batch of one image", input=x)
    return x.shape[2:]


@public
def global_avg_pool(input: Tensor, keepdim: bool = True) -> Tensor:
    """Average each channel over all its positions: y[n, c] = mean of x[n, c].

    Caffe's pooling layer with `global_pooling`, Keras's GlobalAveragePooling.  gx = gy / positions.

    Shapes: (N, C, L), (N, C, H, W) or (N, C, D, H, W) -> (N, C, 1, ...), or (N, C) without
    `keepdim`; N may be 0.  Source: Lin, Chen and Yan, Network in network (2013).
    Raises ShapeError for other axes and empty images, KindError for integers.

    >>> import chainrule as cr
    >>> x = cr.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    >>> cr.nn.functional.global_avg_pool(x, keepdim=False)
    tensor([[3.0]])
    """
    x = as_tensor(input)
    sizes = _spatial("global_avg_pool", x)
    y = apply(AdaptiveAvgPool((1,) * len(sizes)), x)
    return y if keepdim else flatten(y, 1)


@public
def global_max_pool(input: Tensor, keepdim: bool = True, return_indices: bool = False) -> Any:
    """Keep each channel's largest value; its gradient goes to that position alone.

    Caffe's pooling layer with `global_pooling`, Keras's GlobalMaxPooling.  Of equal values the
    first in row order wins.  With `return_indices` the result is (y, indices), as for `max_pool2d`.

    Shapes: (N, C, L), (N, C, H, W) or (N, C, D, H, W) -> (N, C, 1, ...), or (N, C) without
    `keepdim`; N may be 0.  Raises ShapeError for other axes and empty images.

    >>> import chainrule as cr
    >>> x = cr.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    >>> cr.nn.functional.global_max_pool(x, keepdim=False)
    tensor([[6.0]])
    """
    x = as_tensor(input)
    sizes = _spatial("global_max_pool", x)
    zeros, ones = (0,) * len(sizes), (1,) * len(sizes)
    if not all(sizes):
        raise failure("global_max_pool", "images that are not empty", input=x)
    found = apply_all(MaxPool(sizes, sizes, zeros, ones, False, bool(return_indices)), x)
    found = found if keepdim else tuple([flatten(y, 1) for y in found])
    return found if return_indices else found[0]


def _bins(name: str, levels: Any) -> Sizes:
    """Give the number of parts along an axis on each level: 1, 2, 4, ... for a number of levels."""
    several = isinstance(levels, Sequence)
    given = int_tuple(levels, f"{name} levels")
    if not given or min(given) < 1:
        raise failure(name, "levels of at least 1", levels=levels)
    return given if several else tuple(2**i for i in range(given[0]))


def _padded(name: str, x: Tensor, d: int, parts: int, mode: str) -> Tensor:
    """Pool to `parts` equal windows of ceil(n / parts), with the missing rows on both sides."""
    kernel = tuple([-(-n // parts) for n in x.shape[-d:]])
    pads = tuple([(k * parts - n + 1) // 2 for n, k in zip(x.shape[-d:], kernel, strict=True)])
    for n, k, p in zip(x.shape[-d:], kernel, pads, strict=True):
        if p >= k:
            rule = f"padding below the window's size: {n} in {parts} windows of {k} needs {p}"
            raise failure(name, rule, hint="padded=False takes any size", input=x)
    once = (1,) * d
    return apply(
        MaxPool(kernel, kernel, pads, once) if mode == "max" else AvgPool(kernel, kernel, pads), x
    )


def _pyramid(d: int, input: Any, levels: Any, mode: str, padded: bool) -> Tensor:
    name = f"spatial_pyramid_pool{d}d"
    if mode not in ("max", "avg"):
        raise failure(name, "mode 'max' or 'avg'", mode=mode)
    x = as_tensor(input)
    check_axes(name, x, d)
    pooled = []
    for parts in _bins(name, levels):
        if padded:
            y = _padded(name, x, d, parts, mode)
        else:
            size = (parts,) * d
            y = apply(AdaptiveMaxPool(size) if mode == "max" else AdaptiveAvgPool(size), x)
        pooled.append(flatten(y, x.ndim - d - 1))
    return cat(pooled, -1)


@public
def spatial_pyramid_pool2d(
    input: Tensor, levels: Any, mode: str = "max", padded: bool = False
) -> Tensor:
    """Pool an image of any size to a row of fixed length: its levels' grids, one after the other.

    A level of b parts cuts each axis into b windows, window i of n rows holding rows
    floor(i*n/b) .. ceil((i+1)*n/b) - 1, and keeps each window's maximum (`mode` "max") or mean
    ("avg").  `levels` are the numbers of parts, as (1, 2, 4), or how many levels of 1, 2, 4, 8, ...
    parts there are.  A level's values stand by channel, then by row.

    Caffe's SPP layer with pyramid_height h is `levels=h`, and `padded=True` where the parts do not
    divide the size: it takes windows of ceil(n/b) rows side by side and pads the image with
    (b*ceil(n/b) - n + 1)//2 rows on each side, which count as zeros in the mean; small images it
    refuses, since such padding would fill a window.

    Shapes: (N, C, H, W) -> (N, C * sum of b^2), or without N; N may be 0.
    Source: He, Zhang, Ren and Sun, Spatial pyramid pooling in deep convolutional networks for
    visual recognition (2014).  Raises ShapeError for other axes, levels and modes.

    >>> import chainrule as cr
    >>> x = cr.arange(9.0).reshape(1, 3, 3)
    >>> cr.nn.functional.spatial_pyramid_pool2d(x, 2)
    tensor([8.0, 4.0, 5.0, 7.0, 8.0])
    """
    return _pyramid(2, input, levels, mode, padded)


@public
def spatial_pyramid_pool1d(
    input: Tensor, levels: Any, mode: str = "max", padded: bool = False
) -> Tensor:
    """Pool a sequence of any length to a row of fixed length; as `spatial_pyramid_pool2d`.

    Shapes: (N, C, L) -> (N, C * sum of b), or without N.

    >>> import chainrule as cr
    >>> cr.nn.functional.spatial_pyramid_pool1d(cr.tensor([[3.0, 5.0, 1.0]]), (1, 3), "avg")
    tensor([3.0, 3.0, 5.0, 1.0])
    """
    return _pyramid(1, input, levels, mode, padded)


@public
def spatial_pyramid_pool3d(
    input: Tensor, levels: Any, mode: str = "max", padded: bool = False
) -> Tensor:
    """Pool a volume of any size to a row of fixed length; as `spatial_pyramid_pool2d`.

    Shapes: (N, C, D, H, W) -> (N, C * sum of b^3), or without N.

    >>> import chainrule as cr
    >>> cr.nn.functional.spatial_pyramid_pool3d(cr.zeros(2, 4, 3, 5, 6), 3).shape
    (2, 292)
    """
    return _pyramid(3, input, levels, mode, padded)
