"""Transposed convolution beside PyTorch's, over a wide grid of arguments, and its layers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

import chainrule as cr
from tests.parity.harness import check, misuse


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def conv(d: int = 2, **settings: Any) -> Callable[..., Any]:
    """Give the call of conv_transpose1d, 2d or 3d with these settings, for either library."""
    return lambda lib, *arrays: getattr(lib.nn.functional, f"conv_transpose{d}d")(
        *arrays, **settings
    )


KERNELS = [(1, 1), (2, 2), (3, 3), (4, 4), (1, 3), (4, 1), (2, 5), (5, 3)]


def fits(n: int, k: int, s: int, p: int, more: int, d: int) -> bool:
    return (n - 1) * s - 2 * p + d * (k - 1) + 1 + more > 0 and more < max(s, d)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel_stride_padding_dilation(kernel: tuple[int, int], bias: bool) -> None:
    x, w = normal(2, 3, 4, 5), normal(3, 4, *kernel, seed=1)
    arrays = (x, w, normal(4, seed=2)) if bias else (x, w)
    count = 0
    for settings in product(
        (1, 2, 3, (2, 1), (1, 3)), (0, 1, (2, 0)), (0, 1, (2, 0)), (1, 2, (3, 1))
    ):
        pairs = [v if isinstance(v, tuple) else (v, v) for v in settings]
        if all(fits(*axis) for axis in zip((4, 5), kernel, *pairs, strict=True)):
            named = zip(("stride", "padding", "output_padding", "dilation"), settings, strict=True)
            check(conv(**dict(named)), *arrays, dtypes=("float64",))
            count += 1
    assert count > 20


@pytest.mark.parametrize("kernel", KERNELS)
def test_float32(kernel: tuple[int, int]) -> None:
    x, w, b = normal(2, 3, 4, 5), normal(3, 4, *kernel, seed=1), normal(4, seed=2)
    for stride, padding, dilation in product((1, 2, (1, 3)), (0, 1), (1, 2)):
        pairs = [v if isinstance(v, tuple) else (v, v) for v in (stride, padding, 0, dilation)]
        if all(fits(*axis) for axis in zip((4, 5), kernel, *pairs, strict=True)):
            call = conv(stride=stride, padding=padding, dilation=dilation)
            check(call, x, w, b, dtypes=("float32",))


def test_positional_order() -> None:
    x, w, b = normal(2, 4, 4, 5), normal(4, 3, 3, 2, seed=1), normal(6, seed=2)

    def call(lib: Any, x: Any, w: Any, b: Any) -> Any:
        return lib.conv_transpose2d(x, w, b, (2, 3), (1, 0), (1, 2), 2, (1, 2))

    check(call, x, w, b)
    check(lambda lib, x, w: lib.conv_transpose1d(x, w, None, 2, 1, 1, 2, 3), x[0], w[..., 0])
    y = normal(1, 4, 2, 3, 2)
    check(lambda lib, x, w: lib.conv_transpose3d(x, w, None, 2, 1, 1, 4, 2), y, w[..., None])


@pytest.mark.parametrize(
    ("groups", "c", "per"), [(2, 4, 2), (2, 4, 3), (3, 3, 1), (4, 4, 3), (4, 8, 1), (6, 6, 1)]
)
def test_groups(groups: int, c: int, per: int) -> None:
    x, b = normal(2, c, 4, 5), normal(groups * per, seed=2)
    for kernel, stride, padding in product(((1, 1), (3, 3), (2, 3)), (1, 2), (0, 1)):
        pairs = [v if isinstance(v, tuple) else (v, v) for v in (stride, padding, 0, 1)]
        if all(fits(*axis) for axis in zip((4, 5), kernel, *pairs, strict=True)):
            w = normal(c, per, *kernel, seed=1)
            check(conv(stride=stride, padding=padding, groups=groups), x, w, b)


@pytest.mark.parametrize(
    "settings",
    [{}, {"padding": 1}, {"stride": 2, "output_padding": 1}, {"dilation": 2}, {"groups": 2}],
    ids=str,
)
def test_memory_orders(settings: Any) -> None:
    """Channels-last, transposed, strided inputs and weights; ours and theirs alike."""
    big, heavy = normal(4, 12, 10, 8), normal(8, 6, 6, 3, seed=1)
    views: list[Callable[[Any], Any]] = [
        lambda a: a[::2, ::2, ::2],
        lambda a: a[::2, ::2, ::2].permute(0, 1, 3, 2),
        lambda a: a[:2, 4:8],
        lambda a: a[:, :8].permute(0, 2, 3, 1)[:, :4],
    ]
    for view in views:

        def call(lib: Any, x: Any, w: Any, view: Any = view) -> Any:
            w = w[::2, ::2, ::2]
            return lib.nn.functional.conv_transpose2d(view(x)[:, :4], w, **settings)

        check(call, big, heavy, dtypes=("float64",))


@pytest.mark.parametrize("d", [1, 3])
def test_one_and_three_dimensions(d: int) -> None:
    sizes, kernel = ((5,), (3,)) if d == 1 else ((2, 3, 4), (2, 3, 1))
    x, w, b = normal(2, 4, *sizes), normal(4, 3, *kernel, seed=1), normal(6, seed=2)
    for stride, padding, more, dilation in product((1, 2), (0, 1), (0, 1), (1, 2)):
        axes = ((n, k, stride, padding, more, dilation) for n, k in zip(sizes, kernel, strict=True))
        if all(fits(*axis) for axis in axes):
            call = conv(d, stride=stride, padding=padding, output_padding=more, dilation=dilation,
                        groups=2)  # fmt: skip
            check(call, x, w, b)
            check(call, x[0], w)
            check(call, x[:0], w, b)


def test_without_a_batch_and_with_an_empty_one() -> None:
    x, w, b = normal(2, 3, 4, 5), normal(3, 4, 3, 3, seed=1), normal(4, seed=2)
    for settings in ({}, {"padding": 1, "stride": 2}, {"dilation": 2}, {"stride": 3}):
        check(conv(**settings), x[0], w, b)
        check(conv(**settings), x[0], w)
        check(conv(**settings), x[:0], w, b)
        check(conv(**settings), x[:0], w)
    check(conv(groups=3), x[:0], normal(3, 1, 2, 2), normal(3))


@pytest.mark.parametrize(
    ("xs", "ws", "settings"),
    [
        ((8, 100, 1, 1), (100, 64, 4, 4), {}),
        ((8, 64, 8, 8), (64, 32, 4, 4), {"stride": 2, "padding": 1}),
        ((4, 32, 16, 16), (32, 32, 3, 3), {"padding": 1}),
        ((2, 64, 14, 14), (64, 32, 2, 2), {"stride": 2}),
        ((2, 21, 10, 10), (21, 1, 4, 4), {"stride": 2, "groups": 21}),
        ((2, 16, 20, 20), (16, 3, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    ],
    ids=str,
)
def test_layers_of_real_networks(xs: Any, ws: Any, settings: Any) -> None:
    """DCGAN's, U-Net's and FCN's: large enough that parts and threads take part."""
    x, w, b = normal(*xs), normal(*ws, seed=1), normal(ws[1] * settings.get("groups", 1), seed=2)
    check(conv(**settings), x, w, b)


