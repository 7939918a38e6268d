"""Losses with a margin, of numbers and their signs, and one against all classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from chainrule.engine.op import Array, public
from chainrule.engine.sample import Sample, away_from_zero, distinct, integers, normal, positive
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import failure
from chainrule.ops.broadcast import broadcast
from chainrule.ops.cast import cast, promote
from chainrule.ops.compare import eq
from chainrule.ops.formulas import (
    drop,
    log_one_plus_exp,
    logistic,
    need_float,
    number,
    quiet,
)
from chainrule.ops.loss import Elementwise, Slopes, as_floats, reduction_mode
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
)


def flags(xp: Any, mask: Any, shape: tuple[int, ...]) -> Array:
    """Give a boolean mask in a shape, as an array."""
    mask = xp.asarray(mask)
    return mask if mask.shape == shape else xp.broadcast_to(mask, shape)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class MarginRankingLoss(Elementwise):
    """e = max(0, margin - t (a - b)); y is e, its sum or its mean.

    ga = -g t, gb = g t, gt = -g (a - b) where margin - t (a - b) >= 0, else 0.
    """

    margin: float = 0.0
    reduction: str = "mean"

    inputs: ClassVar[tuple[str, ...]] = ("input1", "input2", "target")

    def errors(self, xp: Any, *arrays: Any) -> tuple[Array, Any]:
        a, b, t = arrays
        d = a - b
        u = self.margin - t * d
        return xp.maximum(u, 0), (t, d, xp.asarray(xp.logical_not(u >= 0)))

    def slopes(self, xp: Any, kept: Any, g: Array, needs: tuple[bool, ...]) -> Slopes:
        t, d, dead = kept
        h = drop(xp, dead, g)
        gb = h * t if needs[0] or needs[1] else None
        return None if gb is None else -gb, gb, -h * d if needs[2] else None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        # Differences are odd multiples of 0.05 to within 0.01, so that no margin is met.
        a, b, signs = distinct(3, 4), np.zeros((3, 4)), np.where(np.arange(12) % 3, 1.0, -1.0)
        for reduction in ("mean", "sum", "none"):
            yield Sample(cls(0.0, reduction), a, b, signs.reshape(3, 4))
            yield Sample(cls(0.3, reduction), a, b[:, :1], signs[:4])
        yield Sample(cls(5.0), normal(2, 3), normal(2, 3), away_from_zero(2, 3))
        yield Sample(cls(), away_from_zero(), np.array(0.0), np.array(1.0))


@public
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Ask that input1 ranks above input2 by a margin where the target is 1, below where it is -1.

    e = max(0, margin - target (input1 - input2)), then its mean, sum, or itself.

    Shapes: three of as many axes, which broadcast -> () or, for reduction 'none', their common
    shape.  At the kink the gradient is that of the line.  The mean of nothing is NaN.  Integers
    become float32.  Gradients go to all three.  Raises ShapeError for shapes that do not fit.

    >>> import chainrule as cr
    >>> a, b, t = cr.tensor([2.0, 1.0]), cr.tensor([0.0, 3.0]), cr.tensor([1.0, 1.0])
    >>> cr.nn.functional.margin_ranking_loss(a, b, t, margin=1.0, reduction="none")
    tensor([0.0, 3.0])
    """
    name = "margin_ranking_loss"
    mode = reduction_mode(name, reduction, size_average, reduce)
    a, b, t = as_tensor(input1), as_tensor(input2), as_tensor(target)
    if not a.ndim == b.ndim == t.ndim:
        raise failure(name, "three tensors of as many axes", input1=a, input2=b, target=t)
    op = MarginRankingLoss(number(margin, f"{name} margin"), mode)
    return apply(op, *as_floats(name, a, b, t))


