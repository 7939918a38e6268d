"""Keras's pooling layers beside loops over every window, their gradients, and what they refuse."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.nn import keras

LAYERS = {d: (getattr(keras, f"MaxPooling{d}D"), getattr(keras, f"AveragePooling{d}D"))
          for d in (1, 2, 3)}  # fmt: skip


def naive(x: np.ndarray, k: Any, s: Any, same: bool, reduce: Callable[..., Any]) -> np.ndarray:
    """Pool (N, *sizes, C) window by window; a window has only what is in the image."""
    sizes = x.shape[1:-1]
    if same:
        out = [-(-n // t) for n, t in zip(sizes, s, strict=True)]
        axes = zip(out, sizes, k, s, strict=True)
        before = [max((o - 1) * t + w - n, 0) // 2 for o, n, w, t in axes]
    else:
        out = [(n - w) // t + 1 for n, w, t in zip(sizes, k, s, strict=True)]
        before = [0] * len(sizes)
    y = np.empty((x.shape[0], *out, x.shape[-1]))
    for at in product(*map(range, out)):
        starts = [i * t - b for i, t, b in zip(at, s, before, strict=True)]
        cut = tuple(slice(max(b, 0), b + w) for b, w in zip(starts, k, strict=True))
        y[(slice(None), *at)] = reduce(x[(slice(None), *cut)], axis=tuple(range(1, len(sizes) + 1)))
    return y


def each(value: Any, d: int) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,) * d


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_against_loops(d: int, same: bool, dtype: str) -> None:
    rng = np.random.default_rng(0)
    cases = list(product((1, 2, 3, 4), (None, 1, 2, 3, 5)))
    cases += [((4, 3, 2)[:d], (1, 2, 1)[:d]), ((2, 5, 4)[:d], (3, 1, 1)[:d])]
    for size in ((5, 6, 7), (6, 9, 5), (8, 5, 5)):
        x = rng.standard_normal((2, *size[:d], 3)).astype(dtype)
        for k, s in cases:
            settings = (k, s, "same" if same else "valid")
            kernel, steps = each(k, d), each(k if s is None else s, d)
            for layer, reduce in zip(LAYERS[d], (np.max, np.mean), strict=True):
                y = layer(*settings)(cr.tensor(x)).numpy()
                expected = naive(x, kernel, steps, same, reduce)
                np.testing.assert_allclose(y, expected, atol=1e-6, err_msg=str((layer, settings)))
                first = layer(*settings, "channels_first")(cr.tensor(np.moveaxis(x, -1, 1)))
                np.testing.assert_allclose(np.moveaxis(first.numpy(), 1, -1), expected, atol=1e-6)


def test_sizes_below_the_window() -> None:
    for n, k, s in product(range(1, 5), range(1, 9), range(1, 6)):
        x = cr.arange(float(n)).reshape(1, n, 1)
        for layer, reduce in zip(LAYERS[1], (np.max, np.mean), strict=True):
            y = layer(k, s, "same")(x)
            np.testing.assert_allclose(y.numpy(), naive(x.numpy(), (k,), (s,), True, reduce))


@pytest.mark.parametrize("layer", [*LAYERS[1], *LAYERS[2]])
@pytest.mark.parametrize(("k", "s"), [(2, 1), (3, 2), (4, 1), (2, 3)])
def test_gradients(layer: Any, k: int, s: int) -> None:
    d = 1 if layer.__name__.endswith("1D") else 2
    x = np.random.default_rng(1).permutation(2 * 5**d * 2).reshape(2, *(5,) * d, 2) * 1.0
    assert cr.gradcheck(layer(k, s, "same"), (cr.tensor(x, requires_grad=True),))


def test_maxima_of_nothing_but_negative_values_and_nan() -> None:
    x = -cr.ones(1, 3, 3, 1)
    assert keras.MaxPooling2D(2, 1, "same")(x).tolist() == x.tolist()
    x[0, 2, 2, 0] = float("nan")
    y = keras.MaxPooling2D(2, 1, "same")(x).numpy()[0, :, :, 0]
    np.testing.assert_array_equal(np.isnan(y), [[False] * 3, [False, True, True], [0, 1, 1]])


@pytest.mark.parametrize("d", [1, 2, 3])
def test_global(d: int) -> None:
    x = np.random.default_rng(0).standard_normal((*(2, 5, 4, 3)[: d + 1], 3))
    axes = tuple(range(1, d + 1))
    for name, reduce in (("Max", np.max), ("Average", np.mean)):
        layer = getattr(keras, f"Global{name}Pooling{d}D")
        np.testing.assert_allclose(layer()(cr.tensor(x)).numpy(), reduce(x, axes))
        kept = layer(keepdims=True)(cr.tensor(x)).numpy()
        np.testing.assert_allclose(kept, reduce(x, axes, keepdims=True))
        first = layer("channels_first")
        np.testing.assert_allclose(first(cr.tensor(np.moveaxis(x, -1, 1))).numpy(), reduce(x, axes))
        first = layer("channels_first", True)
        assert first(cr.tensor(np.moveaxis(x, -1, 1))).shape == (2, 3, *(1,) * d)


def test_shown_and_pickled() -> None:
    layer = keras.MaxPooling2D((2, 3), 1, "Same", "channels_first")
    shown = "pool_size=(2, 3), strides=(1, 1), padding='same', data_format='channels_first'"
    assert repr(layer) == f"MaxPooling2D({shown})"
    assert repr(pickle.loads(pickle.dumps(layer))) == repr(layer)
    assert repr(keras.GlobalMaxPooling1D()) == "GlobalMaxPooling1D()"
    assert (
        repr(keras.GlobalAveragePooling3D(keepdims=True)) == "GlobalAveragePooling3D(keepdims=True)"
    )


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: keras.MaxPooling2D(0), ValueError, "pool_size"),
        (lambda: keras.MaxPooling2D(2.0), TypeError, "pool_size"),
        (lambda: keras.MaxPooling2D((2, 2, 2)), ValueError, "pool_size"),
        (lambda: keras.AveragePooling1D(2, 0), ValueError, "strides"),
        (lambda: keras.AveragePooling1D(2, padding="full"), ValueError, "'valid', 'same'"),
        (lambda: keras.MaxPooling3D(2, padding=1), TypeError, "MaxPooling3D padding"),
        (lambda: keras.GlobalMaxPooling2D("NHWC"), ValueError, "channels_last"),
        (lambda: keras.MaxPooling2D()(cr.zeros(4, 4, 1)), ValueError, r"\(N, H, W, C\)"),
        (lambda: keras.GlobalMaxPooling2D()(cr.zeros(4, 4, 1)), ValueError, r"\(N, H, W, C\)"),
        (
            lambda: keras.AveragePooling1D(data_format="channels_first")(cr.zeros(4, 1)),
            ValueError,
            r"\(N, C, L\)",
        ),
        (lambda: keras.MaxPooling2D(5)(cr.zeros(1, 4, 4, 1)), ValueError, "at least one window"),
    ],
)
def test_misuse(make: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        make()
    assert isinstance(caught.value, cr.ChainruleError)
