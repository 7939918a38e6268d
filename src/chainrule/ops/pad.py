"""Padding on every side, by a constant or by what stands at the border; negative widths crop.

Widths are PyTorch's flat tuple: the last axis first, before and after, then the one before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.op import Array, DType, Op, Spec, public
from chainrule.engine.sample import Sample, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import KindError, failure
from chainrule.ops.arguments import int_tuple
from chainrule.ops.broadcast import layout
from chainrule.ops.join import part
from chainrule.ops.slicing import zeros_in

MODES = ("constant", "reflect", "replicate", "circular")


def widths(pad: tuple[int, ...], ndim: int) -> list[tuple[int, int]]:
    """Give (before, after) for each axis, the first one first.

    >>> widths((1, 2, 3, 4), 3)
    [(0, 0), (3, 4), (1, 2)]
    """
    pairs = list(zip(pad[::2], pad[1::2], strict=True))
    return [(0, 0)] * (ndim - len(pairs)) + pairs[::-1]


def padded_shape(op: Op, pad: tuple[int, ...], x: Spec) -> tuple[int, ...]:
    """Add the widths to the sizes, or raise ShapeError where nothing would be left of one."""
    shape = []
    for d, (n, (a, b)) in enumerate(zip(x.shape, widths(pad, x.ndim), strict=True)):
        if n + a + b < 0 or n + min(a, 0) + min(b, 0) < 0:
            rule = f"no more to be cropped from dim {d} than there is"
            raise failure(op, f"{rule}: {n} + ({a}) + ({b}) = {n + a + b}", x=x)
        shape.append(n + a + b)
    return tuple(shape)


def _overlap(pairs: list[tuple[int, int]]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Give where the kept elements stand in the padded array, and where in the original."""
    padded = tuple([slice(max(a, 0), -b if b > 0 else None) for a, b in pairs])
    original = tuple([slice(max(-a, 0), b if b < 0 else None) for a, b in pairs])
    return padded, original


