"""k nearest neighbours, with scikit-learn's habits: nothing is learned, everything is kept."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import KindError, failure

BLOCK = 1 << 24
"""So many distances are held at a time."""


class KNearestNeighbours:
    """The class that most of the k nearest known examples have; deck 002, "K-Nearest Neighbor".

    `fit(X, y)` keeps the examples, `predict(X)` asks them.  X is (examples, ...): images are taken
    pixel by pixel.  `metric` is "l2" or "l1".  Between classes with as many neighbours the nearest
    of them decides.  `kneighbors` gives distances and positions.  Raises ValueError for shapes that
    do not fit and for k beyond the number of examples.

    Learned: `classes_`, `n_features_in_`.  Published: 5.0 % error on MNIST with k = 3 and L2 (LeCun
    et al., 1998, without deskewing).

    >>> import numpy as np
    >>> model = KNearestNeighbours(k=1).fit(np.array([[0.0], [10.0]]), ["paper", "ink"])
    >>> model.predict(np.array([[2.0], [7.0]])).tolist()
    ['paper', 'ink']
    """

    def __init__(self, k: int = 3, metric: str = "l2") -> None:
        if k < 1:
            raise failure("KNearestNeighbours", "k of at least 1", k=k)
        if metric not in ("l1", "l2"):
            raise failure("KNearestNeighbours", "a metric 'l1' or 'l2'", metric=metric)
        self.k, self.metric = k, metric

    def fit(self, X: Any, y: Any) -> Self:
        """Keep (examples, ...) and (examples,) labels; returns the model."""
        x, labels = _rows("KNearestNeighbours.fit", X), np.asarray(y)
        if labels.shape != x.shape[:1]:
            rule = f"a label for each example: ({x.shape[0]},)"
            raise failure("KNearestNeighbours.fit", rule, X=x, y=labels)
        if len(x) < self.k:
            raise failure("KNearestNeighbours.fit", f"at least k = {self.k} examples", X=x)
        self.classes_, self._codes = np.unique(labels, return_inverse=True)
        self.n_features_in_, self._x = x.shape[1], x
        self._squares = (x * x).sum(1)
        return self

    def kneighbors(self, X: Any) -> tuple[Array, Array]:
        """Give distances and positions of the k nearest, nearest first: both (examples, k).

        Of equally near ones that which was given first comes first.
        """
        x = self._asked(X, "kneighbors")
        step = max(1, BLOCK // (len(self._x) * (x.shape[1] if self.metric == "l1" else 1)))
        found = [self._nearest(x[i : i + step]) for i in range(0, len(x), step)]
        if not found:
            return np.empty((0, self.k)), np.empty((0, self.k), np.intp)
        return np.concatenate([d for d, _ in found]), np.concatenate([p for _, p in found])

    def _nearest(self, x: Array) -> tuple[Array, Array]:
        if self.metric == "l1":
            far = np.abs(x[:, None] - self._x).sum(2)
        else:
            # |a - b|^2 = |a|^2 - 2ab + |b|^2 loses digits where a is near b, hence the second look.
            far = (x * x).sum(1)[:, None] - 2 * (x @ self._x.T) + self._squares
        order = np.argsort(far, axis=1, kind="stable")[:, : self.k + 8]
        if self.metric == "l2":
            near = ((x[:, None] - self._x[order]) ** 2).sum(2)
            exact = np.lexsort((order, near), axis=1)
            order = np.take_along_axis(order, exact, 1)
            near = np.sqrt(np.take_along_axis(near, exact, 1))
        else:
            near = np.take_along_axis(far, order, 1)
        return near[:, : self.k], order[:, : self.k]

    def predict_proba(self, X: Any) -> Array:
        """Give the part of the neighbours in each class: (examples, ...) -> (examples, classes)."""
        codes = self._codes[self.kneighbors(X)[1]]  # (examples, k)
        votes = np.zeros((len(codes), len(self.classes_)))
        np.add.at(votes, (np.arange(len(codes))[:, None], codes), 1 / self.k)
        return votes

    def predict(self, X: Any) -> Array:
        """Give the class of each example: (examples, ...) -> (examples,)."""
        codes = self._codes[self.kneighbors(X)[1]]
        votes = np.zeros((len(codes), len(self.classes_)), np.intp)
        np.add.at(votes, (np.arange(len(codes))[:, None], codes), 1)
        of_each = np.take_along_axis(votes, codes, 1)  # the votes for each neighbour's class
        first = of_each.argmax(1)  # the nearest of those with the most
        chosen = np.take_along_axis(codes, first[:, None], 1)[:, 0]
        return np.asarray(self.classes_[chosen])

    def score(self, X: Any, y: Any) -> float:
        """Give the part of examples that is classified as y says."""
        return float(np.mean(self.predict(X) == np.asarray(y)))

    def _asked(self, X: Any, what: str) -> Array:
        name = f"KNearestNeighbours.{what}"
        if not hasattr(self, "classes_"):
            raise failure(name, "a model that was fitted: call fit(X, y) first")
        x = _rows(name, X, empty=True)
        if x.shape[1] != self.n_features_in_:
            rule = f"the number of features that was kept: {x.shape[1]} = {self.n_features_in_}"
            raise failure(name, rule, X=x)
        return x


def _rows(name: str, X: Any, empty: bool = False) -> Array:
    x = np.asarray(X)
    if x.dtype.kind not in "fiub":
        raise failure(name, "an X of numbers", error=KindError, X=x)
    if x.ndim < 2 or 0 in x.shape[1:] or (len(x) == 0 and not empty):
        raise failure(name, "X (examples, ...), at least one feature of each", X=x)
    x = x.reshape(len(x), -1).astype(np.float64)
    if not np.isfinite(x).all():
        raise failure(name, "finite numbers in X")
    return x
