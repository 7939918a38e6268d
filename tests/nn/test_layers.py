"""Every layer: settings, shapes, repr, copies, the same values as its function."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.nn import functional as F
from tests.nn.simple_layers import ELSEWHERE, SIMPLE

IMAGES = (2, 4, 6, 6)

# Each layer as one would write it, its repr, and the shape it takes.
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Linear(in_features=6, out_features=3, bias=True)": (lambda: nn.Linear(6, 3), (2, 6)),
    "Linear(in_features=6, out_features=3, bias=False)": (
        lambda: nn.Linear(6, 3, bias=False),
        IMAGES,
    ),
    "Flatten(start_dim=1, end_dim=-1)": (lambda: nn.Flatten(), IMAGES),
    "Flatten(start_dim=0, end_dim=2)": (lambda: nn.Flatten(0, 2), IMAGES),
    "Unflatten(dim=1, unflattened_size=(2, 2))": (lambda: nn.Unflatten(1, (2, 2)), IMAGES),
    "Identity()": (lambda: nn.Identity(), IMAGES),
    "Conv1d(4, 6, kernel_size=(3,), stride=(2,), padding=(1,))": (
        lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1),
        (2, 4, 7),
    ),
    "Conv2d(4, 6, kernel_size=(3, 3), stride=(1, 1))": (lambda: nn.Conv2d(4, 6, 3), IMAGES),
    "Conv2d(4, 6, kernel_size=(3, 1), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2, "
    "bias=False)": (
        lambda: nn.Conv2d(4, 6, (3, 1), (2, 1), (1, 0), (1, 2), groups=2, bias=False),
        IMAGES,
    ),
    "Conv2d(4, 6, kernel_size=(3, 3), stride=(1, 1), padding=same, padding_mode=reflect)": (
        lambda: nn.Conv2d(4, 6, 3, padding="same", padding_mode="reflect"),
        IMAGES,
    ),
    "Conv3d(4, 6, kernel_size=(1, 2, 3), stride=(1, 1, 1))": (
        lambda: nn.Conv3d(4, 6, (1, 2, 3)),
        (1, 4, 3, 3, 3),
    ),
    "ConvTranspose1d(4, 6, kernel_size=(3,), stride=(2,), padding=(1,))": (
        lambda: nn.ConvTranspose1d(4, 6, 3, stride=2, padding=1),
        (2, 4, 7),
    ),
    "ConvTranspose2d(4, 6, kernel_size=(3, 2), stride=(2, 3), padding=(1, 0), dilation=(1, 2), "
    "output_padding=(1, 2), groups=2, bias=False)": (
        lambda: nn.ConvTranspose2d(4, 6, (3, 2), (2, 3), (1, 0), (1, 2), 2, False, (1, 2)),
        IMAGES,
    ),
    "ConvTranspose3d(4, 6, kernel_size=(1, 2, 3), stride=(1, 1, 1))": (
        lambda: nn.ConvTranspose3d(4, 6, (1, 2, 3)),
        (1, 4, 3, 3, 3),
    ),
    "LazyConv1d(0, 6, kernel_size=(3,), stride=(1,))": (lambda: nn.LazyConv1d(6, 3), (2, 4, 7)),
    "LazyConv2d(0, 6, kernel_size=(3, 3), stride=(2, 2), groups=2)": (
        lambda: nn.LazyConv2d(6, 3, 2, groups=2),
        IMAGES,
    ),
    "LazyConv3d(0, 6, kernel_size=(2, 2, 2), stride=(1, 1, 1), bias=False)": (
        lambda: nn.LazyConv3d(6, 2, bias=False),
        (1, 4, 3, 3, 3),
    ),
    "LazyConvTranspose1d(0, 6, kernel_size=(3,), stride=(1,))": (
        lambda: nn.LazyConvTranspose1d(6, 3),
        (2, 4, 7),
    ),
    "LazyConvTranspose2d(0, 6, kernel_size=(3, 3), stride=(2, 2), output_padding=(1, 1))": (
        lambda: nn.LazyConvTranspose2d(6, 3, 2, 0, 1),
        IMAGES,
    ),
    "LazyConvTranspose3d(0, 6, kernel_size=(2, 2, 2), stride=(1, 1, 1))": (
        lambda: nn.LazyConvTranspose3d(6, 2),
        (1, 4, 3, 3, 3),
    ),
    "DepthwiseConv1d(4, 8, kernel_size=(3,), stride=(1,), groups=4)": (
        lambda: nn.DepthwiseConv1d(4, 3, multiplier=2),
        (2, 4, 7),
    ),
    "DepthwiseConv2d(4, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), groups=4)": (
        lambda: nn.DepthwiseConv2d(4, 3, padding=1),
        IMAGES,
    ),
    "DepthwiseConv3d(4, 4, kernel_size=(2, 2, 2), stride=(1, 1, 1), groups=4)": (
        lambda: nn.DepthwiseConv3d(4, 2),
        (1, 4, 3, 3, 3),
    ),
    "RowConv1d(7, 7, kernel_size=(3,), stride=(1,), groups=7)": (
        lambda: nn.RowConv1d(7, 3),
        (2, 4, 7),
    ),
    "ConvMap2d(4, 3, connections=5, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))": (
        lambda: nn.ConvMap2d([(0, 0), (1, 0), (1, 1), (2, 2), (3, 2)], 3, padding=1),
        IMAGES,
    ),
    "ConvTransposeMap2d(4, 2, connections=3, kernel_size=(2, 2), stride=(2, 2))": (
        lambda: nn.ConvTransposeMap2d([(0, 0), (3, 0), (1, 1)], 2, 2),
        IMAGES,
    ),
    "Unfold1d(kernel_size=2, dilation=1, padding=0, stride=1)": (
        lambda: nn.Unfold1d(2),
        (2, 4, 7),
    ),
    "Unfold3d(kernel_size=2, dilation=1, padding=0, stride=1)": (
        lambda: nn.Unfold3d(2),
        (1, 4, 3, 3, 3),
    ),
    "Fold1d(output_size=4, kernel_size=2, dilation=1, padding=0, stride=1)": (
        lambda: nn.Fold1d(4, 2),
        (2, 8, 3),
    ),
    "Fold3d(output_size=2, kernel_size=1, dilation=1, padding=0, stride=1)": (
        lambda: nn.Fold3d(2, 1),
        (2, 8, 8),
    ),
    "Unfold(kernel_size=2, dilation=1, padding=0, stride=1)": (lambda: nn.Unfold(2), IMAGES),
    "Fold(output_size=(4, 5), kernel_size=2, dilation=1, padding=0, stride=1)": (
        lambda: nn.Fold((4, 5), 2),
        (2, 8, 12),
    ),
    "MaxPool1d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)": (
        lambda: nn.MaxPool1d(2),
        (2, 4, 7),
    ),
    "MaxPool2d(kernel_size=(3, 2), stride=2, padding=1, dilation=1, ceil_mode=True)": (
        lambda: nn.MaxPool2d((3, 2), 2, 1, ceil_mode=True),
        IMAGES,
    ),
    "MaxPool3d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)": (
        lambda: nn.MaxPool3d(2),
        (1, 4, 3, 3, 3),
    ),
    "AvgPool1d(kernel_size=(2,), stride=(2,), padding=(0,))": (
        lambda: nn.AvgPool1d(2),
        (2, 4, 7),
    ),
    "AvgPool2d(kernel_size=3, stride=2, padding=1)": (lambda: nn.AvgPool2d(3, 2, 1), IMAGES),
    "AvgPool3d(kernel_size=2, stride=2, padding=0)": (lambda: nn.AvgPool3d(2), (1, 4, 3, 3, 3)),
    "AdaptiveAvgPool1d(output_size=3)": (lambda: nn.AdaptiveAvgPool1d(3), (2, 4, 7)),
    "AdaptiveAvgPool2d(output_size=(3, None))": (
        lambda: nn.AdaptiveAvgPool2d((3, None)),
        IMAGES,
    ),
    "AdaptiveAvgPool3d(output_size=1)": (lambda: nn.AdaptiveAvgPool3d(1), (1, 4, 3, 3, 3)),
    "AdaptiveMaxPool1d(output_size=3)": (lambda: nn.AdaptiveMaxPool1d(3), (2, 4, 7)),
    "AdaptiveMaxPool2d(output_size=2)": (lambda: nn.AdaptiveMaxPool2d(2), IMAGES),
    "AdaptiveMaxPool3d(output_size=2)": (lambda: nn.AdaptiveMaxPool3d(2), (1, 4, 3, 3, 3)),
    "LPPool1d(norm_type=2, kernel_size=3, stride=None, ceil_mode=False)": (
        lambda: nn.LPPool1d(2, 3),
        (2, 4, 7),
    ),
    "LPPool2d(norm_type=1.0, kernel_size=(3, 2), stride=2, ceil_mode=True)": (
        lambda: nn.LPPool2d(1.0, (3, 2), 2, True),
        IMAGES,
    ),
    "LPPool3d(norm_type=2, kernel_size=2, stride=None, ceil_mode=False)": (
        lambda: nn.LPPool3d(2, 2),
        (1, 4, 3, 3, 3),
    ),
    "FractionalMaxPool2d()": (lambda: nn.FractionalMaxPool2d(2, output_ratio=0.5), IMAGES),
    "FractionalMaxPool3d()": (lambda: nn.FractionalMaxPool3d(1, (2, 1, 2)), (1, 4, 3, 3, 3)),
    "GlobalAvgPool(keepdim=True)": (lambda: nn.GlobalAvgPool(), IMAGES),
    "GlobalMaxPool(keepdim=False, return_indices=False)": (lambda: nn.GlobalMaxPool(False), IMAGES),
    "SpatialPyramidPool1d(levels=(1, 3), mode='avg', padded=False)": (
        lambda: nn.SpatialPyramidPool1d((1, 3), "avg"),
        (2, 4, 7),
    ),
    "SpatialPyramidPool2d(levels=2, mode='max', padded=True)": (
        lambda: nn.SpatialPyramidPool2d(2, padded=True),
        IMAGES,
    ),
    "SpatialPyramidPool3d(levels=2, mode='max', padded=False)": (
        lambda: nn.SpatialPyramidPool3d(2),
        (1, 4, 3, 3, 3),
    ),
    "SubSampling1d(4, kernel_size=(2,), stride=(2,))": (lambda: nn.SubSampling1d(4, 2), (2, 4, 7)),
    "SubSampling2d(4, kernel_size=(3, 2), stride=(2, 2), bias=False, divisor_override=1)": (
        lambda: nn.SubSampling2d(4, (3, 2), 2, False, 1),
        IMAGES,
    ),
    "SubSampling3d(4, kernel_size=(2, 2, 2), stride=(1, 1, 1))": (
        lambda: nn.SubSampling3d(4, 2, 1),
        (1, 4, 3, 3, 3),
    ),
    "BatchNorm1d(4, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)": (
        lambda: nn.BatchNorm1d(4),
        (3, 4, 5),
    ),
    "BatchNorm2d(4, eps=0.001, momentum=None, affine=True, bias=False, track_running_stats=True)": (
        lambda: nn.BatchNorm2d(4, 1e-3, None, bias=False),
        IMAGES,
    ),
    "BatchNorm3d(4, eps=1e-05, momentum=0.1, affine=False, bias=False, "
    "track_running_stats=False)": (
        lambda: nn.BatchNorm3d(4, affine=False, track_running_stats=False),
        (1, 4, 3, 3, 3),
    ),
    "LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=1.0)": (
        lambda: nn.LocalResponseNorm(5),
        IMAGES,
    ),
    "InstanceNorm1d(4, eps=1e-05, momentum=0.1, affine=True, bias=True, "
    "track_running_stats=False)": (
        lambda: nn.InstanceNorm1d(4, affine=True),
        (2, 4, 7),
    ),
    "InstanceNorm2d(4, eps=0.001, momentum=None, affine=True, bias=False, "
    "track_running_stats=True)": (
        lambda: nn.InstanceNorm2d(4, 1e-3, None, True, True, bias=False),
        IMAGES,
    ),
    "InstanceNorm3d(4, eps=1e-05, momentum=0.1, affine=False, bias=False, "
    "track_running_stats=False)": (
        lambda: nn.InstanceNorm3d(4),
        (1, 4, 3, 3, 3),
    ),
    "LayerNorm((4, 5), eps=0.001, elementwise_affine=True, bias=True)": (
        lambda: nn.LayerNorm([4, 5], 1e-3),
        (2, 3, 4, 5),
    ),
    "RMSNorm((7,), eps=None, elementwise_affine=True)": (lambda: nn.RMSNorm(7), (2, 4, 7)),
    "GroupNorm(2, 4, eps=1e-05, affine=True, bias=True)": (lambda: nn.GroupNorm(2, 4), IMAGES),
    "CrossMapLRN2d(3, alpha=0.5, beta=0.75, k=1)": (lambda: nn.CrossMapLRN2d(3, 0.5), IMAGES),
    "LocalResponseNormWithin(size=3, alpha=0.5, beta=0.75, k=1.0)": (
        lambda: nn.LocalResponseNormWithin(3, 0.5),
        IMAGES,
    ),
    "MeanVarianceNorm(normalize_variance=True, across_channels=True, eps=1e-09)": (
        lambda: nn.MeanVarianceNorm(across_channels=True),
        IMAGES,
    ),
    "SubtractiveNorm(kernel=(3, 3))": (lambda: nn.SubtractiveNorm(np.ones((3, 3))), IMAGES),
    "DivisiveNorm(threshold=0.1, thresval=0.2)": (lambda: nn.DivisiveNorm(None, 0.1, 0.2), IMAGES),
    "ContrastiveNorm(kernel=(3,), threshold=0.0001, thresval=0.0001)": (
        lambda: nn.ContrastiveNorm(cr.ones(3)),
        IMAGES,
    ),
    "Dropout(p=0.5, inplace=False)": (lambda: nn.Dropout(), IMAGES),
    "Dropout1d(p=0.5, inplace=False)": (lambda: nn.Dropout1d(), (2, 4, 7)),
    "Dropout2d(p=0.2, inplace=True)": (lambda: nn.Dropout2d(0.2, True), IMAGES),
    "Dropout3d(p=0.5, inplace=False)": (lambda: nn.Dropout3d(), (1, 4, 3, 3, 3)),
    "ReLU()": (lambda: nn.ReLU(), IMAGES),
    "ReLU(inplace=True)": (lambda: nn.ReLU(True), IMAGES),
    "LeakyReLU(negative_slope=0.2)": (lambda: nn.LeakyReLU(0.2), IMAGES),
    "PReLU(num_parameters=4)": (lambda: nn.PReLU(4), IMAGES),
    "ELU(alpha=1.0)": (lambda: nn.ELU(), IMAGES),
    "Softplus(beta=1.0, threshold=20.0)": (lambda: nn.Softplus(), IMAGES),
    "Sigmoid()": (lambda: nn.Sigmoid(), IMAGES),
    "Tanh()": (lambda: nn.Tanh(), IMAGES),
    "LogSigmoid()": (lambda: nn.LogSigmoid(), IMAGES),
    "BNLL()": (lambda: nn.BNLL(), IMAGES),
    "CELU(alpha=1.5)": (lambda: nn.CELU(1.5), IMAGES),
    "SELU(inplace=True)": (lambda: nn.SELU(True), IMAGES),
    "GELU(approximate='none')": (lambda: nn.GELU(), IMAGES),
    "GELU(approximate='tanh')": (lambda: nn.GELU("tanh"), IMAGES),
    "SiLU()": (lambda: nn.SiLU(), IMAGES),
    "Mish()": (lambda: nn.Mish(), IMAGES),
    "GLU(dim=1)": (lambda: nn.GLU(1), IMAGES),
    "RReLU(lower=0.125, upper=0.3333333333333333)": (lambda: nn.RReLU(), IMAGES),
    "RReLU(lower=0.1, upper=0.9, inplace=True)": (lambda: nn.RReLU(0.1, 0.9, True), IMAGES),
    "ReLU6()": (lambda: nn.ReLU6(), IMAGES),
    "ReLU6(inplace=True)": (lambda: nn.ReLU6(True), IMAGES),
    "Hardtanh(min_val=-0.5, max_val=0.5)": (lambda: nn.Hardtanh(-0.5, 0.5), IMAGES),
    "Hardsigmoid()": (lambda: nn.Hardsigmoid(), IMAGES),
    "Hardswish()": (lambda: nn.Hardswish(), IMAGES),
    "Hardshrink(0.5)": (lambda: nn.Hardshrink(), IMAGES),
    "Softshrink(0.25)": (lambda: nn.Softshrink(0.25), IMAGES),
    "Softsign()": (lambda: nn.Softsign(), IMAGES),
    "Tanhshrink()": (lambda: nn.Tanhshrink(), IMAGES),
    "Threshold(threshold=0.1, value=20)": (lambda: nn.Threshold(0.1, 20), IMAGES),
    "Softmax2d()": (lambda: nn.Softmax2d(), IMAGES),
    "AlphaDropout(p=0.3, inplace=False)": (lambda: nn.AlphaDropout(0.3), IMAGES),
    "FeatureAlphaDropout(p=0.5, inplace=True)": (
        lambda: nn.FeatureAlphaDropout(inplace=True),
        IMAGES,
    ),
    "Softmax(dim=1)": (lambda: nn.Softmax(1), IMAGES),
    "LogSoftmax(dim=-1)": (lambda: nn.LogSoftmax(dim=-1), IMAGES),
    "Softmin(dim=0)": (lambda: nn.Softmin(0), IMAGES),
    "Maxout(pool_size=2, dim=1)": (lambda: nn.Maxout(2), IMAGES),
    "L1Cost(reduction='sum')": (lambda: nn.L1Cost(), IMAGES),
}
LAYERS |= SIMPLE


def padded(kind: str, d: int) -> Any:
    more = (0.5,) if kind == "Constant" else ()
    return lambda: getattr(nn, f"{kind}Pad{d}d")(1, *more)


PADDING = ("Zero", "Constant", "Reflection", "Replication", "Circular")
LAYERS |= {
    repr(padded(kind, d)()): (padded(kind, d), (2, 4, 3, 5, 2)[: d + 2])
    for kind in PADDING
    for d in (1, 2, 3)
}
LAYERS |= {
    "Upsample(scale_factor=1.5, mode='bicubic')": (
        lambda: nn.Upsample(None, 1.5, "bicubic"),
        IMAGES,
    ),
    "UpsamplingNearest2d(size=9, mode='nearest')": (lambda: nn.UpsamplingNearest2d(9), IMAGES),
    "UpsamplingBilinear2d(scale_factor=2.0, mode='bilinear')": (
        lambda: nn.UpsamplingBilinear2d(scale_factor=2),
        IMAGES,
    ),
    "PixelShuffle(upscale_factor=2)": (lambda: nn.PixelShuffle(2), IMAGES),
    "PixelUnshuffle(downscale_factor=3)": (lambda: nn.PixelUnshuffle(3), IMAGES),
    "ChannelShuffle(groups=2)": (lambda: nn.ChannelShuffle(2), IMAGES),
}
every = pytest.mark.parametrize("text", LAYERS)

SEVERAL_INPUTS = {nn.MaxUnpool1d, nn.MaxUnpool2d, nn.MaxUnpool3d}
"""Layers of more than one input, which are tested beside their functions."""


def build(text: str) -> tuple[nn.Module, tuple[int, ...]]:
    make, shape = LAYERS[text]
    return make(), shape


def output(layer: nn.Module, x: cr.Tensor) -> np.ndarray:
    cr.manual_seed(5)
    return np.array(layer(x).detach())


def test_every_layer_stands_in_the_table() -> None:
    listed = {type(make()) for make, _ in LAYERS.values()}
    layers = {
        value
        for name in nn.__all__
        if isinstance(value := getattr(nn, name), type)
        and issubclass(value, nn.Module)
        and not name.endswith(("Loss", "NLLLoss2d", "List", "Dict", "Module", "Sequential"))
        and not name.endswith(("Criterion", "CriterionTable"))
    }
    assert layers - SEVERAL_INPUTS - ELSEWHERE == listed


@every
def test_repr_shows_the_settings(text: str) -> None:
    assert repr(build(text)[0]) == text


@every
def test_gradients_reach_input_and_parameters(text: str) -> None:
    layer, shape = build(text)
    x = cr.randn(*shape, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None
    for name, p in layer.named_parameters():
        assert p.grad is not None, name
        assert p.grad.shape == p.shape


@every
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_equal_and_independent(text: str, duplicate: Callable[[Any], Any]) -> None:
    layer, shape = build(text)
    twin = duplicate(layer)
    assert type(twin) is type(layer)
    assert repr(twin) == text
    x = cr.randn(*shape)
    np.testing.assert_array_equal(output(twin, x), output(layer, x))
    for p, q in zip(layer.parameters(), twin.parameters(), strict=True):
        assert not np.shares_memory(p.array, q.array)


@every
def test_double_precision_stays(text: str) -> None:
    layer, shape = build(text)
    layer.double()
    assert layer(cr.randn(*shape, dtype=cr.float64)).dtype == np.float64


@every
def test_on_meta_there_are_shapes_without_values(text: str) -> None:
    layer, shape = build(text)
    expected = layer(cr.randn(*shape)).shape
    state = {name: np.array(t) for name, t in layer.state_dict().items()}
    given = layer(cr.zeros(*shape, device="meta"))
    assert given.is_meta
    assert given.shape == expected
    for name, t in layer.state_dict().items():
        np.testing.assert_array_equal(t, state[name], err_msg=name)


@every
def test_signature_and_docstring_are_there(text: str) -> None:
    cls = type(build(text)[0])
    doc = inspect.getdoc(cls) or ""
    assert ">>>" in doc
    assert getattr(nn, cls.__name__) is cls
    assert cls.__module__.startswith("chainrule.nn.")


@every
def test_by_hand_gradient_is_the_graphs(text: str) -> None:
    layer, shape = build(text)
    x = cr.randn(*shape, requires_grad=True)
    y = layer(x)
    gy = cr.randn(*y.shape)
    y.backward(gy)
    expected = {n: np.array(p.grad) for n, p in layer.named_parameters()}
    layer.zero_grad()
    gx = layer.backward(x.detach(), gy)
    np.testing.assert_allclose(gx, x.grad, rtol=1e-6, atol=1e-6)
    for n, p in layer.named_parameters():
        np.testing.assert_allclose(p.grad, expected[n], rtol=1e-6, atol=1e-6)


def test_layers_built_on_meta_hold_no_memory() -> None:
    big = nn.Linear(100_000, 100_000, device="meta")
    assert big.weight.is_meta
    assert big.weight.requires_grad
    assert big.weight.shape == (100_000, 100_000)
    assert big(cr.zeros(3, 100_000, device="meta")).shape == (3, 100_000)
    conv = nn.Conv2d(4, 4, 3, device="meta", dtype=cr.float64)
    assert conv.weight.dtype == np.float64
    assert nn.BatchNorm2d(4, device="meta").running_mean.is_meta


def test_settings_are_attributes_and_may_change() -> None:
    layer = nn.LeakyReLU(0.5)
    x = cr.tensor([-2.0, 2.0])
    assert layer.negative_slope == 0.5
    layer.negative_slope = 0.25
    assert layer(x).tolist() == [-0.5, 2.0]
    assert repr(layer) == "LeakyReLU(negative_slope=0.25)"
    conv = nn.Conv2d(4, 6, 3, 2, 1)
    assert (conv.in_channels, conv.out_channels, conv.groups) == (4, 6, 1)
    assert (conv.kernel_size, conv.stride, conv.padding) == ((3, 3), (2, 2), (1, 1))
    assert conv.dilation == (1, 1)
    assert conv.padding_mode == "zeros"
    pool = nn.MaxPool2d(3, return_indices=True)
    assert (pool.kernel_size, pool.stride) == (3, 3)
    values, indices = pool(cr.randn(1, 1, 6, 6))
    assert indices.dtype == np.int64
    assert values.shape == indices.shape


def test_stateless_signatures() -> None:
    assert str(inspect.signature(nn.ELU)) == "(alpha=1.0, inplace=False)"
    assert str(inspect.signature(nn.Softmax)) == "(dim=None)"
    for wrong in (
        lambda: nn.ReLU(1, 2),
        lambda: nn.Sigmoid(3),
        lambda: nn.Maxout(),
        lambda: nn.ELU(slope=1),
        lambda: nn.AdaptiveAvgPool2d(),
    ):
        with pytest.raises(TypeError, match="expected settings"):
            wrong()


@pytest.mark.parametrize("kind", [nn.Softmax, nn.LogSoftmax, nn.Softmin])
def test_a_guessed_dimension_warns_at_the_callers_line(kind: Any) -> None:
    with pytest.warns(UserWarning, match="dim=1") as caught:
        kind()(cr.zeros(2, 3))
    assert caught[0].filename == __file__


def test_stateless_makes_classes_that_can_be_derived_from() -> None:
    class Half(nn.LeakyReLU):  # type: ignore[misc, valid-type]
        """One with another default."""

        def __init__(self) -> None:
            super().__init__(0.5)

    assert Half()(cr.tensor([-2.0])).item() == -1.0
    assert isinstance(Half(), nn.LeakyReLU)
    assert not isinstance(nn.ReLU(), nn.LeakyReLU)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError, r"3 % 2 = 0, not 1"),
        (lambda: nn.Conv2d(4, 3, 3, groups=2), ValueError, "out_channels"),
        (lambda: nn.Conv2d(4, 4, 3, groups=0), ValueError, "groups"),
        (lambda: nn.Conv2d(4, 4, 0), ValueError, "kernel_size"),
        (lambda: nn.Conv2d(4, 4, (3, 3, 3)), ValueError, "1 or 2 integers"),
        (lambda: nn.Conv2d(4, 4, 3, stride=0), ValueError, "stride"),
        (lambda: nn.Conv2d(4, 4, 3, padding=-1), ValueError, "padding"),
        (lambda: nn.Conv2d(4, 4, 3, padding="full"), ValueError, "'same'"),
        (lambda: nn.Conv2d(4, 4, 3, 2, padding="same"), ValueError, "stride 1"),
        (lambda: nn.Conv2d(4, 4, 3, padding_mode="wrap"), ValueError, "circular"),
        (lambda: nn.Conv2d(4.0, 4, 3), TypeError, "in_channels"),  # type: ignore[arg-type]
        (lambda: nn.Conv2d(4, -1, 3), ValueError, "out_channels"),
        (lambda: nn.Linear(3, -1), ValueError, "out_features"),
        (lambda: nn.Linear("3", 1), TypeError, "in_features"),  # type: ignore[arg-type]
        (lambda: nn.Linear(3, 1, dtype=cr.int64), TypeError, "float"),
        (lambda: nn.MaxPool2d("3"), TypeError, "kernel_size"),  # type: ignore[arg-type]
        (lambda: nn.MaxPool2d((1, 2, 3)), ValueError, "1 or 2"),
        (lambda: nn.Dropout(1.5), ValueError, r"\[0, 1\]"),
        (lambda: nn.Dropout(-0.1), ValueError, r"\[0, 1\]"),
        (lambda: nn.Dropout(float("nan")), ValueError, r"\[0, 1\]"),
        (lambda: nn.Dropout("x"), TypeError, "number"),  # type: ignore[arg-type]
        (lambda: nn.BatchNorm2d(-1), ValueError, "num_features"),
        (lambda: nn.LocalResponseNorm(0), ValueError, "size"),
        (lambda: nn.InstanceNorm2d(-1), ValueError, "InstanceNorm2d num_features"),
        (lambda: nn.LayerNorm("a"), TypeError, "LayerNorm normalized_shape: expected a tuple"),
        (lambda: nn.LayerNorm((2, -1)), ValueError, "LayerNorm normalized_shape: expected at l"),
        (lambda: nn.RMSNorm(2.0), TypeError, "RMSNorm normalized_shape"),
        (lambda: nn.GroupNorm(0, 4), ValueError, "num_groups: expected at least 1"),
        (
            lambda: nn.GroupNorm(3, 4),
            ValueError,
            r"num_channels \(4\) that divide.*4 % 3 = 0, not 1",
        ),
        (
            lambda: nn.CrossMapLRN2d(3)(cr.zeros(2, 3, 4)),
            ValueError,
            r"CrossMapLRN2d.*\(N, C, H, W",
        ),
        (
            lambda: nn.InstanceNorm2d(3)(cr.zeros(3, 4)),
            ValueError,
            r"\(N, C, H, W\) or \(C, H, W\)",
        ),
        (
            lambda: nn.InstanceNorm1d(3, affine=True)(cr.zeros(2, 4, 5)),
            ValueError,
            "InstanceNorm1d: expected 3 channels on axis 1, not 4",
        ),
        (lambda: nn.SubtractiveNorm(cr.ones(4)), ValueError, "SubtractiveNorm: expected a kernel"),
        (lambda: nn.ContrastiveNorm("box"), TypeError, "ContrastiveNorm kernel"),
        (lambda: nn.Unflatten(1, 3), TypeError, "tuple"),  # type: ignore[arg-type]
        (lambda: nn.Hardtanh(1.0, 1.0), ValueError, "Hardtanh: expected min_val < max_val"),
        (lambda: nn.AlphaDropout(-0.5), ValueError, r"AlphaDropout: .*\[0, 1\]; got p -0.5"),
        (lambda: nn.Softmax2d()(cr.zeros(2, 3)), ValueError, "Softmax2d: expected a tensor"),
        (lambda: nn.RReLU(0.5, 0.1)(cr.zeros(2)), ValueError, "rrelu: expected finite lower <="),
        (lambda: nn.GELU("exact")(cr.zeros(2)), ValueError, "gelu: expected approximate 'none'"),
        (lambda: nn.PReLU(1.5), TypeError, "num_parameters"),  # type: ignore[arg-type]
        (lambda: nn.CrossEntropyLoss(reduction="avg"), ValueError, "'mean'"),
        (lambda: nn.MultiMarginLoss(p=3), ValueError, "p = 1 or 2"),
        (lambda: nn.MultiMarginLoss(weight=cr.ones(2, 2)), ValueError, r"\(C,\)"),
    ],
)
def test_constructor_misuse(make: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        make()
    assert isinstance(caught.value, cr.ChainruleError)


def test_a_missing_flatten_is_suggested() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Linear(2 * 4 * 4, 3))
    with pytest.raises(ValueError, match=r"flatten.*1 \(Linear\)"):
        net(cr.zeros(5, 1, 6, 6))


def test_convolutions_pad_as_the_function_does() -> None:
    x = cr.randn(2, 4, 7, 6)
    for mode in ("reflect", "replicate", "circular"):
        for padding, widths in (
            ((2, 1), (1, 1, 2, 2)),
            ("same", (0, 1, 2, 2)),
            ("valid", (0,) * 4),
        ):
            conv = nn.Conv2d(4, 3, (3, 2), padding=padding, dilation=(2, 1), padding_mode=mode)
            wide = F.pad(x, widths, mode=mode)
            expected = F.conv2d(wide, conv.weight, conv.bias, dilation=(2, 1))
            np.testing.assert_array_equal(conv(x).detach(), expected.detach())


def test_losses_hold_their_weights_as_buffers() -> None:
    weight = cr.tensor([1.0, 2.0, 3.0])
    for loss in (
        nn.CrossEntropyLoss(weight),
        nn.NLLLoss(weight),
        nn.MultiMarginLoss(weight=weight),
    ):
        assert list(loss.state_dict()) == ["weight"]
        assert loss.double().weight.dtype == np.float64
        assert repr(loss) == f"{type(loss).__name__}()"
    both = nn.BCEWithLogitsLoss(weight, pos_weight=weight)
    assert list(both.state_dict()) == ["weight", "pos_weight"]
    assert list(nn.CrossEntropyLoss().state_dict()) == []


def test_losses_pass_their_settings_on() -> None:
    x, t = cr.randn(4, 3), cr.tensor([0, 2, 1, 2])
    weight = cr.tensor([1.0, 2.0, 3.0])
    loss = nn.CrossEntropyLoss(weight, ignore_index=2, reduction="sum", label_smoothing=0.1)
    expected = F.cross_entropy(x, t, weight, ignore_index=2, reduction="sum", label_smoothing=0.1)
    assert loss(x, t).item() == expected.item()
    margin = nn.MultiMarginLoss(2, 0.5, weight, reduction="none")
    expected = F.multi_margin_loss(x, t, 2, 0.5, weight, reduction="none")
    np.testing.assert_array_equal(margin(x, t), expected)
    with pytest.warns(UserWarning, match="size_average"):
        assert nn.MSELoss(size_average=False).reduction == "sum"
    with pytest.warns(UserWarning, match="size_average"):
        assert nn.L1Loss(None, False).reduction == "none"
