"""Schedules and averaged weights against torch.optim: equal rates and momenta over 200 steps."""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import swa_utils

import chainrule as cr
from chainrule.optim import lr_scheduler

Make = Callable[[Any, Any], Any]
STEPS = 200


class Growing:
    """A factor that is an object with a state of its own."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, t: int) -> float:
        self.calls += 1
        return 1.0 / (1.0 + 0.1 * self.calls)


CASES: dict[str, list[Make]] = {
    "StepLR": [
        lambda s, o: s.StepLR(o, 7),
        lambda s, o: s.StepLR(o, 1, 0.97),
        lambda s, o: s.StepLR(o, step_size=30, gamma=0.5),
    ],
    "MultiStepLR": [
        lambda s, o: s.MultiStepLR(o, [100, 30, 80]),
        lambda s, o: s.MultiStepLR(o, [5, 5, 9], gamma=0.5),
        lambda s, o: s.MultiStepLR(o, []),
        lambda s, o: s.MultiStepLR(o, [0, 1]),
    ],
    "ExponentialLR": [
        lambda s, o: s.ExponentialLR(o, 0.97),
        lambda s, o: s.ExponentialLR(o, gamma=1.01),
    ],
    "ConstantLR": [
        lambda s, o: s.ConstantLR(o),
        lambda s, o: s.ConstantLR(o, 0.1, 40),
        lambda s, o: s.ConstantLR(o, factor=1.0, total_iters=1),
    ],
    "LinearLR": [
        lambda s, o: s.LinearLR(o),
        lambda s, o: s.LinearLR(o, 0.001, total_iters=50),
        lambda s, o: s.LinearLR(o, 1.0, 0.0, 150),
        lambda s, o: s.LinearLR(o, 0.5, 0.25, 1),
    ],
    "PolynomialLR": [
        lambda s, o: s.PolynomialLR(o),
        lambda s, o: s.PolynomialLR(o, 150, 2.0),
        lambda s, o: s.PolynomialLR(o, total_iters=300, power=0.5),
    ],
    "CosineAnnealingLR": [
        lambda s, o: s.CosineAnnealingLR(o, 30, eta_min=0.001),
        lambda s, o: s.CosineAnnealingLR(o, 1),
        lambda s, o: s.CosineAnnealingLR(o, T_max=200),
    ],
    "CosineAnnealingWarmRestarts": [
        lambda s, o: s.CosineAnnealingWarmRestarts(o, 10),
        lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, 2, eta_min=0.01),
        lambda s, o: s.CosineAnnealingWarmRestarts(o, T_0=1, T_mult=3),
    ],
    "OneCycleLR": [
        lambda s, o: s.OneCycleLR(o, 1.0, total_steps=200),
        lambda s, o: s.OneCycleLR(o, [1.0, 0.3], epochs=25, steps_per_epoch=8, pct_start=0.1),
        lambda s, o: s.OneCycleLR(o, 0.5, 250, anneal_strategy="linear", three_phase=True),
        lambda s, o: s.OneCycleLR(o, 0.5, 201, three_phase=True, pct_start=0.4, div_factor=10.0),
        lambda s, o: s.OneCycleLR(
            o, 2.0, 300, base_momentum=[0.6, 0.7], max_momentum=0.9, final_div_factor=7.0
        ),
        lambda s, o: s.OneCycleLR(o, 2.0, 200, cycle_momentum=False, pct_start=0.0),
        lambda s, o: s.OneCycleLR(o, 2.0, 200, pct_start=0.7),
    ],
    "CyclicLR": [
        lambda s, o: s.CyclicLR(o, 0.01, 0.5, 20),
        lambda s, o: s.CyclicLR(o, [0.01, 0.02], [0.5, 0.7], 7, 13, mode="triangular2"),
        lambda s, o: s.CyclicLR(o, 0.01, 0.5, 9, mode="exp_range", gamma=0.99),
        lambda s, o: s.CyclicLR(o, 0.01, 0.5, 9, 4, scale_fn=lambda x: 1 / x, base_momentum=0.5),
        lambda s, o: s.CyclicLR(
            o, 0.01, 0.5, 9, scale_fn=lambda t: 0.99**t, scale_mode="iterations"
        ),
        lambda s, o: s.CyclicLR(o, 0.1, 0.5, cycle_momentum=False),
    ],
    "LambdaLR": [
        lambda s, o: s.LambdaLR(o, lambda t: min(1.0, (t + 1) / 9)),
        lambda s, o: s.LambdaLR(o, [lambda t: 0.97**t, lambda t: 1.0 / (1 + t)]),
        lambda s, o: s.LambdaLR(o, [Growing(), lambda t: 0.5]),
    ],
    "MultiplicativeLR": [
        lambda s, o: s.MultiplicativeLR(o, lambda t: 0.97),
        lambda s, o: s.MultiplicativeLR(o, [lambda t: 1 - 1 / (t + 2), Growing()]),
    ],
    "SequentialLR": [
        lambda s, o: s.SequentialLR(
            o, [s.LinearLR(o, 0.01, total_iters=20), s.CosineAnnealingLR(o, 180)], [20]
        ),
        lambda s, o: s.SequentialLR(
            o,
            [
                s.ConstantLR(o, 0.1, 300),
                s.ExponentialLR(o, 0.97),
                s.StepLR(o, 9),
                s.MultiStepLR(o, [7, 20]),
                s.PolynomialLR(o, 30),
                s.LinearLR(o, 0.2, total_iters=9),
            ],
            [17, 40, 41, 90, 130],
        ),
        lambda s, o: s.SequentialLR(
            o,
            [
                s.LambdaLR(o, lambda t: 0.9**t),
                s.MultiplicativeLR(o, lambda t: 0.99),
                s.CosineAnnealingWarmRestarts(o, 5, 2),
                s.OneCycleLR(o, 0.7, 100),
            ],
            [30, 60, 100],
        ),
        lambda s, o: s.SequentialLR(o, [s.StepLR(o, 5), s.ExponentialLR(o, 0.95)], [0]),
        lambda s, o: s.SequentialLR(
            o, [s.CyclicLR(o, 0.01, 0.5, 9), s.CosineAnnealingLR(o, 50, 0.01)], [70]
        ),
    ],
    "ChainedScheduler": [
        lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 20), s.ExponentialLR(o, 0.97)]),
        lambda s, o: s.ChainedScheduler(
            [s.LinearLR(o, 0.1), s.StepLR(o, 50), s.CosineAnnealingLR(o, 120)], optimizer=o
        ),
        lambda s, o: s.ChainedScheduler(
            [
                s.SequentialLR(o, [s.LinearLR(o), s.ExponentialLR(o, 0.99)], [10]),
                s.MultiStepLR(o, [100, 150]),
            ]
        ),
    ],
    "ReduceLROnPlateau": [
        lambda s, o: s.ReduceLROnPlateau(o),
        lambda s, o: s.ReduceLROnPlateau(o, "max", 0.5, 3, 0.01, "abs", 2, 0.01),
        lambda s, o: s.ReduceLROnPlateau(o, "min", 0.9, 0, 0.1, "rel", 0, [0.05, 0.001], 1e-4),
        lambda s, o: s.ReduceLROnPlateau(o, "max", 0.5, 2, 0.001, "rel", 5),
        lambda s, o: s.ReduceLROnPlateau(o, "min", 0.7, 1, 0.05, "abs"),
    ],
}
SINGLE = [(name, i) for name, makers in CASES.items() for i in range(len(makers))]


class Betas(cr.optim.Optimizer):
    """An optimiser with betas, as Adam has them; schedules look at nothing else."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr, "betas": (0.9, 0.999)})

    def update(self, *_: Any) -> None:
        pass


