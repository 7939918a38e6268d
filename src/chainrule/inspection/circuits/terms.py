"""One number of a value as data: the numbers that it was made of, each with its factor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from chainrule.engine.op import Array
from chainrule.inspection.circuits.gates import Gate, Wire
from chainrule.inspection.circuits.places import Index

MadeKind = Literal["products", "average", "largest", "copy", "sum", "function", "other"]


@dataclass(frozen=True, eq=False)
class Terms:
    """K numbers of one value at `places` (K, axes), each with the factor by which it counts.

    `by` is the value of which the factors are numbers, at `by_places`: a filter's weights; None
    where they are not kept anywhere.
    """

    wire: Wire
    places: Array
    numbers: Array
    factors: Array
    by: Wire | None = None
    by_places: Array | None = None

    @property
    def products(self) -> Array:
        """Each number times its factor, (K,); a derivative of 0 lets no NaN pass, a weight does."""
        with np.errstate(all="ignore"):
            found: Array = self.numbers * self.factors
        return found if self.by is not None else np.where(self.factors == 0, 0.0, found)

    @property
    def total(self) -> float:
        """The sum of the products."""
        return float(self.products.sum())


class Step(NamedTuple):
    """A line of arithmetic: what is computed, and what comes out."""

    text: str
    value: float


@dataclass(frozen=True, eq=False)
class Made:
    """How one number came about, and what it hands back of a gradient.

    `reads` are the numbers behind it; their factors are the derivatives of this number by each of
    them.  `bias` is what is added to the products; `outside` counts the places of a window that
    lie in the padding.  `result` is what the arithmetic gives in float64, None for an operation
    that is known by its derivatives alone.
    """

    kind: MadeKind
    reads: tuple[Terms, ...]
    bias: Terms | None = None
    outside: int = 0
    steps: tuple[Step, ...] = ()
    result: float | None = None


@dataclass(frozen=True, eq=False)
class Back:
    """Which numbers of a gate depend on one that it reads, and the derivative of each by it."""

    places: Array
    slopes: Array
    by: Wire | None = None
    by_places: Array | None = None


def numbers_at(values: Array, places: Array) -> Array:
    """Give the numbers of an array at places (K, axes), in float64."""
    found: Array = values[tuple(places.T)].astype(np.float64)
    return np.broadcast_to(found, (len(places),))  # a value without axes has one number


def one_hot(gate: Gate, place: Index) -> list[Array | None]:
    """Give gradients for a gate's values: 1 at one place of the first."""
    value = gate.values[0]
    one = np.zeros(gate.shapes[0], np.float32 if value is None else value.dtype)
    one[place] = 1
    return [one, *[None] * (len(gate.shapes) - 1)]
