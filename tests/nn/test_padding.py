"""Layers that pad, resample and shuffle: settings, reprs, and the functions that they call."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.nn import functional as F

SHAPES = {1: (2, 3, 5), 2: (2, 3, 5, 4), 3: (1, 2, 4, 3, 5)}
MODES = {"Reflection": "reflect", "Replication": "replicate", "Circular": "circular"}


def same(a: Any, b: Any) -> None:
    np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("padding", [1, -1, 2, None])
def test_padding_is_the_function(d: int, padding: int | None) -> None:
    widths = (1, -1, 0, 2, 1, 0)[: 2 * d] if padding is None else (padding,) * (2 * d)
    given: Any = widths if padding is None else padding
    x = cr.randn(*SHAPES[d])
    for tensor in (x, x[0]):
        for kind, mode in MODES.items():
            layer = getattr(nn, f"{kind}Pad{d}d")(given)
            same(layer(tensor), F.pad(tensor, widths, mode))
            assert layer.padding == widths
            assert repr(layer) == f"{kind}Pad{d}d({widths})"
        constant = getattr(nn, f"ConstantPad{d}d")(given, 2.5)
        same(constant(tensor), F.pad(tensor, widths, value=2.5))
        assert repr(constant) == f"ConstantPad{d}d(padding={widths}, value=2.5)"
        zero = getattr(nn, f"ZeroPad{d}d")(given)
        same(zero(tensor), F.pad(tensor, widths))
        assert repr(zero) == f"ZeroPad{d}d({widths})"


LAYERS: dict[str, tuple[Callable[[], nn.Module], Callable[[Any], Any], tuple[int, ...]]] = {
    "PixelShuffle(upscale_factor=2)": (
        lambda: nn.PixelShuffle(2),
        lambda x: F.pixel_shuffle(x, 2),
        (1, 8, 3, 2),
    ),
    "PixelUnshuffle(downscale_factor=3)": (
        lambda: nn.PixelUnshuffle(downscale_factor=3),
        lambda x: F.pixel_unshuffle(x, 3),
        (2, 3, 6),
    ),
    "ChannelShuffle(groups=2)": (
        lambda: nn.ChannelShuffle(2),
        lambda x: F.channel_shuffle(x, 2),
        (1, 6, 3),
    ),
    "Upsample(size=(3, 7), mode='nearest')": (
        lambda: nn.Upsample((3, 7)),
        lambda x: F.interpolate(x, (3, 7)),
        SHAPES[2],
    ),
    "Upsample(scale_factor=(1.0, 2.0), mode='bilinear')": (
        lambda: nn.Upsample(None, (1, 2), "bilinear", True),
        lambda x: F.interpolate(x, scale_factor=(1, 2), mode="bilinear", align_corners=True),
        SHAPES[2],
    ),
    "Upsample(scale_factor=1.7, mode='linear')": (
        lambda: nn.Upsample(scale_factor=1.7, mode="linear", recompute_scale_factor=True),
        lambda x: F.interpolate(x, int(1.7 * x.shape[2]), mode="linear"),
        SHAPES[1],
    ),
    "UpsamplingNearest2d(scale_factor=2.0, mode='nearest')": (
        lambda: nn.UpsamplingNearest2d(scale_factor=2),
        lambda x: F.interpolate(x, scale_factor=2),
        SHAPES[2],
    ),
    "UpsamplingBilinear2d(size=6, mode='bilinear')": (
        lambda: nn.UpsamplingBilinear2d(6),
        lambda x: F.interpolate(x, 6, mode="bilinear", align_corners=True),
        SHAPES[2],
    ),
}


@pytest.mark.parametrize("text", LAYERS)
def test_resampling_is_the_function(text: str) -> None:
    make, function, shape = LAYERS[text]
    layer, x = make(), cr.randn(*shape)
    assert repr(layer) == text
    assert list(layer.state_dict()) == []
    for other in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        same(other(x), function(x))
    assert layer(cr.zeros(*shape, device="meta")).shape == function(x).shape


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: nn.ConstantPad1d("a", 1.0), TypeError, "ConstantPad1d padding"),  # type: ignore[arg-type]
        (lambda: nn.ZeroPad2d(1.5), TypeError, "a tuple of 4 integers"),  # type: ignore[arg-type]
        (lambda: nn.ReflectionPad2d((1, 1.0)), TypeError, "ReflectionPad2d padding"),  # type: ignore[arg-type]
        (lambda: nn.ReflectionPad1d(5)(cr.zeros(1, 2, 5)), ValueError, r"max\(5, 5\) < 5"),
        (lambda: nn.CircularPad1d(6)(cr.zeros(1, 2, 5)), ValueError, "once around"),
        (lambda: nn.CircularPad2d(1)(cr.zeros(2, 5)), ValueError, "3 or 4 axes, the last 2"),
        (lambda: nn.ZeroPad1d(-3)(cr.zeros(1, 5)), ValueError, "more to be cropped"),
        (lambda: nn.Upsample(scale_factor="2"), TypeError, "Upsample scale_factor"),
        (lambda: nn.UpsamplingNearest2d()(cr.zeros(1, 1, 2, 2)), ValueError, "either size or"),
        (lambda: nn.PixelShuffle(), TypeError, "settings"),
    ],
)
def test_misuse(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        call()
    assert isinstance(caught.value, cr.ChainruleError)