@public
def margin_loss(
    input: Tensor, target: Tensor, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """Hinge loss of scores against signs: Torch's MarginCriterion, the two-class SVM's loss.

    e = max(0, margin - target input), with targets 1 and -1; then its mean, sum, or itself.

    Shapes: input and target that broadcast -> () or, for reduction 'none', their common shape.
    The mean of nothing is NaN.  Gradients go to both.  Raises ShapeError for shapes that do
    not fit, TypeError for booleans.

    >>> import chainrule as cr
    >>> x, t = cr.tensor([2.0, 0.5]), cr.tensor([1.0, -1.0])
    >>> cr.nn.functional.margin_loss(x, t, reduction="none")
    tensor([0.0, 1.5])
    """
    mode = reduction_mode("margin_loss", reduction, None, None)
    x, t = as_floats("margin_loss", input, target)
    zero = promote(x, 0.0)[1]
    return apply(MarginRankingLoss(number(margin, "margin_loss margin"), mode), x, zero, t)


@dataclass(frozen=True)
class HingeEmbeddingLoss(Elementwise):
    """e = x unless the target is -1, plus max(0, margin - x) unless it is 1; y: e, sum or mean.

    The target comes as two masks: where it is 1 and where it is -1.  gx = g unless it is -1,
    minus g unless it is 1 or x > margin.
    """

    margin: float = 1.0
    reduction: str = "mean"

    inputs: ClassVar[tuple[str, ...]] = ("input", "similar", "dissimilar")

    def errors(self, xp: Any, *arrays: Any) -> tuple[Array, Any]:
        x, similar, dissimilar = arrays
        shape = np.broadcast_shapes(x.shape, similar.shape)
        similar, dissimilar = flags(xp, similar, shape), flags(xp, dissimilar, shape)
        u = xp.asarray(self.margin - x)
        e = drop(xp, similar, xp.maximum(u, 0)) + drop(xp, dissimilar, x)
        return e, (similar, dissimilar, xp.logical_not(u >= 0))

    def slopes(self, xp: Any, kept: Any, g: Array, needs: tuple[bool, ...]) -> Slopes:
        similar, dissimilar, far = kept
        return drop(xp, dissimilar, g) - drop(xp, xp.asarray(similar | far), g), None, None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for reduction in ("mean", "sum", "none"):
            for margin in (0.25, 0.55):
                t = np.arange(12).reshape(3, 4) % 3 - 1  # 0 is neither
                yield Sample(cls(margin, reduction), distinct(3, 4), t == 1, t == -1)
                yield Sample(cls(margin, reduction), distinct(2, 1, 4), t == 1, t == -1)
                yield Sample(cls(margin, reduction), distinct(3, 4), t[0] == 1, t[0] == -1)
        yield Sample(cls(), away_from_zero(margin=2.0), np.array(True), np.array(False))


@public
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Ask for small distances where the target is 1, for those beyond a margin where it is -1.

    e = x where the target is 1, max(0, margin - x) where it is -1 (their sum for any other
    target); then its mean, sum, or itself.

    Shapes: input and target that broadcast -> () or, for reduction 'none', their common shape.
    The gradient goes to the input alone; at the margin it is that of the line.  The mean of
    nothing is NaN.  Integers become float32.  Raises ShapeError for shapes that do not fit.

    >>> import chainrule as cr
    >>> x, t = cr.tensor([0.5, 0.5, 2.0]), cr.tensor([1, -1, -1])
    >>> cr.nn.functional.hinge_embedding_loss(x, t, reduction="none")
    tensor([0.5, 0.5, 0.0])
    """
    name = "hinge_embedding_loss"
    mode = reduction_mode(name, reduction, size_average, reduce)
    (x,), t = as_floats(name, input), as_tensor(target)
    broadcast(name, input=x.shape, target=t.shape)
    op = HingeEmbeddingLoss(number(margin, f"{name} margin"), mode)
    return apply(op, x, eq(t, 1), eq(t, -1))


@dataclass(frozen=True)
class SoftMarginLoss(Elementwise):
    """e = log(1 + exp(-t x)); y is e, its sum or its mean.

    gx = -g t / (1 + exp(t x));  gt = -g x / (1 + exp(t x)).
    """

    reduction: str = "mean"

    def errors(self, xp: Any, *arrays: Any) -> tuple[Array, Any]:
        x, t = arrays
        z = xp.asarray(-x * t)
        return log_one_plus_exp(xp, z), (x, t, z)

    def slopes(self, xp: Any, kept: Any, g: Array, needs: tuple[bool, ...]) -> Slopes:
        x, t, z = kept
        h = -g * logistic(xp, z)
        return h * t if needs[0] else None, h * x if needs[1] else None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for reduction in ("mean", "sum", "none"):
            yield Sample(cls(reduction), normal(3, 4), normal(3, 4))
            yield Sample(cls(reduction), normal(3, 4), normal(3, 1))
        yield Sample(cls(), normal(), normal())


@public
def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Logistic loss of scores against targets 1 and -1: log(1 + exp(-target input)).

    Then its mean, sum, or itself.  It does not overflow: far on the wrong side it is the line.

    Shapes: any, and a target that broadcasts to it -> () or, for reduction 'none', the input's
    shape, in the input's dtype.  The mean of nothing is NaN.  Gradients go to both.  Raises
    TypeError for integer inputs, ShapeError for a target of a larger shape.

    >>> import chainrule as cr
    >>> x, t = cr.tensor([0.0, 1000.0]), cr.tensor([1.0, -1.0])
    >>> cr.nn.functional.soft_margin_loss(x, t, reduction="none")
    tensor([0.6931, 1000.0000])
    """
    mode = reduction_mode("soft_margin_loss", reduction, size_average, reduce)
    x, t = as_tensor(input), as_tensor(target)
    need_float("soft_margin_loss", x)
    if broadcast("soft_margin_loss", input=x.shape, target=t.shape) != x.shape:
        rule = f"a target that broadcasts to the input's shape {x.shape}"
        raise failure("soft_margin_loss", rule, input=x, target=t)
    return cast(apply(SoftMarginLoss(mode), *promote(x, t)), x.dtype)


@dataclass(frozen=True)
class HingeLoss(Labelled):
    """e = w[t] (h_t^p + sum over j != t of h_j^p), h_t = max(0, 1 - x[t]), h_j = max(0, 1 + x[j]).

    y is e, its sum, or its sum by that of w[t].  gx[j] = g w[t] p h_j^(p - 1) where h_j > 0,
    of the other sign at t;  gw[c] = sum of g (e / w - y) over places of class c, y for the mean.
    """

    p: int = 1
    reduction: str = "mean"
    ignore_index: int = -100

    @quiet
    def forward(
        self, xp: Any, x: Array, t: Array, w: Array | None = None
    ) -> tuple[tuple[Array, ...], Any]:
        scores = classes_last(x)
        picked = pick(self, xp, scores, t, w)
        h = 1 + scores
        h[picked.at] = 1 - scores[picked.at]
        h = xp.maximum(h, 0)
        slopes = (h > 0).astype(x.dtype) if self.p == 1 else 2 * h
        slopes[picked.at] *= -1
        bare = xp.asarray(xp.sum(h if self.p == 1 else h * h, axis=-1))
        divisor = divisor_of(xp, self.reduction, picked)
        y = self.finish(xp, errors_of(xp, -bare, picked), divisor)
        return (y,), (slopes, tuple(picked), divisor, bare, y if w is not None else None, w)

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        slopes, where, divisor, bare, y, w = saved
        picked = Picked(*where)
        g = self.each(xp, gy, divisor, picked)
        hit = g if picked.weight is None else g * picked.weight
        gx = classes_second(slopes * column(xp.asarray(hit))) if needs[0] else None
        if w is None:
            return gx, None
        value = bare - y if self.reduction == "mean" else bare
        return gx, None, by_class(xp, g * value, picked, w) if needs[2] else None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        # Scores are odd multiples of 0.05, a margin of 1 between two of them.
        scores, labels = distinct(4, 3), integers(4, high=3)
        for reduction in ("mean", "sum", "none"):
            for p in (1, 2):
                yield Sample(cls(p, reduction), scores, labels)
                yield Sample(cls(p, reduction, 1), scores, labels, positive(3))
        image, labels = distinct(2, 3, 2, 2), integers(2, 2, 2, high=3)
        yield Sample(cls(1, "mean", 0), image, labels, positive(3))
        yield Sample(cls(2), distinct(5), integers(high=5))


@public
def hinge_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Hinge loss of each class against the others: Caffe's HingeLoss, p = 1 for L1, 2 for L2.

    e = weight[t] sum over classes of max(0, 1 - s x)^p, with s = 1 for the right class and -1
    for all others; the mean is the sum divided by that of weight[t].

    Shapes: input (C,), (N, C) or (N, C, d1, ...); target integer labels of that shape without
    C; weight (C,) -> () or, for reduction 'none', the labels' shape.  Labels equal to
    `ignore_index` count for nothing; the mean of nothing is NaN.  At the kink the gradient is
    0.  Gradients go to input and weight.  Raises LabelError for labels outside 0..C-1,
    ValueError for p other than 1 and 2, TypeError for integer scores and floating labels.

    >>> import chainrule as cr
    >>> cr.nn.functional.hinge_loss(cr.tensor([[3.0, -2.0, 0.5]]), cr.tensor([0]))
    tensor(1.5)
    """
    mode = reduction_mode("hinge_loss", reduction, None, None)
    if p not in (1, 2):
        raise failure("hinge_loss", "p of 1 or 2", p=p)
    weights = () if weight is None else (weight,)
    return apply(HingeLoss(int(p), mode, int(ignore_index)), input, target, *weights)
