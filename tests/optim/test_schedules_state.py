"""States of schedules: plain values, back to the bit, refused where they do not fit."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import CheckpointError
from chainrule.optim.lr_scheduler import (
    ChainedScheduler,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiplicativeLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from tests.optim.test_schedules import CASES, optimizer


def through_json(state: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(state, allow_nan=False))
    return found


def seen(schedule: LRScheduler) -> list[tuple[float, float]]:
    return [(g["lr"], g["momentum"]) for g in schedule.optimizer.param_groups]


@pytest.mark.parametrize("name", CASES)
def test_saved_and_loaded_at_every_step(name: str) -> None:
    make, _, steps = CASES[name]
    whole, broken = make(optimizer()), make(optimizer())
    for _ in range(steps):
        saved, groups = through_json(broken.state_dict()), broken.optimizer.state_dict()
        broken = make(optimizer())
        broken.optimizer.load_state_dict(groups)
        broken.load_state_dict(saved)
        assert broken.state_dict() == saved
        whole.step()
        broken.step()
        assert seen(broken) == seen(whole)
        assert broken.get_last_lr() == whole.get_last_lr()


@pytest.mark.parametrize("name", CASES)
def test_what_was_saved_does_not_change_afterwards(name: str) -> None:
    make, _, _ = CASES[name]
    schedule, other = make(optimizer()), make(optimizer())
    saved = schedule.state_dict()
    before = copy.deepcopy(saved)
    other.load_state_dict(saved)
    for each in (schedule, other):
        each.step()
    assert saved == before
    given = through_json(before)
    other.load_state_dict(given)
    for values in given.values():
        if isinstance(values, list):
            values.clear()
    assert other.state_dict() == before


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_plateaus_state(mode: str) -> None:
    def make() -> ReduceLROnPlateau:
        return ReduceLROnPlateau(optimizer(), mode, 0.5, 2, cooldown=1, min_lr=[0.01, 0.02])

    measures = np.random.default_rng(0).normal(size=60)
    measures[50] = math.inf if mode == "max" else -math.inf
    whole, broken = make(), make()
    for measure in measures:
        saved, groups = through_json(broken.state_dict()), broken.optimizer.state_dict()
        broken = make()
        broken.optimizer.load_state_dict(groups)
        broken.load_state_dict(saved)
        assert broken.best == whole.best
        whole.step(measure)
        broken.step(measure)
        assert seen(broken) == seen(whole)
    assert seen(whole)[0][0] < 0.05


class Falling:
    """A factor with a state."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, t: float) -> float:
        self.calls += 1
        return 1 / self.calls


@pytest.mark.parametrize(
    "make",
    [
        lambda o, f: LambdaLR(o, [f, lambda t: 0.5]),
        lambda o, f: MultiplicativeLR(o, f),
        lambda o, f: CyclicLR(o, 0.1, 1.0, 3, scale_fn=f),
    ],
)
def test_functions_with_a_state_go_on(make: Any) -> None:
    whole, broken = make(optimizer(), Falling()), make(optimizer(), Falling())
    for _ in range(8):
        saved, groups = through_json(broken.state_dict()), broken.optimizer.state_dict()
        broken = make(optimizer(), Falling())
        broken.optimizer.load_state_dict(groups)
        broken.load_state_dict(saved)
        whole.step()
        broken.step()
        assert seen(broken) == seen(whole)
    plain = make(optimizer(), lambda t: 1.0)
    with pytest.raises(CheckpointError, match="has a function"):
        plain.load_state_dict(saved)
    with pytest.raises(CheckpointError, match="has an object"):
        broken.load_state_dict(plain.state_dict())


def test_numpy_numbers_and_tuples_become_plain() -> None:
    o = optimizer()
    schedule = ExponentialLR(o, np.float32(0.5))  # type: ignore[arg-type]
    schedule.load_state_dict(through_json(schedule.state_dict()))
    assert type(schedule.gamma) is float
    sequence = SequentialLR(o, [StepLR(o, 1), StepLR(o, 1)], (np.int64(3),))  # type: ignore[arg-type]
    assert through_json(sequence.state_dict())["_milestones"] == [3]


def test_what_json_cannot_hold_is_named() -> None:
    class Odd(ExponentialLR):
        def __init__(self) -> None:
            super().__init__(optimizer(), 0.5)
            self.extra = np.zeros(3)

    with pytest.raises(TypeError, match=r"as Odd\.extra, which is saved; got value"):
        Odd().state_dict()

    class Hidden(Odd):
        unsaved = (*Odd.unsaved, "extra")

    assert "extra" not in Hidden().state_dict()
    factor = Falling()
    factor.table = np.zeros(3)  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="an attribute of LambdaLR's function"):
        LambdaLR(optimizer(), factor).state_dict()


def joined() -> ChainedScheduler:
    o = optimizer()
    parts = [LinearLR(o, 0.1), StepLR(o, 3)]
    return ChainedScheduler([SequentialLR(o, parts, [4]), ExponentialLR(o, 0.9)])


def changed(state: dict[str, Any], *path: Any, to: Any = None, drop: bool = False) -> Any:
    state = through_json(state)
    place = state
    for key in path[:-1]:
        place = place[key]
    if drop:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return state


def test_states_that_do_not_fit_are_refused_and_change_nothing() -> None:
    schedule = joined()
    for _ in range(3):
        schedule.step()
    state = schedule.state_dict()
    inner = ("_schedulers", 0, "_schedulers", 1)
    for wrong, text in (
        (changed(state, "_last_lr", drop=True), "missing _last_lr; unexpected none"),
        (changed(state, "more", to=1), "missing none; unexpected more"),
        (changed(state, *inner, "gamma", drop=True), "StepLR: the state is of another schedule"),
        (changed(state, *inner, "gamma", to="much"), "expected gamma as float; got 'much'"),
        (changed(state, *inner, "base_lrs", to=[0.1]), "is of 1 groups of parameters, .* has 2"),
        (changed(state, "_schedulers", to=[]), "is of 0 schedules, here are 2"),
        (changed(state, "_schedulers", 1, to=StepLR(optimizer(), 2).state_dict()), "ExponentialLR"),
    ):
        other = joined()
        before = other.state_dict()
        with pytest.raises(CheckpointError, match=text):
            other.load_state_dict(wrong)
        assert other.state_dict() == before
    with pytest.raises(TypeError, match="a state as a dictionary"):
        joined().load_state_dict([])  # type: ignore[arg-type]
    functions = LambdaLR(optimizer(), lambda t: 1.0)
    fewer = changed(functions.state_dict(), "lr_lambdas", to=[None])
    with pytest.raises(CheckpointError, match="has 1 functions, the schedule 2"):
        functions.load_state_dict(fewer)
    plateau = ReduceLROnPlateau(optimizer())
    for best in ("best", [1.0], None):
        with pytest.raises(CheckpointError, match="expected best"):
            plateau.load_state_dict(changed(plateau.state_dict(), "best", to=best))


def test_copies_are_apart() -> None:
    schedule = joined()
    twin = copy.deepcopy(schedule)
    twin.step()
    assert twin.optimizer is not schedule.optimizer
    assert seen(twin) != seen(schedule)
    assert seen(schedule) == seen(joined())


def test_names_are_found_where_pytorch_has_them() -> None:
    assert cr.optim.lr_scheduler.StepLR is StepLR
    assert cr.optim.StepLR is StepLR
