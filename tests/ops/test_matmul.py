"""Matrix products and the fully connected layer: known answers, loops, strides, misuse."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.errors import KindError, ShapeError
from chainrule.ops.linear import linear
from chainrule.ops.matmul import blas


def values(*shape: int, seed: int = 0) -> Any:
    return np.asarray(np.random.default_rng((seed, *shape)).standard_normal(shape))


def by_loops(x: Any, w: Any) -> Any:
    """Multiply as the definition says, one number at a time."""
    rows = x if x.ndim > 1 else x[None]
    columns = w if w.ndim > 1 else w[:, None]
    batch = np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2])
    rows = np.broadcast_to(rows, batch + rows.shape[-2:])
    columns = np.broadcast_to(columns, batch + columns.shape[-2:])
    y = np.zeros((*batch, rows.shape[-2], columns.shape[-1]), x.dtype)
    for *b, i, j in itertools.product(*map(range, y.shape)):
        for k in range(rows.shape[-1]):
            y[(*b, i, j)] += rows[(*b, i, k)] * columns[(*b, k, j)]
    if x.ndim == 1:
        y = y[..., 0, :]
    return y[..., 0] if w.ndim == 1 else y


# The slides' numbers


def test_the_slides_product() -> None:
    """Deck 002's example; the slide prints a wrong product, [[13, 9, -2, -6], [5, 2, 17, 1]]."""
    x = cr.tensor([[2.0, 1, -3], [-3, 4, 2]], requires_grad=True)
    w = cr.tensor([[3.0, 2, 1, -1], [2, 1, 3, 2], [3, 2, 1, -2]], requires_grad=True)
    y = x @ w
    assert y.tolist() == [[-1, -1, 2, 6], [5, 2, 11, 7]]
    y.backward(cr.tensor([[2.0, 3, -3, 9], [-8, 1, 4, 6]]))
    assert x.grad.tolist() == [[0, 16, -9], [-24, 9, -30]]
    assert w.grad.tolist() == [[28, 3, -18, 0], [-30, 7, 13, 33], [-22, -7, 17, -15]]


def test_the_slides_product_by_linear() -> None:
    x = cr.tensor([[2.0, 1, -3], [-3, 4, 2]], requires_grad=True)
    w = cr.tensor([[3.0, 2, 3], [2, 1, 2], [1, 3, 1], [-1, 2, -2]], requires_grad=True)  # (out, in)
    b = cr.zeros(4, requires_grad=True)
    linear(x, w, b).backward(cr.tensor([[2.0, 3, -3, 9], [-8, 1, 4, 6]]))
    assert x.grad.tolist() == [[0, 16, -9], [-24, 9, -30]]
    assert w.grad.t().tolist() == [[28, 3, -18, 0], [-30, 7, 13, 33], [-22, -7, 17, -15]]
    assert b.grad.tolist() == [-6, 4, 1, 15]


def test_weight_gradient_is_upstream_times_the_explicit_jacobian() -> None:
    """Deck 000: f = W n + b with W (4, 5): (1 x 4) times the 4 x 20 Jacobian, as 4 x 5."""
    n, upstream = values(5), values(4, seed=1)
    w, b = cr.tensor(values(4, 5), requires_grad=True), cr.tensor(values(4), requires_grad=True)
    jacobian = np.zeros((4, 20))
    for o in range(4):
        jacobian[o, 5 * o : 5 * o + 5] = n
    f = linear(cr.tensor(n), w, b)
    np.testing.assert_allclose(f.detach().numpy(), w.detach().numpy() @ n + b.detach().numpy())
    f.backward(cr.tensor(upstream))
    np.testing.assert_allclose(w.grad.numpy(), (upstream[None] @ jacobian).reshape(4, 5))
    np.testing.assert_allclose(b.grad.numpy(), upstream)


def test_relus_jacobian_is_diagonal_and_outputs_by_inputs() -> None:
    x = cr.tensor([1.0, -2.0, 3.0, -1.0], requires_grad=True)
    z = cr.relu(x)
    z.backward(cr.tensor([4.0, -1.0, 5.0, 9.0]))
    assert z.tolist() == [1, 0, 3, 0]
    assert x.grad.tolist() == [4, 0, 5, 0]
    np.testing.assert_array_equal(cr.jacobian(cr.relu, x).numpy(), np.diag([1.0, 0, 1, 0]))
    assert cr.jacobian(lambda w: w @ cr.ones(3), cr.ones(2, 3)).shape == (2, 6)


def test_an_explicit_jacobian_that_would_not_fit_is_refused_with_the_figure() -> None:
    """N = 64, D = M = 4096: 256 GiB and 16,384 GiB (the slide gives 256 GB for each)."""
    x, w = cr.zeros(64, 4096), cr.zeros(4096, 4096)
    with pytest.raises(MemoryError, match="= 256 GiB"):
        cr.jacobian(lambda x: x @ w, x)
    with pytest.raises(MemoryError, match="= 16,384 GiB"):
        cr.jacobian(lambda w: x @ w, w)


# Against loops


SHAPES = [
    ((3,), (3,)), ((3,), (3, 2)), ((4, 3), (3,)), ((4, 3), (3, 2)), ((2, 4, 3), (3,)),
    ((3,), (2, 3, 4)), ((2, 4, 3), (3, 2)), ((4, 3), (2, 3, 2)), ((2, 1, 4, 3), (5, 3, 2)),
    ((1, 4, 3), (2, 3, 2)), ((2, 0), (0, 3)), ((0, 3), (3, 2)), ((0, 2, 3), (3, 2)), ((0,), (0,)),
    ((2, 3, 4, 3), (1, 3, 3, 2)), ((2, 3, 0), (0, 2)),
]  # fmt: skip


@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_products_by_loops(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    x, w = values(*left), values(*right, seed=1)
    y = cr.matmul(cr.tensor(x), cr.tensor(w)).numpy()
    assert y.shape == by_loops(x, w).shape
    np.testing.assert_allclose(y, by_loops(x, w), atol=1e-12)
    xi, wi = (x * 9).astype(np.int32), (w * 9).astype(np.int32)
    yi = cr.matmul(cr.tensor(xi), cr.tensor(wi))
    assert yi.dtype == np.int32
    np.testing.assert_array_equal(yi.numpy(), by_loops(xi, wi))


@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 4, 3), (2, 1, 2, 3), (0, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_by_loops(shape: tuple[int, ...], bias: bool) -> None:
    x, w, b = values(*shape), values(5, 3, seed=1), values(5, seed=2)
    y = linear(cr.tensor(x), cr.tensor(w), cr.tensor(b) if bias else None).numpy()
    assert y.shape == (*shape[:-1], 5)
    for at in np.ndindex(shape[:-1]):
        for o in range(5):
            expected = sum(x[(*at, i)] * w[o, i] for i in range(3)) + (b[o] if bias else 0)
            assert y[(*at, o)] == pytest.approx(expected)


def test_named_products() -> None:
    a, b = cr.tensor([[1.0, 2.0], [3.0, 4.0]]), cr.tensor([5.0, 6.0])
    assert cr.mm(a, a).tolist() == [[7.0, 10.0], [15.0, 22.0]]
    assert cr.mv(a, b).tolist() == [17.0, 39.0]
    assert cr.dot(b, b).tolist() == 61.0
    assert cr.bmm(a[None], a[None]).tolist() == [[[7.0, 10.0], [15.0, 22.0]]]
    assert cr.outer(b, cr.tensor([1, 2])).tolist() == [[5.0, 10.0], [6.0, 12.0]]


# Memory


SEE = {
    "as it is": lambda x: x,
    "transposed": lambda x: np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2),
    "reversed": lambda x: np.ascontiguousarray(x[..., ::-1, ::-1])[..., ::-1, ::-1],
    "every second": lambda x: np.repeat(np.repeat(x, 2, -1), 2, -2)[..., ::2, ::2],
    "cut": lambda x: np.pad(x, [(0, 0)] * (x.ndim - 2) + [(1, 2), (2, 1)])[..., 1:-2, 2:-1],
    "batch last": lambda x: np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 0, -1)), -1, 0),
    "misaligned": lambda x: misaligned(x),
}


def misaligned(x: Any) -> Any:
    raw = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    raw[...] = x
    return raw


@pytest.mark.parametrize("see_x", SEE)
@pytest.mark.parametrize("see_w", SEE)
def test_any_strides(see_x: str, see_w: str) -> None:
    for left, right in [((4, 3), (3, 5)), ((2, 4, 3), (3, 5)), ((2, 4, 3), (2, 3, 5))]:
        a, b = values(*left), values(*right, seed=1)
        x, w = cr.Tensor(SEE[see_x](a), True), cr.Tensor(SEE[see_w](b), True)
        np.testing.assert_array_equal(x.array, a)
        y = x @ w
        np.testing.assert_allclose(y.detach().numpy(), by_loops(a, b), atol=1e-12)
        gy = SEE[see_w](values(*y.shape, seed=2))
        y.backward(cr.Tensor(gy))
        gx = by_loops(gy, b.swapaxes(-1, -2))
        gw = by_loops(a.swapaxes(-1, -2), gy)
        if len(right) == 2:
            gw = gw.reshape(-1, *right).sum(0)
        np.testing.assert_allclose(x.grad.numpy(), gx, atol=1e-12)
        np.testing.assert_allclose(w.grad.numpy(), gw, atol=1e-12)


@given(st.sampled_from(sorted(SEE)), st.sampled_from([(4, 3), (2, 4, 3), (3,), (1, 3), (4, 1)]))
def test_what_blas_reads(see: str, shape: tuple[int, ...]) -> None:
    x = SEE[see](values(*shape)) if len(shape) > 1 else values(6)[::-2]
    y = blas(np, x)
    np.testing.assert_array_equal(x, y)
    if len(shape) > 1:
        s, t = (abs(n) for n in y.strides[-2:])
        assert min(y.strides) >= 0
        assert y.itemsize in (s, t) or 1 in y.shape[-2:]
    for ready in ("as it is", "transposed", "cut"):
        if see == ready and len(shape) > 1:
            assert np.shares_memory(x, y)


@pytest.mark.parametrize(
    "x",
    [
        np.broadcast_to(values(3), (4, 3)),
        np.broadcast_to(values(4, 1), (4, 3)),
        np.broadcast_to(values(4, 1), (4, 3)).T,
        np.lib.stride_tricks.sliding_window_view(values(6), 3),
        np.lib.stride_tricks.sliding_window_view(values(6), 3).T,
        values(4, 3)[::-1],
        values(4, 3).T[:, ::-1],
        values(4, 6)[:, ::2],
    ],
)
def test_what_blas_does_not_read_is_copied(x: Any) -> None:
    y = blas(np, x)
    assert y.flags.c_contiguous
    np.testing.assert_array_equal(x, y)


def test_a_repeated_gradient() -> None:
    """The gradient of a sum is one number seen everywhere: no strides for BLAS."""
    x, w = (
        cr.tensor(values(2, 3, 4), requires_grad=True),
        cr.tensor(values(5, 4), requires_grad=True),
    )
    b = cr.zeros(5, dtype=cr.float64, requires_grad=True)
    linear(x, w, b).sum().backward()
    np.testing.assert_allclose(
        x.grad.numpy(), np.broadcast_to(w.detach().numpy().sum(0), (2, 3, 4))
    )
    rows = x.detach().numpy().reshape(6, 4).sum(0)
    np.testing.assert_allclose(w.grad.numpy(), np.broadcast_to(rows, (5, 4)))
    assert b.grad.tolist() == [6.0] * 5


def test_only_what_is_wanted_is_computed() -> None:
    x, w = cr.tensor(values(3, 2)), cr.tensor(values(2, 4), requires_grad=True)
    y = x @ w
    assert y.grad_fn.needs == (False, True)
    gx, gw = y.grad_fn.op.backward(np, y.grad_fn.saved, np.ones((3, 4)), (False, True))
    assert gx is None
    assert gw.shape == (2, 4)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes_are_kept(dtype: str) -> None:
    x = cr.tensor(values(2, 3, 4).astype(dtype), requires_grad=True)
    w = cr.tensor(values(5, 4).astype(dtype), requires_grad=True)
    b = cr.tensor(values(5).astype(dtype), requires_grad=True)
    y = linear(x, w, b) @ cr.tensor(values(5).astype(dtype))
    y.backward(cr.ones_like(y))
    assert {y.dtype, x.grad.dtype, w.grad.dtype, b.grad.dtype} == {np.dtype(dtype)}


def test_infinities_warn_of_nothing() -> None:
    x = cr.tensor([[np.inf, 1.0]], requires_grad=True)
    y = x @ cr.tensor([[0.0], [1.0]]) + cr.tensor([[3e38]]) @ cr.tensor([[10.0]])
    y.backward()
    assert np.isnan(y.item())


# Misuse


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: x @ x, ShapeError, "inner sizes that agree: 3 = 2; got input float32 (2, 3)"),
        (lambda x: x @ x, ShapeError, "other.mT"),
        (lambda x: x @ cr.zeros(4), ShapeError, "inner sizes that agree: 3 = 4"),
        (lambda x: x @ cr.tensor(2.0), ShapeError, "not 0-D"),
        (lambda x: x @ 2.0, KindError, "use * to multiply by a number"),
        (lambda x: x @ cr.zeros(3, dtype=cr.float64), KindError, "tensors of one dtype"),
        (lambda x: cr.zeros(2, 4, 3) @ cr.zeros(3, 3, 4), ShapeError, "axis -1 has 2 and 3"),
        (lambda x: cr.mm(x, x[0]), ShapeError, "mm: expected shapes (m, k), (k, n)"),
        (lambda x: cr.bmm(cr.ones(1, 2, 3), cr.ones(4, 3, 2)), ShapeError, "one size: 1 = 4"),
        (lambda x: cr.dot(x, x), ShapeError, "dot: expected shapes (k), (k)"),
        (lambda x: cr.outer(x, x), ShapeError, "two vectors"),
        (lambda x: (x > 0) @ (x[0] > 0), NotImplementedError, "not booleans"),
        (lambda x: linear(x, x.t()), ShapeError, "in_features to be the input's last size: 2 = 3"),
        (lambda x: linear(x, cr.ones(3, 2)), ShapeError, "seems transposed"),
        (lambda x: linear(x, cr.ones(4, 5)), ShapeError, "in_features = 3 takes this input"),
        (lambda x: linear(x, cr.ones(4, 6)), ShapeError, "2*3 = 6: flatten(input, 0) is missing"),
        (
            lambda x: linear(cr.ones(8, 16, 5, 5), cr.ones(120, 400)),
            ShapeError,
            "16*5*5 = 400: flatten(input, 1) is missing",
        ),
        (
            lambda x: linear(cr.ones(8, 16, 5, 5), cr.ones(120, 256)),
            ShapeError,
            "and one with 16*5*5 = 400 takes flatten(input, 1)",
        ),
        (lambda x: linear(x, cr.ones(4, 3), cr.ones(3)), ShapeError, "bias"),
        (lambda x: linear(x, cr.ones(4, 3), cr.ones(5, 2, 4)), ShapeError, "a bias of shape (4,)"),
        (lambda x: linear(x, cr.ones(3), cr.ones(2)), ShapeError, "a bias of shape ()"),
        (lambda x: linear(x, cr.ones(1, 4, 3)), ShapeError, "a weight (out_features, in_features)"),
        (lambda x: linear(x, 2.0), KindError, "linear: expected tensors"),
        (lambda x: linear(x, x, x[0].double()), KindError, "tensors of one dtype"),
    ],
)
def test_errors_say_what_is_wrong(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        call(cr.ones(2, 3))


def test_meta_tensors() -> None:
    x = cr.zeros(64, 4096, device="meta")
    assert (x @ x.t()).shape == (64, 64)
    assert linear(x, cr.zeros(10, 4096, device="meta")).shape == (64, 10)
