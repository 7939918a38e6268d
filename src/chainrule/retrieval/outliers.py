"""Is an image like those of the index at all?  Its distance beside those of images that belong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.data.perceptual import ALIKE, hamming
from chainrule.engine.op import Array
from chainrule.errors import DataError, KindError, expect, failure
from chainrule.inspection.given import real, setting
from chainrule.retrieval.ranking import nearest
from chainrule.retrieval.shelf import Query, Shelf

MOST = 2000
"""How many distances a calibration keeps: rates down to 1 in 2,001."""

_BESIDE = 16  # neighbours among which one that is no near-duplicate is looked for
_KINDS = ("leave-one-out", "held-out")
_FARTHEST = 2.0  # cosine distances, with room for what rounding adds on both sides
_ROOM = 1e-3


@dataclass(frozen=True)
class Calibration:
    """How far images that belong are from their nearest row, so that others can be told by it.

    The distances (1 - cosine, 0 to 2) are those of images that were not in the index when they
    were measured ("held-out"), or of the index's own rows, each to the nearest of the others, its
    own group's and itself left out ("leave-one-out").

    Where a new image is drawn as those were, the chance that it is flagged at a rate r is at most
    r, whatever the network: a bound for held-out images, over the draw of all n and of the new one.
    With one set of n at hand the share is about r, by some sqrt(r / n) more or less.  Images of
    one patient are alike: where they are many, give one distance of each.  Leave-one-out distances
    are a little larger than a new image's, which has one row more to be near to, so that fewer are
    flagged.  Nothing is said of images that do not belong, nor of several at once.

    Source: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005, chapter 2;
    for outliers Laxhammar and Falkman, 2010.

    - distances: ascending, from 1 to 2,000 of them.
    - measured: how many there were before some were drawn out of them.
    - kind: "leave-one-out" or "held-out".

    >>> calibration = Calibration.of([0.1, 0.2, 0.3, 0.4])
    >>> calibration.p_value([0.05, 0.3, 0.9]).tolist()
    [1.0, 0.6, 0.2]
    >>> calibration.smallest_rate, calibration.flag([0.3, 0.9], rate=0.25).tolist()
    (0.2, [False, True])
    """

    distances: tuple[float, ...]
    measured: int
    kind: str = "leave-one-out"

    @classmethod
    def of(cls, distances: Any, kind: str = "leave-one-out", seed: int = 0) -> Calibration:
        """Keep distances (n,), of more than 2,000 as many drawn by chance.

        NaN and infinity stand for images without any other row to be near to, and are left out.
        Raises DataError where no distance is left or one is outside 0 to 2, ShapeError for other
        axes.
        """
        given = real("Calibration", "distances", distances)
        expect(given.ndim == 1, "Calibration", "distances (n,)", distances=given)
        kept = given[np.isfinite(given)].astype(np.float64)
        count = len(kept)
        if count > MOST:  # a frozen stream: Generator's may change between versions
            kept = kept[np.random.RandomState(seed).permutation(count)[:MOST]]
        return cls.from_dict({"distances": np.sort(kept).tolist(), "measured": count, "kind": kind})

    @property
    def smallest_rate(self) -> float:
        """Give the lowest rate at which anything can be flagged: 1 / (n + 1)."""
        return 1.0 / (len(self.distances) + 1)

    def p_value(self, distance: Any) -> Array:
        """Give the share of images that are as far or farther, the new one counted among them.

        (1 + those at `distance` or more) / (n + 1), for each distance: any shape -> float64.  A
        distance of infinity, of an index without rows, has the lowest value.  Raises DataError
        for NaN.
        """
        given = real("p_value", "distances", distance).astype(np.float64)
        if np.isnan(given).any():
            raise DataError("p_value: expected distances, got NaN; is the query's vector all 0?")
        nearer = np.searchsorted(np.array(self.distances), given, side="left")
        n = len(self.distances)
        return np.asarray((1 + n - nearer) / (n + 1))

    def flag(self, distance: Any, rate: float = 0.01) -> Array:
        """Tell what is so far that at most a share `rate` of images that belong is as far.

        Raises DataError for a rate that so few distances cannot tell, which would never flag
        anything; ShapeError for one outside 0 to 1.
        """
        self.check_rate(rate)
        return np.asarray(self.p_value(distance) <= rate + 1e-12)

    def threshold(self, rate: float = 0.01) -> float:
        """Give the distance above which all is flagged at this rate; raises as `flag` does.

        What lies at the threshold itself is not flagged.

        >>> Calibration.of([0.1, 0.2, 0.3, 0.4]).threshold(0.4)
        0.3
        """
        self.check_rate(rate)
        n = len(self.distances)
        above = math.floor((rate + 1e-12) * (n + 1)) - 1  # of the distances, as far or farther
        return self.distances[n - 1 - above] if above < n else -math.inf

    def check_rate(self, rate: float) -> None:
        """Raise DataError for a rate below the smallest, ShapeError for one outside 0 to 1."""
        setting("outliers", 0.0, 1.0, rate=rate)
        if rate + 1e-12 < self.smallest_rate:
            n = len(self.distances)
            raise DataError(
                f"outliers: expected a rate of {self.smallest_rate:.3g} or more, which {n} "
                f"distances can tell, got {rate:g}; at {rate:g} nothing would ever be flagged: "
                "calibrate with more images or ask for a higher rate"
            )

    def to_dict(self) -> dict[str, Any]:
        """Give plain values, ready for JSON."""
        return {
            "distances": list(self.distances),
            "measured": self.measured,
            "kind": self.kind,
        }

    @classmethod
    def from_dict(cls, given: Any) -> Calibration:
        """Take what `to_dict` gave; DataError, saying what is wrong, for anything else.

        >>> calibration = Calibration.of([0.25, 0.125])
        >>> Calibration.from_dict(calibration.to_dict()) == calibration
        True
        """
        if not isinstance(given, Mapping) or {"distances", "measured", "kind"} - set(given):
            raise failure(
                "calibration", "distances, measured and kind by name", error=DataError, given=given
            )
        distances, measured, kind = given["distances"], given["measured"], given["kind"]
        _check(distances, measured, kind)
        return cls(tuple(float(value) for value in distances), measured, kind)


def _check(distances: Any, measured: Any, kind: Any) -> None:
    """Raise DataError for what is no calibration."""
    if not isinstance(distances, list | tuple) or not 1 <= len(distances) <= MOST:
        count = len(distances) if isinstance(distances, list | tuple) else distances
        hint = "an index of one group alone has none: hold some images out"
        rule = f"from 1 to {MOST} distances"
        raise failure("calibration", rule, hint=hint, error=DataError, distances=count)
    try:
        values = real("calibration", "distances", list(distances)).astype(np.float64)
    except KindError as error:
        raise DataError(str(error)) from error
    inside = (values >= -_ROOM) & (values <= _FARTHEST + _ROOM)
    if values.ndim != 1 or not inside.all():  # NaN is not inside
        raise failure(
            "calibration", "cosine distances from 0 to 2", error=DataError, distances=distances
        )
    if (np.diff(values) < 0).any():
        raise failure("calibration", "distances that ascend", error=DataError)
    whole = isinstance(measured, int) and not isinstance(measured, bool)
    if not whole or measured < len(distances):
        rule = f"measured to be {len(distances)} or more"
        raise failure("calibration", rule, error=DataError, measured=measured)
    if kind not in _KINDS:
        rule = f"a kind among {', '.join(_KINDS)}"
        raise failure("calibration", rule, error=DataError, kind=kind)


def own_distances(shelf: Shelf, looks: Array | None = None, seed: int = 0) -> Array:
    """Give distances of images to their nearest on their own shelf: (n,) of a sample, in no order.

    An image's own group does not count, and with `looks` (N,), the perceptual hashes, near-
    duplicates do not: a new image has none of these there.  Images without any other are left out.

    >>> own_distances(Shelf.of(np.eye(3))).tolist()
    [1.0, 1.0, 1.0]
    """
    alive = np.flatnonzero(shelf.alive)
    rows = np.sort(np.random.RandomState(seed).permutation(alive)[:MOST])
    if len(alive) < 2:
        return np.zeros(0)
    vectors = np.asarray(shelf.matrix[rows], np.float32)
    found = nearest(Query(vectors, None, shelf.groups[rows]), shelf, _BESIDE, "off")
    there = found.rows >= 0
    others = np.where(there, found.rows, 0)
    fresh = there & (others != rows[:, np.newaxis])
    if looks is not None:
        known = (looks[rows] != 0)[:, np.newaxis]
        fresh &= ~(known & (hamming(looks[others], looks[rows][:, np.newaxis]) <= ALIKE))
    best = fresh.argmax(axis=1)
    cosines = found.cosines[np.arange(len(rows)), best].astype(np.float64)
    distances: Array = (1.0 - cosines)[fresh.any(axis=1)]
    return distances