def test_some_gradients_are_not_wanted() -> None:
    x, w, b = normal(2, 3, 4, 5), normal(3, 4, 3, 3, seed=1), normal(4, seed=2)
    for detached in product((False, True), repeat=3):

        def call(lib: Any, *tensors: Any, detached: Any = detached) -> Any:
            pairs = zip(tensors, detached, strict=True)
            arrays = (t.detach() if d else t for t, d in pairs)
            return lib.nn.functional.conv_transpose2d(*arrays, stride=2)

        check(call, x, w, b)


def test_not_numbers_and_infinities() -> None:
    x, w = normal(1, 2, 5, 5), normal(2, 3, 3, 3, seed=1)
    x[0, 0, 1, 1], x[0, 1, 3, 3] = np.inf, np.nan
    for stride in (1, 2):
        check(conv(stride=stride), x, w, gradients=False)


def test_integers() -> None:
    rng = np.random.default_rng(0)
    x, w = (rng.integers(0, 9, s) for s in ((2, 2, 5, 5), (2, 3, 2, 2)))
    check(conv(stride=2, padding=1), x, w, gradients=False)
    misuse(conv(), np.ones((1, 1, 3, 3), bool), np.ones((1, 1, 2, 2), bool))


X, W = np.zeros((1, 3, 5, 5)), np.zeros((3, 4, 3, 3))


@pytest.mark.parametrize(
    ("arrays", "settings"),
    [
        ((X, W), {"stride": 0}),
        ((X, W), {"stride": -1}),
        ((X, W), {"padding": -1}),
        ((X, W), {"padding": 4}),
        ((X, W), {"padding": "same"}),
        ((X, W), {"dilation": 0}),
        ((X, W), {"groups": 0}),
        ((X, W), {"groups": -1}),
        ((X, W), {"groups": 2}),
        ((X, W), {"output_padding": -1}),
        ((X, W), {"output_padding": 1}),
        ((X, W), {"output_padding": (0, 1)}),
        ((X, W), {"output_padding": 2, "stride": 2}),
        ((X, W), {"output_padding": 2, "stride": (3, 2)}),
        ((X, W), {"stride": (1, 1, 1)}),
        ((X, W), {"padding": (1, 1, 1)}),
        ((X, W), {"output_padding": (1, 1, 1), "stride": 2}),
        ((X, W), {"stride": 1.0}),
        ((X, W), {"stride": True}),
        ((X, W), {"stride": None}),
        ((X, W), {"dilation": "2"}),
        ((X, W), {"groups": 1.5}),
        ((X[:, :1], W), {}),
        ((X, W, np.zeros(3)), {}),
        ((X, W, np.zeros((4, 1))), {}),
        ((X, W, np.zeros(())), {}),
        ((X[0, 0], W), {}),
        ((X[None], W), {}),
        ((X, W[0]), {}),
        ((X, W[:, :0]), {}),
        ((X[:, :0], W[:0]), {}),
        ((X[:, :, :0], W), {}),
        ((X, W[:, :, :0]), {}),
        ((X, W.astype(int)), {}),
        ((X, [[1.0]]), {}),
        ((X, None), {}),
        ((None, W), {}),
    ],
)
def test_misuse(arrays: Any, settings: Any) -> None:
    misuse(conv(**settings), *arrays)


