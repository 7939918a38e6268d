"""Binary cross-entropy, of logits and of probabilities: every output is a yes or no of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chainrule.engine.op import FUNCTIONS, Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal, positive, uniform
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import KindError, UndefinedKindError, failure
from chainrule.ops.broadcast import broadcast, sum_to
from chainrule.ops.cast import cast, promote
from chainrule.ops.formulas import log_one_plus_exp, logistic, need_float, quiet
from chainrule.ops.loss import reduced, reduction_mode, share


def _checked(op: Any, x: Spec, t: Spec, **weights: Spec | None) -> tuple[Spec, ...]:
    """Infer: one shape, one floating dtype, weights that broadcast to the shape."""
    if x.shape != t.shape:
        raise failure(op, f"a target of the input's shape {x.shape}", input=x, target=t)
    need_float(op, x)
    for name, w in weights.items():
        if w is not None and w.shape != x.shape:
            common = broadcast(op, **{"input": x.shape, name: w.shape})
            if common != x.shape:
                rule = f"a {name} that broadcasts to the input's shape, not to {common}"
                raise failure(op, rule, input=x, weight=w)
    return (Spec(x.shape if op.reduction == "none" else (), x.dtype),)


@dataclass(frozen=True)
class BinaryCrossEntropyWithLogits(Op):
    """e = -w (v t log s(x) + (1 - t) log(1 - s(x))), with s the sigmoid; y is e, its sum or mean.

    w is the weight and v the positive weight, each 1 if not given; v is the last input if
    `positive`.  gx = g w ((1 - t) s(x) - v t s(-x));
    gt = g w (v log(1 + exp(-x)) - log(1 + exp(x)));  gv = g w t log(1 + exp(-x)).
    """

    reduction: str = "mean"
    positive: bool = False

    def infer(self, x: Spec, t: Spec, *weights: Spec) -> tuple[Spec, ...]:
        w, v = self._which(weights)
        return _checked(self, x, t, weight=w, pos_weight=v)

    def _which(self, weights: Any) -> tuple[Any, Any]:
        """Tell the weight from the positive weight."""
        w = weights[0] if len(weights) > self.positive else None
        return w, weights[-1] if self.positive else None

    @quiet
    def forward(
        self, xp: Any, x: Array, t: Array, *weights: Array
    ) -> tuple[tuple[Array, ...], Any]:
        e = self._errors(xp, x, t, self._which(weights)[1])
        if len(weights) > self.positive:
            e = xp.asarray(e * weights[0])
        return (reduced(xp, e, self.reduction),), (x, t, weights)

    @staticmethod
    def _errors(xp: Any, x: Array, t: Array, v: Array | None) -> Array:
        """Give (1 - t) max(x, 0) - v t min(x, 0) + (1 + (v - 1) t) log(1 + exp(-|x|)).

        Nothing cancels: a small loss keeps all its digits on either side.  At -inf the maximum
        is written so that the answer is NaN, which is PyTorch's.
        """
        tail = xp.log1p(xp.exp(-xp.abs(x)))
        yes = t if v is None else t * v
        if v is not None:
            tail = tail * (1 - t + yes)
        below = xp.minimum(x, 0)
        e = (1 - t) * (x - below)
        e -= yes * below
        e += tail
        return xp.asarray(e)  # type: ignore[no-any-return]

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        x, t, weights = saved
        w, v = self._which(weights)
        bare = g = share(gy, self.reduction, x.size)
        if w is not None:
            g = g * w
        yes = t if v is None else t * v
        gx = gt = gw = gv = None
        if needs[0]:
            gx = g * ((1 - t) * logistic(xp, x) - yes * logistic(xp, -x))
        if needs[1]:
            gt = g * (-x if v is None else v * log_one_plus_exp(xp, -x) - log_one_plus_exp(xp, x))
        if w is not None and needs[2]:
            gw = sum_to(xp, xp.asarray(bare * self._errors(xp, x, t, v)), w.shape)
        if v is not None and needs[-1]:
            gv = sum_to(xp, xp.asarray(g * t * log_one_plus_exp(xp, -x)), v.shape)
        return (gx, gt, *(() if w is None else (gw,)), *(() if v is None else (gv,)))

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        x, t = normal(3, 4), uniform(3, 4, low=0.1, high=0.9)
        for reduction in ("mean", "sum", "none"):
            yield Sample(cls(reduction), x, t)
            yield Sample(cls(reduction), x, t, positive(4))
            yield Sample(cls(reduction, positive=True), x, t, positive(3, 1))
            yield Sample(cls(reduction, positive=True), x, t, positive(3, 4), positive(4))
        yield Sample(cls(), uniform(2, 3, low=-9, high=9), uniform(2, 3, low=0, high=1))
        yield Sample(cls(), normal(), normal())


@public
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy of sigmoid(input) against targets in [0, 1], in one stable step.

    e = -weight (pos_weight t log s(x) + (1 - t) log(1 - s(x))), then its mean, sum, or itself.

    Shapes: input and target the same, `weight` and `pos_weight` broadcast to it -> () or, for
    'none', that shape.  Gradients go to all four.  The mean is over all elements, whatever the
    weights; that of nothing is NaN.  Raises TypeError for integers, ShapeError for shapes that
    do not fit.

    >>> import chainrule as cr
    >>> x, t = cr.tensor([0.0, 200.0, -200.0]), cr.tensor([1.0, 1.0, 1.0])
    >>> cr.nn.functional.binary_cross_entropy_with_logits(x, t, reduction="none")
    tensor([0.6931, 0.0000, 200.0000])
    """
    name = "binary_cross_entropy_with_logits"
    mode = reduction_mode(name, reduction, size_average, reduce)
    x, wanted = as_tensor(input), as_tensor(target)
    if x.shape != wanted.shape:
        raise failure(name, f"a target of the input's shape {x.shape}", input=x, target=wanted)
    if wanted.dtype.kind != "f":
        hint = "convert it first: target.float()"
        rule = "a floating-point target"
        raise failure(name, rule, error=UndefinedKindError, hint=hint, target=wanted)
    need_float(name, x)
    weights = [w for w in (weight, pos_weight) if w is not None]
    inputs = promote(x, wanted, *weights)
    y = apply(BinaryCrossEntropyWithLogits(mode, pos_weight is not None), *inputs)
    return cast(y, wanted.dtype)  # with two dtypes PyTorch answers in the target's


