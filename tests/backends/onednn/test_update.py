"""The optimiser's update by our own kernel, and by scaled sums of the library, beside NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.backends.onednn import backend as module
from chainrule.backends.onednn.backend import Limits
from chainrule.engine.dispatch import Backend
from chainrule.optim.rules import Rule
from chainrule.optim.sgd import Momentum
from tests.backends.onednn.compare import Executed
from tests.backends.onednn.conftest import of_kernels
from tests.optim.rules import BY_NAME, EVERY, choices

SIZE = 1 << 19


def steps(backend: str, size: int, **options: Any) -> np.ndarray:
    rng = np.random.default_rng(0)
    with cr.use_backend(backend):
        w = cr.tensor(rng.standard_normal(size, np.float32), requires_grad=True)
        optimizer = cr.optim.SGD([w], **{"lr": 0.1, "momentum": 0.9} | options)
        for _ in range(4):
            w.grad = cr.tensor(rng.standard_normal(size, np.float32))
            optimizer.step()
        return w.detach().numpy()


OPTIONS = [
    {"weight_decay": decay, "nesterov": nesterov, "maximize": maximize}
    for decay in (0.0, 0.05)
    for nesterov in (False, True)
    for maximize in (False, True)
]


def near(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6)


@of_kernels
@pytest.mark.parametrize("size", [1, 7, 16, 4099, SIZE + 3])
@pytest.mark.parametrize(
    "options",
    [*OPTIONS, {"momentum": 0.0}, {"momentum": 0.0, "weight_decay": 0.1}, {"dampening": 0.3}],
    ids=repr,
)
def test_the_update_is_numpys(
    backend: Backend, count_primitives: None, size: int, options: dict[str, Any]
) -> None:
    before = Executed.count
    fast = steps("onednn", size, **options)
    assert Executed.count == before + 4
    near(fast, steps("numpy", size, **options))


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_the_update_by_sums_is_numpys(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    ran: list[bool] = []
    scaled = module._scale_add
    monkeypatch.setattr(module, "have_kernels", lambda: False)
    monkeypatch.setattr(module, "_scale_add", lambda *a: ran.append(scaled(*a)) or ran[-1])
    fast, slow = (steps(name, SIZE, **options) for name in ("onednn", "numpy"))
    # The first step makes the momentum.
    assert len(ran) == 3 * (2 + options["nesterov"] + (options["weight_decay"] > 0))
    assert all(ran)
    near(fast, slow)


def test_other_arrays_are_left_to_numpy(backend: Backend) -> None:
    a, rule = np.ones(SIZE, np.float32), Momentum(0.0, 0.1, 0.9, 1.0, how=0)
    double = a.astype(np.float64)
    assert not backend.update(rule, double, double, (None,))
    assert not backend.update(rule, a, a, (double,))
    assert not backend.update(rule, a[::2], a[::2], (None,))
    assert not backend.update(rule, a, a[1:], (None,))
    assert not backend.update(Rule(0.0, how=0), a, a, ())  # for which it has no kernel
    assert (a == 1).all()


def test_a_parameter_that_may_not_be_written_is_refused(backend: Backend) -> None:
    with cr.use_backend("onednn"):
        w = cr.tensor(np.ones(64, np.float32), requires_grad=True)
        w.grad = cr.tensor(np.ones(64, np.float32))
        optimizer = cr.optim.SGD([w], lr=0.1)
        w.array.flags.writeable = False
        with pytest.raises(ValueError, match="read-only"):
            optimizer.step()
    assert (w.array == 1).all()


RULES = [(name, options) for name in BY_NAME for options in choices(name)]


def one_step(
    name: str, options: dict[str, Any], t: int, w: np.ndarray, state: dict[str, Any]
) -> tuple[Rule, Any]:
    """Give step t's rule and the arrays of the state, made as w if it begins."""
    optimizer = getattr(cr.optim, name)([cr.tensor([0.0], requires_grad=True)], **options)
    group = optimizer.param_groups[0]
    if name != "SGD":
        state["step"] = t - 1
    key, states = optimizer.begin(w, state, group)
    return optimizer.rule(group, key), states


def by_numpy(rule: Rule, w: Any, g: Any, states: Any) -> None:
    with np.errstate(all="ignore"):
        rule.descend(w, g, states, [np.empty_like(w) for _ in range(rule.buffers)])


def copies(arrays: Any, dtype: type) -> Any:
    return [None if a is None else a.astype(dtype) for a in arrays]


