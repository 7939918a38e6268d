"""Long sums: within 1e-4 of the right ones, over a quarter of a million and over 10^7 values.

A sum that adds one float32 after the other loses a tenth of 10^7 times 0.1.  What runs is what
runs in a program: the pair with its limits, or the reference where the pair declines.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule.backends.onednn.backend import ByReference
from chainrule.backends.onednn.conv import plan_conv
from chainrule.backends.onednn.narrow import NarrowPlan
from chainrule.backends.onednn.winograd import WinogradPlan
from chainrule.engine.dispatch import Backend
from chainrule.engine.op import OPS
from tests.backends.onednn.conftest import of_kernels

SIZES = [
    pytest.param(1 << 18, id="a quarter of a million"),
    pytest.param(10**7, id="ten million", marks=pytest.mark.slow),
]
VALUES = ["constant", "uniform", "a large mean"]
RELATIVE = 1e-4


def values(kind: str, *shape: int) -> np.ndarray:
    """Draw values whose sum does not cancel."""
    if kind == "constant":
        return np.full(shape, 0.1, np.float32)
    rng = np.random.default_rng(0)
    if kind == "uniform":
        return rng.random(shape, np.float32)
    return rng.standard_normal(shape, np.float32) + np.float32(100)


def images(kind: str, channels: int, size: int, batch: int = 1, last: bool = True) -> np.ndarray:
    """Give (batch, channels, 64, ...) of so many values a channel, channels-last in memory."""
    size -= size % (64 * batch)
    x = values(kind, batch, 64, size // 64 // batch, channels)
    x = np.moveaxis(x, -1, 1)
    return x if last else np.ascontiguousarray(x)


def totals(x: np.ndarray) -> np.ndarray:
    """Sum all axes but the channels', in float64."""
    return x.sum((0, *range(2, x.ndim)), dtype=np.float64)


def run(backend: Backend, name: str, settings: Any, *arrays: np.ndarray) -> Any:
    """Run what a program would run."""
    op = OPS[name](*settings)
    kernel = backend.select(op, arrays)
    outputs, saved = kernel.forward(op, arrays)
    return outputs, lambda gy, needs: kernel.backward(op, saved, gy, needs)


def near(what: str, got: Any, wanted: Any, relative: float = RELATIVE) -> None:
    error = np.abs(np.asarray(got, np.float64) - wanted)
    worst = float((error / np.abs(wanted)).max())
    assert worst <= relative, f"{what}: off by {worst:.1e} of it"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("channels", [1, 3, 16])
