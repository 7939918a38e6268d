"""Normalisation: batch normalisation and local response normalisation.

The channel axis is axis 1, as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from chainrule.engine import state
from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal, positive
from chainrule.engine.tensor import Tensor, apply, apply_all, as_tensor, mark_written
from chainrule.errors import GraphError, KindError, UndefinedKindError, failure
from chainrule.ops.arguments import flag, integer

FLOAT32 = np.dtype(np.float32)
LONG = 1024  # so many values are summed in float32 at most, where there is a choice


def _along(values: Array, ndim: int) -> Array:
    """View (C,) values so that they broadcast along axis 1 of an ndim-dimensional array."""
    view: Array = values.reshape(-1, *(1,) * (ndim - 2))
    return view


def _floats(x: Array) -> Array:
    """Give float16 as float32, whose sums do not overflow; other dtypes as they are."""
    return x.astype(FLOAT32) if x.dtype.itemsize == 2 else x


def _total(xp: Any, a: Array, b: Array | None = None) -> Array:
    """Sum a, or a*b, over all axes but the channels: (N, C, ...) -> (C,) in float64.

    In two stages, of which the first is in the data's dtype: along memory, but not so far that
    rounding adds up.
    """
    every = list(range(a.ndim))
    if a.ndim > 2 and abs(a.strides[1]) < abs(a.strides[-1]):  # channels-last memory
        kept = [0, *every[3:], 1] if a.ndim > 3 else [2, 1]
    else:
        kept = every[:-1] if prod(a.shape[2:]) > LONG else [0, 1]
    operands = (a, every) if b is None else (a, every, b, every)
    axes = tuple([place for place, axis in enumerate(kept) if axis != 1])
    total: Array = xp.einsum(*operands, kept).sum(axis=axes, dtype=xp.float64)
    return total


@dataclass(frozen=True)
class BatchNorm(Op):
    """y = (x - mean) / sqrt(variance + eps) * weight + bias, for each channel.

    In training the inputs are (x [, weight, bias]), mean and variance are the batch's own, and
    the outputs are (y, mean, biased variance); otherwise the inputs are
    (x, mean, variance [, weight, bias]) and y is the only output.

    With r = 1 / sqrt(variance + eps), xhat = (x - mean) * r and n values for each channel:
    gbias = sum(gy), gweight = sum(gy * xhat), gx = gy * weight * r, from which training takes
    away its mean and its part along xhat: weight * r / n * (sum(gy) + xhat * sum(gy * xhat)).
    """

    training: bool = True
    eps: float = 1e-5

    def infer(self, x: Spec, *rest: Spec) -> tuple[Spec, ...]:
        if not x.is_floating:
            raise failure(self, "a floating-point input", error=UndefinedKindError, x=x)
        if len(x.shape) < 2:
            raise failure(self, "at least 2 axes: (N, C, ...)", x=x)
        names = ("weight", "bias") if self.training else ("mean", "variance", "weight", "bias")
        for name, spec in zip(names, rest, strict=False):
            if spec.shape != (x.shape[1],):
                rule = f"{name} of shape ({x.shape[1]},), one value for each channel of x"
                raise failure(self, rule, x=x, given=spec)
            if spec.dtype != x.dtype and (x.dtype.itemsize > 2 or spec.dtype != FLOAT32):
                hint = f"convert one of them: .to({x.dtype.name!r})"
                rule = f"x and {name} of one dtype"
                raise failure(self, rule, error=KindError, hint=hint, x=x, given=spec)
        if not self.training:
            return (x,)
        counts = x.shape[:1] + x.shape[2:]
        if prod(counts) == 1:
            product = " * ".join(map(str, counts))
            rule = f"more than 1 value per channel when training, not {product} = 1"
            hint = "use a larger batch, or evaluation mode"
            raise failure(self, rule, hint=hint, x=x)
        stat = Spec((x.shape[1],), FLOAT32 if x.dtype.itemsize == 2 else x.dtype, False)
        return (x, stat, stat)

    def forward(self, xp: Any, x: Array, *rest: Array) -> tuple[tuple[Array, ...], Any]:
        # Values are centred in the data's dtype; `offset` is what rounding left of the mean, which
        # a large mean would otherwise carry into the variance.  (C,) values are in float64.
        data = _floats(x)
        offset: Any = 0.0
        affine = rest if self.training else rest[2:]
        n = x.size // x.shape[1] if x.size else 1
        with np.errstate(all="ignore"):
            centre = (_total(xp, data) / n if self.training else rest[0]).astype(data.dtype)
            y = data - _along(centre, x.ndim)
            if self.training:
                offset = _total(xp, y) / n
                variance = xp.maximum(_total(xp, y, y) / n - offset * offset, 0.0)
            else:
                variance = rest[1].astype(xp.float64)
            r = 1.0 / xp.sqrt(variance + self.eps)
            gain = r * affine[0] if affine else r
            shift = affine[1] - offset * gain if affine else -offset * gain
            y *= _along(gain.astype(y.dtype), x.ndim)
            y += _along(shift.astype(y.dtype), x.ndim)
            y = y.astype(x.dtype, copy=False)
            saved = (x, centre, offset, r, *affine[:1])
            if not self.training:
                return (y,), saved
            mean = xp.where(xp.isfinite(centre), centre + offset, centre).astype(centre.dtype)
            return (y, mean, variance.astype(centre.dtype)), saved

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        x, centre, offset, r, *weight = saved
        g = _floats(gy[0] if self.training else gy)
        kind = weight[0].dtype if weight else centre.dtype
        n = x.size // x.shape[1] if x.size else 1
        with np.errstate(all="ignore"):
            gain = r * weight[0] if weight else r
            total = _total(xp, g)
            d: Any = None  # x - mean, but for the offset
            along: Any = 0.0  # the sum of g * (x - mean)
            if self.training or any(needs[2:]):
                d = _floats(x) - _along(centre, x.ndim)
                along = _total(xp, g, d) - offset * total
            gx: Any = None
            if needs[0]:
                slope = r * r * along / n
                gx = self._input_gradient(xp, x, g, d, gain, total / n, slope, offset)
            rest = [] if self.training else [-gain * total, -0.5 * gain * r * r * along]
            rest += [along * r, total] if weight else []
            wanted = zip(rest, needs[1:], strict=True)
            return (gx, *[value.astype(kind) if need else None for value, need in wanted])

    def _input_gradient(
        self, xp: Any, x: Array, g: Array, d: Any, gain: Array, mean: Array, slope: Any, offset: Any
    ) -> Array:
        """Give gain * (g - mean - (d - offset) * slope) in training (d is lost), else gain * g."""
        gx: Array = xp.empty_like(x, dtype=g.dtype)
        xp.multiply(g, _along(gain.astype(g.dtype), x.ndim), out=gx)
        if self.training:
            d *= _along((gain * slope).astype(g.dtype), x.ndim)
            gx -= d
            gx -= _along((gain * (mean - slope * offset)).astype(g.dtype), x.ndim)
        return gx.astype(x.dtype, copy=False)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(True, 1e-5), normal(5, 3))
        yield Sample(cls(True, 1e-3), normal(4, 3), normal(3), normal(3))
        yield Sample(cls(True, 1e-5), normal(2, 3, 5), positive(3), normal(3))
        yield Sample(cls(True, 0.1), normal(2, 3, 3, 4), normal(3), normal(3))
        yield Sample(cls(True, 1e-2), normal(1, 2, 3, 2, 3), normal(2), normal(2))
        yield Sample(cls(False, 1e-5), normal(3, 4), normal(4), positive(4))
        yield Sample(
            cls(False, 1e-3), normal(2, 3, 3, 4), normal(3), positive(3), normal(3), normal(3)
        )
        yield Sample(cls(False, 0.0), normal(2, 3, 5), normal(3), positive(3), normal(3), normal(3))


@public
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Give each channel mean 0 and variance 1, then scale and shift (Ioffe and Szegedy, 2015).

    y = (x - mean) / sqrt(variance + eps) * weight + bias.  In training, mean and (biased) variance
    are those of the batch, and the running ones, if given, are moved towards them in place:
    running = (1 - momentum) * running + momentum * batch's, with the unbiased variance.
    Otherwise the running ones are used.  An empty batch gives an empty result and moves nothing.

    Shapes: (N, C, ...) -> the same; running_mean, running_var, weight, bias: (C,).
    Raises ShapeError for other shapes, for a single value per channel in training (its variance
    is 0) and for missing running values otherwise; KindError for integers and mixed dtypes (with
    a float16 input the others may be float32); GraphError for running values that want gradients.

    >>> import chainrule as cr
    >>> x = cr.tensor([[1.0, 10.0], [3.0, 30.0]])
    >>> mean, var = cr.zeros(2), cr.ones(2)
    >>> cr.nn.functional.batch_norm(x, mean, var, training=True)
    tensor([[-1.0, -1.0],
            [ 1.0,  1.0]])
    >>> mean
    tensor([0.2, 2.0])
    """
    given = (input, running_mean, running_var, weight, bias)
    return normalise("batch_norm", BatchNorm, *given, training, momentum, eps)


