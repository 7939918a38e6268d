"""Resampling to another size, one axis after the other: nearest, linear, cubic, by area."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import UndefinedKindError, failure
from chainrule.ops.arguments import flag, integer
from chainrule.ops.formulas import number, quiet
from chainrule.ops.pool_average import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
)
from chainrule.ops.pool_windows import channels_last
from chainrule.ops.resample_weights import Rule, resample, weigh
from chainrule.ops.window import Sizes

Scales = tuple[float, ...]

_AREA = {1: adaptive_avg_pool1d, 2: adaptive_avg_pool2d, 3: adaptive_avg_pool3d}

_SPATIAL = {
    "nearest": (1, 2, 3),
    "nearest-exact": (1, 2, 3),
    "linear": (1,),
    "bilinear": (2,),
    "bicubic": (2,),
    "trilinear": (3,),
    "area": (1, 2, 3),
    "lanczos": (2,),
}

_KINDS = {"bilinear": "linear", "trilinear": "linear", "bicubic": "cubic"}
_COPYING = ("nearest", "nearest-exact", "area")
_SMOOTHING = ("bilinear", "bicubic", "lanczos")


@dataclass(frozen=True)
class Interpolate(Op):
    """y = A x along each of the last axes, where A weighs the neighbours of each place of y.

    gx = A^T gy.  `mode` is nearest, nearest-exact, linear, cubic or lanczos; `scales` are the
    factors where they, not the sizes, say how far apart the places lie.
    """

    size: Sizes
    mode: str = "nearest"
    align_corners: bool = False
    antialias: bool = False
    scales: Scales | None = None

    def rules(self, sizes: Sizes, real: str) -> list[Rule]:
        """Say how each axis is resampled, in the arithmetic "f" or "d"."""
        scales = self.scales or (None,) * len(sizes)
        settings = (self.align_corners, self.antialias)
        return [
            Rule(self.mode, n, m, *settings, s, real)
            for n, m, s in zip(sizes, self.size, scales, strict=True)
        ]

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        d = len(self.size)
        if x.ndim != d + 2:
            spatial = "L" if d == 1 else ", ".join("DHW"[3 - d :])
            raise failure(self, f"{d + 2} axes: (N, C, {spatial})", input=x)
        if 0 in x.shape[1:]:
            axis = x.shape.index(0, 1)
            raise failure(self, f"no empty axis but the batch's: axis {axis} has size 0", input=x)
        if min(self.size) < 1:
            raise failure(self, f"a size of at least 1, not {min(self.size)}", input=x)
        bytes_too = d == 2 or self.mode in _COPYING
        if not x.is_floating and not (x.dtype == np.uint8 and bytes_too):
            raise failure(self, "a floating-point input", error=UndefinedKindError, input=x)
        return (Spec((*x.shape[:2], *self.size), x.dtype),)

    def _steps(self, shape: Sizes, dtype: Any) -> list[tuple[int, Rule]]:
        """Give (axis, rule) in the order of work: first what shrinks the array most.

        Of axes that grow alike the last comes first, since its products are the slowest.
        """
        bytes_weighed = dtype == np.uint8 and self.mode not in _COPYING
        rules = self.rules(shape[2:], "d" if dtype == np.float64 or bytes_weighed else "f")
        found = [(axis, rule) for axis, rule in enumerate(rules) if not rule.keeps]
        if bytes_weighed:  # each step rounds: PyTorch's order
            return found[::-1]
        return sorted(found, key=lambda s: (s[1].m / s[1].n, -s[0] if s[1].m > s[1].n else s[0]))

    @quiet  # products may flag as invalid what lies beyond their edges
    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        last = channels_last(x, len(self.size))
        steps, y = self._steps(x.shape, x.dtype), _laid(xp, x, last)
        for axis, rule in steps:
            y = resample(xp, y, axis + (1 if last else 2), rule)
        if not steps:
            y = y.copy()
        return (_back(xp, y, last, x.dtype),), (x.shape, last)

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        shape, last = saved
        steps, gx = self._steps(shape, gy.dtype), _laid(xp, gy, last)
        for axis, rule in reversed(steps):
            gx = weigh(xp, gx, axis + (1 if last else 2), rule, turned=True)
        return (_back(xp, gx, last, gy.dtype),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((7,)), normal(2, 2, 3))
        yield Sample(cls((2, 7)), normal(1, 2, 5, 3))
        yield Sample(cls((3, 4), "nearest-exact"), normal(2, 1, 4, 5))
        yield Sample(cls((2, 3, 5), "nearest-exact"), normal(1, 2, 2, 5, 3))
        yield Sample(cls((5,), "nearest", scales=(1.7,)), normal(1, 2, 3))
        yield Sample(cls((5,), "linear"), normal(2, 2, 3))
        yield Sample(cls((6, 2), "linear"), normal(1, 2, 3, 5))
        yield Sample(cls((1, 7), "linear", True), normal(2, 1, 3, 4))
        yield Sample(cls((3, 5), "linear", scales=(1.1, 1.7)), normal(1, 2, 3, 3))
        yield Sample(cls((4, 3, 2), "linear"), normal(1, 2, 2, 3, 5))
        yield Sample(cls((7, 2), "cubic"), normal(1, 2, 3, 4))
        yield Sample(cls((4, 5), "cubic", True), normal(1, 1, 2, 3))
        yield Sample(cls((3, 2), "linear", False, True), normal(1, 2, 8, 5))
        yield Sample(cls((2, 6), "cubic", True, True), normal(1, 1, 7, 4))
        yield Sample(cls((3, 3), "lanczos", False, True, (0.4, 0.7)), normal(1, 1, 9, 5))
        yield Sample(cls((3, 2), "linear"), normal(1, 2, 3, 2))
        yield Sample(cls((3,), "linear"), normal(0, 2, 5))


def _laid(xp: Any, x: Array, last: bool) -> Array:
    """Give x in C order, with its channels at the end if they are so in memory; no float16."""
    y: Array = xp.ascontiguousarray(xp.moveaxis(x, 1, -1) if last else x)
    return y.astype(np.float32) if y.dtype == np.float16 else y


def _back(xp: Any, y: Array, last: bool, dtype: Any) -> Array:
    result: Array = xp.moveaxis(y, -1, 1) if last else y
    return result.astype(dtype, copy=False)


def _target(
    sizes: Sizes, size: Any, scale_factor: Any, recompute: bool
) -> tuple[Sizes, Scales | None]:
    """Give the output's sizes, and the factors unless they are to be worked out from these."""
    name, d = "interpolate", len(sizes)
    if (size is None) == (scale_factor is None):
        raise failure(name, "either size or scale_factor", size=size, scale_factor=scale_factor)
    given = scale_factor if size is None else size
    if isinstance(given, tuple | list) and len(given) != d:
        what = "size" if scale_factor is None else "scale_factor"
        rule = f"one {what} or {d}, for the axes after (N, C), not {len(given)}"
        raise failure(name, rule, given=given)
    each = tuple(given) if isinstance(given, tuple | list) else (given,) * d
    if size is not None:
        if recompute:
            raise failure(name, "recompute_scale_factor with a scale_factor alone", size=size)
        return tuple([integer(n, f"{name} size") for n in each]), None
    factors = tuple([number(f, f"{name} scale_factor") for f in each])
    if not all(map(isfinite, factors)):
        raise failure(name, "finite scale factors", scale_factor=scale_factor)
    out = tuple([int(n * f) for n, f in zip(sizes, factors, strict=True)])
    return out, None if recompute else factors


