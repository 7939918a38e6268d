"""Negative log-likelihoods of numbers: Poisson, Gaussian, and the Kullback-Leibler divergence."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from chainrule.engine.op import Array, public
from chainrule.engine.promotion import is_scalar
from chainrule.engine.sample import Sample, normal, positive, uniform
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import UndefinedKindError, failure
from chainrule.ops.cast import promote
from chainrule.ops.elementwise import div
from chainrule.ops.formulas import number
from chainrule.ops.loss import Elementwise, Slopes, as_floats, reduction_mode


@dataclass(frozen=True)
class KLDiv(Elementwise):
    """e = t (log t - x), 0 where t is 0; with a logarithmic target e = exp(t) (t - x).

    y is e, its sum or its mean.  gx = -g t and gt = g (log t + t / t - x), NaN where t is 0;
    with a logarithmic target gx = -g exp(t) and gt = g exp(t) (t - x + 1).
    """

    log_target: bool = False
    reduction: str = "mean"

    def errors(self, xp: Any, *arrays: Any) -> tuple[Array, Any]:
        x, t = arrays
        if self.log_target:
            p = xp.exp(t)
            return p * (t - x), (x, t, p)
        return t * xp.log(t + (t == 0)) - t * x, (x, t, t)

    def slopes(self, xp: Any, kept: Any, g: Array, needs: tuple[bool, ...]) -> Slopes:
        x, t, p = kept
        gt = None
        if needs[1]:
            slope = p * (t - x + 1) if self.log_target else xp.log(t + (t == 0)) + t / t - x
            gt = g * slope
        return -g * p if needs[0] else None, gt

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for reduction in ("mean", "sum", "none"):
            yield Sample(cls(False, reduction), normal(3, 4), positive(3, 4))
            yield Sample(cls(True, reduction), normal(3, 4), normal(3, 4))
            yield Sample(cls(False, reduction), normal(3, 1), positive(2, 1, 4))
            yield Sample(cls(True, reduction), normal(2, 1, 4), normal(3, 1))
        yield Sample(cls(), normal(), positive())


@public
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """Kullback-Leibler divergence of a target distribution from log-probabilities.

    e = t (log t - x), 0 where t is 0; with `log_target` the target is logarithms as well and
    e = exp(t) (t - x).  Then the sum, 'batchmean' (the sum divided by the first size: the
    divergence of one image), the mean over elements (which warns, as it is seldom meant), or e
    itself.  Torch's DistKLDivCriterion.

    Shapes: input and target that broadcast -> () or, for reduction 'none', their common shape.
    The mean of nothing is NaN.  Gradients go to both; by the target it is NaN where t is 0.
    Raises TypeError unless both are floating-point, ValueError for another reduction.

    >>> import chainrule as cr
    >>> logs = cr.log_softmax(cr.tensor([[0.0, 0.0]]), dim=1)
    >>> cr.nn.functional.kl_div(logs, cr.tensor([[1.0, 0.0]]), reduction="batchmean")
    tensor(0.6931)
    """
    batch = reduction == "batchmean"
    if reduction == "mean" and size_average is None and reduce is None:
        warnings.warn(
            "kl_div: reduction='mean' divides by the number of elements; 'batchmean' divides by "
            "the batch size, which gives the divergence",
            stacklevel=2,
        )
    mode = reduction_mode("kl_div", "sum" if batch else reduction, size_average, reduce)
    x, t = as_tensor(input), as_tensor(target)
    if x.dtype.kind != "f" or t.dtype.kind != "f":
        rule, hint = "a floating-point input and target", "convert them first: x.float()"
        raise failure("kl_div", rule, error=UndefinedKindError, hint=hint, input=x, target=t)
    y = apply(KLDiv(bool(log_target), mode), *promote(x, t))
    return div(y, x.shape[0]) if batch and x.ndim else y


@dataclass(frozen=True)
class PoissonNLLLoss(Elementwise):
    """e = exp(x) - t x, or x - t log(x + eps) unless the input is logarithms.

    `full` adds Stirling's t log t - t + log(2 pi t) / 2 where t > 1.  y is e, its sum or mean.
    gx = g (exp(x) - t) or g (1 - t / (x + eps));  gt = -g x or -g log(x + eps), and where t > 1
    for `full` + g (log t + 1 / (2 t)).
    """

    log_input: bool = True
    full: bool = False
    eps: float = 1e-8
    reduction: str = "mean"

    def errors(self, xp: Any, *arrays: Any) -> tuple[Array, Any]:
        x, t = arrays
        rate = xp.exp(x) if self.log_input else x
        log = x if self.log_input else xp.log(x + self.eps)
        e = rate - t * log
        if self.full:
            large, s = self._large(xp, t)
            e = e + large * (s * xp.log(s) - s + 0.5 * xp.log(2 * math.pi * s))
        return e, (x, t, rate, log)

    @staticmethod
    def _large(xp: Any, t: Array) -> tuple[Array, Array]:
        """Tell where Stirling's formula counts, and give t there, else 1."""
        large = xp.logical_not(t <= 1)
        return large, xp.where(large, t, t.dtype.type(1))

    def slopes(self, xp: Any, kept: Any, g: Array, needs: tuple[bool, ...]) -> Slopes:
        x, t, rate, log = kept
        gx = gt = None
        if needs[0]:
            gx = g * (rate - t if self.log_input else 1 - t / (x + self.eps))
        if needs[1]:
            gt = -g * log
            if self.full:
                large, s = self._large(xp, t)
                gt = gt + g * large * (xp.log(s) + 0.5 / s)
        return gx, gt

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        small, large = uniform(3, 4, low=0.1, high=0.9), uniform(3, 4, low=1.1, high=5)
        for reduction in ("mean", "sum", "none"):
            for full in (False, True):
                yield Sample(cls(True, full, 1e-8, reduction), normal(3, 4), large)
                yield Sample(cls(False, full, 0.1, reduction), positive(3, 4), small)
                yield Sample(cls(False, full, 1e-8, reduction), positive(2, 3, 1), large)
        yield Sample(cls(), normal(), uniform(low=1.1, high=5))


