"""Pixel and channel shuffles: by their index formulas, in every layout, and misused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import KindError, ShapeError
from tests.layouts import LAYOUTS

F = cr.nn.functional
RNG = np.random.default_rng(0)


def spread(x: Any, r: int) -> Any:
    *lead, c, h, w = x.shape
    y = np.zeros((*lead, c // (r * r), h * r, w * r), x.dtype)
    for k, i, j, a, b in np.ndindex(c // (r * r), r, r, h, w):
        y[..., k, a * r + i, b * r + j] = x[..., k * r * r + i * r + j, a, b]
    return y


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("r", [1, 2, 3])
def test_pixel_shuffle_and_back(r: int, layout: str) -> None:
    x = RNG.standard_normal((2, 2 * r * r, 3, 4))
    expected = spread(x, r)
    y = F.pixel_shuffle(cr.Tensor(LAYOUTS[layout](x)), r)
    assert np.array_equal(y.numpy(), expected)
    back = F.pixel_unshuffle(cr.Tensor(LAYOUTS[layout](expected)), r)
    assert np.array_equal(back.numpy(), x)
    for array in (y.array, back.array):
        if layout == "channels last":
            assert array.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (0,)])
@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_pixel_shuffle_of_other_kinds_and_axes(lead: tuple[int, ...], dtype: str) -> None:
    x = (RNG.standard_normal((*lead, 4, 2, 1)) * 3).astype(dtype)
    y = F.pixel_shuffle(cr.tensor(x), 2)
    assert y.dtype == dtype
    assert np.array_equal(y.numpy(), spread(x, 2))
    assert np.array_equal(F.pixel_unshuffle(y, 2).numpy(), x)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("shape", "groups"), [((2, 6, 3), 2), ((1, 6, 2, 3), 3), ((2, 4, 1), 4)])
def test_channel_shuffle(shape: tuple[int, ...], groups: int, layout: str) -> None:
    x = RNG.standard_normal(shape)
    leaf = cr.Tensor(LAYOUTS[layout](x)).requires_grad_()
    y = F.channel_shuffle(leaf, groups)
    each = shape[1] // groups
    order = [j * each + k for k in range(each) for j in range(groups)]
    assert np.array_equal(y.detach().numpy(), x[:, order])
    y.backward(cr.tensor(x[:, order]))
    assert np.array_equal(leaf.grad.numpy(), x)
    native = F.native_channel_shuffle(cr.tensor(x), groups)
    assert np.array_equal(native.numpy(), x[:, order])


def test_empty_channels_and_batches() -> None:
    assert F.channel_shuffle(cr.zeros(2, 0, 3), 2).shape == (2, 0, 3)
    assert F.channel_shuffle(cr.zeros(0, 4, 3), 2).shape == (0, 4, 3)
    x = cr.zeros(2, 0, 3, requires_grad=True)
    F.channel_shuffle(x, 2).sum().backward()
    assert x.grad.shape == (2, 0, 3)
    assert F.pixel_shuffle(cr.zeros(1, 0, 2, 2), 2).shape == (1, 0, 4, 4)


def test_the_result_is_a_copy() -> None:
    x = cr.ones(1, 4, 2, 2)
    for y in (F.pixel_shuffle(x, 1), F.pixel_unshuffle(x, 1), F.channel_shuffle(x, 1)):
        assert not np.shares_memory(x.array, y.array)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: F.pixel_shuffle(cr.zeros(4, 2), 2), ShapeError, "at least 3 axes"),
        (lambda: F.pixel_shuffle(cr.zeros(6, 2, 2), 2), ShapeError, "2*2 = 4, not 6"),
        (lambda: F.pixel_shuffle(cr.zeros(4, 2, 2), 0), ShapeError, "at least 1, not 0"),
        (lambda: F.pixel_shuffle(cr.zeros(4, 2, 2), 2.0), KindError, "upscale_factor"),
        (lambda: F.pixel_unshuffle(cr.zeros(4, 2), 2), ShapeError, "at least 3 axes"),
        (lambda: F.pixel_unshuffle(cr.zeros(1, 4, 3), 2), ShapeError, "multiples of 2, not 4, 3"),
        (lambda: F.pixel_unshuffle(cr.zeros(1, 2, 2), -1), ShapeError, "at least 1, not -1"),
        (lambda: F.pixel_unshuffle(cr.zeros(1, 2, 2), True), KindError, "downscale_factor"),
        (lambda: F.channel_shuffle(cr.zeros(1, 4), 2), ShapeError, "(N, C, ...)"),
        (lambda: F.channel_shuffle(cr.zeros(1, 4, 2), 3), ShapeError, "4 % 3 = 0, not 1"),
        (lambda: F.channel_shuffle(cr.zeros(1, 4, 2), 0), ShapeError, "at least 1 group, not 0"),
        (lambda: F.channel_shuffle(cr.zeros(1, 4, 2), 2.0), KindError, "groups"),
    ],
)
def test_misuse(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)
