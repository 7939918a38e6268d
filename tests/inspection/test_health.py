"""The health of a training: every finding is provoked, and a healthy network gives none."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine import state
from chainrule.engine.op import Array
from chainrule.errors import KindError, ShapeError
from chainrule.inspection.activity import rms
from chainrule.inspection.findings import Finding, Limits
from chainrule.inspection.health import Monitor
from chainrule.inspection.history import History, Measurement
from chainrule.nn import Module
from chainrule.nn import functional as F
from chainrule.nn.fusing import norm_relu

Steps = dict[str, list[Finding]]


def batch(n: int = 64, inputs: int = 8, classes: int = 3) -> tuple[Array, Array]:
    """Points of a few classes, a cluster each."""
    draw = np.random.default_rng(0)
    y = np.arange(n) % classes
    x = draw.normal(size=(n, inputs)) + 2.0 * draw.normal(size=(classes, inputs))[y]
    return x.astype(np.float32), y


def trained(
    model: Module,
    steps: int = 20,
    lr: float = 0.05,
    data: tuple[Array, Array] | None = None,
    parameters: list[cr.Tensor] | None = None,
    optimizer: type = cr.optim.SGD,
    every: int = 1,
) -> Monitor:
    """Train and watch every step."""
    x, y = batch() if data is None else data
    stepper = optimizer(parameters or list(model.parameters()), lr=lr)
    with cr.monitor(model, every=every) as watch:
        for _ in range(steps):
            stepper.zero_grad()
            loss = F.cross_entropy(model(cr.tensor(x)), cr.tensor(y))
            loss.backward()
            stepper.step()
            watch.step(loss)
    return watch


def kinds(watch: Monitor) -> set[tuple[str, str]]:
    return {(finding.kind, finding.layer) for finding in watch.findings()}


def stack(depth: int, activation: Callable[[], Module], width: int = 24) -> cr.nn.Sequential:
    """Dense layers of one width, an activation after each, and the scores."""
    cr.manual_seed(0)
    layers: list[Module] = [cr.nn.Linear(8, width), activation()]
    for _ in range(depth - 2):
        layers += [cr.nn.Linear(width, width), activation()]
    return cr.nn.Sequential(*layers, cr.nn.Linear(width, 3))


def he(model: Module, gain: float = 1.0) -> Module:
    """Draw He's initial weights, times a factor; biases are 0."""
    for p in model.parameters():
        if p.ndim > 1:
            cr.nn.init.kaiming_normal_(p, nonlinearity="relu")
            with cr.no_grad():
                p.mul_(gain)
        else:
            cr.nn.init.zeros_(p)
    return model


# What is wrong


def test_dead_relus_by_biases_far_below_zero() -> None:
    model = stack(3, cr.nn.ReLU)
    with cr.no_grad():
        model[0].bias[:18] = -100.0
    watch = trained(model)
    assert kinds(watch) == {("dead-relu", "0")}
    (finding,) = watch.findings()
    assert finding.value == pytest.approx(18 / 24, abs=0.1)
    for part in ("of the ReLUs after 0 are dead", "biases far below 0", "Try a smaller rate"):
        assert part in finding.text
    assert "dead-relu: " in watch.report()


def test_dead_relus_by_a_huge_rate() -> None:
    watch = trained(he(stack(3, cr.nn.ReLU)), lr=200.0, steps=12)
    assert "dead-relu" in {kind for kind, _ in kinds(watch)}


def test_a_unit_is_dead_only_after_the_whole_window() -> None:
    model = stack(3, cr.nn.ReLU)
    with cr.no_grad():
        model[0].bias[:18] = -100.0
    assert not kinds(trained(model, steps=4))
    small = trained(model, steps=20, data=tuple(a[:4] for a in batch()))  # type: ignore[arg-type]
    assert not kinds(small), "20 steps of 4 images are not 200 images"
    small = trained(model, steps=50, lr=0.01, data=tuple(a[:4] for a in batch()))  # type: ignore[arg-type]
    assert ("dead-relu", "0") in kinds(small)


