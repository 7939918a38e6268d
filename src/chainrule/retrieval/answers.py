"""What a search gives: the images that were found, in order, and what is said of the query."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.engine.op import Array


@dataclass(frozen=True)
class Hit:
    """An image that was found.

    `similarity` is the cosine of the angle between its features and the query's, `distance` 1
    minus that, `score` what the order goes by.  `label` is its class where that is known,
    `predicted` the class that the network sees, with its `probability`.  `path` and `tags` are
    there only where the index keeps them.
    """

    id: str
    row: int
    score: float
    similarity: float
    predicted: str = ""
    probability: float = float("nan")
    label: str | None = None
    kind: str = "picture"
    size: tuple[int, int] = (0, 0)
    frame: int = 0
    path: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    thumbnail: bytes = field(default=b"", repr=False)

    @property
    def distance(self) -> float:
        """1 - similarity: 0 for the same features, 1 for those that share nothing."""
        return 1.0 - self.similarity

    @property
    def shown_class(self) -> str:
        """The class to show: the known one, else the network's."""
        return self.label if self.label is not None else self.predicted

    def to_dict(self) -> dict[str, Any]:
        """Give plain values, without the thumbnail."""
        known = {"path": self.path} if self.path is not None else {}
        return {
            "id": self.id,
            "score": round(self.score, 6),
            "similarity": round(self.similarity, 6),
            "distance": round(self.distance, 6),
            "label": self.label,
            "predicted": self.predicted,
            "probability": None if math.isnan(self.probability) else round(self.probability, 6),
            "kind": self.kind,
            "frame": self.frame,
            "height": self.size[0],
            "width": self.size[1],
            "tags": dict(self.tags),
            **known,
        }


@dataclass(frozen=True)
class Outlier:
    """Whether a query is unlike what is in the index.

    `p_value` is the share of ordinary images that are as far from their nearest as this one;
    `flagged` says that it is at most `rate`, the share of false alarms that was asked for.
    `reason` says why nothing can be said, "" where something is.
    """

    distance: float
    p_value: float
    rate: float
    flagged: bool
    reason: str = ""


@dataclass(frozen=True)
class Answer:
    """What a search gives.

    `hits` are in order, `probabilities` (K,) those of the query's classes.  `notes` are what who
    asked should be told, in sentences.
    """

    hits: list[Hit]
    mode: str
    classes: tuple[str, ...]
    probabilities: Array
    outlier: Outlier | None = None
    notes: tuple[str, ...] = ()

    @property
    def predicted(self) -> str:
        """The query's likeliest class, "" where the network has none."""
        return self.classes[int(self.probabilities.argmax())] if self.probabilities.size else ""

    def likeliest(self, count: int = 5) -> list[tuple[str, float]]:
        """Give the query's likeliest classes with their probabilities."""
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.classes[k], float(self.probabilities[k])) for k in order]

    def to_dict(self) -> dict[str, Any]:
        """Give plain values, as JSON can hold them."""
        out = self.outlier
        return {
            "mode": self.mode,
            "classes": {name: round(value, 6) for name, value in self.likeliest(len(self.classes))},
            "outlier": None
            if out is None
            else {
                "distance": round(out.distance, 6),
                "p_value": round(out.p_value, 6),
                "rate": out.rate,
                "flagged": None if out.reason else out.flagged,
                "reason": out.reason,
            },
            "notes": list(self.notes),
            "hits": [hit.to_dict() for hit in self.hits],
        }