def test_dtypes_that_differ() -> None:
    """PyTorch takes a bias of another dtype here, and not in conv2d; we take it in neither."""
    misuse(lambda lib, x, w: lib.nn.functional.conv_transpose2d(x, w.double()), X, W)
    with pytest.raises(cr.KindError):
        cr.conv_transpose2d(cr.zeros(1, 3, 5, 5), cr.zeros(3, 4, 3, 3), cr.zeros(4).double())


# Layers


def same_layers(kind: str, *arguments: Any, **settings: Any) -> tuple[Any, Any]:
    """The same layer in both libraries, with torch's initial values."""
    theirs, ours = (getattr(lib.nn, kind)(*arguments, **settings) for lib in (torch, cr))
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    return theirs, ours


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_output_size(stride: int, dilation: int) -> None:
    theirs, ours = same_layers("ConvTranspose2d", 2, 3, 3, stride, 1, dilation=dilation)
    x = normal(1, 2, 4, 5).astype(np.float32)
    for more in product(range(-1, stride + 1), repeat=2):
        size = [
            (n - 1) * stride - 2 + 2 * dilation + 1 + m for n, m in zip((4, 5), more, strict=True)
        ]
        for wanted in (size, tuple(size), [1, 3, *size], [3, *size]):
            for image in (x, x[0]):
                try:
                    expected = theirs(torch.tensor(image), wanted)
                except ValueError:
                    with pytest.raises(ValueError, match="output_size"):
                        ours(cr.tensor(image), wanted)
                    continue
                result = ours(cr.tensor(image), output_size=wanted).detach().numpy()
                np.testing.assert_allclose(result, expected.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize(
    "call",
    [
        lambda lib: lib.nn.ConvTranspose2d(3, 4, 3, groups=2),
        lambda lib: lib.nn.ConvTranspose2d(4, 3, 3, groups=2),
        lambda lib: lib.nn.ConvTranspose2d(4, 4, 3, groups=0),
        lambda lib: lib.nn.ConvTranspose2d(4, 4, 3, padding_mode="reflect"),
        lambda lib: lib.nn.ConvTranspose2d(4, 4, 3, padding="same")(lib.zeros(1, 4, 5, 5)),
        lambda lib: lib.nn.ConvTranspose2d(4, 4, 3, output_padding=1)(lib.zeros(1, 4, 5, 5)),
        lambda lib: lib.nn.ConvTranspose2d(4, 4, 3)(lib.zeros(1, 3, 5, 5)),
        lambda lib: lib.nn.ConvTranspose2d(4, 4, 3)(lib.zeros(4, 5)),
        lambda lib: lib.nn.ConvTranspose2d(4, 4, 3)(lib.zeros(1, 4, 5, 5), 7),
        lambda lib: lib.nn.ConvTranspose1d(4, 4, 3)(lib.zeros(1, 4, 5), [8]),
        lambda lib: lib.nn.ConvTranspose3d(4, 4, 3)(lib.zeros(1, 4, 5, 5, 5), [7, 7]),
        lambda lib: lib.nn.LazyConv2d(4, 3, groups=2)(lib.zeros(1, 3, 5, 5)),
        lambda lib: lib.nn.LazyConv2d(4, 3)(lib.zeros(5, 5)),
        lambda lib: lib.nn.LazyConvTranspose2d(4, 3, padding_mode="reflect"),
    ],
)
def test_misuse_of_layers(call: Callable[[Any], Any]) -> None:
    misuse(call)


LAZY = {
    "LazyConv1d": ((6, 3, 2), (2, 4, 9)),
    "LazyConv2d": ((6, (3, 2), 1, "same", 1, 2), (2, 4, 7, 6)),
    "LazyConv3d": ((6, 2), (4, 3, 4, 5)),
    "LazyConvTranspose1d": ((6, 3, 2, 1, 1), (2, 4, 9)),
    "LazyConvTranspose2d": ((6, 3, 2, 0, 1, 2, False), (2, 4, 7, 6)),
    "LazyConvTranspose3d": ((6, 2), (4, 3, 4, 5)),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", LAZY)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lazy_layers(kind: str, dtype: str) -> None:
    settings, shape = LAZY[kind]
    theirs, ours = (
        getattr(lib.nn, kind)(*settings, dtype=getattr(lib, dtype)) for lib in (torch, cr)
    )
    x = normal(*shape).astype(dtype)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert ours.has_uninitialized_params() is theirs.has_uninitialized_params() is True
    expected = theirs(torch.tensor(x)).detach().numpy()
    ours.initialize_parameters(cr.tensor(x))
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    result = ours(cr.tensor(x)).detach().numpy()
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)
    assert result.dtype == expected.dtype
    assert repr(ours) == repr(theirs)
    assert type(ours).__name__ == type(theirs).__name__
