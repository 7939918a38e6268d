"""What losses against class labels share, and the plainest of them: negative log-likelihood.

Scores are (N, C), (N, C, d1, ...) or, for one image, (C,); labels have that shape without C.
Inside, the classes are the last axis, and what the other axes number are places.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, integers, normal, positive
from chainrule.engine.tensor import Tensor, apply
from chainrule.errors import KindError, LabelError, ShapeError, failure
from chainrule.ops.broadcast import total
from chainrule.ops.formulas import need_float, quiet
from chainrule.ops.loss import reduction_mode


class Picked(NamedTuple):
    """Where the labels point; saved for the backward."""

    at: tuple[Array, ...]  # index of the labelled class at each place; of class 0 where ignored
    valid: Array | None  # False where ignored; None if nothing is
    weight: Array | None  # of each place: its class's weight, 0 where ignored; None for ones


def places(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Give the shape of scores without the classes: axis 1, or the only one."""
    return shape[:1] + shape[2:] if len(shape) > 1 else ()


def classes_last(x: Array) -> Array:
    """See (N, C, d1, ...) as (N, d1, ..., C)."""
    return x if x.ndim < 3 else x.transpose(0, *range(2, x.ndim), 1)


def classes_second(g: Array) -> Array:
    """See (N, d1, ..., C) as (N, C, d1, ...)."""
    return g if g.ndim < 3 else g.transpose(0, g.ndim - 1, *range(1, g.ndim - 1))


def column(g: Array) -> Array:
    """Give places a last axis, so that they meet the classes; one number for all stays 0-d."""
    return g[..., None] if g.ndim else g


def check_scores(op: Any, x: Spec, t: Spec, w: Spec | None) -> None:
    """Raise unless scores are floats, labels integers, and the class weights of both their kind."""
    need_float(op, x)
    if w is not None:
        _check_weight(op, x, w)
    if t.dtype.kind not in "iu":
        rule = f"integer labels {places(x.shape)} or probabilities {x.shape}"
        other_batch = x.ndim > 1 and t.ndim > 0 and t.shape[0] != x.shape[0]
        error = ShapeError if other_batch else KindError
        raise failure(op, rule, error=error, hint="try target.long()", input=x, target=t)


def _check_weight(op: Any, x: Spec, w: Spec) -> None:
    if w.dtype != x.dtype:
        rule, hint = "a weight of the input's dtype", f"convert it first: weight.to({x.dtype})"
        raise failure(op, rule, error=KindError, hint=hint, input=x, weight=w)
    classes = x.shape[1 if x.ndim > 1 else 0] if x.ndim else 1
    if w.shape != (classes,):
        raise failure(op, f"a weight for each of {classes} classes", input=x, weight=w)


def check_labels(op: Any, xp: Any, t: Array, classes: int, ignored: int | None) -> Array | None:
    """Tell which labels count, None if all do; LabelError for the first outside 0..classes-1."""
    if t.size == 0:
        return None
    lowest, highest = int(t.min()), int(t.max())
    inside = lowest >= 0 and highest < classes
    if inside and (ignored is None or not lowest <= ignored <= highest):
        return None
    valid: Array = xp.asarray(t != ignored)
    bad = xp.asarray((t < 0) | (t >= classes)) & (valid | (classes == 0))
    if bad.any():
        position = tuple([int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape)])
        rule = f"labels in 0..{classes - 1}" if classes else "at least one class"
        hint = "" if ignored is None else f"the one label that is ignored is {ignored}"
        label = int(t[position])
        raise failure(op, rule, error=LabelError, hint=hint, label=label, position=position)
    return valid


def pick(op: Any, xp: Any, lp: Array, t: Array, w: Array | None) -> Picked:
    """Find each label's class in (..., C), and the weight of each place."""
    shape, classes = lp.shape[:-1], lp.shape[-1]
    t = t.reshape(shape)  # one image's label may be (1,)
    valid = check_labels(op, xp, t, classes, op.ignore_index)
    if valid is not None:
        t = xp.where(valid, t, 0)
    grid = (xp.arange(shape[0]),) if len(shape) == 1 else xp.indices(shape, sparse=True)
    weight = None if w is None else xp.asarray(w[t])
    if valid is not None:
        weight = valid.astype(lp.dtype) if weight is None else xp.where(valid, weight, 0)
    return Picked((*grid, t), valid, weight)


def divisor_of(xp: Any, reduction: str, picked: Picked) -> Any:
    """Give what divides the sum: the weights' sum for the mean, else 1."""
    if reduction != "mean":
        return 1
    if picked.weight is None:
        return picked.at[-1].size
    return total(xp, picked.weight, tuple(range(picked.weight.ndim)))


def errors_of(xp: Any, chosen: Array, picked: Picked) -> Array:
    """Give -w lp of the labelled classes, exactly 0 where ignored."""
    e = -chosen
    if picked.weight is not None:
        e = e * picked.weight
    return xp.asarray(e) if picked.valid is None else xp.where(picked.valid, e, 0)  # type: ignore[no-any-return]


