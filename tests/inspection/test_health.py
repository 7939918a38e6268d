"""How a network is watched: what is measured, and that nothing else changes."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine import state
from chainrule.errors import KindError, ShapeError
from chainrule.inspection.activity import highest, rms
from chainrule.inspection.findings import Limits
from chainrule.inspection.history import History, Measurement
from chainrule.nn import Module
from chainrule.nn import functional as F
from tests.inspection.watched import Residual, batch, he, kinds, stack


def test_what_runs_is_the_same_and_hooks_are_there_for_one_step_only() -> None:
    model = Residual()
    x = cr.randn(4, 1, 8, 8)

    def operations() -> list[str]:
        names: list[str] = []
        stack, seen = [model(x).grad_fn], set()
        while stack:
            node = stack.pop()
            if node is not None and id(node) not in seen:
                seen.add(id(node))
                names.append(node.op.name)
                stack += [edge[0] for edge in node.edges if isinstance(edge, tuple)]
        return names

    def hooks() -> int:
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())

    before = operations()
    assert "batch_norm_relu" in before
    watch = cr.monitor(model, every=2)
    assert hooks() > 0
    assert operations() == before
    assert state.WATCHER.get() is None
    model(x).sum().backward()
    assert watch.step()
    assert hooks() == 0
    assert watch.step() == []
    assert hooks() > 0
    watch.close()
    assert hooks() == 0
    with pytest.raises(ShapeError, match="not closed"):
        watch.step()


def test_names_of_activations() -> None:
    model = Residual()
    with cr.monitor(model, every=1) as watch:
        F.cross_entropy(model(cr.randn(200, 1, 8, 8)), cr.tensor([0, 1] * 100)).backward()
        rows = watch.step(2.5)
    rms_of = {row.layer for row in rows if row.measure == "activation_rms"}
    assert {"stem", "bn", "block1.bn1", "block1.bn2", "block1", "block2", "fc"} <= rms_of
    values = {(row.layer, row.measure): row.value for row in rows}
    assert values["", "loss"] == 2.5
    assert values["", "scores"] == 10
    gradient = model.fc.weight.grad
    assert gradient is not None
    expected = np.sqrt(np.mean(np.square(gradient.array, dtype=np.float64)))
    assert values["fc.weight", "gradient_rms"] == pytest.approx(float(expected), rel=1e-5)
    assert values["fc.weight", "update_ratio"] == 0
    assert ("fc.bias", "update_ratio") not in values


def test_the_change_of_a_weight_is_measured() -> None:
    model = cr.nn.Linear(3, 2)
    x, y = cr.randn(6, 3), cr.randn(6, 2)
    watch = cr.monitor(model)
    old = model.weight.array.copy()
    F.mse_loss(model(x), y).backward()
    cr.optim.SGD(model.parameters(), lr=0.5).step()
    rows = {(row.layer, row.measure): row.value for row in watch.step()}
    ratio = np.linalg.norm(model.weight.array - old) / np.linalg.norm(old)
    assert rows["weight", "update_ratio"] == pytest.approx(float(ratio), rel=1e-5)


def test_evaluation_and_copies_and_failed_passes_are_not_measured() -> None:
    model = stack(3, cr.nn.ReLU)
    watch = cr.monitor(model, every=1)
    x = cr.tensor(batch()[0])
    with cr.no_grad():
        model(cr.zeros(5, 8))
    copy.deepcopy(model)(cr.zeros(5, 8)).sum().backward()
    with pytest.raises(ShapeError):
        model(cr.zeros(5, 7))
    model(x).sum().backward()
    rows = watch.step()
    seen = {row.layer: row.value for row in rows if row.measure == "activation_rms"}
    assert seen["0"] == pytest.approx(rms(F.relu(model[0](x)).detach().array), rel=1e-5)
    assert state.WATCHER.get() is None


def hooks_of(model: Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_of_a_watched_network_is_not_watched(copied: Any) -> None:
    model = stack(3, cr.nn.ReLU)
    model.register_forward_hook(_Note())
    before = hooks_of(model)
    with cr.monitor(model, every=1) as watch:
        armed = hooks_of(model)
        assert armed > before == 1
        twin = copied(model)
        assert hooks_of(twin) == 1, "hooks of others are copied"
        assert hooks_of(model) == armed
        x = cr.tensor(batch()[0])
        assert np.array_equal(twin(x).detach().array, model(x).detach().array)
        model(x).sum().backward()
        assert any(row.measure == "activation_rms" for row in watch.step())
    assert hooks_of(model) == 1


class _Note:
    """A hook that is no monitor's."""

    def __call__(self, *given: Any) -> None:
        """Look on."""


