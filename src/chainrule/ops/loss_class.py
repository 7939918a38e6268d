"""Cross-entropy of class scores, against labels or against class probabilities, in one step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, integers, normal, positive
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import AxisError, KindError, failure
from chainrule.ops.broadcast import total
from chainrule.ops.cast import promote
from chainrule.ops.formulas import need_float, number, quiet
from chainrule.ops.linear import linear
from chainrule.ops.loss import reduced, reduction_mode, share
from chainrule.ops.loss_labels import (
    Labelled,
    Picked,
    by_class,
    classes_last,
    classes_second,
    column,
    divisor_of,
    errors_of,
    pick,
    places,
)
from chainrule.ops.softmax import log_probabilities, through_log_probabilities


@dataclass(frozen=True)
class CrossEntropy(Labelled):
    """lp = x - log(sum(exp(x))); e = -(1 - s) w[t] lp[t] - s/C sum(w lp), s the smoothing.

    y is e, its sum, or its sum by that of w[t].  With p = exp(lp) and a one-hot h:
    gx = g ((1 - s) w[t] (p - h) + s/C (p sum(w) - w)).
    """

    reduction: str = "mean"
    ignore_index: int = -100
    label_smoothing: float = 0.0

    @quiet
    def forward(
        self, xp: Any, x: Array, t: Array, w: Array | None = None
    ) -> tuple[tuple[Array, ...], Any]:
        lp = log_probabilities(xp, classes_last(x), -1)
        picked = pick(self, xp, lp, t, w)
        divisor = divisor_of(xp, self.reduction, picked)
        e = errors_of(xp, lp[picked.at], picked)
        if self.label_smoothing:
            e = (1 - self.label_smoothing) * e + self._smooth(xp, lp, picked.valid, w)
        y = self.finish(xp, xp.asarray(e), divisor)
        return (y,), (lp, tuple(picked), divisor, y if w is not None else None, w)

    def _smooth(self, xp: Any, lp: Array, valid: Array | None, w: Array | None) -> Array:
        """Give what the smoothing adds: -s/C sum(w lp), exactly 0 where ignored."""
        spread = xp.sum(lp if w is None else lp * w, axis=-1)
        spread *= -self.label_smoothing / lp.shape[-1] if lp.shape[-1] else 0
        return spread if valid is None else xp.where(valid, spread, 0)  # type: ignore[no-any-return]

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        lp, where, divisor, y, w = saved
        picked = Picked(*where)
        g = self.each(xp, gy, divisor, picked)
        gx = classes_second(self._scores(xp, lp, picked, g, w)) if needs[0] else None
        if w is None:
            return gx, None
        return gx, None, self._weights(xp, lp, picked, g, y, w) if needs[2] else None

    def _scores(self, xp: Any, lp: Array, picked: Picked, g: Array, w: Array | None) -> Array:
        hit = g if picked.weight is None else g * picked.weight
        gx = xp.exp(lp)
        if not self.label_smoothing:
            gx *= column(hit)
            gx[picked.at] -= hit
            return gx  # type: ignore[no-any-return]
        hit = (1 - self.label_smoothing) * hit
        rest = self.label_smoothing / lp.shape[-1] * g
        gx *= column(hit + rest * (lp.shape[-1] if w is None else xp.sum(w)))
        gx[picked.at] -= hit
        gx -= column(rest) * (1 if w is None else w)
        return gx  # type: ignore[no-any-return]

    def _weights(self, xp: Any, lp: Array, picked: Picked, g: Array, y: Array, w: Array) -> Array:
        value = (1 - self.label_smoothing) * lp[picked.at]
        if self.reduction == "mean":
            value = value + y
        gw = by_class(xp, -g * value, picked, w)
        if self.label_smoothing:
            per_class = total(xp, column(g) * lp, tuple(range(lp.ndim - 1)))
            gw -= self.label_smoothing / lp.shape[-1] * per_class
        return gw

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for reduction in ("mean", "sum", "none"):
            for s in (0.0, 0.2):
                yield Sample(cls(reduction, -100, s), normal(4, 3), integers(4, high=3))
                yield Sample(cls(reduction, 1, s), normal(4, 3), integers(4, high=3), positive(3))
        image, labels = normal(2, 3, 2, 2), integers(2, 2, 2, high=3)
        yield Sample(cls("mean", 0, 0.1), image, labels, positive(3))
        yield Sample(cls("none", 2), image, labels)
        yield Sample(cls(), normal(4), integers(high=4))


@dataclass(frozen=True)
class SoftCrossEntropy(Op):
    """e = -sum(w q lp) at each place, with q = (1 - s) t + s/C; y is e, its sum or its mean.

    lp = x - log(sum(exp(x))).  gx is what -g w q becomes through lp;  gt = -g w lp (1 - s);
    gw = -(sum of g q lp over places).
    """

    reduction: str = "mean"
    label_smoothing: float = 0.0

    name = "cross_entropy"

    def infer(self, x: Spec, t: Spec, w: Spec | None = None) -> tuple[Spec, ...]:
        need_float(self, x)
        if x.ndim == 0:
            raise failure(self, "scores (C,), (N, C) or (N, C, d1, ...)", error=AxisError, input=x)
        classes = x.shape[1 if x.ndim > 1 else 0]
        if w is not None and w.shape != (classes,):
            raise failure(self, f"a weight for each of {classes} classes", input=x, weight=w)
        return (Spec(places(x.shape) if self.reduction == "none" else (), x.dtype),)

    @quiet
    def forward(
        self, xp: Any, x: Array, t: Array, w: Array | None = None
    ) -> tuple[tuple[Array, ...], Any]:
        lp = log_probabilities(xp, classes_last(x), -1)
        terms = lp * self._smoothed(t)
        if w is not None:
            terms *= w
        e = xp.asarray(-xp.sum(terms, axis=-1))
        y = reduced(xp, e, self.reduction)
        if self.reduction == "mean" and lp.size == 0:
            y = xp.full_like(y, np.nan)  # no class is a mean of nothing, too
        return (y,), (lp, t, w)

    def _smoothed(self, t: Array) -> Array:
        q, s = classes_last(t), self.label_smoothing
        return q * (1 - s) + s / q.shape[-1] if s and q.size else q

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        lp, t, w = saved
        g = -column(share(gy, self.reduction, lp.size // max(lp.shape[-1], 1)))
        weighed = g if w is None else g * w
        gx = gt = gw = None
        if needs[0]:
            glp = weighed * self._smoothed(t)
            gx = classes_second(through_log_probabilities(xp, lp, glp, -1))
        if needs[1]:
            gt = classes_second(weighed * (1 - self.label_smoothing) * lp)
        if w is None:
            return gx, gt
        if needs[2]:
            gw = total(xp, g * lp * self._smoothed(t), tuple(range(lp.ndim - 1)))
        return gx, gt, None if gw is None else gw.astype(w.dtype, copy=False)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for reduction in ("mean", "sum", "none"):
            yield Sample(cls(reduction), normal(4, 3), normal(4, 3))
            yield Sample(cls(reduction, 0.2), normal(4, 3), positive(4, 3), positive(3))
        yield Sample(cls("none", 0.1), normal(2, 3, 2, 2), positive(2, 3, 2, 2), positive(3))
        yield Sample(cls(), normal(4), positive(4))


@public
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Softmax and negative log-likelihood of the right class, in one stable step; deck 002.

    For labels: e = -weight[t] log softmax(input)[t] at each place, and the mean is the sum
    divided by that of weight[t].  For class probabilities: e = -sum(weight t log softmax),
    and the mean is over places.  `label_smoothing` s puts (1 - s) t + s / C for t.

    Shapes: input (C,), (N, C) or (N, C, d1, ...); target integer labels of that shape without
    C, or floating probabilities of the input's shape; weight (C,) -> () or, for reduction
    'none', the labels' shape.  Labels equal to `ignore_index` count for nothing; the mean of
    nothing is NaN.  Gradients go to input, probabilities and weight.
    Raises LabelError (an IndexError) for labels outside 0..C-1, TypeError for integer scores
    and floating labels, ShapeError for shapes that do not fit.

    >>> import chainrule as cr
    >>> scores = cr.tensor([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0]])
    >>> cr.nn.functional.cross_entropy(scores, cr.tensor([0, 1]), reduction="none")
    tensor([2.0404, 0.0791])
    """
    mode = reduction_mode("cross_entropy", reduction, size_average, reduce)
    smoothing = number(label_smoothing, "cross_entropy label_smoothing")
    if not 0 <= smoothing <= 1:
        rule = "label_smoothing in [0, 1]"
        raise failure("cross_entropy", rule, label_smoothing=label_smoothing)
    x, t = as_tensor(input), as_tensor(target)
    weights = () if weight is None else (as_tensor(weight),)
    if x.shape != t.shape:
        return apply(CrossEntropy(mode, int(ignore_index), smoothing), x, t, *weights)
    need_float("cross_entropy", x)
    if t.dtype.kind != "f":
        rule = f"floating class probabilities {x.shape} or integer labels {places(x.shape)}"
        raise failure("cross_entropy", rule, error=KindError, input=x, target=t)
    if ignore_index >= 0:
        rule = "no ignore_index with class probabilities, which have no labels to ignore"
        raise failure("cross_entropy", rule, ignore_index=ignore_index)
    return apply(SoftCrossEntropy(mode, smoothing), *promote(x, t, *weights))


