"""Sums of products, diagonals, copies, grids and joins: against NumPy, at the edges, misused."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.errors import AxisError, KindError, LabelError, ShapeError, UndefinedKindError

SIZES = {"a": 2, "b": 3, "c": 4, "d": 1}


def drawn(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


@st.composite
def equations(draw: Any) -> str:
    """Draw an equation over the letters a to d, with or without an output."""
    term = st.text("abcd", min_size=0, max_size=3)
    terms = draw(st.lists(term, min_size=1, max_size=4))
    letters = sorted(set("".join(terms)))
    if draw(st.booleans()):
        return ",".join(terms)
    output = draw(st.permutations(letters))[: draw(st.integers(0, len(letters)))]
    return ",".join(terms) + "->" + "".join(output)


@given(equations())
def test_einsum_is_numpys(equation: str) -> None:
    terms = equation.partition("->")[0].split(",")
    xs = [drawn(*[SIZES[c] for c in t], seed=i) for i, t in enumerate(terms)]
    y = cr.einsum(equation, *map(cr.tensor, xs))
    expected = np.einsum(equation, *xs)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-10, atol=1e-12)
    assert y.shape == np.shape(expected)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("...ij,...jk->...ik", [(5, 2, 3), (3, 4)]),
        ("i...,i...->...", [(2, 3, 1), (2, 3, 4)]),
        ("...,...", [(3, 1), (4,)]),
        ("b...->...b", [(2, 3, 4)]),
        ("ii...->i...", [(3, 3, 2)]),
        ("...a,a->...", [(2, 3, 4), (4,)]),
        (" i j , j -> i ", [(2, 3), (3,)]),
        ("ij,jk,kl,lm->im", [(2, 9), (9, 1), (1, 8), (8, 2)]),
    ],
)
def test_einsum_with_an_ellipsis_and_spaces(equation: str, shapes: list[Any]) -> None:
    xs = [drawn(*s, seed=i) for i, s in enumerate(shapes)]
    y = cr.einsum(equation, *map(cr.tensor, xs))
    np.testing.assert_allclose(y, np.einsum(equation.replace(" ", ""), *xs), rtol=1e-10)


def test_einsum_broadcasts_a_size_of_one_and_knows_lists() -> None:
    x, y = drawn(2, 3), drawn(1, 3, seed=1)
    ours = cr.einsum("ij,ij->i", cr.tensor(x), cr.tensor(y))
    np.testing.assert_allclose(ours, (x * y).sum(1))
    ours = cr.einsum("ij,ij->j", [cr.tensor(x), cr.tensor(y)])
    np.testing.assert_allclose(ours, (x * y).sum(0))
    listed = cr.einsum(cr.tensor(x), [0, 1], cr.tensor(y), [2, 1], [2, 0])
    np.testing.assert_allclose(listed, y @ x.T)
    dotted = cr.einsum(cr.tensor(x), [..., 0], cr.tensor(y[0]), [0])
    np.testing.assert_allclose(dotted, x @ y[0])
    summed = cr.einsum("...i->i", cr.tensor(drawn(2, 3, 4)))
    np.testing.assert_allclose(summed, drawn(2, 3, 4).sum((0, 1)))


def test_einsum_multiplies_the_cheapest_pair_first() -> None:
    a, b, c = cr.ones(400, 1), cr.ones(1, 400), cr.ones(400, 1)
    y = cr.einsum("ij,jk,kl->il", a.requires_grad_(), b, c)
    inner = y.grad_fn
    sizes = []
    while inner is not None:
        sizes += [spec.shape for spec in inner.specs]
        inner = next((e[0] for e in inner.edges if isinstance(e, tuple)), None)
    assert (400, 400) not in sizes


@pytest.mark.parametrize(
    ("dims", "shapes"),
    [
        (1, [(2, 3), (3, 4)]),
        (0, [(2, 3), (4,)]),
        (2, [(5, 2, 3), (2, 3, 4)]),
        (([1, 0], [0, -1]), [(2, 3, 4), (3, 5, 2)]),
        ((1, 0), [(2, 3), (3, 4)]),
    ],
)
def test_tensordot(dims: Any, shapes: list[Any]) -> None:
    x, y = drawn(*shapes[0]), drawn(*shapes[1], seed=1)
    np.testing.assert_allclose(
        cr.tensordot(cr.tensor(x), cr.tensor(y), dims), np.tensordot(x, y, dims), rtol=1e-10
    )


def test_other_products() -> None:
    x, y, v = drawn(2, 3), drawn(3, 4, seed=1), drawn(3, seed=2)
    t, u, w = cr.tensor(x), cr.tensor(y), cr.tensor(v)
    np.testing.assert_allclose(cr.inner(t, w), x @ v)
    np.testing.assert_allclose(cr.inner(t, t), x @ x.T)
    np.testing.assert_allclose(cr.kron(t, w), np.kron(x, v))
    np.testing.assert_allclose(cr.chain_matmul(t, u, u.t(), w.reshape(3, 1)),
                               (x @ y @ y.T @ v)[:, None])  # fmt: skip
    np.testing.assert_allclose(cr.linalg.multi_dot([w, u, u.t(), w]), v @ y @ y.T @ v)
    np.testing.assert_allclose(cr.cross(t, w.expand(2, 3), 1), np.cross(x, v))
    np.testing.assert_allclose(cr.linalg.cross(t, t.flip(0)), np.cross(x, x[::-1]))
    np.testing.assert_allclose(cr.linalg.vecdot(t, w), x @ v)
    np.testing.assert_allclose(cr.addmm(t[:, :1], t, u, beta=0.5, alpha=2), 0.5 * x[:, :1] + 2 * x @ y)  # fmt: skip  # noqa: E501
    np.testing.assert_allclose(cr.addmv(t[:, 0], t, w, alpha=-1), x[:, 0] - x @ v)
    np.testing.assert_allclose(cr.addr(t, t[:, 0], w), x + np.outer(x[:, 0], v))
    p, q = drawn(5, 2, 3), drawn(5, 3, 4, seed=1)
    a, b = cr.tensor(p), cr.tensor(q)
    np.testing.assert_allclose(cr.baddbmm(cr.tensor(1.0).double(), a, b), 1 + p @ q)
    np.testing.assert_allclose(cr.addbmm(cr.tensor(1.0).double(), a, b), 1 + (p @ q).sum(0))


def test_beta_zero_leaves_out_what_is_not_a_number() -> None:
    x = cr.tensor([float("nan")], requires_grad=True)
    y = cr.addmm(x, cr.ones(2, 3), cr.ones(3, 2), beta=0)
    assert y.tolist() == [[3.0, 3.0], [3.0, 3.0]]
    y.sum().backward()
    assert x.grad.tolist() == [0.0]


@pytest.mark.parametrize("offset", [-3, -1, 0, 1, 2, 5])
def test_diagonals_and_triangles(offset: int) -> None:
    x = drawn(2, 3, 4)
    t = cr.tensor(x)
    for a, b in itertools.permutations(range(3), 2):
        ours = cr.diagonal(t, offset, a, b)
        np.testing.assert_array_equal(ours, np.diagonal(x, offset, a, b))
        again = cr.diag_embed(ours, offset, a - 3, b - 3)
        back = cr.diagonal(again, offset, a, b)
        np.testing.assert_array_equal(back, ours)
        assert cr.count_nonzero(again).item() == ours.numel()
    np.testing.assert_array_equal(cr.tril(t, offset), np.tril(x, offset))
    np.testing.assert_array_equal(cr.triu(t, offset), np.triu(x, offset))
    np.testing.assert_array_equal(cr.diag(t[0], offset), np.diag(x[0], offset))
    np.testing.assert_array_equal(cr.diag(t[0, 0], offset), np.diag(x[0, 0], offset))
    np.testing.assert_array_equal(cr.diagflat(t, offset), np.diagflat(x, offset))
    np.testing.assert_array_equal(cr.tril_indices(3, 4, offset), np.tril_indices(3, offset, 4))
    np.testing.assert_array_equal(cr.triu_indices(3, 4, offset), np.triu_indices(3, offset, 4))


def test_a_diagonal_is_a_view_that_can_be_written() -> None:
    x = cr.zeros(2, 3)
    x.diagonal(1).fill_(5.0)
    assert x.tolist() == [[0.0, 5.0, 0.0], [0.0, 0.0, 5.0]]
    assert cr.trace(cr.tensor([[1, 2], [3, 4]])).item() == 5


@pytest.mark.parametrize("repeats", [(2, 3), (1, 2, 1), (0, 2), (1, 1)])
def test_copies(repeats: tuple[int, ...]) -> None:
    x = drawn(2, 3)
    np.testing.assert_array_equal(cr.tensor(x).repeat(*repeats), np.tile(x, repeats))
    np.testing.assert_array_equal(cr.tile(cr.tensor(x), repeats), np.tile(x, repeats))
    np.testing.assert_array_equal(cr.tile(cr.tensor(x), (2,)), np.tile(x, 2))


def test_copies_in_place() -> None:
    x = drawn(2, 3)
    t = cr.tensor(x)
    for dim, repeats in ((0, 2), (1, [1, 0, 3]), (-1, [2]), (None, 3)):
        given = cr.tensor(repeats) if isinstance(repeats, list) else repeats
        expected = np.repeat(x, repeats, axis=dim)
        np.testing.assert_array_equal(cr.repeat_interleave(t, given, dim), expected)
    assert cr.repeat_interleave(cr.tensor([2, 0, 1])).tolist() == [0, 0, 2]
    assert cr.repeat_interleave(t, 2, 0, output_size=4).shape == (4, 3)


@given(st.integers(1, 9), st.integers(0, 9), st.integers(1, 4))
def test_windows_and_their_gradient(n: int, size: int, step: int) -> None:
    if size > n:
        return
    x = drawn(2, n, 3)
    t = cr.tensor(x, requires_grad=True)
    y = t.unfold(1, size, step)
    starts = range(0, n - size + 1, step)
    expected = [np.moveaxis(x[:, i : i + size], 1, -1) for i in starts]
    np.testing.assert_array_equal(y.detach(), np.stack(expected, 1))
    y.sum().backward()
    counts = sum(np.isin(np.arange(n), range(i, i + size)).astype(float) for i in starts)
    np.testing.assert_array_equal(t.grad, np.broadcast_to(counts[:, None], x.shape))


def test_joins_and_splits() -> None:
    x, y, v = drawn(2, 3), drawn(2, 3, seed=1), drawn(2, seed=2)
    t, u, w = cr.tensor(x), cr.tensor(y), cr.tensor(v)
    for name in ("hstack", "vstack", "dstack", "column_stack"):
        numpys = getattr(np, name)
        np.testing.assert_array_equal(getattr(cr, name)((t, u)), numpys((x, y)))
        np.testing.assert_array_equal(getattr(cr, name)([w, w]), numpys([v, v]))
    z = drawn(4, 6, 2)
    s = cr.tensor(z)
    for ours, theirs in (
        (cr.hsplit(s, 3), np.hsplit(z, 3)),
        (cr.vsplit(s, (1, 3)), np.vsplit(z, (1, 3))),
        (cr.dsplit(s, 2), np.dsplit(z, 2)),
        (cr.tensor_split(s, 4, 1), np.array_split(z, 4, 1)),
        (cr.tensor_split(s, (2, 1, -1, 9), 1), np.array_split(z, (2, 1, -1, 9), 1)),
    ):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
    for k in range(-2, 5):
        np.testing.assert_array_equal(cr.rot90(s, k, (0, 2)), np.rot90(z, k, (0, 2)))
    np.testing.assert_array_equal(cr.fliplr(s), np.fliplr(z))
    np.testing.assert_array_equal(cr.flipud(s), np.flipud(z))
    for n in (1, 2, 3):
        for a in (x, v, np.float64(3.0)):
            ours = getattr(cr, f"atleast_{n}d")(cr.tensor(a))
            np.testing.assert_array_equal(ours, getattr(np, f"atleast_{n}d")(a))
    assert [p.shape for p in cr.atleast_2d(cr.tensor(1), cr.tensor([1]))] == [(1, 1), (1, 1)]


def test_grids_and_pairs() -> None:
    a, b, c = np.arange(2), np.arange(3) + 10, np.arange(4) + 20
    given = [cr.tensor(v) for v in (a, b, c)]
    for how in ("ij", "xy"):
        for ours, theirs in zip(
            cr.meshgrid(*given, indexing=how), np.meshgrid(a, b, c, indexing=how), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
    expected = list(itertools.product(a, b))
    np.testing.assert_array_equal(cr.cartesian_prod(*given[:2]), expected)
    np.testing.assert_array_equal(cr.combinations(given[2], 3), list(itertools.combinations(c, 3)))
    again = list(itertools.combinations_with_replacement(c, 2))
    np.testing.assert_array_equal(cr.combinations(given[2], 2, True), again)
    assert cr.combinations(given[0], 3).shape == (0, 3)
    x, y = drawn(2, 3), drawn(1, 2)
    np.testing.assert_array_equal(
        cr.block_diag(cr.tensor(x), cr.tensor(y)), scipy.linalg.block_diag(x, y)
    )


@pytest.mark.parametrize("kind", ["uint8", "int8", "int32", "int64"])
def test_bits(kind: str) -> None:
    x, y = np.array([0, 1, 5, 100]).astype(kind), np.array([3, 1, 0, 2]).astype(kind)
    t, u = cr.tensor(x), cr.tensor(y)
    for ours, theirs in (
        (t & u, x & y),
        (t | u, x | y),
        (t ^ u, x ^ y),
        (~t, ~x),
        (t << u, x << y),
        (t >> u, x >> y),
        (3 & t, 3 & x),
        (3 << u, 3 << y),
    ):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == kind


def test_questions_about_tensors() -> None:
    assert cr.numel(cr.zeros(2, 3)) == 6
    assert cr.is_tensor(cr.zeros(1))
    assert not cr.is_tensor(np.zeros(1))
    assert cr.is_floating_point(cr.zeros(1))
    with pytest.raises(KindError, match="numel: expected a tensor"):
        cr.numel([1])


X, M = cr.ones(2, 3), cr.ones(3, 3)
B, W = cr.ones(2, 3, 4), cr.ones(2, 4, 3)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: cr.einsum("ij"), ShapeError, "an equation and at least one operand"),
        (lambda: cr.einsum("ij,jk", X), ShapeError, "as the equation has, 2, not 1"),
        (lambda: cr.einsum("i1", X), ShapeError, "'...', ',' and '->', not '1'"),
        (lambda: cr.einsum("ijk", X), ShapeError, "a subscript for each axis of operand 0: 2"),
        (lambda: cr.einsum("ii", X), ShapeError, "where operand 0 repeats a subscript"),
        (lambda: cr.einsum("ij,ij", X, M), ShapeError, "where operand 1 shares a subscript: 2, 3"),
        (lambda: cr.einsum("ij->k", X), ShapeError, "that an operand has"),
        (lambda: cr.einsum("ij->ii", X), ShapeError, "every subscript of the output once"),
        (lambda: cr.einsum(X, "ij"), KindError, "a list of axes after each operand"),
        (lambda: cr.einsum(X, [0, 52]), ShapeError, "subscripts in [0, 51] or ..."),
        (lambda: cr.einsum("ij,jk", X, M.double()), KindError, "tensors of one dtype"),
        (lambda: cr.tensordot(X, M, 3), ShapeError, "dims in [0, 2]; got dims 3"),
        (lambda: cr.tensordot(X, M, ([0], [1])), ShapeError, "2 at axis 0, 3 at axis 1"),
        (lambda: cr.tensordot(X, M, ([0], [0, 1])), ShapeError, "as many axes of a as of b"),
        (lambda: cr.tensordot(M, M, ([0, 0], [0, 1])), ShapeError, "every axis once"),
        (lambda: cr.tensordot(M, M, ([0],)), ShapeError, "two lists of axes"),
        (lambda: cr.inner(X, cr.ones(2)), ShapeError, "last sizes that agree: 3 = 2"),
        (lambda: cr.linalg.multi_dot([X]), ShapeError, "at least two matrices"),
        (lambda: cr.linalg.multi_dot([X, cr.ones(3), M]), ShapeError, "a matrix as element 1"),
        (lambda: cr.chain_matmul(X, cr.ones(3)), ShapeError, "a matrix as element 1"),
        (lambda: cr.addmm(cr.ones(4), X, M), ShapeError, "axis -1 has 4 and 3"),
        (lambda: cr.addmm(cr.ones(5, 2, 3), X, M), ShapeError, "an input that expands to (2, 3)"),
        (lambda: cr.addmm(X.double(), X, M), KindError, "tensors of one dtype"),
        (lambda: cr.addmm(X, X, M, beta="2"), KindError, "addmm beta: expected a number"),
        (lambda: cr.addbmm(X, B, B), LabelError, "shapes (b, m, k), (b, k, n)"),
        (lambda: cr.baddbmm(X, B, W[:1]), ShapeError, "batches of one size: 2 = 1"),
        (lambda: cr.cross(X, cr.ones(3)), ShapeError, "tensors of as many axes"),
        (lambda: cr.cross(X, X, 0), ShapeError, "a size of 3 at dim 0"),
        (lambda: cr.cross(cr.ones(2), cr.ones(2)), ShapeError, "an axis of size 3"),
        (lambda: cr.diagonal(X, 0, 1, 1), ShapeError, "two different axes; got dim1 1, dim2 1"),
        (lambda: cr.diagonal(X[0]), AxisError, "it needs two"),
        (lambda: cr.diag(B), ShapeError, "a vector or a matrix, not 3 axes"),
        (lambda: cr.diag_embed(cr.tensor(1.0)), AxisError, "a tensor with axes"),
        (lambda: cr.trace(B), ShapeError, "a matrix, not 3 axes"),
        (lambda: cr.tril(X[0]), ShapeError, "at least two axes, not 1"),
        (lambda: cr.tril_indices(-1, 2), ShapeError, "sizes of 0 or more; got row -1"),
        (lambda: X.repeat(2), ShapeError, "repeats for each of 2 axes, not 1"),
        (lambda: X.repeat(2, -1), ShapeError, "repeats of 0 or more, not -1"),
        (lambda: X.repeat_interleave(-1), ShapeError, "repeats of 0 or more, not -1"),
        (
            lambda: X.repeat_interleave(cr.tensor([1, 2]), 1),
            ShapeError,
            "one number of repeats or 3",
        ),
        (lambda: X.repeat_interleave(X[0], 1), KindError, "whole numbers of repeats"),
        (
            lambda: X.repeat_interleave(2, 0, output_size=5),
            ShapeError,
            "the sum of the repeats, 4; got output_size 5",
        ),
        (lambda: cr.repeat_interleave(X), ShapeError, "a vector of repeats, of int64 or int32"),
        (lambda: X.unfold(1, 4, 1), ShapeError, "a size in [0, 3] at dim 1; got size 4"),
        (lambda: X.unfold(1, 2, 0), ShapeError, "a step of 1 or more; got step 0"),
        (lambda: cr.hstack(X), KindError, "a tuple or list of tensors"),
        (lambda: cr.vstack([]), ShapeError, "at least one tensor"),
        (lambda: cr.atleast_1d(), ShapeError, "at least one tensor"),
        (lambda: cr.hsplit(X, 2), ShapeError, "a number of parts that divides 3, not 2"),
        (lambda: cr.dsplit(X, 1), ShapeError, "a tensor of at least 3 axes, not 2"),
        (
            lambda: cr.tensor_split(X, 2, indices=(1,)),
            KindError,
            "sections or indices; got given 2",
        ),
        (lambda: cr.tensor_split(X, 0), ShapeError, "1 part or more, not 0"),
        (lambda: cr.tensor_split(X, cr.tensor([1.0])), ShapeError, "a vector of int64"),
        (lambda: cr.tensor_split(cr.tensor(1), 1), ShapeError, "a tensor with axes"),
        (lambda: cr.fliplr(X[0]), ShapeError, "at least two axes, not 1"),
        (lambda: cr.flipud(cr.tensor(1)), ShapeError, "a tensor with axes"),
        (lambda: cr.rot90(X, 1, (0, 0)), ShapeError, "every dimension once"),
        (lambda: cr.rot90(X, 1, (0,)), ShapeError, "two axes of at least two"),
        (lambda: cr.broadcast_tensors(X, cr.ones(2)), ShapeError, "axis -1 has 3 and 2"),
        (lambda: cr.broadcast_shapes((-1,)), ShapeError, "sizes of 0 or more"),
        (lambda: cr.meshgrid(X), ShapeError, "a vector as element 0"),
        (lambda: cr.meshgrid(), ShapeError, "at least one tensor"),
        (lambda: cr.meshgrid(X[0], indexing="yx"), ShapeError, 'indexing "ij" or "xy"'),
        (lambda: cr.meshgrid(X[0], X[0].long()), KindError, "tensors of one dtype"),
        (lambda: cr.combinations(X), ShapeError, "a vector, and r of 0 or more"),
        (lambda: cr.block_diag(B), ShapeError, "at most two axes in element 0"),
        (lambda: cr.block_diag(), ShapeError, "at least one tensor"),
        (lambda: X & 1, UndefinedKindError, "integers or booleans"),
        (lambda: ~X, UndefinedKindError, "integers or booleans"),
        (lambda: (X > 0) << (X > 0), UndefinedKindError, "left_shift: expected integers"),
        (lambda: cr.bitwise_or(1, 2), KindError, "a tensor among the two"),
        (lambda: cr.take_along_dim(X, cr.tensor([[9]]), 1), LabelError, "[0, 2] at dim 1"),
    ],
)
def test_errors_say_what_is_wrong(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        call()
