from __future__ import annotations

import io
import math
import os
import random
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

import chainrule as cr
from chainrule.data import ArrayDataset, DataLoader, load_dataset
from chainrule.data.transforms import Compose, Normalize, Resize, ToFloat
from chainrule.engine.written import version
from chainrule.nn import functional as F
from chainrule.training import RateCurve, find_lr
from chainrule.training.finder import _read, _Watch
from chainrule.training.plots import rate_curve_png

nn = cr.nn


class Batches:
    """A loader of the same pair again and again."""

    def __init__(self, x: np.ndarray, y: np.ndarray, count: int = 7) -> None:
        self.pair, self.count = (x, y), count

    def __iter__(self) -> Iterator[Any]:
        for _ in range(self.count):
            yield self.pair


ONE = Batches(np.ones((1, 1)), np.zeros((1, 1)))


def parabola(curvature: float) -> tuple[Any, Any, Callable[..., Any]]:
    """Give loss = curvature * w ** 2 / 2 at w = 1: descent is stable below 2 / curvature."""
    model = nn.Linear(1, 1, bias=False).double()
    model.weight.detach().fill_(1.0)
    optimizer = cr.optim.SGD(model.parameters(), lr=1.0)
    return model, optimizer, lambda output, _: curvature * (output * output).sum() / 2


# What it finds


@pytest.mark.parametrize("smoothing", [0.0, 0.8, 0.95])
def test_a_parabolas_rate_follows_its_curvature(smoothing: float) -> None:
    found = {}
    for curvature in (0.01, 1.0, 100.0):
        model, optimizer, loss = parabola(curvature)
        options: dict[str, Any] = {"start": 1e-6, "end": 1e4, "smoothing": smoothing}
        curve = find_lr(model, ONE, optimizer, loss, **options)
        assert curve.suggestion is not None
        growth = math.log(1e10) / 99  # w falls like exp(-curvature * (sum of the rates))
        exact = growth / (2 * curvature)
        assert exact / 3 < curve.suggestion < 3 * exact
        assert curve.rates[-1] > 1 / curvature  # it went on until it blew up
        assert curve.rates[-1] < 100 / curvature
        found[curvature] = curve.suggestion
    one_step = math.exp(math.log(1e10) / 99)
    for curvature in (0.01, 100.0):
        assert 1 / one_step**1.5 < found[curvature] * curvature / found[1.0] < one_step**1.5


def digits(seed: int) -> tuple[Any, Any, Any]:
    data = load_dataset("digits", None)
    cr.manual_seed(seed)
    model = cr.create_model("lenet5", 10, 1)
    shuffled = {"shuffle": True, "generator": cr.Generator(seed)}
    prepare = Compose([ToFloat(16), Resize(32), Normalize(mean=0.3, std=0.33)])
    loader = DataLoader(data.train, 32, transform=prepare, **shuffled)
    return model, loader, cr.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def loss_after(seed: int, rate: float) -> float:
    model, loader, optimizer = digits(seed)
    optimizer.param_groups[0]["lr"] = rate
    losses = []
    with np.errstate(all="ignore"):
        for x, y in loader:
            loss = F.cross_entropy(model(cr.tensor(x)), cr.tensor(y))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return float(np.mean(losses[-10:]))


def test_a_rate_for_lenet5_on_digits() -> None:
    model, loader, optimizer = digits(0)
    curve = find_lr(model, loader, optimizer)
    assert curve.suggestion is not None
    assert 5e-4 < curve.suggestion < 5e-2
    good = loss_after(0, curve.suggestion)
    assert good < 0.6
    assert good < loss_after(0, curve.suggestion / 100) / 3
    worse = loss_after(0, curve.suggestion * 300)
    assert not worse < 2.0
    assert str(curve) == f"a rate of {curve.suggestion:.2g}: there the loss falls most steeply"


# What it records