def follow(backend: Backend, name: str, options: dict[str, Any], size: int) -> None:
    """Hold each of seven steps, from the same float32 state, beside NumPy's in float64."""
    rng = np.random.default_rng(size)
    w, state = rng.standard_normal(size, np.float32), {}
    for t in range(1, 8):  # RAdam divides from the sixth on
        g = rng.standard_normal(size, np.float32)
        rule, states = one_step(name, options, t, w, state)
        before = Executed.count
        fast = copies((w, *states), np.float32)
        assert backend.update(rule, fast[0], g, tuple(fast[1:]))
        assert Executed.count == before + 1
        fine, plain = (copies((w, *states), d) for d in (np.float64, np.float32))
        by_numpy(rule, fine[0], g.astype(np.float64), fine[1:])
        by_numpy(rule, plain[0], g, plain[1:])
        for old, ours, exact, numpy in zip((w, *states), fast, fine, plain, strict=True):
            if ours is None:
                continue
            # A few units in the last place of what met, or as far as NumPy in float32 is off.
            scale = max(np.abs(a).max() for a in (old, g, exact))
            least = max(2 * np.abs(numpy - exact).max(), 4e-7 * scale)
            assert np.abs(ours - exact).max() <= least
        w = fast[0]
        for own, new in zip(states, fast[1:], strict=True):
            if own is not None:
                own[...] = new


@of_kernels
@pytest.mark.parametrize("size", [1, 7, 8, 16, 4099])
@pytest.mark.parametrize(("name", "options"), RULES)
def test_every_rule_is_numpys(
    backend: Backend, count_primitives: None, name: str, options: dict[str, Any], size: int
) -> None:
    follow(backend, name, options, size)


@of_kernels
@pytest.mark.parametrize("name", BY_NAME)
def test_large_parameters_are_shared_between_threads(
    backend: Backend, count_primitives: None, name: str
) -> None:
    follow(backend, name, EVERY[name], Limits.update + 4099)


@of_kernels
@pytest.mark.parametrize("name", BY_NAME)
def test_an_error_in_a_kernel_is_noticed(
    backend: Backend, count_primitives: None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number that is one part in a thousand off, or lost; a bit that is not told."""
    step = module._step_by_kernel

    def wrong(rule: Rule, *arrays: Any) -> bool:
        numbers = list(rule.numbers)
        if where is None:
            return step(type(rule)(*numbers, how=rule.how ^ 1), *arrays)
        numbers[where] = numbers[where] * 1.001
        return step(type(rule)(*numbers, how=rule.how), *arrays)

    monkeypatch.setattr(module, "_step_by_kernel", wrong)
    count = len(one_step(name, EVERY[name], 1, np.ones(1), {})[0].numbers)
    places = [None, *range(1 if name == "Rprop" else 0, count)]
    while places:
        where = places.pop()
        with pytest.raises(AssertionError):
            follow(backend, name, EVERY[name], 99)


@of_kernels
@pytest.mark.parametrize("size", [5, 21])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("name", "options"), RULES)
def test_what_is_not_finite_goes_on_as_in_numpy(
    backend: Backend, name: str, options: dict[str, Any], bad: float, size: int
) -> None:
    """In the parameter, in the gradient, or in any state."""
    rng = np.random.default_rng(0)
    for where in range(5):
        state: dict[str, Any] = {}
        w, g = rng.standard_normal((2, size), np.float32)
        rule, states = one_step(name, options, 3, w, state)
        for own in states:
            if own is not None:
                own[...] = rng.random(size, np.float32) + 1.0
        places = [a for a in (w, g, *states) if a is not None]
        if where >= len(places):
            break
        places[where][-2] = bad
        fast, plain = (copies((w, *states), np.float32) for _ in range(2))
        assert backend.update(rule, fast[0], g, tuple(fast[1:]))
        by_numpy(rule, plain[0], g, plain[1:])
        for ours, numpy in zip(fast, plain, strict=True):
            if ours is not None:
                np.testing.assert_allclose(ours, numpy, rtol=1e-5, atol=1e-6)


@of_kernels
@pytest.mark.parametrize("name", BY_NAME)
def test_what_lies_beside_a_parameter_is_left_alone(backend: Backend, name: str) -> None:
    size = 21
    rows = np.full((5, size + 32), 7.0, np.float32)
    rows[:, 16:-16] = np.random.default_rng(0).random((5, size), np.float32) + 1
    w, g, *states = (row[16:-16] for row in rows)
    rule, own = one_step(name, EVERY[name], 3, w, {})
    given = [None if s is None else states.pop() for s in own]
    kept = g.copy()
    assert backend.update(rule, w, g, given)
    assert (rows[:, :16] == 7).all()
    assert (rows[:, -16:] == 7).all()
    assert (g == kept).all()


@of_kernels
@pytest.mark.parametrize("name", BY_NAME)
def test_an_optimisers_steps_run_the_kernel(
    backend: Backend, count_primitives: None, name: str
) -> None:
    ends = []
    for place in ("onednn", "numpy"):
        with cr.use_backend(place):
            before = Executed.count
            shapes = [(4, 3), (), (0, 2), (37,)]
            w = [cr.tensor(np.ones(s, np.float32), requires_grad=True) for s in shapes]
            optimizer = getattr(cr.optim, name)(w, **EVERY[name])
            for step in range(3):
                for p in w:
                    p.grad = cr.tensor(np.full(p.shape, 0.5 - step, np.float32))
                optimizer.step()
            # The empty one needs nothing.
            assert Executed.count == before + (9 if place == "onednn" else 0)
            ends.append(np.concatenate([p.detach().numpy().ravel() for p in w]))
    near(*ends)
