"""Resampling along one axis: which elements a place of the result sees, and how much of each.

Places and weights are worked out in the arithmetic of PyTorch's kernels, in float32 for float32:
what falls between two elements falls to the same one.  An axis is a banded matrix, and is
resampled by products with blocks of it; the gradient takes the blocks of its transpose.
"""

from __future__ import annotations

from functools import lru_cache, partial
from math import prod
from typing import Any, NamedTuple

import numpy as np

from chainrule.engine.finite import first_not_finite
from chainrule.engine.op import Array
from chainrule.engine.threads import blas_held
from chainrule.engine.workers import run_all

WIDTH = 32
"""Places of the result that one block gives: few zeros beside the band, and not too many calls."""

LARGE = 1 << 16
"""Elements of a result from which its blocks are shared between threads."""

SHARP, SOFT = -0.75, -0.5
"""The cubic kernel's slope at distance 1: of plain interpolation, and of antialiased."""

RADIUS = {"linear": 1, "cubic": 2, "lanczos": 3}


class Rule(NamedTuple):
    """How one axis of n elements becomes one of m; `real`, "f" or "d", is the arithmetic."""

    mode: str
    n: int
    m: int
    align_corners: bool = False
    antialias: bool = False
    scale: float | None = None
    real: str = "d"

    @property
    def keeps(self) -> bool:
        """Whether the axis stays as it is; so it does in PyTorch by rounding, whatever the scale.

        That is, where n * scale rounds down to n; the cubic and the nearest modes do move there.
        """
        exact = self.align_corners or self.scale in (None, 1.0)
        return self.n == self.m and (exact or self.antialias or self.mode == "linear")

    def step(self) -> Any:
        """Give the distance in x of neighbours in y: (n-1)/(m-1) with aligned corners, else n/m."""
        real = np.dtype(self.real).type
        if self.align_corners:
            return real(self.n - 1) / real(self.m - 1) if self.m > 1 else real(0)
        if self.scale is not None and self.scale > 0:
            return real(1 / self.scale)
        return real(self.n) / real(self.m)

    def places(self) -> Array:
        """Give where each element of y lies in x: i step, or (i + 1/2) step - 1/2."""
        i = np.arange(self.m, dtype=self.real)
        if self.align_corners:
            return i * self.step()  # type: ignore[no-any-return]
        return multiply_add(i + i.dtype.type(0.5), float(self.step()), -0.5)


def multiply_add(x: Array, factor: float, term: float) -> Array:
    """Give x * factor + term, rounded once for float32, as processors do that fuse the two.

    >>> import numpy as np
    >>> multiply_add(np.array([1.0, 3.0], np.float32), 0.5, -0.5)
    array([0., 1.], dtype=float32)
    """
    if x.dtype == np.float32:
        return (x.astype(np.float64) * factor + term).astype(np.float32)
    return x * factor + term


def _near(x: Array, a: float) -> Array:
    return ((a + 2) * x - (a + 3)) * x * x + 1


def _far(x: Array, a: float) -> Array:
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a


def cubic_weights(t: Array) -> tuple[Array, ...]:
    """Weigh the elements at -1, 0, 1 and 2 for a place t in [0, 1] (Keys, 1981, a = -3/4).

    >>> import numpy as np
    >>> [float(w) for w in cubic_weights(np.array(0.5))]
    [-0.09375, 0.59375, 0.59375, -0.09375]
    """
    return _far(t + 1, SHARP), _near(t, SHARP), _near(1 - t, SHARP), _far(2 - t, SHARP)


def cubic_slopes(t: Array) -> tuple[Array, ...]:
    """Give the derivatives of `cubic_weights` by t.

    >>> import numpy as np
    >>> [float(w) for w in cubic_slopes(np.array(0.5))]
    [0.1875, -1.3125, 1.3125, -0.1875]
    """
    a = SHARP
    before, after = t + 1, 2 - t
    return (
        (3 * a * before - 10 * a) * before + 8 * a,
        (3 * (a + 2) * t - 2 * (a + 3)) * t,
        -(3 * (a + 2) * (1 - t) - 2 * (a + 3)) * (1 - t),
        -((3 * a * after - 10 * a) * after + 8 * a),
    )


# Places and weights: (terms, m) each, and which terms there are


@lru_cache(maxsize=256)
def nearest(rule: Rule) -> Array:
    """Give for each element of y the place in x that it is copied from.

    "nearest" takes floor(i n/m), "nearest-exact" floor((i + 1/2) n/m).

    >>> nearest(Rule("nearest", 5, 3)), nearest(Rule("nearest-exact", 5, 3))
    (array([0, 1, 3]), array([0, 2, 4]))
    """
    if rule.mode == "nearest":
        at = np.arange(rule.m, dtype=rule.real) * rule.step()
    else:
        at = np.maximum(rule.places(), 0).astype(np.float64) + 0.5
    places = np.minimum(_floor(at), rule.n - 1)
    places.flags.writeable = False
    return places


