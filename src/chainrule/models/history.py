"""The first learning machines: Rosenblatt's Perceptron, Widrow and Hoff's Adaline and Madaline.

NumPy arrays and scikit-learn's habits: `fit(X, y)` returns the model, what it learned ends in an
underscore, `predict(X)` gives class labels.  Inputs are (examples, features), labels any two
values, of which the larger counts as +1.  Initial weights are small numbers from `generator`,
or from the global one.  No gradients run through these models: each rule is its own formula.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, Self

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.random import Generator, default_generator
from chainrule.errors import KindError, failure

FLOAT64 = np.dtype(np.float64)
INITIAL = 0.01
"""Standard deviation of the initial weights."""


def _matrix(name: str, X: Any, features: int | None = None) -> Array:
    x = np.asarray(X)
    if x.dtype.kind not in "fiub":
        raise failure(name, "an X of numbers", error=KindError, X=x)
    if x.ndim != 2 or 0 in x.shape:
        raise failure(name, "X (examples, features), at least one of each", X=x)
    if features is not None and x.shape[1] != features:
        rule = f"the number of features that was learned: {x.shape[1]} = {features}"
        raise failure(name, rule, X=x)
    x = x.astype(FLOAT64)
    if not np.isfinite(x).all():
        row = int(np.argmin(np.isfinite(x).all(axis=1)))
        raise failure(name, f"finite numbers in X; row {row} has others")
    return x


class _Machine:
    """What the three share: options, classes, scores to labels."""

    def __init__(self, rate: float, max_epochs: int, generator: Generator | None) -> None:
        name = type(self).__name__
        if not rate > 0 or not math.isfinite(rate):
            raise failure(name, "rate > 0", rate=rate)
        if not max_epochs >= 1:
            raise failure(name, "max_epochs of at least 1", max_epochs=max_epochs)
        self.rate = rate
        self.max_epochs = max_epochs
        self.generator = generator
        self.classes_: Array
        self.n_features_in_: int
        self.n_iter_: int
        self.converged_: bool
        self.errors_: list[int]

    def _begin(self, X: Any, y: Any) -> tuple[Array, Array]:
        """Check the data; give (examples, features) and targets of -1 and +1."""
        name = f"{type(self).__name__}.fit"
        x, labels = _matrix(name, X), np.asarray(y)
        if labels.shape != x.shape[:1]:
            raise failure(name, f"a label for each example: ({x.shape[0]},)", X=x, y=labels)
        classes, codes = np.unique(labels, return_inverse=True)
        if len(classes) != 2:
            raise failure(name, f"labels of two classes, not {len(classes)}", y=labels)
        self.classes_, self.n_features_in_ = classes, x.shape[1]
        return x, 2.0 * codes - 1.0

    def _source(self) -> Generator:
        return self.generator or default_generator()

    def _known(self, X: Any, what: str) -> Array:
        name = f"{type(self).__name__}.{what}"
        if not hasattr(self, "classes_"):
            raise failure(name, "a model that was fitted: call fit(X, y) first")
        return _matrix(name, X, self.n_features_in_)

    def decision_function(self, X: Any) -> Array:
        """Give the number whose sign decides: (examples, features) -> (examples,)."""
        raise NotImplementedError

    def predict(self, X: Any) -> Array:
        """Give the class of each example: (examples, features) -> (examples,)."""
        above = self.decision_function(X) > 0  # which checks that there are classes
        return np.asarray(self.classes_[above.astype(np.intp)])

    def score(self, X: Any, y: Any) -> float:
        """Give the part of examples that is classified as y says."""
        return float(np.mean(self.predict(X) == np.asarray(y)))

    def _end(self, epochs: int, converged: bool, why: str) -> Self:
        """Note how it ended, and warn where it did not end well."""
        self.n_iter_, self.converged_ = epochs, converged
        if not converged:
            name = type(self).__name__
            warnings.warn(f"{name}: no end after {epochs} epochs: {why}", stacklevel=3)
        return self


class _Neuron(_Machine):
    """One weighted sum: what Perceptron and Adaline share."""

    coef_: Array
    intercept_: float

    def decision_function(self, X: Any) -> Array:
        """Give w.x + b: (examples, features) -> (examples,)."""
        x = self._known(X, "decision_function")
        return np.asarray(x @ self.coef_ + self.intercept_)

    def _draw(self, features: int) -> Array:
        """Draw initial weights; the last is the bias, whose input is always 1."""
        return self._source().normal((features + 1,), FLOAT64, 0.0, INITIAL)

    def _keep(self, w: Array) -> None:
        self.coef_, self.intercept_ = w[:-1].copy(), float(w[-1])


def _with_one(x: Array) -> Array:
    """Give each example the constant input of the bias."""
    return np.concatenate([x, np.ones((x.shape[0], 1))], axis=1)


class Perceptron(_Neuron):
    """Rosenblatt's perceptron (1957): y = 1 if w.x + b > 0 else 0; w += rate (d - y) x; deck 002.

    It passes through the examples, corrects at each error, and ends after the first pass without
    one, which comes if the classes can be separated by a hyperplane.  If they cannot, it ends after
    `max_epochs`, says so in a warning and leaves `converged_` False.

    Learned: `coef_` (features,), `intercept_`, `n_iter_` passes, `errors_` in each of them,
    `converged_`, `classes_`.  Raises ValueError for other than two classes and for X that does
    not fit.

    >>> import numpy as np
    >>> X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> model = Perceptron().fit(X, [0, 1, 1, 1])
    >>> model.predict(X), model.converged_, model.errors_[-1]
    (array([0, 1, 1, 1]), True, 0)
    """

    def __init__(
        self, rate: float = 1.0, max_epochs: int = 1000, *, generator: Generator | None = None
    ) -> None:
        super().__init__(rate, max_epochs, generator)

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from (examples, features) and (examples,) labels; returns the model."""
        x, d = self._begin(X, y)
        inputs, wanted = _with_one(x), d > 0
        w = self._draw(x.shape[1])
        self.errors_ = []
        for _ in range(self.max_epochs):
            errors = 0
            for row, right in zip(inputs, wanted, strict=True):
                if (row @ w > 0) != right:
                    w += (self.rate if right else -self.rate) * row
                    errors += 1
            self.errors_.append(errors)
            if not errors:
                break
        self._keep(w)
        left = f"{errors} corrections in the last; perhaps no hyperplane separates the classes"
        return self._end(len(self.errors_), not errors, left)