def build(lib: Any, betas: bool) -> Any:
    p = [lib.tensor(np.ones(1), requires_grad=True) for _ in range(2)]
    groups = [{"params": [p[0]]}, {"params": [p[1]], "lr": 0.3}]
    if betas:
        return lib.optim.Adam(groups, lr=0.1) if lib is torch else Betas(groups, lr=0.1)
    return lib.optim.SGD(groups, lr=0.1, momentum=0.9)


def seen(optimizer: Any) -> list[tuple[float, float]]:
    return [
        (float(g["lr"]), float(g["momentum"] if "momentum" in g else g["betas"][0]))
        for g in optimizer.param_groups
    ]


def measures() -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=STEPS)
    return np.maximum(0.3, 0.97 ** np.arange(STEPS)) + 0.02 * noise


def advance(schedule: Any, step: int) -> None:
    plateau = type(schedule).__name__ == "ReduceLROnPlateau"
    schedule.step(*[measures()[step]] if plateau else [])


def path(lib: Any, make: Make, betas: bool = False, reload: bool = False) -> list[Any]:
    """Give rates and momenta of each step; with `reload`, out of what was saved at each step."""
    optimizer = build(lib, betas)
    schedule = make(lib.optim.lr_scheduler, optimizer)
    found = [seen(optimizer)]
    for step in range(STEPS):
        if reload:
            state, groups = schedule.state_dict(), optimizer.state_dict()
            state = json.loads(json.dumps(state, allow_nan=False))
            optimizer = build(lib, betas)
            schedule = make(lib.optim.lr_scheduler, optimizer)
            optimizer.load_state_dict(groups)
            schedule.load_state_dict(state)
        optimizer.step()
        advance(schedule, step)
        found.append(seen(optimizer))
        assert schedule.get_last_lr() == [rate for rate, _ in found[-1]]
    return found