sigmoid_cross_entropy = FUNCTIONS["sigmoid_cross_entropy"] = binary_cross_entropy_with_logits
"""Caffe's name for it; Caffe divides the sum by the number of images."""


@dataclass(frozen=True)
class BinaryCrossEntropy(Op):
    """e = -w (t log x + (1 - t) log(1 - x)), logarithms at least -100; y is e, its sum or mean.

    gx = g w (x - t) / max(x (1 - x), 1e-12);  gt = g w (log(1 - x) - log x).
    """

    reduction: str = "mean"

    def infer(self, x: Spec, t: Spec, w: Spec | None = None) -> tuple[Spec, ...]:
        if t.dtype != x.dtype and t.shape == x.shape:
            rule, hint = "a target of the input's dtype", f"convert it first: target.to({x.dtype})"
            raise failure(self, rule, error=KindError, hint=hint, input=x, target=t)
        return _checked(self, x, t, weight=w)

    @quiet
    def forward(
        self, xp: Any, x: Array, t: Array, w: Array | None = None
    ) -> tuple[tuple[Array, ...], Any]:
        for name, values in (("input", x), ("target", t)):
            if values.size and not (values.min() >= 0 and values.max() <= 1):
                rule = f"{name} values between 0 and 1"
                hint = "binary_cross_entropy_with_logits takes scores" if name == "input" else ""
                lowest, highest = float(values.min()), float(values.max())
                raise failure(self, rule, hint=hint, lowest=lowest, highest=highest)
        e = self._errors(xp, x, t)
        if w is not None:
            e = xp.asarray(e * w)
        return (reduced(xp, e, self.reduction),), (x, t, w)

    @staticmethod
    def _errors(xp: Any, x: Array, t: Array) -> Array:
        e = (t - 1) * xp.maximum(xp.log1p(-x), -100)
        e -= t * xp.maximum(xp.log(x), -100)
        return xp.asarray(e)  # type: ignore[no-any-return]

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        x, t, w = saved
        bare = g = share(gy, self.reduction, x.size)
        if w is not None:
            g = g * w
        gx = gt = gw = None
        if needs[0]:
            gx = g * (x - t) / xp.maximum((1 - x) * x, 1e-12)
        if needs[1]:
            gt = g * (xp.log1p(-x) - xp.log(x))
        if w is None:
            return gx, gt
        if needs[2]:
            gw = sum_to(xp, xp.asarray(bare * self._errors(xp, x, t)), w.shape)
        return gx, gt, gw

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        x, t = uniform(3, 4, low=0.1, high=0.9), uniform(3, 4, low=0.1, high=0.9)
        for reduction in ("mean", "sum", "none"):
            yield Sample(cls(reduction), x, t)
            yield Sample(cls(reduction), x, t, positive(4))
            yield Sample(cls(reduction), x, t, positive(3, 4))
        yield Sample(cls(), uniform(low=0.1, high=0.9), uniform(low=0.1, high=0.9))


@public
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Binary cross-entropy of probabilities against targets, both in [0, 1].

    e = -weight (t log x + (1 - t) log(1 - x)), then its mean, sum, or itself.  Logarithms are
    cut at -100, so that a certain and wrong answer costs 100 and not infinity.

    Shapes: input and target the same, `weight` broadcasts to it -> () or, for 'none', that
    shape.  Gradients go to all three.  Raises ShapeError for values outside [0, 1] and for
    shapes that do not fit, TypeError for integers and for two dtypes.

    >>> import chainrule as cr
    >>> cr.nn.functional.binary_cross_entropy(cr.tensor([0.5, 0.0]), cr.tensor([1.0, 1.0]))
    tensor(50.3466)
    """
    name = "binary_cross_entropy"
    mode = reduction_mode(name, reduction, size_average, reduce)
    x, t = as_tensor(input), as_tensor(target)
    weights = () if weight is None else (cast(as_tensor(weight), x.dtype),)
    return apply(BinaryCrossEntropy(mode), x, t, *weights)