def _floor(at: Array) -> Array:
    floor: Array = np.floor(at.astype(np.float32)).astype(np.intp)
    return floor


def _linear(rule: Rule) -> tuple[Array, Array]:
    at = rule.places() if rule.align_corners else np.maximum(rule.places(), 0)
    low = np.minimum(_floor(at), rule.n - 1)
    t = np.clip(at - low.astype(at.dtype), 0, 1)
    return np.stack([low, np.minimum(low + 1, rule.n - 1)]), np.stack([1 - t, t])


def _cubic(rule: Rule) -> tuple[Array, Array]:
    at = rule.places()
    low = np.minimum(_floor(at), rule.n - 1)
    t = np.clip(at - low.astype(at.dtype), 0, 1)
    places = low + np.arange(-1, 3)[:, None]
    return np.clip(places, 0, rule.n - 1), np.stack(cubic_weights(t))


def _kernel(mode: str, x: Array) -> Array:
    """Weigh by distance: a triangle, Keys's cubic with a = -1/2, or Lanczos's windowed sinc."""
    size = np.abs(x)
    if mode == "linear":
        return np.maximum(1 - size, 0)  # type: ignore[no-any-return]
    if mode == "cubic":
        outer = np.where(size < 2, _far(size, SOFT), 0)
        return np.where(size < 1, _near(size, SOFT), outer)
    return np.where(size < 3, np.sinc(x) * np.sinc(x / 3), 0)


def _antialiased(rule: Rule) -> tuple[Array, Array, Array]:
    """Widen the kernel by the step where y is the smaller, and make the weights' sums 1."""
    real = np.dtype(rule.real).type
    step = float(rule.step())
    support = real(RADIUS[rule.mode] * max(step, 1.0))
    centre = ((np.arange(rule.m) + 0.5) * step).astype(real)
    first = np.maximum(np.trunc((centre - support) + np.float64(0.5)), 0).astype(np.intp)
    end = np.minimum(np.trunc((centre + support) + np.float64(0.5)), rule.n).astype(np.intp)
    count = 2 * int(np.ceil(support)) + 1
    places = first + np.arange(count)[:, None]
    there = places < np.minimum(end, first + count)
    distance = (places.astype(real) - centre).astype(np.float64) + 0.5
    shrunk = distance * float(real(1 / max(step, 1.0)))
    weights = np.where(there, _kernel(rule.mode, shrunk.astype(real)), real(0)).astype(real)
    total = weights.sum(0)
    return places, weights / np.where(total == 0, real(1), total), there


class Table(NamedTuple):
    """y[target] = the sum of weight * x[source]: an entry for each term, sorted by target."""

    size: int
    target: Array
    source: Array
    weight: Array


@lru_cache(maxsize=256)
def table(rule: Rule, turned: bool = False) -> Table:
    """List the terms of an axis; `turned` those of the gradient, the transpose.

    >>> table(Rule("nearest", 3, 2), turned=True)
    Table(size=3, target=array([0, 1]), source=array([0, 1]), weight=array([1., 1.]))
    """
    there = None
    if rule.mode.startswith("nearest"):
        places = nearest(rule)[None]
        weights = np.ones(places.shape, rule.real)
    elif rule.antialias:
        places, weights, there = _antialiased(rule)
    else:
        places, weights = (_linear if rule.mode == "linear" else _cubic)(rule)
    target = np.broadcast_to(np.arange(rule.m), places.shape).T.reshape(-1)
    source, weight = places.T.reshape(-1), weights.T.reshape(-1)
    if there is not None:
        kept = there.T.reshape(-1)
        target, source, weight = target[kept], source[kept], weight[kept]
    if not turned:
        return Table(rule.m, target, source, weight)
    order = np.argsort(source, kind="stable")
    return Table(rule.n, source[order], target[order], weight[order])


class Block(NamedTuple):
    """A run of y's places, the run of x that they see, and the matrix (into, seen) between."""

    into: slice
    seen: slice
    matrix: Array