def quietly(*arguments: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return path(*arguments, **options)


def test_every_schedule_is_here() -> None:
    assert set(CASES) == set(lr_scheduler.__all__) - {"LRScheduler"}
    theirs = {n for n in torch.optim.lr_scheduler.__all__ if n[0] != "_"}
    assert set(lr_scheduler.__all__) >= theirs - {"LRScheduler"}


@pytest.mark.parametrize("name", sorted(CASES))
def test_names_and_defaults_of_arguments(name: str) -> None:
    theirs = inspect.signature(getattr(torch.optim.lr_scheduler, name)).parameters
    ours = inspect.signature(getattr(lr_scheduler, name)).parameters
    assert list(ours) == list(theirs)
    assert {n: p.default for n, p in ours.items()} == {n: p.default for n, p in theirs.items()}


@pytest.mark.parametrize(("name", "number"), SINGLE)
@pytest.mark.parametrize("betas", [False, True])
def test_two_hundred_steps(name: str, number: int, betas: bool) -> None:
    make = CASES[name][number]
    theirs, ours = quietly(torch, make, betas), quietly(cr, make, betas)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-17)


@pytest.mark.parametrize(("name", "number"), SINGLE)
def test_saved_and_loaded_at_every_step(name: str, number: int) -> None:
    make = CASES[name][number]
    ours = quietly(cr, make, reload=True)
    assert ours == quietly(cr, make)
    np.testing.assert_allclose(ours, quietly(torch, make), rtol=1e-12, atol=1e-17)


CHAINABLE = [
    *("StepLR", "MultiStepLR", "ExponentialLR", "ConstantLR", "LinearLR", "PolynomialLR"),
    *("CosineAnnealingLR", "MultiplicativeLR", "ReduceLROnPlateau", "ChainedScheduler"),
]


@pytest.mark.parametrize(("name", "number"), [case for case in SINGLE if case[0] in CHAINABLE])
def test_a_rate_changed_by_hand_stays_changed(name: str, number: int) -> None:
    def meddled(lib: Any) -> list[Any]:
        optimizer = build(lib, False)
        schedule = CASES[name][number](lib.optim.lr_scheduler, optimizer)
        found = []
        for step in range(60):
            if step == 13:
                optimizer.param_groups[0]["lr"] = 0.07
            optimizer.step()
            advance(schedule, step)
            found.append(seen(optimizer))
        return found

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = meddled(torch)
    np.testing.assert_allclose(meddled(cr), theirs, rtol=1e-12, atol=1e-17)


RESUMED = {
    "step": lambda s, o, t: s.StepLR(o, 4, last_epoch=t),
    "multi": lambda s, o, t: s.MultiStepLR(o, [3, 8, 22], last_epoch=t),
    "exponential": lambda s, o, t: s.ExponentialLR(o, 0.9, last_epoch=t),
    "constant": lambda s, o, t: s.ConstantLR(o, 0.5, 9, last_epoch=t),
    "linear": lambda s, o, t: s.LinearLR(o, 0.5, 1.0, 9, last_epoch=t),
    "polynomial": lambda s, o, t: s.PolynomialLR(o, 25, last_epoch=t),
    "cosine": lambda s, o, t: s.CosineAnnealingLR(o, 20, last_epoch=t),
    "restarts": lambda s, o, t: s.CosineAnnealingWarmRestarts(o, 5, last_epoch=t),
    "lambda": lambda s, o, t: s.LambdaLR(o, lambda t: 1 / (1 + t), last_epoch=t),
    "multiplicative": lambda s, o, t: s.MultiplicativeLR(o, lambda t: 0.9, last_epoch=t),
    "cyclic": lambda s, o, t: s.CyclicLR(o, 0.2, 0.5, 6, last_epoch=t, cycle_momentum=False),
    "swa": lambda s, o, t: s.SWALR(o, 0.5, 6, last_epoch=t),
}