class Functional(Module):
    """A network without activation layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = cr.nn.Conv2d(1, 4, 3), cr.nn.Linear(4, 3)

    def forward(self, x: cr.Tensor) -> cr.Tensor:
        y = F.relu6(self.conv(x)).mean(dim=(2, 3))
        return self.fc(y)


def test_functional_relus_count_by_channel() -> None:
    cr.manual_seed(0)
    model = Functional()
    with cr.no_grad():
        model.conv.bias[1:] = -100.0
    x = np.random.default_rng(1).normal(size=(64, 1, 6, 6)).astype(np.float32)
    watch = trained(model, steps=8, lr=0.01, data=(x, batch()[1]))
    assert watch.history.samples[-1]["dead"] == {"conv": 0.75}
    assert kinds(watch) == {("dead-relu", "conv")}


@pytest.mark.parametrize("activation", [cr.nn.Sigmoid, cr.nn.Tanh])
def test_saturation_by_huge_weights(activation: type[Module]) -> None:
    model = stack(3, activation)
    with cr.no_grad():
        model[2].weight.mul_(500.0)
    found = kinds(trained(model, steps=6))
    assert ("saturated", "2") in found
    assert ("saturated", "0") not in found


def test_a_saturated_output_is_no_fault() -> None:
    cr.manual_seed(0)
    model = cr.nn.Sequential(cr.nn.Linear(8, 1), cr.nn.Sigmoid())
    with cr.no_grad():
        model[0].weight.mul_(500.0)
    x, y = batch(classes=2)
    optimizer = cr.optim.SGD(model.parameters(), lr=1e-3)
    watch = cr.monitor(model, every=1)
    for _ in range(5):
        optimizer.zero_grad()
        loss = F.mse_loss(model(cr.tensor(x)), cr.tensor(y[:, None].astype(np.float32)))
        loss.backward()
        optimizer.step()
        watch.step(loss)
    assert "saturated" not in watch.history.samples[-1]


def test_vanishing_gradients_in_a_deep_sigmoid_stack() -> None:
    watch = trained(stack(10, cr.nn.Sigmoid), steps=5)
    assert ("vanishing-gradient", "0.weight") in kinds(watch)
    text = next(f.text for f in watch.findings() if f.kind == "vanishing-gradient")
    assert "in 0.weight" in text
    assert "in 18.weight" in text


def test_exploding_gradients_where_weights_of_a_tanh_stack_are_too_large() -> None:
    model = stack(40, cr.nn.Tanh, width=48)
    for p in model.parameters():
        if p.ndim > 1:
            cr.nn.init.normal_(p, 0.0, 4.0 / p.shape[1] ** 0.5)
    assert ("exploding-gradient", "0.weight") in kinds(trained(model, steps=3, lr=1e-9))


def test_values_explode_and_vanish_in_deep_relu_stacks() -> None:
    large = trained(he(stack(12, cr.nn.ReLU), 3.0), steps=1, lr=1e-12)
    assert ("exploding-signal", "22") in kinds(large)
    small = trained(he(stack(12, cr.nn.ReLU), 0.2), steps=4)
    assert "vanishing-signal" in {kind for kind, _ in kinds(small)}
    assert not kinds(trained(he(stack(12, cr.nn.ReLU)), steps=4, lr=0.01))


def test_steps_too_large() -> None:
    watch = trained(he(stack(3, cr.nn.ReLU)), steps=3, lr=1.0, optimizer=cr.optim.Adam)
    (finding,) = [f for f in watch.findings() if f.kind == "update-too-large"]
    assert finding.value > 0.1
    assert "about 1e-3 is healthy" in finding.text


def test_steps_too_small_and_none_at_all() -> None:
    (slow,) = trained(he(stack(3, cr.nn.ReLU)), steps=6, lr=1e-6).findings()
    assert slow.kind == "update-too-small"
    assert "the median of the layers" in slow.text
    (still,) = trained(he(stack(3, cr.nn.ReLU)), steps=6, lr=0.0).findings()
    assert still.kind == "update-too-small"
    assert "No weight has changed" in still.text


def test_a_layer_that_the_optimiser_does_not_have() -> None:
    model = he(stack(4, cr.nn.ReLU))
    left = [p for n, p in model.named_parameters() if not n.startswith("2.")]
    assert kinds(trained(model, steps=6, parameters=left)) == {("not-updated", "2.weight")}
    model[2].requires_grad_(False)
    assert not kinds(trained(model, steps=6, parameters=left)), "it was frozen on purpose"


def test_a_plateau_by_a_rate_of_zero_and_by_equal_outputs() -> None:
    assert {kind for kind, _ in kinds(trained(he(stack(3, cr.nn.ReLU)), steps=12, lr=0.0))} == {
        "plateau",
        "update-too-small",
    }
    model = he(stack(3, cr.nn.ReLU))
    with cr.no_grad():
        model[2].weight.zero_()
        model[2].bias.fill_(-1.0)  # nothing reaches the scores but their own bias
    watch = trained(model, steps=12)
    text = next(f.text for f in watch.findings() if f.kind == "plateau")
    assert "ln 3, what guessing gives" in text
    assert "All images get the same scores" in text


def test_numbers_that_are_not_finite() -> None:
    with np.errstate(all="ignore"):
        watch = trained(he(stack(3, cr.nn.ReLU), 1e15), steps=2, lr=1e30)
    assert "not-finite" in {kind for kind, _ in kinds(watch)}


# What is healthy


class Residual(Module):
    """Two residual blocks with batch norm, as ResNet-20 has nine."""

    def __init__(self) -> None:
        super().__init__()
        nn = cr.nn
        self.stem, self.bn = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.relu, self.block1, self.block2 = nn.ReLU(), Block(8), Block(8)
        self.fc = nn.Linear(8, 10)

    def forward(self, x: cr.Tensor) -> cr.Tensor:
        y = self.block2(self.block1(norm_relu(self.bn, self.relu, self.stem(x))))
        return self.fc(y.mean(dim=(2, 3)))


class Block(Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        nn = cr.nn
        self.conv1, self.bn1 = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        cr.nn.init.zeros_(self.bn2.weight)  # as many do: the block begins as an identity

    def forward(self, x: cr.Tensor) -> cr.Tensor:
        y = norm_relu(self.bn1, self.relu, self.conv1(x))
        return F.add_relu(self.bn2(self.conv2(y)), x)


def digits(model: Module, epochs: int, lr: float, watched: bool) -> tuple[Steps, dict[str, Array]]:
    """Train on digits, 8x8 padded or not, to the end; give all findings ever made."""
    found: Steps = {}
    data = cr.data.load_digits()
    x, y = np.stack([data.train[i][0] for i in range(len(data.train))]), data.train.targets
    images = np.asarray(x, np.float32).reshape(-1, 1, *x.shape[-2:])
    images = (images - images.mean()) / images.std()
    optimizer = cr.optim.SGD(
        model.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    schedule = cr.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (len(y) // 64))
    watch = cr.monitor(model, every=5) if watched else None
    order = np.random.default_rng(0)
    for _ in range(epochs):
        places = order.permutation(len(y))
        for start in range(0, len(y) - 63, 64):
            chosen = places[start : start + 64]
            optimizer.zero_grad()
            loss = F.cross_entropy(model(cr.tensor(images[chosen])), cr.tensor(y[chosen]))
            loss.backward()
            optimizer.step()
            schedule.step()
            if watch and watch.step(loss) and watch.findings():
                found[f"step {watch.steps}"] = watch.findings()
    return found, {name: value.array for name, value in model.state_dict().items()}


class LeNet(Module):
    """LeNet-5 on digits brought to 32 x 32."""

    def __init__(self) -> None:
        super().__init__()
        self.net = cr.create_model("lenet5")

    def forward(self, x: cr.Tensor) -> cr.Tensor:
        return self.net(F.interpolate(x, size=(32, 32)))


@pytest.mark.parametrize(
    ("make", "epochs", "lr"), [(Residual, 5, 0.1), (LeNet, 6, 0.02)], ids=["residual", "lenet5"]
)
def test_healthy_networks_give_no_finding_and_train_to_the_same_bits(
    make: type[Module], epochs: int, lr: float
) -> None:
    results = []
    for watched in (True, False):
        cr.manual_seed(0)
        results.append(digits(make(), epochs, lr, watched))
    (found, ours), (_, theirs) = results
    assert found == {}
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_a_network_that_was_trained_before_is_not_on_a_plateau() -> None:
    model = he(stack(3, cr.nn.ReLU))
    trained(model, steps=300, lr=0.1)
    assert not kinds(trained(model, steps=15, lr=0.01))


# How it watches


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
    with pytest.raises(ShapeError, match="every of at least 1"):
        cr.monitor(cr.nn.Linear(1, 1), every=0)
    watch = cr.monitor(cr.nn.Linear(1, 1))
    with pytest.raises(ShapeError, match=r"before optimizer\.zero_grad\(\)"):
        watch.step()


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