def by_class(xp: Any, values: Array, picked: Picked, w: Array) -> Array:
    """Sum the values of the places of each class."""
    if picked.valid is not None:
        values = xp.where(picked.valid, values, 0)
    t = picked.at[-1]
    flat = xp.broadcast_to(values, t.shape).ravel()
    return xp.bincount(t.ravel(), weights=flat, minlength=w.size).astype(w.dtype)  # type: ignore[no-any-return]


class Labelled(Op, register=False):
    """Base of the losses against labels: x scores, t labels, w class weights."""

    reduction: str
    ignore_index: int

    def infer(self, x: Spec, t: Spec, w: Spec | None = None) -> tuple[Spec, ...]:
        check_scores(self, x, t, w)
        if x.ndim == 0:
            raise failure(self, "scores (C,), (N, C) or (N, C, d1, ...)", input=x)
        labels = places(x.shape)
        if t.shape != labels and (x.ndim, t.shape) != (1, (1,)):
            if x.ndim > 1 and t.ndim and t.shape[0] != x.shape[0]:
                rule = f"batch sizes that agree: {x.shape[0]} = {t.shape[0]}"
            else:
                rule = f"labels {labels} for scores {x.shape}"
            raise failure(self, rule, input=x, target=t)
        return (Spec(labels if self.reduction == "none" else (), x.dtype),)

    def finish(self, xp: Any, e: Array, divisor: Any) -> Array:
        """Reduce the errors."""
        if self.reduction == "none":
            return e
        y = total(xp, e, tuple(range(e.ndim)))
        return xp.asarray(y / divisor).astype(e.dtype, copy=False)  # type: ignore[no-any-return]

    def each(self, xp: Any, gy: Array, divisor: Any, picked: Picked) -> Array:
        """Give the gradient of each place's error, exactly 0 where it is ignored."""
        g: Array = xp.asarray(gy / divisor) if self.reduction == "mean" else gy
        return g if picked.valid is None else xp.where(picked.valid, g, 0)


@dataclass(frozen=True)
class NLLLoss(Labelled):
    """e = -w[t] x[t] at each place; y is e, its sum, or its sum by that of w[t].

    gx[t] = -g w[t], else 0;  gw[c] = -(sum of g (x[t] + y) over places of class c), the y for
    the mean alone.
    """

    reduction: str = "mean"
    ignore_index: int = -100

    def likelihood(self, xp: Any, chosen: Array) -> tuple[Array, Array | None]:
        """Give the logarithms of the labelled classes and their slopes, None for ones."""
        return chosen, None

    @quiet
    def forward(
        self, xp: Any, x: Array, t: Array, w: Array | None = None
    ) -> tuple[tuple[Array, ...], Any]:
        lp = classes_last(x)
        picked = pick(self, xp, lp, t, w)
        chosen, slope = self.likelihood(xp, xp.asarray(lp[picked.at]))
        divisor = divisor_of(xp, self.reduction, picked)
        y = self.finish(xp, errors_of(xp, chosen, picked), divisor)
        kept = None if w is None else y
        return (y,), (x.shape, tuple(picked), divisor, chosen, slope, kept, w)

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        shape, where, divisor, chosen, slope, y, w = saved
        picked = Picked(*where)
        g = self.each(xp, gy, divisor, picked)
        gx = None
        if needs[0]:
            hit = g if picked.weight is None else g * picked.weight
            gx = xp.zeros(shape, chosen.dtype)
            classes_last(gx)[picked.at] = -(hit if slope is None else hit * slope)
        if w is None:
            return gx, None
        value = chosen + y if self.reduction == "mean" else chosen
        return gx, None, by_class(xp, -g * value, picked, w) if needs[2] else None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for reduction in ("mean", "sum", "none"):
            yield Sample(cls(reduction), normal(4, 3), integers(4, high=3))
            yield Sample(cls(reduction, 1), normal(4, 3), integers(4, high=3), positive(3))
            yield Sample(
                cls(reduction, 0), normal(2, 3, 2, 2), integers(2, 2, 2, high=3), positive(3)
            )
        yield Sample(cls(), normal(4), integers(high=4))


@public
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood: -weight[t] input[t], where the input holds log-probabilities.

    `cross_entropy` is this after `log_softmax`; shapes, mean, ignored labels and errors are
    those described there, for labels.

    >>> import chainrule as cr
    >>> logs = cr.log_softmax(cr.tensor([[3.2, 5.1, -1.7]]), dim=1)
    >>> cr.nn.functional.nll_loss(logs, cr.tensor([0]))
    tensor(2.0404)
    """
    mode = reduction_mode("nll_loss", reduction, size_average, reduce)
    weights = () if weight is None else (weight,)
    return apply(NLLLoss(mode, int(ignore_index)), input, target, *weights)