@pytest.mark.parametrize("name", RESUMED)
@pytest.mark.parametrize("epoch", [0, 6, 7, 20])
def test_going_on_from_an_epoch(name: str, epoch: int) -> None:
    def rates(lib: Any) -> list[float]:
        p = lib.tensor(np.ones(1), requires_grad=True)
        optimizer = lib.optim.SGD([{"params": [p], "initial_lr": 0.2}], lr=0.1)
        place = lib.optim.swa_utils if name == "swa" else lib.optim.lr_scheduler
        schedule = RESUMED[name](place, optimizer, epoch)
        found = [optimizer.param_groups[0]["lr"]]
        for _ in range(12):
            optimizer.step()
            schedule.step()
            found.append(optimizer.param_groups[0]["lr"])
        return found

    np.testing.assert_allclose(rates(cr), rates(torch), rtol=1e-12, atol=1e-17)


@pytest.mark.parametrize("name", [n for n in RESUMED if n not in ("cyclic", "swa")])
def test_steps_to_an_epoch(name: str) -> None:
    epochs = [3, 11, None, 2, 0, None, 19, None]

    def rates(lib: Any) -> list[float]:
        optimizer = build(lib, False)
        schedule = RESUMED[name](lib.optim.lr_scheduler, optimizer, -1)
        found = []
        for epoch in epochs:
            schedule.step(epoch)
            found.append(seen(optimizer))
        return found

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = rates(torch)
    np.testing.assert_allclose(rates(cr), theirs, rtol=1e-12, atol=1e-17)


