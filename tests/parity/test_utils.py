"""nn.utils beside PyTorch's: clipped gradients, weight and spectral norm, names of states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils import parametrizations as their_parametrizations  # noqa: F401 - loads it

import chainrule as cr

LIBRARIES = (torch, cr)
LAYERS: list[Callable[[Any], Any]] = [
    lambda lib: lib.nn.Linear(4, 3),
    lambda lib: lib.nn.Conv2d(2, 3, 2),
    lambda lib: lib.nn.ConvTranspose2d(2, 3, 2),
]


def numbers(value: Any) -> np.ndarray:
    return np.asarray(value.detach().numpy())


def copied(theirs: Any, ours: Any) -> None:
    """Give our module the values of theirs."""
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})


def inputs(layer: Any) -> np.ndarray:
    shape = (5, 4) if "Linear" in type(layer).__name__ else (2, 2, 4, 5)
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def compare(theirs: Any, ours: Any) -> None:
    """Run both forward and backward twice, and compare outputs, gradients and states."""
    for _ in range(2):
        x = inputs(theirs)
        t, o = theirs(torch.tensor(x)), ours(cr.tensor(x))
        np.testing.assert_allclose(numbers(o), numbers(t), atol=2e-5)
        (t**2).sum().backward()
        (o**2).sum().backward()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for (name, a), b in zip(theirs.state_dict().items(), ours.state_dict().values(), strict=True):
        np.testing.assert_allclose(numbers(b), numbers(a), atol=2e-5, err_msg=name)
    for (name, a), (same, b) in zip(
        theirs.named_parameters(), ours.named_parameters(), strict=True
    ):
        assert name == same
        np.testing.assert_allclose(numbers(b.grad), numbers(a.grad), rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("dim", [0, 1, -2, -1, None])
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_weight_norm(layer: Callable[[Any], Any], dim: int | None, old: bool) -> None:
    pair = []
    for lib in LIBRARIES:
        utils = lib.nn.utils if old else lib.nn.utils.parametrizations
        pair.append(utils.weight_norm(layer(lib), dim=dim))
    theirs, ours = pair
    copied(theirs, ours)
    compare(theirs, ours)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(("times", "dim"), [(1, None), (3, 1), (1, -1)])
@pytest.mark.parametrize("old", [False, True])
def test_spectral_norm(layer: Callable[[Any], Any], times: int, dim: int | None, old: bool) -> None:
    if old and dim == -1:
        dim = 0  # PyTorch's older form does not take it
    pair = []
    for lib in LIBRARIES:
        utils = lib.nn.utils if old else lib.nn.utils.parametrizations
        pair.append(utils.spectral_norm(layer(lib), n_power_iterations=times, dim=dim))
    theirs, ours = pair
    copied(theirs, ours)
    compare(theirs, ours)
    theirs.eval()
    ours.eval()
    compare(theirs, ours)


def test_spectral_norm_of_a_vector() -> None:
    pair = [lib.nn.utils.parametrizations.spectral_norm(lib.nn.BatchNorm2d(2)) for lib in LIBRARIES]
    copied(*pair)
    compare(*pair)


def symmetric(lib: Any) -> Any:
    class Symmetric(lib.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return (x + x.T) / 2

        def right_inverse(self, x: Any) -> Any:
            return x * 1.0

    return Symmetric()


def doubled(lib: Any) -> Any:
    class Doubled(lib.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return x * 2

        def right_inverse(self, x: Any) -> Any:
            return x / 2

    return Doubled()


def test_parametrizations_in_turn_assigned_and_removed() -> None:
    states = []
    for lib in LIBRARIES:
        parametrize = lib.nn.utils.parametrize
        linear = lib.nn.Linear(3, 3)
        with lib.no_grad():
            linear.weight.copy_(lib.arange(9.0).reshape(3, 3))
            linear.bias.copy_(lib.ones(3))
        first = linear.weight
        parametrize.register_parametrization(linear, "weight", symmetric(lib))
        parametrize.register_parametrization(linear, "weight", doubled(lib))
        seen = [numbers(linear.weight), *map(numbers, linear.state_dict().values())]
        linear.weight = lib.eye(3) * 4
        seen += [numbers(linear.weight), *map(numbers, linear.state_dict().values())]
        parametrize.remove_parametrizations(linear, "weight")
        assert linear.weight is first
        assert sorted(linear.state_dict()) == ["bias", "weight"]
        states.append([*seen, numbers(linear.weight)])
    for t, o in zip(*states, strict=True):
        np.testing.assert_allclose(o, t)


@pytest.mark.parametrize("order", [1.0, 2.0, 3.0, float("inf"), 0.5])
@pytest.mark.parametrize("most", [0.1, 2.0, 1e6])
def test_clipping(order: float, most: float) -> None:
    rng = np.random.default_rng(0)
    gradients = [rng.standard_normal(shape).astype(np.float32) for shape in ((3, 2), (4,), ())]
    results = []
    for lib in LIBRARIES:
        parameters = [lib.zeros(g.shape, requires_grad=True) for g in gradients]
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = lib.tensor(g)
        without = lib.zeros(2, requires_grad=True)
        total = lib.nn.utils.clip_grad_norm_(iter([*parameters, without]), most, order)
        found = [numbers(total), *[numbers(p.grad) for p in parameters]]
        lib.nn.utils.clip_grad_value_(parameters, 0.05)
        found += [numbers(p.grad) for p in parameters]
        single = lib.nn.utils.clip_grad_norm_(parameters[0], 1e-3)
        results.append([*found, numbers(single), numbers(parameters[0].grad)])
    for t, o in zip(*results, strict=True):
        np.testing.assert_allclose(o, t, rtol=1e-5, atol=1e-7)


def test_gradients_that_are_not_finite() -> None:
    for lib in LIBRARIES:
        x = lib.zeros(2, requires_grad=True)
        x.grad = lib.tensor([1.0, float("nan")])
        with pytest.raises(RuntimeError):
            lib.nn.utils.clip_grad_norm_(x, 1.0, error_if_nonfinite=True)
        assert np.isnan(numbers(lib.nn.utils.clip_grad_norm_(x, 1.0)))
        assert np.isnan(numbers(x.grad)).all()
        assert float(lib.nn.utils.clip_grad_norm_([], 1.0)) == 0


def test_vectors() -> None:
    for lib in LIBRARIES:
        linear = lib.nn.Linear(2, 3)
        vector = lib.nn.utils.parameters_to_vector(linear.parameters())
        assert tuple(vector.shape) == (9,)
        lib.nn.utils.vector_to_parameters(vector * 0 + lib.arange(9.0), linear.parameters())
        assert linear.weight.tolist() == [[0, 1], [2, 3], [4, 5]]
        assert linear.bias.tolist() == [6, 7, 8]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda u, nn: u.parametrizations.spectral_norm(nn.Linear(2, 2), "no"), ValueError),
        (lambda u, nn: u.parametrizations.weight_norm(nn.Linear(2, 2), "no"), ValueError),
        (
            lambda u, nn: u.parametrizations.spectral_norm(nn.Linear(2, 2), n_power_iterations=0),
            ValueError,
        ),
        (lambda u, nn: u.parametrizations.spectral_norm(nn.Linear(2, 2), dim=2), IndexError),
        (lambda u, nn: u.parametrizations.weight_norm(nn.Linear(2, 2), dim=2), IndexError),
        (
            lambda u, nn: u.parametrize.remove_parametrizations(nn.Linear(2, 2), "weight"),
            ValueError,
        ),
        (
            lambda u, nn: u.parametrize.remove_parametrizations(
                u.parametrizations.weight_norm(nn.Linear(2, 2)), "weight", False
            ),
            ValueError,
        ),
        (
            lambda u, nn: u.parametrize.register_parametrization(
                nn.Linear(2, 2), "weight", nn.Flatten(0)
            ),
            ValueError,
        ),
        (lambda u, nn: u.remove_weight_norm(nn.Linear(2, 2)), ValueError),
        (lambda u, nn: u.remove_spectral_norm(nn.Linear(2, 2)), ValueError),
        (lambda u, nn: u.spectral_norm(u.spectral_norm(nn.Linear(2, 2))), (RuntimeError, KeyError)),
        (lambda u, nn: u.spectral_norm(nn.Linear(2, 2), n_power_iterations=0), ValueError),
    ],
)
def test_misuse(wrong: Callable[[Any, Any], Any], error: Any) -> None:
    for lib in LIBRARIES:
        with pytest.raises(error):
            wrong(lib.nn.utils, lib.nn)
