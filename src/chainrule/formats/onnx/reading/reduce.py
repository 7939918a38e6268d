"""Sums, means, extremes over axes; running sums; order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from chainrule.engine.tensor import Tensor
from chainrule.formats.onnx.reading.table import Node, axes_of, axis_of, number, reads
from chainrule.ops.accumulate import cumsum, logsumexp, prod
from chainrule.ops.cast import cast
from chainrule.ops.compare import all as every
from chainrule.ops.compare import any as some
from chainrule.ops.cumulate import cumprod
from chainrule.ops.elementwise import div, mul, sub
from chainrule.ops.extrema import amax, amin, argmax, argmin
from chainrule.ops.join import cat
from chainrule.ops.permute import flip
from chainrule.ops.reduce import mean
from chainrule.ops.reduce import sum as total
from chainrule.ops.rounding import abs as absolute
from chainrule.ops.slicing import narrow
from chainrule.ops.sort import sort
from chainrule.ops.unary import log, sqrt

Over = Callable[[Tensor, tuple[int, ...], bool], Tensor]


def _sum(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return cast(total(x, axes, keep), x.dtype)


def _mean(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    if x.dtype.kind == "f":
        return mean(x, axes, keep)
    count = int(np.prod([x.shape[axis] for axis in axes]))
    return cast(div(total(x, axes, keep), count, rounding_mode="trunc"), x.dtype)


def _extreme(largest: bool, x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    if x.dtype.kind == "b":
        return (some if largest else every)(x, axes, keep)
    if 0 in [x.shape[axis] for axis in axes]:  # the extreme of nothing
        if x.dtype.kind == "f":
            value = -np.inf if largest else np.inf
        else:
            bounds = np.iinfo(x.dtype)
            value = bounds.min if largest else bounds.max
        shape = [
            1 if i in axes else size for i, size in enumerate(x.shape) if keep or i not in axes
        ]
        return Tensor(np.full(shape, value, x.dtype))
    return (amax if largest else amin)(x, axes, keep)


def _prod(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = cast(prod(x, axis, keep), x.dtype)
    return x


def _l1(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return _sum(absolute(x), axes, keep)


def _square_sum(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return _sum(mul(x, x), axes, keep)


def _l2(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return cast(sqrt(_square_sum(x, axes, keep)), x.dtype)


def _log_sum(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return cast(log(_sum(x, axes, keep)), x.dtype)


def _log_sum_exp(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    if 0 in [x.shape[axis] for axis in axes]:
        return log(_sum(x, axes, keep))
    return cast(logsumexp(x, axes, keep), x.dtype)


def _reduce(over: Over, n: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Reduce over the axes; all of them where none are given, unless the node says none."""
    found = axes_of(n, axes, x.ndim)
    if not found:
        if n.flag("noop_with_empty_axes"):
            return _alone(over, x)
        found = list(range(x.ndim))
    return over(x, tuple(found), n.flag("keepdims", 1))


def _alone(over: Over, x: Tensor) -> Tensor:
    """Reduce over no axis: each value is a sum, norm, ... of its own."""
    return over(x.unsqueeze(0), (0,), False)


for _name, _over, _since in (
    ("ReduceSum", _sum, "1 11 13"),
    ("ReduceMean", _mean, "1 11 13 18"),
    ("ReduceMax", partial(_extreme, True), "1 11 12 13 18 20"),
    ("ReduceMin", partial(_extreme, False), "1 11 12 13 18 20"),
    ("ReduceProd", _prod, "1 11 13 18"),
    ("ReduceL1", _l1, "1 11 13 18"),
    ("ReduceL2", _l2, "1 11 13 18"),
    ("ReduceSumSquare", _square_sum, "1 11 13 18"),
    ("ReduceLogSum", _log_sum, "1 11 13 18 28"),
    ("ReduceLogSumExp", _log_sum_exp, "1 11 13 18 28"),
):
    reads(_name, since=_since, settings=(1,))(partial(_reduce, _over))


def _arg(function: Callable[..., Tensor], n: Node, x: Tensor) -> Tensor:
    """Tell where an extreme stands; of equal ones the first, or on demand the last."""
    axis, keep = axis_of(n, n.get("axis"), x.ndim), n.flag("keepdims", 1)
    if not n.flag("select_last_index"):
        return function(x, axis, keep)
    return sub(x.shape[axis] - 1, function(flip(x, (axis,)), axis, keep))


for _name, _function in (("ArgMax", argmax), ("ArgMin", argmin)):
    reads(_name, since="1 11 12 13")(partial(_arg, _function))


def _running(
    function: Callable[..., Tensor], neutral: int, n: Node, x: Tensor, axis: Tensor
) -> Tensor:
    """Accumulate along an axis, from the end on demand, with or without the value itself."""
    along = axis_of(n, int(number(axis)), x.ndim)
    back = n.flag("reverse")
    y = flip(x, (along,)) if back else x
    y = cast(function(y, along), x.dtype)
    if n.flag("exclusive"):
        shape = [1 if i == along else size for i, size in enumerate(x.shape)]
        first = Tensor(np.full(shape, neutral, x.dtype))
        y = cat((first, narrow(y, along, 0, x.shape[along] - 1)), along)
    return flip(y, (along,)) if back else y


reads("CumSum", since="11 14", settings=(1,))(partial(_running, cumsum, 0))
reads("CumProd", since="26", settings=(1,))(partial(_running, cumprod, 1))


@reads("TopK", since="1 10 11 24", settings=(1,))
def _topk(n: Node, x: Tensor, k: Tensor | None = None) -> tuple[Tensor, ...]:
    """Give the k largest or smallest values along an axis in order, and where they stand."""
    axis = axis_of(n, n.get("axis"), x.ndim)
    count = n.get("k") if k is None else int(number(k))
    values, places = sort(x, axis, n.flag("largest", 1), True)
    return narrow(values, axis, 0, count), narrow(places, axis, 0, count)