@pytest.mark.parametrize("multiple", [1, 2, 3])
def test_restarts_at_fractions_of_an_epoch(multiple: int) -> None:
    def rates(lib: Any) -> list[float]:
        optimizer = build(lib, False)
        schedule = lib.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 3, multiple, 0.01)
        found = []
        for step in range(1, 120):
            schedule.step(None if step % 7 == 0 else step / 4)
            found.append((schedule.last_epoch, *seen(optimizer)[1]))
        return found

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = rates(torch)
    np.testing.assert_allclose(rates(cr), theirs, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("epochs", [0, 1, 10, 300])
def test_the_rate_for_averaged_weights(strategy: str, epochs: int) -> None:
    def rates(lib: Any, reload: bool) -> list[Any]:
        def start() -> tuple[Any, Any]:
            optimizer = build(lib, False)
            return optimizer, lib.optim.swa_utils.SWALR(
                optimizer, [0.5, 0.05], anneal_epochs=epochs, anneal_strategy=strategy
            )

        optimizer, schedule = start()
        found = []
        for _ in range(STEPS):
            optimizer.step()
            schedule.step()
            found.append(seen(optimizer))
            if reload:
                state, groups = schedule.state_dict(), optimizer.state_dict()
                optimizer, schedule = start()
                optimizer.load_state_dict(groups)
                schedule.load_state_dict(json.loads(json.dumps(state, allow_nan=False)))
        return found

    theirs = rates(torch, False)
    np.testing.assert_allclose(rates(cr, False), theirs, rtol=1e-12, atol=1e-17)
    assert rates(cr, True) == rates(cr, False)


def lone(lib: Any, **options: Any) -> Any:
    return lib.optim.SGD([lib.tensor(np.ones(1), requires_grad=True)], lr=0.1, **options)


def both(lib: Any) -> tuple[Any, Any]:
    return lib.optim.lr_scheduler, lone(lib)


def misused(call: Callable[..., Any]) -> Callable[[Any], Any]:
    return lambda lib: call(*both(lib))


def beyond(lib: Any) -> None:
    schedule = lib.optim.lr_scheduler.OneCycleLR(lone(lib), 1.0, total_steps=3)
    for _ in range(4):
        schedule.step()


class Bare(cr.optim.Optimizer):
    pass


def without_momentum(lib: Any, make: Make) -> Any:
    p = [lib.tensor(np.ones(1), requires_grad=True)]
    kind = torch.optim.Adadelta(p, lr=0.1) if lib is torch else Bare(p, {"lr": 0.1})
    return make(lib.optim.lr_scheduler, kind)


MISUSE: dict[str, Callable[[Any], Any]] = {
    "constant factor": misused(lambda s, o: s.ConstantLR(o, 1.5)),
    "linear start": misused(lambda s, o: s.LinearLR(o, 0.0)),
    "linear end": misused(lambda s, o: s.LinearLR(o, 0.5, -0.1)),
    "T_0": misused(lambda s, o: s.CosineAnnealingWarmRestarts(o, 0)),
    "T_0 kind": misused(lambda s, o: s.CosineAnnealingWarmRestarts(o, 2.0)),
    "T_mult": misused(lambda s, o: s.CosineAnnealingWarmRestarts(o, 2, 0)),
    "restart epoch": misused(lambda s, o: s.CosineAnnealingWarmRestarts(o, 2).step(-1)),
    "functions": misused(lambda s, o: s.MultiplicativeLR(o, [lambda t: 1.0] * 2)),
    "no function": misused(lambda s, o: s.MultiplicativeLR(o, 0.5)),
    "factor": misused(lambda s, o: s.ReduceLROnPlateau(o, factor=1.0)),
    "mode": misused(lambda s, o: s.ReduceLROnPlateau(o, "best")),
    "threshold mode": misused(lambda s, o: s.ReduceLROnPlateau(o, threshold_mode="x")),
    "min_lr": misused(lambda s, o: s.ReduceLROnPlateau(o, min_lr=[0.1, 0.1])),
    "plateau's optimiser": lambda lib: lib.optim.lr_scheduler.ReduceLROnPlateau(3),
    "no measure": misused(lambda s, o: s.ReduceLROnPlateau(o).step()),
    "no schedules": misused(lambda s, o: s.SequentialLR(o, [], [])),
    "milestones": misused(lambda s, o: s.SequentialLR(o, [s.StepLR(o, 1)], [1])),
    "not a schedule": misused(lambda s, o: s.SequentialLR(o, [3], [])),
    "plateau in a row": misused(lambda s, o: s.SequentialLR(o, [s.ReduceLROnPlateau(o)], [])),
    "others' schedules": lambda lib: lib.optim.lr_scheduler.SequentialLR(
        lone(lib), [lib.optim.lr_scheduler.StepLR(lone(lib), 1)], []
    ),
    "no chain": misused(lambda s, o: s.ChainedScheduler([])),
    "chain of nothing": misused(lambda s, o: s.ChainedScheduler([3])),
    "plateau in a chain": misused(lambda s, o: s.ChainedScheduler([s.ReduceLROnPlateau(o)])),
    "chain of two": lambda lib: lib.optim.lr_scheduler.ChainedScheduler(
        [lib.optim.lr_scheduler.StepLR(lone(lib), 1) for _ in range(2)]
    ),
    "no total": misused(lambda s, o: s.OneCycleLR(o, 1.0)),
    "total": misused(lambda s, o: s.OneCycleLR(o, 1.0, 0)),
    "epochs": misused(lambda s, o: s.OneCycleLR(o, 1.0, epochs=0, steps_per_epoch=3)),
    "pct_start": misused(lambda s, o: s.OneCycleLR(o, 1.0, 10, pct_start=1.5)),
    "strategy": misused(lambda s, o: s.OneCycleLR(o, 1.0, 10, anneal_strategy="x")),
    "max_lr": misused(lambda s, o: s.OneCycleLR(o, [1.0, 1.0], 10)),
    "beyond the total": beyond,
    "one-cycle's optimiser": lambda lib: lib.optim.lr_scheduler.OneCycleLR(3, 1.0, 10),
    "one-cycle without momentum": lambda lib: without_momentum(
        lib, lambda s, o: s.OneCycleLR(o, 1.0, 10)
    ),
    "cyclic mode": misused(lambda s, o: s.CyclicLR(o, 0.1, 1.0, mode="x")),
    "cyclic lists": misused(lambda s, o: s.CyclicLR(o, [0.1, 0.1], 1.0)),
    "cyclic without momentum": lambda lib: without_momentum(
        lib, lambda s, o: s.CyclicLR(o, 0.1, 1.0)
    ),
    "swa strategy": lambda lib: lib.optim.swa_utils.SWALR(lone(lib), 0.1, 5, "x"),
    "swa epochs": lambda lib: lib.optim.swa_utils.SWALR(lone(lib), 0.1, -1),
    "swa list": lambda lib: lib.optim.swa_utils.SWALR(lone(lib), [0.1, 0.2]),
}


@pytest.mark.parametrize("name", MISUSE)
@pytest.mark.filterwarnings("ignore")
def test_misuse(name: str) -> None:
    with pytest.raises(Exception) as theirs:  # noqa: PT011 - whatever torch raises is the oracle
        MISUSE[name](torch)
    kind = next(k for k in (TypeError, ValueError, Exception) if isinstance(theirs.value, k))
    with pytest.raises(kind) as ours:
        MISUSE[name](cr)
    if name != "no measure":  # Python's own TypeError, in both
        assert isinstance(ours.value, cr.ChainruleError), repr(ours.value)
        assert "expected" in str(ours.value)


def test_swa_names() -> None:
    for name in ("AveragedModel", "SWALR", "update_bn", "get_ema_avg_fn", "get_swa_avg_fn"):
        theirs = inspect.signature(getattr(swa_utils, name)).parameters
        ours = inspect.signature(getattr(cr.optim.swa_utils, name)).parameters
        assert [(p.name, p.default) for p in ours.values()] == [
            (p.name, p.default) for p in theirs.values()
        ]


# Averaged weights


def network(lib: Any) -> Any:
    nn = lib.nn
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))
    fill(model, np.random.default_rng(0))
    return model.double()


