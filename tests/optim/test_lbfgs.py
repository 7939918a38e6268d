"""L-BFGS: its direction beside the whole matrix, its search beside Wolfe's conditions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.engine.tensor import Tensor
from chainrule.optim import lbfgs, wolfe
from chainrule.optim.wolfe import Point, search

SIZE = 6


def inverse_hessian(pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Build H by the update of Broyden, Fletcher, Goldfarb and Shanno, a pair after the other."""
    s, y = pairs[-1]
    h = np.eye(SIZE) * (s @ y) / (y @ y)
    for s, y in pairs:
        left = np.eye(SIZE) - np.outer(s, y) / (s @ y)
        h = left @ h @ left.T + np.outer(s, s) / (s @ y)
    return np.asarray(h)


def check_directions(history: int, seed: int) -> None:
    """Descend a bowl by fixed steps; hold each direction beside -H g."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((SIZE, SIZE))
    bowl = root @ root.T + np.eye(SIZE)
    p = Tensor(rng.standard_normal(SIZE), requires_grad=True)
    optimizer = cr.optim.LBFGS([p], lr=0.1, max_iter=1, history_size=history)
    past: list[tuple[np.ndarray, np.ndarray]] = []
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(8):
        w, g = p.array.copy(), bowl @ p.array

        def closure(g: np.ndarray = g) -> Tensor:
            p.grad = Tensor(g.copy())
            return cr.tensor(0.5 * float(p.array @ bowl @ p.array))

        optimizer.step(closure)
        if past:
            pairs.append((w - past[-1][0], g - past[-1][1]))
            wanted = -inverse_hessian(pairs[-history:]) @ g
            np.testing.assert_allclose(optimizer.state["0"]["d"], wanted, rtol=1e-7, atol=1e-9)
            np.testing.assert_allclose(p.array, w + 0.1 * wanted, rtol=1e-7, atol=1e-9)
        past.append((w, g))


@settings(max_examples=30, deadline=None)
@given(history=st.integers(1, 9), seed=st.integers(0, 999))
def test_directions(history: int, seed: int) -> None:
    check_directions(history, seed)


def test_an_error_in_a_direction_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, wrong in (
        ("ratio", lambda a, b: 1.001 * a / b),
        ("_dot", lambda a, b: float(a[1:] @ b[1:])),
        ("_CURVED", 1e9),
    ):
        with monkeypatch.context() as planted:
            planted.setattr(lbfgs, name, wrong)
            with pytest.raises(AssertionError):
                check_directions(3, 0)
    check_directions(3, 0)


def check_search(numbers: tuple[float, ...], t: float) -> bool:
    """Search along a quartic that falls at 0; tell whether the conditions hold where it ended."""
    fall, square, cube, fourth = numbers
    asked: list[float] = []

    def at(t: float) -> Point:
        loss = -fall * t + square * t**2 + cube * t**3 + fourth * t**4
        slope = -fall + 2 * square * t + 3 * cube * t**2 + 4 * fourth * t**3
        return Point(t, loss, np.array([slope]), slope)

    def evaluate(t: float) -> Point:
        asked.append(t)
        return at(t)

    found, count = search(evaluate, at(0.0), t, 1.0, 60)
    assert count == len(asked) <= 61
    assert found == at(found.t)
    low = found.loss <= 1e-4 * found.t * -fall
    return low and abs(found.slope) <= 0.9 * fall


QUARTICS = st.tuples(st.floats(0.1, 10), st.floats(-5, 5), st.floats(-2, 2), st.floats(0.05, 3))


@settings(max_examples=300, deadline=None)
@given(numbers=QUARTICS, t=st.floats(0.01, 30))
def test_the_search_meets_both_conditions(numbers: tuple[float, ...], t: float) -> None:
    assert check_search(numbers, t)


@pytest.mark.parametrize("rule", ["_too_high", "_flat"])
def test_an_error_in_a_condition_is_noticed(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_search((1.6, 3.7, -1.8, 0.11), 1.14)
    monkeypatch.setattr(wolfe, rule, lambda point, start: rule == "_flat")
    # In the first the slope is small at 1.14, and the loss above that at 0; in the second the
    # loss has fallen at 0.01, and the slope is nearly what it was.
    cases = [((1.6, 3.7, -1.8, 0.11), 1.14), ((1.0, 0.5, 0.0, 1.0), 0.01)]
    assert not all(check_search(*case) for case in cases)


@pytest.mark.parametrize("most", [0, 1, 2, 5])
def test_the_search_ends_after_so_many_steps(most: int) -> None:
    asked: list[float] = []

    def falls(t: float) -> Point:  # for ever, always as steep
        asked.append(t)
        return Point(t, -t, np.array([-1.0]), -1.0)

    found, count = search(falls, Point(0.0, 0.0, np.array([-1.0]), -1.0), 1.0, 1.0, most)
    assert count == len(asked) == most + 1
    assert found.t == max(asked)


def test_the_search_by_a_loss_that_is_nowhere_finite() -> None:
    start = Point(0.0, 1.0, np.array([-1.0]), -1.0)
    found, _ = search(lambda t: Point(t, np.nan, np.array([np.nan]), np.nan), start, 1.0, 1.0, 9)
    assert np.isnan(found.loss)  # as in PyTorch, whose comparisons are the same


def test_a_valley_is_walked_to_its_end() -> None:
    """Rosenbrock's, in a few steps with the search."""
    w = Tensor(np.array([-1.2, 1.0]), requires_grad=True)
    optimizer: Any = cr.optim.LBFGS([w], line_search_fn="strong_wolfe", max_iter=100, max_eval=200)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2
        loss.backward()
        return loss

    optimizer.step(closure)
    np.testing.assert_allclose(w.array, [1.0, 1.0], atol=1e-4)
    assert optimizer.state["0"]["func_evals"] < 80