def test_two_monitors_of_one_network_both_measure_and_a_part_can_be_watched_alone() -> None:
    model = stack(4, cr.nn.ReLU)
    x = cr.tensor(batch()[0])
    alone = cr.monitor(model, every=1)
    model(x).sum().backward()
    expected = alone.step()
    alone.close()
    inner = cr.nn.Sequential(*list(model)[:4])
    whole = cr.nn.Sequential(inner, *list(model)[4:])
    with cr.monitor(model, every=1) as one, cr.monitor(model, every=2) as other:
        model(x)  # the first of a step's passes counts, for both
        model(x).sum().backward()
        assert (
            one.step()
            == other.step()
            == [
                row if row.measure != "gradient_rms" else row._replace(value=2 * row.value)
                for row in expected
            ]
        )
        assert one.step()
        assert not other.step()
    assert state.WATCHER.get() is None
    model.zero_grad()
    with cr.monitor(whole, every=1) as one, cr.monitor(inner, every=1) as other:
        whole(x).sum().backward()
        ours, theirs = (
            {r.layer: r.value for r in w.step() if "rms" in r.measure} for w in (one, other)
        )
    assert state.WATCHER.get() is None
    assert {f"0.{name}": value for name, value in theirs.items()}.items() <= ours.items()
    assert len(ours) > len(theirs) > 3


def test_whoever_captures_comes_first() -> None:
    model = stack(3, cr.nn.ReLU)
    watch = cr.monitor(model, every=1)
    graph = cr.capture(model, cr.zeros(2, 8))
    assert len([node for node in graph if node.op]) == 5
    model(cr.tensor(batch()[0])).sum().backward()
    assert any(row.measure == "activation_rms" for row in watch.step())


def test_an_error_of_the_monitor_comes_from_step_and_not_from_the_network() -> None:
    model = stack(3, cr.nn.ReLU)
    watch = cr.monitor(model)
    watch._activity._measure = None  # type: ignore[assignment, method-assign]
    model(cr.zeros(2, 8)).sum().backward()
    with pytest.raises(TypeError):
        watch.step()


def test_going_on_gives_the_same_history() -> None:
    whole, rows = cr.monitor(stack(3, cr.nn.ReLU), every=1), []
    x, y = batch()
    for _ in range(4):
        loss = F.cross_entropy(whole.model(cr.tensor(x)), cr.tensor(y))
        loss.backward()
        rows += whole.step(loss)
    again = cr.monitor(whole.model, every=1)
    again.resume(rows, 4)
    assert again.steps == 4
    assert list(again.history.samples) == list(whole.history.samples)
    assert again.history.first_losses == whole.history.first_losses


