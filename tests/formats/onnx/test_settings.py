"""Settings other than the usual ones: each reaches the file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

import chainrule as cr
from chainrule import nn
from chainrule.formats.onnx.operators import WRITERS
from chainrule.nn import functional as F
from tests.formats.onnx.test_export import IMAGE, Fn, compare

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "leaky_relu": lambda x: F.leaky_relu(x, 0.3),
    "elu": lambda x: F.elu(x, 0.4),
    "celu": lambda x: F.celu(x, 1.7),
    "softplus": lambda x: F.softplus(x, 0.5, 30.0),
    "hardtanh": lambda x: F.hardtanh(x, -0.3, 0.6),
    "hardshrink": lambda x: F.hardshrink(x, 0.9),
    "softshrink": lambda x: F.softshrink(x, 0.2),
    "threshold": lambda x: F.threshold(x, -0.4, 2.0),
    "glu of another axis": lambda x: F.glu(x, -1),
    "softmax of another axis": lambda x: F.softmax(x, 2),
    "log_softmax of another axis": lambda x: F.log_softmax(x, 1),
    "add with alpha": lambda x: cr.add(x, x.tanh(), alpha=-1.5),
    "powers": lambda x: x**3 + x.abs() ** 0.3 + (x.abs() + 1) ** -2,
    "logarithms": lambda x: (x.abs() + 1).log2() - (x.abs() + 2).log10(),
    "clamp above": lambda x: x.clamp(max=0.2),
    "sums that keep axes": lambda x: x.sum(1, keepdim=True) + x.mean((2, 3), keepdim=True),
    "sum of the last axis": lambda x: x.sum(-1),
    "unsqueeze at the end": lambda x: x.unsqueeze(-1).squeeze(-1),
    "cat of another axis": lambda x: cr.cat((x, x * 2), -1),
    "split of another axis": lambda x: x.split([2, 7], 2)[1],
    "pixel_shuffle": lambda x: F.pixel_shuffle(F.pad(x, (0, 0, 0, 0, 0, 5)), 3),
    "channel_shuffle": lambda x: F.channel_shuffle(x, 4),
    "max_pool2d": lambda x: F.max_pool2d(x, (2, 3), (3, 1), (1, 0)),
    "avg_pool2d": lambda x: F.avg_pool2d(x, (2, 3), (3, 1), (1, 0)),
    "avg_pool2d up": lambda x: F.avg_pool2d(x, 4, 3, 1, True, False),
    "local_response_norm": lambda x: F.local_response_norm(x, 3, 0.5, 0.6, 2.0),
    "pad": lambda x: F.pad(x, (0, 1, 2, 0, 1, 1), value=-2.0),
    "pad that crops": lambda x: F.pad(x, (-1, 2, 1, -3)),
    "bilinear down": lambda x: F.interpolate(x, (4, 7), mode="bilinear"),
    "bicubic with corners": lambda x: F.interpolate(x, (13, 8), None, "bicubic", True),
    "nearest by a fraction": lambda x: F.interpolate(x, scale_factor=(1.5, 0.7)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_functions_settings(name: str) -> None:
    compare(Fn(FUNCTIONS[name]), IMAGE, (2,))


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "batch norm": lambda: nn.BatchNorm2d(4, eps=0.5),
    "group norm": lambda: nn.GroupNorm(4, 4, eps=0.5),
    "layer norm": lambda: nn.LayerNorm(10, eps=0.5),
    "conv2d reflected": lambda: nn.Conv2d(4, 5, 3, padding=1, padding_mode="reflect"),
    "conv_transpose2d": lambda: nn.ConvTranspose2d(4, 2, (3, 2), (2, 3), (1, 0), (1, 0)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layers_settings(name: str) -> None:
    cr.manual_seed(0)
    compare(LAYERS[name](), IMAGE, (2,))


def test_what_is_written_by_its_name_alone_has_no_settings() -> None:
    """A base of a logarithm, say, would be lost; the scale of a gradient is none of ONNX's."""
    plain = [kind for kind, write in WRITERS.items() if write.__qualname__.startswith("_same.")]
    assert len(plain) > 20
    found = {kind.__name__: [f.name for f in dataclasses.fields(kind)] for kind in plain}
    backward_only = {"GradientReversal", "L1Penalty"}
    assert {name for name, settings in found.items() if settings} <= backward_only, found
