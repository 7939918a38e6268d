from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.data import ArrayDataset, DataLoader
from chainrule.errors import AnomalyError, LabelError
from chainrule.nn import BatchNorm2d, Dropout, Flatten, Linear, Module, Sequential
from chainrule.training import Callback, TrainConfig, Trainer, evaluate, fit


def loader(n: int = 24, batch: int = 8, seed: int = 0, classes: int = 3) -> DataLoader:
    """Images whose brightest pixel is their label."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 1, 1, classes)).astype(np.float32)
    return DataLoader(ArrayDataset(x, x.reshape(n, classes).argmax(1), classes), batch)


def network(classes: int = 3) -> Module:
    cr.manual_seed(0)
    return Sequential(Flatten(), Linear(classes, classes))


class Watch(Callback):
    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int]] = []
        self.modes: list[bool] = []
        self.rates: list[float] = []

    def on_begin(self, trainer: Trainer) -> None:
        self.calls.append(("begin", trainer.epoch, trainer.step))

    def on_step(self, trainer: Trainer) -> None:
        self.calls.append(("step", trainer.epoch, trainer.step))
        self.modes.append(trainer.model.training)

    def on_epoch(self, trainer: Trainer) -> None:
        self.calls.append(("epoch", trainer.epoch, len(trainer.rows)))


def test_it_learns_and_callbacks_see_every_step() -> None:
    watch = Watch()
    rows = fit(
        network(), loader(200, 50), loader(40, 8, 1), TrainConfig(epochs=25, lr=0.1), [watch]
    )
    assert rows[-1].test_accuracy > 0.9
    assert rows[-1].train_loss < rows[0].train_loss / 2
    assert [row.epoch for row in rows] == list(range(1, 26))
    assert watch.calls[:5] == [
        ("begin", 1, 0),
        ("step", 1, 1),
        ("step", 1, 2),
        ("step", 1, 3),
        ("step", 1, 4),
    ]
    assert watch.calls[5] == ("epoch", 1, 1)
    assert len(watch.calls) == 1 + 25 * 5
    assert all(watch.modes)  # testing in between leaves the model in training


def test_one_step_by_hand() -> None:
    model, data = network(), loader(6, 6)
    x, y = next(iter(data))
    weight, bias = (p.detach().numpy().astype(np.float64) for p in model.parameters())
    config = TrainConfig(epochs=1, lr=0.1, momentum=0.5, weight_decay=0.2, warmup=0.0)
    row = fit(model, data, data, config)[0]

    scores = x.reshape(6, 3) @ weight.T + bias
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    assert row.train_loss == pytest.approx(-np.log(p[np.arange(6), y]).mean(), rel=1e-5)
    g = (p - np.eye(3)[y]) / 6
    step = 1.5  # the first Nesterov step: d + momentum * d
    new_weight = weight - 0.1 * step * (g.T @ x.reshape(6, 3) + 0.2 * weight)
    new_bias = bias - 0.1 * step * g.sum(0)  # no decay on biases
    found = [p.detach().numpy() for p in model.parameters()]
    np.testing.assert_allclose(found[0], new_weight, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[1], new_bias, rtol=1e-4, atol=1e-6)


def test_a_loss_that_is_not_finite_stops_before_the_parameters_change() -> None:
    model, data = network(), loader()
    data.dataset.images[9] = np.inf  # in the second batch, behind the check
    before: list[np.ndarray] = []

    class Keep(Callback):
        def on_step(self, trainer: Trainer) -> None:
            before[:] = [p.detach().numpy().copy() for p in model.parameters()]

    with pytest.raises(AnomalyError, match=r"loss became (nan|inf) in epoch 1, step 2 of 3.*lr"):
        fit(model, data, loader(), TrainConfig(epochs=2, lr=0.1), [Keep()])
    for p, old in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), old)


def test_a_test_loss_that_is_not_finite_ends_the_epoch_unfinished() -> None:
    test, watch = loader(), Watch()
    test.dataset.images[:] = 3e38
    with pytest.raises(AnomalyError, match="epoch 1"):
        fit(network(), loader(), test, TrainConfig(epochs=2, lr=0.1), [watch])
    assert "epoch" not in [call[0] for call in watch.calls]


def test_labels_outside_the_scores() -> None:
    with pytest.raises(LabelError):
        fit(Sequential(Flatten(), Linear(3, 2)), loader(), loader(), TrainConfig(epochs=1))


def test_evaluation_counts_everything_once() -> None:
    model, data = network(), loader(50, 7)
    result = evaluate(model, data)
    x, y = data.dataset.images.reshape(50, 3), data.dataset.labels
    weight, bias = (p.detach().numpy() for p in model.parameters())
    scores = (x @ weight.T + bias).astype(np.float64)
    found = scores.argmax(1)
    loss = np.log(np.exp(scores).sum(1)) - scores[np.arange(50), y]
    assert result.loss == pytest.approx(loss.mean(), rel=1e-5)
    assert result.accuracy == pytest.approx((found == y).mean())
    for i, j in np.ndindex(3, 3):
        assert result.confusion[i, j] == ((y == i) & (found == j)).sum()
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("mode", [True, False])
def test_evaluation_neither_trains_nor_changes_the_mode(mode: bool) -> None:
    cr.manual_seed(0)
    model = Sequential(BatchNorm2d(1), Flatten(), Dropout(0.5), Linear(3, 3)).train(mode)
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    first, second = (evaluate(model, loader(50, 7)) for _ in range(2))
    assert model.training == mode
    assert first.loss == second.loss  # no dropout
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


class Poison(Module):
    """Passes its input on; at one step of training its backward gives `value` in one place."""

    def __init__(self, step: int, value: float) -> None:
        super().__init__()
        self.steps, self.step, self.value = 0, step, value

    def forward(self, x: cr.Tensor) -> cr.Tensor:
        if not self.training:
            return x
        self.steps += 1
        bad = cr.ones(*x.shape)
        if self.steps == self.step:
            bad.numpy()[0, 0] = self.value
        return Factor.apply(x, bad)


class Factor(cr.Function):
    """Gives x; its gradient is multiplied by a factor."""

    @staticmethod
    def forward(ctx: Any, x: cr.Tensor, factor: cr.Tensor) -> cr.Tensor:
        ctx.save_for_backward(factor)
        return x * 1.0

    @staticmethod
    def backward(ctx: Any, gy: cr.Tensor) -> tuple[cr.Tensor, None]:
        return gy * ctx.saved_tensors[0], None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_stops_before_the_parameters_change(value: float) -> None:
    cr.manual_seed(0)
    model = Sequential(Flatten(), Linear(3, 4), Poison(2, value), Linear(4, 3))
    before: list[np.ndarray] = []

    class Keep(Callback):
        def on_step(self, trainer: Trainer) -> None:
            before[:] = [p.detach().numpy().copy() for p in model.parameters()]

    with pytest.raises(AnomalyError) as caught:
        fit(model, loader(), loader(), TrainConfig(epochs=2, lr=0.125), [Keep()])
    text = str(caught.value)
    assert "the gradient of 1.weight is not finite" in text  # the layer behind it is well
    assert "1 more of 4, the last 1.bias" in text
    assert "in epoch 1, step 2 of 3" in text
    assert "lr is 0.125" in text
    assert len(before) == 4
    for p, old in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), old)


def test_a_frozen_parameter_without_gradient_is_no_anomaly() -> None:
    model = network()
    next(iter(model.parameters())).requires_grad = False
    assert len(fit(model, loader(), loader(), TrainConfig(epochs=1))) == 1