def test_a_loss_belongs_to_the_rate_of_the_step_before_it() -> None:
    model, optimizer, loss = parabola(1.0)
    curve = find_lr(model, ONE, optimizer, loss, start=0.01, end=1.0, steps=9, smoothing=0.5)
    w, wanted = 1.0, [0.5]
    for rate in 0.01 * 100 ** (np.arange(9) / 8):
        w -= rate * w
        wanted.append(w * w / 2)
    np.testing.assert_allclose(curve.rates, 0.01 * 100 ** (np.arange(9) / 8), rtol=1e-12)
    np.testing.assert_allclose([curve.first, *curve.losses], wanted, rtol=1e-12, atol=1e-30)
    average, smoothed = 0.0, []
    for k, value in enumerate(wanted):
        average = 0.5 * average + 0.5 * value
        smoothed.append(average / (1 - 0.5 ** (k + 1)))
    np.testing.assert_allclose(curve.smoothed, smoothed[1:], rtol=1e-12)


def test_it_ends_when_the_loss_is_beyond_four_times_its_best() -> None:
    model, optimizer, loss = parabola(1.0)
    curve = find_lr(model, ONE, optimizer, loss, start=1.9, end=3.0, smoothing=0.0)
    assert 20 < len(curve.losses) == len(curve.rates) < 90
    beyond = curve.losses > 4 * np.minimum.accumulate([curve.first, *curve.losses])[1:]
    assert beyond.tolist() == [False] * (len(beyond) - 1) + [True]
    wider = find_lr(model, ONE, optimizer, loss, 1.9, 3.0, smoothing=0.0, divergence=1e6)
    assert len(wider.losses) > len(curve.losses)


def test_losses_below_zero_have_bounds_too() -> None:
    model, optimizer, loss = parabola(1.0)
    curve = find_lr(model, ONE, optimizer, lambda o, t: loss(o, t) - 3.0, 1e-4, 1e3)
    assert len(curve.losses) > 60
    assert curve.losses[:-1].max() < 20
    assert curve.suggestion is not None


def test_groups_keep_their_proportion() -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    groups = [{"params": model[0].parameters(), "lr": 0.01}, {"params": model[1].parameters()}]
    optimizer = cr.optim.SGD(groups, lr=0.1)
    seen = []
    take = optimizer.update_group

    class Watched(cr.optim.SGD):
        def update_group(self, entries: Any, group: Any) -> None:
            seen.append(group["lr"])
            take(entries, group)

    optimizer.__class__ = Watched
    x = Batches(np.ones((2, 1), np.float32), np.zeros((2, 1), np.float32))
    find_lr(model, x, optimizer, F.mse_loss, start=1e-4, end=1e-2, steps=5)
    rates = 1e-4 * 100 ** (np.arange(5) / 4)
    np.testing.assert_allclose(seen[1::2], rates, rtol=1e-12)
    np.testing.assert_allclose(seen[::2], rates / 10, rtol=1e-12)


def test_an_optimiser_at_rate_zero_gets_the_whole() -> None:
    model, optimizer, loss = parabola(1.0)
    optimizer.param_groups[0]["lr"] = 0.0
    assert find_lr(model, ONE, optimizer, loss).losses[-1] < 0.5
    assert optimizer.param_groups[0]["lr"] == 0.0


# What it leaves behind


