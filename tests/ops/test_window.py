"""Output sizes, windows, im2col and col2im, unfold and fold: against loops and the slides."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.ops.window import (
    add_windows,
    arithmetic,
    col2im,
    crop,
    dropped,
    im2col,
    output_size,
    output_sizes,
    pad,
    same_padding,
    taps,
    transposed_size,
    transposed_sizes,
    windows,
)

F = cr.nn.functional
RNG = np.random.default_rng(0)

# known-answers.md, "Convolution and pooling": the image of the max-pooling example
POOLED = np.array([[3, 2, 3, 1], [0, 5, 3, 4], [1, 2, 2, 2], [7, 3, 1, 7]], float)
SLIDING = [
    *([3, 0, 2, 5], [0, 1, 5, 2], [1, 7, 2, 3], [2, 5, 3, 3], [5, 2, 3, 2]),
    *([2, 3, 2, 1], [3, 3, 1, 4], [3, 2, 4, 2], [2, 1, 2, 7]),
]
DISTINCT = [[3, 0, 2, 5], [1, 7, 2, 3], [3, 3, 1, 4], [2, 1, 2, 7]]


def count_windows(n: int, k: int, stride: int, pads: tuple[int, int], dilation: int) -> int:
    """Lay windows one after the other until one no longer fits."""
    reach, start, count = dilation * (k - 1) + 1, -pads[0], 0
    while start + reach <= n + pads[1]:
        start, count = start + stride, count + 1
    return count


def naive_columns(x: np.ndarray, k: Any, s: Any, p: Any, d: Any) -> np.ndarray:
    """Unfold (N, C, *sizes) entry by entry."""
    n, c, *sizes = x.shape
    out = [count_windows(*a) for a in zip(sizes, k, s, [(q, q) for q in p], d, strict=True)]
    y = np.zeros((n, c, *k, *out), x.dtype)
    for entry, place in product(product(*map(range, k)), product(*map(range, out))):
        at = [w * b + e * t - q for w, b, e, t, q in zip(place, s, entry, d, p, strict=True)]
        if all(0 <= a < size for a, size in zip(at, sizes, strict=True)):
            y[(slice(None), slice(None), *entry, *place)] = x[(slice(None), slice(None), *at)]
    return y.reshape(n, c * int(np.prod(k)), int(np.prod(out)))


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


# Sizes


@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("pads", [(0, 0), (1, 1), (2, 0), (0, 3)])
def test_output_size_counts_windows(pads: tuple[int, int], dilation: int) -> None:
    for n, k, stride in product(range(1, 10), range(1, 6), range(1, 5)):
        counted = count_windows(n, k, stride, pads, dilation)
        assert max(0, output_size(n, k, stride, pads, dilation)) == counted, (n, k, stride)


def test_output_size_takes_one_number_for_both_sides() -> None:
    assert output_size(32, 5, 1, 2) == output_size(32, 5, 1, (2, 2)) == 32


@pytest.mark.parametrize(
    ("setting", "floor", "ceil"),
    [
        ((7, 3, 2, 0, 1), 3, 3),  # fits exactly
        ((8, 3, 2, 0, 1), 3, 4),
        ((7, 3, 3, 0, 1), 2, 3),
        ((6, 3, 3, 1, 1), 2, 3),
        ((4, 2, 3, 1, 1), 2, 2),  # the third window would start in the padding at the end
        ((2, 1, 3, 0, 1), 1, 1),  # so would the second
        ((5, 2, 2, (0, 1), 2), 2, 3),
    ],
)
def test_ceil_mode(setting: Any, floor: int, ceil: int) -> None:
    assert output_size(*setting) == floor
    assert output_size(*setting, ceil_mode=True) == ceil


def test_arithmetic_shows_the_numbers() -> None:
    assert arithmetic(7, 9) == "(7 + 2*0 - 9)/1 + 1 = -1"
    assert arithmetic(7, 3, 3) == "(7 + 2*0 - 3)/3 + 1 = 2.333"  # the slide's 2.33
    assert arithmetic(5, 3, 2, (1, 2), 4) == "(5 + 1 + 2 - (4*(3 - 1) + 1))/2 + 1 = 0.5"
    assert arithmetic(8, 3, 2, ceil_mode=True) == "(8 + 2*0 - 3)/2 + 1 = 3.5, rounded up"


def test_output_sizes_names_the_axis_and_the_arithmetic() -> None:
    none = ((0, 0), (0, 0))
    assert output_sizes("x", (7, 5), (3, 3), (2, 1), none, (1, 1)) == (3, 3)
    with pytest.raises(cr.ShapeError) as caught:
        output_sizes("pool", (7, 5), (3, 9), (1, 1), none, (1, 1), input=(7, 5))
    assert "pool: expected at least one window along spatial axis 1" in str(caught.value)
    assert "(5 + 2*0 - 9)/1 + 1 = -3; got input (7, 5)" in str(caught.value)


def test_transposed_size_is_where_the_windows_reach() -> None:
    for n, k, s, p, d in product(range(1, 6), range(1, 5), range(1, 4), range(3), range(1, 4)):
        reached = {i * s + a * d for i in range(n) for a in range(k)}
        for more in range(s):
            size = transposed_size(n, k, s, p, more, d)
            assert size == max(reached) + 1 - 2 * p + more
            assert output_size(size, k, s, p, d) == n


def test_transposed_sizes_names_the_axis_and_the_arithmetic() -> None:
    settings = (3, 2), (2, 1), (1, 1), (1, 0), (1, 1)
    assert transposed_sizes("up", (4, 3), *settings) == (8, 2)
    rule = r"up: expected an output of at least 1 along spatial axis 1: "
    rule += r"\(1 - 1\)\*1 - 2\*1 \+ 1\*\(2 - 1\) \+ 1 \+ 0 = 0; got x \(4, 1\); use less padding"
    with pytest.raises(cr.ShapeError, match=rule):
        transposed_sizes("up", (4, 1), *settings, x=(4, 1))


def test_same_padding_gives_the_ceiling_and_no_more() -> None:
    for n, k, s, d in product(range(1, 12), range(1, 6), range(1, 5), range(1, 4)):
        before, after = same_padding(n, k, s, d)
        assert after - before in (0, 1)
        assert output_size(n, k, s, (before, after), d) >= -(-n // s)
        if before + after:
            assert output_size(n, k, s, (before, after), d) == -(-n // s)
            assert output_size(n, k, s, (before, after - 1), d) < -(-n // s)


def test_dropped_rows() -> None:
    assert dropped(7, 3, 3) == 1  # (7 - 3)/3 + 1 = 2.33
    assert dropped(7, 3, 2) == 0
    assert dropped(224, 7, 2, 3) == 1
    assert dropped(3, 5) == 3
    for n, k, s, p, d in product(range(1, 9), (1, 2, 3), (1, 2, 3), (0, 1), (1, 2)):
        out = count_windows(n, k, s, (p, p), d)
        reached = (out - 1) * s + d * (k - 1) + 1 if out else 0
        assert dropped(n, k, s, p, d) == n + 2 * p - reached


# Arrays


def test_pad_and_crop() -> None:
    x = normal(2, 3, 4, 5)
    pads = ((1, 2), (0, 3))
    y = pad(np, x, pads, 7.0)
    np.testing.assert_array_equal(y, np.pad(x, ((0, 0), (0, 0), *pads), constant_values=7.0))
    np.testing.assert_array_equal(crop(y, pads), x)
    assert pad(np, x, ((0, 0), (0, 0))) is x


def test_pad_keeps_the_memory_order_and_the_dtype() -> None:
    x = np.moveaxis(np.zeros((2, 4, 5, 3), np.float32), -1, 1)
    y = pad(np, x, ((1, 1), (2, 2)))
    assert np.moveaxis(y, 1, -1).flags.c_contiguous
    assert y.dtype == np.float32


@pytest.mark.parametrize("order", ["first", "last", "reversed"])
def test_windows_are_views_of_every_window(order: str) -> None:
    x = normal(2, 3, 7, 6)
    if order == "last":
        x = np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1)
    if order == "reversed":
        x = x[:, ::-1, ::-1, ::-1]
    y = windows(np, x, (3, 2), (2, 1), (1, 3))
    assert y.shape == (2, 3, 3, 3, 3, 2)
    assert np.shares_memory(x, y)
    for i, j, a, b in np.ndindex(y.shape[2:]):
        np.testing.assert_array_equal(y[:, :, i, j, a, b], x[:, :, 2 * i + a, j + 3 * b])


def test_windows_of_too_small_an_array_are_none() -> None:
    assert windows(np, np.zeros((2, 3)), (4,), (1,), (1,)).shape == (2, 0, 4)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_add_windows_is_the_transpose_of_windows(data: st.DataObject) -> None:
    d = data.draw(st.integers(1, 3))

    def draw(low: int, high: int) -> tuple[int, ...]:
        return tuple(data.draw(st.integers(low, high)) for _ in range(d))

    k, s, t, sizes = draw(1, 3), draw(1, 4), draw(1, 2), draw(1, 6)
    pads = tuple(zip(draw(0, 3), draw(0, 3), strict=True))
    padded = pad(np, normal(2, *sizes), pads)
    seen = windows(np, padded, k, s, t)
    values = normal(*seen.shape)
    image = np.zeros((2, *sizes))
    add_windows(np, image, values, s, pads, t)
    # <windows(pad(x)), values> = <x, image>
    np.testing.assert_allclose((seen * values).sum(), (crop(padded, pads) * image).sum())


def test_taps_leave_out_what_sees_only_padding() -> None:
    found = [offset for offset, _, _ in taps((3,), (1,), ((2, 0),), (1,), (1,), (1,))]
    assert found == [(2,)]


# im2col and col2im


def test_im2col_in_matlabs_order_gives_the_slides_columns() -> None:
    np.testing.assert_array_equal(im2col(POOLED.T, 2).T, SLIDING)
    np.testing.assert_array_equal(im2col(POOLED.T, 2, stride=2).T, DISTINCT)


GRID = [
    ((3, 3), (1, 1), (0, 0), (1, 1)),
    ((2, 3), (2, 1), (1, 0), (1, 1)),
    ((3, 2), (1, 3), (2, 1), (2, 1)),
    ((1, 1), (2, 2), (0, 0), (1, 1)),
    ((2, 2), (3, 2), (1, 2), (1, 3)),
    ((5, 6), (1, 1), (0, 0), (1, 1)),
    ((3, 3), (2, 2), (0, 0), (1, 1)),  # neighbours share one row and one column
    ((2, 2), (2, 2), (0, 0), (2, 2)),
]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
@pytest.mark.parametrize(("k", "s", "p", "d"), GRID)
def test_im2col_against_loops(k: Any, s: Any, p: Any, d: Any, dtype: str) -> None:
    x = (4 * normal(2, 3, 5, 6)).astype(dtype)
    y = im2col(x, k, s, p, d)
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y, naive_columns(x, k, s, p, d))
    np.testing.assert_array_equal(im2col(x[0], k, s, p, d), y[0])
    np.testing.assert_array_equal(im2col(x[0, :1], k, s, p, d), im2col(x[0, 0], k, s, p, d))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("k", "s", "p", "d"), GRID)
def test_col2im_is_the_transpose_of_im2col(k: Any, s: Any, p: Any, d: Any, dtype: str) -> None:
    for shape in ((2, 3, 5, 6), (3, 5, 6), (5, 6)):
        x = normal(*shape).astype(dtype)
        y = im2col(x, k, s, p, d)
        g = normal(*y.shape).astype(dtype)
        back = col2im(g, shape, k, s, p, d)
        assert (back.shape, back.dtype) == (x.shape, x.dtype)
        inner = (y.astype(float) * g).sum()
        np.testing.assert_allclose((x.astype(float) * back).sum(), inner, rtol=1e-5)


def test_im2col_in_one_and_three_dimensions() -> None:
    x = normal(2, 3, 4, 3, 5)
    settings_ = ((2, 1, 3), (1, 2, 1), (1, 0, 2), (2, 1, 1))
    np.testing.assert_array_equal(im2col(x, *settings_), naive_columns(x, *settings_))
    line = normal(2, 3, 9)
    one = ((3,), (2,), (1,), (2,))
    np.testing.assert_array_equal(im2col(line, *one), naive_columns(line, *one))


def test_im2col_does_not_share_memory_and_writes_nothing() -> None:
    x = normal(1, 2, 3, 3)
    x.flags.writeable = False
    for k in (1, 3):
        y = im2col(x, k)
        assert not np.shares_memory(x, y)
        y[...] = 0


def test_im2col_refuses_what_does_not_fit() -> None:
    with pytest.raises(cr.ShapeError, match=r"im2col.*\(3 \+ 2\*0 - 4\)/1 \+ 1 = 0"):
        im2col(normal(1, 1, 3, 5), 4)
    with pytest.raises(cr.ShapeError, match="at least 2 axes"):
        im2col(normal(3), 2)
    with pytest.raises(cr.ShapeError, match=r"columns \(1, 4, 4\) for an image"):
        col2im(normal(1, 4, 5), (1, 1, 3, 3), 2)


# unfold and fold


@pytest.mark.parametrize(("k", "s", "p", "d"), GRID)
def test_unfold_and_fold_and_their_gradients(k: Any, s: Any, p: Any, d: Any) -> None:
    x = cr.tensor(normal(2, 3, 5, 6), requires_grad=True)
    y = F.unfold(x, k, d, p, s)
    np.testing.assert_array_equal(y.detach().numpy(), naive_columns(x.array, k, s, p, d))
    g = normal(*y.shape)
    y.backward(cr.tensor(g))
    folded = F.fold(cr.tensor(g), (5, 6), k, d, p, s)
    np.testing.assert_allclose(x.grad.numpy(), folded.numpy())
    single = F.fold(cr.tensor(g[0]), (5, 6), k, d, p, s)
    np.testing.assert_allclose(single.numpy(), folded.numpy()[0])
    columns = cr.tensor(g, requires_grad=True)
    F.fold(columns, (5, 6), k, d, p, s).backward(x.detach())
    np.testing.assert_array_equal(columns.grad.numpy(), y.detach().numpy())


def test_fold_of_unfold_counts_the_windows_of_each_pixel() -> None:
    x = cr.tensor(normal(2, 3, 5, 6))
    ones = cr.ones(2, 3, 5, 6, dtype=cr.float64)
    count = F.fold(F.unfold(ones, 3, padding=1), (5, 6), 3, padding=1)
    back = F.fold(F.unfold(x, 3, padding=1), (5, 6), 3, padding=1)
    np.testing.assert_allclose(back.numpy(), (x * count).numpy())


def test_unfold_without_images() -> None:
    x = cr.zeros(0, 3, 5, 5).requires_grad_()
    y = F.unfold(x, 2)
    assert y.shape == (0, 12, 16)
    y.sum().backward()
    assert x.grad.shape == (0, 3, 5, 5)
    assert F.fold(cr.zeros(0, 12, 16), 5, 2).shape == (0, 3, 5, 5)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: F.unfold(cr.zeros(1, 3, 5, 5), 7), r"\(5 \+ 2\*0 - 7\)/1 \+ 1 = -1"),
        (lambda: F.unfold(cr.zeros(1, 1, 1, 5, 5), 2), r"an input \(N, C, H, W\) or \(C, H, W\)"),
        (lambda: F.unfold(cr.zeros(1, 0, 5, 5), 2), "N alone may be 0"),
        (lambda: F.unfold(cr.zeros(1, 3, 5, 5), 0), "kernel_size: expected at least 1"),
        (lambda: F.unfold(cr.zeros(1, 3, 5, 5), 2, stride=0), "stride: expected at least 1"),
        (lambda: F.unfold(cr.zeros(1, 3, 5, 5), 2, padding=-1), "padding: expected at least 0"),
        (lambda: F.unfold(cr.zeros(1, 3, 5, 5), (2,)), "not a sequence of one"),
        (lambda: F.fold(cr.zeros(1, 13, 16), 5, 2), r"multiples of 2\*2 = 4, not 13"),
        (
            lambda: F.fold(cr.zeros(1, 12, 15), (5, 4), 2),
            r"4\*3 = 12 columns, not 15: \(5 \+ 2\*0 - 2\)/1 \+ 1 = 4, \(4 \+ 2\*0 - 2\)/1",
        ),
        (lambda: F.fold(cr.zeros(1, 12, 16), (1, 5), 2), r"\(1 \+ 2\*0 - 2\)/1 \+ 1 = 0"),
        (lambda: F.fold(cr.zeros(12), 5, 2), "an input"),
    ],
)
def test_misuse_of_unfold_and_fold(call: Any, text: str) -> None:
    with pytest.raises(cr.ShapeError, match=text):
        call()


def test_settings_of_the_wrong_kind() -> None:
    for value in (2.0, "2", None, True):
        with pytest.raises(cr.KindError):
            F.unfold(cr.zeros(1, 3, 5, 5), value)
