"""Dropout against PyTorch: what is not random, and the statistics of what is."""

import warnings

import numpy as np
import pytest
import torch

import chainrule as cr
from tests.parity.harness import check, misuse

RNG = np.random.default_rng(0)
NAN, INF = np.nan, np.inf
NAMES = ["dropout", "dropout1d", "dropout2d", "dropout3d"]
FITTING = {
    "dropout": (3, 4),
    "dropout1d": (2, 3, 4),
    "dropout2d": (2, 3, 4, 5),
    "dropout3d": (2, 3, 1, 2, 2),
}
each = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


@each
def test_evaluation_and_p_zero_change_nothing(name):
    x = RNG.standard_normal(FITTING[name])
    check(lambda lib, x: getattr(lib.nn.functional, name)(x, 0.5, False), x)
    check(lambda lib, x: getattr(lib.nn.functional, name)(x, p=0.9, training=False), x)
    check(lambda lib, x: getattr(lib.nn.functional, name)(x, 0.0), x)
    check(lambda lib, x: getattr(lib.nn.functional, name)(x, 0), x)
    check(lambda lib, x: getattr(lib.nn.functional, name)(x, 0.5, False), np.ones(x.shape, int))


@each
def test_p_one_gives_zeros(name):
    x = RNG.standard_normal(FITTING[name])
    check(lambda lib, x: getattr(lib.nn.functional, name)(x, 1.0), x)
    check(lambda lib, x: getattr(lib.nn.functional, name)(x, 1), x)
    check(lambda lib, x: getattr(lib.nn.functional, name)(x, True), np.ones(x.shape, int))
    x.flat[:4] = [NAN, INF, -INF, 0]
    check(lambda lib, x: getattr(lib.nn.functional, name)(x, 1.0), x)


@each
@pytest.mark.parametrize("ndim", range(7))
def test_what_is_dropped_together(name, ndim):
    """For every number of dimensions, the axes along which PyTorch's mask is constant are ours."""

    def constant_axes(lib):
        x = lib.ones(*(8, 6, 5, 4, 3, 2)[:ndim]) if ndim else lib.tensor(1.0)
        y = np.asarray(getattr(lib.nn.functional, name)(x, 0.5))
        assert set(np.unique(y)) <= {0.0, 2.0}
        return [bool((y.max(a) == y.min(a)).all()) for a in range(ndim)]

    torch.manual_seed(0)
    cr.manual_seed(0)
    try:
        theirs = constant_axes(torch)
    except RuntimeError:
        with pytest.raises(RuntimeError):
            constant_axes(cr)
    else:
        assert theirs == constant_axes(cr)


@each
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_statistics(name, p):
    """Share dropped and mean kept, within five standard deviations, for both libraries."""
    shape = {"dropout": (200, 200)}.get(name, (400, 100) + (2,) * int(name[7:8] or 0))
    decisions = 40_000
    for lib in (torch, cr):
        lib.manual_seed(1)
        y = np.asarray(getattr(lib.nn.functional, name)(lib.ones(*shape), p))
        assert abs((y == 0).mean() - p) < 5 * np.sqrt(p * (1 - p) / decisions)
        assert np.allclose(y[y != 0], 1 / (1 - p), rtol=1e-6)


@each
def test_the_gradient_is_the_mask(name):
    for lib in (torch, cr):
        x = lib.ones(*FITTING[name], requires_grad=True)
        y = getattr(lib.nn.functional, name)(x, 0.3)
        y.sum().backward()
        assert np.array_equal(np.asarray(x.grad), np.asarray(y.detach()))


def test_empty():
    check(lambda lib, x: lib.nn.functional.dropout(x, 0.5), np.ones((0, 3)))
    check(lambda lib, x: lib.nn.functional.dropout2d(x, 0.5), np.ones((2, 0, 3, 3)))
    check(lambda lib, x: lib.nn.functional.dropout(x, 1.0), np.ones((0,), int))


@each
def test_misuse(name):
    x = np.ones(FITTING[name])
    for p in (-0.1, 1.1, NAN, "a"):
        misuse(lambda lib, x, p=p: getattr(lib.nn.functional, name)(x, p), x)
        misuse(
            lambda lib, x, p=p: getattr(lib.nn.functional, name)(x, p, False), x
        ) if p == p else None
    for kind in (int, bool):
        misuse(lambda lib, x: getattr(lib.nn.functional, name)(x, 0.5), x.astype(kind))
    misuse(lambda lib, x: getattr(lib.nn.functional, name)(x, 0.5), np.array(1.0)) if name not in (
        "dropout",
    ) else None


def test_misuse_of_shapes():
    for ndim in (0, 1, 4, 5):
        misuse(lambda lib, x: lib.nn.functional.dropout1d(x, 0.5, False), np.ones((3,) * ndim))
    for ndim in (0, 1):
        misuse(lambda lib, x: lib.nn.functional.dropout2d(x), np.ones((3,) * ndim))
    misuse(lambda lib, x: lib.nn.functional.dropout3d(x), np.ones(()))


ALPHA = ["alpha_dropout", "feature_alpha_dropout"]
DROPPED = -1.7580993408473766  # what SELU tends to: -scale alpha


def place(lib, name):
    """`feature_dropout` is torch's own name, the others are functional."""
    return getattr(lib if name == "feature_dropout" else lib.nn.functional, name)


@pytest.mark.parametrize("name", [*ALPHA, "feature_dropout"])
def test_further_ones_in_evaluation_and_at_p_zero(name):
    x = RNG.standard_normal((3, 4, 5))
    check(lambda lib, x: place(lib, name)(x, 0.5, False), x)
    check(lambda lib, x: place(lib, name)(x, 0.0, True), x)
    check(lambda lib, x: place(lib, name)(x, 0.5, True), np.ones((0, 3, 4)))


@pytest.mark.parametrize("name", [*ALPHA, "feature_dropout"])
def test_further_ones_misused(name):
    for p in (-0.1, 1.1):
        misuse(lambda lib, x, p=p: place(lib, name)(x, p, True), np.ones((3, 4, 5)))


@pytest.mark.parametrize("name", ALPHA)
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_alpha_dropouts_values_are_the_two_that_torch_has(name, p):
    """What is dropped becomes one number, what is kept another: both from the paper's a and b."""
    for lib in (torch, cr):
        lib.manual_seed(2)
        y = np.asarray(place(lib, name)(lib.ones(400, 100, 1), p, True))
        low, high = np.unique(y.round(5))
        a = ((1 - p) * (1 + p * DROPPED**2)) ** -0.5
        b = -a * DROPPED * p
        np.testing.assert_allclose([low, high], [a * DROPPED + b, a + b], rtol=1e-4)
        assert abs((y < 0).mean() - p) < 5 * np.sqrt(p * (1 - p) / 40_000)


def test_feature_dropout_drops_whole_maps():
    for lib in (torch, cr):
        lib.manual_seed(3)
        y = np.asarray(lib.feature_dropout(lib.ones(200, 200, 3), 0.25, True))
        assert (y.max(2) == y.min(2)).all()
        assert abs((y == 0).mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 40_000)