class Noisy(nn.Module):
    """Counts its calls, and draws from generators of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.draws = 0, cr.Generator(5)
        self.register_buffer("mean", cr.zeros(1))

    def forward(self, x: cr.Tensor) -> cr.Tensor:
        self.calls += 1
        self.mean = self.mean.detach() * 0.9  # another tensor in its place
        return x + 0.01 * cr.randn(*x.shape, generator=self.draws)


class Training:
    """A small training with every kind of state: begun, to be interrupted, to be gone on with."""

    def __init__(self) -> None:
        cr.manual_seed(1)
        random.seed(2)
        np.random.seed(3)
        moves, order, rng = cr.Generator(4), cr.Generator(6), np.random.default_rng(7)
        self.model = nn.Sequential(
            *(nn.Flatten(), nn.Linear(8, 6), nn.BatchNorm1d(6), nn.Dropout(0.3), Noisy()),
            nn.Linear(6, 3),
        )
        self.model[2].eval()
        groups = [
            {"params": list(self.model[1].named_parameters("first"))},
            {"params": list(self.model[5].named_parameters("last")), "lr": 0.01},
        ]
        self.optimizer = cr.optim.SGD(groups, lr=0.05, momentum=0.9)
        self.schedule = cr.optim.lr_scheduler.OneCycleLR(self.optimizer, 0.1, 1000)

        def transform(images: np.ndarray) -> np.ndarray:
            noise = moves.normal(images.shape, images.dtype, 0.0, 0.1)
            draw = rng.normal() + random.random() + np.random.random()
            return images + noise + np.float32(0.01 * draw)

        x = np.random.default_rng(0).normal(size=(40, 1, 2, 4)).astype(np.float32)
        data = ArrayDataset(x, np.arange(40) % 3)
        options: dict[str, Any] = {"generator": order, "transform": transform}
        self.loader = DataLoader(data, 8, shuffle=True, **options)

    def epoch(self) -> list[float]:
        losses = []
        for x, y in self.loader:
            loss = F.cross_entropy(self.model(cr.tensor(x)), cr.tensor(y))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            losses.append(loss.item())
        return losses

    def everything(self) -> dict[str, Any]:
        """Give all of it as values, and which objects hold it."""
        tensors = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        state = self.optimizer.state
        return {
            **{f"{n} values": t.array.tobytes() for n, t in tensors.items()},
            **{f"{n} object": (id(t), id(t.array)) for n, t in tensors.items()},
            **{f"{n} gradient": id(t.grad) for n, t in tensors.items()},
            **{f"{n} momentum": s["momentum_buffer"].tobytes() for n, s in state.items()},
            "state": (id(state), [id(s["momentum_buffer"]) for s in state.values()]),
            "groups": repr(self.optimizer.param_groups),
            "group objects": [id(group) for group in self.optimizer.param_groups],
            "modes": [m.training for m in self.model.modules()],
            "calls": self.model[4].calls,
            "loader": sorted(vars(self.loader)),
        }


def interrupting(training: Training, how: Callable[[], None]) -> Callable[..., Any]:
    """Give a loss that does something in the eleventh step."""
    steps = []

    def loss(scores: cr.Tensor, labels: cr.Tensor) -> cr.Tensor:
        steps.append(1)
        if len(steps) == 11:
            how()
        return F.cross_entropy(scores, labels)

    return loss


def fail() -> None:
    raise ZeroDivisionError


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(1000):  # until Python sees it
        pass


@pytest.mark.parametrize("end", ["whole", "error", "ctrl-c"])
def test_everything_is_put_back_to_the_bit(end: str) -> None:
    tested, twin = Training(), None
    tested.epoch()
    before = tested.everything()
    if end == "whole":
        curve = find_lr(tested.model, tested.loader, tested.optimizer, F.cross_entropy)
        assert len(curve.losses) > 20
    else:
        error = ZeroDivisionError if end == "error" else KeyboardInterrupt
        loss = interrupting(tested, fail if end == "error" else press_ctrl_c)
        with pytest.raises(error):
            find_lr(tested.model, tested.loader, tested.optimizer, loss, start=1e-3)
    assert tested.everything() == before
    path = [tested.epoch() for _ in range(3)]

    twin = Training()
    twin.epoch()
    assert path == [twin.epoch() for _ in range(3)]


def test_an_optimiser_that_has_not_begun_begins_afterwards() -> None:
    tested, twin = Training(), Training()
    assert not tested.optimizer.state
    curves = [find_lr(t.model, t.loader, t.optimizer) for t in (tested, tested)]
    np.testing.assert_array_equal(curves[0].losses, curves[1].losses)
    assert not tested.optimizer.state
    assert all(p.grad is None for p in tested.model.parameters())
    assert repr(tested.optimizer) == repr(twin.optimizer)


def test_generators_that_nobody_could_find_are_given() -> None:
    hidden = [cr.Generator(0), np.random.default_rng(0)]
    before = [hidden[0].get_state(), hidden[1].bit_generator.state]

    class Slots:
        __slots__ = ("made",)

        def __init__(self) -> None:
            self.made = hidden

        def __call__(self, output: Any, _: Any) -> Any:
            noise = self.made[0].normal((1, 1), np.dtype(float), 0, 1) + self.made[1].normal()
            return ((output + 0 * noise) ** 2).sum()

    model, optimizer, _ = parabola(1.0)
    find_lr(model, ONE, optimizer, Slots())
    assert [hidden[0].get_state(), hidden[1].bit_generator.state] != before
    hidden[0].set_state(before[0])
    hidden[1].bit_generator.state = before[1]
    find_lr(model, ONE, optimizer, Slots(), generators=hidden)
    assert [hidden[0].get_state(), hidden[1].bit_generator.state] == before
    with pytest.raises(TypeError, match="generators of chainrule or NumPy"):
        find_lr(model, ONE, optimizer, Slots(), generators=[3])


def test_a_loss_with_parameters_is_put_back_too() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(cr.ones(1, dtype=cr.float64))

        def forward(self, output: Any, target: Any) -> Any:
            return ((output * self.scale - target) ** 2).sum()

    model, _, _ = parabola(1.0)
    loss = Scaled()
    optimizer = cr.optim.SGD([*model.parameters(), *loss.parameters()], lr=0.1)
    find_lr(model, ONE, optimizer, loss)
    assert loss.scale.item() == model.weight.item() == 1.0
    assert loss.scale.grad is None


def test_the_model_trains_meanwhile() -> None:
    modes = []

    class Watched(nn.Linear):
        def forward(self, input: Any) -> Any:
            modes.append(self.training)
            return super().forward(input)

    model = Watched(1, 1).double().eval()
    find_lr(model, ONE, cr.optim.SGD(model.parameters(), lr=0.1), lambda o, _: (o * o).sum())
    assert all(modes)
    assert not model.training


def test_what_was_put_back_is_noted_as_written() -> None:
    model, optimizer, loss = parabola(1.0)
    seen = []

    def watched(output: Any, target: Any) -> Any:
        seen.append(version(model.weight.array))
        return loss(output, target)

    find_lr(model, ONE, optimizer, watched, end=1e-3)  # to the end: no step after the last look
    assert len(seen) == 101
    assert version(model.weight.array) > seen[-1]  # what was packed from it is old


def test_the_loaders_walk_is_closed() -> None:
    closed = []

    class Watched(Batches):
        def __iter__(self) -> Iterator[Any]:
            try:
                yield from super().__iter__()
            finally:
                closed.append(True)

    model, optimizer, loss = parabola(1.0)
    find_lr(model, Watched(*ONE.pair, count=4), optimizer, loss, start=1e-4, end=1e-3, steps=9)
    assert len(closed) == 3  # ten batches: 4 + 4 + 2

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        find_lr(model, Watched(*ONE.pair), optimizer, broken)
    assert len(closed) == 4, caught  # at once, although the traceback holds it


# What it says when it cannot tell


def noise() -> Any:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(640, 4)).astype(np.float32), rng.integers(0, 3, 640)
    return DataLoader(ArrayDataset(x.reshape(-1, 1, 2, 2), y), 16)


def told(model: Any, loader: Any, optimizer: Any, loss: Any, **options: Any) -> str:
    curve = find_lr(model, loader, optimizer, loss, **options)
    assert curve.suggestion is None
    assert str(curve) == f"no rate can be suggested: {curve.reason}"
    return curve.reason


def test_reasons() -> None:
    parts = parabola(1.0)

    def reason(start: float, end: float, loss: Any = parts[2]) -> str:
        return told(parts[0], ONE, parts[1], loss, start=start, end=end)

    assert "most steeply at the end, 0.0001: raise end" in reason(1e-7, 1e-4)
    assert "most steeply at the start, 0.3: lower start" in reason(0.3, 1.0)
    assert "fell in the first steps, from 1: lower start" in reason(1.0, 10.0)  # to 0 in one
    assert "left all bounds in" in reason(10.0, 100.0)
    assert "never fell from 0.5: lower start" in reason(1e-7, 10.0, lambda o, _: 0.5 + 0 * o.sum())
    assert "not finite before any step" in reason(1e-7, 10.0, lambda o, _: o.sum() * math.inf)
    cr.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    optimizer = cr.optim.SGD(model.parameters(), lr=1.0)
    text = told(model, noise(), optimizer, F.cross_entropy)
    assert "hardly more than it jumps from batch to batch" in text


def test_noise_alone_suggests_nothing() -> None:
    rng, rates = np.random.default_rng(0), 1e-7 * 1e8 ** (np.arange(100) / 99)
    false = 0
    for _ in range(200):
        watch = _Watch(0.8, 4.0)
        for value in rng.normal(2.3, 0.3, 101):
            watch.add(value)
        false += _read(rates, watch).suggestion is not None
    assert false <= 4


# Misuse


def test_misuse() -> None:
    model, optimizer, loss = parabola(1.0)
    good: dict[str, Any] = {"model": model, "loader": ONE, "optimizer": optimizer, "loss": loss}
    lazy = nn.Sequential(nn.LazyConv2d(3, 3))
    for wrong, kind, text in (
        ({"model": 3}, TypeError, "a module as model"),
        ({"optimizer": 3}, TypeError, "an optimiser"),
        ({"model": lazy}, ValueError, r"0\.weight has none yet; run the model once"),
        ({"loader": iter(ONE)}, ValueError, "walked again"),
        ({"loader": Batches(*ONE.pair, count=0)}, ValueError, "at least one batch"),
        ({"loader": [np.ones((1, 1))]}, TypeError, "pairs"),
        ({"start": 0.0}, ValueError, "0 < start < end"),
        ({"start": 10.0}, ValueError, "0 < start < end"),
        ({"end": math.inf}, ValueError, "0 < start < end"),
        ({"steps": 4}, ValueError, "steps >= 5"),
        ({"steps": 7.0}, TypeError, "an integer number of steps"),
        ({"smoothing": 1.0}, ValueError, "smoothing of at least 0 and below 1"),
        ({"divergence": 1.0}, ValueError, "a finite divergence above 1"),
    ):
        with pytest.raises(kind, match=text) as caught:
            find_lr(**{**good, **wrong})
        assert isinstance(caught.value, cr.ChainruleError)


# The plot


def decoded(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def curve(suggestion: float | None, count: int = 50) -> RateCurve:
    rates = 1e-5 * 1e6 ** (np.arange(count) / 50)
    losses = 1 / (1 + 100 * rates)
    losses[-1:] *= 1e6
    return RateCurve(rates, losses, losses, 1.0, suggestion, "the loss never fell from 1")


def test_the_plot_shows_the_suggestion() -> None:
    pytest.importorskip("matplotlib", reason="plots are in the demo extra")
    red = {}
    for suggestion in (0.001, 0.1, None):
        png = rate_curve_png(curve(suggestion), "title")
        assert png == rate_curve_png(curve(suggestion), "title")
        picture = decoded(png)
        assert picture.shape[1] > picture.shape[0] > 300
        reddish = (picture[..., 0] - picture[..., 2] > 80) & (picture[..., 1] < 150)
        red[suggestion] = np.flatnonzero(reddish.sum(axis=0) > 100)
    assert len(red[None]) == 0
    assert red[0.001].max() < red[0.1].min()


@pytest.mark.parametrize("count", [0, 1])
def test_the_plot_of_almost_nothing(count: int) -> None:
    pytest.importorskip("matplotlib", reason="plots are in the demo extra")
    assert rate_curve_png(curve(None, count))[1:4] == b"PNG"
