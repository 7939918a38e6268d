"""Normalisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chainrule.engine.tensor import Tensor
from chainrule.errors import DataError
from chainrule.formats.onnx.reading.table import Node, axis_of, need_floating, reads
from chainrule.nn import functional as F
from chainrule.ops.cast import cast
from chainrule.ops.elementwise import add, div, mul, sub
from chainrule.ops.permute import flip
from chainrule.ops.reduce import mean
from chainrule.ops.reduce import sum as total
from chainrule.ops.rounding import abs as absolute
from chainrule.ops.select import where
from chainrule.ops.shape import reshape
from chainrule.ops.unary import reciprocal, sqrt


def _spatial(n: Node) -> str | None:
    if not n.flag("spatial", 1):
        return "statistics of each place (spatial=0)"
    return None


@reads("BatchNormalization", since="7 9 14 15", statistics=(3, 4), check=_spatial)
def _batch_norm(n: Node, x: Tensor, *rest: Tensor) -> Any:
    """Normalise channels by the running statistics, or the batch's while the module trains."""
    if not n.flag("training_mode"):
        return normalise(F.batch_norm, n, x, *rest)
    return _by_the_batch(n, x, *rest)


def normalise(
    function: Callable[..., Tensor], n: Node, x: Tensor, w: Tensor, b: Tensor, *rest: Tensor
) -> Tensor:
    """Run `function`, batch_norm or one with its arguments, as the module's mode says."""
    need_floating(n, x)
    average, variance = rest
    kept = len(n.constant) > 4 and n.constant[3] and n.constant[4]
    training = n.training and kept
    if w.dtype != x.dtype or average.dtype != x.dtype:  # opset 15 lets them differ
        y = normalise(
            function, n, *(cast(value, average.dtype) for value in (x, w, b)), average, variance
        )
        return cast(y, x.dtype)
    momentum = 1 - n.get("momentum")
    return function(x, average, variance, w, b, training, round(momentum, 9), n.get("epsilon"))


def _by_the_batch(
    n: Node, x: Tensor, w: Tensor, b: Tensor, average: Tensor, variance: Tensor
) -> tuple[Tensor, ...]:
    """Normalise as a file in training mode asks, which wants the moved statistics as results."""
    if len(n.constant) > 4 and n.constant[3] and n.constant[4] and not any(n.wanted[1:]):
        return (normalise(F.batch_norm, n, x, w, b, average, variance),)
    axes = (0, *range(2, x.ndim))
    own = mean(x, axes, keepdim=True)
    spread = mean((x - own) ** 2, axes, keepdim=True)
    shape = (-1, *(1,) * (x.ndim - 2))
    y = (x - own) / sqrt(add(spread, n.get("epsilon"))) * reshape(w, shape) + reshape(b, shape)
    keep = n.get("momentum")
    moved = [
        add(mul(old, keep), mul(reshape(new, (-1,)), 1 - keep)).detach()
        for old, new in ((average, own), (variance, spread))
    ]
    return y, moved[0], moved[1]


@reads("InstanceNormalization", since="6 22")
def _instance_norm(n: Node, x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Normalise each channel of each image."""
    need_floating(n, x)
    return F.instance_norm(x, None, None, w, b, True, 0.1, n.get("epsilon"))


@reads("LayerNormalization", since="17")
def _layer_norm(n: Node, x: Tensor, w: Tensor, b: Tensor | None = None) -> Any:
    """Normalise over the axes from the given one on."""
    need_floating(n, x)
    axis, eps = axis_of(n, n.get("axis"), x.ndim), n.get("epsilon")
    shape = x.shape[axis:]
    if w.shape == shape and (b is None or b.shape == shape):
        y = F.layer_norm(x, shape, w, b, eps)
    else:
        y = mul(F.layer_norm(x, shape, None, None, eps), w)
        y = y if b is None else add(y, b)
    if not any(n.wanted[1:]):
        return y
    axes = tuple(range(axis, x.ndim))
    average = mean(x, axes, keepdim=True)
    spread = mean((x - average) ** 2, axes, keepdim=True)
    return y, average, reciprocal(sqrt(add(spread, eps)))


@reads("RMSNormalization", since="23")
def _rms_norm(n: Node, x: Tensor, w: Tensor) -> Tensor:
    """Divide by the root of the mean square over the axes from the given one on."""
    need_floating(n, x)
    shape = x.shape[axis_of(n, n.get("axis"), x.ndim) :]
    if w.shape == shape:
        return F.rms_norm(x, shape, w, n.get("epsilon"))
    return mul(F.rms_norm(x, shape, None, n.get("epsilon")), w)


@reads("GroupNormalization", since="18 21")
def _group_norm(n: Node, x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Normalise groups of channels; before opset 21 weights are of groups."""
    need_floating(n, x)
    groups, eps = n.get("num_groups"), n.get("epsilon")
    if n.version < 21:
        per = x.shape[1] // groups
        w, b = (reshape(value.unsqueeze(1).expand((-1, per)), (-1,)) for value in (w, b))
    return F.group_norm(x, groups, w, b, eps)


@reads("LRN", since="1 13")
def _lrn(n: Node, x: Tensor) -> Tensor:
    """Divide by a power of the mean square of neighbouring channels."""
    need_floating(n, x)
    settings = n.get("size"), n.get("alpha"), n.get("beta"), n.get("bias")
    even = settings[0] % 2 == 0  # of an even window ONNX has the longer part behind, we before
    y = flip(x, (1,)) if even else x
    y = y if y.ndim > 2 else y.unsqueeze(2)
    y = F.local_response_norm(y, *settings)
    y = reshape(y, x.shape)
    return flip(y, (1,)) if even else y


@reads("MeanVarianceNormalization", since="9 13")
def _mean_variance(n: Node, x: Tensor) -> Tensor:
    """Give mean 0 and variance 1 over the axes."""
    need_floating(n, x)
    axes = tuple(axis_of(n, axis, x.ndim) for axis in n.get("axes"))
    centred = sub(x, mean(x, axes, keepdim=True))
    spread = mean(mul(centred, centred), axes, keepdim=True)
    return div(centred, add(sqrt(spread), 1e-9))


@reads("LpNormalization", since="1 22")
def _lp_norm(n: Node, x: Tensor) -> Tensor:
    """Divide by the norm along an axis; where that is 0, the result is."""
    need_floating(n, x)
    p, axis = n.get("p"), axis_of(n, n.get("axis"), x.ndim)
    if p not in (1, 2):
        raise DataError(f"onnx: {n}: p = {p}; it is 1 or 2")
    if p == 1:
        size = total(absolute(x), axis, keepdim=True)
    else:
        size = total(mul(x, x), axis, keepdim=True)
    empty = size == 0
    size = where(empty, Tensor(size.array * 0 + 1), size)
    return div(x, size if p == 1 else sqrt(size))
