"""Every schedule against its own formula, written down here."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.optim import SGD, Optimizer, lr_scheduler
from chainrule.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiplicativeLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from chainrule.optim.swa_utils import SWALR

STEPS = 200


def optimizer(groups: int = 2, **options: Any) -> SGD:
    """Give one whose groups have the rates 0.1, 0.3, ..."""
    params = [cr.tensor([0.0], requires_grad=True) for _ in range(groups)]
    rates = [{"params": [p], "lr": 0.1 + 0.2 * i} for i, p in enumerate(params)]
    return SGD(rates, lr=0.1, **{"momentum": 0.9, **options})


def cosine(share: float) -> float:
    return (1 + math.cos(math.pi * share)) / 2


def round_of(t: int, first: int, times: int) -> float:
    """Give the share that is done of the round of restarts in which t lies."""
    length = first
    while t >= length:
        t, length = t - length, length * times
    return t / length


def one_cycle(t: float, base: float) -> float:
    turn, end = 0.3 * 150 - 1, 149
    if t <= turn:
        return base / 25 + (base - base / 25) * (1 - cosine(t / turn))
    low = base / 25 / 1e4
    return low + (base - low) * cosine((t - turn) / (end - turn))


def three_phases(t: float, base: float) -> float:
    points = [0.0, 0.4 * 150 - 1, 0.8 * 150 - 2, 149.0]
    return float(np.interp(t, points, [base / 10, base, base / 10, base / 10 / 50]))


def triangle(t: int, up: int, down: int) -> float:
    t %= up + down
    return t / up if t <= up else (up + down - t) / down


Make = Callable[[Optimizer], LRScheduler]
CASES: dict[str, tuple[Make, Callable[[int, float], float], int]] = {
    "StepLR": (
        lambda o: StepLR(o, 30, 0.5),
        lambda t, base: base * 0.5 ** (t // 30),
        STEPS,
    ),
    "MultiStepLR": (
        lambda o: MultiStepLR(o, [80, 30, 80, 120], 0.5),
        lambda t, base: base * 0.5 ** sum(t >= m for m in (30, 80, 80, 120)),
        STEPS,
    ),
    "ExponentialLR": (
        lambda o: ExponentialLR(o, 0.97),
        lambda t, base: base * 0.97**t,
        STEPS,
    ),
    "ConstantLR": (
        lambda o: ConstantLR(o, 0.25, 20),
        lambda t, base: base / 4 if t < 20 else base,
        STEPS,
    ),
    "LinearLR": (
        lambda o: LinearLR(o, 0.01, 0.9, 50),
        lambda t, base: base * (0.01 + 0.89 * min(t, 50) / 50),
        STEPS,
    ),
    "PolynomialLR": (
        lambda o: PolynomialLR(o, 150, 1.5),
        lambda t, base: base * max(0.0, 1 - t / 150) ** 1.5,
        STEPS,
    ),
    "CosineAnnealingLR": (
        lambda o: CosineAnnealingLR(o, 60, 0.02),
        lambda t, base: 0.02 + (base - 0.02) * cosine(t / 60),
        STEPS,
    ),
    "CosineAnnealingWarmRestarts": (
        lambda o: CosineAnnealingWarmRestarts(o, 7, 2, 0.02),
        lambda t, base: 0.02 + (base - 0.02) * cosine(round_of(t, 7, 2)),
        STEPS,
    ),
    "OneCycleLR": (
        lambda o: OneCycleLR(o, [0.1, 0.3], 150),
        one_cycle,
        149,
    ),
    "OneCycleLR, three phases": (
        lambda o: OneCycleLR(
            o,
            [0.1, 0.3],
            epochs=15,
            steps_per_epoch=10,
            pct_start=0.4,
            anneal_strategy="linear",
            div_factor=10,
            final_div_factor=50,
            three_phase=True,
        ),
        three_phases,
        149,
    ),
    "CyclicLR": (
        lambda o: CyclicLR(o, [0.1, 0.3], 1.0, 10, 15),
        lambda t, base: base + (1 - base) * triangle(t, 10, 15),
        STEPS,
    ),
    "CyclicLR, halved": (
        lambda o: CyclicLR(o, [0.1, 0.3], 1.0, 10, mode="triangular2"),
        lambda t, base: base + (1 - base) * triangle(t, 10, 10) / 2 ** (t // 20),
        STEPS,
    ),
    "CyclicLR, falling": (
        lambda o: CyclicLR(o, [0.1, 0.3], 1.0, 10, mode="exp_range", gamma=0.98),
        lambda t, base: base + (1 - base) * triangle(t, 10, 10) * 0.98**t,
        STEPS,
    ),
    "LambdaLR": (
        lambda o: LambdaLR(o, lambda t: 1 / (1 + t)),
        lambda t, base: base / (1 + t),
        STEPS,
    ),
    "MultiplicativeLR": (
        lambda o: MultiplicativeLR(o, lambda t: t / (t + 1)),
        lambda t, base: base / (t + 1),
        STEPS,
    ),
    "SequentialLR": (
        lambda o: SequentialLR(o, [LinearLR(o, 0.1, 1.0, 20), CosineAnnealingLR(o, 180)], [20]),
        lambda t, base: base * (0.1 + 0.9 * t / 20 if t < 20 else cosine((t - 20) / 180)),
        STEPS,
    ),
    "ChainedScheduler": (
        lambda o: ChainedScheduler([ConstantLR(o, 0.1, 20), ExponentialLR(o, 0.97)]),
        lambda t, base: base * 0.97**t * (0.1 if t < 20 else 1.0),
        STEPS,
    ),
    "SWALR": (
        lambda o: SWALR(o, 0.5, 40),
        lambda t, base: base + (0.5 - base) * (1 - cosine(min(t, 40) / 40)),
        STEPS,
    ),
    "SWALR, straight": (
        lambda o: SWALR(o, 0.5, 40, "linear"),
        lambda t, base: base + (0.5 - base) * min(t, 40) / 40,
        STEPS,
    ),
}


def test_every_schedule_has_its_formula() -> None:
    there = {name.split(",")[0] for name in CASES} | {"ReduceLROnPlateau"}  # by hand, below
    assert there == set(lr_scheduler.__all__) - {"LRScheduler"} | {"SWALR"}


@pytest.mark.parametrize("name", CASES)
def test_formula(name: str) -> None:
    make, formula, steps = CASES[name]
    o = optimizer()
    schedule = make(o)
    for t in range(steps + 1):
        rates = [group["lr"] for group in o.param_groups]
        assert rates == schedule.get_last_lr()
        wanted = [formula(t, base) for base in (0.1, 0.3)]
        np.testing.assert_allclose(rates, wanted, rtol=1e-10, atol=1e-14, err_msg=f"step {t}")
        if t < steps:
            o.step()
            schedule.step()


@pytest.mark.parametrize(
    "name",
    [
        *("StepLR", "MultiStepLR", "ExponentialLR", "ConstantLR", "LinearLR", "PolynomialLR"),
        *("CosineAnnealingLR", "CosineAnnealingWarmRestarts"),
    ],
)
def test_any_epoch_at_once(name: str) -> None:
    make, formula, _ = CASES[name]
    o = optimizer()
    schedule = make(o)
    for t in (70, 3, 199, 0, 121):
        schedule.step(t)
        wanted = [formula(t, base) for base in (0.1, 0.3)]
        np.testing.assert_allclose(schedule.get_last_lr(), wanted, rtol=1e-10, atol=1e-14)
    schedule.step()
    np.testing.assert_allclose(schedule.get_last_lr()[0], formula(122, 0.1), rtol=1e-10)


# Momentum


def test_one_cycle_leads_the_momentum_the_other_way() -> None:
    o = optimizer()
    schedule = OneCycleLR(o, 1.0, 100, base_momentum=[0.7, 0.85], max_momentum=0.95)
    for t in range(100):
        turn = 0.3 * 100 - 1
        up = t <= turn
        share = t / turn if up else (t - turn) / (99 - turn)
        for group, low in zip(o.param_groups, (0.7, 0.85), strict=True):
            wanted = low + (0.95 - low) * (cosine(share) if up else 1 - cosine(share))
            assert group["momentum"] == pytest.approx(wanted, rel=1e-12)
        schedule.step()


def test_cyclic_leads_the_first_beta() -> None:
    class Betas(Optimizer):
        def update(self, *_: Any) -> None:
            pass

    o = Betas([cr.tensor([0.0], requires_grad=True)], {"lr": 0.1, "betas": (0.9, 0.99)})
    schedule = CyclicLR(o, 0.1, 1.0, 4, base_momentum=0.5, max_momentum=0.9)
    found = []
    for _ in range(9):
        found.append(o.param_groups[0]["betas"])
        schedule.step()
    wanted = [0.9 - 0.4 * triangle(t, 4, 4) for t in range(9)]
    np.testing.assert_allclose([beta for beta, _ in found], wanted, rtol=1e-12)
    assert {beta for _, beta in found} == {0.99}


def test_momenta_are_left_alone_when_told() -> None:
    for make in (
        lambda o: OneCycleLR(o, 1.0, 10, cycle_momentum=False),
        lambda o: CyclicLR(o, 0.1, 1.0, 3, cycle_momentum=False),
    ):
        o = optimizer(momentum=0.0)
        schedule = make(o)
        for _ in range(5):
            schedule.step()
        assert [group["momentum"] for group in o.param_groups] == [0.0, 0.0]


@pytest.mark.parametrize("pct_start", [0.0, 0.1, 1.0])
def test_one_cycle_whose_phases_are_empty(pct_start: float) -> None:
    o = optimizer(1)
    schedule = OneCycleLR(o, 1.0, 10, pct_start=pct_start)  # 0.1: the first phase ends at step 0
    rates = []
    for _ in range(10):
        rates += schedule.get_last_lr()
        schedule.step()
    assert all(0 < rate <= 1 for rate in rates)
    assert rates.index(max(rates)) == round(9 * pct_start) - (pct_start == 0.1)
    assert max(rates) > 0.97


def test_one_cycle_refuses_a_step_beyond_the_total_and_stays() -> None:
    schedule = OneCycleLR(optimizer(), 1.0, 3)
    for _ in range(3):
        schedule.step()
    before = schedule.state_dict()
    for _ in range(2):
        with pytest.raises(ValueError, match=r"at most 3 steps; got step 4; total_steps counts"):
            schedule.step()
    assert {**schedule.state_dict(), "_step_count": 0} == {**before, "_step_count": 0}


# When a measure stops getting better


@pytest.mark.parametrize(
    ("options", "measures", "wanted"),
    [
        ({"patience": 0, "factor": 0.5}, [1, 1, 1, 0.5, 0.6], [1, 0.5, 0.25, 0.25, 0.125]),
        ({"patience": 2, "factor": 0.5}, [1, 2, 2, 2, 2, 2], [1, 1, 1, 0.5, 0.5, 0.5]),
        ({"patience": 0, "factor": 0.5, "cooldown": 2}, [1] * 6, [1, 0.5, 0.5, 0.5, 0.25, 0.25]),
        ({"patience": 0, "factor": 0.5, "threshold": 0.1}, [1, 0.95, 0.85], [1, 0.5, 0.5]),
        (
            {"patience": 0, "factor": 0.5, "threshold": 0.1, "threshold_mode": "abs"},
            [1, 0.95, 0.85, 0.8],
            [1, 0.5, 0.5, 0.25],
        ),
        (
            {"mode": "max", "patience": 0, "factor": 0.5, "threshold": 0.1},
            [1, 1.05, 1.2, 1.3, 1.33],
            [1, 0.5, 0.5, 0.25, 0.25],
        ),
        (
            {"mode": "max", "patience": 0, "factor": 0.5, "threshold_mode": "abs"},
            [-2, -1, -1, -0.5],
            [1, 1, 0.5, 0.5],
        ),
        ({"patience": 0, "factor": 0.1, "min_lr": 0.05}, [1] * 4, [1, 0.1, 0.05, 0.05]),
        ({"patience": 0, "factor": 0.5, "eps": 0.3}, [1] * 4, [1, 0.5, 0.5, 0.5]),
        (
            {"patience": 0, "factor": 0.5},
            [math.nan, 1, math.nan, math.inf],
            [0.5, 0.5, 0.25, 0.125],
        ),
    ],
)
def test_plateaus(options: dict[str, Any], measures: list[float], wanted: list[float]) -> None:
    o = SGD([cr.tensor([0.0], requires_grad=True)], lr=1.0)
    schedule = ReduceLROnPlateau(o, **options)
    rates = []
    for measure in measures:
        schedule.step(cr.tensor(measure) if math.isfinite(measure) else measure)
        rates += schedule.get_last_lr()
    np.testing.assert_allclose(rates, wanted, rtol=1e-12)


def test_plateaus_know_groups_that_came_later() -> None:
    later = {"params": cr.tensor([0.0], requires_grad=True), "lr": 0.8}
    o = optimizer(1)
    schedule = ReduceLROnPlateau(o, factor=0.5, patience=0, min_lr=0.0)
    o.add_param_group(later)
    for _ in range(2):
        schedule.step(1.0)
    assert schedule.get_last_lr() == [0.05, 0.4]
    listed = ReduceLROnPlateau(optimizer(1), patience=0, min_lr=[0.01])
    listed.optimizer.add_param_group({**later, "params": cr.tensor([0.0], requires_grad=True)})
    listed.step(1.0)
    with pytest.raises(ValueError, match="for each of the optimiser's groups: 2"):
        listed.step(1.0)


# One after the other, and all at once


def rates_of(make: Make, steps: int) -> list[float]:
    o = SGD([cr.tensor([0.0], requires_grad=True)], lr=1.0, momentum=0.9)
    schedule, found = make(o), []
    for _ in range(steps):
        found += schedule.get_last_lr()
        schedule.step()
    return found


def test_schedules_within_schedules_begin_as_they_would_alone() -> None:
    def warmed(o: Optimizer) -> SequentialLR:
        return SequentialLR(o, [ConstantLR(o, 0.5, 99), ExponentialLR(o, 0.9)], [3])

    def chained(o: Optimizer) -> ChainedScheduler:
        return ChainedScheduler([ConstantLR(o, 0.5, 99), ExponentialLR(o, 0.9)])

    for inner in (warmed, chained):
        alone = rates_of(inner, 6)

        def first(o: Optimizer, inner: Make = inner) -> SequentialLR:
            return SequentialLR(o, [inner(o), StepLR(o, 2)], [6])

        def second(o: Optimizer, inner: Make = inner) -> SequentialLR:
            return SequentialLR(o, [StepLR(o, 2), inner(o)], [4])

        def deep(o: Optimizer, first: Make = first) -> SequentialLR:
            return SequentialLR(o, [StepLR(o, 9), ChainedScheduler([first(o)])], [1])

        np.testing.assert_allclose(rates_of(first, 9), [*alone, 1, 1, 0.1], rtol=1e-12)
        np.testing.assert_allclose(rates_of(second, 10), [1, 1, 0.1, 0.1, *alone], rtol=1e-12)
        np.testing.assert_allclose(rates_of(deep, 10), [1, *alone, 1, 1, 0.1], rtol=1e-12)


def test_two_schedules_stepped_apart_multiply() -> None:
    o = SGD([cr.tensor([0.0], requires_grad=True)], lr=1.0)
    warm_up, fall = LinearLR(o, 0.1, total_iters=4), StepLR(o, 3, 0.5)
    for t in range(9):
        wanted = (0.1 + 0.9 * min(t, 4) / 4) * 0.5 ** (t // 3)
        assert o.param_groups[0]["lr"] == pytest.approx(wanted, rel=1e-12)
        warm_up.step()
        fall.step()
    assert fall.base_lrs == [1.0]  # not the warm-up's first rate


def test_constant_from_nothing_comes_back() -> None:
    assert rates_of(lambda o: ConstantLR(o, 0.0, 2), 4) == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize(("first", "times", "epoch"), [(10, 2, 25), (3, 3, 100), (5, 1, 43)])
def test_restarts_go_on_in_the_right_round(first: int, times: int, epoch: int) -> None:
    o = SGD([{"params": [cr.tensor([0.0], requires_grad=True)], "initial_lr": 1.0}], lr=0.1)
    schedule = CosineAnnealingWarmRestarts(o, first, times, last_epoch=epoch)
    for t in range(epoch + 1, epoch + 50):
        wanted = cosine(round_of(t, first, times))
        np.testing.assert_allclose(schedule.get_last_lr(), [wanted], rtol=1e-10, atol=1e-14)
        schedule.step()


def test_cyclic_after_another_schedule_keeps_its_own_base() -> None:
    o = optimizer()
    StepLR(o, 1)
    assert CyclicLR(o, 0.01, 1.0, 5).get_last_lr() == [0.01, 0.01]


# Errors


def test_errors_of_a_function_leave_the_schedule_as_it_was() -> None:
    calls: list[int] = []

    def factor(t: int) -> float:
        calls.append(t)
        if len(calls) == 4:
            raise KeyError("no factor")
        return 1.0

    schedule = LambdaLR(optimizer(1), factor)
    schedule.step()
    schedule.step()
    with pytest.raises(KeyError):
        schedule.step()
    schedule.step()
    assert calls == [0, 1, 2, 3, 3]


def test_groups_that_came_later() -> None:
    o = optimizer(1)
    closed, proportional = LambdaLR(o, lambda t: 1.0), ExponentialLR(o, 0.5)
    o.add_param_group({"params": cr.tensor([0.0], requires_grad=True), "lr": 0.8})
    proportional.step()
    assert proportional.get_last_lr() == [0.05, 0.4]
    with pytest.raises(ValueError, match="make the schedule after the last add_param_group"):
        closed.step()


@pytest.mark.parametrize("kind", [ConstantLR, LinearLR, PolynomialLR])
@pytest.mark.parametrize("total", [0, -1, math.nan])
def test_totals_under_one(kind: Any, total: float) -> None:
    with pytest.raises(ValueError, match=rf"{kind.__name__}: expected total_iters >= 1"):
        kind(optimizer(), total_iters=total)
    with pytest.raises(TypeError, match="a number as total_iters"):
        kind(optimizer(), total_iters=True)


def test_messages() -> None:
    o = optimizer()
    for make, text in (
        (lambda: SequentialLR(o, [StepLR(o, 1)] * 3, [5, 2]), "milestones in rising order"),
        (lambda: SequentialLR(o, [StepLR(o, 1)] * 2, []), "1 milestones between 2 schedules"),
        (lambda: CyclicLR(o, 0.1, 1.0, 0), "step_size_up > 0"),
        (lambda: CyclicLR(o, 0.1, 1.0, 3, 0), "step_size_down > 0"),
        (lambda: CyclicLR(o, 0.1, 1.0, scale_fn=lambda x: x, scale_mode="x"), "'iterations'"),
        (lambda: OneCycleLR(o, 1.0, epochs=3), "total_steps, or epochs and steps_per_epoch"),
        (lambda: SWALR(o, 0.1, 2.5), "an integer as anneal_epochs"),
        (lambda: OneCycleLR(o, [1.0], 5), "one max_lr for all groups or a list of 2; got given 1"),
    ):
        with pytest.raises(ValueError, match=text):
            make()
    joined = SequentialLR(o, [StepLR(o, 1)], [])
    for schedule in (joined, ChainedScheduler([joined])):
        with pytest.raises(TypeError, match=r"step\(\) without an epoch"):
            schedule.step(3)
    with pytest.raises(TypeError, match="a function"):
        CyclicLR(o, 0.1, 1.0, scale_fn=3)  # type: ignore[arg-type]