@public
def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resample to a `size`, or to floor(scale_factor * size); an axis at a time.

    Element i of m along an axis that had n lies at s = (i + 1/2) n/m - 1/2, or with
    `align_corners` at i (n - 1)/(m - 1).  With a scale factor, 1/scale_factor stands in place of
    n/m unless `recompute_scale_factor`.  Modes:

    - "nearest": a copy of element floor(i n/m); "nearest-exact": of floor((i + 1/2) n/m);
    - "linear", "bilinear", "trilinear" (1, 2, 3 axes): the two neighbours, weighed by 1 - t and t
      for t = s - floor(s); beyond the border its element is repeated;
    - "bicubic" (2 axes): four neighbours by Keys's kernel (1981) with a = -3/4;
    - "area": the mean of each part, `adaptive_avg_pool`; "lanczos" (2 axes, `antialias` alone).

    `antialias` (bilinear, bicubic with a = -1/2, lanczos) widens the kernel by n/m where the
    image shrinks, as Pillow does.  The gradient is the transpose: each element gets gy times its
    weights.  float32 and float64; uint8 for the nearest modes and those of 2 axes, which round
    after each axis, in whole numbers.

    Shapes: (N, C, L), (N, C, H, W) or (N, C, D, H, W) -> (N, C, *size); N may be 0.
    Raises ShapeError for settings and sizes that do not fit, KindError for other kinds,
    NotImplementedError for modes that the number of axes does not have.

    >>> import chainrule as cr
    >>> x = cr.tensor([[[0.0, 4.0]]])
    >>> cr.nn.functional.interpolate(x, scale_factor=2, mode="linear")
    tensor([[[0.0, 1.0, 3.0, 4.0]]])
    >>> cr.nn.functional.interpolate(x, 5, mode="linear", align_corners=True)
    tensor([[[0.0, 1.0, 2.0, 3.0, 4.0]]])
    """
    name, x = "interpolate", as_tensor(input)
    if align_corners is not None:
        align_corners = flag(align_corners, f"{name} align_corners")
        if mode in _COPYING:
            raise failure(name, f"no align_corners in mode {mode!r}", align_corners=align_corners)
    sizes, recompute = x.shape[2:], bool(recompute_scale_factor)
    by_size = size is None and mode == "area"
    out, scales = _target(sizes, size, scale_factor, recompute or by_size)
    if antialias and not (mode in _SMOOTHING and x.ndim == 4):
        raise failure(name, f"antialias with (N, C, H, W) in a mode among {_SMOOTHING}", mode=mode)
    if mode == "lanczos" and (align_corners or not antialias) and x.ndim == 4:
        rule = "mode 'lanczos' with antialias and without align_corners"
        raise failure(name, rule, antialias=antialias, align_corners=align_corners)
    axes = _SPATIAL.get(mode, ())
    if len(sizes) not in axes:
        had = [m for m, count in _SPATIAL.items() if len(sizes) in count]
        rule = f"a mode for {len(sizes)} axes after (N, C), among {had}" if had else "(N, C, ...)"
        raise NotImplementedError(str(failure(name, rule, input=x, mode=mode)))
    if mode == "area":
        return _AREA[len(sizes)](x, out)
    kind = _KINDS.get(mode, mode)
    return apply(Interpolate(out, kind, bool(align_corners), bool(antialias), scales), x)


@public
def upsample(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """Resample: the older name of `interpolate`.

    >>> import chainrule as cr
    >>> cr.nn.functional.upsample(cr.tensor([[[1.0, 2.0]]]), scale_factor=2)
    tensor([[[1.0, 1.0, 2.0, 2.0]]])
    """
    return interpolate(input, size, scale_factor, mode, align_corners)


@public
def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """Resample by copies: the older name of `interpolate` in mode "nearest".

    >>> import chainrule as cr
    >>> cr.nn.functional.upsample_nearest(cr.tensor([[[1.0, 2.0]]]), 3)
    tensor([[[1.0, 1.0, 2.0]]])
    """
    return interpolate(input, size, scale_factor, "nearest")


@public
def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """Resample images: the older name of `interpolate` in mode "bilinear" with aligned corners.

    >>> import chainrule as cr
    >>> cr.nn.functional.upsample_bilinear(cr.tensor([[[[0.0, 1.0]]]]), (1, 3))
    tensor([[[[0.0, 0.5, 1.0]]]])
    """
    return interpolate(input, size, scale_factor, "bilinear", True)
