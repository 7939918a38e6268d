"""Transposed, lazy, depthwise, table and Keras's convolution layers."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy import signal

import chainrule as cr
from chainrule import nn
from chainrule.nn import connections, keras
from chainrule.nn import functional as F
from chainrule.nn.parameter import UninitializedParameter


def raises(make: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        make()
    assert isinstance(caught.value, cr.ChainruleError)


# Transposed


def test_output_size_chooses_between_the_sizes_of_a_stride() -> None:
    up = nn.ConvTranspose2d(3, 2, 3, stride=3, padding=1)
    x = cr.randn(1, 3, 4, 5)
    assert up(x).shape == (1, 2, 10, 13)
    for size in product((10, 11, 12), (13, 14, 15)):
        assert up(x, size).shape == (1, 2, *size)
        assert up(x, output_size=[1, 2, *size]).shape == (1, 2, *size)
        assert up(x[0], (9, *size)).shape == (2, *size)
    raises(lambda: up(x, (9, 13)), ValueError, r"sizes from \(10, 13\) to \(12, 15\); got value")
    raises(lambda: up(x, (10, 16)), ValueError, r"sizes from \(10, 13\) to \(12, 15\)")
    raises(lambda: up(x, (10,)), ValueError, "output_size: expected 2 or 4 sizes, not 1")
    raises(lambda: up(x, 10), TypeError, "output_size")  # type: ignore[arg-type]
    raises(lambda: up(x[0, 0], (10, 13)), ValueError, r"\(N, C, H, W\)")


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: nn.ConvTranspose2d(3, 4, 3, groups=2), ValueError, "in_channels that divide"),
        (lambda: nn.ConvTranspose2d(4, 3, 3, groups=2), ValueError, "out_channels that divide"),
        (lambda: nn.ConvTranspose2d(4, 4, 3, output_padding=-1), ValueError, "output_padding"),
        (lambda: nn.ConvTranspose2d(4, 4, 3, output_padding=1.0), TypeError, "output_padding"),  # type: ignore[arg-type]
        (lambda: nn.ConvTranspose2d(4, 4, 3, padding="same"), TypeError, "padding in integers"),
        (lambda: nn.ConvTranspose1d(4, 4, 3, padding_mode="reflect"), ValueError, "'zeros'"),
        (lambda: nn.ConvTranspose3d(4, 4, (3, 3)), ValueError, "1 or 3 integers"),
    ],
)
def test_misuse(make: Callable[[], Any], error: type[Exception], text: str) -> None:
    raises(make, error, text)


def test_initial_values_are_bounded_by_the_weights_second_axis() -> None:
    layer = nn.ConvTranspose2d(3, 8, 5, groups=1)
    bound = 1 / np.sqrt(8 * 25)
    for p in (layer.weight, layer.bias):
        assert 0.5 * bound < np.abs(p.array).max() <= bound


# Lazy

LAZY = {
    "Conv1d": (2, 4, 7),
    "Conv2d": (2, 4, 6, 6),
    "Conv3d": (1, 4, 3, 4, 3),
    "ConvTranspose1d": (2, 4, 7),
    "ConvTranspose2d": (2, 4, 6, 6),
    "ConvTranspose3d": (1, 4, 3, 4, 3),
}


@pytest.mark.parametrize("kind", LAZY)
@pytest.mark.parametrize("single", [False, True])
def test_a_lazy_layer_becomes_the_layer_with_the_values_it_would_have_had(
    kind: str, single: bool
) -> None:
    x = cr.randn(*LAZY[kind][single:])
    cr.manual_seed(3)
    eager = getattr(nn, kind)(4, 6, 3, 2, groups=2)
    cr.manual_seed(3)
    lazy = getattr(nn, f"Lazy{kind}")(6, 3, 2, groups=2)
    assert isinstance(lazy, getattr(nn, kind))
    assert lazy.has_uninitialized_params()
    assert all(isinstance(p, UninitializedParameter) for p in lazy.parameters())
    cr.rand(5)  # draws in between change nothing
    y = lazy(x)
    assert type(lazy) is type(eager)
    assert (repr(lazy), lazy.in_channels) == (repr(eager), 4)
    np.testing.assert_array_equal(y.detach(), eager(x).detach())
    for p, q in zip(lazy.parameters(), eager.parameters(), strict=True):
        assert type(p) is nn.Parameter
        np.testing.assert_array_equal(p.array, q.array)


def test_a_lazy_layer_keeps_its_parameters_and_their_dtype() -> None:
    lazy = nn.LazyConv2d(2, 3).double()
    held = list(lazy.parameters())
    lazy(cr.randn(1, 3, 5, 5, dtype=cr.float64)).sum().backward()
    assert [p is q for p, q in zip(held, lazy.parameters(), strict=True)] == [True, True]
    assert held[0].shape == (2, 3, 3, 3)
    assert held[0].grad.dtype == np.float64
    assert list(nn.LazyConv2d(2, 3, bias=False).state_dict()) == ["weight"]


def test_an_optimiser_may_hold_a_lazy_layers_parameters() -> None:
    net = nn.Sequential(nn.LazyConv2d(2, 3), nn.Flatten())
    optimiser = cr.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(cr.ones(1, 3, 5, 5)).sum().backward()
    before = net[0].weight.array.copy()
    for _ in range(2):
        optimiser.step()
    np.testing.assert_allclose(net[0].weight.array, before - 0.1 * 9 * (1 + 1.9), rtol=1e-4)


def test_a_lazy_layer_takes_the_shapes_of_a_state() -> None:
    net = nn.Sequential(nn.LazyConv2d(4, 3, groups=2), nn.LazyConvTranspose2d(2, 2))
    full = nn.Sequential(nn.Conv2d(6, 4, 3, groups=2), nn.ConvTranspose2d(4, 2, 2))
    untouched = net.load_state_dict(net.state_dict())
    assert untouched == ([], [])
    assert net[0].has_uninitialized_params()
    net.load_state_dict(full.state_dict())
    assert not net[0].has_uninitialized_params()
    x = cr.randn(2, 6, 5, 5)
    np.testing.assert_array_equal(net(x).detach(), full(x).detach())
    assert repr(net) == repr(full)
    with pytest.raises(cr.CheckpointError, match=r"0\.weight is \(4, 3, 3, 3\)"):
        nn.Sequential(nn.Conv2d(5, 4, 3)).load_state_dict(
            {f"0.{k}": v for k, v in full[0].state_dict().items()}
        )


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_of_a_lazy_layer_draw_the_same(duplicate: Callable[[Any], Any]) -> None:
    lazy = nn.LazyConv2d(4, 3)
    twin, x = duplicate(lazy), cr.randn(1, 3, 5, 5)
    np.testing.assert_array_equal(lazy(x).detach(), twin(x).detach())
    assert twin.weight is not lazy.weight


def test_misuse_of_lazy_layers() -> None:
    lazy = nn.LazyConv2d(4, 3, groups=2)
    raises(lambda: lazy(cr.zeros(1, 3, 5, 5)), ValueError, "3 % 2 = 0, not 1")
    raises(lambda: lazy(cr.zeros(5, 5)), ValueError, "an input of 4 axes, or 3 without a batch")
    assert lazy.has_uninitialized_params()
    assert lazy.in_channels == 0
    raises(lambda: nn.LazyConv2d(3, 3, groups=2), ValueError, "out_channels that divide")
    assert lazy(cr.zeros(1, 6, 5, 5, device="meta")).shape == (1, 4, 3, 3)
    assert lazy.weight.shape == (4, 3, 3, 3)


# Depthwise


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("multiplier", [1, 3])
def test_depthwise_layers_convolve_each_channel(d: int, multiplier: int) -> None:
    layer = getattr(nn, f"DepthwiseConv{d}d")(4, 3, 2, 1, multiplier=multiplier).double()
    x = cr.randn(2, 4, *(6,) * d, dtype=cr.float64)
    y = layer(x).detach().numpy()
    assert layer.weight.shape == (4 * multiplier, 1, *(3,) * d)
    convolve = getattr(F, f"conv{d}d")
    for o in range(4 * multiplier):
        one = convolve(x[:, o // multiplier, None], layer.weight[o : o + 1], layer.bias[o : o + 1],
                       2, 1)  # fmt: skip
        np.testing.assert_allclose(y[:, o, None], one.detach(), atol=1e-12)


def test_a_row_convolution_has_the_features_last() -> None:
    layer = nn.RowConv1d(3, 2, 2).double()
    x = np.random.default_rng(0).standard_normal((2, 7, 3))
    w, b = layer.weight.array, layer.bias.array
    expected = [
        [b + w[:, 0, 0] * image[2 * k] + w[:, 0, 1] * image[2 * k + 1] for k in range(3)]
        for image in x
    ]
    np.testing.assert_allclose(layer(cr.tensor(x)).detach(), expected)
    np.testing.assert_allclose(layer(cr.tensor(x[0])).detach(), expected[0])
    first = nn.RowConv1d(3, 2, 2, feat_first=True).double()
    first.load_state_dict(layer.state_dict())
    y = first(cr.tensor(x).transpose(1, 2)).detach()
    np.testing.assert_allclose(np.swapaxes(y, 1, 2), expected)
    raises(lambda: layer(cr.zeros(3)), ValueError, r"\(N, C, L\)")
    raises(lambda: nn.RowConv1d(0, 2), ValueError, "RowConv1d channels")
    raises(lambda: nn.DepthwiseConv2d(2, 3, multiplier=0), ValueError, "multiplier")


# Tables of connections


def test_tables() -> None:
    assert connections.full(2, 3).tolist() == [[0, 0], [1, 0], [0, 1], [1, 1], [0, 2], [1, 2]]
    assert connections.one_to_one(3).tolist() == [[0, 0], [1, 1], [2, 2]]
    table = connections.lenet5_c3()
    # Table I of the paper, column by column
    columns = "XXX... .XXX.. ..XXX. ...XXX X...XX XX...X XXXX.. .XXXX. ..XXXX X..XXX XX..XX XXX..X "
    columns += "XX.XX. .XX.XX X.XX.X XXXXXX"
    for output, column in enumerate(columns.split()):
        seen = {i for i, mark in enumerate(column) if mark == "X"}
        assert set(table[table[:, 1] == output, 0].tolist()) == seen
    assert len(table) == columns.count("X") == 60


@pytest.mark.parametrize(("n", "m", "k"), [(6, 4, 3), (7, 9, 2), (5, 3, 5), (4, 8, 1)])
def test_random_tables_use_all_inputs_alike(n: int, m: int, k: int) -> None:
    table = connections.random(n, m, k, cr.Generator(1))
    assert table[:, 1].tolist() == [o for o in range(m) for _ in range(k)]
    assert len({tuple(row) for row in table.tolist()}) == m * k
    per_pack = n // k
    for start in range(0, m, per_pack):
        dealt = table[start * k : (start + per_pack) * k, 0].tolist()
        assert len(set(dealt)) == len(dealt)
    again = connections.random(n, m, k, cr.Generator(1))
    np.testing.assert_array_equal(table, again)
    raises(lambda: connections.random(n, m, n + 1), ValueError, f"at most the {n} inputs")
    raises(lambda: connections.full(0, 1), ValueError, "full inputs")


def by_connections(x: np.ndarray, layer: Any, mode: str) -> np.ndarray:
    """Sum SciPy's correlations or convolutions over the connections."""
    planes: list[list[Any]] = [[] for _ in range(layer.out_channels)]
    run = signal.correlate2d if mode == "valid" else signal.convolve2d
    for (source, target), w in zip(layer.table.array, layer.weight.array, strict=True):
        planes[target].append(np.stack([run(image[source], w, mode) for image in x]))
    return np.stack([sum(p) for p in planes], axis=1) + layer.bias.array[:, None, None]


