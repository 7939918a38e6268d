"""Inputs on which operations are verified: seeded draws that keep away from kinks and ties."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator


@dataclass(frozen=True)
class Draw:
    """A recipe for one input array; floats are drawn in float64."""

    kind: str
    shape: tuple[int, ...]
    make: Callable[[Rng, tuple[int, ...]], NDArray[Any]]

    def __call__(self, rng: Rng) -> NDArray[Any]:
        """Draw the array with the given NumPy generator."""
        return np.asarray(self.make(rng, self.shape))


class Sample:
    """An operation with recipes for its inputs; `draw(seed)` gives the arrays.

    A fixed array may stand in place of a recipe.
    """

    def __init__(self, op: Any, *inputs: Draw | NDArray[Any]) -> None:
        self.op = op
        self.inputs = inputs

    def draw(self, seed: int) -> tuple[NDArray[Any], ...]:
        """Draw every input from one seed."""
        rng = np.random.Generator(np.random.PCG64(seed))
        return tuple(d(rng) if isinstance(d, Draw) else np.array(d) for d in self.inputs)

    def __repr__(self) -> str:
        kinds = (f"{d.kind}{d.shape}" if isinstance(d, Draw) else "fixed" for d in self.inputs)
        return f"{self.op!r} on {', '.join(kinds)}"


def normal(*shape: int) -> Draw:
    """Standard normal values."""
    return Draw("normal", shape, lambda rng, s: rng.standard_normal(s))


def away_from_zero(*shape: int, margin: float = 0.1) -> Draw:
    """Normal values moved away from 0 by `margin`."""

    def make(rng: Rng, s: tuple[int, ...]) -> NDArray[Any]:
        x = rng.standard_normal(s)
        return np.asarray(x + np.copysign(margin, x))

    return Draw("away_from_zero", shape, make)


def positive(*shape: int, low: float = 0.2, high: float = 3.0) -> Draw:
    """Uniform values in [low, high)."""
    return Draw("positive", shape, lambda rng, s: rng.uniform(low, high, s))


def uniform(*shape: int, low: float = -1.0, high: float = 1.0) -> Draw:
    """Uniform values in [low, high)."""
    return Draw("uniform", shape, lambda rng, s: rng.uniform(low, high, s))


def distinct(*shape: int, gap: float = 0.1) -> Draw:
    """Values that differ from each other and from 0 by at least about `gap`: no ties."""

    def make(rng: Rng, s: tuple[int, ...]) -> NDArray[Any]:
        size = int(np.prod(s))
        ranks = rng.permutation(size) - size // 2 + 0.5
        return np.asarray(gap * (ranks + rng.uniform(-0.1, 0.1, size))).reshape(s)

    return Draw("distinct", shape, make)


def integers(*shape: int, low: int = 0, high: int) -> Draw:
    """Integers in [low, high), int64."""
    return Draw("integers", shape, lambda rng, s: rng.integers(low, high, s))


def booleans(*shape: int, p: float = 0.5) -> Draw:
    """Booleans, true with probability p."""
    return Draw("booleans", shape, lambda rng, s: rng.random(s) < p)


def spaced(*shape: int, grid: float, margin: float = 0.1) -> Draw:
    """Values that keep `margin` away from every multiple of `grid`."""

    def make(rng: Rng, s: tuple[int, ...]) -> NDArray[Any]:
        cell = rng.integers(-3, 3, s) * grid
        return np.asarray(cell + rng.uniform(margin, grid - margin, s))

    return Draw("spaced", shape, make)
