"""Perceptron, Adaline, Madaline: what they can learn, what they cannot, and that they say so."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.models.history import Adaline, Madaline, Perceptron

CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
XOR = np.array([0, 1, 1, 0])


def separable(seed: int, n: int = 60, features: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Points on both sides of a random hyperplane, none near it."""
    rng = np.random.default_rng(seed)
    w, b = rng.standard_normal(features), 0.3
    x = rng.standard_normal((5 * n, features))
    s = (x @ w + b) / np.linalg.norm(w)
    keep = np.flatnonzero(np.abs(s) > 0.2)[:n]
    return x[keep], np.where(s[keep] > 0, "right", "left")


@pytest.mark.parametrize("seed", range(5))
def test_perceptron_separates_what_can_be_separated(seed: int) -> None:
    x, y = separable(seed)
    model = Perceptron(generator=cr.Generator(seed))
    assert model.fit(x, y) is model
    assert model.converged_
    assert model.errors_[-1] == 0
    assert model.n_iter_ == len(model.errors_)
    assert model.score(x, y) == 1
    assert model.classes_.tolist() == ["left", "right"]
    np.testing.assert_array_equal(model.predict(x), y)
    np.testing.assert_allclose(model.decision_function(x), x @ model.coef_ + model.intercept_)


def test_rosenblatts_rule_step_by_step() -> None:
    x, d = np.array([[1.0, 2.0], [-1.0, 0.5], [2.0, -1.0]]), np.array([0, 1, 1])
    with pytest.warns(UserWarning, match="1 epochs"):
        model = Perceptron(0.5, max_epochs=1, generator=cr.Generator(4)).fit(x, d)
    w = cr.Generator(4).normal((3,), np.dtype(np.float64), 0.0, 0.01)
    for row, target in zip(np.c_[x, np.ones(3)], d, strict=True):
        y = 1 if w @ row > 0 else 0
        w = w + 0.5 * (target - y) * row
    np.testing.assert_allclose([*model.coef_, model.intercept_], w)


def test_perceptron_learns_and_or_but_not_xor() -> None:
    for y in ([0, 0, 0, 1], [0, 1, 1, 1]):
        assert Perceptron().fit(CORNERS, y).predict(CORNERS).tolist() == y
    with pytest.warns(UserWarning, match="perhaps no hyperplane"):
        model = Perceptron(max_epochs=300).fit(CORNERS, XOR)
    assert not model.converged_
    assert model.n_iter_ == 300
    assert min(model.errors_) > 0
    assert model.score(CORNERS, XOR) < 1


def least_squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    d = np.where(y == np.unique(y)[1], 1.0, -1.0)
    return np.linalg.lstsq(np.c_[x, np.ones(len(x))], d, rcond=None)[0]