@dataclass(frozen=True)
class Pad(Op):
    """y = x surrounded by `value`; negative widths crop.  gx = the part of gy that was x."""

    pad: tuple[int, ...]
    value: float = 0.0

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        if not _holds(x.dtype, self.value):
            raise failure(self, f"a value that {x.dtype} can hold, not {self.value}", x=x)
        return (Spec(padded_shape(self, self.pad, x), x.dtype),)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        pairs = widths(self.pad, x.ndim)
        shape = tuple([n + a + b for n, (a, b) in zip(x.shape, pairs, strict=True)])
        y = xp.empty_like(x, shape=shape)
        y[...] = x.dtype.type(self.value)
        padded, original = _overlap(pairs)
        y[padded] = x[original]
        return (y,), layout(x)

    def backward(self, xp: Any, noted: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        padded, original = _overlap(widths(self.pad, gy.ndim))
        if all(w >= 0 for w in self.pad):
            return (gy[padded],)
        gx = zeros_in(xp, noted, gy.dtype)
        gx[original] = gy[padded]
        return (gx,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((1, 2)), normal(2, 3))
        yield Sample(cls((1, 0, 0, 2, 1, 1), -1.5), normal(2, 2, 3))
        yield Sample(cls((-1, 2, 0, -2)), normal(2, 4, 3))
        yield Sample(cls((-1, -2)), normal(2, 3))
        yield Sample(cls((1, 1)), normal(2, 0))
        yield Sample(cls(()), normal(2))


def _holds(dtype: DType, value: float) -> bool:
    """Tell whether a number converts to the dtype without overflow (fractions are cut off)."""
    if dtype.kind == "b":
        return True
    if dtype.kind == "f":
        return not np.isfinite(value) or abs(value) <= float(np.finfo(dtype).max)
    bounds = np.iinfo(dtype)
    return bool(np.isfinite(value)) and bounds.min <= int(value) <= bounds.max


@dataclass(frozen=True)
class PadBorder(Op):
    """y = x continued beyond its borders: reflected, replicated or around the other side.

    gx = gy, with what stands beyond a border added to the elements it was copied from.
    """

    pad: tuple[int, ...]
    mode: str

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        count = len(self.pad) // 2
        if not 1 <= count <= 3 or x.ndim not in (count + 1, count + 2):
            rule = "widths for the last 1, 2 or 3 axes of a tensor with one or two more"
            raise NotImplementedError(str(failure(self, rule, x=x)))
        shape = padded_shape(self, self.pad, x)
        for d, (n, (a, b)) in enumerate(zip(x.shape, widths(self.pad, x.ndim), strict=True)):
            if (a or b) and self.mode == "reflect" and not max(a, b) < n:
                rule = f"widths below the size at dim {d}, since the border is not repeated"
                raise failure(self, f"{rule}: max({a}, {b}) < {n}", x=x)
            if (a or b) and self.mode == "replicate" and n == 0:
                raise failure(self, f"a border to repeat at dim {d}, not size 0", x=x)
            kept = n + min(a, 0) + min(b, 0)
            if self.mode == "circular" and max(a, b) > kept:
                rule = f"widths of at most the {kept} elements at dim {d}, once around"
                raise failure(self, f"{rule}: max({a}, {b}) <= {kept}", x=x)
        return (Spec(shape, x.dtype),)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        y = x
        for d, (a, b) in enumerate(widths(self.pad, x.ndim)):
            if a or b:
                source = self.sources(x.shape[d], a, b)
                longer = xp.empty_like(y, shape=(*y.shape[:d], len(source), *y.shape[d + 1 :]))
                longer[...] = y[part(d, source)]
                y = longer
        return (y.copy(order="K") if y is x else y,), x.shape

    def backward(self, xp: Any, shape: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        for d, (a, b) in enumerate(widths(self.pad, len(shape))):
            if a or b:
                source = self.sources(shape[d], a, b)
                left, right = max(a, 0), len(source) - max(b, 0)
                gx = xp.zeros_like(gy, shape=(*gy.shape[:d], shape[d], *gy.shape[d + 1 :]))
                gx[part(d, source[left:right])] = gy[part(d, slice(left, right))]
                for border in (slice(0, left), slice(right, len(source))):
                    self._add_border(gx, gy, d, source, border)
                gy = gx
        return (gy,)

    def _add_border(self, gx: Array, gy: Array, d: int, source: list[int], at: slice) -> None:
        """Add a border's gy where its values came from: places of their own, or one for all."""
        places, g = source[at], gy[part(d, at)]
        if self.mode == "replicate" and places:
            places, g = places[:1], g.sum(axis=d, keepdims=True, dtype=g.dtype)
        gx[part(d, places)] += g

    def sources(self, n: int, a: int, b: int) -> list[int]:
        """Give for each place along a padded axis of n elements where its value comes from."""
        if self.mode == "circular":
            kept = n + min(a, 0) + min(b, 0)
            return [i % kept + max(-a, 0) for i in range(-max(a, 0), kept + max(b, 0))]
        places = range(-a, n + b)
        if self.mode == "replicate":
            return [min(max(i, 0), n - 1) for i in places]
        return [n - 1 - abs(n - 1 - abs(i)) for i in places]

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for mode in MODES[1:]:
            yield Sample(cls((2, 1), mode), normal(2, 3))
            yield Sample(cls((1, 0, 0, 2), mode), normal(1, 2, 3, 3))
            yield Sample(cls((-1, 1, 1, -1), mode), normal(2, 4, 3))
        yield Sample(cls((1, 1, 0, 1, 1, 0), "circular"), normal(1, 2, 2, 2))
        yield Sample(cls((0, 0), "reflect"), normal(2, 3))


@public
def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Put elements around a tensor, or crop it where a width is negative.

    `pad` goes from the last axis to the first: (before, after) of the last, then of the one
    before it, and so on: (left, right, top, bottom) for images.
    Shapes: (..., H, W) -> (..., H + top + bottom, W + left + right).

    Modes: "constant" puts `value` (0); for the last 1, 2 or 3 axes of a tensor with one or two
    axes more there are "reflect" (the border element itself is not repeated), "replicate" (the
    border element is repeated) and "circular" (the other side comes in).
    Raises ShapeError where widths do not fit, KindError for what is not a tuple of integers,
    NotImplementedError for other modes and for axes that a mode does not cover.

    >>> import chainrule as cr
    >>> cr.nn.functional.pad(cr.tensor([[1, 2, 3]]), (1, 2))
    tensor([[0, 1, 2, 3, 0, 0]])
    >>> cr.nn.functional.pad(cr.tensor([[1, 2, 3]]), (2, -1), mode="reflect")
    tensor([[3, 2, 1, 2]])
    """
    x = as_tensor(input)
    around = int_tuple(pad, "pad", bare=False)
    if len(around) % 2 or len(around) > 2 * x.ndim:
        rule = f"two widths for each of at most {x.ndim} axes, not {len(around)} in all"
        raise failure("pad", rule, input=x, pad=around)
    if mode not in MODES:
        raise NotImplementedError(f"pad: expected a mode among {MODES}; got {mode!r}")
    if value is not None and not isinstance(value, int | float | np.number):
        raise failure("pad", "a value that is a number", error=KindError, value=value)
    if mode == "constant":
        plain: Any = value.item() if isinstance(value, np.number) else value
        return apply(Pad(around, 0.0 if value is None else plain), x)
    if value:
        raise failure("pad", f"no value in mode {mode!r}, which copies its own", value=value)
    return apply(PadBorder(around, mode), x)