def normalise(
    name: str,
    kind: type[BatchNorm],
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """Run `kind`, batch norm or an operation made of it, and move the running statistics.

    Arguments, result and errors are those of `batch_norm`; `name` is the function's in messages.
    """
    x = as_tensor(input)
    training = flag(training, f"{name} training")
    eps, momentum = _number(eps, f"{name} eps"), _number(momentum, f"{name} momentum")
    if eps < 0 or (training and eps == 0):
        raise failure(name, f"eps {'> 0 in training' if training else '>= 0'}", eps=eps)
    running = _running(name, running_mean, running_var, training)
    affine = _affine(name, weight, bias)
    if not training:
        return apply(kind(False, eps), x, *running, *affine)
    y, mean, variance = apply_all(kind(True, eps), x, *affine)
    _check_moved(name, running, x, mean)
    if running and not y.is_meta and x.array.size:
        n = x.array.size // x.shape[1]
        _move(running[0], mean.array, momentum)
        _move(running[1], variance.array * (n / (n - 1)), momentum)
    return y


def _vector(name: str, what: str, value: Any) -> Tensor:
    if not isinstance(value, Tensor | np.ndarray):
        raise failure(name, f"{what} to be a tensor", error=KindError, value=value)
    return as_tensor(value)


def _affine(name: str, weight: Any, bias: Any) -> tuple[Tensor, ...]:
    """Give weight and bias, or nothing; a missing one is a constant of the dtype of the other."""
    w, b = (None if v is None else _vector(name, "weight or bias", v) for v in (weight, bias))
    if w is None:
        return () if b is None else (Tensor(np.ones_like(b.array)), b)
    return w, Tensor(np.zeros_like(w.array)) if b is None else b


def _running(name: str, mean: Any, variance: Any, training: bool) -> tuple[Tensor, ...]:
    if training and (mean is None) != (variance is None):
        raise failure(name, "running_mean and running_var both or neither")
    if training and mean is None:
        return ()
    if mean is None or variance is None:
        hint = "pass training=True to use the batch's own"
        raise failure(name, "running_mean and running_var in evaluation mode", hint=hint)
    running = (_vector(name, "running_mean", mean), _vector(name, "running_var", variance))
    if state.GRAD.get() and any(r.requires_grad for r in running):
        raise GraphError(f"{name}: running_mean and running_var have no gradients; detach them")
    return running


def _check_moved(name: str, running: tuple[Tensor, ...], x: Tensor, mean: Tensor) -> None:
    """Raise unless the running values are of the shape and dtype of the batch's."""
    for given in running:
        if given.shape != mean.shape:
            rule = f"running_mean and running_var of shape {mean.shape}, one value for each channel"
            raise failure(name, rule, x=x, given=given)
        if given.dtype not in (x.dtype, mean.dtype):
            rule = "x, running_mean and running_var of one dtype"
            raise failure(name, rule, error=KindError, x=x, given=given)


def _move(running: Tensor, value: Array, momentum: float) -> None:
    """Move running statistics in place towards the batch's."""
    running.array[...] = (1.0 - momentum) * running.array + momentum * value
    mark_written(running)


def _number(value: Any, name: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise failure(name, "a number", error=KindError, value=value) from error


# Local response normalisation


def _window_sums(xp: Any, a: Array, before: int, after: int) -> Array:
    """Sum a over channels c - before .. c + after, those there are: (N, C, ...) -> the same.

    By shifted additions: unlike differences of cumulative sums they cancel nothing, and a NaN
    stays where it is.
    """
    channels, sums = a.shape[1], xp.copy(a, order="K")
    for shift in range(1, min(after + 1, channels)):
        sums[:, :-shift] += a[:, shift:]
    for shift in range(1, min(before + 1, channels)):
        sums[:, shift:] += a[:, :-shift]
    return sums  # type: ignore[no-any-return]


def _power(xp: Any, d: Array, beta: float) -> Array:
    """Give d ** beta in a new array; by square roots, which are faster, where beta allows it."""
    if beta not in (0.5, 0.75):
        return d**beta
    root: Array = xp.sqrt(d)
    if beta == 0.75:
        root *= xp.sqrt(root)
    return root


@dataclass(frozen=True)
class LocalResponseNorm(Op):
    """y = x / d**beta with d = k + alpha/size * (sum of x**2 over `size` channels around).

    The window of channel c is c - size//2 .. c + (size-1)//2.
    gx[i] = gy[i] / d[i]**beta - 2 alpha beta / size * x[i] * (sum of gy[c] * y[c] / d[c] over the
    channels c whose window holds i).
    """

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        if self.size < 1:
            raise failure(self, f"size of at least 1, not {self.size}")
        if not x.is_floating:
            raise failure(self, "a floating-point input", error=UndefinedKindError, x=x)
        if len(x.shape) < 2:
            raise failure(self, "at least 2 axes: (N, C, ...)", x=x)
        return (x,)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        data = _floats(x)
        with np.errstate(all="ignore"):
            d = _window_sums(xp, data * data, self.size // 2, (self.size - 1) // 2)
            d *= self.alpha / self.size
            d += self.k
            y = _power(xp, d, self.beta)
            xp.divide(data, y, out=y)
        return (y.astype(x.dtype, copy=False),), (x, d)

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        x, d = saved
        data = _floats(x)
        with np.errstate(all="ignore"):
            gx = _power(xp, d, self.beta)
            xp.divide(gy, gx, out=gx)
            factor = 2.0 * self.alpha * self.beta / self.size
            if factor:
                t = gx * data
                t /= d
                t = _window_sums(xp, t, (self.size - 1) // 2, self.size // 2)
                t *= data
                t *= factor
                gx -= t
        return (gx.astype(x.dtype, copy=False),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(3, 0.5), normal(2, 5))
        yield Sample(cls(4, 0.3, 0.75, 2.0), normal(2, 7, 3))
        yield Sample(cls(5, 1.0, 0.5, 1.0), normal(2, 6, 2, 3))
        yield Sample(cls(2, 0.4, 1.3, 0.7), normal(1, 4, 2, 2, 3))
        yield Sample(cls(1, 0.5, -0.6, 1.0), normal(2, 3, 4))
        yield Sample(cls(11, 0.8, 0.75, 1.5), normal(2, 3, 3))
        yield Sample(cls(5, 0.0, 0.75, 2.0), normal(2, 3, 3))
        yield Sample(cls(5, 0.6, 0.75, 2.0), normal(2, 7, 2, 3))


@public
def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Divide each value by a power of the mean square around it (Krizhevsky et al., 2012).

    y[c] = x[c] / (k + alpha * m[c])**beta, where m[c] is the sum of squares over the channels
    c - size//2 .. c + (size-1)//2 (those there are), divided by size.  AlexNet's formula does not
    divide: its constants alpha=1e-4, n=5 are alpha=5e-4, size=5 here.

    Shapes: (N, C, ...) -> the same.
    Raises ShapeError for size < 1 or fewer than 2 axes, KindError for integers.

    >>> import chainrule as cr
    >>> x = cr.tensor([[[3.0], [4.0]]])
    >>> cr.nn.functional.local_response_norm(x, 2, alpha=2.0, beta=0.5, k=0.0)
    tensor([[[1.0],
             [0.8]]])
    """
    settings = [_number(v, "local_response_norm") for v in (alpha, beta, k)]
    return apply(LocalResponseNorm(integer(size, "local_response_norm size"), *settings), input)