@pytest.mark.parametrize("seed", range(3))
def test_adaline_comes_to_the_least_squares_solution(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((40, 3)) + 0.5
    y = (x[:, 0] - x[:, 1] + 0.7 * rng.standard_normal(40) > 0).astype(int)  # not separable
    expected = least_squares(x, y)
    batch = Adaline(0.1, batch=True, tol=1e-12, generator=cr.Generator(seed)).fit(x, y)
    assert batch.converged_
    np.testing.assert_allclose([*batch.coef_, batch.intercept_], expected, rtol=1e-8, atol=1e-9)
    assert batch.losses_[-1] <= min(batch.losses_) + 1e-12
    decaying = Adaline(0.05, 3000, decay=0.2, tol=0.0, generator=cr.Generator(seed))
    with pytest.warns(UserWarning, match="still change"):
        decaying.fit(x, y)
    np.testing.assert_allclose([*decaying.coef_, decaying.intercept_], expected, atol=2e-3)


def test_widrow_and_hoffs_rule_step_by_step() -> None:
    x, d = np.array([[1.0, 2.0], [-1.0, 0.5], [2.0, -1.0]]), np.array([-1.0, 1.0, 1.0])
    with pytest.warns(UserWarning, match="2 epochs"):
        model = Adaline(0.1, 2, decay=1.0, generator=cr.Generator(4)).fit(x, d)
    w = cr.Generator(4).normal((3,), np.dtype(np.float64), 0.0, 0.01)
    losses = []
    for rate in (0.1, 0.05):
        rows = np.c_[x, np.ones(3)]
        losses.append(np.mean((d - rows @ w) ** 2))
        for row, target in zip(rows, d, strict=True):
            w = w + rate * (target - w @ row) * row
    np.testing.assert_allclose([*model.coef_, model.intercept_], w)
    np.testing.assert_allclose(model.losses_, losses)


@pytest.mark.parametrize("batch", [True, False])
def test_adaline_that_diverges_names_a_rate_that_does_not(batch: bool) -> None:
    x, y = separable(0)
    x = 100 * x
    with pytest.raises(ValueError, match=r"a rate below ([\d.e+-]+)") as caught:
        Adaline(0.1, batch=batch).fit(x, y)
    bound = float(str(caught.value).split("rate below ")[1].split(";")[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = Adaline(0.9 * bound, 500, batch=batch).fit(x, y)
    assert np.isfinite(model.coef_).all()
    same, labels = np.array([[3.0], [3.0]]), [0, 1]  # |x|^2 = 9 + 1, so the bound is 2/10
    with pytest.raises(ValueError, match=r"a rate below 0\.2;"):
        Adaline(0.22, batch=batch).fit(same, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert abs(Adaline(0.18, batch=batch).fit(same, labels).decision_function(same)).max() < 10


@pytest.mark.parametrize(
    ("units", "vote"), [(2, "or"), (2, "and"), (3, "majority"), (5, "majority"), (4, "or")]
)
@pytest.mark.parametrize("inputs", [CORNERS, 2 * CORNERS - 1])
def test_madaline_solves_xor_whatever_the_seed(units: int, vote: str, inputs: Any) -> None:
    for seed in range(10):
        model = Madaline(units, vote, generator=cr.Generator(seed)).fit(inputs, XOR)
        assert model.converged_
        assert model.errors_[-1] == 0
        np.testing.assert_array_equal(model.predict(inputs), XOR)
        assert model.coef_.shape == (units, 2)
        assert model.intercept_.shape == (units,)


def test_madaline_needs_more_than_one_unit_for_xor() -> None:
    with pytest.warns(UserWarning, match="perhaps more units"):
        model = Madaline(1, max_epochs=300).fit(CORNERS, XOR)
    assert not model.converged_


@pytest.mark.parametrize("vote", ["majority", "and", "or"])
@pytest.mark.parametrize("d", [1.0, -1.0])
def test_rule_one_moves_the_fewest_units_nearest_to_zero(vote: str, d: float) -> None:
    rng = np.random.default_rng(8)
    for _ in range(50):
        model = Madaline(5, vote, 1.0)
        w, row = rng.standard_normal((5, 3)), np.array([*rng.standard_normal(2), 1.0])
        before = w.copy()
        up = before @ row > 0
        said = {"majority": up.sum() > 2, "and": up.all(), "or": up.any()}[vote]
        moved = model._correct(w, row, d)
        changed = (w != before).any(axis=1)
        assert moved == (said != (d > 0)) == changed.any()
        if not moved:
            continue
        after = w @ row > 0
        assert {"majority": after.sum() > 2, "and": after.all(), "or": after.any()}[vote] == (d > 0)
        np.testing.assert_allclose(w[changed] @ row, d)  # rate 1 goes the whole way
        wrong = np.flatnonzero(up != (d > 0))
        s = np.abs(before @ row)
        assert s[changed].max() <= min([s[i] for i in wrong if not changed[i]], default=np.inf)
        fewest = {"majority": len(wrong) - 2, "and": len(wrong), "or": len(wrong)}[vote]
        if (vote, d) in (("and", -1.0), ("or", 1.0)):
            fewest = 1
        assert changed.sum() == fewest


@pytest.mark.parametrize("kind", [Perceptron, Adaline, Madaline])
def test_the_same_generator_learns_the_same(kind: Any) -> None:
    x, y = separable(1)
    one, two = (kind(generator=cr.Generator(9)).fit(x, y) for _ in range(2))
    np.testing.assert_array_equal(one.coef_, two.coef_)
    cr.manual_seed(3)
    three = kind().fit(x, y)
    cr.manual_seed(3)
    np.testing.assert_array_equal(kind().fit(x, y).coef_, three.coef_)
    assert three.score(x, y) > 0.9


@pytest.mark.parametrize("kind", [Perceptron, Adaline, Madaline])
@pytest.mark.parametrize(
    ("x", "y", "text"),
    [
        (CORNERS, [0, 1, 2, 0], "two classes, not 3"),
        (CORNERS, [1, 1, 1, 1], "two classes, not 1"),
        (CORNERS, [0, 1], r"a label for each example: \(4,\)"),
        (CORNERS[0], [0, 1], "examples, features"),
        (np.zeros((0, 2)), [], "at least one of each"),
        (np.array([[0.0], [np.nan], [1.0]]), [0, 1, 1], "row 1"),
        ([["a"], ["b"]], [0, 1], "numbers"),
    ],
)
def test_data_that_does_not_fit(kind: Any, x: Any, y: Any, text: str) -> None:
    with pytest.raises((ValueError, TypeError), match=text) as caught:
        kind().fit(x, y)
    assert isinstance(caught.value, cr.ChainruleError)


@pytest.mark.parametrize("kind", [Perceptron, Adaline, Madaline])
def test_predicting_too_early_and_on_other_features(kind: Any) -> None:
    with pytest.raises(ValueError, match="call fit"):
        kind().predict(CORNERS)
    model = kind().fit(CORNERS, [0, 0, 0, 1])
    with pytest.raises(ValueError, match="3 = 2"):
        model.predict(np.zeros((1, 3)))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Perceptron(0.0), "rate > 0"),
        (lambda: Perceptron(max_epochs=0), "max_epochs"),
        (lambda: Adaline(decay=-1.0), "decay"),
        (lambda: Madaline(2), "odd"),
        (lambda: Madaline(0, "or"), "units"),
        (lambda: Madaline(3, "some"), "'majority'"),
        (lambda: Madaline(rate=2.0), "rate < 2"),
        (lambda: Madaline(patience=0), "patience"),
    ],
)
def test_settings_that_mean_nothing(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()


def test_single_precision_and_integers_are_taken() -> None:
    y = [0, 0, 0, 1]
    for x in (CORNERS.astype(np.float32), CORNERS.astype(bool), CORNERS[:, ::-1], CORNERS.tolist()):
        assert Perceptron().fit(x, y).predict(x).tolist() == y
