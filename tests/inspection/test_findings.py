"""Every finding is provoked by a network that has the fault, and a healthy one gives none."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine.op import Array
from chainrule.inspection.findings import Finding, Limits, _round, find
from chainrule.inspection.history import History, Measurement
from chainrule.nn import Module
from chainrule.nn import functional as F
from tests.inspection.watched import Residual, batch, he, kinds, stack, trained

Steps = dict[str, list[Finding]]

# What is wrong


def test_dead_relus_by_biases_far_below_zero() -> None:
    model = stack(3, cr.nn.ReLU)
    with cr.no_grad():
        model[0].bias[:18] = -100.0
    watch = trained(model)
    assert kinds(watch) == {("dead-relu", "0")}
    (finding,) = watch.findings()
    assert finding.value == pytest.approx(18 / 24, abs=0.1)
    for part in ("of the ReLUs after 0 are dead", "begin far below 0", "from the first step on"):
        assert part in finding.text
    assert "rate" not in finding.text
    assert "dead-relu: " in watch.report()


def test_dead_relus_by_a_huge_rate() -> None:
    watch = trained(he(stack(3, cr.nn.ReLU)), lr=10.0, steps=12)
    assert "dead-relu" in {kind for kind, _ in kinds(watch)}
    (finding, *_) = [each for each in watch.findings() if each.kind == "dead-relu"]
    assert "a step that was too large" in finding.text
    assert "first step on" not in finding.text


@pytest.mark.parametrize("lr", [0.01, 1.0])
def test_dead_relus_by_the_initial_weights_of_a_deep_network_are_not_put_down_to_the_rate(
    lr: float,
) -> None:
    watch = trained(stack(12, cr.nn.ReLU, width=64), lr=lr, steps=12)
    found = [each for each in watch.findings() if each.kind == "dead-relu"]
    assert found
    for finding in found:
        assert "initial weights are so small" in finding.text
        assert "no rate mends it" in finding.text
    assert not kinds(trained(he(stack(12, cr.nn.ReLU, width=64)), lr=0.01, steps=12))


def test_a_layer_that_begins_dead_throughout_is_not_put_down_to_small_weights() -> None:
    model = he(stack(8, cr.nn.ReLU))
    with cr.no_grad():
        model[8].bias.fill_(-1e4)
    found = trained(model, steps=8).findings()
    assert "8" in {finding.layer for finding in found}
    for finding in found:
        assert "all images get" not in finding.text
        assert "biases begin far below 0" in finding.text


def test_why_units_are_dead_is_known_after_a_training_goes_on() -> None:
    rows = [Measurement(5, "0", "dead", 0.8), Measurement(5, "0", "never_active", 0.8)]
    x, y = batch()
    for known, word in ((rows, "from the first step on"), ([], "Try a smaller rate")):
        model = stack(3, cr.nn.ReLU)
        with cr.no_grad():
            model[0].bias[:20] = -100.0
        watch = cr.monitor(model, every=1)
        watch.resume(known, 5)
        for _ in range(6):
            F.cross_entropy(model(cr.tensor(x)), cr.tensor(y)).backward()
            rows_now = watch.step()
        assert not [row for row in rows_now if row.measure == "never_active"]
        assert word in next(f.text for f in watch.findings() if f.kind == "dead-relu")


def test_nan_is_no_silence() -> None:
    watch = trained(he(stack(3, cr.nn.ReLU)), lr=200.0, steps=12)
    assert {kind for kind, _ in kinds(watch)} == {"not-finite"}
    images, labels = batch()
    images[0, 0] = np.nan
    watch = trained(he(stack(3, cr.nn.ReLU)), steps=12, data=(images, labels))
    assert {kind for kind, _ in kinds(watch)} == {"not-finite"}
    assert "one image with NaN" in watch.findings()[0].text


def test_what_a_dead_layer_does_to_others_is_no_finding_of_its_own() -> None:
    for steps, expected in ((4, set()), (8, {"dead-relu"})):
        model = he(stack(8, cr.nn.ReLU))
        with cr.no_grad():
            model[8].bias.fill_(-1e4)
        found = kinds(trained(model, steps=steps))
        assert {kind for kind, _ in found} == expected
        assert (("dead-relu", "8") in found) == bool(expected)


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


def test_parameters_that_the_optimiser_has_not_are_told_though_most_are_so() -> None:
    cr.manual_seed(0)
    model = he(stack(4, cr.nn.ReLU))
    optimizer = cr.optim.SGD(list(model.parameters())[:2], lr=0.1)
    images, labels = batch()
    with cr.monitor(model, every=1) as watch:
        for _ in range(40):
            optimizer.zero_grad()
            loss = cr.nn.functional.cross_entropy(model(cr.tensor(images)), cr.tensor(labels))
            for parameter in model.parameters():
                parameter.grad = None
            loss.backward()
            optimizer.step()
            watch.step(loss)
    found = {kind for kind, _ in kinds(watch)}
    assert "not-updated" in found
    assert "update-too-small" not in found


@pytest.mark.parametrize("shift", [0.0, -10.0, -100.0])
def test_a_plateau_of_a_loss_below_zero(shift: float) -> None:
    history = History(5)
    for step in range(1, 60):
        rows = [("", "loss", 2.3 + shift), ("0.weight", "update_ratio", 1e-3)]
        history.add([Measurement(step, *row) for row in rows])
    assert "plateau" in {finding.kind for finding in find(history, ("0.weight",), Limits())}
    falling = History(5)
    for step in range(1, 60):
        rows = [("", "loss", shift - step), ("0.weight", "update_ratio", 1e-3)]
        falling.add([Measurement(step, *row) for row in rows])
    assert not find(falling, ("0.weight",), Limits())


def test_no_factor_is_advised_that_nobody_can_mean() -> None:
    assert _round(1e18) == "1,000,000 or more"
    assert _round(float("inf")) == "1,000,000"
    assert _round(130.0) == "100"