@pytest.mark.parametrize("kind", ["ConvMap2d", "ConvTransposeMap2d"])
@pytest.mark.parametrize(
    "table", [connections.lenet5_c3(), connections.full(3, 2), connections.random(5, 4, 3)]
)
def test_map_layers_against_scipy(kind: str, table: Any) -> None:
    layer = getattr(nn, kind)(table, (3, 2)).double()
    x = np.random.default_rng(0).standard_normal((2, layer.in_channels, 7, 6))
    mode = "valid" if kind == "ConvMap2d" else "full"
    input = cr.tensor(x, requires_grad=True)
    y = layer(input)
    np.testing.assert_allclose(y.detach(), by_connections(x, layer, mode), atol=1e-12)
    np.testing.assert_allclose(layer(input[0]).detach(), y.detach()[0], atol=1e-12)
    parameters = [p.detach().requires_grad_() for p in (layer.weight, layer.bias)]
    function = F.conv2d_map if kind == "ConvMap2d" else F.conv_transpose2d_map
    small = input.detach()[:1, :, :3, :3].requires_grad_()
    assert cr.gradcheck(lambda x, w, b: function(x, w, table, b), (small, *parameters))


def test_map_layers_have_what_conv_layers_have() -> None:
    table = connections.random(4, 6, 2, cr.Generator(0))
    layer = nn.ConvMap2d(table, 3, 2, 1, 2, in_channels=5, out_channels=7)
    assert layer(cr.zeros(1, 5, 9, 9)).shape == (1, 7, 4, 4)
    dense = nn.Conv2d(5, 7, 3, 2, 1, 2)
    dense.weight.array[...] = 0
    dense.weight.array[table[:, 1], table[:, 0]] = layer.weight.array
    dense.bias.array[...] = layer.bias.array
    x = cr.randn(2, 5, 9, 8)
    np.testing.assert_allclose(layer(x).detach(), dense(x).detach(), atol=1e-6)
    np.testing.assert_array_equal(dense.bias.array[6:] != 0, True)
    up = nn.ConvTransposeMap2d(table, 3, 2, 1, 1, bias=False)
    assert up(cr.zeros(4, 5, 5)).shape == (6, 10, 10)
    assert repr(up).endswith("stride=(2, 2), padding=(1, 1), output_padding=(1, 1), bias=False)")
    assert list(up.state_dict()) == ["weight", "table"]
    other = nn.ConvTransposeMap2d(
        connections.random(4, 6, 2, cr.Generator(5)), 3, 2, 1, 1, 1, False
    )
    other.load_state_dict(up.state_dict())
    y = cr.randn(1, 4, 5, 5)
    np.testing.assert_array_equal(other(y).detach(), up(y).detach())


