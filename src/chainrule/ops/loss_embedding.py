"""Losses of pairs and triplets of embeddings: alike ones close, different ones apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, booleans, distinct, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import failure
from chainrule.ops.broadcast import broadcast, sum_to
from chainrule.ops.compare import eq, ne
from chainrule.ops.distance import pairwise_distance
from chainrule.ops.formulas import drop, need_float, number, quiet
from chainrule.ops.loss import (
    Elementwise,
    Slopes,
    as_floats,
    opposite,
    reduced,
    reduction_mode,
    share,
)
from chainrule.ops.loss_hinge import flags, hinge_embedding_loss
from chainrule.ops.select import minimum

_LEAST = float(np.float32(1e-12))  # added to squared norms, as in PyTorch, to its last digit


class _Pairs(Op, register=False):
    """Base of the losses of two embeddings (..., D) and masks (...) that say how they relate."""

    reduction: str

    def infer(self, a: Spec, b: Spec, *masks: Spec) -> tuple[Spec, ...]:
        need_float(self, a)
        shape = broadcast(self, input1=a.shape, input2=b.shape)[:-1]
        if masks[0].shape != shape:
            shape = broadcast(self, distance=shape, target=masks[0].shape)
        return (Spec(shape if self.reduction == "none" else (), a.dtype),)

    def sides(
        self, xp: Any, g: Array, shapes: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, Array | None]:
        """Give ga = g and gb = -g, summed to their shapes."""
        ga = sum_to(xp, g, shapes[0]) if needs[0] else None
        return ga, sum_to(xp, -g, shapes[1]) if needs[1] else None


@dataclass(frozen=True)
class CosineEmbeddingLoss(_Pairs):
    """e = 1 - c where similar, max(0, c - margin) where dissimilar, else 0; c = a.b / (|a| |b|).

    1e-12 is added to the squared norms.  y is e, its sum or its mean.  With h = -g where
    similar, g where dissimilar and c >= margin, else 0: ga = h (b / (|a| |b|) - c a / |a|^2).
    """

    margin: float = 0.0
    reduction: str = "mean"

    @quiet
    def forward(
        self, xp: Any, a: Array, b: Array, similar: Array, dissimilar: Array
    ) -> tuple[tuple[Array, ...], Any]:
        aa, bb = xp.sum(a * a, axis=-1) + _LEAST, xp.sum(b * b, axis=-1) + _LEAST
        norms = xp.sqrt(aa * bb)
        c = xp.asarray(xp.sum(a * b, axis=-1) / norms)
        shape = np.broadcast_shapes(c.shape, similar.shape)
        near = flags(xp, xp.logical_not(similar), shape)
        far = flags(xp, xp.logical_not(dissimilar), shape)
        e = drop(xp, near, 1 - c) + drop(xp, far, xp.asarray(xp.maximum(c - self.margin, 0)))
        far = flags(xp, far | xp.logical_not(c >= self.margin), shape)
        return (reduced(xp, xp.asarray(e), self.reduction),), (a, b, aa, bb, norms, c, near, far)

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        a, b, aa, bb, norms, c, near, far = saved
        g = xp.asarray(share(gy, self.reduction, near.size))
        h = sum_to(xp, xp.asarray(drop(xp, far, g) - drop(xp, near, g)), c.shape)
        h = xp.asarray(h)[..., None]
        across, along = h / xp.asarray(norms)[..., None], h * xp.asarray(c)[..., None]
        ga = self._side(xp, across * b, along, a, aa) if needs[0] else None
        gb = self._side(xp, across * a, along, b, bb) if needs[1] else None
        return ga, gb, None, None

    @staticmethod
    def _side(xp: Any, across: Array, along: Array, a: Array, aa: Array) -> Array:
        """Give the gradient of one embedding; its own axis may be the one that is broadcast."""
        both = np.broadcast_shapes(across.shape, a.shape)
        lead = xp.asarray(along / xp.asarray(aa)[..., None]) * a
        if across.shape == lead.shape == a.shape:
            across -= lead
            return across
        return sum_to(xp, xp.broadcast_to(across, both), a.shape) - sum_to(xp, lead, a.shape)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        t = np.array([1, -1, -1, 0])
        for reduction in ("mean", "sum", "none"):
            for margin in (-0.99, 0.99):  # past every cosine, so that no kink is met
                yield Sample(cls(margin, reduction), normal(4, 3), normal(4, 3), t == 1, t == -1)
        yield Sample(cls(-0.99, "none"), normal(1, 3), normal(4, 3), t == 1, t == -1)
        yield Sample(cls(-0.99), normal(1, 3), normal(3), t == 1, t == -1)
        yield Sample(cls(-3.0), normal(4, 1), normal(4, 3), t == 1, t == -1)
        yield Sample(cls(-3.0), normal(4, 3), normal(1, 1), t == 1, t == -1)
        yield Sample(cls(), normal(3), normal(3), np.array(True), np.array(False))


@public
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Turn embeddings towards each other where the target is 1, away where it is -1.

    With c the cosine of the angle between them, e = 1 - c where the target is 1,
    max(0, c - margin) where it is -1, and 0 for any other; then its mean, sum, or itself.

    Shapes: (N, D) twice, which broadcast, and (N,), or (D,) twice and () -> () or, for reduction
    'none', (N,).  A vector of zeros has the cosine 0.  Gradients go to both inputs.  The mean of
    nothing is NaN.  Integers become float32.  Raises ShapeError for shapes that do not fit.

    >>> import chainrule as cr
    >>> a, b = cr.tensor([[1.0, 0.0], [1.0, 0.0]]), cr.tensor([[1.0, 1.0], [1.0, 1.0]])
    >>> cr.nn.functional.cosine_embedding_loss(a, b, cr.tensor([1, -1]), reduction="none")
    tensor([0.2929, 0.7071])
    """
    name = "cosine_embedding_loss"
    mode = reduction_mode(name, reduction, size_average, reduce)
    a, b, t = _pairs(name, input1, input2, target)
    op = CosineEmbeddingLoss(number(margin, f"{name} margin"), mode)
    return apply(op, a, b, eq(t, 1), eq(t, -1))