def fill(model: Any, rng: np.random.Generator) -> None:
    for tensor in model.state_dict().values():
        value = rng.uniform(0.5, 1.5, tuple(tensor.shape))
        if "int" in str(tensor.dtype):
            value = np.asarray(rng.integers(0, 1000))
        array = tensor.detach().numpy()
        array[...] = value


AVERAGES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "default": lambda u: {},
    "ema": lambda u: {"multi_avg_fn": u.get_ema_multi_avg_fn()},
    "ema 0.3": lambda u: {"multi_avg_fn": u.get_ema_multi_avg_fn(0.3)},
    "ema, one": lambda u: {"avg_fn": u.get_ema_avg_fn(0.9)},
    "mean": lambda u: {"multi_avg_fn": u.get_swa_multi_avg_fn()},
    "mean, one": lambda u: {"avg_fn": u.get_swa_avg_fn()},
    "own": lambda u: {"avg_fn": lambda a, w, n: (a * n + w * 2) / (n + 2)},
}


@pytest.mark.parametrize("name", AVERAGES)
@pytest.mark.parametrize("use_buffers", [False, True])
def test_averages(name: str, use_buffers: bool) -> None:
    if name == "mean" and use_buffers:
        with pytest.raises(RuntimeError, match="Integer division"):  # whole numbers, in torch
            averages(torch, name, True)
        return
    tolerance = 1e-6 if name == "mean" else 1e-12  # torch's share of the way is float32 there
    both = zip(averages(torch, name, use_buffers), averages(cr, name, use_buffers), strict=True)
    for step, (theirs, ours) in enumerate(both):
        assert list(ours) == list(theirs)
        for key, value in theirs.items():
            assert ours[key].dtype == value.dtype
            if value.dtype.kind == "f":
                text = f"{step} {key}"
                np.testing.assert_allclose(ours[key], value, rtol=tolerance, err_msg=text)
            elif not use_buffers or key == "n_averaged":
                np.testing.assert_array_equal(ours[key], value)
            else:  # cut, after roundings that differ; the next ones are cut from there
                assert abs(int(ours[key]) - int(value)) <= 20


def averages(lib: Any, name: str, use_buffers: bool) -> list[dict[str, np.ndarray]]:
    rng, model = np.random.default_rng(1), network(lib)
    options = AVERAGES[name](lib.optim.swa_utils)
    averaged = lib.optim.swa_utils.AveragedModel(model, use_buffers=use_buffers, **options)
    found = []
    for _ in range(20):
        fill(model, rng)
        averaged.update_parameters(model)
        state = averaged.state_dict().items()
        found.append({n: t.detach().numpy().copy() for n, t in state})
    return found


@pytest.mark.parametrize("tuples", [False, True])
def test_statistics_of_batch_norms(tuples: bool) -> None:
    def statistics(lib: Any) -> list[np.ndarray]:
        rng, model = np.random.default_rng(2), network(lib)
        batches = [lib.tensor(rng.standard_normal((5, 1, 4, 4)) + k) for k in range(4)]
        loader = [(x, None) for x in batches] if tuples else batches
        lib.optim.swa_utils.update_bn(loader, model.eval())
        assert (model[1].momentum, model[1].training) == (0.1, False)
        return [b.detach().numpy() for b in model.buffers()]

    for theirs, ours in zip(statistics(torch), statistics(cr), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
