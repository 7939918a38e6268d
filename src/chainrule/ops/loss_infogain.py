"""Caffe's losses against labels: multinomial logistic, of probabilities, and information gain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chainrule.engine.op import Array, Spec, public
from chainrule.engine.sample import Sample, integers, normal, positive
from chainrule.engine.tensor import Tensor, apply
from chainrule.errors import KindError, failure
from chainrule.ops.formulas import quiet
from chainrule.ops.loss import reduction_mode
from chainrule.ops.loss_labels import (
    Labelled,
    NLLLoss,
    Picked,
    classes_last,
    classes_second,
    column,
    divisor_of,
    errors_of,
    pick,
)
from chainrule.ops.softmax import log_probabilities, through_log_probabilities

LEAST = 1e-20
"""Probabilities below are taken for this, as in Caffe: an impossible label costs 46."""


@dataclass(frozen=True)
class MultinomialLogisticLoss(NLLLoss):
    """e = -w[t] log p[t], p at least 1e-20; y is e, its sum, or its sum by that of w[t].

    gp[t] = -g w[t] / p[t], else 0;  gw as in NLLLoss.
    """

    def likelihood(self, xp: Any, chosen: Array) -> tuple[Array, Array | None]:
        p = xp.asarray(xp.maximum(chosen, LEAST))
        return xp.asarray(xp.log(p)), xp.asarray(1 / p)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for reduction in ("mean", "sum", "none"):
            yield Sample(cls(reduction), positive(4, 3), integers(4, high=3))
            yield Sample(cls(reduction, 1), positive(4, 3), integers(4, high=3), positive(3))
        yield Sample(cls("mean", 0), positive(2, 3, 2, 2), integers(2, 2, 2, high=3), positive(3))
        yield Sample(cls(), positive(4), integers(high=4))


@public
def multinomial_logistic_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Negative logarithm of the right class's probability: Caffe's MultinomialLogisticLoss.

    e = -weight[t] log input[t], for probabilities such as softmax's; below 1e-20 they are taken
    for that.  `cross_entropy`, of scores, is exact where these round to 0.

    Shapes, mean, ignored labels and errors: as in `nll_loss`, which takes logarithms.
    Gradients go to input and weight.

    >>> import chainrule as cr
    >>> p = cr.tensor([[0.5, 0.25, 0.25]])
    >>> cr.nn.functional.multinomial_logistic_loss(p, cr.tensor([1]))
    tensor(1.3863)
    """
    mode = reduction_mode("multinomial_logistic_loss", reduction, None, None)
    weights = () if weight is None else (weight,)
    return apply(MultinomialLogisticLoss(mode, int(ignore_index)), input, target, *weights)


@dataclass(frozen=True)
class InfogainLoss(Labelled):
    """lp = x - log(sum(exp(x))); e = -sum of H[t, k] lp[k] over k; y is e, its sum or its mean.

    gx is what -g H[t] becomes through lp;  gH[c] = -(sum of g lp over places of class c).
    """

    reduction: str = "mean"
    ignore_index: int = -100

    def infer(self, x: Spec, t: Spec, w: Spec | None = None) -> tuple[Spec, ...]:
        specs = super().infer(x, t)
        classes = x.shape[1 if x.ndim > 1 else 0]
        if w is None or w.shape != (classes, classes):
            rule = f"an information gain for each two of {classes} classes"
            raise failure(self, rule, input=x, infogain=w)
        if w.dtype != x.dtype:
            rule = "an information gain of the input's dtype"
            raise failure(self, rule, error=KindError, input=x, infogain=w)
        return specs

    @quiet
    def forward(self, xp: Any, x: Array, t: Array, h: Array) -> tuple[tuple[Array, ...], Any]:
        lp = log_probabilities(xp, classes_last(x), -1)
        picked = pick(self, xp, lp, t, None)
        rows = h[picked.at[-1]]
        e = errors_of(xp, xp.asarray(xp.sum(rows * lp, axis=-1)), picked)
        divisor = divisor_of(xp, self.reduction, picked)
        return (self.finish(xp, e, divisor),), (lp, tuple(picked), divisor, rows, h.shape)

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        lp, where, divisor, rows, shape = saved
        picked = Picked(*where)
        g = -column(xp.asarray(self.each(xp, gy, divisor, picked)))
        gx = gh = None
        if needs[0]:
            gx = classes_second(through_log_probabilities(xp, lp, g * rows, -1))
        if needs[2]:
            gh = xp.zeros(shape, lp.dtype)
            worth = g * lp
            if picked.valid is not None:  # for what is NaN where ignored
                worth = xp.where(picked.valid[..., None], worth, 0)
            xp.add.at(gh, picked.at[-1], worth)
        return gx, None, gh

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for reduction in ("mean", "sum", "none"):
            yield Sample(cls(reduction), normal(4, 3), integers(4, high=3), positive(3, 3))
            yield Sample(cls(reduction, 1), normal(4, 3), integers(4, high=3), normal(3, 3))
        image, labels = normal(2, 3, 2, 2), integers(2, 2, 2, high=3)
        yield Sample(cls("mean", 0), image, labels, positive(3, 3))
        yield Sample(cls(), normal(4), integers(high=4), positive(4, 4))


@public
def infogain_loss(
    input: Tensor,
    target: Tensor,
    infogain: Tensor,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy with a matrix that says what each class is worth for each label: Caffe's.

    e = -sum over k of infogain[t, k] log softmax(input)[k]; its mean over the labels that count,
    its sum, or itself.  With the identity it is `cross_entropy`.

    Shapes: scores (C,), (N, C) or (N, C, d1, ...); integer labels of that shape without C;
    infogain (C, C) -> () or, for reduction 'none', the labels' shape.  Labels equal to
    `ignore_index` count for nothing; the mean of nothing is NaN.  Gradients go to input and
    infogain.  Raises LabelError for labels outside 0..C-1, TypeError for integer scores and
    floating labels, ShapeError for shapes that do not fit.

    >>> import chainrule as cr
    >>> scores = cr.tensor([[3.2, 5.1, -1.7]])
    >>> gain = cr.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    >>> cr.nn.functional.infogain_loss(scores, cr.tensor([0]), gain)
    tensor(2.1105)
    """
    mode = reduction_mode("infogain_loss", reduction, None, None)
    return apply(InfogainLoss(mode, int(ignore_index)), input, target, infogain)
