"""SGD by its formula, written out in float64 (PyTorch's own paths: tests/parity)."""

from __future__ import annotations

import copy
import pickle
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.engine import dispatch, workers, written
from chainrule.engine.tensor import Tensor
from chainrule.errors import CheckpointError, GraphError, KindError, ShapeError
from chainrule.optim import SGD, CosineAnnealingLR, Optimizer, elementwise
from chainrule.optim.elementwise import _BLOCK, _LARGE, _SHARE


def parameter(array: np.ndarray) -> Tensor:
    return Tensor(array, requires_grad=True)


def give(p: Tensor, gradient: np.ndarray) -> None:
    p.grad = Tensor(gradient)


@settings(max_examples=60, deadline=None)
@given(
    momentum=st.sampled_from([0.0, 0.9]),
    dampening=st.sampled_from([0.0, 0.4]),
    decay=st.sampled_from([0.0, 0.1]),
    nesterov=st.booleans(),
    maximize=st.booleans(),
    layout=st.sampled_from(["C", "F", "gaps", "reversed", "large", "0-d", "empty"]),
    seed=st.integers(0, 9),
)
def test_by_formula_in_every_layout(
    momentum: float,
    dampening: float,
    decay: float,
    nesterov: bool,
    maximize: bool,
    layout: str,
    seed: int,
) -> None:
    nesterov = nesterov and momentum > 0 and dampening == 0
    rng = np.random.default_rng(seed)

    def draw() -> np.ndarray:
        if layout == "large":  # several blocks and a rest
            return rng.standard_normal(_BLOCK // 4 + 17)
        if layout in ("0-d", "empty"):
            return np.asarray(rng.standard_normal(() if layout == "0-d" else (3, 0)))
        x = rng.standard_normal((4, 6))
        if layout == "F":
            return np.asfortranarray(x)
        if layout == "gaps":
            return rng.standard_normal((8, 12))[::2, ::2]
        return x[::-1] if layout == "reversed" else x

    array = draw()
    p = parameter(array)
    w, v = array.copy(), None
    optimizer = SGD([p], 0.1, momentum, dampening, decay, nesterov, maximize=maximize)
    for _ in range(3):
        g = draw() if rng.random() < 0.5 else rng.standard_normal(w.shape)
        kept = g.copy()
        give(p, g)
        optimizer.step()
        d = (-g if maximize else g) + decay * w
        if momentum:
            v = d if v is None else momentum * v + (1 - dampening) * d
            d = d + momentum * v if nesterov else v
        w = w - 0.1 * d
        np.testing.assert_allclose(p.array, w, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(g, kept)  # gradients are only read
    assert p.array is array  # in place


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_threads_and_blocks_change_nothing(
    dtype: type, nesterov: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a number becomes is decided by its own gradient, by the same operations."""
    rng = np.random.default_rng(0)
    sizes = (2 * _SHARE + 17, 5, _SHARE, _BLOCK)
    starts = [rng.standard_normal((n, 1)).astype(dtype) for n in sizes]
    slopes = [rng.standard_normal((n, 1)).astype(dtype) for n in sizes]
    results = []
    # A backend has a step of its own, and tests of it.
    monkeypatch.setattr(dispatch._Process, "backend", dispatch.NUMPY)
    for count, step in ((1, 1), (2, 1), (5, 1), (1, 2)):  # with gaps: all in one piece
        monkeypatch.setattr(workers, "thread_count", lambda count=count: count)
        parameters = [parameter(np.repeat(x, step, axis=1)[:, :1]) for x in starts]
        optimizer = SGD(parameters, 0.1, 0.9, 0 if nesterov else 0.3, 0.01, nesterov)
        for _ in range(2):
            for p, g in zip(parameters, slopes, strict=True):
                give(p, g)
            optimizer.step()
        results.append([p.array for p in parameters])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_large_parameters_are_shared_between_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks: list[int] = []

    def spy(work: Any) -> Any:
        tasks.append(len(work))
        return [task() for task in work]

    monkeypatch.setattr(elementwise, "run_all", spy)
    monkeypatch.setattr(dispatch._Process, "backend", dispatch.NUMPY)
    parameters = [parameter(np.ones(n, np.float32)) for n in (3 * _SHARE, 10, _LARGE - 1, _LARGE)]
    for p in parameters:
        give(p, np.ones(p.shape, np.float32))
    SGD(parameters, 0.5).step()
    assert tasks == [4]
    assert all((p.array == 0.5).all() for p in parameters)


def test_a_gradient_in_another_order_of_memory() -> None:
    rng = np.random.default_rng(0)
    p = parameter(np.zeros((4, 3, 5, 5)))
    g = np.ascontiguousarray(rng.standard_normal((4, 5, 5, 3))).transpose(0, 3, 1, 2)
    give(p, g)
    SGD([p], 1.0, momentum=0.5).step()
    np.testing.assert_array_equal(p.array, -g)


def test_every_step_is_noted_as_a_write() -> None:
    parameters = [parameter(np.ones(n)) for n in (2, 3)]
    idle = parameter(np.ones(2))
    for p in parameters:
        give(p, np.ones(p.shape))
    optimizer = SGD([{"params": parameters[:1]}, {"params": [parameters[1], idle]}], 0.1)
    for _ in range(2):
        stamp = written.CLOCK.now
        optimizer.step()
        assert all(written.written_since([p.array], stamp) for p in parameters)
        assert not written.written_since([idle.array], stamp)


def test_an_update_of_ones_own() -> None:
    """A subclass defines `update` alone."""

    class Sign(Optimizer):
        def update(self, value: Any, gradient: Any, state: Any, group: Any) -> None:
            state["steps"] = state.get("steps", 0) + 1
            value -= group["lr"] * np.sign(gradient)

    p, q = parameter(np.ones(2)), parameter(np.ones(2))
    give(p, np.array([3.0, -2.0]))
    optimizer = Sign([p, q], {"lr": 0.25})
    stamp = written.CLOCK.now
    optimizer.step()
    assert p.array.tolist() == [0.75, 1.25]
    assert optimizer.state == {"0": {"steps": 1}}
    assert written.written_since([p.array], stamp)


def test_read_only_and_broadcast_gradients() -> None:
    p = parameter(np.ones((3, 4)))
    g = np.broadcast_to(np.float64(2.0), (3, 4))
    give(p, g)
    optimizer = SGD([p], 0.5, momentum=0.9, nesterov=True, weight_decay=0.1)
    optimizer.step()
    np.testing.assert_allclose(p.array, 1 - 0.5 * 1.9 * 2.1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtypes_are_kept(dtype: type) -> None:
    for shape in ((), (5,), (2, 3)):
        p = parameter(np.ones(shape, dtype))
        give(p, np.ones(shape, dtype))
        optimizer = SGD([p], 0.1, momentum=0.9, weight_decay=0.1)
        optimizer.step()
        assert p.array.dtype == dtype
        assert optimizer.state["0"]["momentum_buffer"].dtype == dtype


def test_parameters_without_gradient_are_left_alone() -> None:
    p, q = parameter(np.ones(2)), parameter(np.ones(2))
    give(p, np.ones(2))
    optimizer = SGD([p, q], 0.1, momentum=0.9, weight_decay=0.5)
    optimizer.step()
    assert q.array.tolist() == [1.0, 1.0]
    assert list(optimizer.state) == ["0"]


def test_memory_of_a_step_does_not_grow_with_the_parameter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "thread_count", lambda: 2)
    p = parameter(np.ones(4_000_000))
    give(p, np.ones(4_000_000))
    optimizer = SGD([p], 0.1, momentum=0.9, weight_decay=0.1, nesterov=True)
    optimizer.step()
    tracemalloc.start()
    optimizer.step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < p.array.nbytes / 20


def test_a_backward_through_a_changed_parameter_is_refused() -> None:
    p = cr.tensor([2.0, 3.0], requires_grad=True)
    loss = (p * p).sum()
    loss.backward(retain_graph=True)
    SGD([p], 0.1).step()
    with pytest.raises(GraphError):
        loss.backward()


def test_overflow_gives_infinity_quietly() -> None:
    p = parameter(np.array([1e30], np.float32))
    give(p, np.array([1e38], np.float32))
    SGD([p], 1e10).step()
    assert p.array[0] == -np.inf


def test_state_is_kept_by_name() -> None:
    p, q = parameter(np.ones(2)), parameter(np.ones(3))
    give(p, np.ones(2))
    give(q, np.ones(3))
    named = SGD([("conv1.weight", p), ("conv1.bias", q)], 0.1, momentum=0.9)
    named.step()
    saved = named.state_dict()
    assert sorted(saved["state"]) == ["conv1.bias", "conv1.weight"]
    assert saved["param_groups"][0]["params"] == ["conv1.weight", "conv1.bias"]
    groups = SGD([{"params": [p]}, {"params": iter([q])}], 0.1)
    assert [g["param_names"] for g in groups.param_groups] == [["0"], ["1"]]


def test_loaded_arrays_are_copies_in_the_parameters_dtype() -> None:
    p, q = parameter(np.ones(2, np.float32)), parameter(np.ones(2))
    give(p, np.ones(2, np.float32))
    first, second = SGD([p], 0.1, momentum=0.9), SGD([q], 0.5, momentum=0.9)
    first.step()
    second.load_state_dict(first.state_dict())
    buffer = second.state["0"]["momentum_buffer"]
    assert buffer.dtype == np.float64
    assert buffer is not first.state["0"]["momentum_buffer"]
    assert second.param_groups[0]["lr"] == 0.1


def test_states_of_other_optimisers_are_refused_and_change_nothing() -> None:
    p, q = parameter(np.ones(2)), parameter(np.ones(2))
    ours = SGD([("a", p), ("b", q)], 0.1, momentum=0.9)

    def refused(state: dict[str, object], text: str) -> None:
        with pytest.raises(CheckpointError, match=text):
            ours.load_state_dict(state)
        assert ours.param_groups[0]["lr"] == 0.1
        assert ours.state == {}

    refused(SGD([("a", p), ("c", q)], 9.0).state_dict(), "missing b; unexpected c")
    refused(SGD([("b", p), ("a", q)], 9.0).state_dict(), "another order")
    refused(SGD([{"params": [("a", p)]}], 9.0).state_dict(), "missing b; unexpected none")
    two = SGD([{"params": [("a", p)]}, {"params": [("b", q)]}], 9.0)
    refused(two.state_dict(), "2 parameter groups, this optimiser 1")
    bad = ours.state_dict()
    bad["state"] = {"a": {"momentum_buffer": np.ones(3)}}
    refused(bad, r"momentum_buffer of 'a' has shape \(3,\), the parameter \(2,\)")
    bad["state"] = {"z": {}}
    refused(bad, "'z', which is not a parameter here")


def test_misuse_names_the_rule() -> None:
    p = parameter(np.ones(2))
    with pytest.raises(ShapeError, match=r"used up"):
        SGD(iter(()), 0.1)
    with pytest.raises(ShapeError, match="lr of at least 0; got lr -1"):
        SGD([p], -1)
    with pytest.raises(ShapeError, match="lr of at least 0"):
        SGD([p], float("nan"))
    with pytest.raises(ShapeError, match="momentum of at least 0"):
        SGD([{"params": [p], "momentum": -1}], 0.1)
    with pytest.raises(ShapeError, match="momentum > 0 and dampening = 0 with nesterov"):
        SGD([p], 0.1, nesterov=True)
    with pytest.raises(KindError, match="dampening"):
        SGD([p], 0.1, dampening=float("nan"))
    with pytest.raises(KindError, match="not a set"):
        SGD([{"params": {p}}], 0.1)
    with pytest.raises(ShapeError, match="'a' twice"):
        SGD([("a", p), ("a", parameter(np.ones(1)))], 0.1)
    with pytest.raises(ShapeError, match="already there as 'a'"):
        SGD([{"params": [("a", p)]}, {"params": [("b", p)]}], 0.1)
    with pytest.raises(NotImplementedError, match="first order"):
        SGD([p], 0.1, differentiable=True)
    with pytest.raises(ShapeError, match="at most one of fused and foreach"):
        SGD([p], 0.1, fused=True, foreach=True)
    base = Optimizer([p], {})
    give(p, np.ones(2))
    with pytest.raises(NotImplementedError, match=r"Optimizer\.update"):
        base.step()


def test_a_parameter_twice_in_a_group_is_updated_once() -> None:
    p = parameter(np.ones(1))
    give(p, np.ones(1))
    with pytest.warns(UserWarning, match="twice"):
        optimizer = SGD([p, p], 0.5)
    optimizer.step()
    assert p.array.tolist() == [0.5]


def test_optimisers_are_copied_and_pickled_with_their_parameters() -> None:
    p = parameter(np.ones(3))
    give(p, np.ones(3))
    optimizer = SGD([p], 0.1, momentum=0.9)
    optimizer.step()
    for twin in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        other = twin.param_groups[0]["params"][0]
        other.grad = Tensor(np.ones(3))
        give(p, np.ones(3))
        twin.step()
        expected = p.array - 0.1 * (0.9 * optimizer.state["0"]["momentum_buffer"] + 1)
        np.testing.assert_allclose(other.array, expected)
        assert other is not p


def test_a_schedule_saved_and_loaded_goes_on() -> None:
    def build() -> tuple[SGD, CosineAnnealingLR]:
        optimizer = SGD([parameter(np.ones(1))], 0.1)
        return optimizer, CosineAnnealingLR(optimizer, 20)

    optimizer, schedule = build()
    for _ in range(7):
        schedule.step()
    other, resumed = build()
    other.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    schedule.step()
    resumed.step()
    assert resumed.get_last_lr() == schedule.get_last_lr()
    assert schedule.get_last_lr()[0] == pytest.approx(0.05 * (1 + np.cos(np.pi * 8 / 20)))
