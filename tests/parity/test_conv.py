"""Convolution, unfold and fold beside PyTorch's, over a wide grid of arguments."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

import chainrule as cr
from tests.parity.harness import check, misuse

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def conv(d: int = 2, **settings: Any) -> Callable[..., Any]:
    """Give the call of conv1d, conv2d or conv3d with these settings, for either library."""
    return lambda lib, *arrays: getattr(lib.nn.functional, f"conv{d}d")(*arrays, **settings)


def fits(n: int, k: int, padding: int, dilation: int) -> bool:
    return n + 2 * padding >= dilation * (k - 1) + 1


KERNELS = [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (1, 3), (4, 1), (2, 5), (5, 3)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel_stride_padding_dilation(kernel: tuple[int, int], bias: bool) -> None:
    x, w = normal(2, 3, 7, 8), normal(4, 3, *kernel, seed=1)
    arrays = (x, w, normal(4, seed=2)) if bias else (x, w)
    for stride, padding, dilation in product(
        (1, 2, 3, (2, 1), (1, 3)), (0, 1, (2, 0)), (1, (2, 1))
    ):
        p, d = (v if isinstance(v, tuple) else (v, v) for v in (padding, dilation))
        if all(fits(*a) for a in zip((7, 8), kernel, p, d, strict=True)):
            call = conv(stride=stride, padding=padding, dilation=dilation)
            check(call, *arrays, dtypes=("float64",))


@pytest.mark.parametrize("kernel", KERNELS)
def test_float32(kernel: tuple[int, int]) -> None:
    x, w, b = normal(2, 3, 7, 8), normal(4, 3, *kernel, seed=1), normal(4, seed=2)
    for stride, padding in product((1, (1, 2)), (0, 2)):
        check(conv(stride=stride, padding=padding), x, w, b, dtypes=("float32",))


@pytest.mark.parametrize("dilation", [1, 2, (1, 3)])
@pytest.mark.parametrize("kernel", KERNELS)
def test_same_and_valid(kernel: tuple[int, int], dilation: Any) -> None:
    x, w, b = normal(2, 3, 11, 14), normal(4, 3, *kernel, seed=1), normal(4, seed=2)
    check(conv(padding="same", dilation=dilation), x, w, b)
    check(conv(padding="valid", dilation=dilation), x, w, b)
    check(conv(padding="valid", stride=2, dilation=dilation), x, w)
    check(conv(padding="same", dilation=dilation), x[0], w)


@pytest.mark.parametrize(
    ("groups", "c", "o"), [(2, 4, 4), (2, 4, 6), (3, 3, 3), (4, 4, 12), (4, 8, 4), (6, 6, 6)]
)
def test_groups(groups: int, c: int, o: int) -> None:
    x, b = normal(2, c, 6, 7), normal(o, seed=2)
    for kernel, stride, padding in product(((1, 1), (3, 3), (2, 3)), (1, 2), (0, 1)):
        w = normal(o, c // groups, *kernel, seed=1)
        check(conv(stride=stride, padding=padding, groups=groups), x, w, b)
    w = normal(o, c // groups, 3, 2, seed=1)
    check(conv(padding="same", dilation=2, groups=groups), x, w, b)


@pytest.mark.parametrize(
    "settings",
    [{}, {"padding": 1}, {"stride": 2, "padding": 1}, {"dilation": 2}, {"groups": 2}],
    ids=str,
)
def test_memory_orders(settings: Any) -> None:
    """Channels-last, transposed, reversed, strided inputs and weights; ours and theirs alike."""
    per = 4 // settings.get("groups", 1)
    big, heavy = normal(4, 12, 14, 8), normal(12, 2 * per, 6, 3, seed=1)
    views: list[Callable[[Any, Any], Any]] = [
        lambda lib, a: a[::2, ::2, ::2],
        lambda lib, a: a[::2, ::2, ::2].permute(0, 1, 3, 2),
        lambda lib, a: a[:2, 4 : 4 + a.shape[1] // 3],
    ]
    for view in views:

        def call(lib: Any, x: Any, w: Any, view: Any = view) -> Any:
            x = view(lib, x)[:, :4]
            return lib.nn.functional.conv2d(x, w[::2, ::2, ::2], **settings)

        check(call, big, heavy[: 2 * 6], dtypes=("float64",))


def test_channels_last_strides() -> None:
    """A permuted (N, H, W, C) array is channels-last in memory, in both libraries."""
    w, b = normal(6, 4, 3, 3, seed=1), normal(6, seed=2)
    for stride, padding in product((1, 2), (0, 1, 2)):

        def call(lib: Any, x: Any, w: Any, b: Any, s: int = stride, p: int = padding) -> Any:
            y = lib.nn.functional.conv2d(x.permute(0, 3, 1, 2), w, b, s, p)
            return lib.nn.functional.conv2d(y, w[:, :, :1, :1].permute(1, 0, 2, 3)[:, :6])

        check(call, normal(2, 6, 7, 4), w, b)


@pytest.mark.parametrize("d", [1, 3])
def test_one_and_three_dimensions(d: int) -> None:
    sizes, kernel = ((9,), (3,)) if d == 1 else ((4, 5, 6), (2, 3, 1))
    x, w, b = normal(2, 4, *sizes), normal(6, 2, *kernel, seed=1), normal(6, seed=2)
    for stride, padding, dilation in product((1, 2), (0, 1), (1, 2)):
        extent = [dilation * (k - 1) + 1 for k in kernel]
        if all(n + 2 * padding >= e for n, e in zip(sizes, extent, strict=True)):
            call = conv(d, stride=stride, padding=padding, dilation=dilation, groups=2)
            check(call, x, w, b)
            check(call, x[0], w)
    check(conv(d, padding="same", groups=2), x, w, b)
    check(conv(d, padding="same", dilation=2, groups=2), x, np.repeat(w, 2, axis=-1), b)
    check(conv(d, groups=2), x[:0], w, b)


def test_without_a_batch_and_with_an_empty_one() -> None:
    x, w, b = normal(2, 3, 6, 5), normal(4, 3, 3, 3, seed=1), normal(4, seed=2)
    for settings in ({}, {"padding": 1, "stride": 2}, {"dilation": 2}, {"padding": "same"}):
        check(conv(**settings), x[0], w, b)
        check(conv(**settings), x[0], w)
        check(conv(**settings), x[:0], w, b)
        check(conv(**settings), x[:0], w)
    check(conv(groups=3), x[:0], normal(6, 1, 2, 2), normal(6))


@pytest.mark.parametrize(
    ("xs", "ws", "settings"),
    [
        ((64, 1, 32, 32), (6, 1, 5, 5), {}),
        ((64, 6, 14, 14), (16, 6, 5, 5), {}),
        ((64, 16, 5, 5), (120, 16, 5, 5), {}),
        ((4, 64, 28, 28), (64, 64, 3, 3), {"padding": 1}),
        ((2, 32, 28, 28), (64, 32, 3, 3), {"padding": 1, "stride": 2}),
        ((2, 3, 64, 64), (32, 3, 7, 7), {"padding": 3, "stride": 2}),
        ((4, 64, 14, 14), (128, 64, 1, 1), {}),
        ((4, 64, 14, 14), (128, 64, 1, 1), {"stride": 2}),
        ((2, 256, 7, 7), (256, 256, 3, 3), {"padding": 1}),
        ((4, 48, 28, 28), (48, 1, 3, 3), {"padding": 1, "groups": 48}),
        ((2, 64, 14, 14), (64, 4, 3, 3), {"padding": 1, "groups": 16}),
    ],
    ids=str,
)
def test_layers_of_real_networks(xs: Any, ws: Any, settings: Any) -> None:
    """Large enough that parts, pieces of products and threads take part."""
    x, w, b = normal(*xs), normal(*ws, seed=1), normal(ws[0], seed=2)
    check(conv(**settings), x, w, b)


def test_some_gradients_are_not_wanted() -> None:
    x, w, b = normal(2, 3, 6, 5), normal(4, 3, 3, 3, seed=1), normal(4, seed=2)
    for detached in product((False, True), repeat=3):

        def call(lib: Any, *tensors: Any, detached: Any = detached) -> Any:
            pairs = zip(tensors, detached, strict=True)
            return lib.nn.functional.conv2d(*(t.detach() if d else t for t, d in pairs))

        check(call, x, w, b)


def test_not_numbers_and_infinities() -> None:
    x, w = normal(1, 2, 6, 6), normal(3, 2, 3, 3, seed=1)
    x[0, 0, 1, 1], x[0, 1, 4, 4] = np.inf, np.nan
    check(conv(padding=1), x, w, gradients=False)


def test_integers() -> None:
    rng = np.random.default_rng(0)
    for dtype in ("int64", "int32", "int16", "uint8"):
        x, w = (rng.integers(0, 9, s).astype(dtype) for s in ((2, 2, 5, 5), (3, 2, 2, 2)))
        check(conv(stride=2, padding=1), x, w, gradients=False)
    misuse(conv(), np.ones((1, 1, 3, 3), bool), np.ones((1, 1, 2, 2), bool))


X, W = np.zeros((1, 3, 5, 5)), np.zeros((4, 3, 3, 3))


@pytest.mark.parametrize(
    ("arrays", "settings"),
    [
        ((X, np.zeros((4, 3, 7, 1))), {}),
        ((X, W), {"dilation": 3}),
        ((X, W), {"stride": 0}),
        ((X, W), {"stride": -1}),
        ((X, W), {"padding": -1}),
        ((X, W), {"dilation": 0}),
        ((X, W), {"groups": 0}),
        ((X, W), {"groups": -1}),
        ((X, W), {"groups": 2}),
        ((np.zeros((1, 4, 5, 5)), np.zeros((3, 2, 3, 3))), {"groups": 2}),
        ((X, W), {"stride": 2, "padding": "same"}),
        ((X, W), {"padding": "full"}),
        ((X, W), {"padding": ("same", "same")}),
        ((X, W), {"stride": (1, 1, 1)}),
        ((X, W), {"padding": (1, 1, 1)}),
        ((X, W), {"stride": 1.0}),
        ((X, W), {"stride": True}),
        ((X, W), {"stride": None}),
        ((X, W), {"dilation": "2"}),
        ((X, W), {"groups": 1.5}),
        ((X[:, :1], W), {}),
        ((X, W, np.zeros(5)), {}),
        ((X, W, np.zeros((4, 1))), {}),
        ((X, W, np.zeros(())), {}),
        ((X[0, 0], W), {}),
        ((X[None], W), {}),
        ((X, W[0]), {}),
        ((X, np.zeros((0, 3, 3, 3))), {}),
        ((X[:, :, :0], np.zeros((4, 3, 1, 1))), {}),
        ((X[:, :, :0], np.zeros((4, 3, 1, 1))), {"padding": 1}),
        ((X, np.zeros((4, 3, 0, 1))), {}),
        ((X, W.astype(int)), {}),
        ((X, [[1.0]]), {}),
        ((X, None), {}),
        ((None, W), {}),
    ],
)
def test_misuse(arrays: Any, settings: Any) -> None:
    misuse(conv(**settings), *arrays)


def test_dtypes_that_differ() -> None:
    misuse(lambda lib, x, w: lib.nn.functional.conv2d(x, w.double()), X, W)
    misuse(lambda lib, x, w: lib.nn.functional.conv2d(x, w, w[:, 0, 0, 0].double()), X, W)


# unfold and fold


@pytest.mark.parametrize("kernel", [1, 2, 3, (2, 3), (4, 1)])
def test_unfold_and_fold(kernel: Any) -> None:
    x = normal(2, 3, 6, 7)
    k = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    for stride, padding, dilation in product((1, 2, (1, 3)), (0, 1, (2, 1)), (1, (1, 2))):
        p, d = (v if isinstance(v, tuple) else (v, v) for v in (padding, dilation))
        if not all(fits(*a) for a in zip((6, 7), k, p, d, strict=True)):
            continue
        settings = (dilation, padding, stride)
        check(lambda lib, x, s=settings: lib.nn.functional.unfold(x, kernel, *s), x)
        check(lambda lib, x, s=settings: lib.nn.functional.unfold(x, kernel, *s), x[0])
        y = torch.nn.functional.unfold(torch.tensor(x), kernel, *settings).numpy()
        check(lambda lib, y, s=settings: lib.nn.functional.fold(y, (6, 7), kernel, *s), y)
        check(lambda lib, y, s=settings: lib.nn.functional.fold(y, (6, 7), kernel, *s), y[0])


def test_unfold_and_fold_without_images_and_of_booleans() -> None:
    check(lambda lib, x: lib.nn.functional.unfold(x, 2), normal(0, 3, 5, 5))
    check(lambda lib, x: lib.nn.functional.fold(x, 5, 2), normal(0, 12, 16))
    bits = np.random.default_rng(0).random((2, 3, 5, 5)) < 0.5
    check(lambda lib, x: lib.nn.functional.unfold(x, 2), bits, gradients=False)
    bits = np.random.default_rng(0).random((2, 12, 16)) < 0.5
    check(lambda lib, x: lib.nn.functional.fold(x, 5, 2), bits, gradients=False)


@pytest.mark.parametrize(
    ("shape", "arguments"),
    [
        ((1, 3, 5, 5), (7,)),
        ((1, 3, 5, 5), (0,)),
        ((1, 3, 5, 5), (2, 0)),
        ((1, 3, 5, 5), (2, 1, -1)),
        ((1, 3, 5, 5), (2, 1, 0, 0)),
        ((1, 3, 5, 5), ((2,),)),
        ((1, 3, 5, 5), ((1, 2, 3),)),
        ((1, 3, 5, 5), (2.0,)),
        ((1, 3, 5, 5), (None,)),
        ((1, 0, 5, 5), (2,)),
        ((1, 3, 0, 5), (2, 1, 2)),
        ((0, 5, 5), (2,)),
        ((1, 1, 3, 5, 5), (2,)),
    ],
)
def test_misuse_of_unfold(shape: Any, arguments: Any) -> None:
    misuse(lambda lib, x: lib.nn.functional.unfold(x, *arguments), np.zeros(shape))


@pytest.mark.parametrize(
    ("shape", "arguments"),
    [
        ((2, 13, 16), (5, 2)),
        ((2, 12, 15), (5, 2)),
        ((2, 12, 16), ((1, 5), 2)),
        ((2, 12, 16), ((0, 5), 2)),
        ((2, 12, 16), (-5, 2)),
        ((2, 12, 16), (5, 0)),
        ((2, 12, 16), (5, 2, 1, -1)),
        ((2, 12, 16), (5, 2, 1, 0, 0)),
        ((2, 12, 16), ((5,), 2)),
        ((2, 12, 16), (5.0, 2)),
        ((2, 0, 16), (5, 2)),
        ((2, 12, 0), (1, 2)),
        ((1, 1, 12, 16), (5, 2)),
        ((12,), (5, 2)),
    ],
)
def test_misuse_of_fold(shape: Any, arguments: Any) -> None:
    misuse(lambda lib, x: lib.nn.functional.fold(x, *arguments), np.zeros(shape))


def test_layers_keep_the_shapes_theirs_do() -> None:
    """Through nn.Conv2d, with the same weights."""
    x = normal(2, 3, 9, 9).astype(np.float32)
    for settings in ({}, {"padding": "same"}, {"stride": 2, "padding": 1, "groups": 3}):
        theirs, ours = torch.nn.Conv2d(3, 6, 3, **settings), cr.nn.Conv2d(3, 6, 3, **settings)
        ours.load_state_dict({k: v.detach().numpy() for k, v in theirs.state_dict().items()})
        expected = theirs(torch.tensor(x)).detach().numpy()
        np.testing.assert_allclose(ours(cr.tensor(x)).detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_padding_modes(mode: str, d: int) -> None:
    """Numbers and words, odd kernels and even, dilation, strides, without a batch."""
    sizes = (6, 5, 7)[:d]
    x, w, b = normal(2, 2, *sizes), normal(4, 1, *(3, 2, 1)[:d]), normal(4)
    kernel = w.shape[2:]
    many: list[Any] = [0, 1, 2, (2, 1, 0)[:d], (0, 3, 1)[:d], "same", "valid"]
    for padding, stride, dilation in product(many, (1, 2), (1, (2, 1, 1)[:d])):
        if stride == 2 and padding == "same":
            continue
        settings = {"padding": padding, "stride": stride, "dilation": dilation}

        def call(lib: Any, x: Any, w: Any, b: Any, settings: Any = settings) -> Any:
            kind = getattr(lib.nn, f"Conv{d}d")
            layer = kind(2, 4, kernel, groups=2, padding_mode=mode, **settings)
            assert tuple(layer.weight.shape) == w.shape
            del layer.weight, layer.bias
            layer.weight, layer.bias = w, b
            return layer(x)

        check(call, x, w, b, dtypes=("float64",))
        check(call, x[0], w, b, dtypes=("float64",))
    for wide in ((sizes[0],), (sizes[0] + 1,)):
        if mode in ("reflect", "circular") and (mode == "reflect" or wide[0] > sizes[0]):
            misuse(
                lambda lib, x, p=wide: getattr(lib.nn, f"Conv{d}d")(
                    2, 4, 1, padding=(*p, *(0,) * (d - 1)), padding_mode=mode
                )(x),
                x,
            )