@lru_cache(maxsize=256)
def blocks(rule: Rule, turned: bool = False) -> tuple[Block, ...]:
    """Cut the band of an axis's matrix into dense blocks.

    >>> [(b.into, b.seen) for b in blocks(Rule("linear", 24, 48))]
    [(slice(0, 32, None), slice(0, 17, None)), (slice(32, 48, None), slice(15, 24, None))]
    """
    t, given = table(rule, turned), rule.m if turned else rule.n
    width = WIDTH if t.size >= given else max(4, WIDTH * t.size // given)
    found = []
    for start in range(0, t.size, width):
        stop = min(start + width, t.size)
        part = slice(*np.searchsorted(t.target, (start, stop)))
        target, source = t.target[part], t.source[part]
        low, high = (int(source.min()), int(source.max()) + 1) if len(source) else (0, 0)
        matrix = np.zeros((stop - start, high - low), rule.real)
        np.add.at(matrix, (target - start, source - low), t.weight[part])
        matrix.flags.writeable = False
        found.append(Block(slice(start, stop), slice(low, high), matrix))
    return tuple(found)


@lru_cache(maxsize=256)
def whole_blocks(rule: Rule) -> tuple[tuple[Block, ...], int]:
    """Give the blocks times 2**bits in whole numbers: as many bits as keep them below 2**15."""
    parts = blocks(rule)
    most = max(float(part.matrix.max(initial=0)) for part in parts)
    bits = 0
    while bits < 22 and int(0.5 + most * 2 ** (bits + 1)) < 1 << 15:
        bits += 1
    scaled = [part.matrix * 2.0**bits for part in parts]
    rounded = [np.trunc(m + np.copysign(0.5, m)) for m in scaled]
    return tuple([p._replace(matrix=m) for p, m in zip(parts, rounded, strict=True)]), bits


# On arrays


def resample(xp: Any, x: Array, axis: int, rule: Rule) -> Array:
    """Resample an axis of an array in C order."""
    if rule.mode.startswith("nearest"):
        copied: Array = xp.take(x, xp.asarray(nearest(rule)), axis=axis)
        return copied
    return (weigh_bytes if x.dtype == np.uint8 else weigh)(xp, x, axis, rule)


def weigh(xp: Any, x: Array, axis: int, rule: Rule, turned: bool = False) -> Array:
    """Multiply an axis of an array in C order by the rule's matrix, or by its transpose.

    >>> import numpy as np
    >>> weigh(np, np.array([[0.0, 4.0]]), 1, Rule("linear", 2, 4))
    array([[0., 1., 3., 4.]])
    """
    if not _finite(xp, x):
        return _term_by_term(xp, x, axis, table(rule, turned))
    return _by_blocks(xp, x, axis, table(rule, turned).size, blocks(rule, turned))


def weigh_bytes(xp: Any, x: Array, axis: int, rule: Rule) -> Array:
    """Multiply an axis of bytes in C order by the rule's matrix in whole numbers, as PyTorch does.

    >>> import numpy as np
    >>> weigh_bytes(np, np.array([[0, 5]], np.uint8), 1, Rule("linear", 2, 4))
    array([[0, 1, 4, 5]], dtype=uint8)
    """
    parts, bits = whole_blocks(rule)
    y = _by_blocks(xp, x.astype(np.float64), axis, rule.m, parts)  # exact: below 2**31
    y = xp.floor((y + 2.0 ** (bits - 1)) * 2.0**-bits)
    return xp.clip(y, 0, 255).astype(np.uint8)  # type: ignore[no-any-return]


def _by_blocks(xp: Any, x: Array, axis: int, size: int, parts: tuple[Block, ...]) -> Array:
    """Multiply an axis of an array in C order by a matrix of `size` rows, block by block."""
    inner = prod(x.shape[axis + 1 :])
    y: Array = xp.empty((*x.shape[:axis], size, *x.shape[axis + 1 :]), x.dtype)
    tail = () if inner == 1 else (inner,)
    cut = axis if tail else axis - 1  # rows times a matrix: those of one plane at a time
    lead = (prod(x.shape[:cut]), *x.shape[cut:axis])
    of, to = x.reshape(*lead, x.shape[axis], *tail), y.reshape(*lead, size, *tail)
    tasks = [partial(_multiply, xp, block, of, to, inner == 1) for block in parts]
    if y.size >= LARGE and blas_held():
        run_all(tasks)
    else:
        for task in tasks:
            task()
    return y


def _multiply(xp: Any, block: Block, x: Array, y: Array, rows: bool) -> None:
    matrix = xp.asarray(block.matrix)
    if rows:
        xp.matmul(x[..., block.seen], matrix.T, out=y[..., block.into])
    else:
        xp.matmul(matrix, x[..., block.seen, :], out=y[..., block.into, :])


def _finite(xp: Any, x: Any) -> bool:
    if isinstance(x, np.ndarray):
        return first_not_finite([x]) is None
    return bool(xp.isfinite(x).all())


def _term_by_term(xp: Any, x: Array, axis: int, t: Table) -> Array:
    """Do without the blocks, whose zeros would spread an infinity or NaN to all of their places."""
    hit, starts = np.unique(t.target, return_index=True)
    weight = xp.asarray(t.weight).reshape(-1, *(1,) * (x.ndim - axis - 1))
    with xp.errstate(all="ignore"):
        terms = xp.take(x, xp.asarray(t.source), axis=axis) * weight
        sums: Array = xp.add.reduceat(terms, xp.asarray(starts), axis=axis)
    if len(hit) == t.size:
        return sums
    y: Array = xp.zeros((*x.shape[:axis], t.size, *x.shape[axis + 1 :]), x.dtype)
    y[(*(slice(None),) * axis, xp.asarray(hit))] = sums
    return y