@public
def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Tensor:
    """`linear` and `cross_entropy` one after the other: the last layer and its loss.

    Shapes: input (N, F) or (F,), linear_weight (C, F) or, for (N, C, d1, ...) scores,
    (C, d1, ..., F), linear_bias that without F; target, weight, reduction and errors as in
    `cross_entropy`.  Gradients go to all but labels.  `options`, by which PyTorch computes in
    parts, is accepted and changes nothing.

    >>> import chainrule as cr
    >>> x, w = cr.tensor([[1.0, 2.0]]), cr.tensor([[0.0, 0.0], [1.0, -0.5]])
    >>> cr.nn.functional.linear_cross_entropy(x, w, cr.tensor([0]))
    tensor(0.6931)
    """
    name = "linear_cross_entropy"
    x, w = as_tensor(input), as_tensor(linear_weight)
    if x.ndim not in (1, 2) or w.ndim < 2 or w.shape[-1] != x.shape[-1]:
        rule = "an input (N, F) or (F,) and a linear_weight (C, ..., F) of the same F"
        raise failure(name, rule, input=x, linear_weight=w)
    if x.ndim == 1 and w.ndim > 2:
        raise failure(name, "an input (N, F) for several places", input=x, linear_weight=w)
    b = None if linear_bias is None else as_tensor(linear_bias)
    if b is not None and b.shape != w.shape[:-1]:
        raise failure(name, f"a linear_bias {w.shape[:-1]}", linear_weight=w, linear_bias=b)
    shape = (*x.shape[:-1], *w.shape[:-1])
    if ignore_index is not None and target.shape == shape:
        rule = "no ignore_index with class probabilities, which have no labels to ignore"
        raise failure(name, rule, ignore_index=ignore_index)
    rows = prod(w.shape[:-1])
    scores: Any = linear(x, w.reshape(rows, w.shape[-1]), None if b is None else b.reshape(rows))
    return cross_entropy(
        scores.reshape(shape),
        target,
        weight,
        ignore_index=-100 if ignore_index is None else ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )
