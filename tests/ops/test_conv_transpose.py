"""Transposed convolution: against loops, its convolution and SciPy; memory order, kinds, misuse."""

from __future__ import annotations

import tracemalloc
import warnings
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

import chainrule as cr
from chainrule.engine import workers
from chainrule.ops import lowering, slabs
from chainrule.ops.conv_transpose import ConvTranspose
from chainrule.ops.slabs import channels_last
from tests import layouts

F = cr.nn.functional
last = layouts.channels_last


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def naive(x: Any, w: Any, b: Any, op: ConvTranspose) -> np.ndarray:
    """Add every value times its filter, one after the other, in float64."""
    (n, c, *sizes), (_, per) = x.shape, w.shape[:2]
    out = op.sizes(x.shape, w.shape)
    y = np.zeros((n, per * op.groups, *out))
    for channel, place, tap in product(range(c), np.ndindex(*sizes), np.ndindex(*w.shape[2:])):
        axes = zip(place, tap, op.stride, op.dilation, op.padding, strict=True)
        target = tuple(k * s + a * t - p for k, a, s, t, p in axes)
        if all(0 <= i < m for i, m in zip(target, out, strict=True)):
            first = channel // (c // op.groups) * per
            weight = w[(channel, slice(None), *tap)]
            value = x[(slice(None), channel, *place)]
            y[(slice(None), slice(first, first + per), *target)] += value[:, None] * weight
    return y if b is None else y + np.reshape(b, (-1, *(1,) * len(out)))


def run(op: ConvTranspose, *arrays: Any, gy: Any = None, needs: Any = None) -> tuple[Any, Any]:
    """Give an operation's output and its gradients for gy (ones if missing)."""
    (y,), saved = op.forward(np, *arrays)
    gy = np.ones_like(y) if gy is None else gy
    return y, op.backward(np, saved, gy, needs or (True,) * len(arrays))


def adjoint(x: Any, w: Any, gy: Any, gx: Any, gw: Any, op: ConvTranspose) -> None:
    """The gradients are the transposes of the two linear maps: <gx, dx> = <gy, op(dx, w)>."""
    dx, dw = normal(*x.shape, seed=8), normal(*w.shape, seed=9)
    scale = max(1.0, float(np.abs(gy).sum()))
    for gradient, step, moved in (
        (gx, dx, naive(dx, w, None, op)),
        (gw, dw, naive(x, dw, None, op)),
    ):
        wanted = (gy * moved).sum()
        np.testing.assert_allclose((gradient * step).sum(), wanted, atol=1e-11 * scale)


# Oracles


def test_values_add_up_where_windows_overlap() -> None:
    y = F.conv_transpose1d(cr.tensor([[1.0, 10.0, 100.0]]), cr.tensor([[[1.0, 2.0, 3.0]]]))
    assert y.tolist() == [[1.0, 12.0, 123.0, 230.0, 300.0]]
    y = F.conv_transpose1d(cr.tensor([[1.0, 10.0]]), cr.tensor([[[1.0, 2.0]]]), stride=3)
    assert y.tolist() == [[1.0, 2.0, 0.0, 10.0, 20.0]]


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 3), (5, 4), (1, 5)])
def test_against_scipy(kernel: tuple[int, int]) -> None:
    x, w = normal(6, 8), normal(*kernel, seed=1)
    y = F.conv_transpose2d(cr.tensor(x[None]), cr.tensor(w[None, None])).numpy()[0]
    np.testing.assert_allclose(y, signal.convolve2d(x, w, "full"))


OPS = [
    ((3, 3), ConvTranspose()),
    ((3, 3), ConvTranspose((2, 2), (1, 1), (1, 1))),
    ((2, 3), ConvTranspose((2, 3), (0, 2), (1, 2), (1, 2))),
    ((1, 1), ConvTranspose((2, 1), (0, 0), (1, 0))),
    ((4, 4), ConvTranspose((2, 2), (1, 1))),
    ((2, 2), ConvTranspose((2, 2))),
    ((3, 2), ConvTranspose((1, 1), (0, 1), (2, 1), (3, 2))),
    ((5, 4), ConvTranspose((1, 1), (4, 3))),
]


@pytest.mark.parametrize("order", [np.asarray, last])
@pytest.mark.parametrize(("slab", "scatter"), [(1 << 21, 2.5), (1 << 21, 0.0), (8, 0.0), (8, 99.0)])
@pytest.mark.parametrize(("groups", "c", "o"), [(1, 3, 4), (2, 4, 6), (3, 3, 6), (4, 4, 4)])
@pytest.mark.parametrize(("kernel", "plain"), OPS)
def test_against_loops(
    kernel: Any,
    plain: ConvTranspose,
    groups: int,
    c: int,
    o: int,
    slab: int,
    scatter: float,
    order: Callable[[np.ndarray], np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As it is, and cut into single rows, with W^T x added back or x correlated."""
    monkeypatch.setattr(slabs, "SLAB", slab)
    monkeypatch.setattr(lowering, "SCATTER", scatter)
    op = ConvTranspose(plain.stride, plain.padding, plain.output_padding, plain.dilation, groups)
    x, w, b = order(normal(2, c, 5, 4)), normal(c, o // groups, *kernel, seed=1), normal(o, seed=2)
    gy = normal(2, o, *op.sizes(x.shape, w.shape), seed=3)
    y, (gx, gw, gb) = run(op, x, w, b, gy=gy)
    np.testing.assert_allclose(y, naive(x, w, b, op), atol=1e-12)
    adjoint(x, w, gy, gx, gw, op)
    np.testing.assert_allclose(gb, gy.sum((0, 2, 3)))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_cut_any_form_any_dimension(data: st.DataObject) -> None:
    """Parts of a few bytes, both forms of columns, every way back, in one to three dimensions."""

    def draw(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    d, groups = draw(1, 3), draw(1, 3)
    sizes, kernel = (tuple(draw(1, high) for _ in range(d)) for high in (4, 3))
    stride, dilation = (tuple(draw(1, 3) for _ in range(d)) for _ in range(2))
    padding = tuple(draw(0, 2) for _ in range(d))
    more = tuple(draw(0, max(s, t) - 1) for s, t in zip(stride, dilation, strict=True))
    op = ConvTranspose(stride, padding, more, dilation, groups)
    x = normal(draw(0, 9), groups * draw(1, 3), *sizes)
    w = normal(x.shape[1], draw(1, 3), *kernel, seed=1)
    out = op.sizes(x.shape, w.shape)
    if min(out) < 1:
        return
    x = last(x) if draw(0, 1) else x
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slabs, "SLAB", data.draw(st.sampled_from([64, 700, 1 << 21])))
        patch.setattr(slabs, "LARGE", data.draw(st.sampled_from([0, 4])))
        patch.setattr(workers, "thread_count", lambda: 3)
        patch.setattr(lowering, "WIDE", data.draw(st.sampled_from([1, 256])))
        patch.setattr(lowering, "MANY", data.draw(st.sampled_from([1, 8])))
        patch.setattr(lowering, "SCATTER", data.draw(st.sampled_from([0.0, 2.5, 100.0])))
        gy = normal(x.shape[0], w.shape[1] * groups, *out, seed=3)
        y, (gx, gw) = run(op, x, w, gy=gy)
        np.testing.assert_allclose(y, naive(x, w, None, op), atol=1e-12)
        assert (gx.shape, gw.shape) == (x.shape, w.shape)
        adjoint(x, w, gy, gx, gw, op)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1])
def test_it_is_its_convolutions_gradient(stride: int, padding: int) -> None:
    """Forward is conv2d's gradient by the input, and its gradient by the input is conv2d."""
    image = cr.tensor(normal(2, 3, 11, 9), requires_grad=True)
    w = cr.tensor(normal(4, 3, 3, 2, seed=1))
    small = F.conv2d(image, w, None, stride, padding)
    g = cr.tensor(normal(*small.shape, seed=2), requires_grad=True)
    small.backward(g.detach())
    gx = image.grad
    span = ((n - 1) * stride - 2 * padding + k for n, k in zip(g.shape[2:], (3, 2), strict=True))
    more = tuple(n - s for n, s in zip((11, 9), span, strict=True))
    large = F.conv_transpose2d(g, w, None, stride, padding, more)
    np.testing.assert_allclose(large.detach(), gx, atol=1e-12)
    large.backward(image.detach())
    np.testing.assert_allclose(g.grad, small.detach(), atol=1e-12)


# Memory order, kinds, what is not needed, what is empty


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 2])
def test_output_and_gradient_have_the_inputs_memory_order(groups: int, stride: int) -> None:
    w, op = normal(4, 6 // groups, 3, 3), ConvTranspose((stride, stride), (1, 1), groups=groups)
    for x in (normal(2, 4, 6, 6), last(normal(2, 4, 6, 6))):
        y, (gx, gw) = run(op, x, w)
        assert channels_last(y) == channels_last(gx) == channels_last(x)
        assert gw.flags.c_contiguous


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64"])
def test_dtypes_stay(dtype: str) -> None:
    op = ConvTranspose((2, 2), (1, 1))
    x, w, b = (2 * normal(*s) for s in ((2, 3, 4, 4), (3, 4, 3, 3), (4,)))
    x, w, b = x.astype(dtype), w.astype(dtype), b.astype(dtype)
    y, gradients = run(op, x, w, b)
    assert {a.dtype for a in (y, *gradients)} == {np.dtype(dtype)}
    np.testing.assert_allclose(y, naive(x, w, b, op), atol={"float16": 0.1}.get(dtype, 1e-5))


def test_half_precision_adds_up_in_single() -> None:
    x, w = np.ones((2, 2, 20, 20), np.float16), np.ones((2, 1, 1, 1), np.float16)
    gy = np.full((2, 2, 20, 20), 250, np.float16)
    gy[1] *= -1  # each image's sum, 100,000, is beyond half precision
    _, (gx, gw) = run(ConvTranspose(groups=2), x, w, gy=gy)
    np.testing.assert_array_equal(gw, np.zeros_like(w))
    np.testing.assert_array_equal(gx, gy)


@pytest.mark.parametrize("stride", [1, 2])
def test_nan_and_infinity_reach_only_their_windows(stride: int) -> None:
    x, w = np.zeros((1, 1, 4, 4)), np.ones((1, 1, 2, 2))
    x[0, 0, 1, 1], x[0, 0, 3, 3] = np.inf, np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y, _ = run(ConvTranspose((stride, stride)), x, w)
    assert (np.isinf(y).sum(), np.isnan(y).sum()) == (4, 4)


def test_nothing_is_computed_that_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w, b = normal(2, 3, 5, 5), normal(3, 4, 3, 3), normal(4)
    op = ConvTranspose()
    (y,), saved = op.forward(np, x, w, b)
    calls = []
    product_ = lowering._multiply
    monkeypatch.setattr(lowering, "_multiply", lambda *a: calls.append(a) or product_(*a))
    for needs in product((True, False), repeat=3):
        calls.clear()
        gradients = op.backward(np, saved, y, needs)
        assert tuple(g is not None for g in gradients) == needs
        assert len(calls) == needs[0] + needs[1]


def test_an_empty_batch_gives_an_empty_output_and_zero_gradients() -> None:
    x = cr.zeros(0, 3, 4, 4).requires_grad_()
    w, b = cr.randn(3, 5, 3, 3).requires_grad_(), cr.randn(5).requires_grad_()
    y = F.conv_transpose2d(x, w, b, padding=1, stride=2)
    assert y.shape == (0, 5, 7, 7)
    y.sum().backward()
    assert x.grad.shape == (0, 3, 4, 4)
    for t in (w, b):
        np.testing.assert_array_equal(t.grad.numpy(), np.zeros(t.shape))


def test_on_meta_tensors_only_shapes_are_computed() -> None:
    x, w = cr.zeros(2, 3, 16, 16, device="meta"), cr.zeros(3, 6, 4, 4, device="meta")
    y = F.conv_transpose2d(x, w, stride=2, padding=1)
    assert y.shape == (2, 6, 32, 32)
    assert y.is_meta


def test_memory_stays_modest() -> None:
    """Zeros are not put between the values: the output, and the columns of a few parts."""
    x, w = np.zeros((16, 16, 64, 64), np.float32), np.zeros((16, 16, 4, 4), np.float32)
    op = ConvTranspose((2, 2), (1, 1))
    tracemalloc.start()
    try:
        (y,), saved = op.forward(np, x, w)
        assert tracemalloc.get_traced_memory()[1] < 3.5 * y.nbytes
        op.backward(np, saved, y, (True, True))
        assert tracemalloc.get_traced_memory()[1] < 3.5 * y.nbytes
    finally:
        tracemalloc.stop()
    assert {id(a) for a in saved} == {id(x), id(w)}


# Misuse

X, W = (1, 3, 5, 5), (3, 4, 3, 3)


def call(x: Any = X, w: Any = W, *bias: int, **options: Any) -> Any:
    b = (cr.zeros(*bias),) if bias else ()
    return F.conv_transpose2d(cr.zeros(*x), cr.zeros(*w), *b, **options)


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (
            lambda: call((1, 4, 5, 5)),
            r"conv_transpose2d: expected 3 input channels \(weight \(3, 4, 3, 3\), groups 1\), "
            "got 4;",
        ),
        (lambda: call((2, 8, 8, 3)), r"input\.permute\(0, 3, 1, 2\)"),
        (lambda: call(groups=2), "3 % 2 = 0, not 1"),
        (lambda: call(groups=0), "conv_transpose2d groups: expected at least 1"),
        (lambda: call((1, 0, 5, 5), (0, 4, 3, 3)), "at least 1 channel each"),
        (lambda: call(w=(3, 0, 3, 3)), "at least 1 channel each"),
        (lambda: call(X, W, 3), r"a bias of shape \(4,\)"),
        (lambda: call(X, (3, 2, 3, 3), 4, groups=3), r"a bias of shape \(6,\)"),
        (lambda: call((3, 5)), r"\(N, C, H, W\) or \(C, H, W\)"),
        (lambda: call(w=(3, 4, 3)), "a weight of 4 axes"),
        (lambda: call((1, 3, 0, 5)), "at least 1 each way"),
        (lambda: call(w=(3, 4, 0, 1)), "at least 1 each way"),
        (lambda: call(stride=0), "conv_transpose2d stride: expected at least 1; got value 0"),
        (lambda: call(padding=-1), "conv_transpose2d padding: expected at least 0; got value -1"),
        (lambda: call(dilation=(1, 0)), r"dilation: expected at least 1; got value \(1, 0\)"),
        (lambda: call(output_padding=-1), "output_padding: expected at least 0; got value -1"),
        (lambda: call(output_padding=1), r"below the stride or the dilation: 1 < max\(1, 1\)"),
        (
            lambda: call(stride=(3, 2), output_padding=2),
            r"below the stride or the dilation: 2 < max\(2, 1\)",
        ),
        (lambda: call((1, 3, 1, 5), padding=2), r"axis 0: \(1 - 1\)\*1 - 2\*2 .* \+ 0 = -1"),
        (lambda: call(stride=(1, 1, 1)), "1 or 2 integers, not 3"),
    ],
)
def test_misuse(run: Callable[[], Any], text: str) -> None:
    with pytest.raises(cr.ShapeError, match=text):
        run()


def test_settings_are_shown_in_errors() -> None:
    with pytest.raises(cr.ShapeError) as caught:
        call(output_padding=3, stride=2)
    assert "got input float32 (1, 3, 5, 5), weight float32 (3, 4, 3, 3)" in str(caught.value)
    assert "output_padding=(3, 3)" in str(caught.value)


def test_kinds() -> None:
    x, w = cr.zeros(*X), cr.zeros(*W)
    for wrong in (
        lambda: F.conv_transpose2d(x, w.double()),
        lambda: F.conv_transpose2d(x, w, cr.zeros(4, dtype=cr.float64)),
        lambda: call(stride=1.0),
        lambda: call(padding="same"),
        lambda: call(output_padding=True),
        lambda: call(groups=None),
        lambda: F.conv_transpose2d([[1.0]], w),
    ):
        with pytest.raises(cr.KindError):
            wrong()
    with pytest.raises(NotImplementedError, match="conv_transpose2d: expected numbers"):
        F.conv_transpose2d(x.bool(), w.bool())


def test_the_operation_is_named_after_its_dimensions() -> None:
    names = [ConvTranspose(*((n,) * d for n in (1, 0, 0, 1))).name for d in (1, 2, 3)]
    assert names == ["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]