def _pairs(name: str, input1: Any, input2: Any, target: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Check the axes of two embeddings and of what says how they relate."""
    a, b = as_floats(name, input1, input2)
    t = as_tensor(target)
    if t.ndim > 1 or not a.ndim == b.ndim == t.ndim + 1:
        rule = "inputs (N, D) with a target (N,), or inputs (D,) with a target ()"
        raise failure(name, rule, input1=a, input2=b, target=t)
    return a, b, t


@dataclass(frozen=True)
class ContrastiveLoss(_Pairs):
    """e = d^2 / 2 where similar, else max(0, margin - d)^2 / 2, with d = |a - b|.

    `legacy` has max(0, margin - d^2) / 2 for the second.  y is e, its sum or its mean.
    ga = g (a - b) where similar, else -g (margin - d) (a - b) / d (legacy: -g (a - b)) within
    the margin; gb = -ga.
    """

    margin: float = 1.0
    legacy: bool = False
    reduction: str = "mean"

    @quiet
    def forward(self, xp: Any, a: Array, b: Array, similar: Array) -> tuple[tuple[Array, ...], Any]:
        d = a - b
        square = xp.sum(d * d, axis=-1)
        size = square if self.legacy else xp.sqrt(square)
        left = xp.asarray(xp.maximum(self.margin - size, 0))
        e = xp.asarray(0.5 * xp.where(similar, square, left if self.legacy else left * left))
        within = left > 0
        scale = within if self.legacy else xp.where(within & (size > 0), left / size, 0)
        scale = xp.where(similar, d.dtype.type(1), -xp.asarray(scale, d.dtype))
        shapes = (a.shape, b.shape)
        return (reduced(xp, e, self.reduction),), (d, xp.asarray(scale), shapes)

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        d, scale, shapes = saved
        g = xp.asarray(share(gy, self.reduction, scale.size) * scale)
        return (*self.sides(xp, g[..., None] * d, shapes, needs), None)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for reduction in ("mean", "sum", "none"):
            for legacy in (False, True):
                # A margin that all or none meet.
                for margin in (100.0, 1e-3):
                    op = cls(margin, legacy, reduction)
                    yield Sample(op, normal(4, 3), normal(4, 3), booleans(4))
        yield Sample(cls(100.0, False, "none"), normal(1, 3), normal(4, 3), booleans(4))
        yield Sample(cls(100.0), normal(3), normal(3), booleans())


@public
def contrastive_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 1.0,
    legacy: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Draw similar embeddings together, push others a margin apart (Hadsell et al., 2006).

    e = d^2 / 2 where the target is not 0, else max(0, margin - d)^2 / 2, with d the distance
    |input1 - input2|; then its mean, which is Caffe's ContrastiveLoss, its sum, or itself.
    `legacy` is Caffe's older max(0, margin - d^2) / 2.

    Shapes: (N, D) twice, which broadcast, and (N,), or (D,) twice and () -> () or, for reduction
    'none', (N,).  At distance 0 the gradient is 0.  Gradients go to both inputs.  The mean of
    nothing is NaN.  Raises ShapeError for shapes that do not fit.

    >>> import chainrule as cr
    >>> a, b = cr.tensor([[0.0, 0.0], [0.0, 0.0]]), cr.tensor([[0.3, 0.4], [0.3, 0.4]])
    >>> cr.nn.functional.contrastive_loss(a, b, cr.tensor([1, 0]), reduction="none")
    tensor([0.125, 0.125])
    """
    name = "contrastive_loss"
    mode = reduction_mode(name, reduction, None, None)
    a, b, t = _pairs(name, input1, input2, target)
    op = ContrastiveLoss(number(margin, f"{name} margin"), bool(legacy), mode)
    return apply(op, a, b, ne(t, 0))


@public
def l1_hinge_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """Hinge loss of the absolute distance of two embeddings: Torch's L1HingeEmbeddingCriterion.

    With d = sum |input1 - input2|, e = d where the target is 1, max(0, margin - d) where it is
    -1; then its mean, sum, or itself.

    Shapes: (N, D) twice, which broadcast, and (N,), or (D,) twice and () -> () or, for reduction
    'none', (N,).  Gradients go to both inputs; that of |x| at 0 is 0.  Raises ShapeError for
    shapes that do not fit.

    >>> import chainrule as cr
    >>> a, b = cr.tensor([[1.0, 2.0]]), cr.tensor([[1.5, 2.0]])
    >>> cr.nn.functional.l1_hinge_embedding_loss(a, b, cr.tensor([-1]), margin=2.0)
    tensor(1.5)
    """
    name = "l1_hinge_embedding_loss"
    mode = reduction_mode(name, reduction, None, None)
    a, b, t = _pairs(name, input1, input2, target)
    distance: Any = a - b
    return hinge_embedding_loss(distance.abs().sum(-1), t, margin, reduction=mode)


def check_margin(name: str, margin: Any) -> float:
    """Give a triplet's margin; ShapeError unless it is positive."""
    value = number(margin, f"{name} margin")
    if value <= 0:
        raise failure(name, "a positive margin", margin=margin)
    return value


@dataclass(frozen=True)
class TripletHinge(Elementwise):
    """e = max(0, margin + a - b), a and b two distances; y is e, its sum or its mean.

    ga = g where margin + a - b >= 0, else 0;  gb = -ga.
    """

    margin: float = 1.0
    reduction: str = "mean"

    inputs: ClassVar[tuple[str, ...]] = ("near", "far")

    def errors(self, xp: Any, *arrays: Any) -> tuple[Array, Any]:
        near, far = arrays
        u = self.margin + near - far
        return xp.maximum(u, 0), xp.asarray(xp.logical_not(u >= 0))

    def slopes(self, xp: Any, kept: Any, g: Array, needs: tuple[bool, ...]) -> Slopes:
        return opposite(drop(xp, kept, g), needs)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        # Distances are odd multiples of 0.05 to within 0.01, so that no margin is met.
        for reduction in ("mean", "sum", "none"):
            yield Sample(cls(0.3, reduction), distinct(3, 4), np.zeros((3, 4)))
            yield Sample(cls(0.1, reduction), distinct(3, 4), np.zeros((3, 1)))
        yield Sample(cls(5.0), normal(), normal())


def _triplet(
    name: str,
    distance: Callable[..., Any],
    tensors: tuple[Tensor, ...],
    margin: float,
    swap: bool,
    mode: str,
) -> Tensor:
    """Reduce max(0, margin + d(anchor, positive) - d(anchor, negative))."""
    anchor, positive, negative = tensors
    if not anchor.ndim == positive.ndim == negative.ndim:
        rule = "an anchor, a positive and a negative of as many axes"
        raise failure(name, rule, anchor=anchor, positive=positive, negative=negative)
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    return apply(TripletHinge(margin, mode), *as_floats(name, near, far))


@public
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Ask that an anchor is closer to its like than to another by a margin (Balntas et al., 2016).

    e = max(0, margin + d(anchor, positive) - d(anchor, negative)), with `pairwise_distance` of
    the p-norm for d; then its mean, sum, or itself.  `swap` takes d(positive, negative) for the
    second distance where that is smaller.

    Shapes: three (N, D) or (D,), which broadcast -> () or, for reduction 'none', (N,) or ().
    Gradients go to all three; at the kink it is that of the line.  Raises ValueError for a
    margin that is not positive, ShapeError for shapes that do not fit.

    >>> import chainrule as cr
    >>> a, p, n = cr.tensor([[0.0, 0.0]]), cr.tensor([[3.0, 4.0]]), cr.tensor([[0.0, 4.5]])
    >>> cr.nn.functional.triplet_margin_loss(a, p, n)
    tensor(1.5)
    """
    name = "triplet_margin_loss"
    mode = reduction_mode(name, reduction, size_average, reduce)
    least = check_margin(name, margin)
    tensors = as_floats(name, anchor, positive, negative)
    distance = partial(pairwise_distance, p=p, eps=eps)
    return _triplet(name, distance, tensors, least, bool(swap), mode)


@public
def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[..., Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`triplet_margin_loss` with a distance of one's own.

    `distance_function` takes two tensors and gives a tensor of distances; None is
    `pairwise_distance`.

    Shapes: three of as many axes -> () or, for reduction 'none', the distances' shape.  Raises
    as `triplet_margin_loss`.

    >>> import chainrule as cr
    >>> a, p, n = cr.tensor([[0.0, 0.0]]), cr.tensor([[3.0, 4.0]]), cr.tensor([[0.0, 4.5]])
    >>> cr.nn.functional.triplet_margin_with_distance_loss(
    ...     a, p, n, distance_function=lambda x, y: (x - y).abs().sum(1))
    tensor(3.5)
    """
    name = "triplet_margin_with_distance_loss"
    mode = reduction_mode(name, reduction, None, None)
    least = check_margin(name, margin)
    tensors = as_tensor(anchor), as_tensor(positive), as_tensor(negative)
    distance = distance_function or pairwise_distance
    return _triplet(name, distance, tensors, least, bool(swap), mode)
