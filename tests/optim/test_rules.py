"""Every optimiser's rule by its formula on single numbers, in every layout; and errors planted."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.engine import dispatch, workers
from chainrule.engine.tensor import Tensor
from chainrule.optim.elementwise import _BLOCK, _SHARE, Elementwise
from chainrule.optim.rules import Rule
from tests.optim.rules import BY_NAME, EVERY, choices

CASES = [(name, options) for name in BY_NAME for options in choices(name)]
STEPS = 9


def test_every_optimiser_has_a_formula_here() -> None:
    found = {
        name
        for name, value in vars(cr.optim).items()
        if inspect.isclass(value) and issubclass(value, Elementwise)
    }
    assert found == set(BY_NAME) == set(EVERY)


def gradients(shape: tuple[int, ...], seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape)) for _ in range(STEPS)]


def check(name: str, options: dict[str, Any], start: np.ndarray, seed: int = 0) -> None:
    """Hold steps from the array `start` beside the formula."""
    p = Tensor(start, requires_grad=True)
    optimizer = getattr(cr.optim, name)([p], **options)
    settled = {"weight_decay": 0.0, **optimizer.param_groups[0]}
    wanted = start.copy()
    states: list[dict[str, float]] = [{} for _ in range(start.size)]
    for t, g in enumerate(gradients(start.shape, seed), 1):
        kept = g.copy()
        p.grad = Tensor(g)
        optimizer.step()
        for place, state in zip(np.ndindex(start.shape), states, strict=True):
            state["t"] = t
            wanted[place] = BY_NAME[name](float(wanted[place]), float(g[place]), settled, state)
        assert p.array is start  # in place
        np.testing.assert_allclose(start, wanted, rtol=1e-10, atol=1e-12)
        np.testing.assert_array_equal(g, kept)  # gradients are only read


@settings(max_examples=150, deadline=None)
@given(
    case=st.sampled_from(CASES),
    layout=st.sampled_from(["C", "F", "gaps", "reversed", "0-d", "empty"]),
    seed=st.integers(0, 99),
)
def test_by_formula_in_every_layout(
    case: tuple[str, dict[str, Any]], layout: str, seed: int
) -> None:
    rng = np.random.default_rng([seed, 1])
    x = rng.standard_normal((3, 4))
    arrays = {
        "C": x,
        "F": np.asfortranarray(x),
        "gaps": rng.standard_normal((6, 8))[::2, ::2],
        "reversed": x[::-1],
        "0-d": np.asarray(rng.standard_normal(())),
        "empty": np.empty((3, 0)),
    }
    check(*case, arrays[layout], seed)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_by_formula(name: str, options: dict[str, Any]) -> None:
    check(name, options, np.random.default_rng(5).standard_normal(20))


@pytest.mark.parametrize("name", BY_NAME)
def test_an_error_in_any_number_of_a_rule_is_noticed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One percent in one number: each has its part in the result."""
    init, where = Rule.__init__, 0
    start = np.random.default_rng(5).standard_normal(40)

    def wrong(self: Rule, *numbers: float, how: int) -> None:
        changed = list(numbers)
        if where < len(changed):
            changed[where] *= 1.01
        init(self, *changed, how=how)

    monkeypatch.setattr(Rule, "__init__", wrong)
    count = {"SGD": 4, "Adam": 7, "AdamW": 7, "Adamax": 5, "NAdam": 8, "RAdam": 6}
    count |= {"Adagrad": 3, "Adadelta": 5, "RMSprop": 6, "Rprop": 5}
    where = 1 if name == "Rprop" else 0  # which has no decay
    while where < count[name]:
        with pytest.raises(AssertionError):
            check(name, EVERY[name], start.copy())
        where += 1
    check(name, EVERY[name], start.copy())  # there is no further number


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("bit", [1, 2, 4])
def test_an_error_in_a_rules_bits_is_noticed(
    name: str, bit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    init = Rule.__init__
    monkeypatch.setattr(
        Rule, "__init__", lambda self, *numbers, how: init(self, *numbers, how=how ^ bit)
    )
    with pytest.raises(AssertionError):
        check(name, EVERY[name], np.random.default_rng(5).standard_normal(40))


@pytest.mark.parametrize("name", [name for name in BY_NAME if name != "SGD"])
def test_a_state_that_does_not_last_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = getattr(cr.optim, name).begin

    def forgets(self: Any, value: Any, state: dict[str, Any], group: Any) -> Any:
        if state.get("step") == 4:
            state.pop(next(key for key in state if key not in self.counters))
        return begin(self, value, state, group)

    monkeypatch.setattr(getattr(cr.optim, name), "begin", forgets)
    with pytest.raises(AssertionError):
        check(name, EVERY[name], np.random.default_rng(5).standard_normal(40))


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_threads_and_blocks_change_nothing(
    name: str, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    sizes = (_SHARE + 17, 5, _BLOCK // 2 + 3)
    starts = [rng.standard_normal((n, 1)).astype(dtype) for n in sizes]
    slopes = [rng.standard_normal((n, 1)).astype(dtype) for n in sizes]
    results = []
    monkeypatch.setattr(dispatch._Process, "backend", dispatch.NUMPY)
    for count, step in ((1, 1), (3, 1), (1, 2)):  # with gaps: all in one piece
        monkeypatch.setattr(workers, "thread_count", lambda count=count: count)
        parameters = [Tensor(np.repeat(x, step, axis=1)[:, :1], requires_grad=True) for x in starts]
        optimizer = getattr(cr.optim, name)(parameters, **{**EVERY[name], "lr": 0.01})
        for _ in range(2):
            for p, g in zip(parameters, slopes, strict=True):
                p.grad = Tensor(g)
            optimizer.step()
        results.append([p.array for p in parameters])
        for state in optimizer.state.values():
            assert all(v.dtype == dtype for v in state.values() if isinstance(v, np.ndarray))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