def test_initial_values_of_map_layers_follow_the_fan_in() -> None:
    table = [(0, 0), *((i, 1) for i in range(100))]
    layer = nn.ConvMap2d(table, 5)
    few, many = 1 / 5, 1 / 50
    assert np.abs(layer.weight.array[0]).max() > 2 * many
    assert np.abs(layer.weight.array[1:]).max() <= many
    assert np.abs(layer.weight.array[:1]).max() <= few
    assert np.abs(layer.bias.array[1]) <= many
    assert nn.ConvMap2d(table, 5, device="meta").weight.is_meta


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: nn.ConvMap2d([(0, 0), (0, 0)], 3), ValueError, r"not \(0, 0\) 2 times"),
        (lambda: nn.ConvMap2d([(0, -1)], 3), IndexError, "counted from 0, not -1"),
        (lambda: nn.ConvMap2d([0, 1], 3), ValueError, r"a table \(K, 2\)"),
        (lambda: nn.ConvMap2d(np.zeros((0, 2), int), 3), ValueError, r"a table \(K, 2\)"),
        (lambda: nn.ConvMap2d([(0.0, 1.0)], 3), TypeError, "a table of integers"),
        (lambda: nn.ConvMap2d([(2, 1)], 3, in_channels=2), ValueError, "in_channels: expected at"),
        (lambda: nn.ConvMap2d([(2, 1)], 3, out_channels=1), ValueError, "at least 2, which the"),
        (lambda: nn.ConvMap2d([(0, 0)], 0), ValueError, "kernel_size"),
        (lambda: nn.ConvMap2d([(0, 0)], 3, 0), ValueError, "stride"),
        (lambda: nn.ConvMap2d([(0, 0)], 3, padding=-1), ValueError, "padding"),
        (lambda: nn.ConvMap2d([(0, 0)], 3, dilation=0), ValueError, "dilation"),
        (lambda: nn.ConvTransposeMap2d([(0, 0)], 3, output_padding=-1), ValueError, "output_pad"),
        (lambda: nn.ConvMap2d([(2, 0)], 3)(cr.zeros(1, 2, 5, 5)), ValueError, "at least 3 input"),
        (lambda: nn.ConvMap2d([(0, 0)], 3)(cr.zeros(5, 5)), ValueError, r"\(N, C, H, W\)"),
        (
            lambda: F.conv2d_map(cr.zeros(1, 1, 5, 5), cr.zeros(2, 3, 3), [(0, 0)]),
            ValueError,
            r"a weight \(1, kh, kw\)",
        ),
        (
            lambda: F.conv2d_map(cr.zeros(1, 1, 5, 5), cr.zeros(1, 3, 3), [(0, 1)], cr.zeros(1)),
            ValueError,
            "at least 2, which the table names",
        ),
    ],
)
def test_misuse_of_tables(make: Callable[[], Any], error: type[Exception], text: str) -> None:
    raises(make, error, text)


