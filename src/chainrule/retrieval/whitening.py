"""Whitening: features without correlations, each direction of equal weight, and fewer of them.

Source: Jegou and Chum, Negative evidences and co-occurrences in image retrieval, 2012.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from operator import index
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import DataError, KindError, expect, failure

ROWS = 4096
"""Rows that are converted at once."""

SMALL = 1e-9
"""What is added to each variance, as a part of the largest, before its root divides."""

RANK = 1e-9
"""Directions whose variance is a smaller part of the largest are rounding, not data."""


class Whitening:
    """Vectors centred, projected on principal components, scaled to variance 1, of length 1 again.

    y = P (x - mean) / scale, then y / |y|: `mean` (D,), `components` P (d, D) with orthonormal rows
    in the order of falling variance, `scale` (d,) the standard deviations along them.  A vector
    that equals the mean stays zero.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(500, 4)) * [9, 3, 1, 0.1]
    >>> whitening = Whitening.fit([x[:200], x[200:]], 2)
    >>> whitening(x).shape, np.abs(whitening.components).argmax(axis=1)
    ((500, 2), array([0, 1]))
    """

    def __init__(self, mean: Any, components: Any, scale: Any) -> None:
        self.mean = np.asarray(mean, np.float32)
        self.components = np.asarray(components, np.float32)
        self.scale = np.asarray(scale, np.float32)
        shapes = self.mean.shape, self.components.shape, self.scale.shape
        ok = self.components.ndim == 2 and shapes[0] == shapes[1][1:] and shapes[2] == shapes[1][:1]
        rule = "mean (D,), components (d, D) and scale (d,)"
        expect(ok, "Whitening", rule, error=DataError, shapes=shapes)
        finite = all(np.isfinite(array).all() for array in self.arrays().values())
        ok = finite and bool((self.scale > 0).all())
        expect(ok, "Whitening", "finite numbers, and a scale above 0", error=DataError)

    @classmethod
    def fit(cls, matrix_blocks: Iterable[Any], components: int) -> Whitening:
        """Learn from blocks of rows (n, D), each read once, as from slices of a mapped matrix.

        The covariance is summed in float64, about the first block's mean, so that nothing cancels;
        it divides by N - 1.  Of the two signs of a direction the one is taken whose largest weight
        is positive.  Raises KindError for a number of components that is no whole number, DataError
        for blocks that are empty, not finite or of different widths, and for more components than
        the rows have directions.
        """
        wanted = _checked_components(components)
        count, mean, covariance = _moments(matrix_blocks)
        values, vectors = np.linalg.eigh(covariance)
        values, vectors = values[::-1], vectors[:, ::-1]
        largest = max(float(values[0]), 0.0)
        rank = min(int((values > RANK * largest).sum()), count - 1) if largest else 0
        if wanted > rank:
            rule = f"at most {rank} components: the {count} rows differ in no more directions"
            hint = "ask for fewer, or give more rows"
            raise failure("Whitening.fit", rule, error=DataError, components=wanted, hint=hint)
        chosen = vectors[:, :wanted].T
        heaviest = np.abs(chosen).argmax(axis=1)
        chosen = chosen * np.sign(chosen[np.arange(wanted), heaviest])[:, None]
        return cls(mean, chosen, np.sqrt(values[:wanted] + SMALL * largest))

    def __call__(self, vectors: Any) -> Array:
        """Whiten vectors (N, D), or one (D,): float32 (N, d) or (d,), of length 1.

        Raises DataError for another width.
        """
        x = np.asarray(vectors)
        width = len(self.mean)
        ok = x.ndim in (1, 2) and x.shape[-1] == width
        expect(ok, "Whitening", f"vectors (N, {width})", error=DataError, vectors=x)
        rows = x.reshape(-1, width)
        out = np.empty((len(rows), len(self.scale)), np.float32)
        for start in range(0, len(rows), ROWS):
            part = rows[start : start + ROWS].astype(np.float64) - self.mean
            y = part @ self.components.T.astype(np.float64) / self.scale
            lengths = np.linalg.norm(y, axis=1, keepdims=True)
            out[start : start + ROWS] = y / np.where(lengths > 0, lengths, 1)
        return out.reshape(*x.shape[:-1], len(self.scale))

    def directions(self, vectors: Array) -> Array:
        """Turn whitened vectors (n, d) into directions (n, D) of what was whitened.

        The product of a whitened vector with one of these is that of an unwhitened, centred one
        with its direction, up to its length.

        >>> Whitening([0, 0], [[0, 1]], [2]).directions(np.array([[3.0]])).tolist()
        [[0.0, 1.5]]
        """
        return np.asarray((vectors / self.scale) @ self.components)

    def arrays(self) -> dict[str, Array]:
        """Give the three arrays by name, to be written to a file."""
        return {"mean": self.mean, "components": self.components, "scale": self.scale}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Whitening:
        """Make it again from what `arrays` gave; DataError where one is missing or does not fit.

        >>> same = Whitening.from_arrays(Whitening([0, 0], [[0, 1]], [2]).arrays())
        >>> same([5, 3]).tolist()
        [1.0]
        """
        missing = sorted({"mean", "components", "scale"} - set(arrays))
        rule = "arrays named mean, components and scale"
        expect(not missing, "Whitening", rule, error=DataError, missing=missing)
        return cls(arrays["mean"], arrays["components"], arrays["scale"])


def _checked_components(components: int) -> int:
    """Give the number as int; KindError or DataError if there is none."""
    try:
        wanted = index(components)
    except TypeError as error:
        rule = "a whole number of components"
        raise failure("Whitening.fit", rule, error=KindError, components=components) from error
    rule = "at least 1 component"
    expect(wanted >= 1, "Whitening.fit", rule, error=DataError, components=wanted)
    return wanted


def _moments(blocks: Iterable[Any]) -> tuple[int, Array, Array]:
    """Give the number of rows, their mean and their covariance, reading each block once."""
    count, near = 0, np.zeros(0)
    total, squares = np.zeros(0), np.zeros((0, 0))
    for given in blocks:
        block = np.asarray(given)
        width = len(near) if count else block.shape[-1] if block.ndim else 0
        ok = block.ndim == 2 and block.shape[1] == width and width > 0
        rule = f"blocks of rows (n, {width})" if count else "blocks of rows (n, D)"
        expect(ok, "Whitening.fit", rule, error=DataError, block=block)
        for start in range(0, len(block), ROWS):
            rows = block[start : start + ROWS].astype(np.float64)
            ok = bool(np.isfinite(rows).all())
            expect(ok, "Whitening.fit", "finite numbers", error=DataError, block=block)
            if not count:
                near = rows.mean(axis=0)
                total, squares = np.zeros(width), np.zeros((width, width))
            rows -= near
            total += rows.sum(axis=0)
            squares += rows.T @ rows
            count += len(rows)
    rule = "at least 2 rows, of which a spread can be told"
    expect(count >= 2, "Whitening.fit", rule, error=DataError, rows=count)
    covariance = (squares - np.outer(total, total / count)) / (count - 1)
    return count, near + total / count, covariance


def to_note(whitening: Whitening) -> dict[str, Any]:
    """Write a whitening as what a note of an index can hold."""
    return {
        name: {
            "shape": list(array.shape),
            "base64": b64encode(array.astype("<f4").tobytes()).decode(),
        }
        for name, array in whitening.arrays().items()
    }


def from_note(note: dict[str, Any]) -> Whitening:
    """Read what `to_note` wrote; DataError for anything else."""
    try:
        arrays = {
            name: np.frombuffer(b64decode(part["base64"], validate=True), "<f4").reshape(
                part["shape"]
            )
            for name, part in note.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError("the index's whitening is damaged; chainrule index verify") from error
    return Whitening.from_arrays(arrays)
