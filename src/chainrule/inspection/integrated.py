"""Shares of a score that add up to it: integrated gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.state import enable_grad
from chainrule.engine.tensor import Tensor
from chainrule.errors import DataError, ShapeError, expect, failure
from chainrule.inspection.given import counts, real, setting
from chainrule.inspection.scores import (
    Target,
    as_images,
    goals,
    gradient,
    output,
    plain_scores,
    values_at,
)
from chainrule.nn.module import Module
from chainrule.nn.tracing import evaluating

_NAME = "integrated_gradients"


class IntegratedGradients(NamedTuple):
    """What `integrated_gradients` found.

    `shares` (N, C, H, W) are the pixels' parts of the score; `difference` (N,) is the score of the
    image less that of the baseline, which they should add up to; `gap` (N,) is their sum less it;
    `steps` (N,) is into how many pieces the way was cut.
    """

    shares: Array
    difference: Array
    gap: Array
    steps: Array


def integrated_gradients(
    model: Module,
    images: Any,
    target: Target = None,
    baseline: Any = None,
    steps: int = 32,
    *,
    tolerance: float | None = 1e-3,
    most: int = 1000,
    batch_size: int = 64,
) -> IntegratedGradients:
    """Share a class's score out among the pixels, so that the shares add up to it.

    (x - b) times the mean of d score / d x on the straight way from the baseline b to x
    (Sundararajan et al., 2017).  `baseline` broadcasts to (N, C, H, W); None is 0 everywhere.  Of
    its completeness - the shares add up to score(x) - score(b) - the gap is given.

    The integral is a sum over `steps` pieces of equal length with the gradient at the middle of
    each.  Networks of ReLUs have a gradient that jumps along the way and is constant between,
    where this rule is exact, and rules of higher order gain nothing at a jump.  How much the score
    changes over a piece is known, and so how wrong each piece is: the worst are cut into three
    again, until the gap is within `tolerance` of the difference or there are `most` pieces.
    `tolerance` None leaves it at `steps` pieces.  Where the score rises and falls by far more on
    the way than it differs at the ends, `most` pieces may leave a larger gap: look at it.
    `batch_size` points run at a time.

    Other arguments, state and errors are those of `saliency`; ShapeError also for a baseline that
    does not broadcast and counts below 1, KindError for what is no number.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> found = integrated_gradients(cr.create_model("lenet5"), np.ones((1, 1, 32, 32)), target=3)
    >>> found.shares.shape, bool(abs(found.gap[0]) <= 1e-3 * abs(found.difference[0]))
    ((1, 1, 32, 32), True)
    """
    x = as_images(_NAME, model, images)
    begin = _baseline(baseline, x)
    steps, most, batch_size = counts(_NAME, steps=steps, most=most, batch_size=batch_size)
    expect(steps <= most, _NAME, "1 <= steps <= most", steps=steps, most=most)
    if tolerance is not None:
        setting(_NAME, 0.0, tolerance=tolerance)
    with evaluating(model):
        places = goals(_NAME, plain_scores(_NAME, model, x), target)
        ways = [
            _Way(model, b, image, int(place), batch_size).walk(steps, tolerance, most)
            for b, image, place in zip(begin, x, places, strict=True)
        ]
    shares, difference, gap, pieces = zip(*ways, strict=True)
    return IntegratedGradients(
        np.stack(shares).astype(x.dtype), np.array(difference), np.array(gap), np.array(pieces)
    )


def _baseline(baseline: Any, x: Array) -> Array:
    given = real(_NAME, "baseline", 0 if baseline is None else baseline)
    expect(bool(np.isfinite(given).all()), _NAME, "a finite baseline", error=DataError)
    try:
        return np.broadcast_to(given.astype(x.dtype), x.shape)
    except ValueError:
        rule = f"a baseline that broadcasts to the images' {x.shape}"
        raise failure(_NAME, rule, error=ShapeError, baseline=given) from None


class _Pieces(NamedTuple):
    """Pieces of the way: where each begins, its length, and how wrong its part of the sum is."""

    begin: Array
    length: Array
    error: Array


class _Way:
    """The straight way from a baseline to an image, and the target's value along it."""

    def __init__(self, model: Module, begin: Array, end: Array, place: int, batch: int) -> None:
        self.model, self.begin, self.way, self.place = model, begin, end - begin, place
        self.batch = batch
        self.total = np.zeros(begin.shape)  # the sum of gradients by lengths, in float64

    def walk(
        self, steps: int, tolerance: float | None, most: int
    ) -> tuple[Array, float, float, int]:
        """Give (shares, difference, gap, pieces)."""
        edges = np.linspace(0.0, 1.0, steps + 1)
        values = self._values(edges)
        difference = float(values[-1] - values[0])
        pieces = self._first(edges, values)
        while tolerance is not None and abs(pieces.error.sum()) > tolerance * abs(difference):
            room = (most - len(pieces.error)) // 2
            worst = _worst(pieces.error)[:room]
            if not len(worst):
                break
            pieces = self._cut(pieces, worst)
        shares = self.total * self.way
        return shares, difference, float(shares.sum() - difference), len(pieces.error)

    def _first(self, edges: Array, values: Array) -> _Pieces:
        begin, length = edges[:-1], np.diff(edges)
        slopes = self._slopes(begin + length / 2, length)
        return _Pieces(begin, length, slopes * length - np.diff(values))

    def _cut(self, pieces: _Pieces, worst: Array) -> _Pieces:
        """Cut pieces into three; the middle one's gradient is the old one's, taken once more."""
        begin, whole = pieces.begin[worst], pieces.length[worst]
        third = whole / 3
        starts = np.stack([begin, begin + third, begin + 2 * third])
        values = self._values(np.append(starts.ravel(), begin + whole)).reshape(4, -1)
        weights = np.stack([third, third - whole, third])
        slopes = self._slopes((starts + third / 2).ravel(), weights.ravel()).reshape(3, -1)
        errors = slopes * third - np.diff(values, axis=0)
        kept = np.delete(np.arange(len(pieces.error)), worst)
        return _Pieces(
            np.append(pieces.begin[kept], starts),
            np.append(pieces.length[kept], np.broadcast_to(third, starts.shape)),
            np.append(pieces.error[kept], errors),
        )

    def _values(self, at: Array) -> Array:
        """Give the value at points of the way, which goes from 0 to 1."""
        found = [
            values_at(plain_scores(_NAME, self.model, x), np.full(len(x), self.place))
            for x in self._points(at)
        ]
        return np.concatenate(found).astype(np.float64)

    def _slopes(self, at: Array, weights: Array) -> Array:
        """Give d value / d point at points of the way; add the gradients by weights to the sum."""
        slopes, done = [], 0
        for x in self._points(at):
            with enable_grad():
                pixels = Tensor(x, requires_grad=True)
                scores = output(_NAME, self.model, pixels)
            g = gradient(_NAME, scores, np.full(len(x), self.place), pixels).astype(np.float64)
            slopes.append(np.einsum("nchw,chw->n", g, self.way))
            self.total += np.einsum("nchw,n->chw", g, weights[done : done + len(x)])
            done += len(x)
        return np.concatenate(slopes)

    def _points(self, at: Array) -> list[Array]:
        """Give the images at points of the way, a batch each."""
        factors = at.astype(self.begin.dtype).reshape(-1, 1, 1, 1)
        parts = [factors[i : i + self.batch] for i in range(0, len(at), self.batch)]
        return [self.begin + part * self.way for part in parts]


def _worst(error: Array) -> Array:
    """Give the pieces that together have half of all errors, the worst first."""
    size = np.abs(error)
    order = np.argsort(-size, kind="stable")
    return order[: int(np.searchsorted(np.cumsum(size[order]), size.sum() / 2)) + 1]
