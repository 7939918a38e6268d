"""Losses of images that have several labels each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, distinct
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import AxisError, KindError, LabelError, failure
from chainrule.ops.broadcast import broadcast
from chainrule.ops.cast import promote
from chainrule.ops.elementwise import div
from chainrule.ops.formulas import need_float, quiet
from chainrule.ops.loss import gathered, reduced, reduction_mode, share
from chainrule.ops.loss_binary import BinaryCrossEntropyWithLogits
from chainrule.ops.shape import expand

_PART = 1 << 18  # differences computed at once, so that they stay in the cache


@dataclass(frozen=True)
class MultilabelMarginLoss(Op):
    """e = 1/C sum over labels i and other classes j of h_ij = max(0, 1 - x[i] + x[j]).

    y is e, its sum or its mean.  gx[j] = g / C times the number of i where h_ij > 0; gx[i] is
    minus that of j.  A label named twice counts twice.
    """

    reduction: str = "mean"

    def infer(self, x: Spec, t: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        if t.dtype.kind not in "iu":
            hint = "convert it first: target.long()"
            raise failure(self, "integer labels", error=KindError, hint=hint, target=t)
        if x.ndim > 2 or (x.ndim and x.shape[-1] == 0):
            raise failure(self, "scores (C,) or (N, C) of at least one class", input=x)
        fits = t.shape == x.shape
        if x.ndim < 2:
            fits = t.ndim < 2 and (t.shape or (1,)) == (x.shape or (1,))
        if not fits:
            raise failure(self, f"a target of the input's shape {x.shape}", input=x, target=t)
        each = x.ndim == 2 and self.reduction == "none"
        return (Spec(x.shape[:1] if each else (), x.dtype),)

    @quiet
    def forward(self, xp: Any, x: Array, t: Array) -> tuple[tuple[Array, ...], Any]:
        rows = x.reshape(-1, x.shape[-1] if x.ndim else 1)
        labels = t.reshape(rows.shape)
        self._check(labels, rows.shape[1])
        row, place = xp.nonzero(xp.logical_and.accumulate(labels >= 0, axis=1))
        sums, slopes = _hinges(xp, rows, row, labels[row, place])
        e = sums / rows.shape[1]
        e = e if x.ndim == 2 else e.reshape(())
        return (reduced(xp, e, self.reduction),), (slopes, x.shape)

    def _check(self, labels: Array, classes: int) -> None:
        bad = (labels < -1) | (labels >= classes)
        if bad.any():
            image, place = np.unravel_index(int(bad.argmax()), bad.shape)
            rule = f"labels in 0..{classes - 1}, or -1, which ends an image's"
            label, position = int(labels[image, place]), (int(image), int(place))
            raise failure(self, rule, error=LabelError, label=label, position=position)

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        slopes, shape = saved
        if not needs[0]:
            return None, None
        g = xp.asarray(share(gy, self.reduction, slopes.shape[0]) / slopes.shape[1])
        return (slopes * g.reshape(-1, 1)).reshape(shape), None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        # Differences are multiples of 0.3 to within 0.06, which keeps off 1.
        labels = np.array([[3, 0, -1, 1], [2, 2, 1, -1], [-1, 0, 1, 2], [3, 1, 0, 2]])
        for reduction in ("mean", "sum", "none"):
            yield Sample(cls(reduction), distinct(4, 4, gap=0.3), labels)
        yield Sample(cls("none"), distinct(5, gap=0.3), np.array([1, 4, -1, 0, 0]))
        yield Sample(cls(), distinct(), np.array(0))


def _hinges(xp: Any, x: Array, row: Array, label: Array) -> tuple[Array, Array]:
    """Give each row's sum of h over its labels (in the order of rows), and its slopes."""
    other = xp.ones(x.shape, np.bool_)
    other[row, label] = False
    sums, slopes = xp.zeros(x.shape[0], x.dtype), xp.zeros(x.shape, x.dtype)
    step = max(1, _PART // x.shape[1])
    for start in range(0, row.size, step):
        r, i = row[start : start + step], label[start : start + step]
        h = xp.fmax((1 - x[r, i])[:, None] + x[r], 0)  # 0 for NaN, as in PyTorch
        h *= other[r]
        hit = (h > 0).astype(x.dtype)
        first = xp.flatnonzero(xp.diff(r, prepend=-1))  # of each row's labels
        sums[r[first]] += xp.add.reduceat(xp.sum(h, axis=1), first)
        slopes[r[first]] += xp.add.reduceat(hit, first, axis=0)
        xp.subtract.at(slopes, (r, i), xp.sum(hit, axis=1))
    return sums, slopes


@public
def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Hinge loss of images with several labels: each label against each class that is none.

    e = 1/C sum of max(0, 1 - x[i] + x[j]) over labels i and other classes j; then the mean over
    images, the sum, or e itself.  An image's labels end at the first -1.

    Shapes: input (C,) or (N, C), integer target of the same shape -> () or, for reduction 'none'
    and (N, C), (N,).  At the kink the gradient is 0.  The mean of no image is NaN.  The gradient
    goes to the input.  Raises LabelError for labels outside -1..C-1, TypeError for integer
    scores and floating labels, ShapeError for shapes that do not fit.

    >>> import chainrule as cr
    >>> x, t = cr.tensor([[0.1, 0.2, 0.4, 0.8]]), cr.tensor([[3, 0, -1, 1]])
    >>> cr.nn.functional.multilabel_margin_loss(x, t)
    tensor(0.85)
    """
    mode = reduction_mode("multilabel_margin_loss", reduction, size_average, reduce)
    return apply(MultilabelMarginLoss(mode), input, target)


@public
def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Binary cross-entropy of each class's score, averaged over the classes of each image.

    e = -1/C sum of weight (t log s(x) + (1 - t) log(1 - s(x))) over the classes, the last axis,
    with s the sigmoid; then its mean, sum, or itself.

    Shapes: input (..., C), target and weight that broadcast with it -> () or, for reduction
    'none', the common shape without C.  The mean of nothing is NaN.  Gradients go to all three.
    Raises TypeError for integer inputs, IndexError for an input without axes.

    >>> import chainrule as cr
    >>> x, t = cr.tensor([[0.0, 100.0]]), cr.tensor([[1.0, 0.0]])
    >>> cr.nn.functional.multilabel_soft_margin_loss(x, t)
    tensor(50.3466)
    """
    name = "multilabel_soft_margin_loss"
    mode = reduction_mode(name, reduction, size_average, reduce)
    scores = as_tensor(input)
    need_float(name, scores)
    if scores.ndim == 0:
        raise failure(name, "scores with an axis of classes", error=AxisError, input=scores)
    operands = promote(scores, target, *(() if weight is None else (weight,)))
    names = ("input", "target", "weight")
    shape = broadcast(name, **{n: x.shape for n, x in zip(names, operands, strict=False)})
    x, t = [v if v.shape == shape else expand(v, shape) for v in operands[:2]]
    errors: Any = apply(BinaryCrossEntropyWithLogits("none"), x, t, *operands[2:])
    return gathered(div(errors.sum(scores.ndim - 1), scores.shape[-1]), mode)