class Adaline(_Neuron):
    """Widrow and Hoff's adaptive linear neuron (1960): least mean squares on the linear output.

    With s = w.x + b and targets d = -1, +1: w += rate (d - s) x after each example (`batch=False`,
    the LMS rule, which for a constant rate keeps wandering near the least-squares solution), or
    by the mean over all examples (`batch=True`, which converges to it).  `decay` divides the rate
    of pass t (from 0) by 1 + decay t, which lets the LMS rule converge too.  It ends when a pass
    changes no weight by more than `tol` times the largest.  Classes are told by s > 0.

    Learned: `coef_`, `intercept_`, `n_iter_`, `converged_`, `losses_` (the mean squared error
    before each pass), `classes_`.  Raises ValueError where it diverges, with the rate that does
    not.

    >>> import numpy as np
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> model = Adaline(rate=0.1, batch=True).fit(X, [-1, -1, 1, 1])
    >>> round(float(model.coef_[0]), 3), round(model.intercept_, 3)  # the least-squares line
    (0.8, -1.2)
    """

    def __init__(
        self,
        rate: float = 0.01,
        max_epochs: int = 10_000,
        *,
        batch: bool = False,
        decay: float = 0.0,
        tol: float = 1e-6,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(rate, max_epochs, generator)
        if not decay >= 0 or not tol >= 0:
            raise failure("Adaline", "decay and tol of at least 0", decay=decay, tol=tol)
        self.batch = batch
        self.decay = decay
        self.tol = tol
        self.losses_: list[float]

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from (examples, features) and (examples,) labels; returns the model."""
        x, d = self._begin(X, y)
        inputs = _with_one(x)
        w = self._draw(x.shape[1])
        self.losses_ = []
        converged, change = False, math.inf
        for epoch in range(self.max_epochs):
            before = w.copy()
            with np.errstate(over="ignore", invalid="ignore"):
                self.losses_.append(float(np.mean((d - inputs @ w) ** 2)))
                self._pass(w, inputs, d, self.rate / (1 + self.decay * epoch))
            if not np.isfinite(w).all() or not math.isfinite(self.losses_[-1]):
                raise self._divergence(inputs)
            change = float(np.abs(w - before).max())
            converged = change <= self.tol * float(np.abs(w).max())
            if converged:
                break
        self._keep(w)
        left = f"weights still change by {change:.2g} a pass"
        return self._end(len(self.losses_), converged, left)

    def _pass(self, w: Array, inputs: Array, d: Array, rate: float) -> None:
        """Go through the examples once, moving w in place."""
        if self.batch:
            w += rate * (d - inputs @ w) @ inputs / len(inputs)
            return
        for row, target in zip(inputs, d, strict=True):
            w += rate * (target - row @ w) * row

    def _divergence(self, inputs: Array) -> Exception:
        if self.batch:
            bound = 2 / float(np.linalg.eigvalsh(inputs.T @ inputs / len(inputs)).max())
        else:
            bound = 2 / float((inputs * inputs).sum(axis=1).max())
        hint = "or scale the features down"
        return failure("Adaline.fit", f"a rate below {bound:.3g}", hint=hint, rate=self.rate)


class Madaline(_Machine):
    """A layer of Adalines under a fixed vote, trained by Madaline Rule I (Ridgway; Widrow, 1962).

    Each unit says +1 where its s = w.x + b > 0, else -1; the vote is "majority" (of an odd number
    of units), "and" or "or".  At an example that the vote gets wrong, as few units as can turn it
    are corrected, those whose s is nearest to 0, since that disturbs least what was learned:
    w += rate (d - s) x / |x|^2 with the bias's 1 in x.  It ends after a pass without error.  The
    rule can run in circles; the order of examples is drawn anew for each pass, and after
    `patience` passes the weights are.

    Learned: `coef_` (units, features), `intercept_` (units,), `n_iter_`, `errors_`, `converged_`,
    `classes_`.  Without a pass without error it warns and leaves `converged_` False.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> Madaline(2, vote="or", generator=cr.Generator(0)).fit(X, [0, 1, 1, 0]).predict(X)
    array([0, 1, 1, 0])
    """

    coef_: Array
    intercept_: Array

    def __init__(
        self,
        units: int = 3,
        vote: str = "majority",
        rate: float = 0.7,
        max_epochs: int = 5000,
        *,
        patience: int = 100,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(rate, max_epochs, generator)
        if vote not in ("majority", "and", "or"):
            raise failure("Madaline", "a vote 'majority', 'and' or 'or'", vote=vote)
        if units < 1 or (vote == "majority" and units % 2 == 0):
            raise failure("Madaline", "units, an odd number for a majority", units=units)
        if rate >= 2:
            raise failure("Madaline", "rate < 2: from there on corrections grow", rate=rate)
        if patience < 1:
            raise failure("Madaline", "patience of at least 1", patience=patience)
        self.units = units
        self.vote = vote
        self.patience = patience
        # How many units must say +1.
        self._quorum = {"majority": units // 2 + 1, "and": units, "or": 1}[vote]

    def decision_function(self, X: Any) -> Array:
        """Give the votes for +1 beyond those needed, less a half: (examples,)."""
        x = self._known(X, "decision_function")
        votes = (x @ self.coef_.T + self.intercept_ > 0).sum(axis=1)
        return np.asarray(votes - (self._quorum - 0.5))

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from (examples, features) and (examples,) labels; returns the model."""
        x, d = self._begin(X, y)
        inputs, source = _with_one(x), self._source()
        self.errors_ = []
        errors = len(d)
        for epoch in range(self.max_epochs):
            if epoch % self.patience == 0:
                w = source.normal((self.units, inputs.shape[1]), FLOAT64, 0.0, 1.0)
            errors = sum(
                self._correct(w, inputs[i], float(d[i])) for i in source.permutation(len(d))
            )
            self.errors_.append(errors)
            if not errors:
                break
        self.coef_, self.intercept_ = w[:, :-1].copy(), w[:, -1].copy()
        left = f"{errors} corrections in the last; perhaps more units are needed"
        return self._end(len(self.errors_), not errors, left)

    def _correct(self, w: Array, row: Array, d: float) -> bool:
        """Move the units that turn the vote to d with least disturbance; tell if any had to."""
        s = w @ row
        up = s > 0
        votes = int(up.sum())
        if (votes >= self._quorum) == (d > 0):
            return False
        wrong = np.flatnonzero(up != (d > 0))
        missing = self._quorum - votes if d > 0 else votes - self._quorum + 1
        nearest = wrong[np.argsort(np.abs(s[wrong]), kind="stable")[:missing]]
        w[nearest] += np.outer(self.rate * (d - s[nearest]) / (row @ row), row)
        return True