@public
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood of counts t under a Poisson distribution, up to log t!.

    e = exp(x) - t x, where the input is the logarithm of the rate, else x - t log(x + eps).
    `full` adds Stirling's approximation of log t! where t > 1: t log t - t + log(2 pi t) / 2.
    Then its mean, sum, or itself.

    Shapes: input and target that broadcast -> () or, for reduction 'none', their common shape.
    The mean of nothing is NaN.  Gradients go to both.  Integers become float32.  Raises
    ShapeError for shapes that do not fit, ValueError for another reduction.

    >>> import chainrule as cr
    >>> cr.nn.functional.poisson_nll_loss(cr.tensor([0.0, 1.0]), cr.tensor([2.0, 1.0]))
    tensor(1.3591)
    """
    mode = reduction_mode("poisson_nll_loss", reduction, size_average, reduce)
    op = PoissonNLLLoss(bool(log_input), bool(full), number(eps, "poisson_nll_loss eps"), mode)
    return apply(op, *as_floats("poisson_nll_loss", input, target))


@dataclass(frozen=True)
class GaussianNLLLoss(Elementwise):
    """e = (log v + (x - t)^2 / v) / 2, v at least eps; `full` adds log(2 pi) / 2.

    y is e, its sum or its mean.  gx = g (x - t) / v = -gt;  gv = g (1 - (x - t)^2 / v) / (2 v),
    also where v was below eps.
    """

    full: bool = False
    eps: float = 1e-6
    reduction: str = "mean"

    inputs: ClassVar[tuple[str, ...]] = ("input", "target", "var")

    def errors(self, xp: Any, *arrays: Any) -> tuple[Array, Any]:
        x, t, v = arrays
        if (v < 0).any():
            raise failure(self, "variances of at least 0", lowest=float(v[v < 0].min()))
        v = xp.maximum(v, self.eps)
        d = x - t
        e = 0.5 * (xp.log(v) + d * d / v)
        return e + 0.5 * math.log(2 * math.pi) if self.full else e, (d, v)

    def slopes(self, xp: Any, kept: Any, g: Array, needs: tuple[bool, ...]) -> Slopes:
        d, v = kept
        r = d / v
        gx = g * r if needs[0] or needs[1] else None
        gv = g * 0.5 * (1 / v - r * r) if needs[2] else None
        return gx, None if gx is None else -gx, gv

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        x, t, v = normal(3, 4), normal(3, 4), positive(3, 4)
        for reduction in ("mean", "sum", "none"):
            for full in (False, True):
                yield Sample(cls(full, 1e-6, reduction), x, t, v)
                yield Sample(cls(full, 1e-3, reduction), x, normal(4), positive(3, 1))
        yield Sample(cls(), normal(), normal(), positive())


def _variance(var: Any, x: Tensor) -> Any:
    """Give the variances in a shape that broadcasts to the input's; numbers stay numbers."""
    if is_scalar(var):
        return var
    v = as_tensor(var)
    if v.shape == x.shape:
        return v
    if v.shape == x.shape[:-1]:
        return v.unsqueeze(-1)
    if v.ndim == x.ndim:
        different = [n for m, n in zip(x.shape, v.shape, strict=True) if m != n]
        if different == [1]:
            return v
    rule = f"a var of the input's shape {x.shape}, without its last size, or with one size 1"
    raise failure("gaussian_nll_loss", rule, input=x, var=v)


@public
def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood of targets under Gaussians of given means and variances.

    e = (log v + (x - t)^2 / v) / 2 with v = max(var, eps); `full` adds the constant
    log(2 pi) / 2.  Then its mean, sum, or itself (Nix and Weigend, 1994).

    Shapes: input and target that broadcast; `var` a number, or of the input's shape, or without
    its last axis, or with one axis of size 1 -> () or, for reduction 'none', the common shape.
    Gradients go to all three; var's passes where it was below eps.  The mean of nothing is NaN.
    Raises ValueError for negative variances and for a var that does not fit.

    >>> import chainrule as cr
    >>> x, t = cr.tensor([0.0, 1.0]), cr.tensor([0.0, 3.0])
    >>> cr.nn.functional.gaussian_nll_loss(x, t, cr.tensor([1.0, 1.0]))
    tensor(1.0)
    """
    mode = reduction_mode("gaussian_nll_loss", reduction, None, None)
    x = as_tensor(input)
    operands = as_floats("gaussian_nll_loss", x, as_tensor(target), _variance(var, x))
    op = GaussianNLLLoss(bool(full), number(eps, "gaussian_nll_loss eps"), mode)
    return apply(op, *operands)