def test_wrong_use() -> None:
    with pytest.raises(KindError, match="a Module"):
        cr.monitor("lenet5")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="every of 1 or more"):
        cr.monitor(cr.nn.Linear(1, 1), every=0)
    for wrong in ({"every": "a"}, {"every": 2.5}, {"window": None}, {"window": True}):
        with pytest.raises(KindError, match=r"monitor: expected (every|window) as a whole number"):
            cr.monitor(cr.nn.Linear(1, 1), **wrong)  # type: ignore[arg-type]
    with pytest.raises(KindError, match="limits that are Limits"):
        cr.monitor(cr.nn.Linear(1, 1), limits=0.5)  # type: ignore[arg-type]
    for share in ("a", None, True):
        with pytest.raises(KindError, match="limits: expected a number as dead"):
            Limits(dead=share)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="limits: expected dead of 0 or more"):
        Limits(dead=-1.0)
    watch = cr.monitor(cr.nn.Linear(1, 1))
    with pytest.raises(ShapeError, match=r"before optimizer\.zero_grad\(\)"):
        watch.step()
    for loss in ("a", cr.zeros(2), True):
        with pytest.raises(KindError, match=r"monitor\.step: expected a loss that is a number"):
            watch.step(loss)


def test_limits_can_be_chosen() -> None:
    model = stack(3, cr.nn.ReLU)
    with cr.no_grad():
        model[0].bias[:4] = -100.0
    x, y = batch()
    watch = cr.monitor(model, every=1, limits=Limits(dead=0.1))
    for _ in range(6):
        F.cross_entropy(model(cr.tensor(x)), cr.tensor(y)).backward()
        watch.step()
    assert ("dead-relu", "0") in kinds(watch)


def test_history_keeps_the_last_samples() -> None:
    history = History(2)
    for step in range(1, 5):
        history.add([Measurement(step, "", "loss", float(step))])
    assert (len(history.samples), history.count, history.first_losses) == (2, 4, [1.0, 2.0, 3.0])
    assert history.losses(3) == []


def test_root_mean_square_of_numbers_whose_squares_leave_the_range() -> None:
    for size in (1e-35, 1e-3, 1e30):
        assert rms(np.full(100, size, np.float32)) == pytest.approx(size, rel=1e-5)
    assert rms(np.zeros(3, np.float32)) == 0
    assert np.isnan(rms(np.array([1.0, np.nan])))


def test_the_highest_value_of_each_unit_in_any_layout() -> None:
    x = np.random.default_rng(0).normal(size=(37, 6, 9, 5)).astype(np.float32)
    expected = x.max(axis=(0, 2, 3))
    for y in (x, np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2), x[::2]):
        assert np.array_equal(highest(y, 1), y.max(axis=(0, 2, 3)))
    assert np.array_equal(highest(x.transpose(0, 2, 3, 1), 3), expected)
    flat = x.reshape(37, -1)
    assert np.array_equal(highest(flat, 1), flat.max(axis=0))
    assert np.array_equal(highest(flat[:, :3], 1), flat[:, :3].max(axis=0))


class Rewriting(Module):
    """A network whose forward writes in place, which a captured graph would not allow."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = cr.nn.Linear(8, 16), cr.nn.Linear(16, 3)

    def forward(self, x: cr.Tensor) -> cr.Tensor:
        y = self.fc1(x)
        F.relu_(y)
        y.add_(0.5)
        y.mul_(2.0)
        return self.fc2(y)


def test_what_writes_in_place_is_what_it_was() -> None:
    x, y = batch()
    results = []
    for watched in (True, False):
        cr.manual_seed(0)
        model = he(Rewriting())
        watch = cr.monitor(model, every=1) if watched else None
        optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(6):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(cr.tensor(x)), cr.tensor(y))
            loss.backward()
            optimizer.step()
            if watch is not None:
                watch.step(loss)
                assert "fc1" in watch.history.samples[-1]["activation_rms"]
        results.append(model.state_dict())
    ours, theirs = results
    assert all(np.array_equal(ours[n].array, theirs[n].array) for n in theirs)


class Recurrent(Module):
    """One layer used twice, and two whose weights are computed at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.again = cr.nn.Linear(4, 4)
        self.old = cr.nn.utils.weight_norm(cr.nn.Linear(4, 4))
        self.new = cr.nn.utils.parametrizations.weight_norm(cr.nn.Conv1d(4, 4, 1))

    def forward(self, x: cr.Tensor) -> cr.Tensor:
        for _ in range(2):
            x = cr.tanh(self.again(x))
        y = self.new(cr.sigmoid(self.old(x)).unsqueeze(2))
        return F.relu(y).squeeze(2)


