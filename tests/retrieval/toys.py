"""A small index whose classes are known, to be evaluated."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from chainrule.retrieval.evaluation import Evaluation, evaluate


class Toy:
    """Vectors about the centres of their classes, some predicted wrongly, in groups."""

    def __init__(self, seed: int = 0, queries: int = 40, rows: int = 120, classes: int = 4) -> None:
        random = np.random.RandomState(seed)
        self.labels = random.randint(0, classes, queries)
        self.row_labels = random.randint(0, classes, rows)
        centres = random.normal(size=(classes, 8))
        self.vectors = self._near(random, centres[self.labels])
        self.matrix = self._near(random, centres[self.row_labels])
        self.predicted = self._guess(random, self.labels, classes)
        self.row_predicted = self._guess(random, self.row_labels, classes)
        self.groups = random.randint(0, 12, queries)
        self.row_groups = random.randint(0, 12, rows)
        self.slices = [slice(0, queries // 3), slice(queries // 3, queries)]

    @staticmethod
    def _near(random: Any, centres: Any) -> Any:
        vectors = centres + 0.8 * random.normal(size=centres.shape)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    @staticmethod
    def _guess(random: Any, labels: Any, classes: int) -> Any:
        wrong = random.random_sample(len(labels)) < 0.2
        return np.where(wrong, random.randint(0, classes, len(labels)), labels)

    def scores(self, mode: str) -> Iterator[tuple[slice, Any]]:
        for part in self.slices:
            block = self.vectors[part] @ self.matrix.T
            same = self.predicted[part, None] == self.row_predicted
            if mode == "soft":
                block = 0.5 * block + 0.5 * same
            excluded = (self.groups[part, None] == self.row_groups) & (self.row_groups > 0)
            if mode == "hard":
                excluded |= ~same
            yield part, np.where(excluded, -np.inf, block)

    def evaluation(self, **options: Any) -> Evaluation:
        given = {"predicted": self.predicted, "groups": self.groups, **options}
        return evaluate(self.scores, self.labels, self.row_labels, **given)

    def by_loop(self, mode: str) -> list[float]:
        """Give each query's average precision; the rows that "off" allows are what is relevant."""
        off = np.concatenate([block for _, block in self.scores("off")])
        blocks = np.concatenate([block for _, block in self.scores(mode)])
        found = []
        for query, label in enumerate(self.labels):
            allowed = [r for r in range(len(self.row_labels)) if off[query, r] > -np.inf]
            total = sum(self.row_labels[r] == label for r in allowed)
            rows = [r for r in allowed if blocks[query, r] > -np.inf]
            rows.sort(key=lambda r: (-blocks[query, r], r))
            hits, sum_ = 0, 0.0
            for place, row in enumerate(rows, start=1):
                if self.row_labels[row] == label:
                    hits += 1
                    sum_ += hits / place
            found.append(sum_ / total if total else math.nan)
        return found