def test_average_pooling(backend: Backend, channels: int, kind: str, size: int) -> None:
    x = images(kind, channels, size if channels < 16 else size // 4)
    kernel = x.shape[2:]
    for name, settings in (
        ("AdaptiveAvgPool", ((1, 1),)),
        ("AvgPool", (kernel, kernel, (0, 0))),
        ("AvgPool", (kernel, kernel, (0, 0), False, False)),
    ):
        (y,), _ = run(backend, name, settings, x)
        near(name, y[0, :, 0, 0], totals(x) * channels / x.size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("channels", [1, 3, 16])
@pytest.mark.parametrize("name", ["BatchNorm", "BatchNormReLU"])
def test_batch_statistics(backend: Backend, name: str, channels: int, kind: str, size: int) -> None:
    x = images(kind, channels, size if channels < 16 else size // 4)
    weight, bias = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    (y, mean, variance), back = run(backend, name, (True, 1e-5), x, weight, bias)
    n = x.size // channels
    centre = totals(x) / n
    near("mean", mean, centre)
    spread = np.array([np.var(x[:, c], dtype=np.float64) for c in range(channels)])
    if kind == "constant":  # whose variance, 0, is far below eps
        assert np.abs(variance).max() < 1e-7
        assert np.abs(y).max() < 1e-2
    else:
        near("variance", variance, spread)
    gy = images("constant", channels, n)
    _, _, gbias = back((gy, None, None), (True, True, True))
    gone = (y <= 0) if name == "BatchNormReLU" else np.zeros(y.shape, bool)
    if kind != "constant":
        near("gradient of the bias", gbias, totals(np.where(gone, np.float32(0), gy)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["constant", "uniform"])
@pytest.mark.parametrize("channels", [1, 3, 16])
@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("name", ["Conv", "ConvTranspose"])
def test_convolution_s_parameters(
    backend: Backend, name: str, batch: int, channels: int, kind: str, size: int
) -> None:
    x = images(kind, channels, size if channels < 16 else size // 4, batch)
    gy = images("constant", channels, x.size // channels, batch)
    w = np.eye(channels, dtype=np.float32)[:, :, None, None]
    _, back = run(backend, name, (), x, w, np.zeros(channels, np.float32))
    _, gw, gb = back(gy, (False, True, True))
    near("gradient of the bias", gb, totals(gy))
    by_input = gw[0, :, 0, 0] if name == "Conv" else gw[:, 0, 0, 0]
    near("gradient of the weight", by_input, totals(x) * float(np.float32(0.1)))


WINDOWS = {
    "Winograd": ((16, 58, 58), (16, 16, 3, 3)),
    "few channels": ((1, 32, 32), (6, 1, 5, 5)),
    "one channel of large images": ((1, 66, 66), (1, 1, 3, 3)),
}


@of_kernels
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["constant", "uniform"])
@pytest.mark.parametrize("case", WINDOWS)
def test_our_own_convolutions_parameters(backend: Backend, case: str, kind: str, size: int) -> None:
    """Of images so many that each filter's gradient is a sum of so many values."""
    image, window = WINDOWS[case]
    height, width = (n - k + 1 for n, k in zip(image[1:], window[2:], strict=True))
    batch = (size if image[0] < 16 else size // 4) // (height * width)
    x, gy = (
        np.moveaxis(values(what, batch, *sizes, channels), -1, 1)
        for what, sizes, channels in (
            (kind, image[1:], image[0]),
            ("constant", (height, width), window[0]),
        )
    )
    plan = plan_conv(OPS["Conv"](), x.shape, window, True)  # type: ignore[arg-type]
    assert type(plan) in (WinogradPlan, NarrowPlan)
    gw, gb = plan.weight_gradient(x, gy, True)
    near("gradient of the bias", gb, totals(gy))
    for i, j in np.ndindex(*window[2:]):
        wanted = totals(x[:, :, i : i + height, j : j + width]) * float(np.float32(0.1))
        near(f"gradient of the weight at {i}, {j}", gw[0, :, i, j], wanted)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("features", [1, 3, 16])
def test_linear_s_parameters(backend: Backend, features: int, size: int) -> None:
    size = size if features < 16 else size // 4
    x, gy = values("uniform", size, features), values("constant", size, features)
    w = np.eye(features, dtype=np.float32)
    _, back = run(backend, "Linear", (), x, w, np.zeros(features, np.float32))
    _, gw, gb = back(gy, (False, True, True))
    near("gradient of the bias", gb, gy.sum(0, dtype=np.float64))
    near("gradient of the weight", gw[0], x.sum(0, dtype=np.float64) * float(np.float32(0.1)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["constant", "uniform"])
@pytest.mark.parametrize("rows", [1, 2, 16])
def test_long_inner_products(backend: Backend, rows: int, kind: str, size: int) -> None:
    size = size if rows < 16 else size // 4
    x, ones = values(kind, rows, size), np.full((rows, size), 0.1, np.float32)
    wanted = (x.sum(1, dtype=np.float64) * float(np.float32(0.1)))[:, None]
    if kind == "uniform":  # BLAS too is that far off for ten million equal products
        (y,), _ = run(backend, "Linear", (), x, ones)
        near("linear", y, np.broadcast_to(wanted, y.shape))
    (y,), _ = run(backend, "Matmul", (), x, np.ascontiguousarray(ones.T))
    near("matmul", y, np.broadcast_to(wanted, y.shape))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("last", [True, False], ids=["channels last", "C order"])
@pytest.mark.parametrize("channels", [1, 3, 16])
def test_slopes(backend: Backend, channels: int, last: bool, size: int) -> None:
    size = size if channels < 16 else size // 4
    x = -images("uniform", channels, size, last=last)
    gy = images("constant", channels, size, last=last)
    _, back = run(backend, "PReLU", (), x, np.full(channels, 0.25, np.float32))
    _, gw = back(gy, (True, True))
    near("gradient of the slopes", gw, totals(x) * float(np.float32(0.1)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["Softmax", "LogSoftmax"])
def test_many_classes(backend: Backend, name: str, size: int) -> None:
    x = values("uniform", 1, size)
    gy = values("uniform", 1, size)
    (y,), back = run(backend, name, (1,), x)
    right = np.exp(x.astype(np.float64))
    right /= right.sum()
    near(name, y, right if name == "Softmax" else np.log(right))
    (gx,) = back(gy, (True,))
    if name == "Softmax":
        wanted = right * (gy - (gy * right).sum())
    else:
        wanted = gy - right * gy.sum(dtype=np.float64)
    assert np.abs(gx - wanted).max() <= RELATIVE * np.abs(wanted).max()


@pytest.mark.parametrize("kind", VALUES)
def test_the_check_finds_a_naive_sum(kind: str) -> None:
    x = values(kind, 1 << 18)
    naive = np.cumsum(x, dtype=np.float32)[-1]  # one after the other
    right = x.sum(dtype=np.float64)
    near("NumPy's", x.sum(), right)
    if kind == "constant":
        with pytest.raises(AssertionError, match="off by"):
            near("a naive sum", naive, right)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("name", ["LayerNorm", "GroupNorm", "groups of channels"])
def test_long_rows(backend: Backend, name: str, kind: str, size: int) -> None:
    """A row of so many values: alone, as a channel, or as a group of two channels."""
    size -= size % 64
    x, gy = values(kind, size), values("constant", size)
    if name == "LayerNorm":
        name, settings, shape, channels = "LayerNorm", ((size,), 1e-5), (1, size), size
    else:
        channels = 1 if name == "GroupNorm" else 2
        name, settings, shape = "GroupNorm", (1, 1e-5), (1, channels, size // channels)
    weight, bias = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    (y, *statistics), back = run(backend, name, settings, x.reshape(shape), weight, bias)
    mean, variance = x.mean(dtype=np.float64), x.var(dtype=np.float64)
    wanted = (x - mean) / np.sqrt(variance + 1e-5)
    assert np.abs(y.ravel() - wanted).max() <= (1e-2 if kind == "constant" else 1e-3)
    for got, right in zip(statistics, (mean, variance), strict=False):
        assert abs(float(got[0, 0]) - right) <= RELATIVE * right + 1e-7
    g = gy.reshape(shape)
    gx, _, gbias = back((g, None, None) if statistics else g, (True, True, True))
    steep = 0.1 / np.sqrt(variance + 1e-5)
    assert np.abs(gx).max() <= RELATIVE * steep  # 0, since a row's mean is taken away
    near("gradient of the bias", gbias.sum(dtype=np.float64), gy.sum(dtype=np.float64))


@pytest.mark.parametrize("size", SIZES)
def test_parameters_of_many_rows(backend: Backend, size: int) -> None:
    """A weight's and a bias's gradient are sums over the rows."""
    x, gy = values("uniform", size // 8, 8), values("constant", size // 8, 8)
    weight, bias = np.ones(8, np.float32), np.zeros(8, np.float32)
    (y,), back = run(backend, "LayerNorm", ((8,), 1e-5), x, weight, bias)
    _, gweight, gbias = back(gy, (True, True, True))
    near("gradient of the bias", gbias, gy.sum(0, dtype=np.float64))
    error = np.abs(gweight - (gy * y.astype(np.float64)).sum(0)).max()
    assert error <= RELATIVE * np.abs(gy * y).sum(0).max()


@pytest.mark.parametrize("shape", [(200_001,), (200_001, 1), (3, 70_001), (200_001, 1, 1)])
def test_long_arrays_of_few_axes_are_looked_through(backend: Backend, shape: Any) -> None:
    """Rows of one value: the library has no sum of them.  Its pairs serve without our kernels."""
    for name in ("Sigmoid", "ReLU", "GELU"):
        op, x = OPS[name](), np.ones(shape, np.float32)
        pair: Any = backend.displaced.get(OPS[name]) or backend.table[OPS[name]]
        assert pair.supports(op, [x])
        (y,), saved = pair.forward(op, [x])
        assert not isinstance(saved, ByReference)
        np.testing.assert_allclose(y, op.forward(np, x)[0][0], rtol=1e-5)
        x.reshape(-1)[-1] = np.nan
        (y,), saved = pair.forward(op, [x])
        assert isinstance(saved, ByReference)
        assert np.isnan(y.reshape(-1)[-1])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("channels", [1, 3, 16])
@pytest.mark.parametrize("name", ["Sum", "Mean"])
def test_reductions(backend: Backend, name: str, channels: int, kind: str, size: int) -> None:
    x = images(kind, channels, size if channels < 16 else size // 4)
    divisor = 1 if name == "Sum" else x.size / channels
    (y,), _ = run(backend, name, ((0, 2, 3),), x)
    near(name, y, totals(x) / divisor)
    (y,), _ = run(backend, name, ((0, 1, 2, 3),), x)
    near(name, y, totals(x).sum() / (1 if name == "Sum" else x.size))
