"""Torch's and Caffe's small layers of one tensor: what they compute, and how they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from tests.nn.simple_layers import SIMPLE

RNG = np.random.default_rng(0)
X = RNG.uniform(0.5, 2.0, (2, 3, 4))


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Abs(), X),
        (nn.AddConstant(-2.5), X - 2.5),
        (nn.MulConstant(0.0), 0 * X),
        (nn.Clamp(0.7, 1.2), X.clip(0.7, 1.2)),
        (nn.Copy(), X),
        (nn.Exp(), np.exp(X)),
        (nn.Exp(2, 3, -1), 2 ** (3 * X - 1)),
        (nn.Log(), np.log(X)),
        (nn.Log(10, 2, 1), np.log10(2 * X + 1)),
        (nn.Power(3), X**3),
        (nn.Power(-0.5, 2, 1), (2 * X + 1) ** -0.5),
        (nn.Sqrt(), np.sqrt(X)),
        (nn.Square(), X * X),
        (nn.Max(1), X.max(1)),
        (nn.Max(keepdim=True), X.max(2, keepdims=True)),
        (nn.Min(0), X.min(0)),
        (nn.Mean(), X.mean()),
        (nn.Mean(1), X.mean(1)),
        (nn.Sum((0, 2), True), X.sum((0, 2), keepdims=True)),
        (nn.Narrow(2, 1, 2), X[:, :, 1:3]),
        (nn.Select(1, -1), X[:, -1]),
        (nn.Normalize(dim=-1), X / np.linalg.norm(X, axis=-1, keepdims=True)),
        (nn.Padding(1, 2), np.pad(X, ((0, 0), (0, 2), (0, 0)))),
        (nn.Padding(-1, -1, 7.0), np.pad(X, ((0, 0), (0, 0), (1, 0)), constant_values=7)),
        (nn.Reduction("sumsq", 1, 0.5), 0.5 * (X * X).sum((1, 2))),
        (nn.Replicate(3), np.stack([X] * 3)),
        (nn.Replicate(2, -1), np.stack([X] * 2, -1)),
        (nn.Reshape(2, 6), X.reshape(2, 2, 6)),
        (nn.Reshape((4, -1)), X.reshape(2, 4, 3)),
        (nn.View(-1), X.reshape(-1)),
        (nn.View([6, 4]), X.reshape(6, 4)),
        (nn.Squeeze(0), X),
        (nn.Unsqueeze(-1), X[..., None]),
        (nn.Tile(2, 0), np.concatenate((X, X))),
        (nn.Transpose(0, 1), X.swapaxes(0, 1)),
        (nn.Transpose((0, 1), (1, 2)), X.swapaxes(0, 1).swapaxes(1, 2)),
    ],
    ids=repr,
)
def test_values_on_plain_arrays(layer: Any, expected: Any) -> None:
    y = layer(cr.tensor(X))
    np.testing.assert_allclose(y, expected, rtol=1e-13)
    report = cr.gradcheck(layer, cr.tensor(X))
    assert report, str(report)


@pytest.mark.parametrize("text", SIMPLE)
def test_gradients_against_differences(text: str) -> None:
    """Of every layer's input and parameters; the two that alter gradients are left out."""
    make, shape = SIMPLE[text]
    layer = make()
    if not isinstance(layer, nn.GradientReversal | nn.L1Penalty):
        values = RNG.permutation(np.linspace(0.2, 2.0, int(np.prod(shape)))).reshape(shape)
        report = cr.gradcheck(layer, cr.tensor(values))
        assert report, str(report)


def test_learned_layers_by_hand() -> None:
    x = cr.tensor(X.astype(np.float32))
    for layer, combine, shape in (
        (nn.Add(4), np.add, (4,)),
        (nn.Mul(), np.multiply, (1,)),
        (nn.CMul(3, 1), np.multiply, (3, 1)),
        (nn.CMul((3, 4)), np.multiply, (3, 4)),
    ):
        (p,) = layer.parameters()
        assert p.shape == shape
        bound = 1 / np.sqrt(np.prod(shape))
        assert (np.abs(p.detach().numpy()) <= bound).all()
        np.testing.assert_allclose(
            layer(x).detach(), combine(x.numpy(), p.detach().numpy()), rtol=1e-6
        )


