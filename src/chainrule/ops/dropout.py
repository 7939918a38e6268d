"""Dropout: values, or whole channels, are dropped at random during training."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.random import Generator, default_generator
from chainrule.engine.sample import Sample, booleans, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor, meta_tensor
from chainrule.errors import KindError, failure
from chainrule.ops.formulas import number, quiet


@dataclass(frozen=True)
class Dropout(Op):
    """y = x * mask * scale, where the mask says what stays.  gx = gy * mask * scale.

    The mask has the input's shape, or 1 along axes that are dropped together.  To y is added
    `stays` where the mask is true and `dropped` where it is false.
    """

    scale: float = 2.0
    stays: float = 0.0
    dropped: float = 0.0

    @property
    def moves(self) -> bool:
        """Whether something is added."""
        return self.stays != 0 or self.dropped != 0

    def infer(self, x: Spec, mask: Spec) -> tuple[Spec, ...]:
        if x.dtype.kind != "f" and self.scale != 0:
            raise failure(self, "a floating-point input", error=KindError, input=x)
        if mask.dtype.kind != "b":
            raise failure(self, "a boolean mask", error=KindError, mask=mask)
        if mask.shape != x.shape and not _fits(mask.shape, x.shape):
            raise failure(self, "a mask of the input's sizes, or 1", input=x, mask=mask)
        return (x,)

    @quiet
    def forward(self, xp: Any, x: Array, mask: Array) -> tuple[tuple[Array, ...], Any]:
        y = self._masked(x, mask)
        if self.moves:
            y += xp.where(mask, self.stays, self.dropped).astype(y.dtype)
        return (y,), mask

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (self._masked(gy, saved) if needs[0] else None, None)

    def _masked(self, x: Array, mask: Array) -> Array:
        y = x * mask
        if self.scale not in (0, 1):
            y *= self.scale
        return y

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(2.0), normal(3, 4), booleans(3, 4))
        yield Sample(cls(1 / 0.7), normal(2, 3, 5), booleans(2, 3, 5, p=0.7))
        yield Sample(cls(2.0), normal(2, 3, 2, 2), booleans(2, 3, 1, 1))
        yield Sample(cls(1.0), normal(3, 4), booleans(3, 4))
        yield Sample(cls(0.0), normal(3), booleans(3, p=0.0))
        yield Sample(cls(0.9, 0.8, -0.8), normal(3, 4), booleans(3, 4))
        yield Sample(cls(0.9, 0.3, -0.7), normal(2, 3, 2, 2), booleans(2, 3, 1, 1))


def _fits(mask: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return len(mask) == len(shape) and all(m in (1, n) for m, n in zip(mask, shape, strict=True))


def _probability(name: str, p: Any) -> float:
    value = number(p, f"{name} p")
    if not 0 <= value <= 1:
        raise failure(name, "a probability p in [0, 1]", p=p)
    return value


def _drop(x: Tensor, p: float, shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    """Draw a mask of `shape`, in the order of the indices whatever the layout, and apply it."""
    mask: Any
    if p == 1:
        mask = np.broadcast_to(np.zeros((), np.bool_), shape)
    elif x.is_meta:
        mask = meta_tensor(shape, np.dtype(np.bool_))
    else:
        mask = (generator or default_generator()).bernoulli(1 - p, shape)
    return apply(Dropout(0.0 if p == 1 else 1 / (1 - p)), x, mask)


@public
def dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Set each value to 0 with probability p and divide the others by 1 - p (Srivastava, 2014).

    So the expected value stays what it is when nothing is dropped, as in evaluation.

    Shapes: any -> the same.  With `training=False` or p = 0 the tensor itself comes back; p = 1
    gives zeros.  `inplace` is accepted and changes nothing.  The mask comes from `generator`,
    or from the global one.  Raises ValueError for p outside [0, 1], TypeError for integers.

    >>> import chainrule as cr
    >>> y = cr.dropout(cr.ones(1000), 0.75, generator=cr.Generator(1))
    >>> sorted(set(y.tolist()))
    [0.0, 4.0]
    """
    probability = _probability("dropout", p)
    x = as_tensor(input)
    if not training or probability == 0:
        return x
    return _drop(x, probability, x.shape, generator)


def _drop_channels(
    name: str, x: Tensor, p: float, training: bool, batched: bool, generator: Generator | None
) -> Tensor:
    """Drop whole slices: one decision for each (image, channel), or each channel of one image."""
    if not training or p == 0:
        return x
    decided = 2 if batched else 1
    if x.ndim < decided and p != 1:
        raise failure(name, "a tensor with channels", input=x)
    return _drop(x, p, x.shape[:decided] + (1,) * (x.ndim - decided), generator)