# Keras


def keras_naive(x: np.ndarray, w: np.ndarray, b: np.ndarray, s: Any, t: Any, same: bool) -> Any:
    """Keras's convolution of (N, H, W, C) entry by entry; zeros stand where the image ends."""
    n, *sizes, _ = x.shape
    kernel = w.shape[2:]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, t, strict=True)]
    if same:
        out = [-(-size // step) for size, step in zip(sizes, s, strict=True)]
        totals = [
            max((o - 1) * q + r - m, 0) for o, q, r, m in zip(out, s, reach, sizes, strict=True)
        ]
    else:
        out = [(m - r) // q + 1 for m, r, q in zip(sizes, reach, s, strict=True)]
        totals = [0, 0]
    y = np.zeros((n, *out, w.shape[0]))
    for k, j, a, c in product(range(out[0]), range(out[1]), range(kernel[0]), range(kernel[1])):
        row, column = k * s[0] + a * t[0] - totals[0] // 2, j * s[1] + c * t[1] - totals[1] // 2
        if 0 <= row < sizes[0] and 0 <= column < sizes[1]:
            y[:, k, j] += x[:, row, column] @ w[:, :, a, c].T
    return y + b


@pytest.mark.parametrize("padding", ["valid", "same", "SAME"])
@pytest.mark.parametrize("kernel", [1, 2, 3, (4, 3), (5, 1)])
@pytest.mark.parametrize(
    ("strides", "dilation"), [(1, 1), (2, 1), (3, 1), ((1, 3), 1), (1, 2), (1, (3, 1))]
)
def test_keras_against_loops(padding: str, kernel: Any, strides: Any, dilation: Any) -> None:
    for size in ((13, 10), (14, 9), (15, 11)):
        layer = keras.Conv2D(4, kernel, strides, padding, dilation_rate=dilation, dtype=cr.float64)
        x = np.random.default_rng(0).standard_normal((2, *size, 3))
        layer(cr.tensor(x))
        layer.bias.array[...] = np.arange(4)
        y = layer(cr.tensor(x)).detach().numpy()
        expected = keras_naive(
            x, layer.weight.array, layer.bias.array, layer.strides, layer.dilation_rate,
            padding != "valid",
        )  # fmt: skip
        np.testing.assert_allclose(y, expected, atol=1e-12)
        first = keras.Conv2D(4, kernel, strides, padding, "channels_first", dilation)
        first.double()(cr.zeros(1, 3, *size, dtype=cr.float64))
        first.load_state_dict(layer.state_dict())
        z = first(cr.tensor(np.moveaxis(x, -1, 1))).detach().numpy()
        np.testing.assert_allclose(np.moveaxis(z, 1, -1), expected, atol=1e-12)


def test_same_with_a_stride_has_the_ceiling_and_the_odd_zero_last() -> None:
    layer = keras.Conv2D(1, 2, 1, "same", use_bias=False, input_shape=(3, 3, 1))
    layer.weight.array[...] = [[[[1.0, 10.0], [100.0, 1000.0]]]]
    x = cr.ones(1, 3, 3, 1)
    assert layer(x)[0, :, :, 0].tolist() == [[1111, 1111, 101], [1111, 1111, 101], [11, 11, 1]]
    for n, s in product(range(1, 9), range(1, 5)):
        y = keras.Conv2D(1, 3, s, "same")(cr.zeros(1, n, n, 1))
        assert y.shape == (1, -(-n // s), -(-n // s), 1)


def test_keras_learns_its_channels_or_is_told_them() -> None:
    learned, told = (keras.Conv2D(6, 3, input_shape=shape) for shape in (None, (8, 8, 5)))
    assert learned.has_uninitialized_params()
    assert told.weight.shape == (6, 5, 3, 3)
    learned(cr.zeros(2, 8, 8, 5))
    assert learned.weight.shape == (6, 5, 3, 3)
    first = keras.Conv2D(6, 3, data_format="channels_first", input_shape=(5, 8, 8))
    assert first.weight.shape == (6, 5, 3, 3)
    bound = np.sqrt(6 / (9 * 5 + 9 * 6))
    assert 0.9 * bound < np.abs(learned.weight.array).max() <= bound
    assert not learned.bias.array.any()
    assert list(keras.Conv2D(6, 3, use_bias=False).state_dict()) == ["weight"]
    fresh = keras.Conv2D(6, 3)
    fresh.load_state_dict(told.state_dict())
    x = cr.randn(1, 8, 8, 5)
    np.testing.assert_array_equal(fresh(x).detach(), told(x).detach())


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        (None, lambda y: y),
        ("linear", lambda y: y),
        ("relu", F.relu),
        ("sigmoid", F.sigmoid),
        ("tanh", F.tanh),
        ("elu", F.elu),
        ("softplus", F.softplus),
        ("exponential", cr.exp),
        ("softmax", lambda y: F.softmax(y, -1)),
        ("log_softmax", lambda y: F.log_softmax(y, -1)),
        (F.leaky_relu, F.leaky_relu),
        (nn.ReLU(), F.relu),
    ],
)
def test_keras_activations(activation: Any, function: Callable[[Any], Any]) -> None:
    layer = keras.Conv2D(4, 3, activation=activation)
    x = cr.randn(1, 6, 6, 2)
    y = layer(x)
    plain = keras.Conv2D(4, 3)
    plain.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(y.detach(), function(plain(x)).detach())
    twin = pickle.loads(pickle.dumps(layer))
    np.testing.assert_array_equal(y.detach(), twin(x).detach())


def test_keras_shows_what_differs_from_the_defaults() -> None:
    assert repr(keras.Conv2D(4, 3)) == "Conv2D(4, kernel_size=(3, 3))"
    layer = keras.Conv2D(4, (3, 1), 2, "Same", "channels_first", 1, "relu", False)
    assert repr(layer) == (
        "Conv2D(4, kernel_size=(3, 1), strides=(2, 2), padding='same', "
        "data_format='channels_first', use_bias=False, activation='relu')"
    )


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: keras.Conv2D(0, 3), ValueError, "filters"),
        (lambda: keras.Conv2D(4.0, 3), TypeError, "filters"),  # type: ignore[arg-type]
        (lambda: keras.Conv2D(4, 0), ValueError, "kernel_size"),
        (lambda: keras.Conv2D(4, (3, 3, 3)), ValueError, "kernel_size"),
        (lambda: keras.Conv2D(4, 3, 0), ValueError, "strides"),
        (lambda: keras.Conv2D(4, 3, dilation_rate=0), ValueError, "dilation_rate"),
        (lambda: keras.Conv2D(4, 3, 2, dilation_rate=2), ValueError, r"strides \(2, 2\), dilation"),
        (lambda: keras.Conv2D(4, 3, (1, 2), dilation_rate=(2, 1)), ValueError, "strides or a dil"),
        (lambda: keras.Conv2D(4, 3, padding="full"), ValueError, "'valid', 'same'"),
        (lambda: keras.Conv2D(4, 3, padding=1), TypeError, "padding"),  # type: ignore[arg-type]
        (lambda: keras.Conv2D(4, 3, data_format="NHWC"), ValueError, "channels_last"),
        (lambda: keras.Conv2D(4, 3, activation="relax"), ValueError, "Conv2D activation"),
        (lambda: keras.Conv2D(4, 3, activation=3), TypeError, "activation"),  # type: ignore[arg-type]
        (lambda: keras.Conv2D(4, 3, input_shape=(5, 5)), ValueError, "input_shape of 3 sizes"),
        (lambda: keras.Conv2D(4, 3, input_shape=(5, 5, 0)), ValueError, "input channels"),
        (lambda: keras.Conv2D(4, 3)(cr.zeros(5, 5, 3)), ValueError, r"\(N, H, W, C\)"),
        (lambda: keras.Conv2D(4, 3)(cr.zeros(1, 2, 5, 3)), ValueError, "at least one window"),
        (
            lambda: keras.Conv2D(4, 3, input_shape=(5, 5, 3))(cr.zeros(1, 3, 5, 5)),
            ValueError,
            r"3 channels at axis 3 \(channels_last\); got input float32 \(1, 3, 5, 5\)",
        ),
    ],
)
def test_misuse_of_keras(make: Callable[[], Any], error: type[Exception], text: str) -> None:
    raises(make, error, text)