def test_scale_and_bias_stand_along_their_axes() -> None:
    x = cr.tensor(X.astype(np.float32))
    weights, offsets = RNG.standard_normal((2, 3)).astype(np.float32)
    scale, bias = nn.Scale(3, bias=True), nn.Bias(3)
    np.testing.assert_array_equal(scale(x).detach(), x)
    np.testing.assert_array_equal(bias(x).detach(), x)
    state = {"bias": offsets, "weight": weights}
    assert sorted(scale.state_dict()) == sorted(state)
    scale.load_state_dict(state)
    np.testing.assert_allclose(
        scale(x).detach(), x * weights[:, None] + offsets[:, None], rtol=1e-6
    )
    bias.load_state_dict({"bias": offsets})
    np.testing.assert_allclose(bias(x).detach(), x + offsets[:, None], rtol=1e-6)
    assert list(nn.Scale(3).state_dict()) == ["weight"]
    whole = nn.Scale(2, 3, 4, dim=0)
    assert whole.weight.shape == (2, 3, 4)
    scale.reset_parameters()
    np.testing.assert_array_equal(scale(x).detach(), x)


def test_distances_to_learned_vectors() -> None:
    x = cr.tensor(X)
    for layer, rule in (
        (nn.Euclidean(4, 5), lambda a, b: np.linalg.norm(a - b)),
        (nn.Cosine(4, 5), lambda a, b: a @ b / np.linalg.norm(a) / np.linalg.norm(b)),
    ):
        layer.double()
        w = layer.weight.detach().numpy()
        y = layer(x).detach().numpy()
        for n, r, o in np.ndindex(y.shape):
            np.testing.assert_allclose(y[n, r, o], rule(X[n, r], w[o]), rtol=1e-12)
        np.testing.assert_allclose(layer(x[0, 0]).detach(), y[0, 0], rtol=1e-12)
        assert (np.abs(w) <= 0.5).all()


def test_copies_have_memory_of_their_own() -> None:
    x = cr.tensor(X)
    assert not np.shares_memory(nn.Copy()(x).array, x.array)
    assert nn.Copy(cr.float32)(x).dtype == np.float32
    assert np.shares_memory(nn.Replicate(2)(x).array, x.array)


def test_ties_of_max_go_to_the_first() -> None:
    x = cr.tensor([[2.0, 2.0, 1.0]], requires_grad=True)
    nn.Max(1)(x).sum().backward()
    assert x.grad.tolist() == [[1, 0, 0]]


ROWS = cr.ones(2, 3)


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda: nn.Add(0), ValueError, "Add num_features: expected at least 1"),
        (lambda: nn.Add(4)(ROWS), ValueError, "sizes that are equal or 1"),
        (lambda: nn.Add(3)(cr.tensor(1.0)), ValueError,
         "Add: expected an input to whose shape (3,) broadcasts"),
        (lambda: nn.CMul(5, 1, 1)(ROWS), ValueError, "to whose shape (5, 1, 1) broadcasts"),
        (lambda: nn.CMul(-1), ValueError, "CMul: expected sizes of 0 or more"),
        (lambda: nn.CMul("a"), TypeError, "CMul"),
        (lambda: nn.AddConstant("a")(ROWS), TypeError, "AddConstant constant"),
        (lambda: nn.MulConstant("a")(ROWS), TypeError, "MulConstant constant"),
        (lambda: nn.MulConstant(), TypeError, "expected settings"),
        (lambda: nn.Bias(4)(ROWS), ValueError, "Bias: expected sizes (4,) of the axes from 1 on"),
        (lambda: nn.Scale(3, dim=2)(ROWS), IndexError, "Scale: expected dim"),
        (lambda: nn.Padding(2, 1)(ROWS), IndexError, "Padding: expected dim"),
        (lambda: nn.Padding(0, 1.5)(ROWS), TypeError, "Padding pad"),
        (lambda: nn.Replicate(-1)(ROWS), ValueError, "Replicate"),
        (lambda: nn.Tile(0)(ROWS), ValueError, "Tile tiles"),
        (lambda: nn.Reshape(4)(ROWS), ValueError, "reshape: expected"),
        (lambda: nn.Reshape(4)(cr.tensor(1.0)), ValueError, "Reshape: expected a batch (N, ...)"),
        (lambda: nn.View(4)(ROWS), ValueError, "reshape: expected"),
        (lambda: nn.View(1.5), TypeError, "View"),
        (lambda: nn.Transpose(1), TypeError, "pairs of axes"),
        (lambda: nn.Transpose((1, 2, 3)), ValueError, "pairs of axes"),
        (lambda: nn.Transpose(0, 2)(ROWS), IndexError, "transpose"),
        (lambda: nn.Euclidean(0, 1), ValueError, "Euclidean in_features"),
        (lambda: nn.Euclidean(4, 1)(ROWS), ValueError, "vectors of one length"),
        (lambda: nn.Cosine(4, 1)(ROWS), ValueError, "in_features"),
        (lambda: nn.InnerProduct(4, 1)(ROWS), ValueError, "in_features"),
        (lambda: nn.InnerProduct(4, 1, dim="1"), TypeError, "InnerProduct dim"),
    ],
)  # fmt: skip
def test_errors(make: Callable[[], Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as caught:
        make()
    assert text in str(caught.value)
    assert isinstance(caught.value, cr.ChainruleError)
