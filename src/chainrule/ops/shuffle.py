"""Channels and places exchanged: pixel shuffle and its reverse, channels of groups interleaved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal
from chainrule.engine.tensor import Tensor, apply
from chainrule.errors import failure
from chainrule.ops.arguments import integer
from chainrule.ops.pool_windows import allocate, channels_last, memory_order


def _cells(x: Array, r: int) -> Iterator[tuple[Array, Any]]:
    """Walk over the r*r places of a cell: their channels of x (*, C r r, H, W), and where in y."""
    *lead, c, h, w = x.shape
    split = x.reshape(*lead, c // (r * r), r, r, h, w)
    for i, j in product(range(r), repeat=2):
        yield split[..., i, j, :, :], (..., slice(i, None, r), slice(j, None, r))


def _like(xp: Any, x: Array, shape: tuple[int, ...], d: int) -> Array:
    """Allocate an array of another shape, its channels at the end in memory if those of x are."""
    return allocate(xp, shape, x.dtype, memory_order(x.ndim, d, channels_last(x, d)))


def _shuffled(xp: Any, x: Array, r: int) -> Array:
    *lead, c, h, w = x.shape
    y = _like(xp, x, (*lead, c // (r * r), h * r, w * r), 2)
    for channels, places in _cells(x, r):
        y[places] = channels
    return y


def _unshuffled(xp: Any, y: Array, r: int) -> Array:
    *lead, c, h, w = y.shape
    x = _like(xp, y, (*lead, c * r * r, h // r, w // r), 2)
    for channels, places in _cells(x, r):  # views of x
        channels[...] = y[places]
    return x


@dataclass(frozen=True)
class PixelShuffle(Op):
    """y[c, h r + i, w r + j] = x[c r r + i r + j, h, w].  gx = the reverse of gy."""

    factor: int

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        r = self.factor
        if x.ndim < 3:
            raise failure(self, "at least 3 axes: (..., C, H, W)", input=x)
        if r < 1:
            raise failure(self, f"an upscale_factor of at least 1, not {r}", input=x)
        *lead, c, h, w = x.shape
        if c % (r * r):
            raise failure(self, f"channels in multiples of {r}*{r} = {r * r}, not {c}", input=x)
        return (Spec((*lead, c // (r * r), h * r, w * r), x.dtype),)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        return (_shuffled(xp, x, self.factor),), None

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (_unshuffled(xp, gy, self.factor),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(2), normal(2, 8, 2, 3))
        yield Sample(cls(3), normal(9, 3, 1))
        yield Sample(cls(1), normal(2, 1, 3, 2, 2))
        yield Sample(cls(2), normal(0, 4, 2, 2))


@public
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Spread groups of r*r channels over cells of r x r pixels (Shi et al., 2016).

    y[c, h r + i, w r + j] = x[c r r + i r + j, h, w] with r = `upscale_factor`: a convolution
    before it computes an image of higher resolution.  Any dtype.

    Shapes: (..., C r r, H, W) -> (..., C, H r, W r).
    Raises ShapeError for channels that do not fit and factors below 1, KindError for others.

    >>> import chainrule as cr
    >>> cr.nn.functional.pixel_shuffle(cr.tensor([[[1]], [[2]], [[3]], [[4]]]), 2)
    tensor([[[1, 2],
             [3, 4]]])
    """
    return apply(PixelShuffle(integer(upscale_factor, "pixel_shuffle upscale_factor")), input)


@dataclass(frozen=True)
class PixelUnshuffle(Op):
    """y[c r r + i r + j, h, w] = x[c, h r + i, w r + j].  gx = the reverse of gy."""

    factor: int

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        r = self.factor
        if x.ndim < 3:
            raise failure(self, "at least 3 axes: (..., C, H, W)", input=x)
        if r < 1:
            raise failure(self, f"a downscale_factor of at least 1, not {r}", input=x)
        *lead, c, h, w = x.shape
        if h % r or w % r:
            raise failure(self, f"a height and a width in multiples of {r}, not {h}, {w}", input=x)
        return (Spec((*lead, c * r * r, h // r, w // r), x.dtype),)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        return (_unshuffled(xp, x, self.factor),), None

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (_shuffled(xp, gy, self.factor),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(2), normal(2, 3, 4, 2))
        yield Sample(cls(3), normal(1, 6, 3))
        yield Sample(cls(1), normal(2, 1, 3, 2, 2))
        yield Sample(cls(2), normal(0, 1, 2, 2))


@public
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Gather cells of r x r pixels into channels: the reverse of `pixel_shuffle`.

    y[c r r + i r + j, h, w] = x[c, h r + i, w r + j] with r = `downscale_factor`.  Any dtype.

    Shapes: (..., C, H r, W r) -> (..., C r r, H, W).
    Raises ShapeError for sizes that do not divide and factors below 1, KindError for others.

    >>> import chainrule as cr
    >>> cr.nn.functional.pixel_unshuffle(cr.tensor([[[1, 2], [3, 4]]]), 2).tolist()
    [[[1]], [[2]], [[3]], [[4]]]
    """
    factor = integer(downscale_factor, "pixel_unshuffle downscale_factor")
    return apply(PixelUnshuffle(factor), input)


def _interleaved(xp: Any, x: Array, groups: int) -> Array:
    n, c, *rest = x.shape
    y = _like(xp, x, x.shape, x.ndim - 2)
    each = c // groups
    y.reshape(n, each, groups, *rest)[...] = x.reshape(n, groups, each, *rest).swapaxes(1, 2)
    return y


@dataclass(frozen=True)
class ChannelShuffle(Op):
    """y[:, k g + j] = x[:, j C/g + k] for the groups j < g.  gx = the reverse of gy."""

    groups: int

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        if x.ndim < 3:
            raise failure(self, "at least 3 axes: (N, C, ...)", input=x)
        if self.groups < 1:
            raise failure(self, f"at least 1 group, not {self.groups}", input=x)
        c = x.shape[1]
        if c % self.groups:
            rule = f"channels that divide into groups: {c} % {self.groups} = 0"
            raise failure(self, f"{rule}, not {c % self.groups}", input=x)
        return (x,)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        return (_interleaved(xp, x, self.groups),), None

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (_interleaved(xp, gy, gy.shape[1] // self.groups or 1),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(2), normal(2, 6, 2, 3))
        yield Sample(cls(3), normal(1, 6, 2))
        yield Sample(cls(1), normal(2, 3, 2, 1, 2))
        yield Sample(cls(2), normal(0, 4, 2))


@public
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Interleave the channels of `groups` groups (Zhang et al., 2018, "ShuffleNet").

    y[:, k g + j] = x[:, j C/g + k]: the next grouped convolution sees channels of all groups.
    Any dtype.

    Shapes: (N, C, ...) -> the same, with at least one axis after C.
    Raises ShapeError for channels that do not divide, KindError for groups that are no integer.

    >>> import chainrule as cr
    >>> cr.nn.functional.channel_shuffle(cr.arange(6).reshape(1, 6, 1), 2).flatten()
    tensor([0, 3, 1, 4, 2, 5])
    """
    return apply(ChannelShuffle(integer(groups, "channel_shuffle groups")), input)


@public
def native_channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Interleave the channels: another name of `channel_shuffle`.

    >>> import chainrule as cr
    >>> cr.nn.functional.native_channel_shuffle(cr.arange(4).reshape(1, 4, 1), 2).flatten()
    tensor([0, 2, 1, 3])
    """
    return channel_shuffle(input, groups)
