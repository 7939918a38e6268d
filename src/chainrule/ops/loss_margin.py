"""The multiclass support vector machine's loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, distinct, integers, positive
from chainrule.engine.tensor import Tensor, apply
from chainrule.errors import failure
from chainrule.ops.formulas import number, quiet
from chainrule.ops.loss import reduced, reduction_mode, share
from chainrule.ops.loss_labels import check_labels, check_scores


@dataclass(frozen=True)
class MultiMarginLoss(Op):
    """e = w[t] / C * sum over j != t of h_j^p, with h_j = max(0, margin - x[t] + x[j]).

    y is e, its sum or its mean.  gx[j] = g w[t] / C * p h_j^(p - 1) where h_j > 0, else 0;
    gx[t] is minus their sum;  gw[c] = sum of g e / w over the images of class c.
    """

    p: int = 1
    margin: float = 1.0
    reduction: str = "mean"

    def infer(self, x: Spec, t: Spec, w: Spec | None = None) -> tuple[Spec, ...]:
        check_scores(self, x, t, w)
        if x.ndim > 2 or (x.ndim and x.shape[-1] == 0):
            raise failure(self, "scores (C,) or (N, C) of at least one class", input=x)
        images = x.shape[0] if x.ndim == 2 else 1
        if t.ndim > 1 or (t.shape[0] if t.ndim else 1) != images:
            rule = f"a label for each image, {images} in all"
            raise failure(self, rule, input=x, target=t)
        return (Spec(t.shape if self.reduction == "none" else (), x.dtype),)

    @quiet
    def forward(
        self, xp: Any, x: Array, t: Array, w: Array | None = None
    ) -> tuple[tuple[Array, ...], Any]:
        scores = x.reshape(t.size, -1) if t.size else x
        labels = t.reshape(-1)
        classes = scores.shape[1]
        check_labels(self, xp, labels, classes, None)
        index = (xp.arange(labels.size), labels)
        h = xp.fmax(self.margin - scores[index][:, None] + scores, 0)  # 0 for NaN, as in PyTorch
        h[index] = 0
        bare = xp.sum(h if self.p == 1 else h * h, axis=1) / classes
        e = (bare if w is None else bare * w[labels]).reshape(t.shape)
        slopes = h > 0 if self.p == 1 else h
        return (reduced(xp, e, self.reduction),), (slopes, index, bare, x.shape, w)

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        slopes, index, bare, shape, w = saved
        images, classes = slopes.shape
        g = xp.broadcast_to(share(gy, self.reduction, images).reshape(-1), (images,))
        gx = None
        if needs[0]:
            each = g * (self.p / classes)
            gx = slopes * (each if w is None else each * w[index[1]])[:, None]
            gx[index] = -xp.sum(gx, axis=1)
            gx = gx.reshape(shape)
        if w is None:
            return gx, None
        if not needs[2]:
            return gx, None, None
        gw = xp.bincount(index[1], weights=g * bare, minlength=w.size)
        return gx, None, gw.astype(w.dtype)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        # Differences of scores are far from the margin: a grid of 0.1, a margin between its points.
        scores, labels = distinct(4, 3), integers(4, high=3)
        for reduction in ("mean", "sum", "none"):
            for p in (1, 2):
                yield Sample(cls(p, 0.25, reduction), scores, labels)
                yield Sample(cls(p, 0.55, reduction), scores, labels, positive(3))
        yield Sample(cls(1, 0.25, "none"), distinct(5), integers(high=5))
        yield Sample(cls(2, 0.25), distinct(1, 5), integers(high=5), positive(5))


@public
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Multiclass SVM (hinge) loss: sum over j != t of max(0, margin - x[t] + x[j])^p, by C.

    Deck 002's loss is C times this: it does not divide by the number of classes.  `weight`
    multiplies by that of the right class; the mean is over images all the same.

    Shapes: input (N, C) or (C,), target (N,) integer labels, or (); weight (C,) -> () or, for
    reduction 'none', the target's shape.  At the kink the gradient is 0.  The mean of no image
    is NaN.  Gradients go to input and weight.  Raises LabelError for labels outside 0..C-1,
    ValueError for p other than 1 and 2, TypeError for integer scores and floating labels.

    >>> import chainrule as cr
    >>> scores = cr.tensor([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
    >>> 3 * cr.nn.functional.multi_margin_loss(scores, cr.tensor([0, 1, 2]), reduction="none")
    tensor([2.9, 0.0, 12.9])
    """
    mode = reduction_mode("multi_margin_loss", reduction, size_average, reduce)
    if p not in (1, 2):
        raise failure("multi_margin_loss", "p of 1 or 2", p=p)
    op = MultiMarginLoss(int(p), number(margin, "multi_margin_loss margin"), mode)
    return apply(op, input, target, *(() if weight is None else (weight,)))