def test_layers_used_twice_and_computed_weights() -> None:
    model = Recurrent()
    with cr.monitor(model, every=1) as watch:
        model(cr.randn(200, 4)).sum().backward()
        rows = watch.step()
    layers = [row.layer for row in rows if row.measure == "activation_rms"]
    assert layers == ["again", "again #2", "old", "new"]
    parameters = [row.layer for row in rows if row.measure == "gradient_rms"]
    assert parameters[0] == "again.weight"
    assert parameters[-1].startswith("new.parametrizations.weight")
    watch = cr.monitor(model, every=1, window=1)
    model(cr.randn(200, 4)).sum().backward()
    assert {row.layer for row in watch.step() if row.measure == "dead"} == {"new"}


def measured_steps(model: cr.nn.Module, steps: int, spoil: int | None = None) -> list[int]:
    """Train on noise; from step `spoil` on the first layer's biases are far below 0."""
    optimizer = cr.optim.SGD(model.parameters(), lr=0.01)
    generator = cr.Generator(0)
    found = []
    with cr.monitor(model) as watch:
        for step in range(1, steps + 1):
            if step == spoil:
                with cr.no_grad():
                    model[0].bias.copy_(cr.full((16,), -100.0))
            x = cr.randn(64, 4, generator=generator)
            optimizer.zero_grad()
            loss = (model(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            if watch.step(loss):
                found.append(step)
        model.kinds = {finding.kind for finding in watch.findings()}
    return found


def small_network() -> cr.nn.Module:
    cr.manual_seed(0)
    return cr.nn.Sequential(cr.nn.Linear(4, 16), cr.nn.ReLU(), cr.nn.Linear(16, 2))


def test_the_first_steps_are_measured_closer_and_then_one_of_thirty() -> None:
    model = small_network()
    assert measured_steps(model, 100) == [1, 3, 7, 15, 31, 61, 91]
    assert "dead-relu" not in model.kinds


@pytest.mark.parametrize("spoil", [2, 20])
def test_where_units_fall_silent_the_next_steps_tell_soon(spoil: int) -> None:
    model = small_network()
    steps = measured_steps(model, 100, spoil)
    first = next(step for step in (3, 7, 15, 31) if step >= spoil)
    assert {first, first + 1, first + 2} <= set(steps)
    assert "dead-relu" in model.kinds
    judged = [step for step in steps if step >= first]
    assert len(judged) < 40  # told once, it is one of thirty again
    model = small_network()
    measured_steps(model, first + 8, spoil)
    assert "dead-relu" in model.kinds  # though the training was over soon


def test_units_that_are_silent_in_turns_are_not_followed_for_ever() -> None:
    layer = cr.nn.Linear(1, 16)
    with cr.no_grad():
        layer.weight.copy_(cr.tensor([[1.0], [-1.0]] * 8))
        layer.bias.copy_(cr.zeros(16))
    model = cr.nn.Sequential(layer, cr.nn.ReLU(), cr.nn.Linear(16, 2))
    optimizer = cr.optim.SGD(model.parameters(), lr=1e-6)
    measured = 0
    with cr.monitor(model) as watch:
        for step in range(300):
            x = cr.rand(64, 1, generator=cr.Generator(step)) * (1 if step % 2 else -1)
            optimizer.zero_grad()
            loss = (model(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            measured += bool(watch.step(loss))
    assert "dead-relu" not in {finding.kind for finding in watch.findings()}
    turns = 3 + 10  # early, and one of thirty
    assert turns < measured <= 9 * turns
