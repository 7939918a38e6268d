"""What the normalisations share: accurate sums, weights and biases, running statistics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from math import prod
from typing import Any

import numpy as np

from chainrule.engine import state
from chainrule.engine.op import Array, Spec
from chainrule.engine.tensor import Tensor, as_tensor, mark_written
from chainrule.errors import GraphError, KindError, failure

FLOAT32 = np.dtype(np.float32)
LONG = 1024  # so many values are summed in float32 at most, where there is a choice

Axes = tuple[int, ...]


def floats(x: Array) -> Array:
    """Give float16 as float32, whose sums do not overflow; other dtypes as they are."""
    return x.astype(FLOAT32) if x.dtype.itemsize == 2 else x


# Sums


@cache
def _block(n: int) -> int:
    """Give the largest divisor of n up to LONG; 0 where all of them are small."""
    return next((k for k in range(LONG, 31, -1) if n % k == 0), 0)


def sums(xp: Any, a: Array, axes: Axes, b: Array | None = None) -> Array:
    """Sum a, or a * b, over some axes, which stay with size 1: in float64.

    In two stages, of which the first is in the data's dtype: along memory, but not so far that
    rounding adds up.

    >>> import numpy as np
    >>> sums(np, np.ones((2, 5000), np.float32), (1,))
    array([[5000.],
           [5000.]])
    """
    shape = tuple([1 if i in axes else n for i, n in enumerate(a.shape)])
    order = sorted([i for i in axes if a.shape[i] > 1], key=lambda i: abs(a.strides[i]))
    size = _block(a.shape[order[0]]) if order and a.shape[order[0]] > LONG else 0
    if size:  # see the fastest axis as blocks of `size`
        i = order[0]
        cut = (*a.shape[:i], a.shape[i] // size, size, *a.shape[i + 1 :])
        a, b = a.reshape(cut), None if b is None else b.reshape(cut)
        axes, order = (*[k + (k > i) for k in axes], i + 1), [i + 1]
    first, room = [], LONG
    for i in order:
        room //= a.shape[i]
        if not room:
            break
        first.append(i)
    every = list(range(a.ndim))
    kept = [i for i in every if i not in first]
    partial = xp.einsum(a, every, kept) if b is None else xp.einsum(a, every, b, every, kept)
    rest = tuple([place for place, i in enumerate(kept) if i in axes])
    return partial.sum(axis=rest, dtype=xp.float64).reshape(shape)  # type: ignore[no-any-return]


def count(shape: Sequence[int], axes: Iterable[int]) -> int:
    """Count the values over which a mean is taken; 1 where there are none."""
    return prod([shape[i] for i in axes]) or 1


def centred(xp: Any, data: Array, axes: Axes) -> tuple[Array, Array, Array, Array]:
    """Give (centre, data - centre, offset, variance) over some axes, which stay with size 1.

    Values are centred in the data's dtype; `offset` is what rounding left of the mean, which a
    large mean would otherwise carry into the (biased) variance.  These two are in float64.
    """
    n = count(data.shape, axes)
    centre = (sums(xp, data, axes) / n).astype(data.dtype)
    rest = data - centre
    offset = sums(xp, rest, axes) / n
    variance = xp.maximum(sums(xp, rest, axes, rest) / n - offset * offset, 0.0)
    return centre, rest, offset, variance


def mean_of(xp: Any, centre: Array, offset: Array) -> Array:
    """Join what `centred` took apart, in the data's dtype."""
    mean: Array = xp.where(xp.isfinite(centre), centre + offset, centre).astype(centre.dtype)
    return mean


def combine(xp: Any, out: Array, g: Array, d: Array, gain: Any, slope: Any, shift: Any) -> None:
    """Write gain * g - slope * d - shift to `out`, the gradient of all normalisations; d is lost.

    The factors are float64 arrays that broadcast; a `shift` of None is none.
    """
    xp.multiply(g, gain.astype(g.dtype), out=out)
    d *= slope.astype(d.dtype)
    out -= d
    if shift is not None:
        out -= shift.astype(out.dtype)


# Arguments


def number(value: Any, name: str) -> float:
    """Give a setting as a float; KindError for what is no number."""
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise failure(name, "a number", error=KindError, value=value) from error


def vector(name: str, what: str, value: Any) -> Tensor:
    """Give a tensor of parameters or statistics; KindError for what is none."""
    if not isinstance(value, Tensor | np.ndarray):
        raise failure(name, f"{what} to be a tensor", error=KindError, value=value)
    return as_tensor(value)


def weight_and_bias(name: str, weight: Any, bias: Any) -> tuple[Tensor, ...]:
    """Give weight and bias, or nothing; a missing one is a constant of the dtype of the other."""
    w, b = (None if v is None else vector(name, "weight or bias", v) for v in (weight, bias))
    if w is None:
        return () if b is None else (Tensor(np.ones_like(b.array)), b)
    return w, Tensor(np.zeros_like(w.array)) if b is None else b


def spec(x: Tensor) -> Spec:
    """Give a tensor's shape and dtype."""
    return Spec(x.shape, x.dtype)


def check_parameters(
    op: Any, x: Spec, shape: tuple[int, ...], why: str, given: Iterable[tuple[str, Spec]]
) -> None:
    """Raise unless all are of the shape, and of x's dtype (float32 may go with a float16 x).

    `why` ends the sentence "weight of shape (3,), ...".
    """
    for name, value in given:
        if value.shape != shape:
            raise failure(op, f"{name} of shape {shape}, {why}", x=x, given=value)
        if value.dtype != x.dtype and (x.dtype.itemsize > 2 or value.dtype != FLOAT32):
            hint = f"convert one of them: .to({x.dtype.name!r})"
            rule = f"x and {name} of one dtype"
            raise failure(op, rule, error=KindError, hint=hint, x=x, given=value)


# Running statistics


def running_statistics(
    name: str, mean: Any, variance: Any, batch: bool, switch: str
) -> tuple[Tensor, ...]:
    """Give both, or neither where the batch's own serve (`batch`, named `switch`) and none came."""
    if batch and (mean is None) != (variance is None):
        raise failure(name, "running_mean and running_var both or neither")
    if batch and mean is None:
        return ()
    if mean is None or variance is None:
        hint = f"pass {switch}=True to use the batch's own"
        raise failure(name, "running_mean and running_var in evaluation mode", hint=hint)
    running = (vector(name, "running_mean", mean), vector(name, "running_var", variance))
    if state.GRAD.get() and any(r.requires_grad for r in running):
        raise GraphError(f"{name}: running_mean and running_var have no gradients; detach them")
    return running


def check_running(name: str, running: tuple[Tensor, ...], x: Tensor, stat: Spec) -> None:
    """Raise unless the running values are of the shape and dtype of the batch's."""
    for given in running:
        if given.shape != stat.shape:
            rule = f"running_mean and running_var of shape {stat.shape}, one value for each channel"
            raise failure(name, rule, x=x, given=given)
        if given.dtype not in (x.dtype, stat.dtype):
            rule = "x, running_mean and running_var of one dtype"
            raise failure(name, rule, error=KindError, x=x, given=given)


def move(running: Tensor, value: Array, momentum: float) -> None:
    """Move running statistics in place towards the batch's."""
    running.array[...] = (1.0 - momentum) * running.array + momentum * value
    mark_written(running)