@public
def dropout1d(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Drop whole channels of sequences with probability p, scale the others by 1 / (1 - p).

    Shapes: (N, C, L) or (C, L) -> the same; any other raises ShapeError.  Else like `dropout`.

    >>> import chainrule as cr
    >>> cr.nn.functional.dropout1d(cr.ones(1, 3, 2), 0.5, generator=cr.Generator(1)).shape
    (1, 3, 2)
    """
    probability = _probability("dropout1d", p)
    x = as_tensor(input)
    if x.ndim not in (2, 3):
        raise failure("dropout1d", "a tensor (N, C, L) or (C, L)", input=x)
    return _drop_channels("dropout1d", x, probability, training, x.ndim == 3, generator)


@public
def dropout2d(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Drop whole channels of images with probability p (Tompson et al., 2015).

    Shapes: (N, C, H, W) -> the same.  Like PyTorch it takes three dimensions as (N, C, L), not
    as one image, and warns; other numbers of dimensions warn too.  Else like `dropout`.

    >>> import chainrule as cr
    >>> y = cr.nn.functional.dropout2d(cr.ones(4, 8, 2, 2), generator=cr.Generator(1))
    >>> bool((y[:, :, 0, 0] == y[:, :, 1, 1]).all())
    True
    """
    probability = _probability("dropout2d", p)
    x = as_tensor(input)
    if x.ndim != 4:
        taken = "three dimensions are taken as (N, C, L)" if x.ndim == 3 else "use dropout"
        warnings.warn(f"dropout2d: expected (N, C, H, W), got {x.shape}; {taken}", stacklevel=2)
    return _drop_channels("dropout2d", x, probability, training, True, generator)


@public
def dropout3d(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Drop whole channels of volumes with probability p, scale the others by 1 / (1 - p).

    Shapes: (N, C, D, H, W) or (C, D, H, W) -> the same; other numbers of dimensions warn and
    are taken as one unbatched volume, as PyTorch does.  Else like `dropout`.

    >>> import chainrule as cr
    >>> cr.nn.functional.dropout3d(cr.ones(2, 3, 1, 2, 2), training=False).shape
    (2, 3, 1, 2, 2)
    """
    probability = _probability("dropout3d", p)
    x = as_tensor(input)
    if x.ndim not in (4, 5):
        rule = "expected (N, C, D, H, W) or (C, D, H, W)"
        warnings.warn(f"dropout3d: {rule}, got {x.shape}; use dropout", stacklevel=2)
    return _drop_channels("dropout3d", x, probability, training, x.ndim == 5, generator)


@public
def feature_dropout(
    input: Tensor, p: float = 0.5, train: bool = True, *, generator: Generator | None = None
) -> Tensor:
    """Drop whole channels, whatever the number of sizes behind them; else like `dropout`.

    Shapes: (N, C, ...) -> the same.  Raises ShapeError for fewer than two dimensions.

    >>> import chainrule as cr
    >>> y = cr.feature_dropout(cr.ones(1, 50, 2, 2), 0.5).mean(dim=(2, 3))
    >>> sorted(set(y.flatten().tolist()))
    [0.0, 2.0]
    """
    probability = _probability("feature_dropout", p)
    x = as_tensor(input)
    return _drop_channels("feature_dropout", x, probability, train, True, generator)


SATURATION = 1.7580993408473766
"""Minus what SELU approaches for small inputs: its scale times its alpha."""


def _alpha_drop(
    name: str, input: Any, p: Any, training: bool, channels: bool, generator: Generator | None
) -> Tensor:
    """Put -SATURATION for what is dropped, then restore mean 0 and variance 1."""
    probability, x = _probability(name, p), as_tensor(input)
    if not training or probability == 0 or x.array.size == 0:
        return x
    shape = x.shape
    if channels and probability != 1:
        if x.ndim < 2:
            raise failure(name, "a tensor (N, C, ...)", input=x)
        shape = x.shape[:2] + (1,) * (x.ndim - 2)
    if probability == 1 or x.is_meta:
        return _drop(x, 1.0 if probability == 1 else probability, shape, None)
    mask = (generator or default_generator()).bernoulli(1 - probability, shape)
    scale = ((SATURATION**2 * probability + 1) * (1 - probability)) ** -0.5
    floor = SATURATION * scale
    return apply(Dropout(scale, probability * floor, (probability - 1) * floor), x, mask)


@public
def alpha_dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = False,
    inplace: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Dropout for `selu`: what is dropped becomes its least value, -1.758 (Klambauer et al., 2017).

    Then all is scaled and shifted, y = a x + b for what stays and b - 1.758 a for the rest, so
    that mean 0 and variance 1 stay what they are.

    Shapes: any -> the same.  With `training=False` (the default, unlike `dropout`'s) or p = 0 the
    tensor itself comes back; p = 1 gives zeros.  `inplace` is accepted and changes nothing.  The
    mask comes from `generator`, or from the global one.  Raises ValueError for p outside [0, 1],
    TypeError for integers.

    >>> import chainrule as cr
    >>> y = cr.nn.functional.alpha_dropout(cr.zeros(1000), 0.5, True)
    >>> len(set(y.tolist()))
    2
    """
    return _alpha_drop("alpha_dropout", input, p, training, False, generator)


@public
def feature_alpha_dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = False,
    inplace: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Drop whole channels as `alpha_dropout` drops values.

    Shapes: (N, C, ...) -> the same.  Raises ShapeError for fewer than two dimensions, and
    otherwise as `alpha_dropout`.

    >>> import chainrule as cr
    >>> y = cr.nn.functional.feature_alpha_dropout(cr.ones(2, 3, 4), 0.5, True)
    >>> bool((y[:, :, 0] == y[:, :, 1]).all())
    True
    """
    return _alpha_drop("feature_alpha_dropout", input, p, training, True, generator)
